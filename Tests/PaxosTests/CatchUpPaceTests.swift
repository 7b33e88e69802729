import Paxos
import Testing

/// How fast a node that is behind asks for what it lacks.
@Suite struct CatchUpPaceTests {
  /// A follower that knows of `head` chosen slots and asks for them; records of 1 MiB, if not told otherwise.
  struct Follower {
    var replica: Replica
    var actions = Actions()
    var now: Ticks = 2_000_000
    let ballot = Ballot(epoch: 1, round: 1, priority: 0, node: NodeID(2))
    var last: SlotNumber = 0
    var lastToken: Token?
    let sizeBytes: UInt32
    /// What was asked for last, in records; 0: as many as come.
    var wanted: UInt64 = 0

    init(head: SlotNumber = 1000, sizeBytes: UInt32 = 1 << 20) throws {
      self.sizeBytes = sizeBytes
      replica = try RareMomentTests.make(nil)
      hear(head: head)
    }

    /// A heartbeat of somebody who knows the log to be chosen through `head`.
    mutating func hear(head: SlotNumber) {
      let beat = Heartbeat(
        ballot: ballot, leads: false, quorumConnected: true, diskFit: true, round: 1,
        chosen: ChainPoint(slot: head, chain: Chain(high: 5, low: head)), checkpoint: 0, sent: 1, echo: now - 1000,
        leased: false)
      let message = Message(
        cluster: RareMomentTests.cluster, from: NodeID(2), to: NodeID(1), epoch: 1, content: .notice(.heartbeat(beat)))
      let refusal = replica.receive(message, now: now, into: &actions)
      #expect(refusal == nil)
    }

    /// Whether it has asked since this was last called.
    mutating func asks() -> Bool {
      var found = false
      for envelope in actions.notices {
        guard case .fetch(let fetch) = envelope.notice else { continue }
        found = true
        wanted = fetch.end.slot - fetch.previous.slot
      }
      actions.reset()
      return found
    }

    mutating func expectToAsk(_ comment: Comment? = nil) {
      let isAsking = asks()
      #expect(isAsking, comment)
    }

    mutating func expectToWait(_ comment: Comment? = nil) {
      let isAsking = asks()
      #expect(!isAsking, comment)
    }

    /// The answer: some records, and how far the log is chosen by then. Durable at once, unless the disk is slow.
    mutating func answer(head: SlotNumber, records: UInt64 = 1, durable: Bool = true) {
      let previous = ChainPoint(
        slot: last, chain: last == 0 ? RareMomentTests.root : Chain(high: 5, low: last))
      let entries = (1...records).map {
        Entry(
          slot: last + $0, chain: Chain(high: 5, low: last + $0), origin: ballot, sizeBytes: sizeBytes, kind: .command)
      }
      last += records
      let message = Message(
        cluster: RareMomentTests.cluster, from: NodeID(2), to: NodeID(1), epoch: 1,
        content: .notice(.records(Records(purpose: .learn, previous: previous, ballot: ballot, chosen: head))))
      let refusal = replica.receive(message, records: entries, now: now, into: &actions)
      #expect(refusal == nil)
      lastToken = actions.persists.last?.token ?? lastToken
      if durable, let lastToken { replica.persisted(lastToken, now: now, into: &actions) }
    }

