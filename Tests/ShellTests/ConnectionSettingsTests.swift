import Shell
import Testing

/// URLs as libpq reads them.
@Suite struct ConnectionSettingsTests {
  func read(_ url: String, _ environment: [String: String] = [:]) throws -> ConnectionSettings {
    try ConnectionSettings(url: url) { environment[$0] }
  }

  @Test func everyPart() throws {
    let settings = try read(
      "postgresql://ad%40a:s%3Aecret@db.example:5433/my%20db?sslmode=require&application_name=x&connect_timeout=3")
    #expect(settings.user == "ad@a")
    #expect(settings.password == "s:ecret")
    #expect(settings.hosts == [.init(name: "db.example", port: 5433)])
    #expect(settings.database == "my db")
    #expect(settings.tls == .require)
    #expect(settings.connectTimeoutSeconds == 3)
    #expect(settings.parameters.contains { $0 == ("application_name", "x") })
  }

  @Test func whatIsLeftOutComesFromTheEnvironmentThenFromTheDefaults() throws {
    let bare = try read("postgres://")
    #expect(bare.hosts == [.init(name: "127.0.0.1", port: 7432)])
    #expect(bare.user == "synod" && bare.database == "synod" && bare.password == nil && bare.tls == .prefer)
    let set = try read(
      "postgres:///", ["PGHOST": "a,b", "PGPORT": "1,2", "PGUSER": "u", "PGDATABASE": "d", "PGPASSWORD": "p"])
    #expect(set.hosts == [.init(name: "a", port: 1), .init(name: "b", port: 2)])
    #expect(set.user == "u" && set.database == "d" && set.password == "p")
    #expect(try read("postgres://x@h/y", ["PGUSER": "u", "PGDATABASE": "d"]).user == "x")
  }

  @Test func manyHostsAndAddresses() throws {
    let settings = try read("postgres://a:1,[::1]:2,c/db?target_session_attrs=prefer-standby")
    #expect(settings.hosts.map(\.description) == ["a:1", "[::1]:2", "c:7432"])
    #expect(settings.target == .preferStandby)
    #expect(try read("postgres:///db?host=/run/pg&port=9").hosts[0].description == "/run/pg/.s.PGSQL.9")
  }

  @Test(arguments: [
    "postgres://h:0/", "postgres://h:70000/", "postgres://h:x/", "postgres://[::1", "postgres://h/?sslmode=maybe",
    "postgres://h/?nonsense=1", "postgres://h/?sslmode", "postgres://%zz/", "postgres://a,b/?port=1,2,3",
    "postgres://h/?sslmode=verify-full", "postgres://h/?client_encoding=latin1", "postgres://%ff/", "postgres://%00/",
  ])
  func nonsenseIsRefused(_ url: String) {
    #expect(throws: ShellProblem.self) { try read(url) }
  }

  @Test func passwordFileLines() {
    let host = ConnectionSettings.Host(name: "h", port: 1)
    func password(_ line: String) -> String? { ConnectionSettings.password(in: line, host, "d", "u") }
    #expect(password("h:1:d:u:se:cret") == "se:cret")
    #expect(password("*:*:*:*:a\\:b\\\\c") == "a:b\\c")
    #expect(password("h:2:d:u:x") == nil)
    #expect(password("# h:1:d:u:x") == nil)
    #expect(password("h:1:d:u") == nil)
  }
}
