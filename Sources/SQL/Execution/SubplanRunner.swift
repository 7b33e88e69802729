/// Evaluates one subquery of an expression.
///
/// A subquery that reads nothing of the rows around it runs once; `IN` over one keeps its rows in a set. A correlated one
/// runs again whenever it is asked.
final class SubplanRunner {
  private let planned: PlannedSubquery
  private unowned let state: ExecutionState
  private var source: RowSource?
  private var columns: [CompiledExpression] = []
  private let evaluator: EvaluatingSource
  private let resultArena = Arena(initialBytes: 128)
  private var constant: [Value]?
  private var isKnown = false
  private var exists = false
  private var rows: RowSet?
  private var list: RowStore?
  private var hasNull = false
  private let pair = ValueBuffer(2)
  private let nested: EvaluationContext

  init(_ planned: PlannedSubquery, _ state: ExecutionState) throws(SQLError) {
    self.planned = planned
    self.state = state
    let nested = state.nestedBase()
    self.nested = nested
    evaluator = try state.building(over: nested) { () throws(SQLError) in EvaluatingSource(state) }
  }

  func forget() {
    isKnown = false
    constant = nil
    rows = nil
    list = nil
  }

  private func prepare() throws(SQLError) -> RowSource {
    evaluator.refresh()
    if let source { return source }
    let built = try state.building(over: nested) { () throws(SQLError) in
      try SourceBuilder(state).build(planned.plan)
    }
    columns = try compile(planned.columns)
    source = built
    return built
  }

  func value(_ arguments: Arguments, _ context: inout EvaluationContext) throws(SQLError) -> Value {
    switch planned.bound.kind {
    case .exists:
      if planned.isConstant, isKnown { return Value(exists) }
      let source = try prepare()
      try source.open()
      exists = try source.next()
      source.close()
      isKnown = true
      return Value(exists)
    case .scalar: return try row(&context)[0]
    case .column(let index): return try row(&context)[index]
    case .array: return try array(&context)
    case .quantified(let comparisons, let all, let negated):
      let result = try quantified(comparisons, all: all, arguments, &context)
      return negated && !result.isNull ? Value(!result.bool) : result
    }
  }

  /// The values of the one row; nulls if there is none.
  private func row(_ context: inout EvaluationContext) throws(SQLError) -> [Value] {
    if planned.isConstant, let constant { return constant }
    let source = try prepare()
    try source.open()
    var values = [Value](repeating: .null, count: columns.count)
    if try source.next() {
      let arena = planned.isConstant ? resultArena : context.arena
      evaluator.arena.reset()
      for index in columns.indices {
        values[index] = unsafe try columns[index].value(state.frame, &evaluator.context).copied(into: arena)
      }
      if try source.next() {
        throw SQLError(.cardinalityViolation, "more than one row returned by a subquery used as an expression")
      }
    }
    source.close()
    if planned.isConstant { constant = values }
    return values
  }

  private func array(_ context: inout EvaluationContext) throws(SQLError) -> Value {
    if planned.isConstant, let constant { return constant[0] }
    let source = try prepare()
    try source.open()
    var values: [Value] = []
    let arena = planned.isConstant ? resultArena : context.arena
    while try source.next() {
      evaluator.arena.reset()
      unsafe values.append(try columns[0].value(state.frame, &evaluator.context).copied(into: arena))
    }
    source.close()
    let element = planned.columns[0].type.id
    let dimensions = values.isEmpty ? [] : [(length: values.count, lowerBound: 1)]
    let result = try ArrayBuilder.make(values, element: element, dimensions: dimensions, arena)
    if planned.isConstant { constant = [result] }
    return result
  }

  // MARK: IN, ANY, ALL

