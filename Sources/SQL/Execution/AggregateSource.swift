// Grouping: by a hash table, or along an input in which equal keys come together.
//
// A group is a row of the key store (its keys, and with several grouping sets the set's number) and a block of states,
// one for each aggregate, 16-byte aligned, in chunks that never move. DISTINCT and ORDER BY inside an aggregate keep the
// group's arguments and feed them to the state when the group is done.
//
// When groups need more than work_mem, no new ones are added: rows of keys that are not there yet are set aside in partitions
// by the keys' hash (PartitionedRows.swift). When the input is over, the groups are given, and each partition is grouped like
// an input of its own. Rows of a group are either all in its states, or all in one partition. What the arguments of DISTINCT
// and ORDER BY need beyond work_mem is sorted on disk (AggregateParts.swift).

/// GROUP BY and aggregates.
@safe
final class AggregateSource: EvaluatingSource {
  private let input: RowSource
  private let node: AggregateNode
  private let strategy: AggregateStrategy
  private let keys: [CompiledExpression]
  private let keyOrders: [ValueOrder]
  private let keySlots: [FrameSlot]
  private let runners: [AggregateRunner]
  private let steps: UnsafeMutableBufferPointer<AggregateStep>
  /// The slots of the keys, if all of them are plain columns.
  private let plainKeys: [FrameSlot]?
  private let hasSets: Bool
  private let keyStore: RowStore
  private let states: GroupStates
  private let stateArena = Arena(initialBytes: 1024)
  private let keyValues: ValueBuffer
  @exclusivity(unchecked) private var table: [Int32] = []
  @exclusivity(unchecked) private var hashes: [UInt32] = []
  private var emitted = 0
  private var isFilled = false
  /// Rows of groups that found no room: the slots that are read of them, and the grouping set's number.
  private var spill: PartitionedRows?
  private var parts: [(rows: PartitionedRows, place: Int)] = []
  private var level = 0
  private lazy var spilledRow = ValueBuffer(node.saved.count + 1)
  private var report = (batches: 0, disk: UInt64(0), memory: 0)
  /// Sorted: whether the input's next row is in the frame already.
  private var hasPending = false
  @exclusivity(unchecked) private var counter = 0

  init(
    _ state: ExecutionState, _ node: AggregateNode, _ input: RowSource, _ strategy: AggregateStrategy
  ) throws(SQLError) {
    self.input = input
    self.node = node
    self.strategy = strategy
    keys = try compile(node.keys.map(\.expression))
    keyOrders = node.keys.map { ValueOrder($0.expression.type.id)! }
    keySlots = node.keys.map(\.slot)
    var runners: [AggregateRunner] = []
    var offset = 0
    for item in node.aggregates {
      runners.append(try AggregateRunner(item, stateOffset: offset))
      offset += (max(item.call.function.stateSize, 1) + 15) & ~15
    }
    self.runners = runners
    unsafe steps = .allocate(capacity: runners.count)
    for (index, runner) in runners.enumerated() { unsafe steps.initializeElement(at: index, to: AggregateStep(runner)) }
    let columns = keys.compactMap(\.column)
    plainKeys = columns.count == keys.count ? columns : nil
    hasSets = node.sets.count > 1 || (node.sets.count == 1 && node.sets[0].count != node.keys.count)
    states = GroupStates(sizeBytes: offset)
    keyStore = RowStore(width: node.keys.count + 1, limitBytes: state.services.workMemoryBytes)
    keyValues = ValueBuffer(node.keys.count)
    super.init(state)
    unsafe context.stateArena = stateArena
  }

  deinit { unsafe steps.deallocate() }

  override func open() throws(SQLError) {
    refresh()
    reset()
    isFilled = false
    hasPending = false
    emitted = 0
    spill = nil
    parts = []
    level = 0
    report = (0, 0, 0)
    try input.open()
  }

  private func reset() {
    keyStore.removeAll()
    states.removeAll()
    stateArena.reset()
    unsafe hashes.removeAll(keepingCapacity: true)
    for runner in runners { runner.removeBuffers() }
  }

  // MARK: Groups

  private func addGroup(_ set: Int) -> Int {
    let row = keyStore.addRow()
    for index in keyOrders.indices { keyStore.set(row, index, keyValues[index]) }
    keyStore.set(row, keyOrders.count, Value(set))
    let group = states.add()
    for runner in runners {
      unsafe runner.function.initialize(states[group] + runner.stateOffset)
      if runner.isBuffered {
        runner.buffers.append(BufferedRows(width: runner.arguments.count + runner.orderKeys.count))
      }
    }
    return group
  }

