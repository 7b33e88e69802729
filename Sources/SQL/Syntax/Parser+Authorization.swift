/// Roles and privileges.
extension SQLParser {
  // MARK: Roles

  mutating func parseCreateRole(_ position: Int) throws(SyntaxError) -> Statement {
    let kind: Syntax.CreateRole.Kind = at(.role) ? .role : at(.user) ? .user : .group
    advance()
    if kind == .user, at(.mapping) { throw unsupported("CREATE USER MAPPING", at: position) }
    let name = try parseRoleIdentifier()
    _ = take(.with)
    return .createRole(
      Syntax.CreateRole(kind: kind, name: name, options: try parseRoleOptions(isCreate: true), position: position))
  }

  private mutating func parseRoleOptions(isCreate: Bool) throws(SyntaxError) -> [Syntax.RoleOption] {
    var options: [Syntax.RoleOption] = []
    while true {
      let position = here
      guard let kind = try parseRoleOption(isCreate: isCreate) else { return options }
      options.append(Syntax.RoleOption(kind: kind, position: position))
    }
  }

  private mutating func parseRoleOption(isCreate: Bool) throws(SyntaxError) -> Syntax.RoleOption.Kind? {
    switch token.keyword {
    case .password:
      advance()
      return .password(take(.null) ? nil : try parseString())
    case .encrypted:
      advance()
      try expect(.password)
      return .password(try parseString())
    case .unencrypted:
      throw SyntaxError(
        .featureNotSupported, "UNENCRYPTED PASSWORD is no longer supported",
        hint: "Remove UNENCRYPTED to store the password in encrypted form instead.", position: here)
    case .inherit:
      advance()
      return .inherit(true)
    case .connection:
      advance()
      try expect(.limit)
      return .connectionLimit(String(try parseSignedInteger()))
    case .valid:
      advance()
      try expect(.until)
      return .validUntil(try parseString())
    case .user where !isCreate, .role where isCreate, .user where isCreate:
      advance()
      return .members(try parseRoleList())
    case .sysid where isCreate:
      advance()
      return .systemIdentifier(String(try parseInteger()))
    case .admin where isCreate:
      advance()
      return .administrators(try parseRoleList())
    case .in where isCreate:
      advance()
      guard take(.role) || take(.group) else { throw unexpected() }
      return .inRole(try parseRoleList())
    default: return try parseRoleWord()
    }
  }

  /// The options that are no keywords.
  private mutating func parseRoleWord() throws(SyntaxError) -> Syntax.RoleOption.Kind? {
    guard token.kind == .identifier else { return nil }
    let kind: Syntax.RoleOption.Kind
    switch try lexer.name(token) {
    case "superuser": kind = .superuser(true)
    case "nosuperuser": kind = .superuser(false)
    case "createrole": kind = .createRole(true)
    case "nocreaterole": kind = .createRole(false)
    case "replication": kind = .replication(true)
    case "noreplication": kind = .replication(false)
    case "createdb": kind = .createDatabase(true)
    case "nocreatedb": kind = .createDatabase(false)
    case "login": kind = .login(true)
    case "nologin": kind = .login(false)
    case "bypassrls": kind = .bypassRowSecurity(true)
    case "nobypassrls": kind = .bypassRowSecurity(false)
    case "noinherit": kind = .inherit(false)
    default:
      throw SyntaxError(.syntaxError, "unrecognized role option \"\(try lexer.name(token))\"", position: here)
    }
    advance()
    return kind
  }

  mutating func parseRoleList() throws(SyntaxError) -> [Syntax.RoleName] {
    try list { (parser) throws(SyntaxError) in try parser.parseRoleName() }
  }

  mutating func parseAlterRole(_ position: Int) throws(SyntaxError) -> Statement {
    let isGroup = at(.group)
    advance()
    if at(.all) {
      advance()
      return try parseRoleSetting(.everyone, position)
    }
    let place = here
    let role = try parseRoleName()
    if role == .everyone { throw SyntaxError(.undefinedObject, "role \"public\" does not exist", position: place) }
    if take(.rename) {
      try expect(.to)
      guard case .named(let name) = role else { throw unexpected() }
      let qualified = QualifiedName([name.text], position: name.position)
      return .rename(
        Syntax.Rename(
          kind: .role, name: qualified, target: .object, newName: try parseRoleIdentifier(), position: position))
    }
    if isGroup { return try parseAlterGroup(role, position) }
    if at(.set) || at(.reset) || at(.in) { return try parseRoleSetting(role, position) }
    _ = take(.with)
    return .alterRole(
      Syntax.AlterRole(role: role, options: try parseRoleOptions(isCreate: false), position: position))
  }

