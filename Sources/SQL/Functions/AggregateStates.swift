// The states of aggregates: trivial structs in the executor's memory.

struct IntegerSum: BitwiseCopyable {
  var total: Int128 = 0
  var count: Int64 = 0
  @inline(__always) mutating func add(_ x: Int64) {
    // 2^63 values of 2^63 stay below 2^127.
    total &+= Int128(x)
    count &+= 1
  }
  mutating func add(_ other: IntegerSum) {
    total += other.total
    count += other.count
  }
}

struct DoubleSum: BitwiseCopyable {
  var total = 0.0
  var count: Int64 = 0
  @inline(__always) mutating func add(_ x: Double, single: Bool) throws(SQLError) {
    let before = total
    count &+= 1
    total = single ? Double(Float(total + x)) : total + x
    if total.isInfinite, !before.isInfinite, !x.isInfinite { throw DoubleArithmetic.overflow() }
  }
}

struct BooleanState: BitwiseCopyable {
  var isSet = false
  var value = false
}

struct BitState: BitwiseCopyable {
  var isSet = false
  var value: Int64 = 0
}

struct IntervalSum: BitwiseCopyable {
  var months: Int64 = 0
  var days: Int64 = 0
  var micros: Int128 = 0
  var count: Int64 = 0
  mutating func add(_ x: Interval) {
    months += Int64(x.months)
    days += Int64(x.days)
    micros += Int128(x.microseconds)
    count += 1
  }
  mutating func add(_ other: IntervalSum) {
    months += other.months
    days += other.days
    micros += other.micros
    count += other.count
  }
}

/// A sum of numerics: small ones in 128 bits at the largest scale seen so far; the rest as a held numeric.
struct NumericSum: BitwiseCopyable {
  var count: Int64 = 0
  private var small: Int128 = 0
  private var scale: Int32 = 0
  private var hasLarge = false
  private var large = HeldValue()

  mutating func add(_ x: Value, _ arena: Arena) throws(SQLError) {
    count += 1
    if x.isFiniteSmallNumeric {
      let other = Int32(x.displayScale)
      var term = Int128(x.mantissa)
      if other > scale {
        let (scaled, overflow) = small.multipliedReportingOverflow(by: Numeric.powers[Int(other - scale)])
        if overflow {
          try spill(arena)
        } else {
          small = scaled
        }
        scale = other
      } else if other < scale {
        term *= Numeric.powers[Int(scale - other)]
      }
      let (sum, overflow) = small.addingReportingOverflow(term)
      if !overflow {
        small = sum
        return
      }
      try spill(arena)
      small = term
      return
    }
    try addLarge(x, arena)
  }

  mutating func add(_ other: NumericSum, _ arena: Arena) throws(SQLError) {
    let total = count + other.count
    if other.count > 0 { try add(try other.total(arena), arena) }
    count = total
  }

  private mutating func spill(_ arena: Arena) throws(SQLError) {
    let part = Numeric.make(small, scale: Int(scale), arena)
    small = 0
    try addLarge(part, arena)
  }
  private mutating func addLarge(_ x: Value, _ arena: Arena) throws(SQLError) {
    let mark = Arena(initialBytes: 256)
    try large.hold(hasLarge ? try Numeric.add(large.value, x, mark) : x, arena)
    hasLarge = true
  }

  func total(_ arena: Arena) throws(SQLError) -> Value {
    let part = Numeric.make(small, scale: Int(scale), arena)
    return hasLarge ? try Numeric.add(part, large.value, arena) : part
  }
}

/// A value that the state owns: its bytes in a buffer of the state's arena that is reused when the next fits.
struct HeldValue: BitwiseCopyable, @unchecked Sendable {
  // Unchecked: a state belongs to one executor at a time.
  private var buffer: UInt = 0
  private var capacity: Int = 0
  private(set) var isSet = false
  private(set) var value = Value.sqlNull

  /// `hold` for a value without bytes.
  @inline(__always) mutating func holdPlain(_ new: Value) {
    isSet = true
    value = new
  }

  mutating func hold(_ new: Value, _ arena: Arena) throws(SQLError) {
    isSet = true
    guard new.kind == .bytes || new.kind == .bigNumeric, new.bytes.count > 0 else {
      value = new
      return
    }
    let bytes = new.bytes
    if bytes.count > capacity {
      capacity = max(32, bytes.count * 2)
      buffer = unsafe UInt(bitPattern: arena.allocate(capacity))
    }
    guard let start = unsafe UnsafeMutableRawPointer(bitPattern: buffer) else { return }
    unsafe start.copyMemory(from: bytes.start, byteCount: bytes.count)
    let copy = unsafe Bytes(start: start, count: bytes.count)
    value = new.kind == .bytes ? Value(copy) : Value(packedNumeric: copy)
  }
}

/// Bytes that grow by doubling within an arena.
struct GrowingBytes: BitwiseCopyable {
  var isSet = false
  private var buffer: UInt = 0
  private var count = 0
  private var capacity = 0

  mutating func append(_ bytes: Bytes, _ arena: Arena) throws(SQLError) {
    try TextFunctions.checkLength(count + bytes.count)
    if count + bytes.count > capacity {
      let larger = max(64, (count + bytes.count) * 2)
      let new = unsafe arena.allocate(larger)
      if let old = unsafe UnsafeRawPointer(bitPattern: buffer) { unsafe new.copyMemory(from: old, byteCount: count) }
      buffer = UInt(bitPattern: new)
      capacity = larger
    }
    guard let start = unsafe UnsafeMutableRawPointer(bitPattern: buffer) else { return }
    unsafe (start + count).copyMemory(from: bytes.start, byteCount: bytes.count)
    count += bytes.count
  }

  var bytes: Bytes {
    guard let start = unsafe UnsafeRawPointer(bitPattern: buffer) else { return .empty }
    return unsafe Bytes(start: start, count: count)
  }
}

/// Values that grow by doubling within an arena.
struct GrowingValues: BitwiseCopyable {
  private(set) var count = 0
  private var storage = GrowingBytes()

  mutating func append(_ value: Value, _ arena: Arena) throws(SQLError) {
    count += 1
    var copy = value
    let bytes = unsafe withUnsafeBytes(of: &copy) { arena.copy(unsafe Bytes($0)) }
    try storage.append(bytes, arena)
  }

  var values: [Value] {
    let bytes = storage.bytes
    var list: [Value] = []
    list.reserveCapacity(count)
    for index in 0..<count { list.append(unsafe bytes.start.loadUnaligned(fromByteOffset: index * 16, as: Value.self)) }
    return list
  }
}
