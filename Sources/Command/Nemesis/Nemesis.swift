import Foundation
internal import Simulation

// What goes wrong, drawn from a seed: one episode after the other, each a fault (sometimes two at once), its end, and a
// while in which the cluster must serve again.

/// Breaks a cluster of processes and mends it.
final class Nemesis {
  enum Kind: String, CaseIterable {
    /// kill -9: the leader, anybody, two, all.
    case kill
    /// SIGSTOP, shorter and longer than the lease.
    case pause
    /// The nodes' streams are cut: one node off, one way, one pair (a chain), flapping, all.
    case partition
    /// They are slow, or end.
    case network
    /// Slow, full, failing.
    case disk
    /// The wall clock jumps by up to an hour.
    case clock
    /// Leadership is handed over as by an operator.
    case transfer
    /// A node loses its disk for good; an empty one takes its place, and the lost one is removed.
    case wipe
  }

  private let cluster: ClusterProcesses
  private var dice: Dice
  private let count: Int
  /// What must be done while an episode lasts, every few milliseconds.
  private(set) var flapping: (() -> Void)?
  private var rules: [PeerProxy.Pair: PeerProxy.Rule] = [:]
  private var faults: [Int: NodeFaults] = [:]
  private(set) var counts: [String: Int] = [:]
  /// The node whose disk was lost, and the id that went with it.
  private var wiped: (index: Int, id: String)?
  private static let replacementSeconds = 60.0
  /// Nodes whose disks refused a write at some time: they may stop for good, and be started again.
  private var disturbed: Set<Int> = []

  init(_ cluster: ClusterProcesses, seed: UInt64) {
    self.cluster = cluster
    dice = Dice(seed: seed, stream: 1)
    count = cluster.nodes.count
  }

  /// Begins a fault; says what it is.
  func begin(_ kind: Kind) throws -> String {
    let text =
      switch kind {
      case .kill: killSome()
      case .pause: pauseSome()
      case .partition: partition()
      case .network: disturbNetwork()
      case .disk: try disturbDisk()
      case .clock: try moveClocks()
      case .transfer: transfer()
      case .wipe: try wipe()
      }
    counts[text.prefix { $0 != ":" }.description, default: 0] += 1
    return text
  }

  /// Ends all faults. Nodes that ended, or gave up after a disk that failed, are started again.
  func mend() throws {
    flapping = nil
    setRules([:])
    let disks = faults.filter { $0.value.isDiskFull || $0.value.failsWrites }.keys
    for index in faults.keys {
      var calm = NodeFaults()
      // A clock that jumped may as well stay.
      calm.wallOffsetSeconds = dice.below(2) == 0 ? faults[index]?.wallOffsetSeconds ?? 0 : 0
      try cluster.setFaults(calm, of: index)
    }
    faults = [:]
    for node in cluster.nodes where node.isPaused { cluster.signal(node.index, SIGCONT) }
    for index in disks where cluster.isRunning(index) {
      if !cluster.awaitReady(index, seconds: 5) {
        counts["restarts after a failed disk", default: 0] += 1
        cluster.signal(index, SIGKILL)
      }
    }
    try restartStopped()
    for node in cluster.nodes where !cluster.isRunning(node.index) {
      if node.process != nil, !disks.contains(node.index) {
        throw CommandFailure("node \(node.index) ended by itself: \(cluster.directory)/node\(node.index).log")
      }
      try cluster.start(node.index)
    }
    if let wiped { try replace(wiped.index, wiped.id) }
    wiped = nil
  }

  /// Does what an operator does about a node that says that it stopped after a failed write; it may say so late.
  func restartStopped() throws {
    for node in cluster.nodes where disturbed.contains(node.index) && cluster.isRunning(node.index) {
      guard let answer = ClusterProcesses.ask(node, "/readyz"), answer.status != 200,
        answer.body.contains("this node stopped") || answer.body.contains("disk failed")
      else { continue }
      counts["restarts after a failed disk", default: 0] += 1
      cluster.signal(node.index, SIGKILL)
      try cluster.start(node.index)
    }
  }

  // MARK: Lost disks

