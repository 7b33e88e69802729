import SQL

/// SplitMix64: values from a seed.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// Random values of a type, edges often.
struct RandomValues {
  var random: SeededGenerator
  let arena: Arena

  static let types: [SQLType] = [
    .bool, .int2, .int4, .int8, .float4, .float8, .numeric, .numeric(precision: 12, scale: 3), .text, .varchar(20),
    .char(6),
    .bytea, .date, .time, .timestamp, .timestamptz, .interval, .uuid, .oid, .name, SQLType(TypeID(1007)),
    SQLType(TypeID(1009)),
    SQLType(TypeID(1231)),
  ]

  mutating func integer(_ bits: Int) -> Int64 {
    let edges: [Int64] = [
      0, 1, -1, 2, -2, 127, -128, 255, 256, Int64.max >> Int64(64 - bits), Int64.min >> Int64(64 - bits),
    ]
    if Int.random(in: 0..<3, using: &random) == 0 { return edges.randomElement(using: &random)! }
    let shift = Int64.random(in: Int64(64 - bits)...63, using: &random)
    return Int64(bitPattern: random.next()) >> shift
  }

  mutating func bytes(_ limit: Int, text: Bool) -> Value {
    let alphabet: [String] = text ? ["a", "b", "B", " ", "é", "z", "%", "\u{10348}", "~"] : []
    let count = Int.random(in: 0...limit, using: &random)
    if text {
      return Value(arena.copy((0..<count).map { _ in alphabet.randomElement(using: &random)! }.joined()))
    }
    return Value(arena.copy((0..<count).map { _ in [0, 1, 0xff, 0x61, 0xfe].randomElement(using: &random)! as UInt8 }))
  }

  mutating func numeric() throws -> Value {
    switch Int.random(in: 0..<10, using: &random) {
    case 0: return [Value.numericNaN, .numericInfinity, .numericNegativeInfinity].randomElement(using: &random)!
    case 1...5:
      let text = "\(integer(64))e\(Int.random(in: -20...20, using: &random))"
      return try Bytes.with(text) { try NumericText.parse($0, arena) }
    case 6:
      let text = "\(integer(40)).\(UInt32.random(in: 0...99999, using: &random))00"
      return try Bytes.with(text) { try NumericText.parse($0, arena) }
    default:
      let digits = (0..<Int.random(in: 1...60, using: &random)).map { _ in "\(Int.random(in: 0...9, using: &random))" }
        .joined()
      let text = "\(Bool.random(using: &random) ? "-" : "")\(digits)e\(Int.random(in: -70...30, using: &random))"
      return try Bytes.with(text) { try NumericText.parse($0, arena) }
    }
  }

  mutating func value(_ type: SQLType) throws -> Value {
    switch type.id {
    case .bool: return Value(Bool.random(using: &random))
    case .int2: return Value(integer(16))
    case .int4: return Value(integer(32))
    case .int8: return Value(integer(64))
    case .oid: return Value(integer(33) & 0xffff_ffff)
    case .date: return Value(Int64.random(in: -2_451_545...2_145_031_948, using: &random))
    case .time: return Value(Int64.random(in: 0...86_400_000_000, using: &random))
    case .timestamp, .timestamptz:
      return Value(
        Bool.random(using: &random)
          ? Int64.random(in: -211_813_488_000_000_000..<9_223_371_331_200_000_000, using: &random)
          : [Int64.max, Int64.min, 0, 1, -1].randomElement(using: &random)!)
    case .float8:
      let edges = [0, -0.0, 1.5, -1.5, .nan, .infinity, -.infinity, Double.leastNonzeroMagnitude, 1e308, -1e-300]
      return Value(
        Bool.random(using: &random) ? edges.randomElement(using: &random)! : Double(bitPattern: random.next()))
    case .float4:
      let edges: [Float] = [0, -0.0, 1.5, -1.5, .nan, .infinity, -.infinity, Float.leastNonzeroMagnitude, 3e38]
      return Value(
        Double(
          Bool.random(using: &random)
            ? edges.randomElement(using: &random)! : Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))))
    case .numeric:
      let value = try numeric()
      guard let (precision, _) = type.numericPrecisionAndScale, precision > 0 else { return value }
      return (try? TypeModifier.apply(value, type, explicit: true, arena)) ?? Value(mantissa: 12345, scale: 3)
    case .interval:
      return Interval(months: Int32(integer(16)), days: Int32(integer(16)), microseconds: integer(50)).value(arena)
    case .uuid:
      return Value(arena.copy((0..<16).map { _ in [0, 1, 0xff, 0x80].randomElement(using: &random)! as UInt8 }))
    case .bytea: return bytes(12, text: false)
    case .bpchar: return try TypeModifier.apply(bytes(6, text: true), type, explicit: true, arena)
    case .varchar, .text, .name: return bytes(12, text: true)
    default:
      let element = type.element!
      var values: [Value] = []
      for _ in 0..<Int.random(in: 0...4, using: &random) {
        values.append(Int.random(in: 0..<5, using: &random) == 0 ? .null : try value(SQLType(element)))
      }
      return try ArrayBuilder.make(values, element: element, arena)
    }
  }

  mutating func nullable(_ type: SQLType) throws -> Value {
    Int.random(in: 0..<6, using: &random) == 0 ? .null : try value(type)
  }
}

/// Whether two values are the same to the last bit that is visible.
func identical(_ a: Value, _ b: Value, _ type: SQLType) -> Bool {
  if a.isNull || b.isNull { return a.isNull && b.isNull }
  return (try? TypeCodec.string(a, type.id)) == (try? TypeCodec.string(b, type.id))
}
