// Evaluation of compiled expressions: a loop over flat instructions and a frame of registers.
//
// A frame is four base pointers (registers, row, constants, parameters), so that an operand is fetched by two loads
// whatever its space, then the registers. Frames come from the context's stack: nested evaluations (a subquery inside an
// expression) push theirs above. Nothing is allocated, retained or locked per row unless a function does.

/// An expression ready to be evaluated; immutable, shared between sessions.
@safe package final class CompiledExpression: @unchecked Sendable {
  // Unchecked: everything is written by init and read-only afterwards.
  private let code: UnsafeMutablePointer<Instruction>
  private let codeCount: Int
  private let positions: [Int32]
  private let constants: ConstantPool
  private let constantBase: UnsafePointer<Value>
  private let tables: ProgramTables
  private let functions: UnsafeMutablePointer<ScalarImplementation>
  private let functionCount: Int
  private let frameBytes: Int
  private let registerCount: Int
  private let parameterLimit: Int
  package let type: SQLType
  /// The column that is the whole expression, if it is one: callers may copy it themselves.
  package let column: Int?

  /// - Parameter asCondition: only `matches` will be asked; compiled to branches.
  /// - Throws: statement_too_complex (54001); ordering errors of types without order.
  package init(_ expression: TypedExpression, asCondition: Bool = false) throws(SQLError) {
    var compiler = ExpressionCompiler()
    try compiler.compile(expression, asCondition: asCondition)
    codeCount = compiler.code.count
    unsafe code = .allocate(capacity: codeCount)
    for (index, instruction) in compiler.code.enumerated() { unsafe (code + index).initialize(to: instruction) }
    positions = compiler.positions
    constants = ConstantPool(compiler.constants)
    unsafe constantBase = constants.base
    tables = compiler.tables
    functionCount = tables.functions.count
    unsafe functions = .allocate(capacity: max(functionCount, 1))
    for (index, function) in tables.functions.enumerated() { unsafe (functions + index).initialize(to: function.body) }
    registerCount = compiler.registerCount
    frameBytes = 32 + 16 * (compiler.registerCount + 1)
    var limit = 0
    for instruction in compiler.code {
      for raw in [instruction.a, instruction.b] where raw >> 30 == OperandSpace.parameter.rawValue {
        limit = max(limit, Int(raw & 0x3fff_ffff) + 1)
      }
    }
    parameterLimit = limit
    type = expression.type
    if case .column(let ordinal) = expression.node { column = ordinal } else { column = nil }
  }

  deinit {
    unsafe code.deinitialize(count: codeCount)
    unsafe code.deallocate()
    unsafe functions.deinitialize(count: functionCount)
    unsafe functions.deallocate()
  }

  /// The value for `row`, whose bytes live in the row, the constants or `context.arena`.
  @unsafe package func evaluate(
    row: UnsafePointer<Value>, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    if let column { return unsafe row[column] }
    guard parameterLimit <= context.parameterCount else { throw missingParameter(context.parameterCount) }
    let top = unsafe context.frameTop
    let frame = unsafe top.pointee
    if unsafe frameBytes > context.frameEnd - frame { return try unsafe evaluateOnHeap(row, &context) }
    unsafe top.pointee = frame + frameBytes
    defer { unsafe top.pointee = frame }
    return try unsafe run(frame, row, &context)
  }

  /// Whether the condition is true for `row`: neither false nor null.
  @unsafe @inline(__always) package func matches(
    row: UnsafePointer<Value>, _ context: inout EvaluationContext
  ) throws(SQLError) -> Bool {
    try unsafe evaluate(row: row, &context).isTrue
  }

  private func missingParameter(_ count: Int) -> SQLError {
    SQLError(.undefinedParameter, "there is no parameter $\(count + 1)")
  }

  private func evaluateOnHeap(
    _ row: UnsafePointer<Value>, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    let frame = UnsafeMutableRawPointer.allocate(byteCount: frameBytes, alignment: 16)
    defer { unsafe frame.deallocate() }
    return try unsafe run(frame, row, &context)
  }

  @inline(never) private func placed(_ error: SQLError, _ pc: Int) -> SQLError {
    positions[pc] > 0 ? error.at(Int(positions[pc])) : error
  }

  private func run(
    _ frame: UnsafeMutableRawPointer, _ row: UnsafePointer<Value>, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    let bases = unsafe frame.assumingMemoryBound(to: UnsafePointer<Value>.self)
    let registers = unsafe (frame + 32).assumingMemoryBound(to: Value.self)
    unsafe bases[0] = UnsafePointer(registers)
    unsafe bases[1] = row
    unsafe bases[2] = constantBase
    unsafe bases[3] = context.parameters
    @inline(__always) func get(_ raw: UInt32) -> Value {
      unsafe bases[Int(raw >> 30)][Int(raw & 0x3fff_ffff)]
    }
    var pc = 0
    while true {
      let i = unsafe code[pc]
      switch i.op {
      case .move: unsafe registers[Int(i.dst)] = get(i.a)
      case .branchInt:
        let (x, y) = (get(i.a), get(i.b))
        let bit: UInt8 = x.int < y.int ? 0b001 : (x.int == y.int ? 0b010 : 0b100)
        let isTrue = !x.isNull && !y.isNull && i.aux & bit != 0
        if isTrue == (i.aux & Aux.branchWhenTrue != 0) {
          pc = Int(i.c)
          continue
        }
      case .branchBytes:
        let (x, y) = (get(i.a), get(i.b))
        var isTrue = false
        if !x.isNull, !y.isNull {
          if i.aux & 0b111 == 0b010 {
            isTrue = x.bytes.equals(y.bytes)
          } else {
            isTrue = i.aux & (1 << UInt8(x.bytes.compare(y.bytes) + 1)) != 0
          }
        }
        if isTrue == (i.aux & Aux.branchWhenTrue != 0) {
          pc = Int(i.c)
          continue
        }
      case .branchDouble:
        let (x, y) = (get(i.a), get(i.b))
        let order = ValueOrder.compareDoubles(x.double, y.double)
        let isTrue = !x.isNull && !y.isNull && i.aux & (1 << UInt8(order + 1)) != 0
        if isTrue == (i.aux & Aux.branchWhenTrue != 0) {
          pc = Int(i.c)
          continue
        }
      case .branchOther:
        let result = CompiledExpression.compareOther(get(i.a), get(i.b), Int(i.dst), i.aux)
        if result.isTrue == (i.aux & Aux.branchWhenTrue != 0) {
          pc = Int(i.c)
          continue
        }
      case .compareInt:
        let (x, y) = (get(i.a), get(i.b))
        let bit: UInt8 = x.int < y.int ? 0b001 : (x.int == y.int ? 0b010 : 0b100)
        unsafe registers[Int(i.dst)] = x.isNull || y.isNull ? .sqlNull : Value(i.aux & bit != 0)
      case .compareDouble:
        let (x, y) = (get(i.a), get(i.b))
        let order = ValueOrder.compareDoubles(x.double, y.double)
        unsafe registers[Int(i.dst)] = x.isNull || y.isNull ? .sqlNull : Value(i.aux & (1 << UInt8(order + 1)) != 0)
      case .compareBytes:
        let (x, y) = (get(i.a), get(i.b))
        unsafe registers[Int(i.dst)] =
          x.isNull || y.isNull ? .sqlNull : Value(i.aux & (1 << UInt8(x.bytes.compare(y.bytes) + 1)) != 0)
      case .compareOther:
        unsafe registers[Int(i.dst)] = CompiledExpression.compareOther(get(i.a), get(i.b), Int(i.c), i.aux)
      case .addInt:
        let (x, y) = (get(i.a), get(i.b))
        let (sum, overflow) = x.int.addingReportingOverflow(y.int)
        if x.isNull || y.isNull {
          unsafe registers[Int(i.dst)] = .sqlNull
        } else {
          guard !overflow, CompiledExpression.fits(sum, i.aux) else {
            throw placed(CompiledExpression.intRange(i.aux), pc)
          }
          unsafe registers[Int(i.dst)] = Value(sum)
        }
      case .subtractInt:
        let (x, y) = (get(i.a), get(i.b))
        let (difference, overflow) = x.int.subtractingReportingOverflow(y.int)
        if x.isNull || y.isNull {
          unsafe registers[Int(i.dst)] = .sqlNull
        } else {
          guard !overflow, CompiledExpression.fits(difference, i.aux) else {
            throw placed(CompiledExpression.intRange(i.aux), pc)
          }
          unsafe registers[Int(i.dst)] = Value(difference)
        }
      case .multiplyInt:
        let (x, y) = (get(i.a), get(i.b))
        let (product, overflow) = x.int.multipliedReportingOverflow(by: y.int)
        if x.isNull || y.isNull {
          unsafe registers[Int(i.dst)] = .sqlNull
        } else {
          guard !overflow, CompiledExpression.fits(product, i.aux) else {
            throw placed(CompiledExpression.intRange(i.aux), pc)
          }
          unsafe registers[Int(i.dst)] = Value(product)
        }
      case .andStep:
        let x = get(i.a)
        if x.isNull {
          unsafe registers[Int(i.dst)] = .sqlNull
        } else if !x.bool {
          unsafe registers[Int(i.dst)] = Value(false)
          pc = Int(i.c)
          continue
        }
      case .orStep:
        let x = get(i.a)
        if x.isNull {
          unsafe registers[Int(i.dst)] = .sqlNull
        } else if x.bool {
          unsafe registers[Int(i.dst)] = Value(true)
          pc = Int(i.c)
          continue
        }
      case .not:
        let x = get(i.a)
        unsafe registers[Int(i.dst)] = x.isNull ? .sqlNull : Value(!x.bool)
      case .isNull: unsafe registers[Int(i.dst)] = Value(get(i.a).isNull != (i.aux & Aux.negated != 0))
      case .jump:
        pc = Int(i.c)
        continue
      case .branchTrue:
        if get(i.a).isTrue == (i.aux & Aux.branchWhenTrue != 0) {
          pc = Int(i.c)
          continue
        }
      case .jumpIfNotNull:
        if !get(i.a).isNull {
          pc = Int(i.c)
          continue
        }
      case .callStrict, .call:
        let pointer = unsafe bases[Int(i.a >> 30)] + Int(i.a & 0x3fff_ffff)
        let arguments = unsafe Arguments(pointer, count: Int(i.c))
        if i.op == .callStrict {
          var hasNull = false
          for index in 0..<Int(i.c) where unsafe pointer[index].isNull { hasNull = true }
          if hasNull {
            unsafe registers[Int(i.dst)] = .sqlNull
            break
          }
        }
        do throws(SQLError) {
          unsafe registers[Int(i.dst)] = try functions[Int(i.b)](arguments, &context)
        } catch {
          throw placed(error, pc)
        }
      case .finish: return get(i.a)
      default:
        do throws(SQLError) {
          unsafe registers[Int(i.dst)] = try rare(i, bases, registers, &context)
        } catch {
          throw placed(error, pc)
        }
      }
      pc &+= 1
    }
  }

  @inline(__always) static func fits(_ value: Int64, _ width: UInt8) -> Bool {
    switch width {
    case Intrinsic.Width.int32.rawValue: return Int64(Int32(truncatingIfNeeded: value)) == value
    case Intrinsic.Width.int16.rawValue: return Int64(Int16(truncatingIfNeeded: value)) == value
    default: return true
    }
  }

  @inline(never) static func intRange(_ width: UInt8) -> SQLError {
    let name =
      width == Intrinsic.Width.int16.rawValue
      ? "smallint" : width == Intrinsic.Width.int32.rawValue ? "integer" : "bigint"
    return SQLError(.numericOutOfRange, "\(name) out of range")
  }

  private static func compareOther(_ x: Value, _ y: Value, _ kind: Int, _ mask: UInt8) -> Value {
    if x.isNull || y.isNull { return .sqlNull }
    let order = kind == 1 ? Numeric.compare(x, y) : (x.bool == y.bool ? 0 : (x.bool ? 1 : -1))
    return Value(mask & (1 << UInt8(order + 1)) != 0)
  }

  // MARK: The rarer instructions

  private func rare(
    _ i: Instruction, _ bases: UnsafeMutablePointer<UnsafePointer<Value>>, _ registers: UnsafeMutablePointer<Value>,
    _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    @inline(__always) func get(_ raw: UInt32) -> Value {
      unsafe bases[Int(raw >> 30)][Int(raw & 0x3fff_ffff)]
    }
    func list(_ count: Int) -> Arguments {
      unsafe Arguments(bases[Int(i.a >> 30)] + Int(i.a & 0x3fff_ffff), count: count)
    }
    switch i.op {
    case .divideInt, .remainderInt:
      let (x, y) = (get(i.a), get(i.b))
      if x.isNull || y.isNull { return .sqlNull }
      guard y.int != 0 else { throw SQLError(.divisionByZero, "division by zero") }
      if i.op == .remainderInt { return Value(y.int == -1 ? 0 : x.int % y.int) }
      let (quotient, overflow) = x.int.dividedReportingOverflow(by: y.int)
      guard !overflow, CompiledExpression.fits(quotient, i.aux) else { throw CompiledExpression.intRange(i.aux) }
      return Value(quotient)
    case .addDouble, .subtractDouble, .multiplyDouble, .divideDouble:
      let (x, y) = (get(i.a), get(i.b))
      if x.isNull || y.isNull { return .sqlNull }
      return Value(try DoubleArithmetic.apply(i.op, x.double, y.double))
    case .addNumeric, .subtractNumeric, .multiplyNumeric:
      let (x, y) = (get(i.a), get(i.b))
      if x.isNull || y.isNull { return .sqlNull }
      if i.op == .addNumeric { return try Numeric.add(x, y, context.arena) }
      return i.op == .subtractNumeric
        ? try Numeric.subtract(x, y, context.arena) : try Numeric.multiply(x, y, context.arena)
    case .loadSlot:
      guard Int(i.b) < context.slotCount else { throw SQLError(.internalError, "slot \(i.b) is not provided") }
      return unsafe context.slots[Int(i.b)]
    case .isTruth:
      let x = get(i.a)
      let holds: Bool
      switch i.aux & 0x3f {
      case TypedExpression.BooleanTest.isTrue.rawValue: holds = x.isTrue
      case TypedExpression.BooleanTest.isFalse.rawValue: holds = !x.isNull && !x.bool
      default: holds = x.isNull
      }
      return Value(holds != (i.aux & Aux.negated != 0))
    case .isDistinct:
      let (x, y) = (get(i.a), get(i.b))
      let isDistinct = x.isNull || y.isNull ? x.isNull != y.isNull : !tables.orders[Int(i.c)].equal(x, y)
      return Value(isDistinct != (i.aux & Aux.negated != 0))
    case .extremeStep:
      let current = unsafe registers[Int(i.dst)]
      let other = get(i.a)
      if other.isNull { return current }
      if current.isNull { return other }
      let order = tables.orders[Int(i.b)].compare(other, current)
      return i.aux & (1 << UInt8(order + 1)) != 0 ? other : current
    case .inSet:
      let x = get(i.a)
      let set = tables.sets[Int(i.b)]
      if x.isNull { return .sqlNull }
      if set.contains(x) { return Value(i.aux & Aux.negated == 0) }
      return set.hasNull ? .sqlNull : Value(i.aux & Aux.negated != 0)
    case .quantified: return try unsafe quantified(i, get(i.a), registers, &context)
    case .nullif:
      let pair = list(2)
      if pair[0].isNull || pair[1].isNull { return pair[0] }
      return try tables.functions[Int(i.b)].body(pair, &context).isTrue ? .sqlNull : pair[0]
    case .viaText:
      let x = get(i.a)
      if x.isNull { return .sqlNull }
      let (from, to) = tables.conversions[Int(i.b)]
      let text = try TypeCodec.text(x, from.id, context.arena, context.format)
      return try TypeCodec.parse(text, SQLType(to.id), context.arena, context.format)
    case .modifier:
      let (_, to) = tables.conversions[Int(i.b)]
      return try TypeModifier.apply(get(i.a), to, explicit: i.aux == 1, context.arena)
    case .elements: return try castElements(get(i.a), tables.elementCasts[Int(i.b)], &context)
    case .makeArray:
      let (itemType, type) = tables.conversions[Int(i.b)]
      return try ArrayFunctions.construct(list(Int(i.c)), itemType, type, context.arena)
    case .makeRow:
      return try TypeCodec.makeRecord(
        list(Int(i.c)), tables.conversions[Int(i.b)..<Int(i.b + i.c)].map(\.from), context.arena)
    case .subscripts: return try ArrayFunctions.element(list(Int(i.c) + 1))
    case .slice:
      let bounds = tables.slices[Int(i.b)]
      let given = bounds.reduce(0) { $0 + ($1.lower ? 1 : 0) + ($1.upper ? 1 : 0) }
      return try ArrayFunctions.slice(list(given + 1), bounds, context.arena)
    case .rowCompare:
      let (comparison, orders) = tables.rowComparisons[Int(i.b)]
      return CompiledExpression.compareRows(list(orders.count * 2), comparison, orders)
    case .subplan:
      guard let host = unsafe context.host else { throw SQLError(.internalError, "no host for subplans") }
      return try host.subplan(Int(i.b), list(Int(i.c)), &context)
    default: throw SQLError(.internalError, "unexpected instruction")
    }
  }

  /// x op ANY/ALL (array): registers c and c + 1 are the comparison's arguments, c already holds x.
  private func quantified(
    _ i: Instruction, _ array: Value, _ registers: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    if array.isNull { return .sqlNull }
    let view = try ArrayView(array.bytes)
    let isAll = i.aux == 1
    let x = unsafe registers[Int(i.c)]
    let function = tables.functions[Int(i.b)]
    if view.count == 0 { return Value(isAll) }
    if x.isNull, function.isStrict { return .sqlNull }
    var sawNull = false
    let arguments = unsafe Arguments(UnsafePointer(registers + Int(i.c)), count: 2)
    for index in 0..<view.count {
      let item = try view.value(index)
      if item.isNull {
        sawNull = true
        continue
      }
      unsafe registers[Int(i.c) + 1] = item
      let result = try function.body(arguments, &context)
      if result.isNull {
        sawNull = true
      } else if result.bool != isAll {
        return Value(!isAll)
      }
    }
    return sawNull ? .sqlNull : Value(isAll)
  }

  private func castElements(
    _ array: Value, _ cast: ElementCast, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    if array.isNull { return .sqlNull }
    let view = try ArrayView(array.bytes)
    var values: [Value] = []
    values.reserveCapacity(view.count)
    for index in 0..<view.count {
      let item = try view.value(index)
      if item.isNull {
        values.append(.sqlNull)
        continue
      }
      let cell = UnsafeMutablePointer<Value>.allocate(capacity: 1)
      defer { unsafe cell.deallocate() }
      unsafe cell.initialize(to: item)
      values.append(try unsafe cast.body.evaluate(row: UnsafePointer(cell), &context))
    }
    let dimensions = (0..<view.dimensions).map { (length: view.length($0), lowerBound: view.lowerBound($0)) }
    return try ArrayBuilder.make(values, element: cast.to, dimensions: dimensions, context.arena)
  }

  /// (a, b) op (c, d), SQL's row comparison: the first pair that differs decides; a null before that makes it unknown.
  static func compareRows(
    _ values: Arguments, _ comparison: TypedExpression.RowComparison, _ orders: [ValueOrder]
  ) -> Value {
    let n = orders.count
    if comparison == .equal || comparison == .notEqual {
      var sawNull = false
      for index in 0..<n {
        let (x, y) = (values[index], values[n + index])
        if x.isNull || y.isNull {
          sawNull = true
        } else if !orders[index].equal(x, y) {
          return Value(comparison == .notEqual)
        }
      }
      return sawNull ? .sqlNull : Value(comparison == .equal)
    }
    var order = 0
    for index in 0..<n {
      let (x, y) = (values[index], values[n + index])
      if x.isNull || y.isNull { return .sqlNull }
      order = orders[index].compare(x, y)
      if order != 0 { break }
    }
    switch comparison {
    case .less: return Value(order < 0)
    case .lessOrEqual: return Value(order <= 0)
    case .greater: return Value(order > 0)
    default: return Value(order >= 0)
    }
  }
}

