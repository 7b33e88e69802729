// Clients: each does one thing after another, and repeats what it is not sure of, perhaps elsewhere.

import Paxos

struct ClusterClient {
  let id: Int
  /// The request being made.
  var sequence: UInt64 = 1
  /// Since when, and where it was last proposed.
  var since: UInt64 = 0
  var outstanding = false
  init(id: Int) { self.id = id }
}

extension ClusterSimulation {
  func clientStep() throws(Violation) {
    queue.push(.client, at: time + clientDice.ticks(clientPause))
    let node = nodes[clientDice.below(nodes.count)]
    let leaders = nodes.filter { $0.replica?.isLeader ?? false && $0.pausedUntil <= time && !$0.isFrozen }
    let target = clientDice.chance(100) ? node : (clientDice.pick(leaders) ?? node)
    try observeStaleness(node)
    guard target.replica != nil, target.pausedUntil <= time, !target.isFrozen else { return }
    switch clientDice.below(10) {
    case 0..<6: propose(at: target, burst: 1 + clientDice.below(4))
    case 6..<8: try leaseRead(at: target)
    default: roundRead(at: clientDice.chance(300) ? node : target)
    }
    try perform(target)
    try observe(target)
  }

  private func propose(at node: ClusterNode, burst: Int) {
    for _ in 0..<burst {
      let k = clientDice.below(clients.count)
      if clients[k].outstanding {
        // Unsure of it: repeat the same request after a while.
        guard clients[k].since + 300_000 < time else { continue }
      }
      guard let replica = node.replica, replica.proposalRefusal == nil else { return }
      let entry = makeEntry(
        slot: replica.last + 1, previous: replica.lastChain, origin: replica.ballot, kind: .command,
        salt: UInt64(k) << 40 | clients[k].sequence,
        .command(Command(client: k, sequence: clients[k].sequence)))
      if node.replica?.propose(entry, now: node.local(time), into: &front) == nil {
        clients[k].outstanding = true
        clients[k].since = time
      }
    }
  }

  /// A command has been applied at a node that leads: its client knows.
  func acknowledge(_ command: Command) {
    guard clients.indices.contains(command.client), clients[command.client].sequence == command.sequence else { return }
    clients[command.client].sequence += 1
    clients[command.client].outstanding = false
    report.acknowledged += 1
  }

  private func leaseRead(at node: ClusterNode) throws(Violation) {
    guard let replica = node.replica else { return }
    let snapshot = node.machine.applied
    guard replica.leaseHolds(applied: snapshot, now: node.local(time)) else { return }
    report.leaseReads += 1
    if options.faults.contains(.clockBeyondBound) { return }
    let shown = SlotNumber(chosenChain.count - 1)
    if snapshot < shown {
      throw violation("I11: \(node.id) reads \(snapshot) by lease when \(shown) has been shown")
    }
    for other in nodes where other.index != node.index {
      if other.replica?.leaseHolds(applied: .max, now: other.local(time)) ?? false {
        throw violation("I11: \(node.id) and \(other.id) both hold a lease")
      }
    }
  }

  private func roundRead(at node: ClusterNode) {
    nonce += 1
    node.roundReads[nonce] = (SlotNumber(chosenChain.count - 1), nil)
    if node.replica?.read(nonce: nonce, now: node.local(time), into: &front) != nil { node.roundReads[nonce] = nil }
    if node.roundReads.count > 64, let oldest = node.roundReads.keys.min() { node.roundReads[oldest] = nil }
  }

  func readAnswered(_ node: ClusterNode, _ answer: ReadAnswer) {
    guard let read = node.roundReads.removeValue(forKey: answer.nonce), let slot = answer.slot else { return }
    report.roundReads += 1
    if slot < read.floor {
      stopAt = violation("I11: \(node.id) reads \(slot) by a round that began when \(read.floor) had been shown")
    }
  }
}
