import Paxos
import Simulation
import Testing

/// A bug, and the kind of run in which it shows soonest. Most show under all faults at once.
struct MutantHunt: CustomStringConvertible, Sendable {
  var mutation: Mutation
  var faults: Set<FaultKind>?
  var pace: UInt64 = 400
  var nodes = [3, 5]
  var liveness = false
  /// How many seeds it may take in a release build.
  var limit = 60
  var description: String { "\(mutation)" }

  /// The first violation, and after how many seeds; nil if the mutant survives.
  func run(limit: Int) -> (seeds: Int, violation: Violation)? {
    for k in 0..<limit {
      var options = ClusterOptions(seed: UInt64(k) + 1, nodes: nodes[k % nodes.count], steps: 8_000)
      if let faults { options.faults = faults }
      options.faultPause = pace * 50...pace * 1000
      options.mutation = mutation
      options.checksLiveness = liveness
      if let violation = ClusterSimulation(options).run().violation { return (k + 1, violation) }
    }
    return nil
  }

  static let all: [MutantHunt] = [
    MutantHunt(mutation: .acceptedBeforeRecords, faults: [.crash, .loss], pace: 60, nodes: [3], limit: 200),
    MutantHunt(mutation: .replyBeforeDurable),
    MutantHunt(mutation: .promiseLowerBallot),
    MutantHunt(mutation: .acceptLowerBallot, limit: 200),
    MutantHunt(mutation: .forgetPromiseOnRestart),
    MutantHunt(mutation: .amnesiacVotes),
    MutantHunt(mutation: .damagedCountsAsAbsent),
    MutantHunt(mutation: .acceptWithoutChainCheck),
    MutantHunt(mutation: .chosenBeyondOwnLog),
    MutantHunt(mutation: .syncCutsChosen),
    MutantHunt(mutation: .ignoreBetterLog),
    MutantHunt(mutation: .bestByLengthAlone, faults: [.crash, .partition], pace: 100, nodes: [5], limit: 1_500),
    MutantHunt(mutation: .countOtherBallots, limit: 1_500),
    MutantHunt(mutation: .replicationQuorumTooSmall),
    MutantHunt(mutation: .electionQuorumTooSmall),
    MutantHunt(mutation: .syncStopsShort),
    MutantHunt(mutation: .grantsForgottenOnRestart, faults: [.partition, .crash], pace: 100, nodes: [3], limit: 1_500),
    MutantHunt(mutation: .exposeBeforeLeasesExpire, faults: [.partition, .crash], pace: 100, nodes: [3], limit: 800),
    MutantHunt(mutation: .leaseFromReceipt, faults: [.partition, .pause], pace: 300, nodes: [3], limit: 800),
    MutantHunt(mutation: .leaseKeptAcrossTransfer, faults: [.transfer, .loss], pace: 100, nodes: [3], limit: 800),
    MutantHunt(mutation: .readBeforeLeadershipRecord),
    MutantHunt(mutation: .readWithoutRound, faults: [.partition, .pause], pace: 200, nodes: [3], limit: 800),
    MutantHunt(mutation: .configurationFromUnchosenTail, limit: 200),
    MutantHunt(mutation: .enterEpochWhenAccepted),
    MutantHunt(mutation: .proposeAfterStop),
    MutantHunt(mutation: .checkpointWithoutConfiguration, liveness: true),
    MutantHunt(mutation: .noQuorumCheck, liveness: true, limit: 200),
  ]
}

@Suite struct MutantTests {
  #if DEBUG
    // Debug builds look for those that show at once; release builds for all.
    static let hunts = MutantHunt.all.filter { $0.limit == 60 && !$0.liveness }
  #else
    static let hunts = MutantHunt.all
  #endif

  @Test(arguments: hunts)
  func isFound(hunt: MutantHunt) {
    let found = hunt.run(limit: hunt.limit)
    if let found { print("mutant \(hunt.mutation): found after \(found.seeds) seeds: \(found.violation.message)") }
    #expect(found != nil, "\(hunt.mutation) survives \(hunt.limit) seeds")
  }

  /// What the simulator is not asked to find is found by PaxosTests.
  @Test func everyMutantIsHunted() {
    let hunted = Set(MutantHunt.all.map(\.mutation))
    let elsewhere: Set<Mutation> = [.staleCompletionCounts, .installKeepsForeignLog, .leadBeforeDurable]
    #expect(Set(Mutation.allCases) == hunted.union(elsewhere))
  }
}
