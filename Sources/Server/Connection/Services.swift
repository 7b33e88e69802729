package import Logging
package import Platform
package import SQL
internal import Synchronization

/// What the connections of a server share.
package final class ConnectionServices: Sendable {
  package let sql: SQLDatabase
  package let options: ServingOptions
  package let registry: ConnectionRegistry
  package let metrics: ServerMetrics
  package let logger: Logger
  /// What the salts of unknown roles are made of.
  let dummySecret: [UInt8]
  /// Where sessions run, in a cluster, and how the leader is spoken to.
  let cluster: (any ClusterRouting)?
  let relayTLS: TLSContext?
  let relays = RelayTable()
  let tickets = UsedTickets()
  /// Those who wait for a leader.
  let standing = StandingWaiters()
  /// Changes when a connection has nothing under way any more, while somebody waits for that.
  let restWord = FutexWord()
  let isAwaitingRest = Atomic(false)
  /// Sessions that relays are taking back.
  let departing = Atomic(0)
  private let onEnd: Mutex<(@Sendable (Connection) -> Void)?> = Mutex(nil)

  package var databaseName: String { sql.options.name }

  package init(
    sql: SQLDatabase, options: ServingOptions, metrics: ServerMetrics, logger: Logger, dummySecret: [UInt8],
    cluster: (any ClusterRouting)? = nil, relayTLS: TLSContext? = nil
  ) {
    self.cluster = cluster
    self.relayTLS = relayTLS
    self.sql = sql
    self.options = options
    self.metrics = metrics
    self.logger = logger
    self.dummySecret = dummySecret
    registry = ConnectionRegistry(
      limit: options.maximumConnections, superuserReserve: options.superuserReservedConnections)
  }

  /// Is called once for every connection that ends.
  package func whenEnded(_ body: @escaping @Sendable (Connection) -> Void) { onEnd.withLock { $0 = body } }

  func noteRest() {
    guard isAwaitingRest.load(ordering: .sequentiallyConsistent) else { return }
    restWord.increment()
    restWord.wake()
  }

  func ended(_ connection: Connection) { onEnd.withLock { $0 }?(connection) }
}
