// Arrays: self-describing bytes, so that an array is one value like any other.
//
//   offset  size        field
//   0       4           the element type's oid, little-endian like everything here
//   4       1           d, the number of dimensions, 0…6 (0: the empty array)
//   5       1           1 if any element is null, else 0
//   6       2           zero
//   8       8·d         per dimension: length Int32, lower bound Int32
//   …       ⌈n/8⌉       null bitmap, only if there is a null; n is the product of the lengths
//   …       n·size      elements of a fixed-size type, as in a row's fixed section
//   or      4·n, data   elements of a variable type: their ends (UInt32, relative to the data's start), then their bytes

/// A view of an array's bytes.
package struct ArrayView {
  package let bytes: Bytes
  package let element: TypeID
  package let dimensions: Int
  package let count: Int
  private let storage: StorageClass
  private let bitmap: Int
  private let body: Int

  static func damaged() -> SQLError { RowLayout.damaged("an array value is not in its form") }

  package init(_ bytes: Bytes) throws(SQLError) {
    guard bytes.count >= 8 else { throw ArrayView.damaged() }
    self.bytes = bytes
    element = TypeID(bytes.load(0, as: UInt32.self))
    dimensions = Int(bytes[4])
    storage = element.info.storage
    guard dimensions <= 6, bytes.count >= 8 + 8 * dimensions else { throw ArrayView.damaged() }
    var n = dimensions == 0 ? 0 : 1
    for d in 0..<dimensions {
      let length = Int(bytes.load(8 + 8 * d, as: Int32.self))
      guard length > 0, length <= 1 << 27, n <= 1 << 27 else { throw ArrayView.damaged() }
      n *= length
    }
    guard n <= 1 << 27 else { throw ArrayView.damaged() }
    count = n
    let start = 8 + 8 * dimensions
    bitmap = bytes[5] != 0 ? start : 0
    body = start + (bytes[5] != 0 ? (n + 7) / 8 : 0)
    guard bytes.count >= body + n * (storage.fixedSize ?? 4) else { throw ArrayView.damaged() }
  }

  package func length(_ dimension: Int) -> Int { Int(bytes.load(8 + 8 * dimension, as: Int32.self)) }
  package func lowerBound(_ dimension: Int) -> Int { Int(bytes.load(12 + 8 * dimension, as: Int32.self)) }

  /// Element `index` in storage order; its bytes are borrowed from the array.
  package func value(_ index: Int) throws(SQLError) -> Value {
    guard index >= 0, index < count else { return .null }
    if bitmap != 0, bytes[bitmap + index / 8] & (1 << UInt8(index & 7)) != 0 { return .null }
    switch storage {
    case .bool: return Value(bytes[body + index] != 0)
    case .int16: return Value(Int64(bytes.load(body + 2 * index, as: Int16.self)))
    case .int32: return Value(Int64(bytes.load(body + 4 * index, as: Int32.self)))
    case .oid: return Value(Int64(bytes.load(body + 4 * index, as: UInt32.self)))
    case .int64: return Value(bytes.load(body + 8 * index, as: Int64.self))
    case .float32: return Value(Double(Float(bitPattern: bytes.load(body + 4 * index, as: UInt32.self))))
    case .float64: return Value(Double(bitPattern: bytes.load(body + 8 * index, as: UInt64.self)))
    case .fixed16: return Value(bytes[body + 16 * index..<body + 16 * index + 16])
    case .numeric: return try NumericCodec.unpack(try variable(index))
    case .variable: return Value(try variable(index))
    }
  }

  private func variable(_ index: Int) throws(SQLError) -> Bytes {
    let data = body + 4 * count
    let end = Int(bytes.load(body + 4 * index, as: UInt32.self))
    let start = index == 0 ? 0 : Int(bytes.load(body + 4 * index - 4, as: UInt32.self))
    guard start <= end, data + end <= bytes.count else { throw ArrayView.damaged() }
    return bytes[data + start..<data + end]
  }

  /// The element at subscripts counted as SQL does; nil when they are outside or of another number.
  package func offset(_ subscripts: [Int]) -> Int? {
    guard subscripts.count == dimensions, dimensions > 0 else { return nil }
    var offset = 0
    for (d, subscriptValue) in subscripts.enumerated() {
      let at = subscriptValue - lowerBound(d)
      guard at >= 0, at < length(d) else { return nil }
      offset = offset * length(d) + at
    }
    return offset
  }

  package var values: [Value] {
    get throws(SQLError) {
      var list: [Value] = []
      list.reserveCapacity(count)
      for index in 0..<count { list.append(try value(index)) }
      return list
    }
  }

  /// PostgreSQL's array_cmp: elements, then the number of them, then the dimensions.
  static func compare(_ a: Bytes, _ b: Bytes) -> Int {
    guard let x = try? ArrayView(a), let y = try? ArrayView(b), let order = ValueOrder(x.element) else {
      return a.compare(b)
    }
    for index in 0..<min(x.count, y.count) {
      guard let p = try? x.value(index), let q = try? y.value(index) else { return a.compare(b) }
      if p.isNull || q.isNull {
        if p.isNull && q.isNull { continue }
        return p.isNull ? 1 : -1
      }
      let result = order.compare(p, q)
      if result != 0 { return result }
    }
    if x.count != y.count { return x.count < y.count ? -1 : 1 }
    if x.dimensions != y.dimensions { return x.dimensions < y.dimensions ? -1 : 1 }
    for d in 0..<x.dimensions {
      if x.length(d) != y.length(d) { return x.length(d) < y.length(d) ? -1 : 1 }
      if x.lowerBound(d) != y.lowerBound(d) { return x.lowerBound(d) < y.lowerBound(d) ? -1 : 1 }
    }
    return 0
  }

  static func hash(_ bytes: Bytes) -> UInt64 {
    guard let view = try? ArrayView(bytes), let order = ValueOrder(view.element) else { return ValueOrder.hash(bytes) }
    var hash: UInt64 = 1
    for index in 0..<view.count {
      let value = (try? view.value(index)) ?? .null
      hash = ValueOrder.mix(hash &* 31 &+ (value.isNull ? 0 : order.hash(value)))
    }
    return hash
  }
}

