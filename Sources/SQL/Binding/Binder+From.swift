internal import Platform

extension Binder {
  /// The items of FROM, joined; their names are added to `scope`.
  func from(_ items: [Syntax.TableReference], _ scope: Scope) throws(SQLError) -> LogicalPlan {
    var plan: LogicalPlan?
    for item in items {
      // LATERAL sees the items to its left: they are in the scope already. Others see only the queries around.
      let (right, namespace, lateral) = try reference(item, scope)
      try add(namespace, to: scope, at: nil)
      plan = plan.map { .join(.inner, $0, right, condition: nil, lateral: lateral) } ?? right
    }
    return plan ?? .oneRow
  }

  private func add(_ namespace: Namespace, to scope: Scope, at position: Int?) throws(SQLError) {
    for item in namespace.items where !item.alias.isEmpty {
      if scope.namespace.items.contains(where: {
        $0.alias == item.alias && ($0.schema == item.schema || $0.schema == nil || item.schema == nil)
      }) {
        throw SQLError(
          .duplicateAlias, "table name \"\(item.alias)\" specified more than once", position: position)
      }
    }
    scope.namespace.items += namespace.items
    scope.namespace.columns += namespace.columns
  }

  /// One item of FROM: its plan, its names, and whether it reads what stands to its left.
  private func reference(
    _ reference: Syntax.TableReference, _ scope: Scope
  ) throws(SQLError) -> (LogicalPlan, Namespace, lateral: Bool) {
    try StackGuard.check()
    switch reference {
    case .relation(let relation):
      var (plan, item) = try self.relation(relation, scope)
      if relation.relation.name.parts.count > 1 || scope.commonTable(relation.relation.name.name) == nil {
        item.relation = try catalog.relation(relation.relation.name, searchPath: searchPath)?.id
      }
      return (plan, namespace(item), false)
    case .subquery(let subquery):
      let outer = subquery.lateral ? scope : scope.parent
      let bound = try bindInner(subquery.query, parent: outer, commonTables: scope)
      let (plan, item) = try derived(bound, subquery.alias, at: place(subquery.position))
      return (plan, namespace(item), subquery.lateral)
    case .function(let function):
      let (plan, item, lateral) = try self.function(function, scope)
      return (plan, namespace(item), lateral)
    case .join(let join): return try self.join(join, scope)
    }
  }

  private func namespace(_ item: RangeItem) -> Namespace { Namespace(items: [item], columns: item.columns) }

  /// A subquery of FROM: not LATERAL, it does not see its neighbours, but sees the common tables.
  private func bindInner(
    _ query: Syntax.Query, parent: Scope?, commonTables scope: Scope
  ) throws(SQLError) -> BoundQuery {
    let outerModifying = allowsModifyingCommonTables
    allowsModifyingCommonTables = false
    defer { allowsModifyingCommonTables = outerModifying }
    if parent === scope { return try bind(query, parent: scope) }
    let veil = Scope(parent: parent)
    veil.commonTables = scope.commonTables
    return try bind(query, parent: veil)
  }

  // MARK: Relations

