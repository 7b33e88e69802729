/// ALTER of anything.
extension SQLParser {
  mutating func parseAlter() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.alter)
    switch token.keyword {
    case .table:
      advance()
      return try parseAlterRelation(.table, position)
    case .index:
      advance()
      return try parseAlterRelation(.index, position)
    case .view:
      advance()
      return try parseAlterRelation(.view, position)
    case .sequence:
      advance()
      return try parseAlterRelation(.sequence, position)
    case .schema: return try parseAlterSchema(position)
    case .database: return try parseAlterDatabase(position)
    case .user where peek().keyword == .mapping: throw unsupported("ALTER USER MAPPING", at: position)
    case .role, .user, .group: return try parseAlterRole(position)
    case .default:
      advance()
      try expect(.privileges)
      return try parseAlterDefaultPrivileges(position)
    default: throw refusedObject("ALTER", position)
    }
  }

  // MARK: Relations

  /// TABLE, INDEX, VIEW, SEQUENCE: after that word.
  private mutating func parseAlterRelation(_ kind: Syntax.AlterTable.ObjectKind, _ position: Int) throws(SyntaxError)
    -> Statement
  {
    if (kind == .table || kind == .index), at(.all), peek().keyword == .in {
      throw unsupported("ALTER \(kind == .table ? "TABLE" : "INDEX") ALL IN TABLESPACE", at: position)
    }
    let ifExists = try takeIfExists()
    let relation = kind == .table ? try parseRelationName() : Syntax.RelationName(name: try parseQualifiedName())
    let object: Syntax.ObjectKind =
      switch kind {
      case .table: .table
      case .index: .index
      case .view: .view
      case .sequence: .sequence
      }
    if at(.rename) {
      return .rename(try parseRename(object, relation, ifExists, position))
    }
    if at(.set), peek().keyword == .schema {
      advance()
      advance()
      return .alterSchema(
        Syntax.AlterSchema(
          kind: object, name: relation.name, ifExists: ifExists, schema: try parseName(), position: position))
    }
    if kind == .sequence, let first = try parseSequenceOption() {
      let options = [first] + (try parseSequenceOptions())
      return .alterSequence(
        Syntax.AlterSequence(name: relation.name, ifExists: ifExists, options: options, position: position))
    }
    if at(.attach) || at(.detach) { throw unsupported("partitions") }
    if at(.depends) || (at(.no) && peek().keyword == .depends) { throw unsupported("DEPENDS ON EXTENSION") }
    let actions = try list { (parser) throws(SyntaxError) in try parser.parseAlterAction(kind) }
    return .alterTable(
      Syntax.AlterTable(kind: kind, ifExists: ifExists, relation: relation, actions: actions, position: position))
  }

  private mutating func parseRename(
    _ kind: Syntax.ObjectKind, _ relation: Syntax.RelationName, _ ifExists: Bool, _ position: Int
  ) throws(SyntaxError) -> Syntax.Rename {
    try expect(.rename)
    var target = Syntax.Rename.Target.object
    if at(.to) {
      advance()
    } else {
      if kind == .table, take(.constraint) {
        target = .constraint(try parseName())
      } else {
        guard kind == .table || kind == .view else { throw unexpected() }
        _ = take(.column)
        target = .column(try parseName())
      }
      try expect(.to)
    }
    return Syntax.Rename(
      kind: kind, name: relation.name, only: relation.only, ifExists: ifExists, target: target,
      newName: try parseName(), position: position)
  }

  // MARK: Actions

  private mutating func parseAlterAction(_ kind: Syntax.AlterTable.ObjectKind) throws(SyntaxError) -> Syntax.AlterAction
  {
    let position = here
    return Syntax.AlterAction(kind: try parseAlterActionKind(kind), position: position)
  }

  private mutating func parseAlterActionKind(_ object: Syntax.AlterTable.ObjectKind) throws(SyntaxError)
    -> Syntax.AlterAction.Kind
  {
    switch token.keyword {
    case .add:
      advance()
      return try parseAdd()
    case .drop:
      advance()
      return try parseDropAction()
    case .alter:
      advance()
      return try parseAlterColumn()
    case .validate:
      advance()
      try expect(.constraint)
      return .validateConstraint(try parseName())
    case .owner:
      advance()
      try expect(.to)
      return .owner(try parseRoleName())
    case .reset:
      advance()
      return .resetOptions(try parseDefinition())
    case .cluster:
      advance()
      try expect(.on)
      return .clusterOn(try parseName())
    case .set: return try parseSetAction()
    case .enable, .disable, .force: throw refusedSwitch()
    case .no:
      guard peek().keyword == .force || peek().keyword == .inherit else {
        advance()
        throw unexpected()
      }
      throw unsupported(peek().keyword == .force ? "row security" : "inheritance")
    case .inherit: throw unsupported("inheritance")
    case .of: throw unsupported("typed tables (OF)")
    case .not where peek().keyword == .of: throw unsupported("typed tables (NOT OF)")
    case .replica: throw unsupported("REPLICA IDENTITY")
    case .options: throw unsupported("options of foreign tables")
    default: throw unexpected()
    }
  }

  /// `ENABLE TRIGGER`, `DISABLE RULE`, `FORCE ROW LEVEL SECURITY`.
  private mutating func refusedSwitch() -> SyntaxError {
    let place = here
    let verb = token.keyword?.text.uppercased() ?? ""
    advance()
    if at(.always) || at(.replica) { advance() }
    switch token.keyword {
    case .trigger, .rule: return unsupported("\(verb) \(token.keyword?.text.uppercased() ?? "")", at: place)
    case .row: return unsupported("row security", at: place)
    default: return unexpected()
    }
  }

  private mutating func parseSetAction() throws(SyntaxError) -> Syntax.AlterAction.Kind {
    let position = here
    try expect(.set)
    switch token.keyword {
    case .logged:
      advance()
      return .setLogged(true)
    case .unlogged:
      advance()
      return .setLogged(false)
    case .without:
      advance()
      if take(.oids) { throw unsupported("OIDS", at: position) }
      try expect(.cluster)
      return .clusterOn(nil)
    case .tablespace: throw unsupported("SET TABLESPACE", at: position)
    case .access: throw unsupported("SET ACCESS METHOD", at: position)
    default: return .setOptions(try parseDefinition())
    }
  }

  private mutating func parseAdd() throws(SyntaxError) -> Syntax.AlterAction.Kind {
    switch token.keyword {
    case .constraint, .check, .unique, .primary, .foreign: return .addConstraint(try parseTableConstraint())
    case .exclude where peek().keyword == .using || peek().kind == .leftParen:
      return .addConstraint(try parseTableConstraint())
    default: break
    }
    _ = take(.column)
    let ifNotExists = try takeIfNotExists()
    return .addColumn(try parseColumnDefinition(), ifNotExists: ifNotExists)
  }

  private mutating func parseDropAction() throws(SyntaxError) -> Syntax.AlterAction.Kind {
    if take(.constraint) {
      let ifExists = try takeIfExists()
      let name = try parseName()
      return .dropConstraint(name, ifExists: ifExists, parseDropBehavior())
    }
    _ = take(.column)
    let ifExists = try takeIfExists()
    let name = try parseName()
    return .dropColumn(name, ifExists: ifExists, parseDropBehavior())
  }

  private mutating func parseAlterColumn() throws(SyntaxError) -> Syntax.AlterAction.Kind {
    if take(.constraint) {
      let name = try parseName()
      return .alterConstraint(name, try parseConstraintAttributes(allowsNotValid: false).deferral)
    }
    _ = take(.column)
    if token.kind == .integer { throw unsupported("ALTER COLUMN by number") }
    let name = try parseName()
    switch token.keyword {
    case .set: return try parseSetColumn(name)
    case .drop:
      advance()
      switch token.keyword {
      case .default:
        advance()
        return .dropDefault(name)
      case .not:
        advance()
        try expect(.null)
        return .dropNotNull(name)
      case .expression:
        advance()
        return .dropExpression(name, ifExists: try takeIfExists())
      case .identity:
        advance()
        return .dropIdentity(name, ifExists: try takeIfExists())
      default: throw unexpected()
      }
    case .type: return try parseSetType(name)
    case .add:
      advance()
      try expect(.generated)
      let always = take(.always)
      if !always {
        try expect(.by)
        try expect(.default)
      }
      try expect(.as)
      try expect(.identity)
      return .addIdentity(name, Syntax.Identity(always: always, options: try parseIdentityOptions()))
    case .restart: return try parseSetIdentity(name)
    case .reset: throw unsupported("column options")
    case .options: throw unsupported("column options of foreign tables")
    default: throw unexpected()
    }
  }

  private mutating func parseSetType(_ name: Name) throws(SyntaxError) -> Syntax.AlterAction.Kind {
    try expect(.type)
    let type = try parseTypeName()
    let collation = take(.collate) ? try parseAnyName() : nil
    return .setType(name, type, collation: collation, using: take(.using) ? try parseExpression() : nil)
  }

  private mutating func parseSetColumn(_ name: Name) throws(SyntaxError) -> Syntax.AlterAction.Kind {
    switch peek().keyword {
    case .default:
      advance()
      advance()
      return .setDefault(name, try parseExpression())
    case .not:
      advance()
      advance()
      try expect(.null)
      return .setNotNull(name)
    case .data:
      advance()
      advance()
      guard at(.type) else { throw unexpected() }
      return try parseSetType(name)
    case .statistics:
      advance()
      advance()
      return .setStatistics(name, try parseSignedInteger())
    case .storage: throw unsupported("SET STORAGE")
    case .compression: throw unsupported("SET COMPRESSION")
    case nil where peek().kind == .leftParen: throw unsupported("column options")
    default: return try parseSetIdentity(name)
    }
  }

  /// `SET GENERATED ALWAYS SET INCREMENT BY 2 RESTART`.
  private mutating func parseSetIdentity(_ name: Name) throws(SyntaxError) -> Syntax.AlterAction.Kind {
    var always: Bool?
    var options: [Syntax.SequenceOption] = []
    while true {
      if at(.restart), let option = try parseSequenceOption() {
        options.append(option)
      } else if take(.set) {
        if take(.generated) {
          always = take(.always)
          if always == false {
            try expect(.by)
            try expect(.default)
          }
        } else if let option = try parseSequenceOption() {
          switch option.kind {
          case .type, .ownedBy, .name, .restart:
            throw SyntaxError(
              .syntaxError, "sequence option \"\(optionName(option))\" not supported here", position: option.position)
          default: options.append(option)
          }
        } else {
          throw unexpected()
        }
      } else {
        return .setIdentity(name, always: always, options)
      }
    }
  }

  private func optionName(_ option: Syntax.SequenceOption) -> String {
    switch option.kind {
    case .type: "as"
    case .ownedBy: "owned_by"
    case .restart: "restart"
    default: "sequence_name"
    }
  }

  // MARK: Schemas and databases

  private mutating func parseAlterSchema(_ position: Int) throws(SyntaxError) -> Statement {
    try expect(.schema)
    let name = try parseName()
    let qualified = QualifiedName([name.text], position: name.position)
    if take(.rename) {
      try expect(.to)
      return .rename(
        Syntax.Rename(kind: .schema, name: qualified, target: .object, newName: try parseName(), position: position))
    }
    try expect(.owner)
    try expect(.to)
    return .alterOwner(
      Syntax.AlterOwner(kind: .schema, name: qualified, owner: try parseRoleName(), position: position))
  }

  private mutating func parseAlterDatabase(_ position: Int) throws(SyntaxError) -> Statement {
    try expect(.database)
    let name = try parseName()
    if at(.rename) { throw unsupported("ALTER DATABASE RENAME", at: position) }
    if take(.owner) {
      try expect(.to)
      let qualified = QualifiedName([name.text], position: name.position)
      return .alterOwner(
        Syntax.AlterOwner(kind: .database, name: qualified, owner: try parseRoleName(), position: position))
    }
    if at(.set), peek().keyword == .tablespace { throw unsupported("SET TABLESPACE") }
    guard at(.set) || at(.reset) else { throw unsupported("options of ALTER DATABASE") }
    return .alterRoleSetting(
      Syntax.AlterRoleSetting(role: nil, database: name, change: try parseSettingChange(), position: position))
  }

  /// `SET …` or `RESET …` of a role or a database.
  mutating func parseSettingChange() throws(SyntaxError) -> Syntax.AlterRoleSetting.Change {
    if at(.reset) { return .reset(try parseReset()) }
    let position = here
    try expect(.set)
    return .set(try parseSetRest(scope: .session, position))
  }
}
