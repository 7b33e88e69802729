internal import Logging
internal import Platform
internal import SQL
internal import Synchronization
internal import Wire

// The limits of time of a connection: one deadline at a time, and at most one timer under way that looks at it. Setting a
// deadline is two stores; the timer goes on to the next one when it finds the deadline moved. So a statement_timeout of a
// minute costs one timer a minute, whatever the number of statements.

/// The deadline of what the connection does now.
final class TimeLimit: Sendable {
  enum Kind: UInt8, Sendable {
    case authentication = 1
    case statement, idleInTransaction, idle
  }

  /// Boot nanoseconds with the kind in the lowest three bits; 0 is none.
  private let deadline = Atomic<UInt64>(0)
  /// When the timer that is under way looks; 0: none is.
  private let armed = Atomic<UInt64>(0)
  /// Whom a timer tells, until it ends. Not a weak reference: one of those makes all others slow, for life.
  let owner = Mutex<Connection?>(nil)

  func set(_ kind: Kind?, nanoseconds: UInt64) -> UInt64? {
    guard let kind else {
      deadline.store(0, ordering: .releasing)
      return nil
    }
    let now = LinuxClock().bootNanoseconds
    let due = (now &+ nanoseconds) & ~7
    deadline.store(due | UInt64(kind.rawValue), ordering: .releasing)
    let known = armed.load(ordering: .acquiring)
    if known > 0 && known <= due { return nil }
    armed.store(due, ordering: .releasing)
    return nanoseconds
  }

  var isSet: Bool { deadline.load(ordering: .relaxed) != 0 }

  /// What the timer finds: the limit that has passed, or when to look again.
  func look() -> (passed: Kind?, againNanoseconds: UInt64?) {
    let word = deadline.load(ordering: .acquiring)
    let due = word & ~7
    let now = LinuxClock().bootNanoseconds
    guard word != 0 else {
      armed.store(0, ordering: .releasing)
      return (nil, nil)
    }
    guard now >= due else {
      armed.store(due, ordering: .releasing)
      return (nil, due - now)
    }
    armed.store(0, ordering: .releasing)
    deadline.store(0, ordering: .releasing)
    return (Kind(rawValue: UInt8(word & 7)), nil)
  }
}

extension Connection {
  /// From now on, what the connection does has so much time; nil ends the limit.
  func setLimit(_ kind: TimeLimit.Kind?, milliseconds: Int) {
    if kind == nil && !limit.isSet { return }
    guard let wait = limit.set(kind, nanoseconds: UInt64(max(0, milliseconds)) &* 1_000_000) else { return }
    arm(wait)
  }

  /// The statement that begins now has the time that `statement_timeout` says now.
  func renewStatementLimit() {
    let limit = sql?.timeouts.statement ?? 0
    setLimit(limit > 0 ? .statement : nil, milliseconds: Int(limit))
  }

  private func arm(_ nanoseconds: UInt64) {
    limit.owner.withLock { $0 = isEnded ? nil : self }
    stream.schedule(afterNanoseconds: nanoseconds) { [limit] in limit.owner.withLock { $0 }?.lookAtLimit() }
  }

  private func lookAtLimit() {
    let (passed, again) = limit.look()
    if let again { arm(again) }
    guard let passed else { return }
    switch passed {
    case .statement:
      interrupt(.timeout)
    case .authentication:
      end(
        WireReport(
          severity: .fatal, sqlState: "08006", message: "canceling authentication due to timeout"))
    case .idleInTransaction:
      end(
        WireReport(
          severity: .fatal, sqlState: "25P03", message: "terminating connection due to idle-in-transaction timeout"))
    case .idle:
      end(
        WireReport(severity: .fatal, sqlState: "57P05", message: "terminating connection due to idle-session timeout"))
    }
  }

  private func end(_ report: WireReport) { terminate(report, now: false) }

  /// The turn is over: the client is to be heard from within the session's limits.
  func becomeIdle() {
    guard let sql, wire.phase == .idle else { return }
    shared.withLock { noteIdle(&$0.activity) }
    let timeouts = sql.timeouts
    if sql.status == .idle {
      setLimit(timeouts.idle > 0 ? .idle : nil, milliseconds: Int(timeouts.idle))
    } else {
      setLimit(
        timeouts.idleInTransaction > 0 ? .idleInTransaction : nil, milliseconds: Int(timeouts.idleInTransaction))
    }
  }
}
