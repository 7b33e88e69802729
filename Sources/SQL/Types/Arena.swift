// Memory for the results of one statement: allocation is a pointer increment, freeing is a reset of everything.
//
// Chunks double from 4 KiB to 1 MiB; a larger request gets a chunk of its own. `reset` keeps the first chunk up to
// 64 KiB, so that an idle session costs little, and frees the rest. Not thread-safe: one statement, one thread.

/// A bump allocator; what it hands out is valid until `reset`, `rewind` or the arena's end.
@safe package final class Arena {
  @usableFromInline @exclusivity(unchecked) var cursor: UnsafeMutableRawPointer
  @usableFromInline @exclusivity(unchecked) var limit: UnsafeMutableRawPointer
  @usableFromInline @exclusivity(unchecked) var chunks: [UnsafeMutableRawBufferPointer]
  /// Bytes in all chunks.
  @exclusivity(unchecked) package private(set) var reservedBytes: Int

  package init(initialBytes: Int = 4096) {
    let first = UnsafeMutableRawBufferPointer.allocate(byteCount: max(initialBytes, 64), alignment: 16)
    unsafe chunks = [first]
    unsafe cursor = first.baseAddress.unsafelyUnwrapped
    unsafe limit = first.baseAddress.unsafelyUnwrapped + first.count
    unsafe reservedBytes = first.count
  }

  deinit {
    for index in unsafe chunks.indices { unsafe chunks[index].deallocate() }
  }

  /// `count` bytes aligned to 8, uninitialised.
  @unsafe @inlinable @inline(__always) package func allocate(_ count: Int) -> UnsafeMutableRawPointer {
    let rounded = (count &+ 7) & ~7
    let start = unsafe cursor
    if unsafe rounded <= limit - start {
      unsafe cursor = start + rounded
      return unsafe start
    }
    return unsafe allocateSlowly(rounded)
  }

  @unsafe @usableFromInline @inline(never) func allocateSlowly(_ count: Int) -> UnsafeMutableRawPointer {
    precondition(count >= 0, "negative allocation")
    let size = unsafe max(count, min(1 << 20, max(4096, reservedBytes)))
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
    unsafe chunks.append(chunk)
    unsafe reservedBytes += size
    let start = unsafe chunk.baseAddress.unsafelyUnwrapped
    unsafe cursor = start + count
    unsafe limit = start + size
    return unsafe start
  }

  @inlinable package func copy(_ bytes: Bytes) -> Bytes {
    guard bytes.count > 0 else { return .empty }
    let start = unsafe allocate(bytes.count)
    unsafe start.copyMemory(from: bytes.start, byteCount: bytes.count)
    return unsafe Bytes(start: start, count: bytes.count)
  }

  package func copy(_ array: [UInt8]) -> Bytes {
    Bytes.with(array) { copy($0) }
  }

  package func copy(_ text: String) -> Bytes { copy([UInt8](text.utf8)) }

  /// `count` bytes that `body` fills; it returns how many of them it used.
  @inlinable package func build(
    capacity: Int, _ body: (UnsafeMutableRawPointer) throws(SQLError) -> Int
  ) throws(SQLError) -> Bytes {
    guard capacity > 0 else { return .empty }
    let start = unsafe allocate(capacity)
    let used = try unsafe body(start)
    precondition(used >= 0 && used <= capacity, "wrote past an arena allocation")
    return unsafe Bytes(start: start, count: used)
  }

  /// A place in the arena; `rewind` frees what was allocated after it.
  @safe package struct Mark {
    let cursor: UnsafeMutableRawPointer
    let chunk: Int
  }
  package var mark: Mark { unsafe Mark(cursor: cursor, chunk: chunks.count) }

  package func rewind(to mark: Mark) {
    while unsafe chunks.count > mark.chunk {
      let chunk = unsafe chunks.removeLast()
      unsafe reservedBytes -= chunk.count
      unsafe chunk.deallocate()
    }
    let last = unsafe chunks[chunks.count - 1]
    unsafe cursor = mark.cursor
    unsafe limit = last.baseAddress.unsafelyUnwrapped + last.count
  }

  /// Frees everything that was handed out; costs nothing when one chunk was enough.
  @inlinable @inline(__always) package func reset() {
    if unsafe chunks.count == 1 {
      unsafe cursor = chunks[0].baseAddress.unsafelyUnwrapped
    } else {
      resetSlowly()
    }
  }

  @usableFromInline @inline(never) func resetSlowly() {
    // Keep the largest chunk of at most 64 KiB, so that a steady workload stops allocating.
    var kept: UnsafeMutableRawBufferPointer? = nil
    for index in unsafe chunks.indices {
      let chunk = unsafe chunks[index]
      if chunk.count <= 64 << 10, unsafe chunk.count > (kept?.count ?? 0) { unsafe kept = chunk }
    }
    let keep = unsafe kept ?? chunks[0]
    for index in unsafe chunks.indices where unsafe chunks[index].baseAddress != keep.baseAddress {
      unsafe chunks[index].deallocate()
    }
    unsafe chunks = [keep]
    unsafe reservedBytes = keep.count
    unsafe cursor = keep.baseAddress.unsafelyUnwrapped
    unsafe limit = cursor + keep.count
  }
}
