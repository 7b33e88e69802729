extension Syntax.Expression {
  /// The tree with every node replaced by what `body` makes of it, operands before what holds them. Queries inside the
  /// expression stay as they are.
  func mapped<E: Error>(_ body: (Syntax.Expression) throws(E) -> Syntax.Expression) throws(E) -> Syntax.Expression {
    var copy = self
    copy.kind = try kind.mappingOperands { (inner) throws(E) in try inner.mapped(body) }
    return try body(copy)
  }
}

extension Syntax.Expression.Kind {
  /// The node with its operands replaced by what `map` makes of them.
  fileprivate func mappingOperands<E: Error>(
    _ map: (Syntax.Expression) throws(E) -> Syntax.Expression
  ) throws(E) -> Syntax.Expression.Kind {
    func all(_ list: [Syntax.Expression]) throws(E) -> [Syntax.Expression] {
      var result: [Syntax.Expression] = []
      result.reserveCapacity(list.count)
      for item in list { result.append(try map(item)) }
      return result
    }
    func maybe(_ expression: Syntax.Expression?) throws(E) -> Syntax.Expression? {
      if let expression { try map(expression) } else { nil }
    }
    switch self {
    case .null, .boolean, .number, .string, .parameter, .column, .star, .exists, .subquery, .arrayQuery, .sqlValue,
      .defaultValue, .currentOf:
      return self
    case .field(let a, let name): return .field(try map(a), name)
    case .fieldStar(let a): return .fieldStar(try map(a))
    case .subscripted(let a, var list):
      for index in list.indices {
        list[index].lower = try maybe(list[index].lower)
        list[index].upper = try maybe(list[index].upper)
      }
      return .subscripted(try map(a), list)
    case .unary(let op, let a): return .unary(op, try map(a))
    case .binary(let op, let a, let b): return .binary(op, try map(a), try map(b))
    case .and(let list): return .and(try all(list))
    case .or(let list): return .or(try all(list))
    case .not(let a): return .not(try map(a))
    case .like(var like):
      like.operand = try map(like.operand)
      like.pattern = try map(like.pattern)
      like.escape = try maybe(like.escape)
      return .like(like)
    case .between(var between):
      between.operand = try map(between.operand)
      between.low = try map(between.low)
      between.high = try map(between.high)
      return .between(between)
    case .isTest(let a, let test, let negated): return .isTest(try map(a), test, negated: negated)
    case .isDistinct(let a, let b, let negated): return .isDistinct(try map(a), try map(b), negated: negated)
    case .inList(let a, let list, let negated): return .inList(try map(a), try all(list), negated: negated)
    case .inQuery(let a, let query, let negated): return .inQuery(try map(a), query, negated: negated)
    case .quantified(var quantified):
      quantified.left = try map(quantified.left)
      if case .array(let array) = quantified.source { quantified.source = .array(try map(array)) }
      return .quantified(quantified)
    case .array(let list): return .array(try all(list))
    case .row(let list, let explicit): return .row(try all(list), explicit: explicit)
    case .cast(let a, let type, let form): return .cast(try map(a), type, form)
    case .collate(let a, let name): return .collate(try map(a), name)
    case .atTimeZone(let a, let b): return .atTimeZone(try map(a), try map(b))
    case .caseWhen(var syntax):
      syntax.operand = try maybe(syntax.operand)
      for index in syntax.branches.indices {
        syntax.branches[index].condition = try map(syntax.branches[index].condition)
        syntax.branches[index].result = try map(syntax.branches[index].result)
      }
      syntax.otherwise = try maybe(syntax.otherwise)
      return .caseWhen(syntax)
    case .function(var call):
      for index in call.arguments.indices { call.arguments[index].value = try map(call.arguments[index].value) }
      for index in call.orderBy.indices { call.orderBy[index].expression = try map(call.orderBy[index].expression) }
      call.filter = try maybe(call.filter)
      return .function(call)
    case .coalesce(let list): return .coalesce(try all(list))
    case .greatest(let list): return .greatest(try all(list))
    case .least(let list): return .least(try all(list))
    case .nullif(let a, let b): return .nullif(try map(a), try map(b))
    case .extract(let field, let a): return .extract(field, try map(a))
    case .substring(var substring):
      substring.operand = try map(substring.operand)
      substring.from = try maybe(substring.from)
      substring.count = try maybe(substring.count)
      substring.similar = try maybe(substring.similar)
      substring.escape = try maybe(substring.escape)
      return .substring(substring)
    case .position(let a, let b): return .position(try map(a), in: try map(b))
    case .overlay(var overlay):
      overlay.operand = try map(overlay.operand)
      overlay.placing = try map(overlay.placing)
      overlay.from = try map(overlay.from)
      overlay.count = try maybe(overlay.count)
      return .overlay(overlay)
    case .trim(var trim):
      trim.arguments = try all(trim.arguments)
      return .trim(trim)
    case .grouping(let list): return .grouping(try all(list))
    case .overlaps(let a, let b): return .overlaps(try all(a), try all(b))
    }
  }
}
