internal import Encoding

// Which entries survive a compaction. With H the horizon (no snapshot below H is or will be taken), for each key, newest
// version first:
//
//   version > H                       stays: some snapshot may be there
//   the newest version <= H           what every snapshot from H on sees, unless something newer hides it. It goes if
//                                       - a range deletion r, version < r <= H, covers it, or
//                                       - it is a deletion, and no older version can lie below;
//                                     else it stays
//   older versions                    go
//
//       H = 6       k@9   k@7   k@5 delete   k@3        the deletion at 5 goes only if nothing of k lies below:
//                    │     │      │            └ goes    else a deeper k@2 would come back
//                  stay  stay   last of its kind
//
// "Below" are the levels deeper than the output's. Of a range deletion's versions likewise: those above H stay, of the
// others the newest, if anything lies below its interval.

/// Decides entry by entry; entries come in internal order.
struct GarbageFilter {
  let horizon: Version
  /// Tables of the deeper levels, each level in key order.
  private let deeper: [[TableMetadata]]
  /// For each deeper level the first table that does not end before the last key asked for.
  private var places: [Int]
  private var deletions: RangeDeletionProbe
  private let hasDeletions: Bool
  private let mutation: StorageMutation?

  private var lastKey: [UInt8] = []
  private var hasKey = false
  private var isDecided = false

  /// - Parameter deletions: all range deletions of the inputs, whether they stay or not.
  init(horizon: Version, deeper: [[TableMetadata]], deletions: RangeDeletions, mutation: StorageMutation?) {
    self.horizon = mutation == .horizonIgnored ? .latest : horizon
    self.deeper = deeper.filter { !$0.isEmpty }
    self.mutation = mutation
    places = Array(repeating: 0, count: self.deeper.count)
    hasDeletions = !deletions.isEmpty
    self.deletions = RangeDeletionProbe([deletions], horizon)
  }

  mutating func keeps(_ key: UnsafeRawBufferPointer, _ version: Version, _ kind: EntryKind) -> Bool {
    let isSame = unsafe hasKey && lastKey.withUnsafeBytes { unsafe compareKeys($0, key) == 0 }
    if !isSame {
      unsafe lastKey.replace(with: key, keeping: 0)
      hasKey = true
      isDecided = false
    }
    if version > horizon { return true }
    if isDecided { return false }
    isDecided = true
    if unsafe hasDeletions && deletions.newestVersion(covering: key) > version { return false }
    return unsafe kind == .put || mayLieBelow(key)
  }

  private mutating func mayLieBelow(_ key: UnsafeRawBufferPointer) -> Bool {
    if mutation == .droppedDeletion { return false }
    for level in deeper.indices {
      while places[level] < deeper[level].count, unsafe ends(deeper[level][places[level]], before: key) {
        places[level] += 1
      }
      guard places[level] < deeper[level].count else { continue }
      let table = deeper[level][places[level]]
      if unsafe table.lower.withUnsafeBytes({ unsafe compareKeys($0, key) }) <= 0 { return true }
    }
    return false
  }

  private func ends(_ table: TableMetadata, before key: UnsafeRawBufferPointer) -> Bool {
    let order = unsafe table.upper.withUnsafeBytes { unsafe compareKeys($0, key) }
    return order < 0 || (order == 0 && table.upperIsExclusive)
  }

  /// The range deletions that stay.
  func surviving(_ all: RangeDeletions) -> RangeDeletions {
    guard !all.isEmpty else { return .empty }
    var result = RangeDeletionBuilder()
    for index in 0..<all.count {
      let fragment = unsafe all[index]
      let start = unsafe Array(fragment.start)
      let end = unsafe Array(fragment.end)
      var versions = unsafe fragment.versions.filter { $0 > horizon }
      let hidesBelow =
        mutation != .droppedDeletion
        && deeper.contains { $0.contains { $0.overlaps(start, end, highIsExclusive: true) } }
      if hidesBelow, let newest = unsafe fragment.versions.first(where: { $0 <= horizon }) { versions.append(newest) }
      result.add(.init(start: start, end: end, versions: versions))
    }
    return result.build()
  }
}
