internal import Transactions

// A session that goes on on another node: when leadership moves, so do the sessions of the old leader, between two of
// their transactions.
//
// What a session is, between transactions: its settings, its prepared statements, what currval() knows. All of it can be
// made again by statements of an ordinary client. What cannot: cursors WITH HOLD (their rows are this node's memory) and
// advisory locks of the session (they are, and others may have them there). Sessions that have such end, with 57P01.

/// What makes a new session what an old one was.
package enum SessionReplay: Sendable {
  /// A simple query whose answer nobody reads.
  case query(String)
  case prepare(name: String, text: String, parameterTypes: [UInt32])
}

/// Why a session cannot move.
package struct SessionStays: Error {
  package var reason: String
  package init(reason: String) { self.reason = reason }
}

extension SQLSession {
  /// What a session that was opened by the same start-up message lacks to be this one. Only between transactions.
  package func replay() throws(SessionStays) -> [SessionReplay] {
    precondition(transaction == nil || block == .none, "a session moves between transactions")
    if cursors.contains(where: { $0.value.isHeld }) {
      throw SessionStays(reason: "it has a cursor WITH HOLD, whose rows only this node has")
    }
    if !advisoryLocks.held.isEmpty { throw SessionStays(reason: "it holds advisory locks of this node") }
    var steps: [SessionReplay] = []
    var authorization: String?
    var role: String?
    for (name, value) in settings.values.sorted(by: { $0.key < $1.key }) where value != settings.initialValue(name) {
      switch name {
      case "session_authorization": authorization = value
      case "role": role = value
      default:
        guard Settings.byName[name]?.isFixed != true, !name.hasPrefix("transaction_") else { continue }
        steps.append(.query("SELECT set_config(\(Self.quoted(name)), \(Self.quoted(value)), false)"))
      }
    }
    if tokenVersion > 0 {
      steps.append(
        .query("SELECT set_config('synod.session_token', '\(database.options.cluster):\(tokenVersion)', false)"))
    }
    for (sequence, value) in currentValues.sorted(by: { $0.key < $1.key }) where sequence != lastSequence {
      steps.append(.query("SELECT synod_recall_sequence(\(sequence), \(value))"))
    }
    // The last one is lastval()'s.
    if let lastSequence, let value = currentValues[lastSequence] {
      steps.append(.query("SELECT synod_recall_sequence(\(lastSequence), \(value))"))
    }
    for (name, statement) in prepared.sorted(by: { $0.key < $1.key }) {
      steps.append(
        .prepare(name: name, text: statement.text, parameterTypes: statement.givenTypes.map(\.id.rawValue)))
    }
    // Rights were checked for whoever prepared; what follows may have fewer.
    if let authorization { steps.append(.query("SET SESSION AUTHORIZATION \(Self.identifier(authorization))")) }
    if let role { steps.append(.query("SET ROLE \(role == "none" ? "NONE" : Self.identifier(role))")) }
    return steps
  }

  /// The leadership in which the open transaction began may have ended: then its locks are given back now, and its next
  /// statement fails with 40001. Between statements only.
  package func leadershipMoved() {
    guard let transaction, !isAdopted, !transaction.isOfCurrentTerm else { return }
    transaction.rollbackAfterLeadership()
  }

  private static func quoted(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
  }

  private static func identifier(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
  }
}
