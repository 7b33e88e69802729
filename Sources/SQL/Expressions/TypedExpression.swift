// The bound, typed tree: what the binder makes of an expression, what the planner rewrites, what is compiled.
//
// Every node carries its type and the position of its text, so that an error at run time points at the operator that
// raised it. Names are gone: columns are ordinals of the operator's input row, functions are entries of the registry,
// coercions are explicit nodes. Three-valued logic is SQL's.

/// An expression after name resolution and type inference.
package struct TypedExpression: Sendable {
  package var node: Node
  package var type: SQLType
  /// The 1-based position in the statement, in Unicode scalars; nil for what the binder added.
  package var position: Int?

  package init(_ node: Node, _ type: SQLType, at position: Int? = nil) {
    self.node = node
    self.type = type
    self.position = position
  }

  package indirect enum Node: Sendable {
    /// A constant; its bytes for `unknown` are the literal's text.
    case constant(Datum)
    /// $n, counted from 1.
    case parameter(Int)
    /// A column of the input row, counted from 0. After the planner's rewriting also aggregates' and windows' results.
    case column(Int)
    /// A value that the executor puts into `EvaluationContext.slots`: correlated outer columns, results of initial plans.
    case slot(Int)
    /// A call of a registry entry (an operator is its function).
    case call(ScalarFunction, [TypedExpression])
    /// An aggregate or window call as the binder leaves it; the planner replaces it by a column before compilation.
    case aggregate(AggregateCall)
    case window(WindowCall)
    case and([TypedExpression])
    case or([TypedExpression])
    case not(TypedExpression)
    case isNull(TypedExpression, negated: Bool)
    /// IS [NOT] TRUE / FALSE / UNKNOWN.
    case isTruth(TypedExpression, BooleanTest, negated: Bool)
    /// IS [NOT] DISTINCT FROM over two values of one type (by `=` of that type).
    case isDistinct(TypedExpression, TypedExpression, negated: Bool)
    /// Searched CASE; the simple form is bound to it with `caseOperand` as the compared value.
    case cases(
      operand: TypedExpression?, [(condition: TypedExpression, result: TypedExpression)], otherwise: TypedExpression?)
    /// The operand of the innermost enclosing simple CASE, evaluated once.
    case caseOperand
    case coalesce([TypedExpression])
    /// nullif(a, b) with the equality that resolution chose.
    case nullif(TypedExpression, TypedExpression, equality: ScalarFunction)
    /// GREATEST / LEAST.
    case extreme([TypedExpression], greatest: Bool)
    /// x [NOT] IN (…) and x op ANY/ALL (…) over a list of expressions; `comparison` compares x with one of them.
    case inList(TypedExpression, [TypedExpression], comparison: ScalarFunction, negated: Bool)
    /// x op ANY (array) / x op ALL (array).
    case quantified(TypedExpression, array: TypedExpression, comparison: ScalarFunction, all: Bool)
    /// A coercion by function or by text, chosen by `Coercion`.
    case cast(TypedExpression, CastMethod)
    /// ARRAY[…]; the elements have the element type, or are arrays (a dimension more).
    case array([TypedExpression])
    /// a[i], a[i][j].
    case subscripts(TypedExpression, [TypedExpression])
    /// a[i:j]; nil is an open end.
    case slice(TypedExpression, [(lower: TypedExpression?, upper: TypedExpression?)])
    /// (a, b) op (c, d): equal types pairwise. `comparisons` are the pairs' equality and, for order, less-than functions.
    case rowCompare(RowComparison, [TypedExpression], [TypedExpression])
    /// ROW(…) as a value of type record.
    case row([TypedExpression])
    /// A subquery that the executor evaluates when it is reached: see `EvaluationHost.subplan`. The arguments are its test values.
    case subplan(Int, arguments: [TypedExpression])
    /// x COLLATE "C"/"default"/…: meaning is the operand's; kept for the deparser.
    case collate(TypedExpression, String)
  }

  package enum BooleanTest: UInt8, Sendable { case isTrue, isFalse, isUnknown }
  package enum RowComparison: UInt8, Sendable { case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual }

  /// How a cast is carried out.
  package enum CastMethod: Sendable {
    /// The representation does not change (text → varchar without limit, int4 → oid).
    case relabel
    /// Call the function with the value.
    case function(ScalarFunction)
    /// Output of the source's text, input of the target's.
    case viaText
    /// The value must fit the target's modifier (varchar(n), numeric(p, s)); `explicit` truncates text instead of failing.
    case modifier(explicit: Bool)
    /// Each element of an array by the method.
    indirect case elements(CastMethod, from: TypeID, to: TypeID)
  }

  package static func constant(_ datum: Datum, _ type: SQLType, at position: Int? = nil) -> TypedExpression {
    TypedExpression(.constant(datum), type, at: position)
  }
  package static func column(_ ordinal: Int, _ type: SQLType, at position: Int? = nil) -> TypedExpression {
    TypedExpression(.column(ordinal), type, at: position)
  }
  package static func bool(_ value: Bool) -> TypedExpression { .constant(.bool(value), .bool) }

  /// The constant, if this is one.
  package var constantValue: Datum? {
    if case .constant(let datum) = node { return datum }
    return nil
  }
}

