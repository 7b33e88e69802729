// A join by equality: the rows of one side are kept in a hash table, those of the other look theirs up.
//
// The table is open addressing over chains: `heads[hash & mask]` is the first kept row of a bucket plus one, `following[row]`
// the next. Kept rows hold their keys first, then the saved slots. A key with a null is kept only where a full join needs it.
//
// When the kept rows need more than work_mem, both sides are set aside in partitions by a hash of their keys, and joined
// partition by partition (PartitionedRows.swift: the Grace hash join). A partition that is still too large is partitioned
// again. One whose rows are all of one hash cannot be: it is joined in pieces, each with a pass over the other side's rows;
// for joins that ask whether a row has met any other, a bit for each of those remembers it from pass to pass.

/// A hash join; see the head of the file.
final class HashJoinSource: EvaluatingSource {
  private let kind: JoinKind
  private let probe: RowSource
  private let build: RowSource
  private let probeKeys: [CompiledExpression]
  private let buildKeys: [CompiledExpression]
  private let orders: [ValueOrder]
  private let condition: CompiledExpression?
  private let buildSlots: [FrameSlot]
  private let probeSlots: [FrameSlot]
  private let store: RowStore
  private var heads: [Int32] = []
  private var following: [Int32] = []
  private var hashes: [UInt32] = []
  private var matchedRows: [Bool] = []
  private var current: Int32 = 0
  private var probeHash: UInt32 = 0
  private let probeValues: ValueBuffer
  private var hasProbe = false
  private var matched = false
  private var unmatchedRow = -1
  private var isDone = false
  private var spill: JoinSpill?
  private var counter = 0
  private var report: String?

  init(
    _ state: ExecutionState, _ kind: JoinKind, _ probe: RowSource, _ build: RowSource, _ keys: [HashKey],
    _ condition: TypedExpression?, _ buildSlots: [FrameSlot], _ probeSlots: [FrameSlot]
  ) throws(SQLError) {
    self.kind = kind
    self.probe = probe
    self.build = build
    probeKeys = try compile(keys.map(\.probe))
    buildKeys = try compile(keys.map(\.build))
    orders = keys.map(\.order)
    self.condition = try condition.map { (c) throws(SQLError) in try CompiledExpression(c, asCondition: true) }
    self.buildSlots = buildSlots
    self.probeSlots = probeSlots
    store = RowStore(width: keys.count + buildSlots.count, limitBytes: state.services.workMemoryBytes)
    probeValues = ValueBuffer(keys.count)
    super.init(state)
  }

  override func open() throws(SQLError) {
    refresh()
    hasProbe = false
    unmatchedRow = -1
    isDone = false
    spill = nil
    try fill()
    if spill != nil {
      try partitionProbe()
      guard try nextPart() else { return }
    } else {
      makeTable()
      try probe.open()
    }
    if state.isInstrumented { note() }
  }

  // MARK: The kept side

  private func fill() throws(SQLError) {
    store.removeAll()
    hashes.removeAll(keepingCapacity: true)
    try build.open()
    let keyCount = buildKeys.count
    while try build.next() {
      arena.reset()
      let row = store.addRow()
      var hash: UInt64 = 0
      var hasNull = false
      for index in 0..<keyCount {
        let value = unsafe try buildKeys[index].value(frame, &context)
        if value.isNull { hasNull = true }
        hash = ValueOrder.mix(hash ^ orders[index].hash(value))
        store.set(row, index, value)
      }
      if hasNull, kind != .full {
        store.dropLast()
        continue
      }
      for (index, slot) in buildSlots.enumerated() { store.set(row, keyCount + index, frame[slot]) }
      hashes.append(UInt32(truncatingIfNeeded: hash))
      if row & 0xff == 0xff {
        try state.services.checkInterrupt()
        if isOverLimit { try spillStore() }
      }
    }
    build.close()
    if spill != nil { try spillStore() }
  }

  /// The rows and the table over them: heads, chains and hashes are 16 bytes a row at most.
  private var isOverLimit: Bool { store.usedBytes + store.count * 16 > store.limitBytes }

  /// Sets the kept rows aside.
  private func spillStore() throws(SQLError) {
    let spill: JoinSpill
    if let known = self.spill {
      spill = known
    } else {
      spill = try JoinSpill(self, buildWidth: store.width, probeWidth: orders.count + probeSlots.count, level: 0)
      self.spill = spill
    }
    for row in 0..<store.count { try spill.build.add(spill.build.partition(hashes[row]), store, row) }
    store.removeAll()
    hashes.removeAll(keepingCapacity: true)
  }

