// The leader: phase 2.
//
// Each follower is brought from `probing` (its log unknown) over `syncing` (it takes the adopted log) to `streaming`,
// where accepts are pipelined within a window of entries and bytes. The window opens by doubling and falls back to one
// entry after a loss. One message out and one back choose a slot; the news that it is chosen rides on what comes next.

/// Why a proposal is not taken. None changes state; the caller keeps the record or builds it anew.
package enum ProposalRefusal: Error, Hashable, Sendable {
  /// Try `leader`, if it is known.
  case notLeader(NodeID?)
  /// Too much is proposed and not yet chosen. Wait.
  case busy
  /// The epoch is ending. Wait for the next leader.
  case reconfiguring
  /// Leadership is being handed over. Wait for the next leader.
  case transferring
  /// The record was built for another place in the log. Build it again.
  case misplaced
}

extension Replica {
  /// Whether a record built now for `last + 1` behind `lastChain` would be taken.
  package var proposalRefusal: ProposalRefusal? {
    guard role == .leader else { return .notLeader(leader) }
    if pendingStop != nil || buildPending != nil, mutation != .proposeAfterStop { return .reconfiguring }
    if transfer != nil || configuration.isWitness(id) { return .transferring }
    if log.last < readBarrier { return .busy }
    if log.last - chosen >= UInt64(settings.unchosenEntries) || unchosenBytes >= settings.unchosenBytes {
      return .busy
    }
    return nil
  }

  /// Proposes a record that the caller built for `last + 1` behind `lastChain`, with `ballot` as its origin.
  /// - Complexity: O(peers).
  package mutating func propose(_ entry: Entry, now time: Ticks, into actions: inout Actions) -> ProposalRefusal? {
    advance(to: time)
    if let refusal = proposalRefusal { return refusal }
    guard entry.kind == .command, entry.origin == promised, entry.slot == log.last + 1 else { return .misplaced }
    appendOwn(entry, nil, &actions)
    return nil
  }

  /// A record that `Actions.builds` asked for. Ignored if its moment has passed.
  package mutating func built(
    _ entry: Entry, stop: Configuration? = nil, now time: Ticks, into actions: inout Actions
  ) {
    advance(to: time)
    guard role == .leader, entry.origin == promised, entry.slot == log.last + 1, pendingStop == nil else { return }
    switch entry.kind {
    case .command: return
    case .leadership: appendOwn(entry, nil, &actions)
    case .stop:
      guard let stop, stop == buildPending else { return }
      buildPending = nil
      leaseUntil = 0
      appendOwn(entry, stop, &actions)
    }
  }

  private mutating func appendOwn(_ entry: Entry, _ stop: Configuration?, _ actions: inout Actions) {
    let start = actions.entries.count
    take(entry, stop, &actions)
    unchosenBytes += Int(entry.sizeBytes)
    persist(.append, entriesFrom: start, vowsFrom: actions.vows.count, &actions)
    for i in peers.indices where peers[i].progress == .streaming { stream(i, &actions) }
  }

  // MARK: Bringing a follower up

  mutating func probe(_ i: Int, _ actions: inout Actions) {
    peers[i].progress = .probing
    peers[i].since = now
    send(.prepare(ballot: promised, released: .zero), to: peers[i].id, &actions)
  }

  /// Sends what follows the last common point of the follower's log, through the end of the adopted log.
  mutating func startSync(_ i: Int, _ promise: Promise, _ actions: inout Actions) {
    guard let common = commonPoint(promise), common.slot <= log.last else { return }
    // What it lacks of the chosen log it learns by itself, from anyone; heartbeats tell it to.
    if common.slot + UInt64(settings.fetchEntries) < min(chosen, adoptedEnd) { return }
    var end = max(adoptedEnd, common.slot)
    if mutation == .syncStopsShort, end > common.slot { end = common.slot + (end - common.slot) / 2 }
    let count = Int(end - common.slot)
    if let bad = damaged.first(where: { $0 > common.slot }), bad <= end { return }
    peers[i].progress = .syncing
    peers[i].since = now
    peers[i].next = end + 1
    send(
      .acceptSync(
        AcceptSync(
          ballot: promised, previous: common, adoptedEnd: mutation == .syncStopsShort ? end : adoptedEnd,
          chosen: chosen)), to: peers[i].id, records: (common.slot + 1, count), &actions)
  }

  /// Sends a streaming follower as much as its window allows.
  mutating func stream(_ i: Int, _ actions: inout Actions) {
    while peers[i].next <= log.last {
      let next = peers[i].next
      guard next + settings.laggingEntries > chosen, let previous = log.chain(at: next - 1) else {
        // Far behind, or further back than is remembered: let it learn the chosen part, then compare logs again.
        peers[i].progress = .probing
        return
      }
      let inFlight = next - 1 - min(peers[i].match, next - 1)
      let room = peers[i].window - Int(min(inFlight, 1 << 30))
      guard room > 0 else { return }
      var count = 0
      var bytes = 0
      var slot = next
      while slot <= log.last, count < min(room, settings.batchEntries) {
        guard let entry = log.entry(at: slot), !isDamaged(slot) else { break }
        bytes += Int(entry.sizeBytes)
        if count > 0, bytes > settings.batchBytes { break }
        count += 1
        slot += 1
        if entry.kind == .stop { break }
      }
      guard count > 0, bytesInFlight(i, adding: bytes) else { return }
      if inFlight == 0 { peers[i].since = now }
      peers[i].next = slot
      send(
        .accept(Accept(ballot: promised, previous: ChainPoint(slot: next - 1, chain: previous), chosen: chosen)),
        to: peers[i].id, records: (next, count), &actions)
    }
  }

