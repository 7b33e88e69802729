/// SELECT, VALUES, TABLE, and set operations.
extension SQLParser {
  // MARK: Whole queries

  /// A query without outer parentheses, or with them: `SelectStmt`.
  mutating func parseQuery() throws(SyntaxError) -> Query {
    try nested { (parser) throws(SyntaxError) in
      let position = parser.here
      let with = parser.at(.with) ? try parser.parseWith() : nil
      var query = try parser.parseSetOperand()
      try parser.parseSetOperations(&query, above: 0)
      try parser.parseQueryTail(&query)
      if let with {
        if query.with != nil { throw parser.refused("multiple WITH clauses not allowed", position) }
        query.with = with
        query.position = position
      }
      return query
    }
  }

  /// The rest of a query that began with a parenthesised one.
  mutating func parseQuery(continuing first: Query) throws(SyntaxError) -> Query {
    var query = first
    try parseSetOperations(&query, above: 0)
    try parseQueryTail(&query)
    return query
  }

  /// A query that must stand in parentheses or not: `SELECT …` or `( … )`.
  private mutating func parseSetOperand() throws(SyntaxError) -> Query {
    let position = here
    switch token.keyword {
    case .select: return Query(body: .select(try parseSelect()), position: position)
    case .values: return Query(body: .values(try parseValues()), position: position)
    case .table:
      advance()
      return Query(body: .table(try parseRelationName()), position: position)
    default: break
    }
    guard at(.leftParen) else { throw unexpected() }
    return try parseSubquery()
  }

  /// UNION and EXCEPT at level 1, INTERSECT at level 2, to the left.
  private mutating func parseSetOperations(_ left: inout Query, above level: Int) throws(SyntaxError) {
    while true {
      let kind: Syntax.SetOperation.Kind
      let found: Int
      switch token.keyword {
      case .union: (kind, found) = (.union, 1)
      case .except: (kind, found) = (.except, 1)
      case .intersect: (kind, found) = (.intersect, 2)
      default: return
      }
      if found <= level { return }
      try grow()
      let position = here
      advance()
      let all = take(.all)
      if !all { _ = take(.distinct) }
      var right = try parseSetOperand()
      try parseSetOperations(&right, above: found)
      let operation = Syntax.SetOperation(kind: kind, all: all, left: left, right: right, position: position)
      left = Query(body: .setOperation(operation), position: left.position)
    }
  }

  /// ORDER BY, LIMIT, OFFSET, FETCH, FOR UPDATE: attached to `query`, which may have been parenthesised with its own.
  private mutating func parseQueryTail(_ query: inout Query) throws(SyntaxError) {
    if at(.order) {
      let position = position(of: Int(after(peek()).start))
      let order = try parseOrderBy()
      if !query.orderBy.isEmpty { throw refused("multiple ORDER BY clauses not allowed", position) }
      query.orderBy = order
    }
    // Limits and locks come in either order, each once.
    var sawLimit = false
    while true {
      switch token.keyword {
      case .limit, .offset, .fetch:
        if sawLimit { throw unexpected() }
        sawLimit = true
        try parseLimits(&query)
      case .for:
        if take(.for, .read) {
          try expect(.only)
        } else {
          while at(.for) { query.locking.append(try parseLocking()) }
        }
      default:
        return try checkTies(query)
      }
    }
  }

  func refused(_ message: String, _ position: Int?) -> SyntaxError {
    SyntaxError(.syntaxError, message, position: position)
  }

  private func checkTies(_ query: Query) throws(SyntaxError) {
    guard let limit = query.limit, limit.withTies else { return }
    if query.orderBy.isEmpty { throw refused("WITH TIES cannot be specified without ORDER BY clause", nil) }
    for lock in query.locking where lock.wait == .skipLocked {
      throw refused("SKIP LOCKED and WITH TIES options cannot be used together", nil)
    }
  }

