import Encoding
import Log
import Platform
import Simulation
import Testing

/// Accepting a new leader's log: all of it or none (consensus.md A.5).
@Suite struct SyncTests {
  let ballot = LogBallot(epoch: 1, round: 2, priority: 0, node: 2)

  /// The positions after each record of a log with these payloads behind `before`, and their bytes.
  func records(_ payloads: [[UInt8]], after before: LogPosition, origin: LogBallot) throws -> (
    [LogPosition], [[UInt8]]
  ) {
    // Another node's log: its records' bytes, as shipped.
    let disk = SimulatedDisk(seed: 9)
    return try withLog(disk) { log in
      let frame = FrameBuffer()
      var builder = RecordBuilder()
      var position = before
      var positions: [LogPosition] = []
      var bytes: [[UInt8]] = []
      for payload in payloads {
        var header = RecordHeader(
          type: .transactionGroup, slot: position.slot.next, origin: origin,
          firstVersion: position.version.advanced(by: 1), transactionCount: 1, leaderTime: 5, safeVersion: .zero,
          chosenAtBuild: .zero, previousChain: position.chain)
        frame.removeAll()
        let chain = payload.withRaw { frame.append(&header, payload: $0, using: &builder) }
        position = LogPosition(slot: header.slot, chain: chain, version: header.lastVersion)
        positions.append(position)
        bytes.append([UInt8](frame.recordBytes(at: FrameHeader.sizeBytes, header)))
      }
      return (positions, bytes)
    }
  }

  /// A log of five records, and a sync that replaces the last three by four others, as the frames of `split` pieces.
  func sync(_ disk: SimulatedDisk, split: Int, mutations: LogMutations = []) throws -> (
    before: LogPosition, end: LogPosition
  ) {
    let log = try Log.open(dbPath, disk: disk, options: smallOptions(), mutations: mutations)
    defer { try? log.close() }
    var writer = TestWriter(log)
    for number in 1...5 as ClosedRange<UInt8> { try writer.append([[number]]) }
    let reader = try log.reader(after: .zero)
    var before = LogPosition.zero
    for _ in 0..<2 {
      let record = try #require(try reader.nextRecord())
      before = LogPosition(slot: record.header.slot, chain: record.chain, version: record.header.lastVersion)
    }
    let (positions, bytes) = try records([[13], [14], [15], [16]], after: before, origin: ballot)
    let end = try #require(positions.last)
    let frame = FrameBuffer()
    frame.append(.promise(ballot))
    frame.append(.syncBegin(SyncBegin(ballot: ballot, before: before, end: end.slot, endChain: end.chain)))
    for (index, record) in bytes.enumerated() {
      if split > 1, index % (4 / split) == 0 {
        try log.write(frame)
        frame.removeAll()
      }
      try record.withRaw { (raw) throws in try frame.append(stored: raw) }
    }
    frame.append(.syncEnd(ballot: ballot, end: end.slot, endChain: end.chain))
    try log.write(frame)
    return (before, end)
  }

  @Test(arguments: [1, 2, 4])
  func aSyncReplacesTheSuffix(split: Int) throws {
    let disk = SimulatedDisk(seed: 3)
    let (_, end) = try sync(disk, split: split)
    try withLog(disk) { log in
      #expect(log.state.last == end)
      #expect(log.state.accepted == ballot)
      #expect(log.state.promised == ballot)
      #expect(try contents(log) == [1: [1], 2: [2], 3: [13], 4: [14], 5: [15], 6: [16]])
      var writer = TestWriter(log)
      try writer.append([[7]])
      #expect(try contents(log)[7] == [7])
    }
    #expect(try LogVerification.verify(dbPath, disk: disk) == [])
  }

  /// The segment with a sync's beginning goes before the one with its end: what is left of the sync is in its header.
  @Test(arguments: [false, true])
  func aSyncAcrossSegmentsOutlivesItsBeginning(isGivenUp: Bool) throws {
    let disk = SimulatedDisk(seed: 5)
    let before = LogPosition(slot: Slot(1), chain: Hash128(low: 4, high: 4), version: Version(1))
    let (positions, bytes) = try records(
      (0..<12 as Range<UInt8>).map { [UInt8](repeating: $0, count: 3000) }, after: before, origin: ballot)
    let end = try #require(positions.last)
    let last = try withLog(disk) { log in
      try log.install(CheckpointMark(position: before, manifest: 0), keepsLog: false)
      let frame = FrameBuffer()
      frame.append(.syncBegin(SyncBegin(ballot: ballot, before: before, end: end.slot, endChain: end.chain)))
      for record in bytes {
        try record.withRaw { (raw) throws in try frame.append(stored: raw) }
        try log.write(frame)
        frame.removeAll()
      }
      frame.append(isGivenUp ? .syncAbort : .syncEnd(ballot: ballot, end: end.slot, endChain: end.chain))
      try log.write(frame)
      let count = log.segmentSizes.count
      try log.truncate(through: Slot(8))
      #expect(log.segmentSizes.count < count)
      return log.state.last
    }
    for policy in [DamagePolicy.refuse, .report] {
      var options = smallOptions()
      options.onDamage = policy
      try withLog(disk, options) { log in
        #expect(log.state.last == last)
        #expect(log.state.accepted == (isGivenUp ? .zero : ballot))
        #expect(log.damage == [])
        guard !isGivenUp else { return }
        let found = try contents(log)
        #expect(found[13] == [UInt8](repeating: 11, count: 3000))
        #expect(found.count < 12)
      }
    }
  }

