internal import Encoding
internal import Platform
internal import Storage
internal import Transactions

extension SQLSession {
  /// Runs a statement that is not over rows, inside the open transaction; returns its tag.
  func utility(
    _ statement: Syntax.Statement, _ prepared: PreparedStatement, _ parameters: [Datum], _ sink: any ResultSink
  ) throws(SQLError) -> String {
    switch statement {
    case .set(let set): return try self.set(set, sink)
    case .show(let show): return try self.show(show.name, at: show.position, sink)
    case .reset(let reset):
      if let name = reset.name {
        try change(name, to: nil, local: false)
      } else {
        for definition in Settings.definitions where !definition.isFixed && definition.name != "role" {
          try change(definition.name, to: nil, local: false)
        }
      }
      return "RESET"
    case .discard(let what): return try discard(what)
    case .prepare(let prepare): return try self.prepare(prepare)
    case .execute(let execute): return try self.execute(execute, parameters, sink)
    case .deallocate(let name):
      guard let name else {
        self.prepared = self.prepared.filter { $0.key.isEmpty }
        return "DEALLOCATE ALL"
      }
      guard self.prepared.removeValue(forKey: name.text) != nil else {
        throw SQLError(
          SQLState(rawValue: "26000"), "prepared statement \"\(name.text)\" does not exist")
      }
      return "DEALLOCATE"
    case .declareCursor(let declare): return try self.declare(declare, prepared.text)
    case .fetch(let fetch): return try self.fetch(fetch, sink)
    case .closeCursor(let name):
      guard let name else {
        cursors = [:]
        return "CLOSE CURSOR ALL"
      }
      guard cursors.removeValue(forKey: name.text) != nil || portals.removeValue(forKey: name.text) != nil else {
        throw SQLSession.noCursor(name)
      }
      return "CLOSE CURSOR"
    case .explain(let explain): return try self.explain(explain, prepared, parameters, sink)
    case .vacuum(let vacuum): return try self.vacuum(vacuum, sink)
    case .checkpoint:
      guard try rights().isSuperuser else {
        throw SQLError(
          .insufficientPrivilege, "permission denied to execute CHECKPOINT command",
          detail: "Only a superuser may execute this command.")
      }
      // What is committed is durable anyway; this moves it from the log into tables.
      let engine = database.manager.storage
      try EventLoop.blocking { () throws(SQLError) in
        do throws(StorageError) { try engine.flush() } catch { throw SQLError(TransactionError.storage(error)) }
      }
      return "CHECKPOINT"
    case .lock(let lock): return try self.lock(lock)
    case .transaction(let control):
      guard case .setConstraints(let names, let deferred) = control.kind else { preconditionFailure("handled before") }
      return try setConstraints(names, deferred)
    case .copy(let copy): return try self.copy(copy, sink)
    case .unlisten:
      // Nobody can listen, so nothing is to be undone: drivers say this when they give a connection back.
      return "UNLISTEN"
    case .listen, .notify:
      throw SQLError(.featureNotSupported, "LISTEN and NOTIFY are not supported")
    default: return try DefinitionRunner(self, sink, prepared.text).run(statement)
    }
  }

  // MARK: Settings

  private func set(_ set: Syntax.SetSetting, _ sink: any ResultSink) throws(SQLError) -> String {
    let position = place(set.position)
    if set.scope == .local, block == .none {
      warn(sink, SQLState(rawValue: "25P01"), "SET LOCAL can only be used in transaction blocks")
    }
    do throws(SQLError) {
      switch set.value {
      case .defaultValue: try change(set.name, to: nil, local: set.scope == .local)
      case .fromCurrent:
        throw SQLError(.featureNotSupported, "SET … FROM CURRENT is not supported")
      case .values(let values):
        let texts = values.map(SQLSession.text)
        let value =
          set.name == "search_path"
          ? texts.map { SQLWriter.quoted($0) }.joined(separator: ", ") : texts.joined(separator: ", ")
        switch set.name {
        case "transaction_isolation", "transaction_read_only", "transaction_deferrable":
          try setMode(set.name, value)
        default: try change(set.name, to: value, local: set.scope == .local)
        }
      }
    } catch { throw error.at(position) }
    return "SET"
  }

  static func text(_ value: Syntax.OptionValue) -> String {
    switch value {
    case .word(let text), .number(let text), .string(let text): text
    case .star: "*"
    case .list(let items): items.map(text).joined(separator: ", ")
    }
  }

