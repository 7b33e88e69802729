// Aggregates as state machines over raw state, zeroed before the first row (see `AggregateFunction`).
//
// States are small structs bound to the executor's memory. What grows (text, arrays, large numerics) lives in
// `context.stateArena` in buffers that double, so that n rows cost O(n) bytes.

extension FunctionRegistry {
  mutating func addAggregates() {
    addCounts()
    addSums()
    addExtremes()
    addBooleans()
    addCollections()
  }

  /// An aggregate with a typed state, whose zero is a valid start.
  mutating func aggregate<S: BitwiseCopyable>(
    _ name: String, _ arguments: [TypeID], _ result: TypeID, strict: Bool = true, variadic: TypeID? = nil,
    kind: AggregateFunction.Kind = .other, shape: AggregateFunction.Shape = .other, start: S,
    _ accumulate: @escaping @Sendable (inout S, Arguments, inout EvaluationContext) throws(SQLError) -> Void,
    combine: (@Sendable (inout S, S, inout EvaluationContext) throws(SQLError) -> Void)? = nil,
    finish: @escaping @Sendable (S, inout EvaluationContext) throws(SQLError) -> Value
  ) where S: Sendable {
    add(
      AggregateFunction.typed(
        name, arguments, result, strict: strict, variadic: variadic, kind: kind, shape: shape, start: start, accumulate,
        combine: combine, finish: finish))
  }

  private mutating func addCounts() {
    aggregate(
      "count", [], .int8, strict: false, kind: .countAll, shape: .count, start: Int64(0),
      { (s, _, _) throws(SQLError) in s += 1 }, combine: { (s, t, _) throws(SQLError) in s += t },
      finish: { (s, _) throws(SQLError) in Value(s) })
    aggregate(
      "count", [.any], .int8, shape: .count, start: Int64(0), { (s, _, _) throws(SQLError) in s += 1 },
      combine: { (s, t, _) throws(SQLError) in s += t }, finish: { (s, _) throws(SQLError) in Value(s) })
  }

  private mutating func addSums() {
    // Sums of integers are exact in 128 bits; sum(smallint), sum(integer) are bigint, sum(bigint) is numeric.
    for type in [TypeID.int2, .int4, .int8] {
      aggregate(
        "sum", [type], type == .int8 ? .numeric : .int8, shape: .integerSum, start: IntegerSum(),
        { (s, a, _) throws(SQLError) in s.add(a[0].int) }, combine: { (s, t, _) throws(SQLError) in s.add(t) },
        finish: { (s, c) throws(SQLError) in
          if s.count == 0 { return .null }
          if type == .int8 { return Numeric.make(s.total, scale: 0, c.arena) }
          guard let total = Int64(exactly: s.total) else {
            throw CompiledExpression.intRange(Intrinsic.Width.int64.rawValue)
          }
          return Value(total)
        })
      aggregate(
        "avg", [type], .numeric, shape: .integerSum, start: IntegerSum(),
        { (s, a, _) throws(SQLError) in s.add(a[0].int) },
        combine: { (s, t, _) throws(SQLError) in s.add(t) },
        finish: { (s, c) throws(SQLError) in
          if s.count == 0 { return .null }
          return try Numeric.divide(
            Numeric.make(s.total, scale: 0, c.arena), Value(mantissa: s.count, scale: 0), c.arena)
        })
    }
    for type in [TypeID.float4, .float8] {
      aggregate(
        "sum", [type], type, shape: type == .float8 ? .doubleSum : .other, start: DoubleSum(),
        { (s, a, _) throws(SQLError) in try s.add(a[0].double, single: type == .float4) },
        combine: { (s, t, _) throws(SQLError) in
          let isInfinite = s.total.isInfinite || t.total.isInfinite
          s.count += t.count
          s.total += t.total
          if s.total.isInfinite, !isInfinite { throw DoubleArithmetic.overflow() }
        }, finish: { (s, _) throws(SQLError) in s.count == 0 ? .null : Value(s.total) })
      aggregate(
        "avg", [type], .float8, start: Moments(), { (s, a, _) throws(SQLError) in try s.add(a[0].double) },
        combine: { (s, t, _) throws(SQLError) in try s.add(t) },
        finish: { (s, _) throws(SQLError) in s.n == 0 ? .null : Value(s.sum / s.n) })
    }
    aggregate(
      "sum", [.numeric], .numeric, start: NumericSum(), { (s, a, c) throws(SQLError) in try s.add(a[0], c.stateArena) },
      combine: { (s, t, c) throws(SQLError) in try s.add(t, c.stateArena) },
      finish: { (s, c) throws(SQLError) in s.count == 0 ? .null : try s.total(c.arena) })
    aggregate(
      "avg", [.numeric], .numeric, start: NumericSum(), { (s, a, c) throws(SQLError) in try s.add(a[0], c.stateArena) },
      combine: { (s, t, c) throws(SQLError) in try s.add(t, c.stateArena) },
      finish: { (s, c) throws(SQLError) in
        s.count == 0 ? .null : try Numeric.divide(try s.total(c.arena), Value(mantissa: s.count, scale: 0), c.arena)
      })
    for name in ["sum", "avg"] {
      aggregate(
        name, [.interval], .interval, start: IntervalSum(),
        { (s, a, _) throws(SQLError) in s.add(Interval(a[0])) },
        combine: { (s, t, _) throws(SQLError) in s.add(t) },
        finish: { (s, c) throws(SQLError) in
          if s.count == 0 { return .null }
          guard let m = Int32(exactly: s.months), let d = Int32(exactly: s.days), let u = Int64(exactly: s.micros)
          else {
            throw Interval.overflow()
          }
          let total = Interval(months: m, days: d, microseconds: u)
          return (name == "sum" ? total : try total.multiplied(by: 1 / Double(s.count))).value(c.arena)
        })
    }
  }

