// The first 4 KiB of a segment file. `log/` holds
//
//   %016x.log     a segment by its sequence number; the one after the newest may be prepared ahead: its header then is
//                 all zeros or that of the file's former use
//   spare-%016x   a file ready to become a segment: filled with zeros, or a segment no longer needed
//   filling-%016x a spare being filled; removed when the database is opened
//
//   offset size field
//   0      8    magic "SYNODLOG"
//   8      4    format: 2 (1 had zeros at 224 … 312 and in bit 1 of the flags; it is read, and written no more)
//   12     4    CRC-32C of the 4096 bytes without these four
//   16     8    sequence number, as in the name
//   24     8    size of the file
//   32     8    salt: random for each use of the file
//   40     8    flags: bit 0 = the file was used before, so that what follows the frames may be stale;
//               bit 1 = records may be missing behind the end that an earlier recovery found (as of the start)
//   48     16   identity of the log
//   64     8    where the frames of the segment before end; 0 for the first segment
//   72     8    number of the first frame here
//   80     4    checksum of the frame before
//   84     4    zero
//   88     32   position before the first record here: slot, chain, version
//   120    24   promised ballot          ⎫
//   144    24   accepted ballot          ⎬ as of the start of the segment
//   168    8    chosen slot (hint)       ⎪
//   176    40   checkpoint               ⎪
//   216    8    leader time              ⎭
//   224    4    rewrites, as of the start of the segment (Frame.swift, FrameHistory)
//   228    4    bit 0 = a sync is under way as the segment starts, of which this is left:
//   232    24   its ballot
//   256    24   its last slot and the chain there
//   280    32   the position of its newest record so far
//   312    …    zero
//   4096   …    frames
//
// 1. The header is durable before the first frame is written; a segment whose header is not valid holds no frame.
// 2. A segment is never shorter than its header says, and has its space. As a rule every byte was written once before
//    frames are, so that a durable write changes no metadata of the file system.
// 3. The state in the header makes all older segments dispensable once the tables hold their records.
// 4. The meaning of bytes 0 ..< 16 is the same in every format.

package import Encoding

/// What all frames before a place add up to, besides the records themselves.
package struct LogState: Hashable, Sendable {
  /// The last record's position.
  package var last = LogPosition.zero
  package var promised = LogBallot.zero
  package var accepted = LogBallot.zero
  package var chosenHint = Slot.zero
  package var checkpoint = CheckpointMark(position: .zero, manifest: 0)
  /// The greatest leader time in any record.
  package var leaderTime: UInt64 = 0
  /// How often the log's end was replaced or the log begun anew, modulo 2³⁰.
  package var rewrites: UInt32 = 0
  /// False while records may be missing behind the last one: recovery found the end damaged, and nobody has vouched since
  /// for what ought to be there.
  package var isTailCertain = true

  package init() {}
}

