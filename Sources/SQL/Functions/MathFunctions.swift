internal import Glibc

// Mathematical functions of double precision and numeric.

extension FunctionRegistry {
  mutating func addMath() {
    addNumericMath()
    addDoubleMath()
    addIntegerMath()
    scalar("random", [], .float8, .volatile) { (_, c) throws(SQLError) in Value(c.random.nextDouble()) }
    scalar("setseed", [.float8], .void, .volatile) { (a, c) throws(SQLError) in
      let seed = a[0].double
      guard seed >= -1, seed <= 1 else {
        throw SQLError(.invalidParameterValue, "setseed parameter \(seed) is out of allowed range [-1,1]")
      }
      c.random = RandomState(seed: seed.bitPattern)
      return .null
    }
    scalar("pi", [], .float8) { (_, _) throws(SQLError) in Value(Double.pi) }
  }

  private mutating func addNumericMath() {
    scalar("ceil", [.numeric], .numeric) { (a, c) throws(SQLError) in
      a[0].numericSpecial != nil ? a[0] : Numeric.make(NumericVariable(a[0]).ceiling, c.arena)
    }
    scalar("ceiling", [.numeric], .numeric) { (a, c) throws(SQLError) in
      a[0].numericSpecial != nil ? a[0] : Numeric.make(NumericVariable(a[0]).ceiling, c.arena)
    }
    scalar("floor", [.numeric], .numeric) { (a, c) throws(SQLError) in
      a[0].numericSpecial != nil ? a[0] : Numeric.make(NumericVariable(a[0]).floor, c.arena)
    }
    scalar("round", [.numeric], .numeric) { (a, c) throws(SQLError) in try Numeric.round(a[0], 0, c.arena) }
    scalar("round", [.numeric, .int4], .numeric) { (a, c) throws(SQLError) in
      try Numeric.round(a[0], Int(a[1].int), c.arena)
    }
    scalar("trunc", [.numeric], .numeric) { (a, c) throws(SQLError) in try Numeric.truncate(a[0], 0, c.arena) }
    scalar("trunc", [.numeric, .int4], .numeric) { (a, c) throws(SQLError) in
      try Numeric.truncate(a[0], Int(a[1].int), c.arena)
    }
    scalar("sign", [.numeric], .numeric) { (a, _) throws(SQLError) in
      a[0].numericSpecial == .nan ? a[0] : Value(mantissa: Int64(Numeric.sign(a[0])), scale: 0)
    }
    scalar("sqrt", [.numeric], .numeric) { (a, c) throws(SQLError) in try NumericFunctions.squareRoot(a[0], c.arena) }
    scalar("exp", [.numeric], .numeric) { (a, c) throws(SQLError) in try NumericFunctions.exponential(a[0], c.arena) }
    scalar("ln", [.numeric], .numeric) { (a, c) throws(SQLError) in try NumericFunctions.logarithm(a[0], c.arena) }
    for name in ["log", "log10"] {
      scalar(name, [.numeric], .numeric) { (a, c) throws(SQLError) in
        try NumericFunctions.logarithm(Value(mantissa: 10, scale: 0), a[0], c.arena)
      }
    }
    scalar("log", [.numeric, .numeric], .numeric) { (a, c) throws(SQLError) in
      try NumericFunctions.logarithm(a[0], a[1], c.arena)
    }
    scalar("pow", [.numeric, .numeric], .numeric) { (a, c) throws(SQLError) in
      try NumericFunctions.power(a[0], a[1], c.arena)
    }
    scalar("div", [.numeric, .numeric], .numeric) { (a, c) throws(SQLError) in
      try Numeric.integerQuotient(a[0], a[1], c.arena)
    }
    scalar("scale", [.numeric], .int4) { (a, _) throws(SQLError) in
      a[0].numericSpecial != nil ? .null : Value(NumericVariable(a[0]).displayScale)
    }
    scalar("min_scale", [.numeric], .int4) { (a, _) throws(SQLError) in
      a[0].numericSpecial != nil ? .null : Value(Numeric.minimumScale(NumericVariable(a[0])))
    }
    scalar("trim_scale", [.numeric], .numeric) { (a, c) throws(SQLError) in
      if a[0].numericSpecial != nil { return a[0] }
      var variable = NumericVariable(a[0])
      variable.displayScale = Numeric.minimumScale(variable)
      return Numeric.make(variable, c.arena)
    }
    scalar("width_bucket", [.numeric, .numeric, .numeric, .int4], .int4) { (a, c) throws(SQLError) in
      try NumericFunctions.widthBucket(a, c.arena)
    }
  }

