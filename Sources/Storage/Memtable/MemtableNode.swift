internal import Encoding
internal import Glibc
internal import Synchronization

// A node of the memtable's B+tree, at a multiple of 64 bytes in the arena. Leaf and inner nodes have the same shape; a leaf
// lacks the children.
//
//   offset  size  field
//   0       8     version: odd while the writer changes the node, larger after every change
//   8       4     count of keys, n ≤ 64
//   12      4     level, 0 for a leaf (never changes)
//   16      4     skip: how many first bytes all keys below have in common
//   20      4     low fence: record of the smallest place that belongs here, 0 = no bound
//   24      4     high fence: record of the smallest place that belongs to the right neighbour, 0 = no bound
//   32      512   heads: for each key its eight bytes after the first `skip`, big endian, zero padded
//   544     256   records: the entries (leaf) or separators (inner)
//   800     264   children, n + 1 of them (inner only)
//
// 1. Keys are in internal order, and all lie in [low fence, high fence).
// 2. The separator before a child is the child's low fence; in a leaf with a low fence the first entry *is* that record's
//    (key, version), for entries are never removed.
// 3. Every slot below `count` holds a valid offset at any moment, also while the writer moves them: a reader may follow what it
//    loads before it has validated it, and only then learns that it was elsewhere than it thought.
//
// Common prefixes are left out of the heads because the keys of one table or index begin alike: what decides is behind.
//
// Reading (optimistic lock coupling: Leis, Scheibner, Kemper, Neumann, "The ART of Practical Synchronization", DaMoN
// 2016; seqlocks in C++ terms: Boehm, MSPC 2012): load an even version (acquire), read with atomic loads, fence (acquire), load the
// version again; equal means that all was read between two changes. Heads are loaded relaxed; offsets with acquire, so that what they point at is
// there.

/// Where a node's parts are.
enum NodeLayout {
  static let capacity = 64
  static let heads = 32
  static let records = heads + 8 * capacity
  static let children = records + 4 * capacity
  static let leafSizeBytes = children
  static let innerSizeBytes = children + 4 * (capacity + 4)
}

/// A view of a node.
@unsafe
struct MemtableNode {
  let address: UnsafeMutableRawPointer

  @inline(__always)
  init(_ address: UnsafeMutableRawPointer) { unsafe self.address = address }

  /// Makes it an empty leaf, before anybody can come here: the memory may be that of an earlier memtable.
  func clear(_ sizeBytes: Int) { unsafe address.initializeMemory(as: UInt8.self, repeating: 0, count: sizeBytes) }

  // MARK: Versions

  /// The node's version when nobody changes it; waits while somebody does.
  @inline(__always)
  func stableVersion() -> UInt64 {
    let version = unsafe address.atomic64(0).pointee.load(ordering: .acquiring)
    if version & 1 == 0 { return version }
    return unsafe waitForStableVersion()
  }

  @inline(never)
  private func waitForStableVersion() -> UInt64 {
    var spins = 0
    while true {
      let version = unsafe address.atomic64(0).pointee.load(ordering: .acquiring)
      if version & 1 == 0 { return version }
      spins += 1
      // The writer holds a node for well below a microsecond, unless it lost its processor.
      if spins > 200 { sched_yield() }
    }
  }

  /// Whether everything that was read since `stableVersion()` returned `version` belongs together.
  @inline(__always)
  func isUnchanged(_ version: UInt64) -> Bool {
    atomicMemoryFence(ordering: .acquiring)
    return unsafe address.atomic64(0).pointee.load(ordering: .relaxed) == version
  }

  /// The writer is about to change the node.
  @inline(__always)
  func lock() {
    let version = unsafe address.atomic64(0).pointee.load(ordering: .relaxed)
    unsafe address.atomic64(0).pointee.store(version &+ 1, ordering: .relaxed)
    // The changes that follow must not be seen before the odd version.
    atomicMemoryFence(ordering: .releasing)
  }

