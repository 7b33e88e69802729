import Encoding
import Foundation
import Log
import Paxos
import Platform
import Replication
import Synod
import Testing

/// Records that become unreadable while their node runs.
@Suite(.serialized) struct LogDamageTests {
  private func fill(_ database: Database, _ keys: Range<Int>) throws {
    for key in keys {
      try database.put([UInt8]("key \(key)".utf8), [UInt8]("value \(key) \(String(repeating: "x", count: 400))".utf8))
    }
  }

  private func expectEqual(_ cluster: TestCluster) throws {
    do { try cluster.settle() } catch {
      throw TestCluster.Failure("\(error)\n" + cluster.notes.withLock { $0 }.joined(separator: "\n"))
    }
    let digests = try cluster.databases.mapValues { try $0.stateDigest() }
    #expect(Set(digests.values).count == 1, "\(digests) \(cluster.notes.withLock { $0 })")
  }

  /// Flips a bit in the frames that hold the slots, in the files that the node has open. Returns how many.
  private func damage(_ directory: String, _ slots: ClosedRange<UInt64>) throws -> Int {
    var count = 0
    for file in try LogInspection.files(directory, disk: LinuxDisk()) {
      var offsets: [UInt64] = []
      try LogInspection.frames(of: file, disk: LinuxDisk()) { frame in
        for (place, item) in frame.items {
          // A byte of the record's own, whatever else is in its frame.
          if case .record(let header, _, _) = item, slots.contains(header.slot.rawValue) { offsets.append(place + 120) }
        }
        return true
      }
      guard !offsets.isEmpty, let handle = FileHandle(forUpdatingAtPath: file.path) else { continue }
      for offset in offsets {
        try handle.seek(toOffset: offset)
        let byte = try handle.read(upToCount: 1)?.first ?? 0
        try handle.seek(toOffset: offset)
        try handle.write(contentsOf: Data([byte ^ 1]))
        count += 1
      }
      try handle.synchronize()
      try handle.close()
    }
    return count
  }

