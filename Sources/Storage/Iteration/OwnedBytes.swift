internal import Glibc

/// Bytes with memory of their own that is kept between uses: no allocation once it is large enough.
///
/// `@unchecked Sendable`: it has one owner; who shares it does so to read.
@safe
final class OwnedBytes: @unchecked Sendable {
  @exclusivity(unchecked) private var memory: UnsafeMutableRawPointer
  @exclusivity(unchecked) private var capacity: Int
  @exclusivity(unchecked) private(set) var count = 0

  init(capacity: Int = 64) {
    unsafe memory = .allocate(byteCount: capacity, alignment: 16)
    unsafe self.capacity = capacity
  }

  convenience init(_ bytes: [UInt8]) {
    self.init(capacity: max(bytes.count, 16))
    unsafe bytes.withUnsafeBytes { unsafe assign($0) }
  }

  deinit { unsafe memory.deallocate() }

  /// Valid until the next `assign`.
  @inline(__always) var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: memory, count: count) }

  /// Takes a copy of `bytes`, which may be a part of what it holds.
  @inline(__always)
  func assign(_ bytes: UnsafeRawBufferPointer) {
    let size = bytes.count
    if unsafe size > capacity {
      unsafe grow(size, bytes)
    } else if let source = bytes.baseAddress {
      unsafe memmove(memory, source, size)
    }
    unsafe count = size
  }

  @inline(never)
  private func grow(_ size: Int, _ bytes: UnsafeRawBufferPointer) {
    let larger = unsafe max(size, capacity * 2)
    let new = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
    unsafe new.copyMemory(from: bytes.baseAddress!, byteCount: size)
    unsafe memory.deallocate()
    unsafe memory = new
    unsafe capacity = larger
  }

  @inline(__always)
  func isEqual(_ other: UnsafeRawBufferPointer) -> Bool {
    guard unsafe other.count == count else { return false }
    return unsafe count == 0 || memcmp(memory, other.baseAddress.unsafelyUnwrapped, count) == 0
  }
}
