internal import Transactions

extension DefinitionRunner {
  func createTable(_ create: Syntax.CreateTable) throws(SQLError) -> String {
    if create.persistence == .temporary {
      throw SQLError(.featureNotSupported, "temporary tables are not supported", position: place(create.position))
    }
    if create.onCommit != nil {
      throw SQLError(.featureNotSupported, "ON COMMIT is not supported", position: place(create.position))
    }
    try checkHints(create.options)
    let schema = try schema(for: create.name)
    guard
      try isFree(create.name.name, schema, ifNotExists: create.ifNotExists, at: create.name.position)
    else { return "CREATE TABLE" }
    let id = try newID()
    var record = TableRecord(
      id: id, name: create.name.name, schema: schema.id, owner: try newOwner(), storage: id)
    var constraints: [Syntax.TableConstraint] = []
    var sequences: [SequenceDescriptor] = []
    for element in create.elements {
      switch element {
      case .column(let column): try add(column, to: &record, &constraints, &sequences)
      case .constraint(let constraint): constraints.append(constraint)
      case .like(let like): try copy(like, to: &record, &constraints)
      }
    }
    guard record.columns.count <= 1600 else {
      throw SQLError(.tooManyColumns, "tables can have at most 1600 columns")
    }
    try checkExpressions(record)
    try apply { changes throws(SQLError) in
      changes.put(.table(record))
      try applyDefaultAccess(.table, id, owner: record.owner, schema: schema.id, &changes)
      for sequence in sequences {
        changes.put(.sequence(sequence))
        try applyDefaultAccess(.sequence, sequence.id, owner: record.owner, schema: schema.id, &changes)
      }
    }
    try addConstraints(constraints, to: id, isNew: true)
    return "CREATE TABLE"
  }

  /// `WITH (…)`: hints that change nothing that can be seen.
  func checkHints(_ options: [Syntax.Option]) throws(SQLError) {
    for option in options {
      let name = option.name.lowercased()
      guard
        name == "fillfactor" || name.hasPrefix("autovacuum") || name.hasPrefix("toast") || name == "parallel_workers"
          || name == "deduplicate_items"
      else {
        throw SQLError(
          .invalidParameterValue, "unrecognized parameter \"\(option.name)\"", position: place(option.position))
      }
    }
  }

  // MARK: Columns

  /// Adds a column; its constraints that are the table's as well go to `constraints`.
  func add(
    _ column: Syntax.ColumnDefinition, to record: inout TableRecord, _ constraints: inout [Syntax.TableConstraint],
    _ sequences: inout [SequenceDescriptor]
  ) throws(SQLError) {
    guard !record.columns.contains(where: { !$0.isDropped && $0.name == column.name.text }) else {
      throw SQLError(
        .duplicateColumn, "column \"\(column.name.text)\" specified more than once", position: place(column.position))
    }
    if let collation = column.collation, !["C", "POSIX", "default"].contains(collation.name) {
      throw SQLError(
        .undefinedObject, "collation \"\(collation.name)\" for encoding \"UTF8\" does not exist",
        position: place(collation.position))
    }
    let serial = column.type.name.parts.count == 1 ? TypeBinding.serials[column.type.name.name] : nil
    var type = SQLType.unknown
    if let serial { type = SQLType(serial) } else { type = try TypeBinding.type(column.type) }
    guard !type.info.isPseudo, type.id != .unknown else {
      throw SQLError(
        .invalidTableDefinition, "column \"\(column.name.text)\" has pseudo-type \(type.description)",
        position: place(column.type.position))
    }
    var made = ColumnDescriptor(number: record.columns.count + 1, name: column.name.text, type: type)
    if serial != nil {
      try addSequence(&made, record, Syntax.Identity(always: false), isIdentity: false, &sequences)
      made.notNull = true
    }
    for constraint in column.constraints { try apply(constraint, to: &made, record, &constraints, &sequences) }
    record.columns.append(made)
  }

  private func apply(
    _ constraint: Syntax.ColumnConstraint, to column: inout ColumnDescriptor, _ record: TableRecord,
    _ constraints: inout [Syntax.TableConstraint], _ sequences: inout [SequenceDescriptor]
  ) throws(SQLError) {
    let name = Syntax.Name(column.name, position: constraint.position)
    func table(_ kind: Syntax.TableConstraint.Kind) {
      var made = Syntax.TableConstraint(name: constraint.name, kind: kind, position: constraint.position)
      made.deferral = constraint.deferral
      constraints.append(made)
    }
    switch constraint.kind {
    case .null:
      guard !column.notNull else {
        throw SQLError(
          .syntaxError,
          "conflicting NULL/NOT NULL declarations for column \"\(column.name)\" of table \"\(record.name)\"",
          position: place(constraint.position))
      }
    case .notNull: column.notNull = true
    case .defaultValue(let expression):
      guard column.defaultValue == nil, column.identity == nil else {
        throw SQLError(
          .syntaxError, "multiple default values specified for column \"\(column.name)\" of table \"\(record.name)\"",
          position: place(constraint.position))
      }
      column.defaultValue = try stored(expression, column)
    case .check(let expression, _): table(.check(expression, noInherit: false))
    case .unique(let nullsNotDistinct, let options):
      table(.unique([name], including: [], nullsNotDistinct: nullsNotDistinct, options: options))
    case .primaryKey(let options): table(.primaryKey([name], including: [], options: options))
    case .references(let reference): table(.foreignKey([name], reference))
    case .generated(let expression): column.generated = StoredExpression(expression)
    case .identity(let identity):
      guard column.defaultValue == nil, column.identity == nil else {
        throw SQLError(
          .syntaxError, "both default and identity specified for column \"\(column.name)\" of table \"\(record.name)\"",
          position: place(constraint.position))
      }
      guard [.int2, .int4, .int8].contains(column.type.id) else {
        throw SQLError(.invalidParameterValue, "identity column type must be smallint, integer, or bigint")
      }
      try addSequence(&column, record, identity, isIdentity: true, &sequences)
      column.notNull = true
    }
  }

