import Paxos
import Simulation
import Testing

@Suite struct HostileMessageTests {
  static let cluster = ClusterID(high: 7, low: 8)

  static func replica(seed: UInt64 = 1) throws -> Replica {
    let configuration = try Configuration(epoch: 1, voters: [NodeID(1), NodeID(2), NodeID(3)])
    return Replica(
      id: NodeID(1), cluster: cluster, settings: Settings(),
      recovered: Recovered(founding: configuration, chain: Chain(high: 1, low: 1)), seed: seed, now: 1_000_000)
  }

  static func state(_ replica: Replica) -> Int {
    var hasher = Hasher()
    replica.hashState(into: &hasher)
    return hasher.finalize()
  }

  @Test func foreignAndMisaddressedMessagesChangeNothing() throws {
    var replica = try Self.replica()
    var draw = MessageDraw(dice: Dice(seed: 4))
    var actions = Actions()
    let before = Self.state(replica)
    for _ in 0..<5_000 {
      let foreign = draw.message(cluster: ClusterID(high: 7, low: 9))
      #expect(replica.receive(foreign, now: 2_000_000, into: &actions) == .foreignCluster)
      let other = draw.message(to: NodeID(2), cluster: Self.cluster)
      #expect(replica.receive(other, now: 2_000_000, into: &actions) == .notForThisNode)
    }
    #expect(actions.isEmpty)
    #expect(Self.state(replica) == before)
  }

  @Test func malformedMessagesChangeNothing() throws {
    var replica = try Self.replica()
    var actions = Actions()
    let before = Self.state(replica)
    let huge = Ballot(epoch: 1, round: .max, priority: 0, node: NodeID(2))
    let sane = Ballot(epoch: 1, round: 1, priority: 0, node: NodeID(2))
    let chain = Chain(high: 1, low: 1)
    func entry(_ slot: UInt64, _ kind: EntryKind = .command) -> Entry {
      Entry(slot: slot, chain: Chain(high: 2, low: slot), origin: sane, sizeBytes: 1, kind: kind)
    }
    let start = ChainPoint(slot: 0, chain: chain)
    let malformed: [(Notice, [Entry])] = [
      (.prepare(ballot: huge, released: .zero), []),
      (.accept(Accept(ballot: sane, previous: ChainPoint(slot: .max, chain: chain), chosen: 0)), []),
      (.acceptSync(AcceptSync(ballot: sane, previous: start, adoptedEnd: .max, chosen: 0)), []),
      (.acceptSync(AcceptSync(ballot: sane, previous: start, adoptedEnd: 2, chosen: 0)), [entry(1), entry(3)]),
      (.acceptSync(AcceptSync(ballot: sane, previous: start, adoptedEnd: 2, chosen: 0)), [entry(1, .stop), entry(2)]),
      (.prepare(ballot: sane, released: .zero), [entry(1)]),
      (.startEpoch(ChainPoint(slot: .max, chain: chain)), []),
    ]
    for (notice, records) in malformed {
      let message = Message(
        cluster: Self.cluster, from: NodeID(2), to: NodeID(1), epoch: 1, content: .notice(notice))
      #expect(replica.receive(message, records: records, now: 2_000_000, into: &actions) == .malformed)
    }
    #expect(actions.isEmpty)
    #expect(Self.state(replica) == before)
  }

  /// A member that says anything at all makes no trap, and breaks no rule that this node can see.
  @Test(arguments: 1...8)
  func nothingTraps(seed: Int) throws {
    var replica = try Self.replica(seed: UInt64(seed))
    var draw = MessageDraw(dice: Dice(seed: UInt64(seed)))
    var actions = Actions()
    var now: Ticks = 1_000_000
    for step in 0..<20_000 {
      now += UInt64(draw.dice.below(20_000))
      var message = draw.message(cluster: Self.cluster)
      if draw.dice.chance(800) { message.epoch = 1 }
      var records: [Entry] = []
      if draw.dice.chance(500) {
        let first = UInt64(draw.dice.below(8))
        for k in 0..<UInt64(draw.dice.below(4)) {
          let chain = Chain(high: 1, low: first + k)
          records.append(
            Entry(slot: first + k, chain: chain, origin: draw.ballot(), sizeBytes: 1, kind: .command))
        }
      }
      replica.receive(message, records: records, now: now, into: &actions)
      if draw.dice.chance(200) { replica.tick(now: now, into: &actions) }
      if let persist = actions.persists.last, draw.dice.chance(700) {
        replica.persisted(persist.token, now: now, into: &actions)
      }
      for build in actions.builds {
        let chain = Chain(high: 3, low: UInt64(step))
        replica.built(
          Entry(slot: build.slot, chain: chain, origin: build.origin, sizeBytes: 1, kind: build.kind), now: now,
          into: &actions)
      }
      actions.reset()
      if let broken = replica.checkInvariants() {
        Issue.record("seed \(seed), step \(step): \(broken)")
        return
      }
    }
  }
}
