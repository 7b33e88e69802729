internal import Glibc
internal import Platform

/// Memory that is handed out byte by byte and given back all at once: a transaction's keys and values.
///
/// The first chunk is small enough for the allocator's per-thread cache, later ones grow to 1 MiB, and to 8 MiB in an arena
/// of more than that; what is larger than a quarter of a chunk gets a chunk of its own. Nothing moves until `free()`, which
/// returns chunks of 1 MiB and more to the system: the allocator would keep those of the last bulk load for the next.
@unsafe
struct Arena {
  private static let firstChunkSizeBytes = 1000
  private static let largestChunkSizeBytes = 1 << 20
  private static let hugeChunkSizeBytes = 8 << 20
  /// At the start of each chunk: the previous chunk, and the size of this one.
  private static let headerSizeBytes = 16

  private var cursor: UnsafeMutableRawPointer?
  private var left = 0
  private var newest: UnsafeMutableRawPointer?
  private var nextChunkSizeBytes = unsafe Arena.firstChunkSizeBytes
  /// All chunks together.
  private(set) var sizeBytes = 0

  init() {}

  /// Begins in memory of somebody else's.
  init(borrowing memory: UnsafeMutableRawPointer, count: Int) {
    unsafe cursor = unsafe memory
    unsafe left = count
  }

  /// `count` bytes, not aligned.
  @inline(__always)
  mutating func allocate(_ count: Int) -> UnsafeMutableRawPointer {
    if unsafe count > left { return unsafe allocateSlow(count) }
    let place = unsafe cursor.unsafelyUnwrapped
    unsafe cursor = unsafe place + count
    unsafe left &-= count
    return unsafe place
  }

  /// A copy of `bytes`.
  @inline(__always)
  mutating func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    guard bytes.count > 0 else { return unsafe UnsafeRawBufferPointer(start: nil, count: 0) }
    let place = unsafe allocate(bytes.count)
    unsafe memcpy(place, bytes.baseAddress.unsafelyUnwrapped, bytes.count)
    return unsafe UnsafeRawBufferPointer(start: place, count: bytes.count)
  }

  @inline(never)
  private mutating func allocateSlow(_ count: Int) -> UnsafeMutableRawPointer {
    if unsafe count > nextChunkSizeBytes / 4 && count > 256 {
      // Its own chunk, behind the newest so that what is left there stays in use.
      // What would fit into it is likely to be followed by its like: chunks grow all the same.
      let next = unsafe nextChunkSizeBytes
      if count <= next { unsafe nextChunkSizeBytes = max(next, min(next * 4, Arena.largestChunkSizeBytes)) }
      let chunk = unsafe newChunk(count + Arena.headerSizeBytes)
      if let current = unsafe newest {
        unsafe chunk.storeBytes(of: current.load(as: UnsafeMutableRawPointer?.self), as: UnsafeMutableRawPointer?.self)
        unsafe current.storeBytes(of: chunk, as: UnsafeMutableRawPointer?.self)
      } else {
        unsafe chunk.storeBytes(of: nil, as: UnsafeMutableRawPointer?.self)
        unsafe newest = unsafe chunk
      }
      return unsafe chunk + Arena.headerSizeBytes
    }
    let size = unsafe nextChunkSizeBytes
    let chunk = unsafe newChunk(size)
    unsafe chunk.storeBytes(of: newest, as: UnsafeMutableRawPointer?.self)
    unsafe newest = unsafe chunk
    let largest = unsafe sizeBytes >= Arena.hugeChunkSizeBytes ? Arena.hugeChunkSizeBytes : Arena.largestChunkSizeBytes
    unsafe nextChunkSizeBytes = min(size * 4, largest)
    unsafe cursor = unsafe chunk + Arena.headerSizeBytes + count
    unsafe left = size - Arena.headerSizeBytes - count
    return unsafe chunk + Arena.headerSizeBytes
  }

  private mutating func newChunk(_ size: Int) -> UnsafeMutableRawPointer {
    unsafe sizeBytes += size
    let chunk: UnsafeMutableRawPointer
    if unsafe size >= Arena.largestChunkSizeBytes {
      unsafe chunk = LargeMemory.map(size)
    } else {
      // Less than 1 MiB: nobody gets on where that is not to be had. What statements ask for is bounded by
      // `transactionSizeBytes` before.
      guard let memory = unsafe malloc(size) else { fatalError("out of memory: \(size) bytes for a transaction") }
      unsafe chunk = unsafe memory
    }
    unsafe chunk.storeBytes(of: size, toByteOffset: 8, as: Int.self)
    return unsafe chunk
  }

  /// Calls `body` with the chunks that are mapped, at a page's boundary each; their first bytes are the arena's.
  func forEachMapped(_ body: (UnsafeMutableRawPointer, Int) -> Void) {
    var chunk = unsafe newest
    while let current = unsafe chunk {
      let size = unsafe current.load(fromByteOffset: 8, as: Int.self)
      if unsafe size >= Arena.largestChunkSizeBytes { unsafe body(current, size) }
      unsafe chunk = unsafe current.load(as: UnsafeMutableRawPointer?.self)
    }
  }

  /// Gives everything back; the arena can be used again.
  mutating func free() {
    var chunk = unsafe newest
    while let current = unsafe chunk {
      unsafe chunk = unsafe current.load(as: UnsafeMutableRawPointer?.self)
      let size = unsafe current.load(fromByteOffset: 8, as: Int.self)
      if unsafe size >= Arena.largestChunkSizeBytes {
        unsafe LargeMemory.unmap(current, size)
      } else {
        unsafe Glibc.free(current)
      }
    }
    unsafe self = unsafe Arena()
  }
}

