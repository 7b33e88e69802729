/// Expressions. Levels are those of ``OperatorLevel``.
extension SQLWriter {
  /// An operand of parentheses, commas and clauses: nothing binds it.
  package mutating func expression(_ expression: Syntax.Expression) { operand(expression, atLeast: OperatorLevel.any) }

  /// An expression that must bind at `level` or tighter, or stand in parentheses.
  mutating func operand(_ expression: Syntax.Expression, atLeast level: Int) {
    let own = Self.level(expression)
    let isOperator = own < Self.primary && !Self.isNumber(expression)
    if own < level || (parentheses == .always && isOperator) {
      space()
      write("(")
      kind(expression)
      write(")")
    } else {
      kind(expression)
    }
  }

  /// An expression where only `b_expr` may stand.
  mutating func restricted(_ expression: Syntax.Expression) { operand(expression, atLeast: OperatorLevel.unary) }

  private static let primary = 20

  private static func isNumber(_ expression: Syntax.Expression) -> Bool {
    if case .number = expression.kind { true } else { false }
  }

  /// How tight the expression's outermost operator binds.
  private static func level(_ expression: Syntax.Expression) -> Int {
    switch expression.kind {
    case .or: OperatorLevel.or
    case .and: OperatorLevel.and
    case .not: OperatorLevel.not
    case .isTest, .isDistinct: OperatorLevel.is
    case .like, .between, .inList, .inQuery: OperatorLevel.pattern
    case .binary(let op, _, _): level(op)
    case .quantified(let quantified):
      if case .op(let op) = quantified.comparison { level(op) } else { OperatorLevel.pattern }
    case .unary(let op, _): isSign(op) ? OperatorLevel.unary : OperatorLevel.op
    case .number(let text): text.first == "-" ? OperatorLevel.unary : primary
    case .atTimeZone: OperatorLevel.at
    case .collate: OperatorLevel.collate
    case .cast(_, _, .op): OperatorLevel.typecast
    // A row stands in its own parentheses, but OVERLAPS after it would be taken with it.
    case .overlaps: OperatorLevel.comparison
    case .defaultValue, .currentOf: primary
    default: primary
    }
  }

  private static func isSign(_ op: Syntax.OperatorName) -> Bool {
    op.schema.isEmpty && (op.symbol == "+" || op.symbol == "-")
  }

  private static func level(_ op: Syntax.OperatorName) -> Int {
    guard op.schema.isEmpty else { return OperatorLevel.op }
    switch op.symbol {
    case "=", "<", ">", "<=", ">=", "<>": return OperatorLevel.comparison
    case "+", "-": return OperatorLevel.additive
    case "*", "/", "%": return OperatorLevel.multiplicative
    case "^": return OperatorLevel.power
    default: return OperatorLevel.op
    }
  }

  // MARK: Kinds

  private mutating func kind(_ expression: Syntax.Expression) {
    switch expression.kind {
    case .null: word("NULL")
    case .boolean(let value): word(value ? "TRUE" : "FALSE")
    case .number(let text): word(text)
    case .string(let value): string(value)
    case .parameter(let number): word("$\(number)")
    case .column(let parts): word(Self.dotted(parts))
    case .star(let parts): word(parts.isEmpty ? "*" : Self.dotted(parts) + ".*")
    case .field(let operand, let field):
      indirected(operand)
      write("." + Self.quoted(field))
    case .fieldStar(let operand):
      indirected(operand)
      write(".*")
    case .subscripted(let operand, let subscripts):
      indirected(operand, bareColumn: true)
      for each in subscripts { self.subscript(each) }
    case .subquery(let query): parenthesized(query)
    case .row(let items, let explicit):
      word(explicit ? "ROW(" : "(")
      list(items) { $0.expression($1) }
      write(")")
    case .array(let items):
      word("ARRAY")
      brackets(items)
    case .arrayQuery(let query):
      word("ARRAY")
      parenthesized(query)
    case .exists(let query):
      word("EXISTS")
      parenthesized(query)
    case .cast(let operand, let type, let form): cast(operand, type, form)
    case .caseWhen(let branches): caseWhen(branches)
    case .defaultValue: word("DEFAULT")
    case .currentOf(let cursor):
      word("CURRENT OF")
      name(cursor)
    default: operation(expression.kind)
    }
  }

