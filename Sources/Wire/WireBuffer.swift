/// A queue of bytes in one piece of memory that grows: appended at the end, consumed at the front, reused for ever.
///
/// A session owns two: what has come and is not yet understood, and what is to be sent. In the steady state neither
/// allocates: when a buffer runs empty it starts again at its beginning and keeps its memory, up to `keptCapacity`.
///
/// ```
///            0        start                     end           capacity
///            ├────────┼─────────────────────────┼─────────────┤
///            consumed   content (`count` bytes)    free
/// ```
///
/// 1. `0 ≤ start ≤ end ≤ capacity`; memory below `end` is initialised.
/// 2. Offsets that callers see count from `start`; they stay right when the content moves.
/// 3. Content is moved to the front only when it is not longer than what was consumed, and capacity doubles otherwise;
///    so a byte is moved a constant number of times on average, whatever the pieces.
/// 4. Memory is taken for bytes that are there, never for bytes that a peer announces.
@safe
package struct WireBuffer: ~Copyable {
  /// A buffer that runs empty gives its memory back if it had grown beyond this.
  package static let keptCapacity = 32 * 1024

  @usableFromInline var memory: UnsafeMutableRawPointer?
  @usableFromInline package private(set) var capacity = 0
  @usableFromInline var start = 0
  @usableFromInline var end = 0

  /// An empty buffer, which has taken no memory yet.
  @inlinable
  package init() { unsafe memory = nil }

  deinit { unsafe memory?.deallocate() }

  /// How many bytes are in it.
  @inlinable package var count: Int { end &- start }
  @inlinable package var isEmpty: Bool { start == end }
}

// The memory has one owner, and no reference to it leaves the closures below.
extension WireBuffer: @unchecked Sendable {}

extension WireBuffer {
  /// The content, for the time of `body`.
  @inlinable
  package func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    let content = unsafe UnsafeRawBufferPointer(
      start: unsafe memory.map { unsafe UnsafeRawPointer($0) + start }, count: count)
    return unsafe try body(content.bytes)
  }

  /// Part of the content, for the time of `body`. The part must lie within.
  @inlinable
  package func withBytes<R, E: Error>(of slice: WireSlice, _ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    precondition(slice.offset >= 0 && slice.count >= 0 && slice.offset &+ slice.count <= count)
    return try withBytes { (all: RawSpan) throws(E) -> R in
      try body(all.extracting(slice.offset..<slice.offset &+ slice.count))
    }
  }

  /// A copy of the content.
  package var array: [UInt8] { array(of: WireSlice(offset: 0, count: count)) }

  /// A copy of part of the content.
  package func array(of slice: WireSlice) -> [UInt8] {
    withBytes(of: slice) { span in unsafe span.withUnsafeBytes { unsafe [UInt8]($0) } }
  }

  /// Forgets the first `size` bytes, which must be there.
  @inlinable
  package mutating func consume(_ size: Int) {
    precondition(size >= 0 && size <= count)
    start &+= size
    if start == end { empty() }
  }

  /// Forgets everything, and gives memory back if there is much of it.
  @inlinable
  package mutating func removeAll() { empty() }

  @usableFromInline
  mutating func empty() {
    (start, end) = (0, 0)
    if capacity > Self.keptCapacity { release() }
  }

  /// Gives the memory of an empty buffer back: for a connection that has become idle. Nothing happens otherwise.
  package mutating func releaseIfEmpty() {
    if isEmpty { release() }
  }

  private mutating func release() {
    unsafe memory?.deallocate()
    unsafe memory = nil
    (capacity, start, end) = (0, 0, 0)
  }

  /// Makes room for `size` more bytes.
  @inlinable
  package mutating func reserve(_ size: Int) {
    if capacity &- end < size { makeRoom(size) }
  }

  @usableFromInline
  mutating func makeRoom(_ size: Int) {
    precondition(size >= 0)
    let live = count
    if start >= live, capacity - live >= size, let memory = unsafe memory {
      unsafe memory.copyMemory(from: memory + start, byteCount: live)
    } else {
      let wanted = max(256, max(capacity * 2, live + size))
      let fresh = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: 16)
      if let memory = unsafe memory {
        unsafe fresh.copyMemory(from: memory + start, byteCount: live)
        unsafe memory.deallocate()
      }
      unsafe memory = fresh
      capacity = wanted
    }
    (start, end) = (0, live)
  }
}

// Appending.
extension WireBuffer {
  @inlinable
  package mutating func append(_ byte: UInt8) {
    reserve(1)
    unsafe memory.unsafelyUnwrapped.storeBytes(of: byte, toByteOffset: end, as: UInt8.self)
    end &+= 1
  }

  /// Appends a fixed-width integer in network byte order.
  @inlinable
  package mutating func append<T: FixedWidthInteger & BitwiseCopyable>(bigEndian value: T) {
    reserve(MemoryLayout<T>.size)
    unsafe memory.unsafelyUnwrapped.storeBytes(of: value.bigEndian, toByteOffset: end, as: T.self)
    end &+= MemoryLayout<T>.size
  }

