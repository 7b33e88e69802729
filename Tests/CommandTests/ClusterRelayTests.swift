import Foundation
import Testing

/// Sessions that reach a node which does not lead: who is let in, and what becomes of them when the leader falls silent.
@Suite(.serialized) struct ClusterRelayTests {
  /// Each node has a certificate of its own: the channel that a client binds its password to is the one to the node that
  /// relays it, and the leader, which checks the password, sees it by the ticket alone.
  @Test func passwordsAndCertificatesAreTakenByEveryNode() throws {
    let cluster = try ServedCluster { node, scratch in
      let directory = scratch.path + "/certs"
      if !FileManager.default.fileExists(atPath: directory) {
        for arguments in [["create-ca"], ["client", "synod"], ["client", "alice"]] {
          let made = try Synod.run(["cert"] + arguments + ["--directory", directory])
          #expect(made.status == 0, "\(made.errors)")
        }
      }
      if !FileManager.default.fileExists(atPath: "\(directory)/n\(node).crt") {
        let made = try Synod.run(["cert", "node", "n\(node)", "--directory", directory])
        #expect(made.status == 0, "\(made.errors)")
      }
      let own = ["\(directory)/n\(node).crt", "\(directory)/n\(node).key"]
      return [
        "--auth", "scram", "--peer-ca", "\(directory)/ca.crt", "--peer-cert", own[0], "--peer-key", own[1],
        "--tls-cert", own[0], "--tls-key", own[1], "--tls-client-ca", "\(directory)/ca.crt",
      ]
    }
    defer { cluster.stop() }
    let certs = cluster.scratch.path + "/certs"
    func says(_ node: Int, _ user: String, _ parameters: String, _ statements: [String] = ["SELECT current_user"])
      throws
      -> String
    {
      let url = try #require(cluster.nodes[node]).url().replacingOccurrences(of: "synod@", with: user + "@")
      let outcome = try Synod.run(
        ["--mode", "list", "-noheader", url + "?sslrootcert=\(certs)/ca.crt&" + parameters] + statements)
      return outcome.status == 0 ? outcome.output : outcome.errors
    }
    func shows(_ name: String) -> String {
      "sslmode=verify-full&sslcert=\(certs)/\(name).crt&sslkey=\(certs)/\(name).key"
    }
    #expect(
      try cluster.eventually { try says(1, "synod", shows("synod"), ["SELECT 1"]) == "1\n" },
      "\(cluster.nodes[1]?.words ?? "")")
    let made = try says(
      1, "synod", shows("synod"),
      ["CREATE ROLE alice LOGIN", "CREATE ROLE bob LOGIN", "ALTER ROLE bob PASSWORD 'geheim'", "SELECT 'made'"])
    #expect(made.hasSuffix("made\n"), "\(made)")

