import Foundation
import SQL
import Synchronization
import Testing

/// Sessions on threads of their own: what must hold whatever the schedule is.
@Suite struct ConcurrencyTests {
  /// Runs `body` on `count` threads, each with a session, and waits for all.
  private func race(_ test: TestSQL, _ count: Int, _ body: @escaping @Sendable (Int, SQLSession) -> Void) {
    let done = DispatchGroup()
    for number in 0..<count {
      done.enter()
      nonisolated(unsafe) let session = test.session()
      Thread.detachNewThread {
        body(number, session)
        session.close()
        done.leave()
      }
    }
    done.wait()
  }

  @Test func incrementsAreNotLost() throws {
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines(
      "CREATE TABLE c (id int PRIMARY KEY, n int, k int); CREATE INDEX ON c (k); INSERT INTO c VALUES (1, 0, 5)")
    race(test, 4) { _, session in
      for _ in 0..<50 { _ = session.lines("UPDATE c SET n = n + 1 WHERE k = 5") }
    }
    #expect(session.lines("SELECT n FROM c") == ["n", "200"])
  }

  /// A row that changed while it was waited for must satisfy the condition again.
  @Test func conditionsAreTestedAgain() throws {
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines(
      "CREATE TABLE job (id int PRIMARY KEY, owner int); INSERT INTO job SELECT i, NULL FROM generate_series(1, 40) i")
    let taken = Mutex(0)
    race(test, 4) { number, session in
      for id in 1...40 {
        let answer = session.lines("UPDATE job SET owner = \(number) WHERE id = \(id) AND owner IS NULL")
        if answer == ["UPDATE 1"] { taken.withLock { $0 += 1 } }
      }
    }
    #expect(taken.withLock { $0 } == 40)
    #expect(session.lines("SELECT count(*) FROM job WHERE owner IS NOT NULL") == ["count", "40"])
  }

  @Test func oneOfManyInsertsOfAKeyWins() throws {
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines("CREATE TABLE u (id int PRIMARY KEY, name text UNIQUE)")
    let wins = Mutex(0)
    race(test, 4) { number, session in
      for id in 1...30 {
        let answer = session.lines("INSERT INTO u VALUES (\(id * 10 + number), 'name \(id)')")
        if answer == ["INSERT 0 1"] {
          wins.withLock { $0 += 1 }
        } else {
          #expect(answer.first?.hasPrefix("ERROR 23505") == true, "\(answer)")
        }
      }
    }
    #expect(wins.withLock { $0 } == 30)
    #expect(session.lines("SELECT count(*), count(DISTINCT name) FROM u") == ["count | count", "30 | 30"])
  }

  @Test func upsertsCountEveryCall() throws {
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines("CREATE TABLE hits (page text PRIMARY KEY, n int)")
    race(test, 4) { _, session in
      for round in 0..<40 {
        let answer = session.lines(
          "INSERT INTO hits VALUES ('p\(round % 5)', 1) ON CONFLICT (page) DO UPDATE SET n = hits.n + 1")
        #expect(answer == ["INSERT 0 1"], "\(answer)")
      }
    }
    #expect(session.lines("SELECT sum(n), count(*) FROM hits") == ["sum | count", "160 | 5"])
  }

