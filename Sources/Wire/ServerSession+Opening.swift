/// From the first byte to the first ReadyForQuery.
extension ServerSession {
  /// How a client shows who it is.
  package enum Authentication: Sendable {
    /// It need not.
    case trust
    /// It sends its password. Only sensible inside TLS.
    case cleartext
    case scram(ScramServer)
    /// It may not come in at all.
    case reject(WireReport)
  }

  mutating func nextOpening() throws(WireError) -> Action {
    // The first byte of a TLS handshake, where no startup packet is so long: sslnegotiation=direct of PostgreSQL 17.
    if !askedForTLS, !askedForGSS, options.tls != .unavailable, input.nextType == 0x16 {
      askedForTLS = true
      isDirect = true
      state = .handshake
      return .startTLS
    }
    guard let frame = try input.nextOpeningFrame() else { return .read }
    switch try input.decodeOpening(frame) {
    case .tlsRequest:
      guard !askedForTLS, !isSecure else { throw Self.unsupported(5679) }
      askedForTLS = true
      input.discardFrame()
      guard options.tls != .unavailable else { return answer("N") }
      output.append(UInt8(ascii: "S"))
      guard input.unread == 0 else {
        refuseUnencrypted()
        return .disconnect
      }
      state = .handshake
      return .startTLS
    case .gssRequest:
      guard !askedForGSS, !isSecure else { throw Self.unsupported(5680) }
      askedForGSS = true
      return answer("N")
    case .cancel(let key):
      shut()
      return .cancel(key)
    case .startup(let message): return .authenticate(try check(message))
    }
  }

  private mutating func answer(_ letter: UnicodeScalar) -> Action {
    output.append(UInt8(ascii: letter))
    return .flush
  }

  private static func unsupported(_ minor: Int) -> WireError {
    WireError(
      .connection, "unsupported frontend protocol 1234.\(minor): server supports 3.0 to 3.2", sqlState: "0A000")
  }

  /// Whether a startup can be served; its defaults filled in, what we do not know answered.
  private mutating func check(_ message: StartupMessage) throws(WireError) -> StartupMessage {
    var message = message
    if options.tls == .required, !isSecure {
      throw WireError(
        .connection, "this server takes connections over TLS only", sqlState: "28000",
        hint: "Connect with sslmode=require or stronger.")
    }
    guard let user = message["user"], !user.isEmpty else {
      throw WireError(.connection, "no PostgreSQL user name specified in startup packet", sqlState: "28000")
    }
    if let replication = message["replication"], !["false", "off", "no", "0"].contains(replication) {
      throw WireError(
        .connection, "replication connections are not supported", sqlState: "0A000",
        hint: "Nodes replicate over their own port; leave out the replication parameter.")
    }
    let unknown = message.parameters.map(\.name).filter { $0.hasPrefix("_pq_.") }
    if message.version > .v3_2 || !unknown.isEmpty {
      message.version = min(message.version, .v3_2)
      output.negotiateVersion(message.version, unknownOptions: unknown)
    }
    message.parameters.removeAll { $0.name.hasPrefix("_pq_.") }
    if (message["database"] ?? "").isEmpty {
      message.parameters.removeAll { $0.name == "database" }
      message.parameters.append(.init("database", user))
    }
    startup = message
    state = .choosing
    return message
  }

  /// TLS is there: what comes from now on is decrypted. Who began with it must have named our protocol (ALPN), or is
  /// somebody who was led here.
  package mutating func secured(applicationProtocol: String = "") {
    guard case .handshake = state else { return }
    isSecure = true
    guard !isDirect || applicationProtocol == "postgresql" else { return shut() }
    state = .opening
  }

  /// Completes `.authenticate`.
  package mutating func authenticate(_ how: Authentication) {
    guard case .choosing = state else { return ignoreIfClosed() }
    switch how {
    case .trust: letIn()
    case .cleartext:
      output.authentication(code: 3)
      expectPassword(.awaitingPassword)
    case .scram(let exchange):
      output.authenticationSASL(exchange.mechanisms)
      expectPassword(.awaitingSASLFirst(exchange, mechanismChosen: false))
    case .reject(let report): terminate(report)
    }
  }

  private mutating func expectPassword(_ next: State) {
    input.expectsPassword = true
    state = next
  }

  private mutating func letIn() {
    input.expectsPassword = false
    output.authentication(code: 0)
    state = .admitted
  }

  /// The next step of a client that was asked who it is.
  mutating func nextPassword() throws(WireError) -> Action {
    guard let frame = try input.nextFrame() else { return .read }
    guard case .password(let body) = try input.decodeFrontend(frame) else {
      shut()
      return .disconnect
    }
    switch state {
    case .awaitingPassword:
      let password = try input.decodePassword(body)
      guard !password.isEmpty else {
        throw WireError(.connection, "empty password returned by client", sqlState: "28P01")
      }
      state = .checkingPassword
      return .checkPassword(password)
    case .awaitingSASLFirst(var exchange, let mechanismChosen):
      guard let response = try firstResponse(body, mechanismChosen, &exchange) else {
        // The client chose and said nothing yet: an empty challenge asks it to begin.
        output.authentication(code: 11)
        state = .awaitingSASLFirst(exchange, mechanismChosen: true)
        return next()
      }
      output.authentication(code: 11, try exchange.first(response))
      state = .awaitingSASLLast(exchange)
      return next()
    case .awaitingSASLLast(var exchange):
      switch try exchange.last(input.buffer.array(of: body)) {
      case .accepted(let signature):
        output.authentication(code: 12, signature)
        letIn()
      case .rejected: terminate(passwordFailure)
      }
      return next()
    default: return .wait
    }
  }

  private func firstResponse(
    _ body: WireSlice, _ mechanismChosen: Bool, _ exchange: inout ScramServer
  ) throws(WireError) -> [UInt8]? {
    if mechanismChosen { return input.buffer.array(of: body) }
    let (mechanism, response) = try input.decodeSASLInitial(body)
    try exchange.choose(mechanism)
    return response
  }

  private var passwordFailure: WireReport {
    WireReport(
      severity: .fatal, sqlState: "28P01",
      message: "password authentication failed for user \"\(startup?["user"] ?? "")\"")
  }

  /// Completes `.checkPassword`.
  package mutating func passwordChecked(_ isRight: Bool) {
    guard case .checkingPassword = state else { return ignoreIfClosed() }
    if isRight { letIn() } else { terminate(passwordFailure) }
  }

  /// Completes `.open`: the session's settings that clients follow, and the key by which it can be cancelled. Of the
  /// key's secret (32 bytes are enough), clients of version 3.0 and 3.1 are given the first four bytes.
  ///
  /// Returns the key as the client knows it, to be registered.
  @discardableResult
  package mutating func opened(parameters: [(name: String, value: String)], key: CancelKey) -> CancelKey {
    var key = key
    guard case .starting = state else {
      ignoreIfClosed()
      return key
    }
    precondition((4...256).contains(key.secret.count))
    if (startup?.version ?? .v3_0) < .v3_2 { key.secret = Array(key.secret.prefix(4)) }
    for parameter in parameters { output.parameterStatus(name: parameter.name, value: parameter.value) }
    output.keyData(key)
    output.readyForQuery(.idle)
    startup = nil
    state = .ready
    return key
  }

  /// A completion after the end is late, no mistake; any other that nothing asked for is the driver's mistake.
  func ignoreIfClosed() {
    guard case .closed = state else { preconditionFailure("a completion that nothing waits for") }
  }
}
