// The catalog as one transaction sees it: immutable, shared by all sessions that see the same version.

/// Every object of the database at one version of the catalog.
package final class CatalogSnapshot: Sendable {
  /// The value under `KeySpace.catalogVersion`.
  package let version: UInt64
  package let records: [ObjectID: CatalogRecord]
  package let comments: [CommentKey: String]
  /// Access lists; what has none has the initial one.
  package let access: [AccessKey: AccessList]
  package let tables: [ObjectID: TableDescriptor]
  /// Foreign keys that point at a table, by that table's id.
  package let referencing: [ObjectID: [Reference]]
  private let names: [Name: ObjectID]
  private let schemasByName: [String: SchemaDescriptor]

  package struct CommentKey: Hashable, Sendable {
    package var object: ObjectID
    /// A column's number, or 0.
    package var subobject: Int
    package init(_ object: ObjectID, _ subobject: Int = 0) {
      self.object = object
      self.subobject = subobject
    }
  }
  package struct Reference: Sendable {
    package let table: ObjectID
    package let key: ForeignKey
  }
  private struct Name: Hashable {
    let schema: ObjectID
    let name: String
  }

  package init(
    version: UInt64, records: [ObjectID: CatalogRecord], comments: [CommentKey: String],
    access: [AccessKey: AccessList] = [:], like old: CatalogSnapshot? = nil
  ) {
    self.version = version
    self.records = records
    self.comments = comments
    self.access = access
    var indexes: [ObjectID: [IndexDescriptor]] = [:]
    var names: [Name: ObjectID] = [:]
    var schemas: [String: SchemaDescriptor] = [:]
    var tableRecords: [TableRecord] = []
    for record in records.values {
      switch record {
      case .schema(let schema): schemas[schema.name] = schema
      case .table(let table):
        names[Name(schema: table.schema, name: table.name)] = table.id
        tableRecords.append(table)
      case .index(let index):
        names[Name(schema: index.schema, name: index.name)] = index.id
        indexes[index.table, default: []].append(index)
      case .view(let view): names[Name(schema: view.schema, name: view.name)] = view.id
      case .sequence(let sequence): names[Name(schema: sequence.schema, name: sequence.name)] = sequence.id
      case .role: break
      }
    }
    var tables: [ObjectID: TableDescriptor] = [:]
    var referencing: [ObjectID: [Reference]] = [:]
    for record in tableRecords {
      let own = (indexes[record.id] ?? []).sorted { $0.id < $1.id }
      // A table that did not change keeps its descriptor, and with it what was compiled for it.
      if let known = old?.tables[record.id], known.record == record, known.indexes.sorted(by: { $0.id < $1.id }) == own
      {
        tables[record.id] = known
      } else {
        tables[record.id] = TableDescriptor(record, indexes: own)
      }
      for key in record.foreignKeys {
        referencing[key.referencedTable, default: []].append(Reference(table: record.id, key: key))
      }
    }
    self.tables = tables
    self.referencing = referencing.mapValues { list in list.sorted { $0.key.id < $1.key.id } }
    self.names = names
    schemasByName = schemas
  }

  // MARK: Looking up

  package func schema(named name: String) -> SchemaDescriptor? {
    if let system = SystemRelation.schemas.first(where: { $0.name == name }) { return system }
    return schemasByName[name]
  }
  package func schema(_ id: ObjectID) -> SchemaDescriptor? {
    if let system = SystemRelation.schemas.first(where: { $0.id == id }) { return system }
    guard case .schema(let schema) = records[id] else { return nil }
    return schema
  }
  package var schemas: [SchemaDescriptor] {
    (SystemRelation.schemas + Array(schemasByName.values)).sorted { $0.name < $1.name }
  }

  /// The relation `name` in the schema `schema`.
  package func relation(_ name: String, in schema: ObjectID) -> Relation? {
    if let system = SystemRelation.named(name, in: schema) { return .system(system) }
    guard let id = names[Name(schema: schema, name: name)] else { return nil }
    return relation(id)
  }

  package func relation(_ id: ObjectID) -> Relation? {
    switch records[id] {
    case .table: tables[id].map { .table($0) }
    case .view(let view): .view(view)
    case .sequence(let sequence): .sequence(sequence)
    case .index(let index): .index(index)
    default: SystemRelation.byID[id].map { .system($0) }
    }
  }

  /// The relation that a written name means; nil if there is none.
  ///
  /// - Throws: `featureNotSupported` for another database.
  package func relation(
    _ name: Syntax.QualifiedName, searchPath: [String]
  ) throws(SQLError) -> Relation? {
    if let schemaName = name.schema {
      guard let schema = schema(named: schemaName) else { return nil }
      return relation(name.name, in: schema.id)
    }
    if let system = SystemRelation.named(name.name, in: .systemSchema) { return .system(system) }
    for schemaName in searchPath {
      guard let schema = schema(named: schemaName) else { continue }
      if let found = relation(name.name, in: schema.id) { return found }
    }
    return nil
  }

  /// Whether an unqualified name finds this relation.
  package func isVisible(_ relation: Relation, searchPath: [String]) -> Bool {
    let found = try? self.relation(Syntax.QualifiedName([relation.name]), searchPath: searchPath)
    return found?.id == relation.id
  }

  package func role(named name: String) -> RoleDescriptor? {
    roles.first { $0.name == name } ?? PredefinedRole.all.first { $0.name == name }
  }
  package var roles: [RoleDescriptor] {
    records.values.compactMap { if case .role(let role) = $0 { role } else { nil } }.sorted { $0.id < $1.id }
  }
  package var views: [ViewDescriptor] {
    records.values.compactMap { if case .view(let view) = $0 { view } else { nil } }.sorted { $0.id < $1.id }
  }
  package var sequences: [SequenceDescriptor] {
    records.values.compactMap { if case .sequence(let sequence) = $0 { sequence } else { nil } }
      .sorted { $0.id < $1.id }
  }
  package var indexes: [IndexDescriptor] {
    records.values.compactMap { if case .index(let index) = $0 { index } else { nil } }.sorted { $0.id < $1.id }
  }
  package var allTables: [TableDescriptor] { tables.values.sorted { $0.id < $1.id } }
  package func sequence(_ id: ObjectID) -> SequenceDescriptor? {
    if case .sequence(let sequence) = records[id] { sequence } else { nil }
  }
  package func index(_ id: ObjectID) -> IndexDescriptor? {
    if case .index(let index) = records[id] { index } else { nil }
  }
}
