internal import Encoding
internal import Platform

// A table: an immutable file of entries in key order, written once, front to back.
//
//   data block*            entries (user key, version, kind, value): `Block.swift`
//   filter block           a Bloom filter over the user keys of one index leaf: `BloomFilter.swift`; follows that leaf's data
//   index leaf block       separator → handle of a data block; (data*, filter, leaf) repeats
//   range tombstone block  absent where there are none: `RangeTombstones.swift`
//   properties block       tagged fields, see `TableProperties`
//   root block             separator → handles of an index leaf and its filter
//   footer                 128 bytes at the end of the file
//
// A block on disk (little endian throughout):
//
//   offset  size  field
//   0       n     payload: the block itself, or its LZ4 form
//   n       1     codec: 0 raw, 1 LZ4
//   n+1     4     size of the block in memory
//   n+5     8     XXH3-64 of the n + 5 bytes before
//
// A block handle, 20 bytes, as it stands in a parent (index entry, root entry, footer):
//
//   0       8     offset in the file
//   8       4     size on disk with the 13 bytes after the payload
//   12      8     the hash that the block must have
//
// The footer:
//
//   0       8     magic "synodTBL"
//   8       4     format (1)
//   12      20    handle of the root block
//   32      20    handle of the properties block
//   52      20    handle of the range tombstone block, or zeros
//   72      8     number of the table where it was written: a file under a wrong name is told (the manifest knows the
//                 number of a table that another node wrote)
//   80      8     file hash: XXH3-64 of the hashes of all blocks in file order
//   88      8     size of the file
//   96      28    zeros
//   124     4     CRC-32C of bytes 0 ..< 124
//
// 1. Every byte of the file lies in a block or in the footer, and every block's hash is kept by its parent: a read that
//    returns another block's bytes, however intact those are, is told (misdirected reads).
// 2. The manifest keeps size and file hash of every table: a table that is swapped for another is told at open.
// 3. Entries ascend by user key (memcmp, shorter first), and descend by version within one. No two are equal in both.
// 4. All versions of one user key lie in one table, save for tables of different flushes in level 0.
// 5. An index entry's separator is at or after everything in its block and before everything in the next.
// 6. Nothing read is believed before it is compared with what is there: no byte of a file can make a reader trap or
//    take more memory than 256 times the file's size.

/// Numbers of the table format.
package enum TableFormat {
  /// "synodTBL", little endian.
  static let magic: UInt64 = 0x4C42_5464_6F6E_7973
  /// The format that this code writes, and the newest that it reads.
  package static let version: UInt32 = 1
  static let footerSizeBytes = 128
  static let handleSizeBytes = 20
  /// Codec, size in memory and hash after each payload.
  static let trailerSizeBytes = 13
  static let codecRaw: UInt8 = 0
  static let codecLZ4: UInt8 = 1
  /// The largest block in memory: one value of the largest size and its key, with room for the block's own arrays.
  static let maximumBlockSizeBytes = WriteBatch.maximumValueSizeBytes + 4 * WriteBatch.maximumKeySizeBytes + (64 << 10)

  /// The name of table `number` in the folder of tables.
  package static func fileName(_ number: UInt64) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 10 - digits.count)) + digits + ".table"
  }

  /// The number in a table file's name, or nil where it is none.
  package static func number(ofFileName name: String) -> UInt64? {
    guard name.hasSuffix(".table") else { return nil }
    let digits = name.dropLast(6)
    guard digits.count >= 10, digits.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
    return UInt64(digits)
  }
}

/// Where a block is, and the hash that it must have.
struct BlockHandle: Hashable, Sendable {
  var offset: UInt64
  /// On disk, with codec, size and hash.
  var sizeBytes: UInt32
  var hash: UInt64

  static let none = BlockHandle(offset: 0, sizeBytes: 0, hash: 0)

  var isNone: Bool { sizeBytes == 0 }

  var end: UInt64 { offset &+ UInt64(sizeBytes) }
}

extension ByteWriter {
  mutating func append(handle: BlockHandle) {
    append(integer: handle.offset)
    append(integer: handle.sizeBytes)
    append(integer: handle.hash)
  }
}

extension ByteReader {
  mutating func readHandle() throws(DecodingError) -> BlockHandle {
    unsafe BlockHandle(offset: try readInteger(), sizeBytes: try readInteger(), hash: try readInteger())
  }
}

/// The last 128 bytes of a table.
struct TableFooter: Hashable, Sendable {
  var root: BlockHandle
  var properties: BlockHandle
  var rangeTombstones: BlockHandle
  var tableNumber: UInt64
  var fileHash: UInt64
  var fileSizeBytes: UInt64

  func encode() -> [UInt8] {
    var writer = ByteWriter(capacity: TableFormat.footerSizeBytes)
    writer.append(integer: TableFormat.magic)
    writer.append(integer: TableFormat.version)
    writer.append(handle: root)
    writer.append(handle: properties)
    writer.append(handle: rangeTombstones)
    writer.append(integer: tableNumber)
    writer.append(integer: fileHash)
    writer.append(integer: fileSizeBytes)
    writer.append([UInt8](repeating: 0, count: TableFormat.footerSizeBytes - 4 - writer.count))
    writer.append(integer: crc32c(writer.bytes))
    return writer.bytes
  }

  /// Why bytes are no footer.
  enum Refusal: Error {
    case newerFormat(UInt32)
    case damaged(String)
  }

  /// Reads a footer; the format is looked at before the checksum, so that a newer format is called by its name.
  static func decode(_ bytes: [UInt8]) throws(Refusal) -> TableFooter {
    guard bytes.count == TableFormat.footerSizeBytes else {
      throw .damaged("the file is shorter than a footer")
    }
    let magic: UInt64 = field(bytes, 0)
    guard magic == TableFormat.magic else { throw .damaged("no table: the footer's magic is missing") }
    let format: UInt32 = field(bytes, 8)
    let stored: UInt32 = field(bytes, TableFormat.footerSizeBytes - 4)
    let actual = crc32c(Array(bytes.dropLast(4)))
    guard stored == actual else {
      throw .damaged("its checksum is \(hexadecimal(stored)), its bytes have \(hexadecimal(actual))")
    }
    guard format > 0, format <= TableFormat.version else { throw .newerFormat(format) }
    return TableFooter(
      root: handle(bytes, 12), properties: handle(bytes, 32), rangeTombstones: handle(bytes, 52),
      tableNumber: field(bytes, 72), fileHash: field(bytes, 80), fileSizeBytes: field(bytes, 88))
  }

  /// The little-endian integer at `offset`, which lies within the bytes.
  private static func field<T: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int) -> T {
    unsafe bytes.withUnsafeBytes { T(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
  }

  private static func handle(_ bytes: [UInt8], _ offset: Int) -> BlockHandle {
    BlockHandle(offset: field(bytes, offset), sizeBytes: field(bytes, offset + 8), hash: field(bytes, offset + 12))
  }
}

/// `0x` and all digits.
func hexadecimal<T: FixedWidthInteger & UnsignedInteger>(_ value: T) -> String {
  let digits = String(value, radix: 16)
  return "0x" + String(repeating: "0", count: max(0, T.bitWidth / 4 - digits.count)) + digits
}
