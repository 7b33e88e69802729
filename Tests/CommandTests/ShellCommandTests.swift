import Foundation
import Testing

/// The shell's commands, as a script uses them.
@Suite(.serialized) struct ShellCommandTests {
  let scratch = Scratch()

  private func run(_ script: String, status: Int32 = 0) throws -> Synod.Outcome {
    let outcome = try Synod.run([scratch.database], input: script)
    #expect(outcome.status == status, "\(outcome.output)\(outcome.errors)")
    return outcome
  }

  @Test func copyMovesFilesBothWays() throws {
    let file = scratch.path + "/it's.csv"
    try "1,one\n2,\"t,wo\"\n".write(toFile: file, atomically: true, encoding: .utf8)
    let quoted = "'" + file.replacingOccurrences(of: "'", with: "''") + "'"
    let outcome = try run(
      """
      CREATE TABLE t (id int, name text);
      \\copy t (id, name) from \(quoted) with (format csv)
      \\copy t from stdin
      3\tthree
      \\.
      \\copy t from program 'echo 4,four' csv
      \\copy (SELECT * FROM t ORDER BY id DESC) to stdout csv
      \\copy t to '\(scratch.path)/out' (format csv)
      \\copy t to program 'sort -r > \(scratch.path)/sorted'
      """)
    #expect(outcome.output == "4,four\n3,three\n2,\"t,wo\"\n1,one\n")
    #expect(
      try String(contentsOfFile: scratch.path + "/out", encoding: .utf8) == "1,one\n2,\"t,wo\"\n3,three\n4,four\n")
    #expect(try String(contentsOfFile: scratch.path + "/sorted", encoding: .utf8).hasPrefix("4\tfour\n3"))
    let wrong = try run("\\copy t from '/no/such/file'\n\\copy t\nSELECT 1;\n", status: 1)
    #expect(wrong.output == "1\n")
    #expect(wrong.errors.contains("cannot open \"/no/such/file\""))
  }

  @Test func variablesAndRunningAgain() throws {
    let outcome = try run(
      """
      .parameter set :id 7
      .parameter set name O'Hara's
      .parameter list
      SELECT :id + 1, :name;
      \\set tab pg_class
      SELECT count(*) > 0 FROM :"tab" \\g
      SELECT 1 AS one, 2 AS two \\gx
      \\g
      .parameter unset id
      SELECT :id;
      """, status: 1)
    #expect(
      outcome.output
        == ":id 7\n:name 'O''Hara''s'\n8|O'Hara's\nt\n-[ RECORD 1 ]\none | 1\ntwo | 2\n1|2\n", "\(outcome.errors)")
    #expect(outcome.errors.contains("syntax error"))
  }

  @Test func theEditorsTextIsRun() throws {
    let editor = scratch.path + "/editor"
    try "#!/bin/sh\nsed -i s/1/42/ \"$1\"\n".write(toFile: editor, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: editor)
    let outcome = try Synod.run(
      ["-cmd", "SELECT 1", scratch.database, "\\e"], environment: ["SYNOD_EDITOR": editor])
    #expect(outcome.output == "1\n42\n", "\(outcome.errors)")
    let failed = try Synod.run([scratch.database, "\\e"], environment: ["SYNOD_EDITOR": "false"])
    #expect(failed.status == 1)
  }

  @Test func theLogTellsWhatBecameOfEachStatement() throws {
    let log = scratch.path + "/log"
    _ = try run(".log \(log)\nSELECT 1;\nSELECT 1/0;\n.log off\nSELECT 3;\n", status: 1)
    let text = try String(contentsOfFile: log, encoding: .utf8)
    #expect(text.contains("ms  ok\nSELECT 1;\n"))
    #expect(text.contains("ms  22012 division by zero\nSELECT 1/0;\n"))
    #expect(!text.contains("SELECT 3"))
  }

  @Test func theChecksumDependsOnContentAlone() throws {
    let first = try run("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, NULL);\n.sha3sum\n").output
    #expect(first.count == 65)
    let second = try run("DELETE FROM t; INSERT INTO t VALUES (2, NULL), (1, 'x');\n.sha3sum\n").output
    #expect(second == first)
    #expect(try run("UPDATE t SET b = '' WHERE a = 2;\n.sha3sum\n").output != first)
  }

  @Test func backupAndRestore() throws {
    let backup = scratch.path + "/backup"
    let copy = scratch.path + "/copy.db"
    _ = try run(
      "CREATE TABLE t (a int PRIMARY KEY);\nINSERT INTO t SELECT generate_series(1, 5000);\n.backup \(backup)\n"
        + "INSERT INTO t VALUES (6000);\n")
    let again = try Synod.run(["backup", scratch.database, backup])
    #expect(again.status == 1)
    #expect(again.errors.contains("is not empty"))
    let restored = try Synod.run(["restore", backup, copy])
    #expect(restored.status == 0, "\(restored.errors)")
    #expect(try Synod.run([copy, "SELECT count(*), max(a) FROM t"]).output == "5000|5000\n")
    #expect(try Synod.run(["verify", "--quiet", copy]).status == 0)
    #expect(try Synod.run(["restore", backup, copy]).errors.contains("is not empty"))
    let shell = try Synod.run([
      scratch.database, ".restore \(backup) \(scratch.path)/third.db", "SELECT count(*) FROM t",
    ])
    #expect(shell.output.hasSuffix("\n5000\n"), "\(shell.output)\(shell.errors)")
    let dump = try Synod.run(["dump", copy])
    #expect(dump.output == (try Synod.run([copy, ".dump"]).output))
    #expect(dump.output.contains("INSERT INTO t VALUES"))
  }

  @Test func aServerThatIsNotThereIsAnErrorWithItsAddress() throws {
    let outcome = try Synod.run(["postgres://127.0.0.1:1/x", "SELECT 1"])
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("127.0.0.1:1"))
    #expect(
      try Synod.run(["postgres://127.0.0.1:1/?sslmode=x", "SELECT 1"]).errors.contains("sslmode \"x\" is unknown"))
  }
}
