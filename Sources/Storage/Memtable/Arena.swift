internal import Glibc
internal import Synchronization

// Raw memory by offset. An arena is reserved at once and touched as it fills, so a small database costs what it uses.
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
  /// Bytes taken so far. Written by the writer, read by anyone for statistics.
  private let used: Atomic<Int>

  /// Reserves `capacityBytes` of zeroed memory; traps when the address space refuses, as malloc does.
  init(capacityBytes: Int) {
    let page = 4096
    let rounded = (capacityBytes + page - 1) & ~(page - 1)
    precondition(rounded > 0 && rounded <= Int(UInt32.max) * 8, "arena of \(capacityBytes) bytes")
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    let memory = unsafe mmap(nil, rounded, PROT_READ | PROT_WRITE, flags, -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
      fatalError("no address space for a memtable of \(rounded) bytes (errno \(errno))")
    }
    // A descent touches a dozen places far apart: with small pages most of its time goes to address translation.
    _ = unsafe madvise(memory, rounded, MADV_HUGEPAGE)
    unsafe base = memory
    self.capacityBytes = rounded
    used = Atomic(8)
  }

  deinit { unsafe munmap(base, capacityBytes) }

  var usedBytes: Int { used.load(ordering: .relaxed) }

  /// Takes `sizeBytes` of zeroed memory at a multiple of `alignment`, and returns its offset. The caller has made sure
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
