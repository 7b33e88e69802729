package import Platform
internal import Synchronization
package import Transactions

/// A database as sessions see it: what they share. Thread-safe.
package final class SQLDatabase: Sendable {
  /// How a database is set up.
  package struct Options: Sendable {
    /// The one database of the directory, as `current_database()` says.
    package var name = "synod"
    /// The identity of the database's history, as session tokens name it.
    package var cluster = "0"
    /// Where temporary files go; nil: sorts that need more than work_mem fail with 53200.
    package var temporaryDirectory: String?
    package var disk: (any Disk)?
    /// False where this node has no tables, and every session is another node's: nothing is read or made then.
    package var hasState = true
    /// Settings that sessions begin with, over the built-in ones.
    package var settings: [String: String] = [:]
    /// Begins a backup of the files; nil where there are none.
    package var backup: (@Sendable () throws(SQLError) -> any BackupStream)?
    package init() {}
  }

  package let manager: TransactionManager
  package let options: Options
  package let registry: FunctionRegistry
  package let statistics = StatisticsStore()
  let sequences: SequenceStore
  let outcomes: OutcomeStore
  let catalogs = CatalogCache()
  /// Whoever knows the sessions: set by a server.
  package var activityProvider: (any ActivityProvider)? {
    get { provider.withLock { $0.server } }
    set { provider.withLock { $0 = Provider(server: newValue) } }
  }
  private struct Provider { weak var server: (any ActivityProvider)? }
  private let provider = Mutex(Provider(server: nil))
  private let nextSession = Atomic<UInt64>(1)
  private let nextFile = Atomic<UInt64>(1)

  /// Opens the catalog, making the initial one in an empty database.
  ///
  /// - Throws: what reading the catalog raises: data_corrupted, object_not_in_prerequisite_state for a newer format.
  package init(manager: TransactionManager, options: Options = .init()) throws(SQLError) {
    self.manager = manager
    self.options = options
    sequences = SequenceStore(manager: manager)
    outcomes = OutcomeStore(manager: manager)
    var registry = FunctionRegistry.builtin
    registry.addSessionFunctions()
    self.registry = registry
    guard options.hasState else { return }
    // In a cluster a node that does not lead opens the catalog that it has; only the leader makes one.
    var local = TransactionOptions(isReadOnly: true)
    local.isLocal = true
    let reading = try sqlErrors { () throws(TransactionError) in try manager.begin(local) }
    defer { reading.rollback() }
    if try CatalogStore.version(reading) != 0 {
      _ = try CatalogStore.load(reading, catalogs)
      return
    }
    let transaction = try sqlErrors { () throws(TransactionError) in try manager.begin() }
    defer { transaction.rollback() }
    if try CatalogStore.version(transaction) == 0 {
      try CatalogStore.bootstrap(transaction)
      try sqlErrors { () throws(TransactionError) in _ = try transaction.commit() }
    }
  }

  /// A new session; it belongs to one thread at a time.
  package func makeSession(user: String = "synod") -> SQLSession {
    SQLSession(self, id: nextSession.add(1, ordering: .relaxed).oldValue, user: user)
  }

  /// Forgets what was read ahead from shared state: after another node wrote.
  package func leadershipChanged() { sequences.forget() }

  func temporaryFile(limitBytes: UInt64) throws(SQLError) -> TemporaryFile {
    guard let disk = options.disk, let directory = options.temporaryDirectory else {
      throw SQLError(
        .outOfMemory, "the statement needs more than work_mem, and there is no directory for temporary files",
        hint: "Raise work_mem for this session.")
    }
    let number = nextFile.add(1, ordering: .relaxed).oldValue
    return try TemporaryFile(disk: disk, path: "\(directory)/sort-\(number).tmp", limitBytes: limitBytes)
  }

  /// The verifier and flags of a role, for whoever authenticates.
  package func role(named name: String) throws(SQLError) -> RoleDescriptor? {
    var options = TransactionOptions(isReadOnly: true)
    options.isLocal = true
    let transaction = try sqlErrors { () throws(TransactionError) in try manager.begin(options) }
    defer { transaction.rollback() }
    return try CatalogStore.load(transaction, catalogs).role(named: name)
  }
}
