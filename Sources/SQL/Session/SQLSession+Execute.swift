internal import Encoding
internal import Platform
internal import Transactions

extension SQLSession {
  /// Runs the statements of `text` as one simple query: they are one transaction unless they say otherwise.
  ///
  /// - Throws: the first error; what follows it is not run.
  package func execute(_ text: String, _ sink: any ResultSink) throws(SQLError) {
    self.sink = sink
    defer { self.sink = nil }
    startClock()
    let statements: [Syntax.ParsedStatement]
    do throws(SQLError) {
      statements = try SQLParser.parse(text)
    } catch {
      statementFailed()
      throw error
    }
    if statements.isEmpty { sink.empty() }
    let bytes = statements.count > 1 ? Array(text.utf8) : []
    for (index, parsed) in statements.enumerated() {
      let own =
        statements.count > 1 ? String(decoding: bytes[parsed.range], as: UTF8.self) : text
      let prepared = PreparedStatement(text: own, statement: parsed.statement, position: 0, parameterTypes: [])
      prepared.isSimple = true
      if index > 0 {
        startClock()
        sink.statementBegins()
      }
      let isLast = index == statements.count - 1
      try run(prepared, [], sink, isPart: statements.count > 1, mayDefer: isLast)
    }
    if block == .implicit { try commit(mayDefer: true) }
  }

  /// Leaves the state that an error leaves.
  func statementFailed() {
    switch block {
    case .explicit:
      block = .failed
      giveUpWork()
    case .failed: break
    case .none, .implicit: abandon()
    }
    closePast()
  }

  /// Runs one statement, with the transaction around it.
  func run(
    _ prepared: PreparedStatement, _ parameters: [Datum], _ sink: any ResultSink, isPart: Bool = false,
    mayDefer: Bool = false
  ) throws(SQLError) {
    guard let statement = prepared.statement else {
      sink.empty()
      return
    }
    do throws(SQLError) {
      if block == .failed, !SQLSession.endsBlock(statement) {
        throw SQLError(
          .failedTransaction, "current transaction is aborted, commands ignored until end of transaction block")
      }
      if case .transaction(let control) = statement,
        try self.control(control, prepared, sink, isPart: isPart, mayDefer: mayDefer)
      {
        return
      }
      try runInTransaction(prepared, parameters, sink, isPart: isPart, mayDefer: mayDefer)
    } catch {
      let told = settled(error)
      statementFailed()
      throw told
    }
  }

  static func endsBlock(_ statement: Syntax.Statement) -> Bool {
    guard case .transaction(let control) = statement else { return false }
    switch control.kind {
    case .commit, .rollback, .rollbackTo: return true
    default: return false
    }
  }

  private func runInTransaction(
    _ prepared: PreparedStatement, _ parameters: [Datum], _ sink: any ResultSink, isPart: Bool, mayDefer: Bool
  ) throws(SQLError) {
    let isOwn = block == .none && !isPart
    if block == .none, isPart { block = .implicit }
    var attempt = 0
    while true {
      var hasShown = false
      do throws(SQLError) {
        if transaction == nil {
          try begin(.init(), attempts: attempt, isOneStatement: isOwn)
          if settings.frequent.idempotencyKey != nil, let tag = try answerOfKey(prepared.statement, isOwn: isOwn, sink)
          {
            return sink.completed(tag)
          }
        } else {
          try freshSnapshot()
        }
        let tag = try perform(prepared, parameters, sink, &hasShown)
        closePast()
        if isOwn { try commit(mayDefer: mayDefer, tag: tag) }
        if pendingCommit == nil { sink.completed(tag) }
        return
      } catch {
        // A statement that is its own transaction and has shown nothing yet can be run again unseen.
        guard isOwn, !hasShown, attempt < 5,
          error.state == .serializationFailure || error.state == .deadlockDetected
        else { throw error }
        attempt += 1
        abandon()
      }
    }
  }

