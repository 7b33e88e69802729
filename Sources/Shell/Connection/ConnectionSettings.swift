internal import Glibc

/// Where a server is and how to reach it, as libpq reads it from a URL and the environment.
///
/// ```
/// postgres[ql]://[user[:password]@][host[:port][,host[:port]]…][/database][?name=value[&…]]
/// ```
///
/// Every part may be percent-encoded; a host in brackets is an IPv6 address, one that begins with `/` is the directory of a
/// Unix socket. What the URL leaves out comes from PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE,
/// PGSSLROOTCERT, PGSSLCERT, PGSSLKEY, PGOPTIONS, PGAPPNAME, PGCONNECT_TIMEOUT, PGCHANNELBINDING, PGTARGETSESSIONATTRS, then from
/// ~/.pgpass (PGPASSFILE), then from the defaults: the role `synod`, a
/// database named like the role, 127.0.0.1 and port 7432, sslmode `prefer`.
///
/// Reference: PostgreSQL documentation, "Connection Strings" and "Parameter Key Words" of libpq.
package struct ConnectionSettings: Equatable, Sendable {
  /// libpq's sslmode: how much TLS, and how much of the server's certificate is believed.
  ///
  /// | mode | eavesdropping | impostors |
  /// |---|---|---|
  /// | disable | open | open |
  /// | allow | TLS only where the server refuses plain | open |
  /// | prefer | TLS where the server has it | open |
  /// | require | TLS | open (checked where a root certificate is named) |
  /// | verify-ca | TLS | the chain is checked |
  /// | verify-full | TLS | the chain and the host's name are checked |
  package enum TLSMode: String, Sendable, CaseIterable {
    case disable, allow, prefer, require
    case verifyCA = "verify-ca"
    case verifyFull = "verify-full"
  }

  /// Which servers of several will do.
  package enum Target: String, Sendable, CaseIterable {
    case any, primary, standby
    case readWrite = "read-write"
    case readOnly = "read-only"
    case preferStandby = "prefer-standby"
  }

  package struct Host: Equatable, Sendable {
    package var name: String
    package var port: UInt16
    package init(name: String, port: UInt16) {
      self.name = name
      self.port = port
    }
    /// The directory of a Unix socket rather than a name.
    package var isLocalSocket: Bool { name.hasPrefix("/") }
    package var description: String {
      isLocalSocket ? "\(name)/.s.PGSQL.\(port)" : name.contains(":") ? "[\(name)]:\(port)" : "\(name):\(port)"
    }
  }

  package static let defaultPort: UInt16 = 7432

  package var hosts: [Host] = []
  package var user = ""
  package var password: String?
  package var database = ""
  /// libpq's channel_binding: whether the password's exchange is bound to the server's certificate.
  package enum ChannelBinding: String, Sendable, CaseIterable { case disable, prefer, require }
  package var channelBinding = ChannelBinding.prefer
  package var tls = TLSMode.prefer
  /// A file of certificates, or `system`.
  package var rootCertificate: String?
  package var certificate: String?
  package var key: String?
  package var target = Target.any
  /// For each address; 0 waits as long as the system does.
  package var connectTimeoutSeconds = 0
  /// Sent with the first message: application_name, options, and the like.
  package var parameters: [(name: String, value: String)] = [("application_name", "synod")]
  private var passwordFile: String?

  package static func == (a: Self, b: Self) -> Bool {
    a.hosts == b.hosts && a.user == b.user && a.password == b.password && a.database == b.database && a.tls == b.tls
      && a.target == b.target && a.rootCertificate == b.rootCertificate && a.certificate == b.certificate
      && a.key == b.key && a.connectTimeoutSeconds == b.connectTimeoutSeconds
      && a.parameters.elementsEqual(b.parameters) { $0 == $1 }
  }

  /// Whether an argument of the command line names a server rather than a directory.
  package static func isURL(_ text: String) -> Bool {
    text.hasPrefix("postgres://") || text.hasPrefix("postgresql://")
  }

  /// Reads a URL. `environment` answers for variables.
  ///
  /// - Throws: a problem that names the part which cannot be understood.
  package init(url: String, environment: (String) -> String?) throws(ShellProblem) {
    var hostNames: [String] = environment("PGHOST")?.split(separator: ",").map(String.init) ?? []
    var ports: [String] = environment("PGPORT")?.split(separator: ",").map(String.init) ?? []
    try readEnvironment(environment)
    guard let scheme = url.range(ofText: "://") else { throw ShellProblem("\"\(url)\" is no URL of a server") }
    var rest = url[scheme.upperBound...]
    var query: Substring = ""
    if let mark = rest.firstIndex(of: "?") {
      query = rest[rest.index(after: mark)...]
      rest = rest[..<mark]
    }
    if let slash = rest.firstIndex(of: "/") {
      let name = try Self.decoded(rest[rest.index(after: slash)...])
      if !name.isEmpty { database = name }
      rest = rest[..<slash]
    }
    if let at = rest.lastIndex(of: "@") {
      let who = rest[..<at]
      let colon = who.firstIndex(of: ":")
      let name = try Self.decoded(who[..<(colon ?? who.endIndex)])
      if !name.isEmpty { user = name }
      if let colon { password = try Self.decoded(who[who.index(after: colon)...]) }
      rest = rest[rest.index(after: at)...]
    }
    if !rest.isEmpty { (hostNames, ports) = try Self.hostsAndPorts(rest) }
    for pair in query.split(separator: "&") {
      guard let equals = pair.firstIndex(of: "=") else {
        throw ShellProblem("the URL's parameter \"\(pair)\" has no value")
      }
      let name = try Self.decoded(pair[..<equals])
      let value = try Self.decoded(pair[pair.index(after: equals)...])
      switch name {
      case "host": hostNames = value.split(separator: ",").map(String.init)
      case "port": ports = value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      default: try set(name, to: value)
      }
    }
    if hostNames.isEmpty { hostNames = ["127.0.0.1"] }
    hosts = try Self.joined(hostNames, ports)
    if user.isEmpty { user = "synod" }
    if database.isEmpty { database = environment("PGDATABASE") ?? user }
    if rootCertificate == nil, let home = environment("HOME") {
      let usual = home + "/.postgresql/root.crt"
      if unsafe access(usual, R_OK) == 0 { rootCertificate = usual }
    }
    if password == nil { readPasswordFile(environment("PGPASSFILE") ?? environment("HOME").map { $0 + "/.pgpass" }) }
    if tls == .verifyCA || tls == .verifyFull, rootCertificate == nil {
      throw ShellProblem(
        "sslmode \(tls.rawValue) needs a root certificate: name a file with sslrootcert=, or sslrootcert=system")
    }
  }

  private mutating func readEnvironment(_ environment: (String) -> String?) throws(ShellProblem) {
    user = environment("PGUSER") ?? ""
    password = environment("PGPASSWORD")
    for (variable, name) in [
      ("PGSSLMODE", "sslmode"), ("PGSSLROOTCERT", "sslrootcert"), ("PGSSLCERT", "sslcert"), ("PGSSLKEY", "sslkey"),
      ("PGOPTIONS", "options"), ("PGAPPNAME", "application_name"), ("PGCONNECT_TIMEOUT", "connect_timeout"),
      ("PGCHANNELBINDING", "channel_binding"), ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ] {
      if let value = environment(variable), !value.isEmpty { try set(name, to: value) }
    }
  }

  private mutating func set(_ name: String, to value: String) throws(ShellProblem) {
    switch name {
    case "user": user = value
    case "password": password = value
    case "dbname": database = value
    case "sslmode": tls = try Self.choice(name, value)
    case "channel_binding": channelBinding = try Self.choice(name, value)
    case "target_session_attrs": target = try Self.choice(name, value)
    case "sslrootcert": rootCertificate = value
    case "sslcert": certificate = value
    case "sslkey": key = value
    case "passfile": passwordFile = value
    case "connect_timeout":
      guard let seconds = Int(value), seconds <= 86_400 else {
        throw ShellProblem("connect_timeout \"\(value)\" is no number of seconds")
      }
      connectTimeoutSeconds = max(0, seconds)
    case "options", "application_name", "client_encoding", "search_path", "replication":
      if name == "client_encoding", value.lowercased() != "utf8", value.lowercased() != "utf-8" {
        throw ShellProblem("client_encoding can only be UTF8 here")
      }
      parameters.removeAll { $0.name == name }
      parameters.append((name, value))
    case "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "gssencmode",
      "fallback_application_name", "tcp_user_timeout", "sslcompression":
      // Taken for the sake of URLs made for libpq; they change nothing here.
      break
    default: throw ShellProblem("the URL's parameter \"\(name)\" is unknown")
    }
  }

  private static func choice<T: RawRepresentable & CaseIterable>(_ name: String, _ value: String) throws(ShellProblem)
    -> T
  where T.RawValue == String {
    guard let choice = T(rawValue: value) else {
      throw ShellProblem(
        "\(name) \"\(value)\" is unknown; there are \(T.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return choice
  }

  private static func hostsAndPorts(_ text: Substring) throws(ShellProblem) -> ([String], [String]) {
    var names: [String] = []
    var ports: [String] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      var name = part
      var port: Substring = ""
      if part.hasPrefix("[") {
        guard let close = part.firstIndex(of: "]") else { throw ShellProblem("the [ of an address is not closed") }
        name = part[part.index(after: part.startIndex)..<close]
        let after = part[part.index(after: close)...]
        guard after.isEmpty || after.hasPrefix(":") else { throw ShellProblem("\"\(part)\" is no address") }
        port = after.dropFirst()
      } else if let colon = part.lastIndex(of: ":") {
        name = part[..<colon]
        port = part[part.index(after: colon)...]
      }
      let decoded = try decoded(name)
      names.append(decoded.isEmpty ? "127.0.0.1" : decoded)
      ports.append(String(port))
    }
    return (names, ports)
  }

  /// One port for all hosts, or one each.
  private static func joined(_ names: [String], _ ports: [String]) throws(ShellProblem) -> [Host] {
    guard ports.count <= 1 || ports.count == names.count else {
      throw ShellProblem("there are \(names.count) hosts and \(ports.count) ports")
    }
    var hosts: [Host] = []
    for (index, name) in names.enumerated() {
      let text = ports.isEmpty ? "" : ports[ports.count == 1 ? 0 : index]
      guard let port = text.isEmpty ? defaultPort : UInt16(text), port > 0 else {
        throw ShellProblem("\"\(text)\" is no port")
      }
      hosts.append(Host(name: name, port: port))
    }
    return hosts
  }

  private static func decoded(_ text: Substring) throws(ShellProblem) -> String {
    guard text.contains("%") else { return String(text) }
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), value != 0
      else { throw ShellProblem("\"\(text)\" has a % that two hexadecimal digits do not follow") }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    guard let decoded = String(validating: bytes, as: UTF8.self) else { throw ShellProblem("\"\(text)\" is not UTF-8") }
    return decoded
  }

  // MARK: ~/.pgpass

  /// Lines of `host:port:database:user:password`; `*` matches anything, a backslash makes `:` and `\` plain. A file that
  /// others can read is passed over with a word, as libpq does.
  private mutating func readPasswordFile(_ usual: String?) {
    guard let path = passwordFile ?? usual, let host = hosts.first else { return }
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
    guard status.st_mode & 0o077 == 0 else {
      FileHandleOutput.standardError.write(
        [UInt8]("WARNING: password file \"\(path)\" is readable by others; chmod 600 it\n".utf8))
      return
    }
    guard let lines = try? FileLines(path: path) else { return }
    while let line = lines.nextLine() {
      if let found = Self.password(in: String(decoding: line, as: UTF8.self), host, database, user) {
        password = found
        return
      }
    }
  }

  package static func password(in line: String, _ host: Host, _ database: String, _ user: String) -> String? {
    guard !line.hasPrefix("#") else { return nil }
    var fields: [String] = [""]
    var isEscaped = false
    for character in line {
      if isEscaped {
        fields[fields.count - 1].append(character)
        isEscaped = false
      } else if character == "\\" {
        isEscaped = true
      } else if character == ":" && fields.count < 5 {
        fields.append("")
      } else {
        fields[fields.count - 1].append(character)
      }
    }
    guard fields.count == 5 else { return nil }
    for (field, value) in zip(fields, [host.name, String(host.port), database, user])
    where field != "*" && field != value { return nil }
    return fields[4]
  }
}

extension String {
  /// The first place of `text`; Foundation is not needed for that.
  fileprivate func range(ofText text: String) -> Range<String.Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}
