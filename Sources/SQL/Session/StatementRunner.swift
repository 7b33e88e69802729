internal import Transactions

/// Runs planned statements that read or change rows, and gives their rows to a sink.
final class StatementRunner {
  let plan: PlannedStatement
  let state: ExecutionState
  private enum Body {
    case query(RowSource)
    case modification(ModificationRunner)
  }
  private let body: Body
  private let outputs: [CompiledExpression]
  /// The row that `next` came to.
  let output: ValueBuffer
  private let evaluator: EvaluatingSource
  let columns: [ColumnDescription]
  let returnsRows: Bool
  /// The keys of the records of the tables that it changes.
  let changedTables: [[UInt8]]
  /// Whether it takes locks of rows, so that it can meet a conflict.
  var mayMeetConflicts: Bool { state.takesLocks }
  /// Whether a run is under way: a cached runner that is busy is not used again.
  private(set) var isBusy = false

  init(
    _ plan: PlannedStatement, _ session: SQLSession, changing changedTables: [[UInt8]] = [], instrumented: Bool = false
  ) throws(SQLError) {
    self.plan = plan
    self.changedTables = changedTables
    returnsRows = plan.returnsRows
    state = try ExecutionState(plan, services: session, instrumented: instrumented)
    unsafe state.transaction = session.transaction
    try state.prepare()
    switch plan.body {
    case .query(let node):
      body = .query(try SourceBuilder(state).build(node))
      outputs = try compile(plan.columns.map(\.expression))
    case .modification(let modification):
      body = .modification(try ModificationRunner(modification, state))
      outputs = []
    }
    output = ValueBuffer(outputs.count)
    evaluator = EvaluatingSource(state)
    columns = plan.columns.map(\.description)
  }

  private func begin(_ session: SQLSession, _ parameters: [Datum]) {
    state.begin(session, parameters)
    evaluator.refresh()
  }

  /// Runs to the end; returns the command tag. `row` gets every row.
  func run(
    _ session: SQLSession, _ parameters: [Datum], _ row: (UnsafeBufferPointer<Value>) throws(SQLError) -> Void
  ) throws(SQLError) -> String {
    isBusy = true
    defer {
      isBusy = false
      for common in state.commons { common.forget() }
    }
    begin(session, parameters)
    // All parts of a statement with INSERT, UPDATE or DELETE in WITH read what was before the statement; what the others
    // did they know from their RETURNING alone.
    let viewer: Transaction? = unsafe state.hasModifyingParts ? state.transaction : nil
    if let viewer { try sqlErrors { () throws(TransactionError) in try viewer.beginView() } }
    defer { viewer?.endView() }
    switch body {
    case .query(let source):
      var count = 0
      do throws(SQLError) {
        try source.open()
        while try next(source) {
          count += 1
          try unsafe row(output.buffer)
        }
        try finishCommonTables()
      } catch {
        source.close()
        throw error
      }
      source.close()
      return CommandTag.select(count)
    case .modification(let runner):
      runner.forget()
      let count = unsafe try runner.run(row)
      try finishCommonTables()
      switch plan.body {
      case .modification(let modification):
        switch modification.bound.kind {
        case .insert: return CommandTag.insert(count)
        case .update: return CommandTag.update(count)
        case .delete: return CommandTag.delete(count)
        }
      default: return ""
      }
    }
  }

  // MARK: A row at a time

  /// Whether the query can be suspended between rows: it takes no locks, writes nothing, and reads no older version, which
  /// is kept for the statement alone.
  var canBeSuspended: Bool {
    guard case .query = body, !state.takesLocks, !plan.readsOlderVersions else { return false }
    return !state.commons.contains { $0.isModification }
  }

  /// Begins; `close` must follow.
  func open(_ session: SQLSession, _ parameters: [Datum]) throws(SQLError) {
    guard case .query(let source) = body else { preconditionFailure("only queries are suspended") }
    isBusy = true
    begin(session, parameters)
    try source.open()
  }

  /// Moves to the next row, which `output` has then; false at the end.
  func next() throws(SQLError) -> Bool {
    guard case .query(let source) = body else { return false }
    return try next(source)
  }

  func close() {
    guard case .query(let source) = body else { return }
    source.close()
    for common in state.commons { common.forget() }
    isBusy = false
  }

  @inline(__always)
  private func next(_ source: RowSource) throws(SQLError) -> Bool {
    guard try source.next() else { return false }
    evaluator.arena.reset()
    for index in outputs.indices { output[index] = unsafe try outputs[index].value(state.frame, &evaluator.context) }
    return true
  }

  /// Data-modifying common tables run even if nobody reads them.
  private func finishCommonTables() throws(SQLError) {
    for table in state.commons where table.isModification { try table.complete() }
  }
}

/// Command tags; making a string of a number costs more than reading a row, so the common ones are there already.
enum CommandTag {
  static func select(_ count: Int) -> String {
    switch count {
    case 0: "SELECT 0"
    case 1: "SELECT 1"
    default: "SELECT \(count)"
    }
  }
  static func insert(_ count: Int) -> String { count == 1 ? "INSERT 0 1" : "INSERT 0 \(count)" }
  static func update(_ count: Int) -> String { count == 1 ? "UPDATE 1" : "UPDATE \(count)" }
  static func delete(_ count: Int) -> String { count == 1 ? "DELETE 1" : "DELETE \(count)" }
}

