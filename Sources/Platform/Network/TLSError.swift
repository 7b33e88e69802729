internal import COpenSSL
internal import Glibc

/// What went wrong with TLS or a certificate, in words that say what to do where that is known.
package struct TLSError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What callers decide by.
  package enum Kind: Hashable, Sendable {
    /// A file or its content cannot be used.
    case configuration
    /// The peer's certificate is not acceptable: unknown authority, wrong name, expired.
    case certificate
    /// The peer does not speak TLS, or not as we do.
    case handshake
    /// The peer closed in the middle.
    case closedEarly
    /// A record was damaged.
    case record
  }

  package var kind: Kind
  package var reason: String

  package init(_ kind: Kind, _ reason: String) {
    self.kind = kind
    self.reason = reason
  }

  /// With what OpenSSL says of the calling thread's last failure, whose queue is emptied.
  init(_ kind: Kind, openSSL context: String) {
    var reason = "no reason given"
    var code = ERR_get_error()
    var first = true
    while code != 0 {
      // The first entry of the queue is where the failure began.
      if first, let text = unsafe ERR_reason_error_string(code) { reason = unsafe String(cString: text) }
      first = false
      code = ERR_get_error()
    }
    self.init(kind, "\(context): \(reason)")
  }

  package var description: String { reason }
}
