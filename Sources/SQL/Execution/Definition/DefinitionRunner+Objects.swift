internal import Transactions

extension DefinitionRunner {
  // MARK: Views

  func createView(_ create: Syntax.CreateView) throws(SQLError) -> String {
    if create.temporary {
      throw SQLError(.featureNotSupported, "temporary views are not supported", position: place(create.position))
    }
    if create.checkOption != nil {
      throw SQLError(.featureNotSupported, "WITH CHECK OPTION is not supported", position: place(create.position))
    }
    let schema = try schema(for: create.name)
    var query = create.query
    if create.recursive {
      guard !create.columns.isEmpty else {
        throw SQLError(.syntaxError, "CREATE RECURSIVE VIEW needs a list of columns", position: place(create.position))
      }
      let inner = query
      var select = Syntax.Select()
      select.targets = create.columns.map {
        Syntax.Target(expression: Syntax.Expression(.column([$0.text]), 0))
      }
      select.from = [
        .relation(
          Syntax.RelationReference(relation: Syntax.RelationName(name: Syntax.QualifiedName([create.name.name]))))
      ]
      let table = Syntax.CommonTable(
        name: Syntax.Name(create.name.name), columns: create.columns, statement: .query(inner))
      query = Syntax.Query(with: Syntax.With(recursive: true, tables: [table]), body: .select(select))
    }
    let binder = try session.makeBinder()
    binder.starNames = [:]
    let bound = try binder.bind(query, parent: nil)
    // Columns that come later are not the view's.
    query = query.expandingStars(binder.starNames ?? [:])
    guard create.columns.count <= bound.columns.count else {
      throw SQLError(.syntaxError, "CREATE VIEW specifies more column names than columns")
    }
    guard binder.resolver.parameterTypes.isEmpty else {
      throw SQLError(.undefinedParameter, "there is no parameter $1")
    }
    var columns: [ViewColumn] = []
    for (index, column) in bound.columns.enumerated() {
      let name = index < create.columns.count ? create.columns[index].text : column.name
      guard !columns.contains(where: { $0.name == name }) else {
        throw SQLError(.duplicateColumn, "column \"\(name)\" specified more than once")
      }
      columns.append(ViewColumn(name: name, type: try binder.resolver.settle(column.expression).type))
    }
    var id: ObjectID?
    var owner = try newOwner()
    if let existing = try catalog().relation(create.name.name, in: schema.id) {
      guard create.orReplace else {
        throw SQLError(.duplicateTable, "relation \"\(create.name.name)\" already exists")
      }
      guard case .view(let old) = existing else {
        throw SQLError(.wrongObjectType, "\"\(create.name.name)\" is not a view")
      }
      guard try session.rights().owns(old.owner) else { throw Rights.notOwner("view", old.name) }
      try checkReplaceable(old, columns)
      id = old.id
      owner = old.owner
    }
    var writer = SQLWriter()
    writer.query(query)
    var final = ObjectID(0)
    if let id { final = id } else { final = try newID() }
    let view = ViewDescriptor(
      id: final, name: create.name.name, schema: schema.id, owner: owner, columns: columns, text: writer.text,
      query: query, searchPath: session.searchPath,
      dependencies: binder.relationsUsed.union(binder.resolver.relationsNamed).sorted())
    try apply { changes throws(SQLError) in
      changes.put(.view(view))
      if id == nil { try applyDefaultAccess(.table, final, owner: owner, schema: schema.id, &changes) }
    }
    return "CREATE VIEW"
  }

  private func checkReplaceable(_ old: ViewDescriptor, _ columns: [ViewColumn]) throws(SQLError) {
    guard columns.count >= old.columns.count else {
      throw SQLError(.invalidTableDefinition, "cannot drop columns from view")
    }
    for (had, has) in zip(old.columns, columns) {
      guard had.name == has.name else {
        throw SQLError(
          .invalidTableDefinition, "cannot change name of view column \"\(had.name)\" to \"\(has.name)\"",
          hint: "Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.")
      }
      guard had.type.id == has.type.id else {
        throw SQLError(
          .invalidTableDefinition,
          "cannot change data type of view column \"\(had.name)\" from \(had.type.description) to \(has.type.description)"
        )
      }
    }
  }

  // MARK: Sequences

  func createSequence(_ create: Syntax.CreateSequence) throws(SQLError) -> String {
    if create.persistence == .temporary {
      throw SQLError(.featureNotSupported, "temporary sequences are not supported", position: place(create.position))
    }
    let schema = try schema(for: create.name)
    guard try isFree(create.name.name, schema, ifNotExists: create.ifNotExists, at: create.name.position) else {
      return "CREATE SEQUENCE"
    }
    let id = try newID()
    var sequence = SequenceDescriptor(
      id: id, name: create.name.name, schema: schema.id, owner: try newOwner(), storage: id)
    try configure(&sequence, create.options, isNew: true)
    let final = sequence
    try apply { changes throws(SQLError) in
      changes.put(.sequence(final))
      try applyDefaultAccess(.sequence, id, owner: final.owner, schema: schema.id, &changes)
    }
    return "CREATE SEQUENCE"
  }

