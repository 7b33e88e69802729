import Foundation
internal import Simulation
internal import Synchronization

// What clients do while the nemesis breaks things: transactions of plain SQL whose reads tell who wrote what they saw.
//
// Two groups of tables. In group 0 every writer is serializable; in group 1 all levels write the same keys. Each has eight
// lists, of which new ones are begun when the old ones are long, and eight registers:
//
//   append     INSERT … ON CONFLICT DO UPDATE SET v = v || ',' || element
//   list       SELECT of one list, or of an interval of them (an absent list is an empty one)
//   write      UPDATE … SET v = value, n = n + 1 RETURNING n        (n is the register's version)
//   read       SELECT n, v, sometimes FOR UPDATE
//
// Writers connect to any node, and are relayed to the leader. Readers stay on one node and read its own state. What those
// do who repeat themselves under an idempotency key, or wander with a session token, is in NemesisHabits.swift.

/// The tables, and which keys are in use.
final class NemesisKeys: Sendable {
  static let groups = 2
  static let width = 8
  static let appendsPerGeneration = 160
  static let registerBase = 1_000_000

  private let appends = Mutex([Int](repeating: 0, count: NemesisKeys.groups))

  static let schema = (0..<groups).map { group in
    """
    CREATE TABLE lists\(group) (k int PRIMARY KEY, v text NOT NULL);
    CREATE TABLE registers\(group) (k int PRIMARY KEY, n int NOT NULL, v bigint NOT NULL);
    INSERT INTO registers\(group) SELECT g, 0, 0 FROM generate_series(0, \(width - 1)) g;
    """
  }.joined(separator: "\n")

  /// The first key of the lists in use.
  func firstList(_ group: Int) -> Int {
    appends.withLock { $0[group] } / Self.appendsPerGeneration * Self.width
  }

  func noteAppend(_ group: Int) { appends.withLock { $0[group] += 1 } }

  /// "1,2,3" as a list.
  static func elements(_ text: String?) -> [Int] { (text ?? "").split(separator: ",").compactMap { Int($0) } }
}

/// What all clients together did and were told.
final class NemesisRecord: Sendable {
  private struct State {
    var histories = [[ClientTransaction]](repeating: [], count: NemesisKeys.groups)
    var states: [String: Int] = [:]
    var newestBegun: UInt64 = 0
    var strangeness: [String] = []
  }
  private let state = Mutex(State())
  private let isOver = Atomic(false)
  private let sessions = Atomic(0)
  private let elements = Atomic(1)
  let committed = Atomic(0)

  func note(_ transaction: ClientTransaction, group: Int) {
    if transaction.outcome == .committed { committed.wrappingAdd(1, ordering: .relaxed) }
    state.withLock { state in
      state.histories[group].append(transaction)
      if transaction.outcome == .committed, transaction.freshness == .linearizable {
        state.newestBegun = max(state.newestBegun, transaction.start)
      }
    }
  }

  func count(_ name: String) { state.withLock { $0.states[name, default: 0] += 1 } }
  /// An answer that no server may give.
  func strange(_ text: String) { state.withLock { $0.strangeness.append(text) } }

  func newSession() -> Int { sessions.wrappingAdd(1, ordering: .relaxed).newValue }
  func newElement() -> Int { elements.wrappingAdd(1, ordering: .relaxed).oldValue }
  func stop() { isOver.store(true, ordering: .releasing) }
  var isStopped: Bool { isOver.load(ordering: .acquiring) }
  var strangeness: [String] { state.withLock { $0.strangeness } }
  var states: String {
    state.withLock { $0.states.sorted { $0.key < $1.key }.map { "\($0.key)×\($0.value)" }.joined(separator: " ") }
  }
  func history(_ group: Int) -> [ClientTransaction] { state.withLock { $0.histories[group] } }

  /// Waits until a transaction that began after a moment has committed.
  func awaitCommit(begunAfter moment: UInt64, seconds: Double) -> Bool {
    let end = Date().addingTimeInterval(seconds)
    while Date() < end {
      if state.withLock({ $0.newestBegun > moment }) { return true }
      usleep(2_000)
    }
    return false
  }
}

/// One client: a thread, a connection, one transaction after the other.
final class NemesisClient {
  enum Habit { case plain, repeatsUnderKeys, wanders }

