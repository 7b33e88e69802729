// Navigation in JSON text without building a tree: the text was checked when it was stored, so a value is skipped by
// counting brackets outside of strings.

enum JSONRaw {
  private static func skipSpace(_ text: Bytes, _ at: inout Int) {
    while at < text.count, TextScan.isSpace(text[at]) { at += 1 }
  }

  /// The end of the string that begins at `at`.
  private static func endOfString(_ text: Bytes, _ at: Int) -> Int {
    var at = at + 1
    while at < text.count, text[at] != 0x22 { at += text[at] == 0x5c ? 2 : 1 }
    return min(at + 1, text.count)
  }

  /// The end of the value that begins at `at`.
  private static func endOfValue(_ text: Bytes, _ start: Int) -> Int {
    var at = start
    var depth = 0
    while at < text.count {
      switch text[at] {
      case 0x22:
        at = endOfString(text, at)
        if depth == 0 { return at }
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if depth == 0 { return at }
        depth -= 1
        if depth == 0 { return at + 1 }
      case UInt8(ascii: ","): if depth == 0 { return at }
      default: if depth == 0, TextScan.isSpace(text[at]) { return at }
      }
      at += 1
    }
    return at
  }

  private static func container(_ text: Bytes, _ open: UInt8) -> Int? {
    var at = 0
    skipSpace(text, &at)
    return at < text.count && text[at] == open ? at + 1 : nil
  }

  /// The elements of an array, as their text.
  static func items(_ text: Bytes) throws(SQLError) -> [Bytes] {
    guard var at = container(text, UInt8(ascii: "[")) else { return [] }
    var items: [Bytes] = []
    while true {
      skipSpace(text, &at)
      guard at < text.count, text[at] != UInt8(ascii: "]") else { return items }
      let end = endOfValue(text, at)
      guard end > at else { return items }
      items.append(text[at..<end])
      at = end
      skipSpace(text, &at)
      if at < text.count, text[at] == UInt8(ascii: ",") { at += 1 }
    }
  }

  /// The members of an object: keys decoded, values as their text.
  static func members(_ text: Bytes) throws(SQLError) -> [(key: String, value: Bytes)] {
    var list: [(key: String, value: Bytes)] = []
    try scan(text) { (key, value) throws(SQLError) in list.append((try decode(key), value)) }
    return list
  }

  private static func scan(_ text: Bytes, _ body: (Bytes, Bytes) throws(SQLError) -> Void) throws(SQLError) {
    guard var at = container(text, UInt8(ascii: "{")) else { return }
    while true {
      skipSpace(text, &at)
      guard at < text.count, text[at] == 0x22 else { return }
      let keyEnd = endOfString(text, at)
      let key = text[at..<keyEnd]
      at = keyEnd
      skipSpace(text, &at)
      at += 1
      skipSpace(text, &at)
      guard at < text.count else { return }
      let end = endOfValue(text, at)
      guard end > at else { return }
      try body(key, text[at..<end])
      at = end
      skipSpace(text, &at)
      if at < text.count, text[at] == UInt8(ascii: ",") { at += 1 }
    }
  }

  private static func decode(_ quoted: Bytes) throws(SQLError) -> String {
    if quoted.count >= 2, quoted.firstIndex(of: 0x5c as UInt8) == nil { return quoted[1..<quoted.count - 1].string }
    guard case .string(let text) = try JSONText.parse(quoted) else { return "" }
    return text
  }

  /// The member named `key`: the last, if there are several.
  static func member(_ text: Bytes, _ key: Bytes) throws(SQLError) -> Bytes? {
    var found: Bytes?
    try scan(text) { (quoted, value) throws(SQLError) in
      if quoted.count >= 2, quoted.firstIndex(of: 0x5c as UInt8) == nil {
        if quoted[1..<quoted.count - 1].equals(key) { found = value }
      } else if try decode(quoted) == key.string {
        found = value
      }
    }
    return found
  }

  /// Element `index`; negative counts from the end.
  static func item(_ text: Bytes, _ index: Int) throws(SQLError) -> Bytes? {
    let items = try items(text)
    let at = index < 0 ? items.count + index : index
    return items.indices.contains(at) ? items[at] : nil
  }

  static func path(_ text: Bytes, _ keys: [Value]) throws(SQLError) -> Bytes? {
    var at = text
    for key in keys {
      if key.isNull { return nil }
      let next: Bytes?
      if container(at, UInt8(ascii: "{")) != nil {
        next = try member(at, key.bytes)
      } else {
        guard let index = Int(key.string) else { return nil }
        next = try item(at, index)
      }
      guard let next else { return nil }
      at = next
    }
    return at
  }

  static func value(_ raw: Bytes?) -> Value { raw.map { Value($0) } ?? .null }

  /// As ->> gives it: strings decoded, null as SQL's null, all else as its text.
  static func text(_ raw: Bytes?, _ arena: Arena) throws(SQLError) -> Value {
    guard let raw, raw.count > 0 else { return .null }
    if raw[0] == 0x22 { return Value(arena.copy(try decode(raw))) }
    if raw.count == 4, raw[0] == UInt8(ascii: "n") { return .null }
    return Value(raw)
  }
}

extension FunctionRegistry {
  /// -> ->> #> #>>: for json the member's own text, as it was written.
  mutating func addJSONAccess(_ type: TypeID, _ prefix: String) {
    let texts = TypeID(1009)
    infix("->", type, .text, type) { (a, _) throws(SQLError) in
      JSONRaw.value(try JSONRaw.member(a[0].bytes, a[1].bytes))
    }
    infix("->", type, .int4, type) { (a, _) throws(SQLError) in
      JSONRaw.value(try JSONRaw.item(a[0].bytes, Int(a[1].int)))
    }
    infix("->>", type, .text, .text) { (a, c) throws(SQLError) in
      try JSONRaw.text(try JSONRaw.member(a[0].bytes, a[1].bytes), c.arena)
    }
    infix("->>", type, .int4, .text) { (a, c) throws(SQLError) in
      try JSONRaw.text(try JSONRaw.item(a[0].bytes, Int(a[1].int)), c.arena)
    }
    infix("#>", type, texts, type) { (a, _) throws(SQLError) in
      JSONRaw.value(try JSONRaw.path(a[0].bytes, try ArrayView(a[1].bytes).values))
    }
    infix("#>>", type, texts, .text) { (a, c) throws(SQLError) in
      try JSONRaw.text(try JSONRaw.path(a[0].bytes, try ArrayView(a[1].bytes).values), c.arena)
    }
    scalar("\(prefix)_extract_path", [type], type, variadic: .text) { (a, _) throws(SQLError) in
      JSONRaw.value(try JSONRaw.path(a[0].bytes, (1..<a.count).map { a[$0] }))
    }
    scalar("\(prefix)_extract_path_text", [type], .text, variadic: .text) { (a, c) throws(SQLError) in
      try JSONRaw.text(try JSONRaw.path(a[0].bytes, (1..<a.count).map { a[$0] }), c.arena)
    }
  }
}
