import Encoding
import Platform
import Storage
import Testing

@Suite struct MemtableTests {
  /// An entry as it must come out, in internal order.
  struct Entry: Equatable {
    var key: [UInt8]
    var version: UInt64
    var value: [UInt8]?

    static func < (a: Entry, b: Entry) -> Bool {
      a.key == b.key ? a.version > b.version : precedes(a.key, b.key)
    }
  }

  static func entry(_ cursor: some InternalCursor) -> Entry {
    Entry(
      key: Array(cursor.key), version: cursor.version.rawValue,
      value: cursor.kind == .put ? Array(cursor.value) : nil)
  }

  static func insert(_ entry: Entry, _ memtable: Memtable) {
    entry.key.withUnsafeBytes { key in
      (entry.value ?? []).withUnsafeBytes {
        memtable.insert(key, Version(entry.version), entry.value == nil ? .delete : .put, $0)
      }
    }
  }

  enum KeyKind: CaseIterable { case awkward, fewKeys, ascending, descending, random }

  static func makeEntries(_ kind: KeyKind, _ count: Int, _ random: inout SeededRandomness) -> [Entry] {
    let keys = AwkwardKeys()
    return (0..<count).map { index in
      let key: [UInt8]
      switch kind {
      case .awkward: key = keys.key(&random, spread: 500)
      case .fewKeys: key = [UInt8(random.below(3)), 1]
      case .ascending: key = [1, 1, 1, 1, 1, 1, 1, 1, 1] + withUnsafeBytes(of: UInt32(index).bigEndian, Array.init)
      case .descending: key = withUnsafeBytes(of: UInt32(count - index).bigEndian, Array.init)
      case .random:
        key = withUnsafeBytes(of: random.next(), Array.init) + withUnsafeBytes(of: random.next(), Array.init)
      }
      let value: [UInt8]? = random.oneIn(5) ? nil : Array(repeating: UInt8(index & 255), count: random.below(20))
      return Entry(key: key, version: UInt64(index + 1), value: value)
    }
  }

  @Test(arguments: KeyKind.allCases) func matchesSortedArray(_ kind: KeyKind) throws {
    let seed: UInt64 = 11
    var random = SeededRandomness(seed: seed)
    let memtable = Memtable(sizeBytes: 1 << 20)
    let entries = Self.makeEntries(kind, 4000, &random)
    for entry in entries { Self.insert(entry, memtable) }
    let sorted = entries.sorted(by: <)
    #expect(memtable.count == entries.count)
    #expect(memtable.oldestVersion == Version(1) && memtable.newestVersion == Version(4000))

    let cursor = MemtableCursor(memtable)
    var found: [Entry] = []
    cursor.seekToFirst()
    while cursor.isValid {
      found.append(Self.entry(cursor))
      cursor.next()
    }
    #expect(found == sorted, "seed \(seed)")
    found = []
    cursor.seekToLast()
    while cursor.isValid {
      found.append(Self.entry(cursor))
      cursor.previous()
    }
    #expect(found == sorted.reversed(), "seed \(seed)")
    try seekAnywhere(cursor, sorted, &random)
  }

  /// Seeks to keys that are there and keys that are not, and walks a little both ways.
  func seekAnywhere(_ cursor: MemtableCursor, _ sorted: [Entry], _ random: inout SeededRandomness) throws {
    let keys = AwkwardKeys()
    for _ in 0..<2000 {
      var key = random.oneIn(3) ? keys.key(&random, spread: 500) : sorted[random.below(sorted.count)].key
      if random.oneIn(4) { key += [0] }
      let version = UInt64(random.below(4100))
      let target = Entry(key: key, version: version)
      // The first entry that does not come before (key, version).
      let expected = sorted.partition { !($0 < target) }
      key.withUnsafeBytes { cursor.seek($0, Version(version)) }
      #expect((cursor.isValid ? Self.entry(cursor) : nil) == (expected < sorted.count ? sorted[expected] : nil))
      var place = expected
      for _ in 0..<random.below(5) where cursor.isValid {
        if random.oneIn(2) {
          cursor.next()
          place += 1
        } else {
          cursor.previous()
          place -= 1
        }
        let there = place >= 0 && place < sorted.count
        #expect((cursor.isValid ? Self.entry(cursor) : nil) == (there ? sorted[place] : nil))
      }
      key.withUnsafeBytes { cursor.seekBefore($0) }
      let before = sorted.partition { !precedes($0.key, key) } - 1
      #expect((cursor.isValid ? Self.entry(cursor) : nil) == (before >= 0 ? sorted[before] : nil))
    }
  }

  @Test func sameKeyAndVersionTakesTheNewContent() {
    let memtable = Memtable(sizeBytes: 1 << 16)
    Self.insert(Entry(key: [1], version: 5, value: [1]), memtable)
    Self.insert(Entry(key: [1], version: 5, value: nil), memtable)
    let cursor = MemtableCursor(memtable)
    cursor.seekToFirst()
    #expect(Self.entry(cursor) == Entry(key: [1], version: 5, value: nil))
    cursor.next()
    #expect(!cursor.isValid)
  }

  /// Whatever `hasRoom` admits must fit: the arena traps otherwise.
  @Test(arguments: KeyKind.allCases) func admissionIsSafe(_ kind: KeyKind) {
    var random = SeededRandomness(seed: 3)
    let memtable = Memtable(sizeBytes: 256 << 10)
    var entries = Self.makeEntries(kind, 40_000, &random)[...]
    while true {
      let group = entries.prefix(random.below(300) + 1)
      let size = group.reduce(0) { $0 + $1.key.count + ($1.value?.count ?? 0) }
      guard memtable.hasRoom(operations: group.count, payloadSizeBytes: size) else { break }
      for entry in group { Self.insert(entry, memtable) }
      entries = entries.dropFirst(group.count)
    }
    #expect(memtable.usedBytes > 200 << 10)
  }

  @Test func rangeDeletionsMatchTheList() {
    let seed: UInt64 = 21
    var random = SeededRandomness(seed: seed)
    let memtable = Memtable(sizeBytes: 1 << 20)
    var list: [(start: [UInt8], end: [UInt8], version: UInt64)] = []
    for version in 1...200 as ClosedRange<UInt64> {
      let start = [UInt8(random.below(40)), UInt8(random.below(3))]
      let end = [UInt8(random.below(40))]
      var builder = RangeDeletionBuilder()
      builder.add(start, end, Version(version))
      memtable.add(builder.build(), Version(version))
      list.append((start, end, version))
      for _ in 0..<20 {
        let key = [UInt8(random.below(41)), UInt8(random.below(4))]
        let snapshot = UInt64(random.below(210))
        let expected =
          list.filter {
            $0.version <= snapshot && !precedes(key, $0.start) && precedes(key, $0.end)
          }.map(\.version).max() ?? 0
        let found = key.withUnsafeBytes { memtable.newestDeletion(covering: $0, atMost: Version(snapshot)) }
        #expect(found.rawValue == expected, "seed \(seed)")
      }
    }
    #expect(memtable.rangeDeletions.count <= 8)
  }
}

extension Array {
  /// The number of first elements for which `isAfter` is false; they come first.
  fileprivate func partition(_ isAfter: (Element) -> Bool) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if isAfter(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
