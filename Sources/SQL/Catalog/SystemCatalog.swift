// pg_catalog: what drivers, psql and ORMs ask, computed from our catalog. Every column that those queries name is there;
// what we have no such thing of (triggers, policies, publications, …) is an empty relation with its columns.
//
// Row order is by oid. Oids of system relations are PostgreSQL's where clients know them by number.

/// Every relation of pg_catalog and information_schema.
package enum SystemCatalog {
  package static let all: [SystemRelation] =
    relations + constraintsAndTypes + rolesAndDatabase + convenience + activity + conflicts + absent
    + InformationSchema.all + InformationSchema.others + InformationSchema.privileges

  typealias Row = [Datum]
  typealias Rows = @Sendable (SystemContext) throws(SQLError) -> [Row]

  /// A relation of pg_catalog; columns are written `name type` one after another.
  static func make(_ id: UInt32, _ name: String, _ columns: String, _ rows: @escaping Rows) -> SystemRelation {
    SystemRelation(
      id: ObjectID(id), name: name, schema: .systemSchema, columns: SystemCatalog.columns(columns), rows: rows)
  }

  static func columns(_ text: String) -> [SystemRelation.Column] {
    let words = text.split { $0 == " " || $0 == "\n" || $0 == "," }.map(String.init)
    return stride(from: 0, to: words.count - 1, by: 2).map { index in
      let type = words[index + 1]
      let id: TypeID
      if type.hasSuffix("[]") {
        id = TypeTable.named(String(type.dropLast(2)))?.info.array ?? TypeID(1009)
      } else {
        id = type == "char" ? .char : TypeTable.named(type) ?? .text
      }
      return SystemRelation.Column(words[index], SQLType(id))
    }
  }

  // MARK: Values

  static func oid(_ id: ObjectID?) -> Datum { .int(Int64(id?.rawValue ?? 0)) }
  static func text(_ string: String?) -> Datum { string.map { .text($0) } ?? .null }
  static func int(_ number: Int) -> Datum { .int(Int64(number)) }
  static func flag(_ value: Bool) -> Datum { .bool(value) }

  static func array(_ data: [Datum], _ element: TypeID, lowerBound: Int = 1) throws(SQLError) -> Datum {
    let arena = Arena()
    defer { withExtendedLifetime(arena) {} }
    let dimensions = data.isEmpty ? [] : [(length: data.count, lowerBound: lowerBound)]
    return Datum(
      try ArrayBuilder.make(data.map { $0.value(in: arena) }, element: element, dimensions: dimensions, arena))
  }
  static func vector(_ numbers: [Int], _ element: TypeID) throws(SQLError) -> Datum {
    try array(numbers.map { int($0) }, element, lowerBound: 0)
  }
}

/// A relation as pg_class shows it.
struct ClassRow {
  var id: ObjectID
  var name: String
  var schema: ObjectID
  var kind: String
  var columns: [(number: Int, name: String, type: SQLType, notNull: Bool)]
  var owner: ObjectID = .bootstrapRole
  var table: TableDescriptor?
  var index: IndexDescriptor?
}

extension SystemContext {
  /// All relations, the system's own included, by oid.
  func classes() -> [ClassRow] {
    var rows: [ClassRow] = []
    for table in catalog.allTables {
      rows.append(
        ClassRow(
          id: table.id, name: table.name, schema: table.schema, kind: "r",
          columns: table.live.map { ($0.number, $0.name, $0.type, $0.notNull) }, owner: table.owner, table: table))
      for index in table.indexes {
        rows.append(
          ClassRow(
            id: index.id, name: index.name, schema: index.schema, kind: "i",
            columns: index.keys.enumerated().map { position, key in
              let name = key.column.map { table.column($0).name } ?? (position == 0 ? "expr" : "expr\(position)")
              return (position + 1, name, key.type, false)
            }, owner: table.owner, index: index))
      }
    }
    for view in catalog.views {
      rows.append(
        ClassRow(
          id: view.id, name: view.name, schema: view.schema, kind: "v",
          columns: view.columns.enumerated().map { ($0 + 1, $1.name, $1.type, false) }, owner: view.owner))
    }
    for sequence in catalog.sequences {
      rows.append(
        ClassRow(
          id: sequence.id, name: sequence.name, schema: sequence.schema, kind: "S",
          columns: [(1, "last_value", .int8, true), (2, "log_cnt", .int8, true), (3, "is_called", .bool, true)],
          owner: sequence.owner))
    }
    for system in SystemCatalog.all {
      rows.append(
        ClassRow(
          id: system.id, name: system.name, schema: system.schema,
          kind: system.schema == .systemSchema && !system.name.hasSuffix("s") ? "r" : "v",
          columns: system.columns.enumerated().map { ($0 + 1, $1.name, $1.type, false) }))
    }
    return rows.sorted { $0.id < $1.id }
  }

  func rowCount(_ table: TableDescriptor) -> Double { statistics.find(table.storage)?.rows ?? -1 }

  /// A column's default as it is shown: a string with its type, as PostgreSQL does.
  func shown(_ expression: StoredExpression, of column: ColumnDescriptor) -> String {
    guard case .string = expression.tree.kind else { return shown(expression) }
    return "\(expression.text)::\(SQLType(column.type.id).description)"
  }

  /// A stored default as it is shown: sequences by name.
  func shown(_ expression: StoredExpression) -> String {
    expression.namingRelations { id in
      guard let relation = catalog.relation(id), let schema = catalog.schema(relation.schema) else { return nil }
      let name = SQLWriter.quoted(relation.name)
      return searchPath.contains(schema.name) ? name : SQLWriter.quoted(schema.name) + "." + name
    }
  }
}

extension StoredExpression {
  /// The text, with constants of type regclass (which the catalog keeps as numbers) by what `name` says.
  func namingRelations(_ name: (ObjectID) -> String?) -> String {
    guard text.contains("::regclass") else { return text }
    let named = tree.mapped { node in
      guard case .cast(let inner, let type, let form) = node.kind, type.name.name == "regclass",
        case .number(let digits) = inner.kind, let number = UInt32(digits), let text = name(ObjectID(rawValue: number))
      else { return node }
      var copy = node
      copy.kind = .cast(Syntax.Expression(.string(text)), type, form)
      return copy
    }
    // A cast as an argument needs no parentheses of its own; tools look for `nextval('name'::regclass)`.
    var result = StoredExpression(named).text
    _ = tree.mapped { node in
      guard case .cast(let inner, let type, _) = node.kind, type.name.name == "regclass",
        case .number(let digits) = inner.kind, let number = UInt32(digits), let text = name(ObjectID(rawValue: number))
      else { return node }
      let cast = "\(SQLWriter.literal(text))::regclass"
      result = result.replacing("(\(cast))", with: cast)
      return node
    }
    return result
  }
}
