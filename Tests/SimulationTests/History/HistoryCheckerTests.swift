import Simulation
import Testing

/// Histories with one anomaly each, by name; and histories without any, in which one operation is then altered.
@Suite struct HistoryCheckerTests {
  typealias Level = ClientTransaction.Level
  typealias Outcome = ClientTransaction.Outcome

  /// Transactions written by hand; each runs at the same time as all others unless its times say otherwise.
  struct Script {
    var history = ClientHistory()

    mutating func add(
      _ actions: [ClientTransaction.Action], _ level: Level = .serializable, _ outcome: Outcome = .committed,
      at span: ClosedRange<UInt64> = 10...1000, session: Int? = nil,
      freshness: ClientTransaction.Freshness = .linearizable
    ) {
      var transaction = ClientTransaction(
        session: session ?? history.transactions.count, level: level, freshness: freshness, start: span.lowerBound)
      transaction.operations = actions.map { ClientTransaction.Operation($0, start: span.lowerBound) }
      transaction.end = span.upperBound
      transaction.outcome = outcome
      history.transactions.append(transaction)
    }

    func kinds(strict: Bool = true) -> Set<HistoryAnomaly.Kind> {
      var options = HistoryChecker.Options()
      options.isStrict = strict
      return Set(HistoryChecker.check(history, options).anomalies.map(\.kind))
    }
  }

  @Test func nothingIsFoundWhereNothingIs() {
    var script = Script()
    script.add([.append(key: 1, element: 11)], at: 10...20)
    script.add([.list(key: 1, [11]), .append(key: 1, element: 12), .list(key: 1, [11, 12])], at: 30...40)
    script.add([.list(key: 1, [11])], at: 15...50)
    script.history.finalLists = [1: [11, 12]]
    #expect(script.kinds().isEmpty)
  }

  @Test func ownWriteUnseen() {
    var script = Script()
    script.add([.append(key: 1, element: 11)], at: 10...20, session: 1)
    script.add([.list(key: 1, [])], .repeatableRead, at: 30...40, session: 1, freshness: .session)
    script.history.finalLists = [1: [11]]
    #expect(script.kinds() == [.ownWriteUnseen])
    // Another session may be behind.
    script.history.transactions[1].session = 2
    #expect(script.kinds().isEmpty)
    script.history.transactions[1].session = 1
    script.history.transactions[0].outcome = .unknown
    #expect(script.kinds().isEmpty)
  }

  @Test func dirtyWrite() {
    var script = Script()
    script.add([.append(key: 1, element: 11), .append(key: 2, element: 21)], .readCommitted)
    script.add([.append(key: 1, element: 12), .append(key: 2, element: 22)], .readCommitted)
    script.history.finalLists = [1: [11, 12], 2: [22, 21]]
    #expect(script.kinds() == [.dirtyWrite])
  }

  @Test func abortedRead() {
    var script = Script()
    script.add([.append(key: 1, element: 11)], .readCommitted, .failed)
    script.add([.list(key: 1, [11])], .readCommitted)
    #expect(script.kinds() == [.abortedRead])
    script.history.finalLists = [1: [11]]
    #expect(script.kinds() == [.abortedRead])
  }

  @Test func intermediateRead() {
    var script = Script()
    script.add([.append(key: 1, element: 11), .append(key: 1, element: 12)], .readCommitted)
    script.add([.list(key: 1, [11])], .readCommitted)
    script.history.finalLists = [1: [11, 12]]
    #expect(script.kinds() == [.intermediateRead])
  }

  @Test func circularFlow() {
    var script = Script()
    script.add([.append(key: 1, element: 11), .list(key: 2, [21])], .readCommitted)
    script.add([.append(key: 2, element: 21), .list(key: 1, [11])], .readCommitted)
    script.history.finalLists = [1: [11], 2: [21]]
    #expect(script.kinds() == [.circularFlow])
  }

  @Test func readSkew() {
    var script = Script()
    script.add([.append(key: 1, element: 11), .append(key: 2, element: 21)], .repeatableRead)
    script.add([.list(key: 1, [11]), .list(key: 2, [])], .repeatableRead)
    script.history.finalLists = [1: [11], 2: [21]]
    #expect(script.kinds() == [.readSkew])
    // Read committed promises less.
    script.history.transactions[1].level = .readCommitted
    #expect(script.kinds().isEmpty)
  }

