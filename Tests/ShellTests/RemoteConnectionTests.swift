import Shell
import Synod
import Testing

/// The shell as a client, against a server whose every word is known.
@Suite struct RemoteConnectionTests {
  private func connect(
    _ servers: [ScriptedServer], reconnects: Bool = false, _ parameters: String = ""
  ) throws -> RemoteConnection {
    let hosts = servers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    let settings = try ConnectionSettings(url: "postgres://u@\(hosts)/d\(parameters)") { _ in nil }
    return try RemoteConnection(settings, reconnects: reconnects) { _ in nil }
  }

  @Test func rowsNoticesAndErrorsComeInOrder() throws {
    let server = ScriptedServer { query in
      query == "bad"
        ? ScriptedServer.error("ERROR", "42601", "no such thing") + ScriptedServer.ready("E")
        : ScriptedServer.notice("look") + ScriptedServer.rows([["1", nil], ["", "é"]]) + ScriptedServer.ready("T")
    }
    let connection = try connect([server])
    let sink = RecordingSink()
    try connection.execute("good", into: sink)
    #expect(sink.events == ["NOTICE look", "columns c0 c1", "row 1 ∅", "row  é", "done SELECT 2"])
    #expect(connection.transactionStatus == .inTransaction)
    let failure = #expect(throws: DatabaseError.self) { try connection.execute("bad", into: sink) }
    #expect(failure?.sqlState == "42601")
    #expect(connection.transactionStatus == .failed)
    #expect(!connection.isLost)
  }

  @Test func copyGoesBothWays() throws {
    let server = ScriptedServer { query in
      query == "in"
        ? ScriptedServer.copyIn
        : ScriptedServer.copyOut + ScriptedServer.message("d", Array("x\n".utf8))
          + ScriptedServer.message("d", Array("y\n".utf8)) + ScriptedServer.message("c", [])
          + ScriptedServer.message("C", Array("COPY 2\0".utf8)) + ScriptedServer.ready("I")
    }
    let connection = try connect([server])
    let sink = RecordingSink()
    sink.copyPieces = [Array("1\tone\n".utf8), Array("2\ttwo\n".utf8)]
    try connection.execute("in", into: sink)
    #expect(server.copied.withLock { String(decoding: $0, as: UTF8.self) } == "1\tone\n2\ttwo\n")
    try connection.execute("out", into: sink)
    #expect(sink.events == ["done COPY 1", "copy x\n", "copy y\n", "done COPY 2"])
    // What the reader of the file cannot do fails the COPY at the server, and is what the person hears.
    sink.copyFailure = DatabaseError(sqlState: "58030", message: "the file is gone")
    let failure = #expect(throws: DatabaseError.self) { try connection.execute("in", into: sink) }
    #expect(failure?.message == "the file is gone")
    try connection.execute("out", into: sink)
  }

  @Test func aLostServerEndsAScriptAndIsFoundAgainForAPerson() throws {
    let server = ScriptedServer { query in
      switch query {
      case "hang up": nil
      case "fatal": ScriptedServer.error("FATAL", "57P01", "terminating connection")
      default: ScriptedServer.rows([["1"]]) + ScriptedServer.ready("I")
      }
    }
    let script = try connect([server])
    let first = #expect(throws: DatabaseError.self) { try script.execute("hang up", into: RecordingSink()) }
    #expect(first?.sqlState == "08006")
    #expect(script.isLost)
    let second = #expect(throws: DatabaseError.self) { try script.execute("again", into: RecordingSink()) }
    #expect(second?.sqlState == "08003")

    let person = try connect([server], reconnects: true)
    let fatal = #expect(throws: DatabaseError.self) { try person.execute("fatal", into: RecordingSink()) }
    #expect(fatal?.sqlState == "57P01")
    #expect(fatal?.hint?.hasPrefix("Connected again.") == true)
    try person.execute("again", into: RecordingSink())
    #expect(server.startups.withLock { $0 } == 3)
  }

  @Test func cancelNamesTheConnection() throws {
    let server = ScriptedServer { _ in ScriptedServer.ready("I") }
    let connection = try connect([server], "?sslmode=disable")
    connection.cancel()
    #expect(server.cancelled.withLock { $0 } == [[0, 0, 0, 7, 1, 2, 3, 4]])
  }

  @Test func theHostOfTheKindAskedForIsTaken() throws {
    let standby = ScriptedServer(isStandby: true) { _ in ScriptedServer.rows([["standby"]]) + ScriptedServer.ready("I")
    }
    let primary = ScriptedServer { query in
      ScriptedServer.rows([[query.hasSuffix("read_only") ? "off" : "primary"]]) + ScriptedServer.ready("I")
    }
    func who(_ target: String, _ servers: [ScriptedServer]) throws -> String? {
      let sink = RecordingSink()
      try connect(servers, "?target_session_attrs=\(target)").execute("who", into: sink)
      return sink.events.first { $0.hasPrefix("row") }
    }
    #expect(try who("any", [standby, primary]) == "row standby")
    #expect(try who("primary", [standby, primary]) == "row primary")
    #expect(try who("standby", [primary, standby]) == "row standby")
    #expect(try who("prefer-standby", [primary, standby]) == "row standby")
    #expect(try who("prefer-standby", [primary]) == "row primary")
    #expect(throws: DatabaseError.self) { try who("primary", [standby]) }
  }

  @Test func tlsIsNotGivenUpWhereItIsRequired() throws {
    let server = ScriptedServer { _ in ScriptedServer.ready("I") }
    _ = try connect([server], "?sslmode=prefer")
    let failure = #expect(throws: DatabaseError.self) { try connect([server], "?sslmode=require") }
    #expect(failure?.message == "server does not support TLS, but TLS was required")
    #expect(server.startups.withLock { $0 } == 1)
  }
}

/// Writes down what comes.
final class RecordingSink: ShellSink {
  private(set) var events: [String] = []
  var copyPieces: [[UInt8]] = []
  var copyFailure: DatabaseError?
  func columns(_ columns: [Column]) { events.append("columns " + columns.map(\.name).joined(separator: " ")) }
  func row(_ fields: [String?]) { events.append("row " + fields.map { $0 ?? "∅" }.joined(separator: " ")) }
  func completed(_ tag: String) { events.append("done \(tag)") }
  func notice(_ severity: String, _ notice: DatabaseError) { events.append("\(severity) \(notice.message)") }
  func copyOut(_ bytes: [UInt8]) { events.append("copy " + String(decoding: bytes, as: UTF8.self)) }
  func copyIn() throws(DatabaseError) -> [UInt8]? {
    if let copyFailure { throw copyFailure }
    return copyPieces.isEmpty ? nil : copyPieces.removeFirst()
  }
}
