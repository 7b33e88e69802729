/// What a token says: names folded and unquoted, strings decoded.
extension Lexer {
  /// The token as it stands in the text.
  func source(_ token: Token) -> String { string(Int(token.start)..<Int(token.end)) }

  @inline(__always)
  func string(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

  /// The name that an identifier or a keyword stands for, at most 63 bytes of it.
  func name(_ token: Token) throws(SyntaxError) -> String {
    let range = Int(token.start)..<Int(token.end)
    if token.kind == .keyword, let keyword = token.keyword { return keyword.text }
    switch token.form {
    case .plain where bytes[range.lowerBound] == UInt8(ascii: "\""):
      return string(truncated(range.lowerBound + 1..<range.upperBound - 1))
    case .plain:
      return string(truncated(range))
    case .folded:
      return String(folding: bytes[truncated(range)])
    case .unicode:
      return clip(try unicode(token, quote: UInt8(ascii: "\"")))
    default:
      return clip(undouble(range.lowerBound + 1..<range.upperBound - 1, quote: UInt8(ascii: "\"")))
    }
  }

  /// The value of a string token.
  func value(_ token: Token) throws(SyntaxError) -> String {
    let start = Int(token.start)
    let end = Int(token.end)
    switch token.form {
    case .plain, .folded: return string(start + 1..<end - 1)
    case .doubled: return undouble(start + 1..<end - 1, quote: UInt8(ascii: "'"))
    case .dollar:
      var tag = start + 1
      while bytes[tag] != UInt8(ascii: "$") { tag += 1 }
      let length = tag + 1 - start
      return string(start + length..<end - length)
    case .escaped: return try unescape(token)
    case .unicode: return try unicode(token, quote: UInt8(ascii: "'"))
    }
  }

  /// The first 63 bytes of a name, less a character cut in half.
  private func truncated(_ range: Range<Int>) -> Range<Int> {
    guard range.count > Syntax.Limits.identifierBytes else { return range }
    var end = range.lowerBound + Syntax.Limits.identifierBytes
    while bytes[end] & 0xC0 == 0x80 { end -= 1 }
    return range.lowerBound..<end
  }

  private func clip(_ name: String) -> String {
    guard name.utf8.count > Syntax.Limits.identifierBytes else { return name }
    let bytes = Array(name.utf8)
    var end = Syntax.Limits.identifierBytes
    while bytes[end] & 0xC0 == 0x80 { end -= 1 }
    return String(decoding: bytes[..<end], as: UTF8.self)
  }

  /// Text between quotes, with doubled quotes made one and continuations joined.
  private func undouble(_ range: Range<Int>, quote: UInt8) -> String {
    var result: [UInt8] = []
    result.reserveCapacity(range.count)
    var offset = range.lowerBound
    while offset < range.upperBound {
      let byte = bytes[offset]
      offset += 1
      if byte == quote {
        if bytes[offset] == quote {
          offset += 1
        } else if let more = continuation(after: offset) {
          offset = more
          continue
        }
      }
      result.append(byte)
    }
    return String(decoding: result, as: UTF8.self)
  }

  // MARK: E'…'

  private func unescape(_ token: Token) throws(SyntaxError) -> String {
    var offset = Int(token.start) + 2
    let end = Int(token.end) - 1
    var result: [UInt8] = []
    result.reserveCapacity(end - offset)
    var mustCheck = false
    while offset < end {
      let byte = bytes[offset]
      offset += 1
      if byte == UInt8(ascii: "'") {
        if bytes[offset] == byte {
          offset += 1
          result.append(byte)
        } else if let more = continuation(after: offset) {
          offset = more
        }
      } else if byte == UInt8(ascii: "\\"), offset < end {
        try escape(&offset, end, into: &result, &mustCheck)
      } else {
        result.append(byte)
      }
    }
    if mustCheck { try UTF8Check.check(result) }
    return String(decoding: result, as: UTF8.self)
  }

  /// One escape; `offset` is after the backslash.
  private func escape(_ offset: inout Int, _ end: Int, into result: inout [UInt8], _ mustCheck: inout Bool)
    throws(SyntaxError)
  {
    let start = offset - 1
    let byte = bytes[offset]
    offset += 1
    switch byte {
    case UInt8(ascii: "b"): result.append(8)
    case UInt8(ascii: "f"): result.append(12)
    case UInt8(ascii: "n"): result.append(10)
    case UInt8(ascii: "r"): result.append(13)
    case UInt8(ascii: "t"): result.append(9)
    case UInt8(ascii: "v"): result.append(11)
    case UInt8(ascii: "0")...UInt8(ascii: "7"):
      var value = Int(byte) - 48
      var digits = 1
      while digits < 3, offset < end, bytes[offset] &- 48 < 8 {
        value = value * 8 + Int(bytes[offset]) - 48
        offset += 1
        digits += 1
      }
      result.append(UInt8(truncatingIfNeeded: value))
      mustCheck = true
    case UInt8(ascii: "x"):
      guard offset < end, var value = hexDigit(bytes[offset]) else {
        result.append(byte)
        return
      }
      offset += 1
      if offset < end, let low = hexDigit(bytes[offset]) {
        value = value * 16 + low
        offset += 1
      }
      result.append(UInt8(truncatingIfNeeded: value))
      mustCheck = true
    case UInt8(ascii: "u"), UInt8(ascii: "U"):
      let hint = "Unicode escapes must be \\uXXXX or \\UXXXXXXXX."
      let first = try hex(&offset, end, digits: byte == UInt8(ascii: "u") ? 4 : 8, start, hint)
      guard first & 0xFFFF_FC00 == 0xD800 else { return try append(first, start, to: &result) }
      // The first of a surrogate pair: the second must follow.
      guard offset + 1 < end, bytes[offset] == UInt8(ascii: "\\"), bytes[offset + 1] | 0x20 == UInt8(ascii: "u") else {
        throw surrogate(near: offset)
      }
      let digits = bytes[offset + 1] == UInt8(ascii: "u") ? 4 : 8
      offset += 2
      let second = try hex(&offset, end, digits: digits, offset - 2, hint)
      guard second & 0xFFFF_FC00 == 0xDC00 else { throw surrogate(near: offset) }
      try appendPair(first, second, start, to: &result)
    default:
      result.append(byte)
    }
  }

  // MARK: U&

  /// `U&'d\0061t\+000061'`, with the escape character that UESCAPE names.
  private func unicode(_ token: Token, quote: UInt8) throws(SyntaxError) -> String {
    var end = Int(token.end) - 1
    var escape = UInt8(ascii: "\\")
    let closing = closingQuote(token, quote)
    if closing != end {
      escape = bytes[end - 1]
      end = closing
    }
    let hint = "Unicode escapes must be \\XXXX or \\+XXXXXX."
    let text = Array(undouble(Int(token.start) + 3..<end, quote: quote).utf8)
    var result: [UInt8] = []
    var offset = 0
    var high: UInt32?
    // Blame is placed by bytes, as PostgreSQL counts them here.
    let first = Int(token.start) + 3
    while offset < text.count {
      let place = first + offset
      if text[offset] != escape || (offset + 1 < text.count && text[offset + 1] == escape) {
        if high != nil { throw surrogate(place) }
        offset += text[offset] == escape ? 2 : 1
        result.append(text[offset - 1])
        continue
      }
      let long = offset + 1 < text.count && text[offset + 1] == UInt8(ascii: "+")
      let digits = offset + (long ? 2 : 1)..<offset + (long ? 8 : 5)
      guard digits.upperBound <= text.count else { throw badUnicode(place, hint) }
      var code: UInt32 = 0
      for byte in text[digits] {
        guard let digit = hexDigit(byte) else { throw badUnicode(place, hint) }
        code = code * 16 + digit
      }
      offset = digits.upperBound
      if let leading = high {
        high = nil
        try appendPair(leading, code, place, to: &result)
      } else if code & 0xFFFF_FC00 == 0xD800 {
        high = code
      } else {
        try append(code, place, to: &result)
      }
    }
    if high != nil { throw surrogate(first + offset) }
    return String(decoding: result, as: UTF8.self)
  }

  /// Where the quoted text of a `U&` token ends: before UESCAPE, if that was written.
  private func closingQuote(_ token: Token, _ quote: UInt8) -> Int {
    var offset = Int(token.start) + 3
    while offset < Int(token.end) {
      if bytes[offset] == quote {
        if bytes[offset + 1] == quote {
          offset += 2
          continue
        }
        guard quote == UInt8(ascii: "'"), let more = continuation(after: offset + 1) else { return offset }
        offset = more
        continue
      }
      offset += 1
    }
    return Int(token.end) - 1
  }

  // MARK: Code points

  private func hexDigit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case 48...57: UInt32(byte) - 48
    case 65...70: UInt32(byte) - 55
    case 97...102: UInt32(byte) - 87
    default: nil
    }
  }

  private func hex(_ offset: inout Int, _ end: Int, digits: Int, _ start: Int, _ hint: String) throws(SyntaxError)
    -> UInt32
  {
    var value: UInt32 = 0
    for _ in 0..<digits {
      guard offset < end, let digit = hexDigit(bytes[offset]) else { throw badEscape(start, hint) }
      value = value << 4 | digit
      offset += 1
    }
    return value
  }

  private func appendPair(_ first: UInt32, _ second: UInt32, _ start: Int, to result: inout [UInt8]) throws(SyntaxError)
  {
    guard second & 0xFFFF_FC00 == 0xDC00 else { throw surrogate(start) }
    try append(0x1_0000 + ((first & 0x3FF) << 10) + (second & 0x3FF), start, to: &result)
  }

  private func append(_ code: UInt32, _ start: Int, to result: inout [UInt8]) throws(SyntaxError) {
    if code & 0xFFFF_FC00 == 0xDC00 { throw surrogate(start) }
    guard code != 0, let scalar = Unicode.Scalar(code) else {
      throw SyntaxError(.syntaxError, "invalid Unicode escape value", position: position(of: start))
    }
    result.append(contentsOf: UTF8.encode(scalar)!)
  }

  private func surrogate(_ start: Int) -> SyntaxError {
    SyntaxError(.syntaxError, "invalid Unicode surrogate pair", position: position(of: start))
  }

  /// A surrogate pair of `E'…'` that is not completed by what stands at `offset`.
  private func surrogate(near offset: Int) -> SyntaxError {
    let text = string(offset..<characterEnd(offset))
    return SyntaxError(
      .syntaxError, "invalid Unicode surrogate pair at or near \"\(text)\"", position: position(of: offset))
  }

  private func badUnicode(_ start: Int, _ hint: String) -> SyntaxError {
    SyntaxError(.syntaxError, "invalid Unicode escape", hint: hint, position: position(of: start))
  }

  private func badEscape(_ start: Int, _ hint: String) -> SyntaxError {
    SyntaxError(.invalidEscape, "invalid Unicode escape", hint: hint, position: position(of: start))
  }

  /// The 1-based position in scalars of a byte offset. Linear: for errors.
  func position(of offset: Int) -> Int {
    var position = 1
    for byte in bytes[..<min(offset, count)] where byte & 0xC0 != 0x80 { position += 1 }
    return position
  }
}