  private func relation(
    _ reference: Syntax.RelationReference, _ scope: Scope
  ) throws(SQLError) -> (LogicalPlan, RangeItem) {
    let name = reference.relation.name
    if name.parts.count == 1, let id = scope.commonTable(name.name) {
      return try common(id, name, reference.alias)
    }
    let relation = try relation(name)
    if reference.asOf != nil {
      guard case .table = relation else {
        throw SQLError(
          .featureNotSupported, "AS OF applies to tables only", position: place(reference.asOf?.position ?? 0))
      }
    }
    use(relation) { $0.isRead = true }
    switch relation {
    case .table(let table):
      relationsUsed.insert(table.id)
      var scan = TableScan(
        table: table, base: newSlots(table.columns.map(\.type)), alias: reference.alias?.name ?? table.name)
      scannedTables.append((scan.base, table))
      if let asOf = reference.asOf {
        guard asOf.kind == .version else {
          throw SQLError(
            .featureNotSupported, "AS OF TIMESTAMP is not supported", hint: "Use AS OF VERSION.",
            position: place(asOf.position))
        }
        scan.asOf = try resolver.bigint(try bind(asOf.value, Scope(parent: nil), .limit), "AS OF VERSION")
      }
      let columns = table.live.map { column in
        ScopeColumn(
          name: column.name, expression: .column(scan.slot(column), column.type), table: table.id,
          number: column.number)
      }
      let schema = reference.alias == nil ? catalog.schema(table.schema)?.name : nil
      return (.scan(scan), try item(scan.alias, schema, columns, reference.alias))
    case .view(let view): return try self.view(view, reference)
    case .system(let system):
      let base = newSlots(system.columns.map(\.type))
      let slots = Array(base..<base + system.columns.count)
      let columns = zip(system.columns, slots).map { column, slot in
        ScopeColumn(name: column.name, expression: .column(slot, column.type))
      }
      let alias = reference.alias?.name ?? system.name
      let schema = reference.alias == nil ? catalog.schema(system.schema)?.name : nil
      return (.system(system, slots: slots, alias: alias), try item(alias, schema, columns, reference.alias))
    case .sequence(let sequence):
      let system = SystemRelation.sequence(sequence)
      let base = newSlots(system.columns.map(\.type))
      let slots = Array(base..<base + system.columns.count)
      let columns = zip(system.columns, slots).map { column, slot in
        ScopeColumn(name: column.name, expression: .column(slot, column.type))
      }
      let alias = reference.alias?.name ?? sequence.name
      return (.system(system, slots: slots, alias: alias), try item(alias, nil, columns, reference.alias))
    case .index(let index):
      throw SQLError(.wrongObjectType, "\"\(index.name)\" is an index", position: place(name.position))
    }
  }

  private func view(
    _ view: ViewDescriptor, _ reference: Syntax.RelationReference
  ) throws(SQLError) -> (LogicalPlan, RangeItem) {
    relationsUsed.insert(view.id)
    try StackGuard.check()
    guard expanding.insert(view.id).inserted else {
      throw SQLError(.invalidObjectDefinition, "infinite recursion detected in rules for relation \"\(view.name)\"")
    }
    defer { expanding.remove(view.id) }
    // Its query means what it meant when it was written, and its owner asks.
    let outerPath = searchPath
    searchPath = view.searchPath
    defer { searchPath = outerPath }
    let bound = try asOwner(of: view) { () throws(SQLError) in try bind(view.query, parent: nil) }
    guard bound.columns.count >= view.columns.count else {
      throw SQLError(
        .objectNotInState, "view \"\(view.name)\" no longer matches what it reads",
        hint: "Drop the view and create it again.")
    }
    var columns = bound.columns
    columns.removeLast(columns.count - view.columns.count)
    for (index, column) in view.columns.enumerated() { columns[index].name = column.name }
    let alias = reference.alias ?? Syntax.Alias(name: view.name)
    let schema = reference.alias == nil ? catalog.schema(view.schema)?.name : nil
    var (plan, item) = try derived(BoundQuery(plan: bound.plan, columns: columns), alias, at: nil)
    item.schema = schema
    for index in item.columns.indices {
      item.columns[index].table = view.id
      item.columns[index].number = index + 1
    }
    return (plan, item)
  }

  private func common(
    _ id: Int, _ name: Syntax.QualifiedName, _ alias: Syntax.Alias?
  ) throws(SQLError) -> (LogicalPlan, RangeItem) {
    if let recursion = workingTables[id] {
      let types = commonTables[id].columns.map(\.type)
      let base = newSlots(types)
      let slots = Array(base..<base + types.count)
      workingTables[id]?.references += 1
      let columns = zip(commonTables[id].columns, slots).map { column, slot in
        ScopeColumn(name: column.name, expression: .column(slot, column.type))
      }
      return (.working(recursion.id, slots: slots), try item(alias?.name ?? name.name, nil, columns, alias))
    }
    if case .modification(let modification) = commonTables[id].body, modification.returning.isEmpty {
      throw SQLError(
        .featureNotSupported, "WITH query \"\(name.name)\" does not have a RETURNING clause",
        position: place(name.position))
    }
    commonTables[id].references += 1
    let types = commonTables[id].columns.map(\.type)
    let base = newSlots(types)
    let slots = Array(base..<base + types.count)
    let columns = zip(commonTables[id].columns, slots).map { column, slot in
      ScopeColumn(name: column.name, expression: .column(slot, column.type))
    }
    return (
      .common(id, slots: slots, name: name.name), try item(alias?.name ?? name.name, nil, columns, alias)
    )
  }

