// EXPLAIN's text, in PostgreSQL's shape.

/// Prints a plan.
struct PlanPrinter {
  private let plan: PlannedStatement
  private let binder: Binder
  let costs: Bool
  private let verbose: Bool
  var timing = true
  /// The counters of EXPLAIN ANALYZE, in the order in which operators were made: inputs before what reads them.
  var instruments: [InstrumentedSource] = []
  private var output: [String] = []
  /// What the lines say, for EXPLAIN (FORMAT JSON).
  var records: [PlanRecord] = []
  private var heading: String?

  init(_ plan: PlannedStatement, _ binder: Binder, costs: Bool, verbose: Bool) {
    self.plan = plan
    self.binder = binder
    self.costs = costs
    self.verbose = verbose
  }

  static func milliseconds(_ nanoseconds: Int64) -> String {
    let micros = nanoseconds / 1000
    let fraction = String(1000 + micros % 1000).dropFirst()
    return "\(micros / 1000).\(fraction)"
  }

  mutating func lines() -> [String] {
    output = []
    // Subqueries and common tables are made before the main plan.
    switch plan.body {
    case .query(let node): emit(node, 0, "")
    case .modification(let modification): emit(modification, 0)
    }
    for (index, common) in plan.commonTables.enumerated() where common.references != 1 || isKept(index) {
      output.append("  CTE \(common.name)")
      heading = "CTE \(common.name)"
      switch common.body {
      case .query(let node, _): emit(node, 2, "->  ")
      case .modification(let modification): emit(modification, 2)
      }
    }
    for (index, subquery) in plan.subqueries.enumerated() where printedSubqueries.contains(index) {
      heading = "\(subquery.isConstant ? "InitPlan" : "SubPlan") \(index + 1)"
      output.append("  \(heading!)")
      emit(subquery.plan, 2, "->  ")
    }
    return output
  }
  private var printedSubqueries: Set<Int> = []

  /// Whether a common table is computed apart: someone reads it as one.
  private func isKept(_ index: Int) -> Bool {
    var found = false
    func visit(_ node: PlanNode) {
      if case .common(let id, _, _) = node.kind, id == index { found = true }
      for input in node.kind.inputs { visit(input) }
    }
    switch plan.body {
    case .query(let node): visit(node)
    case .modification(let modification): visit(modification.source)
    }
    for subquery in plan.subqueries { visit(subquery.plan) }
    for common in plan.commonTables {
      if case .query(let node, _) = common.body { visit(node) }
      if case .modification = common.body { found = found || common.name == plan.commonTables[index].name }
    }
    return found
  }

  private mutating func emit(_ modification: PlannedModification, _ depth: Int) {
    let verb =
      switch modification.bound.kind {
      case .insert: "Insert"
      case .update: "Update"
      case .delete: "Delete"
      }
    let name = modification.bound.table.name
    let alias = modification.bound.alias == name ? "" : " \(modification.bound.alias)"
    line(depth, "", "\(verb) on \(name)\(alias)", modification.source, nil)
    emit(modification.source, depth + 1, "->  ")
  }

  private mutating func line(
    _ depth: Int, _ arrow: String, _ text: String, _ node: PlanNode, _ measured: InstrumentedSource?
  ) {
    records.append(PlanRecord(depth: depth, title: text, heading: heading, node: node, measured: measured))
    heading = nil
    var text = indent(depth, arrow) + text
    if costs {
      text += "  (cost=\(fixed(node.startup))..\(fixed(node.cost)) rows=\(Int(max(1, node.rows.rounded()))))"
    }
    if let measured {
      if measured.loops == 0 {
        text += " (never executed)"
      } else {
        let loops = Int64(measured.loops)
        let time =
          timing
          ? "time=\(PlanPrinter.milliseconds(measured.firstNanoseconds / loops))..\(PlanPrinter.milliseconds(measured.nanoseconds / loops)) "
          : ""
        text += " (actual \(time)rows=\(measured.rows / measured.loops) loops=\(measured.loops))"
      }
    }
    output.append(text)
  }

