internal import Transactions

extension DefinitionRunner {
  /// Adds constraints to a table, the primary key first: the others may refer to it.
  func addConstraints(
    _ constraints: [Syntax.TableConstraint], to id: ObjectID, isNew: Bool
  ) throws(SQLError) {
    func rank(_ constraint: Syntax.TableConstraint) -> Int {
      switch constraint.kind {
      case .primaryKey, .primaryKeyUsingIndex: 0
      case .unique, .uniqueUsingIndex: 1
      case .check: 2
      case .foreignKey: 3
      }
    }
    for constraint in constraints.enumerated().sorted(by: {
      (rank($0.element), $0.offset) < (rank($1.element), $1.offset)
    }) {
      try add(constraint.element, to: id, isNew: isNew)
    }
  }

  private func table(_ id: ObjectID) throws(SQLError) -> TableDescriptor {
    guard let table = try catalog().tables[id] else { throw SQLError(.internalError, "table \(id) is not there") }
    return table
  }

  private func constraintNames(_ table: TableDescriptor) -> Set<String> {
    Set(
      table.checks.map(\.name) + table.foreignKeys.map(\.name)
        + table.indexes.filter { $0.constraint != nil }.map(\.name))
  }

  private func add(
    _ constraint: Syntax.TableConstraint, to id: ObjectID, isNew: Bool
  ) throws(SQLError) {
    let table = try table(id)
    if let name = constraint.name, constraintNames(table).contains(name.text) {
      throw SQLError(
        .duplicateObject, "constraint \"\(name.text)\" for relation \"\(table.name)\" already exists",
        position: place(name.position))
    }
    switch constraint.kind {
    case .primaryKey(let columns, let including, let options):
      try refuseIncluding(including)
      try checkHints(options)
      try addPrimaryKey(constraint, columns, table, isNew: isNew)
    case .unique(let columns, let including, let nullsNotDistinct, let options):
      try refuseIncluding(including)
      try checkHints(options)
      try addUnique(constraint, columns, table, nullsNotDistinct: nullsNotDistinct, isNew: isNew)
    case .check(let expression, _): try addCheck(constraint, expression, table, isNew: isNew)
    case .foreignKey(let columns, let reference):
      try addForeignKey(constraint, columns, reference, table, isNew: isNew)
    case .uniqueUsingIndex, .primaryKeyUsingIndex:
      throw SQLError(
        .featureNotSupported, "constraints USING INDEX are not supported", position: place(constraint.position))
    }
  }

  private func refuseIncluding(_ names: [Syntax.Name]) throws(SQLError) {
    guard let first = names.first else { return }
    throw SQLError(.featureNotSupported, "INCLUDE is not supported", position: place(first.position))
  }

  private func keys(
    _ names: [Syntax.Name], _ table: TableDescriptor, _ what: String
  ) throws(SQLError) -> [IndexKey] {
    guard names.count <= 32 else {
      throw SQLError(.tooManyColumns, "cannot have more than 32 keys in an index")
    }
    var keys: [IndexKey] = []
    for name in names {
      guard let column = table.column(named: name.text) else {
        throw SQLError(
          .undefinedColumn, "column \"\(name.text)\" named in key does not exist", position: place(name.position))
      }
      guard !keys.contains(where: { $0.column == column.number }) else {
        throw SQLError(
          .duplicateColumn, "column \"\(name.text)\" appears twice in \(what) constraint",
          position: place(name.position))
      }
      try checkOrderable(column.type, at: name.position)
      keys.append(IndexKey(column: column.number, type: column.type))
    }
    return keys
  }

  func checkOrderable(_ type: SQLType, at position: Int) throws(SQLError) {
    guard KeyColumn(type).isOrderable else {
      throw SQLError(
        .undefinedObject,
        "data type \(type.description) has no default operator class for access method \"btree\"",
        hint: "You must specify an operator class for the index or define a default operator class for the data type.",
        position: place(position))
    }
  }

