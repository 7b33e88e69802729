extension DefinitionRunner {
  private func name(_ role: Syntax.RoleName) throws(SQLError) -> String {
    switch role {
    case .named(let name): return name.text
    case .currentRole, .currentUser: return session.user
    case .sessionUser: return session.sessionUser
    case .everyone: throw SQLError(.reservedName, "role name \"public\" is reserved")
    }
  }

  func find(_ role: Syntax.RoleName) throws(SQLError) -> RoleDescriptor {
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
      case .validUntil(let text):
        // Kept in one form, whatever it was written in; a nonsense is an error now and not at the next login.
        let arena = Arena()
        defer { withExtendedLifetime(arena) {} }
        let format = session.textFormat
        let until = try Bytes.with(text) { (bytes) throws(SQLError) in
          try TypeCodec.parse(bytes, .timestamptz, arena, format)
        }
        var utc = TextFormat()
        utc.timeZone = .utc
        role.validUntil = until.int == Int64.max ? nil : try TypeCodec.string(until, .timestamptz, utc)
      case .inRole(let roles):
        for parent in roles {
          let id = try find(parent).id
          if !role.memberOf.contains(id) { role.memberOf.append(id) }
        }
      case .members(let roles), .administrators(let roles):
        var isAdministrator = false
        if case .administrators = option.kind { isAdministrator = true }
        for member in roles {
          var changed = try find(member)
          changed.memberOf.removeAll { $0 == role.id }
          changed.memberOf.append(role.id)
          try put(.role(changed))
          let key = AccessKey.object(role.id)
          var list = try catalog().access[key] ?? AccessList()
          list.grant(.member, to: changed.id, by: try session.rights().id, grantable: isAdministrator)
          let final = list
          try apply { $0.access(key, final) }
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
      guard role.name != session.user, role.name != session.sessionUser else {
        throw SQLError(SQLState(rawValue: "55006"), "current user cannot be dropped")
      }
      let dependents = try dependents(of: role)
      guard dependents.isEmpty else {
        throw SQLError(
          .dependentObjects, "role \"\(role.name)\" cannot be dropped because some objects depend on it",
          detail: dependents.joined(separator: "\n"))
      }
      let members = try catalog().roles.filter { $0.memberOf.contains(role.id) }
      let lists = try catalog().access.filter { _, list in list.entries.contains { $0.grantee == role.id } }
      try apply { changes in
        for var member in members {
          member.memberOf.removeAll { $0 == role.id }
          changes.put(.role(member))
        }
        for (key, list) in lists {
          var left = list
          left.entries.removeAll { $0.grantee == role.id }
          changes.access(key, left.entries.isEmpty ? nil : left)
        }
        changes.remove(.role(role))
      }
    }
    return "DROP ROLE"
  }

  /// GRANT role TO role. Who granted what, and with ADMIN OPTION, is the granted role's access list.
  func grantRole(_ grant: Syntax.GrantRole) throws(SQLError) -> String {
    let rights = try session.rights()
    for granted in grant.granted {
      let parent = try find(.named(granted))
      let key = AccessKey.object(parent.id)
      var list = try catalog().access[key] ?? AccessList()
      let mayGrant =
        rights.isSuperuser || (rights.role?.canCreateRole == true && !parent.isSuperuser)
        || list.grantable(by: rights.roles).contains(.member) || rights.id == parent.id
      guard mayGrant, !parent.isSuperuser || rights.isSuperuser else {
        throw SQLError(.insufficientPrivilege, "must have admin option on role \"\(parent.name)\"")
      }
      for member in grant.roles {
        var role = try self.find(member)
        if PredefinedRole.all.contains(where: { $0.id == role.id }) {
          throw SQLError(.featureNotSupported, "predefined role \"\(role.name)\" cannot be a member of another role")
        }
        let isMember = role.memberOf.contains(parent.id)
        if grant.isGrant {
          guard try !catalog().memberships(parent, inheritedOnly: false).contains(role.id) else {
            throw SQLError(
              SQLState(rawValue: "0LP01"), "role \"\(parent.name)\" is a member of role \"\(role.name)\"")
          }
          if isMember, !grant.adminOption || list.grantable(by: [role.id]).contains(.member) {
            notice(
              .duplicateObject, "role \"\(role.name)\" is already a member of role \"\(parent.name)\"")
          }
          list.entries.removeAll { $0.grantee == role.id }
          list.grant(.member, to: role.id, by: rights.id, grantable: grant.adminOption)
        } else {
          guard isMember else {
            sink.notice(
              SQLNotice(
                .warning,
                SQLError(
                  SQLState(rawValue: "01000"),
                  "role \"\(role.name)\" is not a member of role \"\(parent.name)\"")))
            continue
          }
          if grant.adminOption {
            for index in list.entries.indices where list.entries[index].grantee == role.id {
              list.entries[index].grantable = []
            }
            continue
          }
          list.entries.removeAll { $0.grantee == role.id }
        }
        role.memberOf.removeAll { $0 == parent.id }
        if grant.isGrant { role.memberOf.append(parent.id) }
        try put(.role(role))
      }
      let final = list
      try apply { $0.access(key, final.entries.isEmpty ? nil : final) }
    }
    return grant.isGrant ? "GRANT ROLE" : "REVOKE ROLE"
  }
}
