extension Binder {
  /// A call of any kind: scalar, aggregate, window, or set-returning.
  func function(
    _ call: Syntax.FunctionCall, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    let name = try functionName(call.name)
    var call = call
    if call.arguments.contains(where: { $0.name != nil }) {
      call.arguments = try NamedArguments.ordered(call.arguments, of: name, at: position)
    }
    if call.variadic { return try variadicCall(name, call, scope, clause, at: position) }
    if let ranking = WindowFunction(rawValue: name), call.over != nil {
      return try rankingCall(ranking, call, scope, clause, at: position)
    }
    let isAggregate = resolver.registry.aggregates[name] != nil && resolver.registry.scalars[name] == nil
    if call.withinGroup, call.over == nil { try checkAggregate(clause, at: position) }
    let inner: Clause = isAggregate ? (call.over == nil ? .aggregateArgument : .window) : clause
    if isAggregate, call.over == nil { try checkAggregate(clause, at: position) }
    var arguments: [TypedExpression] = []
    for argument in call.arguments {
      if case .star(let qualifier) = argument.value.kind, !call.isStar {
        guard !qualifier.isEmpty else {
          throw SQLError(.syntaxError, "row expansion via \"*\" is not supported here", position: position)
        }
        // `f(t.*)` is `f(t)`.
        let row = Syntax.Expression(.column(qualifier), argument.value.position)
        arguments.append(try bind(row, scope, inner))
        continue
      }
      arguments.append(try bind(argument.value, scope, inner))
    }
    if JSONRecords.takingRows.contains(name) {
      for index in arguments.indices { arguments[index] = try jsonObject(arguments[index]) ?? arguments[index] }
      if name == "row_to_json", arguments.count == 1, arguments[0].type.id == .json { return arguments[0] }
    }
    if name == "pg_typeof", arguments.count == 1, arguments[0].type.id == .unknown {
      return .constant(.int(Int64(TypeID.unknown.rawValue)), .regtype, at: position)
    }
    if call.withinGroup { return try orderedSet(name, call, arguments, scope, at: position) }
    if WindowFunction(rawValue: name) != nil, resolver.registry.scalars[name] == nil, !isAggregate {
      throw SQLError(.windowingError, "window function \(name) requires an OVER clause", position: position)
    }
    let resolved: ResolvedCall
    if call.isStar {
      guard isAggregate || name == "count" else {
        throw SQLError(
          .wrongObjectType, "\(name)(*) specified, but \(name) is not an aggregate function", position: position)
      }
      resolved = try resolver.call(name, [], at: position)
    } else {
      if isAggregate, arguments.isEmpty, name == "count" {
        throw SQLError(
          .wrongObjectType, "count(*) must be used to call a parameterless aggregate function", position: position)
      }
      resolved = try resolver.call(name, arguments, at: position)
    }
    switch resolved.function {
    case .scalar:
      if call.over != nil {
        throw SQLError(
          .wrongObjectType, "OVER specified, but \(name) is not a window function nor an aggregate function",
          position: position)
      }
      try refuseAggregateSyntax(call, name, at: position)
      return try resolver.scalar(resolved, name: name, at: position)
    case .set(let function): return try setCall(function, resolved, call, scope, clause, at: position)
    case .aggregate(let function):
      return try aggregateCall(function, resolved, call, scope, clause, at: position)
    }
  }

  func functionName(_ name: Syntax.QualifiedName) throws(SQLError) -> String {
    if let schema = name.schema, schema != "pg_catalog",
      schema != "information_schema" || name.name != "_pg_expandarray"
    {
      guard catalog.schema(named: schema) != nil else {
        throw SQLError(.invalidSchema, "schema \"\(schema)\" does not exist", position: place(name.position))
      }
      throw SQLError(
        .undefinedFunction, "function \(schema).\(name.name) does not exist", position: place(name.position))
    }
    return name.name
  }

  private func refuseAggregateSyntax(
    _ call: Syntax.FunctionCall, _ name: String, at position: Int?
  ) throws(SQLError) {
    let what: String? =
      call.distinct ? "DISTINCT" : !call.orderBy.isEmpty ? "ORDER BY" : call.filter != nil ? "FILTER" : nil
    if let what {
      throw SQLError(
        .wrongObjectType, "\(what) specified, but \(name) is not an aggregate function", position: position)
    }
  }

