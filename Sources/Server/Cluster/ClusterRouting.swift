package import Platform
package import SQL
internal import Synchronization
package import Wire

// Any node takes any client. A session runs on the leader, unless it asked for reads of the node it reached. On another node
// it is relayed: bytes both ways, from the start-up message on (Relay.swift).
//
//   start-up message ──▶ this node leads ────────────────────▶ session here
//        │               synod.read_consistency is of this node's state ──▶ session here, read only
//        │               another node leads ─────────────────▶ relay
//        └────────────── nobody leads (yet) ─────────────────▶ wait a little, then 57P03
//
// When leadership moves, sessions move along, between two of their transactions (Connection+Moving.swift).

/// Where a session is to run.
package enum SessionRoute: Sendable {
  case here
  /// At another node, with the secret by which tickets for it are signed.
  case relay(SocketAddress, node: UInt64, secret: String)
  /// Nobody is known to lead.
  case nowhere
}

/// What the server asks about the cluster.
package protocol ClusterRouting: ClusterProvider {
  func route() -> SessionRoute
  /// Whether transactions may begin here: this node leads and is not handing leadership over. Two loads.
  var admitsWork: Bool { get }
  /// This node, and the secret of its tickets.
  var identity: (node: UInt64, secret: String) { get }
  /// Whether this node and that one hear each other.
  func isConnected(to node: UInt64) -> Bool
  /// False for a witness: no session runs there.
  var keepsState: Bool { get }
  /// How old this node's state may be, in milliseconds; nil where nobody knows.
  func stalenessMilliseconds() -> UInt64?
  /// Returns when this node has applied everything through `version`. Throws 57P03 when that takes too long.
  func awaitVersion(_ version: UInt64) throws(SQLError)
  /// Returns when this node has applied everything that was acknowledged before. Throws 57P03 where no leader answers.
  func confirmRead() throws(SQLError)
}

/// Those who wait for a leader.
package final class StandingWaiters: Sendable {
  private struct Waiter {
    weak var owner: (any AnyObject & Sendable)?
    let body: @Sendable () -> Void
  }
  private struct State {
    var waiters: [Waiter] = []
    var limit = StandingWaiters.fewest
  }
  private static let fewest = 256
  private let state = Mutex(State())

  package init() {}

  /// Calls `body` once, at the next change; perhaps not, once `owner` is gone. While nobody leads for hours, clients come and go:
  /// those that have gone are forgotten.
  package func whenChanged(_ owner: any AnyObject & Sendable, _ body: @escaping @Sendable () -> Void) {
    state.withLock { state in
      if state.waiters.count >= state.limit {
        state.waiters.removeAll { $0.owner == nil }
        state.limit = max(Self.fewest, 2 * state.waiters.count)
      }
      state.waiters.append(Waiter(owner: owner, body: body))
    }
  }

  package var count: Int { state.withLock { $0.waiters.count } }

  package func changed() {
    let all = state.withLock { state in
      defer { state = State() }
      return state.waiters
    }
    for waiter in all { waiter.body() }
  }
}

/// How a client wants to read.
enum ReadConsistency: String {
  /// Everything acknowledged before, anywhere: on the leader, or here after asking it.
  case linearizable
  case leader
  /// This node's state, with all that this session has seen elsewhere, by its token.
  case session
  /// This node's state, at most `synod.max_staleness` old.
  case bounded
  /// This node's state.
  case stale

  /// Whether a session that begins with it stays on the node that it reached.
  var isLocal: Bool { self != .linearizable && self != .leader }
}

extension Connection {
  /// How long until it is looked again where the leader is, where nobody says that this has changed: more patiently when an
  /// election does not end soon, for many may wait.
  static func retryNanoseconds(waited: UInt64) -> UInt64 { waited < 1_000_000_000 ? 10_000_000 : 100_000_000 }
  static let patienceNanosecondsForLeader: UInt64 = 10_000_000_000
  /// A relay knows better where to look than to wait here.
  private static let patienceNanosecondsOfRelays: UInt64 = 1_000_000_000

