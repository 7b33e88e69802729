/// Queries.
extension SQLWriter {
  package mutating func query(_ query: Syntax.Query) {
    if let with = query.with { self.with(with) }
    body(query)
    if !query.orderBy.isEmpty { orderBy(query.orderBy) }
    limits(query)
    for lock in query.locking { locking(lock) }
  }

  private mutating func body(_ query: Syntax.Query) {
    switch query.body {
    case .select(let select): self.select(select)
    case .values(let rows):
      word("VALUES")
      list(Array(rows)) { writer, row in writer.parenthesized(row) { $0.expression($1) } }
    case .table(let relation):
      word("TABLE")
      self.relation(relation)
    case .setOperation(let operation):
      arm(operation.left, of: operation, isLeft: true)
      word(operation.kind == .union ? "UNION" : operation.kind == .intersect ? "INTERSECT" : "EXCEPT")
      if operation.all { word("ALL") }
      arm(operation.right, of: operation, isLeft: false)
    }
  }

  /// An operand of a set operation, in parentheses if it has clauses of its own or binds less tightly.
  private mutating func arm(_ query: Syntax.Query, of operation: Syntax.SetOperation, isLeft: Bool) {
    var isBare =
      query.with == nil && query.orderBy.isEmpty && query.limit == nil && query.offset == nil && query.locking.isEmpty
    if case .setOperation(let inner) = query.body {
      let isTighter = inner.kind == .intersect && operation.kind != .intersect
      let isSame = (inner.kind == .intersect) == (operation.kind == .intersect)
      isBare = isBare && (isTighter || (isLeft && isSame))
    }
    if isBare { body(query) } else { parenthesized(query) }
  }

  private mutating func limits(_ query: Syntax.Query) {
    if let offset = query.offset {
      word("OFFSET")
      expression(offset)
    }
    guard let limit = query.limit else { return }
    guard limit.withTies else {
      word("LIMIT")
      if let count = limit.count { expression(count) } else { word("ALL") }
      return
    }
    word("FETCH FIRST")
    if let count = limit.count {
      if case .number = count.kind { expression(count) } else { parenthesized([count]) { $0.expression($1) } }
    }
    word("ROWS WITH TIES")
  }

  private mutating func locking(_ lock: Syntax.Locking) {
    switch lock.strength {
    case .update: word("FOR UPDATE")
    case .noKeyUpdate: word("FOR NO KEY UPDATE")
    case .share: word("FOR SHARE")
    case .keyShare: word("FOR KEY SHARE")
    }
    if !lock.tables.isEmpty {
      word("OF ")
      list(lock.tables) { $0.name($1) }
    }
    if lock.wait != .block { word(lock.wait == .noWait ? "NOWAIT" : "SKIP LOCKED") }
  }

  // MARK: SELECT

  private mutating func select(_ select: Syntax.Select) {
    word("SELECT")
    switch select.distinct {
    case .rows: word("DISTINCT")
    case .on(let items):
      word("DISTINCT ON")
      parenthesized(items) { $0.expression($1) }
    case nil: break
    }
    targets(select.targets)
    from("FROM", select.from)
    condition("WHERE", select.condition)
    if !select.groupBy.isEmpty {
      word(select.groupByDistinct ? "GROUP BY DISTINCT " : "GROUP BY ")
      list(select.groupBy) { $0.grouping($1) }
    }
    condition("HAVING", select.having)
    if !select.windows.isEmpty {
      word("WINDOW ")
      list(select.windows) { writer, named in
        writer.name(named.name)
        writer.word("AS")
        writer.window(named.window)
      }
    }
  }

  mutating func targets(_ targets: [Syntax.Target]) {
    if targets.isEmpty { return }
    space()
    list(targets) { writer, target in
      writer.expression(target.expression)
      if let alias = target.alias {
        writer.word("AS")
        writer.name(alias)
      }
    }
  }

  mutating func condition(_ words: String, _ condition: Syntax.Expression?) {
    guard let condition else { return }
    word(words)
    expression(condition)
  }

  private mutating func grouping(_ element: Syntax.GroupingElement) {
    switch element {
    case .expression(let item): expression(item)
    case .empty: word("()")
    case .rollup(let items): parenthesizedGroups("ROLLUP", items)
    case .cube(let items): parenthesizedGroups("CUBE", items)
    case .sets(let items): parenthesizedGroups("GROUPING SETS", items)
    }
  }

  private mutating func parenthesizedGroups(_ words: String, _ items: [Syntax.GroupingElement]) {
    word(words)
    parenthesized(items) { $0.grouping($1) }
  }

  mutating func orderBy(_ items: [Syntax.SortItem]) {
    word("ORDER BY ")
    list(items) { writer, item in
      writer.expression(item.expression)
      switch item.direction {
      case .ascending: writer.word("ASC")
      case .descending: writer.word("DESC")
      case .using(let op): writer.word("USING " + Self.text(op))
      case nil: break
      }
      writer.nulls(item.nulls)
    }
  }

