internal import Encoding
internal import Glibc
internal import Storage

// What one serializable transaction has read: points (keys asked for, found or not) and intervals (passed over by
// cursors); and, from its commit on, what it has written. Private to the transaction until it commits; then the certifier
// takes the lists over.
//
// 1. Nothing is taken out, also not by the rollback of a savepoint: the program has seen it.
// 2. A point is recorded once. The hash stands for the key: two keys of the same 64-bit hash can only add conflicts.
// 3. Beyond `limit` points, or `limit` intervals, everything is sorted and the closest neighbours (those that share the
//    longest prefix) are merged until half is left. Merging covers more keys, never fewer: it can add conflicts and
//    cannot lose one. The same is done with what was written, when it is sealed. A footprint that `givesUp` (repeatable
//    read, which only wants to know whether its snapshot can be moved) forgets everything instead, and says so: `isLost`.
// 4. One exception to 1: what a statement read whose answer nobody has seen, because it is run again over a newer snapshot
//    (Transaction+Refresh.swift). `mark` says how far the reads before the statement go; until `closeMark` no interval
//    from before the mark is extended, so that `truncate(to:)` restores them as they were.

@unsafe
struct FootprintKey: BitwiseCopyable {
  var hash: UInt64
  var key: UnsafeRawPointer?
  var keyCount: UInt32

  var keyBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: key, count: Int(keyCount)) }
}

@unsafe
struct FootprintInterval: BitwiseCopyable {
  var lower: UnsafeRawPointer?
  var upper: UnsafeRawPointer?
  var lowerCount: UInt32
  var upperCount: UInt32
  var isUpperInclusive: Bool
  var isUnbounded: Bool

  var lowerBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: lower, count: Int(lowerCount)) }
  var upperBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: upper, count: Int(upperCount)) }

  @inline(__always)
  func contains(_ key: UnsafeRawBufferPointer) -> Bool { unsafe order(lowerBytes, key) <= 0 && reaches(key) }

  /// Whether the interval's end is not before `key`.
  @inline(__always)
  func reaches(_ key: UnsafeRawBufferPointer) -> Bool {
    if unsafe isUnbounded { return true }
    let comparison = unsafe order(key, upperBytes)
    return unsafe isUpperInclusive ? comparison <= 0 : comparison < 0
  }
}

@unsafe
struct Footprint {
  private(set) var points = unsafe RawList<FootprintKey>()
  private(set) var intervals = unsafe RawList<FootprintInterval>()
  private var arena = unsafe Arena()
  /// Open addressing over `points` by hash: index + 1, 0 for empty. Only from nine points on.
  private var table = unsafe RawList<UInt32>()
  var limit = 16 << 10
  /// Whether it forgets, rather than merges, what goes beyond the limit.
  var givesUp = false
  /// Too much was read: nothing is known of it any more.
  private(set) var isLost = false
  /// Intervals before it belong to earlier statements.
  private var frozenIntervals = 0
  /// Counts how often points and intervals were merged, so that marks from before are known to be stale.
  private var merges: UInt32 = 0
  /// Keys put or deleted, and intervals deleted (or standing for too many keys).
  private(set) var written = unsafe RawList<FootprintKey>()
  private(set) var writtenIntervals = unsafe RawList<FootprintInterval>()

  /// Intervals that are handed to the certifier, which takes them in under the sequencer's latch.
  private static let sealedIntervals = 1024

  init() {}

  var isEmpty: Bool { unsafe points.isEmpty && intervals.isEmpty }

  @inline(__always)
  mutating func addPoint(_ key: UnsafeRawBufferPointer) {
    if unsafe isLost { return }
    let hash = unsafe keyHash(key)
    if unsafe points.count <= 8 {
      for index in unsafe 0..<points.count where unsafe points.pointer(index).pointee.hash == hash { return }
    } else if unsafe !addToTable(hash) {
      return
    }
    let copy = unsafe arena.copy(key)
    unsafe points.append(
      FootprintKey(hash: hash, key: copy.baseAddress, keyCount: UInt32(truncatingIfNeeded: copy.count)))
    if unsafe points.count == 9 { unsafe rebuildTable(64) }
    if unsafe points.count > limit { unsafe overflow() }
  }