  private func checkAggregate(_ clause: Clause, at position: Int?) throws(SQLError) {
    if clause == .aggregateArgument {
      throw SQLError(.groupingError, "aggregate function calls cannot be nested", position: position)
    }
    guard clause.allowsAggregates else {
      throw SQLError(
        .groupingError, "aggregate functions are not allowed in \(clause.phrase)", position: position)
    }
  }

  // MARK: Aggregates and windows

  private func aggregateCall(
    _ function: AggregateFunction, _ resolved: ResolvedCall, _ call: Syntax.FunctionCall, _ scope: Scope,
    _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    var filter: TypedExpression?
    if let syntax = call.filter { filter = try condition(syntax, scope, .filter, "FILTER") }
    if let over = call.over {
      if call.distinct {
        throw SQLError(.featureNotSupported, "DISTINCT is not implemented for window functions", position: position)
      }
      if !call.orderBy.isEmpty {
        throw SQLError(
          .featureNotSupported, "aggregate ORDER BY is not implemented for window functions", position: position)
      }
      let window = try self.window(over, scope, clause, at: position)
      let bound = WindowCall(.aggregate(function), resolved.arguments, filter: filter, window: window)
      return TypedExpression(.window(bound), resolved.type, at: position)
    }
    var order: [SortKey] = []
    for item in call.orderBy { order.append(try sortKey(item, try bind(item.expression, scope, .aggregateArgument))) }
    if call.distinct {
      for key in order where !resolved.arguments.contains(where: { $0.isSame(as: key.expression) }) {
        throw SQLError(
          .invalidColumnReference,
          "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list", position: position)
      }
    }
    let bound = AggregateCall(
      function, resolved.arguments, isDistinct: call.distinct, orderBy: order, filter: filter)
    return TypedExpression(.aggregate(bound), resolved.type, at: position)
  }

  private func rankingCall(
    _ function: WindowFunction, _ call: Syntax.FunctionCall, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    var arguments: [TypedExpression] = []
    for argument in call.arguments { arguments.append(try resolver.settle(try bind(argument.value, scope, .window))) }
    func expect(_ counts: ClosedRange<Int>) throws(SQLError) {
      guard counts.contains(arguments.count) else {
        let types = arguments.map(\.type.description).joined(separator: ", ")
        throw SQLError(
          .undefinedFunction, "function \(function.rawValue)(\(types)) does not exist",
          hint: "No function matches the given name and argument types. You might need to add explicit type casts.",
          position: position)
      }
    }
    var type = SQLType.int8
    switch function {
    case .rowNumber, .rank, .denseRank: try expect(0...0)
    case .percentRank, .cumeDist:
      try expect(0...0)
      type = .float8
    case .ntile:
      try expect(1...1)
      arguments[0] = try resolver.coerce(arguments[0], to: .int4, .implicit)
      type = .int4
    case .lag, .lead:
      try expect(1...3)
      type = arguments[0].type
      if arguments.count > 1 { arguments[1] = try resolver.coerce(arguments[1], to: .int4, .implicit) }
      if arguments.count > 2 {
        let (unified, common) = try resolver.unify([arguments[0], arguments[2]], function.rawValue)
        (arguments[0], arguments[2], type) = (unified[0], unified[1], common)
      }
    case .firstValue, .lastValue:
      try expect(1...1)
      type = arguments[0].type
    case .nthValue:
      try expect(2...2)
      type = arguments[0].type
      arguments[1] = try resolver.coerce(arguments[1], to: .int4, .implicit)
    }
    if call.filter != nil {
      throw SQLError(
        .featureNotSupported, "FILTER is not implemented for non-aggregate window functions", position: position)
    }
    guard let over = call.over else {
      throw SQLError(
        .windowingError, "window function \(function.rawValue) requires an OVER clause", position: position)
    }
    let window = try self.window(over, scope, clause, at: position)
    return TypedExpression(
      .window(WindowCall(.ranking(function), arguments, window: window)), SQLType(type.id), at: position)
  }

