// Window functions: a partition at a time.
//
// The input is ordered by partition and order, so a partition is a run of rows. It is kept whole; for each row the frame's
// bounds are found and every call evaluated. Peers are rows equal in the order's keys. An aggregate over a frame that only
// grows (its start stays) keeps its state from row to row, so the usual running sums cost one step a row; any other frame is
// computed anew.

/// One window with all its calls.
@safe
final class WindowSource: EvaluatingSource {
  private final class Call {
    let slot: FrameSlot
    let kind: WindowCall.Function
    let arguments: [CompiledExpression]
    let filter: CompiledExpression?
    /// Where the call's arguments (and its filter) begin in a kept row.
    let firstColumn: Int
    var stateBytes = 0
    init(_ item: WindowNode.Item, firstColumn: Int) throws(SQLError) {
      slot = item.slot
      kind = item.call.function
      arguments = try compile(item.call.arguments)
      filter = try item.call.filter.map { (f) throws(SQLError) in try CompiledExpression(f) }
      self.firstColumn = firstColumn
      if case .aggregate(let function) = kind { stateBytes = max(16, (function.stateSize + 15) & ~15) }
    }
    var columnCount: Int { arguments.count + (filter == nil ? 0 : 1) }
  }

  private let input: RowSource
  private let window: WindowNode
  private let saved: [FrameSlot]
  private let partition: [CompiledExpression]
  private let partitionOrders: [KeyOrder]
  private let order: [CompiledExpression]
  private let orders: [KeyOrder]
  private let calls: [Call]
  private let startOffset: CompiledExpression?
  private let endOffset: CompiledExpression?
  /// RANGE with an offset: key, begin and end of a row's frame, in three columns from `rangeColumn` on.
  private let range: [CompiledExpression?]
  private let rangeOrder: KeyOrder?
  private let rangeColumn: Int
  private var startDistance = 0
  private var endDistance = 0
  private let store: RowStore
  private let firstSaved: Int
  private var peerStart: [Int32] = []
  private var peerEnd: [Int32] = []
  private var group: [Int32] = []
  private var row = 0
  private var hasPending = false
  private var isAtEnd = false
  private let pending: RowStore
  private let stateMemory: UnsafeMutableRawPointer
  private var running: [(start: Int, end: Int)] = []
  private let stateArena = Arena(initialBytes: 1024)

  init(_ state: ExecutionState, _ window: WindowNode, _ input: RowSource, _ saved: [FrameSlot]) throws(SQLError) {
    self.input = input
    self.window = window
    self.saved = saved
    partition = try compile(window.partition)
    partitionOrders = window.partition.map { KeyOrder(SortKey($0)) }
    order = try compile(window.order.map(\.expression))
    orders = window.order.map { KeyOrder($0) }
    var calls: [Call] = []
    var column = partition.count + order.count
    var bytes = 0
    for item in window.items {
      let call = try Call(item, firstColumn: column)
      column += call.columnCount
      bytes += call.stateBytes
      calls.append(call)
    }
    self.calls = calls
    rangeColumn = column
    if window.frame.key != nil { column += 3 }
    firstSaved = column
    func offset(_ bound: WindowNode.Frame.Bound) throws(SQLError) -> CompiledExpression? {
      switch bound {
      case .preceding(let expression), .following(let expression): try CompiledExpression(expression)
      default: nil
      }
    }
    let (start, end) = (try offset(window.frame.start), try offset(window.frame.end))
    if let key = window.frame.key {
      (startOffset, endOffset) = (nil, nil)
      range = [try CompiledExpression(key), start, end]
      var sort = window.order[0]
      sort.expression = key
      rangeOrder = KeyOrder(sort)
    } else {
      (startOffset, endOffset) = (start, end)
      range = []
      rangeOrder = nil
    }
    let limit = state.services.workMemoryBytes
    store = RowStore(width: column + saved.count, limitBytes: limit)
    pending = RowStore(width: max(saved.count, 1), limitBytes: limit)
    unsafe stateMemory = .allocate(byteCount: max(bytes, 16), alignment: 16)
    super.init(state)
    unsafe context.stateArena = stateArena
  }
  deinit { unsafe stateMemory.deallocate() }

  override func open() throws(SQLError) {
    refresh()
    store.removeAll()
    row = 0
    hasPending = false
    isAtEnd = false
    func distance(_ expression: CompiledExpression?, _ what: String) throws(SQLError) -> Int {
      guard let expression else { return 0 }
      let value = unsafe try expression.value(frame, &context)
      guard !value.isNull else {
        throw SQLError(SQLState(rawValue: "22004"), "frame \(what) offset must not be null")
      }
      guard value.int >= 0 else {
        throw SQLError(SQLState(rawValue: "22013"), "frame \(what) offset must not be negative")
      }
      return Int(clamping: min(value.int, Int64(Int32.max)))
    }
    startDistance = try distance(startOffset, "starting")
    endDistance = try distance(endOffset, "ending")
    try input.open()
  }

