/// FROM: tables, subqueries, functions, joins.
extension SQLParser {
  /// A FROM item with all its joins: `table_ref`.
  mutating func parseTableReference() throws(SyntaxError) -> Syntax.TableReference {
    try nested { (parser) throws(SyntaxError) in
      var left = try parser.parseTablePrimary()
      _ = try parser.parseJoins(&left)
      return left
    }
  }

  // MARK: Joins

  /// Extends `left` by the joins that follow; whether there was one.
  private mutating func parseJoins(_ left: inout Syntax.TableReference) throws(SyntaxError) -> Bool {
    var found = false
    while true {
      let position = here
      let isNatural = at(.natural)
      switch token.keyword {
      case .cross:
        advance()
        try expect(.join)
        try grow()
        let right = try parseTablePrimary()
        left = .join(Syntax.Join(kind: .cross, left: left, right: right, position: position))
        found = true
        continue
      case .natural: advance()
      case .join, .inner, .left, .right, .full: break
      default: return found
      }
      found = true
      try grow()
      let kind = try parseJoinKind()
      try expect(.join)
      let right = isNatural ? try parseTablePrimary() : try parseTableReference()
      let condition = isNatural ? .natural : try parseJoinCondition()
      left = .join(Syntax.Join(kind: kind, left: left, right: right, condition: condition, position: position))
    }
  }

  /// `INNER`, `LEFT OUTER`…, or nothing.
  private mutating func parseJoinKind() throws(SyntaxError) -> Syntax.Join.Kind {
    let kind: Syntax.Join.Kind
    switch token.keyword {
    case .inner:
      advance()
      return .inner
    case .left: kind = .left
    case .right: kind = .right
    case .full: kind = .full
    default: return .inner
    }
    advance()
    _ = take(.outer)
    return kind
  }

  private mutating func parseJoinCondition() throws(SyntaxError) -> Syntax.Join.Condition {
    if take(.on) { return .on(try parseExpression()) }
    try expect(.using)
    let columns = try parseNameList()
    guard take(.as) else { return .using(columns, alias: nil) }
    let position = here
    return .using(columns, alias: Syntax.Alias(name: try parseColumnName(), position: position))
  }

  // MARK: Items

  private mutating func parseTablePrimary() throws(SyntaxError) -> Syntax.TableReference {
    let position = here
    let item = try parseTableItem(position)
    if at(.tablesample) { throw unsupported("TABLESAMPLE") }
    return item
  }

  private mutating func parseTableItem(_ position: Int) throws(SyntaxError) -> Syntax.TableReference {
    if at(.leftParen) {
      switch try parseParenthesizedTable() {
      case .query(let query): return try finishSubquery(query, lateral: false, position)
      case .table(let table): return try finishJoinAlias(table)
      }
    }
    if at(.lateral) {
      advance()
      if at(.leftParen) {
        let place = here
        return try finishSubquery(try parseSubquery(), lateral: true, place)
      }
      if at(.xmltable) { throw unsupported("XMLTABLE") }
      return try parseFunctionReference(lateral: true, position)
    }
    if at(.xmltable) { throw unsupported("XMLTABLE") }
    if at(.rows), peek().keyword == .from { return try parseFunctionReference(lateral: false, position) }
    if beginsSpecialFunction() || namesFunction() { return try parseFunctionReference(lateral: false, position) }
    if !isColumnName(token), isTypeFunctionName(token) {
      // A function's name; PostgreSQL stops behind it.
      advance()
      throw unexpected()
    }
    let relation = try parseRelationName()
    let asOf = try parseAsOf()
    let alias = try parseAlias()
    return .relation(Syntax.RelationReference(relation: relation, asOf: asOf, alias: alias))
  }

  /// Whether a name with a parenthesis behind it comes.
  private mutating func namesFunction() -> Bool {
    guard token.kind == .identifier || token.kind == .keyword, token.keyword != .only else { return false }
    if peek().kind == .leftParen { return isTypeFunctionName(token) }
    var next = peek()
    while next.kind == .dot {
      let part = after(next)
      guard part.kind == .identifier || part.kind == .keyword else { return false }
      next = after(part)
    }
    return next.kind == .leftParen && peek().kind == .dot
  }

  /// `AS OF VERSION n`, `AS OF TIMESTAMP t`; an alias `of` has neither behind it.
  mutating func parseAsOf() throws(SyntaxError) -> Syntax.AsOf? {
    guard at(.as), peek().keyword == .of else { return nil }
    let third = after(peek()).keyword
    guard third == .version || third == .timestamp else { return nil }
    let position = here
    advance()
    advance()
    advance()
    let value = try parseExpression()
    return Syntax.AsOf(kind: third == .version ? .version : .timestamp, value: value, position: position)
  }

  /// `[AS] name [(columns)]`.
  private mutating func parseAlias() throws(SyntaxError) -> Syntax.Alias? {
    let mustBe = take(.as)
    guard mustBe || isColumnName(token) else { return nil }
    let position = here
    let name = try parseColumnName()
    return Syntax.Alias(name: name, columns: try parseOptionalNameList(), position: position)
  }

