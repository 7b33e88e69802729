// A frame: what is written to a segment at once. Records and control records, one after the other, each padded to 8 bytes,
// behind a header that says where and when this copy of them was written. The whole is padded with zeros to 4 KiB, so
// that no later write touches a sector that holds acknowledged bytes.
//
//   offset size field
//   0      4    magic "SYF", then the format: 1
//   4      4    CRC-32C of bytes 8 ..< padded size: header, content and padding
//   8      8    segment sequence number
//   16     8    frame number: one more than the frame before, across segments
//   24     8    salt: a random number of this use of the segment's file
//   32     4    length of the content, without header and padding
//   36     4    number of items in the content
//   40     8    synced segment  ⎫ everything before this place was durable when this frame was written
//   48     8    synced offset   ⎭
//   56     4    CRC-32C of the frame before, across segments; 0 for the first
//   60     4    history: what came before, should a frame be lost (FrameHistory)
//   64     …    items
//
// A frame at offset X of segment N is part of the log when its checksum holds, N and the salt are those of the segment's
// header, its number follows and its link (offset 56) names the frame before. Stale bytes of a recycled segment fail the
// salt; leftovers of a write that a crash cut short fail the link.
//
// Where the frame that should be at X is not, the log ended there (a torn tail: nothing from X on was acknowledged), or it
// is damaged. It is damaged if anything proves that X was once durable: a later frame of this use of the segment whose
// synced place is behind X, a frame with the very number that is missing at another place (a misdirected write), or a
// next segment. A SEAL frame after 10 ms without a write gives that proof to the last frame, too.

package import Encoding
internal import Platform

/// What a frame says of the frames before it, so that a reader can tell what kind of thing a damaged one took away.
///
///     bit 31      a sync was under way
///     bit 30      records may be missing behind the end that an earlier recovery found
///     bits 0–29   how often the end of the log was replaced or the log begun anew, modulo 2³⁰
package struct FrameHistory: Hashable, Sendable {
  package var isInSync = false
  package var isTailCertain = true
  package var rewrites: UInt32 = 0

  static let rewritesMask: UInt32 = (1 << 30) - 1

  init(isInSync: Bool, isTailCertain: Bool, rewrites: UInt32) {
    self.isInSync = isInSync
    self.isTailCertain = isTailCertain
    self.rewrites = rewrites & Self.rewritesMask
  }

  init(word: UInt32) {
    self.init(isInSync: word >> 31 == 1, isTailCertain: word >> 30 & 1 == 0, rewrites: word)
  }

  var word: UInt32 { (isInSync ? 1 << 31 : 0) | (isTailCertain ? 0 : 1 << 30) | rewrites }
}

/// The head of a frame, decoded.
package struct FrameHeader: Hashable, Sendable {
  package static let sizeBytes = 64
  static let magic: UInt32 = 0x01_46_59_53  // "SYF" 1

  package var segment: UInt64
  package var number: UInt64
  package var salt: UInt64
  package var contentSizeBytes: UInt32
  package var itemCount: UInt32
  package var syncedSegment: UInt64
  package var syncedOffset: UInt64
  package var previousChecksum: UInt32
  package var history: FrameHistory

  /// Header, content and padding.
  package var paddedSizeBytes: Int { roundedToBlock(Self.sizeBytes + Int(contentSizeBytes)) }

  /// Writes the header over the first 64 bytes of a whole frame and returns the checksum.
  func encode(into frame: UnsafeMutableRawBufferPointer) -> UInt32 {
    unsafe store(Self.magic, in: frame, at: 0)
    unsafe store(segment, in: frame, at: 8)
    unsafe store(number, in: frame, at: 16)
    unsafe store(salt, in: frame, at: 24)
    unsafe store(contentSizeBytes, in: frame, at: 32)
    unsafe store(itemCount, in: frame, at: 36)
    unsafe store(syncedSegment, in: frame, at: 40)
    unsafe store(syncedOffset, in: frame, at: 48)
    unsafe store(previousChecksum, in: frame, at: 56)
    unsafe store(history.word, in: frame, at: 60)
    let checksum = unsafe Self.checksum(UnsafeRawBufferPointer(frame))
    unsafe store(checksum, in: frame, at: 4)
    return checksum
  }

  static func checksum(_ frame: UnsafeRawBufferPointer) -> UInt32 {
    unsafe crc32c(UnsafeRawBufferPointer(rebasing: frame[8...]))
  }

  /// Reads the fields, believing none of them; nil where there is no frame of this format.
  init?(from memory: UnsafeRawBufferPointer) {
    guard memory.count >= Self.sizeBytes, unsafe load(UInt32.self, from: memory, at: 0) == Self.magic else {
      return nil
    }
    unsafe self.init(
      segment: load(from: memory, at: 8), number: load(from: memory, at: 16), salt: load(from: memory, at: 24),
      contentSizeBytes: load(from: memory, at: 32), itemCount: load(from: memory, at: 36),
      syncedSegment: load(from: memory, at: 40), syncedOffset: load(from: memory, at: 48),
      previousChecksum: load(from: memory, at: 56), history: FrameHistory(word: load(from: memory, at: 60)))
  }

  init(
    segment: UInt64, number: UInt64, salt: UInt64, contentSizeBytes: UInt32, itemCount: UInt32, syncedSegment: UInt64,
    syncedOffset: UInt64, previousChecksum: UInt32, history: FrameHistory
  ) {
    self.segment = segment
    self.number = number
    self.salt = salt
    self.contentSizeBytes = contentSizeBytes
    self.itemCount = itemCount
    self.syncedSegment = syncedSegment
    self.syncedOffset = syncedOffset
    self.previousChecksum = previousChecksum
    self.history = history
  }
}

