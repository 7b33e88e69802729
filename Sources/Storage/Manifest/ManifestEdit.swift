package import Encoding

/// Everything up to here is in tables: the log is replayed after it.
package struct FlushedPosition: Hashable, Sendable {
  package var slot: Slot
  package var version: Version
  /// The log's chain value at `slot`, so that a log that does not belong to the tables is told. Not interpreted here.
  package var chain: Hash128

  package init(slot: Slot = .zero, version: Version = .zero, chain: Hash128 = .zero) {
    self.slot = slot
    self.version = version
    self.chain = chain
  }
}

// An edit is a sequence of fields: u8 tag | varint length | bytes.
//
//   tag   bytes
//   1     none: the edit begins with nothing; it is a whole state (the first record of every manifest)
//   2     flushed position: varint slot, varint version, 16 bytes chain
//   3     varint: every table's number is below it
//   4     varint: garbage floor; versions above it are kept
//   5     added table: u8 level, then the table's fields (`TableMetadata`)
//   6     removed table: u8 level, varint number
//
// A reader that meets an unknown tag below 128 refuses the file (it would miss something that matters); from 128 on it
// passes over it.

/// A change of the set of tables, atomic and durable as one record of the manifest.
package struct ManifestEdit: Hashable, Sendable {
  package struct Addition: Hashable, Sendable {
    package var level: Int
    package var table: TableMetadata
    package init(level: Int, table: TableMetadata) {
      self.level = level
      self.table = table
    }
  }

  package struct Removal: Hashable, Sendable {
    package var level: Int
    package var number: UInt64
    package init(level: Int, number: UInt64) {
      self.level = level
      self.number = number
    }
  }

  /// The edit is a whole state, not a change.
  package var isWhole = false
  package var flushed: FlushedPosition?
  package var nextTableNumber: UInt64?
  package var garbageFloor: Version?
  package var removed: [Removal] = []
  package var added: [Addition] = []

  package init() {}

  private enum Tag {
    static let whole: UInt8 = 1
    static let flushed: UInt8 = 2
    static let nextTableNumber: UInt8 = 3
    static let garbageFloor: UInt8 = 4
    static let added: UInt8 = 5
    static let removed: UInt8 = 6
    static let firstOptional: UInt8 = 128
  }

  package func encode() -> [UInt8] {
    var writer = ByteWriter()
    var field = ByteWriter()
    func append(_ tag: UInt8) {
      writer.append(tag)
      writer.append(lengthPrefixed: field.bytes)
      field.removeAll()
    }
    if isWhole { append(Tag.whole) }
    if let flushed {
      field.append(varint: flushed.slot.rawValue)
      field.append(varint: flushed.version.rawValue)
      field.append(hash: flushed.chain)
      append(Tag.flushed)
    }
    if let nextTableNumber {
      field.append(varint: nextTableNumber)
      append(Tag.nextTableNumber)
    }
    if let garbageFloor {
      field.append(varint: garbageFloor.rawValue)
      append(Tag.garbageFloor)
    }
    for removal in removed {
      field.append(UInt8(removal.level))
      field.append(varint: removal.number)
      append(Tag.removed)
    }
    for addition in added {
      field.append(UInt8(addition.level))
      addition.table.encode(into: &field)
      append(Tag.added)
    }
    return writer.bytes
  }

  package static func decode(_ bytes: UnsafeRawBufferPointer) throws(DecodingError) -> ManifestEdit {
    var edit = ManifestEdit()
    var reader = unsafe ByteReader(bytes)
    while unsafe !reader.isAtEnd {
      let start = unsafe reader.offset
      let tag = unsafe try reader.readByte()
      var field = unsafe ByteReader(try reader.readLengthPrefixed())
      switch tag {
      case Tag.whole: edit.isWhole = true
      case Tag.flushed:
        edit.flushed = FlushedPosition(
          slot: Slot(unsafe try field.readVarint()), version: Version(unsafe try field.readVarint()),
          chain: unsafe try field.readHash())
      case Tag.nextTableNumber: edit.nextTableNumber = unsafe try field.readVarint()
      case Tag.garbageFloor: edit.garbageFloor = Version(unsafe try field.readVarint())
      case Tag.added:
        let level = unsafe try readLevel(&field)
        let rest = unsafe try field.readBytes(field.remaining)
        edit.added.append(Addition(level: level, table: unsafe try TableMetadata.decode(rest)))
      case Tag.removed:
        edit.removed.append(Removal(level: unsafe try readLevel(&field), number: unsafe try field.readVarint()))
      case Tag.firstOptional...: break
      default: throw .invalid(offset: start, reason: "unknown field \(tag) in a manifest edit")
      }
    }
    return edit
  }

  private static func readLevel(_ field: inout ByteReader) throws(DecodingError) -> Int {
    let level = unsafe try field.readByte()
    guard level < TableSet.levelCount else { throw .invalid(offset: 0, reason: "level \(level) in a manifest edit") }
    return Int(level)
  }
}

/// What all edits of a manifest come to.
package struct ManifestState: Hashable, Sendable {
  /// By level; level 0 by sequence, the others by key.
  package var levels: [[TableMetadata]] = Array(repeating: [], count: TableSet.levelCount)
  package var flushed = FlushedPosition()
  package var nextTableNumber: UInt64 = 1
  package var garbageFloor = Version.zero

  package init() {}

  /// The whole state as one edit.
  package var edit: ManifestEdit {
    var edit = ManifestEdit()
    edit.isWhole = true
    edit.flushed = flushed
    edit.nextTableNumber = nextTableNumber
    edit.garbageFloor = garbageFloor
    for (level, tables) in levels.enumerated() {
      edit.added += tables.map { ManifestEdit.Addition(level: level, table: $0) }
    }
    return edit
  }

  /// Applies an edit, or says what makes no sense about it (and is then half applied: to be thrown away).
  package mutating func apply(_ edit: ManifestEdit) throws(DecodingError) {
    if edit.isWhole { self = ManifestState() }
    for removal in edit.removed {
      guard let index = levels[removal.level].firstIndex(where: { $0.number == removal.number }) else {
        throw .invalid(
          offset: 0, reason: "table \(removal.number) is removed from level \(removal.level), where it is not")
      }
      levels[removal.level].remove(at: index)
    }
    for addition in edit.added {
      guard !levels.contains(where: { $0.contains { $0.number == addition.table.number } }) else {
        throw .invalid(offset: 0, reason: "table \(addition.table.number) is added twice")
      }
      let clash = addition.level > 0 && levels[addition.level].contains { $0.overlaps(addition.table) }
      guard !clash else {
        throw .invalid(offset: 0, reason: "table \(addition.table.number) overlaps another of level \(addition.level)")
      }
      let level = addition.level
      let place = levels[level].firstIndex {
        level == 0
          ? ($0.sequence, $0.number) > (addition.table.sequence, addition.table.number)
          : compareKeyArrays($0.lower, addition.table.lower) > 0
      }
      levels[level].insert(addition.table, at: place ?? levels[level].count)
    }
    if let flushed = edit.flushed { self.flushed = flushed }
    if let next = edit.nextTableNumber { nextTableNumber = next }
    if let floor = edit.garbageFloor { garbageFloor = floor }
  }

  /// Every table's number.
  package var tableNumbers: Set<UInt64> { Set(levels.joined().map(\.number)) }
}
