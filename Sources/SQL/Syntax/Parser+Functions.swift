/// Function calls, and the functions with a syntax of their own.
extension SQLParser {
  // MARK: Ordinary calls

  /// A call from its parenthesis on, with WITHIN GROUP, FILTER and OVER; or `type(modifiers) 'constant'`.
  mutating func parseFunction(_ name: QualifiedName, isTable: Bool = false) throws(SyntaxError) -> Expression {
    var call = Syntax.FunctionCall(name: name)
    try parseArguments(&call)
    if isTable { return Expression(.function(call), name.position) }
    if at(.string) { return try parseModifiedConstant(call) }
    if at(.within) { try parseWithinGroup(&call) }
    if take(.filter) {
      try expect(.leftParen)
      try expect(.where)
      call.filter = try parseExpression()
      try expect(.rightParen)
    }
    if take(.over) { call.over = try parseOver() }
    return Expression(.function(call), name.position)
  }

  private mutating func parseArguments(_ call: inout Syntax.FunctionCall) throws(SyntaxError) {
    try expect(.leftParen)
    if take(.rightParen) { return }
    if at(.star) {
      advance()
      call.isStar = true
      return try expect(.rightParen)
    }
    if take(.distinct) { call.distinct = true } else { _ = take(.all) }
    while true {
      if !call.distinct, take(.variadic) { call.variadic = true }
      call.arguments.append(try parseArgument())
      if call.variadic || !take(.comma) { break }
    }
    if at(.order) { call.orderBy = try parseOrderBy() }
    try expect(.rightParen)
  }

  private mutating func parseArgument() throws(SyntaxError) -> Syntax.FunctionCall.Argument {
    if isTypeFunctionName(token), peek().kind == .arrow || peek().kind == .colonEquals {
      let name = try takeName()
      advance()
      return Syntax.FunctionCall.Argument(name: name, value: try parseExpression())
    }
    return Syntax.FunctionCall.Argument(value: try parseExpression())
  }

  /// `type(modifiers) 'text'`: the modifiers were read as a call's arguments.
  private mutating func parseModifiedConstant(_ call: Syntax.FunctionCall) throws(SyntaxError) -> Expression {
    guard !call.isStar, !call.distinct, !call.variadic, !call.arguments.isEmpty else { throw unexpected() }
    for argument in call.arguments where argument.name != nil {
      throw SyntaxError(
        .syntaxError, "type modifier cannot have parameter name", position: argument.value.position)
    }
    if !call.orderBy.isEmpty {
      throw SyntaxError(.syntaxError, "type modifier cannot have ORDER BY", position: call.name.position)
    }
    let type = TypeName(name: call.name, modifiers: call.arguments.map { $0.value })
    let place = here
    let text = Expression(.string(try parseString()), place)
    return Expression(.cast(text, type, .literal), type.position)
  }

  private mutating func parseWithinGroup(_ call: inout Syntax.FunctionCall) throws(SyntaxError) {
    let position = here
    try expect(.within)
    try expect(.group)
    try expect(.leftParen)
    let order = try parseOrderBy()
    try expect(.rightParen)
    func refuse(_ message: String) -> SyntaxError { SyntaxError(.syntaxError, message, position: position) }
    if !call.orderBy.isEmpty { throw refuse("cannot use multiple ORDER BY clauses with WITHIN GROUP") }
    if call.distinct { throw refuse("cannot use DISTINCT with WITHIN GROUP") }
    if call.variadic { throw refuse("cannot use VARIADIC with WITHIN GROUP") }
    call.orderBy = order
    call.withinGroup = true
  }

  private mutating func parseOver() throws(SyntaxError) -> Syntax.WindowReference {
    if at(.leftParen) { return .inline(try parseWindow()) }
    return .named(try parseName())
  }

  // MARK: Special syntax