/// Writes arrays.
package enum ArrayBuilder {
  static let elementLimit = (1 << 27) - 1

  /// A one-dimensional array with lower bound 1; empty for no elements.
  package static func make(_ values: [Value], element: TypeID, _ arena: Arena) throws(SQLError) -> Value {
    try make(values, element: element, dimensions: values.isEmpty ? [] : [(values.count, 1)], arena)
  }

  /// An array of any dimensions: the product of the lengths is the number of values.
  package static func make(
    _ values: [Value], element: TypeID, dimensions: [(length: Int, lowerBound: Int)], _ arena: Arena
  ) throws(SQLError) -> Value {
    guard dimensions.count <= 6 else {
      throw SQLError(
        .programLimit, "number of array dimensions (\(dimensions.count)) exceeds the maximum allowed (6)")
    }
    guard values.count <= elementLimit else {
      throw SQLError(.programLimit, "array size exceeds the maximum allowed (\(elementLimit))")
    }
    let storage = element.info.storage
    var buffer = ByteBuffer(capacity: 24 + values.count * (storage.fixedSize ?? 16))
    let hasNull = values.contains { $0.isNull }
    buffer.append(little: element.rawValue)
    buffer.append(UInt8(dimensions.count))
    buffer.append(hasNull ? 1 as UInt8 : 0)
    buffer.append(little: UInt16(0))
    for (length, lowerBound) in dimensions {
      buffer.append(little: Int32(length))
      buffer.append(little: Int32(truncatingIfNeeded: lowerBound))
    }
    if hasNull {
      let bitmap = buffer.count
      buffer.append(repeating: 0, count: (values.count + 7) / 8)
      for (index, value) in values.enumerated() where value.isNull {
        buffer[bitmap + index / 8] |= 1 << UInt8(index & 7)
      }
    }
    if storage.fixedSize != nil {
      for value in values { RowLayout.appendFixed(value, storage, &buffer) }
    } else {
      var end = 0
      for value in values {
        if !value.isNull { end += storage == .numeric ? NumericCodec.packedSize(value) : value.bytes.count }
        guard end < 1 << 30 else {
          throw SQLError(.programLimit, "array size exceeds the maximum allowed (1073741823)")
        }
        buffer.append(little: UInt32(end))
      }
      for value in values where !value.isNull {
        if storage == .numeric { NumericCodec.pack(value, into: &buffer) } else { buffer.append(value.bytes) }
      }
    }
    return Value(buffer.copied(into: arena))
  }
}
