internal import CSynod
internal import Encoding
internal import Glibc

// A block in memory: sorted entries with prefix compression, and arrays for the search.
//
//   u32                           n: number of restarts
//   u32                           c: length of the common prefix, with which every key of the block begins
//   u64                           base version: the smallest in the block
//   u64 × n                       search prefix of each restart's key: the 8 bytes after the common prefix, read as a
//                                 big-endian number, short keys filled with zeros
//   u32 × n                       offset of each restart, from the first entry: an entry with its whole key
//   entry*                        see below
//
// The arrays come first, so that in memory the cache's header, the numbers and the first prefixes share two cache lines
// that the processor fetches together.
//
// An entry:
//
//   varint                        shared × 2 + (1 for a deletion): bytes taken over from the entry before; 0 at restarts
//   varint                        unshared: length of the key's rest
//   varint                        length of the value
//   varint                        version - base version
//   unshared bytes                the rest of the key
//   bytes                         the value
//
// Data blocks restart every 16 entries, index blocks at every entry.
//
// The search: a binary search over the prefixes as integers (one cache line holds eight) settles nearly everything; equal
// prefixes fall back to whole keys. Within an interval no key is put together: knowing that the entry before is smaller
// than the target and agrees with it in exactly m bytes,
//   shared > m   this entry differs from the target where the one before did: smaller too, m stays
//   shared < m   it rises where the one before still agreed: greater, the search ends
//   shared = m   compare the rest with the target's rest
// so that most entries cost the decoding of their lengths.

/// One decoded entry; offsets count from the block's first entry. `next` is -1 where the bytes make no sense.
@frozen
package struct BlockEntry {
  package var shared: Int
  package var unshared: Int
  package var valueLength: Int
  package var version: UInt64
  package var isDelete: Bool
  /// Where the key's rest begins; the value follows it.
  package var keyOffset: Int
  /// Where the next entry begins, or -1: damaged.
  package var next: Int

  package static var damaged: BlockEntry {
    BlockEntry(shared: 0, unshared: 0, valueLength: 0, version: 0, isDelete: false, keyOffset: 0, next: -1)
  }
  package var valueOffset: Int { keyOffset &+ unshared }
}

/// What a search in a block came to.
package struct BlockLookup {
  package enum Outcome { case absent, found, damaged }
  package var outcome: Outcome
  package var isDelete = false
  package var version: UInt64 = 0
  package var valueOffset = 0
  package var valueLength = 0
  package static let absent = BlockLookup(outcome: .absent)
  package static let damaged = BlockLookup(outcome: .damaged)
}

