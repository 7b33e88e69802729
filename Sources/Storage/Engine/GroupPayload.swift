internal import Encoding

// The payload of a TXN_GROUP record: for each transaction, in the order of versions, `u32 length | batch`.

/// Walks over a group's batches and their operations, checking everything.
@unsafe
struct GroupPayload {
  private var reader: ByteReader
  private var version: Version
  private var left: Int

  init(_ payload: UnsafeRawBufferPointer, firstVersion: Version, transactionCount: Int) {
    unsafe reader = ByteReader(payload)
    unsafe version = firstVersion
    unsafe left = transactionCount
  }

  /// The next transaction, or nil after the last.
  mutating func next() throws(DecodingError) -> (version: Version, batch: UnsafeRawBufferPointer)? {
    guard unsafe left > 0 else {
      guard unsafe reader.isAtEnd else {
        throw .invalid(offset: unsafe reader.offset, reason: "bytes after the last transaction of a group")
      }
      return nil
    }
    unsafe left -= 1
    let length = unsafe try reader.readInteger(UInt32.self)
    let batch = unsafe try reader.readBytes(Int(length))
    let current = unsafe version
    unsafe version = unsafe version.advanced(by: 1)
    return unsafe (current, batch)
  }

  /// The number of operations in the group, from the heads of its batches. O(transactions).
  static func countOperations(
    _ payload: UnsafeRawBufferPointer, transactionCount: Int
  ) throws(DecodingError) -> Int {
    var walk = unsafe GroupPayload(payload, firstVersion: .zero, transactionCount: transactionCount)
    var count = 0
    while let (_, batch) = unsafe try walk.next() { count += unsafe try WriteBatchReader(batch).count }
    return count
  }
}

extension Memtable {
  /// Inserts one transaction's writes.
  ///
  /// Operations apply in order, all at one version. Since an entry wins over a range deletion of its own version, a put
  /// that a later range deletion of the same batch covers becomes a deletion.
  func insert(_ batch: UnsafeRawBufferPointer, _ version: Version) throws(DecodingError) {
    var reader = unsafe try WriteBatchReader(batch)
    var ranges: [(index: Int, start: [UInt8], end: [UInt8])] = []
    var points = 0
    var hasPointBeforeRange = false
    var index = 0
    while let operation = unsafe try reader.next() {
      index += 1
      switch unsafe operation.kind {
      case .put:
        points += 1
        unsafe insert(operation.key, version, .put, operation.value)
      case .delete:
        points += 1
        unsafe insert(operation.key, version, .delete, UnsafeRawBufferPointer(start: nil, count: 0))
      case .deleteRange:
        hasPointBeforeRange = hasPointBeforeRange || points > 0
        unsafe ranges.append((index, Array(operation.key), Array(operation.value)))
      }
    }
    guard !ranges.isEmpty else { return }
    var builder = RangeDeletionBuilder()
    for range in ranges { builder.add(range.start, range.end, version) }
    add(builder.build(), version)
    if hasPointBeforeRange { unsafe try deleteCovered(batch, ranges, version) }
  }

  /// Turns puts that stand before a range deletion which covers them into deletions.
  private func deleteCovered(
    _ batch: UnsafeRawBufferPointer, _ ranges: [(index: Int, start: [UInt8], end: [UInt8])], _ version: Version
  ) throws(DecodingError) {
    var builder = RangeDeletionBuilder()
    for range in ranges { builder.add(range.start, range.end, Version(UInt64(range.index))) }
    let covering = builder.build()
    var reader = unsafe try WriteBatchReader(batch)
    var index = 0
    while let operation = unsafe try reader.next() {
      index += 1
      guard unsafe operation.kind == .put else { continue }
      let last = unsafe covering.newestVersion(covering: operation.key, atMost: .latest)
      if last > Version(UInt64(index)) {
        unsafe insert(operation.key, version, .delete, UnsafeRawBufferPointer(start: nil, count: 0))
      }
    }
  }
}
