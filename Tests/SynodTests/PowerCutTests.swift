import Foundation
import Platform
import Simulation
import Synod
import Testing

/// A clock that moves a microsecond with every look: the same in every run.
final class CountingClock: Clock, @unchecked Sendable {
  // Unchecked: these tests use one thread.
  private var now: UInt64 = 0
  var bootNanoseconds: UInt64 {
    now += 1000
    return now
  }
  var wallNanoseconds: UInt64 { bootNanoseconds }
}

/// A workload from a seed against a database over a simulated disk, and what the database must hold after each commit.
final class Workload {
  typealias Contents = [[UInt8]: [UInt8]]
  var random: SeededRandomness
  /// `states[n]`: the contents after n commits.
  var states: [Contents] = [[:]]
  /// How many commits were acknowledged as durable, counting all before them.
  var acknowledged = 0

  init(seed: UInt64) { random = SeededRandomness(seed: seed) }

  static func open(_ disk: SimulatedDisk) throws -> Database {
    var tuning = CoreTuning()
    tuning.log.segmentSizeBytes = 64 << 10
    tuning.log.firstSegmentSizeBytes = 16 << 10
    tuning.log.reserveSizeBytes = 0
    tuning.log.background = false
    tuning.log.seed = 7
    tuning.pipeline.usesThread = false
    tuning.engine = { options in
      options.background = false
      options.memtableSizeBytes = 16 << 10
    }
    return try Database.open(at: "/db", DatabaseOptions(), disk: disk, clock: CountingClock(), tuning: tuning)
  }

  /// Transactions, flushes and compactions, until `count` steps are done or the disk is gone. True when all were done.
  func run(_ database: Database, steps: Int) -> Bool {
    for _ in 0..<steps {
      do {
        switch random.below(40) {
        case 0: try database.flush()
        case 1: try database.compact()
        default: try step(database)
        }
      } catch { return false }
    }
    return true
  }

  private func step(_ database: Database) throws {
    var next = states.last!
    let isDurable = !random.oneIn(4)
    var operations: [([UInt8], [UInt8]?)] = []
    for _ in 0...random.below(4) {
      let key = Array("key\(random.below(60))".utf8)
      let size = random.oneIn(15) ? random.below(9000) : random.below(120)
      let value: [UInt8]? = random.oneIn(4) ? nil : (0..<size).map { _ in UInt8(random.below(7)) }
      operations.append((key, value))
      next[key] = value
    }
    // Known before the commit: a power cut inside it may leave either state.
    states.append(next)
    try database.transaction(isDurable: isDurable) { transaction in
      for (key, value) in operations {
        if let value { try transaction.put(key, value) } else { try transaction.delete(key) }
      }
    }
    if isDurable { acknowledged = states.count - 1 }
  }

  static func contents(_ database: Database) throws -> Contents {
    try database.transaction { transaction in
      var all = Contents()
      try transaction.scan { key, value in
        all[key] = value
        return true
      }
      return all
    }
  }
}

/// The promise of the whole: what was acknowledged is there after a power cut, transactions are there wholly or not at all,
/// and nothing is there that comes after something missing.
@Suite struct PowerCutTests {
  /// SYNOD_THOROUGH=1: more workloads, every operation.
  static let isThorough = ProcessInfo.processInfo.environment["SYNOD_THOROUGH"] != nil

  @Test(arguments: isThorough ? Array(1...100 as ClosedRange<UInt64>) : Array(1...12))
  func everyPowerCutLeavesAPrefixWithAllThatWasAcknowledged(_ seed: UInt64) throws {
    let steps = 120
    let whole = SimulatedDisk(seed: seed)
    let rehearsal = Workload(seed: seed)
    #expect(rehearsal.run(try Workload.open(whole), steps: steps))
    let count = whole.operationCount
    let stride = Self.isThorough ? 1 : max(1, count / 120)
    var cuts = 0
    for operation in Swift.stride(from: Int(seed) % stride, to: count, by: stride) {
      let disk = SimulatedDisk(seed: seed)
      disk.crash(atOperation: operation)
      let workload = Workload(seed: seed)
      guard let database = try? Workload.open(disk) else { continue }
      guard !workload.run(database, steps: steps) else { continue }
      cuts += 1
      // Twice: recovery itself may be cut short, and must leave what the next recovery needs.
      var survivor = disk.survivor(seed: seed &+ UInt64(operation))
      if operation % 3 == 0 {
        let again = survivor.copy()
        again.crash(atOperation: again.operationCount + operation % 40)
        _ = try? Workload.open(again)
        survivor = again.survivor(seed: UInt64(operation))
      }
      let reopened = try Workload.open(survivor)
      let found = try Workload.contents(reopened)
      let matching = workload.states.lastIndex(of: found)
      #expect(matching != nil, "seed \(seed), operation \(operation): no prefix of the commits")
      if let matching {
        #expect(
          matching >= workload.acknowledged,
          "seed \(seed), operation \(operation): \(workload.acknowledged - matching) acknowledged commits lost")
        // And life goes on.
        workload.states.removeLast(workload.states.count - 1 - matching)
        #expect(workload.run(reopened, steps: 5), "seed \(seed), operation \(operation): cannot go on")
        #expect(try Workload.contents(reopened) == workload.states.last!)
      }
    }
    #expect(cuts > 20)
  }

  @Test func aFullDiskRefusesAndResumes() throws {
    let disk = SimulatedDisk(seed: 3)
    let database = try Workload.open(disk)
    let value = [UInt8](repeating: 7, count: 3000)
    for index in 0..<20 { try database.put(Array("before\(index)".utf8), value) }
    disk.setCapacity(sizeBytes: 0)
    var refused: DatabaseError?
    for index in 0..<200 {
      do { try database.put(Array("while\(index)".utf8), value) } catch let error as DatabaseError {
        refused = error
        break
      }
    }
    #expect(refused?.sqlState == "53100", "\(String(describing: refused))")
    #expect(try database.get(Array("before7".utf8)) == value)
    disk.setCapacity(sizeBytes: nil)
    try database.put(Array("after".utf8), value)
    #expect(try database.get(Array("after".utf8)) == value)
    try database.close()
    let reopened = try Workload.open(disk)
    #expect(try reopened.get(Array("after".utf8)) == value)
    #expect(try reopened.get(Array("before7".utf8)) == value)
  }

  @Test func afterAFailedSyncNothingIsAcknowledged() throws {
    let disk = SimulatedDisk(seed: 4)
    let database = try Workload.open(disk)
    try database.put([1], [1])
    var faults = DiskFaults()
    faults.writeErrorOneIn = 1
    faults.syncErrorOneIn = 1
    disk.setFaults(faults)
    #expect(throws: DatabaseError.self) { try database.put([2], [2]) }
    // The disk is well again: still nothing may be acknowledged, for nobody knows what is on it.
    disk.setFaults(.none)
    #expect(throws: DatabaseError.self) { try database.put([3], [3]) }
    #expect(try database.get([1]) == [1])
    try? database.close()
    let reopened = try Workload.open(disk)
    #expect(try reopened.get([1]) == [1])
    #expect(try reopened.get([3]) == nil)
    try reopened.put([4], [4])
  }

  @Test func aSecondOpenIsRefused() throws {
    let disk = SimulatedDisk(seed: 5)
    let database = try Workload.open(disk)
    let refused = #expect(throws: DatabaseError.self) { _ = try Workload.open(disk) }
    #expect(refused?.sqlState == "55006")
    try database.close()
    _ = try Workload.open(disk)
  }
}
