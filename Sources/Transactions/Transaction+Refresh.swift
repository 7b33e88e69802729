internal import Encoding
package import Storage
internal import Synchronization

// Moving the snapshot past a conflict, instead of failing: what CockroachDB calls a read refresh, with exact footprints.
//
// A transaction T at repeatable read or serializable, with snapshot S, has been granted the lock of a key that somebody
// changed after S. First updater wins would fail it. But nothing is wrong with T if it could as well have begun later:
//
//          S            key changed          V = visible now
//     ─────┼─────────────────┼────────────────────┼────────▶ versions
//          └ T read a, b     └ committed by U     └ T goes on here, if a and b are unchanged in (S, V]
//
// Then everything that T's program was told is true at V as well, and T is, from here on, exactly a transaction that took
// its snapshot at V: S := V, and no trace of S is left. Only a read that did change makes it fail: lost updates, and
// every other conflict that an order of the two cannot explain.
//
// 1. What counts is what the program was told by completed statements, and by calls below SQL: every point (found or not)
//    and every interval of the footprint. It is remembered at repeatable read, too; beyond a limit the snapshot is not
//    moved any more. What was read and rolled back to a savepoint counts: the program has seen it.
// 2. The statement that met the conflict has told nothing yet. `openStatement` marks where it begins; to repeat it, what it
//    wrote is rolled back and what it read is forgotten, to the mark, and it is run from its start over V. Its locks are
//    kept, so that the same key cannot stand in its way again; `statementRepetitions` bounds the rest. A statement part of
//    whose answer has been given is not repeated.
// 3. Outside of a statement (the key-value calls), and inside where the statement has read nothing that changed and has no
//    cursor open, there is nothing to repeat: the snapshot moves and the call goes on. Then all reads are looked at.
// 4. Whether something changed is asked of the engine, over published versions: writers at every level count, and range
//    deletions count as a write of every key in them. The sequencer is not held meanwhile.
// 5. V is retained, and in the certifier's list of open snapshots, before S is given up; S is kept until the answer is
//    known, because garbage collection may drop the deletion of a key that no snapshot tells from its absence. On a leader
//    V is confirmed like every snapshot.
// 6. The certifier knows nothing of reads before the commit (decision 0050), so there is nothing to correct in it: at the
//    commit, T's reads are those of a transaction with snapshot V. Read-only transactions that wait for writers older than
//    theirs need not wait for T any longer: T now sees everything that they see.
// 7. At repeatable read a check for a duplicate or a foreign key looks at the newest version under a lock. While the lock
//    is held what was found stays true. A rollback to a savepoint gives the lock back: from then on the key counts as read.
//    What was looked at without a lock counts as read at once.
// 8. A key that T has locked was not changed since S when it was locked, or S has moved past the change; and cannot be
//    changed by others since. So a lock that is held needs no second look at V.

/// Where a statement began that can be run again.
struct StatementMark: BitwiseCopyable {
  var writes: WriteSet.Mark
  var reads: Footprint.Mark
  var metadataCount: Int
  var savepointCount: Int
  var cursorCount: Int
  var repetitions = 0
}

/// Whether a statement that failed is to be run again.
package enum StatementRepetition: Sendable {
  /// It has been undone, and the snapshot is newer.
  case again
  /// The failure was a conflict, and this is what it is to be called.
  case refused(TransactionError)
  /// It did not fail for a conflict that a newer snapshot would heal.
  case unrelated
}

extension Transaction {
  /// Marks the beginning of a statement, so that a conflict does not end the transaction before `repeatStatement` was
  /// asked. False if the transaction has no use for it, or a statement is open: then `closeStatement` is not called.
  package func openStatement() -> Bool {
    guard isolation != .readCommitted, !isReadOnly, unsafe statement == nil, state == .active else { return false }
    settle()
    unsafe statement = unsafe StatementMark(
      writes: writes.openSavepoint(), reads: footprint.openMark(), metadataCount: metadata.count,
      savepointCount: savepoints.count, cursorCount: openCursors.count)
    return true
  }

  /// Whether a statement is open that might be run again.
  package var isInStatement: Bool { unsafe statement != nil }

  /// The statement is over, one way or the other.
  package func closeStatement() {
    guard unsafe statement != nil else { return }
    unsafe statement = nil
    unsafe writes.closeSavepoint()
    unsafe footprint.closeMark()
  }

  /// After the open statement has failed: whether it is to be run again from its start. Cursors that it has left open are
  /// closed.
  ///
  /// - Parameter hasAnswered: part of its answer has been given, so that it cannot.
  package func repeatStatement(hasAnswered: Bool) throws(TransactionError) -> StatementRepetition {
    guard var failure = conflict, let mark = unsafe statement, state == .failed else { return .unrelated }
    settle()
    while unsafe openCursors.count > mark.cursorCount {
      unsafe openCursors[openCursors.count - 1].takeUnretainedValue().close()
    }
    // A savepoint that was made on the way would be undone with the statement.
    if hasAnswered || savepoints.count != mark.savepointCount {
      failure.obstacle = .answered
    } else if mark.repetitions >= manager.options.statementRepetitions {
      failure.obstacle = .tooOften
    } else {
      failure.obstacle = try moveSnapshot(keeping: mark.reads, isFirstStatement: mark.reads.isEmpty)
    }
    conflict = failure
    guard failure.obstacle == nil else {
      manager.refusedRefreshes.wrappingAdd(1, ordering: .relaxed)
      return .refused(.serializationFailure(failure))
    }
    conflict = nil
    unsafe footprint.truncate(to: mark.reads)
    unsafe writes.rollback(to: mark.writes)
    metadata.removeLast(metadata.count - mark.metadataCount)
    unsafe statement?.repetitions += 1
    state = .active
    return .again
  }

