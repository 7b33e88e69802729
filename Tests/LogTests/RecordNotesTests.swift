import Encoding
import Log
import Platform
import Simulation
import Testing

/// What opening a log notes of its records is what reading it would tell.
@Suite struct RecordNotesTests {
  private func options() -> LogOptions {
    var options = smallOptions()
    options.notesRecords = true
    return options
  }

  /// Reads what the notes claim.
  private func expectTrue(_ summaries: [RecordSummary], _ log: Log, after slot: Slot) throws {
    let reader = try log.reader(after: slot, decompresses: false)
    var count = 0
    while let entry = try reader.nextEntry() {
      let summary = try #require(summaries.indices.contains(count) ? summaries[count] : nil)
      switch entry {
      case .damaged(let slot, let chain):
        #expect(summary.slot == slot && summary.isDamaged && summary.chain == chain && summary.header == nil)
      case .record(let record):
        #expect(summary.slot == record.header.slot && summary.chain == record.chain)
        #expect(summary.sizeBytes == record.header.recordSizeBytes)
        #expect(summary.header?.origin == record.header.origin && summary.header?.type == record.header.type)
      }
      count += 1
    }
    #expect(count == summaries.count)
  }

  @Test func theyAreTheLog() throws {
    for seed in 1...seedCount(20) {
      let disk = SimulatedDisk(seed: seed)
      var randomness = SeededRandomness(seed: seed)
      try withLog(disk) { log in
        var writer = TestWriter(log)
        for number in 0..<Int(5 + randomness.below(40)) { try writer.append([payload(number, &randomness)]) }
        try log.truncate(through: Slot(UInt64(randomness.below(10))))
      }
      try withLog(disk, options()) { log in
        let base = log.base.slot.rawValue
        let after = Slot(base + UInt64(randomness.below(Int(log.state.last.slot.rawValue - base) + 1)))
        try expectTrue(try #require(log.takeRecordNotes(after: after), "seed \(seed)"), log, after: after)
        #expect(log.takeRecordNotes(after: Slot(base)) == nil || log.state.last.slot.rawValue == base, "given once")
      }
    }
  }

  @Test(arguments: [1, 2, 4]) func ofRecordsThatOthersReplacedNothingIsTold(split: Int) throws {
    let disk = SimulatedDisk(seed: 3)
    _ = try SyncTests().sync(disk, split: split)
    try withLog(disk, options()) { log in
      let summaries = try #require(log.takeRecordNotes(after: .zero))
      try expectTrue(summaries, log, after: .zero)
      #expect(summaries.map { $0.header?.origin.round } == [1, 1, 2, 2, 2, 2])
    }
  }

  @Test func withoutTheOptionThereAreNone() throws {
    let disk = SimulatedDisk(seed: 3)
    _ = try SyncTests().sync(disk, split: 1)
    try withLog(disk) { log in #expect(log.takeRecordNotes(after: .zero) == nil) }
  }

  /// How far into the log a slot is does not depend on whether it was there when the log was opened.
  @Test func reachGrowsWithTheSlots() throws {
    let disk = SimulatedDisk(seed: 8)
    var randomness = SeededRandomness(seed: 8)
    func check(_ log: Log) throws {
      var before: UInt64 = 0
      for slot in (log.base.slot.rawValue + 1)...log.state.last.slot.rawValue {
        let reach = log.reach(of: Slot(slot))
        #expect(reach >= before, "slot \(slot)")
        before = reach
      }
      #expect(log.reach(of: Slot(log.state.last.slot.rawValue + 1)) >= before)
      #expect(before > UInt64(log.state.last.slot.rawValue - log.base.slot.rawValue) * 3000)
    }
    try withLog(disk) { log in
      var writer = TestWriter(log)
      for number in 0..<30 { try writer.append([payload(number, &randomness)]) }
    }
    try withLog(disk) { log in
      try check(log)
      var writer = TestWriter(log)
      let before = log.reach(of: Slot(31))
      for number in 30..<40 { try writer.append([payload(number, &randomness)]) }
      #expect(log.reach(of: Slot(41)) >= before + 10 * 4096)
      let stays = log.reach(of: Slot(25))
      try log.truncate(through: Slot(12))
      #expect(log.reach(of: Slot(25)) == stays)
    }
  }
}
