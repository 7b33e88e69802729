// From the typed tree to flat instructions.
//
// Every node leaves its value in an operand: columns, constants and parameters are their own operands, everything else
// gets a register. Arguments of a call lie in consecutive registers. AND, OR, CASE and COALESCE become branches; a
// condition (WHERE, JOIN … ON) is compiled to branches all the way down, so that `a = 1 AND b = 2` is two instructions.

internal import Platform

struct ExpressionCompiler {
  var code: [Instruction] = []
  /// The statement's position for each instruction, 0 if unknown.
  var positions: [Int32] = []
  var constants: [Datum] = []
  var tables = ProgramTables()
  /// How many registers the program needs.
  var registerCount = 0
  /// The next register to give out: those of parts whose values nobody needs any more are given out again.
  private var freeRegister = 0
  private var caseOperands: [Operand] = []
  private var depth = 0

  /// Deeper trees are refused rather than recursed into.
  static let depthLimit = 2000

  mutating func compile(_ expression: TypedExpression, asCondition: Bool) throws(SQLError) {
    if asCondition {
      let fail = try branch(expression, whenTrue: false)
      emit(Instruction(op: .finish, a: constant(.bool(true)).raw), nil)
      patch(fail)
      emit(Instruction(op: .finish, a: constant(.bool(false)).raw), nil)
    } else {
      let result = try value(expression)
      emit(Instruction(op: .finish, a: result.raw), nil)
    }
  }

  // MARK: Emitting

  @discardableResult private mutating func emit(_ instruction: Instruction, _ position: Int?) -> Int {
    code.append(instruction)
    positions.append(Int32(truncatingIfNeeded: position ?? 0))
    return code.count - 1
  }
  private mutating func patch(_ jumps: [Int]) { for jump in jumps { code[jump].c = UInt32(code.count) } }

  private mutating func register() throws(SQLError) -> UInt16 {
    guard freeRegister < Int(UInt16.max) else {
      throw SQLError(.tooComplex, "expression is too complex", hint: "Split the expression over several queries.")
    }
    freeRegister += 1
    registerCount = max(registerCount, freeRegister)
    return UInt16(freeRegister - 1)
  }
  private func operand(_ register: UInt16) -> Operand { Operand(.register, Int(register)) }

  private mutating func constant(_ datum: Datum) -> Operand {
    if constants.count < 64, let index = constants.firstIndex(of: datum) { return Operand(.constant, index) }
    constants.append(datum)
    return Operand(.constant, constants.count - 1)
  }

  private mutating func function(_ function: ScalarFunction) -> UInt32 {
    tables.functions.append(function)
    return UInt32(tables.functions.count - 1)
  }
  private mutating func order(_ type: TypeID, at position: Int?) throws(SQLError) -> UInt32 {
    guard let order = ValueOrder(type) else {
      throw SQLError(
        .undefinedFunction, "could not identify an ordering operator for type \(SQLType(type).description)",
        position: position)
    }
    tables.orders.append(order)
    return UInt32(tables.orders.count - 1)
  }

  /// The values side by side in new registers; the first register.
  private mutating func sideBySide(_ list: [TypedExpression]) throws(SQLError) -> UInt16 {
    // Operands first: computing one argument may use registers of its own.
    var operands: [Operand] = []
    for item in list { operands.append(try value(item)) }
    // Arguments that already lie side by side stay where they are.
    if let first = operands.first, first.isRegister,
      zip(operands, operands.dropFirst()).allSatisfy({ $1.raw == $0.raw + 1 })
    {
      return UInt16(first.raw)
    }
    let base = UInt16(freeRegister)
    for item in operands {
      let target = try register()
      emit(Instruction(op: .move, dst: target, a: item.raw), nil)
    }
    if operands.isEmpty { _ = try register() }
    return base
  }

  // MARK: Values

  /// The operand that holds the expression's value.
  private mutating func value(_ e: TypedExpression) throws(SQLError) -> Operand {
    depth += 1
    defer { depth -= 1 }
    guard depth < ExpressionCompiler.depthLimit else {
      throw SQLError(
        .tooComplex, "expression is nested too deeply", hint: "Split the expression.", position: e.position)
    }
    try StackGuard.check(at: e.position)
    switch e.node {
    case .constant(let datum): return constant(datum)
    case .parameter(let n): return Operand(.parameter, n - 1)
    case .column(let ordinal): return Operand(.row, ordinal)
    case .caseOperand:
      guard let top = caseOperands.last else { throw SQLError(.internalError, "case operand outside of CASE") }
      return top
    case .cast(let inner, .relabel), .collate(let inner, _): return try value(inner)
    case .slot(let index):
      let dst = try register()
      emit(Instruction(op: .loadSlot, dst: dst, b: UInt32(index)), e.position)
      return operand(dst)
    default:
      let dst = try register()
      try compute(e, into: dst)
      return operand(dst)
    }
  }

