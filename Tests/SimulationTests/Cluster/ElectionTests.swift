import Foundation
import Paxos
import Simulation
import Testing

@Suite struct ElectionTests {
  #if DEBUG
    static let elections = 200
    static let partitions = 5
  #else
    /// `SYNOD_LONG=1` measures ten thousand.
    static let elections = ProcessInfo.processInfo.environment["SYNOD_LONG"] == "1" ? 10_000 : 2_000
    static let partitions = 200
  #endif

  /// The leader is lost again and again: 99 of 100 elections take two rounds at most.
  @Test func rounds() throws {
    var samples: [ElectionSample] = []
    let each = 50
    for k in 0..<Self.elections / each {
      var options = ClusterOptions(seed: UInt64(k) + 1, nodes: [3, 5, 7, 4][k % 4])
      options.faults = [.loss, .duplication, .clockRate]
      options.isPlain = true
      samples += try ClusterSimulation(options).measureElections(each)
    }
    let rounds = samples.map(\.rounds).sorted()
    let times = samples.map(\.ticks).sorted()
    let p99 = rounds[rounds.count * 99 / 100]
    print(
      "elections: \(samples.count), rounds p50 \(rounds[rounds.count / 2]) p99 \(p99) max \(rounds.last ?? 0);",
      "time p50 \(times[times.count / 2] / 1000) ms p99 \(times[times.count * 99 / 100] / 1000) ms")
    #expect(p99 <= 2)
  }

  /// A leader within four election timeouts whenever a node reaches a quorum.
  @Test(arguments: PartialPartition.allCases)
  func partialPartitions(shape: PartialPartition) throws {
    var longest: UInt64 = 0
    for k in 0..<Self.partitions {
      var options = ClusterOptions(seed: UInt64(k) + 1, nodes: shape == .chained ? 3 : 5)
      options.faults = [.clockRate]
      options.isPlain = true
      longest = max(longest, try ClusterSimulation(options).measurePartition(shape))
    }
    // One timeout is `election` and the greatest jitter.
    print("\(shape): \(longest / 1000) ms at most")
    #expect(longest <= 4 * 600_000, "\(shape) took \(longest) µs")
  }
}
