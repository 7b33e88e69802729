internal import Encoding
internal import Transactions

// Sessions that read what this node of a cluster has applied, whoever leads: read only. Before each statement (from
// repeatable read on: each transaction) whoever drives the session makes sure of what synod.read_consistency asks for.
//
// The serialization graph is the leader's. SERIALIZABLE READ ONLY reads at a version of which the leader has said in the log
// that it is safe (Certifier+Snapshots.swift): whatever commits later, a reader there is part of no cycle.

extension SQLSession {
  /// Makes the session one of this node's own state, for life.
  package func becomeLocal() {
    isLocal = true
    settings.set("default_transaction_read_only", "on")
    settings.set("in_hot_standby", "on")
    settings.set("transaction_read_only", "on")
  }

  func readLocally(_ options: inout TransactionOptions) throws(SQLError) {
    try beforeLocalRead?()
    options.isReadOnly = true
    options.isLocal = true
    guard options.isolation == .serializable, options.asOf == nil else { return }
    guard let safe = database.manager.safeVersion else {
      throw SQLError(
        SQLState(rawValue: "57P03"), "no snapshot that is safe for serializable reads is known to this node yet",
        hint: "Try again, use REPEATABLE READ, or read on the leader.")
    }
    if safe.rawValue < requiredVersion {
      throw SQLError(
        SQLState(rawValue: "57P03"),
        "the newest snapshot that is safe for serializable reads is older than the session's token",
        detail: "It is version \(safe.rawValue), and the session has seen version \(requiredVersion).",
        hint: "Try again, use REPEATABLE READ, or read on the leader.")
    }
    options.asOf = safe
  }
}
