import ArgumentParser
import Foundation
import Histogram
internal import Platform
internal import Synod

/// `synod bench tpcb`: pgbench's default transaction, prepared, in this process.
struct BenchTPCB: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tpcb",
    abstract: "pgbench's TPC-B-like transaction as prepared statements, with the time of each statement.",
    discussion: """
      Makes pgbench's tables (the names and columns of pgbench -i) on the first run. Each transaction updates an account, \
      reads it, updates a teller and a branch, and inserts into the history; a serialization failure or deadlock runs it \
      again.
      """)

  @Option(help: "The database; made if it is not there.")
  var path: String

  @Option(help: "Concurrent clients.")
  var clients = 1

  @Option(help: "Branches; 100000 accounts each.")
  var scale = 10

  @Option(help: "Isolation level: rc, rr or ser.")
  var isolation = "rc"

  @Option(help: "How long to measure.")
  var seconds = 5.0

  @Flag(name: .customLong("no-sync"), help: "Acknowledge before the log is durable (synchronous_commit = off).")
  var noSync = false

  @Flag(help: "One JSON object instead of text.")
  var json = false

  func validate() throws {
    guard (1...4096).contains(clients) else { throw ValidationError("--clients must be 1 to 4096") }
    guard (1...1000).contains(scale) else { throw ValidationError("--scale must be 1 to 1000") }
    guard seconds > 0, seconds <= 86_400 else {
      throw ValidationError("--seconds must be more than 0 and at most a day")
    }
    guard IsolationLevel(name: isolation) != nil else { throw ValidationError("--isolation must be rc, rr or ser") }
  }

  func run() throws {
    let database = try openForBench(path)
    defer { try? database.close() }
    try load(database)
    let level = IsolationLevel(name: isolation)!
    let times = StatementTimes()
    let measured = try measure(clients: clients, seconds: seconds) { client in
      let session = try database.makeSession()
      session.isolation = level
      if noSync { try session.execute("SET synchronous_commit = off") }
      let work = try TPCBClient(session, scale: scale, seed: UInt64(client))
      return { _ in
        let retries = try work.run()
        if work.transactions & 0xff == 0 { times.add(&work.times) }
        return retries
      }
    }
    try check(database)
    try report(measured, times.total, level)
  }

  /// The tables of `pgbench -i`, in one transaction each.
  private func load(_ database: Database) throws {
    try database.execute(
      """
      CREATE TABLE IF NOT EXISTS pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
      CREATE TABLE IF NOT EXISTS pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
      CREATE TABLE IF NOT EXISTS pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
      CREATE TABLE IF NOT EXISTS pgbench_history
        (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
      """)
    for branch in 1...scale {
      guard try database.query("SELECT 1 FROM pgbench_branches WHERE bid = $1", branch).isEmpty else { continue }
      try database.transaction { transaction in
        try transaction.execute("INSERT INTO pgbench_branches VALUES ($1, 0, '')", branch)
        try transaction.execute(
          "INSERT INTO pgbench_tellers SELECT i, $1, 0, '' FROM generate_series(($1 - 1) * 10 + 1, $1 * 10) AS i",
          branch)
        try transaction.execute(
          """
          INSERT INTO pgbench_accounts
            SELECT i, $1, 0, '' FROM generate_series(($1 - 1) * 100000 + 1, $1 * 100000) AS i
          """, branch)
      }
    }
  }

  /// What TPC-B asks of any run: the money of branches, tellers, accounts and history is the same.
  private func check(_ database: Database) throws {
    let sums = try database.query(
      """
      SELECT (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers),
        (SELECT sum(abalance) FROM pgbench_accounts), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
      """)
    let values = sums.first.map { row in (0..<4).map { row[$0].text ?? "" } } ?? []
    guard Set(values).count == 1 else { throw CommandFailure("the balances do not add up: \(values)") }
  }

  private func report(_ measured: Measurement, _ times: [UInt64], _ level: IsolationLevel) throws {
    let count = Double(max(1, times[0]))
    let each = TPCBClient.names.enumerated().map { ($1, rounded(Double(times[$0 + 1]) / 1e3 / count)) }
    if json {
      try printJSON([
        "clients": clients, "scale": scale, "isolation": level.abbreviation, "seconds": rounded(measured.seconds),
        "transactions": measured.operations, "transactions_per_second": rounded(measured.perSecond, 1),
        "retries": measured.retries,
        "retries_per_commit": rounded(Double(measured.retries) / Double(max(1, measured.operations)), 3),
        "latency_us": latencyObject(measured.latencies),
        "statement_us": Dictionary(uniqueKeysWithValues: each),
        "cpu_us_per_transaction": rounded(measured.processorMicrosecondsPerOperation), "durable": !noSync,
      ])
      return
    }
    print(
      """
      transactions  \(measured.operations) by \(clients) client\(clients == 1 ? "" : "s") in \(rounded(measured.seconds)) s: \
      \(Int(measured.perSecond)) a second\(noSync ? " (not durable)" : ""), \(measured.retries) retries
      latency       p50 \(microseconds(measured.latencies.valueAtPercentile(50))) µs · p99 \
      \(microseconds(measured.latencies.valueAtPercentile(99))) µs · max \(microseconds(measured.latencies.maxRecorded)) µs
      statements    \(each.map { "\($0) \($1)" }.joined(separator: " · ")) µs
      cost          \(rounded(measured.processorMicrosecondsPerOperation)) µs of processor per transaction
      """)
  }
}