  func fixed(_ x: Double) -> String {
    let hundredths = Int64(min(max(x, 0), 1e15) * 100)
    return "\(hundredths / 100).\(String(100 + hundredths % 100).dropFirst())"
  }

  private func indent(_ depth: Int, _ arrow: String) -> String {
    depth == 0 ? "" : String(repeating: " ", count: 6 * depth - 4) + arrow
  }
  private mutating func detail(_ depth: Int, _ label: String, _ text: String) {
    if !records.isEmpty { records[records.count - 1].details.append((label, text)) }
    output.append(String(repeating: " ", count: depth == 0 ? 2 : 6 * depth + 2) + "\(label): \(text)")
  }

  private mutating func emit(_ node: PlanNode, _ depth: Int, _ arrow: String) {
    // Projections that only compute are part of what is below them in PostgreSQL's output.
    if case .project(let input, _) = node.kind, !verbose {
      emit(input, depth, arrow)
      return
    }
    let place = output.count
    let measured = instrument(node)
    line(depth, arrow, title(node), node, measured)
    details(node, depth)
    if let measured {
      for text in measured.told { output.append(String(repeating: " ", count: depth == 0 ? 2 : 6 * depth + 2) + text) }
    }
    _ = place
    for input in node.kind.inputs { emit(input, depth + 1, "->  ") }
  }

  private func instrument(_ node: PlanNode) -> InstrumentedSource? {
    instruments.first { $0.describes(node) }
  }

  private func title(_ node: PlanNode) -> String {
    switch node.kind {
    case .oneRow: return "Result"
    case .empty: return "Result"
    case .scan(let plan):
      let table = plan.scan.table.name
      let alias = plan.scan.alias == table ? "" : " \(plan.scan.alias)"
      let path = plan.path
      let hasBounds = !path.equal.isEmpty || path.lower != nil || path.upper != nil
      if let index = path.index {
        return
          "Index \(path.isIndexOnly ? "Only " : "")Scan \(path.reverse ? "Backward " : "")using \(index.name) on \(table)\(alias)"
      }
      if hasBounds || path.reverse, let primary = plan.scan.table.primaryIndex {
        return "Index Scan \(path.reverse ? "Backward " : "")using \(primary.name) on \(table)\(alias)"
      }
      return "Seq Scan on \(table)\(alias)"
    case .system(let relation, _, let alias):
      return "Seq Scan on \(relation.name)\(alias == relation.name ? "" : " \(alias)")"
    case .values, .constants: return "Values Scan"
    case .function(let function):
      if case .set(let set, _)? = function.items.first?.call {
        return "Function Scan on \(set.name)\(function.alias == set.name ? "" : " \(function.alias)")"
      }
      return "Function Scan on \(function.alias)"
    case .filter: return "Filter"
    case .project: return "Project"
    case .projectSet: return "ProjectSet"
    case .nestedLoop(let kind, _, _, _, _): return "Nested Loop\(suffix(kind))"
    case .hashJoin(let kind, _, _, _, _, _, _): return "Hash\(suffix(kind)) Join".replacingJoin
    case .materialize: return "Materialize"
    case .aggregate(_, _, let strategy):
      return strategy == .plain ? "Aggregate" : strategy == .hashed ? "HashAggregate" : "GroupAggregate"
    case .window: return "WindowAgg"
    case .distinct(_, _, _, let sorted): return sorted ? "Unique" : "HashAggregate"
    case .sort: return "Sort"
    case .topN: return "Sort"
    case .limit: return "Limit"
    case .append: return "Append"
    case .setOperation(let operation, _, _):
      return "HashSetOp \(operation.kind == .intersect ? "Intersect" : "Except")\(operation.all ? " All" : "")"
    case .common(_, _, let name): return "CTE Scan on \(name)"
    case .recursive: return "Recursive Union"
    case .working: return "WorkTable Scan"
    case .lock: return "LockRows"
    }
  }

