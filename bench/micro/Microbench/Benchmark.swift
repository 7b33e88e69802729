import CAllocations
import Foundation
import Platform

// One path of the program, run over and over: nanoseconds and allocations of one operation.
//
// 1. A benchmark is made (opened, loaded) outside what is measured, and then warmed up by one round that does not count.
// 2. A round is `operations` operations. Time is the median of the rounds; allocations are those of the round with the
//    fewest, because what a round pays once (an arena's new chunk, a rehash) is not what an operation costs.
// 3. Only allocations are held to thresholds. They hardly depend on the machine; times do.

/// A path to measure. `run` does that many operations, and may say itself how many nanoseconds each took.
struct Benchmark: Sendable {
  let name: String
  /// Operations in a round.
  var operations = 2000
  /// Counts the allocations of every thread, where the work is spread over several.
  var countsAllThreads = false
  let make: @Sendable (Workspace) throws -> (Int) throws -> Double?
}

/// Directories for a run's files: in memory where that is possible, so that the disk is not what is measured.
final class Workspace {
  let path: String
  private var count = 0

  init() throws {
    let base = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    path = base + "/synod-micro-\(getpid())"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  /// A new directory.
  func directory() throws -> String {
    count += 1
    let new = path + "/\(count)"
    try FileManager.default.createDirectory(atPath: new, withIntermediateDirectories: true)
    return new
  }

  func remove() { try? FileManager.default.removeItem(atPath: path) }
}

/// What one operation cost.
struct Cost: Codable {
  var nanoseconds: Double
  var allocations: Double
}

extension Benchmark {
  func measure(rounds: Int, operations: Int, in workspace: Workspace) throws -> Cost {
    let run = try make(workspace)
    _ = try run(operations)
    var times: [Double] = []
    var fewest = UInt64.max
    synod_allocations_count_all(countsAllThreads ? 1 : 0)
    defer { synod_allocations_count_all(0) }
    let clock = LinuxClock()
    for _ in 0..<rounds {
      let before = countsAllThreads ? synod_allocations_of_all() : synod_allocations_of_thread()
      let start = clock.bootNanoseconds
      let own = try run(operations)
      let took = clock.bootNanoseconds - start
      let after = countsAllThreads ? synod_allocations_of_all() : synod_allocations_of_thread()
      times.append(own ?? Double(took) / Double(operations))
      fewest = min(fewest, after - before)
    }
    times.sort()
    return Cost(nanoseconds: times[times.count / 2], allocations: Double(fewest) / Double(operations))
  }
}

/// Keeps the optimiser from dropping a result.
@inline(never)
func consume<T>(_ value: T) {}

/// Random numbers from a fixed seed (xorshift).
struct Seeded {
  private var state: UInt64
  init(_ seed: UInt64 = 0x9e37_79b9_7f4a_7c15) { state = seed | 1 }
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}

/// Writes a key of 16 bytes: a prefix that all share, and a number.
func fill(_ key: UnsafeMutableRawBufferPointer, _ number: UInt64) {
  key.storeBytes(of: 0x6b6b_6b6b_6b6b_6b6b as UInt64, as: UInt64.self)
  key.storeBytes(of: number.bigEndian, toByteOffset: 8, as: UInt64.self)
}

/// The bytes at a place that stays until the end: what a benchmark hands in again and again.
func kept(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
  let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
  memory.copyBytes(from: bytes)
  return UnsafeRawBufferPointer(memory)
}
