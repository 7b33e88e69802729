import Encoding
import Glibc
import Platform
import SQL
import Simulation
import Storage
import Synchronization
import Transactions

/// A database in memory: the engine over a simulated disk, a log that delivers at once, and sessions over them.
final class TestSQL {
  let engine: Engine
  let manager: TransactionManager
  let database: SQLDatabase
  private let log: InstantLog

  init(
    disk: (any Disk)? = nil, path: String = "/db", background: Bool = false,
    transactions: TransactionManagerOptions = .init()
  ) throws {
    var options = EngineOptions()
    options.background = background
    let disk = disk ?? SimulatedDisk(seed: 1)
    try disk.createDirectory(path)
    engine = try Engine.open(path, disk: disk, options: options)
    log = InstantLog()
    manager = TransactionManager(engine: engine, log: log, options: transactions)
    log.manager = manager
    var databaseOptions = SQLDatabase.Options()
    databaseOptions.disk = disk
    databaseOptions.temporaryDirectory = path
    database = try SQLDatabase(manager: manager, options: databaseOptions)
  }

  func session() -> SQLSession { database.makeSession() }
}

/// Delivers every commit at once, on the calling thread.
final class InstantLog: CommitLog, @unchecked Sendable {
  // `@unchecked`: everything is guarded by the mutex.
  private struct State {
    var appended: [(version: Version, batch: [UInt8])] = []
    var delivered = Version.zero
    var slot = Slot.zero
    var isDelivering = false
    var callbacks: [(version: Version, body: @Sendable (Result<Void, CommitError>) -> Void)] = []
  }
  private let state = Mutex(State())
  nonisolated(unsafe) weak var manager: TransactionManager?

  func append(_ batch: UnsafeRawBufferPointer, version: Version) throws(CommitError) {
    state.withLock { $0.appended.append((version, Array(batch))) }
  }

  func commit(through version: Version, durable: Bool) throws(CommitError) {
    while !state.withLock({ $0.delivered >= version }) {
      if !deliver() { sched_yield() }
    }
  }

  func whenDelivered(_ version: Version, _ body: @escaping @Sendable (Result<Void, CommitError>) -> Void) {
    while !state.withLock({ $0.delivered >= version }) {
      if !deliver() { sched_yield() }
    }
    body(.success(()))
  }

  private func deliver() -> Bool {
    let group: (slot: Slot, batches: [(version: Version, batch: [UInt8])])? = state.withLock { state in
      guard !state.isDelivering, !state.appended.isEmpty else { return nil }
      state.isDelivering = true
      state.slot = state.slot.next
      defer { state.appended = [] }
      return (state.slot, state.appended)
    }
    guard let group, let manager else { return false }
    var payload: [UInt8] = []
    for (_, batch) in group.batches {
      var count = UInt32(batch.count)
      for _ in 0..<4 {
        payload.append(UInt8(truncatingIfNeeded: count))
        count >>= 8
      }
      payload += batch
    }
    payload.withUnsafeBytes { bytes in
      do {
        try manager.deliver(
          slot: group.slot, firstVersion: group.batches[0].version, transactionCount: group.batches.count,
          payload: bytes)
      } catch { fatalError("\(error)") }
    }
    let last = group.batches[group.batches.count - 1].version
    state.withLock { state in
      state.delivered = last
      state.isDelivering = false
    }
    return true
  }
}

/// Collects results as text, in the form of the golden scripts.
final class TextSink: ResultSink {
  private(set) var lines: [String] = []
  private(set) var rowCount = 0
  private var types: [SQLType] = []
  private let format: () -> TextFormat
  private var hasRows = false
  var copyInput: [[UInt8]] = []

  init(_ session: SQLSession) { format = { [unowned session] in session.textFormat } }

  func columns(_ columns: [ColumnDescription]) throws(SQLError) {
    types = columns.map(\.type)
    lines.append(columns.map(\.name).joined(separator: " | "))
    hasRows = true
  }
  func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
    var parts: [String] = []
    for (index, value) in values.enumerated() {
      parts.append(value.isNull ? "NULL" : try TypeCodec.string(value, types[index].id, format()))
    }
    lines += parts.joined(separator: " | ").split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    rowCount += 1
  }
  func completed(_ tag: String) {
    let changes = tag.hasPrefix("INSERT") || tag.hasPrefix("UPDATE") || tag.hasPrefix("DELETE")
    if !hasRows || changes { lines.append(tag) }
    hasRows = false
  }
  func notice(_ notice: SQLNotice) { lines += TextSink.text("\(notice.severity.rawValue)", notice.content) }
  func copyOut(_ description: CopyDescription) throws(SQLError) {}
  func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError) {
    lines += String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).dropLast()
      .map(String.init)
  }
  func copyIn(_ description: CopyDescription) throws(SQLError) {}
  func nextCopyData() throws(SQLError) -> [UInt8]? { copyInput.isEmpty ? nil : copyInput.removeFirst() }

  static func text(_ severity: String, _ error: SQLError) -> [String] {
    var lines = ["\(severity) \(error.state): \(error.message)"]
    if let detail = error.detail { lines += "DETAIL: \(detail)".split(separator: "\n").map(String.init) }
    if let hint = error.hint { lines.append("HINT: \(hint)") }
    return lines
  }
}

extension SQLSession {
  /// Runs `text` and returns what it says, one line each.
  func lines(_ text: String, copy: [String] = []) -> [String] {
    let sink = TextSink(self)
    sink.copyInput = copy.map { Array($0.utf8) }
    do {
      try execute(text, sink)
      return sink.lines
    } catch {
      return sink.lines + TextSink.text("ERROR", error)
    }
  }
}