  private mutating func value(_ e: TypedExpression, into dst: UInt16) throws(SQLError) {
    let source = try value(e)
    if source.raw != operand(dst).raw { emit(Instruction(op: .move, dst: dst, a: source.raw), nil) }
  }

  private mutating func compute(_ e: TypedExpression, into dst: UInt16) throws(SQLError) {
    switch e.node {
    case .call(let function, let arguments): try call(function, arguments, e, into: dst)
    case .and(let parts): try logical(parts, .andStep, start: true, into: dst)
    case .or(let parts): try logical(parts, .orStep, start: false, into: dst)
    case .not(let inner):
      emit(Instruction(op: .not, dst: dst, a: try value(inner).raw), e.position)
    case .isNull(let inner, let negated):
      emit(Instruction(op: .isNull, aux: negated ? Aux.negated : 0, dst: dst, a: try value(inner).raw), e.position)
    case .isTruth(let inner, let test, let negated):
      emit(
        Instruction(op: .isTruth, aux: test.rawValue | (negated ? Aux.negated : 0), dst: dst, a: try value(inner).raw),
        e.position)
    case .isDistinct(let left, let right, let negated):
      let (a, b) = (try value(left), try value(right))
      emit(
        Instruction(
          op: .isDistinct, aux: negated ? Aux.negated : 0, dst: dst, a: a.raw, b: b.raw,
          c: try order(left.type.id, at: e.position)), e.position)
    case .cases(let subject, let branches, let otherwise): try cases(subject, branches, otherwise, into: dst)
    case .coalesce(let list):
      var jumps: [Int] = []
      for (index, item) in list.enumerated() {
        try value(item, into: dst)
        if index + 1 < list.count { jumps.append(emit(Instruction(op: .jumpIfNotNull, a: operand(dst).raw), nil)) }
      }
      patch(jumps)
    case .nullif(let left, let right, let equality):
      let base = try sideBySide([left, right])
      emit(Instruction(op: .nullif, dst: dst, a: operand(base).raw, b: function(equality), c: 2), e.position)
    case .extreme(let list, let greatest):
      try value(list[0], into: dst)
      let orderIndex = try order(e.type.id, at: e.position)
      for item in list.dropFirst() {
        let other = try value(item)
        emit(
          Instruction(op: .extremeStep, aux: greatest ? 0b100 : 0b001, dst: dst, a: other.raw, b: orderIndex),
          e.position)
      }
    case .inList(let left, let list, let comparison, let negated):
      try inList(left, list, comparison, negated, e, into: dst)
    case .quantified(let left, let array, let comparison, let isAll):
      let x = try value(left)
      let list = try value(array)
      // Two registers in which the comparison finds its arguments.
      let base = try register()
      _ = try register()
      emit(Instruction(op: .move, dst: base, a: x.raw), nil)
      emit(
        Instruction(
          op: .quantified, aux: isAll ? 1 : 0, dst: dst, a: list.raw, b: function(comparison), c: UInt32(base)),
        e.position)
    case .cast(let inner, let method): try cast(inner, method, e, into: dst)
    case .array(let items):
      let base = try sideBySide(items)
      tables.conversions.append((items.first?.type ?? e.type, e.type))
      emit(
        Instruction(
          op: .makeArray, dst: dst, a: operand(base).raw, b: UInt32(tables.conversions.count - 1),
          c: UInt32(items.count)),
        e.position)
    case .row(let items):
      let base = try sideBySide(items)
      let first = tables.conversions.count
      for item in items { tables.conversions.append((item.type, item.type)) }
      emit(
        Instruction(op: .makeRow, dst: dst, a: operand(base).raw, b: UInt32(first), c: UInt32(items.count)), e.position)
    case .subscripts(let array, let indexes):
      let base = try sideBySide([array] + indexes)
      emit(Instruction(op: .subscripts, dst: dst, a: operand(base).raw, c: UInt32(indexes.count)), e.position)
    case .slice(let array, let bounds):
      let given = bounds.flatMap { [$0.lower, $0.upper].compactMap { $0 } }
      let base = try sideBySide([array] + given)
      tables.slices.append(bounds.map { (lower: $0.lower != nil, upper: $0.upper != nil) })
      emit(Instruction(op: .slice, dst: dst, a: operand(base).raw, b: UInt32(tables.slices.count - 1)), e.position)
    case .rowCompare(let comparison, let left, let right):
      var orders: [ValueOrder] = []
      for item in left { orders.append(tables.orders[Int(try order(item.type.id, at: e.position))]) }
      let base = try sideBySide(left + right)
      tables.rowComparisons.append((comparison, orders))
      emit(
        Instruction(op: .rowCompare, dst: dst, a: operand(base).raw, b: UInt32(tables.rowComparisons.count - 1)),
        e.position)
    case .subplan(let id, let arguments):
      let base = try sideBySide(arguments)
      emit(
        Instruction(op: .subplan, dst: dst, a: operand(base).raw, b: UInt32(id), c: UInt32(arguments.count)), e.position
      )
    case .aggregate, .window:
      throw SQLError(.internalError, "an aggregate reached the expression compiler", position: e.position)
    case .constant, .parameter, .column, .slot, .caseOperand, .collate:
      try value(e, into: dst)
    }
  }

