/// What an operator can stand beside: constants, columns, parentheses, CASE, constructors (`c_expr`).
extension SQLParser {
  mutating func parsePrimary() throws(SyntaxError) -> Expression {
    switch token.kind {
    case .identifier: return try parseNamed()
    case .integer, .decimal:
      let number = Expression(.number(lexer.source(token)), here)
      advance()
      return number
    case .string:
      let position = here
      return Expression(.string(try parseString()), position)
    case .parameter: return try parseIndirection(parseParameter())
    case .leftParen:
      let position = here
      return try operand(try parseParenthesized(), position)
    case .keyword: return try parseKeywordPrimary()
    default: throw unexpected()
    }
  }

  private mutating func parseParameter() throws(SyntaxError) -> Expression {
    let text = lexer.source(token).dropFirst()
    guard let number = Int(text), number >= 1, number <= Syntax.Limits.parameters else {
      throw SyntaxError(
        .undefinedParameter, "there is no parameter $\(text.prefix(20))", detail: "Parameters go from $1 to $65535.",
        position: here)
    }
    let parameter = Expression(.parameter(number), here)
    parameterCount = max(parameterCount, number)
    advance()
    return parameter
  }

  private mutating func parseKeywordPrimary() throws(SyntaxError) -> Expression {
    guard let keyword = token.keyword else { throw unexpected() }
    let position = here
    switch keyword {
    case .null: return constant(.null, position)
    case .true: return constant(.boolean(true), position)
    case .false: return constant(.boolean(false), position)
    case .case: return try parseCase()
    case .array: return try parseArrayConstructor()
    case .exists where peek().kind == .leftParen:
      advance()
      return Expression(.exists(try parseSubquery()), position)
    case .row where peek().kind == .leftParen:
      advance()
      return try parseOverlaps(try parseRowItems(), explicit: true, position)
    case .grouping where peek().kind == .leftParen:
      advance()
      return Expression(.grouping(try parseExpressionList()), position)
    case .unique where peek().kind == .leftParen: throw unsupported("the UNIQUE predicate")
    default: break
    }
    if let special = try parseSpecialFunction(keyword, position) { return special }
    if let constant = try parseTypedConstant(keyword) { return constant }
    return try parseNamed()
  }

  private mutating func constant(_ kind: Expression.Kind, _ position: Int) -> Expression {
    advance()
    return Expression(kind, position)
  }

  /// `( query )`, with any number of parentheses, where nothing but a query may stand.
  mutating func parseSubquery() throws(SyntaxError) -> Query {
    try nested { (parser) throws(SyntaxError) in
      try parser.expect(.leftParen)
      let query = try parser.parseQuery()
      try parser.expect(.rightParen)
      return query
    }
  }

  /// `( … )` of ROW, possibly empty.
  private mutating func parseRowItems() throws(SyntaxError) -> [Expression] {
    if peek().kind == .rightParen {
      advance()
      advance()
      return []
    }
    return try parseExpressionList()
  }

  private mutating func parseCase() throws(SyntaxError) -> Expression {
    let position = here
    try expect(.case)
    let operand = at(.when) ? nil : try parseExpression()
    var branches: [Syntax.Case.Branch] = []
    guard at(.when) else { throw unexpected() }
    while take(.when) {
      let condition = try parseExpression()
      try expect(.then)
      branches.append(Syntax.Case.Branch(condition: condition, result: try parseExpression()))
    }
    let otherwise = take(.else) ? try parseExpression() : nil
    try expect(Keyword.end)
    return Expression(.caseWhen(Syntax.Case(operand: operand, branches: branches, otherwise: otherwise)), position)
  }

  private mutating func parseArrayConstructor() throws(SyntaxError) -> Expression {
    let position = here
    try expect(.array)
    if at(.leftParen) { return Expression(.arrayQuery(try parseSubquery()), position) }
    var array = try parseArrayBrackets()
    array.position = position
    return array
  }

  /// `[ … ]`, whose items are expressions, or all brackets.
  private mutating func parseArrayBrackets() throws(SyntaxError) -> Expression {
    try nested { (parser) throws(SyntaxError) in
      let position = parser.here
      try parser.expect(.leftBracket)
      if parser.take(.rightBracket) { return Expression(.array([]), position) }
      let items =
        parser.at(.leftBracket)
        ? try parser.list { (parser) throws(SyntaxError) in try parser.parseArrayBrackets() }
        : try parser.list { (parser) throws(SyntaxError) in try parser.parseExpression() }
      try parser.expect(.rightBracket)
      return Expression(.array(items), position)
    }
  }

  // MARK: Names

