package import Encoding
package import Platform
internal import Synchronization

// The tables of a database on disk, and the one place where their set changes.
//
//   DIRECTORY/CURRENT, MANIFEST-…      `ManifestFormat.swift`
//   DIRECTORY/tables/0000000012.table  `TableFormat.swift`
//
// Installing tables, in this order:
//
//   1. the tables' bytes are synced                    (`TableBuilder.finish`)
//   2. the names of the tables are synced              (syncDirectory)
//   3. the tables are opened: what cannot be read does not replace anything
//   4. the edit is appended to the manifest and synced (`Manifest.append`): the change has happened
//   5. the new set is published
//   6. tables that left are marked; each file goes when the last reader of its table has gone
//
// A failure before 4 leaves files that the caller removes. A failure at 4 leaves the edit in doubt: files of both sides
// are kept until a new manifest is durable, which states one of them. Whatever a crash leaves behind is removed at the
// next open, when it is known what counts.
//
// 1. What is durable is always one set: that before an installation or that after it.
// 2. A file that some durable manifest may name is not removed.
// 3. Table numbers are never used twice while the store is open.

/// The set of tables, and its changes.
///
/// `@unchecked Sendable`: what changes is behind mutexes or atomic. `installing` is held across I/O by those that change the
/// set; `published` only to copy a reference.
package final class TableStore: @unchecked Sendable {
  package let directory: String
  package let cache: BlockCache
  package let options: TableStoreOptions
  let disk: any Disk
  let tablesDirectory: String
  private let published: Mutex<TableSet>
  private let installing: Mutex<Installation>
  private let nextTableNumber: Atomic<UInt64>
  let compaction = CompactionControl()
  /// See `compactionDebtSizeBytes`; counted anew with every set.
  let debtSizeBytes = Atomic<UInt64>(0)

  private struct Installation {
    var manifest: Manifest
    /// Tables whose edit failed: named by a manifest, or not.
    var doubtful: Set<UInt64> = []
  }

  // MARK: Opening

  /// Opens the store in `directory`, which must exist; makes an empty one where there is none.
  ///
  /// - Throws: `corruption` for damage of CURRENT or the manifest, or a table that is missing or not the one that the
  ///   manifest names; `unsupportedFormat` for a newer format. Damage inside tables is found when it is read.
  package static func open(
    _ directory: String, disk: any Disk, options: TableStoreOptions = TableStoreOptions()
  ) throws(StorageError) -> TableStore {
    let tablesDirectory = "\(directory)/tables"
    let reader = ManifestReader(disk: disk, directory: directory)
    let names: [String]
    var tableNames: [String] = []
    do throws(DiskError) {
      names = try disk.list(directory)
      if names.contains("tables") {
        tableNames = try disk.list(tablesDirectory)
      } else if names.contains("CURRENT") {
        try disk.createDirectory(tablesDirectory)
        try disk.syncDirectory(directory)
      }
    } catch { throw .disk(error) }
    let lastManifest = names.compactMap(ManifestFormat.number(ofFileName:)).max() ?? 0
    let manifest: Manifest
    if let current = try reader.readCurrent() {
      manifest = Manifest(
        disk: disk, directory: directory, content: try reader.read(current), lastNumber: lastManifest,
        rotationSizeBytes: options.manifestRotationSizeBytes)
    } else {
      guard !tableNames.contains(where: { TableFormat.number(ofFileName: $0) != nil }) else {
        throw reader.damage(reader.currentPath, 0, "CURRENT (the file is missing, but there are tables)")
      }
      manifest = try create(directory, tablesDirectory, disk, options, after: lastManifest)
    }
    return try TableStore(directory, disk, options, manifest, tableNames: tableNames, manifestNames: names)
  }

  private static func create(
    _ directory: String, _ tablesDirectory: String, _ disk: any Disk, _ options: TableStoreOptions, after last: UInt64
  ) throws(StorageError) -> Manifest {
    do throws(DiskError) {
      try disk.createDirectory(tablesDirectory)
      try disk.syncDirectory(directory)
    } catch { throw .disk(error) }
    var manifest = Manifest(
      disk: disk, directory: directory, after: last, rotationSizeBytes: options.manifestRotationSizeBytes)
    try manifest.append(ManifestEdit())
    return manifest
  }

  private init(
    _ directory: String, _ disk: any Disk, _ options: TableStoreOptions, _ manifest: Manifest, tableNames: [String],
    manifestNames: [String]
  ) throws(StorageError) {
    self.directory = directory
    self.disk = disk
    self.options = options
    tablesDirectory = "\(directory)/tables"
    cache = BlockCache(capacityBytes: options.blockCacheSizeBytes)
    var levels: [[Table]] = Array(repeating: [], count: TableSet.levelCount)
    var manifest = manifest
    let state = manifest.state
    for (level, tables) in state.levels.enumerated() {
      for table in tables {
        levels[level].append(try Self.openTable(table, disk, "\(directory)/tables", cache))
      }
    }
    published = Mutex(TableSet(levels: levels, cache: cache))
    let present = tableNames.compactMap(TableFormat.number(ofFileName:))
    nextTableNumber = Atomic(max(state.nextTableNumber, (present.max() ?? 0) + 1))
    let isDurable = try Self.settle(&manifest)
    let current = manifest.number
    installing = Mutex(Installation(manifest: manifest))
    if isDurable {
      removeOrphans(tableNames: tableNames, manifestNames: manifestNames, state: state, manifest: current)
    }
    debtSizeBytes.store(picker(self.current, .zero).debtSizeBytes, ordering: .relaxed)
    if options.background { compaction.start(self) }
  }

  private static func openTable(
    _ metadata: TableMetadata, _ disk: any Disk, _ tablesDirectory: String, _ cache: BlockCache
  ) throws(StorageError) -> Table {
    let path = "\(tablesDirectory)/\(TableFormat.fileName(metadata.number))"
    do throws(StorageError) {
      return try Table(disk: disk, path: path, number: metadata.number, expected: metadata, cache: cache)
    } catch {
      if case .disk(let cause) = error, cause.kind == .notFound {
        throw .corruption(
          .init(
            path: path, offset: 0, what: "table (the manifest names it, and the file is missing)", expected: 0, found: 0
          ))
      }
      throw error
    }
  }

  /// Makes what was read durable in a new manifest (see `Manifest`). Where there is no room for it, reading can go on: the
  /// next edit will try again, and until then nothing is removed. False then.
  private static func settle(_ manifest: inout Manifest) throws(StorageError) -> Bool {
    guard manifest.mustRotate else { return true }
    do throws(StorageError) { try manifest.append(ManifestEdit()) } catch {
      if case .disk(let cause) = error, cause.kind == .noSpace || cause.kind == .readOnly { return false }
      throw error
    }
    return true
  }

  /// Removes what a crash left behind. Nothing durable names these files; failures leave them for the next time.
  private func removeOrphans(
    tableNames: [String], manifestNames: [String], state: ManifestState, manifest: UInt64
  ) {
    let live = state.tableNumbers
    for name in tableNames {
      if let number = TableFormat.number(ofFileName: name), !live.contains(number) {
        try? disk.remove("\(tablesDirectory)/\(name)")
      }
    }
    for name in manifestNames {
      let isStale = ManifestFormat.number(ofFileName: name).map { $0 != manifest } ?? (name == "CURRENT.new")
      if isStale { try? disk.remove("\(directory)/\(name)") }
    }
  }

  // MARK: Reading

  /// The set as it is now. Holding it keeps its tables.
  package var current: TableSet { published.withLock { $0 } }

  /// The set, and the state of the manifest that it belongs to.
  func pin() -> PinnedTables {
    // Sets are published while `installing` is held.
    installing.withLock { PinnedTables(state: $0.manifest.state, set: current) }
  }

  /// Everything up to here is in tables.
  package var flushed: FlushedPosition { installing.withLock { $0.manifest.state.flushed } }

  /// The floor that was stored with the last edit that had one.
  package var garbageFloor: Version { installing.withLock { $0.manifest.state.garbageFloor } }

  /// What the manifest says, as far as it is not in doubt.
  package var manifestState: ManifestState { installing.withLock { $0.manifest.state } }

  /// The last edit failed, and the manifest may say something else until the next one succeeds.
  var isManifestInDoubt: Bool { installing.withLock { $0.manifest.mustRotate } }

  // MARK: Changing

  /// Tables for a flush: add entries and range deletions, `finish`, then `install(flush:…)`.
  package func makeOutput(deletions: RangeDeletions = .empty, limits: TableOutput.Limits = .init()) -> TableOutput {
    TableOutput(
      disk: disk, directory: tablesDirectory, options: options.table, deletions: deletions, limits: limits,
      pace: options.pace, nextNumber: { [self] in takeTableNumber() })
  }

  /// Adds the tables of one flush to level 0, newer than all that are there, and moves the flushed position, in one edit.
  /// No tables, where the flush had nothing to write, only move the position.
  ///
  /// After an error the set is as before, and the tables' files are the store's to remove, when no manifest can name
  /// them: the flush is repeated with new ones.
  package func install(
    flush tables: [TableMetadata], position: FlushedPosition, garbageFloor: Version? = nil
  ) throws(StorageError) {
    var edit = ManifestEdit()
    edit.flushed = position
    edit.garbageFloor = garbageFloor
    edit.added = tables.map { ManifestEdit.Addition(level: 0, table: $0) }
    try install(edit)
    compaction.wake()
  }

  /// Makes the edit durable and publishes the set that it leads to.
  func install(_ edit: ManifestEdit) throws(StorageError) {
    var edit = edit
    let moved = Set(edit.removed.map(\.number))
    let isNew = edit.added.map { !moved.contains($0.table.number) }
    if isNew.contains(true) && options.mutation != .missingSyncDirectory {
      do throws(DiskError) { try disk.syncDirectory(tablesDirectory) } catch {
        remove(edit.added.indices.filter { isNew[$0] }.map { edit.added[$0].table.number })
        throw .disk(error)
      }
    }
    let removed = try installing.withLock { (installation) throws(StorageError) -> [Table] in
      let old = current
      for index in edit.added.indices where edit.added[index].level == 0 && isNew[index] {
        edit.added[index].table.sequence = (old.levels[0].last?.metadata.sequence ?? 0) + 1
      }
      let known = Dictionary(
        uniqueKeysWithValues: old.levels.joined().filter { moved.contains($0.number) }.map { ($0.number, $0) })
      var levels = old.levels
      for removal in edit.removed { levels[removal.level].removeAll { $0.number == removal.number } }
      do throws(StorageError) {
        for addition in edit.added {
          if let table = known[addition.table.number] {
            levels[addition.level].append(table)
          } else {
            levels[addition.level].append(try Self.openTable(addition.table, disk, tablesDirectory, cache))
          }
        }
      } catch {
        remove(edit.added.indices.filter { isNew[$0] }.map { edit.added[$0].table.number })
        throw error
      }
      edit.nextTableNumber = nextTableNumber.load(ordering: .relaxed)
      let next = TableSet(levels: levels, cache: cache, reusing: old)
      if options.mutation == .inputsRemovedEarly {
        remove(moved.subtracting(edit.added.map(\.table.number)))
      }
      try append(edit, &installation)
      published.withLock { $0 = next }
      debtSizeBytes.store(picker(next, .zero).debtSizeBytes, ordering: .relaxed)
      let kept = Set(edit.added.map(\.table.number))
      return known.values.filter { !kept.contains($0.number) }
    }
    for table in removed { table.markObsolete() }
    cache.epochs.reclaim()
    options.onInstall()
  }

  func takeTableNumber() -> UInt64 { nextTableNumber.wrappingAdd(1, ordering: .relaxed).oldValue }

  func removeFiles(_ numbers: [UInt64]) { remove(numbers) }

  /// Makes `state` durable and the set, in place of all that is there. See `TableStore+Checkpoint.swift`; no compaction
  /// runs.
  func installWhole(_ state: ManifestState, new numbers: [UInt64]) throws(StorageError) {
    var state = state
    let removed = try installing.withLock { (installation) throws(StorageError) -> [Table] in
      let old = current
      var levels: [[Table]] = []
      do throws(StorageError) {
        for tables in state.levels {
          var opened: [Table] = []
          for table in tables { opened.append(try Self.openTable(table, disk, tablesDirectory, cache)) }
          levels.append(opened)
        }
      } catch {
        remove(numbers)
        throw error
      }
      state.nextTableNumber = nextTableNumber.load(ordering: .relaxed)
      let next = TableSet(levels: levels, cache: cache, reusing: old, readFloor: state.garbageFloor)
      try append(state.edit, &installation)
      published.withLock { $0 = next }
      debtSizeBytes.store(picker(next, .zero).debtSizeBytes, ordering: .relaxed)
      return Array(old.levels.joined())
    }
    for table in removed { table.markObsolete() }
    cache.epochs.reclaim()
    options.onInstall()
    compaction.wake()
  }

  func renewManifest() throws(StorageError) {
    try installing.withLock { (installation) throws(StorageError) in try installation.manifest.renew() }
  }

  private func append(_ edit: ManifestEdit, _ installation: inout Installation) throws(StorageError) {
    do throws(StorageError) { try installation.manifest.append(edit) } catch {
      installation.doubtful.formUnion(edit.added.map(\.table.number))
      throw error
    }
    // The manifest is sound, so that nothing is in doubt any more.
    guard !installation.doubtful.isEmpty else { return }
    remove(installation.doubtful.subtracting(installation.manifest.state.tableNumbers))
    installation.doubtful.removeAll()
  }

  /// Removes files that nothing durable can name; what fails is left for the next open.
  private func remove(_ numbers: some Sequence<UInt64>) {
    for number in numbers { try? disk.remove("\(tablesDirectory)/\(TableFormat.fileName(number))") }
  }

  /// Stores the garbage floor, durably.
  package func setGarbageFloor(_ floor: Version) throws(StorageError) {
    var edit = ManifestEdit()
    edit.garbageFloor = floor
    try install(edit)
  }

  deinit { compaction.abandon() }

  /// Says that the horizon has moved on: there may be garbage to collect.
  package func wakeCompaction() { compaction.wake() }

  /// Ends the background work and the files' use by the store; sets that are still held can be read on.
  package func close() {
    compaction.stop()
    installing.withLock { $0.manifest.close() }
    cache.epochs.reclaim()
  }
}
