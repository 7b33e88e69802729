// Rows as the protocol carries them, written from borrowed values into one buffer:
//
//   offset  size  content
//        0     1  'D'
//        1     4  length, itself included, the type not
//        5     2  number of columns
//        7     –  for each column: Int32 length (-1: null), then so many bytes in the column's format
//
// Integers are big endian. The columns' types and formats are looked at once, when the encoder is made; for a row there
// is one switch per value, and no allocation but the buffer's growth.

/// Writes DataRow messages.
package struct DataRowEncoder {
  /// What is done with a column's values.
  private enum Writer {
    case decimal
    case int16, int32, int64
    case plain
    case text(TypeID)
    case binary(TypeID)
  }
  private let writers: [Writer]
  private let format: TextFormat

  /// The longest message that every client takes.
  package static let maximumSize = (1 << 30) - 1

  /// - Parameters:
  ///   - columns: the columns of the rows, at most 65535 of them.
  ///   - formats: of the columns.
  ///   - format: how the session prints values as text; a SET in between needs a new encoder.
  package init(_ columns: [ColumnDescription], _ formats: ValueFormats, _ format: TextFormat) {
    self.format = format
    writers = columns.enumerated().map { index, column in
      let type = column.type.id
      switch (formats[index], type) {
      case (_, .text), (_, .varchar), (_, .bpchar), (_, .json), (_, .name), (_, .unknown): return .plain
      case (.text, .int2), (.text, .int4), (.text, .int8), (.text, .oid): return .decimal
      case (.binary, .int2): return .int16
      case (.binary, .int4), (.binary, .oid), (.binary, .date): return .int32
      case (.binary, .int8), (.binary, .timestamp), (.binary, .timestamptz), (.binary, .time): return .int64
      case (.binary, .bytea), (.binary, .uuid): return .plain
      case (.text, let type): return .text(type)
      case (.binary, let type): return .binary(type)
      }
    }
  }

  /// Appends one row. When it throws, the buffer is as it was.
  ///
  /// - Throws: 54000 for a row longer than a message can be; 0A000 for a type without a binary form.
  package func append(_ row: UnsafeBufferPointer<Value>, to buffer: inout ByteBuffer) throws(SQLError) {
    precondition(row.count == writers.count, "a row of another width than was described")
    let start = buffer.count
    buffer.reserve(7 + 8 * row.count)
    buffer.append(UInt8(ascii: "D"))
    buffer.append(big: 0 as Int32)
    buffer.append(big: UInt16(truncatingIfNeeded: row.count))
    do throws(SQLError) {
      for index in 0..<row.count {
        let value = unsafe row[index]
        if value.isNull { buffer.append(big: -1 as Int32) } else { try append(value, writers[index], to: &buffer) }
      }
      guard buffer.count - start - 1 <= Self.maximumSize else {
        throw SQLError(
          .programLimit, "result row of \(buffer.count - start) bytes is too long",
          hint: "At most \(Self.maximumSize) bytes can be sent in one row; ask for fewer or shorter columns.")
      }
    } catch {
      buffer.truncate(to: start)
      throw error
    }
    buffer.patch(big: Int32(buffer.count - start - 1), at: start + 1)
  }

  @inline(__always)
  private func append(_ value: Value, _ writer: Writer, to buffer: inout ByteBuffer) throws(SQLError) {
    switch writer {
    case .plain:
      let bytes = value.bytes
      buffer.append(big: Int32(truncatingIfNeeded: bytes.count))
      buffer.append(bytes)
    case .int16:
      buffer.append(big: 2 as Int32)
      buffer.append(big: Int16(truncatingIfNeeded: value.int))
    case .int32:
      buffer.append(big: 4 as Int32)
      buffer.append(big: Int32(truncatingIfNeeded: value.int))
    case .int64:
      buffer.append(big: 8 as Int32)
      buffer.append(big: value.int)
    case .decimal:
      let start = begin(&buffer)
      buffer.append(decimal: value.int)
      end(start, &buffer)
    case .text(let type):
      let start = begin(&buffer)
      try TypeCodec.format(value, type, into: &buffer, format)
      end(start, &buffer)
    case .binary(let type):
      let start = begin(&buffer)
      try TypeCodec.encodeBinary(value, type, into: &buffer)
      end(start, &buffer)
    }
  }

  private func begin(_ buffer: inout ByteBuffer) -> Int {
    buffer.append(big: 0 as Int32)
    return buffer.count
  }
  private func end(_ start: Int, _ buffer: inout ByteBuffer) {
    buffer.patch(big: Int32(truncatingIfNeeded: buffer.count - start), at: start - 4)
  }
}
