internal import Transactions

// synod_backup(): the database's files as rows, for whoever takes a backup over the network.
//
//   COPY (SELECT file, position, data FROM synod_backup()) TO STDOUT (FORMAT binary)
//
// 1. Rows come in order: each file's pieces from its first byte on, one file after the other, `BACKUP` last.
// 2. What they come to is what `Database.backup(to:)` writes, at the version that was visible when the statement began.
// 3. Memory is a piece, whatever the size of the database; what is sent is kept until the statement ends, however it ends.
// 4. It reads everything, past all privileges: superusers only.

/// Some bytes of a file of a backup.
package struct BackupPiece: Sendable {
  /// Relative to the backup's directory.
  package var file: String
  package var position: UInt64
  package var bytes: [UInt8]

  package init(file: String, position: UInt64, bytes: [UInt8]) {
    self.file = file
    self.position = position
    self.bytes = bytes
  }
}

/// A backup that is being taken. One thread at a time.
package protocol BackupStream: AnyObject {
  /// The next piece; nil after the last.
  func next() throws(SQLError) -> BackupPiece?
}

extension SQLSession {
  func beginBackup() throws(SQLError) -> any BackupStream {
    let system = systemContext()
    guard system.catalog.role(named: system.user)?.isSuperuser ?? false else {
      throw SQLError(.insufficientPrivilege, "must be superuser to take a backup")
    }
    guard let begin = database.options.backup else {
      throw SQLError(.featureNotSupported, "this database has no files to back up")
    }
    return try begin()
  }
}

/// Hands out the pieces as rows.
private final class BackupRows: SetIterator {
  private let stream: any BackupStream
  init(_ stream: any BackupStream) { self.stream = stream }

  func next(_ output: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    try ExecutionState.of(context).services.checkInterrupt()
    guard let piece = try stream.next() else { return false }
    unsafe output[0] = Value(context.arena.copy(piece.file))
    unsafe output[1] = Value(Int64(clamping: piece.position))
    unsafe output[2] = Value(context.arena.copy(piece.bytes))
    return true
  }
}

extension FunctionRegistry {
  mutating func addBackup() {
    guard sets["synod_backup"] == nil else { return }
    add(
      SetFunction("synod_backup", [], columns: [("file", .text), ("position", .int8), ("data", .bytea)], .volatile) {
        (_, context) throws(SQLError) in
        BackupRows(try ExecutionState.of(context).services.beginBackup())
      })
  }
}
