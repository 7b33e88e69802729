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
