/// ALTER, DROP, TRUNCATE, COMMENT; roles and privileges.
extension SQLWriter {
  mutating func alteration(_ statement: Syntax.Statement) {
    switch statement {
    case .alterTable(let alter):
      word("ALTER " + Self.word(alter.kind))
      if alter.ifExists { word("IF EXISTS") }
      relation(alter.relation)
      space()
      list(alter.actions) { $0.action($1.kind) }
    case .alterSequence(let alter):
      word("ALTER SEQUENCE")
      if alter.ifExists { word("IF EXISTS") }
      name(alter.name)
      sequenceOptions(alter.options)
    case .rename(let rename): self.rename(rename)
    case .alterSchema(let alter):
      word("ALTER " + alter.kind.rawValue.uppercased())
      if alter.ifExists { word("IF EXISTS") }
      name(alter.name)
      word("SET SCHEMA")
      name(alter.schema)
    case .alterOwner(let alter):
      word("ALTER " + alter.kind.rawValue.uppercased())
      name(alter.name)
      word("OWNER TO")
      role(alter.owner)
    case .drop(let drop):
      word("DROP " + drop.kind.rawValue.uppercased())
      if drop.concurrently { word("CONCURRENTLY") }
      if drop.ifExists { word("IF EXISTS") }
      space()
      list(drop.names) { $0.name($1) }
      behavior(drop.behavior)
    case .truncate(let truncate):
      word("TRUNCATE TABLE ")
      list(truncate.tables) { $0.relation($1) }
      if truncate.restartIdentity { word("RESTART IDENTITY") }
      behavior(truncate.behavior)
    case .comment(let comment): self.comment(comment)
    default: authorization(statement)
    }
  }

  private static func word(_ kind: Syntax.AlterTable.ObjectKind) -> String {
    switch kind {
    case .table: "TABLE"
    case .index: "INDEX"
    case .view: "VIEW"
    case .sequence: "SEQUENCE"
    }
  }

  private mutating func behavior(_ behavior: Syntax.DropBehavior) {
    if behavior == .cascade { word("CASCADE") }
  }

  private mutating func rename(_ rename: Syntax.Rename) {
    word("ALTER " + rename.kind.rawValue.uppercased())
    if rename.ifExists { word("IF EXISTS") }
    if rename.only { word("ONLY") }
    name(rename.name)
    word("RENAME")
    switch rename.target {
    case .object: break
    case .column(let column):
      word("COLUMN")
      name(column)
    case .constraint(let constraint):
      word("CONSTRAINT")
      name(constraint)
    }
    word("TO")
    name(rename.newName)
  }

  private mutating func comment(_ comment: Syntax.Comment) {
    word("COMMENT ON " + comment.kind.rawValue.uppercased())
    if let constraint = comment.constraint {
      name(constraint)
      word("ON")
    }
    name(comment.name)
    word("IS")
    if let text = comment.text { string(text) } else { word("NULL") }
  }

  // MARK: ALTER TABLE

  private mutating func action(_ kind: Syntax.AlterAction.Kind) {
    switch kind {
    case .addColumn(let column, let ifNotExists):
      word(ifNotExists ? "ADD COLUMN IF NOT EXISTS" : "ADD COLUMN")
      self.column(column)
    case .dropColumn(let column, let ifExists, let behavior):
      word(ifExists ? "DROP COLUMN IF EXISTS" : "DROP COLUMN")
      name(column)
      self.behavior(behavior)
    case .addConstraint(let constraint):
      word("ADD")
      self.constraint(constraint)
    case .alterConstraint(let name, let deferral):
      word("ALTER CONSTRAINT")
      self.name(name)
      self.deferral(deferral)
    case .validateConstraint(let name):
      word("VALIDATE CONSTRAINT")
      self.name(name)
    case .dropConstraint(let name, let ifExists, let behavior):
      word(ifExists ? "DROP CONSTRAINT IF EXISTS" : "DROP CONSTRAINT")
      self.name(name)
      self.behavior(behavior)
    case .owner(let role):
      word("OWNER TO")
      self.role(role)
    case .setOptions(let options):
      word("SET")
      definition(options)
    case .resetOptions(let options):
      word("RESET")
      definition(options)
    case .setLogged(let logged): word(logged ? "SET LOGGED" : "SET UNLOGGED")
    case .clusterOn(let index):
      word(index == nil ? "SET WITHOUT CLUSTER" : "CLUSTER ON")
      if let index { name(index) }
    default: columnAction(kind)
    }
  }