  /// `ALTER GROUP g ADD USER u` is `GRANT g TO u`.
  private mutating func parseAlterGroup(_ role: Syntax.RoleName, _ position: Int) throws(SyntaxError) -> Statement {
    let isGrant = at(.add)
    guard take(.add) || take(.drop) else { throw unexpected() }
    try expect(.user)
    guard case .named(let name) = role else { throw unexpected() }
    return .grantRole(
      Syntax.GrantRole(isGrant: isGrant, granted: [name], roles: try parseRoleList(), position: position))
  }

  private mutating func parseRoleSetting(_ role: Syntax.RoleName, _ position: Int) throws(SyntaxError) -> Statement {
    var setting = Syntax.AlterRoleSetting(
      role: role, change: .reset(Syntax.Reset(position: position)), position: position)
    if take(.in) {
      try expect(.database)
      setting.database = try parseName()
    }
    setting.change = try parseSettingChange()
    return .alterRoleSetting(setting)
  }

  mutating func parseDropRole(_ position: Int) throws(SyntaxError) -> Statement {
    advance()
    let ifExists = try takeIfExists()
    return .dropRole(Syntax.DropRole(roles: try parseRoleList(), ifExists: ifExists, position: position))
  }

  // MARK: GRANT and REVOKE

  mutating func parseGrant() throws(SyntaxError) -> Statement {
    let position = here
    let isGrant = at(.grant)
    advance()
    var option = false
    var isAdmin = false
    if !isGrant {
      if at(.grant), peek().keyword == .option {
        advance()
        advance()
        try expect(.for)
        option = true
      } else if at(.admin), peek().keyword == .option {
        advance()
        advance()
        try expect(.for)
        isAdmin = true
      }
    }
    var all = false
    var allColumns: [Name] = []
    var privileges: [Syntax.Privilege] = []
    if take(.all) {
      all = true
      _ = take(.privileges)
      allColumns = try parseOptionalNameList()
    } else {
      privileges = try list { (parser) throws(SyntaxError) in try parser.parsePrivilege() }
    }
    if !take(.on) {
      if all || option { throw unexpected() }
      return try parseGrantRole(isGrant, privileges, isAdmin, position)
    }
    if isAdmin { throw unexpected() }
    let objects = try parseGrantObjects()
    if !take(isGrant ? .to : .from) { throw unexpected() }
    let roles = try list { (parser) throws(SyntaxError) in
      _ = parser.take(.group)
      return try parser.parseRoleName()
    }
    var grant = Syntax.Grant(
      isGrant: isGrant, privileges: privileges, allColumns: allColumns, objects: objects, roles: roles,
      grantOption: option, position: position)
    if isGrant, take(.with) {
      try expect(.grant)
      try expect(.option)
      grant.grantOption = true
    }
    grant.grantedBy = try parseGrantedBy()
    if !isGrant { grant.behavior = parseDropBehavior() }
    return .grant(grant)
  }