  /// Runs one statement inside the open transaction; returns its tag. `hasShown` becomes true when the sink is given
  /// something: the columns are held back until a row comes, or the end, so that a statement which fails before has shown
  /// nothing.
  private func perform(
    _ prepared: PreparedStatement, _ parameters: [Datum], _ sink: any ResultSink, _ hasShown: inout Bool
  ) throws(SQLError) -> String {
    guard let statement = prepared.statement else { return "" }
    if transaction?.isReadOnly == true, let verb = statement.writingVerb {
      throw SQLError(.readOnlyTransaction, "cannot execute \(verb) in a read-only transaction")
    }
    switch statement {
    case .query, .insert, .update, .delete:
      hasRun = true
      return try repeating(&hasShown) { (hasShown) throws(SQLError) in
        let runner = try self.runner(prepared)
        // The first rows wait here as long as the statement might have to be run again.
        let reserve = runner.mayMeetConflicts && self.isRepeatable ? RowReserve(runner.columns) : nil
        let tag = unsafe try runner.run(self, parameters) { (row) throws(SQLError) in
          if !hasShown {
            if let reserve, unsafe reserve.keeps(row) { return }
            hasShown = true
            try sink.columns(runner.columns)
            try reserve?.give(to: sink)
          }
          unsafe try sink.row(row)
        }
        if runner.returnsRows, !hasShown {
          hasShown = true
          try sink.columns(runner.columns)
          try reserve?.give(to: sink)
        }
        return tag
      }
    default:
      if !statement.leavesTransactionUntouched { hasRun = true }
      let counting = CountingSink(sink)
      defer { hasShown = counting.hasShown }
      let tag = try utility(statement, prepared, parameters, counting)
      try counting.flush()
      return tag
    }
  }

  // MARK: Planning

  /// The runner of a statement over rows: kept with it while the catalog stays the same.
  func runner(_ prepared: PreparedStatement) throws(SQLError) -> StatementRunner {
    for _ in 0..<8 {
      let catalog = try catalog()
      if localCatalog == nil, prepared.catalogVersion == catalog.version, let runner = prepared.runner, !runner.isBusy,
        isPlannedForPath(prepared)
      {
        if try lockTables(runner.changedTables) { return runner }
        continue
      }
      let plan = try plan(prepared)
      let changed = plan.changedTables
      guard try lockTables(changed) else { continue }
      let runner = try StatementRunner(plan, self, changing: changed)
      if localCatalog == nil {
        prepared.runner = runner
        prepared.catalogVersion = catalog.version
        prepared.searchPath = searchPath
        prepared.user = user
        prepared.settingsGeneration = settings.generation
      }
      return runner
    }
    throw SQLError(
      .serializationFailure, "the tables of the statement kept changing", hint: "Run the statement again.")
  }

  /// Whether the statement was planned for the search path of now: compared only when a setting has changed.
  private func isPlannedForPath(_ prepared: PreparedStatement) -> Bool {
    if prepared.settingsGeneration == settings.generation { return true }
    guard prepared.searchPath == searchPath, prepared.user == user else { return false }
    prepared.settingsGeneration = settings.generation
    return true
  }

  /// Plans a statement over rows.
  func plan(_ prepared: PreparedStatement) throws(SQLError) -> PlannedStatement {
    let binder = try makeBinder(parameterTypes: prepared.givenTypes, checksRights: !prepared.isInternal)
    binder.resolver.allowsParameters = !prepared.isSimple
    let planner = makePlanner(binder)
    guard let statement = prepared.statement else { preconditionFailure("nothing to plan") }
    let planned = try SQLSession.plan(statement, binder, planner)
    let columns = planned.returnsRows ? planned.columns.map(\.description) : nil
    if prepared.isResultFixed {
      let isSame = columns?.map(\.name) == prepared.columns?.map(\.name)
      guard isSame, columns?.map(\.type) == prepared.columns?.map(\.type) else { throw SQLError.resultTypeChanged }
    }
    prepared.describe(parameterTypes: planned.parameterTypes, columns: columns)
    return planned
  }

  static func plan(
    _ statement: Syntax.Statement, _ binder: Binder, _ planner: Planner
  ) throws(SQLError) -> PlannedStatement {
    switch statement {
    case .query(let query):
      var bound = try binder.bind(query, parent: nil)
      for index in bound.columns.indices {
        bound.columns[index].expression = try binder.resolver.settle(bound.columns[index].expression)
      }
      try settleParameters(binder)
      try binder.checkRights()
      return try finished(planner.plan(bound), planner)
    case .insert, .update, .delete:
      let bound = try binder.modification(statement, nil)
      try settleParameters(binder)
      try binder.checkRights()
      return try finished(planner.plan(bound), planner)
    default: preconditionFailure("not a statement over rows")
    }
  }