  private func quantified(
    _ comparisons: [ScalarFunction], all: Bool, _ arguments: Arguments, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    guard planned.isConstant else { return try compareEach(comparisons, all: all, arguments, &context) }
    if list == nil { try collect(comparisons, all: all) }
    guard let rows else { return try compareKept(comparisons, all: all, arguments, &context) }
    if rows.store.count == 0, !hasNull { return Value(false) }
    for index in 0..<arguments.count where arguments[index].isNull {
      return try compareKept(comparisons, all: all, arguments, &context)
    }
    for index in 0..<arguments.count { probe[index] = arguments[index] }
    if rows.find(probe) != nil { return Value(true) }
    return hasNull ? try compareKept(comparisons, all: all, arguments, &context) : Value(false)
  }
  private lazy var probe = ValueBuffer(planned.columns.count)

  /// Keeps the rows; equality ANY also as a set.
  private func collect(_ comparisons: [ScalarFunction], all: Bool) throws(SQLError) {
    let source = try prepare()
    let kept = RowStore(width: columns.count, limitBytes: state.services.workMemoryBytes)
    let isHashable =
      !all
      && comparisons.allSatisfy {
        if case .compare(.equal, _)? = $0.intrinsic { true } else { false }
      } && planned.columns.allSatisfy { ValueOrder($0.type.id) != nil }
    let set = isHashable ? RowSet(planned.columns.map(\.type), limitBytes: state.services.workMemoryBytes) : nil
    hasNull = false
    let values = ValueBuffer(columns.count)
    try source.open()
    while try source.next() {
      evaluator.arena.reset()
      var isNull = false
      for index in columns.indices {
        values[index] = unsafe try columns[index].value(state.frame, &evaluator.context)
        if values[index].isNull { isNull = true }
      }
      if isNull { hasNull = true }
      if let set, !isNull {
        _ = try set.insertWithin(values)
      } else {
        let row = kept.addRow()
        for index in columns.indices { kept.set(row, index, values[index]) }
        if row & 0xff == 0 { try kept.checkLimit("a subquery of IN, ANY or ALL") }
      }
    }
    source.close()
    list = kept
    rows = set
  }

  private func compareKept(
    _ comparisons: [ScalarFunction], all: Bool, _ arguments: Arguments, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    var sawNull = false
    for store in [rows?.store, list] {
      guard let store else { continue }
      for row in 0..<store.count {
        let result = try compare(comparisons, arguments, { store.value(row, $0) }, all: all, &context)
        if result.isNull { sawNull = true } else if result.bool != all { return Value(!all) }
      }
    }
    return sawNull ? .sqlNull : Value(all)
  }

  private func compareEach(
    _ comparisons: [ScalarFunction], all: Bool, _ given: Arguments, _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    // The subquery may evaluate expressions of its own in the frames below; the test values are kept apart.
    let source = try prepare()
    try source.open()
    var sawNull = false
    defer { source.close() }
    while try source.next() {
      evaluator.arena.reset()
      var row: [Value] = []
      for column in columns { unsafe row.append(try column.value(state.frame, &evaluator.context)) }
      let result = try compare(comparisons, given, { row[$0] }, all: all, &context)
      if result.isNull { sawNull = true } else if result.bool != all { return Value(!all) }
    }
    return sawNull ? .sqlNull : Value(all)
  }

  /// One row against the test values: for several columns, `=` is their conjunction and `<>` its negation.
  private func compare(
    _ comparisons: [ScalarFunction], _ arguments: Arguments, _ column: (Int) -> Value, all: Bool,
    _ context: inout EvaluationContext
  ) throws(SQLError) -> Value {
    var result = Value(true)
    for (index, function) in comparisons.enumerated() {
      pair[0] = arguments[index]
      pair[1] = column(index)
      if function.isStrict, pair[0].isNull || pair[1].isNull {
        result = .sqlNull
        continue
      }
      let one = try function.body(pair.arguments, &context)
      if comparisons.count == 1 { return one }
      if one.isNull {
        result = .sqlNull
      } else if case .compare(.notEqual, _)? = function.intrinsic {
        if one.bool { return Value(true) }
        if !result.isNull { result = Value(false) }
      } else if !one.bool {
        return Value(false)
      }
    }
    return result
  }
}