extension String {
  /// A name folded to lower case: ASCII letters only, as PostgreSQL folds in UTF-8.
  fileprivate init(folding bytes: ArraySlice<UInt8>) {
    var folded: [UInt8] = []
    folded.reserveCapacity(bytes.count)
    for byte in bytes { folded.append(byte &- 65 < 26 ? byte | 0x20 : byte) }
    self = String(decoding: folded, as: UTF8.self)
  }
}

/// Whether bytes are text that PostgreSQL takes: well-formed UTF-8 without NUL.
enum UTF8Check {
  /// Throws 22021 at the first bad sequence. Returns whether all is ASCII.
  @discardableResult
  static func check(_ bytes: [UInt8]) throws(SyntaxError) -> Bool {
    var isASCII = true
    var offset = 0
    let count = bytes.count
    while offset < count {
      let byte = bytes[offset]
      if byte &- 1 < 0x7F {
        offset += 1
        continue
      }
      isASCII = false
      let length = sequenceLength(bytes, offset)
      guard length > 0 else { throw invalid(bytes, offset) }
      offset += length
    }
    return isASCII
  }

  /// The length of the well-formed sequence at `offset` (not ASCII); 0 if it is ill-formed (Unicode, table 3-7).
  private static func sequenceLength(_ bytes: [UInt8], _ offset: Int) -> Int {
    func at(_ index: Int) -> UInt8 { offset + index < bytes.count ? bytes[offset + index] : 0 }
    func isTail(_ index: Int) -> Bool { at(index) & 0xC0 == 0x80 }
    switch bytes[offset] {
    case 0xC2...0xDF: return isTail(1) ? 2 : 0
    case 0xE0: return at(1) >= 0xA0 && isTail(1) && isTail(2) ? 3 : 0
    case 0xED: return at(1) < 0xA0 && isTail(1) && isTail(2) ? 3 : 0
    case 0xE1...0xEF: return isTail(1) && isTail(2) ? 3 : 0
    case 0xF0: return at(1) >= 0x90 && isTail(1) && isTail(2) && isTail(3) ? 4 : 0
    case 0xF4: return at(1) < 0x90 && isTail(1) && isTail(2) && isTail(3) ? 4 : 0
    case 0xF1...0xF3: return isTail(1) && isTail(2) && isTail(3) ? 4 : 0
    default: return 0
    }
  }

  private static func invalid(_ bytes: [UInt8], _ offset: Int) -> SyntaxError {
    let expected =
      switch bytes[offset] {
      case 0xC0...0xDF: 2
      case 0xE0...0xEF: 3
      case 0xF0...0xF7: 4
      default: 1
      }
    let shown = bytes[offset..<min(bytes.count, offset + expected)].map { byte in
      "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
    return SyntaxError(
      .invalidEncoding, "invalid byte sequence for encoding \"UTF8\": \(shown.joined(separator: " "))")
  }
}
