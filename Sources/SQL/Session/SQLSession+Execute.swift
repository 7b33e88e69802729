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
