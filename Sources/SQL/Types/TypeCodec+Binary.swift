// The binary formats of the wire protocol: what `typsend` writes and `typreceive` reads, all big-endian.
//
//   boolean 1 byte · integers, oid, reg* 2/4/8 · floats IEEE · text-like: the bytes · bytea: the bytes · uuid 16
//   date Int32 days · time, timestamp[tz] Int64 microseconds · interval Int64 µs, Int32 days, Int32 months
//   numeric: Int16 digit count, Int16 weight, UInt16 sign (0, 0x4000 negative, 0xC000 NaN, 0xD000 ∞, 0xF000 -∞),
//            Int16 display scale, digits Int16 in base 10000
//   jsonb: version byte 1, then the text · arrays: Int32 dimensions, has-null, element oid; per dimension Int32 length and
//   lower bound; per element Int32 length (-1 null) and bytes

extension TypeCodec {
  /// Appends the value in binary form. The value is not null.
  package static func encodeBinary(
    _ value: Value, _ type: TypeID, into buffer: inout ByteBuffer
  ) throws(SQLError) {
    switch type {
    case .bool: buffer.append(value.bool ? 1 as UInt8 : 0)
    case .float4: buffer.append(big: Float(value.double).bitPattern)
    case .float8: buffer.append(big: value.double.bitPattern)
    case .numeric: encodeNumeric(value, into: &buffer)
    case .interval:
      let interval = Interval(value)
      buffer.append(big: interval.microseconds)
      buffer.append(big: interval.days)
      buffer.append(big: interval.months)
    case .jsonb:
      buffer.append(1 as UInt8)
      buffer.append(value.bytes)
    case .void: break
    case .record: buffer.append(value.bytes)
    case .char:
      buffer.append(value.bytes.isEmpty ? 0 : value.bytes[0])
    default:
      switch type.info.storage {
      case .int16: buffer.append(big: Int16(truncatingIfNeeded: value.int))
      case .int32: buffer.append(big: Int32(truncatingIfNeeded: value.int))
      case .oid: buffer.append(big: UInt32(truncatingIfNeeded: value.int))
      case .int64: buffer.append(big: value.int)
      default:
        if type.info.element != nil { try encodeArray(value.bytes, into: &buffer) } else { buffer.append(value.bytes) }
      }
    }
  }

  private static func encodeNumeric(_ value: Value, into buffer: inout ByteBuffer) {
    if let special = value.numericSpecial {
      let sign: UInt16 = special == .nan ? 0xc000 : special == .infinity ? 0xd000 : 0xf000
      buffer.append(big: UInt32(0))
      buffer.append(big: sign)
      buffer.append(big: special == .nan ? UInt16(0) : UInt16(0x20))
      return
    }
    let variable = NumericVariable(value)
    buffer.append(big: Int16(truncatingIfNeeded: variable.digits.count))
    buffer.append(big: Int16(truncatingIfNeeded: variable.weight))
    buffer.append(big: variable.isNegative ? UInt16(0x4000) : 0)
    buffer.append(big: UInt16(truncatingIfNeeded: variable.displayScale))
    for digit in variable.digits { buffer.append(big: digit) }
  }

  private static func encodeArray(_ bytes: Bytes, into buffer: inout ByteBuffer) throws(SQLError) {
    let view = try ArrayView(bytes)
    buffer.append(big: Int32(view.dimensions))
    buffer.append(big: Int32(bytes[5]))
    buffer.append(big: view.element.rawValue)
    for d in 0..<view.dimensions {
      buffer.append(big: Int32(view.length(d)))
      buffer.append(big: Int32(view.lowerBound(d)))
    }
    var item = ByteBuffer(capacity: 64)
    for index in 0..<view.count {
      let value = try view.value(index)
      if value.isNull {
        buffer.append(big: Int32(-1))
        continue
      }
      item.removeAll()
      try encodeBinary(value, view.element, into: &item)
      buffer.append(big: Int32(item.count))
      buffer.append(item.bytes)
    }
  }

