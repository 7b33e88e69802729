internal import Encoding
internal import Storage
internal import Synchronization

// Locks as a transaction takes them. After the lock is granted comes the question whether the key was written by somebody
// who committed after the snapshot: nobody can do so any more, and whoever did has applied before giving the lock back. So
// if the newest applied version is the snapshot, the answer is no without a look.

extension Transaction {
  /// Locks `key`, existing or not, to the end of the transaction or to the rollback of the savepoint that is open now.
  ///
  /// From repeatable read on, a key that was written after the snapshot is a serialization failure, unless the snapshot can
  /// be moved past it (Transaction+Refresh.swift). At repeatable read `keyShare` says `.changed` instead, since a key that
  /// is merely referenced may be updated; and so does any strength with `allowsNewer`, for a unique check, which has to
  /// find the other's row with `getLatest`. The caller must heed the first answer: a second `lock` or `put` of the key does
  /// not look again.
  package func lock(
    _ key: UnsafeRawBufferPointer, _ strength: LockStrength, _ wait: WaitPolicy = .wait, allowsNewer: Bool = false
  ) throws(TransactionError) -> LockOutcome {
    let (entry, snapshot) = unsafe try prepareLock(key)
    return try lock(entry, strength.rawValue, wait, snapshot, allowsNewer: allowsNewer)
  }

  /// Like `lock`, without blocking: answers at once, or returns nil and calls `whenGranted` later, on another thread, when
  /// the wait is over. Until then no other call may be made, except `cancel` and `expireLockWait`; afterwards, on success,
  /// the same `lock` is called again, and tells the outcome without waiting.
  package func lock(
    _ key: UnsafeRawBufferPointer, _ strength: LockStrength, _ wait: WaitPolicy, allowsNewer: Bool = false,
    whenGranted: @escaping @Sendable (Result<Void, TransactionError>) -> Void
  ) throws(TransactionError) -> LockOutcome? {
    let (entry, snapshot) = unsafe try prepareLock(key)
    return try lock(entry, strength.rawValue, wait, snapshot, allowsNewer: allowsNewer, whenGranted: whenGranted)
  }

  /// Ends a wait begun with `whenGranted` by `lockTimeout`: for an event loop's own timer. Any thread.
  package func expireLockWait() { manager.lockTable.expire(self) }

  /// Makes a pending wait, or the next call that has to wait before the next statement begins, fail with `cancelled`. Any
  /// thread.
  package func cancel() { manager.lockTable.cancel(self) }

  private func prepareLock(_ key: UnsafeRawBufferPointer) throws(TransactionError) -> (Int, Version) {
    try checkActive()
    if isReadOnly { throw .readOnly }
    guard key.count > 0 && key.count <= WriteBatch.maximumKeySizeBytes else {
      throw .tooLarge(what: "a key", sizeBytes: key.count, limitSizeBytes: WriteBatch.maximumKeySizeBytes)
    }
    let snapshot = try currentSnapshot()
    prepareWriting()
    return unsafe (entry(of: key), snapshot)
  }

  /// Blocks if it must.
  @inline(__always)
  func lock(
    _ entry: Int, _ strength: UInt8, _ wait: WaitPolicy, _ snapshot: Version, allowsNewer: Bool = false
  ) throws(TransactionError) -> LockOutcome {
    let own = unsafe writes.strength(entry)
    if own < strength {
      let key = unsafe writes.entries.key(UInt32(entry))
      let hash = unsafe keyHash(key)
      if pendingEntry == nil, unsafe lockQuickly(entry, key, hash, strength, own) {
        // Nobody else is interested in it.
      } else {
        let outcome = try lockSlowly(entry, strength, wait, whenGranted: nil)
        if outcome == .skipped { return .skipped }
        if outcome == .waiting {
          do throws(TransactionError) {
            try manager.lockTable.awaitGrant(self, timeoutNanoseconds: lockTimeoutNanoseconds)
          } catch { throw failed(error) }
        }
        unsafe writes.setStrength(entry, strength)
      }
    } else if isolation != .readCommitted {
      // Checked when it was taken.
      return .unchanged
    }
    return try outcome(entry, strength, snapshot, allowsNewer)
  }

  /// Takes a lock that can be had without a word with anybody: in the lock table, or, once very many are held, in the
  /// write set alone.
  @inline(__always)
  private func lockQuickly(
    _ entry: Int, _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ strength: UInt8, _ own: UInt8
  ) -> Bool {
    let table = manager.lockTable
    let place = UInt32(truncatingIfNeeded: entry)
    if own == 0, unsafe held.count >= manager.options.claimThreshold, claim != nil || table.beginClaim(self) {
      return unsafe table.tryClaim(self, key, hash, entry: place) { unsafe writes.setClaimed(entry, strength) }
    }
    guard unsafe table.tryLock(self, key, hash, strength, own: own, entry: place) else { return false }
    unsafe writes.setStrength(entry, strength)
    return true
  }

