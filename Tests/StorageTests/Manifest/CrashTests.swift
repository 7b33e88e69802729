import Encoding
import Platform
import Simulation
import Storage
import Testing

/// The power fails, or the disk refuses, at every operation of a history of flushes and compactions.
@Suite struct CrashTests {
  /// A short history, the same for the same seed whatever fails in it. `attempt` runs each step that may fail.
  struct History {
    var harness: StoreHarness
    var random: SeededRandomness
    /// Versions that were acknowledged as flushed, and the one that is on its way.
    var acknowledged: UInt64 = 0
    var attempted: UInt64 = 0

    init(_ seed: UInt64, _ disk: SimulatedDisk, mutation: StorageMutation? = nil) throws {
      random = SeededRandomness(seed: seed)
      var options = StoreHarness.tinyOptions()
      options.table.tableSizeBytes = 1200
      options.manifestRotationSizeBytes = 2500
      options.mutation = mutation
      harness = try StoreHarness(disk, options)
    }

    mutating func run(_ attempt: (() throws -> Void) throws -> Void) throws {
      for round in 0..<7 {
        harness.write(4, &random, spread: 25)
        attempted = harness.version
        try attempt { try harness.flush() }
        acknowledged = harness.version
        if round % 2 == 1 {
          harness.horizon.value = Version(harness.version - UInt64(random.below(4)))
          try attempt { while try harness.store.compactOnce() {} }
        }
        if round == 4 { try attempt { try harness.reopen() } }
        if round == 5 { try attempt { try harness.store.compactAll() } }
      }
    }
  }

  /// What is wrong with the database that a crash left behind, or nil.
  static func problem(_ history: History, _ disk: SimulatedDisk) throws -> String? {
    let store: TableStore
    do { store = try TableStore.open("/db", disk: disk, options: history.harness.options) } catch {
      return "does not open: \(error)"
    }
    defer { store.close() }
    let version = store.flushed.version
    guard version.rawValue == history.acknowledged || version.rawValue == history.attempted else {
      return "flushed to \(version), of \(history.acknowledged) acknowledged"
    }
    do {
      let found = try StoreHarness.scan(store, .all, at: version)
      if found != history.harness.model.scan(.all, at: version) { return "wrong data at \(version)" }
      let damage = try store.verify()
      if !damage.isEmpty { return "damage: \(damage[0])" }
    } catch { return "\(error)" }
    // No files but those that count.
    let files = disk.paths.filter { $0.hasSuffix(".table") }.count
    let tables = store.current.levels.joined().count
    if files != tables { return "\(files) files of \(tables) tables" }
    return nil
  }

  /// Crashes at every operation; the first problem.
  static func crashEverywhere(_ seed: UInt64, mutation: StorageMutation? = nil) throws -> String? {
    let whole = SimulatedDisk(seed: seed)
    var history = try History(seed, whole, mutation: mutation)
    let first = whole.operationCount
    try history.run { try $0() }
    for operation in first..<whole.operationCount {
      let disk = SimulatedDisk(seed: seed)
      var history = try History(seed, disk, mutation: mutation)
      disk.crash(atOperation: operation)
      do { try history.run { try $0() } } catch {}
      history.harness.store.close()
      for survivor in 0..<2 as Range<UInt64> {
        if let problem = try problem(history, disk.survivor(seed: seed &* 31 &+ survivor)) {
          return "crash at operation \(operation), seed \(seed), survivor \(survivor): \(problem)"
        }
      }
    }
    return nil
  }

  @Test(arguments: [1, 2] as [UInt64])
  func recoversToBeforeOrAfter(_ seed: UInt64) throws {
    let problem = try Self.crashEverywhere(seed)
    #expect(problem == nil)
  }

  /// Crash while the very first manifest is made: the next open makes it again, or finds it.
  @Test func recoversFromACrashWhileItIsCreated() throws {
    for operation in 0..<30 {
      let disk = SimulatedDisk(seed: 9)
      disk.crash(atOperation: operation)
      if (try? StoreHarness(disk)) != nil { break }
      let survivor = disk.survivor(seed: UInt64(operation))
      try survivor.createDirectory("/db")
      let store = try TableStore.open("/db", disk: survivor, options: StoreHarness.tinyOptions())
      #expect(store.flushed == FlushedPosition())
      store.close()
    }
  }

