/// Writes a syntax tree as SQL: the way back from ``SQLParser``.
///
/// 1. Parsing what was written gives an equal tree (positions aside), for every tree that the parser makes.
/// 2. The text stands on one line, keywords in capitals; names are quoted where PostgreSQL's `quote_identifier` does.
/// 3. The standard's names of types are written (`integer`, `character varying(10)`), as `format_type` does.
///
/// Used for what the catalog keeps as text: defaults, checks, index expressions and predicates, views.
package struct SQLWriter {
  package enum Parentheses: Hashable, Sendable {
    /// Only where the meaning needs them.
    case needed
    /// Around every operator, as `pg_get_expr` and `pg_get_viewdef` write: `((a + b) > 0)`.
    case always
  }

  /// What was written.
  package private(set) var text = ""
  let parentheses: Parentheses

  package init(parentheses: Parentheses = .needed) { self.parentheses = parentheses }

  // MARK: Text

  mutating func write(_ words: String) { text += words }

  /// Writes `words` with a space before them, unless the text ends in one or in an opening parenthesis.
  mutating func word(_ words: String) {
    space()
    text += words
  }

  mutating func space() {
    guard let last = text.utf8.last else { return }
    if last != UInt8(ascii: " "), last != UInt8(ascii: "("), last != UInt8(ascii: "[") { text += " " }
  }

  /// `a, b, c`.
  mutating func list<Item>(_ items: [Item], _ item: (inout SQLWriter, Item) -> Void) {
    for (index, each) in items.enumerated() {
      if index > 0 { text += ", " }
      item(&self, each)
    }
  }

  /// ` (a, b, c)`.
  mutating func parenthesized<Item>(_ items: [Item], _ item: (inout SQLWriter, Item) -> Void) {
    space()
    text += "("
    list(items, item)
    text += ")"
  }

  // MARK: Names

  /// A name, in quotes if it needs them: unless it is lower-case letters, digits and underscores, and no keyword but an
  /// unreserved one. A few unreserved words that begin clauses are quoted as well.
  package static func quoted(_ name: String) -> String {
    isPlain(name) && !mustQuote(name) ? name : quotedAlways(name)
  }

  private static func quotedAlways(_ name: String) -> String {
    enclosed(name, in: UInt8(ascii: "\""))
  }

  private static func isPlain(_ name: String) -> Bool {
    guard let first = name.utf8.first, first == UInt8(ascii: "_") || first &- 97 < 26 else { return false }
    return name.utf8.allSatisfy { $0 == UInt8(ascii: "_") || $0 &- 97 < 26 || $0 &- 48 < 10 }
  }

  private static func mustQuote(_ name: String) -> Bool {
    switch name {
    case "cube", "rollup", "partition", "range", "rows", "groups": true
    default: Keyword.named(name).map { $0.category != .unreserved } ?? false
    }
  }

  /// A word of an option: any keyword may stand there unless `allowsReserved` is false.
  static func optionWord(_ name: String, allowsReserved: Bool) -> String {
    guard isPlain(name) else { return quotedAlways(name) }
    switch name {
    case "analyze", "true", "false", "on": return name
    default: break
    }
    if !allowsReserved, Keyword.named(name)?.category == .reserved { return quotedAlways(name) }
    return name
  }

  mutating func name(_ name: String) { word(Self.quoted(name)) }
  mutating func name(_ name: Syntax.Name) { word(Self.quoted(name.text)) }
  mutating func name(_ name: Syntax.QualifiedName) { word(Self.dotted(name.parts)) }

  static func dotted(_ parts: [String]) -> String { parts.map(quoted).joined(separator: ".") }

  /// ` (a, b)`, or nothing if there is none.
  mutating func names(_ names: [Syntax.Name]) {
    if !names.isEmpty { parenthesized(names) { $0.name($1) } }
  }

  mutating func relation(_ relation: Syntax.RelationName) {
    if relation.only { word("ONLY") }
    name(relation.name)
  }

  // MARK: Constants

  /// A string constant: quotes doubled. Backslashes stand for themselves.
  package static func literal(_ value: String) -> String {
    enclosed(value, in: UInt8(ascii: "'"))
  }

  /// The text between quotes, with the quotes in it doubled. By bytes: a quote with a combining mark behind it is one
  /// `Character`, and not equal to a quote.
  private static func enclosed(_ text: String, in quote: UInt8) -> String {
    var bytes = [quote]
    for byte in text.utf8 {
      if byte == quote { bytes.append(quote) }
      bytes.append(byte)
    }
    bytes.append(quote)
    return String(decoding: bytes, as: UTF8.self)
  }

  mutating func string(_ value: String) { word(Self.literal(value)) }

  mutating func optionValue(_ value: Syntax.OptionValue, allowsReserved: Bool = false) {
    switch value {
    case .word(let name): word(Self.optionWord(name, allowsReserved: allowsReserved))
    case .number(let number): word(number)
    case .string(let value): string(value)
    case .star: word("*")
    case .list(let values): parenthesized(values) { $0.optionValue($1) }
    }
  }

  /// ` (name value, …)`: the options of EXPLAIN, COPY, VACUUM.
  mutating func utilityOptions(_ options: [Syntax.Option], allowsReserved: Bool = false) {
    if options.isEmpty { return }
    parenthesized(options) { writer, option in
      writer.word(Self.optionWord(option.name, allowsReserved: allowsReserved))
      if let value = option.value { writer.optionValue(value) }
    }
  }

  /// ` (name = value, …)`: storage parameters.
  mutating func definition(_ options: [Syntax.Option]) {
    parenthesized(options) { writer, option in
      let parts = option.name.split(separator: ".", maxSplits: 1).map(String.init)
      writer.word(parts.map { Self.optionWord($0, allowsReserved: true) }.joined(separator: "."))
      if let value = option.value {
        writer.word("=")
        writer.optionValue(value, allowsReserved: true)
      }
    }
  }

  // MARK: Types

  mutating func type(_ type: Syntax.TypeName) {
    if type.isSet { word("SETOF") }
    let (head, tail) = typeText(type)
    word(head + tail)
    for bound in type.arrayBounds { write(bound.map { "[\($0)]" } ?? "[]") }
  }

  /// The type before a constant, and what follows the constant: an interval's fields.
  func typeText(_ type: Syntax.TypeName) -> (head: String, tail: String) {
    var modifiers = ""
    if !type.modifiers.isEmpty {
      var writer = SQLWriter(parentheses: parentheses)
      writer.list(type.modifiers) { $0.expression($1) }
      modifiers = "(" + writer.text + ")"
    }
    let parts = type.name.parts
    let hasPlainModifier = type.modifiers.allSatisfy { if case .number = $0.kind { true } else { false } }
    guard parts.count == 2, parts[0] == "pg_catalog", hasPlainModifier else {
      return (Self.dotted(parts) + modifiers, "")
    }
    switch (parts[1], type.modifiers.count) {
    case ("int2", 0): return ("smallint", "")
    case ("int4", 0): return ("integer", "")
    case ("int8", 0): return ("bigint", "")
    case ("float4", 0): return ("real", "")
    case ("float8", 0): return ("double precision", "")
    case ("bool", 0): return ("boolean", "")
    case ("numeric", _): return ("numeric" + modifiers, "")
    case ("varchar", 0...1): return ("character varying" + modifiers, "")
    case ("bpchar", 1): return ("character" + modifiers, "")
    case ("time", 0...1): return ("time" + modifiers + " without time zone", "")
    case ("timetz", 0...1): return ("time" + modifiers + " with time zone", "")
    case ("timestamp", 0...1): return ("timestamp" + modifiers + " without time zone", "")
    case ("timestamptz", 0...1): return ("timestamp" + modifiers + " with time zone", "")
    case ("interval", 0...1):
      guard let fields = type.intervalFields else { return ("interval" + modifiers, "") }
      return ("interval", " " + fields.rawValue + modifiers)
    default: return (Self.dotted(parts) + modifiers, "")
    }
  }
}

extension Syntax.Statement: CustomStringConvertible {
  /// The statement as SQL, on one line, without a semicolon.
  package var description: String {
    var writer = SQLWriter()
    writer.statement(self)
    return writer.text
  }
}

extension Syntax.Query: CustomStringConvertible {
  /// The query as SQL, on one line.
  package var description: String {
    var writer = SQLWriter()
    writer.query(self)
    return writer.text
  }
}

extension Syntax.Expression: CustomStringConvertible {
  /// The expression as SQL, with the parentheses that it needs.
  package var description: String {
    var writer = SQLWriter()
    writer.expression(self)
    return writer.text
  }
}

extension Syntax.TypeName: CustomStringConvertible {
  /// The type as SQL.
  package var description: String {
    var writer = SQLWriter()
    writer.type(self)
    return writer.text
  }
}

extension Syntax.QualifiedName: CustomStringConvertible {
  /// The name as SQL, each part quoted where it must be.
  package var description: String { SQLWriter.dotted(parts) }
}