  private mutating func operation(_ kind: Syntax.Expression.Kind) {
    switch kind {
    case .unary(let op, let operand):
      self.op(op)
      self.operand(operand, atLeast: Self.isSign(op) ? OperatorLevel.unary : OperatorLevel.op + 1)
    case .binary(let op, let left, let right):
      let level = Self.level(op)
      operand(left, atLeast: level == OperatorLevel.comparison ? level + 1 : level)
      self.op(op)
      operand(right, atLeast: level + 1)
    case .and(let operands): chain(operands, "AND", OperatorLevel.and)
    case .or(let operands): chain(operands, "OR", OperatorLevel.or)
    case .not(let operand):
      word("NOT")
      self.operand(operand, atLeast: OperatorLevel.not)
    case .collate(let operand, let collation):
      self.operand(operand, atLeast: OperatorLevel.collate)
      word("COLLATE")
      name(collation)
    case .atTimeZone(let operand, let zone):
      self.operand(operand, atLeast: OperatorLevel.at)
      word("AT TIME ZONE")
      self.operand(zone, atLeast: OperatorLevel.at + 1)
    case .overlaps(let left, let right):
      parenthesized(left) { $0.expression($1) }
      word("OVERLAPS")
      parenthesized(right) { $0.expression($1) }
    default: predicate(kind)
    }
  }

  private mutating func predicate(_ kind: Syntax.Expression.Kind) {
    switch kind {
    case .isTest(let operand, let test, let negated):
      self.operand(operand, atLeast: OperatorLevel.is + 1)
      let words = [Syntax.IsTest.null: "NULL", .isTrue: "TRUE", .isFalse: "FALSE", .unknown: "UNKNOWN"]
      word((negated ? "IS NOT " : "IS ") + (words[test] ?? ""))
    case .isDistinct(let left, let right, let negated):
      operand(left, atLeast: OperatorLevel.is + 1)
      word(negated ? "IS NOT DISTINCT FROM" : "IS DISTINCT FROM")
      operand(right, atLeast: OperatorLevel.is + 1)
    case .inList(let operand, let items, let negated):
      self.operand(operand, atLeast: OperatorLevel.pattern + 1)
      word(negated ? "NOT IN" : "IN")
      parenthesized(items) { $0.expression($1) }
    case .inQuery(let operand, let query, let negated):
      self.operand(operand, atLeast: OperatorLevel.pattern + 1)
      word(negated ? "NOT IN" : "IN")
      parenthesized(query)
    case .like(let like):
      operand(like.operand, atLeast: OperatorLevel.pattern + 1)
      word(Self.like(like.kind, like.negated))
      operand(like.pattern, atLeast: OperatorLevel.pattern + 1)
      if let escape = like.escape {
        word("ESCAPE")
        operand(escape, atLeast: OperatorLevel.pattern + 1)
      }
    case .between(let between):
      operand(between.operand, atLeast: OperatorLevel.pattern + 1)
      word(between.negated ? "NOT BETWEEN" : "BETWEEN")
      if between.symmetric { word("SYMMETRIC") }
      restricted(between.low)
      word("AND")
      operand(between.high, atLeast: OperatorLevel.pattern + 1)
    case .quantified(let quantified): self.quantified(quantified)
    default: function(kind)
    }
  }

  private mutating func function(_ kind: Syntax.Expression.Kind) {
    switch kind {
    case .function(let call): self.call(call)
    case .coalesce(let items): self.call("COALESCE", items)
    case .greatest(let items): self.call("GREATEST", items)
    case .least(let items): self.call("LEAST", items)
    case .nullif(let first, let second): self.call("NULLIF", [first, second])
    case .grouping(let items): self.call("GROUPING", items)
    case .extract(let field, let operand):
      word("EXTRACT(" + Self.literal(field))
      word("FROM")
      expression(operand)
      write(")")
    case .position(let needle, let text):
      word("POSITION(")
      restricted(needle)
      word("IN")
      restricted(text)
      write(")")
    case .substring(let parts): substring(parts)
    case .overlay(let overlay):
      word("OVERLAY(")
      expression(overlay.operand)
      clause("PLACING", overlay.placing)
      clause("FROM", overlay.from)
      clause("FOR", overlay.count)
      write(")")
    case .trim(let trim): self.trim(trim)
    case .sqlValue(let function, let precision):
      word(function.rawValue.uppercased())
      if let precision { write("(\(precision))") }
    default: break
    }
  }

  // MARK: Parts

  /// An operator, with the spaces that keep it apart from its neighbours.
  private mutating func op(_ op: Syntax.OperatorName) {
    word(Self.text(op))
    write(" ")
  }

  static func text(_ op: Syntax.OperatorName) -> String {
    op.schema.isEmpty ? op.symbol : "OPERATOR(" + dotted(op.schema) + "." + op.symbol + ")"
  }

  private static func like(_ kind: Syntax.Like.Kind, _ negated: Bool) -> String {
    let words = kind == .like ? "LIKE" : kind == .ilike ? "ILIKE" : "SIMILAR TO"
    return negated ? "NOT " + words : words
  }

