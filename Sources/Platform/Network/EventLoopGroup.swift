internal import CSynod
internal import Synchronization

/// Some event loops with their threads and their monitor.
///
/// An idle group uses no processor time: the loops sleep in epoll_wait, the spare threads and the monitor on a futex.
package final class EventLoopGroup: Sendable {
  /// How loops are turned.
  package struct Options: Sendable {
    /// How many loops: about as many as processors.
    package var loops: Int
    /// The most threads, those that turn loops included. Where it is met, a loop whose handler blocks waits for a
    /// thread to become free: give it at least the connections that may block at once and one for each loop, and that never
    /// happens. Threads are made when needed and end after some seconds without work.
    package var maximumThreads: Int
    /// A handler that runs longer than this, in nanoseconds, loses its loop.
    package var timeSliceNanoseconds: UInt64
    /// Only handlers that call `EventLoop.mayRunLong` lose it: then the monitor sleeps beside loops that are woken again and
    /// again, but never for long.
    package var watchesOnRequest: Bool

    package init(
      loops: Int, maximumThreads: Int = 4096, timeSliceNanoseconds: UInt64 = 2_000_000, watchesOnRequest: Bool = false
    ) {
      self.loops = loops
      self.maximumThreads = maximumThreads
      self.timeSliceNanoseconds = timeSliceNanoseconds
      self.watchesOnRequest = watchesOnRequest
    }
  }

  package var loops: [EventLoop] { loopList.withLock { $0 } }
  private let loopList = Mutex<[EventLoop]>([])
  let count: Int
  private let following = Atomic<Int>(0)

  let maximumThreads: Int
  let threads = Mutex(LoopThreads())
  let monitor: LoopMonitor
  let ended = FutexWord(0)
  private let stopped = FutexWord(0)
  private let isShutDown = Atomic(false)
  /// One of the loops looks for events rather than sleep: one at a time, whatever the number of loops.
  let isSpinning = Atomic(false)

  /// Starts the loops.
  /// - Throws: `NetworkError` where the system has no descriptors for them.
  package init(_ options: Options) throws(NetworkError) {
    precondition(options.loops > 0 && options.maximumThreads >= options.loops)
    count = options.loops
    maximumThreads = options.maximumThreads
    monitor = LoopMonitor(
      timeSliceNanoseconds: options.timeSliceNanoseconds, watchesOnRequest: options.watchesOnRequest)
    var made: [EventLoop] = []
    for index in 0..<options.loops { made.append(try EventLoop(group: self, index: index)) }
    loopList.withLock { $0 = made }
    monitor.start(self, made)
    for loop in made { assign(loop) }
  }

  /// The loops in turn.
  package func next() -> EventLoop {
    let place = following.wrappingAdd(1, ordering: .relaxed).oldValue
    return loopList.withLock { $0[Int(UInt(bitPattern: place) % UInt(count))] }
  }

  /// The loop for a connection whose packets come in on `processor` (-1: not known): one of those with the fewest, and of
  /// those the one that has that processor's other connections.
  ///
  /// The connections of one client's thread then share a loop, which the scheduler wakes where the client runs: neither
  /// has to be woken across processors. Balance goes first, because that is only a guess.
  func next(near processor: Int) -> EventLoop {
    let place = following.wrappingAdd(1, ordering: .relaxed).oldValue
    let start = Int(UInt(bitPattern: place) % UInt(count))
    return loopList.withLock { loops in
      let fewest = loops.reduce(Int.max) { min($0, $1.connectionCount.load(ordering: .relaxed)) }
      func isFree(_ index: Int) -> Bool { loops[index].connectionCount.load(ordering: .relaxed) <= fewest }
      if processor >= 0 && isFree(processor % count) { return loops[processor % count] }
      for step in 0..<count where isFree((start + step) % count) { return loops[(start + step) % count] }
      return loops[start]
    }
  }

  /// Closes every connection and listener at once (their handlers are told), and waits until all threads have ended; so
  /// not from a loop. What blocks in a handler must be made to end by whoever knows how.
  package func shutDown() {
    precondition(LoopThread.current == nil, "a loop cannot wait for its own end")
    guard !isShutDown.exchange(true, ordering: .acquiringAndReleasing) else { return }
    for loop in loops { loop.post(.stop) }
    while true {
      let seen = stopped.load()
      if seen >= UInt32(count) { break }
      stopped.wait(while: seen)
    }
    endThreads()
    monitor.stop()
  }

  func loopHasStopped() {
    stopped.increment()
    stopped.wake()
  }

  /// How many threads it has now, parked ones included, and how many of those are parked.
  package var threadCounts: (all: Int, parked: Int) { threads.withLock { ($0.count, $0.parked.count) } }
}
