internal import Encoding
internal import Log
package import Platform
package import Replication
package import SQL
internal import Storage
internal import Synchronization
internal import Transactions

/// The first byte of the user's own keys; SQL's keys begin with others.
let userKeySpace: UInt8 = 1

/// A durable, transactional database in a directory, open in this process.
///
/// ```swift
/// let database = try Database.open(at: "my.db")
/// try database.transaction(isolation: .serializable) { transaction in
///   try transaction.put(key, value)
/// }
/// ```
///
/// An acknowledged commit survives a crash of the process, of the system, and a power cut. One process has a directory
/// open at a time. Safe to use from any number of threads.
public final class Database: Sendable {
  let core: Core
  let options: DatabaseOptions

  private struct Shared: ~Copyable {
    var sql: SQLDatabase?
    var sessions: [IdleSession] = []
  }
  /// `@unchecked Sendable`: a session waits here while nobody uses it, and whoever takes it has it alone.
  private struct IdleSession: @unchecked Sendable {
    let session: Session
  }
  private let shared = Mutex(Shared())

  private let link: DatabaseLink

  init(core: Core, options: DatabaseOptions, link: DatabaseLink = DatabaseLink()) {
    self.core = core
    self.link = link
    self.options = options
  }

  /// Opens the database at `path`, making it if it is not there, and recovers what a crash left.
  ///
  /// - Throws: `DatabaseError`: 55006 where another process has it open, 58P01 where the path holds something else, 0A000
  ///   for a newer format, XX001 for damage (naming file and offset), 58030 for what the system refuses.
  public static func open(at path: String, _ options: DatabaseOptions = DatabaseOptions()) throws(DatabaseError)
    -> Database
  {
    try open(at: path, options, disk: LinuxDisk(), clock: LinuxClock(), tuning: CoreTuning())
  }

  /// Opens a database over any disk and clock: what tests and the simulator use.
  package static func open(
    at path: String, _ options: DatabaseOptions, disk: any Disk, clock: any Clock, tuning: CoreTuning
  ) throws(DatabaseError) -> Database {
    Database(core: try Core(path: path, disk: disk, clock: clock, options: options, tuning: tuning), options: options)
  }

  /// Opens a database as a node of a cluster.
  package static func open(
    at path: String, _ options: DatabaseOptions, disk: any Disk, clock: any Clock, tuning: CoreTuning,
    node: ClusterNodeSetup
  ) throws(DatabaseError) -> Database {
    let link = DatabaseLink()
    let core = try Core(path: path, disk: disk, clock: clock, options: options, tuning: tuning, node: node) {
      link.sql?.leadershipChanged()
    }
    return Database(core: core, options: options, link: link)
  }

  /// This node's log among the others'; nil where there is one node.
  package var replication: ReplicatedLog? { core.replicated }

  /// Waits for what is being written and lets go of the directory; idempotent. Transactions that are open fail.
  public func close() throws(DatabaseError) {
    shared.withLock { shared in
      shared.sessions = []
      shared.sql = nil
    }
    try core.close()
  }

  /// Runs `body` in a transaction and commits it; runs it again after a serialization failure or deadlock, up to
  /// `DatabaseOptions.maximumRetries` times, so it should have no effects outside the transaction.
  ///
  /// - Parameters:
  ///   - isolation: the level; the database's default where nil.
  ///   - isReadOnly: refuse writes; costs nothing at commit.
  ///   - isDurable: false returns before the log is on the disk: a crash may lose the last few commits, never their order.
  /// - Returns: what `body` returned.
  @discardableResult
  public func transaction<R>(
    isolation: IsolationLevel? = nil, isReadOnly: Bool = false, isDurable: Bool = true,
    _ body: (Transaction) throws -> R
  ) throws -> R {
    var attempt = 0
    while true {
      do {
        let inner = try begin(isolation ?? options.defaultIsolation, isReadOnly: isReadOnly, attempt: attempt)
        let transaction = Transaction(inner, self)
        do {
          let result = try body(transaction)
          try commit(transaction, isDurable: isDurable)
          return result
        } catch {
          rollback(transaction)
          throw error
        }
      } catch let error as DatabaseError where error.isRetryable && attempt < options.maximumRetries {
        attempt += 1
      }
    }
  }

