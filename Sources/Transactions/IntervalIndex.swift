internal import Glibc

// Who has read which intervals: the key space cut into fragments that are read by the same set of transactions.
//
//      a        c      f           k
//      |  {1}   | {1,2}|    {2}    |  {}            1 read [a, f), 2 read [c, k)
//
// 1. A fragment reaches from its own key to the next fragment's; before the first nobody has read anything.
// 2. Neighbours have different sets: a boundary stands only where an interval begins or ends.
// 3. Sets are sorted, so that equality is a comparison of memory.
//
// Asking for a key is one search; adding and removing an interval is two searches and a step for each fragment inside.

@unsafe
struct IntervalFragment: BitwiseCopyable {
  var key: UnsafeMutableRawPointer?
  var keyCount: UInt32
  var owners: RawList<Int32>
}

@unsafe
struct IntervalFragments: KeySource {
  var list = unsafe RawList<IntervalFragment>()

  @inline(__always)
  func key(_ identifier: UInt32) -> UnsafeRawBufferPointer {
    let fragment = unsafe list.pointer(Int(identifier))
    return unsafe UnsafeRawBufferPointer(start: fragment.pointee.key, count: Int(fragment.pointee.keyCount))
  }
}

@unsafe
struct IntervalIndex {
  private var fragments = unsafe IntervalFragments()
  private var index = unsafe KeyIndex()
  private var unused = unsafe RawList<UInt32>()

  init() {}

  var isEmpty: Bool { unsafe index.isEmpty }

  /// Calls `body` with everybody who read an interval that contains `key`.
  @inline(__always)
  func forEachOwner(of key: UnsafeRawBufferPointer, _ body: (Int32) -> Void) {
    guard unsafe !index.isEmpty, let place = unsafe floor(key) else { return }
    let fragment = unsafe fragments.list.pointer(Int(index.identifier(at: place)))
    for position in unsafe 0..<fragment.pointee.owners.count { unsafe body(fragment.pointee.owners[position]) }
  }

  /// The last fragment that begins at or before `key`.
  @inline(__always)
  private func floor(_ key: UnsafeRawBufferPointer) -> KeyIndex.Position? {
    let place = unsafe index.lowerBound(key, in: fragments)
    if unsafe !index.isEnd(place), unsafe order(fragments.key(index.identifier(at: place)), key) == 0 { return place }
    return unsafe index.before(place)
  }

  // MARK: Adding

  mutating func add(_ interval: FootprintInterval, _ owner: Int32) {
    unsafe cut(at: interval.lowerBytes, isAfter: false)
    if unsafe !interval.isUnbounded { unsafe cut(at: interval.upperBytes, isAfter: interval.isUpperInclusive) }
    unsafe forEachFragment(in: interval) { fragment in unsafe IntervalIndex.insert(owner, &fragment.pointee.owners) }
  }

  private static func insert(_ owner: Int32, _ owners: inout RawList<Int32>) {
    var place = unsafe owners.count
    while unsafe place > 0 && owners[place - 1] > owner { place -= 1 }
    if unsafe place > 0 && owners[place - 1] == owner { return }
    unsafe owners.insert(owner, at: place)
  }

