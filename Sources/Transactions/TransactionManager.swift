package import Encoding
internal import Glibc
internal import Platform
package import Storage
internal import Synchronization

/// Begins transactions over an engine and a log, and gives each its place.
///
/// The parts: `LockTable` (who may write which key), `Certifier` (whether a serializable transaction may commit), and the
/// sequencer, a latch under which a commit gets its version and goes to the log: see `TransactionManager+Commit.swift`.
@safe
package final class TransactionManager: Sendable {
  let engine: Engine
  /// The store that it keeps its versions in.
  package var storage: Engine { engine }
  let log: any CommitLog
  let options: TransactionManagerOptions
  let lockTable = LockTable()
  let sequencer: Sequencer
  let counters = TransactionCounters()
  let conflicts: ConflictList
  /// How often a snapshot was moved, and how often it could not be.
  let refreshes = Atomic<UInt64>(0)
  let refusedRefreshes = Atomic<UInt64>(0)
  /// Those who wait for a safe snapshot.
  let deferred: Mutex<[(session: UInt64, safety: SnapshotSafety)]> = Mutex([])
  /// What the engine has applied; where it is beyond what is visible, locks of read committed were given back early.
  let applied = Atomic<UInt64>(0)
  /// Asked about every snapshot where there are several nodes.
  let gate: (any SnapshotGate)?
  /// See TransactionManager+SafeVersion.swift.
  let safety: Mutex<SafeVersionState> = Mutex(SafeVersionState())
  /// See TransactionManager+Leadership.swift.
  let term = Atomic<UInt64>(0)

  /// The engine must have replayed the log: the next commit gets `engine.visibleVersion + 1`. With a gate the node begins
  /// as one that does not lead.
  package init(
    engine: Engine, log: any CommitLog, gate: (any SnapshotGate)? = nil, options: TransactionManagerOptions = .init()
  ) {
    self.engine = engine
    self.log = log
    self.gate = gate
    if gate != nil { term.store(Self.noTerm, ordering: .relaxed) }
    self.options = options
    sequencer = Sequencer(nextVersion: engine.visibleVersion.advanced(by: 1), options: options)
    conflicts = ConflictList(limit: options.recentConflictCount)
  }

  /// Begins a transaction. Serializable, read only and deferrable: blocks until a snapshot is safe.
  package func begin(_ options: TransactionOptions = .init()) throws(TransactionError) -> Transaction {
    let id = counters.nextId()
    let transaction = Transaction(manager: self, id: id, options: options)
    unsafe transaction.footprint.limit =
      options.isolation == .serializable ? self.options.readsPerTransaction : self.options.readsToMoveSnapshot
    return transaction
  }

  /// Takes the transaction's first snapshot.
  @inline(never)
  func takeSnapshot(_ transaction: Transaction) throws(TransactionError) -> Version {
    try transaction.checkActive()
    if let version = transaction.options.asOf {
      let visible = engine.visibleVersion
      guard version <= visible else {
        throw unsafe .snapshotUnavailable(asked: version, oldest: engine.statistics.oldestSnapshot, newest: visible)
      }
      do throws(StorageError) { unsafe transaction.hold = try engine.retain(snapshot: version) } catch {
        throw .storage(error)
      }
    } else if transaction.isolation == .serializable {
      try takeSerializableSnapshot(transaction)
    } else {
      unsafe transaction.hold = transaction.retainNewest()
      transaction.track(forCertifier: false)
    }
    if let gate { try confirmSnapshot(transaction, gate) }
    return unsafe transaction.hold.unsafelyUnwrapped.version
  }

  // MARK: Looking

  /// The newest version that a snapshot taken here shows. One load.
  package var visibleVersion: Version { engine.visibleVersion }

  /// Every lock that is held or waited for now, for a system view. O(locks).
  package func locks() -> [LockInformation] { lockTable.information() }

  /// Whether a transaction of the session waits for a lock, or for a safe snapshot. O(waiting transactions).
  package func isWaiting(session: UInt64) -> Bool {
    let waits = lockTable.waitLatch.withLock {
      unsafe lockTable.waiting.contains { unsafe $0.takeUnretainedValue().session == session }
    }
    return waits || deferredSessions.contains(session)
  }

  /// The sessions that wait for a safe snapshot. O(deferrable transactions).
  package var deferredSessions: [UInt64] {
    deferred.withLock { list in
      list.filter { $0.safety.outcome.load() == SnapshotSafety.unknown }.map(\.session)
    }
  }

  /// The last failures, newest last.
  package var recentConflicts: [ConflictRecord] { conflicts.all }

  func record(_ transaction: Transaction, _ error: TransactionError) {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    conflicts.append(
      ConflictRecord(
        transaction: transaction.reference, error: error, isolation: transaction.isolation,
        time: Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000))
  }

  /// Memory for what committed serializable transactions read and wrote.
  package var certifierSizeBytes: Int { sequencer.latch.withLock { unsafe sequencer.certifier.sizeBytes } }

  /// How long the sequencer was kept by certifying serializable transactions, in nanoseconds: a sample of the last ones.
  package var certificationNanoseconds: [UInt32] { sequencer.latch.withLock { unsafe sequencer.timing.all } }

  /// How many snapshots were moved past a conflict.
  package var refreshCount: UInt64 { refreshes.load(ordering: .relaxed) }

  package var statistics: TransactionStatistics {
    var statistics = TransactionStatistics()
    let ended = counters.sum(.ended)
    let begun = counters.begun
    statistics.begun = begun
    statistics.open = Int(begun) - Int(ended)
    statistics.rolledBack = counters.sum(.rolledBack)
    statistics.committedReadOnly = counters.sum(.committedReadOnly)
    statistics.lockedKeys = lockTable.lockedKeyCount
    statistics.lockWaits = lockTable.waits.load(ordering: .relaxed)
    statistics.deadlocks = lockTable.deadlocks.load(ordering: .relaxed)
    statistics.waiting = lockTable.waitLatch.withLock { unsafe lockTable.waiting.count }
    statistics.refreshes = refreshes.load(ordering: .relaxed)
    statistics.refusedRefreshes = refusedRefreshes.load(ordering: .relaxed)
    conflicts.count(into: &statistics)
    sequencer.latch.withLock {
      statistics.committed = unsafe sequencer.committed
      statistics.remembered = sequencer.rememberedCount
    }
    return statistics
  }
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
  package var isolation: IsolationLevel
  /// When it failed, in microseconds since 1970.
  package var time: Int64
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
  /// Conflicts that no longer fail a transaction, because its snapshot was moved, and those that could not be met so.
  package var refreshes: UInt64 = 0
  package var refusedRefreshes: UInt64 = 0
  package var deadlocks: UInt64 = 0
  package var lockWaits: UInt64 = 0
  /// Now: open transactions, keys with a lock, transactions that wait, committed transactions that the certifier remembers.
  package var open = 0
  package var lockedKeys = 0
  package var waiting = 0
  package var remembered = 0
}

/// The last failures.
final class ConflictList: @unchecked Sendable {
  // `@unchecked`: everything is guarded by the latch.
  private let latch = Latch()
  private let limit: Int
  private var records: [ConflictRecord] = []
  private var next = 0
  private var counts = (update: UInt64(0), cycle: UInt64(0), undecided: UInt64(0))

  init(limit: Int) { self.limit = limit }

  func append(_ record: ConflictRecord) {
    latch.withLock {
      if case .serializationFailure(let failure) = record.error {
        switch failure.reason {
        case .concurrentUpdate: counts.update += 1
        case .cycle: counts.cycle += 1
        case .undecided, .rightOfWay: counts.undecided += 1
        }
      }
      guard limit > 0 else { return }
      if records.count < limit {
        records.append(record)
      } else {
        records[next] = record
        next = (next + 1) % limit
      }
    }
  }

  var all: [ConflictRecord] { latch.withLock { Array(records[next...] + records[..<next]) } }

  func count(into statistics: inout TransactionStatistics) {
    latch.withLock {
      statistics.concurrentUpdateFailures = counts.update
      statistics.cycleFailures = counts.cycle
      statistics.undecidedFailures = counts.undecided
    }
  }
}