  private func begin(
    _ isolation: IsolationLevel, isReadOnly: Bool, attempt: Int
  ) throws(DatabaseError) -> Transactions.Transaction {
    do throws(TransactionError) {
      return try core.manager.begin(
        TransactionOptions(isolation: isolation.inner, isReadOnly: isReadOnly || options.isReadOnly, attempts: attempt))
    } catch { throw DatabaseError(error) }
  }

  private func commit(_ transaction: Transaction, isDurable: Bool) throws(DatabaseError) {
    guard let session = transaction.session else {
      do throws(TransactionError) { _ = try transaction.inner.commit(durable: isDurable) } catch {
        throw DatabaseError(error)
      }
      return
    }
    do throws(SQLError) { try session.sql.commitBlock(durable: isDurable) } catch { throw DatabaseError(error) }
    giveBack(session)
  }

  private func rollback(_ transaction: Transaction) {
    guard let session = transaction.session else { return transaction.inner.rollback() }
    session.sql.rollbackBlock()
    giveBack(session)
  }

  // MARK: SQL

  /// A new session, for transaction blocks, settings and prepared statements.
  public func makeSession() throws(DatabaseError) -> Session {
    let session = Session(try openSQL().makeSession())
    session.isolation = options.defaultIsolation
    if options.isReadOnly { _ = try session.run("SET default_transaction_read_only = on", []) }
    return session
  }

  /// Runs one or more statements outside of any block: each call is a transaction of its own, and is run again after a
  /// serialization failure or deadlock.
  @discardableResult
  public func execute(_ sql: String, _ parameters: any SQLValueConvertible...) throws(DatabaseError) -> Result {
    try runAlone(sql, parameters.map(\.sqlValue))
  }

  /// Runs a query outside of any block and returns its rows.
  public func query(_ sql: String, _ parameters: any SQLValueConvertible...) throws(DatabaseError) -> Result {
    try runAlone(sql, parameters.map(\.sqlValue))
  }

  func runAlone(_ sql: String, _ parameters: [SQLValue]) throws(DatabaseError) -> Result {
    let session = try takeSession()
    var attempt = 0
    while true {
      do throws(DatabaseError) {
        let result = try session.run(sql, parameters)
        // A block that the text left open ends with it.
        session.sql.rollbackBlock()
        giveBack(session)
        return result
      } catch {
        session.sql.rollbackBlock()
        guard error.isRetryable && attempt < options.maximumRetries else {
          giveBack(session)
          throw error
        }
        attempt += 1
      }
    }
  }

  /// The SQL side, made when it is first needed: a database of plain keys never has a catalog.
  func openSQL() throws(DatabaseError) -> SQLDatabase {
    try shared.withLock { (shared) throws(DatabaseError) in
      if let sql = shared.sql { return sql }
      var sqlOptions = SQLDatabase.Options()
      sqlOptions.disk = core.disk
      sqlOptions.temporaryDirectory = core.path
      sqlOptions.hasState = core.replicated?.keepsState ?? true
      sqlOptions.cluster = String(core.log.superblock.cluster.high, radix: 16)
      if sqlOptions.hasState {
        sqlOptions.backup = { [core] () throws(SQLError) in try BackupSource.begin(core) }
      }
      do throws(SQLError) {
        let sql = try SQLDatabase(manager: core.manager, options: sqlOptions)
        shared.sql = sql
        link.sql = sql
        return sql
      } catch { throw DatabaseError(error) }
    }
  }

  /// How long durable writes to the log took.
  package var logWriteTimes: DurationHistogram { core.log.writeTimes }

