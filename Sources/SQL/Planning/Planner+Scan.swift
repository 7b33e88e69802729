extension Planner {
  /// The cheapest way to read a table under `filters`.
  func scan(
    _ scan: TableScan, needed: Set<FrameSlot>, filters: [TypedExpression], wanted: [SortKey], limit: Double?
  ) -> PlanNode {
    if filters.contains(where: { $0.constantValue == .bool(false) || $0.constantValue == .null }) {
      return PlanNode(.empty, rows: 0, cost: 0)
    }
    let conditions = ordered(filters)
    let own = Set(scan.table.columns.indices.map { scan.base + $0 } + (scan.keySlot.map { [$0] } ?? []))
    let keys = KeyConditions.find(conditions.map(\.withoutRelabelledOperands), own: own) { self.slots($0) }
    let total = rows(scan.table)
    let resulting = max(total * conditions.reduce(1) { $0 * selectivity($1) }, total < 1 ? total : 0.001)
    var best: (node: PlanNode, weight: Double)?
    for index in [nil] + scan.table.secondaryIndexes.map(Optional.some) {
      guard let candidate = path(scan, index, conditions, keys, needed, own) else { continue }
      for reverse in [false, true] {
        var path = candidate.path
        path.reverse = reverse
        let order = self.order(of: scan, path)
        let isOrdered = !wanted.isEmpty && Planner.satisfies(order, wanted)
        if reverse && !isOrdered { continue }
        var weight = candidate.weight
        if !wanted.isEmpty {
          if isOrdered {
            if let limit { weight *= min(1, max(limit, 1) / max(resulting, 1)) }
          } else {
            weight += resulting * max(1, (max(resulting, 2)).logarithm) * Cost.compare
          }
        } else if let limit, resulting > limit {
          weight *= max(limit, 1) / resulting
        }
        if let best, best.weight <= weight { continue }
        let filter = candidate.filter
        let filterPlaces = places(filter.map { slots($0) } ?? [], scan)
        var others = places(needed, scan)
        others.removeAll { filterPlaces.contains($0) }
        let plan = ScanPlan(
          scan: scan, path: path, filter: filter, filterPlaces: filterPlaces, otherPlaces: others)
        best = (PlanNode(.scan(plan), rows: resulting, cost: candidate.cost, order: order), weight)
      }
    }
    return best!.node
  }

  private func places(_ slots: Set<FrameSlot>, _ scan: TableScan) -> [Int] {
    slots.compactMap { slot in
      let place = slot - scan.base
      return scan.table.columns.indices.contains(place) && !scan.table.columns[place].isDropped ? place : nil
    }.sorted()
  }

  /// What `index` (nil: the table itself) can do for the conditions; nil if it cannot be used at all.
  private func path(
    _ scan: TableScan, _ index: IndexDescriptor?, _ conditions: [TypedExpression], _ keys: [KeyCondition],
    _ needed: Set<FrameSlot>, _ own: Set<FrameSlot>
  ) -> (path: AccessPath, filter: TypedExpression?, cost: Double, weight: Double)? {
    let table = scan.table
    let definition = index ?? table.primaryIndex
    if let predicate = index?.predicate, !isImplied(predicate, scan, conditions) { return nil }
    var path = AccessPath(index: index)
    var used: Set<Int> = []
    var fraction = 1.0
    let indexKeys = definition?.keys ?? []
    path.keyColumns = indexKeys.map { KeyColumn($0.type, descending: $0.descending, nullsFirst: $0.nullsFirst) }
    var combinations = 1
    for (position, key) in indexKeys.enumerated() {
      let matching = keys.filter { isSubject($0.subject, key, scan) }
      if let equality = matching.first(where: { $0.bound != nil && combinations * $0.count <= 10_000 }),
        let bound = equality.bound
      {
        path.equal.append(bound)
        combinations *= equality.count
        if equality.isExact { used.insert(equality.conjunct) }
        path.conditions.append(conditions[equality.conjunct])
        fraction *= selectivity(conditions[equality.conjunct])
        if position == indexKeys.count - 1, definition!.isUnique {
          path.isPoint = path.equal.allSatisfy { if case .equal = $0 { true } else { false } }
        }
        continue
      }
      for condition in matching {
        switch condition.kind {
        case .lower(let bound) where path.lower == nil:
          path.lower = bound
          if condition.isExact { used.insert(condition.conjunct) }
        case .upper(let bound) where path.upper == nil:
          path.upper = bound
          if condition.isExact { used.insert(condition.conjunct) }
        case .prefix(let lower, let upper) where path.lower == nil && path.upper == nil:
          path.lower = lower
          path.upper = upper
        default: continue
        }
        path.conditions.append(conditions[condition.conjunct])
        fraction *= selectivity(conditions[condition.conjunct])
      }
      break
    }
    let rest = conditions.indices.filter { !used.contains($0) }.map { conditions[$0] }
    let filter = TypedExpression.conjunction(rest)
    if index != nil {
      let all = needed.union(filter.map { slots($0) } ?? []).intersection(own)
      path.isIndexOnly = scan.keySlot == nil && isCovered(all, definition!, scan)
    }
    let hasBounds = !path.equal.isEmpty || path.lower != nil || path.upper != nil
    func cost(_ total: Double) -> Double {
      var matched = total * fraction
      if path.isPoint { matched = min(matched, 1) }
      var cost = hasBounds ? Cost.seek * Double(min(combinations, 64)) : 1
      cost += matched * (index == nil ? 1 : path.isIndexOnly ? Cost.indexRow : Cost.fetch)
      cost += matched * Cost.test * Double(rest.count)
      return cost
    }
    // Paths are compared as if the table had some rows at least: it may grow while the plan is kept, and a serializable
    // transaction that reads all of a small table meets everybody who adds to it.
    let total = rows(table)
    return (path, filter, cost(total), cost(max(total, Cost.leastRows)))
  }

  private func isSubject(_ subject: TypedExpression, _ key: IndexKey, _ scan: TableScan) -> Bool {
    if let column = key.column {
      return subject.withoutRelabel.columnSlot == scan.base + column - 1
        && KeyConditions.isCompatible(subject.withoutRelabel.type.id, with: key.type.id)
    }
    guard let expression = key.expression, subject.type.id == key.type.id,
      let bound = try? binder.rowValue(expression.tree, scan.table, .indexExpression)
    else { return false }
    return bound.shifted(by: scan.base).isSame(as: subject)
  }

  /// Whether every row that satisfies the conditions satisfies a partial index's predicate: it is one of them.
  private func isImplied(
    _ predicate: StoredExpression, _ scan: TableScan, _ conditions: [TypedExpression]
  ) -> Bool {
    guard let bound = try? binder.rowCondition(predicate.tree, scan.table, .indexPredicate) else { return false }
    return bound.shifted(by: scan.base).conjuncts.allSatisfy { part in
      conditions.contains { $0.isSame(as: part) } || isNotNullImplied(part, conditions)
    }
  }

  /// `x IS NOT NULL` follows from a comparison of x.
  private func isNotNullImplied(_ part: TypedExpression, _ conditions: [TypedExpression]) -> Bool {
    guard case .isNull(let subject, true) = part.node else { return false }
    return conditions.contains { condition in
      guard let (_, left, right) = condition.comparison else { return false }
      return left.isSame(as: subject) || right.isSame(as: subject)
    }
  }

  /// Whether an index's entry holds all of `slots`: its own columns and the row's key, where keys can be decoded.
  private func isCovered(_ slots: Set<FrameSlot>, _ index: IndexDescriptor, _ scan: TableScan) -> Bool {
    var held: Set<Int> = []
    for key in index.keys where KeyColumn(key.type).isDecodable {
      if let column = key.column { held.insert(column - 1) }
    }
    for key in scan.table.primaryIndex?.keys ?? [] where KeyColumn(key.type).isDecodable {
      if let column = key.column { held.insert(column - 1) }
    }
    return slots.allSatisfy { held.contains($0 - scan.base) }
  }

  // MARK: Order

  /// The order in which a path gives rows: its key columns after those that are fixed.
  private func order(of scan: TableScan, _ path: AccessPath) -> [SortKey] {
    let definition = path.index ?? scan.table.primaryIndex
    var fixed = 0
    for bound in path.equal {
      switch bound {
      case .equal, .isNull: fixed += 1
      case .anyOf, .anyElement:
        // Several key ranges one after another: ordered only by columns before this one, which are fixed.
        return []
      }
    }
    var order: [SortKey] = []
    for key in (definition?.keys ?? []).dropFirst(fixed) {
      let expression: TypedExpression
      if let column = key.column {
        expression = .column(scan.base + column - 1, scan.table.column(column).type)
      } else if let stored = key.expression,
        let bound = try? binder.rowValue(stored.tree, scan.table, .indexExpression)
      {
        expression = bound.shifted(by: scan.base)
      } else {
        break
      }
      order.append(
        SortKey(
          expression, descending: key.descending != path.reverse, nullsFirst: key.nullsFirst != path.reverse))
    }
    return order
  }

  /// Whether rows in `order` are in the order `wanted`.
  static func satisfies(_ order: [SortKey], _ wanted: [SortKey]) -> Bool {
    guard wanted.count <= order.count else { return false }
    return zip(order, wanted).allSatisfy { have, want in
      have.descending == want.descending && have.expression.isSame(as: want.expression)
        && (have.nullsFirst == want.nullsFirst)
    }
  }
}

