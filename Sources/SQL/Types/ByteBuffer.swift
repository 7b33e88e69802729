// A growable, reusable run of bytes: rows, keys and text output are built in one of these and taken as `Bytes`.

/// Bytes under construction. `removeAll` keeps the memory, so that a loop over rows allocates once.
@safe @frozen package struct ByteBuffer: ~Copyable {
  @usableFromInline var base: UnsafeMutableRawPointer
  @usableFromInline var capacity: Int
  package private(set) var count: Int

  package init(capacity: Int = 256) {
    self.capacity = Swift.max(capacity, 16)
    unsafe base = .allocate(byteCount: self.capacity, alignment: 8)
    count = 0
  }

  deinit { unsafe base.deallocate() }

  /// What was written; valid until the next change of the buffer.
  @inlinable package var bytes: Bytes { unsafe Bytes(start: base, count: count) }
  package var array: [UInt8] { bytes.array }
  package var string: String { bytes.string }

  @inlinable @inline(__always) package mutating func removeAll() { count = 0 }
  /// Shortens to `newCount` bytes.
  @inlinable package mutating func truncate(to newCount: Int) {
    precondition(newCount >= 0 && newCount <= count)
    count = newCount
  }

  @inlinable @inline(__always) package mutating func reserve(_ more: Int) {
    if count &+ more > capacity { grow(more) }
  }

  @usableFromInline @inline(never) mutating func grow(_ more: Int) {
    precondition(more >= 0 && count + more < 1 << 40, "byte buffer too large")
    let newCapacity = Swift.max(capacity * 2, count + more)
    let new = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: 8)
    unsafe new.copyMemory(from: base, byteCount: count)
    unsafe base.deallocate()
    unsafe base = new
    capacity = newCapacity
  }

  @inlinable @inline(__always) package mutating func append(_ byte: UInt8) {
    reserve(1)
    unsafe base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
    count &+= 1
  }

  /// Little-endian; for big-endian pass `value.bigEndian` to `appendRaw`.
  @inlinable @inline(__always) package mutating func append<T: FixedWidthInteger & BitwiseCopyable>(little value: T) {
    appendRaw(value.littleEndian)
  }
  @inlinable @inline(__always) package mutating func append<T: FixedWidthInteger & BitwiseCopyable>(big value: T) {
    appendRaw(value.bigEndian)
  }
  @inlinable @inline(__always) package mutating func appendRaw<T: BitwiseCopyable>(_ value: T) {
    reserve(MemoryLayout<T>.size)
    unsafe base.storeBytes(of: value, toByteOffset: count, as: T.self)
    count &+= MemoryLayout<T>.size
  }

  @inlinable package mutating func append(_ bytes: Bytes) {
    reserve(bytes.count)
    unsafe (base + count).copyMemory(from: bytes.start, byteCount: bytes.count)
    count &+= bytes.count
  }
  package mutating func append(_ array: [UInt8]) {
    reserve(array.count)
    unsafe array.withUnsafeBytes { source in
      guard let start = source.baseAddress else { return }
      unsafe (base + count).copyMemory(from: start, byteCount: source.count)
    }
    count &+= array.count
  }
  package mutating func append(_ text: String) {
    for byte in text.utf8 { append(byte) }
  }
  package mutating func append(_ text: StaticString) {
    unsafe append(Bytes(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }
  /// `count` copies of `byte`.
  @inlinable package mutating func append(repeating byte: UInt8, count n: Int) {
    guard n > 0 else { return }
    reserve(n)
    unsafe (base + count).initializeMemory(as: UInt8.self, repeating: byte, count: n)
    count &+= n
  }
  package mutating func append(decimal value: Int64) {
    if value < 0 { append(UInt8(ascii: "-")) }
    append(decimal: value.magnitude)
  }
  package mutating func append(decimal value: UInt64, minimumDigits: Int = 1) {
    var digits = 1
    var bound: UInt64 = 10
    while digits < 20, value >= bound {
      digits += 1
      if digits == 20 { break }
      bound *= 10
    }
    let width = Swift.max(digits, minimumDigits)
    reserve(width)
    var rest = value
    var at = count + width - 1
    while at >= count {
      let quotient = rest / 10
      unsafe base.storeBytes(
        of: 48 &+ UInt8(truncatingIfNeeded: rest &- quotient &* 10), toByteOffset: at, as: UInt8.self)
      rest = quotient
      at -= 1
    }
    count += width
  }

  @inlinable package subscript(_ index: Int) -> UInt8 {
    get {
      precondition(index >= 0 && index < count)
      return unsafe base.load(fromByteOffset: index, as: UInt8.self)
    }
    set {
      precondition(index >= 0 && index < count)
      unsafe base.storeBytes(of: newValue, toByteOffset: index, as: UInt8.self)
    }
  }
  /// Overwrites a little-endian integer that was written before.
  @inlinable package mutating func patch<T: FixedWidthInteger & BitwiseCopyable>(little value: T, at offset: Int) {
    precondition(offset >= 0 && offset + MemoryLayout<T>.size <= count)
    unsafe base.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
  }
  /// Overwrites a big-endian integer that was written before.
  @inlinable package mutating func patch<T: FixedWidthInteger & BitwiseCopyable>(big value: T, at offset: Int) {
    precondition(offset >= 0 && offset + MemoryLayout<T>.size <= count)
    unsafe base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
  }
  /// Inverts every bit from `offset` on: a descending key is the complement of the ascending one.
  package mutating func complement(from offset: Int) {
    precondition(offset >= 0 && offset <= count)
    for index in offset..<count { self[index] = ~self[index] }
  }
  /// A copy in `arena`.
  package func copied(into arena: Arena) -> Bytes { arena.copy(bytes) }
}
