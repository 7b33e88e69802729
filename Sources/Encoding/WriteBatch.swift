// A write batch: everything that one transaction writes, encoded once by the thread that commits it, then logged,
// shipped and applied as these very bytes.
//
//   offset  size     field
//   0       1        format (1)
//   1       varint   m, the length of the metadata
//   …       m        metadata: a sequence of (u8 tag | varint length | bytes); unknown tags are skipped
//   …       varint   n, the number of operations
//   …                n operations:
//                      u8 kind: 1 put | 2 delete | 3 delete range
//                      varint length | key           (for a range: its first key)
//                      put:          varint length | value
//                      delete range: varint length | end   (exclusive)
//
// 1. Keys are not empty and at most `WriteBatch.maximumKeySizeBytes` long; values at most `maximumValueSizeBytes`.
// 2. A batch names a key at most once outside ranges, and a range deletion precedes, in the order of operations, any put
//    that it must not delete: operations apply in order, all at the version of the transaction.
// 3. Bytes after the last operation are an error: a batch is exactly as long as its length says.
//
// In a TXN_GROUP record the payload is, for each transaction in the order of versions: u32 length | batch.

/// Limits and names of the write batch format.
package enum WriteBatch {
  package static let format: UInt8 = 1
  /// The longest key: 64 KiB.
  package static let maximumKeySizeBytes = 64 << 10
  /// The longest value: 256 MiB.
  package static let maximumValueSizeBytes = 256 << 20
  /// The longest batch: 1 GiB.
  package static let maximumSizeBytes = 1 << 30

  /// What an operation does.
  package enum Kind: UInt8, Sendable {
    case put = 1
    case delete = 2
    case deleteRange = 3
  }

  /// Tags of the metadata.
  package enum MetadataTag {
    /// The transaction's 128-bit id.
    package static let transactionId: UInt8 = 1
    /// The client session and its sequence number.
    package static let session: UInt8 = 2
    /// The version of the catalog that wrote the rows.
    package static let catalogVersion: UInt8 = 3
    /// Read ranges, for audits.
    package static let readRanges: UInt8 = 4
  }
}

/// Builds a write batch in a buffer that is kept between uses.
package struct WriteBatchBuilder: Sendable {
  private var metadata = ByteWriter()
  private var operations = ByteWriter()
  /// The number of operations so far.
  package private(set) var count = 0

  package init() {}

  /// The bytes that `encode(into:)` will append, at most.
  package var estimatedSizeBytes: Int { metadata.count + operations.count + 24 }

  /// Forgets everything and keeps the memory.
  package mutating func removeAll() {
    metadata.removeAll()
    operations.removeAll()
    count = 0
  }

  package mutating func addMetadata(tag: UInt8, _ bytes: [UInt8]) {
    metadata.append(tag)
    metadata.append(lengthPrefixed: bytes)
  }

  package mutating func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    operations.append(WriteBatch.Kind.put.rawValue)
    unsafe operations.append(lengthPrefixed: key)
    unsafe operations.append(lengthPrefixed: value)
    count += 1
  }

  package mutating func delete(_ key: UnsafeRawBufferPointer) {
    operations.append(WriteBatch.Kind.delete.rawValue)
    unsafe operations.append(lengthPrefixed: key)
    count += 1
  }

  /// Deletes every key in `start ..< end`.
  package mutating func deleteRange(_ start: UnsafeRawBufferPointer, _ end: UnsafeRawBufferPointer) {
    operations.append(WriteBatch.Kind.deleteRange.rawValue)
    unsafe operations.append(lengthPrefixed: start)
    unsafe operations.append(lengthPrefixed: end)
    count += 1
  }

  package mutating func put(_ key: [UInt8], _ value: [UInt8]) {
    unsafe key.withUnsafeBytes { key in unsafe value.withUnsafeBytes { unsafe put(key, $0) } }
  }

  package mutating func delete(_ key: [UInt8]) { unsafe key.withUnsafeBytes { unsafe delete($0) } }

  package mutating func deleteRange(_ start: [UInt8], _ end: [UInt8]) {
    unsafe start.withUnsafeBytes { start in unsafe end.withUnsafeBytes { unsafe deleteRange(start, $0) } }
  }

  /// Appends the finished batch to `output`.
  package func encode(into output: inout ByteWriter) {
    output.append(WriteBatch.format)
    output.append(lengthPrefixed: metadata.bytes)
    output.append(varint: UInt64(count))
    output.append(operations.bytes)
  }
}

/// One operation of a batch; the memory is the batch's.
@frozen
@unsafe
package struct WriteOperation {
  package let kind: WriteBatch.Kind
  package let key: UnsafeRawBufferPointer
  /// The value of a put, the exclusive end of a range deletion, empty for a deletion.
  package let value: UnsafeRawBufferPointer

  @inlinable
  package init(kind: WriteBatch.Kind, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
    unsafe self.kind = kind
    unsafe self.key = unsafe key
    unsafe self.value = unsafe value
  }
}

/// Walks over a batch's operations, checking everything; the memory must outlive the reader.
@frozen
@unsafe
package struct WriteBatchReader {
  package var reader: ByteReader
  /// The metadata's bytes.
  package let metadata: UnsafeRawBufferPointer
  /// The number of operations in the whole batch.
  package let count: Int
  @usableFromInline var left: Int

  /// Reads the batch's head.
  package init(_ bytes: UnsafeRawBufferPointer) throws(DecodingError) {
    var reader = unsafe ByteReader(bytes)
    let format = unsafe try reader.readByte()
    guard format == WriteBatch.format else {
      throw .invalid(offset: 0, reason: "write batch of unknown format \(format)")
    }
    unsafe metadata = unsafe try reader.readLengthPrefixed()
    let announced = unsafe try reader.readVarint()
    // The shortest operation takes three bytes: a larger count cannot be true.
    guard announced <= UInt64(unsafe reader.remaining) / 3 else {
      throw .invalid(offset: unsafe reader.offset, reason: "write batch announces \(announced) operations")
    }
    unsafe self.reader = unsafe reader
    unsafe count = Int(announced)
    unsafe left = Int(announced)
  }

  /// The next operation, or nil after the last.
  @inlinable
  package mutating func next() throws(DecodingError) -> WriteOperation? {
    guard unsafe left > 0 else {
      guard unsafe reader.isAtEnd else {
        throw .invalid(offset: unsafe reader.offset, reason: "bytes after the last operation of a write batch")
      }
      return nil
    }
    unsafe left -= 1
    let start = unsafe reader.offset
    guard let kind = unsafe WriteBatch.Kind(rawValue: try reader.readByte()) else {
      throw .invalid(offset: start, reason: "unknown operation in a write batch")
    }
    let key = unsafe try reader.readLengthPrefixed()
    guard key.count > 0 && key.count <= WriteBatch.maximumKeySizeBytes else {
      throw .invalid(offset: start, reason: "key of \(key.count) bytes in a write batch")
    }
    guard kind != .delete else {
      return unsafe WriteOperation(kind: kind, key: key, value: UnsafeRawBufferPointer(start: nil, count: 0))
    }
    return unsafe WriteOperation(kind: kind, key: key, value: try reader.readLengthPrefixed())
  }
}
