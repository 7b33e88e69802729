internal import Transactions

extension Database {
  /// Runs `body` over one snapshot of this node's own state, whoever leads. Nothing can be written.
  ///
  /// - Throws: 72000 from reads where another node's checkpoint took the place of this node's state meanwhile, and does not
  ///   hold what the snapshot shows; what `body` throws.
  package func readLocally<R>(_ body: (Transaction) throws -> R) throws -> R {
    var options = TransactionOptions(isolation: .repeatableRead, isReadOnly: true)
    options.isLocal = true
    let inner: Transactions.Transaction
    do throws(TransactionError) { inner = try core.manager.begin(options) } catch { throw DatabaseError(error) }
    defer { inner.rollback() }
    return try body(Transaction(inner, self))
  }
}