  private func show(_ name: String, at position: Int, _ sink: any ResultSink) throws(SQLError) -> String {
    let arena = Arena()
    defer { withExtendedLifetime(arena) {} }
    if name == "all" {
      try sink.columns(["name", "setting", "description"].map { ColumnDescription(name: $0, type: .text) })
      let row = ValueBuffer(3)
      for definition in Settings.definitions {
        row[0] = Value(arena.copy(definition.name))
        row[1] = Value(arena.copy(setting(definition.name) ?? ""))
        row[2] = Value(arena.copy(definition.description))
        try unsafe sink.row(row.buffer)
      }
      return "SHOW"
    }
    guard let value = setting(name) else {
      throw SQLError(
        .undefinedObject, "unrecognized configuration parameter \"\(name)\"", position: place(position))
    }
    try sink.columns([ColumnDescription(name: Settings.byName[name]?.name ?? name, type: .text)])
    let row = ValueBuffer(1)
    row[0] = Value(arena.copy(value))
    try unsafe sink.row(row.buffer)
    return "SHOW"
  }

  private func discard(_ what: Syntax.Discard) throws(SQLError) -> String {
    switch what {
    case .all:
      if block == .explicit {
        throw SQLError(.activeTransaction, "DISCARD ALL cannot run inside a transaction block")
      }
      if sessionUser != loginUser { try change("session_authorization", to: nil, local: false) }
      releaseAdvisoryLocks()
      prepared = [:]
      cursors = [:]
      currentValues = [:]
      lastSequence = nil
      for definition in Settings.definitions where !definition.isFixed {
        try change(definition.name, to: nil, local: false)
      }
      return "DISCARD ALL"
    case .plans:
      for statement in prepared.values { statement.runner = nil }
      return "DISCARD PLANS"
    case .sequences:
      currentValues = [:]
      lastSequence = nil
      return "DISCARD SEQUENCES"
    case .temporary: return "DISCARD TEMP"
    }
  }

  private func setConstraints(_ names: [Syntax.QualifiedName], _ deferred: Bool) throws(SQLError) -> String {
    if names.isEmpty {
      constraintModes = ["": deferred]
    } else {
      let catalog = try catalog()
      for name in names {
        let keys = catalog.allTables.flatMap(\.foreignKeys).filter { $0.name == name.name }
        guard let key = keys.first else {
          throw SQLError(
            .undefinedObject, "constraint \"\(name.name)\" does not exist", position: place(name.position))
        }
        guard key.deferrable else {
          throw SQLError(
            .wrongObjectType, "constraint \"\(name.name)\" is not deferrable", position: place(name.position))
        }
        constraintModes[name.name] = deferred
      }
    }
    if !deferred {
      // What was deferred until now is checked at once.
      let checks = deferredChecks
      deferredChecks = []
      if let transaction, !checks.isEmpty { try check(checks, transaction) }
    }
    return "SET CONSTRAINTS"
  }

  private func lock(_ lock: Syntax.LockTable) throws(SQLError) -> String {
    guard block == .explicit else {
      throw SQLError(.noActiveTransaction, "LOCK TABLE can only be used in transaction blocks")
    }
    let binder = try makeBinder()
    for name in lock.tables {
      let table = try binder.table(name.name, for: "lock")
      let strength: LockStrength
      switch lock.mode {
      case .accessShare, .rowShare: continue
      case .rowExclusive, .shareUpdateExclusive, .share, .shareRowExclusive: strength = .keyShare
      case .exclusive, .accessExclusive: strength = .update
      }
      if strength == .keyShare, lock.mode != .rowExclusive {
        throw SQLError(
          .featureNotSupported, "LOCK TABLE … IN \(lock.mode.rawValue.uppercased()) MODE is not supported",
          hint: "Use ROW EXCLUSIVE, EXCLUSIVE or ACCESS EXCLUSIVE.", position: place(lock.position))
      }
      guard let transaction else { continue }
      _ = try sqlErrors { () throws(TransactionError) in
        try transaction.lock(KeySpace.object(.table, table.id), strength, lock.noWait ? .noWait : .wait)
      }
    }
    return "LOCK TABLE"
  }

  // MARK: Prepared statements