  /// A column, a function call, or a constant `type 'text'`.
  private mutating func parseNamed() throws(SyntaxError) -> Expression {
    let first = token
    let position = here
    let mayBeColumn = isColumnName(first)
    let mayBeFunction = isTypeFunctionName(first)
    guard mayBeColumn || mayBeFunction else { throw unexpected() }
    let next = peek()
    switch next.kind {
    case .leftParen where mayBeFunction:
      let name = QualifiedName([try takeName()], position: position)
      return try parseFunction(name)
    case .string where mayBeFunction:
      let name = QualifiedName([try takeName()], position: position)
      return try parseConstant(TypeName(name: name))
    case .dot, .leftBracket:
      if mayBeColumn || next.kind == .dot { return try parseQualified(position) }
    default: break
    }
    guard mayBeColumn else {
      // A function's or type's name alone: PostgreSQL stops behind it.
      advance()
      throw unexpected()
    }
    return Expression(.column([try takeName()]), position)
  }

  /// A name with dots or brackets behind it.
  private mutating func parseQualified(_ position: Int) throws(SyntaxError) -> Expression {
    let first = token
    var parts = [try takeName()]
    while at(.dot) {
      advance()
      if take(.star) { return Expression(.star(parts), position) }
      parts.append(try parseLabel())
    }
    if at(.leftParen) {
      return try parseFunction(QualifiedName(parts, position: position))
    }
    if at(.string) {
      return try parseConstant(TypeName(name: QualifiedName(parts, position: position)))
    }
    guard isColumnName(first) else { throw unexpected(first) }
    return try parseIndirection(Expression(.column(parts), position))
  }

  /// Subscripts and fields behind an operand: `[1]`, `[1:2]`, `.field`, `.*`.
  mutating func parseIndirection(_ operand: Expression) throws(SyntaxError) -> Expression {
    var result = operand
    while true {
      if at(.leftBracket) {
        try grow()
        var subscripts: [Syntax.Subscript] = []
        while at(.leftBracket) { subscripts.append(try parseSubscript()) }
        result = Expression(.subscripted(result, subscripts), result.position)
      } else if at(.dot) {
        try grow()
        advance()
        if take(.star) { return Expression(.fieldStar(result), result.position) }
        result = Expression(.field(result, try parseLabel()), result.position)
      } else {
        return result
      }
    }
  }

  mutating func parseSubscript() throws(SyntaxError) -> Syntax.Subscript {
    try expect(.leftBracket)
    var lower: Expression?
    if !at(.colon) {
      let index = try parseExpression()
      if take(.rightBracket) { return Syntax.Subscript(isSlice: false, upper: index) }
      lower = index
    }
    try expect(.colon)
    let upper = at(.rightBracket) ? nil : try parseExpression()
    try expect(.rightBracket)
    return Syntax.Subscript(isSlice: true, lower: lower, upper: upper)
  }

  // MARK: Typed constants

  /// `type 'text'`: current is the string.
  private mutating func parseConstant(_ type: TypeName) throws(SyntaxError) -> Expression {
    let place = here
    let text = Expression(.string(try parseString()), place)
    return Expression(.cast(text, type, .literal), type.position)
  }

  /// A constant of a type with a syntax of its own: `TIMESTAMP(3) WITH TIME ZONE '…'`, `INTERVAL '1' DAY`; nil if the
  /// keyword is a name here.
  private mutating func parseTypedConstant(_ keyword: Keyword) throws(SyntaxError) -> Expression? {
    guard beginsTypedConstant(keyword) else { return nil }
    let isCharacter: Bool
    switch keyword {
    case .character, .char, .national, .nchar: isCharacter = true
    default: isCharacter = false
    }
    let start = Int(token.start)
    guard var type = try parseBuiltinType() else { return nil }
    if keyword == .interval {
      if at(.leftParen) {
        type.modifiers = [try parseIntervalPrecision()]
        return try parseConstant(type)
      }
      let constant = try parseConstant(type)
      guard case .cast(let text, var interval, _) = constant.kind else { return constant }
      try parseIntervalFields(&interval)
      return Expression(.cast(text, interval, .literal), constant.position)
    }
    // As PostgreSQL: CHAR 'abc' is not cut to one character.
    if isCharacter, lexer.bytes[previousEnd - 1] != UInt8(ascii: ")") || previousEnd <= start { type.modifiers = [] }
    guard at(.string) else { throw unexpected() }
    return try parseConstant(type)
  }

  private mutating func beginsTypedConstant(_ keyword: Keyword) -> Bool {
    switch keyword {
    case .int, .integer, .smallint, .bigint, .real, .boolean:
      return peek().kind == .string
    case .float, .decimal, .dec, .numeric, .varchar, .bit, .interval:
      return peek().kind == .string || peek().kind == .leftParen || (keyword == .bit && peek().keyword == .varying)
    case .double: return peek().keyword == .precision
    case .character, .char, .nchar:
      return peek().kind == .string || peek().kind == .leftParen || peek().keyword == .varying
    case .national: return peek().keyword == .character || peek().keyword == .char
    case .timestamp, .time:
      let next = peek()
      if next.kind == .string || next.kind == .leftParen { return true }
      return (next.keyword == .with || next.keyword == .without) && after(next).keyword == .time
    default: return false
    }
  }
}
