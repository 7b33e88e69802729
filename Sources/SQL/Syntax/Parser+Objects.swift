/// CREATE of anything, and DROP.
extension SQLParser {
  mutating func parseCreate() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.create)
    if take(.or) {
      try expect(.replace)
      return try parseReplaceable(position)
    }
    switch token.keyword {
    case .table: return try parseCreateTable(.permanent, position)
    case .unique, .index: return try parseCreateIndex(position)
    case .view: return try parseCreateView(orReplace: false, temporary: false, position)
    case .sequence: return try parseCreateSequence(.permanent, position)
    case .schema: return try parseCreateSchema(position)
    case .role, .user, .group: return try parseCreateRole(position)
    case .temporary, .temp, .local, .global, .unlogged: return try parseCreatePersistent(position)
    case .recursive: return try parseCreateView(orReplace: false, temporary: false, position)
    default: throw refusedObject("CREATE", position)
    }
  }

  /// After CREATE OR REPLACE.
  private mutating func parseReplaceable(_ position: Int) throws(SyntaxError) -> Statement {
    switch token.keyword {
    case .view, .recursive: return try parseCreateView(orReplace: true, temporary: false, position)
    case .temp, .temporary, .local, .global:
      guard try parsePersistence() == .temporary else { throw unexpected() }
      return try parseCreateView(orReplace: true, temporary: true, position)
    case .function, .procedure, .aggregate, .trigger, .constraint, .language, .trusted, .procedural, .rule, .transform:
      throw refusedObject("CREATE", position)
    default: throw unexpected()
    }
  }

  private mutating func parseCreatePersistent(_ position: Int) throws(SyntaxError) -> Statement {
    let persistence = try parsePersistence()
    if persistence == .permanent { advance() }
    switch token.keyword {
    case .table where persistence != .permanent: return try parseCreateTable(persistence, position)
    case .sequence where persistence != .permanent: return try parseCreateSequence(persistence, position)
    case .view where persistence == .temporary, .recursive where persistence == .temporary:
      return try parseCreateView(orReplace: false, temporary: true, position)
    default: throw unexpected()
    }
  }

  /// What PostgreSQL creates, alters and drops, and we do not; anything else is a syntax error.
  mutating func refusedObject(_ verb: String, _ position: Int) -> SyntaxError {
    guard let keyword = token.keyword else { return unexpected() }
    let name: String
    switch keyword {
    case .aggregate, .cast, .collation, .conversion, .database, .domain, .extension, .function, .language, .operator,
      .policy, .procedure, .publication, .routine, .rule, .server, .statistics, .subscription, .tablespace, .transform,
      .trigger, .type:
      name = keyword.text.uppercased()
    case .access: name = "ACCESS METHOD"
    case .constraint: name = "CONSTRAINT TRIGGER"
    case .default: name = "DEFAULT PRIVILEGES"
    case .event: name = "EVENT TRIGGER"
    case .foreign: name = peek().keyword == .table ? "FOREIGN TABLE" : "FOREIGN DATA WRAPPER"
    case .large: name = "LARGE OBJECT"
    case .materialized: name = "MATERIALIZED VIEW"
    case .owned: name = "OWNED"
    case .procedural, .trusted: name = "LANGUAGE"
    case .system: name = "SYSTEM"
    case .text: name = "TEXT SEARCH"
    default: return unexpected()
    }
    return unsupported("\(verb) \(name)", at: position)
  }

  // MARK: Indexes

  private mutating func parseCreateIndex(_ position: Int) throws(SyntaxError) -> Statement {
    let unique = take(.unique)
    try expect(.index)
    let concurrently = take(.concurrently)
    let ifNotExists = try takeIfNotExists()
    let name = at(.on) ? nil : try parseName()
    if ifNotExists, name == nil { throw unexpected() }
    try expect(.on)
    let table = try parseRelationName()
    let method = take(.using) ? try parseName() : nil
    var index = Syntax.CreateIndex(
      unique: unique, concurrently: concurrently, ifNotExists: ifNotExists, name: name, table: table, method: method,
      elements: try parseIndexElements(), position: position)
    if take(.include) { index.including = try parseIndexElements() }
    index.nullsNotDistinct = try parseNullsNotDistinct()
    if take(.with) { index.options = try parseDefinition() }
    if at(.tablespace) { throw unsupported("TABLESPACE") }
    if take(.where) { index.condition = try parseExpression() }
    return .createIndex(index)
  }

  /// `( a, lower(b) text_ops DESC, (c + d) )`.
  mutating func parseIndexElements() throws(SyntaxError) -> [Syntax.IndexElement] {
    try parenthesized { (parser) throws(SyntaxError) in try parser.parseIndexElement() }
  }

  private mutating func parseIndexElement() throws(SyntaxError) -> Syntax.IndexElement {
    let position = here
    let key: Syntax.IndexElement.Key
    if take(.leftParen) {
      key = .expression(try parseExpression())
      try expect(.rightParen)
    } else if beginsSpecialFunction() {
      key = .expression(try parsePrimary())
    } else if isColumnName(token), peek().kind != .leftParen, peek().kind != .dot {
      key = .column(try takeName())
    } else {
      key = .expression(try parseIndexFunction())
    }
    var element = Syntax.IndexElement(key: key, position: position)
    if take(.collate) { element.collation = try parseAnyName() }
    if isColumnName(token), !at(.nulls) || (peek().keyword != .first && peek().keyword != .last) {
      element.operatorClass = try parseAnyName()
      if at(.leftParen) { element.operatorClassOptions = try parseDefinition() }
    }
    if take(.asc) { element.descending = false } else if take(.desc) { element.descending = true }
    element.nulls = try parseNulls()
    return element
  }

  /// A function call without parentheses around it.
  private mutating func parseIndexFunction() throws(SyntaxError) -> Expression {
    let position = here
    guard isTypeFunctionName(token) || isColumnName(token) else { throw unexpected() }
    var parts = [try takeName()]
    while take(.dot) { parts.append(try parseLabel()) }
    guard at(.leftParen) else { throw unexpected() }
    return try parseFunction(QualifiedName(parts, position: position), isTable: true)
  }

  // MARK: Views

  private mutating func parseCreateView(orReplace: Bool, temporary: Bool, _ position: Int) throws(SyntaxError)
    -> Statement
  {
    let recursive = take(.recursive)
    try expect(.view)
    let name = try parseQualifiedName()
    if recursive, !at(.leftParen) { throw unexpected() }
    let columns = try parseOptionalNameList()
    let options = take(.with) ? try parseDefinition() : []
    try expect(.as)
    let query = try parseQuery()
    var view = Syntax.CreateView(
      name: name, columns: columns, orReplace: orReplace, temporary: temporary, recursive: recursive, options: options,
      query: query, position: position)
    if take(.with) {
      if at(.check), recursive {
        throw SyntaxError(
          .featureNotSupported, "WITH CHECK OPTION not supported on recursive views", position: here)
      }
      view.checkOption = take(.local) ? .local : .cascaded
      if view.checkOption == .cascaded { _ = take(.cascaded) }
      try expect(.check)
      try expect(.option)
    }
    return .createView(view)
  }

  // MARK: Sequences

  private mutating func parseCreateSequence(_ persistence: Syntax.Persistence, _ position: Int) throws(SyntaxError)
    -> Statement
  {
    try expect(.sequence)
    let ifNotExists = try takeIfNotExists()
    let name = try parseQualifiedName()
    return .createSequence(
      Syntax.CreateSequence(
        name: name, persistence: persistence, ifNotExists: ifNotExists, options: try parseSequenceOptions(),
        position: position))
  }

  mutating func parseSequenceOptions() throws(SyntaxError) -> [Syntax.SequenceOption] {
    var options: [Syntax.SequenceOption] = []
    while let option = try parseSequenceOption() { options.append(option) }
    return options
  }

  /// One option; nil if the token begins none.
  mutating func parseSequenceOption() throws(SyntaxError) -> Syntax.SequenceOption? {
    let position = here
    let kind: Syntax.SequenceOption.Kind
    switch token.keyword {
    case .as:
      advance()
      kind = .type(try parseSimpleType())
    case .cache:
      advance()
      kind = .cache(try parseNumber())
    case .cycle:
      advance()
      kind = .cycle(true)
    case .no:
      switch peek().keyword {
      case .cycle: kind = .cycle(false)
      case .maxvalue: kind = .maximum(nil)
      case .minvalue: kind = .minimum(nil)
      default:
        advance()
        throw unexpected()
      }
      advance()
      advance()
    case .increment:
      advance()
      _ = take(.by)
      kind = .increment(try parseNumber())
    case .maxvalue:
      advance()
      kind = .maximum(try parseNumber())
    case .minvalue:
      advance()
      kind = .minimum(try parseNumber())
    case .owned:
      advance()
      try expect(.by)
      let owner = try parseAnyName()
      kind = .ownedBy(owner.parts == ["none"] ? nil : owner)
    case .sequence:
      advance()
      try expect(.name)
      kind = .name(try parseAnyName())
    case .start:
      advance()
      _ = take(.with)
      kind = .start(try parseNumber())
    case .restart:
      advance()
      let mustFollow = take(.with)
      switch token.kind {
      case .integer, .decimal, .plus, .minus: kind = .restart(try parseNumber())
      default:
        if mustFollow { throw unexpected() }
        kind = .restart(nil)
      }
    default: return nil
    }
    return Syntax.SequenceOption(kind: kind, position: position)
  }

  // MARK: Schemas

  private mutating func parseCreateSchema(_ position: Int) throws(SyntaxError) -> Statement {
    try expect(.schema)
    let ifNotExists = try takeIfNotExists()
    var schema = Syntax.CreateSchema(ifNotExists: ifNotExists, position: position)
    if !at(.authorization) { schema.name = try parseName() }
    if take(.authorization) { schema.authorization = try parseRoleName() }
    while at(.create) || at(.grant) {
      if ifNotExists {
        throw SyntaxError(
          .featureNotSupported, "CREATE SCHEMA IF NOT EXISTS cannot include schema elements", position: here)
      }
      schema.elements.append(
        try nested { (parser) throws(SyntaxError) in
          parser.at(.create) ? try parser.parseSchemaElement() : try parser.parseGrant()
        })
    }
    return .createSchema(schema)
  }

  private mutating func parseSchemaElement() throws(SyntaxError) -> Statement {
    switch peek().keyword {
    case .table, .index, .unique, .sequence, .view, .or, .temp, .temporary, .local, .global, .unlogged, .recursive:
      return try parseCreate()
    case .trigger, .constraint: throw unsupported("CREATE TRIGGER")
    default:
      advance()
      throw unexpected()
    }
  }

  // MARK: DROP

  mutating func parseDrop() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.drop)
    let kind: Syntax.ObjectKind
    switch token.keyword {
    case .table: kind = .table
    case .view: kind = .view
    case .sequence: kind = .sequence
    case .index: kind = .index
    case .schema: kind = .schema
    case .user where peek().keyword == .mapping: throw unsupported("DROP USER MAPPING", at: position)
    case .role, .user, .group: return try parseDropRole(position)
    default: throw refusedObject("DROP", position)
    }
    advance()
    let concurrently = kind == .index && take(.concurrently)
    let ifExists = try takeIfExists()
    let names = try list { (parser) throws(SyntaxError) in
      kind == .schema ? try parser.parseSimpleName() : try parser.parseAnyName()
    }
    return .drop(
      Syntax.Drop(
        kind: kind, names: names, ifExists: ifExists, concurrently: concurrently, behavior: parseDropBehavior(),
        position: position))
  }
}