  /// No child is ever without its parent, however inserts and deletes race.
  @Test(arguments: ["read committed", "repeatable read", "serializable"])
  func referencesHold(_ level: String) throws {
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines(
      "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id serial PRIMARY KEY, pid int REFERENCES parent); CREATE INDEX ON child (pid)"
    )
    _ = session.lines("INSERT INTO parent SELECT generate_series(1, 5)")
    race(test, 4) { number, session in
      _ = session.lines("SET default_transaction_isolation = '\(level)'")
      for round in 0..<40 {
        let id = (round * 7 + number) % 5 + 1
        let answer: [String]
        switch number {
        case 0: answer = session.lines("DELETE FROM parent WHERE id = \(id)")
        case 1: answer = session.lines("INSERT INTO parent VALUES (\(id)) ON CONFLICT DO NOTHING")
        case 2: answer = session.lines("INSERT INTO child (pid) VALUES (\(id))")
        default: answer = session.lines("DELETE FROM child WHERE pid = \(id)")
        }
        if let error = answer.first(where: { $0.hasPrefix("ERROR") }) {
          #expect(
            error.hasPrefix("ERROR 23503") || error.hasPrefix("ERROR 40001") || error.hasPrefix("ERROR 40P01"),
            "\(error)")
        }
      }
    }
    let orphans = session.lines(
      "SELECT count(*) FROM child LEFT JOIN parent ON parent.id = pid WHERE parent.id IS NULL")
    #expect(orphans == ["count", "0"])
  }

  @Test func sequencesNeverRepeat() throws {
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines("CREATE TABLE s (id bigserial PRIMARY KEY, t int)")
    race(test, 4) { number, session in
      for _ in 0..<60 {
        let answer = session.lines("INSERT INTO s (t) VALUES (\(number))")
        #expect(answer == ["INSERT 0 1"], "\(answer)")
      }
    }
    #expect(session.lines("SELECT count(*), count(DISTINCT id) FROM s") == ["count | count", "240 | 240"])
  }

  /// Rows are written while an index is built and columns are added: nothing is lost, and the index has every row.
  @Test func definitionsAmongWrites() throws {
    let test = try TestSQL()
    let session = test.session()
    _ = session.lines("CREATE TABLE t (id int PRIMARY KEY, a int)")
    race(test, 4) { number, session in
      if number == 0 {
        for round in 0..<6 {
          var answer = session.lines("CREATE INDEX i\(round) ON t (a)")
          #expect(answer == ["CREATE INDEX"], "\(answer)")
          answer = session.lines("ALTER TABLE t ADD COLUMN c\(round) int DEFAULT \(round)")
          #expect(answer == ["ALTER TABLE"], "\(answer)")
        }
        return
      }
      for round in 0..<60 {
        let id = number * 1000 + round
        let answer = session.lines("INSERT INTO t (id, a) VALUES (\(id), \(round % 10))")
        #expect(answer == ["INSERT 0 1"], "\(answer)")
      }
    }
    #expect(session.lines("SELECT count(*) FROM t WHERE id + 0 > 0") == ["count", "180"])
    #expect(session.lines("SELECT count(*) FROM t WHERE a >= 0 AND a < 10") == ["count", "180"])
    #expect(session.lines("SELECT count(*) FROM t WHERE c5 = 5") == ["count", "180"])
  }

  @Test func lockedRowsAreSkippedOrRefused() throws {
    let test = try TestSQL()
    let (one, two) = (test.session(), test.session())
    _ = one.lines("CREATE TABLE q (id int PRIMARY KEY); INSERT INTO q VALUES (1), (2), (3)")
    _ = one.lines("BEGIN")
    #expect(one.lines("SELECT * FROM q WHERE id = 2 FOR UPDATE") == ["id", "2"])
    #expect(two.lines("SELECT * FROM q ORDER BY id FOR UPDATE SKIP LOCKED") == ["id", "1", "3"])
    #expect(two.lines("SELECT * FROM q WHERE id = 2 FOR UPDATE NOWAIT").last?.contains("55P03") == false)
    #expect(two.lines("SELECT * FROM q WHERE id = 2 FOR UPDATE NOWAIT").contains { $0.hasPrefix("ERROR 55P03") })
    _ = two.lines("SET lock_timeout = '10ms'")
    #expect(two.lines("UPDATE q SET id = 9 WHERE id = 2").contains { $0.hasPrefix("ERROR 55P03") })
    _ = one.lines("ROLLBACK")
    #expect(two.lines("UPDATE q SET id = 9 WHERE id = 2") == ["UPDATE 1"])
  }

  /// A sort that needs more than work_mem goes through files and gives the same order; so does what DISTINCT keeps.
  @Test func sortsSpill() throws {
    let test = try TestSQL()
    let session = test.session()
    let query = "SELECT md5(i::text) AS h, i FROM generate_series(1, 20000) i ORDER BY h, i"
    let inMemory = session.lines(query)
    _ = session.lines("SET work_mem = '64kB'")
    let spilled = session.lines(query)
    #expect(inMemory.count == 20001)
    #expect(inMemory == spilled)
    #expect(session.lines("SELECT count(DISTINCT i % 5000) FROM generate_series(1, 20000) i") == ["count", "5000"])
  }
}

