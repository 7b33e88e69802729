import SQL
import Testing
import Transactions

/// Cursors and portals are computed as they are read, and show one moment of the transaction.
@Suite struct SuspendedQueryTests {
  private func start(_ rows: Int = 100) throws -> (TestSQL, SQLSession) {
    let sql = try TestSQL()
    let session = sql.session()
    _ = session.lines(
      "CREATE TABLE t (id int PRIMARY KEY, k int, v text); CREATE INDEX tk ON t (k);"
        + "INSERT INTO t SELECT i, i % 10, 'v' || i FROM generate_series(1, \(rows)) i")
    return (sql, session)
  }

  /// None of these would end if it were computed before the first row.
  @Test(arguments: [
    "SELECT g FROM generate_series(1, 9000000000000000) g",
    "SELECT g + h FROM generate_series(1, 9000000000000000) g, generate_series(0, 1) h",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
  ])
  func theFirstRowsComeAtOnce(query: String) throws {
    let (_, session) = try start(1)
    _ = session.lines("BEGIN; DECLARE c CURSOR FOR \(query)")
    #expect(session.lines("FETCH 3 FROM c").count == 4)
    #expect(session.lines("MOVE 1000 FROM c").last == "MOVE 1000")
    #expect(session.lines("FETCH 1 FROM c").count == 2)
    let portal = try session.bind("p", try session.prepare("", query), [])
    let sink = TextSink(session)
    #expect(try !session.execute(portal, maxRows: 2, sink))
    #expect(try !session.execute(portal, maxRows: 2, sink))
    #expect(session.lines("COMMIT").last == "COMMIT")
  }

  @Test func aLimitEndsARecursion() throws {
    let (_, session) = try start(1)
    let query = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r LIMIT 3"
    #expect(session.lines(query) == ["n", "1", "2", "3"] || session.lines(query).count == 4)
    let twice =
      "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) "
      + "SELECT a.n, b.n FROM r a, (SELECT n FROM r LIMIT 2) b LIMIT 5"
    #expect(session.lines(twice).count == 6)
  }

