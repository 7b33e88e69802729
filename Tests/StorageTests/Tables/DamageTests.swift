import Encoding
import Platform
import Simulation
import Storage
import Testing

/// Every byte of every file, flipped: found by `verify`, and never wrong data, never a trap.
@Suite struct DamageTests {
  /// A store with tables in several levels, range deletions and large values, closed.
  static func makeStore(_ seed: UInt64) throws -> StoreHarness {
    var random = SeededRandomness(seed: seed)
    var options = StoreHarness.tinyOptions()
    options.table.tableSizeBytes = 1500
    var harness = try StoreHarness(SimulatedDisk(seed: seed), options)
    for _ in 0..<4 {
      harness.write(6, &random, spread: 60)
      try harness.flush()
      _ = try harness.store.compactOnce()
    }
    harness.write([.put([9, 9], Array(repeating: 77, count: 3000)), .deleteRange([1], [1, 9])])
    try harness.flush()
    harness.store.close()
    return harness
  }

  /// Opens the store on the damaged disk and reads everything. What is shown must be right; damage must be told.
  static func check(_ harness: StoreHarness, _ disk: SimulatedDisk, _ what: String) throws {
    let latest = Version(harness.version)
    let expected = harness.model.scan(.all, at: latest)
    let store: TableStore
    do { store = try TableStore.open("/db", disk: disk, options: harness.options) } catch {
      #expect(Self.isDamage(error), "\(what): \(error)")
      return
    }
    defer { store.close() }
    do {
      let found = try StoreHarness.scan(store, .all, at: latest)
      #expect(found == expected, "\(what): wrong data")
    } catch let error as StorageError {
      #expect(Self.isDamage(error), "\(what): \(error)")
    }
    for entry in expected.prefix(5) {
      do {
        let value = try StoreHarness.get(store, entry.key, at: latest)
        #expect(value == entry.value, "\(what): wrong value")
      } catch let error as StorageError { #expect(Self.isDamage(error), "\(what): \(error)") }
    }
    let damage = try store.verify()
    #expect(!damage.isEmpty, "\(what): not found by verify")
  }

  static func isDamage(_ error: StorageError) -> Bool {
    switch error {
    case .corruption, .unsupportedFormat: true
    default: false
    }
  }

  @Test func soundFilesAreSound() throws {
    let harness = try Self.makeStore(1)
    let store = try TableStore.open("/db", disk: harness.disk, options: harness.options)
    #expect(try store.verify() == [])
    #expect(harness.disk.paths.filter { $0.hasSuffix(".table") }.count > 3)
    store.close()
  }

  @Test(arguments: [1, 2] as [UInt64])
  func everyFlippedByteIsFound(_ seed: UInt64) throws {
    let harness = try Self.makeStore(seed)
    var random = SeededRandomness(seed: seed)
    for path in harness.disk.paths where path.hasPrefix("/db/") {
      guard let bytes = harness.disk.bytes(of: path) else { continue }
      // The end of every file byte by byte, the rest with a stride that visits every block.
      for offset in bytes.indices where offset % 7 == Int(seed) || offset + 160 > bytes.count || offset < 64 {
        let disk = harness.disk.copy()
        let mask = UInt8(1) << UInt8(random.below(8))
        disk.flip(path, at: offset, mask: mask)
        try Self.check(harness, disk, "\(path) at \(offset), mask \(mask), seed \(seed)")
      }
    }
  }

  @Test func truncatedAndMissingFilesAreFound() throws {
    let harness = try Self.makeStore(3)
    for path in harness.disk.paths where path.hasPrefix("/db/") {
      guard let bytes = harness.disk.bytes(of: path), !bytes.isEmpty else { continue }
      for size in [0, 1, bytes.count / 2, bytes.count - 1] {
        let disk = harness.disk.copy()
        try disk.open(path, .readWrite).truncate(to: UInt64(size))
        try Self.check(harness, disk, "\(path) cut to \(size)")
      }
      let disk = harness.disk.copy()
      try disk.remove(path)
      try Self.check(harness, disk, "\(path) removed")
    }
  }

  /// Two tables that changed names, and blocks that changed places: each intact in itself.
  @Test func misplacedFilesAreFound() throws {
    let harness = try Self.makeStore(4)
    let tables = harness.disk.paths.filter { $0.hasSuffix(".table") }
    for (one, other) in zip(tables, tables.dropFirst()) {
      let disk = harness.disk.copy()
      try disk.rename(one, to: "/db/held")
      try disk.rename(other, to: one)
      try disk.rename("/db/held", to: other)
      try Self.check(harness, disk, "\(one) and \(other) exchanged")
    }
  }

  /// A read that returns another place's intact bytes.
  @Test func misdirectedReadsAreFound() throws {
    let harness = try Self.makeStore(5)
    let latest = Version(harness.version)
    let expected = harness.model.scan(.all, at: latest)
    for by in [-700, -117, 91, 113, 400] {
      for skip in 0..<12 {
        let disk = harness.disk.copy()
        let store = try TableStore.open("/db", disk: disk, options: harness.options)
        defer { store.close() }
        let count = Counter()
        var faults = DiskFaults()
        faults.plan = { operation in
          guard operation.kind == .read, operation.path.hasSuffix(".table") else { return nil }
          return count.next() == skip ? .misdirect(by: by) : nil
        }
        disk.setFaults(faults)
        do {
          #expect(try StoreHarness.scan(store, .all, at: latest) == expected)
        } catch let error as StorageError {
          guard case .disk(let cause) = error, cause.kind == .io else {
            #expect(Self.isDamage(error))
            continue
          }
        }
      }
    }
  }

  /// A manifest of a format that does not exist yet, with a right checksum, is refused by name.
  @Test func newerFormatsAreRefused() throws {
    let harness = try Self.makeStore(6)
    let manifest = try #require(harness.disk.paths.first { $0.hasPrefix("/db/MANIFEST-") })
    let disk = harness.disk.copy()
    var head = Array(try #require(disk.bytes(of: manifest)).prefix(512))
    head[8] = 9
    let sum = crc32c(Array(head.prefix(508)))
    for index in 0..<4 { head[508 + index] = UInt8(truncatingIfNeeded: sum >> (8 * UInt32(index))) }
    disk.damage(manifest, at: 0, with: head)
    #expect(throws: StorageError.unsupportedFormat(path: manifest, found: 9, supported: 1)) {
      _ = try TableStore.open("/db", disk: disk, options: harness.options)
    }
    let table = try #require(disk.paths.first { $0.hasSuffix(".table") })
    let disk2 = harness.disk.copy()
    let size = try #require(disk2.bytes(of: table)).count
    var footer = Array(try #require(disk2.bytes(of: table)).suffix(128))
    footer[8] = 7
    let footerSum = crc32c(Array(footer.prefix(124)))
    for index in 0..<4 { footer[124 + index] = UInt8(truncatingIfNeeded: footerSum >> (8 * UInt32(index))) }
    disk2.damage(table, at: size - 128, with: footer)
    #expect(throws: StorageError.unsupportedFormat(path: table, found: 7, supported: 1)) {
      _ = try TableStore.open("/db", disk: disk2, options: harness.options)
    }
  }
}

/// Counts calls of a fault plan.
final class Counter: @unchecked Sendable {
  // Called with the disk's lock held.
  private var count = -1
  func next() -> Int {
    count += 1
    return count
  }
}
