internal import Transactions

// Sessions that read what this node of a cluster has applied, whoever leads: read only, and never serializable, since the
// serialization graph is the leader's.

extension SQLSession {
  /// Makes the session one of this node's own state, for life.
  package func becomeLocal() {
    isLocal = true
    settings.set("default_transaction_read_only", "on")
    settings.set("in_hot_standby", "on")
    settings.set("transaction_read_only", "on")
  }

  func readLocally(_ options: inout TransactionOptions) throws(SQLError) {
    guard options.isolation != .serializable else {
      throw SQLError(
        .featureNotSupported, "cannot use serializable mode in a session that reads this node's own state",
        hint: "You can use REPEATABLE READ instead, or read on the leader.")
    }
    try beforeLocalRead?()
    options.isReadOnly = true
    options.isLocal = true
  }
}
