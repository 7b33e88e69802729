import Paxos
import Simulation
import Testing

#if DEBUG
  private let stateLimit = 15_000
#else
  private let stateLimit = 400_000
#endif

@Suite struct ModelCheckTests {
  /// Two proposers, one slot, a crash at any moment.
  @Test func singleDecision() {
    var check = ModelCheck(
      bounds: ModelCheck.Bounds(campaigns: [NodeID(1): 1, NodeID(2): 1], crashes: 1, depth: 30, states: stateLimit))
    let outcome = check.singleDecision()
    print("single decision: \(outcome.states) states, depth \(outcome.deepest), complete \(outcome.isComplete)")
    #expect(outcome.violation == nil, "\(outcome.path.joined(separator: "\n"))")
    #expect(outcome.states > 1_000)
  }

  /// A follower that lacks chosen records adopts them under a new ballot, and may crash in the middle.
  @Test func adoption() {
    var check = ModelCheck(
      bounds: ModelCheck.Bounds(campaigns: [NodeID(1): 1, NodeID(3): 1], crashes: 1, depth: 34, states: stateLimit))
    let outcome = check.adoption()
    print("adoption: \(outcome.states) states, depth \(outcome.deepest), complete \(outcome.isComplete)")
    #expect(outcome.violation == nil, "\(outcome.path.joined(separator: "\n"))")
    #expect(outcome.states > 1_000)
  }
}