/// Sums of nanoseconds by statement, over all clients; first the number of transactions.
///
/// `@unchecked Sendable`: clients add under the lock, and `total` is read when they have ended.
private final class StatementTimes: @unchecked Sendable {
  private let lock = NSLock()
  private(set) var total = [UInt64](repeating: 0, count: TPCBClient.names.count + 1)

  func add(_ times: inout [UInt64]) {
    lock.withLock { for index in times.indices { total[index] += times[index] } }
    for index in times.indices { times[index] = 0 }
  }
}

/// One client of the TPC-B-like workload.
private final class TPCBClient {
  static let names = ["begin", "update_account", "select", "update_teller", "update_branch", "insert", "commit"]
  private static let texts = [
    "BEGIN", "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2",
    "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
    "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
    "UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2",
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)", "COMMIT",
  ]
  private let session: Session
  private let scale: UInt64
  private let statements: [Statement]
  private var state: UInt64
  private let clock = LinuxClock()
  private(set) var transactions = 0
  var times = [UInt64](repeating: 0, count: names.count + 1)

  init(_ session: Session, scale: Int, seed: UInt64) throws {
    self.session = session
    self.scale = UInt64(scale)
    state = (seed &+ 1) &* 0x9e37_79b9_7f4a_7c15 | 1
    statements = try TPCBClient.texts.map { try session.prepare($0) }
  }

  private func next(_ bound: UInt64) -> Int64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return Int64((state >> 11) % bound)
  }

  /// One transaction; returns how often it was run again.
  func run() throws -> UInt64 {
    let account = next(100_000 * scale) + 1
    let branch = next(scale) + 1
    let teller = next(10 * scale) + 1
    let delta = next(10_001) - 5000
    var retries: UInt64 = 0
    while true {
      do {
        try attempt(account: account, branch: branch, teller: teller, delta: delta)
        transactions += 1
        times[0] += 1
        return retries
      } catch let error as DatabaseError where error.isRetryable {
        if session.transactionState != .idle { try session.execute("ROLLBACK") }
        retries += 1
      }
    }
  }

  private func attempt(account: Int64, branch: Int64, teller: Int64, delta: Int64) throws {
    let parameters: [[SQLValue]] = [
      [], [.int(delta), .int(account)], [.int(account)], [.int(delta), .int(teller)], [.int(delta), .int(branch)],
      [.int(teller), .int(branch), .int(account), .int(delta)], [],
    ]
    var began = clock.bootNanoseconds
    for index in statements.indices {
      try statements[index].run(parameters[index])
      let now = clock.bootNanoseconds
      times[index + 1] += now - began
      began = now
    }
  }
}
