import Encoding
import Foundation
import Platform
import Storage
import Synchronization
import Testing
import Transactions

/// What the certifier tells, forgets and lets through.
@Suite struct SerializableTests {
  @Test func abortsAreExplained() throws {
    let database = try TestDatabase()
    try database.write(["x": "1", "y": "1"])
    let first = try database.manager.begin(TransactionOptions(isolation: .serializable, session: 41))
    let second = try database.manager.begin(TransactionOptions(isolation: .serializable, session: 42))
    #expect(try first.scan("x", "z") == "x=1 y=1")
    #expect(try second.get("x") == "1")
    try first.put("x", "2")
    try second.put("y", "2")
    try first.commit()
    #expect {
      try second.commit()
    } throws: { error in
      guard case TransactionError.serializationFailure(let failure) = error else { return false }
      let me = TransactionReference(id: second.id, session: 42)
      let other = TransactionReference(id: first.id, session: 41, version: Version(2))
      return failure.reason == .cycle && failure.others == [other]
        && failure.cycle == [
          Dependency(from: me, to: other, kind: .readWrite, keys: KeyRange(key: [0x78])),
          Dependency(
            from: other, to: me, kind: .readWrite, keys: KeyRange(key: [0x79]),
            read: KeyRange(lower: [0x78], upper: [0x7a])),
        ]
    }
    #expect(second.state == .rolledBack)
    #expect(database.manager.recentConflicts.map(\.transaction.id) == [second.id])
    database.expectEmpty()
  }

  /// Of rows that were fetched many at once, those count as read that were made use of.
  @Test(arguments: [1, 2, 3]) func rowsThatWereNotTakenWereNotRead(taken: Int) throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1", "c": "1", "d": "1", "e": "1"])
    let reader = try database.begin(.serializable)
    let cursor = try reader.cursor(KeyRange(lower: [0x61], upper: [0x7a]))
    #expect(try cursor.nextRows(into: RowBatch(), withKeys: false) > 3)
    cursor.taken = taken
    cursor.close()
    let other = try database.begin(.serializable)
    #expect(try other.get("x") == nil)
    try other.put("c", "new")
    try reader.put("x", "new")
    try other.commit()
    if taken < 3 {
      try reader.commit()
    } else {
      #expect(throws: TransactionError.self) { try reader.commit() }
    }
    database.expectEmpty()
  }

  @Test func intervalsAreExact() throws {
    let database = try TestDatabase()
    try database.write(["b": "1", "d": "1", "f": "1"])
    // Reads up to the first row: what lies behind it is not read.
    let limited = try database.begin(.serializable)
    #expect(try limited.scan("a", "z", limit: 1) == "b=1")
    let other = try database.begin(.serializable)
    #expect(try other.get("x") == nil)
    try other.put("c", "new")
    try limited.put("x", "new")
    try other.commit()
    try limited.commit()
    // One row more, and the gap between the two is.
    let longer = try database.begin(.serializable)
    #expect(try longer.scan("a", "z", limit: 2) == "b=1 c=new")
    let inserter = try database.begin(.serializable)
    #expect(try inserter.get("y") == nil)
    try inserter.put("bb", "new")
    try longer.put("y", "new")
    try inserter.commit()
    #expect(throws: TransactionError.self) { try longer.commit() }
    // Backwards likewise.
    let back = try database.begin(.serializable)
    #expect(try back.scan("a", "z", reverse: true, limit: 2) == "x=new f=1")
    let below = try database.begin(.serializable)
    #expect(try below.get("q") == nil)
    try below.put("e", "new")
    try back.put("q", "new")
    try below.commit()
    try back.commit()
    database.expectEmpty()
  }

  @Test func readOnlySnapshotsAreSafeAlone() throws {
    let database = try TestDatabase()
    try database.write(["x": "1"])
    var options = TransactionOptions(isolation: .serializable, isReadOnly: true, isDeferrable: true)
    let reader = try database.manager.begin(options)
    #expect(try reader.get("x") == "1")
    #expect(throws: TransactionError.self) { try reader.put("x", "2") }
    try reader.commit()
    // A writer with the same snapshot is no danger either.
    let writer = try database.begin(.serializable)
    #expect(try writer.get("x") == "1")
    options.isDeferrable = false
    let second = try database.manager.begin(options)
    #expect(try second.get("x") == "1")
    try writer.put("x", "2")
    try writer.commit()
    #expect(database.manager.statistics.remembered == 0)
    try second.commit()
    database.expectEmpty()
  }

  /// The read-only anomaly (Fekete, O'Neil, O'Neil 2004): with the reader, one must fail; a deferrable reader waits instead.
  @Test func deferrableWaitsForASafeSnapshot() throws {
    let database = try TestDatabase()
    try database.write(["savings": "0", "checking": "0"])
    let withdrawal = try database.begin(.serializable)
    #expect(try withdrawal.get("savings") == "0")
    #expect(try withdrawal.get("checking") == "0")
    let deposit = try database.begin(.serializable)
    #expect(try deposit.get("savings") == "0")
    try deposit.put("savings", "20")
    try deposit.commit()
    let result = Guarded<String?>(nil)
    let report = Thread {
      let options = TransactionOptions(isolation: .serializable, isReadOnly: true, isDeferrable: true)
      let reader = try! database.manager.begin(options)
      let text = try! "\(reader.get("savings")!) \(reader.get("checking")!)"
      try! reader.commit()
      result.withLock { $0 = text }
    }
    report.start()
    while database.manager.statistics.open < 2 && result.withLock({ $0 }) == nil { sched_yield() }
    try withdrawal.put("checking", "-11")
    try withdrawal.commit()
    while !report.isFinished { sched_yield() }
    // Either it began before the withdrawal was over and then saw both, or after it.
    #expect(result.withLock { $0 } == "20 -11")
    database.expectEmpty()
  }

  /// A small budget makes the record coarse: more aborts, no anomaly.
  @Test(arguments: [1 << 10, 3 << 10])
  func contractionMissesNothing(sizeBytes: Int) throws {
    var options = TransactionManagerOptions()
    options.certifierSizeBytes = sizeBytes
    options.readsPerTransaction = 3
    var random = SeededRandomness(seed: 3)
    let interleaver = try Interleaver(.serializable, options: options)
    var counts = Counts()
    for _ in 0..<(80_000 / InterleavingTests.share) {
      let (programs, schedule) = InterleavingTests.randomRun(&random, transactions: 4, isHeld: false)
      counts.add(try interleaver.run(programs, schedule, keyCount: 4, present: [0, 1]), programs, schedule)
    }
    print("contraction at \(sizeBytes) bytes: \(counts)")
    #expect(counts.anomalies == 0, "\(counts.examples)")
    if sizeBytes == 1 << 10 { #expect(counts.undecided > 0) }
    interleaver.database.expectEmpty()
  }

  @Test func memoryIsBounded() throws {
    var options = TransactionManagerOptions()
    options.certifierSizeBytes = 1 << 20
    let database = try TestDatabase(options: options)
    // An old snapshot keeps everybody.
    let old = try database.begin(.serializable)
    #expect(try old.get("a") == nil)
    for number in 0..<20_000 {
      let transaction = try database.begin(.serializable)
      _ = try transaction.get("r\(number)")
      try transaction.put("w\(number)", "1")
      try transaction.commit()
    }
    #expect(database.manager.statistics.remembered < 10_000)
    #expect(database.manager.certifierSizeBytes <= 2 << 20)
    old.rollback()
    database.expectEmpty()
  }

  /// Intervals deleted take part like keys.
  @Test func deletedIntervals() throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1", "x": "1"])
    let reader = try database.begin(.serializable)
    #expect(try reader.get("b") == "1")
    let eraser = try database.begin(.serializable)
    #expect(try eraser.get("x") == "1")
    try eraser.deleteRange("a", "c")
    try reader.put("x", "2")
    try eraser.commit()
    #expect(throws: TransactionError.self) { try reader.commit() }
    let second = try database.begin(.serializable)
    #expect(try second.scan("a", "c") == "")
    let inserter = try database.begin(.serializable)
    #expect(try inserter.get("y") == nil)
    try inserter.put("b", "3")
    try second.put("y", "3")
    try inserter.commit()
    #expect(throws: TransactionError.self) { try second.commit() }
    database.expectEmpty()
  }
}
