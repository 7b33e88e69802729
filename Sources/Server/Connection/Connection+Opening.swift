internal import Logging
internal import Platform
internal import SQL
internal import Synchronization
internal import Wire

// Letting a client in: who it is, which database it wants, and what its session begins with.

extension Connection {
  /// Says how the client shows who it is.
  func authenticate(_ startup: StartupMessage) {
    if isElsewhere(startup) { return }
    if startupMessage == nil { startupMessage = startup }
    let name = startup["user"] ?? ""
    roleName = name
    if let ticket {
      // Shown where it came in.
      if ticket.kind != .fresh, ticket.user == name { return wire.authenticate(.trust) }
    } else if stream.certifiedName == name {
      return wire.authenticate(.trust)
    }
    let role: RoleDescriptor?
    do throws(SQLError) { role = try services.sql.role(named: name) } catch {
      return wire.authenticate(.reject(WireReport(error)))
    }
    switch services.options.authentication(for: peer) {
    case .trust:
      guard role != nil else {
        return refuse("28000", "role \"\(name)\" does not exist", hint: "Create it: CREATE ROLE \(name) LOGIN.")
      }
      wire.authenticate(.trust)
    case .scram:
      let verifier =
        role?.verifierNow().flatMap { Wire.ScramVerifier($0) }
        ?? Wire.ScramVerifier(dummyFor: name, secret: services.dummySecret, crypto: OpenSSLScram())
      var random = SystemRandomness()
      var nonce: [UInt8] = []
      for _ in 0..<3 { unsafe withUnsafeBytes(of: random.next()) { unsafe nonce.append(contentsOf: $0) } }
      // A relayed client sees the certificate of the node that relays it.
      let binding = ticket.map(\.certificateHash) ?? stream.certificateHash
      wire.authenticate(
        .scram(ScramServer(verifier: verifier, nonce: nonce, binding: binding, crypto: OpenSSLScram())))
    }
  }

  private func refuse(_ state: String, _ message: String, detail: String? = nil, hint: String? = nil) {
    var report = WireReport(severity: .fatal, sqlState: state, message: message)
    report.detail = detail
    report.hint = hint
    services.logger.info(
      "connection refused",
      metadata: ["peer": "\(peer)", "user": "\(roleName)", "sqlstate": "\(state)", "reason": "\(message)"])
    if wire.isChoosing { wire.authenticate(.reject(report)) } else { wire.terminate(report) }
  }

  /// Opens the session of a client that may come in.
  func open(_ startup: StartupMessage) {
    guard makeSession(startup) else { return }
    guard let sql, let key = clientKey else { return }
    let known = wire.opened(parameters: sql.reportedSettings, key: key)
    clientKey = known
    services.registry.register(known)
    setLimit(nil, milliseconds: 0)
  }

  /// Makes the client's session; false where it may not have one, which it has been told.
  func makeSession(_ startup: StartupMessage) -> Bool {
    let wanted = startup["database"] ?? roleName
    guard wanted == services.databaseName else {
      return refused(
        "3D000", "database \"\(wanted)\" does not exist",
        hint: "This server has one database, \"\(services.databaseName)\".")
    }
    let role: RoleDescriptor?
    do throws(SQLError) { role = try services.sql.role(named: roleName) } catch {
      return terminated(WireReport(error))
    }
    guard let role else { return refused("28000", "role \"\(roleName)\" does not exist") }
    do throws(SQLError) {
      if let refusal = try services.sql.refusal(of: role) {
        return refused(refusal.state.rawValue, refusal.message, detail: refusal.detail)
      }
    } catch { return terminated(WireReport(error)) }
    isSuperuser = role.isSuperuser
    let session = services.sql.makeSession(user: roleName)
    do throws(SQLError) {
      try configure(session, startup, role)
      if readsLocally != nil { readLocally(session) }
    } catch {
      session.close()
      var report = WireReport(error)
      report.severity = .fatal
      return terminated(report)
    }
    processID = UInt32(truncatingIfNeeded: session.id)
    var random = SystemRandomness()
    var secret: [UInt8] = []
    for _ in 0..<4 { unsafe withUnsafeBytes(of: random.next()) { unsafe secret.append(contentsOf: $0) } }
    let admission = services.registry.admit(
      self, processID, isSuperuser: isSuperuser, roleLimit: role.connectionLimit)
    if let refusal = admission {
      session.close()
      return refused("53300", refusal)
    }
    session.deferral = CommitDeferral()
    session.onReportedSetting = { [unowned self] name, value in
      wire.output.parameterStatus(name: name, value: value)
      if name == "application_name" { shared.withLock { $0.activity.applicationName = value } }
    }
    sql = session
    clientKey = CancelKey(process: processID, secret: secret)
    let now = LinuxClock().wallNanoseconds
    shared.withLock { shared in
      shared.session = Interruptible(session: session)
      shared.activity.user = roleName
      shared.activity.userID = role.id.rawValue
      shared.activity.applicationName = session.setting("application_name") ?? ""
      shared.activity.backendStart = now
      shared.activity.stateChange = now
      shared.activity.isTLS = wire.isSecure
    }
    services.metrics.connectionOpened()
    services.logger.debug(
      "connection opened", metadata: ["peer": "\(peer)", "user": "\(roleName)", "pid": "\(processID)"])
    return true
  }

