package import Encoding
internal import Glibc
internal import Platform
package import Storage
internal import Synchronization

// The order of a commit.
//
//    1  the write set is sealed and encoded                                          session's thread
//    2  enter the sequencer                                                          one latch, a microsecond
//    3    does the log still take commits?
//    4    serializable: would it close a cycle with what is committed or sequenced?
//    5    its version is the next one; from here on it cannot be aborted
//    6    it is in flight, its batch is appended to the log's open group (memcpy)
//    7  leave
//    8  the group is written and synced, or accepted by a quorum                     the log
//    9  chosen                                                                       the point of no return
//   10  the engine applies the group                                                 `deliver`, in log order
//   11  the engine publishes it: visible
//   12  not in flight any more; locks are given back, waiters woken
//   13  the session is answered
//
// 11 before 12: who gets a lock next must see, by comparing versions, that the key has changed. 9 before 10: the engine has
// no undo. 11 before 13: a session reads its own writes. 6 inside the latch: order in the log is order of versions.
//
// Where the log is one node's, 10 comes before 8 (`apply`), and the locks of transactions at read committed are given back
// there: see `Transaction+Dependency.swift`. What failed to be written is applied and never published, and then the log
// takes nothing any more, so no undo is needed there either.

/// What the sequencer's latch guards.
@safe
final class Sequencer: @unchecked Sendable {
  // `@unchecked`: everything is guarded by the latch.
  let latch = Latch()
  @exclusivity(unchecked) var nextVersion: Version
  /// Sequenced and not delivered: a ring by version, each retained. `firstInFlight ..< nextVersion`.
  @exclusivity(unchecked) private var ring: UnsafeMutablePointer<Unmanaged<Transaction>?>
  @exclusivity(unchecked) private var mask: UInt64 = 63
  @exclusivity(unchecked) private(set) var firstInFlight: Version
  @exclusivity(unchecked) var committed: UInt64 = 0
  @exclusivity(unchecked) var certifier: Certifier
  /// The transaction that nobody may overtake; 0: none.
  @exclusivity(unchecked) var rightOfWay: UInt64 = 0
  /// When it was taken, and until when nobody takes it again, on the clock since boot.
  @exclusivity(unchecked) var rightOfWayBegan: UInt64 = 0
  @exclusivity(unchecked) var rightOfWayRestsUntil: UInt64 = 0
  /// Samples of how long certification took.
  @exclusivity(unchecked) var timing = unsafe CertificationTiming()
  /// Who committed last, by version: for messages.
  @exclusivity(unchecked) private var committers: UnsafeMutablePointer<Committer>
  private static let committerCount: UInt64 = 4096

  struct Committer: BitwiseCopyable {
    var version: UInt64
    var id: UInt64
    var session: UInt64
  }

  init(nextVersion: Version, options: TransactionManagerOptions) {
    unsafe self.nextVersion = nextVersion
    unsafe firstInFlight = nextVersion
    unsafe committers = .allocate(capacity: Int(Sequencer.committerCount))
    unsafe committers.initialize(
      repeating: Committer(version: 0, id: 0, session: 0), count: Int(Sequencer.committerCount))
    unsafe certifier = unsafe Certifier(
      mutant: options.mutant, isStrict: options.isStrict, searchBudget: options.cycleSearchBudget,
      sizeLimitBytes: options.certifierSizeBytes)
    unsafe ring = .allocate(capacity: 64)
    unsafe ring.initialize(repeating: nil, count: 64)
  }

  deinit {
    for place in unsafe 0...Int(mask) { unsafe ring[place]?.release() }
    unsafe ring.deallocate()
    unsafe committers.deallocate()
    unsafe certifier.free()
    unsafe timing.free()
  }

  var rememberedCount: Int { unsafe certifier.keptCount }

