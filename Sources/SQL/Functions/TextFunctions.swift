// Functions of text. Positions and lengths count characters (Unicode scalars); upper, lower and initcap map the whole of
// Unicode by the standard library's simple mappings, the same everywhere.

extension FunctionRegistry {
  mutating func addText() {
    addConcatenation()
    addLengths()
    addSlices()
    addTrimming()
    addRewriting()
    addQuoting()
  }

  private mutating func addConcatenation() {
    infix("||", .text, .text, .text, function: "textcat") { (a, c) throws(SQLError) in
      try TextFunctions.joined([a[0].bytes, a[1].bytes], c.arena)
    }
    infix("||", .bytea, .bytea, .bytea, function: "byteacat") { (a, c) throws(SQLError) in
      try TextFunctions.joined([a[0].bytes, a[1].bytes], c.arena)
    }
    // text || anything and anything || text: the other operand by its cast to text, which is its output function but for
    // booleans.
    let operand: @Sendable (Value, TypeID, inout EvaluationContext) throws(SQLError) -> Bytes = {
      (value, type, c) throws(SQLError) in
      if type == .bool { return c.arena.copy(value.bool ? "true" : "false") }
      return try TypeCodec.text(value, type, c.arena, c.format)
    }
    for (left, right) in [(TypeID.text, TypeID.any), (.any, .text)] {
      let entry = ScalarFunction(
        "textanycat", [left, right], returns: .text, .stable,
        specialise: { (types) throws(SQLError) in
          let (l, r) = (types[0].id, types[1].id)
          return ScalarFunction("textanycat", [l, r], returns: .text, .stable) { (a, c) throws(SQLError) in
            try TextFunctions.joined([try operand(a[0], l, &c), try operand(a[1], r, &c)], c.arena)
          }
        }
      ) { (a, c) throws(SQLError) in try TextFunctions.joined([a[0].bytes, a[1].bytes], c.arena) }
      add(Operator("||", left, right, entry))
    }
    anyText("concat", leading: []) { (parts, c) throws(SQLError) in
      try TextFunctions.joined(parts.compactMap { $0 }, c.arena)
    }
    anyText("concat_ws", leading: [.text]) { (parts, c) throws(SQLError) in
      guard let separator = parts[0] else { return .null }
      var pieces: [Bytes] = []
      for part in parts.dropFirst() {
        guard let part else { continue }
        if !pieces.isEmpty { pieces.append(separator) }
        pieces.append(part)
      }
      return try TextFunctions.joined(pieces, c.arena)
    }
    anyText("format", leading: [.text]) { (parts, c) throws(SQLError) in
      guard let pattern = parts[0] else { return .null }
      return try TextFunctions.format(pattern, Array(parts.dropFirst()), c.arena)
    }
  }

  /// A function over any number of values of any types, given as text.
  private mutating func anyText(
    _ name: String, leading: [TypeID],
    _ body: @escaping @Sendable ([Bytes?], inout EvaluationContext) throws(SQLError) -> Value
  ) {
    let specialise: @Sendable ([SQLType]) throws(SQLError) -> ScalarFunction = { (types) throws(SQLError) in
      ScalarFunction(name, types.map(\.id), returns: .text, .stable, strict: false) { (a, c) throws(SQLError) in
        var parts: [Bytes?] = []
        for index in 0..<a.count {
          parts.append(a[index].isNull ? nil : try TypeCodec.text(a[index], types[index].id, c.arena, c.format))
        }
        return try body(parts, &c)
      }
    }
    let unused: ScalarImplementation = { (_, _) throws(SQLError) in .null }
    add(
      ScalarFunction(
        name, leading, variadic: .any, returns: .text, .stable, strict: false, specialise: specialise, body: unused))
    if !leading.isEmpty {
      add(ScalarFunction(name, leading, returns: .text, .stable, strict: false, specialise: specialise, body: unused))
    }
  }

