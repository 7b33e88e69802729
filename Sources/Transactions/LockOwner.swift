internal import Platform
internal import Storage
internal import Synchronization

/// What the lock table knows of a transaction: its superclass.
@safe
package class LockOwner {
  /// Unique while the process lives; for messages.
  package let id: UInt64
  package let session: UInt64
  /// How often the work was tried before; the largest number for the holder of the right of way.
  var attempts: Int
  var held = unsafe RawList<HeldLock>()
  var rangeLocks: [RangeLock] = []
  /// What it has locked in its write set alone, once that is worth it.
  final var claim: LockClaim?

  // The wait, if any: guarded by the table's `waitLatch`, except `phase`.
  var waitNode: LockNodePointer?
  var waitRange: RangeLock?
  var waitStrength: UInt8 = 0
  /// What it holds on the key already.
  var waitOwn: UInt8 = 0
  var waitEntry: UInt32 = 0
  var waitIndex = 0
  var waitFailure: TransactionError?
  var whenGranted: (@Sendable (Result<Void, TransactionError>) -> Void)?
  var visit: UInt64 = 0
  /// Made when the transaction first waits. 0 idle, 1 waiting, 2 over.
  var phase: FutexWord?
  let isCancelled = Atomic<Bool>(false)

  init(id: UInt64, session: UInt64, attempts: Int) {
    self.id = id
    self.session = session
    self.attempts = attempts
  }

  var isWaiting: Bool { unsafe waitNode != nil || waitRange != nil }

  /// The entry and the strength of a key that is locked in the write set alone. Under the claim's latch.
  func claimed(_ key: UnsafeRawBufferPointer) -> (entry: UInt32, strength: UInt8)? { nil }
  /// Whether any such key lies in `range`. Under the claim's latch.
  func hasClaimed(in range: KeyRange) -> Bool { false }

  /// For messages; the version is filled in by those who know it.
  var reference: TransactionReference { TransactionReference(id: id, session: session) }
}
