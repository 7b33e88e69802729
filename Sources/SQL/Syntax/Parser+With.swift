/// WITH, and the windows of window functions.
extension SQLParser {
  // MARK: WITH

  mutating func parseWith() throws(SyntaxError) -> Syntax.With {
    let position = here
    let mayHaveInto = allowsInto
    allowsInto = false
    defer { allowsInto = mayHaveInto }
    try expect(.with)
    let recursive = take(.recursive)
    let tables = try list { (parser) throws(SyntaxError) in try parser.parseCommonTable() }
    return Syntax.With(recursive: recursive, tables: tables, position: position)
  }

  private mutating func parseCommonTable() throws(SyntaxError) -> Syntax.CommonTable {
    let name = try parseName()
    let columns = try parseOptionalNameList()
    try expect(.as)
    var materialized: Bool?
    if take(.materialized) {
      materialized = true
    } else if take(.not) {
      try expect(.materialized)
      materialized = false
    }
    try expect(.leftParen)
    let statement = try parsePreparable()
    try expect(.rightParen)
    if at(.search) { throw unsupported("the SEARCH clause") }
    if at(.cycle) { throw unsupported("the CYCLE clause") }
    return Syntax.CommonTable(name: name, columns: columns, materialized: materialized, statement: statement)
  }

  /// SELECT, INSERT, UPDATE or DELETE: `PreparableStmt`.
  mutating func parsePreparable() throws(SyntaxError) -> Statement {
    try nested { (parser) throws(SyntaxError) in
      switch parser.token.keyword {
      case .insert: return .insert(try parser.parseInsert(with: nil))
      case .update: return .update(try parser.parseUpdate(with: nil))
      case .delete: return .delete(try parser.parseDelete(with: nil))
      case .with: return try parser.parseWithStatement()
      case .merge: throw parser.unsupported("MERGE")
      default: return .query(try parser.parseQuery())
      }
    }
  }

  /// A statement that begins with WITH.
  mutating func parseWithStatement() throws(SyntaxError) -> Statement {
    let position = here
    let with = try parseWith()
    switch token.keyword {
    case .insert: return .insert(try parseInsert(with: with))
    case .update: return .update(try parseUpdate(with: with))
    case .delete: return .delete(try parseDelete(with: with))
    case .merge: throw unsupported("MERGE")
    default: break
    }
    var query = try parseQuery()
    if query.with != nil { throw refused("multiple WITH clauses not allowed", position) }
    query.with = with
    query.position = position
    return .query(query)
  }

  // MARK: Windows

  /// `( [name] [PARTITION BY …] [ORDER BY …] [frame] )`.
  mutating func parseWindow() throws(SyntaxError) -> Syntax.Window {
    let position = here
    try expect(.leftParen)
    var window = Syntax.Window(position: position)
    // PARTITION, RANGE, ROWS and GROUPS begin clauses here, although they may be names elsewhere.
    switch token.keyword {
    case .partition, .range, .rows, .groups: break
    default: if isColumnName(token) { window.base = try parseName() }
    }
    if at(.partition) {
      advance()
      try expect(.by)
      window.partitionBy = try list { (parser) throws(SyntaxError) in try parser.parseExpression() }
    }
    if at(.order) { window.orderBy = try parseOrderBy() }
    switch token.keyword {
    case .rows: window.frame = try parseFrame(.rows)
    case .range: window.frame = try parseFrame(.range)
    case .groups: window.frame = try parseFrame(.groups)
    default: break
    }
    try expect(.rightParen)
    return window
  }

  private mutating func parseFrame(_ mode: Syntax.WindowFrame.Mode) throws(SyntaxError) -> Syntax.WindowFrame {
    var frame = Syntax.WindowFrame(mode: mode, start: .currentRow, position: here)
    advance()
    let isBetween = take(.between)
    let startPlace = here
    frame.start = try parseFrameBound()
    if isBetween { try expect(.and) }
    let endPlace = here
    if isBetween { frame.end = try parseFrameBound() }
    try checkFrame(frame, start: startPlace, end: endPlace)
    if take(.exclude) {
      switch token.keyword {
      case .current:
        advance()
        guard at(.row) else { throw unexpected() }
        frame.exclusion = .currentRow
      case .group: frame.exclusion = .group
      case .ties: frame.exclusion = .ties
      case .no:
        advance()
        guard at(.others) else { throw unexpected() }
      default: throw unexpected()
      }
      advance()
    }
    return frame
  }

  private mutating func parseFrameBound() throws(SyntaxError) -> Syntax.WindowFrame.Bound {
    if at(.unbounded), peek().keyword == .preceding || peek().keyword == .following {
      advance()
      defer { advance() }
      return at(.preceding) ? .unboundedPreceding : .unboundedFollowing
    }
    if take(.current, .row) { return .currentRow }
    let offset = try parseExpression()
    if take(.preceding) { return .preceding(offset) }
    try expect(.following)
    return .following(offset)
  }

  /// The frames that PostgreSQL's grammar refuses.
  private func checkFrame(_ frame: Syntax.WindowFrame, start: Int, end place: Int) throws(SyntaxError) {
    func refuse(_ message: String, _ position: Int) -> SyntaxError {
      SyntaxError(.windowingError, message, position: position)
    }
    switch frame.start {
    case .unboundedFollowing: throw refuse("frame start cannot be UNBOUNDED FOLLOWING", start)
    case .following where frame.end == nil:

      throw refuse("frame starting from following row cannot end with current row", start)
    default: break
    }
    guard let end = frame.end else { return }
    switch (frame.start, end) {
    case (_, .unboundedPreceding): throw refuse("frame end cannot be UNBOUNDED PRECEDING", place)
    case (.currentRow, .preceding): throw refuse("frame starting from current row cannot have preceding rows", place)
    case (.following, .preceding), (.following, .currentRow):
      throw refuse("frame starting from following row cannot have preceding rows", place)
    default: return
    }
  }
}
