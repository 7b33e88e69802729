// The key form of a numeric: equal numbers, whatever their display scale, have equal bytes, and bytes order as numbers.
//
//   class    0x10 -infinity   0x20 negative   0x30 zero   0x40 positive   0x50 infinity   0x60 NaN
//   then, for positive and negative, with |v| = 0.d1 d2 d3 … · 100^e, digits in base 100, d1 and the last not zero:
//   e        one byte e + 0x60 when -0x40 ≤ e ≤ 0x5f; else 0x10 (e below) or 0xd0 (e above) and e + 0x800000 in 3 bytes
//   digits   2·d + 1, the last one 2·d: so the shorter of two numbers that agree so far sorts first
// For a negative number every byte after the class is inverted.
//
// A small integer thus takes three to five bytes.

enum NumericKey {
  static func append(_ value: Value, to buffer: inout ByteBuffer) {
    if let special = value.numericSpecial {
      buffer.append(special == .nan ? 0x60 as UInt8 : special == .infinity ? 0x50 : 0x10)
      return
    }
    if value.kind == .numeric {
      appendSmall(value.mantissa, value.displayScale, &buffer)
    } else {
      appendLarge(NumericVariable(value), &buffer)
    }
  }

  private static func appendSmall(_ mantissa: Int64, _ scale: Int, _ buffer: inout ByteBuffer) {
    guard mantissa != 0 else {
      buffer.append(0x30 as UInt8)
      return
    }
    // An even number of decimals, then pairs of digits from the right.
    var magnitude = UInt128(mantissa.magnitude)
    var pairsAfterPoint = scale / 2
    if scale % 2 == 1 {
      magnitude *= 10
      pairsAfterPoint += 1
    }
    var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
    var count = 0
    // The digits, least significant first, packed eight to a word.
    func set(_ index: Int, _ digit: UInt64) {
      let shift = UInt64(index % 8 * 8)
      switch index / 8 {
      case 0: digits.0 |= digit << shift
      case 1: digits.1 |= digit << shift
      default: digits.2 |= digit << shift
      }
    }
    func get(_ index: Int) -> UInt8 {
      let word = index / 8 == 0 ? digits.0 : index / 8 == 1 ? digits.1 : digits.2
      return UInt8(truncatingIfNeeded: word >> UInt64(index % 8 * 8))
    }
    while magnitude != 0 {
      set(count, UInt64(magnitude % 100))
      magnitude /= 100
      count += 1
    }
    var low = 0
    while get(low) == 0 { low += 1 }
    let isNegative = mantissa < 0
    begin(isNegative, exponent: count - pairsAfterPoint, &buffer)
    let flip: UInt8 = isNegative ? 0xff : 0
    var index = count - 1
    while index >= low {
      buffer.append((get(index) * 2 + (index > low ? 1 : 0)) ^ flip)
      index -= 1
    }
  }

  private static func begin(_ isNegative: Bool, exponent: Int, _ buffer: inout ByteBuffer) {
    buffer.append(isNegative ? 0x20 as UInt8 : 0x40)
    let flip: UInt8 = isNegative ? 0xff : 0
    if exponent >= -0x40, exponent <= 0x5f {
      buffer.append(UInt8(exponent + 0x60) ^ flip)
    } else {
      let biased = exponent + 0x800000
      buffer.append((exponent < 0 ? 0x10 as UInt8 : 0xd0) ^ flip)
      buffer.append(UInt8(truncatingIfNeeded: biased >> 16) ^ flip)
      buffer.append(UInt8(truncatingIfNeeded: biased >> 8) ^ flip)
      buffer.append(UInt8(truncatingIfNeeded: biased) ^ flip)
    }
  }

  private static func appendLarge(_ variable: NumericVariable, _ buffer: inout ByteBuffer) {
    guard !variable.isZero else {
      buffer.append(0x30 as UInt8)
      return
    }
    var pairs: [UInt8] = []
    pairs.reserveCapacity(variable.digits.count * 2)
    for digit in variable.digits {
      pairs.append(UInt8(digit / 100))
      pairs.append(UInt8(digit % 100))
    }
    var exponent = (variable.weight + 1) * 2
    var first = 0
    if pairs[0] == 0 {
      first = 1
      exponent -= 1
    }
    var end = pairs.count
    while end > first + 1, pairs[end - 1] == 0 { end -= 1 }
    begin(variable.isNegative, exponent: exponent, &buffer)
    let flip: UInt8 = variable.isNegative ? 0xff : 0
    for index in first..<end { buffer.append((pairs[index] * 2 + (index + 1 < end ? 1 : 0)) ^ flip) }
  }

  /// The number, shown with `scale` decimals, or as few as it needs.
  static func decode(_ key: Bytes, _ offset: inout Int, scale: Int?, _ arena: Arena) throws(SQLError) -> Value {
    func byte(_ flip: UInt8) throws(SQLError) -> UInt8 {
      guard offset < key.count else { throw KeyCodec.damaged() }
      offset += 1
      return key[offset - 1] ^ flip
    }
    let kind = try byte(0)
    switch kind {
    case 0x10: return .numericNegativeInfinity
    case 0x30: return Value(mantissa: 0, scale: min(max(scale ?? 0, 0), 18))
    case 0x50: return .numericInfinity
    case 0x60: return .numericNaN
    case 0x20, 0x40: break
    default: throw KeyCodec.damaged()
    }
    let flip: UInt8 = kind == 0x20 ? 0xff : 0
    let head = try byte(flip)
    var exponent = Int(head) - 0x60
    if head == 0x10 || head == 0xd0 {
      exponent = Int(try byte(flip)) << 16
      exponent |= Int(try byte(flip)) << 8
      exponent |= Int(try byte(flip))
      exponent -= 0x800000
    }
    var pairs: [UInt8] = []
    while true {
      let digit = try byte(flip)
      guard digit < 200 else { throw KeyCodec.damaged() }
      pairs.append(digit >> 1)
      if digit & 1 == 0 { break }
      guard pairs.count < 1 << 18 else { throw KeyCodec.damaged() }
    }
    var variable = NumericVariable()
    variable.isNegative = kind == 0x20
    if exponent & 1 != 0 {
      pairs.insert(0, at: 0)
      exponent += 1
    }
    if pairs.count % 2 == 1 { pairs.append(0) }
    variable.weight = exponent / 2 - 1
    guard variable.weight <= NumericVariable.maximumWeight, variable.weight >= -5000 else { throw KeyCodec.damaged() }
    for index in stride(from: 0, to: pairs.count, by: 2) {
      variable.digits.append(Int16(pairs[index]) * 100 + Int16(pairs[index + 1]))
    }
    variable.normalize()
    variable.displayScale = max(Numeric.minimumScale(variable), scale ?? 0)
    return Numeric.make(variable, arena)
  }
}
