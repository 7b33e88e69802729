package import Encoding
package import Storage

/// Why a transaction, or one of its calls, failed. SQL gives each case its SQLSTATE, once, at its edge.
///
/// "Ends the transaction" means that only `rollback` (or `rollback(to:)` for the lock errors) makes sense afterwards;
/// nothing of it is or will be committed, unless the case says otherwise.
package enum TransactionError: Error, Sendable {
  /// 40001. Ends the transaction; running it again, from its beginning, can succeed.
  case serializationFailure(SerializationFailure)
  /// 40P01. This transaction was chosen to break a cycle of waits. Running it again can succeed.
  case deadlock(Deadlock)
  /// 55P03. The lock was not granted within the transaction's lock timeout.
  case lockTimeout(LockRefusal)
  /// 55P03. The lock is held by another transaction and the caller did not want to wait.
  case lockNotAvailable(LockRefusal)
  /// 25006. A write in a transaction that was begun read only.
  case readOnly
  /// 57014. `cancel()` was called from elsewhere.
  case cancelled
  /// 25P02 or 25P01. The transaction has ended or must be rolled back first.
  case notActive(TransactionState)
  /// 54000. A key, a value or the whole transaction exceeds a limit of the write batch format.
  case tooLarge(what: String, sizeBytes: Int, limitSizeBytes: Int)
  /// 53100. The disk has no room for the log; nothing was written, and writes resume when there is room.
  case diskFull(String)
  /// 58030. The log refuses writes for good (the message says why and what to do); reads go on.
  case logFailed(String)
  /// 40001. The log refused the transaction before it could be chosen: definitely not committed (a new leader).
  case restarted(String)
  /// 57P03. This node does not lead, and could not ask the one that does; nothing was read or written.
  case notLeading(String)
  /// 08007. The transaction was handed to the log and its fate could not be learnt: it may or may not be committed.
  case unknownOutcome(String)
  /// 57P01. The manager is closed.
  case closed
  /// 72000. The snapshot asked for is no longer kept, or lies in the future.
  case snapshotUnavailable(asked: Version, oldest: Version, newest: Version)
  /// 58030 or XX001. Reading failed.
  case storage(StorageError)
}

/// Another transaction, as messages name it.
package struct TransactionReference: Hashable, Sendable, CustomStringConvertible {
  /// `Transaction.id`.
  package var id: UInt64
  /// What the session that began it passed in `TransactionOptions.session`; 0 if nothing.
  package var session: UInt64
  /// Where it committed; nil when it has not (yet) or wrote nothing.
  package var version: Version?

  package init(id: UInt64, session: UInt64 = 0, version: Version? = nil) {
    self.id = id
    self.session = session
    self.version = version
  }

  package var description: String { "transaction \(id)" + (version.map { " (committed at \($0))" } ?? "") }
}

/// One edge of the serialization graph: `from` must come before `to` in every equivalent serial order.
package struct Dependency: Hashable, Sendable, CustomStringConvertible {
  package enum Kind: String, Hashable, Sendable {
    /// `to` read what `from` wrote.
    case writeRead
    /// `to` overwrote what `from` wrote.
    case writeWrite
    /// `to` overwrote, or added to, what `from` read.
    case readWrite
    /// `from` was committed before `to`, or one that must come before it, began.
    case realTime
  }
  package var from: TransactionReference
  package var to: TransactionReference
  package var kind: Kind
  /// The key, as the interval of one key, or the interval that was read.
  package var keys: KeyRange
  /// The interval that was read, where the reader met the key in one; nil where it asked for the key itself.
  package var read: KeyRange?

  package init(
    from: TransactionReference, to: TransactionReference, kind: Kind, keys: KeyRange, read: KeyRange? = nil
  ) {
    self.from = from
    self.to = to
    self.kind = kind
    self.keys = keys
    self.read = read
  }

  package var description: String {
    let verb =
      switch kind {
      case .writeRead: "was read by"
      case .writeWrite: "was overwritten by"
      case .readWrite: "did not see the write of"
      case .realTime: "was over before the beginning of"
      }
    return "\(from) \(verb) \(to) at \(keys)"
  }
}

/// Why a transaction cannot be serialized.
package struct SerializationFailure: Error, Hashable, Sendable {
  package enum Reason: Hashable, Sendable {
    /// First updater wins: another transaction, committed after this one's snapshot, wrote a key that this one locks.
    case concurrentUpdate
    /// Committing would close a cycle of dependencies.
    case cycle
    /// The search for a cycle exceeded its budget, or memory pressure made the record too coarse to tell.
    case undecided
    /// A transaction that failed several times before has the right of way, and this one stood in it.
    case rightOfWay
  }
  package var reason: Reason
  /// The key or interval where this transaction met the other.
  package var keys: KeyRange
  /// The other transactions.
  package var others: [TransactionReference]
  /// The cycle, beginning and ending with this transaction; empty unless `reason` is `cycle`.
  package var cycle: [Dependency]
  /// After a concurrent update: why the snapshot could not be moved past it.
  package var obstacle: Obstacle?

  /// What keeps a snapshot from being moved.
  package enum Obstacle: Hashable, Sendable {
    /// This was read, and then changed by another transaction.
    case read(Dependency)
    /// Part of the statement's answer has been given.
    case answered
    /// A cursor is open over the old snapshot.
    case openCursor
    /// More was read than is remembered, or looked at, for this purpose.
    case tooMuchRead
    /// The statement was run again too often.
    case tooOften
  }

  package init(
    reason: Reason, keys: KeyRange, others: [TransactionReference] = [], cycle: [Dependency] = []
  ) {
    self.reason = reason
    self.keys = keys
    self.others = others
    self.cycle = cycle
  }
}

/// A cycle of waits, in order: each waits for the next, the last for the first. The victim comes first.
package struct Deadlock: Error, Hashable, Sendable {
  package struct Wait: Hashable, Sendable {
    package var transaction: TransactionReference
    /// What it waits for.
    package var keys: KeyRange
    package var strength: LockStrength
    package init(transaction: TransactionReference, keys: KeyRange, strength: LockStrength) {
      self.transaction = transaction
      self.keys = keys
      self.strength = strength
    }
  }
  package var waits: [Wait]
  package init(waits: [Wait]) { self.waits = waits }
}

/// A lock that was not had.
package struct LockRefusal: Error, Hashable, Sendable {
  package var keys: KeyRange
  package var strength: LockStrength
  /// Who held it.
  package var holders: [TransactionReference]
  package init(keys: KeyRange, strength: LockStrength, holders: [TransactionReference]) {
    self.keys = keys
    self.strength = strength
    self.holders = holders
  }
}