  /// Finds the session its node. True: it is not here, or not yet.
  func isElsewhere(_ startup: StartupMessage) -> Bool {
    guard let cluster = services.cluster else { return false }
    if let text = startup[RelayTicket.name], ticket == nil {
      let (node, secret) = cluster.identity
      guard let shown = RelayTicket(text, secret: secret, target: node), services.tickets.use(shown) else {
        wire.authenticate(
          .reject(WireReport(severity: .fatal, sqlState: "28000", message: "this node did not expect that relay")))
        return true
      }
      ticket = shown
      cameByRelay.store(true, ordering: .releasing)
      peer = shown.client
    }
    if ticket == nil, let consistency = requestedConsistency(startup), consistency.isLocal, cluster.keepsState {
      readsLocally = consistency
      return false
    }
    let now = LinuxClock().bootNanoseconds
    if waitsForLeaderSince == 0 { waitsForLeaderSince = now }
    let waited = now - waitsForLeaderSince
    switch cluster.route() {
    case .here: return false
    case .relay where ticket == nil && waited < Self.patienceNanosecondsForLeader:
      setLimit(nil, milliseconds: 0)
      stream.relay(self, startup, luggage: nil, held: wire.takeUnread(), key: nil)
    case .nowhere
    where waited < (ticket == nil ? Self.patienceNanosecondsForLeader : Self.patienceNanosecondsOfRelays):
      retryLater(startup)
    case .relay, .nowhere:
      var report = WireReport(severity: .fatal, sqlState: "57P03", message: "the cluster has no leader at present")
      report.hint = "Fewer than a quorum of its nodes are connected, or an election is under way. Try again."
      wire.authenticate(.reject(report))
    }
    return true
  }

  private func retryLater(_ startup: StartupMessage) {
    whenStandingChanges { $0.retry(startup) }
    guard !isRetryScheduled else { return }
    isRetryScheduled = true
    let waited = LinuxClock().bootNanoseconds &- waitsForLeaderSince
    stream.schedule(afterNanoseconds: Self.retryNanoseconds(waited: waited)) { [weak self] in
      guard let self else { return }
      stream.execute {
        self.isRetryScheduled = false
        self.retry(startup)
      }
    }
  }

  /// Calls `body` at the next change of who leads; one such wait at a time.
  func whenStandingChanges(_ body: @escaping @Sendable (Connection) -> Void) {
    guard !awaitsStanding else { return }
    awaitsStanding = true
    services.standing.whenChanged(self) { [weak self] in
      guard let self else { return }
      stream.execute {
        self.awaitsStanding = false
        body(self)
      }
    }
  }

  /// Looks again where the session is to be. `held` is what the client has sent meanwhile.
  package func retry(_ startup: StartupMessage, _ held: [UInt8] = []) {
    guard !isEnded, !isRelayed, wire.isChoosing else { return }
    if !held.isEmpty { wire.receive(held) }
    authenticate(startup)
    turn()
  }

  private func requestedConsistency(_ startup: StartupMessage) -> ReadConsistency? {
    var value = startup["synod.read_consistency"] ?? startup["read_consistency"]
    let options = (try? StartupOptions.parse(startup["options"] ?? "")) ?? []
    for (name, text) in options where name == "synod.read_consistency" || name == "read_consistency" { value = text }
    return value.flatMap { ReadConsistency(rawValue: $0.lowercased()) }
  }

  /// Makes the session one of this node's own state.
  func readLocally(_ session: SQLSession) {
    session.becomeLocal()
    guard let cluster = services.cluster else { return }
    session.beforeLocalRead = { [unowned session] () throws(SQLError) in
      switch ReadConsistency(rawValue: session.readConsistency) ?? .linearizable {
      case .stale: break
      case .session: try cluster.awaitVersion(session.requiredVersion)
      case .linearizable, .leader: try cluster.confirmRead()
      case .bounded:
        let bound = UInt64(max(0, session.maximumStaleness))
        guard let age = cluster.stalenessMilliseconds(), age <= bound else {
          throw SQLError(
            SQLState(rawValue: "57P03"), "this node's state is older than synod.max_staleness (\(bound) ms)",
            hint: "Read from another node, or with synod.read_consistency = linearizable.")
        }
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
