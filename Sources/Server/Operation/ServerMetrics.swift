internal import CoreMetrics
package import Metrics
internal import SQL

/// What a server counts, through swift-metrics: a program that embeds it brings its own factory; `synod serve` has one that
/// prints Prometheus' text.
package final class ServerMetrics: Sendable {
  package let statements: Counter
  private let connectionsTotal: Counter
  private let connections: Meter
  private let factory: any MetricsFactory

  package init(factory: any MetricsFactory = MetricsSystem.factory) {
    self.factory = factory
    statements = Counter(label: "synod_statements_total", dimensions: [], factory: factory)
    connectionsTotal = Counter(label: "synod_connections_total", dimensions: [], factory: factory)
    connections = Meter(label: "synod_connections", dimensions: [], factory: factory)
  }

  func connectionOpened() {
    connectionsTotal.increment()
    connections.increment()
  }
  func connectionClosed() { connections.decrement() }

  func failed(_ state: SQLState) {
    Counter(label: "synod_errors_total", dimensions: [("class", String(state.rawValue.prefix(2)))], factory: factory)
      .increment()
  }
}
