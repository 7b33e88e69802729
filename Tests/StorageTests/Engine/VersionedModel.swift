import Encoding
import Storage

/// The store that is too simple to be wrong: every write ever made, in a list.
struct VersionedModel {
  enum Write {
    case put([UInt8], [UInt8])
    case delete([UInt8])
    case deleteRange([UInt8], [UInt8])
  }

  struct Entry: Equatable {
    var key: [UInt8]
    var value: [UInt8]
    var version: Version
  }

  /// All versions of a key, oldest first; a nil value is a deletion.
  private(set) var history: [[UInt8]: [(version: Version, value: [UInt8]?)]] = [:]
  private(set) var rangeDeletions: [(start: [UInt8], end: [UInt8], version: Version)] = []

  /// Applies one transaction; `version` grows.
  mutating func apply(_ writes: [Write], _ version: Version) {
    for write in writes {
      switch write {
      case .put(let key, let value): record(key, value, version)
      case .delete(let key): record(key, nil, version)
      case .deleteRange(let start, let end):
        rangeDeletions.append((start, end, version))
        for key in history.keys where !precedes(key, start) && precedes(key, end) { record(key, nil, version) }
      }
    }
  }

  private mutating func record(_ key: [UInt8], _ value: [UInt8]?, _ version: Version) {
    var versions = history[key] ?? []
    if versions.last?.version == version { versions.removeLast() }
    versions.append((version, value))
    history[key] = versions
  }

  func get(_ key: [UInt8], at snapshot: Version) -> [UInt8]? {
    history[key]?.last { $0.version <= snapshot }?.value
  }

  /// The newest write of a key that is in the store (range deletions also of keys that never were).
  func newestVersion(of key: [UInt8], after floor: Version) -> Version? {
    var newest = history[key]?.last?.version ?? .zero
    for range in rangeDeletions where !precedes(key, range.start) && precedes(key, range.end) {
      newest = max(newest, range.version)
    }
    return newest > floor ? newest : nil
  }

  func scan(_ range: KeyRange, at snapshot: Version) -> [Entry] {
    var result: [Entry] = []
    for (key, versions) in history {
      if precedes(key, range.lower) { continue }
      if let upper = range.upper, !precedes(key, upper) { continue }
      if let newest = versions.last(where: { $0.version <= snapshot }), let value = newest.value {
        result.append(Entry(key: key, value: value, version: newest.version))
      }
    }
    return result.sorted { precedes($0.key, $1.key) }
  }
}

/// Keys as the store orders them.
func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool { a.lexicographicallyPrecedes(b) }

/// One transaction's batch, encoded.
func encodeBatch(_ writes: [VersionedModel.Write]) -> [UInt8] {
  var builder = WriteBatchBuilder()
  for write in writes {
    switch write {
    case .put(let key, let value): builder.put(key, value)
    case .delete(let key): builder.delete(key)
    case .deleteRange(let start, let end): builder.deleteRange(start, end)
    }
  }
  var writer = ByteWriter()
  builder.encode(into: &writer)
  return writer.bytes
}

/// The payload of a group of transactions.
func encodeGroup(_ transactions: [[VersionedModel.Write]]) -> [UInt8] {
  var writer = ByteWriter()
  for writes in transactions {
    let batch = encodeBatch(writes)
    writer.append(integer: UInt32(batch.count))
    writer.append(batch)
  }
  return writer.bytes
}

extension Engine {
  func apply(_ slot: UInt64, _ firstVersion: UInt64, _ transactions: [[VersionedModel.Write]]) throws {
    try encodeGroup(transactions).withUnsafeBytes {
      try apply(
        slot: Slot(slot), firstVersion: Version(firstVersion), transactionCount: transactions.count, payload: $0)
    }
  }

  func value(_ key: [UInt8], at snapshot: Version, _ pin: inout ReadPin) throws -> [UInt8]? {
    try key.withUnsafeBytes { try get($0, at: snapshot, &pin).map(Array.init) }
  }

  func entries(
    _ range: KeyRange, at snapshot: Version, _ direction: Direction = .forward
  ) throws -> [VersionedModel.Entry] {
    let cursor = try makeCursor(range, at: snapshot, direction: direction)
    var result: [VersionedModel.Entry] = []
    while try cursor.next() { result.append(cursor.entry) }
    return result
  }
}

extension EngineCursor {
  var entry: VersionedModel.Entry { .init(key: Array(key), value: Array(value), version: version) }
}

/// Keys that collide, nest, share long prefixes, and differ only in length or zero bytes.
struct AwkwardKeys {
  let prefixes: [[UInt8]]

  init() {
    prefixes = [[], [0], [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [0xFF], [0xFF, 0xFF]]
  }

  func key<R: RandomNumberGenerator>(_ random: inout R, spread: Int) -> [UInt8] {
    var key = prefixes.randomElement(using: &random)!
    switch Int.random(in: 0..<4, using: &random) {
    case 0: key += Array(repeating: 0, count: Int.random(in: 1..<4, using: &random))
    case 1: key += [UInt8.random(in: 0..<4, using: &random), UInt8.random(in: 0..<4, using: &random)]
    default:
      let number = UInt32(Int.random(in: 0..<spread, using: &random))
      key += [UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255)]
    }
    return key.isEmpty ? [7] : key
  }
}