  /// The group of the keys in `keyValues`, which is added if there is room; -1: the row was set aside.
  private func find(_ set: Int) throws(SQLError) -> Int {
    var hash: UInt64 = UInt64(set)
    for index in keyOrders.indices { hash = ValueOrder.mix(hash ^ keyOrders[index].hashWithNull(keyValues[index])) }
    let short = UInt32(truncatingIfNeeded: hash)
    var mask = unsafe table.count &- 1
    var place = Int(short) & mask
    while case let entry = unsafe table[place], entry != 0 {
      let group = Int(entry) &- 1
      if unsafe hashes[group] == short, isEqual(group, set) { return group }
      place = (place &+ 1) & mask
    }
    if spill != nil {
      try setAside(set, short)
      return -1
    }
    if unsafe (states.count + 1) * 2 > table.count {
      rehash()
      mask = unsafe table.count - 1
      place = Int(short) & mask
      while unsafe table[place] != 0 { place = (place + 1) & mask }
    }
    let group = addGroup(set)
    unsafe hashes.append(short)
    unsafe table[place] = Int32(group + 1)
    if group & 0xff == 0 { try checkMemory() }
    return group
  }

  // MARK: More than fits

  private var usedBytes: Int {
    var bytes =
      unsafe keyStore.usedBytes + states.usedBytes + stateArena.reservedBytes + (table.count + hashes.count) * 4
    for runner in runners where runner.isBuffered { bytes += runner.bufferedBytes }
    return bytes
  }

  private func checkMemory() throws(SQLError) {
    let limit = state.services.workMemoryBytes
    guard usedBytes > limit else { return }
    for runner in runners where runner.isBuffered {
      try runner.spillBuffers { () throws(SQLError) in try self.state.services.temporaryFile() }
    }
    if spill == nil, strategy == .hashed, level < PartitionedRows.mostLevels, states.count > 0 {
      spill = PartitionedRows(
        width: node.saved.count + 1, level: level, limitBytes: limit, try state.services.temporaryFile())
      return
    }
    // One group alone can need more: an array, or a text, of very many rows.
    guard usedBytes <= max(limit, AggregateSource.mostBytes) else {
      throw SQLError(
        .outOfMemory,
        "the groups that are in memory need more than \(max(limit, AggregateSource.mostBytes) >> 20) MiB",
        hint: "An array or a text is being made of very many rows. Raise work_mem for this session, or aggregate fewer."
      )
    }
  }
  /// What the states of groups may grow to that cannot be set aside any more.
  private static let mostBytes = 1 << 30

  private func setAside(_ set: Int, _ hash: UInt32) throws(SQLError) {
    guard let spill else { return }
    for (index, slot) in node.saved.enumerated() { spilledRow[index] = frame[slot] }
    spilledRow[node.saved.count] = Value(set)
    try spill.add(spill.partition(hash), spilledRow)
  }

  /// The input, or a partition, is over.
  private func endPart() throws(SQLError) {
    if state.isInstrumented { report.memory = max(report.memory, usedBytes) }
    guard let spill else { return }
    try spill.finish()
    self.spill = nil
    report.batches += PartitionedRows.partitionCount
    report.disk += spill.sizeBytes
    for place in 0..<PartitionedRows.partitionCount where spill.counts[place] > 0 { parts.append((spill, place)) }
  }

  /// Groups the next partition; false after the last.
  private func nextPart() throws(SQLError) -> Bool {
    guard let part = parts.popLast() else { return false }
    reset()
    emitted = 0
    level = part.rows.level + 1
    unsafe table = Array(repeating: 0, count: 64)
    let reader = part.rows.reader(part.place)
    while try reader.advance() {
      try tick()
      for (index, slot) in node.saved.enumerated() { frame[slot] = reader.values[index] }
      let number = Int(reader.values[node.saved.count].int)
      try evaluateKeys()
      if hasSets { mask(node.sets[number]) }
      let group = try find(number)
      if group >= 0 { try accumulate(group) }
    }
    try endPart()
    return true
  }

  /// Makes the keys null that are not in the grouping set.
  private func mask(_ set: [Int]) {
    for index in keyOrders.indices where !set.contains(index) { keyValues[index] = .null }
  }

