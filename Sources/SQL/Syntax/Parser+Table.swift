/// CREATE TABLE: columns, constraints, CREATE TABLE AS.
extension SQLParser {
  /// After CREATE and the persistence: current is TABLE.
  mutating func parseCreateTable(_ persistence: Syntax.Persistence, _ position: Int) throws(SyntaxError) -> Statement {
    try expect(.table)
    let ifNotExists = try takeIfNotExists()
    let name = try parseQualifiedName()
    if at(.of) { throw unsupported("typed tables (OF)") }
    if at(.partition) { throw unsupported("partitions") }
    var table = Syntax.CreateTable(
      name: name, persistence: persistence, ifNotExists: ifNotExists, position: position)
    var names: [Name] = []
    var isDefinition = false
    if at(.leftParen) {
      // `(a, b) AS SELECT` names columns; a definition has a type behind the name.
      let second = after(peek())
      if isColumnName(peek()), second.kind == .comma || second.kind == .rightParen {
        names = try parseNameList()
      } else {
        isDefinition = true
        advance()
        if !at(.rightParen) {
          table.elements = try list { (parser) throws(SyntaxError) in try parser.parseTableElement() }
        }
        try expect(.rightParen)
      }
      if names.isEmpty, at(.inherits) { throw unsupported("inheritance") }
    }
    if at(.partition) { throw unsupported("partitions") }
    if take(.using) {
      let method = try parseName()
      if method.text != "heap" { throw unsupported("the access method \(method.text)", at: method.position) }
    }
    (table.options, table.onCommit) = try parseTableOptions()
    if isDefinition { return .createTable(table) }
    guard at(.as) else { throw unexpected() }
    return try parseCreateTableAs(table, names)
  }

  /// `WITH (…)`, `ON COMMIT …`, TABLESPACE.
  private mutating func parseTableOptions() throws(SyntaxError) -> ([Option], Syntax.CreateTable.OnCommit?) {
    var options: [Option] = []
    var onCommit: Syntax.CreateTable.OnCommit?
    if take(.with) {
      options = try parseDefinition()
    } else if at(.without), peek().keyword == .oids {
      advance()
      advance()
    }
    if take(.on) {
      try expect(.commit)
      if take(.drop) {
        onCommit = .drop
      } else {
        onCommit = at(.delete) ? .deleteRows : .preserveRows
        guard take(.delete) || take(.preserve) else { throw unexpected() }
        try expect(.rows)
      }
    }
    if at(.tablespace) { throw unsupported("TABLESPACE") }
    return (options, onCommit)
  }

  private mutating func parseCreateTableAs(_ table: Syntax.CreateTable, _ names: [Name]) throws(SyntaxError)
    -> Statement
  {
    try expect(.as)
    let source: Syntax.CreateTableAs.Source =
      at(.execute) ? .execute(try parseExecute()) : .query(try parseQuery())
    return .createTableAs(
      Syntax.CreateTableAs(
        name: table.name, columns: names, persistence: table.persistence, ifNotExists: table.ifNotExists,
        options: table.options, onCommit: table.onCommit, source: source, withData: try parseWithData(),
        position: table.position))
  }

  private mutating func parseWithData() throws(SyntaxError) -> Bool {
    guard take(.with) else { return true }
    let withData = !take(.no)
    try expect(.data)
    return withData
  }

  private mutating func parseTableElement() throws(SyntaxError) -> Syntax.CreateTable.Element {
    switch token.keyword {
    case .like: return .like(try parseLikeClause())
    default:
      if isTableConstraint() { return .constraint(try parseTableConstraint()) }
      return .column(try parseColumnDefinition())
    }
  }

  private mutating func isTableConstraint() -> Bool {
    switch token.keyword {
    case .constraint, .check, .unique, .primary, .foreign: true
    case .exclude: peek().keyword == .using || peek().kind == .leftParen
    default: false
    }
  }

