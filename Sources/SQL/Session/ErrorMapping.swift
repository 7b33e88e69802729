internal import Encoding
package import Storage
package import Transactions

// Where the errors of the layers below get their SQLSTATE: once, here.

/// Runs `body` and gives its error an SQLSTATE.
@inline(__always)
package func sqlErrors<T>(_ body: () throws(TransactionError) -> T) throws(SQLError) -> T {
  do throws(TransactionError) { return try body() } catch { throw SQLError(error) }
}

extension SQLError {
  /// The error as PostgreSQL would report it.
  @inline(never)
  package init(_ error: TransactionError) {
    switch error {
    case .serializationFailure(let failure): self = SQLError.serialization(failure)
    case .deadlock(let deadlock):
      let lines = deadlock.waits.map { "\($0.transaction) waits for \($0.strength) on \($0.keys)" }
      self.init(
        .deadlockDetected, "deadlock detected", detail: lines.joined(separator: "\n"),
        hint: "Run the transaction again; take locks in one order everywhere.")
    case .lockTimeout(let refusal):
      self.init(
        .lockNotAvailable, "canceling statement due to lock timeout", detail: SQLError.holders(refusal))
    case .lockNotAvailable(let refusal):
      self.init(.lockNotAvailable, "could not obtain lock on row", detail: SQLError.holders(refusal))
    case .readOnly: self.init(.readOnlyTransaction, "cannot execute a write in a read-only transaction")
    case .cancelled: self.init(.queryCanceled, "canceling statement due to user request")
    case .notActive(let state):
      switch state {
      case .failed:
        self.init(
          .failedTransaction, "current transaction is aborted, commands ignored until end of transaction block")
      default: self.init(.noActiveTransaction, "there is no transaction in progress")
      }
    case .tooLarge(let what, let size, let limit):
      self.init(
        .programLimit, "\(what) of \(size) bytes is larger than the limit of \(limit) bytes",
        hint: "Do the work in several smaller transactions or rows.")
    case .diskFull(let message):
      self.init(.diskFull, message, hint: "Free some space; writes resume by themselves.")
    case .logFailed(let message): self.init(.ioError, message)
    case .restarted(let message):
      self.init(.serializationFailure, "transaction restarted: \(message)", hint: "Run the transaction again.")
    case .notLeading(let message):
      self.init(SQLState(rawValue: "57P03"), message, hint: "Connect to the leader, or try again when there is one.")
    case .unknownOutcome(let message):
      self.init(
        .transactionUnknown, "transaction resolution unknown: \(message)",
        hint: "Look whether its effects are there before running it again.")
    case .closed: self.init(.adminShutdown, "the database is being closed")
    case .snapshotUnavailable(let asked, let oldest, let newest):
      self.init(
        SQLState(rawValue: "72000"), "snapshot too old or not yet there: version \(asked.rawValue)",
        detail: "Versions \(oldest.rawValue) to \(newest.rawValue) can be read.")
    case .storage(let error): self.init(error)
    }
  }

  private static func holders(_ refusal: LockRefusal) -> String {
    "\(refusal.strength) on \(refusal.keys) is held by \(refusal.holders.map(\.description).joined(separator: ", "))."
  }

  private static func serialization(_ failure: SerializationFailure) -> SQLError {
    let others = failure.others.map(\.description).joined(separator: ", ")
    let message: String
    var detail = "Key: \(failure.keys)."
    if !others.isEmpty { detail += " Other transaction: \(others)." }
    switch failure.reason {
    case .concurrentUpdate: message = "could not serialize access due to concurrent update"
    case .cycle:
      message = "could not serialize access due to read/write dependencies among transactions"
      detail = failure.cycle.map(\.description).joined(separator: "; ") + "."
    case .undecided:
      message = "could not serialize access due to read/write dependencies among transactions"
      detail += " The search for a cycle was cut short."
    case .rightOfWay:
      message = "could not serialize access: another transaction has the right of way"
    }
    return SQLError(
      .serializationFailure, message, detail: detail, hint: "The transaction might succeed if retried.")
  }

  /// The engine's errors.
  package init(_ error: StorageError) {
    self.init(.ioError, "\(error)")
  }
}
