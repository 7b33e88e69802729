/// Why a database, a transaction or a statement could not do what it was asked.
///
/// The SQLSTATE is PostgreSQL's, so that what works with a PostgreSQL driver's errors works here: class 40 is worth a
/// retry of the whole transaction, class 23 is a violated constraint, class 42 a mistake in the statement, 53 and 58 are
/// the machine's.
public struct DatabaseError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Five characters, as in PostgreSQL's appendix A.
  public var sqlState: String
  /// What happened, in one sentence without a final stop.
  public var message: String
  /// More facts: the values, the other transaction, the file and offset.
  public var detail: String?
  /// What to do about it.
  public var hint: String?
  /// The 1-based position in the statement, in Unicode scalars.
  public var position: Int?
  /// The table, column and constraint it is about, where they are known.
  public var table: String?
  /// The column it is about.
  public var column: String?
  /// The constraint that was violated.
  public var constraint: String?

  /// Makes one from its parts.
  public init(
    sqlState: String, message: String, detail: String? = nil, hint: String? = nil, position: Int? = nil,
    table: String? = nil, column: String? = nil, constraint: String? = nil
  ) {
    self.sqlState = sqlState
    self.message = message
    self.detail = detail
    self.hint = hint
    self.position = position
    self.table = table
    self.column = column
    self.constraint = constraint
  }

  /// True where the same transaction, run again, may well commit: serialization failures and deadlocks (class 40).
  public var isRetryable: Bool { sqlState.hasPrefix("40") && sqlState != "40003" }

  /// Everything it says, line by line.
  public var description: String {
    var text = "ERROR \(sqlState): \(message)"
    if let detail { text += "\nDETAIL: \(detail)" }
    if let hint { text += "\nHINT: \(hint)" }
    return text
  }
}
