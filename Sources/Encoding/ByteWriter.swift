/// Appends integers and bytes, little endian, to a growing buffer that is kept between uses.
///
/// `removeAll()` keeps the memory, so a writer that is reused does not allocate in the steady state.
@frozen
package struct ByteWriter: Sendable {
  package var bytes: [UInt8]

  @inlinable
  package init(capacity: Int = 0) {
    bytes = []
    bytes.reserveCapacity(capacity)
  }

  @inlinable package var count: Int { bytes.count }

  /// Forgets the content and keeps the memory.
  @inlinable
  package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  @inlinable
  package mutating func append(_ byte: UInt8) { bytes.append(byte) }

  @inlinable
  package mutating func append(_ other: [UInt8]) { bytes.append(contentsOf: other) }

  @inlinable
  package mutating func append(_ other: UnsafeRawBufferPointer) { unsafe bytes.append(contentsOf: other) }

  @inlinable
  package mutating func append(utf8 string: String) { bytes.append(contentsOf: string.utf8) }

  /// Appends a fixed-width integer, little endian.
  @inlinable
  package mutating func append<T: FixedWidthInteger>(integer: T) {
    unsafe withUnsafeBytes(of: integer.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }

  /// Appends a fixed-width integer, big endian (the order in which bytes compare like numbers).
  @inlinable
  package mutating func append<T: FixedWidthInteger>(bigEndian integer: T) {
    unsafe withUnsafeBytes(of: integer.bigEndian) { unsafe bytes.append(contentsOf: $0) }
  }

  /// Appends a hash, low word first.
  @inlinable
  package mutating func append(hash: Hash128) {
    append(integer: hash.low)
    append(integer: hash.high)
  }

  /// Appends an unsigned LEB128 integer: seven bits a byte, low first, 1–10 bytes.
  @inlinable
  package mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  /// Appends `varint length` and the bytes.
  @inlinable
  package mutating func append(lengthPrefixed other: UnsafeRawBufferPointer) {
    append(varint: UInt64(other.count))
    unsafe append(other)
  }

  /// Appends `varint length` and the bytes.
  @inlinable
  package mutating func append(lengthPrefixed other: [UInt8]) {
    append(varint: UInt64(other.count))
    append(other)
  }

  /// Overwrites the fixed-width integer at `offset`, little endian. The place must have been written before.
  @inlinable
  package mutating func patch<T: FixedWidthInteger>(integer: T, at offset: Int) {
    precondition(offset >= 0 && offset + MemoryLayout<T>.size <= bytes.count)
    var value = integer.littleEndian
    for index in 0..<MemoryLayout<T>.size {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value)
      value = MemoryLayout<T>.size == 1 ? 0 : value >> 8
    }
  }
}

/// The number of bytes that `value` takes as an unsigned LEB128 integer.
@inlinable
package func varintLength(_ value: UInt64) -> Int {
  value == 0 ? 1 : (70 - value.leadingZeroBitCount) / 7
}
