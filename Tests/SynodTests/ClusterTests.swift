import Encoding
import Foundation
import Log
import Paxos
import Platform
import Replication
import Synchronization
import Synod
import Testing

/// Nodes of one process, over real files and a network of threads.
///
/// `@unchecked Sendable`: notes are behind a lock; all else is used by the test's thread.
final class TestCluster: @unchecked Sendable {
  let directory: String
  let network: InProcessNetwork
  var databases: [UInt64: Database] = [:]
  let configuration: Configuration
  let cluster = ClusterID(high: 7, low: 11)
  var memtableSizeBytes: Int?
  var retainedEntries: UInt64 = 65_536
  /// Changes how nodes are started.
  var adjust: (UInt64, inout ClusterNodeSetup, inout CoreTuning) -> Void = { _, _, _ in }
  /// What nodes noted.
  let notes = Mutex<[String]>([])

  /// Disks other than the machine's, and what nodes are there besides those that found the cluster.
  var disks: [UInt64: any Disk] = [:]

  init(nodes: Int = 3, witnesses: [UInt64] = [], seed: UInt64 = 1, endsTurns: Bool = false) throws {
    directory = NSTemporaryDirectory() + "synod-cluster-\(UInt64.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    network = InProcessNetwork(seed: seed, endsTurns: endsTurns)
    configuration = try Configuration(
      epoch: 1, voters: (1...UInt64(nodes)).filter { !witnesses.contains($0) }.map { NodeID($0) },
      witnesses: witnesses.map { NodeID($0) })
  }

  func path(_ node: UInt64) -> String { disks[node] == nil ? "\(directory)/node\(node)" : "/node\(node)" }

  func start(_ node: UInt64) throws {
    var setup = ClusterNodeSetup(
      members: Members(node: NodeID(node), cluster: cluster, founding: configuration),
      transport: network.transport(for: NodeID(node)))
    setup.options.seed = node
    setup.options.keepsState = !configuration.isWitness(NodeID(node))
    setup.options.settings.retainedEntries = retainedEntries
    var tuning = CoreTuning()
    if let size = memtableSizeBytes { tuning.engine = { $0.memtableSizeBytes = size } }
    setup.options.note = { [weak self] text in self?.notes.withLock { $0.append("node \(node): \(text)") } }
    adjust(node, &setup, &tuning)
    let database = try Database.open(
      at: path(node), DatabaseOptions(), disk: disks[node] ?? LinuxDisk(), clock: LinuxClock(), tuning: tuning,
      node: setup)
    databases[node] = database
    if let log = database.replication { network.attach(log, as: NodeID(node)) }
  }

  func startAll() throws {
    for node in configuration.members { try start(node.rawValue) }
  }

  /// As far as the others can tell, the machine is gone; its files are as a killed process leaves them.
  func stop(_ node: UInt64) throws {
    network.detach(NodeID(node))
    for other in databases.keys where other != node { network.cut(NodeID(node), NodeID(other)) }
    try databases.removeValue(forKey: node)?.close()
    network.heal()
  }

  func leader(timeout: Double = 10) throws -> UInt64 {
    let end = Date().addingTimeInterval(timeout)
    while Date() < end {
      for (node, database) in databases where database.replication?.status.takesCommits == true { return node }
      usleep(2_000)
    }
    throw Failure("no leader after \(timeout) s: \(databases.mapValues { $0.replication?.status.role })")
  }

  /// Waits until all nodes have applied what the leader has.
  func settle(timeout: Double = 20) throws {
    let end = Date().addingTimeInterval(timeout)
    while Date() < end {
      let states = databases.values.compactMap { $0.replication?.status }
      if Set(states.map(\.applied)).count == 1, Set(states.map(\.last)).count == 1, states[0].applied == states[0].last
      {
        return
      }
      usleep(5_000)
    }
    throw Failure("not settled: \(databases.mapValues { $0.replication.map { ($0.status.applied, $0.status.last) } })")
  }

  func close() {
    for database in databases.values { try? database.close() }
    databases = [:]
    network.close()
    try? FileManager.default.removeItem(atPath: directory)
  }

  struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
  }
}

@Suite(.serialized) struct ClusterTests {
  /// `endsTurns`: the network's thread writes and applies what it brings.
  @Test(arguments: [false, true]) func threeNodesCommitAndAgree(endsTurns: Bool) throws {
    let cluster = try TestCluster(endsTurns: endsTurns)
    defer { cluster.close() }
    try cluster.startAll()
    let leader = try #require(cluster.databases[try cluster.leader()])
    try leader.execute("CREATE TABLE t (k int PRIMARY KEY, v text)")
    for k in 1...50 { try leader.execute("INSERT INTO t VALUES ($1, $2)", k, "value \(k)") }
    #expect(try leader.query("SELECT count(*) FROM t").rows.first?[0] == 50)
    try cluster.settle()
    let slot = try #require(leader.replication?.status.applied)
    let chains = Set(cluster.databases.values.compactMap { $0.replication?.chain(at: Slot(slot)) })
    #expect(chains.count == 1)
  }

