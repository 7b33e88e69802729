internal import Platform

extension Binder {
  /// Binds a query; `parent` is the scope around it, whose names it may use.
  func bind(_ query: Syntax.Query, parent: Scope?) throws(SQLError) -> BoundQuery {
    try StackGuard.check()
    let scope = Scope(parent: parent)
    if let with = query.with { try self.with(with, scope) }
    switch query.body {
    case .select(let select): return try self.select(select, query, scope)
    case .table(let name):
      var select = Syntax.Select()
      select.targets = [Syntax.Target(expression: Syntax.Expression(.star([]), name.position))]
      select.from = [.relation(Syntax.RelationReference(relation: name))]
      return try self.select(select, query, scope)
    case .values(let rows): return try ordered(try values(rows, scope, .values), query, scope)
    case .setOperation(let operation): return try ordered(try setOperation(operation, scope), query, scope)
    }
  }

  // MARK: VALUES

  /// A VALUES list: one type a column, found over all rows.
  func values(
    _ rows: Syntax.ValueRows, _ scope: Scope, _ clause: Clause
  ) throws(SQLError) -> BoundQuery {
    var bound: [[TypedExpression]] = []
    let width = rows.width
    for row in rows {
      guard row.count == width else {
        throw SQLError(
          .syntaxError, "VALUES lists must all be the same length", position: row.first.flatMap { place($0.position) })
      }
      bound.append(try bind(row, scope, clause))
    }
    var columns: [OutputColumn] = []
    for column in 0..<width {
      let (unified, type) = try resolver.unify(bound.map { $0[column] }, "VALUES")
      for row in bound.indices { bound[row][column] = unified[row] }
      let slot = newSlot(type)
      slotNames[slot] = "*VALUES*.column\(column + 1)"
      columns.append(OutputColumn(name: "column\(column + 1)", expression: .column(slot, type)))
    }
    let slots = columns.compactMap(\.expression.columnSlot)
    return BoundQuery(plan: .values(bound, slots: slots), columns: columns)
  }

  // MARK: Set operations

  private func setOperation(
    _ operation: Syntax.SetOperation, _ scope: Scope
  ) throws(SQLError) -> BoundQuery {
    let left = try bind(operation.left, parent: scope)
    let right = try bind(operation.right, parent: scope)
    return try combine(operation, left, right)
  }

  private func combine(
    _ operation: Syntax.SetOperation, _ left: BoundQuery, _ right: BoundQuery
  ) throws(SQLError) -> BoundQuery {
    let name = operation.kind == .union ? "UNION" : operation.kind == .intersect ? "INTERSECT" : "EXCEPT"
    guard left.columns.count == right.columns.count else {
      throw SQLError(
        .syntaxError, "each \(name) query must have the same number of columns",
        position: right.columns.first?.expression.position ?? place(operation.position))
    }
    var node = SetOperationNode(
      kind: operation.kind, all: operation.all, left: left.plan, leftColumns: [], right: right.plan, rightColumns: [],
      slots: [])
    var columns: [OutputColumn] = []
    for (l, r) in zip(left.columns, right.columns) {
      let (parts, type) = try resolver.unify([l.expression, r.expression], name)
      if !operation.all || operation.kind != .union, ValueOrder(type.id) == nil {
        throw SQLError(
          .undefinedFunction, "could not identify an equality operator for type \(type.description)",
          position: l.expression.position)
      }
      node.leftColumns.append(parts[0])
      node.rightColumns.append(parts[1])
      let slot = newSlot(type)
      node.slots.append(slot)
      columns.append(OutputColumn(name: l.name, expression: .column(slot, type)))
    }
    return BoundQuery(plan: .setOperation(node), columns: columns)
  }

  /// ORDER BY and LIMIT over VALUES or a set operation: only output columns can be named.
  private func ordered(
    _ bound: BoundQuery, _ query: Syntax.Query, _ scope: Scope
  ) throws(SQLError) -> BoundQuery {
    var plan = bound.plan
    let names = Scope(parent: nil)
    names.namespace.columns = bound.columns.map { ScopeColumn(name: $0.name, expression: $0.expression) }
    var order = try orderBy(query.orderBy, bound.columns, names)
    if case .setOperation = query.body {
      for key in order where key.expression.columnSlot == nil {
        throw SQLError(
          .featureNotSupported, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
          detail: "Only result column names can be used, not expressions or functions.",
          hint: "Add the expression/function to every SELECT, or move the UNION into a FROM clause.",
          position: key.expression.position)
      }
    }
    var computed: [(slot: FrameSlot, expression: TypedExpression)] = []
    for index in order.indices {
      let slot = slot(for: order[index].expression, &computed)
      order[index].expression = .column(slot, order[index].expression.type)
    }
    if !computed.isEmpty { plan = .project(plan, computed) }
    if !order.isEmpty { plan = .sort(plan, order) }
    if let locking = query.locking.first {
      let name = locking.strength.phrase
      throw SQLError(
        .featureNotSupported, "\(name) is not allowed with UNION/INTERSECT/EXCEPT", position: place(locking.position))
    }
    plan = try limit(plan, query, order)
    return BoundQuery(plan: plan, columns: bound.columns)
  }

