import Foundation
import Testing

/// Clusters of processes whose members change: witnesses, nodes that join, what is left after a recovery.
@Suite(.serialized) struct ClusterChangesTests {
  private func metric(_ node: ServedNode?, _ name: String) throws -> String {
    let text = try #require(node).http("/metrics")
    return text.split(separator: "\n").first { $0.hasPrefix(name + " ") }.map { String($0.dropFirst(name.count + 1)) }
      ?? "absent"
  }

  /// Two machines and a third that keeps the log only: any one may be lost.
  @Test func aWitnessMakesTwoNodesAQuorum() throws {
    let cluster = try ServedCluster { node, _ in node == 3 ? ["--role", "witness"] : [] }
    defer { cluster.stop() }
    #expect(try cluster.awaitReady())
    _ = try cluster.ask(1, ["CREATE TABLE t (k int PRIMARY KEY)"])
    // Clients of the witness are relayed, whatever they want to read.
    let written = try cluster.ask(3, ["INSERT INTO t VALUES (1)", "SELECT count(*) FROM t"])
    #expect(written.output.hasSuffix("1\n"), "\(written.output)\(written.errors)")
    let roles = try cluster.ask(2, ["SELECT role, count(*) FROM synod_cluster GROUP BY role ORDER BY role"])
    #expect(roles.output == "voter|2\nwitness|1\n")
    let leader = try #require(cluster.leader())
    #expect(leader != 3)
    cluster.kill(leader)
    let other = leader == 1 ? 2 : 1
    #expect(try cluster.eventually { try cluster.ask(other, ["INSERT INTO t VALUES (2)"]).status == 0 })
    #expect(cluster.leader() == other)
    try cluster.start(leader)
    #expect(try cluster.eventually { try cluster.value(leader, "SELECT count(*) FROM t") == "2" })
    // Nor is the witness needed.
    cluster.kill(3)
    #expect(try cluster.eventually { try cluster.ask(leader, ["INSERT INTO t VALUES (3)"]).status == 0 })
    let names = try FileManager.default.contentsOfDirectory(atPath: cluster.directory(3))
    #expect(!names.contains("tables") && names.contains("log"), "\(names)")
  }