/// One item of a frame, decoded.
package enum LogItem: Sendable {
  /// A record with its chain value; `offset` counts from the start of the frame, and names the record's header.
  case record(RecordHeader, chain: Hash128, offset: Int)
  case control(ControlRecord, offset: Int)
}

/// Walks over the items of a frame whose checksum holds. The memory is the whole frame and must outlive the walk.
@safe
struct FrameItems {
  private let frame: UnsafeRawBufferPointer
  private let end: Int
  private var offset = FrameHeader.sizeBytes
  private var left: UInt32

  init(_ frame: UnsafeRawBufferPointer, _ header: FrameHeader) {
    unsafe self.frame = unsafe frame
    end = min(frame.count, FrameHeader.sizeBytes + Int(header.contentSizeBytes))
    left = header.itemCount
  }

  /// The next item, or nil after the last. Offsets in errors count from the start of the frame.
  mutating func next() throws(DecodingError) -> LogItem? {
    guard left > 0 else {
      guard offset >= end else { throw .invalid(offset: offset, reason: "bytes after the last item of a frame") }
      return nil
    }
    left -= 1
    let start = offset
    guard end - start >= 4 else { throw .truncated(offset: start, needed: 4) }
    let rest = unsafe UnsafeRawBufferPointer(rebasing: frame[start..<end])
    do throws(DecodingError) {
      if unsafe load(UInt32.self, from: rest, at: 0) == ControlRecord.magic {
        let control = unsafe try ControlRecord(from: rest)
        try advance(control.sizeBytes)
        return .control(control, offset: start)
      }
      let header = unsafe try RecordHeader(from: rest)
      try advance(header.recordSizeBytes)
      return unsafe .record(header, chain: RecordHeader.chain(ofHeader: rest), offset: start)
    } catch {
      switch error {
      case .truncated(let offset, let needed): throw .truncated(offset: start + offset, needed: needed)
      case .badVarint(let offset): throw .badVarint(offset: start + offset)
      case .invalid(let offset, let reason): throw .invalid(offset: start + offset, reason: reason)
      }
    }
  }

  private mutating func advance(_ count: Int) throws(DecodingError) {
    guard count <= end - offset else { throw .truncated(offset: 0, needed: count - (end - offset)) }
    offset = min(end, (offset + count + 7) & ~7)
  }
}