  private func suffix(_ kind: JoinKind) -> String {
    switch kind {
    case .inner: ""
    case .left: " Left Join"
    case .right: " Right Join"
    case .full: " Full Join"
    case .semi: " Semi Join"
    case .anti: " Anti Join"
    }
  }

  private mutating func details(_ node: PlanNode, _ depth: Int) {
    var printer = ExpressionPrinter(binder)
    switch node.kind {
    case .empty: detail(depth, "One-Time Filter", "false")
    case .scan(let plan):
      if let condition = TypedExpression.conjunction(plan.path.conditions) {
        detail(depth, "Index Cond", printer.condition(condition))
      }
      if let filter = plan.filter { detail(depth, "Filter", printer.condition(filter)) }
    case .filter(_, let condition): detail(depth, "Filter", printer.condition(condition))
    case .nestedLoop(_, _, _, let condition, _):
      if let condition { detail(depth, "Join Filter", printer.condition(condition)) }
    case .hashJoin(_, _, _, let keys, let condition, _, _):
      let parts = keys.map { "(\(printer.text($0.probe)) = \(printer.text($0.build)))" }
      detail(depth, "Hash Cond", parts.count == 1 ? parts[0] : "(\(parts.joined(separator: " AND ")))")
      if let condition { detail(depth, "Join Filter", printer.condition(condition)) }
    case .aggregate(let aggregate, _, _):
      if !aggregate.keys.isEmpty {
        detail(depth, "Group Key", aggregate.keys.map { printer.text($0.expression) }.joined(separator: ", "))
      }
    case .distinct(_, let keys, _, let sorted):
      if !sorted { detail(depth, "Group Key", keys.map { printer.text($0) }.joined(separator: ", ")) }
    case .sort(_, let keys, _, _), .topN(_, let keys, _, _, _):
      detail(depth, "Sort Key", keys.map { printer.key($0) }.joined(separator: ", "))
    default: break
    }
    printedSubqueries.formUnion(printer.subqueries)
  }
}

extension String {
  /// `Hash Left Join Join` → `Hash Left Join`.
  fileprivate var replacingJoin: String {
    hasSuffix(" Join Join") ? String(dropLast(5)) : self
  }
}

/// Prints bound expressions for EXPLAIN.
struct ExpressionPrinter {
  private let binder: Binder
  private(set) var subqueries: Set<Int> = []
  init(_ binder: Binder) { self.binder = binder }

  mutating func key(_ key: SortKey) -> String {
    var result = text(key.expression)
    if key.descending { result += " DESC" }
    if key.nullsFirst != key.descending { result += key.nullsFirst ? " NULLS FIRST" : " NULLS LAST" }
    return result
  }

  mutating func condition(_ expression: TypedExpression) -> String {
    let result = text(expression)
    return result.hasPrefix("(") ? result : "(\(result))"
  }

  private mutating func list(_ expressions: [TypedExpression], _ separator: String = ", ") -> String {
    var parts: [String] = []
    for expression in expressions { parts.append(text(expression)) }
    return parts.joined(separator: separator)
  }