  /// AND and OR: an operand of the same kind would melt into the chain if it came first.
  private mutating func chain(_ operands: [Syntax.Expression], _ op: String, _ level: Int) {
    for (index, each) in operands.enumerated() {
      if index > 0 { word(op) }
      operand(each, atLeast: level + 1)
    }
  }

  private mutating func clause(_ words: String, _ operand: Syntax.Expression?) {
    guard let operand else { return }
    word(words)
    expression(operand)
  }

  /// `( query )`.
  mutating func parenthesized(_ query: Syntax.Query) {
    space()
    write("(")
    self.query(query)
    write(")")
  }

  /// What stands before a field or a subscript.
  private mutating func indirected(_ operand: Syntax.Expression, bareColumn: Bool = false) {
    switch operand.kind {
    case .field, .subquery, .parameter: kind(operand)
    case .column where bareColumn: kind(operand)
    case .subscripted where !bareColumn: kind(operand)
    default:
      space()
      write("(")
      expression(operand)
      write(")")
    }
  }

  mutating func `subscript`(_ each: Syntax.Subscript) {
    write("[")
    if each.isSlice {
      if let lower = each.lower { expression(lower) }
      write(" : ")
    }
    if let upper = each.upper { expression(upper) }
    write("]")
  }

  private mutating func brackets(_ items: [Syntax.Expression]) {
    write("[")
    list(items) { $0.expression($1) }
    write("]")
  }

  private mutating func cast(_ operand: Syntax.Expression, _ type: Syntax.TypeName, _ form: Syntax.CastForm) {
    switch form {
    case .function:
      word("CAST(")
      expression(operand)
      word("AS")
      self.type(type)
      write(")")
    case .op:
      self.operand(operand, atLeast: OperatorLevel.typecast)
      write("::")
      let (head, tail) = typeText(type)
      write((type.isSet ? "SETOF " : "") + head + tail)
      for bound in type.arrayBounds { write(bound.map { "[\($0)]" } ?? "[]") }
    case .literal:
      let (head, tail) = typeText(type)
      word(head)
      expression(operand)
      write(tail)
    }
  }

  private mutating func caseWhen(_ expression: Syntax.Case) {
    word("CASE")
    if let operand = expression.operand { self.expression(operand) }
    for branch in expression.branches {
      clause("WHEN", branch.condition)
      clause("THEN", branch.result)
    }
    clause("ELSE", expression.otherwise)
    word("END")
  }

  private mutating func quantified(_ quantified: Syntax.Quantified) {
    switch quantified.comparison {
    case .op(let op):
      operand(quantified.left, atLeast: Self.level(op) + 1)
      self.op(op)
    case .like(let kind, let negated):
      operand(quantified.left, atLeast: OperatorLevel.pattern + 1)
      word(Self.like(kind, negated))
    }
    word(quantified.quantifier == .any ? "ANY" : "ALL")
    switch quantified.source {
    case .query(let query): parenthesized(query)
    case .array(let array):
      write(" (")
      expression(array)
      write(")")
    }
  }

  private mutating func substring(_ parts: Syntax.Substring) {
    word("SUBSTRING(")
    expression(parts.operand)
    clause("SIMILAR", parts.similar)
    clause("ESCAPE", parts.escape)
    clause("FROM", parts.from)
    clause("FOR", parts.count)
    write(")")
  }

  private mutating func trim(_ trim: Syntax.Trim) {
    word("TRIM(")
    word(trim.side == .both ? "BOTH" : trim.side == .leading ? "LEADING" : "TRAILING")
    list(trim.arguments) { $0.expression($1) }
    write(")")
  }

  // MARK: Calls

  private mutating func call(_ name: String, _ items: [Syntax.Expression]) {
    word(name + "(")
    list(items) { $0.expression($1) }
    write(")")
  }

  mutating func call(_ call: Syntax.FunctionCall) {
    name(call.name)
    write("(")
    if call.isStar { write("*") }
    if call.distinct { word("DISTINCT") }
    for (index, argument) in call.arguments.enumerated() {
      if index > 0 { write(", ") }
      if call.variadic, index == call.arguments.count - 1 { word("VARIADIC") }
      if let name = argument.name { word(Self.quoted(name) + " =>") }
      expression(argument.value)
    }
    if !call.withinGroup, !call.orderBy.isEmpty { orderBy(call.orderBy) }
    write(")")
    if call.withinGroup {
      word("WITHIN GROUP (")
      orderBy(call.orderBy)
      write(")")
    }
    if let filter = call.filter {
      word("FILTER (WHERE")
      expression(filter)
      write(")")
    }
    switch call.over {
    case .named(let name):
      word("OVER")
      self.name(name)
    case .inline(let window):
      word("OVER")
      self.window(window)
    case nil: break
    }
  }
}