  private static func finished(_ plan: PlannedStatement, _ planner: Planner) throws(SQLError) -> PlannedStatement {
    if planner.isTooDeep { throw StackGuard.tooDeep() }
    return plan
  }

  /// Parameters that nothing gave a type are an error, as in PostgreSQL.
  private static func settleParameters(_ binder: Binder) throws(SQLError) {
    for (index, type) in binder.resolver.parameterTypes.enumerated() where type.id == .unknown {
      throw SQLError(.indeterminateDatatype, "could not determine data type of parameter $\(index + 1)")
    }
  }

  /// Locks the records of the tables that the statement changes; false if one was altered after the snapshot.
  private func lockTables(_ keys: [[UInt8]]) throws(SQLError) -> Bool {
    for key in keys {
      if try !lockTable(key) { return false }
    }
    return true
  }

  /// Keeps others from altering `table` until the transaction ends; false if it was altered after the snapshot.
  func lockTable(_ table: TableDescriptor) throws(SQLError) -> Bool {
    try lockTable(KeySpace.object(.table, table.id))
  }

  private func lockTable(_ record: [UInt8]) throws(SQLError) -> Bool {
    guard let transaction else { return true }
    let outcome = try sqlErrors { () throws(TransactionError) in try transaction.lock(record, .keyShare, .wait) }
    guard outcome == .changed else { return true }
    guard transaction.isolation == .readCommitted else {
      // Rows must not be written for a table as it was.
      try sqlErrors { () throws(TransactionError) in try transaction.needNewerSnapshot(for: record) }
      return false
    }
    try freshSnapshot()
    return false
  }

  // MARK: Transaction control

  /// BEGIN and its kin; false if the statement needs a transaction and is run in one.
  private func control(
    _ control: Syntax.TransactionStatement, _ prepared: PreparedStatement, _ sink: any ResultSink, isPart: Bool,
    mayDefer: Bool
  ) throws(SQLError) -> Bool {
    switch control.kind {
    case .begin(let modes):
      switch block {
      case .explicit, .failed:
        warn(sink, .activeTransaction, "there is already a transaction in progress")
      case .implicit:
        block = .explicit
        try setModes(modes)
      case .none:
        try begin(modes)
        if settings.frequent.idempotencyKey != nil { try requireNewKey() }
        block = .explicit
      }
      sink.completed(prepared.isStart ? "START TRANSACTION" : "BEGIN")
    case .commit(let chain):
      let chained = modes
      switch block {
      case .none:
        warn(sink, .noActiveTransaction, "there is no transaction in progress")
        sink.completed("COMMIT")
        return true
      case .failed:
        abandon()
        sink.completed("ROLLBACK")
      case .explicit, .implicit:
        try commit(mayDefer: mayDefer && !chain, tag: "COMMIT")
        if pendingCommit == nil { sink.completed("COMMIT") }
      }
      if chain { try self.chain(chained) }
    case .rollback(let chain):
      let chained = modes
      if block == .none { warn(sink, .noActiveTransaction, "there is no transaction in progress") }
      abandon()
      sink.completed("ROLLBACK")
      if chain { try self.chain(chained) }
    case .savepoint(let name):
      try requireBlock("SAVEPOINT")
      savepoint(name.text)
      sink.completed("SAVEPOINT")
    case .release(let name):
      try requireBlock("RELEASE SAVEPOINT")
      try release(name)
      sink.completed("RELEASE")
    case .rollbackTo(let name):
      try requireBlock("ROLLBACK TO SAVEPOINT")
      try rollback(to: name)
      sink.completed("ROLLBACK")
    case .setTransaction(let modes):
      if block == .none {
        warn(sink, .noActiveTransaction, "SET TRANSACTION can only be used in transaction blocks")
      } else {
        try setModes(modes)
      }
      sink.completed("SET")
    case .setSession(let modes):
      if let isolation = modes.isolation {
        settings.set("default_transaction_isolation", isolation.rawValue)
      }
      if let readOnly = modes.readOnly { settings.set("default_transaction_read_only", readOnly ? "on" : "off") }
      if let deferrable = modes.deferrable {
        settings.set("default_transaction_deferrable", deferrable ? "on" : "off")
      }
      sink.completed("SET")
    case .setSnapshot:
      throw SQLError(
        .featureNotSupported, "SET TRANSACTION SNAPSHOT is not supported", position: place(control.position))
    case .setConstraints: return false
    }
    return true
  }

