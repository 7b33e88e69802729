internal import Synod

/// Takes the answer to COPY (SELECT file, position, data FROM synod_backup()) TO STDOUT (FORMAT binary), as it comes, into
/// a backup's directory. The format is described in SQL's CopyBinary.swift.
final class BackupSink: ShellSink {
  /// A piece is much smaller; a length beyond this is no length.
  private static let largestFieldSizeBytes = 64 << 20
  private static let header: [UInt8] = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0x00, 0, 0, 0, 0, 0, 0, 0, 0]

  private let receiver: BackupReceiver
  private let stop: () -> Void
  private var input: [UInt8] = []
  private var at = 0
  private var isBegun = false
  private var isAtEnd = false
  /// What went wrong on this side; the rest of the answer is passed over.
  private(set) var failure: DatabaseError?

  /// `stop` is called once where something goes wrong on this side.
  init(_ receiver: BackupReceiver, stop: @escaping () -> Void) {
    self.receiver = receiver
    self.stop = stop
  }

  func columns(_ columns: [Column]) {}
  func row(_ fields: [String?]) {}
  func completed(_ tag: String) {}
  func notice(_ severity: String, _ notice: DatabaseError) {}
  func copyIn() throws(DatabaseError) -> [UInt8]? { nil }

  func copyOut(_ bytes: [UInt8]) {
    guard failure == nil else { return }
    input += bytes
    do throws(DatabaseError) {
      while try takeRow() {}
    } catch {
      failure = error
      stop()
    }
    input.removeFirst(at)
    at = 0
  }

  /// Verifies what came.
  func finish() throws(DatabaseError) -> BackupSummary {
    if let failure { throw failure }
    guard isAtEnd else { throw Self.unexpected }
    return try receiver.finish()
  }

  func abandon() { receiver.abandon() }

  private static let unexpected = DatabaseError(
    sqlState: "08P01", message: "the server's answer is not a backup, or was cut off")

  /// Takes a row, if it has come whole.
  private func takeRow() throws(DatabaseError) -> Bool {
    if !isBegun {
      guard input.count - at >= Self.header.count else { return false }
      guard input[at..<at + Self.header.count].elementsEqual(Self.header) else { throw Self.unexpected }
      at += Self.header.count
      isBegun = true
    }
    let start = at
    guard !isAtEnd, let count = integer(2) else { return false }
    if count == 0xFFFF {
      isAtEnd = true
      return false
    }
    guard count == 3 else { throw Self.unexpected }
    guard let name = try field(), let position = try field(), let data = try field() else {
      at = start
      return false
    }
    guard position.count == 8, let file = String(validating: input[name], as: UTF8.self) else { throw Self.unexpected }
    let offset = input[position].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    try receiver.take(file, at: offset, Array(input[data]))
    return true
  }

  /// The place of the next field, if it has come whole.
  private func field() throws(DatabaseError) -> Range<Int>? {
    guard let length = integer(4) else { return nil }
    guard length <= Self.largestFieldSizeBytes else { throw Self.unexpected }
    guard input.count - at >= length else { return nil }
    defer { at += length }
    return at..<at + length
  }

  private func integer(_ size: Int) -> Int? {
    guard input.count - at >= size else { return nil }
    defer { at += size }
    return input[at..<at + size].reduce(0) { $0 << 8 | Int($1) }
  }
}
