/// How tables are cut. Every size can be made tiny, so that tests reach all edges with a handful of entries.
package struct TableOptions: Hashable, Sendable {
  /// Entries in a data block before the next begins, bytes before compression.
  package var blockSizeBytes = 16 << 10
  /// An index leaf's size before the next begins; each leaf has its own filter.
  package var indexBlockSizeBytes = 16 << 10
  /// Every so many entries a data block holds a whole key.
  package var restartInterval = 16
  /// Bits of the Bloom filter a key; 0 for none.
  package var bloomBitsPerKey = 10
  package var compresses = true
  /// A flush or compaction begins a new table at this many bytes on disk.
  package var tableSizeBytes = 64 << 20

  package init() {}
}
