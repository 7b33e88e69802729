extension Planner {
  // MARK: Sort and limit

  func sort(
    _ input: LogicalPlan, _ keys: [SortKey], needed: Set<FrameSlot>, filters: [TypedExpression], limit: Double?
  ) -> PlanNode {
    let inner = needed.union(slots(keys.map(\.expression)))
    let child = plan(input, needed: inner, filters: filters, wanted: keys, limit: limit)
    if Planner.satisfies(child.order, keys) { return child }
    return sorted(child, keys, saved: input.slots.intersection(inner))
  }

  func sorted(_ child: PlanNode, _ keys: [SortKey], saved: Set<FrameSlot>) -> PlanNode {
    let rows = max(child.rows, 2)
    return PlanNode(
      .sort(child, keys, saved: saved.sorted(), presorted: 0), rows: child.rows,
      startup: child.cost + rows * rows.logarithm * Cost.compare,
      cost: child.cost + rows * rows.logarithm * Cost.compare + rows * 0.2,
      order: keys)
  }

  func limit(
    _ input: LogicalPlan, _ count: TypedExpression?, _ offset: TypedExpression?, _ ties: [SortKey]?,
    needed: Set<FrameSlot>
  ) -> PlanNode {
    var expected: Double?
    if case .int(let n)? = count?.constantValue {
      expected = Double(n)
      if case .int(let skip)? = offset?.constantValue { expected! += Double(skip) }
    } else if count != nil {
      expected = 100
    }
    var inner = needed
    if let ties { inner.formUnion(slots(ties.map(\.expression))) }
    var child = plan(input, needed: inner, limit: expected)
    // Of a sort only the first rows are wanted.
    if ties == nil, let count, case .sort(let below, let keys, let saved, _) = child.kind {
      let rows = max(below.rows, 2)
      let cost = below.cost + rows * max(2, expected ?? 100).logarithm * Cost.compare * 0.5
      child = PlanNode(
        .topN(below, keys, saved: saved, count: count, offset: offset), rows: min(expected ?? rows, rows),
        startup: cost, cost: cost, order: keys)
    }
    let rows = min(child.rows, expected ?? child.rows)
    let fraction = child.rows > 0 ? rows / child.rows : 1
    return PlanNode(
      .limit(child, count: count, offset: offset, withTies: ties), rows: rows, startup: child.startup,
      cost: child.startup + (child.cost - child.startup) * fraction, order: child.order)
  }

  // MARK: Grouping

  func aggregate(
    _ aggregate: AggregateNode, needed: Set<FrameSlot>, filters: [TypedExpression]
  ) -> PlanNode {
    var node = aggregate
    // Aggregates that nobody reads are not computed.
    let used = needed.union(slots(filters))
    node.aggregates = aggregate.aggregates.filter { used.contains($0.slot) }
    let keySlots = Set(node.keys.filter { $0.expression.columnSlot == $0.slot }.map(\.slot))
    let canPush = node.sets.count == 1 && !node.keys.isEmpty
    let input = node.input.slots
    let (below, above) = split(filters) { used in
      canPush && used.isDisjoint(with: Set(node.aggregates.map(\.slot)))
        && used.intersection(Set(aggregate.keys.map(\.slot)).union(input)).isSubset(of: keySlots) && !used.isEmpty
    }
    var inner = slots(node.keys.map(\.expression))
    for item in node.aggregates {
      inner.formUnion(slots(TypedExpression(.aggregate(item.call), .void).children))
    }
    if let shortcut = extremum(node, inner, filters: above) { return shortcut }
    let child = plan(node.input, needed: inner.union(slots(below)), filters: below)
    node.saved = inner.intersection(node.input.slots).sorted()
    node.input = .oneRow
    let keys = node.keys.map { SortKey($0.expression) }
    let strategy: AggregateStrategy =
      node.keys.isEmpty && node.sets.count == 1
      ? .plain : node.sets.count == 1 && isGrouped(child.order, keys) ? .sorted : .hashed
    let groups = node.keys.isEmpty ? 1 : max(1, min(child.rows, child.rows.squareRoot() * 10))
    let cost = child.cost + child.rows * (0.4 + 0.2 * Double(node.aggregates.count))
    let result = PlanNode(
      .aggregate(node, child, strategy), rows: groups, startup: strategy == .sorted ? child.startup : cost, cost: cost,
      order: strategy == .sorted ? Array(child.order.prefix(keys.count)) : [])
    return filtered(result, above)
  }

  /// Whether equal keys come together: the first columns of the order are the keys, in any order.
  private func isGrouped(_ order: [SortKey], _ keys: [SortKey]) -> Bool {
    guard order.count >= keys.count, !keys.isEmpty else { return false }
    let first = order.prefix(keys.count)
    return keys.allSatisfy { key in first.contains { $0.expression.isSame(as: key.expression) } }
  }

  /// min(x) or max(x) alone, where an index gives the rows in x's order: the first row that has an x.
  private func extremum(
    _ node: AggregateNode, _ inner: Set<FrameSlot>, filters: [TypedExpression]
  ) -> PlanNode? {
    guard node.keys.isEmpty, node.sets.count == 1, node.aggregates.count == 1, node.groupings.isEmpty else {
      return nil
    }
    let call = node.aggregates[0].call
    guard call.function.kind == .minimum || call.function.kind == .maximum, !call.isDistinct, call.filter == nil,
      call.arguments.count == 1, call.arguments[0].columnSlot != nil
    else { return nil }
    let subject = call.arguments[0]
    let isMaximum = call.function.kind == .maximum
    let present = TypedExpression(.isNull(subject, negated: true), .bool)
    for nullsFirst in [isMaximum, !isMaximum] {
      let key = SortKey(subject, descending: isMaximum, nullsFirst: nullsFirst)
      let child = plan(node.input, needed: inner, filters: [present], wanted: [key], limit: 1)
      guard Planner.satisfies(child.order, [key]) else { continue }
      let one = PlanNode(
        .limit(child, count: .constant(.int(1), .int8), offset: nil, withTies: nil), rows: 1, cost: Cost.seek)
      var plain = node
      plain.input = .oneRow
      return filtered(PlanNode(.aggregate(plain, one, .plain), rows: 1, cost: Cost.seek + 1), filters)
    }
    return nil
  }

  func window(_ window: WindowNode, needed: Set<FrameSlot>, filters: [TypedExpression]) -> PlanNode {
    var node = window
    let own = Set(window.items.map(\.slot))
    let partition = Set(window.partition.compactMap(\.columnSlot))
    let (below, above) = split(filters) { used in
      used.isDisjoint(with: own) && used.intersection(window.input.slots).isSubset(of: partition)
        && !partition.isEmpty
    }
    var inner = needed.union(slots(above)).subtracting(own)
    inner.formUnion(slots(window.partition))
    inner.formUnion(slots(window.order.map(\.expression)))
    for item in window.items { inner.formUnion(slots(TypedExpression(.window(item.call), .void).children)) }
    let keys = window.partition.map { SortKey($0) } + window.order
    var child = plan(window.input, needed: inner, filters: below, wanted: keys)
    let saved = window.input.slots.intersection(inner)
    if !keys.isEmpty, !Planner.satisfies(child.order, keys) { child = sorted(child, keys, saved: saved) }
    node.input = .oneRow
    let cost = child.cost + child.rows * (1 + Double(window.items.count))
    return filtered(
      PlanNode(
        .window(node, child, saved: saved.sorted()), rows: child.rows, startup: child.startup, cost: cost,
        order: child.order), above)
  }

  func distinct(
    _ input: LogicalPlan, _ keys: [TypedExpression], needed: Set<FrameSlot>, filters: [TypedExpression], limit: Double?
  ) -> PlanNode {
    let keySlots = Set(keys.compactMap(\.columnSlot))
    let inputSlots = input.slots
    let (below, above) = split(filters) { $0.intersection(inputSlots).isSubset(of: keySlots) }
    let inner = needed.union(slots(keys)).union(slots(above))
    let child = plan(input, needed: inner, filters: below)
    let isSorted = isGrouped(child.order, keys.map { SortKey($0) })
    let rows = max(1, child.rows * 0.3)
    return filtered(
      PlanNode(
        .distinct(child, keys, saved: inputSlots.intersection(inner).sorted(), sorted: isSorted), rows: rows,
        startup: child.startup, cost: child.cost + child.rows * (isSorted ? Cost.compare : Cost.hashBuild),
        order: isSorted ? child.order : []), above)
  }

  // MARK: Set operations

  func setOperation(_ operation: SetOperationNode, filters: [TypedExpression]) -> PlanNode {
    if operation.kind == .union {
      var parts: [(plan: LogicalPlan, columns: [TypedExpression])] = []
      // UNION ALL of UNION ALL … is one list; UNION of anything removes duplicates once, at the top.
      collect(operation, isDistinct: !operation.all, &parts)
      let planned = parts.map { part -> (plan: PlanNode, columns: [TypedExpression]) in
        let map = Dictionary(zip(operation.slots, part.columns), uniquingKeysWith: { a, _ in a })
        var pushed: [TypedExpression] = []
        for filter in filters where !part.columns.contains(where: { $0.callsVolatile }) {
          pushed.append(substitute(filter, map))
        }
        return (plan(part.plan, needed: slots(part.columns).union(slots(pushed)), filters: pushed), part.columns)
      }
      let isPushed = !parts.contains { $0.columns.contains(where: { $0.callsVolatile }) }
      let rows = planned.reduce(0) { $0 + $1.plan.rows }
      let cost = planned.reduce(0) { $0 + $1.plan.cost } + rows * 0.1
      var node = PlanNode(.append(planned, slots: operation.slots), rows: rows, cost: cost)
      if !operation.all {
        let keys = zip(operation.slots, operation.leftColumns).map { TypedExpression.column($0, $1.type) }
        node = PlanNode(
          .distinct(node, keys, saved: operation.slots, sorted: false), rows: rows * 0.5,
          cost: cost + rows * Cost.hashBuild)
      }
      return isPushed ? node : filtered(node, filters)
    }
    let left = plan(operation.left, needed: slots(operation.leftColumns))
    let right = plan(operation.right, needed: slots(operation.rightColumns))
    var node = operation
    node.left = .oneRow
    node.right = .oneRow
    let result = PlanNode(
      .setOperation(node, left, right), rows: left.rows * 0.5,
      cost: left.cost + right.cost + (left.rows + right.rows) * Cost.hashBuild)
    return filtered(result, filters)
  }

  private func collect(
    _ operation: SetOperationNode, isDistinct: Bool, _ parts: inout [(plan: LogicalPlan, columns: [TypedExpression])]
  ) {
    for (side, columns) in [(operation.left, operation.leftColumns), (operation.right, operation.rightColumns)] {
      if case .setOperation(let inner) = side, inner.kind == .union, inner.all || isDistinct,
        columns.enumerated().allSatisfy({ $0.element.columnSlot == inner.slots[$0.offset] })
      {
        collect(inner, isDistinct: isDistinct, &parts)
      } else {
        parts.append((side, columns))
      }
    }
  }
}
