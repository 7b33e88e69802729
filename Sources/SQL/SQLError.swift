package import Transactions

/// A five-character SQLSTATE, as PostgreSQL's appendix A lists them.
///
/// Assigned once, where the error is raised; drivers and retry loops rely on the class (the first two characters).
package struct SQLState: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  package let rawValue: String
  package init(rawValue: String) { self.rawValue = rawValue }
  package var description: String { rawValue }
}

/// An error as PostgreSQL reports it: what happened, where in the statement, and what to do.
///
/// The scope is the statement: inside a transaction block the transaction is then failed until it is rolled back,
/// as in PostgreSQL. `state` tells whether a retry helps (class 40).
package struct SQLError: Error, Hashable, Sendable {
  /// The SQLSTATE.
  package var state: SQLState
  /// One sentence without a final stop, lower case first, as PostgreSQL words it where it has the same error.
  package var message: String
  /// More facts: the values, the other transaction, the constraint.
  package var detail: String?
  /// What to do about it.
  package var hint: String?
  /// The 1-based position in the statement's text, counted in Unicode scalars, where the error was noticed.
  package var position: Int?
  /// The names of what the error is about, where they are known.
  package var schema: String?
  package var table: String?
  package var column: String?
  package var constraint: String?
  /// The conflict behind the error, until a session has put it into words (`SQLSession.explained`).
  package var conflict: ConflictCause?

  /// A prepared statement would give other columns than when it was prepared. Drivers know it by PostgreSQL's words, and
  /// prepare the statement again.
  package static let resultTypeChanged = SQLError(.featureNotSupported, "cached plan must not change result type")

  package init(
    _ state: SQLState, _ message: String, detail: String? = nil, hint: String? = nil, position: Int? = nil,
    schema: String? = nil, table: String? = nil, column: String? = nil, constraint: String? = nil
  ) {
    self.state = state
    self.message = message
    self.detail = detail
    self.hint = hint
    self.position = position
    self.schema = schema
    self.table = table
    self.column = column
    self.constraint = constraint
  }

  /// The same error, placed at `position` unless it already has a place.
  package func at(_ position: Int?) -> SQLError {
    guard self.position == nil else { return self }
    var placed = self
    placed.position = position
    return placed
  }
}

/// What another transaction did to one that failed, in keys.
package indirect enum ConflictCause: Hashable, Sendable {
  case serialization(SerializationFailure)
  case deadlock(Deadlock)
  case refusal(LockRefusal)
}

extension SQLState {
  package static let noActiveTransaction = SQLState(rawValue: "25P01")
  package static let activeTransaction = SQLState(rawValue: "25001")
  package static let failedTransaction = SQLState(rawValue: "25P02")
  package static let readOnlyTransaction = SQLState(rawValue: "25006")
  package static let protocolViolation = SQLState(rawValue: "08P01")
  package static let duplicateCursor = SQLState(rawValue: "42P03")
  package static let featureNotSupported = SQLState(rawValue: "0A000")
  package static let cardinalityViolation = SQLState(rawValue: "21000")
  package static let stringTooLong = SQLState(rawValue: "22001")
  package static let numericOutOfRange = SQLState(rawValue: "22003")
  package static let datetimeOverflow = SQLState(rawValue: "22008")
  package static let datetimeFormat = SQLState(rawValue: "22007")
  package static let divisionByZero = SQLState(rawValue: "22012")
  package static let invalidParameterValue = SQLState(rawValue: "22023")
  package static let invalidText = SQLState(rawValue: "22P02")
  package static let invalidBinary = SQLState(rawValue: "22P03")
  package static let badCopyFormat = SQLState(rawValue: "22P04")
  package static let untranslatableCharacter = SQLState(rawValue: "22P05")
  package static let invalidEncoding = SQLState(rawValue: "22021")
  package static let invalidEscape = SQLState(rawValue: "22025")
  package static let invalidRegularExpression = SQLState(rawValue: "2201B")
  package static let invalidRowCount = SQLState(rawValue: "2201W")
  package static let integrityViolation = SQLState(rawValue: "23000")
  package static let notNullViolation = SQLState(rawValue: "23502")
  package static let foreignKeyViolation = SQLState(rawValue: "23503")
  package static let uniqueViolation = SQLState(rawValue: "23505")
  package static let checkViolation = SQLState(rawValue: "23514")
  package static let invalidTransactionState = SQLState(rawValue: "25000")
  package static let invalidSavepoint = SQLState(rawValue: "3B001")
  package static let invalidCatalog = SQLState(rawValue: "3D000")
  package static let invalidSchema = SQLState(rawValue: "3F000")
  package static let serializationFailure = SQLState(rawValue: "40001")
  package static let deadlockDetected = SQLState(rawValue: "40P01")
  package static let syntaxError = SQLState(rawValue: "42601")
  package static let insufficientPrivilege = SQLState(rawValue: "42501")
  package static let undefinedColumn = SQLState(rawValue: "42703")
  package static let undefinedTable = SQLState(rawValue: "42P01")
  package static let undefinedFunction = SQLState(rawValue: "42883")
  package static let undefinedObject = SQLState(rawValue: "42704")
  package static let undefinedParameter = SQLState(rawValue: "42P02")
  package static let ambiguousColumn = SQLState(rawValue: "42702")
  package static let ambiguousFunction = SQLState(rawValue: "42725")
  package static let ambiguousAlias = SQLState(rawValue: "42P09")
  package static let duplicateColumn = SQLState(rawValue: "42701")
  package static let duplicateTable = SQLState(rawValue: "42P07")
  package static let duplicateAlias = SQLState(rawValue: "42712")
  package static let duplicateObject = SQLState(rawValue: "42710")
  package static let duplicatePreparedStatement = SQLState(rawValue: "42P05")
  package static let datatypeMismatch = SQLState(rawValue: "42804")
  package static let cannotCoerce = SQLState(rawValue: "42846")
  package static let indeterminateDatatype = SQLState(rawValue: "42P18")
  package static let groupingError = SQLState(rawValue: "42803")
  package static let windowingError = SQLState(rawValue: "42P20")
  package static let invalidColumnReference = SQLState(rawValue: "42P10")
  package static let invalidTableDefinition = SQLState(rawValue: "42P16")
  package static let invalidObjectDefinition = SQLState(rawValue: "42P17")
  package static let wrongObjectType = SQLState(rawValue: "42809")
  package static let nameTooLong = SQLState(rawValue: "42622")
  package static let reservedName = SQLState(rawValue: "42939")
  package static let invalidName = SQLState(rawValue: "42602")
  package static let dependentObjects = SQLState(rawValue: "2BP01")
  package static let outOfMemory = SQLState(rawValue: "53200")
  package static let diskFull = SQLState(rawValue: "53100")
  package static let configurationLimit = SQLState(rawValue: "53400")
  package static let programLimit = SQLState(rawValue: "54000")
  package static let tooComplex = SQLState(rawValue: "54001")
  package static let tooManyColumns = SQLState(rawValue: "54011")
  package static let objectNotInState = SQLState(rawValue: "55000")
  package static let lockNotAvailable = SQLState(rawValue: "55P03")
  package static let queryCanceled = SQLState(rawValue: "57014")
  package static let adminShutdown = SQLState(rawValue: "57P01")
  package static let cannotConnectNow = SQLState(rawValue: "57P03")
  package static let transactionUnknown = SQLState(rawValue: "08007")
  package static let ioError = SQLState(rawValue: "58030")
  package static let internalError = SQLState(rawValue: "XX000")
  package static let dataCorrupted = SQLState(rawValue: "XX001")
}
