package import Encoding
package import Storage

/// Begins transactions over an engine and a log, and gives each its place: see `Transaction`.
package final class TransactionManager: Sendable {
  /// The engine must have replayed the log: the next commit gets `engine.visibleVersion + 1`.
  package init(engine: Engine, log: any CommitLog, options: TransactionManagerOptions = .init()) {
    preconditionFailure("lands next")
  }

  package func begin(_ options: TransactionOptions = .init()) throws(TransactionError) -> Transaction {
    preconditionFailure("lands next")
  }

  /// Called by the log, in its order, one group at a time: applies, publishes, releases locks, wakes. Groups of
  /// transactions that this manager did not begin (replay, replication) are applied and published likewise.
  package func deliver(
    slot: Slot, firstVersion: Version, transactionCount: Int, payload: UnsafeRawBufferPointer
  ) throws(StorageError) {
    preconditionFailure("lands next")
  }

  /// Every lock that is held or waited for now, for a system view. O(locks).
  package func locks() -> [LockInformation] { preconditionFailure("lands next") }

  /// The last failures, newest last.
  package var recentConflicts: [ConflictRecord] { preconditionFailure("lands next") }

  package var statistics: TransactionStatistics { preconditionFailure("lands next") }
}

/// One lock of one transaction.
package struct LockInformation: Hashable, Sendable {
  package var transaction: TransactionReference
  package var keys: KeyRange
  package var strength: LockStrength
  package var isGranted: Bool
}

/// A failure that was due to another transaction.
package struct ConflictRecord: Sendable {
  package var transaction: TransactionReference
  package var error: TransactionError
}

/// Counts since the manager was made.
package struct TransactionStatistics: Hashable, Sendable {
  package var begun: UInt64 = 0
  package var committed: UInt64 = 0
  package var committedReadOnly: UInt64 = 0
  package var rolledBack: UInt64 = 0
  package var concurrentUpdateFailures: UInt64 = 0
  package var cycleFailures: UInt64 = 0
  package var undecidedFailures: UInt64 = 0
  package var deadlocks: UInt64 = 0
  package var lockWaits: UInt64 = 0
  /// Now: open transactions, keys with a lock, transactions that wait, committed transactions that the certifier remembers.
  package var open = 0
  package var lockedKeys = 0
  package var waiting = 0
  package var remembered = 0
}
