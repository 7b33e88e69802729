internal import Transactions

// Statements that are run again over a newer snapshot: see Transaction+Refresh.swift, which says when that is right. Here is
// what a session does for it: it undoes what the statement did to the session itself, and holds back the first rows of a
// statement that takes locks, since a statement part of whose answer was given cannot be run again.

extension SQLSession {
  /// Runs a statement, and again over a newer snapshot if it met a conflict that this heals and has shown nothing yet: see
  /// Transaction+Refresh.swift. What it does beside the database's rows may be done again: numbers of sequences are lost, as by
  /// a rollback; a statement that took or gave back an advisory lock of the session is not repeated.
  func repeating(
    _ hasShown: inout Bool, _ body: (_ hasShown: inout Bool) throws(SQLError) -> String
  ) throws(SQLError) -> String {
    guard let transaction, transaction.openStatement() else { return try body(&hasShown) }
    defer { transaction.closeStatement() }
    let checks = deferredChecks.count
    let advisories = advisoryLocks.changes
    while true {
      do throws(SQLError) {
        return try body(&hasShown)
      } catch {
        guard error.state == .serializationFailure else { throw error }
        let hasAnswered = hasShown || advisoryLocks.changes != advisories
        switch try sqlErrors({ () throws(TransactionError) in try transaction.repeatStatement(hasAnswered: hasAnswered)
        })
        {
        case .unrelated: throw error
        case .refused(let failure): throw SQLError(failure)
        case .again: break
        }
        deferredChecks.removeLast(deferredChecks.count - checks)
        try checkInterrupt()
      }
    }
  }

  /// Whether a statement is open that might be run again.
  var isRepeatable: Bool { transaction?.isInStatement ?? false }
}

/// The first rows of an answer, until they are too many to wait.
final class RowReserve {
  /// About what goes out in one write.
  private static let limitBytes = 32 << 10
  private let rows: RowStore
  private let width: Int

  init(_ columns: [ColumnDescription]) {
    width = columns.count
    rows = RowStore(width: columns.count, limitBytes: RowReserve.limitBytes)
  }

  /// False if there is no more room: then the rows are to be given, and this one after them.
  func keeps(_ values: UnsafeBufferPointer<Value>) -> Bool {
    if rows.isOverLimit { return false }
    let row = rows.addRow()
    for index in 0..<width { rows.set(row, index, unsafe values[index]) }
    return true
  }

  func give(to sink: any ResultSink) throws(SQLError) {
    let row = ValueBuffer(width)
    for index in 0..<rows.count {
      for column in 0..<width { row[column] = rows.value(index, column) }
      try unsafe sink.row(row.buffer)
    }
    rows.removeAll()
  }
}
