/// What a server says, into a buffer.
///
/// Nothing here takes memory but the buffer's own growth; a reused buffer takes none. A row is written in place:
///
/// ```swift
/// let row = output.beginRow(columns: 2)
/// output.value(decimal: id)
/// output.value(text: name)           // or beginValue … endValue around any appends
/// try output.endRow(row)
/// ```
extension WireBuffer {
  /// Where a message or a value began.
  @frozen
  package struct Mark: Sendable {
    @usableFromInline let offset: Int
    @inlinable init(offset: Int) { self.offset = offset }
  }

  /// The longest message that we make: what every client takes.
  @usableFromInline static var maximumEncodedSize: Int { (1 << 30) - 1 }

  /// Begins a message of a type.
  @inlinable
  package mutating func beginMessage(_ type: UInt8) -> Mark {
    reserve(16)
    let mark = Mark(offset: count)
    append(type)
    append(bigEndian: 0 as Int32)
    return mark
  }

  /// Ends a message: its length is written where it began.
  @inlinable
  package mutating func endMessage(_ mark: Mark) {
    let length = count &- mark.offset &- 1
    precondition(length <= Self.maximumEncodedSize)
    patch(Int32(truncatingIfNeeded: length), at: mark.offset &+ 1)
  }

  /// Ends a message whose size users decide; one that is too long is taken back.
  @inlinable
  package mutating func endSizedMessage(_ mark: Mark) throws(WireError) {
    let length = count &- mark.offset &- 1
    guard length <= Self.maximumEncodedSize else { throw tooLong(mark, length) }
    patch(Int32(truncatingIfNeeded: length), at: mark.offset &+ 1)
  }

  @usableFromInline
  mutating func tooLong(_ mark: Mark, _ length: Int) -> WireError {
    truncate(to: mark.offset)
    return WireError(
      .message, "result row or COPY line of \(length) bytes is too long", sqlState: "54000",
      hint: "At most \(Self.maximumEncodedSize) bytes can be sent in one piece; ask for fewer or shorter columns.")
  }

  // MARK: Rows

  /// Begins a row. Exactly `columns` values follow.
  @inlinable
  package mutating func beginRow(columns: Int) -> Mark {
    precondition(columns >= 0 && columns <= Int(Int16.max))
    let mark = beginMessage(UInt8(ascii: "D"))
    append(bigEndian: UInt16(truncatingIfNeeded: columns))
    return mark
  }

  /// Ends a row. One that is too long for a message is taken back.
  @inlinable
  package mutating func endRow(_ mark: Mark) throws(WireError) { try endSizedMessage(mark) }

  /// Takes back a row, or another message, that was begun and not ended.
  package mutating func cancel(_ mark: Mark) { truncate(to: mark.offset) }

  @inlinable
  package mutating func nullValue() { append(bigEndian: -1 as Int32) }

  @inlinable
  package mutating func beginValue() -> Mark {
    let mark = Mark(offset: count)
    append(bigEndian: 0 as Int32)
    return mark
  }

  /// Ends a value. If it is longer than a message can be, the row will be taken back as a whole.
  @inlinable
  package mutating func endValue(_ mark: Mark) {
    patch(Int32(truncatingIfNeeded: count &- mark.offset &- 4), at: mark.offset)
  }

  @inlinable
  package mutating func value(text: String) {
    let mark = beginValue()
    append(utf8: text)
    endValue(mark)
  }

  @inlinable
  package mutating func value(bytes: RawSpan) {
    append(bigEndian: Int32(truncatingIfNeeded: bytes.byteCount))
    append(bytes)
  }

  @inlinable
  package mutating func value(bytes: [UInt8]) {
    append(bigEndian: Int32(truncatingIfNeeded: bytes.count))
    append(bytes)
  }

  /// An integer in the text format.
  @inlinable
  package mutating func value(decimal: Int64) {
    let mark = beginValue()
    append(decimal: decimal)
    endValue(mark)
  }

  /// An integer in the binary format, in its own width.
  @inlinable
  package mutating func value<T: FixedWidthInteger & BitwiseCopyable>(binary: T) {
    append(bigEndian: Int32(MemoryLayout<T>.size))
    append(bigEndian: binary)
  }

  // MARK: Results

  package mutating func rowDescription(_ fields: [FieldDescription]) {
    precondition(fields.count <= Int(Int16.max))
    let mark = beginMessage(UInt8(ascii: "T"))
    append(bigEndian: UInt16(fields.count))
    for field in fields {
      append(zeroTerminated: field.name)
      append(bigEndian: field.table)
      append(bigEndian: field.column)
      append(bigEndian: field.type)
      append(bigEndian: field.typeSize)
      append(bigEndian: field.typeModifier)
      append(bigEndian: field.format.rawValue)
    }
    endMessage(mark)
  }

  package mutating func parameterDescription(_ types: [UInt32]) {
    precondition(types.count <= Int(UInt16.max))
    let mark = beginMessage(UInt8(ascii: "t"))
    append(bigEndian: UInt16(types.count))
    for type in types { append(bigEndian: type) }
    endMessage(mark)
  }

  /// `tag` is the command and its row count: `SELECT 3`, `INSERT 0 1`, `BEGIN`.
  package mutating func commandComplete(_ tag: String) {
    let mark = beginMessage(UInt8(ascii: "C"))
    append(zeroTerminated: tag)
    endMessage(mark)
  }

