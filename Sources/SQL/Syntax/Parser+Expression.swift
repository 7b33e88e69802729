/// Expressions by precedence climbing.
///
/// PostgreSQL's table, loosest first:
///
/// | level | operators                                   | associativity          |
/// |-------|---------------------------------------------|------------------------|
/// | 1     | OR                                          | left                   |
/// | 2     | AND                                         | left                   |
/// | 3     | NOT                                         | prefix                 |
/// | 4     | IS, ISNULL, NOTNULL                         | none                   |
/// | 5     | < > = <= >= <>                              | none                   |
/// | 6     | BETWEEN IN LIKE ILIKE SIMILAR, with NOT too | none                   |
/// | 8     | any other operator, OPERATOR(…)             | left; prefix           |
/// | 9     | + -                                         | left                   |
/// | 10    | * / %                                       | left                   |
/// | 11    | ^                                           | left                   |
/// | 12    | AT TIME ZONE                                | left                   |
/// | 13    | COLLATE                                     | postfix                |
/// | 14    | unary + -                                   | prefix                 |
/// | 16    | ::                                          | postfix                |
///
/// *None* means that `a < b < c` is an error, as in PostgreSQL; a form that ends in no operand (`IS NULL`, `IN (…)`) may
/// be followed by another of its level.
///
/// A *restricted* expression is PostgreSQL's `b_expr`: no AND, OR, NOT, IN, LIKE, BETWEEN, AT, COLLATE, IS NULL, which
/// its surroundings would take for their own (`BETWEEN x AND y`, `DEFAULT x NOT NULL`).
enum OperatorLevel {
  static let any = 0
  static let or = 1
  static let and = 2
  static let not = 3
  static let `is` = 4
  static let comparison = 5
  static let pattern = 6
  static let op = 8
  static let additive = 9
  static let multiplicative = 10
  static let power = 11
  static let at = 12
  static let collate = 13
  static let unary = 14
  static let typecast = 16
}

extension SQLParser {
  /// A whole expression: `a_expr`.
  @inline(__always)
  mutating func parseExpression() throws(SyntaxError) -> Expression { try parseExpression(above: OperatorLevel.any) }

  /// `b_expr`.
  mutating func parseRestrictedExpression() throws(SyntaxError) -> Expression {
    try parseExpression(above: OperatorLevel.any, restricted: true)
  }

  /// `( a, b )`.
  mutating func parseExpressionList() throws(SyntaxError) -> [Expression] {
    try parenthesized { (parser) throws(SyntaxError) in try parser.parseExpression() }
  }

  /// An expression whose outermost operators bind tighter than `level`.
  mutating func parseExpression(above level: Int, restricted: Bool = false) throws(SyntaxError) -> Expression {
    try nested { (parser) throws(SyntaxError) in
      var left = try parser.parsePrefix(restricted: restricted)
      try parser.climb(from: &left, above: level, restricted: restricted)
      return left
    }
  }

  // MARK: Prefix operators

  private mutating func parsePrefix(restricted: Bool) throws(SyntaxError) -> Expression {
    switch token.kind {
    case .keyword:
      if token.keyword == .not, !restricted {
        let position = here
        advance()
        return Expression(.not(try parseExpression(above: OperatorLevel.not - 1)), position)
      }
      if token.keyword == .operator {
        let position = here
        let op = try parseQualifiedOperator()
        return Expression(.unary(op, try parseExpression(above: OperatorLevel.op, restricted: restricted)), position)
      }
      if token.keyword == .default, !restricted {
        let position = here
        advance()
        return Expression(.defaultValue, position)
      }
      return try parsePrimary()
    case .minus, .plus:
      let position = here
      let isMinus = token.kind == .minus
      advance()
      let operand = try parseExpression(above: OperatorLevel.unary - 1, restricted: restricted)
      if isMinus, case .number(let text) = operand.kind {
        return Expression(.number(text.first == "-" ? String(text.dropFirst()) : "-" + text), position)
      }
      return Expression(.unary(Syntax.OperatorName(symbol: isMinus ? "-" : "+"), operand), position)
    case .op:
      let position = here
      let op = takeOperator()
      return Expression(.unary(op, try parseExpression(above: OperatorLevel.op, restricted: restricted)), position)
    default:
      return try parsePrimary()
    }
  }

  /// The current operator token's name; `!=` is `<>`.
  mutating func takeOperator() -> Syntax.OperatorName {
    let symbol: String
    switch token.kind {
    case .equals: symbol = "="
    case .notEquals: symbol = "<>"
    default: symbol = lexer.source(token)
    }
    advance()
    return Syntax.OperatorName(symbol: symbol)
  }

