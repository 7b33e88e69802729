// The expressions that are not plain calls: AND/OR, CASE, COALESCE, NULLIF, IN, ANY/ALL, IS DISTINCT FROM, arrays, rows.
// Each is built here with its operands coerced, so that the binder states only the structure.

extension Resolver {
  package func and(_ parts: [TypedExpression], at position: Int? = nil) throws(SQLError) -> TypedExpression {
    var checked: [TypedExpression] = []
    for part in parts { checked.append(try condition(part, "AND")) }
    return TypedExpression(.and(checked), .bool, at: position)
  }
  package func or(_ parts: [TypedExpression], at position: Int? = nil) throws(SQLError) -> TypedExpression {
    var checked: [TypedExpression] = []
    for part in parts { checked.append(try condition(part, "OR")) }
    return TypedExpression(.or(checked), .bool, at: position)
  }
  package func not(_ part: TypedExpression, at position: Int? = nil) throws(SQLError) -> TypedExpression {
    TypedExpression(.not(try condition(part, "NOT")), .bool, at: position)
  }

  package func isTruth(
    _ part: TypedExpression, _ test: TypedExpression.BooleanTest, negated: Bool, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let name = test == .isTrue ? "TRUE" : test == .isFalse ? "FALSE" : "UNKNOWN"
    let checked = try condition(part, "IS \(negated ? "NOT " : "")\(name)")
    return TypedExpression(.isTruth(checked, test, negated: negated), .bool, at: position)
  }

  /// The function behind `name` between two expressions, and the coerced operands.
  private func comparison(
    _ name: String, _ left: TypedExpression, _ right: TypedExpression, at position: Int?
  ) throws(SQLError) -> (ScalarFunction, TypedExpression, TypedExpression) {
    let call = try operatorCall(name, left, right, at: position)
    guard case .call(let function, let operands) = call.node, operands.count == 2, call.type.id == .bool else {
      throw SQLError(
        .datatypeMismatch, "operator \(name) must return type boolean, not type \(call.type.description)",
        position: position)
    }
    return (function, operands[0], operands[1])
  }

  package func isDistinct(
    _ left: TypedExpression, _ right: TypedExpression, negated: Bool, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    if left.constantValue == .null {
      return TypedExpression(.isNull(try settle(right), negated: !negated), .bool, at: position)
    }
    if right.constantValue == .null {
      return TypedExpression(.isNull(try settle(left), negated: !negated), .bool, at: position)
    }
    let (_, l, r) = try comparison("=", left, right, at: position)
    // Operators across types (int4 = int8) compare one physical kind, so no further coercion is needed.
    return TypedExpression(.isDistinct(l, r, negated: negated), .bool, at: position)
  }

  package func nullif(
    _ left: TypedExpression, _ right: TypedExpression, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let (function, l, r) = try comparison("=", left, right, at: position)
    return TypedExpression(.nullif(l, r, equality: function), l.type, at: position)
  }

  package func coalesce(_ list: [TypedExpression], at position: Int?) throws(SQLError) -> TypedExpression {
    let (parts, type) = try unify(list, "COALESCE")
    return TypedExpression(.coalesce(parts), type, at: position)
  }

  package func extreme(_ list: [TypedExpression], greatest: Bool, at position: Int?) throws(SQLError) -> TypedExpression
  {
    let (parts, type) = try unify(list, greatest ? "GREATEST" : "LEAST")
    guard ValueOrder(type.id) != nil else {
      throw SQLError(
        .undefinedFunction, "could not identify a comparison function for type \(type.description)", position: position)
    }
    return TypedExpression(.extreme(parts, greatest: greatest), type, at: position)
  }

  /// CASE, with an operand for the simple form.
  package func cases(
    operand: TypedExpression?, _ branches: [(condition: TypedExpression, result: TypedExpression)],
    otherwise: TypedExpression?, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    var conditions: [TypedExpression] = []
    let subject = try operand.map { (x) throws(SQLError) in try settle(x) }
    for branch in branches {
      if let subject {
        let stand = TypedExpression(.caseOperand, subject.type, at: subject.position)
        conditions.append(try operatorCall("=", stand, branch.condition, at: branch.condition.position ?? position))
      } else {
        conditions.append(try condition(branch.condition, "CASE/WHEN"))
      }
    }
    // PostgreSQL considers ELSE first when it looks for the common type.
    let results = (otherwise.map { [$0] } ?? []) + branches.map(\.result)
    let (coerced, type) = try unify(results, "CASE")
    let offset = otherwise == nil ? 0 : 1
    let bound = zip(conditions, coerced.dropFirst(offset)).map { (condition: $0, result: $1) }
    return TypedExpression(
      .cases(operand: subject, bound, otherwise: offset == 1 ? coerced[0] : nil), type, at: position)
  }

