package import Encoding
internal import Glibc
internal import Platform
internal import Synchronization

// The newest writes, in memory: a B+tree over an arena, with one writer and any number of readers that never wait for a
// lock and never make the writer wait (`MemtableNode` has the protocol and the layout).
//
// 1. One thread writes. Entries are never changed or removed; the tree only grows.
// 2. All versions in a newer memtable are larger than all in an older one: memtables change between groups.
// 3. Nodes except the last leaf and the last inner node of each level are at least half full, so that what a group
//    needs can be bounded before its first entry is inserted.
// 4. Range deletions stand beside the tree, as fragmented sets of geometrically growing size: adding one merges the
//    sets of equal size, so n deletions cost O(n log n) in all, and a reader looks into at most log n sets.
//    Each state of that list stays until the memtable goes, because readers hold no lock on it.

/// The newest writes, in memory. One writer; readers on any thread.
///
/// `@unchecked Sendable`: `insert` and `add` are called by one thread at a time (the engine's writer); everything that
/// readers touch is atomic or was written before an atomic store with release ordering that led them there.
@safe
package final class Memtable: @unchecked Sendable {
  private let arena: Arena
  let tree: MemtableTree
  /// The size at which it should be replaced.
  package let sizeBytes: Int
  private let entries = Atomic<Int>(0)

  /// The leaf that took the last entry, and whether it took the one before as well: then the next is looked for there
  /// first, and runs of neighbouring keys skip the descent.
  @exclusivity(unchecked) private var lastLeaf: MemtableNode
  @exclusivity(unchecked) private var isRun = false

  /// Every list of range deletions that readers may still look at; the last is current.
  @exclusivity(unchecked) private var keptLists: [RangeDeletionList] = []
  @exclusivity(unchecked) private var deletionSizeBytes = 0
  @exclusivity(unchecked) private var nodeSizeBytes = 0

  /// A memtable to be replaced at `sizeBytes`, with room for a group that needs `groupSizeBytes` (see `bound`) when it is
  /// empty. Its memory comes from `reserve` and goes back there, if there is one.
  package init(sizeBytes: Int, groupSizeBytes: Int = 0, reserve: ArenaReserve? = nil) {
    self.sizeBytes = sizeBytes
    let (usual, needed) = (Self.capacity(sizeBytes), groupSizeBytes + Self.fixedSizeBytes)
    // The memory of a bulk load fits nobody else.
    arena = needed > usual ? Arena(capacityBytes: needed) : Arena(capacityBytes: usual, reserve: reserve)
    let header = arena.allocate(64, alignment: 64)
    precondition(Int(header) << 3 == TreeLayout.root)
    unsafe (arena.base + TreeLayout.root).initializeMemory(as: UInt8.self, repeating: 0, count: 64)
    unsafe arena.base.atomic64(TreeLayout.oldestVersion).pointee.store(UInt64.max, ordering: .relaxed)
    unsafe tree = MemtableTree(base: arena.base)
    let root = arena.allocate(NodeLayout.leafSizeBytes, alignment: 64)
    unsafe lastLeaf = tree.node(root)
    unsafe lastLeaf.clear(NodeLayout.leafSizeBytes)
    unsafe arena.base.atomic32(TreeLayout.root).pointee.store(root, ordering: .releasing)
  }

  // MARK: What it holds

  /// The number of entries, without range deletions.
  package var count: Int { entries.load(ordering: .relaxed) }
  /// Nothing at all was written.
  package var isEmpty: Bool { newestVersion == .zero }
  /// Memory in use.
  package var usedBytes: Int { unsafe arena.usedBytes + deletionSizeBytes }
  /// The version of the oldest write; the largest number when there is none.
  package var oldestVersion: Version { unsafe tree.oldestVersion }
  /// The version of the newest write, or zero.
  package var newestVersion: Version { unsafe tree.newestVersion }
  /// Whether it is time to replace it.
  package var isFull: Bool { usedBytes >= sizeBytes }

  // MARK: Memory ahead of the writer

  /// Up to here there should be memory: a large page ahead of the writer, and more the more he has written, but no further
  /// than he is meant to get. A database with a few writes does with what they take.
  private var readyBytes: Int {
    let used = arena.usedBytes
    guard used >= LargeMemory.largePageSizeBytes / 8 else { return 0 }
    return min(used + LargeMemory.largePageSizeBytes + used / 4, sizeBytes + LargeMemory.largePageSizeBytes / 2)
  }

  /// Whether the writer is about to come to memory that the system has yet to find.
  package var needsMemory: Bool { arena.needsBacking(through: readyBytes) }

  /// Finds memory for what is written next. One thread at a time; the writer may go on meanwhile.
  package func prepareMemory() { arena.back(through: readyBytes) }

  /// Sees to it that the memtable after this one finds memory for its beginning, once this one has shown that it fills.
  package func prepareNext(in reserve: ArenaReserve) {
    guard usedBytes >= LargeMemory.largePageSizeBytes else { return }
    reserve.prepare(Arena.rounded(Self.capacity(sizeBytes)), backing: LargeMemory.largePageSizeBytes)
  }

  // MARK: Room

  private static func capacity(_ sizeBytes: Int) -> Int { sizeBytes + sizeBytes / 4 + fixedSizeBytes }
  private static let fixedSizeBytes = 64 << 10

  /// An upper bound of the memory of a memtable with nothing but `operations` entries, whose keys and values together have
  /// `payloadSizeBytes`.
  package static func bound(operations: Int, payloadSizeBytes: Int) -> Int {
    recordBound(operations, payloadSizeBytes) + nodeBound(operations) + fixedSizeBytes
  }

  private static func recordBound(_ operations: Int, _ payloadSizeBytes: Int) -> Int {
    payloadSizeBytes + operations * (RecordLayout.headSizeBytes + 7)
  }

  /// Half full nodes at worst (3): a leaf for 32 entries, an inner node for 32 leaves, twice for the levels above; and
  /// what alignment costs.
  private static func nodeBound(_ operations: Int) -> Int {
    operations / 32 * (NodeLayout.leafSizeBytes + 64) + operations / 1024 * 2 * (NodeLayout.innerSizeBytes + 64)
  }

  /// Whether such a group can be inserted as a whole.
  package func hasRoom(operations: Int, payloadSizeBytes: Int) -> Bool {
    let records = Self.recordBound(operations, payloadSizeBytes)
    let nodes = unsafe max(nodeSizeBytes, Self.nodeBound(count + operations)) - nodeSizeBytes
    return arena.usedBytes + records + nodes + Self.fixedSizeBytes / 2 <= arena.capacityBytes
  }

  // MARK: Writing

  /// Inserts an entry. A (key, version) that is there already gets the new content.
  package func insert(
    _ key: UnsafeRawBufferPointer, _ version: Version, _ kind: EntryKind, _ value: UnsafeRawBufferPointer
  ) {
    let offset = arena.allocate(RecordLayout.headSizeBytes + key.count + value.count)
    unsafe MemtableRecord.write(key, version, kind, value, at: arenaAddress(arena.base, offset))
    let target = unsafe SeekTarget(
      UnsafeRawBufferPointer(start: MemtableRecord(arena.base, offset).key.baseAddress, count: key.count), version)
    unsafe insert(target, offset)
    entries.store(entries.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    note(version)
  }

  private func note(_ version: Version) {
    if unsafe version < tree.oldestVersion {
      unsafe arena.base.atomic64(TreeLayout.oldestVersion).pointee.store(version.rawValue, ordering: .releasing)
    }
    if unsafe version > tree.newestVersion {
      unsafe arena.base.atomic64(TreeLayout.newestVersion).pointee.store(version.rawValue, ordering: .releasing)
    }
  }

  private func insert(_ target: SeekTarget, _ offset: UInt32) {
    if !(unsafe isRun && belongs(target, in: lastLeaf)) {
      let found = unsafe self.leaf(for: target)
      unsafe isRun = unsafe found.address == lastLeaf.address
      unsafe lastLeaf = unsafe found
    }
    let leaf = unsafe lastLeaf
    let count = unsafe leaf.count
    let index = unsafe leaf.keys(before: target, orEqual: false, arena.base)
    let head = unsafe target.head(leaf.skip)
    if unsafe index < count && leaf.head(index) == head
      && MemtableRecord(arena.base, leaf.record(index)).compareWhole(target) == 0
    {
      unsafe leaf.lock()
      unsafe leaf.setRecord(index, offset)
      unsafe leaf.unlock()
      return
    }
    guard count < NodeLayout.capacity else {
      unsafe insertIntoFullLeaf(target, offset)
      return
    }
    unsafe leaf.lock()
    unsafe leaf.insertKey(at: index, head, offset, count)
    unsafe leaf.count = count + 1
    unsafe leaf.unlock()
  }

  /// Whether `target` lies between the fences of `leaf`.
  @inline(__always)
  private func belongs(_ target: SeekTarget, in leaf: MemtableNode) -> Bool {
    let low = unsafe leaf.lowFence
    if unsafe low != 0 && MemtableRecord(arena.base, low).compareWhole(target) > 0 { return false }
    let high = unsafe leaf.highFence
    return unsafe high == 0 || MemtableRecord(arena.base, high).compareWhole(target) > 0
  }

  /// The leaf for `target`; for the writer, whom nobody disturbs.
  private func leaf(for target: SeekTarget) -> MemtableNode {
    var node = unsafe tree.node(tree.rootOffset)
    while unsafe node.level > 0 {
      unsafe node = tree.node(node.child(node.keys(before: target, orEqual: true, arena.base)))
    }
    return unsafe node
  }

  // MARK: Splitting

  /// Splits on the way down whatever is full, so that every split finds room in the parent; then inserts.
  private func insertIntoFullLeaf(_ target: SeekTarget, _ offset: UInt32) {
    var node = unsafe tree.node(tree.rootOffset)
    if unsafe node.count == NodeLayout.capacity {
      unsafe split(node, in: nil, at: 0, target, offset)
      unsafe node = tree.node(tree.rootOffset)
    }
    while unsafe node.level > 0 {
      let index = unsafe node.keys(before: target, orEqual: true, arena.base)
      let child = unsafe tree.node(node.child(index))
      if unsafe child.count == NodeLayout.capacity {
        unsafe split(child, in: node, at: index, target, offset)
        // The split may have moved the place of `target` to the new neighbour.
        let again = unsafe node.keys(before: target, orEqual: true, arena.base)
        unsafe node = tree.node(node.child(again))
      } else {
        unsafe node = unsafe child
      }
    }
    unsafe lastLeaf = unsafe node
    let count = unsafe node.count
    let index = unsafe node.keys(before: target, orEqual: false, arena.base)
    // A split at the right end has put the entry in already.
    if unsafe index < count && node.record(index) == offset { return }
    unsafe node.lock()
    unsafe node.insertKey(at: index, target.head(node.skip), offset, count)
    unsafe node.count = count + 1
    unsafe node.unlock()
  }

  /// Splits `node`, the child of `parent` at `place` (nil for the root), which has room for one more.
  ///
  /// In the middle; but at the right end of the tree, where growing keys arrive, the left part stays full and the right
  /// one begins with the new entry.
  private func split(
    _ node: MemtableNode, in parent: MemtableNode?, at place: Int, _ target: SeekTarget, _ offset: UInt32
  ) {
    let count = unsafe node.count
    let level = unsafe node.level
    let high = unsafe node.highFence
    let isLeaf = level == 0
    let atEnd = unsafe high == 0 && node.keys(before: target, orEqual: false, arena.base) == count
    let middle = atEnd ? (isLeaf ? count : count - 1) : count / 2
    let separator = unsafe middle < count ? node.record(middle) : offset

    let right = allocateNode(isLeaf: isLeaf)
    let newNode = unsafe tree.node(right)
    unsafe newNode.level = level
    unsafe newNode.lowFence = separator
    unsafe newNode.highFence = high
    let newSkip = commonPrefix(separator, high)
    unsafe newNode.skip = newSkip
    let firstMoved = isLeaf ? middle : middle + 1
    if firstMoved < count {
      for index in firstMoved..<count {
        unsafe newNode.setKey(index - firstMoved, node.record(index), newSkip, arena.base)
      }
    }
    unsafe newNode.count = max(0, count - firstMoved)
    if isLeaf && middle == count {
      unsafe newNode.setKey(0, offset, newSkip, arena.base)
      unsafe newNode.count = 1
    }
    if !isLeaf { for index in firstMoved...count { unsafe newNode.setChild(index - firstMoved, node.child(index)) } }

    if let parent = unsafe parent { unsafe parent.lock() }
    unsafe node.lock()
    unsafe node.highFence = separator
    unsafe node.count = middle
    let low = unsafe node.lowFence
    let skip = commonPrefix(low, separator)
    if unsafe skip != node.skip {
      unsafe node.skip = skip
      for index in 0..<middle { unsafe node.setKey(index, node.record(index), skip, arena.base) }
    }
    if let parent = unsafe parent {
      let parentCount = unsafe parent.count
      let head = unsafe SeekTarget(MemtableRecord(arena.base, separator)).head(parent.skip)
      unsafe parent.insertChild(at: place + 1, right, parentCount)
      unsafe parent.insertKey(at: place, head, separator, parentCount)
      unsafe parent.count = parentCount + 1
    } else {
      unsafe growRoot(node, separator, right)
    }
    unsafe node.unlock()
    if let parent = unsafe parent { unsafe parent.unlock() }
  }

  private func allocateNode(isLeaf: Bool) -> UInt32 {
    let before = arena.usedBytes
    let size = isLeaf ? NodeLayout.leafSizeBytes : NodeLayout.innerSizeBytes
    let node = arena.allocate(size, alignment: 64)
    unsafe tree.node(node).clear(size)
    unsafe nodeSizeBytes += arena.usedBytes - before
    return node
  }

  /// Puts a new root above the old one, which is locked, and its new neighbour.
  private func growRoot(_ old: MemtableNode, _ separator: UInt32, _ right: UInt32) {
    let offset = allocateNode(isLeaf: false)
    let root = unsafe tree.node(offset)
    unsafe root.level = old.level + 1
    unsafe root.setKey(0, separator, 0, arena.base)
    unsafe root.setChild(0, tree.rootOffset)
    unsafe root.setChild(1, right)
    unsafe root.count = 1
    unsafe arena.base.atomic32(TreeLayout.root).pointee.store(offset, ordering: .releasing)
  }

  /// How many first bytes the keys of two records have in common; 0 where there is no record.
  private func commonPrefix(_ a: UInt32, _ b: UInt32) -> Int {
    guard a != 0 && b != 0 else { return 0 }
    let a = unsafe MemtableRecord(arena.base, a).key
    let b = unsafe MemtableRecord(arena.base, b).key
    let limit = min(a.count, b.count)
    var common = 0
    while unsafe common < limit && a[common] == b[common] { common += 1 }
    return common
  }

  // MARK: Range deletions

  /// Deletes what `start ..< end` held before `version`.
  package func add(_ deletions: RangeDeletions, _ version: Version) {
    guard !deletions.isEmpty else { return }
    var sets = unsafe keptLists.last?.sets ?? []
    sets.append((1, deletions))
    while sets.count >= 2, sets[sets.count - 2].weight <= sets[sets.count - 1].weight {
      let newer = sets.removeLast()
      let older = sets.removeLast()
      var builder = RangeDeletionBuilder()
      builder.add(older.deletions)
      builder.add(newer.deletions)
      sets.append((older.weight + newer.weight, builder.build()))
    }
    let list = RangeDeletionList(sets)
    unsafe keptLists.append(list)
    unsafe deletionSizeBytes += sets.last.map { $0.deletions.sizeBytes } ?? 0
    let address = unsafe UInt(bitPattern: Unmanaged.passUnretained(list).toOpaque())
    unsafe arena.base.atomic64(TreeLayout.rangeDeletions).pointee.store(UInt64(address), ordering: .releasing)
    note(version)
  }

  /// The newest version not newer than `snapshot` whose range deletion covers `key`, or zero.
  package func newestDeletion(covering key: UnsafeRawBufferPointer, atMost snapshot: Version) -> Version {
    unsafe tree.rangeDeletions?.newestVersion(covering: key, atMost: snapshot) ?? .zero
  }

  /// The sets of range deletions at this moment.
  package var rangeDeletions: [RangeDeletions] { unsafe tree.rangeDeletions?.sets.map(\.deletions) ?? [] }
}

/// One state of a memtable's list of range deletions; immutable.
final class RangeDeletionList: Sendable {
  /// Each with the number of deletions that it was made from.
  let sets: [(weight: Int, deletions: RangeDeletions)]

  init(_ sets: [(weight: Int, deletions: RangeDeletions)]) { self.sets = sets }

  func newestVersion(covering key: UnsafeRawBufferPointer, atMost snapshot: Version) -> Version {
    var newest = Version.zero
    for set in sets {
      newest = unsafe max(newest, set.deletions.newestVersion(covering: key, atMost: snapshot))
    }
    return newest
  }
}

extension MemtableNode {
  /// Writes the key at `index` anew.
  fileprivate func setKey(_ index: Int, _ record: UInt32, _ skip: Int, _ base: UnsafeMutableRawPointer) {
    unsafe setHead(index, SeekTarget(MemtableRecord(base, record)).head(skip))
    unsafe setRecord(index, record)
  }

  /// Moves the keys at `index` and after it up by one, from the last, and puts one in. `count` is the caller's to raise.
  @inline(__always)
  fileprivate func insertKey(at index: Int, _ head: UInt64, _ record: UInt32, _ count: Int) {
    var place = count
    while place > index {
      unsafe setHead(place, self.head(place &- 1))
      unsafe setRecord(place, self.record(place &- 1))
      place &-= 1
    }
    unsafe setHead(index, head)
    unsafe setRecord(index, record)
  }

  /// Likewise for the children of a node with `count` keys.
  fileprivate func insertChild(at index: Int, _ child: UInt32, _ count: Int) {
    var place = count + 1
    while place > index {
      unsafe setChild(place, self.child(place - 1))
      place -= 1
    }
    unsafe setChild(index, child)
  }
}

extension MemtableRecord {
  /// The order of this entry relative to `target`, knowing nothing yet.
  @inline(__always)
  fileprivate func compareWhole(_ target: SeekTarget) -> Int {
    let order = unsafe compareKeys(key, target.key)
    if order != 0 { return order }
    let version = unsafe self.version
    return unsafe version > target.version ? -1 : version < target.version ? 1 : 0
  }
}