  /// Applies options to a sequence, with PostgreSQL's checks.
  func configure(
    _ sequence: inout SequenceDescriptor, _ options: [Syntax.SequenceOption], isNew: Bool
  ) throws(SQLError) {
    func number(_ text: String, _ position: Int) throws(SQLError) -> Int64 {
      guard let value = Int64(text) else {
        throw SQLError(
          .numericOutOfRange, "value \"\(text)\" is out of range for type bigint", position: place(position))
      }
      return value
    }
    var minimum: String??
    var maximum: String??
    var start: Int64?
    var restart: String??
    for option in options {
      let position = option.position
      switch option.kind {
      case .type(let name):
        let type = try TypeBinding.type(name)
        guard [.int2, .int4, .int8].contains(type.id) else {
          throw SQLError(.invalidParameterValue, "sequence type must be smallint, integer, or bigint")
        }
        sequence.type = type
      case .increment(let text):
        sequence.increment = try number(text, position)
        guard sequence.increment != 0 else {
          throw SQLError(.invalidParameterValue, "INCREMENT must not be zero", position: place(position))
        }
      case .minimum(let text): minimum = .some(text)
      case .maximum(let text): maximum = .some(text)
      case .start(let text): start = try number(text, position)
      case .restart(let text): restart = .some(text)
      case .cache(let text):
        sequence.cache = try number(text, position)
        guard sequence.cache > 0 else {
          throw SQLError(.invalidParameterValue, "CACHE (\(text)) must be greater than zero", position: place(position))
        }
      case .cycle(let cycles): sequence.cycles = cycles
      case .ownedBy(let name): try own(&sequence, name)
      case .name(let name): sequence.name = name.name
      }
    }
    let range: ClosedRange<Int64> =
      sequence.type.id == .int2
      ? Int64(Int16.min)...Int64(Int16.max)
      : sequence.type.id == .int4 ? Int64(Int32.min)...Int64(Int32.max) : Int64.min...Int64.max
    let ascending = sequence.increment > 0
    if isNew || maximum != nil {
      sequence.maximum =
        try (maximum ?? nil).map { (t) throws(SQLError) in try number(t, 0) } ?? (ascending ? range.upperBound : -1)
    }
    if isNew || minimum != nil {
      sequence.minimum =
        try (minimum ?? nil).map { (t) throws(SQLError) in try number(t, 0) } ?? (ascending ? 1 : range.lowerBound)
    }
    for (value, what) in [(sequence.maximum, "MAXVALUE"), (sequence.minimum, "MINVALUE")] where !range.contains(value) {
      throw SQLError(
        .invalidParameterValue, "\(what) (\(value)) is out of range for sequence data type \(sequence.type.description)"
      )
    }
    guard sequence.minimum < sequence.maximum else {
      throw SQLError(
        .invalidParameterValue, "MINVALUE (\(sequence.minimum)) must be less than MAXVALUE (\(sequence.maximum))")
    }
    if isNew || start != nil { sequence.start = start ?? (ascending ? sequence.minimum : sequence.maximum) }
    guard sequence.start >= sequence.minimum else {
      throw SQLError(
        .invalidParameterValue, "START value (\(sequence.start)) cannot be less than MINVALUE (\(sequence.minimum))")
    }
    guard sequence.start <= sequence.maximum else {
      throw SQLError(
        .invalidParameterValue, "START value (\(sequence.start)) cannot be greater than MAXVALUE (\(sequence.maximum))")
    }
    if let restart {
      sequence.storage = try newID()
      sequence.restart = try restart.map { (t) throws(SQLError) in try number(t, 0) }
      let value = sequence.restart ?? sequence.start
      guard value >= sequence.minimum, value <= sequence.maximum else {
        throw SQLError(
          .invalidParameterValue,
          "RESTART value (\(value)) cannot be \(value < sequence.minimum ? "less than MINVALUE (\(sequence.minimum))" : "greater than MAXVALUE (\(sequence.maximum))")"
        )
      }
    }
  }

  private func own(_ sequence: inout SequenceDescriptor, _ name: Syntax.QualifiedName?) throws(SQLError) {
    guard let name else {
      sequence.ownerTable = nil
      sequence.ownerColumn = nil
      return
    }
    guard name.parts.count >= 2 else {
      throw SQLError(
        .syntaxError, "invalid OWNED BY option", hint: "Specify OWNED BY table.column or OWNED BY NONE.",
        position: place(name.position))
    }
    let table = try session.makeBinder().table(
      Syntax.QualifiedName(Array(name.parts.dropLast()), position: name.position), for: "own a sequence by")
    guard let column = table.column(named: name.name) else {
      throw SQLError(
        .undefinedColumn, "column \"\(name.name)\" of relation \"\(table.name)\" does not exist")
    }
    sequence.ownerTable = table.id
    sequence.ownerColumn = column.number
  }

