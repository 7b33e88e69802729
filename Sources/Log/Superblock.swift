// The superblock: who this database is. Four copies of 4 KiB in the file `superblock`, one after the other.
//
//   offset size field
//   0      8    magic "SYNODSUP"
//   8      4    format of the database: 1
//   12     4    CRC-32C of the 4096 bytes without these four
//   16     8    copy: 0 ... 3
//   24     8    update number
//   32     16   cluster
//   48     8    node
//   56     16   log: also in each segment's header
//   72     8    created, nanoseconds since 1970
//   80     40   checkpoint (slot, chain, version, manifest)
//   120    24   promised ballot
//   144    24   accepted ballot
//   168    8    segment  ⎫ the log reached at least here when the database was last closed in order
//   176    8    offset   ⎭
//   184    …    zero
//
// 1. An update writes copies 0 and 1 durably, then 2 and 3: at any moment two copies of one update are whole.
// 2. The superblock is the newest update of which two copies are valid. (The newest single copy may be half of an update
//    that never finished, or have been hidden by a misdirected write.)
// 3. The meaning of bytes 0 ..< 16 is the same in every format.

package import Encoding
package import Platform

/// Where frames end: in which segment, and at which offset.
package struct LogEnd: Hashable, Comparable, Sendable {
  package var segment: UInt64
  package var offset: UInt64

  package init(segment: UInt64, offset: UInt64) {
    self.segment = segment
    self.offset = offset
  }

  package static func < (a: LogEnd, b: LogEnd) -> Bool { (a.segment, a.offset) < (b.segment, b.offset) }
}

/// Who a database is, and what it last knew about itself outside the log.
package struct Superblock: Hashable, Sendable {
  package static let copyCount = 4
  static let copySizeBytes = logBlockSizeBytes
  static let magic: UInt64 = 0x5055_5344_4F4E_5953  // "SYNODSUP"
  /// The newest format of a database that this program reads, and the one that it writes.
  package static let format: UInt32 = 1
  package static let fileName = "superblock"

  package var update: UInt64 = 0
  package var cluster: Hash128
  package var node: UInt64
  package var logIdentity: Hash128
  package var createdNanoseconds: UInt64
  package var checkpoint = CheckpointMark(position: .zero, manifest: 0)
  package var promised = LogBallot.zero
  package var accepted = LogBallot.zero
  /// The log's files reached at least here: a shorter log has lost something, though nothing in it says so.
  package var logEnd = LogEnd(segment: 0, offset: 0)

  package init(cluster: Hash128, node: UInt64, logIdentity: Hash128, createdNanoseconds: UInt64) {
    self.cluster = cluster
    self.node = node
    self.logIdentity = logIdentity
    self.createdNanoseconds = createdNanoseconds
  }

  func encode(copy: Int, into memory: UnsafeMutableRawBufferPointer) {
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    unsafe store(Self.magic, in: memory, at: 0)
    unsafe store(Self.format, in: memory, at: 8)
    unsafe store(UInt64(copy), in: memory, at: 16)
    unsafe store(update, in: memory, at: 24)
    unsafe store(cluster.low, in: memory, at: 32)
    unsafe store(cluster.high, in: memory, at: 40)
    unsafe store(node, in: memory, at: 48)
    unsafe store(logIdentity.low, in: memory, at: 56)
    unsafe store(logIdentity.high, in: memory, at: 64)
    unsafe store(createdNanoseconds, in: memory, at: 72)
    unsafe checkpoint.encode(into: memory, at: 80)
    unsafe promised.encode(into: memory, at: 120)
    unsafe accepted.encode(into: memory, at: 144)
    unsafe store(logEnd.segment, in: memory, at: 168)
    unsafe store(logEnd.offset, in: memory, at: 176)
    unsafe store(SegmentHeader.checksum(UnsafeRawBufferPointer(memory)), in: memory, at: 12)
  }

  /// One copy as it was found.
  package enum Copy: Hashable, Sendable {
    case valid(Superblock)
    case newer(UInt32)
    case invalid(reason: String, expected: UInt32, found: UInt32)
  }

  static func read(_ memory: UnsafeRawBufferPointer, copy: Int) -> Copy {
    guard memory.count == copySizeBytes else { return .invalid(reason: "file too short", expected: 0, found: 0) }
    let found = unsafe SegmentHeader.checksum(memory)
    let expected = unsafe load(UInt32.self, from: memory, at: 12)
    guard found == expected else {
      return .invalid(reason: "superblock copy \(copy) with a wrong checksum", expected: expected, found: found)
    }
    guard unsafe load(UInt64.self, from: memory, at: 0) == magic else {
      return .invalid(reason: "no superblock", expected: 0, found: 0)
    }
    let format = unsafe load(UInt32.self, from: memory, at: 8)
    guard format <= Self.format else { return .newer(format) }
    guard unsafe load(UInt64.self, from: memory, at: 16) == UInt64(copy) else {
      return .invalid(reason: "misplaced superblock copy", expected: 0, found: 0)
    }
    var block = unsafe Superblock(
      cluster: Hash128(low: load(from: memory, at: 32), high: load(from: memory, at: 40)),
      node: load(from: memory, at: 48),
      logIdentity: Hash128(low: load(from: memory, at: 56), high: load(from: memory, at: 64)),
      createdNanoseconds: load(from: memory, at: 72))
    block.update = unsafe load(from: memory, at: 24)
    block.checkpoint = unsafe CheckpointMark(from: memory, at: 80)
    block.promised = unsafe LogBallot(from: memory, at: 120)
    block.accepted = unsafe LogBallot(from: memory, at: 144)
    block.logEnd = unsafe LogEnd(segment: load(from: memory, at: 168), offset: load(from: memory, at: 176))
    return .valid(block)
  }

  /// The four copies in the file at `path`.
  package static func readCopies(_ path: String, disk: any Disk) throws(LogError) -> [Copy] {
    do throws(DiskError) {
      let file = try disk.open(path, .read)
      defer { file.close() }
      var copies: [Copy] = []
      for copy in 0..<copyCount {
        let bytes = try file.readBytes(copySizeBytes, at: UInt64(copy * copySizeBytes))
        copies.append(unsafe bytes.withUnsafeBytes { unsafe read($0, copy: copy) })
      }
      return copies
    } catch { throw .disk(error) }
  }

  /// The newest update with two valid copies.
  static func choose(_ copies: [Copy], path: String) throws(LogError) -> Superblock {
    var best: Superblock?
    var damage: LogError?
    for (index, copy) in copies.enumerated() {
      switch copy {
      case .newer(let format): throw .newerFormat(file: path, found: format, supported: Self.format)
      case .invalid(let reason, let expected, let found):
        let place = LogPlace(file: path, offset: UInt64(index * copySizeBytes))
        damage = damage ?? .corrupt(place, reason: reason, expected: expected, found: found)
      case .valid(let block):
        let twins = copies.filter { $0 == copy }.count
        if twins >= 2, block.update >= best?.update ?? 0 { best = block }
      }
    }
    if let best { return best }
    throw damage
      ?? .corrupt(
        LogPlace(file: path, offset: 0), reason: "no two copies of the superblock agree", expected: 0, found: 0)
  }
}

