// What GROUP BY keeps (see AggregateSource.swift): the states of its groups, the aggregates, and the rows that wait for
// a group's end.

/// The states of many groups.
@safe
final class GroupStates {
  private let sizeBytes: Int
  private var chunks: [UnsafeMutableRawPointer] = unsafe []
  private(set) var count = 0
  private static let perChunk = 256

  init(sizeBytes: Int) { self.sizeBytes = max(16, (sizeBytes + 15) & ~15) }
  deinit { for index in unsafe chunks.indices { unsafe chunks[index].deallocate() } }

  func add() -> Int {
    if unsafe count == chunks.count * GroupStates.perChunk {
      unsafe chunks.append(.allocate(byteCount: sizeBytes * GroupStates.perChunk, alignment: 16))
    }
    let start = unsafe self[count]
    unsafe start.initializeMemory(as: UInt8.self, repeating: 0, count: sizeBytes)
    count += 1
    return count - 1
  }
  @unsafe subscript(_ group: Int) -> UnsafeMutableRawPointer {
    @inline(__always) get {
      unsafe chunks[group / GroupStates.perChunk] + group % GroupStates.perChunk * sizeBytes
    }
  }
  func removeAll() { count = 0 }
  var usedBytes: Int { count * sizeBytes }
}

/// The rows of one group that wait for the group's end, for an aggregate with DISTINCT or ORDER BY. When they need too much
/// memory they go to disk, in sorted runs; duplicates of rows that went are left out at the end.
final class BufferedRows {
  fileprivate(set) var store: RowStore
  fileprivate var runs: SpilledRuns?
  /// Of the rows so far, where duplicates are to be left out: open addressing, row + 1.
  private var table: [Int32] = []
  private var hashes: [UInt32] = []

  init(width: Int) { store = RowStore(width: width, limitBytes: .max) }

  /// Forgets the rows in memory.
  fileprivate func removeAll() {
    store = RowStore(width: store.width, limitBytes: .max)
    table = []
    hashes = []
  }

  /// Whether `values` are no row's yet; if so, they must be added as the next row.
  func isNew(_ values: ValueBuffer, _ orders: [KeyOrder]) -> Bool {
    if (hashes.count + 1) * 2 > table.count { grow() }
    var hash: UInt64 = 0
    for index in orders.indices { hash = ValueOrder.mix(hash ^ orders[index].order.hashWithNull(values[index])) }
    let short = UInt32(truncatingIfNeeded: hash)
    let mask = table.count - 1
    var place = Int(short) & mask
    while table[place] != 0 {
      let row = Int(table[place]) - 1
      if hashes[row] == short, orders.indices.allSatisfy({ orders[$0].compare(store.value(row, $0), values[$0]) == 0 })
      {
        return false
      }
      place = (place + 1) & mask
    }
    hashes.append(short)
    table[place] = Int32(hashes.count)
    return true
  }

  private func grow() {
    table = Array(repeating: 0, count: max(16, table.count * 2))
    let mask = table.count - 1
    for row in hashes.indices {
      var place = Int(hashes[row]) & mask
      while table[place] != 0 { place = (place + 1) & mask }
      table[place] = Int32(row + 1)
    }
  }
}

/// An aggregate as the loop over the rows sees it: nothing in here is counted.
@unsafe
struct AggregateStep {
  let runner: Unmanaged<AggregateRunner>
  let shape: AggregateFunction.Shape
  let stateOffset: Int
  /// Of a shape of its own: the argument's slot, -1 where it must be evaluated first, -2 where there is none.
  let slot: FrameSlot

  init(_ runner: AggregateRunner) {
    unsafe self.runner = .passUnretained(runner)
    unsafe stateOffset = runner.stateOffset
    let isSimple =
      runner.filter == nil && !runner.isBuffered && runner.arguments.count == runner.function.arguments.count
      && runner.arguments.count <= 1
    unsafe shape = isSimple ? runner.function.shape : .other
    unsafe slot = runner.arguments.first.map { $0.column ?? -1 } ?? -2
  }
}

/// One aggregate of the node, compiled.
final class AggregateRunner {
  let function: AggregateFunction
  let arguments: [CompiledExpression]
  let filter: CompiledExpression?
  let slot: FrameSlot
  let stateOffset: Int
  let values: ValueBuffer
  /// DISTINCT or ORDER BY: the arguments, then the sort keys, of every group's rows.
  let isBuffered: Bool
  let isDistinct: Bool
  let orderKeys: [CompiledExpression]
  let orders: [KeyOrder]
  var buffers: [BufferedRows] = []
  /// About what the rows in `buffers` take.
  var bufferedBytes = 0
  private var file: TemporaryFile?

