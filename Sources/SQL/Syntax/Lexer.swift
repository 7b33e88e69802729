/// A token: its kind and where it stands in the text. What it says is decoded when the parser takes it.
struct Token: Sendable {
  enum Kind: UInt8, Sendable {
    /// A name: not a keyword, or quoted.
    case identifier
    case keyword
    /// Digits only.
    case integer
    /// With a point or an exponent.
    case decimal
    case string
    /// `$1`
    case parameter
    /// An operator other than those below.
    case op
    case comma, leftParen, rightParen, leftBracket, rightBracket, dot, semicolon, colon
    case plus, minus, star, slash, percent, caret, less, greater, equals
    /// `::`
    case typecast
    case dotDot
    /// `:=`
    case colonEquals
    /// `=>`
    case arrow
    case lessEquals, greaterEquals, notEquals
    case end
    /// A character that begins no token.
    case other
    /// What the lexer refuses: `fault` says why.
    case invalid
  }

  enum Fault: UInt8, Sendable {
    case unterminatedString, unterminatedIdentifier, unterminatedDollarString, unterminatedComment
    case emptyIdentifier, numberJunk, parameterJunk, operatorTooLong, bitString, badUnicodeEscapeCharacter
    case unescapeNeedsString
  }

  /// How the text of a name or a string is to be read.
  enum Form: UInt8, Sendable {
    /// As it stands (between its quotes).
    case plain
    /// A name with upper-case letters to fold.
    case folded
    /// Doubled quotes, or a string continued on another line.
    case doubled
    /// `E'…'`
    case escaped
    /// `$tag$…$tag$`
    case dollar
    /// `U&'…'`, `U&"…"`
    case unicode
  }

  var kind: Kind
  var form: Form = .plain
  var fault: Fault?
  /// For keywords; nil for all else.
  var keyword: Keyword?
  var start: Int32
  var end: Int32
}

/// PostgreSQL's lexical rules over UTF-8.
///
/// Stateless: `token(at:)` reads the token at or after an offset, so that looking ahead costs no memory and no
/// bookkeeping. The text has been checked (valid UTF-8, no NUL) and ends with one NUL, so that looking one byte past
/// any other byte is always in bounds.
///
/// Beyond what PostgreSQL accepts, nothing is; `B'…'` and `X'…'` are refused (there is no bit type).
struct Lexer: Sendable {
  /// The text, and a NUL.
  let bytes: [UInt8]
  /// The text's length, without the NUL.
  let count: Int
  private static let longestOperatorRun = 1024
  private let classes: [UInt8] = CharacterClass.table
  private let keywords = KeywordTable.shared

  init(checked bytes: [UInt8]) {
    self.bytes = bytes
    self.count = bytes.count - 1
  }

  // MARK: Tokens

  /// The first token at or after `offset`.
  func token(at offset: Int) -> Token {
    var offset = offset
    if let unterminated = skipSpace(&offset) {
      return invalid(.unterminatedComment, unterminated, count)
    }
    let byte = bytes[offset]
    let kind = classes[Int(byte)]
    if kind & CharacterClass.identifierStart != 0 { return word(at: offset) }
    if kind & CharacterClass.digit != 0 { return number(at: offset) }
    switch byte {
    case UInt8(ascii: "'"): return string(at: offset, quote: offset, form: .plain)
    case UInt8(ascii: ","): return make(.comma, offset, offset + 1)
    case UInt8(ascii: "("): return make(.leftParen, offset, offset + 1)
    case UInt8(ascii: ")"): return make(.rightParen, offset, offset + 1)
    case UInt8(ascii: "["): return make(.leftBracket, offset, offset + 1)
    case UInt8(ascii: "]"): return make(.rightBracket, offset, offset + 1)
    case UInt8(ascii: ";"): return make(.semicolon, offset, offset + 1)
    case UInt8(ascii: "$"): return dollar(at: offset)
    case UInt8(ascii: "\""): return quotedIdentifier(at: offset, quote: offset, form: .plain)
    case UInt8(ascii: "."):
      if isDigit(bytes[offset + 1]) { return number(at: offset) }
      if bytes[offset + 1] == byte { return make(.dotDot, offset, offset + 2) }
      return make(.dot, offset, offset + 1)
    case UInt8(ascii: ":"):
      if bytes[offset + 1] == byte { return make(.typecast, offset, offset + 2) }
      if bytes[offset + 1] == UInt8(ascii: "=") { return make(.colonEquals, offset, offset + 2) }
      return make(.colon, offset, offset + 1)
    default: break
    }
    if kind & CharacterClass.op != 0 { return op(at: offset) }
    if offset >= count { return make(.end, count, count) }
    return make(.other, offset, offset + 1)
  }