  /// `LIMIT n`, `OFFSET n`, `FETCH FIRST n ROWS ONLY`, a limit and an offset in either order.
  private mutating func parseLimits(_ query: inout Query) throws(SyntaxError) {
    var sawLimit = false
    var sawOffset = false
    while true {
      let position = position(of: Int(peek().start))
      switch token.keyword {
      case .offset:
        if sawOffset { throw unexpected() }
        sawOffset = true
        advance()
        let offset = try parseExpression()
        if at(.row) || at(.rows) { advance() }
        if query.offset != nil { throw refused("multiple OFFSET clauses not allowed", position) }
        query.offset = offset
      case .limit, .fetch:
        if sawLimit { throw unexpected() }
        sawLimit = true
        let limit = at(.limit) ? try parseLimit() : try parseFetchFirst()
        if query.limit != nil { throw refused("multiple LIMIT clauses not allowed", position) }
        query.limit = limit
      default: return
      }
    }
  }

  private mutating func parseLimit() throws(SyntaxError) -> Syntax.Limit {
    let position = here
    try expect(.limit)
    let count = take(.all) ? nil : try parseExpression()
    if at(.comma) {
      throw SyntaxError(
        .syntaxError, "LIMIT #,# syntax is not supported", hint: "Use separate LIMIT and OFFSET clauses.",
        position: position)
    }
    return Syntax.Limit(count: count, position: position)
  }

  private mutating func parseFetchFirst() throws(SyntaxError) -> Syntax.Limit {
    let position = here
    try expect(.fetch)
    guard take(.first) || take(.next) else { throw unexpected() }
    var count = Expression(.number("1"), here)
    if !at(.row), !at(.rows) {
      if at(.plus) || at(.minus) {
        let place = here
        count = Expression(.number(try parseNumber()), place)
      } else {
        count = try parsePrimary()
      }
    }
    guard take(.row) || take(.rows) else { throw unexpected() }
    if take(.only) { return Syntax.Limit(count: count, position: position) }
    try expect(.with)
    try expect(.ties)
    return Syntax.Limit(count: count, withTies: true, position: position)
  }

  private mutating func parseLocking() throws(SyntaxError) -> Syntax.Locking {
    let position = here
    try expect(.for)
    let strength: Syntax.Locking.Strength
    switch token.keyword {
    case .update: strength = .update
    case .share: strength = .share
    case .no:
      advance()
      guard at(.key), peek().keyword == .update else { throw unexpected() }
      advance()
      strength = .noKeyUpdate
    case .key:
      advance()
      guard at(.share) else { throw unexpected() }
      strength = .keyShare
    default: throw unexpected()
    }
    advance()
    var lock = Syntax.Locking(strength: strength, position: position)
    if take(.of) { lock.tables = try list { (parser) throws(SyntaxError) in try parser.parseQualifiedName() } }
    if take(.nowait) {
      lock.wait = .noWait
    } else if at(.skip) {
      advance()
      try expect(.locked)
      lock.wait = .skipLocked
    }
    return lock
  }

  // MARK: SELECT

  private mutating func parseSelect() throws(SyntaxError) -> Syntax.Select {
    let mayHaveInto = allowsInto
    allowsInto = false
    let outer = mayBeLabel
    mayBeLabel = false
    defer { mayBeLabel = outer }
    try expect(.select)
    var select = Syntax.Select()
    if take(.distinct) {
      select.distinct = take(.on) ? .on(try parseExpressionList()) : .rows
    } else {
      _ = take(.all)
    }
    if select.distinct != nil || beginsTarget() { select.targets = try parseTargets() }
    if at(.into) {
      guard mayHaveInto else {
        throw SyntaxError(.syntaxError, "SELECT ... INTO is not allowed here", position: here)
      }
      into = try parseInto()
    }
    if take(.from) { select.from = try list { (parser) throws(SyntaxError) in try parser.parseTableReference() } }
    if take(.where) { select.condition = try parseExpression() }
    if at(.group) { try parseGroupBy(&select) }
    if take(.having) { select.having = try parseExpression() }
    if take(.window) {
      select.windows = try list { (parser) throws(SyntaxError) in
        let name = try parser.parseName()
        try parser.expect(.as)
        return Syntax.NamedWindow(name: name, window: try parser.parseWindow())
      }
    }
    return select
  }

  /// PostgreSQL takes `SELECT FROM t`: rows without columns.
  private func beginsTarget() -> Bool {
    switch token.kind {
    case .end, .semicolon, .rightParen: return false
    case .keyword: break
    default: return true
    }
    switch token.keyword {
    case .from, .into, .where, .group, .having, .window, .union, .intersect, .except, .order, .limit, .offset, .fetch,
      .for, .on:
      return false
    default: return true
    }
  }

