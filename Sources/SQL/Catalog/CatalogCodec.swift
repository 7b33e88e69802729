internal import Encoding

// How a catalog object is written.
//
//   byte 0      format version of the record, 1
//   then        the fields of the object, in the order in which the code below reads them:
//               integers as varints (signed ones zigzag), flags as one byte each, text and lists length-prefixed,
//               optional fields after a byte 0 or 1
//
// Expressions and queries are written as text: they are parsed when the record is read, so a change of the tree's shape
// does not touch the format. A record with a version that is not known is refused, and so is one with bytes left over.

/// Any object of the catalog, as it is stored.
package enum CatalogRecord: Hashable, Sendable {
  case schema(SchemaDescriptor)
  case table(TableRecord)
  case index(IndexDescriptor)
  case view(ViewDescriptor)
  case sequence(SequenceDescriptor)
  case role(RoleDescriptor)

  package var kind: CatalogObjectKind {
    switch self {
    case .schema: .schema
    case .table: .table
    case .index: .index
    case .view: .view
    case .sequence: .sequence
    case .role: .role
    }
  }
  package var id: ObjectID {
    switch self {
    case .schema(let object): object.id
    case .table(let object): object.id
    case .index(let object): object.id
    case .view(let object): object.id
    case .sequence(let object): object.id
    case .role(let object): object.id
    }
  }
  package var name: String {
    switch self {
    case .schema(let object): object.name
    case .table(let object): object.name
    case .index(let object): object.name
    case .view(let object): object.name
    case .sequence(let object): object.name
    case .role(let object): object.name
    }
  }
  package var key: [UInt8] { KeySpace.object(kind, id) }
}

/// Writes and reads the fields of records.
struct CatalogWriter {
  var writer = ByteWriter(capacity: 256)

  mutating func put(_ value: Int) { put(Int64(value)) }
  mutating func put(_ value: Int64) {
    writer.append(varint: UInt64(bitPattern: (value << 1) ^ (value >> 63)))
  }
  mutating func put(_ value: Bool) { writer.append(value ? 1 : 0) }
  mutating func put(_ value: String) { writer.append(lengthPrefixed: [UInt8](value.utf8)) }
  mutating func put(_ value: ObjectID) { writer.append(varint: UInt64(value.rawValue)) }
  mutating func put(_ value: SQLType) {
    writer.append(varint: UInt64(value.id.rawValue))
    put(Int64(value.modifier))
  }
  mutating func put(_ value: StoredExpression) { put(value.text) }
  mutating func put<T>(_ value: T?, _ body: (inout CatalogWriter, T) -> Void) {
    put(value != nil)
    if let value { body(&self, value) }
  }
  mutating func put<T>(_ values: [T], _ body: (inout CatalogWriter, T) -> Void) {
    writer.append(varint: UInt64(values.count))
    for value in values { body(&self, value) }
  }
  mutating func put(_ datum: Datum) {
    switch datum {
    case .null: writer.append(0 as UInt8)
    case .bool(let value): writer.append(1 as UInt8); put(value)
    case .int(let value): writer.append(2 as UInt8); put(value)
    case .double(let value): writer.append(3 as UInt8); writer.append(integer: value.bitPattern)
    case .numeric(let mantissa, let scale): writer.append(4 as UInt8); put(mantissa); put(scale)
    case .specialNumeric(let special): writer.append(5 as UInt8); writer.append(special.rawValue)
    case .bigNumeric(let bytes): writer.append(6 as UInt8); writer.append(lengthPrefixed: bytes)
    case .bytes(let bytes): writer.append(7 as UInt8); writer.append(lengthPrefixed: bytes)
    }
  }
}

/// Reads the fields of records from an array.
struct CatalogReader {
  let bytes: [UInt8]
  var offset = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  static func damaged(_ what: String) -> SQLError {
    SQLError(
      .dataCorrupted, "catalog record is damaged: \(what)",
      hint: "Run synod verify on the data directory; restore it from a backup or a replica.")
  }

