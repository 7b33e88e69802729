extension Syntax.Statement {
  fileprivate var isOverRows: Bool {
    switch self {
    case .query, .insert, .update, .delete: true
    default: false
    }
  }
}

extension SQLSession {
  // MARK: The extended protocol: parse, describe, bind, execute

  /// Parses and plans `text` under `name` (empty: the unnamed statement, which is replaced).
  ///
  /// - Parameter parameterTypes: the types of $1, $2, …; unknown (705) or missing ones are inferred.
  /// - Parameter fixesResult: the columns must stay as they are now, because the client may not ask for them again: after a
  ///   change of the tables running it fails with 0A000, as PostgreSQL has it and drivers expect.
  /// - Throws: what parsing and planning raise; 42601 for more than one statement; 42P05 for a name in use.
  @discardableResult
  package func prepare(
    _ name: String, _ text: String, parameterTypes: [SQLType] = [], fixesResult: Bool = false
  ) throws(SQLError) -> PreparedStatement {
    startClock()
    do throws(SQLError) {
      if block == .failed {
        let parsed = try SQLParser.parseStatement(text)
        guard let statement = parsed?.statement, case .transaction = statement else {
          throw SQLError(
            .failedTransaction, "current transaction is aborted, commands ignored until end of transaction block")
        }
      }
      guard name.isEmpty || prepared[name] == nil else {
        throw SQLError(.duplicatePreparedStatement, "prepared statement \"\(name)\" already exists")
      }
      let statement = try makePrepared(text, parameterTypes)
      statement.isResultFixed = fixesResult
      prepared[name] = statement
      return statement
    } catch {
      statementFailed()
      throw error
    }
  }

  private func makePrepared(_ text: String, _ types: [SQLType]) throws(SQLError) -> PreparedStatement {
    let parsed = try SQLParser.parseStatement(text)
    let prepared = PreparedStatement(
      text: text, statement: parsed?.statement, position: 0, parameterTypes: types)
    guard let statement = parsed?.statement else { return prepared }
    try inTransaction { () throws(SQLError) in
      switch statement {
      case .query, .insert, .update, .delete: _ = try self.runner(prepared)
      case .explain(let explain) where explain.statement.isOverRows:
        // Its parameters are those of the statement that it explains.
        let inner = PreparedStatement(text: text, statement: explain.statement, position: 0, parameterTypes: types)
        _ = try self.plan(inner)
        prepared.describe(parameterTypes: inner.parameterTypes, columns: try self.utilityColumns(statement))
      default: prepared.describe(parameterTypes: types, columns: try self.utilityColumns(statement))
      }
    }
    return prepared
  }

  /// Runs `body` in the open transaction, or in one of its own that is dropped afterwards.
  func inTransaction(_ body: () throws(SQLError) -> Void) throws(SQLError) {
    if block == .failed { return }
    if transaction != nil {
      try freshSnapshot()
      return try body()
    }
    try begin(.init())
    defer { abandon() }
    try body()
  }

  /// The columns that a statement which is not over rows returns.
  private func utilityColumns(_ statement: Syntax.Statement) throws(SQLError) -> [ColumnDescription]? {
    switch statement {
    case .show(let show):
      if show.name == "all" {
        return ["name", "setting", "description"].map { ColumnDescription(name: $0, type: .text) }
      }
      return [ColumnDescription(name: Settings.byName[show.name]?.name ?? show.name, type: .text)]
    case .explain(let explain):
      let isJSON = explain.options.contains {
        $0.name == "format" && [.word("json"), .string("json")].contains($0.value)
      }
      return [ColumnDescription(name: "QUERY PLAN", type: isJSON ? .json : .text)]
    case .execute(let execute): return prepared[execute.name.text]?.columns
    case .fetch(let fetch):
      let name = fetch.cursor.text
      return fetch.isMove ? nil : cursors[name]?.columns ?? portals[name]?.columns
    default: return nil
    }
  }

  /// The statement under `name`.
  ///
  /// - Throws: 26000.
  package func statement(_ name: String) throws(SQLError) -> PreparedStatement {
    guard let statement = prepared[name] else {
      let shown =
        name.isEmpty ? "unnamed prepared statement does not exist" : "prepared statement \"\(name)\" does not exist"
      statementFailed()
      throw SQLError(SQLState(rawValue: "26000"), shown)
    }
    return statement
  }

  package func closeStatement(_ name: String) { prepared[name] = nil }

  /// Makes a portal of a statement and its parameters' values.
  ///
  /// - Throws: 08P01 for a wrong number of parameters; 26000.
  @discardableResult
  package func bind(
    _ portal: String, statement name: String, parameters: [Datum]
  ) throws(SQLError) -> Portal {
    let statement = try statement(name)
    return try bind(portal, statement, parameters)
  }

