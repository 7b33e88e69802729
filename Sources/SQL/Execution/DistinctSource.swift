/// DISTINCT and DISTINCT ON: the first row of each set of equal keys.
///
/// Where equal keys do not come together, the keys so far are kept. When they need more than work_mem, rows of other keys
/// are set aside in partitions by the keys' hash, which are gone through afterwards (PartitionedRows.swift).
final class DistinctSource: EvaluatingSource {
  private let input: RowSource
  private let keys: [CompiledExpression]
  private let saved: [FrameSlot]
  private let seen: RowSet
  private let values: ValueBuffer
  private let row: ValueBuffer
  private let isSorted: Bool
  private let orders: [KeyOrder]
  private var hasLast = false
  private var spill: PartitionedRows?
  private var parts: [(rows: PartitionedRows, place: Int)] = []
  /// The partition that is gone through; nil: the input.
  private var reader: RunReader?
  private var level = 0
  private var counter = 0
  private var report = (batches: 0, disk: UInt64(0), memory: 0)

  init(
    _ state: ExecutionState, _ input: RowSource, _ keys: [TypedExpression], _ saved: [FrameSlot], isSorted: Bool
  ) throws(SQLError) {
    self.input = input
    self.isSorted = isSorted
    self.saved = saved
    self.keys = try compile(keys)
    orders = keys.map { KeyOrder(SortKey($0)) }
    seen = RowSet(keys.map(\.type), limitBytes: state.services.workMemoryBytes)
    values = ValueBuffer(keys.count)
    row = ValueBuffer(max(saved.count, 1))
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    seen.removeAll()
    hasLast = false
    spill = nil
    parts = []
    reader = nil
    level = 0
    report = (0, 0, 0)
    try input.open()
  }

  /// Moves to the next row of the input, or of the partition at hand.
  private func advance() throws(SQLError) -> Bool {
    counter &+= 1
    if counter & 0xfff == 0 { try state.services.checkInterrupt() }
    guard let reader else { return try input.next() }
    guard try reader.advance() else { return false }
    for (index, slot) in saved.enumerated() { frame[slot] = reader.values[index] }
    return true
  }

  override func next() throws(SQLError) -> Bool {
    repeat {
      while try advance() {
        arena.reset()
        for index in keys.indices { values[index] = unsafe try keys[index].value(frame, &context) }
        if try isSorted ? differs() : isNew() { return true }
      }
    } while try nextPart()
    return false
  }

  private func differs() throws(SQLError) -> Bool {
    if hasLast, seen.store.count > 0,
      orders.indices.allSatisfy({ orders[$0].compare(seen.store.value(0, $0), values[$0]) == 0 })
    {
      return false
    }
    seen.store.removeAll()
    let row = seen.store.addRow()
    for index in keys.indices { seen.store.set(row, index, values[index]) }
    hasLast = true
    return true
  }

  private func isNew() throws(SQLError) -> Bool {
    guard let spill else {
      let (place, isNew) = seen.insert(values)
      if isNew, place & 0xff == 0xff, seen.isOverLimit, level < PartitionedRows.mostLevels {
        self.spill = PartitionedRows(
          width: row.count, level: level, limitBytes: state.services.workMemoryBytes,
          try state.services.temporaryFile())
      }
      return isNew
    }
    if seen.find(values) != nil { return false }
    for (index, slot) in saved.enumerated() { row[index] = frame[slot] }
    try spill.add(spill.partition(seen.hash(values)), row)
    return false
  }

  private func nextPart() throws(SQLError) -> Bool {
    if isSorted { return false }
    if state.isInstrumented { report.memory = max(report.memory, seen.store.usedBytes) }
    if let spill {
      try spill.finish()
      report.batches += PartitionedRows.partitionCount
      report.disk += spill.sizeBytes
      for place in 0..<PartitionedRows.partitionCount where spill.counts[place] > 0 { parts.append((spill, place)) }
      self.spill = nil
    }
    guard let part = parts.popLast() else { return false }
    seen.removeAll()
    level = part.rows.level + 1
    reader = part.rows.reader(part.place)
    return true
  }

  override func close() {
    input.close()
    seen.removeAll()
    spill = nil
    parts = []
    reader = nil
  }

  override var told: [String] {
    guard !isSorted, report.memory > 0 else { return [] }
    let memory = "Memory Usage: \(max(1, report.memory >> 10))kB"
    guard report.disk > 0 else { return ["Batches: 1  \(memory)"] }
    return ["Batches: \(report.batches + 1)  \(memory)  Disk Usage: \(report.disk >> 10)kB"]
  }
}