  /// What no log has any more comes as a checkpoint, over sockets: to nodes that join a recovered cluster with empty
  /// directories. They become voters, and the one that began may then be lost.
  @Test func nodesJoinARecoveredCluster() throws {
    let first = try ServedCluster()
    defer { first.stop() }
    #expect(try first.awaitReady())
    let made = try first.ask(
      1,
      [
        "CREATE TABLE t (k int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g",
      ])
    #expect(made.status == 0, "\(made.errors)")
    first.stop()
    let target = first.scratch.path + "/recovered"
    let recovered = try Synod.run(["cluster", "recover", first.directory(2), "--into", target, "--others-are-lost"])
    #expect(recovered.status == 0, "\(recovered.output)\(recovered.errors)")
    let ports = (0..<3).map { _ in LoopbackPorts.take() }
    let join = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
    func node(_ place: Int) throws -> ServedNode {
      let data = place == 0 ? target : "\(target)\(place)"
      return try ServedNode(
        first.scratch, "new\(place)",
        [
          "--data", data, "--peer-listen", "127.0.0.1:\(ports[place])", "--join", join, "--retain-records", "4",
        ])
    }
    var nodes = [try node(0)]
    defer { for node in nodes { node.stop() } }
    func ask(_ place: Int, _ statement: String) throws -> String {
      let answer = try Synod.run([
        "--mode", "list", "-noheader", try nodes[place].url() + "?sslmode=disable", statement,
      ])
      return answer.output.isEmpty ? answer.errors : answer.output
    }
    // What it has is in tables, and its log begins behind them.
    for statement in ["INSERT INTO t VALUES (-1, '')", "CHECKPOINT", "DELETE FROM t WHERE k = -1", "CHECKPOINT"] {
      _ = try ask(0, statement)
    }
    for place in 1...2 { nodes.append(try node(place)) }
    #expect(
      try first.eventually { try ask(0, "SELECT count(*) FROM synod_cluster WHERE role = 'voter'") == "3\n" },
      "\(nodes[1].words)")
    for place in 1...2 {
      #expect(try metric(nodes[place], "synod_checkpoints_installed_total") == "1", "\(nodes[place].words)")
    }
    #expect(try ask(2, "INSERT INTO t VALUES (0, 'new'); SELECT count(*) FROM t").hasSuffix("20001\n"))
    nodes[0].stop()
    #expect(try first.eventually { try ask(1, "SELECT count(*), sum(length(v)) FROM t") == "20001|2000003\n" })
  }

  /// A database that ran alone, as it was left, becomes the first node of a cluster; so does a restored backup. (More nodes
  /// join as they join a recovered one.)
  @Test(arguments: [false, true]) func aSingleNodesDatabaseBecomesACluster(_ isRestored: Bool) throws {
    let scratch = Scratch()
    let made = try Synod.run([
      scratch.database, "CREATE TABLE t (k int PRIMARY KEY, v text)",
      "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g", "CHECKPOINT",
      "INSERT INTO t VALUES (0, 'behind the tables')",
    ])
    #expect(made.status == 0, "\(made.errors)")
    var data = scratch.database
    if isRestored {
      data = scratch.path + "/restored"
      #expect(try Synod.run(["backup", scratch.database, scratch.path + "/backup"]).status == 0)
      #expect(try Synod.run(["restore", scratch.path + "/backup", data]).status == 0)
    }
    let ports = [LoopbackPorts.take(), LoopbackPorts.take()]
    let join = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
    func node(_ place: Int) throws -> ServedNode {
      try ServedNode(
        scratch, "node\(place)",
        ["--data", place == 0 ? data : data + "-2", "--peer-listen", "127.0.0.1:\(ports[place])", "--join", join])
    }
    let refused = try node(0)
    refused.process.waitUntilExit()
    #expect(refused.words.contains("synod cluster found"), "\(refused.words)")
    let founded = try Synod.run(["cluster", "found", data])
    #expect(founded.status == 0, "\(founded.errors)")
    #expect(try Synod.run(["cluster", "found", data]).errors.contains("already"))
    #expect(try Synod.run(["cluster", "found", scratch.path]).errors.contains("not a database"))
    let nodes = [try node(0), try node(1)]
    defer { for node in nodes { node.stop() } }
    func ask(_ place: Int, _ statement: String) throws -> String {
      let answer = try Synod.run([
        "--mode", "list", "-noheader", try nodes[place].url() + "?sslmode=disable", statement,
      ])
      return answer.output.isEmpty ? answer.errors : answer.output
    }
    var voters = ""
    for _ in 0..<300 where voters != "2\n" {
      voters = try ask(0, "SELECT count(*) FROM synod_cluster WHERE role = 'voter'")
      if voters != "2\n" { usleep(50_000) }
    }
    #expect(voters == "2\n", "\(nodes[1].words)")
    #expect(try ask(1, "INSERT INTO t VALUES (-1, 'new'); SELECT count(*) FROM t").hasSuffix("5002\n"))
    let own = try nodes[1].url() + "?options=-csynod.read_consistency%3Dlinearizable"
    #expect(try Synod.run([own, "SELECT v FROM t WHERE k = 0"]).output.contains("behind the tables"))
  }

  /// A member that was away for longer than the log is kept takes a checkpoint; commits go on meanwhile.
  @Test func aNodeThatWasAwayTakesACheckpointOverSockets() throws {
    let cluster = try ServedCluster { _, _ in ["--retain-log", "1", "--retain-records", "4"] }
    defer { cluster.stop() }
    #expect(try cluster.awaitReady())
    _ = try cluster.ask(1, ["CREATE TABLE t (k int PRIMARY KEY, v text)"])
    let leader = try #require(cluster.leader())
    let away = leader % 3 + 1
    cluster.kill(away)
    // More than a segment of the log, of text that does not compress away.
    for round in 0..<6 {
      let filled = try cluster.ask(
        leader,
        [
          """
          INSERT INTO t SELECT \(round) * 4000 + g, (SELECT string_agg(md5((g * 31 + i + \(round))::text), '')
          FROM generate_series(1, 30) i) FROM generate_series(1, 4000) g
          """, "CHECKPOINT",
        ])
      #expect(filled.status == 0, "\(filled.errors)")
    }
    // The other follower would give its log, if it still had what is missing.
    let other = 6 - leader - away
    let flushed = try cluster.ask(other, ["CHECKPOINT"], options: "&options=-c%20synod.read_consistency%3Dstale")
    #expect(flushed.status == 0, "\(flushed.errors)")
    try cluster.start(away)
    #expect(
      try cluster.eventually {
        try cluster.value(
          away, "SELECT count(*) FROM t", options: "&options=-c%20synod.read_consistency%3Dstale") == "24000"
      }, "\(cluster.nodes[away]?.words ?? "")")
    #expect(
      try metric(cluster.nodes[away], "synod_checkpoints_installed_total") == "1", "\(cluster.nodes[away]?.words ?? "")"
    )
    let status = try Synod.run(["cluster", "status", "--url", try cluster.url(away)])
    #expect(status.status == 0 && status.output.contains("leader"), "\(status.output)\(status.errors)")
  }
}
