package import Encoding

/// What a transaction sees of others.
package enum IsolationLevel: UInt8, Hashable, Sendable, Comparable, CaseIterable {
  /// Each statement sees what was committed before it (READ UNCOMMITTED is the same).
  case readCommitted
  /// One snapshot for the whole transaction; of two that write the same key, the first wins (snapshot isolation).
  case repeatableRead
  /// The effect is that of some serial order of all serializable transactions.
  case serializable

  package static func < (a: IsolationLevel, b: IsolationLevel) -> Bool { a.rawValue < b.rawValue }
}

/// How a transaction is begun.
package struct TransactionOptions: Sendable {
  package var isolation: IsolationLevel
  /// Writes and row locks are refused.
  package var isReadOnly: Bool
  /// Serializable and read only: waits at the beginning for a snapshot that needs no conflict tracking.
  package var isDeferrable: Bool
  /// Reads the past (read only, not tracked).
  package var asOf: Version?
  /// How long a lock may be waited for, in nanoseconds; 0 = for ever.
  package var lockTimeoutNanoseconds: UInt64
  /// How often this work was tried before and failed to serialize. Higher goes first when a victim is chosen, and from
  /// `TransactionManagerOptions.rightOfWayAttempts` on the transaction gets the right of way.
  package var attempts: Int
  /// Names the session in messages and system views.
  package var session: UInt64
  /// Reads what this node has applied, however old that is: snapshots are not confirmed by the leader's lease.
  package var isLocal = false
  /// False for what the system does on behalf of an open transaction: it must not wait for that one's right of way.
  package var givesWay = true
  /// Nothing follows the first statement: what it reads need not be remembered to move the snapshot.
  package var isOneStatement = false

  package init(
    isolation: IsolationLevel = .readCommitted, isReadOnly: Bool = false, isDeferrable: Bool = false,
    asOf: Version? = nil, lockTimeoutNanoseconds: UInt64 = 0, attempts: Int = 0, session: UInt64 = 0
  ) {
    self.isolation = isolation
    self.isReadOnly = isReadOnly
    self.isDeferrable = isDeferrable
    self.asOf = asOf
    self.lockTimeoutNanoseconds = lockTimeoutNanoseconds
    self.attempts = attempts
    self.session = session
  }
}

/// How the manager is set up.
package struct TransactionManagerOptions: Sendable {
  /// From this many failed attempts on, a serializable transaction gets the right of way: while it runs, others wait with
  /// their commit.
  package var rightOfWayAttempts = 3
  /// How long anybody waits for the right of way, in nanoseconds.
  package var rightOfWayNanoseconds: UInt64 = 1_000_000_000
  /// The right of way is given one part in so many of the time; 1: always.
  package var rightOfWayShare: UInt64 = 10
  /// Memory for what committed serializable transactions read and wrote, in bytes; beyond it the record gets coarser.
  package var certifierSizeBytes = 64 << 20
  /// Reads (points and intervals) that one transaction remembers exactly; beyond it neighbours are merged.
  package var readsPerTransaction = 16 << 10
  /// Reads that a transaction at repeatable read remembers, so that its snapshot can be moved; beyond it that is not done.
  package var readsToMoveSnapshot = 4096
  /// Entries of intervals that are looked at to move a snapshot once; beyond it that is not done.
  package var entriesToMoveSnapshot = 16 << 10
  /// How often one statement is run again over a newer snapshot.
  package var statementRepetitions = 16
  /// Nodes that one search for a cycle may visit.
  package var cycleSearchBudget = 4096
  /// A transaction with this many row locks notes further ones in its write set alone (LockTable+Claims.swift).
  package var claimThreshold = 1024
  /// From so many written keys on, writes that need no lock are sorted before they are taken in (DeferredWrites.swift).
  package var deferringThreshold = 1024
  /// The memory that one transaction's writes may take. A batch may have 1 GiB (`WriteBatch`), of which keys alone take
  /// several times as much here.
  package var transactionSizeBytes = 4 << 30
  /// Serializable transactions also come in the order of time: whoever has another's commit in its snapshot, or could have
  /// it, comes after it (strict serializability). Some are then aborted that have a serial order, but none in that order.
  package var isStrict = false
  /// Failures kept for `recentConflicts`.
  package var recentConflictCount = 64

  /// Breaks the certifier on purpose, for tests of the tests.
  package var mutant = CertifierMutant.none

  package init() {}
}

/// A transaction's life.
package enum TransactionState: UInt8, Hashable, Sendable {
  case active
  /// A call failed in a way that ends the transaction: only rollback is left.
  case failed
  /// It has its version and waits for the log; it cannot be aborted any more.
  case sequenced
  case committed
  case rolledBack
}

/// How strongly a key is locked. Each conflicts with those that PostgreSQL's row locks conflict with:
///
///                 keyShare  share  noKeyUpdate  update
///   keyShare         ·        ·         ·         ×
///   share            ·        ·         ×         ×
///   noKeyUpdate      ·        ×         ×         ×
///   update           ×        ×         ×         ×
///
/// The rows are nested: what a weaker one conflicts with, a stronger one conflicts with too. Hence holding several is
/// holding the strongest.
package enum LockStrength: UInt8, Hashable, Sendable, Comparable, CaseIterable {
  case keyShare = 1
  case share = 2
  case noKeyUpdate = 3
  case update = 4

  @inlinable
  package static func < (a: LockStrength, b: LockStrength) -> Bool { a.rawValue < b.rawValue }

  /// Whether two transactions cannot hold these at the same time.
  @inlinable
  package func conflicts(with other: LockStrength) -> Bool { rawValue + other.rawValue > 4 }
}

/// What to do when a lock is held by another transaction.
package enum WaitPolicy: UInt8, Hashable, Sendable {
  case wait
  /// Fail with `lockNotAvailable`.
  case noWait
  /// Answer `.skipped`.
  case skipLocked
}

/// What came of asking for a lock.
package enum LockOutcome: UInt8, Hashable, Sendable {
  /// Granted; the key's newest committed state is what the snapshot shows.
  case unchanged
  /// Granted (read committed only); a version newer than the snapshot is committed: read again with `getLatest`, and
  /// check again whether the row is wanted.
  case changed
  /// Not granted, as asked for with `skipLocked`.
  case skipped
}
