internal import Encoding
internal import Synchronization

// The cache of blocks: data, index leaves and filters alike, under one strict budget.
//
// Finding a block takes no lock and writes nothing but its use counter: buckets are chains of blocks, new ones at the
// head, and what is unlinked is freed after the readers (`ReadEpochs`). Changing anything takes the shard's lock.
//
// Eviction is S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023):
//
//             ┌─ small, a tenth ─┐  used again: to main      ┌─ main, the rest ─┐  used: once more round
//   new ─────▶│ first in         │──────────────────────────▶│ first in         │──────────────────────▶ (main)
//             └─────── first out ┘  else: out, remembered    └─────── first out ┘  else: out
//                                        in the ghosts
//   new and remembered by the ghosts ──────────────────────▶ main
//
// A scan passes through `small` alone. All steps are O(1) amortised.
//
// 1. What the cache holds never exceeds its capacity, headers and permanently held memory (`reserve`) included.
// 2. A pinned block is not evicted (its memory would not come back): it goes once more round. If too many are pinned, the
//    new block is not taken in, and lives only as long as its own pin.
// 3. Blocks are immutable; a table's number is never used again, so no entry is ever stale.

/// Where blocks are found: buckets that are chains of blocks. Plain pointers, so that a search touches no reference count.
@unsafe
struct BlockIndex {
  fileprivate let buckets: UnsafeMutablePointer<Atomic<UInt>>
  fileprivate let bucketMask: UInt64

  fileprivate init(bucketCount: Int) {
    unsafe buckets = .allocate(capacity: bucketCount)
    for index in 0..<bucketCount { unsafe (buckets + index).initialize(to: Atomic(0)) }
    unsafe bucketMask = UInt64(bucketCount - 1)
  }

  @inline(__always)
  static func hash(_ table: UInt64, _ offset: UInt64) -> UInt64 {
    var word = (offset ^ table << 40) &* 0x9E37_79B9_7F4A_7C15
    word ^= word >> 32
    word = word &* 0xD6E8_FEB8_6659_FD93
    return word ^ word >> 29
  }

  /// The block, not pinned: valid until the section of `epochs` in which the caller stands ends.
  @inline(__always)
  func find(_ table: UInt64, _ offset: UInt64) -> UnsafeMutablePointer<CachedBlock>? {
    let bucket = unsafe buckets + Int(truncatingIfNeeded: Self.hash(table, offset) & bucketMask)
    var address = unsafe bucket.pointee.load(ordering: .acquiring)
    while let block = unsafe UnsafeMutablePointer<CachedBlock>(bitPattern: address) {
      if unsafe block.pointee.offset == offset && block.pointee.table == table {
        let uses = unsafe block.pointee.uses.load(ordering: .relaxed)
        if uses < 3 { unsafe block.pointee.uses.store(uses &+ 1, ordering: .relaxed) }
        return unsafe block
      }
      address = unsafe block.pointee.nextInBucket.load(ordering: .acquiring)
    }
    return nil
  }
}