  /// Makes a fragment begin at `key`, or right after it.
  private mutating func cut(at key: UnsafeRawBufferPointer, isAfter: Bool) {
    let count = key.count + (isAfter ? 1 : 0)
    guard let memory = unsafe malloc(max(1, count)) else { fatalError("out of memory") }
    if key.count > 0 { unsafe memcpy(memory, key.baseAddress.unsafelyUnwrapped, key.count) }
    // The first key after `key` is `key` and a zero byte.
    if isAfter { unsafe memory.storeBytes(of: 0, toByteOffset: key.count, as: UInt8.self) }
    let boundary = unsafe UnsafeRawBufferPointer(start: memory, count: count)
    let place = unsafe floor(boundary)
    var owners = unsafe RawList<Int32>()
    if let place {
      let identifier = unsafe index.identifier(at: place)
      if unsafe order(fragments.key(identifier), boundary) == 0 {
        unsafe Glibc.free(memory)
        return
      }
      let before = unsafe fragments.list.pointer(Int(identifier))
      unsafe owners.reserve(before.pointee.owners.count + 1)
      for position in unsafe 0..<before.pointee.owners.count { unsafe owners.append(before.pointee.owners[position]) }
    }
    let fragment = unsafe IntervalFragment(key: memory, keyCount: UInt32(truncatingIfNeeded: count), owners: owners)
    let identifier: UInt32
    if unsafe unused.isEmpty {
      identifier = unsafe UInt32(truncatingIfNeeded: fragments.list.count)
      unsafe fragments.list.append(fragment)
    } else {
      identifier = unsafe unused.removeLast()
      unsafe fragments.list[Int(identifier)] = fragment
    }
    unsafe index.insert(boundary, identifier: identifier, in: fragments)
  }

  // MARK: Removing

  mutating func remove(_ interval: FootprintInterval, _ owner: Int32) {
    unsafe forEachFragment(in: interval) { fragment in
      for position in unsafe 0..<fragment.pointee.owners.count where unsafe fragment.pointee.owners[position] == owner {
        unsafe fragment.pointee.owners.remove(at: position)
        return
      }
    }
    unsafe join(at: interval.lowerBytes, isAfter: false)
    if unsafe !interval.isUnbounded { unsafe join(at: interval.upperBytes, isAfter: interval.isUpperInclusive) }
  }

  /// Takes away the boundary there, if both its sides have the same owners by now.
  private mutating func join(at key: UnsafeRawBufferPointer, isAfter: Bool) {
    var place = unsafe index.lowerBound(key, in: fragments)
    if isAfter, unsafe !index.isEnd(place), unsafe order(fragments.key(index.identifier(at: place)), key) == 0 {
      place = unsafe index.after(place)
    }
    guard unsafe !index.isEnd(place) else { return }
    let identifier = unsafe index.identifier(at: place)
    let found = unsafe fragments.key(identifier)
    guard found.count == key.count + (isAfter ? 1 : 0),
      unsafe key.count == 0
        || memcmp(found.baseAddress.unsafelyUnwrapped, key.baseAddress.unsafelyUnwrapped, key.count) == 0
    else { return }
    let owners = unsafe fragments.list[Int(identifier)].owners
    if let before = unsafe index.before(place) {
      let others = unsafe fragments.list[Int(index.identifier(at: before))].owners
      guard unsafe others.count == owners.count else { return }
      for position in unsafe 0..<owners.count where unsafe owners[position] != others[position] { return }
    } else if unsafe owners.count > 0 {
      return
    }
    unsafe index.remove(at: place)
    let fragment = unsafe fragments.list.pointer(Int(identifier))
    unsafe Glibc.free(fragment.pointee.key)
    unsafe fragment.pointee.owners.free()
    unsafe fragment.pointee.key = nil
    unsafe unused.append(identifier)
  }

  /// The fragments that begin inside an interval whose ends are boundaries.
  @inline(__always)
  private func forEachFragment(in interval: FootprintInterval, _ body: (UnsafeMutablePointer<IntervalFragment>) -> Void)
  {
    var place = unsafe index.lowerBound(interval.lowerBytes, in: fragments)
    while unsafe !index.isEnd(place) {
      let identifier = unsafe index.identifier(at: place)
      guard unsafe interval.reaches(fragments.key(identifier)) else { return }
      unsafe body(fragments.list.pointer(Int(identifier)))
      place = unsafe index.after(place)
    }
  }

  mutating func free() {
    var place = unsafe index.start
    while unsafe !index.isEnd(place) {
      let fragment = unsafe fragments.list.pointer(Int(index.identifier(at: place)))
      unsafe Glibc.free(fragment.pointee.key)
      unsafe fragment.pointee.owners.free()
      place = unsafe index.after(place)
    }
    unsafe index.free()
    unsafe fragments.list.free()
    unsafe unused.free()
  }
}