  private mutating func addLengths() {
    for name in ["length", "char_length", "character_length"] {
      scalar(name, [.text], .int4) { (a, _) throws(SQLError) in Value(TextScan.characterCount(a[0].bytes)) }
      scalar(name, [.bpchar], .int4) { (a, _) throws(SQLError) in
        Value(TextScan.characterCount(ValueOrder.unpadded(a[0].bytes)))
      }
    }
    scalar("length", [.bytea], .int4) { (a, _) throws(SQLError) in Value(a[0].bytes.count) }
    for type in [TypeID.text, .bytea, .bpchar] {
      scalar("octet_length", [type], .int4) { (a, _) throws(SQLError) in Value(a[0].bytes.count) }
      if type != .bpchar {
        scalar("bit_length", [type], .int4) { (a, _) throws(SQLError) in Value(a[0].bytes.count * 8) }
      }
    }
    scalar("ascii", [.text], .int4) { (a, _) throws(SQLError) in
      Value(a[0].bytes.isEmpty ? 0 : Int(a[0].bytes.string.unicodeScalars.first?.value ?? 0))
    }
    scalar("chr", [.int4], .text) { (a, c) throws(SQLError) in
      let code = a[0].int
      guard code != 0 else { throw SQLError(.programLimit, "null character not permitted") }
      guard code > 0, let scalar = UnicodeScalar(UInt32(truncatingIfNeeded: code)) else {
        throw SQLError(
          .programLimit,
          code < 0 ? "character number must be positive" : "requested character too large for encoding: \(code)")
      }
      return Value(c.arena.copy(String(Character(scalar))))
    }
    for name in ["strpos", "position"] {
      scalar(name, [.text, .text], .int4) { (a, _) throws(SQLError) in TextFunctions.position(a[0].bytes, a[1].bytes) }
      scalar(name, [.bytea, .bytea], .int4) { (a, _) throws(SQLError) in
        Value((a[0].bytes.firstIndex(of: a[1].bytes) ?? -1) + 1)
      }
    }
    scalar("starts_with", [.text, .text], .bool) { (a, _) throws(SQLError) in Value(a[0].bytes.starts(with: a[1].bytes))
    }
    infix("^@", .text, .text, .bool) { (a, _) throws(SQLError) in Value(a[0].bytes.starts(with: a[1].bytes)) }
  }

  private mutating func addSlices() {
    for name in ["substr", "substring"] {
      scalar(name, [.text, .int4], .text) { (a, _) throws(SQLError) in
        try TextFunctions.substring(a[0].bytes, from: a[1].int, count: nil)
      }
      scalar(name, [.text, .int4, .int4], .text) { (a, _) throws(SQLError) in
        try TextFunctions.substring(a[0].bytes, from: a[1].int, count: a[2].int)
      }
      scalar(name, [.bytea, .int4], .bytea) { (a, _) throws(SQLError) in
        Value(a[0].bytes.dropFirst(Int(max(0, a[1].int - 1))))
      }
      scalar(name, [.bytea, .int4, .int4], .bytea) { (a, _) throws(SQLError) in
        guard a[2].int >= 0 else { throw TextFunctions.negativeLength() }
        let start = max(0, a[1].int - 1)
        let end = max(start, a[1].int - 1 + a[2].int)
        return Value(a[0].bytes.prefix(Int(end)).dropFirst(Int(start)))
      }
    }
    scalar("left", [.text, .int4], .text) { (a, _) throws(SQLError) in
      let n = Int(a[1].int)
      let count = n >= 0 ? n : TextScan.characterCount(a[0].bytes) + n
      return Value(a[0].bytes.prefix(TextScan.byteOffset(ofCharacter: count, in: a[0].bytes)))
    }
    scalar("right", [.text, .int4], .text) { (a, _) throws(SQLError) in
      let n = Int(a[1].int)
      let skip = n >= 0 ? TextScan.characterCount(a[0].bytes) - n : -n
      return Value(a[0].bytes.dropFirst(TextScan.byteOffset(ofCharacter: skip, in: a[0].bytes)))
    }
    scalar("split_part", [.text, .text, .int4], .text) { (a, _) throws(SQLError) in
      try TextFunctions.splitPart(a[0].bytes, a[1].bytes, Int(a[2].int))
    }
    for (name, hasPadding) in [("lpad", true), ("lpad", false), ("rpad", true), ("rpad", false)] {
      let isLeft = name == "lpad"
      scalar(name, hasPadding ? [.text, .int4, .text] : [.text, .int4], .text) { (a, c) throws(SQLError) in
        let fill = hasPadding ? a[2].bytes.array : [32]
        return try Bytes.with(fill) { (fill) throws(SQLError) in
          try TextFunctions.pad(a[0].bytes, Int(a[1].int), fill, left: isLeft, c.arena)
        }
      }
    }
    scalar("overlay", [.text, .text, .int4], .text) { (a, c) throws(SQLError) in
      try TextFunctions.overlay(a[0].bytes, a[1].bytes, a[2].int, Int64(TextScan.characterCount(a[1].bytes)), c.arena)
    }
    scalar("overlay", [.text, .text, .int4, .int4], .text) { (a, c) throws(SQLError) in
      try TextFunctions.overlay(a[0].bytes, a[1].bytes, a[2].int, a[3].int, c.arena)
    }
  }