  // MARK: Reading

  static func badBinary(_ type: TypeID) -> SQLError {
    SQLError(.invalidBinary, "incorrect binary data format for type \(SQLType(type).description)")
  }
  static func insufficient() -> SQLError {
    SQLError(.protocolViolation, "insufficient data left in message")
  }

  private static func big<T: FixedWidthInteger & BitwiseCopyable>(_ bytes: Bytes, _ at: Int, _ type: T.Type)
    throws(SQLError) -> T
  {
    guard at >= 0, at + MemoryLayout<T>.size <= bytes.count else { throw insufficient() }
    return bytes.load(at, as: T.self).byteSwapped
  }

  /// Reads a value in binary form; bytes are copied to `arena`.
  ///
  /// - Throws: invalid_binary_representation (22P03), protocol_violation (08P01), or what the type's input checks throw.
  package static func decodeBinary(
    _ bytes: Bytes, _ type: TypeID, _ arena: Arena
  ) throws(SQLError) -> Value {
    func size(_ n: Int) throws(SQLError) {
      guard bytes.count >= n else { throw insufficient() }
      guard bytes.count == n else { throw badBinary(type) }
    }
    switch type {
    case .bool:
      try size(1)
      return Value(bytes[0] != 0)
    case .float4:
      try size(4)
      return Value(Double(Float(bitPattern: try big(bytes, 0, UInt32.self))))
    case .float8:
      try size(8)
      return Value(Double(bitPattern: try big(bytes, 0, UInt64.self)))
    case .text, .varchar, .bpchar, .unknown:
      try TextScan.checkUTF8(bytes)
      return Value(arena.copy(bytes))
    case .name:
      try TextScan.checkUTF8(bytes)
      guard bytes.count < 64 else {
        throw SQLError(.nameTooLong, "identifier too long", detail: "Identifier must be less than 64 characters.")
      }
      return Value(arena.copy(bytes))
    case .char:
      try size(1)
      return Value(bytes[0] == 0 ? .empty : arena.copy(bytes))
    case .bytea: return Value(arena.copy(bytes))
    case .json:
      try TextScan.checkUTF8(bytes)
      return Value(try JSONText.validated(bytes, arena))
    case .jsonb:
      guard bytes.count > 0 else { throw insufficient() }
      guard bytes[0] == 1 else {
        throw SQLError(.internalError, "unsupported jsonb version number \(bytes[0])")
      }
      let text = bytes.dropFirst(1)
      try TextScan.checkUTF8(text)
      return Value(try JSONText.canonical(text, arena))
    case .uuid:
      try size(16)
      return Value(arena.copy(bytes))
    case .date:
      try size(4)
      let day = Int64(try big(bytes, 0, Int32.self))
      guard
        day == DateTime.dateInfinity || day == DateTime.dateNegativeInfinity
          || (day >= Calendar.minimumDay && day < Calendar.endDay)
      else {
        throw SQLError(.datetimeOverflow, "date out of range")
      }
      return Value(day)
    case .time:
      try size(8)
      let time = try big(bytes, 0, Int64.self)
      guard time >= 0, time <= Calendar.microsecondsPerDay else {
        throw SQLError(.datetimeOverflow, "time out of range")
      }
      return Value(time)
    case .timestamp, .timestamptz:
      try size(8)
      let timestamp = try big(bytes, 0, Int64.self)
      guard timestamp == Int64.max || timestamp == Int64.min || DateTime.isInRange(timestamp) else {
        throw SQLError(.datetimeOverflow, "timestamp out of range")
      }
      return Value(timestamp)
    case .interval:
      try size(16)
      return Interval(
        months: try big(bytes, 12, Int32.self), days: try big(bytes, 8, Int32.self),
        microseconds: try big(bytes, 0, Int64.self)
      ).value(arena)
    case .numeric: return try decodeNumeric(bytes, arena)
    case .void: return .null
    default: break
    }
    switch type.info.storage {
    case .int16:
      try size(2)
      return Value(Int64(try big(bytes, 0, Int16.self)))
    case .int32:
      try size(4)
      return Value(Int64(try big(bytes, 0, Int32.self)))
    case .oid:
      try size(4)
      return Value(Int64(try big(bytes, 0, UInt32.self)))
    case .int64:
      try size(8)
      return Value(try big(bytes, 0, Int64.self))
    default:
      guard let element = type.info.element else {
        throw SQLError(.featureNotSupported, "no binary input function available for type \(type.info.name)")
      }
      return try decodeArray(bytes, element, arena)
    }
  }

