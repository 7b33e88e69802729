import SQL
import Testing

/// Random trees evaluated three ways: compiled to a value, compiled to branches, and by a naive interpreter of the tree.
@Suite struct ExpressionOracleTests {
  /// What an evaluation came to: a value as text, or an error's state.
  enum Outcome: Equatable {
    case value(String?)
    case failure(SQLState)
  }

  struct Maker {
    var random: SeededGenerator
    let e: Evaluator
    let columns: [SQLType] = [.int4, .int4, .text, .bool, .numeric, .float8]

    mutating func leaf(_ type: SQLType) throws -> TypedExpression {
      let matching = columns.indices.filter { columns[$0] == type }
      if let column = matching.randomElement(using: &random), Bool.random(using: &random) {
        return .column(column, type)
      }
      switch type {
      case .int4: return try e.typed(["0", "1", "-1", "7", "2147483647"].randomElement(using: &random)!, type)
      case .numeric: return try e.typed(["0", "1.5", "-2.25", "1e30"].randomElement(using: &random)!, type)
      case .float8: return try e.typed(["0", "1.5", "-3", "NaN"].randomElement(using: &random)!, type)
      case .bool: return .bool(Bool.random(using: &random))
      default: return try e.typed(["", "a", "ab", "zz"].randomElement(using: &random)!, .text)
      }
    }

