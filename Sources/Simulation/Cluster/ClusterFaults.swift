// What goes wrong, and why the cluster ought to survive it.
//
//   loss, duplication, delay    always on at the rates drawn for the seed
//   partition                   full, one node, one-way, a link that flaps, and the three partial shapes of Omni-Paxos
//   crash                       any number of nodes at a time; what no sync covered may be lost in part
//   pause                       a node stands still while its clock runs on (SIGSTOP, suspended machine)
//   slow and stuck disks        a leader must not lead without one
//   damage                      a durable record becomes unreadable; spared is only the last readable copy of a record
//   amnesia                     the ballots are lost; the node may not vote again. Only as many as leave both quorums
//   clock rates                 within the bound: nothing may break. Beyond it: only lease reads may

import Paxos

extension ClusterSimulation {
  func nemesisStep() throws(Violation) {
    queue.push(.nemesis, at: time + scheduleDice.ticks(options.faultPause))
    let kind = FaultKind.allCases[scheduleDice.below(FaultKind.allCases.count)]
    guard !healed, options.faults.contains(kind) else {
      return
    }
    let index = kind.rawValue
    var dice = faultDice[index]
    try strike(kind, &dice)
    faultDice[index] = dice
  }

  private func strike(_ kind: FaultKind, _ dice: inout Dice) throws(Violation) {
    let node = nodes[dice.below(nodes.count)]
    guard !node.isFrozen else { return }
    report.faults[kind, default: 0] += 1
    switch kind {
    case .loss, .duplication: break
    case .partition: partition(&dice)
    case .crash: crash(node, &dice)
    case .pause:
      node.pausedUntil = time + dice.ticks(10_000...1_500_000)
      note(node, "pauses for \((node.pausedUntil - time) / 1000) ms")
    case .slowDisk:
      node.slowFactor = UInt64(2 + dice.below(100))
      queue.push(.release, at: time + dice.ticks(100_000...2_000_000), node: node.index, life: node.life)
    case .stuckDisk: node.stuckUntil = time + dice.ticks(100_000...4_000_000)
    case .damage: damage(node, &dice)
    case .amnesia: forget(node, &dice)
    case .clockRate: break
    case .clockBeyondBound:
      if dice.chance(500) {
        node.offset += dice.ticks(0...2_000_000)
      } else {
        node.rateMillionths = Int64(dice.below(200_000))
      }
    case .transfer: try transfer(&dice)
    case .reconfiguration: try reconfigure(&dice)
    case .checkpoint: for node in nodes where dice.chance(700) { takeCheckpoint(node, &dice) }
    }
  }

  private func crash(_ node: ClusterNode, _ dice: inout Dice) {
    if dice.chance(400) {
      node.armed = Trap.allCases[dice.below(Trap.allCases.count)]
      return
    }
    let victims = dice.chance(80) ? nodes : [node]
    for victim in victims where victim.replica != nil && !victim.isFrozen {
      stop(victim)
      let down = dice.chance(500) ? dice.ticks(1_000...50_000) : dice.ticks(1_000...2_000_000)
      queue.push(.restart, at: time + down, node: victim.index)
    }
  }

  private func partition(_ dice: inout Dice) {
    if dice.chance(400) { return network.healAll() }
    let count = nodes.count
    let one = dice.below(count)
    switch dice.below(6) {
    case 0:
      let side = nodes.map { _ in dice.chance(500) }
      for i in 0..<count { for j in 0..<count where side[i] != side[j] { network.block(i, j, true) } }
    case 1:
      for j in 0..<count where j != one {
        network.block(one, j, true)
        network.block(j, one, true)
      }
    case 2:
      for j in 0..<count where dice.chance(500) { network.block(one, j, true) }
    case 3:
      let other = dice.below(count)
      let value = network.passes(one, other)
      network.block(one, other, value)
      network.block(other, one, value)
    case 4:
      // Quorum loss: everybody talks to one node only.
      for i in 0..<count { for j in 0..<count where i != j && i != one && j != one { network.block(i, j, true) } }
    default:
      // Chained: each talks to its neighbours.
      for i in 0..<count { for j in 0..<count where abs(i - j) > 1 { network.block(i, j, true) } }
    }
    note(nil, "partition")
  }

