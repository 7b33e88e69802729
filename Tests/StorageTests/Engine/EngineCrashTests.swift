import Encoding
import Foundation
import Platform
import Simulation
import Storage
import Testing

/// Power cuts at every operation of the disk, and disks that fail.
@Suite struct EngineCrashTests {
  /// SYNOD_THOROUGH=1 visits every operation of more runs.
  static let isThorough = ProcessInfo.processInfo.environment["SYNOD_THOROUGH"] != nil

  /// Runs until the disk is gone, and returns the newest version whose flush was acknowledged.
  static func run(_ driver: EngineDriver, groups: Int) -> (flushed: Version, isDone: Bool) {
    var flushed = Version.zero
    do {
      for _ in 0..<groups {
        try driver.applyGroup()
        try driver.maintain()
        flushed = driver.engine.flushedPosition.version
      }
      return (flushed, true)
    } catch {
      return (flushed, false)
    }
  }

  @Test(arguments: isThorough ? Array(1...20 as ClosedRange<UInt64>) : [1, 2])
  func everyCrashRecoversToAFlushedPrefix(_ seed: UInt64) throws {
    let options = EngineDriver.smallOptions(memtableSizeBytes: 1 << 11)
    let whole = try EngineDriver(seed: seed, spread: 50, options: options)
    #expect(Self.run(whole, groups: 60).isDone)
    let count = whole.disk.operationCount
    #expect(count > 150)
    let step = Self.isThorough ? 1 : max(1, count / 60)
    var operation = Int(seed) % step
    while operation < count {
      let disk = SimulatedDisk(seed: seed)
      disk.crash(atOperation: operation)
      if let driver = try? EngineDriver(seed: seed, spread: 50, options: options, disk: disk) {
        let (flushed, isDone) = Self.run(driver, groups: 60)
        if !isDone {
          let survivor = disk.survivor(seed: seed &+ UInt64(operation))
          try driver.restart(on: survivor)
          #expect(driver.engine.flushedPosition.version >= flushed, "seed \(seed), operation \(operation)")
          let now = Version(driver.version)
          #expect(
            try driver.engine.entries(.all, at: now) == driver.model.scan(.all, at: now),
            "seed \(seed), operation \(operation)")
          // And it goes on from there.
          #expect(Self.run(driver, groups: 3).isDone)
          try driver.compare()
        }
      }
      operation += step
    }
  }

  @Test func tablesNeverReachBeyondTheDurableLog() throws {
    final class Log: @unchecked Sendable {
      // One thread uses it.
      var durable = Slot.zero
      var truncated = Slot.zero
      var isBroken = false
    }
    struct Broken: Error {}
    let log = Log()
    var options = EngineDriver.smallOptions(memtableSizeBytes: 1 << 11)
    options.ensureDurable = { slot in
      if log.isBroken { throw Broken() }
      log.durable = max(log.durable, slot)
    }
    options.onFlush = { log.truncated = $0 }
    let driver = try EngineDriver(seed: 5, spread: 50, options: options)
    for _ in 0..<50 {
      try driver.applyGroup()
      try driver.maintain()
      #expect(driver.engine.flushedPosition.slot <= log.durable)
      #expect(log.truncated <= driver.engine.flushedPosition.slot)
    }
    try driver.engine.flush()
    #expect(log.truncated == Slot(50))
    log.isBroken = true
    try driver.applyGroup()
    #expect(throws: StorageError.self) { try driver.engine.flush() }
    #expect(driver.engine.flushedPosition.slot == Slot(50))
    let now = Version(driver.version)
    #expect(try driver.engine.entries(.all, at: now) == driver.model.scan(.all, at: now))
  }

  @Test func aFullDiskRefusesWritesAndRecovers() throws {
    var options = EngineDriver.smallOptions(memtableSizeBytes: 1 << 11)
    options.background = true
    options.flushRetryNanoseconds = 1_000_000
    options.waitingMemtables = 2
    let driver = try EngineDriver(seed: 6, spread: 50, options: options)
    for _ in 0..<10 { try driver.applyGroup() }
    driver.disk.setCapacity(sizeBytes: 0)
    var refusal: StorageError?
    // The refused group is in the model and the log already.
    while refusal == nil {
      do { try driver.applyGroup() } catch { refusal = error as? StorageError }
    }
    guard case .full(let reason) = refusal else {
      Issue.record("\(String(describing: refusal))")
      return
    }
    #expect(reason.kind == .noSpace)
    let before = Version(driver.log.last!.firstVersion - 1)
    #expect(try driver.engine.entries(.all, at: before) == driver.model.scan(.all, at: before))
    driver.disk.setCapacity(sizeBytes: nil)
    let group = driver.log.last!
    while true {
      do {
        try driver.engine.apply(UInt64(driver.log.count), group.firstVersion, group.transactions)
        break
      } catch let error as StorageError {
        guard case .full = error else { throw error }
      }
    }
    driver.engine.publish(Version(driver.version))
    for _ in 0..<20 {
      try driver.applyGroup()
      try driver.compare()
    }
    driver.engine.close()
  }

  /// Errors of every kind at any moment: what failed changed nothing, what is read is right, a retry succeeds.
  @Test(arguments: [1, 2, 3] as [UInt64]) func aFailingDiskLosesNothing(_ seed: UInt64) throws {
    let options = EngineDriver.smallOptions(memtableSizeBytes: 1 << 11)
    let driver = try EngineDriver(seed: seed, spread: 50, options: options)
    var faults = DiskFaults()
    faults.writeErrorOneIn = 40
    faults.syncErrorOneIn = 20
    faults.noSpaceOneIn = 40
    var failures = 0
    for _ in 0..<150 {
      try driver.applyGroup()
      driver.disk.setFaults(faults)
      do { try driver.maintain() } catch is StorageError { failures += 1 }
      driver.disk.setFaults(.none)
      try driver.compare()
    }
    #expect(failures > 5, "seed \(seed)")
    let survivor = driver.disk.survivor(seed: seed)
    let flushed = driver.engine.flushedPosition.version
    try driver.restart(on: survivor)
    #expect(driver.engine.flushedPosition.version >= flushed, "seed \(seed)")
    let now = Version(driver.version)
    #expect(try driver.engine.entries(.all, at: now) == driver.model.scan(.all, at: now), "seed \(seed)")
    try driver.engine.compact()
    #expect(try driver.engine.verify().isEmpty)
  }

  /// Every byte of every table, flipped: an error or the truth, never anything else.
  @Test func damageIsNeverServed() throws {
    let options = EngineDriver.smallOptions(memtableSizeBytes: 1 << 11)
    let driver = try EngineDriver(seed: 7, spread: 30, options: options)
    for _ in 0..<60 { try driver.applyGroup() }
    try driver.engine.flush()
    let version = Version(driver.version)
    let truth = driver.model.scan(.all, at: version)
    driver.engine.close()
    let tables = driver.disk.paths.filter { $0.hasSuffix(".table") }
    #expect(!tables.isEmpty)
    var refusals = 0
    for path in tables {
      let size = driver.disk.bytes(of: path)!.count
      for offset in stride(from: driver.random.below(7), to: size, by: Self.isThorough ? 1 : 41) {
        let disk = driver.disk.copy()
        disk.flip(path, at: offset, mask: UInt8(1 << driver.random.below(8)))
        do {
          let engine = try Engine.open("/db", disk: disk, options: options)
          #expect(try engine.entries(.all, at: version) == truth, "\(path) at \(offset)")
          #expect(try engine.entries(.all, at: version, .reverse) == truth.reversed(), "\(path) at \(offset)")
        } catch let error as StorageError {
          refusals += 1
          guard case .corruption(let damage) = error else {
            Issue.record("\(error)")
            continue
          }
          #expect(damage.path == path)
        }
      }
    }
    #expect(refusals > 0)
  }
}
