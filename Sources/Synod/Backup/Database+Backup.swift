internal import Encoding
internal import Log
internal import Platform
internal import Storage
internal import Synchronization

/// What a backup holds.
public struct BackupSummary: Hashable, Sendable {
  /// The versions that can be restored: those that the log's tail reaches, back to what was in tables already.
  public var versions: ClosedRange<UInt64>
  /// Tables that were copied or linked.
  public var tables = 0
  /// Bytes in all files of the backup.
  public var sizeBytes: UInt64 = 0
  /// The id of the database that was backed up, in hexadecimal.
  public var cluster = ""

  /// For people.
  package var text: String {
    "backed up versions \(versions.lowerBound) to \(versions.upperBound): \(tables) tables, \(sizeBytes) bytes, "
      + "every byte verified"
  }
}

// A backup is a directory:
//
//   tables/, MANIFEST-…, CURRENT   the tables, as a store of their own
//   records                        the log's records behind the tables, as they were stored (RecordArchive.swift)
//   BACKUP                         sizes, checksums, positions (BackupManifest.swift); written last
//
// 1. The database goes on: tables never change and are kept while they are copied, and so is the log behind them.
// 2. What is copied is one state: the tables up to slot S, and every record from S + 1 to the version that was visible
//    when the backup began.
// 3. Every byte is verified before BACKUP is written: damage is not backed up in silence. A backup that fails leaves nothing.
// 4. Memory is a piece of a file, or a record, whatever the size of the database.

extension Database {
  /// Writes a backup of the database, as it is now, into the new or empty directory `path`, while it is in use.
  ///
  /// - Parameter linksTables: hard links instead of copies, where `path` is on the same file system: done in no time, and
  ///   no protection against that disk's failure.
  /// - Returns: what can be restored.
  /// - Throws: 58P02 where the directory is not empty; XX001 for damage, naming the place; 58030 for what the system refuses.
  @discardableResult
  public func backup(to path: String, linksTables: Bool = false) throws(DatabaseError) -> BackupSummary {
    do {
      return try writeBackup(path, linksTables)
    } catch { throw DatabaseError(opening: path, error) }
  }

  private func writeBackup(_ path: String, _ links: Bool) throws -> BackupSummary {
    let disk = core.disk
    try Self.requireEmpty(path, disk: disk)
    let last = core.engine.visibleVersion
    let (pinned, reader, start) = try Self.pinTablesAndLog(core)
    var manifest = BackupManifest(of: core, tables: start)
    let isOurs = try disk.status(path) == nil
    try disk.createDirectory(path)
    // What a failed attempt leaves would only be in the way of the next, and of a disk that is full.
    var isWhole = false
    defer {
      if !isWhole {
        try? disk.removeContents(path)
        if isOurs { try? disk.remove(path) }
      }
    }
    try disk.createDirectory(path + "/tables")
    var summary = BackupSummary(versions: 0...0)
    for table in pinned.state.levels.joined() {
      let name = "tables/" + TableFormat.fileName(table.number)
      manifest.files.append(try copyTable(name, table, to: path, links))
      summary.tables += 1
    }
    try disk.syncDirectory(path + "/tables")
    try TableStore.writeManifest(pinned.state, in: path, disk: disk)
    let records = BackupRecords(reader, after: start, through: last)
    try writeRecords(records, path)
    (manifest.log, manifest.leaderTime) = (records.position, records.leaderTime)
    for name in try disk.list(path) where name != "tables" {
      let (size, checksum) = try FileCopy.scan("\(path)/\(name)", disk: disk)
      manifest.files.append(.init(name: name, sizeBytes: size, checksum: checksum))
    }
    let file = try disk.open("\(path)/\(BackupManifest.fileName)", .create)
    defer { file.close() }
    try file.write(manifest.encode(), at: 0)
    try file.sync()
    try disk.syncDirectory(path)
    isWhole = true
    summary.versions = start.version.rawValue...max(start.version, manifest.log.version).rawValue
    summary.sizeBytes = manifest.files.reduce(0) { $0 + $1.sizeBytes }
    summary.cluster = BackupManifest.hex(manifest.cluster)
    return summary
  }

  /// The tables, and a reader of the log behind them. A flush in between may take the log away; then there are newer tables.
  static func pinTablesAndLog(_ core: Core) throws -> (PinnedTables, LogReader, LogPosition) {
    while true {
      let pinned = core.engine.pinTables()
      let flushed = pinned.state.flushed
      do throws(LogError) {
        let reader = try core.log.reader(after: flushed.slot)
        guard let chain = core.log.chain(at: flushed.slot) else { continue }
        return (pinned, reader, LogPosition(slot: flushed.slot, chain: chain, version: flushed.version))
      } catch {
        guard case .notInLog = error, core.engine.flushedPosition.slot > flushed.slot else { throw error }
      }
    }
  }

  private func copyTable(
    _ name: String, _ metadata: TableMetadata, to path: String, _ links: Bool
  ) throws -> BackupManifest.File {
    let source = "\(core.path)/\(name)"
    let target = "\(path)/\(name)"
    let size: UInt64
    let checksum: UInt32
    if links, (try? core.disk.link(source, to: target)) != nil {
      (size, checksum) = try FileCopy.scan(target, disk: core.disk)
    } else {
      (size, checksum) = try FileCopy.copy(source, to: target, disk: core.disk)
    }
    try Self.verifyTable(target, metadata, disk: core.disk)
    return .init(name: name, sizeBytes: size, checksum: checksum)
  }

  /// Every block of a table, and that it is the one that the manifest names.
  static func verifyTable(_ path: String, _ metadata: TableMetadata, disk: any Disk) throws {
    let inspector = try TableInspector(path, disk: disk)
    guard inspector.metadata.fileHash == metadata.fileHash else {
      throw DatabaseError(sqlState: "XX001", message: "\(path) is another table than the manifest names")
    }
    if let damage = try inspector.verify().first { throw DatabaseError(sqlState: "XX001", message: "\(damage)") }
  }

  /// The records up to the one that holds `last`, as they are stored.
  private func writeRecords(_ records: BackupRecords, _ path: String) throws {
    let file = try core.disk.open("\(path)/\(BackupManifest.recordsName)", .create)
    defer { file.close() }
    var offset: UInt64 = 0
    while let record = try records.next() {
      try file.write(record, at: offset)
      offset += UInt64(record.count)
    }
    try file.sync()
  }

  /// - Throws: 58P02 unless there is nothing at `path`, or an empty directory.
  static func requireEmpty(_ path: String, disk: any Disk) throws {
    guard let status = try disk.status(path) else { return }
    guard status.isDirectory, try disk.list(path).isEmpty else {
      throw DatabaseError(
        sqlState: "58P02", message: "\"\(path)\" is not empty",
        hint: "Name a directory that does not exist yet, or an empty one.")
    }
  }
}
