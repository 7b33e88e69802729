internal import Encoding
internal import Log
package import Paxos
package import Platform
internal import Synchronization

// Peers over sockets: see PeerFrame.swift for what passes.
//
//   send ──▶ link's queue (bounded; what does not fit is lost) ──▶ loop ──▶ stream of this direction ──▶ peer
//
// A link is kept to every address that is known: those given at the start, and those that peers tell of. It reconnects with
// a growing, jittered pause. The loop is this network's own, so that clients never delay a heartbeat.
//
// 1. A peer that reads slowly fills its own queue and nobody else's.
// 2. A stream on which nothing is heard for `silenceNanoseconds` is given up: after a partition heals, the next attempt is
//    made at once instead of when the kernel's retransmission comes round.
// 3. Messages of another cluster, or of a node that did not say hello, are not passed on.
// 4. An identity is one process's: while a node is connected, another process that says to be the same one (a copy of its
//    directory, known by the secret that every start draws anew) is refused. Two acceptors under one name could promise
//    and accept behind each other's back, and a quorum that counts them as one would not be one.

package final class PeerNetwork: PeerTransport {
  package struct Options: Sendable {
    package var listen: SocketAddress
    /// Addresses where peers may be found, "host:port".
    package var join: [String] = []
    /// TLS for both sides; nil only on a network that is one's own.
    package var server: TLSContext?
    package var client: TLSContext?
    package var queueSizeBytes = 64 << 20
    package var silenceNanoseconds: UInt64 = 2_000_000_000
    package init(listen: SocketAddress) { self.listen = listen }
  }

  struct State {
    var hello: PeerHello
    var receiver: (any PeerReceiver)?
    var links: [String: PeerLink] = [:]
    /// The link by which a node is reached.
    var byNode: [NodeID: PeerLink] = [:]
    /// What nodes said last.
    var heard: [NodeID: ReceivedHello] = [:]
    /// Nodes that tests or `.demo partition` cut off.
    var blocked: Set<NodeID> = []
    var listener: Listener?
    var isStopping = false
    /// What was said once and need not be said at every attempt.
    var noted: Set<String> = []
    /// What was said lately of whom: how often, until when no more is said, and how often it was not.
    var said: [String: (times: Int, until: UInt64, unsaid: Int)] = [:]
  }

  let options: Options
  let group: EventLoopGroup
  let loop: EventLoop
  let state: Mutex<State>
  let whenHeard: @Sendable (ReceivedHello) -> Void
  private let log: @Sendable (String) -> Void

  /// - Parameters:
  ///   - hello: what this node says of itself; its addresses are filled in by `start`.
  ///   - heard: called on the loop for every hello.
  package init(
    _ options: Options, hello: PeerHello, log: @escaping @Sendable (String) -> Void = { _ in },
    heard: @escaping @Sendable (ReceivedHello) -> Void = { _ in }
  ) throws(NetworkError) {
    self.options = options
    // A disk that stalls while this loop's thread writes costs the loop a slice and a half, well below what a heartbeat may be
    // late. Heartbeats would keep a monitor awake for ever, so it watches only what says that it may take long.
    group = try EventLoopGroup(
      EventLoopGroup.Options(
        loops: 1, maximumThreads: 8, timeSliceNanoseconds: 100_000_000, watchesOnRequest: true))
    loop = group.next()
    state = Mutex(State(hello: hello))
    self.log = log
    whenHeard = heard
  }

  /// Listens; returns where.
  package func listen() throws(NetworkError) -> SocketAddress {
    let listener = try Listener.listen(on: options.listen, group: group) { [self] socket in
      IncomingPeer(self, socket)
    }
    state.withLock { $0.listener = listener }
    return listener.address
  }

  /// Begins to look for peers.
  package func start() {
    for address in options.join { link(to: address) }
    for peer in state.withLock({ $0.hello.members.peers }) { link(to: peer.peerAddress) }
  }

  /// Reads the certificates again; connections made from then on show them. Where they cannot be used, those before stay.
  package func reloadCertificates() throws(TLSError) {
    try options.server?.reload()
    try options.client?.reload()
  }

  package func stop() {
    let links = state.withLock { state -> [PeerLink] in
      state.isStopping = true
      state.receiver = nil
      state.listener?.stop()
      return Array(state.links.values)
    }
    for link in links { link.stop() }
    group.shutDown()
    state.withLock { state in
      state.links = [:]
      state.byNode = [:]
    }
  }

  // MARK: Who is who

  package var hello: PeerHello {
    get { state.withLock { $0.hello } }
  }

  /// Changes what this node says; peers that are connected hear it at once.
  package func changeHello(_ body: (inout PeerHello) -> Void) {
    let links = state.withLock { state -> [PeerLink] in
      body(&state.hello)
      return Array(state.links.values)
    }
    for link in links { link.sayHello() }
  }

  /// Passes messages on from now on.
  package func attach(_ receiver: any PeerReceiver) { state.withLock { $0.receiver = receiver } }

  /// What the nodes that were heard of said last.
  package var heardNodes: [ReceivedHello] { state.withLock { Array($0.heard.values) } }

  /// Those that can be sent to now.
  package var connectedNodes: [NodeID] { state.withLock { $0.byNode.keys.sorted() } }

  /// Nothing passes to or from these nodes: a partition, for tests and demonstrations.
  package func block(_ nodes: Set<NodeID>) { state.withLock { $0.blocked = nodes } }

  func link(to address: String) {
    guard !address.isEmpty else { return }
    let new = state.withLock { state -> PeerLink? in
      guard !state.isStopping, state.links[address] == nil, address != state.hello.peerAddress else { return nil }
      let link = PeerLink(self, address)
      state.links[address] = link
      return link
    }
    new?.connect()
  }

  func note(_ text: String) { log(text) }

  /// Says of somebody what may happen at every attempt of his: so often at once, then once a minute, with the number of
  /// attempts of which nothing was said. Whoever can reach the port must not fill the log.
  func note(_ text: String, of subject: String, atOnce: Int = 1) {
    let now = LinuxClock().bootNanoseconds
    let unsaid = state.withLock { state -> Int? in
      if state.said.count >= 1024 { state.said = state.said.filter { $0.value.until > now } }
      // So many others speak ill at once that one more is no news.
      guard state.said.count < 1024 || state.said[subject] != nil else { return nil }
      var entry = state.said[subject] ?? (0, 0, 0)
      defer { state.said[subject] = entry }
      if now >= entry.until { (entry.times, entry.until) = (0, now &+ Self.saidNanoseconds) }
      guard entry.times < atOnce else {
        entry.unsaid += 1
        return nil
      }
      entry.times += 1
      defer { entry.unsaid = 0 }
      return entry.unsaid
    }
    guard let unsaid else { return }
    log(unsaid == 0 ? text : "\(text) (and \(unsaid) times since this was said last)")
  }

  static let saidNanoseconds: UInt64 = 60_000_000_000

  /// Without the port, which is another at every attempt.
  static func machine(_ address: SocketAddress) -> String {
    let text = "\(address)"
    return text.lastIndex(of: ":").map { String(text[..<$0]) } ?? text
  }

  /// A node said hello, on a link to it (`through`) or by connecting. False: we have nothing to say to each other.
  func heard(_ hello: ReceivedHello, through link: PeerLink?) -> Bool {
    let (isAccepted, others, isNew, warning) = state.withLock { state -> (Bool, [String], Bool, String?) in
      let own = state.hello.members
      if hello.node == own.node { return (false, [], false, Self.twin(of: state.hello, hello, &state.noted)) }
      if let known = state.heard[hello.node], known.relaySecret != hello.relaySecret,
        let connected = state.byNode[hello.node], connected !== link
      {
        return (false, [], false, Self.copy(of: known, connected.address, hello, &state.noted))
      }
      if own.isFounded, hello.isFounded, hello.cluster != own.cluster {
        return (false, [], false, Self.foreigner(to: own, hello, &state.noted))
      }
      // That a node can be sent to is news as well.
      let isReached = link != nil && state.byNode[hello.node] !== link
      let isNew = state.heard[hello.node] != hello || isReached
      if isNew, !own.isFounded, !hello.peerAddress.isEmpty {
        // A founder whose directory was emptied before the cluster was founded counts once.
        for (node, known) in state.heard
        where known.peerAddress == hello.peerAddress && node != hello.node && state.byNode[node] == nil {
          state.heard[node] = nil
        }
      }
      state.heard[hello.node] = hello
      if let link { state.byNode[hello.node] = link }
      let warning = isNew ? Self.successor(of: own, hello, &state.noted) : nil
      return (true, [hello.peerAddress] + hello.peers.map(\.peerAddress), isNew, warning)
    }
    if let warning { note(warning) }
    guard isAccepted else { return false }
    for address in others { self.link(to: address) }
    if isNew { whenHeard(hello) }
    return true
  }

  /// This node's own identity, said by somebody else. Hearing oneself through another address is no news.
  private static func twin(of own: PeerHello, _ hello: ReceivedHello, _ noted: inout Set<String>) -> String? {
    guard hello.relaySecret != own.relaySecret, noted.insert("twin \(hello.relaySecret)").inserted else { return nil }
    return
      "another process, at \(hello.peerAddress), says to be this node (\(hello.node.rawValue)): one of the two runs from a copy "
      + "of the other's directory. Stop it and start it with an empty directory"
  }

  private static func copy(
    of known: ReceivedHello, _ address: String, _ hello: ReceivedHello, _ noted: inout Set<String>
  ) -> String? {
    guard noted.insert("copy \(hello.relaySecret)").inserted else { return nil }
    return
      "refused a process at \(hello.peerAddress) that says to be node \(hello.node.rawValue), which is connected at \(address): "
      + "one of the two runs from a copy of the other's directory. Stop it and start it with an empty directory"
  }

  /// A node of another cluster: one of the two has a directory, or an address, that is not its own.
  private static func foreigner(to own: Members, _ hello: ReceivedHello, _ noted: inout Set<String>) -> String? {
    let (its, ours) = (String(hello.cluster.high, radix: 16), String(own.cluster.high, radix: 16))
    guard noted.count < 1024, noted.insert("foreigner \(hello.node.rawValue) \(its)").inserted else { return nil }
    return
      "node \(hello.node.rawValue), at \(hello.peerAddress), is of cluster \(its), and this one of \(ours): one of the two has "
      + "another cluster's directory or addresses. They have nothing to say to each other"
  }

  /// A new node at the address of a member that is still counted: somebody emptied its directory.
  private static func successor(of own: Members, _ hello: ReceivedHello, _ noted: inout Set<String>) -> String? {
    guard own.isFounded, !hello.peerAddress.isEmpty,
      let old = own.peers.first(where: { $0.peerAddress == hello.peerAddress && $0.node != hello.node }),
      noted.insert("successor \(hello.node.rawValue)").inserted
    else { return nil }
    return
      "node \(hello.node.rawValue) is at \(hello.peerAddress), the address of node \(old.node.rawValue), which is still a member "
      + "and counts for quorums. If that one's directory is gone: synod cluster remove \(old.node.rawValue)"
  }

  func lost(_ link: PeerLink, _ node: NodeID?) {
    guard let node else { return }
    state.withLock { if $0.byNode[node] === link { $0.byNode[node] = nil } }
  }

  // MARK: Messages

  package func send(_ message: Message, records: [StoredRecord]) {
    let link = state.withLock { state in state.blocked.contains(message.to) ? nil : state.byNode[message.to] }
    guard let link else { return }
    var head: [UInt8] = []
    head.reserveCapacity(256)
    message.encode(into: &head)
    let size = records.reduce(0) { $0 + $1.header.recordSizeBytes }
    guard size <= PeerFrameHeader.largestRecordsSizeBytes else { return }
    link.enqueue(PeerFrameHeader.frame(.message, head: head, recordsSizeBytes: size), records, size)
  }

  package func flush() {
    let links = state.withLock { state in Array(state.byNode.values) }
    for link in links { link.flush() }
  }

  package func send(_ transfer: TransferMessage) {
    let link = state.withLock { state in state.blocked.contains(transfer.to) ? nil : state.byNode[transfer.to] }
    guard let link else { return }
    let body = transfer.body
    // Head and bytes are one piece: records are what is shared between links.
    let frame = PeerFrameHeader.frame(.transfer, head: transfer.encodedHead(), recordsSizeBytes: body.count) + body
    link.enqueue(frame, [], 0)
    link.flush()
  }

  func receive(_ transfer: TransferMessage, from node: NodeID) {
    guard transfer.from == node else { return }
    let receiver = state.withLock { $0.blocked.contains(node) ? nil : $0.receiver }
    receiver?.receive(transfer)
  }

  func receive(_ message: Message, _ records: [StoredRecord], from node: NodeID) {
    guard message.from == node else { return }
    let receiver = state.withLock { $0.blocked.contains(node) ? nil : $0.receiver }
    receiver?.receive(message, records: records, isFollowed: true)
  }

  func endTurn() { state.withLock { $0.receiver }?.endTurn() }

  /// How long it is to the next multiple of `period` on the clock: all timers of one period go off together, in one wake.
  static func rest(of period: UInt64) -> UInt64 { period - LinuxClock().bootNanoseconds % period }
}

