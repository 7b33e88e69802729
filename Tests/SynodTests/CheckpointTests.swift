import Encoding
import Foundation
import Log
import Paxos
import Platform
import Replication
import Simulation
import Synod
import Testing

/// Nodes that are too far behind for the log, and nodes whose files are damaged.
@Suite(.serialized) struct CheckpointTests {
  /// A cluster that keeps as little log as it can.
  private func makeCluster(nodes: Int = 3, seed: UInt64) throws -> TestCluster {
    let cluster = try TestCluster(nodes: nodes, seed: seed)
    cluster.memtableSizeBytes = 256 << 10
    cluster.retainedEntries = 4
    cluster.adjust = { _, setup, tuning in
      setup.options.retainedLogSizeBytes = 64 << 10
      setup.options.nearLogSizeBytes = 64 << 10
      setup.options.transferReserveSizeBytes = 0
      tuning.log.firstSegmentSizeBytes = 32 << 10
      tuning.log.segmentSizeBytes = 64 << 10
      // Tables are read through soon.
      tuning.scrubPauseNanoseconds = 200_000_000
    }
    return cluster
  }

  private func fill(_ database: Database, _ keys: Range<Int>, _ word: String = "value") throws {
    for key in keys {
      try database.put([UInt8]("key \(key)".utf8), [UInt8]("\(word) \(key) \(String(repeating: "x", count: 400))".utf8))
    }
  }

  /// The nodes' states, once all have applied the same.
  private func expectEqual(_ cluster: TestCluster, _ comment: Comment? = nil) throws {
    do { try cluster.settle() } catch {
      throw TestCluster.Failure("\(error)\n" + cluster.notes.withLock { $0 }.joined(separator: "\n"))
    }
    let digests = try cluster.databases.mapValues { try $0.stateDigest() }
    #expect(Set(digests.values).count == 1, "\(digests) \(cluster.notes.withLock { $0 })")
  }

  @Test func aNodeThatWasAwayTakesACheckpoint() throws {
    let cluster = try makeCluster(seed: 11)
    defer { cluster.close() }
    try cluster.startAll()
    var leader = try #require(cluster.databases[try cluster.leader()])
    try fill(leader, 0..<50)
    try cluster.settle()
    let away = try #require(cluster.databases.keys.first { cluster.databases[$0] !== leader })
    try cluster.stop(away)
    try fill(leader, 0..<400, "newer")
    for database in cluster.databases.values { try database.flush() }
    try fill(leader, 400..<420)
    try cluster.start(away)
    try expectEqual(cluster)
    let counts = try #require(cluster.databases[away]?.replication).transferCounts
    #expect(counts.installed == 1, "\(counts) \(cluster.notes.withLock { $0 })")
    // It goes on with what it was given, also after a restart.
    leader = try #require(cluster.databases[try cluster.leader()])
    try fill(leader, 420..<440)
    try expectEqual(cluster)
    try cluster.stop(away)
    try cluster.start(away)
    leader = try #require(cluster.databases[try cluster.leader()])
    try fill(leader, 440..<450)
    try expectEqual(cluster)
    #expect(cluster.databases[away]?.replication?.transferCounts.installed == 0)
  }

  /// Puts `away` so far behind that only a checkpoint helps.
  private func leaveBehind(_ cluster: TestCluster, _ away: UInt64) throws {
    let leader = try #require(cluster.databases[try cluster.leader()])
    try fill(leader, 0..<40)
    try cluster.settle()
    if cluster.databases[away] === leader {
      let other = try #require(cluster.configuration.voters.first { $0.rawValue != away })
      _ = leader.replication?.transferLeadership(to: other)
      for _ in 0..<2000 where try cluster.leader() == away { usleep(2000) }
    }
    try cluster.stop(away)
    let next = try #require(cluster.databases[try cluster.leader()])
    try fill(next, 0..<300, "newer")
    for key in 0..<20 { try next.delete([UInt8]("key \(key)".utf8)) }
    for database in cluster.databases.values { try database.flush() }
    try fill(next, 300..<310)
  }

