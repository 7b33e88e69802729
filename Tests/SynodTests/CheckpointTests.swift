import Encoding
import Foundation
import Log
import Paxos
import Platform
import Replication
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
      setup.options.transferReserveSizeBytes = 0
      tuning.log.firstSegmentSizeBytes = 32 << 10
      tuning.log.segmentSizeBytes = 64 << 10
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
}
