internal import Glibc
internal import Synchronization

/// A thread, joined before its owner goes away.
///
/// `@unchecked Sendable`: the handle is written before the object is shared and read once, by `join`.
@safe
package final class BackgroundThread: @unchecked Sendable {
  private var handle = pthread_t()
  private let isJoined = Atomic(false)

  private final class Start {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Starts `body` on a new thread.
  package init(_ body: @escaping @Sendable () -> Void) {
    let start = unsafe Unmanaged.passRetained(Start(body))
    let code = unsafe pthread_create(
      &handle, nil,
      { argument in
        unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().body()
        return nil
      }, start.toOpaque())
    precondition(code == 0, "the system cannot start a thread (errno \(code))")
  }

  /// Waits until the thread has ended. Not from the thread itself.
  package func join() {
    guard !isJoined.exchange(true, ordering: .acquiringAndReleasing) else { return }
    pthread_join(handle, nil)
  }
}
