internal import Platform

/// PostgreSQL's grammar as a recursive descent, with precedence climbing for expressions.
///
/// 1. One token is current; the parser decides by it, and looks further ahead only where PostgreSQL's own grammar needs
///    more than one token (`NOT IN`, `NULLS FIRST`, `WITH TIME`) or where ours adds something (`AS OF VERSION`).
///    No rule is tried and undone, so that time is linear in the text.
/// 2. Errors are PostgreSQL's: `syntax error at or near "x"` at the first token that cannot go on, `syntax error at end
///    of input`; a fault of the lexer is reported when its token becomes current.
/// 3. Depth is counted twice: `depth` on the way down (calls), `height` on the way up (the tree that left-associative
///    chains build without calls). Either beyond ``Syntax/Limits/depth`` is 54001; the stack is never the limit.
/// 4. A clause of PostgreSQL's that the tree does not carry is refused with 0A000 at its first token.
package struct SQLParser {
  let lexer: Lexer
  /// The token to decide by.
  var token: Token
  /// The token after it, if it was asked for.
  private var following: Token?
  /// The end of the token before the current one, in bytes.
  private(set) var previousEnd = 0
  let isASCII: Bool
  /// A byte offset and its position: the last one asked for, from which the next is counted.
  private var knownOffset = 0
  private var knownPosition = 1

  var depth = 0
  var height = 0
  /// The highest parameter of the statement.
  var parameterCount = 0
  /// `SELECT … INTO`, found where it is allowed: at the top of a statement.
  var into: IntoClause?
  var allowsInto = false
  /// Whether the expression is a select item, so that a word behind it may be its label.
  var mayBeLabel = false

  // MARK: Entry points

  /// All statements of a script; empty statements are left out.
  ///
  /// Positions and ranges count from the script's start. Linear in the text.
  /// - Throws: 42601, 42602, 0A000, 22021, 22025, 42P02, 54000, 54001, with the position.
  package static func parse(_ script: String) throws(SQLError) -> [Syntax.ParsedStatement] {
    try parsing(bytes(script)) { (parser) throws(SyntaxError) in try parser.parseScript() }
  }

  /// All statements of a script in UTF-8, as it comes from a client.
  package static func parse(utf8 script: [UInt8]) throws(SQLError) -> [Syntax.ParsedStatement] {
    try parsing(script) { (parser) throws(SyntaxError) in try parser.parseScript() }
  }

  /// The one statement of a text, or nil if there is none (white space, comments, semicolons).
  ///
  /// - Throws: as ``parse(_:)``; 42601 `cannot insert multiple commands into a prepared statement` for more than one,
  ///   as PostgreSQL's extended protocol does.
  package static func parseStatement(_ text: String) throws(SQLError) -> Syntax.ParsedStatement? {
    try single(parse(text))
  }

  /// As ``parseStatement(_:)``, from UTF-8.
  package static func parseStatement(utf8 text: [UInt8]) throws(SQLError) -> Syntax.ParsedStatement? {
    try single(parse(utf8: text))
  }

  /// A value expression alone: a stored CHECK or DEFAULT.
  package static func parseExpression(_ text: String) throws(SQLError) -> Syntax.Expression {
    try parsing(bytes(text)) { (parser) throws(SyntaxError) in
      let expression = try parser.parseExpression()
      try parser.expectEnd()
      return expression
    }
  }

  /// A type name alone, as in `'numeric(10,2)'::regtype`.
  package static func parseTypeName(_ text: String) throws(SQLError) -> Syntax.TypeName {
    try parsing(bytes(text)) { (parser) throws(SyntaxError) in
      let type = try parser.parseTypeName()
      try parser.expectEnd()
      return type
    }
  }

  /// A possibly qualified name alone, as in `'s.t'::regclass`.
  package static func parseQualifiedName(_ text: String) throws(SQLError) -> Syntax.QualifiedName {
    try parsing(bytes(text)) { (parser) throws(SyntaxError) in
      let name = try parser.parseQualifiedName()
      try parser.expectEnd()
      return name
    }
  }

  private static func bytes(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count + 1)
    bytes.append(contentsOf: text.utf8)
    return bytes
  }

  /// Within the parser an error is a pointer (``SyntaxError``); outside it is a value.
  private static func parsing<Result>(
    _ utf8: [UInt8], _ body: (inout SQLParser) throws(SyntaxError) -> Result
  ) throws(SQLError) -> Result {
    do throws(SyntaxError) {
      var parser = try SQLParser(utf8: utf8)
      return try body(&parser)
    } catch {
      throw error.error
    }
  }

  private static func single(_ statements: [Syntax.ParsedStatement]) throws(SQLError) -> Syntax.ParsedStatement? {
    guard statements.count < 2 else {
      throw SQLError(
        .syntaxError, "cannot insert multiple commands into a prepared statement", position: statements[1].position)
    }
    return statements.first
  }

  // MARK: Making one

  init(utf8: [UInt8]) throws(SyntaxError) {
    guard utf8.count <= Syntax.Limits.textBytes else {
      throw SyntaxError(
        .programLimit, "statement is too long",
        detail: "It has \(utf8.count) bytes; \(Syntax.Limits.textBytes) are allowed.",
        hint: "Send the data with COPY, or in several statements.")
    }
    isASCII = try UTF8Check.check(utf8)
    var bytes = utf8
    bytes.append(0)
    lexer = Lexer(checked: bytes)
    token = lexer.token(at: 0)
  }

  /// Goes on at `offset`, which is `position`, of a text that was checked before.
  init(_ lexer: Lexer, at offset: Int, position: Int, isASCII: Bool) {
    self.lexer = lexer
    self.isASCII = isASCII
    token = lexer.token(at: offset)
    previousEnd = offset
    knownOffset = offset
    knownPosition = position
  }

  /// Passes over the text before `offset`.
  mutating func skip(to offset: Int) {
    following = nil
    previousEnd = offset
    token = lexer.token(at: offset)
  }

  // MARK: Scripts

  private mutating func parseScript() throws(SyntaxError) -> [Syntax.ParsedStatement] {
    var statements: [Syntax.ParsedStatement] = []
    while true {
      while token.kind == .semicolon { advance() }
      if token.kind == .end { return statements }
      let start = Int(token.start)
      let position = here
      parameterCount = 0
      let statement = try parseTopStatement()
      guard token.kind == .semicolon || token.kind == .end else { throw unexpected() }
      statements.append(
        Syntax.ParsedStatement(
          statement: statement, range: start..<previousEnd, position: position, parameterCount: parameterCount))
    }
  }

  private mutating func expectEnd() throws(SyntaxError) {
    guard token.kind == .end else { throw unexpected() }
  }

  // MARK: Tokens

  /// Makes the next token current.
  @inline(__always)
  mutating func advance() {
    previousEnd = Int(token.end)
    if let following {
      token = following
      self.following = nil
    } else {
      token = lexer.token(at: previousEnd)
    }
  }

  /// The token after the current one.
  mutating func peek() -> Token {
    if let following { return following }
    let next = lexer.token(at: Int(token.end))
    following = next
    return next
  }

  /// The token after `token`.
  func after(_ token: Token) -> Token { lexer.token(at: Int(token.end)) }

  /// The position of the current token.
  var here: Int {
    mutating get { position(of: Int(token.start)) }
  }

  mutating func position(of offset: Int) -> Int {
    if isASCII { return offset + 1 }
    while knownOffset < offset {
      if lexer.bytes[knownOffset] & 0xC0 != 0x80 { knownPosition += 1 }
      knownOffset += 1
    }
    while knownOffset > offset {
      knownOffset -= 1
      if lexer.bytes[knownOffset] & 0xC0 != 0x80 { knownPosition -= 1 }
    }
    return knownPosition
  }

  @inline(__always) func at(_ keyword: Keyword) -> Bool { token.keyword == keyword }
  @inline(__always) func at(_ kind: Token.Kind) -> Bool { token.kind == kind }

  /// Whether the current and the next token are these keywords.
  mutating func at(_ first: Keyword, _ second: Keyword) -> Bool {
    token.keyword == first && peek().keyword == second
  }

  /// Takes the token if it is this one.
  @inline(__always)
  mutating func take(_ keyword: Keyword) -> Bool {
    guard token.keyword == keyword else { return false }
    advance()
    return true
  }

  @inline(__always)
  mutating func take(_ kind: Token.Kind) -> Bool {
    guard token.kind == kind else { return false }
    advance()
    return true
  }

  /// Takes both keywords, or nothing.
  mutating func take(_ first: Keyword, _ second: Keyword) -> Bool {
    guard at(first, second) else { return false }
    advance()
    advance()
    return true
  }

  @inline(__always)
  mutating func expect(_ keyword: Keyword) throws(SyntaxError) {
    guard take(keyword) else { throw unexpected() }
  }

  @inline(__always)
  mutating func expect(_ kind: Token.Kind) throws(SyntaxError) {
    guard take(kind) else { throw unexpected() }
  }

  // MARK: Errors

  /// The current token cannot stand here.
  @inline(never)
  mutating func unexpected() -> SyntaxError { unexpected(token) }

  @inline(never)
  mutating func unexpected(_ token: Token) -> SyntaxError {
    let place = position(of: Int(token.start))
    switch token.kind {
    case .end: return SyntaxError(.syntaxError, "syntax error at end of input", position: place)
    case .invalid: return fault(token, place)
    default:
      // What cannot be decoded is blamed for that first.
      do throws(SyntaxError) {
        if token.kind == .string { _ = try lexer.value(token) }
        if token.kind == .identifier { _ = try lexer.name(token) }
      } catch { return error }
      return SyntaxError(.syntaxError, "syntax error at or near \"\(near(token))\"", position: place)
    }
  }

  /// The token's text for a message; what is very long is cut.
  private func near(_ token: Token) -> String {
    let start = Int(token.start)
    var end = token.kind == .other ? lexer.characterEnd(start) : Int(token.end)
    if end - start > 1000 {
      end = start + 1000
      while lexer.bytes[end] & 0xC0 == 0x80 { end -= 1 }
    }
    return lexer.string(start..<end)
  }

  private func fault(_ token: Token, _ position: Int) -> SyntaxError {
    let text = near(token)
    func syntax(_ message: String) -> SyntaxError {
      let place = text.isEmpty ? "at end of input" : "at or near \"\(text)\""
      return SyntaxError(.syntaxError, "\(message) \(place)", position: position)
    }
    switch token.fault {
    case .unterminatedString: return syntax("unterminated quoted string")
    case .unterminatedIdentifier: return syntax("unterminated quoted identifier")
    case .unterminatedDollarString: return syntax("unterminated dollar-quoted string")
    case .unterminatedComment: return syntax("unterminated /* comment")
    case .emptyIdentifier: return syntax("zero-length delimited identifier")
    case .numberJunk: return syntax("trailing junk after numeric literal")
    case .parameterJunk: return syntax("trailing junk after parameter")
    case .badUnicodeEscapeCharacter: return syntax("invalid Unicode escape character")
    case .unescapeNeedsString: return syntax("UESCAPE must be followed by a simple string literal")
    case .operatorTooLong: return syntax("operator too long")
    case .bitString: return unsupported("bit string constants", at: position)
    case nil: return syntax("syntax error")
    }
  }

  /// A clause that we do not have (invariant 4).
  func unsupported(_ clause: String, at position: Int, hint: String? = nil) -> SyntaxError {
    SyntaxError(
      .featureNotSupported, "\(clause) \(clause.hasSuffix("s") ? "are" : "is") not supported", hint: hint,
      position: position)
  }

  /// A clause that we do not have and that begins with the current token.
  mutating func unsupported(_ clause: String) -> SyntaxError { unsupported(clause, at: here) }

  // MARK: Depth

  /// Runs `body` one level down: around everything that can hold itself.
  @inline(__always)
  mutating func nested<Result>(_ body: (inout SQLParser) throws(SyntaxError) -> Result) throws(SyntaxError) -> Result {
    depth += 1
    if depth > Syntax.Limits.depth || (depth & 7 == 0 && StackGuard.isLow) { throw tooDeep() }
    let outer = height
    height = 0
    let result = try body(&self)
    try grow()
    if outer > height { height = outer }
    depth -= 1
    return result
  }

  /// The tree grows by one level above what was parsed at this level.
  @inline(__always)
  mutating func grow() throws(SyntaxError) {
    height += 1
    if height > Syntax.Limits.depth { throw tooDeep() }
  }

  private mutating func tooDeep() -> SyntaxError {
    SyntaxError(
      .tooComplex, "statement too complex", detail: "It nests deeper than \(Syntax.Limits.depth) levels.",
      hint: "Write long chains as lists (IN, ANY, VALUES), or split the statement.", position: here)
  }

  // MARK: Lists

  /// One or more items with commas between them.
  @inline(__always)
  mutating func list<Item>(_ item: (inout SQLParser) throws(SyntaxError) -> Item) throws(SyntaxError) -> [Item] {
    var items = [try item(&self)]
    while take(.comma) { items.append(try item(&self)) }
    return items
  }

  /// `( item, … )`.
  @inline(__always)
  mutating func parenthesized<Item>(_ item: (inout SQLParser) throws(SyntaxError) -> Item) throws(SyntaxError) -> [Item]
  {
    try expect(.leftParen)
    let items = try list(item)
    try expect(.rightParen)
    return items
  }
}

/// An ``SQLError`` behind a pointer: every call of the descent has room for one on the stack.
indirect enum SyntaxError: Error {
  case error(SQLError)

  @inline(never)
  init(_ state: SQLState, _ message: String, detail: String? = nil, hint: String? = nil, position: Int? = nil) {
    self = .error(SQLError(state, message, detail: detail, hint: hint, position: position))
  }

  var error: SQLError {
    switch self {
    case .error(let error): error
    }
  }

  var state: SQLState { error.state }
}

extension SQLParser {
  /// The target of `SELECT … INTO`.
  struct IntoClause {
    var name: Syntax.QualifiedName
    var persistence: Syntax.Persistence
  }

  typealias Statement = Syntax.Statement
  typealias Expression = Syntax.Expression
  typealias Query = Syntax.Query
  typealias QualifiedName = Syntax.QualifiedName
  typealias Name = Syntax.Name
  typealias TypeName = Syntax.TypeName
  typealias Option = Syntax.Option
}
