import Encoding
import Glibc
import Platform
import Storage
import Testing

/// Memory that ends where the bytes end: the page after it, and the one before, cannot be touched.
final class GuardedBytes {
  let bytes: UnsafeMutableRawBufferPointer
  private let whole: UnsafeMutableRawPointer
  private let wholeSizeBytes: Int

  init(_ content: [UInt8]) {
    let page = 4096
    let pages = (content.count + page - 1) / page + 2
    wholeSizeBytes = pages * page
    whole = mmap(nil, wholeSizeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    mprotect(whole, page, PROT_NONE)
    mprotect(whole + wholeSizeBytes - page, page, PROT_NONE)
    bytes = UnsafeMutableRawBufferPointer(
      start: whole + wholeSizeBytes - page - content.count, count: content.count)
    bytes.copyBytes(from: content)
  }

  deinit { munmap(whole, wholeSizeBytes) }
}

@Suite struct BlockTests {
  struct Entry {
    var key: [UInt8]
    var version: UInt64
    var isDelete: Bool
    var value: [UInt8]
  }

  static func entries(_ random: inout SeededRandomness, count: Int, spread: Int) -> [Entry] {
    let keys = AwkwardKeys()
    var seen: Set<[UInt8]> = []
    var result: [Entry] = []
    for _ in 0..<count {
      let key = keys.key(&random, spread: spread)
      let version = UInt64(random.below(6) + 1)
      guard seen.insert(key + [0xAA, UInt8(version)]).inserted else { continue }
      result.append(
        Entry(
          key: key, version: version, isDelete: random.oneIn(5),
          value: Array(repeating: UInt8(random.below(256)), count: random.oneIn(20) ? 300 : random.below(20))))
    }
    return result.sorted { precedes($0.key, $1.key) || ($0.key == $1.key && $0.version > $1.version) }
  }

  static func build(_ entries: [Entry], restartInterval: Int) -> [UInt8] {
    var builder = BlockBuilder(restartInterval: restartInterval)
    for entry in entries {
      entry.key.withUnsafeBytes { key in
        entry.value.withUnsafeBytes {
          builder.add(key, version: entry.version, isDelete: entry.isDelete, value: $0)
        }
      }
    }
    var output = ByteWriter()
    output.append([1, 2, 3])
    builder.finish(into: &output)
    return Array(output.bytes.dropFirst(3))
  }

  @Test(arguments: [1, 2, 3, 16], [1, 5, 60, 400])
  func findsWhatIsThere(_ interval: Int, _ count: Int) {
    var random = SeededRandomness(seed: UInt64(interval * 1000 + count))
    let entries = Self.entries(&random, count: count, spread: 40)
    let block = GuardedBytes(Self.build(entries, restartInterval: interval))
    let view = BlockView(UnsafeRawPointer(block.bytes.baseAddress!), count: block.bytes.count)!
    let keys = AwkwardKeys()
    for _ in 0..<500 {
      let key = random.oneIn(2) ? keys.key(&random, spread: 40) : entries.randomElement(using: &random)!.key
      let version = UInt64(random.below(8))
      let expected = entries.first { $0.key == key && $0.version <= version }
      let found = key.withUnsafeBytes { view.find($0, version) }
      #expect((found.outcome == .found) == (expected != nil))
      if let expected {
        #expect(found.version == expected.version && found.isDelete == expected.isDelete)
        #expect(found.valueLength == expected.value.count)
      }
      guard interval == 1 else { continue }
      let next = entries.first { !precedes($0.key, key) && ($0.key != key || $0.version <= version) }
      let sought = key.withUnsafeBytes { view.seekIndex($0, version) }
      #expect(sought?.version == next?.version && sought?.unshared == next?.key.count)
    }
  }

