package import Encoding
package import Platform

/// Writes one table, front to back (format: `TableFormat.swift`).
///
/// One thread. After `finish` the file's bytes are durable; its name is so only after `syncDirectory`, which is the
/// caller's. After an error the file is worthless: `abandon`.
///
/// The file goes to the device in small steps, with rests between them while others commit, and is synced every few. A commit
/// waits for whatever the device is doing at that moment, and its own sync for all that the device has to make durable: a
/// whole table at once was a stall of up to 0.8 s (docs/decisions/0111-tables-are-synced-in-steps.md,
/// 0118-background-writes-are-paced.md).
package final class TableBuilder {
  package let path: String
  package let number: UInt64
  private let disk: any Disk
  private let file: any DiskFile
  private let options: TableOptions
  private let pace: Pace?

  private var data: BlockBuilder
  private var leaf = BlockBuilder(restartInterval: 1)
  private var root = BlockBuilder(restartInterval: 1)
  private var metadata = TableMetadata()
  private var rangeDeletions: [RangeDeletionBuilder.OwnedFragment] = []

  /// Not written yet; `written` bytes are in the file before it.
  private var output = ByteWriter()
  private var written: UInt64 = 0
  /// Of these, what was written since the last sync.
  private var unsyncedSizeBytes = 0
  private var block = ByteWriter()
  private var scratch = ByteWriter()
  /// The hash of every block so far, in file order.
  private var blockHashes = ByteWriter()
  private var keyHashes: [UInt64] = []

  private var lastKey: [UInt8] = []
  private var lastVersion: UInt64 = 0
  /// Whether the filter of the current leaf has `lastKey`.
  private var isLastKeyInFilter = false
  /// The finished data block whose separator waits for the next key.
  private var waiting: IndexEntry?

  private struct IndexEntry {
    var handle: BlockHandle
    var minimumVersion: UInt64
    var maximumVersion: UInt64
    var isLarge: Bool
  }

  /// Creates the file.
  package init(
    disk: any Disk, path: String, number: UInt64, options: TableOptions, pace: Pace? = nil
  ) throws(StorageError) {
    self.disk = disk
    self.path = path
    self.number = number
    self.options = options
    self.pace = pace
    data = BlockBuilder(restartInterval: options.restartInterval)
    do throws(DiskError) { file = try disk.open(path, .create) } catch { throw .disk(error) }
    metadata.number = number
  }

  /// Nothing was added yet.
  package var isEmpty: Bool { metadata.entryCount == 0 && rangeDeletions.isEmpty }

  /// About the size of the file if it were finished now.
  package var estimatedSizeBytes: Int {
    Int(written) + output.count + data.estimatedSizeBytes + leaf.estimatedSizeBytes
  }

  /// Adds an entry; entries come in internal order.
  package func add(
    _ key: UnsafeRawBufferPointer, _ version: Version, _ kind: EntryKind, _ value: UnsafeRawBufferPointer
  ) throws(StorageError) {
    precondition(key.count <= WriteBatch.maximumKeySizeBytes && value.count <= WriteBatch.maximumValueSizeBytes)
    let order = metadata.entryCount == 0 ? -1 : unsafe lastKey.withUnsafeBytes { unsafe compareKeys($0, key) }
    guard order < 0 || (order == 0 && version.rawValue < lastVersion) else {
      // A compaction of tables that were made wrongly must not make more of them.
      throw .corruption(
        .init(path: path, offset: written, what: "new table (its entries come out of order)", expected: 0, found: 0))
    }
    if order != 0 { isLastKeyInFilter = false }
    // A value that fills blocks by itself gets one of its own: whoever looks for its neighbours must not read it.
    if !data.isEmpty && (data.estimatedSizeBytes >= options.blockSizeBytes || value.count >= options.blockSizeBytes) {
      try finishDataBlock()
    }
    if let entry = waiting { unsafe try addToIndex(entry, before: key) }
    if !isLastKeyInFilter { unsafe addToFilter(key, version) }
    unsafe data.add(key, version: version.rawValue, isDelete: kind == .delete, value: value)
    unsafe note(key, version, kind, value, isOlderVersion: order == 0)
  }

  /// Adds a fragment of range deletions; fragments come in key order and are disjoint.
  package func add(_ fragment: RangeDeletionBuilder.OwnedFragment) {
    precondition(!fragment.versions.isEmpty && compareKeyArrays(fragment.start, fragment.end) < 0)
    rangeDeletions.append(fragment)
    metadata.rangeDeletionCount += UInt64(fragment.versions.count)
    for version in fragment.versions {
      metadata.minimumVersion = min(metadata.minimumVersion, version)
      metadata.maximumVersion = max(metadata.maximumVersion, version)
    }
    metadata.garbageCount += UInt64(fragment.versions.count)
    metadata.garbageVersion = max(metadata.garbageVersion, fragment.versions[0])
  }

  /// Removes the file, as far as that is possible.
  package func abandon() {
    file.close()
    try? disk.remove(path)
  }

  /// Writes what is left and makes the file's bytes durable.
  package func finish() throws(StorageError) -> TableMetadata {
    precondition(!isEmpty)
    if !data.isEmpty { try finishDataBlock() }
    if let entry = waiting { try addLastToIndex(entry) }
    if !leaf.isEmpty { try finishLeaf() }
    var footer = TableFooter(
      root: .none, properties: .none, rangeTombstones: .none, tableNumber: number, fileHash: 0, fileSizeBytes: 0)
    finishBounds()
    if !rangeDeletions.isEmpty {
      block.removeAll()
      RangeDeletionBlock.encode(rangeDeletions, into: &block)
      footer.rangeTombstones = try writeBlock()
    }
    block.removeAll()
    metadata.encode(into: &block)
    footer.properties = try writeBlock()
    block.removeAll()
    root.finish(into: &block)
    footer.root = try writeBlock()
    footer.fileHash = xxh3(blockHashes.bytes)
    footer.fileSizeBytes = written + UInt64(output.count + TableFormat.footerSizeBytes)
    metadata.fileHash = footer.fileHash
    metadata.sizeBytes = footer.fileSizeBytes
    output.append(footer.encode())
    try writeOutput()
    do throws(DiskError) { try file.sync() } catch { throw .disk(error) }
    file.close()
    return metadata
  }

  // MARK: Entries

  private func addToFilter(_ key: UnsafeRawBufferPointer, _ version: Version) {
    isLastKeyInFilter = true
    let seed = options.mutation == .filterOnVersion ? version.rawValue : 0
    if options.bloomBitsPerKey > 0 { unsafe keyHashes.append(xxh3(key, seed: seed)) }
  }

  private func note(
    _ key: UnsafeRawBufferPointer, _ version: Version, _ kind: EntryKind, _ value: UnsafeRawBufferPointer,
    isOlderVersion: Bool
  ) {
    metadata.entryCount += 1
    metadata.minimumVersion = min(metadata.minimumVersion, version)
    metadata.maximumVersion = max(metadata.maximumVersion, version)
    metadata.keySizeBytes += UInt64(key.count)
    metadata.valueSizeBytes += UInt64(value.count)
    if isOlderVersion {
      // Shadowed by the version before it: droppable once the horizon has reached that one.
      metadata.garbageCount += 1
      metadata.garbageVersion = max(metadata.garbageVersion, Version(lastVersion))
    }
    if kind == .delete {
      metadata.deleteCount += 1
      if !isOlderVersion {
        metadata.garbageCount += 1
        metadata.garbageVersion = max(metadata.garbageVersion, version)
      }
    }
    if metadata.entryCount == 1 { metadata.lower = unsafe Array(key) }
    let shared = isOlderVersion ? key.count : 0
    unsafe lastKey.replace(with: key, keeping: shared)
    lastVersion = version.rawValue
  }

  private func finishBounds() {
    metadata.upper = lastKey
    guard let first = rangeDeletions.first, let last = rangeDeletions.last else { return }
    if metadata.entryCount == 0 {
      metadata.lower = first.start
      metadata.upper = last.end
      metadata.upperIsExclusive = true
      return
    }
    if compareKeyArrays(first.start, metadata.lower) < 0 { metadata.lower = first.start }
    if compareKeyArrays(last.end, metadata.upper) > 0 {
      metadata.upper = last.end
      metadata.upperIsExclusive = true
    }
  }

  // MARK: Blocks

  private func finishDataBlock() throws(StorageError) {
    let (low, high) = (data.minimumVersion, data.maximumVersion)
    let isLarge = data.estimatedSizeBytes >= 2 * options.blockSizeBytes
    block.removeAll()
    data.finish(into: &block)
    waiting = IndexEntry(handle: try writeBlock(), minimumVersion: low, maximumVersion: high, isLarge: isLarge)
  }

  /// Adds the waiting block to the leaf, under a separator that is shorter than its last key where that is possible.
  private func addToIndex(_ entry: IndexEntry, before key: UnsafeRawBufferPointer) throws(StorageError) {
    // Who looks for what is between a large block and the next is sent past it: there nothing is shortened.
    let separator = entry.isLarge ? nil : unsafe Self.separator(between: lastKey, and: key)
    if let separator {
      addToLeaf(entry, separator, version: 0)
    } else {
      addToLeaf(entry, lastKey, version: lastVersion)
    }
    if leaf.estimatedSizeBytes >= options.indexBlockSizeBytes {
      try finishLeaf(lastSeparator: separator ?? lastKey, version: separator == nil ? lastVersion : 0)
    }
  }

  private func addLastToIndex(_ entry: IndexEntry) throws(StorageError) {
    addToLeaf(entry, lastKey, version: lastVersion)
  }

  private func addToLeaf(_ entry: IndexEntry, _ separator: [UInt8], version: UInt64) {
    waiting = nil
    scratch.removeAll()
    scratch.append(handle: entry.handle)
    scratch.append(integer: entry.minimumVersion)
    scratch.append(integer: entry.maximumVersion)
    leafMinimum = min(leafMinimum, entry.minimumVersion)
    leafMaximum = max(leafMaximum, entry.maximumVersion)
    unsafe separator.withUnsafeBytes { key in
      unsafe scratch.bytes.withUnsafeBytes { unsafe leaf.add(key, version: version, isDelete: false, value: $0) }
    }
  }

  private var leafMinimum = UInt64.max
  private var leafMaximum: UInt64 = 0

  private func finishLeaf() throws(StorageError) { try finishLeaf(lastSeparator: lastKey, version: lastVersion) }

  private func finishLeaf(lastSeparator: [UInt8], version: UInt64) throws(StorageError) {
    block.removeAll()
    BloomFilter.build(hashes: keyHashes, bitsPerKey: options.bloomBitsPerKey, into: &block)
    keyHashes.removeAll(keepingCapacity: true)
    isLastKeyInFilter = false
    let filter = try writeBlock(mayCompress: false)
    block.removeAll()
    leaf.finish(into: &block)
    let handle = try writeBlock()
    scratch.removeAll()
    scratch.append(handle: handle)
    scratch.append(integer: leafMinimum)
    scratch.append(integer: leafMaximum)
    scratch.append(handle: filter)
    leafMinimum = UInt64.max
    leafMaximum = 0
    unsafe lastSeparator.withUnsafeBytes { key in
      unsafe scratch.bytes.withUnsafeBytes { unsafe root.add(key, version: version, isDelete: false, value: $0) }
    }
  }

  /// A key at or after every version of `last` and before every version of `next` that is shorter than `last`, or nil.
  static func separator(between last: [UInt8], and next: UnsafeRawBufferPointer) -> [UInt8]? {
    let shared = unsafe last.withUnsafeBytes { last in
      let count = min(last.count, next.count)
      return count == 0 ? 0 : unsafe commonLength(last.baseAddress!, next.baseAddress!, count)
    }
    // One byte more than they share is after `last`, and before `next` if `next` has yet more.
    guard shared + 1 < next.count, shared + 1 < last.count else { return nil }
    return unsafe Array(next[...shared])
  }

  /// Appends `block` to the file, compressed where that gains a tenth.
  private func writeBlock(mayCompress: Bool = true) throws(StorageError) -> BlockHandle {
    let start = output.count
    let size = block.count
    var codec = TableFormat.codecRaw
    if mayCompress && options.compresses && size > 64 {
      let room = size - size / 10
      output.bytes.append(contentsOf: repeatElement(0, count: room))
      let written = unsafe output.bytes.withUnsafeMutableBytes { all in
        unsafe block.bytes.withUnsafeBytes { source in
          unsafe LZ4Codec.compress(source, into: UnsafeMutableRawBufferPointer(rebasing: all[start..<start + room]))
        }
      }
      output.bytes.removeLast(room - (written ?? 0))
      if written != nil { codec = TableFormat.codecLZ4 }
    }
    if codec == TableFormat.codecRaw { output.append(block.bytes) }
    output.append(codec)
    output.append(integer: UInt32(size))
    let hash = unsafe output.bytes.withUnsafeBytes { unsafe xxh3(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    output.append(integer: hash)
    blockHashes.append(integer: hash)
    let handle = BlockHandle(
      offset: written + UInt64(start), sizeBytes: UInt32(output.count - start), hash: hash)
    if output.count >= options.writeStepSizeBytes { try writeOutput() }
    pace?.makeWay()
    return handle
  }

  private func writeOutput() throws(StorageError) {
    do throws(DiskError) {
      // In steps: one block may be as long as the longest value.
      var start = 0
      while start < output.count {
        let began = LinuxClock().bootNanoseconds
        let end = min(output.count, start + options.writeStepSizeBytes)
        try write(start..<end)
        start = end
        pace?.rest(after: LinuxClock().bootNanoseconds &- began)
      }
    } catch { throw .disk(error) }
    output.removeAll()
    if output.bytes.capacity > 16 << 20 { output = ByteWriter() }
  }

  /// Writes one step.
  private func write(_ part: Range<Int>) throws(DiskError) {
    var failure: DiskError?
    unsafe output.bytes.withUnsafeBytes { bytes in
      do throws(DiskError) {
        unsafe try file.write(UnsafeRawBufferPointer(rebasing: bytes[part]), at: written)
      } catch { failure = error }
    }
    if let failure { throw failure }
    let end = written + UInt64(part.count)
    // Whole pages: what follows goes into the last one.
    try file.writeOut(written & ~4095..<end & ~4095)
    written = end
    unsyncedSizeBytes += part.count
    guard unsyncedSizeBytes >= options.syncStepSizeBytes else { return }
    try file.sync()
    unsyncedSizeBytes = 0
  }
}