  private func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<5000 {
      if condition() { return true }
      usleep(2000)
    }
    return false
  }

  /// A round of reading everything finds it, on the leader as on a follower; nobody notices.
  @Test(arguments: [true, false]) func theScrubberFindsARecordAndPeersHaveIt(onLeader: Bool) throws {
    let cluster = try TestCluster(seed: 41)
    defer { cluster.close() }
    cluster.adjust = { _, _, tuning in tuning.scrubPauseNanoseconds = 50_000_000 }
    try cluster.startAll()
    let leading = try cluster.leader()
    let leader = try #require(cluster.databases[leading])
    try fill(leader, 0..<60)
    try cluster.settle()
    let victim = onLeader ? leading : try #require(cluster.databases.keys.first { $0 != leading })
    let log = try #require(cluster.databases[victim]?.replication)
    let last = log.status.applied
    let damaged = try damage(cluster.path(victim), last - 30...last - 28)
    #expect(damaged > 0)
    #expect(eventually { log.transferCounts.repairedRecords >= damaged }, "\(cluster.notes.withLock { $0 })")
    try fill(leader, 60..<70)
    try expectEqual(cluster)
    // A restart gives up whole frames: what else was in them is repaired as well.
    let isWhole = { (log: Log) in
      log.segmentSequences.allSatisfy { (try? log.slotsInBrokenFrames(ofSegment: $0).isEmpty) == true }
    }
    #expect(eventually { log.status.damagedRecords == 0 && log.log.damagedSlots.isEmpty && isWhole(log.log) })
    // It stays so.
    try cluster.stop(victim)
    try cluster.start(victim)
    _ = try cluster.leader()
    try expectEqual(cluster)
    #expect(
      cluster.databases[victim]?.replication?.transferCounts.repairedRecords == 0,
      "\(cluster.notes.withLock { $0 })")
  }

  /// What a node keeps beside log and tables is in memory: damaged files are written anew, and the next start finds them whole.
  @Test func theScrubberWritesControlFilesAnew() throws {
    let cluster = try TestCluster(seed: 45)
    defer { cluster.close() }
    cluster.adjust = { _, _, tuning in tuning.scrubPauseNanoseconds = 50_000_000 }
    try cluster.startAll()
    let leading = try cluster.leader()
    try fill(try #require(cluster.databases[leading]), 0..<20)
    try cluster.settle()
    let directory = cluster.path(leading)
    for (prefix, offset) in [("superblock", 4196), ("members", 30), ("CURRENT", 3), ("MANIFEST-", 24)] {
      let name = try #require(
        try FileManager.default.contentsOfDirectory(atPath: directory).first { $0.hasPrefix(prefix) })
      let handle = try #require(FileHandle(forUpdatingAtPath: "\(directory)/\(name)"))
      try handle.seek(toOffset: UInt64(offset))
      let byte = try #require(try handle.read(upToCount: 1)?.first)
      try handle.seek(toOffset: UInt64(offset))
      try handle.write(contentsOf: Data([byte ^ 16]))
      try handle.close()
      #expect(
        eventually {
          cluster.notes.withLock { $0.contains { $0.contains(prefix) && $0.hasSuffix("it was written anew") } }
        },
        "\(prefix): \(cluster.notes.withLock { $0 })")
    }
    #expect(
      eventually {
        let copies = (try? Superblock.readCopies("\(directory)/superblock", disk: LinuxDisk())) ?? []
        return copies.count == 4 && Set(copies).count == 1
          && (try? Members.read(directory, disk: LinuxDisk()))?.node == NodeID(leading)
      })
    try cluster.stop(leading)
    try cluster.start(leading)
    try expectEqual(cluster)
    #expect(cluster.databases[leading]?.replication?.transferCounts.installed == 0, "its tables were not given up")
  }

  /// The leader is asked for a record that it cannot read: it has it repaired, then serves it.
  @Test func aServedRecordIsRepairedFirst() throws {
    let cluster = try TestCluster(seed: 42)
    defer { cluster.close() }
    cluster.adjust = { _, setup, _ in setup.options.cacheSizeBytes = 4 << 10 }
    try cluster.startAll()
    let leading = try cluster.leader()
    let leader = try #require(cluster.databases[leading])
    let away = try #require(cluster.databases.keys.first { $0 != leading })
    try fill(leader, 0..<10)
    try cluster.settle()
    try cluster.stop(away)
    try fill(leader, 10..<80)
    try cluster.settle()
    let log = try #require(leader.replication)
    let last = log.status.applied
    let damaged = try damage(cluster.path(leading), last - 40...last - 35)
    #expect(damaged > 0)
    // Nobody but the leader is there to be asked at first.
    try cluster.start(away)
    #expect(eventually { log.transferCounts.repairedRecords >= 1 }, "\(cluster.notes.withLock { $0 })")
    try expectEqual(cluster)
    #expect(eventually { log.status.damagedRecords == 0 })
  }

  /// What is to be applied cannot be read: it waits for a peer's copy, and shows nothing behind it until then.
  @Test func aRecordThatIsToBeAppliedIsRepairedFirst() throws {
    let cluster = try TestCluster(seed: 43)
    defer { cluster.close() }
    try cluster.startAll()
    let leading = try cluster.leader()
    let leader = try #require(cluster.databases[leading])
    try fill(leader, 0..<40)
    try cluster.settle()
    let victim = try #require(cluster.databases.keys.first { $0 != leading })
    try cluster.stop(victim)
    // Alone it does not know that its last records were chosen, and applies them when it hears so.
    for other in cluster.databases.keys { cluster.network.cut(NodeID(other), NodeID(victim)) }
    try cluster.start(victim)
    let log = try #require(cluster.databases[victim]?.replication)
    let last = log.status.last
    #expect(log.status.applied < last)
    #expect(try damage(cluster.path(victim), last...last) == 1)
    cluster.network.heal()
    // Twice where it is looked for again before the copy is on disk.
    #expect(
      eventually { log.transferCounts.repairedRecords >= 1 },
      "\(log.transferCounts) \(log.status) \(cluster.notes.withLock { $0 })")
    try fill(leader, 40..<45)
    try expectEqual(cluster)
    #expect(cluster.notes.withLock { $0 }.contains { $0.contains("slot \(last) of the log cannot be read") })
  }

  /// Too old to be proven by what follows: the log before it is given up, and who lacks it takes tables.
  @Test func aRecordThatIsNoLongerRememberedIsGivenUp() throws {
    let cluster = try TestCluster(seed: 44)
    defer { cluster.close() }
    cluster.adjust = { _, setup, tuning in
      setup.options.settings.unchosenEntries = 4
      setup.options.settings.indexEntries = 8
      setup.options.cacheSizeBytes = 4 << 10
      setup.options.transferReserveSizeBytes = 0
      tuning.scrubPauseNanoseconds = 50_000_000
      // The log goes by whole segments.
      tuning.log.firstSegmentSizeBytes = 32 << 10
      tuning.log.segmentSizeBytes = 64 << 10
    }
    try cluster.startAll()
    let leading = try cluster.leader()
    let leader = try #require(cluster.databases[leading])
    let away = try #require(cluster.databases.keys.first { $0 != leading })
    try fill(leader, 0..<10)
    try cluster.settle()
    try cluster.stop(away)
    try fill(leader, 10..<100)
    try cluster.settle()
    for database in cluster.databases.values { try database.flush() }
    let log = try #require(leader.replication)
    let last = log.status.applied
    for node in cluster.databases.keys { #expect(try damage(cluster.path(node), last - 70...last - 60) > 0) }
    // Its segments go at once, or when nothing reads them any more.
    let found = ["node \(leading): slot \(last - 60) of the log cannot be read", "node \(leading): frames of segment"]
    #expect(
      eventually {
        log.log.base.slot.rawValue >= last - 60
          || cluster.notes.withLock { $0.contains { note in found.contains { note.hasPrefix($0) } } }
      })
    try cluster.start(away)
    try fill(leader, 100..<105)
    try expectEqual(cluster)
    #expect(cluster.databases[away]?.replication?.transferCounts.installed == 1)
  }

  /// A table of a running node is damaged: the scrubber finds it, and another node's state takes its place, on the leader
  /// after it has handed over.
  @Test(arguments: [true, false]) func aTableDamagedWhileItsNodeRunsIsReplaced(onLeader: Bool) throws {
    let cluster = try TestCluster(seed: 45)
    defer { cluster.close() }
    cluster.adjust = { _, setup, tuning in
      setup.options.transferReserveSizeBytes = 0
      tuning.scrubPauseNanoseconds = 50_000_000
    }
    try cluster.startAll()
    let leading = try cluster.leader()
    try fill(try #require(cluster.databases[leading]), 0..<200)
    try cluster.settle()
    for database in cluster.databases.values { try database.flush() }
    let victim = onLeader ? leading : try #require(cluster.databases.keys.first { $0 != leading })
    let log = try #require(cluster.databases[victim]?.replication)
    let directory = cluster.path(victim) + "/tables"
    var count = 0
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
      guard let handle = FileHandle(forUpdatingAtPath: "\(directory)/\(name)") else { continue }
      try handle.seek(toOffset: 60)
      let byte = try handle.read(upToCount: 1)?.first ?? 0
      try handle.seek(toOffset: 60)
      try handle.write(contentsOf: Data([byte ^ 2]))
      try handle.synchronize()
      try handle.close()
      count += 1
    }
    #expect(count > 0)
    #expect(eventually { log.transferCounts.installed == 1 }, "\(cluster.notes.withLock { $0 })")
    let next = try #require(cluster.databases[try cluster.leader()])
    try fill(next, 200..<210)
    try expectEqual(cluster)
    #expect(!log.status.lacksState)
  }

  /// A snapshot that is older than what the checkpoint holds cannot be read any more; it says so instead of showing less.
  @Test func aSnapshotOlderThanTheCheckpointIsRefused() throws {
    let cluster = try TestCluster(seed: 46)
    defer { cluster.close() }
    cluster.adjust = { _, setup, _ in setup.options.transferReserveSizeBytes = 0 }
    try cluster.startAll()
    let leading = try cluster.leader()
    let leader = try #require(cluster.databases[leading])
    try fill(leader, 0..<20)
    try cluster.settle()
    let follower = try #require(cluster.databases.first { $0.key != leading }?.value)
    let log = try #require(follower.replication)
    let key = [UInt8]("key 3".utf8)
    let error = try #require(throws: DatabaseError.self) {
      try follower.readLocally { transaction in
        let before = try transaction.get(key)
        #expect(before != nil)
        for round in 0..<3 {
          for key in 0..<20 { try leader.put([UInt8]("key \(key)".utf8), [UInt8]("round \(round)".utf8)) }
          try leader.flush()
        }
        try cluster.settle()
        #expect(try transaction.get(key) == before, "the follower keeps what its own snapshots show")
        log.stateIsDamaged("a test says so")
        #expect(eventually { log.transferCounts.installed == 1 }, "\(cluster.notes.withLock { $0 })")
        _ = try transaction.get(key)
      }
    }
    #expect(error.sqlState == "72000", "\(error)")
    // Whoever begins anew reads on.
    #expect(try follower.readLocally { try $0.get(key) } == [UInt8]("round 2".utf8))
    try expectEqual(cluster)
  }
}