/// A frame being composed, in aligned memory that is used again and again.
///
/// `@unchecked Sendable`: it belongs to one thread at a time; whoever passes it on synchronises.
@safe
package final class FrameBuffer: @unchecked Sendable {
  private var memory: AlignedBuffer
  private var end = FrameHeader.sizeBytes
  private(set) var items: [LogItem] = []
  /// Memory above this is given back when the frame is cleared.
  private let keptSizeBytes: Int

  package init(capacitySizeBytes: Int = 64 << 10) {
    memory = AlignedBuffer(sizeBytes: capacitySizeBytes)
    keptSizeBytes = unsafe max(memory.bytes.count, 4 << 20)
    items.reserveCapacity(16)
  }

  package var isEmpty: Bool { items.isEmpty }
  /// What the frame will take in the file.
  package var paddedSizeBytes: Int { roundedToBlock(end) }

  /// Forgets the content and keeps the memory.
  package func removeAll() {
    items.removeAll(keepingCapacity: true)
    end = FrameHeader.sizeBytes
    if unsafe memory.bytes.count > keptSizeBytes { memory = AlignedBuffer(sizeBytes: keptSizeBytes) }
  }

  private func reserve(_ count: Int) {
    let needed = roundedToBlock(end + count + 8)
    guard unsafe needed > memory.bytes.count else { return }
    let larger = unsafe AlignedBuffer(sizeBytes: max(needed, memory.bytes.count * 2))
    unsafe larger.bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory.bytes[0..<end]))
    memory = larger
  }

  /// Zeros up to the next multiple of 8, after `count` bytes were added.
  private func finishItem(_ count: Int) {
    let next = (end + count + 7) & ~7
    for offset in end + count..<next { unsafe memory.bytes[offset] = 0 }
    end = next
  }

  /// Builds a record at the end of the frame. `header` gets its lengths and hash; returns the chain value.
  package func append(
    _ header: inout RecordHeader, payload: UnsafeRawBufferPointer, using builder: inout RecordBuilder
  ) -> Hash128 {
    let bound = RecordBuilder.bound(payload.count)
    reserve(bound)
    let room = unsafe UnsafeMutableRawBufferPointer(rebasing: memory.bytes[end..<end + bound])
    let chain = unsafe builder.build(&header, payload: payload, into: room)
    items.append(.record(header, chain: chain, offset: end))
    finishItem(header.recordSizeBytes)
    return chain
  }

  /// Appends a record's bytes as another node made them, after checking header and payload.
  package func append(stored record: UnsafeRawBufferPointer) throws(DecodingError) {
    let header = unsafe try RecordHeader(from: record)
    guard record.count == header.recordSizeBytes else {
      throw .invalid(offset: 0, reason: "record of \(header.recordSizeBytes) bytes in \(record.count)")
    }
    unsafe try header.verify(payload: UnsafeRawBufferPointer(rebasing: record[RecordHeader.sizeBytes...]))
    reserve(record.count)
    unsafe UnsafeMutableRawBufferPointer(rebasing: memory.bytes[end..<end + record.count]).copyMemory(from: record)
    items.append(unsafe .record(header, chain: RecordHeader.chain(ofHeader: record), offset: end))
    finishItem(record.count)
  }

  /// Appends the bytes of a record to put in the place of a damaged copy; checks header and payload. Of a run of damaged
  /// records the last goes first: what follows proves it, and it proves the one before.
  package func append(repairing record: UnsafeRawBufferPointer) throws(DecodingError) {
    append(.repair(unsafe try RecordHeader(from: record).slot))
    do throws(DecodingError) { unsafe try append(stored: record) } catch {
      if case .control(.repair, let offset) = items.removeLast() { end = offset }
      throw error
    }
  }

  package func append(_ control: ControlRecord) {
    reserve(control.sizeBytes)
    unsafe control.encode(into: UnsafeMutableRawBufferPointer(rebasing: memory.bytes[end..<end + control.sizeBytes]))
    items.append(.control(control, offset: end))
    finishItem(control.sizeBytes)
  }

  /// Completes the frame for its place; returns the bytes to write and their checksum.
  func seal(_ header: FrameHeader) -> (bytes: UnsafeRawBufferPointer, checksum: UInt32) {
    var header = header
    header.contentSizeBytes = UInt32(end - FrameHeader.sizeBytes)
    header.itemCount = UInt32(items.count)
    let size = paddedSizeBytes
    let whole = unsafe UnsafeMutableRawBufferPointer(rebasing: memory.bytes[0..<size])
    if size > end {
      unsafe UnsafeMutableRawBufferPointer(rebasing: whole[end...]).initializeMemory(as: UInt8.self, repeating: 0)
    }
    let checksum = unsafe header.encode(into: whole)
    return (bytes: UnsafeRawBufferPointer(whole), checksum: checksum)
  }

  /// The stored bytes of the record at `offset` of the frame.
  package func recordBytes(at offset: Int, _ header: RecordHeader) -> UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(rebasing: memory.bytes[offset..<offset + header.recordSizeBytes])
  }
}
