import Encoding
import Platform
import Simulation
import Storage
import Testing

@Suite struct TableTests {
  /// Values that fill a block alone and more, keys of the greatest length, beside small ones.
  @Test func holdsLargeKeysAndValues() throws {
    let disk = SimulatedDisk(seed: 1)
    try disk.createDirectory("/db")
    let store = try TableStore.open("/db", disk: disk)
    defer { store.close() }
    let longKey = [UInt8](repeating: 5, count: WriteBatch.maximumKeySizeBytes)
    let longerByOne = Array(longKey.dropLast()) + [6]
    let entries: [([UInt8], [UInt8])] = [
      ([1], Array(repeating: 1, count: 10)), ([2], (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }),
      ([3], []), (longKey, [7]), (longerByOne, Array(repeating: 8, count: 70_000)), ([9], [9]),
    ]
    let output = store.makeOutput()
    for (key, value) in entries {
      try key.withUnsafeBytes { key in
        try value.withUnsafeBytes { try output.add(key, Version(3), .put, $0) }
      }
    }
    try store.install(flush: output.finish(), position: FlushedPosition(slot: Slot(1), version: Version(3)))
    for (key, value) in entries { #expect(try StoreHarness.get(store, key, at: Version(3)) == value) }
    #expect(try StoreHarness.scan(store, .all, at: Version(3)).map(\.value) == entries.map(\.1))
    #expect(try StoreHarness.scan(store, .all, at: Version(3), .reverse).map(\.value) == entries.map(\.1).reversed())
    #expect(try StoreHarness.get(store, [3], at: Version(2)) == nil)
    #expect(try store.verify() == [])
  }

  /// Who looks for what is beside a large value, or between it and the next, does not read it: its block is damaged here,
  /// and whoever reads it finds out.
  @Test func theNeighboursOfALargeValueDoNotReadIt() throws {
    let disk = SimulatedDisk(seed: 4)
    try disk.createDirectory("/db")
    let position = FlushedPosition(slot: Slot(1), version: Version(3))
    do {
      let store = try TableStore.open("/db", disk: disk)
      defer { store.close() }
      let output = store.makeOutput()
      var random = SeededRandomness(seed: 4)
      let large = (0..<2_000_000).map { _ in UInt8(random.below(256)) }
      for (key, value) in [([1], [1]), ([2, 7], large), ([9], [9])] as [([UInt8], [UInt8])] {
        try key.withUnsafeBytes { key in try value.withUnsafeBytes { try output.add(key, Version(3), .put, $0) } }
      }
      try store.install(flush: output.finish(), position: position)
    }
    let path = try #require(disk.paths.first { $0.hasSuffix(".table") })
    disk.flip(path, at: 1_000_000)
    let store = try TableStore.open("/db", disk: disk)
    defer { store.close() }
    #expect(try StoreHarness.get(store, [1], at: Version(3)) == [1])
    #expect(try StoreHarness.get(store, [9], at: Version(3)) == [9])
    for lower in [[2, 8], [3], [8, 255]] as [[UInt8]] {
      #expect(try StoreHarness.scan(store, KeyRange(lower: lower), at: Version(3)).map(\.value) == [[9]])
    }
    #expect(throws: StorageError.self) { try StoreHarness.get(store, [2, 7], at: Version(3)) }
  }

  /// A limit on versions passes over blocks, and loses nothing that counts.
  @Test func cursorsPassOverBlocksByVersion() throws {
    let disk = SimulatedDisk(seed: 2)
    try disk.createDirectory("/db")
    var options = StoreHarness.tinyOptions()
    options.table.tableSizeBytes = 1 << 20
    let store = try TableStore.open("/db", disk: disk, options: options)
    defer { store.close() }
    let output = store.makeOutput()
    for number in 0..<300 as Range<UInt64> {
      let key = [UInt8(number >> 8), UInt8(number & 255)]
      try key.withUnsafeBytes { key in try output.add(key, Version(number + 1), .put, key) }
    }
    try store.install(flush: output.finish(), position: FlushedPosition(slot: Slot(1), version: Version(300)))
    for (low, high) in [(1, 300), (100, 120), (1, 1), (300, 300), (250, 400), (301, 400)] as [(UInt64, UInt64)] {
      let cursors = store.current.makeCursors(minimumVersion: Version(low), maximumVersion: Version(high))
      var versions: [UInt64] = []
      if let cursor = cursors.first?.cursor {
        try cursor.seekToFirst()
        while cursor.isValid {
          versions.append(cursor.version.rawValue)
          try cursor.next()
        }
        var backward: [UInt64] = []
        try cursor.seekToLast()
        while cursor.isValid {
          backward.append(cursor.version.rawValue)
          try cursor.previous()
        }
        #expect(backward == versions.reversed())
      }
      #expect(versions.filter { $0 >= low && $0 <= high } == (1...300).filter { $0 >= low && $0 <= high })
      #expect(versions.count <= Int(min(high, 300)) - Int(low) + 1 + 20)
    }
  }

  @Test func peopleCanLookInside() throws {
    var harness = try StoreHarness(SimulatedDisk(seed: 3))
    harness.write([.put(Array("apple".utf8), [1]), .put(Array("pear".utf8), [2, 3]), .deleteRange([1], [2])])
    try harness.flush()
    let path = try #require(harness.disk.paths.first { $0.hasSuffix(".table") })
    let inspector = try TableInspector(path, disk: harness.disk)
    let text = try inspector.describe()
    #expect(text.contains("entries 2") && text.contains("\"pear\"") && text.contains("x'01' ..< x'02' at 1"))
    var keys: [[UInt8]] = []
    try inspector.forEachEntry { key, _, _, _ in
      keys.append(Array(key))
      return true
    }
    #expect(keys == [Array("apple".utf8), Array("pear".utf8)])
    #expect(try inspector.verify() == [])
    let manifest = try ManifestInspector("/db", disk: harness.disk)
    #expect(manifest.state.levels[0].count == 1)
    #expect(manifest.describe().contains("+ table 1 in level 0"))
    #expect(throws: StorageError.self) { _ = try TableInspector("/db/CURRENT", disk: harness.disk) }
    #expect(throws: StorageError.self) { _ = try ManifestInspector("/nowhere", disk: harness.disk) }
  }

  /// A set that is held keeps its tables' files; with the last holder they go.
  @Test func heldSetsKeepTheirFiles() throws {
    var random = SeededRandomness(seed: 4)
    var harness = try StoreHarness(SimulatedDisk(seed: 4))
    for _ in 0..<3 {
      harness.write(5, &random, spread: 50)
      try harness.flush()
    }
    let version = Version(harness.version)
    let expected = harness.model.scan(.all, at: version)
    func files() -> Int { harness.disk.paths.filter { $0.hasSuffix(".table") }.count }
    var held: TableSet? = harness.store.current
    let before = files()
    harness.horizon.value = version
    try harness.store.compactAll()
    #expect(files() > harness.store.current.levels.joined().count && files() >= before)
    let cursor = VisibleCursor(
      MergingCursor(held!.makeCursors()), held!.rangeDeletions(), .all, at: version, .forward)
    held = nil
    var found: [VersionedModel.Entry] = []
    while try cursor.next() {
      found.append(.init(key: Array(cursor.key), value: Array(cursor.value), version: cursor.version))
    }
    #expect(found == expected)
  }
}
