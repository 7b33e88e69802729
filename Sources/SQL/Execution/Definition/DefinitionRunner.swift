internal import Encoding
internal import Storage
internal import Transactions

// DDL. A definition is a transaction's write like any other: it reads the newest catalog under the catalog's lock, writes
// the records that change, and the transaction sees its own changes until it commits or rolls back.
//
// 1. Whoever changes a table's record waits for the statements that change the table's rows, and those that come later
//    find the record changed and plan anew.
// 2. Work over existing rows (building an index, checking a constraint) happens after that wait, over a fresh snapshot.

/// Runs one DDL statement.
final class DefinitionRunner {
  unowned let session: SQLSession
  let sink: any ResultSink
  let text: String

  init(_ session: SQLSession, _ sink: any ResultSink, _ text: String) {
    self.session = session
    self.sink = sink
    self.text = text
  }

  var transaction: Transaction { session.transaction! }

  func run(_ statement: Syntax.Statement) throws(SQLError) -> String {
    _ = try session.catalogForChange()
    try checkRights(statement)
    session.forgetWriters()
    defer { session.forgetWriters() }
    switch statement {
    case .createTable(let create): return try createTable(create)
    case .createTableAs(let create): return try createTableAs(create)
    case .createIndex(let create): return try createIndex(create)
    case .createView(let create): return try createView(create)
    case .createSequence(let create): return try createSequence(create)
    case .createSchema(let create): return try createSchema(create)
    case .createRole(let create): return try createRole(create)
    case .alterTable(let alter): return try alterTable(alter)
    case .alterSequence(let alter): return try alterSequence(alter)
    case .alterRole(let alter): return try alterRole(alter)
    case .alterRoleSetting(let alter): return try alterRoleSetting(alter)
    case .rename(let rename): return try self.rename(rename)
    case .alterSchema(let alter): return try alterSchema(alter)
    case .alterOwner(let alter): return try alterOwner(alter)
    case .drop(let drop): return try self.drop(drop)
    case .dropRole(let drop): return try dropRole(drop)
    case .truncate(let truncate): return try self.truncate(truncate)
    case .comment(let comment): return try self.comment(comment)
    case .grant(let grant): return try self.grant(grant)
    case .grantRole(let grant): return try grantRole(grant)
    case .alterDefaultPrivileges(let alter): return try alterDefaultPrivileges(alter)
    case .reindex(let reindex): return try self.reindex(reindex)
    default: throw SQLError(.featureNotSupported, "this statement is not supported")
    }
  }

  // MARK: What all definitions need

  func catalog() throws(SQLError) -> CatalogSnapshot { try session.catalog() }
  /// Should the object be a table or an index, its storage is this transaction's alone for the time being.
  func newID() throws(SQLError) -> ObjectID {
    let id = try session.database.sequences.newObjectID()
    transaction.ownSpaces.insert(id.rawValue)
    return id
  }

  func apply(_ body: (inout CatalogChanges) throws(SQLError) -> Void) throws(SQLError) {
    var changes = CatalogChanges()
    try body(&changes)
    try session.apply(changes)
  }
  func put(_ record: CatalogRecord) throws(SQLError) { try apply { $0.put(record) } }

  func notice(_ state: SQLState, _ message: String) {
    sink.notice(SQLNotice(.notice, SQLError(state, message)))
  }

  /// The schema in which `name` is to be made.
  func schema(for name: Syntax.QualifiedName) throws(SQLError) -> SchemaDescriptor {
    let schema = try namedSchema(for: name)
    guard try session.rights().privileges(onSchema: schema.id).contains(.create) else {
      throw Rights.denied("schema", schema.name).at(place(name.position))
    }
    return schema
  }

  private func namedSchema(for name: Syntax.QualifiedName) throws(SQLError) -> SchemaDescriptor {
    let catalog = try catalog()
    if let given = name.schema {
      guard let schema = catalog.schema(named: given) else {
        throw SQLError(.invalidSchema, "schema \"\(given)\" does not exist", position: place(name.position))
      }
      if schema.id == .systemSchema || schema.id == .informationSchema {
        throw SQLError(
          .insufficientPrivilege, "permission denied to create \"\(given).\(name.name)\"",
          detail: "System catalog modifications are currently disallowed.", position: place(name.position))
      }
      return schema
    }
    for candidate in try session.usableSearchPath() {
      if let schema = catalog.schema(named: candidate), schema.id != .systemSchema, schema.id != .informationSchema {
        return schema
      }
    }
    throw SQLError(.invalidSchema, "no schema has been selected to create in", position: place(name.position))
  }