  let cluster: ClusterProcesses
  let keys: NemesisKeys
  let record: NemesisRecord
  var dice: Dice
  private let habit: Habit
  private let freshness: ClientTransaction.Freshness
  /// The node that a reader stays with.
  private let home: Int?
  private let pauseMicroseconds: UInt32
  var connection: PlainClient?
  var session = 0
  /// What a wandering session has seen.
  var token: String?
  var keyCount = 0

  init(
    _ cluster: ClusterProcesses, _ keys: NemesisKeys, _ record: NemesisRecord, seed: UInt64, habit: Habit = .plain,
    freshness: ClientTransaction.Freshness = .linearizable, home: Int? = nil, pauseMicroseconds: UInt32 = 0
  ) {
    self.habit = habit
    self.cluster = cluster
    self.keys = keys
    self.record = record
    dice = Dice(seed: seed)
    self.freshness = freshness
    self.home = home
    self.pauseMicroseconds = pauseMicroseconds
  }

  /// Until the record says stop.
  func run() {
    while !record.isStopped {
      guard connection != nil || connect() else {
        usleep(20_000)
        continue
      }
      switch habit {
      case .plain: if freshness == .linearizable { write() } else { look(freshness) }
      case .repeatsUnderKeys: writeUnderKey()
      case .wanders: wander()
      }
      if pauseMicroseconds > 0 { usleep(pauseMicroseconds) }
    }
    connection = nil
  }

  func connect() -> Bool {
    let index = home ?? 1 + dice.below(cluster.nodes.count)
    guard let node = cluster.nodes.first(where: { $0.index == index }) else { return false }
    var parameters: [String: String] = [:]
    switch freshness {
    case .linearizable, .session: break
    case .stale: parameters["synod.read_consistency"] = "stale"
    case .bounded: parameters["synod.read_consistency"] = "bounded"
    }
    do {
      let client = try PlainClient(host: "127.0.0.1", port: node.sqlPort, parameters: parameters, timeoutSeconds: 8)
      if case .bounded(let bound) = freshness {
        _ = try client.query("SET synod.max_staleness = \(bound / 1_000_000)")
      }
      connection = client
    } catch { return false }
    session = record.newSession()
    return true
  }

  // MARK: Transactions

  /// A statement failed: nothing of the transaction is left; or the connection, or the answer to COMMIT, is gone.
  func ended(_ transaction: inout ClientTransaction, _ error: any Error, committing: Bool) {
    if let refusal = error as? PlainClient.Refused {
      record.count(refusal.state)
      // 08xxx, and the end of the session in the middle of a commit, leave it open.
      let isOpen = committing && (refusal.state.hasPrefix("08") || refusal.isFatal)
      transaction.outcome = isOpen ? .unknown : .failed
      if refusal.isFatal {
        connection = nil
      } else if !committing {
        do { _ = try connection?.query("ROLLBACK") } catch { connection = nil }
      }
    } else {
      record.count("lost")
      transaction.outcome = committing ? .unknown : .failed
      connection = nil
    }
    transaction.end = MonotonicTime.nanoseconds
  }

  /// One transaction; whether it committed.
  @discardableResult
  func write() -> Bool {
    guard let client = connection else { return false }
    let group = dice.below(NemesisKeys.groups)
    let level = group == 0 ? .serializable : ClientTransaction.Level(rawValue: dice.below(3)) ?? .serializable
    var transaction = ClientTransaction(session: session, level: level, start: MonotonicTime.nanoseconds)
    var committing = false
    do {
      let name = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"][level.rawValue]
      let isReader = dice.below(5) == 0
      _ = try client.query("BEGIN ISOLATION LEVEL \(name)\(isReader && dice.below(2) == 0 ? " READ ONLY" : "")")
      // The snapshot is the first statement's.
      transaction.start = MonotonicTime.nanoseconds
      for _ in 0..<1 + dice.below(4) {
        try step(client, group, &transaction, reading: isReader || dice.below(2) == 0)
      }
      if dice.below(24) == 0 {
        _ = try client.query("ROLLBACK")
        transaction.outcome = .failed
      } else {
        committing = true
        _ = try client.query("COMMIT")
        transaction.outcome = client.lastTag == "COMMIT" ? .committed : .failed
      }
      transaction.end = MonotonicTime.nanoseconds
    } catch { ended(&transaction, error, committing: committing) }
    record.note(transaction, group: group)
    return transaction.outcome == .committed
  }

