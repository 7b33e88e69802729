import Foundation
import Platform
import Server
import Synod
import Testing
import Wire

/// A server with sockets, and the clients that people have. Each test is left out where its client is not installed.
@Suite struct EndToEndTests {
  static let psql = Program.find("psql")
  static let pgbench = Program.find("pgbench")
  static let openssl = Program.find("openssl")

  @Test(.enabled(if: psql != nil)) func psqlRunsAScript() throws {
    let server = try RunningServer()
    let result = try server.psql(
      """
      CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(10,2) DEFAULT 0);
      INSERT INTO account SELECT i, 'o' || i, i * 1.5 FROM generate_series(1, 3) i;
      COPY account (id, owner) FROM STDIN;
      10	ten
      11	eleven
      \\.
      SELECT * FROM account WHERE id < 3 ORDER BY id \\gx
      COPY (SELECT id FROM account ORDER BY id) TO STDOUT;
      \\d account
      \\dt
      \\di
      \\du
      \\dn
      \\l
      BEGIN; INSERT INTO account VALUES (1, 'x'); ROLLBACK;
      """)
    #expect(result.output.contains("-[ RECORD 1 ]"))
    #expect(result.output.contains("1\n2\n3\n10\n11\n"))
    #expect(result.output.contains("\"account_pkey\" PRIMARY KEY, btree (id)"))
    #expect(result.output.contains("public | account_pkey | index | synod | account"))
    #expect(result.errors.contains("duplicate key value violates unique constraint \"account_pkey\""))
  }

