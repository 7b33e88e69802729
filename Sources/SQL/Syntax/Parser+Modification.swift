/// INSERT, UPDATE, DELETE, COPY.
extension SQLParser {
  // MARK: INSERT

  mutating func parseInsert(with: Syntax.With?) throws(SyntaxError) -> Syntax.Insert {
    let position = here
    try expect(.insert)
    try expect(.into)
    let table = try parseQualifiedName()
    var insert = Syntax.Insert(with: with, table: table, source: .defaultValues, position: position)
    if take(.as) { insert.alias = try parseName() }
    if at(.leftParen), !parenthesisBeginsQuery() {
      insert.columns = try parenthesized { (parser) throws(SyntaxError) in try parser.parseColumnTarget() }
    }
    if take(.overriding) {
      if take(.system) {
        insert.overriding = .system
      } else {
        try expect(.user)
        insert.overriding = .user
      }
      try expect(.value)
      insert.source = .query(try parseQuery())
    } else if at(.default), insert.columns.isEmpty {
      advance()
      try expect(.values)
    } else {
      insert.source = .query(try parseQuery())
    }
    if at(.on) { insert.onConflict = try parseOnConflict() }
    insert.returning = try parseReturning()
    return insert
  }

  /// Whether the current parenthesis, or one right behind it, holds a query.
  mutating func parenthesisBeginsQuery() -> Bool {
    var next = peek()
    while next.kind == .leftParen { next = after(next) }
    return beginsQuery(next)
  }

  /// `a`, `a.b`, `a[1]`: `insert_column_item`, `set_target`.
  mutating func parseColumnTarget() throws(SyntaxError) -> Syntax.ColumnTarget {
    let position = here
    var target = Syntax.ColumnTarget(column: try parseColumnName(), position: position)
    while true {
      if take(.dot) {
        target.path.append(.field(try parseLabel()))
      } else if at(.leftBracket) {
        target.path.append(.subscripted(try parseSubscript()))
      } else {
        return target
      }
    }
  }

  private mutating func parseOnConflict() throws(SyntaxError) -> Syntax.OnConflict {
    let position = here
    try expect(.on)
    try expect(.conflict)
    var target: Syntax.OnConflict.Target?
    if at(.leftParen) {
      let elements = try parseIndexElements()
      target = .columns(elements, condition: take(.where) ? try parseExpression() : nil)
    } else if take(.on) {
      try expect(.constraint)
      target = .constraint(try parseName())
    }
    try expect(.do)
    if take(.nothing) { return Syntax.OnConflict(target: target, action: .nothing, position: position) }
    try expect(.update)
    try expect(.set)
    let assignments = try parseAssignments()
    let condition = take(.where) ? try parseExpression() : nil
    return Syntax.OnConflict(target: target, action: .update(assignments, condition: condition), position: position)
  }

  private mutating func parseReturning() throws(SyntaxError) -> [Syntax.Target] {
    take(.returning) ? try parseTargets() : []
  }

  // MARK: UPDATE

  mutating func parseUpdate(with: Syntax.With?) throws(SyntaxError) -> Syntax.Update {
    let position = here
    try expect(.update)
    let table = try parseRelationName()
    var update = Syntax.Update(with: with, table: table, assignments: [], position: position)
    update.alias = try parseTargetAlias()
    try expect(.set)
    update.assignments = try parseAssignments()
    if take(.from) { update.from = try list { (parser) throws(SyntaxError) in try parser.parseTableReference() } }
    update.condition = try parseWhereOrCurrent()
    update.returning = try parseReturning()
    return update
  }

  /// `[AS] name`; `SET` is a possible name, but never one here.
  private mutating func parseTargetAlias() throws(SyntaxError) -> Name? {
    if take(.as) { return try parseName() }
    return isColumnName(token) && !at(.set) ? try parseName() : nil
  }

  mutating func parseAssignments() throws(SyntaxError) -> [Syntax.Assignment] {
    try list { (parser) throws(SyntaxError) in
      guard parser.at(.leftParen) else {
        let target = try parser.parseColumnTarget()
        try parser.expect(.equals)
        return .single(target, try parser.parseExpression())
      }
      let targets = try parser.parenthesized { (parser) throws(SyntaxError) in try parser.parseColumnTarget() }
      try parser.expect(.equals)
      return .multiple(targets, try parser.parseExpression())
    }
  }

