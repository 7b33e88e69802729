import Foundation
import Log
import Platform
import Synod
import Testing

/// A database that is opened again and again, and never stays open long.
@Suite struct ReopeningTests {
  /// Each time little is added, and the memtable never fills; what is read at the next opening stays bounded all the same.
  @Test func whatIsReplayedStaysBounded() throws {
    let path = NSTemporaryDirectory() + "synod-reopening-\(UInt64.random(in: 0 ... .max))"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var tuning = CoreTuning()
    tuning.log.segmentSizeBytes = 64 << 10
    tuning.log.firstSegmentSizeBytes = 16 << 10
    tuning.engine = { $0.flushAfterLogBytes = 256 << 10 }
    var sizes: [UInt64] = []
    for round in 0..<12 {
      let database = try Database.open(
        at: path, DatabaseOptions(), disk: LinuxDisk(), clock: LinuxClock(), tuning: tuning)
      // A block of the log each.
      for number in 0..<24 { try database.put([UInt8(round), UInt8(number)], [1]) }
      // The flush goes on beside: it is waited for where it must come.
      for _ in 0..<2000 where try logSize(path) > 512 << 10 { usleep(5_000) }
      sizes.append(try logSize(path))
      try database.close()
    }
    #expect(sizes.allSatisfy { $0 <= 512 << 10 }, "log, in bytes, at the end of each round: \(sizes)")
    let database = try Database.open(
      at: path, DatabaseOptions(), disk: LinuxDisk(), clock: LinuxClock(), tuning: tuning)
    for round in 0..<12 {
      for number in 0..<24 { #expect(try database.get([UInt8(round), UInt8(number)]) == [1]) }
    }
    try database.close()
  }

  /// The bytes of the segments in use.
  private func logSize(_ path: String) throws -> UInt64 {
    try FileManager.default.contentsOfDirectory(atPath: path + "/log").filter { $0.hasSuffix(".log") }
      .reduce(UInt64(0)) { sum, name in
        let size = try? FileManager.default.attributesOfItem(atPath: "\(path)/log/\(name)")[.size] as? UInt64
        return sum + (size ?? 0)
      }
  }
}
