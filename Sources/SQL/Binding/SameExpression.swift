// Whether two bound expressions are the same: equal trees over the same slots. Positions do not count.

extension TypedExpression {
  /// True when both compute the same value from the same frame (for volatile functions: would be written the same).
  package func isSame(as other: TypedExpression) -> Bool {
    guard type.id == other.type.id, type.modifier == other.type.modifier || isColumn, isSameNode(other) else {
      return false
    }
    let mine = children
    let theirs = other.children
    guard mine.count == theirs.count else { return false }
    for (a, b) in zip(mine, theirs) where !a.isSame(as: b) { return false }
    return true
  }

  package var isColumn: Bool { columnSlot != nil }

  /// The slot, if the expression is one.
  package var columnSlot: FrameSlot? {
    if case .column(let slot) = node { return slot }
    return nil
  }

  private func isSameNode(_ other: TypedExpression) -> Bool {
    switch (node, other.node) {
    case (.constant(let a), .constant(let b)): a == b
    case (.parameter(let a), .parameter(let b)): a == b
    case (.column(let a), .column(let b)): a == b
    case (.slot(let a), .slot(let b)): a == b
    case (.call(let f, _), .call(let g, _)): f === g
    case (.aggregate(let a), .aggregate(let b)):
      a.function === b.function && a.isDistinct == b.isDistinct && a.orderBy.count == b.orderBy.count
        && a.arguments.count == b.arguments.count && (a.filter == nil) == (b.filter == nil)
        && zip(a.orderBy, b.orderBy).allSatisfy {
          $0.descending == $1.descending && $0.nullsFirst == $1.nullsFirst
        }
    case (.window(let a), .window(let b)):
      a.function.isSame(as: b.function) && a.window == b.window && a.arguments.count == b.arguments.count
        && (a.filter == nil) == (b.filter == nil)
    case (.and, .and), (.or, .or), (.not, .not), (.caseOperand, .caseOperand), (.coalesce, .coalesce),
      (.array, .array), (.subscripts, .subscripts), (.row, .row):
      true
    case (.isNull(_, let a), .isNull(_, let b)): a == b
    case (.isTruth(_, let t, let a), .isTruth(_, let u, let b)): t == u && a == b
    case (.isDistinct(_, _, let a), .isDistinct(_, _, let b)): a == b
    case (.cases(let o, let a, let e), .cases(let p, let b, let f)):
      (o == nil) == (p == nil) && a.count == b.count && (e == nil) == (f == nil)
    case (.nullif(_, _, let f), .nullif(_, _, let g)): f === g
    case (.extreme(_, let a), .extreme(_, let b)): a == b
    case (.inList(_, _, let f, let a), .inList(_, _, let g, let b)): f === g && a == b
    case (.quantified(_, _, let f, let a), .quantified(_, _, let g, let b)): f === g && a == b
    case (.cast(_, let a), .cast(_, let b)): a.isSame(as: b)
    case (.slice(_, let a), .slice(_, let b)):
      a.count == b.count
        && zip(a, b).allSatisfy { ($0.lower == nil) == ($1.lower == nil) && ($0.upper == nil) == ($1.upper == nil) }
    case (.rowCompare(let a, let l, _), .rowCompare(let b, let m, _)): a == b && l.count == m.count
    case (.subplan(let a, _), .subplan(let b, _)): a == b
    case (.collate(_, let a), .collate(_, let b)): a == b
    default: false
    }
  }
}

extension WindowCall.Function {
  func isSame(as other: Self) -> Bool {
    switch (self, other) {
    case (.aggregate(let f), .aggregate(let g)): f === g
    case (.ranking(let f), .ranking(let g)): f == g
    default: false
    }
  }
}

extension TypedExpression.CastMethod {
  func isSame(as other: Self) -> Bool {
    switch (self, other) {
    case (.relabel, .relabel), (.viaText, .viaText): true
    case (.function(let f), .function(let g)): f === g
    case (.modifier(let a), .modifier(let b)): a == b
    case (.elements(let a, let b, let c), .elements(let d, let e, let f)): a.isSame(as: d) && b == e && c == f
    default: false
    }
  }
}
