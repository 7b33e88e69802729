internal import CSynod
internal import Glibc

/// Memory that one thing takes at a time and fills: from a few MiB on it is worth asking for large pages. A bulk load took
/// a quarter of its time for page faults of 4 KiB.
package enum LargeMemory {
  /// From this many bytes on.
  package static let smallestSizeBytes = 4 << 20
  package static let largePageSizeBytes = 2 << 20

  /// Asks the system to fill `memory`, which is about to be written for the first time, with large pages where they fit.
  /// Nothing for less than `smallestSizeBytes`; a system that has none does as before.
  package static func prepare(_ memory: UnsafeMutableRawPointer, count: Int) {
    guard count >= smallestSizeBytes else { return }
    let page = UInt(largePageSizeBytes)
    let start = (UInt(bitPattern: memory) + page - 1) & ~(page - 1)
    let end = (UInt(bitPattern: memory) + UInt(count)) & ~(page - 1)
    guard start < end else { return }
    _ = unsafe madvise(UnsafeMutableRawPointer(bitPattern: start), Int(end - start), MADV_HUGEPAGE)
  }

  /// Zeroed memory of its own mapping, at a page's boundary; given back by `unmap`. Stops the process when there is none, as
  /// every allocation does; callers bound what others ask for.
  package static func map(_ count: Int) -> UnsafeMutableRawPointer {
    unsafe map(count, MAP_PRIVATE | MAP_ANONYMOUS)
  }

  /// The same, without room being set aside for what is never touched.
  package static func reserve(_ count: Int) -> UnsafeMutableRawPointer {
    unsafe map(count, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
  }

  private static func map(_ count: Int, _ flags: Int32) -> UnsafeMutableRawPointer {
    let memory = unsafe mmap(nil, count, PROT_READ | PROT_WRITE, flags, -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { fatalError("out of memory: \(count) bytes") }
    unsafe prepare(memory, count: count)
    return unsafe memory
  }

  /// Has the system put memory behind `count` bytes, which hold what they held; others may read and write them meanwhile.
  /// Milliseconds for a large page where it has to be found first.
  ///
  /// - Returns: `count`; 0 where the system cannot do it (before Linux 5.14) or has no memory.
  package static func back(_ memory: UnsafeMutableRawPointer, _ count: Int) -> Int {
    unsafe madvise(memory, count, synod_populate_write) == 0 ? count : 0
  }

  /// Gives the memory behind whole pages back to the system; they read as zeros from then on.
  package static func discard(_ memory: UnsafeMutableRawPointer, _ count: Int) {
    // What the system cannot take it keeps: nothing is wrong then.
    _ = unsafe madvise(memory, count, MADV_DONTNEED)
  }

  package static func unmap(_ memory: UnsafeMutableRawPointer, _ count: Int) { unsafe munmap(memory, count) }
}

/// A transaction's batch of several MiB in memory of its own, which is passed on where a small one is copied: for a bulk
/// load a copy is a hundred MiB and as many milliseconds. Before it there is room for its length, so that it can become a
/// group's payload as it is. Given back to the system with the object.
///
/// `@unchecked Sendable`: whoever makes it fills it before it shares it; then it is only read.
@safe
package final class LargeBatch: @unchecked Sendable {
  /// Smaller batches are copied.
  package static let smallestSizeBytes = 4 << 20
  private static let prefixSizeBytes = 4

  private let memory: UnsafeMutableRawBufferPointer
  private var count = 0

  /// Room for a batch of `capacityBytes`.
  package init(capacityBytes: Int) {
    precondition(capacityBytes > 0 && capacityBytes <= Int(UInt32.max))
    let size = capacityBytes + Self.prefixSizeBytes
    unsafe memory = UnsafeMutableRawBufferPointer(start: LargeMemory.map(size), count: size)
  }

  deinit { if let start = unsafe memory.baseAddress { unsafe LargeMemory.unmap(start, memory.count) } }

  /// Has `body` write the batch, and notes its length, which `body` returns.
  package func fill(_ body: (UnsafeMutableRawBufferPointer) -> Int) {
    count = unsafe body(UnsafeMutableRawBufferPointer(rebasing: memory[Self.prefixSizeBytes...]))
    precondition(unsafe count >= 0 && count <= memory.count - Self.prefixSizeBytes)
    unsafe memory.storeBytes(of: UInt32(count).littleEndian, as: UInt32.self)
  }

  /// The batch; valid as long as the object.
  package var bytes: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(rebasing: memory[Self.prefixSizeBytes..<Self.prefixSizeBytes + count])
  }

  /// The batch behind its length, 32 bits, little endian; valid as long as the object.
  package var payload: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(rebasing: memory[..<(Self.prefixSizeBytes + count)])
  }
}
