internal import Encoding
package import Transactions

// Commits that do not block: for sessions that run on an event loop.
//
//   statement … COMMIT ─▶ certified, in the log ─▶ `pendingCommit` ──── the version is delivered ────▶ `finishCommit`
//                              │                                                                          ▲
//                              └─ the log is idle: written here, nothing pending ─────────────────────────┘
//
// 1. Only the last thing that a message does is deferred: a simple query's last commit, an Execute's, or Sync's.
// 2. While a commit is pending the session does nothing; the transaction can no longer be rolled back or cancelled.
// 3. The command tag is given after the commit, by `finishCommit`: an acknowledged commit is durable.

/// How a session that does not block commits.
package struct CommitDeferral: Sendable {
  /// Whether to write on the session's own thread when the log is idle.
  package var writesInline: Bool
  package init(writesInline: Bool = true) { self.writesInline = writesInline }
}

/// A commit that is in the log and not yet chosen.
package struct PendingCommit {
  let transaction: Transaction
  let isDurable: Bool
  /// What the statement's answer is, unless it was given before.
  let tag: String?

  /// Calls `body` once, when the commit has come to its end; perhaps before this returns, otherwise on the log's thread,
  /// which it must not hold up. `finishCommit` is to be called with what it is given, on the session's thread.
  package func whenDone(_ body: @escaping @Sendable (TransactionError?) -> Void) {
    transaction.whenCommitted(durable: isDurable, body)
  }
}

extension SQLSession {
  /// Begins to commit; true if the end is to be waited for.
  func postpone(
    _ transaction: Transaction, _ deferral: CommitDeferral, durable: Bool, tag: String?
  ) throws(SQLError) -> Bool {
    let progress = try sqlErrors { () throws(TransactionError) in
      try transaction.beginCommit(isInline: durable && deferral.writesInline)
    }
    switch progress {
    case .done(let version):
      if let localCatalog, version != nil { database.catalogs.add(localCatalog) }
      if let version { reportCommit(version.rawValue) }
      return false
    case .pending:
      pendingCommit = PendingCommit(transaction: transaction, isDurable: durable, tag: tag)
      return true
    }
  }

  /// Ends the commit that was pending, as its `whenDone` told, and gives its tag to `sink`.
  ///
  /// - Throws: 08007 where the log failed and nobody knows.
  package func finishCommit(_ failure: TransactionError?, _ sink: any ResultSink) throws(SQLError) {
    guard let pending = pendingCommit else { return }
    pendingCommit = nil
    if let failure {
      abandon()
      throw SQLError(failure)
    }
    if let localCatalog { database.catalogs.add(localCatalog) }
    reportCommit(pending.transaction.version.rawValue)
    committed()
    if let tag = pending.tag { sink.completed(tag) }
  }
}
