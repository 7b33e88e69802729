internal import Platform

// Sorted runs on disk, merged when they are read. A run is rows one after another:
//
//   u32 size of what follows · for each column: kind u8, then nothing (null), 8 bytes (scalars), 2 + 8 bytes (a small
//   numeric: scale, mantissa, with its class u32) or u32 length and the bytes
//
// The file has no name that survives a crash: it is removed when it is opened anew or the statement ends. Nothing of it is
// synced, since it is of no use afterwards.

/// A temporary file for one operator.
final class TemporaryFile {
  let file: any DiskFile
  private let disk: any Disk
  private(set) var sizeBytes: UInt64 = 0
  private let limitBytes: UInt64

  init(disk: any Disk, path: String, limitBytes: UInt64) throws(SQLError) {
    self.disk = disk
    self.limitBytes = limitBytes
    do throws(DiskError) {
      if try disk.status(path) != nil { try disk.remove(path) }
      file = try disk.open(path, .create)
    } catch { throw TemporaryFile.failed(error) }
  }
  deinit {
    file.close()
    try? disk.remove(file.path)
  }

  static func failed(_ error: DiskError) -> SQLError {
    SQLError(.ioError, "a temporary file failed: \(error)", hint: "Free some space, or raise work_mem.")
  }

  func append(_ bytes: [UInt8]) throws(SQLError) {
    guard sizeBytes + UInt64(bytes.count) <= limitBytes else {
      throw SQLError(.configurationLimit, "temporary file size exceeds temp_file_limit")
    }
    do throws(DiskError) { try file.write(bytes, at: sizeBytes) } catch { throw TemporaryFile.failed(error) }
    sizeBytes += UInt64(bytes.count)
  }
  func read(_ count: Int, at offset: UInt64) throws(SQLError) -> [UInt8] {
    do throws(DiskError) { return try file.readBytes(count, at: offset) } catch { throw TemporaryFile.failed(error) }
  }
}

/// Sorted runs and their merge.
final class SpilledRuns {
  private let file: TemporaryFile
  private let orders: [KeyOrder]
  /// The column of each key.
  private let columns: [Int]
  private let width: Int
  private var runs: [RunReader] = []
  private var heap: [Int] = []
  private var last = -1

  init(_ file: TemporaryFile, _ orders: [KeyOrder], columns: [Int], width: Int) {
    self.file = file
    self.orders = orders
    self.columns = columns
    self.width = width
  }

  var sizeBytes: UInt64 { file.sizeBytes }
  var count: Int { runs.count }

  /// Writes the rows of `store` in the given order as a run.
  func add(_ store: RowStore, _ order: [Int32]) throws(SQLError) {
    let start = file.sizeBytes
    var buffer: [UInt8] = []
    buffer.reserveCapacity(1 << 20)
    for row in order {
      SpilledRuns.encode(store, Int(row), &buffer)
      if buffer.count >= 1 << 20 {
        try file.append(buffer)
        buffer.removeAll(keepingCapacity: true)
      }
    }
    try file.append(buffer)
    runs.append(RunReader(file, start..<file.sizeBytes, max(width, 1)))
  }

  func begin() throws(SQLError) {
    heap = []
    for index in runs.indices {
      if try runs[index].advance() { heap.append(index) }
    }
    heap.sort { isBefore($0, $1) }
    last = -1
  }

  private func isBefore(_ a: Int, _ b: Int) -> Bool {
    for (index, order) in orders.enumerated() {
      let column = columns[index]
      let result = order.compare(runs[a].values[column], runs[b].values[column])
      if result != 0 { return result < 0 }
    }
    return a < b
  }

  func next(_ frame: Frame, _ slots: [FrameSlot], from first: Int) throws(SQLError) -> Bool {
    if last >= 0 {
      let run = last
      last = -1
      if try runs[run].advance() {
        // Insert by binary search: there are few runs.
        var low = 0
        var high = heap.count
        while low < high {
          let middle = (low + high) / 2
          if isBefore(heap[middle], run) { low = middle + 1 } else { high = middle }
        }
        heap.insert(run, at: low)
      }
    }
    guard !heap.isEmpty else { return false }
    let run = heap.removeFirst()
    for (index, slot) in slots.enumerated() { frame[slot] = runs[run].values[first + index] }
    last = run
    return true
  }

  static func encode(_ store: RowStore, _ row: Int, _ out: inout [UInt8]) {
    encode(store.width, &out) { store.value(row, $0) }
  }

