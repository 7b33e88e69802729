import Platform
import Simulation
import Testing

/// The simulated disk must lose what the contract lets a disk lose, and nothing else.
@Suite struct SimulatedDiskTests {
  let block = AlignedBuffer(sizeBytes: 8192)

  @Test func syncedDataAndNamesSurvive() throws {
    let disk = SimulatedDisk(seed: 1)
    try disk.createDirectory("/db")
    try disk.syncDirectory("/")
    let file = try disk.open("/db/a", .create)
    try file.write([1, 2, 3], at: 0)
    try file.sync()
    try disk.syncDirectory("/db")
    for seed in 0..<50 as Range<UInt64> {
      #expect(disk.survivor(seed: seed).bytes(of: "/db/a") == [1, 2, 3], "seed \(seed)")
    }
  }

  @Test func unsyncedWritesAreLostInEveryWay() throws {
    let disk = SimulatedDisk(seed: 1)
    let file = try disk.open("/a", .create)
    try file.write([UInt8](repeating: 1, count: 1024), at: 0)
    try file.sync()
    try disk.syncDirectory("/")
    try file.write([UInt8](repeating: 2, count: 1024), at: 0)
    #expect(disk.bytes(of: "/a") == [UInt8](repeating: 2, count: 1024))
    var seen: Set<[UInt8]> = []
    for seed in 0..<200 as Range<UInt64> {
      let bytes = try #require(disk.survivor(seed: seed).bytes(of: "/a"))
      seen.insert([bytes[0], bytes[512]])
      for sector in [0, 512] { #expect(Set(bytes[sector..<sector + 512]).count == 1, "torn sector, seed \(seed)") }
    }
    #expect(seen == [[1, 1], [1, 2], [2, 1], [2, 2]])
  }

  @Test func sectorsTearOnlyWhenAsked() throws {
    let disk = SimulatedDisk(seed: 1)
    let file = try disk.open("/a", .create)
    try file.write([UInt8](repeating: 1, count: 512), at: 0)
    try file.sync()
    try disk.syncDirectory("/")
    try file.write([UInt8](repeating: 2, count: 512), at: 0)
    var faults = DiskFaults.none
    faults.tearsSectors = true
    let torn = (0..<200 as Range<UInt64>).contains { seed in
      Set(disk.survivor(seed: seed, faults: faults).bytes(of: "/a") ?? []).count == 2
    }
    #expect(torn)
  }

  @Test func namesAreLostUnlessTheDirectoryIsSynced() throws {
    let disk = SimulatedDisk(seed: 1)
    let file = try disk.open("/a", .create)
    try file.write([9], at: 0)
    try file.sync()
    let survivors = (0..<50 as Range<UInt64>).map { disk.survivor(seed: $0).bytes(of: "/a") }
    #expect(survivors.contains(nil))
    #expect(survivors.contains([9]))
    // A rename is lost or done, never half done.
    try disk.syncDirectory("/")
    try disk.rename("/a", to: "/b")
    for seed in 0..<50 as Range<UInt64> {
      let after = disk.survivor(seed: seed)
      #expect((after.bytes(of: "/a") == nil) != (after.bytes(of: "/b") == nil), "seed \(seed)")
    }
  }

  @Test func failedSyncIsNotRepairedByARetry() throws {
    let disk = SimulatedDisk(seed: 1)
    let file = try disk.open("/a", .create)
    try disk.syncDirectory("/")
    var faults = DiskFaults.none
    faults.plan = { $0.kind == .sync ? .errorWithPartialEffect(.io) : nil }
    var isLost = false
    for round in 0..<20 as Range<UInt8> {
      try file.write([round + 1], at: 512 * UInt64(round))
      disk.setFaults(faults)
      #expect(throws: DiskError.self) { try file.sync() }
      disk.setFaults(.none)
      try file.sync()
      let after = disk.survivor(seed: 3).bytes(of: "/a") ?? []
      if after.count <= 512 * Int(round) || after[512 * Int(round)] == 0 { isLost = true }
    }
    #expect(isLost)
  }

  @Test func directWritesAreDurableAndAligned() throws {
    let disk = SimulatedDisk(seed: 1)
    _ = try disk.open("/a", .create)
    try disk.syncDirectory("/")
    let file = try disk.open("/a", .direct)
    for index in 0..<8192 { block.bytes[index] = 7 }
    try file.writeDurably(UnsafeRawBufferPointer(block.bytes), at: 4096)
    #expect(disk.survivor(seed: 4).bytes(of: "/a")?[4096...] == ArraySlice([UInt8](repeating: 7, count: 8192)))
    #expect(throws: DiskError.self) { try file.writeDurably(UnsafeRawBufferPointer(block.bytes), at: 512) }
    #expect(throws: DiskError.self) {
      try file.writeDurably(UnsafeRawBufferPointer(rebasing: block.bytes[0..<512]), at: 0)
    }
    #expect(throws: DiskError.self) {
      _ = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: block.bytes[512..<4608]), at: 0)
    }
  }

  @Test func crashStopsEverythingAtTheChosenOperation() throws {
    let disk = SimulatedDisk(seed: 1)
    let file = try disk.open("/a", .create)
    try disk.syncDirectory("/")
    disk.crash(atOperation: disk.operationCount + 1)
    try file.write([1], at: 0)
    #expect(throws: DiskError.self) { try file.sync() }
    #expect(disk.isCrashed)
    #expect(throws: DiskError.self) { _ = try disk.list("/") }
    let sizes = Set((0..<50 as Range<UInt64>).map { disk.survivor(seed: $0).bytes(of: "/a")?.count })
    #expect(sizes == [0, 1])
  }

  @Test func diskFullAndLocks() throws {
    let disk = SimulatedDisk(seed: 1, capacitySizeBytes: 1000)
    let file = try disk.open("/a", .create)
    try file.write([UInt8](repeating: 1, count: 1000), at: 0)
    do throws(DiskError) {
      try file.write([1], at: 1000)
      Issue.record("no ENOSPC")
    } catch { #expect(error.kind == .noSpace) }
    try file.write([2], at: 999)
    let lock = try disk.lock("/LOCK")
    do throws(DiskError) {
      _ = try disk.lock("/LOCK")
      Issue.record("locked twice")
    } catch { #expect(error.kind == .locked) }
    lock.close()
    _ = try disk.lock("/LOCK")
  }

  @Test func misdirectionAndFlipsByPlan() throws {
    let disk = SimulatedDisk(seed: 1)
    let file = try disk.open("/a", .create)
    try file.write([UInt8](repeating: 0, count: 8192), at: 0)
    var faults = DiskFaults.none
    faults.plan = { $0.kind == .write ? .misdirect(by: 4096) : nil }
    disk.setFaults(faults)
    try file.write([5], at: 1)
    #expect(disk.bytes(of: "/a")?[1] == 0)
    #expect(disk.bytes(of: "/a")?[4097] == 5)
    faults.plan = { $0.kind == .write ? .flipBit(3) : nil }
    disk.setFaults(faults)
    try file.write([0], at: 0)
    #expect(disk.bytes(of: "/a")?[0] == 8)
  }
}