  private mutating func addTrimming() {
    for (name, left, right) in [("btrim", true, true), ("ltrim", true, false), ("rtrim", false, true)] {
      scalar(name, [.text], .text) { (a, _) throws(SQLError) in
        Bytes.with([32]) { set in Value(TextFunctions.trim(a[0].bytes, set, left: left, right: right)) }
      }
      scalar(name, [.text, .text], .text) { (a, _) throws(SQLError) in
        Value(TextFunctions.trim(a[0].bytes, a[1].bytes, left: left, right: right))
      }
      scalar(name, [.bytea, .bytea], .bytea) { (a, _) throws(SQLError) in
        var (start, end) = (0, a[0].bytes.count)
        while left, start < end, a[1].bytes.contains(a[0].bytes[start]) { start += 1 }
        while right, end > start, a[1].bytes.contains(a[0].bytes[end - 1]) { end -= 1 }
        return Value(a[0].bytes[start..<end])
      }
    }
  }

  private mutating func addRewriting() {
    scalar("upper", [.text], .text) { (a, c) throws(SQLError) in
      TextFunctions.mapped(a[0].bytes, c.arena, { $0 &- 97 < 26 ? $0 & 0xdf : $0 }) { $0.uppercaseMapping }
    }
    scalar("lower", [.text], .text) { (a, c) throws(SQLError) in
      TextFunctions.mapped(a[0].bytes, c.arena, TextScan.lower) { $0.lowercaseMapping }
    }
    scalar("initcap", [.text], .text) { (a, c) throws(SQLError) in
      var result = ""
      var inWord = false
      for scalar in a[0].string.unicodeScalars {
        let isWord = scalar.properties.isAlphabetic || scalar.properties.numericType != nil
        let mapped = inWord ? scalar.properties.lowercaseMapping : scalar.properties.uppercaseMapping
        result += isWord && mapped.unicodeScalars.count == 1 ? mapped : String(Character(scalar))
        inWord = isWord
      }
      return Value(c.arena.copy(result))
    }
    scalar("reverse", [.text], .text) { (a, c) throws(SQLError) in
      Value(c.arena.copy(String(String.UnicodeScalarView(a[0].string.unicodeScalars.reversed()))))
    }
    scalar("repeat", [.text, .int4], .text) { (a, c) throws(SQLError) in
      let n = Int(max(0, a[1].int))
      try TextFunctions.checkLength(a[0].bytes.count * n)
      return Value(TextFunctions.repeated(a[0].bytes, n, c.arena))
    }
    scalar("replace", [.text, .text, .text], .text) { (a, c) throws(SQLError) in
      try TextFunctions.replace(a[0].bytes, a[1].bytes, a[2].bytes, c.arena)
    }
    scalar("translate", [.text, .text, .text], .text) { (a, c) throws(SQLError) in
      let from = Array(a[1].string.unicodeScalars)
      let to = Array(a[2].string.unicodeScalars)
      var result = String.UnicodeScalarView()
      for scalar in a[0].string.unicodeScalars {
        guard let index = from.firstIndex(of: scalar) else {
          result.append(scalar)
          continue
        }
        if index < to.count { result.append(to[index]) }
      }
      return Value(c.arena.copy(String(result)))
    }
    for type in [TypeID.int4, .int8] {
      scalar("to_hex", [type], .text) { (a, c) throws(SQLError) in
        let value = type == .int4 ? UInt64(UInt32(truncatingIfNeeded: a[0].int)) : UInt64(bitPattern: a[0].int)
        return Value(c.arena.copy(String(value, radix: 16)))
      }
    }
  }

  private mutating func addQuoting() {
    scalar("quote_ident", [.text], .text) { (a, c) throws(SQLError) in
      Value(c.arena.copy(TextFunctions.quotedIdentifier(a[0].string)))
    }
    scalar("quote_literal", [.text], .text) { (a, c) throws(SQLError) in
      Value(c.arena.copy(TextFunctions.quotedLiteral(a[0].string)))
    }
    scalar("quote_nullable", [.text], .text, strict: false) { (a, c) throws(SQLError) in
      Value(c.arena.copy(a[0].isNull ? "NULL" : TextFunctions.quotedLiteral(a[0].string)))
    }
  }
}

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