  private func makeTable() {
    var size = 16
    while size < store.count * 2 { size *= 2 }
    heads = Array(repeating: 0, count: size)
    following = Array(repeating: 0, count: store.count)
    let mask = size - 1
    for row in stride(from: store.count - 1, through: 0, by: -1) {
      let bucket = Int(hashes[row]) & mask
      following[row] = heads[bucket]
      heads[bucket] = Int32(row + 1)
    }
    if kind == .full { matchedRows = Array(repeating: false, count: store.count) }
  }

  // MARK: The other side

  /// Computes the keys of the row in the frame; false if one is null.
  @inline(__always)
  private func readKeys() throws(SQLError) -> Bool {
    var hash: UInt64 = 0
    for index in probeKeys.indices {
      let value = unsafe try probeKeys[index].value(frame, &context)
      if value.isNull { return false }
      probeValues[index] = value
      hash = ValueOrder.mix(hash ^ orders[index].hash(value))
    }
    probeHash = UInt32(truncatingIfNeeded: hash)
    return true
  }

  /// Moves to the next row of the other side, and to the first kept row of its bucket.
  private func nextProbe() throws(SQLError) -> Bool {
    if let spill { return try nextSpilledProbe(spill) }
    guard try probe.next() else { return false }
    arena.reset()
    matched = false
    hasProbe = true
    current = try readKeys() ? heads[Int(probeHash) & (heads.count - 1)] : 0
    return true
  }

  @inline(__always)
  private func isEqual(_ row: Int) -> Bool {
    for index in orders.indices {
      let kept = store.value(row, index)
      if kept.isNull || !orders[index].equal(kept, probeValues[index]) { return false }
    }
    return true
  }

  // MARK: Joining

  override func next() throws(SQLError) -> Bool {
    if isDone { return false }
    if try join() { return true }
    isDone = true
    return false
  }

  private func join() throws(SQLError) -> Bool {
    while true {
      if unmatchedRow >= 0 {
        if nextUnmatched() { return true }
        unmatchedRow = -1
        guard try nextPart() else { return false }
      }
      if !hasProbe {
        guard try nextProbe() else {
          if kind == .full {
            unmatchedRow = 0
          } else {
            guard try nextPart() else { return false }
          }
          continue
        }
      }
      if try nextMatch() { return true }
      hasProbe = false
      if !matched, kind == .left || kind == .full || kind == .anti {
        if let spill, !spill.isLastPiece || spill.hasMatched { continue }
        if kind != .anti { frame.setNull(buildSlots) }
        return true
      }
    }
  }

  /// The next kept row that joins with the row at hand, in the frame; false if there is none (any more).
  @inline(__always)
  private func nextMatch() throws(SQLError) -> Bool {
    while current != 0 {
      let row = Int(current) - 1
      current = following[row]
      guard hashes[row] == probeHash, isEqual(row) else { continue }
      if condition != nil || (kind != .semi && kind != .anti) {
        store.load(row, frame, buildSlots, from: orders.count)
      }
      if let condition, unsafe !(try condition.holds(frame, &context)) { continue }
      if !matched {
        matched = true
        spill?.setMatched()
      }
      if kind == .full { matchedRows[row] = true }
      switch kind {
      case .semi:
        hasProbe = false
        return true
      case .anti: current = 0
      default: return true
      }
    }
    return false
  }

  private func nextUnmatched() -> Bool {
    while unmatchedRow < store.count {
      let row = unmatchedRow
      unmatchedRow += 1
      if !matchedRows[row] {
        store.load(row, frame, buildSlots, from: orders.count)
        frame.setNull(probeSlots)
        return true
      }
    }
    return false
  }

  override func close() {
    probe.close()
    build.close()
    store.removeAll()
    heads = []
    following = []
    hashes = []
    spill = nil
  }

  // MARK: Partition by partition

  private func partitionProbe() throws(SQLError) {
    guard let spill else { return }
    try spill.build.finish()
    try probe.open()
    let row = ValueBuffer(orders.count + probeSlots.count)
    while try probe.next() {
      arena.reset()
      counter &+= 1
      if counter & 0xfff == 0 { try state.services.checkInterrupt() }
      let hasKeys = try readKeys()
      // Without a key it joins with nothing; it is of no use, or given alone.
      if !hasKeys, kind == .inner || kind == .semi { continue }
      for index in orders.indices { row[index] = hasKeys ? probeValues[index] : .null }
      for (index, slot) in probeSlots.enumerated() { row[orders.count + index] = frame[slot] }
      try spill.probe.add(hasKeys ? spill.probe.partition(probeHash) : 0, row)
    }
    probe.close()
    try spill.probe.finish()
    spill.begin()
  }