/// The superblock's file, open for updates. One thread at a time.
final class SuperblockFile {
  private let file: any DiskFile
  private let buffer = AlignedBuffer(sizeBytes: 2 * Superblock.copySizeBytes)
  private(set) var current: Superblock

  private init(_ file: any DiskFile, _ current: Superblock) {
    self.file = file
    self.current = current
  }

  /// Opens the file, and writes all four copies anew where they do not agree.
  static func open(_ path: String, disk: any Disk) throws(LogError) -> SuperblockFile {
    let copies = try Superblock.readCopies(path, disk: disk)
    let block = try Superblock.choose(copies, path: path)
    do throws(DiskError) {
      let result = SuperblockFile(try disk.open(path, .direct), block)
      if !copies.allSatisfy({ $0 == .valid(block) }) {
        // Behind every number that any copy carries: a lone newer copy must not find a twin later.
        let newest = copies.reduce(block.update) { newest, copy in
          if case .valid(let other) = copy { max(newest, other.update) } else { newest }
        }
        try result.write(block, update: newest + 1)
      }
      return result
    } catch { throw .disk(error) }
  }

  /// Makes the file; it appears under its name whole or not at all.
  static func create(_ path: String, in directory: String, _ block: Superblock, disk: any Disk) throws(LogError)
    -> SuperblockFile
  {
    do throws(DiskError) {
      let draft = path + ".new"
      if try disk.status(draft) != nil { try disk.remove(draft) }
      let new = try disk.open(draft, .create)
      try new.write([UInt8](repeating: 0, count: Superblock.copyCount * Superblock.copySizeBytes), at: 0)
      try new.sync()
      new.close()
      let result = SuperblockFile(try disk.open(draft, .direct), block)
      try result.write(block, update: 1)
      try disk.rename(draft, to: path)
      try disk.syncDirectory(directory)
      return result
    } catch { throw .disk(error) }
  }

  /// Makes `block` the superblock, durably.
  func update(_ block: Superblock) throws(DiskError) { try write(block, update: current.update + 1) }

  private func write(_ block: Superblock, update: UInt64) throws(DiskError) {
    var block = block
    block.update = update
    for half in 0..<2 {
      for side in 0..<2 {
        let start = side * Superblock.copySizeBytes
        unsafe block.encode(
          copy: half * 2 + side,
          into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[start..<start + Superblock.copySizeBytes]))
      }
      unsafe try file.writeDurably(
        UnsafeRawBufferPointer(buffer.bytes), at: UInt64(half * 2 * Superblock.copySizeBytes))
    }
    current = block
  }

  func close() { file.close() }
}
