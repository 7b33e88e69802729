// Control records: what one node notes in its own log about itself. They are never shipped.
//
//   offset size field
//   0      4    magic "SYC", then the format: 1
//   4      2    type
//   6      2    zero
//   8      4    length of the body, a multiple of 8
//   12     4    CRC-32C of bytes 0 ..< 12 and the body
//   16     …    body:
//
//   1 PROMISE       ballot (24)
//   2 SYNC_BEGIN    ballot (24), first slot (8), chain before it (16), version before it (8), last slot (8), its chain (16)
//   3 SYNC_END      ballot (24), last slot (8), its chain (16)
//   4 CHOSEN        slot (8): known to be chosen; a hint
//   5 CHECKPOINT    slot (8), its chain (16), its version (8), manifest (8): the tables hold everything up to slot
//   6 SEAL          flags (8): bit 0 = the database was closed in order. Proves what precedes it durable (Frame.swift)
//   7 SYNC_ABORT    empty: the records since SYNC_BEGIN never were part of the log
//   8 INSTALL       slot (8), its chain (16), its version (8), manifest (8), flags (8): the log begins behind this
//                   checkpoint. Bit 0 = records behind it stay; otherwise there are none
//   9 REPAIR        slot (8): the record that follows in this frame takes the place of a damaged copy of itself
//   10 TAIL         flags (8): bit 0 = clear if records may be missing behind the last one (docs/log-format.md)
//
// Accepting a new leader's log (consensus.md A.5, "AcceptSync atomicity"): SYNC_BEGIN, the records first ... last,
// SYNC_END. Only SYNC_END makes them the log, replacing every record from `first` on, and sets `accepted`. A SYNC_BEGIN
// without its SYNC_END has no effect: the old suffix, earlier in the files, still is the log. Whoever recovers such a state
// appends SYNC_ABORT before anything else, so that records after it cannot be mistaken for the sync's.

package import Encoding

/// The pending replacement of the log's suffix by a new leader's.
package struct SyncBegin: Hashable, Sendable {
  package var ballot: LogBallot
  /// The last position that stays.
  package var before: LogPosition
  package var end: Slot
  package var endChain: Hash128

  package init(ballot: LogBallot, before: LogPosition, end: Slot, endChain: Hash128) {
    self.ballot = ballot
    self.before = before
    self.end = end
    self.endChain = endChain
  }
}

/// A place that the tables reached.
package struct CheckpointMark: Hashable, Sendable {
  package var position: LogPosition
  package var manifest: UInt64

  package init(position: LogPosition, manifest: UInt64) {
    self.position = position
    self.manifest = manifest
  }
}