  /// The change is complete.
  @inline(__always)
  func unlock() {
    let version = unsafe address.atomic64(0).pointee.load(ordering: .relaxed)
    unsafe address.atomic64(0).pointee.store(version &+ 1, ordering: .releasing)
  }

  // MARK: Fields

  @inline(__always) var count: Int {
    get { unsafe Int(address.atomic32(8).pointee.load(ordering: .acquiring)) }
    nonmutating set { unsafe address.atomic32(8).pointee.store(UInt32(newValue), ordering: .releasing) }
  }

  @inline(__always) var level: UInt32 {
    get { unsafe address.atomic32(12).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe address.atomic32(12).pointee.store(newValue, ordering: .relaxed) }
  }

  @inline(__always) var skip: Int {
    get { unsafe Int(address.atomic32(16).pointee.load(ordering: .relaxed)) }
    nonmutating set { unsafe address.atomic32(16).pointee.store(UInt32(newValue), ordering: .relaxed) }
  }

  @inline(__always) var lowFence: UInt32 {
    get { unsafe address.atomic32(20).pointee.load(ordering: .acquiring) }
    nonmutating set { unsafe address.atomic32(20).pointee.store(newValue, ordering: .releasing) }
  }

  @inline(__always) var highFence: UInt32 {
    get { unsafe address.atomic32(24).pointee.load(ordering: .acquiring) }
    nonmutating set { unsafe address.atomic32(24).pointee.store(newValue, ordering: .releasing) }
  }

  @inline(__always)
  func head(_ index: Int) -> UInt64 {
    unsafe address.atomic64(NodeLayout.heads + index << 3).pointee.load(ordering: .relaxed)
  }

  @inline(__always)
  func setHead(_ index: Int, _ head: UInt64) {
    unsafe address.atomic64(NodeLayout.heads + index << 3).pointee.store(head, ordering: .relaxed)
  }

  @inline(__always)
  func record(_ index: Int) -> UInt32 {
    unsafe address.atomic32(NodeLayout.records + index << 2).pointee.load(ordering: .acquiring)
  }

  @inline(__always)
  func setRecord(_ index: Int, _ offset: UInt32) {
    unsafe address.atomic32(NodeLayout.records + index << 2).pointee.store(offset, ordering: .releasing)
  }

  @inline(__always)
  func child(_ index: Int) -> UInt32 {
    unsafe address.atomic32(NodeLayout.children + index << 2).pointee.load(ordering: .acquiring)
  }

  @inline(__always)
  func setChild(_ index: Int, _ offset: UInt32) {
    unsafe address.atomic32(NodeLayout.children + index << 2).pointee.store(offset, ordering: .releasing)
  }

  // MARK: Searching

  /// The number of heads among the first `count` that are smaller than `head`. Without branches that depend on data.
  @inline(__always)
  private func headsBelow(_ head: UInt64, _ count: Int) -> Int {
    guard count > 0 else { return 0 }
    var first = 0
    var length = count
    while length > 1 {
      let half = length >> 1
      first = unsafe self.head(first &+ half &- 1) < head ? first &+ half : first
      length &-= half
    }
    return unsafe self.head(first) < head ? first &+ 1 : first
  }

  /// The number of keys that come before `target`, or, `orEqual`, that do not come after it.
  @inline(__always)
  func keys(before target: SeekTarget, orEqual: Bool, _ base: UnsafeMutableRawPointer) -> Int {
    let count = unsafe self.count
    let skip = unsafe self.skip
    let head = unsafe target.head(skip)
    var low = unsafe headsBelow(head, count)
    guard low < count, unsafe self.head(low) == head else { return low }
    // Equal heads: mostly one key, but a key that is written all the time fills whole nodes with its versions.
    var high = low &+ 1
    if unsafe high < count && self.head(high) == head {
      high = unsafe head == UInt64.max ? count : headsBelow(head &+ 1, count)
    }
    while low < high {
      let middle = (low &+ high) >> 1
      let order = unsafe MemtableRecord(base, record(middle)).compare(target, skip: skip)
      if order < 0 || (orEqual && order == 0) { low = middle &+ 1 } else { high = middle }
    }
    return low
  }
}
