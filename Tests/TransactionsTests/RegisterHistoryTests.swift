import Encoding
import Foundation
import Platform
import Storage
import Synchronization
import Testing
import Transactions

// Random histories of real threads over registers: reads of keys that are there or not, reads of intervals, writes, blind or
// of what was read, statements that are run again over a newer snapshot, savepoints that are rolled back. Every value names its writer; the order of the writers of a key is the
// order of their commits. From that Adya's graph follows, and the levels' promises:
//
//   read committed    no cycle of write-write and write-read edges (G0, G1)
//   repeatable read   nor one with a single read-write edge (G-single): what is left is write skew
//   serializable      no cycle
//
// SYNOD_HISTORY_SECONDS=n as in ConcurrencyTests; SYNOD_HISTORY_MUTANTS=1 breaks the certifier in each of its ways
// and wants the cycle found.

/// A committed transaction as its client saw it.
struct RegisterTransaction: Sendable {
  /// The key and who wrote what was read; nil: absent.
  var reads: [(key: Int, writer: Int?)] = []
  var writes: Set<Int> = []
  var version: UInt64?
  var id: Int
}

struct RegisterChecker {
  private(set) var graph = DependencyGraph()
  /// Something was read that nobody wrote, or that was rolled back.
  private(set) var unknown: [Int] = []

  init(_ transactions: [RegisterTransaction]) {
    var versions: [Int: UInt64] = [:]
    var writers: [Int: [(version: UInt64, id: Int)]] = [:]
    for transaction in transactions {
      guard let version = transaction.version else { continue }
      versions[transaction.id] = version
      for key in transaction.writes { writers[key, default: []].append((version, transaction.id)) }
    }
    for transaction in transactions {
      let newestRead = transaction.reads.compactMap { $0.writer.flatMap { versions[$0] } }.max() ?? 0
      graph.add(transaction.id, version: transaction.version ?? newestRead, isReader: transaction.version == nil)
    }
    var place: [Int: [Int: Int]] = [:]
    for key in writers.keys {
      writers[key]!.sort { $0.version < $1.version }
      place[key] = Dictionary(uniqueKeysWithValues: writers[key]!.enumerated().map { ($1.id, $0) })
      for (first, second) in zip(writers[key]!, writers[key]!.dropFirst()) {
        graph.connect(first.id, second.id, .writeWrite)
      }
    }
    for transaction in transactions {
      for (key, writer) in transaction.reads where writer != transaction.id {
        var next = 0
        if let writer {
          guard let index = place[key]?[writer] else {
            unknown.append(writer)
            continue
          }
          graph.connect(writer, transaction.id, .writeRead)
          next = index + 1
        }
        let order = writers[key] ?? []
        if next < order.count { graph.connect(transaction.id, order[next].id, .readWrite) }
      }
    }
  }

  func cycle(_ kinds: Set<DependencyGraph.Kind>) -> [Int]? { graph.cycle(kinds) }
}

@Suite(.serialized) struct RegisterHistoryTests {
  static let environment = ProcessInfo.processInfo.environment

  /// Runs transactions on four threads, retrying none.
  static func history(
    _ database: TestDatabase, _ isolation: IsolationLevel, seed: UInt64, perThread: Int, keys: Int
  ) -> [RegisterTransaction] {
    let committed = Guarded<[RegisterTransaction]>([])
    let nextId = Atomic<Int>(1)
    let threads = (0..<4).map { index in
      Thread {
        var random = SeededRandomness(seed: seed &* 1000 &+ UInt64(index))
        for _ in 0..<perThread {
          let id = nextId.wrappingAdd(1, ordering: .relaxed).oldValue
          if let transaction = try? attempt(database, isolation, id, keys, &random) {
            committed.withLock { $0.append(transaction) }
          }
        }
      }
    }
    ConcurrencyTests.run(threads)
    return committed.withLock { $0 }
  }

  private static func decode(_ value: [UInt8]?) -> Int? {
    value.map { $0.reduce(0) { $0 << 8 | Int($1) } }
  }

