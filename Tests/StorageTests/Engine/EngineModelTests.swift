import Encoding
import Platform
import Simulation
import Storage
import Testing

/// Random operations against the list of every write ever made.
@Suite struct EngineModelTests {
  struct Shape: Sendable {
    var seed: UInt64
    var spread: Int
    var memtableSizeBytes: Int
  }

  @Test(arguments: [
    Shape(seed: 1, spread: 4, memtableSizeBytes: 1 << 12), Shape(seed: 2, spread: 30, memtableSizeBytes: 1 << 14),
    Shape(seed: 3, spread: 300, memtableSizeBytes: 1 << 13), Shape(seed: 4, spread: 3000, memtableSizeBytes: 1 << 20),
  ])
  func matchesTheModel(_ shape: Shape) throws {
    var random = SeededRandomness(seed: shape.seed)
    var options = EngineOptions()
    options.memtableSizeBytes = shape.memtableSizeBytes
    options.background = false
    let engine = try Engine.open("/db", disk: LinuxDisk(), options: options)
    var model = VersionedModel()
    var version: UInt64 = 0
    var pin = ReadPin()
    var snapshots: [UInt64] = [0]
    for slot in 1...200 as ClosedRange<UInt64> {
      let transactions = (0..<random.below(3) + 1).map { _ in Self.writes(&random, spread: shape.spread) }
      try engine.apply(slot, version + 1, transactions)
      for (index, writes) in transactions.enumerated() { model.apply(writes, Version(version + 1 + UInt64(index))) }
      version += UInt64(transactions.count)
      engine.publish(Version(version))
      if random.oneIn(4) { snapshots.append(version) }
      if random.oneIn(20) { try engine.flush() }
      for _ in 0..<10 {
        let snapshot = Version(random.oneIn(2) ? version : snapshots.randomElement(using: &random)!)
        try Self.compare(engine, model, at: snapshot, &random, spread: shape.spread, &pin)
      }
    }
  }

  static func writes(_ random: inout SeededRandomness, spread: Int) -> [VersionedModel.Write] {
    let keys = AwkwardKeys()
    var used: Set<[UInt8]> = []
    var writes: [VersionedModel.Write] = []
    for _ in 0..<random.below(8) + 1 {
      let key = keys.key(&random, spread: spread)
      if random.oneIn(12) {
        writes.append(.deleteRange(key, random.oneIn(3) ? key + [255] : keys.key(&random, spread: spread)))
        continue
      }
      guard used.insert(key).inserted else { continue }
      let value = (0..<random.below(40)).map { _ in UInt8(random.below(256)) }
      writes.append(random.oneIn(5) ? .delete(key) : .put(key, value))
    }
    return writes
  }

  static func compare(
    _ engine: Engine, _ model: VersionedModel, at snapshot: Version, _ random: inout SeededRandomness, spread: Int,
    _ pin: inout ReadPin
  ) throws {
    let keys = AwkwardKeys()
    let key = keys.key(&random, spread: spread)
    #expect(try engine.value(key, at: snapshot, &pin) == model.get(key, at: snapshot))
    let floor = Version(UInt64(random.below(Int(snapshot.rawValue) + 1)))
    #expect(
      try key.withUnsafeBytes { try engine.newestVersion(of: $0, after: floor, &pin) }
        == model.newestVersion(of: key, after: floor))
    var range = KeyRange(lower: keys.key(&random, spread: spread), upper: keys.key(&random, spread: spread))
    if random.oneIn(4) { range.upper = nil }
    if random.oneIn(4) { range.lower = [] }
    let expected = model.scan(range, at: snapshot)
    #expect(try engine.entries(range, at: snapshot) == expected, "\(range) at \(snapshot)")
    #expect(try engine.entries(range, at: snapshot, .reverse) == expected.reversed(), "\(range) at \(snapshot)")
    try compareSeeks(engine, expected, range, at: snapshot, &random, spread: spread)
  }

  static func compareSeeks(
    _ engine: Engine, _ expected: [VersionedModel.Entry], _ range: KeyRange, at snapshot: Version,
    _ random: inout SeededRandomness, spread: Int
  ) throws {
    let direction: Direction = random.oneIn(2) ? .forward : .reverse
    let cursor = try engine.makeCursor(range, at: snapshot, direction: direction)
    var left = direction == .forward ? expected[...] : expected.reversed()[...]
    for _ in 0..<10 {
      if random.oneIn(2) {
        let key = AwkwardKeys().key(&random, spread: spread)
        let wasSought = left.startIndex
        try key.withUnsafeBytes { try cursor.seek(to: $0) }
        left = left.drop { direction == .forward ? precedes($0.key, key) : precedes(key, $0.key) }
        _ = wasSought
      }
      let isThere = try cursor.next()
      #expect((isThere ? cursor.entry : nil) == left.first)
      guard isThere else { break }
      left = left.dropFirst()
    }
  }

  @Test func reportsEveryVersionOfARange() throws {
    var random = SeededRandomness(seed: 5)
    var options = EngineOptions()
    options.memtableSizeBytes = 1 << 13
    options.background = false
    let engine = try Engine.open("/db", disk: LinuxDisk(), options: options)
    var written: [(version: UInt64, writes: [VersionedModel.Write])] = []
    for version in 1...100 as ClosedRange<UInt64> {
      let writes = Self.writes(&random, spread: 100)
      try engine.apply(version, version, [writes])
      written.append((version, writes))
    }
    for _ in 0..<200 {
      let keys = AwkwardKeys()
      let range = KeyRange(lower: keys.key(&random, spread: 100), upper: keys.key(&random, spread: 100))
      let after = UInt64(random.below(100))
      let upTo = after + UInt64(random.below(50))
      var expected: Set<UInt64> = []
      for (version, writes) in written where version > after && version <= upTo && !range.isEmpty {
        let touches = writes.contains { write in
          switch write {
          case .put(let key, _), .delete(let key): key.withUnsafeBytes { range.contains($0) }
          case .deleteRange(let start, let end):
            precedes(start, end) && precedes(start, range.upper!) && precedes(range.lower, end)
          }
        }
        if touches { expected.insert(version) }
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
}
