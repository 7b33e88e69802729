internal import Synod
internal import Wire

/// One connection to one server: the session's value, and the socket that carries it. Belongs to one thread.
///
/// `attempt` makes one: it goes through startup, TLS and authentication until the server is ready for a statement.
final class ServerLink {
  let host: ConnectionSettings.Host
  let stream: SocketStream
  var session: ClientSession
  /// What the server told about itself: server_version, in_hot_standby, TimeZone, …
  private(set) var parameters: [String: String] = [:]
  /// True once the connection has ended.
  var isOver = false
  private var buffer = [UInt8](repeating: 0, count: 64 * 1024)

  private init(host: ConnectionSettings.Host, stream: SocketStream, session: consuming ClientSession) {
    self.host = host
    self.stream = stream
    self.session = session
  }

  /// How an attempt to connect ended in vain.
  struct Refusal: Error {
    enum Kind {
      /// Nobody there, or gone again: the next host may do better.
      case unreachable
      /// The handshake failed: without TLS it may work.
      case tls
      /// The server asks for a password, and there is none.
      case needsPassword
      /// The server said no: who we are, or how we came.
      case refused
    }
    var kind: Kind
    var error: DatabaseError

    init(kind: Kind, error: DatabaseError) {
      self.kind = kind
      self.error = error
    }

    init(_ kind: Kind, _ message: String) {
      self.init(kind: kind, error: DatabaseError(sqlState: "08006", message: message))
    }
  }

  static func attempt(
    _ settings: ConnectionSettings, _ host: ConnectionSettings.Host, tls: ClientSession.Options.TLS
  ) throws(Refusal) -> ServerLink {
    let stream: SocketStream
    do throws(StreamProblem) {
      stream = try SocketStream.connect(to: host, timeoutSeconds: settings.connectTimeoutSeconds)
    } catch {
      throw Refusal(
        kind: .unreachable,
        error: DatabaseError(
          sqlState: "08001", message: error.message, hint: "Is the server running there and accepting connections?"))
    }
    var options = ClientSession.Options(user: settings.user, tls: host.isLocalSocket ? .off : tls)
    options.database = settings.database
    options.password = settings.password
    options.allowsCleartext = host.isLocalSocket
    options.channelBinding =
      switch settings.channelBinding {
      case .disable: .disable
      case .prefer: .prefer
      case .require: .require
      }
    options.parameters = settings.parameters.map { StartupMessage.Parameter($0.name, $0.value) }
    let link = ServerLink(
      host: host, stream: stream,
      session: ClientSession(options: options, scramNonce: OpenSSLCrypto.random(18), crypto: OpenSSLCrypto()))
    // A server that takes connections and then says nothing (stopped where it stands, say) is given up like one that is
    // not there; libpq's connect_timeout covers both, too.
    stream.limitWaits(seconds: settings.connectTimeoutSeconds)
    try link.logIn(settings)
    stream.limitWaits(seconds: 0)
    return link
  }

  private func logIn(_ settings: ConnectionSettings) throws(Refusal) {
    while true {
      switch session.next() {
      case .ready: return
      case .parameter(let name, let value): parameters[name] = value
      case .startTLS:
        try moving { () throws(StreamProblem) in try send() }
        do throws(StreamProblem) { try stream.startTLS(settings, host: host) } catch {
          throw Refusal(.tls, "connection to \(host.description) failed: \(error.message)")
        }
        session.secured(certificateHash: stream.certificateHash)
      case .read:
        let isOpen = try moving { () throws(StreamProblem) in
          try send()
          return try receive()
        }
        guard isOpen else {
          var refusal = Refusal(.unreachable, "\(host.description) closed the connection before it was made")
          refusal.error.hint = "Is that a server that speaks PostgreSQL's protocol?"
          throw refusal
        }
      case .disconnect(let report):
        try? send()
        throw Refusal(report, host)
      default: break
      }
    }
  }

  private func moving<T>(_ body: () throws(StreamProblem) -> T) throws(Refusal) -> T {
    do throws(StreamProblem) { return try body() } catch { throw Refusal(.unreachable, error.message) }
  }

  /// Sends what the session has to say.
  func send() throws(StreamProblem) {
    guard !session.output.isEmpty else { return }
    defer { session.output.removeAll() }
    try session.output.withBytes { (bytes) throws(StreamProblem) in try stream.write(bytes) }
  }

  /// Waits for bytes; false where the server has closed the connection.
  func receive() throws(StreamProblem) -> Bool {
    let count = try stream.read(into: &buffer)
    guard count > 0 else { return false }
    unsafe buffer.withUnsafeBytes { bytes in unsafe session.receive(bytes.bytes.extracting(0..<count)) }
    return true
  }

  /// Whether the server has closed the connection while nobody spoke.
  var hasEnded: Bool { isOver || stream.hasEnded }

  func note(parameter name: String, _ value: String) { parameters[name] = value }

  /// Says goodbye.
  func close() {
    session.terminate()
    try? send()
    stream.shutdownTLS()
  }
}

extension ServerLink.Refusal {
  fileprivate init(_ report: WireReport?, _ host: ConnectionSettings.Host) {
    guard let report else {
      self.init(
        kind: .unreachable,
        error: DatabaseError(sqlState: "08006", message: "\(host.description) closed the connection"))
      return
    }
    let isPasswordMissing = report.sqlState == "28P01" && report.message == "no password supplied"
    let kind: Kind =
      isPasswordMissing
      ? .needsPassword
      // Starting up, shutting down, too many connections: another host may take us.
      : report.sqlState.hasPrefix("57P") || report.sqlState.hasPrefix("53") ? .unreachable : .refused
    self.init(kind: kind, error: DatabaseError(report))
  }
}

extension DatabaseError {
  init(_ report: WireReport) {
    self.init(
      sqlState: report.sqlState, message: report.message, detail: report.detail, hint: report.hint,
      position: report.position, table: report.table, column: report.column, constraint: report.constraint)
  }

  init(_ error: WireError) {
    self.init(sqlState: error.sqlState, message: error.message, detail: error.detail, hint: error.hint)
  }
}
