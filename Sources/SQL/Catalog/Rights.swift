// What a role may do, at one version of the catalog.
//
// A role has the rights of itself, of PUBLIC, and of the roles it is a member of, as far as each member on the way
// inherits (INHERIT). Membership without inheritance allows SET ROLE only. A superuser may do everything.

/// Roles that every database has: what monitoring and backup tools are granted.
package enum PredefinedRole {
  package static let databaseOwner = ObjectID(6171)
  static let readAllData = ObjectID(6181)
  static let writeAllData = ObjectID(6182)
  static let all: [RoleDescriptor] = [
    (6171, "pg_database_owner"), (6181, "pg_read_all_data"), (6182, "pg_write_all_data"), (3373, "pg_monitor"),
    (3374, "pg_read_all_settings"), (3375, "pg_read_all_stats"), (3377, "pg_stat_scan_tables"),
    (4200, "pg_signal_backend"), (4569, "pg_read_server_files"), (4570, "pg_write_server_files"),
    (4571, "pg_execute_server_program"), (4544, "pg_checkpoint"),
  ].map { RoleDescriptor(id: ObjectID($0), name: $1) }
}

extension ObjectID {
  /// The one database: pg_database.oid.
  package static let database = ObjectID(5)
}

extension CatalogSnapshot {
  package func role(_ id: ObjectID) -> RoleDescriptor? { allRoles.first { $0.id == id } }
  /// The roles of users, and the predefined ones.
  package var allRoles: [RoleDescriptor] { (roles + PredefinedRole.all).sorted { $0.id < $1.id } }

  /// The roles that `role` is a member of, directly or not, itself included.
  func memberships(_ role: RoleDescriptor, inheritedOnly: Bool) -> Set<ObjectID> {
    var found: Set<ObjectID> = [role.id]
    var open = [role]
    while let next = open.popLast() {
      if inheritedOnly, !next.inherits { continue }
      for id in next.memberOf where found.insert(id).inserted { if let parent = self.role(id) { open.append(parent) } }
      if next.id == databaseOwner { found.insert(PredefinedRole.databaseOwner) }
    }
    return found
  }

  package var databaseOwner: ObjectID { .bootstrapRole }

  /// The list that counts for an object.
  func accessList(_ kind: SecuredKind, _ key: AccessKey, owner: ObjectID) -> AccessList {
    access[key] ?? AccessList.initial(kind, owner: owner, object: key.object)
  }

  /// The list that a new object of `role` gets from ALTER DEFAULT PRIVILEGES; nil if it is the initial one.
  func defaultAccess(_ kind: SecuredKind, of role: ObjectID, in schema: ObjectID?) -> AccessList? {
    let everywhere = access[.defaults(role, kind, in: nil)]
    let here = schema.flatMap { access[.defaults(role, kind, in: $0)] }
    guard everywhere != nil || here != nil else { return nil }
    var list = everywhere ?? AccessList.initial(kind, owner: role, object: ObjectID(0))
    for entry in here?.entries ?? [] {
      list.grant(entry.privileges, to: entry.grantee, by: entry.grantor, grantable: false)
      list.grant(entry.grantable, to: entry.grantee, by: entry.grantor, grantable: true)
    }
    return list
  }
}

/// The rights of one role.
package struct Rights: Sendable {
  let catalog: CatalogSnapshot
  /// Nil for a user without a role: PUBLIC's rights are his.
  let role: RoleDescriptor?
  let isSuperuser: Bool
  /// Whose rights these are.
  let roles: Set<ObjectID>

  package init(_ role: RoleDescriptor?, _ catalog: CatalogSnapshot) {
    self.catalog = catalog
    self.role = role
    isSuperuser = role?.isSuperuser ?? false
    roles = isSuperuser ? [] : role.map { catalog.memberships($0, inheritedOnly: true) } ?? []
  }

  var id: ObjectID { role?.id ?? ObjectID(0) }

  func owns(_ owner: ObjectID) -> Bool { isSuperuser || roles.contains(owner) }

  func privileges(_ kind: SecuredKind, _ key: AccessKey, owner: ObjectID) -> Privileges {
    if isSuperuser { return kind.all }
    var result = catalog.accessList(kind, key, owner: owner).privileges(of: roles)
    if roles.contains(PredefinedRole.readAllData) {
      if kind == .table || kind == .sequence { result.insert(.select) }
      if kind == .schema { result.insert(.usage) }
    }
    if roles.contains(PredefinedRole.writeAllData) {
      if kind == .table { result.formUnion([.insert, .update, .delete]) }
      if kind == .schema { result.insert(.usage) }
    }
    return result
  }

  func grantable(_ kind: SecuredKind, _ key: AccessKey, owner: ObjectID) -> Privileges {
    if owns(owner) { return kind.all }
    return catalog.accessList(kind, key, owner: owner).grantable(by: roles)
  }

  // MARK: Of what

  func privileges(onSchema id: ObjectID) -> Privileges {
    guard let schema = catalog.schema(id) else { return [] }
    return privileges(.schema, .object(id), owner: schema.owner)
  }
  var onDatabase: Privileges { privileges(.database, .object(.database), owner: catalog.databaseOwner) }

  /// The rights on the whole of a relation.
  func privileges(on relation: Relation) -> Privileges {
    switch relation {
    case .table(let table): privileges(.table, .object(table.id), owner: table.owner)
    case .view(let view): privileges(.table, .object(view.id), owner: view.owner)
    case .sequence(let sequence): privileges(.sequence, .object(sequence.id), owner: sequence.owner)
    case .index(let index): catalog.tables[index.table].map { privileges(on: .table($0)) } ?? []
    case .system(let system): isSuperuser ? SecuredKind.table.all : system.isSecret ? [] : .select
    }
  }
  /// What is granted on a column beyond the table's rights.
  func privileges(onColumn number: Int, of relation: ObjectID) -> Privileges {
    if isSuperuser { return SecuredKind.column.all }
    return catalog.access[.column(relation, number)]?.privileges(of: roles) ?? []
  }

  static func denied(_ kind: String, _ name: String) -> SQLError {
    SQLError(.insufficientPrivilege, "permission denied for \(kind) \(name)")
  }
  static func notOwner(_ kind: String, _ name: String) -> SQLError {
    SQLError(.insufficientPrivilege, "must be owner of \(kind) \(name)")
  }
}

extension SystemRelation {
  /// What holds passwords is for superusers.
  var isSecret: Bool { name == "pg_authid" }
}

extension Relation {
  /// The owner; for an index its table's.
  func owner(in catalog: CatalogSnapshot) -> ObjectID {
    switch self {
    case .table(let table): table.owner
    case .view(let view): view.owner
    case .sequence(let sequence): sequence.owner
    case .index(let index): catalog.tables[index.table]?.owner ?? .bootstrapRole
    case .system: .bootstrapRole
    }
  }
  var securedKind: SecuredKind { if case .sequence = self { .sequence } else { .table } }
}
