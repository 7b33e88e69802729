import Foundation
import Testing

/// The drivers that people have, each driven by its script in `Clients` against a server of its own.
@Suite struct DriverTests {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients").path
  /// Made by whichever test comes first; the others wait for it.
  static let environment = PythonEnvironment.make(folder + "/requirements.txt")

  @Test(arguments: ["psycopg", "psycopg2", "asyncpg", "pg8000", "sqlalchemy"])
  func worksWith(_ driver: String) throws {
    let python: String
    switch Self.environment {
    case .ready(let path): python = path
    case .missing(let reason):
      print("drivers: skipped \(driver): \(reason)")
      return
    }
    let server = try RunningServer()
    let run = try Program.run(
      "/usr/bin/env",
      [
        "timeout", "120", python, "\(Self.folder)/drive_\(driver).py",
        "postgresql://synod@127.0.0.1:\(server.port)/synod",
      ], ["PYTHONDONTWRITEBYTECODE": "1"])
    #expect(run.status == 0, "drive_\(driver).py\n\(run.output)\(run.errors)")
  }

  /// Debian's `libpostgresql-jdbc-java`, driven by a program that Java compiles by itself.
  static let jdbc = "/usr/share/java/postgresql.jar"

  @Test(.enabled(if: FileManager.default.fileExists(atPath: jdbc) && Program.find("javac") != nil))
  func worksWithJDBC() throws {
    let server = try RunningServer()
    let run = try Program.run(
      "/usr/bin/env",
      [
        "timeout", "120", "java", "-cp", Self.jdbc, Self.folder + "/DriveJdbc.java",
        "jdbc:postgresql://127.0.0.1:\(server.port)/synod?user=synod",
      ])
    #expect(run.status == 0, "DriveJdbc.java\n\(run.output)\(run.errors)")
  }

  /// Every script of pgbench in every mode at every level: nothing fails but what is run again (40001, 40P01).
  @Test(.enabled(if: Program.find("pgbench") != nil), arguments: ["read committed", "repeatable read", "serializable"])
  func pgbenchRuns(_ level: String) throws {
    let server = try RunningServer()
    let environment = [
      "PGHOST": "127.0.0.1", "PGPORT": "\(server.port)", "PGUSER": "synod", "PGDATABASE": "synod",
      "PGOPTIONS": "-c default_transaction_isolation=\(level.replacing(" ", with: "\\ "))",
    ]
    let pgbench = try #require(Program.find("pgbench"))
    let prepared = try Program.run(pgbench, ["-i", "-s", "1", "-q"], environment)
    #expect(prepared.status == 0, "\(prepared.errors)")
    for script in ["tpcb-like", "simple-update", "select-only"] {
      for mode in ["simple", "extended", "prepared"] {
        let run = try Program.run(
          pgbench, ["-n", "-b", script, "-M", mode, "-c", "8", "-j", "2", "-t", "20", "--max-tries", "1000"],
          environment)
        #expect(run.status == 0, "\(script) \(mode): \(run.errors)")
        #expect(
          run.output.contains("number of failed transactions: 0 (0.000%)"), "\(script) \(mode): \(run.output)")
      }
    }
    let sums = try server.psql(
      """
      SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
        (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers);
      """, connection: "host=127.0.0.1 port=\(server.port) user=synod dbname=synod")
    #expect(sums.output.contains("t|t"), "\(sums)")
  }

  /// psql's questions about the catalog are answered without an error.
  @Test(.enabled(if: Program.find("psql") != nil)) func psqlDescribes() throws {
    let server = try RunningServer()
    let result = try server.psql(
      """
      CREATE TABLE a (id serial PRIMARY KEY, v text NOT NULL DEFAULT 'x' CHECK (length(v) > 0), n numeric(8,2), UNIQUE (v, n));
      CREATE TABLE b (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
      CREATE INDEX b_by_a ON b (a DESC) WHERE a > 0;
      CREATE VIEW v AS SELECT a.id, b.a FROM a JOIN b ON b.a = a.id;
      \\d
      \\d+
      \\d a
      \\d+ a
      \\d b
      \\d v
      \\d+ v
      \\d a_id_seq
      \\d a_pkey
      \\dt
      \\dt+ a*
      \\di+
      \\dv+
      \\ds
      \\dm
      \\dn+
      \\du
      \\dg
      \\df
      \\dT
      \\do
      \\da
      \\dC
      \\dD
      \\db
      \\dx
      \\dp
      \\ddp
      \\drds
      \\dconfig
      \\l
      \\sv v
      \\conninfo
      """)
    #expect(!result.errors.contains("ERROR"), "\(result.errors)")
    for part in [
      "\"b_by_a\" btree (a DESC) WHERE", "FOREIGN KEY (a) REFERENCES a(id) ON DELETE CASCADE",
      "TABLE \"b\" CONSTRAINT \"b_a_fkey\" FOREIGN KEY (a) REFERENCES a(id) ON DELETE CASCADE",
      "\"a_v_check\" CHECK (", "generated always as identity", "\"a_v_n_key\" UNIQUE CONSTRAINT, btree (v, n)",
      "Sequence \"public.a_id_seq\"", "numeric(8,2)", "View definition:",
    ] {
      #expect(result.output.contains(part), "\(part)\n\(result.output)")
    }
  }
}

/// A Python environment with what a requirements file asks for, kept under `.build` for as long as the file stays the same.
enum PythonEnvironment {
  case ready(String)
  case missing(String)

  static func make(_ requirements: String) -> PythonEnvironment {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let folder = root.appendingPathComponent(".build/clients").path
    let python = folder + "/bin/python"
    let stamp = folder + "/installed.txt"
    guard let wanted = try? String(contentsOfFile: requirements, encoding: .utf8) else {
      return .missing("\(requirements) cannot be read")
    }
    if (try? String(contentsOfFile: stamp, encoding: .utf8)) == wanted { return .ready(python) }
    guard let system = Program.find("python3") else { return .missing("there is no python3") }
    do {
      let made = try Program.run(system, ["-m", "venv", "--clear", folder])
      guard made.status == 0 else { return .missing("python3 -m venv: \(lastLine(made))") }
      let installed = try Program.run(
        "/usr/bin/env",
        [
          "timeout", "180", python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
          "--timeout", "10", "--only-binary", ":all:", "-r", requirements,
        ])
      guard installed.status == 0 else { return .missing("pip install: \(lastLine(installed))") }
      try wanted.write(toFile: stamp, atomically: true, encoding: .utf8)
      return .ready(python)
    } catch {
      return .missing("\(error)")
    }
  }

  private static func lastLine(_ result: Program.Result) -> String {
    (result.errors + result.output).split(separator: "\n").last.map(String.init) ?? "ended with \(result.status)"
  }
}
