import Encoding
import Platform
import Simulation
import Storage
import Testing
import Transactions

/// An engine in memory, a log under control, and the transactions over them.
struct TestDatabase: Sendable {
  let engine: Engine
  let log: TestLog
  let manager: TransactionManager

  init(
    _ mode: TestLog.Mode = .inline, keepsBatches: Bool = false, yields: Bool = true, memtableSizeBytes: Int = 1 << 20,
    gate: (any SnapshotGate)? = nil, options: TransactionManagerOptions = .init()
  ) throws {
    var engineOptions = EngineOptions()
    engineOptions.background = false
    engineOptions.memtableSizeBytes = memtableSizeBytes
    let disk = SimulatedDisk(seed: 1)
    try disk.createDirectory("/db")
    engine = try Engine.open("/db", disk: disk, options: engineOptions)
    log = TestLog(mode, keepsBatches: keepsBatches, yields: yields)
    manager = TransactionManager(engine: engine, log: log, gate: gate, options: options)
    log.manager = manager
  }

  func begin(_ isolation: IsolationLevel = .repeatableRead, attempts: Int = 0) throws -> Transaction {
    try manager.begin(TransactionOptions(isolation: isolation, attempts: attempts))
  }

  /// Commits a few writes at once.
  func write(_ pairs: [String: String?]) throws {
    let transaction = try begin()
    for (key, value) in pairs.sorted(by: { $0.key < $1.key }) {
      if let value { try transaction.put(key, value) } else { try transaction.delete(Array(key.utf8)) }
    }
    try transaction.commit()
  }

  /// Nothing is left of ended transactions.
  func expectEmpty(_ location: SourceLocation = #_sourceLocation) {
    let statistics = manager.statistics
    #expect(statistics.open == 0, "open transactions", sourceLocation: location)
    #expect(statistics.lockedKeys == 0, "locked keys", sourceLocation: location)
    #expect(statistics.waiting == 0, "waiting transactions", sourceLocation: location)
    #expect(statistics.remembered == 0, "remembered transactions", sourceLocation: location)
    #expect(engine.statistics.snapshots == 0, "held snapshots", sourceLocation: location)
  }
}

extension Transaction {
  func get(_ key: String) throws -> String? {
    try get(Array(key.utf8)).map { String(decoding: $0, as: UTF8.self) }
  }
  func getLatest(_ key: String) throws -> String? {
    try getLatest(Array(key.utf8)).map { String(decoding: $0, as: UTF8.self) }
  }
  func put(_ key: String, _ value: String) throws { try put(Array(key.utf8), Array(value.utf8)) }
  func delete(_ key: String) throws { try delete(Array(key.utf8)) }
  func deleteRange(_ start: String, _ end: String) throws { try deleteRange(Array(start.utf8), Array(end.utf8)) }
  @discardableResult
  func lock(_ key: String, _ strength: LockStrength, _ wait: WaitPolicy = .wait) throws -> LockOutcome {
    try lock(Array(key.utf8), strength, wait)
  }
  /// `lock` that does not block: nil while it waits.
  func lockLater(
    _ key: String, _ strength: LockStrength = .update,
    _ body: @escaping @Sendable (Result<Void, TransactionError>) -> Void = { _ in }
  ) throws -> LockOutcome? {
    try Array(key.utf8).withUnsafeBytes { try lock($0, strength, .wait, whenGranted: body) }
  }
  /// `key=value key=value …`
  func scan(_ lower: String, _ upper: String?, reverse: Bool = false, limit: Int = .max) throws -> String {
    let cursor = try cursor(
      KeyRange(lower: Array(lower.utf8), upper: upper.map { Array($0.utf8) }), reverse: reverse)
    defer { cursor.close() }
    var result: [String] = []
    while result.count < limit, try cursor.next() {
      result.append("\(String(decoding: cursor.key, as: UTF8.self))=\(String(decoding: cursor.value, as: UTF8.self))")
    }
    return result.joined(separator: " ")
  }
}
