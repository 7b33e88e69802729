internal import Encoding
internal import Transactions

extension SQLSession: StatementServices {
  var sessionID: UInt64 { id }
  var sequences: SequenceStore { database.sequences }
  var statistics: StatisticsStore { database.statistics }
  var workMemoryBytes: Int { Int(clamping: settings.frequent.workMemoryKibibytes) << 10 }

  func systemContext() -> SystemContext {
    SystemContext(
      catalog: (try? catalog()) ?? CatalogSnapshot(version: 0, records: [:], comments: [:]),
      sequences: database.sequences, statistics: database.statistics, searchPath: searchPath,
      database: database.options.name, user: user, sessionUser: sessionUser,
      settings: Settings.definitions.map { ($0.name, setting($0.name) ?? "", $0.description) },
      server: database.activityProvider, manager: database.manager)
  }

  func setSetting(_ name: String, _ value: String, local: Bool) throws(SQLError) -> String {
    try change(name, to: value, local: local)
    return setting(name) ?? value
  }

  func notice(_ notice: SQLNotice) { sink?.notice(notice) }

  func temporaryFile() throws(SQLError) -> TemporaryFile {
    let limit = settings.integer("temp_file_limit")
    return try database.temporaryFile(limitBytes: limit < 0 ? .max : UInt64(limit) << 10)
  }

  func pastTransaction(_ version: UInt64) throws(SQLError) -> Transaction {
    if let known = pastTransactions.first(where: { $0.version == version }) { return known.transaction }
    let database = self.database
    let id = self.id
    let past = try sqlErrors { () throws(TransactionError) in
      try database.manager.begin(
        TransactionOptions(
          isolation: .repeatableRead, isReadOnly: true, asOf: Version(version), session: id))
    }
    pastTransactions.append((version, past))
    return past
  }

  // MARK: Sequences

  private func sequence(_ id: UInt32) throws(SQLError) -> SequenceDescriptor {
    let catalog = try catalog()
    if let sequence = catalog.sequence(ObjectID(id)) { return sequence }
    if let relation = catalog.relation(ObjectID(id)) {
      throw SQLError(.wrongObjectType, "\"\(relation.name)\" is not a sequence")
    }
    throw SQLError(.undefinedTable, "relation with OID \(id) does not exist")
  }

  func sequenceCall(_ call: SequenceCall) throws(SQLError) -> Int64? {
    switch call {
    case .next(let id):
      if transaction?.isReadOnly == true {
        throw SQLError(.readOnlyTransaction, "cannot execute nextval() in a read-only transaction")
      }
      let sequence = try sequence(id)
      // The sequence of an identity column is part of its table: who may insert may number.
      if !sequence.isIdentity { try require(anyOf: [.usage, .update], on: .sequence(sequence)) }
      let value = try database.sequences.next(
        sequence.storage, SequenceStore.Rule(sequence), name: sequence.name)
      currentValues[id] = value
      lastSequence = id
      return value
    case .current(let id):
      let sequence = try sequence(id)
      try require(anyOf: [.usage, .select], on: .sequence(sequence))
      guard let value = currentValues[id] else {
        throw SQLError(
          .objectNotInState, "currval of sequence \"\(sequence.name)\" is not yet defined in this session")
      }
      return value
    case .transactionNumber(let assigns): return assigns ? try transactionNumber() : assignedNumber
    case .recall(let id, let value):
      currentValues[id] = value
      lastSequence = id
      return value
    case .last:
      guard let lastSequence, let value = currentValues[lastSequence] else {
        throw SQLError(.objectNotInState, "lastval is not yet defined in this session")
      }
      return value
    case .set(let id, let value, let isCalled):
      let sequence = try sequence(id)
      try require(anyOf: .update, on: .sequence(sequence))
      guard value >= sequence.minimum, value <= sequence.maximum else {
        throw SQLError(
          .numericOutOfRange,
          "setval: value \(value) is out of bounds for sequence \"\(sequence.name)\" (\(sequence.minimum)..\(sequence.maximum))"
        )
      }
      try database.sequences.set(sequence.storage, to: value, isCalled: isCalled)
      if isCalled { currentValues[id] = value }
      return value
    }
  }

  // MARK: Foreign keys

