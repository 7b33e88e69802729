// All functions, operators, casts and aggregates, by name. A value: the catalog's functions are added to a copy of
// `builtin` once, at start, and the result is shared.

/// When a cast applies by itself: pg_cast.castcontext.
package enum CastContext: UInt8, Comparable, Sendable {
  case implicit, assignment, explicit
  package static func < (a: CastContext, b: CastContext) -> Bool { a.rawValue < b.rawValue }
}

/// How values of one type become values of another.
package struct CastEntry: Sendable {
  package let source: TypeID
  package let target: TypeID
  /// The weakest context in which the cast is applied.
  package let context: CastContext
  package let method: TypedExpression.CastMethod
}

/// The functions that statements can name.
package struct FunctionRegistry: Sendable {
  struct CastKey: Hashable, Sendable {
    let source: TypeID
    let target: TypeID
  }
  package private(set) var scalars: [String: [ScalarFunction]] = [:]
  package private(set) var sets: [String: [SetFunction]] = [:]
  package private(set) var aggregates: [String: [AggregateFunction]] = [:]
  /// Binary operators and, under the same name, prefix operators (whose `left` is nil).
  package private(set) var operators: [String: [Operator]] = [:]
  private(set) var casts: [CastKey: CastEntry] = [:]

  package init() {}

  package mutating func add(_ function: ScalarFunction) { scalars[function.name, default: []].append(function) }
  package mutating func add(_ function: SetFunction) { sets[function.name, default: []].append(function) }
  package mutating func add(_ function: AggregateFunction) { aggregates[function.name, default: []].append(function) }
  package mutating func add(_ entry: Operator) { operators[entry.name, default: []].append(entry) }
  package mutating func add(_ cast: CastEntry) {
    casts[CastKey(source: cast.source, target: cast.target)] = cast
  }

  package func cast(from source: TypeID, to target: TypeID) -> CastEntry? {
    casts[CastKey(source: source, target: target)]
  }
  package var allCasts: [CastEntry] { Array(casts.values) }

  /// The operator between exactly these types.
  package func exactOperator(_ name: String, _ left: TypeID?, _ right: TypeID) -> Operator? {
    operators[name]?.first { $0.left == left && $0.right == right }
  }

  /// Whether any function, aggregate or set function has the name.
  package func hasFunction(_ name: String) -> Bool {
    scalars[name] != nil || sets[name] != nil || aggregates[name] != nil
  }
}

/// What a call resolved to.
package enum ResolvedFunction: Sendable {
  case scalar(ScalarFunction)
  case set(SetFunction)
  case aggregate(AggregateFunction)
}

/// A call with its arguments coerced to what the function takes.
package struct ResolvedCall: Sendable {
  package var function: ResolvedFunction
  package var arguments: [TypedExpression]
  package var type: SQLType
}