  /// Who committed at a version, if that is still known.
  func committer(_ version: Version) -> TransactionReference {
    let entry = unsafe committers[Int(version.rawValue % Sequencer.committerCount)]
    guard entry.version == version.rawValue else { return TransactionReference(id: 0, version: version) }
    return TransactionReference(id: entry.id, session: entry.session, version: version)
  }

  /// Versions go on from `version`; nothing is in flight.
  func restart(at version: Version) {
    unsafe firstInFlight = version
    unsafe nextVersion = version
  }

  func addInFlight(_ transaction: Transaction, _ version: Version) {
    if unsafe version.rawValue - firstInFlight.rawValue > mask { grow() }
    unsafe ring[Int(version.rawValue & mask)] = unsafe Unmanaged.passRetained(transaction)
    unsafe committers[Int(version.rawValue % Sequencer.committerCount)] = Committer(
      version: version.rawValue, id: transaction.id, session: transaction.session)
    unsafe nextVersion = version.advanced(by: 1)
    transaction.version = version
    transaction.state = .sequenced
  }

  /// Whose version it is, if it is in flight.
  func inFlight(_ version: Version) -> Unmanaged<Transaction>? {
    guard unsafe version >= firstInFlight && version < nextVersion else { return nil }
    return unsafe ring[Int(version.rawValue & mask)]
  }

  /// Takes a version out, if it is that of `expected` (or of anybody); the transaction is the caller's to release.
  func takeInFlight(_ version: Version, of expected: Transaction? = nil) -> Unmanaged<Transaction>? {
    guard unsafe version >= firstInFlight && version < nextVersion else { return nil }
    let place = unsafe Int(version.rawValue & mask)
    let transaction = unsafe ring[place]
    if let expected, unsafe transaction?.toOpaque() != Unmanaged.passUnretained(expected).toOpaque() { return nil }
    unsafe ring[place] = nil
    return unsafe transaction
  }

  /// Everything up to `version` was delivered.
  func delivered(through version: Version) {
    let next = version.advanced(by: 1)
    if unsafe next > firstInFlight { unsafe firstInFlight = next }
    // Groups of others (replay, replication) carry versions that this sequencer did not give.
    if unsafe next > nextVersion { unsafe nextVersion = next }
  }

  private func grow() {
    let larger = unsafe UnsafeMutablePointer<Unmanaged<Transaction>?>.allocate(capacity: Int(mask + 1) * 2)
    unsafe larger.initialize(repeating: nil, count: Int(mask + 1) * 2)
    let newMask = unsafe mask * 2 + 1
    var version = unsafe firstInFlight.rawValue
    while unsafe version < nextVersion.rawValue {
      unsafe larger[Int(version & newMask)] = unsafe ring[Int(version & mask)]
      version += 1
    }
    unsafe ring.deallocate()
    unsafe ring = unsafe larger
    unsafe mask = newMask
  }
}

extension TransactionManager {
  /// Where the time of a commit went that was just made here; nil where that is not known any more.
  package func commitTrace(of version: Version) -> CommitTrace? { log.trace(of: version) }

  /// Steps 1 to 7. Returns the version, or nil when nothing was written: then the transaction is over.
  func sequence(_ transaction: Transaction) throws(TransactionError) -> Version? {
    try transaction.checkActive()
    transaction.settle()
    if unsafe transaction.isTracked {
      transaction.noteOpenCursors()
      seal(transaction)
    }
    guard unsafe transaction.writes.hasWrites else {
      try commitReadOnly(transaction)
      return nil
    }
    do throws(TransactionError) {
      let batch = unsafe try transaction.encodeBatch()
      pace()
      let version = unsafe try enterSequencer(transaction, batch)
      releaseSnapshot(transaction)
      return version
    } catch {
      if case .serializationFailure = error { record(transaction, error) }
      end(transaction, as: .rolledBack)
      throw error
    }
  }

