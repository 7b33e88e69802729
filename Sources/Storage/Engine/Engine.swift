package import Encoding
package import Platform

/// The multi-version store: memtables above levels of tables, written by one thread in log order, read by any number.
package final class Engine: Sendable {
  package static func open(
    _ directory: String, disk: any Disk, options: EngineOptions = EngineOptions()
  ) throws(StorageError) -> Engine {
    preconditionFailure("lands next")
  }

  /// Everything up to this slot and version is in tables: the log is replayed after it.
  package var flushedPosition: (slot: Slot, version: Version) { preconditionFailure("lands next") }

  // MARK: Writing: one thread at a time, in log order

  /// Inserts a group of transactions, versions `firstVersion` and up, in the encoding of a TXN_GROUP payload. A slot that
  /// is flushed already is skipped. Nothing is visible before `publish`.
  ///
  /// After an error the engine refuses every later write, so that no part of a group can become visible; `full` is the
  /// exception: nothing was inserted, and the same call may be made again.
  package func apply(
    slot: Slot, firstVersion: Version, transactionCount: Int, payload: UnsafeRawBufferPointer
  ) throws(StorageError) { preconditionFailure("lands next") }

  /// Makes everything up to `version` visible (release); whole groups only, versions never go back.
  package func publish(_ version: Version) { preconditionFailure("lands next") }

  /// The newest version that reads may use (acquire).
  package var visibleVersion: Version { preconditionFailure("lands next") }

  // MARK: Reading: any thread

  /// The value of `key` in the snapshot `at`, or nil when it is absent or deleted. The bytes are valid until `pin` is used
  /// again or reset.
  package func get(
    _ key: UnsafeRawBufferPointer, at snapshot: Version, _ pin: inout ReadPin
  ) throws(StorageError) -> UnsafeRawBufferPointer? { preconditionFailure("lands next") }

  /// The newest version after `floor` that put or deleted `key` (range deletions included), or nil when there is none.
  /// Sees what was applied, published or not. Costs little when nothing newer than `floor` can exist.
  package func newestVersion(
    of key: UnsafeRawBufferPointer, after floor: Version = .zero, _ pin: inout ReadPin
  ) throws(StorageError) -> Version? { preconditionFailure("lands next") }

  /// A cursor over the keys of `range` that exist in the snapshot `at`; before the first until `next()`. The snapshot must
  /// be retained for as long as the cursor is used.
  package func makeCursor(
    _ range: KeyRange, at snapshot: Version, direction: Direction = .forward
  ) throws(StorageError) -> EngineCursor { preconditionFailure("lands next") }

  /// Calls `body` for every version in `after < version <= upTo` that wrote (put, deleted, range-deleted) a key of
  /// `range`, until it returns false; in no particular order, a version as often as it wrote. For a range deletion the
  /// key is the first of the interval that it shares with `range`.
  package func forEachVersion(
    in range: KeyRange, after: Version, upTo: Version, _ body: (UnsafeRawBufferPointer, Version) -> Bool
  ) throws(StorageError) { preconditionFailure("lands next") }

  // MARK: Snapshots and garbage

  /// Takes the newest snapshot and holds it: atomic with respect to garbage collection. A few nanoseconds, no lock.
  package func retainVisible() -> SnapshotHold { preconditionFailure("lands next") }

  /// Holds the snapshot `version`, if everything that it shows is still kept.
  package func retain(snapshot version: Version) throws(StorageError) -> SnapshotHold {
    preconditionFailure("lands next")
  }

  /// Ends a hold; exactly once for each.
  package func release(_ hold: SnapshotHold) { preconditionFailure("lands next") }

  /// Retention: versions above it are kept even if no snapshot needs them (time travel). Starts at `Version.latest`: no
  /// retention beyond the snapshots.
  package var garbageFloor: Version {
    get { preconditionFailure("lands next") }
    set { preconditionFailure("lands next") }
  }

  // MARK: Lifecycle

  /// Moves everything published into tables; returns when they are durable.
  package func flush() throws(StorageError) { preconditionFailure("lands next") }

  /// Flushes, and merges all tables into the last level.
  package func compact() throws(StorageError) { preconditionFailure("lands next") }

  /// Ends the background work, without flushing: the log has what the tables lack. Idempotent. Cursors and pins may still
  /// be ended afterwards, but not used.
  package func close() { preconditionFailure("lands next") }

  package var statistics: EngineStatistics { preconditionFailure("lands next") }

  /// How long the sequencer should wait before the next group, in nanoseconds, so that flush and compaction keep up:
  /// 0 in the good case.
  package func writePressure() -> UInt64 { preconditionFailure("lands next") }

  /// Reads every byte of every table and returns what is wrong. `progress` is called with the bytes done and to do.
  package func verify(_ progress: (UInt64, UInt64) -> Void = { _, _ in }) throws(StorageError) -> [Damage] {
    preconditionFailure("lands next")
  }
}

/// Which way a cursor goes.
package enum Direction: Sendable {
  case forward, reverse
}

/// A snapshot that is held against garbage collection, from `Engine.retain…` to `Engine.release(_:)`.
package struct SnapshotHold: Sendable {
  package let version: Version
  let place: Int32
}

/// What a reader keeps between reads, so that the next one finds it: the state of the engine that it last saw, and the
/// block that its last answer lies in. Empty when made; `reset()` when the transaction ends, else it keeps memtables and
/// tables alive that the engine has done with. One thread at a time.
package struct ReadPin {
  package init() {}

  /// Lets go of everything.
  package mutating func reset() {}
}

/// The visible keys and values of a range in one snapshot. One thread at a time.
package final class EngineCursor {
  init() {}

  /// Moves to the next key (the previous one for a reverse cursor), or returns false at the end.
  package func next() throws(StorageError) -> Bool { preconditionFailure("lands next") }

  /// Makes the next `next()` return the first key at or after `key` (for a reverse cursor: at or before it). Never goes
  /// back over what was passed.
  package func seek(to key: UnsafeRawBufferPointer) throws(StorageError) { preconditionFailure("lands next") }

  /// The key and the value; valid after `next()` returned true, until the next call.
  package var key: UnsafeRawBufferPointer { preconditionFailure("lands next") }
  package var value: UnsafeRawBufferPointer { preconditionFailure("lands next") }
  /// The version that wrote the value.
  package var version: Version { preconditionFailure("lands next") }
}
