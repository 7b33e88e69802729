public import Glibc

// Memory-comparable keys: bytes whose unsigned lexicographic order (memcmp, shorter first) is the order of the values.
//
//   unsigned integer   big endian, fixed width
//   signed integer     big endian with the sign bit flipped
//   double             IEEE bits, big endian; sign bit flipped when positive, all bits flipped when negative;
//                      -0 is written as +0, every NaN as one NaN above +infinity
//   bytes              each 00 becomes 00 FF, then the terminator 00 01, so that a prefix sorts first
//                      and what follows in a composite key never mixes with it
//   descending         every byte of the ascending form complemented
//
// 1. Encodings are self-delimiting: composite keys are concatenations, and decoding needs only the types.
// 2. Equal values have equal encodings; a < b exactly when encode(a) precedes encode(b).
// 3. No encoding is a proper prefix of another of the same type.

/// Appends memory-comparable forms.
extension ByteWriter {
  @inlinable
  package mutating func append(key value: Int64) { append(bigEndian: UInt64(bitPattern: value) ^ (1 << 63)) }

  @inlinable
  package mutating func append(key value: UInt64) { append(bigEndian: value) }

  package mutating func append(key value: Double) {
    let canonical = value == 0 ? 0.0 : value.isNaN ? Double.nan : value
    let bits = canonical.bitPattern
    append(bigEndian: bits >> 63 == 1 ? ~bits : bits | (1 << 63))
  }

  /// Appends escaped, terminated bytes.
  package mutating func append(key value: UnsafeRawBufferPointer) {
    for index in 0..<value.count {
      let byte = unsafe value[index]
      append(byte)
      if byte == 0 { append(0xFF as UInt8) }
    }
    append(0 as UInt8)
    append(1 as UInt8)
  }

  /// Complements everything from `start` on: turns the ascending form just written into the descending one.
  package mutating func complement(from start: Int) {
    for index in start..<bytes.count { bytes[index] = ~bytes[index] }
  }
}

extension ByteReader {
  package mutating func readKeyInt64(descending: Bool = false) throws(DecodingError) -> Int64 {
    Int64(bitPattern: unsafe try readKeyUInt64(descending: descending) ^ (1 << 63))
  }

  package mutating func readKeyUInt64(descending: Bool = false) throws(DecodingError) -> UInt64 {
    let word = unsafe try readBigEndian(UInt64.self)
    return descending ? ~word : word
  }

  package mutating func readKeyDouble(descending: Bool = false) throws(DecodingError) -> Double {
    let word = unsafe try readKeyUInt64(descending: descending)
    return Double(bitPattern: word >> 63 == 1 ? word & ~(1 << 63) : ~word)
  }

  /// Reads escaped, terminated bytes and appends them, unescaped, to `output`.
  package mutating func readKeyBytes(descending: Bool = false, into output: inout [UInt8]) throws(DecodingError) {
    let mask: UInt8 = descending ? 0xFF : 0
    while true {
      let byte = unsafe try readByte() ^ mask
      guard byte == 0 else {
        output.append(byte)
        continue
      }
      switch unsafe try readByte() ^ mask {
      case 0xFF: output.append(0)
      case 0x01: return
      default: throw .invalid(offset: unsafe offset - 1, reason: "bad escape in a key")
      }
    }
  }
}

/// Compares two byte strings as keys: memcmp, then the shorter first. Negative, zero or positive.
@inlinable
package func compareKeys(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
  let common = min(a.count, b.count)
  if common > 0 {
    let order = unsafe memcmp(a.baseAddress!, b.baseAddress!, common)
    if order != 0 { return Int(order) }
  }
  return a.count - b.count
}

/// The smallest key after every key that starts with `prefix`, or nil where there is none (all bytes FF).
package func keyAfterPrefix(_ prefix: [UInt8]) -> [UInt8]? {
  guard let last = prefix.lastIndex(where: { $0 != 0xFF }) else { return nil }
  var end = Array(prefix[...last])
  end[last] += 1
  return end
}