  /// Steps 2 to 7.
  private func enterSequencer(
    _ transaction: Transaction, _ batch: EncodedBatch
  ) throws(TransactionError) -> Version {
    sequencer.latch.lock()
    while mustGiveWay(transaction) {
      sequencer.latch.unlock()
      try giveWay(transaction)
      sequencer.latch.lock()
    }
    defer { sequencer.latch.unlock() }
    try checkTerm(transaction)
    let start = unsafe transaction.isTracked ? sequencer.timing.start() : 0
    if unsafe transaction.isTracked, let failure = certify(transaction) { throw .serializationFailure(failure) }
    let certified = unsafe start == 0 ? 0 : CertificationTiming.now
    let version = unsafe sequencer.nextVersion
    do throws(CommitError) {
      switch unsafe batch {
      case .small(let bytes): unsafe try log.append(bytes, version: version)
      case .large(let batch): try log.append(batch, version: version)
      }
    } catch { throw TransactionError(error) }
    sequencer.addInFlight(transaction, version)
    let entering = unsafe start == 0 ? 0 : CertificationTiming.now
    if unsafe transaction.isTracked { enterGraph(transaction, version.rawValue) }
    if start != 0 { unsafe sequencer.timing.add(certified - start + CertificationTiming.now - entering) }
    giveUpRightOfWay(transaction)
    return version
  }

  /// Nothing to log: the transaction is over, unless it has seen what no serial order shows.
  private func commitReadOnly(_ transaction: Transaction) throws(TransactionError) {
    let isSafe = transaction.safety.map { $0.outcome.load() == SnapshotSafety.safe } ?? false
    if unsafe transaction.isTracked && !isSafe {
      do throws(TransactionError) { try checkTerm(transaction) } catch {
        end(transaction, as: .rolledBack)
        throw error
      }
    }
    if unsafe transaction.isTracked && !isSafe {
      sequencer.latch.lock()
      let failure = certify(transaction)
      if failure == nil { enterGraph(transaction, 0) }
      sequencer.latch.unlock()
      if let failure {
        record(transaction, .serializationFailure(failure))
        end(transaction, as: .rolledBack)
        throw .serializationFailure(failure)
      }
    }
    end(transaction, as: .committed)
  }

  /// Lets flush and compaction keep up, outside the latch.
  @inline(__always)
  private func pace() {
    let delay = engine.writePressure()
    guard delay > 0 else { return }
    var request = timespec(tv_sec: Int(delay / 1_000_000_000), tv_nsec: Int(delay % 1_000_000_000))
    EventLoop.blocking { _ = unsafe nanosleep(&request, nil) }
  }

  /// Step 10 ahead of its time, by a log of one node that is about to write the group: applies it, unpublished, and gives
  /// back the locks that may be given back early. `deliver` of the same group follows when it is written. In log order.
  package func apply(
    slot: Slot, firstVersion: Version, transactionCount: Int, payload: UnsafeRawBufferPointer
  ) throws(StorageError) {
    unsafe try engine.apply(
      slot: slot, firstVersion: firstVersion, transactionCount: transactionCount, payload: payload)
    guard transactionCount > 0 else { return }
    applied.store(firstVersion.rawValue + UInt64(transactionCount - 1), ordering: .releasing)
    unsafe withUnsafeTemporaryAllocation(of: Unmanaged<Transaction>?.self, capacity: transactionCount) { group in
      // Nobody else takes them out of flight while the log has them under way.
      sequencer.latch.lock()
      for index in 0..<transactionCount {
        unsafe group.initializeElement(at: index, to: sequencer.inFlight(firstVersion.advanced(by: UInt64(index))))
      }
      sequencer.latch.unlock()
      for index in 0..<transactionCount {
        unsafe group[index]?._withUnsafeGuaranteedRef { transaction in
          if transaction.isolation == .readCommitted { self.lockTable.unlockEarly(transaction, transaction.version) }
        }
      }
    }
  }

