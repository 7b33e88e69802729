package import Platform
package import SQL
internal import Wire

// Any node takes any client. A session runs on one node for life: on the leader, unless it asked for reads of the node it
// reached. On another node the whole session is relayed: bytes both ways, from the start-up message on (Relay.swift).
//
//   start-up message ──▶ this node leads ────────────────────▶ session here
//        │               synod.read_consistency is stale or bounded ──▶ session here, read only, on this node's state
//        │               another node leads ─────────────────▶ relay
//        └────────────── nobody leads (yet) ─────────────────▶ wait a little, then 57P03
//
// A session cannot move: its locks, snapshots and prepared statements are the leader's memory. When leadership moves, the
// sessions of the old leader are ended with 57P01, and drivers connect again, to any node.

/// Where a session is to run.
package enum SessionRoute: Sendable {
  case here
  case relay(SocketAddress)
  /// Nobody is known to lead.
  case nowhere
}

/// What the server asks about the cluster.
package protocol ClusterRouting: ClusterProvider {
  func route() -> SessionRoute
  /// How old this node's state may be, in milliseconds; nil where nobody knows.
  func stalenessMilliseconds() -> UInt64?
}

/// How a client wants to read, as it says when it connects.
enum ReadConsistency: String {
  /// Everything acknowledged before, anywhere: on the leader.
  case linearizable
  case leader
  /// This node's state, at most `synod.max_staleness` old.
  case bounded
  /// This node's state.
  case stale

  var isLocal: Bool { self == .bounded || self == .stale }
}

extension Connection {
  /// The parameter by which a relaying node says that it does.
  static let relayedName = "synod.relayed"
  private static let retryNanoseconds: UInt64 = 10_000_000
  private static let patienceNanosecondsForLeader: UInt64 = 10_000_000_000

  /// Finds the session its node. True: it is not here, or not yet.
  func isElsewhere(_ startup: StartupMessage) -> Bool {
    guard let cluster = services.cluster else { return false }
    if let consistency = requestedConsistency(startup), consistency.isLocal {
      readsLocally = consistency
      return false
    }
    let now = LinuxClock().bootNanoseconds
    if waitsForLeaderSince == 0 { waitsForLeaderSince = now }
    let isPatient = now - waitsForLeaderSince < Self.patienceNanosecondsForLeader
    switch cluster.route() {
    case .here: return false
    case .relay(let address) where startup[Self.relayedName] == nil && isPatient:
      var relayed = startup
      relayed.parameters.append(.init(Self.relayedName, "on"))
      var bytes = WireBuffer()
      bytes.startup(relayed)
      setLimit(nil, milliseconds: 0)
      stream.relay(to: address, opening: bytes.takeBytes(), tls: services.relayTLS) { [weak self] in
        // It has gone, and nobody has noticed yet.
        self?.retry(startup)
      }
      return true
    case .relay, .nowhere:
      guard isPatient else {
        var report = WireReport(severity: .fatal, sqlState: "57P03", message: "the cluster has no leader at present")
        report.hint = "Fewer than a quorum of its nodes are connected, or an election is under way. Try again."
        wire.authenticate(.reject(report))
        return true
      }
      retry(startup)
      return true
    }
  }

  private func retry(_ startup: StartupMessage) {
    stream.schedule(afterNanoseconds: Self.retryNanoseconds) { [weak self] in
      guard let self else { return }
      self.stream.execute {
        guard !self.isEnded, self.wire.isChoosing else { return }
        self.authenticate(startup)
        self.turn()
      }
    }
  }

  private func requestedConsistency(_ startup: StartupMessage) -> ReadConsistency? {
    var value = startup["synod.read_consistency"] ?? startup["read_consistency"]
    let options = (try? StartupOptions.parse(startup["options"] ?? "")) ?? []
    for (name, text) in options where name == "synod.read_consistency" || name == "read_consistency" { value = text }
    return value.flatMap { ReadConsistency(rawValue: $0.lowercased()) }
  }

  /// Makes the session one of this node's own state.
  func readLocally(_ session: SQLSession, _ consistency: ReadConsistency) {
    session.becomeLocal()
    guard consistency == .bounded, let cluster = services.cluster else { return }
    session.beforeLocalRead = { [unowned session] () throws(SQLError) in
      let bound = UInt64(session.setting("synod.max_staleness") ?? "") ?? 1000
      guard let age = cluster.stalenessMilliseconds(), age <= bound else {
        throw SQLError(
          SQLState(rawValue: "57P03"), "this node's state is older than synod.max_staleness (\(bound) ms)",
          hint: "Read from another node, or with synod.read_consistency = linearizable.")
      }
    }
  }
}

extension WireBuffer {
  /// All bytes, leaving it empty.
  mutating func takeBytes() -> [UInt8] {
    var bytes: [UInt8] = []
    withBytes { span in unsafe span.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) } }
    removeAll()
    return bytes
  }
}
