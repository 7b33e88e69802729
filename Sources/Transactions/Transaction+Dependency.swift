internal import Encoding
internal import Storage
internal import Synchronization

// Locks that are given back early, on one node, at read committed.
//
// A transaction's place in the log is fixed when it is sequenced; that it is durable comes a disk write later. Who waits
// for a row that it changed need not wait for the disk: what it makes of the row commits behind it in the same log, and is
// lost with it if it is lost. So the log applies a group before it writes it, unpublished, and the locks go then:
//
//   T1   UPDATE … COMMIT ─ sequenced (7) ─ applied, locks given back ─ written ─ visible ─ answered
//   T2   UPDATE … waits ────────────────────▶ has the lock: depends on 7 ─ … COMMIT ─ sequenced (9) ─ … ─ answered
//
// 1. Who gets a lock that was given back early by a version which is not visible *depends* on it: on everything that was
//    applied when it looked. That need not have written the key; the lock may have stood for something else.
// 2. Snapshots of a transaction that depends on a version are at least that version, though it is not visible: it goes on
//    seeing what it has seen (a later statement finds everything of T1).
// 3. Nothing that depends on a version is told to be done before that version is visible. With writes, the order of the log
//    sees to it. Without, the commit waits for the version; so does the report of a failed statement, which may have failed
//    because of what it saw, and an advisory lock, which may guard what is outside of the database.
// 4. From repeatable read on nobody depends: whoever gets such a lock waits for the version, and then finds out whether its
//    snapshot is too old, as ever. They give back their own locks when they are visible, because their conflicts are
//    decided by versions, and the right of way by the moment of the snapshot.
// 5. If the write fails, the log takes nothing more: whoever depends on what was lost fails as well.
//
// So what a client may see of a version that is not durable is answers to statements in the middle of a transaction of its
// own that is not committed, nothing else.

extension Transaction {
  /// The newest version that a statement of this transaction may read now.
  @inline(__always)
  var newestReadable: Version { unsafe max(dependency, manager.engine.visibleVersion) }

  /// Holds it.
  func retainNewest() -> SnapshotHold {
    if unsafe dependency > manager.engine.visibleVersion {
      // Refused only where a later one is visible by now.
      do throws(StorageError) { return unsafe try manager.engine.retain(snapshot: dependency) } catch {}
    }
    return manager.engine.retainVisible()
  }

  /// After a lock was granted.
  @inline(__always)
  func dependOnReleased(_ hash: UInt64) throws(TransactionError) {
    // The note is written before the lock is given back, so it is read after the lock was taken.
    let version = manager.lockTable.releasedVersion(hash)
    if version > manager.engine.visibleVersion { try dependSlowly(on: version) }
  }

  /// After an interval was locked, in which anything may have been written.
  func dependOnReleasedRanges() throws(TransactionError) {
    try depend(on: Version(manager.applied.load(ordering: .acquiring)))
  }

  /// After a version was seen that may not be visible yet.
  @inline(__always)
  func depend(on version: Version) throws(TransactionError) {
    if version > newestReadable { try dependSlowly(on: version) }
  }

  @inline(never)
  private func dependSlowly(on version: Version) throws(TransactionError) {
    let applied = Version(manager.applied.load(ordering: .acquiring))
    if isolation == .readCommitted && version <= applied {
      unsafe dependency = max(dependency, applied)
    } else {
      try awaitVisible(version)
    }
  }

  /// Blocks until what the transaction depends on is visible: before anybody outside learns of it.
  package func awaitDependency() throws(TransactionError) { unsafe try awaitVisible(dependency) }

  private func awaitVisible(_ version: Version) throws(TransactionError) {
    guard version > manager.engine.visibleVersion else { return }
    do throws(CommitError) { try manager.log.commit(through: version, durable: false) } catch {
      throw TransactionError(error)
    }
  }
}