  private mutating func double(_ names: String..., body: @escaping @Sendable (Double) throws(SQLError) -> Double) {
    for name in names {
      scalar(name, [.float8], .float8) { (a, _) throws(SQLError) in
        let x = a[0].double
        let result = try body(x)
        if result.isInfinite, !x.isInfinite { throw DoubleArithmetic.overflow() }
        return Value(result)
      }
    }
  }

  private mutating func addDoubleMath() {
    double("ceil", "ceiling") { (x) throws(SQLError) in x.rounded(.up) }
    double("floor") { (x) throws(SQLError) in x.rounded(.down) }
    double("round") { (x) throws(SQLError) in x.rounded(.toNearestOrEven) }
    double("trunc") { (x) throws(SQLError) in x.rounded(.towardZero) }
    double("sign") { (x) throws(SQLError) in x > 0 ? 1 : x < 0 ? -1 : x.isNaN ? x : 0 }
    double("sqrt") { (x) throws(SQLError) in
      guard !(x < 0) else {
        throw SQLError(SQLState(rawValue: "2201F"), "cannot take square root of a negative number")
      }
      return x.squareRoot()
    }
    double("cbrt") { (x) throws(SQLError) in cbrt(x) }
    double("exp") { (x) throws(SQLError) in
      let result = exp(x)
      if result == 0, !x.isInfinite { throw DoubleArithmetic.underflow() }
      return result
    }
    double("ln") { (x) throws(SQLError) in log(try NumericFunctions.checkLogarithm(x)) }
    double("log", "log10") { (x) throws(SQLError) in log10(try NumericFunctions.checkLogarithm(x)) }
    double("sin") { (x) throws(SQLError) in sin(try NumericFunctions.finite(x)) }
    double("cos") { (x) throws(SQLError) in cos(try NumericFunctions.finite(x)) }
    double("tan") { (x) throws(SQLError) in tan(try NumericFunctions.finite(x)) }
    double("cot") { (x) throws(SQLError) in 1 / tan(try NumericFunctions.finite(x)) }
    double("asin") { (x) throws(SQLError) in asin(try NumericFunctions.unit(x)) }
    double("acos") { (x) throws(SQLError) in acos(try NumericFunctions.unit(x)) }
    double("atan") { (x) throws(SQLError) in atan(x) }
    double("sinh") { (x) throws(SQLError) in sinh(x) }
    double("cosh") { (x) throws(SQLError) in cosh(x) }
    double("tanh") { (x) throws(SQLError) in tanh(x) }
    double("degrees") { (x) throws(SQLError) in x / (Double.pi / 180) }
    double("radians") { (x) throws(SQLError) in x * (Double.pi / 180) }
    scalar("atan2", [.float8, .float8], .float8) { (a, _) throws(SQLError) in Value(atan2(a[0].double, a[1].double)) }
    for name in ["power", "pow"] {
      scalar(name, [.float8, .float8], .float8) { (a, _) throws(SQLError) in
        Value(try NumericFunctions.power(a[0].double, a[1].double))
      }
    }
    infix("^", .float8, .float8, .float8) { (a, _) throws(SQLError) in
      Value(try NumericFunctions.power(a[0].double, a[1].double))
    }
    prefix("|/", .float8, .float8) { (a, _) throws(SQLError) in
      guard a[0].double >= 0 else {
        throw SQLError(SQLState(rawValue: "2201F"), "cannot take square root of a negative number")
      }
      return Value(a[0].double.squareRoot())
    }
    prefix("||/", .float8, .float8) { (a, _) throws(SQLError) in Value(cbrt(a[0].double)) }
  }

