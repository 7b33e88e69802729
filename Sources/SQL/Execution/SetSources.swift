internal import Transactions

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

  private func hash(_ values: ValueBuffer) -> UInt32 {
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

  /// The row's index, and whether it is new.
  func insert(_ values: ValueBuffer) throws(SQLError) -> (row: Int, isNew: Bool) {
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
    if row & 0xff == 0 { try store.checkLimit("removing duplicates") }
    return (row, true)
  }
  private func place(_ row: Int) {
    let mask = table.count - 1
    var place = Int(hashes[row]) & mask
    while table[place] != 0 { place = (place + 1) & mask }
    table[place] = Int32(row + 1)
  }
}

/// DISTINCT and DISTINCT ON: the first row of each set of equal keys.
final class DistinctSource: EvaluatingSource {
  private let input: RowSource
  private let keys: [CompiledExpression]
  private let seen: RowSet
  private let values: ValueBuffer
  private let isSorted: Bool
  private let orders: [KeyOrder]
  private var hasLast = false

  init(_ state: ExecutionState, _ input: RowSource, _ keys: [TypedExpression], isSorted: Bool) throws(SQLError) {
    self.input = input
    self.isSorted = isSorted
    self.keys = try compile(keys)
    orders = keys.map { KeyOrder(SortKey($0)) }
    seen = RowSet(keys.map(\.type), limitBytes: state.services.workMemoryBytes)
    values = ValueBuffer(keys.count)
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    seen.removeAll()
    hasLast = false
    try input.open()
  }
  override func next() throws(SQLError) -> Bool {
    while try input.next() {
      arena.reset()
      for index in keys.indices { values[index] = unsafe try keys[index].value(frame, &context) }
      if isSorted {
        if hasLast, seen.store.count > 0,
          orders.indices.allSatisfy({ orders[$0].compare(seen.store.value(0, $0), values[$0]) == 0 })
        {
          continue
        }
        seen.store.removeAll()
        let row = seen.store.addRow()
        for index in keys.indices { seen.store.set(row, index, values[index]) }
        hasLast = true
        return true
      }
      if try seen.insert(values).isNew { return true }
    }
    return false
  }
  override func close() {
    input.close()
    seen.removeAll()
  }
}

/// INTERSECT and EXCEPT, with and without ALL.
final class SetOperationSource: EvaluatingSource {
  private let node: SetOperationNode
  private let left: RowSource
  private let right: RowSource
  private let leftColumns: [CompiledExpression]
  private let rightColumns: [CompiledExpression]
  private let rows: RowSet
  private let values: ValueBuffer
  private var leftCounts: [Int] = []
  private var row = 0
  private var repeated = 0
  private var isFilled = false

  init(
    _ state: ExecutionState, _ node: SetOperationNode, _ left: RowSource, _ right: RowSource
  ) throws(SQLError) {
    self.node = node
    self.left = left
    self.right = right
    leftColumns = try compile(node.leftColumns)
    rightColumns = try compile(node.rightColumns)
    rows = RowSet(node.leftColumns.map(\.type), limitBytes: state.services.workMemoryBytes)
    values = ValueBuffer(node.slots.count)
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    rows.removeAll()
    leftCounts = []
    row = 0
    repeated = 0
    isFilled = false
  }

  private func fill() throws(SQLError) {
    isFilled = true
    try left.open()
    while try left.next() {
      arena.reset()
      for index in leftColumns.indices { values[index] = unsafe try leftColumns[index].value(frame, &context) }
      let (row, isNew) = try rows.insert(values)
      if isNew { leftCounts.append(0) }
      leftCounts[row] += 1
    }
    left.close()
    try right.open()
    while try right.next() {
      arena.reset()
      for index in rightColumns.indices { values[index] = unsafe try rightColumns[index].value(frame, &context) }
      if let row = rows.find(values) { rows.counts[row] += 1 }
    }
    right.close()
  }

  /// How often a row that is `l` times on the left and `r` times on the right is in the result.
  private func multiplicity(_ l: Int, _ r: Int) -> Int {
    switch (node.kind, node.all) {
    case (.intersect, true): min(l, r)
    case (.intersect, false): r > 0 ? 1 : 0
    case (.except, true): max(l - r, 0)
    default: r > 0 ? 0 : 1
    }
  }

  override func next() throws(SQLError) -> Bool {
    if !isFilled { try fill() }
    while row < rows.store.count {
      if repeated < multiplicity(leftCounts[row], rows.counts[row]) {
        repeated += 1
        rows.store.load(row, frame, node.slots)
        return true
      }
      row += 1
      repeated = 0
    }
    return false
  }
  override func close() {
    left.close()
    right.close()
    rows.removeAll()
  }
}

/// A common table's rows, computed when the first reader asks.
final class CommonTable {
  private enum Body {
    case query(RowSource, [CompiledExpression])
    case modification(ModificationRunner)
  }
  private let body: Body
  private let context: EvaluatingSource
  private let width: Int
  private unowned let state: ExecutionState
  private(set) var store: RowStore?
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
  }

  func forget() { store = nil }

  func rows() throws(SQLError) -> RowStore {
    if let store { return store }
    let store = RowStore(width: width, limitBytes: state.services.workMemoryBytes)
    context.refresh()
    switch body {
    case .query(let source, let columns):
      try source.open()
      while try source.next() {
        context.arena.reset()
        let row = store.addRow()
        for index in columns.indices {
          unsafe store.set(row, index, try columns[index].value(state.frame, &context.context))
        }
        if row & 0xff == 0 { try store.checkLimit("a WITH query") }
      }
      source.close()
    case .modification(let runner):
      runner.forget()
      _ = unsafe try runner.run { (values) throws(SQLError) in
        let row = store.addRow()
        for index in values.indices { store.set(row, index, unsafe values[index]) }
      }
    }
    self.store = store
    return store
  }
}

/// Reads a common table.
final class CommonSource: RowSource {
  private let table: Int
  private let slots: [FrameSlot]
  private var store: RowStore?
  private var row = 0
  init(_ state: ExecutionState, _ table: Int, _ slots: [FrameSlot]) {
    self.table = table
    self.slots = slots
    super.init(state)
  }
  override func open() throws(SQLError) {
    row = 0
    store = nil
  }
  override func next() throws(SQLError) -> Bool {
    if store == nil { store = try state.commons[table].rows() }
    guard let store, row < store.count else { return false }
    store.load(row, frame, slots)
    row += 1
    return true
  }
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
  private var round: RowStore
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
    round = RowStore(width: node.slots.count, limitBytes: limit)
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    seen?.removeAll()
    round = RowStore(width: round.width, limitBytes: round.limitBytes)
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
        if let seen, !(try seen.insert(values).isNew) { continue }
        let row = round.addRow()
        for index in columns.indices { round.set(row, index, values[index]) }
        if row & 0xff == 0 { try round.checkLimit("a recursive query") }
        round.load(row, frame, node.slots)
        return true
      }
      source.close()
      guard round.count > 0 else { return false }
      try state.services.checkInterrupt()
      unsafe state.working[node.id] = round
      round = RowStore(width: round.width, limitBytes: round.limitBytes)
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
  private var store: RowStore?
  init(_ state: ExecutionState, _ id: Int, _ slots: [FrameSlot]) {
    self.id = id
    self.slots = slots
    super.init(state)
  }
  override func open() throws(SQLError) {
    row = 0
    store = unsafe state.working[id]
  }
  override func next() throws(SQLError) -> Bool {
    guard let store, row < store.count else { return false }
    store.load(row, frame, slots)
    row += 1
    return true
  }
  override func close() { store = nil }
}
