// Judges what clients saw against what their isolation levels promise: Adya's phenomena as cycles, in the manner of Elle
// (Kingsbury, Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", 2020).
//
//   every history     no lost, aborted, intermediate or impossible value; lists have one order; no lost update of a register
//                     whose position is counted; own writes are seen; no cycle of ww, wr and rt
//   linearizable      what was acknowledged before a statement (or snapshot) began is seen by it, at every level
//   repeatable read   no cycle without two rw edges in a row, rt included: strong snapshot isolation
//   serializable      no cycle of ww, wr, rw; and none with rt, if that is promised
//   bounded           what was acknowledged before a statement began, less the bound, is seen
//   stale, bounded,   a session never sees less than before, nor less than what it committed; all of a transaction's reads
//   session           fit one snapshot, and the snapshots of all nodes one order of commits (no long fork)
//
// Serializable is a promise among serializable transactions: `check` takes it for granted only in a history of which every
// writer is serializable, and otherwise holds those transactions to repeatable read. A read committed transaction reads at
// several places in time: its reads are judged one by one, and it takes part in the graph of snapshots as a writer.

package struct HistoryChecker {
  package struct Options: Sendable {
    /// Serializable transactions also respect the order of real time.
    package var isStrict = true
    package init() {}
  }

  package struct Verdict: Sendable {
    package var anomalies: [HistoryAnomaly] = []
    package var committed = 0
    package var failed = 0
    package var unknown = 0
    /// Of the unknown, those that turned out to have committed.
    package var unknownCommitted = 0
    package var reads = 0
    package var edges = 0
  }

  private let history: ClientHistory
  private let options: Options
  private let order: VersionOrder
  private var verdict = Verdict()

  /// Complexity: of the order of the number of operations times its logarithm, and the lengths of the lists read.
  package static func check(_ history: ClientHistory, _ options: Options = Options()) -> Verdict {
    var checker = HistoryChecker(history, options)
    return checker.run()
  }

  private init(_ history: ClientHistory, _ options: Options) {
    self.history = history
    self.options = options
    order = VersionOrder(history)
  }

  private mutating func report(_ kind: HistoryAnomaly.Kind, _ detail: String) {
    if verdict.anomalies.count < 1000 { verdict.anomalies.append(HistoryAnomaly(kind: kind, detail: detail)) }
  }

  private mutating func run() -> Verdict {
    verdict.anomalies = order.anomalies
    count()
    var reads: [[Seen]] = []
    for index in history.transactions.indices { reads.append(look(index)) }
    checkFreshness(reads)
    checkMonotonicity(reads)
    checkCycles(reads)
    return verdict
  }

  private mutating func count() {
    for (index, transaction) in history.transactions.enumerated() {
      switch transaction.outcome {
      case .committed: verdict.committed += 1
      case .failed: verdict.failed += 1
      case .unknown:
        verdict.unknown += 1
        if order.isCommitted[index] { verdict.unknownCommitted += 1 }
      }
    }
  }

  // MARK: What a transaction saw

  /// One read: how many versions of the key by others it saw.
  private struct Seen {
    var key: Int
    var position: Int
    var start: UInt64
  }

  /// Checks each read of a transaction by itself, and against the transaction's other operations.
  private mutating func look(_ index: Int) -> [Seen] {
    guard order.isCommitted[index] else { return [] }
    let transaction = history.transactions[index]
    var own: [Int: [Int]] = [:]
    var before: [Int: Int] = [:]
    var seen: [Seen] = []
    func note(_ key: Int, _ position: Int, _ start: UInt64) -> Bool {
      seen.append(Seen(key: key, position: position, start: start))
      defer { before[key] = position }
      return transaction.level == .readCommitted || before[key].map { $0 == position } ?? true
    }
    for operation in transaction.operations {
      switch operation.action {
      case .append(let key, let element): own[key, default: []].append(element)
      case .write(let key, let state): own[key] = [state.value]
      case .list(let key, let list):
        verdict.reads += 1
        let mine = own[key] ?? []
        guard list.suffix(mine.count) == mine[...] else {
          report(.internalRead, "T\(index) read list \(key) as \(list) after it appended \(mine)")
          continue
        }
        let others = list.dropLast(mine.count)
        if !checkList(index, key, others) { continue }
        if !note(key, others.count, operation.start) {
          report(.internalRead, "T\(index) read list \(key) twice and saw two states")
        }
      case .read(let key, let state):
        verdict.reads += 1
        if let mine = own[key] {
          if state.value != mine[0] {
            report(.internalRead, "T\(index) read register \(key) as \(state.value) after it wrote \(mine[0])")
          }
          continue
        }
        if !checkRegister(index, key, state) { continue }
        if !note(key, state.position, operation.start) {
          report(.internalRead, "T\(index) read register \(key) twice and saw two states")
        }
      }
    }
    return seen
  }

  private mutating func checkList(_ index: Int, _ key: Int, _ list: ArraySlice<Int>) -> Bool {
    let final = history.finalLists[key] ?? []
    guard list.count <= final.count, final.prefix(list.count) == list else {
      if let strange = list.first(where: { !final.contains($0) }) {
        report(.abortedRead, "T\(index) read \(strange) in list \(key), and it is not there in the end")
      } else {
        report(.incompatibleOrder, "T\(index) read list \(key) as \(Array(list)); in the end it is \(final)")
      }
      return false
    }
    return checkIntermediate(index, key, list.count)
  }

  private mutating func checkRegister(_ index: Int, _ key: Int, _ state: RegisterState) -> Bool {
    let values = order.values[key] ?? []
    guard state.position >= 0, state.position <= values.count else {
      report(.abortedRead, "T\(index) read version \(state.position) of register \(key); it ends with \(values.count)")
      return false
    }
    guard state.position > 0 else { return true }
    if let value = values[state.position - 1], value != state.value {
      report(
        .abortedRead, "T\(index) read \(state.value) as version \(state.position) of register \(key), not \(value)")
      return false
    }
    return checkIntermediate(index, key, state.position)
  }

  /// Whoever wrote the last version that is seen and the next one was seen in its middle.
  private mutating func checkIntermediate(_ index: Int, _ key: Int, _ position: Int) -> Bool {
    guard let writers = order.writers[key], position > 0, position < writers.count,
      let last = writers[position - 1], last == writers[position], last != index
    else { return true }
    report(.intermediateRead, "T\(index) read version \(position) of key \(key), in the middle of T\(last)")
    return false
  }

  // MARK: Freshness

  /// What was acknowledged before a statement, or the snapshot at REPEATABLE READ and above, is seen.
  private mutating func checkFreshness(_ reads: [[Seen]]) {
    var acknowledged: [Int: [(end: UInt64, position: Int)]] = [:]
    for (key, writers) in order.writers {
      var list: [(end: UInt64, position: Int)] = []
      for (place, writer) in writers.enumerated() {
        guard let writer, history.transactions[writer].outcome == .committed else { continue }
        list.append((history.transactions[writer].end, place + 1))
      }
      list.sort { $0.end < $1.end }
      var highest = 0
      for index in list.indices {
        highest = max(highest, list[index].position)
        list[index].position = highest
      }
      acknowledged[key] = list
    }
    for (index, seen) in reads.enumerated() {
      let transaction = history.transactions[index]
      let allowance: UInt64
      switch transaction.freshness {
      case .linearizable: allowance = 0
      case .bounded(let bound): allowance = bound
      case .stale, .session: continue
      }
      for read in seen {
        let start = transaction.level == .readCommitted ? read.start : transaction.start
        guard start > allowance, let list = acknowledged[read.key] else { continue }
        var low = 0
        var high = list.count
        while low < high {
          let middle = (low + high) / 2
          if list[middle].end < start - allowance { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { continue }
        let expected = list[low - 1].position
        if read.position < expected {
          let late = (start - allowance - list[low - 1].end) / 1_000_000
          report(
            .staleRead,
            "T\(index) (\(transaction.level), \(transaction.freshness)) saw \(read.position) versions of key \(read.key); \(expected) had been acknowledged \(late) ms before it was bound to see them"
          )
        }
      }
    }
  }

  private mutating func checkMonotonicity(_ reads: [[Seen]]) {
    var sessions: [Int: [Int]] = [:]
    for (index, transaction) in history.transactions.enumerated() {
      sessions[transaction.session, default: []].append(index)
    }
    let written = ownWrites()
    for (session, list) in sessions {
      var highest: [Int: Int] = [:]
      var own: [Int: Int] = [:]
      for index in list.sorted(by: { history.transactions[$0].start < history.transactions[$1].start }) {
        for read in reads[index] {
          if read.position < highest[read.key] ?? 0 {
            report(
              .notMonotonic,
              "session \(session): T\(index) saw \(read.position) versions of key \(read.key), after \(highest[read.key] ?? 0)"
            )
          }
          highest[read.key] = max(highest[read.key] ?? 0, read.position)
          if read.position < own[read.key] ?? 0 {
            report(
              .ownWriteUnseen,
              "session \(session): T\(index) saw \(read.position) versions of key \(read.key); its own was version \(own[read.key] ?? 0)"
            )
          }
        }
        guard history.transactions[index].outcome == .committed else { continue }
        for (key, position) in written[index] ?? [:] { own[key] = max(own[key] ?? 0, position) }
      }
    }
  }

  /// By transaction: the last version of each key that it wrote.
  private func ownWrites() -> [Int: [Int: Int]] {
    var written: [Int: [Int: Int]] = [:]
    for (key, writers) in order.writers {
      for (place, writer) in writers.enumerated() { if let writer { written[writer, default: [:]][key] = place + 1 } }
    }
    return written
  }

  // MARK: Cycles

  private mutating func checkCycles(_ reads: [[Seen]]) {
    let transactions = history.transactions
    let isFresh = transactions.map { $0.freshness == .linearizable }
    let graph = dependencies(reads) { _ in true }
    verdict.edges = graph.edges.count
    if report(graph.cycle([.ww, .wr])) { return }

    let allSerializable = transactions.indices.allSatisfy {
      !order.isCommitted[$0] || transactions[$0].level == .serializable || !isFresh[$0]
    }
    if allSerializable {
      // Those that read other nodes' states are promised a snapshot, not a place in the serial order.
      let serial = dependencies(reads) { isFresh[$0] }
      if report(serial.cycle([.ww, .wr, .rw])) { return }
    }
    // Read committed sees several moments: as a writer only.
    var snapshots = dependencies(reads) { transactions[$0].level != .readCommitted }
    if report(snapshots.cycle([.ww, .wr, .rw], snapshot: true)) { return }
    let spans = transactions.indices.filter { order.isCommitted[$0] && isFresh[$0] }.map { index in
      let transaction = transactions[index]
      return (
        index: index, start: transaction.start, end: transaction.outcome == .committed ? transaction.end : nil
      )
    }
    snapshots.addRealTime(spans)
    if report(snapshots.cycle([.ww, .wr, .rw, .rt], snapshot: true)) { return }
    guard allSerializable, options.isStrict else { return }
    var strict = dependencies(reads) { isFresh[$0] }
    strict.addRealTime(spans)
    _ = report(strict.cycle([.ww, .wr, .rw, .rt]))
  }

  /// The graph of all writes, and of the reads of those that are wanted.
  private func dependencies(_ reads: [[Seen]], where isWanted: (Int) -> Bool) -> DependencyGraph {
    var graph = DependencyGraph(count: history.transactions.count)
    for (key, writers) in order.writers {
      for (first, second) in zip(writers, writers.dropFirst()) {
        if let first, let second { graph.add(first, second, .ww, key: key) }
      }
    }
    for (index, seen) in reads.enumerated() where isWanted(index) {
      for read in seen {
        let writers = order.writers[read.key] ?? []
        if read.position > 0, let writer = writers[read.position - 1] {
          graph.add(writer, index, .wr, key: read.key)
        }
        if read.position < writers.count, let writer = writers[read.position] {
          graph.add(index, writer, .rw, key: read.key)
        }
      }
    }
    return graph
  }

  /// Names a cycle by what it is made of. False: there is none.
  private mutating func report(_ cycle: [DependencyGraph.Step]?) -> Bool {
    guard let cycle else { return false }
    let antis = cycle.count { $0.kind == .rw }
    let isTimed = cycle.contains { $0.kind == .rt }
    let kind: HistoryAnomaly.Kind
    switch antis {
    case 0 where !isTimed: kind = cycle.allSatisfy { $0.kind == .ww } ? .dirtyWrite : .circularFlow
    case 0: kind = .realTimeFlow
    case 1: kind = isTimed ? .realTimeSkew : .readSkew
    default: kind = isTimed ? .realTimeCycle : .writeSkew
    }
    let text = cycle.map { step in
      let transaction = history.transactions[step.transaction]
      let keyText = step.key < 0 ? "" : " key \(step.key)"
      return "T\(step.transaction) (session \(transaction.session), \(transaction.level)) –\(step.kind.name)\(keyText)→"
    }
    report(kind, text.joined(separator: " ") + " T\(cycle.first?.transaction ?? 0)")
    return true
  }
}
