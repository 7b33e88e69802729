// A record: what one slot of the log holds. Its bytes are made once, by the leader, and shipped and stored unchanged by
// every node; whatever depends on a place in a file is in the frame around it (Frame.swift) instead.
//
//   offset size field                                                                  little endian
//   0      4    magic "SYR", then the format: 1
//   4      2    type                    (RecordType)
//   6      2    codec                   0 raw, 1 LZ4 block
//   8      8    slot
//   16     8    origin ballot: round    who built the record; never changes, whoever proposes it again later
//   24     8    origin ballot: node
//   32     4    origin ballot: epoch
//   36     4    number of transactions  0 unless the type is TXN_GROUP
//   40     8    first version           the transactions commit at first ..< first + number; where there are none,
//                                       the next version
//   48     8    leader time             hybrid logical clock, nanoseconds since 1970; metadata only
//   56     8    safe version
//   64     8    chosen slot, as known when the record was built: the commit point travels with the data
//   72     4    raw length              of the payload, uncompressed
//   76     4    stored length           of the payload, as it follows
//   80     16   payload hash            XXH3-128 of the stored payload
//   96     16   previous chain          the chain value of slot - 1
//   112    1    origin ballot: priority
//   113    11   zero
//   124    4    CRC-32C of bytes 0 ..< 124
//   128    …    the stored payload
//
// 1. chain(slot) = XXH3-128(header bytes 0 ..< 124), which contain the previous chain and the payload's hash: equal chain
//    values mean equal logs from the first record to here.
// 2. slot = previous slot + 1 and first version = previous version + 1: both are dense.
// 3. A payload is compressed once, as a whole, and only where that saves at least a tenth.
//
// TXN_GROUP's payload is, for each transaction in order of versions, u32 length | write batch (WriteBatch.swift).

package import Encoding

/// What a record does.
@frozen
package enum RecordType: UInt16, Hashable, Sendable {
  /// Transactions that commit together.
  case transactionGroup = 1
  /// The first record of a leadership.
  case epochStart = 2
  /// The last record of a configuration; the payload is the next one.
  case configurationStop = 3
  /// A client session begins or ends.
  case session = 4
  /// A digest of the state at a slot, to detect divergence.
  case checksum = 5
  /// Versions below may be collected.
  case garbageFloor = 6
}

/// How a payload is stored.
@frozen
package enum RecordCodec: UInt16, Hashable, Sendable {
  case raw = 0
  case lz4 = 1
}

