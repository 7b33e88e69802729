internal import SQL
internal import Wire

/// Writes a statement's results into the connection's output as the values come: no text, no array, no message is made on
/// the way. Sends whenever a buffer is full, so a result of any size takes the memory of one buffer.
@safe
final class WireSink: ResultSink {
  /// How a column's values are written; what is frequent has a way of its own.
  enum Encoding: UInt8 {
    case textInteger, textBytes, textOther, binary16, binary32, binary64, binaryBytes, binaryOther
  }

  private unowned let connection: Connection
  private var describes = true
  private var formats: [Bool] = []
  private var types: [TypeID] = []
  private var encodings: [Encoding] = []
  private var shape: [ColumnDescription] = []
  private var shapeFormats: [Bool] = []
  private var scratch = ByteBuffer(capacity: 128)
  private var textFormat = TextFormat()
  private var isCopy = false

  init(_ connection: Connection) { self.connection = connection }

  /// A statement begins. `describes`: its rows are preceded by their description.
  func begin(describes: Bool, formats: [Bool] = []) {
    self.describes = describes
    self.formats = formats
    isCopy = false
  }

  func columns(_ columns: [ColumnDescription]) throws(SQLError) {
    textFormat = connection.session.textFormat
    if describes { connection.wire.output.rowDescription(WireSink.fields(columns, formats)) }
    // The next run of a prepared statement has the shape of the last.
    if columns == shape, formats == shapeFormats { return }
    shape = columns
    shapeFormats = formats
    types = columns.map(\.type.id)
    encodings = columns.indices.map { index in
      let isBinary = formats.isEmpty ? false : formats.count == 1 ? formats[0] : index < formats.count && formats[index]
      return WireSink.encoding(columns[index].type.id, isBinary: isBinary)
    }
  }

  private static func encoding(_ type: TypeID, isBinary: Bool) -> Encoding {
    switch type {
    case .int2: isBinary ? .binary16 : .textInteger
    case .int4, .oid: isBinary ? .binary32 : .textInteger
    case .int8: isBinary ? .binary64 : .textInteger
    case .text, .varchar, .bpchar, .name, .json, .unknown: isBinary ? .binaryBytes : .textBytes
    default: isBinary ? .binaryOther : .textOther
    }
  }

  func row(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
    // One access to the output for the whole row.
    let size = try unsafe write(values, to: &connection.wire.output)
    if size >= Connection.sendSizeBytes { try connection.flushResult() }
  }

  private func write(
    _ values: UnsafeBufferPointer<Value>, to output: inout WireBuffer
  ) throws(SQLError) -> Int {
    guard values.count == encodings.count else {
      throw SQLError(.internalError, "a row of \(values.count) values where \(encodings.count) were described")
    }
    let row = output.beginRow(columns: values.count)
    for index in 0..<values.count {
      let value = unsafe values[index]
      if value.isNull {
        output.nullValue()
        continue
      }
      switch encodings[index] {
      case .textInteger: output.value(decimal: value.int)
      case .textBytes, .binaryBytes:
        let mark = output.beginValue()
        unsafe output.append(value.bytes.buffer)
        output.endValue(mark)
      case .binary16: output.value(binary: Int16(truncatingIfNeeded: value.int))
      case .binary32: output.value(binary: Int32(truncatingIfNeeded: value.int))
      case .binary64: output.value(binary: value.int)
      case .textOther, .binaryOther:
        do throws(SQLError) { try format(value, index) } catch {
          output.cancel(row)
          throw error
        }
        let mark = output.beginValue()
        unsafe output.append(scratch.bytes.buffer)
        output.endValue(mark)
      }
    }
    do throws(WireError) { try output.endRow(row) } catch {
      throw SQLError(SQLState(rawValue: error.sqlState), error.message, hint: error.hint)
    }
    return output.count
  }

  private func format(_ value: Value, _ index: Int) throws(SQLError) {
    scratch.removeAll()
    if encodings[index] == .textOther {
      try TypeCodec.format(value, types[index], into: &scratch, textFormat)
    } else {
      try TypeCodec.encodeBinary(value, types[index], into: &scratch)
    }
  }

  func completed(_ tag: String) {
    if isCopy { connection.wire.output.copyDone() }
    isCopy = false
    connection.wire.output.commandComplete(tag)
  }