  private mutating func parseLikeClause() throws(SyntaxError) -> Syntax.LikeClause {
    let position = here
    try expect(.like)
    var like = Syntax.LikeClause(table: try parseQualifiedName(), position: position)
    while at(.including) || at(.excluding) {
      let including = take(.including)
      if !including { advance() }
      guard let keyword = token.keyword, let feature = Syntax.LikeClause.Feature(rawValue: keyword.text) else {
        throw unexpected()
      }
      advance()
      like.choices.append(Syntax.LikeClause.Choice(feature: feature, including: including))
    }
    return like
  }

  // MARK: Columns

  mutating func parseColumnDefinition() throws(SyntaxError) -> Syntax.ColumnDefinition {
    let name = try parseName()
    var column = Syntax.ColumnDefinition(name: name, type: try parseTypeName())
    if at(.storage) { throw unsupported("STORAGE") }
    if at(.compression) { throw unsupported("COMPRESSION") }
    if at(.options) { throw unsupported("column options of foreign tables") }
    while true {
      if at(.collate) {
        let position = here
        advance()
        if column.collation != nil {
          throw SyntaxError(.syntaxError, "multiple COLLATE clauses not allowed", position: position)
        }
        column.collation = try parseAnyName()
      } else if let constraint = try parseColumnConstraint() {
        column.constraints.append(constraint)
      } else if at(.deferrable) || at(.initially) || (at(.not) && peek().keyword == .deferrable) {
        guard !column.constraints.isEmpty else {
          let word = take(.not) ? "NOT DEFERRABLE" : at(.initially) ? "INITIALLY DEFERRED" : "DEFERRABLE"
          throw SyntaxError(.syntaxError, "misplaced \(word) clause", position: here)
        }
        let last = column.constraints.count - 1
        column.constraints[last].deferral = try parseDeferral(of: column.constraints[last])
      } else {
        // Nothing behind a column begins with NOT.
        if take(.not) { throw unexpected() }
        return column
      }
    }
  }

  /// The attributes behind a column's constraint; PostgreSQL takes them for a foreign, unique or primary key.
  private mutating func parseDeferral(of constraint: Syntax.ColumnConstraint) throws(SyntaxError) -> Syntax.Deferral {
    let position = here
    let deferral = try parseConstraintAttributes(allowsNotValid: false).deferral
    switch constraint.kind {
    case .references, .unique, .primaryKey: return deferral
    default:
      if !deferral.deferrable { return deferral }
      throw SyntaxError(.syntaxError, "misplaced DEFERRABLE clause", position: position)
    }
  }

  private mutating func parseColumnConstraint() throws(SyntaxError) -> Syntax.ColumnConstraint? {
    let position = here
    var name: Name?
    if at(.constraint) {
      advance()
      name = try parseName()
    }
    guard let kind = try parseColumnConstraintKind() else {
      if name != nil { throw unexpected() }
      return nil
    }
    return Syntax.ColumnConstraint(name: name, kind: kind, position: position)
  }

  private mutating func parseColumnConstraintKind() throws(SyntaxError) -> Syntax.ColumnConstraint.Kind? {
    switch token.keyword {
    case .not:
      guard peek().keyword == .null else { return nil }
      advance()
      advance()
      return .notNull
    case .null:
      advance()
      return .null
    case .default:
      advance()
      return .defaultValue(try parseRestrictedExpression())
    case .check:
      advance()
      try expect(.leftParen)
      let condition = try parseExpression()
      try expect(.rightParen)
      return .check(condition, noInherit: take(.no, .inherit))
    case .unique:
      advance()
      let nullsNotDistinct = try parseNullsNotDistinct()
      return .unique(nullsNotDistinct: nullsNotDistinct, options: try parseIndexParameters())
    case .primary:
      advance()
      try expect(.key)
      return .primaryKey(options: try parseIndexParameters())
    case .references: return .references(try parseReference())
    case .generated: return try parseGenerated()
    default: return nil
    }
  }

