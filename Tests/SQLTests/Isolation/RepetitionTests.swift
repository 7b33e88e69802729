import Foundation
import SQL
import Testing
import Transactions

/// Statements that are run again over a newer snapshot: what a session has to undo, and what it must not repeat.
@Suite(.serialized) struct RepetitionTests {
  /// Sessions A (at `level`) and B, over a table t of keys 1 to 3 with values 10, 20, 30.
  private final class Stage {
    let test: TestSQL
    private var sessions: [String: LocalSession] = [:]
    private var conductor = Conductor()
    private let level: String

    init(_ level: String) throws {
      self.level = level
      test = try TestSQL()
      say("B", "CREATE TABLE t (k int PRIMARY KEY, v int)", "CREATE TABLE")
      say("B", "INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)", "INSERT 0 3")
    }

    /// Says something and compares the answer, and those of others that go on behind it.
    func say(_ name: String, _ sql: String, _ expected: String..., location: SourceLocation = #_sourceLocation) {
      let session =
        sessions[name]
        ?? LocalSession(test, ["SET default_transaction_isolation = '\(name == "A" ? level : "read committed")'"])
      sessions[name] = session
      let answers = conductor.step(name, session, sql).map { $0.answer?.outcome ?? "waits" }
      #expect(answers == expected, "\(sql)", sourceLocation: location)
    }

    /// The words of an error.
    func words(_ name: String, _ sql: String) -> String {
      conductor.step(name, sessions[name]!, sql)[0].answer?.words.joined(separator: " ") ?? "waits"
    }

    func close() {
      for session in sessions.values { session.close() }
      #expect(test.manager.statistics.open == 0)
      #expect(test.manager.statistics.lockedKeys == 0)
      #expect(test.manager.statistics.remembered == 0)
      #expect(test.engine.statistics.snapshots == 0)
    }

    var moves: UInt64 { test.manager.statistics.refreshes }
  }
  static let levels = ["repeatable read", "serializable"]

  /// The statement changes row 1, then waits for row 2: what it did to row 1 is undone, and done again.
  @Test(arguments: levels) func whatTheStatementWroteIsUndone(_ level: String) throws {
    let stage = try Stage(level)
    stage.say("A", "BEGIN", "BEGIN")
    stage.say("A", "INSERT INTO t VALUES (4, 40)", "INSERT 0 1")
    stage.say("B", "BEGIN", "BEGIN")
    stage.say("B", "UPDATE t SET v = 21 WHERE k = 2", "UPDATE 1")
    stage.say("A", "UPDATE t SET v = v + 1 RETURNING k, v", "waits")
    stage.say("B", "COMMIT", "COMMIT", "1 | 11, 2 | 22, 3 | 31, 4 | 41")
    stage.say("A", "COMMIT", "COMMIT")
    stage.say("B", "SELECT * FROM t ORDER BY k", "1 | 11, 2 | 22, 3 | 31, 4 | 41")
    #expect(stage.moves == 1)
    stage.close()
  }

  /// A transaction of one statement remembers no reads at repeatable read, and its statement is repeated all the same.
  @Test(arguments: levels) func aStatementThatIsATransaction(_ level: String) throws {
    let stage = try Stage(level)
    stage.say("B", "BEGIN", "BEGIN")
    stage.say("B", "UPDATE t SET v = 21 WHERE k = 2", "UPDATE 1")
    stage.say("A", "UPDATE t SET v = v + (SELECT v FROM t WHERE k = 1) WHERE k <= 3", "waits")
    stage.say("B", "UPDATE t SET v = 100 WHERE k = 3", "UPDATE 1")
    stage.say("B", "COMMIT", "COMMIT", "UPDATE 3")
    stage.say("B", "SELECT * FROM t ORDER BY k", "1 | 20, 2 | 31, 3 | 110")
    #expect(stage.moves >= 1)
    stage.close()
  }

