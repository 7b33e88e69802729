// The value of one column of one row, while a statement runs.
//
// A `Value` is 16 trivial bytes: copying one copies two words, and no reference count moves. What does not fit into a
// word (text, bytea, uuid, interval, arrays, jsonb, large numerics) is borrowed: an address and a 32-bit length.
//
//   bytes  field    meaning
//   0–7    payload  the scalar, or the address of the first byte
//   8–11   length   bytes at the address; for a small numeric its class (finite, NaN, ±infinity)
//   12     kind     how to read the payload (`Kind`); null is a kind
//   13     (zero)
//   14–15  scale    a small numeric's display scale
//
// How each SQL type is stored (the type itself is not in the value; whoever evaluates knows it):
//
//   boolean                                        .bool
//   smallint, integer, bigint, oid, reg*           .int        (oid as an unsigned number in an Int64)
//   date                                           .int        days since 2000-01-01
//   timestamp, timestamptz                         .int        microseconds since 2000-01-01 00:00 UTC; Int64.max/min = ±infinity
//   time                                           .int        microseconds since midnight
//   real, double precision                         .double     (real is a double that a float holds exactly)
//   numeric                                        .numeric    when |mantissa| < 2^63 and scale ≤ 18, else .bigNumeric
//   text, varchar, char(n), name, "char", json     .bytes      UTF-8 without NUL; char(n) is padded to n
//   bytea, uuid (16 bytes), interval (16), jsonb, arrays   .bytes
//   void                                           .null
//
// **Lifetimes.** The borrowed bytes are owned by one of:
//   1. the statement's `Arena`s (results of functions): valid until that arena is reset or rewound past them;
//   2. a pinned block or memtable entry that a scan stands on: valid until the scan moves or is closed;
//   3. a `ConstantPool` or `Datum` of the plan, or the bound parameters: valid while the plan or portal is retained.
// So a `Value` never outlives the row it came from unless someone copies it: an operator that keeps rows (sort, hash,
// materialise, cursor) copies with `Value.copied(into:)` or the row codec; everything that leaves the statement becomes a
// `Datum`. Values are never stored in an object that outlives the statement.

/// One SQL value, borrowed; see the head of the file for representation and lifetime.
@frozen package struct Value: BitwiseCopyable, Sendable {
  /// How the payload is read.
  @frozen package enum Kind: UInt8, Sendable {
    case null = 0
    case bool
    case int
    case double
    case bytes
    /// A numeric in the value itself: mantissa · 10^-scale.
    case numeric
    /// A numeric by reference, in the form of `NumericVariable.packed`.
    case bigNumeric
  }

  @usableFromInline let payload: UInt64
  @usableFromInline let length: UInt32
  package let kind: Kind
  @usableFromInline let reserved: UInt8
  @usableFromInline let scale: UInt16

  @inlinable @inline(__always)
  init(payload: UInt64, length: UInt32 = 0, kind: Kind, scale: UInt16 = 0) {
    self.payload = payload
    self.length = length
    self.kind = kind
    self.reserved = 0
    self.scale = scale
  }

  package static let null = Value(payload: 0, kind: .null)
  @inlinable @inline(__always) package static var sqlNull: Value { Value(payload: 0, kind: .null) }

  @inlinable @inline(__always) package init(_ value: Bool) { self.init(payload: value ? 1 : 0, kind: .bool) }
  @inlinable @inline(__always) package init(_ value: Int64) {
    self.init(payload: UInt64(bitPattern: value), kind: .int)
  }
  @inlinable @inline(__always) package init(_ value: Int) { self.init(Int64(value)) }
  @inlinable @inline(__always) package init(_ value: Double) { self.init(payload: value.bitPattern, kind: .double) }
  /// A value that borrows `bytes`: text, bytea, uuid, interval, array, json.
  @inlinable @inline(__always) package init(_ bytes: Bytes) {
    self.init(
      payload: unsafe UInt64(UInt(bitPattern: bytes.start)), length: UInt32(truncatingIfNeeded: bytes.count),
      kind: .bytes)
  }
  /// A numeric of the large form that borrows its packed bytes.
  @inlinable package init(packedNumeric bytes: Bytes) {
    self.init(
      payload: unsafe UInt64(UInt(bitPattern: bytes.start)), length: UInt32(truncatingIfNeeded: bytes.count),
      kind: .bigNumeric)
  }
  /// A finite numeric in the value itself.
  @inlinable @inline(__always) package init(mantissa: Int64, scale: Int) {
    self.init(payload: UInt64(bitPattern: mantissa), kind: .numeric, scale: UInt16(truncatingIfNeeded: scale))
  }

  @inlinable @inline(__always) package var isNull: Bool { kind == .null }
  /// The Boolean; false when the value is of another kind.
  @inlinable @inline(__always) package var bool: Bool { payload & 1 != 0 }
  /// True only for a value that is SQL's `true`: neither `false` nor null.
  @inlinable @inline(__always) package var isTrue: Bool { kind == .bool && payload & 1 != 0 }
  /// The integer, date, time or timestamp.
  @inlinable @inline(__always) package var int: Int64 { Int64(bitPattern: payload) }
  /// The floating-point number.
  @inlinable @inline(__always) package var double: Double { Double(bitPattern: payload) }
  /// The borrowed bytes of `.bytes` and `.bigNumeric`; empty for every other kind.
  @inlinable @inline(__always) package var bytes: Bytes {
    guard kind == .bytes || kind == .bigNumeric, let start = unsafe UnsafeRawPointer(bitPattern: UInt(payload)) else {
      return .empty
    }
    return unsafe Bytes(start: start, count: Int(length))
  }
  /// The text as a String (a copy; not for the hot path).
  package var string: String { bytes.string }

  /// The mantissa and display scale of a small numeric.
  @inlinable @inline(__always) package var mantissa: Int64 { Int64(bitPattern: payload) }
  @inlinable @inline(__always) package var displayScale: Int { Int(scale) }
  /// True for a small numeric that is finite; `mantissa` and `displayScale` say all of it.
  @inlinable @inline(__always) package var isFiniteSmallNumeric: Bool { kind == .numeric && length == 0 }

  /// Numeric's NaN and infinities.
  package static let numericNaN = Value(payload: 0, length: 1, kind: .numeric)
  package static let numericInfinity = Value(payload: 0, length: 2, kind: .numeric)
  package static let numericNegativeInfinity = Value(payload: 0, length: 3, kind: .numeric)
  /// Which special numeric this is, if it is one.
  package var numericSpecial: NumericSpecial? {
    guard kind == .numeric, length != 0 else { return nil }
    return NumericSpecial(rawValue: UInt8(truncatingIfNeeded: length))
  }

  /// The same value with its bytes copied to `arena`.
  @inlinable package func copied(into arena: Arena) -> Value {
    guard kind == .bytes || kind == .bigNumeric, length > 0 else { return self }
    let copy = arena.copy(bytes)
    return Value(payload: unsafe UInt64(UInt(bitPattern: copy.start)), length: length, kind: kind)
  }
}

/// The numerics that are not numbers.
package enum NumericSpecial: UInt8, Sendable {
  case nan = 1
  case infinity = 2
  case negativeInfinity = 3
}

/// Values that stand in a row: what an operator hands to the next, and what an expression reads.
package typealias RowPointer = UnsafePointer<Value>
