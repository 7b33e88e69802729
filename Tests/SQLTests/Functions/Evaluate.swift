import SQL

/// Builds and evaluates expressions without a parser: what the binder would do.
final class Evaluator {
  let resolver = Resolver(registry: .builtin)
  let arena = Arena()
  var context: EvaluationContext
  /// Results may borrow from a plan's constants: the plans stay.
  private var plans: [CompiledExpression] = []

  init() { context = EvaluationContext(arena: arena) }

  func literal(_ text: String?) -> TypedExpression {
    .constant(text.map { .text($0) } ?? .null, .unknown)
  }
  func integer(_ value: Int) -> TypedExpression {
    .constant(.int(Int64(value)), value == Int(Int32(truncatingIfNeeded: value)) ? .int4 : .int8)
  }
  func typed(_ text: String, _ type: SQLType) throws -> TypedExpression {
    try resolver.coerce(literal(text), to: type, .explicit)
  }
  func evaluate(_ expression: TypedExpression, row: [Value] = [.null]) throws -> Value {
    let compiled = try CompiledExpression(try resolver.settle(expression))
    plans.append(compiled)
    return try row.withUnsafeBufferPointer { try compiled.evaluate(row: $0.baseAddress!, &context) }
  }
  /// The value's text, nil for null.
  func text(_ expression: TypedExpression, row: [Value] = [.null]) throws -> String? {
    let settled = try resolver.settle(expression)
    let value = try evaluate(settled, row: row)
    return value.isNull ? nil : try TypeCodec.string(value, settled.type.id, context.format)
  }
  func call(_ name: String, _ arguments: TypedExpression...) throws -> String? {
    try text(try resolver.scalarCall(name, arguments, at: nil))
  }
  func op(_ left: TypedExpression?, _ name: String, _ right: TypedExpression) throws -> String? {
    try text(try resolver.operatorCall(name, left, right, at: nil))
  }
}
