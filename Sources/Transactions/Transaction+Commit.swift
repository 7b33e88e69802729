package import Encoding
internal import Glibc
internal import Platform
internal import Storage

// Ending a transaction: see `TransactionManager+Commit.swift` for the order of a commit.

extension Transaction {
  /// Commits, and returns when the commit is chosen (durable, unless `durable` is false), visible and its locks released.
  /// Returns where, or nil when nothing was written.
  ///
  /// After any error but `unknownOutcome` the transaction is rolled back.
  @discardableResult
  package func commit(durable: Bool = true) throws(TransactionError) -> Version? {
    guard let version = try manager.sequence(self) else {
      try awaitDependency()
      return nil
    }
    do throws(CommitError) {
      try manager.log.commit(through: version, durable: durable)
    } catch { throw manager.abandon(self, error) }
    guard state == .committed else { throw Self.discarded }
    freeMemory()
    return version
  }

  /// Like `commit`, without blocking: fails at once, or calls `whenDone` exactly once, perhaps before returning.
  package func commit(
    whenDone: @escaping @Sendable (Result<Version?, TransactionError>) -> Void
  ) throws(TransactionError) {
    let written = try manager.sequence(self)
    guard let version = written ?? pendingDependency else { return whenDone(.success(nil)) }
    manager.log.whenDelivered(version) { result in
      switch result {
      case .success: whenDone(self.state == .committed ? .success(written) : .failure(Self.discarded))
      case .failure(let error): whenDone(.failure(self.manager.abandon(self, error)))
      }
    }
  }

  /// How far `beginCommit` came.
  package enum CommitProgress: Sendable {
    /// Committed; the version where something was written.
    case done(Version?)
    /// In the log, or dependent on what is in the log, but not yet chosen: `whenCommitted` tells the end. It can no longer
    /// be rolled back.
    case pending(Version)
  }

  /// What nobody may be told before, after a commit without writes.
  private var pendingDependency: Version? { unsafe dependency > manager.engine.visibleVersion ? dependency : nil }

  /// Commits as far as that goes without waiting for others: to the end if nothing was written, or if `isInline` and the
  /// log is so idle that writing here is the quickest way; otherwise up to the place in the log.
  package func beginCommit(isInline: Bool) throws(TransactionError) -> CommitProgress {
    guard let version = try manager.sequence(self) else { return pendingDependency.map { .pending($0) } ?? .done(nil) }
    guard isInline else { return .pending(version) }
    do throws(CommitError) {
      guard try manager.log.commitInline(through: version) else { return .pending(version) }
    } catch { throw manager.abandon(self, error) }
    guard state == .committed else { throw Self.discarded }
    freeMemory()
    return .done(version)
  }

  /// Calls `body` once, when the commit that is pending is chosen, visible and its locks released, or has failed. It may
  /// be called before this returns, otherwise on the log's thread, which it must not hold up.
  package func whenCommitted(durable: Bool = true, _ body: @escaping @Sendable (TransactionError?) -> Void) {
    // Without writes there is only what it depends on, whose own writers ask for durability.
    let hasWritten = version != .zero
    unsafe manager.log.whenDelivered(hasWritten ? version : dependency, durable: durable && hasWritten) { result in
      switch result {
      case .success: body(self.state == .committed ? nil : Self.discarded)
      case .failure(let error): body(self.manager.abandon(self, error))
      }
    }
  }

  static var discarded: TransactionError {
    .restarted("the leader changed before the commit was chosen; run the transaction again")
  }

  /// Undoes everything. Idempotent; nothing once the commit was sequenced.
  package func rollback() {
    guard state == .active || state == .failed else { return }
    // A wait that `whenGranted` was to be told of ends with `cancelled`.
    if pendingEntry != nil { manager.lockTable.cancel(self) }
    giveUpConflict()
    manager.end(self, as: .rolledBack)
  }

  /// The batch: in the transaction's arena, or, if it is large, in memory that can be passed on. Nobody asks for
  /// the transaction's own writes any more, so what a large batch was made of is given back here.
  func encodeBatch() throws(TransactionError) -> EncodedBatch {
    let operations = unsafe writes.writeCount + writes.ranges.count
    let bound = unsafe 32 + metadata.count + writes.writeSizeBytes + operations * 11
    guard bound <= WriteBatch.maximumSizeBytes else {
      throw .tooLarge(what: "the transaction", sizeBytes: bound, limitSizeBytes: WriteBatch.maximumSizeBytes)
    }
    guard bound < LargeBatch.smallestSizeBytes else {
      let batch = LargeBatch(capacityBytes: bound)
      var drain = unsafe ArenaDrain(values)
      unsafe writes.expect(in: &drain)
      unsafe batch.fill { room in unsafe room.baseAddress.map { unsafe encode(operations, at: $0, &drain) } ?? 0 }
      unsafe drain.free()
      unsafe values.free()
      // Others look into a write set that has a claim. Keys stay: locks refer to them.
      if unsafe claim == nil && !isTracked { unsafe writes.free() }
      return unsafe .large(batch)
    }
    let start = unsafe arena.allocate(bound)
    var drain = unsafe ArenaDrain()
    let count = unsafe encode(operations, at: start, &drain)
    assert(count <= bound)
    return unsafe .small(UnsafeRawBufferPointer(start: start, count: count))
  }

  /// Writes the batch, and returns its length.
  private func encode(_ operations: Int, at start: UnsafeMutableRawPointer, _ drain: inout ArenaDrain) -> Int {
    var output = unsafe RawWriter(start)
    unsafe output.append(WriteBatch.format)
    unsafe withBytes(metadata) { unsafe output.append(lengthPrefixed: $0) }
    unsafe output.append(varint: UInt64(operations))
    unsafe writes.encode(into: &output, &drain)
    return unsafe output.count(from: start)
  }
}

/// What a transaction hands to the log.
@unsafe
enum EncodedBatch {
  /// To be copied.
  case small(UnsafeRawBufferPointer)
  /// To be kept.
  case large(LargeBatch)
}

/// Writes to memory that is known to be large enough.
@unsafe
struct RawWriter {
  private var place: UnsafeMutableRawPointer

  init(_ place: UnsafeMutableRawPointer) { unsafe self.place = unsafe place }

  func count(from start: UnsafeMutableRawPointer) -> Int { unsafe place - start }

  @inline(__always)
  mutating func append(_ byte: UInt8) {
    unsafe place.storeBytes(of: byte, as: UInt8.self)
    unsafe place += 1
  }

  @inline(__always)
  mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      unsafe append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    unsafe append(UInt8(truncatingIfNeeded: rest))
  }

  @inline(__always)
  mutating func append(lengthPrefixed bytes: UnsafeRawBufferPointer) {
    unsafe append(varint: UInt64(bytes.count))
    guard bytes.count > 0 else { return }
    unsafe memcpy(place, bytes.baseAddress.unsafelyUnwrapped, bytes.count)
    unsafe place += bytes.count
  }
}
