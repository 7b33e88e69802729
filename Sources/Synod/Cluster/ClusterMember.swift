internal import Encoding
internal import Log
package import Paxos
package import Platform
package import Replication
internal import Synchronization

// A node's way into a cluster, and its duties there that are not consensus.
//
//   no list of members ──▶ a node id at random, written down ──▶ speak with whoever answers at the join addresses
//        ├─ all of the expected founders are heard (none founded): each computes the same cluster and configuration
//        ├─ somebody belongs to a cluster that this node is a founder of: found it likewise, late
//        └─ somebody belongs to a cluster of others: join it; the leader makes this node a learner, and when it has caught
//           up a voter (or a witness)
//
// 1. A cluster is founded only by its whole set of founders, and everything about it is computed from their ids: two
//    halves cannot found two.
// 2. A node id is never used again: it is drawn at random and lives and dies with the directory.

/// Why a node cannot take its place.
package struct ClusterError: Error, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}

/// A node of a cluster in this process: its database and its network.
package final class ClusterMember: Sendable {
  package enum Role: String, Sendable, CaseIterable { case voter, witness, learner }

  package struct Options: Sendable {
    package var directory: String
    package var listen: SocketAddress
    /// Where peers reach this node; where it listens, if empty.
    package var advertise = ""
    package var join: [String] = []
    /// How many nodes found the cluster; nil: this node only joins.
    package var founders: Int?
    package var role = Role.voter
    package var server: TLSContext?
    package var client: TLSContext?
    package var replication = ReplicatedLogOptions()
    package var log: @Sendable (String) -> Void = { _ in }
    /// Ends the wait for others when it returns true.
    package var isCancelled: @Sendable () -> Bool = { false }

    package init(directory: String, listen: SocketAddress) {
      self.directory = directory
      self.listen = listen
    }
  }

  package let database: Database
  package let network: PeerNetwork
  package let replication: ReplicatedLog
  package let peerAddress: String
  private let options: Options
  private let isStopping = Atomic(false)
  /// Changes with what is heard of others, and with role, leader and members.
  private let word: FutexWord
  private let duty: Mutex<BackgroundThread?> = Mutex(nil)
  /// Nodes that an operator removed while this node led: not taken in again, though they may not have heard of it. Those that
  /// have been members say so themselves (`Members.hasBeenMember`).
  private let removed: Mutex<Set<NodeID>> = Mutex([])
  /// Runs what it is given while no transaction does, but for those of a session. An epoch's end is a leadership's end, too:
  /// what runs then fails with 40001, though the same node leads on.
  package typealias Quiet = @Sendable (_ session: UInt64?, _ body: () -> String?) -> String?
  /// Set by whoever serves clients here.
  private let quiet: Mutex<Quiet?> = Mutex(nil)

  package func changeMembers(quietly quiet: @escaping Quiet) { self.quiet.withLock { $0 = quiet } }

  /// Listens, finds or founds the cluster, and opens the database. Blocks until then.
  ///
  /// - Parameter clientAddress: where clients reach this node; peers tell theirs.
  package init(_ options: Options, clientAddress: String, database: DatabaseOptions = DatabaseOptions()) throws {
    let disk = LinuxDisk()
    self.options = options
    if try disk.status(options.directory) == nil { try disk.createDirectory(options.directory) }
    var members = try Members.read(options.directory, disk: disk) ?? Self.newcomer(options.directory, disk)
    let heard = FutexWord()
    word = heard
    var hello = PeerHello(members: members)
    hello.isWitness = options.role == .witness
    hello.staysLearner = options.role == .learner
    hello.clientAddress = clientAddress
    var random = SystemRandomness()
    for _ in 0..<4 { hello.relaySecret += String(random.next(), radix: 36) }
    var networkOptions = PeerNetwork.Options(listen: options.listen)
    networkOptions.join = options.join
    networkOptions.server = options.server
    networkOptions.client = options.client
    let network = try PeerNetwork(networkOptions, hello: hello, log: options.log) { _ in
      heard.increment()
      heard.wake()
    }
    self.network = network
    do {
      let address = try network.listen()
      let peerAddress = options.advertise.isEmpty ? "\(address)" : options.advertise
      self.peerAddress = peerAddress
      network.changeHello { $0.peerAddress = peerAddress }
      network.start()
      if !members.isFounded {
        try Self.awaitCluster(&members, network, options, heard)
        try members.write(options.directory, disk: disk)
        let founded = members
        network.changeHello { $0.members = founded }
      }
      let isMember = members.checkpoint?.configuration.isMember(members.node) ?? false
      if !isMember { network.changeHello { $0.asksToJoin = true } }
      var setup = ClusterNodeSetup(members: members, transport: network)
      setup.options = options.replication
      if Self.isWitness(members, options) {
        setup.options.keepsState = false
        network.changeHello { $0.isWitness = true }
      }
      setup.options.note = options.log
      setup.options.standingChanged = {
        heard.increment()
        heard.wake()
      }
      setup.options.seed = members.node.rawValue
      self.database = try Database.open(
        at: options.directory, database, disk: disk, clock: LinuxClock(), tuning: CoreTuning(), node: setup)
      guard let replication = self.database.replication else { preconditionFailure("opened as a node") }
      self.replication = replication
      if !setup.options.keepsState, replication.status.configuration.voters.contains(members.node) {
        try? self.database.close()
        throw ClusterError(
          "node \(members.node.rawValue) is a voter, and cannot become a witness: remove it, and let a new directory join"
        )
      }
      network.attach(replication)
    } catch {
      network.stop()
      throw error
    }
    duty.withLock { $0 = BackgroundThread("membership") { [self] in attend() } }
  }

  /// What a node is it stays: what the cluster knows of it counts more than what it is started as.
  private static func isWitness(_ members: Members, _ options: Options) -> Bool {
    if let configuration = members.checkpoint?.configuration, configuration.isMember(members.node),
      !configuration.learners.contains(members.node)
    {
      return configuration.isWitness(members.node)
    }
    return options.role == .witness
  }

  /// Leaves the network and closes the database.
  package func close() throws {
    guard !isStopping.exchange(true, ordering: .acquiringAndReleasing) else { return }
    word.increment()
    word.wake()
    duty.withLock { $0 }?.join()
    replication.close()
    network.stop()
    try database.close()
  }

  private static func newcomer(_ directory: String, _ disk: any Disk) throws -> Members {
    if try disk.status(directory + "/" + Superblock.fileName) != nil {
      throw ClusterError(
        "\(directory) holds the database of a single node. To make it the first node of a cluster: synod cluster found "
          + directory)
    }
    var random = SystemRandomness()
    let members = Members(node: NodeID(random.next() >> 16 | 1))
    try members.write(directory, disk: disk)
    return members
  }

  /// Waits until this node has the catalog, which the first leader makes.
  package func awaitCatalog() throws {
    var isTold = false
    while true {
      do throws(DatabaseError) {
        _ = try database.sqlDatabase()
        return
      } catch {
        guard error.sqlState == "57P03" || error.sqlState == "40001" else { throw error }
        if options.isCancelled() { throw ClusterError("stopped while waiting for a leader") }
        if !isTold { options.log("waiting for a leader: \(error.message)") }
        isTold = true
      }
      word.wait(while: word.load(), timeoutNanoseconds: 50_000_000)
    }
  }

  // MARK: Founding and joining

  private static func awaitCluster(
    _ members: inout Members, _ network: PeerNetwork, _ options: Options, _ heard: FutexWord
  ) throws {
    if options.founders == 1 {
      return try members.found(by: [.init(node: members.node, isWitness: false)])
    }
    while true {
      let seen = heard.load()
      let others = network.heardNodes
      if let founded = others.first(where: { $0.isFounded }) {
        // Either one of the founders, late, or a newcomer: the first configuration is the same.
        guard try members.join(founded.cluster, foundedBy: founded.founders) else {
          throw ClusterError("node \(founded.node.rawValue) tells of founders that did not found its cluster")
        }
        return
      }
      if let expected = options.founders {
        let own = Members.Founder(node: members.node, isWitness: options.role == .witness)
        let all = [own] + others.map { Members.Founder(node: $0.node, isWitness: $0.isWitness) }
        if all.count > expected {
          throw ClusterError(
            "\(all.count) nodes want to found the cluster, and --bootstrap-expect says \(expected). Give the same number, "
              + "and the same addresses, to each.")
        }
        if all.count == expected { return try members.found(by: all) }
      }
      if options.isCancelled() { throw ClusterError("stopped while waiting for the other nodes") }
      heard.wait(while: seen, timeoutNanoseconds: 200_000_000)
    }
  }

  // MARK: Duties

  /// The leader takes in who asks, and promotes who has caught up. Looks again when something changed, and now and then while
  /// somebody waits to be promoted: how far he is nobody tells.
  private func attend() {
    var known: Set<Members.Peer> = []
    while true {
      // Before it is looked whether to stop, and what there is to do: both change the word.
      let seen = word.load()
      if isStopping.load(ordering: .acquiring) { return }
      let heard = network.heardNodes
      let status = replication.status
      let peers = Set(
        heard.map { Members.Peer(node: $0.node, peerAddress: $0.peerAddress, clientAddress: $0.clientAddress) })
      if peers != known {
        known = peers
        replication.noteAddresses(Array(peers))
        network.changeHello { $0.members.peers = Array(peers) }
      }
      if status.configuration.isMember(status.node), !network.hello.members.hasBeenMember {
        replication.noteMembership()
        network.changeHello { $0.members.hasBeenMember = true }
      }
      let isMember = status.configuration.isAcceptor(status.node)
      if isMember, network.hello.asksToJoin { network.changeHello { $0.asksToJoin = false } }
      let isAwaited = status.takesCommits && admit(heard, status.configuration)
      word.wait(while: seen, timeoutNanoseconds: isAwaited ? 250_000_000 : 0)
    }
  }

  /// Whether somebody is to be taken in or promoted, or to leave.
  private func admit(_ heard: [ReceivedHello], _ configuration: Configuration) -> Bool {
    for node in heard where node.asksToLeave && configuration.isMember(node.node) {
      _ = remove(node.node)
      return true
    }
    let gone = removed.withLock { $0 }
    let reached = Set(network.connectedNodes)
    for node in heard where node.asksToJoin && node.isFounded && !gone.contains(node.node) {
      if !configuration.isMember(node.node), node.hasBeenMember {
        removed.withLock { _ = $0.insert(node.node) }
        options.log(
          "node \(node.node.rawValue), at \(node.peerAddress), was removed and is not taken in again: start it with an empty "
            + "directory, as a new node, or not at all")
        continue
      }
      // Who cannot be sent to (his certificate, or his address, is not what he says) would be a member that never catches up.
      guard reached.contains(node.node) else { continue }
      if !configuration.isMember(node.node) {
        _ = change(configuration) { $0.learners.append(node.node) }
        return true
      }
      if configuration.learners.contains(node.node), !node.staysLearner {
        _ = change(configuration) { lists in
          lists.learners.removeAll { $0 == node.node }
          if node.isWitness { lists.witnesses.append(node.node) } else { lists.voters.append(node.node) }
        }
        return true
      }
    }
    return false
  }

  private struct Lists {
    var voters: [NodeID]
    var witnesses: [NodeID]
    var learners: [NodeID]
  }

  private func change(
    _ old: Configuration, asking session: UInt64? = nil, _ body: (inout Lists) -> Void
  ) -> String? {
    var lists = Lists(voters: old.voters, witnesses: old.witnesses, learners: old.learners)
    body(&lists)
    do throws(ConfigurationError) {
      let next = try Configuration(
        epoch: old.epoch + 1, voters: lists.voters, witnesses: lists.witnesses, learners: lists.learners)
      // Nobody is made to wait for a change that would be refused.
      if let refusal = replication.refusalToReconfigure(to: next) { return Self.text(refusal) }
      guard let quiet = quiet.withLock({ $0 }) else { return replication.reconfigure(to: next).map(Self.text) }
      return quiet(session) { carryOut(next) }
    } catch {
      return error == .noVoter ? "no voter would be left" : "these members make no cluster: \(error)"
    }
  }

  /// Changes the members, and waits (not for ever) until somebody leads the next epoch.
  private func carryOut(_ next: Configuration) -> String? {
    if let refusal = replication.reconfigure(to: next) { return Self.text(refusal) }
    let clock = LinuxClock()
    let deadline = clock.bootNanoseconds &+ 2_000_000_000
    while clock.bootNanoseconds < deadline, !isStopping.load(ordering: .acquiring) {
      let seen = replication.standingWord.load()
      let status = replication.status
      let isOver = status.configuration.epoch >= next.epoch
      if isOver, status.takesCommits || status.leader.map({ $0 != status.node }) ?? false { break }
      replication.standingWord.wait(while: seen, timeoutNanoseconds: 20_000_000)
    }
    return nil
  }

  private static func text(_ refusal: ReconfigurationRefusal) -> String {
    switch refusal {
    case .notLeader: "this node does not lead"
    case .busy, .wrongEpoch: "another change of members or of leadership is under way: try again"
    case .notCaughtUp(let node): "node \(node.rawValue) has not caught up yet"
    case .quorumNotAlive:
      "too few of the members that would be left are connected to make a quorum: start those that are down, or remove them first"
    }
  }

  private static func text(_ refusal: TransferRefusal) -> String {
    switch refusal {
    case .notLeader: "this node does not lead"
    case .busy: "another change of members or of leadership is under way: try again"
    case .unfitTarget(let node): "node \(node.rawValue) is silent, or its disk is slow"
    }
  }

  /// Removes a node for good, as `session` asks. Returns why not, if so.
  package func remove(_ node: NodeID, asking session: UInt64? = nil) -> String? {
    let configuration = replication.status.configuration
    guard configuration.isMember(node) else { return "node \(node.rawValue) is not a member" }
    // Before the change: it could be taken in again at once.
    removed.withLock { _ = $0.insert(node) }
    let refusal = change(configuration, asking: session) { lists in
      lists.voters.removeAll { $0 == node }
      lists.witnesses.removeAll { $0 == node }
      lists.learners.removeAll { $0 == node }
    }
    if refusal != nil { removed.withLock { _ = $0.remove(node) } }
    return refusal
  }

  /// Asks the leader, who is somebody else, to remove this node; waits until that is so. Returns why not, if so.
  package func leave(timeoutNanoseconds: UInt64 = 10_000_000_000) -> String? {
    network.changeHello { $0.asksToLeave = true }
    let clock = LinuxClock()
    let deadline = clock.bootNanoseconds &+ timeoutNanoseconds
    while true {
      let seen = replication.standingWord.load()
      if !replication.status.configuration.isMember(replication.node) { return nil }
      guard clock.bootNanoseconds < deadline else { break }
      replication.standingWord.wait(while: seen, timeoutNanoseconds: 20_000_000)
    }
    network.changeHello { $0.asksToLeave = false }
    return
      "node \(replication.node.rawValue) leads no more, but the new leader did not remove it in time: look at synod cluster "
      + "status, and try again"
  }

  /// Why a node cannot take over, if so.
  package func refusal(of target: NodeID) -> String? {
    let status = replication.status
    guard status.role == .leader else { return "this node does not lead" }
    guard target != status.node else { return "node \(target.rawValue) leads already" }
    guard status.configuration.voters.contains(target) else { return "node \(target.rawValue) is not a voter" }
    return network.connectedNodes.contains(target) ? nil : "node \(target.rawValue) is not connected"
  }

  /// What a node said of itself last.
  package func hello(of node: NodeID) -> ReceivedHello? { network.heardNodes.first { $0.node == node } }

  /// Hands leadership to `target`, or to the voter that is furthest; waits until somebody else leads. Returns why not, if so.
  package func transferLeadership(to target: NodeID? = nil, timeoutNanoseconds: UInt64 = 3_000_000_000) -> String? {
    let status = replication.status
    guard status.role == .leader else { return "this node does not lead" }
    let connected = Set(network.connectedNodes)
    let candidates =
      target.map { [$0] }
      ?? replication.peers.filter { connected.contains($0.node) && status.configuration.voters.contains($0.node) }
      .sorted { $0.matched > $1.matched }.map(\.node)
    guard !candidates.isEmpty else { return "no other voter is connected" }
    let clock = LinuxClock()
    let deadline = clock.bootNanoseconds &+ timeoutNanoseconds
    var last = "no voter could take over"
    for candidate in candidates {
      if let refusal = replication.transferLeadership(to: candidate) {
        last = Self.text(refusal)
        continue
      }
      while clock.bootNanoseconds < deadline {
        let seen = replication.standingWord.load()
        let now = replication.status
        if now.role != .leader, now.leader != nil, now.leader != now.node { return nil }
        replication.standingWord.wait(while: seen, timeoutNanoseconds: 20_000_000)
      }
      return "node \(candidate.rawValue) did not take over in time"
    }
    return last
  }

  /// Where clients reach a node, as it told.
  package func clientAddress(of node: NodeID) -> String? {
    if node == replication.node { return network.hello.clientAddress }
    return network.heardNodes.first { $0.node == node }?.clientAddress
  }
}
