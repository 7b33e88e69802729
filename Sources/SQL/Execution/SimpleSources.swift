/// One row without columns.
final class OneRowSource: RowSource {
  private var isDone = false
  override func open() throws(SQLError) { isDone = false }
  override func next() throws(SQLError) -> Bool {
    defer { isDone = true }
    return !isDone
  }
}

/// No row.
final class EmptySource: RowSource {
  override func open() throws(SQLError) {}
  override func next() throws(SQLError) -> Bool { false }
}

/// The rows of VALUES.
final class ValuesSource: EvaluatingSource {
  private let rows: [[CompiledExpression]]
  private let slots: [FrameSlot]
  private var row = 0

  init(_ state: ExecutionState, _ rows: [[TypedExpression]], _ slots: [FrameSlot]) throws(SQLError) {
    var compiled: [[CompiledExpression]] = []
    compiled.reserveCapacity(rows.count)
    for row in rows { compiled.append(try compile(row)) }
    self.rows = compiled
    self.slots = slots
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    row = 0
  }
  override func next() throws(SQLError) -> Bool {
    guard row < rows.count else { return false }
    arena.reset()
    let expressions = rows[row]
    for index in slots.indices { frame[slots[index]] = unsafe try expressions[index].value(frame, &context) }
    row += 1
    return true
  }
}

func compile(_ expressions: [TypedExpression]) throws(SQLError) -> [CompiledExpression] {
  var compiled: [CompiledExpression] = []
  compiled.reserveCapacity(expressions.count)
  for expression in expressions { compiled.append(try CompiledExpression(expression)) }
  return compiled
}

/// The rows of a system relation.
final class SystemSource: EvaluatingSource {
  private let relation: SystemRelation
  private let slots: [FrameSlot]
  private var rows: [[Datum]] = []
  private var index = 0

  init(_ state: ExecutionState, _ relation: SystemRelation, _ slots: [FrameSlot]) {
    self.relation = relation
    self.slots = slots
    super.init(state)
  }
  override func open() throws(SQLError) {
    rows = try relation.rows(state.services.systemContext())
    index = 0
  }
  override func next() throws(SQLError) -> Bool {
    guard index < rows.count else { return false }
    arena.reset()
    for (slot, datum) in zip(slots, rows[index]) { frame[slot] = datum.value(in: arena) }
    index += 1
    return true
  }
  override func close() { rows = [] }
}

/// Rows for which a condition holds.
final class FilterSource: EvaluatingSource {
  private let input: RowSource
  private let condition: CompiledExpression

  init(_ state: ExecutionState, _ input: RowSource, _ condition: TypedExpression) throws(SQLError) {
    self.input = input
    self.condition = try CompiledExpression(condition, asCondition: true)
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    try input.open()
  }
  override func next() throws(SQLError) -> Bool {
    while try input.next() {
      arena.reset()
      if unsafe try condition.holds(frame, &context) { return true }
    }
    return false
  }
  override func close() { input.close() }
}

/// Computes expressions into slots.
final class ProjectSource: EvaluatingSource {
  private let input: RowSource
  private let slots: [FrameSlot]
  private let expressions: [CompiledExpression]

  init(
    _ state: ExecutionState, _ input: RowSource, _ items: [(slot: FrameSlot, expression: TypedExpression)]
  ) throws(SQLError) {
    self.input = input
    slots = items.map(\.slot)
    expressions = try compile(items.map(\.expression))
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    try input.open()
  }
  override func next() throws(SQLError) -> Bool {
    guard try input.next() else { return false }
    arena.reset()
    for index in slots.indices { frame[slots[index]] = unsafe try expressions[index].value(frame, &context) }
    return true
  }
  override func close() { input.close() }
}

/// LIMIT and OFFSET.
final class LimitSource: EvaluatingSource {
  private let input: RowSource
  private let count: CompiledExpression?
  private let offset: CompiledExpression?
  private let ties: [(expression: CompiledExpression, order: KeyOrder)]
  private var remaining: Int64 = 0
  private var skip: Int64 = 0
  private var last: [Value] = []
  private let tieArena = Arena(initialBytes: 256)
  private let withTies: Bool