  /// The id of this database's history, which strangers do not know.
  package var identityBytes: [UInt8] {
    let identity = core.log.superblock.cluster
    return [identity.high, identity.low].flatMap { word in
      (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
    }
  }

  /// The same for the server, which makes sessions of its own.
  package func sqlDatabase() throws(DatabaseError) -> SQLDatabase { try openSQL() }

  /// A session from those that wait, or a new one.
  func takeSession() throws(DatabaseError) -> Session {
    if let session = shared.withLock({ $0.sessions.popLast() }) { return session.session }
    return try makeSession()
  }

  func giveBack(_ session: Session) {
    shared.withLock { shared in
      if shared.sessions.count < 64 { shared.sessions.append(IdleSession(session: session)) }
    }
  }

  // MARK: Keys and values

  /// The newest committed value of `key`.
  public func get(_ key: [UInt8]) throws -> [UInt8]? {
    try transaction(isReadOnly: true) { transaction in try transaction.get(key) }
  }

  /// Writes `value` under `key`, durably, in a transaction of its own.
  public func put(_ key: [UInt8], _ value: [UInt8]) throws {
    try transaction { transaction in try transaction.put(key, value) }
  }

  /// Removes `key`, durably, in a transaction of its own.
  public func delete(_ key: [UInt8]) throws {
    try transaction { transaction in try transaction.delete(key) }
  }

  // MARK: Maintenance

  /// Moves everything committed into tables, so that opening the database replays nothing.
  public func flush() throws { try maintained { () throws(StorageError) in try core.engine.flush() } }

  /// Flushes, and merges all tables: what was deleted or overwritten gives its space back.
  public func compact() throws { try maintained { () throws(StorageError) in try core.engine.compact() } }

  private func maintained(_ body: () throws(StorageError) -> Void) throws(DatabaseError) {
    do throws(StorageError) { try body() } catch { throw DatabaseError(TransactionError.storage(error)) }
  }

  // MARK: Observation

  /// The last failures that were due to other transactions, newest last, each with who, where and why.
  public var recentConflicts: [DatabaseError] { core.manager.recentConflicts.map { DatabaseError($0.error) } }

  /// Every row lock that is held or waited for: transaction, key, strength, granted or not.
  public var locks: [[String]] {
    core.manager.locks().map {
      ["\($0.transaction)", "\($0.keys)", "\($0.strength)", $0.isGranted ? "granted" : "waits"]
    }
  }

  /// How long the sequencer was kept by certifying serializable transactions, in nanoseconds: a sample of the last ones.
  package var certificationNanoseconds: [Int] { core.manager.certificationNanoseconds.map { Int($0) } }

  /// Counts since the database was opened.
  public var statistics: DatabaseStatistics {
    let transactions = core.manager.statistics
    let engine = core.engine.statistics
    var statistics = DatabaseStatistics()
    statistics.logBytesWritten = core.log.framesSizeBytes
    statistics.commits = transactions.committed
    statistics.readOnlyCommits = transactions.committedReadOnly
    statistics.rollbacks = transactions.rolledBack
    statistics.serializationFailures =
      transactions.concurrentUpdateFailures + transactions.cycleFailures + transactions.undecidedFailures
    statistics.deadlocks = transactions.deadlocks
    statistics.lockWaits = transactions.lockWaits
    statistics.flushes = engine.flushes
    statistics.compactions = engine.compaction.merges
    statistics.tableBytes = engine.tableSizeBytesPerLevel.reduce(0, +)
    statistics.compactionBytesWritten = engine.compaction.writtenSizeBytes
    return statistics
  }
}

/// What a database has done since it was opened.
public struct DatabaseStatistics: Hashable, Sendable {
  /// Bytes written to the log, padding and control records included.
  public var logBytesWritten: UInt64 = 0
  /// Transactions that committed writes.
  public var commits: UInt64 = 0
  /// Transactions that committed without writing.
  public var readOnlyCommits: UInt64 = 0
  /// Transactions that were rolled back.
  public var rollbacks: UInt64 = 0
  /// Transactions that failed with 40001.
  public var serializationFailures: UInt64 = 0
  /// Transactions that failed with 40P01.
  public var deadlocks: UInt64 = 0
  /// How often a transaction waited for a lock.
  public var lockWaits: UInt64 = 0
  /// Memtables that were written to tables.
  public var flushes = 0
  /// Merges of tables.
  public var compactions = 0
  /// Bytes in tables now.
  public var tableBytes: UInt64 = 0
  /// Bytes that merges wrote.
  public var compactionBytesWritten: UInt64 = 0
}

extension IsolationLevel {
  var inner: Transactions.IsolationLevel {
    switch self {
    case .readCommitted: .readCommitted
    case .repeatableRead: .repeatableRead
    case .serializable: .serializable
    }
  }
}
