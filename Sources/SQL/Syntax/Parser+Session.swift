/// Transactions, settings, prepared statements, cursors.
extension SQLParser {
  // MARK: Transactions

  mutating func parseTransaction() throws(SyntaxError) -> Statement {
    let position = here
    let keyword = token.keyword
    advance()
    let kind: Syntax.TransactionStatement.Kind
    switch keyword {
    case .begin:
      takeTransactionWord()
      kind = .begin(try parseTransactionModes(required: false))
    case .start:
      try expect(.transaction)
      kind = .begin(try parseTransactionModes(required: false))
    case .commit, .end:
      if keyword == .commit, at(.prepared) { throw unsupported("COMMIT PREPARED", at: position) }
      takeTransactionWord()
      kind = .commit(chain: try parseChain())
    case .savepoint: kind = .savepoint(try parseName())
    case .release:
      takeSavepointWord()
      kind = .release(try parseName())
    default:
      if keyword == .rollback, at(.prepared) { throw unsupported("ROLLBACK PREPARED", at: position) }
      takeTransactionWord()
      if keyword == .rollback, take(.to) {
        takeSavepointWord()
        kind = .rollbackTo(try parseName())
      } else {
        kind = .rollback(chain: try parseChain())
      }
    }
    return .transaction(Syntax.TransactionStatement(kind: kind, position: position))
  }

  private mutating func takeTransactionWord() {
    if !take(.work) { _ = take(.transaction) }
  }

  /// SAVEPOINT, unless it is the name.
  private mutating func takeSavepointWord() {
    if at(.savepoint), isColumnName(peek()) { advance() }
  }

  private mutating func parseChain() throws(SyntaxError) -> Bool {
    guard take(.and) else { return false }
    let no = take(.no)
    try expect(.chain)
    return !no
  }

  /// `ISOLATION LEVEL …, READ ONLY, DEFERRABLE, AS OF VERSION n`, with commas or without.
  mutating func parseTransactionModes(required: Bool) throws(SyntaxError) -> Syntax.TransactionModes {
    var modes = Syntax.TransactionModes()
    var isFirst = true
    while true {
      let comma = !isFirst && take(.comma)
      guard try parseTransactionMode(&modes) else {
        if comma || (isFirst && required) { throw unexpected() }
        return modes
      }
      isFirst = false
    }
  }

  private mutating func parseTransactionMode(_ modes: inout Syntax.TransactionModes) throws(SyntaxError) -> Bool {
    switch token.keyword {
    case .isolation:
      advance()
      try expect(.level)
      modes.isolation = try parseIsolation()
    case .read:
      advance()
      modes.readOnly = at(.only)
      guard take(.only) || take(.write) else { throw unexpected() }
    case .deferrable:
      advance()
      modes.deferrable = true
    case .not:
      guard peek().keyword == .deferrable else { return false }
      advance()
      advance()
      modes.deferrable = false
    case .as:
      guard let asOf = try parseAsOf() else { return false }
      modes.asOf = asOf
    default: return false
    }
    return true
  }

  private mutating func parseIsolation() throws(SyntaxError) -> Syntax.IsolationLevel {
    if take(.serializable) { return .serializable }
    if take(.repeatable) {
      try expect(.read)
      return .repeatableRead
    }
    try expect(.read)
    if take(.uncommitted) { return .readUncommitted }
    try expect(.committed)
    return .readCommitted
  }

