import Foundation
import Platform
import Synchronization
import Testing

/// An authority and contexts that it vouches for.
private struct Pair {
  let authority: CertificateAuthority
  let root: TLSContext.PEM

  init(_ name: String = "Test authority") throws {
    authority = try CertificateAuthority.create(name: name, days: 10)
    root = .bytes(try authority.exported().certificate)
  }

  func identity(
    _ name: String, hosts: [String] = [], usage: CertificateAuthority.Request.Usage = .node
  ) throws -> TLSContext.Identity {
    let issued = try authority.issue(.init(commonName: name, hosts: hosts, usage: usage, days: 5))
    return TLSContext.Identity(certificate: .bytes(issued.certificate), key: .bytes(issued.key))
  }
}

private final class Informations: Sendable {
  let all = Mutex<[TLSInformation]>([])
  func append(_ one: TLSInformation) { all.withLock { $0.append(one) } }
  var first: TLSInformation? { all.withLock { $0.first } }
}

/// A server that secures every connection from its first byte and echoes.
private func secureEcho(
  _ context: TLSContext, into seen: Informations = Informations(), ends: Collector? = nil
) -> @Sendable (StreamConnection) -> any StreamHandler {
  { _ in
    TestHandler {
      $0.onOpened = { $0.startTLS(context) }
      $0.onSecured = { connection in seen.append(connection.tls!) }
      $0.onReceived = { bytes, connection in connection.send(bytes) }
      $0.onClosed = { reason, _ in ends?.end(reason) }
    }
  }
}

/// Connects, secures, sends, and collects.
private func secureClient(
  _ address: SocketAddress, on loop: EventLoop, _ context: TLSContext, name: String? = "localhost", sending: [UInt8],
  into collector: Collector, seen: Informations? = nil, options: StreamOptions = StreamOptions()
) throws -> StreamConnection {
  try StreamConnection.connect(to: address, on: loop, timeoutNanoseconds: 20_000_000_000, options: options) { _ in
    TestHandler {
      $0.onOpened = { $0.startTLS(context, serverName: name) }
      $0.onSecured = { connection in
        seen?.append(connection.tls!)
        connection.send(sending)
      }
      $0.onReceived = { bytes, _ in collector.append(bytes) }
      $0.onClosed = { reason, _ in collector.end(reason) }
    }
  }
}

@Suite struct TLSTests {
  @Test func encryptedBytesComeBack() throws {
    let pair = try Pair()
    let server = try TLSContext(server: pair.identity("node-1", hosts: ["localhost", "127.0.0.1", "::1"]))
    let trusting = try TLSContext(client: .verifyFull, authorities: pair.root)
    try withGroup { group in
      let seen = Informations()
      let listener = try Listener.listen(on: loopback(), group: group, handler: secureEcho(server, into: seen))
      for name in ["localhost", "127.0.0.1", "::1"] {
        let collector = Collector()
        let theirs = Informations()
        let sent = Array("across \(name)".utf8)
        let connection = try secureClient(
          listener.address, on: group.next(), trusting, name: name, sending: sent, into: collector, seen: theirs)
        collector.wait { $0.bytes == sent || $0.reason != nil }
        #expect(collector.bytes == sent, "\(String(describing: collector.reason))")
        #expect(theirs.first?.version == "TLSv1.3")
        #expect(theirs.first?.peer?.commonName == "node-1")
        #expect(theirs.first?.peer?.dnsNames == ["localhost"])
        #expect(theirs.first?.peer?.addresses == ["127.0.0.1", "::1"])
        // Both ends agree on what SCRAM binds to.
        #expect(theirs.first?.serverEndPoint.count == 32)
        #expect(theirs.first?.serverEndPoint == seen.first?.serverEndPoint)
        #expect(seen.first?.peer == nil)
        connection.execute { connection.close() }
        #expect(collector.waitForEnd() == .closed)
      }
    }
  }

