// Learning what is chosen, from whoever has it.
//
// A fact "the log with this chain at this slot is chosen" holds for ever and may come from anyone. A node whose log shows
// that chain there knows its own log chosen through that slot; any other node fetches. Records learned replace an unchosen
// tail that contradicts them. They do not raise `accepted`: learning is not voting.

extension Replica {
  /// Word that the log is chosen through `point`.
  mutating func learnChosen(
    _ point: ChainPoint, leaderBallot: Ballot?, from node: NodeID, _ actions: inout Actions
  ) {
    guard point.slot > chosen else { return }
    if let chain = log.chain(at: point.slot), chain == point.chain {
      advanceChosen(to: point.slot, &actions)
    } else if let leaderBallot, leaderBallot == accepted || mutation == .chosenBeyondOwnLog, point.slot > log.last {
      // This log is a prefix of the leader's, so all of it is chosen.
      if log.last > chosen { advanceChosen(to: log.last, &actions) }
      considerCatchUp(from: node, point: point, &actions)
    } else if mutation == .chosenBeyondOwnLog, leaderBallot != nil {
      advanceChosen(to: min(point.slot, log.last), &actions)
    } else {
      considerCatchUp(from: node, point: point, &actions)
    }
  }

  /// Fetches, unless something is already coming.
  mutating func considerCatchUp(from node: NodeID, point: ChainPoint, _ actions: inout Actions) {
    guard point.slot > chosen, role != .leader else { return }
    if lastProgress + settings.retry > now { return }
    if let pending = fetchPending, pending.at + settings.retry > now { return }
    if let installing, installing.at + settings.transferTimeout > now { return }
    fetchPace.hear(point.slot, now)
    if fetchMore != nil, !isFetchDue { return }
    // One that does not hear us cannot answer, however loudly it speaks.
    if let i = peerIndex(node), peers[i].roundTrip + settings.election < now { return }
    startFetch(from: node, &actions)
  }

  mutating func startFetch(from node: NodeID, _ actions: inout Actions) {
    guard let chain = log.chain(at: chosen) else { return }
    fetchPending = (node, now)
    fetchMore = nil
    let previous = ChainPoint(slot: chosen, chain: chain)
    let end = ChainPoint(slot: chosen + fetchPace.entries(settings, now), chain: chain)
    send(.fetch(Fetch(purpose: .learn, previous: previous, ballot: promised, end: end)), to: node, &actions)
  }

  mutating func receiveFetch(_ fetch: Fetch, from node: NodeID, _ actions: inout Actions) {
    let previous = fetch.previous
    guard previous.slot <= log.last else { return }
    switch fetch.purpose {
    case .learn:
      guard previous.slot < chosen else { return }
      if previous.slot + 1 < first {
        guard checkpointPoint.slot > previous.slot, !configuration.isWitness(id) else {
          return send(.missing(purpose: .learn, previousSlot: previous.slot), to: node, &actions)
        }
        return send(.checkpointOffer(checkpointPoint), to: node, &actions)
      }
      if let chain = log.chain(at: previous.slot), chain != previous.chain {
        return send(.missing(purpose: .learn, previousSlot: previous.slot), to: node, &actions)
      }
      var limit = settings.fetchEntries
      if fetch.end.slot > previous.slot { limit = Int(min(UInt64(limit), fetch.end.slot - previous.slot)) }
      serve(fetch, through: chosen, limit: limit, to: node, &actions)
    case .adopt:
      guard fetch.ballot == promised, fetch.ballot.node == node, log.chain(at: previous.slot) == previous.chain else {
        return send(.missing(purpose: .adopt, previousSlot: previous.slot), to: node, &actions)
      }
      serve(fetch, through: log.last, limit: .max, to: node, &actions)
    case .repair:
      if previous.slot + 1 < first, !configuration.isWitness(id) {
        return send(.checkpointOffer(checkpointPoint), to: node, &actions)
      }
      // Of what is no longer remembered the receiver judges: the chain proves it.
      guard log.chain(at: previous.slot).map({ $0 == previous.chain }) ?? true, fetch.end.slot <= log.last,
        fetch.end.slot > previous.slot, log.chain(at: fetch.end.slot).map({ $0 == fetch.end.chain }) ?? true
      else { return send(.missing(purpose: .repair, previousSlot: previous.slot), to: node, &actions) }
      // A run of damaged records is proven by what follows it: part of one would prove nothing.
      serve(fetch, through: fetch.end.slot, limit: .max, to: node, &actions)
    }
  }

