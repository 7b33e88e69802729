/// What a peer did against the protocol, in PostgreSQL's words and with its SQLSTATE.
package struct WireError: Error, Equatable, Sendable {
  /// How far it reaches.
  package enum Scope: Equatable, Sendable {
    /// The message is wrong, its frame is not: the conversation goes on after an error.
    case message
    /// Nobody can say where the next message begins, or who the peer is: the connection ends.
    case connection
  }

  package var scope: Scope
  package var sqlState: String
  package var message: String
  package var detail: String?
  package var hint: String?

  package init(
    _ scope: Scope, _ message: String, sqlState: String = "08P01", detail: String? = nil, hint: String? = nil
  ) {
    self.scope = scope
    self.sqlState = sqlState
    self.message = message
    self.detail = detail
    self.hint = hint
  }

  /// The error as it is told to the peer.
  package var report: WireReport {
    var report = WireReport(severity: scope == .connection ? .fatal : .error, sqlState: sqlState, message: message)
    report.detail = detail
    report.hint = hint
    return report
  }

  static func malformed(_ detail: String? = nil) -> WireError {
    WireError(.message, "invalid message format", detail: detail)
  }

  static let truncated = WireError(.message, "insufficient data left in message")
  static let notText = WireError(
    .message, "invalid byte sequence for encoding \"UTF8\"", sqlState: "22021",
    hint: "This server takes text in UTF-8 only; set client_encoding to UTF8.")
}

/// An error or a notice with every field that the protocol has.
///
/// ```
/// S severity, in the reader's language   s schema        p internal position
/// V severity                             t table         q internal query
/// C SQLSTATE                             c column        W where (context)
/// M message    D detail    H hint        d data type     F file  L line  R routine
/// P position, in characters from 1       n constraint
/// ```
package struct WireReport: Error, Equatable, Sendable {
  package enum Severity: String, Equatable, Sendable, CaseIterable {
    case error = "ERROR"
    case fatal = "FATAL"
    case panic = "PANIC"
    case warning = "WARNING"
    case notice = "NOTICE"
    case debug = "DEBUG"
    case info = "INFO"
    case log = "LOG"

    /// Whether the connection ends with it.
    package var endsConnection: Bool { self == .fatal || self == .panic }
  }

  package var severity: Severity
  /// Five characters.
  package var sqlState: String
  package var message: String
  package var detail: String?
  package var hint: String?
  /// In characters of the statement, from 1.
  package var position: Int?
  package var internalPosition: Int?
  package var internalQuery: String?
  package var context: String?
  package var schema: String?
  package var table: String?
  package var column: String?
  package var dataType: String?
  package var constraint: String?
  package var file: String?
  package var line: Int?
  package var routine: String?

  package init(severity: Severity = .error, sqlState: String, message: String) {
    self.severity = severity
    self.sqlState = sqlState
    self.message = message
  }
}
