internal import Encoding
internal import SQL
internal import Storage
internal import Transactions

/// A transaction: statements and key-value operations over one set of reads and writes that commits or not as a whole.
///
/// Made by `Database.transaction`; used by one thread at a time, and not after the body that received it has returned.
/// Keys are arbitrary bytes from 1 to 65,535 long, ordered bytewise; they live beside the tables and never meet them.
public final class Transaction {
  let inner: Transactions.Transaction
  private let database: Database
  /// The SQL session that took the transaction over, once a statement was run in it.
  private(set) var session: Session?
  private var key: [UInt8] = [userKeySpace]

  init(_ inner: Transactions.Transaction, _ database: Database) {
    self.inner = inner
    self.database = database
  }

  private func sqlSession() throws(DatabaseError) -> Session {
    if let session { return session }
    let session = try database.takeSession()
    session.sql.adopt(inner)
    self.session = session
    return session
  }

  /// Runs statements; returns the last one's result. Transaction control (BEGIN, COMMIT, ROLLBACK) is the closure's own.
  @discardableResult
  public func execute(_ sql: String, _ parameters: any SQLValueConvertible...) throws(DatabaseError) -> Result {
    try run(sql, parameters.map(\.sqlValue))
  }

  /// Runs a query and returns its rows.
  public func query(_ sql: String, _ parameters: any SQLValueConvertible...) throws(DatabaseError) -> Result {
    try run(sql, parameters.map(\.sqlValue))
  }

  private func run(_ sql: String, _ parameters: [SQLValue]) throws(DatabaseError) -> Result {
    let session = try sqlSession()
    let result = try session.run(sql, parameters)
    guard session.transactionState == .inTransaction else {
      throw DatabaseError(
        sqlState: "2D000", message: "a statement ended the transaction that its closure was to commit",
        hint: "Use a session for BEGIN, COMMIT and ROLLBACK.")
    }
    return result
  }

  /// The value of `key`, or nil. Sees this transaction's own writes.
  public func get(_ key: [UInt8]) throws(DatabaseError) -> [UInt8]? {
    setKey(key)
    return try rethrow { () throws(TransactionError) in try inner.get(self.key) }
  }

  /// Writes `value` under `key`. Waits while another transaction that wrote it is open; fails with 40001 where that one
  /// committed, the isolation level is repeatable read or serializable, and something that this transaction has read was
  /// changed meanwhile.
  public func put(_ key: [UInt8], _ value: [UInt8]) throws(DatabaseError) {
    setKey(key)
    try rethrow { () throws(TransactionError) in try inner.put(self.key, value) }
  }

  /// Removes `key`; no error where it is not there.
  public func delete(_ key: [UInt8]) throws(DatabaseError) {
    setKey(key)
    try rethrow { () throws(TransactionError) in try inner.delete(self.key) }
  }

  /// Calls `body` with every key from `lower` up to, not including, `upper` (nil: to the end) in order, until it
  /// returns false.
  public func scan(
    from lower: [UInt8] = [], to upper: [UInt8]? = nil, reverse: Bool = false,
    _ body: (_ key: [UInt8], _ value: [UInt8]) throws -> Bool
  ) throws {
    unsafe try walk(from: lower, to: upper, reverse: reverse) { key, value in
      unsafe try body(Array(key), Array(value))
    }
  }

  /// Like `scan`, lending each key and value until `body` returns: no memory is taken for them.
  public func forEach(
    from lower: [UInt8] = [], to upper: [UInt8]? = nil, reverse: Bool = false,
    _ body: (_ key: RawSpan, _ value: RawSpan) throws -> Bool
  ) throws {
    unsafe try walk(from: lower, to: upper, reverse: reverse) { key, value in unsafe try body(key.bytes, value.bytes) }
  }

  private func walk(
    from lower: [UInt8], to upper: [UInt8]?, reverse: Bool,
    _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws -> Bool
  ) throws {
    let range = KeyRange(lower: [userKeySpace] + lower, upper: upper.map { [userKeySpace] + $0 } ?? [userKeySpace + 1])
    let cursor = try rethrow { () throws(TransactionError) in try inner.cursor(range, reverse: reverse) }
    defer { cursor.close() }
    // Backwards a batch has one row: it would only be in the way.
    while reverse {
      guard try rethrow({ () throws(TransactionError) in try cursor.next() }) else { return }
      guard unsafe try body(UnsafeRawBufferPointer(rebasing: cursor.key.dropFirst()), cursor.value) else { return }
    }
    let rows = RowBatch()
    while true {
      let count = try rethrow { () throws(TransactionError) in try cursor.nextRows(into: rows, withKeys: true) }
      guard count > 0 else { return }
      // The next call says why, where the body ended the transaction.
      for index in 0..<count where inner.state == .active {
        cursor.taken = index + 1
        let key = unsafe UnsafeRawBufferPointer(rebasing: rows.key(index).dropFirst())
        guard unsafe try body(key, rows.value(index)) else { return }
      }
    }
  }

  private func setKey(_ user: [UInt8]) {
    key.removeLast(key.count - 1)
    key.append(contentsOf: user)
  }

  private func rethrow<R>(_ body: () throws(TransactionError) -> R) throws(DatabaseError) -> R {
    do throws(TransactionError) { return try body() } catch { throw DatabaseError(error) }
  }
}
