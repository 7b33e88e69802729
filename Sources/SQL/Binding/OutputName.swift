/// The name of an output column without an alias, as PostgreSQL finds it.
func outputName(_ syntax: Syntax.Expression) -> String { figure(syntax).name ?? "?column?" }

/// The name and whether it is a strong one: a cast takes its operand's name only if that is strong.
private func figure(_ syntax: Syntax.Expression) -> (name: String?, strong: Bool) {
  switch syntax.kind {
  case .column(let parts): return (parts.last, true)
  case .field(_, let name): return (name, true)
  case .subscripted(let base, _): return figure(base)
  case .function(let call): return (call.name.name, true)
  case .collate(let operand, _): return figure(operand)
  case .cast(let operand, let type, _):
    let inner = figure(operand)
    if inner.strong { return inner }
    return (type.arrayBounds.isEmpty ? type.name.name : "array", false)
  case .caseWhen(let syntax):
    if let otherwise = syntax.otherwise, case let inner = figure(otherwise), inner.strong { return inner }
    return ("case", false)
  case .coalesce: return ("coalesce", true)
  case .greatest: return ("greatest", true)
  case .least: return ("least", true)
  case .nullif: return ("nullif", true)
  case .extract: return ("extract", true)
  case .substring: return ("substring", true)
  case .position: return ("position", true)
  case .overlay: return ("overlay", true)
  case .overlaps: return ("overlaps", true)
  case .trim(let trim): return (trim.side == .both ? "btrim" : trim.side == .leading ? "ltrim" : "rtrim", true)
  case .sqlValue(let function, _): return (function.rawValue, true)
  case .grouping: return ("grouping", true)
  case .atTimeZone: return ("timezone", true)
  case .exists: return ("exists", true)
  case .array, .arrayQuery: return ("array", true)
  case .row: return ("row", true)
  case .subquery(let query):
    var body = query.body
    while case .setOperation(let operation) = body { body = operation.left.body }
    if case .select(let select) = body, let target = select.targets.first {
      return target.alias.map { ($0, true) } ?? figure(target.expression)
    }
    if case .values = body { return ("column1", true) }
    return (nil, false)
  default: return (nil, false)
  }
}
