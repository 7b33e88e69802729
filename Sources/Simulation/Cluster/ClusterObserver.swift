// What must never happen, asserted after every step for the node that moved.
//
// The observer sees all nodes and remembers the whole history: which record is chosen at each slot, who showed it first, under
// which ballot and when. Numbers refer to docs/paxos.md. Each check is O(nodes), so that speed buys seeds.

import Paxos

extension ClusterSimulation {
  func observeStart(_ node: ClusterNode) {
    guard let replica = node.replica else { return }
    if !replica.amnesiac, replica.promised < node.store.durablePromised {
      stopAt = violation("I3: \(node.id) forgot its promise")
    }
    node.seenPromised = replica.promised
    node.seenAccepted = replica.accepted
    node.seenChosen = replica.chosen
    node.seenRole = .follower
    node.seenLast = .max
    if let chain = replica.chain(at: replica.chosen), replica.chosen < UInt64(chosenChain.count), replica.chosen > 0,
      chain != chosenChain[Int(replica.chosen)], chain != .zero
    {
      stopAt = violation("I1: \(node.id) recovered another record at chosen slot \(replica.chosen)")
    }
    if replica.chosen >= UInt64(chosenChain.count) {
      stopAt = violation("I1: \(node.id) believes slot \(replica.chosen) chosen at recovery")
    }
  }

  func observe(_ node: ClusterNode) throws(Violation) {
    guard let replica = node.replica else { return }
    if let broken = replica.checkInvariants() { throw violation("\(node.id): \(broken)") }
    if let broken = node.store.failure { throw violation("I9: \(node.id): \(broken)") }
    if replica.promised < node.seenPromised || replica.accepted < node.seenAccepted {
      throw violation(
        "I3: \(node.id) went back from promised \(node.seenPromised), accepted \(node.seenAccepted) to \(replica.promised), \(replica.accepted)"
      )
    }
    node.seenPromised = replica.promised
    if replica.chosen != node.seenChosen { try observeChosen(node, replica) }
    let changed =
      replica.last != node.seenLast || replica.lastChain != node.seenLastChain || replica.accepted != node.seenAccepted
    if changed {
      node.seenLast = replica.last
      node.seenLastChain = replica.lastChain
      node.seenAccepted = replica.accepted
      try observeLog(node, replica)
    }
    if replica.role != node.seenRole || replica.configuration.epoch != node.seenEpoch {
      try observeStanding(node, replica)
    }
    if node.wasMember, replica.mayLeave, !node.isFrozen {
      node.isFrozen = true
      note(node, "is removed")
    }
    if node.store.durableBase > node.store.checkpoint.point.slot, !replica.configuration.isWitness(node.id) {
      throw violation("I15: \(node.id) truncated through \(node.store.durableBase) without a checkpoint there")
    }
    if replica.isLeader, replica.last - replica.chosen > UInt64(2 * settings.unchosenEntries + 4 + report.elections) {
      throw violation("I26: \(node.id) has \(replica.last - replica.chosen) records not chosen")
    }
  }

  private func observeStanding(_ node: ClusterNode, _ replica: Replica) throws(Violation) {
    if replica.isLeader, node.seenRole != .leader {
      report.elections += 1
      if proposed.updateValue(node.id, forKey: replica.ballot) != nil {
        throw violation("I5: ballot \(replica.ballot) led twice")
      }
      if node.amnesiac { throw violation("I23: \(node.id) leads after forgetting its vows") }
    }
    if options.traces, replica.role != node.seenRole { note(node, "is \(replica.role), ballot \(replica.ballot)") }
    node.seenRole = replica.role
    node.seenEpoch = replica.configuration.epoch
    let member = replica.configuration.isMember(node.id)
    if member {
      node.wasMember = true
    }
  }

  private func observeChosen(_ node: ClusterNode, _ replica: Replica) throws(Violation) {
    if replica.chosen < node.seenChosen {
      throw violation("I2: \(node.id) took back what was chosen, \(node.seenChosen) to \(replica.chosen)")
    }
    var slot = node.seenChosen + 1
    while slot <= replica.chosen {
      if let chain = replica.chain(at: slot), chain != .zero {
        if slot < UInt64(chosenChain.count) {
          if chain != chosenChain[Int(slot)] {
            throw violation("I1: \(node.id) has \(chain) chosen at \(slot), others \(chosenChain[Int(slot)])")
          }
        } else {
          try observeFirst(node, replica, slot, chain)
        }
      }
      slot += 1
    }
    node.seenChosen = replica.chosen
  }

  /// A slot shows as chosen for the first time.
  private func observeFirst(
    _ node: ClusterNode, _ replica: Replica, _ slot: SlotNumber, _ chain: Chain
  ) throws(Violation) {
    guard slot == UInt64(chosenChain.count) else { throw violation("I1: \(node.id) skips to slot \(slot)") }
    guard let entry = replica.entry(at: slot) ?? node.store.durableEntry(at: slot),
      let configuration = configurations.last?.configuration
    else { return }
    if entry.origin.epoch != configuration.epoch {
      throw violation("I13: slot \(slot) of epoch \(entry.origin.epoch) chosen in epoch \(configuration.epoch)")
    }
    if !diskWasDamaged {
      var holders = 0
      let ballot = replica.isLeader ? replica.ballot : .zero
      for id in configuration.voters + configuration.witnesses {
        guard let index = nodeIndex(id) else { continue }
        let store = nodes[index].store
        guard store.durableAccepted >= ballot else { continue }
        if store.durableBase >= slot || store.durableEntry(at: slot)?.chain == chain { holders += 1 }
      }
      if holders < configuration.replicationQuorum {
        throw violation("I4: slot \(slot) shows as chosen on \(node.id), and \(holders) acceptors hold it")
      }
    }
    if !options.faults.contains(.clockBeyondBound) {
      for other in nodes where other.index != node.index {
        if other.replica?.leaseHolds(applied: .max, now: other.local(time)) ?? false {
          throw violation("I12: \(node.id) shows slot \(slot) while \(other.id) holds a lease")
        }
      }
    }
    chosenChain.append(chain)
    // The ballot before this step: the step may have begun the next epoch.
    chosenBallot.append(max(node.seenAccepted, entry.origin))
    chosenEpoch.append(entry.origin.epoch)
    chosenTime.append(time)
    if case .stop(let next)? = contents[chain.low] {
      configurations.append((slot, next))
      report.reconfigurations += 1
    }
  }