  /// Whether the name is free; a notice or an error if it is not.
  func isFree(
    _ name: String, _ schema: SchemaDescriptor, ifNotExists: Bool, at position: Int
  ) throws(SQLError) -> Bool {
    guard try catalog().relation(name, in: schema.id) != nil else { return true }
    if ifNotExists {
      notice(.duplicateTable, "relation \"\(name)\" already exists, skipping")
      return false
    }
    throw SQLError(.duplicateTable, "relation \"\(name)\" already exists", position: nil)
  }

  /// A name that no relation and no constraint of the table has: `first_second_suffix`, shortened, then numbered.
  func freeName(
    _ first: String, _ second: String?, _ suffix: String, _ schema: ObjectID, taken: Set<String> = []
  ) throws(SQLError) -> String {
    let catalog = try catalog()
    for number in 0... {
      let tail = "_" + suffix + (number == 0 ? "" : "\(number)")
      var a = Array(first.utf8)
      var b = second.map { Array($0.utf8) } ?? []
      let room = Syntax.Limits.identifierBytes - tail.utf8.count - (second == nil ? 0 : 1)
      while a.count + b.count > room { if a.count > b.count { a.removeLast() } else { b.removeLast() } }
      var name = String(decoding: a, as: UTF8.self)
      if second != nil { name += "_" + String(decoding: b, as: UTF8.self) }
      name += tail
      if catalog.relation(name, in: schema) == nil, !taken.contains(name) { return name }
    }
    preconditionFailure("numbers do not end")
  }

  /// Makes sure that all rows of `table` that are there can be seen: waits for those who write it.
  func lockForChange(_ table: TableDescriptor) throws(SQLError) {
    let transaction = self.transaction
    _ = try sqlErrors { () throws(TransactionError) in
      try transaction.lock(KeySpace.object(.table, table.id), .update, .wait)
    }
    if transaction.isolation == .readCommitted {
      try session.freshSnapshot()
      return
    }
    // A fixed snapshot must be the newest, or rows that committed since would be missed.
    let database = session.database
    let probe = try sqlErrors { () throws(TransactionError) in
      try database.manager.begin(TransactionOptions(isReadOnly: true))
    }
    defer { probe.rollback() }
    let (newest, own) = try sqlErrors { () throws(TransactionError) in (try probe.snapshot, try transaction.snapshot) }
    guard newest == own else {
      throw SQLError(
        .serializationFailure, "could not serialize access due to concurrent changes",
        detail: "The definition must see every row of \"\(table.name)\", and this transaction's snapshot is older.",
        hint: "Run the transaction again, with the definition first, or at read committed.")
    }
  }

  /// Calls `body` with every row of `table` and its key.
  func forEachRow(
    _ table: TableDescriptor, _ body: (ValueBuffer, Bytes) throws(SQLError) -> Void
  ) throws(SQLError) {
    let transaction = self.transaction
    let cursor = try sqlErrors { () throws(TransactionError) in
      try transaction.cursor(KeySpace.range(table.storage))
    }
    defer { cursor.close() }
    let row = ValueBuffer(table.columns.count)
    let decoder = RowDecoder(table.layout, columns: Array(0..<row.count))
    let rows = RowBatch()
    while true {
      try session.checkInterrupt()
      let count = try sqlErrors { () throws(TransactionError) in try cursor.nextRows(into: rows, withKeys: true) }
      guard count > 0 else { return }
      for index in 0..<count {
        unsafe try decoder.decode(Bytes(rows.value(index)), into: row.base)
        try body(row, unsafe Bytes(rows.key(index)))
      }
    }
  }

  func deleteAll(_ storage: ObjectID) throws(SQLError) {
    let transaction = self.transaction
    let range = KeySpace.range(storage)
    guard let upper = range.upper else { return }
    try sqlErrors { () throws(TransactionError) in
      unsafe try range.lower.withUnsafeBytesThrowing { (lower) throws(TransactionError) in
        unsafe try upper.withUnsafeBytesThrowing { (end) throws(TransactionError) in
          unsafe try transaction.deleteRange(lower, end)
        }
      }
    }
  }

  /// A context for expressions over stored rows.
  func makeEvaluator() throws(SQLError) -> (state: ExecutionState, source: EvaluatingSource) {
    let binder = try session.makeBinder()
    let plan = session.makePlanner(binder).plan(BoundQuery(plan: .oneRow, columns: []))
    let state = try ExecutionState(plan, services: session)
    state.begin(session, [])
    let source = EvaluatingSource(state)
    source.owner = state
    source.refresh()
    return (state, source)
  }
}
