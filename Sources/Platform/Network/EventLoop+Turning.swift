internal import CSynod
internal import Synchronization

// Turning: what the thread that has the loop does. All progress is kept in the loop itself, so that another thread can go on
// wherever a handler ended the turner's time.
extension EventLoop {
  /// Turns the loop until it has stopped (true) or was taken from this thread (false).
  func turn(_ thread: LoopThread) -> Bool {
    while true {
      while nextEvent < eventCount {
        let event = unsafe events[nextEvent]
        nextEvent &+= 1
        if event.token == Self.wakerToken {
          synod_event_clear(waker)
        } else if let source = source(event.token) {
          guard dispatch(source, event.events, thread) else { return false }
        }
      }
      while nextItem < batch.count {
        let item = batch[nextItem]
        nextItem &+= 1
        guard perform(item, thread) else { return false }
      }
      while nextReady < readyEnd {
        let source = ready[nextReady]
        nextReady &+= 1
        source.isQueued = false
        guard dispatch(source, 0, thread) else { return false }
      }
      guard runDueTimers(thread) else { return false }
      if isStopping && liveCount == 0 && nextReady == ready.count && inbox.withLock({ $0.isEmpty }) { return true }
      refill()
    }
  }

  /// Takes the next things to do, and sleeps until there are any.
  private func refill() {
    batch.removeAll(keepingCapacity: true)
    nextItem = 0
    if nextReady > 0 {
      ready.removeFirst(nextReady)
      nextReady = 0
    }
    readyEnd = ready.count
    let maySleep = readyEnd == 0
    if maySleep { isSleeping.store(true, ordering: .releasing) }
    inbox.withLock { swap(&$0, &batch) }
    let timeout = maySleep && batch.isEmpty ? nanosecondsToTimer() : 0
    if timeout != 0 { isPolling.store(true, ordering: .sequentiallyConsistent) }
    var count = timeout == 0 ? 0 : spin()
    if count == 0 { count = unsafe synod_poll_wait(poller, events, Int32(Self.eventCapacity), timeout) }
    precondition(count >= 0, "epoll_wait fails only where its arguments are wrong")
    if maySleep { isSleeping.store(false, ordering: .releasing) }
    if timeout != 0 {
      isPolling.store(false, ordering: .sequentiallyConsistent)
      monitor.note()
    }
    nextEvent = 0
    eventCount = Int(count)
  }

  /// Looks for events for a moment before it sleeps, where the loop has had one source's only and looking has lately found
  /// some. The number of events found, 0 where it may as well sleep.
  private func spin() -> Int32 {
    guard solo.maySpin(), group.count > 1, !group.isSpinning.exchange(true, ordering: .acquiring) else { return 0 }
    defer { group.isSpinning.store(false, ordering: .releasing) }
    let end = synod_boot_nanoseconds() &+ LoopSolo.spinNanoseconds
    var count: Int32 = 0
    repeat {
      count = unsafe synod_poll_wait(poller, events, Int32(Self.eventCapacity), 0)
    } while count == 0 && synod_boot_nanoseconds() < end
    solo.hasSpun(found: count > 0)
    return count
  }

  /// Looks again and again whether something has happened that the handler of the calling thread would otherwise have to be
  /// woken for, where its loop has had one source's events only and looking has lately helped (`LoopSolo`). At once false
  /// on any other thread.
  package static func spin(forNanoseconds limit: UInt64, until isDone: () -> Bool) -> Bool {
    guard let thread = LoopThread.current, let loop = thread.loop, thread.isAlone, loop.isTurnedByCaller,
      loop.group.count > 1, thread.waits.maySpin(), !loop.group.isSpinning.exchange(true, ordering: .acquiring)
    else { return false }
    defer { loop.group.isSpinning.store(false, ordering: .releasing) }
    let end = synod_boot_nanoseconds() &+ limit
    var isFound = isDone()
    while !isFound, synod_boot_nanoseconds() < end { isFound = isDone() }
    thread.waits.hasSpun(found: isFound)
    return isFound
  }

  /// How long the turner may sleep; -1 without end.
  private func nanosecondsToTimer() -> Int64 {
    let earliest = timers.withLock { $0.earliest }
    guard earliest != .max else { return -1 }
    let now = synod_boot_nanoseconds()
    return earliest <= now ? 0 : Int64(clamping: earliest - now)
  }

  private func runDueTimers(_ thread: LoopThread) -> Bool {
    guard earliestTimer.load(ordering: .acquiring) != .max else { return true }
    let now = synod_boot_nanoseconds()
    while earliestTimer.load(ordering: .acquiring) <= now {
      let due = timers.withLock { timers in
        let body = timers.popDue(now)
        earliestTimer.store(timers.earliest, ordering: .releasing)
        return body
      }
      guard let due else { return true }
      guard run(due, thread) else { return false }
    }
    return true
  }

