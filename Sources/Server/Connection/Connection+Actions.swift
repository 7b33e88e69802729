internal import Logging
internal import SQL
internal import Synchronization
internal import Transactions
internal import Wire

// What each action of the conversation is.

extension Connection {
  /// Does what the client asked, up to where more must come from it or from the log.
  func perform() {
    while !isEnded {
      if let report = dueTermination() { wire.terminate(report) }
      guard passesGate() else { return }
      let action = wire.next()
      note(action)
      switch action {
      case .read, .wait: return
      case .flush: flush()
      case .execute(let portal, let rowLimit): execute(portal, rowLimit)
      case .bind(let message): attempt { () throws(SQLError) in try self.bind(message) }
      case .sync(let failed): sync(failed: failed)
      case .parse(let message):
        attempt { () throws(SQLError) in
          note(message.query)
          try self.session.prepare(
            message.name, message.query, parameterTypes: message.parameterTypes.map(Self.parameterType),
            fixesResult: true)
        }
      case .describe(let target): attempt { () throws(SQLError) in try self.describe(target) }
      case .close(let target):
        switch target {
        case .statement(let name): session.closeStatement(name)
        case .portal(let name): session.closePortal(name)
        }
        complete()
      case .query(let text): query(text)
      case .fail(let report):
        session.messageFailed()
        wire.failed(report, status)
      case .startTLS:
        flush()
        stream.startTLS(received: wire.takeUnread())
      case .cancel(let key):
        services.registry.cancel(key)
        services.relays.cancel(key)
      case .authenticate(let startup): authenticate(startup)
      case .checkPassword: wire.passwordChecked(false)
      case .open(let startup): open(startup)
      // Data of a COPY that nobody reads any more.
      case .copyData: break
      case .copyDone: complete()
      case .copyFail(let report): wire.failed(report, status)
      case .disconnect:
        end()
        return
      }
    }
  }

  /// Whether the client is in the middle of what ends with Sync.
  private func note(_ action: ServerSession.Action) {
    switch action {
    case .parse, .bind, .describe, .execute, .close: isMidSequence = true
    case .query, .sync: isMidSequence = false
    default: break
    }
  }

  /// The session; there is one once the client was let in.
  var session: SQLSession {
    guard let sql else { preconditionFailure("a statement before the session was opened") }
    return sql
  }

  var status: Wire.TransactionStatus {
    guard let sql else { return .idle }
    switch sql.status {
    case .idle: return .idle
    case .inBlock: return .active
    case .failed: return .failed
    }
  }

  // MARK: Ends of actions

  private func complete() {
    if !isCopyDone { drainCopy() }
    if case .closed = wire.phase { return }
    wire.completed(status)
  }

  private func attempt(_ body: () throws(SQLError) -> Void) {
    do throws(SQLError) {
      try body()
      wire.completed(status)
    } catch { fail(error) }
  }

  func fail(_ error: SQLError) {
    isCopyDone = true
    var error = error
    if error.state == .queryCanceled, let sql { error = interruptionOr(error, sql) }
    services.metrics.failed(error.state)
    logFailure(error)
    wire.failed(WireReport(error), status)
  }

  /// What the interruption of a lock wait is called by whoever interrupted it.
  private func interruptionOr(_ error: SQLError, _ sql: SQLSession) -> SQLError {
    error.message == "canceling statement due to user request" ? sql.interruption() : error
  }

  /// Ends a step that may have left a commit behind, which is then waited for.
  private func finishStep() {
    guard let pending = session.pendingCommit else { return complete() }
    awaitsCommit = true
    pending.whenDone { [self] failure in stream.execute { self.commitEnded(failure) } }
  }

  /// The commit of the running message came to its end.
  private func commitEnded(_ failure: TransactionError?) {
    awaitsCommit = false
    finishCommit(failure)
    turn()
  }

  private func finishCommit(_ failure: TransactionError?) {
    guard let sql else { return }
    do throws(SQLError) {
      try sql.finishCommit(failure, sink)
      complete()
    } catch { fail(error) }
  }

  // MARK: Statements

  private func query(_ text: String) {
    begin(text)
    sink.begin(describes: true)
    do throws(SQLError) {
      try session.execute(text, sink)
      finishStep()
    } catch { fail(error) }
    finish()
  }

  private func execute(_ name: String, _ rowLimit: Int) {
    do throws(SQLError) {
      let portal = try session.portal(name)
      begin(portal.statement.text)
      sink.begin(describes: false, formats: portal.resultFormats)
      // Before a Sync that is here already, a statement may as well be a transaction of its own: its answer then follows
      // its commit, and it can be run again unseen after a serialization failure.
      let isPart = session.isInImplicitTransaction || !wire.isSyncNext
      if try !session.execute(portal, maxRows: rowLimit, isPart: isPart, sink) { wire.output.portalSuspended() }
      finishStep()
    } catch { fail(error) }
    finish()
  }

