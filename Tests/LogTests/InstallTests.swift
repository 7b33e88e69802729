import Encoding
import Log
import Platform
import Simulation
import Testing

/// A log that begins behind a checkpoint.
@Suite struct InstallTests {
  let mark = CheckpointMark(
    position: LogPosition(slot: Slot(1000), chain: Hash128(low: 11, high: 12), version: Version(5000)), manifest: 3)

  @Test func theLogBeginsBehindTheCheckpoint() throws {
    let disk = SimulatedDisk(seed: 1)
    try withLog(disk) { log in
      var writer = TestWriter(log)
      for number in 0..<12 as Range<UInt8> { try writer.append([[UInt8](repeating: number, count: 900)]) }
      try log.install(mark, keepsLog: false)
      #expect(log.base == mark.position)
      #expect(log.state.last == mark.position)
      try log.truncate(through: mark.position.slot)
      try writer.append([[42]])
    }
    for _ in 0..<2 {
      try withLog(disk) { log in
        #expect(log.base == mark.position)
        let found = try contents(log)
        #expect(found == [1001: [42]])
        #expect(log.state.checkpoint == mark)
        #expect(throws: LogError.self) { _ = try log.reader(after: Slot(999)) as LogReader }
      }
    }
    // Older segments go as the log grows.
    try withLog(disk) { log in
      var writer = TestWriter(log)
      for number in 0..<30 as Range<UInt8> {
        try writer.append([[UInt8](repeating: number, count: 900)])
        try log.truncate(through: Slot(log.state.last.slot.rawValue - 2))
      }
      #expect(log.segmentSizes.count <= 3)
    }
    try withLog(disk) { #expect($0.state.last.slot == Slot(1031)) }
    #expect(try LogVerification.verify(dbPath, disk: disk).filter { !$0.isHarmless } == [])
  }

  @Test func recordsBehindTheCheckpointStay() throws {
    let disk = SimulatedDisk(seed: 1)
    try withLog(disk) { log in
      var writer = TestWriter(log)
      for number in 1...6 as ClosedRange<UInt8> { try writer.append([[number]]) }
      let chain = try #require(log.chain(at: Slot(4)))
      let wrong = LogPosition(slot: Slot(4), chain: .zero, version: Version(4))
      #expect(throws: LogError.self) {
        try log.install(CheckpointMark(position: wrong, manifest: 0), keepsLog: true)
      }
      let point = LogPosition(slot: Slot(4), chain: chain, version: Version(4))
      try log.install(CheckpointMark(position: point, manifest: 0), keepsLog: true)
      #expect(try contents(log) == [5: [5], 6: [6]])
    }
    try withLog(disk) { log in
      #expect(log.base.slot == Slot(4))
      let found = try contents(log)
      #expect(found == [5: [5], 6: [6]])
    }
  }

  /// At every write and sync: the old log, or the new beginning.
  @Test func aCrashedInstallIsWholeOrNot() throws {
    func run(_ disk: SimulatedDisk) throws {
      try withLog(disk) { log in
        var writer = TestWriter(log)
        for number in 1...5 as ClosedRange<UInt8> { try writer.append([[number]]) }
        try log.install(mark, keepsLog: false)
        try log.truncate(through: mark.position.slot)
        try writer.append([[9]])
      }
    }
    let whole = SimulatedDisk(seed: 3)
    try run(whole)
    for point in 0..<whole.operationCount {
      let disk = SimulatedDisk(seed: 3)
      disk.crash(atOperation: point)
      _ = try? run(disk)
      for seed in 0..<3 as Range<UInt64> {
        try withLog(disk.survivor(seed: seed)) { log in
          let found = try contents(log)
          if log.base.slot == mark.position.slot {
            #expect(found == [:] || found == [1001: [9]], "crash at \(point)")
          } else {
            #expect(found.allSatisfy { $0.key <= 5 && $0.value == [UInt8($0.key)] }, "crash at \(point)")
          }
        }
      }
    }
  }
}