  /// One disk at a time, and only where all others hold everything: a second one could take with it what is nowhere else.
  private func wipe() throws -> String {
    let ids = cluster.nodes.map { ClusterProcesses.ask($0, "/node")?.body.split(separator: " ").first.map(String.init) }
    let index = victim()
    guard wiped == nil, !ids.contains(nil), let id = ids[index - 1],
      cluster.nodes.allSatisfy({ cluster.awaitReady($0.index, seconds: 1) })
    else { return "lost disk: not now" }
    wiped = (index, id)
    try cluster.wipe(index)
    if dice.below(2) == 0 { try cluster.start(index) }
    return "lost disk: node \(index)"
  }

  /// What an operator does: removes the lost node, and waits until the new one counts.
  private func replace(_ index: Int, _ lost: String) throws {
    let end = Date().addingTimeInterval(Self.replacementSeconds)
    var last = "no leader"
    while Date() < end {
      // A second node whose disk failed would leave no quorum.
      try restartStopped()
      if let leader = cluster.leader(), let id = newIdentity(index), id != lost {
        do {
          let client = try PlainClient(host: "127.0.0.1", port: leader.sqlPort)
          let roles = try client.query("SELECT node, role FROM synod_cluster")
          last = "\(roles)"
          let role = roles.first { $0[0] == id }?[1]
          let isGone = !roles.contains { $0[0] == lost }
          if isGone, role == "voter" || role == "witness" { return }
          if !isGone { _ = try client.query("SELECT synod_remove_node(\(lost))") }
        } catch let refusal as PlainClient.Refused {
          // Another change is under way.
          last = refusal.message
        } catch { last = "\(error)" }
      }
      usleep(50_000)
    }
    throw CommandFailure(
      "node \(index) did not replace the lost node \(lost) in \(Int(Self.replacementSeconds)) s: \(last); \(cluster.directory)"
    )
  }

  private func newIdentity(_ index: Int) -> String? {
    ClusterProcesses.ask(cluster.nodes[index - 1], "/node")?.body.split(separator: " ").first.map(String.init)
  }

  // MARK: Whom

  /// The leader half of the time, so that it is hit more often than the others.
  private func victim() -> Int {
    if dice.below(2) == 0, let leader = cluster.leader() { return leader.index }
    return 1 + dice.below(count)
  }

  private func others(_ index: Int) -> [Int] { (1...count).filter { $0 != index } }

  private func leaderOrAnybody() -> Int { cluster.leader()?.index ?? 1 + dice.below(count) }

  // MARK: Processes

  private func killSome() -> String {
    switch dice.below(8) {
    case 0:
      for index in 1...count { cluster.signal(index, SIGKILL) }
      return "kill -9 of all nodes"
    case 1:
      let first = victim()
      let second = dice.pick(others(first)) ?? first
      cluster.signal(first, SIGKILL)
      cluster.signal(second, SIGKILL)
      return "kill -9 of two nodes: \(first), \(second)"
    case 2...5:
      let leader = leaderOrAnybody()
      cluster.signal(leader, SIGKILL)
      return "kill -9 of the leader: \(leader)"
    default:
      let index = 1 + dice.below(count)
      cluster.signal(index, SIGKILL)
      return "kill -9 of a node: \(index)"
    }
  }

  private func pauseSome() -> String {
    let first = victim()
    cluster.signal(first, SIGSTOP)
    guard dice.below(5) == 0, let second = dice.pick(others(first)) else { return "SIGSTOP of a node: \(first)" }
    cluster.signal(second, SIGSTOP)
    return "SIGSTOP of two nodes: \(first), \(second)"
  }

  private func transfer() -> String {
    guard let leader = cluster.leader() else { return "leadership transfer: nobody leads" }
    _ = ClusterProcesses.ask(leader, "/faults/transfer")
    return "leadership transfer: from \(leader.index)"
  }

  // MARK: The network

  private func setRules(_ new: [PeerProxy.Pair: PeerProxy.Rule]) {
    rules = new
    cluster.proxy?.set(new)
  }

  private func cut(_ pairs: [PeerProxy.Pair]) -> [PeerProxy.Pair: PeerProxy.Rule] {
    Dictionary(pairs.map { ($0, PeerProxy.Rule(isCut: true)) }) { $1 }
  }

  private func bothWays(_ a: Int, _ b: Int) -> [PeerProxy.Pair] {
    [PeerProxy.Pair(from: a, to: b), PeerProxy.Pair(from: b, to: a)]
  }