/// A statement that was parsed, and planned as far as its catalog is known.
package final class PreparedStatement {
  package let text: String
  /// Nil for an empty query string.
  package let statement: Syntax.Statement?
  let position: Int
  /// The types of the parameters: those given, then what the statement tells.
  package fileprivate(set) var parameterTypes: [SQLType]
  let givenTypes: [SQLType]
  /// The columns of the rows; nil if there are none.
  package fileprivate(set) var columns: [ColumnDescription]?
  var runner: StatementRunner?
  var catalogVersion: UInt64 = .max
  var searchPath: [String] = []
  /// Whose rights were checked when it was planned.
  var user = ""
  /// Made by the system itself: nobody's rights are asked.
  var isInternal = false
  /// A new plan must give the same columns.
  var isResultFixed = false
  /// Sent as a simple query: no values come with it.
  var isSimple = false
  /// The session's settings for which the search path was last found to be the same.
  var settingsGeneration: UInt64 = .max
  let prepareTime: Int64
  /// Whether BEGIN was written START TRANSACTION.
  private(set) lazy var isStart = text.drop { $0.isWhitespace }.prefix(5).lowercased() == "start"

  init(text: String, statement: Syntax.Statement?, position: Int, parameterTypes: [SQLType]) {
    self.text = text
    self.statement = statement
    self.position = position
    self.parameterTypes = parameterTypes
    givenTypes = parameterTypes
    prepareTime = EvaluationContext.clock()
  }

  func describe(parameterTypes: [SQLType], columns: [ColumnDescription]?) {
    self.parameterTypes = parameterTypes
    self.columns = columns
  }
}

/// A prepared statement with its parameters, ready to run; when it runs with a row limit, the rows that are left. Or the
/// rows of a cursor of DECLARE, which drivers describe and read like a portal.
package final class Portal {
  package let statement: PreparedStatement
  let parameters: [Datum]
  var rows: CursorRows?
  var position = 0
  /// How many savepoints there were when the rows began.
  var depth = 0
  var tag = ""
  package var isComplete = false
  /// The cursor that moves along.
  var cursor: Cursor?
  /// The formats of the results as Bind gave them: none, one for all, or one each; true is binary.
  package var resultFormats: [Bool] = []

  init(_ statement: PreparedStatement, _ parameters: [Datum]) {
    self.statement = statement
    self.parameters = parameters
  }

  init(_ cursor: Cursor) {
    statement = PreparedStatement(text: cursor.text, statement: cursor.statement, position: 0, parameterTypes: [])
    statement.describe(parameterTypes: [], columns: cursor.columns)
    parameters = []
    rows = cursor.rows
    tag = "SELECT 0"
    self.cursor = cursor
  }

  /// What the portal's rows look like.
  package var columns: [ColumnDescription]? { statement.columns }
}

/// A cursor of DECLARE.
final class Cursor {
  let name: String
  let statement: Syntax.Statement
  let text: String
  let isScrollable: Bool
  var isHeld: Bool
  let rows: CursorRows
  /// How many savepoints there were when it was declared.
  var depth = 0
  let columns: [ColumnDescription]
  /// The row that the cursor stands on: 0 is before the first.
  var position = 0
  let created: Int64

  init(
    name: String, statement: Syntax.Statement, text: String, isScrollable: Bool, isHeld: Bool, rows: CursorRows,
    columns: [ColumnDescription]
  ) {
    self.name = name
    self.statement = statement
    self.text = text
    self.isScrollable = isScrollable
    self.isHeld = isHeld
    self.rows = rows
    self.columns = columns
    created = EvaluationContext.clock()
  }
}

extension Cursor {
  /// Moves as FETCH and MOVE say, gives the rows that are passed, and returns how many those are.
  func move(
    _ direction: Syntax.Fetch.Direction, _ give: (ValueBuffer) throws(SQLError) -> Void
  ) throws(SQLError) -> Int {
    switch direction {
    case .forward(let n):
      if let n, n < 0 { return try backward(-n, give) }
      return n == 0 ? try current(give) : try forward(n, give)
    case .backward(let n):
      if let n, n < 0 { return try forward(-n, give) }
      return n == 0 ? try current(give) : try backward(n, give)
    case .absolute(let n):
      guard n < 0 else { return try go(to: n, give) }
      _ = try rows.advance(to: .max)
      return try go(to: max(0, rows.count + 1 + n), give)
    case .relative(let n):
      let (target, isOver) = position.addingReportingOverflow(n)
      return try go(to: isOver ? .max : max(0, target), give)
    }
  }

  private func current(_ give: (ValueBuffer) throws(SQLError) -> Void) throws(SQLError) -> Int {
    guard position >= 1, position <= rows.count, let row = try rows.row(position) else { return 0 }
    try give(row)
    return 1
  }

  private func forward(_ n: Int?, _ give: (ValueBuffer) throws(SQLError) -> Void) throws(SQLError) -> Int {
    var given = 0
    while n.map({ given < $0 }) ?? true {
      guard let row = try rows.row(position + 1) else {
        position = rows.count + 1
        break
      }
      position += 1
      given += 1
      try give(row)
    }
    return given
  }

  private func backward(_ n: Int?, _ give: (ValueBuffer) throws(SQLError) -> Void) throws(SQLError) -> Int {
    guard isScrollable else {
      throw SQLError(
        .objectNotInState, "cursor can only scan forward",
        hint: "Declare it with SCROLL option to enable backward scan.")
    }
    var given = 0
    while n.map({ given < $0 }) ?? true {
      guard position > 1, let row = try rows.row(position - 1) else {
        position = 0
        break
      }
      position -= 1
      given += 1
      try give(row)
    }
    return given
  }

  /// To row `target`, or before the first or behind the last.
  private func go(to target: Int, _ give: (ValueBuffer) throws(SQLError) -> Void) throws(SQLError) -> Int {
    guard target >= 1 else {
      position = 0
      return 0
    }
    guard try rows.advance(to: target), let row = try rows.row(target) else {
      position = rows.count + 1
      return 0
    }
    position = target
    try give(row)
    return 1
  }
}
