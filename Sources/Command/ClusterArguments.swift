import ArgumentParser
import Foundation
internal import Log
internal import Logging
internal import Paxos
internal import Platform
internal import Replication
internal import SQL
internal import Server
internal import Synchronization
internal import Synod

/// The options of `synod serve` by which a node takes its place in a cluster.
struct ClusterArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where other nodes may be found: host:port,host:port. The same list may be given to every node.",
      valueName: "addresses"))
  var join: String?

  @Option(help: ArgumentHelp("Found the cluster when so many nodes, this one included, have met.", valueName: "nodes"))
  var bootstrapExpect: Int?

  @Option(
    help: ArgumentHelp(
      "What this node does: voter, or learner (receives everything, does not vote).", valueName: "role"))
  var role = "voter"

  @Option(help: ArgumentHelp("Where peers connect.", valueName: "address"))
  var peerListen = "127.0.0.1:7433"

  @Option(
    help: ArgumentHelp("Where peers are told to connect. (default: where this node listens)", valueName: "address"))
  var advertise: String?

  @Option(
    help: ArgumentHelp(
      "Where clients of other nodes are relayed to. (default: the first --listen)", valueName: "address"))
  var advertiseClients: String?

  @Option(help: ArgumentHelp("Whose certificates peers must have, PEM.", valueName: "file"))
  var peerCa: String?
  @Option(help: ArgumentHelp("This node's certificate toward peers, PEM.", valueName: "file"))
  var peerCert: String?
  @Option(help: ArgumentHelp("Its private key, PEM.", valueName: "file"))
  var peerKey: String?

  @Flag(help: ArgumentHelp("Take orders to break the network, for tests and demonstrations.", visibility: .hidden))
  var faults = false

  var isAsked: Bool { join != nil || bootstrapExpect != nil }

  func validate() throws {
    if let bootstrapExpect, bootstrapExpect < 1 || bootstrapExpect > 15 {
      throw ValidationError("--bootstrap-expect is between 1 and 15")
    }
    guard let role = ClusterMember.Role(rawValue: role), role != .witness else {
      throw ValidationError("unknown --role \"\(role)\"; there are voter and learner")
    }
  }

  /// Whether the directory is a node's, so that it must not be opened alone.
  static func isNode(_ directory: String) throws -> Bool {
    do throws(LogError) { return try Members.read(directory, disk: LinuxDisk())?.isFounded ?? false } catch {
      throw CommandFailure("\(error)")
    }
  }

  /// Opens the node's database; waits for the other nodes as long as it takes.
  func open(
    _ directory: String, clientAddress: String, insecure: Bool, logger: Logger
  ) throws -> ClusterMember {
    let place = try ServeCommand.address(peerListen, defaultPort: 7433)
    var options = ClusterMember.Options(directory: directory, listen: place)
    options.join = (join ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    options.founders = bootstrapExpect
    options.advertise = advertise ?? ""
    options.role = ClusterMember.Role(rawValue: role) ?? .voter
    switch (peerCa, peerCert, peerKey) {
    case (let authority?, let certificate?, let key?):
      let identity = TLSContext.Identity(certificate: .file(certificate), key: .file(key))
      do throws(TLSError) {
        options.server = try TLSContext(server: identity, authorities: .file(authority), clients: .required)
        options.client = try TLSContext(client: .verifyFull, authorities: .file(authority), identity: identity)
      } catch { throw CommandFailure("\(error)") }
    case (nil, nil, nil):
      guard place.isLoopback || insecure else {
        throw CommandFailure(
          "will not speak with peers on \(place) in clear: others could read and forge everything\n"
            + "  Give --peer-ca, --peer-cert and --peer-key (synod cert makes them), or --insecure if the network is yours alone."
        )
      }
    default: throw ValidationError("--peer-ca, --peer-cert and --peer-key go together")
    }
    options.log = { text in logger.notice("\(text)") }
    options.isCancelled = { TerminationSignals.arePending }
    logger.notice("looking for the cluster", metadata: ["peers": "\(options.join.joined(separator: ","))"])
    do {
      return try ClusterMember(options, clientAddress: clientAddress)
    } catch let error as DatabaseError {
      throw CommandFailure([error.message, error.detail, error.hint].compactMap { $0 }.joined(separator: "\n  "))
    } catch { throw CommandFailure("\(error)") }
  }
}

