import Encoding
import Platform
import Simulation
import Storage

/// A store of tables beside the model of everything that was written, with a stand-in for the memtable.
struct StoreHarness {
  let disk: SimulatedDisk
  var options: TableStoreOptions
  var store: TableStore
  var model = VersionedModel()
  var version: UInt64 = 0
  var slot: UInt64 = 0
  /// Reads go to snapshots at or above it.
  let horizon: HorizonCell
  /// What the next flush writes.
  private var pending: [[UInt8]: [UInt64: [UInt8]?]] = [:]
  private var pendingRanges = RangeDeletionBuilder()

  /// Tiny blocks, leaves, tables and levels: a few hundred entries reach every edge.
  static func tinyOptions() -> TableStoreOptions {
    var options = TableStoreOptions()
    options.table.blockSizeBytes = 100
    options.table.indexBlockSizeBytes = 150
    options.table.restartInterval = 3
    options.table.tableSizeBytes = 700
    options.blockCacheSizeBytes = 20_000
    options.compaction.level0Sublevels = 2
    options.compaction.baseLevelSizeBytes = 1500
    options.compaction.ratio = 2
    options.compaction.overlapTables = 3
    options.manifestRotationSizeBytes = 4096
    return options
  }

  init(_ disk: SimulatedDisk, _ options: TableStoreOptions = tinyOptions()) throws {
    self.disk = disk
    var options = options
    let horizon = HorizonCell()
    options.horizon = { horizon.value }
    self.horizon = horizon
    self.options = options
    try disk.createDirectory("/db")
    try disk.syncDirectory("/")
    store = try TableStore.open("/db", disk: disk, options: options)
  }

  mutating func reopen() throws {
    store.close()
    store = try TableStore.open("/db", disk: disk, options: options)
  }

  /// One transaction into what the next flush writes.
  mutating func write(_ writes: [VersionedModel.Write]) {
    version += 1
    slot += 1
    model.apply(writes, Version(version))
    for write in writes {
      switch write {
      case .put(let key, let value): pending[key, default: [:]][version] = .some(value)
      case .delete(let key): pending[key, default: [:]][version] = .some(nil)
      case .deleteRange(let start, let end):
        guard precedes(start, end) else { continue }
        for key in pending.keys where !precedes(key, start) && precedes(key, end) && pending[key]![version] != nil {
          pending[key]![version] = .some(nil)
        }
        pendingRanges.add(start, end, Version(version))
      }
    }
  }

  /// Writes random transactions.
  mutating func write(_ count: Int, _ random: inout SeededRandomness, spread: Int) {
    for _ in 0..<count { write(EngineModelTests.writes(&random, spread: spread)) }
  }

  mutating func flush() throws {
    let output = store.makeOutput(deletions: pendingRanges.build())
    let tables: [TableMetadata]
    do {
      for (key, versions) in pending.sorted(by: { precedes($0.key, $1.key) }) {
        for (version, value) in versions.sorted(by: { $0.key > $1.key }) {
          try key.withUnsafeBytes { key in
            try (value ?? []).withUnsafeBytes {
              try output.add(key, Version(version), value == nil ? .delete : .put, $0)
            }
          }
        }
      }
      tables = try output.finish()
    } catch {
      output.abandon()
      throw error
    }
    try store.install(flush: tables, position: FlushedPosition(slot: Slot(slot), version: Version(version)))
    pending.removeAll()
    pendingRanges = RangeDeletionBuilder()
  }

  /// What the store shows of a key.
  static func get(_ store: TableStore, _ key: [UInt8], at snapshot: Version) throws -> [UInt8]? {
    var pin = BlockPin()
    return try key.withUnsafeBytes { key in
      let found = try store.current.find(key, at: snapshot, &pin)
      return found.outcome == .put ? Array(found.value) : nil
    }
  }

  static func scan(
    _ store: TableStore, _ range: KeyRange, at snapshot: Version, _ direction: Direction = .forward
  ) throws -> [VersionedModel.Entry] {
    let set = store.current
    let cursor = VisibleCursor(
      MergingCursor(set.makeCursors(maximumVersion: snapshot)), set.rangeDeletions(in: range), range, at: snapshot,
      direction)
    var result: [VersionedModel.Entry] = []
    while try cursor.next() {
      result.append(.init(key: Array(cursor.key), value: Array(cursor.value), version: cursor.version))
    }
    return result
  }

  /// Compares points, scans and newest versions with the model; nil where all agree. Everything must be flushed.
  func difference(_ random: inout SeededRandomness, spread: Int) throws -> String? {
    let keys = AwkwardKeys()
    for _ in 0..<12 {
      let snapshot = Version(horizon.value.rawValue + UInt64(random.below(Int(version - horizon.value.rawValue) + 1)))
      let key = keys.key(&random, spread: spread)
      let got = try Self.get(store, key, at: snapshot)
      if got != model.get(key, at: snapshot) {
        return "get \(key) at \(snapshot): \(got as Any), not \(model.get(key, at: snapshot) as Any)"
      }
      let newest = try newestVersion(key, after: snapshot)
      if newest != model.newestVersion(of: key, after: snapshot) {
        return "newest version of \(key) after \(snapshot): \(newest as Any)"
      }
      guard random.oneIn(3) else { continue }
      let range = KeyRange(
        lower: random.oneIn(3) ? [] : keys.key(&random, spread: spread),
        upper: random.oneIn(3) ? nil : keys.key(&random, spread: spread))
      let expected = model.scan(range, at: snapshot)
      let forward = try Self.scan(store, range, at: snapshot)
      if forward != expected { return "scan \(range) at \(snapshot): \(Self.firstDifference(forward, expected))" }
      let backward = try Self.scan(store, range, at: snapshot, .reverse)
      if backward != expected.reversed() {
        return "reverse scan \(range) at \(snapshot): \(Self.firstDifference(backward.reversed(), expected))"
      }
    }
    return nil
  }

  private static func firstDifference(_ got: [VersionedModel.Entry], _ expected: [VersionedModel.Entry]) -> String {
    let place =
      zip(got, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(got.count, expected.count)
    func entry(_ entries: [VersionedModel.Entry]) -> String {
      place < entries.count ? "\(entries[place].key)@\(entries[place].version)" : "the end"
    }
    return "\(entry(got)) instead of \(entry(expected)) at place \(place)"
  }

  func newestVersion(_ key: [UInt8], after floor: Version) throws -> Version? {
    var pin = BlockPin()
    return try key.withUnsafeBytes { try store.current.newestVersion(of: $0, after: floor, &pin) }
  }
}

/// The horizon that the store asks for.
final class HorizonCell: @unchecked Sendable {
  // Tests set it between operations of one thread.
  var value = Version.zero
}
