import Foundation
import Testing

/// Nodes that are removed: the leader without a failed transaction, and each of them for good.
@Suite(.serialized) struct ClusterRemovalTests {
  private func voters(_ cluster: ServedCluster, _ node: Int) throws -> String {
    try cluster.value(node, "SELECT count(*) FROM synod_cluster WHERE role = 'voter'")
  }

  private func transfer(_ cluster: ServedCluster, asking node: Int) throws {
    let leader = cluster.leader()
    #expect(try cluster.eventually { try cluster.value(node, "SELECT synod_transfer_leadership()") == "t" })
    #expect(cluster.eventually { cluster.leader().map { $0 != leader } ?? false })
  }

  /// A transaction that is open at the leader when that is removed commits there; the session goes on at the next leader.
  @Test func theLeaderHandsOverBeforeItIsRemoved() throws {
    let cluster = try ServedCluster()
    defer { cluster.stop() }
    #expect(try cluster.awaitReady())
    #expect(try cluster.ask(1, ["CREATE TABLE t (k int PRIMARY KEY)"]).status == 0)
    let leader = try #require(cluster.leader())
    let other = leader % 3 + 1
    let client = Process()
    client.executableURL = Synod.executable
    client.arguments = [
      "--mode", "list", "-noheader", try cluster.url(other), "BEGIN", "INSERT INTO t VALUES (1)",
      "SELECT pg_sleep(0.7)", "COMMIT", "INSERT INTO t VALUES (2)", "SELECT count(*) FROM t",
    ]
    let output = Pipe()
    client.standardOutput = output
    client.standardError = output
    client.standardInput = FileHandle.nullDevice
    try client.run()
    defer { if client.isRunning { kill(client.processIdentifier, SIGKILL) } }
    let isOpen = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    #expect(try cluster.eventually { try cluster.value(other, isOpen) == "1" })
    let id = try cluster.value(other, "SELECT node FROM synod_cluster WHERE is_leader")
    let removed = try Synod.run(["cluster", "remove", id, "--url", try cluster.url(other)])
    #expect(removed.status == 0, "\(removed.output)\(removed.errors)")
    #expect(cluster.eventually { !client.isRunning })
    if client.isRunning { kill(client.processIdentifier, SIGKILL) }
    let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    #expect(said.hasSuffix("2\n") && !said.contains("40001"), "\(said)")
    #expect(try cluster.eventually { try voters(cluster, other) == "2" })
    #expect(try cluster.value(other, "SELECT count(*) FROM synod_cluster WHERE node = \(id)") == "0")
    let health = try #require(cluster.nodes[leader]).http("/readyz")
    #expect(health.contains("no member"))
  }

  /// Neither another leader nor the node's own restart takes a removed node in again, be it a voter or a learner.
  @Test func whoWasRemovedIsNotTakenInAgain() throws {
    let cluster = try ServedCluster()
    defer { cluster.stop() }
    #expect(try cluster.awaitReady())
    try cluster.start(4)
    try cluster.start(5, ["--role", "learner"])
    let counts = "SELECT string_agg(role, ' ' ORDER BY role) FROM synod_cluster"
    #expect(
      try cluster.eventually { try cluster.value(1, counts) == "learner voter voter voter voter" },
      "\(cluster.nodes[4]?.words ?? "")")
    let ids = try (4...5).map { node in
      let id = try #require(cluster.nodes[node]).http("/node")
      return String(try #require(id.split(separator: " ").first))
    }
    // The fifth is away when it is removed, and learns of it from the others; its own log says that it is a member.
    cluster.kill(5)
    for id in ids { #expect(try cluster.eventually { try cluster.value(1, "SELECT synod_remove_node(\(id))") == "t" }) }
    #expect(try voters(cluster, 1) == "3")
    try transfer(cluster, asking: 1)
    cluster.kill(4)
    try cluster.start(4)
    try cluster.start(5, ["--role", "learner"])
    #expect(
      cluster.eventually {
        ids.allSatisfy { id in cluster.nodes.values.contains { $0.words.contains("node \(id), at") } }
      }, "\(cluster.nodes[4]?.words ?? "")")
    #expect(try cluster.value(1, counts) == "voter voter voter")
    let health = try #require(cluster.nodes[4]).http("/readyz")
    #expect(health.contains("no member"))
  }
}