  // MARK: Handlers

  /// Before a handler: from here on the loop may be taken.
  @inline(__always)
  private func enter(_ thread: LoopThread) {
    thread.word &+= 1
    word.store(thread.word, ordering: .releasing)
  }

  /// After a handler: true where this thread still turns the loop.
  @inline(__always)
  private func leave(_ thread: LoopThread) -> Bool {
    guard !thread.isDetached else { return false }
    guard take(thread.word) else {
      thread.isDetached = true
      return false
    }
    thread.word &+= 1
    return true
  }

  private func run(_ body: () -> Void, _ thread: LoopThread) -> Bool {
    enter(thread)
    body()
    // There is no source that anyone could turn meanwhile: what is left to be done is as well done at once.
    while !thread.afterwards.isEmpty { thread.afterwards.removeFirst()() }
    return leave(thread)
  }

  /// Gives a source its turn, or remembers the events where it is checked out. False where the loop is gone.
  private func dispatch(_ source: EventSource, _ events: UInt32, _ thread: LoopThread) -> Bool {
    guard !source.isCheckedOut else {
      source.pendingEvents |= events
      source.noticed(events)
      return true
    }
    let all = events | source.pendingEvents
    source.pendingEvents = 0
    var mail: [EventSource.Mail] = []
    if !source.mail.isEmpty { swap(&mail, &source.mail) }
    source.isCheckedOut = true
    solo.note(source.token)
    thread.isAlone = solo.isAlone
    enter(thread)
    source.turn(all, mail, thread)
    guard leave(thread) else {
      post(.handBack(source))
      while !thread.afterwards.isEmpty { thread.afterwards.removeFirst()() }
      return false
    }
    checkIn(source)
    return thread.afterwards.isEmpty || runAfterwards(thread)
  }

  /// Runs what the handler left to be done, as handlers of their own. The source is idle meanwhile: who takes the loop turns it.
  private func runAfterwards(_ thread: LoopThread) -> Bool {
    let body = thread.afterwards.removeFirst()
    return run(body, thread)
  }

  private func checkIn(_ source: EventSource) {
    source.isCheckedOut = false
    if source.isFinished { forget(source) }
    if source.wantsTurn || source.pendingEvents != 0 || !source.mail.isEmpty { enqueue(source) }
  }

  private func enqueue(_ source: EventSource) {
    guard !source.isQueued, !source.isCheckedOut else { return }
    source.isQueued = true
    ready.append(source)
  }

  private func perform(_ item: Item, _ thread: LoopThread) -> Bool {
    switch item {
    case .run(let body): return run(body, thread)
    case .mail(let source, let body):
      source.mail.append(body)
      return source.isCheckedOut ? true : dispatch(source, 0, thread)
    case .wake(let source): return dispatch(source, LoopEvents.woken, thread)
    case .register(let source): return register(source, thread)
    case .handBack(let source): checkIn(source)
    case .stop: stop()
    }
    return true
  }

  // MARK: The table

  /// Slot and generation: an event for a source that is gone finds nobody, though its slot is used again.
  private func source(_ token: UInt64) -> EventSource? {
    let slot = Int(truncatingIfNeeded: token & 0xffff_ffff)
    guard slot < table.count, generations[slot] == UInt32(truncatingIfNeeded: token >> 32) else { return nil }
    return table[slot]
  }

  private func register(_ source: EventSource, _ thread: LoopThread) -> Bool {
    let slot = freeSlots.popLast() ?? table.count
    if slot == table.count {
      table.append(nil)
      generations.append(0)
    }
    table[slot] = source
    liveCount += 1
    source.token = UInt64(generations[slot]) << 32 | UInt64(slot)
    let (descriptor, events) = source.registration
    let code = synod_poll_add(poller, descriptor, events | synod_poll_edge, source.token)
    var first = LoopEvents.registered
    if code != 0 { first |= LoopEvents.refused }
    if isStopping { first |= LoopEvents.stop }
    return dispatch(source, first, thread)
  }

  private func forget(_ source: EventSource) {
    let slot = Int(truncatingIfNeeded: source.token & 0xffff_ffff)
    guard slot < table.count, table[slot] === source else { return }
    table[slot] = nil
    generations[slot] &+= 1
    freeSlots.append(slot)
    liveCount -= 1
  }

  private func stop() {
    isStopping = true
    for source in table {
      guard let source else { continue }
      source.pendingEvents |= LoopEvents.stop
      if source.isCheckedOut { source.abandon() } else { enqueue(source) }
    }
  }
}
