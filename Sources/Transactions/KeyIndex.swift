internal import Glibc

// An ordered index over keys that lie elsewhere: a sorted array cut into leaves of up to 128, with a directory of leaves.
//
//   directory:  [head of first key | leaf] [head | leaf] …          binary search
//   leaf:       count | heads (16 bytes each, sorted) | identifiers (4 bytes each)
//
// A head is the first sixteen bytes of a key as a big-endian number: unequal heads order two keys without touching them,
// which would be two cache misses. Of eight bytes, five would be the number of the table, and one a sign.
//
// 1. Within and across leaves keys ascend strictly; no leaf is empty, except the only one.
// 2. Keys are added, and removed only by those that use `remove`; nothing else moves them.
// 3. Keys that arrive in ascending order fill leaves completely (a full last leaf is followed by a new one, not split).
// 4. Keys of one space (the first five bytes: a table or an index) often arrive in ascending order, those of several spaces
//    in turn: a row, then its entries. So the leaf that took the last key of a space is remembered, looked at first, and,
//    when it is full and the key comes behind its last one, followed by a new leaf (or by the next, if that has room), not
//    split.
//
// A flat directory costs a memmove of 12 KiB per 64 insertions at a million keys (about 15 ns each): a third level would
// cost every search more than it saves. The first leaf begins with room for eight, so that a transaction of one row pays
// for one small allocation.

/// Keys as the store orders them: negative, zero or positive as `a` comes before, is, or comes after `b`.
@inline(__always)
func order(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
  let common = min(a.count, b.count)
  if common > 0 {
    let result = unsafe memcmp(a.baseAddress.unsafelyUnwrapped, b.baseAddress.unsafelyUnwrapped, common)
    if result != 0 { return Int(result) }
  }
  return a.count - b.count
}

/// The first sixteen bytes of a key as a number that orders as the bytes do, missing ones as zero.
struct KeyHead: BitwiseCopyable, Equatable {
  let high: UInt64
  let low: UInt64

  @inline(__always)
  static func < (a: KeyHead, b: KeyHead) -> Bool { a.high != b.high ? a.high < b.high : a.low < b.low }
  @inline(__always)
  static func > (a: KeyHead, b: KeyHead) -> Bool { b < a }
}

