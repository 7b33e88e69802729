internal import Storage

// What a query sees that is read in pieces, with other statements of its transaction between them: a cursor, a portal that
// is executed with a row limit.
//
//   DECLARE c … ── FETCH c ── UPDATE … ── FETCH c ── …
//   view opened     within      outside     within
//
// 1. Within the view every read (points, cursors that are opened) shows the snapshot that the transaction had when the view
//    was opened, and of the transaction's own writes those that were there then. At read committed the other statements have
//    later snapshots.
// 2. Reads within it are remembered like any others. As long as a view is open the transaction's snapshot is not moved past a
//    conflict (Transaction+Refresh.swift): the query would go on in the old one.
// 3. The snapshot is held until the view is closed, so what it shows is kept.

/// The reads of a query that is read in pieces; see the head of the file. Ends with `close` or when it is dropped.
@safe
package final class ReadView {
  private let transaction: Transaction
  private let hold: SnapshotHold
  private let sequence: UInt64
  private var isOpen = true

  /// Opens a view of what the transaction's next read would show.
  package init(_ transaction: Transaction) throws(TransactionError) {
    try transaction.checkActive()
    let snapshot = try transaction.currentSnapshot()
    self.transaction = transaction
    do throws(StorageError) { hold = try transaction.manager.engine.retain(snapshot: snapshot) } catch {
      throw .storage(error)
    }
    transaction.settle()
    let newest = unsafe transaction.writes.openCursor()
    sequence = unsafe min(newest, transaction.view ?? newest)
    transaction.openViews += 1
  }

  deinit { close() }

  /// Runs `body`, whose reads of the transaction are those of the view. It must not begin a statement, nor end the
  /// transaction.
  package func reading<T, E>(_ body: () throws(E) -> T) throws(E) -> T {
    precondition(isOpen)
    let outside = transaction.exchange(hold, view: sequence)
    defer { transaction.restore(outside) }
    return try body()
  }

  /// Lets go of the snapshot. Idempotent.
  package func close() {
    guard isOpen else { return }
    isOpen = false
    transaction.openViews -= 1
    if transaction.state == .active || transaction.state == .failed { unsafe transaction.writes.closeCursor() }
    transaction.manager.engine.release(hold)
  }
}
