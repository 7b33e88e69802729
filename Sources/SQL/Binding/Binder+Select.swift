extension Binder {
  /// SELECT with the ORDER BY, LIMIT and locking of the query around it.
  func select(_ select: Syntax.Select, _ query: Syntax.Query, _ scope: Scope) throws(SQLError) -> BoundQuery {
    var plan = try from(select.from, scope)
    var filter: TypedExpression?
    if let condition = select.condition {
      filter = try self.condition(condition, scope, .whereClause, "WHERE")
      plan = .filter(plan, filter!)
    }
    let context = SelectContext()
    context.namedWindows = select.windows
    scope.select = context
    var parts = SelectParts()
    parts.outputs = try targets(select.targets, scope, .select)
    try groupBy(select, scope, &parts)
    if let having = select.having { parts.having = try condition(having, scope, .having, "HAVING") }
    parts.order = try orderBy(query.orderBy, parts.outputs, scope)
    if case .on(let expressions) = select.distinct {
      for expression in expressions {
        parts.distinctOn.append(try outputReference(expression, parts.outputs, scope, .distinctOn))
      }
      try checkDistinctOn(parts)
    }
    for index in context.windows.indices { parts.windows.append(context.windows[index]) }

    if parts.isGrouped(select) { plan = try group(plan, &parts) }
    if !parts.windows.isEmpty { plan = windows(plan, &parts) }
    if !context.setCalls.isEmpty {
      var node = FunctionScanNode(items: context.setCalls, ordinality: nil, alias: "")
      node.items = context.setCalls
      plan = .projectSet(plan, node)
    }
    plan = try distinct(plan, select.distinct, &parts)
    return try finish(plan, parts, query, filter, scope)
  }

  /// The parts of a SELECT while it is bound: every expression in one place, so that grouping and windows rewrite all.
  struct SelectParts {
    var outputs: [OutputColumn] = []
    var keys: [GroupKey] = []
    var sets: [[Int]] = []
    var hasGroupBy = false
    var having: TypedExpression?
    var order: [SortKey] = []
    var distinctOn: [TypedExpression] = []
    var windows: [BoundWindow] = []
    /// Whether rows are in the order of `order` already.
    var isOrdered = false

    func isGrouped(_ select: Syntax.Select) -> Bool {
      if hasGroupBy || having != nil { return true }
      func aggregates(_ expression: TypedExpression) -> Bool {
        expression.contains {
          if case .aggregate = $0.node { true } else { $0.type == Binder.groupingMarker }
        }
      }
      return outputs.contains { aggregates($0.expression) } || order.contains { aggregates($0.expression) }
        || distinctOn.contains(where: aggregates)
        || windows.contains {
          $0.partition.contains(where: aggregates) || $0.order.contains { aggregates($0.expression) }
        }
    }

    mutating func rewrite(_ change: (TypedExpression) throws(SQLError) -> TypedExpression) throws(SQLError) {
      for index in outputs.indices { outputs[index].expression = try change(outputs[index].expression) }
      if let condition = having { having = try change(condition) }
      for index in order.indices { order[index].expression = try change(order[index].expression) }
      for index in distinctOn.indices { distinctOn[index] = try change(distinctOn[index]) }
      for window in windows.indices {
        for index in windows[window].partition.indices {
          windows[window].partition[index] = try change(windows[window].partition[index])
        }
        for index in windows[window].order.indices {
          windows[window].order[index].expression = try change(windows[window].order[index].expression)
        }
      }
    }
  }

  // MARK: The list

  /// A select or RETURNING list: stars expanded, names found, literals settled.
  func targets(
    _ targets: [Syntax.Target], _ scope: Scope, _ clause: Clause
  ) throws(SQLError) -> [OutputColumn] {
    var outputs: [OutputColumn] = []
    for target in targets {
      if case .star(let qualifier) = target.expression.kind {
        let columns = try star(qualifier, scope, at: target.expression.position)
        if starNames != nil { starNames?[target.expression.position] = columns.map { name(of: $0, scope) } }
        for column in columns {
          outputs.append(
            OutputColumn(
              name: column.name, expression: column.expression, table: column.table, columnNumber: column.number))
        }
        continue
      }
      // A literal of a select list stays unknown: a set operation or INSERT around it decides.
      let bound = try bind(target.expression, scope, clause)
      let expression = clause == .select ? bound : try resolver.settle(bound)
      var output = OutputColumn(name: target.alias ?? outputName(target.expression), expression: expression)
      if case .column(let parts) = target.expression.kind {
        let found =
          parts.count == 1
          ? try scope.column(parts[0], at: target.position)
          : try scope.item(parts[parts.count - 2], schema: nil, at: target.position)?.columns
            .first { $0.name == parts[parts.count - 1] }
        output.table = found?.table
        output.columnNumber = found?.number
      }
      outputs.append(output)
    }
    guard outputs.count <= 1664 else {
      throw SQLError(.tooManyColumns, "target lists can have at most 1664 entries")
    }
    return outputs
  }

  /// A name by which the column can be found in the scope, with its table's where that says which it is.
  private func name(of column: ScopeColumn, _ scope: Scope) -> [String] {
    let items = scope.namespace.items
    let item = items.first { item in
      item.columns.contains { $0.name == column.name && $0.expression.isSame(as: column.expression) }
    }
    guard let item, !item.alias.isEmpty, items.count(where: { $0.alias == item.alias }) == 1 else {
      return [column.name]
    }
    return [item.alias, column.name]
  }

  private func star(_ qualifier: [String], _ scope: Scope, at position: Int) throws(SQLError) -> [ScopeColumn] {
    if qualifier.isEmpty {
      guard !scope.namespace.items.isEmpty else {
        throw SQLError(.syntaxError, "SELECT * with no tables specified is not valid", position: place(position))
      }
      for column in scope.namespace.columns { note(column) }
      return scope.namespace.columns
    }
    let name = qualifier[qualifier.count - 1]
    let schema = qualifier.count > 1 ? qualifier[qualifier.count - 2] : nil
    guard let item = try scope.item(name, schema: schema, at: position) else {
      throw SQLError(
        .undefinedTable, "missing FROM-clause entry for table \"\(name)\"", position: place(position))
    }
    for column in item.columns { note(column) }
    return item.columns
  }

  // MARK: GROUP BY, ORDER BY, DISTINCT ON by number and by output name

  /// ORDER BY and DISTINCT ON: a number or an output's name means the output; anything else is an expression.
  private func outputReference(
    _ syntax: Syntax.Expression, _ outputs: [OutputColumn], _ scope: Scope, _ clause: Clause
  ) throws(SQLError) -> TypedExpression {
    if let ordinal = try ordinal(syntax, outputs.count, clause) { return outputs[ordinal].expression }
    if case .column(let parts) = syntax.kind, parts.count == 1 {
      let found = outputs.filter { $0.name == parts[0] }
      if let first = found.first {
        guard found.allSatisfy({ $0.expression.isSame(as: first.expression) }) else {
          throw SQLError(
            .ambiguousColumn, "\(clause.phrase) \"\(parts[0])\" is ambiguous", position: place(syntax.position))
        }
        return first.expression
      }
    }
    return try resolver.settle(try bind(syntax, scope, clause))
  }

  private func ordinal(
    _ syntax: Syntax.Expression, _ count: Int, _ clause: Clause
  ) throws(SQLError) -> Int? {
    switch syntax.kind {
    case .number(let text):
      guard let n = Int(text) else {
        throw SQLError(
          .syntaxError, "non-integer constant in \(clause.phrase)", position: place(syntax.position))
      }
      guard (1...max(count, 1)).contains(n), n <= count else {
        throw SQLError(
          .invalidColumnReference, "\(clause.phrase) position \(n) is not in select list",
          position: place(syntax.position))
      }
      return n - 1
    case .string, .null, .boolean:
      if case .boolean = syntax.kind { return nil }
      throw SQLError(.syntaxError, "non-integer constant in \(clause.phrase)", position: place(syntax.position))
    default: return nil
    }
  }

  func orderBy(
    _ items: [Syntax.SortItem], _ outputs: [OutputColumn], _ scope: Scope
  ) throws(SQLError) -> [SortKey] {
    var keys: [SortKey] = []
    for item in items {
      let key = try sortKey(item, try outputReference(item.expression, outputs, scope, .orderBy))
      if keys.contains(where: { $0.expression.isSame(as: key.expression) }) { continue }
      keys.append(key)
    }
    return keys
  }

  private func groupBy(
    _ select: Syntax.Select, _ scope: Scope, _ parts: inout SelectParts
  ) throws(SQLError) {
    parts.hasGroupBy = !select.groupBy.isEmpty
    var sets: [[Int]] = [[]]
    for element in select.groupBy {
      let alternatives = try groupingSets(element, scope, &parts)
      sets = sets.flatMap { left in
        alternatives.map { right in left + right.filter { !left.contains($0) } }
      }
      guard sets.count <= 4096 else {
        throw SQLError(.programLimit, "too many grouping sets present (maximum 4096)")
      }
    }
    if select.groupByDistinct {
      var seen: Set<Set<Int>> = []
      sets = sets.filter { seen.insert(Set($0)).inserted }
    }
    parts.sets = sets
  }

  /// The grouping sets of one element, as indexes of keys.
  private func groupingSets(
    _ element: Syntax.GroupingElement, _ scope: Scope, _ parts: inout SelectParts
  ) throws(SQLError) -> [[Int]] {
    func all(_ elements: [Syntax.GroupingElement], _ parts: inout SelectParts) throws(SQLError) -> [[Int]] {
      var result: [[Int]] = []
      for element in elements { result.append(try groupingSets(element, scope, &parts).first ?? []) }
      return result
    }
    switch element {
    case .empty: return [[]]
    case .expression(let expression):
      if case .row(let items, _) = expression.kind {
        var keys: [Int] = []
        for item in items { keys.append(try groupKey(item, scope, &parts)) }
        return [keys]
      }
      return [[try groupKey(expression, scope, &parts)]]
    case .rollup(let elements):
      let lists = try all(elements, &parts)
      return (0...lists.count).reversed().map { n in lists.prefix(n).flatMap { $0 } }
    case .cube(let elements):
      guard elements.count <= 12 else { throw SQLError(.programLimit, "CUBE is limited to 12 elements") }
      let lists = try all(elements, &parts)
      return (0..<(1 << lists.count)).reversed().map { mask in
        lists.indices.filter { mask >> (lists.count - 1 - $0) & 1 == 1 }.flatMap { lists[$0] }
      }
    case .sets(let elements):
      var result: [[Int]] = []
      for element in elements { result += try groupingSets(element, scope, &parts) }
      return result
    }
  }

  private func groupKey(
    _ syntax: Syntax.Expression, _ scope: Scope, _ parts: inout SelectParts
  ) throws(SQLError) -> Int {
    var expression: TypedExpression
    if let n = try ordinal(syntax, parts.outputs.count, .groupBy) {
      parts.outputs[n].expression = try resolver.settle(parts.outputs[n].expression)
      expression = parts.outputs[n].expression
    } else if case .column(let names) = syntax.kind, names.count == 1,
      try scope.column(names[0], at: syntax.position) == nil,
      let output = parts.outputs.first(where: { $0.name == names[0] })
    {
      // A column of FROM comes before an output's name here: the other way round than in ORDER BY, as in PostgreSQL.
      expression = output.expression
    } else {
      expression = try resolver.settle(try bind(syntax, scope, .groupBy))
    }
    if expression.contains({ if case .aggregate = $0.node { true } else { false } }) {
      throw SQLError(
        .groupingError, "aggregate functions are not allowed in GROUP BY", position: place(syntax.position))
    }
    if expression.contains({ if case .window = $0.node { true } else { false } }) {
      throw SQLError(
        .windowingError, "window functions are not allowed in GROUP BY", position: place(syntax.position))
    }
    guard ValueOrder(expression.type.id) != nil else {
      throw SQLError(
        .undefinedFunction, "could not identify an equality operator for type \(expression.type.description)",
        position: place(syntax.position))
    }
    if let index = parts.keys.firstIndex(where: { $0.expression.isSame(as: expression) }) { return index }
    let slot = expression.columnSlot ?? newSlot(expression.type)
    parts.keys.append(GroupKey(expression: expression, slot: slot))
    return parts.keys.count - 1
  }

  private func checkDistinctOn(_ parts: SelectParts) throws(SQLError) {
    guard !parts.order.isEmpty else { return }
    for (index, key) in parts.order.enumerated() {
      if index >= parts.distinctOn.count { break }
      guard parts.distinctOn.contains(where: { $0.isSame(as: key.expression) }) else {
        throw SQLError(
          .invalidColumnReference, "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
          position: parts.distinctOn.first?.position)
      }
    }
  }

  // MARK: DISTINCT, ORDER BY, LIMIT

  private func distinct(
    _ input: LogicalPlan, _ distinct: Syntax.Distinct?, _ parts: inout SelectParts
  ) throws(SQLError) -> LogicalPlan {
    guard case .rows = distinct else { return input }
    for index in parts.outputs.indices {
      parts.outputs[index].expression = try resolver.settle(parts.outputs[index].expression)
    }
    for output in parts.outputs where ValueOrder(output.expression.type.id) == nil {
      throw SQLError(
        .undefinedFunction,
        "could not identify an equality operator for type \(output.expression.type.description)",
        position: output.expression.position)
    }
    for key in parts.order {
      guard parts.outputs.contains(where: { $0.expression.isSame(as: key.expression) }) else {
        throw SQLError(
          .invalidColumnReference, "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
          position: key.expression.position)
      }
    }
    var computed: [(slot: FrameSlot, expression: TypedExpression)] = []
    for index in parts.outputs.indices { materialise(parts.outputs[index].expression, &computed, &parts) }
    let projected: LogicalPlan = computed.isEmpty ? input : .project(input, computed)
    return .distinct(projected, slots: parts.outputs.map(\.expression))
  }

  /// Computes `expression` into a slot once, and lets every part that is the same expression read the slot.
  private func materialise(
    _ expression: TypedExpression, _ computed: inout [(slot: FrameSlot, expression: TypedExpression)],
    _ parts: inout SelectParts
  ) {
    guard expression.columnSlot == nil else { return }
    let slot = newSlot(expression.type)
    computed.append((slot, expression))
    for index in parts.outputs.indices where parts.outputs[index].expression.isSame(as: expression) {
      parts.outputs[index].expression = .column(slot, expression.type, at: expression.position)
    }
    for index in parts.order.indices where parts.order[index].expression.isSame(as: expression) {
      parts.order[index].expression = .column(slot, expression.type, at: expression.position)
    }
    for index in parts.distinctOn.indices where parts.distinctOn[index].isSame(as: expression) {
      parts.distinctOn[index] = .column(slot, expression.type, at: expression.position)
    }
  }

  private func finish(
    _ input: LogicalPlan, _ start: SelectParts, _ query: Syntax.Query, _ filter: TypedExpression?, _ scope: Scope
  ) throws(SQLError) -> BoundQuery {
    var parts = start
    var plan = input
    var computed: [(slot: FrameSlot, expression: TypedExpression)] = []
    // Sort keys are computed once, and before the sort: ORDER BY random() must order by what it shows.
    for key in start.order { materialise(key.expression, &computed, &parts) }
    for expression in start.distinctOn { materialise(expression, &computed, &parts) }
    // A volatile output is computed for every row that the query makes, whatever LIMIT takes.
    for output in start.outputs where output.expression.callsVolatile && query.limit != nil {
      materialise(output.expression, &computed, &parts)
    }
    if !computed.isEmpty { plan = .project(plan, computed) }
    if !parts.order.isEmpty { plan = .sort(plan, parts.order) }
    if !parts.distinctOn.isEmpty { plan = .distinct(plan, slots: parts.distinctOn) }
    plan = try lock(plan, query.locking, filter, scope)
    plan = try limit(plan, query, parts.order)
    return BoundQuery(plan: plan, columns: parts.outputs)
  }

  func limit(_ plan: LogicalPlan, _ query: Syntax.Query, _ order: [SortKey]) throws(SQLError) -> LogicalPlan {
    func count(_ syntax: Syntax.Expression?, _ construct: String) throws(SQLError) -> TypedExpression? {
      guard let syntax else { return nil }
      let bound = try bind(syntax, Scope(parent: nil), .limit)
      return try resolver.bigint(bound, construct)
    }
    let count_ = try count(query.limit?.count, "LIMIT")
    let offset = try count(query.offset, "OFFSET")
    guard count_ != nil || offset != nil else { return plan }
    var ties: [SortKey]?
    if query.limit?.withTies == true {
      guard !order.isEmpty else {
        throw SQLError(.syntaxError, "WITH TIES cannot be specified without ORDER BY clause")
      }
      ties = order
    }
    return .limit(plan, count: count_, offset: offset, withTies: ties)
  }
}

extension TypedExpression {
  /// Whether a volatile function is called below (subqueries do not count).
  var callsVolatile: Bool {
    contains {
      switch $0.node {
      case .call(let function, _): function.volatility == .volatile
      case .cast(_, .function(let function)): function.volatility == .volatile
      default: false
      }
    }
  }
}
