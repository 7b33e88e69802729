// + - * / % and the bit operators over the numeric types. Integers widen to the larger of the two; division truncates.

extension FunctionRegistry {
  mutating func addArithmetic() {
    addIntegerArithmetic()
    addFloatArithmetic()
    infix(
      "+", .numeric, .numeric, .numeric, function: "numeric_add", intrinsic: .arithmetic(.add, .numeric),
      commutator: "+"
    ) {
      (a, c) throws(SQLError) in try Numeric.add(a[0], a[1], c.arena)
    }
    infix("-", .numeric, .numeric, .numeric, function: "numeric_sub", intrinsic: .arithmetic(.subtract, .numeric)) {
      (a, c) throws(SQLError) in try Numeric.subtract(a[0], a[1], c.arena)
    }
    infix(
      "*", .numeric, .numeric, .numeric, function: "numeric_mul", intrinsic: .arithmetic(.multiply, .numeric),
      commutator: "*"
    ) {
      (a, c) throws(SQLError) in try Numeric.multiply(a[0], a[1], c.arena)
    }
    infix("/", .numeric, .numeric, .numeric, function: "numeric_div") { (a, c) throws(SQLError) in
      try Numeric.divide(a[0], a[1], c.arena)
    }
    infix("%", .numeric, .numeric, .numeric, function: "mod") { (a, c) throws(SQLError) in
      try Numeric.remainder(a[0], a[1], c.arena)
    }
    infix("^", .numeric, .numeric, .numeric, function: "power") { (a, c) throws(SQLError) in
      try NumericFunctions.power(a[0], a[1], c.arena)
    }
    prefix("-", .numeric, .numeric) { (a, c) throws(SQLError) in Numeric.negate(a[0], c.arena) }
    prefix("+", .numeric, .numeric) { (a, _) throws(SQLError) in a[0] }
    prefix("@", .numeric, .numeric, function: "abs") { (a, c) throws(SQLError) in Numeric.absolute(a[0], c.arena) }
  }

  private mutating func addIntegerArithmetic() {
    let widths: [(TypeID, Intrinsic.Width)] = [(.int2, .int16), (.int4, .int32), (.int8, .int64)]
    for (left, leftWidth) in widths {
      for (right, rightWidth) in widths {
        let (result, width) = leftWidth.rawValue >= rightWidth.rawValue ? (left, leftWidth) : (right, rightWidth)
        let operators: [(String, Intrinsic.Arithmetic, String?)] = [
          ("+", .add, "+"), ("-", .subtract, nil), ("*", .multiply, "*"), ("/", .divide, nil),
        ]
        for (name, op, commutator) in operators {
          infix(name, left, right, result, intrinsic: .arithmetic(op, width), commutator: commutator) {
            (a, _) throws(SQLError) in
            try IntegerArithmetic.apply(op, a[0].int, a[1].int, width.rawValue)
          }
        }
      }
    }
    for (type, width) in widths {
      infix("%", type, type, type, function: "mod", intrinsic: .arithmetic(.remainder, width)) {
        (a, _) throws(SQLError) in
        try IntegerArithmetic.apply(.remainder, a[0].int, a[1].int, width.rawValue)
      }
      prefix("-", type, type) { (a, _) throws(SQLError) in
        let (negated, overflow) = (0 as Int64).subtractingReportingOverflow(a[0].int)
        guard !overflow, CompiledExpression.fits(negated, width.rawValue) else {
          throw CompiledExpression.intRange(width.rawValue)
        }
        return Value(negated)
      }
      prefix("+", type, type) { (a, _) throws(SQLError) in a[0] }
      prefix("@", type, type, function: "abs") { (a, _) throws(SQLError) in
        let value = a[0].int
        guard value != Int64.min, CompiledExpression.fits(abs(value), width.rawValue) else {
          throw CompiledExpression.intRange(width.rawValue)
        }
        return Value(abs(value))
      }
      infix("&", type, type, type, commutator: "&") { (a, _) throws(SQLError) in Value(a[0].int & a[1].int) }
      infix("|", type, type, type, commutator: "|") { (a, _) throws(SQLError) in Value(a[0].int | a[1].int) }
      infix("#", type, type, type, commutator: "#") { (a, _) throws(SQLError) in Value(a[0].int ^ a[1].int) }
      prefix("~", type, type) { (a, _) throws(SQLError) in Value(~a[0].int) }
      let bits = width == .int16 ? 16 : width == .int32 ? 32 : 64
      infix("<<", type, .int4, type) { (a, _) throws(SQLError) in
        // As the hardware shifts: the count is taken modulo the width (32 for smallint, which C promotes).
        let count = a[1].int & Int64(max(bits, 32) - 1)
        let shifted = a[0].int << count
        return Value(
          bits == 64
            ? shifted
            : bits == 32 ? Int64(Int32(truncatingIfNeeded: shifted)) : Int64(Int16(truncatingIfNeeded: shifted)))
      }
      infix(">>", type, .int4, type) { (a, _) throws(SQLError) in
        Value(a[0].int >> (a[1].int & Int64(max(bits, 32) - 1)))
      }
    }
  }

  private mutating func addFloatArithmetic() {
    let operators: [(String, Intrinsic.Arithmetic, Opcode)] = [
      ("+", .add, .addDouble), ("-", .subtract, .subtractDouble), ("*", .multiply, .multiplyDouble),
      ("/", .divide, .divideDouble),
    ]
    for (name, op, code) in operators {
      for (left, right) in [(TypeID.float8, TypeID.float8), (.float4, .float8), (.float8, .float4)] {
        infix(name, left, right, .float8, intrinsic: .arithmetic(op, .double)) { (a, _) throws(SQLError) in
          Value(try DoubleArithmetic.apply(code, a[0].double, a[1].double))
        }
      }
      infix(name, .float4, .float4, .float4) { (a, _) throws(SQLError) in
        Value(try DoubleArithmetic.applySingle(code, a[0].double, a[1].double))
      }
    }
    for type in [TypeID.float4, .float8] {
      prefix("-", type, type) { (a, _) throws(SQLError) in Value(-a[0].double) }
      prefix("+", type, type) { (a, _) throws(SQLError) in a[0] }
      prefix("@", type, type, function: "abs") { (a, _) throws(SQLError) in Value(abs(a[0].double)) }
    }
  }
}

enum IntegerArithmetic {
  static func apply(_ op: Intrinsic.Arithmetic, _ x: Int64, _ y: Int64, _ width: UInt8) throws(SQLError) -> Value {
    let (result, overflow): (Int64, Bool)
    switch op {
    case .add: (result, overflow) = x.addingReportingOverflow(y)
    case .subtract: (result, overflow) = x.subtractingReportingOverflow(y)
    case .multiply: (result, overflow) = x.multipliedReportingOverflow(by: y)
    case .divide:
      guard y != 0 else { throw SQLError(.divisionByZero, "division by zero") }
      (result, overflow) = x.dividedReportingOverflow(by: y)
    case .remainder:
      guard y != 0 else { throw SQLError(.divisionByZero, "division by zero") }
      return Value(y == -1 ? 0 : x % y)
    }
    guard !overflow, CompiledExpression.fits(result, width) else { throw CompiledExpression.intRange(width) }
    return Value(result)
  }
}
