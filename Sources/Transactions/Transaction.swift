package import Encoding
package import Storage

/// A unit of work: reads one snapshot (read committed: one per statement) and its own writes, and commits all or nothing.
///
/// One thread at a time, except `cancel()`. Ends with `commit` or `rollback`; dropping an open one rolls it back.
package final class Transaction: @unchecked Sendable {
  // `@unchecked`: documented as one thread at a time; what other threads touch (cancellation, grants) is atomic or latched.
  init() {}

  /// Unique while the process lives; for messages.
  package var id: UInt64 { preconditionFailure("lands next") }
  package var isolation: IsolationLevel { preconditionFailure("lands next") }
  package var isReadOnly: Bool { preconditionFailure("lands next") }
  package var state: TransactionState { preconditionFailure("lands next") }
  /// What is read: everything that committed at or below it.
  package var snapshot: Version { preconditionFailure("lands next") }
  /// Whether anything was written (and not rolled back to a savepoint).
  package var hasWrites: Bool { preconditionFailure("lands next") }

  /// May be changed between statements.
  package var lockTimeoutNanoseconds: UInt64 {
    get { preconditionFailure("lands next") }
    set { preconditionFailure("lands next") }
  }
  /// SET TRANSACTION READ ONLY after the beginning; read write again only before the first statement.
  package func setReadOnly(_ isReadOnly: Bool) { preconditionFailure("lands next") }

  /// Begins a statement: read committed takes a fresh snapshot, the others keep theirs. Ends no cursor, but a cursor of an
  /// earlier statement at read committed must not be used any more.
  package func beginStatement() { preconditionFailure("lands next") }

  // MARK: Reading

  /// The value of `key`: own writes, else the snapshot's; nil when absent. Valid until the next call on this transaction.
  package func get(_ key: UnsafeRawBufferPointer) throws(TransactionError) -> UnsafeRawBufferPointer? {
    preconditionFailure("lands next")
  }

  /// The value of `key`: own writes, else the newest committed. For checks after `lock` has been granted.
  package func getLatest(_ key: UnsafeRawBufferPointer) throws(TransactionError) -> UnsafeRawBufferPointer? {
    preconditionFailure("lands next")
  }

  /// The keys of `range` in order, own writes merged in (those made after opening need not show).
  package func cursor(_ range: KeyRange, reverse: Bool = false) throws(TransactionError) -> TransactionCursor {
    preconditionFailure("lands next")
  }

  // MARK: Writing

  package func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws(TransactionError) {
    preconditionFailure("lands next")
  }
  package func delete(_ key: UnsafeRawBufferPointer) throws(TransactionError) { preconditionFailure("lands next") }
  /// Deletes every key of `start ..< end`, in constant space.
  package func deleteRange(
    _ start: UnsafeRawBufferPointer, _ end: UnsafeRawBufferPointer
  ) throws(TransactionError) { preconditionFailure("lands next") }
  /// Adds metadata to the batch (see `WriteBatch.MetadataTag`).
  package func addMetadata(tag: UInt8, _ bytes: [UInt8]) { preconditionFailure("lands next") }

  // MARK: Locking

  /// Locks `key`, existing or not, to the end of the transaction or to the rollback of the savepoint that is open now.
  package func lock(
    _ key: UnsafeRawBufferPointer, _ strength: LockStrength, _ wait: WaitPolicy = .wait
  ) throws(TransactionError) -> LockOutcome { preconditionFailure("lands next") }

  /// Like `lock`, without blocking: answers at once, or returns nil and calls `whenGranted` later on another thread. Until
  /// then no other call may be made, except `cancel` and `expireLockWait`.
  package func lock(
    _ key: UnsafeRawBufferPointer, _ strength: LockStrength, _ wait: WaitPolicy,
    whenGranted: @escaping @Sendable (Result<LockOutcome, TransactionError>) -> Void
  ) throws(TransactionError) -> LockOutcome? { preconditionFailure("lands next") }

  /// Ends a wait begun with `whenGranted` by `lockTimeout`: for an event loop's own timer. Any thread.
  package func expireLockWait() { preconditionFailure("lands next") }

  /// Makes a pending wait, and the next call that could wait, fail with `cancelled`. Any thread.
  package func cancel() { preconditionFailure("lands next") }

  // MARK: Savepoints

  package func savepoint() -> Savepoint { preconditionFailure("lands next") }
  /// Undoes what was written and locked since; the savepoint stays.
  package func rollback(to savepoint: Savepoint) { preconditionFailure("lands next") }
  /// Forgets the savepoint and those after it; keeps their work.
  package func release(_ savepoint: Savepoint) { preconditionFailure("lands next") }

  // MARK: Ending

  /// Commits, and returns when the commit is chosen (durable, unless `durable` is false), visible and its locks released.
  /// Returns where, or nil when nothing was written.
  @discardableResult
  package func commit(durable: Bool = true) throws(TransactionError) -> Version? { preconditionFailure("lands next") }

  /// Like `commit`, without blocking: fails at once, or calls `whenDone` exactly once, perhaps before returning.
  package func commit(
    whenDone: @escaping @Sendable (Result<Version?, TransactionError>) -> Void
  ) throws(TransactionError) { preconditionFailure("lands next") }

  /// Undoes everything. Idempotent; nothing after `commit`.
  package func rollback() { preconditionFailure("lands next") }
}

/// A place in a transaction to return to.
package struct Savepoint: Hashable, Sendable {
  let depth: Int
  let serial: UInt64
}

/// The keys and values of a range as one transaction sees them. Remembers, for a serializable transaction, exactly the
/// interval that it passed over.
package final class TransactionCursor {
  init() {}
  /// Moves on; false at the end.
  package func next() throws(TransactionError) -> Bool { preconditionFailure("lands next") }
  /// Makes the next `next()` return the first key at or after `key` (reverse: at or before it). Never goes back.
  package func seek(to key: UnsafeRawBufferPointer) throws(TransactionError) { preconditionFailure("lands next") }
  /// Valid after `next()` returned true, until the next call of it.
  package var key: UnsafeRawBufferPointer { preconditionFailure("lands next") }
  package var value: UnsafeRawBufferPointer { preconditionFailure("lands next") }
  /// Ends the use; dropping the cursor does too.
  package func close() { preconditionFailure("lands next") }
}

/// The same with arrays, where speed does not matter.
extension Transaction {
  package func get(_ key: [UInt8]) throws(TransactionError) -> [UInt8]? {
    preconditionFailure("lands next")
  }
  package func put(_ key: [UInt8], _ value: [UInt8]) throws(TransactionError) { preconditionFailure("lands next") }
  package func delete(_ key: [UInt8]) throws(TransactionError) { preconditionFailure("lands next") }
  package func lock(
    _ key: [UInt8], _ strength: LockStrength, _ wait: WaitPolicy = .wait
  ) throws(TransactionError) -> LockOutcome { preconditionFailure("lands next") }
}
