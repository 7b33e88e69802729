/// Which statement it is.
extension SQLParser {
  /// A statement of a script.
  mutating func parseTopStatement() throws(SyntaxError) -> Statement {
    depth = 0
    height = 0
    into = nil
    allowsInto = true
    let statement = try parseStatement()
    allowsInto = false
    guard let clause = into else { return statement }
    guard case .query(let query) = statement else { return statement }
    return .createTableAs(
      Syntax.CreateTableAs(
        name: clause.name, persistence: clause.persistence, source: .query(query), position: query.position))
  }

  /// Any statement, also within EXPLAIN.
  mutating func parseStatement() throws(SyntaxError) -> Statement {
    guard let keyword = token.keyword else {
      if at(.leftParen) { return .query(try parseQuery()) }
      throw unexpected()
    }
    switch keyword {
    case .select, .values, .table: return .query(try parseQuery())
    case .with: return try parseWithStatement()
    case .insert: return .insert(try parseInsert(with: nil))
    case .update: return .update(try parseUpdate(with: nil))
    case .delete: return .delete(try parseDelete(with: nil))
    case .copy: return try parseCopy()
    case .create: return try parseCreate()
    case .alter: return try parseAlter()
    case .drop: return try parseDrop()
    case .truncate: return try parseTruncate()
    case .comment: return try parseComment()
    case .grant, .revoke: return try parseGrant()
    case .explain: return try parseExplain()
    default: return try parseSessionStatement(keyword)
    }
  }

  private mutating func parseSessionStatement(_ keyword: Keyword) throws(SyntaxError) -> Statement {
    switch keyword {
    case .begin, .start, .commit, .end, .rollback, .abort, .savepoint, .release: return try parseTransaction()
    case .set: return try parseSet()
    case .show: return try parseShow()
    case .reset: return .reset(try parseReset())
    case .discard: return try parseDiscard()
    case .lock: return try parseLock()
    case .listen:
      advance()
      return .listen(try parseName())
    case .unlisten:
      advance()
      return .unlisten(take(.star) ? nil : try parseName())
    case .notify:
      advance()
      let channel = try parseName()
      return .notify(Syntax.Notify(channel: channel, payload: take(.comma) ? try parseString() : nil))
    case .prepare: return try parsePrepare()
    case .execute: return .execute(try parseExecute())
    case .deallocate:
      advance()
      if at(.prepare), isColumnName(peek()) || peek().keyword == .all { advance() }
      return .deallocate(take(.all) ? nil : try parseName())
    case .declare: return try parseDeclare()
    case .fetch, .move: return try parseFetch()
    case .close:
      advance()
      return .closeCursor(take(.all) ? nil : try parseName())
    case .vacuum, .analyze, .analyse: return try parseVacuum()
    case .reindex: return try parseReindex()
    case .checkpoint:
      advance()
      return .checkpoint
    default: throw refusedStatement(keyword)
    }
  }

  /// PostgreSQL's statements that we do not have; anything else is a syntax error.
  private mutating func refusedStatement(_ keyword: Keyword) -> SyntaxError {
    switch keyword {
    case .merge, .call, .do, .cluster, .load, .security, .reassign, .import, .refresh:
      var name = keyword.text.uppercased()
      switch keyword {
      case .security: name = "SECURITY LABEL"
      case .reassign: name = "REASSIGN OWNED"
      case .import: name = "IMPORT FOREIGN SCHEMA"
      case .refresh: name = "REFRESH MATERIALIZED VIEW"
      default: break
      }
      return unsupported(name)
    default: return unexpected()
    }
  }

  // MARK: EXPLAIN, VACUUM, REINDEX

