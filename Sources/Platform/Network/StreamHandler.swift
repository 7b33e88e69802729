/// Why a connection ended.
package enum CloseReason: Sendable, Equatable, CustomStringConvertible {
  /// `close()` was called here, and everything sent was handed to the kernel.
  case closed
  /// `abort()` was called here, or a closing connection did not take its last bytes in time.
  case aborted
  /// The peer reset the connection, or it broke.
  case failed(NetworkError)
  /// TLS failed: the text says how.
  case tls(TLSError)
  /// The group shuts down.
  case shutDown

  package var description: String {
    switch self {
    case .closed: "closed"
    case .aborted: "aborted"
    case .failed(let error): "\(error)"
    case .tls(let error): "\(error)"
    case .shutDown: "shut down"
    }
  }
}

/// What a connection does with what comes. One thread at a time calls it; not always the same.
///
/// Every method may block, if it says so by `EventLoop.blocking`.
package protocol StreamHandler: AnyObject {
  /// The connection is there: accepted, or connected.
  func opened(_ connection: StreamConnection)
  /// Bytes have come, at most 96 KiB. They are valid during the call only; what is not consumed must be copied.
  func received(_ bytes: RawSpan, _ connection: StreamConnection)
  /// `startTLS` has succeeded: `connection.tls` says with whom.
  func secured(_ connection: StreamConnection)
  /// Everything that was kept has been handed to the kernel. Called only after `bufferedBytes` was above zero.
  func drained(_ connection: StreamConnection)
  /// `StreamConnection.wake()` was called, once or several times.
  func woken(_ connection: StreamConnection)
  /// The peer sends no more, but may still read. Closes the connection where not implemented.
  func inputEnded(_ connection: StreamConnection)
  /// The connection is gone, its descriptor closed. Called exactly once, last.
  func closed(_ reason: CloseReason, _ connection: StreamConnection)
}

extension StreamHandler {
  package func opened(_ connection: StreamConnection) {}
  package func secured(_ connection: StreamConnection) {}
  package func drained(_ connection: StreamConnection) {}
  package func woken(_ connection: StreamConnection) {}
  package func inputEnded(_ connection: StreamConnection) { connection.close() }
  package func closed(_ reason: CloseReason, _ connection: StreamConnection) {}
}

/// How a connection behaves.
package struct StreamOptions: Sendable {
  /// Reading pauses by itself while more than this is kept for a peer that does not read, and goes on below it. `.max` on a
  /// side that sends without waiting for answers: two sides that both stop reading never start again.
  package var pauseReadingAboveBytes = 256 * 1024
  /// A closing connection has this long to take its last bytes, in nanoseconds.
  package var closeTimeoutNanoseconds: UInt64 = 10_000_000_000
  /// Probes a silent peer: seconds until the first, seconds between, and how many unanswered end it. Nil: never.
  package var keepAlive: (idleSeconds: Int32, intervalSeconds: Int32, count: Int32)? = (60, 10, 6)
  /// Kernel buffers in bytes, 0 for the system's own sizing.
  package var receiveBufferBytes: Int32 = 0
  package var sendBufferBytes: Int32 = 0

  package init() {}
}