  override var told: [String] {
    guard strategy == .hashed, report.memory > 0 else { return [] }
    let memory = "Memory Usage: \(max(1, report.memory >> 10))kB"
    guard report.disk > 0 else { return ["Batches: 1  \(memory)"] }
    return ["Batches: \(report.batches + 1)  \(memory)  Disk Usage: \(report.disk >> 10)kB"]
  }

  private func rehash() {
    unsafe table = unsafe Array(repeating: 0, count: max(64, table.count * 2))
    let mask = unsafe table.count - 1
    for group in unsafe hashes.indices {
      var place = unsafe Int(hashes[group]) & mask
      while unsafe table[place] != 0 { place = (place + 1) & mask }
      unsafe table[place] = Int32(group + 1)
    }
  }

  private func isEqual(_ group: Int, _ set: Int) -> Bool {
    for index in keyOrders.indices {
      let kept = keyStore.value(group, index)
      let given = keyValues[index]
      if kept.isNull || given.isNull {
        if kept.isNull != given.isNull { return false }
      } else if !keyOrders[index].equal(kept, given) {
        return false
      }
    }
    return !hasSets || keyStore.value(group, keyOrders.count).int == Int64(set)
  }

  // MARK: Accumulating

  @inline(__always)
  private func accumulate(_ group: Int) throws(SQLError) {
    let start = unsafe states[group]
    var index = 0
    while index < (unsafe steps.count) {
      let step = unsafe steps[index]
      index &+= 1
      let state = unsafe start + step.stateOffset
      if case .other = unsafe step.shape {
        unsafe try call(step, state, group)
        continue
      }
      var value = Value(true)
      if unsafe step.slot >= 0 {
        value = unsafe frame[step.slot]
      } else if unsafe step.slot == -1 {
        value = unsafe try evaluateArgument(step)
      }
      if value.isNull { continue }
      switch unsafe step.shape {
      case .other: break
      case .count: unsafe state.assumingMemoryBound(to: Int64.self).pointee &+= 1
      case .integerSum: unsafe state.assumingMemoryBound(to: IntegerSum.self).pointee.add(value.int)
      case .doubleSum:
        unsafe try state.assumingMemoryBound(to: DoubleSum.self).pointee.add(value.double, single: false)
      case .extreme(let order, let wanted):
        let held = unsafe state.assumingMemoryBound(to: HeldValue.self)
        if unsafe !held.pointee.isSet || order.compare(value, held.pointee.value) == wanted {
          unsafe held.pointee.holdPlain(value)
        }
      }
    }
  }

  @inline(never)
  private func evaluateArgument(_ step: AggregateStep) throws(SQLError) -> Value {
    let runner = unsafe step.runner.takeUnretainedValue()
    return unsafe try runner.arguments[0].value(frame, &context)
  }

  /// Gives the row in the frame to an aggregate that has no shape of its own.
  @inline(never)
  private func call(
    _ step: AggregateStep, _ state: UnsafeMutableRawPointer, _ group: Int
  ) throws(SQLError) {
    let runner = unsafe step.runner.takeUnretainedValue()
    if let filter = runner.filter, unsafe !(try filter.holds(frame, &context)) { return }
    var hasNull = false
    for index in runner.arguments.indices {
      let value = unsafe try runner.arguments[index].value(frame, &context)
      if value.isNull { hasNull = true }
      runner.values[index] = value
    }
    if hasNull, runner.function.isStrict { return }
    if runner.isBuffered { return try buffer(runner, group) }
    try unsafe runner.function.accumulate(
      state, Arguments(runner.values.pointer, count: runner.arguments.count), &context)
  }

  private func buffer(_ runner: AggregateRunner, _ group: Int) throws(SQLError) {
    let buffer = runner.buffers[group]
    // Under an ORDER BY of their own rows may differ where arguments do not.
    if runner.isDistinct, runner.orderKeys.isEmpty, !buffer.isNew(runner.values, runner.orders) { return }
    let store = buffer.store
    let row = store.addRow()
    for index in runner.arguments.indices {
      store.set(row, index, runner.values[index])
      runner.bufferedBytes += 24 + runner.values[index].bytes.count
    }
    for (index, key) in runner.orderKeys.enumerated() {
      let value = unsafe try key.value(frame, &context)
      store.set(row, runner.arguments.count + index, value)
      runner.bufferedBytes += 24 + value.bytes.count
    }
    if row & 0xfff == 0xfff { try checkMemory() }
  }

  private func drain(_ runner: AggregateRunner, _ group: Int) throws(SQLError) {
    let start = unsafe states[group] + runner.stateOffset
    try runner.drain(group) { (arguments) throws(SQLError) in
      try unsafe runner.function.accumulate(start, arguments, &self.context)
    }
  }

