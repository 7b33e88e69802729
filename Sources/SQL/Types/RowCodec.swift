// The encoding of a table row (the value under its primary key; key columns are stored here as well).
//
//   offset  size             field
//   0       1                bits 0–3: format version, 1; bit 4: null bitmap present; bit 5: wide ends; 6–7 zero
//   1       2                n, the number of columns stored, little-endian
//   3       ⌈n/8⌉            null bitmap, only if bit 4: bit i of byte i/8 set = column i is null
//   …       F(n)             fixed section: the fixed-size columns in order, packed, little-endian (zero where null)
//   …       V(n)·(2 or 4)    ends: for each variable column its end, relative to the data's start; equal to the
//                            end before it where null
//   …                        data: the variable columns' bytes, back to back
//
// Fixed sizes: boolean 1; smallint 2; integer, date, real, oid 4; bigint, double, time, timestamp 8; uuid, interval 16.
// Variable: text and the like as their bytes; numeric as `NumericCodec.pack` writes it.
// F(n) and V(n) depend only on the types of the first n columns, so column i is found by two additions, whatever n is.
//
// Invariants
//   1. Columns are only ever appended to a table (a dropped column keeps its place and is written as null), so a row with
//      n columns has the layout of the table's first n columns.
//   2. A column at or beyond n reads as the column's missing value: the constant default of ALTER TABLE … ADD COLUMN.
//   3. Every offset is checked against the row's length before it is read: a damaged row is an error, never a trap.