  private static func decodeNumeric(_ bytes: Bytes, _ arena: Arena) throws(SQLError) -> Value {
    let count = Int(try big(bytes, 0, UInt16.self))
    let weight = Int(try big(bytes, 2, Int16.self))
    let sign = try big(bytes, 4, UInt16.self)
    let scale = Int(try big(bytes, 6, UInt16.self))
    switch sign {
    case 0xc000: return .numericNaN
    case 0xd000: return .numericInfinity
    case 0xf000: return .numericNegativeInfinity
    case 0, 0x4000: break
    default: throw SQLError(.invalidBinary, "invalid sign in external \"numeric\" value")
    }
    guard scale <= NumericVariable.maximumDisplayScale else {
      throw SQLError(.invalidBinary, "invalid scale in external \"numeric\" value")
    }
    guard bytes.count >= 8 + 2 * count else { throw insufficient() }
    guard bytes.count == 8 + 2 * count else { throw badBinary(.numeric) }
    var variable = NumericVariable()
    variable.weight = weight
    variable.isNegative = sign == 0x4000
    variable.digits.reserveCapacity(count)
    for index in 0..<count {
      let digit = try big(bytes, 8 + 2 * index, Int16.self)
      guard digit >= 0, digit < 10000 else {
        throw SQLError(.invalidBinary, "invalid digit in external \"numeric\" value")
      }
      variable.digits.append(digit)
    }
    variable.normalize()
    variable.truncate(to: scale)
    return try Numeric.checked(variable, arena)
  }

  private static func decodeArray(_ bytes: Bytes, _ element: TypeID, _ arena: Arena) throws(SQLError) -> Value {
    let dimensionCount = Int(try big(bytes, 0, Int32.self))
    guard dimensionCount >= 0, dimensionCount <= 6 else {
      throw SQLError(.invalidBinary, "invalid number of dimensions: \(dimensionCount)")
    }
    let sent = TypeID(try big(bytes, 8, UInt32.self))
    guard sent == element else {
      throw SQLError(
        .datatypeMismatch,
        "binary data has array element type \(sent.rawValue) (\(sent.exists ? SQLType(sent).description : "unknown")) instead of expected \(element.rawValue) (\(SQLType(element).description))"
      )
    }
    var at = 12
    var dimensions: [(length: Int, lowerBound: Int)] = []
    var total = dimensionCount == 0 ? 0 : 1
    for _ in 0..<dimensionCount {
      let length = Int(try big(bytes, at, Int32.self))
      let lower = Int(try big(bytes, at + 4, Int32.self))
      at += 8
      guard length >= 0, length < 1 << 27 else { throw badBinary(element) }
      total *= length
      // Each element takes at least four bytes of the message, which bounds what is allocated.
      guard total <= bytes.count / 4 else { throw insufficient() }
      dimensions.append((length, lower))
    }
    var values: [Value] = []
    values.reserveCapacity(total)
    for _ in 0..<total {
      let length = Int(try big(bytes, at, Int32.self))
      at += 4
      if length == -1 {
        values.append(.null)
        continue
      }
      guard length >= 0, at + length <= bytes.count else { throw insufficient() }
      values.append(try decodeBinary(bytes[at..<at + length], element, arena))
      at += length
    }
    guard at == bytes.count else { throw badBinary(element) }
    return try ArrayBuilder.make(values, element: element, dimensions: total == 0 ? [] : dimensions, arena)
  }
}
