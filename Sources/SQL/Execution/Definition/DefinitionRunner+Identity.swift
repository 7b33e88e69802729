internal import Transactions

// ALTER TABLE: identity columns, and what else changes a column's or constraint's description alone.

extension DefinitionRunner {
  func addIdentity(
    _ name: Syntax.Name, _ identity: Syntax.Identity, _ table: TableDescriptor
  ) throws(SQLError) {
    var column = try column(name, table)
    let what = "column \"\(column.name)\" of relation \"\(table.name)\""
    guard [.int2, .int4, .int8].contains(column.type.id) else {
      throw SQLError(.invalidParameterValue, "identity column type must be smallint, integer, or bigint")
    }
    guard column.notNull else {
      throw SQLError(.objectNotInState, "\(what) must be declared NOT NULL before identity can be added")
    }
    guard column.identity == nil else {
      throw SQLError(.objectNotInState, "\(what) is already an identity column")
    }
    guard column.defaultValue == nil, column.generated == nil else {
      throw SQLError(.objectNotInState, "\(what) already has a default value")
    }
    var record = table.record
    var sequences: [SequenceDescriptor] = []
    try addSequence(&column, record, identity, isIdentity: true, &sequences)
    record.columns[column.place] = column
    let (final, made) = (record, sequences)
    try apply { changes throws(SQLError) in
      changes.put(.table(final))
      for sequence in made {
        changes.put(.sequence(sequence))
        try applyDefaultAccess(.sequence, sequence.id, owner: final.owner, schema: final.schema, &changes)
      }
    }
  }

  /// The identity column and its sequence.
  private func identity(
    _ name: Syntax.Name, _ table: TableDescriptor
  ) throws(SQLError) -> (ColumnDescriptor, SequenceDescriptor)? {
    let column = try column(name, table)
    guard column.identity != nil, let id = column.sequence,
      let sequence = try catalog().sequences.first(where: { $0.id == id })
    else { return nil }
    return (column, sequence)
  }

  private func notIdentity(_ name: Syntax.Name, _ table: TableDescriptor) -> SQLError {
    SQLError(
      .objectNotInState, "column \"\(name.text)\" of relation \"\(table.name)\" is not an identity column")
  }

  func setIdentity(
    _ name: Syntax.Name, _ always: Bool?, _ options: [Syntax.SequenceOption], _ table: TableDescriptor
  ) throws(SQLError) {
    guard var (column, sequence) = try identity(name, table) else { throw notIdentity(name, table) }
    if let always { column.identity = always ? .always : .byDefault }
    try configure(&sequence, options, isNew: false)
    var record = table.record
    record.columns[column.place] = column
    let (final, changed) = (record, sequence)
    try apply { changes in
      changes.put(.table(final))
      changes.put(.sequence(changed))
    }
  }

  func dropIdentity(_ name: Syntax.Name, ifExists: Bool, _ table: TableDescriptor) throws(SQLError) {
    guard let (found, sequence) = try identity(name, table) else {
      guard ifExists else { throw notIdentity(name, table) }
      notice(
        .successfulCompletion,
        "column \"\(name.text)\" of relation \"\(table.name)\" is not an identity column, skipping")
      return
    }
    var column = found
    column.identity = nil
    column.sequence = nil
    var record = table.record
    record.columns[column.place] = column
    let final = record
    try apply { changes in
      changes.put(.table(final))
      changes.remove(.sequence(sequence))
    }
  }

  func alterConstraint(
    _ name: Syntax.Name, _ deferral: Syntax.Deferral, _ table: TableDescriptor
  ) throws(SQLError) {
    var record = table.record
    guard let place = record.foreignKeys.firstIndex(where: { $0.name == name.text }) else {
      let exists =
        record.checks.contains { $0.name == name.text }
        || table.indexes.contains {
          $0.constraint != nil && $0.name == name.text
        }
      throw exists
        ? SQLError(
          .wrongObjectType, "constraint \"\(name.text)\" of relation \"\(table.name)\" is not a foreign key constraint")
        : SQLError(
          .undefinedObject, "constraint \"\(name.text)\" of relation \"\(table.name)\" does not exist",
          position: name.position == 0 ? nil : name.position)
    }
    record.foreignKeys[place].deferrable = deferral.deferrable || deferral.initiallyDeferred
    record.foreignKeys[place].initiallyDeferred = deferral.initiallyDeferred
    try put(.table(record))
  }

  /// A column's new type must still be comparable with what the column refers to, and what refers to it.
  func checkForeignKeys(
    _ table: TableDescriptor, _ column: ColumnDescriptor, _ type: SQLType
  ) throws(SQLError) {
    func check(_ key: ForeignKey, _ own: SQLType, _ other: SQLType) throws(SQLError) {
      guard KeyConditions.isCompatible(own.id, with: other.id) else {
        throw SQLError(
          .datatypeMismatch, "foreign key constraint \"\(key.name)\" cannot be implemented",
          detail: "Key columns are of incompatible types: \(own.description) and \(other.description).")
      }
    }
    let catalog = try catalog()
    for key in table.foreignKeys {
      guard let parent = catalog.tables[key.referencedTable] else { continue }
      for (own, other) in zip(key.columns, key.referencedColumns) where own == column.number {
        let isSelf = parent.id == table.id && other == column.number
        try check(key, type, isSelf ? type : parent.column(other).type)
      }
    }
    for reference in catalog.referencing[table.id] ?? [] where reference.table != table.id {
      guard let child = catalog.tables[reference.table] else { continue }
      for (own, other) in zip(reference.key.columns, reference.key.referencedColumns) where other == column.number {
        try check(reference.key, child.column(own).type, type)
      }
    }
  }
}
