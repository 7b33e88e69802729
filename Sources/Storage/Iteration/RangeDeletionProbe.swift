internal import Encoding

/// Finds the deletions of one key after another, cheaply while the keys stay near each other.
@safe
struct RangeDeletionProbe {
  private let sets: [RangeDeletions]
  private let snapshot: Version
  /// For each set the first fragment that ends after the last key asked for.
  private var places: [Int]
  /// The set whose fragment gave the last answer. (Another set may have a fragment of the same deletion further on:
  /// tables cut range deletions at their bounds.)
  private var answering = -1

  init(_ sets: [RangeDeletions], _ snapshot: Version) {
    self.sets = sets
    self.snapshot = snapshot
    places = Array(repeating: -1, count: sets.count)
  }

  var isEmpty: Bool { sets.isEmpty }

  /// The newest version not newer than the snapshot that deletes `key`, or zero.
  mutating func newestVersion(covering key: UnsafeRawBufferPointer) -> Version {
    var newest = Version.zero
    answering = -1
    for index in 0..<sets.count {
      let place = unsafe self.place(index, key)
      guard place < sets[index].count else { continue }
      let fragment = unsafe sets[index][place]
      guard unsafe compareKeys(fragment.start, key) <= 0 else { continue }
      let version = unsafe fragment.newestVersion(atMost: snapshot)
      guard version > newest else { continue }
      newest = version
      answering = index
    }
    return newest
  }

  /// The interval around `key` in which `version`, which `newestVersion(covering:)` just returned, deletes.
  func interval(of version: Version) -> (start: UnsafeRawBufferPointer, end: UnsafeRawBufferPointer)? {
    guard answering >= 0 else { return nil }
    let fragment = unsafe sets[answering][places[answering]]
    guard unsafe fragment.newestVersion(atMost: snapshot) == version else { return nil }
    return unsafe (fragment.start, fragment.end)
  }

  private mutating func place(_ index: Int, _ key: UnsafeRawBufferPointer) -> Int {
    let set = sets[index]
    let place = places[index]
    if place >= 0 {
      // Still before the end of the same fragment, and after the one before it?
      let isBeforeEnd = unsafe place == set.count || compareKeys(key, set[place].end) < 0
      if unsafe isBeforeEnd && (place == 0 || compareKeys(set[place - 1].end, key) <= 0) { return place }
    }
    places[index] = unsafe set.firstIndex(endingAfter: key)
    return places[index]
  }
}