  /// Answers with records behind the point asked for, as far as they are readable, and not beyond a stop record.
  private func serve(
    _ fetch: Fetch, through end: SlotNumber, limit: Int, to node: NodeID, _ actions: inout Actions
  ) {
    let from = fetch.previous.slot + 1
    var last = min(end, from - 1 + UInt64(min(limit, 1 << 30)))
    for bad in damaged where bad >= from { last = min(last, bad - 1) }
    for stop in stops where stop.slot >= from && fetch.purpose == .learn { last = min(last, stop.slot) }
    if fetch.purpose != .learn, last < end || from < first {
      return send(.missing(purpose: fetch.purpose, previousSlot: fetch.previous.slot), to: node, &actions)
    }
    guard last >= from || fetch.purpose == .adopt else {
      return send(.missing(purpose: fetch.purpose, previousSlot: fetch.previous.slot), to: node, &actions)
    }
    send(
      .records(Records(purpose: fetch.purpose, previous: fetch.previous, ballot: fetch.ballot, chosen: chosen)),
      to: node, records: (from, Int(last + 1 - from)), &actions)
  }

  mutating func receiveRecords(
    _ reply: Records, records: [Entry], stop: Configuration?, from node: NodeID, epoch: UInt32,
    _ actions: inout Actions
  ) {
    switch reply.purpose {
    case .learn: learnRecords(reply, records: records, stop: stop, from: node, &actions)
    case .adopt:
      guard epoch == configuration.epoch else { return }
      finishAdoption(reply, records: records, stop: stop, from: node, &actions)
    case .repair: repair(reply, records: records, stop: stop, &actions)
    }
  }

  private mutating func learnRecords(
    _ reply: Records, records: [Entry], stop: Configuration?, from node: NodeID, _ actions: inout Actions
  ) {
    guard let pending = fetchPending, pending.from == node, role != .leader, !diskFailed else { return }
    let end = reply.previous.slot + UInt64(records.count)
    guard end <= reply.chosen, records.last?.kind != .stop || stop != nil else { return }
    fetchPending = nil
    guard end > chosen, let (cut, end) = learnedDivergence(reply.previous, records) else { return }
    let start = actions.entries.count
    if cut < end {
      if cut < log.last {
        log.truncate(after: cut)
        while let last = stops.last, last.slot > cut { stops.removeLast() }
        while let last = damaged.last, last > cut { damaged.removeLast() }
        durableLast = min(durableLast, cut)
        for record in records where record.slot > cut { take(record, stop, &actions) }
        persist(.replace(after: cut), entriesFrom: start, vowsFrom: actions.vows.count, &actions)
      } else {
        for record in records where record.slot > cut { take(record, stop, &actions) }
        persist(.append, entriesFrom: start, vowsFrom: actions.vows.count, &actions)
      }
    }
    let target = min(end, log.last)
    advanceChosen(to: target, &actions)
    // After the stop the role may be another.
    if role == .candidate, let adopting = adoptingFrom, let i = peerIndex(adopting) {
      electionDeadline = now + electionTimeout()
      startAdoption(i, &actions)
    } else if reply.chosen > chosen, fetchPending == nil {
      pace(reply.chosen, records, asked: pending.at)
      fetchMore = node
      fetchMoreIfDue(&actions)
    }
  }

  /// Sets when the next records are to be asked for.
  ///
  /// While others commit, no more comes in a second than `catchUpBytesPerSecond`, in small even steps, so that those who commit
  /// do not find disks and processors taken; but twice as much as they add, and as much as it takes to be there in two minutes.
  /// While nobody commits, be it that they wait for this node, nothing is held back.
  private mutating func pace(_ head: SlotNumber, _ records: [Entry], asked: Ticks) {
    var bytes: UInt64 = 0
    for record in records { bytes += UInt64(record.sizeBytes) }
    let each = bytes / UInt64(max(1, records.count)) + 1
    fetchPace.note(head, each, now)
    guard now < fetchPace.movedAt + settings.election else {
      fetchPace.notBefore = now
      fetchPace.rate = 0
      return
    }
    let left = min(head - chosen, 1 << 30) * min(each, 1 << 30)
    let rate = max(1, settings.catchUpBytesPerSecond, 2 * fetchPace.added + left / 120)
    fetchPace.rate = rate
    fetchPace.roundTrip = now - min(asked, now)
    // What a late tick held back may come sooner.
    let from = max(fetchPace.notBefore, now - min(now, FetchPace.slack))
    fetchPace.notBefore = from + bytes * 1_000_000 / rate
  }

  /// Asks for what comes next, when it is time and the disk has nearly all that came.
  mutating func fetchMoreIfDue(_ actions: inout Actions) {
    guard let node = fetchMore, fetchPending == nil, sequence - completedSequence <= 4 else { return }
    guard role != .leader, installing == nil, !diskFailed else {
      fetchMore = nil
      return
    }
    if isFetchDue { startFetch(from: node, &actions) }
  }