  private func refused(_ state: String, _ message: String, detail: String? = nil, hint: String? = nil) -> Bool {
    refuse(state, message, detail: detail, hint: hint)
    return false
  }

  private func terminated(_ report: WireReport) -> Bool {
    wire.terminate(report)
    return false
  }

  /// The settings that the role, the command-line options of the client and its start-up message ask for.
  private func configure(
    _ session: SQLSession, _ startup: StartupMessage, _ role: RoleDescriptor
  ) throws(SQLError) {
    session.setSuperuser(role.isSuperuser)
    for (name, value) in role.settings.sorted(by: { $0.key < $1.key }) { try session.setStartup(name, to: value) }
    for (name, value) in try StartupOptions.parse(startup["options"] ?? "") { try session.setStartup(name, to: value) }
    for parameter in startup.parameters {
      switch parameter.name {
      case "user", "database", "options", "replication", RelayTicket.name: continue
      default: try session.setStartup(parameter.name, to: StartupOptions.value(parameter))
      }
    }
  }
}

/// `options` of a start-up message: what one would give the server's command line.
///
/// `-c name=value`, `-cname=value`, `--name=value`; blanks part words, a backslash keeps the next character.
enum StartupOptions {
  static func parse(_ text: String) throws(SQLError) -> [(name: String, value: String)] {
    var settings: [(String, String)] = []
    var words = words(text)[...]
    while let word = words.popFirst() {
      var setting: Substring
      if word == "-c" {
        guard let next = words.popFirst() else { throw invalid(word) }
        setting = next[...]
      } else if word.hasPrefix("-c") || word.hasPrefix("--") {
        setting = word.dropFirst(2)
      } else {
        throw invalid(word)
      }
      guard let equals = setting.firstIndex(of: "="), equals > setting.startIndex else { throw invalid(word) }
      let name = setting[..<equals].map { $0 == "-" ? "_" : $0 }
      settings.append((String(name), String(setting[setting.index(after: equals)...])))
    }
    return settings
  }

  private static func invalid(_ word: String) -> SQLError {
    SQLError(.syntaxError, "invalid command-line argument for server process: \(word)")
  }

  private static func words(_ text: String) -> [String] {
    var words: [String] = []
    var word = ""
    var isOpen = false
    var isEscaped = false
    for character in text {
      if isEscaped {
        word.append(character)
        isEscaped = false
      } else if character == "\\" {
        isEscaped = true
        isOpen = true
      } else if character == " " || character == "\t" || character == "\n" {
        if isOpen { words.append(word) }
        word = ""
        isOpen = false
      } else {
        word.append(character)
        isOpen = true
      }
    }
    if isOpen { words.append(word) }
    return words
  }

  /// What drivers call their encoding, by our name of it.
  static func value(_ parameter: StartupMessage.Parameter) -> String {
    guard parameter.name == "client_encoding" else { return parameter.value }
    let plain = parameter.value.lowercased().filter { $0.isLetter || $0.isNumber }
    return plain == "utf8" || plain == "unicode" ? "UTF8" : parameter.value
  }
}