  /// x [NOT] IN (list).
  package func inList(
    _ left: TypedExpression, _ list: [TypedExpression], negated: Bool, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    // One common type where there is one, as PostgreSQL's rewriting to = ANY does; else a chain of comparisons.
    if let type = try? commonType([left.type] + list.map(\.type), "IN"), ValueOrder(type.id) != nil {
      let (parts, _) = try unify([left] + list, "IN")
      if let entry = try? operatorEntry("=", SQLType(type.id), SQLType(type.id), at: position) {
        let test = try operatorCall("=", parts[0], parts[1], at: position)
        if case .call(let function, let operands) = test.node, operands.count == 2 {
          var coerced: [TypedExpression] = []
          // Constants are cast now: a list of constants is looked up, one of casts compared.
          var context = EvaluationContext(arena: arena, format: format)
          for part in parts {
            let item = try coerce(part, to: SQLType(entry.right), .implicit)
            if case .cast(let inner, _) = item.node, inner.constantValue != nil {
              coerced.append(item.folded(&context))
            } else {
              coerced.append(item)
            }
          }
          return TypedExpression(
            .inList(coerced[0], Array(coerced.dropFirst()), comparison: function, negated: negated), .bool, at: position
          )
        }
      }
    }
    var tests: [TypedExpression] = []
    for item in list { tests.append(try operatorCall(negated ? "<>" : "=", left, item, at: position)) }
    return TypedExpression(negated ? .and(tests) : .or(tests), .bool, at: position)
  }

  /// x op ANY (array) or x op ALL (array).
  package func quantified(
    _ left: TypedExpression, _ name: String, _ array: TypedExpression, all: Bool, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    var array = array
    if array.type.id == .unknown {
      // `= ANY('{1,2}')` and `= ANY($1)`: an array of the left side's type.
      let element = left.type.id == .unknown ? TypeID.text : left.type.id
      guard let type = SQLType.array(of: element) else {
        throw SQLError(
          .undefinedObject, "could not find array type for data type \(left.type.description)", position: position)
      }
      array = try coerce(array, to: type, .implicit)
    }
    guard array.type.isArray, let element = array.type.element else {
      throw SQLError(
        .wrongObjectType, "op ANY/ALL (array) requires array on right side", position: array.position ?? position)
    }
    let stand = TypedExpression(.constant(.null), SQLType(element))
    let entry = try operatorEntry(name, left.type, SQLType(element), at: position)
    let (function, l, r) = try comparison(name, left, stand, at: position)
    _ = entry
    if r.type.id != element, let target = SQLType.array(of: r.type.id) {
      array = try coerce(array, to: target, .implicit)
    }
    return TypedExpression(.quantified(l, array: array, comparison: function, all: all), .bool, at: position)
  }

  /// ARRAY[…]; empty needs a cast around it, whose type the binder passes as `expected`.
  package func array(
    _ elements: [TypedExpression], expected: SQLType? = nil, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    if elements.isEmpty {
      guard let expected, expected.isArray else {
        throw SQLError(
          .indeterminateDatatype, "cannot determine type of empty array",
          hint: "Explicitly cast to the desired type, for example ARRAY[]::integer[].", position: position)
      }
      return TypedExpression(.array([]), SQLType(expected.id), at: position)
    }
    var elementType: SQLType
    var parts: [TypedExpression]
    if let expected, let element = expected.element {
      elementType = SQLType(element)
      parts = []
      for item in elements {
        let target = item.type.isArray ? SQLType(expected.id) : elementType
        parts.append(try coerce(item, to: target, .explicit))
      }
    } else {
      (parts, elementType) = try unify(elements, "ARRAY")
    }
    if elementType.isArray, expected == nil {
      return TypedExpression(.array(parts), SQLType(elementType.id), at: position)
    }
    guard let type = SQLType.array(of: elementType.id) else {
      throw SQLError(
        .undefinedObject, "could not find array type for data type \(elementType.description)", position: position)
    }
    return TypedExpression(.array(parts), type, at: position)
  }

  /// a[i][j].
  package func subscripts(
    _ base: TypedExpression, _ indexes: [TypedExpression], at position: Int?
  ) throws(SQLError) -> TypedExpression {
    if base.type.id == .jsonb {
      var value = base
      for index in indexes { value = try operatorCall("->", value, index, at: position) }
      return value
    }
    guard let element = base.type.element else {
      throw SQLError(
        .datatypeMismatch, "cannot subscript type \(base.type.description) because it does not support subscripting",
        position: base.position ?? position)
    }
    var coerced: [TypedExpression] = []
    for index in indexes {
      guard index.type.id == .unknown || canCoerce(index.type.id, to: .int4, .assignment) else {
        throw SQLError(.datatypeMismatch, "array subscript must have type integer", position: index.position)
      }
      coerced.append(try coerce(index, to: .int4, .assignment))
    }
    return TypedExpression(.subscripts(base, coerced), SQLType(element), at: position)
  }

  /// (a, b) op (c, d).
  package func rowCompare(
    _ name: String, _ left: [TypedExpression], _ right: [TypedExpression], at position: Int?
  ) throws(SQLError) -> TypedExpression {
    guard left.count == right.count else {
      throw SQLError(.syntaxError, "unequal number of entries in row expressions", position: position)
    }
    guard !left.isEmpty else {
      throw SQLError(.featureNotSupported, "cannot compare rows of zero length", position: position)
    }
    let operators: [String: TypedExpression.RowComparison] = [
      "=": .equal, "<>": .notEqual, "!=": .notEqual, "<": .less, "<=": .lessOrEqual, ">": .greater,
      ">=": .greaterOrEqual,
    ]
    guard let comparisonKind = operators[name] else {
      throw SQLError(
        .featureNotSupported, "could not determine interpretation of row comparison operator \(name)",
        hint: "Row comparison operators must be associated with btree operator families.", position: position)
    }
    var l: [TypedExpression] = []
    var r: [TypedExpression] = []
    for (a, b) in zip(left, right) {
      let (_, x, y) = try comparison(name == "!=" ? "<>" : name, a, b, at: position)
      l.append(x)
      r.append(y)
    }
    return TypedExpression(.rowCompare(comparisonKind, l, r), .bool, at: position)
  }
}