/// Where the columns of a table lie within its rows. Immutable; built once per table version.
package struct RowLayout: Sendable {
  @frozen @usableFromInline struct Column: Sendable {
    @usableFromInline let storage: StorageClass
    /// Offset in the fixed section, or index among the variable columns.
    @usableFromInline let place: Int32
    @usableFromInline let isVariable: Bool
  }
  @usableFromInline let columns: [Column]
  /// F(n) and V(n) for n in 0…count.
  @usableFromInline let fixedPrefix: [Int32]
  @usableFromInline let variablePrefix: [Int32]
  package let types: [SQLType]
  @usableFromInline let missing: ConstantPool
  @usableFromInline let firstMissing: Int

  package var count: Int { columns.count }

  /// - Parameter missing: what a column reads as in rows written before it existed; null if not given.
  package init(types: [SQLType], missing: [Datum] = []) {
    precondition(types.count <= Int(UInt16.max), "too many columns")
    self.types = types
    var columns: [Column] = []
    var fixed: [Int32] = [0]
    var variable: [Int32] = [0]
    for type in types {
      let storage = type.storage
      if let size = storage.fixedSize {
        columns.append(Column(storage: storage, place: fixed.last!, isVariable: false))
        fixed.append(fixed.last! + Int32(size))
        variable.append(variable.last!)
      } else {
        columns.append(Column(storage: storage, place: variable.last!, isVariable: true))
        fixed.append(fixed.last!)
        variable.append(variable.last! + 1)
      }
    }
    self.columns = columns
    fixedPrefix = fixed
    variablePrefix = variable
    self.missing = ConstantPool(missing)
    firstMissing = missing.count
  }

  static func damaged(_ what: String) -> SQLError {
    SQLError(
      .dataCorrupted, "table row is damaged: \(what)",
      hint: "Run synod verify on the data directory; restore the table from a backup or a replica.")
  }

  /// Appends the encoding of `values` (one for each column of the layout) to `buffer`.
  ///
  /// - Throws: `programLimit` if the row would be larger than 1 GiB.
  @unsafe package func encode(_ values: UnsafePointer<Value>, into buffer: inout ByteBuffer) throws(SQLError) {
    let n = columns.count
    var hasNull = false
    var dataSize = 0
    for index in 0..<n {
      let value = unsafe values[index]
      if value.isNull {
        hasNull = true
      } else if columns[index].isVariable {
        dataSize += columns[index].storage == .numeric ? NumericCodec.packedSize(value) : value.bytes.count
      }
    }
    guard dataSize < 1 << 30 else {
      throw SQLError(.programLimit, "row is too big: size \(dataSize), maximum size \((1 << 30) - 1)")
    }
    let wide = dataSize > Int(UInt16.max)
    buffer.append(1 | (hasNull ? 0x10 : 0) | (wide ? 0x20 : 0))
    buffer.append(little: UInt16(n))
    if hasNull {
      let bitmap = buffer.count
      buffer.append(repeating: 0, count: (n + 7) / 8)
      for index in 0..<n where unsafe values[index].isNull { buffer[bitmap + index / 8] |= 1 << UInt8(index & 7) }
    }
    for index in 0..<n where !columns[index].isVariable {
      unsafe RowLayout.appendFixed(values[index], columns[index].storage, &buffer)
    }
    var end = 0
    for index in 0..<n where columns[index].isVariable {
      let value = unsafe values[index]
      if !value.isNull {
        end += columns[index].storage == .numeric ? NumericCodec.packedSize(value) : value.bytes.count
      }
      if wide { buffer.append(little: UInt32(end)) } else { buffer.append(little: UInt16(end)) }
    }
    for index in 0..<n where columns[index].isVariable {
      let value = unsafe values[index]
      if value.isNull { continue }
      if columns[index].storage == .numeric {
        NumericCodec.pack(value, into: &buffer)
      } else {
        buffer.append(value.bytes)
      }
    }
  }

  package func encode(_ values: [Value], into buffer: inout ByteBuffer) throws(SQLError) {
    precondition(values.count == count, "one value for each column")
    var failure: SQLError?
    unsafe values.withUnsafeBufferPointer { pointer in
      guard let base = pointer.baseAddress else {
        buffer.append(1 as UInt8)
        buffer.append(little: UInt16(0))
        return
      }
      do throws(SQLError) { try unsafe encode(base, into: &buffer) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  static func appendFixed(_ value: Value, _ storage: StorageClass, _ buffer: inout ByteBuffer) {
    switch storage {
    case .bool: buffer.append(value.isTrue ? 1 as UInt8 : 0)
    case .int16: buffer.append(little: Int16(truncatingIfNeeded: value.int))
    case .int32, .oid: buffer.append(little: Int32(truncatingIfNeeded: value.int))
    case .int64: buffer.append(little: value.int)
    case .float32: buffer.append(little: Float(value.double).bitPattern)
    case .float64: buffer.append(little: value.double.bitPattern)
    case .fixed16:
      if value.bytes.count == 16 { buffer.append(value.bytes) } else { buffer.append(repeating: 0, count: 16) }
    case .numeric, .variable: break
    }
  }

  /// A view of one encoded row.
  @inlinable package func row(_ bytes: Bytes) throws(SQLError) -> RowView {
    try RowView(bytes, layout: self)
  }
}

/// Decodes a fixed choice of a table's columns: what a scan does for every row. Built once per plan.
@safe package final class RowDecoder: @unchecked Sendable {
  // Unchecked: everything is written by init and read-only afterwards.
  @usableFromInline let layout: RowLayout
  @usableFromInline let columns: [Int]
  /// For rows with all columns: storage and place of each wanted column, and its number.
  @usableFromInline let entries: UnsafeMutablePointer<RowLayout.Column>
  @usableFromInline let outputs: UnsafeMutablePointer<Int>
  @usableFromInline let count: Int
  @usableFromInline let storedCount: Int
  @usableFromInline let fixedSize: Int
  @usableFromInline let variableCount: Int

  package init(_ layout: RowLayout, columns: [Int]) {
    precondition(columns.allSatisfy { $0 >= 0 && $0 < layout.count }, "no such column")
    self.layout = layout
    self.columns = columns
    count = columns.count
    storedCount = layout.count
    fixedSize = Int(layout.fixedPrefix[layout.count])
    variableCount = Int(layout.variablePrefix[layout.count])
    unsafe entries = .allocate(capacity: max(columns.count, 1))
    unsafe outputs = .allocate(capacity: max(columns.count, 1))
    for (index, column) in columns.enumerated() {
      unsafe (entries + index).initialize(to: layout.columns[column])
      unsafe outputs[index] = column
    }
  }
  deinit {
    unsafe entries.deallocate()
    unsafe outputs.deallocate()
  }

  /// Writes the columns of `bytes` to `output`, each at its own place; their bytes stay borrowed from `bytes`.
  ///
  /// - Throws: data_corrupted when the bytes are not a row of this table.
  @unsafe @inlinable package func decode(
    _ bytes: Bytes, into output: UnsafeMutablePointer<Value>
  ) throws(SQLError) {
    // The common row: all columns, none null, narrow ends. Everything else goes the general way.
    guard bytes.count >= 3 &+ fixedSize &+ variableCount &* 2, unsafe bytes.start.load(as: UInt8.self) == 1,
      unsafe Int(UInt16(littleEndian: bytes.start.loadUnaligned(fromByteOffset: 1, as: UInt16.self))) == storedCount
    else {
      try unsafe decodeGenerally(bytes, into: output)
      return
    }
    let fixed = unsafe bytes.start + 3
    let ends = unsafe fixed + fixedSize
    let data = 3 &+ fixedSize &+ variableCount &* 2
    var index = 0
    while index < count {
      let entry = unsafe entries[index]
      let place = Int(entry.place)
      let target = unsafe outputs[index]
      switch entry.storage {
      case .int32:
        unsafe output[target] = Value(
          Int64(Int32(littleEndian: fixed.loadUnaligned(fromByteOffset: place, as: Int32.self))))
      case .int64:
        unsafe output[target] = Value(Int64(littleEndian: fixed.loadUnaligned(fromByteOffset: place, as: Int64.self)))
      case .variable, .numeric:
        let end = unsafe Int(UInt16(littleEndian: ends.loadUnaligned(fromByteOffset: place &* 2, as: UInt16.self)))
        let start =
          unsafe place == 0
          ? 0 : Int(UInt16(littleEndian: ends.loadUnaligned(fromByteOffset: place &* 2 &- 2, as: UInt16.self)))
        guard start <= end, data &+ end <= bytes.count else { throw RowView.damagedEnds(place) }
        let part = unsafe Bytes(start: bytes.start + (data &+ start), count: end &- start)
        unsafe output[target] = entry.storage == .variable ? Value(part) : try NumericCodec.unpack(part)
      case .float64:
        unsafe output[target] = Value(
          Double(bitPattern: UInt64(littleEndian: fixed.loadUnaligned(fromByteOffset: place, as: UInt64.self))))
      case .bool: unsafe output[target] = Value(fixed.load(fromByteOffset: place, as: UInt8.self) != 0)
      case .int16:
        unsafe output[target] = Value(
          Int64(Int16(littleEndian: fixed.loadUnaligned(fromByteOffset: place, as: Int16.self))))
      case .oid:
        unsafe output[target] = Value(
          Int64(UInt32(littleEndian: fixed.loadUnaligned(fromByteOffset: place, as: UInt32.self))))
      case .float32:
        unsafe output[target] = Value(
          Double(Float(bitPattern: UInt32(littleEndian: fixed.loadUnaligned(fromByteOffset: place, as: UInt32.self)))))
      case .fixed16: unsafe output[target] = Value(Bytes(start: fixed + place, count: 16))
      }
      index &+= 1
    }
  }

  @unsafe @usableFromInline @inline(never) func decodeGenerally(
    _ bytes: Bytes, into output: UnsafeMutablePointer<Value>
  ) throws(SQLError) {
    let view = try RowView(bytes, layout: layout)
    for column in columns { unsafe output[column] = try view.value(column, layout) }
  }
}

/// An encoded row whose header has been checked; reads any column without touching the others.
@frozen package struct RowView {
  @usableFromInline let bytes: Bytes
  @usableFromInline let stored: Int
  /// 0 when there is no null.
  @usableFromInline let bitmap: Int
  @usableFromInline let fixed: Int
  @usableFromInline let ends: Int
  @usableFromInline let data: Int
  @usableFromInline let wide: Bool

  @inlinable package init(_ bytes: Bytes, layout: RowLayout) throws(SQLError) {
    guard bytes.count >= 3, bytes[0] & 0xcf == 1 else { throw RowView.damagedHeader(bytes) }
    let flags = bytes[0]
    let n = Int(bytes.load(1, as: UInt16.self))
    guard n < layout.fixedPrefix.count else { throw RowView.damagedHeader(bytes) }
    self.bytes = bytes
    stored = n
    let hasNull = flags & 0x10 != 0
    wide = flags & 0x20 != 0
    bitmap = hasNull ? 3 : 0
    fixed = 3 &+ (hasNull ? (n &+ 7) >> 3 : 0)
    ends = fixed &+ Int(layout.fixedPrefix[n])
    data = ends &+ Int(layout.variablePrefix[n]) &* (wide ? 4 : 2)
    guard data <= bytes.count else { throw RowView.damagedHeader(bytes) }
  }

  @usableFromInline @inline(never) static func damagedHeader(_ bytes: Bytes) -> SQLError {
    if bytes.count > 0, bytes[0] & 0x0f != 1 {
      return RowLayout.damaged("format version \(bytes[0] & 0x0f), this program reads version 1")
    }
    return RowLayout.damaged("\(bytes.count) bytes do not hold the header's columns")
  }
  @usableFromInline @inline(never) static func damagedEnds(_ index: Int) -> SQLError {
    RowLayout.damaged("column \(index + 1) lies outside the row")
  }

  @inlinable package func isNull(_ index: Int) -> Bool {
    bitmap != 0 && bytes[bitmap &+ index >> 3] & (1 << UInt8(index & 7)) != 0
  }

  /// Column `index` (from 0).
  @inlinable @inline(__always) package func value(_ index: Int, _ layout: RowLayout) throws(SQLError) -> Value {
    let column = layout.columns[index]
    if index >= stored { return index < layout.firstMissing ? layout.missing[index] : .sqlNull }
    if bitmap != 0, bytes[bitmap &+ (index >> 3)] & (1 << UInt8(index & 7)) != 0 { return .sqlNull }
    let offset = fixed &+ Int(column.place)
    switch column.storage {
    case .int32: return Value(Int64(bytes.load(offset, as: Int32.self)))
    case .int64: return Value(bytes.load(offset, as: Int64.self))
    case .variable: return Value(try variable(Int(column.place)))
    case .bool: return Value(bytes[offset] != 0)
    case .int16: return Value(Int64(bytes.load(offset, as: Int16.self)))
    case .oid: return Value(Int64(bytes.load(offset, as: UInt32.self)))
    case .float32: return Value(Double(Float(bitPattern: bytes.load(offset, as: UInt32.self))))
    case .float64: return Value(Double(bitPattern: bytes.load(offset, as: UInt64.self)))
    case .fixed16: return Value(bytes[offset..<offset &+ 16])
    case .numeric: return try NumericCodec.unpack(try variable(Int(column.place)))
    }
  }

  @inlinable @inline(__always) func variable(_ place: Int) throws(SQLError) -> Bytes {
    let start: Int
    let end: Int
    if wide {
      end = Int(bytes.load(ends &+ place &* 4, as: UInt32.self))
      start = place == 0 ? 0 : Int(bytes.load(ends &+ place &* 4 &- 4, as: UInt32.self))
    } else {
      end = Int(bytes.load(ends &+ place &* 2, as: UInt16.self))
      start = place == 0 ? 0 : Int(bytes.load(ends &+ place &* 2 &- 2, as: UInt16.self))
    }
    guard start <= end, data &+ end <= bytes.count else { throw RowView.damagedEnds(place) }
    return unsafe Bytes(start: bytes.start + (data &+ start), count: end &- start)
  }
}