  /// Plans that read the table at once, row by row, by an index whose rows are fetched, and by lookups that begin late.
  @Test(
    arguments: [
      "SELECT id, v FROM t ORDER BY id", "SELECT id, v FROM t WHERE k = 3 ORDER BY id",
      "SELECT a.id, b.v FROM t a JOIN t b ON b.id = a.id + 1 ORDER BY a.id",
      "SELECT id, (SELECT v FROM t u WHERE u.id = t.id + 2) FROM t ORDER BY id",
      "SELECT id, v FROM t WHERE id < 20 UNION ALL SELECT id, v FROM t WHERE id > 50",
      "SELECT k, count(*) FROM t GROUP BY k ORDER BY k",
    ], ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
  func laterChangesDoNotShow(query: String, level: String) throws {
    for readsInPieces in [false, true] {
      let (sql, session) = try start()
      let expected = Array(session.lines(query).dropFirst())
      let other = sql.session()
      _ = session.lines("BEGIN ISOLATION LEVEL \(level)")
      let portal = try session.bind("p", try session.prepare("", query), [])
      let sink = TextSink(session)
      var seen: [String] = []
      if readsInPieces {
        _ = try session.execute(portal, maxRows: 2, sink)
      } else {
        _ = session.lines("DECLARE c CURSOR FOR \(query)")
        seen += session.lines("FETCH 2 FROM c").dropFirst()
      }
      // Others' changes, and the transaction's own; each in statements that look at newer snapshots.
      _ = other.lines("DELETE FROM t WHERE id % 3 = 0; UPDATE t SET k = 3, v = 'other' WHERE id BETWEEN 40 AND 44")
      if level == "READ COMMITTED" { #expect(session.lines("SELECT count(*) FROM t").last == "67") }
      _ = session.lines("INSERT INTO t VALUES (1000, 3, 'own'), (1001, 4, 'own')")
      if !readsInPieces { seen += session.lines("FETCH 3 FROM c").dropFirst() }
      _ = session.lines("UPDATE t SET v = 'own' WHERE id IN (47, 50, 1000); DELETE FROM t WHERE id IN (1001, 61)")
      if readsInPieces {
        while try !session.execute(portal, maxRows: 3, sink) {}
        let heading = sink.lines[0]
        seen = sink.lines.filter { $0 != heading }
      } else {
        seen += session.lines("FETCH ALL FROM c").dropFirst()
      }
      #expect(seen == expected, "\(query) at \(level), in pieces: \(readsInPieces)")
      _ = session.lines("ROLLBACK")
    }
  }

  @Test func whatWasWrittenBeforeShows() throws {
    let (_, session) = try start(5)
    _ = session.lines("BEGIN; UPDATE t SET v = 'new' WHERE id = 2; INSERT INTO t VALUES (9, 9, 'nine')")
    _ = session.lines("DECLARE c CURSOR FOR SELECT v FROM t ORDER BY id; DELETE FROM t")
    #expect(Array(session.lines("FETCH ALL FROM c").dropFirst()) == ["v1", "new", "v3", "v4", "v5", "nine"])
    #expect(session.lines("FETCH BACKWARD 2 FROM c").last == "v5")
  }

  @Test func cursorsOfWhatIsUndoneAreGone() throws {
    let (_, session) = try start(5)
    _ = session.lines("BEGIN; DECLARE a CURSOR FOR SELECT id FROM t ORDER BY id; FETCH 1 FROM a; SAVEPOINT s")
    _ = session.lines("DELETE FROM t; DECLARE b CURSOR FOR SELECT id FROM t")
    _ = session.lines("ROLLBACK TO s")
    #expect(session.lines("FETCH 2 FROM a").last == "3")
    #expect(throws: SQLError.self) { try session.execute("FETCH 1 FROM b", TextSink(session)) }
    _ = session.lines("ROLLBACK TO s; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id; RELEASE s")
    #expect(session.lines("FETCH 1 FROM c").last == "1")
    #expect(session.lines("COMMIT").last == "COMMIT")
  }

  @Test func heldCursorsAreComputedAtTheCommit() throws {
    let (_, session) = try start(5)
    _ = session.lines("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id; FETCH 2 FROM h")
    _ = session.lines("DELETE FROM t; COMMIT")
    #expect(session.lines("FETCH 1 FROM h").last == "3")
    #expect(Array(session.lines("FETCH BACKWARD ALL FROM h").dropFirst()) == ["2", "1"])
    #expect(Array(session.lines("FETCH ALL FROM h").dropFirst()).count == 5)
  }

  @Test func anErrorEndsTheCursor() throws {
    let (_, session) = try start(5)
    _ = session.lines("BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT 10 / (3 - id) FROM t ORDER BY id")
    #expect(session.lines("FETCH 2 FROM c").last == "10")
    #expect(throws: SQLError.self) { try session.execute("FETCH BACKWARD 1 FROM c", TextSink(session)) }
    _ = session.lines("ROLLBACK; BEGIN; SAVEPOINT s")
    _ = session.lines("DECLARE c CURSOR FOR SELECT 10 / (3 - id) FROM t ORDER BY id; FETCH 2 FROM c")
    #expect(throws: SQLError.self) { try session.execute("FETCH 1 FROM c", TextSink(session)) }
    #expect(throws: SQLError.self) { try session.execute("FETCH 1 FROM c", TextSink(session)) }
    #expect(session.lines("ROLLBACK; SELECT 1").last == "1")
  }

  /// What a suspended query holds is given back, however it ends.
  @Test(arguments: ["COMMIT", "ROLLBACK", "CLOSE c", "SELECT 1/0", ""])
  func nothingIsLeft(end: String) throws {
    let (sql, session) = try start(50)
    _ = session.lines("BEGIN; DECLARE c CURSOR FOR SELECT v FROM t WHERE k = 3; FETCH 2 FROM c")
    let portal = try session.bind("p", try session.prepare("", "SELECT * FROM t"), [])
    _ = try session.execute(portal, maxRows: 2, TextSink(session))
    if !end.isEmpty { try? session.execute(end, TextSink(session)) }
    session.close()
    #expect(sql.engine.statistics.snapshots == 0)
    #expect(sql.manager.statistics.open == 0)
  }
}