  mutating func nulls(_ nulls: Syntax.SortItem.Nulls?) {
    if let nulls { word(nulls == .first ? "NULLS FIRST" : "NULLS LAST") }
  }

  // MARK: FROM

  mutating func from(_ words: String, _ items: [Syntax.TableReference]) {
    if items.isEmpty { return }
    word(words + " ")
    list(items) { $0.table($1) }
  }

  private mutating func table(_ item: Syntax.TableReference) {
    switch item {
    case .relation(let reference):
      relation(reference.relation)
      if let asOf = reference.asOf { self.asOf(asOf) }
      alias(reference.alias)
    case .subquery(let reference):
      if reference.lateral { word("LATERAL") }
      parenthesized(reference.query)
      alias(reference.alias)
    case .function(let reference): function(reference)
    case .join(let join):
      if join.alias != nil {
        word("(")
        self.join(join)
        write(")")
        alias(join.alias)
      } else {
        self.join(join)
      }
    }
  }

  mutating func asOf(_ asOf: Syntax.AsOf) {
    word(asOf.kind == .version ? "AS OF VERSION" : "AS OF TIMESTAMP")
    expression(asOf.value)
  }

  mutating func alias(_ alias: Syntax.Alias?) {
    guard let alias else { return }
    word("AS")
    name(alias.name)
    names(alias.columns)
  }

  private mutating func join(_ join: Syntax.Join) {
    table(join.left)
    if join.condition == .natural { word("NATURAL") }
    switch join.kind {
    case .inner: word("JOIN")
    case .left: word("LEFT JOIN")
    case .right: word("RIGHT JOIN")
    case .full: word("FULL JOIN")
    case .cross: word("CROSS JOIN")
    }
    if case .join(let inner) = join.right, inner.alias == nil {
      word("(")
      table(join.right)
      write(")")
    } else {
      table(join.right)
    }
    switch join.condition {
    case .on(let condition): self.condition("ON", condition)
    case .using(let columns, let alias):
      word("USING")
      names(columns)
      self.alias(alias)
    case .natural, nil: break
    }
  }

  private mutating func function(_ reference: Syntax.FunctionReference) {
    if reference.lateral { word("LATERAL") }
    if reference.isRowsFrom {
      word("ROWS FROM")
      parenthesized(reference.items) { writer, item in
        writer.expression(item.call)
        if !item.columns.isEmpty {
          writer.word("AS")
          writer.columnTypes(item.columns)
        }
      }
    } else {
      for item in reference.items { expression(item.call) }
    }
    if reference.withOrdinality { word("WITH ORDINALITY") }
    alias(reference.alias)
    if !reference.columns.isEmpty {
      if reference.alias == nil { word("AS") }
      columnTypes(reference.columns)
    }
  }

  private mutating func columnTypes(_ columns: [Syntax.ColumnType]) {
    parenthesized(columns) { writer, column in
      writer.name(column.name)
      writer.type(column.type)
      writer.collation(column.collation)
    }
  }

  mutating func collation(_ collation: Syntax.QualifiedName?) {
    guard let collation else { return }
    word("COLLATE")
    name(collation)
  }

  // MARK: WITH and windows

  mutating func with(_ with: Syntax.With) {
    word(with.recursive ? "WITH RECURSIVE " : "WITH ")
    list(with.tables) { writer, table in
      writer.name(table.name)
      writer.names(table.columns)
      writer.word("AS")
      if let materialized = table.materialized { writer.word(materialized ? "MATERIALIZED" : "NOT MATERIALIZED") }
      writer.word("(")
      writer.statement(table.statement)
      writer.write(")")
    }
  }

  mutating func window(_ window: Syntax.Window) {
    space()
    write("(")
    if let base = window.base { name(base) }
    if !window.partitionBy.isEmpty {
      word("PARTITION BY ")
      list(window.partitionBy) { $0.expression($1) }
    }
    if !window.orderBy.isEmpty { orderBy(window.orderBy) }
    if let frame = window.frame { self.frame(frame) }
    write(")")
  }

  private mutating func frame(_ frame: Syntax.WindowFrame) {
    word(frame.mode == .rows ? "ROWS" : frame.mode == .range ? "RANGE" : "GROUPS")
    if let end = frame.end {
      word("BETWEEN")
      bound(frame.start)
      word("AND")
      bound(end)
    } else {
      bound(frame.start)
    }
    switch frame.exclusion {
    case .currentRow: word("EXCLUDE CURRENT ROW")
    case .group: word("EXCLUDE GROUP")
    case .ties: word("EXCLUDE TIES")
    case nil: break
    }
  }

  private mutating func bound(_ bound: Syntax.WindowFrame.Bound) {
    switch bound {
    case .unboundedPreceding: word("UNBOUNDED PRECEDING")
    case .unboundedFollowing: word("UNBOUNDED FOLLOWING")
    case .currentRow: word("CURRENT ROW")
    case .preceding(let offset):
      restricted(offset)
      word("PRECEDING")
    case .following(let offset):
      restricted(offset)
      word("FOLLOWING")
    }
  }
}
