/// GRANT, REVOKE, ALTER DEFAULT PRIVILEGES.
extension DefinitionRunner {
  /// An object whose list is to be changed.
  private struct Target {
    var kind: SecuredKind
    var key: AccessKey
    var owner: ObjectID
    var name: String
    var table: TableDescriptor?
    var view: ViewDescriptor?
  }

  func grant(_ grant: Syntax.Grant) throws(SQLError) -> String {
    let tag = grant.isGrant ? "GRANT" : "REVOKE"
    let catalog = try catalog()
    let rights = try session.rights()
    if let by = grant.grantedBy, try find(by).id != rights.id {
      throw SQLError(.featureNotSupported, "grantor must be current user", position: place(grant.position))
    }
    let grantees = try self.grantees(grant)
    var lists: [AccessKey: AccessList] = [:]
    for target in try targets(grant.objects, catalog) {
      for (privileges, columns) in try privileges(grant, target) {
        if columns.isEmpty {
          try change(target, privileges, grant, grantees, rights, &lists)
        } else {
          for column in try self.columns(columns, target) {
            try change(column, privileges, grant, grantees, rights, &lists)
          }
        }
      }
    }
    let final = lists
    try apply { changes in for (key, list) in final { changes.access(key, list) } }
    return tag
  }

  /// Nil is PUBLIC.
  private func grantees(_ grant: Syntax.Grant) throws(SQLError) -> [ObjectID?] {
    var found: [ObjectID?] = []
    for role in grant.roles {
      guard role != .everyone else {
        if grant.isGrant, grant.grantOption {
          throw SQLError(SQLState(rawValue: "0LP01"), "grant options can only be granted to roles")
        }
        found.append(nil)
        continue
      }
      found.append(try find(role).id)
    }
    return found
  }

  // MARK: Objects

  private func targets(
    _ objects: Syntax.Grant.Objects, _ catalog: CatalogSnapshot
  ) throws(SQLError) -> [Target] {
    var found: [Target] = []
    switch objects {
    case .allIn(let kind, let schemas):
      for name in schemas {
        guard let schema = catalog.schema(named: name.text) else {
          throw SQLError(.invalidSchema, "schema \"\(name.text)\" does not exist", position: place(name.position))
        }
        if kind == .function { continue }
        if kind == .sequence {
          found += catalog.sequences.filter { $0.schema == schema.id }.map { target(.sequence($0)) }
        } else {
          found += catalog.allTables.filter { $0.schema == schema.id }.map { target(.table($0)) }
          found += catalog.views.filter { $0.schema == schema.id }.map { target(.view($0)) }
        }
      }
    case .named(.schema, let names):
      for name in names {
        guard let schema = catalog.schema(named: name.name) else {
          throw SQLError(.invalidSchema, "schema \"\(name.name)\" does not exist", position: place(name.position))
        }
        found.append(Target(kind: .schema, key: .object(schema.id), owner: schema.owner, name: schema.name))
      }
    case .named(.database, let names):
      for name in names {
        guard name.name == session.database.options.name else {
          throw SQLError(.invalidCatalog, "database \"\(name.name)\" does not exist", position: place(name.position))
        }
        found.append(
          Target(kind: .database, key: .object(.database), owner: catalog.databaseOwner, name: name.name))
      }
    case .named(let kind, let names):
      for name in names {
        guard let relation = try catalog.relation(name, searchPath: session.searchPath) else {
          throw Binder.undefinedRelation(name)
        }
        switch (relation, kind) {
        case (.system, _):
          throw SQLError(
            .featureNotSupported, "privileges on system relation \"\(relation.name)\" cannot be changed",
            position: place(name.position))
        case (.index, _):
          throw SQLError(.wrongObjectType, "\"\(relation.name)\" is an index", position: place(name.position))
        case (.table, .sequence), (.view, .sequence):
          throw SQLError(.wrongObjectType, "\"\(relation.name)\" is not a sequence", position: place(name.position))
        default: found.append(target(relation))
        }
      }
    }
    return found
  }

