import Paxos
import Testing

/// How fast a node that is behind asks for what it lacks.
@Suite struct CatchUpPaceTests {
  /// A follower that knows of `head` chosen slots and asks for them; records of 1 MiB.
  struct Follower {
    var replica: Replica
    var actions = Actions()
    var now: Ticks = 2_000_000
    let ballot = Ballot(epoch: 1, round: 1, priority: 0, node: NodeID(2))
    var last: SlotNumber = 0
    var lastToken: Token?

    init() throws {
      replica = try RareMomentTests.make(nil)
      let beat = Heartbeat(
        ballot: ballot, leads: false, quorumConnected: true, diskFit: true, round: 1,
        chosen: ChainPoint(slot: 1000, chain: Chain(high: 5, low: 1000)), checkpoint: 0, sent: 1, echo: now - 1000,
        leased: false)
      let message = Message(
        cluster: RareMomentTests.cluster, from: NodeID(2), to: NodeID(1), epoch: 1, content: .notice(.heartbeat(beat)))
      let refusal = replica.receive(message, now: now, into: &actions)
      #expect(refusal == nil)
    }

    /// Whether it has asked since this was last called.
    mutating func asks() -> Bool {
      let found = actions.notices.contains { if case .fetch = $0.notice { true } else { false } }
      actions.reset()
      return found
    }

    mutating func expectToAsk(_ comment: Comment? = nil) {
      let isAsking = asks()
      #expect(isAsking, comment)
    }

    /// The answer: one record, and how far the log is chosen by then. Durable at once, unless the disk is slow.
    mutating func answer(head: SlotNumber, durable: Bool = true) {
      let previous = ChainPoint(
        slot: last, chain: last == 0 ? RareMomentTests.root : Chain(high: 5, low: last))
      last += 1
      let entry = Entry(
        slot: last, chain: Chain(high: 5, low: last), origin: ballot, sizeBytes: 1 << 20, kind: .command)
      let message = Message(
        cluster: RareMomentTests.cluster, from: NodeID(2), to: NodeID(1), epoch: 1,
        content: .notice(.records(Records(purpose: .learn, previous: previous, ballot: ballot, chosen: head))))
      let refusal = replica.receive(message, records: [entry], now: now, into: &actions)
      #expect(refusal == nil)
      lastToken = actions.persists.last?.token ?? lastToken
      if durable, let lastToken { replica.persisted(lastToken, now: now, into: &actions) }
    }

    mutating func complete(_ token: Token) { replica.persisted(token, now: now, into: &actions) }

    mutating func wait(_ ticks: Ticks) {
      now += ticks
      replica.tick(now: now, into: &actions)
    }
  }

  @Test func nothingIsHeldBackWhileNobodyCommits() throws {
    var follower = try Follower()
    follower.expectToAsk()
    for _ in 0..<20 {
      follower.answer(head: 1000)
      follower.expectToAsk()
    }
  }

  @Test func whileOthersCommitItAsksAtARate() throws {
    var follower = try Follower()
    follower.expectToAsk()
    follower.answer(head: 1000)
    follower.expectToAsk("the first answer tells nothing of what the others do")
    // Ten records of 1 MiB a second are added, and 1000 are missing: 1 MiB each 17 to 32 ms, then.
    var asked = 0
    var head: SlotNumber = 1000
    for millisecond in 0..<2000 {
      if millisecond % 100 == 0 { head += 1 }
      follower.wait(1000)
      guard follower.asks() || millisecond == 0 else { continue }
      if millisecond >= 1000 { asked += 1 }
      follower.answer(head: head)
    }
    #expect((25...62).contains(asked), "\(asked) MiB in a second")
    // They all wait for this node now: after a moment nothing is held back.
    for _ in 0..<500 {
      follower.wait(1000)
      if follower.asks() { follower.answer(head: head) }
    }
    for _ in 0..<20 {
      follower.expectToAsk()
      follower.answer(head: head)
    }
  }

  /// Where more is added than the usual pace would bring, it is faster than that.
  @Test func itIsFasterThanTheOthersAdd() throws {
    var follower = try Follower()
    follower.expectToAsk()
    follower.answer(head: 1000)
    follower.expectToAsk()
    var head: SlotNumber = 1000
    var behind: [SlotNumber] = []
    follower.answer(head: head)
    var isAsked = follower.asks()
    for millisecond in 0..<60_000 where follower.last < head {
      // 100 records of 1 MiB a second.
      if millisecond % 10 == 0 { head += 1 }
      if isAsked {
        follower.answer(head: head)
        isAsked = follower.asks()
      }
      follower.wait(1000)
      isAsked = follower.asks() || isAsked
      if millisecond % 1000 == 0 { behind.append(head - follower.last) }
    }
    #expect(follower.last == head, "behind, second by second: \(behind)")
  }

  /// A disk that is slower than the network holds the next question back: what came waits in memory.
  @Test func aSlowDiskIsWaitedFor() throws {
    var follower = try Follower()
    follower.expectToAsk()
    var answered = 0
    repeat {
      follower.answer(head: 1000, durable: false)
      answered += 1
    } while follower.asks() && answered < 100
    #expect(answered < 10)
    let token = try #require(follower.lastToken)
    follower.complete(token)
    follower.expectToAsk()
  }
}
