/// The number of a schema, relation, constraint or role: pg_class.oid and its kin. Never used twice.
package struct ObjectID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }
  package init(_ rawValue: UInt32) { self.rawValue = rawValue }
  package static func < (a: ObjectID, b: ObjectID) -> Bool { a.rawValue < b.rawValue }
  package var description: String { "\(rawValue)" }

  /// The first id of a user's object, as in PostgreSQL.
  package static let firstUser = ObjectID(16384)
  /// pg_catalog, public and information_schema; the bootstrap role.
  package static let systemSchema = ObjectID(11)
  package static let publicSchema = ObjectID(2200)
  package static let informationSchema = ObjectID(13000)
  package static let bootstrapRole = ObjectID(10)
}

/// The kinds of records in the catalog; the raw value is part of the key.
package enum CatalogObjectKind: UInt8, Sendable, CaseIterable {
  case schema = 1
  case table = 2
  case index = 3
  case view = 4
  case sequence = 5
  case role = 6
}

/// An expression or query in the catalog: its text, in which relations are named by what they were called when it was
/// written, and its tree.
package struct StoredExpression: Hashable, Sendable {
  package let text: String
  package let tree: Syntax.Expression

  package init(_ tree: Syntax.Expression) {
    self.tree = tree
    var writer = SQLWriter(parentheses: .always)
    writer.expression(tree)
    text = writer.text
  }
  package init(text: String) throws(SQLError) {
    self.text = text
    tree = try SQLParser.parseExpression(text)
  }
}

/// A column of a table.
package struct ColumnDescriptor: Hashable, Sendable {
  package enum Identity: UInt8, Sendable { case always = 1, byDefault = 2 }
  /// pg_attribute.attnum: from 1, stable, never used again. The column's place in the row is `number - 1`.
  package var number: Int
  package var name: String
  package var type: SQLType
  package var isDropped = false
  package var notNull = false
  package var defaultValue: StoredExpression?
  /// GENERATED ALWAYS AS (…) STORED.
  package var generated: StoredExpression?
  package var identity: Identity?
  /// The sequence that a serial or identity column owns.
  package var sequence: ObjectID?
  /// What the column reads as in rows that were written before it was added.
  package var missing: Datum = .null
  /// The column's place in a row.
  package var place: Int { number - 1 }
}

/// A CHECK constraint.
package struct CheckConstraint: Hashable, Sendable {
  package var id: ObjectID
  package var name: String
  package var expression: StoredExpression
  package var isValidated = true
}

/// A FOREIGN KEY constraint of the table that holds it.
package struct ForeignKey: Hashable, Sendable {
  package enum Action: UInt8, Sendable { case noAction = 0, restrict, cascade, setNull, setDefault }
  package var id: ObjectID
  package var name: String
  /// Column numbers of the referencing table, and of the referenced one, in the same order.
  package var columns: [Int]
  package var referencedTable: ObjectID
  package var referencedColumns: [Int]
  /// The unique index that makes the referenced columns a key.
  package var referencedIndex: ObjectID
  package var matchFull = false
  package var onDelete = Action.noAction
  package var onUpdate = Action.noAction
  /// The columns that SET NULL and SET DEFAULT of ON DELETE change; empty for all.
  package var setColumns: [Int] = []
  package var deferrable = false
  package var initiallyDeferred = false
  package var isValidated = true
}

/// One column or expression of an index's key.
package struct IndexKey: Hashable, Sendable {
  /// The column's number; nil for an expression.
  package var column: Int?
  package var expression: StoredExpression?
  package var type: SQLType
  package var descending = false
  package var nullsFirst = false
}

/// An index. The primary index is the table itself: its entries are the rows.
package struct IndexDescriptor: Hashable, Sendable {
  package var id: ObjectID
  package var name: String
  package var schema: ObjectID
  package var table: ObjectID
  /// Where the entries are; for the primary index, where the table's rows are.
  package var storage: ObjectID
  package var isUnique = false
  package var isPrimary = false
  /// UNIQUE or PRIMARY KEY constraint with this index's name: pg_constraint.oid.
  package var constraint: ObjectID?
  package var deferrable = false
  package var initiallyDeferred = false
  package var nullsNotDistinct = false
  package var keys: [IndexKey] = []
  package var predicate: StoredExpression?
}

