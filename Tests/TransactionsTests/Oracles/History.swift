import Encoding

// A complete history of a few transactions over a few keys, and the oracles that judge it. Too simple to be wrong: brute
// force tries every serial order, and the dangerous structure is PostgreSQL's rule read off the finished history.

/// What one transaction did and saw. Keys are small numbers; values are numbers unique to each write, nil = absent.
struct RecordedTransaction {
  enum Operation: Equatable {
    case read(key: Int, value: Int?)
    case scan(lower: Int, upper: Int, rows: [Row])
    case write(key: Int, value: Int?)
    case savepoint
    case rollback
  }
  struct Row: Equatable {
    var key: Int
    var value: Int
  }

  var operations: [Operation] = []
  var snapshot: UInt64 = 0
  /// nil: committed without writes (or not yet committed: then it is the newest).
  var version: UInt64?
  /// Its place among the commits, for the dangerous structure: readers have one too.
  var commitOrder = 0

  /// What is left of its writes, last wins.
  var finalWrites: [(key: Int, value: Int?)] {
    var writes: [(key: Int, value: Int?)] = []
    var marks: [Int] = []
    for operation in operations {
      switch operation {
      case .write(let key, let value): writes.append((key, value))
      case .savepoint: marks.append(writes.count)
      case .rollback: writes.removeLast(writes.count - marks.last!)
      default: break
      }
    }
    return writes
  }

  /// What it has read of others: points, found or not, and intervals.
  func hasRead(_ key: Int) -> Bool {
    var own: [Int] = []
    var marks: [Int] = []
    for operation in operations {
      switch operation {
      case .read(let read, _): if read == key && !own.contains(key) { return true }
      case .scan(let lower, let upper, _): if lower <= key && key < upper && !own.contains(key) { return true }
      case .write(let key, _): own.append(key)
      case .savepoint: marks.append(own.count)
      case .rollback: own.removeLast(own.count - marks.last!)
      }
    }
    return false
  }
}

struct History {
  var initial: [Int?]
  var transactions: [RecordedTransaction]

  // MARK: Brute force

  /// Whether some serial order gives every read its result and the same final state. `inTime`: an order in which nobody
  /// comes before a transaction that his snapshot contains.
  func isSerializable(inTime: Bool = false) -> Bool {
    var final = initial
    let writers = transactions.filter { $0.version != nil }.sorted { $0.version! < $1.version! }
    for transaction in writers + transactions.filter({ $0.version == nil }) {
      for write in transaction.finalWrites { final[write.key] = write.value }
    }
    return serialOrderExists(initial, remaining: Array(transactions.indices), final, inTime)
  }

  private func serialOrderExists(_ state: [Int?], remaining: [Int], _ final: [Int?], _ inTime: Bool) -> Bool {
    if remaining.isEmpty { return state == final }
    for (place, index) in remaining.enumerated() {
      let snapshot = transactions[index].snapshot
      if inTime, remaining.contains(where: { transactions[$0].version.map { $0 <= snapshot } ?? false }) { continue }
      guard let after = replay(transactions[index], on: state) else { continue }
      var rest = remaining
      rest.remove(at: place)
      if serialOrderExists(after, remaining: rest, final, inTime) { return true }
    }
    return false
  }

  /// The state after the transaction ran alone, or nil if it would have seen something else.
  private func replay(_ transaction: RecordedTransaction, on start: [Int?]) -> [Int?]? {
    var state = start
    var marks: [[Int?]] = []
    for operation in transaction.operations {
      switch operation {
      case .read(let key, let value): if state[key] != value { return nil }
      case .scan(let lower, let upper, let rows):
        var expected = 0
        for key in lower..<upper {
          guard let value = state[key] else { continue }
          guard expected < rows.count, rows[expected] == RecordedTransaction.Row(key: key, value: value) else {
            return nil
          }
          expected += 1
        }
        if expected != rows.count { return nil }
      case .write(let key, let value): state[key] = value
      case .savepoint: marks.append(state)
      case .rollback: state = marks.last!
      }
    }
    return state
  }

  // MARK: Snapshot isolation

  /// Whether every transaction saw exactly what had committed up to its snapshot, and nobody committed a key that it wrote
  /// between its snapshot and its commit.
  func isSnapshotIsolated() -> Bool {
    let writers = transactions.filter { $0.version != nil }.sorted { $0.version! < $1.version! }
    for transaction in transactions {
      var state = initial
      for writer in writers where writer.version! <= transaction.snapshot {
        for write in writer.finalWrites { state[write.key] = write.value }
      }
      if replay(transaction, on: state) == nil { return false }
      guard let version = transaction.version else { continue }
      let written = Set(transaction.finalWrites.map(\.key))
      for other in writers where other.version! > transaction.snapshot && other.version! < version {
        if other.finalWrites.contains(where: { written.contains($0.key) }) { return false }
      }
    }
    return true
  }

  // MARK: PostgreSQL's rule

  /// Whether PostgreSQL's rule would have aborted one of them: Tin –rw→ Tpivot –rw→ Tout, each pair concurrent, Tout the
  /// first of the three to commit, and, if Tin wrote nothing, Tout within Tin's snapshot.
  func hasDangerousStructure() -> Bool {
    for pivot in transactions.indices {
      for out in transactions.indices where out != pivot && conflicts(pivot, out) {
        for start in transactions.indices where start != pivot && conflicts(start, pivot) {
          let outOrder = transactions[out].commitOrder
          guard outOrder < transactions[pivot].commitOrder else { continue }
          guard start == out || outOrder < transactions[start].commitOrder else { continue }
          if transactions[start].version == nil, let version = transactions[out].version,
            version > transactions[start].snapshot
          {
            continue
          }
          return true
        }
      }
    }
    return false
  }

  /// A read-write conflict between concurrent transactions: `reader` read what `writer` replaced after the snapshot.
  private func conflicts(_ reader: Int, _ writer: Int) -> Bool {
    let from = transactions[reader]
    let to = transactions[writer]
    guard let version = to.version, version > from.snapshot else { return false }
    // Concurrent: the writer did not begin after the reader was over.
    if let own = from.version, own <= to.snapshot { return false }
    if from.version == nil && to.snapshot >= version { return false }
    return to.finalWrites.contains { from.hasRead($0.key) }
  }
}
