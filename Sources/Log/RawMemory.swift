/// Stores `value`, little endian, at `offset`.
@inline(__always)
func store<T: FixedWidthInteger>(_ value: T, in memory: UnsafeMutableRawBufferPointer, at offset: Int) {
  precondition(offset >= 0 && offset + MemoryLayout<T>.size <= memory.count)
  unsafe memory.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
}

/// Loads an integer, little endian, from `offset`.
@inline(__always)
func load<T: FixedWidthInteger>(_ type: T.Type = T.self, from memory: UnsafeRawBufferPointer, at offset: Int) -> T {
  precondition(offset >= 0 && offset + MemoryLayout<T>.size <= memory.count)
  return unsafe T(littleEndian: memory.loadUnaligned(fromByteOffset: offset, as: T.self))
}

/// Whether every byte is zero.
func isAllZero(_ memory: UnsafeRawBufferPointer) -> Bool {
  var offset = 0
  while offset + 8 <= memory.count {
    if unsafe memory.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { return false }
    offset += 8
  }
  while offset < memory.count {
    if unsafe memory[offset] != 0 { return false }
    offset += 1
  }
  return true
}

/// `count` rounded up to a multiple of 4 KiB.
@inline(__always)
func roundedToBlock(_ count: Int) -> Int { (count + logBlockSizeBytes - 1) & ~(logBlockSizeBytes - 1) }

/// The unit in which the log is written: one page, at least as large as any sector, as direct I/O wants it.
package let logBlockSizeBytes = 4096
