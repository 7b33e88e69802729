internal import Transactions

// The settings that clients find: PostgreSQL's names, with the meaning they have there.
//
// SET is undone when its transaction rolls back; SET LOCAL also when it commits.

/// What a setting is and allows.
struct SettingDefinition: Sendable {
  enum Kind: Sendable {
    case boolean
    case integer(ClosedRange<Int64>, unit: String)
    case real
    case choice([String])
    case text
  }
  let name: String
  let kind: Kind
  let initial: String
  /// May be set, or only shown.
  let isFixed: Bool
  let description: String
  /// Whether clients are told of changes (ParameterStatus).
  let isReported: Bool
}

struct Settings: Sendable {
  static let definitions: [SettingDefinition] = {
    func make(
      _ name: String, _ kind: SettingDefinition.Kind, _ initial: String, _ description: String, fixed: Bool = false,
      reported: Bool = false
    ) -> SettingDefinition {
      SettingDefinition(
        name: name, kind: kind, initial: initial, isFixed: fixed, description: description, isReported: reported)
    }
    let milliseconds = SettingDefinition.Kind.integer(0...Int64(Int32.max), unit: "ms")
    let levels = SettingDefinition.Kind.choice([
      "serializable", "repeatable read", "read committed", "read uncommitted",
    ])
    return [
      make(
        "application_name", .text, "", "Sets the application name to be reported in statistics and logs.",
        reported: true),
      make("bytea_output", .choice(["hex", "escape"]), "hex", "Sets the output format for bytea."),
      make(
        "client_encoding", .choice(["UTF8", "UTF-8", "SQL_ASCII"]), "UTF8", "Sets the client's character set encoding.",
        reported: true),
      make(
        "client_min_messages",
        .choice(["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]), "notice",
        "Sets the message levels that are sent to the client."),
      make("DateStyle", .text, "ISO, MDY", "Sets the display format for date and time values.", reported: true),
      make(
        "default_transaction_deferrable", .boolean, "off", "Sets the default deferrable status of new transactions."),
      make(
        "default_transaction_isolation", levels, "read committed",
        "Sets the transaction isolation level of each new transaction."),
      make(
        "default_transaction_read_only", .boolean, "off", "Sets the default read-only status of new transactions.",
        reported: true),
      make("default_tablespace", .text, "", "Sets the default tablespace to create tables and indexes in."),
      make("default_table_access_method", .text, "heap", "Sets the default table access method for new tables."),
      make("default_with_oids", .boolean, "off", "Create new tables with OIDs by default."),
      make("check_function_bodies", .boolean, "on", "Check routine bodies during CREATE FUNCTION."),
      make("enable_hashjoin", .boolean, "on", "Enables the planner's use of hash join plans."),
      make("enable_indexscan", .boolean, "on", "Enables the planner's use of index-scan plans."),
      make("enable_nestloop", .boolean, "on", "Enables the planner's use of nested-loop join plans."),
      make("enable_seqscan", .boolean, "on", "Enables the planner's use of sequential-scan plans."),
      make(
        "extra_float_digits", .integer(-15...3, unit: ""), "1",
        "Sets the number of digits displayed for floating-point values."),
      make(
        "idle_in_transaction_session_timeout", milliseconds, "0",
        "Sets the maximum allowed idle time between queries, when in a transaction."),
      make(
        "idle_session_timeout", milliseconds, "0",
        "Sets the maximum allowed idle time between queries, when not in a transaction."),
      make(
        "in_hot_standby", .boolean, "off", "Shows whether hot standby is currently active.", fixed: true, reported: true
      ),
      make(
        "integer_datetimes", .boolean, "on", "Shows whether datetimes are integer based.", fixed: true, reported: true),
      make(
        "IntervalStyle", .choice(["postgres", "iso_8601"]), "postgres", "Sets the display format for interval values.",
        reported: true),
      make(
        "is_superuser", .boolean, "on", "Shows whether the current user is a superuser.", fixed: true, reported: true),
      make("jit", .boolean, "off", "Allow JIT compilation."),
      make("lc_collate", .text, "C", "Shows the collation order locale.", fixed: true),
      make("lc_ctype", .text, "C", "Shows the character classification and case conversion locale.", fixed: true),
      make("lc_messages", .text, "C", "Sets the language in which messages are displayed."),
      make("lc_monetary", .text, "C", "Sets the locale for formatting monetary amounts."),
      make("lc_numeric", .text, "C", "Sets the locale for formatting numbers."),
      make("lc_time", .text, "C", "Sets the locale for formatting date and time values."),
      make("lock_timeout", milliseconds, "0", "Sets the maximum allowed duration of any wait for a lock."),
      make(
        "max_identifier_length", .integer(63...63, unit: ""), "63", "Shows the maximum identifier length.", fixed: true),
      make("max_index_keys", .integer(32...32, unit: ""), "32", "Shows the maximum number of index keys.", fixed: true),
      make(
        "password_encryption", .choice(["scram-sha-256"]), "scram-sha-256",
        "Chooses the algorithm for encrypting passwords."),
      make("row_security", .boolean, "on", "Enable row security."),
      make(
        "search_path", .text, "\"$user\", public",
        "Sets the schema search order for names that are not schema-qualified."),
      make("seq_page_cost", .real, "1", "Sets the planner's estimate of the cost of a sequentially fetched disk page."),
      make(
        "server_encoding", .text, "UTF8", "Shows the server (database) character set encoding.", fixed: true,
        reported: true),
      make("server_version", .text, "15.8", "Shows the server version.", fixed: true, reported: true),
      make(
        "server_version_num", .integer(150008...150008, unit: ""), "150008", "Shows the server version as an integer.",
        fixed: true),
      make("role", .text, "none", "Sets the current role."),
      make("session_authorization", .text, "synod", "Sets the session user name.", fixed: true, reported: true),
      make(
        "standard_conforming_strings", .choice(["on"]), "on", "Causes '...' strings to treat backslashes literally.",
        reported: true),
      make("statement_timeout", milliseconds, "0", "Sets the maximum allowed duration of any statement."),
      make(
        "synod.idempotency_key", .text, "",
        "Names the transaction, so that it commits once however often it is tried; empty for none."),
      make(
        "synod.max_staleness", milliseconds, "1s",
        "Sets how old a node's state may be for reads with synod.read_consistency = bounded."),
      make(
        "synod.read_consistency", .choice(["linearizable", "leader", "session", "bounded", "stale"]), "linearizable",
        "Sets what reads must show: everything committed anywhere, what this session has seen, or this node's state."),
      make(
        "synod.report_session_token", .boolean, "off",
        "Reports synod.session_token after each commit (always with synod.read_consistency = session)."),
      make("synod.session_token", .text, "", "Names what this session has seen, for a session on another node."),
      make("synchronize_seqscans", .boolean, "on", "Enable synchronized sequential scans."),
      make(
        "synchronous_commit", .choice(["on", "off", "local", "remote_write", "remote_apply"]), "on",
        "Sets the current transaction's synchronization level."),
      make(
        "temp_file_limit", .integer(-1...Int64(Int32.max), unit: "kB"), "-1",
        "Limits the total size of all temporary files used by each process."),
      make("TimeZone", .text, "UTC", "Sets the time zone for displaying and interpreting time stamps.", reported: true),
      make("transaction_deferrable", .boolean, "off", "Whether to defer a read-only serializable transaction."),
      make("transaction_isolation", levels, "read committed", "Sets the current transaction's isolation level."),
      make("transaction_read_only", .boolean, "off", "Sets the current transaction's read-only status."),
      make(
        "work_mem", .integer(64...Int64(Int32.max), unit: "kB"), "256MB",
        "Sets the maximum memory to be used for query workspaces."),
      make(
        "xmloption", .choice(["content", "document"]), "content",
        "Sets whether XML data is to be considered as documents or content fragments."),
    ] + PassiveSettings.all
  }()
  static let byName: [String: SettingDefinition] = Dictionary(
    uniqueKeysWithValues: definitions.map { ($0.name.lowercased(), $0) })

  private(set) var values: [String: String] {
    didSet {
      known = nil
      generation &+= 1
    }
  }
  /// Another number after each change.
  private(set) var generation: UInt64 = 0
  private var known: Frequent?
  private var initial: [String: String]

  init(_ overrides: [String: String]) {
    var values: [String: String] = [:]
    for definition in Settings.definitions { values[definition.name.lowercased()] = definition.initial }
    for (name, value) in overrides { values[name.lowercased()] = value }
    self.values = values
    initial = values
  }

  /// What every statement and transaction asks for, read once after each change.
  struct Frequent {
    var isolation: IsolationLevel
    var isolationName: String
    var isReadOnly: Bool
    var isDeferrable: Bool
    var lockTimeoutMilliseconds: Int64
    var statementTimeoutMilliseconds: Int64
    var isSynchronous: Bool
    var workMemoryKibibytes: Int64
    var idleInTransactionTimeoutMilliseconds: Int64
    var idleTimeoutMilliseconds: Int64
    /// Nil: none.
    var idempotencyKey: String?
    var reportsToken: Bool
  }

  var frequent: Frequent {
    mutating get {
      if let known { return known }
      let read = Frequent(
        isolation: SQLSession.level(value("default_transaction_isolation") ?? ""),
        isolationName: value("default_transaction_isolation") ?? SQLSession.name(.readCommitted),
        isReadOnly: isOn("default_transaction_read_only"),
        isDeferrable: isOn("default_transaction_deferrable"), lockTimeoutMilliseconds: integer("lock_timeout"),
        statementTimeoutMilliseconds: integer("statement_timeout"),
        isSynchronous: value("synchronous_commit") != "off", workMemoryKibibytes: integer("work_mem"),
        idleInTransactionTimeoutMilliseconds: integer("idle_in_transaction_session_timeout"),
        idleTimeoutMilliseconds: integer("idle_session_timeout"),
        idempotencyKey: value("synod.idempotency_key").flatMap { $0.isEmpty ? nil : $0 },
        reportsToken: isOn("synod.report_session_token") || value("synod.read_consistency") == "session")
      known = read
      return read
    }
  }

  func value(_ name: String) -> String? { values[name.lowercased()] }
  func isOn(_ name: String) -> Bool { values[name.lowercased()] == "on" }

  /// An integer setting in its base unit.
  func integer(_ name: String) -> Int64 {
    guard let text = values[name.lowercased()], case .integer(_, let unit)? = Settings.byName[name.lowercased()]?.kind
    else { return 0 }
    return Settings.parseInteger(text, unit: unit) ?? 0
  }

  /// The value in its normal form.
  ///
  /// - Throws: undefined_object (42704), invalid_parameter_value (22023), cant_change_runtime_param (55P02).
  static func normalised(_ name: String, _ value: String) throws(SQLError) -> String {
    guard let definition = byName[name.lowercased()] else {
      // Names with a dot are the user's own.
      if name.contains(".") { return value }
      throw SQLError(.undefinedObject, "unrecognized configuration parameter \"\(name)\"")
    }
    if definition.isFixed {
      throw SQLError(SQLState(rawValue: "55P02"), "parameter \"\(definition.name)\" cannot be changed")
    }
    func invalid(_ hint: String? = nil) -> SQLError {
      SQLError(
        .invalidParameterValue, "invalid value for parameter \"\(definition.name)\": \"\(value)\"", hint: hint)
    }
    switch definition.kind {
    case .boolean:
      switch value.lowercased() {
      case "on", "true", "yes", "1", "t", "y": return "on"
      case "off", "false", "no", "0", "f", "n": return "off"
      default: throw SQLError(.invalidParameterValue, "parameter \"\(definition.name)\" requires a Boolean value")
      }
    case .integer(let range, let unit):
      guard let number = parseInteger(value, unit: unit) else { throw invalid() }
      guard range.contains(number) else {
        throw SQLError(
          .invalidParameterValue,
          "\(number)\(unit.isEmpty ? "" : " \(unit)") is outside the valid range for parameter \"\(definition.name)\" (\(range.lowerBound) .. \(range.upperBound))"
        )
      }
      return format(number, unit: unit)
    case .real:
      guard Double(value) != nil else { throw invalid() }
      return value
    case .choice(let choices):
      guard let choice = choices.first(where: { $0.lowercased() == value.lowercased() }) else {
        throw invalid("Available values: \(choices.joined(separator: ", ")).")
      }
      return choice == "UTF-8" ? "UTF8" : choice
    case .text: return try text(definition, value)
    }
  }

  private static func text(_ definition: SettingDefinition, _ value: String) throws(SQLError) -> String {
    switch definition.name {
    case "TimeZone": return try TimeZone.named(value).name
    case "DateStyle": return try DateStyleSetting(value).text
    default: return value
    }
  }

  private static let units: [String: (String, Int64)] = [
    "us": ("ms", 0), "ms": ("ms", 1), "s": ("ms", 1000), "min": ("ms", 60_000), "h": ("ms", 3_600_000),
    "d": ("ms", 86_400_000), "B": ("kB", 0), "kB": ("kB", 1), "MB": ("kB", 1024), "GB": ("kB", 1 << 20),
    "TB": ("kB", 1 << 30),
  ]

  static func parseInteger(_ text: String, unit: String) -> Int64? {
    let trimmed = text.split(separator: " ").joined()
    let digits = trimmed.prefix { $0.isNumber || $0 == "-" || $0 == "." }
    guard let number = Double(digits), abs(number) < 1e15 else { return nil }
    let suffix = String(trimmed.dropFirst(digits.count))
    if suffix.isEmpty { return Int64(number.rounded()) }
    guard let (base, factor) = units[suffix], base == unit, factor > 0 else { return nil }
    return Int64((number * Double(factor)).rounded())
  }

  /// As SHOW prints it: in the largest unit that divides it.
  static func format(_ number: Int64, unit: String) -> String {
    if number <= 0 || unit.isEmpty { return "\(number)" }
    let scale: [(String, Int64)] =
      unit == "ms"
      ? [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)]
      : [("TB", 1 << 30), ("GB", 1 << 20), ("MB", 1024), ("kB", 1)]
    for (suffix, factor) in scale where number % factor == 0 { return "\(number / factor)\(suffix)" }
    return "\(number)\(unit)"
  }

  mutating func set(_ name: String, _ value: String) { values[name.lowercased()] = value }
  mutating func reset(_ name: String) { values[name.lowercased()] = initial[name.lowercased()] }
  mutating func restore(_ values: [String: String]) { self.values = values }
  func initialValue(_ name: String) -> String? { initial[name.lowercased()] }
  /// What RESET goes back to.
  mutating func setInitial(_ name: String, _ value: String) {
    initial[name.lowercased()] = value
    values[name.lowercased()] = value
  }

  /// The schemas of search_path, without those that stand for nothing.
  func searchPath(user: String) -> [String] {
    (value("search_path") ?? "public").split(separator: ",").compactMap { part in
      var name = part.drop { $0 == " " }
      while name.last == " " { name.removeLast() }
      if name.first == "\"", name.last == "\"", name.count >= 2 {
        name = name.dropFirst().dropLast()
      } else {
        return name == "$user" ? user : name.lowercased()
      }
      return name == "$user" ? user : String(name)
    }
  }

  /// How values are read and printed.
  func textFormat() -> TextFormat {
    var format = TextFormat()
    format.timeZone = (try? TimeZone.named(value("timezone") ?? "UTC")) ?? .utc
    format.extraFloatDigits = Int(integer("extra_float_digits"))
    format.byteaHex = value("bytea_output") != "escape"
    if let style = try? DateStyleSetting(value("datestyle") ?? "ISO, MDY") {
      format.dateOrder = style.order
    }
    switch value("intervalstyle") {
    case "iso_8601": format.intervalStyle = .iso8601
    default: format.intervalStyle = .postgres
    }
    return format
  }
}

/// `DateStyle`: the order in which dates are read. Dates are always printed in ISO style.
struct DateStyleSetting {
  var order = TextFormat.DateOrder.mdy

  init(_ text: String) throws(SQLError) {
    for part in text.split(separator: ",") {
      switch part.split(separator: " ").joined().lowercased() {
      case "iso", "default": break
      case "mdy", "us", "noneuro", "noneuropean": order = .mdy
      case "dmy", "euro", "european": order = .dmy
      case "ymd": order = .ymd
      case "sql", "postgres", "german":
        throw SQLError(
          .featureNotSupported, "DateStyle \"\(part)\" is not supported", hint: "Dates are printed in ISO style.")
      default:
        throw SQLError(
          .invalidParameterValue, "invalid value for parameter \"DateStyle\": \"\(text)\"",
          detail: "Unrecognized key word: \"\(part)\".")
      }
    }
  }
  var text: String {
    let suffix =
      switch order {
      case .mdy: "MDY"
      case .dmy: "DMY"
      case .ymd: "YMD"
      }
    return "ISO, \(suffix)"
  }
}