    /// How many records it sends to one who has nothing and asks for `count`; nil if none are.
    mutating func serves(_ count: UInt64) -> UInt32? {
      let start = ChainPoint(slot: 0, chain: RareMomentTests.root)
      var end = start
      end.slot = count
      let message = Message(
        cluster: RareMomentTests.cluster, from: NodeID(3), to: NodeID(1), epoch: 1,
        content: .notice(.fetch(Fetch(purpose: .learn, previous: start, ballot: .zero, end: end))))
      actions.reset()
      let refusal = replica.receive(message, now: now, into: &actions)
      #expect(refusal == nil)
      for envelope in actions.notices { if case .records = envelope.notice { return envelope.recordCount } }
      return nil
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
    // Ten records of 1 MiB a second are added, and 1000 are missing: 20 + 1000 / 120 of them in a second, then.
    var asked = 0
    var head: SlotNumber = 1000
    for millisecond in 0..<2000 {
      if millisecond % 100 == 0 { head += 1 }
      follower.wait(1000)
      guard follower.asks() || millisecond == 0 else { continue }
      if millisecond >= 1000 { asked += 1 }
      follower.answer(head: head)
    }
    #expect((20...36).contains(asked), "\(asked) MiB in a second")
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

  /// Little at a time, so that a commit finds the disk free: 64 KiB at the usual rate.
  @Test func whileOthersCommitItAsksForLittle() throws {
    var follower = try Follower(head: 1_000_000, sizeBytes: 1024)
    follower.expectToAsk()
    #expect(follower.wanted == 32, "nothing is known of the records' sizes")
    var head: SlotNumber = 1_000_000
    var bytes: UInt64 = 0
    var largest: UInt64 = 0
    for millisecond in 0..<4000 {
      // As coarse as the driver's clock.
      if millisecond % 10 == 0 {
        head += 10
        follower.wait(10_000)
      }
      if millisecond > 0, !follower.asks() { continue }
      // Now and then it is some milliseconds until the answer is here.
      largest = max(largest, follower.wanted)
      let wanted = max(1, follower.wanted)
      follower.answer(head: head, records: wanted)
      if millisecond >= 2000 { bytes += wanted * 1024 }
    }
    let rate = Settings().catchUpBytesPerSecond
    let expected = max(rate, 2 * 1024 * 1000 + (1 << 30) / 120)
    #expect(largest <= max(64, 2 * expected / 50 / 1024), "\(largest) records at once")
    #expect(
      bytes / 2 > expected * 8 / 10 && bytes / 2 < expected * 13 / 10, "\(bytes / 2) bytes a second of \(expected)")
    // Nobody commits any more: as much as comes.
    for _ in 0..<50 {
      follower.wait(10_000)
      if follower.asks() { follower.answer(head: head, records: 10) }
    }
    follower.expectToAsk()
    #expect(follower.wanted == 0)
  }

  /// What is large is waited for long; but not when others no longer commit, for then it may be this node that they wait for.
  @Test func nobodyWaitsForThePace() throws {
    func paced() throws -> Follower {
      var follower = try Follower(head: 10, sizeBytes: 16 << 20)
      follower.expectToAsk()
      follower.answer(head: 10)
      follower.expectToAsk()
      follower.wait(1_000_000)
      // 16 MiB a second are added: the next 16 MiB come half a second later.
      follower.answer(head: 11)
      return follower
    }
    var follower = try paced()
    follower.wait(390_000)
    follower.expectToWait()
    follower.wait(20_000)
    follower.expectToAsk("nobody commits any more")
    follower = try paced()
    follower.wait(300_000)
    follower.hear(head: 12)
    follower.wait(150_000)
    follower.expectToWait("others commit")
    follower.wait(100_000)
    follower.expectToAsk()
  }

  @Test func anAnswerHoldsNoMoreThanWasAskedFor() throws {
    var follower = try Follower(sizeBytes: 1024)
    follower.expectToAsk()
    follower.answer(head: 1000, records: 20)
    for (asked, given) in [(0, 20), (3, 3), (100, 20)] as [(UInt64, UInt32)] {
      let served = follower.serves(asked)
      #expect(served == given, "asked for \(asked)")
    }
  }

  /// Over a long way an answer holds what the rate has in that time, or the rate would not be reached.
  @Test func aLongWayTakesLargerAnswers() throws {
    var follower = try Follower(head: 100_000, sizeBytes: 1024)
    follower.expectToAsk()
    var head: SlotNumber = 100_000
    let start = follower.now
    while follower.now < start + 4_000_000 {
      head += 10
      follower.wait(80_000)
      follower.answer(head: head, records: max(1, follower.wanted))
      while !follower.asks() {
        head += 1
        follower.wait(10_000)
      }
    }
    let bytes = follower.last * 1024 * 1_000_000 / (follower.now - start)
    let rate = Settings().catchUpBytesPerSecond
    #expect(bytes > rate * 7 / 10 && bytes < rate * 13 / 10, "\(bytes) bytes a second of \(rate)")
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
