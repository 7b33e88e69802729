import Platform
import SQL
import Testing

/// A prepared statement keeps its plan, formats and the catalog that it was planned for. Whatever settings, definitions and
/// transactions come between its runs, it says what the same text says that is run for the first time.
@Suite struct PreparedCacheTests {
  private static let statements = [
    "SELECT a, b FROM t WHERE id = 3", "SELECT * FROM t WHERE id = 4", "SELECT count(*), max(b) FROM t",
    "SELECT at FROM moments WHERE id = 1", "SELECT at::text, now() = transaction_timestamp() FROM moments WHERE id = 2",
    "SELECT f FROM moments WHERE id = 1", "SELECT x FROM u WHERE id = 5", "SELECT 'u'::regclass",
    "UPDATE t SET b = b + 1 WHERE id = 3 RETURNING b > 0", "SELECT current_schema()",
  ]

  private func step(_ random: inout SeededRandomness, _ session: SQLSession, _ other: SQLSession, _ round: Int) {
    switch random.below(16) {
    case 0: _ = session.lines("SET search_path = \(random.oneIn(2) ? "one, public" : "two, public")")
    case 1: _ = session.lines("SET TimeZone = '\(random.oneIn(2) ? "Europe/Berlin" : "UTC")'")
    case 2: _ = session.lines("SET extra_float_digits = \(random.oneIn(2) ? 1 : -10)")
    case 3: _ = session.lines("BEGIN; SET TimeZone = 'America/New_York'; SELECT 1; ROLLBACK")
    case 4: _ = session.lines("BEGIN; SET LOCAL search_path = two; SELECT x FROM u; COMMIT")
    case 5: _ = session.lines("BEGIN\(random.oneIn(2) ? " ISOLATION LEVEL SERIALIZABLE" : "")")
    case 6: _ = session.lines(random.oneIn(2) ? "COMMIT" : "ROLLBACK")
    case 7: _ = session.lines("SAVEPOINT s; SET TimeZone = 'UTC'; ROLLBACK TO s")
    case 8: _ = other.lines("ALTER TABLE t ADD COLUMN c\(round) int DEFAULT \(round)")
    case 9: _ = other.lines("DROP TABLE one.u; CREATE TABLE one.u (id int PRIMARY KEY, x text)")
    case 10: _ = other.lines("INSERT INTO one.u VALUES (5, 'again \(round)') ON CONFLICT DO NOTHING")
    case 11: _ = other.lines("CREATE INDEX i\(round) ON t (b)")
    case 12: _ = other.lines("UPDATE t SET b = \(round) WHERE id = 4")
    case 13: _ = session.lines("BEGIN; ALTER TABLE t ADD COLUMN d\(round) int; SELECT * FROM t WHERE id = 4; ROLLBACK")
    case 14: _ = session.lines("ALTER TABLE t RENAME COLUMN a TO z; ALTER TABLE t RENAME COLUMN z TO a")
    default: _ = other.lines("INSERT INTO t VALUES (\(round + 100), 1, 1)")
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func saysWhatTheTextSays(_ seed: UInt64) throws {
    var random = SeededRandomness(seed: seed)
    let test = try TestSQL()
    let session = test.session()
    let other = test.session()
    _ = other.lines(
      """
      CREATE SCHEMA one; CREATE SCHEMA two;
      CREATE TABLE t (id int PRIMARY KEY, a text, b int);
      INSERT INTO t VALUES (3, 'three', 3), (4, 'four', 4);
      CREATE TABLE one.u (id int PRIMARY KEY, x text); INSERT INTO one.u VALUES (5, 'one');
      CREATE TABLE two.u (id int PRIMARY KEY, x int); INSERT INTO two.u VALUES (5, 2);
      CREATE TABLE moments (id int PRIMARY KEY, at timestamptz, f float8);
      INSERT INTO moments VALUES (1, '2024-07-01 12:00+00', 0.1::float8 + 0.2), (2, '2024-01-01 12:00+00', 1);
      """)
    _ = session.lines("SET lock_timeout = 50; SET search_path = one, public")
    _ = other.lines("SET lock_timeout = 50")
    for (index, text) in Self.statements.enumerated() { try session.prepare("s\(index)", text) }
    var compared = 0
    for round in 0..<200 {
      step(&random, session, other, round)
      let index = random.below(Self.statements.count)
      // Both ways in one state: an UPDATE is taken back in between.
      let isOwn = session.status == .idle
      if isOwn { _ = session.lines("BEGIN") }
      guard session.status == .inBlock else { continue }
      _ = session.lines("SAVEPOINT before")
      let sink = TextSink(session)
      var prepared: [String]
      do {
        try session.execute(try session.bind("", statement: "s\(index)", parameters: []), sink)
        prepared = sink.lines
      } catch {
        prepared = sink.lines + TextSink.text("ERROR", error)
      }
      _ = session.lines("ROLLBACK TO before")
      let text = session.lines(Self.statements[index])
      _ = session.lines("ROLLBACK TO before; RELEASE before")
      #expect(prepared == text, "seed \(seed), round \(round): \(Self.statements[index])")
      compared += 1
      if isOwn { _ = session.lines("COMMIT") }
    }
    #expect(compared > 100)
  }
}
