/// Why bytes could not be decoded. `offset` counts from the start of what was being read.
package enum DecodingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// `needed` more bytes were announced than there are.
  case truncated(offset: Int, needed: Int)
  /// A variable-length integer that does not end or does not fit.
  case badVarint(offset: Int)
  /// A field has a value that the format does not allow.
  case invalid(offset: Int, reason: String)

  package var description: String {
    switch self {
    case .truncated(let offset, let needed): "\(needed) bytes missing at offset \(offset)"
    case .badVarint(let offset): "malformed variable-length integer at offset \(offset)"
    case .invalid(let offset, let reason): "\(reason) at offset \(offset)"
    }
  }
}

/// Reads integers and bytes, little endian, and never beyond the end: every read is checked, and nothing that the
/// input says about lengths is believed before it is compared with what is there.
///
/// The memory must stay valid and unchanged for as long as the reader and what it hands out are used.
@frozen
@unsafe
package struct ByteReader {
  package let bytes: UnsafeRawBufferPointer
  package var offset: Int

  @inlinable
  package init(_ bytes: UnsafeRawBufferPointer, offset: Int = 0) {
    unsafe self.bytes = unsafe bytes
    unsafe self.offset = offset
  }

  @inlinable package var remaining: Int { unsafe bytes.count - offset }
  @inlinable package var isAtEnd: Bool { unsafe offset >= bytes.count }

  @inlinable
  package mutating func readByte() throws(DecodingError) -> UInt8 {
    guard unsafe offset < bytes.count else { throw .truncated(offset: unsafe offset, needed: 1) }
    defer { unsafe offset += 1 }
    return unsafe bytes[offset]
  }

  /// Reads a fixed-width integer, little endian.
  @inlinable
  package mutating func readInteger<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(DecodingError) -> T {
    let size = MemoryLayout<T>.size
    guard unsafe remaining >= size else { throw .truncated(offset: unsafe offset, needed: size - (unsafe remaining)) }
    defer { unsafe offset += size }
    return unsafe T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  /// Reads a fixed-width integer, big endian.
  @inlinable
  package mutating func readBigEndian<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(DecodingError) -> T {
    unsafe try readInteger(T.self).byteSwapped
  }

  @inlinable
  package mutating func readHash() throws(DecodingError) -> Hash128 {
    unsafe Hash128(low: try readInteger(), high: try readInteger())
  }

  /// Reads an unsigned LEB128 integer.
  @inlinable
  package mutating func readVarint() throws(DecodingError) -> UInt64 {
    let start = unsafe offset
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while unsafe offset < bytes.count {
      let byte = unsafe bytes[offset]
      unsafe offset += 1
      if shift == 63 && byte > 1 { break }
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
      shift += 7
      if shift > 63 { break }
    }
    throw unsafe offset >= bytes.count && shift <= 63
      ? .truncated(offset: start, needed: 1) : .badVarint(offset: start)
  }

  /// Reads `count` bytes without copying.
  @inlinable
  package mutating func readBytes(_ count: Int) throws(DecodingError) -> UnsafeRawBufferPointer {
    guard unsafe count >= 0 && count <= remaining else {
      throw .truncated(offset: unsafe offset, needed: unsafe count < 0 ? 0 : count - remaining)
    }
    defer { unsafe offset += count }
    return unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
  }

  /// Reads `varint length` and that many bytes without copying.
  @inlinable
  package mutating func readLengthPrefixed() throws(DecodingError) -> UnsafeRawBufferPointer {
    let start = unsafe offset
    let length = unsafe try readVarint()
    guard length <= UInt64(unsafe remaining) else {
      throw .truncated(offset: start, needed: Int(clamping: length) - (unsafe remaining))
    }
    return unsafe try readBytes(Int(length))
  }
}
