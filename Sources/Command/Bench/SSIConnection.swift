import Foundation
internal import Synod

/// A failure of a statement, by its SQLSTATE.
struct SSIFailure: Error, CustomStringConvertible {
  var sqlState: String
  var message: String
  var isRetryable: Bool { sqlState == "40001" || sqlState == "40P01" }
  var description: String { "\(sqlState): \(message)" }
}

/// How a transaction begins and ends.
enum SSIControl: String, CaseIterable {
  case begin = "BEGIN"
  case beginReadOnly = "BEGIN READ ONLY"
  case commit = "COMMIT"
  case rollback = "ROLLBACK"
}

/// What `synod bench ssi` needs of a connection: the same in process and over the wire. One thread.
protocol SSIConnection: AnyObject {
  /// Runs a prepared statement, counted from 0; returns the first column of its first row.
  func run(_ statement: Int, with parameters: [Int]) throws -> Int?
  func run(_ control: SSIControl) throws
  func query(_ text: String) throws -> [[Int?]]
  func close()
}

extension SSIConnection {
  func run(_ statement: Int, _ parameters: Int...) throws { _ = try run(statement, with: parameters) }
  func value(_ statement: Int, _ parameters: Int...) throws -> Int { try run(statement, with: parameters) ?? 0 }
  func execute(_ text: String) throws { _ = try query(text) }
  func rollback() throws { try run(.rollback) }
}

/// What is measured: a database of this process, or a server.
final class SSITarget: Sendable {
  private let database: Database?
  private let url: String?

  init(path: String?, url: String?) throws {
    database = try path.map { try openForBench($0) }
    self.url = url
  }

  /// A connection whose transactions run at `level`, with `statements` prepared.
  func connect(_ level: IsolationLevel, _ statements: [String]) throws -> any SSIConnection {
    if let database { return try LocalSSIConnection(database, level, statements) }
    guard let url else { throw CommandFailure("name a database with --path or a server with --url") }
    return try RemoteSSIConnection(url, level, statements)
  }

  func close() { try? database?.close() }

  /// The sequencer's samples of how long it took to certify, in nanoseconds.
  var certification: (p50: Int, p99: Int, samples: Int)? {
    guard let database else { return nil }
    let samples = database.certificationNanoseconds.sorted()
    guard !samples.isEmpty else { return nil }
    return (samples[samples.count / 2], samples[samples.count * 99 / 100], samples.count)
  }
}

/// In process.
final class LocalSSIConnection: SSIConnection {
  private let session: Session
  private var statements: [Statement] = []
  private var controls: [SSIControl: Statement] = [:]

  init(_ database: Database, _ level: IsolationLevel, _ statements: [String]) throws {
    session = try database.makeSession()
    session.isolation = level
    try told {
      self.statements = try statements.map { try session.prepare($0) }
      for control in SSIControl.allCases { controls[control] = try session.prepare(control.rawValue) }
    }
  }

  private func told<R>(_ body: () throws -> R) throws -> R {
    do { return try body() } catch let error as DatabaseError {
      throw SSIFailure(sqlState: error.sqlState, message: error.message)
    }
  }

  func run(_ statement: Int, with parameters: [Int]) throws -> Int? {
    try told {
      let prepared = statements[statement]
      let result =
        switch parameters.count {
        case 0: try prepared.query()
        case 1: try prepared.query(.int(Int64(parameters[0])))
        case 2: try prepared.query(.int(Int64(parameters[0])), .int(Int64(parameters[1])))
        case 3:
          try prepared.query(.int(Int64(parameters[0])), .int(Int64(parameters[1])), .int(Int64(parameters[2])))
        default:
          try prepared.query(
            .int(Int64(parameters[0])), .int(Int64(parameters[1])), .int(Int64(parameters[2])),
            .int(Int64(parameters[3])))
        }
      return result.first.flatMap { $0.count > 0 ? $0[0].int.map { Int($0) } : nil }
    }
  }

  func run(_ control: SSIControl) throws { _ = try told { try controls[control]!.execute() } }

  func query(_ text: String) throws -> [[Int?]] {
    try told { try session.query(text).map { row in (0..<row.count).map { row[$0].int.map { Int($0) } } } }
  }

  func close() { session.close() }
}
