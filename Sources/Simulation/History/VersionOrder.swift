// In which order the versions of each key were written, and by whom.
//
// A list read at the end names its appends in order. A register's writes carry their position. A transaction of which nobody
// knows whether it committed did so if one of its writes is there: its element is in the final list, or its position was
// written, and nobody who is known to have committed wrote that.

/// Who wrote each version of each key, and what the histories of single keys alone give away.
struct VersionOrder {
  /// By key: the index of the transaction that wrote version 1, 2, …; nil where that is not known. Where one transaction
  /// wrote several versions of a key, each is there.
  private(set) var writers: [Int: [Int?]] = [:]
  /// By key: what the version shows; an element of a list, a value of a register.
  private(set) var values: [Int: [Int?]] = [:]
  /// Which transactions are in the order: those that committed, as far as one can know.
  private(set) var isCommitted: [Bool]
  private(set) var anomalies: [HistoryAnomaly] = []
  private let history: ClientHistory

  init(_ history: ClientHistory) {
    self.history = history
    isCommitted = history.transactions.map { $0.outcome == .committed }
    orderLists()
    orderRegisters()
  }

  private mutating func report(_ kind: HistoryAnomaly.Kind, _ detail: String) {
    if anomalies.count < 1000 { anomalies.append(HistoryAnomaly(kind: kind, detail: detail)) }
  }

  // MARK: Lists

  private mutating func orderLists() {
    var origin: [Int: (transaction: Int, key: Int)] = [:]
    for (index, transaction) in history.transactions.enumerated() {
      for operation in transaction.operations {
        if case .append(let key, let element) = operation.action { origin[element] = (index, key) }
      }
    }
    for (key, list) in history.finalLists {
      var seen: Set<Int> = []
      var order: [Int?] = []
      for element in list {
        guard let written = origin[element], written.key == key, seen.insert(element).inserted else {
          report(.impossibleValue, "list \(key) ends with element \(element), which is not or twice of the history")
          order.append(nil)
          continue
        }
        switch history.transactions[written.transaction].outcome {
        case .failed: report(.abortedRead, "list \(key) has \(element) of T\(written.transaction), which failed")
        case .unknown: isCommitted[written.transaction] = true
        case .committed: break
        }
        order.append(written.transaction)
      }
      writers[key] = order
      values[key] = list
    }
    for (index, transaction) in history.transactions.enumerated() where isCommitted[index] {
      for operation in transaction.operations {
        guard case .append(let key, let element) = operation.action else { continue }
        if !(history.finalLists[key] ?? []).contains(element) {
          report(.lostWrite, "T\(index) appended \(element) to list \(key), and it is not there in the end")
        }
      }
    }
  }

  // MARK: Registers

  private struct Claim {
    var transaction: Int
    var value: Int
  }

  private mutating func orderRegisters() {
    var claims: [Int: [Int: [Claim]]] = [:]
    var read: [Int: [Int: Int]] = [:]
    for (index, transaction) in history.transactions.enumerated() {
      for operation in transaction.operations {
        switch operation.action {
        case .write(let key, let state) where transaction.outcome != .failed:
          claims[key, default: [:]][state.position, default: []].append(Claim(transaction: index, value: state.value))
        case .read(let key, let state) where transaction.outcome == .committed && state.position > 0:
          read[key, default: [:]][state.position] = state.value
        default: break
        }
      }
    }
    for (key, final) in history.finalRegisters {
      var order = [Int?](repeating: nil, count: final.position)
      var shown = order
      if final.position > 0 { read[key, default: [:]][final.position] = final.value }
      for (position, list) in claims[key] ?? [:] {
        let certain = list.filter { history.transactions[$0.transaction].outcome == .committed }
        if certain.count > 1 {
          let names = certain.map { "T\($0.transaction)" }.joined(separator: ", ")
          report(.lostUpdate, "register \(key): version \(position) was written by \(names)")
        }
        guard position >= 1, position <= final.position else {
          for claim in certain {
            report(
              .lostWrite,
              "T\(claim.transaction) wrote version \(position) of register \(key), which ends with \(final.position)")
          }
          continue
        }
        // By what was read of it, else the one that committed, else the only one that may have.
        let known = read[key]?[position]
        let chosen = list.first { $0.value == known } ?? certain.first ?? (list.count == 1 ? list.first : nil)
        guard let chosen else { continue }
        if let known, chosen.value != known, !certain.isEmpty {
          report(.lostWrite, "register \(key): version \(position) of T\(chosen.transaction) shows \(known)")
        }
        order[position - 1] = chosen.transaction
        shown[position - 1] = chosen.value
        isCommitted[chosen.transaction] = true
      }
      for (position, value) in read[key] ?? [:] where position <= final.position && shown[position - 1] == nil {
        shown[position - 1] = value
      }
      writers[key] = order
      values[key] = shown
    }
  }
}
