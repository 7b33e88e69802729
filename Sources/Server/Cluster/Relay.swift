internal import Platform
internal import Synchronization
internal import Wire

// A client's session on another node: bytes both ways, by a relay that stays when the session moves on.
//
//             route says           answered              "moves" (Wire/SessionMoving.swift)
//   seeking ───────────▶ opening ───────────▶ streaming ───────────▶ leaving ─┐
//      ▲  ▲                 │ 57P03, silence                                   │ the rest
//      │  └─────────────────┘                                                  │
//      └───────────────────────────────────────────────────────────────────────┘
//      └──▶ the route leads here: the session comes home (Connection+Moving.swift)
//
// Everything here belongs to whoever has the client's connection checked out; what comes from the backend is mailed there. A
// side that does not read holds up the other side's sender.
//
// 1. What the client sends is forwarded in its order, or held; nothing of it is forwarded twice.
// 2. Of a session that moves the client sees nothing: the new session's opening and the replay's answers end here.
// 3. A session whose backend is lost in the middle ends with 08006: whether a commit that was under way is done is not known.
// 4. A backend that says nothing may be at work for long. It counts as lost when the node it is on is not heard by this one and
//    does not lead, as far as this one knows (Server.endLostRelays): a machine that is gone sends no FIN.

/// What makes a new session what one elsewhere was: messages of a client, and how many ReadyForQuery answer them.
package struct SessionLuggage: Sendable {
  var replay: [UInt8]
  var readies: Int
}

/// `@unchecked Sendable`: the fields belong to whoever has the client checked out, but for the mutex.
final class Relay: @unchecked Sendable {
  private enum Phase { case seeking, opening, streaming, leaving, over }

  private static let heldSizeBytes = 1 << 20

  private let client: StreamConnection
  private let whenOver: @Sendable () -> Void
  private let services: ConnectionServices
  private unowned let connection: Connection
  private let startup: StartupMessage
  private var phase = Phase.seeking
  private var backend: RelayBackend?
  private var frames = BackendFrames()
  private var luggage: SessionLuggage?
  private var readiesToSwallow = 0
  private var mark: [UInt8] = []
  /// What the client sent and no backend was given.
  private var held: [UInt8] = []
  /// The client was shown something of the present backend, or of one before.
  private var hasAnswered: Bool
  private var sawFatal = false
  private var awaitsStanding = false
  /// The session is between transactions, and nothing is under way.
  private var isQuiet = false
  private var termination: [UInt8]?
  private var seekingSince: UInt64
  private var address: SocketAddress?
  /// The node that runs the session, 0 for none yet.
  let node = Atomic<UInt64>(0)
  /// The key that the client has, and the one that the backend knows.
  private let keys: Mutex<(client: CancelKey?, backend: CancelKey?, address: SocketAddress?)>

  /// A session that begins elsewhere (no luggage), or goes there.
  init(
    _ client: StreamConnection, _ connection: Connection, _ startup: StartupMessage, luggage: SessionLuggage?,
    held: [UInt8], key: CancelKey?, whenOver: @escaping @Sendable () -> Void
  ) {
    self.whenOver = whenOver
    self.client = client
    self.connection = connection
    services = connection.services
    self.startup = startup
    self.luggage = luggage
    self.held = held
    hasAnswered = luggage != nil
    keys = Mutex((key, nil, nil))
    seekingSince = LinuxClock().bootNanoseconds
  }

  func start() {
    client.resumeReading()
    services.relays.add(self)
    if let key = keys.withLock({ $0.client }) { services.relays.add(self, key) }
    seek()
  }

  // MARK: Looking for the leader

  private func seek() {
    guard phase == .seeking else { return }
    if let termination, hasAnswered { return end(termination) }
    guard let cluster = services.cluster else { return }
    switch cluster.route() {
    case .here:
      guard cluster.admitsWork || !hasAnswered else { return seekLater() }
      finish()
      if hasAnswered {
        connection.comeHome(startup, luggage, held, key: keys.withLock { $0.client })
      } else {
        connection.retry(startup, held)
      }
    case .relay(let address, let node, let secret):
      open(address, node, secret)
    case .nowhere: seekLater()
    }
  }

  private func seekLater() {
    let waited = LinuxClock().bootNanoseconds &- seekingSince
    guard waited < Connection.patienceNanosecondsForLeader else {
      return refuse("57P03", "the cluster has no leader at present")
    }
    if !awaitsStanding {
      awaitsStanding = true
      services.standing.whenChanged(self) { [weak self] in
        guard let self else { return }
        client.execute {
          self.awaitsStanding = false
          self.seek()
        }
      }
    }
    client.schedule(afterNanoseconds: Connection.retryNanoseconds(waited: waited)) { [weak self] in self?.seek() }
  }

