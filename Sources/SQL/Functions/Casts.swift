// The casts: pg_cast. What is not here goes through text, as PostgreSQL's I/O conversion casts do.

extension FunctionRegistry {
  private mutating func cast(
    _ source: TypeID, _ target: TypeID, _ context: CastContext, stable: Bool = false,
    _ body: @escaping ScalarImplementation
  ) {
    let function = ScalarFunction(
      target.info.name, [source], returns: target, stable ? .stable : .immutable, body: body)
    add(CastEntry(source: source, target: target, context: context, method: .function(function)))
  }
  private mutating func relabel(_ source: TypeID, _ target: TypeID, _ context: CastContext) {
    add(CastEntry(source: source, target: target, context: context, method: .relabel))
  }

  mutating func addCasts() {
    addNumberCasts()
    addTextCasts()
    addDateCasts()
    addJSONCasts()
    let references: [TypeID] = [.regclass, .regtype, .regproc, .regnamespace, .regrole]
    for reference in references {
      relabel(reference, .oid, .implicit)
      relabel(.oid, reference, .implicit)
      for integer in [TypeID.int2, .int4, .int8] {
        if integer == .int4 || integer == .int8 { relabel(reference, integer, .assignment) }
        cast(integer, reference, .implicit) { (a, _) throws(SQLError) in try CastFunctions.oid(a[0]) }
      }
    }
    for text in [TypeID.text, .varchar] {
      add(CastEntry(source: text, target: .regclass, context: .implicit, method: .viaText))
    }
  }

  private mutating func addNumberCasts() {
    relabel(.int2, .int4, .implicit)
    relabel(.int2, .int8, .implicit)
    relabel(.int4, .int8, .implicit)
    relabel(.oid, .int4, .assignment)
    relabel(.oid, .int8, .assignment)
    for integer in [TypeID.int2, .int4, .int8] {
      cast(integer, .oid, .implicit) { (a, _) throws(SQLError) in try CastFunctions.oid(a[0]) }
      cast(integer, .float4, .implicit) { (a, _) throws(SQLError) in Value(Double(Float(a[0].int))) }
      cast(integer, .float8, .implicit) { (a, _) throws(SQLError) in Value(Double(a[0].int)) }
      cast(integer, .numeric, .implicit) { (a, c) throws(SQLError) in Numeric.fromInt(a[0].int, c.arena) }
    }
    let targets: [(TypeID, Int64, Int64)] = [
      (.int2, Int64(Int16.min), Int64(Int16.max)), (.int4, Int64(Int32.min), Int64(Int32.max)),
      (.int8, Int64.min, Int64.max),
    ]
    for (target, low, high) in targets {
      let name = target.info.displayName
      for source in [TypeID.int4, .int8] where source.info.length > target.info.length {
        cast(source, target, .assignment) { (a, _) throws(SQLError) in
          guard a[0].int >= low, a[0].int <= high else { throw SQLError(.numericOutOfRange, "\(name) out of range") }
          return a[0]
        }
      }
      for source in [TypeID.float4, .float8] {
        cast(source, target, .assignment) { (a, _) throws(SQLError) in
          let rounded = a[0].double.rounded(.toNearestOrEven)
          // The upper bound is exclusive as a double: 2^63 is not an Int64.
          guard !rounded.isNaN, rounded >= Double(low), rounded < -Double(low) else {
            throw SQLError(.numericOutOfRange, "\(name) out of range")
          }
          return Value(Int64(rounded))
        }
      }
      cast(.numeric, target, .assignment) { (a, _) throws(SQLError) in
        if let special = a[0].numericSpecial {
          throw SQLError(.featureNotSupported, "cannot convert \(special == .nan ? "NaN" : "infinity") to \(name)")
        }
        guard let value = Numeric.int64(a[0]), value >= low, value <= high else {
          throw SQLError(.numericOutOfRange, "\(name) out of range")
        }
        return Value(value)
      }
    }
    relabel(.float4, .float8, .implicit)
    cast(.float8, .float4, .assignment) { (a, _) throws(SQLError) in try CastFunctions.real(a[0].double) }
    cast(.numeric, .float8, .implicit) { (a, _) throws(SQLError) in
      let value = Numeric.double(a[0])
      if value.isInfinite, a[0].numericSpecial == nil { throw CastFunctions.outOfRange(a[0], "double precision") }
      return Value(value)
    }
    cast(.numeric, .float4, .implicit) { (a, _) throws(SQLError) in
      let value = Float(Numeric.double(a[0]))
      if value.isInfinite, a[0].numericSpecial == nil { throw CastFunctions.outOfRange(a[0], "real") }
      return Value(Double(value))
    }
    cast(.float8, .numeric, .assignment) { (a, c) throws(SQLError) in
      try Numeric.fromDouble(a[0].double, digits: 15, c.arena)
    }
    cast(.float4, .numeric, .assignment) { (a, c) throws(SQLError) in
      try Numeric.fromDouble(a[0].double, digits: 6, c.arena)
    }
    cast(.int4, .bool, .explicit) { (a, _) throws(SQLError) in Value(a[0].int != 0) }
    cast(.bool, .int4, .explicit) { (a, _) throws(SQLError) in Value(a[0].bool ? 1 : 0) }
  }

