internal import Transactions

extension DefinitionRunner {
  func alterTable(_ alter: Syntax.AlterTable) throws(SQLError) -> String {
    let tag =
      "ALTER \(alter.kind == .table ? "TABLE" : alter.kind == .index ? "INDEX" : alter.kind == .view ? "VIEW" : "SEQUENCE")"
    guard let relation = try catalog().relation(alter.relation.name, searchPath: session.searchPath) else {
      guard alter.ifExists else { throw Binder.undefinedRelation(alter.relation.name) }
      notice(.successfulCompletion, "relation \"\(alter.relation.name.name)\" does not exist, skipping")
      return tag
    }
    guard case .table(let table) = relation else {
      for action in alter.actions {
        switch action.kind {
        case .owner(let role):
          _ = try alterOwner(Syntax.AlterOwner(kind: .view, name: alter.relation.name, owner: role))
        case .setOptions, .resetOptions, .setStatistics: continue
        default:
          throw SQLError(
            .wrongObjectType, "\"\(relation.name)\" is not a table", position: place(action.position))
        }
      }
      return tag
    }
    for action in alter.actions { try apply(action, to: table.id) }
    return tag
  }

  private func apply(_ action: Syntax.AlterAction, to id: ObjectID) throws(SQLError) {
    guard let table = try catalog().tables[id] else { return }
    switch action.kind {
    case .addColumn(let column, let ifNotExists): try addColumn(column, table, ifNotExists: ifNotExists)
    case .dropColumn(let name, let ifExists, let behavior):
      try dropColumn(name, table, ifExists: ifExists, cascade: behavior == .cascade)
    case .setDefault(let name, let expression):
      try change(name, table) { (column) throws(SQLError) in
        if column.identity != nil {
          throw SQLError(
            .syntaxError, "column \"\(column.name)\" of relation \"\(table.name)\" is an identity column")
        }
        column.defaultValue = try self.stored(expression, column)
      }
    case .dropDefault(let name): try change(name, table) { $0.defaultValue = nil }
    case .setNotNull(let name): try setNotNull(name, table)
    case .dropNotNull(let name):
      try change(name, table) { (column) throws(SQLError) in
        if table.primaryKeyColumns.contains(column.number) {
          throw SQLError(.invalidTableDefinition, "column \"\(column.name)\" is in a primary key")
        }
        if column.identity != nil {
          throw SQLError(
            .syntaxError, "column \"\(column.name)\" of relation \"\(table.name)\" is an identity column")
        }
        column.notNull = false
      }
    case .setType(let name, let type, let collation, let using):
      if let collation, !["C", "POSIX", "default"].contains(collation.name) {
        throw SQLError(.undefinedObject, "collation \"\(collation.name)\" for encoding \"UTF8\" does not exist")
      }
      try setType(name, table, try TypeBinding.type(type), using)
    case .addConstraint(let constraint): try addConstraints([constraint], to: id, isNew: false)
    case .dropConstraint(let name, let ifExists, let behavior):
      try dropConstraint(name, table, ifExists: ifExists, cascade: behavior == .cascade)
    case .validateConstraint(let name): try validateConstraint(name, table)
    case .owner(let role):
      let schema = try catalog().schema(table.schema)?.name ?? "public"
      _ = try alterOwner(
        Syntax.AlterOwner(kind: .table, name: Syntax.QualifiedName([schema, table.name]), owner: role))
    case .setOptions, .resetOptions, .setStatistics, .clusterOn, .setLogged: break
    case .dropExpression(let name, _): try change(name, table) { $0.generated = nil }
    case .addIdentity(let name, let identity): try addIdentity(name, identity, table)
    case .setIdentity(let name, let always, let options): try setIdentity(name, always, options, table)
    case .dropIdentity(let name, let ifExists): try dropIdentity(name, ifExists: ifExists, table)
    case .alterConstraint(let name, let deferral): try alterConstraint(name, deferral, table)
    }
  }