  /// The open transaction's characteristics.
  private var modes: Syntax.TransactionModes {
    var modes = Syntax.TransactionModes()
    guard let transaction else { return modes }
    modes.isolation = Syntax.IsolationLevel(rawValue: levelName)
    modes.readOnly = transaction.isReadOnly
    modes.deferrable = transaction.isDeferrable
    return modes
  }

  /// AND CHAIN: another transaction with the same characteristics.
  private func chain(_ modes: Syntax.TransactionModes) throws(SQLError) {
    try begin(modes)
    block = .explicit
  }

  private func requireBlock(_ what: String) throws(SQLError) {
    guard block == .explicit || block == .failed else {
      throw SQLError(.noActiveTransaction, "\(what) can only be used in transaction blocks")
    }
  }

  /// SET TRANSACTION, and SET of `transaction_isolation` and its like: the transaction is begun again while it has done
  /// nothing. Once it has run, it may only become read-only: the snapshot of a reader at serializable is not followed by the
  /// certifier where it is safe.
  func setModes(_ modes: Syntax.TransactionModes) throws(SQLError) {
    guard let transaction else { return }
    let hasBegun = hasRun || transaction.hasWrites
    let changesLevel = modes.isolation.map { SQLSession.level($0.rawValue) != transaction.isolation } ?? false
    if changesLevel { try requireUntouched(hasBegun, "SET TRANSACTION ISOLATION LEVEL must", "must not be called in") }
    if modes.readOnly == false, transaction.isReadOnly {
      guard !isInSubtransaction else {
        throw SQLError(.activeTransaction, "cannot set transaction read-write mode inside a read-only transaction")
      }
      guard !hasBegun else {
        throw SQLError(.activeTransaction, "transaction read-write mode must be set before any query")
      }
    }
    if modes.deferrable != nil {
      try requireUntouched(hasBegun, "SET TRANSACTION [NOT] DEFERRABLE must", "cannot be called within")
    }
    let becomesWriter = modes.readOnly == false && transaction.isReadOnly
    if changesLevel || becomesWriter || (modes.deferrable ?? transaction.isDeferrable) != transaction.isDeferrable {
      let old = block
      let isolationName = modes.isolation?.rawValue ?? levelName
      var all = modes
      all.isolation = Syntax.IsolationLevel(rawValue: isolationName)
      all.readOnly = modes.readOnly ?? transaction.isReadOnly
      all.deferrable = modes.deferrable ?? transaction.isDeferrable
      transaction.rollback()
      try begin(all)
      block = old
      return
    }
    if let isolation = modes.isolation { levelName = isolation.rawValue }
    if let readOnly = modes.readOnly { transaction.setReadOnly(readOnly) }
  }

  /// `phrase` begins with the command, and ends in "must".
  private func requireUntouched(_ hasBegun: Bool, _ phrase: String, _ subtransaction: String) throws(SQLError) {
    if hasBegun { throw SQLError(.activeTransaction, "\(phrase) be called before any query") }
    if isInSubtransaction {
      throw SQLError(.activeTransaction, "\(phrase.dropLast(5)) \(subtransaction) a subtransaction")
    }
  }

  /// SET of `transaction_isolation`, `transaction_read_only` or `transaction_deferrable`: outside of a block it holds for
  /// the one statement, that is for nothing.
  func setMode(_ name: String, _ value: String) throws(SQLError) {
    let value = try Settings.normalised(name, value)
    guard block == .explicit || block == .implicit else { return }
    var modes = Syntax.TransactionModes()
    switch name {
    case "transaction_isolation": modes.isolation = Syntax.IsolationLevel(rawValue: value)
    case "transaction_read_only": modes.readOnly = value == "on"
    default: modes.deferrable = value == "on"
    }
    try setModes(modes)
  }

