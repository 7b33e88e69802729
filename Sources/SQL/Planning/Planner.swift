// From meaning to a way to compute it.
//
// Predicates go down as far as their slots allow; a table is read by the cheapest of its own order and its indexes; inner
// joins are ordered greedily, cheapest first, and joined by hash, by index lookups or by loops; an order that a scan gives
// anyway is not sorted again. Costs count rows read in order as 1.
//
// 1. A predicate is tested exactly once on every row for which the query needs it, or implied by an index bound.
// 2. Predicates with subqueries are tested after those without.
// 3. What an outer join must not see before it pads with nulls is not pushed below it.

internal import Platform

/// Plans one bound statement.
final class Planner {
  let binder: Binder
  let rowCount: (TableDescriptor) -> Double
  let statistics: StatisticsStore
  /// Row counts asked for already.
  private var counts: [ObjectID: Double] = [:]
  /// Set where a tree was too deep to be planned: the plan is then not to be run.
  private(set) var isTooDeep = false

  /// - Parameter rowCount: the rows of a table of which nothing is known.
  init(binder: Binder, statistics: StatisticsStore, rowCount: @escaping (TableDescriptor) -> Double) {
    self.binder = binder
    self.statistics = statistics
    self.rowCount = rowCount
  }

  enum Cost {
    static let seek = 5.0
    static let leastRows = 100.0
    static let fetch = 4.0
    static let indexRow = 1.2
    static let test = 0.1
    static let hashBuild = 1.5
    static let hashProbe = 0.6
    static let output = 0.05
    static let compare = 0.25
  }

  func rows(_ table: TableDescriptor) -> Double {
    if let known = counts[table.id] { return known }
    let count = statistics.find(table.storage)?.rows ?? rowCount(table)
    counts[table.id] = max(count, 1)
    return max(count, 1)
  }

  /// The slots that an expression reads, its subqueries' outer ones included.
  func slots(_ expression: TypedExpression) -> Set<FrameSlot> {
    var used: Set<FrameSlot> = []
    binder.collectSlots(expression, &used)
    return used
  }
  func slots(_ expressions: [TypedExpression]) -> Set<FrameSlot> {
    expressions.reduce(into: []) { binder.collectSlots($1, &$0) }
  }

  // MARK: Statements

  func plan(_ query: BoundQuery) -> PlannedStatement {
    let root = plan(query.plan, needed: slots(query.columns.map(\.expression)))
    return finish(.query(root), query.columns)
  }

  func plan(_ modification: BoundModification) -> PlannedStatement {
    finish(.modification(planned(modification)), modification.returning)
  }

  private func finish(_ body: PlannedStatement.Body, _ columns: [OutputColumn]) -> PlannedStatement {
    // Planning a subquery plans those inside it: they are in the list already.
    let subqueries = binder.subqueries.map { subquery -> PlannedSubquery in
      let columns = subquery.query.columns.map(\.expression)
      return PlannedSubquery(
        bound: subquery, plan: plan(subquery.query.plan, needed: slots(columns)), columns: columns,
        isConstant: subquery.outer.isEmpty)
    }
    let commons = binder.commonTables.map { table -> PlannedCommonTable in
      switch table.body {
      case .query(let query):
        let columns = query.columns.map(\.expression)
        return PlannedCommonTable(
          name: table.name, body: .query(plan(query.plan, needed: slots(columns)), columns: columns),
          references: table.references)
      case .modification(let modification):
        return PlannedCommonTable(
          name: table.name, body: .modification(planned(modification)), references: table.references)
      }
    }
    return PlannedStatement(
      body: body, columns: columns, slotTypes: binder.slotTypes, parameterTypes: binder.resolver.parameterTypes,
      subqueries: subqueries, commonTables: commons, relations: binder.relationsUsed,
      catalogVersion: binder.catalog.version)
  }

  private func planned(_ modification: BoundModification) -> PlannedModification {
    var needed: Set<FrameSlot> = [modification.keySlot]
    var setPlaces: Set<Int> = []
    switch modification.kind {
    case .insert(let insert): needed.formUnion(slots(insert.values))
    case .update(let update):
      needed.formUnion(slots(update.assignments.map(\.value)))
      needed.formUnion(modification.table.columns.map { modification.base + $0.place })
      setPlaces = Set(update.assignments.map(\.place))
    case .delete: needed.formUnion(deletedPlaces(modification.table).map { modification.base + $0 })
    }
    if let recheck = modification.recheck { needed.formUnion(slots(recheck)) }
    if case .insert = modification.kind {} else { needed.formUnion(slots(modification.returning.map(\.expression))) }
    let source = plan(modification.source, needed: needed)
    let saved = needed.filter { modification.source.slots.contains($0) }.sorted()
    return PlannedModification(
      bound: modification, source: source, mustMaterialize: mustMaterialize(modification, source, setPlaces),
      saved: saved, rowPlaces: places(modification))
  }

