/// Owned memory at a 4 KiB boundary, as direct I/O needs it. Zeroed when made; freed with the object.
///
/// `@unchecked Sendable`: the memory has one owner at a time; whoever shares the object says in its own documentation who
/// writes when.
@safe
package final class AlignedBuffer: @unchecked Sendable {
  package static let alignment = 4096

  /// The memory; its count is a multiple of 4 KiB.
  package let bytes: UnsafeMutableRawBufferPointer

  /// At least `sizeBytes` bytes, rounded up to 4 KiB.
  package init(sizeBytes: Int) {
    precondition(sizeBytes > 0)
    let rounded = (sizeBytes + Self.alignment - 1) & ~(Self.alignment - 1)
    isMapped = rounded >= LargeMemory.smallestSizeBytes
    if isMapped {
      // Zeros that nobody touches cost nothing.
      unsafe bytes = unsafe UnsafeMutableRawBufferPointer(start: LargeMemory.map(rounded), count: rounded)
      return
    }
    unsafe bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: rounded, alignment: Self.alignment)
    unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }

  private let isMapped: Bool

  deinit {
    guard isMapped, let start = unsafe bytes.baseAddress else { return unsafe bytes.deallocate() }
    unsafe LargeMemory.unmap(start, bytes.count)
  }
}