  func statementBegins() { connection.renewStatementLimit() }
  func empty() { connection.wire.output.emptyQuery() }

  func notice(_ notice: SQLNotice) {
    guard WireSink.rank(notice.severity.rawValue) >= WireSink.rank(connection.session.setting("client_min_messages"))
    else { return }
    var report = WireReport(notice.content)
    report.severity = WireReport.Severity(rawValue: notice.severity.rawValue) ?? .notice
    if notice.content.state.rawValue == "XX000" { report.sqlState = "00000" }
    connection.wire.output.notice(report)
  }

  private static func rank(_ severity: String?) -> Int {
    switch severity?.lowercased() {
    case "debug5", "debug4", "debug3", "debug2", "debug1", "debug": 0
    case "log": 1
    case "info": 5
    case "notice": 2
    case "warning": 3
    case "error": 4
    default: 2
    }
  }

  // MARK: COPY

  func copyOut(_ description: CopyDescription) throws(SQLError) {
    isCopy = true
    connection.wire.output.copyOutResponse(WireSink.formats(description))
  }

  func copyData(_ bytes: UnsafeRawBufferPointer) throws(SQLError) {
    let mark = connection.wire.output.beginCopyData()
    unsafe connection.wire.output.append(bytes)
    do throws(WireError) { try connection.wire.output.endCopyData(mark) } catch {
      throw SQLError(SQLState(rawValue: error.sqlState), error.message, hint: error.hint)
    }
    if connection.wire.output.count >= Connection.sendSizeBytes { try connection.flushResult() }
  }

  func copyIn(_ description: CopyDescription) throws(SQLError) { connection.beginCopyIn(description) }

  func nextCopyData() throws(SQLError) -> [UInt8]? { try connection.nextCopyData() }

  static func formats(_ description: CopyDescription) -> CopyFormats {
    let format: WireFormat = description.format == .binary ? .binary : .text
    return CopyFormats(format: format, columns: Array(repeating: format, count: description.columnCount))
  }

  // MARK: Descriptions

  static func fields(_ columns: [ColumnDescription], _ formats: [Bool]) -> [FieldDescription] {
    columns.enumerated().map { index, column in
      let isBinary = formats.isEmpty ? false : formats.count == 1 ? formats[0] : index < formats.count && formats[index]
      return FieldDescription(
        name: column.name, table: column.tableID, column: Int16(truncatingIfNeeded: column.columnNumber),
        type: column.type.id.rawValue, typeSize: Int16(truncatingIfNeeded: column.type.info.length),
        typeModifier: column.type.modifier, format: isBinary ? .binary : .text)
    }
  }
}

/// Reads the values that clients send with Bind.
@safe
final class ParameterDecoder {
  private let arena = Arena(initialBytes: 256)

  func decode(_ span: RawSpan, _ type: SQLType, isBinary: Bool, _ session: SQLSession) throws(SQLError) -> Datum {
    try unsafe span.withUnsafeBytes { (buffer) throws(SQLError) in
      let bytes = unsafe Bytes(buffer)
      if isBinary {
        switch (type.id, bytes.count) {
        case (.int4, 4): return .int(Int64(bytes.load(0, as: Int32.self).byteSwapped))
        case (.int8, 8): return .int(bytes.load(0, as: Int64.self).byteSwapped)
        default: break
        }
      } else if type.id == .text || type.id == .varchar || type.id == .unknown {
        try TextScan.checkUTF8(bytes)
        return .bytes(bytes.array)
      }
      arena.reset()
      if isBinary { return Datum(try TypeCodec.decodeBinary(bytes, type.id, arena)) }
      try TextScan.checkUTF8(bytes)
      return Datum(try TypeCodec.parse(bytes, type, arena, session.textFormat))
    }
  }
}

extension WireReport {
  /// An error of a statement as the client is told it.
  init(_ error: SQLError) {
    self.init(
      severity: error.state == .adminShutdown ? .fatal : .error, sqlState: error.state.rawValue, message: error.message)
    detail = error.detail
    hint = error.hint
    position = error.position
    schema = error.schema
    table = error.table
    column = error.column
    constraint = error.constraint
    // The one routine of PostgreSQL's that a driver (pgjdbc) looks at.
    if error == .resultTypeChanged { routine = "RevalidateCachedQuery" }
  }
}