  /// `OPERATOR(schema.op)`.
  mutating func parseQualifiedOperator() throws(SyntaxError) -> Syntax.OperatorName {
    try expect(.operator)
    try expect(.leftParen)
    let op = try parseAnyOperator()
    try expect(.rightParen)
    return op
  }

  /// `any_operator`: schemas, then any operator.
  mutating func parseAnyOperator() throws(SyntaxError) -> Syntax.OperatorName {
    var schema: [String] = []
    while isColumnName(token) {
      schema.append(try takeName())
      try expect(.dot)
    }
    guard isOperator(token) else { throw unexpected() }
    var op = takeOperator()
    op.schema = schema
    return op
  }

  /// `all_Op`.
  func isOperator(_ token: Token) -> Bool {
    switch token.kind {
    case .op, .plus, .minus, .star, .slash, .percent, .caret, .less, .greater, .equals, .lessEquals, .greaterEquals,
      .notEquals:
      true
    default: false
    }
  }

  // MARK: Infix and postfix operators

  /// The level at which the token would continue an expression; 0 if it cannot.
  private mutating func infixLevel(restricted: Bool) -> Int {
    switch token.kind {
    case .comma, .rightParen, .end, .semicolon, .identifier: return 0
    case .equals, .less, .greater, .lessEquals, .greaterEquals, .notEquals: return OperatorLevel.comparison
    case .plus, .minus: return OperatorLevel.additive
    case .star, .slash, .percent: return OperatorLevel.multiplicative
    case .caret: return OperatorLevel.power
    case .op: return OperatorLevel.op
    case .typecast: return OperatorLevel.typecast
    case .keyword: break
    default: return 0
    }
    if mayBeLabel, isLabel() { return 0 }
    switch token.keyword {
    case .operator: return OperatorLevel.op
    case .is: return OperatorLevel.is
    default: break
    }
    if restricted { return 0 }
    switch token.keyword {
    case .and: return OperatorLevel.and
    case .or: return OperatorLevel.or
    case .isnull, .notnull: return OperatorLevel.is
    case .between, .in, .like, .ilike: return OperatorLevel.pattern
    // `SUBSTRING(a SIMILAR b ESCAPE c)` has no TO.
    case .similar: return peek().keyword == .to ? OperatorLevel.pattern : 0
    case .not:
      switch peek().keyword {
      case .between, .in, .like, .ilike, .similar: return OperatorLevel.pattern
      default: return 0
      }
    case .at: return peek().keyword == .time ? OperatorLevel.at : 0
    case .collate: return OperatorLevel.collate
    default: return 0
    }
  }

  /// Whether the current operator word is a select item's label: what follows it can be no operand.
  private mutating func isLabel() -> Bool {
    switch token.keyword {
    case .is, .and, .or, .between, .in, .like, .ilike, .collate, .operator: break
    default: return false
    }
    switch peek().kind {
    case .end, .semicolon, .comma, .rightParen: return true
    case .keyword: break
    default: return false
    }
    switch peek().keyword {
    case .from, .into, .where, .group, .having, .window, .union, .intersect, .except, .order, .limit, .offset, .fetch,
      .for:
      return true
    default: return false
    }
  }

  /// Extends `left` by the operators that bind tighter than `level`.
  mutating func climb(from left: inout Expression, above level: Int, restricted: Bool = false) throws(SyntaxError) {
    while true {
      let found = infixLevel(restricted: restricted)
      if found <= level || found == 0 { return }
      try grow()
      switch found {
      case OperatorLevel.or, OperatorLevel.and: try parseChain(&left, isAnd: found == OperatorLevel.and)
      case OperatorLevel.is: try parseIs(&left, restricted: restricted)
      case OperatorLevel.pattern: try parsePattern(&left)
      case OperatorLevel.at: try parseAtTimeZone(&left)
      case OperatorLevel.collate:
        let position = here
        advance()
        left = Expression(.collate(left, try parseAnyName()), position)
      case OperatorLevel.typecast:
        let position = here
        advance()
        left = Expression(.cast(left, try parseTypeName(), .op), position)
      default: try parseBinary(&left, found, restricted: restricted)
      }
    }
  }

  /// After the right operand of an operator without associativity: another of its level is an error.
  private mutating func refuseChain(_ level: Int, restricted: Bool = false) throws(SyntaxError) {
    if infixLevel(restricted: restricted) == level { throw unexpected() }
  }

