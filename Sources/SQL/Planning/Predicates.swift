// What the planner sees in predicates.

extension TypedExpression {
  /// The parts of a conjunction.
  var conjuncts: [TypedExpression] {
    if case .and(let parts) = node { return parts.flatMap(\.conjuncts) }
    return [self]
  }

  static func conjunction(_ parts: [TypedExpression]) -> TypedExpression? {
    parts.count <= 1 ? parts.first : TypedExpression(.and(parts), .bool)
  }

  /// `left op right` as a comparison.
  var comparison: (Intrinsic.Comparison, TypedExpression, TypedExpression)? {
    guard case .call(let function, let operands) = node, operands.count == 2,
      case .compare(let comparison, _)? = function.intrinsic
    else { return nil }
    return (comparison, operands[0], operands[1])
  }
}

extension Intrinsic.Comparison {
  /// The comparison with its operands exchanged.
  var flipped: Self {
    switch self {
    case .less: .greater
    case .lessOrEqual: .greaterOrEqual
    case .greater: .less
    case .greaterOrEqual: .lessOrEqual
    default: self
    }
  }
}

/// A condition that an index column can satisfy: `column op value`.
struct KeyCondition {
  enum Kind {
    case equal(TypedExpression)
    case anyOf([TypedExpression])
    case anyElement(TypedExpression)
    case isNull
    case lower(RangeBound)
    case upper(RangeBound)
    /// A range whose ends are both known: LIKE 'prefix%'.
    case prefix(lower: RangeBound, upper: RangeBound?)
  }
  var kind: Kind
  /// The column or expression that is compared.
  var subject: TypedExpression
  /// The position among the conjuncts.
  var conjunct: Int
  /// Whether the bounds say all of it; otherwise the condition stays a filter.
  var isExact = true
}

enum KeyConditions {
  /// Whether values of `source` can be encoded as keys of a column of `target` with the same order. Integers of other
  /// widths are clamped when they are encoded.
  static func isCompatible(_ source: TypeID, with target: TypeID) -> Bool {
    if source == target { return true }
    let integers: Set<TypeID> = [.int2, .int4, .int8]
    if integers.contains(source), integers.contains(target) { return true }
    let texts: Set<TypeID> = [.text, .varchar, .name]
    if texts.contains(source), texts.contains(target) { return true }
    let objects: Set<TypeID> = [.oid, .regclass, .regtype, .regproc, .regnamespace, .regrole]
    return objects.contains(source) && objects.contains(target)
  }

  /// The conditions among `conjuncts` on expressions over `own` slots whose other side does not need `own`.
  static func find(
    _ conjuncts: [TypedExpression], own: Set<FrameSlot>, slots: (TypedExpression) -> Set<FrameSlot>
  ) -> [KeyCondition] {
    var found: [KeyCondition] = []
    func isSubject(_ expression: TypedExpression) -> Bool {
      let used = slots(expression)
      return !used.isEmpty && used.isSubset(of: own)
    }
    func isValue(_ expression: TypedExpression) -> Bool {
      slots(expression).isDisjoint(with: own) && !expression.callsVolatile
        && !expression.contains { if case .subplan = $0.node { true } else { false } }
    }
    for (index, conjunct) in conjuncts.enumerated() {
      if let (comparison, left, right) = conjunct.comparison {
        for (op, subject, value) in [(comparison, left, right), (comparison.flipped, right, left)]
        where isSubject(subject) && isValue(value) && isCompatible(value.type.id, with: subject.type.id) {
          let kind: KeyCondition.Kind
          switch op {
          case .equal: kind = .equal(value)
          case .less: kind = .upper(RangeBound(expression: value, inclusive: false))
          case .lessOrEqual: kind = .upper(RangeBound(expression: value, inclusive: true))
          case .greater: kind = .lower(RangeBound(expression: value, inclusive: false))
          case .greaterOrEqual: kind = .lower(RangeBound(expression: value, inclusive: true))
          case .notEqual: continue
          }
          found.append(KeyCondition(kind: kind, subject: subject, conjunct: index))
        }
        continue
      }
      switch conjunct.node {
      case .inList(let subject, let list, let function, false):
        guard case .compare(.equal, _)? = function.intrinsic, isSubject(subject), list.allSatisfy(isValue),
          list.allSatisfy({ isCompatible($0.type.id, with: subject.type.id) })
        else { break }
        found.append(KeyCondition(kind: .anyOf(list), subject: subject, conjunct: index))
      case .quantified(let subject, let array, let function, false):
        guard case .compare(.equal, _)? = function.intrinsic, isSubject(subject), isValue(array),
          let element = array.type.element, isCompatible(element, with: subject.type.id)
        else { break }
        found.append(KeyCondition(kind: .anyElement(array), subject: subject, conjunct: index))
      case .isNull(let subject, false) where isSubject(subject):
        found.append(KeyCondition(kind: .isNull, subject: subject, conjunct: index))
      case .call(let function, let operands):
        guard case .like(false, false)? = function.intrinsic, operands.count == 2, isSubject(operands[0]),
          operands[0].type.id == .text || operands[0].type.id == .varchar,
          case .bytes(let pattern)? = operands[1].constantValue, let prefix = likePrefix(pattern)
        else { break }
        found.append(
          KeyCondition(
            kind: .prefix(
              lower: RangeBound(expression: .constant(.bytes(prefix), .text), inclusive: true),
              upper: successor(prefix).map { RangeBound(expression: .constant(.bytes($0), .text), inclusive: false) }),
            subject: operands[0], conjunct: index, isExact: false))
      default: break
      }
    }
    return found
  }

  /// The bytes before the first wildcard of a LIKE pattern; nil if there are none.
  private static func likePrefix(_ pattern: [UInt8]) -> [UInt8]? {
    var prefix: [UInt8] = []
    var index = 0
    while index < pattern.count {
      let byte = pattern[index]
      if byte == UInt8(ascii: "%") || byte == UInt8(ascii: "_") { break }
      if byte == UInt8(ascii: "\\") {
        index += 1
        guard index < pattern.count else { return nil }
      }
      prefix.append(pattern[index])
      index += 1
    }
    return prefix.isEmpty ? nil : prefix
  }

  /// The first byte string after all that begin with `prefix`. Text has no byte FF, so the last byte can be raised.
  private static func successor(_ prefix: [UInt8]) -> [UInt8]? {
    guard let last = prefix.lastIndex(where: { $0 < 0xFE }) else { return nil }
    var next = Array(prefix[...last])
    next[last] += 1
    return next
  }
}
