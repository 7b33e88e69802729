extension Transaction {
  /// A place to return to.
  package func savepoint() -> Savepoint {
    settle()
    savepointSerial += 1
    unsafe savepoints.append(
      SavepointState(
        serial: savepointSerial, writes: writes.openSavepoint(), heldCount: held.count,
        claimedCount: claim?.taken.count ?? 0, rangeLockCount: rangeLocks.count, metadataCount: metadata.count,
        reads: footprint.mark))
    return Savepoint(depth: savepoints.count - 1, serial: savepointSerial)
  }

  /// Undoes what was written, and gives back what was locked, since the savepoint, which stays. What was read stays
  /// remembered: the program has seen it. Revives a transaction that a call has failed.
  package func rollback(to savepoint: Savepoint) {
    guard state == .active || state == .failed, isCurrent(savepoint) else { return }
    settle()
    let mark = savepoints[savepoint.depth]
    while savepoints.count > savepoint.depth + 1 {
      savepoints.removeLast()
      unsafe writes.closeSavepoint()
    }
    pendingEntry = nil
    giveUpConflict()
    if manager.options.mutant == .forgetsReadsOfSavepoints { unsafe footprint.truncate(to: mark.reads) }
    unsafe writes.rollback(to: mark.writes)
    metadata.removeLast(metadata.count - mark.metadataCount)
    if unsafe held.count > mark.heldCount || rangeLocks.count > mark.rangeLockCount {
      manager.lockTable.unlock(self, downTo: mark.heldCount, ranges: mark.rangeLockCount, keepsClaim: true) {
        entry, strength in
        // The right of way, taken by the first statement after the savepoint, is no key of the transaction's.
        if entry != TransactionManager.noEntry { unsafe self.writes.setStrength(Int(entry), strength) }
      }
    }
    if claim != nil {
      manager.lockTable.unclaim(self, downTo: mark.claimedCount) {
        unsafe keyHash(self.writes.entries.key($0))
      } unmark: {
        unsafe self.writes.setClaimed(Int($0), 0)
      }
    }
    if !lockedReads.isEmpty { rememberLockedReads() }
    state = .active
  }

  /// Forgets the savepoint and those after it; keeps their work.
  package func release(_ savepoint: Savepoint) {
    guard isCurrent(savepoint) else { return }
    while savepoints.count > savepoint.depth {
      savepoints.removeLast()
      unsafe writes.closeSavepoint()
    }
  }

  private func isCurrent(_ savepoint: Savepoint) -> Bool {
    savepoint.depth < savepoints.count && savepoints[savepoint.depth].serial == savepoint.serial
  }
}

/// A place in a transaction to return to.
package struct Savepoint: Hashable, Sendable {
  let depth: Int
  let serial: UInt64
}

struct SavepointState {
  var serial: UInt64
  var writes: WriteSet.Mark
  var heldCount: Int
  var claimedCount: Int
  var rangeLockCount: Int
  var metadataCount: Int
  var reads: Footprint.Mark
}