extension KeyCondition {
  /// The condition as an equality of a key's column.
  fileprivate var bound: KeyBound? {
    switch kind {
    case .equal(let value): .equal(value)
    case .anyOf(let list): .anyOf(list)
    case .anyElement(let array): .anyElement(array)
    case .isNull: .isNull
    default: nil
    }
  }
  fileprivate var count: Int {
    switch kind {
    case .anyOf(let list): list.count
    case .anyElement: 10
    default: 1
    }
  }
}

extension TypedExpression {
  /// Every slot moved up by `base`: a row's expression becomes one over the scan's slots.
  func shifted(by base: FrameSlot) -> TypedExpression {
    rewritten { node in
      guard case .column(let place) = node.node else { return node }
      var copy = node
      copy.node = .column(base + place)
      return copy
    }
  }

  /// A comparison whose operands' casts that change nothing are dropped, so that indexes are found behind them.
  var withoutRelabelledOperands: TypedExpression {
    var copy = self
    switch node {
    case .call(let function, let operands) where operands.count == 2:
      copy.node = .call(function, operands.map(\.withoutRelabel))
    case .inList(let subject, let list, let function, let negated):
      copy.node = .inList(subject.withoutRelabel, list, comparison: function, negated: negated)
    case .quantified(let subject, let array, let function, let isAll):
      copy.node = .quantified(subject.withoutRelabel, array: array, comparison: function, all: isAll)
    default: break
    }
    return copy
  }
}

extension Double {
  /// The binary logarithm, near enough for estimates.
  var logarithm: Double { self <= 1 ? 0 : Double(exponent) + (significand - 1) }
}
