import Encoding
import Storage
import Testing
import Transactions

@Suite struct BasicTests {
  @Test func readsItsOwnWritesAndCommits() throws {
    let database = try TestDatabase()
    let first = try database.begin()
    #expect(try first.get("a") == nil)
    try first.put("a", "1")
    try first.put("b", "2")
    #expect(try first.get("a") == "1")
    #expect(try first.scan("", nil) == "a=1 b=2")
    #expect(try first.commit() == Version(1))
    #expect(first.state == .committed)
    let second = try database.begin()
    #expect(try second.scan("", nil) == "a=1 b=2")
    #expect(try second.scan("", nil, reverse: true) == "b=2 a=1")
    try second.delete("a")
    try second.put("c", "3")
    #expect(try second.get("a") == nil)
    #expect(try second.scan("", nil) == "b=2 c=3")
    second.rollback()
    let third = try database.begin()
    #expect(try third.scan("", nil) == "a=1 b=2")
    #expect(try third.commit() == nil)
    database.expectEmpty()
  }

  /// So much that values lie apart from keys and the batch is passed on: overwritten, deleted and undone as in a small one.
  @Test func largeTransactions() throws {
    let database = try TestDatabase()
    let transaction = try database.begin()
    func value(_ index: Int, _ round: Int) -> [UInt8] {
      [UInt8](repeating: UInt8(truncatingIfNeeded: index &* 31 &+ round), count: 700 + index % 50)
    }
    func key(_ index: Int) -> [UInt8] { Array("key \(100_000 + index)".utf8) }
    var expected: [[UInt8]?] = []
    for index in 0..<8_000 {
      try transaction.put(key(index), value(index, 0))
      expected.append(value(index, 0))
    }
    for index in stride(from: 0, to: 8_000, by: 3) {
      try transaction.put(key(index), value(index, 1))
      expected[index] = value(index, 1)
    }
    let savepoint = transaction.savepoint()
    for index in stride(from: 1, to: 8_000, by: 2) { try transaction.put(key(index), value(index, 2)) }
    transaction.rollback(to: savepoint)
    for index in stride(from: 0, to: 8_000, by: 7) {
      try transaction.delete(key(index))
      expected[index] = nil
    }
    for index in expected.indices { #expect(try transaction.get(key(index)) == expected[index]) }
    #expect(try transaction.commit() == Version(1))
    let reader = try database.begin()
    for index in expected.indices { #expect(try reader.get(key(index)) == expected[index]) }
    reader.rollback()
    database.expectEmpty()
  }

  @Test func snapshotsStay() throws {
    let database = try TestDatabase()
    try database.write(["x": "1"])
    let repeatable = try database.begin(.repeatableRead)
    let committed = try database.begin(.readCommitted)
    #expect(try repeatable.get("x") == "1")
    #expect(try committed.get("x") == "1")
    try database.write(["x": "2"])
    try repeatable.beginStatement()
    try committed.beginStatement()
    #expect(try repeatable.get("x") == "1")
    #expect(try committed.get("x") == "2")
    repeatable.rollback()
    committed.rollback()
    database.expectEmpty()
  }

  @Test func firstUpdaterWins() throws {
    let database = try TestDatabase()
    try database.write(["x": "1"])
    let late = try database.begin()
    #expect(try late.get("x") == "1")
    try database.write(["x": "2"])
    #expect {
      try late.put("x", "3")
    } throws: { error in
      guard case TransactionError.serializationFailure(let failure) = error else { return false }
      return failure.reason == .concurrentUpdate && failure.keys == KeyRange(key: [120])
        && failure.others.first?.version == Version(2)
    }
    #expect(throws: TransactionError.self) { try late.commit() }
    late.rollback()
    let weak = try database.begin(.readCommitted)
    _ = try weak.get("x")
    try database.write(["x": "4"])
    #expect(try weak.lock("x", .update) == .changed)
    #expect(try weak.getLatest("x") == "4")
    try weak.put("x", "5")
    try weak.commit()
    database.expectEmpty()
  }

  @Test func savepoints() throws {
    let database = try TestDatabase()
    try database.write(["a": "0", "b": "0"])
    let transaction = try database.begin()
    try transaction.put("a", "1")
    let first = transaction.savepoint()
    try transaction.put("a", "2")
    try transaction.delete("b")
    try transaction.put("c", "2")
    let second = transaction.savepoint()
    try transaction.deleteRange("a", "d")
    #expect(try transaction.scan("", nil) == "")
    try transaction.put("b", "3")
    #expect(try transaction.scan("", nil) == "b=3")
    transaction.rollback(to: second)
    #expect(try transaction.scan("", nil) == "a=2 c=2")
    transaction.rollback(to: first)
    #expect(try transaction.scan("", nil) == "a=1 b=0")
    // The lock on c was given back, the one on a was not.
    let other = try database.begin()
    try other.put("c", "other")
    #expect(throws: TransactionError.self) { try other.lock("a", .update, .noWait) }
    #expect(try other.lock("a", .update, .skipLocked) == .skipped)
    other.rollback()
    try transaction.put("c", "4")
    transaction.release(first)
    try transaction.commit()
    let reader = try database.begin()
    #expect(try reader.scan("", nil) == "a=1 b=0 c=4")
    reader.rollback()
    database.expectEmpty()
  }

  @Test func cursorsShowWhatWasThereWhenTheyOpened() throws {
    let database = try TestDatabase()
    try database.write(["a": "0", "c": "0"])
    let transaction = try database.begin()
    try transaction.put("b", "1")
    let cursor = try transaction.cursor(.all)
    #expect(try cursor.next())
    try transaction.put("b", "2")
    try transaction.put("bb", "2")
    try transaction.delete("c")
    var seen: [String] = []
    while try cursor.next() {
      seen.append(String(decoding: cursor.key, as: UTF8.self) + String(decoding: cursor.value, as: UTF8.self))
    }
    #expect(seen == ["b1", "c0"])
    cursor.close()
    #expect(try transaction.scan("", nil) == "a=0 b=2 bb=2")
    transaction.rollback()
    database.expectEmpty()
  }

  @Test func aRefusedAppendAbortsCleanly() throws {
    let database = try TestDatabase()
    let transaction = try database.begin()
    try transaction.put("a", "1")
    database.log.refuseNext(.diskFull("no room"))
    #expect {
      try transaction.commit()
    } throws: { error in
      if case TransactionError.diskFull = error { true } else { false }
    }
    #expect(transaction.state == .rolledBack)
    try database.write(["a": "2"])
    let reader = try database.begin()
    #expect(try reader.get("a") == "2")
    #expect(try reader.snapshot == Version(1))
    reader.rollback()
    database.expectEmpty()
  }