  /// Whether both quorums can do without `node`, and those that are impaired already.
  private func mayImpair(_ node: ClusterNode) -> Bool {
    guard let configuration = configurations.last?.configuration else { return false }
    // Some node, perhaps one that is down, may hold a stop record that will be chosen.
    guard newestStop == configuration.epoch, canSpare(node, in: configuration) else { return false }
    // As long as nobody else would remember that the epoch before is over, it may have to be lived through again.
    let isRemembered = configuration.members.contains { id in
      guard id != node.id, let index = nodeIndex(id) else { return false }
      let other = nodes[index]
      return !other.isFrozen && !other.amnesiac && !other.store.isDamaged
        && other.store.durablePromised.epoch == configuration.epoch
    }
    guard configurations.count > 1, !isRemembered else { return true }
    return canSpare(node, in: configurations[configurations.count - 2].configuration)
  }

  private func canSpare(_ victim: ClusterNode, in configuration: Configuration) -> Bool {
    let acceptors = configuration.voters + configuration.witnesses
    var impaired = 1
    for id in acceptors {
      guard let index = nodeIndex(id) else { continue }
      let node = nodes[index]
      if node.isFrozen || node.amnesiac || node.store.isDamaged || !(node.replica?.tailCertain ?? true) {
        impaired += 1
      }
    }
    let quorum = max(configuration.electionQuorum, configuration.replicationQuorum, configuration.nackQuorum)
    return acceptors.count - impaired >= quorum && configuration.voters.count - impaired >= 1
  }

  private func damage(_ node: ClusterNode, _ dice: inout Dice) {
    let store = node.store
    guard node.replica != nil, mayImpair(node), store.durableLast > store.durableBase else { return }
    stop(node)
    queue.push(.restart, at: time + dice.ticks(1_000...500_000), node: node.index)
    guard store.durableLast > store.durableBase else { return }
    let tail = dice.chance(300)
    let span = Int(min(store.durableLast - store.durableBase, 24))
    let newest = store.durableLast
    for _ in 0..<(tail ? 1 : 1 + dice.below(3)) {
      let slot = newest - UInt64(dice.below(span))
      guard let entry = store.durableEntry(at: slot) else { continue }
      let others = nodes.filter {
        $0.index != node.index && !$0.store.isDamaged
          && ($0.store.durableEntry(at: slot)?.chain == entry.chain || $0.store.checkpoint.point.slot >= slot)
      }
      guard !others.isEmpty else { continue }
      diskWasDamaged = true
      store.damage(slot: slot, tail: tail)
      note(node, "damage at slot \(slot)\(tail ? " and after" : "")")
    }
  }

  private func forget(_ node: ClusterNode, _ dice: inout Dice) {
    guard node.replica != nil, mayImpair(node), dice.chance(200) else { return }
    stop(node)
    queue.push(.restart, at: time + dice.ticks(1_000...500_000), node: node.index)
    diskWasDamaged = true
    node.amnesiac = true
    node.store.forgetBallots()
    note(node, "forgets its ballots")
  }

  private var leaders: [ClusterNode] { nodes.filter { $0.replica?.isLeader ?? false && !$0.isFrozen } }

  private func transfer(_ dice: inout Dice) throws(Violation) {
    guard let node = dice.pick(leaders), let replica = node.replica,
      let target = dice.pick(replica.configuration.voters)
    else { return }
    if node.replica?.transferLeadership(to: target, now: node.local(time), into: &front) == nil {
      report.transfers += 1
    }
    try perform(node)
    try observe(node)
  }

  func takeCheckpoint(_ node: ClusterNode, _ dice: inout Dice) {
    guard let replica = node.replica, node.takingCheckpoint == nil, node.incoming.isEmpty,
      !replica.configuration.isWitness(node.id), node.machine.applied > node.store.checkpoint.point.slot,
      let checkpoint = replica.checkpoint(at: node.machine.applied)
    else { return }
    node.takingCheckpoint = (node.machine, checkpoint)
    queue.push(.checkpointDone, at: time + dice.ticks(1_000...50_000), node: node.index, life: node.life)
  }

  private func reconfigure(_ dice: inout Dice) throws(Violation) {
    guard let node = dice.pick(leaders), let replica = node.replica else { return }
    let now = replica.configuration
    var voters = now.voters
    var learners = now.learners
    let witnesses = now.witnesses
    if let learner = learners.first, dice.chance(800) {
      learners.removeFirst()
      voters.append(learner)
      if dice.chance(600), voters.count > 2 { voters.remove(at: dice.below(voters.count - 1)) }
    } else if learners.isEmpty, nodes.count < options.nodes + 3, dice.chance(600) {
      let id = NodeID(nextNode)
      nextNode += 1
      start(addNode(id, &dice))
      learners.append(id)
    } else if voters.count > 2, dice.chance(400) {
      voters.remove(at: dice.below(voters.count))
    } else {
      learners.removeAll { _ in dice.chance(300) }
    }
    let next: Configuration
    do {
      let count = voters.count + witnesses.count
      let q2 = dice.chance(300) ? 1 + dice.below(count) : nil
      next = try Configuration(
        epoch: now.epoch + 1, voters: voters, witnesses: witnesses, learners: learners, replicationQuorum: q2)
    } catch { return }
    // An operator does not make a cluster of nodes that forgot.
    let healthy = (next.voters + next.witnesses).filter { id in
      guard let index = nodeIndex(id) else { return false }
      let node = nodes[index]
      return !node.amnesiac && !node.store.isDamaged && (node.replica?.tailCertain ?? true)
    }
    guard healthy.count >= max(next.electionQuorum, next.replicationQuorum, next.nackQuorum),
      next.voters.contains(where: { id in healthy.contains(id) })
    else { return }
    _ = node.replica?.reconfigure(to: next, now: node.local(time), into: &front)
    note(node, "is asked for \(next.voters), learners \(next.learners)")
    try perform(node)
    try observe(node)
  }

