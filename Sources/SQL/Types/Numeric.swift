internal import Glibc

// The operations of `numeric` on values: words where both operands are small, `NumericVariable` where they are not.
//
// Small path: operands are mantissa · 10^-scale with |mantissa| < 2^63, scale ≤ 18; sums and products are formed in 128
// bits, which cannot overflow (2^63 · 10^18 < 2^127 for an aligned operand is checked, a product of mantissas always fits),
// and stay small when the result does. NaN equals itself and sorts above everything; infinities as IEEE does.

/// `numeric` arithmetic over values.
package enum Numeric {
  static let powers: [Int128] = {
    var powers: [Int128] = [1]
    for _ in 1...38 { powers.append(powers[powers.count - 1] * 10) }
    return powers
  }()
  static let powers64: [Int64] = (0...18).map { Int64(powers[$0]) }

  /// 10^exponent as a double, without error for small exponents.
  static func power(_ base: Double, _ exponent: Int) -> Double { pow(base, Double(exponent)) }

  // MARK: Making values

  /// The integer as a numeric of scale 0.
  @inline(__always) package static func fromInt(_ value: Int64, _ arena: Arena) -> Value {
    value == Int64.min ? make(NumericVariable(value), arena) : Value(mantissa: value, scale: 0)
  }

  /// mantissa · 10^-scale as a value.
  @inline(__always) static func make(_ mantissa: Int128, scale: Int, _ arena: Arena) -> Value {
    if scale <= 18, let small = Int64(exactly: mantissa), small != Int64.min {
      return Value(mantissa: small, scale: scale)
    }
    return make(NumericVariable(magnitude: mantissa.magnitude, isNegative: mantissa < 0, scale: scale), arena)
  }

  /// The value of a computed number, which the caller knows to be within numeric's limits.
  static func make(_ variable: NumericVariable, _ arena: Arena) -> Value {
    if variable.displayScale <= 18, let small = smallMantissa(variable) {
      return Value(mantissa: small, scale: variable.displayScale)
    }
    if variable.isZero {
      // A zero with many decimals has no digits to store; one zero digit keeps the scale.
      return pack(variable, digits: [0], arena)
    }
    return pack(variable, digits: variable.digits, arena)
  }

  /// As `make`, after checking the limits.
  static func checked(_ variable: NumericVariable, _ arena: Arena) throws(SQLError) -> Value {
    guard variable.isZero || variable.weight <= NumericVariable.maximumWeight else { throw NumericVariable.overflow() }
    if variable.displayScale > NumericVariable.maximumDisplayScale {
      return make(variable.rounded(to: NumericVariable.maximumDisplayScale), arena)
    }
    return make(variable, arena)
  }

  private static func pack(_ variable: NumericVariable, digits: [Int16], _ arena: Arena) -> Value {
    var buffer = ByteBuffer(capacity: 5 + 2 * digits.count)
    buffer.append(variable.isNegative ? 0x41 as UInt8 : 0x40)
    buffer.append(little: Int16(truncatingIfNeeded: variable.weight))
    buffer.append(little: UInt16(truncatingIfNeeded: variable.displayScale))
    for digit in digits { buffer.append(little: digit) }
    return Value(packedNumeric: buffer.copied(into: arena))
  }

  private static func smallMantissa(_ variable: NumericVariable) -> Int64? {
    if variable.isZero { return 0 }
    if variable.weight > 4 { return nil }
    let fraction = (variable.displayScale + 3) / 4
    // Digits below the display scale cannot be: every operation rounds to its scale.
    var magnitude: UInt128 = 0
    var w = variable.weight
    while w >= -fraction {
      let (scaled, overflow) = magnitude.multipliedReportingOverflow(by: 10000)
      if overflow { return nil }
      magnitude = scaled + UInt128(variable.digit(atWeight: w))
      w -= 1
    }
    magnitude /= UInt128(NumericVariable.smallPowers[fraction * 4 - variable.displayScale])
    guard magnitude < 1 << 63 else { return nil }
    return variable.isNegative ? -Int64(magnitude) : Int64(magnitude)
  }

  // MARK: Arithmetic

  @inline(__always) package static func add(_ a: Value, _ b: Value, _ arena: Arena) throws(SQLError) -> Value {
    if a.isFiniteSmallNumeric, b.isFiniteSmallNumeric {
      if a.displayScale == b.displayScale {
        let (sum, overflow) = a.mantissa.addingReportingOverflow(b.mantissa)
        if !overflow, sum != Int64.min { return Value(mantissa: sum, scale: a.displayScale) }
      }
      let (x, y, scale) = aligned(a, b)
      return make(x + y, scale: scale, arena)
    }
    if let special = specialSum(a, b, subtract: false) { return special }
    return try checked(NumericVariable(a) + NumericVariable(b), arena)
  }

  package static func subtract(_ a: Value, _ b: Value, _ arena: Arena) throws(SQLError) -> Value {
    if a.isFiniteSmallNumeric, b.isFiniteSmallNumeric {
      let (x, y, scale) = aligned(a, b)
      return make(x - y, scale: scale, arena)
    }
    if let special = specialSum(a, b, subtract: true) { return special }
    return try checked(NumericVariable(a) - NumericVariable(b), arena)
  }

  /// Both mantissas at the larger scale; 2^63 · 10^18 < 2^123.
  @inline(__always) static func aligned(_ a: Value, _ b: Value) -> (Int128, Int128, Int) {
    let difference = a.displayScale - b.displayScale
    if difference == 0 { return (Int128(a.mantissa), Int128(b.mantissa), a.displayScale) }
    if difference > 0 {
      return (Int128(a.mantissa), Int128(b.mantissa) * powers[difference], a.displayScale)
    }
    return (Int128(a.mantissa) * powers[-difference], Int128(b.mantissa), b.displayScale)
  }

  package static func multiply(_ a: Value, _ b: Value, _ arena: Arena) throws(SQLError) -> Value {
    if a.isFiniteSmallNumeric, b.isFiniteSmallNumeric {
      return make(Int128(a.mantissa) * Int128(b.mantissa), scale: a.displayScale + b.displayScale, arena)
    }
    if let x = special(a, b) {
      if x == .nan { return .numericNaN }
      let (s, t) = (sign(a), sign(b))
      if s == 0 || t == 0 { return .numericNaN }
      return s == t ? .numericInfinity : .numericNegativeInfinity
    }
    let (x, y) = (NumericVariable(a), NumericVariable(b))
    if !x.isZero, !y.isZero, x.weight + y.weight > NumericVariable.maximumWeight + 1 {
      throw NumericVariable.overflow()
    }
    let scale = min(x.displayScale + y.displayScale, NumericVariable.maximumDisplayScale)
    return try checked(NumericVariable.multiply(x, y, scale: scale), arena)
  }

  package static func divide(_ a: Value, _ b: Value, _ arena: Arena) throws(SQLError) -> Value {
    if let x = special(a, b) {
      if x == .nan { return .numericNaN }
      if b.numericSpecial == nil {
        // ±infinity over a finite number
        let s = sign(b)
        if s == 0 { throw SQLError(.divisionByZero, "division by zero") }
        return sign(a) == s ? .numericInfinity : .numericNegativeInfinity
      }
      return a.numericSpecial == nil ? Value(mantissa: 0, scale: 0) : .numericNaN
    }
    let y = NumericVariable(b)
    guard !y.isZero else { throw SQLError(.divisionByZero, "division by zero") }
    let x = NumericVariable(a)
    return try checked(NumericVariable.divide(x, y, scale: NumericVariable.divisionScale(x, y)), arena)
  }

  /// div(a, b): the quotient cut to an integer.
  package static func integerQuotient(_ a: Value, _ b: Value, _ arena: Arena) throws(SQLError) -> Value {
    if special(a, b) != nil {
      let quotient = try divide(a, b, arena)
      return quotient
    }
    let y = NumericVariable(b)
    guard !y.isZero else { throw SQLError(.divisionByZero, "division by zero") }
    return try checked(NumericVariable.divide(NumericVariable(a), y, scale: 0, rounding: false), arena)
  }

  package static func remainder(_ a: Value, _ b: Value, _ arena: Arena) throws(SQLError) -> Value {
    if a.isFiniteSmallNumeric, b.isFiniteSmallNumeric {
      guard b.mantissa != 0 else { throw SQLError(.divisionByZero, "division by zero") }
      let (x, y, scale) = aligned(a, b)
      return make(x % y, scale: scale, arena)
    }
    if let x = special(a, b) {
      if x == .nan { return .numericNaN }
      if b.numericSpecial == nil, sign(b) == 0 { throw SQLError(.divisionByZero, "division by zero") }
      return a.numericSpecial == nil ? a : .numericNaN
    }
    let y = NumericVariable(b)
    guard !y.isZero else { throw SQLError(.divisionByZero, "division by zero") }
    return try checked(NumericVariable.remainder(NumericVariable(a), y), arena)
  }

  package static func negate(_ a: Value, _ arena: Arena) -> Value {
    switch a.numericSpecial {
    case .nan?: return .numericNaN
    case .infinity?: return .numericNegativeInfinity
    case .negativeInfinity?: return .numericInfinity
    case nil: break
    }
    if a.kind == .numeric { return Value(mantissa: -a.mantissa, scale: a.displayScale) }
    return make(-NumericVariable(a), arena)
  }

  package static func absolute(_ a: Value, _ arena: Arena) -> Value { sign(a) < 0 ? negate(a, arena) : a }

  /// -1, 0, 1; NaN counts as 1 here, its callers ask for it first.
  package static func sign(_ a: Value) -> Int {
    switch a.numericSpecial {
    case .nan?, .infinity?: return 1
    case .negativeInfinity?: return -1
    case nil: break
    }
    if a.kind == .numeric { return Int(a.mantissa.signum()) }
    if a.bytes.count == 7, a.bytes.load(5, as: Int16.self) == 0 { return 0 }
    return a.bytes[0] == 0x41 ? -1 : 1
  }

  /// NaN if either is, else an infinity if either is.
  static func special(_ a: Value, _ b: Value) -> NumericSpecial? {
    guard let x = a.numericSpecial else { return b.numericSpecial }
    guard let y = b.numericSpecial else { return x }
    return x == .nan || y == .nan ? .nan : x
  }

  private static func specialSum(_ a: Value, _ b: Value, subtract: Bool) -> Value? {
    guard let any = special(a, b) else { return nil }
    if any == .nan { return .numericNaN }
    var y = b.numericSpecial
    if subtract {
      y = y == .infinity ? .negativeInfinity : y == .negativeInfinity ? .infinity : y
    }
    if let x = a.numericSpecial, let y, x != y { return .numericNaN }
    return (a.numericSpecial ?? y) == .infinity ? .numericInfinity : .numericNegativeInfinity
  }

  // MARK: Comparison and hashing

  /// -1, 0, 1; NaN equals NaN and is above everything.
  @inlinable package static func compare(_ a: Value, _ b: Value) -> Int {
    if a.isFiniteSmallNumeric, b.isFiniteSmallNumeric, a.scale == b.scale {
      return a.mantissa < b.mantissa ? -1 : (a.mantissa == b.mantissa ? 0 : 1)
    }
    return compareSlowly(a, b)
  }

  @usableFromInline static func compareSlowly(_ a: Value, _ b: Value) -> Int {
    if a.isFiniteSmallNumeric, b.isFiniteSmallNumeric {
      let (x, y, _) = aligned(a, b)
      return x < y ? -1 : (x == y ? 0 : 1)
    }
    if special(a, b) != nil {
      func rank(_ v: Value) -> Int {
        switch v.numericSpecial {
        case .nan?: return 2
        case .infinity?: return 1
        case .negativeInfinity?: return -1
        case nil: return 0
        }
      }
      let (x, y) = (rank(a), rank(b))
      return x < y ? -1 : (x == y ? 0 : 1)
    }
    return NumericVariable.compare(NumericVariable(a), NumericVariable(b))
  }

  /// Equal numerics hash alike whatever their scales: trailing zeros are dropped first.
  package static func hash(_ a: Value) -> UInt64 {
    if let special = a.numericSpecial { return UInt64(special.rawValue) &* 0x9e37_79b9_7f4a_7c15 }
    if a.kind == .numeric {
      var mantissa = a.mantissa
      var scale = a.displayScale
      if mantissa == 0 { return 0 }
      while scale > 0, mantissa % 10 == 0 {
        mantissa /= 10
        scale -= 1
      }
      return ValueOrder.mix(UInt64(bitPattern: mantissa) ^ UInt64(scale) << 56)
    }
    var reduced = NumericVariable(a)
    // The least scale that shows all digits; a number that is small at that scale hashes as the small form does.
    reduced.displayScale = minimumScale(reduced)
    if reduced.displayScale <= 18, let mantissa = smallMantissa(reduced) {
      if mantissa == 0 { return 0 }
      return ValueOrder.mix(UInt64(bitPattern: mantissa) ^ UInt64(reduced.displayScale) << 56)
    }
    var hash = UInt64(bitPattern: Int64(reduced.weight)) ^ (reduced.isNegative ? 1 << 40 : 0)
    for digit in reduced.digits { hash = ValueOrder.mix(hash ^ UInt64(UInt16(bitPattern: digit))) }
    return hash
  }

  /// The fewest decimals that show every digit of the number.
  static func minimumScale(_ variable: NumericVariable) -> Int {
    guard let last = variable.digits.last else { return 0 }
    var scale = (variable.digits.count - 1 - variable.weight) * 4
    if scale <= 0 { return 0 }
    var digit = last
    while digit % 10 == 0, scale > 0 {
      digit /= 10
      scale -= 1
    }
    return max(scale, 0)
  }

  // MARK: Rounding and conversion

  package static func round(_ a: Value, _ scale: Int, _ arena: Arena) throws(SQLError) -> Value {
    if a.numericSpecial != nil { return a }
    let bounded = min(max(scale, -NumericVariable.maximumResultScale * 70), NumericVariable.maximumResultScale)
    if a.kind == .numeric, bounded >= 0, bounded <= a.displayScale {
      let divisor = powers64[a.displayScale - bounded]
      var quotient = a.mantissa / divisor
      let rest = (a.mantissa % divisor).magnitude
      if rest >= (divisor.magnitude + 1) / 2, divisor > 1 { quotient += a.mantissa < 0 ? -1 : 1 }
      return Value(mantissa: quotient, scale: bounded)
    }
    return try checked(NumericVariable(a).rounded(to: bounded), arena)
  }

  package static func truncate(_ a: Value, _ scale: Int, _ arena: Arena) throws(SQLError) -> Value {
    if a.numericSpecial != nil { return a }
    let bounded = min(max(scale, -NumericVariable.maximumResultScale * 70), NumericVariable.maximumResultScale)
    return try checked(NumericVariable(a).truncated(to: bounded), arena)
  }

  /// The rounded integer; nil when it does not fit or the number is special.
  package static func int64(_ a: Value) -> Int64? {
    if a.numericSpecial != nil { return nil }
    if a.kind == .numeric {
      if a.displayScale == 0 { return a.mantissa }
      let divisor = powers64[a.displayScale]
      let rest = (a.mantissa % divisor).magnitude
      return a.mantissa / divisor + (rest >= divisor.magnitude / 2 ? Int64(a.mantissa.signum()) : 0)
    }
    return NumericVariable(a).int64
  }

  /// The nearest double: through the decimal text, so that it is correctly rounded.
  package static func double(_ a: Value) -> Double {
    switch a.numericSpecial {
    case .nan?: return .nan
    case .infinity?: return .infinity
    case .negativeInfinity?: return -.infinity
    case nil: break
    }
    // Exact operands and one correctly rounded operation give a correctly rounded result.
    if a.kind == .numeric, a.mantissa.magnitude < 1 << 53 {
      return a.displayScale == 0 ? Double(a.mantissa) : Double(a.mantissa) / Double(powers64[a.displayScale])
    }
    var buffer = ByteBuffer(capacity: 64)
    NumericText.write(a, into: &buffer)
    buffer.append(0 as UInt8)
    return unsafe strtod(buffer.bytes.start.assumingMemoryBound(to: CChar.self), nil)
  }

  /// A double as PostgreSQL casts it: 15 significant digits; `digits` is 6 for real.
  package static func fromDouble(_ value: Double, digits: Int, _ arena: Arena) throws(SQLError) -> Value {
    if value.isNaN { return .numericNaN }
    if value.isInfinite { return value > 0 ? .numericInfinity : .numericNegativeInfinity }
    var text = [UInt8](repeating: 0, count: 64)
    let length = unsafe text.withUnsafeMutableBytes { buffer in
      unsafe withVaList([Int32(digits), value]) { list in
        unsafe vsnprintf(buffer.baseAddress!.assumingMemoryBound(to: CChar.self), 64, "%.*g", list)
      }
    }
    let used = Array(text.prefix(Int(length)))
    return try Bytes.with(used) { (bytes) throws(SQLError) in try NumericText.parse(bytes, arena) }
  }

  /// numeric(p, s): rounds to s decimals and checks that the result has at most p digits.
  package static func apply(precision: Int, scale: Int, _ a: Value, _ arena: Arena) throws(SQLError) -> Value {
    switch a.numericSpecial {
    case .nan?: return a
    case .infinity?, .negativeInfinity?:
      throw SQLError(
        .numericOutOfRange, "numeric field overflow",
        detail: "A field with precision \(precision), scale \(scale) cannot hold an infinite value.")
    case nil: break
    }
    let rounded: Value
    if a.kind == .numeric, scale >= 0, scale <= 18, scale >= a.displayScale,
      let mantissa = Int64(exactly: Int128(a.mantissa) * powers[scale - a.displayScale]), mantissa != Int64.min
    {
      rounded = Value(mantissa: mantissa, scale: scale)
    } else {
      rounded = try round(a, scale, arena)
    }
    if rounded.kind == .numeric, scale >= 0 {
      if precision > 18 || rounded.mantissa.magnitude < powers64[precision].magnitude { return rounded }
    } else {
      let variable = NumericVariable(rounded)
      if variable.isZero { return rounded }
      // Decimal digits before the point.
      let before = variable.weight * 4 + String(variable.digits[0]).utf8.count
      if before <= precision - scale { return rounded }
    }
    let bound = precision - scale
    throw SQLError(
      .numericOutOfRange, "numeric field overflow",
      detail:
        "A field with precision \(precision), scale \(scale) must round to an absolute value less than \(bound == 0 ? "1" : "10^\(bound)")."
    )
  }
}