  private mutating func parseGenerated() throws(SyntaxError) -> Syntax.ColumnConstraint.Kind {
    try expect(.generated)
    let position = here
    let always = take(.always)
    if !always {
      try expect(.by)
      try expect(.default)
    }
    try expect(.as)
    if take(.identity) { return .identity(Syntax.Identity(always: always, options: try parseIdentityOptions())) }
    try expect(.leftParen)
    let expression = try parseExpression()
    try expect(.rightParen)
    try expect(.stored)
    if !always {
      throw SyntaxError(.syntaxError, "for a generated column, GENERATED ALWAYS must be specified", position: position)
    }
    return .generated(expression)
  }

  /// `( sequence options )`, if there is a parenthesis.
  mutating func parseIdentityOptions() throws(SyntaxError) -> [Syntax.SequenceOption] {
    guard take(.leftParen) else { return [] }
    let options = try parseSequenceOptions()
    if options.isEmpty { throw unexpected() }
    try expect(.rightParen)
    return options
  }

  mutating func parseNullsNotDistinct() throws(SyntaxError) -> Bool {
    guard at(.nulls) else { return false }
    advance()
    let not = take(.not)
    try expect(.distinct)
    return not
  }

  /// `WITH (…)`, `USING INDEX TABLESPACE` behind a unique or primary key.
  private mutating func parseIndexParameters() throws(SyntaxError) -> [Option] {
    var options: [Option] = []
    if at(.with), peek().kind == .leftParen {
      advance()
      options = try parseDefinition()
    }
    if at(.using), peek().keyword == .index { throw unsupported("USING INDEX TABLESPACE") }
    return options
  }

  mutating func parseReference() throws(SyntaxError) -> Syntax.Reference {
    try expect(.references)
    var reference = Syntax.Reference(table: try parseQualifiedName())
    reference.columns = try parseOptionalNameList()
    if take(.match) {
      switch token.keyword {
      case .full: reference.match = .full
      case .simple: break
      case .partial: throw unsupported("MATCH PARTIAL")
      default: throw unexpected()
      }
      advance()
    }
    var sawDelete = false
    var sawUpdate = false
    while at(.on), !(sawDelete && sawUpdate) {
      let next = peek().keyword
      if next == .delete, !sawDelete {
        advance()
        advance()
        sawDelete = true
        reference.onDelete = try parseReferenceAction(isDelete: true)
      } else if next == .update, !sawUpdate {
        advance()
        advance()
        sawUpdate = true
        reference.onUpdate = try parseReferenceAction(isDelete: false)
      } else {
        advance()
        throw unexpected()
      }
    }
    return reference
  }

  private mutating func parseReferenceAction(isDelete: Bool) throws(SyntaxError) -> Syntax.Reference.Action {
    if take(.no) {
      try expect(.action)
      return .noAction
    }
    if take(.restrict) { return .restrict }
    if take(.cascade) { return .cascade }
    try expect(.set)
    let isNull = at(.null)
    guard isNull || at(.default) else { throw unexpected() }
    advance()
    let position = here
    let columns = try parseOptionalNameList()
    if !columns.isEmpty, !isDelete {
      throw SyntaxError(
        .featureNotSupported,
        "a column list with \(isNull ? "SET NULL" : "SET DEFAULT") is only supported for ON DELETE actions",
        position: position)
    }
    return isNull ? .setNull(columns) : .setDefault(columns)
  }

  // MARK: Table constraints

