import Encoding
import Platform
import Simulation
import Storage
import Synchronization
import Testing

/// Random operations against the list of every write ever made.
@Suite struct EngineModelTests {
  struct Shape: Sendable {
    var seed: UInt64
    var spread: Int
    var memtableSizeBytes: Int
    /// Without them cursors take the way of many rows at once.
    var hasRangeDeletions = true
  }

  @Test(arguments: [
    Shape(seed: 1, spread: 4, memtableSizeBytes: 1 << 11), Shape(seed: 2, spread: 30, memtableSizeBytes: 1 << 12),
    Shape(seed: 3, spread: 300, memtableSizeBytes: 1 << 11), Shape(seed: 4, spread: 3000, memtableSizeBytes: 1 << 14),
    Shape(seed: 5, spread: 3, memtableSizeBytes: 1 << 11, hasRangeDeletions: false),
    Shape(seed: 6, spread: 40, memtableSizeBytes: 1 << 12, hasRangeDeletions: false),
    Shape(seed: 7, spread: 2000, memtableSizeBytes: 1 << 11, hasRangeDeletions: false),
  ])
  func matchesTheModel(_ shape: Shape) throws {
    let driver = try EngineDriver(
      seed: shape.seed, spread: shape.spread,
      options: EngineDriver.smallOptions(memtableSizeBytes: shape.memtableSizeBytes))
    driver.hasRangeDeletions = shape.hasRangeDeletions
    for _ in 0..<250 {
      try driver.applyGroup()
      try driver.maintain()
      for _ in 0..<4 { try driver.compare() }
      try driver.compareVersions()
      if driver.random.oneIn(40) { try driver.restart() }
    }
    let statistics = driver.engine.statistics
    #expect(statistics.compaction.merges > 0 && statistics.runs > 0)
  }

