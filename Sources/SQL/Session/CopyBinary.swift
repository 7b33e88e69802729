// COPY in binary format, as PostgreSQL writes and reads it; all integers are big endian.
//
//   header     11  "PGCOPY\n" 0xff "\r\n" 0x00
//               4  flags: bit 16 says that oids are included (refused), bits 17–31 are critical ones that nobody knows
//               4  length of the header's extension, which is skipped
//   row         2  number of fields; -1 is the end of the data, which may be left out
//     field     4  length, -1 for null; then so many bytes, as the type's binary format says

private let signature: [UInt8] = [0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00]

extension SQLSession {
  /// COPY … FROM STDIN (FORMAT binary); returns the number of rows.
  func copyBinary(_ insert: BulkInsert, _ sink: any ResultSink) throws(SQLError) -> Int {
    var reader = BinaryCopyReader(sink)
    try reader.header()
    let expected = insert.columns.count
    while let count = try reader.fieldCount() {
      guard count == expected else {
        throw SQLError(
          .badCopyFormat, "row field count is \(count), expected \(expected)",
          detail: "COPY \(insert.table.name), line \(reader.line)")
      }
      insert.beginRow()
      for index in 0..<expected {
        do throws(SQLError) {
          try reader.field { (bytes) throws(SQLError) in
            if let bytes { try insert.setBinary(index, bytes) } else { try insert.set(index, nil) }
          }
        } catch {
          var placed = error
          placed.detail = "COPY \(insert.table.name), line \(reader.line), column \(insert.columns[index].name)"
          throw placed
        }
      }
      do throws(SQLError) {
        try insert.endRow()
      } catch {
        var placed = error
        placed.detail = [error.detail, "COPY \(insert.table.name), line \(reader.line)"].compactMap { $0 }.joined(
          separator: "\n")
        throw placed
      }
    }
    try reader.finish()
    return try insert.finish()
  }

  /// COPY … TO STDOUT (FORMAT binary); returns the number of rows.
  func copyBinary(_ runner: StatementRunner, _ sink: any ResultSink) throws(SQLError) -> Int {
    let writer = BinaryCopyWriter(runner.columns)
    _ = unsafe try runner.run(self, []) { (row) throws(SQLError) in unsafe try writer.row(row, sink) }
    try writer.finish(sink)
    return writer.rowCount
  }
}

/// Cuts a stream of pieces into fields. Memory is taken for bytes that came, never for a length that was announced.
private struct BinaryCopyReader: ~Copyable {
  private let sink: any ResultSink
  private var input: [UInt8] = []
  private var at = 0
  private var isAtEnd = false
  /// The current row, from 1.
  private(set) var line = 0

  init(_ sink: any ResultSink) { self.sink = sink }

  /// Makes `count` bytes present from `at` on; false if the data end before.
  private mutating func fill(_ count: Int) throws(SQLError) -> Bool {
    while input.count - at < count {
      guard !isAtEnd, let piece = try sink.nextCopyData() else {
        isAtEnd = true
        return false
      }
      if at > 0 {
        input.removeFirst(at)
        at = 0
      }
      guard input.count + piece.count <= 1 << 30 else {
        throw SQLError(.programLimit, "COPY row \(line) is longer than 1 GiB")
      }
      input += piece
    }
    return true
  }

  private mutating func integer<T: FixedWidthInteger>(_ type: T.Type) throws(SQLError) -> T? {
    let size = MemoryLayout<T>.size
    guard try fill(size) else { return nil }
    var value: T = 0
    for index in 0..<size { value = value << 8 | T(truncatingIfNeeded: input[at + index]) }
    at += size
    return value
  }

  mutating func header() throws(SQLError) {
    guard try fill(signature.count), input[at..<at + signature.count].elementsEqual(signature) else {
      throw SQLError(.badCopyFormat, "COPY file signature not recognized")
    }
    at += signature.count
    guard let flags = try integer(UInt32.self) else {
      throw SQLError(.badCopyFormat, "invalid COPY file header (missing flags)")
    }
    guard flags & 1 << 16 == 0 else { throw SQLError(.badCopyFormat, "invalid COPY file header (WITH OIDS)") }
    guard flags >> 16 == 0 else {
      throw SQLError(.badCopyFormat, "unrecognized critical flags in COPY file header")
    }
    guard let length = try integer(Int32.self), length >= 0 else {
      throw SQLError(.badCopyFormat, "invalid COPY file header (missing length)")
    }
    var left = Int(length)
    while left > 0 {
      guard try fill(1) else { throw SQLError(.badCopyFormat, "invalid COPY file header (wrong length)") }
      let step = min(left, input.count - at)
      at += step
      left -= step
    }
  }

  /// The number of fields of the next row; nil at the end.
  mutating func fieldCount() throws(SQLError) -> Int? {
    line += 1
    guard let count = try integer(Int16.self) else {
      // Between rows the data may end without the trailer, which Go's pgx leaves out.
      at = input.count
      return nil
    }
    return count == -1 ? nil : Int(count)
  }

  /// Calls `body` with the next field; nil is null.
  mutating func field(_ body: (Bytes?) throws(SQLError) -> Void) throws(SQLError) {
    guard let length = try integer(Int32.self) else { throw SQLError(.badCopyFormat, "unexpected EOF in COPY data") }
    if length == -1 { return try body(nil) }
    guard length >= 0 else { throw SQLError(.badCopyFormat, "invalid field size") }
    guard try fill(Int(length)) else { throw SQLError(.badCopyFormat, "unexpected EOF in COPY data") }
    let range = at..<at + Int(length)
    at = range.upperBound
    let result: Result<Void, SQLError> = unsafe input.withUnsafeBytes { buffer in
      let bytes = unsafe Bytes(UnsafeRawBufferPointer(rebasing: buffer[range]))
      do throws(SQLError) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    try result.get()
  }

  /// Nothing may follow the trailer.
  mutating func finish() throws(SQLError) {
    guard at == input.count, try !fill(1) else {
      throw SQLError(.badCopyFormat, "received copy data after EOF marker")
    }
  }
}

/// Rows in binary, collected into pieces of about 64 KiB.
private final class BinaryCopyWriter {
  private let types: [TypeID]
  private var buffer = ByteBuffer(capacity: 70 << 10)
  private(set) var rowCount = 0

  init(_ columns: [ColumnDescription]) {
    types = columns.map(\.type.id)
    buffer.append(signature)
    buffer.append(big: 0 as UInt32)
    buffer.append(big: 0 as Int32)
  }

  func row(_ values: UnsafeBufferPointer<Value>, _ sink: any ResultSink) throws(SQLError) {
    buffer.append(big: Int16(truncatingIfNeeded: types.count))
    for index in types.indices {
      let value = unsafe values[index]
      if value.isNull {
        buffer.append(big: -1 as Int32)
        continue
      }
      buffer.append(big: 0 as Int32)
      let start = buffer.count
      try TypeCodec.encodeBinary(value, types[index], into: &buffer)
      buffer.patch(big: Int32(truncatingIfNeeded: buffer.count - start), at: start - 4)
    }
    rowCount += 1
    // A message for each row, as PostgreSQL sends it: readers of COPY rely on that.
    try flush(sink)
  }

  func finish(_ sink: any ResultSink) throws(SQLError) {
    buffer.append(big: -1 as Int16)
    try flush(sink)
  }

  private func flush(_ sink: any ResultSink) throws(SQLError) {
    unsafe try sink.copyData(buffer.bytes.buffer)
    buffer.removeAll()
  }
}
