internal import CSynod
internal import Glibc

/// A signal that a server listens to.
package enum Signal: Int32, Sendable, CaseIterable {
  case hangup = 1
  case interrupt = 2
  case quit = 3
  case user1 = 10
  case user2 = 12
  case terminate = 15
}

/// Signals as events of a loop: the handler runs like any other, not in the middle of something.
///
/// The system's handler writes the signal's number into a pipe (it may do nothing else); the loop reads the pipe. Threads need
/// not block the signal, so libraries that start their own do no harm.
///
/// `@unchecked Sendable`: as EventSource.
package final class SignalSource: EventSource, @unchecked Sendable {
  private let signals: [Signal]
  private let descriptor: Int32
  private let body: @Sendable (Signal) -> Void

  private init(
    _ loop: EventLoop, _ signals: [Signal], _ descriptor: Int32, _ body: @escaping @Sendable (Signal) -> Void
  ) {
    self.signals = signals
    self.descriptor = descriptor
    self.body = body
    super.init(loop: loop)
  }

  /// From now on `body` is run on the loop whenever one of the signals comes. Several of one kind may become one. Each signal
  /// belongs to the last watcher that asked for it.
  @discardableResult
  package static func watch(
    _ signals: [Signal], on loop: EventLoop, _ body: @escaping @Sendable (Signal) -> Void
  ) throws(NetworkError) -> SignalSource {
    // The writing end is never closed: a handler that is just running would write into whatever has its number next.
    var ends: (Int32, Int32) = (-1, -1)
    let code = unsafe withUnsafeMutablePointer(to: &ends) { pair in
      unsafe pair.withMemoryRebound(to: Int32.self, capacity: 2) { unsafe synod_pipe($0) }
    }
    guard code == 0 else { throw NetworkError(errno: code, operation: "watch", address: "signals") }
    let source = SignalSource(loop, signals, ends.0, body)
    for signal in signals {
      let code = synod_signal_forward(signal.rawValue, ends.1)
      guard code == 0 else { throw NetworkError(errno: code, operation: "watch", address: "signal \(signal)") }
    }
    loop.post(.register(source))
    return source
  }

  deinit { synod_descriptor_close(descriptor) }

  /// Gives the signals back to the system, whose default for most is to end the process. From any thread.
  package func stop() {
    for signal in signals { _ = synod_signal_restore(signal.rawValue) }
    loop.post(.mail(self) { self.isFinished = true })
  }

  override var registration: (descriptor: Int32, events: UInt32) { (descriptor, synod_poll_in) }

  override func turn(_ events: UInt32, _ mail: [Mail], _ thread: LoopThread) {
    for body in mail { body() }
    if events & LoopEvents.stop != 0 {
      for signal in signals { _ = synod_signal_restore(signal.rawValue) }
      isFinished = true
    }
    guard !isFinished, events & synod_poll_in != 0 else { return }
    var numbers = [UInt8](repeating: 0, count: 64)
    while true {
      let count = unsafe read(descriptor, &numbers, numbers.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return }
      for number in numbers[..<count] {
        if let signal = Signal(rawValue: Int32(number)) { body(signal) }
      }
    }
  }
}

/// What the system allows this process.
package enum ResourceLimits {
  /// Raises the number of files and sockets that may be open to the most that the system allows; returns that number.
  /// Where it cannot be raised, it stays.
  @discardableResult
  package static func raiseOpenFiles() -> Int { Int(max(0, synod_raise_file_limit())) }
}