  /// The columns of the old row that an UPDATE or DELETE looks at.
  private func places(_ modification: BoundModification) -> [Int] {
    if case .delete = modification.kind { return deletedPlaces(modification.table) }
    return modification.table.columns.map(\.place)
  }

  /// What the deletion of a row must know of it: the columns of its index entries, and those that others refer to.
  private func deletedPlaces(_ table: TableDescriptor) -> [Int] {
    var places: Set<Int> = []
    for index in table.secondaryIndexes {
      if index.predicate != nil || index.keys.contains(where: { $0.column == nil }) {
        return table.columns.map(\.place)
      }
      for key in index.keys { places.insert(key.column! - 1) }
    }
    for reference in binder.catalog.referencing[table.id] ?? [] {
      places.formUnion(reference.key.referencedColumns.map { $0 - 1 })
    }
    return places.sorted()
  }

  /// Whether the source could meet what the statement writes: another scan of the table, a subquery, or a scan of an
  /// index that the update moves rows in.
  private func mustMaterialize(
    _ modification: BoundModification, _ source: PlanNode, _ setPlaces: Set<Int>
  ) -> Bool {
    if !binder.subqueries.isEmpty || !binder.commonTables.isEmpty { return true }
    if !(binder.catalog.referencing[modification.table.id] ?? []).isEmpty { return true }
    var scans = 0
    var moves = false
    func visit(_ node: PlanNode) {
      if case .scan(let scan) = node.kind, scan.scan.table.storage == modification.table.storage {
        scans += 1
        let index = scan.path.index ?? modification.table.primaryIndex
        for key in index?.keys ?? [] {
          if let column = key.column, setPlaces.contains(column - 1) { moves = true }
          if key.expression != nil { moves = true }
        }
      }
      for input in node.kind.inputs { visit(input) }
    }
    visit(source)
    if case .insert = modification.kind { return scans > 0 }
    return moves || scans > 1
  }

  // MARK: Trees

  /// The plan of `node`, with `filters` tested at or below it.
  ///
  /// - Parameters:
  ///   - needed: the slots that are read above.
  ///   - wanted: an order that would be welcome.
  ///   - limit: how many rows will be taken, if that is known.
  func plan(
    _ node: LogicalPlan, needed: Set<FrameSlot>, filters: [TypedExpression] = [], wanted: [SortKey] = [],
    limit: Double? = nil
  ) -> PlanNode {
    if isTooDeep || StackGuard.isLow {
      isTooDeep = true
      return PlanNode(.empty, rows: 0, cost: 0)
    }
    switch node {
    case .oneRow: return filtered(PlanNode(.oneRow, rows: 1, cost: 0), filters)
    case .scan(let scan): return self.scan(scan, needed: needed, filters: filters, wanted: wanted, limit: limit)
    case .system(let relation, let slots, let alias):
      return filtered(PlanNode(.system(relation, slots: slots, alias: alias), rows: 100, cost: 200), filters)
    case .values(let rows, let slots):
      let count = Double(rows.count)
      return filtered(PlanNode(.values(rows, slots: slots), rows: count, cost: count * 0.2), filters)
    case .constants(let rows, let slots):
      let count = Double(rows.count)
      return filtered(PlanNode(.constants(rows, slots: slots), rows: count, cost: count * 0.2), filters)
    case .function(let function): return filtered(functionScan(function), filters)
    case .filter(let input, let condition):
      return filter(input, condition, needed: needed, filters: filters, wanted: wanted, limit: limit)
    case .project(let input, let items):
      return project(input, items, needed: needed, filters: filters, wanted: wanted, limit: limit)
    case .projectSet(let input, let function):
      let own = Set(function.slots)
      let (below, above) = split(filters) { $0.isDisjoint(with: own) }
      let child = plan(
        input, needed: needed.union(slots(function.expressions)).union(slots(above)), filters: below)
      return filtered(
        PlanNode(.projectSet(child, function), rows: child.rows * 10, cost: child.cost + child.rows * 10), above)
    case .join: return join(node, needed: needed, filters: filters)
    case .aggregate(let aggregate): return self.aggregate(aggregate, needed: needed, filters: filters)
    case .window(let window): return self.window(window, needed: needed, filters: filters)
    case .distinct(let input, let keys): return distinct(input, keys, needed: needed, filters: filters, limit: limit)
    case .sort(let input, let keys): return sort(input, keys, needed: needed, filters: filters, limit: limit)
    case .limit(let input, let count, let offset, let ties):
      return filtered(self.limit(input, count, offset, ties, needed: needed.union(slots(filters))), filters)
    case .lock(let lock):
      var inner = needed.union(slots(filters)).union(lock.targets.map(\.keySlot))
      if let recheck = lock.recheck { inner.formUnion(slots(recheck)) }
      let child = plan(lock.input, needed: inner, wanted: wanted)
      return filtered(
        PlanNode(.lock(lock, child), rows: child.rows, cost: child.cost + child.rows * 2, order: child.order), filters)
    case .setOperation(let operation): return setOperation(operation, filters: filters)
    case .common(let id, let slots, let name):
      if let inlined = inlined(id, slots) {
        return plan(inlined, needed: needed, filters: filters, wanted: wanted, limit: limit)
      }
      return filtered(PlanNode(.common(id, slots: slots, name: name), rows: 1000, cost: 500), filters)
    case .recursive(let recursive):
      let initial = plan(recursive.initial, needed: slots(recursive.initialColumns))
      let step = plan(recursive.step, needed: slots(recursive.stepColumns))
      let rows = initial.rows * 10
      return filtered(
        PlanNode(.recursive(recursive, initial, step), rows: rows, cost: initial.cost + 10 * step.cost), filters)
    case .working(let id, let slots):
      return filtered(PlanNode(.working(id, slots: slots), rows: 100, cost: 50), filters)
    }
  }