  /// Every operation fails once, in every way; what failed is tried again, and in the end all is there.
  @Test(arguments: [DiskError.Kind.io, .noSpace], [false, true])
  func goesOnAfterEveryFailure(_ kind: DiskError.Kind, _ isPartial: Bool) throws {
    let seed: UInt64 = 5
    let whole = SimulatedDisk(seed: seed)
    var history = try History(seed, whole)
    let first = whole.operationCount
    try history.run { try $0() }
    // All operations with the worst of failures, a part of them with the others.
    let step = kind == .io && isPartial ? 1 : 4
    for operation in stride(from: first, to: whole.operationCount, by: step) {
      let disk = SimulatedDisk(seed: seed)
      var history = try History(seed, disk)
      var faults = DiskFaults()
      faults.plan = { found in
        guard found.index == operation, found.changesSomething else { return nil }
        return isPartial ? .errorWithPartialEffect(kind) : .error(kind)
      }
      disk.setFaults(faults)
      try history.run { step in
        do { try step() } catch {
          disk.setFaults(.none)
          try step()
        }
      }
      disk.setFaults(.none)
      history.harness.store.close()
      let problem = try Self.problem(history, disk.survivor(seed: 7))
      #expect(problem == nil, "\(kind) at operation \(operation)")
    }
  }

  /// After a full disk has room again, writes go on.
  @Test func goesOnAfterTheDiskWasFull() throws {
    let disk = SimulatedDisk(seed: 8)
    var history = try History(8, disk)
    history.harness.write(10, &history.random, spread: 30)
    try history.harness.flush()
    let before = try StoreHarness.scan(history.harness.store, .all, at: Version(history.harness.version))
    history.harness.write(10, &history.random, spread: 30)
    disk.setCapacity(sizeBytes: 10)
    #expect(throws: StorageError.self) { try history.harness.flush() }
    #expect(throws: StorageError.self) { try history.harness.store.compactAll() }
    #expect(try StoreHarness.scan(history.harness.store, .all, at: Version(10)) == before)
    #expect(history.harness.store.compactionStatistics.lastError != nil)
    disk.setCapacity(sizeBytes: nil)
    try history.harness.flush()
    try history.harness.store.compactAll()
    #expect(history.harness.store.compactionStatistics.lastError == nil)
    #expect(try history.harness.difference(&history.random, spread: 30) == nil)
  }

  /// A torn tail of the manifest is not damage; the edit before it counts.
  @Test func aTornTailIsNotDamage() throws {
    var history = try History(3, SimulatedDisk(seed: 3))
    try history.run { try $0() }
    history.harness.store.close()
    let disk = history.harness.disk
    let path = try #require(disk.paths.last { $0.hasPrefix("/db/MANIFEST-") })
    let size = try #require(disk.bytes(of: path)).count
    try disk.open(path, .readWrite).write([UInt8](repeating: 0, count: 1024), at: UInt64(size))
    let inspector = try ManifestInspector("/db", disk: disk)
    #expect(inspector.isTorn && inspector.isCurrent)
    // But a byte that is not zero is damage.
    let damaged = disk.copy()
    damaged.flip(path, at: size + 700)
    #expect(throws: StorageError.self) { _ = try TableStore.open("/db", disk: damaged) }
    #expect(try Self.problem(history, disk) == nil)
  }
}

/// The classic bugs, put in on purpose: the tests above must see them.
@Suite struct MutationTests {
  @Test(arguments: [StorageMutation.droppedDeletion, .lostRangeDeletionRest, .filterOnVersion, .horizonIgnored])
  func theModelSees(_ mutation: StorageMutation) throws {
    let isSeen = try StoreModelTests.shapes.prefix(4).contains { shape in
      try StoreModelTests.run(shape, mutation: mutation, rounds: 40) != nil
    }
    #expect(isSeen)
  }

  @Test(arguments: [StorageMutation.missingSyncDirectory, .inputsRemovedEarly])
  func crashesSee(_ mutation: StorageMutation) throws {
    let problem = try CrashTests.crashEverywhere(1, mutation: mutation)
    #expect(problem != nil)
  }
}
