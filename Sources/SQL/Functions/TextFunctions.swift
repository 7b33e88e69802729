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
