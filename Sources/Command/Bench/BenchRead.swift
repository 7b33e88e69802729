import ArgumentParser
import Foundation
import Histogram
internal import Synod

/// `synod bench read`: random point reads, by key and by prepared SELECT, over rows that the run loads itself.
struct BenchRead: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "read",
    abstract: "Random point reads: of the key-value layer, and as prepared SELECTs.",
    discussion: "Loads the rows on the first run (a table and a key range of its own) and keeps them.")

  @Option(help: "The database; made if it is not there.")
  var path: String

  @Option(help: "Concurrent clients.")
  var clients = 1

  @Option(help: "Rows to read from.")
  var rows = 1_000_000

  @Option(help: "How long to measure each way.")
  var seconds = 5.0

  @Flag(name: .customLong("sql"), help: "Only the prepared SELECTs.")
  var onlySQL = false

  @Flag(help: "One JSON object instead of text.")
  var json = false

  func validate() throws {
    guard (1...4096).contains(clients) else { throw ValidationError("--clients must be 1 to 4096") }
    guard (1...100_000_000).contains(rows) else { throw ValidationError("--rows must be 1 to 100000000") }
    guard seconds > 0, seconds <= 86_400 else {
      throw ValidationError("--seconds must be more than 0 and at most a day")
    }
  }

  func run() throws {
    let database = try openForBench(path)
    defer { try? database.close() }
    try load(database)
    let count = UInt64(rows)
    let keyValue =
      try onlySQL
      ? nil
      : measure(clients: clients, seconds: seconds) { client in
        var state = UInt64(client) &* 0x9e37_79b9_7f4a_7c15 | 1
        var key = [UInt8](repeating: 0, count: 16)
        return { _ in
          Self.fill(&key, Self.next(&state) % count)
          guard try database.get(key) != nil else { throw CommandFailure("a row that was loaded is not there") }
          return 0
        }
      }
    let sql = try measure(clients: clients, seconds: seconds) { client in
      var state = UInt64(client) &* 0x9e37_79b9_7f4a_7c15 | 1
      let session = try database.makeSession()
      let select = try session.prepare("SELECT value FROM synod_bench_read WHERE id = $1")
      return { _ in
        let found = try select.query(.int(Int64(Self.next(&state) % count)))
        guard found.count == 1 else { throw CommandFailure("a row that was loaded is not there") }
        return 0
      }
    }
    try report(keyValue, sql)
  }

  private static func next(_ state: inout UInt64) -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }

  private static func fill(_ key: inout [UInt8], _ index: UInt64) {
    for byte in 0..<8 {
      key[byte] = 0x62
      key[8 + byte] = UInt8(truncatingIfNeeded: index >> UInt64(56 - 8 * byte))
    }
  }

  private func load(_ database: Database) throws {
    var key = [UInt8](repeating: 0, count: 16)
    let value = [UInt8](repeating: 0x76, count: 100)
    Self.fill(&key, UInt64(rows - 1))
    if try database.get(key) == nil {
      for start in stride(from: 0, to: rows, by: 10_000) {
        try database.transaction { transaction in
          for index in start..<min(rows, start + 10_000) {
            Self.fill(&key, UInt64(index))
            try transaction.put(key, value)
          }
        }
      }
    }
    try database.execute("CREATE TABLE IF NOT EXISTS synod_bench_read (id bigint PRIMARY KEY, value text NOT NULL)")
    let present = try database.query("SELECT max(id) FROM synod_bench_read").first?[0].int ?? -1
    for start in stride(from: Int(present) + 1, to: rows, by: 50_000) {
      try database.execute(
        "INSERT INTO synod_bench_read SELECT i, repeat('v', 100) FROM generate_series($1::bigint, $2::bigint) AS i",
        start, min(rows, start + 50_000) - 1)
    }
  }

  private func report(_ keyValue: Measurement?, _ sql: Measurement) throws {
    if json {
      func object(_ measured: Measurement) -> [String: Any] {
        [
          "reads": measured.operations, "reads_per_second": rounded(measured.perSecond, 1),
          "reads_per_second_per_client": rounded(measured.perSecond / Double(clients), 1),
          "latency_us": latencyObject(measured.latencies),
          "cpu_us_per_read": rounded(measured.processorMicrosecondsPerOperation),
        ]
      }
      var all: [String: Any] = ["clients": clients, "rows": rows, "sql": object(sql)]
      if let keyValue { all["key_value"] = object(keyValue) }
      return try printJSON(all)
    }
    for case (let name, let measured?) in [("key-value", keyValue), ("SQL", sql)] {
      print(
        """
        \(name.padding(toLength: 10, withPad: " ", startingAt: 0)) \(Int(measured.perSecond)) reads a second by \(clients) \
        client\(clients == 1 ? "" : "s"), p50 \(microseconds(measured.latencies.valueAtPercentile(50))) µs, \
        p99 \(microseconds(measured.latencies.valueAtPercentile(99))) µs, \
        \(rounded(measured.processorMicrosecondsPerOperation)) µs of processor each
        """)
    }
  }
}
