internal import Encoding
internal import Log
internal import Platform

/// Transactions on their way into one record: their batches one after the other, each behind its length.
///
/// `@unchecked Sendable`: until it is closed it is changed under the pipeline's lock; then by the one thread that writes.
@safe
final class CommitGroup: @unchecked Sendable {
  private var memory: UnsafeMutableRawBufferPointer
  /// The whole content, where that is one large batch: then there is nothing in `memory`.
  private var large: LargeBatch?
  private(set) var count = 0
  private(set) var transactionCount = 0
  private(set) var firstVersion = Version.zero
  /// Whether somebody waits for it (otherwise nobody needs it written yet), and whether for its durability.
  var isAsked = false
  var needsDurability = false
  /// Threads that sleep on `word`.
  var waiterCount = 0
  var callbacks: [Callback] = []
  /// Changes when the group is delivered, has failed, or one of its waiters is to write it.
  let word = FutexWord()
  /// One waiter has been woken to write it.
  var isPromoted = false

  static let keptSizeBytes = 2 << 20

  /// Somebody who does not sleep.
  struct Callback {
    var version: Version
    var needsDurability: Bool
    var body: @Sendable (Result<Void, LogError>) -> Void
  }

  init() {
    unsafe memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
  }

  deinit { unsafe memory.deallocate() }

  var isEmpty: Bool { transactionCount == 0 }
  var lastVersion: Version { Version(firstVersion.rawValue + UInt64(transactionCount) - 1) }
  var payload: UnsafeRawBufferPointer {
    if let large { return unsafe large.payload }
    return unsafe UnsafeRawBufferPointer(rebasing: memory[0..<count])
  }

  /// What a frame with a record of `count` payload bytes takes at most, with control records beside it.
  static func reservedSizeBytes(_ count: Int) -> Int {
    (count + RecordHeader.sizeBytes + FrameHeader.sizeBytes + 512 + logBlockSizeBytes - 1)
      / logBlockSizeBytes * logBlockSizeBytes
  }

  /// Adds a batch without copying it, if it is the group's first.
  func append(_ batch: LargeBatch, version: Version) {
    guard isEmpty else { return unsafe append(batch.bytes, version: version) }
    firstVersion = version
    large = batch
    count = unsafe batch.payload.count
    transactionCount = 1
  }

  func append(_ batch: UnsafeRawBufferPointer, version: Version) {
    if transactionCount == 0 { firstVersion = version }
    let needed = count + 4 + batch.count
    if unsafe needed > memory.count || large != nil {
      let larger = unsafe UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(needed, memory.count * 2), alignment: 16)
      if let start = larger.baseAddress { unsafe LargeMemory.prepare(start, count: larger.count) }
      unsafe larger.copyMemory(from: payload)
      unsafe memory.deallocate()
      unsafe memory = larger
      large = nil
    }
    unsafe memory.storeBytes(of: UInt32(batch.count).littleEndian, toByteOffset: count, as: UInt32.self)
    if batch.count > 0 {
      unsafe UnsafeMutableRawBufferPointer(rebasing: memory[count + 4..<needed]).copyMemory(from: batch)
    }
    count = needed
    transactionCount += 1
  }

  /// As it is to be applied. The payload is valid until `reset`.
  func chosen(_ slot: Slot) -> ChosenGroup {
    unsafe ChosenGroup(
      slot: slot, firstVersion: firstVersion, transactionCount: transactionCount, payload: payload)
  }

  /// Empties it for its next use.
  func reset() {
    count = 0
    large = nil
    transactionCount = 0
    isAsked = false
    needsDurability = false
    waiterCount = 0
    isPromoted = false
    if unsafe memory.count > Self.keptSizeBytes {
      unsafe memory.deallocate()
      unsafe memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    }
  }
}
