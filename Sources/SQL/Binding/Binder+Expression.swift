internal import Platform

extension Binder {
  /// `syntax` with its names resolved in `scope` and its type found.
  ///
  /// - Throws: whatever PostgreSQL's analyser reports, with the position.
  func bind(_ syntax: Syntax.Expression, _ scope: Scope, _ clause: Clause) throws(SQLError) -> TypedExpression {
    let position = place(syntax.position)
    try StackGuard.check(at: position)
    switch syntax.kind {
    case .null: return .constant(.null, .unknown, at: position)
    case .boolean(let value): return .constant(.bool(value), .bool, at: position)
    case .number(let text): return try number(text, at: position)
    case .string(let text): return .constant(.text(text), .unknown, at: position)
    case .parameter(let n): return try resolver.parameter(n, at: position)
    case .column(let parts): return try column(parts, scope, at: syntax.position)
    case .star:
      throw SQLError(.syntaxError, "row expansion via \"*\" is not supported here", position: position)
    case .field(let base, let name): return try field(base, name, scope, clause, at: position)
    case .fieldStar:
      throw SQLError(.featureNotSupported, "fields of composite values are not supported", position: position)
    case .subscripted(let base, let subscripts): return try subscripted(base, subscripts, scope, clause, at: position)
    case .unary(let op, let operand):
      try check(op, at: position)
      if op.symbol == "+" || op.symbol == "-", case .number(let text) = operand.kind {
        return try number(op.symbol == "-" ? "-" + text : text, at: position)
      }
      return try resolver.operatorCall(op.symbol, nil, try bind(operand, scope, clause), at: position)
    case .binary(let op, let left, let right): return try binary(op, left, right, scope, clause, at: position)
    case .and(let parts): return try resolver.and(try bind(parts, scope, clause), at: position)
    case .or(let parts): return try resolver.or(try bind(parts, scope, clause), at: position)
    case .not(let part): return try resolver.not(try bind(part, scope, clause), at: position)
    case .like(let like): return try self.like(like, scope, clause, at: position)
    case .between(let between): return try self.between(between, scope, clause, at: position)
    case .isTest(let operand, let test, let negated):
      if test == .null { return try isNull(operand, negated: negated, scope, clause, at: position) }
      let value = try bind(operand, scope, clause)
      let kind: TypedExpression.BooleanTest =
        test == .isTrue ? .isTrue : test == .isFalse ? .isFalse : .isUnknown
      return try resolver.isTruth(value, kind, negated: negated, at: position)
    case .isDistinct(let left, let right, let negated):
      return try resolver.isDistinct(
        try bind(left, scope, clause), try bind(right, scope, clause), negated: negated, at: position)
    case .inList(let operand, let list, let negated):
      return try inList(operand, list, negated: negated, scope, clause, at: position)
    case .inQuery(let operand, let query, let negated):
      return try quantifiedQuery(operand, "=", all: false, query, negated: negated, scope, clause, at: position)
    case .quantified(let quantified): return try self.quantified(quantified, scope, clause, at: position)
    case .exists(let query): return try subquery(.exists, query, scope, clause, at: position)
    case .subquery(let query): return try subquery(.scalar, query, scope, clause, at: position)
    case .arrayQuery(let query): return try subquery(.array, query, scope, clause, at: position)
    case .array(let elements): return try array(elements, nil, scope, clause, at: position)
    case .row(let elements, _):
      var parts: [TypedExpression] = []
      for element in try bind(elements, scope, clause) { parts.append(try resolver.settle(element)) }
      return TypedExpression(.row(parts), .record, at: position)
    case .cast(let operand, let name, _):
      let target = try type(name)
      if case .array(let elements) = operand.kind, target.isArray {
        return try array(elements, target, scope, clause, at: position)
      }
      return try resolver.coerce(try bind(operand, scope, clause), to: target, .explicit, at: position)
    case .collate(let operand, let name):
      let value = try bind(operand, scope, clause)
      guard ["C", "POSIX", "default", "ucs_basic", "C.UTF-8"].contains(name.name) else {
        throw SQLError(
          .undefinedObject, "collation \"\(name.name)\" for encoding \"UTF8\" does not exist",
          hint: "Text is ordered by its bytes; the collations are \"C\", \"POSIX\" and \"default\".", position: position
        )
      }
      return TypedExpression(
        .collate(try resolver.settle(value), name.name), try resolver.settle(value).type, at: position)
    case .atTimeZone(let operand, let zone):
      return try resolver.scalarCall(
        "timezone", [try bind(zone, scope, clause), try bind(operand, scope, clause)], at: position)
    case .caseWhen(let syntax): return try caseWhen(syntax, scope, clause, at: position)
    case .function(let call): return try function(call, scope, clause, at: position)
    case .coalesce(let parts): return try resolver.coalesce(try bind(parts, scope, clause), at: position)
    case .greatest(let parts):
      return try resolver.extreme(try bind(parts, scope, clause), greatest: true, at: position)
    case .least(let parts): return try resolver.extreme(try bind(parts, scope, clause), greatest: false, at: position)
    case .nullif(let left, let right):
      return try resolver.nullif(try bind(left, scope, clause), try bind(right, scope, clause), at: position)
    case .extract, .substring, .position, .overlay, .trim, .sqlValue, .overlaps:
      return try standardFunction(syntax, scope, clause, at: position)
    case .grouping(let arguments):
      guard clause.allowsAggregates else {
        throw SQLError(
          .groupingError, "grouping operations are not allowed in \(clause.phrase)", position: position)
      }
      // The binder of GROUP BY replaces it; until then it is a row of what it names.
      return TypedExpression(.row(try bind(arguments, scope, clause)), Binder.groupingMarker, at: position)
    case .defaultValue:
      throw SQLError(.syntaxError, "DEFAULT is not allowed in this context", position: position)
    case .currentOf:
      throw SQLError(.featureNotSupported, "WHERE CURRENT OF is not supported", position: position)
    }
  }