  private mutating func parseChain(_ left: inout Expression, isAnd: Bool) throws(SyntaxError) {
    let position = here
    var operands: [Expression]
    switch left.kind {
    case .and(let inner) where isAnd: operands = inner
    case .or(let inner) where !isAnd: operands = inner
    default: operands = [left]
    }
    let level = isAnd ? OperatorLevel.and : OperatorLevel.or
    while take(isAnd ? .and : .or) { operands.append(try parseExpression(above: level)) }
    left = Expression(isAnd ? .and(operands) : .or(operands), position)
  }

  private mutating func parseBinary(_ left: inout Expression, _ level: Int, restricted: Bool) throws(SyntaxError) {
    let position = here
    let op = at(.operator) ? try parseQualifiedOperator() : takeOperator()
    if at(.any) || at(.some) || at(.all), !restricted {
      left = try parseQuantified(left, .op(op), position)
      return
    }
    let right = try parseExpression(above: level, restricted: restricted)
    left = Expression(.binary(op, left, right), position)
    if level == OperatorLevel.comparison { try refuseChain(level, restricted: restricted) }
  }

  /// `ANY (…)`, `SOME (…)`, `ALL (…)`: current is the quantifier.
  private mutating func parseQuantified(
    _ left: Expression, _ comparison: Syntax.Quantified.Comparison, _ position: Int
  ) throws(SyntaxError) -> Expression {
    let quantifier: Syntax.Quantified.Quantifier = at(.all) ? .all : .any
    advance()
    guard at(.leftParen) else { throw unexpected() }
    let source: Syntax.Quantified.Source
    switch try parseParenthesized(allowsRow: false) {
    case .query(let query): source = .query(query)
    case .expression(let array): source = .array(array)
    case .row: throw unexpected()
    }
    let quantified = Syntax.Quantified(left: left, comparison: comparison, quantifier: quantifier, source: source)
    return Expression(.quantified(quantified), position)
  }

  private mutating func parseIs(_ left: inout Expression, restricted: Bool) throws(SyntaxError) {
    let position = here
    if !restricted {
      if take(.isnull) {
        left = Expression(.isTest(left, .null, negated: false), position)
        return
      }
      if take(.notnull) {
        left = Expression(.isTest(left, .null, negated: true), position)
        return
      }
    }
    try expect(.is)
    let negated = take(.not)
    if take(.distinct) {
      try expect(.from)
      let right = try parseExpression(above: OperatorLevel.is, restricted: restricted)
      left = Expression(.isDistinct(left, right, negated: negated), position)
      return try refuseChain(OperatorLevel.is, restricted: restricted)
    }
    if at(.document) { throw unsupported("IS DOCUMENT") }
    if restricted { throw unexpected() }
    let test: Syntax.IsTest
    switch token.keyword {
    case .null: test = .null
    case .true: test = .isTrue
    case .false: test = .isFalse
    case .unknown: test = .unknown
    case .normalized, .nfc, .nfd, .nfkc, .nfkd: throw unsupported("IS NORMALIZED")
    default: throw unexpected()
    }
    advance()
    left = Expression(.isTest(left, test, negated: negated), position)
  }

  /// BETWEEN, IN, LIKE, ILIKE, SIMILAR TO, each possibly after NOT.
  private mutating func parsePattern(_ left: inout Expression) throws(SyntaxError) {
    let position = here
    let negated = take(.not)
    let keyword = token.keyword
    advance()
    switch keyword {
    case .between:
      let symmetric = take(.symmetric)
      if !symmetric { _ = take(.asymmetric) }
      let low = try parseRestrictedExpression()
      try expect(.and)
      let high = try parseExpression(above: OperatorLevel.pattern)
      let between = Syntax.Between(operand: left, low: low, high: high, symmetric: symmetric, negated: negated)
      left = Expression(.between(between), position)
      try refuseChain(OperatorLevel.pattern)
    case .in:
      guard at(.leftParen) else { throw unexpected() }
      switch try parseParenthesized() {
      case .query(let query): left = Expression(.inQuery(left, query, negated: negated), position)
      case .expression(let item): left = Expression(.inList(left, [item], negated: negated), position)
      case .row(let items): left = Expression(.inList(left, items, negated: negated), position)
      }
    default:
      if keyword == .similar { try expect(.to) }
      let kind: Syntax.Like.Kind = keyword == .like ? .like : keyword == .ilike ? .ilike : .similar
      if at(.any) || at(.some) || at(.all), kind != .similar {
        left = try parseQuantified(left, .like(kind, negated: negated), position)
        return
      }
      let pattern = try parseExpression(above: OperatorLevel.pattern)
      let escape = take(.escape) ? try parseExpression(above: OperatorLevel.pattern) : nil
      let like = Syntax.Like(kind: kind, operand: left, pattern: pattern, escape: escape, negated: negated)
      left = Expression(.like(like), position)
      try refuseChain(OperatorLevel.pattern)
    }
  }

