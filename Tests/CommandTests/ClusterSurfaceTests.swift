import Foundation
import Testing

@Suite(.serialized) struct ClusterSurfaceTests {
  @Test func aClusterIsAskedAndChanged() throws {
    let cluster = try ServedCluster()
    defer { cluster.stop() }
    #expect(try cluster.awaitReady())
    _ = try cluster.ask(1, ["CREATE TABLE t (id int PRIMARY KEY)"])
    let local = "&options=-c%20synod.read_consistency%3Dsession"
    // Read your writes on every node, by token; and what the safe snapshot of a follower shows.
    for round in 1...5 {
      let written = try cluster.ask(1, ["INSERT INTO t VALUES (\(round))", "SHOW synod.session_token"])
      let token = written.output.split(separator: "\n").last.map(String.init) ?? ""
      for node in 1...3 {
        let read = try cluster.ask(
          node, ["SET synod.session_token = '\(token)'", "SELECT count(*) FROM t"], options: local)
        #expect(read.output.split(separator: "\n").last == "\(round)", "node \(node): \(read.output)\(read.errors)")
        let linear = try cluster.ask(
          node, ["SET synod.read_consistency = linearizable", "SELECT count(*) FROM t"], options: local)
        #expect(
          linear.output.split(separator: "\n").last == "\(round)", "node \(node): \(linear.output)\(linear.errors)")
      }
    }
    var serializable: [String] = []
    for _ in 0..<50 {
      serializable = try (1...3).map { node in
        try cluster.ask(
          node, ["BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; SELECT count(*) FROM t; COMMIT"], options: local
        ).output.split(separator: "\n").last.map(String.init) ?? ""
      }
      if serializable == ["5", "5", "5"] { break }
      usleep(100_000)
    }
    #expect(serializable == ["5", "5", "5"])
    // What the command line says of it.
    let status = try Synod.run(["cluster", "status", "--url", try cluster.url(2)])
    #expect(status.status == 0 && status.output.contains("leader"), "\(status.output)\(status.errors)")
    let before = try cluster.ask(3, ["SELECT node FROM synod_cluster WHERE is_leader"]).output
    let transfer = try Synod.run(["cluster", "transfer", "--url", try cluster.url(2)])
    #expect(transfer.status == 0, "\(transfer.output)\(transfer.errors)")
    let after = try cluster.ask(3, ["SELECT node FROM synod_cluster WHERE is_leader"]).output
    #expect(before != after && !after.isEmpty)
    let node = after.trimmingCharacters(in: .whitespacesAndNewlines)
    #expect(try Synod.run(["cluster", "transfer", "--to", node, "--url", try cluster.url(1)]).status != 0)
    // All others are lost: one directory becomes a cluster of its own.
    cluster.stop()
    let target = cluster.scratch.path + "/recovered"
    #expect(try Synod.run(["cluster", "recover", cluster.directory(1), "--into", target]).status != 0)
    let recovered = try Synod.run([
      "cluster", "recover", cluster.directory(1), "--into", target, "--others-are-lost",
    ])
    #expect(recovered.status == 0 && recovered.output.contains("may be lost"), "\(recovered.output)\(recovered.errors)")
    let alone = try ServedNode(
      cluster.scratch, "alone", ["--data", target, "--peer-listen", "127.0.0.1:\(LoopbackPorts.take())"])
    defer { alone.stop() }
    var rows = Synod.Outcome(output: "", errors: "", status: 1)
    for _ in 0..<100 where rows.status != 0 {
      usleep(100_000)
      rows = try Synod.run([
        "--mode", "list", "-noheader", try alone.url() + "?sslmode=disable", "INSERT INTO t VALUES (6)",
        "SELECT count(*) FROM t",
      ])
    }
    #expect(rows.output.split(separator: "\n").last == "6", "\(rows.output)\(rows.errors)")
  }
}
