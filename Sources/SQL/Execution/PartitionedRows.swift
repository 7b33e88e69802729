// Rows that were set aside, in partitions by a hash: what a hash join, a grouping or the removal of duplicates does with more
// than work_mem holds.
//
//   input ─ hash ─▶ ┬─ partition 0 ─▶ file: chunk 0, chunk 7 …      each read again alone, and if it is still too large,
//                   ├─ partition 1 ─▶ file: chunk 1, chunk 4 …      partitioned once more by other bits of the hash
//                   └─ …                                            (level + 1)
//
// 1. Rows of equal keys have equal hashes, and so are in one partition at every level.
// 2. A row is in one chunk; chunks are of one partition. All partitions of one `PartitionedRows` share a file, which has no
//    name that anybody else knows and goes when the rows do (SpilledRuns.swift).
// 3. Memory: a buffer for each partition, together at most a quarter of work_mem or 256 KiB.
//
// DeWitt, Katz, Olken, Shapiro, Stonebraker, Wood, "Implementation Techniques for Main Memory Database Systems" (1984), of
// which this is the Grace hash join.

/// Rows in partitions; written first, then read.
final class PartitionedRows {
  static let partitionCount = 16
  /// Beyond it no bits of the hash are left that would tell keys apart.
  static let mostLevels = 7

  let level: Int
  private let file: TemporaryFile
  private let width: Int
  private let bufferBytes: Int
  private var buffers: [[UInt8]]
  private var chunks: [[Range<UInt64>]]
  private(set) var counts: [Int]

  init(width: Int, level: Int, limitBytes: Int, _ file: TemporaryFile) {
    self.width = width
    self.level = level
    self.file = file
    let n = PartitionedRows.partitionCount
    bufferBytes = min(max(limitBytes / (4 * n), 8 << 10), 128 << 10)
    buffers = Array(repeating: [], count: n)
    chunks = Array(repeating: [], count: n)
    counts = Array(repeating: 0, count: n)
  }

  /// Bytes in the file.
  var sizeBytes: UInt64 { file.sizeBytes }

  /// The partition of a hash at this level.
  @inline(__always)
  func partition(_ hash: UInt32) -> Int {
    Int(truncatingIfNeeded: ValueOrder.mix(UInt64(hash) &+ UInt64(level &+ 1) &* 0x9e37_79b9_7f4a_7c15) >> 60)
  }

  /// Adds a row of `width` values.
  func add(_ partition: Int, _ values: ValueBuffer) throws(SQLError) {
    SpilledRuns.encode(width, &buffers[partition]) { values[$0] }
    try added(partition)
  }
  /// Adds row `row` of `store`.
  func add(_ partition: Int, _ store: RowStore, _ row: Int) throws(SQLError) {
    SpilledRuns.encode(store, row, &buffers[partition])
    try added(partition)
  }

  @inline(__always)
  private func added(_ partition: Int) throws(SQLError) {
    counts[partition] += 1
    if buffers[partition].count >= bufferBytes { try write(partition) }
  }

  private func write(_ partition: Int) throws(SQLError) {
    let start = file.sizeBytes
    try file.append(buffers[partition])
    chunks[partition].append(start..<file.sizeBytes)
    buffers[partition].removeAll(keepingCapacity: true)
  }

  /// Nothing more is added.
  func finish() throws(SQLError) {
    for partition in buffers.indices {
      if !buffers[partition].isEmpty { try write(partition) }
      buffers[partition] = []
    }
  }

  /// Reads the rows of a partition, from the first.
  func reader(_ partition: Int) -> RunReader { RunReader(file, chunks[partition], width) }
}