  private func partition() -> String {
    switch dice.below(8) {
    case 0, 1:
      let index = leaderOrAnybody()
      setRules(cut(others(index).flatMap { bothWays(index, $0) }))
      return "partition, leader alone: \(index)"
    case 2:
      let index = victim()
      setRules(cut(others(index).flatMap { bothWays(index, $0) }))
      return "partition, a node alone: \(index)"
    case 3:
      let index = leaderOrAnybody()
      setRules(cut(others(index).map { PeerProxy.Pair(from: index, to: $0) }))
      return "partition, leader is not heard: \(index)"
    case 4:
      let index = leaderOrAnybody()
      setRules(cut(others(index).map { PeerProxy.Pair(from: $0, to: index) }))
      return "partition, leader does not hear: \(index)"
    case 5:
      let first = victim()
      let second = dice.pick(others(first)) ?? first
      setRules(cut(bothWays(first, second)))
      return "partition, a chain: \(first) and \(second) apart"
    case 6:
      let index = leaderOrAnybody()
      let pairs = others(index).flatMap { bothWays(index, $0) }
      let period = 100 + dice.below(900)
      let start = MonotonicTime.nanoseconds
      var isCut = false
      flapping = { [unowned self] in
        let wanted = (MonotonicTime.nanoseconds - start) / 1_000_000 / UInt64(period) % 2 == 0
        guard wanted != isCut else { return }
        isCut = wanted
        setRules(wanted ? cut(pairs) : [:])
      }
      return "partition, flapping: \(index), every \(period) ms"
    default:
      setRules(cut((1...count).flatMap { a in others(a).map { PeerProxy.Pair(from: a, to: $0) } }))
      return "partition, all apart"
    }
  }

  private func disturbNetwork() -> String {
    let index = victim()
    let all = (1...count).flatMap { a in others(a).map { PeerProxy.Pair(from: a, to: $0) } }
    let near = all.filter { $0.from == index || $0.to == index }
    switch dice.below(4) {
    case 0:
      let delay = 5 + dice.below(60)
      setRules(Dictionary(all.map { ($0, PeerProxy.Rule(delayMilliseconds: delay)) }) { $1 })
      return "slow network: \(delay) ms everywhere"
    case 1:
      let delay = 50 + dice.below(400)
      setRules(Dictionary(near.map { ($0, PeerProxy.Rule(delayMilliseconds: delay)) }) { $1 })
      return "slow network of a node: \(index), \(delay) ms"
    case 2:
      // Different each way and changing: messages of the two streams overtake each other.
      flapping = { [unowned self] in
        var rules: [PeerProxy.Pair: PeerProxy.Rule] = [:]
        for pair in all { rules[pair] = PeerProxy.Rule(delayMilliseconds: dice.below(40)) }
        setRules(rules)
      }
      return "jitter: up to 40 ms"
    default:
      flapping = { [unowned self] in if dice.below(10) == 0 { cluster.proxy?.reset(Set(near)) } }
      return "resets of a node's streams: \(index)"
    }
  }

  // MARK: Disks and clocks

  private func change(_ index: Int, _ body: (inout NodeFaults) -> Void) throws {
    body(&faults[index, default: NodeFaults()])
    try cluster.setFaults(faults[index] ?? NodeFaults(), of: index)
  }

  private func disturbDisk() throws -> String {
    let index = victim()
    switch dice.below(6) {
    case 0, 1:
      let delay = 2_000 + dice.below(60_000)
      try change(index) { $0.diskDelayMicroseconds = delay }
      return "slow disk: node \(index), \(delay / 1000) ms"
    case 2:
      let delay = 800_000 + dice.below(2_000_000)
      try change(index) { $0.diskDelayMicroseconds = delay }
      return "stalled disk: node \(index), \(delay / 1000) ms"
    case 3:
      for node in 1...count { try change(node) { $0.diskDelayMicroseconds = 5_000 } }
      return "slow disks: all, 5 ms"
    case 4:
      disturbed.insert(index)
      try change(index) { $0.isDiskFull = true }
      return "full disk: node \(index)"
    default:
      disturbed.insert(index)
      try change(index) { $0.failsWrites = true }
      return "failing disk: node \(index)"
    }
  }

  private func moveClocks() throws -> String {
    var jumps: [String] = []
    for index in 1...count where jumps.isEmpty || dice.below(2) == 0 {
      let jump = dice.below(7200) - 3600
      try change(index) { $0.wallOffsetSeconds = jump }
      jumps.append("node \(index) by \(jump) s")
    }
    return "wall clock jumps: " + jumps.joined(separator: ", ")
  }
}