  /// The open statement cannot be completed over this snapshot, because `key`, which is locked, was changed after it: fails
  /// so that it is repeated over a newer one.
  package func needNewerSnapshot(for key: [UInt8]) throws(TransactionError) {
    let snapshot = try currentSnapshot()
    let newer: Version?
    do throws(StorageError) {
      newer = unsafe try withBytes(key) { (key) throws(StorageError) in
        unsafe try manager.engine.newestVersion(of: key, after: snapshot, &lockPin)
      }
    } catch { throw .storage(error) }
    let failure = concurrentUpdate(KeyRange(key: key), newer ?? snapshot)
    unsafe try withBytes(key) { (key) throws(TransactionError) in
      unsafe try meet(failure, at: key, canContinue: false)
    }
  }

  /// The same for something in `keys` that was found out by other means.
  package func needNewerSnapshot(for keys: KeyRange) throws(TransactionError) {
    unsafe try meet(SerializationFailure(reason: .concurrentUpdate, keys: keys), at: nil, canContinue: false)
  }

  /// A granted lock is on a key that was changed after the snapshot. Returns if the snapshot could be moved; otherwise
  /// fails the transaction, or the statement if one is open, which may be repeated then.
  @inline(never)
  func meet(
    _ failure: SerializationFailure, at key: UnsafeRawBufferPointer?, canContinue: Bool = true
  ) throws(TransactionError) {
    var failure = failure
    let isOpen = unsafe statement != nil
    // Where a statement is open and has read the key, it must be repeated: no use to look at everything before.
    let mustRepeat =
      unsafe isOpen
      && (!openCursors.isEmpty || openViews > 0 || !remembersReads
        || key.map { unsafe footprint.hasPoint($0) } ?? false)
    if canContinue && !mustRepeat {
      failure.obstacle = try moveSnapshot(keeping: unsafe footprint.mark, isFirstStatement: false)
      if failure.obstacle == nil { return }
    }
    let mutant = manager.options.mutant
    if mutant == .movesInMidStatement, let mark = unsafe statement,
      try moveSnapshot(keeping: mark.reads, isFirstStatement: mark.reads.isEmpty, ignoresCursors: true) == nil
    {
      return
    }
    guard isOpen else {
      manager.refusedRefreshes.wrappingAdd(1, ordering: .relaxed)
      throw failed(.serializationFailure(failure))
    }
    failure.obstacle = nil
    conflict = failure
    state = .failed
    throw .serializationFailure(failure)
  }

  /// A conflict that no repetition has healed is final now.
  func giveUpConflict() {
    guard let failure = conflict else { return }
    conflict = nil
    manager.record(self, .serializationFailure(failure))
  }

  // MARK: Moving

  /// Moves the snapshot to what is visible now, if nothing of `reads` has changed; otherwise says why not.
  private func moveSnapshot(
    keeping reads: Footprint.Mark, isFirstStatement: Bool, ignoresCursors: Bool = false
  ) throws(TransactionError) -> SerializationFailure.Obstacle? {
    guard unsafe (openCursors.isEmpty && openViews == 0) || ignoresCursors else { return .openCursor }
    guard unsafe footprint.isValid(reads) && (remembersReads || isFirstStatement), let old = unsafe hold else {
      return .tooMuchRead
    }
    try manager.checkTerm(self)
    if manager.options.mutant == .releasesOldSnapshotFirst {
      manager.engine.release(old)
      unsafe hold = manager.engine.retainVisible()
    }
    let new = try manager.takeNewerSnapshot(self)
    let obstacle: SerializationFailure.Obstacle?
    do throws(TransactionError) {
      obstacle = try change(of: reads, after: old.version, upTo: new.hold.version)
    } catch {
      manager.giveBack(new)
      throw error
    }
    if obstacle == nil {
      manager.exchangeSnapshot(self, for: new)
      manager.refreshes.wrappingAdd(1, ordering: .relaxed)
    } else {
      manager.giveBack(new)
    }
    return obstacle
  }

