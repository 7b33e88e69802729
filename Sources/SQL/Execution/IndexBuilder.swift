internal import Transactions

// The entries of an index that is being built. Rows come in the order of the table, and each entry would go to another
// place of the write set, and later of the memtable: a few cache misses each. So entries are collected, sorted and then put
// in order, in chunks that bound the memory.

/// Collects the entries of a new index, and puts them in key order.
@safe
final class IndexBuilder {
  private struct Entry {
    /// The first sixteen bytes of the key after the index's prefix, as numbers that order as the bytes do.
    var high: UInt64
    var low: UInt64
    var offset: Int
    var keyCount: UInt32
    var valueCount: UInt32
    var isUnique: Bool
  }

  private static let chunkBytes = 32 << 20
  private var entries: [Entry] = []
  private var bytes = ByteBuffer(capacity: 1 << 16)

  /// Whether it is time to write.
  var isFull: Bool { bytes.count >= IndexBuilder.chunkBytes }

  /// - Parameter isUnique: whether no other row may have the same key.
  func add(_ key: Bytes, _ value: Bytes, isUnique: Bool) {
    let rest = key.dropFirst(KeySpace.prefixLength)
    entries.append(
      Entry(
        high: IndexBuilder.word(rest, 0), low: IndexBuilder.word(rest, 8), offset: bytes.count,
        keyCount: UInt32(truncatingIfNeeded: key.count), valueCount: UInt32(truncatingIfNeeded: value.count),
        isUnique: isUnique))
    bytes.append(key)
    bytes.append(value)
  }

  /// Eight bytes from `offset` on as a big-endian number, missing ones as zero.
  private static func word(_ key: Bytes, _ offset: Int) -> UInt64 {
    if key.count >= offset + 8 { return UInt64(bigEndian: UInt64(littleEndian: key.load(offset, as: UInt64.self))) }
    var word: UInt64 = 0
    for index in offset..<max(offset, key.count) { word |= UInt64(key[index]) << UInt64(56 - 8 * (index - offset)) }
    return word
  }

  private func key(_ entry: Entry) -> Bytes { bytes.bytes[entry.offset..<entry.offset + Int(entry.keyCount)] }

  /// Puts what was collected, and forgets it.
  ///
  /// - Parameter duplicate: makes the error for a key that is there already, of the key and the value that were refused.
  func write(_ transaction: Transaction, _ duplicate: (Bytes, Bytes) -> SQLError) throws(SQLError) {
    entries.sort { a, b in
      if a.high != b.high { return a.high < b.high }
      if a.low != b.low { return a.low < b.low }
      return key(a).compare(key(b)) < 0
    }
    for entry in entries {
      let key = key(entry)
      let end = entry.offset + Int(entry.keyCount)
      let value = bytes.bytes[end..<end + Int(entry.valueCount)]
      let isNew = try sqlErrors { () throws(TransactionError) in
        if entry.isUnique { return unsafe try transaction.insertUnshared(key.buffer, value.buffer) }
        unsafe try transaction.putUnshared(key.buffer, value.buffer)
        return true
      }
      guard isNew else { throw duplicate(key, value) }
    }
    entries.removeAll(keepingCapacity: true)
    bytes.removeAll()
  }
}
