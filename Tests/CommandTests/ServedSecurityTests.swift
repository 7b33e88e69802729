import Foundation
import Testing

/// Who is let in by a server with certificates: `synod cert`, `--tls-client-ca`, channel binding, SIGHUP.
@Suite(.serialized) struct ServedSecurityTests {
  private func certificates(_ scratch: Scratch) throws -> String {
    let directory = URL(fileURLWithPath: scratch.path)
    for arguments in [["create-ca"], ["node", "node", "127.0.0.1", "localhost"], ["client", "alice"]] {
      let made = try Synod.run(["cert"] + arguments, directory: directory)
      #expect(made.status == 0, "\(made.errors)")
    }
    return scratch.path + "/certs"
  }

  @Test func certificatesPasswordsAndTheChannel() throws {
    let scratch = Scratch()
    let certs = try certificates(scratch)
    let prepared = try Synod.run([
      scratch.database, "CREATE ROLE alice LOGIN", "CREATE ROLE bob LOGIN", "ALTER ROLE bob PASSWORD 'geheim'",
    ])
    #expect(prepared.status == 0, "\(prepared.errors)")
    let server = try ServedShellTests.Server(
      scratch,
      options: [
        "--auth", "scram", "--tls-cert", certs + "/node.crt", "--tls-key", certs + "/node.key", "--tls-client-ca",
        certs + "/ca.crt",
      ])
    func says(_ user: String, _ parameters: String) throws -> String {
      let url = server.url.replacingOccurrences(of: "synod@", with: user + "@")
      let outcome = try Synod.run([url + "?sslrootcert=\(certs)/ca.crt&" + parameters, "SELECT current_user"])
      return outcome.status == 0 ? outcome.output : outcome.errors
    }
    let alices = "sslcert=\(certs)/alice.crt&sslkey=\(certs)/alice.key"
    #expect(try says("alice", "sslmode=verify-full&" + alices) == "alice\n")
    #expect(try says("alice", "sslmode=verify-full").contains("password"))
    // Her certificate does not let her in as somebody else, and does not keep him out who has his password.
    #expect(try says("bob", "sslmode=verify-full&" + alices).contains("password"))
    #expect(try says("bob:geheim", "sslmode=verify-full&" + alices) == "bob\n")
    #expect(try says("bob:falsch", "sslmode=verify-full").contains("password authentication failed"))
    #expect(try says("nobody", "sslmode=verify-full").contains("password"))
    #expect(try says("bob:geheim", "sslmode=verify-full&channel_binding=require") == "bob\n")
    #expect(try says("bob:geheim", "sslmode=require&channel_binding=disable") == "bob\n")
    #expect(try says("bob:geheim", "sslmode=disable&channel_binding=require").contains("channel binding is required"))

    // Another authority's certificate, after SIGHUP; a file that makes no sense changes nothing.
    let other = Scratch()
    let others = try certificates(other)
    for name in ["node.crt", "node.key"] {
      try FileManager.default.removeItem(atPath: certs + "/" + name)
      try FileManager.default.copyItem(atPath: others + "/" + name, toPath: certs + "/" + name)
    }
    #expect(try says("bob:geheim", "sslmode=verify-full") == "bob\n")
    kill(server.processIdentifier, SIGHUP)
    var refused = ""
    for _ in 0..<1000 {
      refused = try says("bob:geheim", "sslmode=verify-full")
      if refused != "bob\n" { break }
    }
    #expect(refused.contains("not trusted"), "\(refused)")
    try Data("nonsense".utf8).write(to: URL(fileURLWithPath: certs + "/node.crt"))
    kill(server.processIdentifier, SIGHUP)
    #expect(try says("bob:geheim", "sslmode=verify-full").contains("not trusted"))
    #expect(server.stop() == 0)
  }
}