    mutating func make(_ type: SQLType, _ depth: Int) throws -> TypedExpression {
      if depth == 0 { return Int.random(in: 0..<8, using: &random) == 0 ? .constant(.null, type) : try leaf(type) }
      let r = e.resolver
      if Int.random(in: 0..<7, using: &random) == 0 {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return try r.coalesce([try make(type, depth - 1), try make(type, depth - 1)], at: nil)
        case 1:
          return try r.cases(
            operand: nil, [(condition: try make(.bool, depth - 1), result: try make(type, depth - 1))],
            otherwise: Bool.random(using: &random) ? try make(type, depth - 1) : nil, at: nil)
        case 2: return try r.nullif(try make(type, depth - 1), try make(type, depth - 1), at: nil)
        default:
          return try r.extreme(
            [try make(type, depth - 1), try make(type, depth - 1)], greatest: Bool.random(using: &random), at: nil)
        }
      }
      switch type {
      case .int4, .numeric, .float8:
        let op = ["+", "-", "*", "/"].randomElement(using: &random)!
        return try r.operatorCall(op, try make(type, depth - 1), try make(type, depth - 1), at: nil)
      case .text: return try r.operatorCall("||", try make(.text, depth - 1), try make(.text, depth - 1), at: nil)
      default: break
      }
      switch Int.random(in: 0..<8, using: &random) {
      case 0, 1: return try r.and(try (0..<3).map { _ in try make(.bool, depth - 1) })
      case 2, 3: return try r.or(try (0..<3).map { _ in try make(.bool, depth - 1) })
      case 4: return try r.not(try make(.bool, depth - 1))
      case 5: return TypedExpression(.isNull(try make(.int4, depth - 1), negated: Bool.random(using: &random)), .bool)
      case 6:
        let list = try (0..<3).map { _ in try make(.int4, Bool.random(using: &random) ? 0 : 1) }
        return try r.inList(try make(.int4, depth - 1), list, negated: Bool.random(using: &random), at: nil)
      default:
        let operand = [SQLType.int4, .text, .numeric, .float8, .bool].randomElement(using: &random)!
        let op = ["=", "<>", "<", "<=", ">", ">="].randomElement(using: &random)!
        return try r.operatorCall(op, try make(operand, depth - 1), try make(operand, depth - 1), at: nil)
      }
    }
  }

  /// The naive interpreter: recursion over the tree, functions by their bodies.
  func interpret(_ e: TypedExpression, _ row: [Value], _ c: inout EvaluationContext) throws(SQLError) -> Value {
    switch e.node {
    case .constant(let datum): return datum.value(in: c.arena)
    case .column(let ordinal): return row[ordinal]
    case .call(let f, let arguments): return try call(f, try all(arguments, row, &c), &c)
    case .and(let parts):
      var sawNull = false
      for part in parts {
        let value = try interpret(part, row, &c)
        if value.isNull { sawNull = true } else if !value.bool { return Value(false) }
      }
      return sawNull ? .null : Value(true)
    case .or(let parts):
      var sawNull = false
      for part in parts {
        let value = try interpret(part, row, &c)
        if value.isNull { sawNull = true } else if value.bool { return Value(true) }
      }
      return sawNull ? .null : Value(false)
    case .not(let x):
      let value = try interpret(x, row, &c)
      return value.isNull ? .null : Value(!value.bool)
    case .isNull(let x, let negated): return Value(try interpret(x, row, &c).isNull != negated)
    case .coalesce(let list):
      for item in list {
        let value = try interpret(item, row, &c)
        if !value.isNull { return value }
      }
      return .null
    case .cases(_, let branches, let otherwise):
      for branch in branches where try interpret(branch.condition, row, &c).isTrue {
        return try interpret(branch.result, row, &c)
      }
      guard let otherwise else { return .null }
      return try interpret(otherwise, row, &c)
    case .nullif(let x, let y, let f):
      let values = try all([x, y], row, &c)
      return try call(f, values, &c).isTrue ? .null : values[0]
    case .extreme(let list, let greatest):
      var best = Value.null
      let order = ValueOrder(e.type.id)!
      for value in try all(list, row, &c) where !value.isNull {
        if best.isNull || order.compare(value, best) == (greatest ? 1 : -1) { best = value }
      }
      return best
    case .inList(let x, let list, let f, let negated):
      let value = try interpret(x, row, &c)
      var sawNull = false
      for item in list {
        let test = try call(f, [value, try interpret(item, row, &c)], &c)
        if test.isTrue { return Value(!negated) }
        if test.isNull { sawNull = true }
      }
      return sawNull ? .null : Value(negated)
    case .cast(let x, .relabel): return try interpret(x, row, &c)
    case .cast(let x, .function(let f)): return try call(f, try all([x], row, &c), &c)
    default: throw SQLError(.internalError, "not made by this test")
    }
  }

  private func all(_ list: [TypedExpression], _ row: [Value], _ c: inout EvaluationContext) throws(SQLError) -> [Value]
  {
    var values: [Value] = []
    for item in list { values.append(try interpret(item, row, &c)) }
    return values
  }

  private func call(_ f: ScalarFunction, _ values: [Value], _ c: inout EvaluationContext) throws(SQLError) -> Value {
    if f.isStrict, values.contains(where: \.isNull) { return .null }
    let copy = UnsafeMutablePointer<Value>.allocate(capacity: values.count + 1)
    defer { copy.deallocate() }
    copy.initialize(from: values, count: values.count)
    return try f.body(Arguments(copy, count: values.count), &c)
  }

  private func outcome(_ type: SQLType, _ body: () throws -> Value) -> Outcome {
    do {
      let value = try body()
      return .value(value.isNull ? nil : try TypeCodec.string(value, type.id))
    } catch let error as SQLError {
      return .failure(error.state)
    } catch { return .failure(.internalError) }
  }

  @Test func compiledAsInterpreted() throws {
    let seed: UInt64 = 21
    let e = Evaluator()
    var maker = Maker(random: SeededGenerator(seed: seed), e: e)
    var values = RandomValues(random: SeededGenerator(seed: seed + 1), arena: e.arena)
    var failures = 0
    for round in 0..<1500 {
      let type = [SQLType.bool, .bool, .int4, .text, .numeric, .float8].randomElement(using: &maker.random)!
      let tree = try maker.make(type, Int.random(in: 1...4, using: &maker.random))
      let compiled = try CompiledExpression(tree)
      let folded = try CompiledExpression(tree.folded(&e.context))
      let condition = type == .bool ? try CompiledExpression(tree, asCondition: true) : nil
      for _ in 0..<4 {
        let row = try maker.columns.map { try values.nullable($0) }
        let expected = outcome(tree.type) { try interpret(tree, row, &e.context) }
        if case .failure = expected { failures += 1 }
        try row.withUnsafeBufferPointer { pointer in
          let base = pointer.baseAddress!
          let actual = outcome(tree.type) { try compiled.evaluate(row: base, &e.context) }
          try #require(actual == expected, "seed \(seed), round \(round)")
          let foldedOutcome = outcome(tree.type) { try folded.evaluate(row: base, &e.context) }
          // Folding may remove an error that the deciding operand of AND or OR makes unreachable, never change a value.
          if case .value = expected { try #require(foldedOutcome == expected, "folded, seed \(seed), round \(round)") }
          if let condition, case .value(let text) = expected {
            try #require(
              try condition.matches(row: base, &e.context) == (text == "t"), "condition, seed \(seed), round \(round)")
          }
        }
      }
      e.arena.reset()
    }
    #expect(failures > 50, "errors are among what is compared")
  }

  @Test func errorsPointAtTheirOperator() throws {
    let e = Evaluator()
    let binder = TestBinder(resolver: e.resolver)
    let bound = try binder.bind(try SQLParser.parseExpression("1 + 2 * (7 / 0)"))
    let error = #expect(throws: SQLError.self) { try e.evaluate(bound) }
    #expect(error?.state == .divisionByZero)
    #expect(error?.position == 12)
  }

  @Test func foldingLeavesErrorsToRunTime() throws {
    let e = Evaluator()
    let binder = TestBinder(resolver: e.resolver)
    func folded(_ text: String) throws -> TypedExpression {
      try binder.bind(try SQLParser.parseExpression(text)).folded(&e.context)
    }
    #expect(try folded("1 + 2 * 3").constantValue == .int(7))
    #expect(try folded("upper('a' || 'b')").constantValue == .text("AB"))
    #expect(try folded("1 / 0").constantValue == nil)
    #expect(try folded("false and 1 / 0 = 1").constantValue == .bool(false))
    #expect(try folded("now()").constantValue == nil)
    #expect(try folded("random() < 2").constantValue == nil)
    #expect(try e.text(folded("case when true then 1 else 1 / 0 end")) == "1")
  }
}