  /// A default, checked: it must fit the column and name nothing of the row.
  func stored(
    _ expression: Syntax.Expression, _ column: ColumnDescriptor
  ) throws(SQLError) -> StoredExpression? {
    if case .null = expression.kind { return nil }
    let binder = try session.makeBinder()
    if expression.namesColumn {
      throw SQLError(
        .featureNotSupported, "cannot use column reference in DEFAULT expression", position: place(expression.position))
    }
    let bound = try binder.bind(expression, Scope(parent: nil), .defaultValue)
    _ = try binder.resolver.assign(bound, to: column.type, column: column.name)
    return StoredExpression(try numberingRelations(in: expression))
  }

  /// The expression with relations by their numbers where it names them in constants of type regclass, the argument of
  /// nextval() above all: what the default depends on is then known, and a new name changes nothing.
  func numberingRelations(in expression: Syntax.Expression) throws(SQLError) -> Syntax.Expression {
    let catalog = try catalog()
    let searchPath = session.searchPath
    func number(_ constant: Syntax.Expression) throws(SQLError) -> Syntax.Expression? {
      guard case .string(let text) = constant.kind else { return nil }
      guard
        let relation = try catalog.relation(try SQLParser.parseQualifiedName(text), searchPath: searchPath),
        catalog.records[relation.id] != nil
      else { return nil }
      return try SQLParser.parseExpression("\(relation.id.rawValue)::regclass")
    }
    return try expression.mapped { (node) throws(SQLError) in
      switch node.kind {
      case .cast(let inner, let type, _) where type.name.name == "regclass": return try number(inner) ?? node
      case .function(var call) where ["nextval", "currval", "setval"].contains(call.name.name):
        guard let first = call.arguments.first, let constant = try number(first.value) else { return node }
        call.arguments[0].value = constant
        var copy = node
        copy.kind = .function(call)
        return copy
      default: return node
      }
    }
  }

  func addSequence(
    _ column: inout ColumnDescriptor, _ record: TableRecord, _ identity: Syntax.Identity, isIdentity: Bool,
    _ sequences: inout [SequenceDescriptor]
  ) throws(SQLError) {
    let id = try newID()
    let name = try freeName(
      record.name, column.name, "seq", record.schema, taken: Set(sequences.map(\.name)))
    var sequence = SequenceDescriptor(
      id: id, name: name, schema: record.schema, owner: record.owner, storage: id, type: column.type)
    sequence.ownerTable = record.id
    sequence.ownerColumn = column.number
    sequence.isIdentity = isIdentity
    try configure(&sequence, identity.options, isNew: true)
    sequences.append(sequence)
    column.sequence = id
    if isIdentity {
      column.identity = identity.always ? .always : .byDefault
    } else {
      // The number, not the name: renaming the sequence changes nothing.
      column.defaultValue = try StoredExpression(text: "nextval(\(id.rawValue)::regclass)")
    }
  }

  private func copy(
    _ like: Syntax.LikeClause, to record: inout TableRecord, _ constraints: inout [Syntax.TableConstraint]
  ) throws(SQLError) {
    let source = try session.makeBinder().table(like.table, for: "copy")
    var features: Set<Syntax.LikeClause.Feature> = []
    for choice in like.choices {
      let named: [Syntax.LikeClause.Feature] =
        choice.feature == .all
        ? [.comments, .constraints, .defaults, .generated, .identity, .indexes] : [choice.feature]
      if choice.including { features.formUnion(named) } else { features.subtract(named) }
    }
    if features.contains(.identity), source.live.contains(where: { $0.identity != nil }) {
      throw SQLError(.featureNotSupported, "LIKE INCLUDING IDENTITY is not supported", position: place(like.position))
    }
    for column in source.live {
      guard !record.columns.contains(where: { $0.name == column.name }) else {
        throw SQLError(
          .duplicateColumn, "column \"\(column.name)\" specified more than once", position: place(like.position))
      }
      var copy = ColumnDescriptor(number: record.columns.count + 1, name: column.name, type: column.type)
      copy.notNull = column.notNull
      if features.contains(.defaults) { copy.defaultValue = column.defaultValue }
      if features.contains(.generated) { copy.generated = column.generated }
      record.columns.append(copy)
    }
    if features.contains(.constraints) {
      for check in source.checks {
        constraints.append(
          Syntax.TableConstraint(
            name: Syntax.Name(check.name), kind: .check(check.expression.tree, noInherit: false)))
      }
    }
    if features.contains(.indexes) {
      for index in source.indexes where index.isUnique && index.predicate == nil {
        let columns = index.keys.compactMap { key in key.column.map { Syntax.Name(source.column($0).name) } }
        guard columns.count == index.keys.count else { continue }
        let kind: Syntax.TableConstraint.Kind =
          index.isPrimary
          ? .primaryKey(columns, including: [], options: [])
          : .unique(columns, including: [], nullsNotDistinct: index.nullsNotDistinct, options: [])
        constraints.append(Syntax.TableConstraint(name: nil, kind: kind))
      }
    }
  }