  init(
    _ state: ExecutionState, _ input: RowSource, count: TypedExpression?, offset: TypedExpression?, ties: [SortKey]?
  ) throws(SQLError) {
    self.input = input
    self.count = try count.map { (e) throws(SQLError) in try CompiledExpression(e) }
    self.offset = try offset.map { (e) throws(SQLError) in try CompiledExpression(e) }
    withTies = ties != nil
    var keys: [(expression: CompiledExpression, order: KeyOrder)] = []
    for key in ties ?? [] { keys.append((try CompiledExpression(key.expression), KeyOrder(key))) }
    self.ties = keys
    super.init(state)
  }

  static func number(
    _ expression: CompiledExpression?, _ what: String, _ frame: Frame, _ context: inout EvaluationContext
  ) throws(SQLError) -> Int64? {
    guard let expression else { return nil }
    let value = try expression.value(frame, &context)
    if value.isNull { return nil }
    guard value.int >= 0 else {
      let state = what == "LIMIT" ? SQLState.invalidRowCount : SQLState(rawValue: "2201X")
      throw SQLError(state, "\(what) must not be negative")
    }
    return value.int
  }

  override func open() throws(SQLError) {
    refresh()
    remaining = unsafe try Self.number(count, "LIMIT", frame, &context) ?? .max
    skip = unsafe try Self.number(offset, "OFFSET", frame, &context) ?? 0
    last = []
    if remaining > 0 { try input.open() }
  }

  override func next() throws(SQLError) -> Bool {
    guard remaining > 0 else { return try nextTie() }
    while skip > 0 {
      guard try input.next() else {
        remaining = 0
        return false
      }
      skip -= 1
    }
    guard try input.next() else {
      remaining = 0
      last = []
      return false
    }
    remaining -= 1
    if withTies, remaining == 0 {
      tieArena.reset()
      last = []
      for tie in ties { unsafe last.append(try tie.expression.value(frame, &context).copied(into: tieArena)) }
    }
    return true
  }

  private func nextTie() throws(SQLError) -> Bool {
    guard !last.isEmpty, try input.next() else { return false }
    for (index, tie) in ties.enumerated() {
      if unsafe tie.order.compare(try tie.expression.value(frame, &context), last[index]) != 0 {
        last = []
        return false
      }
    }
    return true
  }
  override func close() { input.close() }
}

/// UNION ALL.
final class AppendSource: EvaluatingSource {
  private let parts: [(input: RowSource, columns: [CompiledExpression])]
  private let slots: [FrameSlot]
  private var part = 0

  init(
    _ state: ExecutionState, _ parts: [(input: RowSource, columns: [TypedExpression])], _ slots: [FrameSlot]
  ) throws(SQLError) {
    var compiled: [(input: RowSource, columns: [CompiledExpression])] = []
    for part in parts { compiled.append((part.input, try compile(part.columns))) }
    self.parts = compiled
    self.slots = slots
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    part = 0
    if let first = parts.first { try first.input.open() }
  }
  override func next() throws(SQLError) -> Bool {
    while part < parts.count {
      if try parts[part].input.next() {
        arena.reset()
        let columns = parts[part].columns
        for index in slots.indices { frame[slots[index]] = unsafe try columns[index].value(frame, &context) }
        return true
      }
      parts[part].input.close()
      part += 1
      if part < parts.count { try parts[part].input.open() }
    }
    return false
  }
  override func close() { for part in parts { part.input.close() } }
}

/// Functions of FROM, or of a select list when it has an input: advanced side by side, the shorter ones padded with null.
final class FunctionSource: EvaluatingSource {
  private enum Call {
    case set(SetFunction, [CompiledExpression], ValueBuffer)
    case scalar(CompiledExpression)
  }
  private let input: RowSource?
  private let calls: [(call: Call, slots: [FrameSlot])]
  private let ordinality: FrameSlot?
  private var iterators: [(any SetIterator)?] = []
  private var pending: [Bool] = []
  private var ordinal: Int64 = 0
  private let output: ValueBuffer
  private var hasRow = false
  private var counter = 0