  /// The byte bound matters only for large records; counted when more than a few batches are out.
  private func bytesInFlight(_ i: Int, adding bytes: Int) -> Bool {
    let entries = peers[i].next - 1 - min(peers[i].match, peers[i].next - 1)
    guard entries > 0 else { return true }
    if unchosenBytes + bytes <= settings.windowBytes { return true }
    var total = bytes
    var slot = peers[i].match + 1
    while slot < peers[i].next {
      total += Int(log.entry(at: slot)?.sizeBytes ?? 0)
      slot += 1
    }
    return total <= settings.windowBytes
  }

  mutating func receiveAccepted(_ vow: Accepted, from node: NodeID, _ actions: inout Actions) {
    guard role == .leader, let i = peerIndex(node) else { return }
    guard vow.ballot == promised || mutation == .countOtherBallots else { return }
    guard vow.point.slot <= log.last else { return }
    if let chain = log.chain(at: vow.point.slot), chain != vow.point.chain, mutation != .countOtherBallots { return }
    if peers[i].progress == .probing { peers[i].next = vow.point.slot + 1 }
    if peers[i].progress != .streaming {
      peers[i].progress = .streaming
      peers[i].window = max(peers[i].window, 8)
    }
    if vow.point.slot > peers[i].match {
      peers[i].match = vow.point.slot
      peers[i].since = now
      peers[i].window = min(settings.windowEntries, peers[i].window * 2)
    }
    peers[i].next = max(peers[i].next, peers[i].match + 1)
    countChosen(&actions)
    guard role == .leader else { return }
    stream(i, &actions)
    considerHandOver(&actions)
  }

  mutating func receiveAcceptRefused(
    _ ballot: Ballot, accepted other: Ballot, last: SlotNumber, from node: NodeID, _ actions: inout Actions
  ) {
    guard role == .leader, ballot == promised, let i = peerIndex(node) else { return }
    guard other == promised, last < largestNumber else {
      if peers[i].progress != .probing { probe(i, &actions) }
      return
    }
    guard peers[i].progress == .streaming, last + 1 < peers[i].next, last >= peers[i].match else { return }
    peers[i].next = last + 1
    peers[i].window = max(1, peers[i].window / 2)
    stream(i, &actions)
  }

  // MARK: Choosing

  /// A slot is chosen when q2 acceptors hold it, durably, under this ballot.
  mutating func countChosen(_ actions: inout Actions) {
    guard role == .leader else { return }
    let own = isAcceptor ? ownMatch : 0
    var best = counted
    let quorum = replicationQuorum
    if own > best, acceptances(of: own, own) >= quorum { best = own }
    for peer in peers where peer.isAcceptor && peer.match > best {
      if acceptances(of: peer.match, own) >= quorum { best = peer.match }
    }
    counted = best
    if counted > chosen, now >= exposeAfter { advanceChosen(to: counted, &actions) }
  }

  private var ownMatch: SlotNumber {
    guard let bad = damaged.first else { return durableLast }
    return min(durableLast, bad - 1)
  }

  private func acceptances(of slot: SlotNumber, _ own: SlotNumber) -> Int {
    var count = own >= slot ? 1 : 0
    for peer in peers where peer.isAcceptor && peer.match >= slot { count += 1 }
    return count
  }

  /// Shows that the log is chosen through `slot`; ends the epoch if a stop record is among it.
  mutating func advanceChosen(to slot: SlotNumber, _ actions: inout Actions) {
    var target = min(slot, log.last)
    guard target > chosen else { return }
    let stop = stops.first { $0.slot > chosen && $0.configuration.epoch > configuration.epoch }
    if let stop, stop.slot <= target { target = stop.slot }
    if role == .leader {
      var at = chosen + 1
      while at <= target {
        unchosenBytes -= Int(log.entry(at: at)?.sizeBytes ?? 0)
        at += 1
      }
    }
    chosen = target
    counted = max(counted, chosen)
    lastProgress = now
    actions.apply = damaged.first.map { min(chosen, $0 - 1) } ?? chosen
    if let stop, stop.slot <= target { enterEpoch(stop.configuration, stopSlot: stop.slot, &actions) }
    trimIndex()
  }

  private mutating func trimIndex() {
    guard log.count > settings.indexEntries * 2 else { return }
    var target = min(chosen, log.last - UInt64(settings.indexEntries))
    if let bad = damaged.first { target = min(target, bad - 1) }
    forgetIndex(through: target)
  }

  mutating func forgetIndex(through slot: SlotNumber) {
    guard slot > log.base.slot, let checkpoint = checkpoint(at: slot) else { return }
    baseCheckpoint = checkpoint
    log.forget(through: slot)
    while let stop = stops.first, stop.slot <= slot { stops.removeFirst() }
  }

  // MARK: Time

  mutating func leaderTick(_ actions: inout Actions) {
    if counted > chosen, now >= exposeAfter { advanceChosen(to: counted, &actions) }
    guard role == .leader else { return }
    if leaderSince + settings.election < now, !isQuorumConnected {
      return stepDown(&actions)
    }
    if !diskFit { return stepDown(&actions) }
    for i in peers.indices {
      let silent = peers[i].since + settings.retry <= now
      switch peers[i].progress {
      case .probing: if silent { probe(i, &actions) }
      case .syncing: if silent, peers[i].since + settings.retry * 2 <= now { probe(i, &actions) }
      case .streaming:
        if peers[i].next > peers[i].match + 1, silent {
          peers[i].next = peers[i].match + 1
          peers[i].window = 1
          peers[i].since = now
        }
        stream(i, &actions)
      }
    }
    transferTick(&actions)
  }
}
