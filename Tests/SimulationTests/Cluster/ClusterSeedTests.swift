import Paxos
import Simulation
import Testing

/// Release builds run a thousand seeds and more; debug builds, which check far slower, a sample of them.
#if DEBUG
  let seedCount = 24
#else
  let seedCount = 1_200
#endif

@Suite struct ClusterSeedTests {
  /// Faults of every kind, clusters of 3, 4, 5 and 7: no rule is broken, and requests finish after healing.
  @Test(arguments: [3, 4, 5, 7])
  func noViolation(nodes: Int) {
    for k in 0..<seedCount / 4 {
      let options = ClusterOptions(seed: UInt64(k * 8 + nodes), nodes: nodes, steps: 6_000)
      let report = ClusterSimulation(options).run()
      #expect(report.violation == nil, "synod sim --seed \(options.seed) --nodes \(nodes) --steps 6000 --trace")
    }
  }

  /// The same, with faults three times as dense.
  @Test func noViolationUnderDenseFaults() {
    for k in 0..<seedCount / 4 {
      var options = ClusterOptions(seed: UInt64(k) + 1_000_000, nodes: [3, 5, 4, 7][k % 4], steps: 6_000)
      options.faultPause = 6_000...120_000
      let report = ClusterSimulation(options).run()
      #expect(report.violation == nil, "--seed \(options.seed) --nodes \(options.nodes) --steps 6000 --pace 120")
    }
  }

  /// Clocks beyond the bound may break lease reads, which are not asserted then, and nothing else.
  @Test func clocksBeyondTheBoundBreakNothingButLeases() {
    for k in 0..<seedCount / 8 {
      var options = ClusterOptions(seed: UInt64(k) + 1, nodes: [3, 5][k % 2], steps: 6_000)
      options.faults.insert(.clockBeyondBound)
      let report = ClusterSimulation(options).run()
      #expect(report.violation == nil, "--seed \(options.seed) --nodes \(options.nodes) with clockBeyondBound")
    }
  }

  @Test func oneNode() {
    for seed in 1...20 {
      var options = ClusterOptions(seed: UInt64(seed), nodes: 1, steps: 3_000)
      options.faults = [.crash, .pause, .slowDisk, .stuckDisk, .clockRate, .checkpoint]
      let report = ClusterSimulation(options).run()
      #expect(report.violation == nil)
      #expect(report.acknowledged > 0)
    }
  }

  @Test func twoRunsOfOneSeedAreEqual() {
    for seed in [1, 77, 4711] as [UInt64] {
      var options = ClusterOptions(seed: seed, nodes: 5, steps: 4_000)
      options.traces = true
      let first = ClusterSimulation(options)
      let second = ClusterSimulation(options)
      #expect(first.run().digest == second.run().digest)
      #expect(first.trace == second.trace)
      #expect(first.trace.count > 1_000)
    }
  }

  /// Without faults a commit takes one round: what the leader sends, and what comes back.
  @Test func oneRoundPerCommit() {
    var options = ClusterOptions(seed: 3, nodes: 3, steps: 6_000)
    options.faults = []
    options.checksLiveness = false
    options.traces = true
    let simulation = ClusterSimulation(options)
    let report = simulation.run()
    #expect(report.violation == nil)
    #expect(report.elections == 1)
    let prepares = simulation.trace.filter { $0.contains(" prepare ") }.count
    #expect(prepares <= 4, "phase 1 runs once for a leadership, not \(prepares) times")
    let accepts = simulation.trace.filter { $0.contains("→") && $0.contains(" accept ") }.count
    #expect(UInt64(accepts) <= report.chosen * 4 + 16, "\(accepts) accepts for \(report.chosen) slots on two followers")
  }

  @Test func theChartIsWellFormed() {
    var options = ClusterOptions(seed: 5, nodes: 3, steps: 2_000)
    options.traces = true
    let simulation = ClusterSimulation(options)
    _ = simulation.run()
    let picture = simulation.chart.svg(0...2_000_000)
    #expect(picture.hasPrefix("<svg "))
    #expect(picture.hasSuffix("</svg>\n"))
    #expect(picture.contains("prepare"))
    #expect(!picture.contains("&&"))
  }
}
