internal import Encoding
package import Storage

// Where everything that SQL stores lies in the engine's ordered key space.
//
//   first byte   what follows                                         value
//   01           the user's own key (`Database.put`), as it is        the user's bytes
//   02 00        –                                                    the catalog's version, u64 big endian
//   02 01        object kind, u8 · object id, u32 big endian          the object's record (CatalogCodec)
//   02 02        object id, u32 · sub-object, u32 (0: the object)     comment, UTF-8
//   02 03        kind, u8 · object id, u32 · sub-object, u32          access list (AccessList)
//   03           storage id, u32 big endian · row or index key        a row (RowCodec), or what is said below
//   04           object id, u32 big endian                            sequence state (SequenceStore)
//   05           table id, u32 big endian                             statistics (TableStatistics)
//   06           1 · i64, or 2 · i32 · i32, big endian                advisory locks: keys that are only locked
//   07           outcomes of transactions (Outcomes.swift)
//   08…FF        reserved
//
// Rows:     03 · storage id of the table · the primary key's columns, memory-comparable, each in its direction
//           (or, in a table without a primary key, a row id: i64, memory-comparable) → the row.
// Indexes:  03 · storage id of the index · the index's columns · the row's key (the part after the table's prefix)
//           → u16 little endian: how many bytes of the key's end are the row's key.
//           A unique index whose columns hold no null (or with NULLS NOT DISTINCT) leaves the row's key out of the
//           entry's key, so that equal values collide there → u16 0 · the row's key.
//
// 1. An object's id is never used again, not even after a rollback.
// 2. A scan of a table or index is one key interval: `03 · storage id` is a fixed-width prefix that no other relation
//    shares.
// 3. A storage id belongs to one relation for ever; a relation that is rewritten or truncated gets a new one, so old
//    snapshots read the old rows through the old catalog.
// 4. Raw keys and SQL never meet: they differ in their first byte.

/// The spaces of keys; see the head of the file.
package enum KeySpace {
  package static let user: UInt8 = 1
  package static let catalog: UInt8 = 2
  package static let relation: UInt8 = 3
  package static let sequence: UInt8 = 4
  package static let statistics: UInt8 = 5
  static let advisory: UInt8 = 6

  /// The key that holds the catalog's version; every DDL transaction writes it.
  package static let catalogVersion: [UInt8] = [catalog, 0]
  /// All records of catalog objects.
  package static let catalogObjects = KeyRange(lower: [catalog, 1], upper: [catalog, 2])
  /// All comments.
  package static let comments = KeyRange(lower: [catalog, 2], upper: [catalog, 3])

  /// All access lists.
  package static let accessLists = KeyRange(lower: [catalog, 3], upper: [catalog, 4])

  package static func object(_ kind: CatalogObjectKind, _ id: ObjectID) -> [UInt8] {
    [catalog, 1, kind.rawValue] + bigEndian(id.rawValue)
  }
  package static func comment(_ id: ObjectID, _ subobject: Int) -> [UInt8] {
    [catalog, 2] + bigEndian(id.rawValue) + bigEndian(UInt32(truncatingIfNeeded: subobject))
  }
  static func access(_ kind: UInt8, _ id: ObjectID, _ sub: UInt32) -> [UInt8] {
    [catalog, 3, kind] + bigEndian(id.rawValue) + bigEndian(sub)
  }
  package static func sequence(_ id: ObjectID) -> [UInt8] { [sequence] + bigEndian(id.rawValue) }
  package static func statistics(_ id: ObjectID) -> [UInt8] { [statistics] + bigEndian(id.rawValue) }

  /// What every key of the relation stored at `storage` starts with: `prefixLength` bytes.
  package static func prefix(_ storage: ObjectID) -> [UInt8] { [relation] + bigEndian(storage.rawValue) }
  package static let prefixLength = 5
  /// Every key of the relation stored at `storage`.
  package static func range(_ storage: ObjectID) -> KeyRange {
    let prefix = prefix(storage)
    return KeyRange(lower: prefix, upper: keyAfterPrefix(prefix))
  }

  private static func bigEndian(_ value: UInt32) -> [UInt8] {
    [
      UInt8(truncatingIfNeeded: value >> 24), UInt8(truncatingIfNeeded: value >> 16),
      UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value),
    ]
  }
}
