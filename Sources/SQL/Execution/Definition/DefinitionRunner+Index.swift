internal import Transactions

extension DefinitionRunner {
  func createIndex(_ create: Syntax.CreateIndex) throws(SQLError) -> String {
    let binder = try session.makeBinder()
    let table = try binder.table(create.table.name, for: "create index on")
    if let method = create.method, method.text != "btree" {
      throw SQLError(
        .featureNotSupported, "access method \"\(method.text)\" is not supported", position: place(method.position))
    }
    if create.concurrently, session.block == .explicit {
      throw SQLError(.activeTransaction, "CREATE INDEX CONCURRENTLY cannot run inside a transaction block")
    }
    if let first = create.including.first {
      throw SQLError(.featureNotSupported, "INCLUDE is not supported", position: place(first.position))
    }
    try checkHints(create.options)
    var keys: [IndexKey] = []
    var labels: [String] = []
    for element in create.elements {
      let key = try self.key(element, table, binder)
      keys.append(key)
      labels.append(key.column.map { table.column($0).name } ?? expressionLabel(key))
    }
    guard keys.count <= 32 else { throw SQLError(.tooManyColumns, "cannot use more than 32 columns in an index") }
    let name: String
    if let given = create.name {
      name = given.text
      if try catalog().relation(name, in: table.schema) != nil {
        guard create.ifNotExists else { throw SQLError(.duplicateTable, "relation \"\(name)\" already exists") }
        notice(.duplicateTable, "relation \"\(name)\" already exists, skipping")
        return "CREATE INDEX"
      }
    } else {
      name = try freeName(table.name, labels.joined(separator: "_"), "idx", table.schema)
    }
    let id = try newID()
    var index = IndexDescriptor(
      id: id, name: name, schema: table.schema, table: table.id, storage: id, isUnique: create.unique,
      nullsNotDistinct: create.nullsNotDistinct, keys: keys)
    if let condition = create.condition {
      let bound = try binder.rowCondition(condition, table, .indexPredicate)
      guard bound.volatility == .immutable else {
        throw SQLError(
          .invalidObjectDefinition, "functions in index predicate must be marked IMMUTABLE",
          position: place(condition.position))
      }
      index.predicate = StoredExpression(condition)
    }
    try build(index, on: table, isNew: false)
    return "CREATE INDEX"
  }

  private func expressionLabel(_ key: IndexKey) -> String {
    guard let tree = key.expression?.tree, case let name = outputName(tree), name != "?column?" else { return "expr" }
    return name
  }

  private func key(
    _ element: Syntax.IndexElement, _ table: TableDescriptor, _ binder: Binder
  ) throws(SQLError) -> IndexKey {
    if let collation = element.collation, !["C", "POSIX", "default"].contains(collation.name) {
      throw SQLError(
        .undefinedObject, "collation \"\(collation.name)\" for encoding \"UTF8\" does not exist",
        position: place(collation.position))
    }
    if let operators = element.operatorClass {
      // Text is ordered by its bytes, which is what the pattern classes are for.
      guard operators.name.hasSuffix("_ops"), !operators.name.contains("gin"), !operators.name.contains("gist") else {
        throw SQLError(
          .undefinedObject, "operator class \"\(operators.name)\" does not exist for access method \"btree\"",
          position: place(operators.position))
      }
    }
    let descending = element.descending ?? false
    let nullsFirst = element.nulls.map { $0 == .first } ?? descending
    switch element.key {
    case .column(let name):
      guard let column = table.column(named: name) else {
        throw SQLError(.undefinedColumn, "column \"\(name)\" does not exist", position: place(element.position))
      }
      try checkOrderable(column.type, at: element.position)
      return IndexKey(column: column.number, type: column.type, descending: descending, nullsFirst: nullsFirst)
    case .expression(let expression):
      let bound = try binder.rowValue(expression, table, .indexExpression)
      guard bound.volatility == .immutable else {
        throw SQLError(
          .invalidObjectDefinition, "functions in index expression must be marked IMMUTABLE",
          position: place(element.position))
      }
      if let slot = bound.columnSlot {
        return IndexKey(column: slot + 1, type: bound.type, descending: descending, nullsFirst: nullsFirst)
      }
      try checkOrderable(bound.type, at: element.position)
      return IndexKey(
        expression: StoredExpression(expression), type: bound.type, descending: descending, nullsFirst: nullsFirst)
    }
  }

