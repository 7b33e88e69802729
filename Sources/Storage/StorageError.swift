package import Encoding
package import Platform

/// Why the storage engine refused or failed. One error answers for all of it; the edge above maps it to SQLSTATE.
///
/// Each case says how far the damage reaches and whether a retry can help. None depends on the data's meaning, so none is
/// deterministic between replicas: a node that gets one stops, its peers go on.
package enum StorageError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The file system refused. Scope: the call for reads; for writes of the background see `stopped` and `full`.
  case disk(DiskError)
  /// Bytes on disk are not what was written. Scope: every read that needs them; a retry will not help. Restore the file
  /// from a replica or a backup.
  case corruption(Corruption)
  /// A file of a newer (or no known) format. Scope: the database; open it with the release that wrote it.
  case unsupportedFormat(path: String, found: UInt32, supported: UInt32)
  /// A group of transactions from the log cannot be decoded. Scope: the node; nothing of it became visible.
  case malformedGroup(slot: Slot, DecodingError)
  /// The version was garbage collected (or never retained). Scope: the transaction; begin a new one.
  case snapshotTooOld(requested: Version, oldest: Version)
  /// Memory for writes is full and cannot be flushed, because of `reason`. Scope: writes; reads go on, and writes resume
  /// by themselves once the cause is gone.
  case full(reason: DiskError)
  /// A background write failed in a way that leaves files in doubt. Scope: the node's writes until the database is opened
  /// again; reads go on.
  case stopped(reason: String)
  /// The engine was closed.
  case closed

  /// What is wrong with which bytes.
  package struct Corruption: Hashable, Sendable {
    package var path: String
    /// Bytes from the start of the file.
    package var offset: UInt64
    /// What was being read: "data block", "footer", …
    package var what: String
    /// The checksum (or value) that the file or its parent announces, and the one that the bytes have.
    package var expected: UInt64
    package var found: UInt64

    package init(path: String, offset: UInt64, what: String, expected: UInt64, found: UInt64) {
      self.path = path
      self.offset = offset
      self.what = what
      self.expected = expected
      self.found = found
    }
  }

  package var description: String {
    switch self {
    case .disk(let error): "\(error)"
    case .corruption(let damage):
      // Equal checksums: the damage is of another kind, which `what` names.
      "\(damage.what) at offset \(damage.offset) of \(damage.path) is damaged"
        + (damage.expected == damage.found
          ? ""
          : ": its checksum should be \(String(damage.expected, radix: 16)) and is \(String(damage.found, radix: 16))")
        + "; restore the file from a replica or a backup"
    case .unsupportedFormat(let path, let found, let supported):
      "\(path) has format \(found), and this release reads up to \(supported); open it with the release that wrote it"
    case .malformedGroup(let slot, let reason): "the transactions of slot \(slot.rawValue) cannot be decoded: \(reason)"
    case .snapshotTooOld(let requested, let oldest):
      "version \(requested.rawValue) is no longer kept (the oldest is \(oldest.rawValue)); begin a new transaction"
    case .full(let reason): "no memory is left for writes, and it cannot be flushed: \(reason); make room on the disk"
    case .stopped(let reason): "writing stopped: \(reason); open the database again"
    case .closed: "the database is closed"
    }
  }
}
