// Values that own their bytes: constants of plans, parameters, defaults in the catalog, results handed to callers.

/// An owned SQL value. The type stands beside it, not in it, as with `Value`.
package enum Datum: Hashable, Sendable {
  case null
  case bool(Bool)
  /// Integers, oids, dates, times and timestamps.
  case int(Int64)
  case double(Double)
  /// A numeric in `Value`'s small form.
  case numeric(mantissa: Int64, scale: Int)
  case specialNumeric(NumericSpecial)
  /// A numeric in packed form.
  case bigNumeric([UInt8])
  /// Text, bytea, uuid, interval, json, arrays.
  case bytes([UInt8])

  /// Equality is of representation: NaN equals itself, and -0 is not 0 (SQL's equality is `ValueOrder`'s).
  package static func == (a: Datum, b: Datum) -> Bool {
    switch (a, b) {
    case (.null, .null): return true
    case (.bool(let x), .bool(let y)): return x == y
    case (.int(let x), .int(let y)): return x == y
    case (.double(let x), .double(let y)): return x.bitPattern == y.bitPattern
    case (.numeric(let m, let s), .numeric(let n, let t)): return m == n && s == t
    case (.specialNumeric(let x), .specialNumeric(let y)): return x == y
    case (.bigNumeric(let x), .bigNumeric(let y)): return x == y
    case (.bytes(let x), .bytes(let y)): return x == y
    default: return false
    }
  }

  package func hash(into hasher: inout Hasher) {
    switch self {
    case .null: hasher.combine(0)
    case .bool(let x): hasher.combine(x)
    case .int(let x): hasher.combine(x)
    case .double(let x): hasher.combine(x.bitPattern)
    case .numeric(let mantissa, let scale):
      hasher.combine(mantissa)
      hasher.combine(scale)
    case .specialNumeric(let x): hasher.combine(x)
    case .bigNumeric(let x), .bytes(let x): hasher.combine(x)
    }
  }

  package static func text(_ text: String) -> Datum { .bytes([UInt8](text.utf8)) }

  /// A copy of `value`.
  package init(_ value: Value) {
    switch value.kind {
    case .null: self = .null
    case .bool: self = .bool(value.bool)
    case .int: self = .int(value.int)
    case .double: self = .double(value.double)
    case .bytes: self = .bytes(value.bytes.array)
    case .bigNumeric: self = .bigNumeric(value.bytes.array)
    case .numeric:
      if let special = value.numericSpecial {
        self = .specialNumeric(special)
      } else {
        self = .numeric(mantissa: value.mantissa, scale: value.displayScale)
      }
    }
  }

  package var isNull: Bool { self == .null }

  /// A value whose bytes are copied to `arena`.
  package func value(in arena: Arena) -> Value {
    switch self {
    case .null: return .null
    case .bool(let bool): return Value(bool)
    case .int(let int): return Value(int)
    case .double(let double): return Value(double)
    case .numeric(let mantissa, let scale): return Value(mantissa: mantissa, scale: scale)
    case .specialNumeric(.nan): return .numericNaN
    case .specialNumeric(.infinity): return .numericInfinity
    case .specialNumeric(.negativeInfinity): return .numericNegativeInfinity
    case .bigNumeric(let bytes): return Value(packedNumeric: arena.copy(bytes))
    case .bytes(let bytes): return Value(arena.copy(bytes))
    }
  }
}

/// Owned storage for the constants of a plan, as `Value`s with stable addresses. Immutable once built.
@safe package final class ConstantPool: @unchecked Sendable {
  // Unchecked: the arena is written only by init; afterwards the bytes are read-only and live as long as the pool.
  private let arena: Arena
  @usableFromInline let storage: UnsafeMutablePointer<Value>
  package let count: Int

  package init(_ data: [Datum]) {
    arena = Arena(initialBytes: 256)
    count = data.count
    unsafe storage = .allocate(capacity: Swift.max(data.count, 1))
    for (index, datum) in data.enumerated() {
      unsafe (storage + index).initialize(to: datum.value(in: arena))
    }
  }
  deinit { unsafe storage.deallocate() }

  @unsafe @inlinable package var base: UnsafePointer<Value> { unsafe UnsafePointer(storage) }
  @inlinable package subscript(_ index: Int) -> Value {
    precondition(index >= 0 && index < count)
    return unsafe storage[index]
  }
}
