import Encoding
import Glibc
import Storage
import Testing
import Transactions

/// Locks that are given back when a commit is applied, before it is durable: `Transaction+Dependency.swift`.
@Suite struct EarlyReleaseTests {
  private typealias Told = LockTests.Told

  /// Commits, and notes under `name` when it is told to be done.
  private func commit(_ transaction: Transaction, _ name: String, _ told: Told) throws {
    try transaction.commit { result in
      switch result {
      case .success: told.add(name)
      case .failure(let error): told.add("\(name): \(error)")
      }
    }
  }

  @Test func waitersGoOnBeforeTheDisk() throws {
    let database = try TestDatabase(.held)
    let log = database.log
    let told = Told()
    let first = try database.begin(.readCommitted)
    try first.put("k", "1")
    try first.put("other", "1")
    let second = try database.begin(.readCommitted)
    #expect(try second.lockLater("k", .update, told.note("granted")) == nil)
    try commit(first, "first", told)
    #expect(told.all.isEmpty)
    log.apply(1)
    #expect(told.all == ["granted"])
    // It sees the row as it will be, and from its next statement on everything of that transaction.
    #expect(try second.lock("k", .update) == .changed)
    #expect(try second.getLatest("k") == "1")
    #expect(try second.get("other") == nil)
    try second.beginStatement()
    #expect(try second.get("other") == "1")
    #expect(try second.scan("", nil) == "k=1 other=1")
    try second.put("k", "2")
    // Nobody else sees any of it.
    let reader = try database.begin(.readCommitted)
    #expect(try reader.get("k") == nil)
    try commit(second, "second", told)
    #expect(told.all == ["granted"])
    log.deliver(1)
    #expect(told.all == ["granted", "first"])
    try reader.beginStatement()
    #expect(try reader.get("k") == "1")
    log.deliver()
    #expect(told.all == ["granted", "first", "second"])
    try reader.beginStatement()
    #expect(try reader.get("k") == "2")
    reader.rollback()
    database.expectEmpty()
  }

  /// The lock may stand for other keys than its own.
  @Test(arguments: [false, true]) func aLockWithoutAWriteIsFollowedAsWell(waits: Bool) throws {
    let database = try TestDatabase(.held)
    let log = database.log
    let told = Told()
    let first = try database.begin(.readCommitted)
    _ = try first.lock("guard", .update)
    try first.put("guarded", "1")
    let second = try database.begin(.readCommitted)
    #expect(try second.get("guarded") == nil)
    if waits { #expect(try second.lockLater("guard", .update, told.note("granted")) == nil) }
    try commit(first, "first", told)
    log.apply(1)
    #expect(told.all == (waits ? ["granted"] : []))
    #expect(try second.lock("guard", .update) == .unchanged)
    try second.beginStatement()
    #expect(try second.get("guarded") == "1")
    second.rollback()
    log.deliver()
    database.expectEmpty()
  }

  @Test func aCommitWithoutWritesWaitsForWhatItSaw() throws {
    let database = try TestDatabase(.held)
    let log = database.log
    let told = Told()
    let first = try database.begin(.readCommitted)
    try first.put("k", "1")
    try commit(first, "first", told)
    log.apply(1)
    for name in ["done", "begun"] {
      let reader = try database.begin(.readCommitted)
      _ = try reader.lock("k", .update)
      #expect(try reader.getLatest("k") == "1")
      if name == "done" {
        try commit(reader, name, told)
      } else {
        guard case .pending = try reader.beginCommit(isInline: true) else {
          Issue.record("a commit that depends on what is not durable is not done")
          return
        }
        reader.whenCommitted { told.add($0 == nil ? name : "\(name) failed") }
      }
    }
    #expect(told.all.isEmpty)
    log.deliver()
    #expect(told.all == ["first", "done", "begun"])
    database.expectEmpty()
  }

  @Test func whatIsLostTakesItsFollowersWithIt() throws {
    let database = try TestDatabase(.held)
    let log = database.log
    let told = Told()
    let first = try database.begin(.readCommitted)
    try first.put("k", "1")
    try commit(first, "first", told)
    log.apply(1)
    let writer = try database.begin(.readCommitted)
    try writer.put("k", "2")
    try commit(writer, "writer", told)
    let looker = try database.begin(.readCommitted)
    _ = try looker.lock("untouched", .keyShare)
    log.fail(.failed("gone"))
    #expect(told.all.count == 2 && told.all.allSatisfy { $0.contains("gone") })
    let follower = try database.begin(.readCommitted)
    _ = try follower.lock("k", .update)
    #expect(throws: TransactionError.self) { try follower.commit() }
    #expect(try looker.commit() == nil)
  }

  /// From repeatable read on the answer depends on what is visible.
  @Test(arguments: [IsolationLevel.repeatableRead, .serializable])
  func snapshotsWaitForTheDisk(_ isolation: IsolationLevel) async throws {
    let database = try TestDatabase(.held)
    let log = database.log
    let told = Told()
    let first = try database.begin(.readCommitted)
    try first.put("k", "1")
    try commit(first, "first", told)
    log.apply(1)
    let second = try database.begin(isolation)
    #expect(try second.get("k") == nil)
    let isGranted = Guarded(false)
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        #expect(throws: TransactionError.self) { try second.lock("k", .update) }
        #expect(told.all == ["first"])
        isGranted.withLock { $0 = true }
      }
      for _ in 0..<1000 { sched_yield() }
      #expect(!isGranted.withLock { $0 })
      log.deliver()
    }
    second.rollback()
    database.expectEmpty()
  }

  @Test(arguments: [IsolationLevel.repeatableRead, .serializable])
  func snapshotsKeepTheirLocksUntilTheyAreVisible(_ isolation: IsolationLevel) throws {
    let database = try TestDatabase(.held)
    let log = database.log
    let told = Told()
    let first = try database.begin(isolation)
    try first.put("k", "1")
    try commit(first, "first", told)
    let second = try database.begin(.readCommitted)
    log.apply(1)
    #expect(try second.lock("k", .update, .skipLocked) == .skipped)
    log.deliver()
    #expect(try second.lock("k", .update, .skipLocked) == .changed)
    second.rollback()
    database.expectEmpty()
  }

  @Test func intervalsAreFollowedAsWell() throws {
    let database = try TestDatabase(.held)
    let log = database.log
    let told = Told()
    let first = try database.begin(.readCommitted)
    try first.deleteRange("a", "m")
    try first.put("z", "1")
    try commit(first, "first", told)
    log.apply(1)
    for key in ["b", "range"] {
      let second = try database.begin(.readCommitted)
      if key == "range" { try second.deleteRange("a", "c") } else { _ = try second.lock(key, .update) }
      try second.beginStatement()
      #expect(try second.get("z") == "1")
      second.rollback()
    }
    log.deliver()
    database.expectEmpty()
  }
}
