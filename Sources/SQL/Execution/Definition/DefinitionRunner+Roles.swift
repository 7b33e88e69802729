extension DefinitionRunner {
  private func name(_ role: Syntax.RoleName) throws(SQLError) -> String {
    switch role {
    case .named(let name): return name.text
    case .currentRole, .currentUser, .sessionUser: return session.user
    case .everyone: throw SQLError(.reservedName, "role name \"public\" is reserved")
    }
  }

  private func find(_ role: Syntax.RoleName) throws(SQLError) -> RoleDescriptor {
    let name = try name(role)
    guard let found = try catalog().role(named: name) else {
      throw SQLError(.undefinedObject, "role \"\(name)\" does not exist")
    }
    return found
  }

  private func find(_ name: Syntax.Name) throws(SQLError) -> RoleDescriptor { try find(.named(name)) }

  func createRole(_ create: Syntax.CreateRole) throws(SQLError) -> String {
    let name = create.name.text
    if name.hasPrefix("pg_") {
      throw SQLError(
        .reservedName, "role name \"\(name)\" is reserved", detail: "Role names starting with \"pg_\" are reserved.")
    }
    guard try catalog().role(named: name) == nil else {
      throw SQLError(.duplicateObject, "role \"\(name)\" already exists")
    }
    var role = RoleDescriptor(id: try newID(), name: name)
    role.canLogin = create.kind == .user
    try configure(&role, create.options)
    try put(.role(role))
    return "CREATE ROLE"
  }

  private func configure(_ role: inout RoleDescriptor, _ options: [Syntax.RoleOption]) throws(SQLError) {
    for option in options {
      switch option.kind {
      case .superuser(let value): role.isSuperuser = value
      case .createDatabase(let value): role.canCreateDatabase = value
      case .createRole(let value): role.canCreateRole = value
      case .inherit(let value): role.inherits = value
      case .login(let value): role.canLogin = value
      case .replication(let value): role.isReplication = value
      case .bypassRowSecurity(let value): role.bypassesRowSecurity = value
      case .connectionLimit(let text):
        guard let limit = Int(text), limit >= -1 else {
          throw SQLError(.invalidParameterValue, "invalid connection limit: \(text)", position: place(option.position))
        }
        role.connectionLimit = limit
      case .password(let text): role.verifier = try text.map { (t) throws(SQLError) in try ScramVerifier.make(t) }
      case .validUntil(let text): role.validUntil = text
      case .inRole(let roles):
        for parent in roles { role.memberOf.append(try find(parent).id) }
      case .members(let roles), .administrators(let roles):
        for member in roles {
          var changed = try find(member)
          changed.memberOf.append(role.id)
          try put(.role(changed))
        }
      case .systemIdentifier: notice(.successfulCompletion, "SYSID can no longer be specified")
      }
    }
  }

  func alterRole(_ alter: Syntax.AlterRole) throws(SQLError) -> String {
    var role = try find(alter.role)
    try configure(&role, alter.options)
    try put(.role(role))
    return "ALTER ROLE"
  }

  func alterRoleSetting(_ alter: Syntax.AlterRoleSetting) throws(SQLError) -> String {
    guard let name = alter.role, alter.database == nil else {
      throw SQLError(.featureNotSupported, "settings of a database are not supported")
    }
    var role = try find(name)
    switch alter.change {
    case .set(let set):
      switch set.value {
      case .values(let values):
        let text = values.map(SQLSession.text).joined(separator: ", ")
        role.settings[set.name] = try Settings.normalised(set.name, text)
      case .defaultValue: role.settings[set.name] = nil
      case .fromCurrent: role.settings[set.name] = session.setting(set.name)
      }
    case .reset(let reset):
      if let name = reset.name { role.settings[name] = nil } else { role.settings = [:] }
    }
    try put(.role(role))
    return "ALTER ROLE"
  }

  func dropRole(_ drop: Syntax.DropRole) throws(SQLError) -> String {
    for name in drop.roles {
      let text = try self.name(name)
      guard let role = try catalog().role(named: text) else {
        if drop.ifExists {
          notice(.successfulCompletion, "role \"\(text)\" does not exist, skipping")
          continue
        }
        throw SQLError(.undefinedObject, "role \"\(text)\" does not exist")
      }
      guard role.id != .bootstrapRole else {
        throw SQLError(.dependentObjects, "cannot drop role \(role.name) because it is required by the database system")
      }
      guard role.name != session.user else {
        throw SQLError(SQLState(rawValue: "55006"), "current user cannot be dropped")
      }
      try apply { $0.remove(.role(role)) }
    }
    return "DROP ROLE"
  }

  /// Privileges are not enforced: every role may do everything, so granting is refused rather than ignored.
  func grant(_ grant: Syntax.Grant) throws(SQLError) -> String {
    throw SQLError(
      .featureNotSupported, "\(grant.isGrant ? "GRANT" : "REVOKE") of privileges is not supported",
      hint: "Every role that may connect may do everything.", position: place(grant.position))
  }

  func grantRole(_ grant: Syntax.GrantRole) throws(SQLError) -> String {
    for granted in grant.granted {
      let parent = try find(.named(granted))
      for member in grant.roles {
        var role = try self.find(member)
        role.memberOf.removeAll { $0 == parent.id }
        if grant.isGrant { role.memberOf.append(parent.id) }
        try put(.role(role))
      }
    }
    return grant.isGrant ? "GRANT ROLE" : "REVOKE ROLE"
  }
}
