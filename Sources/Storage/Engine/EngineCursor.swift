package import Encoding

/// What an engine's cursor merges.
enum EngineSource: InternalCursor {
  case memtable(MemtableCursor)
  case level(LevelCursor)

  @inline(__always) mutating func seekToFirst() throws(StorageError) {
    switch self {
    case .memtable(let cursor): cursor.seekToFirst()
    case .level(let cursor): try cursor.seekToFirst()
    }
  }

  @inline(__always) mutating func seekToLast() throws(StorageError) {
    switch self {
    case .memtable(let cursor): cursor.seekToLast()
    case .level(let cursor): try cursor.seekToLast()
    }
  }

  @inline(__always) mutating func seek(_ key: UnsafeRawBufferPointer, _ version: Version) throws(StorageError) {
    switch self {
    case .memtable(let cursor): unsafe cursor.seek(key, version)
    case .level(let cursor): unsafe try cursor.seek(key, version)
    }
  }

  @inline(__always) mutating func seekBefore(_ key: UnsafeRawBufferPointer) throws(StorageError) {
    switch self {
    case .memtable(let cursor): unsafe cursor.seekBefore(key)
    case .level(let cursor): unsafe try cursor.seekBefore(key)
    }
  }

  @inline(__always) mutating func next() throws(StorageError) {
    switch self {
    case .memtable(let cursor): cursor.next()
    case .level(let cursor): try cursor.next()
    }
  }

  @inline(__always) mutating func previous() throws(StorageError) {
    switch self {
    case .memtable(let cursor): cursor.previous()
    case .level(let cursor): try cursor.previous()
    }
  }

  @inline(__always) var isValid: Bool {
    switch self {
    case .memtable(let cursor): cursor.isValid
    case .level(let cursor): cursor.isValid
    }
  }

  @inline(__always) var key: UnsafeRawBufferPointer {
    switch self {
    case .memtable(let cursor): unsafe cursor.key
    case .level(let cursor): unsafe cursor.key
    }
  }

  @inline(__always) var version: Version {
    switch self {
    case .memtable(let cursor): cursor.version
    case .level(let cursor): cursor.version
    }
  }

  @inline(__always) var kind: EntryKind {
    switch self {
    case .memtable(let cursor): cursor.kind
    case .level(let cursor): cursor.kind
    }
  }

  @inline(__always) var value: UnsafeRawBufferPointer {
    switch self {
    case .memtable(let cursor): unsafe cursor.value
    case .level(let cursor): unsafe cursor.value
    }
  }
}

extension EngineSource {
  mutating func giveBlocks(to batch: RowBatch) {
    switch self {
    case .memtable: break
    case .level(let cursor): cursor.giveBlocks(to: batch)
    }
  }

  mutating func collect(
    into batch: RowBatch, before limit: UnsafeRawBufferPointer?, at snapshot: Version
  ) throws(StorageError) -> Bool {
    switch self {
    case .memtable(let cursor): unsafe cursor.collect(into: batch, before: limit, at: snapshot)
    case .level(let cursor): unsafe try cursor.collect(into: batch, before: limit, at: snapshot)
    }
  }
}

/// Which way a cursor goes.
package enum Direction: Sendable {
  case forward, reverse
}

/// The visible keys and values of a range in one snapshot. One thread at a time.
@safe
package final class EngineCursor {
  private let cursor: VisibleCursor<EngineSource>
  /// Keeps memtables and tables.
  private let holder: ReadStateHolder

  init(_ cursor: VisibleCursor<EngineSource>, _ holder: ReadStateHolder) {
    self.cursor = cursor
    self.holder = holder
  }

  /// Moves to the next key (the previous one for a reverse cursor), or returns false at the end. After an error the
  /// cursor is at its end.
  package func next() throws(StorageError) -> Bool { try cursor.next() }

  /// Moves on by up to `limit` keys and leaves them in `batch`, always the same one; its `count` is 0 at the end, and only
  /// there. Use either this or `next()`.
  package func next(into batch: RowBatch, atMost limit: Int, withKeys: Bool) throws(StorageError) {
    batch.begin(limit, withKeys: withKeys)
    try cursor.next(into: batch)
  }

  /// Makes the next `next()` return the first key at or after `key` (for a reverse cursor: at or before it). Never goes
  /// back over what was passed.
  package func seek(to key: UnsafeRawBufferPointer) throws(StorageError) { unsafe try cursor.seek(to: key) }

  /// The key and the value; valid after `next()` returned true, until the next call.
  package var key: UnsafeRawBufferPointer { unsafe cursor.key }
  package var value: UnsafeRawBufferPointer { unsafe cursor.value }
  /// The version that wrote the value.
  package var version: Version { cursor.version }
}