  func warn(_ sink: any ResultSink, _ state: SQLState, _ message: String) {
    sink.notice(SQLNotice(.warning, SQLError(state, message)))
  }
}

extension Syntax.Statement {
  /// Whether the transaction is still one that has run no query.
  var leavesTransactionUntouched: Bool {
    switch self {
    case .transaction, .lock, .set, .show, .reset, .discard, .listen, .unlisten, .notify, .deallocate, .fetch,
      .closeCursor, .checkpoint:
      true
    default: false
    }
  }

  /// The statement's name, if it writes or locks.
  var writingVerb: String? {
    switch self {
    case .query(let query): query.locking.first.map { "SELECT \($0.strength.phrase)" }
    case .insert: "INSERT"
    case .update: "UPDATE"
    case .delete: "DELETE"
    case .copy(let copy): copy.direction == .from ? "COPY FROM" : nil
    case .truncate: "TRUNCATE TABLE"
    case .createTable: "CREATE TABLE"
    case .createTableAs: "CREATE TABLE AS"
    case .createIndex: "CREATE INDEX"
    case .createView: "CREATE VIEW"
    case .createSequence: "CREATE SEQUENCE"
    case .createSchema: "CREATE SCHEMA"
    case .createRole: "CREATE ROLE"
    case .alterTable(let alter):
      switch alter.kind {
      case .table: "ALTER TABLE"
      case .index: "ALTER INDEX"
      case .view: "ALTER VIEW"
      case .sequence: "ALTER SEQUENCE"
      }
    case .alterSequence: "ALTER SEQUENCE"
    case .alterRole, .alterRoleSetting: "ALTER ROLE"
    case .alterSchema(let alter): "ALTER \(alter.kind.rawValue.uppercased())"
    case .alterOwner(let alter): "ALTER \(alter.kind.rawValue.uppercased())"
    case .rename(let rename): "ALTER \(rename.kind.rawValue.uppercased())"
    case .drop(let drop): "DROP \(drop.kind.rawValue.uppercased())"
    case .dropRole: "DROP ROLE"
    case .comment: "COMMENT"
    case .grant(let grant): grant.isGrant ? "GRANT" : "REVOKE"
    case .grantRole(let grant): grant.isGrant ? "GRANT ROLE" : "REVOKE ROLE"
    case .alterDefaultPrivileges: "ALTER DEFAULT PRIVILEGES"
    case .reindex: "REINDEX"
    default: nil
    }
  }
}

extension PlannedStatement {
  var returnsRows: Bool {
    if case .query = body { return true }
    return !columns.isEmpty
  }

  /// The keys of the records of the tables that the statement changes.
  var changedTables: [[UInt8]] {
    var tables: [TableDescriptor] = []
    if case .modification(let modification) = body { tables.append(modification.bound.table) }
    for common in commonTables {
      if case .modification(let modification) = common.body { tables.append(modification.bound.table) }
    }
    return tables.map { KeySpace.object(.table, $0.id) }
  }
}

/// Passes everything on, and knows whether anything was.
final class CountingSink: ResultSink {
  private let inner: any ResultSink
  private(set) var hasShown = false
  init(_ inner: any ResultSink) { self.inner = inner }
  private var held: [ColumnDescription]?

  // The columns are held back until a row comes, or the end: a statement that fails before has shown nothing.
  func columns(_ columns: [ColumnDescription]) throws(SQLError) { held = columns }
  func flush() throws(SQLError) {
    guard let columns = held else { return }
    held = nil
    hasShown = true
    try inner.columns(columns)
  }
  func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
    if held != nil { try flush() }
    unsafe try inner.row(values)
  }
  func completed(_ tag: String) { inner.completed(tag) }
  func empty() { inner.empty() }
  func notice(_ notice: SQLNotice) { inner.notice(notice) }
  func copyOut(_ description: CopyDescription) throws(SQLError) {
    hasShown = true
    try inner.copyOut(description)
  }
  func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError) { unsafe try inner.copyData(bytes) }
  func copyIn(_ description: CopyDescription) throws(SQLError) {
    hasShown = true
    try inner.copyIn(description)
  }
  func nextCopyData() throws(SQLError) -> [UInt8]? { try inner.nextCopyData() }
}
