/// Who may define what: checked before a definition runs.
extension DefinitionRunner {
  func checkRights(_ statement: Syntax.Statement) throws(SQLError) {
    let rights = try session.rights()
    if rights.isSuperuser { return }
    switch statement {
    case .createIndex(let create): try mustOwn(create.table.name)
    case .alterTable(let alter): try mustOwn(alter.relation.name)
    case .alterSequence(let alter): try mustOwn(alter.name)
    case .alterSchema(let alter): try mustOwn(alter.name)
    case .alterOwner(let alter):
      if alter.kind == .schema {
        try mustOwnSchema(alter.name.name)
      } else if alter.kind == .database {
        try mustOwnDatabase()
      } else {
        try mustOwn(alter.name)
      }
    case .rename(let rename):
      switch rename.kind {
      case .schema: try mustOwnSchema(rename.name.name)
      case .role: try mustCreateRoles()
      default: try mustOwn(rename.name)
      }
    case .drop(let drop):
      for name in drop.names {
        if drop.kind == .schema {
          try mustOwnSchema(name.name)
        } else {
          try mustOwn(name, orSchema: true)
        }
      }
    case .comment(let comment): try checkComment(comment)
    case .reindex(let reindex):
      switch reindex.kind {
      case .schema: try mustOwnSchema(reindex.name.name)
      case .index, .table: try mustOwn(reindex.name)
      default: try mustOwnDatabase()
      }
    case .truncate(let truncate):
      for name in truncate.tables {
        guard let relation = try catalog().relation(name.name, searchPath: session.searchPath) else { continue }
        try session.require(anyOf: .truncate, on: relation)
      }
    case .createSchema:
      guard rights.onDatabase.contains(.create) else {
        throw Rights.denied("database", session.database.options.name)
      }
    case .createRole(let create): try mustCreateRoles(create.options)
    case .alterRole(let alter):
      // A role may change its own password.
      let isPassword = alter.options.allSatisfy { if case .password = $0.kind { true } else { false } }
      if try find(alter.role).id == rights.id, isPassword { return }
      try mustCreateRoles(alter.options)
      try mustOutrank(find(alter.role))
    case .alterRoleSetting(let alter):
      guard let role = alter.role, try find(role).id != rights.id else { return }
      try mustCreateRoles()
      try mustOutrank(find(role))
    case .dropRole(let drop):
      guard rights.role?.canCreateRole == true else {
        throw SQLError(.insufficientPrivilege, "permission denied to drop role")
      }
      for name in drop.roles { if let role = try? find(name) { try mustOutrank(role) } }
    default: break
    }
  }

  private func checkComment(_ comment: Syntax.Comment) throws(SQLError) {
    switch comment.kind {
    case .schema: try mustOwnSchema(comment.name.name)
    case .database: try mustOwnDatabase()
    case .column:
      try mustOwn(Syntax.QualifiedName(Array(comment.name.parts.dropLast()), position: comment.name.position))
    case .role: try mustCreateRoles()
    default: try mustOwn(comment.name)
    }
  }

  /// A relation that is not there is the definition's own error.
  private func mustOwn(_ name: Syntax.QualifiedName, orSchema: Bool = false) throws(SQLError) {
    let catalog = try catalog()
    let rights = try session.rights()
    guard let relation = try catalog.relation(name, searchPath: session.searchPath) else { return }
    if case .system = relation {
      throw SQLError(.insufficientPrivilege, "permission denied: \"\(relation.name)\" is a system catalog")
    }
    if rights.owns(relation.owner(in: catalog)) { return }
    if orSchema, let schema = catalog.schema(relation.schema), rights.owns(schema.owner) { return }
    throw Rights.notOwner(Binder.word(relation), relation.name)
  }

  private func mustOwnSchema(_ name: String) throws(SQLError) {
    guard let schema = try catalog().schema(named: name) else { return }
    guard try session.rights().owns(schema.owner) else { throw Rights.notOwner("schema", name) }
  }

  func mustOwnDatabase() throws(SQLError) {
    guard try session.rights().owns(try catalog().databaseOwner) else {
      throw Rights.notOwner("database", session.database.options.name)
    }
  }

  /// CREATEROLE; what only superusers may hand out is refused.
  private func mustCreateRoles(_ options: [Syntax.RoleOption] = []) throws(SQLError) {
    let role = try session.rights().role
    for option in options {
      let what: String
      switch option.kind {
      case .superuser(true): what = "superusers"
      case .replication(true): what = "replication users"
      case .bypassRowSecurity(true): what = "bypassrls users"
      default: continue
      }
      throw SQLError(.insufficientPrivilege, "must be superuser to create \(what)", position: place(option.position))
    }
    guard role?.canCreateRole == true else {
      throw SQLError(.insufficientPrivilege, "permission denied to create role")
    }
  }

  private func mustOutrank(_ role: RoleDescriptor) throws(SQLError) {
    if role.isSuperuser {
      throw SQLError(.insufficientPrivilege, "must be superuser to alter superuser roles or change superuser attribute")
    }
  }

  // MARK: Owners

  /// The role that new objects belong to.
  func newOwner() throws(SQLError) -> ObjectID {
    guard let role = try session.rights().role else {
      throw SQLError(.undefinedObject, "role \"\(session.user)\" does not exist")
    }
    return role.id
  }

