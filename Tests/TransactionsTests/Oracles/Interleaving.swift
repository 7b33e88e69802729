import Encoding
import Storage
import Testing
import Transactions

// Runs small transactions step by step on one thread, in a given order, and records what each saw. A step that has to wait
// leaves the turn to the others and is finished when its lock is granted.

/// One step of a program. Keys 0… are single letters behind a prefix that differs from run to run.
enum Step: Hashable, CustomStringConvertible {
  case read(Int)
  /// UPDATE: locks, and writes if the key exists (from repeatable read on nothing can have changed).
  case update(Int)
  /// INSERT: locks, looks, writes if it is absent.
  case insert(Int)
  /// INSERT … ON CONFLICT DO UPDATE.
  case upsert(Int)
  /// DELETE of one row: looks, and locks and deletes if it is there.
  case delete(Int)
  case scan(Int, Int)
  /// UPDATE … WHERE key >= lower AND key < upper as one statement, which is run again over a newer snapshot if need be:
  /// looks (one key is asked for, several are passed over), and locks and writes each row that is there.
  case modify(Int, Int)
  /// Deletes an interval without looking.
  case clear(Int, Int)
  case savepoint
  case rollback

  var isRead: Bool {
    switch self {
    case .read, .scan, .savepoint, .rollback: true
    default: false
    }
  }

  /// The keys that it touches; nil: unknown.
  var keys: Range<Int>? {
    switch self {
    case .read(let key), .update(let key), .insert(let key), .upsert(let key), .delete(let key): key..<key + 1
    case .scan(let lower, let upper), .modify(let lower, let upper), .clear(let lower, let upper): lower..<upper
    case .savepoint: 0..<0
    case .rollback: nil
    }
  }

  var description: String {
    switch self {
    case .read(let key): "r\(key)"
    case .update(let key): "w\(key)"
    case .insert(let key): "i\(key)"
    case .upsert(let key): "u\(key)"
    case .delete(let key): "d\(key)"
    case .scan(let lower, let upper): "s\(lower)-\(upper)"
    case .modify(let lower, let upper): "m\(lower)-\(upper)"
    case .clear(let lower, let upper): "c\(lower)-\(upper)"
    case .savepoint: "sp"
    case .rollback: "rb"
    }
  }
}

/// A finished run.
struct RunResult {
  var committed = History(initial: [], transactions: [])
  /// Histories in which an aborted transaction is counted as if it had committed where it was aborted.
  var cycleAborts: [History] = []
  var concurrentUpdates = 0
  var deadlocks = 0
  var commits = 0
  var undecided = 0
  /// First updater won although nothing that the loser had read has changed.
  var unneeded = 0
  var moves = 0
}

final class Interleaver {
  private(set) var database: TestDatabase
  private let options: TransactionManagerOptions
  let isolation: IsolationLevel
  let isHeld: Bool
  private var run: UInt64 = 0
  private var nextValue = 0
  private var commitCount = 0
  private var moves: UInt64 = 0

  init(_ isolation: IsolationLevel, isHeld: Bool = false, options: TransactionManagerOptions = .init()) throws {
    self.isolation = isolation
    self.isHeld = isHeld
    self.options = options
    database = try Interleaver.makeDatabase(isHeld, options)
  }

  private static func makeDatabase(_ isHeld: Bool, _ options: TransactionManagerOptions) throws -> TestDatabase {
    try TestDatabase(isHeld ? .held : .inline, yields: false, memtableSizeBytes: 8 << 20, options: options)
  }

  final class Actor {
    /// Explorations add to it as they go.
    var program: [Step]
    /// Says so when it begins.
    var isReader = false
    var transaction: Transaction?
    var recorded = RecordedTransaction()
    var next = 0
    var isBlocked = false
    var isGranted = false
    var isOver = false
    /// Why it was aborted.
    var failure: String?
    var marks: [Savepoint] = []
    /// The rows that a statement has found and not yet changed, and what it will be recorded as.
    var rows: [RecordedTransaction.Row] = []
    var statement: [RecordedTransaction.Operation]?
    init(_ program: [Step]) { self.program = program }
  }

  /// Runs the programs; `schedule` names whose step comes next. A program of n steps has n + 1 turns (the last commits),
  /// or n + 2 with a held log (the last delivers the oldest commit).
  func run(_ programs: [[Step]], _ schedule: [Int], keyCount: Int, present: Set<Int>) throws -> RunResult {
    var result = try prepare(keyCount: keyCount, present: present)
    let actors = programs.map(Actor.init)
    // Every other run declares its readers: they may get a safe snapshot.
    for actor in actors { actor.isReader = run % 2 == 0 && actor.program.allSatisfy(\.isRead) }
    for index in schedule { try turn(actors[index], &result) }
    // Those who were blocked at their turn.
    var isMoving = true
    while isMoving {
      isMoving = false
      for actor in actors where !actor.isOver && !(actor.isBlocked && !actor.isGranted) {
        try turn(actor, &result)
        isMoving = true
      }
      if isHeld && !isMoving && !actors.allSatisfy(\.isOver) {
        database.log.deliver()
        isMoving = actors.contains { $0.isGranted && !$0.isOver }
      }
    }
    finish(actors, &result)
    return result
  }