  /// The predicates of which `isBelow` holds for their slots, and the others.
  func split(
    _ filters: [TypedExpression], _ isBelow: (Set<FrameSlot>) -> Bool
  ) -> (below: [TypedExpression], above: [TypedExpression]) {
    var below: [TypedExpression] = []
    var above: [TypedExpression] = []
    for filter in filters { if isBelow(slots(filter)) { below.append(filter) } else { above.append(filter) } }
    return (below, above)
  }

  func filtered(_ node: PlanNode, _ filters: [TypedExpression]) -> PlanNode {
    guard let condition = TypedExpression.conjunction(ordered(filters)) else { return node }
    if isNever(condition) { return PlanNode(.empty, rows: 0, cost: 0) }
    let rows = node.rows * filters.reduce(1) { $0 * selectivity($1) }
    return PlanNode(
      .filter(node, condition), rows: rows, startup: node.startup, cost: node.cost + node.rows * Cost.test,
      order: node.order)
  }

  private func isNever(_ condition: TypedExpression) -> Bool {
    condition.conjuncts.contains { $0.constantValue == .bool(false) || $0.constantValue == .null }
  }

  /// Cheap tests first; true ones not at all.
  func ordered(_ filters: [TypedExpression]) -> [TypedExpression] {
    let kept = filters.filter { $0.constantValue != .bool(true) }
    func hasSubquery(_ expression: TypedExpression) -> Bool {
      expression.contains { if case .subplan = $0.node { true } else { false } }
    }
    return kept.filter { !hasSubquery($0) } + kept.filter(hasSubquery)
  }

  private func functionScan(_ function: FunctionScanNode) -> PlanNode {
    var rows = 1.0
    for item in function.items {
      guard case .set(let set, let arguments) = item.call else { continue }
      // generate_series over constants is counted; everything else is a guess.
      if set.name == "generate_series", arguments.count >= 2, case .int(let from)? = arguments[0].constantValue,
        case .int(let to)? = arguments[1].constantValue
      {
        var step = 1.0
        if arguments.count > 2, case .int(let given)? = arguments[2].constantValue, given != 0 { step = Double(given) }
        rows = max(rows, ((Double(to) - Double(from)) / step).rounded(.down) + 1)
      } else {
        rows = max(rows, set.name == "unnest" ? 10 : 100)
      }
    }
    return PlanNode(.function(function), rows: rows, cost: rows)
  }