  private func prepare(_ prepare: Syntax.Prepare) throws(SQLError) -> String {
    guard prepared[prepare.name.text] == nil else {
      throw SQLError(
        .duplicatePreparedStatement, "prepared statement \"\(prepare.name.text)\" already exists",
        position: place(prepare.name.position))
    }
    var types: [SQLType] = []
    for type in prepare.types { types.append(try TypeBinding.type(type)) }
    var writer = SQLWriter()
    writer.statement(prepare.statement)
    let statement = PreparedStatement(
      text: writer.text, statement: prepare.statement, position: 0, parameterTypes: types)
    _ = try plan(statement)
    statement.isResultFixed = true
    prepared[prepare.name.text] = statement
    return "PREPARE"
  }

  private func execute(
    _ execute: Syntax.Execute, _ outer: [Datum], _ sink: any ResultSink
  ) throws(SQLError) -> String {
    guard let statement = prepared[execute.name.text] else {
      throw SQLError(
        SQLState(rawValue: "26000"), "prepared statement \"\(execute.name.text)\" does not exist",
        position: place(execute.name.position))
    }
    guard execute.arguments.count == statement.parameterTypes.count else {
      throw SQLError(
        .syntaxError, "wrong number of parameters for prepared statement \"\(execute.name.text)\"",
        detail: "Expected \(statement.parameterTypes.count) parameters but got \(execute.arguments.count).")
    }
    var hasShown = false
    return try repeating(&hasShown) { (hasShown) throws(SQLError) in
      let runner = try self.runner(statement)
      let parameters = try self.constants(execute.arguments, statement.parameterTypes)
      if runner.returnsRows { try sink.columns(runner.columns) }
      return unsafe try runner.run(self, parameters) { (row) throws(SQLError) in
        hasShown = true
        unsafe try sink.row(row)
      }
    }
  }

  /// The values of expressions without columns, as values of `types`.
  func constants(_ expressions: [Syntax.Expression], _ types: [SQLType]) throws(SQLError) -> [Datum] {
    let binder = try makeBinder()
    var outputs: [OutputColumn] = []
    for (expression, type) in zip(expressions, types) {
      let bound = try binder.bind(expression, Scope(parent: nil), .parameters)
      outputs.append(
        OutputColumn(
          name: "", expression: try binder.resolver.assign(bound, to: type, column: "parameter")))
    }
    return try evaluate(outputs, binder)
  }

  /// The one row of expressions that need no table.
  func evaluate(_ outputs: [OutputColumn], _ binder: Binder) throws(SQLError) -> [Datum] {
    let plan = makePlanner(binder).plan(BoundQuery(plan: .oneRow, columns: outputs))
    let runner = try StatementRunner(plan, self)
    var data: [Datum] = []
    _ = unsafe try runner.run(self, []) { (row) throws(SQLError) in data = unsafe row.map { Datum($0) } }
    return data
  }

  // MARK: Cursors

  static func noCursor(_ name: Syntax.Name) -> SQLError {
    SQLError(
      SQLState(rawValue: "34000"), "cursor \"\(name.text)\" does not exist", position: place(name.position))
  }

  private func declare(_ declare: Syntax.DeclareCursor, _ text: String) throws(SQLError) -> String {
    guard block != .none || declare.hold else {
      throw SQLError(.noActiveTransaction, "DECLARE CURSOR can only be used in transaction blocks")
    }
    guard cursors[declare.name.text] == nil else {
      throw SQLError(
        .duplicateCursor, "cursor \"\(declare.name.text)\" already exists",
        position: place(declare.name.position))
    }
    let statement = PreparedStatement(
      text: text, statement: .query(declare.query), position: 0, parameterTypes: [])
    let runner = try self.runner(statement)
    let cursor = Cursor(
      name: declare.name.text, statement: .query(declare.query), text: text, isScrollable: declare.scroll != false,
      isHeld: declare.hold, rows: try rows(of: runner, [], keeps: declare.scroll != false || declare.hold),
      columns: runner.columns)
    cursor.depth = savepoints.count
    cursors[declare.name.text] = cursor
    return "DECLARE CURSOR"
  }

  /// The rows of a query, computed as they are asked for where it can be suspended, otherwise now.
  private func rows(of runner: StatementRunner, _ parameters: [Datum], keeps: Bool) throws(SQLError) -> CursorRows {
    guard runner.canBeSuspended, transaction != nil else { return CursorRows(try keep(runner, parameters)) }
    return CursorRows(
      try RowStream(runner, self, parameters), keepingIn: keeps ? keptRows(width: runner.columns.count) : nil)
  }

