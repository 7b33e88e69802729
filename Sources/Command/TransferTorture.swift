import ArgumentParser
import Foundation

/// `synod torture-transfer`: hands leadership over under load, again and again, and counts what clients notice.
///
/// Each client keeps one connection to one node for the whole run and runs transactions of pgbench's kind: three updates, a
/// select, an insert. Nothing is tried again: a transaction that fails, or a connection that breaks, is a failure of the
/// transfer. In the end the three sums must be equal, as in TPC-B. The pause is the longest time during which nobody's
/// transaction was acknowledged, around each transfer.
struct TransferTorture: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "torture-transfer",
    abstract: "Hand leadership over again and again under load; no transaction may fail.")

  @Option(help: "How many nodes.")
  var nodes = 3
  @Option(help: "How many times leadership is handed over.")
  var transfers = 20
  @Option(help: "Clients that write at the same time.")
  var clients = 8
  @Option(help: ArgumentHelp("Load between two transfers.", valueName: "milliseconds"))
  var pause = 300
  @Flag(help: "Stop the leader with SIGTERM and start it again; only clients of the other nodes are counted.")
  var restart = false

  func run() throws {
    signal(SIGPIPE, SIG_IGN)
    let directory = NSTemporaryDirectory() + "synod-transfer-\(getpid())"
    let cluster = try ClusterProcesses(directory: directory, count: nodes, extra: ["--log-level", "notice"])
    defer {
      cluster.stopAll()
      try? FileManager.default.removeItem(atPath: directory)
    }
    for node in cluster.nodes { try cluster.start(node.index) }
    guard let first = cluster.awaitLeader(seconds: 30) else { throw CommandFailure("no leader after 30 s") }
    for node in cluster.nodes where !cluster.awaitReady(node.index, seconds: 30) {
      throw CommandFailure("node \(node.index) is not ready after 30 s")
    }
    let setup = try PlainClient(host: "127.0.0.1", port: first.sqlPort)
    _ = try setup.query(
      """
      CREATE TABLE branches (id int PRIMARY KEY, balance int NOT NULL); CREATE TABLE tellers (id int PRIMARY KEY,
      balance int NOT NULL); CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
      CREATE TABLE history (account int, delta int, client int)
      """)
    _ = try setup.query(
      """
      INSERT INTO branches SELECT g, 0 FROM generate_series(0, 9) g; INSERT INTO tellers SELECT g, 0 FROM
      generate_series(0, 99) g; INSERT INTO accounts SELECT g, 0 FROM generate_series(0, 9999) g
      """)
    setup.close()
    let record = TransferRecord()
    var pauses: [Double] = []
    let threads = (0..<clients).map { client in
      let thread = Thread { Self.load(client, cluster, record, avoidsLeader: restart) }
      thread.start()
      return thread
    }
    usleep(500_000)
    for _ in 0..<transfers {
      usleep(UInt32(pause) * 1000)
      guard let leader = cluster.awaitLeader(seconds: 30) else { throw CommandFailure("no leader") }
      let start = Date()
      if restart {
        record.avoid(leader.index)
        cluster.signal(leader.index, SIGTERM)
        try cluster.start(leader.index)
        guard cluster.awaitReady(leader.index, seconds: 60) else {
          throw CommandFailure("node \(leader.index) is lost")
        }
      } else {
        do {
          let client = try PlainClient(host: "127.0.0.1", port: leader.sqlPort)
          _ = try client.query("SELECT synod_transfer_leadership()")
        } catch { record.fail("transfer: \(error)") }
      }
      usleep(200_000)
      pauses.append(record.longestPause(from: start.addingTimeInterval(-0.05), to: Date()) * 1000)
    }
    record.stop()
    for thread in threads { while !thread.isFinished { usleep(2_000) } }
    try check(cluster, record)
    let sorted = pauses.sorted()
    let (committed, failures) = record.result
    say(
      """
      \(transfers) transfers, \(committed) transactions, \(failures.count) failed; pause p50 \
      \(Self.round(sorted[sorted.count / 2])) ms, max \(Self.round(sorted[sorted.count - 1])) ms
      """)
    for failure in failures.prefix(10) { say("  \(failure)") }
    if !failures.isEmpty { throw ExitCode(1) }
  }

  private static func round(_ value: Double) -> Double { (value * 10).rounded() / 10 }

  private func check(_ cluster: ClusterProcesses, _ record: TransferRecord) throws {
    guard let node = cluster.awaitLeader(seconds: 30) else { throw CommandFailure("no leader at the end") }
    let rows = try PlainClient(host: "127.0.0.1", port: node.sqlPort).query(
      """
      SELECT (SELECT sum(balance) FROM branches), (SELECT sum(balance) FROM tellers), (SELECT sum(balance) FROM accounts),
      (SELECT sum(delta) FROM history), (SELECT count(*) FROM history)
      """)
    let values = rows[0].map { $0 ?? "" }
    guard Set(values[..<4]).count == 1 else { throw CommandFailure("the sums differ: \(values)") }
    let (committed, failures) = record.result
    guard values[4] == "\(committed)" || !failures.isEmpty else {
      throw CommandFailure("\(committed) transactions were acknowledged, \(values[4]) are there")
    }
  }

  private static func load(
    _ client: Int, _ cluster: ClusterProcesses, _ record: TransferRecord, avoidsLeader: Bool
  ) {
    var random = SystemRandomNumberGenerator()
    var connection: PlainClient?
    var node = cluster.nodes[client % cluster.nodes.count]
    while !record.isStopped {
      if avoidsLeader, record.isAvoided(node.index) {
        // This client's own node stops; its session cannot go on.
        connection?.close()
        connection = nil
        node = cluster.nodes.filter { !record.isAvoided($0.index) }.randomElement(using: &random) ?? node
      }
      do {
        if connection == nil {
          connection = try PlainClient(host: "127.0.0.1", port: node.sqlPort, timeoutSeconds: 20)
          _ = try connection?.query(
            "SET application_name = 'client \(client)'; PREPARE find AS SELECT balance FROM accounts WHERE id = $1")
        }
        guard let connection else { continue }
        let account = Int.random(in: 0...9999, using: &random)
        let delta = Int.random(in: -500...500, using: &random)
        guard try connection.query("BEGIN").isEmpty else { throw CommandFailure("BEGIN was answered with rows") }
        _ = try connection.query("UPDATE accounts SET balance = balance + \(delta) WHERE id = \(account)")
        let found = try connection.query("EXECUTE find(\(account))")
        if found.count != 1 { record.fail("a session lost its prepared statement: \(found)") }
        _ = try connection.query("UPDATE tellers SET balance = balance + \(delta) WHERE id = \(account % 100)")
        _ = try connection.query("UPDATE branches SET balance = balance + \(delta) WHERE id = \(account % 10)")
        _ = try connection.query("INSERT INTO history VALUES (\(account), \(delta), \(client))")
        _ = try connection.query("COMMIT")
        record.committed()
        if Int.random(in: 0...50, using: &random) == 0 {
          let name = try connection.query("SHOW application_name")
          if name != [["client \(client)"]] { record.fail("a session lost its settings: \(name)") }
        }
      } catch {
        if !(avoidsLeader && record.isAvoided(node.index)) {
          record.fail("client \(client) of node \(node.index): \(error)")
        }
        connection?.close()
        connection = nil
        usleep(5_000)
      }
    }
  }
}

/// What the clients of a transfer trial were told.
///
/// `@unchecked Sendable`: everything is behind the lock.
final class TransferRecord: @unchecked Sendable {
  private let lock = NSLock()
  private var times: [Date] = []
  private var failures: [String] = []
  private var stopped = false
  private var avoided = 0

  func committed() { lock.withLock { times.append(Date()) } }
  func fail(_ text: String) { lock.withLock { failures.append(text) } }
  func stop() { lock.withLock { stopped = true } }
  var isStopped: Bool { lock.withLock { stopped } }
  func avoid(_ node: Int) { lock.withLock { avoided = node } }
  func isAvoided(_ node: Int) -> Bool { lock.withLock { avoided == node } }
  var result: (Int, [String]) { lock.withLock { (times.count, failures) } }

  /// The longest time between two acknowledgements.
  func longestPause(from start: Date, to end: Date) -> Double {
    let inside = lock.withLock { times.filter { $0 >= start && $0 <= end } }.sorted()
    let all = [start] + inside + [end]
    return zip(all, all.dropFirst()).map { $1.timeIntervalSince($0) }.max() ?? 0
  }
}