  private func addPrimaryKey(
    _ constraint: Syntax.TableConstraint, _ columns: [Syntax.Name], _ table: TableDescriptor, isNew: Bool
  ) throws(SQLError) {
    guard table.primaryIndex == nil else {
      throw SQLError(
        .invalidTableDefinition, "multiple primary keys for table \"\(table.name)\" are not allowed",
        position: place(constraint.position))
    }
    if constraint.deferral.deferrable {
      throw SQLError(
        .featureNotSupported, "deferrable unique constraints are not supported", position: place(constraint.position))
    }
    let keys = try keys(columns, table, "primary key")
    var name = constraint.name?.text ?? ""
    if constraint.name == nil { name = try freeName(table.name, nil, "pkey", table.schema) }
    if constraint.name != nil, try catalog().relation(name, in: table.schema) != nil {
      throw SQLError(.duplicateTable, "relation \"\(name)\" already exists")
    }
    var record = table.record
    for key in keys { record.columns[key.column! - 1].notNull = true }
    let index = IndexDescriptor(
      id: try newID(), name: name, schema: table.schema, table: table.id, storage: record.storage, isUnique: true,
      isPrimary: true, constraint: try newID(), keys: keys)
    if isNew {
      try apply { changes in
        changes.put(.table(record))
        changes.put(.index(index))
      }
    } else {
      try rewrite(table, into: record, primary: .some(index))
    }
  }

  private func addUnique(
    _ constraint: Syntax.TableConstraint, _ columns: [Syntax.Name], _ table: TableDescriptor, nullsNotDistinct: Bool,
    isNew: Bool
  ) throws(SQLError) {
    if constraint.deferral.deferrable {
      throw SQLError(
        .featureNotSupported, "deferrable unique constraints are not supported", position: place(constraint.position))
    }
    let keys = try keys(columns, table, "unique")
    let joined = columns.map(\.text).joined(separator: "_")
    var name = constraint.name?.text ?? ""
    if constraint.name == nil { name = try freeName(table.name, joined, "key", table.schema) }
    if constraint.name != nil, try catalog().relation(name, in: table.schema) != nil {
      throw SQLError(.duplicateTable, "relation \"\(name)\" already exists")
    }
    let id = try newID()
    let index = IndexDescriptor(
      id: id, name: name, schema: table.schema, table: table.id, storage: id, isUnique: true,
      constraint: try newID(), nullsNotDistinct: nullsNotDistinct, keys: keys)
    try build(index, on: table, isNew: isNew)
  }

  private func addCheck(
    _ constraint: Syntax.TableConstraint, _ expression: Syntax.Expression, _ table: TableDescriptor, isNew: Bool
  ) throws(SQLError) {
    let binder = try session.makeBinder()
    let bound = try binder.rowCondition(expression, table, .check)
    let used = bound.columnsUsed
    let name: String
    if let given = constraint.name {
      name = given.text
    } else {
      let single = used.count == 1 ? table.columns[used.first!].name : nil
      name = try freeName(table.name, single, "check", table.schema, taken: constraintNames(table))
    }
    var record = table.record
    record.checks.append(
      CheckConstraint(
        id: try newID(), name: name, expression: StoredExpression(expression), isValidated: !constraint.notValid))
    if !isNew, !constraint.notValid {
      try lockForChange(table)
      let test = try CompiledExpression(bound.withoutPositions)
      let (_, evaluator) = try makeEvaluator()
      try forEachRow(table) { (row, _) throws(SQLError) in
        evaluator.arena.reset()
        let result = unsafe try test.value(row.frame, &evaluator.context)
        guard result.isNull || result.bool else {
          throw SQLError(
            .checkViolation,
            "check constraint \"\(name)\" of relation \"\(table.name)\" is violated by some row", table: table.name,
            constraint: name)
        }
      }
    }
    try put(.table(record))
  }

  // MARK: Foreign keys

