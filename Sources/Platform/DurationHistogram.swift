internal import Synchronization

/// How often something took how long: a word for each power of two from 16 µs to 16 s. Any thread; no allocation, no lock.
package final class DurationHistogram: Sendable {
  /// The upper bounds, in nanoseconds; what is longer is counted behind the last.
  package static let bounds: [UInt64] = (0...20).map { 16_000 << UInt64($0) }

  private final class Cell: Sendable {
    let word = Atomic<UInt64>(0)
  }
  private let cells: [Cell] = (0...21).map { _ in Cell() }
  private let sum = Atomic<UInt64>(0)

  package init() {}

  /// Two atomic additions.
  package func add(nanoseconds: UInt64) {
    // The number of the first bound that is not below.
    let place = nanoseconds <= 16_000 ? 0 : 64 - ((nanoseconds - 1) / 16_000).leadingZeroBitCount
    cells[min(place, 21)].word.wrappingAdd(1, ordering: .relaxed)
    sum.wrappingAdd(nanoseconds, ordering: .relaxed)
  }

  /// The counts beside `bounds`, and those that were longer; and the sum of all.
  package var counts: (counts: [UInt64], sumNanoseconds: UInt64) {
    (cells.map { $0.word.load(ordering: .relaxed) }, sum.load(ordering: .relaxed))
  }
}