  /// The type that marks GROUPING() before the binder of GROUP BY replaces it.
  static let groupingMarker = SQLType(.int4, modifier: 0x47524f)

  func bind(_ list: [Syntax.Expression], _ scope: Scope, _ clause: Clause) throws(SQLError) -> [TypedExpression] {
    var bound: [TypedExpression] = []
    for item in list { bound.append(try bind(item, scope, clause)) }
    return bound
  }

  /// A condition: boolean, or an error that names the clause.
  func condition(
    _ syntax: Syntax.Expression, _ scope: Scope, _ clause: Clause, _ construct: String
  ) throws(SQLError) -> TypedExpression {
    try resolver.condition(try bind(syntax, scope, clause), construct)
  }

  // MARK: Constants and columns

  private func number(_ text: String, at position: Int?) throws(SQLError) -> TypedExpression {
    if let value = Int64(text) {
      return .constant(.int(value), Int32(exactly: value) == nil ? .int8 : .int4, at: position)
    }
    let literal = TypedExpression.constant(.text(text), .unknown, at: position)
    return try resolver.coerce(literal, to: .numeric, .implicit)
  }

  private func column(_ parts: [String], _ scope: Scope, at position: Int) throws(SQLError) -> TypedExpression {
    func placed(_ column: ScopeColumn) -> TypedExpression {
      note(column)
      var expression = column.expression
      expression.position = place(position)
      return expression
    }
    if parts.count == 1 {
      if let column = try scope.column(parts[0], at: position) { return placed(column) }
      if let item = try scope.item(parts[0], schema: nil, at: position) {
        for column in item.columns { note(column) }
        recordNames[item.columns.map { $0.expression.columnSlot ?? -1 }] = item.columns.map(\.name)
        return TypedExpression(.row(item.columns.map(\.expression)), .record, at: place(position))
      }
      if parts[0] == "tableoid", scope.namespace.items.count == 1, let id = scope.namespace.items[0].relation {
        return .constant(.int(Int64(id.rawValue)), .oid, at: place(position))
      }
      throw SQLError(
        .undefinedColumn, "column \"\(parts[0])\" does not exist",
        hint: scope.similar(parts[0]).map { "Perhaps you meant to reference the column \"\($0)\"." },
        position: place(position))
    }
    let table = parts[parts.count - 2]
    let schema = parts.count > 2 ? parts[parts.count - 3] : nil
    guard let item = try scope.item(table, schema: schema, at: position) else {
      throw SQLError(
        .undefinedTable, "missing FROM-clause entry for table \"\(table)\"", position: place(position))
    }
    let name = parts[parts.count - 1]
    let found = item.columns.filter { $0.name == name }
    guard found.count <= 1 else {
      throw SQLError(.ambiguousColumn, "column reference \"\(name)\" is ambiguous", position: place(position))
    }
    guard let column = found.first else {
      if name == "tableoid", let id = item.relation {
        return .constant(.int(Int64(id.rawValue)), .oid, at: place(position))
      }
      throw SQLError(
        .undefinedColumn, "column \(table).\(name) does not exist",
        hint: scope.similar(name).map { "Perhaps you meant to reference the column \"\($0)\"." },
        position: place(position))
    }
    return placed(column)
  }

