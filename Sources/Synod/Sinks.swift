internal import SQL

/// Keeps a statement's rows.
final class CollectingSink: ResultSink {
  private(set) var result = Result()
  private let session: SQLSession
  /// What the columns were made of; the same statement gives the same again.
  private var descriptions: [ColumnDescription] = []
  private var columns: [Column] = []

  init(_ session: SQLSession) { self.session = session }

  func reset() { result = Result() }

  /// The result, which the sink forgets.
  func take() -> Result {
    let taken = result
    result = Result()
    return taken
  }

  func columns(_ columns: [ColumnDescription]) throws(SQLError) {
    if columns != descriptions {
      descriptions = columns
      self.columns = columns.map(Column.init)
    }
    result = Result()
    result.columns = self.columns
  }

  func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
    let row = unsafe try [SQLValue](unsafeUninitializedCapacity: values.count) { (row, count) throws(SQLError) in
      while count < values.count {
        unsafe (row.baseAddress.unsafelyUnwrapped + count).initialize(
          to: try SQLValue(values[count], descriptions[count].type, session))
        count += 1
      }
    }
    result.rows.append(Row(columns: columns, values: row))
  }

  func completed(_ tag: String) { result.tag = tag }
}

/// Hands rows on as text.
final class TextSink: ResultSink {
  private let session: SQLSession
  private let handler: any ResultHandler
  private var types: [TypeID] = []
  private var buffer = ByteBuffer(capacity: 256)
  /// The handler's own failure, which travels through SQL as an error of its.
  private(set) var failure: DatabaseError?

  init(_ session: SQLSession, _ handler: any ResultHandler) {
    self.session = session
    self.handler = handler
  }

  func columns(_ columns: [ColumnDescription]) throws(SQLError) {
    types = columns.map(\.type.id)
    handler.columns(columns.map(Column.init))
  }

  func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
    var fields: [String?] = []
    fields.reserveCapacity(values.count)
    let format = session.textFormat
    for index in 0..<values.count {
      let value = unsafe values[index]
      fields.append(value.isNull ? nil : try TypeCodec.string(value, types[index], format))
    }
    handler.row(fields)
  }

  func completed(_ tag: String) { handler.completed(tag) }

  func notice(_ notice: SQLNotice) { handler.notice(notice.severity.rawValue, DatabaseError(notice.content)) }

  func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError) { handler.copyOut(unsafe Array(bytes)) }

  func copyIn(_ description: CopyDescription) throws(SQLError) {}

  func nextCopyData() throws(SQLError) -> [UInt8]? {
    do throws(DatabaseError) { return try handler.copyIn() } catch {
      failure = error
      throw SQLError(SQLState(rawValue: error.sqlState), error.message)
    }
  }
}

extension Column {
  init(_ column: ColumnDescription) {
    let kind: Kind =
      switch column.type.id {
      case .bool: .boolean
      case .int2, .int4, .int8, .oid: .integer
      case .float4, .float8: .float
      case .numeric: .numeric
      case .bytea: .bytes
      case .timestamp, .timestamptz: .timestamp
      case .json, .jsonb: .json
      case .text, .varchar, .bpchar, .name: .text
      default: .other
      }
    self.init(name: column.name, typeName: column.type.description, kind: kind)
  }
}

extension SQLValue {
  /// A copy of a value: numbers, booleans and bytes as they are, everything else in its text form.
  init(_ value: Value, _ type: SQLType, _ session: SQLSession) throws(SQLError) {
    switch type.id {
    case _ where value.isNull: self = .null
    case .bool: self = .bool(value.bool)
    case .int2, .int4, .int8, .oid: self = .int(value.int)
    case .float4, .float8: self = .double(value.double)
    case .bytea: self = .bytes(value.bytes.array)
    case .text, .varchar, .bpchar, .name: self = .text(value.string)
    default: self = .text(try TypeCodec.string(value, type.id, session.textFormat))
    }
  }
}

/// Gives parameters the types that a statement wants.
final class ParameterConverter {
  private let session: SQLSession
  private let arena = Arena(initialBytes: 256)

  init(_ session: SQLSession) { self.session = session }

  /// - Throws: 08P01 for a wrong number of parameters, 22P02 and its like for text that is not of the type.
  func convert(_ parameters: [SQLValue], for statement: PreparedStatement) throws(SQLError) -> [Datum] {
    let types = statement.parameterTypes
    guard parameters.count == types.count else {
      throw SQLError(
        SQLState(rawValue: "08P01"), "the statement has \(types.count) parameters, and \(parameters.count) were given")
    }
    arena.reset()
    var data: [Datum] = []
    data.reserveCapacity(types.count)
    for (parameter, type) in zip(parameters, types) { data.append(try convert(parameter, type)) }
    return data
  }

  private func convert(_ parameter: SQLValue, _ type: SQLType) throws(SQLError) -> Datum {
    if case .text(let value) = parameter, value.utf8.contains(0) {
      throw SQLError(.invalidEncoding, "invalid byte sequence for encoding \"UTF8\": 0x00")
    }
    switch (parameter, type.id) {
    case (.null, _): return .null
    case (.bool(let value), .bool): return .bool(value)
    case (.int(let value), .int8): return .int(value)
    case (.int(let value), .int4) where Int64(Int32.min)...Int64(Int32.max) ~= value: return .int(value)
    case (.int(let value), .float8): return .double(Double(value))
    case (.double(let value), .float8): return .double(value)
    case (.text(let value), .text), (.text(let value), .unknown): return .text(value)
    case (.bytes(let value), .bytea): return .bytes(value)
    default:
      let text = parameter.text ?? ""
      return Datum(try TypeCodec.parse(arena.copy([UInt8](text.utf8)), type, arena, session.textFormat))
    }
  }
}