/// A stream that a peer opened: it sends, we listen.
///
/// `@unchecked Sendable`: used on its connection's loop only.
final class IncomingPeer: StreamHandler, @unchecked Sendable {
  private unowned let network: PeerNetwork
  private let connection: StreamConnection
  private var parser = PeerFrameParser()
  private var node: NodeID?
  private var isSecure: Bool
  /// Messages were passed on in this turn.
  private var hasMessages = false
  static let pulseNanoseconds: UInt64 = 500_000_000

  init(_ network: PeerNetwork, _ connection: StreamConnection) {
    self.network = network
    self.connection = connection
    isSecure = network.options.server == nil
  }

  func opened(_ connection: StreamConnection) {
    if let context = network.options.server { connection.startTLS(context) }
    // Whoever does not say hello soon goes.
    connection.schedule(afterNanoseconds: 5_000_000_000) { [weak self] in
      if let self, self.node == nil { self.connection.abort() }
    }
  }

  func secured(_ connection: StreamConnection) {
    // The same authority may sign the certificates of clients, which are nobody's to replicate with.
    if let names = connection.tls?.peer, !names.isForServers {
      network.note(
        "refused a peer at \(connection.peerAddress): its certificate (\(names.subject)) is a client's, not a node's",
        of: "client \(PeerNetwork.machine(connection.peerAddress)) \(names.subject)")
      return connection.abort()
    }
    isSecure = true
  }

