// Every interleaving of a small cluster: which message arrives next, which write completes, who campaigns, who crashes.
//
// The replicas and the store are the ones of the simulator. Time stands still, so only the core is searched: phase 1,
// adoption, acceptSync, accept, choosing, recovery. Messages may stay undelivered for ever, which is loss; each is
// delivered once. States seen before, but for clocks, are not searched again.

package import Paxos

/// A search over all orders of events.
package struct ModelCheck {
  package struct Bounds: Sendable {
    package var campaigns: [NodeID: Int]
    package var crashes: Int
    package var depth: Int
    package var states: Int
    package init(campaigns: [NodeID: Int], crashes: Int, depth: Int, states: Int) {
      self.campaigns = campaigns
      self.crashes = crashes
      self.depth = depth
      self.states = states
    }
  }

  package struct Outcome: Sendable {
    package var states = 0
    package var deepest = 0
    /// The bound on states ended the search.
    package var isComplete = true
    package var violation: String?
    /// What led to the violation.
    package var path: [String] = []
  }

  struct Flight: Hashable {
    var message: Message
    var records: [Entry]
  }

  struct Node {
    var replica: Replica
    var store: StoreImage
    var vows: [(sequence: UInt64, envelope: VowEnvelope)] = []
    var tokens: [Token] = []
  }

  struct World {
    var nodes: [Node]
    var flights: [Flight] = []
    var campaigns: [NodeID: Int]
    var crashes: Int
    /// What some node has shown as chosen, by slot from 1.
    var chosen: [Chain] = []
    var lives: UInt64 = 0
  }

  private let mutation: Mutation?
  private let bounds: Bounds
  private var seen: Set<Int> = []
  private var outcome = Outcome()
  private var path: [String] = []
  private let cluster = ClusterID(high: 1, low: 2)
  private let configuration: Configuration

  package init(bounds: Bounds, mutation: Mutation? = nil) {
    self.bounds = bounds
    self.mutation = mutation
    guard let three = try? Configuration(epoch: 1, voters: [NodeID(1), NodeID(2), NodeID(3)]) else {
      preconditionFailure("three voters are a configuration")
    }
    configuration = three
  }

  private func fresh() -> World {
    let nodes = configuration.voters.map { id in
      let recovered = Recovered(founding: configuration, chain: .zero)
      return Node(replica: makeReplica(id, recovered, life: 0), store: StoreImage(recovered))
    }
    return World(nodes: nodes, campaigns: bounds.campaigns, crashes: bounds.crashes)
  }

  private func makeReplica(_ id: NodeID, _ recovered: Recovered, life: UInt64) -> Replica {
    var settings = Settings()
    settings.heartbeat = 50_000
    settings.lease = 100_001
    return Replica(
      id: id, cluster: cluster, settings: settings, recovered: recovered, seed: 1, now: Self.now, mutation: mutation)
  }

  /// The clock stands at `now`; what waits for leases to run out is shown by an explicit move, as if it were `later`.
  private static let now: Ticks = 1_000_000
  private static let later: Ticks = 9_000_000

  /// One decision: each leader proposes its own first record for slot 1.
  package mutating func singleDecision() -> Outcome {
    search(fresh())
    return outcome
  }

  /// The adoption of a longer log by a follower that may crash in the middle. Node 1 leads; nodes 1 and 2 hold three
  /// records, chosen; node 3 holds the first only.
  package mutating func adoption() -> Outcome {
    var world = fresh()
    run(&world, campaign: NodeID(1), reaching: [NodeID(1), NodeID(2), NodeID(3)])
    for _ in 0..<2 {
      propose(&world, at: 0)
      settle(&world, reaching: [NodeID(1), NodeID(2)])
    }
    world.flights.removeAll()
    search(world)
    return outcome
  }

  // MARK: Moves

  private mutating func run(_ world: inout World, campaign id: NodeID, reaching: [NodeID]) {
    step(&world, index(id)) { replica, actions in replica.campaignNow(now: Self.now, into: &actions) }
    settle(&world, reaching: reaching)
  }

  private mutating func settle(_ world: inout World, reaching: [NodeID]) {
    var again = true
    while again {
      again = false
      for i in world.nodes.indices where !world.nodes[i].tokens.isEmpty {
        complete(&world, i)
        again = true
      }
      if let k = world.flights.firstIndex(where: {
        reaching.contains($0.message.to) && reaching.contains($0.message.from)
      }) {
        deliver(&world, k)
        again = true
      }
    }
    for i in world.nodes.indices where world.nodes[i].replica.isLeader {
      step(&world, i) { replica, actions in replica.expose(now: Self.later, into: &actions) }
    }
  }

  private func index(_ id: NodeID) -> Int { Int(id.rawValue) - 1 }

  private mutating func propose(_ world: inout World, at i: Int) {
    let replica = world.nodes[i].replica
    let entry = makeEntry(replica.last + 1, replica.lastChain, replica.ballot, .command)
    step(&world, i) { replica, actions in _ = replica.propose(entry, now: Self.now, into: &actions) }
  }

  private func makeEntry(_ slot: SlotNumber, _ previous: Chain, _ origin: Ballot, _ kind: EntryKind) -> Entry {
    let low = mix(mix(previous.low, slot, 1), origin.round, origin.node.rawValue)
    return Entry(slot: slot, chain: Chain(high: 1, low: low), origin: origin, sizeBytes: 1, kind: kind)
  }

  private mutating func step(_ world: inout World, _ i: Int, _ input: (inout Replica, inout Actions) -> Void) {
    var actions = Actions()
    input(&world.nodes[i].replica, &actions)
    while !actions.isEmpty {
      let now = actions
      actions = Actions()
      for persist in now.persists {
        world.nodes[i].store.submit(persist, Array(now.entries[persist.entries]))
        world.nodes[i].tokens.append(persist.token)
        for vow in now.vows[persist.vows] { world.nodes[i].vows.append((persist.token.sequence, vow)) }
      }
      for notice in now.notices { post(&world, i, notice) }
      for build in now.builds {
        let entry = makeEntry(build.slot, build.previous, build.origin, build.kind)
        world.nodes[i].replica.built(entry, now: Self.now, into: &actions)
      }
    }
    observe(&world, i)
  }

  private func post(_ world: inout World, _ i: Int, _ envelope: NoticeEnvelope) {
    switch envelope.notice {
    case .heartbeat, .heartbeatAck, .preVote, .preVoteReply, .refused, .acceptRefused, .missing: return
    default: break
    }
    var records: [Entry] = []
    for k in 0..<UInt64(envelope.recordCount) {
      if let entry = world.nodes[i].replica.entry(at: envelope.firstRecord + k) { records.append(entry) }
    }
    let message = Message(
      cluster: cluster, from: world.nodes[i].replica.id, to: envelope.to, epoch: envelope.epoch,
      content: .notice(envelope.notice))
    let flight = Flight(message: message, records: records)
    if !world.flights.contains(flight) { world.flights.append(flight) }
  }

  private mutating func deliver(_ world: inout World, _ k: Int) {
    let flight = world.flights.remove(at: k)
    step(&world, index(flight.message.to)) { replica, actions in
      replica.receive(flight.message, records: flight.records, now: Self.now, into: &actions)
    }
  }

  private mutating func complete(_ world: inout World, _ i: Int) {
    let token = world.nodes[i].tokens.removeFirst()
    world.nodes[i].store.completeFirst()
    while let vow = world.nodes[i].vows.first, vow.sequence <= token.sequence {
      world.nodes[i].vows.removeFirst()
      let message = Message(
        cluster: cluster, from: world.nodes[i].replica.id, to: vow.envelope.to, epoch: vow.envelope.epoch,
        content: .vow(vow.envelope.vow))
      world.flights.append(Flight(message: message, records: []))
    }
    step(&world, i) { replica, actions in replica.persisted(token, now: Self.now, into: &actions) }
  }

  private mutating func crash(_ world: inout World, _ i: Int) {
    let id = world.nodes[i].replica.id
    world.lives += 1
    world.nodes[i].store.dropWaiting()
    world.nodes[i].vows.removeAll()
    world.nodes[i].tokens.removeAll()
    world.nodes[i].replica = makeReplica(id, world.nodes[i].store.recovered, life: world.lives)
    observe(&world, i)
  }

  private mutating func observe(_ world: inout World, _ i: Int) {
    let replica = world.nodes[i].replica
    if let broken = replica.checkInvariants(), outcome.violation == nil { fail("\(replica.id): \(broken)") }
    var slot: SlotNumber = 1
    while slot <= replica.chosen {
      guard let chain = replica.chain(at: slot) else { break }
      if slot <= UInt64(world.chosen.count) {
        if world.chosen[Int(slot) - 1] != chain { fail("slot \(slot) is chosen twice, differently") }
      } else {
        world.chosen.append(chain)
      }
      slot += 1
    }
  }

  private mutating func fail(_ message: String) {
    guard outcome.violation == nil else { return }
    outcome.violation = message
    outcome.path = path
  }

  // MARK: The search

  private mutating func search(_ start: World) {
    explore(start, depth: 0)
  }

  private func fingerprint(_ world: World) -> Int {
    var hasher = Hasher()
    for node in world.nodes {
      node.replica.hashState(into: &hasher)
      node.store.hash(into: &hasher)
      hasher.combine(node.tokens.count)
      hasher.combine(node.vows.count)
    }
    // The order in flight does not matter.
    var sum = 0
    for flight in world.flights { sum &+= flight.hashValue }
    hasher.combine(sum)
    hasher.combine(world.crashes)
    hasher.combine(world.chosen)
    for (_, left) in world.campaigns.sorted(by: { $0.key < $1.key }) { hasher.combine(left) }
    return hasher.finalize()
  }

  private mutating func explore(_ world: World, depth: Int) {
    guard outcome.violation == nil else { return }
    guard outcome.states < bounds.states else {
      outcome.isComplete = false
      return
    }
    guard seen.insert(fingerprint(world)).inserted else { return }
    outcome.states += 1
    outcome.deepest = max(outcome.deepest, depth)
    guard depth < bounds.depth else { return }
    for k in world.flights.indices {
      let flight = world.flights[k]
      attempt(world, depth, "\(flight.message.from) → \(flight.message.to) \(describe(flight.message, flight.records))")
      {
        $0.deliver(&$1, k)
      }
    }
    for i in world.nodes.indices {
      let id = world.nodes[i].replica.id
      if !world.nodes[i].tokens.isEmpty { attempt(world, depth, "\(id) write completes") { $0.complete(&$1, i) } }
      if world.crashes > 0, !world.nodes[i].tokens.isEmpty || world.nodes[i].replica.role != .follower {
        attempt(world, depth, "\(id) crashes") {
          $1.crashes -= 1
          $0.crash(&$1, i)
        }
      }
      if let left = world.campaigns[id], left > 0 {
        attempt(world, depth, "\(id) campaigns") {
          $1.campaigns[id] = left - 1
          $0.step(&$1, i) { replica, actions in replica.campaignNow(now: Self.now, into: &actions) }
        }
      }
      if world.nodes[i].replica.isLeader, world.nodes[i].replica.chosen < world.nodes[i].replica.last {
        attempt(world, depth, "\(id) waits for leases") {
          $0.step(&$1, i) { replica, actions in
            var copy = Actions()
            replica.expose(now: Self.later, into: &copy)
            actions = copy
          }
        }
      }
    }
  }

  private mutating func attempt(
    _ world: World, _ depth: Int, _ label: @autoclosure () -> String, _ move: (inout ModelCheck, inout World) -> Void
  ) {
    guard outcome.violation == nil else { return }
    var next = world
    path.append(label())
    move(&self, &next)
    explore(next, depth: depth + 1)
    path.removeLast()
  }
}

