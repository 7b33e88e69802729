internal import Encoding
internal import Log
internal import Platform
internal import SQL
internal import Storage

// A backup's files, piece by piece, without a directory of its own: what synod_backup() sends. The same files as
// `Database.backup(to:)` writes (Database+Backup.swift), in this order: tables, their manifest, records, BACKUP.
//
// 1. Tables and the log behind them are kept for as long as this object is there.
// 2. Sizes and checksums in BACKUP are of the bytes that were handed out. Whether these are sound, block by block and
//    record by record, whoever takes them finds out (`BackupReceiver`): damage on the way counts as much as damage here.
// 3. Each file has at least one piece; an empty file's is empty.

/// Reads the files of a backup one after the other. One thread at a time.
final class BackupSource: BackupStream {
  private enum Part {
    case table(TableMetadata)
    case memory(name: String, bytes: [UInt8])
    case records
    case manifest
  }

  private static let pieceSizeBytes = 256 << 10

  private let core: Core
  private let pinned: PinnedTables
  private let records: BackupRecords
  private var manifest: BackupManifest
  /// What is still to come, the next one last.
  private var parts: [Part]
  private var isBegun = false
  private var offset: UInt64 = 0
  private var checksum: UInt32 = 0
  private var table: (any DiskFile)?
  /// Records, or the manifest, that were read and not yet handed out, from `taken` on.
  private var buffer: [UInt8] = []
  private var taken = 0

  static func begin(_ core: Core) throws(SQLError) -> BackupSource {
    do { return try BackupSource(core) } catch { throw sqlError(core, error) }
  }

  private init(_ core: Core) throws {
    self.core = core
    let last = core.engine.visibleVersion
    let (pinned, reader, start) = try Database.pinTablesAndLog(core)
    self.pinned = pinned
    records = BackupRecords(reader, after: start, through: last)
    manifest = BackupManifest(of: core, tables: start)
    let memory = MemoryDisk()
    try TableStore.writeManifest(pinned.state, in: "/", disk: memory)
    var parts: [Part] = pinned.state.levels.joined().map { .table($0) }
    for name in try memory.list("/") {
      let file = try memory.open("/" + name, .read)
      parts.append(.memory(name: name, bytes: try file.readBytes(Int(try file.sizeBytes()), at: 0)))
    }
    self.parts = (parts + [.records, .manifest]).reversed()
  }

  deinit { table?.close() }

  private static func sqlError(_ core: Core, _ error: any Error) -> SQLError {
    if let error = error as? SQLError { return error }
    let error = DatabaseError(opening: core.path, error)
    return SQLError(SQLState(rawValue: error.sqlState), error.message, detail: error.detail, hint: error.hint)
  }

  func next() throws(SQLError) -> BackupPiece? {
    do {
      while let part = parts.last {
        let (name, bytes) = try read(part)
        if bytes.isEmpty && isBegun {
          finish(part, name)
          continue
        }
        let piece = BackupPiece(file: name, position: offset, bytes: bytes)
        isBegun = true
        offset += UInt64(bytes.count)
        checksum = crc32c(bytes, seed: checksum)
        return piece
      }
      return nil
    } catch { throw Self.sqlError(core, error) }
  }

  /// The name of a part, and its bytes from `offset` on; none at its end.
  private func read(_ part: Part) throws -> (String, [UInt8]) {
    switch part {
    case .table(let metadata):
      let name = "tables/" + TableFormat.fileName(metadata.number)
      let file = try table ?? core.disk.open("\(core.path)/\(name)", .read)
      table = file
      return (name, try file.readBytes(Self.pieceSizeBytes, at: offset))
    case .memory(let name, let bytes):
      return (name, Array(bytes.dropFirst(Int(offset)).prefix(Self.pieceSizeBytes)))
    case .records:
      while buffer.count - taken < Self.pieceSizeBytes, let record = try records.next() {
        buffer.removeFirst(taken)
        taken = 0
        buffer += record
      }
      return (BackupManifest.recordsName, takeFromBuffer())
    case .manifest:
      if !isBegun {
        (manifest.log, manifest.leaderTime) = (records.position, records.leaderTime)
        (buffer, taken) = (manifest.encode(), 0)
      }
      return (BackupManifest.fileName, takeFromBuffer())
    }
  }

  private func takeFromBuffer() -> [UInt8] {
    let piece = Array(buffer[taken...].prefix(Self.pieceSizeBytes))
    taken += piece.count
    return piece
  }

  private func finish(_ part: Part, _ name: String) {
    if case .manifest = part {
    } else {
      manifest.files.append(.init(name: name, sizeBytes: offset, checksum: checksum))
    }
    parts.removeLast()
    table?.close()
    table = nil
    isBegun = false
    offset = 0
    checksum = 0
  }
}

/// The records of a backup, as they are stored, up to the one that holds `last`.
final class BackupRecords {
  private let reader: LogReader
  private let last: Version
  /// Of the last record that was read.
  private(set) var position: LogPosition
  private(set) var leaderTime: UInt64 = 0

  init(_ reader: LogReader, after start: LogPosition, through last: Version) {
    self.reader = reader
    self.last = last
    position = start
  }

  /// Header and stored payload of the next record; nil after the last.
  func next() throws -> [UInt8]? {
    guard position.version < last, let record = try reader.nextRecord() else { return nil }
    // Only what was visible is sure to be chosen.
    if record.header.transactionCount > 0 && record.header.firstVersion > last { return nil }
    let version = record.header.transactionCount > 0 ? record.header.lastVersion : position.version
    position = LogPosition(slot: record.header.slot, chain: record.chain, version: version)
    leaderTime = record.header.leaderTime
    return unsafe Array(record.storedBytes)
  }
}
