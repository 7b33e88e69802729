import Foundation
import Testing

@Suite(.serialized) struct CertTests {
  @Test func anAuthorityANodeAndAClientAreMadeAndVerify() throws {
    let scratch = Scratch()
    let directory = scratch.path + "/certs"
    let made = try Synod.run(["cert", "create-ca", "--directory", directory])
    #expect(made.status == 0, "\(made.errors)")
    #expect(made.output == "\(directory)/ca.crt\n\(directory)/ca.key\n")
    let node = try Synod.run(["cert", "node", "n1", "n1.example", "10.0.0.1", "--directory", directory])
    #expect(node.status == 0, "\(node.errors)")
    let client = try Synod.run(["cert", "client", "alice", "--directory", directory])
    #expect(client.status == 0, "\(client.errors)")
    for (file, permissions) in [("ca.key", 0o600), ("n1.key", 0o600), ("alice.key", 0o600), ("n1.crt", 0o644)] {
      let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory)/\(file)")
      #expect((attributes[.posixPermissions] as? Int).map { $0 & ~0o022 } == permissions & ~0o022, "\(file)")
    }
    guard FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl") else { return }
    for (arguments, expected) in [
      (
        ["verify", "-CAfile", "ca.crt", "-purpose", "sslserver", "-verify_hostname", "n1.example", "n1.crt"],
        "n1.crt: OK"
      ),
      (["verify", "-CAfile", "ca.crt", "-purpose", "sslserver", "-verify_ip", "10.0.0.1", "n1.crt"], "n1.crt: OK"),
      (["verify", "-CAfile", "ca.crt", "-purpose", "sslclient", "-x509_strict", "alice.crt"], "alice.crt: OK"),
      (["verify", "-CAfile", "ca.crt", "-purpose", "sslserver", "alice.crt"], "unsuitable certificate purpose"),
    ] {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
      process.arguments = arguments
      process.currentDirectoryURL = URL(fileURLWithPath: directory)
      let output = Pipe()
      process.standardOutput = output
      process.standardError = output
      try process.run()
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(text.contains(expected), "\(arguments): \(text)")
    }
  }

  @Test func nothingIsReplacedAndErrorsSayWhatToDo() throws {
    let scratch = Scratch()
    let early = try Synod.run(["cert", "node", "n1", "--directory", scratch.path])
    #expect(early.status == 1)
    #expect(early.errors.contains("make an authority with `synod cert create-ca`"), "\(early.errors)")
    #expect(try Synod.run(["cert", "create-ca", "--directory", scratch.path]).status == 0)
    let before = try String(contentsOfFile: scratch.path + "/ca.key", encoding: .utf8)
    let again = try Synod.run(["cert", "create-ca", "--directory", scratch.path])
    #expect(again.status == 1)
    #expect(again.errors.contains("is not replaced"), "\(again.errors)")
    #expect(try String(contentsOfFile: scratch.path + "/ca.key", encoding: .utf8) == before)
    let wrong = try Synod.run(["cert", "node", "n1", "not a host", "--directory", scratch.path])
    #expect(wrong.errors.contains("\"not a host\" is neither a host name nor"), "\(wrong.errors)")
    #expect(!FileManager.default.fileExists(atPath: scratch.path + "/n1.key"))
    for name in ["../n1", "ca", ".hidden"] {
      #expect(try Synod.run(["cert", "client", name, "--directory", scratch.path]).status == 1)
    }
  }
}