/// Floating-point arithmetic with PostgreSQL's range checks.
enum DoubleArithmetic {
  static func overflow() -> SQLError { SQLError(.numericOutOfRange, "value out of range: overflow") }
  static func underflow() -> SQLError { SQLError(.numericOutOfRange, "value out of range: underflow") }

  @inline(__always) static func apply(_ op: Opcode, _ x: Double, _ y: Double) throws(SQLError) -> Double {
    let result: Double
    switch op {
    case .addDouble: result = x + y
    case .subtractDouble: result = x - y
    case .multiplyDouble:
      result = x * y
      if result == 0, x != 0, y != 0 { throw underflow() }
    default:
      if y == 0, !x.isNaN { throw SQLError(.divisionByZero, "division by zero") }
      result = x / y
      if result == 0, x != 0, !y.isInfinite { throw underflow() }
    }
    if result.isInfinite, !x.isInfinite, !y.isInfinite { throw overflow() }
    return result
  }

  /// The same for real: computed as doubles and rounded once, which is exact for one operation.
  static func applySingle(_ op: Opcode, _ x: Double, _ y: Double) throws(SQLError) -> Double {
    let wide = try apply(op, x, y)
    let single = Float(wide)
    if single.isInfinite, !wide.isInfinite || (!x.isInfinite && !y.isInfinite) { throw overflow() }
    if single == 0, wide != 0 { throw underflow() }
    return Double(single)
  }
}
