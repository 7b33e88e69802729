package import Encoding

// Reading: any thread, no lock in the common case.

extension Engine {
  /// The value of `key` in the snapshot `at`, or nil when it is absent or deleted. The bytes are valid until `pin` is used
  /// again or reset.
  package func get(
    _ key: UnsafeRawBufferPointer, at snapshot: Version, _ pin: inout ReadPin
  ) throws(StorageError) -> UnsafeRawBufferPointer? {
    pin.refresh(states)
    for index in unsafe 0..<pin.trees.count {
      let tree = unsafe pin.trees[index]
      // Nothing in it is old enough (or there is nothing in it).
      if unsafe tree.oldestVersion > snapshot { continue }
      let record = unsafe tree.get(key, snapshot)
      if unsafe tree.hasRangeDeletions {
        let deleted = unsafe tree.rangeDeletions?.newestVersion(covering: key, atMost: snapshot) ?? .zero
        if unsafe deleted > (record?.version ?? .zero) { return nil }
      }
      if let record = unsafe record { return unsafe record.kind == .put ? record.value : nil }
    }
    let found = unsafe try pin.findInTables(key, snapshot)
    return unsafe found.outcome == .put ? found.value : nil
  }

  /// The newest version after `floor` that put or deleted `key` (range deletions included), or nil when there is none.
  /// Sees what was applied, published or not. Costs little when nothing newer than `floor` can exist.
  package func newestVersion(
    of key: UnsafeRawBufferPointer, after floor: Version = .zero, _ pin: inout ReadPin
  ) throws(StorageError) -> Version? {
    pin.refresh(states)
    for index in unsafe 0..<pin.trees.count {
      let tree = unsafe pin.trees[index]
      // Sources are in order of versions: nothing in the rest is newer either.
      if unsafe tree.newestVersion <= floor && tree.newestVersion != .zero { return nil }
      var newest = unsafe tree.get(key, Version(UInt64.max))?.version ?? .zero
      if unsafe tree.hasRangeDeletions {
        newest = unsafe max(
          newest, tree.rangeDeletions?.newestVersion(covering: key, atMost: Version(UInt64.max)) ?? .zero)
      }
      if newest != .zero { return newest > floor ? newest : nil }
    }
    guard let tables = pin.holder?.state.tables else { return nil }
    return unsafe try tables.newestVersion(of: key, after: floor, &pin.block)
  }

  /// A cursor over the keys of `range` that exist in the snapshot `at`; before the first until `next()`. The snapshot must
  /// be retained for as long as the cursor is used.
  package func makeCursor(
    _ range: KeyRange, at snapshot: Version, direction: Direction = .forward
  ) throws(StorageError) -> EngineCursor {
    let (holder, _) = states.acquire()
    let state = holder.state
    guard snapshot >= state.tables.readFloor else { throw state.tables.tooOld(snapshot) }
    var sources: [(cursor: EngineSource, newestVersion: Version)] = []
    var deletions: [RangeDeletions] = []
    for memtable in state.memtables where memtable.oldestVersion <= snapshot {
      // What the writer adds from now on is beyond the snapshot: passing over it is no loss.
      let bound = memtable.newestVersion
      if memtable.count > 0 { sources.append((.memtable(MemtableCursor(memtable)), bound)) }
      deletions += memtable.rangeDeletions.filter { $0.concerns(range, at: snapshot) }
    }
    for source in state.tables.makeCursors(maximumVersion: snapshot) {
      sources.append((.level(source.cursor), source.newestVersion))
    }
    deletions += state.tables.rangeDeletions(in: range).filter { $0.concerns(range, at: snapshot) }
    let merged = MergingCursor(sources)
    return EngineCursor(VisibleCursor(merged, deletions, range, at: snapshot, direction), holder)
  }