  private mutating func addExtremes() {
    let types: [TypeID] = [
      .int2, .int4, .int8, .float4, .float8, .numeric, .text, .bpchar, .date, .time, .timestamp, .timestamptz,
      .interval, .oid,
    ]
    for type in types {
      for (name, isMaximum) in [("max", true), ("min", false)] {
        guard let order = ValueOrder(type) else { continue }
        add(AggregateFunction.extreme(name, type, type, order, maximum: isMaximum))
      }
    }
    for (name, isMaximum) in [("max", true), ("min", false)] {
      let order = ValueOrder(TypeID(1007))!
      add(AggregateFunction.extreme(name, .anyarray, .anyarray, order, maximum: isMaximum))
    }
  }

  private mutating func addBooleans() {
    for (name, isAnd) in [("bool_and", true), ("every", true), ("bool_or", false)] {
      aggregate(
        name, [.bool], .bool, start: BooleanState(),
        { (s, a, _) throws(SQLError) in
          s.value = s.isSet ? (isAnd ? s.value && a[0].bool : s.value || a[0].bool) : a[0].bool
          s.isSet = true
        },
        combine: { (s, t, _) throws(SQLError) in
          guard t.isSet else { return }
          s.value = s.isSet ? (isAnd ? s.value && t.value : s.value || t.value) : t.value
          s.isSet = true
        }, finish: { (s, _) throws(SQLError) in s.isSet ? Value(s.value) : .null })
    }
    for type in [TypeID.int2, .int4, .int8] {
      for (name, op) in [("bit_and", 0), ("bit_or", 1), ("bit_xor", 2)] {
        aggregate(
          name, [type], type, start: BitState(),
          { (s, a, _) throws(SQLError) in
            let x = a[0].int
            s.value = !s.isSet ? x : op == 0 ? s.value & x : op == 1 ? s.value | x : s.value ^ x
            s.isSet = true
          }, finish: { (s, _) throws(SQLError) in s.isSet ? Value(s.value) : .null })
      }
    }
  }

  private mutating func addCollections() {
    for type in [TypeID.text, .bytea] {
      aggregate(
        "string_agg", [type, type], type, strict: false, start: GrowingBytes(),
        { (s, a, c) throws(SQLError) in
          if a[0].isNull { return }
          if s.isSet, !a[1].isNull { try s.append(a[1].bytes, c.stateArena) }
          s.isSet = true
          try s.append(a[0].bytes, c.stateArena)
        },
        finish: { (s, _) throws(SQLError) in s.isSet ? Value(s.bytes) : .null })
    }
    let specialise: @Sendable ([SQLType]) throws(SQLError) -> AggregateFunction = { (types) throws(SQLError) in
      if types[0].isArray { return AggregateFunction.arrayOfArrays(types[0]) }
      guard let array = types[0].info.array else {
        throw SQLError(.undefinedObject, "could not find array type for data type \(types[0].description)")
      }
      return AggregateFunction.array(types[0].id, array)
    }
    unsafe add(
      AggregateFunction(
        "array_agg", [.any], returns: .anyarray, stateSize: 16, strict: false, specialise: specialise,
        accumulate: { (_, _, _) throws(SQLError) in }, finish: { (_, _) throws(SQLError) in .null }))
  }
}

