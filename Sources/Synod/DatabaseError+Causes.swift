internal import Log
internal import Platform
internal import SQL
internal import Storage
internal import Transactions

extension DatabaseError {
  init(_ error: SQLError) {
    self.init(
      sqlState: error.state.rawValue, message: error.message, detail: error.detail, hint: error.hint,
      position: error.position, table: error.table, column: error.column, constraint: error.constraint)
  }

  init(_ error: TransactionError) { self.init(SQLError(error)) }

  /// Why the database at `path` could not be opened, or closed.
  init(opening path: String, _ error: any Error) {
    switch error {
    case let error as DatabaseError: self = error
    case let error as SQLError: self.init(error)
    case let error as TransactionError: self.init(error)
    case let error as LogError: self.init(opening: path, error)
    case let error as StorageError: self.init(SQLError(error))
    case let error as DiskError:
      self.init(
        sqlState: error.kind == .noSpace ? "53100" : "58030", message: "\(error)",
        hint: error.kind == .noSpace ? "Free some space and try again." : nil)
    default: self.init(sqlState: "58000", message: "cannot open \(path): \(error)")
    }
  }

  init(opening path: String, _ error: LogError) {
    switch error {
    case .locked:
      self.init(
        sqlState: "55006", message: "\(error)",
        hint: "Close the other program, or reach the database through a server.")
    case .notADatabase:
      self.init(
        sqlState: "58P01", message: "\(error)", hint: "Name an empty or new directory, or one that synod made.")
    case .newerFormat: self.init(sqlState: "0A000", message: "\(error)")
    case .corrupt: self.init(sqlState: "XX001", message: "\(error)")
    case .noSpace: self.init(sqlState: "53100", message: "\(error)", hint: "Free some space and try again.")
    case .disk(let disk) where disk.kind == .readOnly || disk.kind == .permission:
      self.init(
        sqlState: "58030", message: "\(error)",
        hint: "A database needs write access to its directory, for the lock and the log.")
    case .disk(let disk) where disk.kind == .noSpace: self.init(sqlState: "53100", message: "\(error)")
    default: self.init(sqlState: "58030", message: "\(error)")
    }
  }
}
