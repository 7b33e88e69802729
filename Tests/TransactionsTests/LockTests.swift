import Encoding
import Platform
import Storage
import Synchronization
import Testing
import Transactions

/// Row locks: who waits for whom, who is granted next, and who is sacrificed.
@Suite struct LockTests {
  /// What a waiter was told, in order.
  final class Told: @unchecked Sendable {
    private let names = Guarded<[String]>([])
    func add(_ name: String) { names.withLock { $0.append(name) } }
    var all: [String] { names.withLock { $0 } }
    func note(_ name: String) -> @Sendable (Result<Void, TransactionError>) -> Void {
      { result in
        switch result {
        case .success: self.add(name)
        case .failure(.deadlock): self.add("\(name): deadlock")
        case .failure(.lockTimeout): self.add("\(name): timeout")
        case .failure(.cancelled): self.add("\(name): cancelled")
        case .failure(let error): self.add("\(name): \(error)")
        }
      }
    }
  }

  @Test func strengthsConflictAsInPostgreSQL() throws {
    // keyShare, share, noKeyUpdate, update
    let conflicts: [[Bool]] = [
      [false, false, false, true], [false, false, true, true], [false, true, true, true], [true, true, true, true],
    ]
    let database = try TestDatabase()
    for (held, row) in zip(LockStrength.allCases, conflicts) {
      for (asked, isConflict) in zip(LockStrength.allCases, row) {
        #expect(held.conflicts(with: asked) == isConflict)
        let first = try database.begin()
        let second = try database.begin()
        try first.lock("k", held)
        #expect(try second.lock("k", asked, .skipLocked) == (isConflict ? .skipped : .unchanged))
        first.rollback()
        second.rollback()
      }
    }
    database.expectEmpty()
  }

  @Test func firstInFirstOut() throws {
    let database = try TestDatabase()
    let told = Told()
    let holder = try database.begin(.readCommitted)
    try holder.lock("k", .share)
    let names = ["update", "share", "keyShare", "noKeyUpdate"]
    let waiters = try names.map { _ in try database.begin(.readCommitted) }
    #expect(try waiters[0].lockLater("k", .update, told.note("update")) == nil)
    // Compatible with the holder, and behind an update that waits: no overtaking.
    #expect(try waiters[1].lockLater("k", .share, told.note("share")) == nil)
    #expect(try waiters[2].lockLater("k", .keyShare, told.note("keyShare")) == nil)
    #expect(try waiters[3].lockLater("k", .noKeyUpdate, told.note("noKeyUpdate")) == nil)
    #expect(database.manager.statistics.waiting == 4)
    holder.rollback()
    #expect(told.all == ["update"])
    #expect(try waiters[0].lock("k", .update) == .unchanged)
    waiters[0].rollback()
    // share and keyShare together; noKeyUpdate conflicts with share.
    #expect(told.all == ["update", "share", "keyShare"])
    waiters[1].rollback()
    #expect(told.all == ["update", "share", "keyShare", "noKeyUpdate"])
    for waiter in waiters { waiter.rollback() }
    database.expectEmpty()
  }

  @Test func upgradesGoFirst() throws {
    let database = try TestDatabase()
    let told = Told()
    let first = try database.begin(.readCommitted)
    let second = try database.begin(.readCommitted)
    let third = try database.begin(.readCommitted)
    try first.lock("k", .share)
    try second.lock("k", .share)
    #expect(try third.lockLater("k", .update, told.note("third")) == nil)
    #expect(try first.lockLater("k", .update, told.note("first")) == nil)
    second.rollback()
    #expect(told.all == ["first"])
    first.rollback()
    #expect(told.all == ["first", "third"])
    third.rollback()
    database.expectEmpty()
  }

