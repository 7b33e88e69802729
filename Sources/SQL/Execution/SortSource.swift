/// The keys of a sort: each is a saved slot, or computed and kept in front of them.
struct SortLayout {
  let expressions: [CompiledExpression]
  let orders: [KeyOrder]
  /// The column of the kept row that holds each key.
  let columns: [Int]
  /// How many keys are computed: they come first in the kept row.
  let computedCount: Int
  private let computed: [Int]

  init(_ keys: [SortKey], saved: [FrameSlot]) throws(SQLError) {
    expressions = try compile(keys.map(\.expression))
    orders = keys.map { KeyOrder($0) }
    computed = keys.indices.filter { keys[$0].expression.columnSlot.map { !saved.contains($0) } ?? true }
    computedCount = computed.count
    let computed = self.computed
    columns = keys.indices.map { index in
      computed.firstIndex(of: index) ?? computed.count + saved.firstIndex(of: keys[index].expression.columnSlot!)!
    }
  }

  /// Adds the frame's row to `store`: computed keys, then the saved slots.
  @inline(__always)
  func append(
    _ store: RowStore, _ frame: Frame, _ saved: [FrameSlot], _ context: inout EvaluationContext
  ) throws(SQLError) {
    if computedCount == 0 {
      store.append(frame, saved)
      return
    }
    let row = store.addRow()
    for (column, key) in computed.enumerated() {
      store.set(row, column, try expressions[key].value(frame, &context))
    }
    for (column, slot) in saved.enumerated() { store.set(row, computedCount + column, frame[slot]) }
  }

  @inline(__always)
  func compare(_ store: RowStore, _ a: Int, _ b: Int) -> Int {
    for index in orders.indices {
      let result = orders[index].compare(store.value(a, columns[index]), store.value(b, columns[index]))
      if result != 0 { return result }
    }
    return 0
  }

  /// The rows of `store` in order; equal ones stay in the order in which they came.
  func sorted(_ store: RowStore) -> [Int32] {
    struct Entry {
      var prefix: UInt64
      var row: Int32
    }
    let first = columns[0]
    let order = orders[0]
    var entries: [Entry] = []
    entries.reserveCapacity(store.count)
    for row in 0..<store.count {
      entries.append(Entry(prefix: order.prefix(store.value(row, first)), row: Int32(truncatingIfNeeded: row)))
    }
    entries.sort { a, b in
      if a.prefix != b.prefix { return a.prefix < b.prefix }
      let result = compare(store, Int(a.row), Int(b.row))
      return result == 0 ? a.row < b.row : result < 0
    }
    return entries.map(\.row)
  }
}

/// Sorts its input: in memory, and in sorted runs on disk once the rows need more than work_mem.
final class SortSource: EvaluatingSource {
  private let input: RowSource
  private let layout: SortLayout
  private let saved: [FrameSlot]
  private let store: RowStore
  private var order: [Int32] = []
  private var position = 0
  private var runs: SpilledRuns?
  private var isFilled = false

  init(_ state: ExecutionState, _ input: RowSource, _ keys: [SortKey], _ saved: [FrameSlot]) throws(SQLError) {
    self.input = input
    self.saved = saved
    layout = try SortLayout(keys, saved: saved)
    store = RowStore(width: layout.computedCount + saved.count, limitBytes: state.services.workMemoryBytes)
    super.init(state)
  }
  override func open() throws(SQLError) {
    refresh()
    store.removeAll()
    order = []
    runs = nil
    position = 0
    isFilled = false
    try input.open()
  }

  private func fill() throws(SQLError) {
    isFilled = true
    while try input.next() {
      arena.reset()
      unsafe try layout.append(store, frame, saved, &context)
      guard store.count & 0xff == 0 else { continue }
      try state.services.checkInterrupt()
      if store.isOverLimit { try spill() }
    }
    input.close()
    if runs == nil {
      order = layout.sorted(store)
    } else {
      if store.count > 0 { try spill() }
      try runs!.begin()
    }
    if state.isInstrumented { note() }
  }

  private func spill() throws(SQLError) {
    if runs == nil {
      runs = try SpilledRuns(
        state.services.temporaryFile(), layout.orders, columns: layout.columns, width: store.width)
    }
    try runs!.add(store, layout.sorted(store))
    store.removeAll()
  }

  override func next() throws(SQLError) -> Bool {
    if !isFilled { try fill() }
    if let runs {
      return try runs.next(frame, saved, from: layout.computedCount)
    }
    guard position < order.count else { return false }
    store.load(Int(order[position]), frame, saved, from: layout.computedCount)
    position += 1
    return true
  }
  override func close() {
    input.close()
    store.removeAll()
    order = []
    runs = nil
  }

  override var told: [String] { report.map { [$0] } ?? [] }
  private var report: String?
  private func note() {
    let (method, space, bytes) =
      runs.map { ("external merge", "Disk", Int(clamping: $0.sizeBytes)) } ?? ("quicksort", "Memory", store.usedBytes)
    report = "Sort Method: \(method)  \(space): \(max(1, bytes >> 10))kB"
  }
}