  // MARK: Operators

  private func check(_ op: Syntax.OperatorName, at position: Int?) throws(SQLError) {
    guard op.schema.isEmpty || op.schema == ["pg_catalog"] else {
      throw SQLError(
        .undefinedFunction, "operator does not exist: \((op.schema + [op.symbol]).joined(separator: "."))",
        position: position)
    }
  }

  private func binary(
    _ op: Syntax.OperatorName, _ left: Syntax.Expression, _ right: Syntax.Expression, _ scope: Scope,
    _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    try check(op, at: position)
    if case .row(let a, _) = left.kind {
      if case .row(let b, _) = right.kind {
        return try resolver.rowCompare(op.symbol, try bind(a, scope, clause), try bind(b, scope, clause), at: position)
      }
      if case .subquery(let query) = right.kind {
        let values = try rowSubquery(query, count: a.count, scope, clause, at: position)
        return try resolver.rowCompare(op.symbol, try bind(a, scope, clause), values, at: position)
      }
    }
    return try resolver.operatorCall(
      op.symbol, try bind(left, scope, clause), try bind(right, scope, clause), at: position)
  }

  private func like(
    _ like: Syntax.Like, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let operand = try bind(like.operand, scope, clause)
    var pattern = try bind(like.pattern, scope, clause)
    let name: String
    switch like.kind {
    case .like: name = like.negated ? "!~~" : "~~"
    case .ilike: name = like.negated ? "!~~*" : "~~*"
    case .similar: name = like.negated ? "!~" : "~"
    }
    if like.kind == .similar {
      let escape = try like.escape.map { (e) throws(SQLError) in [try bind(e, scope, clause)] } ?? []
      pattern = try resolver.scalarCall("similar_to_escape", [pattern] + escape, at: position)
    } else if let escape = like.escape {
      pattern = try resolver.scalarCall("like_escape", [pattern, try bind(escape, scope, clause)], at: position)
    }
    return try resolver.operatorCall(name, operand, pattern, at: position)
  }

  private func between(
    _ between: Syntax.Between, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let operand = try bind(between.operand, scope, clause)
    let low = try bind(between.low, scope, clause)
    let high = try bind(between.high, scope, clause)
    func inside(_ low: TypedExpression, _ high: TypedExpression) throws(SQLError) -> TypedExpression {
      let atLeast = try resolver.operatorCall(">=", operand, low, at: position)
      let atMost = try resolver.operatorCall("<=", operand, high, at: position)
      return try resolver.and([atLeast, atMost], at: position)
    }
    var result = try inside(low, high)
    if between.symmetric { result = try resolver.or([result, try inside(high, low)], at: position) }
    guard between.negated else { return result }
    if !between.symmetric {
      let below = try resolver.operatorCall("<", operand, low, at: position)
      let above = try resolver.operatorCall(">", operand, high, at: position)
      return try resolver.or([below, above], at: position)
    }
    return try resolver.not(result, at: position)
  }

  private func isNull(
    _ operand: Syntax.Expression, negated: Bool, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    if case .row(let elements, _) = operand.kind, !elements.isEmpty {
      // A row is null when all its fields are, and not null when none is.
      var tests: [TypedExpression] = []
      for element in try bind(elements, scope, clause) {
        tests.append(TypedExpression(.isNull(try resolver.settle(element), negated: negated), .bool, at: position))
      }
      return try resolver.and(tests, at: position)
    }
    let value = try resolver.settle(try bind(operand, scope, clause))
    if case .row(let fields) = value.node {
      return try resolver.and(
        fields.map { TypedExpression(.isNull($0, negated: negated), .bool, at: position) }, at: position)
    }
    return TypedExpression(.isNull(value, negated: negated), .bool, at: position)
  }