package enum ControlRecord: Hashable, Sendable {
  case promise(LogBallot)
  case syncBegin(SyncBegin)
  case syncEnd(ballot: LogBallot, end: Slot, endChain: Hash128)
  case chosen(Slot)
  case checkpoint(CheckpointMark)
  case seal(isClean: Bool)
  case syncAbort
  case install(CheckpointMark, keepsLog: Bool)
  case repair(Slot)
  case tail(isCertain: Bool)

  static let magic: UInt32 = 0x01_43_59_53  // "SYC" 1
  static let headerSizeBytes = 16

  private var type: UInt16 {
    switch self {
    case .promise: 1
    case .syncBegin: 2
    case .syncEnd: 3
    case .chosen: 4
    case .checkpoint: 5
    case .seal: 6
    case .syncAbort: 7
    case .install: 8
    case .repair: 9
    case .tail: 10
    }
  }

  private static func bodySizeBytes(_ type: UInt16) -> Int? {
    switch type {
    case 1: 24
    case 2: 80
    case 3: 48
    case 4: 8
    case 5: 40
    case 6: 8
    case 7: 0
    case 8: 48
    case 9: 8
    case 10: 8
    default: nil
    }
  }

  package var sizeBytes: Int { Self.headerSizeBytes + (Self.bodySizeBytes(type) ?? 0) }

  /// Writes the record at the start of `memory`, which must have `sizeBytes` bytes.
  func encode(into memory: UnsafeMutableRawBufferPointer) {
    unsafe store(Self.magic, in: memory, at: 0)
    unsafe store(type, in: memory, at: 4)
    unsafe store(0 as UInt16, in: memory, at: 6)
    unsafe store(UInt32(sizeBytes - Self.headerSizeBytes), in: memory, at: 8)
    switch self {
    case .promise(let ballot): unsafe ballot.encode(into: memory, at: 16)
    case .syncBegin(let begin):
      unsafe begin.ballot.encode(into: memory, at: 16)
      unsafe store(begin.before.slot.rawValue &+ 1, in: memory, at: 40)
      unsafe store(begin.before.chain.low, in: memory, at: 48)
      unsafe store(begin.before.chain.high, in: memory, at: 56)
      unsafe store(begin.before.version.rawValue, in: memory, at: 64)
      unsafe store(begin.end.rawValue, in: memory, at: 72)
      unsafe store(begin.endChain.low, in: memory, at: 80)
      unsafe store(begin.endChain.high, in: memory, at: 88)
    case .syncEnd(let ballot, let end, let endChain):
      unsafe ballot.encode(into: memory, at: 16)
      unsafe store(end.rawValue, in: memory, at: 40)
      unsafe store(endChain.low, in: memory, at: 48)
      unsafe store(endChain.high, in: memory, at: 56)
    case .chosen(let slot): unsafe store(slot.rawValue, in: memory, at: 16)
    case .checkpoint(let mark): unsafe mark.encode(into: memory, at: 16)
    case .seal(let isClean): unsafe store(isClean ? 1 : 0 as UInt64, in: memory, at: 16)
    case .syncAbort: break
    case .install(let mark, let keepsLog):
      unsafe mark.encode(into: memory, at: 16)
      unsafe store(keepsLog ? 1 : 0 as UInt64, in: memory, at: 56)
    case .repair(let slot): unsafe store(slot.rawValue, in: memory, at: 16)
    case .tail(let isCertain): unsafe store(isCertain ? 1 : 0 as UInt64, in: memory, at: 16)
    }
    unsafe store(Self.checksum(UnsafeRawBufferPointer(memory), sizeBytes), in: memory, at: 12)
  }

  private static func checksum(_ memory: UnsafeRawBufferPointer, _ sizeBytes: Int) -> UInt32 {
    let head = unsafe crc32c(UnsafeRawBufferPointer(rebasing: memory[0..<12]))
    return unsafe crc32c(UnsafeRawBufferPointer(rebasing: memory[16..<sizeBytes]), seed: head)
  }

  /// Reads the record at the start of `memory`.
  init(from memory: UnsafeRawBufferPointer) throws(DecodingError) {
    guard memory.count >= Self.headerSizeBytes else { throw .truncated(offset: 0, needed: Self.headerSizeBytes) }
    guard unsafe load(UInt32.self, from: memory, at: 0) == Self.magic else {
      throw .invalid(offset: 0, reason: "no control record")
    }
    let type = unsafe load(UInt16.self, from: memory, at: 4)
    let length = unsafe load(UInt32.self, from: memory, at: 8)
    guard let body = Self.bodySizeBytes(type), Int(length) == body, unsafe load(UInt16.self, from: memory, at: 6) == 0
    else { throw .invalid(offset: 4, reason: "unknown control record") }
    let size = Self.headerSizeBytes + body
    guard memory.count >= size else { throw .truncated(offset: 0, needed: size - memory.count) }
    guard unsafe Self.checksum(memory, size) == load(UInt32.self, from: memory, at: 12) else {
      throw .invalid(offset: 12, reason: "control record with a wrong checksum")
    }
    func hash(_ offset: Int) -> Hash128 {
      unsafe Hash128(low: load(from: memory, at: offset), high: load(from: memory, at: offset + 8))
    }
    switch type {
    case 1: self = unsafe .promise(LogBallot(from: memory, at: 16))
    case 2:
      let first = unsafe load(UInt64.self, from: memory, at: 40)
      guard first > 0 else { throw .invalid(offset: 40, reason: "SYNC_BEGIN at slot 0") }
      let before = LogPosition(
        slot: Slot(first - 1), chain: hash(48), version: Version(unsafe load(from: memory, at: 64)))
      self = unsafe .syncBegin(
        SyncBegin(
          ballot: LogBallot(from: memory, at: 16), before: before, end: Slot(load(from: memory, at: 72)),
          endChain: hash(80)))
    case 3:
      self = unsafe .syncEnd(
        ballot: LogBallot(from: memory, at: 16), end: Slot(load(from: memory, at: 40)), endChain: hash(48))
    case 4: self = unsafe .chosen(Slot(load(from: memory, at: 16)))
    case 5: self = unsafe .checkpoint(CheckpointMark(from: memory, at: 16))
    case 6: self = unsafe .seal(isClean: load(UInt64.self, from: memory, at: 16) & 1 == 1)
    case 7: self = .syncAbort
    case 8:
      self = unsafe .install(
        CheckpointMark(from: memory, at: 16), keepsLog: load(UInt64.self, from: memory, at: 56) & 1 == 1)
    case 9: self = unsafe .repair(Slot(load(from: memory, at: 16)))
    default: self = unsafe .tail(isCertain: load(UInt64.self, from: memory, at: 16) & 1 == 1)
    }
  }
}

extension CheckpointMark {
  static let sizeBytes = 40

  func encode(into memory: UnsafeMutableRawBufferPointer, at offset: Int) {
    unsafe store(position.slot.rawValue, in: memory, at: offset)
    unsafe store(position.chain.low, in: memory, at: offset + 8)
    unsafe store(position.chain.high, in: memory, at: offset + 16)
    unsafe store(position.version.rawValue, in: memory, at: offset + 24)
    unsafe store(manifest, in: memory, at: offset + 32)
  }

  init(from memory: UnsafeRawBufferPointer, at offset: Int) {
    unsafe self.init(
      position: LogPosition(
        slot: Slot(load(from: memory, at: offset)),
        chain: Hash128(low: load(from: memory, at: offset + 8), high: load(from: memory, at: offset + 16)),
        version: Version(load(from: memory, at: offset + 24))),
      manifest: load(from: memory, at: offset + 32))
  }
}
