package import Encoding
internal import Synchronization

/// A position in a memtable that survives concurrent inserts: it copies the leaf that it stands in, and finds the next
/// one by the leaf's fence. An entry that is inserted after the cursor came near may or may not show; one that was there
/// when the cursor was made does.
@safe
package final class MemtableCursor: InternalCursor {
  private let memtable: Memtable
  private let tree: MemtableTree
  /// The records of the current leaf, as they were when it was read.
  private let records: UnsafeMutablePointer<UInt32>
  @exclusivity(unchecked) private var count = 0
  @exclusivity(unchecked) private var index = 0
  @exclusivity(unchecked) private var lowFence: UInt32 = 0
  @exclusivity(unchecked) private var highFence: UInt32 = 0
  @exclusivity(unchecked) private var current: MemtableRecord
  /// Keeps `touchRecords` from being optimised away.
  @exclusivity(unchecked) private var touched: UInt64 = 0

  package init(_ memtable: Memtable) {
    self.memtable = memtable
    unsafe tree = memtable.tree
    unsafe records = .allocate(capacity: NodeLayout.capacity)
    unsafe current = MemtableRecord(UnsafeRawPointer(tree.base))
  }

  deinit { unsafe records.deallocate() }

  @inline(__always) package var isValid: Bool { unsafe index < count }
  @inline(__always) package var key: UnsafeRawBufferPointer { unsafe current.key }
  @inline(__always) package var version: Version { unsafe current.version }
  @inline(__always) package var kind: EntryKind { unsafe current.kind }
  @inline(__always) package var value: UnsafeRawBufferPointer { unsafe current.value }

  @inline(__always)
  private func stand(at place: Int) {
    unsafe index = place
    unsafe current = MemtableRecord(tree.base, records[place])
  }

  private func invalidate() {
    unsafe count = 0
    unsafe index = 0
  }

  /// Copies the leaf where `target` belongs (`leftmost`: where what precedes it ends) and returns how many of its keys
  /// come before `target`.
  private func load(_ target: SeekTarget, leftmost: Bool) -> Int {
    while true {
      guard let (leaf, version) = unsafe tree.descend(target, leftmost: leftmost) else { continue }
      let before = unsafe leaf.keys(before: target, orEqual: false, tree.base)
      let count = unsafe leaf.count
      for index in 0..<count { unsafe records[index] = unsafe leaf.record(index) }
      let low = unsafe leaf.lowFence
      let high = unsafe leaf.highFence
      guard unsafe leaf.isUnchanged(version) else { continue }
      unsafe self.count = count
      unsafe lowFence = low
      unsafe highFence = high
      return before
    }
  }

  private func seek(notBefore target: SeekTarget) {
    var before = unsafe load(target, leftmost: false)
    while unsafe before == count {
      guard unsafe highFence != 0 else { return invalidate() }
      before = unsafe load(SeekTarget(MemtableRecord(tree.base, highFence)), leftmost: false)
    }
    stand(at: before)
  }

  private func seek(before target: SeekTarget) {
    var before = unsafe load(target, leftmost: true)
    while before == 0 {
      guard unsafe lowFence != 0 else { return invalidate() }
      before = unsafe load(SeekTarget(MemtableRecord(tree.base, lowFence)), leftmost: true)
    }
    stand(at: before - 1)
  }

  package func seekToFirst() {
    unsafe seek(notBefore: .before(UnsafeRawBufferPointer(start: nil, count: 0)))
  }

  package func seekToLast() {
    while true {
      let root = unsafe tree.rootOffset
      var node = unsafe tree.node(root)
      var version = unsafe node.stableVersion()
      guard unsafe tree.rootOffset == root else { continue }
      var isWhole = true
      while unsafe isWhole && node.level > 0 {
        let child = unsafe tree.node(node.child(node.count))
        let childVersion = unsafe child.stableVersion()
        isWhole = unsafe node.isUnchanged(version)
        unsafe node = unsafe child
        version = childVersion
      }
      let count = unsafe node.count
      let last = unsafe count > 0 ? node.record(count - 1) : 0
      guard unsafe isWhole && node.isUnchanged(version) else { continue }
      guard last != 0 else { return invalidate() }
      return unsafe seek(notBefore: SeekTarget(MemtableRecord(tree.base, last)))
    }
  }

  package func seek(_ key: UnsafeRawBufferPointer, _ version: Version) {
    unsafe seek(notBefore: SeekTarget(key, version))
  }

  package func seekBefore(_ key: UnsafeRawBufferPointer) { unsafe seek(before: .before(key)) }

  @inline(__always)
  package func next() {
    if unsafe index &+ 1 < count { return unsafe stand(at: index &+ 1) }
    nextLeaf()
  }

  @inline(__always)
  package func previous() {
    if unsafe index > 0 { return unsafe stand(at: index &- 1) }
    previousLeaf()
  }

  private func nextLeaf() {
    guard unsafe highFence != 0 else { return invalidate() }
    unsafe seek(notBefore: SeekTarget(MemtableRecord(tree.base, highFence)))
    touchRecords()
  }

  private func previousLeaf() {
    guard unsafe lowFence != 0 else { return invalidate() }
    unsafe seek(before: SeekTarget(MemtableRecord(tree.base, lowFence)))
    touchRecords()
  }

  package func collect(
    into batch: RowBatch, before limit: UnsafeRawBufferPointer?, at snapshot: Version
  ) -> Bool {
    // Where the leaf's last key is before the limit, none needs to be compared with it.
    var end = unsafe count
    if let limit = unsafe limit {
      let start = unsafe index
      if unsafe compareKeys(MemtableRecord(tree.base, records[end &- 1]).key, limit) >= 0 {
        var low = start &+ 1
        while low < end {
          let middle = (low &+ end) >> 1
          if unsafe compareKeys(MemtableRecord(tree.base, records[middle]).key, limit) < 0 {
            low = middle &+ 1
          } else {
            end = middle
          }
        }
      }
    }
    var place = unsafe index
    var record = unsafe current
    var isDecided = false
    var hidden = 0
    while true {
      if unsafe !isDecided && record.version <= snapshot {
        isDecided = true
        hidden = 0
        if unsafe record.kind == .put { unsafe batch.add(record.key, record.value) }
      } else {
        hidden &+= 1
      }
      guard place &+ 1 < end, hidden < collectPatience, !batch.isFull else { break }
      place &+= 1
      let next = unsafe MemtableRecord(tree.base, records[place])
      if unsafe isDecided && !next.hasSameKey(as: record) { isDecided = false }
      unsafe record = unsafe next
    }
    unsafe index = place
    unsafe current = unsafe record
    return isDecided
  }

  /// Loads the head of every record of the leaf: records lie in the order of their arrival, so each is a cache miss, and
  /// here the processor takes them all at once where a walk would take one after the other. For walks only.
  @inline(__always)
  private func touchRecords() {
    var sum: UInt64 = 0
    for place in unsafe 0..<count { sum ^= unsafe arenaAddress(tree.base, records[place]).load(as: UInt64.self) }
    unsafe touched = sum
  }
}
