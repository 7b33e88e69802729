// What to simulate.

package import Paxos

/// A kind of fault, or of change, that the schedule draws from. Each has its own stream of randomness.
package enum FaultKind: Int, CaseIterable, Sendable, Hashable {
  case loss
  case duplication
  case partition
  case crash
  case pause
  case slowDisk
  case stuckDisk
  case damage
  case amnesia
  case clockRate
  case transfer
  case reconfiguration
  case checkpoint
  /// Rates beyond the bound, and jumps: leases may fail, nothing else.
  case clockBeyondBound

  package var name: String { "\(self)" }
}

/// One run.
package struct ClusterOptions: Sendable {
  package var seed: UInt64
  package var nodes = 3
  package var steps = 10_000
  package var faults: Set<FaultKind> = ClusterOptions.ordinaryFaults
  /// Keep records in the real log over a simulated disk, instead of in the model.
  package var usesLog = false
  /// Bugs of the log's, by `LogMutations.rawValue`.
  package var logMutations = 0
  /// Between one fault and the next, in microseconds.
  package var faultPause: ClosedRange<UInt64> = 20_000...400_000
  package var mutation: Mutation?
  /// Nil: as the seed has it.
  package var clients: Int?
  /// Every member a voter and the default quorums, instead of what the seed draws.
  package var isPlain = false
  /// After the steps, heal and demand progress.
  package var checksLiveness = true
  /// Keep the conversation, for people.
  package var traces = false

  package static let ordinaryFaults = Set(FaultKind.allCases).subtracting([.clockBeyondBound])

  /// Puts a known bug in.
  /// - Returns: false if there is none of that name.
  package mutating func mutate(named name: String) -> Bool {
    mutation = Mutation.allCases.first { "\($0)" == name }
    return mutation != nil
  }

  package init(seed: UInt64, nodes: Int = 3, steps: Int = 10_000) {
    self.seed = seed
    self.nodes = nodes
    self.steps = steps
  }
}

/// A rule that was broken.
package struct Violation: Error, Hashable, Sendable, CustomStringConvertible {
  package var seed: UInt64
  package var step: Int
  /// Simulated, in microseconds.
  package var time: UInt64
  package var message: String
  package var description: String { "seed \(seed), step \(step), \(time / 1000) ms: \(message)" }
}

/// What a run did.
package struct ClusterReport: Sendable {
  package var steps = 0
  package var simulatedTicks: UInt64 = 0
  package var chosen: UInt64 = 0
  package var elections = 0
  package var acknowledged = 0
  package var leaseReads = 0
  package var roundReads = 0
  package var reconfigurations = 0
  package var transfers = 0
  package var installs = 0
  package var repairs = 0
  package var faults: [FaultKind: Int] = [:]
  package var violation: Violation?
  /// Of all that happened; equal for equal seeds.
  package var digest: UInt64 = 0

  package init() {}

  package mutating func add(_ other: ClusterReport) {
    steps += other.steps
    simulatedTicks += other.simulatedTicks
    chosen += other.chosen
    elections += other.elections
    acknowledged += other.acknowledged
    leaseReads += other.leaseReads
    roundReads += other.roundReads
    reconfigurations += other.reconfigurations
    transfers += other.transfers
    installs += other.installs
    repairs += other.repairs
    for (kind, count) in other.faults { faults[kind, default: 0] += count }
    digest = mix(digest, other.digest, UInt64(other.steps))
    if violation == nil { violation = other.violation }
  }
}
