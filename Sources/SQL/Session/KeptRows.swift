// The rows of a cursor, or of a portal that is read in pieces.
//
// They are those of one snapshot, and later statements of the transaction must not disturb them: so they are computed when
// the cursor is declared, and kept. As many as work_mem holds stay in memory; when it is full, what is there goes to a
// temporary file, in chunks of about `chunkSizeBytes`, encoded as the rows of a sort are (SpilledRuns.swift). Reading keeps
// one chunk at a time: forward and backward cost a read per chunk, a jump one read.
//
// 1. Rows 0 ..< spilled are in the file, in order, each in exactly one chunk; the others are in `recent`, in order.
// 2. Memory is at most work_mem, one chunk and 24 bytes for each chunk.

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
  /// The rows of `chunks[place]`.
  private var window: (place: Int, rows: RowStore)?

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

  /// Copies row `row` into `buffer`; the values are valid until the next call.
  func load(_ row: Int, into buffer: ValueBuffer) throws(SQLError) {
    precondition(row >= 0 && row < count && buffer.count <= width)
    guard row < spilled else {
      for column in 0..<buffer.count { buffer[column] = recent.value(row - spilled, column) }
      return
    }
    let (first, rows) = try chunk(of: row)
    for column in 0..<buffer.count { buffer[column] = rows.value(row - first, column) }
  }

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

  private func chunk(of row: Int) throws(SQLError) -> (first: Int, rows: RowStore) {
    var low = 0
    var high = chunks.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if chunks[middle].first <= row { low = middle } else { high = middle }
    }
    if let window, window.place == low { return (chunks[low].first, window.rows) }
    guard let file else { preconditionFailure("rows were spilled to a file") }
    let reader = RunReader(file, chunks[low].range, width)
    let rows = RowStore(width: width, limitBytes: .max)
    while try reader.advance() {
      let row = rows.addRow()
      for column in 0..<width { rows.set(row, column, reader.values[column]) }
    }
    let end = low + 1 < chunks.count ? chunks[low + 1].first : spilled
    guard rows.count == end - chunks[low].first else { throw SQLError(.ioError, "a temporary file ends early") }
    window = (low, rows)
    return (chunks[low].first, rows)
  }
}
