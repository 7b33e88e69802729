// Changing the members: the stop-sign.
//
//   epoch c     … │ stop(c+1) │            slots ≤ stop are decided by the quorums of c alone
//   epoch c+1                 │ …          slots > stop by those of c+1 alone
//
// The leader puts the stop record at the end of its log and proposes nothing after it. When it is *chosen* the epoch is
// over: ballots of c+1 are greater than all before, and everybody's log is the same through the stop. A node votes in c+1
// only when it holds the log through the stop and knows it chosen. No slot has two quorum systems, so member sets and
// quorums may change in any way at once. The last leader keeps no lease once it has written the stop record, and older
// leases have expired before the stop shows as chosen (P7): an epoch begins without leases.

/// Why a change of members is not begun. None changes state.
package enum ReconfigurationRefusal: Error, Hashable, Sendable {
  case notLeader(NodeID?)
  /// One is under way, leadership is being handed over, or this leadership has not begun in earnest.
  case busy
  /// The next configuration must carry the next epoch.
  case wrongEpoch(expected: UInt32)
  /// It must be a learner near the head of the log before it may vote.
  case notCaughtUp(NodeID)
  /// So few members of the next configuration answer that it could not make progress.
  case quorumNotAlive
}

extension Replica {
  /// Begins a change of members.
  package mutating func reconfigure(
    to next: Configuration, now time: Ticks, into actions: inout Actions
  ) -> ReconfigurationRefusal? {
    if let refusal = refusalToReconfigure(to: next, now: time) { return refusal }
    guard let build = protocolBuild(.stop, next) else { return .busy }
    buildPending = next
    actions.builds.append(build)
    return nil
  }

  /// Why a change of members would not be begun now; nothing is begun.
  package mutating func refusalToReconfigure(to next: Configuration, now time: Ticks) -> ReconfigurationRefusal? {
    advance(to: time)
    guard role == .leader else { return .notLeader(leader) }
    guard pendingStop == nil, buildPending == nil, transfer == nil, chosen >= readBarrier else { return .busy }
    guard next.epoch == configuration.epoch + 1 else { return .wrongEpoch(expected: configuration.epoch + 1) }
    var alive = 0
    for node in next.voters + next.witnesses {
      if node == id {
        alive += 1
        continue
      }
      guard let i = peerIndex(node) else { return .notCaughtUp(node) }
      if peers[i].ackedAt + settings.election >= now, peers[i].diskFit { alive += 1 }
      if !configuration.isAcceptor(node), peers[i].nearHead < settings.caughtUpRounds { return .notCaughtUp(node) }
    }
    guard alive >= max(next.electionQuorum, next.replicationQuorum) else { return .quorumNotAlive }
    return nil
  }

  /// The epoch's stop record is chosen.
  mutating func enterEpoch(_ next: Configuration, stopSlot: SlotNumber, _ actions: inout Actions) {
    let wasLeader = role == .leader
    let before = configuration
    if role != .follower { stepDown(&actions) }
    let chain = log.chain(at: stopSlot) ?? .zero
    adoptEpoch(next, start: ChainPoint(slot: stopSlot, chain: chain))
    persist(.none, entriesFrom: actions.entries.count, vowsFrom: actions.vows.count, &actions)
    actions.standingChanged = true
    electionDeadline = now + electionTimeout()
    guard wasLeader else { return }
    for node in Set(before.members + next.members).sorted() where node != id {
      send(.startEpoch(epochStart), to: node, &actions)
    }
    if configuration.voters.contains(id) { campaign(&actions) }
  }

  mutating func adoptEpoch(_ next: Configuration, start: ChainPoint) {
    configuration = next
    epochStart = start
    epochWrite = sequence + 1
    // They are greater already if the stop record was lost here after this node had voted.
    promised = max(promised, .start(of: next.epoch))
    accepted = max(accepted, .start(of: next.epoch))
    greatestRound = 0
    leader = nil
    leaderBallot = .start(of: next.epoch)
    leaderHeard = now
    leaseUntil = 0
    durableLast = 0
    nextHeartbeat = min(nextHeartbeat, now)
    rebuildPeers()
  }

  mutating func receiveStartEpoch(_ point: ChainPoint, from node: NodeID, _ actions: inout Actions) {
    guard point.slot > chosen else { return }
    if log.chain(at: point.slot) == point.chain {
      advanceChosen(to: point.slot, &actions)
    } else if fetchPending.map({ $0.at + settings.retry <= now }) ?? true, role != .leader {
      startFetch(from: node, &actions)
    }
  }
}