/// The head of a segment, decoded.
package struct SegmentHeader: Hashable, Sendable {
  static let magic: UInt64 = 0x474F_4C44_4F4E_5953  // "SYNODLOG"
  static let sizeBytes = logBlockSizeBytes
  static let format: UInt32 = 2

  /// As read; what is written is of the newest.
  var format = Self.format
  package var sequence: UInt64
  package var fileSizeBytes: UInt64
  package var salt: UInt64
  package var isRecycled: Bool
  package var logIdentity: Hash128
  package var previousEnd: UInt64
  package var firstFrame: UInt64
  package var previousChecksum: UInt32
  package var state: LogState
  /// The rest of the sync that is under way here: what came before is in older segments, which may be gone.
  package var sync: SyncBegin?

  func encode(into memory: UnsafeMutableRawBufferPointer) {
    precondition(memory.count == Self.sizeBytes)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    unsafe store(Self.magic, in: memory, at: 0)
    unsafe store(Self.format, in: memory, at: 8)
    unsafe store(sequence, in: memory, at: 16)
    unsafe store(fileSizeBytes, in: memory, at: 24)
    unsafe store(salt, in: memory, at: 32)
    unsafe store((isRecycled ? 1 : 0 as UInt64) | (state.isTailCertain ? 0 : 2), in: memory, at: 40)
    unsafe store(logIdentity.low, in: memory, at: 48)
    unsafe store(logIdentity.high, in: memory, at: 56)
    unsafe store(previousEnd, in: memory, at: 64)
    unsafe store(firstFrame, in: memory, at: 72)
    unsafe store(previousChecksum, in: memory, at: 80)
    unsafe store(state.last.slot.rawValue, in: memory, at: 88)
    unsafe store(state.last.chain.low, in: memory, at: 96)
    unsafe store(state.last.chain.high, in: memory, at: 104)
    unsafe store(state.last.version.rawValue, in: memory, at: 112)
    unsafe state.promised.encode(into: memory, at: 120)
    unsafe state.accepted.encode(into: memory, at: 144)
    unsafe store(state.chosenHint.rawValue, in: memory, at: 168)
    unsafe state.checkpoint.encode(into: memory, at: 176)
    unsafe store(state.leaderTime, in: memory, at: 216)
    unsafe store(state.rewrites, in: memory, at: 224)
    if let sync {
      unsafe store(1 as UInt32, in: memory, at: 228)
      unsafe sync.ballot.encode(into: memory, at: 232)
      unsafe store(sync.end.rawValue, in: memory, at: 256)
      unsafe store(sync.endChain.low, in: memory, at: 264)
      unsafe store(sync.endChain.high, in: memory, at: 272)
      unsafe store(sync.before.slot.rawValue, in: memory, at: 280)
      unsafe store(sync.before.chain.low, in: memory, at: 288)
      unsafe store(sync.before.chain.high, in: memory, at: 296)
      unsafe store(sync.before.version.rawValue, in: memory, at: 304)
    }
    unsafe store(Self.checksum(UnsafeRawBufferPointer(memory)), in: memory, at: 12)
  }

  static func checksum(_ memory: UnsafeRawBufferPointer) -> UInt32 {
    let head = unsafe crc32c(UnsafeRawBufferPointer(rebasing: memory[0..<12]))
    return unsafe crc32c(UnsafeRawBufferPointer(rebasing: memory[16..<Self.sizeBytes]), seed: head)
  }

  /// What the first block of a file turned out to be.
  /// Whether the segment goes on where `predecessor` is. The first format knew neither rewrites nor an uncertain tail.
  func continues(_ predecessor: LogState) -> Bool {
    guard format < 2 else { return state == predecessor }
    var expected = predecessor
    expected.rewrites = state.rewrites
    expected.isTailCertain = state.isTailCertain
    return state == expected
  }

  enum Reading {
    case header(SegmentHeader)
    /// All zeros, or too short: never used.
    case blank
    case invalid(reason: String, expected: UInt32, found: UInt32)
    case newer(UInt32)
  }

  static func read(_ memory: UnsafeRawBufferPointer) -> Reading {
    guard memory.count >= sizeBytes, unsafe !isAllZero(memory) else { return .blank }
    let found = unsafe checksum(memory)
    let expected = unsafe load(UInt32.self, from: memory, at: 12)
    guard found == expected else {
      return .invalid(reason: "segment header with a wrong checksum", expected: expected, found: found)
    }
    guard unsafe load(UInt64.self, from: memory, at: 0) == magic else {
      return .invalid(reason: "no segment header", expected: 0, found: 0)
    }
    let format = unsafe load(UInt32.self, from: memory, at: 8)
    guard format <= Self.format else { return .newer(format) }
    var state = LogState()
    state.last = unsafe LogPosition(
      slot: Slot(load(from: memory, at: 88)),
      chain: Hash128(low: load(from: memory, at: 96), high: load(from: memory, at: 104)),
      version: Version(load(from: memory, at: 112)))
    state.promised = unsafe LogBallot(from: memory, at: 120)
    state.accepted = unsafe LogBallot(from: memory, at: 144)
    state.chosenHint = unsafe Slot(load(from: memory, at: 168))
    state.checkpoint = unsafe CheckpointMark(from: memory, at: 176)
    state.leaderTime = unsafe load(from: memory, at: 216)
    state.rewrites = unsafe load(UInt32.self, from: memory, at: 224) & FrameHistory.rewritesMask
    state.isTailCertain = unsafe load(UInt64.self, from: memory, at: 40) & 2 == 0
    var sync: SyncBegin?
    if unsafe load(UInt32.self, from: memory, at: 228) & 1 == 1 {
      sync = unsafe SyncBegin(
        ballot: LogBallot(from: memory, at: 232),
        before: LogPosition(
          slot: Slot(load(from: memory, at: 280)),
          chain: Hash128(low: load(from: memory, at: 288), high: load(from: memory, at: 296)),
          version: Version(load(from: memory, at: 304))),
        end: Slot(load(from: memory, at: 256)),
        endChain: Hash128(low: load(from: memory, at: 264), high: load(from: memory, at: 272)))
    }
    var header = unsafe SegmentHeader(
      sequence: load(from: memory, at: 16), fileSizeBytes: load(from: memory, at: 24),
      salt: load(from: memory, at: 32), isRecycled: load(UInt64.self, from: memory, at: 40) & 1 == 1,
      logIdentity: Hash128(low: load(from: memory, at: 48), high: load(from: memory, at: 56)),
      previousEnd: load(from: memory, at: 64), firstFrame: load(from: memory, at: 72),
      previousChecksum: load(from: memory, at: 80), state: state, sync: sync)
    header.format = format
    return .header(header)
  }
}
