/// Text that is read without the general readers: what most data is made of.
enum PlainText {
  /// Digits with a sign and nothing else, within the type's range; nil is for the general reader.
  @inline(__always)
  static func integer(_ text: Bytes, _ type: TypeID) -> Int64? {
    guard text.count > 0, text.count < 19 else { return nil }
    var index = 0
    let isNegative = text[0] == UInt8(ascii: "-")
    if isNegative { index = 1 }
    guard index < text.count else { return nil }
    var value: Int64 = 0
    while index < text.count {
      let digit = text[index] &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      value = value &* 10 &+ Int64(digit)
      index &+= 1
    }
    if isNegative { value = -value }
    switch type {
    case .int4: return Int64(Int32(truncatingIfNeeded: value)) == value ? value : nil
    case .int2: return Int64(Int16(truncatingIfNeeded: value)) == value ? value : nil
    default: return value
    }
  }

  /// ASCII without NUL needs no look at its encoding.
  @inline(__always)
  static func isASCII(_ text: Bytes) -> Bool {
    var index = 0
    while index &+ 8 <= text.count {
      let word = text.load(index, as: UInt64.self)
      // The high bit of a byte is set where it is not ASCII, or was zero and borrowed.
      if (word | (word &- 0x0101_0101_0101_0101)) & 0x8080_8080_8080_8080 != 0 { return false }
      index &+= 8
    }
    while index < text.count {
      if text[index] == 0 || text[index] >= 0x80 { return false }
      index &+= 1
    }
    return true
  }
}