  /// Rows of its own for the next run.
  func prepare(keyCount: Int, present: Set<Int>) throws -> RunResult {
    run += 1
    // What earlier runs have written lies on the disk, that is in memory.
    if run % 50_000 == 0 {
      database.expectEmpty()
      database = try Interleaver.makeDatabase(isHeld, options)
    }
    var result = RunResult()
    let setup = try database.begin(.repeatableRead)
    var initial = [Int?](repeating: nil, count: keyCount)
    for key in present.sorted() {
      initial[key] = -1 - key
      try setup.put(bytes(key), encode(-1 - key))
    }
    // So that there is always something to commit.
    try setup.put(bytes(200), [])
    try setup.commit { _ in }
    if isHeld { database.log.deliver() }
    result.committed.initial = initial
    commitCount = 0
    moves = database.manager.refreshCount
    return result
  }

  func finish(_ actors: [Actor], _ result: inout RunResult) {
    if isHeld { database.log.deliver() }
    precondition(actors.allSatisfy(\.isOver), "a transaction is stuck")
    result.moves = Int(database.manager.refreshCount - moves)
  }

  /// The actor's next step, or its commit, if it does not wait; with a held log and an actor that is over, a delivery.
  func turn(_ actor: Actor, _ result: inout RunResult) throws {
    if actor.isOver {
      // With a held log: the turn that delivers.
      if isHeld { database.log.deliver(1) }
      return
    }
    if actor.isBlocked && !actor.isGranted { return }
    do {
      if actor.transaction == nil {
        var options = TransactionOptions(isolation: isolation)
        options.isReadOnly = actor.isReader
        let transaction = try database.manager.begin(options)
        try transaction.beginStatement()
        actor.recorded.snapshot = try transaction.snapshot.rawValue
        actor.transaction = transaction
      }
      if actor.next == actor.program.count {
        try commit(actor, &result)
      } else if try perform(actor.program[actor.next], actor) {
        actor.next += 1
        actor.isBlocked = false
        actor.isGranted = false
      }
    } catch let error as TransactionError {
      abort(actor, error, &result)
    }
  }

  private func commit(_ actor: Actor, _ result: inout RunResult) throws {
    let transaction = actor.transaction!
    let hasWrites = transaction.hasWrites
    actor.recorded.snapshot = try transaction.snapshot.rawValue
    commitCount += 1
    actor.recorded.commitOrder = commitCount
    try transaction.commit { _ in }
    if hasWrites { actor.recorded.version = transaction.version.rawValue }
    actor.isOver = true
    result.commits += 1
    result.committed.transactions.append(actor.recorded)
  }

  private func abort(_ actor: Actor, _ error: TransactionError, _ result: inout RunResult) {
    actor.isOver = true
    switch error {
    case .serializationFailure(let failure):
      switch failure.reason {
      case .concurrentUpdate:
        result.concurrentUpdates += 1
        actor.failure = "update"
        if !hasChanged(actor, result.committed) { result.unneeded += 1 }
      case .cycle:
        actor.failure = "cycle"
        var history = result.committed
        history.transactions.append(actor.recorded)
        result.cycleAborts.append(history)
      case .undecided, .rightOfWay: result.undecided += 1
      }
    case .deadlock:
      result.deadlocks += 1
      actor.failure = "deadlock"
    default: fatalError("unexpected error \(error)")
    }
    actor.transaction!.rollback()
  }

  /// Whether anything that an unfinished transaction has read in earlier steps was written after its snapshot.
  private func hasChanged(_ actor: Actor, _ committed: History) -> Bool {
    guard let snapshot = try? actor.transaction?.snapshot.rawValue else { return false }
    return committed.transactions.contains { other in
      guard let version = other.version, version > snapshot else { return false }
      return other.finalWrites.contains { actor.recorded.hasRead($0.key) }
    }
  }

  /// False if it waits.
  private func modify(_ lower: Int, _ upper: Int, _ actor: Actor) throws -> Bool {
    let transaction = actor.transaction!
    while true {
      do {
        if actor.statement == nil {
          _ = transaction.openStatement()
          try look(lower, upper, actor)
        }
        while let row = actor.rows.first {
          actor.isBlocked = false
          actor.isGranted = false
          guard try lock(row.key, actor) else { return false }
          actor.rows.removeFirst()
          nextValue += 1
          actor.statement!.append(.write(key: row.key, value: nextValue))
          try transaction.put(bytes(row.key), encode(nextValue))
        }
        actor.recorded.operations += actor.statement!
        actor.statement = nil
        transaction.closeStatement()
        return true
      } catch let error as TransactionError {
        actor.statement = nil
        actor.rows = []
        switch try transaction.repeatStatement(hasAnswered: false) {
        case .again: continue
        case .refused(let refusal):
          transaction.closeStatement()
          throw refusal
        case .unrelated:
          transaction.closeStatement()
          throw error
        }
      }
    }
  }