  private mutating func parseExplain() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.explain)
    var options: [Option] = []
    if at(.leftParen), !parenthesisBeginsQuery() {
      options = try parseUtilityOptions()
    } else {
      if at(.analyze) || at(.analyse) {
        options.append(Option(name: "analyze", position: here))
        advance()
      }
      if at(.verbose) {
        options.append(Option(name: "verbose", position: here))
        advance()
      }
    }
    let statement = try nested { (parser) throws(SyntaxError) in try parser.parseExplainable() }
    return .explain(Syntax.Explain(options: options, statement: statement, position: position))
  }

  private mutating func parseExplainable() throws(SyntaxError) -> Statement {
    switch token.keyword {
    case .select, .values, .table, .with, .insert, .update, .delete, .execute, .declare, nil:
      // `EXPLAIN SELECT … INTO` explains the making of a table.
      let mayHaveInto = into == nil
      allowsInto = true
      let statement = try parseStatement()
      allowsInto = false
      guard mayHaveInto, let clause = into, case .query(let query) = statement else { return statement }
      into = nil
      return .createTableAs(
        Syntax.CreateTableAs(
          name: clause.name, persistence: clause.persistence, source: .query(query), position: query.position))
    case .create:
      let place = here
      let statement = try parseCreate()
      guard case .createTableAs = statement else {
        throw SyntaxError(.syntaxError, "syntax error at or near \"create\"", position: place)
      }
      return statement
    case .merge: throw unsupported("MERGE")
    case .refresh: throw unsupported("REFRESH MATERIALIZED VIEW")
    default: throw unexpected()
    }
  }

  private mutating func parseVacuum() throws(SyntaxError) -> Statement {
    let position = here
    let isVacuum = at(.vacuum)
    advance()
    var vacuum = Syntax.Vacuum(isVacuum: isVacuum, position: position)
    func option(_ name: String, _ place: Int) -> Option { Option(name: name, position: place) }
    if at(.leftParen) {
      vacuum.options = try parseUtilityOptions()
    } else {
      // In this order, as in PostgreSQL.
      let words: [Keyword] = isVacuum ? [.full, .freeze, .verbose, .analyze] : [.verbose]
      for word in words {
        let place = here
        if take(word) || (word == .analyze && take(.analyse)) { vacuum.options.append(option(word.text, place)) }
      }
    }
    vacuum.tables = try parseVacuumTables()
    return .vacuum(vacuum)
  }

  private mutating func parseVacuumTables() throws(SyntaxError) -> [Syntax.Vacuum.Table] {
    guard isColumnName(token) else { return [] }
    return try list { (parser) throws(SyntaxError) in
      let name = try parser.parseQualifiedName()
      return Syntax.Vacuum.Table(name: name, columns: try parser.parseOptionalNameList())
    }
  }

  private mutating func parseReindex() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.reindex)
    let options = at(.leftParen) ? try parseUtilityOptions() : []
    let kind: Syntax.Reindex.Kind
    switch token.keyword {
    case .index: kind = .index
    case .table: kind = .table
    case .schema: kind = .schema
    case .database: kind = .database
    case .system: kind = .system
    default: throw unexpected()
    }
    advance()
    let concurrently = take(.concurrently)
    let name = kind == .index || kind == .table ? try parseQualifiedName() : try parseSimpleName()
    return .reindex(
      Syntax.Reindex(kind: kind, name: name, concurrently: concurrently, options: options, position: position))
  }

  // MARK: TRUNCATE, COMMENT

  private mutating func parseTruncate() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.truncate)
    _ = take(.table)
    let tables = try list { (parser) throws(SyntaxError) in try parser.parseRelationName() }
    var truncate = Syntax.Truncate(tables: tables, position: position)
    if at(.restart) || at(.continue) {
      truncate.restartIdentity = at(.restart)
      advance()
      try expect(.identity)
    }
    truncate.behavior = parseDropBehavior()
    return .truncate(truncate)
  }

  private mutating func parseComment() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.comment)
    try expect(.on)
    var constraint: Name?
    let kind: Syntax.ObjectKind
    switch token.keyword {
    case .table: kind = .table
    case .column: kind = .column
    case .view: kind = .view
    case .sequence: kind = .sequence
    case .index: kind = .index
    case .schema: kind = .schema
    case .role: kind = .role
    case .database: kind = .database
    case .constraint:
      kind = .constraint
      advance()
      constraint = try parseName()
      try expect(.on)
      if at(.domain) { throw unsupported("domains") }
    default:
      guard let word = token.keyword, commentable(word) else { throw unexpected() }
      throw unsupported("COMMENT ON \(word.text.uppercased())")
    }
    if constraint == nil { advance() }
    let isSimple = kind == .schema || kind == .role || kind == .database
    let name = isSimple ? try parseSimpleName() : try parseAnyName()
    try expect(.is)
    let text: String? = take(.null) ? nil : try parseString()
    return .comment(Syntax.Comment(kind: kind, name: name, constraint: constraint, text: text, position: position))
  }

  /// What else PostgreSQL has comments on.
  private func commentable(_ keyword: Keyword) -> Bool {
    switch keyword {
    case .access, .aggregate, .cast, .collation, .conversion, .domain, .event, .extension, .foreign, .function, .large,
      .materialized, .operator, .policy, .procedural, .procedure, .publication, .routine, .rule, .server, .statistics,
      .subscription, .tablespace, .text, .transform, .trigger, .type, .language:
      true
    default: false
    }
  }
}
