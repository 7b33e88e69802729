// Rows that are kept until they are read, perhaps again: those of a cursor, of a WITH query, of the inner side of a nested
// loop, of a window's partition, of a statement that must find all rows before it changes the first.
//
// As many as work_mem holds stay in memory; when it is full, what is there goes to a temporary file, in chunks of about
// `chunkSizeBytes`, encoded as the rows of a sort are (SpilledRuns.swift). A reader has one chunk at a time: forward and
// backward cost a read per chunk, a jump one read.
//
// 1. Rows 0 ..< spilled are in the file, in order, each in exactly one chunk; the others are in `recent`, in order.
// 2. Memory is at most work_mem, 24 bytes for each chunk, and a chunk (or, for rows that were in memory when it came to
//    them, what was there) for each reader.

/// Rows in the order in which they were added, to be read at any place.
final class KeptRows {
  private struct Chunk {
    let first: Int
    let range: Range<UInt64>
  }
  private static let chunkSizeBytes = 256 << 10

  let width: Int
  private let limitBytes: Int
  private let makeFile: () throws(SQLError) -> TemporaryFile
  private var recent: RowStore
  private var spilled = 0
  private var file: TemporaryFile?
  private var chunks: [Chunk] = []
  private var reader: KeptReader?

  /// - Parameter makeFile: called at most once, when `limitBytes` are exceeded.
  init(width: Int, limitBytes: Int, makeFile: @escaping () throws(SQLError) -> TemporaryFile) {
    self.width = max(width, 1)
    self.limitBytes = limitBytes
    self.makeFile = makeFile
    recent = RowStore(width: self.width, limitBytes: limitBytes)
  }

  var count: Int { spilled + recent.count }

  /// Adds a copy of a row.
  @unsafe func add(_ values: UnsafeBufferPointer<Value>) throws(SQLError) {
    let row = recent.addRow()
    // A row without columns (SELECT FROM t) is kept as one null.
    for index in 0..<width { recent.set(row, index, index < values.count ? unsafe values[index] : .null) }
    if recent.isOverLimit { try spill() }
  }

  /// Adds the values of some slots.
  @inline(__always)
  func append(_ frame: Frame, _ slots: [FrameSlot]) throws(SQLError) {
    recent.append(frame, slots)
    if slots.isEmpty { recent.set(recent.count - 1, 0, .null) }
    if recent.count & 0x3f == 0, recent.isOverLimit { try spill() }
  }

  /// Copies row `row` into `buffer`; the values are valid until the next call.
  func load(_ row: Int, into buffer: ValueBuffer) throws(SQLError) {
    precondition(buffer.count <= width)
    let reader = self.reader ?? KeptReader(self)
    self.reader = reader
    let (rows, place) = try reader.find(row)
    for column in 0..<buffer.count { buffer[column] = rows.value(place, column) }
  }

  /// Forgets the rows. Readers are to be reset.
  func removeAll() {
    if spilled > 0 {
      recent = RowStore(width: width, limitBytes: limitBytes)
      spilled = 0
      chunks = []
      file = nil
    } else {
      recent.removeAll()
    }
    reader = nil
  }

  /// Adds a row, all of whose columns are to be filled in by `set` before anything else is done.
  @inline(__always)
  func addRow() throws(SQLError) {
    if recent.count & 0x3f == 0x3f, recent.isOverLimit { try spill() }
    recent.set(recent.addRow(), 0, .null)
  }
  /// Sets a column of the row that was added last.
  @inline(__always)
  func set(_ column: Int, _ value: Value) { recent.set(recent.count - 1, column, value) }

  /// The file, for what EXPLAIN tells.
  var spilledBytes: UInt64 { file?.sizeBytes ?? 0 }

  private func spill() throws(SQLError) {
    if file == nil { file = try makeFile() }
    guard let file else { return }
    var bytes: [UInt8] = []
    var first = 0
    for row in 0..<recent.count {
      SpilledRuns.encode(recent, row, &bytes)
      guard bytes.count >= Self.chunkSizeBytes || row == recent.count - 1 else { continue }
      let start = file.sizeBytes
      try file.append(bytes)
      chunks.append(Chunk(first: spilled + first, range: start..<file.sizeBytes))
      bytes.removeAll(keepingCapacity: true)
      first = row + 1
    }
    spilled += recent.count
    // A new one: an emptied store would keep its memory, and be over the limit at the next row.
    recent = RowStore(width: width, limitBytes: limitBytes)
  }

  /// The rows among which `row` is, and where they begin.
  fileprivate func rows(around row: Int) throws(SQLError) -> (first: Int, rows: RowStore) {
    precondition(row >= 0 && row < count)
    guard row < spilled else { return (spilled, recent) }
    var low = 0
    var high = chunks.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if chunks[middle].first <= row { low = middle } else { high = middle }
    }
    guard let file else { preconditionFailure("rows were spilled to a file") }
    let reader = RunReader(file, chunks[low].range, width)
    let rows = RowStore(width: width, limitBytes: .max)
    while try reader.advance() {
      let row = rows.addRow()
      for column in 0..<width { rows.set(row, column, reader.values[column]) }
    }
    let end = low + 1 < chunks.count ? chunks[low + 1].first : spilled
    guard rows.count == end - chunks[low].first else { throw SQLError(.ioError, "a temporary file ends early") }
    return (chunks[low].first, rows)
  }
}

/// Reads rows that are kept, at a place of its own; rows may be added meanwhile.
final class KeptReader {
  private let kept: KeptRows
  private var first = 0
  private var rows: RowStore?

  init(_ kept: KeptRows) { self.kept = kept }

  /// The rows are other ones from now on.
  func reset() {
    rows = nil
    first = 0
  }

  /// Column `column` of row `row`; valid until the next call for another row.
  @inline(__always)
  func value(_ row: Int, _ column: Int) throws(SQLError) -> Value {
    let (rows, place) = try find(row)
    return rows.value(place, column)
  }

  /// Where row `row` is: values are valid until the next call.
  @inline(__always)
  func find(_ row: Int) throws(SQLError) -> (rows: RowStore, place: Int) {
    if let rows, row >= first, row - first < rows.count { return (rows, row - first) }
    let (first, found) = try kept.rows(around: row)
    self.first = first
    rows = found
    return (found, row - first)
  }

  /// Puts row `row` back into `slots`; the values are valid until the next call.
  @inline(__always)
  func load(_ row: Int, _ frame: Frame, _ slots: [FrameSlot]) throws(SQLError) {
    let (rows, place) = try find(row)
    rows.load(place, frame, slots)
  }
}
