internal import Glibc
internal import Platform
internal import Transactions

// Advisory locks and pg_sleep: what an application waits for.
//
// An advisory lock is a row lock on a key that no row has (`06 · 1 · int8` or `06 · 2 · int4 · int4`), so waiting,
// lock_timeout, deadlock detection and pg_locks are those of rows. One of the transaction is taken by the transaction and
// goes with it. One of the session is held by a transaction of its own, which reads nothing and keeps no snapshot; it is
// taken as often as it was asked for, and goes with the last unlock or with the session.

/// What pg_advisory_… asks for.
enum AdvisoryCall {
  case lock(key: [UInt8], shared: Bool, tries: Bool, inTransaction: Bool)
  case unlock(key: [UInt8], shared: Bool)
  case unlockAll
}

/// The locks of a session, by key.
struct AdvisoryLocks {
  struct Held {
    let transaction: Transaction
    var count: Int
  }
  struct Key: Hashable {
    let bytes: [UInt8]
    let shared: Bool
  }
  var held: [Key: Held] = [:] { didSet { changes &+= 1 } }
  /// Counts what was taken and given back.
  private(set) var changes = 0
}

extension SQLSession {
  /// - Returns: false for a lock that others have, and for one that is to be given back and is not held.
  func advisory(_ call: AdvisoryCall) throws(SQLError) -> Bool {
    switch call {
    case .unlockAll:
      releaseAdvisoryLocks()
      return true
    case .unlock(let bytes, let shared):
      let key = AdvisoryLocks.Key(bytes: bytes, shared: shared)
      guard var held = advisoryLocks.held[key] else {
        let mode = shared ? "ShareLock" : "ExclusiveLock"
        notice(SQLNotice(.warning, SQLError(SQLState(rawValue: "01000"), "you don't own a lock of type \(mode)")))
        return false
      }
      held.count -= 1
      advisoryLocks.held[key] = held.count > 0 ? held : nil
      if held.count == 0 { held.transaction.rollback() }
      return true
    case .lock(let bytes, let shared, let tries, let inTransaction):
      let key = AdvisoryLocks.Key(bytes: bytes, shared: shared)
      let policy: WaitPolicy = tries ? .noWait : .wait
      if inTransaction {
        // What the session has, its transaction has.
        if advisoryLocks.held[key] != nil || advisoryLocks.held[.init(bytes: bytes, shared: false)] != nil {
          return true
        }
        guard let transaction else { return false }
        return try take(key, policy, transaction)
      }
      if advisoryLocks.held[key] != nil {
        advisoryLocks.held[key]?.count += 1
        return true
      }
      // An exclusive lock that the session has includes the shared one, and keeps it from being taken apart.
      if let other = advisoryLocks.held[.init(bytes: bytes, shared: !shared)] {
        guard try take(key, policy, other.transaction) else { return false }
        advisoryLocks.held[key] = AdvisoryLocks.Held(transaction: other.transaction, count: 1)
        return true
      }
      var options = TransactionOptions(session: id)
      options.givesWay = false
      options.lockTimeoutNanoseconds = UInt64(settings.frequent.lockTimeoutMilliseconds) * 1_000_000
      let database = self.database
      let holder = try sqlErrors { () throws(TransactionError) in try database.manager.begin(options) }
      guard try take(key, policy, holder) else {
        holder.rollback()
        return false
      }
      advisoryLocks.held[key] = AdvisoryLocks.Held(transaction: holder, count: 1)
      return true
    }
  }

  private func take(
    _ key: AdvisoryLocks.Key, _ policy: WaitPolicy, _ holder: Transaction
  ) throws(SQLError) -> Bool {
    let isOwn = holder !== transaction
    // cancel() ends this wait as well.
    if isOwn { follow(holder) }
    defer { if isOwn, let transaction { follow(transaction) } }
    do throws(SQLError) {
      _ = try sqlErrors { () throws(TransactionError) in
        let outcome = try holder.lock(key.bytes, key.shared ? .share : .update, policy)
        // What it guards may lie outside of the database.
        try holder.awaitDependency()
        return outcome
      }
    } catch {
      if policy == .noWait, error.state == .lockNotAvailable { return false }
      if isOwn, !advisoryLocks.held.values.contains(where: { $0.transaction === holder }) { holder.rollback() }
      throw error
    }
    if isOwn { holder.releaseSnapshot() }
    return true
  }

