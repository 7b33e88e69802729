package import Encoding

/// How an engine is set up. The defaults suit a server with a few GiB; tests shrink everything.
package struct EngineOptions: Sendable {
  /// What a memtable holds before it is flushed.
  package var memtableSizeBytes = 64 << 20
  /// A memtable is flushed, too, when the log has grown by this since it was begun: small commits take a block of the log
  /// each, which would otherwise grow to many times what the memtable holds.
  package var flushAfterLogBytes: UInt64 = 128 << 20
  /// The same where the log grew by four times what the memtable holds, or more: then what is kept is mostly padding, and
  /// a short log needs few new files (docs/decisions/0140-segments-by-need.md).
  package var flushAfterPaddedLogBytes: UInt64 = 32 << 20
  /// How far into the log a slot is, in bytes from any fixed place: what was written since if the slot is new, where its record
  /// lies if it is replayed; 0 where that is not known.
  package var logSizeBytes: @Sendable (Slot) -> UInt64 = { _ in 0 }
  /// Full memtables that may wait for the flush before `writePressure` asks for delays; twice as many stop writes.
  package var waitingMemtables = 2
  /// The strict budget of cached blocks, indexes and filters.
  package var blockCacheSizeBytes = 256 << 20
  /// How tables are written.
  package var tables = TableOptions()
  /// When levels are compacted.
  package var compaction = CompactionOptions()
  /// How long a flush that failed waits before it is tried again.
  package var flushRetryNanoseconds: UInt64 = 500_000_000
  /// Called before tables that hold data up to a slot become part of the database: returns when the log is durable
  /// that far.
  package var ensureDurable: @Sendable (Slot) throws -> Void = { _ in }
  /// Called after a flush: the log may forget everything up to the slot.
  package var onFlush: @Sendable (Slot) -> Void = { _ in }
  /// Flush and compact on threads of the engine; otherwise only when asked (deterministic tests).
  package var background = true

  package init() {}
}

/// What the engine is doing, for people and tests.
package struct EngineStatistics: Hashable, Sendable {
  /// Entries and bytes in the memtable that takes writes.
  package var memtableEntries = 0
  package var memtableSizeBytes = 0
  /// Full memtables that wait for the flush.
  package var waitingMemtables = 0
  /// Flushes since the engine was opened.
  package var flushes = 0
  /// Tables and their bytes, by level.
  package var tablesPerLevel: [Int] = []
  package var tableSizeBytesPerLevel: [UInt64] = []
  /// Sorted runs that a read may have to look at.
  package var runs = 0
  /// Compactions since the engine was opened.
  package var compaction = CompactionStatistics()
  /// Why the last flush failed, until one succeeds.
  package var flushFailure: StorageError?
  /// Snapshots that are held, and the oldest.
  package var snapshots = 0
  package var oldestSnapshot: Version = .zero

  package init() {}
}

/// Damage that `Engine.verify` found.
package struct Damage: Hashable, Sendable, CustomStringConvertible {
  package var path: String
  /// Bytes from the start of the file; nil when the whole file is meant.
  package var offset: UInt64?
  package var message: String

  package init(path: String, offset: UInt64?, message: String) {
    self.path = path
    self.offset = offset
    self.message = message
  }

  package var description: String { "\(path)\(offset.map { " at offset \($0)" } ?? ""): \(message)" }
}
