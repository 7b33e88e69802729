internal import Glibc
internal import Platform
internal import Synchronization

/// A thread that does something whenever it is woken, or after a pause that the last time asked for.
///
/// `@unchecked Sendable`: everything that changes is atomic or behind a mutex.
final class BackgroundThread: @unchecked Sendable {
  private let stopping = Atomic<Bool>(false)
  /// Changes whenever there may be something to do.
  private let signal = FutexWord()
  private let thread = Mutex<pthread_t?>(nil)

  private final class Start: Sendable {
    let owner: BackgroundThread
    let work: @Sendable () -> UInt64?
    init(_ owner: BackgroundThread, _ work: @escaping @Sendable () -> UInt64?) {
      self.owner = owner
      self.work = work
    }
  }

  /// Starts it. `work` returns the nanoseconds after which it wants to be called even if nobody wakes it (0 = never), or
  /// nil to end.
  func start(_ work: @escaping @Sendable () -> UInt64?) {
    let start = unsafe Unmanaged.passRetained(Start(self, work))
    var created = pthread_t()
    let code = unsafe pthread_create(
      &created, nil,
      { argument in
        let start = unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        start.owner.loop(start.work)
        return nil
      }, start.toOpaque())
    precondition(code == 0, "no thread for the flush (errno \(code))")
    thread.withLock { $0 = created }
  }

  private func loop(_ work: () -> UInt64?) {
    while !stopping.load(ordering: .acquiring) {
      let seen = signal.load()
      guard let pause = work() else { return }
      if stopping.load(ordering: .acquiring) { return }
      if signal.load() == seen { signal.wait(while: seen, timeoutNanoseconds: pause) }
    }
  }

  func wake() {
    signal.increment()
    signal.wake()
  }

  /// Ends it, after the work that runs. On the thread itself, which may drop the last reference to its owner, it ends
  /// after return.
  func stop() {
    stopping.store(true, ordering: .releasing)
    wake()
    let joined = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    guard let joined else { return }
    if pthread_equal(joined, pthread_self()) != 0 { pthread_detach(joined) } else { pthread_join(joined, nil) }
  }
}