  private mutating func columnAction(_ kind: Syntax.AlterAction.Kind) {
    func words(_ name: Syntax.Name, _ rest: String) -> String { "ALTER COLUMN " + Self.quoted(name.text) + " " + rest }
    switch kind {
    case .setDefault(let column, let value):
      word(words(column, "SET DEFAULT"))
      expression(value)
    case .dropDefault(let column): word(words(column, "DROP DEFAULT"))
    case .setNotNull(let column): word(words(column, "SET NOT NULL"))
    case .dropNotNull(let column): word(words(column, "DROP NOT NULL"))
    case .dropExpression(let column, let ifExists):
      word(words(column, ifExists ? "DROP EXPRESSION IF EXISTS" : "DROP EXPRESSION"))
    case .setType(let column, let type, let collation, let using):
      word(words(column, "TYPE"))
      self.type(type)
      self.collation(collation)
      condition("USING", using)
    case .setStatistics(let column, let target): word(words(column, "SET STATISTICS \(target)"))
    case .addIdentity(let column, let identity):
      word(words(column, "ADD"))
      self.identity(identity)
    case .setIdentity(let column, let always, let options):
      word("ALTER COLUMN")
      name(column)
      if let always { word(always ? "SET GENERATED ALWAYS" : "SET GENERATED BY DEFAULT") }
      for option in options {
        // RESTART stands without SET.
        if case .restart = option.kind {} else { word("SET") }
        sequenceOptions([option])
      }
    case .dropIdentity(let column, let ifExists):
      word(words(column, ifExists ? "DROP IDENTITY IF EXISTS" : "DROP IDENTITY"))
    default: break
    }
  }

  // MARK: Roles

  mutating func role(_ role: Syntax.RoleName) {
    switch role {
    case .named(let name): self.name(name)
    case .everyone: word("PUBLIC")
    case .currentRole: word("CURRENT_ROLE")
    case .currentUser: word("CURRENT_USER")
    case .sessionUser: word("SESSION_USER")
    }
  }

  mutating func roles(_ roles: [Syntax.RoleName]) {
    space()
    list(roles) { $0.role($1) }
  }

  private mutating func authorization(_ statement: Syntax.Statement) {
    switch statement {
    case .createRole(let create):
      word("CREATE " + (create.kind == .role ? "ROLE" : create.kind == .user ? "USER" : "GROUP"))
      name(create.name)
      for option in create.options { roleOption(option.kind) }
    case .alterRole(let alter):
      word("ALTER ROLE")
      role(alter.role)
      for option in alter.options { roleOption(option.kind) }
    case .alterRoleSetting(let alter):
      if let role = alter.role {
        word("ALTER ROLE")
        if role == .everyone { word("ALL") } else { self.role(role) }
        if alter.database != nil { word("IN DATABASE") }
      } else {
        word("ALTER DATABASE")
      }
      if let database = alter.database { name(database) }
      switch alter.change {
      case .set(let setting): set(setting)
      case .reset(let reset): self.reset(reset)
      }
    case .dropRole(let drop):
      word(drop.ifExists ? "DROP ROLE IF EXISTS" : "DROP ROLE")
      roles(drop.roles)
    case .grant(let grant): self.grant(grant)
    case .grantRole(let grant): grantRole(grant)
    case .alterDefaultPrivileges(let alter): alterDefaultPrivileges(alter)
    default: session(statement)
    }
  }