  @Test func aNewNodeIsSeeded() throws {
    let cluster = try makeCluster(seed: 12)
    defer { cluster.close() }
    try cluster.startAll()
    let leader = try #require(cluster.databases[try cluster.leader()])
    try fill(leader, 0..<400)
    try cluster.settle()
    for database in cluster.databases.values { try database.flush() }
    try cluster.start(4)
    let old = cluster.configuration
    let learning = try Configuration(epoch: 2, voters: old.voters, learners: [NodeID(4)])
    #expect(leader.replication?.reconfigure(to: learning) == nil)
    try expectEqual(cluster)
    #expect(cluster.databases[4]?.replication?.transferCounts.installed == 1)
    // It becomes a voter, and counts as one.
    let voting = try Configuration(epoch: 3, voters: old.voters + [NodeID(4)])
    var refusal = leader.replication?.reconfigure(to: voting)
    for _ in 0..<1000 where refusal != nil {
      usleep(5000)
      refusal = leader.replication?.reconfigure(to: voting)
    }
    #expect(refusal == nil)
    for _ in 0..<1000 where cluster.databases[4]?.replication?.status.configuration.epoch != 3 { usleep(5000) }
    let others = cluster.databases.keys.filter { $0 != 4 }
    try cluster.stop(others[0])
    let next = try #require(cluster.databases[try cluster.leader()])
    try fill(next, 400..<410)
    try cluster.stop(4)
    try cluster.start(4)
    try expectEqual(cluster)
    #expect(cluster.databases[4]?.replication?.status.configuration == voting)
  }

  @Test func powerCutsWhileACheckpointComesInLeaveTheOldStateOrTheNew() throws {
    let cluster = try makeCluster(seed: 14)
    defer { cluster.close() }
    let original = SimulatedDisk(seed: 14)
    cluster.disks[3] = original
    try cluster.startAll()
    try leaveBehind(cluster, 3)
    let away = original.survivor(seed: 1)
    // How many operations it takes.
    let rehearsal = away.copy()
    cluster.disks[3] = rehearsal
    let start = rehearsal.operationCount
    try cluster.start(3)
    try expectEqual(cluster, "rehearsal")
    #expect(cluster.databases[3]?.replication?.transferCounts.installed == 1)
    let count = rehearsal.operationCount - start
    try cluster.stop(3)
    let cuts = ProcessInfo.processInfo.environment["SYNOD_THOROUGH"] == nil ? 10 : 200
    for cut in 0..<cuts {
      let disk = away.copy()
      let operation = disk.operationCount + count * (2 * cut + 1) / (2 * cuts)
      disk.crash(atOperation: operation)
      cluster.disks[3] = disk
      if (try? cluster.start(3)) != nil {
        for _ in 0..<1500 where !disk.isCrashed { usleep(2000) }
        try? cluster.stop(3)
      }
      cluster.network.heal()
      cluster.databases[3] = nil
      cluster.disks[3] = disk.survivor(seed: UInt64(cut))
      try cluster.start(3)
      try expectEqual(cluster, "power cut at operation \(operation)")
      try cluster.stop(3)
    }
  }

  // MARK: Damage

  /// Flips a byte in each file of the directory that `body` picks; returns how many.
  private func flip(_ directory: String, at place: (String, Int) -> Int?) throws -> Int {
    var count = 0
    for name in try FileManager.default.contentsOfDirectory(atPath: directory).sorted() {
      let url = URL(fileURLWithPath: "\(directory)/\(name)")
      guard place(name, 1 << 20) != nil else { continue }
      var bytes = try Data(contentsOf: url)
      guard let offset = place(name, bytes.count) else { continue }
      bytes[offset] ^= 0x40
      try bytes.write(to: url)
      count += 1
    }
    return count
  }