/// A store as a value, so that a search can branch.
struct StoreImage: Hashable {
  private var promised: Ballot
  private var accepted: Ballot
  private var chosen: SlotNumber = 0
  private var entries: [Entry] = []
  private var waiting: [Write] = []
  private let configuration: Configuration

  private struct Write: Hashable {
    var promised: Ballot
    var accepted: Ballot
    var chosen: SlotNumber
    var change: Change
    var entries: [Entry]
  }

  init(_ recovered: Recovered) {
    promised = recovered.promised
    accepted = recovered.accepted
    configuration = recovered.base.configuration
  }

  mutating func submit(_ persist: Persist, _ entries: [Entry]) {
    waiting.append(
      Write(
        promised: persist.promised, accepted: persist.accepted, chosen: persist.chosen, change: persist.change,
        entries: entries))
  }

  mutating func completeFirst() {
    let write = waiting.removeFirst()
    promised = write.promised
    accepted = write.accepted
    chosen = max(chosen, write.chosen)
    if case .replace(let slot) = write.change { entries.removeLast(max(0, entries.count - Int(slot))) }
    entries += write.entries
  }

  mutating func dropWaiting() { waiting.removeAll() }

  var recovered: Recovered {
    var recovered = Recovered(founding: configuration, chain: .zero)
    recovered.promised = promised
    recovered.accepted = accepted
    recovered.chosen = min(chosen, SlotNumber(entries.count))
    recovered.entries = entries
    return recovered
  }
}
