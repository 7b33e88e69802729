import Encoding
import Platform
import Simulation
import Storage
import Testing

@Suite struct BlockCacheTests {
  /// A store of one level with `count` keys, and a cache of the given size.
  static func makeStore(_ count: Int, cacheSizeBytes: Int) throws -> TableStore {
    let disk = SimulatedDisk(seed: 1)
    try disk.createDirectory("/db")
    var options = TableStoreOptions()
    options.table.blockSizeBytes = 512
    options.table.indexBlockSizeBytes = 1024
    options.blockCacheSizeBytes = cacheSizeBytes
    let store = try TableStore.open("/db", disk: disk, options: options)
    let output = store.makeOutput()
    for number in 0..<count {
      try Self.key(number).withUnsafeBytes { key in
        try Array(repeating: UInt8(truncatingIfNeeded: number), count: 100).withUnsafeBytes {
          try output.add(key, Version(1), .put, $0)
        }
      }
    }
    try store.install(flush: output.finish(), position: FlushedPosition(slot: Slot(1), version: Version(1)))
    return store
  }

  static func key(_ number: Int) -> [UInt8] {
    [
      UInt8(truncatingIfNeeded: number >> 16), UInt8(truncatingIfNeeded: number >> 8),
      UInt8(truncatingIfNeeded: number),
    ]
  }

  @Test(arguments: [0, 2_000, 20_000, 200_000])
  func neverHoldsMoreThanItsCapacity(_ capacity: Int) throws {
    let store = try Self.makeStore(4000, cacheSizeBytes: capacity)
    defer { store.close() }
    var random = SeededRandomness(seed: 2)
    for _ in 0..<3000 {
      let number = random.below(4000)
      #expect(
        try StoreHarness.get(store, Self.key(number), at: Version(1))
          == Array(repeating: UInt8(truncatingIfNeeded: number), count: 100))
      let statistics = store.cache.statistics
      #expect(statistics.sizeBytes + statistics.reservedSizeBytes <= max(capacity, statistics.reservedSizeBytes))
    }
    if capacity == 0 { #expect(store.cache.statistics.blockCount == 0) }
  }

  /// Without readers, what has left the cache is freed, a few blocks at a time.
  @Test(arguments: [0, 20_000]) func whatHasLeftTheCacheIsFreed(_ capacity: Int) throws {
    let store = try Self.makeStore(4000, cacheSizeBytes: capacity)
    defer { store.close() }
    var random = SeededRandomness(seed: 4)
    for _ in 0..<3000 {
      _ = try StoreHarness.get(store, Self.key(random.below(4000)), at: .latest)
      // Twice what is waited for, and what one block drives out: the reader itself bars the second step.
      #expect(store.cache.statistics.retiredCount < 100)
    }
    #expect(store.cache.statistics.misses > 1000)
  }

  /// Pinned blocks stay readable when they have left the cache.
  @Test func pinsOutliveTheCache() throws {
    let store = try Self.makeStore(3000, cacheSizeBytes: 20_000)
    defer { store.close() }
    var pin = BlockPin()
    let value = try Self.key(7).withUnsafeBytes { try store.current.find($0, at: .latest, &pin).value }
    for number in 0..<3000 { _ = try StoreHarness.get(store, Self.key(number), at: .latest) }
    #expect(Array(value) == Array(repeating: 7, count: 100))
    pin.reset()
  }