  mutating func byte() throws(SQLError) -> UInt8 {
    guard offset < bytes.count else { throw Self.damaged("it ends at byte \(offset)") }
    defer { offset += 1 }
    return bytes[offset]
  }
  mutating func varint() throws(SQLError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let next = try byte()
      guard shift < 63 || next <= 1 else { throw Self.damaged("a number at byte \(offset) does not end") }
      value |= UInt64(next & 0x7f) << shift
      if next < 0x80 { return value }
      shift += 7
    }
  }
  mutating func int64() throws(SQLError) -> Int64 {
    let raw = try varint()
    return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
  }
  mutating func int() throws(SQLError) -> Int { Int(try int64()) }
  mutating func bool() throws(SQLError) -> Bool { try byte() != 0 }
  mutating func blob() throws(SQLError) -> [UInt8] {
    let count = try varint()
    guard count <= UInt64(bytes.count - offset) else { throw Self.damaged("\(count) bytes announced at \(offset)") }
    defer { offset += Int(count) }
    return Array(bytes[offset..<offset + Int(count)])
  }
  mutating func string() throws(SQLError) -> String { String(decoding: try blob(), as: UTF8.self) }
  mutating func id() throws(SQLError) -> ObjectID { ObjectID(UInt32(truncatingIfNeeded: try varint())) }
  mutating func type() throws(SQLError) -> SQLType {
    let id = TypeID(UInt32(truncatingIfNeeded: try varint()))
    return SQLType(id, modifier: Int32(truncatingIfNeeded: try int64()))
  }
  mutating func expression() throws(SQLError) -> StoredExpression { try StoredExpression(text: try string()) }
  mutating func optional<T>(_ body: (inout CatalogReader) throws(SQLError) -> T) throws(SQLError) -> T? {
    try bool() ? try body(&self) : nil
  }
  mutating func list<T>(_ body: (inout CatalogReader) throws(SQLError) -> T) throws(SQLError) -> [T] {
    let count = try varint()
    guard count <= UInt64(bytes.count - offset) else { throw Self.damaged("\(count) items announced at \(offset)") }
    var values: [T] = []
    for _ in 0..<count { values.append(try body(&self)) }
    return values
  }
  mutating func datum() throws(SQLError) -> Datum {
    switch try byte() {
    case 0: return .null
    case 1: return .bool(try bool())
    case 2: return .int(try int64())
    case 3:
      var bits: UInt64 = 0
      for shift in 0..<8 { bits |= UInt64(try byte()) << UInt64(8 * shift) }
      return .double(Double(bitPattern: bits))
    case 4: return .numeric(mantissa: try int64(), scale: try int())
    case 5:
      guard let special = NumericSpecial(rawValue: try byte()) else { throw Self.damaged("bad numeric") }
      return .specialNumeric(special)
    case 6: return .bigNumeric(try blob())
    case 7: return .bytes(try blob())
    default: throw Self.damaged("unknown kind of value at byte \(offset - 1)")
    }
  }
}

extension CatalogRecord {
  package static let formatVersion: UInt8 = 1

  /// The record's bytes.
  package func encoded() -> [UInt8] {
    var w = CatalogWriter()
    w.writer.append(Self.formatVersion)
    switch self {
    case .schema(let schema): schema.write(&w)
    case .table(let table): table.write(&w)
    case .index(let index): index.write(&w)
    case .view(let view): view.write(&w)
    case .sequence(let sequence): sequence.write(&w)
    case .role(let role): role.write(&w)
    }
    return w.writer.bytes
  }

  /// Reads a record of `kind`.
  ///
  /// - Throws: `dataCorrupted` for bytes that no version of this program wrote; `objectNotInState` for those of a later one.
  package init(_ kind: CatalogObjectKind, _ bytes: [UInt8]) throws(SQLError) {
    var r = CatalogReader(bytes)
    let version = try r.byte()
    guard version == Self.formatVersion else {
      throw SQLError(
        .objectNotInState, "catalog record has format version \(version), this program reads \(Self.formatVersion)",
        hint: "Open the database with the program that wrote it, or a later one.")
    }
    switch kind {
    case .schema: self = .schema(try SchemaDescriptor(&r))
    case .table: self = .table(try TableRecord(&r))
    case .index: self = .index(try IndexDescriptor(&r))
    case .view: self = .view(try ViewDescriptor(&r))
    case .sequence: self = .sequence(try SequenceDescriptor(&r))
    case .role: self = .role(try RoleDescriptor(&r))
    }
    guard r.offset == bytes.count else { throw CatalogReader.damaged("\(bytes.count - r.offset) bytes too many") }
  }
}