  init(_ state: ExecutionState, _ node: FunctionScanNode, input: RowSource?) throws(SQLError) {
    self.input = input
    var calls: [(call: Call, slots: [FrameSlot])] = []
    var widest = 1
    for item in node.items {
      switch item.call {
      case .set(let function, let arguments):
        calls.append((.set(function, try compile(arguments), ValueBuffer(arguments.count)), item.slots))
      case .scalar(let expression): calls.append((.scalar(try CompiledExpression(expression)), item.slots))
      }
      widest = max(widest, item.slots.count)
    }
    self.calls = calls
    ordinality = node.ordinality
    output = ValueBuffer(widest)
    super.init(state)
  }

  override func open() throws(SQLError) {
    refresh()
    ordinal = 0
    if let input {
      hasRow = false
      try input.open()
    } else {
      hasRow = true
      try begin()
    }
  }

  private func begin() throws(SQLError) {
    iterators.removeAll(keepingCapacity: true)
    pending.removeAll(keepingCapacity: true)
    for (call, _) in calls {
      switch call {
      case .set(let function, let arguments, let buffer):
        arena.reset()
        var hasNull = false
        for index in arguments.indices {
          buffer[index] = unsafe try arguments[index].value(frame, &context)
          if buffer[index].isNull { hasNull = true }
        }
        if hasNull, function.isStrict {
          iterators.append(nil)
          pending.append(false)
        } else {
          unsafe iterators.append(try function.begin(buffer.arguments, &context))
          pending.append(true)
        }
      case .scalar:
        iterators.append(nil)
        pending.append(true)
      }
    }
  }

  override func next() throws(SQLError) -> Bool {
    while true {
      if !hasRow {
        guard let input, try input.next() else { return false }
        hasRow = true
        try begin()
      }
      arena.reset()
      counter &+= 1
      if counter & 0xfff == 0 { try state.services.checkInterrupt() }
      if try advance() { return true }
      hasRow = false
      if input == nil { return false }
    }
  }

  private func advance() throws(SQLError) -> Bool {
    var any = false
    for (index, entry) in calls.enumerated() {
      var got = false
      if pending[index] {
        switch entry.call {
        case .set:
          got = try unsafe iterators[index]?.next(output.base, &context) ?? false
          if got { for (column, slot) in entry.slots.enumerated() { frame[slot] = output[column] } }
          if !got { pending[index] = false }
        case .scalar(let expression):
          frame[entry.slots[0]] = unsafe try expression.value(frame, &context)
          pending[index] = false
          got = true
        }
      }
      if got { any = true } else { frame.setNull(entry.slots) }
    }
    if any, let ordinality {
      ordinal += 1
      frame[ordinality] = Value(ordinal)
    }
    return any
  }
  override func close() {
    iterators = []
    input?.close()
  }
}

/// Rows that are kept to be given again; beyond work_mem in a file. The first time round they are read as they are asked
/// for.
final class MaterializeSource: RowSource {
  private let input: RowSource
  private let slots: [FrameSlot]
  private var rows: KeptRows?
  private var reader: KeptReader?
  private var row = 0
  private var generation = -1
  private var isComplete = false

  init(_ state: ExecutionState, _ input: RowSource, _ slots: [FrameSlot]) {
    self.input = input
    self.slots = slots
    super.init(state)
  }
  override func open() throws(SQLError) {
    row = 0
    guard unsafe generation != (state.generation) else { return }
    if rows != nil, !isComplete { input.close() }
    let rows = KeptRows(width: slots.count, limitBytes: state.services.workMemoryBytes) {
      [unowned state] () throws(SQLError) in try state.services.temporaryFile()
    }
    self.rows = rows
    reader = KeptReader(rows)
    isComplete = false
    try input.open()
    generation = unsafe state.generation
  }
  override func next() throws(SQLError) -> Bool {
    guard let reader, let rows else { return false }
    if row < rows.count {
      try reader.load(row, frame, slots)
    } else {
      guard !isComplete else { return false }
      guard try input.next() else {
        isComplete = true
        input.close()
        return false
      }
      try rows.append(frame, slots)
      if rows.count & 0xff == 0 { try state.services.checkInterrupt() }
    }
    row += 1
    return true
  }
  override func close() {
    if rows != nil, !isComplete { input.close() }
    generation = -1
    rows = nil
    reader = nil
  }
}