  /// Too much was read to remember it exactly.
  @inline(never)
  private mutating func overflow() {
    guard unsafe givesUp else { return unsafe coarsen() }
    unsafe points.free()
    unsafe intervals.free()
    unsafe table.free()
    unsafe arena.free()
    unsafe isLost = true
  }

  /// False if it is there. Otherwise the next point appended is its point.
  private mutating func addToTable(_ hash: UInt64) -> Bool {
    if unsafe points.count * 2 >= table.count { unsafe rebuildTable(table.count * 4) }
    let mask = unsafe table.count - 1
    var place = Int(truncatingIfNeeded: hash) & mask
    while unsafe table[place] != 0 {
      if unsafe points.pointer(Int(table[place]) - 1).pointee.hash == hash { return false }
      place = (place + 1) & mask
    }
    unsafe table[place] = unsafe UInt32(points.count + 1)
    return true
  }

  private mutating func rebuildTable(_ size: Int) {
    unsafe table.removeAll()
    unsafe table.reserve(size)
    for _ in 0..<size { unsafe table.append(0) }
    let mask = size - 1
    for index in unsafe 0..<points.count {
      var place = unsafe Int(truncatingIfNeeded: points.pointer(index).pointee.hash) & mask
      while unsafe table[place] != 0 { place = (place + 1) & mask }
      unsafe table[place] = UInt32(index + 1)
    }
  }

  /// Adds the interval from `lower`, inclusive. Nothing if it is empty.
  mutating func addInterval(
    _ lower: UnsafeRawBufferPointer, _ upper: UnsafeRawBufferPointer, isUpperInclusive: Bool, isUnbounded: Bool
  ) {
    let comparison = unsafe isUnbounded ? -1 : order(lower, upper)
    guard comparison < 0 || (comparison == 0 && isUpperInclusive) else { return }
    // One key, looked up by a cursor.
    if comparison == 0 { return unsafe addPoint(lower) }
    if unsafe isLost { return }
    if unsafe intervals.count > frozenIntervals {
      // The same cursor over the same rows once more, or a longer way from the same start.
      let last = unsafe intervals.pointer(intervals.count - 1)
      if unsafe order(last.pointee.lowerBytes, lower) == 0 {
        if unsafe last.pointee.isUnbounded { return }
        if !isUnbounded {
          let ends = unsafe order(upper, last.pointee.upperBytes)
          if unsafe ends < 0 || (ends == 0 && (last.pointee.isUpperInclusive || !isUpperInclusive)) { return }
        }
        let copy = unsafe arena.copy(upper)
        unsafe last.pointee.upper = copy.baseAddress
        unsafe last.pointee.upperCount = UInt32(truncatingIfNeeded: copy.count)
        unsafe last.pointee.isUpperInclusive = isUpperInclusive
        unsafe last.pointee.isUnbounded = isUnbounded
        return
      }
    }
    let lower = unsafe arena.copy(lower)
    let upper = unsafe arena.copy(upper)
    unsafe intervals.append(
      FootprintInterval(
        lower: lower.baseAddress, upper: upper.baseAddress, lowerCount: UInt32(truncatingIfNeeded: lower.count),
        upperCount: UInt32(truncatingIfNeeded: upper.count), isUpperInclusive: isUpperInclusive,
        isUnbounded: isUnbounded))
    if unsafe intervals.count > limit { unsafe overflow() }
  }

