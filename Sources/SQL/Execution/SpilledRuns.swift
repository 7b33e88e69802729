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
  private let layout: SortLayout
  private let width: Int
  private var runs: [RunReader] = []
  private var heap: [Int] = []
  private let heads: RowStore
  private var last = -1

  init(_ file: TemporaryFile, _ layout: SortLayout, width: Int) {
    self.file = file
    self.layout = layout
    self.width = width
    heads = RowStore(width: width, limitBytes: .max)
  }

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
    runs.append(RunReader(file, start..<file.sizeBytes, width))
  }

  func begin() throws(SQLError) {
    heads.removeAll()
    heap = []
    for index in runs.indices {
      if try runs[index].advance() { heap.append(index) }
    }
    heap.sort { isBefore($0, $1) }
    last = -1
  }

  private func isBefore(_ a: Int, _ b: Int) -> Bool {
    for (index, order) in layout.orders.enumerated() {
      let column = layout.columns[index]
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
    let start = out.count
    out += [0, 0, 0, 0]
    func put<T: FixedWidthInteger>(_ value: T) {
      var rest = value
      for _ in 0..<MemoryLayout<T>.size {
        out.append(UInt8(truncatingIfNeeded: rest))
        rest = MemoryLayout<T>.size == 1 ? 0 : rest >> 8
      }
    }
    for column in 0..<store.width {
      let value = store.value(row, column)
      out.append(value.kind.rawValue)
      switch value.kind {
      case .null: break
      case .bool: put(UInt64(value.bool ? 1 : 0))
      case .int: put(value.int)
      case .double: put(value.double.bitPattern)
      case .numeric:
        put(UInt8(value.numericSpecial?.rawValue ?? 0))
        put(UInt16(value.displayScale))
        put(value.mantissa)
      case .bytes, .bigNumeric:
        put(UInt32(value.bytes.count))
        out += value.bytes.array
      }
    }
    var size = UInt32(out.count - start - 4)
    for index in 0..<4 {
      out[start + index] = UInt8(truncatingIfNeeded: size)
      size >>= 8
    }
  }
}

/// Reads one run row by row, through a window of a quarter mebibyte.
final class RunReader {
  private let file: TemporaryFile
  private let range: Range<UInt64>
  private var offset: UInt64
  private var window: [UInt8] = []
  private var at = 0
  private let arena = Arena(initialBytes: 1024)
  let values: ValueBuffer

  init(_ file: TemporaryFile, _ range: Range<UInt64>, _ width: Int) {
    self.file = file
    self.range = range
    offset = range.lowerBound
    values = ValueBuffer(width)
  }

  private func need(_ count: Int) throws(SQLError) -> Bool {
    if window.count - at >= count { return true }
    window.removeFirst(at)
    at = 0
    let wanted = max(count - window.count, 256 << 10)
    let available = Int(min(UInt64(wanted), range.upperBound - offset))
    if available > 0 {
      window += try file.read(available, at: offset)
      offset += UInt64(available)
    }
    return window.count >= count
  }

  private func integer(_ size: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<size { value |= UInt64(window[at + index]) << UInt64(8 * index) }
    at += size
    return value
  }

  /// Reads the next row into `values`; false at the end.
  func advance() throws(SQLError) -> Bool {
    guard try need(4) else { return false }
    let size = Int(integer(4))
    guard try need(size) else { throw SQLError(.ioError, "a temporary file ends early") }
    arena.reset()
    for column in 0..<values.count {
      switch Value.Kind(rawValue: UInt8(integer(1))) {
      case .bool: values[column] = Value(integer(8) != 0)
      case .int: values[column] = Value(Int64(bitPattern: integer(8)))
      case .double: values[column] = Value(Double(bitPattern: integer(8)))
      case .numeric:
        let special = NumericSpecial(rawValue: UInt8(integer(1)))
        let scale = Int(integer(2))
        let mantissa = Int64(bitPattern: integer(8))
        values[column] =
          special.map { Datum.specialNumeric($0).value(in: arena) } ?? Value(mantissa: mantissa, scale: scale)
      case .bytes:
        let count = Int(integer(4))
        values[column] = Value(arena.copy(Array(window[at..<at + count])))
        at += count
      case .bigNumeric:
        let count = Int(integer(4))
        values[column] = Value(packedNumeric: arena.copy(Array(window[at..<at + count])))
        at += count
      default: values[column] = .null
      }
    }
    return true
  }
}
