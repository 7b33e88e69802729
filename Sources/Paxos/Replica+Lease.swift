// Leases and linearizable reads.
//
//   leader   t0 ──heartbeat(round)──▶ voter: grants for lease·(1+ε) from receipt, by its own clock
//            ◀──ack(round)──────────
//            q2 acks ⇒ relies on the lease until t0 + lease·(1−ε), by its own clock
//
// Grants do not block elections. A promise reports the grant that is out; the new leader runs phase 1 and phase 2 at
// once, and only keeps what its ballot chooses from showing until the grant must have expired (deferred commit).
// Every q1 meets the q2 that granted, so the report cannot be missed; a voter that restarted reports a full grant.
// The only assumption is that clock *rates* differ by at most ε; no two clocks need agree on the time.
//
// The order that a reader must keep: take the snapshot, then look at the clock, then ask `leaseHolds`.
//
// A read by round (ReadIndex, Ongaro §6.4) asks q2 voters whether they still hold to this ballot; reads that arrive
// while a round is out share the next one.

/// A read that waits for a round.
struct PendingRead: Sendable {
  var nonce: UInt64
  /// The node that asked, or nil for this one.
  var requester: NodeID?
  var slot: SlotNumber
  var round: UInt64
}

/// Why a read is not taken.
package enum ReadRefusal: Error, Hashable, Sendable {
  case notLeader(NodeID?)
  /// The first record of this leadership is not chosen yet, or too many reads wait. Ask again soon.
  case notReady
}

extension Replica {
  /// A snapshot taken before this call, of everything through `applied`, is linearizable.
  /// - Parameter now: read from the clock *after* the snapshot was taken.
  package func leaseHolds(applied: SlotNumber, now time: Ticks) -> Bool {
    guard role == .leader, !leaseForfeited, time < leaseUntil, pendingStop == nil else { return false }
    if mutation == .readBeforeLeadershipRecord { return true }
    return chosen >= readBarrier && applied >= readBarrier && applied >= chosen
  }

  /// Asks for a linearizable read; the answer comes as an action.
  package mutating func read(nonce: UInt64, now time: Ticks, into actions: inout Actions) -> ReadRefusal? {
    advance(to: time)
    guard role == .leader else {
      guard let leader, leader != id, peerIndex(leader) != nil else { return .notLeader(nil) }
      send(.readIndex(nonce: nonce), to: leader, &actions)
      return nil
    }
    return enqueueRead(nonce, nil, &actions)
  }

  private mutating func enqueueRead(_ nonce: UInt64, _ requester: NodeID?, _ actions: inout Actions) -> ReadRefusal? {
    let ready = chosen >= readBarrier || mutation == .readBeforeLeadershipRecord
    guard ready, pendingReads.count < settings.pendingReads else { return .notReady }
    if mutation == .readWithoutRound {
      answer(PendingRead(nonce: nonce, requester: requester, slot: chosen, round: 0), &actions)
      return nil
    }
    let out = pendingReads.contains { $0.round <= round }
    pendingReads.append(PendingRead(nonce: nonce, requester: requester, slot: chosen, round: round + 1))
    if !out { beat(&actions) }
    return nil
  }

  mutating func receiveReadIndex(_ nonce: UInt64, from node: NodeID, _ actions: inout Actions) {
    guard role == .leader, enqueueRead(nonce, node, &actions) == nil else {
      send(.readIndexReply(nonce: nonce, slot: nil), to: node, &actions)
      return
    }
  }

  private func answer(_ read: PendingRead, _ actions: inout Actions) {
    if let node = read.requester {
      send(.readIndexReply(nonce: read.nonce, slot: read.slot), to: node, &actions)
    } else {
      actions.reads.append(ReadAnswer(nonce: read.nonce, slot: read.slot))
    }
  }

  func refuseRead(_ read: PendingRead, _ actions: inout Actions) {
    if let node = read.requester {
      send(.readIndexReply(nonce: read.nonce, slot: nil), to: node, &actions)
    } else {
      actions.reads.append(ReadAnswer(nonce: read.nonce, slot: nil))
    }
  }

  mutating func receiveHeartbeatAck(_ ack: HeartbeatAck, from node: NodeID, _ actions: inout Actions) {
    guard let i = peerIndex(node) else { return }
    peers[i].sent = ack.sent
    if ack.echo <= now, ack.echo >= started {
      peers[i].roundTrip = max(peers[i].roundTrip, ack.echo)
      peers[i].delay = max(now - ack.echo, 1)
    }
    guard role == .leader, ack.ballot == promised, ack.round <= round else { return }
    peers[i].ackedAt = now
    peers[i].nearHead = ack.last + settings.caughtUpEntries >= log.last ? peers[i].nearHead + 1 : 0
    if ack.accepted != promised, peers[i].progress == .streaming { probe(i, &actions) }
    guard ack.granted, ack.round > peers[i].ackedRound else { return }
    peers[i].ackedRound = ack.round
    countRounds(&actions)
  }

  /// The greatest round that q2 voters answered renews the lease and confirms reads.
  mutating func countRounds(_ actions: inout Actions) {
    var confirmed: UInt64 = 0
    if configuration.replicationQuorum == 1, isAcceptor { confirmed = round }
    for peer in peers where peer.isAcceptor && peer.ackedRound > confirmed {
      var count = isAcceptor ? 1 : 0
      for other in peers where other.isAcceptor && other.ackedRound >= peer.ackedRound { count += 1 }
      if count >= replicationQuorum { confirmed = peer.ackedRound }
    }
    guard confirmed > 0, confirmed + 15 > round, confirmed <= round, !roundSent.isEmpty else { return }
    if !leaseForfeited, pendingStop == nil, confirmed >= firstRound {
      let from = mutation == .leaseFromReceipt ? now : roundSent[Int(confirmed & 15)]
      leaseUntil = max(leaseUntil, from + settings.reliance)
    }
    guard !pendingReads.isEmpty else { return }
    var waiting = false
    var kept = 0
    for k in pendingReads.indices {
      let read = pendingReads[k]
      if read.round <= confirmed {
        answer(read, &actions)
      } else {
        if read.round > round { waiting = true }
        pendingReads[kept] = read
        kept += 1
      }
    }
    pendingReads.removeSubrange(kept...)
    if waiting, confirmed == round { beat(&actions) }
  }
}
