import Foundation
internal import Logging
internal import Paxos
internal import Platform
internal import Replication
internal import SQL
internal import Server
internal import Synchronization
internal import Synod

/// What the server needs to know of the cluster, and what it must be told.
final class ClusterServing: ClusterRouting, ClusterProvider {
  private let member: ClusterMember
  private let isStopping = Atomic(false)
  /// Where names of nodes led, and until when that counts: a machine may come back under another address.
  private let addresses: Mutex<[String: (address: SocketAddress, until: UInt64)]> = Mutex([:])
  private static let nameNanoseconds: UInt64 = 5_000_000_000

  private let takesFaults: Bool
  /// Transactions do not begin: leadership is being handed over.
  private let isHandingOver = Atomic(false)
  private let server: Mutex<Server?> = Mutex(nil)
  private let logger: Mutex<Logger?> = Mutex(nil)
  private let leaderChanges = Atomic<UInt64>(0)
  /// How long open transactions are waited for before leadership is handed over.
  private let drainNanoseconds: UInt64

  init(_ member: ClusterMember, drainNanoseconds: UInt64 = 1_000_000_000, takesFaults: Bool = false) {
    self.member = member
    self.drainNanoseconds = drainNanoseconds
    self.takesFaults = takesFaults
  }

  func route() -> SessionRoute {
    let status = member.replication.status
    if status.takesCommits { return .here }
    guard let leader = status.leader, leader != status.node, let hello = member.hello(of: leader),
      !hello.relaySecret.isEmpty, let address = resolve(hello.clientAddress)
    else { return .nowhere }
    return .relay(address, node: leader.rawValue, secret: hello.relaySecret)
  }

  var admitsWork: Bool {
    member.replication.admitsCommits && !isHandingOver.load(ordering: .sequentiallyConsistent)
  }

  var identity: (node: UInt64, secret: String) {
    (member.replication.node.rawValue, member.network.hello.relaySecret)
  }

  var keepsState: Bool { member.replication.keepsState }

  func isConnected(to node: UInt64) -> Bool { member.network.connectedNodes.contains(NodeID(node)) }