  /// The same for a command with a count of rows, without making a text of it. INSERT is `INSERT 0`.
  package mutating func commandComplete(_ command: StaticString, rows: Int) {
    let mark = beginMessage(UInt8(ascii: "C"))
    command.withUTF8Buffer { unsafe append(UnsafeRawBufferPointer($0)) }
    append(UInt8(ascii: " "))
    append(decimal: Int64(rows))
    append(0 as UInt8)
    endMessage(mark)
  }

  package mutating func emptyQuery() { bare(UInt8(ascii: "I")) }
  package mutating func noData() { bare(UInt8(ascii: "n")) }
  package mutating func portalSuspended() { bare(UInt8(ascii: "s")) }
  mutating func parseComplete() { bare(UInt8(ascii: "1")) }
  mutating func bindComplete() { bare(UInt8(ascii: "2")) }
  mutating func closeComplete() { bare(UInt8(ascii: "3")) }

  mutating func bare(_ type: UInt8) {
    append(type)
    append(bigEndian: 4 as Int32)
  }

  mutating func readyForQuery(_ status: TransactionStatus) {
    append(UInt8(ascii: "Z"))
    append(bigEndian: 5 as Int32)
    append(status.rawValue)
  }

  // MARK: COPY

  package mutating func copyOutResponse(_ formats: CopyFormats) { copyResponse(UInt8(ascii: "H"), formats) }
  mutating func copyInResponse(_ formats: CopyFormats) { copyResponse(UInt8(ascii: "G"), formats) }

  private mutating func copyResponse(_ type: UInt8, _ formats: CopyFormats) {
    precondition(formats.columns.count <= Int(Int16.max))
    let mark = beginMessage(type)
    append(UInt8(truncatingIfNeeded: formats.format.rawValue))
    append(bigEndian: UInt16(formats.columns.count))
    for column in formats.columns { append(bigEndian: column.rawValue) }
    endMessage(mark)
  }

  /// Begins a piece of COPY data; append the bytes, then `endCopyData`.
  @inlinable
  package mutating func beginCopyData() -> Mark { beginMessage(UInt8(ascii: "d")) }

  @inlinable
  package mutating func endCopyData(_ mark: Mark) throws(WireError) { try endSizedMessage(mark) }

  package mutating func copyDone() { bare(UInt8(ascii: "c")) }

  // MARK: At any time

  package mutating func notice(_ report: WireReport) { self.report(UInt8(ascii: "N"), report) }
  mutating func error(_ report: WireReport) { self.report(UInt8(ascii: "E"), report) }

  private mutating func report(_ type: UInt8, _ report: WireReport) {
    let mark = beginMessage(type)
    field("S", report.severity.rawValue)
    field("V", report.severity.rawValue)
    field("C", report.sqlState.utf8.count == 5 ? report.sqlState : "XX000")
    field("M", report.message)
    field("D", report.detail)
    field("H", report.hint)
    field("P", report.position.map(String.init))
    field("p", report.internalPosition.map(String.init))
    field("q", report.internalQuery)
    field("W", report.context)
    field("s", report.schema)
    field("t", report.table)
    field("c", report.column)
    field("d", report.dataType)
    field("n", report.constraint)
    field("F", report.file)
    field("L", report.line.map(String.init))
    field("R", report.routine)
    append(0 as UInt8)
    endMessage(mark)
  }

  private mutating func field(_ code: UnicodeScalar, _ text: String?) {
    guard let text else { return }
    append(UInt8(ascii: code))
    append(zeroTerminated: text)
  }

  package mutating func parameterStatus(name: String, value: String) {
    let mark = beginMessage(UInt8(ascii: "S"))
    append(zeroTerminated: name)
    append(zeroTerminated: value)
    endMessage(mark)
  }

  package mutating func notification(process: UInt32, channel: String, payload: String) {
    let mark = beginMessage(UInt8(ascii: "A"))
    append(bigEndian: process)
    append(zeroTerminated: channel)
    append(zeroTerminated: payload)
    endMessage(mark)
  }

  // MARK: Opening

  mutating func authentication(code: UInt32, _ body: [UInt8] = []) {
    let mark = beginMessage(UInt8(ascii: "R"))
    append(bigEndian: code)
    append(body)
    endMessage(mark)
  }

  mutating func authenticationSASL(_ mechanisms: [String]) {
    let mark = beginMessage(UInt8(ascii: "R"))
    append(bigEndian: 10 as UInt32)
    for mechanism in mechanisms { append(zeroTerminated: mechanism) }
    append(0 as UInt8)
    endMessage(mark)
  }

  mutating func negotiateVersion(_ version: ProtocolVersion, unknownOptions: [String]) {
    let mark = beginMessage(UInt8(ascii: "v"))
    append(bigEndian: version.code)
    append(bigEndian: Int32(unknownOptions.count))
    for option in unknownOptions { append(zeroTerminated: option) }
    endMessage(mark)
  }

  mutating func keyData(_ key: CancelKey) {
    let mark = beginMessage(UInt8(ascii: "K"))
    append(bigEndian: key.process)
    append(key.secret)
    endMessage(mark)
  }
}
