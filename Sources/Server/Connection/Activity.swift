internal import CoreMetrics
internal import Logging
internal import Platform
internal import SQL
internal import Synchronization
internal import Wire

/// What a connection is doing, as pg_stat_activity shows it. Times are nanoseconds since 1970, 0 where there is none.
package struct Activity: Sendable {
  package enum State: String, Sendable {
    case starting = "starting"
    case active
    case idle
    case idleInTransaction = "idle in transaction"
    case idleInFailedTransaction = "idle in transaction (aborted)"
  }
  package var state = State.starting
  package var query = ""
  package var user = ""
  package var userID: UInt32 = 0
  package var applicationName = ""
  package var isTLS = false
  package var backendStart: UInt64 = 0
  package var queryStart: UInt64 = 0
  package var transactionStart: UInt64 = 0
  package var stateChange: UInt64 = 0
}

extension Connection {
  /// A text that will run is remembered as what the connection does.
  func note(_ text: String) { shared.withLock { $0.activity.query = text } }

  /// A statement begins.
  func begin(_ text: String) {
    let now = LinuxClock().wallNanoseconds
    statementStart = now
    shared.withLock { shared in
      if sql?.status == .idle { shared.activity.transactionStart = now }
      shared.activity.state = .active
      shared.activity.query = text
      shared.activity.queryStart = now
      shared.activity.stateChange = now
    }
    if let limit = sql?.timeouts.statement, limit > 0 { setLimit(.statement, milliseconds: Int(limit)) }
  }

  /// A statement is over, or its commit is under way.
  func finish() {
    services.metrics.statements.increment()
    let threshold = services.options.slowStatementMilliseconds
    guard threshold >= 0 else { return }
    let elapsed = Double(LinuxClock().wallNanoseconds &- statementStart) / 1e6
    guard elapsed >= Double(threshold) else { return }
    let query = shared.withLock { $0.activity.query }
    services.logger.notice(
      "slow statement",
      metadata: ["pid": "\(processID)", "user": "\(roleName)", "ms": "\(elapsed)", "query": "\(query.prefix(2000))"])
  }

  func logFailure(_ error: SQLError) {
    services.logger.info(
      "statement failed",
      metadata: [
        "pid": "\(processID)", "user": "\(roleName)", "sqlstate": "\(error.state)", "reason": "\(error.message)",
      ])
  }

  /// Under the lock of `shared`: the turn ends.
  func noteIdle(_ activity: inout Activity) {
    guard activity.state == .active || activity.state == .starting, let sql else { return }
    activity.state =
      switch sql.status {
      case .idle: .idle
      case .inBlock: .idleInTransaction
      case .failed: .idleInFailedTransaction
      }
    if activity.state == .idle { activity.transactionStart = 0 }
    activity.stateChange = LinuxClock().wallNanoseconds
  }
}
