package import Transactions

// The relations of pg_catalog and information_schema: computed from the catalog when they are read, never stored.

/// A relation that the system provides.
package final class SystemRelation: Sendable {
  package struct Column: Sendable {
    package let name: String
    package let type: SQLType
    package init(_ name: String, _ type: SQLType) {
      self.name = name
      self.type = type
    }
  }
  package let id: ObjectID
  package let name: String
  package let schema: ObjectID
  package let columns: [Column]
  /// The rows, one datum a column.
  package let rows: @Sendable (SystemContext) throws(SQLError) -> [[Datum]]

  package init(
    id: ObjectID, name: String, schema: ObjectID, columns: [Column],
    rows: @escaping @Sendable (SystemContext) throws(SQLError) -> [[Datum]]
  ) {
    self.id = id
    self.name = name
    self.schema = schema
    self.columns = columns
    self.rows = rows
  }

  package static let schemas: [SchemaDescriptor] = [
    SchemaDescriptor(id: .systemSchema, name: "pg_catalog"),
    SchemaDescriptor(id: .informationSchema, name: "information_schema"),
  ]
  package static let byID: [ObjectID: SystemRelation] = Dictionary(
    uniqueKeysWithValues: SystemCatalog.all.map { ($0.id, $0) })
  private static let systemByName = Dictionary(
    uniqueKeysWithValues: SystemCatalog.all.filter { $0.schema == .systemSchema }.map { ($0.name, $0) })
  private static let informationByName = Dictionary(
    uniqueKeysWithValues: SystemCatalog.all.filter { $0.schema == .informationSchema }.map { ($0.name, $0) })

  package static func named(_ name: String, in schema: ObjectID) -> SystemRelation? {
    switch schema {
    case .systemSchema: systemByName[name]
    case .informationSchema: informationByName[name]
    default: nil
    }
  }

  /// `SELECT * FROM sequence`.
  package static func sequence(_ sequence: SequenceDescriptor) -> SystemRelation {
    SystemRelation(
      id: sequence.id, name: sequence.name, schema: sequence.schema,
      columns: [Column("last_value", .int8), Column("log_cnt", .int8), Column("is_called", .bool)]
    ) { context throws(SQLError) in
      let state = try context.sequences.current(sequence.storage, SequenceStore.Rule(sequence))
      return [[.int(state.last), .int(0), .bool(state.isCalled)]]
    }
  }
}

/// What the rows of system relations are computed from.
package struct SystemContext: Sendable {
  package var catalog: CatalogSnapshot
  package var sequences: SequenceStore
  package var statistics: StatisticsStore
  package var searchPath: [String]
  package var database: String
  package var user: String
  package var sessionUser: String
  /// The session's settings as SHOW prints them, with their descriptions.
  package var settings: [(name: String, value: String, description: String)]
  /// Who knows the sessions, where there is one.
  package var server: (any ActivityProvider)?
  /// Who knows the locks.
  package var manager: TransactionManager?
}
