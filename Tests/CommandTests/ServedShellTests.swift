import Foundation
import Testing

/// The shell as a client of `synod serve`: the same verbs give the same answers as on the directory.
@Suite(.serialized) struct ServedShellTests {
  /// A server of its own on a port that was free, stopped in order at the end.
  final class Server {
    let url: String
    private let process = Process()

    /// - Parameters:
    ///   - descriptors: how many the process may have open.
    ///   - options: more of `synod serve`'s.
    init(_ scratch: Scratch, descriptors: Int? = nil, options: [String] = []) throws {
      let file = scratch.path + "/url"
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments =
        [
          "-c", descriptors.map { "ulimit -n \($0); exec \"$0\" \"$@\"" } ?? "exec \"$0\" \"$@\"",
          Synod.executable.path,
          "serve", "--data", scratch.database, "--listen", "127.0.0.1:0", "--http", "off", "--listening-url-file", file,
        ] + options
      process.standardOutput = FileHandle.nullDevice
      process.standardError = FileHandle.nullDevice
      try process.run()
      var found: String?
      // The file comes to be when clients can connect; there is nothing else to wait on.
      for _ in 0..<6000 where found == nil && process.isRunning {
        found = (try? String(contentsOfFile: file, encoding: .utf8))?.split(separator: "\n").first.map(String.init)
        if found == nil { usleep(5000) }
      }
      url = try #require(found)
    }

    var processIdentifier: Int32 { process.processIdentifier }

    func stop() -> Int32 {
      process.terminate()
      process.waitUntilExit()
      return process.terminationStatus
    }
  }

  @Test func theSameVerbsOverTheNetwork() throws {
    let scratch = Scratch()
    let server = try Server(scratch)
    let sample = Synod.root.appendingPathComponent("tools/sample")
    let loaded = try Synod.run(["-bail", server.url, "-f", "load.sql"], directory: sample)
    #expect(loaded.status == 0, "\(loaded.errors)")
    let question = """
      SELECT count(*), sum(distance), min(scheduled_departure), max(departure_delay) FROM flights;
      .tables
      \\copy (SELECT * FROM airlines ORDER BY carrier) to stdout csv
      BEGIN ISOLATION LEVEL SERIALIZABLE;
      SHOW transaction_isolation;
      ROLLBACK;
      .mode json
      SELECT 1 AS a, true AS b, NULL AS c, 'x' AS d;
      .sha3sum
      """
    let remote = try Synod.run([server.url], input: question)
    #expect(remote.status == 0, "\(remote.errors)")
    #expect(remote.output.hasPrefix("3614|"))
    let failed = try Synod.run([server.url, "SELECT nothing", "SELECT 2"])
    #expect(failed.status == 1)
    #expect(failed.output == "2\n")
    #expect(failed.errors.contains("LINE 1: SELECT nothing"), "\(failed.errors)")

    // What a dump over the network makes again is the same database.
    let dump = try Synod.run(["dump", server.url])
    #expect(dump.status == 0, "\(dump.errors)")
    let copy = scratch.path + "/copy.db"
    let again = try Synod.run(["-bail", copy], input: dump.output)
    #expect(again.status == 0, "\(again.errors.prefix(1000))")
    #expect(server.stop() == 0)
    #expect(try Synod.run([scratch.database], input: question).output == remote.output)
    #expect(try Synod.run([copy], input: question).output == remote.output)
  }

  /// A backup is taken while the server works, verified and restored, and what is not one is not taken for one.
  @Test func aBackupOverTheNetwork() throws {
    let scratch = Scratch()
    let backup = scratch.path + "/backup"
    let copy = scratch.path + "/copy.db"
    let server = try Server(scratch)
    let made = try Synod.run([
      server.url, "CREATE TABLE t (a int PRIMARY KEY, b text)",
      "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 5000) g", "CHECKPOINT",
      "INSERT INTO t SELECT g, 'y' FROM generate_series(5001, 6000) g",
      "CREATE ROLE guest LOGIN",
    ])
    #expect(made.status == 0, "\(made.errors)")
    let taken = try Synod.run(["backup", server.url, backup])
    #expect(taken.status == 0, "\(taken.errors)")
    #expect(taken.output.contains("every byte verified"), "\(taken.output)")
    #expect(try Synod.run(["backup", server.url, backup]).errors.contains("is not empty"))
    #expect(try Synod.run([server.url, "INSERT INTO t VALUES (7000, 'z')"]).status == 0)

    let refused = try Synod.run([
      "backup", server.url.replacingOccurrences(of: "synod@", with: "guest@"), scratch.path + "/none",
    ])
    #expect(refused.status == 1)
    #expect(refused.errors.contains("must be superuser"), "\(refused.errors)")
    #expect(!FileManager.default.fileExists(atPath: scratch.path + "/none"))
    #expect(server.stop() == 0)

    #expect(try Synod.run(["verify", backup]).output.hasPrefix("ok: a backup of versions"))
    #expect(try Synod.run(["restore", backup, copy]).status == 0)
    #expect(try Synod.run([copy, "SELECT count(*), max(a), sum(length(b)) FROM t"]).output == "6000|6000|1001000\n")
    let records = URL(fileURLWithPath: backup + "/records")
    var bytes = try Data(contentsOf: records)
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: records)
    let damaged = try Synod.run(["verify", backup])
    #expect(damaged.status == 1)
    #expect(damaged.output.contains("records is damaged"), "\(damaged.output)")
    #expect(try Synod.run(["verify", scratch.path]).errors.contains("neither a database"))
  }

  @Test func aScriptStopsWhenItsServerGoes() throws {
    let scratch = Scratch()
    let server = try Server(scratch)
    let outcome = try Synod.run(
      [server.url, "SELECT 1", ".shell kill \(server.processIdentifier)", "SELECT pg_sleep(60)", "SELECT 'on'"])
    #expect(outcome.status == 1)
    #expect(outcome.output == "1\n", "\(outcome.output)")
    _ = server.stop()
  }
}