  func column(_ name: Syntax.Name, _ table: TableDescriptor) throws(SQLError) -> ColumnDescriptor {
    guard let column = table.column(named: name.text) else {
      throw SQLError(
        .undefinedColumn, "column \"\(name.text)\" of relation \"\(table.name)\" does not exist",
        position: place(name.position))
    }
    return column
  }

  /// Changes one column's description.
  private func change(
    _ name: Syntax.Name, _ table: TableDescriptor, _ body: (inout ColumnDescriptor) throws(SQLError) -> Void
  ) throws(SQLError) {
    let column = try column(name, table)
    var record = table.record
    try body(&record.columns[column.place])
    try put(.table(record))
  }

  // MARK: Columns

  private func addColumn(
    _ definition: Syntax.ColumnDefinition, _ table: TableDescriptor, ifNotExists: Bool
  ) throws(SQLError) {
    if table.column(named: definition.name.text) != nil {
      if ifNotExists {
        notice(
          .duplicateColumn,
          "column \"\(definition.name.text)\" of relation \"\(table.name)\" already exists, skipping")
        return
      }
      throw SQLError(
        .duplicateColumn, "column \"\(definition.name.text)\" of relation \"\(table.name)\" already exists")
    }
    var record = table.record
    var constraints: [Syntax.TableConstraint] = []
    var sequences: [SequenceDescriptor] = []
    try add(definition, to: &record, &constraints, &sequences)
    let place = record.columns.count - 1
    var column = record.columns[place]
    let made = sequences
    if !made.isEmpty { try apply { changes in for sequence in made { changes.put(.sequence(sequence)) } } }
    let binder = try session.makeBinder()
    let value: TypedExpression
    if let generated = column.generated {
      let provisional = TableDescriptor(record, indexes: [])
      value = try binder.resolver.assign(
        try binder.rowValue(generated.tree, provisional, .generated), to: column.type, column: column.name)
    } else {
      value = try binder.defaultValue(column)
    }
    if value.volatility == .immutable || value.volatility == .stable, column.generated == nil {
      // Rows that are there read the column as this value; they are not touched.
      column.missing = try session.evaluate([OutputColumn(name: "", expression: value)], binder)[0]
      record.columns[place] = column
      if column.notNull, column.missing.isNull { try refuseRows(table, column) }
      try put(.table(record))
    } else {
      let compiled = try CompiledExpression(value.withoutPositions)
      try rewrite(table, into: record, primary: nil) { (_, new, context) throws(SQLError) in
        new[place] = try compiled.value(new.frame, &context)
      }
    }
    try addConstraints(constraints, to: table.id, isNew: false)
  }

  /// A new NOT NULL column without a value is possible only in an empty table.
  private func refuseRows(_ table: TableDescriptor, _ column: ColumnDescriptor) throws(SQLError) {
    try lockForChange(table)
    try forEachRow(table) { (_, _) throws(SQLError) in
      throw SQLError(
        .notNullViolation, "column \"\(column.name)\" of relation \"\(table.name)\" contains null values",
        table: table.name, column: column.name)
    }
  }