  @Test func aDamagedLogIsRepairedFromPeers() throws {
    let cluster = try TestCluster(seed: 15)
    defer { cluster.close() }
    try cluster.startAll()
    let leader = try #require(cluster.databases[try cluster.leader()])
    try fill(leader, 0..<120)
    try cluster.settle()
    let victim = try #require(cluster.databases.keys.first { cluster.databases[$0] !== leader })
    try cluster.stop(victim)
    // A few records in the middle.
    var damaged = 0
    for file in try LogInspection.files(cluster.path(victim), disk: LinuxDisk()) {
      var offsets: [UInt64] = []
      try LogInspection.frames(of: file, disk: LinuxDisk()) { frame in
        let holds = frame.items.contains { if case .record = $0.item { true } else { false } }
        if frame.header != nil, holds { offsets.append(frame.offset) }
        return true
      }
      guard offsets.count > 60 else { continue }
      var bytes = try Data(contentsOf: URL(fileURLWithPath: file.path))
      for index in [20, 21, 22, 40, 55] {
        bytes[Int(offsets[index]) + 150] ^= 1
        damaged += 1
      }
      try bytes.write(to: URL(fileURLWithPath: file.path))
    }
    #expect(damaged > 0)
    try cluster.start(victim)
    let next = try #require(cluster.databases[try cluster.leader()])
    try fill(next, 120..<130)
    try expectEqual(cluster)
    let counts = try #require(cluster.databases[victim]?.replication).transferCounts
    #expect(counts.repairedRecords >= damaged, "\(counts) \(cluster.notes.withLock { $0 })")
    #expect(cluster.databases[victim]?.replication?.status.damagedRecords == 0)
    // What was repaired stays so.
    try cluster.stop(victim)
    try cluster.start(victim)
    try expectEqual(cluster)
    #expect(cluster.databases[victim]?.replication?.transferCounts.repairedRecords == 0)
  }

  @Test(arguments: ["footer", "block", "CURRENT", "gone"])
  func aDamagedTableIsReplacedByPeers(_ what: String) throws {
    let cluster = try makeCluster(seed: 16)
    defer { cluster.close() }
    try cluster.startAll()
    let leader = try #require(cluster.databases[try cluster.leader()])
    try fill(leader, 0..<200)
    try cluster.settle()
    for database in cluster.databases.values { try database.flush() }
    let victim = try #require(cluster.databases.keys.first { cluster.databases[$0] !== leader })
    // With a whole log it would need nobody's tables.
    let log = try #require(cluster.databases[victim]?.replication).log
    for _ in 0..<4000 where log.base.slot == .zero { usleep(2000) }
    #expect(log.base.slot > .zero)
    try cluster.stop(victim)
    let path = cluster.path(victim)
    switch what {
    case "footer": #expect(try flip(path + "/tables") { _, size in size - 60 } > 0)
    case "block": #expect(try flip(path + "/tables") { _, _ in 50 } > 0)
    case "CURRENT": #expect(try flip(path) { name, size in name == "CURRENT" ? size / 2 : nil } == 1)
    default:
      for name in try FileManager.default.contentsOfDirectory(atPath: path)
      where name == "CURRENT" || name == "tables" || name.hasPrefix("MANIFEST") {
        try FileManager.default.removeItem(atPath: "\(path)/\(name)")
      }
    }
    try cluster.start(victim)
    let next = try #require(cluster.databases[try cluster.leader()])
    try fill(next, 200..<220)
    let node = try #require(cluster.databases[victim]?.replication)
    for _ in 0..<4000 where node.transferCounts.installed == 0 { usleep(2000) }
    #expect(node.transferCounts.installed == 1, "\(cluster.notes.withLock { $0 })")
    try expectEqual(cluster)
    #expect(!node.status.lacksState)
    try cluster.stop(victim)
    try cluster.start(victim)
    try expectEqual(cluster)
  }

  // MARK: Witnesses

  @Test func aWitnessKeepsTheLogAndNoTables() throws {
    let cluster = try TestCluster(nodes: 3, witnesses: [3], seed: 17)
    defer { cluster.close() }
    cluster.memtableSizeBytes = 256 << 10
    cluster.retainedEntries = 4
    try cluster.startAll()
    let first = try cluster.leader()
    #expect(first != 3)
    let leader = try #require(cluster.databases[first])
    try fill(leader, 0..<100)
    try cluster.stop(first)
    // One voter and the witness are a quorum.
    let second = try cluster.leader()
    #expect(second != 3 && second != first)
    let survivor = try #require(cluster.databases[second])
    try fill(survivor, 100..<150)
    #expect(try survivor.get([UInt8]("key 99".utf8)) != nil)
    try cluster.start(first)
    try cluster.stop(3)
    try fill(try #require(cluster.databases[try cluster.leader()]), 150..<160)
    try cluster.start(3)
    try cluster.settle()
    let names = try FileManager.default.contentsOfDirectory(atPath: cluster.path(3))
    #expect(!names.contains("tables") && !names.contains("CURRENT") && names.contains("log"), "\(names)")
    #expect(throws: DatabaseError.self) { _ = try cluster.databases[3]?.get([1]) }
  }
}
