import Encoding
import Glibc
import Log
import Platform
import Replication
import Simulation
import Synchronization
import Testing

/// What was delivered, in order.
final class Deliveries: Sendable {
  struct Entry: Hashable {
    var slot: UInt64
    var firstVersion: UInt64
    var batches: [[UInt8]]
  }

  let entries = Mutex<[Entry]>([])

  func deliver(_ group: ChosenGroup) {
    var batches: [[UInt8]] = []
    var offset = 0
    for _ in 0..<group.transactionCount {
      let length = Int(UInt32(littleEndian: group.payload.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
      batches.append([UInt8](group.payload[offset + 4..<offset + 4 + length]))
      offset += 4 + length
    }
    precondition(offset == group.payload.count)
    let entry = Entry(slot: group.slot.rawValue, firstVersion: group.firstVersion.rawValue, batches: batches)
    entries.withLock { $0.append(entry) }
  }

  /// Every batch in order of versions; nil if versions are not dense from `first` on.
  func batches(from first: UInt64 = 1) -> [[UInt8]]? {
    entries.withLock { entries in
      var next = first
      var all: [[UInt8]] = []
      for entry in entries {
        if entry.firstVersion != next { return nil }
        next += UInt64(entry.batches.count)
        all += entry.batches
      }
      return all
    }
  }
}

func smallLog() -> LogOptions {
  var options = LogOptions()
  options.segmentSizeBytes = 16 * 4096
  options.firstSegmentSizeBytes = 6 * 4096
  options.reserveSizeBytes = 0
  options.background = false
  options.seed = 1
  return options
}

func withoutThread() -> CommitPipelineOptions {
  var options = CommitPipelineOptions()
  options.usesThread = false
  return options
}

extension CommitPipeline {
  /// Appends with the next version.
  @discardableResult
  func append(_ batch: [UInt8]) throws(LogError) -> Version {
    let version = nextVersion
    var failure: LogError?
    batch.withUnsafeBytes { raw in
      do throws(LogError) { try append(raw, version: version) } catch { failure = error }
    }
    if let failure { throw failure }
    return version
  }
}

/// The batches in a log.
func logged(_ log: Log) throws -> [[UInt8]] {
  let deliveries = Deliveries()
  try replay(log, after: log.base.slot) { deliveries.deliver($0) }
  return deliveries.batches() ?? []
}

@Suite struct CommitPipelineTests {
  func batch(_ number: Int, _ extra: Int = 0) -> [UInt8] {
    let text = Array("transaction \(number)".utf8)
    return text + [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: extra)
  }

  @Test func groupsAreDeliveredInOrderAndSurvive() throws {
    let disk = SimulatedDisk(seed: 1)
    let deliveries = Deliveries()
    let log = try Log.open("/db", disk: disk, options: smallLog())
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: withoutThread()) { deliveries.deliver($0) }
    var all: [[UInt8]] = []
    for round in 0..<40 {
      var last = Version.zero
      for index in 0..<1 + round % 5 {
        all.append(batch(round * 10 + index, round % 7 == 0 ? 900 : 0))
        last = try pipeline.append(all.last!)
      }
      try pipeline.commit(through: last)
      #expect(deliveries.batches() == all)
      #expect(pipeline.deliveredVersion == last)
    }
    // Acknowledged means durable: nothing that a power cut now loses was delivered.
    let survivor = try Log.open("/db", disk: disk.survivor(seed: 9), options: smallLog())
    #expect(try logged(survivor) == all)
    try pipeline.close()
    try log.close()
    let again = try Log.open("/db", disk: disk, options: smallLog())
    #expect(try logged(again) == all)
    // A second life goes on behind the first, in a leadership of its own.
    let more = Deliveries()
    let second = CommitPipeline(log: again, clock: LinuxClock(), options: withoutThread()) { more.deliver($0) }
    let version = try second.append([7])
    #expect(version.rawValue == UInt64(all.count) + 1)
    try second.commit(through: version)
    #expect(more.batches(from: version.rawValue) == [[7]])
    #expect(again.state.accepted.round == 2)
    try second.close()
    try again.close()
  }

  /// Batches that are passed on, alone in their group and behind another, beside batches that are copied.
  @Test func largeBatchesAreKeptOrCopied() throws {
    let disk = SimulatedDisk(seed: 1)
    let deliveries = Deliveries()
    let log = try Log.open("/db", disk: disk, options: smallLog())
    var options = withoutThread()
    options.groupSizeBytes = 8 << 20
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: options) { deliveries.deliver($0) }
    var all: [[UInt8]] = []
    // 1: large. 2: small behind it. 3: large behind a small one. And a small one behind nothing, to end with.
    for plan in [[true], [true, false], [false, true, false], [false]] {
      var last = Version.zero
      for isLarge in plan {
        all.append(batch(all.count, isLarge ? 5000 : 10))
        guard isLarge else {
          last = try pipeline.append(all.last!)
          continue
        }
        let large = LargeBatch(capacityBytes: 6000)
        large.fill { room in
          room.copyBytes(from: all.last!)
          return all.last!.count
        }
        last = pipeline.nextVersion
        try pipeline.append(large, version: last)
      }
      try pipeline.commit(through: last)
      #expect(deliveries.batches() == all)
    }
    try pipeline.close()
    try log.close()
    #expect(try logged(Log.open("/db", disk: disk, options: smallLog())) == all)
  }

