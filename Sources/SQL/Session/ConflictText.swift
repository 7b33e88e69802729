internal import Encoding
internal import Storage
package import Transactions

// Conflicts among transactions, in words: who, where, and how one thing led to another.
//
//   DETAIL:  Transaction 12 (this one) read account (id) = (1) before transaction 13 of session 4 changed it.
//            Transaction 13 of session 4 read account, all rows before this transaction changed (id) = (2).
//
// Every line is an edge of the cycle: its first transaction must come before its second in any serial order. The first
// begins, and the last ends, with the transaction that failed.

/// Puts conflicts into words, with the names of one catalog.
package struct ConflictText: Sendable {
  package let names: KeyNames

  package init(_ catalog: CatalogSnapshot?) { names = KeyNames(catalog) }

  /// `transaction 13 of session 4`.
  package static func name(_ reference: TransactionReference) -> String {
    if reference.id == 0 {
      return reference.version.map { "the transaction committed at version \($0.rawValue)" } ?? "another transaction"
    }
    return "transaction \(reference.id)" + (reference.session > 0 ? " of session \(reference.session)" : "")
  }

  package func detail(_ failure: SerializationFailure) -> String {
    let others =
      failure.others.isEmpty
      ? "another transaction" : failure.others.map(ConflictText.name).joined(separator: ", ")
    switch failure.reason {
    case .concurrentUpdate:
      let version = failure.others.first?.version.map { ", at version \($0.rawValue)" } ?? ""
      let change =
        "\(others) changed \(names.describe(failure.keys)) and committed\(version), after the snapshot of this transaction."
        .sentence
      return failure.obstacle.map { "\(change)\n\(obstacle($0))" } ?? change
    case .rightOfWay:
      return
        "\(others) failed several times before and has the right of way, and waits for \(names.describe(failure.keys)), which this transaction holds."
        .sentence
    case .undecided where failure.cycle.isEmpty:
      return "The search for a cycle of dependencies was given up: too many transactions depend on each other."
    case .cycle, .undecided:
      var lines = failure.cycle.map { line($0, own: failure.cycle[0].from.id) }
      if failure.reason == .undecided {
        lines.append(
          "What some of them read and wrote is only known roughly: their record was shortened to save memory.")
      }
      return lines.joined(separator: "\n")
    }
  }

  /// Why the transaction could not go on as if it had begun later.
  private func obstacle(_ obstacle: SerializationFailure.Obstacle) -> String {
    switch obstacle {
    case .read(let edge): line(edge, own: edge.from.id)
    case .answered: "Part of the statement's answer had been given, so that it could not be run again."
    case .openCursor: "A cursor was open over the snapshot."
    case .tooMuchRead: "The transaction has read too much to find out whether any of it has changed since."
    case .tooOften: "The statement had been run again for this too often."
    }
  }

  private func line(_ edge: Dependency, own: UInt64) -> String {
    func name(_ reference: TransactionReference) -> String {
      reference.id == own ? "this transaction" : ConflictText.name(reference)
    }
    let key = names.describe(edge.keys)
    let from = name(edge.from)
    let to = name(edge.to)
    switch edge.kind {
    case .readWrite:
      guard let read = edge.read else { return "\(from) read \(key) before \(to) changed it.".sentence }
      return "\(from) read \(names.describe(read)) before \(to) changed \(inside(edge.keys, read)).".sentence
    case .writeRead:
      guard let read = edge.read else { return "\(to) read \(key) as \(from) had left it.".sentence }
      return "\(to) read \(names.describe(read)) with \(inside(edge.keys, read)) as \(from) had left it.".sentence
    case .realTime: return "\(from) was over before \(to), or one that must come before it, began.".sentence
    case .writeWrite: return "\(to) changed \(key) after \(from) had.".sentence
    }
  }

  /// The key without the table, which the interval has named.
  private func inside(_ keys: KeyRange, _ read: KeyRange) -> String {
    let place = names.place(keys)
    return place.table == names.place(read).table && place.text.hasPrefix("(") ? place.text : names.describe(keys)
  }

  package func detail(_ deadlock: Deadlock) -> String {
    let waits = deadlock.waits
    return waits.indices.map { index in
      let next = waits[(index + 1) % waits.count].transaction
      let wait = waits[index]
      let name = index == 0 ? "this transaction" : ConflictText.name(wait.transaction)
      let blocker = (index + 1) % waits.count == 0 ? "this transaction" : ConflictText.name(next)
      return "\(name) waits for \(wait.strength.clause) on \(names.describe(wait.keys)); blocked by \(blocker)."
        .sentence
    }.joined(separator: "\n")
  }

  package func detail(_ refusal: LockRefusal) -> String {
    let holders = refusal.holders.map(ConflictText.name).joined(separator: ", ")
    return "\(refusal.strength.clause) on \(names.describe(refusal.keys)) conflicts with a lock of \(holders).".sentence
  }
}

extension LockStrength {
  /// As a query asks for it.
  package var clause: String {
    switch self {
    case .keyShare: "FOR KEY SHARE"
    case .share: "FOR SHARE"
    case .noKeyUpdate: "FOR NO KEY UPDATE"
    case .update: "FOR UPDATE"
    }
  }
}

extension String {
  /// With a capital letter.
  fileprivate var sentence: String { prefix(1).uppercased() + dropFirst() }
}
