internal import Platform
internal import SQL
internal import Synchronization
internal import Wire

/// What pg_stat_activity and its kin ask of the server.
final class RegistryActivity: ActivityProvider {
  private let registry: ConnectionRegistry
  let startTime: Int64
  let cluster: (any ClusterProvider)?

  init(_ registry: ConnectionRegistry, _ cluster: (any ClusterProvider)?) {
    self.registry = registry
    self.cluster = cluster
    startTime = RegistryActivity.microseconds(LinuxClock().wallNanoseconds) ?? 0
  }

  func activities() -> [SessionActivity] {
    registry.all.map { process, connection in
      let activity = connection.shared.withLock { $0.activity }
      return SessionActivity(
        process: Int64(process), user: activity.user, userID: activity.userID,
        applicationName: activity.applicationName, clientAddress: connection.peer.host,
        clientPort: connection.peer.port, backendStart: Self.microseconds(activity.backendStart) ?? 0,
        transactionStart: Self.microseconds(activity.transactionStart),
        queryStart: Self.microseconds(activity.queryStart), stateChange: Self.microseconds(activity.stateChange),
        state: activity.state.rawValue, query: activity.query, isTLS: activity.isTLS)
    }
  }

  /// Since 2000, from nanoseconds since 1970.
  private static func microseconds(_ nanoseconds: UInt64) -> Int64? {
    nanoseconds == 0 ? nil : Int64(nanoseconds / 1000) - 946_684_800_000_000
  }

  func cancelStatement(_ process: Int64) -> Bool {
    guard let connection = find(process) else { return false }
    connection.cancelStatement()
    return true
  }

  func terminate(_ process: Int64) -> Bool {
    guard let connection = find(process) else { return false }
    connection.terminate(
      WireReport(severity: .fatal, sqlState: "57P01", message: "terminating connection due to administrator command"),
      now: true)
    return true
  }

  private func find(_ process: Int64) -> Connection? { UInt32(exactly: process).flatMap { registry.connection($0) } }
}
