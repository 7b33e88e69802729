import Platform
import SQL
import Testing

/// Rows come from a scan in batches, but singly where the transaction has written in the table itself, and backwards.
/// All ways must give the same answers, and those of an aggregate the same as the rows added up one by one.
@Suite struct BatchScanTests {
  private static let queries = [
    "SELECT count(*), count(b), sum(a), sum(d), min(a), max(b), avg(a), min(d), max(c) FROM t",
    "SELECT count(*), sum(a), max(d) FROM t WHERE a > 20 AND b < 70",
    "SELECT b % 7, count(*), sum(a), avg(d), min(b) FROM t GROUP BY 1 ORDER BY 1",
    "SELECT c, count(DISTINCT b), sum(DISTINCT a), array_agg(DISTINCT b) FROM t GROUP BY c ORDER BY c",
    "SELECT count(*) FILTER (WHERE a > 50), sum(a + b) FROM t",
    "SELECT id, a, c FROM t WHERE id BETWEEN 100 AND 900 ORDER BY id",
    "SELECT * FROM t ORDER BY id LIMIT 7",
    "SELECT * FROM t ORDER BY d DESC NULLS LAST, id LIMIT 9",
    "SELECT id FROM t WHERE b = 13 ORDER BY id",
    "SELECT b, id FROM t WHERE b > 60 ORDER BY b, id LIMIT 300",
    "SELECT x.c, count(*) FROM t x JOIN t y ON y.id = x.a GROUP BY x.c ORDER BY 1",
  ]

  @Test(arguments: [1, 2, 3] as [UInt64])
  func allWaysGiveTheSameRows(_ seed: UInt64) throws {
    var random = SeededRandomness(seed: seed)
    let sql = try TestSQL()
    let session = sql.session()
    _ = session.lines(
      "CREATE TABLE t (id int PRIMARY KEY, a int, b bigint, c text, d float8); CREATE INDEX t_b ON t (b)")
    for _ in 0..<12 {
      let first = random.below(1500)
      let step = random.below(3) + 1
      _ = session.lines(
        """
        INSERT INTO t SELECT g, nullif(g * \(random.below(90) + 7) % 100, 3), g * 31 % 97, 'c' || g % 5, g * 0.25
        FROM generate_series(\(first), \(first + random.below(700)), \(step)) g ON CONFLICT DO NOTHING
        """)
      _ = session.lines("DELETE FROM t WHERE id % \(random.below(9) + 2) = 0 AND id < \(random.below(1500))")
      _ = session.lines("UPDATE t SET a = a + 1, b = b * 3 % 89 WHERE id % \(random.below(9) + 2) = 1")
      // Tables of several levels below the memtable.
      if random.oneIn(2) { try sql.engine.flush() }
    }
    // What the answers are when every row is asked for by its key.
    let ids = session.lines("SELECT id FROM t ORDER BY id DESC").dropFirst()
    #expect(session.lines("SELECT id FROM t ORDER BY id").dropFirst().reversed().elementsEqual(ids))
    #expect(session.lines("SELECT count(*) FROM t").last == "\(ids.count)")
    let inBatches = Self.queries.map { session.lines($0) }
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
      _ = session.lines("BEGIN ISOLATION LEVEL \(level)")
      #expect(Self.queries.map { session.lines($0) } == inBatches, "\(level), seed \(seed)")
      // From here on the rows are merged with the transaction's own.
      _ = session.lines("INSERT INTO t VALUES (-5, 1, 1, 'c1', 1), (5000, 1, 1, 'c1', 1)")
      _ = session.lines("DELETE FROM t WHERE id IN (-5, 5000)")
      #expect(Self.queries.map { session.lines($0) } == inBatches, "\(level), own writes, seed \(seed)")
      _ = session.lines("ROLLBACK")
    }
    // An index built over the rows, in the order of its keys, finds what the scan finds.
    _ = session.lines("DROP INDEX t_b; CREATE INDEX t_b ON t (b); CREATE INDEX t_cd ON t (c, d DESC)")
    #expect(Self.queries.map { session.lines($0) } == inBatches, "new indexes, seed \(seed)")
    #expect(session.lines("CREATE UNIQUE INDEX t_u ON t (b)").contains { $0.contains("is duplicated") })
    #expect(session.lines("CREATE UNIQUE INDEX t_u ON t (b, id)") == ["CREATE INDEX"])
  }
}
