internal import Encoding
internal import Transactions

// What a session has seen, as a text that it can show to another node: cluster and version. A node that is shown it answers
// when it has applied that version, so that a client reads its own writes wherever it connects.

/// A point in a cluster's history.
package struct SessionToken: Sendable {
  package var cluster: String
  package var version: UInt64

  /// `cluster:version`; nil for anything else.
  package init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, let version = UInt64(parts[1]) else { return nil }
    cluster = String(parts[0])
    self.version = version
  }
}

extension SQLSession {
  /// Everything that this session has seen or done is at this version or before it.
  package var token: String {
    "\(database.options.cluster):\(max(tokenVersion, database.manager.visibleVersion.rawValue))"
  }

  /// The version that reads must show, as SET or the last commit said.
  package var requiredVersion: UInt64 { tokenVersion }

  /// How the session wants to read, as it says now.
  package var readConsistency: String { settings.value("synod.read_consistency") ?? "linearizable" }
  /// In milliseconds.
  package var maximumStaleness: Int64 { settings.integer("synod.max_staleness") }

  /// SET synod.session_token.
  func setToken(_ text: String) throws(SQLError) {
    if text.isEmpty {
      tokenVersion = 0
      return
    }
    guard let token = SessionToken(text) else {
      throw SQLError(
        .invalidParameterValue, "invalid value for parameter \"synod.session_token\": \"\(text)\"",
        hint: "Give what SHOW synod.session_token gave.")
    }
    guard token.cluster == database.options.cluster else {
      throw SQLError(
        .objectNotInState, "the session token is of another cluster",
        detail: "It is of \(token.cluster), and this is \(database.options.cluster).",
        hint: "A cluster that was restored or recovered has a new identity. RESET synod.session_token.")
    }
    tokenVersion = token.version
  }

  /// A commit wrote something: the client is told how far it has come, if it wants to know.
  func reportCommit(_ version: UInt64) {
    tokenVersion = max(tokenVersion, version)
    guard settings.frequent.reportsToken, let onReportedSetting else { return }
    onReportedSetting("synod.session_token", "\(database.options.cluster):\(tokenVersion)")
  }
}
