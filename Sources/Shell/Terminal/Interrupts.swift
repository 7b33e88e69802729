internal import Dispatch
internal import Glibc
internal import Synchronization

/// Ctrl-C while a statement runs: cancels the statement instead of ending the shell.
enum Interrupts {
  /// What an interrupt does at present.
  private static let action = Mutex<(@Sendable () -> Void)?>(nil)
  /// Keeps the signal's source alive.
  ///
  /// `@unchecked Sendable`: the source is made once, activated, and never touched again.
  private final class Source: @unchecked Sendable {
    let source: any DispatchSourceSignal
    init(_ source: any DispatchSourceSignal) { self.source = source }
  }

  private static let source: Source = {
    signal(SIGINT, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: DispatchQueue.global(qos: .userInitiated))
    source.setEventHandler {
      guard let run = action.withLock({ $0 }) else {
        // Nothing runs: the signal means what it means to any program.
        signal(SIGINT, SIG_DFL)
        raise(SIGINT)
        return
      }
      run()
    }
    source.activate()
    return Source(source)
  }()

  /// An interrupt being watched for.
  struct Watch {
    func end() { Interrupts.action.withLock { $0 = nil } }
  }

  /// Runs `body` on each interrupt until the watch ends.
  static func watch(_ body: @escaping () -> Void) -> Watch {
    _ = source
    // The body only cancels, which is made to be called from any thread.
    nonisolated(unsafe) let body = body
    action.withLock { $0 = { unsafe body() } }
    return Watch()
  }
}
