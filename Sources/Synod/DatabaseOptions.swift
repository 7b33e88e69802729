internal import Storage

/// How a database is opened. The defaults suit an application with a few hundred MiB to spare.
public struct DatabaseOptions: Sendable {
  /// Refuse every write of this process's sessions.
  public var isReadOnly = false
  /// Make the database where there is none.
  public var createsIfMissing = true
  /// Memory for cached blocks of tables, indexes and filters: a strict budget, in bytes.
  public var blockCacheSizeBytes = 256 << 20
  /// What the memtable holds before it is written to a table, in bytes.
  public var memtableSizeBytes = 64 << 20
  /// The isolation level of transactions that do not name one.
  public var defaultIsolation = IsolationLevel.readCommitted
  /// How often `Database.transaction` runs its body again after a serialization failure or deadlock before it gives up.
  public var maximumRetries = 20

  /// Makes one from its parts.
  public init() {}

  func engineOptions() -> EngineOptions {
    var options = EngineOptions()
    options.blockCacheSizeBytes = blockCacheSizeBytes
    options.memtableSizeBytes = memtableSizeBytes
    return options
  }
}
