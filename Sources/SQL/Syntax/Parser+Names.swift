/// Names, and the constants that clauses take.
extension SQLParser {
  // MARK: Simple names

  /// Whether the token may name a column, a table, an alias (`ColId`).
  @inline(__always)
  func isColumnName(_ token: Token) -> Bool {
    if token.kind == .identifier { return true }
    guard let keyword = token.keyword else { return false }
    return keyword.isColumnName
  }

  /// Whether the token may name a type or a function (`type_function_name`).
  func isTypeFunctionName(_ token: Token) -> Bool {
    if token.kind == .identifier { return true }
    guard let keyword = token.keyword else { return false }
    return keyword.isTypeFunctionName
  }

  /// `ColId`.
  @inline(__always)
  mutating func parseColumnName() throws(SyntaxError) -> String {
    guard isColumnName(token) else { throw unexpected() }
    return try takeName()
  }

  /// `ColLabel`: any word.
  mutating func parseLabel() throws(SyntaxError) -> String {
    guard token.kind == .identifier || token.kind == .keyword else { throw unexpected() }
    return try takeName()
  }

  /// The current token's name; the caller knows that it is one.
  @inline(__always)
  mutating func takeName() throws(SyntaxError) -> String {
    let name = try lexer.name(token)
    advance()
    return name
  }

  /// `ColId` with its position.
  mutating func parseName() throws(SyntaxError) -> Name {
    let position = here
    return Name(try parseColumnName(), position: position)
  }

  /// `ColLabel` with its position.
  mutating func parseLabelName() throws(SyntaxError) -> Name {
    let position = here
    return Name(try parseLabel(), position: position)
  }

  /// `NonReservedWord`: any word that is not reserved.
  mutating func parseNonReserved() throws(SyntaxError) -> String {
    if token.kind == .keyword, token.keyword?.category == .reserved { throw unexpected() }
    return try parseLabel()
  }

  /// `( a, b )`.
  mutating func parseNameList() throws(SyntaxError) -> [Name] {
    try parenthesized { (parser) throws(SyntaxError) in try parser.parseName() }
  }

  /// `( a, b )` if there is a parenthesis.
  mutating func parseOptionalNameList() throws(SyntaxError) -> [Name] {
    at(.leftParen) ? try parseNameList() : []
  }

  // MARK: Qualified names

  /// `a`, `a.b`, `a.b.c`: tables, types, operators classes, collations.
  mutating func parseQualifiedName() throws(SyntaxError) -> QualifiedName {
    let position = here
    var parts = [try parseColumnName()]
    while take(.dot) { parts.append(try parseLabel()) }
    if parts.count > 3 {
      throw SyntaxError(
        .syntaxError, "improper qualified name (too many dotted names): \(parts.joined(separator: "."))",
        position: position)
    }
    return QualifiedName(parts, position: position)
  }

  /// A name that takes no qualification: a schema, a database.
  mutating func parseSimpleName() throws(SyntaxError) -> QualifiedName {
    let name = try parseName()
    return QualifiedName([name.text], position: name.position)
  }

  /// A name that may have one part more than a relation: `db.schema.table.column`.
  mutating func parseAnyName() throws(SyntaxError) -> QualifiedName {
    let position = here
    var parts = [try parseColumnName()]
    while take(.dot) { parts.append(try parseLabel()) }
    return QualifiedName(parts, position: position)
  }

  /// `[ONLY] name [*]`, `ONLY (name)`.
  mutating func parseRelationName() throws(SyntaxError) -> Syntax.RelationName {
    if take(.only) {
      if take(.leftParen) {
        let name = try parseQualifiedName()
        try expect(.rightParen)
        return Syntax.RelationName(name: name, only: true)
      }
      return Syntax.RelationName(name: try parseQualifiedName(), only: true)
    }
    let name = try parseQualifiedName()
    // `t *` says what is meant anyway.
    if at(.star) { advance() }
    return Syntax.RelationName(name: name)
  }

  mutating func parseRoleName() throws(SyntaxError) -> Syntax.RoleName {
    let position = here
    switch token.keyword {
    case .current_user: advance(); return .currentUser
    case .current_role: advance(); return .currentRole
    case .session_user: advance(); return .sessionUser
    default: break
    }
    let name = try parseNonReserved()
    if name == "public" { return .everyone }
    if name == "none" {
      throw SyntaxError(.reservedName, "role name \"\(name)\" is reserved", position: position)
    }
    return .named(Name(name, position: position))
  }

  /// A role to be named: none of the words that stand for one (`RoleId`).
  mutating func parseRoleIdentifier() throws(SyntaxError) -> Name {
    let position = here
    let word = lexer.source(token).uppercased()
    switch try parseRoleName() {
    case .named(let name): return name
    case .everyone: throw SyntaxError(.reservedName, "role name \"public\" is reserved", position: position)
    case .currentRole, .currentUser, .sessionUser:
      throw SyntaxError(.reservedName, "\(word) cannot be used as a role name here", position: position)
    }
  }