  func received(_ bytes: RawSpan, _ connection: StreamConnection) {
    guard isSecure else { return connection.abort() }
    do throws(PeerFrameParser.Malformed) {
      try unsafe bytes.withUnsafeBytes { (raw) throws(PeerFrameParser.Malformed) in
        unsafe try parser.receive(raw) { frame in self.take(frame) }
      }
    } catch {
      network.note(
        "the connection of \(connection.peerAddress) is closed: it brought \(error.reason)",
        of: "bytes \(PeerNetwork.machine(connection.peerAddress))", atOnce: 16)
      connection.abort()
    }
    guard hasMessages else { return }
    hasMessages = false
    // Without the connection: should the disk stall, the loop and with it this peer's heartbeats go on on another thread.
    EventLoop.afterHandler { [network] in network.endTurn() }
  }

  func closed(_ reason: CloseReason, _ connection: StreamConnection) {
    guard case .tls(let error) = reason else { return }
    network.note(
      "a peer at \(connection.peerAddress) cannot be let in: \(error)",
      of: "TLS from \(PeerNetwork.machine(connection.peerAddress))")
  }

  private func take(_ frame: PeerFrameParser.Frame) {
    switch frame {
    case .hello(let hello):
      EventLoop.mayRunLong()
      guard network.heard(hello, through: nil) else { return connection.close() }
      let isFirst = node == nil
      node = hello.node
      let own = network.hello
      connection.send(PeerFrameHeader.frame(.hello, head: own.encoded(), recordsSizeBytes: 0))
      if isFirst { pulse() }
    case .message(let message, let records):
      guard let node else { return connection.abort() }
      hasMessages = true
      network.receive(message, records, from: node)
    case .transfer(let transfer):
      guard let node else { return connection.abort() }
      network.receive(transfer, from: node)
    case .pulse: break
    }
  }

  private func pulse() {
    guard !connection.isClosed else { return }
    connection.send(PeerFrameHeader.frame(.pulse, head: [], recordsSizeBytes: 0))
    connection.schedule(afterNanoseconds: PeerNetwork.rest(of: Self.pulseNanoseconds)) { [weak self] in self?.pulse() }
  }
}
