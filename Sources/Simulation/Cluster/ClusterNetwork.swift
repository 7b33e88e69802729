// The network between simulated nodes: delays, losses, copies, and who can reach whom.

import Paxos

struct ClusterNetwork {
  struct Flight {
    var message: Message
    var records: [Entry]
    var stop: Configuration?
    var from: Int
    var to: Int
  }

  /// `blocked[from][to]`.
  private(set) var blocked: [[Bool]] = []
  private var slab: [Flight?] = []
  private var free: [Int] = []
  let lossPerMille: Int
  let duplicationPerMille: Int
  let delay: ClosedRange<UInt64>
  let tailPerMille: Int
  /// Messages of a link overtake each other; TCP's do not.
  let reorders: Bool
  private var lastArrival: [[UInt64]] = []

  init(setup: inout Dice, faults: Set<FaultKind>) {
    let loss = setup.below(4) == 0 ? 0 : setup.below(60)
    lossPerMille = faults.contains(.loss) ? loss : 0
    let copies = setup.below(40)
    duplicationPerMille = faults.contains(.duplication) ? copies : 0
    let least = UInt64(50 + setup.below(500))
    delay = least...(least + UInt64(1 + setup.below(3000)))
    tailPerMille = setup.below(setup.chance(200) ? 200 : 30)
    reorders = setup.chance(700)
  }

  mutating func grow(to count: Int) {
    for i in blocked.indices {
      blocked[i].append(false)
      lastArrival[i].append(0)
    }
    blocked.append(Array(repeating: false, count: count))
    lastArrival.append(Array(repeating: 0, count: count))
  }

  func passes(_ from: Int, _ to: Int) -> Bool { !blocked[from][to] }
  mutating func block(_ from: Int, _ to: Int, _ value: Bool) { blocked[from][to] = value }

  mutating func healAll() {
    for i in blocked.indices { for j in blocked.indices { blocked[i][j] = false } }
  }

  mutating func arrival(_ from: Int, _ to: Int, at time: UInt64, healed: Bool, _ dice: inout Dice) -> UInt64 {
    var at = time + dice.ticks(delay)
    if !healed, dice.chance(tailPerMille) { at += dice.ticks(1_000...(dice.chance(100) ? 900_000 : 60_000)) }
    if !reorders { at = max(at, lastArrival[from][to] + 1) }
    lastArrival[from][to] = max(lastArrival[from][to], at)
    return at
  }

  mutating func store(_ flight: Flight) -> Int {
    if let index = free.popLast() {
      slab[index] = flight
      return index
    }
    slab.append(flight)
    return slab.count - 1
  }

  mutating func take(_ index: Int) -> Flight? {
    defer {
      slab[index] = nil
      free.append(index)
    }
    return slab[index]
  }
}

extension ClusterSimulation {
  func send(_ envelope: NoticeEnvelope, from node: ClusterNode) throws(Violation) {
    var carried: [Entry] = []
    var stop: Configuration?
    if envelope.recordCount > 0 {
      (carried, stop) = load(node, envelope)
      if carried.isEmpty { return }
    }
    let message = Message(
      cluster: cluster, from: node.id, to: envelope.to, epoch: envelope.epoch, content: .notice(envelope.notice))
    post(message, carried, stop, from: node)
  }

  /// Puts the records in, as the production driver does from its log.
  private func load(_ node: ClusterNode, _ envelope: NoticeEnvelope) -> ([Entry], Configuration?) {
    var carried: [Entry] = []
    carried.reserveCapacity(Int(envelope.recordCount))
    for offset in 0..<UInt64(envelope.recordCount) {
      let slot = envelope.firstRecord + offset
      guard let entry = node.replica?.entry(at: slot) ?? node.store.durableEntry(at: slot) else { break }
      carried.append(entry)
      if entry.kind == .stop, case .stop(let configuration)? = contents[entry.chain.low] {
        return (carried, configuration)
      }
    }
    return (carried, nil)
  }

  func send(_ envelope: VowEnvelope, from node: ClusterNode) throws(Violation) {
    try observeVow(envelope.vow, of: node)
    post(
      Message(cluster: cluster, from: node.id, to: envelope.to, epoch: envelope.epoch, content: .vow(envelope.vow)),
      [], nil, from: node)
  }

  private func post(_ message: Message, _ carried: [Entry], _ stop: Configuration?, from node: ClusterNode) {
    guard let to = nodeIndex(message.to), network.passes(node.index, to) else {
      if options.traces { trace(message, carried, arrives: nil) }
      return
    }
    if networkDice.chance(healed ? 0 : network.lossPerMille) {
      if options.traces { trace(message, carried, arrives: nil) }
      return
    }
    let copies = networkDice.chance(healed ? 0 : network.duplicationPerMille) ? 2 : 1
    for _ in 0..<copies {
      let at = network.arrival(node.index, to, at: time, healed: healed, &networkDice)
      if options.traces { trace(message, carried, arrives: at) }
      let index = network.store(
        ClusterNetwork.Flight(message: message, records: carried, stop: stop, from: node.index, to: to))
      queue.push(.deliver, at: at, node: to, index: index)
    }
  }

  func nodeIndex(_ id: NodeID) -> Int? {
    // Identities are given out in order.
    let index = Int(id.rawValue) - 1
    return index >= 0 && index < nodes.count ? index : nil
  }

  func deliver(_ event: Event) throws(Violation) {
    let node = nodes[Int(event.node)]
    if node.pausedUntil > time {
      queue.push(.deliver, at: node.pausedUntil, node: node.index, index: Int(event.index))
      return
    }
    guard let flight = network.take(Int(event.index)) else { return }
    guard node.replica != nil, !node.isFrozen, network.passes(flight.from, flight.to), linked(flight) else { return }
    node.replica?.receive(
      flight.message, records: flight.records, stop: flight.stop, now: node.local(time), into: &front)
    try perform(node)
    try observe(node)
  }

  /// What the driver verifies: the first record names the previous chain that the message claims.
  private func linked(_ flight: ClusterNetwork.Flight) -> Bool {
    guard let first = flight.records.first, case .notice(let notice) = flight.message.content else { return true }
    let previous: ChainPoint
    switch notice {
    case .accept(let accept): previous = accept.previous
    case .acceptSync(let sync): previous = sync.previous
    case .records(let reply): previous = reply.previous
    default: return true
    }
    guard let link = previousChain[first.chain.low] else { return true }
    return link == previous.chain || options.mutation == .acceptWithoutChainCheck
  }
}
