internal import Transactions

// BEGIN, COMMIT and their kin.

extension SQLSession {
  /// BEGIN and its kin; false if the statement needs a transaction and is run in one.
  func control(
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