  private func look(_ lower: Int, _ upper: Int, _ actor: Actor) throws {
    let transaction = actor.transaction!
    if upper == lower + 1 {
      let value = try transaction.get(bytes(lower)).map(decode)
      actor.rows = value.map { [.init(key: lower, value: $0)] } ?? []
      actor.statement = [.read(key: lower, value: value)]
    } else {
      actor.rows = try scan(lower, upper, transaction)
      actor.statement = [.scan(lower: lower, upper: upper, rows: actor.rows)]
    }
  }

  private func scan(_ lower: Int, _ upper: Int, _ transaction: Transaction) throws -> [RecordedTransaction.Row] {
    let cursor = try transaction.cursor(KeyRange(lower: bytes(lower), upper: bytes(upper)))
    defer { cursor.close() }
    var rows: [RecordedTransaction.Row] = []
    while try cursor.next() { rows.append(.init(key: Int(cursor.key[8]), value: decode(Array(cursor.value)))) }
    return rows
  }

  /// False if it waits.
  private func perform(_ step: Step, _ actor: Actor) throws -> Bool {
    let transaction = actor.transaction!
    switch step {
    case .read(let key):
      let value = try transaction.get(bytes(key)).map(decode)
      actor.recorded.operations.append(.read(key: key, value: value))
    case .scan(let lower, let upper):
      let rows = try scan(lower, upper, transaction)
      actor.recorded.operations.append(.scan(lower: lower, upper: upper, rows: rows))
    case .modify(let lower, let upper): return try modify(lower, upper, actor)
    case .update(let key):
      // Reads as UPDATE does, to learn whether the row is there; writes blindly otherwise.
      guard try lock(key, actor) else { return false }
      write(key, actor)
      try transaction.put(bytes(key), encode(nextValue))
    case .insert(let key), .upsert(let key):
      guard try lock(key, actor) else { return false }
      let value = try transaction.getLatest(bytes(key)).map(decode)
      actor.recorded.operations.append(.read(key: key, value: value))
      if case .insert = step, value != nil { return true }
      write(key, actor)
      try transaction.put(bytes(key), encode(nextValue))
    case .delete(let key):
      if !actor.isBlocked {
        let value = try transaction.get(bytes(key)).map(decode)
        actor.recorded.operations.append(.read(key: key, value: value))
        if value == nil { return true }
      }
      guard try lock(key, actor) else { return false }
      actor.recorded.operations.append(.write(key: key, value: nil))
      try transaction.delete(bytes(key))
    case .clear(let lower, let upper):
      for key in lower..<upper { actor.recorded.operations.append(.write(key: key, value: nil)) }
      try transaction.deleteRange(bytes(lower), bytes(upper))
    case .savepoint:
      actor.marks.append(transaction.savepoint())
      actor.recorded.operations.append(.savepoint)
    case .rollback:
      guard let mark = actor.marks.last else { return true }
      transaction.rollback(to: mark)
      actor.recorded.operations.append(.rollback)
    }
    return true
  }

  private func lock(_ key: Int, _ actor: Actor) throws -> Bool {
    nonisolated(unsafe) let waiting = actor
    let outcome = try bytes(key).withUnsafeBytes { key in
      try actor.transaction!.lock(key, .update, .wait) { _ in waiting.isGranted = true }
    }
    if outcome == nil { actor.isBlocked = true }
    return outcome != nil
  }

  private func write(_ key: Int, _ actor: Actor) {
    nextValue += 1
    actor.recorded.operations.append(.write(key: key, value: nextValue))
  }

  private func bytes(_ key: Int) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: run >> (56 - 8 * $0)) } + [UInt8(key)]
  }
  private func encode(_ value: Int) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
  private func decode(_ bytes: [UInt8]) -> Int { bytes.withUnsafeBytes { $0.loadUnaligned(as: Int.self) } }
}

/// Every order of `counts[i]` turns of each i.
func forEachSchedule(_ counts: [Int], _ body: ([Int]) throws -> Void) rethrows {
  var left = counts
  var schedule: [Int] = []
  func extend() throws {
    var isComplete = true
    for index in left.indices where left[index] > 0 {
      isComplete = false
      left[index] -= 1
      schedule.append(index)
      try extend()
      schedule.removeLast()
      left[index] += 1
    }
    if isComplete { try body(schedule) }
  }
  try withoutActuallyEscaping(body) { _ in try extend() }
}