  private func inList(
    _ operand: Syntax.Expression, _ list: [Syntax.Expression], negated: Bool, _ scope: Scope, _ clause: Clause,
    at position: Int?
  ) throws(SQLError) -> TypedExpression {
    if case .row(let left, _) = operand.kind {
      let bound = try bind(left, scope, clause)
      var tests: [TypedExpression] = []
      for item in list {
        guard case .row(let right, _) = item.kind else {
          throw SQLError(.syntaxError, "unequal number of entries in row expressions", position: place(item.position))
        }
        tests.append(try resolver.rowCompare("=", bound, try bind(right, scope, clause), at: position))
      }
      let any = tests.count == 1 ? tests[0] : try resolver.or(tests, at: position)
      return negated ? try resolver.not(any, at: position) : any
    }
    return try resolver.inList(
      try bind(operand, scope, clause), try bind(list, scope, clause), negated: negated, at: position)
  }

  private func quantified(
    _ quantified: Syntax.Quantified, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let name: String
    switch quantified.comparison {
    case .op(let op):
      try check(op, at: position)
      name = op.symbol
    case .like(.like, let negated): name = negated ? "!~~" : "~~"
    case .like(.ilike, let negated): name = negated ? "!~~*" : "~~*"
    case .like(.similar, _):
      throw SQLError(.featureNotSupported, "SIMILAR TO ANY is not supported", position: position)
    }
    switch quantified.source {
    case .query(let query):
      return try quantifiedQuery(
        quantified.left, name, all: quantified.quantifier == .all, query, negated: false, scope, clause, at: position)
    case .array(let array):
      return try resolver.quantified(
        try bind(quantified.left, scope, clause), name, try bind(array, scope, clause),
        all: quantified.quantifier == .all, at: position)
    }
  }

  // MARK: Arrays and CASE

  private func array(
    _ elements: [Syntax.Expression], _ expected: SQLType?, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    var parts: [TypedExpression] = []
    for element in elements {
      if case .array(let inner) = element.kind {
        parts.append(try array(inner, expected, scope, clause, at: place(element.position)))
      } else {
        parts.append(try bind(element, scope, clause))
      }
    }
    return try resolver.array(parts, expected: expected, at: position)
  }

  private func subscripted(
    _ base: Syntax.Expression, _ subscripts: [Syntax.Subscript], _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let value = try bind(base, scope, clause)
    guard subscripts.contains(where: \.isSlice) else {
      var indexes: [TypedExpression] = []
      for item in subscripts {
        guard let index = item.upper else {
          throw SQLError(.syntaxError, "array subscript missing", position: position)
        }
        indexes.append(try bind(index, scope, clause))
      }
      return try resolver.subscripts(value, indexes, at: position)
    }
    guard value.type.isArray else {
      throw SQLError(
        .datatypeMismatch, "cannot subscript type \(value.type.description) because it does not support subscripting",
        position: position)
    }
    var bounds: [(lower: TypedExpression?, upper: TypedExpression?)] = []
    for item in subscripts {
      func bound(_ part: Syntax.Expression?) throws(SQLError) -> TypedExpression? {
        guard let part else { return nil }
        return try resolver.coerce(try bind(part, scope, clause), to: .int4, .assignment)
      }
      // In a slice, a plain index i means 1:i.
      let lower = item.isSlice ? try bound(item.lower) : .constant(.int(1), .int4)
      bounds.append((lower, try bound(item.upper)))
    }
    return TypedExpression(.slice(value, bounds), value.type, at: position)
  }

  private func caseWhen(
    _ syntax: Syntax.Case, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let operand = try syntax.operand.map { (o) throws(SQLError) in try bind(o, scope, clause) }
    var branches: [(condition: TypedExpression, result: TypedExpression)] = []
    for branch in syntax.branches {
      branches.append((try bind(branch.condition, scope, clause), try bind(branch.result, scope, clause)))
    }
    let otherwise = try syntax.otherwise.map { (o) throws(SQLError) in try bind(o, scope, clause) }
    return try resolver.cases(operand: operand, branches, otherwise: otherwise, at: position)
  }
}
