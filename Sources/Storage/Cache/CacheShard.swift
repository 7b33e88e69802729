internal import Synchronization

/// One shard's queues behind their lock. The lock is held for memory operations only, never for I/O.
@safe
final class CacheShard: Sendable {
  let state = unsafe Mutex(CacheQueues())
}

/// S3-FIFO's two queues and its memory of what left `small` unused (`BlockCache.swift` has the drawing).
@unsafe
struct CacheQueues: ~Copyable {
  private static let ghostCount = 1024
  /// How many used or pinned blocks may go round before an insertion gives up.
  private static let maximumRounds = 256

  private var small = unsafe Fifo()
  private var main = unsafe Fifo()
  private(set) var smallSizeBytes = 0
  private(set) var mainSizeBytes = 0
  private(set) var count = 0
  private(set) var evictions: UInt64 = 0
  private var mainCount = 0
  /// Blocks that left `small` unused: a slot for some bits of the hash, in which a new one overwrites the old. As in the
  /// paper, only as many are remembered as `main` has blocks: else a second scan would come back as ghosts.
  private var ghosts = [(hash: UInt64, order: Int)](repeating: (0, 0), count: ghostCount)
  private var ghostOrder = 0

  /// A queue through the blocks' own links.
  @unsafe
  private struct Fifo {
    var newest: UnsafeMutablePointer<CachedBlock>?
    var oldest: UnsafeMutablePointer<CachedBlock>?

    mutating func push(_ block: UnsafeMutablePointer<CachedBlock>) {
      unsafe block.pointee.newer = nil
      unsafe block.pointee.older = unsafe newest
      if let newest = unsafe newest { unsafe newest.pointee.newer = unsafe block } else { unsafe oldest = unsafe block }
      unsafe newest = unsafe block
    }

    mutating func pop() -> UnsafeMutablePointer<CachedBlock>? {
      guard let block = unsafe oldest else { return nil }
      unsafe oldest = unsafe block.pointee.newer
      if let oldest = unsafe oldest { unsafe oldest.pointee.older = nil } else { unsafe newest = nil }
      unsafe block.pointee.newer = nil
      return unsafe block
    }
  }

  private static func size(_ block: UnsafeMutablePointer<CachedBlock>) -> Int {
    unsafe block.pointee.sizeBytes + CachedBlock.headerSizeBytes
  }

  /// Adds a block for which there is room.
  mutating func push(_ block: UnsafeMutablePointer<CachedBlock>, hash: UInt64) {
    let slot = unsafe Int(truncatingIfNeeded: hash >> 20) & (Self.ghostCount - 1)
    unsafe count += 1
    if unsafe ghosts[slot].hash == hash && ghostOrder - ghosts[slot].order < max(8, mainCount) {
      unsafe ghosts[slot] = (0, 0)
      unsafe pushMain(block)
    } else {
      unsafe block.pointee.queue = .small
      unsafe smallSizeBytes += Self.size(block)
      unsafe small.push(block)
    }
  }

  private mutating func pushMain(_ block: UnsafeMutablePointer<CachedBlock>) {
    unsafe block.pointee.queue = .main
    unsafe mainSizeBytes += Self.size(block)
    unsafe mainCount += 1
    unsafe main.push(block)
  }

  /// Evicts until `needed` bytes fit under `capacity`; false where too many blocks are in use.
  mutating func makeRoom(
    _ needed: Int, capacity: Int, hash: (UnsafeMutablePointer<CachedBlock>) -> UInt64 = { unsafe BlockCache.hash($0) },
    evict: (UnsafeMutablePointer<CachedBlock>) -> Void
  ) -> Bool {
    var rounds = 0
    while unsafe smallSizeBytes + mainSizeBytes + needed > capacity {
      guard unsafe rounds < Self.maximumRounds else { return false }
      rounds += 1
      let fromSmall = unsafe smallSizeBytes > capacity / 10 || mainSizeBytes == 0
      guard let block = unsafe fromSmall ? small.pop() : main.pop() else { return false }
      let size = unsafe Self.size(block)
      let uses = unsafe block.pointee.uses.load(ordering: .relaxed)
      let isPinned = unsafe block.pointee.references.load(ordering: .relaxed) > 1
      if fromSmall {
        unsafe smallSizeBytes -= size
        if uses > 0 || isPinned {
          unsafe block.pointee.uses.store(0, ordering: .relaxed)
          unsafe pushMain(block)
          continue
        }
        let hash = unsafe hash(block)
        unsafe ghostOrder += 1
        unsafe ghosts[Int(truncatingIfNeeded: hash >> 20) & (Self.ghostCount - 1)] = (hash, ghostOrder)
      } else {
        unsafe mainSizeBytes -= size
        unsafe mainCount -= 1
        if uses > 0 || isPinned {
          if uses > 0 { unsafe block.pointee.uses.store(uses - 1, ordering: .relaxed) }
          unsafe pushMain(block)
          continue
        }
      }
      unsafe block.pointee.queue = .none
      unsafe count -= 1
      unsafe evictions += 1
      unsafe evict(block)
    }
    return true
  }

  /// Lets go of everything: the cache ends.
  mutating func releaseAll() {
    while let block = unsafe small.pop() { unsafe block.release() }
    while let block = unsafe main.pop() { unsafe block.release() }
    unsafe smallSizeBytes = 0
    unsafe mainSizeBytes = 0
    unsafe count = 0
  }
}