  private func target(_ relation: Relation) -> Target {
    var target = Target(
      kind: relation.securedKind, key: .object(relation.id), owner: .bootstrapRole, name: relation.name)
    switch relation {
    case .table(let table): (target.owner, target.table) = (table.owner, table)
    case .view(let view): (target.owner, target.view) = (view.owner, view)
    case .sequence(let sequence): target.owner = sequence.owner
    default: break
    }
    return target
  }

  private func columns(_ names: [Syntax.Name], _ target: Target) throws(SQLError) -> [Target] {
    var found: [Target] = []
    for name in names {
      let number =
        target.table?.column(named: name.text)?.number
        ?? target.view?.columns.firstIndex { $0.name == name.text }.map { $0 + 1 }
      guard let number else {
        guard target.table != nil || target.view != nil else {
          throw SQLError(
            SQLState(rawValue: "0LP01"), "column privileges are only valid for relations",
            position: place(name.position))
        }
        throw SQLError(
          .undefinedColumn, "column \"\(name.text)\" of relation \"\(target.name)\" does not exist",
          position: place(name.position))
      }
      found.append(
        Target(kind: .column, key: .column(target.key.object, number), owner: target.owner, name: target.name))
    }
    return found
  }

  /// The rights that the statement names, with the columns that they are for.
  private func privileges(
    _ grant: Syntax.Grant, _ target: Target
  ) throws(SQLError) -> [(Privileges, [Syntax.Name])] {
    if grant.privileges.isEmpty {
      return [(grant.allColumns.isEmpty ? target.kind.all : SecuredKind.column.all, grant.allColumns)]
    }
    var whole: Privileges = []
    var parts: [(Privileges, [Syntax.Name])] = []
    for item in grant.privileges {
      guard let privilege = Privileges.named(item.name) else {
        throw SQLError(.syntaxError, "unrecognized privilege type \"\(item.name)\"", position: place(item.position))
      }
      let kind = item.columns.isEmpty ? target.kind : .column
      guard kind.all.contains(privilege) else {
        throw SQLError(
          SQLState(rawValue: "0LP01"), "invalid privilege type \(item.name.uppercased()) for \(kind.word)",
          position: place(item.position))
      }
      if item.columns.isEmpty { whole.insert(privilege) } else { parts.append((privilege, item.columns)) }
    }
    return (whole.isEmpty ? [] : [(whole, [])]) + parts
  }

  // MARK: Changing a list

  private func change(
    _ target: Target, _ wanted: Privileges, _ grant: Syntax.Grant, _ grantees: [ObjectID?], _ rights: Rights,
    _ lists: inout [AccessKey: AccessList]
  ) throws(SQLError) {
    let catalog = try catalog()
    var list = lists[target.key] ?? catalog.accessList(target.kind, target.key, owner: target.owner)
    // Who has the owner's rights grants as the owner; others as themselves, what they may grant.
    let isOwner = rights.owns(target.owner)
    let grantor = isOwner ? target.owner : rights.id
    let allowed = isOwner ? wanted : wanted.intersection(list.grantable(by: rights.roles))
    if allowed.isEmpty {
      guard !list.privileges(of: rights.roles).isEmpty else {
        throw Rights.denied(target.kind == .column ? "table" : target.kind.word, target.name)
      }
      sink.notice(
        SQLNotice(
          .warning,
          SQLError(
            SQLState(rawValue: grant.isGrant ? "01007" : "01006"),
            "no privileges \(grant.isGrant ? "were granted" : "could be revoked") for \"\(target.name)\"")))
      return
    }
    for grantee in grantees {
      if grant.isGrant {
        list.grant(allowed, to: grantee, by: grantor, grantable: grant.grantOption)
        continue
      }
      let lost = list.revoke(allowed, from: grantee, by: grantor, optionOnly: grant.grantOption)
      if let grantee, !lost.isEmpty {
        try revokeDependent(lost, of: grantee, in: &list, target, cascade: grant.behavior == .cascade)
      }
    }
    lists[target.key] = list
  }