  @discardableResult
  package func bind(
    _ portal: String, _ statement: PreparedStatement, _ parameters: [Datum]
  ) throws(SQLError) -> Portal {
    guard parameters.count == statement.parameterTypes.count else {
      statementFailed()
      throw SQLError(
        .protocolViolation,
        "bind message supplies \(parameters.count) parameters, but prepared statement requires \(statement.parameterTypes.count)"
      )
    }
    let bound = Portal(statement, parameters)
    portals[portal] = bound
    return bound
  }

  /// The portal under `name`; a cursor of DECLARE is one.
  ///
  /// - Throws: 34000.
  package func portal(_ name: String) throws(SQLError) -> Portal {
    guard let portal = portals[name] ?? cursors[name].map(Portal.init) else {
      statementFailed()
      throw SQLError(SQLState(rawValue: "34000"), "portal \"\(name)\" does not exist")
    }
    return portal
  }

  package func closePortal(_ name: String) {
    if portals.removeValue(forKey: name) == nil { cursors[name] = nil }
  }

  /// Runs a portal. With `maxRows` > 0 at most so many rows are given: false is returned while there are more (the answer
  /// is then PortalSuspended, and no tag is given). With `isPart` a statement outside of any block is the beginning of an
  /// implicit transaction that `sync` ends; otherwise it is a transaction of its own.
  @discardableResult
  package func execute(
    _ portal: Portal, maxRows: Int = 0, isPart: Bool = false, _ sink: any ResultSink
  ) throws(SQLError) -> Bool {
    self.sink = sink
    defer { self.sink = nil }
    startClock()
    if maxRows <= 0, portal.rows == nil {
      try run(portal.statement, portal.parameters, sink, isPart: isPart, mayDefer: true)
      portal.isComplete = true
      return true
    }
    if block == .failed, portal.rows != nil {
      throw SQLError(
        .failedTransaction, "current transaction is aborted, commands ignored until end of transaction block")
    }
    if portal.rows == nil { try begin(portal, isPart: isPart, sink) }
    guard let rows = portal.rows else { return true }
    if let columns = portal.statement.columns { try sink.columns(columns) }
    if let cursor = portal.cursor { portal.position = cursor.position }
    var given = 0
    var isAtEnd = false
    do throws(SQLError) {
      while !isAtEnd, maxRows <= 0 || given < maxRows {
        guard let row = try rows.row(portal.position + 1) else {
          isAtEnd = true
          break
        }
        try unsafe sink.row(row.buffer)
        portal.position += 1
        given += 1
      }
    } catch {
      let told = settled(error)
      statementFailed()
      throw told
    }
    portal.cursor?.position = isAtEnd ? rows.count + 1 : portal.position
    guard isAtEnd else { return false }
    portal.isComplete = true
    sink.completed(portal.tag.hasPrefix("SELECT ") ? "SELECT \(given)" : portal.tag)
    return true
  }

  /// Makes the rows of a portal that is read in pieces: the query is suspended where that is possible.
  private func begin(_ portal: Portal, isPart: Bool, _ sink: any ResultSink) throws(SQLError) {
    portal.depth = savepoints.count
    // Outside of a block, where this call is a transaction of its own, nothing can stay open.
    if block == .explicit || block == .implicit || isPart, case .query = portal.statement.statement {
      do throws(SQLError) {
        if try stream(portal, isPart: isPart) { return }
      } catch {
        let told = settled(error)
        statementFailed()
        throw told
      }
    }
    let keeper = KeepingSink(self, sink)
    try run(portal.statement, portal.parameters, keeper, isPart: isPart)
    portal.rows = CursorRows(keeper.rows ?? keptRows(width: 1))
    portal.tag = keeper.tag
  }

  private func stream(_ portal: Portal, isPart: Bool) throws(SQLError) -> Bool {
    guard block != .failed, settings.frequent.idempotencyKey == nil else { return false }
    if block == .none { block = .implicit }
    if transaction == nil { try begin(.init()) } else { try freshSnapshot() }
    let runner = try runner(portal.statement)
    guard runner.canBeSuspended else { return false }
    hasRun = true
    portal.rows = CursorRows(try RowStream(runner, self, portal.parameters), keepingIn: nil)
    portal.tag = "SELECT 0"
    return true
  }

  /// Ends an implicit transaction: Sync. Portals end with it.
  package func sync() throws(SQLError) {
    if block == .implicit { try commit(mayDefer: true) }
    if block == .none { portals = [:] }
  }
}

/// Keeps the rows of a portal that is read in pieces.
private final class KeepingSink: ResultSink {
  private let inner: any ResultSink
  private let session: SQLSession
  private(set) var rows: KeptRows?
  private(set) var tag = ""
  init(_ session: SQLSession, _ inner: any ResultSink) {
    self.session = session
    self.inner = inner
  }
  func columns(_ columns: [ColumnDescription]) throws(SQLError) {
    rows = session.keptRows(width: columns.count)
  }
  func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
    unsafe try rows?.add(values)
  }
  func completed(_ tag: String) { self.tag = tag }
  func notice(_ notice: SQLNotice) { inner.notice(notice) }
  func empty() { inner.empty() }
}