  @Test(arguments: levels) func anEarlierReadStandsInTheWay(_ level: String) throws {
    let stage = try Stage(level)
    stage.say("A", "BEGIN", "BEGIN")
    stage.say("A", "SELECT sum(v) FROM t WHERE k < 3", "30")
    stage.say("B", "UPDATE t SET v = v + 1 WHERE k IN (1, 3)", "UPDATE 2")
    #expect(
      stage.words("A", "UPDATE t SET v = 0 WHERE k = 3").contains(
        "This transaction read t (k) < (3) before transaction"))
    stage.say("A", "ROLLBACK", "ROLLBACK")
    stage.close()
  }

  /// What goes beyond the reserve has been given: then there is no going back.
  @Test(arguments: levels) func whatWasAnsweredIsNotRepeated(_ level: String) throws {
    let stage = try Stage(level)
    stage.say("B", "INSERT INTO t SELECT i, i FROM generate_series(4, 5000) AS i", "INSERT 0 4997")
    for (last, isRepeated) in [(20, true), (5000, false)] {
      stage.say("A", "BEGIN", "BEGIN")
      stage.say("A", "SAVEPOINT s", "SAVEPOINT")
      stage.say("B", "BEGIN", "BEGIN")
      stage.say("B", "UPDATE t SET v = v + 1 WHERE k = \(last)", "UPDATE 1")
      let query = "SELECT v FROM t WHERE k <= \(last) ORDER BY k FOR UPDATE"
      stage.say("A", query, "waits")
      if isRepeated {
        stage.say("B", "COMMIT", "COMMIT", "10, 20, 30, " + (4...19).map { "\($0)" }.joined(separator: ", ") + ", 21")
      } else {
        stage.say("B", "COMMIT", "COMMIT", "ERROR 40001")
      }
      stage.say("A", "ROLLBACK", "ROLLBACK")
    }
    stage.close()
  }

  @Test(arguments: levels) func advisoryLocksOfTheSessionAreNotTakenTwice(_ level: String) throws {
    let stage = try Stage(level)
    for (function, answer) in [("pg_advisory_lock", "ERROR 40001"), ("pg_advisory_xact_lock", "UPDATE 1")] {
      stage.say("A", "BEGIN", "BEGIN")
      stage.say("A", "SELECT 1", "1")
      stage.say("B", "BEGIN", "BEGIN")
      stage.say("B", "UPDATE t SET v = v + 1 WHERE k = 1", "UPDATE 1")
      stage.say("A", "UPDATE t SET v = 0 WHERE k = 1 AND \(function)(7) IS NULL", "waits")
      stage.say("B", "COMMIT", "COMMIT", answer)
      stage.say("A", "ROLLBACK", "ROLLBACK")
      stage.say("A", "SELECT pg_advisory_unlock_all()", "NULL")
    }
    stage.close()
  }

  /// Checks that wait for the commit are queued once; a row that the first run inserted is not checked.
  @Test(arguments: levels) func deferredChecksAreThoseOfTheLastRun(_ level: String) throws {
    let stage = try Stage(level)
    stage.say("B", "CREATE TABLE p (k int PRIMARY KEY)", "CREATE TABLE")
    stage.say("B", "INSERT INTO p VALUES (20), (21)", "INSERT 0 2")
    stage.say(
      "B", "CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED, k int PRIMARY KEY)", "CREATE TABLE")
    stage.say("A", "BEGIN", "BEGIN")
    stage.say("B", "BEGIN", "BEGIN")
    stage.say("B", "UPDATE t SET v = 21 WHERE k = 2", "UPDATE 1")
    stage.say("B", "DELETE FROM p WHERE k = 20", "DELETE 1")
    // Its first run would refer to 20, which is gone by the time of the commit.
    stage.say(
      "A",
      "WITH found AS (SELECT v FROM t WHERE k = 2 FOR UPDATE) INSERT INTO c SELECT v, v FROM found", "waits")
    stage.say("B", "COMMIT", "COMMIT", "INSERT 0 1")
    stage.say("A", "COMMIT", "COMMIT")
    stage.say("B", "SELECT p FROM c", "21")
    stage.close()
  }

  /// Common tables that change rows, and subqueries with cursors that a failure leaves open.
  @Test(arguments: levels) func partsOfTheStatementStartAfresh(_ level: String) throws {
    let stage = try Stage(level)
    stage.say("B", "CREATE TABLE other (k int PRIMARY KEY, v int)", "CREATE TABLE")
    stage.say("B", "INSERT INTO other VALUES (1, 1), (2, 2)", "INSERT 0 2")
    stage.say("A", "BEGIN", "BEGIN")
    stage.say("A", "SELECT v FROM other WHERE k = 7", "no rows")
    stage.say("B", "BEGIN", "BEGIN")
    stage.say("B", "UPDATE t SET v = 21 WHERE k = 2", "UPDATE 1")
    stage.say(
      "A",
      "WITH a AS (UPDATE other SET v = other.v + 1 FROM t WHERE t.k = other.k RETURNING other.k), "
        + "b AS (SELECT k, v FROM t WHERE k > 0 ORDER BY k FOR UPDATE) "
        + "UPDATE t SET v = t.v + b.v + (SELECT count(*) FROM a) FROM b WHERE b.k = t.k AND t.k < 3",
      "waits")
    stage.say("B", "COMMIT", "COMMIT", "UPDATE 2")
    stage.say("A", "COMMIT", "COMMIT")
    stage.say("B", "SELECT v FROM other ORDER BY k", "2, 3")
    stage.say("B", "SELECT v FROM t ORDER BY k", "22, 44, 30")
    #expect(stage.moves >= 1)
    stage.close()
  }

  @Test func aPreparedCommonTableChangesRowsEveryTime() throws {
    let stage = try Stage("read committed")
    stage.say("A", "CREATE TABLE u (k int PRIMARY KEY)", "CREATE TABLE")
    stage.say("A", "INSERT INTO u VALUES (1)", "INSERT 0 1")
    stage.say(
      "A", "PREPARE p AS WITH a AS (UPDATE t SET v = v + 1 FROM u WHERE u.k = t.k RETURNING t.v) SELECT v FROM a",
      "PREPARE")
    stage.say("A", "EXECUTE p", "11")
    stage.say("A", "EXECUTE p", "12")
    stage.close()
  }

  @Test(arguments: levels) func preparedStatementsAreRepeated(_ level: String) throws {
    let stage = try Stage(level)
    stage.say("A", "PREPARE p AS UPDATE t SET v = v + $1 WHERE k = $2 RETURNING v", "PREPARE")
    stage.say("A", "BEGIN", "BEGIN")
    stage.say("A", "EXECUTE p(1, 1)", "11")
    stage.say("B", "UPDATE t SET v = 21 WHERE k = 2", "UPDATE 1")
    stage.say("A", "EXECUTE p(1, 2)", "22")
    stage.say("A", "COMMIT", "COMMIT")
    #expect(stage.moves == 1)
    stage.close()
  }

  /// A row is not written for a table as it was before an index was added.
  @Test(arguments: levels) func aTableThatWasAlteredIsSeenAsItIs(_ level: String) throws {
    let stage = try Stage(level)
    stage.say("A", "BEGIN", "BEGIN")
    stage.say("B", "CREATE UNIQUE INDEX t_v ON t (v)", "CREATE INDEX")
    stage.say("A", "INSERT INTO t VALUES (4, 40)", "INSERT 0 1")
    stage.say("A", "COMMIT", "COMMIT")
    stage.say("A", "BEGIN", "BEGIN")
    stage.say("A", "SELECT v FROM t WHERE k = 1", "10")
    stage.say("B", "CREATE INDEX t_kv ON t (v, k)", "CREATE INDEX")
    stage.say("A", "INSERT INTO t VALUES (5, 50)", "ERROR 40001")
    stage.say("A", "ROLLBACK", "ROLLBACK")
    stage.say("B", "INSERT INTO t VALUES (6, 40)", "ERROR 23505")
    stage.close()
  }

  /// Below repeatable read nothing of this happens.
  @Test func readCommittedIsAsItWas() throws {
    let stage = try Stage("read committed")
    stage.say("A", "BEGIN", "BEGIN")
    stage.say("B", "BEGIN", "BEGIN")
    stage.say("B", "UPDATE t SET v = 21 WHERE k = 2", "UPDATE 1")
    stage.say("A", "UPDATE t SET v = v + 1 WHERE k = 2", "waits")
    stage.say("B", "COMMIT", "COMMIT", "UPDATE 1")
    stage.say("A", "COMMIT", "COMMIT")
    stage.say("B", "SELECT v FROM t WHERE k = 2", "22")
    #expect(stage.moves == 0)
    stage.close()
  }
}
