// has_table_privilege and its kin, as PostgreSQL has them: the role by name, by number or left out; the object by name or
// number; the rights as a list such as `SELECT, UPDATE WITH GRANT OPTION`, of which one is enough.

extension FunctionRegistry {
  mutating func addPrivileges() {
    for (name, kind) in [("has_table_privilege", SecuredKind.table), ("has_sequence_privilege", .sequence)] {
      inquiry(name) { inquiry, object throws(SQLError) in
        guard let relation = try inquiry.relation(object) else { return nil }
        if kind == .sequence, relation.securedKind != .sequence {
          throw SQLError(.wrongObjectType, "\"\(relation.name)\" is not a sequence")
        }
        return try inquiry.holds(kind) {
          inquiry.rights.privileges(on: relation).contains($0)
        } grantable: {
          inquiry.grantable(kind, .object(relation.id), relation.owner(in: inquiry.system.catalog)).contains($0)
        }
      }
    }
    inquiry("has_any_column_privilege") { inquiry, object throws(SQLError) in
      guard let relation = try inquiry.relation(object) else { return nil }
      let owner = relation.owner(in: inquiry.system.catalog)
      let columns = inquiry.columns(relation)
      return try inquiry.holds(.column) { privilege in
        inquiry.rights.privileges(on: relation).contains(privilege)
          || columns.contains { inquiry.rights.privileges(onColumn: $0, of: relation.id).contains(privilege) }
      } grantable: { privilege in
        inquiry.grantable(.table, .object(relation.id), owner).contains(privilege)
          || columns.contains { inquiry.grantable(.column, .column(relation.id, $0), owner).contains(privilege) }
      }
    }
    inquiry("has_schema_privilege") { inquiry, object throws(SQLError) in
      guard let schema = try inquiry.schema(object) else { return nil }
      return try inquiry.holds(.schema) {
        inquiry.rights.privileges(onSchema: schema.id).contains($0)
      } grantable: {
        inquiry.grantable(.schema, .object(schema.id), schema.owner).contains($0)
      }
    }
    inquiry("has_database_privilege") { inquiry, object throws(SQLError) in
      guard try inquiry.isDatabase(object) else { return nil }
      return try inquiry.holds(.database) {
        inquiry.rights.onDatabase.contains($0)
      } grantable: {
        inquiry.grantable(.database, .object(.database), inquiry.system.catalog.databaseOwner).contains($0)
      }
    }
    // Functions, languages and types are everybody's: their rights cannot be changed.
    for name in [
      "has_function_privilege", "has_language_privilege", "has_type_privilege", "has_tablespace_privilege",
    ] {
      inquiry(name) { _, _ throws(SQLError) in true }
    }
    addColumnPrivilege()
    addMembership()
    define("row_security_active", [.regclass], .bool, .stable) { _, _ throws(SQLError) in Value(false) }
  }

  /// The six forms of an inquiry: (role)? (object by name or number) (rights).
  private mutating func inquiry(
    _ name: String, _ answer: @escaping @Sendable (PrivilegeInquiry, Value.Named) throws(SQLError) -> Bool?
  ) {
    for object in [TypeID.text, .oid] {
      for role in [nil, TypeID.name, .oid] {
        let arguments = (role.map { [$0] } ?? []) + [object, .text]
        define(name, arguments, .bool, .stable, again: true) { a, c throws(SQLError) in
          let first = arguments.count - 2
          let inquiry = try PrivilegeInquiry(
            role: role.map { Value.Named(a[0], $0) }, rights: a[first + 1].string, c)
          let result = try answer(inquiry, Value.Named(a[first], object))
          return result.map { Value($0) } ?? .null
        }
      }
    }
  }

  private mutating func addColumnPrivilege() {
    for object in [TypeID.text, .oid] {
      for column in [TypeID.text, .int2] {
        for role in [nil, TypeID.name, .oid] {
          let arguments = (role.map { [$0] } ?? []) + [object, column, .text]
          define("has_column_privilege", arguments, .bool, .stable, again: true) { a, c throws(SQLError) in
            let first = arguments.count - 3
            let inquiry = try PrivilegeInquiry(
              role: role.map { Value.Named(a[0], $0) }, rights: a[first + 2].string, c)
            guard let relation = try inquiry.relation(Value.Named(a[first], object)) else { return .null }
            guard let number = try inquiry.column(Value.Named(a[first + 1], column), relation) else { return .null }
            let owner = relation.owner(in: inquiry.system.catalog)
            return Value(
              try inquiry.holds(.column) { privilege in
                inquiry.rights.privileges(on: relation).contains(privilege)
                  || inquiry.rights.privileges(onColumn: number, of: relation.id).contains(privilege)
              } grantable: { privilege in
                inquiry.grantable(.table, .object(relation.id), owner).contains(privilege)
                  || inquiry.grantable(.column, .column(relation.id, number), owner).contains(privilege)
              })
          }
        }
      }
    }
  }

  private mutating func addMembership() {
    for object in [TypeID.name, .oid] {
      for role in [nil, TypeID.name, .oid] {
        let arguments = (role.map { [$0] } ?? []) + [object, .text]
        define("pg_has_role", arguments, .bool, .stable, again: true) { a, c throws(SQLError) in
          let first = arguments.count - 2
          let inquiry = try PrivilegeInquiry(role: role.map { Value.Named(a[0], $0) }, rights: a[first + 1].string, c)
          guard let wanted = try inquiry.role(Value.Named(a[first], object)) else { return .null }
          return Value(try inquiry.isMember(of: wanted))
        }
      }
    }
  }
}

