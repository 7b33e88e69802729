import Encoding
import Platform
import Simulation
import Storage
import Testing

/// Tables whose bytes make no sense although every checksum is right: made by somebody, or by a bug. Whatever is read of
/// them, nothing traps, nothing is read out of bounds, everything ends.
@Suite struct ForgedTableTests {
  /// A table file, taken apart as far as forging needs it.
  struct Forger {
    var bytes: [UInt8]
    /// Offset and size on disk of every block; children before parents.
    var blocks: [(offset: Int, sizeBytes: Int)] = []

    init(_ bytes: [UInt8]) {
      self.bytes = bytes
      let footer = bytes.count - 128
      let root = handle(footer + 12)
      for leaf in children(root) {
        for data in children(handle(leaf)) { blocks.append(handle(data)) }
        blocks.append(handle(leaf + 36))
        blocks.append(handle(leaf))
      }
      if handle(footer + 52).sizeBytes > 0 { blocks.append(handle(footer + 52)) }
      blocks.append(handle(footer + 32))
      blocks.append(root)
    }

    func number(_ offset: Int, _ count: Int) -> UInt64 {
      (0..<count).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
    }

    func handle(_ offset: Int) -> (offset: Int, sizeBytes: Int) {
      (Int(number(offset, 8)), Int(number(offset + 8, 4)))
    }

    /// Where in the file the values of an index block's entries are.
    func children(_ block: (offset: Int, sizeBytes: Int)) -> [Int] {
      let payload = Array(bytes[block.offset..<(block.offset + block.sizeBytes - 13)])
      return payload.withUnsafeBytes { payload in
        guard let view = BlockView(payload.baseAddress!, count: payload.count) else { return [] }
        let head = view.base - payload.baseAddress!
        return (0..<view.restartCount).map { block.offset + head + view.entry(at: view.restartOffset($0)).valueOffset }
      }
    }

    /// Sets bytes of a block's payload, and then every hash from there up to the footer.
    mutating func forge(_ random: inout SeededRandomness) {
      let chosen = blocks[random.below(blocks.count)]
      for _ in 0..<random.below(3) + 1 {
        // The codec and the size in memory (the last five before the hash) are worth a lie too.
        let place = random.oneIn(3) ? random.below(min(40, chosen.sizeBytes - 8)) : random.below(chosen.sizeBytes - 8)
        bytes[chosen.offset + place] = [0, 1, 0x7F, 0x80, 0xFF, UInt8(random.below(256))][random.below(6)]
      }
      var hashes: [UInt8] = []
      for block in blocks {
        let end = block.offset + block.sizeBytes
        let old = Array(bytes[(end - 8)..<end])
        let hash = xxh3(Array(bytes[block.offset..<(end - 8)]))
        let new = (0..<8).map { UInt8(truncatingIfNeeded: hash >> UInt64(8 * $0)) }
        if old != new { replace(old, with: new) }
        hashes += new
      }
      let footer = bytes.count - 128
      // In file order the root comes last and the rest as collected, but for filters; the file hash is not looked at here.
      let sum = crc32c(Array(bytes[footer..<(footer + 124)]))
      for index in 0..<4 { bytes[footer + 124 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * index)) }
    }

    private mutating func replace(_ old: [UInt8], with new: [UInt8]) {
      var index = 0
      while index + 8 <= bytes.count {
        if bytes[index] == old[0] && Array(bytes[index..<(index + 8)]) == old {
          bytes.replaceSubrange(index..<(index + 8), with: new)
          index += 8
        } else {
          index += 1
        }
      }
    }
  }

  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func nothingTraps(_ seed: UInt64) throws {
    var random = SeededRandomness(seed: seed)
    var options = StoreHarness.tinyOptions()
    options.table.compresses = false
    options.table.tableSizeBytes = 1 << 20
    var harness = try StoreHarness(SimulatedDisk(seed: seed), options)
    harness.write(12, &random, spread: 30)
    harness.write([.deleteRange([1], [1, 9]), .deleteRange([2], [3])])
    try harness.flush()
    let path = try #require(harness.disk.paths.first { $0.hasSuffix(".table") })
    let sound = Forger(try #require(harness.disk.bytes(of: path)))
    var refused = 0
    for _ in 0..<250 {
      var forger = sound
      forger.forge(&random)
      let disk = harness.disk.copy()
      disk.damage(path, at: 0, with: forger.bytes)
      do { try Self.readEverything(path, disk, &random) } catch let error as StorageError {
        #expect(DamageTests.isDamage(error), "\(error)")
        refused += 1
      }
    }
    // The hashes were set right: otherwise all would be refused at once.
    #expect(refused > 30 && refused < 250)
  }

  static func readEverything(_ path: String, _ disk: SimulatedDisk, _ random: inout SeededRandomness) throws {
    let inspector = try TableInspector(path, disk: disk)
    _ = try inspector.verify()
    _ = try? inspector.describe()
    var count = 0
    let keys = AwkwardKeys()
    let table = try Table(disk: disk, path: path, number: 1, expected: nil, cache: BlockCache(capacityBytes: 1 << 20))
    let cursor = TableCursor(table)
    for _ in 0..<20 {
      let key = keys.key(&random, spread: 30)
      try? key.withUnsafeBytes { try cursor.seek($0, Version(5)) }
      if cursor.isValid, random.oneIn(2) { try? cursor.previous() }
      if cursor.isValid { try? cursor.next() }
    }
    try? cursor.seekToLast()
    while cursor.isValid && count < 2000 {
      count += 1
      try cursor.previous()
    }
    try inspector.forEachEntry { _, _, _, _ in
      count += 1
      return count < 10_000
    }
  }
}