  /// After `ALTER DEFAULT PRIVILEGES`.
  mutating func parseAlterDefaultPrivileges(_ position: Int) throws(SyntaxError) -> Statement {
    var roles: [Syntax.RoleName] = []
    var schemas: [Name] = []
    while true {
      if take(.for) {
        guard take(.role) || take(.user) else { throw unexpected() }
        roles = try parseRoleList()
      } else if take(.in) {
        try expect(.schema)
        schemas = try list { (parser) throws(SyntaxError) in try parser.parseName() }
      } else {
        break
      }
    }
    let start = here
    let isGrant = at(.grant)
    guard take(.grant) || take(.revoke) else { throw unexpected() }
    var option = false
    if !isGrant, take(.grant) {
      try expect(.option)
      try expect(.for)
      option = true
    }
    var privileges: [Syntax.Privilege] = []
    if take(.all) {
      _ = take(.privileges)
    } else {
      privileges = try list { (parser) throws(SyntaxError) in try parser.parsePrivilege() }
    }
    try expect(.on)
    let kind: Syntax.ObjectKind
    switch token.keyword {
    case .tables: kind = .table
    case .sequences: kind = .sequence
    case .schemas: kind = .schema
    case .functions, .routines: throw unsupported("default privileges of functions")
    case .types: throw unsupported("default privileges of types")
    default: throw unexpected()
    }
    advance()
    if !take(isGrant ? .to : .from) { throw unexpected() }
    var grant = Syntax.Grant(
      isGrant: isGrant, privileges: privileges, objects: .named(kind, []), roles: try parseRoleList(),
      grantOption: option, position: start)
    if isGrant, take(.with) {
      try expect(.grant)
      try expect(.option)
      grant.grantOption = true
    }
    if !isGrant { grant.behavior = parseDropBehavior() }
    return .alterDefaultPrivileges(
      Syntax.AlterDefaultPrivileges(roles: roles, schemas: schemas, grant: grant, position: position))
  }

  private mutating func parsePrivilege() throws(SyntaxError) -> Syntax.Privilege {
    let position = here
    let name: String
    switch token.keyword {
    case .select, .references, .create: name = try takeName()
    case .alter where peek().keyword == .system: throw unsupported("privileges on parameters")
    default: name = try parseColumnName()
    }
    return Syntax.Privilege(name: name, columns: try parseOptionalNameList(), position: position)
  }

  private mutating func parseGrantObjects() throws(SyntaxError) -> Syntax.Grant.Objects {
    var kind = Syntax.ObjectKind.table
    switch token.keyword {
    case .all:
      advance()
      switch token.keyword {
      case .tables: kind = .table
      case .sequences: kind = .sequence
      // There are no functions in schemas, so that the right on all of them is given at once.
      case .functions, .procedures, .routines: kind = .function
      default: throw unexpected()
      }
      advance()
      try expect(.in)
      try expect(.schema)
      return .allIn(kind, schemas: try list { (parser) throws(SyntaxError) in try parser.parseName() })
    case .table: advance()
    case .sequence, .schema, .database:
      kind = at(.sequence) ? .sequence : at(.schema) ? .schema : .database
      advance()
    case .function, .procedure, .routine: throw unsupported("privileges on functions")
    case .foreign, .language, .large, .parameter, .tablespace, .type, .domain:
      if token.keyword == .domain || token.keyword == .type || peek().kind != .comma {
        throw unsupported("privileges on a \(token.keyword?.text ?? "")")
      }
    default: break
    }
    let isSimple = kind == .schema || kind == .database
    return .named(
      kind,
      try list { (parser) throws(SyntaxError) in
        isSimple ? try parser.parseSimpleName() : try parser.parseQualifiedName()
      })
  }

  private mutating func parseGrantedBy() throws(SyntaxError) -> Syntax.RoleName? {
    guard take(.granted) else { return nil }
    try expect(.by)
    return try parseRoleName()
  }

  private mutating func parseGrantRole(
    _ isGrant: Bool, _ privileges: [Syntax.Privilege], _ isAdmin: Bool, _ position: Int
  ) throws(SyntaxError) -> Statement {
    if !take(isGrant ? .to : .from) { throw unexpected() }
    var granted: [Name] = []
    for privilege in privileges {
      if !privilege.columns.isEmpty {
        throw SyntaxError(
          .syntaxError, "column names cannot be included in GRANT/REVOKE ROLE", position: privilege.position)
      }
      granted.append(Name(privilege.name, position: privilege.position))
    }
    var grant = Syntax.GrantRole(
      isGrant: isGrant, granted: granted, roles: try parseRoleList(), adminOption: isAdmin, position: position)
    if isGrant, take(.with) {
      try expect(.admin)
      try expect(.option)
      grant.adminOption = true
    }
    grant.grantedBy = try parseGrantedBy()
    if !isGrant { grant.behavior = parseDropBehavior() }
    return .grantRole(grant)
  }
}