  private mutating func parseAtTimeZone(_ left: inout Expression) throws(SyntaxError) {
    let position = here
    try expect(.at)
    try expect(.time)
    try expect(.zone)
    left = Expression(.atTimeZone(left, try parseExpression(above: OperatorLevel.at)), position)
  }

  // MARK: Parentheses

  /// What stood between parentheses.
  enum Parenthesized {
    case query(Query)
    case expression(Expression)
    /// Two or more expressions.
    case row([Expression])
  }

  /// Whether the token begins a query without parentheses.
  func beginsQuery(_ token: Token) -> Bool {
    switch token.keyword {
    case .select, .values, .table, .with: true
    default: false
    }
  }

  /// Whether the token can go on after a parenthesised query, making a larger query of it.
  private func continuesQuery(_ token: Token) -> Bool {
    switch token.keyword {
    case .union, .intersect, .except, .order, .limit, .offset, .fetch, .for: true
    default: false
    }
  }

  /// `( query )`, `( expression )` or `( expression, … )`; whether an inner parenthesis belongs to a query or to an
  /// expression shows only behind it, so that each level hands up what it found.
  mutating func parseParenthesized(allowsRow: Bool = true) throws(SyntaxError) -> Parenthesized {
    let outer = mayBeLabel
    mayBeLabel = false
    defer { mayBeLabel = outer }
    return try nested { (parser) throws(SyntaxError) in
      try parser.expect(.leftParen)
      if parser.beginsQuery(parser.token), !parser.isColumnNamedValues() {
        let query = try parser.parseQuery()
        try parser.expect(.rightParen)
        return .query(query)
      }
      guard parser.at(.leftParen) else {
        return try parser.finishParenthesized(first: try parser.parseExpression(), allowsRow: allowsRow)
      }
      let position = parser.here
      let inner = try parser.parseParenthesized()
      if case .query(let query) = inner {
        if parser.take(.rightParen) { return .query(query) }
        if parser.continuesQuery(parser.token) {
          let longer = try parser.parseQuery(continuing: query)
          try parser.expect(.rightParen)
          return .query(longer)
        }
      }
      var first = try parser.operand(inner, position)
      try parser.climb(from: &first, above: OperatorLevel.any)
      return try parser.finishParenthesized(first: first, allowsRow: allowsRow)
    }
  }

  /// `VALUES` is a column's name unless a parenthesis follows.
  mutating func isColumnNamedValues() -> Bool {
    token.keyword == .values && peek().kind != .leftParen
  }

  private mutating func finishParenthesized(first: Expression, allowsRow: Bool) throws(SyntaxError) -> Parenthesized {
    guard allowsRow, at(.comma) else {
      try expect(.rightParen)
      return .expression(first)
    }
    var items = [first]
    while take(.comma) { items.append(try parseExpression()) }
    try expect(.rightParen)
    return .row(items)
  }

  /// What stood in parentheses becomes an operand, with the subscripts and fields that follow it.
  mutating func operand(_ inner: Parenthesized, _ position: Int) throws(SyntaxError) -> Expression {
    switch inner {
    case .row(let items):
      return try parseOverlaps(items, explicit: false, position)
    case .query(let query):
      return try parseIndirection(Expression(.subquery(query), position))
    case .expression(let expression):
      return try parseIndirection(expression)
    }
  }

  /// A row, or `row OVERLAPS row`.
  mutating func parseOverlaps(_ items: [Expression], explicit: Bool, _ position: Int) throws(SyntaxError) -> Expression
  {
    guard at(.overlaps) else { return Expression(.row(items, explicit: explicit), position) }
    let place = here
    advance()
    let start = here
    let right = try parseRow()
    guard items.count == 2 else {
      throw SyntaxError(
        .syntaxError, "wrong number of parameters on left side of OVERLAPS expression", position: position)
    }
    guard right.count == 2 else {
      throw SyntaxError(
        .syntaxError, "wrong number of parameters on right side of OVERLAPS expression", position: start)
    }
    return Expression(.overlaps(items, right), place)
  }

  /// `ROW(…)` or `(a, b)`: its items.
  private mutating func parseRow() throws(SyntaxError) -> [Expression] {
    if take(.row) {
      if peek().kind == .rightParen {
        try expect(.leftParen)
        try expect(.rightParen)
        return []
      }
      return try parseExpressionList()
    }
    guard at(.leftParen) else { throw unexpected() }
    guard case .row(let items) = try parseParenthesized() else { throw unexpected() }
    return items
  }
}
