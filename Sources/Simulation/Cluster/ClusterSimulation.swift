// A whole cluster on one thread, from one seed.
//
// Every step is one event: a message arrives, a clock ticks, a sync completes, a client does something, a fault strikes.
// The replicas are the production code. The driver here does what the production driver does, in the order that
// `Actions` prescribes. After each step the observer (ClusterObserver.swift) asserts the invariants for the node that moved,
// against what it remembers of the whole history.

import Log
import Paxos

package final class ClusterSimulation {
  package let options: ClusterOptions
  package var report = ClusterReport()
  let settings: Settings
  let cluster: ClusterID
  let genesis: Configuration

  var time: UInt64 = 0
  var queue = EventQueue()
  var nodes: [ClusterNode] = []
  var network: ClusterNetwork
  var front = Actions()
  var back = Actions()
  var records: [Entry] = []

  var networkDice: Dice
  var diskDice: Dice
  var clientDice: Dice
  var faultDice: [Dice]
  var scheduleDice: Dice

  var contents: [UInt64: Content] = [:]
  var previousChain: [UInt64: Chain] = [:]
  var forge = RecordForge()
  /// The greatest epoch that any stop record, chosen or not, announces.
  var newestStop: UInt32 = 1
  var proposals: [UInt64: Chain] = [:]
  /// Where each request had its effect.
  var effects: [Command: SlotNumber] = [:]
  var clients: [ClusterClient] = []
  var nonce: UInt64 = 0
  let clientPause: ClosedRange<UInt64>
  let checkpointEvery: UInt64

  // The observer's memory
  var chosenChain: [Chain] = [.zero]
  var chosenBallot: [Ballot] = [.zero]
  var chosenEpoch: [UInt32] = [0]
  var chosenTime: [UInt64] = [0]
  var digests: [UInt64] = [0]
  var configurations: [(start: SlotNumber, configuration: Configuration)] = []
  var proposed: [Ballot: NodeID] = [:]
  var diskWasDamaged = false
  var healed = false
  var nextNode: UInt64
  package var trace: [String] = []
  package var chart = SequenceChart()
  var stopAt: Violation?

  package init(_ options: ClusterOptions) {
    self.options = options
    let seed = options.seed
    networkDice = Dice(seed: seed, stream: 1)
    diskDice = Dice(seed: seed, stream: 2)
    clientDice = Dice(seed: seed, stream: 3)
    scheduleDice = Dice(seed: seed, stream: 4)
    faultDice = FaultKind.allCases.map { Dice(seed: seed, stream: 16 + UInt64($0.rawValue)) }
    var setup = Dice(seed: seed, stream: 5)
    cluster = ClusterID(high: seed, low: 0x5359_4E4F_44)
    settings = Self.smallSettings(&setup)
    clientPause = [200...4_000, 2_000...60_000, 200...3_000, 50_000...900_000][setup.below(4)]
    checkpointEvery = UInt64(20 + setup.below(150))
    let count = options.nodes
    let ids = (1...UInt64(count)).map { NodeID($0) }
    // Some clusters have a witness; quorums are the defaults, or any that meet.
    let witnesses = count >= 3 && setup.chance(250) && !options.isPlain ? [ids[count - 1]] : []
    var q2: Int?
    var q1: Int?
    if setup.chance(250), !options.isPlain {
      let replication = 1 + setup.below(count)
      q2 = replication
      q1 = min(count, count - replication + 1 + setup.below(2))
    }
    let voters = ids.filter { !witnesses.contains($0) }
    guard
      let genesis = try? Configuration(
        epoch: 1, voters: voters, witnesses: witnesses, electionQuorum: q1, replicationQuorum: q2)
    else { preconditionFailure("the drawn configuration is valid") }
    self.genesis = genesis
    nextNode = UInt64(count) + 1
    network = ClusterNetwork(setup: &setup, faults: options.faults)
    configurations = [(0, genesis)]
    for id in ids { addNode(id, &setup) }
    clients = (0..<(options.clients ?? 1 + setup.below(16))).map { ClusterClient(id: $0) }
    for node in nodes { start(node) }
    queue.push(.client, at: 1000)
    queue.push(.nemesis, at: 100_000)
  }

  /// Bounds so small that every edge of them is met.
  static func smallSettings(_ dice: inout Dice) -> Settings {
    var settings = Settings()
    if dice.chance(400) { settings.lease = 1_200_000 }
    settings.windowEntries = 8
    settings.batchEntries = 4
    settings.unchosenEntries = 24
    settings.fetchEntries = 8
    settings.laggingEntries = 32
    // A record is 100 bytes: an answer every other tick.
    settings.catchUpBytesPerSecond = 20_000
    settings.catchUpStepBytes = 400
    settings.indexEntries = 64
    settings.retainedEntries = UInt64(dice.below(3) * 8)
    settings.pendingReads = 16
    settings.caughtUpRounds = 3
    settings.caughtUpEntries = 16
    return settings
  }

  static let tick: UInt64 = 20_000

  @discardableResult
  func addNode(_ id: NodeID, _ dice: inout Dice) -> ClusterNode {
    let founding = Recovered(founding: genesis, chain: .zero)
    let announced: (Chain) -> Configuration? = { [unowned self] chain in
      if case .stop(let configuration)? = self.contents[chain.low] { return configuration }
      return nil
    }
    let store: any ReplicaStore =
      options.usesLog
      ? LogStore(
        founding: founding, seed: options.seed &+ id.rawValue &* 7919,
        mutations: LogMutations(rawValue: options.logMutations), announced: announced
      ) { [unowned self] in
        self.forge.bytes[$0.low]
      } : ModelStore(founding: founding, announced: announced)
    var own = settings
    own.priority = UInt8(dice.below(4))
    let rate = options.faults.contains(.clockRate) ? Int64(dice.below(999)) - 499 : 0
    let node = ClusterNode(
      index: nodes.count, id: id, settings: own, store: store, offset: dice.ticks(1_000_000...900_000_000),
      rateMillionths: rate)
    nodes.append(node)
    network.grow(to: nodes.count)
    return node
  }

  // MARK: Life of a node

  func start(_ node: ClusterNode) {
    node.life += 1
    node.syncRunning = false
    node.submitted = 0
    node.syncThrough = 0
    node.armed = nil
    node.learnedCut = nil
    node.vows.removeAll()
    node.takingCheckpoint = nil
    node.incoming.removeAll()
    node.roundReads.removeAll()
    node.pausedUntil = 0
    let recovered = node.store.recover()
    node.amnesiac = recovered.amnesiac
    node.replica = Replica(
      id: node.id, cluster: cluster, settings: node.settings, recovered: recovered,
      seed: options.seed &+ UInt64(node.life) &* 977, now: node.local(time), mutation: options.mutation)
    node.machine = node.savedMachine
    observeStart(node)
    if let replica = node.replica { apply(node, through: replica.chosen, damaged: replica.damaged.first) }
    queue.push(.tick, at: time + 1, node: node.index, life: node.life)
    note(node, "starts: \(node.replica.map(describe) ?? "")")
  }

  func stop(_ node: ClusterNode) {
    guard node.replica != nil else { return }
    note(node, "crashes")
    node.store.crash(&diskDice)
    for incoming in node.incoming where incoming.machine.applied == node.store.checkpoint.point.slot {
      node.savedMachine = incoming.machine
    }
    node.replica = nil
    node.life += 1
  }

  // MARK: The loop

  /// Runs to the end, or to the first violation.
  package func run() -> ClusterReport {
    do {
      while report.steps < options.steps { try step() }
      if options.checksLiveness { try demandProgress() }
    } catch {
      report.violation = error
      note(nil, "VIOLATION \(error)")
    }
    report.simulatedTicks = time
    report.chosen = UInt64(chosenChain.count - 1)
    for node in nodes { report.digest = mix(report.digest, node.machine.digest, node.machine.applied) }
    report.digest = mix(report.digest, time, UInt64(report.steps))
    return report
  }

  func step() throws(Violation) {
    guard let event = queue.pop() else { throw violation("nothing is left to happen") }
    time = event.time
    report.steps += 1
    switch event.kind {
    case .deliver: try deliver(event)
    case .client: try clientStep()
    case .nemesis: try nemesisStep()
    default:
      let node = nodes[Int(event.node)]
      guard event.kind == .restart || (event.life == node.life && node.replica != nil) else { return }
      if event.kind != .restart, node.pausedUntil > time {
        queue.push(event.kind, at: node.pausedUntil, node: node.index, index: Int(event.index), life: event.life)
        return
      }
      try local(event, node)
    }
    if let stopAt { throw stopAt }
  }

  private func local(_ event: Event, _ node: ClusterNode) throws(Violation) {
    switch event.kind {
    case .tick:
      queue.push(.tick, at: time + Self.tick, node: node.index, life: node.life)
      guard !node.isFrozen else { return }
      node.replica?.tick(now: node.local(time), into: &front)
    case .syncDone:
      try syncDone(node)
    case .restart:
      if node.replica == nil, !node.isFrozen { start(node) }
    case .checkpointDone:
      guard let taking = node.takingCheckpoint else { return }
      node.takingCheckpoint = nil
      node.savedMachine = taking.machine
      node.store.saveCheckpoint(taking.checkpoint)
      node.replica?.checkpointed(taking.checkpoint.point, now: node.local(time), into: &front)
    case .transferDone:
      try transferDone(node, from: nodes[Int(event.index)])
    case .release:
      node.slowFactor = 1
    case .crash:
      stop(node)
      queue.push(.restart, at: time + diskDice.ticks(1_000...200_000), node: node.index)
      return
    case .deliver, .client, .nemesis: break
    }
    try perform(node)
    try observe(node)
  }

  // MARK: The driver

  /// Carries out what the replica asked for, and what that leads to.
  func perform(_ node: ClusterNode) throws(Violation) {
    while !front.isEmpty {
      swap(&front, &back)
      front.reset()
      for persist in back.persists {
        node.store.submit(persist, entries: back.entries[persist.entries])
        node.submitted = persist.token.sequence
        node.lastToken = persist.token
        for vow in back.vows[persist.vows] { node.vows.append((persist.token.sequence, vow)) }
        if case .install(let checkpoint, _) = persist.change { installed(node, checkpoint, persist.token.sequence) }
        if case .repair = persist.change { report.repairs += 1 }
        if case .replace(let after) = persist.change, !persist.ballotsChanged {
          node.learnedCut = min(node.learnedCut ?? .max, after)
        }
      }
      if !back.persists.isEmpty { try beginWrites(node) }
      for notice in back.notices { try send(notice, from: node) }
      if let through = back.apply { apply(node, through: through, damaged: nil) }
      if node.machine.applied > node.store.checkpoint.point.slot + checkpointEvery {
        takeCheckpoint(node, &diskDice)
      }
      if let truncate = back.truncate { node.store.truncate(truncate) }
      for read in back.reads { readAnswered(node, read) }
      if let wanted = back.wanted { beginTransfer(node, from: wanted.from) }
      if !back.builds.isEmpty { build(node) }
    }
  }

  /// A barrier behind nothing is durable at once; everything else waits for a sync.
  private func beginWrites(_ node: ClusterNode) throws(Violation) {
    if !node.syncRunning {
      for persist in back.persists {
        guard persist.change == .none, !persist.ballotsChanged else { break }
        node.syncThrough = persist.token.sequence
        node.syncToken = persist.token
        try syncDone(node)
      }
    }
    if node.submitted > node.syncThrough { beginSync(node) }
    guard let trap = node.armed else { return }
    let springs: Bool
    switch trap {
    case .ballots: springs = back.persists.contains { $0.ballotsChanged }
    case .replacement: springs = back.persists.contains { if case .replace = $0.change { true } else { false } }
    case .leadership: springs = node.replica?.isLeader ?? false
    }
    guard springs else { return }
    node.armed = nil
    let delay = trap == .leadership ? diskDice.ticks(1...40_000) : diskDice.ticks(1...300)
    queue.push(.crash, at: time + delay, node: node.index, life: node.life)
  }

  private func beginSync(_ node: ClusterNode) {
    guard !node.syncRunning else { return }
    node.syncRunning = true
    node.syncThrough = node.submitted
    node.syncToken = node.lastToken
    var latency = diskDice.ticks(40...400) * node.slowFactor
    if node.stuckUntil > time { latency = max(latency, node.stuckUntil - time) }
    queue.push(.syncDone, at: time + latency, node: node.index, life: node.life)
  }

  private func syncDone(_ node: ClusterNode) throws(Violation) {
    node.syncRunning = false
    let through = node.syncThrough
    node.store.complete(through: through)
    while let incoming = node.incoming.first, incoming.sequence <= through {
      node.savedMachine = incoming.machine
      node.incoming.removeFirst()
    }
    var sent = 0
    while sent < node.vows.count, node.vows[sent].sequence <= through {
      try send(node.vows[sent].envelope, from: node)
      sent += 1
    }
    node.vows.removeFirst(sent)
    // The replica learns the newest write that completed; with one queue that is what a group commit tells it.
    if let token = node.syncToken {
      node.replica?.persisted(token, now: node.local(time), into: &front)
    }
    if node.submitted > through, !node.syncRunning { beginSync(node) }
  }

  private func build(_ node: ClusterNode) {
    for build in back.builds {
      let content: Content = build.configuration.map { .stop($0) } ?? .leadership
      let entry = makeEntry(
        slot: build.slot, previous: build.previous, origin: build.origin, kind: build.kind, salt: 7, content)
      node.replica?.built(entry, stop: build.configuration, now: node.local(time), into: &front)
    }
  }

  func makeEntry(
    slot: SlotNumber, previous: Chain, origin: Ballot, kind: EntryKind, salt: UInt64, _ content: Content
  ) -> Entry {
    let low = mix(mix(previous.low, slot, salt), origin.round, origin.node.rawValue &+ UInt64(origin.epoch) << 32)
    var chain = Chain(high: mix(previous.high, low, slot) | 1, low: low)
    if options.usesLog {
      chain = forge.make(slot: slot, previous: previous, origin: origin, kind: kind, payload: payload(content))
    }
    contents[chain.low] = content
    if case .stop(let configuration) = content { newestStop = max(newestStop, configuration.epoch) }
    previousChain[chain.low] = previous
    if proposals.updateValue(chain, forKey: mix(slot, origin.round << 8 | origin.node.rawValue, UInt64(origin.epoch)))
      != nil
    {
      stopAt = violation("I5: two records for slot \(slot) under \(origin)")
    }
    return Entry(slot: slot, chain: chain, origin: origin, sizeBytes: 100, kind: kind)
  }

  private func payload(_ content: Content) -> [UInt8] {
    var bytes: [UInt8] = []
    switch content {
    case .command(let command):
      for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: command.sequence >> shift)) }
      bytes.append(UInt8(truncatingIfNeeded: command.client))
    case .leadership: break
    case .stop(let configuration): configuration.encode(into: &bytes)
    }
    return bytes
  }

  func apply(_ node: ClusterNode, through end: SlotNumber, damaged: SlotNumber?) {
    guard let replica = node.replica, !replica.configuration.isWitness(node.id) else { return }
    let limit = damaged.map { min(end, $0 - 1) } ?? end
    while node.machine.applied < limit {
      let slot = node.machine.applied + 1
      guard let entry = node.replica?.entry(at: slot) ?? node.store.durableEntry(at: slot) else { return }
      guard let content = contents[entry.chain.low] else { return }
      let effect = node.machine.apply(entry, content)
      applied(node, entry, content, effect: effect)
    }
  }

  private func beginTransfer(_ node: ClusterNode, from source: NodeID) {
    guard let from = nodes.firstIndex(where: { $0.id == source }) else { return }
    queue.push(
      .transferDone, at: time + diskDice.ticks(5_000...80_000), node: node.index, index: from, life: node.life)
  }

  private func transferDone(_ node: ClusterNode, from source: ClusterNode) throws(Violation) {
    guard source.replica != nil, network.passes(source.index, node.index),
      source.store.checkpoint.point.slot == source.savedMachine.applied
    else {
      node.replica?.transferProgress(failed: true, now: node.local(time))
      return
    }
    let checkpoint = source.store.checkpoint
    transferMachine = source.savedMachine
    _ = node.replica?.install(checkpoint, now: node.local(time), into: &front)
  }

  var transferMachine = ClusterMachine()

  private func installed(_ node: ClusterNode, _ checkpoint: Checkpoint, _ sequence: UInt64) {
    report.installs += 1
    node.incoming.append((transferMachine, sequence))
    node.takingCheckpoint = nil
    node.machine = transferMachine
    note(node, "installs a checkpoint at \(checkpoint.point.slot)")
  }

  func violation(_ message: String) -> Violation {
    Violation(seed: options.seed, step: report.steps, time: time, message: message)
  }
}
