import Encoding
import Storage
import Synchronization
import Testing
import Transactions

/// Moving a snapshot past a conflict, case by case; every interleaving is in InterleavingTests.
@Suite struct RefreshTests {
  static let levels: [IsolationLevel] = [.repeatableRead, .serializable]

  /// What kept the snapshot from being moved; nil if it was moved.
  private func obstacle(_ body: () throws -> Void) throws -> SerializationFailure.Obstacle? {
    do {
      try body()
      return nil
    } catch TransactionError.serializationFailure(let failure) {
      #expect(failure.reason == .concurrentUpdate)
      return failure.obstacle
    }
  }

  private func read(_ obstacle: SerializationFailure.Obstacle?) -> String? {
    guard case .read(let edge)? = obstacle else { return nil }
    return String(decoding: edge.keys.lower, as: UTF8.self)
  }

  @Test(arguments: levels) func whatWasNotReadMayHaveChanged(_ level: IsolationLevel) throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1", "c": "1"])
    let transaction = try database.begin(level)
    #expect(try transaction.get("a") == "1")
    let before = try transaction.snapshot
    try database.write(["b": "2", "c": "2"])
    try transaction.put("b", "3")
    // It has become a transaction that began later.
    #expect(try transaction.snapshot > before)
    #expect(try transaction.get("c") == "2")
    try transaction.commit()
    #expect(try database.begin().get("b") == "3")
    #expect(database.manager.statistics.refreshes == 1)
    #expect(database.manager.statistics.concurrentUpdateFailures == 0)
    database.expectEmpty()
  }

  @Test(arguments: levels) func whatWasReadMayNot(_ level: IsolationLevel) throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1", "c": "1"])
    // A key, the key that is written itself, one that was not there, an interval, and one that is deleted as a whole.
    let reads: [(String, (Transaction) throws -> Void, (TestDatabase) throws -> Void)] = [
      ("a", { _ = try $0.get("a") }, { try $0.write(["a": "2"]) }),
      ("b", { _ = try $0.get("b") }, { _ in }),
      ("d", { _ = try $0.get("d") }, { try $0.write(["d": "2"]) }),
      ("bb", { _ = try $0.scan("b0", "z") }, { try $0.write(["bb": "2"]) }),
      ("c", { _ = try $0.scan("c", "z") }, { try $0.write(["c": nil]) }),
      (
        "c", { _ = try $0.get("c") },
        {
          let eraser = try $0.begin(.readCommitted)
          try eraser.deleteRange("bz", "d")
          try eraser.commit()
        }
      ),
      (
        "c0", { _ = try $0.scan("c0", "d") },
        {
          let eraser = try $0.begin(.readCommitted)
          try eraser.deleteRange("bz", "d")
          try eraser.commit()
        }
      ),
    ]
    for (key, look, change) in reads {
      let transaction = try database.begin(level)
      try look(transaction)
      try change(database)
      try database.write(["b": "2"])
      #expect(try read(obstacle { try transaction.put("b", "3") }) == key)
      #expect(transaction.state == .failed)
      transaction.rollback()
      try database.write(["a": "1", "b": "1", "c": "1", "d": nil, "bb": nil])
    }
    #expect(database.manager.statistics.refreshes == 0)
    #expect(database.manager.statistics.concurrentUpdateFailures == UInt64(reads.count))
    database.expectEmpty()
  }

  /// A key that changed only behind the new snapshot is no obstacle; here a sequenced and undelivered commit stands for it.
  @Test func deletedRangesOfOthersMoveToo() throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1"])
    let transaction = try database.begin(.repeatableRead)
    #expect(try transaction.get("a") == "1")
    try database.write(["c": "1"])
    try transaction.deleteRange("b", "d")
    try transaction.commit()
    #expect(try database.begin().scan("a", "z") == "a=1")
    database.expectEmpty()
  }

  @Test(arguments: levels) func whatWasRolledBackWasSeen(_ level: IsolationLevel) throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1"])
    let transaction = try database.begin(level)
    let savepoint = transaction.savepoint()
    #expect(try transaction.get("a") == "1")
    transaction.rollback(to: savepoint)
    try database.write(["a": "2", "b": "2"])
    #expect(try read(obstacle { try transaction.put("b", "3") }) == "a")
    transaction.rollback()
    database.expectEmpty()
  }

  /// At repeatable read what is found under a lock counts as read once the lock is given back.
  @Test func aLockGivenBackCountsAsRead() throws {
    let database = try TestDatabase()
    try database.write(["b": "1", "parent": "1"])
    let transaction = try database.begin(.repeatableRead)
    let savepoint = transaction.savepoint()
    #expect(try transaction.lock("parent", .keyShare) == .unchanged)
    #expect(try transaction.getLatest("parent") == "1")
    try database.write(["b": "2"])
    // While it is held, nobody can take away what was found.
    try transaction.put("b", "3")
    transaction.rollback(to: savepoint)
    try database.write(["parent": nil, "b": "4"])
    #expect(try read(obstacle { try transaction.put("b", "5") }) == "parent")
    transaction.rollback()
    database.expectEmpty()
  }

  @Test(arguments: levels) func aStatementIsRepeated(_ level: IsolationLevel) throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1", "c": "1"])
    let transaction = try database.begin(level)
    #expect(try transaction.get("a") == "1")
    try transaction.put("own", "1")
    try database.write(["b": "2", "c": "2"])
    #expect(transaction.openStatement())
    #expect(!transaction.openStatement())
    var runs = 0
    repeating: while true {
      runs += 1
      do {
        // Reads what the other changed, so that going on would lose its update.
        let c = try #require(try transaction.get("c"))
        try transaction.put("own", "2")
        try transaction.put("temporary\(runs)", "1")
        let b = try #require(try transaction.get("b"))
        try transaction.put("b", b + c + "!")
        break
      } catch {
        #expect(transaction.state == .failed)
        switch try transaction.repeatStatement(hasAnswered: false) {
        case .again: continue repeating
        default: throw error
        }
      }
    }
    transaction.closeStatement()
    #expect(runs == 2)
    #expect(try transaction.scan("a", "z") == "a=1 b=22! c=2 own=2 temporary2=1")
    try transaction.commit()
    #expect(try database.begin().scan("a", "z") == "a=1 b=22! c=2 own=2 temporary2=1")
    database.expectEmpty()
  }

  @Test(arguments: levels) func aStatementThatHasAnsweredIsNot(_ level: IsolationLevel) throws {
    let database = try TestDatabase()
    try database.write(["b": "1"])
    let transaction = try database.begin(level)
    #expect(transaction.openStatement())
    #expect(try transaction.get("b") == "1")
    try database.write(["b": "2"])
    #expect(throws: TransactionError.self) { try transaction.put("b", "3") }
    guard case .refused(.serializationFailure(let failure)) = try transaction.repeatStatement(hasAnswered: true) else {
      Issue.record("it was repeated")
      return
    }
    #expect(failure.obstacle == .answered)
    transaction.closeStatement()
    transaction.rollback()
    #expect(database.manager.recentConflicts.count == 1)
    #expect(database.manager.statistics.concurrentUpdateFailures == 1)
    database.expectEmpty()
  }

  /// What an earlier statement read keeps counting, whatever the later one adds to the same interval.
  @Test(arguments: levels) func intervalsOfEarlierStatementsStayAsTheyWere(_ level: IsolationLevel) throws {
    let database = try TestDatabase()
    try database.write(["b": "1", "d": "1", "f": "1"])
    let transaction = try database.begin(level)
    #expect(try transaction.scan("a", "c") == "b=1")
    try database.write(["d": "2"])
    #expect(transaction.openStatement())
    #expect(try transaction.scan("a", "e") == "b=1 d=1")
    #expect(throws: TransactionError.self) { try transaction.put("d", "3") }
    guard case .again = try transaction.repeatStatement(hasAnswered: false) else {
      Issue.record("it was not repeated")
      return
    }
    #expect(try transaction.scan("a", "c") == "b=1")
    try transaction.put("d", "3")
    transaction.closeStatement()
    try transaction.commit()
    database.expectEmpty()
  }

  @Test func repetitionsAreBounded() throws {
    var options = TransactionManagerOptions()
    options.statementRepetitions = 3
    let database = try TestDatabase(options: options)
    let transaction = try database.begin(.repeatableRead)
    #expect(try transaction.get("none") == nil)
    #expect(transaction.openStatement())
    var repetitions = 0
    while true {
      // Each run meets another key.
      let key = "k\(repetitions)"
      #expect(try transaction.get(key) == nil)
      try database.write([key: "1"])
      #expect(throws: TransactionError.self) { try transaction.put(key, "2") }
      let outcome = try transaction.repeatStatement(hasAnswered: false)
      if case .again = outcome {
        repetitions += 1
        continue
      }
      guard case .refused(.serializationFailure(let failure)) = outcome else {
        Issue.record("\(outcome)")
        break
      }
      #expect(failure.obstacle == .tooOften)
      break
    }
    #expect(repetitions == 3)
    transaction.closeStatement()
    transaction.rollback()
    database.expectEmpty()
  }

  @Test(arguments: levels) func anOpenCursorKeepsTheSnapshot(_ level: IsolationLevel) throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1"])
    let transaction = try database.begin(level)
    let cursor = try transaction.cursor(KeyRange(lower: [0x61], upper: [0x62]))
    #expect(try cursor.next())
    try database.write(["b": "2"])
    #expect(try obstacle { try transaction.put("b", "3") } == .openCursor)
    cursor.close()
    transaction.rollback()
    database.expectEmpty()
  }

  @Test func tooMuchReadAtRepeatableRead() throws {
    var options = TransactionManagerOptions()
    options.readsToMoveSnapshot = 20
    let database = try TestDatabase(options: options)
    for count in [20, 21, 300] {
      try database.write(["b": "1"])
      let transaction = try database.begin(.repeatableRead)
      for number in 0..<count { _ = try transaction.get("k\(number)") }
      try database.write(["b": "2"])
      #expect(try obstacle { try transaction.put("b", "3") } == (count > 20 ? .tooMuchRead : nil))
      transaction.rollback()
    }
    database.expectEmpty()
  }

  /// What the statement itself has read does not count, however much it is.
  @Test(arguments: levels) func aFirstStatementMayReadAsMuchAsItLikes(_ level: IsolationLevel) throws {
    var options = TransactionManagerOptions()
    options.readsToMoveSnapshot = 20
    options.readsPerTransaction = 20
    let database = try TestDatabase(options: options)
    for earlier in [0, 1, 30] {
      try database.write(["b": "1"])
      let transaction = try database.begin(level)
      for number in 0..<earlier { _ = try transaction.get("earlier\(number)") }
      #expect(transaction.openStatement())
      for number in 0..<300 { _ = try transaction.get("k\(number)") }
      #expect(try transaction.get("b") == "1")
      try database.write(["b": "2"])
      #expect(throws: TransactionError.self) { try transaction.put("b", "3") }
      switch try transaction.repeatStatement(hasAnswered: false) {
      case .again:
        #expect(earlier == 0)
        #expect(try transaction.get("b") == "2")
        try transaction.put("b", "3")
        transaction.closeStatement()
        // From here on it counts.
        try database.write(["c": "2", "b2": "2"])
        #expect(try read(obstacle { try transaction.put("c", "3") }) == nil)
      case .refused(.serializationFailure(let failure)):
        #expect(earlier > 0 && failure.obstacle == .tooMuchRead)
        transaction.closeStatement()
      case let outcome: Issue.record("\(outcome)")
      }
      transaction.rollback()
    }
    database.expectEmpty()
  }

  @Test func onlySoMuchIsLookedAt() throws {
    var options = TransactionManagerOptions()
    options.entriesToMoveSnapshot = 100
    let database = try TestDatabase(options: options)
    for number in 0..<200 { try database.write(["k\(number)": "1"]) }
    for (upper, isMoved) in [("k11", true), ("l", false)] {
      try database.write(["b": "1"])
      let transaction = try database.begin(.serializable)
      _ = try transaction.scan("k", upper)
      try database.write(["b": "2"])
      #expect(try obstacle { try transaction.put("b", "3") } == (isMoved ? nil : .tooMuchRead))
      transaction.rollback()
    }
    database.expectEmpty()
  }

  /// Collects garbage whenever a snapshot is to be confirmed: between taking the new one and looking what has changed.
  final class Collector: SnapshotGate {
    let engine = Mutex<Engine?>(nil)
    func confirmSnapshot() throws(CommitError) -> SnapshotVerdict {
      engine.withLock { engine in
        try? engine?.flush()
        try? engine?.compact()
      }
      return .fresh
    }
  }

  /// The old snapshot is held until it is known what has changed: the deletion of a key that no snapshot tells from its
  /// absence goes with the garbage, and would not be found. (The mutant that lets go of it first overlooks it.)
  @Test(arguments: [CertifierMutant.none, .releasesOldSnapshotFirst])
  func theOldSnapshotIsHeldMeanwhile(_ mutant: CertifierMutant) throws {
    var options = TransactionManagerOptions()
    options.mutant = mutant
    let collector = Collector()
    let database = try TestDatabase(gate: collector, options: options)
    database.manager.lead(term: 1)
    try database.write(["a": "1", "b": "1"])
    let transaction = try database.begin(.repeatableRead)
    #expect(try transaction.get("a") == "1")
    try database.write(["a": nil, "b": "2"])
    collector.engine.withLock { $0 = database.engine }
    let found = try obstacle { try transaction.put("b", "3") }
    collector.engine.withLock { $0 = nil }
    if mutant == .none { #expect(read(found) == "a") } else { #expect(found == nil, "the mutant was not found") }
    transaction.rollback()
    database.expectEmpty()
  }

  /// A read-only transaction waits for writers with older snapshots to end; one that has moved past it is none.
  @Test func aMovedWriterIsNoDangerToReaders() throws {
    let database = try TestDatabase()
    try database.write(["a": "1", "b": "1"])
    let writer = try database.begin(.serializable)
    #expect(try writer.get("c") == nil)
    try database.write(["b": "2"])
    let reader = try database.manager.begin(TransactionOptions(isolation: .serializable, isReadOnly: true))
    #expect(try reader.get("b") == "2")
    try writer.put("b", "3")
    let deferrable = try database.manager.begin(
      TransactionOptions(isolation: .serializable, isReadOnly: true, isDeferrable: true))
    // Would block for ever if the writer still counted with its old snapshot.
    #expect(try deferrable.get("b") == "2")
    try deferrable.commit()
    try reader.commit()
    try writer.commit()
    database.expectEmpty()
  }
}
