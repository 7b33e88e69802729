import Encoding
import Platform
import Simulation
import Storage
import Testing

/// An engine, the model beside it, and the log from which both can be built again.
final class EngineDriver {
  var engine: Engine
  var disk: SimulatedDisk
  let options: EngineOptions
  var model = VersionedModel()
  /// Every group, slot 1 first.
  var log: [(firstVersion: UInt64, transactions: [[VersionedModel.Write]])] = []
  var version: UInt64 = 0
  var holds: [SnapshotHold] = []
  var random: SeededRandomness
  let spread: Int
  var pin = ReadPin()
  var hasRangeDeletions = true

  /// Sizes at which every edge is reached: memtables of a few groups, blocks of a few entries, tables of a few blocks.
  static func smallOptions(memtableSizeBytes: Int) -> EngineOptions {
    var options = EngineOptions()
    options.memtableSizeBytes = memtableSizeBytes
    options.background = false
    options.blockCacheSizeBytes = 64 << 10
    options.tables.blockSizeBytes = 256
    options.tables.indexBlockSizeBytes = 256
    options.tables.restartInterval = 3
    options.tables.tableSizeBytes = 2 << 10
    options.compaction.baseLevelSizeBytes = 8 << 10
    options.compaction.level0Sublevels = 2
    options.compaction.ratio = 3
    return options
  }

  init(seed: UInt64, spread: Int, options: EngineOptions, disk: SimulatedDisk? = nil) throws {
    random = SeededRandomness(seed: seed)
    self.spread = spread
    self.options = options
    self.disk = disk ?? SimulatedDisk(seed: seed)
    try self.disk.createDirectory("/db")
    try self.disk.syncDirectory("/")
    engine = try Engine.open("/db", disk: self.disk, options: options)
  }

  func key() -> [UInt8] { AwkwardKeys().key(&random, spread: spread) }

  func makeWrites() -> [VersionedModel.Write] {
    EngineModelTests.writes(&random, spread: spread, hasRangeDeletions: hasRangeDeletions)
  }

  /// The next group goes to the log, the model and the engine.
  func applyGroup() throws {
    let transactions = (0..<random.below(3) + 1).map { _ in makeWrites() }
    log.append((version + 1, transactions))
    for (index, writes) in transactions.enumerated() { model.apply(writes, Version(version + 1 + UInt64(index))) }
    version += UInt64(transactions.count)
    try engine.apply(UInt64(log.count), log.last!.firstVersion, transactions)
    engine.publish(Version(version))
  }

  func maintain() throws {
    if random.oneIn(5) { holds.append(engine.retainVisible()) }
    if holds.count > 1, random.oneIn(6) { engine.release(holds.remove(at: random.below(holds.count))) }
    if random.oneIn(15) { try engine.flush() }
    for _ in 0..<2 where random.oneIn(2) { _ = try engine.work() }
    if random.oneIn(60) { try engine.compact() }
  }

  /// Opens what is on the disk and replays the log after it.
  func restart(on newDisk: SimulatedDisk? = nil) throws {
    engine.close()
    pin.reset()
    holds = []
    if let newDisk { disk = newDisk }
    engine = try Engine.open("/db", disk: disk, options: options)
    let flushed = engine.flushedPosition
    #expect(engine.visibleVersion == flushed.version)
    #expect(flushed.slot.rawValue <= log.count)
    if flushed.slot.rawValue > 0 {
      let last = log[Int(flushed.slot.rawValue) - 1]
      #expect(flushed.version.rawValue == last.firstVersion + UInt64(last.transactions.count) - 1)
    }
    #expect(try engine.entries(.all, at: flushed.version) == model.scan(.all, at: flushed.version))
    // The log may give what is flushed already as well.
    for (index, group) in log.enumerated() where index + 3 >= Int(flushed.slot.rawValue) {
      try engine.apply(UInt64(index + 1), group.firstVersion, group.transactions)
    }
    engine.publish(Version(version))
  }

  /// A readable snapshot.
  func snapshot() -> Version {
    holds.isEmpty || random.oneIn(2) ? Version(version) : holds[random.below(holds.count)].version
  }

