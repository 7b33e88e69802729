package import Encoding

// The order of everything in the store ("internal order"):
//
//   1. by key: bytes as memcmp has it, a proper prefix first;
//   2. among the entries of one key, the newest version first.
//
// A store holds at most one entry for a (key, version). Range deletions are not entries: they travel beside the cursors
// as `RangeDeletions` and hide every entry in their interval whose version is *smaller* than theirs; an entry of the same
// version wins, because a transaction's range deletion that follows its put turns that put into a deletion when the group
// is applied (see `Memtable`).

/// What an entry says about its key.
@frozen
package enum EntryKind: UInt8, Sendable {
  case put = 1
  case delete = 2
}

/// A position among entries in internal order, moving both ways.
///
/// 1. A new cursor is not valid; `seek…` makes it so, or leaves it invalid when there is no such entry.
/// 2. `next` and `previous` need a valid cursor, and leave it invalid when they pass the last or first entry; a cursor
///    that became invalid must be sought again.
/// 3. `key` and `value` need a valid cursor. Their memory is the cursor's, until it moves or ends.
/// 4. A cursor that threw is invalid until it is sought again.
/// 5. One thread at a time.
package protocol InternalCursor {
  mutating func seekToFirst() throws(StorageError)
  mutating func seekToLast() throws(StorageError)
  /// The first entry at or after (key, version): the newest version of `key` that is not newer than `version`, else the
  /// newest version of the next key.
  mutating func seek(_ key: UnsafeRawBufferPointer, _ version: Version) throws(StorageError)
  /// The last entry of a key smaller than `key`.
  mutating func seekBefore(_ key: UnsafeRawBufferPointer) throws(StorageError)
  mutating func next() throws(StorageError)
  mutating func previous() throws(StorageError)
  var isValid: Bool { get }
  var key: UnsafeRawBufferPointer { get }
  var version: Version { get }
  var kind: EntryKind { get }
  /// The value of a put; empty for a deletion.
  var value: UnsafeRawBufferPointer { get }

  /// Blocks that the cursor leaves from now on go to `batch` (see `RowBatch`, 1).
  mutating func giveBlocks(to batch: RowBatch)
  /// Looks at the current entry, and at as many after it as come cheaply and before `limit` (nil: no limit), which the
  /// current one does: adds those to `batch` that show in `snapshot`, until it is full. Stands then on the last entry that
  /// it looked at. Nothing of the current entry's key has been looked at before.
  ///
  /// - Returns: whether the key of that last entry is decided; it is not if all of its entries so far are newer than
  ///   `snapshot`.
  mutating func collect(
    into batch: RowBatch, before limit: UnsafeRawBufferPointer?, at snapshot: Version
  ) throws(StorageError) -> Bool
}

extension InternalCursor {
  package mutating func giveBlocks(to batch: RowBatch) {}

  package mutating func collect(
    into batch: RowBatch, before limit: UnsafeRawBufferPointer?, at snapshot: Version
  ) throws(StorageError) -> Bool {
    lookAtOne(into: batch, at: snapshot)
  }

  /// `collect` of the current entry alone.
  @inline(__always)
  func lookAtOne(into batch: RowBatch, at snapshot: Version) -> Bool {
    guard version <= snapshot else { return false }
    if kind == .put { unsafe batch.add(key, value) }
    return true
  }
}

/// Entries that do not show, one after the other, after which `collect` ends: its caller may want to seek.
let collectPatience = 32

/// The first eight bytes of `key` as a number that orders as the bytes do, missing ones as zero: unequal heads decide a
/// comparison, equal ones do not.
@inline(__always)
package func keyHead(_ key: UnsafeRawBufferPointer) -> UInt64 {
  if key.count >= 8 { return unsafe UInt64(bigEndian: key.loadUnaligned(as: UInt64.self)) }
  var head: UInt64 = 0
  for index in 0..<key.count { head |= unsafe UInt64(key[index]) << UInt64(56 - 8 * index) }
  return head
}