  /// Functions that the grammar knows by their keyword; nil if the keyword is a name here.
  mutating func parseSpecialFunction(_ keyword: Keyword, _ position: Int) throws(SyntaxError) -> Expression? {
    switch keyword {
    case .current_date, .current_time, .current_timestamp, .localtime, .localtimestamp, .current_role, .current_user,
      .session_user, .user, .current_catalog:
      return try parseSQLValue(position)
    case .current_schema where peek().kind != .leftParen && peek().kind != .dot:
      return try parseSQLValue(position)
    case .cast:
      advance()
      try expect(.leftParen)
      let operand = try parseExpression()
      try expect(.as)
      let type = try parseTypeName()
      try expect(.rightParen)
      return Expression(.cast(operand, type, .function), position)
    case .collation where peek().keyword == .for: return try parseCollationFor(position)
    default: break
    }
    guard peek().kind == .leftParen else { return nil }
    switch keyword {
    case .coalesce: return Expression(.coalesce(try parseOperands()), position)
    case .greatest: return Expression(.greatest(try parseOperands()), position)
    case .least: return Expression(.least(try parseOperands()), position)
    case .nullif:
      advance()
      try expect(.leftParen)
      let first = try parseExpression()
      try expect(.comma)
      let second = try parseExpression()
      try expect(.rightParen)
      return Expression(.nullif(first, second), position)
    case .extract: return try parseExtract(position)
    case .position: return try parsePosition(position)
    case .substring: return try parseSubstring(position)
    case .overlay: return try parseOverlay(position)
    case .trim: return try parseTrim(position)
    case .normalize: throw unsupported("NORMALIZE")
    case .treat: throw unsupported("TREAT")
    case .xmlconcat, .xmlelement, .xmlexists, .xmlforest, .xmlparse, .xmlpi, .xmlroot, .xmlserialize, .xmltable:
      throw unsupported("the type xml")
    default: return nil
    }
  }

  /// Whether a FROM item that begins with the keyword is a function with a syntax of its own.
  mutating func beginsSpecialFunction() -> Bool {
    switch token.keyword {
    case .current_date, .current_time, .current_timestamp, .localtime, .localtimestamp, .current_role, .current_user,
      .session_user, .user, .current_catalog, .cast:
      return true
    case .current_schema: return peek().kind != .leftParen
    case .collation: return peek().keyword == .for
    case .coalesce, .greatest, .least, .nullif, .extract, .position, .substring, .overlay, .trim, .normalize, .treat,
      .xmlconcat, .xmlelement, .xmlexists, .xmlforest, .xmlparse, .xmlpi, .xmlroot, .xmlserialize:
      return peek().kind == .leftParen
    default: return false
    }
  }

  private mutating func parseOperands() throws(SyntaxError) -> [Expression] {
    advance()
    return try parseExpressionList()
  }

  private mutating func parseSQLValue(_ position: Int) throws(SyntaxError) -> Expression {
    guard let keyword = token.keyword, let function = Syntax.SQLValueFunction(rawValue: keyword.text) else {
      throw unexpected()
    }
    advance()
    var precision: Int?
    switch function {
    case .currentTime, .currentTimestamp, .localTime, .localTimestamp:
      if take(.leftParen) {
        precision = try parseInteger()
        try expect(.rightParen)
      }
    default: break
    }
    return Expression(.sqlValue(function, precision: precision), position)
  }

  /// `COLLATION FOR (x)` is `pg_catalog.pg_collation_for(x)`, as in PostgreSQL.
  private mutating func parseCollationFor(_ position: Int) throws(SyntaxError) -> Expression {
    advance()
    advance()
    try expect(.leftParen)
    let operand = try parseExpression()
    try expect(.rightParen)
    let name = QualifiedName(["pg_catalog", "pg_collation_for"], position: position)
    return Expression(.function(Syntax.FunctionCall(name: name, arguments: [.init(value: operand)])), position)
  }

