// percentile_cont, percentile_disc and mode: aggregates over a sorted list (WITHIN GROUP).
//
// The executor sorts the rows as for any aggregate with ORDER BY; what is kept are the values that are not null, and the
// direct argument of the first row. With n values, numbered from 0:
//
//   percentile_disc(f)   the value number ⌈f · n⌉ - 1 (0 for f = 0)
//   percentile_cont(f)   between the values around place f · (n - 1), linearly; of numbers and intervals only
//   mode()               the most frequent value, of those the first

struct OrderedSetState: BitwiseCopyable {
  var values = GrowingValues()
  var direct = Value.null
}

extension AggregateFunction {
  private static func collecting(
    _ name: String, _ arguments: [TypeID], _ result: TypeID,
    finish: @escaping @Sendable ([Value], Value, inout EvaluationContext) throws(SQLError) -> Value
  ) -> AggregateFunction {
    typed(
      name, arguments, result, strict: false, start: OrderedSetState(),
      { (s, a, c) throws(SQLError) in
        if a.count > 1, s.values.count == 0 { s.direct = a[1].copied(into: c.stateArena) }
        if !a[0].isNull { try s.values.append(a[0].copied(into: c.stateArena), c.stateArena) }
      }, finish: { (s, c) throws(SQLError) in s.values.count == 0 ? .null : try finish(s.values.values, s.direct, &c) })
  }

  private static func fraction(_ value: Value) throws(SQLError) -> Double {
    let fraction = value.double
    guard fraction >= 0, fraction <= 1 else {
      throw SQLError(
        .numericOutOfRange, "percentile value \(try TypeCodec.string(value, .float8)) is not between 0 and 1")
    }
    return fraction
  }

  /// One fraction gives one value, an array of them an array.
  private static func each(
    _ direct: Value, isArray: Bool, _ element: TypeID, _ c: inout EvaluationContext,
    _ body: (Double, inout EvaluationContext) throws(SQLError) -> Value
  ) throws(SQLError) -> Value {
    if direct.isNull { return .null }
    guard isArray else { return try body(try fraction(direct), &c) }
    let view = try ArrayView(direct.bytes)
    var results: [Value] = []
    for index in 0..<view.count {
      let item = try view.value(index)
      results.append(item.isNull ? .null : try body(try fraction(item), &c))
    }
    return try ArrayBuilder.make(results, element: element, c.arena)
  }

  /// - Parameter type: of the sorted values.
  static func percentileDisc(_ type: TypeID, isArray: Bool) -> AggregateFunction {
    let result = isArray ? type.info.array ?? .text : type
    return collecting("percentile_disc", [type, isArray ? TypeID(1022) : .float8], result) {
      (values, direct, c) throws(SQLError) in
      try each(direct, isArray: isArray, type, &c) { (fraction, c) throws(SQLError) in
        let place = max(0, Int((fraction * Double(values.count)).rounded(.up)) - 1)
        return values[min(place, values.count - 1)].copied(into: c.arena)
      }
    }
  }

  /// Of double precision or interval.
  static func percentileCont(_ type: TypeID, isArray: Bool) -> AggregateFunction {
    let result = isArray ? type.info.array ?? .text : type
    return collecting("percentile_cont", [type, isArray ? TypeID(1022) : .float8], result) {
      (values, direct, c) throws(SQLError) in
      try each(direct, isArray: isArray, type, &c) { (fraction, c) throws(SQLError) in
        let place = fraction * Double(values.count - 1)
        let low = values[Int(place.rounded(.down))]
        let high = values[Int(place.rounded(.up))]
        let part = place - place.rounded(.down)
        if type == .interval {
          let (a, b) = (Interval(low), Interval(high))
          let (months, o1) = b.months.subtractingReportingOverflow(a.months)
          let (days, o2) = b.days.subtractingReportingOverflow(a.days)
          let (micros, o3) = b.microseconds.subtractingReportingOverflow(a.microseconds)
          guard !o1, !o2, !o3 else { throw Interval.overflow() }
          let step = try Interval(months: months, days: days, microseconds: micros).multiplied(by: part)
          return Interval(
            months: a.months &+ step.months, days: a.days &+ step.days,
            microseconds: a.microseconds &+ step.microseconds
          ).value(c.arena)
        }
        return Value(low.double + part * (high.double - low.double))
      }
    }
  }

  static func mode(_ type: TypeID, _ order: ValueOrder) -> AggregateFunction {
    collecting("mode", [type], type) { (values, _, c) throws(SQLError) in
      var best = (index: 0, count: 0)
      var start = 0
      while start < values.count {
        var end = start + 1
        while end < values.count, order.equal(values[start], values[end]) { end += 1 }
        if end - start > best.count { best = (start, end - start) }
        start = end
      }
      return values[best.index].copied(into: c.arena)
    }
  }
}

extension Binder {
  /// `name(direct) WITHIN GROUP (ORDER BY key)`.
  func orderedSetCall(
    _ name: String, _ direct: [TypedExpression], _ key: SortKey, filter: TypedExpression?, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    var key = key
    func undefined() -> SQLError {
      let types = (direct + [key.expression]).map(\.type.description).joined(separator: ", ")
      return SQLError(.undefinedFunction, "function \(name)(\(types)) does not exist", position: position)
    }
    func made(_ function: AggregateFunction, _ arguments: [TypedExpression]) -> TypedExpression {
      let call = AggregateCall(function, arguments, orderBy: [key], filter: filter)
      return TypedExpression(.aggregate(call), SQLType(function.result), at: position)
    }
    if name == "mode" {
      guard direct.isEmpty, let order = ValueOrder(key.expression.type.id) else { throw undefined() }
      return made(.mode(key.expression.type.id, order), [key.expression])
    }
    guard direct.count == 1 else { throw undefined() }
    if direct[0].contains({ if case .column = $0.node { true } else { false } }) {
      throw SQLError(
        .groupingError, "direct arguments of an ordered-set aggregate must use only grouped columns",
        detail: "Columns are not supported there: only constants and parameters are.", position: direct[0].position)
    }
    let isArray = direct[0].type.isArray || direct[0].type.id == TypeID(1022)
    let fraction = try resolver.coerce(direct[0], to: isArray ? SQLType(TypeID(1022)) : .float8, .implicit)
    if name == "percentile_disc" {
      return made(.percentileDisc(key.expression.type.id, isArray: isArray), [key.expression, fraction])
    }
    if key.expression.type.id != .interval {
      key.expression = try resolver.coerce(key.expression, to: .float8, .implicit)
    }
    return made(.percentileCont(key.expression.type.id, isArray: isArray), [key.expression, fraction])
  }
}