  /// Gives a new object the access list that ALTER DEFAULT PRIVILEGES says.
  func applyDefaultAccess(
    _ kind: SecuredKind, _ id: ObjectID, owner: ObjectID, schema: ObjectID?, _ changes: inout CatalogChanges
  ) throws(SQLError) {
    if let list = try catalog().defaultAccess(kind, of: owner, in: schema) { changes.access(.object(id), list) }
  }

  func alterOwner(_ alter: Syntax.AlterOwner) throws(SQLError) -> String {
    let tag = "ALTER \(alter.kind.rawValue.uppercased())"
    let owner = try find(alter.owner)
    let rights = try session.rights()
    let catalog = try catalog()
    func mustBe(_ owner: RoleDescriptor) throws(SQLError) {
      guard
        rights.isSuperuser
          || rights.role.map({ catalog.memberships($0, inheritedOnly: false) })?.contains(owner.id) == true
      else { throw SQLError(.insufficientPrivilege, "must be member of role \"\(owner.name)\"") }
    }
    switch alter.kind {
    case .schema:
      guard var schema = catalog.schema(named: alter.name.name), catalog.records[schema.id] != nil else {
        throw SQLError(.invalidSchema, "schema \"\(alter.name.name)\" does not exist")
      }
      try mustBe(owner)
      let old = schema.owner
      schema.owner = owner.id
      let final = schema
      try apply { changes in
        changes.put(.schema(final))
        self.changeOwner(in: catalog, .object(final.id), from: old, to: owner.id, &changes)
      }
    case .table, .view, .sequence:
      guard let relation = try catalog.relation(alter.name, searchPath: session.searchPath) else {
        throw Binder.undefinedRelation(alter.name)
      }
      try mustBe(owner)
      try setOwner(relation, owner.id)
    default:
      throw SQLError(
        .featureNotSupported, "ALTER \(alter.kind.rawValue.uppercased()) OWNER is not supported",
        position: place(alter.position))
    }
    return tag
  }

  /// Makes `owner` own a relation, and the sequences that it owns.
  func setOwner(_ relation: Relation, _ owner: ObjectID) throws(SQLError) {
    let catalog = try catalog()
    let old = relation.owner(in: catalog)
    try apply { changes in
      switch relation {
      case .table(let table):
        var record = table.record
        record.owner = owner
        changes.put(.table(record))
        for var sequence in catalog.sequences where sequence.ownerTable == table.id {
          let was = sequence.owner
          sequence.owner = owner
          changes.put(.sequence(sequence))
          self.changeOwner(in: catalog, .object(sequence.id), from: was, to: owner, &changes)
        }
        for column in table.live {
          self.changeOwner(in: catalog, .column(table.id, column.number), from: old, to: owner, &changes)
        }
      case .view(var view):
        view.owner = owner
        changes.put(.view(view))
      case .sequence(var sequence):
        sequence.owner = owner
        changes.put(.sequence(sequence))
      default: return
      }
      self.changeOwner(in: catalog, .object(relation.id), from: old, to: owner, &changes)
    }
  }

  /// What the old owner had and had granted is the new one's.
  private func changeOwner(
    in catalog: CatalogSnapshot, _ key: AccessKey, from old: ObjectID, to new: ObjectID, _ changes: inout CatalogChanges
  ) {
    guard let list = catalog.access[key] else { return }
    var changed = AccessList()
    for entry in list.entries {
      let grantee = entry.grantee == old ? new : entry.grantee
      let grantor = entry.grantor == old ? new : entry.grantor
      changed.grant(entry.privileges, to: grantee, by: grantor, grantable: false)
      changed.grant(entry.grantable, to: grantee, by: grantor, grantable: true)
    }
    changes.access(key, changed)
  }

  /// What keeps a role from being dropped.
  func dependents(of role: RoleDescriptor) throws(SQLError) -> [String] {
    let catalog = try catalog()
    let path = session.searchPath
    func shown(_ relation: Relation) -> String {
      if catalog.isVisible(relation, searchPath: path) { return relation.name }
      return "\(catalog.schema(relation.schema)?.name ?? "?").\(relation.name)"
    }
    var found: [String] = []
    for schema in catalog.schemas where schema.owner == role.id { found.append("owner of schema \(schema.name)") }
    var relations = catalog.allTables.map { Relation.table($0) }
    relations += catalog.views.map { Relation.view($0) }
    relations += catalog.sequences.filter { $0.ownerTable == nil }.map { Relation.sequence($0) }
    for relation in relations where relation.owner(in: catalog) == role.id {
      found.append("owner of \(relation.kindName.1) \(shown(relation))")
    }
    for (key, list) in catalog.access {
      if key.kind != 0 {
        if key.object == role.id || list.entries.contains(where: { $0.grantee == role.id }) {
          found.append("privileges for default privileges")
        }
      } else if list.entries.contains(where: { $0.grantee == role.id || $0.grantor == role.id }) {
        guard catalog.role(key.object) == nil else { continue }
        if key.object == .database {
          found.append("privileges for database \(session.database.options.name)")
        } else if let schema = catalog.schema(key.object) {
          if schema.owner == role.id { continue }
          found.append("privileges for schema \(schema.name)")
        } else if let relation = catalog.relation(key.object), relation.owner(in: catalog) != role.id {
          found.append("privileges for \(relation.kindName.1) \(shown(relation))")
        }
      }
    }
    return found.sorted()
  }
}
