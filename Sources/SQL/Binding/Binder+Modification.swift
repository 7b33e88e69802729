extension Binder {
  func modification(_ statement: Syntax.Statement, _ scope: Scope?) throws(SQLError) -> BoundModification {
    switch statement {
    case .insert(let insert): return try self.insert(insert, scope)
    case .update(let update): return try self.update(update, scope)
    case .delete(let delete): return try self.delete(delete, scope)
    default: preconditionFailure("not a modification")
    }
  }

  /// The changed table as an item of the scope.
  private func target(
    _ table: TableDescriptor, alias: String, base: FrameSlot, schema: String?
  ) -> RangeItem {
    scannedTables.append((base, table))
    let columns = table.live.map { column in
      slotNames[base + column.place] = "\(alias).\(column.name)"
      return ScopeColumn(
        name: column.name, expression: .column(base + column.place, column.type), table: table.id,
        number: column.number)
    }
    return RangeItem(alias: alias, schema: schema, columns: columns)
  }

  // MARK: INSERT

  private func insert(_ insert: Syntax.Insert, _ parent: Scope?) throws(SQLError) -> BoundModification {
    let scope = Scope(parent: parent)
    if let with = insert.with { try self.with(with, scope) }
    let table = try table(insert.table, for: "insert into")
    let columns = try insertColumns(insert, table)
    use(.table(table)) { $0.inserted.formUnion(columns.map(\.number)) }
    var values = try defaults(table)
    var source = LogicalPlan.oneRow
    if case .query(let query) = insert.source {
      let given: [TypedExpression?]
      if case .values(let rows) = query.body, query.with == nil, query.orderBy.isEmpty, query.limit == nil,
        query.offset == nil
      {
        (source, given) = try insertValues(rows, columns, insert, table, scope)
      } else {
        (source, given) = try insertQuery(query, columns, insert, table, scope)
      }
      for (column, value) in zip(columns, given) where value != nil { values[column.place] = value! }
    }
    let base = newSlots(table.columns.map(\.type))
    let alias = insert.alias?.text ?? table.name
    let names = Scope(parent: nil)
    names.commonTables = scope.commonTables
    let item = target(
      table, alias: alias, base: base, schema: insert.alias == nil ? catalog.schema(table.schema)?.name : nil)
    names.namespace = Namespace(items: [item], columns: item.columns)
    var bound = BoundInsert(values: values)
    if let conflict = insert.onConflict { bound.conflict = try self.conflict(conflict, table, names) }
    names.namespace = Namespace(items: [item], columns: item.columns)
    return BoundModification(
      kind: .insert(bound), table: table, alias: alias, base: base, keySlot: newSlot(.bytea), source: source,
      returning: try targets(insert.returning, names, .returning))
  }

  /// The columns that INSERT names, or all.
  private func insertColumns(
    _ insert: Syntax.Insert, _ table: TableDescriptor
  ) throws(SQLError) -> [ColumnDescriptor] {
    guard !insert.columns.isEmpty else { return table.live }
    var columns: [ColumnDescriptor] = []
    for target in insert.columns {
      let column = try self.column(target, table)
      guard !columns.contains(where: { $0.number == column.number }) else {
        throw SQLError(
          .duplicateColumn, "column \"\(column.name)\" specified more than once", position: place(target.position))
      }
      columns.append(column)
    }
    return columns
  }

  private func column(_ target: Syntax.ColumnTarget, _ table: TableDescriptor) throws(SQLError) -> ColumnDescriptor {
    guard let column = table.column(named: target.column) else {
      throw SQLError(
        .undefinedColumn, "column \"\(target.column)\" of relation \"\(table.name)\" does not exist",
        position: place(target.position))
    }
    guard target.path.isEmpty else {
      throw SQLError(
        .featureNotSupported, "assignment to an element of column \"\(column.name)\" is not supported",
        position: place(target.position))
    }
    return column
  }

  /// A written value for `column`, or nil for DEFAULT; refuses values for generated and identity columns.
  private func given(
    _ syntax: Syntax.Expression, _ column: ColumnDescriptor, _ overriding: Syntax.Insert.Overriding?, _ scope: Scope,
    _ clause: Clause
  ) throws(SQLError) -> TypedExpression? {
    if case .defaultValue = syntax.kind { return nil }
    let bound = try bind(syntax, scope, clause)
    return try assign(bound, column, overriding, isInsert: clause != .update)
  }

  private func assign(
    _ bound: TypedExpression, _ column: ColumnDescriptor, _ overriding: Syntax.Insert.Overriding?, isInsert: Bool
  ) throws(SQLError) -> TypedExpression? {
    let verb = isInsert ? "insert a non-DEFAULT value into" : "update"
    let tail = isInsert ? "" : " to anything but DEFAULT"
    let only = isInsert ? "cannot \(verb) column" : "column"
    let middle = isInsert ? "" : " can only be updated to DEFAULT"
    _ = tail
    if column.generated != nil {
      throw SQLError(
        SQLState(rawValue: "428C9"), "\(only) \"\(column.name)\"\(middle)",
        detail: "Column \"\(column.name)\" is a generated column.", column: column.name)
    }
    if column.identity == .always, overriding != .system {
      if overriding == .user { return nil }
      throw SQLError(
        SQLState(rawValue: "428C9"), "\(only) \"\(column.name)\"\(middle)",
        detail: "Column \"\(column.name)\" is an identity column defined as GENERATED ALWAYS.",
        hint: isInsert ? "Use OVERRIDING SYSTEM VALUE to override." : nil, column: column.name)
    }
    if column.identity != nil, overriding == .user { return nil }
    return try resolver.assign(bound, to: column.type, column: column.name)
  }

  private func insertValues(
    _ rows: Syntax.ValueRows, _ columns: [ColumnDescriptor], _ insert: Syntax.Insert, _ table: TableDescriptor,
    _ scope: Scope
  ) throws(SQLError) -> (LogicalPlan, [TypedExpression?]) {
    let width = rows.width
    func bind(_ row: [Syntax.Expression]) throws(SQLError) -> [TypedExpression?] {
      guard row.count == width else {
        throw SQLError(
          .syntaxError, "VALUES lists must all be the same length", position: row.first.flatMap { place($0.position) })
      }
      try checkCount(row.count, columns, insert) { row[$0].position }
      var values: [TypedExpression?] = []
      for (column, expression) in zip(columns, row) {
        values.append(try given(expression, column, insert.overriding, scope, .insert))
      }
      return values
    }
    if rows.count == 1 {
      for row in rows { return (.oneRow, try bind(row)) }
    }
    let defaults = try defaults(table)
    let used = Array(columns.prefix(width))
    // Constants are refused for these, or ignored: that is for binding to say.
    let mayConvert = used.allSatisfy { $0.generated == nil && $0.identity == nil }
    var bound = ConstantRows(types: used.map(\.type))
    func append(_ row: [Syntax.Expression]) throws(SQLError) -> [TypedExpression] {
      let values = try bind(row)
      return zip(used, values).map { $1 ?? defaults[$0.place] }
    }
    for part in rows.parts {
      switch part {
      case .text(let text) where mayConvert:
        try bound.append(text) { (row) throws(SQLError) in try append(row) }
      case .text(let text):
        var parser = text.parser
        for _ in 0..<text.count { bound.append(try append(parser.takeConstantRow())) }
      case .trees(let trees):
        for row in trees { bound.append(try append(row)) }
      }
    }
    let base = newSlots(used.map(\.type))
    let slots = Array(base..<base + used.count)
    let values = zip(slots, used).map { TypedExpression.column($0, $1.type) }
    if let rows = bound.allBound { return (.values(rows, slots: slots), values) }
    return (.constants(bound, slots: slots), values)
  }

  private func checkCount(
    _ count: Int, _ columns: [ColumnDescriptor], _ insert: Syntax.Insert, _ position: (Int) -> Int
  ) throws(SQLError) {
    if count > columns.count {
      throw SQLError(
        .syntaxError, "INSERT has more expressions than target columns", position: place(position(columns.count)))
    }
    if count < columns.count, !insert.columns.isEmpty {
      throw SQLError(
        .syntaxError, "INSERT has more target columns than expressions",
        position: place(insert.columns[count].position))
    }
  }

  private func insertQuery(
    _ query: Syntax.Query, _ columns: [ColumnDescriptor], _ insert: Syntax.Insert, _ table: TableDescriptor,
    _ scope: Scope
  ) throws(SQLError) -> (LogicalPlan, [TypedExpression?]) {
    let outer = allowsModifyingCommonTables
    allowsModifyingCommonTables = false
    defer { allowsModifyingCommonTables = outer }
    let bound = try bind(query, parent: scope)
    try checkCount(bound.columns.count, columns, insert) { bound.columns[$0].expression.position ?? 0 }
    var values: [TypedExpression?] = []
    for (column, output) in zip(columns, bound.columns) {
      values.append(try assign(output.expression, column, insert.overriding, isInsert: true))
    }
    return (bound.plan, values)
  }

  /// What every column gets when nothing is said, by place.
  func defaults(_ table: TableDescriptor) throws(SQLError) -> [TypedExpression] {
    var values: [TypedExpression] = []
    for column in table.columns { values.append(try defaultValue(column)) }
    return values
  }

  func defaultValue(_ column: ColumnDescriptor) throws(SQLError) -> TypedExpression {
    if column.isDropped || column.generated != nil { return .constant(.null, column.type) }
    if column.identity != nil, let sequence = column.sequence {
      let number = TypedExpression.constant(.int(Int64(sequence.rawValue)), .regclass)
      let next = try resolver.scalarCall("nextval", [number], at: nil)
      return try resolver.coerce(next, to: column.type, .assignment)
    }
    guard let stored = column.defaultValue else { return .constant(.null, column.type) }
    var bound = try bind(stored.tree, Scope(parent: nil), .defaultValue)
    bound = try resolver.assign(bound, to: column.type, column: column.name)
    return bound.withoutPositions
  }

  // MARK: ON CONFLICT

  private func conflict(
    _ conflict: Syntax.OnConflict, _ table: TableDescriptor, _ scope: Scope
  ) throws(SQLError) -> BoundInsert.Conflict {
    let excluded = newSlots(table.columns.map(\.type))
    var bound = BoundInsert.Conflict(arbiters: nil, update: nil, condition: nil, excluded: excluded)
    switch conflict.target {
    case nil: break
    case .constraint(let name):
      guard let index = table.indexes.first(where: { $0.constraint != nil && $0.name == name.text }) else {
        throw SQLError(
          .undefinedObject, "constraint \"\(name.text)\" for table \"\(table.name)\" does not exist",
          position: place(name.position))
      }
      bound.arbiters = [index.id]
    case .columns(let elements, let condition):
      bound.arbiters = try arbiters(elements, condition, table, at: place(conflict.position))
    }
    guard case .update(let assignments, let condition) = conflict.action else { return bound }
    guard bound.arbiters != nil else {
      throw SQLError(
        .syntaxError, "ON CONFLICT DO UPDATE requires inference specification or constraint name",
        hint: "For example, ON CONFLICT (column_name).", position: place(conflict.position))
    }
    let proposed = target(table, alias: "excluded", base: excluded, schema: nil)
    scope.namespace.items.append(proposed)
    bound.update = BoundUpdate(assignments: try self.assignments(assignments, table, scope))
    if let condition {
      bound.condition = try self.condition(condition, scope, .whereClause, "WHERE")
    }
    return bound
  }

  /// The unique indexes that an ON CONFLICT target names.
  private func arbiters(
    _ elements: [Syntax.IndexElement], _ condition: Syntax.Expression?, _ table: TableDescriptor, at position: Int?
  ) throws(SQLError) -> Set<ObjectID> {
    var columns: Set<Int> = []
    var expressions: Set<Syntax.Expression> = []
    for element in elements {
      switch element.key {
      case .column(let name):
        guard let column = table.column(named: name) else {
          throw SQLError(.undefinedColumn, "column \"\(name)\" does not exist", position: place(element.position))
        }
        columns.insert(column.number)
      case .expression(let expression): expressions.insert(expression)
      }
    }
    let found = table.indexes.filter { index in
      guard index.isUnique, !index.deferrable, Set(index.keys.compactMap(\.column)) == columns,
        Set(index.keys.compactMap(\.expression?.tree)) == expressions
      else { return false }
      // A partial index is named only by its own condition.
      return index.predicate == nil || index.predicate?.tree == condition
    }
    guard !found.isEmpty else {
      throw SQLError(
        .invalidColumnReference,
        "there is no unique or exclusion constraint matching the ON CONFLICT specification", position: position)
    }
    return Set(found.map(\.id))
  }

  // MARK: UPDATE and DELETE

  /// The value of a column of which an element or a slice is assigned.
  private func element(
    of base: TypedExpression, _ column: ColumnDescriptor, _ target: Syntax.ColumnTarget,
    _ expression: Syntax.Expression, _ scope: Scope
  ) throws(SQLError) -> TypedExpression {
    let position = place(target.position)
    guard let element = column.type.element, column.type.isArray else {
      throw SQLError(
        .datatypeMismatch,
        "cannot subscript type \(column.type.description) because it does not support subscripting",
        position: position)
    }
    var subscripts: [Syntax.Subscript] = []
    for step in target.path {
      guard case .subscripted(let item) = step else {
        throw SQLError(
          .featureNotSupported, "assignment to a field of column \"\(column.name)\" is not supported",
          position: position)
      }
      subscripts.append(item)
    }
    func bound(_ syntax: Syntax.Expression) throws(SQLError) -> TypedExpression {
      try resolver.coerce(try bind(syntax, scope, .update), to: .int4, .assignment)
    }
    let value = try bind(expression, scope, .update)
    if let slice = subscripts.first(where: \.isSlice) {
      guard subscripts.count == 1 else {
        throw SQLError(
          .featureNotSupported, "assignment to slices of multidimensional arrays is not supported", position: position)
      }
      let function = ArrayAssignment.slice(
        column.type.id, element, hasLower: slice.lower != nil, hasUpper: slice.upper != nil)
      var arguments = [base]
      if let lower = slice.lower { arguments.append(try bound(lower)) }
      if let upper = slice.upper { arguments.append(try bound(upper)) }
      arguments.append(try resolver.assign(value, to: column.type, column: column.name))
      return TypedExpression(.call(function, arguments), column.type, at: position)
    }
    var arguments = [base]
    for item in subscripts {
      guard let index = item.upper else {
        throw SQLError(.syntaxError, "array subscript missing", position: position)
      }
      arguments.append(try bound(index))
    }
    let type = SQLType(element, modifier: column.type.modifier)
    arguments.append(try resolver.assign(value, to: type, column: column.name))
    let function = ArrayAssignment.element(column.type.id, element, subscripts: subscripts.count)
    return TypedExpression(.call(function, arguments), column.type, at: position)
  }

  private func assignments(
    _ list: [Syntax.Assignment], _ table: TableDescriptor, _ scope: Scope
  ) throws(SQLError) -> [(place: Int, value: TypedExpression)] {
    var result: [(place: Int, value: TypedExpression)] = []
    func set(_ column: ColumnDescriptor, _ value: TypedExpression, at position: Int) throws(SQLError) {
      guard !result.contains(where: { $0.place == column.place }) else {
        throw SQLError(
          .syntaxError, "multiple assignments to same column \"\(column.name)\"", position: place(position))
      }
      result.append((column.place, value))
      use(.table(table)) { $0.updated.insert(column.number) }
    }
    for assignment in list {
      switch assignment {
      case .single(let target, let expression) where !target.path.isEmpty:
        var whole = target
        whole.path = []
        let column = try self.column(whole, table)
        let before = result.firstIndex { $0.place == column.place }
        let base =
          before.map { result[$0].value }
          ?? scope.namespace.items.flatMap(\.columns).first {
            $0.table == table.id && $0.number == column.number
          }?.expression ?? .constant(.null, column.type)
        let value = try element(of: base, column, target, expression, scope)
        if let before { result.remove(at: before) }
        try set(column, value, at: target.position)
      case .single(let target, let expression):
        let column = try self.column(target, table)
        let value = try self.value(expression, column, scope)
        try set(column, value, at: target.position)
      case .multiple(let targets, let expression):
        switch expression.kind {
        case .row(let parts, _):
          guard parts.count == targets.count else {
            throw SQLError(
              .syntaxError, "number of columns does not match number of values", position: place(expression.position))
          }
          for (target, part) in zip(targets, parts) {
            let column = try self.column(target, table)
            let value = try self.value(part, column, scope)
            try set(column, value, at: target.position)
          }
        case .subquery(let query):
          let values = try rowSubquery(
            query, count: targets.count, scope, .update, at: place(expression.position))
          for (target, value) in zip(targets, values) {
            let column = try self.column(target, table)
            try set(column, try assign(value, column, nil, isInsert: false)!, at: target.position)
          }
        default:
          throw SQLError(
            .featureNotSupported,
            "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression",
            position: place(expression.position))
        }
      }
    }
    return result
  }

  /// What SET gives to a column: the expression, or the default.
  private func value(
    _ syntax: Syntax.Expression, _ column: ColumnDescriptor, _ scope: Scope
  ) throws(SQLError) -> TypedExpression {
    if let value = try given(syntax, column, nil, scope, .update) { return value }
    return try defaultValue(column)
  }

  private func update(_ update: Syntax.Update, _ parent: Scope?) throws(SQLError) -> BoundModification {
    let table = try table(update.table.name, for: "update")
    use(.table(table)) { _ in }
    var bound = try changed(
      table, update.alias, update.with, update.from, update.condition, parent,
      kind: { (scope) throws(SQLError) in
        .update(BoundUpdate(assignments: try self.assignments(update.assignments, table, scope)))
      }, returning: update.returning)
    if case .update(let assignments) = bound.kind, assignments.assignments.isEmpty { bound.recheck = nil }
    return bound
  }

  private func delete(_ delete: Syntax.Delete, _ parent: Scope?) throws(SQLError) -> BoundModification {
    let table = try table(delete.table.name, for: "delete from")
    use(.table(table)) { $0.required.insert(.delete) }
    return try changed(
      table, delete.alias, delete.with, delete.using, delete.condition, parent,
      kind: { (_) throws(SQLError) in .delete }, returning: delete.returning)
  }

  private func changed(
    _ table: TableDescriptor, _ alias: Syntax.Name?, _ with: Syntax.With?, _ from: [Syntax.TableReference],
    _ condition: Syntax.Expression?, _ parent: Scope?,
    kind: (Scope) throws(SQLError) -> BoundModification.Kind, returning: [Syntax.Target]
  ) throws(SQLError) -> BoundModification {
    let scope = Scope(parent: parent)
    if let with { try self.with(with, scope) }
    let base = newSlots(table.columns.map(\.type))
    let keySlot = newSlot(.bytea)
    let name = alias?.text ?? table.name
    let item = target(table, alias: name, base: base, schema: alias == nil ? catalog.schema(table.schema)?.name : nil)
    scope.namespace = Namespace(items: [item], columns: item.columns)
    var plan = LogicalPlan.scan(TableScan(table: table, base: base, alias: name, keySlot: keySlot, asOf: nil))
    if !from.isEmpty {
      let others = try self.from(from, scope)
      let free = freeSlots(of: BoundQuery(plan: others, columns: []))
      plan = .join(.inner, plan, others, condition: nil, lateral: !free.isEmpty)
    }
    var recheck: TypedExpression?
    if let condition {
      let bound = try self.condition(condition, scope, .whereClause, "WHERE")
      plan = .filter(plan, bound)
      recheck = bound
    }
    return BoundModification(
      kind: try kind(scope), table: table, alias: name, base: base, keySlot: keySlot, source: plan, recheck: recheck,
      returning: try targets(returning, scope, .returning))
  }
}