  /// Rows beyond work_mem lie in a temporary file, which ends with them.
  func keptRows(width: Int) -> KeptRows {
    KeptRows(width: width, limitBytes: workMemoryBytes) { [unowned self] () throws(SQLError) in try temporaryFile() }
  }

  private func keep(_ runner: StatementRunner, _ parameters: [Datum]) throws(SQLError) -> KeptRows {
    let rows = keptRows(width: runner.columns.count)
    _ = unsafe try runner.run(self, parameters) { (values) throws(SQLError) in unsafe try rows.add(values) }
    return rows
  }

  /// The cursor of a portal that Bind made of a query: FETCH and MOVE take it by its name, as asyncpg's cursors do.
  private func cursor(ofPortal name: String) throws(SQLError) -> Cursor? {
    guard let portal = portals[name], let statement = portal.statement.statement, case .query = statement else {
      return nil
    }
    if let cursor = portal.cursor { return cursor }
    if portal.rows == nil {
      guard !portal.isComplete else { return nil }
      portal.depth = savepoints.count
      portal.rows = try rows(of: try runner(portal.statement), portal.parameters, keeps: true)
      portal.tag = "SELECT 0"
    }
    guard let rows = portal.rows else { return nil }
    let cursor = Cursor(
      name: name, statement: statement, text: portal.statement.text, isScrollable: rows.canGoBack, isHeld: false,
      rows: rows, columns: portal.columns ?? [])
    cursor.position = portal.position
    portal.cursor = cursor
    return cursor
  }

  /// Before the commit: the rows that cursors WITH HOLD have not given yet are computed, and other queries that are under
  /// way end.
  func holdCursors() throws(SQLError) {
    for (_, cursor) in cursors where cursor.isHeld && cursor.rows.isStreaming {
      try cursor.rows.complete()
    }
    endStreams()
  }

  /// Ends the queries that are suspended.
  func endStreams() {
    for (_, cursor) in cursors { cursor.rows.close() }
    for (_, portal) in portals { portal.rows?.close() }
  }

  /// Cursors and portals that began after `depth` savepoints were there go with what is undone.
  func dropCursors(after depth: Int) {
    for (name, cursor) in cursors where cursor.depth > depth {
      cursor.rows.close()
      cursors[name] = nil
    }
    for (name, portal) in portals where portal.depth > depth {
      portal.rows?.close()
      portals[name] = nil
    }
  }

  private func fetch(_ fetch: Syntax.Fetch, _ sink: any ResultSink) throws(SQLError) -> String {
    var found = cursors[fetch.cursor.text]
    if found == nil { found = try cursor(ofPortal: fetch.cursor.text) }
    guard let cursor = found else { throw SQLSession.noCursor(fetch.cursor) }
    let isMove = fetch.isMove
    if !isMove { try sink.columns(cursor.columns) }
    let given = try cursor.move(fetch.direction) { (row) throws(SQLError) in
      if !isMove { try unsafe sink.row(row.buffer) }
    }
    return isMove ? "MOVE \(given)" : "FETCH \(given)"
  }

  // MARK: Statistics

  private func vacuum(_ vacuum: Syntax.Vacuum, _ sink: any ResultSink) throws(SQLError) -> String {
    let tag = vacuum.isVacuum ? "VACUUM" : "ANALYZE"
    let analyzes = !vacuum.isVacuum || vacuum.options.contains { $0.name == "analyze" }
    if vacuum.isVacuum, block == .explicit {
      throw SQLError(.activeTransaction, "VACUUM cannot run inside a transaction block")
    }
    let binder = try makeBinder()
    var tables: [TableDescriptor] = []
    for target in vacuum.tables { tables.append(try binder.table(target.name, for: "analyze")) }
    if vacuum.tables.isEmpty { tables = try catalog().allTables }
    // Another's table is passed over, as in PostgreSQL.
    let rights = try rights()
    tables.removeAll { table in
      guard !rights.owns(table.owner) else { return false }
      let verb = vacuum.isVacuum ? "vacuum" : "analyze"
      warn(
        sink, SQLState(rawValue: "01000"), "skipping \"\(table.name)\" --- only table or database owner can \(verb) it")
      return true
    }
    guard analyzes else { return tag }
    for table in tables { try analyze(table) }
    return tag
  }
}
