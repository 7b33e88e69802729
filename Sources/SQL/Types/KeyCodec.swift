// Keys of tables and indexes: bytes whose order is the order of the columns' values. Each column is self-delimiting, so a
// composite key is the columns one after another, and a prefix of the columns is a prefix of the key.
//
// A column is a marker byte and, unless it is null, the value:
//   marker   0x00 null (NULLS FIRST)   0x01 a value   0x02 null (NULLS LAST)       0x03…0xff are above every column
//
//   type                        value bytes, ascending
//   boolean                     0x00 false, 0x01 true
//   smallint / integer, date / bigint, time, timestamp, timestamptz   2 / 4 / 8 bytes, big-endian, sign bit inverted
//   oid, reg*                   4 bytes, big-endian
//   real / double               4 / 8 bytes of IEEE 754, big-endian: sign bit inverted if positive, all bits if negative;
//                               -0 is written as 0, every NaN as the one positive NaN: above everything
//   text, varchar, name, "char" the bytes (never 0x00), then 0x00
//   char(n)                     the bytes without trailing blanks, then 0x00
//   bytea                       the bytes, 0x00 as 0x00 0xff; then 0x00 0x01
//   uuid                        16 bytes
//   interval                    16 bytes: its length in microseconds (months of 30 days), big-endian, sign bit inverted
//   numeric                     see `NumericKey`
//   arrays                      for each element 0x01 and its bytes, or 0x02 for null; then 0x00, the number of dimensions
//                               and for each its length and lower bound (4 bytes each, sign bit inverted)
//
// A descending column has the bits of its value bytes (not of the marker) inverted.
//
// Decoding gives back the value where the key holds all of it: every type above except numeric without a scale (its
// display scale is not in the key: 1.0 and 1.00 are one key), floating point (-0), interval and arrays.

/// One column of a key.
package struct KeyColumn: Sendable, Hashable {
  package let type: SQLType
  package let descending: Bool
  package let nullsFirst: Bool

  /// - Parameter nullsFirst: PostgreSQL's default is last for ascending, first for descending.
  package init(_ type: SQLType, descending: Bool = false, nullsFirst: Bool? = nil) {
    self.type = type
    self.descending = descending
    self.nullsFirst = nullsFirst ?? descending
  }

  /// Whether values of the type can be keys at all.
  package var isOrderable: Bool { ValueOrder(type.id) != nil && type.id != .jsonb }

  /// Whether `KeyCodec.decode` restores the value exactly.
  package var isDecodable: Bool {
    switch type.storage {
    case .numeric: return (type.numericPrecisionAndScale?.scale ?? -1) >= 0
    case .float32, .float64: return false
    case .fixed16: return type.id == .uuid
    case .variable: return !type.isArray && type.id != .jsonb && (type.id != .bpchar || type.characterLimit != nil)
    default: return true
    }
  }
}