  // MARK: Constants

  /// A string constant.
  mutating func parseString() throws(SyntaxError) -> String {
    guard token.kind == .string else { throw unexpected() }
    let value = try lexer.value(token)
    advance()
    return value
  }

  /// An integer constant without a sign (`Iconst`): at most 2147483647, as in PostgreSQL's grammar.
  mutating func parseInteger() throws(SyntaxError) -> Int {
    guard token.kind == .integer, let value = Int32(lexer.source(token)) else { throw unexpected() }
    advance()
    return Int(value)
  }

  /// `SignedIconst`.
  mutating func parseSignedInteger() throws(SyntaxError) -> Int {
    if take(.minus) { return -(try parseInteger()) }
    _ = take(.plus)
    return try parseInteger()
  }

  /// `NumericOnly`: a number with a sign, as text.
  mutating func parseNumber() throws(SyntaxError) -> String {
    var sign = ""
    if take(.minus) { sign = "-" } else { _ = take(.plus) }
    guard token.kind == .integer || token.kind == .decimal else { throw unexpected() }
    let text = lexer.source(token)
    advance()
    return sign + text
  }

  // MARK: Options

  /// `opt_drop_behavior`.
  mutating func parseDropBehavior() -> Syntax.DropBehavior {
    if take(.cascade) { return .cascade }
    _ = take(.restrict)
    return .restrict
  }

  mutating func takeIfExists() throws(SyntaxError) -> Bool {
    guard at(.if) else { return false }
    guard peek().keyword == .exists else { return false }
    advance()
    advance()
    return true
  }

  mutating func takeIfNotExists() throws(SyntaxError) -> Bool {
    // A column or a table may be named `if`.
    guard at(.if), peek().keyword == .not else { return false }
    advance()
    advance()
    try expect(.exists)
    return true
  }

  /// `( name = value, … )`: storage parameters.
  mutating func parseDefinition() throws(SyntaxError) -> [Option] {
    try parenthesized { (parser) throws(SyntaxError) in
      let position = parser.here
      var name = try parser.parseLabel()
      if parser.take(.dot) { name += "." + (try parser.parseLabel()) }
      guard parser.take(.equals) else { return Option(name: name, position: position) }
      return Option(name: name, value: try parser.parseDefinitionArgument(), position: position)
    }
  }

  private mutating func parseDefinitionArgument() throws(SyntaxError) -> Syntax.OptionValue {
    switch token.kind {
    case .string: return .string(try parseString())
    case .integer, .decimal, .plus, .minus: return .number(try parseNumber())
    default: return .word(try parseLabel())
    }
  }

  /// `( name [value], … )`: the options of EXPLAIN, VACUUM, ANALYZE, REINDEX. `analyse` is `analyze`.
  mutating func parseUtilityOptions() throws(SyntaxError) -> [Option] {
    try parenthesized { (parser) throws(SyntaxError) in
      let position = parser.here
      if parser.take(.analyze) || parser.take(.analyse) {
        return Option(name: "analyze", value: try parser.parseOptionValue(), position: position)
      }
      let name = try parser.parseNonReserved()
      return Option(name: name, value: try parser.parseOptionValue(), position: position)
    }
  }

  /// `( name [value], … )` of COPY, whose values may be `*` or lists as well.
  mutating func parseCopyOptions() throws(SyntaxError) -> [Option] {
    try parenthesized { (parser) throws(SyntaxError) in
      let position = parser.here
      let name = try parser.parseLabel()
      var value: Syntax.OptionValue?
      if parser.take(.star) {
        value = .star
      } else if parser.at(.leftParen) {
        value = .list(
          try parser.parenthesized { (parser) throws(SyntaxError) in
            try parser.parseOptionWord()
          })
      } else {
        value = try parser.parseOptionValue()
      }
      return Option(name: name, value: value, position: position)
    }
  }

  /// A word, a string, a number, or nothing.
  private mutating func parseOptionValue() throws(SyntaxError) -> Syntax.OptionValue? {
    switch token.kind {
    case .comma, .rightParen: return nil
    case .integer, .decimal, .plus, .minus: return .number(try parseNumber())
    default: return try parseOptionWord()
    }
  }

  /// `opt_boolean_or_string`: TRUE, FALSE, ON, a word that is not reserved, a string.
  private mutating func parseOptionWord() throws(SyntaxError) -> Syntax.OptionValue {
    if token.kind == .string { return .string(try parseString()) }
    switch token.keyword {
    case .true, .false, .on: return .word(try takeName())
    default: return .word(try parseNonReserved())
    }
  }
}
