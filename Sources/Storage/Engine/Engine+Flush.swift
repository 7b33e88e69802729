internal import Encoding
internal import Platform
internal import Synchronization

// Moving memtables into tables.
//
//   waiting memtable ─filter→ table files ─ sync ─ ensureDurable(slot) ─ manifest edit (tables, slot, version, floor)
//                                                                         └→ new read state without it ─ onFlush(slot)
//
// 1. One flush at a time, oldest memtable first.
// 2. After an error nothing has changed: the memtable waits and is read on; the background tries again. While it waits,
//    writes go on until twice `waitingMemtables` wait; then they are refused with the reason.
// 3. Versions that no snapshot can ask for any more are left out: a key that is written all the time costs one entry. The
//    horizon that this used is stored in the same edit, so that it is known after a restart.

extension Engine {
  /// Flushes the oldest waiting memtable; false when none waits.
  func flushOldest() throws(StorageError) -> Bool {
    let flushed: (slot: Slot, version: Version)? = try flushing.withLock { (_) throws(StorageError) in
      let (waiting, failure) = writer.withLock { ($0.waiting.first, $0.failure) }
      if let failure, failure == .closed { throw failure }
      guard let waiting else { return nil }
      try writeTables(waiting)
      writer.withLock { writer in
        writer.waiting.removeFirst()
        writer.flushed = waiting.position
        writer.flushes += 1
        writer.flushFailure = nil
        installState(&writer)
      }
      progress.increment()
      progress.wake()
      // Its memory is given back here, and not under the writer's lock: milliseconds, in which nothing could be applied.
      withExtendedLifetime(waiting) {}
      askForMemory()
      return waiting.position
    }
    guard let flushed else { return false }
    options.onFlush(flushed.slot)
    return true
  }

  private func writeTables(_ waiting: WaitingMemtable) throws(StorageError) {
    let horizon = snapshots.collect()
    let memtable = waiting.memtable
    var builder = RangeDeletionBuilder()
    for deletions in memtable.rangeDeletions { builder.add(deletions) }
    var filter = FlushFilter(horizon, builder.build())
    let output = store.makeOutput(deletions: filter.surviving)
    let tables: [TableMetadata]
    do throws(StorageError) {
      let cursor = MemtableCursor(memtable)
      cursor.seekToFirst()
      while cursor.isValid {
        if unsafe filter.keeps(cursor.key, cursor.version) {
          unsafe try output.add(cursor.key, cursor.version, cursor.kind, cursor.value)
        }
        cursor.next()
      }
      tables = try output.finish()
      try ensureDurable(waiting.position.slot)
    } catch {
      output.abandon()
      throw error
    }
    // From here on the files are the store's: after an error the manifest may name them, or not.
    try store.install(
      flush: tables, position: FlushedPosition(slot: waiting.position.slot, version: waiting.position.version),
      garbageFloor: horizon)
  }

  private func ensureDurable(_ slot: Slot) throws(StorageError) {
    do { try options.ensureDurable(slot) } catch {
      if let error = error as? StorageError { throw error }
      throw .stopped(reason: "the log cannot be made durable: \(error)")
    }
  }

  // MARK: In the background

  func startFlushing() {
    flusher.start("flush") { [weak self] in
      // nil ends the thread: the engine is gone.
      guard let engine = self else { return nil }
      return engine.flushInBackground()
    }
  }

  /// Flushes what waits, and returns how long to wait before the next attempt; 0 = until woken.
  private func flushInBackground() -> UInt64 {
    do throws(StorageError) {
      while try flushOldest() {}
      return 0
    } catch {
      writer.withLock { writer in
        writer.flushFailure = error
        // A full or failing disk may recover; nothing else does.
        if case .disk = error { return }
        writer.failure = writer.failure ?? .stopped(reason: "\(error)")
      }
      progress.increment()
      progress.wake()
      return options.flushRetryNanoseconds
    }
  }
}

/// Which entries of a memtable reach the tables: see `GarbageFilter` for the rules; here something may always lie below.
struct FlushFilter {
  private let horizon: Version
  private let deletions: RangeDeletions
  private var probe: RangeDeletionProbe
  private let lastKey = OwnedBytes()
  private var isDecided = false
  private var hasKey = false

  init(_ horizon: Version, _ deletions: RangeDeletions) {
    self.horizon = horizon
    self.deletions = deletions
    probe = RangeDeletionProbe([deletions], horizon)
  }

  /// Entries come in internal order.
  mutating func keeps(_ key: UnsafeRawBufferPointer, _ version: Version) -> Bool {
    if unsafe !hasKey || !lastKey.isEqual(key) {
      unsafe lastKey.assign(key)
      hasKey = true
      isDecided = false
    }
    if version > horizon { return true }
    if isDecided { return false }
    isDecided = true
    // What covers the newest version hides everything below as well, and stays.
    return unsafe deletions.isEmpty || probe.newestVersion(covering: key) <= version
  }

  /// The range deletions that stay: every version above the horizon, and the newest of the others.
  var surviving: RangeDeletions {
    guard !deletions.isEmpty else { return .empty }
    var result = RangeDeletionBuilder()
    for index in 0..<deletions.count {
      let fragment = unsafe deletions[index]
      var versions = unsafe fragment.versions.filter { $0 > horizon }
      if let newest = unsafe fragment.versions.first(where: { $0 <= horizon }) { versions.append(newest) }
      result.add(unsafe .init(start: Array(fragment.start), end: Array(fragment.end), versions: versions))
    }
    return result.build()
  }
}