  private func dropColumn(
    _ name: Syntax.Name, _ table: TableDescriptor, ifExists: Bool, cascade: Bool
  ) throws(SQLError) {
    guard let column = table.column(named: name.text) else {
      if ifExists {
        notice(
          .successfulCompletion, "column \"\(name.text)\" of relation \"\(table.name)\" does not exist, skipping")
        return
      }
      throw SQLError(
        .undefinedColumn, "column \"\(name.text)\" of relation \"\(table.name)\" does not exist",
        position: place(name.position))
    }
    let catalog = try catalog()
    let views = try self.views(reading: column, of: table)
    if let view = views.first {
      guard cascade else {
        throw SQLError(
          .dependentObjects,
          "cannot drop column \(column.name) of table \(table.name) because other objects depend on it",
          detail: "view \(view.name) depends on column \(column.name) of table \(table.name)",
          hint: "Use DROP ... CASCADE to drop the dependent objects too.")
      }
      try dropAll(views.map { .view($0) }, cascade: true)
    }
    let referring = (catalog.referencing[table.id] ?? []).filter { $0.key.referencedColumns.contains(column.number) }
    if let reference = referring.first, !cascade {
      throw SQLError(
        .dependentObjects,
        "cannot drop column \(column.name) of table \(table.name) because other objects depend on it",
        detail:
          "constraint \(reference.key.name) on table \(catalog.tables[reference.table]?.name ?? "?") depends on column \(column.name) of table \(table.name)",
        hint: "Use DROP ... CASCADE to drop the dependent objects too.")
    }
    for reference in referring { try dropForeignKey(reference.key, reference.table) }
    let binder = try session.makeBinder()
    var record = table.record
    // Constraints and indexes over the column go with it.
    record.checks.removeAll { check in
      ((try? binder.rowCondition(check.expression.tree, table, .check))?.columnsUsed.contains(column.place)) ?? false
    }
    record.foreignKeys.removeAll { $0.columns.contains(column.number) }
    let indexes = table.indexes.filter { index in
      index.keys.contains { key in
        if let number = key.column { return number == column.number }
        guard let tree = key.expression?.tree else { return false }
        return (try? binder.rowValue(tree, table, .indexExpression))?.columnsUsed.contains(column.place) ?? false
      }
        || index.predicate.map { predicate in
          (try? binder.rowCondition(predicate.tree, table, .indexPredicate))?.columnsUsed.contains(column.place)
            ?? false
        } ?? false
    }
    let sequences = catalog.sequences.filter { $0.ownerTable == table.id && $0.ownerColumn == column.number }
    let place = column.place
    record.columns[place].isDropped = true
    record.columns[place].notNull = false
    record.columns[place].defaultValue = nil
    record.columns[place].generated = nil
    record.columns[place].identity = nil
    record.columns[place].sequence = nil
    record.columns[place].missing = .null
    record.columns[place].name = "........pg.dropped.\(column.number)........"
    if let primary = indexes.first(where: \.isPrimary) {
      try rewrite(table, into: record, primary: .some(nil)) { (_, new, _) throws(SQLError) in new[place] = .null }
      let rest = indexes.filter { !$0.isPrimary }
      try apply { changes in
        changes.remove(.index(primary))
        for index in rest { changes.remove(.index(index)) }
        for sequence in sequences { changes.remove(.sequence(sequence)) }
      }
      return
    }
    let final = record
    let transaction = self.transaction
    _ = try sqlErrors { () throws(TransactionError) in
      try transaction.lock(KeySpace.object(.table, table.id), .update, .wait)
    }
    try apply { changes in
      changes.put(.table(final))
      for index in indexes { changes.remove(.index(index)) }
      for sequence in sequences { changes.remove(.sequence(sequence)) }
      changes.comment(.init(table.id, column.number), nil)
    }
    for index in indexes { try deleteAll(index.storage) }
  }

  private func dropForeignKey(_ key: ForeignKey, _ id: ObjectID) throws(SQLError) {
    guard let table = try catalog().tables[id] else { return }
    var record = table.record
    record.foreignKeys.removeAll { $0.id == key.id }
    try put(.table(record))
  }

  private func setNotNull(_ name: Syntax.Name, _ table: TableDescriptor) throws(SQLError) {
    let column = try column(name, table)
    try lockForChange(table)
    try forEachRow(table) { (row, _) throws(SQLError) in
      if row[column.place].isNull {
        throw SQLError(
          .notNullViolation, "column \"\(column.name)\" of relation \"\(table.name)\" contains null values",
          table: table.name, column: column.name)
      }
    }
    try change(name, table) { $0.notNull = true }
  }

