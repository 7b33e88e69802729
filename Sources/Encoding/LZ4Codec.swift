internal import CLZ4

/// LZ4 blocks (lz4.org's block format, without the frame format), through liblz4.
package enum LZ4Codec {
  /// The most bytes that one block may hold before compression.
  package static let maximumInputSizeBytes = 0x7E00_0000

  /// The most bytes that `count` bytes can grow to.
  package static func bound(_ count: Int) -> Int {
    precondition(count <= maximumInputSizeBytes)
    return Int(LZ4_compressBound(Int32(count)))
  }

  /// Compresses `source` into `destination`.
  ///
  /// - Returns: the number of bytes written, or nil where they do not fit (which callers use to say "not worth it").
  package static func compress(_ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer)
    -> Int?
  {
    guard source.count <= maximumInputSizeBytes, let target = destination.baseAddress else { return nil }
    let written = unsafe LZ4_compress_default(
      source.baseAddress?.assumingMemoryBound(to: CChar.self), target.assumingMemoryBound(to: CChar.self),
      Int32(source.count), Int32(clamping: destination.count))
    return written > 0 ? Int(written) : nil
  }

  /// Decompresses `source`, which must yield exactly `destination.count` bytes. Any other input, however hostile, is an
  /// error: nothing is read or written out of bounds.
  package static func decompress(
    _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
  ) throws(DecodingError) {
    guard source.count <= Int(Int32.max), destination.count <= Int(Int32.max) else {
      throw .invalid(offset: 0, reason: "LZ4 block too large")
    }
    let written = unsafe LZ4_decompress_safe(
      source.baseAddress?.assumingMemoryBound(to: CChar.self),
      destination.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(source.count), Int32(destination.count))
    guard Int(written) == destination.count else {
      throw .invalid(offset: 0, reason: "malformed LZ4 block (wanted \(destination.count) bytes, got \(written))")
    }
  }

  /// The compressed form of `bytes`.
  package static func compress(_ bytes: [UInt8]) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: bound(bytes.count)) { buffer, count in
      count = unsafe bytes.withUnsafeBytes { unsafe compress($0, into: UnsafeMutableRawBufferPointer(buffer)) ?? 0 }
    }
  }
}
