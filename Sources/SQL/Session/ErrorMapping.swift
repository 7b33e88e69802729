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
    case .serializationFailure(let failure):
      self.init(
        .serializationFailure, SQLError.message(failure.reason), detail: ConflictText(nil).detail(failure),
        hint: "The transaction might succeed if retried.")
      conflict = .serialization(failure)
    case .deadlock(let deadlock):
      self.init(
        .deadlockDetected, "deadlock detected", detail: ConflictText(nil).detail(deadlock),
        hint: "Run the transaction again; take locks in one order everywhere.")
      conflict = .deadlock(deadlock)
    case .lockTimeout(let refusal):
      self.init(
        .lockNotAvailable, "canceling statement due to lock timeout", detail: ConflictText(nil).detail(refusal))
      conflict = .refusal(refusal)
    case .lockNotAvailable(let refusal):
      self.init(.lockNotAvailable, "could not obtain lock on row", detail: ConflictText(nil).detail(refusal))
      conflict = .refusal(refusal)
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

  private static func message(_ reason: SerializationFailure.Reason) -> String {
    switch reason {
    case .concurrentUpdate: "could not serialize access due to concurrent update"
    case .cycle, .undecided: "could not serialize access due to read/write dependencies among transactions"
    case .rightOfWay: "could not serialize access: another transaction has the right of way"
    }
  }

  /// The same error, its detail in the names of `catalog`.
  package func explained(_ catalog: CatalogSnapshot?) -> SQLError {
    guard let conflict else { return self }
    var error = self
    error.conflict = nil
    let text = ConflictText(catalog)
    let place: KeyRange
    switch conflict {
    case .serialization(let failure):
      error.detail = text.detail(failure)
      place = failure.keys
    case .deadlock(let deadlock):
      error.detail = text.detail(deadlock)
      place = deadlock.waits.first?.keys ?? KeyRange()
    case .refusal(let refusal):
      error.detail = text.detail(refusal)
      place = refusal.keys
      if state == .lockNotAvailable, message.hasSuffix("row"), let table = text.names.place(place).table {
        error.message += " in relation \"\(table)\""
      }
    }
    let found = text.names.place(place)
    error.schema = found.schema
    error.table = found.table
    return error
  }

  /// The engine's errors.
  package init(_ error: StorageError) {
    switch error {
    case .corruption: self.init(.dataCorrupted, "\(error)")
    case .snapshotTooOld: self.init(SQLState(rawValue: "72000"), "\(error)", hint: "Begin a new transaction.")
    case .full: self.init(.diskFull, "\(error)", hint: "Writing resumes by itself when there is space.")
    case .closed: self.init(.adminShutdown, "the database is being closed")
    case .disk, .unsupportedFormat, .malformedGroup, .stopped: self.init(.ioError, "\(error)")
    }
  }
}
