import Testing
import Wire

/// Our client against our server, and real clients' recorded bytes against our server.
@Suite struct LoopTests {
  let crypto = TestCrypto()

  /// Lets both talk until neither has anything to say; gives what the client saw and what the server was asked.
  private func settle(_ client: inout ClientSession, _ server: inout ServerSession, _ log: inout [String]) throws {
    var quiet = false
    while !quiet {
      quiet = client.output.isEmpty && server.output.isEmpty
      server.receive(client.output.array)
      client.output.removeAll()
      try serve(&server, &client, &log)
      client.receive(server.output.array)
      server.output.removeAll()
      events: while true {
        let event = client.next()
        switch event {
        case .read: break events
        case .startTLS: client.secured()
        case .row(var values):
          var texts: [String] = []
          while let value = values.next(in: client.input.buffer) {
            if case .bytes(let slice) = value {
              texts.append(String(decoding: client.input.buffer.array(of: slice), as: UTF8.self))
            }
          }
          log.append("row \(texts)")
        case .copyIn:
          for _ in 0..<3 { try client.copyData(Array("1\n".utf8).span.bytes) }
          client.copyDone()
        case .copyData(let slice):
          log.append("data " + String(decoding: client.input.buffer.array(of: slice), as: UTF8.self))
        case .ready(let status): log.append("ready \(status)")
        case .complete(let tag): log.append("complete \(tag)")
        case .error(let report): log.append("error \(report.sqlState)")
        case .disconnect(let report):
          log.append("gone \(report?.sqlState ?? "-")")
          return
        default: break
        }
      }
    }
  }

  private func serve(
    _ server: inout ServerSession, _ client: inout ClientSession, _ log: inout [String]
  ) throws {
    var copied = 0
    while true {
      switch server.next() {
      case .read, .wait, .disconnect, .cancel: return
      case .flush: break
      case .startTLS:
        // The answer reaches the client before the handshake; here the handshake is nothing.
        client.receive(server.output.array)
        server.output.removeAll()
        let event = client.next()
        #expect(event == .startTLS)
        client.secured()
        server.secured()
        return
      case .authenticate(let startup):
        let salt: [UInt8] = [1, 2, 3]
        let verifier =
          startup["user"] == "alice"
          ? ScramVerifier(password: "secret", salt: salt, iterations: 10, crypto: crypto)
          : ScramVerifier(dummyFor: startup["user"] ?? "", secret: salt, crypto: crypto)
        if startup["user"] == "plain" {
          server.authenticate(.cleartext)
        } else {
          server.authenticate(.scram(ScramServer(verifier: verifier, nonce: Array(1...18), crypto: crypto)))
        }
      case .checkPassword(let password): server.passwordChecked(password == "secret")
      case .open:
        server.opened(
          parameters: [("server_version", "15.0")], key: CancelKey(process: 3, secret: [UInt8](repeating: 9, count: 32))
        )
      case .query(let text):
        if text.hasPrefix("COPY t FROM") {
          server.beginCopyIn(CopyFormats(format: .text, columns: [.text]))
        } else if text.hasPrefix("COPY") {
          server.output.copyOutResponse(CopyFormats(format: .text, columns: [.text]))
          let mark = server.output.beginCopyData()
          server.output.append(utf8: "line")
          try server.output.endCopyData(mark)
          server.output.copyDone()
          server.output.commandComplete("COPY", rows: 1)
          server.completed(.idle)
        } else if text == "bad" {
          server.failed(WireReport(sqlState: "42601", message: "syntax error"), .idle)
        } else {
          let row = server.output.beginRow(columns: 1)
          server.output.value(text: text)
          try server.output.endRow(row)
          server.output.commandComplete("SELECT", rows: 1)
          server.completed(.idle)
        }
      case .copyData: copied += 1
      case .copyDone:
        server.output.commandComplete("COPY", rows: copied)
        server.completed(.idle)
      case .parse, .close, .sync: server.completed(.idle)
      case .describe:
        server.output.noData()
        server.completed(.active)
      case .bind(var message):
        #expect(message.parameters.remaining == 2)
        #expect(message.parameterFormats.format(1, in: server.input.buffer) == .binary)
        var seen: [WireValue] = []
        while let value = message.parameters.next(in: server.input.buffer) { seen.append(value) }
        #expect(seen[1] == .null)
        server.completed(.active)
      case .execute:
        server.output.commandComplete("INSERT 0", rows: 1)
        server.completed(.active)
      case .copyFail(let report), .fail(let report): server.failed(report, .idle)
      }
    }
  }

  private func connect(
    user: String, password: String, tls: ClientSession.Options.TLS, server tlsOfServer: ServerSession.Options.TLS
  ) -> (ClientSession.Options, ServerSession.Options) {
    var options = ClientSession.Options(user: user, tls: tls)
    options.password = password
    return (options, ServerSession.Options(tls: tlsOfServer))
  }

