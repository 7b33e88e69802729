/// Transactions, settings, prepared statements, cursors, utilities.
extension SQLWriter {
  mutating func session(_ statement: Syntax.Statement) {
    switch statement {
    case .transaction(let transaction): self.transaction(transaction.kind)
    case .lock(let lock):
      word("LOCK TABLE ")
      list(lock.tables) { $0.relation($1) }
      word("IN " + lock.mode.rawValue.uppercased() + " MODE")
      if lock.noWait { word("NOWAIT") }
    case .set(let setting): set(setting)
    case .show(let show): word("SHOW " + Self.settingName(show.name))
    case .reset(let reset): self.reset(reset)
    case .discard(let what):
      let words = [Syntax.Discard.all: "ALL", .plans: "PLANS", .sequences: "SEQUENCES", .temporary: "TEMPORARY"]
      word("DISCARD " + (words[what] ?? ""))
    case .listen(let channel): word("LISTEN " + Self.quoted(channel.text))
    case .unlisten(let channel): word("UNLISTEN " + (channel.map { Self.quoted($0.text) } ?? "*"))
    case .notify(let notify):
      word("NOTIFY " + Self.quoted(notify.channel.text))
      if let payload = notify.payload { write(", " + Self.literal(payload)) }
    case .prepare(let prepare):
      word("PREPARE")
      name(prepare.name)
      if !prepare.types.isEmpty { parenthesized(prepare.types) { $0.type($1) } }
      word("AS")
      self.statement(prepare.statement)
    case .execute(let execute): self.execute(execute)
    case .deallocate(let name): word("DEALLOCATE " + (name.map { Self.quoted($0.text) } ?? "ALL"))
    case .declareCursor(let declare): declareCursor(declare)
    case .fetch(let fetch): self.fetch(fetch)
    case .closeCursor(let name): word("CLOSE " + (name.map { Self.quoted($0.text) } ?? "ALL"))
    default: utility(statement)
    }
  }

  private mutating func utility(_ statement: Syntax.Statement) {
    switch statement {
    case .explain(let explain):
      word("EXPLAIN")
      utilityOptions(explain.options)
      self.statement(explain.statement)
    case .vacuum(let vacuum):
      word(vacuum.isVacuum ? "VACUUM" : "ANALYZE")
      utilityOptions(vacuum.options)
      if !vacuum.tables.isEmpty { space() }
      list(vacuum.tables) { writer, table in
        writer.name(table.name)
        writer.names(table.columns)
      }
    case .reindex(let reindex):
      word("REINDEX")
      utilityOptions(reindex.options)
      switch reindex.kind {
      case .index: word("INDEX")
      case .table: word("TABLE")
      case .schema: word("SCHEMA")
      case .database: word("DATABASE")
      case .system: word("SYSTEM")
      }
      if reindex.concurrently { word("CONCURRENTLY") }
      name(reindex.name)
    case .checkpoint: word("CHECKPOINT")
    default: break
    }
  }

  // MARK: Transactions

  private mutating func transaction(_ kind: Syntax.TransactionStatement.Kind) {
    switch kind {
    case .begin(let modes):
      word("BEGIN")
      self.modes(modes)
    case .commit(let chain): word(chain ? "COMMIT AND CHAIN" : "COMMIT")
    case .rollback(let chain): word(chain ? "ROLLBACK AND CHAIN" : "ROLLBACK")
    case .savepoint(let name): word("SAVEPOINT " + Self.quoted(name.text))
    case .release(let name): word("RELEASE SAVEPOINT " + Self.quoted(name.text))
    case .rollbackTo(let name): word("ROLLBACK TO SAVEPOINT " + Self.quoted(name.text))
    case .setTransaction(let modes):
      word("SET TRANSACTION")
      self.modes(modes)
    case .setSession(let modes):
      word("SET SESSION CHARACTERISTICS AS TRANSACTION")
      self.modes(modes)
    case .setSnapshot(let snapshot):
      word("SET TRANSACTION SNAPSHOT")
      string(snapshot)
    case .setConstraints(let names, let deferred):
      word("SET CONSTRAINTS ")
      if names.isEmpty { write("ALL") } else { list(names) { $0.name($1) } }
      word(deferred ? "DEFERRED" : "IMMEDIATE")
    }
  }

  private mutating func modes(_ modes: Syntax.TransactionModes) {
    var separator = ""
    func next(_ words: String) -> String {
      defer { separator = "," }
      return separator + " " + words
    }
    if let isolation = modes.isolation { write(next("ISOLATION LEVEL " + isolation.rawValue.uppercased())) }
    if let readOnly = modes.readOnly { write(next(readOnly ? "READ ONLY" : "READ WRITE")) }
    if let deferrable = modes.deferrable { write(next(deferrable ? "DEFERRABLE" : "NOT DEFERRABLE")) }
    if let asOf = modes.asOf {
      write(separator)
      self.asOf(asOf)
    }
  }

  // MARK: Settings

  private static func settingName(_ name: String) -> String {
    name.split(separator: ".", omittingEmptySubsequences: false).map { quoted(String($0)) }.joined(separator: ".")
  }

  mutating func set(_ setting: Syntax.SetSetting) {
    word(setting.scope == .local ? "SET LOCAL" : "SET")
    word(Self.settingName(setting.name))
    switch setting.value {
    case .values(let values):
      word("TO ")
      list(values) { $0.optionValue($1) }
    case .defaultValue: word("TO DEFAULT")
    case .fromCurrent: word("FROM CURRENT")
    }
  }

  mutating func reset(_ reset: Syntax.Reset) { word("RESET " + (reset.name.map(Self.settingName) ?? "ALL")) }

  // MARK: Prepared statements and cursors

  mutating func execute(_ execute: Syntax.Execute) {
    word("EXECUTE")
    name(execute.name)
    if !execute.arguments.isEmpty { parenthesized(execute.arguments) { $0.expression($1) } }
  }

  private mutating func declareCursor(_ declare: Syntax.DeclareCursor) {
    word("DECLARE")
    name(declare.name)
    if declare.binary { word("BINARY") }
    if let insensitive = declare.insensitive { word(insensitive ? "INSENSITIVE" : "ASENSITIVE") }
    if let scroll = declare.scroll { word(scroll ? "SCROLL" : "NO SCROLL") }
    word(declare.hold ? "CURSOR WITH HOLD FOR" : "CURSOR FOR")
    query(declare.query)
  }

  private mutating func fetch(_ fetch: Syntax.Fetch) {
    word(fetch.isMove ? "MOVE" : "FETCH")
    switch fetch.direction {
    case .forward(let count): word("FORWARD " + (count.map(String.init) ?? "ALL"))
    case .backward(let count): word("BACKWARD " + (count.map(String.init) ?? "ALL"))
    case .absolute(let place): word("ABSOLUTE \(place)")
    case .relative(let distance): word("RELATIVE \(distance)")
    }
    word("FROM")
    name(fetch.cursor)
  }
}
