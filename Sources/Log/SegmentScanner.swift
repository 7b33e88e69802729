internal import Encoding
internal import Platform

/// The names in `log/`.
enum LogFileName: Hashable {
  case segment(UInt64)
  case spare(UInt64)
  case filling(UInt64)

  init?(_ name: String) {
    func number(_ digits: Substring) -> UInt64? {
      digits.count == 16 && digits.allSatisfy { $0.isHexDigit && !$0.isUppercase } ? UInt64(digits, radix: 16) : nil
    }
    if name.hasSuffix(".log"), let sequence = number(name.dropLast(4)) {
      self = .segment(sequence)
    } else if name.hasPrefix("spare-"), let id = number(name.dropFirst(6)) {
      self = .spare(id)
    } else if name.hasPrefix("filling-"), let id = number(name.dropFirst(8)) {
      self = .filling(id)
    } else {
      return nil
    }
  }

  var name: String {
    func hex(_ word: UInt64) -> String {
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }
    return switch self {
    case .segment(let sequence): hex(sequence) + ".log"
    case .spare(let id): "spare-" + hex(id)
    case .filling(let id): "filling-" + hex(id)
    }
  }
}

/// Turns what the system refused into an error of the log's.
func onDisk<T>(_ body: () throws(DiskError) -> T) throws(LogError) -> T {
  do throws(DiskError) { return try body() } catch { throw .disk(error) }
}

/// Reads the frames of one segment's file in order, through memory of its own, and judges what it finds.
///
/// It believes nothing: offsets and lengths are checked against the file's size before they are used.
final class SegmentScanner {
  /// What was found at an offset.
  @safe
  enum Finding {
    /// A frame whose checksum holds and that belongs to this use of the segment. The memory is valid until the next call.
    case frame(FrameHeader, checksum: UInt32, bytes: UnsafeRawBufferPointer)
    /// Something else. `isZero`: the block is all zeros. The checksums differ where a frame's header was there.
    case noFrame(isZero: Bool, reason: String, expected: UInt32, found: UInt32)
    /// The file ends here.
    case endOfFile
  }

  static let windowSizeBytes = 1 << 20

  let file: any DiskFile
  let fileSizeBytes: UInt64
  private var buffer: AlignedBuffer
  private var windowStart: UInt64 = 0
  private var windowCount = 0
  /// How much was read so far.
  private(set) var readSizeBytes: UInt64 = 0

  init(_ file: any DiskFile) throws(LogError) {
    self.file = file
    fileSizeBytes = try onDisk { () throws(DiskError) in try file.sizeBytes() }
    buffer = AlignedBuffer(sizeBytes: Int(min(UInt64(Self.windowSizeBytes), max(fileSizeBytes, 1))))
  }

  /// `count` bytes at `offset` (a multiple of the block size), or what there is of them. What is read with them goes no further
  /// than `ahead` bytes.
  func bytes(at offset: UInt64, _ count: Int, ahead: Int = .max) throws(LogError) -> UnsafeRawBufferPointer {
    let available = offset < fileSizeBytes ? Int(min(UInt64(count), fileSizeBytes - offset)) : 0
    if offset < windowStart || offset + UInt64(available) > windowStart + UInt64(windowCount) {
      let wanted = roundedToBlock(available)
      if unsafe wanted > buffer.bytes.count { buffer = AlignedBuffer(sizeBytes: wanted) }
      windowStart = offset
      windowCount = 0
      let most = roundedToBlock(max(available, min(ahead, SegmentScanner.windowSizeBytes)))
      let window = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<min(most, buffer.bytes.count)])
      do throws(DiskError) { windowCount = unsafe try file.read(into: window, at: offset) } catch {
        // A bad sector takes away what it holds, not what lies before it in the same window.
        guard error.kind == .io, unsafe roundedToBlock(available) < buffer.bytes.count else { throw .disk(error) }
        windowCount = try onDisk { () throws(DiskError) in
          unsafe try file.read(
            into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<roundedToBlock(available)]), at: offset)
        }
      }
      readSizeBytes += UInt64(windowCount)
    }
    let start = Int(offset - windowStart)
    let end = min(start + available, windowCount)
    return unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[min(start, end)..<end])
  }

  func readHeader() throws(LogError) -> SegmentHeader.Reading {
    unsafe SegmentHeader.read(try bytes(at: 0, SegmentHeader.sizeBytes))
  }

  /// What is at `offset`, for a segment with this sequence number. `salt` nil accepts any (when the header is unreadable).
  /// `ahead`: how much is read at once, unless the frame is larger.
  func find(at offset: UInt64, sequence: UInt64?, salt: UInt64?, ahead: Int = .max) throws(LogError) -> Finding {
    let first = unsafe try bytes(at: offset, logBlockSizeBytes, ahead: ahead)
    guard first.count == logBlockSizeBytes else { return .endOfFile }
    guard let header = unsafe FrameHeader(from: first) else {
      return unsafe .noFrame(isZero: isAllZero(first), reason: "no frame", expected: 0, found: 0)
    }
    let size = UInt64(FrameHeader.sizeBytes) + UInt64(header.contentSizeBytes)
    let padded = (size + UInt64(logBlockSizeBytes) - 1) / UInt64(logBlockSizeBytes) * UInt64(logBlockSizeBytes)
    guard padded <= fileSizeBytes - offset else {
      return .noFrame(isZero: false, reason: "a frame longer than its segment", expected: 0, found: 0)
    }
    guard sequence == nil || header.segment == sequence, salt == nil || header.salt == salt else {
      return .noFrame(isZero: false, reason: "a frame of a former use of the file", expected: 0, found: 0)
    }
    let whole = unsafe try bytes(at: offset, Int(padded), ahead: ahead)
    guard whole.count == Int(padded) else { return .endOfFile }
    let expected = unsafe load(UInt32.self, from: whole, at: 4)
    let found = unsafe FrameHeader.checksum(whole)
    guard expected == found else {
      return .noFrame(isZero: false, reason: "a frame with a wrong checksum", expected: expected, found: found)
    }
    return unsafe .frame(header, checksum: found, bytes: whole)
  }

  /// Where, from `start` on, a frame proves that the log once reached beyond `end` of this segment; nil where none does.
  /// `number` and `checksum` describe the frame that should have been at `end`.
  func proofOfMore(
    from start: UInt64, than end: UInt64, _ header: SegmentHeader, number: UInt64, previousChecksum: UInt32
  ) throws(LogError) -> UInt64? {
    var offset = start
    while offset < fileSizeBytes {
      switch try find(at: offset, sequence: header.sequence, salt: header.salt) {
      case .endOfFile: return nil
      case .noFrame: offset += UInt64(logBlockSizeBytes)
      case .frame(let frame, _, _):
        let provesDurability =
          frame.number > number && frame.syncedSegment == header.sequence && frame.syncedOffset > end
        let isMisplaced = frame.number == number && frame.previousChecksum == previousChecksum && offset != end
        if provesDurability || isMisplaced { return offset }
        offset += UInt64(logBlockSizeBytes)
      }
    }
    return nil
  }

  /// The last block in `start ..<` the file's end that is not all zeros, or nil.
  func lastNonZeroBlock(from start: UInt64) throws(LogError) -> UInt64? {
    var last: UInt64?
    var offset = start
    while offset < fileSizeBytes {
      let block = unsafe try bytes(at: offset, logBlockSizeBytes)
      if unsafe block.isEmpty { break }
      if unsafe !isAllZero(block) { last = offset }
      offset += UInt64(logBlockSizeBytes)
    }
    return last
  }
}