  @Test func twoUpgradesAreADeadlock() throws {
    let database = try TestDatabase()
    let told = Told()
    let first = try database.begin(.readCommitted)
    let second = try database.begin(.readCommitted)
    try first.lock("k", .share)
    try second.lock("k", .share)
    #expect(try first.lockLater("k", .update, told.note("first")) == nil)
    #expect(try second.lockLater("k", .update, told.note("second")) == nil)
    #expect(told.all == ["second: deadlock"])
    #expect {
      try second.lock("k", .update)
    } throws: { error in
      guard case TransactionError.deadlock(let deadlock) = error else { return false }
      return deadlock.waits.map(\.transaction.id) == [second.id, first.id]
        && deadlock.waits.allSatisfy { $0.keys == KeyRange(key: [0x6b]) && $0.strength == .update }
    }
    second.rollback()
    #expect(told.all == ["second: deadlock", "first"])
    first.rollback()
    database.expectEmpty()
  }

  /// The youngest of a cycle of three is sacrificed, wherever the cycle was closed; whoever failed before is spared.
  @Test(arguments: [[0, 0, 0], [0, 0, 2], [1, 1, 0]])
  func victims(attempts: [Int]) throws {
    let database = try TestDatabase()
    let told = Told()
    let transactions = try attempts.map { try database.begin(.readCommitted, attempts: $0) }
    for (index, transaction) in transactions.enumerated() { try transaction.lock("k\(index)", .update) }
    // 1 → 2 → 0 → 1: the oldest closes the cycle.
    #expect(try transactions[1].lockLater("k2", .update, told.note("1")) == nil)
    #expect(try transactions[2].lockLater("k0", .update, told.note("2")) == nil)
    #expect(try transactions[0].lockLater("k1", .update, told.note("0")) == nil)
    let victim = attempts == [0, 0, 2] ? 1 : 2
    #expect(told.all == ["\(victim): deadlock"])
    transactions[victim].rollback()
    for transaction in transactions { transaction.rollback() }
    database.expectEmpty()
  }

  @Test func aQueueCanBePartOfADeadlock() throws {
    let database = try TestDatabase()
    let told = Told()
    let reader = try database.begin(.readCommitted)
    let writer = try database.begin(.readCommitted)
    let other = try database.begin(.readCommitted)
    try reader.lock("a", .share)
    try other.lock("b", .update)
    // The writer waits for the reader; the other one waits behind the writer; the reader waits for the other one.
    #expect(try writer.lockLater("a", .update, told.note("writer")) == nil)
    #expect(try other.lockLater("a", .share, told.note("other")) == nil)
    #expect(try reader.lockLater("b", .update, told.note("reader")) == nil)
    #expect(told.all == ["other: deadlock"])
    other.rollback()
    #expect(told.all == ["other: deadlock", "reader"])
    reader.rollback()
    writer.rollback()
    database.expectEmpty()
  }

  @Test func savepointsGiveLocksBack() throws {
    let database = try TestDatabase()
    let told = Told()
    let holder = try database.begin(.readCommitted)
    try holder.lock("k", .share)
    let mark = holder.savepoint()
    try holder.lock("k", .update)
    try holder.lock("j", .update)
    let reader = try database.begin(.readCommitted)
    let second = try database.begin(.readCommitted)
    #expect(try reader.lockLater("k", .share, told.note("k")) == nil)
    #expect(try second.lockLater("j", .share, told.note("j")) == nil)
    holder.rollback(to: mark)
    // Back to share: the reader fits beside it.
    #expect(told.all == ["j", "k"])
    #expect(throws: TransactionError.self) { try reader.lock("k", .update, .noWait) }
    holder.rollback()
    reader.rollback()
    second.rollback()
    database.expectEmpty()
  }

  @Test func waitsEndByTimeoutAndCancellation() throws {
    let database = try TestDatabase()
    let told = Told()
    let holder = try database.begin(.readCommitted)
    try holder.lock("k", .update)
    let waiter = try database.begin(.readCommitted)
    #expect(try waiter.lockLater("k", .share, told.note("late")) == nil)
    let behind = try database.begin(.readCommitted)
    #expect(try behind.lockLater("k", .share, told.note("behind")) == nil)
    waiter.expireLockWait()
    #expect(told.all == ["late: timeout"])
    behind.cancel()
    #expect(told.all == ["late: timeout", "behind: cancelled"])
    #expect(throws: TransactionError.self) { try behind.lock("k", .share) }
    // A blocking wait, ended by its own timeout.
    let blocked = try database.begin(.readCommitted)
    blocked.lockTimeoutNanoseconds = 1_000_000
    #expect {
      try blocked.lock("k", .update)
    } throws: { error in
      guard case TransactionError.lockTimeout(let refusal) = error else { return false }
      return refusal.holders.map(\.id) == [holder.id] && refusal.strength == .update
    }
    for transaction in [waiter, behind, blocked, holder] { transaction.rollback() }
    database.expectEmpty()
  }

  @Test func intervalsExcludeKeysInside() throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1", "c": "1"])
    let eraser = try database.begin(.readCommitted)
    try eraser.deleteRange("a", "c")
    let other = try database.begin(.readCommitted)
    #expect(try other.lock("b", .share, .skipLocked) == .skipped)
    #expect(try other.lock("bb", .update, .skipLocked) == .skipped)
    #expect(try other.lock("c", .update, .skipLocked) == .unchanged)
    let told = Told()
    let waiter = try database.begin(.readCommitted)
    #expect(try waiter.lockLater("b", .update, told.note("b")) == nil)
    try eraser.commit()
    #expect(told.all == ["b"])
    #expect(try waiter.lock("b", .update) == .changed)
    #expect(try waiter.getLatest("b") == nil)
    // The other way round: an interval with a locked key inside is not granted.
    let second = try database.begin(.readCommitted)
    second.lockTimeoutNanoseconds = 1_000_000
    #expect(throws: TransactionError.self) { try second.deleteRange("a", "z") }
    try second.deleteRange("d", "z")
    for transaction in [other, waiter, second] { transaction.rollback() }
    database.expectEmpty()
  }

  @Test func locksAreListed() throws {
    let database = try TestDatabase()
    let first = try database.manager.begin(TransactionOptions(session: 7))
    try first.lock("k", .share)
    let second = try database.begin(.readCommitted)
    #expect(try second.lockLater("k", .update) == nil)
    let locks = database.manager.locks().sorted { $0.transaction.id < $1.transaction.id }
    #expect(locks.map(\.transaction.id) == [first.id, second.id])
    #expect(locks.map(\.transaction.session) == [7, 0])
    #expect(locks.map(\.isGranted) == [true, false])
    #expect(locks.map(\.strength) == [.share, .update])
    #expect(locks.allSatisfy { $0.keys == KeyRange(key: [0x6b]) })
    first.rollback()
    second.rollback()
    database.expectEmpty()
  }
}
