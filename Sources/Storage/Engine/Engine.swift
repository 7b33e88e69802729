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
  let states: ReadStates
  let snapshots: SnapshotRegistry
  let writer: Mutex<Writer>
  private let visible: Atomic<UInt64>
  private let retention = Atomic<UInt64>(Version.latest.rawValue)

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
    /// Why nothing more is written.
    var failure: StorageError?
  }

  /// A memtable that takes no more writes, and the position that it reaches.
  struct WaitingMemtable {
    var memtable: Memtable
    var position: (slot: Slot, version: Version)
  }

  private init(_ options: EngineOptions) {
    self.options = options
    let active = Memtable(sizeBytes: options.memtableSizeBytes)
    let start = (slot: Slot.zero, version: Version.zero)
    states = ReadStates(ReadState(memtables: [active]))
    snapshots = SnapshotRegistry(floor: .zero)
    writer = Mutex(Writer(active: active, position: start, flushed: start))
    visible = Atomic(start.version.rawValue)
  }

  /// Opens the store in a database's directory.
  package static func open(
    _ directory: String, disk: any Disk, options: EngineOptions = EngineOptions()
  ) throws(StorageError) -> Engine {
    Engine(options)
  }

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
    try writer.withLock { (writer) throws(StorageError) in
      if let failure = writer.failure { throw failure }
      guard slot > writer.position.slot else { return }
      do throws(DecodingError) {
        guard transactionCount > 0, firstVersion > writer.position.version else {
          throw .invalid(offset: 0, reason: "group of \(transactionCount) at \(firstVersion) after \(writer.position)")
        }
        let operations = unsafe try GroupPayload.countOperations(payload, transactionCount: transactionCount)
        makeRoom(&writer, operations: operations, payloadSizeBytes: payload.count)
        var group = unsafe GroupPayload(payload, firstVersion: firstVersion, transactionCount: transactionCount)
        while let (version, batch) = unsafe try group.next() { unsafe try writer.active.insert(batch, version) }
        writer.position = (slot, firstVersion.advanced(by: UInt64(transactionCount - 1)))
      } catch {
        writer.failure = .malformedGroup(slot: slot, error)
        throw .malformedGroup(slot: slot, error)
      }
    }
  }

  /// Puts a new memtable in place where the group does not fit into the active one.
  private func makeRoom(_ writer: inout Writer, operations: Int, payloadSizeBytes: Int) {
    let active = writer.active
    let fits = active.hasRoom(operations: operations, payloadSizeBytes: payloadSizeBytes)
    if active.isEmpty ? fits : fits && !active.isFull { return }
    let group = Memtable.bound(operations: operations, payloadSizeBytes: payloadSizeBytes)
    rotate(&writer, groupSizeBytes: group)
  }

  func rotate(_ writer: inout Writer, groupSizeBytes: Int = 0) {
    if !writer.active.isEmpty {
      writer.waiting.append(WaitingMemtable(memtable: writer.active, position: writer.position))
    }
    writer.active = Memtable(sizeBytes: options.memtableSizeBytes, groupSizeBytes: groupSizeBytes)
    installState(writer)
  }

  func installState(_ writer: borrowing Writer) {
    states.install(ReadState(memtables: [writer.active] + writer.waiting.reversed().map(\.memtable)))
  }

  /// Makes everything up to `version` visible (release); whole groups only, versions never go back.
  package func publish(_ version: Version) {
    assert(version >= visibleVersion)
    visible.store(version.rawValue, ordering: .releasing)
  }

  /// The newest version that reads may use (acquire).
  @inline(__always)
  package var visibleVersion: Version { Version(visible.load(ordering: .acquiring)) }

  // MARK: Snapshots and garbage

  /// Takes the newest snapshot and holds it: atomic with respect to garbage collection. A few nanoseconds, no lock.
  package func retainVisible() -> SnapshotHold { snapshots.retain { visibleVersion } }

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
    get { Version(retention.load(ordering: .acquiring)) }
    set { retention.store(newValue.rawValue, ordering: .releasing) }
  }

  // MARK: Lifecycle

  /// Moves everything published into tables; returns when they are durable.
  package func flush() throws(StorageError) { writer.withLock { rotate(&$0) } }

  /// Flushes, and merges all tables into the last level.
  package func compact() throws(StorageError) { try flush() }

  /// Ends the background work, without flushing: the log has what the tables lack. Idempotent. Cursors and pins may still
  /// be ended afterwards, but not used.
  package func close() { writer.withLock { $0.failure = .closed } }

  package var statistics: EngineStatistics {
    var statistics = EngineStatistics()
    writer.withLock { writer in
      statistics.memtableEntries = writer.active.count
      statistics.memtableSizeBytes = writer.active.usedBytes
      statistics.waitingMemtables = writer.waiting.count
      statistics.flushes = writer.flushes
    }
    statistics.snapshots = snapshots.count
    statistics.oldestSnapshot = snapshots.oldest ?? .zero
    return statistics
  }

  /// How long the sequencer should wait before the next group, in nanoseconds, so that flush and compaction keep up:
  /// 0 in the good case.
  package func writePressure() -> UInt64 { 0 }

  /// Reads every byte of every table and returns what is wrong. `progress` is called with the bytes done and to do.
  package func verify(_ progress: (UInt64, UInt64) -> Void = { _, _ in }) throws(StorageError) -> [Damage] { [] }
}
