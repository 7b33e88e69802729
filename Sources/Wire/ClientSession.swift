/// A client's conversation with a server, as a value: bytes in, events and bytes out.
///
/// ```
///   start ─▶ TLS? ─▶ handshake ─▶ startup ─▶ authentication ─▶ settings ─▶ ready
///                                                                          │  ▲
///                                              query, execute, copy… ──────┘  └── ReadyForQuery
/// ```
///
/// The driver sends what is in `output`, gives what comes to `receive`, and calls `next()` until it gives `.read`. The
/// slices of an event live until the next call of `next`, in `input.buffer`.
///
/// 1. A byte that came with the server's answer to the wish for TLS is refused (CVE-2021-23222).
/// 2. A server that was asked to prove itself by SCRAM is not believed before it did.
/// 3. A password in clear is sent inside TLS only, unless `allowsCleartext`.
/// 4. What a server sends never traps; a message out of place ends the connection with an error.
package struct ClientSession: ~Copyable {
  package struct Options: Sendable {
    package enum TLS: Sendable { case off, preferred, required }
    /// libpq's channel_binding: whether the exchange of the password is bound to the server's certificate.
    package enum ChannelBinding: String, Sendable { case disable, prefer, require }
    package var user: String
    /// Defaults to the user's name on the server.
    package var database: String?
    /// `application_name` and other settings to begin with.
    package var parameters: [StartupMessage.Parameter] = []
    package var password: String?
    package var tls: TLS
    package var allowsCleartext = false
    package var channelBinding = ChannelBinding.prefer
    package var maximumMessageSize = 1 << 30

    package init(user: String, tls: TLS) {
      self.user = user
      self.tls = tls
    }
  }

  package enum Event: Equatable, Sendable {
    /// Nothing until more bytes come. Send `output`.
    case read
    /// Shake hands as a TLS client, then `secured()`.
    case startTLS
    /// The server waits for a statement. The first one says that the connection stands.
    case ready(TransactionStatus)
    case columns([FieldDescription])
    case row(WireValues)
    /// A statement is done: its tag.
    case complete(String)
    case empty
    /// A portal has more rows: it was executed with a limit.
    case suspended
    case parameterTypes([UInt32])
    /// Send data: `copyData`, then `copyDone` or `copyFail`.
    case copyIn(CopyFormats)
    /// Data follows, then `.copyDone`.
    case copyOut(CopyFormats)
    case copyData(WireSlice)
    case copyDone
    indirect case error(WireReport)
    indirect case notice(WireReport)
    case notification(process: UInt32, channel: String, payload: String)
    case parameter(name: String, value: String)
    /// The conversation is over; send `output`, if there is some, and close.
    indirect case disconnect(WireReport?)
  }

  enum State {
    case awaitingTLSAnswer
    case handshake
    case authenticating
    case settingUp
    case ready
    case busy
    indirect case closed(WireReport?)
  }

  package let options: Options
  package var output = WireBuffer()
  package internal(set) var input: MessageDecoder
  var state: State
  var isSecure = false
  /// The hash of the server's certificate (tls-server-end-point), where it is known.
  private var certificateHash: [UInt8] = []
  private var isBound = false
  var scram: ScramClient?
  var asked = false
  private let scramNonce: [UInt8]
  private let crypto: any ScramCrypto
  /// By which this connection's statement can be cancelled over another one; nil until the server has told.
  package internal(set) var key: CancelKey?
  package internal(set) var transaction = TransactionStatus.idle

  /// Begins: `output` holds the first message. `scramNonce` is random, 18 bytes or more.
  package init(options: Options, scramNonce: [UInt8], crypto: any ScramCrypto) {
    self.options = options
    self.scramNonce = scramNonce
    self.crypto = crypto
    input = MessageDecoder(side: .backend, maximumMessageSize: options.maximumMessageSize)
    state = options.tls == .off ? .authenticating : .awaitingTLSAnswer
    if options.tls == .off { sendStartup() } else { output.tlsRequest() }
  }

  private mutating func sendStartup() {
    var message = StartupMessage(parameters: [.init("user", options.user)])
    if let database = options.database { message.parameters.append(.init("database", database)) }
    message.parameters += options.parameters
    if message["client_encoding"] == nil { message.parameters.append(.init("client_encoding", "UTF8")) }
    output.startup(message)
    state = .authenticating
  }

  package mutating func receive(_ bytes: RawSpan) {
    switch state {
    case .closed: return
    case .handshake: fail(Self.unencrypted)
    default: input.append(bytes)
    }
  }

  package mutating func receive(_ bytes: [UInt8]) { unsafe receive(bytes.span.bytes) }

  private static let unencrypted = WireError(
    .connection, "received unencrypted data after SSL response",
    detail: "This could be either a server-software bug or evidence of an attempted man-in-the-middle attack.")

  mutating func fail(_ error: WireError) {
    state = .closed(error.report)
    input.removeAll()
  }

  /// TLS is there: what comes from now on is decrypted. `certificateHash` is the server's tls-server-end-point.
  package mutating func secured(certificateHash: [UInt8] = []) {
    guard case .handshake = state else { return }
    isSecure = true
    self.certificateHash = certificateHash
    sendStartup()
  }

  // MARK: What happened

  package mutating func next() -> Event {
    do throws(WireError) {
      switch state {
      case .closed(let report): return .disconnect(report)
      case .handshake: return .read
      case .awaitingTLSAnswer:
        guard let byte = input.nextByte() else { return .read }
        return try tlsAnswered(byte)
      case .authenticating, .settingUp, .ready, .busy: return try nextMessage()
      }
    } catch {
      fail(error)
      return .disconnect(error.report)
    }
  }

  private mutating func tlsAnswered(_ byte: UInt8) throws(WireError) -> Event {
    switch UnicodeScalar(byte) {
    case "S":
      guard input.unread == 0 else { throw Self.unencrypted }
      state = .handshake
      return .startTLS
    case "N":
      guard options.tls == .preferred else {
        throw WireError(
          .connection, "server does not support TLS, but TLS was required", sqlState: "08001",
          hint: "Use sslmode=disable for a connection in clear.")
      }
      sendStartup()
      return .read
    default:
      // Not an error message either: it could come from anyone, before TLS.
      throw WireError(.connection, "received invalid response to SSL negotiation: 0x\(String(byte, radix: 16))")
    }
  }

  private mutating func nextMessage() throws(WireError) -> Event {
    while let frame = try input.nextFrame() {
      if let event = try event(try input.decodeBackend(frame)) { return event }
    }
    return .read
  }

  private mutating func event(_ message: BackendMessage) throws(WireError) -> Event? {
    switch message {
    case .notice(let report): return .notice(report)
    case .error(let report): return failed(report)
    default: break
    }
    switch state {
    case .authenticating:
      switch message {
      case .authentication(let request):
        try authenticate(request)
        return nil
      case .negotiateVersion: return nil
      default: throw Self.misplaced
      }
    case .settingUp, .ready, .busy: return try inSession(message)
    default: throw Self.misplaced
    }
  }

  private static let misplaced = WireError(.connection, "message from the server out of place")

  private mutating func failed(_ report: WireReport) -> Event {
    let isIn: Bool =
      switch state {
      case .ready, .busy: true
      default: false
      }
    if isIn, !report.severity.endsConnection { return .error(report) }
    state = .closed(report)
    return .disconnect(report)
  }

  private mutating func inSession(_ message: BackendMessage) throws(WireError) -> Event? {
    switch message {
    case .parameterStatus(let name, let value): return .parameter(name: name, value: value)
    case .notification(let process, let channel, let payload):
      return .notification(process: process, channel: channel, payload: payload)
    case .keyData(let key):
      self.key = key
      return nil
    case .readyForQuery(let status):
      transaction = status
      state = .ready
      return .ready(status)
    default: break
    }
    guard case .busy = state else { throw Self.misplaced }
    switch message {
    case .rowDescription(let fields): return .columns(fields)
    case .dataRow(let values): return .row(values)
    case .commandComplete(let tag): return .complete(tag)
    case .emptyQuery: return .empty
    case .portalSuspended: return .suspended
    case .parameterDescription(let types): return .parameterTypes(types)
    case .noData, .parseComplete, .bindComplete, .closeComplete: return nil
    case .copyIn(let formats): return .copyIn(formats)
    case .copyOut(let formats): return .copyOut(formats)
    case .copyData(let slice): return .copyData(slice)
    case .copyDone: return .copyDone
    default: throw Self.misplaced
    }
  }

  // MARK: Who we are

  private mutating func authenticate(_ request: AuthenticationRequest) throws(WireError) {
    switch request {
    case .ok:
      if let scram, !scram.isDone {
        throw WireError(.connection, "server let us in without proving that it knows the password", sqlState: "28000")
      }
      guard isBound || options.channelBinding != .require else { throw Self.bindingMissing }
      state = .settingUp
    case .cleartext:
      guard options.channelBinding != .require else { throw Self.bindingMissing }
      guard isSecure || options.allowsCleartext else {
        throw WireError(
          .connection, "server asks for the password in clear outside TLS", sqlState: "28000",
          hint: "Connect with sslmode=require, or let the server use SCRAM.")
      }
      try once()
      output.password(try password())
    case .sasl(let mechanisms):
      let binding = try binding(mechanisms)
      try once()
      var exchange = ScramClient(password: try password(), nonce: scramNonce, binding: binding, crypto: crypto)
      output.saslInitial(mechanism: exchange.mechanism, exchange.first())
      scram = exchange
    case .saslContinue(let slice):
      guard var exchange = scram else { throw Self.misplaced }
      output.saslResponse(try exchange.proof(input.buffer.array(of: slice)))
      scram = exchange
    case .saslFinal(let slice):
      guard var exchange = scram else { throw Self.misplaced }
      try exchange.verify(input.buffer.array(of: slice))
      scram = exchange
    case .other(let code):
      throw WireError(
        .connection, "authentication method \(code) is not supported", sqlState: "28000",
        hint: "Let the server use scram-sha-256.")
    }
  }

  private static let bindingMissing = WireError(
    .connection, "channel binding is required, but the server did not offer it", sqlState: "28000",
    hint: "It takes TLS and a server that offers SCRAM-SHA-256-PLUS.")

  /// What is done about the channel, of what the server offers.
  private mutating func binding(_ mechanisms: [String]) throws(WireError) -> ScramClient.Binding {
    let couldBind = isSecure && !certificateHash.isEmpty && options.channelBinding != .disable
    if couldBind, mechanisms.contains(ScramVerifier.mechanismPlus) {
      isBound = true
      return .certificate(certificateHash)
    }
    guard options.channelBinding != .require else { throw Self.bindingMissing }
    guard mechanisms.contains(ScramVerifier.mechanism) else {
      throw WireError(
        .connection, "none of the server's SASL authentication mechanisms are supported", sqlState: "28000")
    }
    return couldBind ? .notOffered : .none
  }

  /// A server asks once; a second question could lure the password out in another way.
  private mutating func once() throws(WireError) {
    guard !asked else { throw Self.misplaced }
    asked = true
  }

  private func password() throws(WireError) -> String {
    guard let password = options.password, !password.isEmpty else {
      throw WireError(.connection, "no password supplied", sqlState: "28P01")
    }
    return password
  }
}