  /// Two in one group, of which the one that does not ask for durability asks first: the other is told when it is durable,
  /// not when it is delivered.
  @Test(arguments: [false, true])
  func whoAsksLateIsDurable(withCallback: Bool) throws {
    let disk = SimulatedDisk(seed: 1)
    let log = try Log.open("/db", disk: disk, options: smallLog())
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: withoutThread()) { _ in }
    let patient = try pipeline.append(batch(1))
    let hasty = try pipeline.append(batch(2))
    try pipeline.commit(through: hasty, durable: false)
    #expect(pipeline.deliveredVersion == hasty)
    #expect(try !pipeline.commitInline(through: patient))
    if withCallback {
      let isTold = Mutex(false)
      pipeline.whenDelivered(patient) { result in isTold.withLock { $0 = (try? result.get()) != nil } }
      #expect(isTold.withLock { $0 })
    } else {
      try pipeline.commit(through: patient)
    }
    #expect(try pipeline.commitInline(through: patient))
    let survivor = try Log.open("/db", disk: disk.survivor(seed: 9), options: smallLog())
    #expect(try logged(survivor) == [batch(1), batch(2)])
    try pipeline.close()
    try log.close()
  }

  /// The same where it asks while the group is being delivered.
  @Test(arguments: [false, true])
  func whoAsksDuringDeliveryIsDurable(usesThread: Bool) throws {
    let disk = SimulatedDisk(seed: 1)
    let log = try Log.open("/db", disk: disk, options: smallLog())
    let isDelivering = FutexWord()
    let goesOn = FutexWord()
    var options = CommitPipelineOptions()
    options.usesThread = usesThread
    options.unsyncedDelayNanoseconds = 3_600_000_000_000
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: options) { _ in
      isDelivering.store(1)
      isDelivering.wake()
      while goesOn.load() == 0 { goesOn.wait(while: 0) }
    }
    let patient = try pipeline.append(batch(1))
    let hasty = try pipeline.append(batch(2))
    let other = BackgroundThread { try? pipeline.commit(through: hasty, durable: false) }
    while isDelivering.load() == 0 { isDelivering.wait(while: 0) }
    let outcome = FutexWord()
    pipeline.whenDelivered(patient) { result in
      // What a power cut would leave now.
      let survivor = try? Log.open("/db", disk: disk.survivor(seed: 9), options: smallLog())
      let isThere = (try? survivor.map { try logged($0).count }) == 2
      outcome.store(isThere && (try? result.get()) != nil ? 1 : 2)
      outcome.wake()
    }
    #expect(outcome.load() == 0)
    goesOn.store(1)
    goesOn.wake()
    for _ in 0..<20 where outcome.load() == 0 { outcome.wait(while: 0, timeoutNanoseconds: 1_000_000_000) }
    #expect(outcome.load() == 1)
    other.join()
    try pipeline.close()
    try log.close()
  }

  @Test func everyCrashKeepsWhatWasAcknowledged() throws {
    func run(_ disk: SimulatedDisk, _ acknowledged: inout Int) {
      do {
        let log = try Log.open("/db", disk: disk, options: smallLog())
        let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: withoutThread()) { _ in }
        defer { try? log.close() }
        for number in 0..<30 {
          // Every third one does not ask for durability.
          let version = try pipeline.append(batch(number, number % 4 * 700))
          try pipeline.commit(through: version, durable: number % 3 != 2)
          if number % 3 != 2 { acknowledged = number + 1 }
          if number % 10 == 9 {
            pipeline.tick()
            pipeline.tick()
            if log.failure == nil { acknowledged = number + 1 }
          }
        }
      } catch {}
    }
    let whole = SimulatedDisk(seed: 2)
    var none = 0
    run(whole, &none)
    #expect(none == 30)
    for point in 0..<whole.operationCount {
      let disk = SimulatedDisk(seed: 2)
      disk.crash(atOperation: point)
      var acknowledged = 0
      run(disk, &acknowledged)
      for seed in 0..<8 as Range<UInt64> {
        let log = try Log.open("/db", disk: disk.survivor(seed: seed), options: smallLog())
        let found = try logged(log)
        #expect(found.count >= acknowledged, "crash at \(point), survivor \(seed)")
        #expect(found == (0..<found.count).map { batch($0, $0 % 4 * 700) }, "crash at \(point), survivor \(seed)")
        try log.close()
      }
    }
  }

  @Test func nothingIsAcknowledgedAfterAFailedWrite() throws {
    let disk = SimulatedDisk(seed: 1)
    let log = try Log.open("/db", disk: disk, options: smallLog())
    let deliveries = Deliveries()
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: withoutThread()) { deliveries.deliver($0) }
    try pipeline.commit(through: try pipeline.append([1]))
    var faults = DiskFaults.none
    faults.plan = { $0.kind == .writeDurably ? .errorWithPartialEffect(.io) : nil }
    disk.setFaults(faults)
    let version = try pipeline.append([2])
    let outcome = Mutex<String?>(nil)
    pipeline.whenDelivered(version) { result in
      outcome.withLock { if case .failure(let error) = result { $0 = "\(error)" } else { $0 = "delivered" } }
    }
    #expect(outcome.withLock { $0 }?.contains("stopped for good") == true)
    disk.setFaults(.none)
    #expect(throws: LogError.self) { try pipeline.commit(through: version) }
    #expect(throws: LogError.self) { try pipeline.append([3]) }
    #expect(throws: LogError.self) { try pipeline.flush() }
    #expect(deliveries.batches() == [[1]])
    try? pipeline.close()
    try? log.close()
  }

  @Test func diskFullRefusesTheAppendAndNothingElse() throws {
    let disk = SimulatedDisk(seed: 1, capacitySizeBytes: 140_000)
    let log = try Log.open("/db", disk: disk, options: smallLog())
    let deliveries = Deliveries()
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: withoutThread()) { deliveries.deliver($0) }
    var count = 0
    var refused = 0
    for _ in 0..<200 where refused < 3 {
      let before = pipeline.nextVersion
      do throws(LogError) {
        let version = try pipeline.append(batch(count, 3000))
        try pipeline.commit(through: version)
        count += 1
      } catch {
        guard case .noSpace = error else {
          Issue.record("\(error)")
          return
        }
        // The version was not used.
        #expect(pipeline.nextVersion == before)
        refused += 1
      }
    }
    #expect(refused == 3 && count > 5)
    disk.setCapacity(sizeBytes: nil)
    for _ in 0..<20 {
      try pipeline.commit(through: try pipeline.append(batch(count, 3000)))
      count += 1
    }
    #expect(deliveries.batches()?.count == count)
    try pipeline.close()
    try log.close()
  }

  @Test func aBatchLargerThanASegmentIsOneRecord() throws {
    let disk = SimulatedDisk(seed: 1)
    let log = try Log.open("/db", disk: disk, options: smallLog())
    let deliveries = Deliveries()
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: withoutThread()) { deliveries.deliver($0) }
    var randomness = SeededRandomness(seed: 3)
    let large = (0..<300_000).map { _ in UInt8(truncatingIfNeeded: randomness.next()) }
    try pipeline.commit(through: try pipeline.append([1]))
    try pipeline.commit(through: try pipeline.append(large))
    try pipeline.commit(through: try pipeline.append([2]))
    #expect(deliveries.batches() == [[1], large, [2]])
    try pipeline.close()
    try log.truncate(through: Slot(3))
    try log.close()
    let again = try Log.open("/db", disk: disk, options: smallLog())
    #expect(try again.reader(after: again.base.slot).nextRecord() != nil)
    try again.close()
  }

  @Test func groupsCloseAtTheirLimit() throws {
    let disk = SimulatedDisk(seed: 1)
    let log = try Log.open("/db", disk: disk, options: smallLog())
    let deliveries = Deliveries()
    var options = withoutThread()
    options.groupSizeBytes = 1000
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: options) { deliveries.deliver($0) }
    var last = Version.zero
    for number in 0..<30 { last = try pipeline.append(batch(number, 100)) }
    try pipeline.commit(through: last)
    #expect(deliveries.batches() == (0..<30).map { batch($0, 100) })
    #expect(deliveries.entries.withLock { $0.allSatisfy { $0.batches.count <= 8 } })
    #expect(try pipeline.commitInline(through: last))
    try pipeline.close()
    try log.close()
  }

  /// Threads, callbacks and flushes at once, on a disk that takes a moment.
  @Test(arguments: [1, 2, 3, 8, 24])
  func manyThreads(count: Int) throws {
    let disk = SimulatedDisk(seed: 1)
    var logOptions = smallLog()
    logOptions.segmentSizeBytes = 64 * 4096
    logOptions.background = true
    let log = try Log.open("/db", disk: disk, options: logOptions)
    let deliveries = Deliveries()
    var options = CommitPipelineOptions()
    options.unsyncedDelayNanoseconds = 200_000
    options.sealDelayNanoseconds = 100_000
    let pipeline = CommitPipeline(log: log, clock: LinuxClock(), options: options) { deliveries.deliver($0) }
    let sequencer = Mutex(0)
    let called = Atomic(0)
    let problems = Mutex<[String]>([])
    let rounds = 400 / count
    let threads = (0..<count).map { thread in
      BackgroundThread {
        for round in 0..<rounds {
          do {
            let version = try sequencer.withLock { number in
              number += 1
              return try pipeline.append(Array("\(thread) \(round)".utf8))
            }
            switch (thread + round) % 5 {
            case 0: pipeline.whenDelivered(version) { if case .success = $0 { called.add(1, ordering: .relaxed) } }
            case 1:
              try pipeline.commit(through: version, durable: false)
              if round % 7 == 0 { try pipeline.flush() }
            case 2:
              if try !pipeline.commitInline(through: version) { try pipeline.commit(through: version) }
            default: try pipeline.commit(through: version)
            }
            if (thread + round) % 5 != 0 && pipeline.deliveredVersion < version {
              problems.withLock { $0.append("returned before \(version) was delivered") }
            }
          } catch { problems.withLock { $0.append("\(error)") } }
        }
      }
    }
    for thread in threads { thread.join() }
    let last = Version(UInt64(count * rounds))
    try pipeline.commit(through: last)
    try pipeline.close()
    #expect(problems.withLock { $0 } == [])
    #expect(
      called.load(ordering: .relaxed)
        == (0..<count).reduce(0) { sum, thread in
          sum + (0..<rounds).filter { (thread + $0) % 5 == 0 }.count
        })
    #expect(deliveries.batches()?.count == count * rounds)
    try log.close()
    let again = try Log.open("/db", disk: disk, options: smallLog())
    #expect(try logged(again) == deliveries.batches())
    try again.close()
  }

  /// On the real disk: direct writes, segments, recovery.
  @Test func realFiles() throws {
    let directory = "/tmp/synod-pipeline-\(getpid())"
    defer { _ = system("rm -rf \(directory)") }
    let deliveries = Deliveries()
    var options = LogOptions()
    options.reserveSizeBytes = 0
    let log = try Log.open(directory, disk: LinuxDisk(), options: options)
    let pipeline = CommitPipeline(log: log, clock: LinuxClock()) { deliveries.deliver($0) }
    for number in 0..<300 { try pipeline.commit(through: try pipeline.append(batch(number))) }
    #expect(throws: LogError.self) { _ = try Log.open(directory, disk: LinuxDisk(), options: options) }
    try pipeline.close()
    try log.close()
    #expect(try LogVerification.verify(directory, disk: LinuxDisk()) == [])
    let again = try Log.open(directory, disk: LinuxDisk(), options: options)
    #expect(try logged(again) == (0..<300).map { batch($0) })
    try again.close()
  }
}
