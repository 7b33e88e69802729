// What names mean at a place of a query.

/// A column that can be named.
struct ScopeColumn {
  var name: String
  /// A slot, nearly always; the merged column of a FULL JOIN … USING is an expression.
  var expression: TypedExpression
  var table: ObjectID?
  var number: Int?
}

/// An item of FROM.
struct RangeItem {
  var alias: String
  /// The schema, for `schema.table.column`; nil for what has an alias or no schema.
  var schema: String?
  var columns: [ScopeColumn]
  /// The relation whose rows these are: what `tableoid` says.
  var relation: ObjectID?
}

/// The items of FROM that are visible together.
struct Namespace {
  var items: [RangeItem] = []
  /// What `*` expands to, and where unqualified names are looked up: joined columns (USING) appear once.
  var columns: [ScopeColumn] = []
  /// Items that are on the left of a LATERAL or a JOIN condition but may not be named there, for a better message.
  mutating func add(_ item: RangeItem) throws(SQLError) {
    items.append(item)
    columns += item.columns
  }
}

/// The names visible in one query, and those of the queries around it.
final class Scope {
  let parent: Scope?
  var namespace = Namespace()
  /// Common table expressions by name.
  var commonTables: [String: Int] = [:]
  /// The SELECT being bound, where windows and set-returning functions of its list are collected.
  var select: SelectContext?

  init(parent: Scope?) { self.parent = parent }

  func commonTable(_ name: String) -> Int? { commonTables[name] ?? parent?.commonTable(name) }
}

/// What the list of a SELECT collects while it is bound.
final class SelectContext {
  var windows: [BoundWindow] = []
  var namedWindows: [Syntax.NamedWindow] = []
  var setCalls: [FunctionScanNode.Item] = []
}

/// A window, bound.
struct BoundWindow {
  var name: String?
  var partition: [TypedExpression]
  var order: [SortKey]
  var frame: WindowNode.Frame
}

/// Where an expression stands: what is allowed in it, and how errors name the place.
enum Clause {
  case select, whereClause, groupBy, having, orderBy, joinOn, fromFunction, values, limit, returning
  case update, insert, filter, window, aggregateArgument, distinctOn
  case defaultValue, check, indexExpression, indexPredicate, generated, parameters, alterUsing, copyWhere, partition

  /// As PostgreSQL says "aggregate functions are not allowed in …".
  var phrase: String {
    switch self {
    case .select: "SELECT"
    case .whereClause: "WHERE"
    case .groupBy: "GROUP BY"
    case .having: "HAVING"
    case .orderBy: "ORDER BY"
    case .joinOn: "JOIN conditions"
    case .fromFunction: "functions in FROM"
    case .values: "VALUES"
    case .limit: "LIMIT"
    case .returning: "RETURNING"
    case .update: "UPDATE"
    case .insert: "VALUES"
    case .filter: "FILTER"
    case .window: "window definitions"
    case .aggregateArgument: "aggregate function calls"
    case .distinctOn: "DISTINCT ON"
    case .defaultValue: "DEFAULT expressions"
    case .check: "check constraints"
    case .indexExpression: "index expressions"
    case .indexPredicate: "index predicates"
    case .generated: "column generation expressions"
    case .parameters: "EXECUTE parameters"
    case .alterUsing: "transform expressions"
    case .copyWhere: "COPY FROM WHERE conditions"
    case .partition: "window PARTITION BY"
    }
  }
  var allowsAggregates: Bool {
    switch self {
    case .select, .having, .orderBy, .window, .distinctOn, .partition: true
    default: false
    }
  }
  var allowsWindows: Bool {
    switch self {
    case .select, .orderBy, .distinctOn: true
    default: false
    }
  }
  var allowsSubqueries: Bool {
    switch self {
    case .defaultValue, .check, .indexExpression, .indexPredicate, .generated, .parameters, .alterUsing, .copyWhere:
      false
    default: true
    }
  }
}

extension Scope {
  /// What an unqualified name means: the column, and nil if there is none here or in an outer query.
  func column(_ name: String, at position: Int) throws(SQLError) -> ScopeColumn? {
    var found: ScopeColumn?
    for column in namespace.columns where column.name == name {
      guard found == nil else {
        throw SQLError(.ambiguousColumn, "column reference \"\(name)\" is ambiguous", position: position)
      }
      found = column
    }
    if let found { return found }
    return try parent?.column(name, at: position)
  }

  /// The item of FROM that `name` names, here or in an outer query.
  func item(_ name: String, schema: String?, at position: Int) throws(SQLError) -> RangeItem? {
    let found = namespace.items.filter { $0.alias == name && (schema == nil || $0.schema == schema) }
    guard found.count <= 1 else {
      throw SQLError(.ambiguousAlias, "table reference \"\(name)\" is ambiguous", position: position)
    }
    if let item = found.first { return item }
    return try parent?.item(name, schema: schema, at: position)
  }

  /// A column whose name looks like `name`, for the hint.
  func similar(_ name: String) -> String? {
    var best: (distance: Int, text: String)?
    for item in namespace.items {
      for column in item.columns {
        let distance = editDistance(column.name, name)
        if distance <= max(1, name.count / 2), distance < (best?.distance ?? Int.max) {
          best = (distance, "\(item.alias).\(column.name)")
        }
      }
    }
    return best?.text ?? parent?.similar(name)
  }
}

/// Levenshtein's distance, for hints.
func editDistance(_ a: String, _ b: String) -> Int {
  let x = Array(a.unicodeScalars)
  let y = Array(b.unicodeScalars)
  guard !x.isEmpty, !y.isEmpty, x.count <= 64, y.count <= 64 else { return max(x.count, y.count) }
  var row = Array(0...y.count)
  for i in 1...x.count {
    var diagonal = row[0]
    row[0] = i
    for j in 1...y.count {
      let above = row[j]
      row[j] = min(above + 1, row[j - 1] + 1, diagonal + (x[i - 1] == y[j - 1] ? 0 : 1))
      diagonal = above
    }
  }
  return row[y.count]
}