/// A table with its columns, constraints and indexes.
package final class TableDescriptor: Sendable {
  package let id: ObjectID
  package let name: String
  package let schema: ObjectID
  package let owner: ObjectID
  package let storage: ObjectID
  package let isTemporary: Bool
  /// Every column ever, dropped ones too, by place.
  package let columns: [ColumnDescriptor]
  package let checks: [CheckConstraint]
  package let foreignKeys: [ForeignKey]
  /// The index that orders the rows; nil for a table without a primary key.
  package let primaryIndex: IndexDescriptor?
  /// All other indexes, oldest first.
  package let secondaryIndexes: [IndexDescriptor]
  /// How rows are encoded.
  package let layout: RowLayout
  /// The columns that are not dropped.
  package let live: [ColumnDescriptor]

  package init(_ record: TableRecord, indexes: [IndexDescriptor]) {
    id = record.id
    name = record.name
    schema = record.schema
    owner = record.owner
    storage = record.storage
    isTemporary = record.isTemporary
    columns = record.columns
    checks = record.checks
    foreignKeys = record.foreignKeys
    primaryIndex = indexes.first { $0.isPrimary }
    secondaryIndexes = indexes.filter { !$0.isPrimary }.sorted { $0.id < $1.id }
    layout = RowLayout(types: record.columns.map(\.type), missing: record.columns.map(\.missing))
    live = record.columns.filter { !$0.isDropped }
  }

  package var record: TableRecord {
    TableRecord(
      id: id, name: name, schema: schema, owner: owner, storage: storage, isTemporary: isTemporary, columns: columns,
      checks: checks, foreignKeys: foreignKeys)
  }
  package func column(named name: String) -> ColumnDescriptor? { live.first { $0.name == name } }
  package func column(_ number: Int) -> ColumnDescriptor { columns[number - 1] }
  package var indexes: [IndexDescriptor] { (primaryIndex.map { [$0] } ?? []) + secondaryIndexes }
  /// The column numbers of the primary key; empty if there is none.
  package var primaryKeyColumns: [Int] { primaryIndex?.keys.compactMap(\.column) ?? [] }
}

/// What the catalog stores of a table; its indexes have records of their own.
package struct TableRecord: Hashable, Sendable {
  package var id: ObjectID
  package var name: String
  package var schema: ObjectID
  package var owner: ObjectID = .bootstrapRole
  package var storage: ObjectID
  package var isTemporary = false
  package var columns: [ColumnDescriptor] = []
  package var checks: [CheckConstraint] = []
  package var foreignKeys: [ForeignKey] = []
}

/// A view: a query with a name.
package struct ViewDescriptor: Hashable, Sendable {
  package var id: ObjectID
  package var name: String
  package var schema: ObjectID
  package var owner: ObjectID = .bootstrapRole
  /// The columns, as they were when the view was made.
  package var columns: [ViewColumn] = []
  /// The query's text, and the schemas in which it looks names up.
  package var text: String
  package var query: Syntax.Query
  package var searchPath: [String] = ["public"]
  /// Relations that the query reads: they cannot be dropped without the view.
  package var dependencies: [ObjectID] = []
}

/// A column of a view.
package struct ViewColumn: Hashable, Sendable {
  package var name: String
  package var type: SQLType
}

/// A sequence's definition; its state is not in the catalog (see SequenceStore).
package struct SequenceDescriptor: Hashable, Sendable {
  package var id: ObjectID
  package var name: String
  package var schema: ObjectID
  package var owner: ObjectID = .bootstrapRole
  /// Where the state is. RESTART gives a new place, so that it takes effect with its transaction.
  package var storage: ObjectID
  /// The first value of a state that does not exist yet, if not `start`.
  package var restart: Int64?
  package var type: SQLType = .int8
  package var start: Int64 = 1
  package var increment: Int64 = 1
  package var minimum: Int64 = 1
  package var maximum: Int64 = .max
  package var cache: Int64 = 1
  package var cycles = false
  package var ownerTable: ObjectID?
  package var ownerColumn: Int?
  package var isIdentity = false
}

package struct SchemaDescriptor: Hashable, Sendable {
  package var id: ObjectID
  package var name: String
  package var owner: ObjectID = .bootstrapRole
}

/// A role. The password is kept as a SCRAM verifier, never in clear.
package struct RoleDescriptor: Hashable, Sendable {
  package var id: ObjectID
  package var name: String
  package var isSuperuser = false
  package var canLogin = false
  package var canCreateRole = false
  package var canCreateDatabase = false
  package var inherits = true
  package var isReplication = false
  package var bypassesRowSecurity = false
  package var connectionLimit = -1
  package var verifier: String?
  package var validUntil: String?
  package var memberOf: [ObjectID] = []
  /// `ALTER ROLE … SET`.
  package var settings: [String: String] = [:]
}

/// Any relation that a name can mean.
package enum Relation: Sendable {
  case table(TableDescriptor)
  case view(ViewDescriptor)
  case sequence(SequenceDescriptor)
  case index(IndexDescriptor)
  case system(SystemRelation)

  package var id: ObjectID {
    switch self {
    case .table(let table): table.id
    case .view(let view): view.id
    case .sequence(let sequence): sequence.id
    case .index(let index): index.id
    case .system(let system): system.id
    }
  }
  package var name: String {
    switch self {
    case .table(let table): table.name
    case .view(let view): view.name
    case .sequence(let sequence): sequence.name
    case .index(let index): index.name
    case .system(let system): system.name
    }
  }
  package var schema: ObjectID {
    switch self {
    case .table(let table): table.schema
    case .view(let view): view.schema
    case .sequence(let sequence): sequence.schema
    case .index(let index): index.schema
    case .system(let system): system.schema
    }
  }
}