extension TypedExpression {
  /// The tree without positions: for expressions of the catalog, whose text is not the statement's.
  var withoutPositions: TypedExpression {
    func strip(_ expression: TypedExpression) -> TypedExpression {
      var copy = expression.mapChildren(strip)
      copy.position = nil
      return copy
    }
    return strip(self)
  }
}

// MARK: Expressions of the catalog

extension Binder {
  /// A scope in which column `c` of `table` is `.column(c.place)`: for checks, indexes and generated columns, which are
  /// evaluated over a row as it is stored.
  func rowScope(_ table: TableDescriptor) -> Scope {
    let scope = Scope(parent: nil)
    let columns = table.live.map {
      ScopeColumn(name: $0.name, expression: .column($0.place, $0.type), table: table.id, number: $0.number)
    }
    scope.namespace = Namespace(
      items: [RangeItem(alias: table.name, schema: nil, columns: columns)], columns: columns)
    return scope
  }

  /// A condition over a stored row.
  func rowCondition(
    _ tree: Syntax.Expression, _ table: TableDescriptor, _ clause: Clause
  ) throws(SQLError) -> TypedExpression {
    let bound = try condition(tree, rowScope(table), clause, clause == .check ? "CHECK" : "WHERE")
    return bound
  }

  /// A value over a stored row.
  func rowValue(
    _ tree: Syntax.Expression, _ table: TableDescriptor, _ clause: Clause
  ) throws(SQLError) -> TypedExpression {
    try resolver.settle(try bind(tree, rowScope(table), clause))
  }
}