  // MARK: WITH

  func with(_ with: Syntax.With, _ scope: Scope) throws(SQLError) {
    for table in with.tables {
      guard scope.commonTables[table.name.text] == nil else {
        throw SQLError(
          .duplicateAlias, "WITH query name \"\(table.name.text)\" specified more than once",
          position: place(table.name.position))
      }
      let id: Int
      switch table.statement {
      case .query(let query):
        if with.recursive, case .setOperation(let operation) = query.body, operation.kind == .union {
          id = try recursive(table, query, operation, scope)
        } else {
          let outer = allowsModifyingCommonTables
          allowsModifyingCommonTables = false
          defer { allowsModifyingCommonTables = outer }
          id = try add(table, .query(try settled(try bind(query, parent: scope))))
        }
      case .insert, .update, .delete:
        guard allowsModifyingCommonTables else {
          throw SQLError(
            .featureNotSupported, "WITH clause containing a data-modifying statement must be at the top level",
            position: place(table.name.position))
        }
        id = try add(table, .modification(try modification(table.statement, scope)))
      default:
        throw SQLError(
          .syntaxError, "only SELECT, INSERT, UPDATE and DELETE can stand in WITH", position: place(table.name.position)
        )
      }
      scope.commonTables[table.name.text] = id
    }
  }

  private func settled(_ query: BoundQuery) throws(SQLError) -> BoundQuery {
    var query = query
    for index in query.columns.indices {
      query.columns[index].expression = try resolver.settle(query.columns[index].expression)
    }
    return query
  }

  private func add(_ table: Syntax.CommonTable, _ body: BoundCommonTable.Body) throws(SQLError) -> Int {
    let outputs: [OutputColumn]
    switch body {
    case .query(let query): outputs = query.columns
    case .modification(let modification): outputs = modification.returning
    }
    var columns = outputs.map { (name: $0.name, type: $0.expression.type) }
    try rename(&columns, table)
    commonTables.append(
      BoundCommonTable(name: table.name.text, body: body, columns: columns, materialized: table.materialized))
    return commonTables.count - 1
  }

  private func rename(
    _ columns: inout [(name: String, type: SQLType)], _ table: Syntax.CommonTable
  ) throws(SQLError) {
    guard table.columns.count <= columns.count else {
      throw SQLError(
        .invalidColumnReference,
        "WITH query \"\(table.name.text)\" has \(columns.count) columns available but \(table.columns.count) columns specified",
        position: place(table.name.position))
    }
    for (index, name) in table.columns.enumerated() { columns[index].name = name.text }
  }