/// The first rows of an order: a heap of as many as are wanted, the last of them on top.
final class TopNSource: EvaluatingSource {
  private let input: RowSource
  private let layout: SortLayout
  private let saved: [FrameSlot]
  private let count: CompiledExpression
  private let offset: CompiledExpression?
  private var store: RowStore
  private var heap: [Int32] = []
  private var sequence: [Int] = []
  private var position = 0
  private var wanted = 0
  private var isFilled = false
  private let firstKey: (expression: CompiledExpression, order: KeyOrder)

  init(
    _ state: ExecutionState, _ input: RowSource, _ keys: [SortKey], _ saved: [FrameSlot], count: TypedExpression,
    offset: TypedExpression?
  ) throws(SQLError) {
    self.input = input
    self.saved = saved
    layout = try SortLayout(keys, saved: saved)
    self.count = try CompiledExpression(count)
    self.offset = try offset.map { (e) throws(SQLError) in try CompiledExpression(e) }
    store = RowStore(width: layout.computedCount + saved.count, limitBytes: state.services.workMemoryBytes)
    firstKey = (layout.expressions[0], layout.orders[0])
    super.init(state)
  }

  override func open() throws(SQLError) {
    refresh()
    store = RowStore(width: store.width, limitBytes: store.limitBytes)
    heap = []
    sequence = []
    position = 0
    isFilled = false
    let n = unsafe try LimitSource.number(count, "LIMIT", frame, &context) ?? .max
    let skip = unsafe try LimitSource.number(offset, "OFFSET", frame, &context) ?? 0
    let (sum, overflow) = n.addingReportingOverflow(skip)
    wanted = overflow ? .max : Int(sum)
    try input.open()
  }

  /// Whether kept row `a` comes after `b`.
  private func isAfter(_ a: Int32, _ b: Int32) -> Bool {
    let result = layout.compare(store, Int(a), Int(b))
    return result == 0 ? sequence[Int(a)] > sequence[Int(b)] : result > 0
  }

  private func fill() throws(SQLError) {
    isFilled = true
    var arrived = 0
    while wanted > 0, try input.next() {
      arena.reset()
      arrived += 1
      if arrived & 0xff == 0 { try state.services.checkInterrupt() }
      if heap.count < wanted {
        unsafe try layout.append(store, frame, saved, &context)
        sequence.append(arrived)
        heap.append(Int32(store.count - 1))
        siftUp(heap.count - 1)
        if store.count & 0xff == 0 { try store.checkLimit("ORDER BY with LIMIT") }
        continue
      }
      let top = Int(heap[0])
      // Nearly every row is refused by its first key.
      let value = unsafe try firstKey.expression.value(frame, &context)
      let first = firstKey.order.compare(value, store.value(top, layout.columns[0]))
      if first > 0 { continue }
      try replaceTop(arrived)
    }
    input.close()
    heap.sort { isAfter($1, $0) }
  }

  /// Puts the frame's row in the place of the heap's top if it comes before it.
  private func replaceTop(_ arrived: Int) throws(SQLError) {
    unsafe try layout.append(store, frame, saved, &context)
    sequence.append(arrived)
    let row = Int32(store.count - 1)
    guard isAfter(heap[0], row) else {
      store.dropLast()
      sequence.removeLast()
      return
    }
    heap[0] = row
    siftDown(0)
    // Rows that left the heap stay in the store until they are many.
    if store.count > 4 * wanted + 1024 { compact() }
  }

  private func compact() {
    let fresh = RowStore(width: store.width, limitBytes: store.limitBytes)
    var kept: [Int] = []
    for (index, row) in heap.enumerated() {
      let target = fresh.addRow()
      for column in 0..<store.width { fresh.set(target, column, store.value(Int(row), column)) }
      kept.append(sequence[Int(row)])
      heap[index] = Int32(target)
    }
    store = fresh
    sequence = kept
  }

  private func siftUp(_ start: Int) {
    var child = start
    while child > 0 {
      let parent = (child - 1) / 2
      guard isAfter(heap[child], heap[parent]) else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }
  private func siftDown(_ start: Int) {
    var parent = start
    while true {
      var child = 2 * parent + 1
      guard child < heap.count else { return }
      if child + 1 < heap.count, isAfter(heap[child + 1], heap[child]) { child += 1 }
      guard isAfter(heap[child], heap[parent]) else { return }
      heap.swapAt(child, parent)
      parent = child
    }
  }

  override func next() throws(SQLError) -> Bool {
    if !isFilled { try fill() }
    guard position < heap.count else { return false }
    store.load(Int(heap[position]), frame, saved, from: layout.computedCount)
    position += 1
    return true
  }
  override func close() {
    input.close()
    heap = []
    sequence = []
  }
}