  mutating func parseLock() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.lock)
    _ = take(.table)
    var lock = Syntax.LockTable(
      tables: try list { (parser) throws(SyntaxError) in try parser.parseRelationName() }, position: position)
    if take(.in) {
      var words: [String] = []
      while let keyword = token.keyword, keyword != .mode, words.count < 4 {
        words.append(keyword.text)
        guard Syntax.LockTable.Mode(rawValue: words.joined(separator: " ")) != nil || beginsMode(words) else {
          throw unexpected()
        }
        advance()
      }
      guard at(.mode), let mode = Syntax.LockTable.Mode(rawValue: words.joined(separator: " ")) else {
        throw unexpected()
      }
      advance()
      lock.mode = mode
    }
    lock.noWait = take(.nowait)
    return .lock(lock)
  }

  /// Whether a lock mode begins with these words.
  private func beginsMode(_ words: [String]) -> Bool {
    [["access"], ["row"], ["share", "update"], ["share", "row"]].contains(words)
  }

  // MARK: Settings

  mutating func parseSet() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.set)
    if at(.constraints) { return try parseSetConstraints(position) }
    if take(.local) { return try parseSetRest(isTransactionToo: .local, position) }
    if at(.session), peek().keyword == .characteristics {
      advance()
      advance()
      try expect(.as)
      try expect(.transaction)
      let modes = try parseTransactionModes(required: true)
      return .transaction(Syntax.TransactionStatement(kind: .setSession(modes), position: position))
    }
    if at(.session), !(peek().keyword == .authorization), peek().keyword != .to, peek().kind != .equals {
      advance()
    }
    return try parseSetRest(isTransactionToo: .session, position)
  }

  private mutating func parseSetRest(isTransactionToo scope: Syntax.SetSetting.Scope, _ position: Int)
    throws(SyntaxError) -> Statement
  {
    guard at(.transaction), peek().keyword != .to, peek().kind != .equals else {
      return .set(try parseSetRest(scope: scope, position))
    }
    advance()
    let kind: Syntax.TransactionStatement.Kind
    if take(.snapshot) {
      kind = .setSnapshot(try parseString())
    } else {
      kind = .setTransaction(try parseTransactionModes(required: true))
    }
    return .transaction(Syntax.TransactionStatement(kind: kind, position: position))
  }

  private mutating func parseSetConstraints(_ position: Int) throws(SyntaxError) -> Statement {
    try expect(.constraints)
    let names = take(.all) ? [] : try list { (parser) throws(SyntaxError) in try parser.parseQualifiedName() }
    let deferred = take(.deferred)
    if !deferred { try expect(.immediate) }
    return .transaction(
      Syntax.TransactionStatement(kind: .setConstraints(names, deferred: deferred), position: position))
  }

  /// After SET and its scope: a name and a value, or one of the phrases.
  mutating func parseSetRest(scope: Syntax.SetSetting.Scope, _ position: Int) throws(SyntaxError) -> Syntax.SetSetting {
    func setting(_ name: String, _ value: Syntax.SetSetting.Value) -> Syntax.SetSetting {
      Syntax.SetSetting(scope: scope, name: name, value: value, position: position)
    }
    switch token.keyword {
    case .time where peek().keyword == .zone:
      advance()
      advance()
      return setting("timezone", try parseZoneValue())
    case .catalog: throw unsupported("SET CATALOG", at: position)
    case .schema where peek().kind == .string:
      advance()
      return setting("search_path", .values([.string(try parseString())]))
    case .names:
      advance()
      guard at(.string) else {
        _ = take(.default)
        return setting("client_encoding", .defaultValue)
      }
      return setting("client_encoding", .values([.string(try parseString())]))
    case .role where peek().kind != .equals && peek().keyword != .to:
      advance()
      return setting("role", .values([.string(try parseWordOrString())]))
    case .session where peek().keyword == .authorization:
      advance()
      advance()
      if take(.default) { return setting("session_authorization", .defaultValue) }
      return setting("session_authorization", .values([.string(try parseWordOrString())]))
    case .xml where peek().keyword == .option: throw unsupported("SET XML OPTION", at: position)
    default: break
    }
    let name = try parseSettingName()
    if take(.from) {
      try expect(.current)
      return setting(name, .fromCurrent)
    }
    guard take(.to) || take(.equals) else { throw unexpected() }
    if take(.default) { return setting(name, .defaultValue) }
    return setting(name, .values(try list { (parser) throws(SyntaxError) in try parser.parseSettingValue() }))
  }

  private mutating func parseWordOrString() throws(SyntaxError) -> String {
    at(.string) ? try parseString() : try parseNonReserved()
  }

  /// `name`, `extension.name`.
  private mutating func parseSettingName() throws(SyntaxError) -> String {
    var name = try parseColumnName()
    while take(.dot) { name += "." + (try parseColumnName()) }
    return name.lowercasedASCII()
  }

  private mutating func parseSettingValue() throws(SyntaxError) -> Syntax.OptionValue {
    switch token.kind {
    case .string: return .string(try parseString())
    case .integer, .decimal, .plus, .minus: return .number(try parseNumber())
    default:
      switch token.keyword {
      case .true, .false, .on: return .word(try takeName())
      default: return .word(try parseNonReserved())
      }
    }
  }

  /// The value of `SET TIME ZONE`.
  private mutating func parseZoneValue() throws(SyntaxError) -> Syntax.SetSetting.Value {
    switch token.kind {
    case .string: return .values([.string(try parseString())])
    case .integer, .decimal, .plus, .minus: return .values([.number(try parseNumber())])
    case .identifier: return .values([.word(try takeName())])
    default: break
    }
    if take(.default) || take(.local) { return .defaultValue }
    guard at(.interval) else { throw unexpected() }
    throw unsupported("SET TIME ZONE INTERVAL", at: here, hint: "Write the offset as text: SET TIME ZONE '-08:00'.")
  }

  mutating func parseShow() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.show)
    let name: String
    if take(.all) {
      name = "all"
    } else if take(.time, .zone) {
      name = "timezone"
    } else if at(.transaction), peek().keyword == .isolation {
      advance()
      advance()
      try expect(.level)
      name = "transaction_isolation"
    } else if take(.session, .authorization) {
      name = "session_authorization"
    } else {
      name = try parseSettingName()
    }
    return .show(Syntax.Show(name: name, position: position))
  }

  mutating func parseReset() throws(SyntaxError) -> Syntax.Reset {
    let position = here
    try expect(.reset)
    let name: String?
    if take(.all) {
      name = nil
    } else if take(.time, .zone) {
      name = "timezone"
    } else if at(.transaction), peek().keyword == .isolation {
      advance()
      advance()
      try expect(.level)
      name = "transaction_isolation"
    } else if take(.session, .authorization) {
      name = "session_authorization"
    } else {
      name = try parseSettingName()
    }
    return Syntax.Reset(name: name, position: position)
  }

  mutating func parseDiscard() throws(SyntaxError) -> Statement {
    try expect(.discard)
    let what: Syntax.Discard
    switch token.keyword {
    case .all: what = .all
    case .plans: what = .plans
    case .sequences: what = .sequences
    case .temp, .temporary: what = .temporary
    default: throw unexpected()
    }
    advance()
    return .discard(what)
  }

  // MARK: Prepared statements

  mutating func parsePrepare() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.prepare)
    if at(.transaction), peek().kind == .string { throw unsupported("PREPARE TRANSACTION", at: position) }
    let name = try parseName()
    let types =
      at(.leftParen) ? try parenthesized { (parser) throws(SyntaxError) in try parser.parseTypeName() } : []
    try expect(.as)
    let outer = parameterCount
    let statement = try parsePreparable()
    parameterCount = outer
    return .prepare(Syntax.Prepare(name: name, types: types, statement: statement, position: position))
  }

  mutating func parseExecute() throws(SyntaxError) -> Syntax.Execute {
    let position = here
    try expect(.execute)
    let name = try parseName()
    return Syntax.Execute(
      name: name, arguments: at(.leftParen) ? try parseExpressionList() : [], position: position)
  }

  // MARK: Cursors

  mutating func parseDeclare() throws(SyntaxError) -> Statement {
    let position = here
    try expect(.declare)
    let name = try parseName()
    var binary = false
    var scroll: Bool?
    var insensitive: Bool?
    func conflict(_ first: String, _ second: String) -> SyntaxError {
      SyntaxError(.syntaxError, "cannot specify both \(first) and \(second)", position: position)
    }
    loop: while true {
      switch token.keyword {
      case .binary: binary = true
      case .scroll:
        if scroll == false { throw conflict("SCROLL", "NO SCROLL") }
        scroll = true
      case .no:
        advance()
        guard at(.scroll) else { throw unexpected() }
        if scroll == true { throw conflict("SCROLL", "NO SCROLL") }
        scroll = false
      case .insensitive:
        if insensitive == false { throw conflict("INSENSITIVE", "ASENSITIVE") }
        insensitive = true
      case .asensitive:
        if insensitive == true { throw conflict("INSENSITIVE", "ASENSITIVE") }
        insensitive = false
      default: break loop
      }
      advance()
    }
    try expect(.cursor)
    var hold = false
    if at(.with) || at(.without) {
      hold = at(.with)
      advance()
      try expect(.hold)
    }
    try expect(.for)
    return .declareCursor(
      Syntax.DeclareCursor(
        name: name, binary: binary, scroll: scroll, insensitive: insensitive, hold: hold, query: try parseQuery(),
        position: position))
  }

  mutating func parseFetch() throws(SyntaxError) -> Statement {
    let position = here
    let isMove = at(.move)
    advance()
    let direction = try parseFetchDirection()
    if at(.from) || at(.in) { advance() }
    return .fetch(
      Syntax.Fetch(direction: direction, cursor: try parseName(), isMove: isMove, position: position))
  }

  private mutating func parseFetchDirection() throws(SyntaxError) -> Syntax.Fetch.Direction {
    // A direction's word is a cursor's name if nothing follows it.
    let next = peek()
    let nameFollows = next.keyword == .from || next.keyword == .in || isColumnName(next)
    switch token.keyword {
    case .next where nameFollows:
      advance()
      return .forward(1)
    case .prior where nameFollows:
      advance()
      return .backward(1)
    case .first where nameFollows:
      advance()
      return .absolute(1)
    case .last where nameFollows:
      advance()
      return .absolute(-1)
    case .absolute where next.kind == .integer || next.kind == .minus || next.kind == .plus:
      advance()
      return .absolute(try parseSignedInteger())
    case .relative where next.kind == .integer || next.kind == .minus || next.kind == .plus:
      advance()
      return .relative(try parseSignedInteger())
    case .all:
      advance()
      return .forward(nil)
    case .forward, .backward:
      return try parseForward(nameFollows)
    default: break
    }
    switch token.kind {
    case .integer, .minus, .plus: return .forward(try parseSignedInteger())
    default: return .forward(1)
    }
  }

  private mutating func parseForward(_ nameFollows: Bool) throws(SyntaxError) -> Syntax.Fetch.Direction {
    let isForward = at(.forward)
    let next = peek()
    let count: Int?
    if next.keyword == .all {
      advance()
      advance()
      count = nil
    } else if next.kind == .integer || next.kind == .minus || next.kind == .plus {
      advance()
      count = try parseSignedInteger()
    } else if nameFollows {
      advance()
      count = 1
    } else {
      // A cursor named `forward`.
      return .forward(1)
    }
    return isForward ? .forward(count) : .backward(count)
  }
}

extension String {
  /// ASCII letters in lower case.
  func lowercasedASCII() -> String {
    String(decoding: utf8.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }, as: UTF8.self)
  }
}
