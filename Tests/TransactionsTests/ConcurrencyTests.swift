import Encoding
import Foundation
import Platform
import Storage
import Synchronization
import Testing
import Transactions

// Random histories by real threads: lists that are appended to, registers, and predicate reads over both. Each value tells
// who wrote it, so that the checker can rebuild the order of versions and every dependency, and look for a cycle. It knows
// nothing of snapshots or of how the certifier works.
//
// SYNOD_HISTORY_SECONDS=n runs rounds of some seconds each until n seconds are over, for each kind and level, instead of
// one short round: tools/isolation histories.

/// How many rounds of a history test are run.
struct HistoryRounds {
  private static let seconds = ProcessInfo.processInfo.environment["SYNOD_HISTORY_SECONDS"].flatMap { Double($0) }
  static let isLong = seconds != nil
  private let deadline: ContinuousClock.Instant?
  private(set) var count = 0

  init() { deadline = HistoryRounds.seconds.map { .now + .seconds($0) } }

  /// The seed of the next round, or nil when there have been enough.
  mutating func next() -> UInt64? {
    guard count == 0 || deadline.map({ ContinuousClock.now < $0 }) ?? false else { return nil }
    count += 1
    return UInt64(count)
  }
}

/// One committed transaction as the client saw it.
struct ClientTransaction: Sendable {
  enum Operation: Sendable {
    /// A list read: the identifiers of the writers in order.
    case list(key: Int, [Int])
    case append(key: Int)
    /// An interval read: for each key found the list.
    case scan(lower: Int, upper: Int, [Int: [Int]])
  }
  var id: Int
  var operations: [Operation]
  /// Nil: it wrote nothing.
  var version: UInt64?
}

/// Adya's graph from lists alone: a list names all writers of its key in order.
struct HistoryChecker {
  let transactions: [ClientTransaction]

  /// The graph of all dependencies.
  func graph() -> DependencyGraph {
    var final: [Int: [Int]] = [:]
    func note(_ key: Int, _ list: [Int]) {
      if list.count > final[key, default: []].count { final[key] = list }
    }
    for transaction in transactions {
      for operation in transaction.operations {
        switch operation {
        case .list(let key, let list): note(key, list)
        case .scan(_, _, let lists): for (key, list) in lists { note(key, list) }
        case .append: break
        }
      }
    }
    var graph = DependencyGraph()
    var versions: [Int: UInt64] = [:]
    for transaction in transactions { versions[transaction.id] = transaction.version }
    for transaction in transactions {
      var newestRead: UInt64 = 0
      func note(_ list: [Int]?) {
        if let version = list?.last.flatMap({ versions[$0] }) { newestRead = max(newestRead, version) }
      }
      for operation in transaction.operations {
        switch operation {
        case .list(_, let list): note(list)
        case .scan(_, _, let lists): for list in lists.values { note(list) }
        case .append: break
        }
      }
      graph.add(
        transaction.id, version: transaction.version ?? newestRead, isReader: transaction.version == nil)
    }
    for list in final.values {
      for (first, second) in zip(list, list.dropFirst()) { graph.connect(first, second, .writeWrite) }
    }
    func read(_ reader: Int, _ key: Int, _ list: [Int]) {
      // Own appends at the end do not count.
      let others = list.last == reader ? list.dropLast() : list[...]
      if let last = others.last { graph.connect(last, reader, .writeRead) }
      let order = final[key] ?? []
      if others.count < order.count { graph.connect(reader, order[others.count], .readWrite) }
    }
    for transaction in transactions {
      for operation in transaction.operations {
        switch operation {
        case .list(let key, let list): read(transaction.id, key, list)
        case .scan(let lower, let upper, let lists):
          for key in lower..<upper { read(transaction.id, key, lists[key] ?? []) }
        case .append: break
        }
      }
    }
    return graph
  }

  /// Every list is a prefix of the longest: nothing lost, nothing read that was not committed.
  func isConsistent() -> Bool {
    let committed = Set(transactions.map(\.id))
    var final: [Int: [Int]] = [:]
    var all: [(Int, [Int])] = []
    for transaction in transactions {
      for operation in transaction.operations {
        switch operation {
        case .list(let key, let list): all.append((key, list.filter { $0 != transaction.id }))
        case .scan(_, _, let lists):
          for (key, list) in lists { all.append((key, list.filter { $0 != transaction.id })) }
        case .append: break
        }
      }
    }
    for (key, list) in all where list.count > final[key, default: []].count { final[key] = list }
    for (key, list) in all {
      guard Array(final[key, default: []].prefix(list.count)) == list else { return false }
      guard list.allSatisfy({ committed.contains($0) }) else { return false }
    }
    return true
  }
}

@Suite(.serialized) struct ConcurrencyTests {
  static let keyCount = 10
  static let threadCount = 4

