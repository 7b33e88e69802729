// Comparison and hashing of values of one type: what ORDER BY, GROUP BY, joins, min/max and indexes agree on.
//
// The order: numbers by value (a double NaN is above everything and equal to itself, -0 = 0); false < true; text, name
// and bytea by bytes (PostgreSQL's "C" collation, which is our default: the same order on every machine and in every
// version of the system's libraries); char(n) without its trailing blanks; uuid by bytes; intervals by their length with a
// month of 30 days; arrays by their elements, then by length; jsonb as PostgreSQL orders it. Nulls are the caller's.
// `hash` agrees with `compare`: values that compare equal hash equal.

/// The order of a type's values; nil for types that have none (json, record).
@frozen package struct ValueOrder: Sendable, Equatable {
  @frozen package enum Kind: UInt8, Sendable {
    case int, double, bool, bytes, blankPadded, numeric, interval, array, jsonb
  }
  package let kind: Kind

  package init?(_ type: TypeID) {
    switch type {
    case .bool: kind = .bool
    case .int2, .int4, .int8, .oid, .date, .time, .timestamp, .timestamptz, .regclass, .regtype, .regproc,
      .regnamespace, .regrole, .xid:
      kind = .int
    case .float4, .float8: kind = .double
    case .text, .varchar, .name, .char, .bytea, .uuid, .unknown: kind = .bytes
    case .bpchar: kind = .blankPadded
    case .numeric: kind = .numeric
    case .interval: kind = .interval
    case .jsonb: kind = .jsonb
    default:
      guard let element = type.info.element, type.info.category == .array, ValueOrder(element) != nil else {
        return nil
      }
      kind = .array
    }
  }

  /// -1, 0 or 1 for two values that are not null.
  @inlinable @inline(__always) package func compare(_ a: Value, _ b: Value) -> Int {
    switch kind {
    case .int: return a.int < b.int ? -1 : (a.int == b.int ? 0 : 1)
    case .bytes: return a.bytes.compare(b.bytes)
    case .double: return ValueOrder.compareDoubles(a.double, b.double)
    default: return compareRare(a, b)
    }
  }

  @inlinable @inline(__always) package func equal(_ a: Value, _ b: Value) -> Bool {
    switch kind {
    case .int: return a.int == b.int
    case .bytes: return a.bytes.equals(b.bytes)
    default: return compare(a, b) == 0
    }
  }

  @inlinable @inline(__always) package static func compareDoubles(_ a: Double, _ b: Double) -> Int {
    if a < b { return -1 }
    if a > b { return 1 }
    if a == b { return 0 }
    return a.isNaN ? (b.isNaN ? 0 : 1) : -1
  }

  @usableFromInline @inline(never) func compareRare(_ a: Value, _ b: Value) -> Int {
    switch kind {
    case .bool: return a.bool == b.bool ? 0 : (a.bool ? 1 : -1)
    case .numeric: return Numeric.compare(a, b)
    case .blankPadded: return ValueOrder.unpadded(a.bytes).compare(ValueOrder.unpadded(b.bytes))
    case .interval:
      let (x, y) = (Interval(a).comparable, Interval(b).comparable)
      return x < y ? -1 : (x == y ? 0 : 1)
    case .array: return ArrayView.compare(a.bytes, b.bytes)
    case .jsonb: return JSONText.compare(a.bytes, b.bytes)
    case .int, .double, .bytes: return compare(a, b)
    }
  }

  /// char(n)'s meaning: the text without trailing blanks.
  package static func unpadded(_ bytes: Bytes) -> Bytes {
    var end = bytes.count
    while end > 0, bytes[end - 1] == 32 { end -= 1 }
    return bytes.prefix(end)
  }

  /// A hash of a value that is not null; 0 for a null.
  @inlinable @inline(__always) package func hash(_ a: Value) -> UInt64 {
    switch kind {
    case .int: return ValueOrder.mix(UInt64(bitPattern: a.int))
    default: return hashRare(a)
    }
  }

  @usableFromInline @inline(never) func hashRare(_ a: Value) -> UInt64 {
    if a.isNull { return 0 }
    switch kind {
    case .int: return ValueOrder.mix(UInt64(bitPattern: a.int))
    case .bool: return a.bool ? 0x9e37_79b9 : 0x7f4a_7c15
    case .double:
      let value = a.double == 0 ? 0.0 : (a.double.isNaN ? Double.nan : a.double)
      return ValueOrder.mix(value.bitPattern)
    case .bytes: return ValueOrder.hash(a.bytes)
    case .blankPadded: return ValueOrder.hash(ValueOrder.unpadded(a.bytes))
    case .numeric: return Numeric.hash(a)
    case .interval:
      let length = Interval(a).comparable
      return ValueOrder.mix(UInt64(truncatingIfNeeded: length)) ^ UInt64(truncatingIfNeeded: length >> 64)
    case .array: return ArrayView.hash(a.bytes)
    case .jsonb: return JSONText.hash(a.bytes)
    }
  }

  @inlinable @inline(__always) package static func mix(_ x: UInt64) -> UInt64 {
    let product = (x ^ 0x9e37_79b9_7f4a_7c15).multipliedFullWidth(by: 0xd6e8_feb8_6659_fd93)
    return product.high ^ product.low
  }

  /// A hash of bytes for tables in memory (never stored): eight bytes a step.
  package static func hash(_ bytes: Bytes) -> UInt64 {
    var hash = mix(UInt64(bytes.count))
    var at = 0
    while at &+ 8 <= bytes.count {
      hash = mix(hash ^ bytes.load(at, as: UInt64.self))
      at &+= 8
    }
    var last: UInt64 = 0
    var shift: UInt64 = 0
    while at < bytes.count {
      last |= UInt64(bytes[at]) << shift
      shift += 8
      at &+= 1
    }
    return mix(hash ^ last)
  }
}