  // MARK: Partitions

  /// Adds the frame's row to the partition if it belongs to it.
  private func add() throws(SQLError) -> Bool {
    arena.reset()
    for index in partition.indices where store.count > 0 {
      let value = unsafe try partition[index].value(frame, &context)
      if partitionOrders[index].compare(store.value(0, index), value) != 0 { return false }
    }
    let row = store.addRow()
    for index in partition.indices { unsafe store.set(row, index, try partition[index].value(frame, &context)) }
    for index in order.indices {
      unsafe store.set(row, partition.count + index, try order[index].value(frame, &context))
    }
    for call in calls {
      for (index, argument) in call.arguments.enumerated() {
        unsafe store.set(row, call.firstColumn + index, try argument.value(frame, &context))
      }
      if let filter = call.filter {
        unsafe store.set(row, call.firstColumn + call.arguments.count, try filter.value(frame, &context))
      }
    }
    for (index, expression) in range.enumerated() {
      unsafe store.set(row, rangeColumn + index, try expression?.value(frame, &context) ?? .null)
    }
    for (index, slot) in saved.enumerated() { store.set(row, firstSaved + index, frame[slot]) }
    if row & 0xff == 0 {
      try store.checkLimit("a window's partition")
      try state.services.checkInterrupt()
    }
    return true
  }

  private func readPartition() throws(SQLError) -> Bool {
    store.removeAll()
    row = 0
    if hasPending {
      pending.load(0, frame, saved)
      hasPending = false
      _ = try add()
    }
    while !isAtEnd {
      guard try input.next() else {
        isAtEnd = true
        break
      }
      if !(try add()) {
        pending.removeAll()
        pending.append(frame, saved)
        hasPending = true
        break
      }
    }
    guard store.count > 0 else { return false }
    findPeers()
    stateArena.reset()
    running = Array(repeating: (-1, -1), count: calls.count)
    return true
  }

  private func findPeers() {
    let count = store.count
    peerStart = Array(repeating: 0, count: count)
    peerEnd = Array(repeating: 0, count: count)
    group = Array(repeating: 0, count: count)
    var start = 0
    var number: Int32 = 0
    while start < count {
      var end = start + 1
      while end < count, isPeer(start, end) { end += 1 }
      for row in start..<end {
        peerStart[row] = Int32(start)
        peerEnd[row] = Int32(end)
        group[row] = number
      }
      start = end
      number += 1
    }
  }
  private func isPeer(_ a: Int, _ b: Int) -> Bool {
    for (index, order) in orders.enumerated() {
      let column = partition.count + index
      if order.compare(store.value(a, column), store.value(b, column)) != 0 { return false }
    }
    return true
  }

  // MARK: Frames

  /// The frame of `row`, without exclusion: rows `start ..< end`.
  private func bounds(_ row: Int) -> (start: Int, end: Int) {
    let count = store.count
    func groupStart(_ number: Int) -> Int {
      if number < 0 { return 0 }
      return group.firstIndex { Int($0) >= number } ?? count
    }
    func position(_ bound: WindowNode.Frame.Bound, _ distance: Int, isStart: Bool) -> Int {
      switch (bound, window.frame.mode) {
      case (.unboundedPreceding, _): return 0
      case (.unboundedFollowing, _): return count
      case (.currentRow, .rows): return isStart ? row : row + 1
      case (.currentRow, _): return Int(isStart ? peerStart[row] : peerEnd[row])
      case (.preceding, .range), (.following, .range): return rangeBound(row, isStart: isStart)
      case (.preceding, .groups): return groupStart(Int(group[row]) - distance + (isStart ? 0 : 1))
      case (.following, .groups): return groupStart(Int(group[row]) + distance + (isStart ? 0 : 1))
      case (.preceding, _): return max(0, min(count, row - distance + (isStart ? 0 : 1)))
      case (.following, _): return max(0, min(count, row + distance + (isStart ? 0 : 1)))
      }
    }
    let start = position(window.frame.start, startDistance, isStart: true)
    let end = position(window.frame.end, endDistance, isStart: false)
    return (min(start, count), max(min(start, count), end))
  }

  /// RANGE with an offset: the first row at or behind where the frame begins, or behind where it ends. Rows whose key is
  /// null have each other for their frame, and are in no other's.
  private func rangeBound(_ row: Int, isStart: Bool) -> Int {
    guard let order = rangeOrder else { return 0 }
    let wanted = store.value(row, rangeColumn + (isStart ? 1 : 2))
    if wanted.isNull { return Int(isStart ? peerStart[row] : peerEnd[row]) }
    var low = 0
    var high = store.count
    while low < high {
      let middle = (low + high) / 2
      let key = store.value(middle, rangeColumn)
      let result = order.compare(key, wanted)
      if isStart ? result < 0 : result <= 0 { low = middle + 1 } else { high = middle }
    }
    return low
  }

