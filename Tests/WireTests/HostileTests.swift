import Testing
import Wire

/// Peers that send anything at all. What is tested is that the process lives, the memory stays in proportion to what was
/// sent, and what is answered can be read.
@Suite struct HostileTests {
  /// A server under a driver that completes at random, fed with `bytes` in random pieces.
  private func serve(_ bytes: [UInt8], _ dice: inout Dice, open: Bool) {
    var session = ServerSession(options: .init(tls: dice.chance(50) ? .available : .unavailable))
    var eyes = MessageDecoder(side: .backend, maximumMessageSize: 1 << 20)
    if open { begin(&session) }
    var received = 0
    for piece in pieces(bytes, &dice) {
      session.receive(piece)
      received += piece.count
      drive(&session, &dice)
      #expect(session.input.buffer.capacity <= 2 * received + WireBuffer.keptCapacity)
      // Answers to wishes for TLS are no messages; what follows an opening is.
      if open { read(&session, &eyes) }
      session.output.removeAll()
    }
    session.disconnected()
    #expect(session.next() == .disconnect)
  }

  private func begin(_ session: inout ServerSession) {
    var pen = WireBuffer()
    pen.startup(StartupMessage(parameters: [.init("user", "alice")]))
    session.receive(pen.array)
    _ = session.next()
    session.authenticate(.trust)
    _ = session.next()
    session.opened(parameters: [], key: CancelKey(process: 1, secret: [1, 2, 3, 4]))
  }

  private func read(_ session: inout ServerSession, _ eyes: inout MessageDecoder) {
    do throws(WireError) {
      eyes.append(session.output.array)
      while let frame = try eyes.nextFrame() { _ = try eyes.decodeBackend(frame) }
      #expect(eyes.unread == 0, "only whole messages are sent")
    } catch {
      Issue.record("the session wrote what cannot be read: \(error)")
    }
  }

  private func drive(_ session: inout ServerSession, _ dice: inout Dice) {
    let report = WireReport(sqlState: "42601", message: "no")
    for _ in 0..<10_000 {
      switch session.next() {
      case .read, .disconnect, .cancel: return
      case .wait: return
      case .flush, .copyData: break
      case .startTLS: session.secured()
      case .authenticate:
        switch dice.below(3) {
        case 0: session.authenticate(.trust)
        case 1: session.authenticate(.cleartext)
        default:
          let crypto = TestCrypto()
          let verifier = ScramVerifier(dummyFor: "alice", secret: [1], crypto: crypto)
          session.authenticate(.scram(ScramServer(verifier: verifier, nonce: [1, 2, 3], crypto: crypto)))
        }
      case .checkPassword: session.passwordChecked(dice.chance(50))
      case .open: session.opened(parameters: [], key: CancelKey(process: 1, secret: [1, 2, 3, 4]))
      case .bind(let message):
        var values = message.parameters
        while let value = values.next(in: session.input.buffer) {
          if case .bytes(let slice) = value { _ = session.input.buffer.array(of: slice) }
        }
        for index in 0..<4 { _ = message.resultFormats.format(index, in: session.input.buffer) }
        _ = message.parameterFormats.common(in: session.input.buffer)
        session.completed(.active)
      case .query, .execute:
        if dice.chance(30) {
          session.beginCopyIn(CopyFormats(format: .text, columns: []))
        } else if dice.chance(50) {
          session.completed(.idle)
        } else {
          session.failed(report, .idle)
        }
      case .fail, .copyFail: session.failed(report, .idle)
      case .parse, .describe, .close, .sync, .copyDone:
        if dice.chance(80) { session.completed(.idle) } else { session.failed(report, .failed) }
      }
    }
  }

  @Test(arguments: 1...200)
  func garbage(_ seed: UInt64) {
    var dice = Dice(seed: seed)
    serve(dice.bytes(dice.below(2000)), &dice, open: dice.chance(50))
  }

  /// Types that exist with lengths that fit, random bodies.
  @Test(arguments: 1...200)
  func soundFrames(_ seed: UInt64) {
    var dice = Dice(seed: seed)
    var bytes: [UInt8] = []
    let types = Array("QPBDECHSdcfFXp".utf8)
    for _ in 0..<40 {
      let body = dice.chance(50) ? dice.bytes(dice.below(30)) : (0..<dice.below(30)).map { _ in UInt8(dice.below(3)) }
      bytes.append(types[dice.below(dice.chance(90) ? types.count - 2 : types.count)])
      bytes += withUnsafeBytes(of: Int32(body.count + 4).bigEndian) { Array($0) } + body
    }
    serve(bytes, &dice, open: true)
  }

