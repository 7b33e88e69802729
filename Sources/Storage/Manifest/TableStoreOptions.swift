package import Encoding

/// How a store of tables is set up. The defaults suit a server; tests shrink everything.
package struct TableStoreOptions: Sendable {
  package var table = TableOptions()
  /// The strict budget of cached blocks, indexes and filters, and of what open tables hold.
  package var blockCacheSizeBytes = 256 << 20
  package var compaction = CompactionOptions()
  /// A manifest longer than this, and than four times its state, is replaced.
  package var manifestRotationSizeBytes: UInt64 = 1 << 20
  /// The horizon of garbage collection: for each key the newest version at or below it is kept, and every version above.
  /// Asked when a compaction begins; no snapshot below what it returned may be taken later.
  package var horizon: @Sendable () -> Version = { .zero }
  /// Called after every change of the set, on the thread that made it, without a lock.
  package var onInstall: @Sendable () -> Void = {}
  /// How those who write tables make way for those who commit; nil: not at all.
  package var pace: Pace?
  /// Compact on a thread of the store; otherwise only when asked.
  package var background = false
  /// A bug put in on purpose; nil outside tests.
  package var mutation: StorageMutation? {
    get { table.mutation }
    set { table.mutation = newValue }
  }

  package init() {}
}

/// When levels are compacted into the next.
package struct CompactionOptions: Hashable, Sendable {
  /// Sublevels of level 0 (runs that a read has to look at) that start a compaction.
  package var level0Sublevels = 4
  /// Tables of level 0 that start one, however few runs they form.
  package var level0Tables = 64
  /// The smallest size that the level into which level 0 is compacted is aimed at.
  package var baseLevelSizeBytes: UInt64 = 256 << 20
  /// How much larger each level is than the one before.
  package var ratio: UInt64 = 10
  /// A table is cut when it overlaps this many times its own target size of the level two below.
  package var overlapTables: UInt64 = 10
  /// A compaction's inputs, in bytes, above which no more are added.
  package var maximumInputSizeBytes: UInt64 = 1 << 30
  /// A table at the bottom is rewritten when this share of its entries, in percent, is garbage that can go.
  package var garbagePercent: UInt64 = 25
  /// How long a background compaction that failed waits before it tries again.
  package var retryNanoseconds: UInt64 = 1_000_000_000

  package init() {}
}
