package import Logging
package import Platform
internal import SQL
internal import Synchronization
package import Synod
internal import Wire

// The server: a database behind sockets.
//
//   Listener ─▶ StreamConnection ─▶ SocketStream ─▶ Connection ─▶ SQLSession ─▶ engine        (all on one loop's turn)
//   HTTPServer ─▶ health and metrics                                                         (a thread of its own)
//
// Its life: init → start → (serving) → drain → stop. `drain` lets running statements end, for a limited time.

/// Why the server cannot start, for a person.
package struct ServerError: Error, CustomStringConvertible {
  package var message: String
  package var hint: String?
  package init(_ message: String, hint: String? = nil) {
    self.message = message
    self.hint = hint
  }
  package var description: String { hint.map { "\(message)\n  \($0)" } ?? message }
}

/// Serves one database over PostgreSQL's protocol.
package final class Server: Sendable {
  package struct Options: Sendable {
    /// Where clients connect; at least one.
    package var listen: [SocketAddress]
    package var serving = ServingOptions()
    /// Where sessions run, in a cluster, and how they are relayed.
    package var cluster: (any ClusterRouting)?
    package var relayTLS: TLSContext?
    /// The certificate that TLS is spoken with.
    package var tls: TLSContext?
    /// How many loops, that is how many processors sessions use at once.
    package var loops: Int
    /// How many statements may be blocked at once, each with its thread.
    package var maximumThreads = 4096
    package init(listen: [SocketAddress], loops: Int) {
      self.listen = listen
      self.loops = loops
    }
  }

  package let services: ConnectionServices
  let database: Database
  private let options: Options
  private let tls: TLSContext?
  private let activity: RegistryActivity
  private let group: EventLoopGroup
  private let listeners = Mutex<[Listener]>([])
  private let isDraining = Atomic(false)
  private let departures = FutexWord()
  /// The nodes to which sessions are relayed, that are not heard: since when.
  private let silentSince: Mutex<[UInt64: UInt64]> = Mutex([:])
  /// For how long, where another node leads. A stream between peers may end and come again.
  private static let silenceNanoseconds: UInt64 = 2_000_000_000

  /// Prepares to serve; nothing listens yet.
  package init(
    database: Database, options: Options, metrics: ServerMetrics, logger: Logger
  ) throws {
    self.database = database
    let sql = try database.sqlDatabase()
    // The same after a restart, and on every node of a cluster: a salt that changes would tell that nobody has the name.
    let secret = OpenSSLScram().sha256(Array("salts of roles that do not exist".utf8) + database.identityBytes)
    var serving = options.serving
    serving.hasTLS = options.tls != nil
    services = ConnectionServices(
      sql: sql, options: serving, metrics: metrics, logger: logger, dummySecret: secret,
      cluster: options.cluster, relayTLS: options.relayTLS)
    activity = RegistryActivity(services.registry, options.cluster)
    sql.activityProvider = activity
    self.options = options
    tls = options.tls
    var groupOptions = EventLoopGroup.Options(loops: options.loops)
    groupOptions.maximumThreads = options.maximumThreads
    group = try EventLoopGroup(groupOptions)
    services.whenEnded { [departures] _ in
      departures.increment()
      departures.wake()
    }
  }

  /// Listens from now on. Returns where: with the ports that the system chose.
  ///
  /// - Throws: `ServerError` for what only the operator can change.
  package func start() throws -> [SocketAddress] {
    for address in options.listen where !address.isLoopback {
      guard services.options.hasTLS || options.serving.isInsecure else {
        throw ServerError(
          "will not listen on \(address) without TLS: others could read everything",
          hint: "Give --tls-cert and --tls-key, or --insecure if the network is yours alone.")
      }
    }
    for address in options.listen {
      let listener = try Listener.listen(on: address, group: group) { [services, tls] socket in
        SocketStream(socket, services, tls)
      }
      listeners.withLock { $0.append(listener) }
    }
    return listeners.withLock { $0.map(\.address) }
  }

  /// Whether it is about to stop.
  package var isStopping: Bool { isDraining.load(ordering: .acquiring) }

  /// Nobody comes in any more; whoever is idle is told to go; statements that run may end, for so long. Returns whether
  /// everybody has gone.
  @discardableResult
  package func drain(timeoutNanoseconds: UInt64) -> Bool {
    isDraining.store(true, ordering: .releasing)
    listeners.withLock { listeners in
      for listener in listeners { listener.stop() }
    }
    services.registry.close()
    let report = WireReport(
      severity: .fatal, sqlState: "57P01", message: "terminating connection due to administrator command")
    for (_, connection) in services.registry.all { connection.terminate(report, now: false) }
    for relay in services.relays.all { relay.terminate(report, now: false) }
    if awaitDepartures(timeoutNanoseconds) { return true }
    for (_, connection) in services.registry.all { connection.terminate(report, now: true) }
    for relay in services.relays.all { relay.terminate(report, now: true) }
    return awaitDepartures(1_000_000_000)
  }

  /// Who leads, or whether this node admits work, has changed: sessions that wait look again, those that are idle move.
  package func standingChanged() {
    services.standing.changed()
    guard let cluster = services.cluster, !cluster.admitsWork else { return }
    for (_, connection) in services.registry.all where connection.readsLocally == nil {
      connection.stream.execute { connection.leadershipMoved() }
    }
  }

  /// Ends the relays to nodes that are not heard any more and do not lead: soon where another node leads, otherwise when
  /// none has for as long as clients wait for a leader. To be called every second or so, by one thread at a time.
  package func endLostRelays() {
    guard let cluster = services.cluster else { return }
    let relays = services.relays.all
    guard !relays.isEmpty else { return silentSince.withLock { $0 = [:] } }
    var leader: UInt64?
    var isKnown = true
    switch cluster.route() {
    case .here: break
    case .relay(_, let node, _): leader = node
    case .nowhere: isKnown = false
    }
    let now = LinuxClock().bootNanoseconds
    let nodes = Set(relays.map { $0.node.load(ordering: .relaxed) })
    let silent = nodes.filter { $0 != 0 && $0 != leader && !cluster.isConnected(to: $0) }
    let lost = silentSince.withLock { since -> Set<UInt64> in
      since = since.filter { silent.contains($0.key) }
      for node in silent where since[node] == nil { since[node] = now }
      let limit = isKnown ? Self.silenceNanoseconds : Connection.patienceNanosecondsForLeader
      return silent.filter { now &- (since[$0] ?? now) >= limit }
    }
    guard !lost.isEmpty else { return }
    for relay in relays {
      let node = relay.node.load(ordering: .relaxed)
      if lost.contains(node) { relay.lose(node) }
    }
  }

  /// Waits until no session but `session` has a transaction open, or the time has passed. Returns how many still have.
  package func awaitRest(excluding session: UInt64?, timeoutNanoseconds: UInt64) -> Int {
    let clock = LinuxClock()
    let deadline = clock.bootNanoseconds &+ timeoutNanoseconds
    services.isAwaitingRest.store(true, ordering: .sequentiallyConsistent)
    defer { services.isAwaitingRest.store(false, ordering: .sequentiallyConsistent) }
    while true {
      let seen = services.restWord.load()
      let count = services.registry.all.count { process, connection in
        UInt64(process) != session && connection.readsLocally == nil
          && connection.isWorking.load(ordering: .sequentiallyConsistent)
      }
      let now = clock.bootNanoseconds
      if count == 0 || now >= deadline { return count }
      services.restWord.wait(while: seen, timeoutNanoseconds: min(deadline - now, 20_000_000))
    }
  }

  /// Waits until the sessions that came by relays have gone to the new leader, or the time has passed.
  package func awaitMoves(timeoutNanoseconds: UInt64) {
    let clock = LinuxClock()
    let deadline = clock.bootNanoseconds &+ timeoutNanoseconds
    services.isAwaitingRest.store(true, ordering: .sequentiallyConsistent)
    defer { services.isAwaitingRest.store(false, ordering: .sequentiallyConsistent) }
    while clock.bootNanoseconds < deadline {
      let seen = services.restWord.load()
      let isMoving =
        services.departing.load(ordering: .acquiring) > 0
        || services.registry.all.contains { $0.connection.cameByRelay.load(ordering: .acquiring) }
      if !isMoving { return }
      services.restWord.wait(while: seen, timeoutNanoseconds: 20_000_000)
    }
  }

  private func awaitDepartures(_ timeoutNanoseconds: UInt64) -> Bool {
    let clock = LinuxClock()
    let deadline = clock.bootNanoseconds &+ timeoutNanoseconds
    while true {
      let seen = departures.load()
      if services.registry.count == 0, services.relays.count == 0 { return true }
      let now = clock.bootNanoseconds
      if now >= deadline { return false }
      departures.wait(while: seen, timeoutNanoseconds: deadline - now)
    }
  }

  /// Closes every connection that is left, and ends the threads.
  package func stop() {
    services.registry.close()
    for (_, connection) in services.registry.all { connection.interrupt(.termination) }
    group.shutDown()
  }
}
