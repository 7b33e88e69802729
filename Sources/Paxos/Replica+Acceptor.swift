// The acceptor: promise (1b) and accepted (2b).
//
//   promise   if ballot ≥ promised. Says what is accepted, where the log can be compared, and which lease is out.
//   accept    if ballot = accepted = promised, and the records follow on the log. No holes are ever stored.
//   sync      if ballot ≥ promised, and the records reach the end of the adopted log. What followed the common point is
//             replaced, and `accepted` raised, in one atomic write. Raising it first would let this log, cut short by a
//             crash, beat a longer one that was chosen.

extension Replica {
  func makePromise(_ ballot: Ballot) -> Promise {
    let remaining = grantUntil > now ? grantUntil - now : 0
    return Promise(
      ballot: ballot, accepted: accepted, last: log.last, chosen: chosen, samples: chainSamples(),
      certain: isLogCertain, leaseRemaining: remaining, leaseBallot: grantBallot)
  }

  /// Nothing above the chosen log is damaged or may be missing.
  var isLogCertain: Bool {
    if mutation == .damagedCountsAsAbsent { return true }
    return tailCertain && (damaged.last ?? 0) <= chosen
  }

  /// Where the log can be compared with another: the end, then twice as far each time, down to what is chosen.
  func chainSamples() -> [ChainPoint] {
    var samples: [ChainPoint] = []
    var distance: UInt64 = 0
    let floor = max(chosen, log.base.slot)
    while log.last >= distance, log.last - distance > floor {
      let slot = log.last - distance
      if let chain = log.chain(at: slot), chain != .zero || slot == 0 {
        samples.append(ChainPoint(slot: slot, chain: chain))
      }
      distance = distance == 0 ? 1 : distance * 2
    }
    if let chain = log.chain(at: floor) { samples.append(ChainPoint(slot: floor, chain: chain)) }
    return samples.reversed()
  }

  mutating func receivePrepare(_ ballot: Ballot, released: Ballot, from node: NodeID, _ actions: inout Actions) {
    guard ballot.node == node, configuration.isAcceptor(node), !amnesiac || mutation == .amnesiacVotes, !diskFailed
    else { return }
    noteRound(ballot)
    guard ballot >= promised || mutation == .promiseLowerBallot else {
      send(.refused(promised: promised), to: node, &actions)
      return
    }
    if ballot > promised {
      if role != .follower { stepDown(&actions) }
      electionDeadline = now + electionTimeout()
    }
    let promise = makePromise(ballot)
    promised = mutation == .promiseLowerBallot ? ballot : max(promised, ballot)
    let vows = actions.vows.count
    actions.vows.append(VowEnvelope(to: node, epoch: configuration.epoch, vow: .promise(promise)))
    persist(.none, entriesFrom: actions.entries.count, vowsFrom: vows, &actions)
  }

  mutating func receiveAccept(
    _ accept: Accept, records: [Entry], stop: Configuration?, from node: NodeID, _ actions: inout Actions
  ) {
    guard accept.ballot.node == node, configuration.isAcceptor(node), !diskFailed else { return }
    noteRound(accept.ballot)
    guard accept.ballot >= promised || mutation == .acceptLowerBallot else {
      send(.refused(promised: promised), to: node, &actions)
      return
    }
    guard accepted == accept.ballot || (mutation == .acceptLowerBallot && accept.ballot < promised) else {
      refuseAccept(accept.ballot, to: node, &actions)
      return
    }
    hearLeader(node, accept.ballot, healthy: true, &actions)
    appendAccepted(
      ballot: accept.ballot, previous: accept.previous, chosen: accept.chosen, records: records, stop: stop,
      from: node, &actions)
  }

  func refuseAccept(_ ballot: Ballot, to node: NodeID, _ actions: inout Actions) {
    send(.acceptRefused(ballot: ballot, accepted: accepted, last: log.last), to: node, &actions)
  }

  /// Records of the leader whose ballot this log has accepted.
  private mutating func appendAccepted(
    ballot: Ballot, previous: ChainPoint, chosen leaderChosen: SlotNumber, records: [Entry], stop: Configuration?,
    from node: NodeID, _ actions: inout Actions
  ) {
    guard previous.slot <= log.last else {
      refuseAccept(ballot, to: node, &actions)
      return
    }
    if let chain = log.chain(at: previous.slot), chain != previous.chain, mutation != .acceptWithoutChainCheck {
      refuseAccept(ballot, to: node, &actions)
      return
    }
    let start = actions.entries.count
    for record in records {
      if record.slot <= log.last {
        if let chain = log.chain(at: record.slot), chain != record.chain, chain != .zero,
          mutation != .acceptWithoutChainCheck
        {
          return refuseAccept(ballot, to: node, &actions)
        }
      } else {
        guard record.kind != .stop || stop != nil else { return }
        take(record, stop, &actions)
      }
    }
    let end = previous.slot + UInt64(records.count)
    vowAccepted(ballot, through: end, to: node, change: .append, entriesFrom: start, &actions)
    if let chain = log.chain(at: min(end, leaderChosen)) {
      learnChosen(
        ChainPoint(slot: min(end, leaderChosen), chain: chain), leaderBallot: ballot, from: node, &actions)
    }
  }

