internal import Encoding
internal import Synchronization

// Reading the tree: see `MemtableNode` for the protocol. `TreeLayout` says where everything begins.

/// Where the tree begins.
enum TreeLayout {
  /// The root's offset: 4 bytes.
  static let root = 64
  /// The versions of the oldest write (all ones when there is none) and the newest: 8 bytes each.
  static let oldestVersion = 72
  static let newestVersion = 80
  /// The address of the current list of range deletions, or 0: 8 bytes.
  static let rangeDeletions = 88
}

/// A view of a memtable's tree for readers; trivial, so that it can be kept in plain memory. Whoever uses it keeps the
/// memtable alive.
@unsafe
struct MemtableTree {
  let base: UnsafeMutableRawPointer

  @inline(__always)
  func node(_ offset: UInt32) -> MemtableNode { unsafe MemtableNode(arenaAddress(base, offset)) }

  @inline(__always)
  var rootOffset: UInt32 { unsafe base.atomic32(TreeLayout.root).pointee.load(ordering: .acquiring) }

  /// The version of the oldest write; the largest number when there is none.
  @inline(__always)
  var oldestVersion: Version {
    unsafe Version(base.atomic64(TreeLayout.oldestVersion).pointee.load(ordering: .acquiring))
  }

  /// The version of the newest write, or zero.
  @inline(__always)
  var newestVersion: Version {
    unsafe Version(base.atomic64(TreeLayout.newestVersion).pointee.load(ordering: .acquiring))
  }

  @inline(__always)
  var hasRangeDeletions: Bool {
    unsafe base.atomic64(TreeLayout.rangeDeletions).pointee.load(ordering: .acquiring) != 0
  }

  /// The current list of range deletions; it lives as long as the memtable.
  var rangeDeletions: RangeDeletionList? {
    let address = unsafe UInt(base.atomic64(TreeLayout.rangeDeletions).pointee.load(ordering: .acquiring))
    guard let pointer = unsafe UnsafeRawPointer(bitPattern: address) else { return nil }
    return unsafe Unmanaged<RangeDeletionList>.fromOpaque(pointer).takeUnretainedValue()
  }

  /// The leaf where `target` belongs (with `leftmost`: where what precedes it ends) and its version, or nil when the
  /// writer was in the way.
  @inline(__always)
  func descend(_ target: SeekTarget, leftmost: Bool) -> (leaf: MemtableNode, version: UInt64)? {
    let root = unsafe rootOffset
    var node = unsafe self.node(root)
    var version = unsafe node.stableVersion()
    // A root that was split between the two loads is only a part of the tree.
    guard unsafe rootOffset == root else { return nil }
    while unsafe node.level > 0 {
      let index = unsafe node.keys(before: target, orEqual: !leftmost, base)
      let child = unsafe self.node(node.child(index))
      let childVersion = unsafe child.stableVersion()
      guard unsafe node.isUnchanged(version) else { return nil }
      unsafe node = unsafe child
      version = childVersion
    }
    return unsafe (node, version)
  }

  /// The first entry at or after `target`, as its record's offset, or 0. O(log n).
  @inline(__always)
  func firstRecord(notBefore target: SeekTarget) -> UInt32 {
    while true {
      guard let (leaf, version) = unsafe descend(target, leftmost: false) else { continue }
      let index = unsafe leaf.keys(before: target, orEqual: false, base)
      // Behind the last key of a leaf stands the first of the next, which is the high fence.
      let record = unsafe index < leaf.count ? leaf.record(index) : leaf.highFence
      if unsafe leaf.isUnchanged(version) { return record }
    }
  }

  /// The newest entry of `key` that is not newer than `snapshot`.
  @inline(__always)
  func get(_ key: UnsafeRawBufferPointer, _ snapshot: Version) -> MemtableRecord? {
    let offset = unsafe firstRecord(notBefore: SeekTarget(key, snapshot))
    guard offset != 0 else { return nil }
    let record = unsafe MemtableRecord(base, offset)
    guard unsafe record.keyCount == key.count, unsafe compareKeys(record.key, key) == 0 else { return nil }
    return unsafe record
  }
}