  @Test(arguments: [false, true]) func nothingAcknowledgedIsLostWhenLeadersDie(endsTurns: Bool) throws {
    let cluster = try TestCluster(seed: 2, endsTurns: endsTurns)
    defer { cluster.close() }
    try cluster.startAll()
    var acknowledged: [Int] = []
    var next = 0
    for round in 0..<4 {
      let node = try cluster.leader()
      let database = try #require(cluster.databases[node])
      for _ in 0..<25 {
        next += 1
        do {
          try database.put([UInt8](("key \(next)").utf8), [1])
          acknowledged.append(next)
        } catch {}
      }
      try cluster.stop(node)
      let second = try cluster.leader()
      let survivor = try #require(cluster.databases[second])
      for key in acknowledged {
        #expect(try survivor.get([UInt8](("key \(key)").utf8)) == [1], "key \(key), round \(round)")
      }
      try cluster.start(node)
    }
    #expect(acknowledged.count > 60)
    _ = try cluster.leader()
    try cluster.settle()
  }

  @Test func whatADeposedLeaderTookIsRestartedOrKept() throws {
    let cluster = try TestCluster(seed: 3)
    defer { cluster.close() }
    try cluster.startAll()
    let node = try cluster.leader()
    let old = try #require(cluster.databases[node])
    try old.put([1], [1])
    for other in cluster.databases.keys where other != node { cluster.network.cut(NodeID(node), NodeID(other)) }
    // It may still believe that it leads; its commit cannot be chosen.
    let outcome = Mutex<(any Error)?>(nil)
    let thread = Thread {
      do { try old.put([1], [2]) } catch { outcome.withLock { $0 = error } }
    }
    thread.start()
    let others = cluster.databases.filter { $0.key != node }
    var leader: Database?
    for _ in 0..<2000 where leader == nil {
      leader = others.values.first { $0.replication?.status.takesCommits == true }
      usleep(2000)
    }
    let new = try #require(leader)
    try new.put([1], [3])
    // Whatever it believes, it does not claim to be fresh: reads of bounded staleness trust that.
    #expect(old.replication?.status.stalenessMicroseconds != 0)
    cluster.network.heal()
    for _ in 0..<5000 where !thread.isFinished { usleep(2000) }
    #expect(thread.isFinished)
    let error = outcome.withLock { $0 as? DatabaseError }
    #expect(error?.sqlState == "40001" || error?.sqlState == "57P03", "\(String(describing: error))")
    #expect(try new.get([1]) == [3])
    try cluster.settle()
  }

  /// A hold that would outlast the test: what ends it is that the group before is chosen.
  @Test(arguments: [false, true]) func aHeldGroupGoesWhenTheOneBeforeIsChosen(endsTurns: Bool) throws {
    let cluster = try TestCluster(seed: 4, endsTurns: endsTurns)
    defer { cluster.close() }
    cluster.adjust = { _, setup, _ in setup.options.holdNanoseconds = 60_000_000_000 }
    try cluster.startAll()
    let leader = try #require(cluster.databases[try cluster.leader()])
    let done = Atomic<Int>(0)
    let threads = (0..<8).map { client in
      Thread {
        for k in 0..<25 where (try? leader.put([UInt8(client), UInt8(k)], [1])) != nil {
          done.wrappingAdd(1, ordering: .relaxed)
        }
      }
    }
    for thread in threads { thread.start() }
    for _ in 0..<5000 where threads.contains(where: { !$0.isFinished }) { usleep(2000) }
    #expect(done.load(ordering: .relaxed) == 200)
  }

  /// Nothing can be chosen, and still the second group is proposed.
  @Test(arguments: [false, true]) func aHoldEndsByItself(endsTurns: Bool) throws {
    let cluster = try TestCluster(seed: 5, endsTurns: endsTurns)
    defer { cluster.close() }
    cluster.adjust = { _, setup, _ in setup.options.holdNanoseconds = 20_000_000 }
    try cluster.startAll()
    let node = try cluster.leader()
    let leader = try #require(cluster.databases[node])
    try leader.put([0], [1])
    try cluster.settle()
    let before = try #require(leader.replication?.status.last)
    for other in cluster.databases.keys where other != node { cluster.network.cut(NodeID(node), NodeID(other)) }
    let threads = (1...2).map { key in Thread { try? leader.put([UInt8(key)], [1]) } }
    for (number, thread) in threads.enumerated() {
      thread.start()
      for _ in 0..<150 where leader.replication?.status.last ?? 0 < before + UInt64(number) + 1 { usleep(2000) }
    }
    #expect(leader.replication?.status.last == before + 2)
    cluster.network.heal()
    for _ in 0..<5000 where threads.contains(where: { !$0.isFinished }) { usleep(2000) }
    let isFinished = threads.allSatisfy { $0.isFinished }
    #expect(isFinished)
  }
}
