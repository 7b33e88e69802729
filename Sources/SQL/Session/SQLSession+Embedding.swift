package import Transactions

// What the embeddable façade needs beyond what a connection does: transactions that began below SQL, and statements run
// without a portal.

extension SQLSession {
  /// Takes over a transaction that was begun below SQL: the block is open from here on.
  package func adopt(_ transaction: Transaction) {
    precondition(status == .idle, "a session has one transaction at a time")
    startClock()
    self.transaction = transaction
    isAdopted = true
    follow(transaction)
    block = .explicit
    transactionStart = statementStart
  }

  /// Commits the open block as COMMIT does, or fails as it would.
  package func commitBlock(durable: Bool) throws(SQLError) {
    if block == .failed {
      abandon()
      throw SQLError(
        .failedTransaction, "current transaction is aborted, and was rolled back",
        hint: "A statement failed earlier; its error says why.")
    }
    try commit(durable: durable)
  }

  /// Rolls the open block back; nothing happens where none is open.
  package func rollbackBlock() { abandon() }

  /// Runs a prepared statement with values for its parameters.
  package func run(
    _ statement: PreparedStatement, parameters: [Datum], into sink: any ResultSink
  ) throws(SQLError) {
    self.sink = sink
    defer { self.sink = nil }
    startClock()
    try run(statement, parameters, sink)
  }

  /// The user's relations, as this session sees them now.
  package func definitions() throws(SQLError) -> [ObjectDefinition] {
    if block == .failed { return [] }
    if transaction != nil { return try catalog().definitions() }
    startClock()
    try begin(.init())
    defer { abandon() }
    return try catalog().definitions()
  }
}