  private mutating func addTextCasts() {
    relabel(.text, .varchar, .implicit)
    relabel(.varchar, .text, .implicit)
    relabel(.text, .bpchar, .implicit)
    relabel(.varchar, .bpchar, .implicit)
    for target in [TypeID.text, .varchar] {
      cast(.bpchar, target, .implicit) { (a, _) throws(SQLError) in Value(ValueOrder.unpadded(a[0].bytes)) }
    }
    for source in [TypeID.text, .varchar] {
      cast(source, .name, .implicit) { (a, _) throws(SQLError) in
        Value(a[0].bytes.prefix(TypeCodec.nameLength(a[0].bytes, limit: 63)))
      }
    }
    cast(.bpchar, .name, .implicit) { (a, _) throws(SQLError) in
      let text = ValueOrder.unpadded(a[0].bytes)
      return Value(text.prefix(TypeCodec.nameLength(text, limit: 63)))
    }
    relabel(.name, .text, .implicit)
    relabel(.name, .varchar, .assignment)
    relabel(.name, .bpchar, .assignment)
    relabel(.char, .text, .implicit)
    relabel(.char, .varchar, .assignment)
    relabel(.char, .bpchar, .assignment)
    for source in [TypeID.text, .varchar, .bpchar] {
      cast(source, .char, .assignment) { (a, _) throws(SQLError) in Value(a[0].bytes.prefix(1)) }
    }
    cast(.char, .int4, .explicit) { (a, _) throws(SQLError) in
      Value(a[0].bytes.isEmpty ? 0 : Int(Int8(bitPattern: a[0].bytes[0])))
    }
    cast(.int4, .char, .explicit) { (a, c) throws(SQLError) in
      guard a[0].int >= -128, a[0].int <= 127 else { throw SQLError(.numericOutOfRange, "\"char\" out of range") }
      return Value(a[0].int == 0 ? .empty : c.arena.copy([UInt8(truncatingIfNeeded: a[0].int)]))
    }
    for target in [TypeID.text, .varchar, .bpchar] {
      cast(.bool, target, .assignment) { (a, c) throws(SQLError) in
        Value(c.arena.copy(a[0].bool ? "true" : "false"))
      }
    }
  }

