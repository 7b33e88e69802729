package import Encoding

/// A cursor over a run: its tables one after the other, each opened when it is reached; range deletions are left aside.
package final class LevelCursor: InternalCursor {
  package let run: TableRun
  private let minimumVersion: Version
  private let maximumVersion: Version
  private let fillsCache: Bool
  @exclusivity(unchecked) private var position = -1
  @exclusivity(unchecked) private var cursor: TableCursor?
  @exclusivity(unchecked) private var hasEntry = false
  @exclusivity(unchecked) private var batch: RowBatch?

  package init(
    _ run: TableRun, minimumVersion: Version = .zero, maximumVersion: Version = Version(UInt64.max),
    fillsCache: Bool = true
  ) {
    self.run = run
    self.minimumVersion = minimumVersion
    self.maximumVersion = maximumVersion
    self.fillsCache = fillsCache
  }

  package var isValid: Bool { unsafe hasEntry }
  package var key: UnsafeRawBufferPointer { unsafe cursor.unsafelyUnwrapped.key }
  package var version: Version { unsafe cursor.unsafelyUnwrapped.version }
  package var kind: EntryKind { unsafe cursor.unsafelyUnwrapped.kind }
  package var value: UnsafeRawBufferPointer { unsafe cursor.unsafelyUnwrapped.value }

  package func seekToFirst() throws(StorageError) {
    unsafe hasEntry = false
    try enter(0)
    guard let cursor = unsafe cursor else { return }
    try cursor.seekToFirst()
    try goOn()
  }

  package func seekToLast() throws(StorageError) {
    unsafe hasEntry = false
    try enter(run.count - 1)
    guard let cursor = unsafe cursor else { return }
    try cursor.seekToLast()
    try goBack()
  }

  package func seek(_ key: UnsafeRawBufferPointer, _ version: Version) throws(StorageError) {
    unsafe hasEntry = false
    try enter(unsafe run.firstIndex(reaching: key))
    guard let cursor = unsafe cursor else { return }
    unsafe try cursor.seek(key, version)
    try goOn()
  }

  package func seekBefore(_ key: UnsafeRawBufferPointer) throws(StorageError) {
    unsafe hasEntry = false
    let reaching = unsafe run.firstIndex(reaching: key)
    try enter(reaching < run.count ? reaching : run.count - 1)
    guard let cursor = unsafe cursor else { return }
    unsafe try cursor.seekBefore(key)
    try goBack()
  }

  @inline(__always)
  package func next() throws(StorageError) {
    let cursor = unsafe cursor.unsafelyUnwrapped
    unsafe hasEntry = false
    try cursor.next()
    if unsafe cursor.isValid { unsafe hasEntry = true } else { try goOn() }
  }

  @inline(__always)
  package func previous() throws(StorageError) {
    let cursor = unsafe cursor.unsafelyUnwrapped
    unsafe hasEntry = false
    try cursor.previous()
    if unsafe cursor.isValid { unsafe hasEntry = true } else { try goBack() }
  }

  package func giveBlocks(to batch: RowBatch) {
    unsafe self.batch = batch
    unsafe cursor?.giveBlocks(to: batch)
  }

  package func collect(
    into batch: RowBatch, before limit: UnsafeRawBufferPointer?, at snapshot: Version
  ) throws(StorageError) -> Bool {
    unsafe hasEntry = false
    // Called on an entry, which is a table's cursor's.
    let isDecided = unsafe try cursor.unsafelyUnwrapped.collect(into: batch, before: limit, at: snapshot)
    unsafe hasEntry = true
    return isDecided
  }

  /// Makes table `index` the current one, or none.
  private func enter(_ index: Int) throws(StorageError) {
    guard index >= 0, index < run.count else {
      unsafe cursor?.surrenderBlock()
      unsafe position = -1
      unsafe cursor = nil
      return
    }
    if unsafe index == position && cursor != nil { return }
    unsafe cursor?.surrenderBlock()
    unsafe position = index
    unsafe cursor = TableCursor(
      run.tables[index], minimumVersion: minimumVersion, maximumVersion: maximumVersion, fillsCache: fillsCache)
    if let batch = unsafe batch { unsafe cursor?.giveBlocks(to: batch) }
  }

  /// On to the next table with an entry, where the current one has no more.
  private func goOn() throws(StorageError) {
    while let cursor = unsafe cursor {
      if unsafe cursor.isValid {
        unsafe hasEntry = true
        return
      }
      try unsafe enter(position + 1)
      try unsafe self.cursor?.seekToFirst()
    }
  }

  private func goBack() throws(StorageError) {
    while let cursor = unsafe cursor {
      if unsafe cursor.isValid {
        unsafe hasEntry = true
        return
      }
      try unsafe enter(position - 1)
      try unsafe self.cursor?.seekToLast()
    }
  }
}
