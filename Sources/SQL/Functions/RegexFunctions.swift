// The operators ~ ~* !~ !~*, regexp_…, substring(text from pattern), SIMILAR TO.

extension FunctionRegistry {
  mutating func addPatterns() {
    addLike()
    for left in [TypeID.text, .name, .bpchar] {
      for (name, folds, negated) in [
        ("~", false, false), ("~*", true, false), ("!~", false, true), ("!~*", true, true),
      ] {
        infix(name, left, .text, .bool, negator: negated ? String(name.dropFirst()) : "!" + name) {
          (a, _) throws(SQLError) in
          var flags = RegexFlags()
          flags.ignoreCase = folds
          let regex = try RegexCache.regex(a[1].bytes, flags)
          return Value(try regex.matches(RegexFunctions.scalars(a[0].bytes)) != negated)
        }
      }
    }
    addMatching()
    addReplacing()
    scalar("similar_to_escape", [.text], .text) { (a, c) throws(SQLError) in
      Value(c.arena.copy(try RegexFunctions.similar(a[0].string, escape: "\\")))
    }
    scalar("similar_to_escape", [.text, .text], .text) { (a, c) throws(SQLError) in
      Value(c.arena.copy(try RegexFunctions.similar(a[0].string, escape: a[1].string)))
    }
  }

  private mutating func addMatching() {
    for hasFlags in [false, true] {
      let types: [TypeID] = hasFlags ? [.text, .text, .text] : [.text, .text]
      scalar("regexp_match", types, TypeID(1009)) { (a, c) throws(SQLError) in
        let flags = hasFlags ? try RegexFlags(a[2].string) : RegexFlags()
        if flags.isGlobal {
          throw SQLError(
            .invalidParameterValue, "regexp_match() does not support the \"global\" option",
            hint: "Use the regexp_matches function instead.")
        }
        let search = try RegexFunctions.Search(a[0].bytes, a[1].bytes, flags)
        guard let match = try search.regex.find(search.text, from: 0) else { return .null }
        return try search.groups(match, c.arena)
      }
      add(
        SetFunction("regexp_matches", types, columns: [(name: "regexp_matches", type: TypeID(1009))]) {
          (a, c) throws(SQLError) in
          let flags = hasFlags ? try RegexFlags(a[2].string) : RegexFlags()
          let search = try RegexFunctions.Search(c.stateArena.copy(a[0].bytes), a[1].bytes, flags)
          var rows: [[Value]] = []
          for match in try search.all(limit: flags.isGlobal ? Int.max : 1) {
            rows.append([try search.groups(match, c.stateArena)])
          }
          return RowsIterator(rows)
        })
      add(
        SetFunction("regexp_split_to_table", types, columns: [(name: "regexp_split_to_table", type: .text)]) {
          (a, c) throws(SQLError) in
          let flags = hasFlags ? try RegexFlags(a[2].string) : RegexFlags()
          let search = try RegexFunctions.Search(c.stateArena.copy(a[0].bytes), a[1].bytes, flags)
          return RowsIterator(try search.split().map { [Value($0)] })
        })
      scalar("regexp_split_to_array", types, TypeID(1009)) { (a, c) throws(SQLError) in
        let flags = hasFlags ? try RegexFlags(a[2].string) : RegexFlags()
        let search = try RegexFunctions.Search(a[0].bytes, a[1].bytes, flags)
        return try ArrayBuilder.make(try search.split().map { Value($0) }, element: .text, c.arena)
      }
      scalar("regexp_like", types, .bool) { (a, _) throws(SQLError) in
        let flags = hasFlags ? try RegexFlags(a[2].string) : RegexFlags()
        return Value(
          try RegexFunctions.Search(a[0].bytes, a[1].bytes, flags).regex.matches(RegexFunctions.scalars(a[0].bytes)))
      }
    }
    scalar("regexp_count", [.text, .text, .int4, .text], .int4, defaults: [.int(1), .text("")]) {
      (a, _) throws(SQLError) in
      let search = try RegexFunctions.Search(a[0].bytes, a[1].bytes, try RegexFlags(a[3].string))
      return Value(try search.all(limit: Int.max, from: try RegexFunctions.start(a[2].int)).count)
    }
    scalar(
      "regexp_substr", [.text, .text, .int4, .int4, .text, .int4], .text,
      defaults: [.int(1), .int(1), .text(""), .int(0)]
    ) { (a, _) throws(SQLError) in
      let search = try RegexFunctions.Search(a[0].bytes, a[1].bytes, try RegexFlags(a[4].string))
      let n = Int(a[3].int)
      guard n > 0 else { throw RegexFunctions.invalidParameter("n", n) }
      let matches = try search.all(limit: n, from: try RegexFunctions.start(a[2].int))
      guard matches.count >= n, let range = a[5].int == 0 ? matches[n - 1].range : matches[n - 1].group(Int(a[5].int))
      else { return .null }
      return Value(search.bytes(range))
    }
    scalar(
      "regexp_instr", [.text, .text, .int4, .int4, .int4, .text, .int4], .int4,
      defaults: [.int(1), .int(1), .int(0), .text(""), .int(0)]
    ) { (a, _) throws(SQLError) in
      let search = try RegexFunctions.Search(a[0].bytes, a[1].bytes, try RegexFlags(a[5].string))
      let n = Int(a[3].int)
      guard n > 0 else { throw RegexFunctions.invalidParameter("n", n) }
      let matches = try search.all(limit: n, from: try RegexFunctions.start(a[2].int))
      guard matches.count >= n, let range = a[6].int == 0 ? matches[n - 1].range : matches[n - 1].group(Int(a[6].int))
      else { return Value(0) }
      return Value((a[4].int == 1 ? range.upperBound : range.lowerBound) + 1)
    }
    // substring(text FROM pattern FOR escape): the standard's regular expression.
    scalar("substring", [.text, .text, .text], .text) { (a, c) throws(SQLError) in
      let pattern = c.arena.copy(try RegexFunctions.similar(a[1].string, escape: a[2].string))
      let search = try RegexFunctions.Search(a[0].bytes, pattern, RegexFlags())
      guard let match = try search.regex.find(search.text, from: 0) else { return .null }
      guard search.regex.groupCount > 0 else { return Value(search.bytes(match.range)) }
      return match.group(1).map { Value(search.bytes($0)) } ?? .null
    }
    for name in ["substring", "substr"] where name == "substring" {
      scalar(name, [.text, .text], .text) { (a, _) throws(SQLError) in
        let search = try RegexFunctions.Search(a[0].bytes, a[1].bytes, RegexFlags())
        guard let match = try search.regex.find(search.text, from: 0) else { return .null }
        guard search.regex.groupCount > 0 else { return Value(search.bytes(match.range)) }
        return match.group(1).map { Value(search.bytes($0)) } ?? .null
      }
    }
  }