  private mutating func call(
    _ f: ScalarFunction, _ arguments: [TypedExpression], _ e: TypedExpression, into dst: UInt16
  ) throws(SQLError) {
    if let intrinsic = f.intrinsic, arguments.count == 2, let op = ExpressionCompiler.opcode(intrinsic) {
      let (a, b) = (try value(arguments[0]), try value(arguments[1]))
      emit(Instruction(op: op.code, aux: op.aux, dst: dst, a: a.raw, b: b.raw, c: op.c), e.position)
      return
    }
    // A single argument is read where it stands.
    let base = arguments.count == 1 ? try value(arguments[0]) : operand(try sideBySide(arguments))
    emit(
      Instruction(
        op: f.isStrict ? .callStrict : .call, dst: dst, a: base.raw, b: function(f), c: UInt32(arguments.count)),
      e.position)
  }

  static func opcode(_ intrinsic: Intrinsic) -> (code: Opcode, aux: UInt8, c: UInt32)? {
    switch intrinsic {
    case .compare(let comparison, let kind):
      switch kind {
      case .int: return (.compareInt, comparison.mask, 0)
      case .double: return (.compareDouble, comparison.mask, 0)
      case .text: return (.compareBytes, comparison.mask, 0)
      case .bool, .numeric: return (.compareOther, comparison.mask, UInt32(kind == .bool ? 0 : 1))
      }
    case .arithmetic(let op, let width):
      switch width {
      case .int16, .int32, .int64:
        let code: Opcode
        switch op {
        case .add: code = .addInt
        case .subtract: code = .subtractInt
        case .multiply: code = .multiplyInt
        case .divide: code = .divideInt
        case .remainder: code = .remainderInt
        }
        return (code, width.rawValue, 0)
      case .double:
        switch op {
        case .add: return (.addDouble, 0, 0)
        case .subtract: return (.subtractDouble, 0, 0)
        case .multiply: return (.multiplyDouble, 0, 0)
        case .divide: return (.divideDouble, 0, 0)
        case .remainder: return nil
        }
      case .numeric:
        switch op {
        case .add: return (.addNumeric, 0, 0)
        case .subtract: return (.subtractNumeric, 0, 0)
        case .multiply: return (.multiplyNumeric, 0, 0)
        case .divide, .remainder: return nil
        }
      }
    case .like: return nil
    }
  }

  private mutating func logical(
    _ parts: [TypedExpression], _ op: Opcode, start: Bool, into dst: UInt16
  ) throws(SQLError) {
    emit(Instruction(op: .move, dst: dst, a: constant(.bool(start)).raw), nil)
    var jumps: [Int] = []
    for part in parts {
      let free = freeRegister
      let x = try value(part)
      jumps.append(emit(Instruction(op: op, dst: dst, a: x.raw), part.position))
      freeRegister = free
    }
    patch(jumps)
  }

  private mutating func cases(
    _ subject: TypedExpression?, _ branches: [(condition: TypedExpression, result: TypedExpression)],
    _ otherwise: TypedExpression?, into dst: UInt16
  ) throws(SQLError) {
    if let subject {
      let held = try register()
      try value(subject, into: held)
      caseOperands.append(operand(held))
    }
    var done: [Int] = []
    for item in branches {
      let free = freeRegister
      defer { freeRegister = free }
      let skip = try branch(item.condition, whenTrue: false)
      // The result must not see this CASE's operand replaced by an inner one; the stack keeps them apart.
      try value(item.result, into: dst)
      done.append(emit(Instruction(op: .jump), nil))
      patch(skip)
    }
    if let otherwise {
      try value(otherwise, into: dst)
    } else {
      emit(Instruction(op: .move, dst: dst, a: constant(.null).raw), nil)
    }
    patch(done)
    if subject != nil { caseOperands.removeLast() }
  }