  static func key(_ key: Int) -> [UInt8] { [0x6b, UInt8(key)] }
  static func decode(_ bytes: [UInt8]) -> [Int] {
    stride(from: 0, to: bytes.count, by: 4).map { place in
      bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
    }
  }
  static func encode(_ list: [Int]) -> [UInt8] {
    list.flatMap { value in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
  }

  /// Runs `perThread` transactions on each of four threads, retrying none, and returns those that committed.
  static func history(
    _ database: TestDatabase, _ isolation: IsolationLevel, seed: UInt64, perThread: Int
  ) -> [ClientTransaction] {
    let committed = Guarded<[ClientTransaction]>([])
    let nextId = Atomic<Int>(1)
    let threads = (0..<threadCount).map { index in
      Thread {
        var random = SeededRandomness(seed: seed &* 1000 &+ UInt64(index))
        for _ in 0..<perThread {
          let id = nextId.wrappingAdd(1, ordering: .relaxed).oldValue
          if let transaction = try? attempt(database, isolation, id, &random) {
            committed.withLock { $0.append(transaction) }
          }
        }
      }
    }
    run(threads)
    // A last reader closes the lists.
    var random = SeededRandomness(seed: 0)
    _ = random.next()
    let last = try! database.begin(.repeatableRead)
    let lists = try! scan(last, 0, keyCount)
    last.rollback()
    return committed.withLock { $0 } + [
      ClientTransaction(id: 0, operations: [.scan(lower: 0, upper: keyCount, lists)])
    ]
  }

  static func run(_ threads: [Thread]) {
    let left = Atomic<Int>(threads.count)
    _ = left
    for thread in threads { thread.start() }
    for thread in threads { while !thread.isFinished { sched_yield() } }
  }

  private static func scan(_ transaction: Transaction, _ lower: Int, _ upper: Int) throws -> [Int: [Int]] {
    let cursor = try transaction.cursor(KeyRange(lower: key(lower), upper: key(upper)))
    defer { cursor.close() }
    var lists: [Int: [Int]] = [:]
    while try cursor.next() { lists[Int(cursor.key[1])] = decode(Array(cursor.value)) }
    return lists
  }

  private static func attempt(
    _ database: TestDatabase, _ isolation: IsolationLevel, _ id: Int, _ random: inout SeededRandomness
  ) throws -> ClientTransaction {
    var result = ClientTransaction(id: id, operations: [])
    var options = TransactionOptions(isolation: isolation)
    options.isReadOnly = random.oneIn(5)
    let transaction = try database.manager.begin(options)
    do {
      for _ in 0..<1 + random.below(4) {
        try transaction.beginStatement()
        if random.oneIn(3) { sched_yield() }
        let chosen = random.below(keyCount)
        switch random.below(options.isReadOnly ? 2 : 4) {
        case 0:
          let list = try transaction.get(key(chosen)).map(decode) ?? []
          result.operations.append(.list(key: chosen, list))
        case 1:
          let upper = min(keyCount, chosen + 1 + random.below(4))
          result.operations.append(.scan(lower: chosen, upper: upper, try scan(transaction, chosen, upper)))
        default:
          _ = try transaction.lock(key(chosen), .update)
          let list = try transaction.getLatest(key(chosen)).map(decode) ?? []
          if list.last != id { try transaction.put(key(chosen), encode(list + [id])) }
          result.operations.append(.list(key: chosen, list))
          result.operations.append(.append(key: chosen))
        }
      }
      result.version = try transaction.commit()?.rawValue
      return result
    } catch {
      transaction.rollback()
      throw error
    }
  }

  @Test(arguments: [IsolationLevel.serializable, .repeatableRead])
  func randomHistories(_ isolation: IsolationLevel) throws {
    var cycles = 0
    var committed = 0
    var rounds = HistoryRounds()
    while let seed = rounds.next() {
      let database = try TestDatabase()
      let history = Self.history(database, isolation, seed: seed, perThread: HistoryRounds.isLong ? 5000 : 400)
      committed += history.count
      let checker = HistoryChecker(transactions: history)
      #expect(checker.isConsistent(), "seed \(seed)")
      let graph = checker.graph()
      if let cycle = graph.cycle([.writeWrite, .writeRead]) { Issue.record("seed \(seed): cycle \(cycle)") }
      if let cycle = graph.readSkew() { Issue.record("seed \(seed): read skew \(cycle)") }
      if let cycle = graph.cycle([.writeWrite, .writeRead, .readWrite]) {
        cycles += 1
        if isolation == .serializable { Issue.record("seed \(seed): cycle \(cycle)") }
      }
      if seed == 1 { print("history at \(isolation): \(database.manager.statistics)") }
      database.expectEmpty()
    }
    print("lists at \(isolation): \(committed) committed, \(cycles) of \(rounds.count) histories with write skew")
    // Write skew is easy to meet: were there none at this level, the checker would be blind.
    if isolation == .repeatableRead { #expect(cycles > 0) }
  }

  /// Money moves between accounts at read committed with locks: none is lost.
  @Test func transfers() throws {
    let database = try TestDatabase()
    let setup = try database.begin()
    for key in 0..<Self.keyCount { try setup.put(Self.key(key), Self.encode([1000])) }
    try setup.commit()
    let deadlocks = Atomic<Int>(0)
    let threads = (0..<Self.threadCount).map { index in
      Thread {
        var random = SeededRandomness(seed: UInt64(index) + 50)
        for _ in 0..<300 {
          let from = random.below(Self.keyCount)
          let to = (from + 1 + random.below(Self.keyCount - 1)) % Self.keyCount
          while true {
            let transaction = try! database.begin(.readCommitted)
            do {
              for (key, change) in [(from, -1), (to, 1)] {
                try transaction.beginStatement()
                _ = try transaction.lock(Self.key(key), .noKeyUpdate)
                let balance = try Self.decode(transaction.getLatest(Self.key(key))!)[0]
                sched_yield()
                try transaction.put(Self.key(key), Self.encode([balance + change]))
              }
              try transaction.commit()
              break
            } catch {
              transaction.rollback()
              deadlocks.wrappingAdd(1, ordering: .relaxed)
            }
          }
        }
      }
    }
    Self.run(threads)
    let reader = try database.begin()
    var total = 0
    for key in 0..<Self.keyCount { total += try Self.decode(reader.get(Self.key(key))!)[0] }
    reader.rollback()
    #expect(total == 1000 * Self.keyCount)
    print("transfers: \(deadlocks.load(ordering: .relaxed)) deadlocks, \(database.manager.statistics)")
    database.expectEmpty()
  }

  /// Locks of all strengths, waits that end by grant, timeout, cancellation, deadlock and rollback to a savepoint, intervals
  /// in between: nothing is left behind, and an exclusive lock excludes.
  @Test func locksUnderTimeouts() throws {
    let database = try TestDatabase()
    let inside = (0..<4).map { _ in Guarded(0) }
    let violations = Guarded(0)
    let current = Guarded<[Transaction?]>([Transaction?](repeating: nil, count: Self.threadCount))
    let threads = (0..<Self.threadCount).map { index in
      Thread {
        var random = SeededRandomness(seed: UInt64(index) + 90)
        for _ in 0..<600 {
          sched_yield()
          let transaction = try! database.begin(.readCommitted)
          transaction.lockTimeoutNanoseconds = UInt64(1 + random.below(200_000))
          current.withLock { $0[index] = transaction }
          let mark = transaction.savepoint()
          var held: Set<Int> = []
          for _ in 0..<1 + random.below(4) {
            let key = random.below(4)
            do {
              if random.oneIn(40) {
                try transaction.deleteRange(Self.key(key), Self.key(key + 2))
                continue
              }
              let strength = LockStrength.allCases[random.below(4)]
              _ = try transaction.lock(Self.key(key), strength)
              guard strength == .update, held.insert(key).inserted else { continue }
              let others = inside[key].withLock { count in
                count += 1
                return count
              }
              if others > 1 { violations.withLock { $0 += 1 } }
              sched_yield()
            } catch { break }
          }
          if random.oneIn(3) {
            let other = current.withLock { $0[random.below(Self.threadCount)] }
            other?.cancel()
          }
          for key in held { inside[key].withLock { $0 -= 1 } }
          if random.oneIn(2) { transaction.rollback(to: mark) }
          current.withLock { $0[index] = nil }
          transaction.rollback()
        }
      }
    }
    Self.run(threads)
    #expect(violations.withLock { $0 } == 0)
    print("locks under timeouts: \(database.manager.statistics)")
    database.expectEmpty()
  }

  /// A long transaction that is always overtaken gets through once it has the right of way.
  @Test func longTransactionsGetThrough() throws {
    let database = try TestDatabase()
    let setup = try database.begin()
    for key in 0..<Self.keyCount { try setup.put(Self.key(key), Self.encode([0])) }
    try setup.commit()
    let isOver = Atomic<Bool>(false)
    let threads = (0..<2).map { index in
      Thread {
        var random = SeededRandomness(seed: UInt64(index) + 70)
        while !isOver.load(ordering: .acquiring) {
          let transaction = try! database.begin(.serializable)
          do {
            let key = random.below(Self.keyCount)
            let value = try Self.decode(transaction.get(Self.key(key))!)[0]
            try transaction.put(Self.key(key), Self.encode([(value + 1) & 0xFFFF]))
            try transaction.commit()
          } catch { transaction.rollback() }
        }
      }
    }
    for thread in threads { thread.start() }
    var attempts = 0
    while true {
      let transaction = try database.begin(.serializable, attempts: attempts)
      do {
        var sum = 0
        for key in 0..<Self.keyCount {
          sum += try Self.decode(transaction.get(Self.key(key))!)[0]
          sched_yield()
        }
        for key in 0..<Self.keyCount { try transaction.put(Self.key(key), Self.encode([sum & 0xFFFF])) }
        try transaction.commit()
        break
      } catch {
        transaction.rollback()
        attempts += 1
        if attempts > 3 { break }
      }
    }
    isOver.store(true, ordering: .releasing)
    for thread in threads { while !thread.isFinished { sched_yield() } }
    #expect(attempts <= 3, "the right of way did not help")
    database.expectEmpty()
  }
}