  @inline(__always)
  private func evaluateKeys() throws(SQLError) {
    if let plainKeys {
      for index in plainKeys.indices { keyValues[index] = frame[plainKeys[index]] }
      return
    }
    for index in keys.indices { keyValues[index] = unsafe try keys[index].value(frame, &context) }
  }

  // MARK: Running

  override func next() throws(SQLError) -> Bool {
    if strategy == .sorted { return try nextSorted() }
    if !isFilled { try fill() }
    while emitted >= states.count {
      guard try nextPart() else { return false }
    }
    let group = emitted
    emitted += 1
    try emit(group)
    return true
  }

  private func fill() throws(SQLError) {
    isFilled = true
    if strategy == .plain {
      let group = addGroup(0)
      if !(try countScan(group)) {
        while try input.next() {
          try tick()
          try accumulate(group)
        }
      }
    } else {
      unsafe table = Array(repeating: 0, count: 64)
      while try input.next() {
        try tick()
        try evaluateKeys()
        if !hasSets {
          let group = try find(0)
          if group >= 0 { try accumulate(group) }
          continue
        }
        let all = keyValues.array
        for (number, set) in node.sets.enumerated() {
          for index in keyOrders.indices { keyValues[index] = set.contains(index) ? all[index] : .null }
          let group = try find(number)
          if group >= 0 { try accumulate(group) }
        }
      }
      // An empty grouping set is there even without rows.
      if states.count == 0 {
        for (number, set) in node.sets.enumerated() where set.isEmpty {
          for index in keyOrders.indices { keyValues[index] = .null }
          _ = try find(number)
        }
      }
    }
    input.close()
    try endPart()
  }

  /// Where nothing but count(*) is asked of a table without a condition: no row needs to be looked at.
  private func countScan(_ group: Int) throws(SQLError) -> Bool {
    guard let scan = input as? TableScanSource, scan.filter == nil,
      runners.allSatisfy({ $0.function.kind == .countAll && $0.filter == nil })
    else { return false }
    let count = Int64(try scan.countRows())
    let start = unsafe states[group]
    for runner in runners {
      unsafe (start + runner.stateOffset).assumingMemoryBound(to: Int64.self).pointee = count
    }
    return true
  }

  @inline(__always)
  private func tick() throws(SQLError) {
    arena.reset()
    unsafe counter &+= 1
    if unsafe counter & 0xfff == 0 {
      try state.services.checkInterrupt()
      try checkMemory()
    }
  }

  private func nextSorted() throws(SQLError) -> Bool {
    if hasPending {
      pendingStore.load(0, frame, keySlots)
    } else {
      guard !isFilled, try input.next() else { return false }
    }
    arena.reset()
    try evaluateKeys()
    reset()
    let group = addGroup(0)
    try accumulate(group)
    hasPending = false
    while try input.next() {
      try tick()
      try evaluateKeys()
      if !isEqual(group, 0) {
        hasPending = true
        break
      }
      try accumulate(group)
    }
    if !hasPending {
      isFilled = true
      try emit(group)
      return true
    }
    // The next group's first row is in the frame: what is emitted now goes over its keys' slots.
    pendingStore.removeAll()
    pendingStore.append(frame, keySlots)
    try emit(group)
    return true
  }
  private lazy var pendingStore = RowStore(width: keySlots.count, limitBytes: .max)

  private func emit(_ group: Int) throws(SQLError) {
    arena.reset()
    let start = unsafe states[group]
    for runner in runners {
      if runner.isBuffered { try drain(runner, group) }
      frame[runner.slot] = try unsafe runner.function.finish(start + runner.stateOffset, &context)
    }
    keyStore.load(group, frame, keySlots)
    guard !node.groupings.isEmpty else { return }
    let set = Int(keyStore.value(group, keyOrders.count).int)
    for grouping in node.groupings {
      var mask: Int64 = 0
      for key in grouping.keys { mask = mask << 1 | (node.sets[set].contains(key) ? 0 : 1) }
      frame[grouping.slot] = Value(mask)
    }
  }

  override func close() {
    input.close()
    reset()
    spill = nil
    parts = []
  }
}

extension ValueBuffer {
  var array: [Value] { (0..<count).map { self[$0] } }
}

extension ValueOrder {
  @inline(__always)
  func hashWithNull(_ value: Value) -> UInt64 { value.isNull ? 0x5851_f42d_4c95_7f2d : hash(value) }
}
