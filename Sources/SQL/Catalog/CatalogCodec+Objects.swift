/// The fields of each kind of object, written and read in the same order.
extension SchemaDescriptor {
  func write(_ w: inout CatalogWriter) {
    w.put(id)
    w.put(name)
    w.put(owner)
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    self.init(id: try r.id(), name: try r.string(), owner: try r.id())
  }
}

extension ColumnDescriptor {
  func write(_ w: inout CatalogWriter) {
    w.put(number)
    w.put(name)
    w.put(type)
    w.put(isDropped)
    w.put(notNull)
    w.put(defaultValue) { $0.put($1) }
    w.put(generated) { $0.put($1) }
    w.put(Int(identity?.rawValue ?? 0))
    w.put(sequence) { $0.put($1) }
    w.put(missing)
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    self.init(number: try r.int(), name: try r.string(), type: try r.type())
    guard number > 0 else { throw CatalogReader.damaged("column number \(number)") }
    isDropped = try r.bool()
    notNull = try r.bool()
    defaultValue = try r.optional { r throws(SQLError) in try r.expression() }
    generated = try r.optional { r throws(SQLError) in try r.expression() }
    identity = Identity(rawValue: UInt8(truncatingIfNeeded: try r.int()))
    sequence = try r.optional { r throws(SQLError) in try r.id() }
    missing = try r.datum()
  }
}

extension CheckConstraint {
  func write(_ w: inout CatalogWriter) {
    w.put(id)
    w.put(name)
    w.put(expression)
    w.put(isValidated)
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    self.init(id: try r.id(), name: try r.string(), expression: try r.expression(), isValidated: try r.bool())
  }
}

extension ForeignKey {
  func write(_ w: inout CatalogWriter) {
    w.put(id)
    w.put(name)
    w.put(columns) { $0.put($1) }
    w.put(referencedTable)
    w.put(referencedColumns) { $0.put($1) }
    w.put(referencedIndex)
    w.put(matchFull)
    w.put(Int(onDelete.rawValue))
    w.put(Int(onUpdate.rawValue))
    w.put(setColumns) { $0.put($1) }
    w.put(deferrable)
    w.put(initiallyDeferred)
    w.put(isValidated)
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    func action(_ raw: Int) throws(SQLError) -> Action {
      guard let action = Action(rawValue: UInt8(truncatingIfNeeded: raw)) else {
        throw CatalogReader.damaged("unknown foreign key action \(raw)")
      }
      return action
    }
    self.init(
      id: try r.id(), name: try r.string(), columns: try r.list { r throws(SQLError) in try r.int() },
      referencedTable: try r.id(), referencedColumns: try r.list { r throws(SQLError) in try r.int() },
      referencedIndex: try r.id(), matchFull: try r.bool())
    onDelete = try action(try r.int())
    onUpdate = try action(try r.int())
    setColumns = try r.list { r throws(SQLError) in try r.int() }
    deferrable = try r.bool()
    initiallyDeferred = try r.bool()
    isValidated = try r.bool()
  }
}

extension TableRecord {
  func write(_ w: inout CatalogWriter) {
    w.put(id)
    w.put(name)
    w.put(schema)
    w.put(owner)
    w.put(storage)
    w.put(isTemporary)
    w.put(columns) { $1.write(&$0) }
    w.put(checks) { $1.write(&$0) }
    w.put(foreignKeys) { $1.write(&$0) }
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    self.init(id: try r.id(), name: try r.string(), schema: try r.id(), owner: try r.id(), storage: try r.id())
    isTemporary = try r.bool()
    columns = try r.list { r throws(SQLError) in try ColumnDescriptor(&r) }
    checks = try r.list { r throws(SQLError) in try CheckConstraint(&r) }
    foreignKeys = try r.list { r throws(SQLError) in try ForeignKey(&r) }
    for (place, column) in columns.enumerated() where column.number != place + 1 {
      throw CatalogReader.damaged("column \(column.number) of table \(name) stands at place \(place)")
    }
  }
}

extension IndexKey {
  func write(_ w: inout CatalogWriter) {
    w.put(column) { $0.put($1) }
    w.put(expression) { $0.put($1) }
    w.put(type)
    w.put(descending)
    w.put(nullsFirst)
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    self.init(
      column: try r.optional { r throws(SQLError) in try r.int() },
      expression: try r.optional { r throws(SQLError) in try r.expression() }, type: try r.type(),
      descending: try r.bool(), nullsFirst: try r.bool())
  }
}

