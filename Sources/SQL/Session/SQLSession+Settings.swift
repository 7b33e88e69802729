internal import Transactions

extension SQLSession {
  /// A setting's value as SHOW prints it; nil if there is none of the name.
  package func setting(_ name: String) -> String? {
    switch name.lowercased() {
    case "transaction_isolation":
      transaction == nil ? settings.value("default_transaction_isolation") : levelName
    case "transaction_read_only":
      transaction.map { $0.isReadOnly ? "on" : "off" } ?? settings.value("default_transaction_read_only")
    case "transaction_deferrable":
      transaction.map { $0.isDeferrable ? "on" : "off" } ?? settings.value("default_transaction_deferrable")
    case "synod.session_token": token
    default: settings.value(name)
    }
  }

  /// Sets a setting for the session, as SET does: for start-up parameters.
  package func set(_ name: String, to value: String) throws(SQLError) {
    if name.lowercased() == "role" || name.lowercased() == "session_authorization" {
      throw SQLError(.featureNotSupported, "parameter \"\(name)\" cannot be set at start-up")
    }
    let normal = try Settings.normalised(name, value)
    settings.set(name, normal)
    report(name)
  }

  /// The settings that a client is told when it connects.
  package var reportedSettings: [(name: String, value: String)] {
    Settings.definitions.filter(\.isReported).map { ($0.name, settings.value($0.name) ?? "") }
  }

  /// How values are printed and read as text in this session.
  package var textFormat: TextFormat {
    if cachedGeneration != settings.generation { readSettings() }
    var format = cachedFormat
    format.now = transactionStart
    return format
  }

  @inline(never)
  private func readSettings() {
    let names = self.names ?? SessionNames(self)
    self.names = names
    cachedFormat = settings.textFormat()
    cachedFormat.names = names
    let role = settings.value("role") ?? "none"
    cachedUser = role == "none" ? sessionUser : role
    cachedSearchPath = settings.searchPath(user: cachedUser)
    cachedGeneration = settings.generation
  }

  func report(_ name: String) {
    guard let definition = Settings.byName[name.lowercased()], definition.isReported, let onReportedSetting else {
      return
    }
    onReportedSetting(definition.name, settings.value(name) ?? "")
  }

  func change(_ name: String, to value: String?, local: Bool) throws(SQLError) {
    let old = settings.values[name.lowercased()]
    let isUser = name.lowercased() == "role" || name.lowercased() == "session_authorization"
    if name.lowercased() == "synod.session_token" { return try setToken(value ?? "") }
    if let value {
      let allowed = try authorize(name, value)
      settings.set(name, isUser ? allowed : try Settings.normalised(name, value))
    } else {
      if Settings.byName[name.lowercased()] == nil, !name.contains(".") {
        throw SQLError(.undefinedObject, "unrecognized configuration parameter \"\(name)\"")
      }
      settings.reset(name)
    }
    if name.lowercased() == "synod.idempotency_key", block == .explicit || block == .implicit { try requireNewKey() }
    if local, localSettings[name.lowercased()] == nil { localSettings[name.lowercased()] = old ?? "" }
    if !local { localSettings[name.lowercased()] = nil }
    report(name)
    if isUser {
      if name.lowercased() != "role" { settings.reset("role") }
      try userChanged()
      report("is_superuser")
    }
  }

  /// Whose rights count: SET ROLE changes it.
  package var user: String {
    if cachedGeneration != settings.generation { readSettings() }
    return cachedUser
  }
  /// SET SESSION AUTHORIZATION changes it.
  package var sessionUser: String { settings.value("session_authorization") ?? loginUser }

  var searchPath: [String] {
    if cachedGeneration != settings.generation { readSettings() }
    return cachedSearchPath
  }

  static func level(_ name: String) -> IsolationLevel {
    switch name {
    case "serializable": .serializable
    case "repeatable read": .repeatableRead
    default: .readCommitted
    }
  }
  static func name(_ level: IsolationLevel) -> String {
    switch level {
    case .readCommitted: "read committed"
    case .repeatableRead: "repeatable read"
    case .serializable: "serializable"
    }
  }
}
