internal import Encoding
internal import Storage

// Writes that are not in the write set's index yet.
//
// The entries of an index change in the order of the table's rows, so each goes to another place of the write set: a search
// and an insertion with half a dozen cache misses, which was half of a large DELETE. But nobody asks for them before the
// statement is over. So a large transaction puts them on a list, and they are sorted and taken in together:
//
//   row, entry, row, entry …      rows ──────────────▶ index (ascending: at its end)
//                                 entries ─▶ list ─┐
//   first look into the space, savepoint, commit   └─ sorted ─▶ index (ascending again)
//
// 1. Only writes that need no lock (`putUnshared`, `deleteUnshared`) are deferred, and only of a transaction that has written
//    much. A space (the first five bytes of a key: a table or an index) of which a write is deferred has no such write that
//    is not.
// 2. They are taken in (`settle`) before anything of their space is looked up, before a savepoint or a cursor that must tell
//    earlier states from later ones, and before the batch is made. So all that is deferred is newer than the write set's
//    `barrier`, and a later state of a key replaces the earlier one.
// 3. Equal keys are taken in by their operations' numbers.
//
// Sorting: a counting sort by the highest bits in which keys differ, four keys to a bucket, and insertion within each.

/// One write that waits.
@unsafe
struct DeferredWrite: BitwiseCopyable {
  /// The first sixteen bytes behind the space's.
  var head: KeyHead
  var bytes: UnsafeRawPointer
  var valueBytes: UnsafeRawPointer?
  var keyCount: UInt32
  var valueCount: UInt32
  var sequence: UInt64
  var space: UInt8
  var kind: UInt8

  var key: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: bytes, count: Int(keyCount)) }
  var value: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: valueBytes, count: Int(valueCount)) }
}

@unsafe
struct DeferredWrites {
  static let spaceSizeBytes = 5
  private static let mostSpaces = 4

  private var writes = unsafe RawList<DeferredWrite>()
  /// The first five bytes of the keys.
  private var spaces = InlineArray<4, UInt64>(repeating: 0)
  private var spaceCount = 0

  init() {}

  var isEmpty: Bool { unsafe writes.isEmpty }
  var count: Int { unsafe writes.count }

  @inline(__always)
  private static func space(_ key: UnsafeRawBufferPointer) -> UInt64 { unsafe head(key) >> 24 }

  /// Whether writes of the key's space wait.
  @inline(__always)
  func covers(_ key: UnsafeRawBufferPointer) -> Bool {
    guard unsafe !writes.isEmpty else { return false }
    let space = unsafe DeferredWrites.space(key)
    for index in 0..<(unsafe spaceCount) where unsafe spaces[index] == space { return true }
    return false
  }

  /// Takes a write, the key to one arena and the value to another; false if it must be made at once.
  mutating func add(
    _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, kind: UInt8, sequence: UInt64,
    _ arena: inout Arena, _ values: inout Arena
  ) -> Bool {
    guard unsafe key.count >= DeferredWrites.spaceSizeBytes else { return false }
    let space = unsafe DeferredWrites.space(key)
    var place = 0
    while unsafe place < spaceCount && spaces[place] != space { place += 1 }
    if unsafe place == spaceCount {
      guard unsafe place < DeferredWrites.mostSpaces else { return false }
      unsafe spaces[place] = space
      unsafe spaceCount += 1
    }
    let copy = unsafe arena.copy(key)
    // The key is as long as a space's prefix at least.
    guard let bytes = copy.baseAddress else { return false }
    let valueBytes = unsafe values.copy(value).baseAddress
    unsafe writes.append(
      DeferredWrite(
        head: longHead(UnsafeRawBufferPointer(rebasing: key.dropFirst(DeferredWrites.spaceSizeBytes))), bytes: bytes,
        valueBytes: valueBytes, keyCount: UInt32(truncatingIfNeeded: key.count),
        valueCount: UInt32(truncatingIfNeeded: value.count), sequence: sequence, space: UInt8(place), kind: kind))
    return true
  }

