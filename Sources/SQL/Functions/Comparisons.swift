// = <> < <= > >= for every type that has an order, and between the numeric types that PostgreSQL compares directly.

extension FunctionRegistry {
  mutating func addComparisons() {
    let intTypes: [TypeID] = [.int2, .int4, .int8]
    for left in intTypes { for right in intTypes { compare(left, right, .int) } }
    for left in [TypeID.float4, .float8] { for right in [TypeID.float4, .float8] { compare(left, right, .double) } }
    for type in [TypeID.oid, .date, .time, .timestamp, .timestamptz, .xid] { compare(type, type, .int) }
    for type in [TypeID.text, .bytea, .uuid, .name, .char] { compare(type, type, .text) }
    compare(.name, .text, .text)
    compare(.text, .name, .text)
    compare(.bool, .bool, .bool)
    compare(.numeric, .numeric, .numeric)
    compare(.bpchar, .bpchar, nil)
    compare(.interval, .interval, nil)
    compare(.jsonb, .jsonb, nil)
    compare(.anyarray, .anyarray, nil, order: ValueOrder(TypeID(1007)))
    addMixedDates()
  }

  private mutating func compare(
    _ left: TypeID, _ right: TypeID, _ operand: Intrinsic.Operand?, order given: ValueOrder? = nil
  ) {
    guard let order = given ?? ValueOrder(left) else { preconditionFailure("\(left) has no order") }
    typealias Entry = (String, Intrinsic.Comparison, String, String, String)
    let entries: [Entry] = [
      ("=", .equal, "=", "<>", "eq"), ("<>", .notEqual, "<>", "=", "ne"), ("<", .less, ">", ">=", "lt"),
      ("<=", .lessOrEqual, ">=", ">", "le"), (">", .greater, "<", "<=", "gt"), (">=", .greaterOrEqual, "<=", "<", "ge"),
    ]
    for (name, comparison, commutator, negator, suffix) in entries {
      let mask = comparison.mask
      let entry = ScalarFunction(
        "\(left.info.name)_\(right.info.name)_\(suffix)", [left, right], returns: .bool,
        intrinsic: operand.map { .compare(comparison, $0) }
      ) { (a, _) throws(SQLError) in
        Value(mask & (1 << UInt8(order.compare(a[0], a[1]) + 1)) != 0)
      }
      add(Operator(name, left, right, entry, commutator: commutator, negator: negator))
      if name == "<>" { add(Operator("!=", left, right, entry, commutator: commutator, negator: negator)) }
    }
  }

  /// date, timestamp and timestamptz compare with each other at midnight, in the session's zone.
  private mutating func addMixedDates() {
    let types: [TypeID] = [.date, .timestamp, .timestamptz]
    for left in types {
      for right in types where left != right {
        let entries: [(String, Intrinsic.Comparison, String, String)] = [
          ("=", .equal, "=", "<>"), ("<>", .notEqual, "<>", "="), ("<", .less, ">", ">="),
          ("<=", .lessOrEqual, ">=", ">"), (">", .greater, "<", "<="), (">=", .greaterOrEqual, "<=", "<"),
        ]
        let isStable = left == .timestamptz || right == .timestamptz
        for (name, comparison, commutator, negator) in entries {
          let mask = comparison.mask
          infix(
            name, left, right, .bool, isStable ? .stable : .immutable, commutator: commutator, negator: negator
          ) { (a, context) throws(SQLError) in
            let x = DateArithmetic.common(a[0].int, left, withZone: isStable, context.format.timeZone)
            let y = DateArithmetic.common(a[1].int, right, withZone: isStable, context.format.timeZone)
            return Value(mask & (x < y ? 0b001 : (x == y ? 0b010 : 0b100)) != 0)
          }
        }
      }
    }
  }
}
