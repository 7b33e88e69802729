import Wire

/// Feeds both sides of the protocol with what libFuzzer makes up: bytes from a peer, in pieces, under a driver that
/// completes as the input says.
///
/// Nothing may trap; memory stays in proportion to what came; what the server answers can be read by a client's decoder.
///
///     byte 0   bit 0: a client's session instead of a server's; bit 1: opened beforehand; bit 2: TLS is available
///     byte 1   how long the pieces are
///     byte 2   seeds the driver's choices
///     3 …      what the peer sends
@main
enum FuzzWire {
  @_silgen_name("LLVMFuzzerRunDriver")
  private static func run(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CommandLineArguments?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
  ) -> Int32

  private typealias CommandLineArguments = UnsafeMutablePointer<CChar>

  static func main() throws {
    if CommandLine.arguments.count == 3, CommandLine.arguments[1] == "--seeds" {
      return try Seeds.write(to: CommandLine.arguments[2])
    }
    var count = CommandLine.argc
    var arguments = UnsafeMutableRawPointer(CommandLine.unsafeArgv)
      .assumingMemoryBound(to: CommandLineArguments?.self)
    _ = run(&count, &arguments) { bytes, count in
      FuzzWire.test(Array(UnsafeBufferPointer(start: bytes, count: count)))
      return 0
    }
  }

  private static func test(_ input: [UInt8]) {
    guard input.count > 3 else { return }
    var dice = Dice(state: UInt64(input[2]) &* 0x9e37_79b9_7f4a_7c15 | 1)
    let size = Int(input[1]) + 1
    var pieces: [[UInt8]] = []
    var start = 3
    while start < input.count {
      let end = min(input.count, start + size)
      pieces.append(Array(input[start..<end]))
      start = end
    }
    if input[0] & 1 == 0 {
      serve(pieces, &dice, isOpen: input[0] & 2 != 0, hasTLS: input[0] & 4 != 0)
    } else {
      converse(pieces, &dice, hasTLS: input[0] & 4 != 0)
    }
  }

  // MARK: A server's session

  private static func serve(_ pieces: [[UInt8]], _ dice: inout Dice, isOpen: Bool, hasTLS: Bool) {
    var session = ServerSession(options: .init(tls: hasTLS ? .available : .unavailable, maximumMessageSize: 1 << 20))
    if isOpen {
      var pen = WireBuffer()
      pen.startup(StartupMessage(parameters: [.init("user", "alice")]))
      session.receive(pen.array)
      _ = session.next()
      session.authenticate(.trust)
      _ = session.next()
      session.opened(parameters: [], key: CancelKey(process: 1, secret: [1, 2, 3, 4]))
    }
    var reader = MessageDecoder(side: .backend, maximumMessageSize: 1 << 20)
    var received = 0
    for piece in pieces {
      session.receive(piece)
      received += piece.count
      drive(&session, &dice)
      precondition(session.input.buffer.capacity <= 2 * received + 2 * WireBuffer.keptCapacity, "memory in proportion")
      if isOpen { read(&session, &reader) }
      session.output.removeAll()
    }
    session.disconnected()
    precondition(session.next() == .disconnect)
  }

  private static func read(_ session: inout ServerSession, _ reader: inout MessageDecoder) {
    do throws(WireError) {
      reader.append(session.output.array)
      while let frame = try reader.nextFrame() { _ = try reader.decodeBackend(frame) }
      precondition(reader.unread == 0, "only whole messages are sent")
    } catch { preconditionFailure("the session wrote what cannot be read: \(error)") }
  }

  private static func drive(_ session: inout ServerSession, _ dice: inout Dice) {
    let report = WireReport(sqlState: "42601", message: "no")
    for _ in 0..<10_000 {
      switch session.next() {
      case .read, .wait, .disconnect, .cancel: return
      case .flush: break
      case .copyData(let slice): precondition(session.input.buffer.array(of: slice).count == slice.count)
      case .startTLS: session.secured()
      case .authenticate:
        switch dice.next() % 3 {
        case 0: session.authenticate(.trust)
        case 1: session.authenticate(.cleartext)
        default:
          let verifier = ScramVerifier(dummyFor: "alice", secret: [1], crypto: Mixing())
          session.authenticate(.scram(ScramServer(verifier: verifier, nonce: [1, 2, 3], crypto: Mixing())))
        }
      case .checkPassword: session.passwordChecked(dice.next() % 2 == 0)
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
        switch dice.next() % 3 {
        case 0: session.beginCopyIn(CopyFormats(format: .text, columns: []))
        case 1: session.completed(.idle)
        default: session.failed(report, .idle)
        }
      case .fail, .copyFail: session.failed(report, .idle)
      case .parse, .describe, .close, .sync, .copyDone:
        if dice.next() % 5 > 0 { session.completed(.idle) } else { session.failed(report, .failed) }
      }
    }
  }

  // MARK: A client's session

  private static func converse(_ pieces: [[UInt8]], _ dice: inout Dice, hasTLS: Bool) {
    var options = ClientSession.Options(user: "alice", tls: hasTLS ? .preferred : .off)
    options.password = "secret"
    options.allowsCleartext = dice.next() % 2 == 0
    var client = ClientSession(options: options, scramNonce: [1, 2, 3], crypto: Mixing())
    for piece in pieces {
      client.receive(piece)
      events: for _ in 0..<10_000 {
        switch client.next() {
        case .read, .disconnect: break events
        case .startTLS: client.secured()
        case .ready:
          do throws(WireError) {
            switch dice.next() % 3 {
            case 0: try client.query("SELECT 1")
            case 1: try client.prepare("s", "SELECT $1")
            default: try client.execute(prepared: "s", parameters: [[1], nil])
            }
          } catch { break events }
        case .row(var values):
          while let value = values.next(in: client.input.buffer) {
            if case .bytes(let slice) = value { _ = client.input.buffer.array(of: slice) }
          }
        case .copyIn: client.copyDone()
        case .copyData(let slice): _ = client.input.buffer.array(of: slice)
        default: break
        }
      }
      client.output.removeAll()
    }
  }
}

/// The driver's choices.
struct Dice {
  var state: UInt64
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state >> 8
  }
}

/// In place of SHA-256: as much depends on every byte as the protocol's logic needs, and it costs nothing.
struct Mixing: ScramCrypto {
  func sha256(_ message: [UInt8]) -> [UInt8] {
    var state: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in message { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return (0..<32).map { UInt8(truncatingIfNeeded: state >> UInt64($0 % 8 * 8)) ^ UInt8($0) }
  }
  func hmac(key: [UInt8], message: [UInt8]) -> [UInt8] { sha256(key + [0] + message) }
  func pbkdf2(password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8] { sha256(password + [1] + salt) }
}