  /// The first of `reads` that was written in `after < version <= upTo`.
  private func change(
    of reads: Footprint.Mark, after: Version, upTo: Version
  ) throws(TransactionError) -> SerializationFailure.Obstacle? {
    guard after != upTo else { return nil }
    let mutant = manager.options.mutant
    var budget = manager.options.entriesToMoveSnapshot
    do throws(StorageError) {
      for index in 0..<(mutant == .movesOverPoints ? 0 : reads.points) {
        let key = unsafe footprint.points[index].keyBytes
        guard var version = unsafe try manager.engine.newestVersion(of: key, after: after, &lockPin) else { continue }
        if version > upTo {
          // Changed once more, behind what is to be the snapshot; was it before, too?
          let found = unsafe try newest(in: KeyRange(key: Array(key)), after, upTo, &budget)
          guard let found else {
            if budget > 0 { continue }
            return .tooMuchRead
          }
          version = found.version
        }
        return unsafe .read(dependency(KeyRange(key: Array(key)), version, nil))
      }
      for index in 0..<(mutant == .movesOverIntervals ? 0 : reads.intervals) {
        let range = unsafe KeyRange(footprint.intervals[index])
        let found = try newest(in: range, after, upTo, &budget)
        if let found { return .read(dependency(KeyRange(key: found.key), found.version, range)) }
        guard budget > 0 else { return .tooMuchRead }
      }
    } catch { throw .storage(error) }
    return nil
  }

  private func newest(
    in range: KeyRange, _ after: Version, _ upTo: Version, _ budget: inout Int
  ) throws(StorageError) -> (key: [UInt8], version: Version)? {
    var found: (key: [UInt8], version: Version)?
    unsafe try manager.engine.forEachVersion(in: range, after: after, upTo: upTo, budget: &budget) { key, version in
      found = unsafe (Array(key), version)
      return false
    }
    return found
  }

  private func dependency(_ key: KeyRange, _ version: Version, _ read: KeyRange?) -> Dependency {
    Dependency(
      from: reference, to: manager.reference(committedAt: version), kind: .readWrite, keys: key, read: read)
  }

  /// The newest state of `key` is looked at, at repeatable read (7).
  func noteNewestRead(_ key: UnsafeRawBufferPointer) {
    guard let entry = unsafe writes.find(key), unsafe writes.strength(entry) > 0 else {
      return unsafe footprint.addPoint(key)
    }
    if !savepoints.isEmpty { lockedReads.append(UInt32(truncatingIfNeeded: entry)) }
  }

  /// Locks were given back: what was found under them counts as read from now on (7).
  func rememberLockedReads() {
    lockedReads.removeAll { entry in
      guard unsafe writes.strength(Int(entry)) == 0 else { return false }
      if unsafe remembersReads { unsafe footprint.addPoint(writes.entries.key(entry)) }
      return true
    }
  }

  /// What cursors that are open have passed.
  func noteOpenCursors() {
    for index in unsafe 0..<openCursors.count { unsafe openCursors[index].takeUnretainedValue().notePassed() }
  }
}

extension KeyRange {
  init(_ interval: FootprintInterval) {
    var upper = unsafe interval.isUnbounded ? nil : Array(interval.upperBytes)
    if unsafe interval.isUpperInclusive { upper?.append(0) }
    self = unsafe KeyRange(lower: Array(interval.lowerBytes), upper: upper)
  }
}

// MARK: Snapshots that are to replace another

extension TransactionManager {
  struct NewSnapshot {
    var hold: SnapshotHold
    /// Its place among the certifier's open ones, or -1.
    var place: Int
  }

  /// The newest snapshot there is, held beside the transaction's.
  func takeNewerSnapshot(_ transaction: Transaction) throws(TransactionError) -> NewSnapshot {
    let new = retainNewest(transaction)
    guard let gate else { return new }
    let verdict: SnapshotVerdict
    do throws(CommitError) { verdict = try gate.confirmSnapshot() } catch {
      giveBack(new)
      // Whoever began under a leader is told that the leader has changed, and not that there is none.
      if transaction.term != Self.noTerm, !transaction.isOfCurrentTerm { throw Transaction.deposed }
      throw TransactionError(error)
    }
    if case .fresh = verdict { return new }
    giveBack(new)
    // What the gate waited for is applied, so this one is fresh.
    return retainNewest(transaction)
  }

  private func retainNewest(_ transaction: Transaction) -> NewSnapshot {
    guard transaction.certifierPlace >= 0 else { return NewSnapshot(hold: engine.retainVisible(), place: -1) }
    sequencer.latch.lock()
    defer { sequencer.latch.unlock() }
    let hold = engine.retainVisible()
    return unsafe NewSnapshot(hold: hold, place: sequencer.certifier.begin(snapshot: hold.version.rawValue))
  }

  func giveBack(_ new: NewSnapshot) {
    engine.release(new.hold)
    endPlace(new.place)
  }

  /// From here on the transaction has the new snapshot and no other.
  func exchangeSnapshot(_ transaction: Transaction, for new: NewSnapshot) {
    if let old = unsafe transaction.hold { engine.release(old) }
    unsafe transaction.hold = new.hold
    endPlace(transaction.certifierPlace)
    transaction.certifierPlace = new.place
  }

  private func endPlace(_ place: Int) {
    guard place >= 0 else { return }
    sequencer.latch.lock()
    unsafe sequencer.certifier.end(place, committedWrites: false)
    prune()
    sequencer.latch.unlock()
  }
}
