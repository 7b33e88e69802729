package import Encoding

// Several cursors as one, in internal order: a binary heap of the sources that stand on an entry, smallest on top (largest
// when it runs backwards). The heap keeps each source's key as a pointer with its first eight bytes beside it, so that
// moving on compares without asking the sources. While one source keeps winning, a step costs two comparisons; a single
// source costs none.
//
// Changing direction puts every other source on the far side of the current entry first.

/// The union of sources. No two of them hold the same (key, version).
@safe
package final class MergingCursor<Source: InternalCursor>: InternalCursor {
  /// A source that stands on an entry.
  @unsafe private struct Head {
    var head: UInt64
    var key: UnsafeRawPointer?
    var keyCount: Int
    var version: Version
    var source: Int

    @inline(__always) var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: key, count: keyCount) }
  }

  private let sources: UnsafeMutableBufferPointer<Source>
  /// For each source a bound of the versions that it holds.
  private let newestVersions: [Version]
  private let heap: UnsafeMutablePointer<Head>
  @exclusivity(unchecked) private var heapCount = 0
  @exclusivity(unchecked) private var isForward = true

  /// - Parameter sources: each with a version that is at least as new as all of its entries.
  package init(_ sources: [(cursor: Source, newestVersion: Version)]) {
    unsafe self.sources = .allocate(capacity: max(sources.count, 1))
    for (index, source) in sources.enumerated() {
      unsafe (self.sources.baseAddress! + index).initialize(to: source.cursor)
    }
    count = sources.count
    newestVersions = sources.map(\.newestVersion)
    unsafe heap = .allocate(capacity: max(sources.count, 1))
  }

  private let count: Int

  deinit {
    unsafe sources.baseAddress!.deinitialize(count: count)
    unsafe sources.deallocate()
    unsafe heap.deallocate()
  }

  // MARK: The current entry

  @inline(__always) private var top: Int { unsafe count == 1 ? 0 : heap[0].source }

  @inline(__always) package var isValid: Bool { unsafe count == 1 ? sources[0].isValid : heapCount > 0 }
  @inline(__always) package var key: UnsafeRawBufferPointer { unsafe count == 1 ? sources[0].key : heap[0].bytes }
  @inline(__always) package var version: Version { unsafe count == 1 ? sources[0].version : heap[0].version }
  @inline(__always) package var kind: EntryKind { unsafe sources[top].kind }
  @inline(__always) package var value: UnsafeRawBufferPointer { unsafe sources[top].value }

  // MARK: Seeking

  package func seekToFirst() throws(StorageError) {
    unsafe heapCount = 0
    unsafe isForward = true
    for index in 0..<count { unsafe try sources[index].seekToFirst() }
    build()
  }

  package func seekToLast() throws(StorageError) {
    unsafe heapCount = 0
    unsafe isForward = false
    for index in 0..<count { unsafe try sources[index].seekToLast() }
    build()
  }

  package func seek(_ key: UnsafeRawBufferPointer, _ version: Version) throws(StorageError) {
    unsafe heapCount = 0
    unsafe isForward = true
    for index in 0..<count { unsafe try sources[index].seek(key, version) }
    build()
  }

  package func seekBefore(_ key: UnsafeRawBufferPointer) throws(StorageError) {
    unsafe heapCount = 0
    unsafe isForward = false
    for index in 0..<count { unsafe try sources[index].seekBefore(key) }
    build()
  }

  /// Passes over what a range deletion at `version` hides: sources that hold nothing newer go to `key` at once (before
  /// `key` when running backwards); the others stay. The direction stays.
  package func skip(to key: UnsafeRawBufferPointer, olderThan version: Version) throws(StorageError) {
    unsafe heapCount = 0
    for index in 0..<count where newestVersions[index] < version {
      guard unsafe sources[index].isValid else { continue }
      let order = unsafe compareKeys(sources[index].key, key)
      if unsafe isForward, order < 0 {
        unsafe try sources[index].seek(key, Version(UInt64.max))
      } else if unsafe !isForward, order >= 0 {
        unsafe try sources[index].seekBefore(key)
      }
    }
    build()
  }

  // MARK: Moving

  @inline(__always)
  package func next() throws(StorageError) {
    if unsafe !isForward { try turnForward() }
    if count == 1 { return unsafe try sources[0].next() }
    let source = unsafe heap[0].source
    do throws(StorageError) { unsafe try sources[source].next() } catch {
      unsafe heapCount = 0
      throw error
    }
    replaceTop()
  }

  @inline(__always)
  package func previous() throws(StorageError) {
    if unsafe isForward { try turnBackward() }
    if count == 1 { return unsafe try sources[0].previous() }
    let source = unsafe heap[0].source
    do throws(StorageError) { unsafe try sources[source].previous() } catch {
      unsafe heapCount = 0
      throw error
    }
    replaceTop()
  }

  @inline(never)
  private func turnForward() throws(StorageError) {
    unsafe isForward = true
    guard count > 1, unsafe heapCount > 0 else { return }
    let current = unsafe heap[0].source
    let key = unsafe Array(heap[0].bytes)
    let version = unsafe heap[0].version
    unsafe heapCount = 0
    for index in 0..<count where index != current {
      var failure: StorageError?
      unsafe key.withUnsafeBytes { key in
        do throws(StorageError) { unsafe try sources[index].seek(key, version) } catch { failure = error }
      }
      if let failure { throw failure }
    }
    build()
  }

  @inline(never)
  private func turnBackward() throws(StorageError) {
    unsafe isForward = false
    guard count > 1, unsafe heapCount > 0 else { return }
    let current = unsafe heap[0].source
    let key = unsafe Array(heap[0].bytes)
    let version = unsafe heap[0].version
    unsafe heapCount = 0
    for index in 0..<count where index != current {
      var failure: StorageError?
      unsafe key.withUnsafeBytes { key in
        do throws(StorageError) {
          unsafe try sources[index].seek(key, version)
          if unsafe sources[index].isValid {
            unsafe try sources[index].previous()
          } else {
            unsafe try sources[index].seekToLast()
          }
        } catch { failure = error }
      }
      if let failure { throw failure }
    }
    build()
  }

  // MARK: Many at once

  package func giveBlocks(to batch: RowBatch) {
    for index in 0..<count { unsafe sources[index].giveBlocks(to: batch) }
  }

  /// See `InternalCursor.collect`. Afterwards only `sourceKey` and `next` mean something.
  package func collect(
    into batch: RowBatch, before limit: UnsafeRawBufferPointer?, at snapshot: Version
  ) throws(StorageError) -> Bool {
    if unsafe !isForward { try turnForward() }
    if count == 1 { return unsafe try sources[0].collect(into: batch, before: limit, at: snapshot) }
    let source = unsafe heap[0].source
    if unsafe source != winner {
      unsafe winner = source
      unsafe wins = 0
    }
    unsafe wins &+= 1
    // A run costs a search for its end: where sources take turns there is none.
    guard unsafe wins > 2 else { return unsafe sources[source].lookAtOne(into: batch, at: snapshot) }
    var end = unsafe limit
    if unsafe heapCount > 1 {
      let second = unsafe heapCount > 2 && isBefore(heap[2], heap[1]) ? 2 : 1
      let key = unsafe heap[second].bytes
      // The rest of the current key is in another source.
      if unsafe compareKeys(heap[0].bytes, key) == 0 {
        return unsafe sources[source].lookAtOne(into: batch, at: snapshot)
      }
      let isNearer = unsafe limit.map { unsafe compareKeys(key, $0) < 0 } ?? true
      if isNearer { unsafe end = unsafe key }
    }
    do throws(StorageError) { return unsafe try sources[source].collect(into: batch, before: end, at: snapshot) } catch
    {
      unsafe heapCount = 0
      throw error
    }
  }

  /// The key of the current entry, also after `collect`.
  @inline(__always) var sourceKey: UnsafeRawBufferPointer { unsafe sources[top].key }
  /// The source that `collect` met last, and how often in a row.
  @exclusivity(unchecked) private var winner = -1
  @exclusivity(unchecked) private var wins = 0

  // MARK: The heap

  @inline(__always)
  private func load(_ source: Int) -> Head {
    let key = unsafe sources[source].key
    return unsafe Head(
      head: keyHead(key), key: key.baseAddress, keyCount: key.count, version: sources[source].version, source: source)
  }

  /// Whether `a` belongs above `b`.
  @inline(__always)
  private func isBefore(_ a: Head, _ b: Head) -> Bool {
    if unsafe a.head != b.head { return unsafe (a.head < b.head) == isForward }
    var order = unsafe compareKeys(a.bytes, b.bytes)
    if order == 0 { order = unsafe a.version > b.version ? -1 : 1 }
    return unsafe (order < 0) == isForward
  }

  private func build() {
    unsafe heapCount = 0
    if count == 1 { return }
    for index in 0..<count where unsafe sources[index].isValid {
      var place = unsafe heapCount
      unsafe heapCount += 1
      let item = unsafe load(index)
      while place > 0 {
        let parent = (place - 1) / 2
        guard unsafe isBefore(item, heap[parent]) else { break }
        unsafe heap[place] = unsafe heap[parent]
        place = parent
      }
      unsafe heap[place] = unsafe item
    }
  }

  /// The source on top has moved: finds its new place.
  @inline(__always)
  private func replaceTop() {
    let source = unsafe heap[0].source
    var item: Head
    if unsafe sources[source].isValid {
      unsafe item = load(source)
    } else {
      unsafe heapCount &-= 1
      guard unsafe heapCount > 0 else { return }
      unsafe item = heap[heapCount]
    }
    var place = 0
    while true {
      var child = 2 &* place &+ 1
      guard unsafe child < heapCount else { break }
      if unsafe child &+ 1 < heapCount && isBefore(heap[child &+ 1], heap[child]) { child &+= 1 }
      guard unsafe isBefore(heap[child], item) else { break }
      unsafe heap[place] = unsafe heap[child]
      place = child
    }
    unsafe heap[place] = unsafe item
  }
}
