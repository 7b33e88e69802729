internal import Glibc

/// What the system refused, on which file, and why.
package struct DiskError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What callers decide by.
  package enum Kind: Hashable, Sendable {
    case notFound, exists, locked, noSpace, readOnly, permission, notADirectory, tooManyFiles
    /// The device failed; after a failed write or sync nothing written since the last sync can be trusted.
    case io
    case other
  }

  package var kind: Kind
  /// The operation: "open", "write", "sync", …
  package var operation: String
  package var path: String
  /// The system's error number; 0 where there is none.
  package var code: Int32

  package init(_ kind: Kind, operation: String, path: String, code: Int32 = 0) {
    self.kind = kind
    self.operation = operation
    self.path = path
    self.code = code
  }

  /// From a system call's errno.
  package init(errno code: Int32, operation: String, path: String) {
    let kind: Kind =
      switch code {
      case ENOENT: .notFound
      case EEXIST: .exists
      case ENOSPC, EDQUOT: .noSpace
      case EROFS: .readOnly
      case EACCES, EPERM: .permission
      case ENOTDIR: .notADirectory
      case EMFILE, ENFILE: .tooManyFiles
      case EIO: .io
      default: .other
      }
    self.init(kind, operation: operation, path: path, code: code)
  }

  package var description: String {
    let reason =
      switch kind {
      case .locked: "another process has it open"
      default: code != 0 ? unsafe String(cString: strerror(code)) : "\(kind)"
      }
    return "cannot \(operation) \(path): \(reason)"
  }
}