  private func setType(
    _ name: Syntax.Name, _ table: TableDescriptor, _ type: SQLType, _ using: Syntax.Expression?
  ) throws(SQLError) {
    let column = try column(name, table)
    if let view = try views(reading: column, of: table).first {
      throw SQLError(
        .featureNotSupported, "cannot alter type of a column used by a view or rule",
        detail: "rule _RETURN on view \(view.name) depends on column \"\(column.name)\"")
    }
    if column.type == type, using == nil { return }
    let binder = try session.makeBinder()
    let value: TypedExpression
    if let using {
      let bound = try binder.bind(using, binder.rowScope(table), .alterUsing)
      guard bound.type.id == .unknown || binder.resolver.canCoerce(bound.type.id, to: type.id, .assignment) else {
        throw SQLError(
          .datatypeMismatch,
          "result of USING clause for column \"\(column.name)\" cannot be cast automatically to type \(type.description)",
          hint: "You might need to add an explicit cast.")
      }
      value = try binder.resolver.coerce(bound, to: type, .assignment)
    } else {
      guard binder.resolver.canCoerce(column.type.id, to: type.id, .assignment) else {
        throw SQLError(
          .datatypeMismatch, "column \"\(column.name)\" cannot be cast automatically to type \(type.description)",
          hint: "You might need to specify \"USING \(column.name)::\(type.description)\".")
      }
      value = try binder.resolver.coerce(.column(column.place, column.type), to: type, .assignment)
    }
    var record = table.record
    record.columns[column.place].type = type
    record.columns[column.place].defaultValue = try defaultRetyped(column, to: type, binder)
    try checkOrderableKeys(table, column, type)
    try checkForeignKeys(table, column, type)
    record.columns[column.place].missing = .null
    var primary: IndexDescriptor?? = nil
    func retyped(_ index: IndexDescriptor) -> IndexDescriptor {
      var copy = index
      for position in copy.keys.indices where copy.keys[position].column == column.number {
        copy.keys[position].type = type
      }
      return copy
    }
    if let index = table.primaryIndex { primary = .some(retyped(index)) }
    let retypedTable = TableDescriptor(table.record, indexes: table.indexes.map(retyped))
    let source = RetypedTable(rows: table, indexes: retypedTable)
    let compiled = try CompiledExpression(value.withoutPositions)
    let place = column.place
    try rewrite(source.descriptor, into: record, primary: primary) { (old, new, context) throws(SQLError) in
      new[place] = try compiled.value(old.frame, &context)
    }
  }

  /// The column's default for its new type: what it was in the old one, cast.
  private func defaultRetyped(
    _ column: ColumnDescriptor, to type: SQLType, _ binder: Binder
  ) throws(SQLError) -> StoredExpression? {
    guard let stored = column.defaultValue else { return nil }
    let bound = try binder.bind(stored.tree, Scope(parent: nil), .defaultValue)
    // A constant without a type of its own has the column's.
    let isLiteral = bound.type.id == .unknown
    let source = isLiteral ? column.type.id : bound.type.id
    guard binder.resolver.canCoerce(source, to: type.id, .assignment) else {
      throw SQLError(
        .datatypeMismatch,
        "default for column \"\(column.name)\" cannot be cast automatically to type \(type.description)")
    }
    let changes = isLiteral && (source.info.category != .string || type.id.info.category != .string)
    return changes ? try StoredExpression(text: "(\(stored.text))::\(column.type.description)") : stored
  }

  /// The views whose queries name the column, themselves or through other views.
  func views(reading column: ColumnDescriptor, of table: TableDescriptor) throws(SQLError) -> [ViewDescriptor] {
    var found: [ViewDescriptor] = []
    for view in try catalog().views where view.dependencies.contains(table.id) {
      let binder = try session.makeBinder()
      binder.searchPath = view.searchPath
      binder.columnsUsed = [:]
      _ = try binder.bind(view.query, parent: nil)
      if binder.columnsUsed?[table.id]?.contains(column.number) ?? false { found.append(view) }
    }
    return found
  }

  /// The table as its rows are stored, with the indexes as they will be.
  private struct RetypedTable {
    let descriptor: TableDescriptor
    init(rows: TableDescriptor, indexes: TableDescriptor) {
      descriptor = TableDescriptor(rows.record, indexes: indexes.indexes)
    }
  }

