import Log
import Simulation
import Testing

/// Clusters whose replicas keep their records in the real log, over simulated disks whose power fails in the middle of
/// writes: what is tested is recovery, not a model of it.
@Suite struct ClusterLogTests {
  #if DEBUG
    static let seeds = 8
  #else
    static let seeds = 150
  #endif

  @Test func theRealLogUnderACluster() {
    for k in 0..<Self.seeds {
      var options = ClusterOptions(seed: UInt64(k) + 1, nodes: [3, 5, 4, 7][k % 4], steps: 6_000)
      options.usesLog = true
      if k % 2 == 1 { options.faultPause = 5_000...100_000 }
      let report = ClusterSimulation(options).run()
      #expect(report.violation == nil, "--log --seed \(options.seed) --nodes \(options.nodes) --steps 6000")
      #expect(report.chosen > 0)
    }
  }

  /// Runs that once failed, by what went wrong in them.
  @Test(arguments: [
    (297, 4),  // what was learned to be chosen behind a gap made records before it count as chosen
    (1042, 5),
    (536, 3),  // a segment went while a record that was lost in it and repaired elsewhere was still needed
    (1376, 3),  // an epoch begun together with a repair was not noted
    (2528, 3),
  ])
  func whatOnceFailed(seed: UInt64, nodes: Int) {
    var options = ClusterOptions(seed: seed, nodes: nodes, steps: 8_000)
    options.usesLog = true
    options.faultPause = 7_500...150_000
    let report = ClusterSimulation(options).run()
    #expect(report.violation == nil, "synod sim --log --seed \(seed) --nodes \(nodes) --steps 8000 --pace 150 --trace")
  }

  /// The log's own mutants show in a cluster as well.
  @Test(arguments: [LogMutations.acceptsAtSyncBegin, .acknowledgesEarly, .skipsSyncAbort])
  func logMutantsAreFound(mutation: LogMutations) {
    for k in 0..<60 {
      var options = ClusterOptions(seed: UInt64(k) + 1, nodes: 3 + 2 * (k % 2), steps: 8_000)
      options.usesLog = true
      options.logMutations = mutation.rawValue
      options.faultPause = 5_000...100_000
      options.checksLiveness = false
      if let violation = ClusterSimulation(options).run().violation {
        print("log mutant \(mutation.rawValue): found after \(k + 1) seeds: \(violation.message.prefix(100))")
        return
      }
    }
    Issue.record("log mutant \(mutation.rawValue) survives")
  }
}