  func outcome(_ disk: SimulatedDisk, mutations: LogMutations = []) -> String? {
    let old: [UInt64: [UInt8]] = [1: [1], 2: [2], 3: [3], 4: [4], 5: [5]]
    let new: [UInt64: [UInt8]] = [1: [1], 2: [2], 3: [13], 4: [14], 5: [15], 6: [16]]
    do {
      for round in 0..<3 {
        let problem: String? = try withLog(disk, smallOptions(), mutations) { log in
          let found = try contents(log)
          let base = found.filter { $0.key <= 6 }
          if log.state.accepted == ballot {
            if base != new { return "accepted, but the log is \(base)" }
          } else if log.state.accepted == .zero {
            if !old.allSatisfy({ base[$0.key] == nil || base[$0.key] == $0.value }) { return "mixed: \(base)" }
            if log.state.promised == ballot && (1...5).contains(where: { base[$0] != old[$0] }) {
              return "lost: \(base)"
            }
          } else {
            return "accepted \(log.state.accepted)"
          }
          if round == 0 && log.state.last.slot >= Slot(5) {
            var writer = TestWriter(log)
            try writer.append([[42]])
          }
          if round > 0 && log.state.last.slot >= Slot(6) && found[log.state.last.slot.rawValue] != [42] {
            return "what was appended afterwards is lost: \(found)"
          }
          return nil
        }
        if let problem { return "round \(round): \(problem)" }
      }
      return nil
    } catch { return "\(error)" }
  }

  func everyCrash(mutations: LogMutations = []) throws -> String? {
    for split in [1, 2, 4] {
      let whole = SimulatedDisk(seed: 3)
      _ = try sync(whole, split: split, mutations: mutations)
      for point in 0..<whole.operationCount {
        let disk = SimulatedDisk(seed: 3)
        disk.crash(atOperation: point)
        _ = try? sync(disk, split: split, mutations: mutations)
        for seed in 0..<4 as Range<UInt64> {
          if let problem = outcome(disk.survivor(seed: seed), mutations: mutations) {
            return "split \(split), crash at \(point), seed \(seed): \(problem)"
          }
        }
      }
    }
    return nil
  }

  @Test func aCrashedSyncNeverHappened() throws {
    let problem = try everyCrash()
    #expect(problem == nil, "\(problem ?? "")")
  }

  @Test(arguments: [LogMutations.acceptsAtSyncBegin, .skipsSyncAbort])
  func mutantsAreFound(mutation: LogMutations) throws {
    #expect(try everyCrash(mutations: mutation) != nil)
  }

  @Test func whatDoesNotContinueIsRefused() throws {
    try withLog(SimulatedDisk(seed: 1)) { log in
      var writer = TestWriter(log)
      try writer.append([[1], [2]])
      let last = log.state.last
      let frame = FrameBuffer()
      func refuses(_ body: (FrameBuffer) throws -> Void) throws {
        frame.removeAll()
        try body(frame)
        do throws(LogError) {
          try log.write(frame)
          Issue.record("accepted")
        } catch {
          if case .doesNotContinue = error {} else { Issue.record("\(error)") }
        }
        #expect(log.state.last == last)
      }
      // A hole, a repeated slot, another history, a wrong version.
      for position in [
        LogPosition(slot: Slot(3), chain: last.chain, version: last.version),
        LogPosition(slot: Slot(1), chain: last.chain, version: last.version),
        LogPosition(slot: last.slot, chain: Hash128(low: 1, high: 2), version: last.version),
        LogPosition(slot: last.slot, chain: last.chain, version: Version(9)),
      ] {
        try refuses { frame in
          var other = TestWriter(log)
          var header = other.header(after: position)
          _ = [UInt8]([1]).withRaw { frame.append(&header, payload: $0, using: &other.builder) }
        }
      }
      try refuses { $0.append(.syncEnd(ballot: ballot, end: Slot(2), endChain: last.chain)) }
      try refuses {
        $0.append(
          .syncBegin(
            SyncBegin(
              ballot: ballot, before: LogPosition(slot: Slot(1), chain: .zero, version: Version(1)), end: Slot(3),
              endChain: .zero)))
      }
      try log.write(.promise(ballot))
      try refuses { $0.append(.promise(LogBallot(epoch: 1, round: 1, priority: 0, node: 1))) }
      // It still works.
      try writer.append([[3]])
      #expect(log.state.last.slot == Slot(3))
    }
  }
}
