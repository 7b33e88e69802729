// How a numeric lies in a row, in an array and behind a `.bigNumeric` value.
//
//   small     byte 0: scale 0…18; then the mantissa, two's complement, little-endian, in as few bytes as hold it (0–8)
//   special   byte 0: 0x20 NaN, 0x21 infinity, 0x22 -infinity
//   large     byte 0: 0x40, or 0x41 if negative; then weight Int16, display scale UInt16, and the digits, each an Int16 in
//             0…9999, all little-endian: value = ± Σ digit[i] · 10000^(weight - i)
//
// Invariants of the large form: the first and last digits are not zero, at least one digit. A value that fits the small
// form is never written in the large one, so each numeric of a given display scale has one encoding.

package enum NumericCodec {
  /// The largest display scale of the small form.
  @usableFromInline static let smallScaleLimit = 18

  package static func packedSize(_ value: Value) -> Int {
    switch value.kind {
    case .bigNumeric: return value.bytes.count
    case .numeric where value.isFiniteSmallNumeric: return 1 + mantissaSize(value.mantissa)
    default: return 1
    }
  }

  @inline(__always) static func mantissaSize(_ mantissa: Int64) -> Int {
    if mantissa == 0 { return 0 }
    let magnitude = mantissa < 0 ? ~mantissa : mantissa
    return (64 - magnitude.leadingZeroBitCount) / 8 + 1
  }

  package static func pack(_ value: Value, into buffer: inout ByteBuffer) {
    switch value.kind {
    case .bigNumeric: buffer.append(value.bytes)
    case .numeric:
      if let special = value.numericSpecial {
        buffer.append(0x1f + special.rawValue)
        return
      }
      buffer.append(UInt8(truncatingIfNeeded: value.displayScale))
      var rest = value.mantissa
      for _ in 0..<mantissaSize(value.mantissa) {
        buffer.append(UInt8(truncatingIfNeeded: rest))
        rest >>= 8
      }
    default: preconditionFailure("not a numeric")
    }
  }

  /// The numeric in `bytes`; a large one borrows them.
  @inlinable package static func unpack(_ bytes: Bytes) throws(SQLError) -> Value {
    guard bytes.count > 0 else { throw damaged(bytes) }
    let head = bytes[0]
    if head <= 18 {
      let n = bytes.count &- 1
      guard n <= 8 else { throw damaged(bytes) }
      if n == 0 { return Value(mantissa: 0, scale: Int(head)) }
      var mantissa: UInt64 = 0
      for index in 0..<n { mantissa |= UInt64(bytes[index &+ 1]) << UInt64(8 &* index) }
      let shift = Int64(64 &- 8 &* n)
      let signed = (Int64(bitPattern: mantissa) << shift) >> shift
      // Never written: the least Int64 has no negative, so it takes the large form.
      guard signed != Int64.min else { throw damaged(bytes) }
      return Value(mantissa: signed, scale: Int(head))
    }
    return try unpackRare(bytes)
  }

  @usableFromInline @inline(never) static func unpackRare(_ bytes: Bytes) throws(SQLError) -> Value {
    switch bytes[0] {
    case 0x20: return .numericNaN
    case 0x21: return .numericInfinity
    case 0x22: return .numericNegativeInfinity
    case 0x40, 0x41:
      guard bytes.count >= 7, (bytes.count - 5) % 2 == 0 else { throw damaged(bytes) }
      return Value(packedNumeric: bytes)
    default: throw damaged(bytes)
    }
  }

  @usableFromInline @inline(never) static func damaged(_ bytes: Bytes) -> SQLError {
    RowLayout.damaged("a numeric of \(bytes.count) bytes is not in any known form")
  }
}
