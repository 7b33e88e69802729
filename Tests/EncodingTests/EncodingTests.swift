import Encoding
import Testing

/// A small generator with a printed seed.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }
  mutating func bytes(_ count: Int, alphabet: ClosedRange<UInt8> = 0...255) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: alphabet, using: &self) }
  }
}

@Suite struct ChecksumTests {
  @Test func knownVectors() {
    // RFC 3720, B.4.
    #expect(crc32c([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(crc32c([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(crc32c([UInt8](0..<32)) == 0x46dd_794e)
    #expect(crc32c(Array("123456789".utf8)) == 0xe306_9283)
    // XXH3's published empty-input values.
    #expect(xxh3([]) == 0x2d06_8005_38d3_94c2)
    #expect(Hash128(of: []).description == "99aa06d3014798d86001c324468d497f")
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func hardwareAgreesWithTheTable(seed: UInt64) {
    var random = Seeded(state: seed)
    let bytes = random.bytes(Int.random(in: 0...700, using: &random))
    bytes.withUnsafeBytes { all in
      for start in 0..<min(9, all.count) {
        let part = UnsafeRawBufferPointer(rebasing: all[start...])
        #expect(crc32c(part, seed: 7) == crc32cPortable(part, seed: 7))
      }
    }
  }

  @Test func checksumsContinue() {
    let bytes = Array("the one log".utf8)
    for cut in 0...bytes.count {
      #expect(crc32c(Array(bytes[cut...]), seed: crc32c(Array(bytes[..<cut]))) == crc32c(bytes))
    }
  }
}

@Suite struct IntegerTests {
  static let interesting: [UInt64] = {
    var values: [UInt64] = [.max]
    for shift in 0..<64 {
      let power = UInt64(1) << UInt64(shift)
      values += [power, power - 1, power &+ 1]
    }
    return values
  }()

  @Test func varintsRoundTrip() throws {
    for value in Self.interesting {
      var writer = ByteWriter()
      writer.append(varint: value)
      #expect(writer.count == varintLength(value))
      try writer.bytes.withUnsafeBytes { bytes in
        var reader = ByteReader(bytes)
        let back = try reader.readVarint()
        #expect(back == value)
        #expect(reader.isAtEnd)
        var short = ByteReader(UnsafeRawBufferPointer(rebasing: bytes.dropLast()))
        #expect(throws: DecodingError.self) { _ = try short.readVarint() }
      }
    }
  }

  @Test func malformedVarintsAreErrors() {
    for bytes in [[UInt8](repeating: 0x80, count: 10) + [1], [UInt8](repeating: 0xff, count: 9) + [2], []] {
      bytes.withUnsafeBytes { bytes in
        var reader = ByteReader(bytes)
        #expect(throws: DecodingError.self) { _ = try reader.readVarint() }
      }
    }
  }

  @Test func lengthsBeyondTheEndAreErrors() {
    var writer = ByteWriter()
    writer.append(varint: UInt64.max)
    writer.append(1 as UInt8)
    writer.bytes.withUnsafeBytes { bytes in
      var reader = ByteReader(bytes)
      #expect(throws: DecodingError.self) { _ = try reader.readLengthPrefixed() }
    }
  }
}

@Suite struct KeyEncodingTests {
  func encoded(_ body: (inout ByteWriter) -> Void) -> [UInt8] {
    var writer = ByteWriter()
    body(&writer)
    return writer.bytes
  }

  func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.withUnsafeBytes { a in b.withUnsafeBytes { compareKeys(a, $0) < 0 } }
  }

