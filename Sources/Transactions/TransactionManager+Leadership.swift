package import Encoding
internal import Storage
internal import Synchronization

// Transactions on a node that may or may not lead (transactions.md B.4).
//
// Row locks and the certifier's graph live in the leader's memory alone. A transaction may commit only in the leadership in
// which it began: in between another leader may have committed what its locks were to keep out. So each remembers the term
// in which it began, and the sequencer refuses it in another.
//
//   lead     the log is applied through this leadership's first record: versions go on behind what is visible
//   resign   commits are refused from now on; what was sequenced and never proposed is undone
//   discard  what was proposed turned out not to be chosen
//
// 1. A version that was given out and not chosen is given out again only after its transaction left the ring: otherwise
//    the delivery of the second would end the first.
// 2. A sequenced transaction's fate is its `state`: `committed` by delivery, `rolledBack` by `discard`. What the log says
//    of a version is not enough, since another transaction may have it by then.

/// What a snapshot is worth: asked after it is taken, so that a pause between the two is no stale read.
package enum SnapshotVerdict: Sendable {
  case fresh
  /// Something newer must be read: take another.
  case stale
}

/// Says whether a snapshot shows everything acknowledged before it was asked for, anywhere in the cluster.
package protocol SnapshotGate: AnyObject, Sendable {
  /// Blocks where that takes a round of messages; called after the snapshot was taken.
  func confirmSnapshot() throws(CommitError) -> SnapshotVerdict
}

extension TransactionManager {
  /// The term of a node that does not lead.
  package static var noTerm: UInt64 { .max }

  /// The leadership in which transactions begin now; 0 for ever where there is one node.
  package var currentTerm: UInt64 { term.load(ordering: .acquiring) }

  /// Commits may begin: everything before this leadership is applied, and nothing is in flight.
  package func lead(term new: UInt64) {
    sequencer.latch.lock()
    sequencer.restart(at: engine.visibleVersion.advanced(by: 1))
    term.store(new, ordering: .releasing)
    sequencer.latch.unlock()
  }

  /// No commit of the present term is sequenced any more. What was, from `version` on, never went to the log.
  package func resign(discardingFrom version: Version?) {
    term.store(Self.noTerm, ordering: .releasing)
    if let version { discardInFlight(from: version) }
  }

  /// Undoes what was sequenced at `version` or after it: it is not chosen and never will be. Their commits fail.
  package func discardInFlight(from version: Version) {
    var discarded: [Unmanaged<Transaction>] = unsafe []
    sequencer.latch.lock()
    var at = version
    while unsafe at < sequencer.nextVersion {
      if let transaction = unsafe sequencer.takeInFlight(at) {
        unsafe discarded.append(transaction)
        unsafe sequencer.certifier.discard(version: at.rawValue)
      }
      at = at.advanced(by: 1)
    }
    unsafe sequencer.nextVersion = min(sequencer.nextVersion, version)
    prune()
    sequencer.latch.unlock()
    for index in unsafe discarded.indices {
      unsafe discarded[index]._withUnsafeGuaranteedRef { transaction in
        self.lockTable.unlock(transaction)
        transaction.state = .rolledBack
      }
      unsafe discarded[index].release()
      counters.add(.ended)
      counters.add(.rolledBack)
    }
  }

  /// Takes snapshots until one is confirmed.
  @inline(never)
  func confirmSnapshot(_ transaction: Transaction, _ gate: any SnapshotGate) throws(TransactionError) {
    guard !transaction.options.isLocal, transaction.options.asOf == nil else { return }
    while true {
      let verdict: SnapshotVerdict
      do throws(CommitError) { verdict = try gate.confirmSnapshot() } catch {
        // Whoever began under a leader is told that the leader has changed, and not that there is none.
        if transaction.term != Self.noTerm, !transaction.isOfCurrentTerm { throw Transaction.deposed }
        throw TransactionError(error)
      }
      if case .fresh = verdict { return }
      if transaction.isolation == .serializable {
        forgetSnapshot(transaction)
        releaseSnapshot(transaction)
        try takeSerializableSnapshot(transaction)
      } else if let hold = unsafe transaction.hold {
        engine.release(hold)
        unsafe transaction.hold = engine.retainVisible()
      }
      // What the gate waited for is applied, so this one is fresh.
      return
    }
  }

  func checkTerm(_ transaction: Transaction) throws(TransactionError) {
    if transaction.term != term.load(ordering: .relaxed) {
      throw Transaction.deposed
    }
  }
}

extension Transaction {
  static var deposed: TransactionError {
    .restarted("the leader has changed since the transaction began; run it again")
  }

  /// Whether the leadership in which it began lasts.
  package var isOfCurrentTerm: Bool { term == manager.currentTerm }

  /// Undoes everything, because its leadership has ended: what is asked of it from here on fails with `restarted`.
  package func rollbackAfterLeadership() {
    guard state == .active || state == .failed else { return }
    isDeposed = true
    rollback()
  }
}
