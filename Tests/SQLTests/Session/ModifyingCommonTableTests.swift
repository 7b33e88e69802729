import SQL
import Testing

/// The query of a statement that also writes, by WITH … INSERT, UPDATE or DELETE, reads what was before the statement;
/// PostgreSQL 15 gives these answers.
@Suite struct ModifyingCommonTableTests {
  private func start() throws -> (TestSQL, SQLSession) {
    let sql = try TestSQL()
    let session = sql.session()
    _ = session.lines("CREATE TABLE t (id int PRIMARY KEY, name text); CREATE INDEX ON t (name)")
    _ = session.lines("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    return (sql, session)
  }

  @Test(arguments: [false, true]) func theQueryReadsWhatWasBefore(_ inBlock: Bool) throws {
    let (_, session) = try start()
    // Within a block the transaction has written before: of that the statement reads all.
    if inBlock { _ = session.lines("BEGIN; UPDATE t SET name = 'B' WHERE id = 2; INSERT INTO t VALUES (9, 'n')") }
    let count = inBlock ? "4" : "3"
    #expect(
      session.lines(
        "WITH x AS (UPDATE t SET name = 'q' WHERE id = 1 RETURNING name) SELECT x.name, (SELECT name FROM t WHERE id = 1) FROM x"
      ).last == "q | a")
    #expect(session.lines("SELECT name FROM t WHERE id = 1").last == "q")
    #expect(
      session.lines("WITH x AS (INSERT INTO t VALUES (10, 'z') RETURNING id) SELECT count(*), max(x.id) FROM t, x").last
        == "\(count) | 10")
    #expect(
      session.lines("WITH x AS (DELETE FROM t WHERE id = 10 RETURNING id) SELECT count(*) FROM t WHERE name = 'z'").last
        == "1")
    #expect(session.lines("SELECT count(*) FROM t").last == count)
    #expect(
      session.lines("WITH x AS (DELETE FROM t RETURNING id) SELECT count(*), (SELECT count(*) FROM x) FROM t").last
        == "\(count) | \(count)")
    #expect(session.lines("SELECT count(*) FROM t").last == "0")
    if inBlock {
      #expect(session.lines("ROLLBACK; SELECT name FROM t ORDER BY id").suffix(3) == ["a", "b", "c"])
    }
  }

  @Test func anErrorLeavesTheBlockUsable() throws {
    let (_, session) = try start()
    _ = session.lines("BEGIN; SAVEPOINT s")
    let failed = session.lines("WITH x AS (UPDATE t SET name = 'q' RETURNING id) SELECT 1 / (x.id - 1) FROM x")
    #expect(failed.last?.hasPrefix("ERROR 22012") == true)
    _ = session.lines("ROLLBACK TO s; UPDATE t SET name = 'w' WHERE id = 3")
    #expect(session.lines("SELECT name FROM t ORDER BY id").suffix(3) == ["a", "b", "w"])
    #expect(session.lines("COMMIT; SELECT name FROM t WHERE id = 3").last == "w")
  }
}