  /// Calls `body` for every version in `after < version <= upTo` that wrote (put, deleted, range-deleted) a key of
  /// `range`, until it returns false; in no particular order, a version as often as it wrote. For a range deletion the
  /// key is the first of the interval that it shares with `range`.
  package func forEachVersion(
    in range: KeyRange, after: Version, upTo: Version, _ body: (UnsafeRawBufferPointer, Version) -> Bool
  ) throws(StorageError) {
    var budget = Int.max
    unsafe try forEachVersion(in: range, after: after, upTo: upTo, budget: &budget, body)
  }

  /// The same, looking at no more than `budget` entries, which is counted down: 0 afterwards if that was not enough.
  package func forEachVersion(
    in range: KeyRange, after: Version, upTo: Version, budget: inout Int,
    _ body: (UnsafeRawBufferPointer, Version) -> Bool
  ) throws(StorageError) {
    guard !range.isEmpty, after < upTo else { return }
    let (holder, _) = states.acquire()
    let state = holder.state
    for memtable in state.memtables {
      guard memtable.newestVersion > after, memtable.oldestVersion <= upTo else { continue }
      for deletions in memtable.rangeDeletions {
        guard unsafe report(deletions, in: range, after: after, upTo: upTo, body) else { return }
      }
      var cursor = MemtableCursor(memtable)
      guard unsafe try report(&cursor, in: range, after: after, upTo: upTo, &budget, body) else { return }
    }
    guard state.tables.maximumVersion > after else { return }
    for deletions in state.tables.rangeDeletions(in: range) {
      guard unsafe report(deletions, in: range, after: after, upTo: upTo, body) else { return }
    }
    for source in state.tables.makeCursors(minimumVersion: after.advanced(by: 1), maximumVersion: upTo) {
      var cursor = source.cursor
      guard unsafe try report(&cursor, in: range, after: after, upTo: upTo, &budget, body) else { return }
    }
  }

  /// Reports the entries of one source; false when `body` had enough.
  private func report<Source: InternalCursor>(
    _ cursor: inout Source, in range: KeyRange, after: Version, upTo: Version, _ budget: inout Int,
    _ body: (UnsafeRawBufferPointer, Version) -> Bool
  ) throws(StorageError) -> Bool {
    let lower = OwnedBytes(range.lower)
    let upper = range.upper.map { OwnedBytes($0) }
    unsafe try cursor.seek(lower.bytes, Version(UInt64.max))
    while cursor.isValid {
      if let upper, unsafe compareKeys(cursor.key, upper.bytes) >= 0 { break }
      guard budget > 0 else { return false }
      budget -= 1
      let version = cursor.version
      if version > after, version <= upTo, unsafe !body(cursor.key, version) { return false }
      try cursor.next()
    }
    return true
  }

  private func report(
    _ deletions: RangeDeletions, in range: KeyRange, after: Version, upTo: Version,
    _ body: (UnsafeRawBufferPointer, Version) -> Bool
  ) -> Bool {
    let lower = OwnedBytes(range.lower)
    var index = unsafe deletions.firstIndex(endingAfter: lower.bytes)
    while index < deletions.count {
      let fragment = unsafe deletions[index]
      if let upper = range.upper, unsafe upper.withUnsafeBytes({ unsafe compareKeys(fragment.start, $0) }) >= 0 {
        break
      }
      let start = unsafe compareKeys(fragment.start, lower.bytes) < 0 ? lower.bytes : fragment.start
      for place in unsafe 0..<fragment.versions.count {
        let version = unsafe fragment.versions[place]
        if version > after, version <= upTo, unsafe !body(start, version) { return false }
      }
      index += 1
    }
    return true
  }
}

extension ReadPin {
  /// `TableSet.find` without touching the set's reference count.
  @inline(__always)
  mutating func findInTables(
    _ key: UnsafeRawBufferPointer, _ snapshot: Version
  ) throws(StorageError) -> TableLookup {
    guard let tables = unsafe tables else { return unsafe .absent }
    let result = unsafe tables._withUnsafeGuaranteedRef { set in
      unsafe Result { () throws(StorageError) -> TableLookup in unsafe try set.find(key, at: snapshot, &block) }
    }
    return unsafe try result.get()
  }
}