  private func resolve(_ text: String) -> SocketAddress? {
    let now = LinuxClock().bootNanoseconds
    if let known = addresses.withLock({ $0[text] }), now < known.until { return known.address }
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    let host = text[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
    if let literal = try? SocketAddress(literal: host, port: port) {
      addresses.withLock { $0[text] = (literal, .max) }
      return literal
    }
    let found = try? EventLoop.blocking { () throws(NetworkError) in try SocketAddress.resolve(host, port: port) }
    return addresses.withLock { addresses in
      // While names cannot be looked up, what they were counts.
      guard let first = found?.first ?? addresses[text]?.address else { return nil }
      addresses[text] = (first, now &+ Self.nameNanoseconds)
      return first
    }
  }

  func stalenessMilliseconds() -> UInt64? {
    member.replication.status.stalenessMicroseconds.map { $0 / 1000 }
  }

  /// Tells the server whenever who leads changes.
  func watch(_ server: Server, _ logger: Logger) {
    self.server.withLock { $0 = server }
    self.logger.withLock { $0 = logger }
    let member = member
    member.changeMembers { [weak self] session, body in
      guard let self else { return body() }
      return self.quietly(excluding: session, body)
    }
    Thread.detachNewThread { [self] in
      var led = false
      var leader: NodeID?
      while !isStopping.load(ordering: .acquiring) {
        let seen = member.replication.standingWord.load()
        let status = member.replication.status
        if status.leader != leader || led != status.takesCommits { server.standingChanged() }
        if status.leader != leader {
          if status.leader != nil { leaderChanges.wrappingAdd(1, ordering: .relaxed) }
          leader = status.leader
          let who = leader.map { $0 == status.node ? "this node" : "node \($0.rawValue)" } ?? "nobody"
          logger.notice("\(who) leads", metadata: ["ballot": "\(status.ballot)"])
        }
        led = status.takesCommits
        server.endLostRelays()
        member.replication.standingWord.wait(while: seen, timeoutNanoseconds: 1_000_000_000)
      }
    }
  }

  // MARK: Handing over

  /// Hands leadership over without a failed transaction: none begins any more, those that run are waited for (so long), then
  /// the other node takes over, and sessions follow. Returns why not, if so.
  func transfer(to target: NodeID?, excluding session: UInt64? = nil) -> String? {
    if let target, let refusal = member.refusal(of: target) { return refusal }
    guard !isHandingOver.exchange(true, ordering: .sequentiallyConsistent) else {
      return "leadership is being handed over already"
    }
    let server = server.withLock { $0 }
    defer {
      isHandingOver.store(false, ordering: .sequentiallyConsistent)
      server?.standingChanged()
    }
    let open = server?.awaitRest(excluding: session, timeoutNanoseconds: drainNanoseconds) ?? 0
    if open > 0 {
      logger.withLock { $0 }?.warning(
        "leadership is handed over under open transactions, which will fail with 40001", metadata: ["open": "\(open)"])
    }
    return member.transferLeadership(to: target)
  }

  /// Runs a change of members while no transaction does; those that run longer than they are waited for fail with 40001.
  private func quietly(excluding session: UInt64?, _ body: () -> String?) -> String? {
    guard !isHandingOver.exchange(true, ordering: .sequentiallyConsistent) else {
      return "another change of members or of leadership is under way: try again"
    }
    let server = server.withLock { $0 }
    defer {
      isHandingOver.store(false, ordering: .sequentiallyConsistent)
      server?.standingChanged()
    }
    _ = server?.awaitRest(excluding: session, timeoutNanoseconds: drainNanoseconds)
    return body()
  }

  func awaitVersion(_ version: UInt64) throws(SQLError) {
    do throws(ReplicationFailure) { try member.replication.waitUntilDelivered(version) } catch {
      throw SQLError(
        SQLState(rawValue: "57P03"), "this node has not yet applied what the session has seen (version \(version))",
        detail: "\(error)", hint: "Try again, or read with synod.read_consistency = linearizable on the leader.")
    }
  }

  func confirmRead() throws(SQLError) {
    do throws(ReplicationFailure) { try member.replication.confirmLocalRead() } catch {
      throw SQLError(
        SQLState(rawValue: "57P03"), "the leader did not confirm that this node is up to date", detail: "\(error)",
        hint: "Try again, or read with synod.read_consistency = stale.")
    }
  }

  // MARK: For SQL

  func clusterMembers() -> [ClusterMemberInformation] {
    let status = member.replication.status
    let connected = Set(member.network.connectedNodes)
    let heard = Dictionary(member.network.heardNodes.map { ($0.node, $0) }, uniquingKeysWith: { $1 })
    let peers = Dictionary(member.replication.peers.map { ($0.node, $0) }, uniquingKeysWith: { $1 })
    let checks = member.replication.stateChecks
    let now = LinuxClock().bootNanoseconds
    return status.configuration.members.map { node in
      let role =
        status.configuration.learners.contains(node)
        ? "learner" : status.configuration.isWitness(node) ? "witness" : "voter"
      let isSelf = node == status.node
      var information = ClusterMemberInformation(
        node: Int64(bitPattern: node.rawValue), role: role, isLeader: node == status.leader, isSelf: isSelf,
        peerAddress: isSelf ? member.peerAddress : heard[node]?.peerAddress ?? "",
        clientAddress: member.clientAddress(of: node) ?? "", isConnected: isSelf || connected.contains(node))
      if let check = checks[node], role != "witness" {
        information.stateAgrees = check.agrees && !(isSelf && status.lacksState)
        information.stateComparedSeconds = Double(now &- check.at) / 1e9
      }
      if isSelf {
        (information.lastHeardSeconds, information.lagBytes, information.lagSeconds) = (0, 0, 0)
      } else if let peer = peers[node] {
        information.lastHeardSeconds = peer.heardAgo.map { Double($0) / 1e6 }
        information.roundTripSeconds = peer.roundTrip.map { Double($0) / 1e6 }
        if status.role == .leader {
          information.lagBytes = peer.lagBytes.map { Int64(clamping: $0) }
          information.lagSeconds = member.replication.lagSeconds(of: peer)
        }
      }
      return information
    }
  }

  func removeMember(_ node: Int64, from session: UInt64) -> String? {
    let node = NodeID(UInt64(bitPattern: node))
    let status = member.replication.status
    guard node == status.node, status.role == .leader else {
      return EventLoop.blocking { member.remove(node, asking: session) }
    }
    // This node itself. Transactions that run are waited for and sessions go along; then the new leader removes it.
    return EventLoop.blocking {
      if let refusal = transfer(to: nil, excluding: session) {
        return "node \(node.rawValue) leads, and could not hand leadership over first: \(refusal)"
      }
      return member.leave()
    }
  }

  func handOver(to node: Int64?, from session: UInt64) -> String? {
    EventLoop.blocking { transfer(to: node.map { NodeID(UInt64(bitPattern: $0)) }, excluding: session) }
  }

  // MARK: Metrics

  func register(_ factory: PrometheusFactory) {
    let replication = member.replication
    for (phase, times) in [
      ("local", replication.commitTimes.local), ("quorum", replication.commitTimes.quorum),
      ("apply", replication.commitTimes.apply),
    ] {
      factory.collect(times, as: "synod_commit_duration_seconds", labels: [("phase", phase)])
    }
    factory.collect { [self] in
      let status = replication.status
      var samples = [
        MetricSample("synod_has_leader", .gauge, status.leader == nil ? 0 : 1),
        MetricSample("synod_is_leader", .gauge, status.takesCommits ? 1 : 0),
        MetricSample("synod_leader_changes_total", .counter, Double(leaderChanges.load(ordering: .relaxed))),
        MetricSample("synod_proposals_pending", .gauge, Double(replication.pendingProposals)),
        MetricSample(
          "synod_record_bytes_total", .counter, Double(replication.builtRawBytes.load(ordering: .relaxed)),
          labels: [("form", "raw")]),
        MetricSample(
          "synod_record_bytes_total", .counter, Double(replication.builtStoredBytes.load(ordering: .relaxed)),
          labels: [("form", "compressed")]),
      ]
      let counts = replication.transferCounts
      for (result, count) in [("same", counts.digestsCompared), ("different", counts.digestsDiffered)] {
        samples.append(
          MetricSample("synod_state_comparisons_total", .counter, Double(count), labels: [("result", result)]))
      }
      for (node, check) in replication.stateChecks {
        samples.append(
          MetricSample(
            "synod_state_agrees", .gauge, check.agrees ? 1 : 0, labels: [("node", "\(node.rawValue)")]))
      }
      samples += [
        MetricSample("synod_state_missing", .gauge, status.lacksState ? 1 : 0),
        MetricSample("synod_checkpoints_installed_total", .counter, Double(counts.installed)),
        MetricSample("synod_checkpoints_sent_total", .counter, Double(counts.sent)),
        MetricSample("synod_damaged_records", .gauge, Double(status.damagedRecords)),
        MetricSample("synod_repaired_records_total", .counter, Double(counts.repairedRecords)),
      ]
      for peer in replication.peers {
        let label = [("node", "\(peer.node.rawValue)")]
        if let trip = peer.roundTrip {
          samples.append(MetricSample("synod_peer_round_trip_seconds", .gauge, Double(trip) / 1e6, labels: label))
        }
        guard status.role == .leader else { continue }
        if let lag = peer.lagBytes {
          samples.append(MetricSample("synod_replica_lag_bytes", .gauge, Double(lag), labels: label))
        }
        if let lag = replication.lagSeconds(of: peer) {
          samples.append(MetricSample("synod_replica_lag_seconds", .gauge, lag, labels: label))
        }
      }
      return samples
    }
  }

  // MARK: Health

  func leaderFailure() -> String? {
    let status = member.replication.status
    if status.diskFailed {
      return member.replication.failureReason.map { "this node stopped: \($0)" } ?? "this node's disk failed"
    }
    if status.isOutOfSpace { return "this node's disk is full: it takes nothing new until there is space" }
    if !status.configuration.isMember(status.node) {
      return
        "this node is no member of the cluster: it is not taken in yet, or was removed, and then should be stopped for good"
    }
    if status.lacksState { return "this node's state is missing or damaged; another node's is on its way" }
    return status.leader == nil ? "no leader is known" : nil
  }

  /// `/primary` and `/replica?lag=` for load balancers: 200 where a node is what is asked for.
  func answer(_ path: String, _ query: String) -> HTTPAnswer? {
    let status = member.replication.status
    switch path {
    case "/faults/block" where takesFaults:
      let nodes = query.split(separator: ",").compactMap { UInt64($0) }.map { NodeID($0) }
      member.network.block(Set(nodes))
      return HTTPAnswer(200, "blocked \(nodes)\n")
    case "/faults/transfer" where takesFaults:
      let refusal = transfer(to: nil)
      return HTTPAnswer(refusal == nil ? 200 : 409, (refusal ?? "handed over") + "\n")
    case "/node":
      let text = [
        "\(status.node.rawValue)", "\(status.role)", "\(status.leader?.rawValue ?? 0)", "\(status.last)",
        "\(status.chosen)", "\(status.applied)", "\(status.configuration.epoch)", "\(status.takesCommits)",
      ]
      return HTTPAnswer(200, text.joined(separator: " ") + "\n")
    case "/primary":
      return HTTPAnswer(status.takesCommits ? 200 : 503, status.takesCommits ? "leader\n" : "not the leader\n")
    case "/replica":
      guard !status.takesCommits, status.configuration.isMember(status.node), !status.diskFailed, !status.lacksState,
        keepsState, let age = stalenessMilliseconds()
      else {
        return HTTPAnswer(503, "not a replica that can be read\n")
      }
      guard let wanted = query.split(separator: "&").first(where: { $0.hasPrefix("lag=") })?.dropFirst(4) else {
        return HTTPAnswer(200, "replica, \(age) ms behind\n")
      }
      if let size = Self.sizeBytes(wanted) {
        let lag = member.replication.unappliedBytes
        return HTTPAnswer(lag > size ? 503 : 200, "\(lag) bytes behind what it has heard of\n")
      }
      guard let bound = Self.milliseconds(wanted) else {
        return HTTPAnswer(400, "lag is a time (500ms, 2s) or a size (10MB)\n")
      }
      return HTTPAnswer(age > bound ? 503 : 200, "replica, \(age) ms behind\n")
    case "/read-only":
      return HTTPAnswer(status.leader == nil ? 503 : 200, status.leader == nil ? "no leader\n" : "ok\n")
    default: return nil
    }
  }

  /// `500ms`, `2s`, or a number of milliseconds.
  private static func milliseconds(_ text: Substring) -> UInt64? {
    let isSeconds = text.hasSuffix("s") && !text.hasSuffix("ms")
    let digits = text.hasSuffix("ms") ? text.dropLast(2) : isSeconds ? text.dropLast() : text
    guard let number = UInt64(digits), number < 1 << 40 else { return nil }
    return isSeconds ? number * 1000 : number
  }

  /// `10MB`, `512kB`, `4096B`.
  private static func sizeBytes(_ text: Substring) -> UInt64? {
    for (suffix, shift) in [("kB", 10), ("KB", 10), ("MB", 20), ("GB", 30), ("B", 0)] where text.hasSuffix(suffix) {
      guard let number = UInt64(text.dropLast(suffix.count)), number < 1 << 33 else { return nil }
      return number << UInt64(shift)
    }
    return nil
  }

  func stop() { isStopping.store(true, ordering: .releasing) }
}
