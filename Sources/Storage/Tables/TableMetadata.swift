package import Encoding

/// What is known of a table without opening it: kept in its properties block and in the manifest.
package struct TableMetadata: Hashable, Sendable {
  /// Names the file; never used twice.
  package var number: UInt64 = 0
  package var sizeBytes: UInt64 = 0
  /// See `TableFormat`: the hash of all blocks' hashes.
  package var fileHash: UInt64 = 0
  /// Puts and deletions.
  package var entryCount: UInt64 = 0
  package var deleteCount: UInt64 = 0
  /// Versions of all fragments of range deletions together.
  package var rangeDeletionCount: UInt64 = 0
  /// Over entries and range deletions.
  package var minimumVersion = Version.latest
  package var maximumVersion = Version.zero
  /// The smallest key of an entry or a range deletion.
  package var lower: [UInt8] = []
  /// The largest key of an entry, or the end of a range deletion, whichever is later.
  package var upper: [UInt8] = []
  /// Whether `upper` is the end of a range deletion, which is not in it.
  package var upperIsExclusive = false
  package var keySizeBytes: UInt64 = 0
  package var valueSizeBytes: UInt64 = 0
  /// Entries (and range deletions) that can go once the horizon of garbage collection has reached `garbageVersion` and
  /// nothing lies below: older versions of a key, deletions.
  package var garbageCount: UInt64 = 0
  package var garbageVersion = Version.zero
  /// Orders the tables of level 0: the larger is the newer. Set when the table is installed.
  package var sequence: UInt64 = 0
  /// The number that the file's footer carries, where that is another: the table came from another node's store.
  /// 0 where it is `number`.
  package var originNumber: UInt64 = 0

  package init() {}

  /// The number in the footer.
  var footerNumber: UInt64 { originNumber == 0 ? number : originNumber }

  /// Whether it holds nothing at all.
  package var isEmpty: Bool { entryCount == 0 && rangeDeletionCount == 0 }
}

/// Encoded as fields: u8 tag | varint length | bytes; numbers are varints. Unknown tags are skipped, so that later
/// releases may add fields that earlier ones can do without.
extension TableMetadata {
  private enum Tag {
    static let lower: UInt8 = 1
    static let upper: UInt8 = 2
    static let exclusiveUpper: UInt8 = 3
    /// The numbers follow in the order of `numbers`.
    static let firstNumber: UInt8 = 16
  }

  private var numbers: [UInt64] {
    [
      number, sizeBytes, fileHash, entryCount, deleteCount, rangeDeletionCount, minimumVersion.rawValue,
      maximumVersion.rawValue, keySizeBytes, valueSizeBytes, garbageCount, garbageVersion.rawValue, sequence,
      originNumber,
    ]
  }

  private mutating func set(number index: Int, to value: UInt64) {
    switch index {
    case 0: number = value
    case 1: sizeBytes = value
    case 2: fileHash = value
    case 3: entryCount = value
    case 4: deleteCount = value
    case 5: rangeDeletionCount = value
    case 6: minimumVersion = Version(value)
    case 7: maximumVersion = Version(value)
    case 8: keySizeBytes = value
    case 9: valueSizeBytes = value
    case 10: garbageCount = value
    case 11: garbageVersion = Version(value)
    case 12: sequence = value
    case 13: originNumber = value
    default: break
    }
  }

  package func encode(into writer: inout ByteWriter) {
    writer.append(Tag.lower)
    writer.append(lengthPrefixed: lower)
    writer.append(upperIsExclusive ? Tag.exclusiveUpper : Tag.upper)
    writer.append(lengthPrefixed: upper)
    for (index, value) in numbers.enumerated() where value != 0 {
      writer.append(Tag.firstNumber + UInt8(index))
      writer.append(varint: UInt64(varintLength(value)))
      writer.append(varint: value)
    }
  }

  package static func decode(_ bytes: UnsafeRawBufferPointer) throws(DecodingError) -> TableMetadata {
    var result = TableMetadata()
    result.minimumVersion = .zero
    var reader = unsafe ByteReader(bytes)
    while unsafe !reader.isAtEnd {
      let start = unsafe reader.offset
      let tag = unsafe try reader.readByte()
      let field = unsafe try reader.readLengthPrefixed()
      switch tag {
      case Tag.lower: result.lower = unsafe Array(field)
      case Tag.upper, Tag.exclusiveUpper:
        result.upper = unsafe Array(field)
        result.upperIsExclusive = tag == Tag.exclusiveUpper
      case Tag.firstNumber...:
        var value = unsafe ByteReader(field)
        result.set(number: Int(tag - Tag.firstNumber), to: unsafe try value.readVarint())
      default: break
      }
      guard result.lower.count <= WriteBatch.maximumKeySizeBytes, result.upper.count <= WriteBatch.maximumKeySizeBytes
      else { throw .invalid(offset: start, reason: "a table's bound is longer than a key can be") }
    }
    guard result.minimumVersion <= result.maximumVersion else {
      throw .invalid(offset: 0, reason: "a table's smallest version is after its largest")
    }
    let order = compareKeyArrays(result.lower, result.upper)
    guard order < 0 || (order == 0 && !result.upperIsExclusive) else {
      throw .invalid(offset: 0, reason: "a table's smallest key is after its largest")
    }
    return result
  }
}

extension TableMetadata {
  /// Whether some key of the table may lie in `lower ... upper` (`upper` left out where it is exclusive; nil: no end).
  package func overlaps(_ low: [UInt8], _ high: [UInt8]?, highIsExclusive: Bool) -> Bool {
    if let high {
      let order = compareKeyArrays(lower, high)
      if order > 0 || (order == 0 && highIsExclusive) { return false }
    }
    let order = compareKeyArrays(upper, low)
    return order > 0 || (order == 0 && !upperIsExclusive)
  }

  package func overlaps(_ other: TableMetadata) -> Bool {
    overlaps(other.lower, other.upper, highIsExclusive: other.upperIsExclusive)
  }

  /// Whether everything in it lies before everything in `other`.
  func precedes(_ other: TableMetadata) -> Bool {
    let order = compareKeyArrays(upper, other.lower)
    return order < 0 || (order == 0 && upperIsExclusive)
  }
}

/// `compareKeys` for keys that own their memory.
func compareKeyArrays(_ a: [UInt8], _ b: [UInt8]) -> Int {
  unsafe a.withUnsafeBytes { a in unsafe b.withUnsafeBytes { unsafe compareKeys(a, $0) } }
}