  private mutating func parseExtract(_ position: Int) throws(SyntaxError) -> Expression {
    advance()
    try expect(.leftParen)
    let field: String
    switch token.keyword {
    case nil: field = at(.string) ? try parseString() : at(.identifier) ? try takeName() : ""
    case .year, .month, .day, .hour, .minute, .second: field = try takeName()
    default: throw unexpected()
    }
    if field.isEmpty { throw unexpected() }
    try expect(.from)
    let operand = try parseExpression()
    try expect(.rightParen)
    return Expression(.extract(field, operand), position)
  }

  private mutating func parsePosition(_ position: Int) throws(SyntaxError) -> Expression {
    advance()
    try expect(.leftParen)
    let needle = try parseRestrictedExpression()
    try expect(.in)
    let text = try parseRestrictedExpression()
    try expect(.rightParen)
    return Expression(.position(needle, in: text), position)
  }

  /// The keyword is an ordinary function's name where its arguments are an ordinary list.
  private mutating func finishOrdinary(_ name: String, _ first: Expression?, _ position: Int) throws(SyntaxError)
    -> Expression
  {
    var call = Syntax.FunctionCall(name: QualifiedName(["pg_catalog", name], position: position))
    if let first { call.arguments.append(.init(value: first)) }
    while take(.comma) { call.arguments.append(try parseArgument()) }
    try expect(.rightParen)
    return Expression(.function(call), position)
  }

  private mutating func parseSubstring(_ position: Int) throws(SyntaxError) -> Expression {
    advance()
    try expect(.leftParen)
    if at(.rightParen) { return try finishOrdinary("substring", nil, position) }
    let operand = try parseExpression()
    var parts = Syntax.Substring(operand: operand)
    switch token.keyword {
    case .from:
      advance()
      parts.from = try parseExpression()
      if take(.for) { parts.count = try parseExpression() }
    case .for:
      advance()
      parts.count = try parseExpression()
      if take(.from) { parts.from = try parseExpression() }
    case .similar:
      advance()
      parts.similar = try parseExpression()
      try expect(.escape)
      parts.escape = try parseExpression()
    default: return try finishOrdinary("substring", operand, position)
    }
    try expect(.rightParen)
    return Expression(.substring(parts), position)
  }

  private mutating func parseOverlay(_ position: Int) throws(SyntaxError) -> Expression {
    advance()
    try expect(.leftParen)
    if at(.rightParen) { return try finishOrdinary("overlay", nil, position) }
    let operand = try parseExpression()
    guard take(.placing) else { return try finishOrdinary("overlay", operand, position) }
    let placing = try parseExpression()
    try expect(.from)
    let from = try parseExpression()
    let count = take(.for) ? try parseExpression() : nil
    try expect(.rightParen)
    return Expression(
      .overlay(Syntax.Overlay(operand: operand, placing: placing, from: from, count: count)), position)
  }

  /// `TRIM([side] [characters] FROM string)`, `TRIM([side] string [, characters])`.
  private mutating func parseTrim(_ position: Int) throws(SyntaxError) -> Expression {
    advance()
    try expect(.leftParen)
    var side = Syntax.Trim.Side.both
    switch token.keyword {
    case .both: advance()
    case .leading:
      advance()
      side = .leading
    case .trailing:
      advance()
      side = .trailing
    default: break
    }
    var characters: Expression?
    var arguments: [Expression] = []
    if !take(.from) {
      let first = try parseExpression()
      if take(.from) { characters = first } else { arguments = [first] }
    }
    if arguments.isEmpty {
      arguments = try list { (parser) throws(SyntaxError) in try parser.parseExpression() }
    } else {
      while take(.comma) { arguments.append(try parseExpression()) }
    }
    if let characters { arguments.append(characters) }
    try expect(.rightParen)
    return Expression(.trim(Syntax.Trim(side: side, arguments: arguments)), position)
  }
}