  // MARK: Liveness

  /// Heals everything, or a quorum-connected core only, and demands that requests finish in bounded time.
  func demandProgress() throws(Violation) {
    healed = true
    network.healAll()
    for node in nodes {
      node.slowFactor = 1
      node.stuckUntil = 0
      node.pausedUntil = 0
    }
    var core = nodes.filter { !$0.isFrozen }
    if scheduleDice.chance(500), let chosenCore = drawCore() {
      core = chosenCore
      // Perhaps one outside keeps talking and hears nobody, for ever; it may be the leader.
      let outside = nodes.filter { node in !node.isFrozen && !core.contains { $0.index == node.index } }
      let talker = scheduleDice.chance(500) ? outside.first { $0.replica?.isLeader ?? false } ?? outside.first : nil
      for node in outside {
        if node.index == talker?.index {
          for other in nodes.indices { network.block(other, node.index, true) }
        } else {
          stop(node)
          node.isFrozen = true
        }
      }
      note(nil, "heals a core: \(core.map(\.id)), heard from \(talker?.id.description ?? "nobody") too")
    } else {
      note(nil, "heals all")
    }
    for node in core where node.replica == nil { start(node) }
    let deadline = time + 30_000_000
    let before = report.acknowledged
    let chosenBefore = UInt64(chosenChain.count - 1)
    while true {
      try step()
      if report.acknowledged > before + 5, hasConverged(core, past: chosenBefore) { return }
      if time > deadline {
        throw violation("liveness: after healing, \(report.acknowledged - before) requests in 30 s; \(state())")
      }
    }
  }

  private func hasConverged(_ core: [ClusterNode], past slot: SlotNumber) -> Bool {
    guard let leader = core.first(where: { $0.replica?.isLeader ?? false })?.replica else { return false }
    for node in core where leader.configuration.isMember(node.id) {
      guard let replica = node.replica, replica.configuration.epoch == leader.configuration.epoch,
        replica.chosen > slot
      else { return false }
      if !leader.configuration.isWitness(node.id), node.machine.applied <= slot { return false }
    }
    return true
  }

  /// Enough acceptors of the newest configuration to make both quorums, all of them in its epoch and unimpaired.
  private func drawCore() -> [ClusterNode]? {
    guard let configuration = configurations.last?.configuration else { return nil }
    var candidates: [ClusterNode] = []
    for id in configuration.voters + configuration.witnesses {
      guard let index = nodeIndex(id) else { continue }
      let node = nodes[index]
      guard let replica = node.replica, !node.isFrozen else { return nil }
      guard replica.configuration == configuration, replica.pendingStop == nil, !node.amnesiac, !node.store.isDamaged,
        replica.damaged.isEmpty, replica.tailCertain
      else { return nil }
      candidates.append(node)
    }
    let size = max(configuration.electionQuorum, configuration.replicationQuorum)
    var core: [ClusterNode] = []
    while core.count < size, !candidates.isEmpty {
      core.append(candidates.remove(at: scheduleDice.below(candidates.count)))
    }
    guard core.contains(where: { configuration.voters.contains($0.id) }) else { return nil }
    // A witness keeps no state. Where it was brought up by a checkpoint's point, the voters beside it must have the rest.
    let behind = core.filter { configuration.voters.contains($0.id) }.compactMap { $0.replica?.chosen }.max() ?? 0
    for node in core where configuration.isWitness(node.id) && node.store.durableBase > behind { return nil }
    return core
  }

  func state() -> String {
    nodes.map { node in
      "\(node.id)\(node.isFrozen ? "(frozen)" : ""): \(node.replica.map(describe) ?? "down") applied \(node.machine.applied)"
    }
    .joined(separator: "; ")
  }
}
