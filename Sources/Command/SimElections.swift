import ArgumentParser
import Simulation

extension Sim {
  /// Loses the leader again and again; then lets a leader lose its quorum in the three ways that are known to keep
  /// protocols without one (Omni-Paxos, §2), while another node still reaches a quorum.
  func measureElections(_ count: Int) throws {
    let each = 50
    var rounds: [UInt64] = []
    var times: [UInt64] = []
    for k in 0..<(count + each - 1) / each {
      var options = ClusterOptions(seed: UInt64(k) + 1, nodes: [3, 5, 7, 4][k % 4])
      options.faults = [.loss, .duplication, .clockRate]
      options.isPlain = true
      for sample in try ClusterSimulation(options).measureElections(each) {
        rounds.append(sample.rounds)
        times.append(sample.ticks)
      }
    }
    rounds.sort()
    times.sort()
    func at(_ values: [UInt64], _ perMille: Int) -> UInt64 {
      values[min(values.count - 1, values.count * perMille / 1000)]
    }
    print(
      """
      \(rounds.count) elections: rounds p50 \(at(rounds, 500)), p99 \(at(rounds, 990)), p99.9 \(at(rounds, 999)), \
      most \(rounds.last ?? 0); time p50 \(at(times, 500) / 1000) ms, p99 \(at(times, 990) / 1000) ms
      """)
    // The longest election timeout: 400 ms, and 200 ms of jitter.
    let timeout: UInt64 = 600_000
    var isLate = at(rounds, 990) > 2
    for shape in PartialPartition.allCases {
      var longest: UInt64 = 0
      let runs = max(1, min(200, count / 50))
      for k in 0..<runs {
        var options = ClusterOptions(seed: UInt64(k) + 1, nodes: shape == .chained ? 3 : 5)
        options.faults = [.clockRate]
        options.isPlain = true
        longest = max(longest, try ClusterSimulation(options).measurePartition(shape))
      }
      print("\(shape): at most \(longest / 1000) ms without a leader that has a quorum, in \(runs) runs")
      isLate = isLate || longest > 4 * timeout
    }
    if isLate { throw ExitCode(1) }
  }
}