  @inlinable
  package mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    reserve(bytes.count)
    unsafe (memory.unsafelyUnwrapped + end).copyMemory(from: source, byteCount: bytes.count)
    end &+= bytes.count
  }

  @inlinable
  package mutating func append(_ bytes: RawSpan) {
    reserve(bytes.byteCount)
    unsafe bytes.withUnsafeBytes { unsafe append($0) }
  }

  @inlinable
  package mutating func append(_ bytes: [UInt8]) {
    unsafe bytes.withUnsafeBytes { unsafe append($0) }
  }

  /// Appends a text without an end mark.
  @inlinable
  package mutating func append(utf8 text: String) {
    let done: Void? = unsafe text.utf8.withContiguousStorageIfAvailable { unsafe append(UnsafeRawBufferPointer($0)) }
    if done == nil { for byte in text.utf8 { append(byte) } }
  }

  /// Appends a text and a zero byte. A zero within the text ends it: the peer would read the rest as something else.
  @inlinable
  package mutating func append(zeroTerminated text: String) {
    let from = count
    append(utf8: text)
    cutAtZero(from: from)
    append(0 as UInt8)
  }

  /// Cuts what was appended since `offset` at its first zero byte.
  @usableFromInline
  mutating func cutAtZero(from offset: Int) {
    guard let memory = unsafe memory else { return }
    for place in (start + offset)..<end where unsafe memory.load(fromByteOffset: place, as: UInt8.self) == 0 {
      end = place
      return
    }
  }

  /// Appends an integer as decimal text, without taking memory for it.
  @inlinable
  package mutating func append(decimal value: Int64) {
    reserve(20)
    if value < 0 { append(UInt8(ascii: "-")) }
    var rest = value.magnitude
    var digits = 1
    var scale = rest
    while scale >= 10 {
      scale /= 10
      digits &+= 1
    }
    let base = unsafe memory.unsafelyUnwrapped
    for place in stride(from: end &+ digits &- 1, through: end, by: -1) {
      unsafe base.storeBytes(
        of: UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10), toByteOffset: place, as: UInt8.self)
      rest /= 10
    }
    end &+= digits
  }

  /// Overwrites four bytes at `offset`, in network byte order. They must have been appended before.
  @inlinable
  package mutating func patch(_ value: Int32, at offset: Int) {
    precondition(offset >= 0 && offset &+ 4 <= count)
    unsafe memory.unsafelyUnwrapped.storeBytes(of: value.bigEndian, toByteOffset: start &+ offset, as: Int32.self)
  }

  /// Overwrites two bytes at `offset`, in network byte order. They must have been appended before.
  @inlinable
  package mutating func patch(_ value: UInt16, at offset: Int) {
    precondition(offset >= 0 && offset &+ 2 <= count)
    unsafe memory.unsafelyUnwrapped.storeBytes(of: value.bigEndian, toByteOffset: start &+ offset, as: UInt16.self)
  }

  /// Takes back everything that was appended at and after `offset`.
  @inlinable
  package mutating func truncate(to offset: Int) {
    precondition(offset >= 0 && offset <= count)
    end = start &+ offset
  }
}

/// A part of a buffer's content, by its offset from the first byte not yet consumed.
///
/// It holds until the next message is asked for: bytes that arrive meanwhile do not disturb it.
@frozen
package struct WireSlice: Equatable, Sendable {
  package var offset: Int
  package var count: Int

  @inlinable
  package init(offset: Int, count: Int) {
    self.offset = offset
    self.count = count
  }
}

/// A value on the wire: null, or bytes in the text or the binary format.
@frozen
package enum WireValue: Equatable, Sendable {
  case null
  case bytes(WireSlice)
}

/// The values of a Bind or a DataRow, in order, each behind its length. Checked when the message was decoded.
///
/// A cursor without memory of its own: `next(in:)` walks the buffer that holds the message.
@frozen
package struct WireValues: Equatable, Sendable {
  /// How many are left.
  package var remaining: Int
  @usableFromInline var offset: Int

  @inlinable
  package init(remaining: Int, offset: Int) {
    self.remaining = remaining
    self.offset = offset
  }

  /// The next value, or nil after the last. `buffer` is the one that the message was decoded from.
  @inlinable
  package mutating func next(in buffer: borrowing WireBuffer) -> WireValue? {
    guard remaining > 0 else { return nil }
    let at = offset
    let length = buffer.withBytes { span in Int(Int32(bigEndian: span.integer(at: at))) }
    remaining &-= 1
    offset = at &+ 4 &+ max(0, length)
    return length < 0 ? .null : .bytes(WireSlice(offset: at &+ 4, count: length))
  }
}

extension RawSpan {
  /// The integer whose bytes begin at `offset`, as they lie in memory. It must lie within.
  @inlinable
  package func integer<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int) -> T {
    precondition(offset >= 0 && offset &+ MemoryLayout<T>.size <= byteCount)
    return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: T.self)
  }
}
