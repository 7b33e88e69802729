internal import Transactions

// The rows of a cursor, or of a portal that is executed with a row limit: computed as they are asked for.
//
//   DECLARE, Execute(limit)     FETCH, Execute            end of the query        COMMIT of WITH HOLD
//   ─────────────────────────▶ stream, suspended ───────▶ rows that were kept ◀── the rest is computed
//
// A query that takes no locks and writes nothing is suspended between the calls, with a view of the transaction as it was
// when it began (ReadView.swift). Any other is run to its end at once, and its rows are kept.
//
// 1. A cursor that may be read backwards keeps the rows that were read (KeptRows.swift: beyond work_mem in a file); one
//    that goes forward alone, and a portal, keep nothing.
// 2. An error ends the stream: what comes after it is refused.

/// A query under way, a row at a time.
final class RowStream {
  private let runner: StatementRunner
  private let view: ReadView
  private var isOpen = true
  private var hasFailed = false

  /// Begins the query.
  init(_ runner: StatementRunner, _ session: SQLSession, _ parameters: [Datum]) throws(SQLError) {
    self.runner = runner
    guard let transaction = session.transaction else { preconditionFailure("a query runs in a transaction") }
    let view = try sqlErrors { () throws(TransactionError) in try ReadView(transaction) }
    self.view = view
    do throws(SQLError) {
      try view.reading { () throws(SQLError) in try runner.open(session, parameters) }
    } catch {
      close()
      throw error
    }
  }

  deinit { close() }

  /// The row that `next` came to; valid until it is called again.
  var row: ValueBuffer { runner.output }

  /// Moves to the next row; false at the end.
  func next() throws(SQLError) -> Bool {
    guard !hasFailed else { throw SQLError(.objectNotInState, "the cursor cannot be run: its query has failed") }
    guard isOpen else { return false }
    do throws(SQLError) {
      if try view.reading({ () throws(SQLError) in try runner.next() }) { return true }
    } catch {
      hasFailed = true
      close()
      throw error
    }
    close()
    return false
  }

  /// Lets go of everything. Idempotent.
  func close() {
    guard isOpen else { return }
    isOpen = false
    runner.close()
    view.close()
  }
}

/// Rows by their place, from 1 on; see the head of the file.
final class CursorRows {
  /// The rows so far, where they can be wanted again.
  private let kept: KeptRows?
  private var stream: RowStream?
  /// How many rows the query has given.
  private(set) var count: Int
  private let loaded: ValueBuffer

  /// Rows that are all there.
  init(_ rows: KeptRows) {
    kept = rows
    count = rows.count
    loaded = ValueBuffer(rows.width)
  }

  /// - Parameter kept: empty; nil where rows are read once and in order.
  init(_ stream: RowStream, keepingIn kept: KeptRows?) {
    self.stream = stream
    self.kept = kept
    count = 0
    loaded = ValueBuffer(kept?.width ?? 1)
  }

  /// Whether rows before the one that was read last can be read.
  var canGoBack: Bool { kept != nil }

  /// Whether the query is still under way.
  var isStreaming: Bool { stream != nil }

  /// Row `place`, or nil behind the last; valid until the next call. Without kept rows places must grow.
  func row(_ place: Int) throws(SQLError) -> ValueBuffer? {
    precondition(place >= 1)
    if place > count {
      guard try advance(to: place) else { return nil }
      if let stream, place == count { return stream.row }
    }
    guard let kept else {
      throw SQLError(
        .objectNotInState, "cursor can only scan forward",
        hint: "Declare it with SCROLL option to enable backward scan.")
    }
    try kept.load(place - 1, into: loaded)
    return loaded
  }

  /// Computes what is missing up to row `place`; false if there are fewer.
  func advance(to place: Int) throws(SQLError) -> Bool {
    while count < place {
      guard let stream else { return false }
      guard try stream.next() else {
        self.stream = nil
        return false
      }
      count += 1
      if let kept { unsafe try kept.add(stream.row.buffer) }
    }
    return true
  }

  /// Computes the rest, which is kept.
  func complete() throws(SQLError) {
    precondition(kept != nil || stream == nil)
    _ = try advance(to: .max)
  }

  /// Ends the query where it is, if it is under way.
  func close() {
    guard let stream else { return }
    stream.close()
    self.stream = nil
    wasCutOff = true
  }
  /// The query ended before its last row.
  private(set) var wasCutOff = false
}
