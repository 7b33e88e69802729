import Foundation
import Testing

@Suite(.serialized) struct CommandTests {
  @Test func statementsComeFromArgumentsAndStandardInput() throws {
    let scratch = Scratch()
    let made = try Synod.run([
      scratch.database, "CREATE TABLE t (id int PRIMARY KEY, name text)", "INSERT INTO t VALUES (1, 'one'), (2, NULL)",
    ])
    #expect(made.status == 0, "\(made.errors)")
    let read = try Synod.run([scratch.database], input: "SELECT * FROM t\nORDER BY id;\n.tables\n")
    #expect(read.output == "1|one\n2|\nt\n")
    let json = try Synod.run(["-json", scratch.database, "SELECT * FROM t ORDER BY id"])
    #expect(json.output == "[{\"id\":1,\"name\":\"one\"},\n{\"id\":2,\"name\":null}]\n")
    let csv = try Synod.run(["-csv", scratch.database, "SELECT * FROM t ORDER BY id"])
    #expect(csv.output == "id,name\r\n1,one\r\n2,\r\n")
  }

  @Test func errorsNameThePlaceAndSetTheStatus() throws {
    let scratch = Scratch()
    let wrong = try Synod.run([scratch.database], input: "SELECT 1;\nSELEC 2;\nSELECT 3;\n")
    #expect(wrong.status == 1)
    #expect(wrong.output == "1\n3\n")
    #expect(wrong.errors.contains("stdin:2: ERROR:  syntax error at or near \"SELEC\" (42601)"), "\(wrong.errors)")
    let bail = try Synod.run(["-bail", scratch.database], input: "SELECT nothing;\nSELECT 3;\n")
    #expect(bail.status == 1)
    #expect(bail.output == "")
    let command = try Synod.run([scratch.database, ".nonsense"])
    #expect(command.status == 1)
    #expect(command.errors.contains("unknown command .nonsense"))
  }

  @Test func whatIsNotADatabaseIsRefusedWithAWayOut() throws {
    let scratch = Scratch()
    let file = scratch.path + "/file"
    try "hello".write(toFile: file, atomically: true, encoding: .utf8)
    let onFile = try Synod.run([file, "SELECT 1"])
    #expect(onFile.status == 1)
    #expect(onFile.errors.contains("is a file, not a directory"), "\(onFile.errors)")
    let foreign = try Synod.run([scratch.path, "SELECT 1"])
    #expect(foreign.status == 1)
    #expect(foreign.errors.contains("is not a database"), "\(foreign.errors)")
    #expect(try String(contentsOfFile: file, encoding: .utf8) == "hello")
  }

  @Test func aSecondProcessIsRefused() throws {
    let scratch = Scratch()
    // The first one is kept open by a statement that the shell itself runs: a second synod on the same directory.
    let nested = try Synod.run([
      scratch.database, "SELECT 1", ".shell \(Synod.executable.path) \(scratch.database) 'SELECT 2' 2>&1 || true",
    ])
    #expect(nested.output.contains("the database is in use"), "\(nested.output)\(nested.errors)")
    #expect(!nested.output.contains("2\n2"))
  }

  @Test func theSampleLoadsAndADumpMakesItAgain() throws {
    let scratch = Scratch()
    let sample = Synod.root.appendingPathComponent("tools/sample")
    let loaded = try Synod.run(["-bail", scratch.database, "-f", "load.sql"], directory: sample)
    #expect(loaded.status == 0, "\(loaded.errors)")
    let question = """
      SELECT count(*), sum(distance), min(scheduled_departure), max(departure_delay) FROM flights;
      SELECT count(*) FROM airports; SELECT count(*) FROM planes; SELECT * FROM airlines ORDER BY carrier;
      """
    let before = try Synod.run([scratch.database], input: question)
    #expect(before.output.hasPrefix("3614|"), "\(before.output)\(before.errors)")
    let dump = try Synod.run([scratch.database, ".dump"])
    #expect(dump.status == 0)
    let copy = scratch.path + "/copy.db"
    let restored = try Synod.run(["-bail", copy], input: dump.output)
    #expect(restored.status == 0, "\(restored.errors.prefix(500))")
    #expect(try Synod.run([copy], input: question).output == before.output)
    #expect(try Synod.run([copy, ".dump"]).output == dump.output)
    #expect(try Synod.run([copy, ".schema"]).output == (try Synod.run([scratch.database, ".schema"]).output))
  }

  @Test func verifyNamesADamagedByte() throws {
    let scratch = Scratch()
    _ = try Synod.run([scratch.database, "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)"])
    let sound = try Synod.run(["verify", scratch.database])
    #expect(sound.status == 0, "\(sound.output)\(sound.errors)")
    let log = scratch.database + "/log/0000000000000001.log"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: log))
    bytes[4096 + 200] ^= 0x10
    try bytes.write(to: URL(fileURLWithPath: log))
    let damaged = try Synod.run(["verify", scratch.database])
    #expect(damaged.status == 1)
    #expect(damaged.output.contains("0000000000000001.log"), "\(damaged.output)")
    let opened = try Synod.run([scratch.database, "SELECT count(*) FROM t"])
    #expect(opened.status == 1, "\(opened.output)")
    #expect(opened.errors.contains("0000000000000001.log"), "\(opened.errors)")
  }

  @Test func benchCommitPrintsTheKeysThatToolsRelyOn() throws {
    let scratch = Scratch()
    let run = try Synod.run([
      "bench", "commit", "--path", scratch.database, "--clients", "2", "--seconds", "0.3", "--isolation", "ser",
      "--json",
    ])
    #expect(run.status == 0, "\(run.errors)")
    let object = try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
    for key in [
      "clients", "isolation", "seconds", "commits", "commits_per_second", "latency_us", "floor_us", "ratio_to_floor",
      "log_bytes_per_commit", "cpu_us_per_commit",
    ] { #expect(object[key] != nil, "\(key) is missing") }
    let latency = try #require(object["latency_us"] as? [String: Any])
    for key in ["p50", "p95", "p99", "p999", "max"] { #expect(latency[key] != nil, "\(key) is missing") }
    #expect((object["commits"] as? Int ?? 0) > 0)
  }

  @Test func killedWritersLoseNothing() throws {
    let scratch = Scratch()
    let run = try Synod.run(["torture", "--path", scratch.database, "--rounds", "5", "--clients", "4"])
    #expect(run.status == 0, "\(run.output)\(run.errors)")
    #expect(run.output.contains("0 lost"))
  }
}