/// What one transaction may not do because another committed meanwhile.
@Suite struct ConflictTests {
  @Test func aKeyThatWasTakenUpAfterTheSnapshotStays() throws {
    let test = try TestSQL()
    let (one, two) = (test.session(), test.session())
    _ = one.lines("CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (pid int REFERENCES parent)")
    _ = one.lines("INSERT INTO parent VALUES (1), (2)")
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
      _ = one.lines("BEGIN ISOLATION LEVEL \(level)")
      _ = one.lines("SELECT count(*) FROM parent")
      #expect(two.lines("INSERT INTO child VALUES (1)") == ["INSERT 0 1"])
      let answer = one.lines("DELETE FROM parent WHERE id = 1") + one.lines("COMMIT")
      #expect(answer.contains { $0.hasPrefix("ERROR 40001") || $0.hasPrefix("ERROR 23503") }, "\(level): \(answer)")
      _ = one.lines("ROLLBACK")
      #expect(two.lines("SELECT count(*) FROM parent WHERE id = 1") == ["count", "1"])
      _ = two.lines("DELETE FROM child")
    }
  }

  @Test func writersOfOneRowConflictAboveReadCommitted() throws {
    let test = try TestSQL()
    let (one, two) = (test.session(), test.session())
    _ = one.lines("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)")
    _ = one.lines("BEGIN ISOLATION LEVEL REPEATABLE READ")
    _ = one.lines("SELECT * FROM t")
    _ = two.lines("UPDATE t SET n = 1")
    #expect(one.lines("UPDATE t SET n = 2").first?.hasPrefix("ERROR 40001") == true)
    #expect(one.lines("SELECT 1").first?.hasPrefix("ERROR 25P02") == true)
    #expect(one.lines("COMMIT") == ["ROLLBACK"])
    #expect(one.lines("SELECT n FROM t") == ["n", "1"])
  }

  @Test func writeSkewIsRefusedOnlyBySerializable() throws {
    for (level, isRefused) in [("REPEATABLE READ", false), ("SERIALIZABLE", true)] {
      let test = try TestSQL()
      let (one, two) = (test.session(), test.session())
      _ = one.lines(
        "CREATE TABLE duty (id int PRIMARY KEY, on_call bool); INSERT INTO duty VALUES (1, true), (2, true)")
      var answers: [String] = []
      for session in [one, two] {
        _ = session.lines("BEGIN ISOLATION LEVEL \(level)")
        answers += session.lines("SELECT count(*) FROM duty WHERE on_call")
      }
      answers += one.lines("UPDATE duty SET on_call = false WHERE id = 1")
      answers += two.lines("UPDATE duty SET on_call = false WHERE id = 2")
      answers += one.lines("COMMIT") + two.lines("COMMIT")
      #expect(answers.contains { $0.hasPrefix("ERROR 40001") } == isRefused, "\(level): \(answers)")
    }
  }

  @Test func aPlanFollowsTheCatalog() throws {
    let test = try TestSQL()
    let (one, two) = (test.session(), test.session())
    _ = one.lines("CREATE TABLE t (a int); INSERT INTO t VALUES (1); PREPARE q AS SELECT * FROM t")
    #expect(one.lines("EXECUTE q") == ["a", "1"])
    _ = two.lines("ALTER TABLE t ADD COLUMN b int DEFAULT 7")
    // The client may have been told one column, once: PostgreSQL refuses, too.
    #expect(one.lines("EXECUTE q") == ["ERROR 0A000: cached plan must not change result type"])
    _ = one.lines("DEALLOCATE q; PREPARE q AS SELECT * FROM t")
    #expect(one.lines("EXECUTE q") == ["a | b", "1 | 7"])
    _ = two.lines("DROP TABLE t")
    #expect(one.lines("EXECUTE q").first?.hasPrefix("ERROR 42P01") == true)
  }
}
