import SQL

/// Binds parsed expressions without tables: literals, operators, calls, casts and the constructs around them, so that the
/// functions are tested on SQL text before and beside the real binder.
struct TestBinder {
  let resolver: Resolver

  struct Unsupported: Error {}

  func bind(_ e: Syntax.Expression) throws -> TypedExpression {
    let at: Int? = e.position
    switch e.kind {
    case .null: return .constant(.null, .unknown, at: at)
    case .boolean(let value): return .constant(.bool(value), .bool, at: at)
    case .string(let text): return .constant(.text(text), .unknown, at: at)
    case .number(let text): return try number(text, at)
    case .unary(let op, let x): return try resolver.operatorCall(op.symbol, nil, try bind(x), at: at)
    case .binary(let op, let x, let y): return try binary(op.symbol, x, y, at)
    case .and(let list): return try resolver.and(try list.map(bind), at: at)
    case .or(let list): return try resolver.or(try list.map(bind), at: at)
    case .not(let x): return try resolver.not(try bind(x), at: at)
    case .like(let like): return try bindLike(like, at)
    case .between(let between):
      let x = try bind(between.operand)
      let low = try resolver.operatorCall(">=", x, try bind(between.low), at: at)
      let high = try resolver.operatorCall("<=", x, try bind(between.high), at: at)
      return try resolver.and([low, high], at: at)
    case .isTest(let x, let test, let negated):
      let operand = try bind(x)
      switch test {
      case .null: return TypedExpression(.isNull(try resolver.settle(operand), negated: negated), .bool, at: at)
      case .isTrue: return try resolver.isTruth(operand, .isTrue, negated: negated, at: at)
      case .isFalse: return try resolver.isTruth(operand, .isFalse, negated: negated, at: at)
      case .unknown: return try resolver.isTruth(operand, .isUnknown, negated: negated, at: at)
      }
    case .isDistinct(let x, let y, let negated):
      return try resolver.isDistinct(try bind(x), try bind(y), negated: negated, at: at)
    case .inList(let x, let list, let negated):
      return try resolver.inList(try bind(x), try list.map(bind), negated: negated, at: at)
    case .quantified(let q):
      guard case .array(let array) = q.source, case .op(let op) = q.comparison else { throw Unsupported() }
      return try resolver.quantified(try bind(q.left), op.symbol, try bind(array), all: q.quantifier == .all, at: at)
    case .array(let items): return try resolver.array(try items.map(bind), at: at)
    case .row(let items, _):
      return TypedExpression(.row(try items.map { try resolver.settle(try bind($0)) }), .record, at: at)
    case .cast(let x, let type, _):
      let target = try sqlType(type)
      if case .array(let items) = x.kind {
        return try resolver.coerce(
          try resolver.array(try items.map(bind), expected: target.isArray ? target : nil, at: at), to: target,
          .explicit, at: at)
      }
      return try resolver.coerce(try bind(x), to: target, .explicit, at: at)
    case .subscripted(let x, let subscripts):
      let base = try bind(x)
      if subscripts.contains(where: \.isSlice) {
        let bounds = try subscripts.map { (lower: try $0.lower.map(bind), upper: try $0.upper.map(bind)) }
        return TypedExpression(.slice(base, bounds), base.type, at: at)
      }
      return try resolver.subscripts(base, try subscripts.map { try bind($0.upper!) }, at: at)
    case .caseWhen(let c):
      return try resolver.cases(
        operand: try c.operand.map(bind),
        try c.branches.map { (condition: try bind($0.condition), result: try bind($0.result)) },
        otherwise: try c.otherwise.map(bind), at: at)
    case .coalesce(let list): return try resolver.coalesce(try list.map(bind), at: at)
    case .greatest(let list): return try resolver.extreme(try list.map(bind), greatest: true, at: at)
    case .least(let list): return try resolver.extreme(try list.map(bind), greatest: false, at: at)
    case .nullif(let x, let y): return try resolver.nullif(try bind(x), try bind(y), at: at)
    case .extract(let field, let x):
      return try resolver.scalarCall("extract", [.constant(.text(field), .text), try bind(x)], at: at)
    case .substring(let s):
      if s.similar != nil { throw Unsupported() }
      var arguments = [try bind(s.operand)]
      if let from = s.from { arguments.append(try bind(from)) } else { arguments.append(.constant(.int(1), .int4)) }
      if let count = s.count { arguments.append(try bind(count)) }
      return try resolver.scalarCall("substring", arguments, at: at)
    case .position(let needle, let text):
      return try resolver.scalarCall("position", [try bind(text), try bind(needle)], at: at)
    case .overlay(let o):
      return try resolver.scalarCall(
        "overlay", try [o.operand, o.placing, o.from].map(bind) + (try o.count.map { [try bind($0)] } ?? []), at: at)
    case .trim(let t):
      let name = t.side == .both ? "btrim" : t.side == .leading ? "ltrim" : "rtrim"
      return try resolver.scalarCall(name, try t.arguments.map(bind), at: at)
    case .atTimeZone(let x, let zone):
      return try resolver.scalarCall("timezone", [try bind(zone), try bind(x)], at: at)
    case .function(let call):
      return try resolver.scalarCall(call.name.parts.last!, try call.arguments.map { try bind($0.value) }, at: at)
    case .overlaps(let left, let right):
      return try resolver.scalarCall("overlaps", try (left + right).map(bind), at: at)
    default: throw Unsupported()
    }
  }