  func alterSequence(_ alter: Syntax.AlterSequence) throws(SQLError) -> String {
    guard let relation = try catalog().relation(alter.name, searchPath: session.searchPath) else {
      if alter.ifExists {
        notice(.successfulCompletion, "relation \"\(alter.name.name)\" does not exist, skipping")
        return "ALTER SEQUENCE"
      }
      throw Binder.undefinedRelation(alter.name)
    }
    guard case .sequence(var sequence) = relation else {
      throw SQLError(.wrongObjectType, "\"\(relation.name)\" is not a sequence")
    }
    try configure(&sequence, alter.options, isNew: false)
    try put(.sequence(sequence))
    return "ALTER SEQUENCE"
  }

  // MARK: Schemas and comments

  func createSchema(_ create: Syntax.CreateSchema) throws(SQLError) -> String {
    var name = create.name?.text
    if name == nil, case .named(let role)? = create.authorization { name = role.text }
    let final = name ?? session.user
    if final.hasPrefix("pg_") {
      throw SQLError(
        .reservedName, "unacceptable schema name \"\(final)\"",
        detail: "The prefix \"pg_\" is reserved for system schemas.")
    }
    if try catalog().schema(named: final) != nil {
      guard create.ifNotExists else {
        throw SQLError(SQLState(rawValue: "42P06"), "schema \"\(final)\" already exists")
      }
      notice(SQLState(rawValue: "42P06"), "schema \"\(final)\" already exists, skipping")
      return "CREATE SCHEMA"
    }
    if !create.elements.isEmpty {
      throw SQLError(
        .featureNotSupported, "CREATE SCHEMA with elements is not supported", position: place(create.position))
    }
    var owner = try newOwner()
    if let authorization = create.authorization {
      let role = try find(authorization)
      let rights = try session.rights()
      guard
        rights.isSuperuser
          || rights.role.map({ try? catalog().memberships($0, inheritedOnly: false) })??.contains(role.id) == true
      else { throw SQLError(.insufficientPrivilege, "must be member of role \"\(role.name)\"") }
      owner = role.id
    }
    let schema = SchemaDescriptor(id: try newID(), name: final, owner: owner)
    try apply { changes throws(SQLError) in
      changes.put(.schema(schema))
      try applyDefaultAccess(.schema, schema.id, owner: owner, schema: nil, &changes)
    }
    return "CREATE SCHEMA"
  }

  func comment(_ comment: Syntax.Comment) throws(SQLError) -> String {
    let catalog = try catalog()
    var key: CatalogSnapshot.CommentKey
    switch comment.kind {
    case .table, .view, .sequence, .index:
      guard let relation = try catalog.relation(comment.name, searchPath: session.searchPath) else {
        throw Binder.undefinedRelation(comment.name)
      }
      key = .init(relation.id)
    case .column:
      guard comment.name.parts.count >= 2 else {
        throw SQLError(.syntaxError, "column name must be qualified", position: place(comment.name.position))
      }
      let table = try session.makeBinder().table(
        Syntax.QualifiedName(Array(comment.name.parts.dropLast()), position: comment.name.position), for: "comment on")
      guard let column = table.column(named: comment.name.name) else {
        throw SQLError(
          .undefinedColumn, "column \"\(comment.name.name)\" of relation \"\(table.name)\" does not exist")
      }
      key = .init(table.id, column.number)
    case .schema:
      guard let schema = catalog.schema(named: comment.name.name) else {
        throw SQLError(.invalidSchema, "schema \"\(comment.name.name)\" does not exist")
      }
      key = .init(schema.id)
    case .constraint:
      let table = try session.makeBinder().table(comment.name, for: "comment on")
      let name = comment.constraint?.text ?? ""
      let id =
        table.checks.first { $0.name == name }?.id ?? table.foreignKeys.first { $0.name == name }?.id
        ?? table.indexes.first { $0.constraint != nil && $0.name == name }?.constraint
      guard let id else {
        throw SQLError(.undefinedObject, "constraint \"\(name)\" for table \"\(table.name)\" does not exist")
      }
      key = .init(id)
    case .database: return "COMMENT"
    default:
      throw SQLError(
        .featureNotSupported, "COMMENT ON \(comment.kind.rawValue.uppercased()) is not supported",
        position: place(comment.position))
    }
    try apply { $0.comment(key, comment.text) }
    return "COMMENT"
  }
}

extension Syntax.Query {
  /// The query with the stars of its lists written out: `names` says by position what they stand for.
  fileprivate func expandingStars(_ names: [Int: [[String]]]) -> Syntax.Query {
    var copy = self
    switch body {
    case .select(var select):
      select.targets = select.targets.flatMap { target -> [Syntax.Target] in
        guard case .star = target.expression.kind, let columns = names[target.expression.position] else {
          return [target]
        }
        return columns.map { Syntax.Target(expression: Syntax.Expression(.column($0)), position: target.position) }
      }
      copy.body = .select(select)
    case .setOperation(var operation):
      operation.left = operation.left.expandingStars(names)
      operation.right = operation.right.expandingStars(names)
      copy.body = .setOperation(operation)
    case .values, .table: break
    }
    return copy
  }
}
