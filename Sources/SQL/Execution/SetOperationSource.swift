/// INTERSECT and EXCEPT, with and without ALL.
///
/// The different rows of the left side are kept, with how often they are there on either side. When they need more than
/// work_mem, rows of both sides that are not among them are set aside in partitions by their hash, which are gone through
/// afterwards (PartitionedRows.swift).
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
  private var spill: (left: PartitionedRows, right: PartitionedRows)?
  private var parts: [(left: PartitionedRows, right: PartitionedRows, place: Int)] = []
  private var level = 0
  private var counter = 0

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
    begin()
    isFilled = false
    spill = nil
    parts = []
    level = 0
  }

  private func begin() {
    rows.removeAll()
    leftCounts = []
    row = 0
    repeated = 0
  }

  private func tick() throws(SQLError) {
    counter &+= 1
    if counter & 0xfff == 0 { try state.services.checkInterrupt() }
  }

  private func fill() throws(SQLError) {
    isFilled = true
    try left.open()
    while try left.next() {
      arena.reset()
      try tick()
      for index in leftColumns.indices { values[index] = unsafe try leftColumns[index].value(frame, &context) }
      try addLeft(values)
    }
    left.close()
    try right.open()
    while try right.next() {
      arena.reset()
      try tick()
      for index in rightColumns.indices { values[index] = unsafe try rightColumns[index].value(frame, &context) }
      try addRight(values)
    }
    right.close()
    try endPart()
  }

  private func addLeft(_ values: ValueBuffer) throws(SQLError) {
    if let spill {
      if let row = rows.find(values) {
        leftCounts[row] += 1
      } else {
        try spill.left.add(spill.left.partition(rows.hash(values)), values)
      }
      return
    }
    let (row, isNew) = rows.insert(values)
    if isNew { leftCounts.append(0) }
    leftCounts[row] += 1
    guard isNew, row & 0xff == 0xff, rows.isOverLimit, level < PartitionedRows.mostLevels else { return }
    let limit = state.services.workMemoryBytes
    func make() throws(SQLError) -> PartitionedRows {
      PartitionedRows(width: values.count, level: level, limitBytes: limit, try state.services.temporaryFile())
    }
    spill = (try make(), try make())
  }

  private func addRight(_ values: ValueBuffer) throws(SQLError) {
    if let row = rows.find(values) {
      rows.counts[row] += 1
    } else if let spill {
      try spill.right.add(spill.right.partition(rows.hash(values)), values)
    }
  }

  private func endPart() throws(SQLError) {
    guard let spill else { return }
    try spill.left.finish()
    try spill.right.finish()
    for place in 0..<PartitionedRows.partitionCount where spill.left.counts[place] > 0 {
      parts.append((spill.left, spill.right, place))
    }
    self.spill = nil
  }

  private func nextPart() throws(SQLError) -> Bool {
    guard let part = parts.popLast() else { return false }
    begin()
    level = part.left.level + 1
    let lefts = part.left.reader(part.place)
    while try lefts.advance() {
      try tick()
      try addLeft(lefts.values)
    }
    let rights = part.right.reader(part.place)
    while try rights.advance() {
      try tick()
      try addRight(rights.values)
    }
    try endPart()
    return true
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
    repeat {
      while row < rows.store.count {
        if repeated < multiplicity(leftCounts[row], rows.counts[row]) {
          repeated += 1
          rows.store.load(row, frame, node.slots)
          return true
        }
        row += 1
        repeated = 0
      }
    } while try nextPart()
    return false
  }

  override func close() {
    left.close()
    right.close()
    rows.removeAll()
    spill = nil
    parts = []
  }
}