  private func number(_ text: String, _ at: Int?) throws -> TypedExpression {
    if let value = Int64(text) {
      return .constant(.int(value), value == Int64(Int32(truncatingIfNeeded: value)) ? .int4 : .int8, at: at)
    }
    return try resolver.coerce(.constant(.text(text), .unknown, at: at), to: .numeric, .explicit)
  }

  private func binary(
    _ op: String, _ x: Syntax.Expression, _ y: Syntax.Expression, _ at: Int?
  ) throws -> TypedExpression {
    if case .row(let left, _) = x.kind, case .row(let right, _) = y.kind {
      return try resolver.rowCompare(op, try left.map(bind), try right.map(bind), at: at)
    }
    return try resolver.operatorCall(op, try bind(x), try bind(y), at: at)
  }

  private func bindLike(_ like: Syntax.Like, _ at: Int?) throws -> TypedExpression {
    var pattern = try bind(like.pattern)
    if like.kind == .similar {
      pattern = try resolver.scalarCall(
        "similar_to_escape", [pattern] + (try like.escape.map { [try bind($0)] } ?? []), at: at)
      return try resolver.operatorCall(like.negated ? "!~" : "~", try bind(like.operand), pattern, at: at)
    }
    if let escape = like.escape {
      pattern = try resolver.scalarCall("like_escape", [pattern, try bind(escape)], at: at)
    }
    let op = (like.negated ? "!~~" : "~~") + (like.kind == .ilike ? "*" : "")
    return try resolver.operatorCall(op, try bind(like.operand), pattern, at: at)
  }

  func sqlType(_ name: Syntax.TypeName) throws -> SQLType {
    guard let id = TypeTable.named(name.name.parts.last!) else { throw Unsupported() }
    let numbers = name.modifiers.map { modifier -> Int in
      if case .number(let text) = modifier.kind { return Int(text) ?? 0 }
      return 0
    }
    var type = SQLType(id)
    switch id {
    case .varchar, .bpchar:
      if let n = numbers.first { type.modifier = Int32(n) + 4 }
    case .numeric:
      if let p = numbers.first { type = .numeric(precision: p, scale: numbers.count > 1 ? numbers[1] : 0) }
    case .timestamp, .timestamptz, .time:
      if let p = numbers.first { type.modifier = Int32(p) }
    case .interval:
      let precision = Int32(numbers.first ?? 0xffff)
      if let fields = name.intervalFields {
        let masks: [String: Int32] = [
          "year": 1 << 2, "month": 1 << 1, "day": 1 << 3, "hour": 1 << 10, "minute": 1 << 11, "second": 1 << 12,
          "year to month": 1 << 2 | 1 << 1, "day to second": 1 << 3 | 1 << 10 | 1 << 11 | 1 << 12,
        ]
        guard let mask = masks[fields.rawValue] else { throw Unsupported() }
        type.modifier = mask << 16 | precision
      } else if !numbers.isEmpty {
        type.modifier = 0x7fff << 16 | precision
      }
    default: break
    }
    if !name.arrayBounds.isEmpty {
      guard let array = SQLType.array(of: id) else { throw Unsupported() }
      return SQLType(array.id, modifier: type.modifier)
    }
    return type
  }
}