  /// A good conversation, cut short or with some bytes changed.
  @Test(arguments: 1...200)
  func mutated(_ seed: UInt64) throws {
    var dice = Dice(seed: seed)
    var pen = WireBuffer()
    let open = dice.chance(60)
    if !open {
      if dice.chance(30) { pen.tlsRequest() }
      pen.startup(StartupMessage(parameters: [.init("user", "alice"), .init("options", "-c x=y")]))
      pen.saslInitial(mechanism: "SCRAM-SHA-256", Array("n,,n=,r=abc".utf8))
      pen.saslResponse(Array("c=biws,r=abcAQID,p=AAAA".utf8))
    }
    for _ in 0..<10 {
      try pen.query("SELECT 1")
      try pen.parse(ParseMessage(name: "s", query: "SELECT $1", parameterTypes: [23]))
      try pen.bind(
        portal: "p", statement: "s", parameterFormats: [.binary], parameters: [[0, 0, 0, 1], nil],
        resultFormats: [.text])
      pen.describe(.portal("p"))
      pen.execute(portal: "p", rowLimit: 5)
      pen.close(.statement("s"))
      try pen.copyData([1, 2, 3].span.bytes)
      pen.sync()
    }
    var bytes = pen.array
    for _ in 0..<dice.below(8) {
      let place = dice.below(bytes.count)
      bytes[place] = dice.chance(30) ? [0, 1, 0x7F, 0x80, 0xFF][dice.below(5)] : UInt8(dice.below(256))
    }
    if dice.chance(30) { bytes = Array(bytes.prefix(dice.below(bytes.count))) }
    if dice.chance(20) { bytes.removeSubrange(dice.below(bytes.count / 2 + 1)..<(bytes.count / 2 + 1)) }
    serve(bytes, &dice, open: open)
  }

  /// A client whose server sends anything.
  @Test(arguments: 1...200)
  func hostileServers(_ seed: UInt64) throws {
    var dice = Dice(seed: seed)
    var options = ClientSession.Options(user: "alice", tls: dice.chance(30) ? .preferred : .off)
    options.password = "secret"
    var client = ClientSession(options: options, scramNonce: [1, 2, 3], crypto: TestCrypto())
    var bytes: [UInt8] = []
    if dice.chance(50) { bytes += [0x4E] }
    let types = Array("RvSKZTDCInt123sENGHWdcAV".utf8)
    if dice.chance(60) { bytes += [0x52, 0, 0, 0, 8, 0, 0, 0, 0] }
    for _ in 0..<30 {
      let body = dice.chance(50) ? dice.bytes(dice.below(30)) : (0..<dice.below(30)).map { _ in UInt8(dice.below(3)) }
      bytes.append(types[dice.below(types.count)])
      bytes += withUnsafeBytes(of: Int32(body.count + 4).bigEndian) { Array($0) } + body
      if dice.chance(30) { bytes += [0x5A, 0, 0, 0, 5, 0x49] }
    }
    for piece in pieces(bytes, &dice) {
      client.receive(piece)
      events: while true {
        switch client.next() {
        case .read, .disconnect: break events
        case .startTLS: client.secured()
        case .ready: try client.query("SELECT 1")
        case .row(var values):
          while let value = values.next(in: client.input.buffer) {
            if case .bytes(let slice) = value { _ = client.input.buffer.array(of: slice) }
          }
        default: break
        }
      }
      client.output.removeAll()
    }
  }

  /// A length alone takes no memory.
  @Test func announcedBytesTakeNoMemory() {
    var session = ServerSession(options: .init(tls: .unavailable))
    begin(&session)
    session.receive([0x51, 0x0F, 0xFF, 0xFF, 0xFF])
    #expect(session.next() == .read)
    #expect(session.input.buffer.capacity <= 1024)
  }

  /// Counts that bodies announce are held against what is there.
  @Test func announcedCountsTakeNoMemory() throws {
    var decoder = MessageDecoder(side: .frontend, maximumMessageSize: 1 << 20)
    for body in ["0000FFFF", "00000000FFFF", "41004200FFFF0000"] {
      let bytes = stride(from: 0, to: body.count, by: 2).map { UInt8(body.dropFirst($0).prefix(2), radix: 16)! }
      for type in "PB".utf8 {
        decoder.append([type, 0, 0, 0, UInt8(bytes.count + 4)] + bytes)
        let frame = try #require(try decoder.nextFrame())
        #expect(throws: WireError.self) { try decoder.decodeFrontend(frame) }
      }
    }
  }
}
