// Values of rows: `ROW(1, 'x')`, a whole row of a table.
//
// A record is kept as the wire protocol's binary form of it, all big-endian, because that says of each field what it is:
//
//   Int32 number of fields; for each field: UInt32 the type's oid, Int32 length (-1 null), the value in its binary form
//
// The text form, `(1,"a b",)`, is made of that where it is asked for.

extension TypeCodec {
  /// The record of `values`, which have `types`.
  static func makeRecord(_ values: Arguments, _ types: [SQLType], _ arena: Arena) throws(SQLError) -> Value {
    var buffer = ByteBuffer(capacity: 64)
    buffer.append(big: Int32(truncatingIfNeeded: values.count))
    var item = ByteBuffer(capacity: 64)
    for index in 0..<values.count {
      buffer.append(big: types[index].id.rawValue)
      guard !values[index].isNull else {
        buffer.append(big: Int32(-1))
        continue
      }
      item.removeAll()
      try encodeBinary(values[index], types[index].id, into: &item)
      guard let count = Int32(exactly: item.count) else { throw SQLError(.outOfMemory, "a field of a row is too long") }
      buffer.append(big: count)
      buffer.append(item.bytes)
    }
    return Value(buffer.copied(into: arena))
  }

  /// Appends a record's text: fields with separators, parentheses, quotes, backslashes or spaces in them are quoted.
  static func formatRecord(_ record: Bytes, into buffer: inout ByteBuffer, _ format: TextFormat) throws(SQLError) {
    let arena = Arena(initialBytes: 256)
    var place = 0
    func word() throws(SQLError) -> Int32 {
      guard place + 4 <= record.count else { throw insufficient() }
      defer { place += 4 }
      return Int32(bitPattern: UInt32(byteSwapped32(record, place)))
    }
    buffer.append(UInt8(ascii: "("))
    for index in 0..<max(0, try word()) {
      if index > 0 { buffer.append(UInt8(ascii: ",")) }
      let type = TypeID(UInt32(bitPattern: try word()))
      let count = Int(try word())
      guard count >= 0 else { continue }
      guard place + count <= record.count else { throw insufficient() }
      let field = record[place..<place + count]
      place += count
      var item = ByteBuffer(capacity: 32)
      // Of these two nothing is read from clients; their text is their binary form, and a record's is made here.
      let value =
        type == .record || type == .pgNodeTree ? Value(arena.copy(field)) : try decodeBinary(field, type, arena)
      try TypeCodec.format(value, type, into: &item, format)
      quote(item.bytes, into: &buffer)
    }
    buffer.append(UInt8(ascii: ")"))
  }

  private static func byteSwapped32(_ bytes: Bytes, _ at: Int) -> UInt32 { bytes.load(at, as: UInt32.self).byteSwapped }

  private static func quote(_ text: Bytes, into buffer: inout ByteBuffer) {
    let needsQuotes =
      text.isEmpty
      || text.contains { byte in [0x22, 0x5c, 0x28, 0x29, 0x2c].contains(byte) || TextScan.isSpace(byte) }
    guard needsQuotes else { return buffer.append(text) }
    buffer.append(0x22 as UInt8)
    for byte in text {
      if byte == 0x22 || byte == 0x5c { buffer.append(byte) }
      buffer.append(byte)
    }
    buffer.append(0x22 as UInt8)
  }
}
