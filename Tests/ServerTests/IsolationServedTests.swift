import Foundation
import Server
import Synod
import Testing
import Transactions

/// What serializable transactions wait for, and what they leave behind, with a server's loops below them.
@Suite struct IsolationServedTests {
  /// Says `sql` to `client`, which has to wait, and returns when another session of the same loop has seen it wait.
  private func wait(_ client: BlockingClient, _ pid: String, _ sql: String, seenBy other: BlockingClient) throws {
    try client.send(sql)
    let deadline = ContinuousClock.now + .seconds(15)
    while try other.run("SELECT 1 FROM pg_stat_activity WHERE pid = \(pid) AND wait_event_type IN ('Lock', 'IPC')")
      .isEmpty
    {
      try #require(ContinuousClock.now < deadline, "nobody saw it wait")
      sched_yield()
    }
  }

  /// A DEFERRABLE transaction waits for a safe snapshot; the sessions that share its loop go on.
  @Test func deferrableHoldsNobodyUp() throws {
    let server = try RunningServer(loops: 1)
    let (writer, reader, other) = (
      try BlockingClient(server.port), try BlockingClient(server.port), try BlockingClient(server.port)
    )
    try other.run("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)")
    try writer.run("BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE t SET v = 1")
    // Makes the writer's snapshot older than the reader's.
    try other.run("INSERT INTO t VALUES (2, 0)")
    let pid = try reader.run("SELECT pg_backend_pid()")[0]
    try reader.run("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE")
    try wait(reader, pid, "SELECT sum(v) FROM t", seenBy: other)
    try other.run("INSERT INTO t VALUES (3, 0)")
    #expect(try other.run("SELECT count(*) FROM t") == ["3"])
    #expect(try writer.run("COMMIT") == ["done"])
    // Which of its snapshots was safe, the one before the writer or one after it, is the system's to choose.
    #expect(["0", "1"].contains(try reader.receive().first))
    try reader.run("COMMIT")
    expectNothingLeft(server)
  }

  /// Who waits for another one's right of way holds up nobody but himself.
  @Test func rightOfWayHoldsReadersUpNotAtAll() throws {
    let server = try RunningServer(loops: 1)
    let (long, short, other) = (
      try BlockingClient(server.port), try BlockingClient(server.port), try BlockingClient(server.port)
    )
    try other.run("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0), (2, 0)")
    try long.run("SET default_transaction_isolation = 'serializable'")
    for _ in 0..<TransactionManagerOptions().rightOfWayAttempts {
      try long.run("BEGIN; SELECT v FROM t WHERE id = 1")
      try other.run("UPDATE t SET v = v + 1 WHERE id = 1")
      #expect(try long.run("UPDATE t SET v = -1 WHERE id = 1").last?.hasPrefix("40001") == true)
      try long.run("ROLLBACK")
    }
    try long.run("BEGIN; SELECT v FROM t WHERE id = 1")
    let pid = try short.run("SELECT pg_backend_pid()")[0]
    try wait(short, pid, "UPDATE t SET v = v + 1 WHERE id = 2", seenBy: other)
    #expect(try other.run("SELECT v FROM t WHERE id = 2") == ["0"])
    #expect(try long.run("UPDATE t SET v = -1 WHERE id = 1") == ["done"])
    #expect(try long.run("COMMIT") == ["done"])
    #expect(try short.receive() == ["done"])
    #expect(try other.run("SELECT id, v FROM t ORDER BY id") == ["1|-1", "2|1"])
    expectNothingLeft(server)
  }

  /// After many serializable transactions that met: no lock, no read, no node of the graph, no snapshot.
  @Test(.enabled(if: Program.find("pgbench") != nil), arguments: ["tpcb-like", "simple-update"])
  func pgbenchLeavesNothing(_ script: String) throws {
    let server = try RunningServer()
    let environment = [
      "PGHOST": "127.0.0.1", "PGPORT": "\(server.port)", "PGUSER": "synod", "PGDATABASE": "synod",
      "PGOPTIONS": "-c default_transaction_isolation=serializable",
    ]
    let pgbench = try #require(Program.find("pgbench"))
    #expect(try Program.run(pgbench, ["-i", "-s", "1", "-q"], environment).status == 0)
    let run = try Program.run(
      pgbench, ["-n", "-b", script, "-M", "prepared", "-c", "16", "-j", "2", "-t", "20", "--max-tries", "1000"],
      environment)
    #expect(run.output.contains("number of failed transactions: 0 (0.000%)"), "\(run.output) \(run.errors)")
    let client = try BlockingClient(server.port)
    #expect(try client.run("SELECT count(*) FROM synod_locks") == ["0"])
    #expect(try client.run("SELECT count(*) FROM pg_locks WHERE NOT granted") == ["0"])
    #expect(try client.run("SELECT count(*) FROM pg_locks WHERE locktype = 'tuple'") == ["0"])
    expectNothingLeft(server)
  }

  private func expectNothingLeft(_ server: RunningServer, _ location: SourceLocation = #_sourceLocation) {
    do {
      let statistics = try server.database.sqlDatabase().manager.statistics
      #expect(statistics.open == 0, "open transactions", sourceLocation: location)
      #expect(statistics.lockedKeys == 0, "locked keys", sourceLocation: location)
      #expect(statistics.waiting == 0, "waiting transactions", sourceLocation: location)
      #expect(statistics.remembered == 0, "remembered transactions", sourceLocation: location)
    } catch { Issue.record("\(error)", sourceLocation: location) }
  }
}