  private mutating func parseWhereOrCurrent() throws(SyntaxError) -> Expression? {
    guard take(.where) else { return nil }
    guard at(.current), peek().keyword == .of else { return try parseExpression() }
    let position = here
    advance()
    advance()
    return Expression(.currentOf(try parseColumnName()), position)
  }

  // MARK: DELETE

  mutating func parseDelete(with: Syntax.With?) throws(SyntaxError) -> Syntax.Delete {
    let position = here
    try expect(.delete)
    try expect(.from)
    var delete = Syntax.Delete(with: with, table: try parseRelationName(), position: position)
    delete.alias = try parseTargetAlias()
    if take(.using) { delete.using = try list { (parser) throws(SyntaxError) in try parser.parseTableReference() } }
    delete.condition = try parseWhereOrCurrent()
    delete.returning = try parseReturning()
    return delete
  }

  // MARK: COPY

  mutating func parseCopy() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.copy)
    var old: [Option] = []
    let source: Syntax.Copy.Source
    if take(.leftParen) {
      source = .statement(try parsePreparable())
      try expect(.rightParen)
    } else {
      if at(.binary) {
        old.append(Option(name: "format", value: .word("binary"), position: here))
        advance()
      }
      source = .table(try parseQualifiedName(), columns: try parseOptionalNameList())
    }
    if at(.from), case .statement = source { throw unexpected() }
    let isFrom = take(.from)
    if !isFrom { try expect(.to) }
    let direction: Syntax.Copy.Direction = isFrom ? .from : .to
    let endpoint = try parseEndpoint()
    var copy = Syntax.Copy(source: source, direction: direction, endpoint: endpoint, position: position)
    if at(.delimiters) || (at(.using) && peek().keyword == .delimiters) {
      let place = here
      _ = take(.using)
      advance()
      old.append(Option(name: "delimiter", value: .string(try parseString()), position: place))
    }
    _ = take(.with)
    if at(.leftParen) {
      copy.options = old + (try parseCopyOptions())
    } else {
      copy.options = old + (try parseOldCopyOptions())
    }
    let place = here
    if take(.where) {
      copy.condition = try parseExpression()
      if !isFrom { throw SyntaxError(.syntaxError, "WHERE clause not allowed with COPY TO", position: place) }
    }
    return .copy(copy)
  }

  private mutating func parseEndpoint() throws(SyntaxError) -> Syntax.Copy.Endpoint {
    if at(.program) {
      advance()
      return .program(try parseString())
    }
    if take(.stdin) || take(.stdout) { return .client }
    return .file(try parseString())
  }

  /// `CSV HEADER DELIMITER ','`: the syntax before 9.0, which psql's `\copy` and many scripts still use.
  private mutating func parseOldCopyOptions() throws(SyntaxError) -> [Option] {
    var options: [Option] = []
    while true {
      let position = here
      func option(_ name: String, _ value: Syntax.OptionValue) -> Option {
        Option(name: name, value: value, position: position)
      }
      switch token.keyword {
      case .binary, .csv, .freeze, .header:
        let keyword = token.keyword
        advance()
        switch keyword {
        case .binary, .csv: options.append(option("format", .word(keyword == .csv ? "csv" : "binary")))
        default: options.append(option(keyword == .freeze ? "freeze" : "header", .word("true")))
        }
      case .delimiter, .null, .quote, .escape:
        let name = token.keyword?.text ?? ""
        advance()
        _ = take(.as)
        options.append(option(name, .string(try parseString())))
      case .encoding:
        advance()
        options.append(option("encoding", .string(try parseString())))
      case .force:
        advance()
        let name: String
        if take(.quote) {
          name = "force_quote"
        } else if take(.not) {
          try expect(.null)
          name = "force_not_null"
        } else {
          try expect(.null)
          name = "force_null"
        }
        if name == "force_quote", take(.star) {
          options.append(option(name, .star))
        } else {
          let columns = try list { (parser) throws(SyntaxError) in Syntax.OptionValue.word(try parser.parseColumnName())
          }
          options.append(option(name, .list(columns)))
        }
      default: return options
      }
    }
  }
}