extension Value {
  /// An argument that is a name or a number.
  struct Named {
    let value: Value
    let isNumber: Bool
    init(_ value: Value, _ type: TypeID) {
      self.value = value
      isNumber = type == .oid || type == .int2
    }
    var id: ObjectID { ObjectID(UInt32(truncatingIfNeeded: value.int)) }
    var text: String { value.string }
  }
}

/// Who asks for what.
struct PrivilegeInquiry {
  let system: SystemContext
  let rights: Rights
  private let wanted: [(text: String, withGrant: Bool)]

  init(role: Value.Named?, rights text: String, _ context: EvaluationContext) throws(SQLError) {
    system = try CatalogCall.context(context)
    var descriptor = system.catalog.role(named: system.user)
    if let role {
      descriptor =
        role.isNumber ? system.catalog.role(role.id) : system.catalog.role(named: role.text)
      // PUBLIC by name is nobody in particular; a number that is nobody's has PUBLIC's rights too.
      guard descriptor != nil || role.isNumber || role.text == "public" else {
        throw SQLError(.undefinedObject, "role \"\(role.text)\" does not exist")
      }
    }
    rights = Rights(descriptor, system.catalog)
    wanted = text.split(separator: ",").map { part in
      var words = part.split(separator: " ").map { $0.uppercased() }
      let withGrant = words.count > 3 && words.suffix(3) == ["WITH", "GRANT", "OPTION"]
      let withAdmin = words.count > 3 && words.suffix(3) == ["WITH", "ADMIN", "OPTION"]
      if withGrant || withAdmin { words.removeLast(3) }
      return (words.joined(separator: " "), withGrant || withAdmin)
    }
  }

  /// Whether one of the wanted rights is there.
  func holds(
    _ kind: SecuredKind, _ has: (Privileges) -> Bool, grantable: (Privileges) -> Bool
  ) throws(SQLError) -> Bool {
    var result = false
    for (text, withGrant) in wanted {
      guard let privilege = Privileges.named(text), kind.all.contains(privilege) else {
        throw SQLError(.invalidParameterValue, "unrecognized privilege type: \"\(text)\"")
      }
      if withGrant ? grantable(privilege) : has(privilege) { result = true }
    }
    return result
  }

  func grantable(_ kind: SecuredKind, _ key: AccessKey, _ owner: ObjectID) -> Privileges {
    rights.grantable(kind, key, owner: owner)
  }

  func relation(_ object: Value.Named) throws(SQLError) -> Relation? {
    if object.isNumber { return system.catalog.relation(object.id) }
    let name = try SQLParser.parseQualifiedName(object.text)
    guard let relation = try system.catalog.relation(name, searchPath: system.searchPath) else {
      throw SQLError(.undefinedTable, "relation \"\(object.text)\" does not exist")
    }
    return relation
  }

  func columns(_ relation: Relation) -> [Int] {
    switch relation {
    case .table(let table): table.live.map(\.number)
    case .view(let view): Array(view.columns.indices.map { $0 + 1 })
    default: []
    }
  }

  func column(_ column: Value.Named, _ relation: Relation) throws(SQLError) -> Int? {
    if column.isNumber { return columns(relation).contains(Int(column.value.int)) ? Int(column.value.int) : nil }
    let number: Int? =
      switch relation {
      case .table(let table): table.column(named: column.text)?.number
      case .view(let view): view.columns.firstIndex { $0.name == column.text }.map { $0 + 1 }
      case .system(let system): system.columns.firstIndex { $0.name == column.text }.map { $0 + 1 }
      default: nil
      }
    guard let number else {
      throw SQLError(
        .undefinedColumn, "column \"\(column.text)\" of relation \"\(relation.name)\" does not exist")
    }
    return number
  }

  func schema(_ object: Value.Named) throws(SQLError) -> SchemaDescriptor? {
    if object.isNumber { return system.catalog.schema(object.id) }
    guard let schema = system.catalog.schema(named: object.text) else {
      throw SQLError(.invalidSchema, "schema \"\(object.text)\" does not exist")
    }
    return schema
  }

  func isDatabase(_ object: Value.Named) throws(SQLError) -> Bool {
    if object.isNumber { return object.id == .database }
    guard object.text == system.database else {
      throw SQLError(.invalidCatalog, "database \"\(object.text)\" does not exist")
    }
    return true
  }

  func role(_ object: Value.Named) throws(SQLError) -> RoleDescriptor? {
    if object.isNumber { return system.catalog.role(object.id) }
    guard let role = system.catalog.role(named: object.text) else {
      throw SQLError(.undefinedObject, "role \"\(object.text)\" does not exist")
    }
    return role
  }

  /// pg_has_role: USAGE is having its rights, MEMBER being able to become it.
  func isMember(of role: RoleDescriptor) throws(SQLError) -> Bool {
    var result = false
    for (text, withAdmin) in wanted {
      guard text == "USAGE" || text == "MEMBER" else {
        throw SQLError(.invalidParameterValue, "unrecognized privilege type: \"\(text)\"")
      }
      if rights.isSuperuser {
        result = true
      } else if withAdmin {
        let list = system.catalog.access[.object(role.id)]
        if list?.grantable(by: rights.roles).contains(.member) == true { result = true }
      } else if let own = rights.role {
        let roles = text == "USAGE" ? rights.roles : system.catalog.memberships(own, inheritedOnly: false)
        if roles.contains(role.id) { result = true }
      }
    }
    return result
  }
}
