package import Encoding
package import Platform

/// A place in the log's files.
package struct LogPlace: Hashable, Sendable, CustomStringConvertible {
  /// The file's path.
  package var file: String
  /// Bytes from the start of the file.
  package var offset: UInt64

  package init(file: String, offset: UInt64) {
    self.file = file
    self.offset = offset
  }

  package var description: String { "\(file) at offset \(offset)" }
}

/// Why the log refused. None is cured by trying the same again, except `noSpace`.
package enum LogError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The system refused; nothing was lost.
  case disk(DiskError)
  /// Bytes that were durable once are not what was written: a damaged medium or a foreign hand. `expected` and `found` are
  /// the checksums, or 0 where the damage is of another kind.
  case corrupt(LogPlace, reason: String, expected: UInt32, found: UInt32)
  /// Written by a newer program.
  case newerFormat(file: String, found: UInt32, supported: UInt32)
  /// Another process has the database open.
  case locked(path: String)
  /// Not a database, and not an empty directory either.
  case notADatabase(path: String, reason: String)
  /// A write or a sync failed earlier: what is durable is unknown until the log is opened anew. For the life of the object.
  case poisoned(reason: String)
  /// There is no room for more log; nothing was written. Later appends may succeed.
  case noSpace(path: String, neededSizeBytes: UInt64)
  /// The record asked for is no longer (or not yet) in the log.
  case notInLog(Slot, first: Slot, last: Slot)
  /// What was to be appended does not continue the log.
  case doesNotContinue(reason: String)
  /// The log was closed.
  case closed

  package var description: String {
    switch self {
    case .disk(let error): return "\(error)"
    case .corrupt(let place, let reason, let expected, let found):
      let sums = expected == found ? "" : " (checksum \(hex(found)) where \(hex(expected)) is recorded)"
      return "damaged log: \(reason)\(sums) in \(place). Nothing was changed. Run 'synod verify' to list all damage, "
        + "and restore from a backup or a replica."
    case .newerFormat(let file, let found, let supported):
      return "\(file) has format \(found); this program knows formats up to \(supported). Use a newer synod."
    case .locked(let path): return "the database is in use: another process holds \(path)"
    case .notADatabase(let path, let reason): return "\(path) is not a database: \(reason)"
    case .poisoned(let reason):
      return
        "the log stopped for good after a failed write (\(reason)). Close the database, check the device, open again."
    case .noSpace(let path, let needed):
      return
        "no space for \(needed) more bytes of log in \(path). Reading goes on; writing resumes when there is space."
    case .notInLog(let slot, let first, let last):
      return "slot \(slot.rawValue) is not in the log, which holds \(first.rawValue) to \(last.rawValue)"
    case .doesNotContinue(let reason): return "the record does not continue the log: \(reason)"
    case .closed: return "the log is closed"
    }
  }

  /// Whether what was to be read is lost here, for good as far as anybody knows: damaged, or on a device that fails.
  package var isDamage: Bool {
    switch self {
    case .corrupt: true
    case .disk(let error): error.kind == .io
    default: false
    }
  }

  private func hex(_ word: UInt32) -> String {
    let digits = String(word, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}