  private mutating func finishSubquery(_ query: Query, lateral: Bool, _ position: Int) throws(SyntaxError)
    -> Syntax.TableReference
  {
    guard let alias = try parseAlias() else {
      var what = "subquery"
      var example = "(SELECT ...)"
      if case .values = query.body { (what, example) = ("VALUES", "(VALUES ...)") }
      throw SyntaxError(
        .syntaxError, "\(what) in FROM must have an alias", hint: "For example, FROM \(example) [AS] foo.",
        position: position)
    }
    return .subquery(Syntax.SubqueryReference(lateral: lateral, query: query, alias: alias, position: position))
  }

  private mutating func finishJoinAlias(_ table: Syntax.TableReference) throws(SyntaxError) -> Syntax.TableReference {
    guard case .join(var join) = table, let alias = try parseAlias() else { return table }
    // `((a JOIN b) AS x)`: the outer alias stands beside the inner.
    if join.alias != nil { throw unexpected() }
    join.alias = alias
    return .join(join)
  }

  // MARK: Parentheses

  private enum ParenthesizedTable {
    case query(Query)
    case table(Syntax.TableReference)
  }

  /// `( query )` or `( joined table )`; which of them shows only behind the inner parentheses.
  private mutating func parseParenthesizedTable() throws(SyntaxError) -> ParenthesizedTable {
    try nested { (parser) throws(SyntaxError) in
      let position = parser.here
      try parser.expect(.leftParen)
      if parser.beginsQuery(parser.token), !parser.isColumnNamedValues() {
        let query = try parser.parseQuery()
        try parser.expect(.rightParen)
        return .query(query)
      }
      var left: Syntax.TableReference
      var isJoin = false
      if parser.at(.leftParen) {
        let place = parser.here
        switch try parser.parseParenthesizedTable() {
        case .query(let query):
          if parser.take(.rightParen) { return .query(query) }
          switch parser.token.keyword {
          case .union, .intersect, .except, .order, .limit, .offset, .fetch, .for:
            let longer = try parser.parseQuery(continuing: query)
            try parser.expect(.rightParen)
            return .query(longer)
          default: left = try parser.finishSubquery(query, lateral: false, place)
          }
        case .table(let table):
          // As PostgreSQL: parentheses about a join may be doubled.
          isJoin = parser.at(.rightParen)
          left = try parser.finishJoinAlias(table)
        }
      } else {
        left = try parser.parseTableItem(position + 1)
      }
      if try parser.parseJoins(&left) { isJoin = true }
      guard isJoin else { throw parser.unexpected() }
      try parser.expect(.rightParen)
      return .table(left)
    }
  }

  // MARK: Functions

  private mutating func parseFunctionReference(lateral: Bool, _ position: Int) throws(SyntaxError)
    -> Syntax.TableReference
  {
    var reference = Syntax.FunctionReference(lateral: lateral, items: [], position: position)
    if at(.rows), peek().keyword == .from {
      advance()
      advance()
      reference.isRowsFrom = true
      reference.items = try parenthesized { (parser) throws(SyntaxError) in
        var item = Syntax.FunctionReference.Item(call: try parser.parseTableFunction())
        if parser.take(.as) { item.columns = try parser.parseColumnTypes() }
        return item
      }
    } else {
      reference.items = [Syntax.FunctionReference.Item(call: try parseTableFunction())]
    }
    if at(.with), peek().keyword == .ordinality {
      advance()
      advance()
      reference.withOrdinality = true
    }
    try parseFunctionAlias(&reference)
    return .function(reference)
  }

  /// A call without FILTER, OVER and WITHIN GROUP.
  private mutating func parseTableFunction() throws(SyntaxError) -> Expression {
    if beginsSpecialFunction() { return try parsePrimary() }
    guard namesFunction() else {
      if token.kind != .identifier && token.kind != .keyword { throw unexpected() }
      _ = try parseAnyName()
      throw unexpected()
    }
    let position = here
    var parts = [try takeName()]
    while take(.dot) { parts.append(try parseLabel()) }
    return try parseFunction(QualifiedName(parts, position: position), isTable: true)
  }

  /// `AS (columns with types)`, `[AS] name [(columns)]`, `[AS] name (columns with types)`.
  private mutating func parseFunctionAlias(_ reference: inout Syntax.FunctionReference) throws(SyntaxError) {
    let mustBe = take(.as)
    if mustBe, at(.leftParen) {
      reference.columns = try parseColumnTypes()
      return
    }
    guard mustBe || isColumnName(token) else { return }
    let position = here
    var alias = Syntax.Alias(name: try parseColumnName(), position: position)
    if at(.leftParen) {
      let second = after(peek())
      if second.kind == .comma || second.kind == .rightParen {
        alias.columns = try parseNameList()
      } else {
        reference.columns = try parseColumnTypes()
      }
    }
    reference.alias = alias
  }

  private mutating func parseColumnTypes() throws(SyntaxError) -> [Syntax.ColumnType] {
    try parenthesized { (parser) throws(SyntaxError) in
      let name = try parser.parseName()
      let type = try parser.parseTypeName()
      let collation = parser.take(.collate) ? try parser.parseAnyName() : nil
      return Syntax.ColumnType(name: name, type: type, collation: collation)
    }
  }
}
