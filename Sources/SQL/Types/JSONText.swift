// JSON. `json` keeps its text; `jsonb` is kept as canonical text, exactly as PostgreSQL prints a jsonb: members sorted by
// key length and then bytes, the last of equal keys kept, `, ` and `: ` between, numbers as numerics. Equal documents thus
// have nearly equal bytes; numbers that differ only in scale (1 and 1.0) are equal by `compare`, not by bytes.

/// A parsed document.
package indirect enum JSON: Sendable {
  case null
  case bool(Bool)
  /// The number's text.
  case number(String)
  case string(String)
  case array([JSON])
  /// Members in the order of the text (json) or canonical order (jsonb).
  case object([(key: String, value: JSON)])

  package var typeName: String {
    switch self {
    case .null: return "null"
    case .bool: return "boolean"
    case .number: return "number"
    case .string: return "string"
    case .array: return "array"
    case .object: return "object"
    }
  }

  package subscript(key key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.key == key }?.value
  }
  /// Negative indexes count from the end.
  package subscript(index index: Int) -> JSON? {
    guard case .array(let items) = self else { return nil }
    let at = index < 0 ? items.count + index : index
    return items.indices.contains(at) ? items[at] : nil
  }
}

package enum JSONText {
  /// Deeper nesting is refused rather than recursed into.
  static let depthLimit = 1000

  static func validated(_ text: Bytes, _ arena: Arena) throws(SQLError) -> Bytes {
    _ = try parse(text, "json")
    return arena.copy(text)
  }

  static func canonical(_ text: Bytes, _ arena: Arena) throws(SQLError) -> Bytes {
    var buffer = ByteBuffer(capacity: text.count + 16)
    write(canonical(try parse(text, "jsonb"), arena), into: &buffer, spaced: true)
    return buffer.copied(into: arena)
  }

  /// The document in jsonb's order, numbers normalised.
  package static func canonical(_ json: JSON, _ arena: Arena) -> JSON {
    switch json {
    case .null, .bool, .string: return json
    case .number(let text):
      let value = try? Bytes.with(text) { (bytes) throws(SQLError) in try NumericText.parse(bytes, arena) }
      guard let value else { return json }
      var buffer = ByteBuffer(capacity: 32)
      NumericText.write(value, into: &buffer)
      return .number(buffer.string)
    case .array(let items): return .array(items.map { canonical($0, arena) })
    case .object(let members):
      var last: [String: Int] = [:]
      for (index, member) in members.enumerated() { last[member.key] = index }
      let kept = members.enumerated().filter { last[$0.element.key] == $0.offset }.map(\.element)
      return .object(
        kept.map { (key: $0.key, value: canonical($0.value, arena)) }.sorted { keyPrecedes($0.key, $1.key) })
    }
  }

  static func keyPrecedes(_ a: String, _ b: String) -> Bool {
    if a.utf8.count != b.utf8.count { return a.utf8.count < b.utf8.count }
    return a.utf8.lexicographicallyPrecedes(b.utf8)
  }

  package static func write(_ json: JSON, into buffer: inout ByteBuffer, spaced: Bool) {
    switch json {
    case .null: buffer.append("null" as StaticString)
    case .bool(let value): buffer.append(value ? "true" as StaticString : "false" as StaticString)
    case .number(let text): buffer.append(text)
    case .string(let text): writeString(text, into: &buffer)
    case .array(let items):
      buffer.append(UInt8(ascii: "["))
      for (index, item) in items.enumerated() {
        if index > 0 { buffer.append(spaced ? ", " as StaticString : "," as StaticString) }
        write(item, into: &buffer, spaced: spaced)
      }
      buffer.append(UInt8(ascii: "]"))
    case .object(let members):
      buffer.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { buffer.append(spaced ? ", " as StaticString : "," as StaticString) }
        writeString(member.key, into: &buffer)
        buffer.append(spaced ? ": " as StaticString : ":" as StaticString)
        write(member.value, into: &buffer, spaced: spaced)
      }
      buffer.append(UInt8(ascii: "}"))
    }
  }

  package static func writeString(_ text: String, into buffer: inout ByteBuffer) {
    buffer.append(0x22 as UInt8)
    for byte in text.utf8 {
      switch byte {
      case 0x22: buffer.append("\\\"" as StaticString)
      case 0x5c: buffer.append("\\\\" as StaticString)
      case 0x08: buffer.append("\\b" as StaticString)
      case 0x0c: buffer.append("\\f" as StaticString)
      case 0x0a: buffer.append("\\n" as StaticString)
      case 0x0d: buffer.append("\\r" as StaticString)
      case 0x09: buffer.append("\\t" as StaticString)
      case 0..<0x20:
        buffer.append("\\u00" as StaticString)
        buffer.append(TypeCodec.hexDigits[Int(byte >> 4)])
        buffer.append(TypeCodec.hexDigits[Int(byte & 15)])
      default: buffer.append(byte)
      }
    }
    buffer.append(0x22 as UInt8)
  }

  // MARK: Parsing

  package static func parse(_ text: Bytes, _ typeName: String = "json") throws(SQLError) -> JSON {
    var parser = Parser(text: text, isBinary: typeName == "jsonb")
    let value = try parser.value(0)
    parser.skipSpace()
    guard parser.at == text.count else { throw parser.unexpected("end of input") }
    return value
  }

  private struct Parser {
    let text: Bytes
    let isBinary: Bool
    var at = 0

    mutating func skipSpace() {
      while at < text.count, text[at] == 32 || text[at] == 10 || text[at] == 13 || text[at] == 9 { at += 1 }
    }

    func token() -> String {
      guard at < text.count else { return "" }
      var end = at
      if TextScan.isLetter(text[at]) || TextScan.isDigit(text[at]) || text[at] >= 0x80 {
        while end < text.count,
          TextScan.isLetter(text[end]) || TextScan.isDigit(text[end]) || text[end] == 95 || text[end] >= 0x80
        {
          end += 1
        }
      } else {
        end += 1
      }
      return text[at..<end].string
    }

    func invalid(_ detail: String) -> SQLError {
      SQLError(.invalidText, "invalid input syntax for type json", detail: detail)
    }
    func unexpected(_ wanted: String) -> SQLError {
      guard at < text.count else { return invalid("The input string ended unexpectedly.") }
      let found = token()
      let isKnown =
        ["{", "}", "[", "]", ",", ":", "true", "false", "null"].contains(found) || found.hasPrefix("\"")
        || found.utf8.first.map(TextScan.isDigit) == true
      if !isKnown { return invalid("Token \"\(found)\" is invalid.") }
      return invalid("Expected \(wanted), but found \"\(found)\".")
    }

    mutating func value(_ depth: Int) throws(SQLError) -> JSON {
      guard depth < JSONText.depthLimit else {
        throw SQLError(
          .tooComplex, "JSON nesting exceeds the maximum depth of \(JSONText.depthLimit)",
          hint: "Store the document as text, or flatten it.")
      }
      skipSpace()
      guard at < text.count else { throw unexpected("JSON value") }
      switch text[at] {
      case UInt8(ascii: "{"): return try object(depth)
      case UInt8(ascii: "["): return try array(depth)
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "-"), 48...57: return .number(try number())
      default:
        let word = token()
        switch word {
        case "true": at += 4; return .bool(true)
        case "false": at += 5; return .bool(false)
        case "null": at += 4; return .null
        default: throw unexpected("JSON value")
        }
      }
    }

    mutating func object(_ depth: Int) throws(SQLError) -> JSON {
      at += 1
      var members: [(key: String, value: JSON)] = []
      skipSpace()
      if at < text.count, text[at] == UInt8(ascii: "}") {
        at += 1
        return .object([])
      }
      while true {
        skipSpace()
        guard at < text.count, text[at] == UInt8(ascii: "\"") else {
          throw unexpected(members.isEmpty ? "string or \"}\"" : "string")
        }
        let key = try string()
        skipSpace()
        guard at < text.count, text[at] == UInt8(ascii: ":") else { throw unexpected("\":\"") }
        at += 1
        members.append((key, try value(depth + 1)))
        skipSpace()
        guard at < text.count, text[at] == UInt8(ascii: ",") || text[at] == UInt8(ascii: "}") else {
          throw unexpected("\",\" or \"}\"")
        }
        at += 1
        if text[at - 1] == UInt8(ascii: "}") { return .object(members) }
      }
    }

    mutating func array(_ depth: Int) throws(SQLError) -> JSON {
      at += 1
      var items: [JSON] = []
      skipSpace()
      if at < text.count, text[at] == UInt8(ascii: "]") {
        at += 1
        return .array([])
      }
      while true {
        items.append(try value(depth + 1))
        skipSpace()
        guard at < text.count, text[at] == UInt8(ascii: ",") || text[at] == UInt8(ascii: "]") else {
          throw unexpected("\",\" or \"]\"")
        }
        at += 1
        if text[at - 1] == UInt8(ascii: "]") { return .array(items) }
      }
    }

    mutating func number() throws(SQLError) -> String {
      let start = at
      if text[at] == 45 { at += 1 }
      let first = at
      while at < text.count, TextScan.isDigit(text[at]) { at += 1 }
      var isValid = at > first && !(text[first] == 48 && at - first > 1)
      if at < text.count, text[at] == UInt8(ascii: ".") {
        at += 1
        let fraction = at
        while at < text.count, TextScan.isDigit(text[at]) { at += 1 }
        isValid = isValid && at > fraction
      }
      if at < text.count, text[at] | 0x20 == UInt8(ascii: "e") {
        at += 1
        if at < text.count, text[at] == 45 || text[at] == 43 { at += 1 }
        let exponent = at
        while at < text.count, TextScan.isDigit(text[at]) { at += 1 }
        isValid = isValid && at > exponent
      }
      if at < text.count, TextScan.isLetter(text[at]) || text[at] == 95 { isValid = false }
      guard isValid else {
        while at < text.count, TextScan.isLetter(text[at]) || TextScan.isDigit(text[at]) { at += 1 }
        throw invalid("Token \"\(text[start..<at].string)\" is invalid.")
      }
      return text[start..<at].string
    }

    mutating func string() throws(SQLError) -> String {
      at += 1
      var buffer = ByteBuffer(capacity: 32)
      while true {
        guard at < text.count else { throw invalid("Token \"\(text.string.suffix(40))\" is invalid.") }
        let byte = text[at]
        at += 1
        if byte == 0x22 { return buffer.string }
        if byte < 0x20 {
          throw invalid("Character with value 0x\(byte < 16 ? "0" : "")\(String(byte, radix: 16)) must be escaped.")
        }
        guard byte == 0x5c else {
          buffer.append(byte)
          continue
        }
        guard at < text.count else { throw invalid("The input string ended unexpectedly.") }
        let escape = text[at]
        at += 1
        switch escape {
        case 0x22, 0x5c, 0x2f: buffer.append(escape)
        case UInt8(ascii: "b"): buffer.append(8 as UInt8)
        case UInt8(ascii: "f"): buffer.append(12 as UInt8)
        case UInt8(ascii: "n"): buffer.append(10 as UInt8)
        case UInt8(ascii: "r"): buffer.append(13 as UInt8)
        case UInt8(ascii: "t"): buffer.append(9 as UInt8)
        case UInt8(ascii: "u"):
          var unit = try hex()
          if unit == 0 {
            if !isBinary { buffer.append("\u{fffd}"); continue }
            throw SQLError(
              .untranslatableCharacter, "unsupported Unicode escape sequence",
              detail: "\\u0000 cannot be converted to text.")
          }
          if unit & 0xfc00 == 0xd800 {
            guard at + 1 < text.count, text[at] == 0x5c, text[at + 1] == UInt8(ascii: "u") else {
              throw invalid("Unicode low surrogate must follow a high surrogate.")
            }
            at += 2
            let low = try hex()
            guard low & 0xfc00 == 0xdc00 else { throw invalid("Unicode low surrogate must follow a high surrogate.") }
            unit = 0x10000 + (unit & 0x3ff) << 10 + (low & 0x3ff)
          } else if unit & 0xfc00 == 0xdc00 {
            throw invalid("Unicode low surrogate must follow a high surrogate.")
          }
          if let scalar = UnicodeScalar(UInt32(unit)) { buffer.append(String(Character(scalar))) }
        default:
          throw invalid("Escape sequence \"\\\(String(UnicodeScalar(escape)))\" is invalid.")
        }
      }
    }

    mutating func hex() throws(SQLError) -> Int {
      var value = 0
      for _ in 0..<4 {
        guard at < text.count, let digit = TextScan.hexValue(text[at]) else {
          throw invalid("\"\\u\" must be followed by four hexadecimal digits.")
        }
        value = value << 4 | Int(digit)
        at += 1
      }
      return value
    }
  }

  // MARK: Order (jsonb)

  /// Object > array > boolean > number > string > null; more members or items are greater; then item by item.
  static func compare(_ a: Bytes, _ b: Bytes) -> Int {
    if a.equals(b) { return 0 }
    guard let x = try? parse(a), let y = try? parse(b) else { return a.compare(b) }
    let arena = Arena(initialBytes: 256)
    return compare(x, y, arena)
  }

  private static func rank(_ json: JSON) -> Int {
    switch json {
    case .null: return 0
    case .string: return 1
    case .number: return 2
    case .bool: return 3
    case .array: return 4
    case .object: return 5
    }
  }

  static func compare(_ a: JSON, _ b: JSON, _ arena: Arena) -> Int {
    switch (a, b) {
    case (.bool(let x), .bool(let y)): return x == y ? 0 : (x ? 1 : -1)
    case (.number(let x), .number(let y)):
      let p = try? Bytes.with(x) { (bytes) throws(SQLError) in try NumericText.parse(bytes, arena) }
      let q = try? Bytes.with(y) { (bytes) throws(SQLError) in try NumericText.parse(bytes, arena) }
      return Numeric.compare(p ?? .numericNaN, q ?? .numericNaN)
    case (.string(let x), .string(let y)):
      return x == y ? 0 : (x.utf8.lexicographicallyPrecedes(y.utf8) ? -1 : 1)
    case (.array(let x), .array(let y)):
      if x.count != y.count { return x.count < y.count ? -1 : 1 }
      for (p, q) in zip(x, y) {
        let order = compare(p, q, arena)
        if order != 0 { return order }
      }
      return 0
    case (.object(let x), .object(let y)):
      if x.count != y.count { return x.count < y.count ? -1 : 1 }
      for (p, q) in zip(x, y) {
        if p.key != q.key { return keyPrecedes(p.key, q.key) ? -1 : 1 }
        let order = compare(p.value, q.value, arena)
        if order != 0 { return order }
      }
      return 0
    default: return rank(a) < rank(b) ? -1 : (rank(a) == rank(b) ? 0 : 1)
    }
  }

  static func hash(_ bytes: Bytes) -> UInt64 {
    guard let json = try? parse(bytes) else { return ValueOrder.hash(bytes) }
    return hash(json, Arena(initialBytes: 256))
  }

  private static func hash(_ json: JSON, _ arena: Arena) -> UInt64 {
    func text(_ s: String) -> UInt64 { Bytes.with(s) { ValueOrder.hash($0) } }
    switch json {
    case .null: return 1
    case .bool(let value): return value ? 2 : 3
    case .string(let s): return text(s)
    case .number(let s):
      let value = try? Bytes.with(s) { (bytes) throws(SQLError) in try NumericText.parse(bytes, arena) }
      return Numeric.hash(value ?? .numericNaN)
    case .array(let items): return items.reduce(5) { ValueOrder.mix($0 &* 31 &+ hash($1, arena)) }
    case .object(let members):
      return members.reduce(7) { ValueOrder.mix($0 &* 31 &+ text($1.key) &+ hash($1.value, arena)) }
    }
  }
}
