// What a type's modifier does to a value: varchar(n), char(n), numeric(p, s), timestamp(p), interval(p).

package enum TypeModifier {
  /// The value as one of `type` with its modifier; `explicit` casts cut text, assignments refuse to.
  ///
  /// - Throws: string_data_right_truncation (22001), numeric_value_out_of_range (22003).
  package static func apply(
    _ value: Value, _ type: SQLType, explicit: Bool, _ arena: Arena
  ) throws(SQLError) -> Value {
    guard type.modifier >= 0, !value.isNull else { return value }
    switch type.id {
    case .varchar, .bpchar:
      guard let limit = type.characterLimit else { return value }
      return try text(value.bytes, limit: limit, padded: type.id == .bpchar, explicit: explicit, arena)
    case .numeric:
      guard let (precision, scale) = type.numericPrecisionAndScale else { return value }
      return try Numeric.apply(precision: precision, scale: scale, value, arena)
    case .timestamp, .timestamptz:
      if value.int == Int64.max || value.int == Int64.min { return value }
      return Value(DateTime.round(value.int, digits: Int(type.modifier)))
    case .time: return Value(DateTime.round(value.int, digits: Int(type.modifier)))
    case .interval: return Interval(value).applying(modifier: type.modifier).value(arena)
    default:
      guard let element = type.element, let view = try? ArrayView(value.bytes) else { return value }
      var values: [Value] = []
      for item in try view.values {
        values.append(try apply(item, SQLType(element, modifier: type.modifier), explicit: explicit, arena))
      }
      let dimensions = (0..<view.dimensions).map { (length: view.length($0), lowerBound: view.lowerBound($0)) }
      return try ArrayBuilder.make(values, element: element, dimensions: dimensions, arena)
    }
  }

  private static func text(
    _ bytes: Bytes, limit: Int, padded: Bool, explicit: Bool, _ arena: Arena
  ) throws(SQLError) -> Value {
    let count = bytes.count <= limit && !padded ? bytes.count : TextScan.characterCount(bytes)
    if count <= limit {
      guard padded, count < limit else { return Value(bytes) }
      var buffer = ByteBuffer(capacity: bytes.count + limit - count)
      buffer.append(bytes)
      buffer.append(repeating: 32, count: limit - count)
      return Value(buffer.copied(into: arena))
    }
    let cut = TextScan.byteOffset(ofCharacter: limit, in: bytes)
    if !explicit {
      // Only blanks may be lost silently.
      for index in cut..<bytes.count where bytes[index] != 32 {
        throw SQLError(
          .stringTooLong, "value too long for type \(padded ? "character" : "character varying")(\(limit))")
      }
    }
    return Value(bytes.prefix(cut))
  }
}