  @Test func writeSkew() {
    var script = Script()
    script.add([.list(key: 1, []), .append(key: 2, element: 21)])
    script.add([.list(key: 2, []), .append(key: 1, element: 11)])
    script.history.finalLists = [1: [11], 2: [21]]
    #expect(script.kinds() == [.writeSkew])
    // Snapshot isolation allows it.
    script.history.transactions[0].level = .repeatableRead
    #expect(script.kinds().isEmpty)
  }

  @Test func lostUpdate() {
    var script = Script()
    script.add(
      [
        .read(key: 1, RegisterState(position: 0, value: 0)), .write(key: 1, RegisterState(position: 1, value: 11)),
      ], .readCommitted)
    script.add(
      [
        .read(key: 1, RegisterState(position: 0, value: 0)), .write(key: 1, RegisterState(position: 1, value: 12)),
      ], .readCommitted)
    script.history.finalRegisters = [1: RegisterState(position: 1, value: 12)]
    #expect(script.kinds().contains(.lostUpdate))
  }

  @Test func lostWrite() {
    var script = Script()
    script.add([.append(key: 1, element: 11)])
    script.add([.append(key: 1, element: 12)], .serializable, .unknown)
    script.history.finalLists = [1: []]
    #expect(script.kinds() == [.lostWrite])
    script.history.finalLists = [1: [11]]
    #expect(script.kinds().isEmpty)
    script.history.finalLists = [1: [12, 11]]
    #expect(script.kinds().isEmpty)
  }

  @Test func impossibleAndIncompatible() {
    var script = Script()
    script.add([.append(key: 1, element: 11)])
    script.add([.append(key: 1, element: 12)])
    script.history.finalLists = [1: [11, 12, 13]]
    #expect(script.kinds() == [.impossibleValue])
    script.add([.list(key: 1, [12])])
    script.history.finalLists = [1: [11, 12]]
    #expect(script.kinds() == [.incompatibleOrder])
  }

  @Test func ownWritesAreSeen() {
    var script = Script()
    script.add([.append(key: 1, element: 11), .list(key: 1, [])])
    script.history.finalLists = [1: [11]]
    #expect(script.kinds() == [.internalRead])
  }

  @Test func staleReadAgainstRealTime() {
    for level in Level.allCases {
      var script = Script()
      script.add([.append(key: 1, element: 11)], level, at: 10...20)
      script.add([.list(key: 1, [])], level, at: 30...40)
      script.history.finalLists = [1: [11]]
      #expect(script.kinds().contains(.staleRead), "\(level)")
    }
  }

  /// A chain of two anti-dependencies against the order of time: serializable, not strictly.
  @Test func realTimeCycle() {
    var script = Script()
    script.add([.append(key: 1, element: 11)], at: 20...30)
    script.add([.list(key: 1, []), .append(key: 2, element: 21)], at: 10...100)
    script.add([.list(key: 2, [])], at: 40...50)
    script.history.finalLists = [1: [11], 2: [21]]
    #expect(script.kinds() == [.realTimeCycle])
    #expect(script.kinds(strict: false).isEmpty)
  }

  @Test func boundsOfStaleness() {
    var script = Script()
    script.add([.append(key: 1, element: 11)], at: 1000...2000)
    script.add([.list(key: 1, [])], .repeatableRead, at: 5000...5100, freshness: .bounded(2500))
    script.history.finalLists = [1: [11]]
    #expect(script.kinds() == [.staleRead])
    script.history.transactions[1].freshness = .bounded(3500)
    #expect(script.kinds().isEmpty)
    script.history.transactions[1].freshness = .stale
    #expect(script.kinds().isEmpty)
  }

  @Test func sessionsDoNotGoBack() {
    var script = Script()
    script.add([.append(key: 1, element: 11)])
    script.add([.list(key: 1, [11])], .repeatableRead, at: 20...30, session: 9, freshness: .stale)
    script.add([.list(key: 1, [])], .repeatableRead, at: 40...50, session: 9, freshness: .stale)
    script.history.finalLists = [1: [11]]
    #expect(script.kinds() == [.notMonotonic])
  }

  /// Two nodes that show two commits in different orders.
  @Test func longFork() {
    var script = Script()
    script.add([.append(key: 1, element: 11)])
    script.add([.append(key: 2, element: 21)])
    script.add([.list(key: 1, [11]), .list(key: 2, [])], .repeatableRead, freshness: .stale)
    script.add([.list(key: 1, []), .list(key: 2, [21])], .repeatableRead, freshness: .stale)
    script.history.finalLists = [1: [11], 2: [21]]
    #expect(script.kinds() == [.writeSkew] || script.kinds() == [.readSkew])
  }
}