  /// The interval in which `key` was read; nil if the key itself was asked for, or it was not read.
  func interval(around key: UnsafeRawBufferPointer) -> FootprintInterval? {
    let hash = unsafe keyHash(key)
    for index in unsafe 0..<points.count where unsafe points.pointer(index).pointee.hash == hash { return nil }
    for index in unsafe 0..<intervals.count where unsafe intervals.pointer(index).pointee.contains(key) {
      return unsafe intervals[index]
    }
    return nil
  }

  // MARK: Sealing

  /// Copies what was written, and puts intervals in order: the last step before the commit. A deletion of a key that was
  /// not there (`isAbsent`: one that the transaction had put itself) changes nothing: it counts as a read.
  mutating func seal(_ writes: borrowing WriteSet, isAbsent: (UnsafeRawBufferPointer) -> Bool) {
    let looksUpDeletions = unsafe writes.entries.count <= Footprint.sealedIntervals
    for index in unsafe 0..<writes.ranges.count {
      let range = unsafe writes.ranges.pointer(index)
      unsafe writtenIntervals.append(
        interval(range.pointee.startBytes, range.pointee.endBytes, isUpperInclusive: false))
    }
    for index in unsafe 0..<writes.entries.count {
      let entry = unsafe writes.entries.pointer(index)
      guard unsafe entry.pointee.kind != WriteEntry.none else { continue }
      if looksUpDeletions, unsafe entry.pointee.kind == WriteBatch.Kind.delete.rawValue,
        unsafe isAbsent(entry.pointee.keyBytes)
      {
        unsafe addPoint(entry.pointee.keyBytes)
        continue
      }
      let key = unsafe arena.copy(entry.pointee.keyBytes)
      unsafe written.append(
        FootprintKey(hash: keyHash(key), key: key.baseAddress, keyCount: UInt32(truncatingIfNeeded: key.count)))
    }
    if unsafe written.count > limit || writtenIntervals.count > limit {
      unsafe Footprint.coarsen(&written, &writtenIntervals, to: max(1, limit / 16))
    } else if unsafe writtenIntervals.count > 1 {
      var none = unsafe RawList<FootprintKey>()
      unsafe Footprint.coarsen(&none, &writtenIntervals, to: limit)
    }
    if unsafe intervals.count > 1 {
      var none = unsafe RawList<FootprintKey>()
      unsafe Footprint.coarsen(&none, &intervals, to: min(limit, Footprint.sealedIntervals))
    }
  }

  private mutating func interval(
    _ lower: UnsafeRawBufferPointer, _ upper: UnsafeRawBufferPointer, isUpperInclusive: Bool
  ) -> FootprintInterval {
    let lower = unsafe arena.copy(lower)
    let upper = unsafe arena.copy(upper)
    return unsafe FootprintInterval(
      lower: lower.baseAddress, upper: upper.baseAddress, lowerCount: UInt32(truncatingIfNeeded: lower.count),
      upperCount: UInt32(truncatingIfNeeded: upper.count), isUpperInclusive: isUpperInclusive, isUnbounded: false)
  }

  // MARK: Coarsening

  /// Turns points into intervals until at most half of `limit` intervals are left.
  mutating func coarsen() {
    unsafe merges &+= 1
    unsafe frozenIntervals = 0
    unsafe Footprint.coarsen(&points, &intervals, to: max(1, limit / 2))
    unsafe table.removeAll()
  }

  /// Coarser still, with what was written: at most `count` intervals each.
  mutating func coarsenAll(to count: Int) {
    unsafe Footprint.coarsen(&points, &intervals, to: count)
    unsafe Footprint.coarsen(&written, &writtenIntervals, to: count)
    unsafe table.removeAll()
  }

