// Text input and output of every type, in PostgreSQL's formats and with its error messages.
// Binary formats are in `TypeCodec+Binary.swift`, dates and times in `DateTime*.swift`, numerics in `NumericText.swift`.

package enum TypeCodec {
  // MARK: Input

  /// Reads `text` as a value of `type`, as the type's input function does. Of the modifier only interval's matters
  /// here; `TypeModifier` applies the others.
  ///
  /// - Throws: invalid_text_representation (22P02), numeric_value_out_of_range (22003), datetime errors (22007, 22008), ….
  package static func parse(
    _ text: Bytes, _ type: SQLType, _ arena: Arena, _ format: TextFormat
  ) throws(SQLError) -> Value {
    switch type.id {
    case .text, .varchar, .bpchar, .unknown, .pgNodeTree: return Value(arena.copy(text))
    case .int4: return Value(try parseInt(text, Int64(Int32.min), Int64(Int32.max), "integer"))
    case .int8: return Value(try parseInt(text, Int64.min, Int64.max, "bigint"))
    case .int2: return Value(try parseInt(text, Int64(Int16.min), Int64(Int16.max), "smallint"))
    case .bool: return Value(try parseBool(text))
    case .float8: return Value(try parseDouble(text, isReal: false))
    case .float4: return Value(try parseDouble(text, isReal: true))
    case .numeric: return try NumericText.parse(text, arena)
    case .bytea: return Value(try parseBytea(text, arena))
    case .date: return Value(try DateTime.parseDate(text, format))
    case .timestamp: return Value(try DateTime.parseTimestamp(text, withZone: false, format))
    case .timestamptz: return Value(try DateTime.parseTimestamp(text, withZone: true, format))
    case .time: return Value(try DateTime.parseTime(text, format))
    case .interval: return try Interval.parse(text, modifier: type.modifier).value(arena)
    case .uuid: return Value(try parseUUID(text, arena))
    case .name: return Value(arena.copy(text.prefix(nameLength(text, limit: 63))))
    case .char: return Value(arena.copy(text.prefix(1)))
    case .json: return Value(try JSONText.validated(text, arena))
    case .jsonb: return Value(try JSONText.canonical(text, arena))
    case .oid, .xid: return Value(try parseOID(text, type.id.info.name))
    case .regclass, .regtype, .regproc, .regnamespace, .regrole: return Value(try parseReg(text, type.id, format))
    case .int2vector, .oidvector: return try parseVector(text, type.id, arena)
    case .void: return .null
    default:
      if let element = type.id.info.element {
        return try ArrayText.parse(text, element: element, modifier: -1, arena, format)
      }
      throw SQLError(.featureNotSupported, "cannot accept a value of type \(type.id.info.name)")
    }
  }

  static func parseInt(_ text: Bytes, _ low: Int64, _ high: Int64, _ name: String) throws(SQLError) -> Int64 {
    // Nearly all integers are a few digits, perhaps with a minus: no blank, no overflow to look for.
    if text.count > 0, text.count <= 18 {
      var value: Int64 = 0
      var isPlain = true
      var isFirst = true
      var isMinus = false
      for byte in text {
        let digit = byte &- 48
        if digit < 10 {
          value = value &* 10 &+ Int64(digit)
        } else if isFirst, byte == 45, text.count > 1 {
          isMinus = true
        } else {
          isPlain = false
          break
        }
        isFirst = false
      }
      if isMinus { value = 0 &- value }
      if isPlain, value >= low, value <= high { return value }
    }
    var at = 0
    let end = text.count
    while at < end, TextScan.isSpace(text[at]) { at += 1 }
    var isNegative = false
    if at < end, text[at] == 45 || text[at] == 43 {
      isNegative = text[at] == 45
      at += 1
    }
    let first = at
    // Accumulated as a negative number, whose range is the larger.
    var value: Int64 = 0
    var overflow = false
    while at < end, TextScan.isDigit(text[at]) {
      let (scaled, o1) = value.multipliedReportingOverflow(by: 10)
      let (next, o2) = scaled.subtractingReportingOverflow(Int64(text[at] - 48))
      overflow = overflow || o1 || o2
      value = next
      at += 1
    }
    let digits = at - first
    while at < end, TextScan.isSpace(text[at]) { at += 1 }
    guard digits > 0, at == end else {
      throw SQLError(.invalidText, "invalid input syntax for type \(name): \"\(text.string)\"")
    }
    if !isNegative {
      if value == Int64.min { overflow = true } else { value = -value }
    }
    guard !overflow, value >= low, value <= high else {
      throw SQLError(.numericOutOfRange, "value \"\(text.string)\" is out of range for type \(name)")
    }
    return value
  }

  static func parseBool(_ text: Bytes) throws(SQLError) -> Bool {
    let trimmed = TextScan.trimmed(text)
    if trimmed.count > 0, trimmed.count <= 5 {
      let lower = trimmed.string.lowercased()
      if "true".hasPrefix(lower) || "yes".hasPrefix(lower) || lower == "on" || lower == "1" { return true }
      if "false".hasPrefix(lower) || "no".hasPrefix(lower) || lower == "of" || lower == "off" || lower == "0" {
        return false
      }
    }
    throw SQLError(.invalidText, "invalid input syntax for type boolean: \"\(text.string)\"")
  }

  static func parseBytea(_ text: Bytes, _ arena: Arena) throws(SQLError) -> Bytes {
    if text.count >= 2, text[0] == 0x5c, text[1] == UInt8(ascii: "x") {
      var buffer = ByteBuffer(capacity: text.count / 2)
      var at = 2
      while at < text.count {
        if TextScan.isSpace(text[at]) {
          at += 1
          continue
        }
        guard let high = TextScan.hexValue(text[at]) else {
          throw SQLError(
            .invalidParameterValue,
            "invalid hexadecimal digit: \"\(text[at..<min(at + TextScan.characterLength(text[at]), text.count)].string)\""
          )
        }
        guard at + 1 < text.count else {
          throw SQLError(.invalidParameterValue, "invalid hexadecimal data: odd number of digits")
        }
        guard let low = TextScan.hexValue(text[at + 1]) else {
          throw SQLError(
            .invalidParameterValue,
            "invalid hexadecimal digit: \"\(text[at + 1..<min(at + 1 + TextScan.characterLength(text[at + 1]), text.count)].string)\""
          )
        }
        buffer.append(high << 4 | low)
        at += 2
      }
      return buffer.copied(into: arena)
    }
    var buffer = ByteBuffer(capacity: text.count)
    var at = 0
    while at < text.count {
      let byte = text[at]
      guard byte == 0x5c else {
        buffer.append(byte)
        at += 1
        continue
      }
      if at + 1 < text.count, text[at + 1] == 0x5c {
        buffer.append(0x5c as UInt8)
        at += 2
      } else if at + 3 < text.count, text[at + 1] &- 48 < 4, text[at + 2] &- 48 < 8, text[at + 3] &- 48 < 8 {
        buffer.append((text[at + 1] - 48) << 6 | (text[at + 2] - 48) << 3 | (text[at + 3] - 48))
        at += 4
      } else {
        throw SQLError(.invalidText, "invalid input syntax for type bytea")
      }
    }
    return buffer.copied(into: arena)
  }

  static func parseUUID(_ text: Bytes, _ arena: Arena) throws(SQLError) -> Bytes {
    func invalid() -> SQLError { SQLError(.invalidText, "invalid input syntax for type uuid: \"\(text.string)\"") }
    var body = text
    if text.count > 2, text[0] == UInt8(ascii: "{"), text[text.count - 1] == UInt8(ascii: "}") {
      body = text[1..<text.count - 1]
    }
    var out: [UInt8] = []
    out.reserveCapacity(16)
    var at = 0
    while out.count < 16 {
      guard at + 1 < body.count, let high = TextScan.hexValue(body[at]), let low = TextScan.hexValue(body[at + 1])
      else {
        throw invalid()
      }
      out.append(high << 4 | low)
      at += 2
      // A hyphen may stand after any group of four digits.
      if at < body.count, body[at] == UInt8(ascii: "-"), out.count % 2 == 0, out.count < 16 { at += 1 }
    }
    guard at == body.count else { throw invalid() }
    return arena.copy(out)
  }

  static func parseOID(_ text: Bytes, _ name: String) throws(SQLError) -> Int64 {
    let trimmed = TextScan.trimmed(text)
    guard let (value, end) = TextScan.signedInt(trimmed, 0, limit: 1 << 40), end == trimmed.count else {
      if trimmed.count > 12, trimmed.allSatisfy(TextScan.isDigit) {
        throw SQLError(.numericOutOfRange, "value \"\(text.string)\" is out of range for type \(name)")
      }
      throw SQLError(.invalidText, "invalid input syntax for type \(name): \"\(text.string)\"")
    }
    guard value <= Int(UInt32.max), value >= Int(Int32.min) else {
      throw SQLError(.numericOutOfRange, "value \"\(text.string)\" is out of range for type \(name)")
    }
    return Int64(UInt32(truncatingIfNeeded: value))
  }

  private static func parseReg(_ text: Bytes, _ kind: TypeID, _ format: TextFormat) throws(SQLError) -> Int64 {
    if text.count == 1, text[0] == UInt8(ascii: "-") { return 0 }
    if text.count > 0, text.allSatisfy(TextScan.isDigit) { return try parseOID(text, kind.info.name) }
    if let names = format.names { return Int64(try names.oid(named: text.string, kind)) }
    if kind == .regtype, let type = TypeTable.named(text.string.lowercased()) { return Int64(type.rawValue) }
    throw SQLError(.undefinedObject, "\(kind.info.name.dropFirst(3)) \"\(text.string)\" does not exist")
  }

  private static func parseVector(_ text: Bytes, _ type: TypeID, _ arena: Arena) throws(SQLError) -> Value {
    let element = type.info.element ?? .int2
    var values: [Value] = []
    for part in text.string.split(separator: " ") {
      values.append(
        Value(try Bytes.with(String(part)) { (bytes) throws(SQLError) in try parseOID(bytes, element.info.name) }))
    }
    return try ArrayBuilder.make(values, element: element, dimensions: values.isEmpty ? [] : [(values.count, 0)], arena)
  }

  /// The length of the longest prefix of at most `limit` bytes that does not cut a character.
  static func nameLength(_ text: Bytes, limit: Int) -> Int {
    guard text.count > limit else { return text.count }
    var end = limit
    while end > 0, text[end] & 0xc0 == 0x80 { end -= 1 }
    return end
  }

  // MARK: Output

  /// Appends the value as the type's output function prints it. The value is not null.
  package static func format(
    _ value: Value, _ type: TypeID, into buffer: inout ByteBuffer, _ format: TextFormat
  ) throws(SQLError) {
    switch type {
    case .text, .varchar, .bpchar, .name, .char, .json, .jsonb, .unknown, .pgNodeTree: buffer.append(value.bytes)
    case .int2, .int4, .int8, .oid, .xid: buffer.append(decimal: value.int)
    case .bool: buffer.append(value.bool ? UInt8(ascii: "t") : UInt8(ascii: "f"))
    case .float8: FloatText.write(value.double, format.extraFloatDigits, into: &buffer)
    case .float4: FloatText.write(Float(value.double), format.extraFloatDigits, into: &buffer)
    case .numeric: NumericText.write(value, into: &buffer)
    case .bytea: writeBytea(value.bytes, hex: format.byteaHex, into: &buffer)
    case .date: DateTime.writeDate(value.int, format, into: &buffer)
    case .timestamp: DateTime.writeTimestamp(value.int, zone: nil, format, into: &buffer)
    case .timestamptz: DateTime.writeTimestamp(value.int, zone: format.timeZone, format, into: &buffer)
    case .time: DateTime.writeTime(value.int, into: &buffer)
    case .interval: Interval(value).write(into: &buffer, format.intervalStyle)
    case .uuid: writeUUID(value.bytes, into: &buffer)
    case .regclass, .regtype, .regproc, .regnamespace, .regrole: writeReg(value.int, type, format, into: &buffer)
    case .int2vector, .oidvector:
      let view = try ArrayView(value.bytes)
      for index in 0..<view.count {
        if index > 0 { buffer.append(32 as UInt8) }
        buffer.append(decimal: try view.value(index).int)
      }
    case .void: break
    case .record: try formatRecord(value.bytes, into: &buffer, format)
    default:
      if type.info.element != nil {
        try ArrayText.write(value.bytes, into: &buffer, format)
      } else {
        throw SQLError(.featureNotSupported, "cannot display a value of type \(type.info.name)")
      }
    }
  }

  static let hexDigits = [UInt8]("0123456789abcdef".utf8)

  static func writeBytea(_ bytes: Bytes, hex: Bool, into buffer: inout ByteBuffer) {
    if hex {
      buffer.reserve(2 + 2 * bytes.count)
      buffer.append("\\x" as StaticString)
      for byte in bytes {
        buffer.append(hexDigits[Int(byte >> 4)])
        buffer.append(hexDigits[Int(byte & 15)])
      }
      return
    }
    for byte in bytes {
      if byte == 0x5c {
        buffer.append("\\\\" as StaticString)
      } else if byte < 0x20 || byte > 0x7e {
        buffer.append(0x5c as UInt8)
        buffer.append(48 + (byte >> 6))
        buffer.append(48 + (byte >> 3 & 7))
        buffer.append(48 + (byte & 7))
      } else {
        buffer.append(byte)
      }
    }
  }

  static func writeUUID(_ bytes: Bytes, into buffer: inout ByteBuffer) {
    for (index, byte) in bytes.enumerated() {
      if index == 4 || index == 6 || index == 8 || index == 10 { buffer.append(UInt8(ascii: "-")) }
      buffer.append(hexDigits[Int(byte >> 4)])
      buffer.append(hexDigits[Int(byte & 15)])
    }
  }

  private static func writeReg(_ oid: Int64, _ type: TypeID, _ format: TextFormat, into buffer: inout ByteBuffer) {
    if oid == 0 {
      buffer.append(UInt8(ascii: "-"))
    } else if let name = format.names?.name(of: UInt32(truncatingIfNeeded: oid), type) {
      buffer.append(name)
    } else if type == .regtype, TypeID(UInt32(truncatingIfNeeded: oid)).exists {
      buffer.append(SQLType(TypeID(UInt32(truncatingIfNeeded: oid))).description)
    } else {
      buffer.append(decimal: oid)
    }
  }

  /// The value's text in `arena`.
  package static func text(_ value: Value, _ type: TypeID, _ arena: Arena, _ format: TextFormat) throws(SQLError)
    -> Bytes
  {
    var buffer = ByteBuffer(capacity: 64)
    try TypeCodec.format(value, type, into: &buffer, format)
    return buffer.copied(into: arena)
  }

  /// The value's text as a String; "NULL" is the caller's business.
  package static func string(_ value: Value, _ type: TypeID, _ format: TextFormat = TextFormat()) throws(SQLError)
    -> String
  {
    var buffer = ByteBuffer(capacity: 64)
    try TypeCodec.format(value, type, into: &buffer, format)
    return buffer.string
  }
}
