internal import Encoding
internal import Platform

/// Reads blocks of one file, and believes nothing: handle against the file's size, hash against the handle's and the
/// trailer's, announced size against what the bytes can yield.
struct BlockReader {
  let file: any DiskFile
  /// Where the footer begins.
  let dataEnd: UInt64
  let table: UInt64

  /// The block in memory, with one reference that is the caller's.
  func read(_ handle: BlockHandle, _ what: String) throws(StorageError) -> UnsafeMutablePointer<CachedBlock> {
    let size = Int(handle.sizeBytes)
    guard size >= TableFormat.trailerSizeBytes, handle.offset <= dataEnd, UInt64(size) <= dataEnd - handle.offset else {
      throw damage(handle.offset, "\(what) (its handle leads beyond the file's end)")
    }
    let raw = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
    defer { unsafe raw.deallocate() }
    do throws(DiskError) {
      let got = unsafe try file.read(into: raw, at: handle.offset)
      guard got == size else { throw DiskError(.io, operation: "read all of a block of", path: file.path) }
    } catch { throw .disk(error) }
    return unsafe try unpack(UnsafeRawBufferPointer(raw), handle, what)
  }

  /// Checks the bytes of a block as they are on disk, and makes the block.
  func unpack(
    _ raw: UnsafeRawBufferPointer, _ handle: BlockHandle, _ what: String
  ) throws(StorageError) -> UnsafeMutablePointer<CachedBlock> {
    let payload = raw.count - TableFormat.trailerSizeBytes
    let actual = unsafe xxh3(UnsafeRawBufferPointer(rebasing: raw[..<(payload + 5)]))
    guard actual == handle.hash else {
      throw damage(handle.offset, what, expected: handle.hash, found: actual)
    }
    let stored = UInt64(littleEndian: unsafe raw.loadUnaligned(fromByteOffset: payload + 5, as: UInt64.self))
    guard stored == actual else {
      throw damage(handle.offset, "\(what) (its trailer)", expected: stored, found: actual)
    }
    let codec = unsafe raw[payload]
    let size = Int(UInt32(littleEndian: unsafe raw.loadUnaligned(fromByteOffset: payload + 1, as: UInt32.self)))
    let most = codec == TableFormat.codecRaw ? payload : payload * 255 + 64
    guard codec <= TableFormat.codecLZ4, size <= most, size <= TableFormat.maximumBlockSizeBytes,
      codec == TableFormat.codecLZ4 || size == payload
    else { throw damage(handle.offset, "\(what) (codec \(codec), \(size) bytes from \(payload))") }
    let block = unsafe CachedBlock.allocate(table: table, offset: handle.offset, sizeBytes: size)
    let source = unsafe UnsafeRawBufferPointer(rebasing: raw[..<payload])
    let target = unsafe UnsafeMutableRawBufferPointer(start: block.bytes, count: size)
    if codec == TableFormat.codecRaw {
      unsafe target.copyMemory(from: source)
      return unsafe block
    }
    do throws(DecodingError) { unsafe try LZ4Codec.decompress(source, into: target) } catch {
      unsafe block.release()
      throw damage(handle.offset, "\(what) (\(error))")
    }
    return unsafe block
  }

  @inline(never)
  func damage(_ offset: UInt64, _ what: String, expected: UInt64 = 0, found: UInt64 = 0) -> StorageError {
    .corruption(.init(path: file.path, offset: offset, what: what, expected: expected, found: found))
  }
}
