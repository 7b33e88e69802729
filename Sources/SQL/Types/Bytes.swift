internal import Glibc

// Borrowed bytes with a checked surface. This file, `Arena.swift` and `ByteBuffer.swift` are where the SQL module touches
// raw memory; what is built on them indexes with bounds checks and never sees an address.

/// A borrowed run of bytes: the same lifetime rules as `Value`.
@safe @frozen package struct Bytes: BitwiseCopyable, @unchecked Sendable {
  // Unchecked: immutable memory, owned by what the lifetime rules of `Value` name; whoever hands it to another thread
  // keeps the owner alive.
  @usableFromInline let pointer: UnsafeRawPointer
  package let count: Int

  @unsafe @inlinable @inline(__always) package init(start: UnsafeRawPointer, count: Int) {
    unsafe self.pointer = start
    self.count = count
  }

  @unsafe @inlinable package init(_ buffer: UnsafeRawBufferPointer) {
    if let base = buffer.baseAddress {
      unsafe self.init(start: base, count: buffer.count)
    } else {
      self = Bytes.empty
    }
  }

  /// No bytes, at an address that may be read for none.
  @inlinable package static var empty: Bytes {
    unsafe Bytes(start: UnsafeRawPointer(bitPattern: 16).unsafelyUnwrapped, count: 0)
  }

  @unsafe @inlinable @inline(__always) package var start: UnsafeRawPointer { unsafe pointer }
  @unsafe @inlinable package var buffer: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: pointer, count: count)
  }
  @inlinable @inline(__always) package var isEmpty: Bool { count == 0 }

  @inlinable @inline(__always) package subscript(_ index: Int) -> UInt8 {
    precondition(index >= 0 && index < count, "byte index out of range")
    return unsafe pointer.load(fromByteOffset: index, as: UInt8.self)
  }

  /// The bytes `range`, which must lie within.
  @inlinable package subscript(_ range: Range<Int>) -> Bytes {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "byte range out of range")
    return unsafe Bytes(start: pointer + range.lowerBound, count: range.count)
  }
  @inlinable package func dropFirst(_ n: Int) -> Bytes { self[Swift.min(n, count)..<count] }
  @inlinable package func prefix(_ n: Int) -> Bytes { self[0..<Swift.min(n, count)] }

  /// A fixed-width little-endian integer at `offset`, which must lie within.
  @inlinable @inline(__always) package func load<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: T.Type)
    -> T
  {
    precondition(offset >= 0 && offset &+ MemoryLayout<T>.size <= count, "byte range out of range")
    return unsafe T(littleEndian: pointer.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  @inlinable package func equals(_ other: Bytes) -> Bool {
    unsafe count == other.count && memcmp(pointer, other.pointer, count) == 0
  }
  /// -1, 0 or 1 in byte order.
  @inlinable package func compare(_ other: Bytes) -> Int {
    let common = unsafe memcmp(pointer, other.pointer, Swift.min(count, other.count))
    if common != 0 { return common < 0 ? -1 : 1 }
    return count == other.count ? 0 : (count < other.count ? -1 : 1)
  }
  @inlinable package func starts(with prefix: Bytes) -> Bool {
    unsafe count >= prefix.count && memcmp(pointer, prefix.pointer, prefix.count) == 0
  }
  /// The first place of `needle` at or after `from`.
  package func firstIndex(of needle: Bytes, from: Int = 0) -> Int? {
    guard from >= 0, from <= count else { return nil }
    if needle.isEmpty { return from }
    // memchr for the first byte, then compare: memmem is not declared by every C library's default headers.
    let first = needle[0]
    var at = from
    while at + needle.count <= count, let candidate = firstIndex(of: first, from: at) {
      guard candidate + needle.count <= count else { return nil }
      if unsafe memcmp(pointer + candidate, needle.pointer, needle.count) == 0 { return candidate }
      at = candidate + 1
    }
    return nil
  }
  package func firstIndex(of byte: UInt8, from: Int = 0) -> Int? {
    guard from >= 0, from < count else { return nil }
    guard let found = unsafe memchr(pointer + from, Int32(byte), count - from) else { return nil }
    return unsafe UnsafeRawPointer(found) - pointer
  }

  /// A copy as text; invalid UTF-8 is repaired.
  package var string: String { unsafe String(decoding: buffer, as: UTF8.self) }
  package var array: [UInt8] { unsafe [UInt8](buffer) }

  /// Calls `body` with the bytes of `array`, which live until it returns.
  @inlinable package static func with<R, E: Error>(_ array: [UInt8], _ body: (Bytes) throws(E) -> R) throws(E) -> R {
    let count = array.count
    // Typed throws do not pass through withUnsafeBytes on every standard library, hence the Result.
    let result: Result<R, E> = unsafe array.withUnsafeBytes { (buffer) -> Result<R, E> in
      let bytes = unsafe count == 0 ? Bytes.empty : Bytes(buffer)
      do throws(E) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
  }
  @inlinable package static func with<R, E: Error>(_ text: String, _ body: (Bytes) throws(E) -> R) throws(E) -> R {
    try with([UInt8](text.utf8), body)
  }
}

/// Walks over the bytes in order.
extension Bytes: Sequence {
  @safe @frozen package struct Iterator: IteratorProtocol {
    @usableFromInline var next_: UnsafeRawPointer
    @usableFromInline let end: UnsafeRawPointer
    @inlinable init(_ bytes: Bytes) {
      unsafe next_ = bytes.pointer
      unsafe end = bytes.pointer + bytes.count
    }
    @inlinable @inline(__always) package mutating func next() -> UInt8? {
      guard unsafe next_ < end else { return nil }
      defer { unsafe next_ += 1 }
      return unsafe next_.load(as: UInt8.self)
    }
  }
  @inlinable package func makeIterator() -> Iterator { Iterator(self) }
  @inlinable package var underestimatedCount: Int { count }
}