  /// Ends only when every version that it could see is gone from tables, and nothing else is.
  @Test func garbageGoesAndSnapshotsStay() throws {
    let driver = try EngineDriver(seed: 9, spread: 5, options: EngineDriver.smallOptions(memtableSizeBytes: 1 << 12))
    for _ in 0..<20 { try driver.applyGroup() }
    let hold = driver.engine.retainVisible()
    let expected = driver.model.scan(.all, at: hold.version)
    for _ in 0..<100 { try driver.applyGroup() }
    try driver.engine.compact()
    #expect(try driver.engine.entries(.all, at: hold.version) == expected)
    #expect(throws: StorageError.snapshotTooOld(requested: Version(1), oldest: hold.version)) {
      _ = try driver.engine.retain(snapshot: Version(1))
    }
    driver.engine.release(hold)
    try driver.engine.compact()
    let now = Version(driver.version)
    #expect(try driver.engine.entries(.all, at: now) == driver.model.scan(.all, at: now))
    var versions = 0
    try driver.engine.forEachVersion(in: .all, after: .zero, upTo: now) { _, _ in
      versions += 1
      return true
    }
    #expect(versions == driver.model.scan(.all, at: now).count)
    // The floor is known after a restart.
    try driver.restart()
    #expect(throws: StorageError.self) { _ = try driver.engine.retain(snapshot: hold.version) }
  }

  @Test func retentionKeepsVersionsForTimeTravel() throws {
    let driver = try EngineDriver(seed: 10, spread: 5, options: EngineDriver.smallOptions(memtableSizeBytes: 1 << 12))
    for _ in 0..<20 { try driver.applyGroup() }
    let then = Version(driver.version)
    driver.engine.garbageFloor = then
    for _ in 0..<50 { try driver.applyGroup() }
    try driver.engine.compact()
    let hold = try driver.engine.retain(snapshot: then)
    #expect(try driver.engine.entries(.all, at: then) == driver.model.scan(.all, at: then))
    driver.engine.release(hold)
  }

  @Test func aPinReadsOnWhileEverythingMovesBelowIt() throws {
    let driver = try EngineDriver(seed: 11, spread: 5, options: EngineDriver.smallOptions(memtableSizeBytes: 1 << 12))
    for _ in 0..<30 { try driver.applyGroup() }
    let hold = driver.engine.retainVisible()
    let cursor = try driver.engine.makeCursor(.all, at: hold.version)
    let expected = driver.model.scan(.all, at: hold.version)
    for (index, entry) in expected.enumerated() {
      #expect(try cursor.next())
      #expect(cursor.entry == entry)
      for _ in 0..<3 { try driver.applyGroup() }
      if index % 3 == 0 { try driver.engine.compact() }
    }
    #expect(try !cursor.next())
    driver.engine.release(hold)
  }

  @Test func aGroupLargerThanAMemtableGetsItsOwn() throws {
    let driver = try EngineDriver(seed: 12, spread: 5, options: EngineDriver.smallOptions(memtableSizeBytes: 1 << 12))
    try driver.applyGroup()
    let big = (0..<200).map { VersionedModel.Write.put([9, UInt8($0)], Array(repeating: 1, count: 5000)) }
    driver.log.append((driver.version + 1, [big]))
    driver.version += 1
    driver.model.apply(big, Version(driver.version))
    try driver.engine.apply(2, driver.version, [big])
    #expect(try driver.engine.entries(.all, at: Version(driver.version - 1)).count < 200)
    driver.engine.publish(Version(driver.version))
    try driver.compare()
    try driver.engine.flush()
    try driver.restart()
    let now = Version(driver.version)
    #expect(try driver.engine.entries(.all, at: now) == driver.model.scan(.all, at: now))
  }

  /// Small groups take more of the log than of memory: what keeps the log long is flushed, once for each such length.
  @Test func aLongLogIsShortenedThoughTheMemtableHasRoom() throws {
    let logSize = Mutex<UInt64>(0)
    var options = EngineDriver.smallOptions(memtableSizeBytes: 1 << 20)
    options.flushAfterLogBytes = 1000
    options.logSizeBytes = { _ in logSize.withLock { $0 } }
    let driver = try EngineDriver(seed: 14, spread: 5, options: options)
    func waiting(afterLogGrewBy size: UInt64) throws -> Int {
      logSize.withLock { $0 += size }
      try driver.applyGroup()
      return driver.engine.statistics.waitingMemtables
    }
    #expect(try waiting(afterLogGrewBy: 5000) == 0, "an empty memtable holds nothing in the log")
    #expect(try waiting(afterLogGrewBy: 999) == 0, "what the log grew before its first group is not its own")
    #expect(try waiting(afterLogGrewBy: 1) == 1)
    #expect(try waiting(afterLogGrewBy: 2000) == 1, "one that waits shortens the log already")
    while try driver.engine.work() {}
    #expect(driver.engine.statistics.waitingMemtables == 0 && driver.engine.statistics.flushes == 1)
    #expect(try waiting(afterLogGrewBy: 0) == 1)
    while try driver.engine.work() {}
    #expect(try waiting(afterLogGrewBy: 999) == 0)
    #expect(try waiting(afterLogGrewBy: 1) == 1)
    try driver.compare()
  }

  @Test func aMalformedGroupShowsNothingAndStopsWrites() throws {
    let driver = try EngineDriver(seed: 13, spread: 5, options: EngineDriver.smallOptions(memtableSizeBytes: 1 << 14))
    try driver.applyGroup()
    let before = try driver.engine.entries(.all, at: Version(driver.version))
    let whole = encodeGroup([[.put([1], [2]), .put([3], [4])]])
    for length in 0..<whole.count {
      let cut = Array(whole[..<length])
      #expect(throws: StorageError.self) {
        try cut.withUnsafeBytes {
          try driver.engine.apply(
            slot: Slot(2), firstVersion: Version(driver.version + 1), transactionCount: 1, payload: $0)
        }
      }
    }
    #expect(throws: StorageError.self) { try driver.engine.apply(2, driver.version + 1, [[.put([1], [2])]]) }
    #expect(try driver.engine.entries(.all, at: Version(driver.version)) == before)
  }
}
