internal import Glibc

// What functions see of the statement and the session while an expression is evaluated.

/// What the executor gives to expressions: subqueries, settings, names of objects. One object for each running statement.
package protocol EvaluationHost: AnyObject {
  /// Evaluates subplan `id` of the statement for `arguments` (its test values) and the current slots.
  func subplan(_ id: Int, _ arguments: Arguments, _ context: inout EvaluationContext) throws(SQLError) -> Value
  /// The value of a setting as SHOW prints it, or nil if there is none of the name.
  func setting(_ name: String) -> String?
}

/// Names for numbers and back: how reg* types are read and printed.
package protocol ObjectNames: AnyObject, Sendable {
  /// The (qualified where needed) name of object `oid`, as `kind`'s output prints it; nil prints the number.
  func name(of oid: UInt32, _ kind: TypeID) -> String?
  /// The number of the object that `text` names; throws undefined_table, undefined_object, undefined_function.
  func oid(named text: String, _ kind: TypeID) throws(SQLError) -> UInt32
}

/// How values are read from and printed as text: what the session's settings say. Dates are always printed in ISO style;
/// `SET datestyle` to another output style is refused by the session.
package struct TextFormat: Sendable {
  package enum DateOrder: Sendable { case ymd, mdy, dmy }
  package enum IntervalStyle: Sendable { case postgres, iso8601 }

  package var timeZone: TimeZone = .utc
  package var extraFloatDigits: Int = 1
  package var dateOrder: DateOrder = .mdy
  package var intervalStyle: IntervalStyle = .postgres
  package var byteaHex: Bool = true
  /// The transaction's start, for the input 'now', 'today', …; microseconds since 2000-01-01 UTC.
  package var now: Int64 = 0
  package var names: (any ObjectNames)?
  package init() {}
}

/// The state of one evaluation: passed `inout` to every function, never stored.
@safe package struct EvaluationContext {
  /// Where results that need bytes go; the operator resets it when its row is done.
  package var arena: Arena
  /// Where the states of aggregates grow; lives as long as the aggregation.
  package var stateArena: Arena
  package var format: TextFormat
  /// statement_timestamp(); `format.now` is transaction_timestamp().
  package var statementTime: Int64 = 0
  package var user: String = "synod"
  package var database: String = "synod"
  /// The state of random(); `setseed` sets it.
  package var random: RandomState
  @unsafe package unowned(unsafe) var host: (any EvaluationHost)?

  /// Registers of the expressions that are being evaluated.
  private let frames: FrameStack
  /// Where the next frame begins: kept in the stack's own memory, since copies of a context share the stack.
  let frameTop: UnsafeMutablePointer<UnsafeMutableRawPointer>
  let frameEnd: UnsafeMutableRawPointer

  /// $1, $2, …
  @usableFromInline var parameters: UnsafePointer<Value>
  package private(set) var parameterCount: Int
  /// Values that the executor provides to `TypedExpression.slot`.
  @usableFromInline var slots: UnsafeMutablePointer<Value>
  package private(set) var slotCount: Int

  /// - Parameters:
  ///   - arena: for the results of functions.
  ///   - host: kept alive by the caller for as long as the context is in use.
  package init(
    arena: Arena, stateArena: Arena? = nil, format: TextFormat = TextFormat(), host: (any EvaluationHost)? = nil
  ) {
    self.arena = arena
    self.stateArena = stateArena ?? arena
    self.format = format
    unsafe self.host = host
    random = RandomState(seed: 0x5eed)
    frames = FrameStack()
    unsafe frameTop = frames.base.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    unsafe frameEnd = frames.base + FrameStack.size
    unsafe parameters = UnsafePointer(EvaluationContext.nothing)
    parameterCount = 0
    unsafe slots = EvaluationContext.nothing
    slotCount = 0
  }

  // A single null that nobody writes: shared by every context without a row.
  nonisolated(unsafe) private static let nothing: UnsafeMutablePointer<Value> = {
    let one = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    unsafe one.initialize(to: .null)
    return unsafe one
  }()

  /// Lends the values of the parameters; they outlive the context's use.
  @unsafe package mutating func setParameters(_ values: UnsafePointer<Value>, count: Int) {
    unsafe parameters = values
    parameterCount = count
  }
  /// Lends the slots; they outlive the context's use.
  @unsafe package mutating func setSlots(_ values: UnsafeMutablePointer<Value>, count: Int) {
    unsafe slots = values
    slotCount = count
  }

  /// clock_timestamp(): microseconds since 2000-01-01 UTC.
  package static func clock() -> Int64 {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
    return (Int64(time.tv_sec) - 946_684_800) * 1_000_000 + Int64(time.tv_nsec) / 1000
  }
}

/// Owns the memory for the registers of nested evaluations. Its first word is the address where the next frame begins.
@safe final class FrameStack {
  static let size = 64 << 10
  let base: UnsafeMutableRawPointer
  init() {
    unsafe base = .allocate(byteCount: FrameStack.size, alignment: 16)
    unsafe base.initializeMemory(as: UnsafeMutableRawPointer.self, to: base + 16)
  }
  deinit { unsafe base.deallocate() }
}

/// xoroshiro128+: the state behind random() and setseed().
package struct RandomState: Sendable {
  var a: UInt64
  var b: UInt64
  package init(seed: UInt64) {
    var state = seed
    func mix() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
    a = mix()
    b = mix()
  }
  package mutating func next() -> UInt64 {
    let result = a &+ b
    let mixed = a ^ b
    a = (a << 24 | a >> 40) ^ mixed ^ (mixed << 16)
    b = mixed << 37 | mixed >> 27
    return result
  }
  /// Uniform in [0, 1).
  package mutating func nextDouble() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// The arguments of a call: values side by side.
@safe @frozen package struct Arguments: BitwiseCopyable {
  @usableFromInline let base: UnsafePointer<Value>
  package let count: Int
  @unsafe @inlinable @inline(__always) package init(_ base: UnsafePointer<Value>, count: Int) {
    unsafe self.base = base
    self.count = count
  }
  @inlinable @inline(__always) package subscript(_ index: Int) -> Value {
    precondition(index >= 0 && index < count, "argument index out of range")
    return unsafe base[index]
  }
  @unsafe @inlinable package var pointer: UnsafePointer<Value> { unsafe base }
}
