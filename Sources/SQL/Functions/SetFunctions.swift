// Set-returning functions: generate_series, unnest, regexp_matches, regexp_split_to_table, json…, string_to_table.

/// An iterator over rows that were computed at once.
final class RowsIterator: SetIterator {
  private var rows: [[Value]]
  private var next = 0
  init(_ rows: [[Value]]) { self.rows = rows }
  func next(_ output: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    guard next < rows.count else { return false }
    for (index, value) in rows[next].enumerated() { unsafe output[index] = value }
    next += 1
    return true
  }
}

private final class IntegerSeries: SetIterator {
  private var current: Int64
  private let stop: Int64
  private let step: Int64
  private var isDone: Bool
  init(_ start: Int64, _ stop: Int64, _ step: Int64) {
    current = start
    self.stop = stop
    self.step = step
    isDone = step > 0 ? start > stop : start < stop
  }
  func next(_ output: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    if isDone { return false }
    unsafe output[0] = Value(current)
    let (after, overflow) = current.addingReportingOverflow(step)
    isDone = overflow || (step > 0 ? after > stop : after < stop)
    current = after
    return true
  }
}

private final class NumericSeries: SetIterator {
  private var current: NumericVariable
  private let stop: NumericVariable
  private let step: NumericVariable
  init(_ start: NumericVariable, _ stop: NumericVariable, _ step: NumericVariable) {
    current = start
    self.stop = stop
    self.step = step
  }
  func next(_ output: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    let order = NumericVariable.compare(current, stop)
    if step.isNegative ? order < 0 : order > 0 { return false }
    unsafe output[0] = try Numeric.checked(current, context.arena)
    current = current + step
    return true
  }
}

private final class TimestampSeries: SetIterator {
  private var current: Int64
  private let stop: Int64
  private let step: Interval
  private let withZone: Bool
  private let isForward: Bool
  private var isDone = false
  init(_ start: Int64, _ stop: Int64, _ step: Interval, withZone: Bool) {
    current = start
    self.stop = stop
    self.step = step
    self.withZone = withZone
    isForward = step.comparable > 0
  }
  func next(_ output: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    if isDone || (isForward ? current > stop : current < stop) { return false }
    unsafe output[0] = Value(current)
    current =
      withZone
      ? try DateArithmetic.add(current, step, context.format.timeZone) : try DateArithmetic.add(current, step)
    return true
  }
}

extension FunctionRegistry {
  mutating func addSets() {
    for type in [TypeID.int4, .int8] {
      let columns = [(name: "generate_series", type: type)]
      add(
        SetFunction("generate_series", [type, type], columns: columns) { (a, _) throws(SQLError) in
          IntegerSeries(a[0].int, a[1].int, 1)
        })
      add(
        SetFunction("generate_series", [type, type, type], columns: columns) { (a, _) throws(SQLError) in
          guard a[2].int != 0 else { throw SetFunctions.zeroStep() }
          return IntegerSeries(a[0].int, a[1].int, a[2].int)
        })
    }
    let numeric = [(name: "generate_series", type: TypeID.numeric)]
    add(
      SetFunction("generate_series", [.numeric, .numeric], columns: numeric) { (a, _) throws(SQLError) in
        try SetFunctions.numericSeries(a, NumericVariable.one)
      })
    add(
      SetFunction("generate_series", [.numeric, .numeric, .numeric], columns: numeric) { (a, _) throws(SQLError) in
        guard a[2].numericSpecial == nil else { throw SQLError(.invalidParameterValue, "step size cannot be NaN") }
        let step = NumericVariable(a[2])
        guard !step.isZero else { throw SetFunctions.zeroStep() }
        return try SetFunctions.numericSeries(a, step)
      })
    for type in [TypeID.timestamp, .timestamptz] {
      add(
        SetFunction(
          "generate_series", [type, type, .interval], columns: [(name: "generate_series", type: type)],
          type == .timestamptz ? .stable : .immutable
        ) { (a, _) throws(SQLError) in
          let step = Interval(a[2])
          guard step.comparable != 0 else { throw SetFunctions.zeroStep() }
          return TimestampSeries(a[0].int, a[1].int, step, withZone: type == .timestamptz)
        })
    }
    add(
      SetFunction(
        "unnest", [.anyarray], columns: [(name: "unnest", type: .anyelement)],
        specialise: { (types) throws(SQLError) in
          let element = types[0].element ?? .text
          return SetFunction("unnest", [types[0].id], columns: [(name: "unnest", type: element)]) {
            (a, _) throws(SQLError) in
            UnnestIterator(a[0])
          }
        }
      ) { (a, _) throws(SQLError) in UnnestIterator(a[0]) })
    add(
      SetFunction("generate_subscripts", [.anyarray, .int4], columns: [(name: "generate_subscripts", type: .int4)]) {
        (a, _) throws(SQLError) in
        let view = try ArrayView(a[0].bytes)
        let d = Int(a[1].int) - 1
        guard d >= 0, d < view.dimensions else { return RowsIterator([]) }
        return IntegerSeries(Int64(view.lowerBound(d)), Int64(view.lowerBound(d) + view.length(d) - 1), 1)
      })
    // The information schema's: elements with their numbers. Drivers ask it about the columns of indexes.
    add(
      SetFunction(
        "_pg_expandarray", [.anyarray], columns: [(name: "x", type: .anyelement), (name: "n", type: .int4)],
        specialise: { (types) throws(SQLError) in
          let columns = [(name: "x", type: types[0].element ?? .text), (name: "n", type: TypeID.int4)]
          return SetFunction("_pg_expandarray", [types[0].id], columns: columns) { (a, _) throws(SQLError) in
            UnnestIterator(a[0], isNumbered: true)
          }
        }
      ) { (a, _) throws(SQLError) in UnnestIterator(a[0], isNumbered: true) })
    addTextSets()
  }

  private mutating func addTextSets() {
    add(
      SetFunction(
        "string_to_table", [.text, .text], columns: [(name: "string_to_table", type: .text)], strict: false
      ) { (a, c) throws(SQLError) in
        if a[0].isNull { return RowsIterator([]) }
        let parts = ArrayLibrary.split(c.arena.copy(a[0].bytes), a[1].isNull ? nil : a[1].bytes)
        return RowsIterator(parts.map { [Value($0)] })
      })
  }
}

/// unnest over a copy of the array, so that it may outlive its row; numbered, each element with its place from 1 on.
final class UnnestIterator: SetIterator {
  private let arena = Arena(initialBytes: 64)
  private let array: Bytes
  private var next = 0
  private let isNumbered: Bool
  init(_ value: Value, isNumbered: Bool = false) {
    array = arena.copy(value.bytes)
    self.isNumbered = isNumbered
  }
  func next(_ output: UnsafeMutablePointer<Value>, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    let view = try ArrayView(array)
    guard next < view.count else { return false }
    unsafe output[0] = try view.value(next)
    next += 1
    if isNumbered { unsafe output[1] = Value(next) }
    return true
  }
}

enum SetFunctions {
  static func zeroStep() -> SQLError { SQLError(.invalidParameterValue, "step size cannot equal zero") }

  static func numericSeries(_ a: Arguments, _ step: NumericVariable) throws(SQLError) -> any SetIterator {
    for (index, what) in [(0, "start"), (1, "stop")] {
      if let special = a[index].numericSpecial {
        throw SQLError(.invalidParameterValue, "\(what) value cannot be \(special == .nan ? "NaN" : "infinity")")
      }
    }
    return NumericSeries(NumericVariable(a[0]), NumericVariable(a[1]), step)
  }
}