/// What the server needs to know of the cluster, and what it must be told.
final class ClusterServing: ClusterRouting, ClusterProvider {
  private let member: ClusterMember
  private let isStopping = Atomic(false)
  private let addresses: Mutex<[String: SocketAddress]> = Mutex([:])

  private let takesFaults: Bool

  init(_ member: ClusterMember, takesFaults: Bool = false) {
    self.member = member
    self.takesFaults = takesFaults
  }

  func route() -> SessionRoute {
    let status = member.replication.status
    if status.takesCommits { return .here }
    guard let leader = status.leader, leader != status.node, let text = member.clientAddress(of: leader),
      let address = resolve(text)
    else { return .nowhere }
    return .relay(address)
  }

  private func resolve(_ text: String) -> SocketAddress? {
    if let known = addresses.withLock({ $0[text] }) { return known }
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    let host = text[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
    guard let found = try? SocketAddress.resolve(host, port: port).first else { return nil }
    addresses.withLock { $0[text] = found }
    return found
  }

  func stalenessMilliseconds() -> UInt64? {
    let status = member.replication.status
    return status.takesCommits ? 0 : status.stalenessMicroseconds.map { $0 / 1000 }
  }

  /// Tells the server when this node stops leading.
  func watch(_ server: Server, _ logger: Logger) {
    let member = member
    Thread.detachNewThread { [self] in
      var led = false
      var leader: NodeID?
      while !isStopping.load(ordering: .acquiring) {
        let seen = member.replication.standingWord.load()
        let status = member.replication.status
        if led, !status.takesCommits { server.leadershipLost() }
        if status.leader != leader {
          leader = status.leader
          let who = leader.map { $0 == status.node ? "this node" : "node \($0.rawValue)" } ?? "nobody"
          logger.notice("\(who) leads", metadata: ["ballot": "\(status.ballot)"])
        }
        led = status.takesCommits
        member.replication.standingWord.wait(while: seen, timeoutNanoseconds: 1_000_000_000)
      }
    }
  }

  // MARK: For SQL

  func clusterMembers() -> [ClusterMemberInformation] {
    let status = member.replication.status
    let connected = Set(member.network.connectedNodes)
    let heard = Dictionary(member.network.heardNodes.map { ($0.node, $0) }, uniquingKeysWith: { $1 })
    return status.configuration.members.map { node in
      let role =
        status.configuration.learners.contains(node)
        ? "learner" : status.configuration.isWitness(node) ? "witness" : "voter"
      let isSelf = node == status.node
      return ClusterMemberInformation(
        node: Int64(bitPattern: node.rawValue), role: role, isLeader: node == status.leader, isSelf: isSelf,
        peerAddress: isSelf ? member.peerAddress : heard[node]?.peerAddress ?? "",
        clientAddress: member.clientAddress(of: node) ?? "", isConnected: isSelf || connected.contains(node))
    }
  }

  func removeMember(_ node: Int64) -> String? { member.remove(NodeID(UInt64(bitPattern: node))) }

  func handOver(to node: Int64?) -> String? {
    member.transferLeadership(to: node.map { NodeID(UInt64(bitPattern: $0)) })
  }

  // MARK: Health

  func leaderFailure() -> String? {
    let status = member.replication.status
    if status.diskFailed { return "this node's disk failed" }
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
      let refusal = member.transferLeadership()
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
      guard !status.takesCommits, !status.diskFailed, let age = stalenessMilliseconds() else {
        return HTTPAnswer(503, "not a replica that can be read\n")
      }
      let bound = query.split(separator: "&").first { $0.hasPrefix("lag=") }.flatMap {
        Self.milliseconds($0.dropFirst(4))
      }
      if let bound, age > bound { return HTTPAnswer(503, "\(age) ms behind\n") }
      return HTTPAnswer(200, "replica, \(age) ms behind\n")
    case "/read-only":
      return HTTPAnswer(status.leader == nil ? 503 : 200, status.leader == nil ? "no leader\n" : "ok\n")
    default: return nil
    }
  }

  /// `500ms`, `2s`, or a number of milliseconds.
  private static func milliseconds(_ text: Substring) -> UInt64? {
    if text.hasSuffix("ms") { return UInt64(text.dropLast(2)) }
    if text.hasSuffix("s") { return UInt64(text.dropLast()).map { $0 &* 1000 } }
    return UInt64(text)
  }

  func stop() { isStopping.store(true, ordering: .releasing) }
}