  /// Adds an index to a table: its record, and an entry for every row.
  func build(_ index: IndexDescriptor, on table: TableDescriptor, isNew: Bool) throws(SQLError) {
    if !isNew { try lockForChange(table) }
    let record = table.record
    try apply { changes in
      changes.put(.table(record))
      changes.put(.index(index))
    }
    if !isNew { try fill(index, table.id) }
  }

  /// Writes the entries of an index for the rows that are there.
  func fill(_ index: IndexDescriptor, _ id: ObjectID) throws(SQLError) {
    guard let table = try catalog().tables[id] else { return }
    let writer = try TableWriter(table, try session.makeBinder(), sequences: session.database.sequences)
    let (_, evaluator) = try makeEvaluator()
    let builder = IndexBuilder()
    func write() throws(SQLError) {
      try builder.write(transaction) { key, value in
        unsafe writer.duplicate(index, key: key, value: value, transaction, &evaluator.context)
      }
    }
    try forEachRow(table) { (row, key) throws(SQLError) in
      evaluator.arena.reset()
      unsafe try writer.index(index, row, rowKey: key, builder, &evaluator.context)
      if builder.isFull { try write() }
    }
    try write()
  }

  func reindex(_ reindex: Syntax.Reindex) throws(SQLError) -> String {
    let catalog = try catalog()
    var indexes: [IndexDescriptor] = []
    switch reindex.kind {
    case .index:
      guard case .index(let index)? = try catalog.relation(reindex.name, searchPath: session.searchPath) else {
        throw SQLError(
          .undefinedTable, "index \"\(reindex.name.name)\" does not exist", position: place(reindex.name.position))
      }
      indexes = [index]
    case .table: indexes = try session.makeBinder().table(reindex.name, for: "reindex").indexes
    case .schema:
      guard let schema = catalog.schema(named: reindex.name.name) else {
        throw SQLError(.invalidSchema, "schema \"\(reindex.name.name)\" does not exist")
      }
      indexes = catalog.indexes.filter { $0.schema == schema.id }
    case .database, .system: indexes = catalog.indexes
    }
    for index in indexes where !index.isPrimary {
      guard let table = try self.catalog().tables[index.table] else { continue }
      try lockForChange(table)
      var fresh = index
      fresh.storage = try newID()
      let record = table.record
      try apply { changes in
        changes.put(.table(record))
        changes.put(.index(fresh))
      }
      try fill(fresh, table.id)
      try deleteAll(index.storage)
    }
    return "REINDEX"
  }

  // MARK: Rewriting

  /// Writes every row of `table` anew, as `record` says and under the given primary key; all indexes are built again.
  ///
  /// - Parameter transform: the new row of an old one; nil: the same columns.
  func rewrite(
    _ table: TableDescriptor, into changed: TableRecord, primary: IndexDescriptor??,
    transform: ((ValueBuffer, ValueBuffer, inout EvaluationContext) throws(SQLError) -> Void)? = nil
  ) throws(SQLError) {
    try lockForChange(table)
    var record = changed
    record.storage = try newID()
    var newPrimary = primary ?? table.primaryIndex
    newPrimary?.storage = record.storage
    var secondary: [IndexDescriptor] = []
    for index in table.secondaryIndexes {
      var fresh = index
      fresh.storage = try newID()
      secondary.append(fresh)
    }
    let final = record
    let all = (newPrimary.map { [$0] } ?? []) + secondary
    let target = TableDescriptor(final, indexes: all)
    // The rows are read through the old descriptor before the catalog changes.
    let writer = try TableWriter(target, try session.makeBinder(), sequences: session.database.sequences)
    writer.isBulk = true
    let (_, evaluator) = try makeEvaluator()
    let transaction = self.transaction
    let fresh = ValueBuffer(target.columns.count)
    try forEachRow(table) { (row, _) throws(SQLError) in
      evaluator.arena.reset()
      for place in 0..<fresh.count { fresh[place] = place < row.count ? row[place] : .null }
      if let transform { unsafe try transform(row, fresh, &evaluator.context) }
      unsafe try writer.insert(fresh, transaction, &evaluator.context)
    }
    try apply { changes in
      changes.put(.table(final))
      for index in all { changes.put(.index(index)) }
    }
    session.database.statistics.set(
      final.storage, session.database.statistics.find(table.storage) ?? TableStatistics(rows: 1000))
    try deleteAll(table.storage)
    for index in table.secondaryIndexes { try deleteAll(index.storage) }
  }
}