  /// Appends a row of `width` values.
  @inline(__always)
  static func encode(_ width: Int, _ out: inout [UInt8], _ value: (Int) -> Value) {
    let start = out.count
    var size = 4
    for column in 0..<width {
      let value = value(column)
      switch value.kind {
      case .null: size += 1
      case .bool, .int, .double: size += 9
      case .numeric: size += 12
      case .bytes, .bigNumeric: size += 5 + value.bytes.count
      }
    }
    out.reserveCapacity(out.count + size)
    put(UInt32(truncatingIfNeeded: size - 4), &out)
    for column in 0..<width {
      let value = value(column)
      out.append(value.kind.rawValue)
      switch value.kind {
      case .null: break
      case .bool: put(UInt64(value.bool ? 1 : 0), &out)
      case .int: put(value.int, &out)
      case .double: put(value.double.bitPattern, &out)
      case .numeric:
        out.append(UInt8(value.numericSpecial?.rawValue ?? 0))
        put(UInt16(truncatingIfNeeded: value.displayScale), &out)
        put(value.mantissa, &out)
      case .bytes, .bigNumeric:
        put(UInt32(truncatingIfNeeded: value.bytes.count), &out)
        unsafe out.append(contentsOf: value.bytes.buffer)
      }
    }
    assert(out.count - start == size)
  }

  @inline(__always)
  private static func put<T: FixedWidthInteger>(_ value: T, _ out: inout [UInt8]) {
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe out.append(contentsOf: $0) }
  }
}

/// Reads a run row by row, through a window of a quarter mebibyte. A run may be of several parts, each of whole rows.
final class RunReader {
  private let file: TemporaryFile
  private var parts: ArraySlice<Range<UInt64>>
  private var window: [UInt8] = []
  private var at = 0
  private let arena = Arena(initialBytes: 1024)
  let values: ValueBuffer

  convenience init(_ file: TemporaryFile, _ range: Range<UInt64>, _ width: Int) { self.init(file, [range], width) }

  init(_ file: TemporaryFile, _ parts: [Range<UInt64>], _ width: Int) {
    self.file = file
    self.parts = parts.filter { !$0.isEmpty }[...]
    values = ValueBuffer(width)
  }

  private func need(_ count: Int) throws(SQLError) -> Bool {
    if window.count - at >= count { return true }
    window.removeFirst(at)
    at = 0
    while window.count < count, let part = parts.first {
      let wanted = max(count - window.count, 256 << 10)
      let size = Int(min(UInt64(wanted), UInt64(part.count)))
      window += try file.read(size, at: part.lowerBound)
      let rest = part.lowerBound + UInt64(size)..<part.upperBound
      if rest.isEmpty { parts.removeFirst() } else { parts[parts.startIndex] = rest }
    }
    return window.count >= count
  }

  @inline(__always)
  private func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws(SQLError) -> T {
    guard at + MemoryLayout<T>.size <= window.count else { throw RunReader.damaged() }
    defer { at += MemoryLayout<T>.size }
    return unsafe T(
      littleEndian: window.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: at, as: T.self) })
  }

  private func bytes() throws(SQLError) -> Bytes {
    let count = Int(try integer(UInt32.self))
    guard at + count <= window.count else { throw RunReader.damaged() }
    defer { at += count }
    return unsafe window.withUnsafeBytes { buffer in
      unsafe arena.copy(Bytes(UnsafeRawBufferPointer(rebasing: buffer[at..<at + count])))
    }
  }

  static func damaged() -> SQLError { SQLError(.ioError, "a temporary file ends early") }

  /// Reads the next row into `values`, which are valid until the next call; false at the end.
  func advance() throws(SQLError) -> Bool {
    guard try need(4) else { return false }
    let size = Int(try integer(UInt32.self))
    guard try need(size) else { throw RunReader.damaged() }
    arena.reset()
    for column in 0..<values.count {
      switch Value.Kind(rawValue: try integer(UInt8.self)) {
      case .bool: values[column] = Value(try integer(UInt64.self) != 0)
      case .int: values[column] = Value(try integer(Int64.self))
      case .double: values[column] = Value(Double(bitPattern: try integer(UInt64.self)))
      case .numeric:
        let special = NumericSpecial(rawValue: try integer(UInt8.self))
        let scale = Int(try integer(UInt16.self))
        let mantissa = try integer(Int64.self)
        values[column] =
          special.map { Datum.specialNumeric($0).value(in: arena) } ?? Value(mantissa: mantissa, scale: scale)
      case .bytes: values[column] = Value(try bytes())
      case .bigNumeric: values[column] = Value(packedNumeric: try bytes())
      default: values[column] = .null
      }
    }
    return true
  }
}
