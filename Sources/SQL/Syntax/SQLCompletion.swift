/// What may stand at the cursor of an unfinished statement, for completion by the Tab key.
///
/// Decided by the tokens before the cursor, not by the grammar: an unfinished text seldom parses. What it says is a help,
/// never a promise.
package struct SQLCompletion: Hashable, Sendable {
  /// What kind of name fits.
  package enum Kind: Hashable, Sendable {
    case keyword, table, column, function, type, setting, schema, role, index, view, sequence, channel
  }

  /// A table that the statement names, so that its columns can be offered.
  package struct Table: Hashable, Sendable {
    package var name: [String]
    /// The alias, or the table's own name.
    package var alias: String
  }

  /// The letters before the cursor that are to be completed, as typed (with an opening quote, if there is one).
  package var prefix: String
  /// Where `prefix` begins, in bytes of UTF-8.
  package var prefixStart: Int
  /// The names with dots before `prefix`, folded: `s.t.` is `["s", "t"]`.
  package var qualifier: [String]
  /// What fits, most likely first. Empty within a string or a comment.
  package var kinds: [Kind]
  /// The tables of the statement, also those after the cursor.
  package var tables: [Table]

  /// All keywords of the dialect, lower case, in alphabetical order.
  package static var keywords: [String] { KeywordTable.shared.names }

  /// What fits at `cursor`, a byte offset into `text`'s UTF-8 (clamped to it).
  package init(_ text: String, cursor: Int) {
    let bytes = Array(text.utf8)
    let cursor = max(0, min(cursor, bytes.count))
    let scanned = Self.tokens(bytes)
    let lexer = scanned.lexer
    var before = scanned.tokens.filter { Int($0.start) < cursor }
    (prefix, prefixStart, qualifier, kinds) = ("", cursor, [], [])
    tables = []
    // Only the statement that the cursor is in.
    if let last = before.lastIndex(where: { $0.kind == .semicolon }) { before.removeFirst(last + 1) }
    let begin = before.first.map { Int($0.start) } ?? cursor
    let statement = scanned.tokens.drop { Int($0.start) < begin }.prefix { $0.kind != .semicolon }
    tables = Self.namedTables(Array(statement), lexer)
    if Self.isInText(before, bytes, cursor) { return }
    if let last = before.last, Int(last.end) >= cursor, Self.isWord(last) || last.kind == .invalid {
      prefixStart = Int(last.start)
      prefix = String(decoding: bytes[Int(last.start)..<cursor], as: UTF8.self)
      before.removeLast()
    }
    while before.count >= 2, before[before.count - 1].kind == .dot, Self.isWord(before[before.count - 2]) {
      qualifier.insert((try? lexer.name(before[before.count - 2])) ?? "", at: 0)
      before.removeLast(2)
    }
    kinds = Self.kinds(after: before, isQualified: !qualifier.isEmpty)
  }

  // MARK: Tokens

  private static func tokens(_ bytes: [UInt8]) -> (lexer: Lexer, tokens: [Token]) {
    // A NUL would end the text for the lexer; nobody types one.
    let lexer = Lexer(checked: bytes.map { $0 == 0 ? 32 : $0 } + [0])
    var tokens: [Token] = []
    var offset = 0
    while true {
      let token = lexer.token(at: offset)
      if token.kind == .end { return (lexer, tokens) }
      tokens.append(token)
      offset = max(Int(token.end), offset + 1)
    }
  }

  private static func isWord(_ token: Token) -> Bool { token.kind == .identifier || token.kind == .keyword }

  /// Whether the cursor is within a string constant or a comment.
  private static func isInText(_ before: [Token], _ bytes: [UInt8], _ cursor: Int) -> Bool {
    let last = before.last ?? Token(kind: .semicolon, start: 0, end: 0)
    switch last.kind {
    case .string: return Int(last.end) > cursor || (Int(last.end) == cursor && last.form != .dollar)
    case .invalid:
      switch last.fault {
      case .unterminatedString, .unterminatedDollarString, .unterminatedComment: return true
      default: return false
      }
    default:
      // Within a line comment there is no token, but `--` between the last one and the cursor.
      let end = min(Int(last.end), cursor)
      let between = bytes[end..<cursor]
      guard let newline = between.lastIndex(of: 10) else { return between.hasLineComment }
      return between[(newline + 1)...].hasLineComment
    }
  }

  /// The relations behind FROM, JOIN, UPDATE, INTO, TABLE and their commas.
  private static func namedTables(_ tokens: [Token], _ lexer: Lexer) -> [Table] {
    var result: [Table] = []
    var index = 0
    var expectsTable = false
    while index < tokens.count {
      let token = tokens[index]
      index += 1
      switch token.keyword {
      case .from, .join, .update, .into, .table, .using:
        expectsTable = true
        continue
      case .only, .lateral, .if, .not, .exists: continue
      default: break
      }
      guard expectsTable, isWord(token), token.keyword?.category != .reserved else {
        // A comma goes on with a list of tables; anything else ends it.
        if token.kind != .comma { expectsTable = false }
        continue
      }
      var name = [(try? lexer.name(token)) ?? ""]
      while index + 1 < tokens.count, tokens[index].kind == .dot, isWord(tokens[index + 1]) {
        name.append((try? lexer.name(tokens[index + 1])) ?? "")
        index += 2
      }
      if index < tokens.count, tokens[index].kind == .leftParen, token.keyword == nil { continue }
      var alias = name[name.count - 1]
      if index < tokens.count, tokens[index].keyword == .as { index += 1 }
      if index < tokens.count, tokens[index].kind == .identifier {
        alias = (try? lexer.name(tokens[index])) ?? alias
        index += 1
      }
      expectsTable = index < tokens.count && tokens[index].kind == .comma
      result.append(Table(name: name, alias: alias))
    }
    return result
  }

  // MARK: What fits

  private static func kinds(after tokens: [Token], isQualified: Bool) -> [Kind] {
    guard let last = tokens.last else { return [.keyword] }
    if isQualified {
      // `s.` may be a schema's table as well as a table's column.
      return afterTableWord(tokens) ? [.table] : [.column, .table, .function]
    }
    switch last.keyword {
    case .from, .join, .update, .into, .truncate, .copy, .table, .only, .analyze, .vacuum, .references, .lock:
      return last.keyword == .into || last.keyword == .update ? [.table] : [.table, .keyword]
    case .on where isIndexOrGrant(tokens): return [.table]
    case .index: return [.index, .keyword]
    case .view: return [.view, .keyword]
    case .sequence: return [.sequence, .keyword]
    case .schema: return [.schema, .keyword]
    case .set, .show, .reset:
      return tokens.contains { $0.keyword == .update } ? [.column] : [.setting, .keyword]
    case .role, .user,
      .to where tokens.first?.keyword == .grant, .owner:
      return [.role]
    case .listen, .notify, .unlisten: return [.channel]
    case .cast,
      .as where tokens.contains { $0.keyword == .cast }:
      return [.type]
    case .select, .where, .and, .or, .not, .by, .on, .having, .when, .then, .else, .case, .returning, .distinct, .in,
      .like, .between, .using:
      return [.column, .function, .keyword]
    default: break
    }
    switch last.kind {
    case .typecast: return [.type]
    case .comma where afterTableWord(tokens): return [.table]
    case .comma, .leftParen, .equals, .op, .plus, .minus, .star, .slash, .less, .greater, .lessEquals, .greaterEquals,
      .notEquals:
      return tokens.first?.keyword == .create ? [.type, .keyword] : [.column, .function, .keyword]
    default: return [.keyword, .column]
    }
  }

  /// Whether the last clause word before the cursor is one that tables follow.
  private static func afterTableWord(_ tokens: [Token]) -> Bool {
    var depth = 0
    for token in tokens.reversed() {
      if token.kind == .rightParen { depth += 1 }
      if token.kind == .leftParen { depth -= 1 }
      if depth < 0 { return false }
      guard depth == 0, let keyword = token.keyword else { continue }
      switch keyword {
      case .from, .join, .into, .update, .truncate, .table, .lock, .vacuum, .analyze: return true
      case .select, .where, .set, .on, .by, .having, .returning, .values, .using: return false
      default: continue
      }
    }
    return false
  }

  private static func isIndexOrGrant(_ tokens: [Token]) -> Bool {
    tokens.contains { $0.keyword == .index || $0.keyword == .grant || $0.keyword == .revoke || $0.keyword == .comment }
  }
}

extension ArraySlice<UInt8> {
  /// Whether `--` occurs in the line.
  fileprivate var hasLineComment: Bool {
    zip(self, dropFirst()).contains { $0 == UInt8(ascii: "-") && $1 == UInt8(ascii: "-") }
  }
}