  /// Calls `body` with every write, and the first sixteen bytes of its key, in the order of the keys; then none is left.
  mutating func take(_ body: (DeferredWrite, KeyHead) -> Void) {
    var sorter = unsafe KeySorter()
    for space in 0..<(unsafe spaceCount) {
      unsafe sorter.removeAll()
      for place in 0..<(unsafe writes.count) where unsafe writes.pointer(place).pointee.space == space {
        unsafe sorter.add(writes.pointer(place).pointee.head, UInt32(truncatingIfNeeded: place))
      }
      let writes = unsafe self.writes
      unsafe sorter.sort { a, b in
        let result = unsafe order(writes.pointer(Int(a)).pointee.key, writes.pointer(Int(b)).pointee.key)
        return result == 0 ? a < b : result < 0
      }
      let prefix = unsafe spaces[space]
      for index in 0..<(unsafe sorter.count) {
        let item = unsafe sorter[index]
        let whole = KeyHead(
          high: prefix << 24 | item.head.high >> 40, low: item.head.high << 24 | item.head.low >> 40)
        unsafe body(writes[Int(item.place)], whole)
      }
    }
    unsafe sorter.free()
    unsafe free()
  }

  mutating func free() {
    unsafe writes.free()
    unsafe spaceCount = 0
  }
}

/// Sorts numbers of sixteen bytes with places; see the head of the file.
@unsafe
struct KeySorter {
  struct Item: BitwiseCopyable {
    var head: KeyHead
    var place: UInt32
  }

  private var items = unsafe RawList<Item>()
  private var low = UInt64.max
  private var high: UInt64 = 0

  init() {}
  var count: Int { unsafe items.count }
  subscript(index: Int) -> Item { unsafe items[index] }

  mutating func removeAll() {
    unsafe items.removeAll()
    unsafe low = .max
    unsafe high = 0
  }

  @inline(__always)
  mutating func add(_ head: KeyHead, _ place: UInt32) {
    unsafe items.append(Item(head: head, place: place))
    unsafe low = min(low, head.high)
    unsafe high = max(high, head.high)
  }

  /// - Parameter isBefore: decides between places of equal numbers; never equal.
  mutating func sort(_ isBefore: (UInt32, UInt32) -> Bool) {
    let count = unsafe items.count
    guard count > 1 else { return }
    let differing = unsafe 64 - (low ^ high).leadingZeroBitCount
    guard count > 32, differing > 0 else { return unsafe sort(0, count, isBefore) }
    let bits = min(max((Int.bitWidth - count.leadingZeroBitCount) - 2, 6), 18)
    let shift = UInt64(max(0, differing - bits))
    let first = unsafe low >> shift
    let buckets = unsafe Int((high >> shift) - first) + 1
    var starts = unsafe RawList<UInt32>()
    unsafe starts.reserve(buckets + 1)
    for _ in 0...buckets { unsafe starts.append(0) }
    for index in 0..<count {
      unsafe starts[Int((items[index].head.high >> shift) - first) + 1] += 1
    }
    for bucket in 0..<buckets { unsafe starts[bucket + 1] += starts[bucket] }
    var sorted = unsafe RawList<Item>()
    unsafe sorted.reserve(count)
    for index in 0..<count { unsafe sorted.append(items[index]) }
    for index in 0..<count {
      let item = unsafe items[index]
      let bucket = Int((item.head.high >> shift) - first)
      unsafe sorted[Int(starts[bucket])] = item
      unsafe starts[bucket] += 1
    }
    unsafe items.free()
    unsafe items = unsafe sorted
    // `starts` are ends by now.
    var start = 0
    for bucket in 0..<buckets {
      let end = unsafe Int(starts[bucket])
      if end - start > 1 { unsafe sort(start, end, isBefore) }
      start = end
    }
    unsafe starts.free()
  }

  /// By insertion, as long as little is moved.
  private func sort(_ start: Int, _ end: Int, _ isBefore: (UInt32, UInt32) -> Bool) {
    func comes(_ a: Item, before b: Item) -> Bool {
      if a.head != b.head { return a.head < b.head }
      return isBefore(a.place, b.place)
    }
    var moves = 0
    let most = (end - start) * 8 + 64
    for index in (start + 1)..<end {
      let item = unsafe items[index]
      var place = index
      while place > start, unsafe comes(item, before: items[place - 1]) {
        unsafe items[place] = unsafe items[place - 1]
        place -= 1
      }
      unsafe items[place] = item
      moves += index - place
      if moves > most {
        var part = unsafe UnsafeMutableBufferPointer(start: items.pointer(start), count: end - start)
        unsafe part.sort { comes($0, before: $1) }
        return
      }
    }
  }

  mutating func free() { unsafe items.free() }
}