  /// A bound query as an item of FROM: its outputs get slots where they are not slots already.
  func derived(
    _ query: BoundQuery, _ alias: Syntax.Alias?, at position: Int?
  ) throws(SQLError) -> (LogicalPlan, RangeItem) {
    guard let alias else {
      throw SQLError(
        .syntaxError, "subquery in FROM must have an alias", hint: "For example, FROM (SELECT ...) [AS] foo.",
        position: position)
    }
    var computed: [(slot: FrameSlot, expression: TypedExpression)] = []
    var columns: [ScopeColumn] = []
    let produced = query.plan.slots
    for output in query.columns {
      let expression = try resolver.settle(output.expression)
      let slot: FrameSlot
      if case .column(let own) = expression.node, produced.contains(own) {
        slot = own
      } else {
        slot = newSlot(expression.type)
        computed.append((slot, expression))
        noteRecord(expression, in: slot, produced)
      }
      columns.append(
        ScopeColumn(
          name: output.name, expression: .column(slot, expression.type), table: output.table,
          number: output.columnNumber))
    }
    let plan: LogicalPlan = computed.isEmpty ? query.plan : .project(query.plan, computed)
    return (plan, try item(alias.name, nil, columns, alias))
  }

  /// A range item with the alias's column names laid over `columns`.
  private func item(
    _ name: String, _ schema: String?, _ columns: [ScopeColumn], _ alias: Syntax.Alias?
  ) throws(SQLError) -> RangeItem {
    var columns = columns
    if let alias, !alias.columns.isEmpty {
      guard alias.columns.count <= columns.count else {
        throw SQLError(
          .invalidColumnReference,
          "table \"\(name)\" has \(columns.count) columns available but \(alias.columns.count) columns specified",
          position: place(alias.position))
      }
      for (index, column) in alias.columns.enumerated() { columns[index].name = column.text }
    }
    for column in columns {
      if let slot = column.expression.columnSlot { slotNames[slot] = "\(name).\(column.name)" }
    }
    return RangeItem(alias: name, schema: schema, columns: columns)
  }

  // MARK: Functions

  /// `unnest(a, b)` is `ROWS FROM (unnest(a), unnest(b))`, in FROM alone.
  private static func separated(_ item: Syntax.FunctionReference.Item) -> [Syntax.FunctionReference.Item] {
    guard case .function(let call) = item.call.kind, call.arguments.count > 1, !call.variadic,
      call.name.name == "unnest", call.name.parts.count == 1 || call.name.parts[0] == "pg_catalog"
    else { return [item] }
    return call.arguments.map { argument in
      var one = call
      one.arguments = [argument]
      var item = item
      item.call = Syntax.Expression(.function(one), item.call.position)
      return item
    }
  }

  /// `json_to_recordset(…) AS x (a int, b text)`: a function of those columns.
  private func recordReader(
    _ name: String, _ arguments: [TypedExpression], _ definitions: [Syntax.ColumnType], at position: Int?
  ) throws(SQLError) -> ResolvedCall {
    guard !definitions.isEmpty else {
      throw SQLError(
        .syntaxError, "a column definition list is required for functions returning \"record\"", position: position)
    }
    guard arguments.count == 1 else {
      throw SQLError(.undefinedFunction, "function \(name) takes one argument", position: position)
    }
    var columns: [(name: String, type: SQLType)] = []
    for definition in definitions { columns.append((definition.name.text, try type(definition.type))) }
    let source: SQLType = name.hasPrefix("jsonb") ? .jsonb : .json
    let argument = try resolver.coerce(arguments[0], to: source, .implicit, at: position)
    return ResolvedCall(
      function: .set(JSONRecords.reader(name, source.id, columns)), arguments: [argument],
      type: columns.count == 1 ? columns[0].type : .record)
  }