  /// It is time, or others commit no longer.
  private var isFetchDue: Bool { now >= fetchPace.notBefore || now >= fetchPace.movedAt + settings.election }

  /// Like `divergence`, for records that are chosen: nothing after their end need go. Damaged records count as equal if a
  /// later one is; they must not be cut, for what follows them is accepted. Also how many of `records` can be used.
  private func learnedDivergence(_ previous: ChainPoint, _ records: [Entry]) -> (cut: SlotNumber, usable: SlotNumber)? {
    guard previous.slot <= log.last, previous.slot >= log.base.slot, log.chain(at: previous.slot) == previous.chain
    else { return nil }
    let end = previous.slot + UInt64(records.count)
    var cut = previous.slot
    for record in records {
      guard let mine = log.entry(at: record.slot) else { return (cut, end) }
      if mine.chain == record.chain {
        cut = record.slot
      } else if !isDamaged(record.slot) || mine.chain != .zero {
        // A different record here must not be chosen.
        return record.slot <= chosen ? nil : (cut, end)
      }
    }
    return (cut, cut)
  }

  // MARK: Checkpoints

  mutating func receiveCheckpointOffer(_ point: ChainPoint, from node: NodeID, _ actions: inout Actions) {
    let useful = point.slot > chosen ? fetchPending?.from == node : (damaged.first ?? .max) <= point.slot
    guard useful, role != .leader || point.slot <= chosen else { return }
    fetchPending = nil
    if let installing, installing.at + settings.transferTimeout > now { return }
    if role != .follower, point.slot > chosen { stepDown(&actions) }
    installing = (point, now)
    actions.wanted = (node, point)
  }

  /// Tells that a transfer asked for by `Actions.wanted` failed, or still goes on.
  package mutating func transferProgress(failed: Bool, now time: Ticks) {
    advance(to: time)
    installing = failed ? nil : installing.map { ($0.point, now) }
  }

  /// The files of a peer's checkpoint are here and durable: switch to it, as one write. A witness keeps no state and
  /// takes the point alone.
  /// - Returns: false if it is older than what this node knows to be chosen; discard it then.
  package mutating func install(_ checkpoint: Checkpoint, now time: Ticks, into actions: inout Actions) -> Bool {
    advance(to: time)
    installing = nil
    let point = checkpoint.point
    let repairs = (damaged.first ?? .max) <= point.slot && point.slot <= chosen
    guard point.slot > chosen || repairs, role != .leader || repairs, !diskFailed,
      repairs || checkpoint.configuration.epoch >= configuration.epoch
    else { return false }
    if role != .follower, !repairs { stepDown(&actions) }
    let keeps =
      repairs || log.chain(at: point.slot) == point.chain
      || (mutation == .installKeepsForeignLog && log.last > point.slot)
    if keeps {
      if mutation == .installKeepsForeignLog, log.chain(at: point.slot) != point.chain,
        var entry = log.entry(at: point.slot)
      {
        entry.chain = point.chain
        log.replaceEntry(entry)
      }
      if repairs, var entry = log.entry(at: point.slot) {
        entry.chain = point.chain
        log.replaceEntry(entry)
      }
      log.forget(through: point.slot)
    } else {
      // What may be missing after the old end may still be missing after the checkpoint: `tailCertain` stays.
      log.restart(at: point)
    }
    stops.removeAll { $0.slot <= point.slot || !keeps }
    damaged.removeAll { $0 <= point.slot || !keeps }
    if log.base.slot == point.slot { baseCheckpoint = checkpoint }
    checkpointPoint = point
    first = point.slot + 1
    chosen = max(chosen, point.slot)
    durableLast = max(min(durableLast, log.last), 0)
    lastProgress = now
    let change = Change.install(checkpoint, keepingLog: keeps)
    if checkpoint.configuration.epoch > configuration.epoch {
      adoptEpoch(checkpoint.configuration, start: checkpoint.epochStart)
      actions.standingChanged = true
    }
    persist(change, entriesFrom: actions.entries.count, vowsFrom: actions.vows.count, &actions)
    actions.apply = damaged.first.map { min(chosen, $0 - 1) } ?? chosen
    return true
  }

  /// The state at `slot` is durable outside the log; records far enough behind it may go.
  package mutating func checkpointed(_ point: ChainPoint, now time: Ticks, into actions: inout Actions) {
    advance(to: time)
    guard point.slot > checkpointPoint.slot, point.slot <= chosen else { return }
    checkpointPoint = point
    truncate(through: farEnough(behind: point.slot), &actions)
  }

  /// What may go of a log that is not needed through `slot`.
  private func farEnough(behind slot: SlotNumber) -> SlotNumber {
    max(slot - min(slot, settings.retainedEntries), min(slot, nearEnd))
  }