  /// What is not in a table costs its filter, and no leaf of the index: here one key in four is there.
  @Test func absentKeysReadNoIndexLeaves() throws {
    let disk = SimulatedDisk(seed: 5)
    try disk.createDirectory("/db")
    let store = try TableStore.open("/db", disk: disk, options: TableStoreOptions())
    defer { store.close() }
    let output = store.makeOutput()
    for number in stride(from: 0, to: 400, by: 4) {
      try Self.key(number).withUnsafeBytes { key in
        try [UInt8](repeating: 1, count: 100).withUnsafeBytes { try output.add(key, Version(1), .put, $0) }
      }
    }
    try store.install(flush: output.finish(), position: FlushedPosition(slot: Slot(1), version: Version(1)))
    // With ten bits a key, the first of these that passes the filter is far off.
    for number in [1, 57, 122] { #expect(try StoreHarness.get(store, Self.key(number), at: .latest) == nil) }
    #expect(store.cache.statistics.misses == 1, "the filter of the only leaf")
    #expect(try StoreHarness.get(store, Self.key(120), at: .latest) != nil)
    #expect(store.cache.statistics.misses == 3, "the leaf and a data block")
  }

  /// A scan of everything does not drive out what is used again and again.
  @Test func scansDoNotDriveOutTheHotSet() throws {
    let store = try Self.makeStore(20_000, cacheSizeBytes: 200_000)
    defer { store.close() }
    let hot = stride(from: 0, to: 20_000, by: 400).map { $0 }
    for _ in 0..<5 { for number in hot { _ = try StoreHarness.get(store, Self.key(number), at: .latest) } }
    let before = store.cache.statistics.misses
    for _ in 0..<3 {
      _ = try StoreHarness.scan(store, .all, at: .latest).count
    }
    let afterScans = store.cache.statistics.misses
    #expect(afterScans - before > 5000)
    for number in hot { _ = try StoreHarness.get(store, Self.key(number), at: .latest) }
    let missed = store.cache.statistics.misses - afterScans
    #expect(missed < 25, "\(missed) of \(hot.count) hot reads missed")
  }

  /// Readers, flushes and compactions at once, with a cache that evicts all the time.
  @Test func readersRunBesideCompactions() async throws {
    let disk = SimulatedDisk(seed: 3)
    try disk.createDirectory("/db")
    var options = StoreHarness.tinyOptions()
    options.background = true
    options.blockCacheSizeBytes = 30_000
    let horizon = HorizonCell()
    options.horizon = { horizon.value }
    let store = try TableStore.open("/db", disk: disk, options: options)
    let keyCount = 60
    let rounds: UInt64 = 60
    @Sendable func isWritten(_ key: Int, _ version: UInt64) -> Bool { (UInt64(key) &* 7 &+ version &* 13) % 5 < 2 }
    @Sendable func value(_ key: Int, _ version: UInt64) -> [UInt8] { [UInt8(key), UInt8(version), 1, 2, 3] }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for version in 1...rounds {
          let output = store.makeOutput()
          for key in 0..<keyCount where isWritten(key, version) {
            try Self.key(key).withUnsafeBytes { bytes in
              try value(key, version).withUnsafeBytes { try output.add(bytes, Version(version), .put, $0) }
            }
          }
          try store.install(
            flush: output.finish(), position: FlushedPosition(slot: Slot(version), version: Version(version)))
          await Task.yield()
        }
      }
      for reader in 0..<3 as Range<UInt64> {
        group.addTask {
          var random = SeededRandomness(seed: reader)
          while true {
            let snapshot = store.flushed.version.rawValue
            let set = store.current
            for _ in 0..<50 {
              let key = random.below(keyCount)
              let expected = stride(from: snapshot, to: 0, by: -1).first { isWritten(key, $0) }
              var pin = BlockPin()
              let found = try Self.key(key).withUnsafeBytes { bytes in
                let found = try set.find(bytes, at: Version(snapshot), &pin)
                return found.outcome == .put ? Array(found.value) : nil
              }
              guard found == expected.map({ value(key, $0) }) else {
                Issue.record("key \(key) at \(snapshot): \(found as Any)")
                return
              }
            }
            if snapshot == rounds { return }
            await Task.yield()
          }
        }
      }
      try await group.waitForAll()
    }
    horizon.value = Version(rounds)
    try store.compactAll()
    #expect(try store.verify() == [])
    #expect(store.compactionStatistics.merges > 0)
    #expect(store.compactionStatistics.lastError == nil)
    store.close()
  }
}
