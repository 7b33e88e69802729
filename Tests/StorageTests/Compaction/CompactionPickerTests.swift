import Encoding
import Storage
import Testing

/// The picker is a function: levels in, decision out.
@Suite struct CompactionPickerTests {
  static func table(
    _ number: UInt64, _ lower: UInt8, _ upper: UInt8, size: UInt64 = 100, versions: ClosedRange<UInt64> = 1...10,
    garbage: UInt64 = 0, deletes: UInt64 = 0
  ) -> TableMetadata {
    var table = TableMetadata()
    table.number = number
    table.sequence = number
    table.lower = [lower]
    table.upper = [upper]
    table.sizeBytes = size
    table.entryCount = 100
    table.deleteCount = deletes
    table.garbageCount = garbage
    table.garbageVersion = Version(versions.upperBound)
    table.minimumVersion = Version(versions.lowerBound)
    table.maximumVersion = Version(versions.upperBound)
    return table
  }

  static func picker(
    _ levels: [Int: [TableMetadata]], sublevels: Int = 0, horizon: UInt64 = 0, deletions: [PlacedDeletion] = []
  ) -> CompactionPicker {
    var options = CompactionOptions()
    options.baseLevelSizeBytes = 1000
    options.level0Sublevels = 4
    return CompactionPicker(
      options: options, tableSizeBytes: 100, levels: (0..<TableSet.levelCount).map { levels[$0] ?? [] },
      sublevelCount: sublevels, horizon: Version(horizon), deletions: deletions)
  }

  @Test func nothingToDoIsNothing() {
    #expect(Self.picker([:]).pick() == nil)
    #expect(Self.picker([0: [Self.table(1, 1, 9)]], sublevels: 1).pick() == nil)
    #expect(Self.picker([6: [Self.table(1, 1, 9, size: 1_000_000)]]).pick() == nil)
    #expect(Self.picker([:]).debtSizeBytes == 0)
  }

  @Test func aSmallDatabaseLivesInTheLastLevel() {
    #expect(Self.picker([:]).aims.base == 6)
    #expect(Self.picker([6: [Self.table(1, 1, 9, size: 900)]]).aims.base == 6)
    let larger = Self.picker([6: [Self.table(1, 1, 9, size: 5000)]]).aims
    #expect(larger.base == 5 && larger.sizeBytes[5] == 500 && larger.sizeBytes[4] == 0)
    let large = Self.picker([6: [Self.table(1, 1, 9, size: 500_000)]]).aims
    #expect(large.base == 3 && large.sizeBytes[3] == 500 && large.sizeBytes[4] == 5000)
  }

  @Test func level0IsMergedWithWhatItOverlaps() throws {
    let level0 = (1...4).map { Self.table(UInt64($0), 10, 20) }
    let below = [Self.table(11, 1, 5), Self.table(12, 15, 30), Self.table(13, 40, 50)]
    let plan = try #require(Self.picker([0: level0, 6: below], sublevels: 4).pick())
    #expect(plan == CompactionPlan(kind: .merge, inputs: [0: level0, 6: [below[1]]], outputLevel: 6))
  }

  /// What comes of the inputs may be one table from the first key to the last: what lies in a gap between them comes along.
  @Test func aGapBetweenTheInputsIsMergedToo() throws {
    let level0 = [Self.table(1, 10, 12), Self.table(2, 30, 32), Self.table(3, 10, 12), Self.table(4, 30, 32)]
    let below = [Self.table(11, 1, 5), Self.table(12, 11, 13), Self.table(13, 20, 22), Self.table(14, 31, 33)]
    let plan = try #require(Self.picker([0: level0, 6: below], sublevels: 4).pick())
    #expect(plan == CompactionPlan(kind: .merge, inputs: [0: level0, 6: Array(below[1...])], outputLevel: 6))
  }

  @Test func tablesThatOverlapNothingAreMoved() throws {
    let level0 = [Self.table(1, 10, 20), Self.table(2, 30, 40), Self.table(3, 12, 13), Self.table(4, 12, 14)]
    let plan = try #require(Self.picker([0: level0, 6: [Self.table(9, 50, 60)]], sublevels: 4).pick())
    #expect(plan == CompactionPlan(kind: .move, inputs: [0: [level0[0], level0[1]]], outputLevel: 6))
  }

  @Test func theLargestExcessGoesFirstAndTheCheapestTable() throws {
    let level5 = [Self.table(1, 10, 20, size: 400), Self.table(2, 30, 40, size: 400)]
    let level6 = [Self.table(3, 5, 25, size: 4000), Self.table(4, 35, 36, size: 10)]
    let plan = try #require(Self.picker([5: level5, 6: level6]).pick())
    #expect(plan == CompactionPlan(kind: .merge, inputs: [5: [level5[1]], 6: [level6[1]]], outputLevel: 6))
    let apart = try #require(Self.picker([5: level5, 6: [level6[0]]]).pick())
    #expect(apart == CompactionPlan(kind: .move, inputs: [5: [level5[1]]], outputLevel: 6))
    #expect(Self.picker([5: level5, 6: level6]).debtSizeBytes > 0)
  }

  @Test func level0KeepsTheOldestFirst() throws {
    let level0 = (1...6).map { Self.table(UInt64($0), 10, 20, size: 400) }
    var picker = Self.picker([0: level0, 6: [Self.table(9, 10, 20)]], sublevels: 6)
    picker.options.maximumInputSizeBytes = 1000
    let plan = try #require(picker.pick())
    #expect(plan.inputs[0] == Array(level0.prefix(2)))
  }

  @Test func hiddenTablesAreDropped() throws {
    let hidden = Self.table(1, 10, 20, versions: 1...10)
    let newer = Self.table(2, 21, 30, versions: 5...12)
    let sticksOut = Self.table(3, 31, 60)
    let levels = [6: [hidden, newer, sticksOut]]
    func plan(_ version: UInt64, horizon: UInt64, level: Int = 5) -> CompactionPlan? {
      Self.picker(
        levels, horizon: horizon,
        deletions: [
          PlacedDeletion(level: level, sequence: 9, start: [5], end: [50], version: Version(version))
        ]
      ).pick()
    }
    #expect(plan(11, horizon: 11) == CompactionPlan(kind: .drop, inputs: [6: [hidden]], outputLevel: 6))
    #expect(plan(13, horizon: 13)?.inputs[6] == [hidden, newer])
    #expect(plan(13, horizon: 12) == nil)
    #expect(plan(10, horizon: 20) == nil)
    #expect(plan(13, horizon: 13, level: 6) == nil)
  }

  @Test func ripeGarbageIsRewrittenOnce() throws {
    let table = Self.table(1, 10, 20, garbage: 60)
    #expect(Self.picker([6: [table]], horizon: 9).pick() == nil)
    #expect(
      Self.picker([6: [table]], horizon: 10).pick()
        == CompactionPlan(kind: .merge, inputs: [6: [table]], outputLevel: 6))
    #expect(Self.picker([6: [Self.table(1, 10, 20, garbage: 10)]], horizon: 10).pick() == nil)
  }
}
