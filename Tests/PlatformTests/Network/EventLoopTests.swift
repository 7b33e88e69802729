import Foundation
import Platform
import Synchronization
import Testing

@Suite struct EventLoopTests {
  @Test func whatManyThreadsAskForRunsOnceEachAndInOrder() throws {
    // No handler here loses its loop, however slow the machine: only the beginning of handlers is ordered.
    try withGroup(loops: 2, slice: 600_000_000_000) { group in
      let loop = group.next()
      let tally = Tally()
      let seen = Mutex([[Int]](repeating: [], count: 8))
      for sender in 0..<8 {
        Thread.detachNewThread {
          for number in 0..<2000 {
            loop.execute {
              seen.withLock { $0[sender].append(number) }
              tally.add()
            }
          }
        }
      }
      tally.wait(for: 16_000)
      for numbers in seen.withLock({ $0 }) { #expect(numbers == Array(0..<2000)) }
    }
  }

  @Test func handlersKnowTheirLoop() throws {
    try withGroup(loops: 2) { group in
      #expect(EventLoop.current == nil)
      let tally = Tally()
      for loop in group.loops {
        loop.execute {
          if EventLoop.current === loop && loop.isTurnedByCaller { tally.add() }
          EventLoop.blocking {}
          if EventLoop.current === loop && !loop.isTurnedByCaller { tally.add() }
          tally.add()
        }
      }
      tally.wait(for: 6)
    }
  }

  @Test func timersRunInOrderAndNotBeforeTheirTime() throws {
    try withGroup(loops: 1) { group in
      let loop = group.next()
      let order = Mutex<[Int]>([])
      let tally = Tally()
      let start = LinuxClock().bootNanoseconds
      for (place, delay) in [30, 10, 20, 10].enumerated() {
        loop.schedule(afterNanoseconds: UInt64(delay) * 1_000_000) {
          if LinuxClock().bootNanoseconds - start >= UInt64(delay) * 1_000_000 { order.withLock { $0.append(place) } }
          tally.add()
        }
      }
      let cancelled = loop.schedule(afterNanoseconds: 5_000_000) { order.withLock { $0.append(99) } }
      #expect(loop.cancel(cancelled))
      #expect(!loop.cancel(cancelled))
      tally.wait(for: 4)
      #expect(order.withLock { $0 } == [1, 3, 2, 0])
    }
  }

  @Test func anEarlierTimerWakesASleepingLoop() throws {
    try withGroup(loops: 1) { group in
      let loop = group.next()
      let tally = Tally()
      loop.schedule(afterNanoseconds: 3_600_000_000_000) { tally.add() }
      loop.execute { tally.add() }
      tally.wait(for: 1)
      loop.schedule(afterNanoseconds: 1_000) { tally.add() }
      tally.wait(for: 2)
      #expect(tally.value == 2)
    }
  }

  /// Against an array that is sorted anew for every question.
  @Test func timersAgreeWithAModel() {
    for seed: UInt64 in 1...20 {
      var random = SeededRandomness(seed: seed)
      var heap = TimerModel()
      for _ in 0..<400 {
        let agrees = heap.step(&random)
        #expect(agrees, "seed \(seed)")
      }
    }
  }

  // MARK: Handing over

  @Test func aBlockedHandlerDoesNotHoldUpItsLoop() throws {
    try withGroup(loops: 1) { group in
      let loop = group.next()
      let gate = Tally()
      let done = Tally()
      loop.execute {
        EventLoop.blocking { gate.wait(for: 1) }
        done.add()
      }
      // On the same loop: it could not run if the loop were still the blocked thread's.
      loop.execute { gate.add() }
      done.wait(for: 1)
    }
  }

  @Test func theMonitorTakesTheLoopFromAHandlerThatDoesNotSay() throws {
    try withGroup(loops: 1) { group in
      let loop = group.next()
      let gate = Tally()
      let done = Tally()
      for round in 1...5 {
        loop.execute {
          gate.wait(for: round)
          done.add()
        }
        loop.execute { gate.add() }
        done.wait(for: round)
      }
    }
  }

  /// A handler of a loop with one source may look for what it waits for; any other is told at once to wait in another way.
  @Test func onlyALoopWithOneSourceSpinsForItsHandler() throws {
    #expect(!EventLoop.spin(forNanoseconds: 1_000_000_000) { true })
    try withGroup(loops: 2) { group in
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        TestHandler {
          $0.onReceived = { _, connection in
            connection.send([EventLoop.spin(forNanoseconds: 1_000_000_000) { true } ? 1 : 0])
          }
        }
      }
      try withGroup(loops: 1) { clients in
        let collector = Collector()
        let connection = try client(listener.address, on: clients.next(), sending: [1], into: collector)
        for round in 1...100 {
          collector.wait { $0.count >= round }
          connection.loop.execute { connection.send([1]) }
        }
        #expect(collector.bytes.first == 0)
        #expect(collector.bytes.contains(1))
      }
    }
  }