  /// Bytes that nobody checked: searches end, stay within the memory, and do not trap.
  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func hostileBytesDoNoHarm(_ seed: UInt64) {
    var random = SeededRandomness(seed: seed)
    let keys = AwkwardKeys()
    for _ in 0..<300 {
      let entries = Self.entries(&random, count: random.below(30) + 1, spread: 10)
      let sound = Self.build(entries, restartInterval: [1, 3, 16][random.below(3)])
      for _ in 0..<20 {
        var bytes = sound
        for _ in 0..<random.below(4) + 1 {
          let place = random.oneIn(2) ? random.below(min(64, bytes.count)) : random.below(bytes.count)
          bytes[place] = random.oneIn(2) ? UInt8(random.below(256)) : [0, 0x7F, 0x80, 0xFF][random.below(4)]
        }
        if random.oneIn(4) { bytes.removeLast(random.below(bytes.count)) }
        let block = GuardedBytes(bytes)
        guard let start = block.bytes.baseAddress, !bytes.isEmpty,
          let view = BlockView(UnsafeRawPointer(start), count: bytes.count)
        else { continue }
        let key = random.oneIn(2) ? keys.key(&random, spread: 10) : entries.randomElement(using: &random)!.key
        key.withUnsafeBytes {
          let found = view.find($0, 3)
          if found.outcome == .found {
            #expect(found.valueOffset >= 0 && found.valueOffset + found.valueLength <= view.entriesEnd)
          }
          _ = view.seekIndex($0, 3)
        }
      }
    }
  }

  @Test func hostileMetadataAndDeletionsDoNoHarm() {
    var random = SeededRandomness(seed: 5)
    var metadata = TableMetadata()
    metadata.lower = [1, 2]
    metadata.upper = [3]
    metadata.minimumVersion = Version(1)
    metadata.maximumVersion = Version(300)
    metadata.number = 77
    var sound = ByteWriter()
    metadata.encode(into: &sound)
    #expect(sound.bytes.withUnsafeBytes { try? TableMetadata.decode($0) } == metadata)
    var deletions = ByteWriter()
    RangeDeletionBlock.encode(
      [
        .init(start: [1], end: [2], versions: [Version(9), Version(7)]),
        .init(start: [2], end: [2, 5], versions: [Version(300)]),
      ], into: &deletions)
    var edit = ManifestEdit()
    edit.added = [.init(level: 2, table: metadata)]
    edit.removed = [.init(level: 1, number: 5)]
    edit.flushed = FlushedPosition(slot: Slot(4), version: Version(8), chain: Hash128(low: 1, high: 2))
    #expect(edit.encode().withUnsafeBytes { try? ManifestEdit.decode($0) } == edit)
    for _ in 0..<20_000 {
      for source in [sound.bytes, deletions.bytes, edit.encode()] {
        var bytes = source
        for _ in 0..<random.below(3) + 1 { bytes[random.below(bytes.count)] = UInt8(random.below(256)) }
        if random.oneIn(4) { bytes.removeLast(random.below(bytes.count)) }
        bytes.withUnsafeBytes {
          _ = try? TableMetadata.decode($0)
          _ = try? RangeDeletionBlock.decode($0)
          if let edit = try? ManifestEdit.decode($0) {
            var state = ManifestState()
            try? state.apply(edit)
          }
        }
      }
    }
  }
}

@Suite struct BloomFilterTests {
  static func hash(_ number: Int) -> UInt64 { xxh3(Array("key \(number)".utf8)) }

  @Test(arguments: [0, 1, 7, 100, 20_000])
  func holdsEveryKeyAndFewOthers(_ count: Int) {
    var output = ByteWriter()
    BloomFilter.build(hashes: (0..<count).map(Self.hash), bitsPerKey: 10, into: &output)
    output.bytes.withUnsafeBytes { filter in
      for key in 0..<count {
        #expect(BloomFilter.mayContain(Self.hash(key), filter.baseAddress!, count: filter.count) == true)
      }
      let others = 20_000
      let wrong = (count..<(count + others)).filter {
        BloomFilter.mayContain(Self.hash($0), filter.baseAddress!, count: filter.count) != false
      }.count
      // One in a hundred; a small filter's lines are unevenly full.
      #expect(count < 100 || wrong * 100 < others * 2, "\(wrong) of \(others)")
    }
  }

  @Test func noFilterExcludesNothing() {
    var output = ByteWriter()
    BloomFilter.build(hashes: [1, 2], bitsPerKey: 0, into: &output)
    output.bytes.withUnsafeBytes {
      #expect(BloomFilter.mayContain(77, $0.baseAddress!, count: $0.count) == true)
      #expect(BloomFilter.mayContain(77, $0.baseAddress!, count: 4) == nil)
    }
  }
}