  private mutating func addIntegerMath() {
    for (type, width) in [(TypeID.int4, Intrinsic.Width.int32), (.int8, .int64)] {
      scalar("gcd", [type, type], type) { (a, _) throws(SQLError) in
        let result = NumericFunctions.gcd(a[0].int.magnitude, a[1].int.magnitude)
        guard let fitting = Int64(exactly: result), CompiledExpression.fits(fitting, width.rawValue) else {
          throw CompiledExpression.intRange(width.rawValue)
        }
        return Value(fitting)
      }
      scalar("lcm", [type, type], type) { (a, _) throws(SQLError) in
        let (x, y) = (a[0].int.magnitude, a[1].int.magnitude)
        if x == 0 || y == 0 { return Value(0) }
        let (product, overflow) = (x / NumericFunctions.gcd(x, y)).multipliedReportingOverflow(by: y)
        guard !overflow, let fitting = Int64(exactly: product), CompiledExpression.fits(fitting, width.rawValue) else {
          throw CompiledExpression.intRange(width.rawValue)
        }
        return Value(fitting)
      }
    }
    scalar("factorial", [.int8], .numeric) { (a, c) throws(SQLError) in
      let n = a[0].int
      guard n >= 0 else { throw SQLError(.numericOutOfRange, "factorial of a negative number is undefined") }
      guard n <= 32_177 else { throw NumericVariable.overflow() }
      var result = NumericVariable.one
      if n > 1 { for factor in 2...n { result = NumericVariable.multiply(result, NumericVariable(factor), scale: 0) } }
      return try Numeric.checked(result, c.arena)
    }
  }
}

enum NumericFunctions {
  static func squareRoot(_ a: Value, _ arena: Arena) throws(SQLError) -> Value {
    if a.numericSpecial == .nan || a.numericSpecial == .infinity { return a }
    guard Numeric.sign(a) >= 0 else {
      throw SQLError(SQLState(rawValue: "2201F"), "cannot take square root of a negative number")
    }
    return Numeric.make(NumericVariable(a).squareRoot(), arena)
  }

  static func exponential(_ a: Value, _ arena: Arena) throws(SQLError) -> Value {
    switch a.numericSpecial {
    case .nan?, .infinity?: return a
    case .negativeInfinity?: return Value(mantissa: 0, scale: 0)
    case nil: return try Numeric.checked(try NumericVariable(a).exponential(), arena)
    }
  }

  static func logarithmError(_ isZero: Bool) -> SQLError {
    SQLError(
      SQLState(rawValue: "2201E"),
      isZero ? "cannot take logarithm of zero" : "cannot take logarithm of a negative number")
  }

  static func checkLogarithm(_ x: Double) throws(SQLError) -> Double {
    if x == 0 { throw logarithmError(true) }
    if x < 0 { throw logarithmError(false) }
    return x
  }

  private static func checkLogarithm(_ a: Value) throws(SQLError) {
    if a.numericSpecial == .nan || a.numericSpecial == .infinity { return }
    let sign = Numeric.sign(a)
    guard sign > 0 else { throw logarithmError(sign == 0) }
  }

  static func logarithm(_ a: Value, _ arena: Arena) throws(SQLError) -> Value {
    try checkLogarithm(a)
    if a.numericSpecial != nil { return a }
    return Numeric.make(NumericVariable(a).naturalLogarithm(), arena)
  }

  static func logarithm(_ base: Value, _ a: Value, _ arena: Arena) throws(SQLError) -> Value {
    if base.numericSpecial == .nan || a.numericSpecial == .nan { return .numericNaN }
    try checkLogarithm(base)
    try checkLogarithm(a)
    switch (base.numericSpecial, a.numericSpecial) {
    case (.infinity?, .infinity?): return .numericNaN
    case (.infinity?, _): return Value(mantissa: 0, scale: 0)
    case (_, .infinity?): return .numericInfinity
    default: return Numeric.make(try NumericVariable(a).logarithm(base: NumericVariable(base)), arena)
    }
  }