@inline(__always)
func longHead(_ key: UnsafeRawBufferPointer) -> KeyHead {
  if key.count >= 16 {
    return unsafe KeyHead(
      high: UInt64(bigEndian: key.loadUnaligned(as: UInt64.self)),
      low: UInt64(bigEndian: key.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
  }
  return unsafe KeyHead(high: word(key, 0), low: word(key, 8))
}

/// The first eight bytes alone.
@inline(__always)
func head(_ key: UnsafeRawBufferPointer) -> UInt64 { unsafe word(key, 0) }

/// The eight bytes of `key` from `offset` on, missing ones as zero.
@inline(__always)
private func word(_ key: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
  if key.count >= offset &+ 8 {
    return unsafe UInt64(bigEndian: key.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
  var word: UInt64 = 0
  var index = offset
  while index < key.count {
    word |= unsafe UInt64(key[index]) << UInt64(56 &- 8 &* (index &- offset))
    index &+= 1
  }
  return word
}

/// Where the keys of an index lie.
protocol KeySource {
  func key(_ identifier: UInt32) -> UnsafeRawBufferPointer
}

@unsafe
struct KeyIndex {
  /// A place in the index; valid until the next insertion or removal.
  struct Position: Equatable {
    var leaf: Int
    var slot: Int
  }

  @unsafe
  private struct DirectoryEntry: BitwiseCopyable {
    var head: KeyHead
    var leaf: Leaf
  }

  private static let firstCapacity = 8
  private static let capacity = 128

  private var directory = unsafe RawList<DirectoryEntry>()
  /// The first leaf, while it is not used.
  private var spareLeaf: Leaf?
  private(set) var count = 0
  /// Grows with every insertion and removal: positions from before are void.
  private(set) var changes: UInt64 = 0
  /// For each space, by its last three bits: the leaf of the last key that was looked for to be added.
  private var hints = InlineArray<8, Int32>(repeating: 0)

  init() {}

  /// The memory that `adopt` takes.
  static let adoptedSizeBytes = unsafe 2 * MemoryLayout<DirectoryEntry>.stride + Leaf.sizeBytes(firstCapacity)

  /// Begins in memory of somebody else's, unless it has begun already.
  mutating func adopt(_ memory: UnsafeMutableRawPointer) {
    guard unsafe directory.capacity == 0 else { return }
    unsafe directory = unsafe RawList(borrowing: memory, capacity: 2)
    unsafe spareLeaf = unsafe Leaf(
      borrowing: memory + 2 * MemoryLayout<DirectoryEntry>.stride, capacity: KeyIndex.firstCapacity)
  }

  var isEmpty: Bool { unsafe count == 0 }

  // MARK: Searching

  /// The identifier of `key`, or nil.
  @inline(__always)
  func find(_ key: UnsafeRawBufferPointer, in source: borrowing some KeySource) -> UInt32? {
    guard unsafe count > 0 else { return nil }
    let head = unsafe longHead(key)
    // Keys that arrive in ascending order are not searched for.
    let last = unsafe directory[directory.count - 1].leaf
    if unsafe isGreater(key, head, than: last, last.count - 1, source) { return nil }
    let leafIndex = unsafe leafIndex(key, head, source)
    let leaf = unsafe directory[leafIndex].leaf
    let slot = unsafe leaf.lowerBound(key, head, source)
    guard unsafe slot < leaf.count, unsafe leaf.heads[slot] == head else { return nil }
    let identifier = unsafe leaf.identifiers[slot]
    return unsafe order(source.key(identifier), key) == 0 ? identifier : nil
  }

  /// The first place whose key is not smaller than `key`; `end` if there is none.
  func lowerBound(_ key: UnsafeRawBufferPointer, in source: borrowing some KeySource) -> Position {
    guard unsafe count > 0 else { return unsafe end }
    let head = unsafe longHead(key)
    let index = unsafe leafIndex(key, head, source)
    let leaf = unsafe directory[index].leaf
    let slot = unsafe leaf.lowerBound(key, head, source)
    return unsafe slot < leaf.count ? Position(leaf: index, slot: slot) : Position(leaf: index + 1, slot: 0)
  }

  var start: Position { unsafe count == 0 ? end : Position(leaf: 0, slot: 0) }
  var end: Position { unsafe Position(leaf: count == 0 ? 0 : directory.count, slot: 0) }

  func isEnd(_ position: Position) -> Bool { unsafe count == 0 || position.leaf >= directory.count }

  @inline(__always)
  func identifier(at position: Position) -> UInt32 {
    unsafe directory[position.leaf].leaf.identifiers[position.slot]
  }

  @inline(__always)
  func after(_ position: Position) -> Position {
    let leaf = unsafe directory[position.leaf].leaf
    if unsafe position.slot + 1 < leaf.count { return Position(leaf: position.leaf, slot: position.slot + 1) }
    return Position(leaf: position.leaf + 1, slot: 0)
  }

  /// The place before, or nil at the start.
  func before(_ position: Position) -> Position? {
    if position.slot > 0 { return Position(leaf: position.leaf, slot: position.slot - 1) }
    guard position.leaf > 0, unsafe count > 0 else { return nil }
    return unsafe Position(leaf: position.leaf - 1, slot: directory[position.leaf - 1].leaf.count - 1)
  }

  /// The last leaf whose first key is not greater than `key`, or the first leaf.
  @inline(__always)
  private func leafIndex(_ key: UnsafeRawBufferPointer, _ head: KeyHead, _ source: borrowing some KeySource) -> Int {
    var low = 0
    var high = unsafe directory.count
    while high - low > 1 {
      let middle = (low + high) >> 1
      let entry = unsafe directory[middle]
      let isGreater: Bool
      if unsafe entry.head != head {
        isGreater = unsafe entry.head > head
      } else {
        isGreater = unsafe order(source.key(entry.leaf.identifiers[0]), key) > 0
      }
      if isGreater { high = middle } else { low = middle }
    }
    return low
  }

  // MARK: Changing

  /// The identifier of `key`; nil if it is new: then it was added under `identifier`, and must lie in the source before
  /// the next call.
  @inline(__always)
  mutating func find(
    _ key: UnsafeRawBufferPointer, orAdd identifier: UInt32, in source: borrowing some KeySource
  ) -> UInt32? {
    unsafe find(key, longHead(key), orAdd: identifier, in: source)
  }

  /// The same where the key's head is known.
  @inline(__always)
  mutating func find(
    _ key: UnsafeRawBufferPointer, _ head: KeyHead, orAdd identifier: UInt32, in source: borrowing some KeySource
  ) -> UInt32? {
    guard unsafe count > 0 else {
      unsafe insert(key, identifier: identifier, in: source)
      return nil
    }
    let hint = Int(truncatingIfNeeded: head.high >> 24) & 7
    var index = unsafe Int(hints[hint])
    if unsafe !isIn(index, head) {
      index += 1
      if unsafe !isIn(index, head) { index = unsafe leafIndex(key, head, source) }
    }
    let leaf = unsafe directory[index].leaf
    let last = unsafe leaf.count - 1
    if last >= 0, unsafe isGreater(key, head, than: leaf, last, source) {
      let place = unsafe insert(head, identifier, at: Position(leaf: index, slot: last + 1))
      unsafe hints[hint] = Int32(truncatingIfNeeded: place)
      return nil
    }
    let slot = unsafe leaf.lowerBound(key, head, source)
    if unsafe slot < leaf.count && leaf.heads[slot] == head {
      let found = unsafe leaf.identifiers[slot]
      if unsafe order(source.key(found), key) == 0 { return found }
    }
    let place = unsafe insert(head, identifier, at: Position(leaf: index, slot: slot))
    unsafe hints[hint] = Int32(truncatingIfNeeded: place)
    return nil
  }

  /// Whether a key with this head can only be in, or belong into, the leaf. False where that is not certain.
  @inline(__always)
  private func isIn(_ index: Int, _ head: KeyHead) -> Bool {
    guard unsafe index < directory.count, unsafe directory[index].head < head else { return false }
    return unsafe index + 1 == directory.count || head < directory[index + 1].head
  }

  /// The identifier of `key`; if the key is new, it is added under `make()`, whose key must lie in the source by then.
  @inline(__always)
  mutating func insert(_ key: UnsafeRawBufferPointer, identifier: UInt32, in source: borrowing some KeySource) {
    let head = unsafe longHead(key)
    if unsafe directory.isEmpty {
      let leaf = unsafe spareLeaf ?? Leaf(capacity: KeyIndex.firstCapacity)
      unsafe spareLeaf = nil
      unsafe directory.append(DirectoryEntry(head: head, leaf: leaf))
    }
    // Ascending keys go straight to the end.
    var index = unsafe directory.count - 1
    var leaf = unsafe directory[index].leaf
    var slot = unsafe leaf.count
    if slot > 0, unsafe !isGreater(key, head, than: leaf, slot - 1, source) {
      if unsafe directory.count > 1 {
        index = unsafe leafIndex(key, head, source)
        unsafe leaf = unsafe directory[index].leaf
      }
      slot = unsafe leaf.lowerBound(key, head, source)
    }
    _ = unsafe insert(head, identifier, at: Position(leaf: index, slot: slot))
  }

  @inline(__always)
  private func isGreater(
    _ key: UnsafeRawBufferPointer, _ head: KeyHead, than leaf: Leaf, _ slot: Int, _ source: borrowing some KeySource
  ) -> Bool {
    let other = unsafe leaf.heads[slot]
    if other != head { return head > other }
    return unsafe order(key, source.key(leaf.identifiers[slot])) > 0
  }

  /// Returns the leaf that has it now.
  @inline(__always)
  private mutating func insert(_ head: KeyHead, _ identifier: UInt32, at position: Position) -> Int {
    let leaf = unsafe directory[position.leaf].leaf
    guard unsafe leaf.count < leaf.capacity else { return unsafe insertIntoFull(head, identifier, at: position) }
    unsafe count += 1
    unsafe changes &+= 1
    unsafe leaf.insert(head, identifier, at: position.slot)
    if position.slot == 0 { unsafe directory.pointer(position.leaf).pointee.head = head }
    return position.leaf
  }

  @inline(never)
  private mutating func insertIntoFull(_ head: KeyHead, _ identifier: UInt32, at position: Position) -> Int {
    unsafe count += 1
    unsafe changes &+= 1
    let index = position.leaf
    let leaf = unsafe directory[index].leaf
    if unsafe leaf.capacity < KeyIndex.capacity {
      let grown = unsafe leaf.grown(to: min(leaf.capacity * 4, KeyIndex.capacity))
      unsafe directory.pointer(index).pointee.leaf = unsafe grown
      unsafe grown.insert(head, identifier, at: position.slot)
      if position.slot == 0 { unsafe directory.pointer(index).pointee.head = head }
      return index
    }
    if unsafe position.slot == leaf.count {
      // Behind the last: into the next leaf where that has room, so that no leaf stays nearly empty beside another.
      if unsafe index + 1 < directory.count {
        let next = unsafe directory[index + 1].leaf
        if unsafe next.count < next.capacity {
          unsafe next.insert(head, identifier, at: 0)
          unsafe directory.pointer(index + 1).pointee.head = head
          return index + 1
        }
      }
      let right = unsafe Leaf(capacity: KeyIndex.capacity)
      unsafe right.insert(head, identifier, at: 0)
      unsafe directory.insert(DirectoryEntry(head: head, leaf: right), at: index + 1)
      return index + 1
    }
    let right = unsafe leaf.splitHalf()
    let isLeft = unsafe position.slot <= leaf.count
    if isLeft {
      unsafe leaf.insert(head, identifier, at: position.slot)
      if position.slot == 0 { unsafe directory.pointer(index).pointee.head = head }
    } else {
      unsafe right.insert(head, identifier, at: position.slot - leaf.count)
    }
    unsafe directory.insert(DirectoryEntry(head: right.heads[0], leaf: right), at: index + 1)
    return isLeft ? index : index + 1
  }

  /// Removes the key at `position`.
  mutating func remove(at position: Position) {
    unsafe count -= 1
    unsafe changes &+= 1
    let leaf = unsafe directory[position.leaf].leaf
    unsafe leaf.remove(at: position.slot)
    if unsafe leaf.count == 0 && directory.count > 1 {
      unsafe leaf.free()
      unsafe directory.remove(at: position.leaf)
    } else if unsafe position.slot == 0 && leaf.count > 0 {
      unsafe directory.pointer(position.leaf).pointee.head = unsafe leaf.heads[0]
    }
  }

  /// Replaces the identifier at `position` by another of the same key.
  mutating func replace(at position: Position, by identifier: UInt32) {
    unsafe directory[position.leaf].leaf.identifiers[position.slot] = identifier
  }

  mutating func free() {
    for index in 0..<(unsafe directory.count) { unsafe directory[index].leaf.free() }
    unsafe directory.free()
    unsafe self = unsafe KeyIndex()
  }
}

/// One sorted run of an index, in memory of its own.
@unsafe
private struct Leaf: BitwiseCopyable {
  private static let headerSizeBytes = 8
  private let memory: UnsafeMutableRawPointer

  static func sizeBytes(_ capacity: Int) -> Int { unsafe headerSizeBytes + capacity * 20 }

  init(capacity: Int) {
    guard let memory = unsafe malloc(Leaf.sizeBytes(capacity)) else { fatalError("out of memory") }
    unsafe self.memory = unsafe memory
    unsafe memory.storeBytes(of: 0, as: Int32.self)
    unsafe memory.storeBytes(of: Int16(capacity), toByteOffset: 4, as: Int16.self)
    unsafe memory.storeBytes(of: 0, toByteOffset: 6, as: Int16.self)
  }

  /// In memory that is not to be freed.
  init(borrowing memory: UnsafeMutableRawPointer, capacity: Int) {
    unsafe self.memory = unsafe memory
    unsafe memory.storeBytes(of: 0, as: Int32.self)
    unsafe memory.storeBytes(of: Int16(capacity), toByteOffset: 4, as: Int16.self)
    unsafe memory.storeBytes(of: 1, toByteOffset: 6, as: Int16.self)
  }

  var count: Int {
    get { unsafe Int(memory.load(as: Int32.self)) }
    nonmutating set { unsafe memory.storeBytes(of: Int32(truncatingIfNeeded: newValue), as: Int32.self) }
  }
  var capacity: Int { unsafe Int(memory.load(fromByteOffset: 4, as: Int16.self)) }
  private var isBorrowed: Bool { unsafe memory.load(fromByteOffset: 6, as: Int16.self) != 0 }
  var heads: UnsafeMutablePointer<KeyHead> {
    unsafe (memory + Leaf.headerSizeBytes).assumingMemoryBound(to: KeyHead.self)
  }
  var identifiers: UnsafeMutablePointer<UInt32> {
    unsafe (memory + Leaf.headerSizeBytes + capacity * 16).assumingMemoryBound(to: UInt32.self)
  }

  /// The first slot whose key is not smaller than `key`.
  @inline(__always)
  func lowerBound(_ key: UnsafeRawBufferPointer, _ head: KeyHead, _ source: borrowing some KeySource) -> Int {
    var low = 0
    var high = unsafe count
    let heads = unsafe heads
    while low < high {
      let middle = (low + high) >> 1
      let other = unsafe heads[middle]
      let isSmaller: Bool
      if other != head {
        isSmaller = other < head
      } else {
        isSmaller = unsafe order(source.key(identifiers[middle]), key) < 0
      }
      if isSmaller { low = middle + 1 } else { high = middle }
    }
    return low
  }

  func insert(_ head: KeyHead, _ identifier: UInt32, at slot: Int) {
    let moved = unsafe count - slot
    if moved > 0 {
      unsafe memmove(heads + slot + 1, heads + slot, moved * 16)
      unsafe memmove(identifiers + slot + 1, identifiers + slot, moved * 4)
    }
    unsafe heads[slot] = head
    unsafe identifiers[slot] = identifier
    unsafe count += 1
  }

  func remove(at slot: Int) {
    let moved = unsafe count - slot - 1
    if moved > 0 {
      unsafe memmove(heads + slot, heads + slot + 1, moved * 16)
      unsafe memmove(identifiers + slot, identifiers + slot + 1, moved * 4)
    }
    unsafe count -= 1
  }

  func grown(to capacity: Int) -> Leaf {
    let other = unsafe Leaf(capacity: capacity)
    unsafe memcpy(other.heads, heads, count * 16)
    unsafe memcpy(other.identifiers, identifiers, count * 4)
    unsafe other.count = unsafe count
    unsafe free()
    return unsafe other
  }

  /// Moves the upper half to a new leaf.
  func splitHalf() -> Leaf {
    let right = unsafe Leaf(capacity: capacity)
    let kept = unsafe count / 2
    let moved = unsafe count - kept
    unsafe memcpy(right.heads, heads + kept, moved * 16)
    unsafe memcpy(right.identifiers, identifiers + kept, moved * 4)
    unsafe right.count = moved
    unsafe count = kept
    return unsafe right
  }

  func free() { if unsafe !isBorrowed { unsafe Glibc.free(memory) } }
}