  init(_ item: AggregateItem, stateOffset: Int) throws(SQLError) {
    let call = item.call
    function = call.function
    arguments = try compile(call.arguments)
    filter = try call.filter.map { (f) throws(SQLError) in try CompiledExpression(f, asCondition: true) }
    slot = item.slot
    self.stateOffset = stateOffset
    values = ValueBuffer(max(arguments.count, 1))
    // Order and duplicates mean nothing to min and max.
    let matters = function.kind != .minimum && function.kind != .maximum
    isDistinct = call.isDistinct && matters
    isBuffered = matters && (call.isDistinct || !call.orderBy.isEmpty)
    orderKeys = try compile(call.orderBy.map(\.expression))
    var orders = call.orderBy.map { KeyOrder($0) }
    if isDistinct, orders.isEmpty {
      for argument in call.arguments {
        guard ValueOrder(argument.type.id) != nil else {
          throw SQLError(
            .undefinedFunction, "could not identify an equality operator for type \(argument.type.description)")
        }
        orders.append(KeyOrder(SortKey(argument)))
      }
    }
    self.orders = orders
  }

  // MARK: Rows that wait

  func removeBuffers() {
    buffers.removeAll()
    bufferedBytes = 0
    file = nil
  }

  private func compare(_ store: RowStore, _ a: Int, _ b: Int) -> Int {
    let first = orderKeys.isEmpty ? 0 : arguments.count
    for (index, order) in orders.enumerated() {
      let result = order.compare(store.value(a, first + index), store.value(b, first + index))
      if result != 0 { return result }
    }
    return 0
  }

  private func sorted(_ store: RowStore) -> [Int32] {
    var rows = (0..<store.count).map { Int32(truncatingIfNeeded: $0) }
    rows.sort { a, b in
      let result = compare(store, Int(a), Int(b))
      return result == 0 ? a < b : result < 0
    }
    return rows
  }

  /// Moves the rows of groups that have many to disk.
  func spillBuffers(_ makeFile: () throws(SQLError) -> TemporaryFile) throws(SQLError) {
    let least = min(1024, max(64, buffers.reduce(0) { max($0, $1.store.count) } / 2))
    for buffer in buffers where buffer.store.count >= least { try spill(buffer, makeFile) }
    bufferedBytes = buffers.reduce(0) { $0 + $1.store.count * 24 * (arguments.count + orderKeys.count) }
  }

  private func spill(_ buffer: BufferedRows, _ makeFile: () throws(SQLError) -> TemporaryFile) throws(SQLError) {
    let file: TemporaryFile
    if let known = self.file { file = known } else { file = try makeFile() }
    self.file = file
    let first = orderKeys.isEmpty ? 0 : arguments.count
    let runs =
      buffer.runs
      ?? SpilledRuns(file, orders, columns: orders.indices.map { first + $0 }, width: buffer.store.width)
    buffer.runs = runs
    try runs.add(buffer.store, sorted(buffer.store))
    buffer.removeAll()
  }

  /// Gives the rows of a group in order, without duplicates where they are not wanted; they are forgotten.
  func drain(_ group: Int, _ give: (Arguments) throws(SQLError) -> Void) throws(SQLError) {
    let buffer = buffers[group]
    let first = orderKeys.isEmpty ? 0 : arguments.count
    guard let runs = buffer.runs, let file else {
      let store = buffer.store
      var last = -1
      for row in sorted(store).map({ Int($0) }) {
        if isDistinct, last >= 0, compare(store, last, row) == 0 { continue }
        last = row
        try give(store.arguments(row, from: 0, count: arguments.count))
      }
      return
    }
    if buffer.store.count > 0 { try spill(buffer) { () throws(SQLError) in file } }
    let row = ValueBuffer(buffer.store.width)
    let last = RowStore(width: buffer.store.width, limitBytes: .max)
    try runs.begin()
    while try runs.next(row.frame, Array(0..<row.count), from: 0) {
      if isDistinct {
        if last.count > 0,
          orders.indices.allSatisfy({ orders[$0].compare(last.value(0, first + $0), row[first + $0]) == 0 })
        {
          continue
        }
        last.removeAll()
        last.append(row.frame, Array(0..<row.count))
      }
      try give(unsafe Arguments(row.pointer, count: arguments.count))
    }
    buffer.runs = nil
  }
}
