internal import Encoding
internal import Log
internal import Platform
internal import Storage

extension Database {
  /// Reads every byte of the backup at `path`: sizes and checksums of all files, each block of the tables, and the chain of
  /// the records. Nothing is changed.
  ///
  /// - Returns: what can be restored.
  /// - Throws: 58P01 where there is no backup; XX001 for damage, naming the place.
  @discardableResult
  public static func verifyBackup(at path: String) throws(DatabaseError) -> BackupSummary {
    let verification = BackupVerification(path, disk: LinuxDisk())
    do { return try verification.verify(try verification.readManifest()) } catch {
      throw DatabaseError(opening: path, error)
    }
  }
}

/// The checks of a backup, for whoever restores, receives or merely looks at one.
struct BackupVerification {
  let path: String
  let disk: any Disk

  init(_ path: String, disk: any Disk) {
    self.path = path
    self.disk = disk
  }

  /// The bytes of BACKUP.
  func readManifest() throws -> [UInt8] {
    let name = "\(path)/\(BackupManifest.fileName)"
    guard let status = try disk.status(name) else {
      throw DatabaseError(
        sqlState: "58P01", message: "\(path) is not a backup: it has no file \(BackupManifest.fileName)",
        hint: "An interrupted backup has none; take it again.")
    }
    guard status.sizeBytes <= 1 << 30 else { throw DatabaseError(sqlState: "XX001", message: "\(name) is too large") }
    let file = try disk.open(name, .read)
    defer { file.close() }
    return try file.readBytes(Int(status.sizeBytes), at: 0)
  }

  /// Sizes and checksums of all files.
  func files(_ bytes: [UInt8]) throws -> BackupManifest {
    let manifest: BackupManifest
    do throws(DecodingError) { manifest = try BackupManifest(bytes) } catch {
      throw DatabaseError(sqlState: "XX001", message: "\(path)/\(BackupManifest.fileName): \(error)")
    }
    for file in manifest.files {
      let name = "\(path)/\(file.name)"
      guard try disk.status(name) != nil else {
        throw DatabaseError(sqlState: "XX001", message: "\(name) is missing", hint: "Use another backup.")
      }
      let (size, checksum) = try FileCopy.scan(name, disk: disk)
      guard size == file.sizeBytes, checksum == file.checksum else {
        throw DatabaseError(
          sqlState: "XX001",
          message: "\(name) is damaged: \(size) bytes with CRC-32C \(String(checksum, radix: 16)), and BACKUP says "
            + "\(file.sizeBytes) bytes with \(String(file.checksum, radix: 16))",
          hint: "Use another backup.")
      }
    }
    return manifest
  }

  /// Everything that there is to verify, against the BACKUP in `bytes`.
  func verify(_ bytes: [UInt8]) throws -> BackupSummary {
    let manifest = try files(bytes)
    let state = try ManifestInspector(path, disk: disk).state
    var summary = BackupSummary(versions: 0...0)
    for table in state.levels.joined() {
      try Database.verifyTable("\(path)/tables/\(TableFormat.fileName(table.number))", table, disk: disk)
      summary.tables += 1
    }
    let file = try disk.open("\(path)/\(BackupManifest.recordsName)", .read)
    defer { file.close() }
    let reader = RecordArchiveReader(file, after: manifest.tables)
    while unsafe try reader.next({ (_, _) throws(LogError) in }) {}
    try requireEnd(of: reader, file.path, manifest)
    summary.versions = manifest.tables.version.rawValue...max(manifest.tables.version, manifest.log.version).rawValue
    summary.sizeBytes = manifest.files.reduce(0) { $0 + $1.sizeBytes }
    summary.cluster = BackupManifest.hex(manifest.cluster)
    return summary
  }

  /// The records must end where BACKUP says.
  func requireEnd(of reader: RecordArchiveReader, _ name: String, _ manifest: BackupManifest) throws {
    guard reader.position == manifest.log else {
      throw DatabaseError(
        sqlState: "XX001",
        message: "\(name) ends at slot \(reader.position.slot.rawValue) instead of \(manifest.log.slot.rawValue)")
    }
  }
}
