internal import Encoding
internal import Log
internal import Platform
internal import Replication
internal import SQL
internal import Storage

/// Up to where a backup is restored.
public enum RestorePoint: Hashable, Sendable {
  /// Everything.
  case latest
  /// The transactions up to this version.
  case version(UInt64)
  /// The transactions of records written up to this time, in nanoseconds since 1970.
  case time(UInt64)
}

// Restoring builds a database beside the target and renames it when it is whole, so that the target is either what it was
// or a complete database:
//
//   1. BACKUP is read, and every file's size and checksum compared with it
//   2. a log is made that begins where the tables end, with a new id: a restored database is never taken for the old one
//   3. tables are copied and verified block by block; their manifest is written
//   4. the records are verified by their chain, and their transactions committed anew, under the versions they had
//   5. the directory gets its name

extension Database {
  /// Makes the database at `target` from the backup at `path`, verifying every byte.
  ///
  /// - Returns: the last version that the new database holds.
  /// - Throws: 58P02 where the target is not empty; XX001 for damage; 22023 for a point that the backup does not reach, or
  ///   cannot tell.
  @discardableResult
  public static func restore(
    from path: String, to target: String, through point: RestorePoint = .latest
  ) throws(DatabaseError) -> UInt64 {
    var trimmed = target
    while trimmed.count > 1 && trimmed.hasSuffix("/") { trimmed.removeLast() }
    do {
      return try Restoration(backup: path, target: trimmed, point: point, disk: LinuxDisk()).run()
    } catch { throw DatabaseError(opening: path, error) }
  }
}

private struct Restoration {
  let backup: String
  let target: String
  let point: RestorePoint
  let disk: any Disk
  var unfinished: String { target + ".restoring" }

  func run() throws -> UInt64 {
    try Database.requireEmpty(target, disk: disk)
    let verification = BackupVerification(backup, disk: disk)
    let manifest = try verification.files(try verification.readManifest())
    let state = try ManifestInspector(backup, disk: disk).state
    if case .version(let version) = point {
      guard (manifest.tables.version.rawValue...manifest.log.version.rawValue).contains(version) else {
        throw DatabaseError(
          sqlState: "22023", message: "the backup does not hold version \(version) as a state of its own",
          hint: "It reaches from \(manifest.tables.version.rawValue) to \(manifest.log.version.rawValue).")
      }
    }
    if case .time(let time) = point { try requireReach(time, manifest) }
    try clearUnfinished()
    do {
      let last = try build(manifest, state)
      try disk.rename(unfinished, to: target)
      try disk.syncDirectory(parent(target))
      return last
    } catch {
      try? removeUnfinished()
      throw error
    }
  }

  /// A time that the backup cannot tell is refused: the tables hold what was committed before the first record, and not
  /// when that was.
  private func requireReach(_ time: UInt64, _ manifest: BackupManifest) throws {
    let taken = max(manifest.createdNanoseconds, manifest.leaderTime)
    guard time <= taken else {
      throw DatabaseError(
        sqlState: "22023", message: "the backup was taken at \(text(of: taken)), before \(text(of: time))",
        hint: "For everything that it holds, name no time.")
    }
    let file = try disk.open("\(backup)/\(BackupManifest.recordsName)", .read)
    defer { file.close() }
    var first: UInt64?
    let reader = RecordArchiveReader(file, after: manifest.tables)
    while first == nil,
      unsafe try reader.next({ (header, _) throws(LogError) in
        if header.type == .transactionGroup { first = header.leaderTime }
      })
    {}
    let oldest = manifest.tables.version.rawValue
    guard let first else {
      throw DatabaseError(
        sqlState: "22023", message: "the backup holds no other state than version \(oldest)",
        hint: "Name no time, or an older backup.")
    }
    guard time >= first else {
      throw DatabaseError(
        sqlState: "22023",
        message: "the backup's tables may hold transactions from after \(text(of: time)): its log begins at "
          + text(of: first),
        hint: "--to \(oldest) is the state before that; an older backup may reach back further.")
    }
  }

  private func text(of nanoseconds: UInt64) -> String {
    let microseconds = Int64(nanoseconds / 1000) - 946_684_800_000_000
    return (try? TypeCodec.string(Value(microseconds), .timestamptz)) ?? "\(nanoseconds)"
  }