  @inline(__always) private func make(_ kind: Token.Kind, _ start: Int, _ end: Int) -> Token {
    Token(kind: kind, start: Int32(truncatingIfNeeded: start), end: Int32(truncatingIfNeeded: end))
  }
  private func invalid(_ fault: Token.Fault, _ start: Int, _ end: Int) -> Token {
    Token(
      kind: .invalid, fault: fault, start: Int32(truncatingIfNeeded: start), end: Int32(truncatingIfNeeded: end))
  }
  @inline(__always) private func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }
  private func has(_ byte: UInt8, _ kind: UInt8) -> Bool { classes[Int(byte)] & kind != 0 }

  /// Moves over white space and comments. If a comment does not end, says where it began.
  @inline(__always)
  private func skipSpace(_ offset: inout Int) -> Int? {
    while true {
      let byte = bytes[offset]
      if classes[Int(byte)] & CharacterClass.space != 0 {
        offset += 1
      } else if byte == UInt8(ascii: "-"), bytes[offset + 1] == byte {
        skipLine(&offset)
      } else if byte == UInt8(ascii: "/"), bytes[offset + 1] == UInt8(ascii: "*") {
        let start = offset
        if !skipComment(&offset) { return start }
      } else {
        return nil
      }
    }
  }

  private func skipLine(_ offset: inout Int) {
    while offset < count, bytes[offset] != 10, bytes[offset] != 13 { offset += 1 }
  }

  /// Moves over a comment and those within it; false if it does not end.
  private func skipComment(_ offset: inout Int) -> Bool {
    var depth = 0
    while offset < count {
      if bytes[offset] == UInt8(ascii: "/"), bytes[offset + 1] == UInt8(ascii: "*") {
        depth += 1
        offset += 2
      } else if bytes[offset] == UInt8(ascii: "*"), bytes[offset + 1] == UInt8(ascii: "/") {
        depth -= 1
        offset += 2
        if depth == 0 { return true }
      } else {
        offset += 1
      }
    }
    return false
  }

  /// A keyword, a name, or a string with a prefix letter.
  private func word(at start: Int) -> Token {
    if bytes[start + 1] == UInt8(ascii: "'") || bytes[start + 1] == UInt8(ascii: "&") {
      if let prefixed = prefixedString(at: start) { return prefixed }
    }
    var offset = start
    var hash = KeywordTable.seed
    var hasUpper = false
    while true {
      var byte = bytes[offset]
      if classes[Int(byte)] & CharacterClass.identifier == 0 { break }
      if byte &- 65 < 26 {
        hasUpper = true
        byte |= 0x20
      }
      hash = KeywordTable.mix(hash, byte)
      offset += 1
    }
    var token = make(.identifier, start, offset)
    token.form = hasUpper ? .folded : .plain
    if let keyword = keywords.find(bytes, start..<offset, hash: hash) {
      token.kind = .keyword
      token.keyword = keyword
    }
    return token
  }

  /// `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'`, `U&"…"`; nil if it is an ordinary word.
  private func prefixedString(at start: Int) -> Token? {
    let next = bytes[start + 1]
    switch bytes[start] | 0x20 {
    case UInt8(ascii: "e") where next == UInt8(ascii: "'"):
      return string(at: start, quote: start + 1, form: .escaped)
    case UInt8(ascii: "b") where next == UInt8(ascii: "'"), UInt8(ascii: "x") where next == UInt8(ascii: "'"):
      return invalid(.bitString, start, min(count, start + 2))
    case UInt8(ascii: "n") where next == UInt8(ascii: "'"):
      // As PostgreSQL: N'text' is NCHAR 'text'.
      var token = make(.keyword, start, start + 1)
      token.keyword = .nchar
      return token
    case UInt8(ascii: "u") where next == UInt8(ascii: "&") && bytes[start + 2] == UInt8(ascii: "'"):
      return unicode(string(at: start, quote: start + 2, form: .unicode))
    case UInt8(ascii: "u") where next == UInt8(ascii: "&") && bytes[start + 2] == UInt8(ascii: "\""):
      return unicode(quotedIdentifier(at: start, quote: start + 2, form: .unicode))
    default: return nil
    }
  }

  /// Extends a `U&` token by `UESCAPE 'c'`, if that follows.
  private func unicode(_ token: Token) -> Token {
    guard token.kind != .invalid else { return token }
    let following = self.token(at: Int(token.end))
    guard following.keyword == .uescape else { return token }
    let escape = self.token(at: Int(following.end))
    if escape.kind == .invalid { return escape }
    guard escape.kind == .string, escape.form != .unicode else {
      return invalid(.unescapeNeedsString, Int(escape.start), Int(escape.end))
    }
    guard escape.form == .plain, escape.end - escape.start == 3, isUnicodeEscape(bytes[Int(escape.start) + 1]) else {
      return invalid(.badUnicodeEscapeCharacter, Int(escape.start), Int(escape.end))
    }
    var extended = token
    extended.end = escape.end
    return extended
  }

  private func isUnicodeEscape(_ byte: UInt8) -> Bool {
    !(isDigit(byte) || (byte | 0x20) &- 97 < 6 || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "'")
      || byte == UInt8(ascii: "\"") || has(byte, CharacterClass.space))
  }

  /// A string from its quote on; `start` is where its prefix stands.
  private func string(at start: Int, quote: Int, form: Token.Form) -> Token {
    var offset = quote + 1
    var form = form
    while offset < count {
      let byte = bytes[offset]
      if byte == UInt8(ascii: "'") {
        if bytes[offset + 1] == byte {
          offset += 2
        } else if let more = continuation(after: offset + 1) {
          offset = more
        } else {
          var token = make(.string, start, offset + 1)
          token.form = form
          return token
        }
        if form == .plain { form = .doubled }
      } else if byte == UInt8(ascii: "\\"), form == .escaped {
        offset += 2
      } else {
        offset += 1
      }
    }
    return invalid(.unterminatedString, start, count)
  }

  /// If a string goes on after a line end, the offset after its next opening quote.
  func continuation(after offset: Int) -> Int? {
    var offset = offset
    var sawNewline = false
    while true {
      let byte = bytes[offset]
      if byte == 10 || byte == 13 {
        sawNewline = true
        offset += 1
      } else if has(byte, CharacterClass.space) {
        offset += 1
      } else if byte == UInt8(ascii: "-"), bytes[offset + 1] == byte {
        skipLine(&offset)
      } else {
        return sawNewline && byte == UInt8(ascii: "'") ? offset + 1 : nil
      }
    }
  }

  private func quotedIdentifier(at start: Int, quote: Int, form: Token.Form) -> Token {
    var offset = quote + 1
    var form = form
    while offset < count {
      if bytes[offset] == UInt8(ascii: "\"") {
        if bytes[offset + 1] != UInt8(ascii: "\"") {
          if offset == quote + 1 { return invalid(.emptyIdentifier, start, offset + 1) }
          var token = make(.identifier, start, offset + 1)
          // Quotes tell this form from an unquoted name.
          token.form = form
          return token
        }
        if form == .plain { form = .doubled }
        offset += 1
      }
      offset += 1
    }
    return invalid(.unterminatedIdentifier, start, count)
  }

  /// `$1`, `$tag$…$tag$`, or a lone dollar sign.
  private func dollar(at start: Int) -> Token {
    var offset = start + 1
    if isDigit(bytes[offset]) {
      while isDigit(bytes[offset]) { offset += 1 }
      if has(bytes[offset], CharacterClass.identifierStart) {
        return invalid(.parameterJunk, start, wordEnd(offset))
      }
      return make(.parameter, start, offset)
    }
    if has(bytes[offset], CharacterClass.identifierStart) {
      while has(bytes[offset], CharacterClass.identifier), bytes[offset] != UInt8(ascii: "$") { offset += 1 }
    }
    guard bytes[offset] == UInt8(ascii: "$") else { return make(.other, start, start + 1) }
    let tagLength = offset + 1 - start
    offset += 1
    while offset < count {
      if bytes[offset] == UInt8(ascii: "$"), isTag(at: offset, start, tagLength) {
        var token = make(.string, start, offset + tagLength)
        token.form = .dollar
        return token
      }
      offset += 1
    }
    return invalid(.unterminatedDollarString, start, count)
  }

  private func isTag(at offset: Int, _ tag: Int, _ length: Int) -> Bool {
    guard offset + length <= count else { return false }
    for index in 0..<length where bytes[offset + index] != bytes[tag + index] { return false }
    return true
  }

  private func number(at start: Int) -> Token {
    var offset = start
    var kind = Token.Kind.integer
    while isDigit(bytes[offset]) { offset += 1 }
    // `1..2` is an integer and two points.
    if bytes[offset] == UInt8(ascii: "."), !(bytes[offset + 1] == UInt8(ascii: ".") && offset > start) {
      kind = .decimal
      offset += 1
      while isDigit(bytes[offset]) { offset += 1 }
    }
    if bytes[offset] | 0x20 == UInt8(ascii: "e") {
      var exponent = offset + 1
      let signed = bytes[exponent] == UInt8(ascii: "+") || bytes[exponent] == UInt8(ascii: "-")
      if signed { exponent += 1 }
      if isDigit(bytes[exponent]) {
        kind = .decimal
        offset = exponent
        while isDigit(bytes[offset]) { offset += 1 }
      } else {
        return invalid(.numberJunk, start, signed ? exponent : offset + 1)
      }
    }
    if has(bytes[offset], CharacterClass.identifierStart) {
      return invalid(.numberJunk, start, wordEnd(offset))
    }
    return make(kind, start, offset)
  }

  /// The end of the run of identifier characters at `offset`.
  private func wordEnd(_ offset: Int) -> Int {
    var end = offset
    while has(bytes[end], CharacterClass.identifier) { end += 1 }
    return end
  }

  /// The end of the character that begins at `offset`.
  func characterEnd(_ offset: Int) -> Int {
    var end = offset + 1
    while end < count, bytes[end] & 0xC0 == 0x80 { end += 1 }
    return end
  }

  /// The longest run of operator characters, less what PostgreSQL gives back: a comment's beginning, and trailing
  /// signs unless the operator has a character that no standard operator has.
  private func op(at start: Int) -> Token {
    var end = start
    while has(bytes[end], CharacterClass.op) {
      if end > start, bytes[end] == UInt8(ascii: "-"), bytes[end + 1] == UInt8(ascii: "-") { break }
      if end > start, bytes[end] == UInt8(ascii: "/"), bytes[end + 1] == UInt8(ascii: "*") { break }
      end += 1
      // Without a bound, a long run of signs, each an operator of its own, would be read once for each.
      if end - start > Self.longestOperatorRun { return invalid(.operatorTooLong, start, end) }
    }
    if end - start > 1 {
      var keepsSigns = false
      for offset in start..<end where has(bytes[offset], CharacterClass.keepsSign) { keepsSigns = true }
      if !keepsSigns {
        while end - start > 1, bytes[end - 1] == UInt8(ascii: "+") || bytes[end - 1] == UInt8(ascii: "-") { end -= 1 }
      }
    }
    if end - start > Syntax.Limits.identifierBytes { return invalid(.operatorTooLong, start, end) }
    return make(operatorKind(start, end), start, end)
  }

  private func operatorKind(_ start: Int, _ end: Int) -> Token.Kind {
    if end - start == 1 {
      switch bytes[start] {
      case UInt8(ascii: "+"): return .plus
      case UInt8(ascii: "-"): return .minus
      case UInt8(ascii: "*"): return .star
      case UInt8(ascii: "/"): return .slash
      case UInt8(ascii: "%"): return .percent
      case UInt8(ascii: "^"): return .caret
      case UInt8(ascii: "<"): return .less
      case UInt8(ascii: ">"): return .greater
      case UInt8(ascii: "="): return .equals
      default: return .op
      }
    }
    if end - start == 2 {
      switch (bytes[start], bytes[start + 1]) {
      case (UInt8(ascii: "="), UInt8(ascii: ">")): return .arrow
      case (UInt8(ascii: ">"), UInt8(ascii: "=")): return .greaterEquals
      case (UInt8(ascii: "<"), UInt8(ascii: "=")): return .lessEquals
      case (UInt8(ascii: "<"), UInt8(ascii: ">")), (UInt8(ascii: "!"), UInt8(ascii: "=")): return .notEquals
      default: return .op
      }
    }
    return .op
  }
}

/// What a byte may be part of.
enum CharacterClass {
  static let space: UInt8 = 1
  static let identifierStart: UInt8 = 2
  static let identifier: UInt8 = 4
  static let digit: UInt8 = 8
  static let op: UInt8 = 16
  /// An operator with one of these may end in a sign.
  static let keepsSign: UInt8 = 32

  static let table: [UInt8] = {
    var table = [UInt8](repeating: 0, count: 256)
    for byte in [9, 10, 12, 13, 32] { table[byte] |= space }
    for byte in 0x80...0xFF { table[byte] |= identifierStart | identifier }
    for byte in Array(0x41...0x5A) + Array(0x61...0x7A) + [0x5F] { table[byte] |= identifierStart | identifier }
    for byte in 0x30...0x39 { table[byte] |= digit | identifier }
    table[0x24] |= identifier
    for byte in "~!@#^&|`?+-*/%<>=".utf8 { table[Int(byte)] |= op }
    for byte in "~!@#^&|`?%".utf8 { table[Int(byte)] |= keepsSign }
    return table
  }()
}
