package import Encoding
internal import Glibc
internal import Platform
package import Storage
internal import Synchronization

/// A unit of work: reads one snapshot (read committed: one per statement) and its own writes, and commits all or nothing.
///
/// The snapshot is taken by the first statement, read or lock. One thread at a time, except `cancel()` and
/// `expireLockWait()`. Ends with `commit` or `rollback`; dropping an open one rolls it back.
@safe
package final class Transaction: LockOwner, @unchecked Sendable {
  // `@unchecked`: documented as one thread at a time. What others touch is atomic (`isCancelled`), latched (waits), or
  // handed over: from sequencing to delivery the locks and the keys belong to the delivering thread.
  let manager: TransactionManager
  package let isolation: IsolationLevel
  package internal(set) var isReadOnly: Bool
  package internal(set) var state: TransactionState = .active
  /// May be changed between statements. 0: wait for ever.
  package var lockTimeoutNanoseconds: UInt64
  let options: TransactionOptions
  /// The leadership in which it began.
  let term: UInt64
  /// It was rolled back because that leadership ended.
  var isDeposed = false

  @exclusivity(unchecked) var arena = unsafe Arena()
  /// The values of a transaction that has outgrown one chunk: unlike the keys, nobody needs them once the batch is made.
  @exclusivity(unchecked) var values = unsafe Arena()
  @exclusivity(unchecked) var writes = unsafe WriteSet()
  @exclusivity(unchecked) var footprint = unsafe Footprint()
  @exclusivity(unchecked) var hold: SnapshotHold?
  /// What `get` answered from; `lockPin` is another so that checking a lock leaves the answer in place.
  @exclusivity(unchecked) var pin = ReadPin()
  @exclusivity(unchecked) var lockPin = ReadPin()
  /// The newest own write that reads show, between `beginView` and `endView`.
  @exclusivity(unchecked) private(set) var view: UInt64?
  /// One block for the first few writes and locks: a small transaction allocates nothing else.
  @exclusivity(unchecked) private var starter: UnsafeMutableRawPointer?
  var metadata: [UInt8] = []
  var savepoints: [SavepointState] = []
  /// Parts of the key space that this transaction has made, by a number of the caller's: nobody else knows of them before
  /// it commits, so that what is put there needs neither lock nor search.
  package var ownSpaces: Set<UInt32> = []
  var savepointSerial: UInt64 = 0
  /// Where it commits, once it is sequenced; zero before.
  package internal(set) var version = Version.zero
  /// The newest version not visible at the time that it depends on: see Transaction+Dependency.swift.
  @exclusivity(unchecked) var dependency = Version.zero
  /// The entry whose lock was granted after a wait that `whenGranted` was told of, and not yet asked for again.
  var pendingEntry: UInt32?
  var openCursors: [Unmanaged<TransactionCursor>] = unsafe []
  /// See ReadView.swift.
  var openViews = 0
  /// Whether the certifier will want to know what was read and written.
  @exclusivity(unchecked) private(set) var isTracked = false
  /// Whether reads go to the footprint: for the certifier, or so that the snapshot can be moved.
  @exclusivity(unchecked) private(set) var remembersReads = false
  /// The statement that can be run again, if one is open; see Transaction+Refresh.swift.
  @exclusivity(unchecked) var statement: StatementMark?
  /// Why the open statement has failed, until it is decided whether it is run again.
  var conflict: SerializationFailure?
  /// Entries whose newest state was looked at under a lock that a savepoint could give back (repeatable read).
  var lockedReads: [UInt32] = []
  /// What is becoming known of a read-only snapshot, while it is tracked.
  var safety: SnapshotSafety?
  /// Has waited for the right of way to be free, and keeps it so until its commit is delivered.
  var hasPass = false
  /// The place among the certifier's active transactions.
  var certifierPlace: Int = -1

  init(manager: TransactionManager, id: UInt64, options: TransactionOptions) {
    self.manager = manager
    self.options = options
    term = manager.currentTerm
    isolation = options.asOf == nil ? options.isolation : .repeatableRead
    isReadOnly = options.isReadOnly || options.asOf != nil
    lockTimeoutNanoseconds = options.lockTimeoutNanoseconds
    super.init(id: id, session: options.session, attempts: options.attempts)
  }

  deinit {
    if state == .active || state == .failed { rollback() }
    freeMemory()
    unsafe held.free()
    unsafe free(starter)
  }

  /// What is read: everything that committed at or below it. Takes the snapshot if there is none yet.
  package var snapshot: Version {
    get throws(TransactionError) { try currentSnapshot() }
  }

  /// Whether the next statement takes a snapshot of its own.
  package var willTakeSnapshot: Bool { unsafe isolation == .readCommitted || hold == nil }

  /// Whether anything was written (and not rolled back to a savepoint).
  package var hasWrites: Bool { unsafe writes.hasWrites }

  /// Whether it waits for a safe snapshot, if it is serializable and read-only.
  package var isDeferrable: Bool { options.isDeferrable }

  /// SET TRANSACTION READ ONLY (or READ WRITE, which the caller allows only before the first statement).
  package func setReadOnly(_ isReadOnly: Bool) { self.isReadOnly = isReadOnly }

  @inline(__always)
  func currentSnapshot() throws(TransactionError) -> Version {
    if let hold = unsafe hold { return hold.version }
    return try manager.takeSnapshot(self)
  }

  @inline(__always)
  func checkActive() throws(TransactionError) {
    guard state == .active else { throw isDeposed ? Transaction.deposed : .notActive(state) }
  }

  /// Lets go of the snapshot of a transaction at read committed that is there for its locks alone, so that it keeps no
  /// garbage alive; the next statement takes another.
  package func releaseSnapshot() {
    guard isolation == .readCommitted, let hold = unsafe hold else { return }
    manager.engine.release(hold)
    unsafe self.hold = nil
  }

  /// Begins a statement: read committed takes a fresh snapshot, the others keep theirs. Cursors of earlier statements go on
  /// in their own snapshot.
  package func beginStatement() throws(TransactionError) {
    try checkActive()
    isCancelled.store(false, ordering: .relaxed)
    if let safety, safety.outcome.load() == SnapshotSafety.safe {
      // Cursors that are open still note what they pass.
      unsafe track(forCertifier: !openCursors.isEmpty)
    }
    guard let hold = unsafe hold else {
      _ = try manager.takeSnapshot(self)
      return
    }
    guard isolation == .readCommitted else { return }
    if hold.version != newestReadable {
      manager.engine.release(hold)
      unsafe self.hold = nil
      unsafe self.hold = retainNewest()
    }
    if let gate = manager.gate { try manager.confirmSnapshot(self, gate) }
  }

  /// Says who wants the reads from now on.
  func track(forCertifier: Bool) {
    unsafe isTracked = forCertifier
    unsafe remembersReads =
      forCertifier || (isolation == .repeatableRead && !isReadOnly && !options.isOneStatement)
    unsafe footprint.givesUp = !forCertifier
  }

  // MARK: Reading

  /// The value of `key`: own writes, else the snapshot's; nil when absent. Valid until the next call on this transaction.
  package func get(_ key: UnsafeRawBufferPointer) throws(TransactionError) -> UnsafeRawBufferPointer? {
    try checkActive()
    if unsafe !writes.isUntouched {
      if unsafe writes.isDeferred(key) { settle() }
      let own = if let view = unsafe view { unsafe writes.get(key, asOf: view) } else { unsafe writes.get(key) }
      switch unsafe own {
      case .nothing: break
      case .deleted: return nil
      case .value(let value): return unsafe value
      }
    }
    return unsafe try getFromSnapshot(key)
  }

  // MARK: Views

  /// From here to `endView`, `get` and cursors that are opened show of the transaction's own writes those that are there
  /// now: a statement that reads and writes reads what was before it.
  package func beginView() throws(TransactionError) {
    try checkActive()
    settle()
    unsafe view = writes.openCursor()
  }
  package func endView() {
    guard unsafe view != nil else { return }
    unsafe view = nil
    if state == .active { unsafe writes.closeCursor() }
  }

  /// What reads showed before a `ReadView` took their place.
  struct OutsideView {
    var hold: SnapshotHold?
    var view: UInt64?
  }

  func exchange(_ hold: SnapshotHold, view: UInt64) -> OutsideView {
    let outside = unsafe OutsideView(hold: self.hold, view: self.view)
    unsafe self.hold = hold
    unsafe self.view = view
    return outside
  }

  func restore(_ outside: OutsideView) {
    unsafe hold = outside.hold
    unsafe view = outside.view
  }

  /// Runs `body`, which writes, and reads all that was written.
  package func outsideView<T, E>(_ body: () throws(E) -> T) throws(E) -> T {
    let kept = unsafe view
    unsafe view = nil
    defer { unsafe view = kept }
    return try body()
  }

  /// The snapshot's value of a key that the transaction itself says nothing about.
  @inline(__always)
  private func getFromSnapshot(_ key: UnsafeRawBufferPointer) throws(TransactionError) -> UnsafeRawBufferPointer? {
    let snapshot = try currentSnapshot()
    let value: UnsafeRawBufferPointer?
    do throws(StorageError) { unsafe value = unsafe try manager.engine.get(key, at: snapshot, &pin) } catch {
      throw .storage(error)
    }
    if unsafe remembersReads && (value != nil || manager.options.mutant != .forgetsMisses) {
      unsafe footprint.addPoint(key)
    }
    return unsafe value
  }

  /// The value of `key`: own writes, else the newest committed. For checks after `lock` has been granted. From repeatable
  /// read on a granted lock implies that the newest is the snapshot's, and the snapshot is what is read.
  package func getLatest(_ key: UnsafeRawBufferPointer) throws(TransactionError) -> UnsafeRawBufferPointer? {
    try checkActive()
    if unsafe !writes.isUntouched {
      if unsafe writes.isDeferred(key) { settle() }
      switch unsafe writes.get(key) {
      case .nothing: break
      case .deleted: return nil
      case .value(let value): return unsafe value
      }
    }
    if unsafe remembersReads && isolation == .repeatableRead { unsafe noteNewestRead(key) }
    return unsafe try getNewest(key)
  }

  /// The newest committed value of a key that the transaction itself says nothing about.
  func getNewest(_ key: UnsafeRawBufferPointer) throws(TransactionError) -> UnsafeRawBufferPointer? {
    if isolation == .serializable { return unsafe try getFromSnapshot(key) }
    if let hold = unsafe hold, hold.version == newestReadable {
      do throws(StorageError) {
        return unsafe try manager.engine.get(key, at: hold.version, &pin)
      } catch { throw .storage(error) }
    }
    // A hold of its own for the moment: the newest snapshot is never collected while it is the newest, but it may not be
    // for long.
    let latest = retainNewest()
    defer { manager.engine.release(latest) }
    do throws(StorageError) {
      return unsafe try manager.engine.get(key, at: latest.version, &pin)
    } catch { throw .storage(error) }
  }

  /// Whether `key` is in this transaction's snapshot what it was in the (not newer) snapshot `version`, and the transaction
  /// itself has not written it. Counts as reading the key. May say false for a key that is unchanged; what `get` returned
  /// stays valid.
  package func isUnchanged(
    _ key: UnsafeRawBufferPointer, since version: Version
  ) throws(TransactionError) -> Bool {
    try checkActive()
    if unsafe !writes.isUntouched {
      if unsafe writes.isDeferred(key) { settle() }
      guard case .nothing = unsafe writes.get(key) else { return false }
    }
    let snapshot = try currentSnapshot()
    if version != snapshot {
      guard version < snapshot else { return false }
      do throws(StorageError) {
        guard unsafe try manager.engine.newestVersion(of: key, after: version, &lockPin) == nil else { return false }
      } catch { throw .storage(error) }
    }
    if unsafe remembersReads { unsafe footprint.addPoint(key) }
    return true
  }

  /// The keys of `range` in order, own writes merged in. Writes made after opening do not show.
  ///
  /// - Parameter isRemembered: false where nothing that the transaction does depends on what is seen: for guesses.
  package func cursor(
    _ range: KeyRange, reverse: Bool = false, isRemembered: Bool = true
  ) throws(TransactionError) -> TransactionCursor {
    try checkActive()
    _ = try currentSnapshot()
    return try TransactionCursor(self, range, isReverse: reverse, isRemembered: isRemembered)
  }

  // MARK: Locks that are recorded in the write set alone

  override func claimed(_ key: UnsafeRawBufferPointer) -> (entry: UInt32, strength: UInt8)? {
    guard let entry = unsafe writes.find(key) else { return nil }
    return unsafe writes.claim(entry).map { (UInt32(truncatingIfNeeded: entry), $0) }
  }

  override func hasClaimed(in range: KeyRange) -> Bool { unsafe writes.hasClaimed(in: range) }

  // MARK: Failing

  /// Notes an error that ends the transaction.
  func failed(_ error: TransactionError) -> TransactionError {
    switch error {
    case .serializationFailure, .deadlock:
      state = .failed
      manager.record(self, error)
    default: break
    }
    return error
  }

  /// Before the first write or lock.
  @inline(__always)
  func prepareWriting() {
    if unsafe starter == nil { takeStarter() }
  }

  /// 1,008 bytes fit the allocator's per-thread cache.
  @inline(never)
  private func takeStarter() {
    let size = 1008
    let heldCapacity = 4
    guard let block = unsafe malloc(size) else { fatalError("out of memory") }
    unsafe starter = unsafe block
    var used = 0
    unsafe writes.adopt(block)
    unsafe used += (WriteSet.adoptedSizeBytes + 7) & ~7
    if unsafe held.capacity == 0 { unsafe held = unsafe RawList(borrowing: block + used, capacity: heldCapacity) }
    unsafe used += heldCapacity * MemoryLayout<HeldLock>.stride
    if unsafe arena.sizeBytes == 0 { unsafe arena = unsafe Arena(borrowing: block + used, count: size - used) }
  }

  func freeMemory() {
    unsafe arena.free()
    unsafe values.free()
    unsafe writes.free()
    unsafe footprint.free()
  }
}
