package import Encoding
package import Platform
internal import Synchronization

// The engine: memtables above levels of tables.
//
//   log order →  apply ─→ memtable (active) ─full→ waiting memtables ─flush→ tables ─compaction→ tables
//                publish ─→ visible version                    │
//   readers: snapshot ≤ visible, newest first: active, waiting, tables
//
// 1. A group is inserted as a whole before `publish` makes it visible; memtables change only between groups. So versions
//    in a newer memtable are larger than all in an older one, and larger than all in tables flushed before: the first
//    source that knows a key (entry or range deletion not newer than the snapshot) decides.
// 2. A flush stores, in the same manifest edit as its tables, the slot and version that the tables reach; replay begins
//    after it, and `apply` skips what it is given again.
// 3. The edit is made only when the log is durable up to that slot (`ensureDurable`): tables never know more than the log.
// 4. A version is collected only when no snapshot in `SnapshotRegistry` and no retention can ask for it.

/// The multi-version store: written by one thread in log order, read by any number.
package final class Engine: Sendable {
  let options: EngineOptions
  let store: TableStore
  let states: ReadStates
  let snapshots: SnapshotRegistry
  let writer: Mutex<Writer>
  /// Held by the flush that runs.
  let flushing = Mutex<Void>(())
  let flusher = RepeatingThread()
  let memoryKeeper = RepeatingThread()
  /// The keeper was woken, and has not looked since.
  let isMemoryAsked = Atomic(false)
  /// What flushed memtables leave to the next.
  let arenas: ArenaReserve
  private let pressure: WritePressure
  /// Changes when a flush succeeds or fails.
  let progress = FutexWord()

  /// What the writing side owns.
  struct Writer {
    /// Takes the next group.
    var active: Memtable
    /// Waiting for the flush, oldest first.
    var waiting: [WaitingMemtable] = []
    /// The last group applied.
    var position: (slot: Slot, version: Version)
    /// What is in tables.
    var flushed: (slot: Slot, version: Version)
    var flushes = 0
    /// The log's size when `active` took its first group.
    var logSizeBytes: UInt64 = 0
    /// Why the last flush failed, until one succeeds.
    var flushFailure: StorageError?
    /// Why nothing more is written.
    var failure: StorageError?
  }

  /// A memtable that takes no more writes, and the position that it reaches.
  struct WaitingMemtable {
    var memtable: Memtable
    var position: (slot: Slot, version: Version)
  }

  /// How the store of tables reaches the engine that owns it.
  private final class Link: Sendable {
    struct Reference {
      weak var engine: Engine?
    }
    let reference = Mutex(Reference())
    func tablesChanged() { reference.withLock { $0.engine }?.refreshTables() }
  }

  /// See `writePressure()`; those who write tables look at it, too, and must not keep the engine alive.
  private final class WritePressure: Sendable {
    let nanoseconds = Atomic<UInt64>(0)
  }

  private init(
    _ options: EngineOptions, _ store: TableStore, _ snapshots: SnapshotRegistry, _ pressure: WritePressure
  ) {
    self.options = options
    self.pressure = pressure
    self.store = store
    self.snapshots = snapshots
    let flushed = store.flushed
    let start = (slot: flushed.slot, version: flushed.version)
    snapshots.start(floor: store.garbageFloor, visible: start.version)
    arenas = ArenaReserve()
    let active = Memtable(sizeBytes: options.memtableSizeBytes, reserve: arenas)
    states = ReadStates(ReadState(memtables: [active], tables: store.current))
    writer = Mutex(Writer(active: active, position: start, flushed: start))
  }

  /// Opens the store in a database's directory, which must exist; makes an empty one where there is none.
  ///
  /// - Throws: `corruption` for damage of the manifest or a table that is not the one it names; `unsupportedFormat`.
  package static func open(
    _ directory: String, disk: any Disk, options: EngineOptions = EngineOptions()
  ) throws(StorageError) -> Engine {
    let snapshots = SnapshotRegistry()
    let link = Link()
    var tables = TableStoreOptions()
    tables.table = options.tables
    tables.compaction = options.compaction
    tables.blockCacheSizeBytes = options.blockCacheSizeBytes
    tables.background = options.background
    tables.horizon = { snapshots.collect() }
    tables.onInstall = { link.tablesChanged() }
    let pressure = WritePressure()
    if options.background {
      tables.pace = Pace(progress: { snapshots.visible.load(ordering: .relaxed) }) {
        pressure.nanoseconds.load(ordering: .relaxed) > 0
      }
    }
    let store = try TableStore.open(directory, disk: disk, options: tables)
    let engine = Engine(options, store, snapshots, pressure)
    link.reference.withLock { $0.engine = engine }
    // A compaction may have been faster than the link.
    engine.refreshTables()
    if options.background {
      engine.startFlushing()
      engine.startKeepingMemory()
    }
    return engine
  }

  deinit { close() }

  /// Puts the newest set of tables in place for readers.
  private func refreshTables() { writer.withLock { installState(&$0) } }

  /// Everything up to this slot and version is in tables: the log is replayed after it.
  package var flushedPosition: (slot: Slot, version: Version) { writer.withLock { $0.flushed } }

  // MARK: Writing: one thread at a time, in log order

  /// Inserts a group of transactions, versions `firstVersion` and up, in the encoding of a TXN_GROUP payload. A slot that
  /// is flushed already is skipped. Nothing is visible before `publish`.
  ///
  /// After an error the engine refuses every later write, so that no part of a group can become visible; `full` is the
  /// exception: nothing was inserted, and the same call may be made again.
  package func apply(
    slot: Slot, firstVersion: Version, transactionCount: Int, payload: UnsafeRawBufferPointer
  ) throws(StorageError) {
    while true {
      let seen = progress.load()
      let isDone = try writer.withLock { (writer) throws(StorageError) in
        if let failure = writer.failure { throw failure }
        guard slot > writer.position.slot else { return true }
        let operations: Int
        do throws(DecodingError) {
          guard transactionCount > 0, firstVersion > writer.position.version else {
            throw .invalid(
              offset: 0, reason: "group of \(transactionCount) at \(firstVersion) after \(writer.position)")
          }
          operations = unsafe try GroupPayload.countOperations(payload, transactionCount: transactionCount)
        } catch { throw stop(&writer, .malformedGroup(slot: slot, error)) }
        guard try makeRoom(&writer, slot, operations: operations, payloadSizeBytes: payload.count) else { return false }
        do throws(DecodingError) {
          var group = unsafe GroupPayload(payload, firstVersion: firstVersion, transactionCount: transactionCount)
          while let (version, batch) = unsafe try group.next() { unsafe try writer.active.insert(batch, version) }
        } catch { throw stop(&writer, .malformedGroup(slot: slot, error)) }
        writer.position = (slot, firstVersion.advanced(by: UInt64(transactionCount - 1)))
        if writer.active.needsMemory { askForMemory() }
        // Not only when the next group comes: after a bulk load that may be long, and its memory is held until then.
        if writer.active.isFull && mayRotate(writer) { rotate(&writer) }
        return true
      }
      if isDone { return }
      progress.wait(while: seen, timeoutNanoseconds: 1_000_000_000)
    }
  }

  private func stop(_ writer: inout Writer, _ failure: StorageError) -> StorageError {
    writer.failure = failure
    return failure
  }

  /// Puts a new memtable in place where the group does not fit into the active one; false when too many wait for the
  /// flush.
  private func makeRoom(
    _ writer: inout Writer, _ slot: Slot, operations: Int, payloadSizeBytes: Int
  ) throws(StorageError) -> Bool {
    let active = writer.active
    let fits = active.hasRoom(operations: operations, payloadSizeBytes: payloadSizeBytes)
    if active.isEmpty {
      writer.logSizeBytes = options.logSizeBytes(slot)
      if fits { return true }
    } else if fits && !active.isFull {
      // One that waits already will shorten the log.
      guard writer.waiting.isEmpty, isLogLong(writer, slot) else { return true }
    }
    if !mayRotate(writer) {
      if case .disk(let reason) = writer.flushFailure { throw .full(reason: reason) }
      return false
    }
    let group = Memtable.bound(operations: operations, payloadSizeBytes: payloadSizeBytes)
    rotate(&writer, groupSizeBytes: group)
    writer.logSizeBytes = options.logSizeBytes(slot)
    return true
  }

  /// Whether the active memtable is to be flushed for the length of the log alone: by how much that has grown since the
  /// memtable took its first group.
  private func isLogLong(_ writer: borrowing Writer, _ slot: Slot) -> Bool {
    let size = options.logSizeBytes(slot)
    guard size > writer.logSizeBytes, writer.logSizeBytes > 0 else { return false }
    let grown = size - writer.logSizeBytes
    if grown >= options.flushAfterLogBytes { return true }
    return grown >= options.flushAfterPaddedLogBytes && grown / 4 >= UInt64(writer.active.usedBytes)
  }

  /// Whether one more memtable may wait for the flush.
  private func mayRotate(_ writer: borrowing Writer) -> Bool {
    !options.background || writer.waiting.count < 2 * max(1, options.waitingMemtables)
  }

  func rotate(_ writer: inout Writer, groupSizeBytes: Int = 0, always: Bool = false) {
    if always || !writer.active.isEmpty {
      writer.waiting.append(WaitingMemtable(memtable: writer.active, position: writer.position))
    }
    writer.active = Memtable(
      sizeBytes: options.memtableSizeBytes, groupSizeBytes: groupSizeBytes, reserve: arenas)
    installState(&writer)
    flusher.wake()
  }

  func installState(_ writer: inout Writer) {
    let memtables = [writer.active] + writer.waiting.reversed().map(\.memtable)
    let tables = store.current
    states.install(ReadState(memtables: memtables, tables: tables))
    let late = max(0, writer.waiting.count - options.waitingMemtables + 1)
    let deep = max(0, tables.sublevels.count - 3 * options.compaction.level0Sublevels)
    pressure.nanoseconds.store(UInt64(late * late) * 500_000 + UInt64(deep) * 250_000, ordering: .relaxed)
  }

  /// Makes everything up to `version` visible (release); whole groups only, versions never go back.
  package func publish(_ version: Version) {
    assert(version >= visibleVersion)
    snapshots.visible.store(version.rawValue, ordering: .releasing)
  }

  /// The newest version that reads may use (acquire).
  @inline(__always)
  package var visibleVersion: Version { Version(snapshots.visible.load(ordering: .acquiring)) }

  // MARK: Snapshots and garbage

  /// Takes the newest snapshot and holds it: atomic with respect to garbage collection. A few nanoseconds, no lock.
  package func retainVisible() -> SnapshotHold { snapshots.retainVisible() }

  /// Holds the snapshot `version`, if everything that it shows is still kept.
  package func retain(snapshot version: Version) throws(StorageError) -> SnapshotHold {
    guard let hold = snapshots.retain(version) else {
      throw .snapshotTooOld(requested: version, oldest: snapshots.oldestAllowed)
    }
    return hold
  }

  /// Ends a hold; exactly once for each.
  package func release(_ hold: SnapshotHold) { snapshots.release(hold) }

  /// Retention: versions above it are kept even if no snapshot needs them (time travel). Starts at `Version.latest`: no
  /// retention beyond the snapshots.
  package var garbageFloor: Version {
    get { Version(snapshots.retention.load(ordering: .acquiring)) }
    set { snapshots.retention.store(newValue.rawValue, ordering: .releasing) }
  }

  // MARK: Lifecycle

  /// Moves everything applied into tables; returns when they are durable.
  package func flush() throws(StorageError) {
    try writer.withLock { (writer) throws(StorageError) in
      if let failure = writer.failure { throw failure }
      if !writer.active.isEmpty || writer.position.slot > (writer.waiting.last?.position ?? writer.flushed).slot {
        rotate(&writer, always: true)
      }
    }
    while try flushOldest() {}
  }

  /// Flushes, and merges all tables into the last level.
  package func compact() throws(StorageError) {
    try flush()
    try store.compactAll()
  }

  /// One step of the work that otherwise the background does: a flush, else a compaction; false when there is nothing to
  /// do.
  package func work() throws(StorageError) -> Bool {
    if try flushOldest() { return true }
    return try store.compactOnce()
  }

  /// Ends the background work, without flushing: the log has what the tables lack. Idempotent. Cursors and pins may still
  /// be ended afterwards, but not used.
  package func close() {
    let isFirst = writer.withLock { writer in
      defer { writer.failure = .closed }
      return writer.failure != .closed
    }
    guard isFirst else { return }
    flusher.stop()
    memoryKeeper.stop()
    arenas.close()
    flushing.withLock { _ in store.close() }
    progress.increment()
    progress.wake()
  }

  package var statistics: EngineStatistics {
    var statistics = EngineStatistics()
    writer.withLock { writer in
      statistics.memtableEntries = writer.active.count
      statistics.memtableSizeBytes = writer.active.usedBytes
      statistics.waitingMemtables = writer.waiting.count
      statistics.flushes = writer.flushes
      statistics.flushFailure = writer.flushFailure
    }
    statistics.snapshots = snapshots.count
    statistics.oldestSnapshot = snapshots.oldest ?? .zero
    let set = store.current
    statistics.tablesPerLevel = set.levels.map(\.count)
    statistics.tableSizeBytesPerLevel = set.levels.map { $0.reduce(0) { $0 + $1.metadata.sizeBytes } }
    statistics.runs = set.runs.count
    statistics.compaction = store.compactionStatistics
    return statistics
  }

  /// How long the sequencer should wait before the next group, in nanoseconds, so that flush and compaction keep up:
  /// 0 in the good case. Grows with what waits, so that writers slow down long before they are stopped.
  ///
  /// Worked out when memtables or tables change, because every commit asks, and must not wait for the group that is being
  /// applied.
  package func writePressure() -> UInt64 { options.background ? pressure.nanoseconds.load(ordering: .relaxed) : 0 }

  /// See `TableStore.mendManifest`.
  package func mendManifest() throws(StorageError) -> Damage? { try store.mendManifest() }

  /// Reads every byte of every table and of the manifest, and returns what is wrong. `progress` is called with the bytes
  /// done and to do.
  package func verify(_ progress: (UInt64, UInt64) -> Void = { _, _ in }) throws(StorageError) -> [Damage] {
    try store.verify(progress)
  }
}