  @Test(.enabled(if: psql != nil)) func locksAreWaitedForCancelledAndTimedOut() throws {
    let server = try RunningServer()
    _ = try server.psql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0), (2, 0);")
    let holder = try BlockingClient(server.port)
    try holder.run("BEGIN; UPDATE t SET v = 1 WHERE id = 1")
    let waiter = try BlockingClient(server.port)
    try waiter.run("SET lock_timeout = '20ms'")
    #expect(try waiter.run("UPDATE t SET v = 2 WHERE id = 1").last?.contains("55P03") == true)
    try waiter.run("SET lock_timeout = 0; SET statement_timeout = '20ms'")
    #expect(
      try waiter.run("UPDATE t SET v = 2 WHERE id = 1").last?.contains("due to statement timeout") == true)
    try waiter.run("SET statement_timeout = 0")
    try waiter.send("UPDATE t SET v = 2 WHERE id = 1")
    // Others see who waits, and cancel it.
    let other = try BlockingClient(server.port)
    var seen: [String] = []
    while seen.isEmpty {
      seen = try other.run("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'").filter { $0 != "done" }
    }
    #expect(try other.run("SELECT count(*) FROM pg_locks WHERE NOT granted").first == "1")
    #expect(try other.run("SELECT pg_cancel_backend(\(seen[0]))").first == "t")
    #expect(try waiter.receive().last?.contains("57014") == true)
    // A deadlock ends one of the two.
    try waiter.run("BEGIN; UPDATE t SET v = 3 WHERE id = 2")
    try waiter.send("UPDATE t SET v = 3 WHERE id = 1")
    while try other.run("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'").isEmpty {}
    // Whichever of the two it is gives its locks back at once, so that the other goes on.
    let mine = try holder.run("UPDATE t SET v = 4 WHERE id = 2")
    let theirs = try waiter.receive()
    #expect((mine + theirs).filter { $0.contains("40P01") }.count == 1, "\(mine) \(theirs)")
  }

  @Test func manyClientsCommitAtOnce() throws {
    let server = try RunningServer()
    let first = try BlockingClient(server.port)
    try first.run("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE n (id serial PRIMARY KEY, who int)")
    try first.run("INSERT INTO t VALUES (1, 0)")
    let clients = 24
    let rounds = 10
    let threads = (0..<clients).map { who in
      Worker {
        let client = try BlockingClient(server.port)
        for _ in 0..<rounds {
          let lines = try client.run("BEGIN; INSERT INTO n (who) VALUES (\(who)); UPDATE t SET v = v + 1; COMMIT")
          guard lines.allSatisfy({ $0 == "done" }) else { throw ServerError("\(lines)") }
        }
      }
    }
    for thread in threads { try thread.join() }
    #expect(try first.run("SELECT v FROM t").first == "\(clients * rounds)")
    #expect(try first.run("SELECT count(*) FROM n").first == "\(clients * rounds)")
  }

  @Test func aLongStatementStallsNobody() throws {
    let server = try RunningServer(loops: 1)
    let slow = try BlockingClient(server.port)
    try slow.send("SELECT count(*) FROM generate_series(1, 30000000)")
    let quick = try BlockingClient(server.port)
    for number in 1...20 { #expect(try quick.run("SELECT \(number)").first == "\(number)") }
    try quick.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%30000000%'")
    #expect(try slow.receive().last != nil)
  }

  @Test func drainEndsIdleAndLetsStatementsFinish() throws {
    let server = try RunningServer()
    let setup = try BlockingClient(server.port)
    try setup.run("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)")
    let holder = try BlockingClient(server.port)
    try holder.run("BEGIN; UPDATE t SET v = 1")
    let idle = try BlockingClient(server.port)
    let waiter = try BlockingClient(server.port)
    try waiter.send("UPDATE t SET v = v + 10")
    while try setup.run("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'").isEmpty {}
    #expect(server.server.drain(timeoutNanoseconds: 10_000_000_000))
    // The holder was idle in its transaction: it went, so the waiter got its turn and finished.
    #expect(try idle.receive().last?.contains("57P01") == true)
    #expect(try waiter.receive().first == "done")
    #expect(throws: (any Error).self) { try BlockingClient(server.port) }
  }

  @Test(.enabled(if: psql != nil && openssl != nil)) func tlsAndPasswords() throws {
    let server = try RunningServer(tls: true) { $0.authentication = .scram }
    let session = try server.database.makeSession()
    try session.execute("CREATE ROLE app LOGIN PASSWORD 'secret'")
    let place = "host=localhost hostaddr=127.0.0.1 port=\(server.port) dbname=synod user=app"
    let tls = "SELECT ssl, version FROM pg_stat_ssl"
    let whole = "\(place) sslmode=verify-full sslrootcert=\(server.certificate)"
    let right = try server.psql(tls, connection: "\(whole) password=secret")
    #expect(right.output.contains("t|TLSv1.3"), "\(right)")
    let wrong = try server.psql("SELECT 1", connection: "\(whole) password=other")
    #expect(wrong.errors.contains("password authentication failed for user \"app\""))
    let stranger = try server.psql(
      "SELECT 1", connection: whole.replacing("host=localhost", with: "host=elsewhere") + " password=secret")
    #expect(stranger.errors.contains("elsewhere"))
    // The exchange of the password is bound to the certificate, in libpq's way and in ours.
    let bound = try server.psql("SELECT 1", connection: "\(whole) password=secret channel_binding=require")
    #expect(bound.output.contains("1"), "\(bound)")
  }

  @Test(.enabled(if: pgbench != nil)) func pgbenchInEveryMode() throws {
    let server = try RunningServer()
    let environment = [
      "PGHOST": "127.0.0.1", "PGPORT": "\(server.port)", "PGUSER": "synod", "PGDATABASE": "synod",
      "PGOPTIONS": "-c default_transaction_isolation=serializable",
    ]
    let prepared = try Program.run(try #require(Self.pgbench), ["-i", "-s", "1", "-q"], environment)
    #expect(prepared.status == 0, "\(prepared.errors)")
    for mode in ["simple", "extended", "prepared"] {
      let run = try Program.run(
        try #require(Self.pgbench),
        [
          "-n", "-M", mode, "-c", "8", "-j", "2", "-t", "5", "--max-tries", "1000", "-b", "tpcb-like", "-b",
          "select-only",
        ],
        environment)
      #expect(run.status == 0, "\(run.errors)")
      #expect(run.output.contains("number of failed transactions: 0 (0.000%)"))
    }
  }
}
