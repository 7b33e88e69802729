// Small readers of text that the input functions share.

package enum TextScan {
  @inlinable @inline(__always) package static func isSpace(_ byte: UInt8) -> Bool {
    byte == 32 || (byte >= 9 && byte <= 13)
  }
  @inlinable @inline(__always) package static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }
  @inlinable package static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 97 < 26 }
  package static func lower(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }
  package static func hexValue(_ byte: UInt8) -> UInt8? {
    if isDigit(byte) { return byte - 48 }
    let letter = byte | 0x20
    return letter >= 97 && letter <= 102 ? letter - 87 : nil
  }

  package static func trimmed(_ text: Bytes) -> Bytes {
    var start = 0
    var end = text.count
    while start < end, isSpace(text[start]) { start += 1 }
    while end > start, isSpace(text[end - 1]) { end -= 1 }
    return text[start..<end]
  }

  /// An integer with an optional sign from `at`; the value and where it stops. Nil if there is none or |value| > limit.
  package static func signedInt(_ text: Bytes, _ at: Int, limit: Int) -> (Int, Int)? {
    var at = at
    var isNegative = false
    if at < text.count, text[at] == 45 || text[at] == 43 {
      isNegative = text[at] == 45
      at += 1
    }
    guard let (value, end) = unsignedInt(text, at, limit: limit) else { return nil }
    return (isNegative ? -value : value, end)
  }

  package static func unsignedInt(_ text: Bytes, _ at: Int, limit: Int) -> (Int, Int)? {
    var at = at
    var value = 0
    let start = at
    while at < text.count, isDigit(text[at]) {
      value = value * 10 + Int(text[at] - 48)
      if value > limit { return nil }
      at += 1
    }
    return at == start ? nil : (value, at)
  }

  /// The number of characters (Unicode scalars) in UTF-8 text.
  @inlinable package static func characterCount(_ text: Bytes) -> Int {
    var count = 0
    for byte in text where byte & 0xc0 != 0x80 { count &+= 1 }
    return count
  }

  /// The byte offset of character `n` (from 0), or the end.
  @inlinable package static func byteOffset(ofCharacter n: Int, in text: Bytes) -> Int {
    if n <= 0 { return 0 }
    var left = n
    var at = 0
    while at < text.count {
      if text[at] & 0xc0 != 0x80 {
        if left == 0 { return at }
        left -= 1
      }
      at += 1
    }
    return at
  }

  /// The bytes of the UTF-8 character that begins with `lead`.
  @inlinable package static func characterLength(_ lead: UInt8) -> Int {
    lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  }

  /// The first byte that is not valid UTF-8 (or is NUL); nil if all is well.
  package static func invalidUTF8(_ text: Bytes) -> Int? {
    var at = 0
    while at < text.count {
      let lead = text[at]
      if lead < 0x80 {
        if lead == 0 { return at }
        at += 1
        continue
      }
      let length: Int
      var low: UInt8 = 0x80
      var high: UInt8 = 0xbf
      switch lead {
      case 0xc2...0xdf: length = 2
      case 0xe0: (length, low) = (3, 0xa0)
      case 0xed: (length, high) = (3, 0x9f)
      case 0xe1...0xef: length = 3
      case 0xf0: (length, low) = (4, 0x90)
      case 0xf4: (length, high) = (4, 0x8f)
      case 0xf1...0xf3: length = 4
      default: return at
      }
      guard at + length <= text.count, text[at + 1] >= low, text[at + 1] <= high else { return at }
      for offset in 2..<max(length, 2) where text[at + offset] & 0xc0 != 0x80 { return at }
      at += length
    }
    return nil
  }

  /// Checks text that comes from outside.
  ///
  /// - Throws: character_not_in_repertoire (22021), as PostgreSQL words it.
  package static func checkUTF8(_ text: Bytes) throws(SQLError) {
    guard let at = invalidUTF8(text) else { return }
    let length = min(max(1, characterLength(text[at])), text.count - at)
    let hex = text[at..<at + length].map { "0x" + (($0 < 16 ? "0" : "") + String($0, radix: 16)) }
    throw SQLError(
      .invalidEncoding, "invalid byte sequence for encoding \"UTF8\": \(hex.joined(separator: " "))")
  }
}
