import ArgumentParser
import Foundation
internal import Logging
internal import Paxos
internal import Platform
internal import Replication
internal import Server
internal import Synchronization
internal import Synod

/// `synod serve`: a database over PostgreSQL's protocol.
struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Serve a database: psql, pgbench and every PostgreSQL driver can connect.",
    discussion: """
      Listening on loopback alone, the server trusts whoever reaches it; beyond, it asks for passwords (SCRAM-SHA-256) \
      over TLS. SIGTERM lets running statements end and tells everybody else to go; a second one ends at once. SIGHUP \
      reads the certificates again.
      """)

  @Option(help: ArgumentHelp("The database's directory. Made if it is not there.", valueName: "dir"))
  var data: String

  @Option(
    parsing: .singleValue,
    help: ArgumentHelp(
      "Where clients connect: host:port, port, or the path of a Unix socket. May be given again. (default: 127.0.0.1:7432)",
      valueName: "address"))
  var listen: [String] = []

  @Option(help: ArgumentHelp("Where health and metrics are served: host:port, or \"off\".", valueName: "address"))
  var http = "127.0.0.1:7434"

  @Option(help: ArgumentHelp("Write a line with the URL to this file once clients can connect.", valueName: "file"))
  var listeningUrlFile: String?

  @Option(help: ArgumentHelp("Who may come in: trust or scram. (default: trust on loopback, scram beyond)"))
  var auth: String?

  @Option(help: ArgumentHelp("The server's certificate, PEM, with those that signed it.", valueName: "file"))
  var tlsCert: String?

  @Option(help: ArgumentHelp("The certificate's private key, PEM.", valueName: "file"))
  var tlsKey: String?

  @Option(
    help: ArgumentHelp(
      "Whose certificates let clients in, PEM: as the role that the common name is, without a password.",
      valueName: "file"))
  var tlsClientCa: String?

  @Flag(help: "Take connections in clear from beyond loopback.")
  var insecure = false

  @Option(help: "How many clients may be connected.")
  var maxConnections = 1000

  @Option(help: "How many of them are kept for superusers.")
  var superuserReservedConnections = 3

  @Option(help: "How many processors sessions use at once. (default: all)")
  var threads: Int?

  @Option(help: ArgumentHelp("How long running statements may take to end after SIGTERM.", valueName: "seconds"))
  var drainTimeout = 30.0

  @Option(help: ArgumentHelp("Log statements that take so long; -1 for none.", valueName: "milliseconds"))
  var logMinDuration = -1

  @Option(help: "What is logged: trace, debug, info, notice, warning, error, critical.")
  var logLevel = "notice"

  @Flag(
    help: ArgumentHelp(
      "End at once when standard input ends: for nodes that go with whoever started them.", visibility: .hidden))
  var untilInputEnds = false

  @OptionGroup(title: "Cluster") var cluster: ClusterArguments

  func validate() throws {
    guard Logger.Level(rawValue: logLevel) != nil else {
      throw ValidationError(
        "unknown --log-level \"\(logLevel)\"; there are trace, debug, info, notice, warning, error, critical")
    }
    if let auth, ServingOptions.Authentication(rawValue: auth) == nil {
      throw ValidationError("unknown --auth \"\(auth)\"; there are trust and scram")
    }
    guard maxConnections > 0, superuserReservedConnections >= 0, superuserReservedConnections < maxConnections else {
      throw ValidationError("--max-connections must be more than --superuser-reserved-connections")
    }
    guard threads ?? 1 > 0 else { throw ValidationError("--threads is at least 1") }
    guard (tlsCert == nil) == (tlsKey == nil) else { throw ValidationError("--tls-cert and --tls-key go together") }
    guard tlsClientCa == nil || tlsCert != nil else {
      throw ValidationError("--tls-client-ca goes with --tls-cert and --tls-key")
    }
  }

  func run() throws {
    signal(SIGPIPE, SIG_IGN)
    // Before any thread is made, which all inherit the mask: one of them waits for it.
    if tlsCert != nil || cluster.peerCert != nil { Self.block(SIGHUP) }
    // Tables and clients take a descriptor each.
    ResourceLimits.raiseOpenFiles()
    let signals = TerminationSignals()
    if untilInputEnds {
      Thread.detachNewThread {
        var byte: UInt8 = 0
        while unsafe read(STDIN_FILENO, &byte, 1) != 0 {}
        Foundation._exit(1)
      }
    }
    var options = try serverOptions()
    let level = Logger.Level(rawValue: logLevel) ?? .notice
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = level
      return handler
    }
    let logger = Logger(label: "synod")
    let metrics = PrometheusFactory(help: MetricNames.help)
    metrics.bootstrap()

    // Before the others are looked for, which may take long: whoever watches this process is to see that it lives.
    let standing = Standing()
    let health = try serveHTTP(standing, metrics)
    let database: Database
    var member: ClusterMember?
    var serving: ClusterServing?
    if try cluster.isAsked || ClusterArguments.isNode(data) {
      let opened = try cluster.open(
        data, clientAddress: cluster.advertiseClients ?? "", insecure: insecure, logger: logger)
      member = opened
      serving = ClusterServing(
        opened, drainNanoseconds: UInt64(max(0, cluster.transferTimeout) * 1e9), takesFaults: cluster.faults)
      options.cluster = serving
      options.relayTLS = try cluster.relayTLS(isServingTLS: options.tls != nil)
      database = opened.database
    } else {
      do throws(DatabaseError) { database = try Database.open(at: data) } catch { throw Self.failure(error) }
    }
    let server: Server
    let bound: [SocketAddress]
    do {
      try member?.awaitCatalog()
      server = try Server(
        database: database, options: options, metrics: ServerMetrics(factory: metrics), logger: logger)
      bound = try server.start()
    } catch {
      try? member?.close()
      try? database.close()
      throw CommandFailure("\(error)")
    }
    if let member, cluster.advertiseClients == nil, let first = bound.first(where: { $0.family != .unix }) {
      let address = cluster.clientAddress(first, peerAddress: member.peerAddress, logger)
      member.network.changeHello { $0.clientAddress = address }
    }
    serving?.watch(server, logger)
    ProcessSamples.register(metrics, version: SynodCommand.version)
    server.registerSamples(metrics)
    serving?.register(metrics)
    standing.parts.withLock { $0 = (server, serving) }
    if tlsCert != nil || cluster.peerCert != nil {
      let (tls, relays, peers) = (options.tls, options.relayTLS, member?.network)
      whenHungUp(logger) { () throws(TLSError) in
        try tls?.reload()
        try relays?.reload()
        try peers?.reloadCertificates()
      }
    }
    try announce(bound, health)
    if member == nil { adviseOnPasswords(database, bound, logger) }
    signals.wait()
    signals.whenAgain { Foundation._exit(1) }
    if let member, let serving, member.replication.status.role == .leader {
      if let refusal = serving.transfer(to: nil) {
        logger.warning("leadership was not handed over", metadata: ["reason": "\(refusal)"])
      } else {
        server.awaitMoves(timeoutNanoseconds: 2_000_000_000)
      }
    }
    logger.notice("draining", metadata: ["connections": "\(server.services.registry.count)"])
    let isEmpty = server.drain(timeoutNanoseconds: UInt64(max(0, drainTimeout) * 1e9))
    if !isEmpty { logger.warning("statements were cut off", metadata: ["seconds": "\(drainTimeout)"]) }
    health?.stop()
    server.stop()
    serving?.stop()
    try? member?.close()
    do throws(DatabaseError) { try database.close() } catch { throw Self.failure(error) }
    logger.notice("stopped")
  }

  private static func failure(_ error: DatabaseError) -> CommandFailure {
    CommandFailure([error.message, error.detail, error.hint].compactMap { $0 }.joined(separator: "\n  "))
  }

  private static func block(_ signal: Int32) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, signal)
    _ = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// On SIGHUP: connections made from then on are shown the files as they are then.
  private func whenHungUp(_ logger: Logger, _ reload: @escaping @Sendable () throws(TLSError) -> Void) {
    Thread.detachNewThread {
      var set = sigset_t()
      unsafe sigemptyset(&set)
      unsafe sigaddset(&set, SIGHUP)
      var caught: Int32 = 0
      while unsafe sigwait(&set, &caught) == 0 {
        do throws(TLSError) {
          try reload()
          logger.notice("certificates were read again")
        } catch { logger.error("certificates stay as they were", metadata: ["reason": "\(error)"]) }
      }
    }
  }

  /// Where passwords are asked for and nobody has one, says how the first is set.
  private func adviseOnPasswords(_ database: Database, _ bound: [SocketAddress], _ logger: Logger) {
    let asks = auth == "scram" || auth == nil && bound.contains { !$0.isLoopback }
    guard asks, tlsClientCa == nil,
      let rows = try? database.query("SELECT 1 FROM pg_authid WHERE rolpassword IS NOT NULL LIMIT 1").rows, rows.isEmpty
    else { return }
    let how =
      auth == "scram"
      ? "stop, and: synod '\(data)' \"ALTER ROLE synod PASSWORD '…'\""
      : "on this machine: ALTER ROLE synod PASSWORD '…'"
    logger.notice("no role has a password yet: nobody can come in where one is asked for", metadata: ["set": "\(how)"])
  }

  private func serverOptions() throws -> Server.Options {
    let places = try (listen.isEmpty ? ["127.0.0.1:7432"] : listen).map { try Self.address($0, defaultPort: 7432) }
    var options = Server.Options(listen: places, loops: max(1, threads ?? ProcessInfo.processInfo.activeProcessorCount))
    options.serving.authentication =
      auth.flatMap(ServingOptions.Authentication.init(rawValue:)) ?? options.serving.authentication
    options.serving.maximumConnections = maxConnections
    options.serving.superuserReservedConnections = superuserReservedConnections
    options.serving.isInsecure = insecure
    options.serving.slowStatementMilliseconds = logMinDuration
    if let certificate = tlsCert, let key = tlsKey {
      do throws(TLSError) {
        options.tls = try TLSContext(
          server: TLSContext.Identity(certificate: .file(certificate), key: .file(key)),
          authorities: tlsClientCa.map { .file($0) }, clients: tlsClientCa == nil ? .none : .ifGiven)
      } catch { throw CommandFailure("\(error)") }
    }
    return options
  }

  /// `host:port`, `port`, `[v6]:port` or a path.
  static func address(_ text: String, defaultPort: UInt16) throws -> SocketAddress {
    do throws(NetworkError) {
      if text.hasPrefix("/") || text.hasPrefix(".") { return try SocketAddress(path: text) }
      var host = "127.0.0.1"
      var port = Substring(text)
      if let colon = text.lastIndex(of: ":") {
        host = String(text[..<colon]).trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        port = text[text.index(after: colon)...]
      }
      guard let number = UInt16(port) else {
        throw NetworkError(.badAddress, operation: "listen on", address: text, reason: "a port is a number up to 65535")
      }
      if host.isEmpty || host == "*" { host = "0.0.0.0" }
      let found = try SocketAddress.resolve(host, port: number)
      return found[0]
    } catch { throw CommandFailure("\(error)") }
  }

  /// What the HTTP port tells of: nothing yet while the node starts.
  private final class Standing: Sendable {
    let parts = Mutex<(server: Server?, cluster: ClusterServing?)>((nil, nil))
    var server: Server? { parts.withLock { $0.server } }
    var cluster: ClusterServing? { parts.withLock { $0.cluster } }
  }

  private func serveHTTP(_ standing: Standing, _ metrics: PrometheusFactory) throws -> HTTPServer? {
    guard http != "off" else { return nil }
    let place = try Self.address(http, defaultPort: 7434)
    let service = HealthService(
      live: [.init("process") { nil }],
      ready: [
        .init("started") {
          standing.server == nil ? "the node starts: it opens its database or looks for others" : nil
        },
        .init("draining") { standing.server?.isStopping == true ? "the server is about to stop" : nil },
        .init("database") { standing.server?.databaseFailure() },
        .init("leader") { standing.cluster?.leaderFailure() },
      ],
      metrics: { metrics.text() })
    return try HTTPServer(host: place.host, port: Int(place.port)) { path, query in
      if standing.server == nil, ["/primary", "/replica", "/read-only"].contains(path) {
        return HTTPAnswer(503, "the node starts\n")
      }
      return standing.cluster?.answer(path, query) ?? service.answer(path, query)
    }
  }

  private func announce(_ bound: [SocketAddress], _ health: HTTPServer?) throws {
    let name = "synod"
    var lines = bound.map { address in
      address.family == .unix
        ? "listening on \(address); connect with: psql 'host=\((address.host as NSString).deletingLastPathComponent) user=synod dbname=\(name)'"
        : "listening on \(address); connect with: psql 'postgres://synod@\(address)/\(name)'"
    }
    if let health { lines.append("health and metrics: http://\(health.host):\(health.port)/readyz  /metrics") }
    FileHandle.standardError.write(Data((lines.joined(separator: "\n") + "\n").utf8))
    guard let listeningUrlFile else { return }
    let address = bound.first { $0.family != .unix } ?? bound[0]
    let url =
      address.family == .unix
      ? "postgres:///\(name)?host=\((address.host as NSString).deletingLastPathComponent)&user=synod"
      : "postgres://synod@\(address)/\(name)"
    var text = url + "\n"
    if let health { text += "http://\(health.host):\(health.port)\n" }
    try Data(text.utf8).write(to: URL(fileURLWithPath: listeningUrlFile), options: .atomic)
  }
}

/// SIGTERM and SIGINT, waited for rather than handled. Made before any thread is, which all inherit the mask.
struct TerminationSignals: ~Copyable {
  private var set = sigset_t()

  init() {
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, SIGTERM)
    unsafe sigaddset(&set, SIGINT)
    _ = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// Whether one of them has come and was not waited for.
  static var arePending: Bool {
    var pending = sigset_t()
    unsafe sigpending(&pending)
    return unsafe sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1
  }

  /// Returns when one of them comes.
  borrowing func wait() {
    var caught: Int32 = 0
    var set = self.set
    _ = unsafe sigwait(&set, &caught)
  }

  /// Runs `body` on a thread of its own when another one comes.
  borrowing func whenAgain(_ body: @escaping @Sendable () -> Void) {
    let set = self.set
    Thread.detachNewThread {
      var caught: Int32 = 0
      var set = set
      _ = unsafe sigwait(&set, &caught)
      body()
    }
  }
}