  private mutating func inList(
    _ left: TypedExpression, _ list: [TypedExpression], _ comparison: ScalarFunction, _ negated: Bool,
    _ e: TypedExpression, into dst: UInt16
  ) throws(SQLError) {
    let constants = list.compactMap(\.constantValue)
    if constants.count == list.count, let order = ValueOrder(left.type.id) {
      let x = try value(left)
      tables.sets.append(ValueSet(constants, order))
      emit(
        Instruction(op: .inSet, aux: negated ? Aux.negated : 0, dst: dst, a: x.raw, b: UInt32(tables.sets.count - 1)),
        e.position)
      return
    }
    // x = a OR x = b …, the left side computed once.
    let held = try register()
    try value(left, into: held)
    emit(Instruction(op: .move, dst: dst, a: constant(.bool(false)).raw), nil)
    var jumps: [Int] = []
    for item in list {
      let free = freeRegister
      defer { freeRegister = free }
      let test = try register()
      let other = try value(item)
      if let op = comparison.intrinsic.flatMap(ExpressionCompiler.opcode) {
        emit(Instruction(op: op.code, aux: op.aux, dst: test, a: operand(held).raw, b: other.raw, c: op.c), e.position)
      } else {
        let base = try register()
        let second = try register()
        emit(Instruction(op: .move, dst: base, a: operand(held).raw), nil)
        emit(Instruction(op: .move, dst: second, a: other.raw), nil)
        emit(Instruction(op: .callStrict, dst: test, a: operand(base).raw, b: function(comparison), c: 2), e.position)
      }
      jumps.append(emit(Instruction(op: .orStep, dst: dst, a: operand(test).raw), nil))
    }
    patch(jumps)
    if negated { emit(Instruction(op: .not, dst: dst, a: operand(dst).raw), nil) }
  }

  private mutating func cast(
    _ inner: TypedExpression, _ method: TypedExpression.CastMethod, _ e: TypedExpression, into dst: UInt16
  ) throws(SQLError) {
    switch method {
    case .relabel: try value(inner, into: dst)
    case .function(let f): try call(f, [inner], e, into: dst)
    case .viaText:
      let x = try value(inner)
      tables.conversions.append((inner.type, e.type))
      emit(Instruction(op: .viaText, dst: dst, a: x.raw, b: UInt32(tables.conversions.count - 1)), e.position)
    case .modifier(let isExplicit):
      let x = try value(inner)
      tables.conversions.append((inner.type, e.type))
      emit(
        Instruction(
          op: .modifier, aux: isExplicit ? 1 : 0, dst: dst, a: x.raw, b: UInt32(tables.conversions.count - 1)),
        e.position)
    case .elements(let method, let from, let to):
      let x = try value(inner)
      let body = TypedExpression(.cast(.column(0, SQLType(from)), method), SQLType(to), at: e.position)
      tables.elementCasts.append(ElementCast(from: from, to: to, body: try CompiledExpression(body)))
      emit(Instruction(op: .elements, dst: dst, a: x.raw, b: UInt32(tables.elementCasts.count - 1)), e.position)
    }
  }

  // MARK: Branches

  /// Code that jumps when `e is true` equals `whenTrue`, and falls through otherwise; the jumps to patch.
  private mutating func branch(_ e: TypedExpression, whenTrue: Bool) throws(SQLError) -> [Int] {
    let free = freeRegister
    defer { freeRegister = free }
    switch e.node {
    case .and(let parts) where !whenTrue, .or(let parts) where whenTrue:
      var jumps: [Int] = []
      for part in parts { jumps += try branch(part, whenTrue: whenTrue) }
      return jumps
    case .and(let parts), .or(let parts):
      // The other way round: any part may fall out of the whole.
      var out: [Int] = []
      for part in parts.dropLast() { out += try branch(part, whenTrue: !whenTrue) }
      guard let last = parts.last else { return [] }
      let jumps = try branch(last, whenTrue: whenTrue)
      patch(out)
      return jumps
    case .call(let f, let arguments):
      if let intrinsic = f.intrinsic, arguments.count == 2, let op = ExpressionCompiler.opcode(intrinsic),
        case .compare = intrinsic
      {
        let (a, b) = (try value(arguments[0]), try value(arguments[1]))
        let code: Opcode =
          switch op.code {
          case .compareInt: .branchInt
          case .compareDouble: .branchDouble
          case .compareBytes: .branchBytes
          default: .branchOther
          }
        let aux = op.aux | (whenTrue ? Aux.branchWhenTrue : 0)
        // `dst` carries the kind for branchOther, since `c` is the target.
        return [emit(Instruction(op: code, aux: aux, dst: UInt16(op.c), a: a.raw, b: b.raw), e.position)]
      }
    default: break
    }
    let x = try value(e)
    return [emit(Instruction(op: .branchTrue, aux: whenTrue ? Aux.branchWhenTrue : 0, a: x.raw), e.position)]
  }
}
