// Who takes part, and how many make a quorum.
//
//   acceptors = voters ∪ witnesses, N of them
//   electionQuorum (q1): promises that make a leader       replicationQuorum (q2): acceptances that choose
//   q1 + q2 > N: every election meets every choice (Howard, Malkhi, Spiegelman: Flexible Paxos, 2016)
//
// q1 + q1 > N is *not* needed: two candidates may each win a disjoint q1; the one with the higher ballot
// wins at the acceptors. Even N with q2 = N / 2 commits with one acknowledgement fewer at no cost.

/// The members of one epoch. Slots after the record that announces it are decided by it alone.
package struct Configuration: Hashable, Sendable {
  package let epoch: UInt32
  /// Vote, keep the state, may lead. Ascending, like the other lists.
  package let voters: [NodeID]
  /// Vote and keep the log, not the state; lead only to hand over.
  package let witnesses: [NodeID]
  /// Receive everything, vote on nothing.
  package let learners: [NodeID]
  package let electionQuorum: Int
  package let replicationQuorum: Int

  package static let largestAcceptorCount = 15
  package static let largestLearnerCount = 48

  /// - Parameters: quorums default to the smallest replication quorum that is not worse for elections
  ///   (`defaultReplicationQuorum`).
  /// - Throws: `ConfigurationError` for members named twice, no voter, too many, or unsafe quorums.
  package init(
    epoch: UInt32, voters: [NodeID], witnesses: [NodeID] = [], learners: [NodeID] = [],
    electionQuorum: Int? = nil, replicationQuorum: Int? = nil
  ) throws(ConfigurationError) {
    let count = voters.count + witnesses.count
    guard !voters.isEmpty else { throw .noVoter }
    guard count <= Self.largestAcceptorCount, learners.count <= Self.largestLearnerCount else { throw .tooMany }
    let all = (voters + witnesses + learners).sorted()
    for (a, b) in zip(all, all.dropFirst()) where a == b { throw .namedTwice(a) }
    guard epoch > 0, epoch < UInt32.max else { throw .epochOutOfRange }
    let q2 = replicationQuorum ?? Self.defaultReplicationQuorum(count)
    let q1 = electionQuorum ?? max(count - q2 + 1, count == 2 ? 2 : 1)
    guard q1 >= 1, q2 >= 1, q1 <= count, q2 <= count, q1 + q2 > count else {
      throw .quorumsDoNotMeet(election: q1, replication: q2, acceptors: count)
    }
    self.epoch = epoch
    self.voters = voters.sorted()
    self.witnesses = witnesses.sorted()
    self.learners = learners.sorted()
    self.electionQuorum = q1
    self.replicationQuorum = q2
  }

  /// 1, 2, 2, 2, 3, 3, 4 for one to seven acceptors, as TigerBeetle ships for its counts.
  package static func defaultReplicationQuorum(_ count: Int) -> Int {
    count <= 1 ? 1 : count == 2 ? 2 : (count % 2 == 0 ? count / 2 : count / 2 + 1)
  }

  package var acceptorCount: Int { voters.count + witnesses.count }
  /// So many intact logs without a record prove that it was not chosen.
  package var nackQuorum: Int { acceptorCount - replicationQuorum + 1 }
  package var members: [NodeID] { (voters + witnesses + learners).sorted() }

  package func isAcceptor(_ node: NodeID) -> Bool { voters.contains(node) || witnesses.contains(node) }
  package func isWitness(_ node: NodeID) -> Bool { witnesses.contains(node) }
  package func isMember(_ node: NodeID) -> Bool { isAcceptor(node) || learners.contains(node) }
}

/// Why a configuration is refused. Deterministic; the caller must ask for another one.
package enum ConfigurationError: Error, Hashable, Sendable {
  case noVoter
  case tooMany
  case namedTwice(NodeID)
  case epochOutOfRange
  case quorumsDoNotMeet(election: Int, replication: Int, acceptors: Int)
}