/// A block's bytes with its arrays found. Nothing is owned: the memory must outlive the view.
@unsafe
package struct BlockView {
  static let fixedSizeBytes = 16

  /// The first entry; offsets count from it.
  package let base: UnsafeRawPointer
  /// The length of all entries.
  package let entriesEnd: Int
  private let prefixes: UnsafeRawPointer
  package let restartCount: Int
  let commonPrefixLength: Int
  let baseVersion: UInt64

  /// No entries.
  static var empty: BlockView { unsafe BlockView() }

  private init() {
    unsafe base = UnsafeRawPointer(bitPattern: 64).unsafelyUnwrapped
    unsafe prefixes = unsafe base
    unsafe entriesEnd = 0
    unsafe restartCount = 0
    unsafe commonPrefixLength = 0
    unsafe baseVersion = 0
  }

  /// Nil where the arrays do not fit into the bytes.
  @inline(__always)
  package init?(_ start: UnsafeRawPointer, count: Int) {
    guard unsafe count >= Self.fixedSizeBytes else { return nil }
    let n = Int(UInt32(littleEndian: unsafe start.loadUnaligned(as: UInt32.self)))
    let arrays = unsafe n &* 12 &+ Self.fixedSizeBytes
    guard arrays <= count else { return nil }
    unsafe restartCount = n
    unsafe commonPrefixLength = Int(UInt32(littleEndian: unsafe (start + 4).loadUnaligned(as: UInt32.self)))
    unsafe baseVersion = UInt64(littleEndian: unsafe (start + 8).loadUnaligned(as: UInt64.self))
    unsafe prefixes = unsafe start + Self.fixedSizeBytes
    unsafe base = unsafe start + arrays
    unsafe entriesEnd = count &- arrays
    // A block with entries has a restart, and one without has none.
    guard unsafe (n > 0) == (entriesEnd > 0) else { return nil }
  }

  @inline(__always)
  package func restartOffset(_ index: Int) -> Int {
    Int(UInt32(littleEndian: unsafe (prefixes + (restartCount &* 8 &+ index &* 4)).loadUnaligned(as: UInt32.self)))
  }

  @inline(__always)
  func restartPrefix(_ index: Int) -> UInt64 {
    UInt64(littleEndian: unsafe (prefixes + (index &* 8)).loadUnaligned(as: UInt64.self))
  }

  /// Decodes the entry at `offset`, checking that it lies within the entries.
  @inline(__always)
  package func entry(at offset: Int) -> BlockEntry {
    // No entry is shorter than four bytes.
    guard unsafe offset >= 0 && offset &+ 4 <= entriesEnd else { return .damaged }
    var position = offset
    var head: UInt64
    var unshared: UInt64
    var valueLength: UInt64
    let word = UInt32(littleEndian: unsafe (base + offset).loadUnaligned(as: UInt32.self))
    if word & 0x8080 == 0 {
      head = UInt64(word & 0x7F)
      unshared = UInt64(word >> 8 & 0x7F)
      if word & 0x80_0000 == 0 {
        valueLength = UInt64(word >> 16 & 0x7F)
        position &+= 3
      } else if word & 0x8000_0000 == 0 {
        valueLength = UInt64(word >> 16 & 0x7F) | UInt64(word >> 24) << 7
        position &+= 4
      } else {
        position &+= 2
        valueLength = unsafe varint(&position)
      }
    } else {
      head = unsafe varint(&position)
      unshared = unsafe varint(&position)
      valueLength = unsafe varint(&position)
    }
    let delta = unsafe varint(&position)
    let room = UInt64(bitPattern: Int64(unsafe entriesEnd &- position))
    guard unsafe position <= entriesEnd, unshared <= room, valueLength <= room &- unshared, head >> 1 <= 1 << 20 else {
      return .damaged
    }
    return BlockEntry(
      shared: Int(head >> 1), unshared: Int(unshared), valueLength: Int(valueLength),
      version: unsafe baseVersion &+ delta, isDelete: head & 1 == 1, keyOffset: position,
      next: position &+ Int(unshared) &+ Int(valueLength))
  }

  /// Reads a varint; past the entries' end it leaves `position` beyond, which `entry(at:)` refuses.
  @inline(__always)
  private func varint(_ position: inout Int) -> UInt64 {
    guard unsafe position < entriesEnd else {
      position = Int.max / 2
      return 0
    }
    let first = unsafe (base + position).load(as: UInt8.self)
    position &+= 1
    if first < 0x80 { return UInt64(first) }
    return unsafe longVarint(first, &position)
  }

  @inline(never)
  private func longVarint(_ first: UInt8, _ position: inout Int) -> UInt64 {
    var value = UInt64(first & 0x7F)
    var shift: UInt64 = 7
    while unsafe position < entriesEnd && shift <= 63 {
      let byte = unsafe (base + position).load(as: UInt8.self)
      position &+= 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift &+= 7
    }
    position = Int.max / 2
    return 0
  }

  /// Compares the restart's (key, version) with the target: negative where it comes before. Nil: damaged.
  @inline(__always)
  func compareRestart(_ index: Int, _ key: UnsafeRawBufferPointer, _ version: UInt64) -> Int? {
    let found = unsafe entry(at: restartOffset(index))
    guard found.next >= 0, found.shared == 0 else { return nil }
    let order = unsafe compareKeys(UnsafeRawBufferPointer(start: base + found.keyOffset, count: found.unshared), key)
    if order != 0 { return order }
    return found.version > version ? -1 : found.version == version ? 0 : 1
  }

  /// The number of restarts that come before (key, version), or -1: damaged.
  @inline(__always)
  func restartsBefore(_ key: UnsafeRawBufferPointer, _ version: UInt64) -> Int {
    let common = unsafe commonPrefixLength
    let count = unsafe restartCount
    if common > 0 {
      guard count > 0 else { return 0 }
      let first = unsafe entry(at: restartOffset(0))
      guard first.next >= 0, first.shared == 0, first.unshared >= common else { return -1 }
      let shorter = min(common, key.count)
      let order = shorter == 0 ? 0 : unsafe Int(memcmp(base + first.keyOffset, key.baseAddress!, shorter))
      if order > 0 { return 0 }
      if order < 0 { return count }
      if key.count < common { return 0 }
    }
    let target = unsafe searchPrefix(key, after: common)
    var low = unsafe lowerBound(target, from: 0)
    if unsafe low < count && restartPrefix(low) == target {
      var high = target == UInt64.max ? count : unsafe lowerBound(target &+ 1, from: low)
      while low < high {
        let middle = (low &+ high) >> 1
        guard let order = unsafe compareRestart(middle, key, version) else { return -1 }
        if order < 0 { low = middle &+ 1 } else { high = middle }
      }
    }
    return low
  }

  /// The first restart, from `from` on, whose prefix is at or after `target`.
  @inline(__always)
  private func lowerBound(_ target: UInt64, from: Int) -> Int {
    var low = from
    var length = unsafe restartCount &- from
    while length > 0 {
      let half = length >> 1
      let isBefore = unsafe restartPrefix(low &+ half) < target
      low = isBefore ? low &+ half &+ 1 : low
      length = isBefore ? length &- half &- 1 : half
    }
    return low
  }

  /// In a block that restarts at every entry: the first entry at or after (key, version), or nil after the last.
  @inline(__always)
  package func seekIndex(_ key: UnsafeRawBufferPointer, _ version: UInt64) -> BlockEntry? {
    let index = unsafe restartsBefore(key, version)
    if index < 0 { return .damaged }
    guard unsafe index < restartCount else { return nil }
    return unsafe entry(at: restartOffset(index))
  }

  /// How an entry that shares just the `matched` first bytes of `key` compares with all of it (negative: it comes before), and
  /// how many of the bytes behind those agree as well.
  @inline(__always)
  private func step(_ found: BlockEntry, _ key: UnsafeRawBufferPointer, _ matched: Int) -> (order: Int, common: Int) {
    let rest = key.count &- matched
    guard rest > 0 else { return (found.unshared > 0 ? 1 : 0, 0) }
    // What is left of a key is not empty here, so it has an address.
    let ours = unsafe key.baseAddress.unsafelyUnwrapped + matched
    let common = unsafe commonLength(base + found.keyOffset, ours, min(rest, found.unshared))
    if common == rest { return (found.unshared > rest ? 1 : 0, common) }
    guard common < found.unshared else { return (-1, common) }
    let theirs = unsafe (base + found.keyOffset + common).load(as: UInt8.self)
    return (unsafe theirs > (ours + common).load(as: UInt8.self) ? 1 : -1, common)
  }

  /// Where the first entry at or after `key` begins (the entries' end if there is none), or -1: damaged.
  package func firstOffset(notBefore key: UnsafeRawBufferPointer) -> Int {
    let before = unsafe restartsBefore(key, UInt64.max)
    guard before > 0 else { return before }
    var offset = unsafe restartOffset(before &- 1)
    let end = unsafe before < restartCount ? restartOffset(before) : entriesEnd
    var matched = 0
    var isFirst = true
    while offset < end {
      let found = unsafe entry(at: offset)
      guard found.next >= 0 else { return -1 }
      // See the search at the head of the file; the restart itself comes before the key.
      if found.shared < matched { return offset }
      if found.shared == matched {
        let step = unsafe step(found, key, matched)
        if !isFirst && step.order >= 0 { return offset }
        matched &+= step.common
      }
      isFirst = false
      offset = found.next
    }
    return offset
  }

  /// The newest entry of `key` at or below `version`.
  @inline(__always)
  package func find(_ key: UnsafeRawBufferPointer, _ version: UInt64) -> BlockLookup {
    let before = unsafe restartsBefore(key, version)
    guard before >= 0 else { return .damaged }
    var offset = before == 0 ? 0 : unsafe restartOffset(before &- 1)
    // Where the next restart begins, whose entry is at or after the target and holds its whole key.
    var limit = unsafe before == 0 ? 0 : before < restartCount ? restartOffset(before) : Int.max
    // Entries name their successors: without help each would be waited for in turn.
    var line = offset
    let last = unsafe min(limit, entriesEnd, offset &+ 2048)
    while line < last {
      unsafe synod_prefetch(base + line)
      line &+= 64
    }
    var matched = 0
    var previousLength = 0
    while unsafe offset < entriesEnd {
      if offset >= limit {
        matched = 0
        limit = Int.max
      }
      let found = unsafe entry(at: offset)
      guard found.next >= 0, found.shared <= previousLength else { return .damaged }
      if found.shared < matched { return .absent }
      if found.shared == matched {
        let step = unsafe step(found, key, matched)
        if step.order > 0 { return .absent }
        if step.order == 0 && found.version <= version {
          return BlockLookup(
            outcome: .found, isDelete: found.isDelete, version: found.version, valueOffset: found.valueOffset,
            valueLength: found.valueLength)
        }
        matched &+= step.common
      }
      previousLength = found.shared &+ found.unshared
      offset = found.next
    }
    return .absent
  }
}

/// The 8 bytes of `key` from `offset` on as a big-endian number, filled with zeros.
@inline(__always)
func searchPrefix(_ key: UnsafeRawBufferPointer, after offset: Int) -> UInt64 {
  let rest = key.count &- offset
  if rest >= 8 {
    return UInt64(bigEndian: unsafe (key.baseAddress.unsafelyUnwrapped + offset).loadUnaligned(as: UInt64.self))
  }
  var word: UInt64 = 0
  var index = 0
  while index < rest {
    word |= UInt64(unsafe key[offset &+ index]) << UInt64(56 &- 8 &* index)
    index &+= 1
  }
  return word
}

/// How many of the first `count` bytes agree.
@inline(__always)
func commonLength(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ count: Int) -> Int {
  var index = 0
  while index &+ 8 <= count {
    let difference = unsafe (a + index).loadUnaligned(as: UInt64.self) ^ (b + index).loadUnaligned(as: UInt64.self)
    if difference != 0 { return index &+ UInt64(littleEndian: difference).trailingZeroBitCount >> 3 }
    index &+= 8
  }
  while index < count {
    if unsafe (a + index).load(as: UInt8.self) != (b + index).load(as: UInt8.self) { return index }
    index &+= 1
  }
  return count
}
