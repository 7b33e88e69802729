// Handing leadership over.
//
// The leader takes no more proposals, waits until the target has everything, gives its lease up for good, and tells the
// target to campaign at once. The target's prepare names the ballot whose lease was released, so that grants of it need
// not be waited out. A leader whose target does nothing campaigns again itself: a released lease never comes back within
// its ballot.

struct Transfer: Sendable {
  var target: NodeID
  var deadline: Ticks
  var ordered: Bool
}

/// Why a transfer is not begun.
package enum TransferRefusal: Error, Hashable, Sendable {
  case notLeader(NodeID?)
  /// The epoch is ending, or a transfer goes on.
  case busy
  /// Not a voter of this configuration, or silent.
  case unfitTarget(NodeID)
}

extension Replica {
  /// Begins to hand leadership to a voter.
  package mutating func transferLeadership(
    to target: NodeID, now time: Ticks, into actions: inout Actions
  ) -> TransferRefusal? {
    advance(to: time)
    guard role == .leader else { return .notLeader(leader) }
    guard transfer == nil, pendingStop == nil, buildPending == nil else { return .busy }
    guard let i = peerIndex(target), peers[i].isAcceptor, !peers[i].isWitness, peers[i].diskFit,
      peers[i].ackedAt + settings.election >= now
    else { return .unfitTarget(target) }
    transfer = Transfer(target: target, deadline: now + settings.transferTimeout, ordered: false)
    considerHandOver(&actions)
    return nil
  }

  /// Orders the campaign once the target has the whole log.
  mutating func considerHandOver(_ actions: inout Actions) {
    guard var pending = transfer, !pending.ordered, let i = peerIndex(pending.target), peers[i].match == log.last,
      chosen == log.last, log.last >= readBarrier
    else { return }
    pending.ordered = true
    transfer = pending
    if mutation != .leaseKeptAcrossTransfer {
      leaseForfeited = true
      leaseUntil = 0
    }
    send(.timeoutNow(ballot: promised, last: log.last), to: pending.target, &actions)
  }

  mutating func transferTick(_ actions: inout Actions) {
    if let pending = transfer {
      considerHandOver(&actions)
      guard now >= pending.deadline else { return }
      transfer = nil
      if pending.ordered, leaseForfeited { campaign(&actions) }
    } else if configuration.isWitness(id), chosen >= readBarrier, pendingStop == nil {
      // A witness leads only to hand over, to the voter that has most.
      var best: Int?
      for i in peers.indices where peers[i].isAcceptor && !peers[i].isWitness {
        guard peers[i].diskFit, peers[i].ackedAt + settings.election >= now else { continue }
        if best.map({ peers[i].match > peers[$0].match }) ?? true { best = i }
      }
      if let best { _ = transferLeadership(to: peers[best].id, now: now, into: &actions) }
    }
  }
}