  private func function(
    _ reference: Syntax.FunctionReference, _ scope: Scope
  ) throws(SQLError) -> (LogicalPlan, RangeItem, lateral: Bool) {
    let position = place(reference.position)
    // A function in FROM may always read its left neighbours.
    let outer = scope
    var node = FunctionScanNode(items: [], ordinality: nil, alias: "")
    var columns: [ScopeColumn] = []
    let items = reference.items.flatMap(Self.separated)
    for item in items {
      let definitions = item.columns.isEmpty ? reference.columns : item.columns
      guard case .function(let call) = item.call.kind else {
        // current_date and the like: one row of a scalar.
        let value = try resolver.settle(try bind(item.call, outer, .fromFunction))
        let slot = newSlot(value.type)
        node.items.append(FunctionScanNode.Item(call: .scalar(value), slots: [slot]))
        columns.append(ScopeColumn(name: outputName(item.call), expression: .column(slot, value.type)))
        continue
      }
      let name = try functionName(call.name)
      var arguments: [TypedExpression] = []
      for argument in call.arguments { arguments.append(try bind(argument.value, outer, .fromFunction)) }
      let single = items.count == 1 ? reference.alias?.name : nil
      if resolver.registry.aggregates[name] != nil, resolver.registry.scalars[name] == nil {
        throw SQLError(
          .groupingError, "aggregate functions are not allowed in functions in FROM",
          position: place(item.call.position))
      }
      var resolved: ResolvedCall
      if ["json_to_record", "jsonb_to_record", "json_to_recordset", "jsonb_to_recordset"].contains(name) {
        resolved = try recordReader(name, arguments, definitions, at: place(item.call.position))
      } else {
        guard definitions.isEmpty else {
          throw SQLError(
            .syntaxError, "a column definition list is only allowed for functions returning \"record\"",
            position: position)
        }
        resolved = try resolver.call(name, arguments, at: place(item.call.position))
      }
      switch resolved.function {
      case .set(let function):
        let types = function.columns.count == 1 ? [resolved.type] : function.columns.map { SQLType($0.type) }
        let base = newSlots(types)
        let slots = Array(base..<base + types.count)
        node.items.append(FunctionScanNode.Item(call: .set(function, resolved.arguments), slots: slots))
        for (index, column) in function.columns.enumerated() {
          let isNamed = function.columns.count > 1 || !definitions.isEmpty
          let label = isNamed ? column.name : (single ?? column.name)
          columns.append(ScopeColumn(name: label, expression: .column(slots[index], types[index])))
        }
      default:
        let value = try resolver.scalar(resolved, name: name, at: place(item.call.position))
        let slot = newSlot(value.type)
        node.items.append(FunctionScanNode.Item(call: .scalar(value), slots: [slot]))
        columns.append(ScopeColumn(name: single ?? name, expression: .column(slot, value.type)))
      }
    }
    if reference.withOrdinality {
      let slot = newSlot(.int8)
      node.ordinality = slot
      columns.append(ScopeColumn(name: "ordinality", expression: .column(slot, .int8)))
    }
    var name = reference.alias?.name ?? ""
    if name.isEmpty, case .function(let call) = reference.items[0].call.kind { name = call.name.name }
    node.alias = name
    let bound = try item(name, nil, columns, reference.alias)
    let free = freeSlots(of: BoundQuery(plan: .function(node), columns: []))
    return (.function(node), bound, lateral: !free.isEmpty)
  }

  // MARK: Joins