  /// A UNION in WITH RECURSIVE: recursive if its right side names the table itself.
  private func recursive(
    _ table: Syntax.CommonTable, _ query: Syntax.Query, _ operation: Syntax.SetOperation, _ outer: Scope
  ) throws(SQLError) -> Int {
    let scope = Scope(parent: outer)
    if let with = query.with { try self.with(with, scope) }
    let initial = try settled(try bind(operation.left, parent: scope))
    var columns = initial.columns.map { (name: $0.name, type: $0.expression.type) }
    try rename(&columns, table)
    commonTables.append(
      BoundCommonTable(name: table.name.text, body: .query(initial), columns: columns, materialized: true))
    let id = commonTables.count - 1
    recursions += 1
    let recursion = recursions
    workingTables[id] = (recursion, 0)
    scope.commonTables[table.name.text] = id
    let step = try bind(operation.right, parent: scope)
    let references = workingTables.removeValue(forKey: id)?.references ?? 0
    if references == 0 {
      let combined = try ordered(try combine(operation, initial, step), query, scope)
      var renamed = combined.columns.map { (name: $0.name, type: $0.expression.type) }
      try rename(&renamed, table)
      commonTables[id] = BoundCommonTable(
        name: table.name.text, body: .query(combined), columns: renamed, materialized: table.materialized)
      return id
    }
    guard references == 1 else {
      throw SQLError(
        SQLState(rawValue: "42P19"),
        "recursive reference to query \"\(table.name.text)\" must not appear more than once",
        position: place(table.name.position))
    }
    guard query.orderBy.isEmpty, query.limit == nil, query.offset == nil, query.locking.isEmpty else {
      throw SQLError(
        .featureNotSupported, "ORDER BY, LIMIT and FOR UPDATE in a recursive query are not implemented",
        position: place(operation.position))
    }
    guard step.columns.count == columns.count else {
      throw SQLError(
        .syntaxError, "each UNION query must have the same number of columns", position: place(operation.position))
    }
    var node = RecursiveNode(
      id: recursion, initial: initial.plan, initialColumns: initial.columns.map(\.expression), step: step.plan,
      stepColumns: [], distinct: !operation.all, slots: [])
    var outputs: [OutputColumn] = []
    for (index, column) in columns.enumerated() {
      let expression = step.columns[index].expression
      guard expression.type.id == .unknown || resolver.canCoerce(expression.type.id, to: column.type.id, .implicit)
      else {
        throw SQLError(
          .datatypeMismatch,
          "recursive query \"\(table.name.text)\" column \(index + 1) has type \(column.type.description) in non-recursive term but type \(expression.type.description) overall",
          hint: "Cast the output of the non-recursive term to the correct type.", position: expression.position)
      }
      node.stepColumns.append(try resolver.coerce(expression, to: SQLType(column.type.id), .implicit))
      let slot = newSlot(column.type)
      node.slots.append(slot)
      outputs.append(OutputColumn(name: column.name, expression: .column(slot, column.type)))
    }
    commonTables[id].body = .query(BoundQuery(plan: .recursive(node), columns: outputs))
    return id
  }

  // MARK: FOR UPDATE

  /// Puts row locks over `input`; a row that changed meanwhile must still satisfy `filter`.
  func lock(
    _ input: LogicalPlan, _ clauses: [Syntax.Locking], _ filter: TypedExpression?, _ scope: Scope
  ) throws(SQLError) -> LogicalPlan {
    guard let first = clauses.first else { return input }
    var refusal: String?
    var plan = input
    var targets: [LockNode.Target] = []
    var isNullable = false
    func mark(_ plan: LogicalPlan, nullable: Bool = false) -> LogicalPlan {
      switch plan {
      case .scan(var scan):
        guard let clause = clauses.last(where: { $0.tables.isEmpty || $0.tables.contains { $0.name == scan.alias } })
        else { return plan }
        isNullable = isNullable || nullable
        scan.keySlot = newSlot(.bytea)
        use(.table(scan.table)) { $0.isLocked = true }
        targets.append(
          LockNode.Target(
            table: scan.table, base: scan.base, keySlot: scan.keySlot!, strength: clause.strength, wait: clause.wait))
        return .scan(scan)
      case .filter(let input, let condition): return .filter(mark(input, nullable: nullable), condition)
      case .project(let input, let items): return .project(mark(input, nullable: nullable), items)
      case .sort(let input, let keys): return .sort(mark(input), keys)
      case .join(let kind, let left, let right, let condition, let lateral):
        return .join(
          kind, mark(left, nullable: nullable || kind == .right || kind == .full),
          mark(right, nullable: nullable || kind == .left || kind == .full), condition: condition, lateral: lateral)
      case .limit(let input, let count, let offset, let ties):
        return .limit(mark(input), count: count, offset: offset, withTies: ties)
      case .aggregate(let node): refusal = node.keys.isEmpty ? "aggregate functions" : "GROUP BY clause"
      case .distinct: refusal = "DISTINCT clause"
      case .window: refusal = "window functions"
      case .projectSet: refusal = "set-returning functions in the target list"
      default: break
      }
      return plan
    }
    plan = mark(input)
    if isNullable {
      throw SQLError(
        .featureNotSupported,
        "\(first.strength.phrase) cannot be applied to the nullable side of an outer join",
        position: place(first.position))
    }
    if let refusal {
      throw SQLError(
        .featureNotSupported, "\(first.strength.phrase) is not allowed with \(refusal)",
        position: place(first.position))
    }
    for clause in clauses {
      for name in clause.tables where !scope.namespace.items.contains(where: { $0.alias == name.name }) {
        throw SQLError(
          .undefinedTable, "relation \"\(name.name)\" in \(clause.strength.phrase) clause not found in FROM clause",
          position: place(name.position))
      }
    }
    return .lock(LockNode(input: plan, targets: targets, recheck: filter))
  }
}

extension Syntax.Locking.Strength {
  var phrase: String {
    switch self {
    case .update: "FOR UPDATE"
    case .noKeyUpdate: "FOR NO KEY UPDATE"
    case .share: "FOR SHARE"
    case .keyShare: "FOR KEY SHARE"
    }
  }
}