package enum KeyCodec {
  /// A byte above every column's first: a key prefix followed by it ends the prefix's range.
  package static let afterAll: UInt8 = 0xff
  package static let nullFirst: UInt8 = 0x00
  package static let present: UInt8 = 0x01
  package static let nullLast: UInt8 = 0x02

  /// Appends the key bytes of `value`.
  @inlinable package static func append(_ value: Value, _ column: KeyColumn, to buffer: inout ByteBuffer) {
    if value.isNull {
      buffer.append(column.nullsFirst ? nullFirst : nullLast)
      return
    }
    buffer.append(present)
    let start = buffer.count
    appendValue(value, column.type.id, &buffer)
    if column.descending { buffer.complement(from: start) }
  }

  @usableFromInline static func appendValue(_ value: Value, _ type: TypeID, _ buffer: inout ByteBuffer) {
    switch type {
    case .int4, .date: buffer.append(big: UInt32(bitPattern: Int32(truncatingIfNeeded: value.int)) ^ (1 << 31))
    case .int8, .timestamp, .timestamptz, .time: buffer.append(big: UInt64(bitPattern: value.int) ^ (1 << 63))
    case .int2: buffer.append(big: UInt16(bitPattern: Int16(truncatingIfNeeded: value.int)) ^ (1 << 15))
    case .text, .varchar, .name, .char, .unknown:
      buffer.append(value.bytes)
      buffer.append(0 as UInt8)
    case .bpchar:
      buffer.append(ValueOrder.unpadded(value.bytes))
      buffer.append(0 as UInt8)
    case .bool: buffer.append(value.bool ? 1 as UInt8 : 0)
    case .float8:
      let canonical = value.double == 0 ? 0 : (value.double.isNaN ? Double.nan : value.double)
      let bits = canonical.bitPattern
      buffer.append(big: bits >> 63 == 1 ? ~bits : bits | (1 << 63))
    case .float4:
      let single = Float(value.double)
      let bits = (single == 0 ? 0 : (single.isNaN ? Float.nan : single)).bitPattern
      buffer.append(big: bits >> 31 == 1 ? ~bits : bits | (1 << 31))
    case .bytea:
      for byte in value.bytes {
        buffer.append(byte)
        if byte == 0 { buffer.append(0xff as UInt8) }
      }
      buffer.append(0 as UInt8)
      buffer.append(1 as UInt8)
    case .uuid: buffer.append(value.bytes)
    case .interval:
      let length = UInt128(bitPattern: Interval(value).comparable) ^ (1 << 127)
      buffer.append(big: UInt64(length >> 64))
      buffer.append(big: UInt64(truncatingIfNeeded: length))
    case .numeric: NumericKey.append(value, to: &buffer)
    default:
      switch type.info.storage {
      case .oid: buffer.append(big: UInt32(truncatingIfNeeded: value.int))
      default: appendArray(value, &buffer)
      }
    }
  }

  private static func appendArray(_ value: Value, _ buffer: inout ByteBuffer) {
    guard let view = try? ArrayView(value.bytes) else {
      buffer.append(0 as UInt8)
      return
    }
    for index in 0..<view.count {
      let item = (try? view.value(index)) ?? .null
      if item.isNull {
        buffer.append(2 as UInt8)
      } else {
        buffer.append(1 as UInt8)
        appendValue(item, view.element, &buffer)
      }
    }
    buffer.append(0 as UInt8)
    buffer.append(UInt8(view.dimensions))
    for d in 0..<view.dimensions {
      buffer.append(big: UInt32(bitPattern: Int32(view.length(d))) ^ (1 << 31))
      buffer.append(big: UInt32(bitPattern: Int32(view.lowerBound(d))) ^ (1 << 31))
    }
  }

  static func damaged() -> SQLError {
    SQLError(
      .dataCorrupted, "index key is damaged: its bytes are not those of its columns",
      hint: "Run synod verify on the data directory; rebuild the index with REINDEX.")
  }

  /// Reads the column that begins at `offset` and moves past it. What has to be unescaped goes to `arena`; ascending
  /// text is borrowed from `key`. For a column that is not `isDecodable` the value is one that compares equal.
  ///
  /// - Throws: data_corrupted.
  package static func decode(
    _ key: Bytes, _ offset: inout Int, _ column: KeyColumn, _ arena: Arena
  ) throws(SQLError) -> Value {
    guard offset >= 0, offset < key.count else { throw damaged() }
    let marker = key[offset]
    offset += 1
    if marker != present {
      guard marker == nullFirst || marker == nullLast else { throw damaged() }
      return .null
    }
    guard column.descending else { return try decodeValue(key, &offset, column.type, arena) }
    // Inverting the rest is right wherever this column ends, since only its own bytes are read.
    let length = min(key.count - offset, try inverseLength(key, offset, column.type.id))
    let start = unsafe arena.allocate(max(length, 1))
    for index in 0..<length { unsafe start.storeBytes(of: ~key[offset + index], toByteOffset: index, as: UInt8.self) }
    let inverted = unsafe Bytes(start: start, count: length)
    var at = 0
    let value = try decodeValue(inverted, &at, column.type, arena)
    offset += at
    return value
  }

  /// How many bytes a descending column's value has.
  private static func inverseLength(_ key: Bytes, _ offset: Int, _ type: TypeID) throws(SQLError) -> Int {
    if type == .uuid || type == .interval { return 16 }
    switch type.info.storage {
    case .bool: return 1
    case .int16: return 2
    case .int32, .oid, .float32: return 4
    case .int64, .float64: return 8
    default: return key.count - offset
    }
  }

  private static func integer<T: FixedWidthInteger & BitwiseCopyable>(
    _ key: Bytes, _ offset: inout Int, _ type: T.Type
  ) throws(SQLError) -> T {
    let size = MemoryLayout<T>.size
    guard offset + size <= key.count else { throw damaged() }
    let value = key.load(offset, as: T.self).byteSwapped
    offset += size
    return value
  }

  private static func decodeValue(
    _ key: Bytes, _ offset: inout Int, _ type: SQLType, _ arena: Arena
  ) throws(SQLError) -> Value {
    switch type.id {
    case .int4, .date: return Value(Int64(Int32(bitPattern: try integer(key, &offset, UInt32.self) ^ (1 << 31))))
    case .int8, .timestamp, .timestamptz, .time:
      return Value(Int64(bitPattern: try integer(key, &offset, UInt64.self) ^ (1 << 63)))
    case .int2: return Value(Int64(Int16(bitPattern: try integer(key, &offset, UInt16.self) ^ (1 << 15))))
    case .text, .varchar, .name, .char, .unknown, .bpchar:
      guard let end = key.firstIndex(of: 0 as UInt8, from: offset) else { throw damaged() }
      let text = key[offset..<end]
      offset = end + 1
      guard type.id == .bpchar, type.modifier >= 0 else { return Value(text) }
      return try TypeModifier.apply(Value(text), type, explicit: true, arena)
    case .bool: return Value(try integer(key, &offset, UInt8.self) != 0)
    case .float8:
      let bits = try integer(key, &offset, UInt64.self)
      return Value(Double(bitPattern: bits >> 63 == 1 ? bits & ~(1 << 63) : ~bits))
    case .float4:
      let bits = try integer(key, &offset, UInt32.self)
      return Value(Double(Float(bitPattern: bits >> 31 == 1 ? bits & ~(1 << 31) : ~bits)))
    case .bytea: return Value(try escaped(key, &offset, arena))
    case .uuid:
      guard offset + 16 <= key.count else { throw damaged() }
      offset += 16
      return Value(key[offset - 16..<offset])
    case .interval:
      let high = try integer(key, &offset, UInt64.self)
      let low = try integer(key, &offset, UInt64.self)
      let length = Int128(bitPattern: (UInt128(high) << 64 | UInt128(low)) ^ (1 << 127))
      let perMonth = Int128(30) * Int128(Calendar.microsecondsPerDay)
      let months = length / perMonth
      let days = length % perMonth / Int128(Calendar.microsecondsPerDay)
      return Interval(
        months: Int32(truncatingIfNeeded: months), days: Int32(truncatingIfNeeded: days),
        microseconds: Int64(truncatingIfNeeded: length % Int128(Calendar.microsecondsPerDay))
      ).value(arena)
    case .numeric: return try NumericKey.decode(key, &offset, scale: type.numericPrecisionAndScale?.scale, arena)
    default:
      if type.storage == .oid { return Value(Int64(try integer(key, &offset, UInt32.self))) }
      guard let element = type.element else { throw damaged() }
      return try decodeArray(key, &offset, element, arena)
    }
  }

  private static func escaped(_ key: Bytes, _ offset: inout Int, _ arena: Arena) throws(SQLError) -> Bytes {
    var buffer = ByteBuffer(capacity: 64)
    while offset < key.count {
      let byte = key[offset]
      offset += 1
      guard byte == 0 else {
        buffer.append(byte)
        continue
      }
      guard offset < key.count else { break }
      let next = key[offset]
      offset += 1
      if next == 1 { return buffer.copied(into: arena) }
      guard next == 0xff else { break }
      buffer.append(0 as UInt8)
    }
    throw damaged()
  }

  private static func decodeArray(
    _ key: Bytes, _ offset: inout Int, _ element: TypeID, _ arena: Arena
  ) throws(SQLError) -> Value {
    var values: [Value] = []
    while true {
      let marker = try integer(key, &offset, UInt8.self)
      if marker == 0 { break }
      values.append(marker == 2 ? .null : try decodeValue(key, &offset, SQLType(element), arena))
    }
    var dimensions: [(length: Int, lowerBound: Int)] = []
    let count = Int(try integer(key, &offset, UInt8.self))
    guard count <= 6 else { throw damaged() }
    for _ in 0..<count {
      let length = Int(Int32(bitPattern: try integer(key, &offset, UInt32.self) ^ (1 << 31)))
      dimensions.append((length, Int(Int32(bitPattern: try integer(key, &offset, UInt32.self) ^ (1 << 31)))))
    }
    guard dimensions.reduce(count == 0 ? 0 : 1, { $0 &* $1.length }) == values.count else { throw damaged() }
    return try ArrayBuilder.make(values, element: element, dimensions: dimensions, arena)
  }
}
