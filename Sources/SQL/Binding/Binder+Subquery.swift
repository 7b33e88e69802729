extension Binder {
  /// A subquery as a value: scalar, EXISTS or ARRAY(…).
  func subquery(
    _ kind: BoundSubquery.Kind, _ query: Syntax.Query, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    var bound = try nested(query, scope, clause, at: position)
    let type: SQLType
    switch kind {
    case .exists: type = .bool
    case .array:
      guard bound.columns.count == 1 else {
        throw SQLError(.syntaxError, "subquery must return only one column", position: position)
      }
      bound.columns[0].expression = try resolver.settle(bound.columns[0].expression)
      let element = bound.columns[0].expression.type.id
      guard let array = SQLType.array(of: element) else {
        throw SQLError(
          .undefinedObject, "could not find array type for data type \(SQLType(element).description)",
          position: position)
      }
      type = array
    default:
      guard bound.columns.count == 1 else {
        throw SQLError(.syntaxError, "subquery must return only one column", position: position)
      }
      bound.columns[0].expression = try resolver.settle(bound.columns[0].expression)
      type = bound.columns[0].expression.type
    }
    return add(BoundSubquery(kind: kind, query: bound, type: type, outer: []), [], at: position)
  }

  /// `(a, b) = (SELECT x, y …)`: the columns of the one row, each a subplan over the same query.
  func rowSubquery(
    _ query: Syntax.Query, count: Int, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> [TypedExpression] {
    var bound = try nested(query, scope, clause, at: position)
    guard bound.columns.count == count else {
      throw SQLError(
        .syntaxError,
        bound.columns.count < count ? "subquery has too few columns" : "subquery has too many columns",
        position: position)
    }
    for index in bound.columns.indices {
      bound.columns[index].expression = try resolver.settle(bound.columns[index].expression)
    }
    return bound.columns.indices.map { index in
      add(
        BoundSubquery(kind: .column(index), query: bound, type: bound.columns[index].expression.type, outer: []), [],
        at: position)
    }
  }

  /// `x op ANY | ALL (SELECT …)` and `x [NOT] IN (SELECT …)`.
  func quantifiedQuery(
    _ left: Syntax.Expression, _ name: String, all: Bool, _ query: Syntax.Query, negated: Bool, _ scope: Scope,
    _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    var tests: [TypedExpression]
    if case .row(let parts, _) = left.kind {
      tests = try bind(parts, scope, clause)
    } else {
      tests = [try bind(left, scope, clause)]
    }
    var bound = try nested(query, scope, clause, at: position)
    guard bound.columns.count == tests.count else {
      throw SQLError(
        .syntaxError,
        bound.columns.count < tests.count ? "subquery has too few columns" : "subquery has too many columns",
        position: position)
    }
    guard tests.count == 1 || name == "=" || name == "<>" else {
      throw SQLError(
        .featureNotSupported, "row comparison \(name) with ANY or ALL of a subquery is not supported",
        position: position)
    }
    var comparisons: [ScalarFunction] = []
    for index in tests.indices {
      let column = bound.columns[index].expression
      let test = try resolver.operatorCall(name, tests[index], column, at: position)
      guard case .call(let function, let operands) = test.node, operands.count == 2, test.type.id == .bool else {
        throw SQLError(.datatypeMismatch, "operator \(name) must return type boolean", position: position)
      }
      comparisons.append(function)
      tests[index] = operands[0]
      bound.columns[index].expression = operands[1]
    }
    let kind = BoundSubquery.Kind.quantified(comparisons: comparisons, all: all, negated: negated)
    return add(BoundSubquery(kind: kind, query: bound, type: .bool, outer: []), tests, at: position)
  }

  private func nested(
    _ query: Syntax.Query, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> BoundQuery {
    guard clause.allowsSubqueries else {
      let message =
        clause == .defaultValue
        ? "cannot use subquery in DEFAULT expression"
        : clause == .check
          ? "cannot use subquery in check constraint"
          : clause == .indexExpression
            ? "cannot use subquery in index expression"
            : clause == .indexPredicate
              ? "cannot use subquery in index predicate" : "cannot use subquery in \(clause.phrase)"
      throw SQLError(.featureNotSupported, message, position: position)
    }
    let outerModifying = allowsModifyingCommonTables
    allowsModifyingCommonTables = false
    defer { allowsModifyingCommonTables = outerModifying }
    return try bind(query, parent: scope)
  }

  private func add(
    _ subquery: BoundSubquery, _ arguments: [TypedExpression], at position: Int?
  ) -> TypedExpression {
    var subquery = subquery
    subquery.outer = freeSlots(of: subquery.query).sorted()
    subqueries.append(subquery)
    return TypedExpression(.subplan(subqueries.count - 1, arguments: arguments), subquery.type, at: position)
  }

  /// The slots that `query` reads and does not produce.
  func freeSlots(of query: BoundQuery) -> Set<FrameSlot> {
    var produced: Set<FrameSlot> = []
    var used: Set<FrameSlot> = []
    query.plan.forEachNode { node in
      produced.formUnion(node.ownSlots)
      for expression in node.expressions { collectSlots(expression, &used) }
    }
    for column in query.columns { collectSlots(column.expression, &used) }
    return used.subtracting(produced)
  }

  /// The slots that `expression` reads, those of its subqueries included.
  func collectSlots(_ expression: TypedExpression, _ used: inout Set<FrameSlot>) {
    switch expression.node {
    case .column(let slot): used.insert(slot)
    case .subplan(let id, _): used.formUnion(subqueries[id].outer)
    default: break
    }
    for child in expression.children { collectSlots(child, &used) }
  }
}