  @Test func sequencedIsInvisibleAndKeepsItsLocks() throws {
    let database = try TestDatabase(.held)
    let writer = try database.begin()
    try writer.put("a", "1")
    try writer.commit { _ in }
    #expect(writer.state == .sequenced)
    let other = try database.begin()
    #expect(try other.get("a") == nil)
    #expect(throws: TransactionError.self) { try other.lock("a", .share, .noWait) }
    database.log.deliver()
    #expect(writer.state == .committed)
    #expect(try other.get("a") == nil)
    #expect(throws: TransactionError.self) { try other.lock("a", .share, .noWait) }
    other.rollback()
    database.expectEmpty()
  }

  @Test(arguments: IsolationLevel.allCases)
  func aFailedLogGivesLocksBack(_ isolation: IsolationLevel) throws {
    let database = try TestDatabase(.held)
    let reader = try database.begin(isolation)
    #expect(try reader.get("a") == nil)
    try reader.commit()
    let writer = try database.begin(isolation)
    try writer.put("a", "1")
    try writer.commit { result in
      guard case .failure(.logFailed) = result else {
        Issue.record("expected a failed log")
        return
      }
    }
    database.log.fail(.failed("the disk is gone"))
    let next = try database.begin()
    try next.put("a", "2")
    #expect(throws: TransactionError.self) { try next.commit() }
    #expect(try database.begin().get("a") == nil)
    database.expectEmpty()
  }
}
