internal import Encoding
internal import Storage

// What a transaction writes: noted in its write set, under locks, until it commits.

extension Transaction {
  /// Sets `key` to `value`, locking it like UPDATE unless it is locked for updating already.
  package func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws(TransactionError) {
    unsafe try checkWritable(key, value.count)
    let entry = unsafe try lockForWriting(key)
    unsafe put(entry, value)
  }

  /// Puts `value` under `key` if the key does not exist, and returns whether it did so. Does what `lock` for updating,
  /// `getLatest` and `put` do in this order, and looks for the key's place once.
  package func insert(
    _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
  ) throws(TransactionError) -> Bool {
    unsafe try checkWritable(key, value.count)
    let snapshot = try currentSnapshot()
    prepareWriting()
    let entry = unsafe entry(of: key)
    // At repeatable read what others committed after the snapshot is found, too: a duplicate is a duplicate.
    _ = try lock(entry, LockStrength.update.rawValue, .wait, snapshot, allowsNewer: true)
    switch unsafe writes.own(entry, key) {
    case .value: return false
    case .deleted: break
    case .nothing:
      if isolation == .repeatableRead && !savepoints.isEmpty { lockedReads.append(UInt32(truncatingIfNeeded: entry)) }
      if unsafe try getNewest(key) != nil { return false }
    }
    unsafe put(entry, value)
    return true
  }

  /// Puts `value` under a key that no other transaction may write now, so that it needs no lock: one that was made of a
  /// number which is given out once, or is guarded by the lock of another key.
  package func putUnshared(
    _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
  ) throws(TransactionError) {
    unsafe try checkWritable(key, value.count)
    _ = try currentSnapshot()
    prepareWriting()
    if unsafe `defer`(key, value, .put) { return }
    let entry = unsafe entry(of: key)
    unsafe put(entry, value)
  }

  /// Like `putUnshared`, for a key that nobody but this transaction has ever written: false if this transaction has put it
  /// already.
  package func insertUnshared(
    _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
  ) throws(TransactionError) -> Bool {
    unsafe try checkWritable(key, value.count)
    _ = try currentSnapshot()
    prepareWriting()
    let entry = unsafe entry(of: key)
    if case .value = unsafe writes.own(entry, key) { return false }
    unsafe put(entry, value)
    return true
  }

  /// Deletes `key`, existing or not, locking it like DELETE unless it is locked for updating already.
  package func delete(_ key: UnsafeRawBufferPointer) throws(TransactionError) {
    unsafe try checkWritable(key, 0)
    let entry = unsafe try lockForWriting(key)
    unsafe writes.delete(entry)
  }

  /// Like `delete`, for a key that no other transaction may write now, because the lock of another key guards it.
  package func deleteUnshared(_ key: UnsafeRawBufferPointer) throws(TransactionError) {
    unsafe try checkWritable(key, 0)
    _ = try currentSnapshot()
    prepareWriting()
    let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    if unsafe `defer`(key, none, .delete) { return }
    let entry = unsafe entry(of: key)
    unsafe writes.delete(entry)
  }

  /// Deletes every key of `start ..< end`, in space that does not depend on how many there are. Locks the whole interval.
  package func deleteRange(
    _ start: UnsafeRawBufferPointer, _ end: UnsafeRawBufferPointer
  ) throws(TransactionError) {
    unsafe try checkWritable(start, 0)
    unsafe try checkWritable(end, 0)
    guard unsafe order(start, end) < 0 else { return }
    let snapshot = try currentSnapshot()
    let range = unsafe KeyRange(lower: Array(start), upper: Array(end))
    do throws(TransactionError) {
      try manager.lockTable.lockRange(self, range, timeoutNanoseconds: lockTimeoutNanoseconds)
    } catch { throw failed(error) }
    try dependOnReleasedRanges()
    if isolation != .readCommitted { try checkUnchanged(range, since: snapshot) }
    settle()
    unsafe writes.deleteRange(start, end, &arena)
  }

  /// Adds metadata to the batch (see `WriteBatch.MetadataTag`).
  package func addMetadata(tag: UInt8, _ bytes: [UInt8]) {
    var writer = ByteWriter()
    writer.append(tag)
    writer.append(lengthPrefixed: bytes)
    metadata += writer.bytes
  }

  @inline(__always)
  private func checkWritable(_ key: UnsafeRawBufferPointer, _ valueCount: Int) throws(TransactionError) {
    try checkActive()
    if isReadOnly { throw .readOnly }
    guard key.count > 0 && key.count <= WriteBatch.maximumKeySizeBytes else {
      throw .tooLarge(what: "a key", sizeBytes: key.count, limitSizeBytes: WriteBatch.maximumKeySizeBytes)
    }
    guard valueCount <= WriteBatch.maximumValueSizeBytes else {
      throw .tooLarge(what: "a value", sizeBytes: valueCount, limitSizeBytes: WriteBatch.maximumValueSizeBytes)
    }
    let size = unsafe arena.sizeBytes &+ values.sizeBytes &+ writes.overheadSizeBytes
    guard size <= manager.options.transactionSizeBytes else {
      throw .tooLarge(
        what: "what the transaction has written", sizeBytes: size, limitSizeBytes: manager.options.transactionSizeBytes)
    }
  }

  /// Notes a value.
  @inline(__always)
  private func put(_ entry: Int, _ value: UnsafeRawBufferPointer) {
    if unsafe arena.sizeBytes < Self.largeArenaSizeBytes {
      unsafe writes.put(entry, value, &arena)
    } else {
      unsafe writes.put(entry, value, &values)
    }
  }

  /// Notes a write to be taken in later, if that may be.
  @inline(__always)
  private func `defer`(
    _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ kind: WriteBatch.Kind
  ) -> Bool {
    unsafe writes.defer(key, value, kind, &arena, &values, from: manager.options.deferringThreshold)
  }

  private static let largeArenaSizeBytes = 1 << 20

  /// The key's entry in the write set. Others look into a write set that has a claim.
  @inline(__always)
  func entry(of key: UnsafeRawBufferPointer) -> Int {
    // A key is locked, and then written: the entry is there already.
    if let recent = unsafe writes.recentEntry(key) { return recent }
    if unsafe writes.isDeferred(key) { settle() }
    guard let claim else { return unsafe writes.findOrAdd(key, &arena) }
    claim.latch.lock()
    defer { claim.latch.unlock() }
    return unsafe writes.findOrAdd(key, &arena)
  }

  /// Takes in the writes that are deferred (DeferredWrites.swift).
  @inline(__always)
  func settle() {
    if unsafe writes.hasDeferred { settleSlowly() }
  }
  @inline(never)
  private func settleSlowly() {
    // Others look into a write set that has a claim.
    claim?.latch.lock()
    unsafe writes.settle()
    claim?.latch.unlock()
  }

  @inline(__always)
  private func lockForWriting(_ key: UnsafeRawBufferPointer) throws(TransactionError) -> Int {
    let snapshot = try currentSnapshot()
    prepareWriting()
    let entry = unsafe entry(of: key)
    if unsafe writes.strength(entry) < LockStrength.noKeyUpdate.rawValue {
      _ = try lock(entry, LockStrength.update.rawValue, .wait, snapshot)
    }
    return entry
  }
}
