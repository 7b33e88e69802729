package import Encoding

// Range deletions, fragmented: disjoint intervals in key order, each with the versions that delete it.
//
//      [a, k) at 7 and [f, p) at 9   becomes   [a, f) 7 | [f, k) 9 7 | [k, p) 9
//
// 1. Fragments are not empty, disjoint, and in key order.
// 2. The versions of a fragment are in descending order, each once, at least one.
// 3. An entry (key, v) is hidden from a snapshot S when the fragment that contains the key has a version d with
//    v < d ≤ S. So only the newest d ≤ S matters: one search answers.
//
// The fragments of n deletions hold up to n²/2 versions when all of them overlap each other; `versionCount` lets the
// owner bound that.

/// An immutable, fragmented set of range deletions; shared by any number of readers.
///
/// `@unchecked Sendable`: all memory is written by the initialiser, and only read from then on.
@safe
package final class RangeDeletions: @unchecked Sendable {
  /// One interval and who deleted it. The memory is the set's.
  @unsafe
  package struct Fragment {
    package let start: UnsafeRawBufferPointer
    /// Exclusive.
    package let end: UnsafeRawBufferPointer
    /// Newest first.
    package let versions: UnsafeBufferPointer<Version>
  }

  /// Where a fragment's parts are.
  private struct Place {
    var start, startCount, end, endCount, versions, versionCount: Int
  }

  private let bytes: UnsafeMutableRawBufferPointer
  private let places: UnsafeMutableBufferPointer<Place>
  private let versions: UnsafeMutableBufferPointer<Version>

  /// The empty set.
  package static let empty = RangeDeletions(fragments: [])

  /// From fragments that keep to invariants 1 and 2.
  init(fragments: [RangeDeletionBuilder.OwnedFragment]) {
    var byteCount = 0
    var versionCount = 0
    for fragment in fragments {
      byteCount += fragment.start.count + fragment.end.count
      versionCount += fragment.versions.count
    }
    unsafe bytes = .allocate(byteCount: byteCount, alignment: 8)
    unsafe places = .allocate(capacity: fragments.count)
    unsafe versions = .allocate(capacity: versionCount)
    var byteOffset = 0
    var versionOffset = 0
    func keep(_ key: [UInt8]) -> Int {
      let offset = byteOffset
      unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[offset..<offset + key.count]).copyBytes(from: key)
      byteOffset += key.count
      return offset
    }
    for (index, fragment) in fragments.enumerated() {
      let place = Place(
        start: keep(fragment.start), startCount: fragment.start.count,
        end: keep(fragment.end), endCount: fragment.end.count,
        versions: versionOffset, versionCount: fragment.versions.count)
      unsafe places.initializeElement(at: index, to: place)
      for version in fragment.versions {
        unsafe versions.initializeElement(at: versionOffset, to: version)
        versionOffset += 1
      }
    }
  }

  deinit {
    unsafe bytes.deallocate()
    unsafe places.deallocate()
    unsafe versions.deallocate()
  }

  /// The number of fragments.
  package var count: Int { unsafe places.count }
  package var isEmpty: Bool { unsafe places.isEmpty }
  /// The number of versions in all fragments together: what the set costs.
  package var versionCount: Int { unsafe versions.count }

  /// The fragment at `index`, in key order.
  package subscript(index: Int) -> Fragment {
    let place = unsafe places[index]
    return unsafe Fragment(
      start: UnsafeRawBufferPointer(rebasing: bytes[place.start..<place.start + place.startCount]),
      end: UnsafeRawBufferPointer(rebasing: bytes[place.end..<place.end + place.endCount]),
      versions: UnsafeBufferPointer(rebasing: versions[place.versions..<place.versions + place.versionCount]))
  }

  /// The first fragment that ends after `key` (it may begin after it too), or `count`. O(log count).
  package func firstIndex(endingAfter key: UnsafeRawBufferPointer) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if unsafe compareKeys(self[middle].end, key) <= 0 { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Whether it hides anything of `range` from `snapshot`: otherwise a cursor need not ask about each key.
  func concerns(_ range: KeyRange, at snapshot: Version) -> Bool {
    let lower = OwnedBytes(range.lower)
    var index = unsafe firstIndex(endingAfter: lower.bytes)
    while index < count {
      let fragment = unsafe self[index]
      if let upper = range.upper, unsafe upper.withUnsafeBytes({ unsafe compareKeys(fragment.start, $0) }) >= 0 {
        return false
      }
      if unsafe fragment.newestVersion(atMost: snapshot) != .zero { return true }
      index += 1
    }
    return false
  }

  /// Memory in use.
  package var sizeBytes: Int { unsafe bytes.count + places.count * MemoryLayout<Place>.stride + versions.count * 8 }

  /// The newest version not newer than `snapshot` that deletes `key`, or zero. O(log count + log versions).
  package func newestVersion(covering key: UnsafeRawBufferPointer, atMost snapshot: Version) -> Version {
    let index = unsafe firstIndex(endingAfter: key)
    guard index < count else { return .zero }
    let fragment = unsafe self[index]
    guard unsafe compareKeys(fragment.start, key) <= 0 else { return .zero }
    return unsafe fragment.newestVersion(atMost: snapshot)
  }
}

extension RangeDeletions.Fragment {
  /// The newest of the versions that is not newer than `snapshot`, or zero.
  package func newestVersion(atMost snapshot: Version) -> Version {
    var low = 0
    var high = unsafe versions.count
    while low < high {
      let middle = (low + high) / 2
      if unsafe versions[middle] > snapshot { low = middle + 1 } else { high = middle }
    }
    return unsafe low < versions.count ? versions[low] : .zero
  }

  /// Whether `key` is in the interval.
  package func contains(_ key: UnsafeRawBufferPointer) -> Bool {
    unsafe compareKeys(start, key) <= 0 && compareKeys(key, end) < 0
  }
}
