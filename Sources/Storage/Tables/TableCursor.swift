package import Encoding
internal import Glibc

// A cursor keeps three places: an entry of the root (the leaf), one of the leaf (the data block), one of the data block.
// Leaf and data block are pinned by references of the cursor's own, so that it may stand as long as it likes.
//
// Going back within a block decodes again from the restart before: entries know where the next one begins, not the last.

/// A cursor over one table's entries; range deletions are left aside.
///
/// Blocks that hold no version of `minimumVersion ... maximumVersion` are passed over unread: so a snapshot skips what is
/// newer than it, and a search for recent writes what is older. (Single entries are not filtered.)
@safe
package final class TableCursor: @unsafe InternalCursor {
  private let table: Table
  private let fillsCache: Bool
  /// For those who read whole tables.
  private let ahead: ReadAhead?
  private let minimumVersion: UInt64
  private let maximumVersion: UInt64

  @exclusivity(unchecked) private var rootIndex = 0
  @exclusivity(unchecked) private var leafIndex = 0
  @exclusivity(unchecked) private var leafPin = BlockPin()
  @exclusivity(unchecked) private var leaf: BlockView
  @exclusivity(unchecked) private var leafOffset: UInt64 = 0
  @exclusivity(unchecked) private var dataPin = BlockPin()
  @exclusivity(unchecked) private var data: BlockView
  @exclusivity(unchecked) private var dataOffset: UInt64 = 0
  /// The current entry and where it begins.
  @exclusivity(unchecked) private var entry = BlockEntry.damaged
  @exclusivity(unchecked) private var entryOffset = 0
  @exclusivity(unchecked) private var keyBytes: UnsafeMutableRawPointer
  @exclusivity(unchecked) private var keyCapacity = 256
  @exclusivity(unchecked) private var keyCount = 0
  @exclusivity(unchecked) package private(set) var isValid = false
  @exclusivity(unchecked) private var batch: RowBatch?

  package init(
    _ table: Table, minimumVersion: Version = .zero, maximumVersion: Version = Version(UInt64.max),
    fillsCache: Bool = true
  ) {
    self.table = table
    self.fillsCache = fillsCache
    ahead = fillsCache ? nil : ReadAhead()
    self.minimumVersion = minimumVersion.rawValue
    self.maximumVersion = maximumVersion.rawValue
    unsafe leaf = .empty
    unsafe data = .empty
    unsafe keyBytes = .allocate(byteCount: 256, alignment: 16)
  }

  deinit { unsafe keyBytes.deallocate() }

  package var key: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: keyBytes, count: keyCount) }
  package var version: Version { unsafe Version(entry.version) }
  package var kind: EntryKind { unsafe entry.isDelete ? .delete : .put }
  package var value: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: data.base + entry.valueOffset, count: entry.valueLength)
  }

  // MARK: Moving

  package func seekToFirst() throws(StorageError) {
    unsafe isValid = false
    unsafe rootIndex = -1
    unsafe leaf = .empty
    unsafe leafIndex = 0
    try enterNextBlock()
  }

  package func seekToLast() throws(StorageError) {
    unsafe isValid = false
    unsafe rootIndex = unsafe table.root.restartCount
    unsafe leafIndex = 0
    try enterPreviousBlock()
  }

  package func seek(_ key: UnsafeRawBufferPointer, _ version: Version) throws(StorageError) {
    unsafe isValid = false
    unsafe rootIndex = unsafe table.root.restartsBefore(key, version.rawValue)
    guard unsafe rootIndex >= 0 else { throw rootDamage }
    guard unsafe rootIndex < table.root.restartCount else { return }
    guard try loadLeaf() else {
      unsafe leaf = .empty
      unsafe leafIndex = 0
      return try enterNextBlock()
    }
    unsafe leafIndex = unsafe leaf.restartsBefore(key, version.rawValue)
    guard unsafe leafIndex >= 0 else { throw leafDamage }
    guard unsafe leafIndex < leaf.restartCount, try loadData() else { return try enterNextBlock() }
    unsafe try seekInBlock(key, version.rawValue)
  }

  package func seekBefore(_ key: UnsafeRawBufferPointer) throws(StorageError) {
    unsafe try seek(key, Version(UInt64.max))
    if unsafe isValid { try previous() } else { try seekToLast() }
  }

  @inline(__always)
  package func next() throws(StorageError) {
    if unsafe entry.next < data.entriesEnd {
      try unsafe step(to: entry.next)
    } else {
      try enterNextBlock()
    }
  }

  package func previous() throws(StorageError) {
    guard unsafe entryOffset > 0 else { return try enterPreviousBlock() }
    // The last restart before the entry.
    let end = unsafe entryOffset
    var low = 0
    var high = unsafe data.restartCount
    while low < high {
      let middle = (low + high) / 2
      if unsafe data.restartOffset(middle) < end { low = middle + 1 } else { high = middle }
    }
    guard low > 0 else { throw dataDamage }
    unsafe keyCount = 0
    try step(to: unsafe data.restartOffset(low - 1))
    while unsafe entry.next < end { try unsafe step(to: entry.next) }
    guard unsafe entry.next == end else { throw dataDamage }
  }

  /// Makes the entry at `offset` the current one; the key so far is the one before it (or of no length, at a restart).
  @inline(__always)
  private func step(to offset: Int) throws(StorageError) {
    let found = unsafe data.entry(at: offset)
    let count = found.shared &+ found.unshared
    guard found.next >= 0, unsafe found.shared <= keyCount else { throw dataDamage }
    if unsafe count > keyCapacity { growKey(to: count, keeping: found.shared) }
    let source = unsafe data.base + found.keyOffset
    let target = unsafe keyBytes + found.shared
    if found.unshared <= 16, unsafe found.keyOffset &+ 16 <= data.entriesEnd, unsafe found.shared &+ 16 <= keyCapacity {
      // Two words instead of a call; the bytes beyond the key are overwritten by the next one.
      unsafe target.storeBytes(of: source.loadUnaligned(as: UInt64.self), as: UInt64.self)
      unsafe (target + 8).storeBytes(of: (source + 8).loadUnaligned(as: UInt64.self), as: UInt64.self)
    } else {
      unsafe target.copyMemory(from: source, byteCount: found.unshared)
    }
    unsafe keyCount = count
    unsafe entry = found
    unsafe entryOffset = offset
    unsafe isValid = true
  }

  @inline(never)
  private func growKey(to count: Int, keeping kept: Int) {
    let capacity = unsafe max(count + 16, 2 * keyCapacity)
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    unsafe bytes.copyMemory(from: keyBytes, byteCount: kept)
    unsafe keyBytes.deallocate()
    unsafe keyBytes = unsafe bytes
    unsafe keyCapacity = capacity
  }

  private func seekInBlock(_ key: UnsafeRawBufferPointer, _ version: UInt64) throws(StorageError) {
    let before = unsafe data.restartsBefore(key, version)
    guard before >= 0 else { throw dataDamage }
    unsafe keyCount = 0
    try step(to: before == 0 ? 0 : unsafe data.restartOffset(before - 1))
    while true {
      let order = unsafe compareKeys(self.key, key)
      if unsafe order > 0 || (order == 0 && entry.version <= version) { return }
      guard unsafe entry.next < data.entriesEnd else {
        unsafe isValid = false
        return try enterNextBlock()
      }
      try unsafe step(to: entry.next)
    }
  }

  // MARK: Many at once

  package func giveBlocks(to batch: RowBatch) { unsafe self.batch = batch }

  /// Gives the data block away, which is about to be left.
  func surrenderBlock() {
    if let batch = unsafe batch { unsafe batch.keep(&dataPin) }
  }

  package func collect(
    into batch: RowBatch, before limit: UnsafeRawBufferPointer?, at snapshot: Version
  ) throws(StorageError) -> Bool {
    let data = unsafe data
    var end = unsafe data.entriesEnd
    if let limit = unsafe limit {
      end = unsafe data.firstOffset(notBefore: limit)
      guard end >= 0 else { throw dataDamage }
    }
    var current = unsafe entry
    var offset = unsafe entryOffset
    var count = unsafe keyCount
    var isDecided = false
    var hidden = 0
    while true {
      if !isDecided && current.version <= snapshot.rawValue {
        isDecided = true
        hidden = 0
        if !current.isDelete {
          unsafe batch.add(
            UnsafeRawBufferPointer(start: keyBytes, count: count),
            UnsafeRawBufferPointer(start: data.base + current.valueOffset, count: current.valueLength))
        }
      } else {
        hidden &+= 1
      }
      guard current.next < end, hidden < collectPatience, !batch.isFull else { break }
      let found = unsafe data.entry(at: current.next)
      guard found.next >= 0, found.shared <= count else { throw dataDamage }
      let length = found.shared &+ found.unshared
      let source = unsafe data.base + found.keyOffset
      // Entries share all that they can, but for restarts.
      let isSameKey =
        unsafe length == count
        && (found.unshared == 0 || (found.shared == 0 && memcmp(source, keyBytes, length) == 0))
      if !isSameKey {
        isDecided = false
        if unsafe length > keyCapacity { growKey(to: length, keeping: found.shared) }
        let target = unsafe keyBytes + found.shared
        if found.unshared <= 16, unsafe found.keyOffset &+ 16 <= data.entriesEnd,
          unsafe found.shared &+ 16 <= keyCapacity
        {
          unsafe target.storeBytes(of: source.loadUnaligned(as: UInt64.self), as: UInt64.self)
          unsafe (target + 8).storeBytes(of: (source + 8).loadUnaligned(as: UInt64.self), as: UInt64.self)
        } else {
          unsafe target.copyMemory(from: source, byteCount: found.unshared)
        }
        count = length
      }
      offset = current.next
      current = found
    }
    unsafe entry = current
    unsafe entryOffset = offset
    unsafe keyCount = count
    return isDecided
  }

  // MARK: Blocks

  /// To the first entry of the next block that may matter; invalid where there is none.
  private func enterNextBlock() throws(StorageError) {
    unsafe isValid = false
    while true {
      unsafe leafIndex += 1
      while unsafe leafIndex >= leaf.restartCount {
        unsafe rootIndex += 1
        guard unsafe rootIndex < table.root.restartCount else { return }
        unsafe leafIndex = 0
        if try !loadLeaf() { unsafe leaf = .empty }
      }
      guard try loadData() else { continue }
      unsafe keyCount = 0
      return try step(to: 0)
    }
  }

  /// To the last entry of the block before that may matter; invalid where there is none.
  private func enterPreviousBlock() throws(StorageError) {
    unsafe isValid = false
    while true {
      unsafe leafIndex -= 1
      while unsafe leafIndex < 0 {
        unsafe rootIndex -= 1
        guard unsafe rootIndex >= 0 else { return }
        guard try loadLeaf() else { continue }
        unsafe leafIndex = unsafe leaf.restartCount - 1
      }
      guard try loadData() else { continue }
      unsafe keyCount = 0
      guard unsafe data.restartCount > 0 else { throw dataDamage }
      try step(to: unsafe data.restartOffset(data.restartCount - 1))
      while unsafe entry.next < data.entriesEnd { try unsafe step(to: entry.next) }
      return
    }
  }

  private func mayMatter(_ child: Table.Child) -> Bool {
    child.minimumVersion <= maximumVersion && child.maximumVersion >= minimumVersion
  }

  /// Loads the leaf of `rootIndex`; false where nothing in it can matter.
  private func loadLeaf() throws(StorageError) -> Bool {
    let child = unsafe try table.child(
      table.root, table.root.entry(at: table.root.restartOffset(rootIndex)), ofRoot: true)
    guard mayMatter(child) else { return false }
    unsafe leafPin = try table.pinned(child.handle, .leaf, fillsCache: fillsCache)
    unsafe leaf = try view(leafPin, child.handle, .leaf)
    unsafe leafOffset = child.handle.offset
    return true
  }

  /// Loads the data block of `leafIndex`; false where nothing in it can matter.
  private func loadData() throws(StorageError) -> Bool {
    let child = unsafe try table.child(leaf, leaf.entry(at: leaf.restartOffset(leafIndex)), ofRoot: false)
    guard mayMatter(child) else { return false }
    surrenderBlock()
    if let ahead, let raw = unsafe ahead.bytes(of: child.handle, in: table.reader) {
      unsafe dataPin = unsafe BlockPin(owning: try table.reader.unpack(raw, child.handle, BlockKind.data.name))
    } else {
      unsafe dataPin = try table.pinned(child.handle, .data, fillsCache: fillsCache)
    }
    unsafe data = try view(dataPin, child.handle, .data)
    unsafe dataOffset = child.handle.offset
    guard unsafe data.restartCount > 0 else { throw dataDamage }
    return true
  }

  private func view(
    _ pin: borrowing BlockPin, _ handle: BlockHandle, _ kind: BlockKind
  ) throws(StorageError) -> BlockView {
    let block = unsafe pin.block.unsafelyUnwrapped
    guard let view = unsafe BlockView(block.bytes, count: block.pointee.sizeBytes) else {
      throw table.reader.damage(handle.offset, "\(kind.name) (its arrays do not fit)")
    }
    return unsafe view
  }

  /// The cursor stands nowhere after damage.
  private var dataDamage: StorageError {
    unsafe isValid = false
    return unsafe table.reader.damage(dataOffset, "data block (its entries make no sense)")
  }
  private var leafDamage: StorageError {
    unsafe isValid = false
    return unsafe table.reader.damage(leafOffset, "index leaf (its entries make no sense)")
  }
  private var rootDamage: StorageError {
    unsafe isValid = false
    return table.reader.damage(table.footer.root.offset, "root block (its entries make no sense)")
  }
}