  private mutating func parseInto() throws(SyntaxError) -> IntoClause {
    try expect(.into)
    let persistence = try parsePersistence()
    _ = take(.table)
    return IntoClause(name: try parseQualifiedName(), persistence: persistence)
  }

  /// `TEMP`, `LOCAL TEMPORARY`, `UNLOGGED`, or nothing.
  mutating func parsePersistence() throws(SyntaxError) -> Syntax.Persistence {
    if at(.local) || at(.global) {
      guard peek().keyword == .temporary || peek().keyword == .temp else { return .permanent }
      advance()
    }
    if take(.temporary) || take(.temp) { return .temporary }
    return take(.unlogged) ? .unlogged : .permanent
  }

  /// The items of a select or RETURNING list.
  mutating func parseTargets() throws(SyntaxError) -> [Syntax.Target] {
    try list { (parser) throws(SyntaxError) in try parser.parseTarget() }
  }

  private mutating func parseTarget() throws(SyntaxError) -> Syntax.Target {
    let position = here
    if take(.star) { return Syntax.Target(expression: Expression(.star([]), position), position: position) }
    let outer = mayBeLabel
    mayBeLabel = true
    let expression = try parseExpression()
    mayBeLabel = outer
    var alias: String?
    if take(.as) {
      alias = try parseLabel()
    } else if at(.identifier) {
      alias = try takeName()
    } else if let keyword = token.keyword, keyword.isBareLabel {
      alias = try takeName()
    }
    return Syntax.Target(expression: expression, alias: alias, position: position)
  }

  // MARK: GROUP BY

  private mutating func parseGroupBy(_ select: inout Syntax.Select) throws(SyntaxError) {
    try expect(.group)
    try expect(.by)
    select.groupByDistinct = take(.distinct)
    if !select.groupByDistinct { _ = take(.all) }
    select.groupBy = try list { (parser) throws(SyntaxError) in try parser.parseGroupingElement() }
  }

  private mutating func parseGroupingElement() throws(SyntaxError) -> Syntax.GroupingElement {
    if at(.leftParen), peek().kind == .rightParen {
      advance()
      advance()
      return .empty
    }
    if at(.rollup), peek().kind == .leftParen {
      advance()
      return .rollup(try parseExpressionList().map { .expression($0) })
    }
    if at(.cube), peek().kind == .leftParen {
      advance()
      return .cube(try parseExpressionList().map { .expression($0) })
    }
    if at(.grouping), peek().keyword == .sets {
      advance()
      advance()
      return try nested { (parser) throws(SyntaxError) in
        .sets(try parser.parenthesized { (parser) throws(SyntaxError) in try parser.parseGroupingElement() })
      }
    }
    return .expression(try parseExpression())
  }

  // MARK: ORDER BY

  /// `ORDER BY …`: current is ORDER.
  mutating func parseOrderBy() throws(SyntaxError) -> [Syntax.SortItem] {
    try expect(.order)
    try expect(.by)
    return try list { (parser) throws(SyntaxError) in try parser.parseSortItem() }
  }

  private mutating func parseSortItem() throws(SyntaxError) -> Syntax.SortItem {
    var item = Syntax.SortItem(expression: try parseExpression())
    if take(.using) {
      item.direction = .using(at(.operator) ? try parseQualifiedOperator() : try parseSortOperator())
    } else if take(.asc) {
      item.direction = .ascending
    } else if take(.desc) {
      item.direction = .descending
    }
    item.nulls = try parseNulls()
    return item
  }

  private mutating func parseSortOperator() throws(SyntaxError) -> Syntax.OperatorName {
    guard isOperator(token) else { throw unexpected() }
    return takeOperator()
  }

  mutating func parseNulls() throws(SyntaxError) -> Syntax.SortItem.Nulls? {
    guard at(.nulls) else { return nil }
    switch peek().keyword {
    case .first:
      advance()
      advance()
      return .first
    case .last:
      advance()
      advance()
      return .last
    default: return nil
    }
  }
}
