internal import Glibc

/// What the system refused on the network: the operation, the address, and why.
package struct NetworkError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What callers decide by.
  package enum Kind: Hashable, Sendable {
    /// The address is not well formed, or the host name is unknown.
    case badAddress
    /// Another process listens there.
    case addressInUse
    case permission
    /// Nobody listens there.
    case refused
    case unreachable, timedOut, reset
    /// The process or the system is out of descriptors.
    case tooManyFiles
    case other
  }

  package var kind: Kind
  /// "listen on", "connect to", "resolve", …
  package var operation: String
  package var address: String
  /// The system's error number; 0 where there is none.
  package var code: Int32
  /// The reason in words, where no error number says it.
  package var reason: String?

  package init(_ kind: Kind, operation: String, address: String, code: Int32 = 0, reason: String? = nil) {
    self.kind = kind
    self.operation = operation
    self.address = address
    self.code = code
    self.reason = reason
  }

  /// From a system call's errno.
  package init(errno code: Int32, operation: String, address: String) {
    let kind: Kind =
      switch code {
      case EADDRINUSE: .addressInUse
      case EACCES, EPERM: .permission
      case ECONNREFUSED: .refused
      case ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL: .unreachable
      case ETIMEDOUT: .timedOut
      case ECONNRESET, EPIPE: .reset
      case EMFILE, ENFILE: .tooManyFiles
      case EINVAL, ENAMETOOLONG, ENODEV: .badAddress
      default: .other
      }
    self.init(kind, operation: operation, address: address, code: code)
  }

  package var description: String {
    "cannot \(operation) \(address): \(reason ?? (code != 0 ? unsafe String(cString: strerror(code)) : "\(kind)"))"
  }
}
