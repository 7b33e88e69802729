internal import CSynod
internal import Glibc
internal import Synchronization

/// Takes a loop from a handler that runs longer than a time slice.
///
/// One thread for a group of loops. While loops are busy it looks at their words twice a time slice: the same odd word
/// for a time slice is one handler that is still running. It goes to sleep when it has found every loop in epoll_wait for
/// some ticks, and is woken by the first turner that comes out of epoll_wait:
///
/// ```
///   turner:   isPolling = false ; isAsleep?  → wake it
///   monitor:  isAsleep = true   ; any loop not polling?  → stay awake
/// ```
///
/// Both pairs are sequentially consistent, so at least one of them sees the other.
///
/// A group may have it watch on request only (`EventLoop.mayRunLong`): then it is the request that keeps it awake, or wakes
/// it, instead of the turner, by the same pair.
@safe
final class LoopMonitor: Sendable {
  private var tickNanoseconds: UInt64 { max(1_000_000, timeSliceNanoseconds / 2) }
  /// The most ticks without work before it sleeps: waking it costs the turner a system call. It waits for as many as saw
  /// work since it was woken, so that a loop that turns ten times a second, for heartbeats, costs two ticks each time.
  private static var quietTicks: Int { 32 }

  private let timeSliceNanoseconds: UInt64
  private let watchesOnRequest: Bool
  private let isRequested = Atomic(false)
  private let isAsleep = Atomic(false)
  private let isStopping = Atomic(false)
  private let signal = FutexWord(0)
  private let ended = FutexWord(0)

  init(timeSliceNanoseconds: UInt64, watchesOnRequest: Bool) {
    self.timeSliceNanoseconds = timeSliceNanoseconds
    self.watchesOnRequest = watchesOnRequest
  }

  private final class Start: Sendable {
    let monitor: LoopMonitor
    let group: EventLoopGroup
    let loops: [EventLoop]
    init(_ monitor: LoopMonitor, _ group: EventLoopGroup, _ loops: [EventLoop]) {
      self.monitor = monitor
      self.group = group
      self.loops = loops
    }
  }

  func start(_ group: EventLoopGroup, _ loops: [EventLoop]) {
    let start = unsafe Unmanaged.passRetained(Start(self, group, loops))
    var handle = pthread_t()
    let code = unsafe pthread_create(
      &handle, nil,
      { argument in
        let start = unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        nameThread("loop monitor")
        start.monitor.run(start.group, start.loops)
        return nil
      }, start.toOpaque())
    precondition(code == 0, "the system cannot start a thread (errno \(code))")
    pthread_detach(handle)
  }

  func stop() {
    isStopping.store(true, ordering: .releasing)
    signal.increment()
    signal.wake()
    while ended.load() == 0 { ended.wait(while: 0) }
  }

  /// A loop has something to do.
  @inline(__always)
  func note() {
    guard !watchesOnRequest, isAsleep.load(ordering: .sequentiallyConsistent) else { return }
    rouse()
  }

  /// A handler may run long from here on.
  func request() {
    guard watchesOnRequest else { return }
    isRequested.store(true, ordering: .sequentiallyConsistent)
    if isAsleep.load(ordering: .sequentiallyConsistent) { rouse() }
  }

  private func rouse() {
    guard isAsleep.exchange(false, ordering: .acquiringAndReleasing) else { return }
    signal.increment()
    signal.wake(1)
  }

  private func run(_ group: EventLoopGroup, _ loops: [EventLoop]) {
    var seen = [UInt64](repeating: 0, count: loops.count)
    var since = [UInt64](repeating: 0, count: loops.count)
    var quiet = 0
    var busy = 0
    while !isStopping.load(ordering: .acquiring) {
      var isBusy = isRequested.exchange(false, ordering: .sequentiallyConsistent)
      let now = synod_boot_nanoseconds()
      for (index, loop) in loops.enumerated() {
        let word = loop.currentWord
        if word != seen[index] {
          isBusy = isBusy || !watchesOnRequest
          seen[index] = word
          since[index] = now
        } else if word & 1 == 1 {
          isBusy = true
          if now - since[index] >= timeSliceNanoseconds, loop.take(word) { group.assign(loop) }
        }
      }
      quiet = isBusy ? 0 : quiet + 1
      if isBusy { busy = min(busy + 1, Self.quietTicks) }
      let before = signal.load()
      if quiet < busy {
        signal.wait(while: before, timeoutNanoseconds: tickNanoseconds)
        continue
      }
      isAsleep.store(true, ordering: .sequentiallyConsistent)
      if !isRequested.load(ordering: .sequentiallyConsistent),
        loops.allSatisfy({ $0.isPolling.load(ordering: .sequentiallyConsistent) })
      {
        while isAsleep.load(ordering: .acquiring), !isStopping.load(ordering: .acquiring) {
          signal.wait(while: before)
          if signal.load() != before { break }
        }
        isAsleep.store(false, ordering: .releasing)
      } else {
        isAsleep.store(false, ordering: .releasing)
        signal.wait(while: before, timeoutNanoseconds: tickNanoseconds)
      }
      (quiet, busy) = (0, 0)
    }
    ended.store(1)
    ended.wake()
  }
}
