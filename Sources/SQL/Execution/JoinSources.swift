/// A join that opens its inner side for every outer row: index lookups, LATERAL, and conditions that nothing else can use.
final class NestedLoopSource: EvaluatingSource {
  private let kind: JoinKind
  private let outer: RowSource
  private let inner: RowSource
  private let condition: CompiledExpression?
  private let innerSlots: [FrameSlot]
  private var hasOuter = false
  private var matched = false

  init(
    _ state: ExecutionState, _ kind: JoinKind, _ outer: RowSource, _ inner: RowSource, _ condition: TypedExpression?,
    _ innerSlots: [FrameSlot]
  ) throws(SQLError) {
    self.kind = kind
    self.outer = outer
    self.inner = inner
    self.condition = try condition.map { (c) throws(SQLError) in try CompiledExpression(c, asCondition: true) }
    self.innerSlots = innerSlots
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    hasOuter = false
    try outer.open()
  }
  override func next() throws(SQLError) -> Bool {
    while true {
      if !hasOuter {
        guard try outer.next() else { return false }
        hasOuter = true
        matched = false
        try inner.open()
      }
      while try inner.next() {
        if let condition {
          arena.reset()
          guard unsafe try condition.holds(frame, &context) else { continue }
        }
        matched = true
        switch kind {
        case .anti: break
        case .semi:
          hasOuter = false
          return true
        default: return true
        }
        break
      }
      hasOuter = false
      if !matched, kind == .left || kind == .anti {
        if kind == .left { frame.setNull(innerSlots) }
        return true
      }
    }
  }
  override func close() {
    outer.close()
    inner.close()
  }
}

/// A join by equality: the rows of one side are kept in a hash table, those of the other look theirs up.
///
/// The table is open addressing over chains: `heads[hash & mask]` is the first kept row of a bucket plus one, `following[row]`
/// the next. Kept rows hold their keys first, then the saved slots. A key with a null is kept only where a full join needs it.
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
  private var builtGeneration = -1
  private let isBuildConstant: Bool

  init(
    _ state: ExecutionState, _ kind: JoinKind, _ probe: RowSource, _ build: RowSource, _ keys: [HashKey],
    _ condition: TypedExpression?, _ buildSlots: [FrameSlot], _ probeSlots: [FrameSlot], isBuildConstant: Bool
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
    self.isBuildConstant = isBuildConstant
    store = RowStore(width: keys.count + buildSlots.count, limitBytes: state.services.workMemoryBytes)
    probeValues = ValueBuffer(keys.count)
    super.init(state)
  }

  override func open() throws(SQLError) {
    refresh()
    hasProbe = false
    unmatchedRow = -1
    if unsafe !isBuildConstant || builtGeneration != (state.generation) { try fill() }
    if kind == .full { matchedRows = Array(repeating: false, count: store.count) }
    try probe.open()
  }

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
      if row & 0xff == 0 {
        try store.checkLimit("a hash join")
        try state.services.checkInterrupt()
      }
    }
    build.close()
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
    builtGeneration = unsafe state.generation
  }

  private func startProbe() throws(SQLError) {
    arena.reset()
    matched = false
    hasProbe = true
    var hash: UInt64 = 0
    for index in probeKeys.indices {
      let value = unsafe try probeKeys[index].value(frame, &context)
      if value.isNull {
        current = 0
        return
      }
      probeValues[index] = value
      hash = ValueOrder.mix(hash ^ orders[index].hash(value))
    }
    probeHash = UInt32(truncatingIfNeeded: hash)
    current = heads[Int(probeHash) & (heads.count - 1)]
  }

  @inline(__always)
  private func isEqual(_ row: Int) -> Bool {
    for index in orders.indices {
      let kept = store.value(row, index)
      if kept.isNull || !orders[index].equal(kept, probeValues[index]) { return false }
    }
    return true
  }

  override func next() throws(SQLError) -> Bool {
    if unmatchedRow >= 0 { return nextUnmatched() }
    while true {
      if !hasProbe {
        guard try probe.next() else {
          guard kind == .full else { return false }
          unmatchedRow = 0
          return nextUnmatched()
        }
        try startProbe()
      }
      while current != 0 {
        let row = Int(current) - 1
        current = following[row]
        guard hashes[row] == probeHash, isEqual(row) else { continue }
        if condition != nil || (kind != .semi && kind != .anti) {
          store.load(row, frame, buildSlots, from: orders.count)
        }
        if let condition, unsafe !(try condition.holds(frame, &context)) { continue }
        matched = true
        if kind == .full { matchedRows[row] = true }
        switch kind {
        case .semi:
          hasProbe = false
          return true
        case .anti: current = 0
        default: return true
        }
      }
      hasProbe = false
      if !matched, kind == .left || kind == .full || kind == .anti {
        if kind != .anti { frame.setNull(buildSlots) }
        return true
      }
    }
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
    builtGeneration = -1
  }
}