  /// Does not block.
  private func lock(
    _ entry: Int, _ strength: UInt8, _ wait: WaitPolicy, _ snapshot: Version, allowsNewer: Bool,
    whenGranted: @escaping @Sendable (Result<Void, TransactionError>) -> Void
  ) throws(TransactionError) -> LockOutcome? {
    let own = unsafe writes.strength(entry)
    if own < strength {
      let result = try lockSlowly(entry, strength, wait, whenGranted: whenGranted)
      if result == .skipped { return .skipped }
      if result == .waiting {
        pendingEntry = UInt32(truncatingIfNeeded: entry)
        return nil
      }
      unsafe writes.setStrength(entry, strength)
    } else if isolation != .readCommitted {
      return .unchanged
    }
    return try outcome(entry, strength, snapshot, allowsNewer)
  }

  @inline(never)
  private func lockSlowly(
    _ entry: Int, _ strength: UInt8, _ wait: WaitPolicy,
    whenGranted: (@Sendable (Result<Void, TransactionError>) -> Void)?
  ) throws(TransactionError) -> LockRequestOutcome {
    let place = UInt32(truncatingIfNeeded: entry)
    if let pending = pendingEntry {
      // The wait that `whenGranted` was told of is over; this is the call that takes note.
      pendingEntry = nil
      if let failure = waitFailure {
        waitFailure = nil
        throw failed(failure)
      }
      unsafe writes.setStrength(Int(pending), waitStrength)
      if pending == place && waitStrength >= strength { return .granted }
    }
    let key = unsafe writes.entries.key(place)
    do throws(TransactionError) {
      return unsafe try manager.lockTable.lockSlowly(
        self, key, keyHash(key), strength, own: writes.strength(entry), entry: place, wait, whenGranted: whenGranted)
    } catch { throw failed(error) }
  }

  /// What a granted lock means.
  @inline(__always)
  private func outcome(
    _ entry: Int, _ strength: UInt8, _ snapshot: Version, _ allowsNewer: Bool
  ) throws(TransactionError) -> LockOutcome {
    if manager.engine.visibleVersion == snapshot, manager.applied.load(ordering: .acquiring) <= snapshot.rawValue {
      return .unchanged
    }
    return try outcomeSlowly(entry, strength, snapshot, allowsNewer)
  }

  @inline(never)
  private func outcomeSlowly(
    _ entry: Int, _ strength: UInt8, _ snapshot: Version, _ allowsNewer: Bool
  ) throws(TransactionError) -> LockOutcome {
    let key = unsafe writes.entries.key(UInt32(entry))
    unsafe try dependOnReleased(keyHash(key))
    let newer: Version?
    do throws(StorageError) {
      newer = unsafe try manager.engine.newestVersion(of: key, after: snapshot, &lockPin)
    } catch { throw .storage(error) }
    guard let newer else { return .unchanged }
    try depend(on: newer)
    if isolation == .readCommitted { return .changed }
    if isolation == .repeatableRead && (allowsNewer || strength == LockStrength.keyShare.rawValue) { return .changed }
    unsafe try meet(concurrentUpdate(KeyRange(key: Array(key)), newer), at: key)
    return .unchanged
  }

  /// First updater wins, for an interval.
  func checkUnchanged(_ range: KeyRange, since snapshot: Version) throws(TransactionError) {
    let visible = manager.engine.visibleVersion
    guard visible != snapshot else { return }
    var newer: (key: [UInt8], version: Version)?
    do throws(StorageError) {
      unsafe try manager.engine.forEachVersion(in: range, after: snapshot, upTo: visible) { key, version in
        newer = unsafe (Array(key), version)
        return false
      }
    } catch { throw .storage(error) }
    if let newer { unsafe try meet(concurrentUpdate(KeyRange(key: newer.key), newer.version), at: nil) }
  }

  func concurrentUpdate(_ keys: KeyRange, _ version: Version) -> SerializationFailure {
    SerializationFailure(
      reason: .concurrentUpdate, keys: keys, others: [manager.reference(committedAt: version)])
  }
}

/// How lock table and certifier tell keys apart quickly.
@inline(__always)
func keyHash(_ key: UnsafeRawBufferPointer) -> UInt64 { unsafe xxh3(key) }
