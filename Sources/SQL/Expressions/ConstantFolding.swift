// Constant folding: what does not depend on row, parameters, session or time is computed once, when the plan is made.
//
// Only immutable functions are folded. An expression whose folding fails (1/0) stays as it is: PostgreSQL raises such an
// error when the row is evaluated, and so do we, which matters under CASE and for empty inputs.

extension TypedExpression {
  /// The expression with its constant parts computed; AND and OR lose the operands that decide nothing.
  package func folded(_ context: inout EvaluationContext) -> TypedExpression {
    var local = context
    let result = rewritten { (e) in e.foldedHere(&local) }
    context = local
    return result
  }

  private func foldedHere(_ context: inout EvaluationContext) -> TypedExpression {
    switch node {
    case .constant, .parameter, .column, .slot, .caseOperand, .aggregate, .window, .subplan, .row: return self
    case .and(let parts):
      if parts.contains(where: { $0.constantValue == .bool(false) }) {
        return .constant(.bool(false), .bool, at: position)
      }
      return simplified(parts.filter { $0.constantValue != .bool(true) }, whenEmpty: true) { .and($0) }
    case .or(let parts):
      if parts.contains(where: { $0.constantValue == .bool(true) }) {
        return .constant(.bool(true), .bool, at: position)
      }
      return simplified(parts.filter { $0.constantValue != .bool(false) }, whenEmpty: false) { .or($0) }
    default: break
    }
    guard isFoldable, children.allSatisfy({ $0.constantValue != nil }) else { return self }
    guard let compiled = try? CompiledExpression(self) else { return self }
    let mark = context.arena.mark
    defer { context.arena.rewind(to: mark) }
    let noRow = Value.null
    let value = unsafe withUnsafePointer(to: noRow) { row in try? unsafe compiled.evaluate(row: row, &context) }
    guard let value else { return self }
    return .constant(Datum(value), type, at: position)
  }

  private func simplified(
    _ parts: [TypedExpression], whenEmpty: Bool, _ node: ([TypedExpression]) -> Node
  ) -> TypedExpression {
    if parts.isEmpty { return .constant(.bool(whenEmpty), .bool, at: position) }
    return parts.count == 1 ? parts[0] : TypedExpression(node(parts), .bool, at: position)
  }

  /// Whether this node, given constants, always gives the same result.
  private var isFoldable: Bool {
    switch node {
    case .call(let f, _): return f.volatility == .immutable
    case .nullif(_, _, let f), .inList(_, _, let f, _), .quantified(_, _, let f, _): return f.volatility == .immutable
    case .cast(let inner, let method): return TypedExpression.isStable(method, from: inner.type, to: type)
    default: return true
    }
  }

  /// A cast that no setting influences: through text only between types whose text no setting changes.
  private static func isStable(_ method: CastMethod, from: SQLType, to: SQLType) -> Bool {
    switch method {
    case .relabel, .modifier: return true
    case .function(let f): return f.volatility == .immutable
    case .viaText: return isFixedText(from.id) && isFixedText(to.id)
    case .elements(let inner, let source, let target):
      return isStable(inner, from: SQLType(source), to: SQLType(target))
    }
  }

  private static func isFixedText(_ type: TypeID) -> Bool {
    switch type {
    case .bool, .int2, .int4, .int8, .numeric, .text, .varchar, .bpchar, .uuid, .json, .jsonb, .oid, .unknown:
      return true
    default: return false
    }
  }
}
