internal import Synchronization

// A block in memory, behind a raw header: readers neither touch Swift reference counts nor allocate.
//
//   -64  header (one cache line): references, use counter, key, size, links of the cache
//     0  the block's bytes
//
// References: one of the cache while the block is in it, and one of each pin. Whoever takes the last one away frees.

/// The header in front of a block's bytes.
@unsafe
struct CachedBlock: ~Copyable {
  static let headerSizeBytes = 64

  let references: Atomic<UInt32>
  /// Uses since the block was last looked at for eviction, up to 3 (S3-FIFO's counter).
  let uses: Atomic<UInt8>
  /// In which queue it is; guarded by the shard's lock.
  var queue: Queue
  let table: UInt64
  let offset: UInt64
  let sizeBytes: Int
  /// The next block in the same bucket; read without a lock.
  let nextInBucket: Atomic<UInt>
  /// Neighbours in the queue; guarded by the shard's lock.
  var newer: UnsafeMutablePointer<CachedBlock>?
  var older: UnsafeMutablePointer<CachedBlock>?
  /// The epoch in which it was given to `ReadEpochs`; guarded by the lock there.
  var retiredAt: UInt64 = 0

  enum Queue: UInt8 { case none, small, main }

  private init(table: UInt64, offset: UInt64, sizeBytes: Int) {
    unsafe references = Atomic(1)
    unsafe uses = Atomic(0)
    unsafe queue = .none
    unsafe self.table = table
    unsafe self.offset = offset
    unsafe self.sizeBytes = sizeBytes
    unsafe nextInBucket = Atomic(0)
    unsafe newer = nil
    unsafe older = nil
  }

  /// A new block with one reference and uninitialised bytes.
  static func allocate(table: UInt64, offset: UInt64, sizeBytes: Int) -> UnsafeMutablePointer<CachedBlock> {
    precondition(unsafe MemoryLayout<CachedBlock>.size <= headerSizeBytes)
    let memory = unsafe UnsafeMutableRawPointer.allocate(byteCount: headerSizeBytes + sizeBytes, alignment: 128)
    let block = unsafe memory.bindMemory(to: CachedBlock.self, capacity: 1)
    unsafe block.initialize(to: CachedBlock(table: table, offset: offset, sizeBytes: sizeBytes))
    return unsafe block
  }
}

extension UnsafeMutablePointer where Pointee == CachedBlock {
  @inline(__always)
  var bytes: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(self) + CachedBlock.headerSizeBytes }

  @inline(__always)
  func retain() { _ = unsafe pointee.references.wrappingAdd(1, ordering: .relaxed) }

  @inline(__always)
  func release() {
    if unsafe pointee.references.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 { unsafe free() }
  }

  @inline(never)
  private func free() {
    unsafe deinitialize(count: 1)
    unsafe UnsafeMutableRawPointer(self).deallocate()
  }
}

/// Blocks that have left the cache, linked by what linked them in a queue.
///
/// `@unchecked Sendable`: whoever holds the chain owns a reference to each block, and alone uses the links.
@unsafe
struct BlockChain: @unchecked Sendable {
  private(set) var oldest: UnsafeMutablePointer<CachedBlock>?
  private var newest: UnsafeMutablePointer<CachedBlock>?

  init() {}

  var isEmpty: Bool { unsafe oldest == nil }

  mutating func append(_ block: UnsafeMutablePointer<CachedBlock>) {
    unsafe block.pointee.newer = nil
    if let newest = unsafe newest { unsafe newest.pointee.newer = unsafe block } else { unsafe oldest = unsafe block }
    unsafe newest = unsafe block
  }

  mutating func pop() -> UnsafeMutablePointer<CachedBlock>? {
    guard let block = unsafe oldest else { return nil }
    unsafe oldest = unsafe block.pointee.newer
    if unsafe oldest == nil { unsafe newest = nil }
    return unsafe block
  }

  /// Lets go of all.
  func release() {
    var chain = unsafe self
    while let block = unsafe chain.pop() { unsafe block.release() }
  }
}

/// Keeps one block's memory. Empty when made; moving it on or `reset()` lets go.
///
/// Sendable: a pin owns its reference, and the bytes never change.
@safe
package struct BlockPin: ~Copyable, @unchecked Sendable {
  var block: UnsafeMutablePointer<CachedBlock>?

  package init() { unsafe block = nil }

  /// Takes over a reference.
  init(owning block: UnsafeMutablePointer<CachedBlock>) { unsafe self.block = unsafe block }

  /// Lets go.
  @inline(__always)
  package mutating func reset() {
    if let block = unsafe block {
      unsafe self.block = nil
      unsafe block.release()
    }
  }

  /// Takes over a reference, and lets go of what it had.
  @inline(__always)
  mutating func adopt(_ new: UnsafeMutablePointer<CachedBlock>) {
    let old = unsafe block
    unsafe block = unsafe new
    if let old = unsafe old { unsafe old.release() }
  }

  deinit {
    if let block = unsafe block { unsafe block.release() }
  }
}