  /// Takes in what another covers.
  mutating func absorb(_ other: borrowing Footprint) {
    func copy(_ from: FootprintInterval) -> FootprintInterval {
      var result = unsafe interval(from.lowerBytes, from.upperBytes, isUpperInclusive: from.isUpperInclusive)
      unsafe result.isUnbounded = unsafe from.isUnbounded
      return unsafe result
    }
    for index in unsafe 0..<other.points.count {
      let key = unsafe other.points[index].keyBytes
      unsafe intervals.append(interval(key, key, isUpperInclusive: true))
    }
    for index in unsafe 0..<other.written.count {
      let key = unsafe other.written[index].keyBytes
      unsafe writtenIntervals.append(interval(key, key, isUpperInclusive: true))
    }
    for index in unsafe 0..<other.intervals.count { unsafe intervals.append(copy(other.intervals[index])) }
    for index in unsafe 0..<other.writtenIntervals.count {
      unsafe writtenIntervals.append(copy(other.writtenIntervals[index]))
    }
  }

  /// Turns keys into intervals of one key, sorts and joins what overlaps, and merges the closest neighbours until at most
  /// `count` are left.
  private static func coarsen(
    _ keys: inout RawList<FootprintKey>, _ intervals: inout RawList<FootprintInterval>, to count: Int
  ) {
    var sorted: [FootprintInterval] = unsafe []
    unsafe sorted.reserveCapacity(keys.count + intervals.count)
    for index in unsafe 0..<keys.count {
      let key = unsafe keys[index]
      unsafe sorted.append(
        FootprintInterval(
          lower: key.key, upper: key.key, lowerCount: key.keyCount, upperCount: key.keyCount, isUpperInclusive: true,
          isUnbounded: false))
    }
    for index in unsafe 0..<intervals.count { unsafe sorted.append(intervals[index]) }
    unsafe sorted.sort { unsafe order($0.lowerBytes, $1.lowerBytes) < 0 }
    var joined: [FootprintInterval] = unsafe []
    for index in unsafe 0..<sorted.count {
      if let last = unsafe joined.last, unsafe last.reaches(sorted[index].lowerBytes) {
        unsafe extend(&joined[joined.count - 1], to: sorted[index])
      } else {
        unsafe joined.append(sorted[index])
      }
    }
    if unsafe joined.count > count { unsafe joined = unsafe merge(joined, to: count) }
    unsafe keys.removeAll()
    unsafe intervals.removeAll()
    for index in unsafe 0..<joined.count { unsafe intervals.append(joined[index]) }
  }

  /// The first of sorted, disjoint intervals that ends at or after `key`: the only one that can contain it.
  @inline(__always)
  static func firstReaching(
    _ key: UnsafeRawBufferPointer, _ intervals: borrowing RawList<FootprintInterval>
  ) -> Int {
    var low = 0
    var high = unsafe intervals.count
    while low < high {
      let middle = (low + high) >> 1
      if unsafe intervals.pointer(middle).pointee.reaches(key) { high = middle } else { low = middle + 1 }
    }
    return low
  }

  private static func extend(_ interval: inout FootprintInterval, to other: FootprintInterval) {
    if unsafe interval.isUnbounded { return }
    let ends = unsafe other.isUnbounded ? 1 : order(other.upperBytes, interval.upperBytes)
    guard unsafe ends > 0 || (ends == 0 && other.isUpperInclusive) else { return }
    unsafe interval.upper = unsafe other.upper
    unsafe interval.upperCount = unsafe other.upperCount
    unsafe interval.isUpperInclusive = unsafe other.isUpperInclusive
    unsafe interval.isUnbounded = unsafe other.isUnbounded
  }

