// Coercions: which are allowed where, and the nodes that carry them out.

extension Resolver {
  /// Whether a value of `source` may become one of `target` in `context`.
  package func canCoerce(_ source: TypeID, to target: TypeID, _ context: CastContext) -> Bool {
    if source == target || source == .unknown { return true }
    switch target {
    case .any, .anyelement, .anycompatible: return true
    case .anyarray, .anycompatiblearray: return source.info.element != nil
    default: break
    }
    if let cast = registry.cast(from: source, to: target) { return cast.context <= context }
    if let from = source.info.element, let to = target.info.element { return canCoerce(from, to: to, context) }
    if source == .record, target.info.category == .string { return context >= .assignment }
    if source.info.isPseudo || target.info.isPseudo { return false }
    // Through text: to a string by assignment, from a string only explicitly.
    if target.info.category == .string, target != .name { return context >= .assignment }
    if source.info.category == .string || target == .name { return context == .explicit }
    return false
  }

  /// `expression` as a value of `type`, its modifier included.
  ///
  /// - Throws: cannot_coerce (42846), or what reading an unknown literal throws.
  package func coerce(
    _ expression: TypedExpression, to type: SQLType, _ context: CastContext, at position: Int? = nil
  ) throws(SQLError) -> TypedExpression {
    let place = position ?? expression.position
    let source = expression.type.id
    var result: TypedExpression
    if source == type.id {
      result = expression
    } else if type.id == .int8, source == .int4 || source == .int2, let constant = expression.constantValue {
      // Integers are kept in one form; lists of thousands of constants are common.
      result = TypedExpression(.constant(constant), .int8, at: expression.position)
    } else if source == .unknown {
      return try coerceUnknown(expression, to: type, context, at: place)
    } else {
      guard canCoerce(source, to: type.id, context), let method = method(from: source, to: type.id) else {
        throw SQLError(
          .cannotCoerce, "cannot cast type \(SQLType(source).description) to \(SQLType(type.id).description)",
          position: place)
      }
      result = TypedExpression(.cast(expression, method), SQLType(type.id), at: place)
    }
    if type.modifier >= 0, result.type.modifier != type.modifier {
      result = TypedExpression(.cast(result, .modifier(explicit: context == .explicit)), type, at: place)
    }
    return result
  }

  private func coerceUnknown(
    _ expression: TypedExpression, to type: SQLType, _ context: CastContext, at place: Int?
  ) throws(SQLError) -> TypedExpression {
    switch expression.node {
    case .constant(.null): return .constant(.null, type, at: expression.position)
    case .constant(.bytes(let text)):
      do throws(SQLError) {
        // The modifier of a literal is applied as its cast would: text is cut only when the cast is explicit.
        let base = try Bytes.with(text) { (bytes) throws(SQLError) in
          try TypeCodec.parse(
            bytes, SQLType(type.id, modifier: type.id == .interval ? type.modifier : -1), arena, format)
        }
        let value = try TypeModifier.apply(base, type, explicit: context == .explicit, arena)
        if type.id == .regclass { relationsNamed.insert(ObjectID(rawValue: UInt32(truncatingIfNeeded: value.int))) }
        return .constant(Datum(value), type, at: expression.position)
      } catch {
        throw error.at(expression.position ?? place)
      }
    case .parameter(let n):
      try decideParameter(n, type, at: expression.position)
      let typed = TypedExpression(.parameter(n), SQLType(type.id), at: expression.position)
      guard type.modifier >= 0 else { return typed }
      return TypedExpression(.cast(typed, .modifier(explicit: context == .explicit)), type, at: place)
    default:
      return TypedExpression(.cast(expression, .viaText), type, at: place)
    }
  }

  /// How to go from one type to another, whatever the context.
  func method(from source: TypeID, to target: TypeID) -> TypedExpression.CastMethod? {
    if source == target { return .relabel }
    if let cast = registry.cast(from: source, to: target) { return cast.method }
    if let from = source.info.element, let to = target.info.element {
      guard let inner = method(from: from, to: to) else { return nil }
      return .elements(inner, from: from, to: to)
    }
    if source.info.isPseudo && source != .record && source != .void || target.info.isPseudo { return nil }
    return .viaText
  }