  /// Steps 10 to 12. Called by the log, in its order, one group at a time. Groups of transactions that this manager did not
  /// begin (replay, replication) are applied and published likewise.
  ///
  /// After an error nothing of the group is visible, its transactions' commits fail, and the engine refuses every later
  /// group; except `StorageError.full`, where the same call may be made again.
  package func deliver(
    slot: Slot, firstVersion: Version, transactionCount: Int, payload: UnsafeRawBufferPointer
  ) throws(StorageError) {
    unsafe try engine.apply(
      slot: slot, firstVersion: firstVersion, transactionCount: transactionCount, payload: payload)
    guard transactionCount > 0 else { return }
    let last = firstVersion.advanced(by: UInt64(transactionCount - 1))
    engine.publish(last)
    unsafe withUnsafeTemporaryAllocation(of: Unmanaged<Transaction>?.self, capacity: transactionCount) { group in
      sequencer.latch.lock()
      for index in 0..<transactionCount {
        unsafe group.initializeElement(at: index, to: sequencer.takeInFlight(firstVersion.advanced(by: UInt64(index))))
      }
      sequencer.delivered(through: last)
      unsafe sequencer.committed += UInt64(transactionCount)
      prune()
      sequencer.latch.unlock()
      for index in 0..<transactionCount {
        guard let transaction = unsafe group[index] else { continue }
        unsafe transaction._withUnsafeGuaranteedRef { transaction in
          if unsafe !transaction.held.isEmpty || transaction.claim != nil || !transaction.rangeLocks.isEmpty {
            self.lockTable.unlock(transaction)
          }
          transaction.state = .committed
        }
        unsafe transaction.release()
      }
      counters.add(.ended, UInt64(transactionCount))
    }
  }

  /// The log failed after taking the transaction: whether it is committed depends on what is found at recovery. It gives
  /// back what it holds; whoever takes its locks cannot commit either.
  func abandon(_ transaction: Transaction, _ error: CommitError) -> TransactionError {
    sequencer.latch.lock()
    let inFlight = unsafe sequencer.takeInFlight(transaction.version, of: transaction)
    if unsafe inFlight != nil {
      unsafe sequencer.certifier.discard(version: transaction.version.rawValue)
      prune()
    }
    sequencer.latch.unlock()
    if let inFlight = unsafe inFlight {
      lockTable.unlock(transaction)
      transaction.state = .rolledBack
      counters.add(.ended)
      unsafe inFlight.release()
    }
    return TransactionError(error)
  }

  /// Ends a transaction that is not in the log.
  func end(_ transaction: Transaction, as state: TransactionState) {
    if transaction.certifierPlace >= 0 { forgetSnapshot(transaction) }
    if transaction.attempts == .max { sequencer.latch.withLock { giveUpRightOfWay(transaction) } }
    if unsafe !transaction.held.isEmpty || transaction.claim != nil || !transaction.rangeLocks.isEmpty {
      lockTable.unlock(transaction)
    }
    releaseSnapshot(transaction)
    transaction.state = state
    transaction.freeMemory()
    counters.add(.ended)
    if state == .committed {
      counters.add(.committedReadOnly)
    } else {
      counters.add(.rolledBack)
    }
  }

  @inline(__always)
  func releaseSnapshot(_ transaction: Transaction) {
    if let hold = unsafe transaction.hold {
      engine.release(hold)
      unsafe transaction.hold = nil
    }
    unsafe transaction.pin.reset()
    unsafe transaction.lockPin.reset()
  }

  func reference(committedAt version: Version) -> TransactionReference {
    sequencer.latch.withLock { sequencer.committer(version) }
  }
}

extension TransactionError {
  init(_ error: CommitError) {
    switch error {
    case .diskFull(let message): self = .diskFull(message)
    case .failed(let message): self = .logFailed(message)
    case .restarted(let message): self = .restarted(message)
    case .notLeading(let message): self = .notLeading(message)
    case .unknownOutcome(let message): self = .unknownOutcome(message)
    case .closed: self = .closed
    }
  }
}