/// An aggregate call: `sum(DISTINCT x ORDER BY y) FILTER (WHERE z)`.
package struct AggregateCall: Sendable {
  package var function: AggregateFunction
  package var arguments: [TypedExpression]
  package var isDistinct: Bool
  package var orderBy: [SortKey]
  package var filter: TypedExpression?
  package init(
    _ function: AggregateFunction, _ arguments: [TypedExpression], isDistinct: Bool = false, orderBy: [SortKey] = [],
    filter: TypedExpression? = nil
  ) {
    self.function = function
    self.arguments = arguments
    self.isDistinct = isDistinct
    self.orderBy = orderBy
    self.filter = filter
  }
}

/// A window call: the function (an aggregate or one of the ranking functions by name), and its window.
package struct WindowCall: Sendable {
  package enum Function: Sendable {
    case aggregate(AggregateFunction)
    case ranking(WindowFunction)
  }
  package var function: Function
  package var arguments: [TypedExpression]
  package var filter: TypedExpression?
  /// Index into the query's list of windows.
  package var window: Int
  package init(_ function: Function, _ arguments: [TypedExpression], filter: TypedExpression? = nil, window: Int) {
    self.function = function
    self.arguments = arguments
    self.filter = filter
    self.window = window
  }
}

package enum WindowFunction: String, Sendable, CaseIterable {
  case rowNumber = "row_number"
  case rank
  case denseRank = "dense_rank"
  case percentRank = "percent_rank"
  case cumeDist = "cume_dist"
  case ntile
  case lag
  case lead
  case firstValue = "first_value"
  case lastValue = "last_value"
  case nthValue = "nth_value"
}

/// One key of an order.
package struct SortKey: Sendable {
  package var expression: TypedExpression
  package var descending: Bool
  package var nullsFirst: Bool
  package init(_ expression: TypedExpression, descending: Bool = false, nullsFirst: Bool? = nil) {
    self.expression = expression
    self.descending = descending
    self.nullsFirst = nullsFirst ?? descending
  }
}

extension TypedExpression {
  /// The direct operands, in order.
  package var children: [TypedExpression] {
    switch node {
    case .constant, .parameter, .column, .slot, .caseOperand: return []
    case .call(_, let arguments), .and(let arguments), .or(let arguments), .coalesce(let arguments),
      .extreme(let arguments, _), .array(let arguments), .row(let arguments), .subplan(_, let arguments):
      return arguments
    case .aggregate(let call): return call.arguments + call.orderBy.map(\.expression) + (call.filter.map { [$0] } ?? [])
    case .window(let call): return call.arguments + (call.filter.map { [$0] } ?? [])
    case .not(let x), .isNull(let x, _), .isTruth(let x, _, _), .cast(let x, _), .collate(let x, _): return [x]
    case .isDistinct(let x, let y, _), .nullif(let x, let y, _): return [x, y]
    case .cases(let operand, let branches, let otherwise):
      return (operand.map { [$0] } ?? []) + branches.flatMap { [$0.condition, $0.result] }
        + (otherwise.map { [$0] } ?? [])
    case .inList(let x, let list, _, _): return [x] + list
    case .quantified(let x, let array, _, _): return [x, array]
    case .subscripts(let x, let indexes): return [x] + indexes
    case .slice(let x, let bounds): return [x] + bounds.flatMap { [$0.lower, $0.upper].compactMap { $0 } }
    case .rowCompare(_, let left, let right): return left + right
    }
  }

