import Paxos
import Testing

@Suite struct ConfigurationTests {
  @Test(arguments: [(1, 1, 1), (2, 2, 2), (3, 2, 2), (4, 3, 2), (5, 3, 3), (6, 4, 3), (7, 4, 4)])
  func defaultQuorums(count: Int, election: Int, replication: Int) throws {
    let configuration = try Configuration(epoch: 1, voters: (1...UInt64(count)).map { NodeID($0) })
    #expect(configuration.electionQuorum == election)
    #expect(configuration.replicationQuorum == replication)
    #expect(configuration.nackQuorum == count - replication + 1)
  }

  @Test func unsafeQuorumsAreRefused() {
    let five = (1...5).map { NodeID(UInt64($0)) }
    for q1 in 0...6 {
      for q2 in 0...6 {
        let configuration = try? Configuration(epoch: 1, voters: five, electionQuorum: q1, replicationQuorum: q2)
        let safe = (1...5).contains(q1) && (1...5).contains(q2) && q1 + q2 > 5
        #expect((configuration != nil) == safe, "q1 \(q1), q2 \(q2)")
      }
    }
    #expect(throws: ConfigurationError.namedTwice(NodeID(1))) {
      try Configuration(epoch: 1, voters: [NodeID(1)], learners: [NodeID(1)])
    }
    #expect(throws: ConfigurationError.noVoter) { try Configuration(epoch: 1, voters: [], witnesses: [NodeID(1)]) }
  }
}

@Suite struct SessionTableTests {
  @Test func exactlyOnce() {
    var table = SessionTable(capacity: 2)
    #expect(table.check(1, sequence: 1) == .unknownSession)
    table.open(1, time: 1)
    #expect(table.check(1, sequence: 1) == .new)
    table.record(1, sequence: 1, outcome: .version(10), time: 1)
    #expect(table.check(1, sequence: 1) == .duplicate(.version(10)))
    table.record(1, sequence: 2, outcome: .state(0x3430_3030_31), time: 2)
    #expect(table.check(1, sequence: 1) == .stale)
    #expect(table.check(1, sequence: 2) == .duplicate(.state(0x3430_3030_31)))
    table.open(2, time: 3)
    table.open(3, time: 4)
    #expect(table.count == 2)
    #expect(table.check(1, sequence: 3) == .unknownSession, "the session longest unused goes first")
    table.expire(unusedSince: 4)
    #expect(table.check(2, sequence: 1) == .unknownSession)
    #expect(table.check(3, sequence: 1) == .new)
  }
}

/// Mutants that need a moment too rare for the simulator: each is shown to matter here.
@Suite struct RareMomentTests {
  static let cluster = ClusterID(high: 1, low: 1)
  static let root = Chain(high: 1, low: 1)

  static func entry(_ slot: UInt64, _ origin: Ballot, salt: UInt64 = 0) -> Entry {
    Entry(slot: slot, chain: Chain(high: 5 + salt, low: slot), origin: origin, sizeBytes: 1, kind: .command)
  }

  static func make(_ mutation: Mutation?, voters: Int = 3) throws -> Replica {
    let configuration = try Configuration(epoch: 1, voters: (1...UInt64(voters)).map { NodeID($0) })
    return Replica(
      id: NodeID(1), cluster: cluster, settings: Settings(),
      recovered: Recovered(founding: configuration, chain: root), seed: 1, now: 1_000_000, mutation: mutation)
  }

  static func sync(_ replica: inout Replica, _ ballot: Ballot, _ records: [Entry], into actions: inout Actions) {
    let message = Message(
      cluster: cluster, from: ballot.node, to: NodeID(1), epoch: 1,
      content: .notice(
        .acceptSync(
          AcceptSync(
            ballot: ballot, previous: ChainPoint(slot: 0, chain: root), adoptedEnd: UInt64(records.count), chosen: 0))))
    #expect(replica.receive(message, records: records, now: 1_000_000, into: &actions) == nil)
  }

