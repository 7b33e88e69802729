// What the functions of TextFunctions.swift do.

package enum TextFunctions {
  /// `n` copies of a text. What is there is doubled, so that a short text many times takes few copies.
  static func repeated(_ text: Bytes, _ n: Int, _ arena: Arena) -> Bytes {
    let total = text.count * n
    var buffer = ByteBuffer(capacity: total)
    if total > 0 { buffer.append(text) }
    while buffer.count < total {
      // The buffer has its full size from the start: appending of its own bytes does not move them.
      buffer.append(buffer.bytes[0..<min(buffer.count, total - buffer.count)])
    }
    return buffer.copied(into: arena)
  }

  /// The most bytes of one value.
  static let limit = 0x3fff_ffff

  static func checkLength(_ count: Int) throws(SQLError) {
    guard count <= limit else { throw SQLError(.programLimit, "requested length too large") }
  }
  static func negativeLength() -> SQLError {
    SQLError(SQLState(rawValue: "22011"), "negative substring length not allowed")
  }

  static func joined(_ parts: [Bytes], _ arena: Arena) throws(SQLError) -> Value {
    let total = parts.reduce(0) { $0 + $1.count }
    try checkLength(total)
    let result = try unsafe arena.build(capacity: total) { (start) throws(SQLError) in
      var at = 0
      for part in parts {
        unsafe (start + at).copyMemory(from: part.start, byteCount: part.count)
        at += part.count
      }
      return at
    }
    return Value(result)
  }

  static func position(_ text: Bytes, _ needle: Bytes) -> Value {
    guard let at = text.firstIndex(of: needle) else { return Value(0) }
    return Value(TextScan.characterCount(text.prefix(at)) + 1)
  }

  static func substring(_ text: Bytes, from: Int64, count: Int64?) throws(SQLError) -> Value {
    if let count, count < 0 { throw negativeLength() }
    let start = max(0, from - 1)
    let first = TextScan.byteOffset(ofCharacter: Int(start), in: text)
    guard let count else { return Value(text.dropFirst(first)) }
    let characters = from - 1 + count - start
    guard characters > 0 else { return Value(Bytes.empty) }
    let rest = text.dropFirst(first)
    return Value(rest.prefix(TextScan.byteOffset(ofCharacter: Int(characters), in: rest)))
  }

  static func splitPart(_ text: Bytes, _ separator: Bytes, _ n: Int) throws(SQLError) -> Value {
    guard n != 0 else { throw SQLError(.invalidParameterValue, "field position must not be zero") }
    guard !separator.isEmpty else { return Value(n == 1 || n == -1 ? text : .empty) }
    var index = n
    if n < 0 {
      var fields = 1
      var at = 0
      while let found = text.firstIndex(of: separator, from: at) {
        fields += 1
        at = found + separator.count
      }
      index = fields + n + 1
      if index < 1 { return Value(Bytes.empty) }
    }
    var at = 0
    while index > 1 {
      guard let found = text.firstIndex(of: separator, from: at) else { return Value(Bytes.empty) }
      at = found + separator.count
      index -= 1
    }
    return Value(text[at..<(text.firstIndex(of: separator, from: at) ?? text.count)])
  }

  static func pad(_ text: Bytes, _ width: Int, _ fill: Bytes, left: Bool, _ arena: Arena) throws(SQLError) -> Value {
    let width = max(0, width)
    let count = TextScan.characterCount(text)
    if count >= width { return Value(text.prefix(TextScan.byteOffset(ofCharacter: width, in: text))) }
    if fill.isEmpty { return Value(text) }
    try checkLength(width * 4)
    var buffer = ByteBuffer(capacity: text.count + width)
    if !left { buffer.append(text) }
    let fillCount = TextScan.characterCount(fill)
    var missing = width - count
    while missing >= fillCount {
      buffer.append(fill)
      missing -= fillCount
    }
    buffer.append(fill.prefix(TextScan.byteOffset(ofCharacter: missing, in: fill)))
    if left { buffer.append(text) }
    return Value(buffer.copied(into: arena))
  }

  static func overlay(_ text: Bytes, _ new: Bytes, _ from: Int64, _ count: Int64, _ arena: Arena) throws(SQLError)
    -> Value
  {
    guard from > 0 else { throw negativeLength() }
    let (end, overflow) = from.addingReportingOverflow(count)
    guard !overflow, end <= Int64(Int32.max) else { throw CompiledExpression.intRange(Intrinsic.Width.int32.rawValue) }
    let head = text.prefix(TextScan.byteOffset(ofCharacter: Int(from) - 1, in: text))
    let tail = text.dropFirst(TextScan.byteOffset(ofCharacter: Int(max(end - 1, 0)), in: text))
    return try joined([head, new, tail], arena)
  }

  /// Drops characters of `set` from the ends.
  static func trim(_ text: Bytes, _ set: Bytes, left: Bool, right: Bool) -> Bytes {
    var (start, end) = (0, text.count)
    func isInSet(_ from: Int, _ to: Int) -> Bool {
      if to - from == 1 { return set.firstIndex(of: text[from]) != nil }
      return set.firstIndex(of: text[from..<to]) != nil
    }
    while left, start < end {
      let length = min(TextScan.characterLength(text[start]), end - start)
      guard isInSet(start, start + length) else { break }
      start += length
    }
    while right, end > start {
      var from = end - 1
      while from > start, text[from] & 0xc0 == 0x80 { from -= 1 }
      guard isInSet(from, end) else { break }
      end = from
    }
    return text[start..<end]
  }

  static func replace(_ text: Bytes, _ from: Bytes, _ to: Bytes, _ arena: Arena) throws(SQLError) -> Value {
    guard !from.isEmpty, var found = text.firstIndex(of: from) else { return Value(text) }
    var buffer = ByteBuffer(capacity: text.count)
    var at = 0
    while true {
      buffer.append(text[at..<found])
      buffer.append(to)
      try checkLength(buffer.count)
      at = found + from.count
      guard let next = text.firstIndex(of: from, from: at) else { break }
      found = next
    }
    buffer.append(text[at..<text.count])
    return Value(buffer.copied(into: arena))
  }

  /// Case mapping: bytes where all is ASCII, else scalar by scalar (mappings to several scalars are not applied, as in C).
  static func mapped(
    _ text: Bytes, _ arena: Arena, _ ascii: (UInt8) -> UInt8, _ unicode: (UnicodeScalar.Properties) -> String
  ) -> Value {
    var buffer = ByteBuffer(capacity: text.count)
    var isASCII = true
    for byte in text {
      if byte >= 0x80 {
        isASCII = false
        break
      }
      buffer.append(ascii(byte))
    }
    if isASCII { return Value(buffer.copied(into: arena)) }
    var result = String.UnicodeScalarView()
    for scalar in text.string.unicodeScalars {
      let mapping = unicode(scalar.properties).unicodeScalars
      result.append(mapping.count == 1 ? mapping.first! : scalar)
    }
    return Value(arena.copy(String(result)))
  }

  package static func quotedLiteral(_ text: String) -> String {
    var result = text.contains("\\") ? "E'" : "'"
    for character in text.unicodeScalars {
      if character == "'" || character == "\\" { result.unicodeScalars.append(character) }
      result.unicodeScalars.append(character)
    }
    return result + "'"
  }

  package static func quotedIdentifier(_ text: String) -> String {
    let bytes = Array(text.utf8)
    let isPlain =
      !bytes.isEmpty && (bytes[0] &- 97 < 26 || bytes[0] == 95)
      && bytes.allSatisfy { $0 &- 97 < 26 || $0 == 95 || TextScan.isDigit($0) } && !reservedWords.contains(text)
    if isPlain { return text }
    var result = "\""
    for character in text.unicodeScalars {
      if character == "\"" { result += "\"" }
      result.unicodeScalars.append(character)
    }
    return result + "\""
  }

  /// Words that are not identifiers without quotes.
  static let reservedWords: Set<String> = Set(
    """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast char \
    character check coalesce collate collation column concurrently constraint create cross current_catalog current_date \
    current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc distinct do \
    else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping having ilike \
    in initially inner inout int integer intersect interval into is isnull join lateral leading least left like limit \
    localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric offset on only or order \
    out outer overlaps overlay placing position precision primary real references returning right row select session_user \
    setof similar smallint some substring symmetric table tablesample then time timestamp to trailing treat trim true union \
    unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists \
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
    """.split(separator: " ").map(String.init))

  /// format('%s %I %L %1$s %-10s', …).
  static func format(_ pattern: Bytes, _ values: [Bytes?], _ arena: Arena) throws(SQLError) -> Value {
    var buffer = ByteBuffer(capacity: pattern.count + 32)
    var at = 0
    var next = 0
    func fail(_ message: String, hint: String? = nil) -> SQLError {
      SQLError(.invalidParameterValue, message, hint: hint)
    }
    func end() -> SQLError {
      fail("unterminated format() type specifier", hint: "For a single \"%\" use \"%%\".")
    }
    while at < pattern.count {
      let byte = pattern[at]
      at += 1
      guard byte == UInt8(ascii: "%") else {
        buffer.append(byte)
        continue
      }
      guard at < pattern.count else { throw end() }
      if pattern[at] == UInt8(ascii: "%") {
        buffer.append(byte)
        at += 1
        continue
      }
      var position: Int? = nil
      if let (n, stop) = TextScan.unsignedInt(pattern, at, limit: 1 << 20), stop < pattern.count,
        pattern[stop] == UInt8(ascii: "$")
      {
        guard n > 0 else { throw fail("format specifies argument 0, but arguments are numbered from 1") }
        position = n - 1
        at = stop + 1
      }
      var alignLeft = false
      if at < pattern.count, pattern[at] == UInt8(ascii: "-") {
        alignLeft = true
        at += 1
      }
      var width = 0
      if let (n, stop) = TextScan.unsignedInt(pattern, at, limit: 1 << 28) {
        width = n
        at = stop
      } else if at < pattern.count, pattern[at] == UInt8(ascii: "*") {
        at += 1
        guard next < values.count else { throw fail("too few arguments for format()") }
        let number = try values[next].map { (text) throws(SQLError) in
          try TypeCodec.parseInt(text, Int64(Int32.min), Int64(Int32.max), "integer")
        }
        width = Int(number ?? 0)
        if width < 0 {
          alignLeft = true
          width = -width
        }
        next += 1
      }
      guard at < pattern.count else { throw end() }
      let kind = pattern[at]
      at += 1
      guard kind == UInt8(ascii: "s") || kind == UInt8(ascii: "I") || kind == UInt8(ascii: "L") else {
        throw fail(
          "unrecognized format() type specifier \"\(String(UnicodeScalar(kind)))\"",
          hint: "For a single \"%\" use \"%%\".")
      }
      let index = position ?? next
      guard index < values.count else { throw fail("too few arguments for format()") }
      next = index + 1
      let text: String
      switch (kind, values[index]) {
      case (UInt8(ascii: "s"), let value): text = value?.string ?? ""
      case (UInt8(ascii: "L"), let value): text = value.map { quotedLiteral($0.string) } ?? "NULL"
      case (_, nil): throw SQLError(SQLState(rawValue: "22004"), "null values cannot be formatted as an SQL identifier")
      case (_, let value?): text = quotedIdentifier(value.string)
      }
      let missing = max(0, width - text.unicodeScalars.count)
      try checkLength(buffer.count + missing + text.utf8.count)
      if !alignLeft { buffer.append(repeating: 32, count: missing) }
      buffer.append(text)
      if alignLeft { buffer.append(repeating: 32, count: missing) }
    }
    return Value(buffer.copied(into: arena))
  }
}