extension AggregateFunction {
  static func typed<S: BitwiseCopyable & Sendable>(
    _ name: String, _ arguments: [TypeID], _ result: TypeID, strict: Bool = true, variadic: TypeID? = nil,
    kind: Kind = .other, shape: Shape = .other, start: S,
    _ accumulate: @escaping @Sendable (inout S, Arguments, inout EvaluationContext) throws(SQLError) -> Void,
    combine: (@Sendable (inout S, S, inout EvaluationContext) throws(SQLError) -> Void)? = nil,
    finish: @escaping @Sendable (S, inout EvaluationContext) throws(SQLError) -> Value
  ) -> AggregateFunction {
    let joined: (@Sendable (State, State, inout EvaluationContext) throws(SQLError) -> Void)?
    if let combine {
      unsafe joined = { (state: State, other: State, c: inout EvaluationContext) throws(SQLError) -> Void in
        let second = unsafe other.assumingMemoryBound(to: S.self).pointee
        try unsafe combine(&state.assumingMemoryBound(to: S.self).pointee, second, &c)
      }
    } else {
      unsafe joined = nil
    }
    return unsafe AggregateFunction(
      name, arguments, variadic: variadic, returns: result, stateSize: MemoryLayout<S>.stride, strict: strict,
      kind: kind, shape: shape,
      initialize: { (state: State) in unsafe state.initializeMemory(as: S.self, to: start) },
      accumulate: { (state: State, a: Arguments, c: inout EvaluationContext) throws(SQLError) -> Void in
        try unsafe accumulate(&state.assumingMemoryBound(to: S.self).pointee, a, &c)
      },
      combine: joined,
      finish: { (state: State, c: inout EvaluationContext) throws(SQLError) -> Value in
        try unsafe finish(state.assumingMemoryBound(to: S.self).pointee, &c)
      })
  }

  static func extreme(
    _ name: String, _ type: TypeID, _ result: TypeID, _ order: ValueOrder, maximum: Bool
  ) -> AggregateFunction {
    let wanted = maximum ? 1 : -1
    let take: @Sendable (inout HeldValue, Value, inout EvaluationContext) throws(SQLError) -> Void = {
      (s, value, c) throws(SQLError) in
      if s.isSet, order.compare(value, s.value) != wanted { return }
      try s.hold(value, c.stateArena)
    }
    let isPlain = order.kind == .int || order.kind == .double
    return typed(
      name, [type], result, kind: maximum ? .maximum : .minimum,
      shape: isPlain ? .extreme(order, wanted: wanted) : .other, start: HeldValue(),
      { (s, a, c) throws(SQLError) in try take(&s, a[0], &c) },
      combine: { (s, t, c) throws(SQLError) in if t.isSet { try take(&s, t.value, &c) } },
      finish: { (s, _) throws(SQLError) in s.isSet ? s.value : .null })
  }

  static func array(_ element: TypeID, _ array: TypeID) -> AggregateFunction {
    typed(
      "array_agg", [element], array, strict: false, start: GrowingValues(),
      { (s, a, c) throws(SQLError) in try s.append(a[0].copied(into: c.stateArena), c.stateArena) },
      finish: { (s, c) throws(SQLError) in
        s.count == 0 ? .null : try ArrayBuilder.make(s.values, element: element, c.arena)
      })
  }

  static func arrayOfArrays(_ type: SQLType) -> AggregateFunction {
    typed(
      "array_agg", [type.id], type.id, strict: false, start: GrowingValues(),
      { (s, a, c) throws(SQLError) in
        guard !a[0].isNull else { throw SQLError(SQLState(rawValue: "22004"), "cannot accumulate null arrays") }
        guard try ArrayView(a[0].bytes).count > 0 else {
          throw SQLError(SQLState(rawValue: "2202E"), "cannot accumulate empty arrays")
        }
        try s.append(a[0].copied(into: c.stateArena), c.stateArena)
      },
      finish: { (s, c) throws(SQLError) in
        guard s.count > 0 else { return .null }
        let values = s.values
        var result: Result<Value, SQLError> = .success(.null)
        unsafe values.withUnsafeBufferPointer { buffer in
          let arguments = unsafe Arguments(buffer.baseAddress!, count: buffer.count)
          do throws(SQLError) {
            result = .success(try ArrayFunctions.construct(arguments, type, type, c.arena))
          } catch { result = .failure(error) }
        }
        return try result.get()
      })
  }
}