  func compare() throws {
    let snapshot = snapshot()
    let key = key()
    #expect(try engine.value(key, at: snapshot, &pin) == model.get(key, at: snapshot))
    let floor = Version(snapshot.rawValue + UInt64(random.below(Int(version - snapshot.rawValue) + 1)))
    #expect(
      try key.withUnsafeBytes { try engine.newestVersion(of: $0, after: floor, &pin) }
        == model.newestVersion(of: key, after: floor))
    var range = KeyRange(lower: self.key(), upper: self.key())
    if random.oneIn(4) { range.upper = nil }
    if random.oneIn(4) { range.lower = [] }
    let expected = model.scan(range, at: snapshot)
    #expect(try engine.entries(range, at: snapshot) == expected, "\(range) at \(snapshot)")
    #expect(try engine.entries(range, at: snapshot, .reverse) == expected.reversed(), "\(range) at \(snapshot)")
    try compareSeeks(expected, range, at: snapshot)
    try compareBatches(expected, range, at: snapshot)
  }

  /// Many rows at a time, after some one by one or after a seek; each batch is looked at when it is whole.
  private func compareBatches(_ expected: [VersionedModel.Entry], _ range: KeyRange, at snapshot: Version) throws {
    let direction: Direction = random.oneIn(5) ? .reverse : .forward
    let cursor = try engine.makeCursor(range, at: snapshot, direction: direction)
    var left = direction == .forward ? expected[...] : expected.reversed()[...]
    if random.oneIn(3) {
      let key = key()
      try key.withUnsafeBytes { try cursor.seek(to: $0) }
      left = left.drop { direction == .forward ? precedes($0.key, key) : precedes(key, $0.key) }
    } else if random.oneIn(2), !left.isEmpty {
      #expect(try cursor.next())
      left = left.dropFirst()
    }
    let batch = RowBatch()
    let most = 1 << random.below(9)
    while true {
      try cursor.next(into: batch, atMost: most, withKeys: true)
      if batch.count == 0 { break }
      #expect(batch.count <= most)
      let found = (0..<batch.count).map { (key: Array(batch.key($0)), value: Array(batch.value($0))) }
      let wanted = left.prefix(found.count)
      guard wanted.count == found.count, zip(found, wanted).allSatisfy({ $0.key == $1.key && $0.value == $1.value })
      else {
        Issue.record("\(found.map(\.key)) instead of \(wanted.map(\.key)), \(range) at \(snapshot)")
        return
      }
      left = left.dropFirst(found.count)
    }
    #expect(left.isEmpty, "\(range) at \(snapshot): \(left.count) are missing")
  }

  private func compareSeeks(_ expected: [VersionedModel.Entry], _ range: KeyRange, at snapshot: Version) throws {
    let direction: Direction = random.oneIn(2) ? .forward : .reverse
    let cursor = try engine.makeCursor(range, at: snapshot, direction: direction)
    var left = direction == .forward ? expected[...] : expected.reversed()[...]
    for _ in 0..<10 {
      // Also several in a row, none of which may go back.
      for _ in 0..<random.below(4) {
        let key = key()
        try key.withUnsafeBytes { try cursor.seek(to: $0) }
        left = left.drop { direction == .forward ? precedes($0.key, key) : precedes(key, $0.key) }
      }
      let isThere = try cursor.next()
      #expect((isThere ? cursor.entry : nil) == left.first)
      guard isThere else { break }
      left = left.dropFirst()
    }
  }

  /// `forEachVersion` against the log.
  func compareVersions() throws {
    let range = KeyRange(lower: key(), upper: key())
    let after = snapshot().rawValue
    let upTo = after + UInt64(random.below(Int(version - after) + 3))
    var expected: Set<UInt64> = []
    for group in log where !range.isEmpty {
      for (index, writes) in group.transactions.enumerated() {
        let version = group.firstVersion + UInt64(index)
        if version > after, version <= upTo, writes.contains(where: { $0.touches(range) }) { expected.insert(version) }
      }
    }
    var found: Set<UInt64> = []
    try engine.forEachVersion(in: range, after: Version(after), upTo: Version(upTo)) { key, version in
      #expect(range.contains(key))
      found.insert(version.rawValue)
      return true
    }
    #expect(found == expected, "\(range) in \(after)…\(upTo)")
  }
}

extension VersionedModel.Write {
  func touches(_ range: KeyRange) -> Bool {
    switch self {
    case .put(let key, _), .delete(let key): key.withUnsafeBytes { range.contains($0) }
    case .deleteRange(let start, let end):
      precedes(start, end) && precedes(start, range.upper!) && precedes(range.lower, end)
    }
  }
}

extension EngineModelTests {
  /// One transaction: puts, deletions and range deletions, each key at most once outside ranges.
  static func writes(
    _ random: inout SeededRandomness, spread: Int, hasRangeDeletions: Bool = true
  ) -> [VersionedModel.Write] {
    let keys = AwkwardKeys()
    var used: Set<[UInt8]> = []
    var writes: [VersionedModel.Write] = []
    for _ in 0..<random.below(8) + 1 {
      let key = keys.key(&random, spread: spread)
      if hasRangeDeletions, random.oneIn(12) {
        writes.append(.deleteRange(key, random.oneIn(3) ? key + [255] : keys.key(&random, spread: spread)))
        continue
      }
      guard used.insert(key).inserted else { continue }
      let value = (0..<random.below(40)).map { _ in UInt8(random.below(256)) }
      writes.append(random.oneIn(5) ? .delete(key) : .put(key, value))
    }
    return writes
  }
}
