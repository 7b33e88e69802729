internal import Encoding
internal import Storage
internal import Synchronization
internal import Transactions

// What became of a transaction, for a client that was not told: by the transaction's number, or by a key of the client's.
//
//   07 01 · transaction number, u64 big endian        → when it committed, i64 µs since 2000, little endian
//   07 02 · role, UTF-8 · 00 · key, UTF-8             → when, i64 · transaction number, i64 (0: none) · command tag, UTF-8
//   07 03                                             → the first number whose outcome is kept, i64
//
// The entry is written by the transaction itself, in its own batch: it is there exactly if the transaction committed, on
// every node and after every failover. Numbers come from a sequence that is reserved through the log (SequenceStore), so no
// two transactions of a cluster ever have the same, whoever leads. A transaction has a number only if it asks for one.
//
//   key set, and …                            a single statement             BEGIN, or SET LOCAL in a block
//   nobody committed under it                 runs                           runs
//   somebody is about to                      waits for them                 waits for them
//   somebody committed under it               is not run; its first answer   SY001, with when and as what
//
// 1. Under one key of one role at most one transaction commits while the key is kept: it is locked from the beginning.
// 2. Outcomes are kept for a day by the leader's clock, then swept, some at a time, after a commit that wrote one.

/// What was committed under a key.
struct KeyedOutcome {
  var time: Int64
  var transaction: Int64
  var tag: String
}

/// Outcomes, and the numbers of transactions.
package final class OutcomeStore: Sendable {
  static let space: UInt8 = 7
  /// How long an outcome is kept, in microseconds.
  static let retention: Int64 = 24 * 3600 * 1_000_000
  private static let sweepInterval: Int64 = 600 * 1_000_000
  private static let sweepLimit = 20_000
  static let largestKeySizeBytes = 255
  /// The sequence of transaction numbers.
  static let sequence = ObjectID(2)
  static let rule: SequenceStore.Rule = {
    var rule = SequenceStore.Rule()
    rule.reservation = 64
    return rule
  }()

  private let manager: TransactionManager
  private let open: Mutex<Set<Int64>> = Mutex([])
  private let lastSweep = Atomic<Int64>(0)
  private let sweptTo: Mutex<[UInt8]> = Mutex([])

  init(manager: TransactionManager) { self.manager = manager }

  static func key(_ number: Int64) -> [UInt8] {
    [space, 1] + stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> Int64($0)) }
  }
  static func key(_ role: String, _ key: String) -> [UInt8] { [space, 2] + Array(role.utf8) + [0] + Array(key.utf8) }
  private static let horizonKey: [UInt8] = [space, 3]

  static func encode(_ outcome: KeyedOutcome) -> [UInt8] {
    var writer = ByteWriter(capacity: 32)
    writer.append(integer: outcome.time)
    writer.append(integer: outcome.transaction)
    return writer.bytes + Array(outcome.tag.utf8)
  }

  static func decode(_ bytes: [UInt8]) -> KeyedOutcome? {
    guard bytes.count >= 16 else { return nil }
    return KeyedOutcome(
      time: integer(bytes, 0), transaction: integer(bytes, 8), tag: String(decoding: bytes[16...], as: UTF8.self))
  }

  static func integer(_ bytes: [UInt8], _ at: Int) -> Int64 {
    guard bytes.count >= at + 8 else { return 0 }
    return Int64(bitPattern: (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) })
  }

  func began(_ number: Int64) { open.withLock { _ = $0.insert(number) } }
  func ended(_ number: Int64) { open.withLock { _ = $0.remove(number) } }

  /// As `txid_status` says; nil: it is no longer known.
  func status(_ number: Int64, last: Int64) throws(SQLError) -> String? {
    guard number > 0 && number <= last else {
      throw SQLError(.invalidParameterValue, "transaction ID \(number) is in the future")
    }
    if open.withLock({ $0.contains(number) }) { return "in progress" }
    let transaction = try sqlErrors { () throws(TransactionError) in
      try manager.begin(TransactionOptions(isReadOnly: true))
    }
    defer { transaction.rollback() }
    return try sqlErrors { () throws(TransactionError) in
      if try transaction.get(Self.key(number)) != nil { return "committed" }
      let horizon = try transaction.get(Self.horizonKey).map { Self.integer($0, 0) } ?? 0
      return number < horizon ? nil : "aborted"
    }
  }

  /// Deletes what has been kept long enough, if nobody has looked for a while.
  func sweep(now: Int64) {
    let before = lastSweep.load(ordering: .relaxed)
    guard now - before > Self.sweepInterval,
      lastSweep.compareExchange(expected: before, desired: now, ordering: .relaxed).exchanged, before != 0
    else { return }
    // What cannot be swept now is swept next time.
    do throws(TransactionError) {
      try sweepNumbers(before: now - Self.retention)
      try sweepKeys(before: now - Self.retention)
    } catch {}
  }

  private func sweepNumbers(before limit: Int64) throws(TransactionError) {
    let transaction = try manager.begin()
    defer { transaction.rollback() }
    let cursor = try transaction.cursor(KeyRange(lower: [Self.space, 1], upper: [Self.space, 2]), isRemembered: false)
    var last: Int64?
    var count = 0
    while count < Self.sweepLimit, try cursor.next() {
      // Numbers ascend with time, nearly; what is late is swept next time.
      guard unsafe Self.integer([UInt8](cursor.value), 0) < limit else { break }
      last = unsafe [UInt8](cursor.key).dropFirst(2).reduce(Int64(0)) { $0 << 8 | Int64($1) }
      count += 1
    }
    cursor.close()
    guard let last else { return }
    try transaction.deleteRange([Self.space, 1], Self.key(last + 1))
    var writer = ByteWriter(capacity: 8)
    writer.append(integer: last + 1)
    try transaction.put(Self.horizonKey, writer.bytes)
    try transaction.commit()
  }

  private func sweepKeys(before limit: Int64) throws(TransactionError) {
    let start = sweptTo.withLock { $0.isEmpty ? [Self.space, 2] : $0 }
    let transaction = try manager.begin()
    defer { transaction.rollback() }
    let cursor = try transaction.cursor(KeyRange(lower: start, upper: [Self.space, 3]), isRemembered: false)
    var old: [[UInt8]] = []
    var count = 0
    var next: [UInt8] = []
    while try cursor.next() {
      if count == Self.sweepLimit {
        next = unsafe [UInt8](cursor.key)
        break
      }
      count += 1
      if unsafe Self.integer([UInt8](cursor.value), 0) < limit { old.append(unsafe [UInt8](cursor.key)) }
    }
    cursor.close()
    for key in old {
      _ = try transaction.lock(key, .update, .wait)
      try transaction.delete(key)
    }
    if !old.isEmpty { try transaction.commit() }
    sweptTo.withLock { $0 = next }
  }
}

