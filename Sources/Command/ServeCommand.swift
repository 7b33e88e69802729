import ArgumentParser
import Foundation
internal import Logging
internal import Server
internal import Synod

/// `synod serve`: a database over PostgreSQL's protocol.
struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Serve a database: psql, pgbench and every PostgreSQL driver can connect.")

  @Option(help: "The database's directory. Made if it is not there.")
  var data: String

  @Option(help: "Where clients connect.")
  var listen = "127.0.0.1:7432"

  func run() throws {
    signal(SIGPIPE, SIG_IGN)
    let database = try Database.open(at: data)
    let sql = try database.sqlDatabase()
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = .info
      return handler
    }
    let services = ConnectionServices(
      sql: sql, options: ServingOptions(), metrics: ServerMetrics(), logger: Logger(label: "synod"),
      dummySecret: [1, 2, 3])
    serveBlocking(services, port: UInt16(listen.split(separator: ":").last!)!)
  }
}
