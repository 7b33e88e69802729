import Foundation
internal import Shell
internal import Synod

/// Over the network, to whatever speaks PostgreSQL's protocol.
final class RemoteSSIConnection: SSIConnection {
  private let client: StatementClient
  private var controls: [Control: Int] = [:]

  init(_ url: String, _ level: IsolationLevel, _ statements: [String]) throws {
    do {
      let environment = ProcessInfo.processInfo.environment
      client = try StatementClient(ConnectionSettings(url: url) { environment[$0] })
    } catch let problem as ShellProblem {
      throw CommandFailure(problem.message)
    } catch let error as DatabaseError {
      throw CommandFailure(error.message)
    }
    super.init()
    try execute("SET default_transaction_isolation = '\(level.rawValue)'")
    try told {
      // Numbers count from 0 in the order of preparation, as the workloads count their statements.
      for statement in statements { _ = try client.prepare(statement) }
      for control in Control.allCases { controls[control] = try client.prepare(control.rawValue) }
    }
  }

  private func told<R>(_ body: () throws -> R) throws -> R {
    do { return try body() } catch let error as DatabaseError {
      throw SSIFailure(sqlState: error.sqlState, message: error.message)
    }
  }

  @discardableResult
  override func run(_ statement: Int, _ parameters: Int...) throws -> Int? {
    try told { try client.run(statement, parameters) }.first?.first.flatMap { $0.flatMap { Int($0) } }
  }

  override func run(_ control: Control) throws { _ = try told { try client.run(controls[control]!, []) } }

  override func query(_ text: String) throws -> [[Int?]] {
    try told { try client.query(text) }.map { $0.map { $0.flatMap { Int($0) } } }
  }

  override func close() { client.close() }
}
