internal import Glibc

// What one serializable transaction has read: points (keys asked for, found or not) and intervals (passed over by
// cursors). Private to the transaction until it commits; then the certifier takes the list over.
//
// 1. Nothing is ever taken out, also not by the rollback of a savepoint: the program has seen it.
// 2. A point is recorded once. The hash stands for the key: two keys of the same 64-bit hash can only add conflicts.
// 3. Beyond `limit` points, or `limit` intervals, everything is sorted and the closest neighbours (those that share the
//    longest prefix) are merged until half is left. Merging covers more keys, never fewer: it can add conflicts and
//    cannot lose one.

@unsafe
struct ReadPoint: BitwiseCopyable {
  var hash: UInt64
  var key: UnsafeRawPointer?
  var keyCount: UInt32

  var keyBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: key, count: Int(keyCount)) }
}

@unsafe
struct ReadInterval: BitwiseCopyable {
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
struct ReadSet {
  private(set) var points = unsafe RawList<ReadPoint>()
  private(set) var intervals = unsafe RawList<ReadInterval>()
  private var arena = unsafe Arena()
  /// Open addressing over `points` by hash: index + 1, 0 for empty. Only from nine points on.
  private var table = unsafe RawList<UInt32>()
  var limit = 16 << 10

  init() {}

  var isEmpty: Bool { unsafe points.isEmpty && intervals.isEmpty }

  @inline(__always)
  mutating func addPoint(_ key: UnsafeRawBufferPointer) {
    let hash = unsafe keyHash(key)
    if unsafe points.count <= 8 {
      for index in unsafe 0..<points.count where unsafe points.pointer(index).pointee.hash == hash { return }
    } else if unsafe !addToTable(hash) {
      return
    }
    let copy = unsafe arena.copy(key)
    unsafe points.append(ReadPoint(hash: hash, key: copy.baseAddress, keyCount: UInt32(truncatingIfNeeded: copy.count)))
    if unsafe points.count == 9 { unsafe rebuildTable(64) }
    if unsafe points.count > limit { unsafe coarsen() }
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
    if unsafe intervals.count > 0 {
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
      ReadInterval(
        lower: lower.baseAddress, upper: upper.baseAddress, lowerCount: UInt32(truncatingIfNeeded: lower.count),
        upperCount: UInt32(truncatingIfNeeded: upper.count), isUpperInclusive: isUpperInclusive,
        isUnbounded: isUnbounded))
    if unsafe intervals.count > limit { unsafe coarsen() }
  }

  // MARK: Coarsening

  /// Turns points into intervals of one key, sorts and joins what overlaps, and merges the closest neighbours until at
  /// most half of `limit` is left.
  mutating func coarsen() {
    var sorted: [ReadInterval] = unsafe []
    unsafe sorted.reserveCapacity(points.count + intervals.count)
    for index in unsafe 0..<points.count {
      let point = unsafe points[index]
      unsafe sorted.append(
        ReadInterval(
          lower: point.key, upper: point.key, lowerCount: point.keyCount, upperCount: point.keyCount,
          isUpperInclusive: true, isUnbounded: false))
    }
    for index in unsafe 0..<intervals.count { unsafe sorted.append(intervals[index]) }
    unsafe sorted.sort { unsafe order($0.lowerBytes, $1.lowerBytes) < 0 }
    var joined: [ReadInterval] = unsafe []
    for index in 0..<(unsafe sorted.count) {
      let interval = unsafe sorted[index]
      if let last = unsafe joined.last, unsafe last.reaches(interval.lowerBytes) {
        unsafe ReadSet.extend(&joined[joined.count - 1], to: interval)
      } else {
        unsafe joined.append(interval)
      }
    }
    let wanted = unsafe max(1, limit / 2)
    if unsafe joined.count > wanted { unsafe joined = unsafe ReadSet.merge(joined, to: wanted) }
    unsafe points.removeAll()
    unsafe table.removeAll()
    unsafe intervals.removeAll()
    for index in 0..<(unsafe joined.count) { unsafe intervals.append(joined[index]) }
  }

  private static func extend(_ interval: inout ReadInterval, to other: ReadInterval) {
    if unsafe interval.isUnbounded { return }
    let ends = unsafe other.isUnbounded ? 1 : order(other.upperBytes, interval.upperBytes)
    guard unsafe ends > 0 || (ends == 0 && other.isUpperInclusive) else { return }
    unsafe interval.upper = unsafe other.upper
    unsafe interval.upperCount = unsafe other.upperCount
    unsafe interval.isUpperInclusive = unsafe other.isUpperInclusive
    unsafe interval.isUnbounded = unsafe other.isUnbounded
  }

  /// Merges neighbours across those gaps whose ends share the longest prefixes.
  private static func merge(_ intervals: [ReadInterval], to wanted: Int) -> [ReadInterval] {
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
    var result: [ReadInterval] = unsafe []
    for index in unsafe 0..<intervals.count {
      if index > 0 && isMerged[index - 1] {
        unsafe extend(&result[result.count - 1], to: intervals[index])
      } else {
        unsafe result.append(intervals[index])
      }
    }
    return unsafe result
  }

  var sizeBytes: Int { unsafe arena.sizeBytes + points.sizeBytes + intervals.sizeBytes + table.sizeBytes }

  mutating func free() {
    unsafe points.free()
    unsafe intervals.free()
    unsafe arena.free()
    unsafe table.free()
  }
}
