internal import Glibc

/// Memory that one thing takes at a time and fills: from a few MiB on it is worth asking for large pages. A bulk load took
/// a quarter of its time for page faults of 4 KiB.
package enum LargeMemory {
  /// From this many bytes on.
  package static let smallestSizeBytes = 4 << 20
  private static let pageSizeBytes: UInt = 2 << 20

  /// Asks the system to fill `memory`, which is about to be written for the first time, with large pages where they fit.
  /// Nothing for less than `smallestSizeBytes`; a system that has none does as before.
  package static func prepare(_ memory: UnsafeMutableRawPointer, count: Int) {
    guard count >= smallestSizeBytes else { return }
    let start = (UInt(bitPattern: memory) + pageSizeBytes - 1) & ~(pageSizeBytes - 1)
    let end = (UInt(bitPattern: memory) + UInt(count)) & ~(pageSizeBytes - 1)
    guard start < end else { return }
    _ = unsafe madvise(UnsafeMutableRawPointer(bitPattern: start), Int(end - start), MADV_HUGEPAGE)
  }

  /// Zeroed memory of its own mapping, at a page's boundary; given back by `unmap`. Stops the process when there is none, as
  /// every allocation does; callers bound what others ask for.
  static func map(_ count: Int) -> UnsafeMutableRawPointer {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    let memory = unsafe mmap(nil, count, PROT_READ | PROT_WRITE, flags, -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { fatalError("out of memory: \(count) bytes") }
    unsafe prepare(memory, count: count)
    return unsafe memory
  }

  static func unmap(_ memory: UnsafeMutableRawPointer, _ count: Int) { unsafe munmap(memory, count) }
}
