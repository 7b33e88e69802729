/// How tables are cut. Every size can be made tiny, so that tests reach all edges with a handful of entries.
package struct TableOptions: Hashable, Sendable {
  /// Entries in a data block before the next begins, bytes before compression. What a point read of a large database costs is
  /// mostly the reading of one block (docs/decisions/0162-blocks-of-four-kibibytes.md).
  package var blockSizeBytes = 4 << 10
  /// An index leaf's size before the next begins; each leaf has its own filter.
  package var indexBlockSizeBytes = 16 << 10
  /// Every so many entries a data block holds a whole key.
  package var restartInterval = 16
  /// Bits of the Bloom filter a key; 0 for none.
  package var bloomBitsPerKey = 10
  package var compresses = true
  /// A flush or compaction begins a new table at this many bytes on disk.
  package var tableSizeBytes = 64 << 20
  /// What is handed to the device at a time.
  package var writeStepSizeBytes = 256 << 10
  /// A table that is being written is synced whenever this much of it is not.
  package var syncStepSizeBytes = 2 << 20

  /// A bug put in on purpose, for tests of the tests; nil outside them.
  package var mutation: StorageMutation?

  package init() {}
}

/// Bugs that tests put in to see themselves fail (the classic ones of multi-version LSM trees).
package enum StorageMutation: Hashable, Sendable {
  /// A deletion is dropped although an older version of its key lies in a deeper level.
  case droppedDeletion
  /// A range deletion that spans several tables is cut at the end of the first, and its rest is lost.
  case lostRangeDeletionRest
  /// The Bloom filter holds key and version.
  case filterOnVersion
  /// The folder of tables is not synced before the manifest names a new one.
  case missingSyncDirectory
  /// Garbage collection keeps the newest version only, whatever snapshots need.
  case horizonIgnored
  /// The inputs of a compaction are removed before the edit is durable.
  case inputsRemovedEarly
}