  /// An unknown literal becomes text; everything else stays.
  package func settle(_ expression: TypedExpression) throws(SQLError) -> TypedExpression {
    expression.type.id == .unknown ? try coerce(expression, to: .text, .implicit) : expression
  }

  /// A value for a column of INSERT or UPDATE.
  ///
  /// - Throws: datatype_mismatch (42804) naming the column.
  package func assign(
    _ expression: TypedExpression, to type: SQLType, column: String
  ) throws(SQLError) -> TypedExpression {
    guard expression.type.id == .unknown || canCoerce(expression.type.id, to: type.id, .assignment) else {
      throw SQLError(
        .datatypeMismatch,
        "column \"\(column)\" is of type \(SQLType(type.id).description) but expression is of type \(SQLType(expression.type.id).description)",
        hint: "You will need to rewrite or cast the expression.", position: expression.position, column: column)
    }
    return try coerce(expression, to: type, .assignment)
  }

  /// A condition: `construct` is "WHERE", "HAVING", "JOIN/ON", "AND", "CASE/WHEN", ….
  package func condition(_ expression: TypedExpression, _ construct: String) throws(SQLError) -> TypedExpression {
    if expression.type.id == .bool { return expression }
    guard canCoerce(expression.type.id, to: .bool, .implicit) else {
      throw SQLError(
        .datatypeMismatch,
        "argument of \(construct) must be type boolean, not type \(SQLType(expression.type.id).description)",
        position: expression.position)
    }
    return try coerce(expression, to: .bool, .implicit)
  }

  /// A row count or similar: `construct` is "LIMIT", "OFFSET".
  package func bigint(_ expression: TypedExpression, _ construct: String) throws(SQLError) -> TypedExpression {
    if expression.type.id == .int8 { return expression }
    guard expression.type.id == .unknown || canCoerce(expression.type.id, to: .int8, .assignment) else {
      throw SQLError(
        .datatypeMismatch,
        "argument of \(construct) must be type bigint, not type \(SQLType(expression.type.id).description)",
        position: expression.position)
    }
    return try coerce(expression, to: .int8, .assignment)
  }

  // MARK: Common types (UNION, CASE, VALUES, ARRAY, COALESCE, IN …)

  /// The type that all of `types` become, by PostgreSQL's rules (manual 10.5).
  ///
  /// - Throws: datatype_mismatch (42804): "CASE types integer and text cannot be matched".
  package func commonType(
    _ types: [SQLType], _ construct: String, positions: [Int?] = []
  ) throws(SQLError) -> SQLType {
    guard let first = types.first else { return .text }
    if first.id != .unknown, types.allSatisfy({ $0.id == first.id }) {
      return types.allSatisfy { $0.modifier == first.modifier } ? first : SQLType(first.id)
    }
    var chosen = TypeID.unknown
    for (index, type) in types.enumerated() where type.id != .unknown {
      if chosen == .unknown || chosen == type.id {
        chosen = type.id
        continue
      }
      if chosen.info.category != type.id.info.category {
        throw SQLError(
          .datatypeMismatch,
          "\(construct) types \(SQLType(chosen).description) and \(SQLType(type.id).description) cannot be matched",
          position: index < positions.count ? positions[index] : nil)
      }
      if !chosen.info.isPreferred, canCoerce(chosen, to: type.id, .implicit),
        !canCoerce(type.id, to: chosen, .implicit)
      {
        chosen = type.id
      }
    }
    return SQLType(chosen == .unknown ? .text : chosen)
  }

  /// All expressions coerced to their common type.
  package func unify(
    _ expressions: [TypedExpression], _ construct: String
  ) throws(SQLError) -> (expressions: [TypedExpression], type: SQLType) {
    let type = try commonType(expressions.map(\.type), construct, positions: expressions.map(\.position))
    var result: [TypedExpression] = []
    for expression in expressions {
      guard expression.type.id == .unknown || canCoerce(expression.type.id, to: type.id, .implicit) else {
        throw SQLError(
          .cannotCoerce,
          "\(construct) could not convert type \(SQLType(expression.type.id).description) to \(SQLType(type.id).description)",
          position: expression.position)
      }
      result.append(try coerce(expression, to: SQLType(type.id), .implicit))
    }
    return (result, type)
  }
}