  /// The index of the window that `reference` names or describes.
  private func window(
    _ reference: Syntax.WindowReference, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> Int {
    if clause == .window || clause == .partition {
      throw SQLError(.windowingError, "window function calls cannot be nested", position: position)
    }
    guard clause.allowsWindows, let select = scope.select else {
      let phrase = clause == .aggregateArgument ? "aggregate function calls" : clause.phrase
      throw SQLError(
        .windowingError, "window functions are not allowed in \(phrase)", position: position)
    }
    switch reference {
    case .named(let name):
      if let index = select.windows.firstIndex(where: { $0.name == name.text }) { return index }
      guard let named = select.namedWindows.first(where: { $0.name.text == name.text }) else {
        throw SQLError(
          .undefinedObject, "window \"\(name.text)\" does not exist", position: place(name.position))
      }
      var window = try bindWindow(named.window, scope)
      window.name = name.text
      select.windows.append(window)
    case .inline(let syntax): select.windows.append(try bindWindow(syntax, scope))
    }
    return select.windows.count - 1
  }

  private func bindWindow(_ syntax: Syntax.Window, _ scope: Scope) throws(SQLError) -> BoundWindow {
    var partition: [TypedExpression] = []
    var order: [SortKey] = []
    if let base = syntax.base {
      guard let named = scope.select?.namedWindows.first(where: { $0.name.text == base.text }) else {
        throw SQLError(
          .undefinedObject, "window \"\(base.text)\" does not exist", position: place(base.position))
      }
      let bound = try bindWindow(named.window, scope)
      partition = bound.partition
      order = bound.order
      if !syntax.partitionBy.isEmpty {
        throw SQLError(
          .windowingError, "cannot override PARTITION BY clause of window \"\(base.text)\"",
          position: place(base.position))
      }
      if !order.isEmpty, !syntax.orderBy.isEmpty {
        throw SQLError(
          .windowingError, "cannot override ORDER BY clause of window \"\(base.text)\"", position: place(base.position))
      }
    }
    for expression in syntax.partitionBy {
      partition.append(try resolver.settle(try bind(expression, scope, .partition)))
    }
    for item in syntax.orderBy { order.append(try sortKey(item, try bind(item.expression, scope, .partition))) }
    var frame = WindowNode.Frame.standard
    if let written = syntax.frame { frame = try bindFrame(written, order, scope) }
    return BoundWindow(partition: partition, order: order, frame: frame)
  }

  private func bindFrame(
    _ syntax: Syntax.WindowFrame, _ order: [SortKey], _ scope: Scope
  ) throws(SQLError) -> WindowNode.Frame {
    let position = place(syntax.position)
    if syntax.mode == .groups, order.isEmpty {
      throw SQLError(.windowingError, "GROUPS mode requires an ORDER BY clause", position: position)
    }
    var key: TypedExpression?
    func offset(_ expression: Syntax.Expression, isPreceding: Bool) throws(SQLError) -> TypedExpression {
      if syntax.mode == .range {
        let (own, bound) = try rangeBound(expression, order, isPreceding: isPreceding, scope, at: position)
        key = own
        return bound
      }
      let bound = try resolver.bigint(try bind(expression, scope, .limit), syntax.mode == .rows ? "ROWS" : "GROUPS")
      if bound.contains({ if case .column = $0.node { true } else { false } }) {
        throw SQLError(
          .invalidColumnReference,
          "argument of \(syntax.mode == .rows ? "ROWS" : "GROUPS") must not contain variables", position: position)
      }
      return bound
    }
    func bound(_ syntax: Syntax.WindowFrame.Bound) throws(SQLError) -> WindowNode.Frame.Bound {
      switch syntax {
      case .unboundedPreceding: .unboundedPreceding
      case .preceding(let expression): .preceding(try offset(expression, isPreceding: true))
      case .currentRow: .currentRow
      case .following(let expression): .following(try offset(expression, isPreceding: false))
      case .unboundedFollowing: .unboundedFollowing
      }
    }
    let start = try bound(syntax.start)
    let end = try syntax.end.map { (e) throws(SQLError) in try bound(e) } ?? .currentRow
    return WindowNode.Frame(mode: syntax.mode, key: key, start: start, end: end, exclusion: syntax.exclusion)
  }

  /// RANGE with an offset: the row's key, and the key at which its frame begins or ends.
  private func rangeBound(
    _ expression: Syntax.Expression, _ order: [SortKey], isPreceding: Bool, _ scope: Scope, at position: Int?
  ) throws(SQLError) -> (key: TypedExpression, bound: TypedExpression) {
    guard order.count == 1 else {
      throw SQLError(
        .windowingError, "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
        position: position)
    }
    var key = order[0].expression
    let offset: SQLType
    switch key.type.id {
    case .int2, .int4, .int8:
      key = try resolver.coerce(key, to: .int8, .implicit)
      offset = .int8
    case .float4, .float8:
      key = try resolver.coerce(key, to: .float8, .implicit)
      offset = .float8
    case .numeric: offset = .numeric
    case .date:
      key = try resolver.coerce(key, to: .timestamp, .implicit)
      offset = .interval
    case .timestamp, .timestamptz, .interval: offset = .interval
    default:
      throw SQLError(
        .featureNotSupported,
        "RANGE with offset PRECEDING/FOLLOWING is not supported for column type \(key.type.description)",
        position: position)
    }
    let bound = try bind(expression, scope, .limit)
    guard bound.type.id == .unknown || resolver.canCoerce(bound.type.id, to: offset.id, .implicit) else {
      throw SQLError(
        .featureNotSupported,
        "RANGE with offset PRECEDING/FOLLOWING is not supported for column type \(order[0].expression.type.description) and offset type \(bound.type.description)",
        hint: "Cast the offset value to an appropriate type.", position: position)
    }
    guard !bound.contains({ if case .column = $0.node { true } else { false } }) else {
      throw SQLError(
        .invalidColumnReference, "argument of RANGE must not contain variables", position: position)
    }
    let distance = try resolver.coerce(bound, to: offset, .implicit)
    // What precedes in descending order is greater.
    let symbol = isPreceding != order[0].descending ? "-" : "+"
    return (key, try resolver.operatorCall(symbol, key, distance, at: position))
  }

  private func orderedSet(
    _ name: String, _ call: Syntax.FunctionCall, _ direct: [TypedExpression], _ scope: Scope, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    guard ["percentile_cont", "percentile_disc", "mode"].contains(name) else {
      throw SQLError(
        .featureNotSupported, "WITHIN GROUP with \(name) is not supported",
        hint: "The ordered-set aggregates are percentile_cont, percentile_disc and mode.", position: position)
    }
    guard call.over == nil else {
      throw SQLError(
        .featureNotSupported, "OVER is not supported for ordered-set aggregate \(name)", position: position)
    }
    guard call.orderBy.count == 1 else {
      throw SQLError(.undefinedFunction, "function \(name) sorts by one expression", position: position)
    }
    let item = call.orderBy[0]
    let bound = try resolver.settle(try bind(item.expression, scope, .aggregateArgument))
    let key = try sortKey(item, bound)
    var filter: TypedExpression?
    if let syntax = call.filter { filter = try condition(syntax, scope, .filter, "FILTER") }
    return try orderedSetCall(name, direct, key, filter: filter, at: position)
  }

  private func variadicCall(
    _ name: String, _ call: Syntax.FunctionCall, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    throw SQLError(.featureNotSupported, "VARIADIC arguments are not supported", position: position)
  }

  // MARK: Set-returning functions

  private func setCall(
    _ function: SetFunction, _ resolved: ResolvedCall, _ call: Syntax.FunctionCall, _ scope: Scope, _ clause: Clause,
    at position: Int?
  ) throws(SQLError) -> TypedExpression {
    try refuseAggregateSyntax(call, function.name, at: position)
    guard clause == .select || clause == .orderBy, let select = scope.select else {
      throw SQLError(
        .featureNotSupported, "set-returning functions are not allowed in \(clause.phrase)", position: position)
    }
    if resolved.arguments.contains(where: { $0.contains { if case .aggregate = $0.node { true } else { false } } }) {
      throw SQLError(
        .featureNotSupported, "aggregates inside the arguments of a set-returning function are not supported",
        position: position)
    }
    let types = function.columns.count == 1 ? [resolved.type] : function.columns.map { SQLType($0.type) }
    let slots = types.map { newSlot($0) }
    select.setCalls.append(FunctionScanNode.Item(call: .set(function, resolved.arguments), slots: slots))
    return slots.count == 1 ? .column(slots[0], resolved.type, at: position) : record(of: function, slots, at: position)
  }

  // MARK: The standard's special forms

  func standardFunction(
    _ syntax: Syntax.Expression, _ scope: Scope, _ clause: Clause, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    func bound(_ expression: Syntax.Expression) throws(SQLError) -> TypedExpression {
      try bind(expression, scope, clause)
    }
    switch syntax.kind {
    case .extract(let field, let operand):
      let name = TypedExpression.constant(.text(field), .text, at: position)
      let value = try bound(operand)
      let function = resolver.registry.hasFunction("extract") ? "extract" : "date_part"
      return try resolver.scalarCall(function, [name, value], at: position)
    case .substring(let substring):
      if let pattern = substring.similar {
        var escaped = [try bound(pattern)]
        if let escape = substring.escape { escaped.append(try bound(escape)) }
        let expression = try resolver.scalarCall("similar_to_escape", escaped, at: position)
        return try resolver.scalarCall("substring", [try bound(substring.operand), expression], at: position)
      }
      var arguments = [try bound(substring.operand)]
      if let from = substring.from {
        arguments.append(try bound(from))
      } else if substring.count != nil {
        arguments.append(.constant(.int(1), .int4))
      }
      if let count = substring.count { arguments.append(try bound(count)) }
      return try resolver.scalarCall("substring", arguments, at: position)
    case .position(let needle, let haystack):
      return try resolver.scalarCall("position", [try bound(haystack), try bound(needle)], at: position)
    case .overlay(let overlay):
      var arguments = [try bound(overlay.operand), try bound(overlay.placing), try bound(overlay.from)]
      if let count = overlay.count { arguments.append(try bound(count)) }
      return try resolver.scalarCall("overlay", arguments, at: position)
    case .trim(let trim):
      let name = trim.side == .both ? "btrim" : trim.side == .leading ? "ltrim" : "rtrim"
      return try resolver.scalarCall(name, try bind(trim.arguments, scope, clause), at: position)
    case .overlaps(let left, let right):
      return try resolver.scalarCall(
        "overlaps", try bind(left, scope, clause) + bind(right, scope, clause), at: position)
    case .sqlValue(let function, let precision): return try sqlValue(function, precision, at: position)
    default: preconditionFailure("not a special form")
    }
  }

  private func sqlValue(
    _ function: Syntax.SQLValueFunction, _ precision: Int?, at position: Int?
  ) throws(SQLError) -> TypedExpression {
    func cast(_ name: String, _ type: SQLType) throws(SQLError) -> TypedExpression {
      let value = try resolver.scalarCall(name, [], at: position)
      let target = precision.map { SQLType(type.id, modifier: Int32(min($0, 6))) } ?? type
      return try resolver.coerce(value, to: target, .explicit, at: position)
    }
    switch function {
    case .currentDate: return try cast("now", .date)
    case .currentTime: return try cast("now", .time)
    case .currentTimestamp: return try cast("now", .timestamptz)
    case .localTime: return try cast("now", .time)
    case .localTimestamp: return try cast("now", .timestamp)
    case .currentRole, .currentUser, .user: return try resolver.scalarCall("current_user", [], at: position)
    case .sessionUser: return try resolver.scalarCall("session_user", [], at: position)
    case .currentCatalog: return try resolver.scalarCall("current_database", [], at: position)
    case .currentSchema: return try resolver.scalarCall("current_schema", [], at: position)
    }
  }

  // MARK: Order

  /// A sort key of ORDER BY over a bound expression.
  func sortKey(_ item: Syntax.SortItem, _ bound: TypedExpression) throws(SQLError) -> SortKey {
    let expression = try resolver.settle(bound)
    guard ValueOrder(expression.type.id) != nil else {
      throw SQLError(
        .undefinedFunction,
        "could not identify an ordering operator for type \(expression.type.description)",
        hint: "Use an explicit ordering operator or modify the query.", position: expression.position)
    }
    var descending = false
    switch item.direction {
    case nil, .ascending: break
    case .descending: descending = true
    case .using(let op):
      guard op.symbol == "<" || op.symbol == ">" else {
        throw SQLError(
          .wrongObjectType, "operator \(op.symbol) is not a valid ordering operator",
          hint: "Ordering operators must be \"<\" or \">\" members of btree operator families.",
          position: expression.position)
      }
      descending = op.symbol == ">"
    }
    return SortKey(expression, descending: descending, nullsFirst: item.nulls.map { $0 == .first })
  }
}