    func check(_ comment: Comment) throws {
      for node in 1...3 {
        let place = Comment(rawValue: "\(comment), node \(node)")
        #expect(try says(node, "bob:geheim", "sslmode=verify-full&channel_binding=require") == "bob\n", place)
        #expect(try says(node, "bob:geheim", "sslmode=require&channel_binding=disable") == "bob\n", place)
        #expect(
          try says(node, "bob:falsch", "sslmode=verify-full&channel_binding=require").contains(
            "password authentication failed"), place)
        // A certificate lets in its own role, and keeps nobody out who has a password.
        #expect(try says(node, "alice", shows("alice")) == "alice\n", place)
        #expect(try says(node, "alice", "sslmode=verify-full").contains("password"), place)
        #expect(try says(node, "bob", shows("alice")).contains("password"), place)
        #expect(try says(node, "bob:geheim", shows("alice") + "&channel_binding=require") == "bob\n", place)
        #expect(
          try says(node, "nobody:geheim", "sslmode=verify-full").contains("password authentication failed"), place)
      }
    }
    try check("at first")
    let leader = try #require(cluster.leader())
    #expect(try says(leader, "synod", shows("synod"), ["SELECT synod_transfer_leadership()"]) == "t\n")
    #expect(cluster.eventually { cluster.leader().map { $0 != leader } ?? false })
    try check("with another leader")

    // The authority is the peers', too; a client of it is none.
    let stranger = try ServedNode(
      cluster.scratch, "stranger",
      [
        "--data", cluster.scratch.path + "/stranger", "--peer-listen", "127.0.0.1:\(LoopbackPorts.take())", "--join",
        cluster.join, "--peer-ca", "\(certs)/ca.crt", "--peer-cert", "\(certs)/alice.crt", "--peer-key",
        "\(certs)/alice.key",
      ])
    defer { stranger.stop() }
    #expect(
      cluster.eventually { cluster.nodes.values.contains { $0.words.contains("CN=alice,O=SynodDB) is a client's") } },
      "\(cluster.nodes[1]?.words ?? "")")
    #expect(try says(1, "synod", shows("synod"), ["SELECT count(*) FROM synod_cluster"]) == "3\n")
    stranger.stop()

    // New certificates are taken without a restart, peers' as well.
    for node in cluster.nodes.values { kill(node.process.processIdentifier, SIGHUP) }
    #expect(
      cluster.eventually { cluster.nodes.values.allSatisfy { $0.words.contains("certificates were read again") } })
    #expect(try says(1, "bob:geheim", "sslmode=verify-full") == "bob\n")

    // psql, too, whose binding is not ours.
    guard FileManager.default.isExecutableFile(atPath: "/usr/bin/psql") else { return }
    for node in 1...3 {
      let url = try #require(cluster.nodes[node]).url().replacingOccurrences(of: "synod@", with: "bob:geheim@")
      let psql = Process()
      psql.executableURL = URL(fileURLWithPath: "/usr/bin/psql")
      psql.arguments = [
        url + "?sslmode=verify-full&sslrootcert=\(certs)/ca.crt&channel_binding=require", "-Atc", "SELECT current_user",
      ]
      let output = Pipe()
      psql.standardOutput = output
      try psql.run()
      psql.waitUntilExit()
      #expect(
        String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) == "bob\n", "node \(node)")
    }
  }

  /// A machine that is gone, or stands still, ends no connection. Its clients notice by themselves; those of the other nodes
  /// are told, for these nodes know.
  @Test func aSessionOnANodeThatFellSilentEnds() throws {
    let cluster = try ServedCluster()
    defer { cluster.stop() }
    #expect(try cluster.awaitReady())
    #expect(cluster.eventually { cluster.leader() != nil })
    let leader = try #require(cluster.leader())
    let other = try #require((1...3).first { $0 != leader })
    func session(_ statement: String) throws -> (Process, Pipe) {
      let client = Process()
      client.executableURL = Synod.executable
      client.arguments = ["--mode", "list", "-noheader", try cluster.url(other), "SELECT 'in'", statement]
      let output = Pipe()
      client.standardOutput = output
      client.standardError = output
      client.standardInput = FileHandle.nullDevice
      try client.run()
      return (client, output)
    }
    let (client, output) = try session("SELECT pg_sleep(120)")
    defer { if client.isRunning { kill(client.processIdentifier, SIGKILL) } }
    #expect(
      try cluster.eventually {
        try cluster.value(
          leader, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(120)%' AND pid <> pg_backend_pid()"
        ) == "1"
      })
    let silent = try #require(cluster.nodes[leader]).process.processIdentifier
    kill(silent, SIGSTOP)
    defer { kill(silent, SIGCONT) }
    #expect(cluster.eventually { !client.isRunning }, "the session waits for a node that stands still")
    if client.isRunning { kill(client.processIdentifier, SIGKILL) }
    let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    #expect(said.hasPrefix("in\n") && said.contains("08006"), "\(said)")
    // The others go on meanwhile.
    #expect(try cluster.value(other, "SELECT 1") == "1")
  }

  /// Whoever watches a process sees that it lives, before it has found the others.
  @Test func aNodeThatLooksForOthersSaysSo() throws {
    let scratch = Scratch()
    let port = LoopbackPorts.take()
    let node = try ServedNode(
      scratch, "alone",
      [
        "--data", scratch.path + "/alone", "--peer-listen", "127.0.0.1:\(LoopbackPorts.take())", "--join",
        "127.0.0.1:\(LoopbackPorts.take())", "--bootstrap-expect", "2", "--http", "127.0.0.1:\(port)",
      ])
    defer { node.stop() }
    var answer = ""
    for _ in 0..<600 where answer.isEmpty {
      usleep(50_000)
      answer = ServedNode.http(UInt16(port), "/livez")
    }
    #expect(answer == "ok\n", "\(node.words)")
    #expect(ServedNode.http(UInt16(port), "/readyz").contains("[-]started failed"))
    #expect(ServedNode.http(UInt16(port), "/primary") == "the node starts\n")
    node.stop(SIGTERM)

    // An address at which nobody can be reached is told to nobody.
    let nowhere = try ServedNode(
      scratch, "nowhere",
      [
        "--data", scratch.path + "/nowhere", "--peer-listen", "0.0.0.0:\(LoopbackPorts.take())", "--bootstrap-expect",
        "1", "--insecure",
      ])
    defer { nowhere.stop() }
    for _ in 0..<400 where nowhere.process.isRunning { usleep(50_000) }
    #expect(!nowhere.process.isRunning && nowhere.words.contains("--advertise"), "\(nowhere.words)")
  }
}
