import Foundation
internal import Shell
internal import Synod

/// Over the network, to whatever speaks PostgreSQL's protocol.
final class RemoteSSIConnection: SSIConnection {
  private let client: StatementClient
  private var controls: [SSIControl: Int] = [:]

  init(_ url: String, _ level: IsolationLevel, _ statements: [String]) throws {
    do {
      let environment = ProcessInfo.processInfo.environment
      client = try StatementClient(ConnectionSettings(url: url) { environment[$0] })
    } catch let problem as ShellProblem {
      throw CommandFailure(problem.message)
    } catch let error as DatabaseError {
      throw CommandFailure(error.message)
    }
    try execute("SET default_transaction_isolation = '\(level.rawValue)'")
    try told {
      // Numbers count from 0 in the order of preparation, as the workloads count their statements.
      for statement in statements { _ = try client.prepare(statement) }
      for control in SSIControl.allCases { controls[control] = try client.prepare(control.rawValue) }
    }
  }

  private func told<R>(_ body: () throws -> R) throws -> R {
    do { return try body() } catch let error as DatabaseError {
      throw SSIFailure(sqlState: error.sqlState, message: error.message)
    }
  }

  func run(_ statement: Int, with parameters: [Int]) throws -> Int? {
    try told { try client.run(statement, parameters) }.first?.first.flatMap { $0.flatMap { Int($0) } }
  }

  func run(_ control: SSIControl) throws { _ = try told { try client.run(controls[control]!, []) } }

  func query(_ text: String) throws -> [[Int?]] {
    try told { try client.query(text) }.map { $0.map { $0.flatMap { Int($0) } } }
  }

  func close() { client.close() }
}
