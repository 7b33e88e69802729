import Encoding
import Log
import Platform
import Simulation
import Testing

/// Damage of a running log, found as a restart would find it: by frames.
@Suite struct FrameScanTests {
  /// The records by the frame that they are read from, where the log is whole.
  private func frames(_ log: Log, _ disk: SimulatedDisk) throws -> [(path: String, range: Range<UInt64>, slots: [Slot])]
  {
    var found: [(path: String, range: Range<UInt64>, slots: [Slot])] = []
    for file in try LogInspection.files(dbPath, disk: disk) {
      try LogInspection.frames(of: file, disk: disk) { frame in
        guard frame.header != nil else { return true }
        var slots: [Slot] = []
        for (_, item) in frame.items {
          if case .record(let header, let chain, _) = item, header.slot > log.base.slot,
            log.chain(at: header.slot) == chain
          {
            slots.append(header.slot)
          }
        }
        // A record that was written again is read from its last copy.
        for index in found.indices { found[index].slots.removeAll { slots.contains($0) } }
        found.append((file.path, frame.offset..<frame.offset + frame.sizeBytes, slots))
        return true
      }
    }
    return found
  }

  private func isReadable(_ slot: Slot, _ log: Log) -> Bool {
    (try? log.reader(after: Slot(slot.rawValue - 1), through: slot, decompresses: false).nextRecord()) != nil
  }

  private func broken(_ log: Log) throws -> Set<Slot> {
    var slots: Set<Slot> = []
    for segment in log.segmentSequences { slots.formUnion(try log.slotsInBrokenFrames(ofSegment: segment)) }
    return slots
  }

  /// One byte anywhere in a frame, be it in none of its records, takes all of them; and nothing else does.
  @Test func aByteTakesItsFrame() throws {
    var withNeighbours = 0
    for seed in 1...seedCount(60) {
      let (disk, _) = try RepairTests().history(seed * 2, steps: 10 + Int(seed % 40))
      try withLog(disk, RepairTests.options()) { log in
        #expect(try broken(log).isEmpty, "seed \(seed)")
        var randomness = SeededRandomness(seed: seed)
        let whole = try frames(log, disk).filter { !$0.slots.isEmpty }
        guard !whole.isEmpty else { return }
        let (path, range, slots) = whole[randomness.below(whole.count)]
        disk.flip(path, at: Int(range.lowerBound) + randomness.below(range.count))
        let found = try broken(log)
        // A copy that a sync brought and did not end is nobody's: what is read from this frame is what goes with it.
        disk.damage(path, at: Int(range.lowerBound), with: [UInt8](repeating: 0xff, count: range.count))
        let lost = slots.filter { !isReadable($0, log) }
        #expect(found == Set(lost), "seed \(seed): \(path) \(range), \(found) of \(lost)")
        // Once they are known to be damaged there is nothing more to say.
        for slot in lost { log.markDamaged(slot) }
        #expect(try broken(log).isEmpty, "seed \(seed)")
        if lost.count > 1 { withNeighbours += 1 }
      }
    }
    #expect(withNeighbours > 0)
  }
}
