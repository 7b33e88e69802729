import SQL
import Server
import Testing
import Wire

/// Conversations of a connection with a real session, without sockets.
@Suite struct ConversationTests {
  @Test func simpleQueriesAnswerInOrder() throws {
    let client = try TestServer().client()
    #expect(try client.query("CREATE TABLE t (id int PRIMARY KEY, v text)") == ["done CREATE TABLE", "ready I"])
    #expect(try client.query("INSERT INTO t VALUES (1, 'a'), (2, NULL)") == ["done INSERT 0 2", "ready I"])
    #expect(
      try client.query("SELECT * FROM t ORDER BY id; SELECT 1.50") == [
        "columns id:23 v:25", "row 1|a", "row 2|NULL", "done SELECT 2", "columns ?column?:1700", "row 1.50",
        "done SELECT 1", "ready I",
      ])
    #expect(try client.query("") == ["emptyQuery", "ready I"])
  }

  @Test func startUpTellsParametersAndKey() throws {
    let server = try TestServer()
    let client = TestClient(server.services)
    let lines = client.say {
      $0.startup(
        StartupMessage(parameters: [
          .init("user", "synod"), .init("database", "synod"), .init("application_name", "trial"),
          .init("options", "-c work_mem=1MB --default-transaction-isolation=repeatable\\ read"),
        ]))
    }
    #expect(lines.first == "authentication(Wire.AuthenticationRequest.ok)")
    #expect(lines.contains("parameter application_name=trial"))
    #expect(lines.contains("parameter server_encoding=UTF8"))
    #expect(lines.suffix(2) == ["key", "ready I"])
    #expect(try client.query("SHOW work_mem").contains("row 1MB"))
    #expect(try client.query("SHOW transaction_isolation").contains("row repeatable read"))
    #expect(try client.query("SET work_mem = '2MB'; RESET work_mem; SHOW work_mem").contains("row 1MB"))
  }

  @Test func strangersAreRefused() throws {
    let server = try TestServer()
    func start(_ parameters: [StartupMessage.Parameter]) -> [String] {
      TestClient(server.services).say { $0.startup(StartupMessage(parameters: parameters)) }
    }
    #expect(
      start([.init("user", "nobody"), .init("database", "synod")]) == [
        "error FATAL 28000 role \"nobody\" does not exist"
      ])
    #expect(
      start([.init("user", "synod"), .init("database", "other")]).last
        == "error FATAL 3D000 database \"other\" does not exist")
    #expect(
      start([.init("user", "synod"), .init("database", "synod"), .init("nonsense", "1")]).last
        == "error FATAL 42704 unrecognized configuration parameter \"nonsense\"")
    #expect(
      start([.init("user", "synod"), .init("database", "synod"), .init("replication", "true")]).last?.hasPrefix(
        "error FATAL 0A000") == true)
  }

  @Test func errorsCarryTheirFieldsAndFailTheBlock() throws {
    let client = try TestServer().client()
    _ = try client.query("CREATE TABLE t (id int PRIMARY KEY)")
    #expect(
      try client.query("BEGIN; INSERT INTO t VALUES (1); SELECT 1/0; SELECT 2") == [
        "done BEGIN", "done INSERT 0 1", "error ERROR 22012 division by zero", "ready E",
      ])
    #expect(try client.query("SELECT 1").first?.hasPrefix("error ERROR 25P02") == true)
    #expect(try client.query("COMMIT") == ["done ROLLBACK", "ready I"])
    #expect(try client.query("SELECT count(*) FROM t").contains("row 0"))
    #expect(try client.query("COMMIT").first == "notice WARNING 25P01 there is no transaction in progress")
  }

  @Test func preparedStatementsInBothFormats() throws {
    let client = try TestServer().client()
    _ = try client.query("CREATE TABLE t (id int PRIMARY KEY, v text)")
    let lines = try client.say {
      try $0.parse(ParseMessage(name: "i", query: "INSERT INTO t VALUES ($1, $2)"))
      $0.describe(.statement("i"))
      try $0.bind(portal: "", statement: "i", parameters: [Array("7".utf8), nil])
      $0.execute(portal: "")
      $0.sync()
    }
    #expect(
      lines == [
        "parseComplete", "parameters [23, 25]", "noData", "bindComplete", "done INSERT 0 1", "ready I",
      ])
    let rows = try client.say {
      try $0.parse(ParseMessage(name: "", query: "SELECT id, v, id::int8 FROM t WHERE id = $1"))
      try $0.bind(
        portal: "p", statement: "", parameterFormats: [.binary], parameters: [[0, 0, 0, 7]], resultFormats: [.binary])
      $0.describe(.portal("p"))
      $0.execute(portal: "p")
      $0.sync()
    }
    #expect(
      rows == [
        "parseComplete", "bindComplete", "columns id:23b v:25b id:20b",
        "row x00000007|NULL|x0000000000000007", "done SELECT 1", "ready I",
      ])
  }

  @Test func portalsAreReadInPieces() throws {
    let client = try TestServer().client()
    let lines = try client.say {
      try $0.parse(ParseMessage(name: "", query: "SELECT g FROM generate_series(1, 5) g"))
      try $0.bind(portal: "p", statement: "", parameters: [])
      $0.execute(portal: "p", rowLimit: 2)
      $0.execute(portal: "p", rowLimit: 2)
      $0.execute(portal: "p", rowLimit: 2)
      $0.sync()
    }
    #expect(
      lines == [
        "parseComplete", "bindComplete", "row 1", "row 2", "portalSuspended", "row 3", "row 4", "portalSuspended",
        "row 5", "done SELECT 1", "ready I",
      ])
  }

  @Test func aPipelineIsOneTransactionUpToSync() throws {
    let server = try TestServer()
    let client = try server.client()
    _ = try client.query("CREATE TABLE t (id int PRIMARY KEY)")
    let lines = try client.say {
      try $0.parse(ParseMessage(name: "i", query: "INSERT INTO t VALUES ($1)"))
      for value in ["1", "2", "1", "3"] {
        try $0.bind(portal: "", statement: "i", parameters: [Array(value.utf8)])
        $0.execute(portal: "")
      }
      $0.sync()
    }
    #expect(
      lines == [
        "parseComplete", "bindComplete", "done INSERT 0 1", "bindComplete", "done INSERT 0 1", "bindComplete",
        "error ERROR 23505 duplicate key value violates unique constraint \"t_pkey\"", "ready I",
      ])
    #expect(try client.query("SELECT count(*) FROM t").contains("row 0"))
    // Two pipelines in one piece are two transactions.
    let two = try client.say {
      for value in ["4", "4", "5"] {
        try $0.bind(portal: "", statement: "i", parameters: [Array(value.utf8)])
        $0.execute(portal: "")
        $0.sync()
      }
    }
    // Each Sync is answered by itself.
    var all = two
    while all.filter({ $0.hasPrefix("ready") }).count < 3 { all += client.hear() }
    #expect(all.filter { $0.hasPrefix("done") || $0.hasPrefix("error") }.count == 3)
    #expect(try client.query("SELECT count(*) FROM t").contains("row 2"))
  }

  @Test func commitsWaitForTheLogAndAreVisibleAfterwards() throws {
    let server = try TestServer()
    let (one, two) = (try server.client(), try server.client())
    _ = try one.query("CREATE TABLE t (id int PRIMARY KEY)")
    #expect(try one.query("BEGIN; INSERT INTO t VALUES (1)") == ["done BEGIN", "done INSERT 0 1", "ready T"])
    #expect(try two.query("SELECT count(*) FROM t").contains("row 0"))
    #expect(try one.query("COMMIT") == ["done COMMIT", "ready I"])
    #expect(try two.query("SELECT count(*) FROM t").contains("row 1"))
    #expect(try one.query("INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)").count == 3)
    #expect(try two.query("SELECT count(*) FROM t").contains("row 3"))
  }

  @Test func copyInTakesWhatComes() throws {
    let client = try TestServer().client()
    _ = try client.query("CREATE TABLE t (id int PRIMARY KEY, v text)")
    func piece(_ write: (inout WireBuffer) throws -> Void) rethrows -> [UInt8] {
      var pen = WireBuffer()
      try write(&pen)
      return pen.array
    }
    client.stream.later = [
      try piece { try $0.data("1\ta\n2") },
      try piece {
        try $0.data("\t\\N\n")
        $0.copyDone()
      },
    ]
    #expect(try client.query("COPY t FROM STDIN").suffix(2) == ["done COPY 2", "ready I"])
    let out = try client.query("COPY t TO STDOUT")
    #expect(
      out.dropFirst() == ["data 1\ta\\n", "data 2\t\\N\\n", "copyDone", "done COPY 2", "ready I"], "\(out)")
    client.stream.later = [piece { $0.copyFail("no more") }]
    #expect(
      try client.query("COPY t FROM STDIN").suffix(2) == [
        "error ERROR 57014 COPY from stdin failed: no more", "ready I",
      ])
    // An error in the middle: what is left of the data is dropped.
    client.stream.later = [
      try piece { try $0.data("x\ty\n") }
    ]
    #expect(try client.query("COPY t FROM STDIN").contains { $0.hasPrefix("error ERROR 22P02") })
    let rest = try client.say {
      try $0.data("3\tc\n")
      $0.copyDone()
      try $0.query("SELECT count(*) FROM t")
    }
    #expect(rest.contains("row 2"))
  }

  @Test func limitsOfConnections() throws {
    var options = ServingOptions()
    options.maximumConnections = 3
    options.superuserReservedConnections = 1
    let server = try TestServer(options)
    let first = try server.client()
    _ = try first.query("CREATE ROLE app LOGIN; CREATE ROLE shut")
    let second = try server.client(user: "app")
    let third = TestClient(server.services)
    func start(_ client: TestClient, _ user: String) -> [String] {
      client.say { $0.startup(StartupMessage(parameters: [.init("user", user), .init("database", "synod")])) }
    }
    #expect(
      start(third, "app").last == "error FATAL 53300 remaining connection slots are reserved for superusers")
    let fourth = TestClient(server.services)
    #expect(start(fourth, "synod").last == "ready I")
    #expect(start(TestClient(server.services), "synod").last == "error FATAL 53300 sorry, too many clients already")
    #expect(
      start(TestClient(server.services), "shut").last == "error FATAL 28000 role \"shut\" is not permitted to log in")
    _ = second.say(awaitsReady: false) { $0.terminate() }
    #expect(second.stream.isClosed)
    #expect(start(TestClient(server.services), "synod").last == "ready I")
  }

  @Test func passwordsByScram() throws {
    var options = ServingOptions()
    options.authentication = .scram
    let server = try TestServer(options)
    let session = try server.database.makeSession()
    try session.execute("CREATE ROLE app LOGIN PASSWORD 'secret'")
    func logIn(_ user: String, _ password: String) throws -> String? {
      let client = TestClient(server.services)
      let asked = client.say(awaitsReady: false) {
        $0.startup(StartupMessage(parameters: [.init("user", user), .init("database", "synod")]))
      }
      guard asked == ["authentication(Wire.AuthenticationRequest.sasl([\"SCRAM-SHA-256\"]))"] else { return asked.last }
      return try client.scram(password)
    }
    #expect(try logIn("app", "secret") == "ready I")
    #expect(try logIn("app", "wrong") == "error FATAL 28P01 password authentication failed for user \"app\"")
    #expect(try logIn("nobody", "secret") == "error FATAL 28P01 password authentication failed for user \"nobody\"")
  }

  @Test func cancelNeedsTheRightKey() throws {
    let server = try TestServer()
    let client = try server.client()
    let key = try #require(client.key)
    // Nothing runs: nothing happens, with either key.
    for other in [key, CancelKey(process: key.process, secret: [1, 2, 3, 4])] {
      _ = TestClient(server.services).say(awaitsReady: false) { $0.cancelRequest(other) }
    }
    #expect(try client.query("SELECT 1").contains("row 1"))
  }

  @Test func termination() throws {
    let server = try TestServer()
    let client = try server.client()
    let other = try server.client()
    client.connection.terminate(
      WireReport(severity: .fatal, sqlState: "57P01", message: "go"), now: false)
    #expect(client.hear() == ["error FATAL 57P01 go"])
    #expect(client.stream.isClosed)
    #expect(try other.query("SELECT 1").contains("row 1"))
    #expect(server.services.registry.count == 1)
  }

  @Test func garbageEndsOneConnection() throws {
    let server = try TestServer()
    let good = try server.client()
    for bytes: [UInt8] in [
      Array("GET / HTTP/1.1\r\n\r\n".utf8), [0, 0, 0, 4], [0xFF, 0xFF, 0xFF, 0xFF, 1], Array(repeating: 0, count: 64),
    ] {
      let client = TestClient(server.services)
      client.connection.received(bytes.span.bytes)
      #expect(client.stream.isClosed, "\(bytes)")
    }
    let inside = try server.client()
    let unknown = [UInt8(ascii: "!"), 0, 0, 0, 4]
    inside.connection.received(unknown.span.bytes)
    #expect(inside.stream.isClosed)
    let long = try server.client()
    let huge = [UInt8(ascii: "Q"), 0x7F, 0, 0, 0]
    long.connection.received(huge.span.bytes)
    #expect(long.stream.isClosed)
    #expect(try good.query("SELECT 1").contains("row 1"))
    #expect(server.services.registry.count == 1)
  }

  @Test func idleLimits() throws {
    let server = try TestServer()
    let client = try server.client()
    _ = try client.query("SET idle_in_transaction_session_timeout = 1")
    client.stream.timers = []
    #expect(try client.query("BEGIN").last == "ready T")
    #expect(!client.stream.timers.isEmpty)
    // The timer looks until the time has passed.
    var turns = 0
    while !client.stream.isClosed, turns < 100_000 {
      let timers = client.stream.timers
      client.stream.timers = []
      for body in timers { body() }
      client.stream.settle { true }
      turns += 1
    }
    #expect(client.hear() == ["error FATAL 25P03 terminating connection due to idle-in-transaction timeout"])
  }
}

extension WireBuffer {
  /// COPY data of a text.
  mutating func data(_ text: String) throws {
    let bytes = Array(text.utf8)
    try copyData(bytes.span.bytes)
  }
}