  @Test(arguments: 1...50 as ClosedRange<UInt64>)
  func orderIsKept(seed: UInt64) throws {
    var random = Seeded(state: seed)
    let integers = (0..<8).map { _ in Int64(bitPattern: random.next()) >> Int64.random(in: 0...63, using: &random) }
    let doubles =
      (0..<8).map { _ in Double(bitPattern: random.next()) }.filter { !$0.isNaN } + [0, -0.0, .infinity, -.infinity]
    let strings = (0..<8).map { _ in random.bytes(Int.random(in: 0...4, using: &random), alphabet: 0...2) }
    for a in integers {
      for b in integers { #expect(precedes(encoded { $0.append(key: a) }, encoded { $0.append(key: b) }) == (a < b)) }
    }
    for a in doubles {
      for b in doubles { #expect(precedes(encoded { $0.append(key: a) }, encoded { $0.append(key: b) }) == (a < b)) }
    }
    for a in strings {
      for b in strings {
        let ea = encoded { w in a.withUnsafeBytes { w.append(key: $0) } }
        let eb = encoded { w in b.withUnsafeBytes { w.append(key: $0) } }
        #expect(precedes(ea, eb) == a.lexicographicallyPrecedes(b), "seed \(seed): \(a) \(b)")
        #expect(a == b || !eb.starts(with: ea), "an encoding is a prefix of another")
        // In a composite, what follows never outweighs the first part.
        if a != b { #expect(precedes(ea + [0xff], eb + [0]) == a.lexicographicallyPrecedes(b)) }
      }
    }
  }

  @Test(arguments: 1...50 as ClosedRange<UInt64>, [false, true])
  func roundTrip(seed: UInt64, descending: Bool) throws {
    var random = Seeded(state: seed)
    let number = Int64(bitPattern: random.next())
    let double = Double(number) / 3
    let text = random.bytes(Int.random(in: 0...6, using: &random), alphabet: 0...3)
    var writer = ByteWriter()
    writer.append(key: number)
    writer.append(key: double)
    text.withUnsafeBytes { writer.append(key: $0) }
    if descending { writer.complement(from: 0) }
    try writer.bytes.withUnsafeBytes { bytes in
      var reader = ByteReader(bytes)
      let backNumber = try reader.readKeyInt64(descending: descending)
      let backDouble = try reader.readKeyDouble(descending: descending)
      #expect(backNumber == number)
      #expect(backDouble == double)
      var back: [UInt8] = []
      try reader.readKeyBytes(descending: descending, into: &back)
      #expect(back == text)
      #expect(reader.isAtEnd)
    }
  }

  @Test func afterPrefix() {
    #expect(keyAfterPrefix([1, 2]) == [1, 3])
    #expect(keyAfterPrefix([1, 0xff, 0xff]) == [2])
    #expect(keyAfterPrefix([0xff, 0xff]) == nil)
  }
}

@Suite struct LZ4Tests {
  @Test(arguments: 1...30 as ClosedRange<UInt64>)
  func roundTripAndHostileInput(seed: UInt64) throws {
    var random = Seeded(state: seed)
    let bytes = random.bytes(
      Int.random(in: 1...5000, using: &random), alphabet: 0...UInt8.random(in: 0...255, using: &random))
    let packed = LZ4Codec.compress(bytes)
    var back = [UInt8](repeating: 0, count: bytes.count)
    try packed.withUnsafeBytes { source in try back.withUnsafeMutableBytes { try LZ4Codec.decompress(source, into: $0) }
    }
    #expect(back == bytes)
    // Damaged input either fails or yields exactly the announced size; it never reads or writes out of bounds.
    for _ in 0..<50 {
      var damaged = packed
      damaged[Int.random(in: 0..<damaged.count, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
      damaged.removeLast(Int.random(in: 0...min(3, damaged.count - 1), using: &random))
      damaged.withUnsafeBytes { source in
        back.withUnsafeMutableBytes { try? LZ4Codec.decompress(source, into: $0) }
      }
    }
  }
}

@Suite struct WriteBatchTests {
  typealias Operation = (kind: WriteBatch.Kind, key: [UInt8], value: [UInt8])

  func read(_ bytes: [UInt8]) throws -> [Operation] {
    try bytes.withUnsafeBytes { bytes in
      var reader = try WriteBatchReader(bytes)
      var operations: [Operation] = []
      while let next = try reader.next() { operations.append((next.kind, Array(next.key), Array(next.value))) }
      return operations
    }
  }

  @Test(arguments: 1...40 as ClosedRange<UInt64>)
  func roundTripAndDamage(seed: UInt64) throws {
    var random = Seeded(state: seed)
    var builder = WriteBatchBuilder()
    builder.addMetadata(tag: WriteBatch.MetadataTag.transactionId, random.bytes(16))
    var model: [Operation] = []
    for _ in 0..<Int.random(in: 0...20, using: &random) {
      let key = random.bytes(Int.random(in: 1...40, using: &random))
      let value = random.bytes(Int.random(in: 0...300, using: &random))
      switch Int.random(in: 0..<3, using: &random) {
      case 0:
        builder.put(key, value)
        model.append((.put, key, value))
      case 1:
        builder.delete(key)
        model.append((.delete, key, []))
      default:
        builder.deleteRange(key, value)
        model.append((.deleteRange, key, value))
      }
    }
    var writer = ByteWriter()
    builder.encode(into: &writer)
    #expect(writer.count <= builder.estimatedSizeBytes)
    let back = try read(writer.bytes)
    #expect(back.map(\.kind) == model.map(\.kind))
    #expect(back.map(\.key) == model.map(\.key))
    #expect(back.map(\.value) == model.map(\.value))
    // Cut anywhere: an error, never a trap, never a silently shorter batch.
    for cut in 0..<writer.count { #expect(throws: DecodingError.self) { _ = try read(Array(writer.bytes[..<cut])) } }
    #expect(throws: DecodingError.self) { _ = try read(writer.bytes + [0]) }
    for _ in 0..<200 {
      var damaged = writer.bytes
      damaged[Int.random(in: 0..<damaged.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      _ = try? read(damaged)
    }
  }
}