  /// Gives back the locks of the session.
  func releaseAdvisoryLocks() {
    for held in advisoryLocks.held.values { held.transaction.rollback() }
    advisoryLocks.held = [:]
  }

  /// Sleeps; a cancellation, a timeout and the end of the session are noticed within 10 ms. On an event loop the other
  /// sessions go on.
  func sleep(microseconds: Int64) throws(SQLError) {
    let end = monotonicNanoseconds() &+ max(0, min(microseconds, Int64.max / 2000)) &* 1000
    try EventLoop.blocking { () throws(SQLError) in
      while true {
        try checkInterrupt()
        let left = end - monotonicNanoseconds()
        guard left > 0 else { return }
        var request = timespec(tv_sec: 0, tv_nsec: Int(min(left, 10_000_000)))
        unsafe _ = nanosleep(&request, nil)
      }
    }
  }
}

extension FunctionRegistry {
  mutating func addAdvisoryLocks() {
    let names: [(name: String, shared: Bool, tries: Bool, inTransaction: Bool)] = [false, true].flatMap { shared in
      [false, true].flatMap { tries in
        [false, true].map { inTransaction in
          let middle = inTransaction ? "xact_lock" : "lock"
          return (
            "pg_\(tries ? "try_" : "")advisory_\(middle)\(shared ? "_shared" : "")", shared, tries, inTransaction
          )
        }
      }
    }
    for arguments in [[TypeID.int8], [.int4, .int4]] {
      for (name, shared, tries, inTransaction) in names {
        define(name, arguments, tries ? .bool : .void, .volatile, again: true) { a, c throws(SQLError) in
          let key = AdvisoryCall.key(a, arguments.count)
          let result = try ExecutionState.of(c).services.advisory(
            .lock(key: key, shared: shared, tries: tries, inTransaction: inTransaction))
          return tries ? Value(result) : .null
        }
      }
      for (name, shared) in [("pg_advisory_unlock", false), ("pg_advisory_unlock_shared", true)] {
        define(name, arguments, .bool, .volatile, again: true) { a, c throws(SQLError) in
          let key = AdvisoryCall.key(a, arguments.count)
          return Value(try ExecutionState.of(c).services.advisory(.unlock(key: key, shared: shared)))
        }
      }
    }
    define("pg_advisory_unlock_all", [], .void) { _, c throws(SQLError) in
      _ = try ExecutionState.of(c).services.advisory(.unlockAll)
      return .null
    }
    define("pg_sleep", [.float8], .void) { a, c throws(SQLError) in
      let seconds = a[0].double
      try ExecutionState.of(c).services.sleep(
        microseconds: seconds.isNaN ? 0 : Int64(max(0, min(seconds * 1e6, 9e17))))
      return .null
    }
    define("pg_sleep_for", [.interval], .void) { a, c throws(SQLError) in
      let interval = Interval(a[0])
      let days = Int64(interval.months) * 30 + Int64(interval.days)
      let (total, overflow) = (days &* 86_400_000_000).addingReportingOverflow(interval.microseconds)
      try ExecutionState.of(c).services.sleep(microseconds: overflow ? Int64.max : total)
      return .null
    }
    define("pg_sleep_until", [.timestamptz], .void) { a, c throws(SQLError) in
      let (left, overflow) = a[0].int.subtractingReportingOverflow(EvaluationContext.clock())
      try ExecutionState.of(c).services.sleep(microseconds: overflow ? (a[0].int > 0 ? Int64.max : 0) : left)
      return .null
    }
  }
}

extension AdvisoryCall {
  static func key(_ arguments: Arguments, _ count: Int) -> [UInt8] {
    func bytes(_ value: UInt64, _ size: Int) -> [UInt8] {
      (0..<size).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (size - 1 - $0))) }
    }
    let first = UInt64(bitPattern: arguments[0].int)
    if count == 1 { return [KeySpace.advisory, 1] + bytes(first, 8) }
    return [KeySpace.advisory, 2] + bytes(first, 4) + bytes(UInt64(bitPattern: arguments[1].int), 4)
  }
}