  private func project(
    _ input: LogicalPlan, _ items: [(slot: FrameSlot, expression: TypedExpression)], needed: Set<FrameSlot>,
    filters: [TypedExpression], wanted: [SortKey], limit: Double?
  ) -> PlanNode {
    let own = Dictionary(items.map { ($0.slot, $0.expression) }, uniquingKeysWith: { a, _ in a })
    var below: [TypedExpression] = []
    var above: [TypedExpression] = []
    for filter in filters {
      let used = slots(filter).intersection(own.keys)
      if used.isEmpty {
        below.append(filter)
      } else if used.allSatisfy({ isMovable(own[$0]!) }) {
        below.append(substitute(filter, own))
      } else {
        above.append(filter)
      }
    }
    let kept = items.filter {
      needed.contains($0.slot) || slots(above).contains($0.slot) || $0.expression.callsVolatile
    }
    let inner = needed.union(slots(kept.map(\.expression))).union(slots(above)).subtracting(own.keys)
    let child = plan(
      input, needed: inner, filters: below,
      wanted: wanted.allSatisfy { slots($0.expression).isDisjoint(with: own.keys) } ? wanted : [], limit: limit)
    if kept.isEmpty { return filtered(child, above) }
    let node = PlanNode(
      .project(child, kept), rows: child.rows, startup: child.startup, cost: child.cost + child.rows * Cost.test,
      order: child.order)
    return filtered(node, above)
  }

  /// Whether computing the expression elsewhere, or twice, changes nothing.
  private func isMovable(_ expression: TypedExpression) -> Bool {
    !expression.callsVolatile && !expression.contains { if case .subplan = $0.node { true } else { false } }
  }

  func substitute(_ expression: TypedExpression, _ map: [FrameSlot: TypedExpression]) -> TypedExpression {
    expression.rewritten { node in
      if case .column(let slot) = node.node, let replacement = map[slot] { return replacement }
      return node
    }
  }

  /// A common table that is read once and need not be kept is planned where it is read.
  private func inlined(_ id: Int, _ slots: [FrameSlot]) -> LogicalPlan? {
    let table = binder.commonTables[id]
    guard case .query(let query) = table.body else { return nil }
    guard table.materialized == false || (table.materialized == nil && table.references == 1) else { return nil }
    var isPlain = true
    query.plan.forEachNode { node in
      if case .recursive = node { isPlain = false }
      if case .lock = node { isPlain = false }
      if node.expressions.contains(where: \.callsVolatile) { isPlain = false }
    }
    if query.columns.contains(where: { $0.expression.callsVolatile }) { isPlain = false }
    guard isPlain, table.references == 1 else { return nil }
    return .project(query.plan, zip(slots, query.columns).map { ($0, $1.expression) })
  }

  // MARK: Estimates

  /// The fraction of rows that satisfy `condition`.
  func selectivity(_ condition: TypedExpression) -> Double {
    if let (comparison, left, right) = condition.comparison {
      switch comparison {
      case .equal:
        if let distinct = distinctValues(left) ?? distinctValues(right) { return 1 / max(distinct, 1) }
        return 0.005
      case .notEqual: return 0.995
      default: return 0.33
      }
    }
    switch condition.node {
    case .constant(.bool(let value)): return value ? 1 : 0
    case .and(let parts): return parts.reduce(1) { $0 * selectivity($1) }
    case .or(let parts): return min(1, parts.reduce(0) { $0 + selectivity($1) })
    case .not(let part): return 1 - selectivity(part)
    case .isNull(_, let negated): return negated ? 0.99 : 0.01
    case .inList(let subject, let list, _, let negated):
      let one = distinctValues(subject).map { 1 / max($0, 1) } ?? 0.005
      let all = min(1, one * Double(list.count))
      return negated ? 1 - all : all
    case .quantified: return 0.05
    case .call(let function, _):
      if case .like? = function.intrinsic { return 0.05 }
      return 0.33
    default: return 0.33
    }
  }

  /// The number of distinct values of a column; nil if the expression is none or nothing is known.
  private func distinctValues(_ expression: TypedExpression) -> Double? {
    guard let slot = expression.withoutRelabel.columnSlot, let (table, place) = tableColumn(slot) else { return nil }
    let count = rows(table)
    if let index = table.indexes.first(where: { $0.isUnique && $0.predicate == nil && $0.keys.count == 1 }),
      index.keys[0].column == place + 1
    {
      return count
    }
    return statistics.find(table.storage)?.columns[place]?.distinct
  }

  /// The table and place of a slot that is a table's column.
  func tableColumn(_ slot: FrameSlot) -> (TableDescriptor, Int)? { scannedColumns[slot] }
  private lazy var scannedColumns: [FrameSlot: (TableDescriptor, Int)] = {
    var map: [FrameSlot: (TableDescriptor, Int)] = [:]
    for (base, table) in binder.scannedTables {
      for column in table.columns { map[base + column.place] = (table, column.place) }
    }
    return map
  }()
}

extension TypedExpression {
  /// The expression under casts that change nothing.
  var withoutRelabel: TypedExpression {
    switch node {
    case .cast(let inner, .relabel), .collate(let inner, _): inner.withoutRelabel
    default: self
    }
  }
}
