import SQL
import Simulation
import Testing

/// Joins, groupings and the removal of duplicates give the same rows with little memory as with much.
@Suite struct SpillingTests {
  private static let setup = """
    CREATE TABLE a (id int PRIMARY KEY, k int, g int, v text, n numeric);
    CREATE TABLE b (id int PRIMARY KEY, k int, w text);
    INSERT INTO a SELECT i, CASE WHEN i % 11 = 0 THEN NULL ELSE i * 7919 % 3000 END, i % 13,
      CASE WHEN i % 17 = 0 THEN NULL ELSE repeat(chr(97 + i % 26), i % 90) || i % 700 END, i % 500 * 1.5
      FROM generate_series(1, 4000) i;
    INSERT INTO b SELECT i, CASE WHEN i % 7 = 0 THEN NULL ELSE i % 2500 END, 'w' || i FROM generate_series(1, 3000) i;
    """

  /// The same over tables of which most rows have one key: no partition can be divided.
  private static let skew = "UPDATE a SET k = 5 WHERE id % 10 <> 0; UPDATE b SET k = 5 WHERE id % 50 = 0"

  static let queries = [
    "SELECT a.id, a.v, b.w FROM a JOIN b ON a.k = b.k AND b.id < a.id + 100000",
    "SELECT a.id, b.w FROM a LEFT JOIN b ON a.k = b.k AND a.id % 3 = b.id % 3",
    "SELECT a.id, b.id FROM a FULL JOIN b ON a.k = b.k",
    "SELECT id, v FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.id % 2 = a.id % 2)",
    "SELECT id, v FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
    // The side that is kept is the one of which most rows may have one key.
    "SELECT b.id, a.v FROM b LEFT JOIN a ON b.k = a.k AND a.id % 100 < b.id % 3",
    "SELECT b.id, a.id FROM b FULL JOIN a ON b.k = a.k AND a.id % 100 < b.id % 3",
    "SELECT id FROM b WHERE EXISTS (SELECT 1 FROM a WHERE a.k = b.k AND a.id % 100 < b.id % 3)",
    "SELECT id FROM b WHERE NOT EXISTS (SELECT 1 FROM a WHERE a.k = b.k AND a.id % 100 < b.id % 3)",
    "SELECT k, count(*), sum(id), min(v), max(n), avg(n) FROM a GROUP BY k",
    "SELECT v, g, count(*), count(k), sum(n), string_agg(id::text, ',' ORDER BY id) FROM a GROUP BY v, g",
    "SELECT v, count(DISTINCT k), count(DISTINCT n), array_agg(DISTINCT g ORDER BY g) FROM a GROUP BY v",
    "SELECT g, count(DISTINCT v), count(DISTINCT k), string_agg(DISTINCT v, ',' ORDER BY v DESC) FROM a GROUP BY g",
    "SELECT count(DISTINCT v), count(DISTINCT k || '/' || id), sum(DISTINCT n), array_agg(id ORDER BY v, id) FROM a",
    "SELECT k, g, grouping(k, g), count(*), sum(n) FROM a GROUP BY ROLLUP (k, g)",
    "SELECT v, n, count(*) FROM a GROUP BY GROUPING SETS ((v), (n), ()) HAVING count(*) > 1",
    "SELECT DISTINCT v, n FROM a", "SELECT DISTINCT lower(v) || 'x', k IS NULL FROM a",
    "SELECT count(*) FROM (SELECT DISTINCT ON (v) v, g FROM a) x",
    "SELECT v FROM a UNION SELECT w FROM b", "SELECT k FROM a UNION SELECT k FROM b UNION SELECT g FROM a",
    "SELECT v FROM a INTERSECT SELECT v FROM a WHERE id % 3 = 0", "SELECT id FROM a EXCEPT SELECT k FROM b",
    "SELECT k FROM a EXCEPT ALL SELECT k FROM b", "SELECT k, g FROM a INTERSECT ALL SELECT k, id % 13 FROM b",
    "SELECT x.k, x.c, y.w FROM (SELECT k, count(*) AS c FROM a GROUP BY k) x JOIN b y ON y.k = x.k ORDER BY y.w, x.c",
    "WITH w AS MATERIALIZED (SELECT * FROM a) SELECT p.id, q.v FROM w p JOIN w q ON p.id = q.id + 1",
    "SELECT a.id, (SELECT count(*) FROM b WHERE b.k = a.k) FROM a WHERE a.id < 40",
    "SELECT x.id, y.id FROM (SELECT * FROM a WHERE id < 30) x JOIN b y ON x.k > y.k AND x.id <> y.id",
  ]

  private func start(_ disk: SimulatedDisk, skewed: Bool) throws -> (TestSQL, SQLSession, SQLSession) {
    let sql = try TestSQL(disk: disk)
    let plenty = sql.session()
    for line in plenty.lines(Self.setup + (skewed ? Self.skew : "")) {
      if line.hasPrefix("ERROR") { Issue.record("\(line)") }
    }
    let little = sql.session()
    _ = little.lines("SET work_mem = '64kB'")
    return (sql, plenty, little)
  }

  private static func files(_ disk: SimulatedDisk) throws -> [String] {
    try disk.list("/db").filter { $0.hasSuffix(".tmp") }
  }

  @Test(arguments: [false, true])
  func littleMemoryGivesTheSameRows(skewed: Bool) throws {
    let disk = SimulatedDisk(seed: 1)
    let (_, plenty, little) = try start(disk, skewed: skewed)
    for query in Self.queries {
      // Every row of the one key joins with every other: too many to compare.
      let query = skewed ? query.replacing("b ON a.k = b.k", with: "b ON a.k = b.k AND b.id % 600 = 0") : query
      let expected = plenty.lines(query)
      let given = little.lines(query)
      #expect(expected.count > 1, "\(query): \(expected)")
      #expect(given.sorted() == expected.sorted(), "\(query)")
      #expect(try Self.files(disk) == [], "\(query)")
    }
  }

  @Test func explainTellsWhatWentToDisk() throws {
    let (_, _, little) = try start(SimulatedDisk(seed: 1), skewed: false)
    func plan(_ query: String) -> String { little.lines("EXPLAIN ANALYZE \(query)").joined(separator: "\n") }
    #expect(plan("SELECT * FROM a JOIN b ON a.k = b.k").contains("Disk Usage: "))
    #expect(plan("SELECT v, count(*) FROM a GROUP BY v").contains("Disk Usage: "))
    #expect(plan("SELECT DISTINCT v FROM a").contains("Disk Usage: "))
    #expect(plan("SELECT v FROM a ORDER BY v").contains("Sort Method: external merge  Disk: "))
    #expect(plan("SELECT id FROM b WHERE id < 9 ORDER BY w").contains("Sort Method: quicksort  Memory: "))
  }

  @Test(arguments: ["a JOIN b ON a.k = b.k", "(SELECT DISTINCT v FROM a) x", "(SELECT v FROM a GROUP BY v) x"])
  func filesGoAfterAnErrorAndObeyTheirLimit(source: String) throws {
    let disk = SimulatedDisk(seed: 1)
    let (_, _, little) = try start(disk, skewed: false)
    let column = source.hasPrefix("a") ? "a.v" : "x.v"
    #expect(little.lines("SELECT 1 / (length(\(column)) - 40) FROM \(source)").last?.contains("22012") ?? false)
    #expect(try Self.files(disk) == [])
    _ = little.lines("SET temp_file_limit = '8kB'")
    #expect(little.lines("SELECT count(*) FROM \(source)").last?.contains("53400") ?? false)
    #expect(try Self.files(disk) == [])
  }
}