  private func step(
    _ client: PlainClient, _ group: Int, _ transaction: inout ClientTransaction, reading: Bool
  ) throws {
    let first = keys.firstList(group)
    let start = MonotonicTime.nanoseconds
    func note(_ action: ClientTransaction.Action) {
      transaction.operations.append(ClientTransaction.Operation(action, start: start))
    }
    let key = first + dice.below(NemesisKeys.width)
    let register = dice.below(NemesisKeys.width)
    let isRegister = dice.below(2) == 0
    switch (reading, isRegister) {
    case (true, true):
      let mode = transaction.level != .serializable && dice.below(8) == 0 ? " FOR UPDATE" : ""
      try read(client, group, "WHERE k = \(register)\(mode)", note)
    case (true, false):
      if dice.below(2) == 0 {
        let rows = try rows(client, "SELECT v FROM lists\(group) WHERE k = \(key)", columns: 1)
        note(.list(key: key, NemesisKeys.elements(rows.first?.first ?? nil)))
      } else {
        try scan(client, group, key..<min(key + 1 + dice.below(4), first + NemesisKeys.width), note)
      }
    case (false, true):
      let value = record.newElement()
      let rows = try client.query(
        "UPDATE registers\(group) SET n = n + 1, v = \(value) WHERE k = \(register) RETURNING n")
      guard let text = rows.first?.first ?? nil, let position = Int(text) else {
        return record.strange("UPDATE of register \(register) touched \(rows.count) rows")
      }
      note(.write(key: NemesisKeys.registerBase + register, RegisterState(position: position, value: value)))
    case (false, false):
      let element = record.newElement()
      note(.append(key: key, element: element))
      keys.noteAppend(group)
      _ = try client.query(
        "INSERT INTO lists\(group) VALUES (\(key), '\(element)') "
          + "ON CONFLICT (k) DO UPDATE SET v = lists\(group).v || ',' || excluded.v")
    }
  }

  /// Runs a statement whose rows have so many columns. Others are another statement's answer: the end of the run.
  private func rows(_ client: PlainClient, _ sql: String, columns: Int) throws -> [[String?]] {
    let rows = try client.query(sql)
    guard rows.allSatisfy({ $0.count == columns }) else {
      record.strange("\(sql) was answered with \(rows.prefix(2)), \(client.lastTag); before: \(client.recent)")
      connection = nil
      throw PlainClient.Lost(reason: "another statement's answer")
    }
    return rows
  }

  private func scan(
    _ client: PlainClient, _ group: Int, _ interval: Range<Int>, _ note: (ClientTransaction.Action) -> Void
  ) throws {
    let rows = try rows(
      client, "SELECT k, v FROM lists\(group) WHERE k >= \(interval.lowerBound) AND k < \(interval.upperBound)",
      columns: 2)
    var found: [Int: [Int]] = [:]
    for row in rows { if let text = row[0], let key = Int(text) { found[key] = NemesisKeys.elements(row[1]) } }
    for key in interval { note(.list(key: key, found[key] ?? [])) }
  }

  private func read(
    _ client: PlainClient, _ group: Int, _ condition: String, _ note: (ClientTransaction.Action) -> Void
  ) throws {
    for row in try rows(client, "SELECT k, n, v FROM registers\(group) \(condition)", columns: 3) {
      guard let key = row[0].flatMap({ Int($0) }), let position = row[1].flatMap({ Int($0) }),
        let value = row[2].flatMap({ Int($0) })
      else { continue }
      note(.read(key: NemesisKeys.registerBase + key, RegisterState(position: position, value: value)))
    }
  }

  /// One snapshot of a node's own state.
  func look(_ freshness: ClientTransaction.Freshness) {
    guard let client = connection else { return }
    let group = dice.below(NemesisKeys.groups)
    var transaction = ClientTransaction(
      session: session, level: .repeatableRead, freshness: freshness, start: MonotonicTime.nanoseconds)
    do {
      _ = try client.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
      transaction.start = MonotonicTime.nanoseconds
      let start = transaction.start
      let note = { (action: ClientTransaction.Action) in
        transaction.operations.append(ClientTransaction.Operation(action, start: start))
      }
      let first = keys.firstList(group)
      try scan(client, group, first..<first + NemesisKeys.width, note)
      try read(client, group, "ORDER BY k", note)
      _ = try client.query("COMMIT")
      transaction.outcome = .committed
      transaction.end = MonotonicTime.nanoseconds
    } catch {
      if let refusal = error as? PlainClient.Refused, refusal.state == "57P03" { record.count("57P03 too old") }
      ended(&transaction, error, committing: false)
    }
    record.note(transaction, group: group)
    usleep(20_000)
  }
}