extension SQLSession {
  /// The open transaction's number; it gets one if it has none.
  func transactionNumber() throws(SQLError) -> Int64 {
    if let number = assignedNumber { return number }
    guard transaction?.isReadOnly != true else {
      throw SQLError(
        .readOnlyTransaction, "cannot assign a transaction ID in a read-only transaction",
        hint: "txid_current_if_assigned() asks without assigning.")
    }
    let number = try database.sequences.next(OutcomeStore.sequence, OutcomeStore.rule, name: "transaction ids")
    assignedNumber = number
    database.outcomes.began(number)
    return number
  }

  /// What is known of the outcome of a transaction by its number.
  func transactionStatus(_ number: Int64) throws(SQLError) -> String? {
    let last = try database.sequences.current(OutcomeStore.sequence, OutcomeStore.rule)
    return try database.outcomes.status(number, last: last.last)
  }

  /// Locks the session's key for the open transaction, and says what was committed under it before.
  func settleKey() throws(SQLError) -> KeyedOutcome? {
    guard let transaction, let key = settings.frequent.idempotencyKey, !transaction.isReadOnly, settledKey != key else {
      return nil
    }
    guard key.utf8.count <= OutcomeStore.largestKeySizeBytes else {
      throw SQLError(.invalidParameterValue, "synod.idempotency_key is longer than 255 bytes")
    }
    let name = OutcomeStore.key(sessionUser, key)
    let bytes = try sqlErrors { () throws(TransactionError) in
      if try transaction.lock(name, .update, .wait) == .changed { try transaction.beginStatement() }
      return try transaction.getLatest(name)
    }
    settledKey = key
    return bytes.flatMap { OutcomeStore.decode($0) }
  }

  /// The same, where an outcome is an error.
  func requireNewKey() throws(SQLError) {
    guard let outcome = try settleKey() else { return }
    throw keyIsUsed(outcome)
  }

  /// What a statement that is a transaction of its own was answered before, under the session's key: it is not run again.
  func answerOfKey(
    _ statement: Syntax.Statement?, isOwn: Bool, _ sink: any ResultSink
  ) throws(SQLError) -> String? {
    guard let verb = statement?.writingVerb, let outcome = try settleKey() else { return nil }
    guard isOwn, outcome.tag.hasPrefix(verb.prefix { $0 != " " }), statement?.returnsNothing == true else {
      throw keyIsUsed(outcome)
    }
    // Whoever committed under the key may have given it back before the disk write: what is told is durable.
    try sqlErrors { () throws(TransactionError) in try transaction?.awaitDependency() }
    abandon()
    sink.notice(SQLNotice(.notice, keyIsUsed(outcome)))
    return outcome.tag
  }

  func keyIsUsed(_ outcome: KeyedOutcome) -> SQLError {
    var detail = "It ended with \(outcome.tag)."
    if outcome.transaction > 0 { detail += " Its transaction ID is \(outcome.transaction)." }
    return SQLError(
      SQLState(rawValue: "SY001"), "a transaction with this idempotency key has committed already", detail: detail,
      hint: "Nothing was done again. Set another synod.idempotency_key for another transaction.")
  }

  /// Writes what the commit that follows is to be known by.
  func noteOutcome(_ tag: String) throws(SQLError) {
    guard let transaction, !transaction.isReadOnly else { return }
    if settings.frequent.idempotencyKey != nil, transaction.hasWrites {
      try requireNewKey()
      if let key = settledKey {
        let outcome = KeyedOutcome(time: statementStart, transaction: assignedNumber ?? 0, tag: tag)
        try sqlErrors { () throws(TransactionError) in
          try transaction.put(OutcomeStore.key(sessionUser, key), OutcomeStore.encode(outcome))
        }
      }
    }
    if let number = assignedNumber {
      var writer = ByteWriter(capacity: 8)
      writer.append(integer: statementStart)
      try sqlErrors { () throws(TransactionError) in try transaction.put(OutcomeStore.key(number), writer.bytes) }
    }
  }

  /// The transaction is over.
  func forgetOutcome(committed: Bool) {
    let had = assignedNumber != nil || settledKey != nil
    guard had else { return }
    if let number = assignedNumber { database.outcomes.ended(number) }
    assignedNumber = nil
    settledKey = nil
    if committed { database.outcomes.sweep(now: statementStart) }
  }
}

extension Syntax.Statement {
  /// Whether it writes rows and answers with a tag alone.
  fileprivate var returnsNothing: Bool {
    switch self {
    case .insert(let insert): insert.returning.isEmpty
    case .update(let update): update.returning.isEmpty
    case .delete(let delete): delete.returning.isEmpty
    default: writingVerb != nil
    }
  }
}
