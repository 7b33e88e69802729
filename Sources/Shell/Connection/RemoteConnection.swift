internal import Synchronization
package import Synod
internal import Wire

/// A database behind a server, over PostgreSQL's protocol: `synod postgres://…`.
///
/// 1. A statement goes out as it was typed (simple protocol), so that it means what it means in psql.
/// 2. When the server goes away, the statement fails with 08006. A person's shell then connects again, and says that
///    settings and an open transaction are gone; a script's does not, because what follows in a script leans on what went
///    before. Where the server went away while nothing was under way, nothing is lost but settings: the statement is then
///    run on the new connection, after a notice.
/// 3. `cancel` is the one thing that another thread may call.
package final class RemoteConnection: ShellConnection {
  private var settings: ConnectionSettings
  private var link: ServerLink?
  private let reconnects: Bool
  private let askPassword: (_ user: String) -> String?
  /// The level that the prompt shows; asked for after each statement that may have changed it.
  private var level = IsolationLevel.readCommitted

  /// What `cancel` needs to know, for the thread of signals.
  private struct CancelTarget: Sendable {
    var settings: ConnectionSettings
    var host: ConnectionSettings.Host
    var key: CancelKey
    var isSecure: Bool
  }
  private let cancelTarget = Mutex<CancelTarget?>(nil)

  /// Connects. `askPassword` is called when the server wants a password that nobody gave; `reconnects` is for shells that
  /// a person sits at.
  package init(
    _ settings: ConnectionSettings, reconnects: Bool, askPassword: @escaping (_ user: String) -> String?
  ) throws(DatabaseError) {
    self.settings = settings
    self.reconnects = reconnects
    self.askPassword = askPassword
    try connect()
  }

  package var name: String { settings.database }
  package var isLost: Bool { link == nil }

  // MARK: Connecting

  /// Tries the hosts in their order; with `preferStandby` once for a standby, then for any.
  private func connect() throws(DatabaseError) {
    var problems: [DatabaseError] = []
    let targets: [ConnectionSettings.Target] = settings.target == .preferStandby ? [.standby, .any] : [settings.target]
    for target in targets {
      for host in settings.hosts {
        do throws(ServerLink.Refusal) {
          let candidate = try reach(host)
          if let reason = try unsuited(candidate, target) {
            problems.append(DatabaseError(sqlState: "08006", message: "\(host.description): \(reason)"))
            candidate.close()
            continue
          }
          adopt(candidate)
          refreshIsolation()
          return
        } catch {
          // Who is refused by one is not to try his luck with the next.
          guard error.kind == .unreachable || error.kind == .tls else { throw error.error }
          problems.append(error.error)
        }
      }
    }
    var error = problems.last ?? DatabaseError(sqlState: "08001", message: "no host was named")
    if problems.count > 1 { error.detail = problems.map(\.message).joined(separator: "\n         ") }
    throw error
  }

  /// One host, by the ways that sslmode allows.
  private func reach(_ host: ConnectionSettings.Host) throws(ServerLink.Refusal) -> ServerLink {
    switch settings.tls {
    case .disable: return try asking(host, .off)
    case .require, .verifyCA, .verifyFull: return try asking(host, .required)
    case .prefer:
      do throws(ServerLink.Refusal) { return try asking(host, .preferred) } catch {
        // A server whose TLS fails, or whose rules refuse it, is asked in clear, as libpq does.
        guard error.kind == .tls || error.kind == .refused && error.error.sqlState == "28000" else { throw error }
        return try asking(host, .off)
      }
    case .allow:
      do throws(ServerLink.Refusal) { return try asking(host, .off) } catch {
        guard error.kind == .refused && error.error.sqlState == "28000" else { throw error }
        return try asking(host, .required)
      }
    }
  }

  /// Asks for a password where the server wants one.
  private func asking(
    _ host: ConnectionSettings.Host, _ tls: ClientSession.Options.TLS
  ) throws(ServerLink.Refusal) -> ServerLink {
    do throws(ServerLink.Refusal) { return try ServerLink.attempt(settings, host, tls: tls) } catch {
      guard error.kind == .needsPassword, let password = askPassword(settings.user) else { throw error }
      settings.password = password
      return try ServerLink.attempt(settings, host, tls: tls)
    }
  }

  /// Why a server is not of the kind that was asked for, or nil.
  private func unsuited(_ link: ServerLink, _ target: ConnectionSettings.Target) throws(ServerLink.Refusal) -> String? {
    func isOn(_ parameter: String, _ question: String) throws(ServerLink.Refusal) -> Bool {
      if let told = link.parameters[parameter] { return told == "on" }
      let answer = Collector()
      do throws(DatabaseError) { try Conversation(link, answer).run(question) } catch {
        throw ServerLink.Refusal(kind: .unreachable, error: error)
      }
      return ["on", "t"].contains(answer.rows.first?.first ?? "")
    }
    func isStandby() throws(ServerLink.Refusal) -> Bool { try isOn("in_hot_standby", "SELECT pg_is_in_recovery()") }
    switch target {
    case .any, .preferStandby: return nil
    case .primary: return try isStandby() ? "server is a standby" : nil
    case .standby: return try isStandby() ? nil : "server is not a standby"
    case .readWrite, .readOnly:
      let standby = try isStandby()
      let refusesWrites = try isOn("default_transaction_read_only", "SHOW default_transaction_read_only")
      let isReadOnly = standby || refusesWrites
      if target == .readWrite { return isReadOnly ? "session is read-only" : nil }
      return isReadOnly ? nil : "session is not read-only"
    }
  }

  private func adopt(_ link: ServerLink) {
    self.link = link
    cancelTarget.withLock { target in
      target = link.session.key.map {
        CancelTarget(
          settings: settings, host: link.host, key: $0, isSecure: link.stream.tlsDescription != nil)
      }
    }
  }

  // MARK: Statements

  package func execute(_ sql: String, into sink: any ShellSink) throws(DatabaseError) {
    guard !sql.utf8.contains(0) else {
      throw DatabaseError(sqlState: "22021", message: "invalid byte sequence for encoding \"UTF8\": 0x00")
    }
    if reconnects, let old = link, old.session.transaction == .idle, old.hasEnded {
      forget()
      try connect()
      let place = link.map { " to \($0.host.description)" } ?? ""
      sink.notice(
        "NOTICE",
        DatabaseError(
          sqlState: "00000", message: "the server had ended the idle connection; connected again\(place)",
          hint: "Settings and prepared statements of the old connection are gone."))
    }
    if link == nil {
      guard reconnects else {
        throw DatabaseError(sqlState: "08003", message: "the connection to the server is lost")
      }
      try connect()
    }
    guard let link else { return }
    defer { if self.link != nil, Self.mayChangeIsolation(sql) { refreshIsolation() } }
    do throws(DatabaseError) { try Conversation(link, sink).run(sql) } catch {
      guard link.isOver else { throw error }
      throw lost(error)
    }
  }

  private func forget() {
    link = nil
    cancelTarget.withLock { $0 = nil }
  }

  /// The port of the server that is spoken with.
  package var port: UInt16? { link?.host.port }

  /// Gives the connection up without a word (the server would not hear it) and connects to another host, if one is there.
  package func moveOn() {
    guard let host = link?.host else { return }
    forget()
    settings.hosts = settings.hosts.filter { $0 != host } + [host]
    try? connect()
  }

  /// The server is gone: connects again where someone waits for it, and says what came of it.
  private func lost(_ error: DatabaseError) -> DatabaseError {
    let hadTransaction = link?.session.transaction != .idle
    forget()
    var error = error
    guard reconnects else { return error }
    do throws(DatabaseError) {
      try connect()
      let also = hadTransaction ? "the open transaction and " : ""
      error.hint = "Connected again. Gone with the old connection: \(also)its settings and prepared statements."
    } catch {
      return DatabaseError(
        sqlState: "08006", message: "the server closed the connection unexpectedly",
        detail: "Connecting again failed: \(error.message)", hint: "The next statement will try again.")
    }
    return error
  }

  private static func mayChangeIsolation(_ sql: String) -> Bool {
    let word = sql.drop { $0.isWhitespace }.prefix { $0.isLetter }.lowercased()
    return ["set", "reset", "begin", "start", "commit", "end", "rollback", "abort", "discard", "select"].contains(word)
      && (word != "select" || sql.contains("set_config"))
  }

  package func cancel() {
    guard let target = cancelTarget.withLock({ $0 }) else { return }
    guard let stream = try? SocketStream.connect(to: target.host, timeoutSeconds: 5) else { return }
    var message = WireBuffer()
    if target.isSecure {
      // As private as the connection that it is about.
      message.tlsRequest()
      var answer: [UInt8] = [0]
      guard (try? message.withBytes({ (bytes) throws(StreamProblem) in try stream.write(bytes) })) != nil,
        (try? stream.read(into: &answer)) == 1
      else { return }
      message.removeAll()
      if answer[0] == UInt8(ascii: "S") {
        guard (try? stream.startTLS(target.settings, host: target.host)) != nil else { return }
      }
    }
    message.cancelRequest(target.key)
    try? message.withBytes { (bytes) throws(StreamProblem) in try stream.write(bytes) }
    // The server closes when it has taken note: only then is the request sure to be about this statement.
    var rest: [UInt8] = [0]
    _ = try? stream.read(into: &rest)
  }

  package var transactionStatus: TransactionState {
    switch link?.session.transaction {
    case .active: .inTransaction
    case .failed: .failed
    case .idle, nil: .idle
    }
  }

  // MARK: Isolation

  package var isolation: IsolationLevel {
    get { level }
    set {
      let sink = Collector()
      try? execute("SET default_transaction_isolation = '\(newValue.rawValue)'", into: sink)
    }
  }

  private func refreshIsolation() {
    guard let link, transactionStatus != .failed else { return }
    let answer = Collector()
    let setting = transactionStatus == .idle ? "default_transaction_isolation" : "transaction_isolation"
    try? Conversation(link, answer).run("SHOW \(setting)")
    if let word = answer.rows.first?.first, let found = IsolationLevel(name: word ?? "") { level = found }
  }

  // MARK: What there is

  package func schemaObjects() throws(DatabaseError) -> [SchemaObject] {
    try RemoteSchema { (sql) throws(DatabaseError) in try self.rows(sql) }.objects()
  }

  /// The rows of a question of the shell's own.
  private func rows(_ sql: String) throws(DatabaseError) -> [[String?]] {
    let answer = Collector()
    try execute(sql, into: answer)
    return answer.rows
  }

  package var description: String {
    guard let link else { return "\"\(settings.database)\", which is not connected" }
    let version = link.parameters["server_version"].map { ", server \($0)" } ?? ""
    let tls = link.stream.tlsDescription.map { ", TLS (\($0))" } ?? ", without TLS"
    return "database \"\(settings.database)\" as \"\(settings.user)\" at \(link.host.description)\(version)\(tls)"
  }

  package func statistics() -> [(String, String)] {
    let question = """
      SELECT xact_commit, xact_rollback, deadlocks, pg_database_size(datname) FROM pg_stat_database \
      WHERE datname = current_database()
      """
    guard transactionStatus == .idle, let row = (try? rows(question))?.first, row.count == 4 else {
      return [("server", link?.parameters["server_version"] ?? "?")]
    }
    return zip(["commits", "rollbacks", "deadlocks", "bytes"], row).map { ($0, $1 ?? "") }
  }

  package func conflicts() throws(DatabaseError) -> [[String?]] {
    do throws(DatabaseError) { return try rows(ObservationQueries.conflicts) } catch {
      guard error.sqlState == "42P01" else { throw error }
      throw DatabaseError(
        sqlState: "0A000", message: "the server keeps its conflicts to itself",
        hint: "The error of an aborted transaction names the other one, the key and the reason in its DETAIL.")
    }
  }

  package func locks() throws(DatabaseError) -> [[String?]] {
    do throws(DatabaseError) { return try rows(ObservationQueries.locks) } catch {
      guard error.sqlState == "42P01" else { throw error }
      // PostgreSQL.
      return try rows(
        """
        SELECT coalesce(virtualtransaction, pid::text), coalesce(relation::regclass::text, transactionid::text, locktype), \
        mode, CASE WHEN granted THEN 'granted' ELSE 'waits' END FROM pg_locks WHERE pid <> pg_backend_pid()
        """)
    }
  }

  package func backup(to path: String, linksTables: Bool) throws(DatabaseError) -> String {
    guard !linksTables else {
      throw DatabaseError(
        sqlState: "0A000", message: "only files on this machine can be linked", hint: "Leave out --link.")
    }
    let sink = BackupSink(try BackupReceiver(path), stop: { [weak self] in self?.cancel() })
    do throws(DatabaseError) {
      try execute("COPY (SELECT file, position, data FROM synod_backup()) TO STDOUT (FORMAT binary)", into: sink)
      return try sink.finish().text
    } catch {
      sink.abandon()
      // What went wrong here tells more than that the statement was cancelled for it.
      if let failure = sink.failure { throw failure }
      guard error.sqlState == "42883" else { throw error }
      throw DatabaseError(
        sqlState: "0A000", message: "the server does not send backups: it is not SynodDB, or an older one",
        hint: "Use .dump, which writes statements that make the database again.")
    }
  }

  package func close() throws(DatabaseError) {
    link?.close()
    link = nil
  }
}

/// Keeps rows, for questions that the shell itself asks.
final class Collector: ShellSink {
  private(set) var rows: [[String?]] = []
  func columns(_ columns: [Column]) {}
  func row(_ fields: [String?]) { rows.append(fields) }
  func completed(_ tag: String) {}
  func notice(_ severity: String, _ notice: DatabaseError) {}
  func copyOut(_ bytes: [UInt8]) {}
  func copyIn() throws(DatabaseError) -> [UInt8]? { nil }
}