  private func join(
    _ join: Syntax.Join, _ scope: Scope
  ) throws(SQLError) -> (LogicalPlan, Namespace, lateral: Bool) {
    let (left, leftNames, leftLateral) = try reference(join.left, scope)
    // The right side may be LATERAL over the left.
    let inner = Scope(parent: scope.parent)
    inner.commonTables = scope.commonTables
    inner.namespace = scope.namespace
    try add(leftNames, to: inner, at: place(join.position))
    let (right, rightNames, rightLateral) = try reference(join.right, inner)
    if rightLateral, join.kind == .right || join.kind == .full {
      throw SQLError(
        .invalidColumnReference,
        "invalid reference to FROM-clause entry: the combining JOIN type must be INNER or LEFT for a LATERAL reference",
        position: place(join.position))
    }
    // Names of the joined tables alone are visible in the condition (and those of the queries around).
    let condition = Scope(parent: scope.parent)
    condition.commonTables = scope.commonTables
    try add(leftNames, to: condition, at: place(join.position))
    try add(rightNames, to: condition, at: place(join.position))
    var names = condition.namespace
    var test: TypedExpression?
    switch join.condition {
    case nil: break
    case .on(let expression): test = try self.condition(expression, condition, .joinOn, "JOIN/ON")
    case .using(let columns, let alias):
      if let alias {
        throw SQLError(
          .featureNotSupported, "JOIN USING with an alias is not supported", position: place(alias.position))
      }
      (test, names) = try using(columns, join.kind, leftNames, rightNames, names)
    case .natural:
      let common = leftNames.columns.filter { column in
        rightNames.columns.contains { $0.name == column.name }
      }
      let columns = common.map { Syntax.Name($0.name, position: join.position) }
      if !columns.isEmpty { (test, names) = try using(columns, join.kind, leftNames, rightNames, names) }
    }
    let kind: JoinKind
    switch join.kind {
    case .inner, .cross: kind = .inner
    case .left: kind = .left
    case .right: kind = .right
    case .full: kind = .full
    }
    if let alias = join.alias {
      var columns = names.columns
      for (index, name) in alias.columns.enumerated() where index < columns.count { columns[index].name = name.text }
      let item = RangeItem(alias: alias.name, schema: nil, columns: columns)
      names = Namespace(items: [item], columns: columns)
    }
    let plan = LogicalPlan.join(kind, left, right, condition: test, lateral: rightLateral)
    return (plan, names, leftLateral || rightLateral)
  }

  /// USING (and NATURAL): the equalities, and the names with each pair merged into one column that comes first.
  private func using(
    _ columns: [Syntax.Name], _ kind: Syntax.Join.Kind, _ left: Namespace, _ right: Namespace, _ joined: Namespace
  ) throws(SQLError) -> (TypedExpression?, Namespace) {
    var tests: [TypedExpression] = []
    var merged: [ScopeColumn] = []
    for name in columns {
      func find(_ names: Namespace, _ side: String) throws(SQLError) -> ScopeColumn {
        let found = names.columns.filter { $0.name == name.text }
        guard found.count <= 1 else {
          throw SQLError(
            .ambiguousColumn, "common column name \"\(name.text)\" appears more than once in \(side) table",
            position: place(name.position))
        }
        guard let column = found.first else {
          throw SQLError(
            .undefinedColumn, "column \"\(name.text)\" specified in USING clause does not exist in \(side) table",
            position: place(name.position))
        }
        note(column)
        return column
      }
      let l = try find(left, "left")
      let r = try find(right, "right")
      let (parts, type) = try resolver.unify([l.expression, r.expression], "JOIN/USING")
      tests.append(try resolver.operatorCall("=", parts[0], parts[1], at: place(name.position)))
      var column = kind == .right ? r : l
      switch kind {
      case .full: column.expression = TypedExpression(.coalesce(parts), type)
      case .right: column.expression = parts[1]
      default: column.expression = parts[0]
      }
      merged.append(column)
    }
    let names = Set(columns.map(\.text))
    var result = joined
    result.columns =
      merged + left.columns.filter { !names.contains($0.name) } + right.columns.filter { !names.contains($0.name) }
    return (tests.count == 1 ? tests[0] : try resolver.and(tests), result)
  }
}
