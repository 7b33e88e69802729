// The statement's frame: one value for each slot (see LogicalPlan). This file is where executing touches the frame's
// memory; slots come from the planner and are below the frame's size.

/// The values of all slots of a running statement.
@safe
struct Frame {
  let base: UnsafeMutablePointer<Value>

  @unsafe init(_ base: UnsafeMutablePointer<Value>) { unsafe self.base = base }

  subscript(_ slot: FrameSlot) -> Value {
    @inline(__always) get { unsafe base[slot] }
    @inline(__always) nonmutating set { unsafe base[slot] = newValue }
  }
  /// The frame as the row of expressions over slots.
  @unsafe var row: UnsafePointer<Value> { unsafe UnsafePointer(base) }

  @inline(__always)
  func setNull(_ slots: [FrameSlot]) { for slot in slots { self[slot] = .sqlNull } }
}

extension CompiledExpression {
  /// The value over the frame.
  @inline(__always)
  func value(_ frame: Frame, _ context: inout EvaluationContext) throws(SQLError) -> Value {
    unsafe try evaluate(row: frame.row, &context)
  }
  /// Whether the condition holds over the frame.
  @inline(__always)
  func holds(_ frame: Frame, _ context: inout EvaluationContext) throws(SQLError) -> Bool {
    unsafe try matches(row: frame.row, &context)
  }
}

/// A fixed number of values side by side, owned.
@safe
final class ValueBuffer {
  let count: Int
  let base: UnsafeMutablePointer<Value>

  init(_ count: Int) {
    self.count = count
    unsafe base = .allocate(capacity: max(count, 1))
    unsafe base.initialize(repeating: .null, count: max(count, 1))
  }
  deinit { unsafe base.deallocate() }

  subscript(_ index: Int) -> Value {
    @inline(__always) get {
      precondition(index >= 0 && index < count)
      return unsafe base[index]
    }
    @inline(__always) set {
      precondition(index >= 0 && index < count)
      unsafe base[index] = newValue
    }
  }
  @unsafe var pointer: UnsafePointer<Value> { unsafe UnsafePointer(base) }
  @unsafe var buffer: UnsafeBufferPointer<Value> { unsafe UnsafeBufferPointer(start: base, count: count) }
  var frame: Frame { unsafe Frame(base) }
  var arguments: Arguments { unsafe Arguments(pointer, count: count) }
}

/// Rows that are kept: `width` values each, their bytes copied.
@safe
final class RowStore {
  let width: Int
  private(set) var count = 0
  private var capacity = 0
  private var base: UnsafeMutablePointer<Value>
  let arena = Arena(initialBytes: 1024)
  /// Bytes that the store may take; beyond it `outOfMemory`.
  var limitBytes: Int

  init(width: Int, limitBytes: Int) {
    self.width = max(width, 1)
    self.limitBytes = limitBytes
    capacity = 16
    unsafe base = .allocate(capacity: 16 * self.width)
  }
  deinit { unsafe base.deallocate() }

  var sizeBytes: Int { unsafe capacity * width * MemoryLayout<Value>.stride + arena.reservedBytes }
  /// Memory that rows and their bytes take.
  var usedBytes: Int { unsafe count * width * MemoryLayout<Value>.stride + arena.reservedBytes }
  var isOverLimit: Bool { unsafe count * width * MemoryLayout<Value>.stride + arena.reservedBytes > limitBytes }

  func removeAll() {
    count = 0
    arena.reset()
  }

  /// Adds a row of nulls and returns its index.
  @inline(__always)
  func addRow() -> Int {
    if count == capacity { grow() }
    count &+= 1
    return count &- 1
  }

  /// Takes back the row that was added last.
  func dropLast() { count -= 1 }

  private func grow() {
    let wider = UnsafeMutablePointer<Value>.allocate(capacity: capacity * 2 * width)
    unsafe wider.update(from: base, count: count * width)
    unsafe base.deallocate()
    unsafe base = wider
    capacity *= 2
  }

  /// Column `column` of row `row`.
  @inline(__always)
  func value(_ row: Int, _ column: Int) -> Value {
    precondition(row < count && column < width)
    return unsafe base[row &* width &+ column]
  }
  /// Stores a copy.
  @inline(__always)
  func set(_ row: Int, _ column: Int, _ value: Value) {
    precondition(row < count && column < width)
    unsafe base[row &* width &+ column] = value.copied(into: arena)
  }
  @inline(__always)
  func append(_ frame: Frame, _ slots: [FrameSlot]) {
    let row = addRow()
    var target = unsafe base + row &* width
    for slot in slots {
      unsafe target.pointee = frame[slot].copied(into: arena)
      unsafe target += 1
    }
  }
  /// Puts the columns from `first` on back into `slots`.
  @inline(__always)
  func load(_ row: Int, _ frame: Frame, _ slots: [FrameSlot], from first: Int = 0) {
    precondition(row < count && first + slots.count <= width)
    var source = unsafe base + (row &* width &+ first)
    for slot in slots {
      frame[slot] = unsafe source.pointee
      unsafe source += 1
    }
  }
  /// The row as arguments of a function.
  @inline(__always)
  func arguments(_ row: Int, from first: Int, count n: Int) -> Arguments {
    precondition(row < count && first + n <= width)
    return unsafe Arguments(UnsafePointer(base + (row &* width &+ first)), count: n)
  }
  func checkLimit(_ what: String) throws(SQLError) {
    guard isOverLimit else { return }
    throw SQLError(
      .outOfMemory, "\(what) needs more than work_mem (\(limitBytes >> 20) MiB)",
      hint: "Raise work_mem for this session, or make the query read fewer rows.")
  }
}

/// How two values of a key compare.
struct KeyOrder {
  let order: ValueOrder
  let descending: Bool
  let nullsFirst: Bool

  init(_ key: SortKey) {
    order = ValueOrder(key.expression.type.id)!
    descending = key.descending
    nullsFirst = key.nullsFirst
  }

  /// Negative, zero or positive.
  @inline(__always)
  func compare(_ a: Value, _ b: Value) -> Int {
    if a.isNull || b.isNull {
      if a.isNull && b.isNull { return 0 }
      return a.isNull == nullsFirst ? -1 : 1
    }
    let result = order.compare(a, b)
    return descending ? -result : result
  }

  /// Eight bytes in the order of the values; equal where they do not decide.
  @inline(__always)
  func prefix(_ value: Value) -> UInt64 {
    if value.isNull { return nullsFirst ? 0 : .max }
    var word: UInt64
    switch order.kind {
    case .int: word = UInt64(bitPattern: value.int) ^ (1 << 63)
    case .double:
      let canonical = value.double == 0 ? 0 : (value.double.isNaN ? Double.nan : value.double)
      let bits = canonical.bitPattern
      word = bits >> 63 == 1 ? ~bits : bits | (1 << 63)
    case .bytes:
      word = 0
      let bytes = value.bytes
      if bytes.count >= 8 {
        word = bytes.load(0, as: UInt64.self).byteSwapped
      } else {
        for index in 0..<bytes.count { word |= UInt64(bytes[index]) << UInt64(56 - 8 * index) }
      }
    case .bool: word = value.bool ? 2 : 1
    default: return 1 << 63
    }
    if descending { word = ~word }
    // 0 and max are the nulls'; values that collide with them are told apart by the full comparison.
    return min(max(word, 1), .max - 1)
  }
}
