// What a session hands to whoever drives it: the shell, the library, or the wire server.
//
// Rows are pushed as borrowed values, so a result of any size costs no memory here and no string is built that nobody
// asked for. One statement produces, in this order:
//
//   columns → row … row → completed(tag)      a statement that returns rows
//   completed(tag)                            any other
//   copyIn | copyOut …                        COPY (see `CopyDescription`)
//   empty                                     an empty query string
//
// with notices anywhere between. A statement that fails throws, and nothing more is pushed for it.

/// A column of a result: what RowDescription says of it.
package struct ColumnDescription: Hashable, Sendable {
  package var name: String
  package var type: SQLType
  /// The table and the column's number in it, where the column is one of a table's; 0 otherwise.
  package var tableID: UInt32
  package var columnNumber: Int
  package init(name: String, type: SQLType, tableID: UInt32 = 0, columnNumber: Int = 0) {
    self.name = name
    self.type = type
    self.tableID = tableID
    self.columnNumber = columnNumber
  }
}

/// A warning or a note that does not end the statement.
package struct SQLNotice: Hashable, Sendable {
  package enum Severity: String, Sendable {
    case debug = "DEBUG"
    case info = "INFO"
    case notice = "NOTICE"
    case warning = "WARNING"
  }
  package var severity: Severity
  /// What is said; its `state` is the notice's code.
  package var content: SQLError
  package init(_ severity: Severity, _ content: SQLError) {
    self.severity = severity
    self.content = content
  }
}

/// What a COPY statement moves, for the client's side of the protocol.
package struct CopyDescription: Hashable, Sendable {
  package enum Format: Hashable, Sendable { case text, csv, binary }
  package var format: Format
  package var columnCount: Int
  package init(format: Format, columnCount: Int) {
    self.format = format
    self.columnCount = columnCount
  }
}

/// Where results go. All calls come from the thread that executes the statement.
package protocol ResultSink: AnyObject {
  /// The shape of the rows that follow.
  func columns(_ columns: [ColumnDescription]) throws(SQLError)
  /// One row: a value for each column, borrowed until this call returns. Throwing ends the statement with that error.
  func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError)
  /// The statement is done; `tag` is PostgreSQL's command tag, such as `INSERT 0 1`.
  func completed(_ tag: String)
  /// Another statement of the same query string begins: limits of time count anew.
  func statementBegins()
  /// The query string held no statement.
  func empty()
  func notice(_ notice: SQLNotice)
  /// COPY … TO STDOUT: `copyData` follows, then `completed`.
  func copyOut(_ description: CopyDescription) throws(SQLError)
  func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError)
  /// COPY … FROM STDIN: the driver hands over the data by returning pieces of it, nil at the end; throwing aborts the copy.
  /// Pieces need not end at line ends.
  func copyIn(_ description: CopyDescription) throws(SQLError)
  func nextCopyData() throws(SQLError) -> [UInt8]?
}

extension ResultSink {
  package func empty() {}
  package func statementBegins() {}
  package func notice(_ notice: SQLNotice) {}
  package func copyOut(_ description: CopyDescription) throws(SQLError) {}
  package func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError) {}
  package func copyIn(_ description: CopyDescription) throws(SQLError) {
    throw SQLError(.featureNotSupported, "COPY FROM STDIN is not possible here: this client sends no data")
  }
  package func nextCopyData() throws(SQLError) -> [UInt8]? { nil }
}

/// ReadyForQuery's indicator.
package enum TransactionStatus: UInt8, Sendable {
  /// Not in a transaction block.
  case idle = 0x49  // I
  /// In a transaction block.
  case inBlock = 0x54  // T
  /// In a failed transaction block: everything is refused until it ends.
  case failed = 0x45  // E
}