  /// Binds the generated columns of a table that is being made, to find their errors.
  private func checkExpressions(_ record: TableRecord) throws(SQLError) {
    let table = TableDescriptor(record, indexes: [])
    let binder = try session.makeBinder()
    for column in table.live {
      guard let generated = column.generated else { continue }
      if column.defaultValue != nil {
        throw SQLError(
          .syntaxError,
          "both default and generation expression specified for column \"\(column.name)\" of table \"\(table.name)\"")
      }
      let bound = try binder.rowValue(generated.tree, table, .generated)
      if bound.volatility != .immutable {
        throw SQLError(.invalidObjectDefinition, "generation expression is not immutable")
      }
      for slot in bound.columnsUsed where table.columns[slot].generated != nil {
        throw SQLError(
          .invalidObjectDefinition,
          "cannot use generated column \"\(table.columns[slot].name)\" in column generation expression",
          detail: "A generated column cannot reference another generated column.")
      }
      _ = try binder.resolver.assign(bound, to: column.type, column: column.name)
    }
  }

  // MARK: CREATE TABLE AS

  func createTableAs(_ create: Syntax.CreateTableAs) throws(SQLError) -> String {
    guard create.persistence != .temporary else {
      throw SQLError(.featureNotSupported, "temporary tables are not supported", position: place(create.position))
    }
    guard case .query(let query) = create.source else {
      throw SQLError(.featureNotSupported, "CREATE TABLE AS EXECUTE is not supported", position: place(create.position))
    }
    try checkHints(create.options)
    let schema = try schema(for: create.name)
    guard try isFree(create.name.name, schema, ifNotExists: create.ifNotExists, at: create.name.position) else {
      return "CREATE TABLE AS"
    }
    let prepared = PreparedStatement(text: text, statement: .query(query), position: 0, parameterTypes: [])
    let plan = try session.plan(prepared)
    guard create.columns.count <= plan.columns.count else {
      throw SQLError(.syntaxError, "too many column names were specified")
    }
    let id = try newID()
    var record = TableRecord(
      id: id, name: create.name.name, schema: schema.id, owner: try newOwner(), storage: id)
    for (index, column) in plan.columns.enumerated() {
      let name = index < create.columns.count ? create.columns[index].text : column.name
      guard !record.columns.contains(where: { $0.name == name }) else {
        throw SQLError(.duplicateColumn, "column \"\(name)\" specified more than once")
      }
      record.columns.append(ColumnDescriptor(number: index + 1, name: name, type: column.expression.type))
    }
    let runner = try StatementRunner(plan, session)
    let table = TableDescriptor(record, indexes: [])
    try apply { changes throws(SQLError) in
      changes.put(.table(table.record))
      try applyDefaultAccess(.table, id, owner: table.owner, schema: schema.id, &changes)
    }
    guard create.withData else { return "CREATE TABLE AS" }
    let writer = try TableWriter(table, try session.makeBinder(), sequences: session.database.sequences)
    let (_, evaluator) = try makeEvaluator()
    let transaction = self.transaction
    let row = ValueBuffer(table.columns.count)
    let tag = unsafe try runner.run(session, []) { (values) throws(SQLError) in
      for index in values.indices { row[index] = unsafe values[index] }
      unsafe try writer.insert(row, transaction, &evaluator.context)
    }
    return tag
  }
}

extension Syntax.Expression {
  /// Whether a column is named anywhere outside subqueries.
  var namesColumn: Bool {
    switch kind {
    case .column: true
    case .unary(_, let a), .not(let a), .cast(let a, _, _), .isTest(let a, _, _), .collate(let a, _): a.namesColumn
    case .binary(_, let a, let b), .nullif(let a, let b): a.namesColumn || b.namesColumn
    case .and(let list), .or(let list), .coalesce(let list), .greatest(let list), .least(let list), .array(let list),
      .row(let list, _):
      list.contains(where: \.namesColumn)
    case .function(let call): call.arguments.contains { $0.value.namesColumn }
    default: false
    }
  }
}