  private func addForeignKey(
    _ constraint: Syntax.TableConstraint, _ names: [Syntax.Name], _ reference: Syntax.Reference,
    _ table: TableDescriptor, isNew: Bool
  ) throws(SQLError) {
    let binder = try session.makeBinder()
    let parent = try binder.table(reference.table, for: "reference")
    var columns: [Int] = []
    for name in names {
      guard let column = table.column(named: name.text) else {
        throw SQLError(
          .undefinedColumn, "column \"\(name.text)\" referenced in foreign key constraint does not exist",
          position: place(name.position))
      }
      columns.append(column.number)
    }
    var referenced: [Int] = []
    if reference.columns.isEmpty {
      referenced = parent.primaryKeyColumns
      guard !referenced.isEmpty else {
        throw SQLError(
          .undefinedObject, "there is no primary key for referenced table \"\(parent.name)\"",
          position: place(reference.table.position))
      }
    }
    for name in reference.columns {
      guard let column = parent.column(named: name.text) else {
        throw SQLError(
          .undefinedColumn, "column \"\(name.text)\" referenced in foreign key constraint does not exist",
          position: place(name.position))
      }
      referenced.append(column.number)
    }
    guard columns.count == referenced.count else {
      throw SQLError(
        SQLState(rawValue: "42830"), "number of referencing and referenced columns for foreign key disagree",
        position: place(constraint.position))
    }
    guard
      let index = parent.indexes.first(where: {
        $0.isUnique && $0.predicate == nil && $0.keys.allSatisfy { $0.column != nil }
          && Set($0.keys.compactMap(\.column)) == Set(referenced)
      })
    else {
      throw SQLError(
        SQLState(rawValue: "42830"),
        "there is no unique constraint matching given keys for referenced table \"\(parent.name)\"",
        position: place(reference.table.position))
    }
    let joined = names.map(\.text).joined(separator: "_")
    var name = constraint.name?.text ?? ""
    if constraint.name == nil {
      name = try freeName(table.name, joined, "fkey", table.schema, taken: constraintNames(table))
    }
    for (own, other) in zip(columns, referenced) {
      let a = table.column(own).type
      let b = parent.column(other).type
      guard KeyConditions.isCompatible(a.id, with: b.id) else {
        throw SQLError(
          .datatypeMismatch, "foreign key constraint \"\(name)\" cannot be implemented",
          detail:
            "Key columns \"\(table.column(own).name)\" and \"\(parent.column(other).name)\" are of incompatible types: \(a.description) and \(b.description).",
          position: place(constraint.position))
      }
    }
    try session.require(.references, on: parent, columns: referenced)
    var key = ForeignKey(
      id: try newID(), name: name, columns: columns, referencedTable: parent.id, referencedColumns: referenced,
      referencedIndex: index.id)
    key.matchFull = reference.match == .full
    (key.onDelete, key.setColumns) = try action(reference.onDelete, table)
    key.onUpdate = try action(reference.onUpdate, table).0
    key.deferrable = constraint.deferral.deferrable || constraint.deferral.initiallyDeferred
    key.initiallyDeferred = constraint.deferral.initiallyDeferred
    key.isValidated = !constraint.notValid
    if !isNew, !constraint.notValid {
      try lockForChange(table)
      try validate(key, table, parent)
    }
    var record = table.record
    record.foreignKeys.append(key)
    // The parent's record is written too: those who change its rows must plan anew, and look at the children from now on.
    let parentRecord = parent.record
    try apply { changes in
      if parent.id != table.id { changes.put(.table(parentRecord)) }
      changes.put(.table(record))
    }
  }

  private func action(
    _ action: Syntax.Reference.Action, _ table: TableDescriptor
  ) throws(SQLError) -> (ForeignKey.Action, [Int]) {
    func numbers(_ names: [Syntax.Name]) throws(SQLError) -> [Int] {
      var numbers: [Int] = []
      for name in names {
        guard let column = table.column(named: name.text) else {
          throw SQLError(
            .undefinedColumn, "column \"\(name.text)\" referenced in foreign key constraint does not exist",
            position: place(name.position))
        }
        numbers.append(column.number)
      }
      return numbers
    }
    switch action {
    case .noAction: return (.noAction, [])
    case .restrict: return (.restrict, [])
    case .cascade: return (.cascade, [])
    case .setNull(let names): return (.setNull, try numbers(names))
    case .setDefault(let names): return (.setDefault, try numbers(names))
    }
  }

  /// Checks every row of `table` against a new foreign key.
  func validate(_ key: ForeignKey, _ table: TableDescriptor, _ parent: TableDescriptor) throws(SQLError) {
    var checks: [PendingCheck] = []
    let session = self.session
    let transaction = self.transaction
    try forEachRow(table) { (row, _) throws(SQLError) in
      let values = key.columns.map { row[$0 - 1] }
      let nulls = values.filter(\.isNull).count
      if nulls == values.count || (nulls > 0 && !key.matchFull) { return }
      checks.append(
        PendingCheck(kind: .reference(table, key, values.map { Datum($0) }), isDeferred: false))
      if checks.count >= 1024 {
        try session.runChecks(checks, transaction)
        checks.removeAll(keepingCapacity: true)
      }
    }
    try session.runChecks(checks, transaction)
  }
}
