/// A set of rows: which were seen, and how often.
final class RowSet {
  private let orders: [ValueOrder]
  let store: RowStore
  private var table: [Int32] = Array(repeating: 0, count: 64)
  private var hashes: [UInt32] = []
  var counts: [Int] = []

  init(_ types: [SQLType], limitBytes: Int) {
    orders = types.map { ValueOrder($0.id)! }
    store = RowStore(width: types.count, limitBytes: limitBytes)
  }
  func removeAll() {
    store.removeAll()
    hashes.removeAll()
    counts.removeAll()
    table = Array(repeating: 0, count: 64)
  }

  func hash(_ values: ValueBuffer) -> UInt32 {
    var hash: UInt64 = 0
    for index in orders.indices { hash = ValueOrder.mix(hash ^ orders[index].hashWithNull(values[index])) }
    return UInt32(truncatingIfNeeded: hash)
  }

  private func isEqual(_ row: Int, _ values: ValueBuffer) -> Bool {
    for index in orders.indices {
      let kept = store.value(row, index)
      let given = values[index]
      if kept.isNull || given.isNull {
        if kept.isNull != given.isNull { return false }
      } else if !orders[index].equal(kept, given) {
        return false
      }
    }
    return true
  }

  func find(_ values: ValueBuffer) -> Int? {
    let hash = hash(values)
    let mask = table.count - 1
    var place = Int(hash) & mask
    while table[place] != 0 {
      let row = Int(table[place]) - 1
      if hashes[row] == hash, isEqual(row, values) { return row }
      place = (place + 1) & mask
    }
    return nil
  }

  /// Whether rows, hashes and the table need more than the limit.
  var isOverLimit: Bool { store.usedBytes + store.count * 24 > store.limitBytes }

  /// The row's index, and whether it is new; an error beyond the limit.
  func insertWithin(_ values: ValueBuffer) throws(SQLError) -> (row: Int, isNew: Bool) {
    let result = insert(values)
    if result.isNew, result.row & 0xff == 0 { try store.checkLimit("removing duplicates") }
    return result
  }

  /// The row's index, and whether it is new.
  func insert(_ values: ValueBuffer) -> (row: Int, isNew: Bool) {
    if let row = find(values) { return (row, false) }
    if (store.count + 1) * 2 > table.count {
      table = Array(repeating: 0, count: table.count * 2)
      for row in hashes.indices { place(row) }
    }
    let row = store.addRow()
    for index in orders.indices { store.set(row, index, values[index]) }
    hashes.append(hash(values))
    counts.append(0)
    place(row)
    return (row, true)
  }
  private func place(_ row: Int) {
    let mask = table.count - 1
    var place = Int(hashes[row]) & mask
    while table[place] != 0 { place = (place + 1) & mask }
    table[place] = Int32(row + 1)
  }
}

/// A common table's rows, computed as its readers ask for them.
final class CommonTable {
  private enum Body {
    case query(RowSource, [CompiledExpression])
    case modification(ModificationRunner)
  }
  private let body: Body
  private let context: EvaluatingSource
  private let width: Int
  private unowned let state: ExecutionState
  private var rows: KeptRows?
  private var isComplete = false
  private let values: ValueBuffer
  let isModification: Bool

  init(_ table: PlannedCommonTable, _ state: ExecutionState) throws(SQLError) {
    self.state = state
    // A subquery may be the first to ask for the rows, in the middle of an expression.
    let nested = state.nestedBase()
    (context, body) = try state.building(over: nested) { () throws(SQLError) -> (EvaluatingSource, Body) in
      let source = EvaluatingSource(state)
      switch table.body {
      case .query(let plan, let columns):
        return (source, .query(try SourceBuilder(state).build(plan), try compile(columns)))
      case .modification(let modification):
        return (source, .modification(try ModificationRunner(modification, state)))
      }
    }
    switch table.body {
    case .query(_, let columns):
      width = columns.count
      isModification = false
    case .modification(let modification):
      width = modification.bound.returning.count
      isModification = true
    }
    values = ValueBuffer(width)
  }

  /// Before an execution, and after it: ends the query, if it is under way.
  func forget() {
    if rows != nil, !isComplete, case .query(let source, _) = body { source.close() }
    rows = nil
    isComplete = false
  }

  /// The rows so far, from now on.
  func begin() throws(SQLError) -> KeptRows {
    if let rows { return rows }
    let rows = KeptRows(width: width, limitBytes: state.services.workMemoryBytes) {
      [unowned state] () throws(SQLError) in try state.services.temporaryFile()
    }
    self.rows = rows
    context.refresh()
    if case .query(let source, _) = body { try source.open() }
    return rows
  }