  mutating func truncate(through wanted: SlotNumber, _ actions: inout Actions) {
    // What is damaged may be a stop record that nothing else tells of; it goes once it is repaired.
    let slot = damaged.first.map { min(wanted, $0 - 1) } ?? wanted
    guard slot >= first, let checkpoint = checkpoint(at: slot) else { return }
    first = slot + 1
    actions.truncate = checkpoint
    forgetIndex(through: slot)
  }

  /// A witness keeps no state; its log may go as far as q2 voters have checkpoints.
  mutating func truncateAsWitness(_ actions: inout Actions) {
    var best: SlotNumber = 0
    for peer in peers where peer.isAcceptor && !peer.isWitness && peer.checkpoint > best {
      var count = 0
      for other in peers where other.isAcceptor && !other.isWitness && other.checkpoint >= peer.checkpoint {
        count += 1
      }
      if count >= min(configuration.replicationQuorum, configuration.voters.count) { best = peer.checkpoint }
    }
    guard best > checkpointPoint.slot, best <= chosen, let chain = log.chain(at: best) else { return }
    checkpointPoint = ChainPoint(slot: best, chain: chain)
    truncate(through: farEnough(behind: best), &actions)
  }

  // MARK: Repair

  /// The record at `slot` was written here and turned out to be unreadable while the node runs: from now on it counts as one
  /// that recovery found damaged, and is asked for from the peers.
  ///
  /// What is no longer remembered here could not be proven by what follows it. It is given up, if the state beside the log
  /// durably reaches beyond it (`heldThrough`): whoever lacks it is then offered that state.
  /// - Returns: false if neither can be done, so that the log cannot be trusted from `slot` on.
  package mutating func recordIsDamaged(
    _ slot: SlotNumber, heldThrough: SlotNumber, now time: Ticks, into actions: inout Actions
  ) -> Bool {
    advance(to: time)
    guard slot >= first, slot <= log.last, !isDamaged(slot) else { return true }
    if slot <= log.base.slot {
      guard log.base.slot <= max(heldThrough, checkpointPoint.slot) else { return false }
      if checkpointPoint.slot < log.base.slot { checkpointPoint = log.base }
      truncate(through: log.base.slot, &actions)
      return slot < first
    }
    guard !peers.isEmpty else { return false }
    damaged.insert(slot, at: damaged.firstIndex { $0 > slot } ?? damaged.count)
    repairAt = now
    repairTick(&actions)
    return true
  }

  /// Asks one peer after another for the first run of damaged records.
  mutating func repairTick(_ actions: inout Actions) {
    guard let bad = damaged.first, repairAt <= now, !peers.isEmpty else { return }
    repairAt = now + settings.retry
    guard let previous = log.chain(at: bad - 1) else { return }
    var end = bad
    while let entry = log.entry(at: end), entry.chain == .zero { end += 1 }
    guard let endChain = log.chain(at: end) else { return }
    repairCursor = (repairCursor + 1) % peers.count
    send(
      .fetch(
        Fetch(
          purpose: .repair, previous: ChainPoint(slot: bad - 1, chain: previous), ballot: promised,
          end: ChainPoint(slot: end, chain: endChain))), to: peers[repairCursor].id, &actions)
  }

  /// Takes copies of damaged records whose chain proves them.
  private mutating func repair(
    _ reply: Records, records: [Entry], stop: Configuration?, _ actions: inout Actions
  ) {
    guard !diskFailed, let bad = damaged.first, reply.previous.slot + 1 == bad, let end = records.last,
      log.chain(at: reply.previous.slot) == reply.previous.chain, end.kind != .stop || stop != nil
    else { return }
    // The chain behind the run proves it; so does being chosen both here and there.
    guard
      log.chain(at: end.slot) == end.chain
        || (log.chain(at: end.slot) == .zero && end.slot <= min(chosen, reply.chosen))
    else { return }
    let start = actions.entries.count
    for record in records where isDamaged(record.slot) {
      if let known = log.chain(at: record.slot), known != .zero, known != record.chain { return }
      actions.entries.append(record)
    }
    for record in actions.entries[start...] {
      log.replaceEntry(record)
      damaged.removeAll { $0 == record.slot }
    }
    persist(.repair, entriesFrom: start, vowsFrom: actions.vows.count, &actions)
    if end.kind == .stop, let stop, !stops.contains(where: { $0.slot == end.slot }) {
      stops.append((end.slot, stop))
      stops.sort { $0.slot < $1.slot }
      if end.slot <= chosen, stop.epoch > configuration.epoch { enterEpoch(stop, stopSlot: end.slot, &actions) }
    }
    actions.apply = damaged.first.map { min(chosen, $0 - 1) } ?? chosen
    repairAt = now
  }
}