  private mutating func roleOption(_ kind: Syntax.RoleOption.Kind) {
    func flag(_ on: Bool, _ word: String) -> String { on ? word : "NO" + word }
    switch kind {
    case .superuser(let on): word(flag(on, "SUPERUSER"))
    case .createDatabase(let on): word(flag(on, "CREATEDB"))
    case .createRole(let on): word(flag(on, "CREATEROLE"))
    case .inherit(let on): word(flag(on, "INHERIT"))
    case .login(let on): word(flag(on, "LOGIN"))
    case .replication(let on): word(flag(on, "REPLICATION"))
    case .bypassRowSecurity(let on): word(flag(on, "BYPASSRLS"))
    case .connectionLimit(let number): word("CONNECTION LIMIT " + number)
    case .password(let password): word("PASSWORD " + (password.map(Self.literal) ?? "NULL"))
    case .validUntil(let time): word("VALID UNTIL " + Self.literal(time))
    case .systemIdentifier(let number): word("SYSID " + number)
    case .inRole(let roles):
      word("IN ROLE")
      self.roles(roles)
    case .members(let roles):
      word("USER")
      self.roles(roles)
    case .administrators(let roles):
      word("ADMIN")
      self.roles(roles)
    }
  }

  private mutating func grant(_ grant: Syntax.Grant) {
    word(grant.isGrant ? "GRANT" : "REVOKE")
    if !grant.isGrant, grant.grantOption { word("GRANT OPTION FOR") }
    if grant.privileges.isEmpty {
      word("ALL PRIVILEGES")
      names(grant.allColumns)
    } else {
      space()
      list(grant.privileges) { writer, privilege in
        switch privilege.name {
        case "select", "references", "create": writer.word(privilege.name.uppercased())
        default: writer.word(Self.quoted(privilege.name))
        }
        writer.names(privilege.columns)
      }
    }
    word("ON")
    switch grant.objects {
    case .named(let kind, let names) where names.isEmpty: word(kind.rawValue.uppercased() + "S")
    case .named(let kind, let names):
      word(kind.rawValue.uppercased() + " ")
      list(names) { $0.name($1) }
    case .allIn(let kind, let schemas):
      word("ALL \(kind == .table ? "TABLES" : kind == .function ? "FUNCTIONS" : "SEQUENCES") IN SCHEMA ")
      list(schemas) { $0.name($1) }
    }
    word(grant.isGrant ? "TO" : "FROM")
    roles(grant.roles)
    if grant.isGrant, grant.grantOption { word("WITH GRANT OPTION") }
    grantedBy(grant.grantedBy)
    behavior(grant.behavior)
  }

  private mutating func alterDefaultPrivileges(_ alter: Syntax.AlterDefaultPrivileges) {
    word("ALTER DEFAULT PRIVILEGES")
    if !alter.roles.isEmpty {
      word("FOR ROLE")
      roles(alter.roles)
    }
    if !alter.schemas.isEmpty {
      word("IN SCHEMA ")
      list(alter.schemas) { $0.name($1) }
    }
    grant(alter.grant)
  }

  private mutating func grantedBy(_ role: Syntax.RoleName?) {
    guard let role else { return }
    word("GRANTED BY")
    self.role(role)
  }

  private mutating func grantRole(_ grant: Syntax.GrantRole) {
    word(grant.isGrant ? "GRANT" : "REVOKE")
    if !grant.isGrant, grant.adminOption { word("ADMIN OPTION FOR") }
    space()
    list(grant.granted) { writer, name in
      switch name.text {
      case "select", "references", "create": writer.word(name.text)
      default: writer.name(name)
      }
    }
    word(grant.isGrant ? "TO" : "FROM")
    roles(grant.roles)
    if grant.isGrant, grant.adminOption { word("WITH ADMIN OPTION") }
    grantedBy(grant.grantedBy)
    behavior(grant.behavior)
  }
}
