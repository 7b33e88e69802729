package import Encoding
internal import Glibc

// What a snapshot shows of entries in internal order. For each key the first entry that is not newer than the snapshot
// decides: a put shows unless a range deletion of a larger version (not newer than the snapshot) covers it; a deletion shows
// nothing.
//
//      k@9 put   k@7 delete   k@4 put   m@8 put          snapshot 8: k is deleted, m shows
//      ^ newer   ^ decides
//
// Forward, the versions of a key come newest first, so the deciding entry is met before the older ones, which are then passed
// over. Backward they come oldest first: the last one met that is not newer than the snapshot decides, and its value is
// copied because the cursor has to leave it to learn that it was the last.
//
// Long chains of versions and long deleted spans are passed by seeking: after `patience` steps of one kind.

/// The visible keys of a range in one snapshot.
@safe
package final class VisibleCursor<Base: InternalCursor> {
  /// Steps over hidden entries before it seeks.
  private let patience = 8

  private let base: MergingCursor<Base>
  private let snapshot: Version
  private let isForward: Bool
  private let lower: [UInt8]
  private let upper: OwnedBytes?
  @exclusivity(unchecked) private var deletions: RangeDeletionProbe
  private let hasDeletions: Bool

  /// The key that was decided last.
  @exclusivity(unchecked) private var lastKey = OwnedBytes()
  /// Backward: the value of the current key, copied.
  @exclusivity(unchecked) private var lastValue = OwnedBytes()
  @exclusivity(unchecked) private var lastVersion = Version.zero
  @exclusivity(unchecked) private var state = State.new

  private enum State {
    /// Nothing was sought yet.
    case new
    /// The base stands where the search for the next key goes on.
    case positioned
    /// Forward: the base stands on the entry that `next` returned.
    case onEntry
    case ended
  }

  package init(
    _ base: MergingCursor<Base>, _ deletions: [RangeDeletions], _ range: KeyRange, at snapshot: Version,
    _ direction: Direction
  ) {
    self.base = base
    self.snapshot = snapshot
    isForward = direction == .forward
    lower = range.lower
    upper = range.upper.map { OwnedBytes($0) }
    unsafe self.deletions = RangeDeletionProbe(deletions, snapshot)
    hasDeletions = !deletions.isEmpty
    if range.isEmpty { unsafe state = .ended }
  }

  // MARK: The current key; valid after `next` returned true

  @inline(__always) package var key: UnsafeRawBufferPointer { unsafe lastKey.bytes }
  @inline(__always) package var value: UnsafeRawBufferPointer { unsafe isForward ? base.value : lastValue.bytes }
  @inline(__always) package var version: Version { unsafe isForward ? base.version : lastVersion }

  /// Moves to the next visible key in the cursor's direction; false at the end.
  @inline(__always)
  package func next() throws(StorageError) -> Bool { try isForward ? nextForward() : nextBackward() }

  /// Makes `next` return the first key at or after `key` (backward: at or before). Never goes back.
  package func seek(to key: UnsafeRawBufferPointer) throws(StorageError) {
    if case .ended = unsafe state { return }
    if isForward {
      if case .new = unsafe state {
        if unsafe lower.withUnsafeBytes({ unsafe compareKeys(key, $0) }) <= 0 { return }
      } else if unsafe compareKeys(key, lastKey.bytes) <= 0 {
        return
      }
      unsafe state = .ended
      // Nothing before it is gone back to, also when the next call is another seek.
      unsafe lastKey.assign(key)
      unsafe try base.seek(key, snapshot)
    } else {
      if case .new = unsafe state {
        if let upper, unsafe compareKeys(key, upper.bytes) >= 0 { return }
      } else if unsafe compareKeys(key, lastKey.bytes) >= 0 {
        return
      }
      unsafe state = .ended
      unsafe lastKey.assign(key)
      // The first key after `key` is `key` and a zero byte.
      let after = unsafe OwnedBytes(Array(key) + [0])
      unsafe try base.seekBefore(after.bytes)
    }
    unsafe state = .positioned
  }

  // MARK: Forward

  @inline(__always)
  private func nextForward() throws(StorageError) -> Bool {
    switch unsafe state {
    case .onEntry:
      unsafe state = .ended
      try base.next()
      try passOlderVersions()
    case .positioned: break
    case .ended: return false
    case .new:
      unsafe state = .ended
      try seekLower()
    }
    unsafe state = .ended
    var newer = 0
    while base.isValid {
      let key = unsafe base.key
      if let upper, unsafe compareKeys(key, upper.bytes) >= 0 { return false }
      if base.version > snapshot {
        newer += 1
        if newer > patience {
          newer = 0
          unsafe lastKey.assign(key)
          unsafe try base.seek(lastKey.bytes, snapshot)
        } else {
          try base.next()
        }
        continue
      }
      newer = 0
      unsafe lastKey.assign(key)
      if base.kind == .put {
        if !hasDeletions { return show() }
        let deleted = unsafe deletions.newestVersion(covering: lastKey.bytes)
        if deleted <= base.version { return show() }
        unsafe hiddenByRange += 1
        if unsafe hiddenByRange > patience, let end = unsafe deletions.interval(of: deleted)?.end {
          unsafe hiddenByRange = 0
          unsafe try base.skip(to: end, olderThan: deleted)
          // A source with newer entries may stand on this key still.
          try passOlderVersions()
          continue
        }
      }
      try base.next()
      try passOlderVersions()
    }
    return false
  }

  @exclusivity(unchecked) private var hiddenByRange = 0

  @inline(__always)
  private func show() -> Bool {
    unsafe state = .onEntry
    return true
  }

  private func seekLower() throws(StorageError) {
    let lower = OwnedBytes(self.lower)
    unsafe try base.seek(lower.bytes, snapshot)
  }

  /// Passes the entries of the key that is decided.
  @inline(__always)
  private func passOlderVersions() throws(StorageError) {
    var steps = 0
    while base.isValid, unsafe lastKey.isEqual(base.key) {
      steps += 1
      if steps > patience {
        unsafe try base.seek(lastKey.bytes, .zero)
        if base.isValid, unsafe lastKey.isEqual(base.key) { try base.next() }
        return
      }
      try base.next()
    }
  }

  // MARK: Many at once

  /// Moves on by as many visible keys as `batch` has begun to take, and leaves them in it; by none at the end. Use either
  /// this or `next`. Where keys come backwards, or range deletions must be asked about each, it is one key at a time.
  package func next(into batch: RowBatch) throws(StorageError) {
    guard isForward, !hasDeletions else {
      if try next() { unsafe batch.add(key, value) }
      return
    }
    if unsafe batch !== attached {
      unsafe attached = batch
      base.giveBlocks(to: batch)
    }
    switch unsafe state {
    case .onEntry:
      unsafe state = .ended
      try base.next()
      try passOlderVersions()
    case .positioned: break
    case .ended: return
    case .new:
      unsafe state = .ended
      try seekLower()
    }
    unsafe state = .ended
    while base.isValid {
      if let upper, unsafe compareKeys(base.key, upper.bytes) >= 0 { return }
      if unsafe try base.collect(into: batch, before: upper?.bytes, at: snapshot) {
        unsafe lastKey.assign(base.sourceKey)
        unsafe newer = 0
        if batch.isFull { return unsafe state = .onEntry }
        try base.next()
        try passOlderVersions()
      } else if unsafe newerInARow(base.sourceKey) {
        unsafe try base.seek(lastKey.bytes, snapshot)
      } else {
        try base.next()
      }
    }
  }

  /// Notes a key that has only newer entries so far; true when a seek past them is due, to what is `lastKey` then.
  private func newerInARow(_ key: UnsafeRawBufferPointer) -> Bool {
    unsafe newer += 1
    guard unsafe newer > patience else { return false }
    unsafe newer = 0
    unsafe lastKey.assign(key)
    return true
  }
  @exclusivity(unchecked) private var newer = 0
  /// The batch that gets the blocks that the base leaves.
  @exclusivity(unchecked) private var attached: RowBatch?

  // MARK: Backward

  private func nextBackward() throws(StorageError) -> Bool {
    switch unsafe state {
    case .positioned, .onEntry: break
    case .ended: return false
    case .new:
      unsafe state = .ended
      if let upper { unsafe try base.seekBefore(upper.bytes) } else { try base.seekToLast() }
    }
    unsafe state = .ended
    while base.isValid {
      unsafe lastKey.assign(base.key)
      if unsafe lower.withUnsafeBytes({ unsafe compareKeys(lastKey.bytes, $0) }) < 0 { return false }
      let decision = try decideBackward()
      guard decision == .put else { continue }
      if hasDeletions {
        let deleted = unsafe deletions.newestVersion(covering: lastKey.bytes)
        if unsafe deleted > lastVersion {
          unsafe hiddenByRange += 1
          if unsafe hiddenByRange > patience, let start = unsafe deletions.interval(of: deleted)?.start {
            unsafe hiddenByRange = 0
            unsafe try base.skip(to: start, olderThan: deleted)
          }
          continue
        }
      }
      unsafe state = .positioned
      return true
    }
    return false
  }

  /// Walks over the entries of `lastKey`, from the oldest, and keeps what decides; leaves the base before them all.
  private func decideBackward() throws(StorageError) -> EntryKind? {
    var decision: EntryKind?
    var steps = 0
    while base.isValid, unsafe lastKey.isEqual(base.key) {
      if base.version > snapshot {
        // Only newer ones from here on.
        if steps > patience {
          unsafe try base.seekBefore(lastKey.bytes)
          return decision
        }
      } else if steps > patience {
        unsafe try base.seek(lastKey.bytes, snapshot)
        if base.isValid, unsafe lastKey.isEqual(base.key) {
          decision = keep()
        }
        unsafe try base.seekBefore(lastKey.bytes)
        return decision
      } else {
        decision = keep()
      }
      steps += 1
      try base.previous()
    }
    return decision
  }

  private func keep() -> EntryKind {
    let kind = base.kind
    unsafe lastVersion = base.version
    if kind == .put { unsafe lastValue.assign(base.value) }
    return kind
  }
}
