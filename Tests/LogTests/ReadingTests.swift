import Encoding
import Log
import Platform
import Simulation
import Testing

/// How much of the disk is read for what.
@Suite struct ReadingTests {
  private func withRecords(_ body: (Log) throws -> Void) throws {
    try withLog(SimulatedDisk(seed: 1), smallOptions(segment: 1 << 20, first: 1 << 20)) { log in
      var writer = TestWriter(log)
      for number in 0..<60 as Range<UInt8> { try writer.append([[number]]) }
      try body(log)
    }
  }

  /// Each record of these is in a block of its own.
  @Test func aFewRecordsAreReadAlone() throws {
    try withRecords { log in
      let reader = try log.reader(after: Slot(10), through: Slot(12))
      var slots: [UInt64] = []
      while let record = try reader.nextRecord() { slots.append(record.header.slot.rawValue) }
      #expect(slots == [11, 12])
      #expect(reader.readSizeBytes == 2 * 4096)
    }
  }

  @Test func theWholeLogIsReadInLargePieces() throws {
    try withRecords { log in
      let reader = try log.reader(after: .zero)
      _ = try reader.nextRecord()
      #expect(reader.readSizeBytes >= 60 * 4096)
    }
  }

  @Test func aWindowIsNotExceeded() throws {
    try withRecords { log in
      let reader = try log.reader(after: .zero, windowSizeBytes: 8192)
      var count: UInt64 = 0
      while try reader.nextRecord() != nil {
        count += 1
        #expect(reader.readSizeBytes <= count * 4096 + 4096)
      }
      #expect(count == 60)
    }
  }

  /// A segment is filled twice as fast as the current one is used, and no sooner.
  @Test(
    arguments: [(0, 0, false), (0, 1, true), (10, 40, false), (10, 41, true), (50, 100, false), (90, 100, false)]
      as [(UInt64, UInt64, Bool)])
  func fillingKeepsAhead(used: UInt64, filled: UInt64, isEarly: Bool) {
    // Twice as large as what is left of the current one.
    #expect(FillingAhead.isEarly(filled, of: 200, used: used, room: 100) == isEarly)
    #expect(!FillingAhead.isEarly(filled, of: 200, used: 0, room: 0), "nothing is left: it is late")
  }
}