  private func build(_ manifest: BackupManifest, _ state: ManifestState) throws -> UInt64 {
    var options = LogOptions()
    // Never an id that another database has: it may become a node of a cluster.
    var random = SystemRandomness()
    options.newNode = random.next() >> 16 | 1
    options.newState.last = manifest.tables
    options.newState.leaderTime = manifest.leaderTime
    options.newState.chosenHint = manifest.tables.slot
    let log = try Log.open(unfinished, disk: disk, options: options)
    do {
      try disk.createDirectory(unfinished + "/tables")
      for table in state.levels.joined() {
        let name = "tables/" + TableFormat.fileName(table.number)
        _ = try FileCopy.copy("\(backup)/\(name)", to: "\(unfinished)/\(name)", disk: disk)
        try Database.verifyTable("\(unfinished)/\(name)", table, disk: disk)
      }
      try disk.syncDirectory(unfinished + "/tables")
      try TableStore.writeManifest(state, in: unfinished, disk: disk)
      let last = try commitRecords(manifest, log)
      try log.close()
      return last
    } catch {
      try? log.close()
      throw error
    }
  }

  /// Commits the records' transactions anew, up to the point that was asked for.
  private func commitRecords(_ manifest: BackupManifest, _ log: Log) throws -> UInt64 {
    let file = try disk.open("\(backup)/\(BackupManifest.recordsName)", .read)
    defer { file.close() }
    let reader = RecordArchiveReader(file, after: manifest.tables)
    // The log is all that is filled: opening the database replays it.
    let pipeline = CommitPipeline(log: log, clock: LinuxClock()) { (_) throws(DeliveryError) in }
    var last = manifest.tables.version
    var pending = 0
    do {
      while unsafe try reader.next({ (header, payload) throws(LogError) in
        guard header.type == .transactionGroup else { return }
        if case .time(let time) = point, header.leaderTime > time { return }
        unsafe try append(header, payload, to: pipeline, file.path, &last, &pending)
      }) {
        if pending > 4 << 20 {
          pending = 0
          try pipeline.commit(through: last, durable: false)
        }
      }
      if last > manifest.tables.version { try pipeline.commit(through: last, durable: true) }
      try pipeline.close()
    } catch {
      try? pipeline.close()
      throw error
    }
    try BackupVerification(backup, disk: disk).requireEnd(of: reader, file.path, manifest)
    return last.rawValue
  }

  /// Appends a group's transactions (`u32 length | batch` each), but for those behind the point asked for.
  private func append(
    _ header: RecordHeader, _ payload: UnsafeRawBufferPointer, to pipeline: CommitPipeline, _ path: String,
    _ last: inout Version, _ pending: inout Int
  ) throws(LogError) {
    var group = unsafe ByteReader(payload)
    for index in 0..<UInt64(header.transactionCount) {
      let version = header.firstVersion.advanced(by: index)
      if case .version(let end) = point, version.rawValue > end { return }
      do throws(DecodingError) {
        let length = unsafe try group.readInteger(UInt32.self)
        let batch = unsafe try group.readBytes(Int(length))
        guard version == last.advanced(by: 1), batch.count <= WriteBatch.maximumSizeBytes else {
          throw DecodingError.invalid(offset: 0, reason: "version \(version.rawValue) after \(last.rawValue)")
        }
        do throws(LogError) { unsafe try pipeline.append(batch, version: version) } catch {
          throw DecodingError.invalid(offset: 0, reason: "\(error)")
        }
        pending += batch.count
      } catch {
        throw .corrupt(LogPlace(file: path, offset: 0), reason: "\(error)", expected: 0, found: 0)
      }
      last = version
    }
  }

  /// Removes what an interrupted attempt left; but neither what another one is making, nor what somebody else keeps there.
  private func clearUnfinished() throws {
    guard try disk.status(unfinished) != nil else { return }
    let ours: Set<String> = [DirectoryLock.fileName, Superblock.fileName, "log", "tables", "CURRENT"]
    let names = try disk.list(unfinished)
    if let foreign = names.first(where: { name in
      !ours.contains(name) && !["MANIFEST-", "CURRENT.", Superblock.fileName + "."].contains { name.hasPrefix($0) }
    }) {
      throw DatabaseError(
        sqlState: "58P02", message: "\"\(unfinished)\" is needed, and holds \(foreign), which no restore left there",
        hint: "Move it away, or restore to another place.")
    }
    let lock = try DirectoryLock(unfinished, disk: disk)
    defer { lock.release() }
    try removeUnfinished()
  }

  private func removeUnfinished() throws {
    guard try disk.status(unfinished) != nil else { return }
    try disk.removeContents(unfinished)
    try disk.remove(unfinished)
  }

  private func parent(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
}