  private mutating func addReplacing() {
    scalar("regexp_replace", [.text, .text, .text], .text) { (a, c) throws(SQLError) in
      try RegexFunctions.replace(a, RegexFlags(), from: 0, nth: 1, c.arena)
    }
    scalar("regexp_replace", [.text, .text, .text, .text], .text) { (a, c) throws(SQLError) in
      let flags = try RegexFlags(a[3].string)
      return try RegexFunctions.replace(a, flags, from: 0, nth: flags.isGlobal ? 0 : 1, c.arena)
    }
    scalar("regexp_replace", [.text, .text, .text, .int4, .int4, .text], .text, defaults: [.int(1), .text("")]) {
      (a, c) throws(SQLError) in
      guard a[4].int >= 0 else { throw RegexFunctions.invalidParameter("n", Int(a[4].int)) }
      return try RegexFunctions.replace(
        a, try RegexFlags(a[5].string), from: try RegexFunctions.start(a[3].int), nth: Int(a[4].int), c.arena)
    }
  }
}

enum RegexFunctions {
  static func scalars(_ bytes: Bytes) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(bytes.count)
    var at = 0
    while at < bytes.count {
      let lead = bytes[at]
      if lead < 0x80 {
        result.append(UInt32(lead))
        at += 1
        continue
      }
      let length = min(TextScan.characterLength(lead), bytes.count - at)
      var value = UInt32(lead) & (length == 2 ? 0x1f : length == 3 ? 0x0f : 0x07)
      for offset in 1..<max(length, 1) { value = value << 6 | UInt32(bytes[at + offset] & 0x3f) }
      result.append(value)
      at += max(length, 1)
    }
    return result
  }

  static func invalidParameter(_ name: String, _ value: Int) -> SQLError {
    SQLError(.invalidParameterValue, "invalid value for parameter \"\(name)\": \(value)")
  }
  static func start(_ position: Int64) throws(SQLError) -> Int {
    guard position > 0 else { throw invalidParameter("start", Int(position)) }
    return Int(position) - 1
  }

  /// A text with its expression.
  struct Search {
    let source: Bytes
    let text: [UInt32]
    let regex: Regex
    private let isASCII: Bool

    init(_ source: Bytes, _ pattern: Bytes, _ flags: RegexFlags) throws(SQLError) {
      self.source = source
      var plain = flags
      plain.isGlobal = false
      regex = try RegexCache.regex(pattern, plain)
      text = RegexFunctions.scalars(source)
      isASCII = text.count == source.count
    }

    func bytes(_ range: Range<Int>) -> Bytes {
      if isASCII { return source[range] }
      let start = TextScan.byteOffset(ofCharacter: range.lowerBound, in: source)
      let rest = source.dropFirst(start)
      return rest.prefix(TextScan.byteOffset(ofCharacter: range.count, in: rest))
    }

    func all(limit: Int, from: Int = 0) throws(SQLError) -> [Regex.Match] {
      var found: [Regex.Match] = []
      var at = from
      while at <= text.count, found.count < limit, let match = try regex.find(text, from: at) {
        found.append(match)
        at = match.range.isEmpty ? match.range.upperBound + 1 : match.range.upperBound
      }
      return found
    }

    func groups(_ match: Regex.Match, _ arena: Arena) throws(SQLError) -> Value {
      var values: [Value] = []
      if regex.groupCount == 0 {
        values.append(Value(bytes(match.range)))
      } else {
        for index in 1...regex.groupCount { values.append(match.group(index).map { Value(bytes($0)) } ?? .null) }
      }
      return try ArrayBuilder.make(values, element: .text, arena)
    }

    func split() throws(SQLError) -> [Bytes] {
      var parts: [Bytes] = []
      var at = 0
      for match in try all(limit: Int.max) {
        // An empty match splits between characters, not at the ends.
        if match.range.isEmpty, match.range.lowerBound == at || match.range.lowerBound >= text.count {
          if match.range.lowerBound == 0 || match.range.lowerBound >= text.count { continue }
        }
        parts.append(bytes(at..<match.range.lowerBound))
        at = match.range.upperBound
      }
      parts.append(bytes(at..<text.count))
      return parts
    }
  }

  /// Replaces the nth match (0: all): \1…\9 are groups, \& the whole match, \\ a backslash.
  static func replace(
    _ a: Arguments, _ flags: RegexFlags, from: Int, nth: Int, _ arena: Arena
  ) throws(SQLError) -> Value {
    let search = try Search(a[0].bytes, a[1].bytes, flags)
    let template = a[2].bytes
    var buffer = ByteBuffer(capacity: a[0].bytes.count + 16)
    var at = 0
    let matches = try search.all(limit: nth == 0 ? Int.max : nth, from: from)
    for (index, match) in matches.enumerated() where nth == 0 || index + 1 == nth {
      buffer.append(search.bytes(at..<match.range.lowerBound))
      var t = 0
      while t < template.count {
        guard template[t] == 0x5c, t + 1 < template.count else {
          buffer.append(template[t])
          t += 1
          continue
        }
        let next = template[t + 1]
        if next == UInt8(ascii: "&") {
          buffer.append(search.bytes(match.range))
        } else if next >= 49, next <= 57 {
          if let range = match.group(Int(next - 48)) { buffer.append(search.bytes(range)) }
        } else if next == 0x5c {
          buffer.append(next)
        } else {
          buffer.append(0x5c as UInt8)
          buffer.append(next)
        }
        t += 2
      }
      try TextFunctions.checkLength(buffer.count)
      at = match.range.upperBound
    }
    buffer.append(search.bytes(at..<search.text.count))
    return Value(buffer.copied(into: arena))
  }

  /// SIMILAR TO's pattern as a regular expression.
  static func similar(_ pattern: String, escape: String) throws(SQLError) -> String {
    guard escape.unicodeScalars.count <= 1 else {
      throw SQLError(
        SQLState(rawValue: "22019"), "invalid escape string", hint: "Escape string must be empty or one character.")
    }
    let escapeScalar = escape.unicodeScalars.first
    var result = "^(?:"
    var inBracket = false
    var isEscaped = false
    var separators = 0
    for scalar in pattern.unicodeScalars {
      if isEscaped, scalar == "\"", !inBracket {
        // `a#"b#"c`: the part between is what substring() gives; before it as little as possible is taken.
        guard separators < 2 else {
          throw SQLError(
            SQLState(rawValue: "2200C"),
            "SQL regular expression may not contain more than two escape-double-quote separators")
        }
        result += separators == 0 ? "){1,1}?((?:" : ")){1,1}(?:"
        separators += 1
        isEscaped = false
      } else if isEscaped {
        result += "\\"
        result.unicodeScalars.append(scalar)
        isEscaped = false
      } else if scalar == escapeScalar {
        isEscaped = true
      } else if inBracket {
        if scalar == "\\" { result += "\\" }
        result.unicodeScalars.append(scalar)
        if scalar == "]" { inBracket = false }
      } else {
        switch scalar {
        case "%": result += ".*"
        case "_": result += "."
        case "(": result += "(?:"
        case "[":
          result += "["
          inBracket = true
        case "\\", ".", "^", "$":
          result += "\\"
          result.unicodeScalars.append(scalar)
        default: result.unicodeScalars.append(scalar)
        }
      }
    }
    return result + ")$"
  }
}