/// A sharded, scan-resistant cache of immutable blocks with a strict capacity.
///
/// `@unchecked Sendable`: buckets are atomics that live as long as the cache; queues are guarded by their shard's lock.
@safe
package final class BlockCache: @unchecked Sendable {
  /// What the cache did.
  package struct Statistics: Hashable, Sendable {
    package var misses: UInt64 = 0
    package var evictions: UInt64 = 0
    /// Bytes held now, headers included.
    package var sizeBytes = 0
    package var blockCount = 0
    package var capacityBytes = 0
    /// Bytes of the capacity that open tables hold for good.
    package var reservedSizeBytes = 0
    /// Blocks that have left the cache and wait for the readers that may stand on them.
    package var retiredCount = 0
  }

  let epochs = ReadEpochs()
  package let capacityBytes: Int
  private let shards: [CacheShard]
  private let shardShift: UInt64
  /// Valid as long as this object lives.
  let index: BlockIndex
  private let reserved = Atomic<Int>(0)
  private let misses = Atomic<UInt64>(0)

  /// - Parameter capacityBytes: the budget; 0 caches nothing.
  package init(capacityBytes: Int, shardCount: Int? = nil) {
    precondition(capacityBytes >= 0)
    self.capacityBytes = capacityBytes
    // A shard should hold many of the largest common blocks (a filter of some 50 KiB).
    var count = 1
    let wanted = shardCount ?? min(64, max(1, capacityBytes >> 22))
    while count * 2 <= wanted { count *= 2 }
    // About two buckets for each block: the next in a chain is a cache miss.
    let bucketCount = max(64, (capacityBytes >> 11).nextPowerOfTwo)
    unsafe index = BlockIndex(bucketCount: bucketCount)
    // A bucket belongs to one shard: the shard's number is the low bits of the bucket's.
    shardShift = UInt64(count - 1)
    shards = (0..<count).map { _ in CacheShard() }
  }

  deinit {
    for shard in shards { unsafe shard.state.withLock { unsafe $0.releaseAll() } }
    unsafe index.buckets.deallocate()
  }

  static func hash(_ block: UnsafeMutablePointer<CachedBlock>) -> UInt64 {
    unsafe BlockIndex.hash(block.pointee.table, block.pointee.offset)
  }

  /// Takes in a block that a reader has just made, unless another was quicker or there is no room: false then. The caller
  /// keeps its own reference.
  @discardableResult
  func insert(_ block: UnsafeMutablePointer<CachedBlock>) -> Bool {
    _ = misses.wrappingAdd(1, ordering: .relaxed)
    let size = unsafe block.pointee.sizeBytes + CachedBlock.headerSizeBytes
    let capacity = max(0, capacityBytes - reserved.load(ordering: .relaxed)) / shards.count
    guard size <= capacity / 2 else { return false }
    let hash = unsafe BlockIndex.hash(block.pointee.table, block.pointee.offset)
    let bucket = unsafe hash & index.bucketMask
    let shard = shards[Int(truncatingIfNeeded: bucket & shardShift)]
    let address = UInt(bitPattern: block)
    let (isIn, evicted) = unsafe shard.state.withLock { (state) -> (Bool, BlockChain) in
      let block = unsafe UnsafeMutablePointer<CachedBlock>(bitPattern: address)!
      var evicted = unsafe BlockChain()
      guard unsafe !contains(block.pointee.table, block.pointee.offset, bucket) else { return unsafe (false, evicted) }
      let hasRoom = unsafe state.makeRoom(size, capacity: capacity) { old in
        unsafe unlink(old)
        unsafe evicted.append(old)
      }
      guard hasRoom else { return unsafe (false, evicted) }
      unsafe block.retain()
      unsafe state.push(block, hash: hash)
      let head = unsafe index.buckets + Int(bucket)
      unsafe block.pointee.nextInBucket.store(head.pointee.load(ordering: .relaxed), ordering: .relaxed)
      unsafe head.pointee.store(UInt(bitPattern: block), ordering: .releasing)
      return unsafe (true, evicted)
    }
    unsafe epochs.retire(evicted)
    return isIn
  }

  /// Holds `count` bytes of the budget for memory outside the cache; negative to give back.
  func reserve(_ count: Int) { _ = reserved.wrappingAdd(count, ordering: .relaxed) }

  private func contains(_ table: UInt64, _ offset: UInt64, _ bucket: UInt64) -> Bool {
    var address = unsafe (index.buckets + Int(bucket)).pointee.load(ordering: .relaxed)
    while let block = unsafe UnsafeMutablePointer<CachedBlock>(bitPattern: address) {
      if unsafe block.pointee.offset == offset && block.pointee.table == table { return true }
      address = unsafe block.pointee.nextInBucket.load(ordering: .relaxed)
    }
    return false
  }

  /// Takes the block out of its bucket; the shard's lock is held. Readers that stand on it still find its successor.
  private func unlink(_ block: UnsafeMutablePointer<CachedBlock>) {
    let bucket = unsafe BlockIndex.hash(block.pointee.table, block.pointee.offset) & index.bucketMask
    let successor = unsafe block.pointee.nextInBucket.load(ordering: .relaxed)
    let head = unsafe index.buckets + Int(bucket)
    var address = unsafe head.pointee.load(ordering: .relaxed)
    if address == UInt(bitPattern: block) {
      unsafe head.pointee.store(successor, ordering: .releasing)
      return
    }
    while let current = unsafe UnsafeMutablePointer<CachedBlock>(bitPattern: address) {
      address = unsafe current.pointee.nextInBucket.load(ordering: .relaxed)
      if address == UInt(bitPattern: block) {
        unsafe current.pointee.nextInBucket.store(successor, ordering: .releasing)
        return
      }
    }
  }

  /// What it holds and did. Takes every shard's lock in turn.
  package var statistics: Statistics {
    var result = Statistics()
    for shard in shards {
      unsafe shard.state.withLock { state in
        unsafe result.sizeBytes += state.smallSizeBytes + state.mainSizeBytes
        unsafe result.blockCount += state.count
        unsafe result.evictions += state.evictions
      }
    }
    result.misses = misses.load(ordering: .relaxed)
    result.reservedSizeBytes = reserved.load(ordering: .relaxed)
    result.capacityBytes = capacityBytes
    result.retiredCount = epochs.count
    return result
  }
}

extension Int {
  fileprivate var nextPowerOfTwo: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}