  /// A write of records that were overwritten completes late: it says nothing about the records that replaced them.
  @Test(arguments: [nil, .staleCompletionCounts] as [Mutation?])
  func lateCompletion(mutation: Mutation?) throws {
    var replica = try Self.make(mutation)
    var actions = Actions()
    let first = Ballot(epoch: 1, round: 1, priority: 0, node: NodeID(2))
    let second = Ballot(epoch: 1, round: 2, priority: 0, node: NodeID(3))
    Self.sync(&replica, first, [Self.entry(1, first), Self.entry(2, first)], into: &actions)
    let early = try #require(actions.persists.last?.token)
    Self.sync(&replica, second, [Self.entry(1, second, salt: 1), Self.entry(2, second, salt: 1)], into: &actions)
    let late = try #require(actions.persists.last?.token)
    replica.persisted(early, now: 1_000_000, into: &actions)
    #expect((replica.ownDurable == 0) == (mutation == nil))
    replica.persisted(late, now: 1_000_000, into: &actions)
    #expect(replica.ownDurable == 2)
  }

  /// A checkpoint that contradicts the log takes the log's place.
  @Test(arguments: [nil, .installKeepsForeignLog] as [Mutation?])
  func installOverForeignLog(mutation: Mutation?) throws {
    var replica = try Self.make(mutation)
    var actions = Actions()
    let first = Ballot(epoch: 1, round: 1, priority: 0, node: NodeID(2))
    Self.sync(&replica, first, (1...6).map { Self.entry($0, first) }, into: &actions)
    let point = ChainPoint(slot: 4, chain: Chain(high: 99, low: 99))
    let checkpoint = Checkpoint(
      point: point, configuration: replica.configuration, epochStart: ChainPoint(slot: 0, chain: Self.root))
    #expect(replica.install(checkpoint, now: 1_000_000, into: &actions))
    #expect(replica.chosen == 4)
    #expect((replica.last == 4) == (mutation == nil), "records behind another slot 4 must go")
  }

  /// The own promise counts when it is durable, not before.
  @Test(arguments: [nil, .leadBeforeDurable] as [Mutation?])
  func candidateWaitsForItsDisk(mutation: Mutation?) throws {
    var replica = try Self.make(mutation)
    var actions = Actions()
    replica.campaignNow(now: 1_000_000, into: &actions)
    #expect(actions.notices.isEmpty == (mutation == nil), "nobody hears of a ballot that a crash could forget")
    let token = try #require(actions.persists.last?.token)
    actions.reset()
    replica.persisted(token, now: 1_000_000, into: &actions)
    #expect(actions.notices.contains { if case .prepare = $0.notice { true } else { false } } || mutation != nil)
  }

  /// A leader whose disk has stalled stops leading, though its peers answer.
  @Test func stalledDisk() throws {
    var replica = try Self.make(nil, voters: 1)
    var actions = Actions()
    replica.tick(now: 1_000_000, into: &actions)
    replica.persisted(try #require(actions.persists.last?.token), now: 1_000_000, into: &actions)
    let build = try #require(actions.builds.first)
    replica.persisted(try #require(actions.persists.last?.token), now: 1_000_000, into: &actions)
    let record = Entry(
      slot: build.slot, chain: Chain(high: 9, low: 9), origin: build.origin, sizeBytes: 1, kind: .leadership)
    replica.built(record, now: 1_000_000, into: &actions)
    #expect(replica.isLeader)
    replica.tick(now: 2_900_000, into: &actions)
    #expect(replica.isLeader)
    replica.tick(now: 3_100_000, into: &actions)
    #expect(!replica.isLeader && !replica.diskFit)
  }

  /// A vow can only be sent through a write: there is no way to say it in a notice.
  @Test func onePersistCarriesItsVows() throws {
    var replica = try Self.make(nil)
    var actions = Actions()
    let ballot = Ballot(epoch: 1, round: 1, priority: 0, node: NodeID(2))
    Self.sync(&replica, ballot, [Self.entry(1, ballot)], into: &actions)
    let persist = try #require(actions.persists.last)
    #expect(persist.change == .replace(after: 0))
    #expect(persist.accepted == ballot && persist.entries.count == 1 && persist.vows.count == 1)
  }
}