extension IndexDescriptor {
  func write(_ w: inout CatalogWriter) {
    w.put(id)
    w.put(name)
    w.put(schema)
    w.put(table)
    w.put(storage)
    w.put(isUnique)
    w.put(isPrimary)
    w.put(constraint) { $0.put($1) }
    w.put(deferrable)
    w.put(initiallyDeferred)
    w.put(nullsNotDistinct)
    w.put(keys) { $1.write(&$0) }
    w.put(predicate) { $0.put($1) }
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    self.init(id: try r.id(), name: try r.string(), schema: try r.id(), table: try r.id(), storage: try r.id())
    isUnique = try r.bool()
    isPrimary = try r.bool()
    constraint = try r.optional { r throws(SQLError) in try r.id() }
    deferrable = try r.bool()
    initiallyDeferred = try r.bool()
    nullsNotDistinct = try r.bool()
    keys = try r.list { r throws(SQLError) in try IndexKey(&r) }
    predicate = try r.optional { r throws(SQLError) in try r.expression() }
  }
}

extension ViewDescriptor {
  func write(_ w: inout CatalogWriter) {
    w.put(id)
    w.put(name)
    w.put(schema)
    w.put(owner)
    w.put(columns) {
      $0.put($1.name)
      $0.put($1.type)
    }
    w.put(text)
    w.put(dependencies) { $0.put($1) }
    w.put(searchPath) { $0.put($1) }
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    let id = try r.id()
    let name = try r.string()
    let schema = try r.id()
    let owner = try r.id()
    let columns = try r.list { r throws(SQLError) in ViewColumn(name: try r.string(), type: try r.type()) }
    let text = try r.string()
    self.init(
      id: id, name: name, schema: schema, owner: owner, columns: columns, text: text,
      query: try ViewDescriptor.parse(text), dependencies: try r.list { r throws(SQLError) in try r.id() })
    searchPath = try r.list { r throws(SQLError) in try r.string() }
  }
  /// The query that `text` is.
  static func parse(_ text: String) throws(SQLError) -> Syntax.Query {
    guard let first = try SQLParser.parse(text).first, case .query(let query) = first.statement else {
      throw CatalogReader.damaged("a view's text is not a query")
    }
    return query
  }
}

extension SequenceDescriptor {
  func write(_ w: inout CatalogWriter) {
    w.put(id)
    w.put(name)
    w.put(schema)
    w.put(owner)
    w.put(storage)
    w.put(restart) { $0.put($1) }
    w.put(type)
    for number in [start, increment, minimum, maximum, cache] { w.put(number) }
    w.put(cycles)
    w.put(ownerTable) { $0.put($1) }
    w.put(ownerColumn) { $0.put($1) }
    w.put(isIdentity)
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    self.init(id: try r.id(), name: try r.string(), schema: try r.id(), owner: try r.id(), storage: try r.id())
    restart = try r.optional { r throws(SQLError) in try r.int64() }
    type = try r.type()
    start = try r.int64()
    increment = try r.int64()
    minimum = try r.int64()
    maximum = try r.int64()
    cache = try r.int64()
    cycles = try r.bool()
    ownerTable = try r.optional { r throws(SQLError) in try r.id() }
    ownerColumn = try r.optional { r throws(SQLError) in try r.int() }
    isIdentity = try r.bool()
  }
}

extension RoleDescriptor {
  func write(_ w: inout CatalogWriter) {
    w.put(id)
    w.put(name)
    for flag in [
      isSuperuser, canLogin, canCreateRole, canCreateDatabase, inherits, isReplication, bypassesRowSecurity,
    ] { w.put(flag) }
    w.put(connectionLimit)
    w.put(verifier) { $0.put($1) }
    w.put(validUntil) { $0.put($1) }
    w.put(memberOf) { $0.put($1) }
    w.put(settings.sorted { $0.key < $1.key }) {
      $0.put($1.key)
      $0.put($1.value)
    }
  }
  init(_ r: inout CatalogReader) throws(SQLError) {
    self.init(id: try r.id(), name: try r.string())
    isSuperuser = try r.bool()
    canLogin = try r.bool()
    canCreateRole = try r.bool()
    canCreateDatabase = try r.bool()
    inherits = try r.bool()
    isReplication = try r.bool()
    bypassesRowSecurity = try r.bool()
    connectionLimit = try r.int()
    verifier = try r.optional { r throws(SQLError) in try r.string() }
    validUntil = try r.optional { r throws(SQLError) in try r.string() }
    memberOf = try r.list { r throws(SQLError) in try r.id() }
    for (name, value) in try r.list({ r throws(SQLError) in (try r.string(), try r.string()) }) {
      settings[name] = value
    }
  }
}