  private mutating func addDateCasts() {
    cast(.date, .timestamp, .implicit) { (a, _) throws(SQLError) in Value(try DateArithmetic.timestamp(ofDay: a[0].int))
    }
    cast(.date, .timestamptz, .implicit, stable: true) { (a, c) throws(SQLError) in
      let local = try DateArithmetic.timestamp(ofDay: a[0].int)
      return Value(local == Int64.max || local == Int64.min ? local : c.format.timeZone.instant(ofLocal: local))
    }
    cast(.timestamp, .date, .assignment) { (a, _) throws(SQLError) in Value(DateArithmetic.day(of: a[0].int)) }
    cast(.timestamptz, .date, .assignment, stable: true) { (a, c) throws(SQLError) in
      Value(DateArithmetic.day(of: DateTime.local(a[0].int, c.format.timeZone)))
    }
    cast(.timestamp, .timestamptz, .implicit, stable: true) { (a, c) throws(SQLError) in
      let local = a[0].int
      return Value(local == Int64.max || local == Int64.min ? local : c.format.timeZone.instant(ofLocal: local))
    }
    cast(.timestamptz, .timestamp, .assignment, stable: true) { (a, c) throws(SQLError) in
      Value(DateTime.local(a[0].int, c.format.timeZone))
    }
    cast(.timestamp, .time, .assignment) { (a, _) throws(SQLError) in
      a[0].int == Int64.max || a[0].int == Int64.min ? .null : Value(Calendar.split(a[0].int).time)
    }
    cast(.timestamptz, .time, .assignment, stable: true) { (a, c) throws(SQLError) in
      a[0].int == Int64.max || a[0].int == Int64.min
        ? .null : Value(Calendar.split(DateTime.local(a[0].int, c.format.timeZone)).time)
    }
    cast(.time, .interval, .implicit) { (a, c) throws(SQLError) in Interval(microseconds: a[0].int).value(c.arena) }
    cast(.interval, .time, .assignment) { (a, _) throws(SQLError) in
      Value(Calendar.split(Interval(a[0]).microseconds).time)
    }
  }

  private mutating func addJSONCasts() {
    add(CastEntry(source: .json, target: .jsonb, context: .assignment, method: .viaText))
    relabel(.jsonb, .json, .assignment)
    cast(.jsonb, .bool, .explicit) { (a, _) throws(SQLError) in
      guard case .bool(let value) = try JSONText.parse(a[0].bytes) else { throw CastFunctions.badJSON(a[0], "boolean") }
      return Value(value)
    }
    for target in [TypeID.numeric, .int2, .int4, .int8, .float4, .float8] {
      cast(target: target)
    }
  }

  private mutating func cast(target: TypeID) {
    cast(.jsonb, target, .explicit) { (a, c) throws(SQLError) in
      guard case .number(let text) = try JSONText.parse(a[0].bytes) else {
        throw CastFunctions.badJSON(a[0], target.info.displayName)
      }
      let number = try Bytes.with(text) { (bytes) throws(SQLError) in try NumericText.parse(bytes, c.arena) }
      switch target {
      case .numeric: return number
      case .float4, .float8:
        return Value(target == .float4 ? Double(Float(Numeric.double(number))) : Numeric.double(number))
      default:
        guard let value = Numeric.int64(number),
          CompiledExpression.fits(value, target == .int2 ? 0 : target == .int4 ? 1 : 2)
        else { throw SQLError(.numericOutOfRange, "\(target.info.displayName) out of range") }
        return Value(value)
      }
    }
  }
}

enum CastFunctions {
  static func oid(_ value: Value) throws(SQLError) -> Value {
    guard value.int >= Int64(Int32.min), value.int <= Int64(UInt32.max) else {
      throw SQLError(.numericOutOfRange, "OID out of range")
    }
    return Value(Int64(UInt32(truncatingIfNeeded: value.int)))
  }

  static func real(_ value: Double) throws(SQLError) -> Value {
    let single = Float(value)
    if single.isInfinite, !value.isInfinite { throw DoubleArithmetic.overflow() }
    if single == 0, value != 0 { throw DoubleArithmetic.underflow() }
    return Value(Double(single))
  }

  static func outOfRange(_ value: Value, _ name: String) -> SQLError {
    var buffer = ByteBuffer()
    NumericText.write(value, into: &buffer)
    return SQLError(.numericOutOfRange, "\"\(buffer.string)\" is out of range for type \(name)")
  }

  static func badJSON(_ value: Value, _ target: String) -> SQLError {
    let kind = (try? JSONText.parse(value.bytes).typeName) ?? "unknown"
    let shown = kind == "number" ? "numeric" : kind
    return SQLError(.invalidParameterValue, "cannot cast jsonb \(shown) to type \(target)")
  }
}