  private func nextSpilledProbe(_ spill: JoinSpill) throws(SQLError) -> Bool {
    while true {
      guard let values = try spill.nextProbe() else { return false }
      counter &+= 1
      if counter & 0xfff == 0 { try state.services.checkInterrupt() }
      if spill.hasMatched, kind == .semi || kind == .anti { continue }
      arena.reset()
      matched = false
      hasProbe = true
      current = 0
      for index in orders.indices { probeValues[index] = values[index] }
      for (index, slot) in probeSlots.enumerated() { frame[slot] = values[orders.count + index] }
      let (hash, hasNull) = hash(values)
      probeHash = hash
      if !hasNull { current = heads[Int(hash) & (heads.count - 1)] }
      return true
    }
  }

  /// Makes the next partition, or the next piece of one, ready; false after the last, and without partitions.
  private func nextPart() throws(SQLError) -> Bool {
    guard let spill else { return false }
    if spill.rest != nil {
      try loadPiece(spill)
      return true
    }
    while let part = spill.nextPart() {
      let isUseless = part.buildCount == 0 && (kind == .inner || kind == .semi) || part.probeCount == 0 && kind != .full
      if isUseless { continue }
      spill.rest = part.build.reader(part.place)
      if try loadPiece(spill, part) { return true }
    }
    store.removeAll()
    return false
  }

  /// Reads kept rows of the partition at hand until memory is full. If there are more, the partition is partitioned again,
  /// where that is of any use: then false.
  @discardableResult
  private func loadPiece(_ spill: JoinSpill, _ part: JoinSpill.Part? = nil) throws(SQLError) -> Bool {
    store.removeAll()
    hashes.removeAll(keepingCapacity: true)
    guard let reader = spill.rest else { return false }
    var low = UInt32.max
    var high = UInt32.min
    var isFull = false
    while !isFull, try reader.advance() {
      keep(reader.values)
      let hash = hashes[hashes.count - 1]
      (low, high) = (min(low, hash), max(high, hash))
      if store.count & 0xff == 0 {
        try state.services.checkInterrupt()
        isFull = isOverLimit
      }
    }
    if !isFull {
      spill.rest = nil
    } else if let part, low != high, part.build.level + 1 < PartitionedRows.mostLevels {
      spill.rest = nil
      try divide(spill, part, reader)
      return false
    }
    spill.beginPass(isFirst: part != nil, remembers: isFull || part == nil)
    makeTable()
    return true
  }

  private func keep(_ values: ValueBuffer) {
    let row = store.addRow()
    for index in 0..<values.count { store.set(row, index, values[index]) }
    hashes.append(hash(values).hash)
  }

  /// Sets aside both sides of a partition by other bits of the hash: of the kept side, what is in memory and what `reader`
  /// has left.
  private func divide(_ spill: JoinSpill, _ part: JoinSpill.Part, _ reader: RunReader) throws(SQLError) {
    let finer = try JoinSpill(
      self, buildWidth: store.width, probeWidth: orders.count + probeSlots.count, level: part.build.level + 1)
    for row in 0..<store.count { try finer.build.add(finer.build.partition(hashes[row]), store, row) }
    while try reader.advance() {
      try finer.build.add(finer.build.partition(hash(reader.values).hash), reader.values)
    }
    try finer.build.finish()
    let other = part.probe.reader(part.place)
    while try other.advance() {
      let (hash, hasNull) = hash(other.values)
      try finer.probe.add(hasNull ? 0 : finer.probe.partition(hash), other.values)
    }
    try finer.probe.finish()
    spill.add(finer)
    store.removeAll()
    hashes.removeAll(keepingCapacity: true)
    if state.isInstrumented { note() }
  }

  /// The hash of the keys of a row that was kept or set aside, as `fill` and `readKeys` compute it.
  private func hash(_ values: ValueBuffer) -> (hash: UInt32, hasNull: Bool) {
    var hash: UInt64 = 0
    var hasNull = false
    for index in orders.indices {
      if values[index].isNull { hasNull = true }
      hash = ValueOrder.mix(hash ^ orders[index].hash(values[index]))
    }
    return (UInt32(truncatingIfNeeded: hash), hasNull)
  }

  override var told: [String] { report.map { [$0] } ?? [] }
  private func note() {
    let memory = "Memory Usage: \(max(1, store.usedBytes >> 10))kB"
    guard let spill else {
      report = "Batches: 1  \(memory)"
      return
    }
    report = "Batches: \(spill.batches)  \(memory)  Disk Usage: \(spill.sizeBytes >> 10)kB"
  }
}