  mutating func text(_ expression: TypedExpression) -> String {
    switch expression.node {
    case .constant(let datum): return constant(datum, expression.type)
    case .parameter(let n): return "$\(n)"
    case .column(let slot):
      let name = binder.slotNames[slot] ?? "#\(slot)"
      return name.split(separator: ".").last.map(String.init) ?? name
    case .slot(let n): return "$slot\(n)"
    case .call(let function, let arguments): return call(function, arguments)
    case .aggregate(let call): return "\(call.function.name)(\(list(call.arguments)))"
    case .window: return "window()"
    case .and(let parts): return "(\(list(parts, " AND ")))"
    case .or(let parts): return "(\(list(parts, " OR ")))"
    case .not(let inner): return "(NOT \(text(inner)))"
    case .isNull(let inner, let negated): return "(\(text(inner)) IS \(negated ? "NOT " : "")NULL)"
    case .isTruth(let inner, let test, let negated):
      let word = test == .isTrue ? "TRUE" : test == .isFalse ? "FALSE" : "UNKNOWN"
      return "(\(text(inner)) IS \(negated ? "NOT " : "")\(word))"
    case .isDistinct(let a, let b, let negated):
      return "(\(text(a)) IS \(negated ? "NOT " : "")DISTINCT FROM \(text(b)))"
    case .cases: return "CASE … END"
    case .caseOperand: return "CASE"
    case .coalesce(let parts): return "COALESCE(\(list(parts)))"
    case .nullif(let a, let b, _): return "NULLIF(\(text(a)), \(text(b)))"
    case .extreme(let parts, let greatest): return "\(greatest ? "GREATEST" : "LEAST")(\(list(parts)))"
    case .inList(let subject, let items, _, let negated):
      return "(\(text(subject)) \(negated ? "NOT IN" : "IN") (\(list(items))))"
    case .quantified(let subject, let array, _, let all):
      return "(\(text(subject)) = \(all ? "ALL" : "ANY") (\(text(array))))"
    case .cast(let inner, let method):
      if case .relabel = method { return text(inner) }
      return "(\(text(inner)))::\(expression.type.description)"
    case .array(let parts): return "ARRAY[\(list(parts))]"
    case .subscripts(let base, let indexes): return text(base) + "[\(list(indexes))]"
    case .slice(let base, _): return text(base) + "[:]"
    case .rowCompare(let comparison, let a, let b):
      let op: String =
        switch comparison {
        case .equal: "="
        case .notEqual: "<>"
        case .less: "<"
        case .lessOrEqual: "<="
        case .greater: ">"
        case .greaterOrEqual: ">="
        }
      return "(ROW(\(list(a))) \(op) ROW(\(list(b))))"
    case .row(let parts): return "ROW(\(list(parts)))"
    case .subplan(let id, let arguments):
      subqueries.insert(id)
      let plan = "SubPlan \(id + 1)"
      return arguments.isEmpty ? "(\(plan))" : "(\(list(arguments)) = ANY (\(plan)))"
    case .collate(let inner, _): return text(inner)
    }
  }

  private mutating func call(_ function: ScalarFunction, _ arguments: [TypedExpression]) -> String {
    if arguments.count == 2, let symbol = symbol(function) {
      return "(\(text(arguments[0])) \(symbol) \(text(arguments[1])))"
    }
    return "\(function.name)(\(list(arguments)))"
  }

  private func symbol(_ function: ScalarFunction) -> String? {
    switch function.intrinsic {
    case .compare(let comparison, _)?:
      switch comparison {
      case .equal: return "="
      case .notEqual: return "<>"
      case .less: return "<"
      case .lessOrEqual: return "<="
      case .greater: return ">"
      case .greaterOrEqual: return ">="
      }
    case .arithmetic(let operation, _)?:
      switch operation {
      case .add: return "+"
      case .subtract: return "-"
      case .multiply: return "*"
      case .divide: return "/"
      case .remainder: return "%"
      }
    case .like(let insensitive, let negated)?:
      return (negated ? "!~~" : "~~") + (insensitive ? "*" : "")
    default:
      return function.name.allSatisfy { "+-*/<>=~!@#%^&|`?".contains($0) } ? function.name : nil
    }
  }

  private func constant(_ datum: Datum, _ type: SQLType) -> String {
    if datum == .null { return "NULL::\(type.description)" }
    let arena = Arena(initialBytes: 64)
    let text = withExtendedLifetime(arena) { (try? TypeCodec.string(datum.value(in: arena), type.id)) ?? "?" }
    switch type.id {
    case .int4, .bool, .numeric: return text.hasPrefix("-") ? "'\(text)'::\(type.description)" : text
    case .int8: return "'\(text)'::bigint"
    default: return "\(SQLWriter.literal(text))::\(SQLType(type.id).description)"
    }
  }
}
