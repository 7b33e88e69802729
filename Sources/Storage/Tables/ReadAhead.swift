internal import Platform

/// Bytes of a file ahead of who reads all of it, in order: a merge of tables asks the system once for many blocks.
///
/// A block that lies across the end of what was read is where the next reading begins.
@safe
final class ReadAhead {
  static let sizeBytes = 128 << 10

  private let memory: UnsafeMutableRawBufferPointer
  private var start: UInt64 = 0
  private var count = 0

  init() { unsafe memory = .allocate(byteCount: Self.sizeBytes, alignment: 4096) }

  deinit { unsafe memory.deallocate() }

  /// The block's bytes as they are on disk, valid until the next call; nil where they have to be read by themselves: the
  /// block is too long for this, or the file cannot be read here.
  func bytes(of handle: BlockHandle, in reader: BlockReader) -> UnsafeRawBufferPointer? {
    let size = Int(handle.sizeBytes)
    guard size <= Self.sizeBytes, handle.offset <= reader.dataEnd, UInt64(size) <= reader.dataEnd - handle.offset else {
      return nil
    }
    if handle.offset < start || handle.offset + UInt64(size) > start + UInt64(count) {
      let room = Int(min(UInt64(Self.sizeBytes), reader.dataEnd - handle.offset))
      start = handle.offset
      count = 0
      let target = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[..<room])
      guard let got = unsafe try? reader.file.read(into: target, at: start), got >= size else { return nil }
      count = got
    }
    let place = Int(handle.offset - start)
    return unsafe UnsafeRawBufferPointer(rebasing: memory[place..<place + size])
  }
}