/// The head of a record, decoded.
package struct RecordHeader: Hashable, Sendable {
  package static let sizeBytes = 128
  /// The longest payload before compression: every transaction of a group, with the group's framing.
  package static let maximumRawSizeBytes = 0x7E00_0000
  private static let largestNumber = UInt64.max / 2

  package var type: RecordType
  package var codec: RecordCodec = .raw
  package var slot: Slot
  package var origin: LogBallot
  package var firstVersion: Version
  package var transactionCount: UInt32
  package var leaderTime: UInt64
  package var safeVersion: Version
  package var chosenAtBuild: Slot
  package var rawSizeBytes: UInt32 = 0
  package var storedSizeBytes: UInt32 = 0
  package var payloadHash: Hash128 = .zero
  package var previousChain: Hash128

  package init(
    type: RecordType, slot: Slot, origin: LogBallot, firstVersion: Version, transactionCount: UInt32,
    leaderTime: UInt64, safeVersion: Version, chosenAtBuild: Slot, previousChain: Hash128
  ) {
    self.type = type
    self.slot = slot
    self.origin = origin
    self.firstVersion = firstVersion
    self.transactionCount = transactionCount
    self.leaderTime = leaderTime
    self.safeVersion = safeVersion
    self.chosenAtBuild = chosenAtBuild
    self.previousChain = previousChain
  }

  /// Header and stored payload.
  package var recordSizeBytes: Int { Self.sizeBytes + Int(storedSizeBytes) }

  /// The last version that is committed once this record is.
  package var lastVersion: Version { Version(firstVersion.rawValue &+ UInt64(transactionCount) &- 1) }

  static let magic: UInt32 = 0x01_52_59_53  // "SYR" 1

  /// Writes the 128 bytes and returns the record's chain value.
  func encode(into memory: UnsafeMutableRawBufferPointer) -> Hash128 {
    unsafe store(Self.magic, in: memory, at: 0)
    unsafe store(type.rawValue, in: memory, at: 4)
    unsafe store(codec.rawValue, in: memory, at: 6)
    unsafe store(slot.rawValue, in: memory, at: 8)
    unsafe store(origin.round, in: memory, at: 16)
    unsafe store(origin.node, in: memory, at: 24)
    unsafe store(origin.epoch, in: memory, at: 32)
    unsafe store(transactionCount, in: memory, at: 36)
    unsafe store(firstVersion.rawValue, in: memory, at: 40)
    unsafe store(leaderTime, in: memory, at: 48)
    unsafe store(safeVersion.rawValue, in: memory, at: 56)
    unsafe store(chosenAtBuild.rawValue, in: memory, at: 64)
    unsafe store(rawSizeBytes, in: memory, at: 72)
    unsafe store(storedSizeBytes, in: memory, at: 76)
    unsafe store(payloadHash.low, in: memory, at: 80)
    unsafe store(payloadHash.high, in: memory, at: 88)
    unsafe store(previousChain.low, in: memory, at: 96)
    unsafe store(previousChain.high, in: memory, at: 104)
    unsafe store(UInt64(origin.priority), in: memory, at: 112)
    unsafe store(0 as UInt32, in: memory, at: 120)
    let covered = unsafe UnsafeRawBufferPointer(rebasing: memory[0..<124])
    unsafe store(crc32c(covered), in: memory, at: 124)
    return unsafe Hash128(of: covered)
  }

  /// Reads a header and checks everything in it that can be checked without the payload.
  package init(from memory: UnsafeRawBufferPointer) throws(DecodingError) {
    guard memory.count >= Self.sizeBytes else {
      throw .truncated(offset: 0, needed: Self.sizeBytes - memory.count)
    }
    let word = unsafe load(UInt32.self, from: memory, at: 0)
    guard word == Self.magic else {
      throw .invalid(
        offset: 0,
        reason: word & 0xFF_FFFF == Self.magic & 0xFF_FFFF ? "record of unknown format \(word >> 24)" : "no record")
    }
    let covered = unsafe UnsafeRawBufferPointer(rebasing: memory[0..<124])
    guard unsafe crc32c(covered) == load(UInt32.self, from: memory, at: 124) else {
      throw .invalid(offset: 124, reason: "record header with a wrong checksum")
    }
    guard let type = unsafe RecordType(rawValue: load(from: memory, at: 4)),
      let codec = unsafe RecordCodec(rawValue: load(from: memory, at: 6))
    else { throw .invalid(offset: 4, reason: "record of unknown type or codec") }
    let priority = unsafe load(UInt64.self, from: memory, at: 112)
    guard priority <= 0xFF, unsafe load(UInt32.self, from: memory, at: 120) == 0 else {
      throw .invalid(offset: 113, reason: "reserved bytes of a record header are not zero")
    }
    unsafe self.init(
      type: type, slot: Slot(load(from: memory, at: 8)),
      origin: LogBallot(
        epoch: load(from: memory, at: 32), round: load(from: memory, at: 16), priority: UInt8(priority),
        node: load(from: memory, at: 24)),
      firstVersion: Version(load(from: memory, at: 40)), transactionCount: load(from: memory, at: 36),
      leaderTime: load(from: memory, at: 48), safeVersion: Version(load(from: memory, at: 56)),
      chosenAtBuild: Slot(load(from: memory, at: 64)),
      previousChain: Hash128(low: load(from: memory, at: 96), high: load(from: memory, at: 104)))
    self.codec = codec
    rawSizeBytes = unsafe load(from: memory, at: 72)
    storedSizeBytes = unsafe load(from: memory, at: 76)
    payloadHash = unsafe Hash128(low: load(from: memory, at: 80), high: load(from: memory, at: 88))
    guard Int(rawSizeBytes) <= Self.maximumRawSizeBytes, storedSizeBytes <= rawSizeBytes,
      codec == .lz4 || storedSizeBytes == rawSizeBytes
    else { throw .invalid(offset: 72, reason: "impossible lengths in a record header") }
    // Whoever reckons with them need not fear the ends of the numbers.
    guard (1...Self.largestNumber).contains(slot.rawValue), (1...Self.largestNumber).contains(firstVersion.rawValue)
    else { throw .invalid(offset: 8, reason: "impossible slot or version in a record header") }
  }

  /// The chain value of the record whose 128 header bytes these are.
  package static func chain(ofHeader memory: UnsafeRawBufferPointer) -> Hash128 {
    unsafe Hash128(of: UnsafeRawBufferPointer(rebasing: memory[0..<124]))
  }

  /// Checks a stored payload against the header's hash.
  package func verify(payload: UnsafeRawBufferPointer) throws(DecodingError) {
    guard unsafe Hash128(of: payload) == payloadHash else {
      throw .invalid(offset: Self.sizeBytes, reason: "payload of slot \(slot.rawValue) with a wrong hash")
    }
  }
}