  /// What `grantee` granted with a right to grant that he lost goes as well, or forbids it.
  private func revokeDependent(
    _ lost: Privileges, of grantee: ObjectID, in list: inout AccessList, _ target: Target, cascade: Bool
  ) throws(SQLError) {
    let left = grantee == target.owner ? target.kind.all : list.grantable(by: [grantee])
    let gone = lost.subtracting(left)
    for entry in list.entries
    where entry.grantor == grantee && entry.grantee != grantee && !entry.privileges.isDisjoint(with: gone) {
      guard cascade else {
        throw SQLError(
          .dependentObjects, "dependent privileges exist", hint: "Use CASCADE to revoke them too.")
      }
      let next = list.revoke(gone, from: entry.grantee, by: grantee, optionOnly: false)
      if let deeper = entry.grantee, !next.isEmpty {
        try revokeDependent(next, of: deeper, in: &list, target, cascade: true)
      }
    }
  }

  // MARK: Defaults

  func alterDefaultPrivileges(_ alter: Syntax.AlterDefaultPrivileges) throws(SQLError) -> String {
    let rights = try session.rights()
    let catalog = try catalog()
    guard case .named(let object, _) = alter.grant.objects else { return "ALTER DEFAULT PRIVILEGES" }
    let kind: SecuredKind = object == .sequence ? .sequence : object == .schema ? .schema : .table
    if kind == .schema, !alter.schemas.isEmpty {
      throw SQLError(
        SQLState(rawValue: "0LP01"), "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS",
        position: place(alter.position))
    }
    var roles: [RoleDescriptor] = []
    for name in alter.roles {
      let role = try find(name)
      guard
        rights.isSuperuser
          || rights.role.map({ catalog.memberships($0, inheritedOnly: true) })?.contains(role.id) == true
      else { throw SQLError(.insufficientPrivilege, "must be member of role \"\(role.name)\"") }
      roles.append(role)
    }
    if roles.isEmpty, let own = rights.role { roles = [own] }
    var schemas: [ObjectID?] = []
    for name in alter.schemas {
      guard let schema = catalog.schema(named: name.text) else {
        throw SQLError(.invalidSchema, "schema \"\(name.text)\" does not exist", position: place(name.position))
      }
      schemas.append(schema.id)
    }
    if schemas.isEmpty { schemas = [nil] }
    let grantees = try self.grantees(alter.grant)
    var lists: [AccessKey: AccessList?] = [:]
    for role in roles {
      for schema in schemas {
        let key = AccessKey.defaults(role.id, kind, in: schema)
        let initial =
          schema == nil ? AccessList.initial(kind, owner: role.id, object: ObjectID(0)) : AccessList()
        var list = catalog.access[key] ?? initial
        let target = Target(kind: kind, key: key, owner: role.id, name: role.name)
        for (privileges, columns) in try privileges(alter.grant, target) {
          guard columns.isEmpty else {
            throw SQLError(
              SQLState(rawValue: "0LP01"), "default privileges cannot be set for columns",
              position: place(alter.position))
          }
          for grantee in grantees {
            if alter.grant.isGrant {
              list.grant(privileges, to: grantee, by: role.id, grantable: alter.grant.grantOption)
            } else {
              _ = list.revoke(privileges, from: grantee, by: role.id, optionOnly: alter.grant.grantOption)
            }
          }
        }
        lists[key] = .some(list == initial ? nil : list)
      }
    }
    let final = lists
    try apply { changes in for (key, list) in final { changes.access(key, list) } }
    return "ALTER DEFAULT PRIVILEGES"
  }
}
