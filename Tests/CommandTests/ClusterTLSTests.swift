import Foundation
import Testing

/// A cluster of processes whose peers, clients and relays speak TLS, with certificates of `synod cert`.
@Suite(.serialized) struct ClusterTLSTests {
  /// Two authorities: one for peers, one that clients (and relays) believe. Certificates for `count` nodes of each.
  private static func certificates(_ scratch: Scratch, _ count: Int) throws {
    for authority in ["peers", "clients"] {
      let directory = "\(scratch.path)/\(authority)"
      guard !FileManager.default.fileExists(atPath: directory) else { continue }
      #expect(try Synod.run(["cert", "create-ca", "--directory", directory]).status == 0)
      for node in 1...count {
        let made = try Synod.run(["cert", "node", "n\(node)", "--directory", directory])
        #expect(made.status == 0, "\(made.errors)")
      }
    }
  }

  private static func arguments(_ node: Int, _ scratch: Scratch, relay: String = "clients") -> [String] {
    let (peers, clients) = ("\(scratch.path)/peers", "\(scratch.path)/clients")
    return [
      "--peer-ca", "\(peers)/ca.crt", "--peer-cert", "\(peers)/n\(node).crt", "--peer-key", "\(peers)/n\(node).key",
      "--tls-cert", "\(clients)/n\(node).crt", "--tls-key", "\(clients)/n\(node).key", "--relay-ca",
      "\(scratch.path)/\(relay)/ca.crt",
    ]
  }

