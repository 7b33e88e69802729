import Platform
import Testing

@Suite struct DurationHistogramTests {
  @Test func durationsAreCountedBelowTheirBounds() {
    let histogram = DurationHistogram()
    let bounds = DurationHistogram.bounds
    for bound in bounds {
      histogram.add(nanoseconds: bound)
      histogram.add(nanoseconds: bound + 1)
    }
    histogram.add(nanoseconds: 0)
    histogram.add(nanoseconds: UInt64(1) << 60)
    let (counts, sum) = histogram.counts
    #expect(counts.count == bounds.count + 1)
    #expect(counts[0] == 2)
    #expect(counts[1..<bounds.count].allSatisfy { $0 == 2 })
    #expect(counts[bounds.count] == 2)
    #expect(sum == bounds.reduce(0) { $0 + 2 * $1 + 1 } + 1 << 60)
  }
}
