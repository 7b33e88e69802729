import ArgumentParser
import Foundation
import Histogram
internal import Platform
internal import Synod

/// `synod bench scan`: ordered scans of keys and values, and queries that read a whole table.
struct BenchScan: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scan",
    abstract: "Ordered scans, and queries over a whole table: filter, group, join, sort.",
    discussion: "Loads the rows on the first run (tables and a key range of its own) and keeps them.")

  @Option(help: "The database; made if it is not there.")
  var path: String

  @Option(help: "Rows of the large table, and keys of the range.")
  var rows = 1_000_000

  @Option(help: "Runs of each; the fastest is shown.")
  var runs = 3

  @Option(help: "Only what contains this in its name.")
  var only: String?

  @Flag(help: "One JSON object instead of text.")
  var json = false

  func validate() throws {
    guard (1000...100_000_000).contains(rows) else { throw ValidationError("--rows must be 1000 to 100000000") }
    guard (1...1000).contains(runs) else { throw ValidationError("--runs must be 1 to 1000") }
  }

  private static let queries = [
    ("sql_count", "SELECT count(*) FROM synod_bench_scan"),
    ("sql_rows", "SELECT id, grp, amount, name FROM synod_bench_scan"),
    ("sql_filter_sum", "SELECT sum(amount) FROM synod_bench_scan WHERE grp < 500"),
    ("sql_group", "SELECT grp, count(*), sum(amount) FROM synod_bench_scan GROUP BY grp"),
    (
      "sql_join",
      "SELECT count(*), sum(s.amount) FROM synod_bench_scan s JOIN synod_bench_side d ON d.id = s.side WHERE d.flag"
    ),
    ("sql_top", "SELECT id, amount FROM synod_bench_scan ORDER BY amount DESC, id LIMIT 100"),
  ]

  func run() throws {
    let database = try openForBench(path)
    defer { try? database.close() }
    try load(database)
    let session = try database.makeSession()
    var results: [(name: String, milliseconds: Double)] = []
    for (name, reverse) in [("keys_forward", false), ("keys_backward", true)] where isWanted(name) {
      try results.append((name, fastest { try scan(database, reverse: reverse) }))
    }
    for (name, text) in BenchScan.queries where isWanted(name) {
      let sink = CountingHandler()
      try results.append((name, fastest { try session.execute(text, into: sink) }))
      guard sink.rows > 0 else { throw CommandFailure("a query gave no rows: \(text)") }
    }
    if json {
      var object: [String: Any] = ["rows": rows]
      for (name, time) in results {
        object[name] = ["ms": rounded(time), "rows_per_second": rounded(Double(rows) / time * 1e3, 0)]
      }
      return try printJSON(object)
    }
    for (name, time) in results {
      print(
        "\(name.padding(toLength: 16, withPad: " ", startingAt: 0)) \(rounded(time)) ms, "
          + "\(rounded(Double(rows) / time / 1e3)) million rows a second")
    }
  }

  private func isWanted(_ name: String) -> Bool { only.map { name.contains($0) } ?? true }

  /// Milliseconds of the fastest run.
  private func fastest(_ body: () throws -> Void) throws -> Double {
    let clock = LinuxClock()
    var best = UInt64.max
    for _ in 0..<runs {
      let start = clock.bootNanoseconds
      try body()
      best = min(best, clock.bootNanoseconds - start)
    }
    return Double(best) / 1e6
  }

  private func scan(_ database: Database, reverse: Bool) throws {
    var seen = 0
    try database.transaction(isReadOnly: true) { transaction in
      seen = 0
      try transaction.forEach(from: Array("c".utf8), to: Array("d".utf8), reverse: reverse) { _, _ in
        seen += 1
        return true
      }
    }
    guard seen == rows else { throw CommandFailure("\(seen) keys were found, not \(rows)") }
  }

  private func load(_ database: Database) throws {
    var key = [UInt8](repeating: 0x63, count: 16)
    func fill(_ index: Int) {
      for byte in 0..<8 { key[8 + byte] = UInt8(truncatingIfNeeded: index >> (56 - 8 * byte)) }
    }
    let value = [UInt8](repeating: 0x76, count: 100)
    fill(rows - 1)
    if try database.get(key) == nil {
      for start in stride(from: 0, to: rows, by: 10_000) {
        try database.transaction { transaction in
          for index in start..<min(rows, start + 10_000) {
            fill(index)
            try transaction.put(key, value)
          }
        }
      }
    }
    try database.execute(
      """
      CREATE TABLE IF NOT EXISTS synod_bench_scan
        (id bigint PRIMARY KEY, grp int NOT NULL, side int NOT NULL, amount bigint NOT NULL, name text NOT NULL);
      CREATE TABLE IF NOT EXISTS synod_bench_side (id int PRIMARY KEY, flag boolean NOT NULL);
      """)
    if try database.query("SELECT 1 FROM synod_bench_side LIMIT 1").isEmpty {
      try database.execute("INSERT INTO synod_bench_side SELECT i, i % 2 = 0 FROM generate_series(0, 99999) AS i")
    }
    let present = try database.query("SELECT max(id) FROM synod_bench_scan").first?[0].int ?? -1
    for start in stride(from: Int(present) + 1, to: rows, by: 50_000) {
      try database.execute(
        """
        INSERT INTO synod_bench_scan SELECT i, i % 1000, i * 7919 % 100000, i * 104729 % 1000003, 'row ' || i
          FROM generate_series($1::bigint, $2::bigint) AS i
        """, start, min(rows, start + 50_000) - 1)
    }
    try database.execute("ANALYZE")
  }
}

/// Takes rows and forgets them.
private final class CountingHandler: ResultHandler {
  var rows = 0
  func columns(_ columns: [Column]) {}
  func row(_ fields: [String?]) { rows += 1 }
  func completed(_ tag: String) {}
  func notice(_ severity: String, _ notice: DatabaseError) {}
  func copyOut(_ bytes: [UInt8]) {}
  func copyIn() throws(DatabaseError) -> [UInt8]? { nil }
}