  @Test func peersClientsAndRelaysSpeakTLS() throws {
    // Node 4 believes the wrong authority of those it relays to.
    let cluster = try ServedCluster { node, scratch in
      try Self.certificates(scratch, 5)
      return Self.arguments(node, scratch, relay: node == 4 ? "peers" : "clients")
    }
    defer { cluster.stop() }
    let root = "?sslmode=verify-full&sslrootcert=\(cluster.scratch.path)/clients/ca.crt"
    func ask(_ node: Int, _ statements: [String]) throws -> Synod.Outcome {
      try Synod.run(["--mode", "list", "-noheader", try #require(cluster.nodes[node]).url() + root] + statements)
    }
    #expect(try cluster.eventually { try ask(1, ["SELECT 1"]).status == 0 }, "\(cluster.nodes[1]?.words ?? "")")
    #expect(try ask(1, ["CREATE TABLE t (k int PRIMARY KEY)"]).status == 0)
    for node in 1...3 {
      let answer = try ask(
        node,
        [
          "INSERT INTO t VALUES (\(node))", "SELECT count(*) FROM t",
          "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        ]
      )
      // Two of the three are relays: what the leader sees of them is TLS, too.
      #expect(answer.output.split(separator: "\n").suffix(2) == ["\(node)", "t"], "\(answer.output)\(answer.errors)")
    }
    // In clear nobody comes in beyond what the node allows; a relay in clear is no relay of this cluster's.
    let wrong = try Synod.run([
      try #require(cluster.nodes[1]).url() + "?sslmode=verify-full&sslrootcert=\(cluster.scratch.path)/peers/ca.crt",
      "SELECT 1",
    ])
    #expect(wrong.status != 0)

    // A node that joins, and does not believe the leader's certificate: its own state can be read, nothing is relayed.
    try cluster.start(4)
    _ = try #require(cluster.nodes[4]).url()
    let refused = try ask(4, ["SELECT 1"])
    #expect(refused.status != 0 && refused.errors.contains("leader"), "\(refused.output)\(refused.errors)")
    let local = try Synod.run([
      "--mode", "list", "-noheader",
      try #require(cluster.nodes[4]).url() + root + "&options=-c%20synod.read_consistency%3Dstale",
      "SELECT count(*) FROM t",
    ])
    #expect(local.output == "3\n", "\(local.output)\(local.errors)")

    // A peer with a certificate of another authority is not spoken with.
    let stranger = try ServedNode(
      cluster.scratch, "stranger",
      [
        "--data", cluster.scratch.path + "/stranger", "--peer-listen", "127.0.0.1:\(LoopbackPorts.take())", "--join",
        cluster.join, "--peer-ca", "\(cluster.scratch.path)/clients/ca.crt", "--peer-cert",
        "\(cluster.scratch.path)/clients/n5.crt", "--peer-key", "\(cluster.scratch.path)/clients/n5.key",
      ])
    defer { stranger.stop() }
    #expect(
      cluster.eventually { stranger.words.contains("certificate") || stranger.words.contains("TLS") },
      "\(stranger.words)")
    #expect(try ask(1, ["SELECT count(*) FROM synod_cluster"]).output == "4\n")

    // The leader dies in the middle of a session: with several hosts the client finds the new one.
    guard let leader = cluster.leader() ?? [1, 2, 3].first else { return }
    let hosts = try (1...3).map { node -> String in
      let url = try #require(cluster.nodes[node]).url()
      return String(try #require(url.split(separator: "@").last?.split(separator: "/").first))
    }.joined(separator: ",")
    let everywhere = "postgres://synod@\(hosts)/synod\(root)&target_session_attrs=read-write"
    cluster.kill(leader)
    #expect(
      try cluster.eventually {
        try Synod.run(["--mode", "list", "-noheader", everywhere, "INSERT INTO t VALUES (4)"]).status == 0
      })
    if FileManager.default.isExecutableFile(atPath: "/usr/bin/psql") {
      let psql = Process()
      psql.executableURL = URL(fileURLWithPath: "/usr/bin/psql")
      psql.arguments = [everywhere, "-Atc", "SELECT count(*) FROM t"]
      let output = Pipe()
      psql.standardOutput = output
      try psql.run()
      psql.waitUntilExit()
      #expect(String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) == "4\n")
    }
  }

  /// A certificate of the right authority, for another machine: its node is heard, and cannot be spoken to. It is not taken in,
  /// as a member that never catches up; and each node says so once, not at each attempt.
  @Test func aCertificateForAnotherNameMakesNoMember() throws {
    guard FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl") else { return }
    let cluster = try ServedCluster { node, scratch in
      try Self.certificates(scratch, 3)
      return Self.arguments(node, scratch)
    }
    defer { cluster.stop() }
    let peers = cluster.scratch.path + "/peers"
    try "subjectAltName=DNS:other.example\nextendedKeyUsage=serverAuth,clientAuth\n".write(
      toFile: peers + "/other.ext", atomically: true, encoding: .utf8)
    for command in [
      "ecparam -name prime256v1 -genkey -noout -out other.key",
      "req -new -key other.key -subj /CN=other -out other.csr",
      "x509 -req -in other.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile other.ext -out other.crt",
    ] {
      let openssl = Process()
      openssl.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
      openssl.arguments = command.split(separator: " ").map(String.init)
      openssl.currentDirectoryURL = URL(fileURLWithPath: peers)
      openssl.standardError = FileHandle.nullDevice
      try openssl.run()
      openssl.waitUntilExit()
      #expect(openssl.terminationStatus == 0, "openssl \(command)")
    }
    let root = "?sslmode=verify-full&sslrootcert=\(cluster.scratch.path)/clients/ca.crt"
    func ask(_ statement: String) throws -> String {
      let url = try #require(cluster.nodes[1]).url() + root
      return try Synod.run(["--mode", "list", "-noheader", url, statement]).output
    }
    #expect(try cluster.eventually { try ask("SELECT 1") == "1\n" }, "\(cluster.nodes[1]?.words ?? "")")
    let other = try ServedNode(
      cluster.scratch, "other",
      [
        "--data", cluster.scratch.path + "/other", "--peer-listen", "127.0.0.1:\(LoopbackPorts.take())", "--join",
        cluster.join, "--peer-ca", peers + "/ca.crt", "--peer-cert", peers + "/other.crt", "--peer-key",
        peers + "/other.key",
      ])
    defer { other.stop() }
    func refusals() -> [Int] {
      (1...3).map { (cluster.nodes[$0]?.words.components(separatedBy: "IP address mismatch").count ?? 1) - 1 }
    }
    #expect(cluster.eventually { !refusals().contains(0) }, "\(cluster.nodes[1]?.words ?? "")")
    // It is known to the leader for as long as ten attempts take.
    for _ in 0..<10 { #expect(try ask("SELECT count(*) FROM synod_cluster") == "3\n") }
    #expect(refusals().allSatisfy { $0 == 1 }, "\(cluster.nodes[1]?.words ?? "")")
  }
}
