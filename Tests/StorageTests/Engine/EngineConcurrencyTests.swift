import Encoding
import Foundation
import Platform
import Simulation
import Storage
import Synchronization
import Testing

/// One writer, readers, flushes and compactions in the background. Run with `--sanitize=thread` as well.
@Suite struct EngineConcurrencyTests {
  static let keyCount = 97

  /// Version v writes v to every third key beginning with v mod 3, in one transaction: in any snapshot the keys of one
  /// residue are equal, and equal to the newest version of that residue.
  static func writes(_ version: UInt64) -> [VersionedModel.Write] {
    stride(from: Int(version % 3), to: keyCount, by: 3).map { index in
      .put(key(index), withUnsafeBytes(of: version) { Array($0) } + Array(repeating: 1, count: 40))
    }
  }

  static func key(_ index: Int) -> [UInt8] { [1, 2, 3, 4, 5, 6, 7, UInt8(index)] }

  static func expected(_ index: Int, _ snapshot: UInt64) -> UInt64 {
    let residue = UInt64(index % 3)
    let behind = (snapshot % 3 + 3 - residue) % 3
    return snapshot >= behind ? snapshot - behind : 0
  }

  static func readOnce(_ engine: Engine, _ random: inout SeededRandomness, _ pin: inout ReadPin) throws -> Bool {
    let hold = engine.retainVisible()
    defer { engine.release(hold) }
    let snapshot = hold.version.rawValue
    if random.oneIn(4) {
      let direction: Direction = random.oneIn(2) ? .forward : .reverse
      let entries = try engine.entries(.all, at: hold.version, direction)
      let present = (0..<keyCount).filter { expected($0, snapshot) > 0 }
      guard entries.count == present.count else { return false }
      for (entry, index) in zip(entries, direction == .forward ? present : present.reversed()) {
        let value = entry.value.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
        guard entry.key == key(index), value == expected(index, snapshot) else { return false }
      }
      return true
    }
    for _ in 0..<10 {
      let index = random.below(keyCount)
      let value = try key(index).withUnsafeBytes {
        try engine.get($0, at: hold.version, &pin)?.loadUnaligned(as: UInt64.self)
      }
      guard value ?? 0 == expected(index, snapshot) else { return false }
    }
    if random.oneIn(3) { pin.reset() }
    return true
  }

  @Test func snapshotsStayWholeWhileEverythingMoves() throws {
    var options = EngineDriver.smallOptions(memtableSizeBytes: 32 << 10)
    options.background = true
    let disk = SimulatedDisk(seed: 1)
    try disk.createDirectory("/db")
    let engine = try Engine.open("/db", disk: disk, options: options)
    let failures = Atomic<Int>(0)
    let isDone = Atomic<Bool>(false)
    let versions: UInt64 = 1500
    let writer: @Sendable () -> Void = {
      do {
        for version in 1...versions {
          try engine.apply(version, version, [Self.writes(version)])
          engine.publish(Version(version))
        }
      } catch {
        Issue.record("\(error)")
      }
      isDone.store(true, ordering: .releasing)
    }
    let readers = (0..<3).map { reader -> @Sendable () -> Void in
      {
        var random = SeededRandomness(seed: UInt64(reader))
        var pin = ReadPin()
        repeat {
          let isRight = (try? Self.readOnce(engine, &random, &pin)) ?? false
          if !isRight { failures.add(1, ordering: .relaxed) }
        } while !isDone.load(ordering: .acquiring)
      }
    }
    runThreads([writer] + readers)
    #expect(failures.load(ordering: .relaxed) == 0)
    #expect(engine.statistics.flushes > 3)
    try engine.flush()
    var random = SeededRandomness(seed: 5)
    var pin = ReadPin()
    for _ in 0..<20 { #expect(try Self.readOnce(engine, &random, &pin)) }
    engine.close()
  }

  @Test func heldSnapshotsBoundTheFloorUnderContention() {
    let engine = try! Engine.open("/", disk: SimulatedDisk(seed: 2), options: EngineOptions())
    let failures = Atomic<Int>(0)
    let isDone = Atomic<Bool>(false)
    let publisher: @Sendable () -> Void = {
      for version in 1...20_000 as ClosedRange<UInt64> { engine.publish(Version(version)) }
      isDone.store(true, ordering: .releasing)
    }
    let holders = (0..<3).map { _ -> @Sendable () -> Void in
      {
        while !isDone.load(ordering: .acquiring) {
          let hold = engine.retainVisible()
          // What is held can be held again, whatever was collected meanwhile.
          if let again = try? engine.retain(snapshot: hold.version) {
            engine.release(again)
          } else {
            failures.add(1, ordering: .relaxed)
          }
          engine.release(hold)
        }
      }
    }
    let collector: @Sendable () -> Void = {
      while !isDone.load(ordering: .acquiring) { try? engine.compact() }
    }
    runThreads([publisher, collector] + holders)
    #expect(failures.load(ordering: .relaxed) == 0)
    #expect(engine.statistics.snapshots == 0)
    engine.close()
  }
}
