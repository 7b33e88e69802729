// What a statement needs to be allowed: collected while names are resolved, checked when all of it is bound.
//
// 1. Reading a relation needs SELECT on it, or on every column that is named (on any column if none is: `count(*)`).
//    INSERT and UPDATE need their right on the table, or on every column that is written.
// 2. Inside a view the view's owner asks, not who reads the view: he needs SELECT on the view alone.
// 3. What is bound for the system itself (foreign keys, checks, defaults) asks for nothing: `rights` is nil then.

/// What one role does with one relation in a statement.
struct RelationUse {
  let relation: Relation
  let rights: Rights
  /// Needed on the whole relation.
  var required: Privileges = []
  /// Whether it is read even if no column is named.
  var isRead = false
  /// Whether rows are locked: UPDATE on something.
  var isLocked = false
  var selected: Set<Int> = []
  var inserted: Set<Int> = []
  var updated: Set<Int> = []
}

/// The uses of a statement, in the order in which they were met.
struct RelationUses {
  private struct Key: Hashable {
    let role: ObjectID
    let relation: ObjectID
  }
  private var places: [Key: Int] = [:]
  private(set) var all: [RelationUse] = []

  mutating func add(_ relation: Relation, _ rights: Rights, _ change: (inout RelationUse) -> Void) {
    let key = Key(role: rights.id, relation: relation.id)
    let place = places[key] ?? all.count
    if place == all.count {
      places[key] = place
      all.append(RelationUse(relation: relation, rights: rights))
    }
    change(&all[place])
  }

  mutating func select(_ column: Int, of relation: ObjectID, _ role: ObjectID) {
    if let place = places[Key(role: role, relation: relation)] { all[place].selected.insert(column) }
  }
}

extension Binder {
  /// Notes that the statement does something with `relation`.
  func use(_ relation: Relation, _ change: (inout RelationUse) -> Void) {
    guard let rights, !rights.isSuperuser else { return }
    uses.add(relation, rights, change)
  }

  /// Notes that the statement reads a column.
  func note(_ column: ScopeColumn) {
    if columnsUsed != nil, let table = column.table, let number = column.number {
      columnsUsed?[table, default: []].insert(number)
    }
    guard let rights, !rights.isSuperuser, let table = column.table, let number = column.number else { return }
    uses.select(number, of: table, rights.id)
  }

  /// Calls `body` with the rights of a view's owner.
  func asOwner<T>(of view: ViewDescriptor, _ body: () throws(SQLError) -> T) throws(SQLError) -> T {
    guard let outer = rights else { return try body() }
    rights = Rights(catalog.role(view.owner), catalog)
    defer { rights = outer }
    return try body()
  }

  /// - Throws: insufficient_privilege (42501) for the first use that is not allowed.
  func checkRights() throws(SQLError) {
    for use in uses.all where try !isAllowed(use) {
      throw Rights.denied(Binder.word(use.relation), use.relation.name)
    }
  }

  static func word(_ relation: Relation) -> String {
    switch relation {
    case .view: "view"
    case .sequence: "sequence"
    case .index: "index"
    default: "table"
    }
  }

  private func isAllowed(_ use: RelationUse) throws(SQLError) -> Bool {
    let has = use.rights.privileges(on: use.relation)
    guard has.isSuperset(of: use.required) else { return false }
    func columns(_ wanted: Set<Int>, _ privilege: Privileges, anyIfEmpty: Bool) -> Bool {
      if has.contains(privilege) { return true }
      func allowed(_ column: Int) -> Bool {
        use.rights.privileges(onColumn: column, of: use.relation.id).contains(privilege)
      }
      if !wanted.isEmpty { return wanted.allSatisfy(allowed) }
      return !anyIfEmpty || Binder.columnNumbers(use.relation).contains(where: allowed)
    }
    return columns(use.selected, .select, anyIfEmpty: use.isRead)
      && columns(use.inserted, .insert, anyIfEmpty: false) && columns(use.updated, .update, anyIfEmpty: use.isLocked)
  }

  private static func columnNumbers(_ relation: Relation) -> [Int] {
    switch relation {
    case .table(let table): table.live.map(\.number)
    case .view(let view): Array(1...max(1, view.columns.count))
    default: []
    }
  }

  /// A schema that is named must be one that the role may look into.
  func checkSchema(_ name: Syntax.QualifiedName) throws(SQLError) {
    guard let rights, !rights.isSuperuser, let text = name.schema, let schema = catalog.schema(named: text) else {
      return
    }
    guard rights.privileges(onSchema: schema.id).contains(.usage) else {
      throw Rights.denied("schema", schema.name).at(place(name.position))
    }
  }
}