  func check(_ pending: [PendingCheck], _ transaction: Transaction) throws(SQLError) {
    var now: [PendingCheck] = []
    for check in pending {
      let (name, deferrable) = check.constraint
      let isDeferred = deferrable && (constraintModes[name] ?? constraintModes[""] ?? check.isDeferred)
      if isDeferred { deferredChecks.append(check) } else { now.append(check) }
    }
    guard !now.isEmpty else { return }
    try runChecks(now, transaction)
  }
}

extension PendingCheck {
  /// The constraint's name and whether it can be deferred.
  var constraint: (String, Bool) {
    switch kind {
    case .reference(_, let key, _): (key.name, key.deferrable)
    case .referenced(_, let reference, _, _): (reference.key.name, reference.key.deferrable)
    }
  }
}

/// Names of relations and roles for reg* types, through the session's catalog.
final class SessionNames: ObjectNames, @unchecked Sendable {
  // Unchecked: used by the session's thread alone. The session takes its address back when it goes (`forget`); a weak
  // reference would make every retain of the session, several for each statement, go through a side table.
  private unowned(unsafe) var session: SQLSession?
  init(_ session: SQLSession) { unsafe self.session = session }
  func forget() { unsafe session = nil }

  func name(of oid: UInt32, _ kind: TypeID) -> String? {
    guard let session = unsafe session, session.transaction != nil, let catalog = try? session.catalog() else {
      return nil
    }
    switch kind {
    case .regclass:
      guard let relation = catalog.relation(ObjectID(oid)) else { return nil }
      let name = SQLWriter.quoted(relation.name)
      if catalog.isVisible(relation, searchPath: session.searchPath) { return name }
      return SQLWriter.quoted(catalog.schema(relation.schema)?.name ?? "?") + "." + name
    case .regtype: return TypeID(oid).exists ? SQLType(TypeID(oid)).description : nil
    case .regnamespace: return catalog.schema(ObjectID(oid)).map { SQLWriter.quoted($0.name) }
    case .regrole: return catalog.role(ObjectID(oid)).map { SQLWriter.quoted($0.name) }
    case .regproc: return FunctionNumbers.name(of: Int(oid)).map { SQLWriter.quoted($0) }
    default: return nil
    }
  }

  func oid(named text: String, _ kind: TypeID) throws(SQLError) -> UInt32 {
    guard let session = unsafe session else {
      throw SQLError(.featureNotSupported, "names of objects cannot be looked up here")
    }
    if session.transaction != nil { return try oid(named: text, kind, session) }
    guard session.block != .failed else {
      throw SQLError(
        .failedTransaction, "current transaction is aborted, commands ignored until end of transaction block")
    }
    // The value of a parameter is read before its statement has a transaction.
    var found: UInt32 = 0
    try session.inTransaction { () throws(SQLError) in found = try self.oid(named: text, kind, session) }
    return found
  }

  private func oid(named text: String, _ kind: TypeID, _ session: SQLSession) throws(SQLError) -> UInt32 {
    let catalog = try session.catalog()
    switch kind {
    case .regclass:
      let name = try SQLParser.parseQualifiedName(text)
      guard let relation = try catalog.relation(name, searchPath: session.searchPath) else {
        throw SQLError(.undefinedTable, "relation \"\(name.parts.joined(separator: "."))\" does not exist")
      }
      return relation.id.rawValue
    case .regtype:
      return try TypeBinding.type(try SQLParser.parseTypeName(text)).id.rawValue
    case .regnamespace:
      let name = try SQLParser.parseQualifiedName(text).name
      guard let schema = catalog.schema(named: name) else {
        throw SQLError(.invalidSchema, "schema \"\(name)\" does not exist")
      }
      return schema.id.rawValue
    case .regrole:
      let name = try SQLParser.parseQualifiedName(text).name
      guard let role = catalog.role(named: name) else {
        throw SQLError(.undefinedObject, "role \"\(name)\" does not exist")
      }
      return role.id.rawValue
    case .regproc: return UInt32(try FunctionNumbers.number(named: try SQLParser.parseQualifiedName(text).name))
    default: throw SQLError(.featureNotSupported, "names of type \(SQLType(kind).description) are not supported")
    }
  }
}
