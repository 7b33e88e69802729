extension Planner {
  /// A relation of a cluster of inner joins.
  private struct Leaf {
    var plan: LogicalPlan
    var slots: Set<FrameSlot>
    /// Slots of other leaves that it reads (LATERAL).
    var depends: Set<FrameSlot>
  }

  func join(_ node: LogicalPlan, needed: Set<FrameSlot>, filters: [TypedExpression]) -> PlanNode {
    guard case .join(let kind, let left, let right, let condition, let lateral) = node else {
      preconditionFailure("not a join")
    }
    switch kind {
    case .inner:
      var leaves: [LogicalPlan] = []
      var conditions = filters
      flatten(node, &leaves, &conditions)
      return cluster(leaves, conditions, needed: needed)
    case .right:
      return outer(.left, right, left, condition, lateral, needed: needed, filters: filters)
    case .left, .semi, .anti:
      return outer(kind, left, right, condition, lateral, needed: needed, filters: filters)
    case .full:
      return outer(.full, left, right, condition, lateral, needed: needed, filters: filters)
    }
  }

  private func flatten(_ node: LogicalPlan, _ leaves: inout [LogicalPlan], _ conditions: inout [TypedExpression]) {
    switch node {
    case .join(.inner, let left, let right, let condition, _):
      flatten(left, &leaves, &conditions)
      flatten(right, &leaves, &conditions)
      if let condition { conditions += condition.conjuncts }
    case .filter(let input, let condition) where !condition.callsVolatile:
      flatten(input, &leaves, &conditions)
      conditions += condition.conjuncts
    case .join(.left, let left, let right, let condition, let lateral):
      // A predicate that no null row of the right side satisfies makes the outer join an inner one.
      let rightSlots = right.slots
      if conditions.contains(where: { rejectsNulls($0, rightSlots) }) {
        flatten(.join(.inner, left, right, condition: condition, lateral: lateral), &leaves, &conditions)
      } else {
        leaves.append(node)
      }
    default: leaves.append(node)
    }
  }

  /// Whether the predicate is not true when all of `slots` are null.
  func rejectsNulls(_ predicate: TypedExpression, _ slots: Set<FrameSlot>) -> Bool {
    func isNullThen(_ expression: TypedExpression) -> Bool {
      switch expression.node {
      case .column(let slot): return slots.contains(slot)
      case .call(let function, let arguments): return function.isStrict && arguments.contains(where: isNullThen)
      case .cast(let inner, _), .collate(let inner, _): return isNullThen(inner)
      default: return false
      }
    }
    switch predicate.node {
    case .and(let parts): return parts.contains { rejectsNulls($0, slots) }
    case .or(let parts): return parts.allSatisfy { rejectsNulls($0, slots) }
    case .isNull(let inner, true): return isNullThen(inner)
    case .inList(let subject, _, _, _), .quantified(let subject, _, _, _): return isNullThen(subject)
    default: return isNullThen(predicate)
    }
  }

  // MARK: Inner joins

  private func cluster(
    _ plans: [LogicalPlan], _ conditions: [TypedExpression], needed: Set<FrameSlot>
  ) -> PlanNode {
    let all = plans.reduce(into: Set<FrameSlot>()) { $0.formUnion($1.slots) }
    var leaves = plans.map { plan in
      let free = binder.freeSlots(of: BoundQuery(plan: plan, columns: []))
      return Leaf(plan: plan, slots: plan.slots, depends: free.intersection(all))
    }
    var pending = conditions.map { (expression: $0, slots: slots($0).intersection(all)) }
    var outerNeeded = needed.union(slots(conditions))
    for leaf in leaves { outerNeeded.formUnion(leaf.depends) }

    func local(_ leaf: Leaf) -> [TypedExpression] {
      pending.filter { $0.slots.isSubset(of: leaf.slots) && !$0.slots.isEmpty }.map(\.expression)
    }
    // A predicate without slots of the cluster is tested once, at the top.
    let constant = pending.filter { $0.slots.isEmpty }.map(\.expression)
    pending.removeAll { $0.slots.isEmpty }

    let bases = leaves.map { leaf in
      plan(leaf.plan, needed: outerNeeded.union(leaf.slots.intersection(outerNeeded)), filters: local(leaf))
    }
    let locals = leaves.map(local)
    var nodes = Array(zip(leaves.indices, bases))
    var free = nodes.filter { leaves[$0.0].depends.isEmpty }
    if free.isEmpty { free = nodes }
    let first = free.min { a, b in
      a.1.rows == b.1.rows ? a.1.cost < b.1.cost : a.1.rows < b.1.rows
    }!
    var joined = leaves[first.0].slots
    var current = first.1
    nodes.removeAll { $0.0 == first.0 }
    pending.removeAll { $0.slots.isSubset(of: leaves[first.0].slots) }
    while !nodes.isEmpty {
      var best: (position: Int, node: PlanNode, isConnected: Bool)?
      for (position, (index, base)) in nodes.enumerated() where leaves[index].depends.isSubset(of: joined) {
        let leaf = leaves[index]
        let connecting = pending.filter {
          $0.slots.isSubset(of: joined.union(leaf.slots)) && !$0.slots.isSubset(of: leaf.slots)
            && !$0.slots.isDisjoint(with: leaf.slots)
        }.map(\.expression)
        let node = pair(
          .inner, current, joined, leaf.plan, base, locals[index], connecting, needed: outerNeeded,
          isLateral: !leaf.depends.isEmpty)
        let isConnected = !connecting.isEmpty || !leaf.depends.isEmpty
        if let known = best {
          if known.isConnected && !isConnected { continue }
          if known.isConnected == isConnected, known.node.cost <= node.cost { continue }
        }
        best = (position, node, isConnected)
      }
      guard let chosen = best else { break }
      let index = nodes[chosen.position].0
      joined.formUnion(leaves[index].slots)
      current = chosen.node
      nodes.remove(at: chosen.position)
      pending.removeAll { $0.slots.isSubset(of: joined) }
    }
    leaves.removeAll()
    return filtered(current, constant)
  }

  /// Joins `left` with the leaf `right` in the cheapest way.
  private func pair(
    _ kind: JoinKind, _ left: PlanNode, _ leftSlots: Set<FrameSlot>, _ right: LogicalPlan, _ rightBase: PlanNode,
    _ rightFilters: [TypedExpression], _ connecting: [TypedExpression], needed: Set<FrameSlot>, isLateral: Bool
  ) -> PlanNode {
    let rightSlots = right.slots
    var candidates: [PlanNode] = []
    let selectivity = connecting.reduce(1.0) { $0 * joinSelectivity($1, right: rightSlots, rightRows: rightBase.rows) }
    let inner = max(left.rows * rightBase.rows * selectivity, 0.01)
    let resulting: Double
    switch kind {
    case .left: resulting = max(left.rows, inner)
    case .full: resulting = max(left.rows + rightBase.rows, inner)
    case .semi: resulting = left.rows * min(1, max(0.1, rightBase.rows * selectivity))
    case .anti: resulting = left.rows * 0.5
    default: resulting = inner
    }
    let produced = rightSlots.intersection(needed.union(slots(connecting))).sorted()
    // Index lookups: the join's conditions are the scan's.
    if kind != .full {
      let looked = lookup(right, needed: needed, filters: rightFilters + connecting)
      if let looked {
        let residual = kind == .inner ? nil : nil as TypedExpression?
        candidates.append(
          PlanNode(
            .nestedLoop(kind, outer: left, inner: looked, condition: residual, innerSlots: produced), rows: resulting,
            startup: left.startup, cost: left.cost + left.rows * looked.cost + resulting * Cost.output,
            order: left.order))
      }
    }
    if !isLateral {
      let keys = connecting.enumerated().compactMap { index, condition in
        hashKey(condition, leftSlots, rightSlots).map { (index, $0) }
      }
      if !keys.isEmpty {
        let used = Set(keys.map(\.0))
        let residual = TypedExpression.conjunction(
          ordered(connecting.indices.filter { !used.contains($0) }.map { connecting[$0] }))
        candidates.append(
          hash(
            kind, left, leftSlots, rightBase, rightSlots, keys.map(\.1), residual, resulting, needed, connecting))
      } else if kind == .full {
        candidates.append(
          hash(
            kind, left, leftSlots, rightBase, rightSlots, [], TypedExpression.conjunction(connecting), resulting,
            needed,
            connecting))
      }
    }
    if kind != .full {
      let saved = produced
      let inner =
        isLateral || isCheap(rightBase)
        ? rightBase
        : PlanNode(
          .materialize(rightBase, slots: saved), rows: rightBase.rows, startup: rightBase.cost,
          cost: rightBase.rows * 0.3 + 0.1)
      let repeated = isLateral || isCheap(rightBase) ? rightBase.cost : inner.cost
      candidates.append(
        PlanNode(
          .nestedLoop(
            kind, outer: left, inner: inner, condition: TypedExpression.conjunction(ordered(connecting)),
            innerSlots: produced), rows: resulting, startup: left.startup,
          cost: left.cost + rightBase.cost + left.rows * repeated
            + left.rows * rightBase.rows * Cost.test * Double(max(connecting.count, 1)), order: left.order))
    }
    return candidates.min { $0.cost < $1.cost }!
  }

  private func isCheap(_ node: PlanNode) -> Bool {
    switch node.kind {
    case .oneRow, .common, .working, .materialize: true
    case .values(let rows, _): rows.count < 10
    default: false
    }
  }

  /// The right side as a scan whose bounds come from the left row; nil if no index helps.
  private func lookup(
    _ right: LogicalPlan, needed: Set<FrameSlot>, filters: [TypedExpression]
  ) -> PlanNode? {
    switch right {
    case .scan(let scan):
      let node = self.scan(scan, needed: needed.union(slots(filters)), filters: filters, wanted: [], limit: nil)
      guard case .scan(let plan) = node.kind,
        !plan.path.equal.isEmpty || plan.path.lower != nil || plan.path.upper != nil
      else { return nil }
      // Bounds that do not depend on the left row would make it read the same rows again and again.
      let own = Set(scan.table.columns.indices.map { scan.base + $0 })
      let depends = plan.path.conditions.contains { !slots($0).isSubset(of: own) }
      return depends ? node : nil
    case .filter(let input, let condition):
      return lookup(input, needed: needed, filters: filters + condition.conjuncts)
    case .project(let input, let items):
      let own = Dictionary(items.map { ($0.slot, $0.expression) }, uniquingKeysWith: { a, _ in a })
      let substituted = filters.map { substitute($0, own) }
      guard !items.contains(where: { $0.expression.callsVolatile }),
        let inner = lookup(
          input, needed: needed.union(slots(items.map(\.expression))), filters: substituted)
      else { return nil }
      return PlanNode(
        .project(inner, items), rows: inner.rows, startup: inner.startup, cost: inner.cost + inner.rows * Cost.test)
    default: return nil
    }
  }

  /// `left side = right side`, as a key for hashing.
  private func hashKey(
    _ condition: TypedExpression, _ leftSlots: Set<FrameSlot>, _ rightSlots: Set<FrameSlot>
  ) -> HashKey? {
    guard let (comparison, a, b) = condition.comparison, comparison == .equal,
      let left = ValueOrder(a.type.id), let right = ValueOrder(b.type.id), left == right
    else { return nil }
    let aSlots = slots(a)
    let bSlots = slots(b)
    guard !a.callsVolatile, !b.callsVolatile else { return nil }
    if !aSlots.isDisjoint(with: leftSlots), aSlots.isDisjoint(with: rightSlots), !bSlots.isEmpty,
      bSlots.isSubset(of: rightSlots)
    {
      return HashKey(probe: a, build: b, order: left)
    }
    if !bSlots.isDisjoint(with: leftSlots), bSlots.isDisjoint(with: rightSlots), !aSlots.isEmpty,
      aSlots.isSubset(of: rightSlots)
    {
      return HashKey(probe: b, build: a, order: left)
    }
    return nil
  }

  private func hash(
    _ kind: JoinKind, _ left: PlanNode, _ leftSlots: Set<FrameSlot>, _ right: PlanNode, _ rightSlots: Set<FrameSlot>,
    _ keys: [HashKey], _ residual: TypedExpression?, _ rows: Double, _ needed: Set<FrameSlot>,
    _ connecting: [TypedExpression]
  ) -> PlanNode {
    let used = needed.union(slots(connecting))
    let leftSaved = leftSlots.intersection(used).sorted()
    let rightSaved = rightSlots.intersection(used).sorted()
    // The smaller side is kept; an outer or semi join keeps the side that may be missing.
    if kind == .inner, left.rows < right.rows {
      let swapped = keys.map { HashKey(probe: $0.build, build: $0.probe, order: $0.order) }
      return PlanNode(
        .hashJoin(
          kind, probe: right, build: left, keys: swapped, condition: residual, buildSlots: leftSaved,
          probeSlots: rightSaved), rows: rows, startup: left.cost + left.rows * Cost.hashBuild,
        cost: left.cost + right.cost + left.rows * Cost.hashBuild + right.rows * Cost.hashProbe + rows * Cost.output)
    }
    return PlanNode(
      .hashJoin(
        kind, probe: left, build: right, keys: keys, condition: residual, buildSlots: rightSaved, probeSlots: leftSaved),
      rows: rows, startup: right.cost + right.rows * Cost.hashBuild,
      cost: left.cost + right.cost + right.rows * Cost.hashBuild + left.rows * Cost.hashProbe + rows * Cost.output)
  }

  private func joinSelectivity(_ condition: TypedExpression, right: Set<FrameSlot>, rightRows: Double) -> Double {
    guard let (comparison, a, b) = condition.comparison else { return selectivity(condition) }
    guard comparison == .equal else { return selectivity(condition) }
    var best = 0.0
    for side in [a, b] {
      guard let slot = side.withoutRelabel.columnSlot, let (table, place) = tableColumn(slot) else { continue }
      let distinct = statistics.find(table.storage)?.columns[place]?.distinct
      let isUnique = table.indexes.contains {
        $0.isUnique && $0.predicate == nil && $0.keys.count == 1 && $0.keys[0].column == place + 1
      }
      best = max(best, isUnique ? rows(table) : distinct ?? 0)
    }
    return best > 0 ? 1 / max(best, 1) : 1 / max(rightRows, 10)
  }

  // MARK: Outer, semi and anti joins

  private func outer(
    _ kind: JoinKind, _ left: LogicalPlan, _ right: LogicalPlan, _ condition: TypedExpression?, _ lateral: Bool,
    needed: Set<FrameSlot>, filters: [TypedExpression]
  ) -> PlanNode {
    let leftSlots = left.slots
    let rightSlots = right.slots
    if kind == .left, filters.contains(where: { rejectsNulls($0, rightSlots) }) {
      return join(
        .join(.inner, left, right, condition: condition, lateral: lateral), needed: needed, filters: filters)
    }
    let (below, above) =
      kind == .full ? ([], filters) : split(filters) { $0.isDisjoint(with: rightSlots) }
    let conjuncts = condition?.conjuncts ?? []
    let inner = needed.union(slots(above)).union(slots(conjuncts))
    // What concerns the right side alone can be tested there; for a full join nothing can.
    var rightFilters: [TypedExpression] = []
    var connecting: [TypedExpression] = []
    for part in conjuncts {
      let used = slots(part)
      if kind != .full, used.isSubset(of: rightSlots), !used.isEmpty {
        rightFilters.append(part)
      } else {
        connecting.append(part)
      }
    }
    let freeRight = binder.freeSlots(of: BoundQuery(plan: right, columns: []))
    let leftNeeded = inner.union(freeRight)
    let leftNode = plan(left, needed: leftNeeded, filters: below)
    let rightNode = plan(right, needed: inner, filters: rightFilters)
    let node = pair(
      kind, leftNode, leftSlots, right, rightNode, rightFilters, connecting, needed: inner,
      isLateral: lateral || !freeRight.isDisjoint(with: leftSlots))
    return filtered(node, above)
  }

  // MARK: Filters with subqueries

  /// WHERE: subqueries that only ask for existence become joins, everything else goes down.
  func filter(
    _ input: LogicalPlan, _ condition: TypedExpression, needed: Set<FrameSlot>, filters: [TypedExpression],
    wanted: [SortKey], limit: Double?
  ) -> PlanNode {
    var plain: [TypedExpression] = []
    var tree = input
    for part in condition.conjuncts {
      if let joined = existenceJoin(part, tree) { tree = joined } else { plain.append(part) }
    }
    let all = plain + filters
    var isJoined = false
    if case .join = tree, plain.count < condition.conjuncts.count { isJoined = true }
    _ = isJoined
    return plan(tree, needed: needed.union(slots(all)), filters: all, wanted: wanted, limit: limit)
  }

  /// `EXISTS (…)`, `NOT EXISTS (…)`, `x IN (…)` as a semi or anti join over `input`; nil if it cannot be one.
  private func existenceJoin(_ condition: TypedExpression, _ input: LogicalPlan) -> LogicalPlan? {
    var isAnti = false
    var test = condition
    if case .not(let inner) = condition.node {
      isAnti = true
      test = inner
    }
    guard case .subplan(let id, let arguments) = test.node else { return nil }
    let subquery = binder.subqueries[id]
    let inputSlots = input.slots
    var conditions: [TypedExpression] = []
    switch subquery.kind {
    case .exists: break
    case .quantified(let comparisons, false, false) where !isAnti:
      for (index, function) in comparisons.enumerated() {
        guard case .compare(.equal, _)? = function.intrinsic else { return nil }
        let column = subquery.query.columns[index].expression
        conditions.append(TypedExpression(.call(function, [arguments[index], column]), .bool, at: condition.position))
      }
    default: return nil
    }
    guard !subquery.query.columns.contains(where: { $0.expression.callsVolatile }),
      let (plan, pulled) = pullUp(subquery.query.plan)
    else { return nil }
    conditions += pulled
    let free = binder.freeSlots(of: BoundQuery(plan: plan, columns: []))
    guard free.isEmpty, !plan.slots.isEmpty else { return nil }
    // The conditions must connect the two sides, or it is an existence test that is computed once.
    guard conditions.contains(where: { !slots($0).isDisjoint(with: inputSlots) }) else { return nil }
    return .join(
      isAnti ? .anti : .semi, input, plan, condition: TypedExpression.conjunction(conditions), lateral: false)
  }

  /// The plan without its correlated predicates, and those; nil where they cannot be taken out.
  private func pullUp(_ plan: LogicalPlan) -> (LogicalPlan, [TypedExpression])? {
    func isFree(_ plan: LogicalPlan) -> Bool { binder.freeSlots(of: BoundQuery(plan: plan, columns: [])).isEmpty }
    switch plan {
    case .filter(let input, let condition):
      guard let (inner, pulled) = pullUp(input) else { return nil }
      let own = inner.slots
      let (kept, correlated) = split(condition.conjuncts) { $0.isSubset(of: own) }
      if correlated.contains(where: { $0.contains { if case .subplan = $0.node { true } else { false } } }) {
        return nil
      }
      let rest = TypedExpression.conjunction(kept).map { LogicalPlan.filter(inner, $0) } ?? inner
      return (rest, pulled + correlated)
    case .project(let input, let items):
      guard let (inner, pulled) = pullUp(input), slots(items.map(\.expression)).isSubset(of: inner.slots) else {
        return nil
      }
      return (.project(inner, items), pulled)
    default: return isFree(plan) ? (plan, []) : nil
    }
  }
}