  /// The tree with `change` applied to every direct operand.
  package func mapChildren<E: Error>(_ change: (TypedExpression) throws(E) -> TypedExpression) throws(E)
    -> TypedExpression
  {
    func all(_ list: [TypedExpression]) throws(E) -> [TypedExpression] {
      var result: [TypedExpression] = []
      result.reserveCapacity(list.count)
      for item in list { result.append(try change(item)) }
      return result
    }
    func optional(_ item: TypedExpression?) throws(E) -> TypedExpression? {
      guard let item else { return nil }
      return try change(item)
    }
    var copy = self
    switch node {
    case .constant, .parameter, .column, .slot, .caseOperand: break
    case .call(let f, let arguments): copy.node = .call(f, try all(arguments))
    case .and(let list): copy.node = .and(try all(list))
    case .or(let list): copy.node = .or(try all(list))
    case .coalesce(let list): copy.node = .coalesce(try all(list))
    case .extreme(let list, let greatest): copy.node = .extreme(try all(list), greatest: greatest)
    case .array(let list): copy.node = .array(try all(list))
    case .row(let list): copy.node = .row(try all(list))
    case .subplan(let id, let list): copy.node = .subplan(id, arguments: try all(list))
    case .aggregate(var call):
      call.arguments = try all(call.arguments)
      for index in call.orderBy.indices { call.orderBy[index].expression = try change(call.orderBy[index].expression) }
      call.filter = try optional(call.filter)
      copy.node = .aggregate(call)
    case .window(var call):
      call.arguments = try all(call.arguments)
      call.filter = try optional(call.filter)
      copy.node = .window(call)
    case .not(let x): copy.node = .not(try change(x))
    case .isNull(let x, let negated): copy.node = .isNull(try change(x), negated: negated)
    case .isTruth(let x, let test, let negated): copy.node = .isTruth(try change(x), test, negated: negated)
    case .cast(let x, let method): copy.node = .cast(try change(x), method)
    case .collate(let x, let name): copy.node = .collate(try change(x), name)
    case .isDistinct(let x, let y, let negated): copy.node = .isDistinct(try change(x), try change(y), negated: negated)
    case .nullif(let x, let y, let f): copy.node = .nullif(try change(x), try change(y), equality: f)
    case .cases(let operand, let branches, let otherwise):
      var changed: [(condition: TypedExpression, result: TypedExpression)] = []
      let newOperand = try optional(operand)
      for branch in branches { changed.append((try change(branch.condition), try change(branch.result))) }
      copy.node = .cases(operand: newOperand, changed, otherwise: try optional(otherwise))
    case .inList(let x, let list, let f, let negated):
      copy.node = .inList(try change(x), try all(list), comparison: f, negated: negated)
    case .quantified(let x, let array, let f, let isAll):
      copy.node = .quantified(try change(x), array: try change(array), comparison: f, all: isAll)
    case .subscripts(let x, let indexes): copy.node = .subscripts(try change(x), try all(indexes))
    case .slice(let x, let bounds):
      var changed: [(lower: TypedExpression?, upper: TypedExpression?)] = []
      let newX = try change(x)
      for bound in bounds { changed.append((try optional(bound.lower), try optional(bound.upper))) }
      copy.node = .slice(newX, changed)
    case .rowCompare(let op, let left, let right): copy.node = .rowCompare(op, try all(left), try all(right))
    }
    return copy
  }

  /// Whether `predicate` holds for this node or any below.
  package func contains(_ predicate: (TypedExpression) -> Bool) -> Bool {
    predicate(self) || children.contains { $0.contains(predicate) }
  }

  /// The tree rewritten from the leaves up.
  package func rewritten<E: Error>(_ change: (TypedExpression) throws(E) -> TypedExpression) throws(E)
    -> TypedExpression
  {
    try change(try mapChildren { (child) throws(E) in try child.rewritten(change) })
  }

  /// The ordinals of the input columns that are read.
  package var columnsUsed: Set<Int> {
    var used: Set<Int> = []
    collectColumns(&used)
    return used
  }
  private func collectColumns(_ used: inout Set<Int>) {
    if case .column(let ordinal) = node { used.insert(ordinal) }
    for child in children { child.collectColumns(&used) }
  }

  /// The weakest volatility of any function below (a subplan counts as volatile).
  package var volatility: Volatility {
    var worst = Volatility.immutable
    switch node {
    case .call(let f, _): worst = f.volatility
    case .cast(_, .function(let f)): worst = f.volatility
    case .cast(let x, .viaText): worst = (x.type.id == .text && type.id != .timestamptz) ? .immutable : .stable
    case .parameter, .slot, .column: break
    case .subplan, .aggregate, .window: worst = .volatile
    default: break
    }
    for child in children { worst = max(worst, child.volatility) }
    return worst
  }
}