  private func sync(failed: Bool) {
    do throws(SQLError) {
      try session.sync()
      finishStep()
    } catch { fail(error) }
  }

  private static func parameterType(_ oid: UInt32) -> SQLType { SQLType(oid == 0 ? .unknown : TypeID(oid)) }

  private func bind(_ message: BindMessage) throws(SQLError) {
    let statement = try session.statement(message.statement)
    let parameters = try decodeParameters(message, statement)
    let portal = try session.bind(message.portal, statement, parameters)
    let columns = statement.columns?.count ?? 0
    let formats = message.resultFormats
    if formats.count > 0 {
      guard formats.count == 1 || formats.count == columns || columns == 0 else {
        session.messageFailed()
        throw SQLError(
          SQLState(rawValue: "08P01"),
          "bind message has \(formats.count) result formats but query has \(columns) columns")
      }
      portal.resultFormats = (0..<formats.count).map { formats.format($0, in: wire.input.buffer) == .binary }
    }
  }

  private func decodeParameters(
    _ message: BindMessage, _ statement: PreparedStatement
  ) throws(SQLError) -> [Datum] {
    let types = statement.parameterTypes
    let formats = message.parameterFormats
    guard formats.count <= 1 || formats.count == message.parameters.remaining else {
      session.messageFailed()
      throw SQLError(
        SQLState(rawValue: "08P01"),
        "bind message has \(formats.count) parameter formats but \(message.parameters.remaining) parameters")
    }
    var values = message.parameters
    guard values.remaining == types.count else {
      session.messageFailed()
      throw SQLError(
        SQLState(rawValue: "08P01"),
        "bind message supplies \(values.remaining) parameters, but prepared statement \"\(message.statement)\" requires \(types.count)"
      )
    }
    var data: [Datum] = []
    data.reserveCapacity(types.count)
    do throws(SQLError) {
      for index in types.indices {
        guard let value = values.next(in: wire.input.buffer) else { break }
        switch value {
        case .null: data.append(.null)
        case .bytes(let slice):
          let isBinary = formats.format(index, in: wire.input.buffer) == .binary
          data.append(
            try wire.input.buffer.withBytes(of: slice) { (span: RawSpan) throws(SQLError) in
              try decoder.decode(span, types[index], isBinary: isBinary, session)
            })
        }
      }
    } catch {
      session.messageFailed()
      throw error
    }
    return data
  }

  private func describe(_ target: WireTarget) throws(SQLError) {
    switch target {
    case .statement(let name):
      let statement = try session.statement(name)
      wire.output.parameterDescription(statement.parameterTypes.map(\.id.rawValue))
      describe(statement.columns, [])
    case .portal(let name):
      let portal = try session.portal(name)
      describe(portal.columns, portal.resultFormats)
    }
  }

  private func describe(_ columns: [ColumnDescription]?, _ formats: [Bool]) {
    guard let columns else { return wire.output.noData() }
    wire.output.rowDescription(WireSink.fields(columns, formats))
  }

  /// COPY FROM STDIN begins.
  func beginCopyIn(_ description: CopyDescription) {
    isCopyDone = false
    wire.beginCopyIn(WireSink.formats(description))
  }

  /// The COPY is done with its data before the client is.
  private func drainCopy() {
    do throws(SQLError) { while try nextCopyData() != nil {} } catch {}
    isCopyDone = true
  }

  // MARK: The end

  /// Why the connection must end now, if so: never in the middle of a statement.
  private func dueTermination() -> WireReport? {
    switch wire.phase {
    case .busy, .copying, .closed: return nil
    case .opening, .idle: return shared.withLock { $0.termination }
    }
  }

  /// Sends what is left, closes, and forgets everything.
  func end() {
    guard !isEnded else { return }
    flush()
    isEnded = true
    closeSession()
    limit.owner.withLock { $0 = nil }
    stream.close()
    endDeparture()
    services.ended(self)
  }

  /// Ends the session, if there is one; the client may go on elsewhere.
  func closeSession() {
    setLimit(nil, milliseconds: 0)
    shared.withLock { $0.session = nil }
    if let clientKey { services.relays.remove(clientKey) }
    clientKey = nil
    guard let sql else { return }
    services.registry.remove(processID)
    sql.close()
    sql.onReportedSetting = nil
    self.sql = nil
    isWorking.store(false, ordering: .sequentiallyConsistent)
    services.metrics.connectionClosed()
    services.noteRest()
  }
}
