extension Binder {
  /// Puts grouping over `input`: aggregates and keys become slots, and any other column of the input is an error.
  func group(_ input: LogicalPlan, _ parts: inout SelectParts) throws(SQLError) -> LogicalPlan {
    addDependentKeys(input, &parts)
    let rewriter = GroupingRewriter(self, inputSlots: input.slots, keys: parts.keys)
    try parts.rewrite { (expression) throws(SQLError) in try rewriter.rewrite(expression) }
    let node = AggregateNode(
      input: input, keys: parts.keys, sets: parts.hasGroupBy ? parts.sets : [[]], aggregates: rewriter.aggregates,
      groupings: rewriter.groupings)
    var plan = LogicalPlan.aggregate(node)
    if let having = parts.having { plan = .filter(plan, having) }
    return plan
  }

  /// A table's columns depend on its primary key: once that is grouped by, they may be used (PostgreSQL since 9.1).
  private func addDependentKeys(_ input: LogicalPlan, _ parts: inout SelectParts) {
    guard parts.sets.count <= 1, !parts.keys.isEmpty else { return }
    let grouped = Set(parts.keys.compactMap(\.expression.columnSlot))
    var used: Set<FrameSlot> = []
    for output in parts.outputs { collectSlots(output.expression, &used) }
    for key in parts.order { collectSlots(key.expression, &used) }
    if let having = parts.having { collectSlots(having, &used) }
    var added: [GroupKey] = []
    input.forEachNode { node in
      guard case .scan(let scan) = node else { return }
      let primary = scan.table.primaryKeyColumns
      guard !primary.isEmpty, primary.allSatisfy({ grouped.contains(scan.base + $0 - 1) }) else { return }
      for column in scan.table.live {
        let slot = scan.slot(column)
        guard used.contains(slot), !grouped.contains(slot), ValueOrder(column.type.id) != nil else { continue }
        added.append(GroupKey(expression: .column(slot, column.type), slot: slot))
      }
    }
    for key in added {
      parts.keys.append(key)
      for index in parts.sets.indices { parts.sets[index].append(parts.keys.count - 1) }
    }
  }

  /// Puts window functions over `input`: each window is a node, each call a slot.
  func windows(_ input: LogicalPlan, _ parts: inout SelectParts) -> LogicalPlan {
    var items: [[WindowNode.Item]] = Array(repeating: [], count: parts.windows.count)
    func rewrite(_ expression: TypedExpression) -> TypedExpression {
      guard case .window(let call) = expression.node else { return expression.mapChildren(rewrite) }
      if let same = items[call.window].first(where: {
        TypedExpression(.window($0.call), expression.type).isSameWindow(as: call)
      }) {
        return .column(same.slot, expression.type, at: expression.position)
      }
      let slot = newSlot(expression.type)
      items[call.window].append(WindowNode.Item(call: call, slot: slot))
      return .column(slot, expression.type, at: expression.position)
    }
    for index in parts.outputs.indices { parts.outputs[index].expression = rewrite(parts.outputs[index].expression) }
    for index in parts.order.indices { parts.order[index].expression = rewrite(parts.order[index].expression) }
    for index in parts.distinctOn.indices { parts.distinctOn[index] = rewrite(parts.distinctOn[index]) }
    var plan = input
    for (index, window) in parts.windows.enumerated() where !items[index].isEmpty {
      plan = .window(
        WindowNode(
          input: plan, partition: window.partition, order: window.order, frame: window.frame, items: items[index]))
    }
    return plan
  }
}

extension TypedExpression {
  fileprivate func isSameWindow(as other: WindowCall) -> Bool {
    guard case .window(let mine) = node, mine.window == other.window, mine.arguments.count == other.arguments.count,
      (mine.filter == nil) == (other.filter == nil)
    else { return false }
    switch (mine.function, other.function) {
    case (.aggregate(let f), .aggregate(let g)) where f === g: break
    case (.ranking(let f), .ranking(let g)) where f == g: break
    default: return false
    }
    if let a = mine.filter, let b = other.filter, !a.isSame(as: b) { return false }
    return zip(mine.arguments, other.arguments).allSatisfy { $0.isSame(as: $1) }
  }
}

/// Replaces keys and aggregates by slots, and refuses ungrouped columns.
private final class GroupingRewriter {
  let binder: Binder
  let inputSlots: Set<FrameSlot>
  let keys: [GroupKey]
  let keySlots: Set<FrameSlot>
  var aggregates: [AggregateItem] = []
  var groupings: [(keys: [Int], slot: FrameSlot)] = []

  init(_ binder: Binder, inputSlots: Set<FrameSlot>, keys: [GroupKey]) {
    self.binder = binder
    self.inputSlots = inputSlots
    self.keys = keys
    keySlots = Set(keys.map(\.slot))
  }

  func rewrite(_ expression: TypedExpression) throws(SQLError) -> TypedExpression {
    if expression.constantValue == nil, let key = keys.first(where: { $0.expression.isSame(as: expression) }) {
      return .column(key.slot, expression.type, at: expression.position)
    }
    switch expression.node {
    case .aggregate(let call):
      if let same = aggregates.first(where: {
        TypedExpression(.aggregate($0.call), expression.type).isSame(as: expression)
      }), !expression.callsVolatile {
        return .column(same.slot, expression.type, at: expression.position)
      }
      let slot = binder.newSlot(expression.type)
      aggregates.append(AggregateItem(call: call, slot: slot))
      return .column(slot, expression.type, at: expression.position)
    case .row(let arguments) where expression.type == Binder.groupingMarker:
      var indexes: [Int] = []
      for argument in arguments {
        guard let index = keys.firstIndex(where: { $0.expression.isSame(as: argument) }) else {
          throw SQLError(
            .groupingError, "arguments to GROUPING must be grouping expressions of the associated query level",
            position: argument.position)
        }
        indexes.append(index)
      }
      let slot = binder.newSlot(.int4)
      groupings.append((indexes, slot))
      return .column(slot, .int4, at: expression.position)
    case .column(let slot):
      guard inputSlots.contains(slot), !keySlots.contains(slot) else { return expression }
      throw SQLError(
        .groupingError,
        "column \"\(binder.describe(slot))\" must appear in the GROUP BY clause or be used in an aggregate function",
        position: expression.position)
    case .subplan(let id, _):
      for slot in binder.subqueries[id].outer where inputSlots.contains(slot) && !keySlots.contains(slot) {
        throw SQLError(
          .groupingError, "subquery uses ungrouped column \"\(binder.describe(slot))\" from outer query",
          position: expression.position)
      }
      return try expression.mapChildren { (child) throws(SQLError) in try rewrite(child) }
    default:
      return try expression.mapChildren { (child) throws(SQLError) in try rewrite(child) }
    }
  }
}