/// Serial executions, in which nothing may be found; then one operation is altered, and something must be.
@Suite struct AlteredHistoryTests {
  /// A small machine that runs transactions one after the other, with times that overlap a little.
  static func serial(seed: UInt64, transactions: Int) -> ClientHistory {
    var dice = Dice(seed: seed)
    var history = ClientHistory()
    var lists: [Int: [Int]] = [:]
    var registers: [Int: RegisterState] = [:]
    for key in 100..<104 { registers[key] = RegisterState(position: 0, value: 0) }
    for key in 0..<4 { lists[key] = [] }
    for index in 0..<transactions {
      let now = UInt64(index + 1) * 100
      var transaction = ClientTransaction(
        session: index % 5, level: .serializable, start: now - UInt64(dice.below(60)))
      let chance = dice.below(10)
      transaction.outcome = chance == 0 ? .failed : chance == 1 ? .unknown : .committed
      let isApplied = transaction.outcome == .committed || (chance == 1 && dice.below(2) == 0)
      var own = lists
      var ownRegisters = registers
      for step in 0..<1 + dice.below(4) {
        let action: ClientTransaction.Action
        let list = Int(dice.below(4))
        let register = 100 + Int(dice.below(4))
        switch dice.below(4) {
        case 0:
          let element = index * 10 + Int(step) + 1
          action = .append(key: list, element: element)
          own[list]?.append(element)
        case 1: action = .list(key: list, own[list] ?? [])
        case 2: action = .read(key: register, ownRegisters[register] ?? RegisterState(position: 0, value: 0))
        default:
          let state = RegisterState(
            position: (ownRegisters[register]?.position ?? 0) + 1, value: index * 10 + Int(step) + 1)
          action = .write(key: register, state)
          ownRegisters[register] = state
        }
        transaction.operations.append(ClientTransaction.Operation(action, start: now))
      }
      transaction.end = now + UInt64(dice.below(60))
      if isApplied {
        lists = own
        registers = ownRegisters
      }
      history.transactions.append(transaction)
    }
    history.finalLists = lists
    history.finalRegisters = registers
    return history
  }

  @Test(arguments: 1...20)
  func serialHistoriesAreClean(_ seed: UInt64) {
    let verdict = HistoryChecker.check(Self.serial(seed: seed, transactions: 400))
    #expect(verdict.anomalies.isEmpty, "seed \(seed): \(verdict.anomalies.prefix(3))")
    #expect(verdict.committed > 250 && verdict.reads > 100 && verdict.unknownCommitted > 0)
  }

  /// A committed list read loses its last element, or one more element is shown: each must be seen as something.
  @Test(arguments: 1...20)
  func oneAlteredReadIsFound(_ seed: UInt64) throws {
    var history = Self.serial(seed: seed, transactions: 400)
    var places: [(transaction: Int, operation: Int, key: Int, list: [Int])] = []
    for (index, transaction) in history.transactions.enumerated() where transaction.outcome == .committed {
      guard index > 50, index < 380 else { continue }
      for (place, operation) in transaction.operations.enumerated() {
        if case .list(let key, let list) = operation.action, !list.isEmpty { places.append((index, place, key, list)) }
      }
    }
    var dice = Dice(seed: seed &+ 1000)
    let chosen = places[Int(dice.below(places.count))]
    // Long ago: what every reader of that time must have seen is missing.
    let old = Array(chosen.list.prefix(chosen.list.count / 2))
    history.transactions[chosen.transaction].operations[chosen.operation].action = .list(key: chosen.key, old)
    #expect(!HistoryChecker.check(history).anomalies.isEmpty, "seed \(seed)")
    let final = history.finalLists[chosen.key] ?? []
    history.transactions[chosen.transaction].operations[chosen.operation].action = .list(key: chosen.key, final)
    if final.count > chosen.list.count + 3 {
      #expect(!HistoryChecker.check(history).anomalies.isEmpty, "seed \(seed), from the future")
    }
  }

  /// One acknowledged transaction's writes vanish from the end.
  @Test(arguments: 1...20)
  func oneLostTransactionIsFound(_ seed: UInt64) throws {
    var history = Self.serial(seed: seed, transactions: 300)
    let writers = history.transactions.indices.filter { index in
      history.transactions[index].outcome == .committed
        && history.transactions[index].operations.contains { if case .append = $0.action { true } else { false } }
    }
    let victim = try #require(writers.last)
    for operation in history.transactions[victim].operations {
      if case .append(let key, let element) = operation.action { history.finalLists[key]?.removeAll { $0 == element } }
    }
    #expect(HistoryChecker.check(history).anomalies.contains { $0.kind == .lostWrite }, "seed \(seed)")
  }
}