  /// Appends one record to the image of the log and to the write being made.
  mutating func take(_ record: Entry, _ stop: Configuration?, _ actions: inout Actions) {
    log.append(record)
    actions.entries.append(record)
    if record.kind == .stop, let stop { stops.append((record.slot, stop)) }
    lastProgress = now
  }

  /// Accepted through `end`, as far as every record is readable here.
  mutating func vowAccepted(
    _ ballot: Ballot, through end: SlotNumber, to node: NodeID, change: Change, entriesFrom: Int,
    _ actions: inout Actions
  ) {
    let vows = actions.vows.count
    // What is chosen here is in the leader's log; saying so spares records that this node has long had.
    let reached = max(end, chosen)
    let readable = damaged.first.map { min(reached, $0 - 1) } ?? reached
    if !amnesiac || mutation == .amnesiacVotes, let chain = log.chain(at: readable) {
      actions.vows.append(
        VowEnvelope(
          to: node, epoch: configuration.epoch,
          vow: .accepted(Accepted(ballot: ballot, point: ChainPoint(slot: readable, chain: chain)))))
    }
    persist(change, entriesFrom: entriesFrom, vowsFrom: vows, &actions)
    if mutation == .enterEpochWhenAccepted, let stop = pendingStop, stop.slot == log.last {
      chosen = stop.slot
      enterEpoch(stop.configuration, stopSlot: stop.slot, &actions)
    }
  }

  mutating func receiveAcceptSync(
    _ sync: AcceptSync, records: [Entry], stop: Configuration?, from node: NodeID, _ actions: inout Actions
  ) {
    guard sync.ballot.node == node, configuration.isAcceptor(node), !diskFailed, !amnesiac || !isAcceptor else {
      return
    }
    noteRound(sync.ballot)
    guard sync.ballot >= promised || mutation == .acceptLowerBallot else {
      send(.refused(promised: promised), to: node, &actions)
      return
    }
    let end = sync.previous.slot + UInt64(records.count)
    guard end >= sync.adoptedEnd, records.last?.kind != .stop || stop != nil else { return }
    if accepted == sync.ballot {
      hearLeader(node, sync.ballot, healthy: true, &actions)
      appendAccepted(
        ballot: sync.ballot, previous: sync.previous, chosen: sync.chosen, records: records, stop: stop, from: node,
        &actions)
      return
    }
    guard let cut = divergence(previous: sync.previous, records: records) else {
      refuseAccept(sync.ballot, to: node, &actions)
      return
    }
    if role != .follower, sync.ballot > promised { stepDown(&actions) }
    if role == .asking { role = .follower }
    promised = max(promised, sync.ballot)
    accepted = sync.ballot
    hearLeader(node, sync.ballot, healthy: true, &actions)
    let start = actions.entries.count
    replaceLog(after: cut, previous: sync.previous, records: records, stop: stop, &actions)
    vowAccepted(
      sync.ballot, through: end, to: node, change: .replace(after: cut), entriesFrom: start, &actions)
    if let chain = log.chain(at: min(end, sync.chosen)) {
      learnChosen(
        ChainPoint(slot: min(end, sync.chosen), chain: chain), leaderBallot: sync.ballot, from: node, &actions)
    }
  }

  /// The last slot at which this log agrees with `records` behind `previous`, cut to their end but never below what is
  /// chosen. Nil if they do not follow on this log, or contradict what is chosen.
  func divergence(previous: ChainPoint, records: [Entry]) -> SlotNumber? {
    guard previous.slot <= log.last, previous.slot >= log.base.slot,
      log.chain(at: previous.slot) == previous.chain || mutation == .acceptWithoutChainCheck
    else { return nil }
    var cut = previous.slot
    for record in records {
      guard let mine = log.entry(at: record.slot), mine.chain == record.chain, !isDamaged(record.slot) else { break }
      cut = record.slot
    }
    let end = previous.slot + UInt64(records.count)
    // Everything offered agrees, and more is known to be chosen: that stays.
    if cut == end { return mutation == .syncCutsChosen ? cut : max(cut, chosen) }
    if cut < chosen, mutation != .syncCutsChosen {
      // A damaged record may be replaced by its own copy; anything else would contradict what is chosen.
      guard isDamaged(cut + 1), end >= chosen,
        log.chain(at: chosen) == records[Int(chosen - previous.slot) - 1].chain
      else { return nil }
    }
    return cut
  }

  func isDamaged(_ slot: SlotNumber) -> Bool {
    guard !damaged.isEmpty else { return false }
    return damaged.contains(slot)
  }

  /// Cuts the log after `cut` and appends those of `records` that lie beyond.
  mutating func replaceLog(
    after cut: SlotNumber, previous: ChainPoint, records: [Entry], stop: Configuration?, _ actions: inout Actions
  ) {
    if mutation == .syncCutsChosen, cut < chosen { chosen = max(cut, log.base.slot) }
    log.truncate(after: cut)
    while let last = stops.last, last.slot > cut { stops.removeLast() }
    while let last = damaged.last, last > cut { damaged.removeLast() }
    tailCertain = true
    for record in records where record.slot > cut { take(record, stop, &actions) }
    // Nothing of the new log is durable before its write completes, which carries the new ballot.
    durableLast = 0
    lastProgress = now
  }
}