  @Test(arguments: [true, false])
  func everything(_ tls: Bool) throws {
    let (mine, yours) = connect(
      user: "alice", password: "secret", tls: .preferred, server: tls ? .required : .unavailable)
    var client = ClientSession(options: mine, scramNonce: Array(50...70), crypto: crypto)
    var server = ServerSession(options: yours)
    var log: [String] = []
    try settle(&client, &server, &log)
    #expect(log == ["ready idle"])
    #expect(client.key == CancelKey(process: 3, secret: [9, 9, 9, 9]))
    for text in ["one", "bad", "COPY t FROM STDIN", "COPY t TO STDOUT"] {
      try client.query(text)
      try settle(&client, &server, &log)
    }
    try client.execute("INSERT", parameterFormats: [.text, .binary], parameters: [[0x31], nil])
    try settle(&client, &server, &log)
    #expect(
      log == [
        "ready idle", "row [\"one\"]", "complete SELECT 1", "ready idle", "error 42601", "ready idle",
        "complete COPY 3", "ready idle", "data line", "complete COPY 1", "ready idle", "complete INSERT 0 1",
        "ready idle",
      ])
    client.terminate()
    server.receive(client.output.array)
    #expect(server.next() == .disconnect)
  }

  @Test(arguments: [("alice", "wrong"), ("nobody", "secret")])
  func strangers(_ user: String, _ password: String) throws {
    let (mine, yours) = connect(user: user, password: password, tls: .off, server: .unavailable)
    var client = ClientSession(options: mine, scramNonce: Array(50...70), crypto: crypto)
    var server = ServerSession(options: yours)
    var log: [String] = []
    try settle(&client, &server, &log)
    #expect(log == ["gone 28P01"])
  }

  /// A password in clear is not sent outside TLS.
  @Test func cleartextOnlyInsideTLS() throws {
    for (tls, expected) in [(ClientSession.Options.TLS.off, ["gone 28000"]), (.required, ["ready idle"])] {
      let (mine, yours) = connect(
        user: "plain", password: "secret", tls: tls, server: tls == .off ? .unavailable : .available)
      var client = ClientSession(options: mine, scramNonce: [1], crypto: crypto)
      var server = ServerSession(options: yours)
      var log: [String] = []
      try settle(&client, &server, &log)
      #expect(log == expected)
    }
  }

  private func client(tls: ClientSession.Options.TLS) -> ClientSession {
    var options = ClientSession.Options(user: "alice", tls: tls)
    options.password = "secret"
    return ClientSession(options: options, scramNonce: [1, 2, 3], crypto: crypto)
  }

  /// CVE-2021-23222: bytes behind the server's answer would be read as if they had come over TLS.
  @Test func bytesBeforeTheHandshakeAreRefused() {
    var client = client(tls: .preferred)
    client.receive([0x53, 0x52])
    guard case .disconnect(let report?) = client.next() else {
      Issue.record("taken")
      return
    }
    #expect(report.message == "received unencrypted data after SSL response")
  }

  /// A server that skips its own proof is not the server.
  @Test func aServerMustProveItself() {
    var client = client(tls: .off)
    client.receive([0x52, 0, 0, 0, 23, 0, 0, 0, 10] + Array("SCRAM-SHA-256".utf8) + [0, 0])
    #expect(client.next() == .read)
    client.receive([0x52, 0, 0, 0, 8, 0, 0, 0, 0])
    guard case .disconnect(let report?) = client.next() else {
      Issue.record("believed")
      return
    }
    #expect(report.sqlState == "28000")
  }

  static let psql = [
    "0000000804d2162f",
    "00000039000300007573657200616c6963650064617461626173650073796e6f64006170706c69636174696f6e5f6e616d65007073716c0000",
    "510000000d53454c454354203100", "5800000004",
  ]
  static let psqlActions = [
    "flush", "startup user=alice database=synod application_name=psql", "query SELECT 1", "disconnect",
  ]

  /// What psql 15 sent, recorded: SSLRequest, startup, a query, Terminate.
  @Test func recordedClient() throws {
    var server = ServerSession(options: .init(tls: .unavailable))
    var actions: [String] = []
    for hex in Self.psql {
      server.receive(stride(from: 0, to: hex.count, by: 2).map { UInt8(hex.dropFirst($0).prefix(2), radix: 16)! })
      loop: while true {
        let action = server.next()
        switch action {
        case .read, .disconnect:
          if action == .disconnect { actions.append("disconnect") }
          break loop
        case .flush: actions.append("flush")
        case .authenticate(let startup):
          actions.append("startup " + startup.parameters.map { "\($0.name)=\($0.value)" }.joined(separator: " "))
          server.authenticate(.trust)
        case .open: server.opened(parameters: [], key: CancelKey(process: 7, secret: [1, 2, 3, 4]))
        case .query(let text):
          actions.append("query \(text)")
          server.completed(.idle)
        default: actions.append("\(action)")
        }
      }
    }
    #expect(actions == Self.psqlActions)
  }
}