  private func open(_ address: SocketAddress, _ node: UInt64, _ secret: String) {
    phase = .opening
    self.address = address
    self.node.store(node, ordering: .relaxed)
    frames = BackendFrames()
    var opening = startup
    let isCertified = connection.stream.certifiedName.map { $0 == startup["user"] } ?? false
    let ticket = RelayTicket(
      luggage != nil ? .resumed : isCertified ? .certified : .fresh, target: node, client: connection.peer,
      certificateHash: connection.stream.certificateHash ?? [], user: startup["user"] ?? "")
    opening.parameters.removeAll { $0.name == RelayTicket.name }
    opening.parameters.append(.init(RelayTicket.name, ticket.text(secret: secret)))
    var buffer = WireBuffer()
    buffer.startup(opening)
    var bytes = buffer.takeBytes()
    readiesToSwallow = 0
    if let luggage {
      bytes += luggage.replay
      readiesToSwallow = 1 + luggage.readies
    }
    let made = RelayBackend(self, client, opening: bytes, tls: services.relayTLS)
    do throws(NetworkError) {
      try made.connect(to: address)
      backend = made
    } catch { again() }
  }

  /// The backend did not take the session: another try.
  private func again() {
    backend?.close()
    backend = nil
    guard phase != .over else { return }
    phase = .seeking
    seekLater()
  }

  // MARK: From the client, by whoever has it

  func received(fromClient bytes: RawSpan) {
    unsafe bytes.withUnsafeBytes { unsafe held.append(contentsOf: $0) }
    isQuiet = false
    forward()
    if held.count > Self.heldSizeBytes { client.pauseReading() }
  }

  private func forward() {
    guard !held.isEmpty, let backend, phase == .streaming || (phase == .opening && luggage == nil && hasAnswered) else {
      return
    }
    backend.send(held)
    held = []
    client.resumeReading()
    client.wake()
  }

  func clientDrained() { backend?.resumeReading() }

  func clientClosed() {
    finish()
    backend?.close()
    backend = nil
  }

  // MARK: From the leader

  func received(_ bytes: [UInt8], from source: RelayBackend) {
    guard source === backend, phase != .over else { return }
    var passed: [UInt8] = []
    // What is looked at may open another backend, with frames of its own.
    var scanner = frames
    let isSound = scanner.receive(bytes, into: &passed, drops: { self.readiesToSwallow > 0 }) { frame in
      self.look(frame)
    }
    if source === backend { frames = scanner }
    if !passed.isEmpty, phase != .seeking {
      hasAnswered = true
      client.send(passed)
      if client.bufferedBytes > Self.heldSizeBytes { source.pauseReading() }
    }
    guard isSound else {
      source.close()
      return refuse("08006", "the leader's node does not speak PostgreSQL's protocol")
    }
    forward()
    if isQuiet, let termination { end(termination) }
  }

  /// Whether the client is to see a message.
  private func look(_ frame: BackendFrames.Frame) -> Bool {
    switch frame.type {
    case SessionMove.type:
      move(frame)
      return false
    case UInt8(ascii: "E"): return failed(frame)
    case UInt8(ascii: "K"):
      let key = frame.cancelKey
      let isFirst = keys.withLock { keys in
        keys.backend = key
        keys.address = address
        guard keys.client == nil else { return false }
        keys.client = key
        return true
      }
      if isFirst, let key { services.relays.add(self, key) }
    case UInt8(ascii: "Z"):
      isQuiet = frame.body == [UInt8(ascii: "I")] && held.isEmpty
      if readiesToSwallow > 0 {
        readiesToSwallow -= 1
        if readiesToSwallow == 0 {
          phase = .streaming
          luggage = nil
        }
        return false
      }
      phase = phase == .opening ? .streaming : phase
    default: break
    }
    return readiesToSwallow == 0 && phase != .seeking
  }

  private func failed(_ frame: BackendFrames.Frame) -> Bool {
    let isFatal = frame.field("V") == "FATAL" || frame.field("V") == "PANIC"
    if phase == .opening, frame.field("C") == "57P03", luggage != nil || !hasAnswered {
      again()
      return false
    }
    if readiesToSwallow > 0 {
      backend?.close()
      refuse("57P01", "the session could not move to the new leader: \(frame.field("M") ?? "")")
      return false
    }
    sawFatal = sawFatal || isFatal
    return phase != .seeking
  }

  private func move(_ frame: BackendFrames.Frame) {
    switch (SessionMove(decoding: frame.body), phase) {
    case (.moves(let mark, let readies, let replay)?, .streaming):
      luggage = SessionLuggage(replay: replay, readies: readies)
      phase = .leaving
      backend?.send(mark)
    case (.rest(let bytes)?, .leaving):
      held = bytes + held
      backend?.close()
      backend = nil
      phase = .seeking
      seekingSince = LinuxClock().bootNanoseconds
      seek()
    default:
      backend?.close()
      refuse("08006", "the leader's node made no sense")
    }
  }