  private func isExcluded(_ other: Int, from row: Int) -> Bool {
    switch window.frame.exclusion {
    case nil: false
    case .currentRow: other == row
    case .group: other >= Int(peerStart[row]) && other < Int(peerEnd[row])
    case .ties: other != row && other >= Int(peerStart[row]) && other < Int(peerEnd[row])
    }
  }

  // MARK: Calls

  override func next() throws(SQLError) -> Bool {
    if row >= store.count {
      guard try readPartition() else { return false }
    }
    arena.reset()
    var offset = 0
    for (number, call) in calls.enumerated() {
      switch call.kind {
      case .aggregate(let function):
        frame[call.slot] = try aggregate(function, call, number, offset)
        offset += call.stateBytes
      case .ranking(let function): frame[call.slot] = try ranking(function, call)
      }
    }
    store.load(row, frame, saved, from: firstSaved)
    row += 1
    return true
  }

  private func aggregate(
    _ function: AggregateFunction, _ call: Call, _ number: Int, _ offset: Int
  ) throws(SQLError) -> Value {
    let memory = unsafe stateMemory + offset
    let (start, end) = bounds(row)
    let known = running[number]
    var from = start
    if window.frame.exclusion == nil, known.start == start, known.end <= end, known.start >= 0 {
      from = known.end
    } else {
      unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: call.stateBytes)
      unsafe function.initialize(memory)
    }
    for other in from..<max(from, end) where !isExcluded(other, from: row) {
      if call.filter != nil, !store.value(other, call.firstColumn + call.arguments.count).isTrue { continue }
      let arguments = store.arguments(other, from: call.firstColumn, count: call.arguments.count)
      if function.isStrict, (0..<arguments.count).contains(where: { arguments[$0].isNull }) { continue }
      try unsafe function.accumulate(memory, arguments, &context)
    }
    running[number] = (start, end)
    return try unsafe function.finish(memory, &context)
  }

  private func ranking(_ function: WindowFunction, _ call: Call) throws(SQLError) -> Value {
    let count = store.count
    func argument(_ index: Int, of other: Int) -> Value { store.value(other, call.firstColumn + index) }
    switch function {
    case .rowNumber: return Value(row + 1)
    case .rank: return Value(Int(peerStart[row]) + 1)
    case .denseRank: return Value(Int(group[row]) + 1)
    case .percentRank: return Value(count > 1 ? Double(peerStart[row]) / Double(count - 1) : 0)
    case .cumeDist: return Value(Double(peerEnd[row]) / Double(count))
    case .ntile:
      let buckets = argument(0, of: row)
      if buckets.isNull { return .null }
      guard buckets.int > 0 else {
        throw SQLError(SQLState(rawValue: "22014"), "argument of ntile must be greater than zero")
      }
      let n = Int(buckets.int)
      let (size, extra) = count.quotientAndRemainder(dividingBy: n)
      let boundary = extra * (size + 1)
      return Value(row < boundary ? row / (size + 1) + 1 : extra + (size == 0 ? 0 : (row - boundary) / size) + 1)
    case .lag, .lead:
      let offset = call.arguments.count > 1 ? argument(1, of: row) : Value(1)
      if offset.isNull { return .null }
      let distance = Int(clamping: offset.int)
      let (target, overflow) =
        function == .lag ? row.subtractingReportingOverflow(distance) : row.addingReportingOverflow(distance)
      if !overflow, target >= 0, target < count { return argument(0, of: target) }
      return call.arguments.count > 2 ? argument(2, of: row) : .null
    case .firstValue, .lastValue, .nthValue:
      let (start, end) = bounds(row)
      if window.frame.exclusion == nil, function != .nthValue {
        guard start < end else { return .null }
        return argument(0, of: function == .firstValue ? start : end - 1)
      }
      let rows = (start..<end).filter { !isExcluded($0, from: row) }
      switch function {
      case .firstValue: return rows.first.map { argument(0, of: $0) } ?? .null
      case .lastValue: return rows.last.map { argument(0, of: $0) } ?? .null
      default:
        let n = argument(1, of: row)
        if n.isNull { return .null }
        guard n.int > 0 else {
          throw SQLError(SQLState(rawValue: "22016"), "argument of nth_value must be greater than zero")
        }
        return n.int <= Int64(rows.count) ? argument(0, of: rows[Int(n.int) - 1]) : .null
      }
    }
  }

  override func close() {
    input.close()
    store.removeAll()
  }
}
