internal import CSynod
internal import Glibc
internal import Synchronization

/// Names the calling thread for `ps -L`, `top -H` and `perf`: ASCII, at most 15 bytes.
package func nameThread(_ name: StaticString) {
  unsafe synod_name_thread(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self))
}

/// A thread, joined before its owner goes away.
///
/// `@unchecked Sendable`: the handle is written before the object is shared and read once, by `join`.
@safe
package final class BackgroundThread: @unchecked Sendable {
  private var handle = pthread_t()
  private let isJoined = Atomic(false)

  private final class Start {
    let name: StaticString
    let body: @Sendable () -> Void
    init(_ name: StaticString, _ body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// Starts `body` on a new thread, which `ps -L`, `top -H` and `perf` show by `name` (ASCII, at most 15 bytes).
  package init(_ name: StaticString = "synod", _ body: @escaping @Sendable () -> Void) {
    let start = unsafe Unmanaged.passRetained(Start(name, body))
    let code = unsafe pthread_create(
      &handle, nil,
      { argument in
        let start = unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        nameThread(start.name)
        start.body()
        return nil
      }, start.toOpaque())
    precondition(code == 0, "the system cannot start a thread (errno \(code))")
  }

  /// Waits until the thread has ended; on the thread itself, which may drop the last reference to its owner, returns at
  /// once.
  package func join() {
    guard !isJoined.exchange(true, ordering: .acquiringAndReleasing) else { return }
    if pthread_equal(handle, pthread_self()) != 0 { pthread_detach(handle) } else { pthread_join(handle, nil) }
  }
}

/// A thread that does something whenever it is woken, or after a pause that the last time asked for.
package final class RepeatingThread: Sendable {
  private let stopping = Atomic<Bool>(false)
  /// Changes whenever there may be something to do.
  private let signal = FutexWord()
  private let thread = Mutex<BackgroundThread?>(nil)

  package init() {}

  /// Starts it. `work` returns the nanoseconds after which it wants to be called even if nobody wakes it (0 = never), or
  /// nil to end.
  package func start(_ name: StaticString = "synod", _ work: @escaping @Sendable () -> UInt64?) {
    thread.withLock { $0 = BackgroundThread(name) { self.loop(work) } }
  }

  private func loop(_ work: () -> UInt64?) {
    while !stopping.load(ordering: .acquiring) {
      let seen = signal.load()
      guard let pause = work() else { return }
      if stopping.load(ordering: .acquiring) { return }
      if signal.load() == seen { signal.wait(while: seen, timeoutNanoseconds: pause) }
    }
  }

  package func wake() {
    signal.increment()
    signal.wake()
  }

  /// Ends it, after the work that runs. On the thread itself it ends after return.
  package func stop() {
    stopping.store(true, ordering: .releasing)
    wake()
    let joined = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    joined?.join()
  }
}
