internal import Transactions

extension SQLSession {
  /// EXPLAIN [ANALYZE]: the plan as text, one line a row.
  func explain(
    _ explain: Syntax.Explain, _ prepared: PreparedStatement, _ parameters: [Datum], _ sink: any ResultSink
  ) throws(SQLError) -> String {
    var analyze = false
    var costs = true
    var verbose = false
    var timing = true
    var summary: Bool?
    var isJSON = false
    for option in explain.options {
      func flag() throws(SQLError) -> Bool {
        switch option.value {
        case nil, .word("true"), .word("on"), .number("1"): return true
        case .word("false"), .word("off"), .number("0"): return false
        default:
          throw SQLError(
            .syntaxError, "\(option.name) requires a Boolean value", position: place(option.position))
        }
      }
      switch option.name {
      case "analyze": analyze = try flag()
      case "costs": costs = try flag()
      case "verbose": verbose = try flag()
      case "timing": timing = try flag()
      case "summary": summary = try flag()
      case "buffers", "wal", "settings": _ = try flag()
      case "format":
        switch option.value {
        case .word("text")?, .string("text")?: isJSON = false
        case .word("json")?, .string("json")?: isJSON = true
        default:
          throw SQLError(
            .featureNotSupported, "EXPLAIN formats other than TEXT and JSON are not supported",
            position: place(option.position))
        }
      default:
        throw SQLError(
          .syntaxError, "unrecognized EXPLAIN option \"\(option.name)\"", position: place(option.position))
      }
    }
    var statement = explain.statement
    if case .execute(let execute) = statement, let known = self.prepared[execute.name.text]?.statement {
      statement = known
    }
    if case .createTableAs(let create) = statement, case .query(let query) = create.source { statement = .query(query) }
    if case .declareCursor(let declare) = statement { statement = .query(declare.query) }
    switch statement {
    case .query, .insert, .update, .delete: break
    default:
      throw SQLError(
        .featureNotSupported, "EXPLAIN of this statement is not supported", position: place(explain.position))
    }
    let start = monotonicNanoseconds()
    let inner = PreparedStatement(
      text: prepared.text, statement: statement, position: 0, parameterTypes: prepared.givenTypes)
    let binder = try makeBinder(parameterTypes: prepared.givenTypes)
    let plan = try SQLSession.plan(statement, binder, makePlanner(binder))
    let planned = monotonicNanoseconds()
    var printer = PlanPrinter(plan, binder, costs: costs, verbose: verbose)
    _ = inner
    if analyze {
      for common in plan.commonTables {
        if case .modification(let modification) = common.body { _ = try lockTable(modification.bound.table) }
      }
      if case .modification(let modification) = plan.body { _ = try lockTable(modification.bound.table) }
      let runner = try StatementRunner(plan, self, instrumented: true)
      _ = unsafe try runner.run(self, parameters) { (_) throws(SQLError) in }
      printer.instruments = runner.state.instruments
      printer.timing = timing
    }
    if isJSON {
      var around: [(name: String, value: String)] = []
      if summary ?? analyze {
        around.append(("Planning Time", PlanPrinter.milliseconds(planned - start)))
        if analyze {
          around.append(("Triggers", "[]"))
          around.append(("Execution Time", PlanPrinter.milliseconds(monotonicNanoseconds() - planned)))
        }
      }
      return try give([printer.json(around)], .json, sink)
    }
    var lines = printer.lines()
    if summary ?? analyze {
      lines.append("Planning Time: \(PlanPrinter.milliseconds(planned - start)) ms")
      if analyze {
        lines.append("Execution Time: \(PlanPrinter.milliseconds(monotonicNanoseconds() - planned)) ms")
        lines += try commitExplained()
      }
    }
    return try give(lines, .text, sink)
  }

  private func give(_ lines: [String], _ type: SQLType, _ sink: any ResultSink) throws(SQLError) -> String {
    try sink.columns([ColumnDescription(name: "QUERY PLAN", type: type)])
    let arena = Arena()
    defer { withExtendedLifetime(arena) {} }
    let row = ValueBuffer(1)
    for line in lines {
      row[0] = Value(arena.copy(line))
      try unsafe sink.row(row.buffer)
    }
    return "EXPLAIN"
  }

  /// Outside of a block the statement is a transaction: its commit is part of what it costs. So it is made here, before the
  /// answer, and its parts are told: waiting for the record, this node's disk, the quorum, the apply.
  private func commitExplained() throws(SQLError) -> [String] {
    guard block == .none, !isAdopted, let transaction, transaction.hasWrites else { return [] }
    let start = monotonicNanoseconds()
    try commit()
    let total = monotonicNanoseconds() - start
    var lines = ["Commit Time: \(PlanPrinter.milliseconds(total)) ms"]
    guard let trace = database.manager.commitTrace(of: transaction.version) else { return lines }
    func told(_ nanoseconds: UInt64) -> String { PlanPrinter.milliseconds(Int64(clamping: nanoseconds)) + " ms" }
    let waited = UInt64(clamping: total - Int64(clamping: trace.totalNanoseconds))
    lines.append(
      "  ->  Log Record: \(trace.sizeBytes) bytes, \(trace.transactions) transaction\(trace.transactions == 1 ? "" : "s"); "
        + "certified, queued and woken in \(told(waited))")
    if let local = trace.localNanoseconds {
      lines.append("  ->  Own Disk: durable after \(told(local))")
    } else {
      lines.append("  ->  Own Disk: not waited for")
    }
    if let quorum = trace.quorumNanoseconds {
      lines.append("  ->  Quorum: \(trace.quorum) of \(trace.members) nodes after \(told(quorum))")
    }
    lines.append("  ->  Apply: \(told(trace.applyNanoseconds))")
    return lines
  }
}
