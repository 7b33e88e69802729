internal import CSynod
internal import Synchronization

/// A loop over epoll on which synchronous code runs, and which moves to another thread when that code blocks.
///
/// # Threads
///
/// One thread at a time *turns* the loop: it waits for events and runs handlers. A handler may block (a row lock) or run
/// for long (a scan of everything). So that the loop's other connections go on, the loop is then taken from the thread
/// and given to a spare one, as Go's scheduler hands over a processor: by the handler itself (`EventLoop.blocking`), or by
/// the monitor, which looks at every loop twice a time slice and takes it from a handler that is older than a time
/// slice. The thread that lost the loop finishes its handler all the same, hands the source it held back through the
/// loop's inbox, and parks.
///
/// # The word
///
/// One atomic word decides who turns the loop. It counts: even, the turner is between handlers; odd, within one.
///
/// ```
///   turner:   enter   word: w → w+1  (store; w even: nobody else writes it)
///             handler …
///             leave   word: w+1 → w+2  (compare and swap) ── failed: the loop is gone, do not touch it
///   taker:    take    word: w+1 → w+2  (compare and swap) ── done: the loop is the taker's to give away
/// ```
///
/// 1. What is the loop's (the sources' table, the batch of events, the drained inbox, the queue of ready sources) is touched
///    by the turner only, and only between handlers. So whoever takes the loop finds it whole, and goes on within the same
///    batch of events at the next one.
/// 2. The word never returns to a value, so a taker that saw an old handler cannot take the loop from a later one by mistake.
/// 3. Enter and hand-over release, take and assignment acquire: the new turner sees what the old one wrote.
/// 4. A source is checked out by whoever runs its handler. Events for it are remembered meanwhile; it is turned again when it
///    is handed back. So a source's own state needs no lock.
/// 5. What any thread may do goes through the inbox (a short lock; a write to the eventfd only if the turner sleeps) or
///    through the timers' lock.
///
/// A loop is therefore no lock: a handler that lost it runs on beside the next ones. What belongs to a connection is safe
/// within the connection's own handlers and mail, one at a time; what several share needs a lock.
///
/// Events are edge-triggered, and a source remembers that it may have more to read; no `epoll_ctl` is needed to pause,
/// to resume or to check out.
///
/// `@unchecked Sendable`: by 1–5.
@safe
package final class EventLoop: @unchecked Sendable {
  enum Item {
    case run(@Sendable () -> Void)
    case mail(EventSource, @Sendable () -> Void)
    case wake(EventSource)
    case register(EventSource)
    case handBack(EventSource)
    case stop
  }

  /// The group that it belongs to, which owns its threads.
  package unowned let group: EventLoopGroup
  let monitor: LoopMonitor
  /// Its place in the group.
  package let index: Int

  let poller: Int32
  let waker: Int32
  let word = Atomic<UInt64>(0)
  /// How many connections it has.
  let connectionCount = Atomic<Int>(0)
  /// The turner is, or is about to be, in epoll_wait with nothing to do.
  let isSleeping = Atomic(false)
  /// The turner is in epoll_wait: nothing for the monitor to watch.
  let isPolling = Atomic(false)
  let inbox = Mutex<[Item]>([])
  let timers = Mutex(TimerHeap())
  let earliestTimer = Atomic<UInt64>(.max)

  // What only the turner touches, between handlers.
  var events: UnsafeMutablePointer<synod_poll_event>
  var eventCount = 0
  var nextEvent = 0
  var batch: [Item] = []
  var nextItem = 0
  var ready: [EventSource] = []
  var nextReady = 0
  var readyEnd = 0
  var table: [EventSource?] = []
  var generations: [UInt32] = []
  var freeSlots: [Int] = []
  var liveCount = 0
  var isStopping = false
  var solo = LoopSolo()

  static let eventCapacity = 128
  static let wakerToken = UInt64.max

  init(group: EventLoopGroup, index: Int) throws(NetworkError) {
    self.group = group
    self.index = index
    monitor = group.monitor
    poller = synod_poll_create()
    waker = synod_event_create()
    unsafe events = .allocate(capacity: Self.eventCapacity)
    unsafe events.initialize(repeating: synod_poll_event(), count: Self.eventCapacity)
    guard poller >= 0, waker >= 0 else {
      throw NetworkError(errno: -min(poller, waker), operation: "make", address: "an event loop")
    }
    let code = synod_poll_add(poller, waker, synod_poll_in | synod_poll_edge, Self.wakerToken)
    guard code == 0 else { throw NetworkError(errno: code, operation: "make", address: "an event loop") }
  }

  deinit {
    synod_descriptor_close(poller)
    synod_descriptor_close(waker)
    unsafe events.deallocate()
  }

  /// The loop whose handler the calling thread runs, also after the loop was handed over.
  package static var current: EventLoop? { LoopThread.current?.loop }

  /// True where the calling thread runs one of this loop's handlers and still turns the loop.
  package var isTurnedByCaller: Bool {
    guard let thread = LoopThread.current, thread.loop === self, !thread.isDetached else { return false }
    return currentWord == thread.word
  }

  var currentWord: UInt64 { word.load(ordering: .acquiring) }

  /// Takes the loop from the handler that made the word `seen` (odd). The caller must then give it to a thread.
  func take(_ seen: UInt64) -> Bool {
    word.compareExchange(expected: seen, desired: seen &+ 1, ordering: .acquiringAndReleasing).exchanged
  }

  // MARK: From any thread

  /// Runs `body` on the loop. It begins after what was asked for before, but a handler that lost the loop may still be
  /// running beside it. Not run any more once the group has been shut down.
  package func execute(_ body: @escaping @Sendable () -> Void) { post(.run(body)) }

  /// Runs `body` on the calling thread as soon as the handler that it runs has returned, without a wake: for what may block
  /// and does not need the handler's connection, which is turned by others meanwhile if the loop is taken from this thread.
  /// On a thread that runs no handler, at once.
  package static func afterHandler(_ body: @escaping @Sendable () -> Void) {
    guard let thread = LoopThread.current else { return body() }
    thread.afterwards.append(body)
  }

  /// Says that the handler that the calling thread runs may take long from here on, in a group whose monitor watches only
  /// such handlers. Costs a load and a store where the monitor is awake. On other threads nothing.
  package static func mayRunLong() { LoopThread.current?.loop?.monitor.request() }

  /// Runs `body` on the loop when `nanoseconds` have passed, counting time that the machine was suspended. A timer is late
  /// by as much as the loop's handlers take, at most a time slice each.
  @discardableResult
  package func schedule(afterNanoseconds nanoseconds: UInt64, _ body: @escaping @Sendable () -> Void) -> TimerToken {
    let deadline = synod_boot_nanoseconds().addingReportingOverflow(nanoseconds)
    let (token, isFirst) = timers.withLock { timers in
      let before = timers.earliest
      let token = timers.insert(deadline: deadline.overflow ? .max - 1 : deadline.partialValue, body)
      let now = timers.earliest
      if now != before { earliestTimer.store(now, ordering: .releasing) }
      return (token, now != before)
    }
    if isFirst { rouse() }
    return token
  }

  /// Takes a timer back; true where it had not run and will not.
  @discardableResult
  package func cancel(_ token: TimerToken) -> Bool {
    timers.withLock { timers in
      let wasWaiting = timers.remove(token)
      earliestTimer.store(timers.earliest, ordering: .releasing)
      return wasWaiting
    }
  }

  /// Runs `body`, which may block, and gives the loop that the calling thread turns to a spare thread before. On a thread
  /// that turns no loop, runs `body` and nothing more.
  ///
  /// The handler goes on afterwards on the same thread, and ends its turn as always; only the loop's other connections
  /// no longer wait for it.
  package static func blocking<T, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
    LoopThread.current?.handOver()
    return try body()
  }

  func post(_ item: Item) {
    inbox.withLock { $0.append(item) }
    rouse()
  }

  /// Ends the turner's sleep, if it sleeps.
  ///
  /// No wake is lost: `isSleeping` is set before the turner looks into the inbox (and at the timers), both under the lock
  /// that the poster held before it came here. Either the turner saw the item, or the poster sees the flag.
  func rouse() {
    guard isSleeping.load(ordering: .acquiring), isSleeping.exchange(false, ordering: .acquiringAndReleasing) else {
      return
    }
    synod_event_raise(waker)
  }
}
