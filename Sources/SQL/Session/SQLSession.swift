internal import Encoding
internal import Glibc
internal import Synchronization
package import Transactions

// A session: what a shell or a connection holds.
//
//                 BEGIN                       error
//      idle ───────────────▶ block ─────────────────────▶ failed
//       ▲ │ one statement     │ ▲                           │
//       │ └─ begin, run,      │ └──── ROLLBACK TO ──────────┤
//       │    commit           │ COMMIT, ROLLBACK            │ ROLLBACK, COMMIT (answers ROLLBACK)
//       └─────────────────────┴───────────────────────────────┘
//
// 1. Outside a block every statement is a transaction; the statements of one simple query are one transaction together
//    (an implicit block), as in PostgreSQL.
// 2. A statement that fails leaves the transaction to be rolled back: whole outside a block, to a savepoint inside one.
//    Nothing of it is ever committed.
// 3. A statement at read committed whose table was altered after its snapshot is planned again over a fresh one.

/// One conversation with the database. One thread at a time, except `cancel()`.
package final class SQLSession {
  package let database: SQLDatabase
  package let id: UInt64
  /// Who authenticated; see SQLSession+Rights.
  package let loginUser: String
  /// Called with name and value when a setting that clients follow changes.
  package var onReportedSetting: ((String, String) -> Void)?
  /// Where notices go; set while a call with a sink runs.
  var sink: (any ResultSink)?

  var settings: Settings
  private var settingsAtBegin: (values: [String: String], generation: UInt64)?
  /// Names set by SET LOCAL, with what they go back to when the transaction commits.
  var localSettings: [String: String] = [:]

  enum Block { case none, implicit, explicit, failed }
  var block = Block.none
  var transaction: Transaction?
  var savepoints: [(name: String, savepoint: Savepoint, catalog: CatalogSnapshot?, settings: [String: String])] = []
  /// The catalog as this transaction changed it.
  var localCatalog: CatalogSnapshot?
  /// The catalog that was read last, and the newest snapshot that is known to show it.
  var catalogAtSnapshot: (version: Version, catalog: CatalogSnapshot)?
  var transactionStart: Int64 = 0
  var statementStart: Int64 = 0
  private var modes = Syntax.TransactionModes()
  var cachedFormat = TextFormat()
  var names: SessionNames?
  var cachedSearchPath: [String] = []
  var cachedUser = ""
  var knownRights: Rights?
  var advisoryLocks = AdvisoryLocks()
  /// The settings that the cached format, user and search path were made of.
  var cachedGeneration = UInt64.max

  var prepared: [String: PreparedStatement] = [:]
  var portals: [String: Portal] = [:]
  var cursors: [String: Cursor] = [:]
  var deferredChecks: [PendingCheck] = []
  var constraintModes: [String: Bool] = [:]
  private var writers: [ObjectID: (table: TableDescriptor, writer: TableWriter)] = [:]
  var pastTransactions: [(version: UInt64, transaction: Transaction)] = []
  var currentValues: [UInt32: Int64] = [:]
  var lastSequence: UInt32?
  /// The statements that check and carry out foreign keys, by their text.
  var referenceStatements: [String: PreparedStatement] = [:]
  var referenceDepth = 0
  /// Whether a statement that reads or writes ran in the transaction.
  var hasRun = false
  /// The level by the name that was asked for: READ UNCOMMITTED is READ COMMITTED, but is called what it was called.
  var levelName = SQLSession.name(.readCommitted)
  private let interrupted = Atomic<UInt8>(0)
  /// How commits that end a message are made; nil: they block until they are durable.
  package var deferral: CommitDeferral?
  /// The commit that the caller is to wait for before it answers.
  package internal(set) var pendingCommit: PendingCommit?
  private var deadline: Int64 = 0
  /// Transactions in a row that failed to serialize, or were a deadlock's victim: taken for repetitions of one piece of
  /// work, so that it gets through in the end (`TransactionOptions.attempts`).
  var failures = 0
  /// Whether the transaction was begun by somebody else (`adopt`).
  var isAdopted = false

  /// The open transaction's number, if it asked for one, and the idempotency key that it holds (Outcomes.swift).
  var assignedNumber: Int64?
  var settledKey: String?
  /// What reads must show, and the last that this session committed (SessionToken.swift).
  var tokenVersion: UInt64 = 0

  /// Reads this node's state, whoever leads; see SQLSession+Local.swift.
  package internal(set) var isLocal = false
  /// Asked before each transaction of a local session.
  package var beforeLocalRead: (() throws(SQLError) -> Void)?

  init(_ database: SQLDatabase, id: UInt64, user: String) {
    self.database = database
    self.id = id
    loginUser = user
    settings = Settings(database.options.settings)
    settings.setInitial("session_authorization", user)
  }

  deinit {
    endStreams()
    transaction?.rollback()
    releaseAdvisoryLocks()
    names?.forget()
  }

  /// Ends the session: an open transaction is rolled back.
  package func close() {
    abandon()
    releaseAdvisoryLocks()
    prepared = [:]
    portals = [:]
  }

  package var status: TransactionStatus {
    switch block {
    case .none, .implicit: .idle
    case .explicit: .inBlock
    case .failed: .failed
    }
  }

  /// The isolation level of the open transaction, or of the next one.
  package var isolation: IsolationLevel {
    transaction?.isolation ?? settings.frequent.isolation
  }

  /// Why a statement was interrupted.
  package enum Interruption: UInt8, Sendable {
    case cancel = 1
    case timeout
    /// The session is to end: 57P01.
    case termination
  }

  /// Makes the running statement fail with 57014 (57P01 for a termination). Any thread; nothing happens when none runs.
  package func cancel(_ why: Interruption = .cancel) {
    interrupted.store(why.rawValue, ordering: .releasing)
    currentTransaction.withLock { $0 }?.cancel()
  }
  private let currentTransaction: Mutex<Transaction?> = Mutex(nil)

  /// What `cancel()` interrupts from here on.
  func follow(_ transaction: Transaction) { currentTransaction.withLock { $0 = transaction } }

  // MARK: Transactions

  /// Begins a transaction with the session's defaults and `modes`.
  func begin(
    _ modes: Syntax.TransactionModes, attempts: Int = 0, isOneStatement: Bool = false
  ) throws(SQLError) {
    var options = TransactionOptions(session: id)
    let defaults = settings.frequent
    options.isolation =
      modes.isolation.map { SQLSession.level($0.rawValue) }
      ?? defaults.isolation
    options.isReadOnly = modes.readOnly ?? defaults.isReadOnly
    options.isDeferrable = modes.deferrable ?? defaults.isDeferrable
    options.lockTimeoutNanoseconds = UInt64(defaults.lockTimeoutMilliseconds) * 1_000_000
    options.attempts = max(attempts, failures)
    options.isOneStatement = isOneStatement
    if let asOf = modes.asOf {
      options.asOf = try constantVersion(asOf)
      options.isReadOnly = true
    }
    if isLocal { try readLocally(&options) }
    let database = self.database
    let begun = try sqlErrors { () throws(TransactionError) in try database.manager.begin(options) }
    transaction = begun
    levelName =
      options.asOf == nil
      ? modes.isolation?.rawValue ?? defaults.isolationName : SQLSession.name(begun.isolation)
    follow(begun)
    settingsAtBegin = (settings.values, settings.generation)
    transactionStart = statementStart
  }

  private func constantVersion(_ asOf: Syntax.AsOf) throws(SQLError) -> Version {
    guard asOf.kind == .version, case .number(let text) = asOf.value.kind, let number = UInt64(text) else {
      throw SQLError(
        .featureNotSupported, "AS OF of a transaction must be VERSION and a number", position: place(asOf.position))
    }
    return Version(number)
  }

  /// Commits the open transaction. `mayDefer` says that nothing more is done before the answer: in a session that defers
  /// its commits this may then return with `pendingCommit` set (see `SQLSession+Commit.swift`).
  func commit(durable isDurable: Bool = true, mayDefer: Bool = false, tag: String? = nil) throws(SQLError) {
    guard let transaction else { return }
    do throws(SQLError) {
      let checks = deferredChecks
      deferredChecks = []
      if !checks.isEmpty {
        try runChecks(checks, transaction)
      }
      try holdCursors()
      if assignedNumber != nil || settings.frequent.idempotencyKey != nil { try noteOutcome(tag ?? "COMMIT") }
      let durable = isDurable && settings.frequent.isSynchronous
      if mayDefer, let deferral {
        if try postpone(transaction, deferral, durable: durable, tag: tag) { return }
      } else {
        let version = try sqlErrors { () throws(TransactionError) in try transaction.commit(durable: durable) }
        if let localCatalog, version != nil { database.catalogs.add(localCatalog) }
        if let version { reportCommit(version.rawValue) }
      }
    } catch {
      if error.state == .serializationFailure { failures += 1 }
      let told = settled(error)
      abandon()
      throw told
    }
    committed()
  }

  /// What is left to do once the transaction is committed.
  func committed() {
    failures = 0
    if assignedNumber != nil || settledKey != nil { forgetOutcome(committed: true) }
    if !localSettings.isEmpty {
      for (name, value) in localSettings {
        settings.set(name, value)
        report(name)
      }
    }
    ended()
  }

  /// A conflict with other transactions in the names that this session knows keys by.
  func explained(_ error: SQLError) -> SQLError {
    guard error.conflict != nil else { return error }
    return error.explained(localCatalog ?? database.catalogs.newest())
  }

  /// The error as the client is told it, once everything that it may be due to is durable.
  func settled(_ error: SQLError) -> SQLError {
    do throws(SQLError) {
      try sqlErrors { () throws(TransactionError) in try transaction?.awaitDependency() }
      return explained(error)
    } catch { return error }
  }

  /// Rolls the open transaction back; settings go back with it.
  func abandon() {
    endStreams()
    if !cursors.isEmpty { cursors = cursors.filter { !$0.value.rows.wasCutOff } }
    if transaction?.state == .failed { failures += 1 }
    transaction?.rollback()
    if let settingsAtBegin, transaction != nil, settings.generation != settingsAtBegin.generation {
      let changed = settings.values.filter { settingsAtBegin.values[$0.key] != $0.value }.map(\.key)
      settings.restore(settingsAtBegin.values)
      for name in changed { report(name) }
    }
    ended()
  }

  private func ended() {
    if assignedNumber != nil || settledKey != nil { forgetOutcome(committed: false) }
    transaction = nil
    isAdopted = false
    hasRun = false
    currentTransaction.withLock { $0 = nil }
    block = .none
    settingsAtBegin = nil
    // Almost always there is nothing of these.
    if !savepoints.isEmpty { savepoints = [] }
    if localCatalog != nil {
      localCatalog = nil
      catalogAtSnapshot = nil
    }
    if !localSettings.isEmpty { localSettings = [:] }
    if !deferredChecks.isEmpty { deferredChecks = [] }
    if !constraintModes.isEmpty { constraintModes = [:] }
    closePast()
    if !portals.isEmpty { portals = portals.filter { $0.value.isComplete || $0.value.rows?.wasCutOff == false } }
    if !cursors.isEmpty { cursors = cursors.filter { $0.value.isHeld } }
  }

  func closePast() {
    if pastTransactions.isEmpty { return }
    for past in pastTransactions { past.transaction.rollback() }
    pastTransactions = []
  }

  /// A fresh snapshot for the next statement at read committed.
  func freshSnapshot() throws(SQLError) {
    guard let transaction else { return }
    if isLocal, transaction.isolation == .readCommitted { try beforeLocalRead?() }
    // SET may have changed it since the transaction began.
    transaction.lockTimeoutNanoseconds = UInt64(settings.frequent.lockTimeoutMilliseconds) * 1_000_000
    // How old this node's state may be is asked when a snapshot is taken: BEGIN may have been long ago.
    if isLocal, transaction.willTakeSnapshot { try beforeLocalRead?() }
    try sqlErrors { () throws(TransactionError) in try transaction.beginStatement() }
  }

  // MARK: The catalog

  /// The catalog that the transaction sees now.
  func catalog() throws(SQLError) -> CatalogSnapshot {
    if let localCatalog { return localCatalog }
    guard let transaction else { preconditionFailure("the catalog is read in a transaction") }
    let snapshot = try sqlErrors { () throws(TransactionError) in try transaction.snapshot }
    if let known = catalogAtSnapshot, try CatalogStore.isUnchanged(transaction, since: known.version) {
      catalogAtSnapshot?.version = snapshot
      return known.catalog
    }
    let catalog = try CatalogStore.load(transaction, database.catalogs)
    catalogAtSnapshot = (snapshot, catalog)
    return catalog
  }

  /// The newest catalog, locked for a change of it.
  func catalogForChange() throws(SQLError) -> CatalogSnapshot {
    guard let transaction else { preconditionFailure("the catalog is changed in a transaction") }
    if transaction.isReadOnly {
      throw SQLError(.readOnlyTransaction, "cannot execute a definition in a read-only transaction")
    }
    let outcome = try sqlErrors { () throws(TransactionError) in
      try transaction.lock(KeySpace.catalogVersion, .update, .wait)
    }
    if outcome == .changed {
      try freshSnapshot()
      catalogAtSnapshot = nil
    }
    return try catalog()
  }

  /// Writes changes of the catalog; from here on this transaction sees them.
  func apply(_ changes: CatalogChanges) throws(SQLError) {
    guard let transaction, !changes.isEmpty else { return }
    let old = try catalog()
    try changes.write(transaction, over: old)
    localCatalog = changes.applied(to: old)
  }

  /// `checksRights` false: for statements of the system's own.
  func makeBinder(parameterTypes: [SQLType] = [], checksRights: Bool = true) throws(SQLError) -> Binder {
    let binder = Binder(
      catalog: try catalog(), registry: database.registry, searchPath: try usableSearchPath(), format: textFormat,
      parameterTypes: parameterTypes)
    if checksRights { binder.rights = try rights() }
    return binder
  }

  func makePlanner(_ binder: Binder) -> Planner {
    Planner(binder: binder, statistics: database.statistics) { [unowned self] table in self.sampledRows(table) }
  }

  /// A guess at the rows of a table that was never counted: the first few are counted now.
  private func sampledRows(_ table: TableDescriptor) -> Double {
    guard let transaction else { return 1000 }
    let limit = 2000
    var count = 0
    do throws(TransactionError) {
      let cursor = try transaction.cursor(KeySpace.range(table.storage), isRemembered: false)
      defer { cursor.close() }
      while count < limit, try cursor.next() { count += 1 }
    } catch { return 1000 }
    let rows = count < limit ? Double(count) : 100_000
    // An empty table is about to be filled: it is asked again.
    if count > 0 { database.statistics.set(table.storage, TableStatistics(rows: rows)) }
    return rows
  }

  // MARK: Interrupts

  func startClock() {
    interrupted.store(0, ordering: .relaxed)
    statementStart = EvaluationContext.clock()
    let timeout = settings.frequent.statementTimeoutMilliseconds
    deadline = timeout > 0 ? monotonicNanoseconds() + timeout * 1_000_000 : 0
  }

  package func checkInterrupt() throws(SQLError) {
    if interrupted.load(ordering: .relaxed) != 0 { throw interruption() }
    if deadline > 0, monotonicNanoseconds() > deadline {
      throw SQLError(.queryCanceled, "canceling statement due to statement timeout")
    }
  }

  /// What the last interruption is called.
  package func interruption() -> SQLError {
    switch Interruption(rawValue: interrupted.load(ordering: .acquiring)) {
    case .timeout: SQLError(.queryCanceled, "canceling statement due to statement timeout")
    case .termination: SQLError(.adminShutdown, "terminating connection due to administrator command")
    case .cancel, nil: SQLError(.queryCanceled, "canceling statement due to user request")
    }
  }

  func writer(_ table: TableDescriptor) throws(SQLError) -> TableWriter {
    if let known = writers[table.id], known.table === table { return known.writer }
    let writer = try TableWriter(table, try makeBinder(), sequences: database.sequences)
    if writers.count > 64 { writers.removeAll() }
    writers[table.id] = (table, writer)
    return writer
  }
  func forgetWriters() { writers.removeAll() }
}