  private func checkOrderableKeys(
    _ table: TableDescriptor, _ column: ColumnDescriptor, _ type: SQLType
  ) throws(SQLError) {
    guard table.indexes.contains(where: { $0.keys.contains { $0.column == column.number } }) else { return }
    try checkOrderable(type, at: 0)
  }

  // MARK: Constraints

  private func dropConstraint(
    _ name: Syntax.Name, _ table: TableDescriptor, ifExists: Bool, cascade: Bool
  ) throws(SQLError) {
    var record = table.record
    if record.checks.contains(where: { $0.name == name.text }) {
      record.checks.removeAll { $0.name == name.text }
      try put(.table(record))
      return
    }
    if record.foreignKeys.contains(where: { $0.name == name.text }) {
      let parents = record.foreignKeys.filter { $0.name == name.text }.map(\.referencedTable)
      record.foreignKeys.removeAll { $0.name == name.text }
      let catalog = try catalog()
      let final = record
      try apply { changes in
        for parent in parents where parent != table.id {
          if let descriptor = catalog.tables[parent] { changes.put(.table(descriptor.record)) }
        }
        changes.put(.table(final))
      }
      return
    }
    guard let index = table.indexes.first(where: { $0.constraint != nil && $0.name == name.text }) else {
      if ifExists {
        notice(
          .successfulCompletion,
          "constraint \"\(name.text)\" of relation \"\(table.name)\" does not exist, skipping")
        return
      }
      throw SQLError(
        .undefinedObject, "constraint \"\(name.text)\" of relation \"\(table.name)\" does not exist",
        position: place(name.position))
    }
    let catalog = try catalog()
    for reference in catalog.referencing[table.id] ?? [] where reference.key.referencedIndex == index.id {
      guard cascade else {
        throw SQLError(
          .dependentObjects,
          "cannot drop constraint \(index.name) on table \(table.name) because other objects depend on it",
          detail:
            "constraint \(reference.key.name) on table \(catalog.tables[reference.table]?.name ?? "?") depends on index \(index.name)",
          hint: "Use DROP ... CASCADE to drop the dependent objects too.")
      }
      try dropForeignKey(reference.key, reference.table)
    }
    if index.isPrimary {
      try rewrite(table, into: record, primary: .some(nil))
      try apply { $0.remove(.index(index)) }
    } else {
      try apply { changes in
        changes.put(.table(table.record))
        changes.remove(.index(index))
      }
      try deleteAll(index.storage)
    }
  }

  private func validateConstraint(_ name: Syntax.Name, _ table: TableDescriptor) throws(SQLError) {
    var record = table.record
    if let index = record.foreignKeys.firstIndex(where: { $0.name == name.text }) {
      guard let parent = try catalog().tables[record.foreignKeys[index].referencedTable] else { return }
      try lockForChange(table)
      try validate(record.foreignKeys[index], table, parent)
      record.foreignKeys[index].isValidated = true
    } else if let index = record.checks.firstIndex(where: { $0.name == name.text }) {
      try lockForChange(table)
      let check = record.checks[index]
      let bound = try session.makeBinder().rowCondition(check.expression.tree, table, .check)
      let test = try CompiledExpression(bound.withoutPositions)
      let (_, evaluator) = try makeEvaluator()
      try forEachRow(table) { (row, _) throws(SQLError) in
        let result = unsafe try test.value(row.frame, &evaluator.context)
        guard result.isNull || result.bool else {
          throw SQLError(
            .checkViolation, "check constraint \"\(check.name)\" of relation \"\(table.name)\" is violated by some row",
            table: table.name, constraint: check.name)
        }
      }
      record.checks[index].isValidated = true
    } else {
      throw SQLError(
        .undefinedObject, "constraint \"\(name.text)\" of relation \"\(table.name)\" does not exist")
    }
    try put(.table(record))
  }
}