  /// Merges neighbours across those gaps whose ends share the longest prefixes.
  private static func merge(_ intervals: [FootprintInterval], to wanted: Int) -> [FootprintInterval] {
    var shared = [(prefix: Int, gap: Int)]()
    unsafe shared.reserveCapacity(intervals.count)
    for gap in unsafe 0..<(intervals.count - 1) {
      let a = unsafe intervals[gap].upperBytes
      let b = unsafe intervals[gap + 1].lowerBytes
      var prefix = 0
      while unsafe prefix < min(a.count, b.count) && a[prefix] == b[prefix] { prefix += 1 }
      shared.append((prefix, gap))
    }
    shared.sort { ($0.prefix, $1.gap) > ($1.prefix, $0.gap) }
    var isMerged = unsafe [Bool](repeating: false, count: intervals.count)
    for closest in unsafe shared.prefix(intervals.count - wanted) { isMerged[closest.gap] = true }
    var result: [FootprintInterval] = unsafe []
    for index in unsafe 0..<intervals.count {
      if index > 0 && isMerged[index - 1] {
        unsafe extend(&result[result.count - 1], to: intervals[index])
      } else {
        unsafe result.append(intervals[index])
      }
    }
    return unsafe result
  }

  var isEmptyOfWrites: Bool { unsafe written.isEmpty && writtenIntervals.isEmpty }

  // MARK: Marks

  /// How far the reads go that were made until now.
  struct Mark: BitwiseCopyable {
    var points: Int
    var intervals: Int
    fileprivate var merges: UInt32
    fileprivate var isLost: Bool
    /// Nothing had been read.
    var isEmpty: Bool { points == 0 && intervals == 0 && !isLost }
  }

  var mark: Mark { unsafe Mark(points: points.count, intervals: intervals.count, merges: merges, isLost: isLost) }

  /// A mark to which `truncate` may go back, until `closeMark`.
  mutating func openMark() -> Mark {
    unsafe frozenIntervals = unsafe intervals.count
    return unsafe mark
  }

  mutating func closeMark() { unsafe frozenIntervals = 0 }

  /// Whether what was read before the mark can still be told from what was read after it.
  func isValid(_ mark: Mark) -> Bool { unsafe mark.isEmpty || (mark.merges == merges && !isLost) }

  /// Forgets what was read after a valid mark.
  mutating func truncate(to mark: Mark) {
    if mark.isEmpty { unsafe isLost = false }
    unsafe points.truncate(to: min(points.count, mark.points))
    unsafe intervals.truncate(to: min(intervals.count, mark.intervals))
    if unsafe points.count > 8 { unsafe rebuildTable(table.count) } else { unsafe table.removeAll() }
  }

  /// Whether `key` was asked for.
  func hasPoint(_ key: UnsafeRawBufferPointer) -> Bool {
    let hash = unsafe keyHash(key)
    for index in unsafe 0..<points.count where unsafe points.pointer(index).pointee.hash == hash { return true }
    return false
  }

  mutating func removeReads() {
    unsafe points.removeAll()
    unsafe intervals.removeAll()
    unsafe table.removeAll()
  }

  /// Forgets everything, and keeps small lists for the next user.
  ///
  /// - Parameter keepsSmall: also the memory of the keys, if that is little.
  mutating func recycle(keepsSmall: Bool = false) {
    if unsafe points.capacity > 64 { unsafe points.free() } else { unsafe points.removeAll() }
    if unsafe intervals.capacity > 64 { unsafe intervals.free() } else { unsafe intervals.removeAll() }
    if unsafe written.capacity > 64 { unsafe written.free() } else { unsafe written.removeAll() }
    if unsafe writtenIntervals.capacity > 64 {
      unsafe writtenIntervals.free()
    } else {
      unsafe writtenIntervals.removeAll()
    }
    if unsafe table.capacity > 256 { unsafe table.free() } else { unsafe table.removeAll() }
    if unsafe !keepsSmall || arena.sizeBytes > 4096 { unsafe arena.free() }
  }

  var sizeBytes: Int {
    unsafe written.sizeBytes + writtenIntervals.sizeBytes + arena.sizeBytes + points.sizeBytes + intervals.sizeBytes
      + table.sizeBytes
  }

  mutating func free() {
    unsafe points.free()
    unsafe intervals.free()
    unsafe arena.free()
    unsafe table.free()
    unsafe written.free()
    unsafe writtenIntervals.free()
  }
}