  mutating func parseTableConstraint() throws(SyntaxError) -> Syntax.TableConstraint {
    let position = here
    let name = take(.constraint) ? try parseName() : nil
    let place = here
    let kind = try parseTableConstraintKind()
    var constraint = Syntax.TableConstraint(name: name, kind: kind, position: position)
    let attributes = try parseConstraintAttributes(allowsNotValid: true)
    constraint.deferral = attributes.deferral
    constraint.notValid = attributes.notValid
    switch constraint.kind {
    case .check(let condition, _):
      if attributes.deferral.deferrable { throw misplaced("CHECK", "DEFERRABLE", place) }
      constraint.kind = .check(condition, noInherit: attributes.noInherit)
    case .foreignKey:
      if attributes.noInherit { throw misplaced("FOREIGN KEY", "NO INHERIT", place) }
    case .unique, .uniqueUsingIndex:
      if attributes.notValid { throw misplaced("UNIQUE", "NOT VALID", place) }
      if attributes.noInherit { throw misplaced("UNIQUE", "NO INHERIT", place) }
    case .primaryKey, .primaryKeyUsingIndex:
      if attributes.notValid { throw misplaced("PRIMARY KEY", "NOT VALID", place) }
      if attributes.noInherit { throw misplaced("PRIMARY KEY", "NO INHERIT", place) }
    }
    return constraint
  }

  private func misplaced(_ kind: String, _ attribute: String, _ position: Int) -> SyntaxError {
    SyntaxError(.featureNotSupported, "\(kind) constraints cannot be marked \(attribute)", position: position)
  }

  private mutating func parseTableConstraintKind() throws(SyntaxError) -> Syntax.TableConstraint.Kind {
    switch token.keyword {
    case .check:
      advance()
      try expect(.leftParen)
      let condition = try parseExpression()
      try expect(.rightParen)
      return .check(condition, noInherit: false)
    case .unique:
      advance()
      if at(.using) { return .uniqueUsingIndex(try parseExistingIndex()) }
      let nullsNotDistinct = try parseNullsNotDistinct()
      let columns = try parseNameList()
      let including = take(.include) ? try parseNameList() : []
      return .unique(
        columns, including: including, nullsNotDistinct: nullsNotDistinct, options: try parseIndexParameters())
    case .primary:
      advance()
      try expect(.key)
      if at(.using) { return .primaryKeyUsingIndex(try parseExistingIndex()) }
      let columns = try parseNameList()
      let including = take(.include) ? try parseNameList() : []
      return .primaryKey(columns, including: including, options: try parseIndexParameters())
    case .foreign:
      advance()
      try expect(.key)
      let columns = try parseNameList()
      return .foreignKey(columns, try parseReference())
    case .exclude: throw unsupported("exclusion constraints")
    default: throw unexpected()
    }
  }

  private mutating func parseExistingIndex() throws(SyntaxError) -> Name {
    try expect(.using)
    try expect(.index)
    return try parseName()
  }

  struct ConstraintAttributes {
    var deferral = Syntax.Deferral()
    var notValid = false
    var noInherit = false
  }

  /// `[NOT] DEFERRABLE`, `INITIALLY …`, `NOT VALID`, `NO INHERIT`, in any order and without contradiction.
  mutating func parseConstraintAttributes(allowsNotValid: Bool) throws(SyntaxError) -> ConstraintAttributes {
    var result = ConstraintAttributes()
    var deferrable: Bool?
    var initially: Bool?
    while true {
      let position = here
      var isConflict = false
      if take(.deferrable) {
        isConflict = deferrable == false
        deferrable = true
      } else if at(.not, .deferrable) {
        advance()
        advance()
        isConflict = deferrable == true || initially == true
        deferrable = false
      } else if take(.initially) {
        let isDeferred = take(.deferred)
        if !isDeferred { try expect(.immediate) }
        isConflict = initially == !isDeferred || (isDeferred && deferrable == false)
        initially = isDeferred
      } else if allowsNotValid, at(.not, .valid) {
        advance()
        advance()
        result.notValid = true
      } else if allowsNotValid, at(.no, .inherit) {
        advance()
        advance()
        result.noInherit = true
      } else {
        if allowsNotValid, at(.not) || at(.no) {
          advance()
          throw unexpected()
        }
        break
      }
      if isConflict { throw SyntaxError(.syntaxError, "conflicting constraint properties", position: position) }
    }
    result.deferral.initiallyDeferred = initially == true
    result.deferral.deferrable = deferrable ?? (initially == true)
    return result
  }
}