  /// More than any buffer, with a peer slow enough that ciphertext is kept.
  @Test func muchEncryptedDataArrivesWhole() throws {
    let pair = try Pair()
    let server = try TLSContext(server: pair.identity("node-1", hosts: ["localhost"]))
    let trusting = try TLSContext(client: .verifyCA, authorities: pair.root)
    try withGroup { group in
      var options = StreamOptions()
      options.sendBufferBytes = 16 * 1024
      options.receiveBufferBytes = 16 * 1024
      let listener = try Listener.listen(on: loopback(), group: group, options: options, handler: secureEcho(server))
      var random = SeededRandomness(seed: 3)
      let sent = (0..<3 << 20).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let collector = Collector()
      var eager = StreamOptions()
      eager.pauseReadingAboveBytes = .max
      _ = try secureClient(
        listener.address, on: group.next(), trusting, sending: sent, into: collector, options: eager)
      collector.wait { $0.count >= sent.count || $0.reason != nil }
      #expect(collector.bytes == sent, "\(String(describing: collector.reason))")
    }
  }

  @Test func theServersNameAndAuthorityAreVerifiedAsLibpqDoes() throws {
    let pair = try Pair()
    let stranger = try Pair("Somebody else")
    let server = try TLSContext(server: pair.identity("node-1", hosts: ["db.example"]))
    func connect(_ context: TLSContext, _ name: String?) throws -> Collector {
      try withGroup(loops: 1) { group in
        let listener = try Listener.listen(on: loopback(), group: group, handler: secureEcho(server))
        let collector = Collector()
        _ = try secureClient(
          listener.address, on: group.next(), context, name: name, sending: [1], into: collector)
        collector.wait { $0.count == 1 || $0.reason != nil }
        return collector
      }
    }
    func refusal(_ collector: Collector) -> String {
      guard case .tls(let error) = collector.reason, error.kind == .certificate else {
        return "not refused: \(String(describing: collector.reason))"
      }
      return error.reason
    }
    // require: anybody. verify-ca: any name of the authority. verify-full: the name too.
    #expect(try connect(TLSContext(client: .require), nil).bytes == [1])
    #expect(try connect(TLSContext(client: .verifyCA, authorities: pair.root), "elsewhere").bytes == [1])
    #expect(try connect(TLSContext(client: .verifyFull, authorities: pair.root), "db.example").bytes == [1])
    #expect(
      refusal(try connect(TLSContext(client: .verifyFull, authorities: pair.root), "elsewhere"))
        == "the peer's certificate is not accepted: hostname mismatch")
    #expect(
      refusal(try connect(TLSContext(client: .verifyFull, authorities: pair.root), "127.0.0.1"))
        == "the peer's certificate is not accepted: IP address mismatch")
    #expect(
      refusal(try connect(TLSContext(client: .verifyCA, authorities: stranger.root), "db.example"))
        == "the peer's certificate is not accepted: unable to get local issuer certificate")
    guard case .tls(let error) = try connect(TLSContext(client: .verifyFull, authorities: pair.root), nil).reason else {
      Issue.record("verify-full without a name")
      return
    }
    #expect(error.kind == .configuration)
  }

  @Test func mutualTLSKnowsTheClientAndRefusesOthers() throws {
    let pair = try Pair()
    let stranger = try Pair("Somebody else")
    let server = try TLSContext(
      server: pair.identity("node-1", hosts: ["localhost"]), authorities: pair.root, clients: .required)
    func attempt(_ identity: TLSContext.Identity?) throws -> (CloseReason?, TLSInformation?) {
      try withGroup(loops: 1) { group in
        let seen = Informations()
        let ends = Collector()
        let listener = try Listener.listen(
          on: loopback(), group: group, handler: secureEcho(server, into: seen, ends: ends))
        let collector = Collector()
        let context = try TLSContext(client: .verifyFull, authorities: pair.root, identity: identity)
        let connection = try secureClient(listener.address, on: group.next(), context, sending: [1], into: collector)
        collector.wait { $0.count == 1 || $0.reason != nil }
        connection.execute { connection.close() }
        return (ends.waitForEnd(), seen.first)
      }
    }
    let (good, information) = try attempt(pair.identity("alice", usage: .client))
    #expect(good == .closed)
    #expect(information?.peer?.commonName == "alice")
    #expect(information?.peer?.subject == "CN=alice,O=SynodDB")
    for wrong in [nil, try stranger.identity("alice", usage: .client)] {
      let (reason, information) = try attempt(wrong)
      guard case .tls = reason else {
        Issue.record("\(String(describing: reason))")
        continue
      }
      #expect(information == nil)
    }
    // A client's certificate does not make a server.
    let impostor = try TLSContext(server: pair.identity("node-1", hosts: ["localhost"], usage: .client))
    try withGroup(loops: 1) { group in
      let listener = try Listener.listen(on: loopback(), group: group, handler: secureEcho(impostor))
      let collector = Collector()
      let context = try TLSContext(client: .verifyFull, authorities: pair.root)
      _ = try secureClient(listener.address, on: group.next(), context, sending: [1], into: collector)
      guard case .tls(let error) = collector.waitForEnd() else {
        Issue.record("\(collector.reason!)")
        return
      }
      #expect(error.reason.contains("certificate purpose") || error.reason.contains("unsuitable"), "\(error)")
    }
  }

  @Test func garbageCostsOneConnection() throws {
    let pair = try Pair()
    let server = try TLSContext(server: pair.identity("node-1", hosts: ["localhost"]))
    for seed: UInt64 in 1...20 {
      try withGroup(loops: 1) { group in
        let ends = Collector()
        let listener = try Listener.listen(
          on: loopback(), group: group, handler: secureEcho(server, ends: ends))
        var random = SeededRandomness(seed: seed)
        let stream = try RawClient(listener.address)
        var bytes = (0..<1 + random.below(2000)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        // Half of them look like the head of a record.
        if seed % 2 == 0 { bytes = [22, 3, 1, 2, 0] + bytes }
        stream.write(bytes)
        stream.shutWriting()
        guard case .tls(let error) = ends.waitForEnd() else {
          Issue.record("seed \(seed): \(ends.reason!)")
          return
        }
        #expect(error.kind == .handshake || error.kind == .closedEarly, "seed \(seed): \(error)")
        _ = stream.readToEnd()
      }
    }
  }

  /// A damaged record in the middle ends the connection; nothing that was damaged is delivered.
  @Test func aDamagedRecordIsNoticed() throws {
    let pair = try Pair()
    let server = try TLSContext(server: pair.identity("node-1", hosts: ["localhost"]))
    try withGroup(loops: 2) { group in
      let ends = Collector()
      let listener = try Listener.listen(on: loopback(), group: group, handler: secureEcho(server, ends: ends))
      let context = try TLSContext(client: .verifyFull, authorities: pair.root)
      // A relay in between that flips a bit in what the client sends after its handshake.
      let target = listener.address
      let client = Mutex<StreamConnection?>(nil)
      let upstream = Mutex<StreamConnection?>(nil)
      let damage = Atomic(false)
      let relay = try Listener.listen(on: loopback(), group: group) { inbound in
        client.withLock { $0 = inbound }
        return TestHandler {
          $0.onOpened = { inbound in
            inbound.pauseReading()
            let outbound = try? StreamConnection.connect(
              to: target, on: inbound.loop, timeoutNanoseconds: 5_000_000_000
            ) { _ in
              TestHandler {
                $0.onOpened = { _ in inbound.execute { inbound.resumeReading() } }
                $0.onReceived = { bytes, _ in inbound.execute { inbound.send(bytes) } }
                $0.onClosed = { _, _ in inbound.execute { inbound.close() } }
              }
            }
            upstream.withLock { $0 = outbound }
          }
          $0.onReceived = { bytes, _ in
            var changed = bytes
            if damage.load(ordering: .acquiring) { changed[changed.count - 1] ^= 1 }
            let piece = changed
            guard let outbound = upstream.withLock({ $0 }) else { return }
            outbound.execute { outbound.send(piece) }
          }
        }
      }
      let collector = Collector()
      let connection = try secureClient(relay.address, on: group.next(), context, sending: [1], into: collector)
      collector.wait { $0.count == 1 || $0.reason != nil }
      damage.store(true, ordering: .releasing)
      connection.execute { connection.send([2]) }
      guard case .tls(let error) = ends.waitForEnd() else {
        Issue.record("\(ends.reason!)")
        return
      }
      #expect(error.kind == .record)
      collector.wait { $0.reason != nil }
      #expect(collector.bytes == [1])
    }
  }

  /// PostgreSQL's way: a question in clear, one byte as the answer, then TLS on the same connection.
  @Test func aConnectionIsSecuredInTheMiddle() throws {
    let pair = try Pair()
    let server = try TLSContext(server: pair.identity("node-1", hosts: ["localhost"]))
    let trusting = try TLSContext(client: .verifyFull, authorities: pair.root)
    try withGroup(loops: 1) { group in
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        TestHandler {
          $0.onReceived = { bytes, connection in
            guard connection.tls == nil else { return connection.send(bytes) }
            #expect(bytes == [42])
            connection.send([UInt8(ascii: "S")])
            connection.startTLS(server)
          }
        }
      }
      let collector = Collector()
      try StreamConnection.connect(to: listener.address, on: group.next(), timeoutNanoseconds: 5_000_000_000) { _ in
        TestHandler {
          $0.onOpened = { $0.send([42]) }
          $0.onSecured = { $0.send([7, 8]) }
          $0.onReceived = { bytes, connection in
            if connection.tls == nil {
              #expect(bytes == [UInt8(ascii: "S")])
              connection.startTLS(trusting, serverName: "localhost")
            } else {
              collector.append(bytes)
            }
          }
          $0.onClosed = { reason, _ in collector.end(reason) }
        }
      }
      collector.wait { $0.count == 2 || $0.reason != nil }
      #expect(collector.bytes == [7, 8])
    }
  }

  /// A client that begins with TLS at once: what has come is given to `startTLS`.
  @Test func whatHasComeAlreadyBeginsTheHandshake() throws {
    let pair = try Pair()
    let server = try TLSContext(server: pair.identity("node-1", hosts: ["localhost"]))
    let trusting = try TLSContext(client: .verifyFull, authorities: pair.root)
    try withGroup(loops: 1) { group in
      let listener = try Listener.listen(on: loopback(), group: group) { _ in
        TestHandler {
          $0.onReceived = { bytes, connection in
            if connection.tls == nil {
              connection.startTLS(server, received: bytes)
            } else {
              connection.send(bytes)
            }
          }
        }
      }
      let collector = Collector()
      _ = try secureClient(listener.address, on: group.next(), trusting, sending: [3, 4], into: collector)
      collector.wait { $0.count == 2 || $0.reason != nil }
      #expect(collector.bytes == [3, 4])
    }
  }

  @Test func reloadedCertificatesAreUsedByNewConnections() throws {
    let directory = NSTemporaryDirectory() + "/synod-tls-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let pair = try Pair()
    func store(_ name: String) throws {
      for file in ["node.crt", "node.key"] { try? FileManager.default.removeItem(atPath: "\(directory)/\(file)") }
      let issued = try pair.authority.issue(.init(commonName: name, hosts: ["localhost"], usage: .node, days: 1))
      try CertificateStore.write(issued.certificate, to: directory + "/node.crt", isSecret: false)
      try CertificateStore.write(issued.key, to: directory + "/node.key", isSecret: true)
    }
    try store("first")
    let server = try TLSContext(
      server: .init(certificate: .file(directory + "/node.crt"), key: .file(directory + "/node.key")))
    let trusting = try TLSContext(client: .verifyFull, authorities: pair.root)
    try withGroup(loops: 1) { group in
      let listener = try Listener.listen(on: loopback(), group: group, handler: secureEcho(server))
      func name() throws -> String? {
        let collector = Collector()
        let seen = Informations()
        _ = try secureClient(
          listener.address, on: group.next(), trusting, sending: [1], into: collector, seen: seen)
        collector.wait { $0.count == 1 || $0.reason != nil }
        return seen.first?.peer?.commonName
      }
      #expect(try name() == "first")
      try store("second")
      #expect(try name() == "first")
      try server.reload()
      #expect(try name() == "second")
      // What cannot be used changes nothing.
      try FileManager.default.removeItem(atPath: directory + "/node.key")
      let failure = #expect(throws: TLSError.self) { try server.reload() }
      #expect(failure?.description == "cannot read the private key \(directory)/node.key: No such file or directory")
      #expect(try name() == "second")
    }
    try CertificateStore.write(Array("no key".utf8), to: directory + "/node.key", isSecret: false)
    let readable = #expect(throws: TLSError.self) { try server.reload() }
    #expect(readable?.reason.contains("chmod 600") == true, "\(readable!)")
  }

  @Test func certificatesSayNoToWhatTheyCannotCarry() throws {
    let pair = try Pair()
    for host in ["a,DNS:evil", "", "ho st", "IP:1.2.3.4", String(repeating: "a", count: 254)] {
      #expect(throws: TLSError.self) { try pair.identity("x", hosts: [host]) }
    }
    #expect(throws: TLSError.self) { try pair.identity(String(repeating: "n", count: 65)) }
    #expect(throws: TLSError.self) { try pair.identity("") }
    #expect(throws: TLSError.self) { try CertificateAuthority.create(name: "x", days: 0) }
    let one = try pair.identity("one")
    let two = try pair.identity("two")
    let mixed = #expect(throws: TLSError.self) {
      try TLSContext(server: .init(certificate: one.certificate, key: two.key))
    }
    #expect(mixed?.reason.contains("does not belong") == true)
    #expect(throws: TLSError.self) { try TLSContext(server: one, clients: .required) }
  }

  @Test func oldTLSIsLetInOnlyWhenAsked() throws {
    let pair = try Pair()
    let identity = try pair.identity("node-1", hosts: ["localhost"])
    for allows in [false, true] {
      let server = try TLSContext(server: identity, allowsTLS12: allows)
      try withGroup(loops: 1) { group in
        let listener = try Listener.listen(on: loopback(), group: group, handler: secureEcho(server))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = ["s_client", "-connect", "127.0.0.1:\(listener.address.port)", "-tls1_2", "-brief"]
        let pipe = Pipe()
        process.standardError = pipe
        process.standardOutput = pipe
        process.standardInput = FileHandle.nullDevice
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl") else { return }
        try process.run()
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(text.contains("Protocol version: TLSv1.2") == allows, "\(text)")
      }
    }
  }

  @Test func aBlockingStreamSpeaksBoth() throws {
    let pair = try Pair()
    let server = try TLSContext(server: pair.identity("node-1", hosts: ["localhost"]))
    let trusting = try TLSContext(client: .verifyFull, authorities: pair.root)
    try withGroup(loops: 1) { group in
      let plain = try Listener.listen(on: loopback(), group: group, handler: echo)
      let secure = try Listener.listen(on: loopback(), group: group, handler: secureEcho(server))
      var random = SeededRandomness(seed: 5)
      let sent = (0..<200_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      for listener in [plain, secure] {
        let stream = try BlockingStream.connect(to: [listener.address])
        if listener === secure { try stream.startTLS(trusting, serverName: "localhost") }
        #expect((stream.tls?.peer?.commonName == "node-1") == (listener === secure))
        try stream.send(sent)
        var heard: [UInt8] = []
        while heard.count < sent.count {
          guard try stream.receive({ bytes in heard += bytes.withUnsafeBytes { [UInt8]($0) } }) else { break }
        }
        #expect(heard == sent)
        stream.interrupt()
        #expect(throws: StreamError.interrupted) { try stream.receive { _ in } }
      }
      let wrong = #expect(throws: StreamError.self) {
        try BlockingStream.connect(to: [secure.address]).startTLS(trusting, serverName: "elsewhere")
      }
      #expect(wrong?.description == "the peer's certificate is not accepted: hostname mismatch")
    }
  }
}