  /// The log of a node is another than before.
  private func observeLog(_ node: ClusterNode, _ replica: Replica) throws(Violation) {
    let newest = UInt64(chosenChain.count - 1)
    var slot = min(replica.last, newest)
    var mismatch: SlotNumber?
    while slot > 0, let chain = replica.chain(at: slot), chain != chosenChain[Int(slot)], chain != .zero {
      mismatch = slot
      slot -= 1
    }
    if let mismatch {
      if replica.accepted >= chosenBallot[Int(mismatch)] {
        throw violation(
          "I2: \(node.id) accepted \(replica.accepted) and has another record at \(mismatch), chosen under \(chosenBallot[Int(mismatch)])"
        )
      }
    } else if replica.last < newest, replica.tailCertain, !replica.amnesiac,
      replica.accepted > chosenBallot[Int(replica.last + 1)]
    {
      throw violation(
        "I2: \(node.id) accepted \(replica.accepted) and lacks slot \(replica.last + 1), chosen under \(chosenBallot[Int(replica.last + 1)])"
      )
    }
    for other in nodes where other.index != node.index {
      guard let peer = other.replica, peer.accepted == replica.accepted, !peer.amnesiac, !replica.amnesiac else {
        continue
      }
      let end = min(peer.last, replica.last)
      guard end > max(peer.chosen, replica.chosen), let a = replica.chain(at: end), let b = peer.chain(at: end) else {
        continue
      }
      // A record learned as chosen elsewhere is not the ballot's; see P5.
      if end <= newest, a == chosenChain[Int(end)] || b == chosenChain[Int(end)] { continue }
      if a != b, a != .zero, b != .zero {
        throw violation("I6: \(node.id) and \(other.id) accepted \(replica.accepted) and differ at \(end)")
      }
    }
  }

  /// A vow leaves its node.
  func observeVow(_ vow: Vow, of node: ClusterNode) throws(Violation) {
    let store = node.store
    if node.amnesiac, configurations.last?.configuration.isAcceptor(node.id) ?? false {
      throw violation("I23: \(node.id) votes after forgetting its vows")
    }
    switch vow {
    case .promise(let promise):
      if store.durablePromised < promise.ballot {
        throw violation("I4: \(node.id) promises \(promise.ballot), durable is \(store.durablePromised)")
      }
      if promise.certain, let replica = node.replica, !replica.tailCertain, replica.isMemberAcceptor {
        throw violation("I22: \(node.id) vouches for a log whose end it does not know")
      }
      if let start = configurations.first(where: { $0.configuration.epoch == promise.ballot.epoch })?.start {
        if store.durableLast < start, store.checkpoint.point.slot < start {
          throw violation("I14: \(node.id) votes in epoch \(promise.ballot.epoch) without the stop record")
        }
      } else {
        throw violation("I14: \(node.id) votes in epoch \(promise.ballot.epoch), which has not begun")
      }
    case .accepted(let accepted):
      if store.durableAccepted < accepted.ballot {
        throw violation("I4: \(node.id) says accepted \(accepted.ballot), durable is \(store.durableAccepted)")
      }
      guard store.durableAccepted == accepted.ballot, accepted.point.slot > (node.replica?.chosen ?? 0) else { return }
      let slot = accepted.point.slot
      // Replaced, in the same sync, by what was learned as chosen: then the vow is of no consequence.
      if let cut = node.learnedCut, slot > cut { return }
      if slot > store.durableBase, store.durableEntry(at: slot)?.chain != accepted.point.chain {
        throw violation("I4: \(node.id) says accepted through \(slot), which is not durable")
      }
    }
  }

  /// A record has been applied.
  func applied(_ node: ClusterNode, _ entry: Entry, _ content: Content, effect: Bool) {
    let slot = Int(entry.slot)
    if slot < digests.count {
      if digests[slot] != node.machine.digest { stopAt = violation("I17: \(node.id) differs in state at slot \(slot)") }
    } else if slot == digests.count {
      digests.append(node.machine.digest)
      if effect, case .command(let command) = content, let before = effects.updateValue(entry.slot, forKey: command) {
        stopAt = violation("I18: request \(command) has an effect at \(before) and at \(slot)")
      }
    }
    if case .command(let command) = content, node.replica?.isLeader ?? false { acknowledge(command) }
  }

  /// A follower that knows how stale it is, is no staler.
  func observeStaleness(_ node: ClusterNode) throws(Violation) {
    guard let replica = node.replica, !replica.isLeader, !options.faults.contains(.clockBeyondBound) else { return }
    let slot = Int(node.machine.applied + 1)
    guard let age = replica.staleness(applied: node.machine.applied, now: node.local(time)), slot < chosenTime.count
    else { return }
    let bound = age + age / 500 + 2
    if chosenTime[slot] + bound < time {
      throw violation(
        "I21: \(node.id) claims to be \(age) µs stale; slot \(slot) showed \(time - chosenTime[slot]) ago")
    }
  }
}

extension Replica {
  var isMemberAcceptor: Bool { configuration.isAcceptor(id) }
}