  /// Whether there is a row `row`, which is computed if need be.
  func has(_ row: Int) throws(SQLError) -> Bool {
    let rows = try begin()
    while rows.count <= row {
      if isComplete { return false }
      switch body {
      case .query(let source, let columns):
        guard try source.next() else {
          isComplete = true
          source.close()
          return false
        }
        context.arena.reset()
        for index in columns.indices {
          unsafe values[index] = try columns[index].value(state.frame, &context.context)
        }
        unsafe try rows.add(values.buffer)
      case .modification(let runner):
        isComplete = true
        runner.forget()
        _ = unsafe try runner.run { (values) throws(SQLError) in unsafe try rows.add(values) }
      }
    }
    return true
  }

  /// Runs to the end: a modification that nobody reads is made all the same.
  func complete() throws(SQLError) { _ = try has(.max) }
}

/// Reads a common table.
final class CommonSource: RowSource {
  private let table: Int
  private let slots: [FrameSlot]
  private var reader: KeptReader?
  private var row = 0
  init(_ state: ExecutionState, _ table: Int, _ slots: [FrameSlot]) {
    self.table = table
    self.slots = slots
    super.init(state)
  }
  override func open() throws(SQLError) {
    row = 0
    reader = nil
  }
  override func next() throws(SQLError) -> Bool {
    let common = state.commons[table]
    let reader: KeptReader
    if let known = self.reader { reader = known } else { reader = KeptReader(try common.begin()) }
    self.reader = reader
    guard try common.has(row) else { return false }
    try reader.load(row, frame, slots)
    row += 1
    return true
  }
  override func close() { reader = nil }
}

/// WITH RECURSIVE: the initial rows, then the step over the rows of the last round until it adds none.
final class RecursiveSource: EvaluatingSource {
  private let node: RecursiveNode
  private let initial: RowSource
  private let step: RowSource
  private let initialColumns: [CompiledExpression]
  private let stepColumns: [CompiledExpression]
  private let seen: RowSet?
  private let values: ValueBuffer
  private var round: KeptRows
  private var isStepping = false
  private var rounds = 0

  init(
    _ state: ExecutionState, _ node: RecursiveNode, _ initial: RowSource, _ step: RowSource
  ) throws(SQLError) {
    self.node = node
    self.initial = initial
    self.step = step
    initialColumns = try compile(node.initialColumns)
    stepColumns = try compile(node.stepColumns)
    let limit = state.services.workMemoryBytes
    if node.distinct {
      for column in node.initialColumns where ValueOrder(column.type.id) == nil {
        throw SQLError(
          .undefinedFunction, "could not identify an equality operator for type \(column.type.description)")
      }
    }
    seen = node.distinct ? RowSet(node.initialColumns.map(\.type), limitBytes: limit) : nil
    values = ValueBuffer(node.slots.count)
    round = RecursiveSource.makeRound(node, state)
    super.init(state)
  }

  private static func makeRound(_ node: RecursiveNode, _ state: ExecutionState) -> KeptRows {
    KeptRows(width: node.slots.count, limitBytes: state.services.workMemoryBytes) {
      [unowned state] () throws(SQLError) in try state.services.temporaryFile()
    }
  }
  override func open() throws(SQLError) {
    refresh()
    seen?.removeAll()
    round = RecursiveSource.makeRound(node, state)
    isStepping = false
    rounds = 0
    try initial.open()
  }
  override func next() throws(SQLError) -> Bool {
    while true {
      let source = isStepping ? step : initial
      let columns = isStepping ? stepColumns : initialColumns
      while try source.next() {
        arena.reset()
        for index in columns.indices { values[index] = unsafe try columns[index].value(frame, &context) }
        if let seen, !(try seen.insertWithin(values).isNew) { continue }
        unsafe try round.add(values.buffer)
        for index in node.slots.indices { frame[node.slots[index]] = values[index] }
        return true
      }
      source.close()
      guard round.count > 0 else { return false }
      try state.services.checkInterrupt()
      unsafe state.working[node.id] = round
      round = RecursiveSource.makeRound(node, state)
      isStepping = true
      rounds += 1
      try step.open()
    }
  }
  override func close() {
    initial.close()
    step.close()
    seen?.removeAll()
    unsafe state.working[node.id] = nil
  }
}

/// The rows of the last round of a recursion.
final class WorkingSource: RowSource {
  private let id: Int
  private let slots: [FrameSlot]
  private var row = 0
  private var count = 0
  private var reader: KeptReader?
  init(_ state: ExecutionState, _ id: Int, _ slots: [FrameSlot]) {
    self.id = id
    self.slots = slots
    super.init(state)
  }
  override func open() throws(SQLError) {
    row = 0
    let rows = unsafe state.working[id]
    count = rows?.count ?? 0
    reader = rows.map { KeptReader($0) }
  }
  override func next() throws(SQLError) -> Bool {
    guard let reader, row < count else { return false }
    try reader.load(row, frame, slots)
    row += 1
    return true
  }
  override func close() { reader = nil }
}
