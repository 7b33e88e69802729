import Encoding
import Platform
import Simulation
import Storage
import Testing

@Suite struct ReadAheadTests {
  /// Tables many times as long as what is read ahead, with blocks across its ends and values longer than it.
  @Test func mergesOfLongTablesLoseNothing() throws {
    let disk = SimulatedDisk(seed: 5)
    var options = TableStoreOptions()
    options.table.blockSizeBytes = 3000
    options.table.compresses = false
    options.blockCacheSizeBytes = 1 << 20
    var harness = try StoreHarness(disk, options)
    defer { harness.store.close() }
    var random = SeededRandomness(seed: 6)
    func value(_ number: Int) -> [UInt8] {
      let count = number % 500 == 7 ? 200_000 : 50 + random.below(200)
      return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.below(256)) }
    }
    var expected: [Int: [UInt8]] = [:]
    for part in 0..<2 {
      for number in stride(from: part, to: 3000, by: part + 1) {
        expected[number] = value(number)
        harness.write([.put(BlockCacheTests.key(number), expected[number]!)])
      }
      try harness.flush()
    }
    harness.horizon.value = Version(harness.version)
    try harness.store.compactAll()
    #expect(harness.store.compactionStatistics.merges > 0)
    #expect(try harness.store.verify() == [])
    let found = try StoreHarness.scan(harness.store, .all, at: .latest)
    #expect(found.map(\.key) == expected.keys.sorted().map(BlockCacheTests.key))
    #expect(found.map(\.value) == expected.sorted { $0.key < $1.key }.map(\.value))
  }
}