  private static func attempt(
    _ database: TestDatabase, _ isolation: IsolationLevel, _ id: Int, _ keys: Int, _ random: inout SeededRandomness
  ) throws -> RegisterTransaction {
    var result = RegisterTransaction(id: id)
    var options = TransactionOptions(isolation: isolation)
    options.isReadOnly = random.oneIn(4)
    let transaction = try database.manager.begin(options)
    func key(_ number: Int) -> [UInt8] { [0x72, UInt8(number)] }
    let value = (0..<4).map { UInt8(truncatingIfNeeded: id >> (24 - 8 * $0)) }
    do {
      for _ in 0..<1 + random.below(5) {
        try transaction.beginStatement()
        if random.oneIn(2) { sched_yield() }
        let chosen = random.below(keys)
        switch random.below(options.isReadOnly ? 3 : 7) {
        case 0, 1:
          let mark = random.oneIn(4) ? transaction.savepoint() : nil
          result.reads.append((chosen, decode(try transaction.get(key(chosen)))))
          if let mark { transaction.rollback(to: mark) }
        case 2:
          let upper = min(keys, chosen + 1 + random.below(3))
          let cursor = try transaction.cursor(KeyRange(lower: key(chosen), upper: key(upper)))
          var found: [Int: Int] = [:]
          while try cursor.next() { found[Int(cursor.key[1])] = decode(Array(cursor.value)) }
          cursor.close()
          for number in chosen..<upper { result.reads.append((number, found[number])) }
        case 3:
          // Blind.
          try transaction.put(key(chosen), value)
          result.writes.insert(chosen)
        case 4:
          try update(transaction, chosen..<min(keys, chosen + 1 + random.below(3)), key, value, &result)
        default:
          let read = decode(try transaction.get(key(chosen)))
          if isolation > .readCommitted || read == id { result.reads.append((chosen, read)) }
          try transaction.put(key(chosen), value)
          result.writes.insert(chosen)
        }
      }
      result.version = try transaction.commit()?.rawValue
      return result
    } catch {
      transaction.rollback()
      throw error
    }
  }

  /// UPDATE of an interval as one statement, which is run again where its snapshot could be moved.
  private static func update(
    _ transaction: Transaction, _ range: Range<Int>, _ key: (Int) -> [UInt8], _ value: [UInt8],
    _ result: inout RegisterTransaction
  ) throws {
    let isOpen = transaction.openStatement()
    defer { if isOpen { transaction.closeStatement() } }
    while true {
      do {
        var found: [Int: Int] = [:]
        let cursor = try transaction.cursor(
          KeyRange(lower: key(range.lowerBound), upper: key(range.upperBound)))
        while try cursor.next() { found[Int(cursor.key[1])] = decode(Array(cursor.value)) }
        cursor.close()
        // What another one may be changing.
        if result.reads.count % 2 == 0 { sched_yield() }
        for number in found.keys.sorted() { try transaction.put(key(number), value) }
        // At read committed a row may be another one by the time that it is locked.
        if transaction.isolation > .readCommitted { result.reads += range.map { ($0, found[$0]) } }
        result.writes.formUnion(found.keys)
        return
      } catch {
        guard isOpen else { throw error }
        switch try transaction.repeatStatement(hasAnswered: false) {
        case .again: continue
        case .refused(let refusal): throw refusal
        case .unrelated: throw error
        }
      }
    }
  }

  @Test(arguments: [IsolationLevel.readCommitted, .repeatableRead, .serializable])
  func histories(_ isolation: IsolationLevel) throws {
    var skews = 0
    var committed = 0
    var tried = 0
    var rounds = HistoryRounds()
    while let seed = rounds.next() {
      let database = try TestDatabase()
      let perThread = HistoryRounds.isLong ? 8000 : 500
      let history = Self.history(database, isolation, seed: seed, perThread: perThread, keys: 8)
      let checker = RegisterChecker(history)
      committed += history.count
      tried += perThread * 4
      #expect(checker.unknown.isEmpty, "seed \(seed): read what was never committed")
      #expect(checker.cycle([.writeWrite, .writeRead]) == nil, "seed \(seed)")
      if isolation >= .repeatableRead { #expect(checker.graph.readSkew() == nil, "seed \(seed)") }
      if checker.cycle([.writeWrite, .writeRead, .readWrite]) != nil { skews += 1 }
      database.expectEmpty()
    }
    print(
      "registers at \(isolation): \(committed) of \(tried) committed, \(skews) of \(rounds.count) histories with write skew"
    )
    if isolation == .serializable { #expect(skews == 0) } else { #expect(skews > 0, "the checker sees nothing") }
  }

  /// The checker finds the certifier broken, in each of the ways in which it can be.
  @Test(
    .enabled(if: environment["SYNOD_HISTORY_MUTANTS"] == "1"),
    arguments: CertifierMutant.allCases.filter {
      ![.none, .releasesOldSnapshotFirst].contains($0)
    })
  func findsMutants(_ mutant: CertifierMutant) throws {
    var options = TransactionManagerOptions()
    options.mutant = mutant
    for round in 0..<400 {
      let database = try TestDatabase(options: options)
      let history = Self.history(
        database, .serializable, seed: UInt64(round + 1), perThread: 1000, keys: 4 + round % 3 * 4)
      let checker = RegisterChecker(history)
      if checker.cycle([.writeWrite, .writeRead, .readWrite]) != nil {
        print("mutant \(mutant): found in history \(round + 1)")
        return
      }
    }
    Issue.record("the mutant \(mutant) was not found")
  }
}
