package import Logging

/// Loggers for those who do not bootstrap swift-log.
package enum ServerLogger {
  /// Says nothing.
  package static let silent = Logger(label: "synod") { _ in SwiftLogNoOpLogHandler() }
}