/// A growing array of trivial values in memory of its own: no reference counting, no uniqueness checks, freed by hand.
@unsafe
struct RawList<Element: BitwiseCopyable> {
  private(set) var base: UnsafeMutablePointer<Element>?
  private(set) var count = 0
  private(set) var capacity = 0
  private var isBorrowed = false

  init() {}

  /// Begins in memory of somebody else's, aligned and large enough; moves out when it outgrows it.
  init(borrowing memory: UnsafeMutableRawPointer, capacity: Int) {
    unsafe base = unsafe memory.bindMemory(to: Element.self, capacity: capacity)
    unsafe self.capacity = capacity
    unsafe isBorrowed = true
  }

  var isEmpty: Bool { unsafe count == 0 }
  var sizeBytes: Int { unsafe capacity * MemoryLayout<Element>.stride }

  @inline(__always)
  subscript(index: Int) -> Element {
    get {
      unsafe assert(index >= 0 && index < count)
      return unsafe base.unsafelyUnwrapped[index]
    }
    nonmutating set {
      unsafe assert(index >= 0 && index < count)
      unsafe base.unsafelyUnwrapped[index] = newValue
    }
  }

  /// Where the element lies, until the list grows.
  @inline(__always)
  func pointer(_ index: Int) -> UnsafeMutablePointer<Element> {
    unsafe assert(index >= 0 && index < count)
    return unsafe base.unsafelyUnwrapped + index
  }

  @inline(__always)
  mutating func append(_ element: Element) {
    if unsafe count == capacity { unsafe grow(to: max(4, capacity * 2)) }
    unsafe (base.unsafelyUnwrapped + count).initialize(to: element)
    unsafe count &+= 1
  }

  @inline(__always)
  mutating func removeLast() -> Element {
    unsafe assert(count > 0)
    unsafe count &-= 1
    return unsafe base.unsafelyUnwrapped[count]
  }

  mutating func insert(_ element: Element, at index: Int) {
    if unsafe count == capacity { unsafe grow(to: max(4, capacity * 2)) }
    let place = unsafe base.unsafelyUnwrapped + index
    unsafe memmove(place + 1, place, (count - index) * MemoryLayout<Element>.stride)
    unsafe place.initialize(to: element)
    unsafe count &+= 1
  }

  mutating func remove(at index: Int) {
    let place = unsafe base.unsafelyUnwrapped + index
    unsafe memmove(place, place + 1, (count - index - 1) * MemoryLayout<Element>.stride)
    unsafe count &-= 1
  }

  /// Removes by moving the last element into the gap.
  @inline(__always)
  mutating func swapRemove(at index: Int) {
    unsafe count &-= 1
    unsafe base.unsafelyUnwrapped[index] = base.unsafelyUnwrapped[count]
  }

  /// Shortens to `count` elements.
  mutating func truncate(to count: Int) {
    unsafe assert(count <= self.count)
    unsafe self.count = count
  }

  mutating func removeAll() { unsafe count = 0 }

  @inline(never)
  private mutating func grow(to capacity: Int) {
    let size = capacity * MemoryLayout<Element>.stride
    guard let memory = unsafe realloc(isBorrowed ? nil : base, size) else { fatalError("out of memory: \(size) bytes") }
    if unsafe isBorrowed {
      unsafe memcpy(memory, base.unsafelyUnwrapped, count * MemoryLayout<Element>.stride)
      unsafe isBorrowed = false
    }
    unsafe LargeMemory.prepare(memory, count: size)
    unsafe base = unsafe memory.assumingMemoryBound(to: Element.self)
    unsafe self.capacity = capacity
  }

  mutating func reserve(_ capacity: Int) {
    if unsafe capacity > self.capacity { unsafe grow(to: capacity) }
  }

  mutating func free() {
    if unsafe !isBorrowed { unsafe Glibc.free(base) }
    unsafe self = unsafe RawList()
  }
}