  static func power(_ a: Value, _ b: Value, _ arena: Arena) throws(SQLError) -> Value {
    let one = Value(mantissa: 1, scale: 0)
    if Numeric.special(a, b) != nil {
      // x^0 = 1 and 1^y = 1 even for NaN; the rest as doubles do.
      if b.numericSpecial == nil, Numeric.sign(b) == 0 { return one }
      if a.numericSpecial == nil, Numeric.compare(a, one) == 0 { return one }
      if a.numericSpecial == .nan || b.numericSpecial == .nan { return .numericNaN }
      if Numeric.sign(a) < 0, a.numericSpecial == nil, b.numericSpecial == nil { return .numericNaN }
      let result = try power(Numeric.double(a), Numeric.double(b))
      return result.isNaN
        ? .numericNaN
        : result.isInfinite
          ? (result > 0 ? .numericInfinity : .numericNegativeInfinity)
          : Value(mantissa: Int64(result), scale: 0)
    }
    let (x, y) = (NumericVariable(a), NumericVariable(b))
    if x.isZero, y.isNegative {
      throw SQLError(SQLState(rawValue: "2201F"), "zero raised to a negative power is undefined")
    }
    if x.isNegative, !y.isInteger {
      throw SQLError(
        SQLState(rawValue: "2201F"), "a negative number raised to a non-integer power yields a complex result")
    }
    return try Numeric.checked(try x.power(y), arena)
  }

  static func power(_ x: Double, _ y: Double) throws(SQLError) -> Double {
    if x == 0, y < 0 {
      throw SQLError(SQLState(rawValue: "2201F"), "zero raised to a negative power is undefined")
    }
    if x < 0, !x.isInfinite, y.rounded() != y, !y.isNaN, !y.isInfinite {
      throw SQLError(
        SQLState(rawValue: "2201F"), "a negative number raised to a non-integer power yields a complex result")
    }
    let result = pow(x, y)
    if result.isInfinite, !x.isInfinite, !y.isInfinite { throw DoubleArithmetic.overflow() }
    if result == 0, x != 0, !x.isInfinite, !y.isInfinite { throw DoubleArithmetic.underflow() }
    return result
  }

  static func finite(_ x: Double) throws(SQLError) -> Double {
    guard !x.isInfinite else { throw SQLError(.numericOutOfRange, "input is out of range") }
    return x
  }
  static func unit(_ x: Double) throws(SQLError) -> Double {
    guard x.isNaN || (x >= -1 && x <= 1) else { throw SQLError(.numericOutOfRange, "input is out of range") }
    return x
  }

  static func gcd(_ a: UInt64, _ b: UInt64) -> UInt64 {
    var (x, y) = (a, b)
    while y != 0 { (x, y) = (y, x % y) }
    return x
  }

  static func widthBucket(_ a: Arguments, _ arena: Arena) throws(SQLError) -> Value {
    let count = a[3].int
    let bad = SQLState(rawValue: "2201G")
    guard count > 0 else { throw SQLError(bad, "count must be greater than zero") }
    for index in 0..<3 where a[index].numericSpecial != nil {
      throw SQLError(
        bad,
        index == 0 ? "operand, lower bound, and upper bound cannot be NaN" : "lower and upper bounds must be finite")
    }
    let order = Numeric.compare(a[1], a[2])
    guard order != 0 else { throw SQLError(bad, "lower bound cannot equal upper bound") }
    let (x, low, high) = (NumericVariable(a[0]), NumericVariable(a[1]), NumericVariable(a[2]))
    let isBelow = order < 0 ? NumericVariable.compare(x, low) < 0 : NumericVariable.compare(x, low) > 0
    if isBelow { return Value(0) }
    let isAbove = order < 0 ? NumericVariable.compare(x, high) >= 0 : NumericVariable.compare(x, high) <= 0
    if isAbove {
      guard count < Int64(Int32.max) else { throw CompiledExpression.intRange(Intrinsic.Width.int32.rawValue) }
      return Value(count + 1)
    }
    var scaled = NumericVariable.multiply(x - low, NumericVariable(count), scale: x.displayScale + low.displayScale)
    scaled = NumericVariable.divide(scaled, high - low, scale: 0, rounding: false)
    return Value((scaled.int64 ?? 0) + 1)
  }
}
