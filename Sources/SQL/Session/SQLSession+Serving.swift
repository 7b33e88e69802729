// What a server needs of a session beyond what a shell does.

extension SQLSession {
  /// Sets a setting as the client's start-up message asks: RESET goes back to it.
  package func setStartup(_ name: String, to value: String) throws(SQLError) {
    if name.lowercased() == "role" || name.lowercased() == "session_authorization" {
      throw SQLError(.featureNotSupported, "parameter \"\(name)\" cannot be set at start-up")
    }
    settings.setInitial(name, try Settings.normalised(name, value))
  }

  /// Tells the client whether it may do everything.
  package func setSuperuser(_ isSuperuser: Bool) {
    settings.setInitial("is_superuser", isSuperuser ? "on" : "off")
  }

  /// A message of the client made no sense: the transaction is left as after an error.
  package func messageFailed() { statementFailed() }

  /// The limits of time that whoever drives the session keeps, in milliseconds; 0 is none.
  package struct Timeouts: Equatable, Sendable {
    package var statement: Int64
    package var idleInTransaction: Int64
    package var idle: Int64
  }

  package var timeouts: Timeouts {
    let frequent = settings.frequent
    return Timeouts(
      statement: frequent.statementTimeoutMilliseconds,
      idleInTransaction: frequent.idleInTransactionTimeoutMilliseconds,
      idle: frequent.idleTimeoutMilliseconds)
  }

  /// Whether an implicit transaction is open: its end is Sync.
  package var isInImplicitTransaction: Bool { block == .implicit }

  /// When the running statement and the open transaction began, in microseconds since 2000.
  package var startTimes: (statement: Int64, transaction: Int64?) {
    (statementStart, transaction == nil ? nil : transactionStart)
  }
}
