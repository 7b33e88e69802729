// Many seeds; and one seed made small.

package import Paxos

package enum ClusterCampaign {
  /// Runs seeds one after another.
  /// - Parameter each: called after each seed; return false to stop.
  package static func run(
    seeds: ClosedRange<UInt64>, template: ClusterOptions, each: (UInt64, ClusterReport) -> Bool = { _, _ in true }
  ) -> ClusterReport {
    var total = ClusterReport()
    for seed in seeds {
      var options = template
      options.seed = seed
      let report = ClusterSimulation(options).run()
      total.add(report)
      if !each(seed, report) { break }
    }
    return total
  }

  /// The number of seeds after which a mutant is found, and by which rule; nil if it survives.
  package static func seedsToFind(
    _ mutation: Mutation, limit: Int, nodes: [Int] = [3, 5], steps: Int = 8_000, checksLiveness: Bool = true
  ) -> (seeds: Int, violation: Violation)? {
    for k in 0..<limit {
      var options = ClusterOptions(seed: UInt64(k) + 1, nodes: nodes[k % nodes.count], steps: steps)
      options.mutation = mutation
      options.checksLiveness = checksLiveness
      if let violation = ClusterSimulation(options).run().violation { return (k + 1, violation) }
    }
    return nil
  }

  /// Takes away what a violation does not need: kinds of faults, clients, and steps after it.
  package static func minimise(_ options: ClusterOptions) -> (options: ClusterOptions, violation: Violation)? {
    guard var violation = ClusterSimulation(options).run().violation else { return nil }
    var best = options
    func attempt(_ candidate: ClusterOptions) {
      if let found = ClusterSimulation(candidate).run().violation, found.step <= violation.step * 2 {
        best = candidate
        violation = found
      }
    }
    for kind in FaultKind.allCases where best.faults.contains(kind) {
      var candidate = best
      candidate.faults.remove(kind)
      attempt(candidate)
    }
    for clients in [1, 2, 4, 8] where best.clients == nil {
      var candidate = best
      candidate.clients = clients
      attempt(candidate)
    }
    if violation.step < best.steps {
      best.steps = violation.step
      best.checksLiveness = false
    }
    return (best, violation)
  }
}