  /// A monitor that sleeps beside a busy loop is woken by a handler that says that it may take long.
  @Test func aMonitorThatSleepsIsAskedToWatch() throws {
    try withGroup(loops: 1, watchesOnRequest: true) { group in
      let loop = group.next()
      let gate = Tally()
      let done = Tally()
      for round in 1...5 {
        // It falls asleep after 32 ticks of a millisecond without a request, though the loop has something to do in each.
        for _ in 0..<60 {
          let turn = Tally()
          loop.schedule(afterNanoseconds: 1_000_000) { turn.add() }
          turn.wait(for: 1)
        }
        loop.execute {
          EventLoop.mayRunLong()
          gate.wait(for: round)
          done.add()
        }
        loop.execute { gate.add() }
        done.wait(for: round)
      }
    }
  }

  @Test func blockedHandlersNest() throws {
    // Each waits for the next one on the same loop.
    try withGroup(loops: 1) { group in
      let loop = group.next()
      let gates = (0..<20).map { _ in Tally() }
      let done = Tally()
      for place in 0..<20 {
        loop.execute {
          if place < 19 { EventLoop.blocking { gates[place + 1].wait(for: 1) } }
          gates[place].add()
          done.add()
        }
      }
      done.wait(for: 20)
      // The threads are used again.
      #expect(group.threadCounts.all <= 21)
      for round in 1...50 {
        let gate = Tally()
        loop.execute {
          EventLoop.blocking { gate.wait(for: 1) }
          done.add()
        }
        loop.execute { gate.add() }
        done.wait(for: 20 + round)
      }
      #expect(group.threadCounts.all <= 22)
    }
  }

  @Test func aLoopWithoutAThreadWaitsForOne() throws {
    try withGroup(loops: 1, maximumThreads: 2) { group in
      let loop = group.next()
      let gate = Tally()
      let started = Tally()
      let done = Tally()
      for _ in 0..<2 {
        loop.execute {
          started.add()
          EventLoop.blocking { gate.wait(for: 1) }
          done.add()
        }
      }
      started.wait(for: 2)
      // Both threads are blocked, and the loop is nobody's.
      loop.execute { done.add() }
      #expect(group.threadCounts.all == 2)
      gate.add()
      done.wait(for: 3)
    }
  }

  /// The end of a handler against the monitor, again and again: each runs about as long as the slice.
  @Test func theEndOfAHandlerMeetsTheMonitor() throws {
    try withGroup(loops: 2, slice: 1) { group in
      let done = Tally()
      for round in 0..<600 {
        group.loops[round % 2].execute {
          if round % 5 == 0 {
            let until = LinuxClock().bootNanoseconds + 1_000_000 + UInt64(round % 7) * 50_000
            while LinuxClock().bootNanoseconds < until {}
          }
          if round % 3 == 0 { EventLoop.blocking {} }
          done.add()
        }
      }
      done.wait(for: 600)
    }
  }

  @Test func anIdleGroupUsesNoProcessor() throws {
    try withGroup(loops: 4) { group in
      let tally = Tally()
      for loop in group.loops { loop.execute { tally.add() } }
      tally.wait(for: 4)
      #expect(group.threadCounts.all <= 8)
    }
  }

  @Test func aGroupIsMadeAndShutDownManyTimes() throws {
    for _ in 0..<50 { try withGroup(loops: 3) { group in group.next().execute {} } }
  }

  @Test func aSignalComesToTheLoop() throws {
    try withGroup(loops: 1) { group in
      let tally = Tally()
      let source = try SignalSource.watch([.user1, .user2], on: group.next()) { signal in
        if signal == .user2 { tally.add() }
      }
      kill(getpid(), SIGUSR2)
      tally.wait(for: 1)
      kill(getpid(), SIGUSR2)
      tally.wait(for: 2)
      source.stop()
    }
  }

  @Test func theLimitOfOpenFilesIsRaised() {
    let raised = ResourceLimits.raiseOpenFiles()
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(7), &limit)
    #expect(UInt64(raised) == min(UInt64(limit.rlim_max), UInt64(Int32.max)))
    #expect(limit.rlim_cur == limit.rlim_max)
  }
}

/// Timers of a loop through its public face would need time to pass; the order is what matters here.
private struct TimerModel: ~Copyable {
  private var queue = TimerQueue()
  private var model: [(deadline: UInt64, order: Int, token: TimerToken)] = []
  private var order = 0
  private var now: UInt64 = 0

  mutating func step(_ random: inout SeededRandomness) -> Bool {
    switch random.below(4) {
    case 0, 1:
      order += 1
      let deadline = now + UInt64(random.below(50))
      let token = queue.insert(deadline: deadline, number: order)
      model.append((deadline, order, token))
    case 2:
      guard !model.isEmpty else { return true }
      let chosen = model.remove(at: random.below(model.count))
      guard queue.remove(chosen.token), !queue.remove(chosen.token) else { return false }
    default:
      now += UInt64(random.below(20))
      let due = model.filter { $0.deadline <= now }.sorted { ($0.deadline, $0.order) < ($1.deadline, $1.order) }
      model.removeAll { $0.deadline <= now }
      guard queue.popDue(now) == due.map(\.order) else { return false }
    }
    return queue.earliest == model.map(\.deadline).min()
  }
}