// What the client says. The session must be ready, but for COPY's data and `terminate`.
extension ClientSession {
  /// Whether a statement may be sent.
  package var isReady: Bool { if case .ready = state { true } else { false } }

  /// Runs statements; ends with `.ready`.
  package mutating func query(_ text: String) throws(WireError) {
    precondition(isReady)
    try output.query(text)
    state = .busy
  }

  /// Runs one statement with parameters, through the unnamed statement and portal; ends with `.ready`.
  package mutating func execute(
    _ text: String, parameterTypes: [UInt32] = [], parameterFormats: [WireFormat] = [], parameters: [[UInt8]?],
    resultFormats: [WireFormat] = []
  ) throws(WireError) {
    precondition(isReady)
    let from = output.count
    do throws(WireError) {
      try output.parse(ParseMessage(name: "", query: text, parameterTypes: parameterTypes))
      try output.bind(
        portal: "", statement: "", parameterFormats: parameterFormats, parameters: parameters,
        resultFormats: resultFormats)
    } catch {
      output.truncate(to: from)
      throw error
    }
    output.describe(.portal(""))
    output.execute(portal: "")
    output.sync()
    state = .busy
  }

  /// A piece of data after `.copyIn`.
  package mutating func copyData(_ bytes: RawSpan) throws(WireError) { try output.copyData(bytes) }

  package mutating func copyDone() { output.copyDone() }

  /// Gives a COPY up: the server answers with an error.
  package mutating func copyFail(_ reason: String) { output.copyFail(reason) }

  /// Says goodbye.
  package mutating func terminate() {
    if case .closed = state { return }
    output.terminate()
    state = .closed(nil)
    input.removeAll()
  }
}
