internal import Platform
internal import Synchronization

// Raw memory by offset. An arena is reserved at once and touched as it fills, or shortly before (ArenaReserve.swift), so a
// small database costs what it uses. Whoever takes memory from it finds anything there: it may be that of an earlier one.
// Offsets count 8-byte units in 32 bits (32 GiB); offset 0 is nobody's and means "none".
//
// One thread takes memory; it is never given back before the whole arena is. What was written before an offset was stored
// with release ordering is seen by whoever loads that offset with acquire ordering: this publishes records and nodes.

/// A reserved piece of address space that is filled from the bottom.
///
/// `@unchecked Sendable`: only the one writer calls `allocate`; the memory's users say how they share it.
@safe
final class Arena: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  let capacityBytes: Int
  private let memory: ArenaMemory
  private let reserve: ArenaReserve?
  /// Bytes taken so far. Written by the writer, read by anyone for statistics.
  private let used: Atomic<Int>
  /// So many of the first bytes have memory behind them, whether taken or not.
  private let backed: Atomic<Int>

  /// Takes `capacityBytes`, or a little more, from the reserve if there is one; traps when the address space refuses, as
  /// malloc does.
  init(capacityBytes: Int, reserve: ArenaReserve? = nil) {
    let rounded = Self.rounded(capacityBytes)
    precondition(rounded > 0 && rounded <= Int(UInt32.max) * 8, "arena of \(capacityBytes) bytes")
    memory = reserve?.take(rounded) ?? ArenaMemory(mapping: rounded)
    unsafe base = memory.base
    self.capacityBytes = rounded
    self.reserve = reserve
    used = Atomic(8)
    backed = Atomic(memory.backedBytes)
  }

  /// Whole pages: large ones from a few MiB on. A descent touches a dozen places far apart: with small pages most of its time
  /// goes to address translation.
  static func rounded(_ capacityBytes: Int) -> Int {
    let page = capacityBytes >= LargeMemory.smallestSizeBytes ? LargeMemory.largePageSizeBytes : 4096
    return (capacityBytes + page - 1) & ~(page - 1)
  }

  deinit {
    var memory = memory
    memory.backedBytes = max(backed.load(ordering: .relaxed), used.load(ordering: .relaxed))
    if let reserve { reserve.give(memory) } else { memory.unmap() }
  }

  var usedBytes: Int { used.load(ordering: .relaxed) }

  // MARK: Ahead of the writer

  /// Whether the writer is about to come to memory with nothing behind it, up to `end`.
  @inline(__always)
  func needsBacking(through end: Int) -> Bool { backed.load(ordering: .relaxed) < min(end, capacityBytes) }

  /// Puts memory behind everything up to `end`, without changing what is there. One thread at a time; the writer may go on.
  func back(through end: Int) {
    while needsBacking(through: end) {
      // What the writer has taken is backed, by whomever.
      let start =
        max(backed.load(ordering: .relaxed), used.load(ordering: .relaxed)) & ~(LargeMemory.largePageSizeBytes - 1)
      let count = min(LargeMemory.largePageSizeBytes, capacityBytes - start)
      guard unsafe LargeMemory.back(base + start, count) > 0 else {
        // A system that cannot do it does as before: on first touch.
        backed.store(capacityBytes, ordering: .relaxed)
        return
      }
      backed.store(start + count, ordering: .relaxed)
    }
  }

  // MARK: Taking

  /// Takes `sizeBytes` of memory at a multiple of `alignment`, and returns its offset. The caller has made sure
  /// that it fits.
  @inline(__always)
  func allocate(_ sizeBytes: Int, alignment: Int = 8) -> UInt32 {
    let start = (used.load(ordering: .relaxed) &+ alignment &- 1) & ~(alignment &- 1)
    let end = start &+ sizeBytes
    precondition(end <= capacityBytes, "the memtable's arena is too small for what it admitted")
    used.store(end, ordering: .relaxed)
    return UInt32(truncatingIfNeeded: start >> 3)
  }
}

/// The memory at an arena's offset.
@inline(__always)
func arenaAddress(_ base: UnsafeMutableRawPointer, _ offset: UInt32) -> UnsafeMutableRawPointer {
  unsafe base + Int(offset) << 3
}

extension UnsafeMutableRawPointer {
  /// The atomic word at a byte offset; any value of zeroed or once written memory is one.
  @inline(__always)
  func atomic32(_ byteOffset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (self + byteOffset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  @inline(__always)
  func atomic64(_ byteOffset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (self + byteOffset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}
