package import Encoding

/// Collects range deletions in any order and fragments them. O(n log n + what comes out).
package struct RangeDeletionBuilder: Sendable {
  /// A fragment that owns its memory.
  package struct OwnedFragment: Hashable, Sendable {
    package var start: [UInt8]
    /// Exclusive.
    package var end: [UInt8]
    /// Newest first.
    package var versions: [Version]

    package init(start: [UInt8], end: [UInt8], versions: [Version]) {
      self.start = start
      self.end = end
      self.versions = versions
    }
  }

  private var deletions: [OwnedFragment] = []

  package init() {}

  package var isEmpty: Bool { deletions.isEmpty }

  /// Adds `start ..< end` at `version`; an empty interval is nothing.
  package mutating func add(_ start: [UInt8], _ end: [UInt8], _ version: Version) {
    add(OwnedFragment(start: start, end: end, versions: [version]))
  }

  /// Adds an interval with several versions, newest first.
  package mutating func add(_ fragment: OwnedFragment) {
    guard precedes(fragment.start, fragment.end), !fragment.versions.isEmpty else { return }
    deletions.append(fragment)
  }

  /// Adds everything of `other` that lies in `range`.
  package mutating func add(_ other: RangeDeletions, in range: KeyRange = .all) {
    for index in 0..<other.count {
      var fragment = unsafe OwnedFragment(
        start: Array(other[index].start), end: Array(other[index].end), versions: Array(other[index].versions))
      if precedes(fragment.start, range.lower) { fragment.start = range.lower }
      if let upper = range.upper, precedes(upper, fragment.end) { fragment.end = upper }
      add(fragment)
    }
  }

  /// The fragmented set. Neighbours with equal versions become one fragment.
  package func build() -> RangeDeletions {
    guard !deletions.isEmpty else { return .empty }
    let sorted = deletions.sorted { precedes($0.start, $1.start) }
    var boundaries = deletions.flatMap { [$0.start, $0.end] }
    boundaries.sort(by: precedes)
    var result: [OwnedFragment] = []
    var active: [OwnedFragment] = []
    var following = 0
    for (index, boundary) in boundaries.enumerated() {
      guard index + 1 < boundaries.count, boundaries[index + 1] != boundary else { continue }
      active.removeAll { !precedes(boundary, $0.end) }
      while following < sorted.count, !precedes(boundary, sorted[following].start) {
        if precedes(boundary, sorted[following].end) { active.append(sorted[following]) }
        following += 1
      }
      guard !active.isEmpty else { continue }
      var versions = active.flatMap(\.versions)
      versions.sort(by: >)
      var distinct: [Version] = []
      for version in versions where distinct.last != version { distinct.append(version) }
      if let last = result.last, last.end == boundary, last.versions == distinct {
        result[result.count - 1].end = boundaries[index + 1]
      } else {
        result.append(OwnedFragment(start: boundary, end: boundaries[index + 1], versions: distinct))
      }
    }
    return RangeDeletions(fragments: result)
  }

  private func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    unsafe a.withUnsafeBytes { a in unsafe b.withUnsafeBytes { unsafe compareKeys(a, $0) < 0 } }
  }
}