  func drained(_ source: RelayBackend) {
    client.resumeReading()
    client.wake()
  }

  /// The backend is gone.
  func closed(_ source: RelayBackend) {
    guard source === backend, phase != .over else { return }
    backend = nil
    switch phase {
    case .opening where luggage != nil || !hasAnswered: again()
    case .leaving: refuse("57P01", "the leader was lost while the session moved")
    case .opening, .streaming:
      if sawFatal {
        finish()
        client.close()
      } else {
        refuse(
          "08006", "the connection to the leader was lost: whether a commit that was under way is done is not known")
      }
    case .seeking, .over: break
    }
  }

  /// The node that runs the session is not heard any more. On any thread.
  func lose(_ lost: UInt64) {
    client.execute { [self] in
      guard let backend, node.load(ordering: .relaxed) == lost else { return }
      backend.abort()
      self.backend = nil
      switch phase {
      case .opening where luggage != nil || !hasAnswered: again()
      case .streaming where isQuiet:
        refuse("57P01", "terminating connection: the node that ran the session is not heard any more")
      case .opening, .streaming, .leaving:
        refuse(
          "08006",
          "the node that ran the session is not heard any more: whether a commit that was under way is done is not known"
        )
      case .seeking, .over: break
      }
    }
  }

  // MARK: The end

  /// Ends the session as soon as it is between transactions. On any thread.
  func terminate(_ report: WireReport, now: Bool) {
    client.execute { [self] in
      guard phase != .over else { return }
      var buffer = WireBuffer()
      buffer.fatal(report)
      termination = buffer.takeBytes()
      if let termination, isQuiet || now { end(termination) }
    }
  }

  private func refuse(_ state: String, _ message: String) {
    var buffer = WireBuffer()
    buffer.fatal(WireReport(severity: .fatal, sqlState: state, message: message))
    end(buffer.takeBytes())
  }

  private func end(_ report: [UInt8]) {
    guard phase != .over else { return }
    finish()
    backend?.close()
    backend = nil
    client.send(report)
    client.close()
  }

  private func finish() {
    guard phase != .over else { return }
    phase = .over
    whenOver()
    services.relays.remove(self, keys.withLock { $0.client })
  }

  // MARK: Cancel requests

  /// Passes on that the client wants its statement to be cancelled. On any thread.
  func cancel() {
    let (key, address) = keys.withLock { ($0.backend, $0.address) }
    guard let key, let address else { return }
    var buffer = WireBuffer()
    buffer.cancelRequest(key)
    let request = CancelRequest(buffer.takeBytes(), tls: services.relayTLS)
    _ = try? StreamConnection.connect(to: address, on: client.loop, timeoutNanoseconds: 2_000_000_000) { _ in request }
  }
}

/// The relays of a node, and the keys that their clients have.
final class RelayTable: Sendable {
  /// Who has a key that this node's registry does not know.
  enum Holder: Sendable {
    case relay(Relay)
    case connection(Connection)
  }
  private struct State {
    var all: [ObjectIdentifier: Relay] = [:]
    var byKey: [[UInt8]: Holder] = [:]
  }
  private let state = Mutex(State())

  private static func name(_ key: CancelKey) -> [UInt8] {
    key.secret + (0..<4).map { UInt8(truncatingIfNeeded: key.process >> UInt32(8 * $0)) }
  }

  func add(_ relay: Relay) { state.withLock { $0.all[ObjectIdentifier(relay)] = relay } }
  func add(_ relay: Relay, _ key: CancelKey) { state.withLock { $0.byKey[Self.name(key)] = .relay(relay) } }
  /// The key of a client whose session has come here from another node.
  func add(_ connection: Connection, _ key: CancelKey) {
    state.withLock { $0.byKey[Self.name(key)] = .connection(connection) }
  }
  func remove(_ key: CancelKey) { state.withLock { $0.byKey[Self.name(key)] = nil } }
  func remove(_ relay: Relay, _ key: CancelKey?) {
    state.withLock { state in
      state.all[ObjectIdentifier(relay)] = nil
      if let key { state.byKey[Self.name(key)] = nil }
    }
  }
  func cancel(_ key: CancelKey) {
    switch state.withLock({ $0.byKey[Self.name(key)] }) {
    case .relay(let relay)?: relay.cancel()
    case .connection(let connection)?: connection.cancelStatement()
    case nil: break
    }
  }
  var all: [Relay] { state.withLock { Array($0.all.values) } }
  var count: Int { state.withLock { $0.all.count } }
}
