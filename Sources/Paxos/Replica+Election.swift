// How a leader comes about.
//
//   1. A quorum-connected acceptor that heard no healthy leader for the election timeout asks all acceptors whether they
//      would promise a higher ballot (pre-vote). Nobody's state changes, so a node that keeps losing cannot raise ballots.
//   2. Granted by q1, it promises itself, durably, and sends prepare.
//   3. Promised by q1, of which enough are certain of their logs, it adopts the log with the greatest (accepted, last):
//      its own, or the rest of another's, fetched from its owner. Any log will do to campaign; only connection matters.
//   4. It accepts the adopted log in its own ballot, as one atomic write, and leads.

extension Replica {
  mutating func followerTick(_ actions: inout Actions) {
    guard now >= electionDeadline, mayVote else { return }
    if diskFit, isQuorumConnected { startAsking(&actions) } else { role = .follower }
    electionDeadline = now + electionTimeout()
  }

  private mutating func startAsking(_ actions: inout Actions) {
    guard greatestRound < largestNumber else { return }
    role = .asking
    released = .zero
    candidateBallot = Ballot(
      epoch: configuration.epoch, round: max(promised.round, greatestRound) + 1, priority: settings.priority, node: id)
    for i in peers.indices {
      peers[i].granted = false
      if peers[i].isAcceptor { send(.preVote(ballot: candidateBallot), to: peers[i].id, &actions) }
    }
    countGrants(&actions)
  }

  mutating func receivePreVote(_ ballot: Ballot, from node: NodeID, _ actions: inout Actions) {
    guard mayVote, ballot.node == node, configuration.isAcceptor(node) else { return }
    let hearsLeader =
      leader != nil && leader != node && leader != id && leaderHeard + settings.election > now
    let leads = role == .leader && isQuorumConnected
    let granted = ballot > promised && !hearsLeader && !leads
    send(.preVoteReply(ballot: ballot, granted: granted, promised: promised), to: node, &actions)
  }

  mutating func receivePreVoteReply(
    _ ballot: Ballot, granted: Bool, promised other: Ballot, from node: NodeID, _ actions: inout Actions
  ) {
    noteRound(other)
    guard role == .asking, ballot == candidateBallot, granted, let i = peerIndex(node) else { return }
    peers[i].granted = true
    countGrants(&actions)
  }

  private mutating func countGrants(_ actions: inout Actions) {
    var grants = 1
    for peer in peers where peer.isAcceptor && peer.granted { grants += 1 }
    if grants >= electionQuorum { campaign(&actions) }
  }

  /// Phase 1. The own promise is made durable first; then a ballot is never used twice.
  mutating func campaign(_ actions: inout Actions) {
    guard mayVote, diskFit, max(promised.round, greatestRound) < largestNumber else { return }
    if role == .leader { stepDown(&actions) }
    role = .candidate
    campaignedAt = now
    released = .zero
    let ballot = Ballot(
      epoch: configuration.epoch, round: max(promised.round, greatestRound) + 1, priority: settings.priority, node: id)
    candidateBallot = ballot
    var promise = makePromise(ballot)
    promise.ballot = ballot
    promised = ballot
    noteRound(ballot)
    adoptingFrom = nil
    ownPromise = nil
    for i in peers.indices { peers[i].promise = nil }
    electionDeadline = now + electionTimeout()
    candidateRetry = now + settings.retry
    persist(.none, entriesFrom: actions.entries.count, vowsFrom: actions.vows.count, &actions)
    promiseSequence = sequence
    pendingOwnPromise = promise
    actions.standingChanged = true
    if mutation == .leadBeforeDurable {
      ownPromise = promise
      sendPrepares(&actions)
    }
  }

  func sendPrepares(_ actions: inout Actions) {
    for peer in peers where peer.promise == nil {
      send(.prepare(ballot: candidateBallot, released: released), to: peer.id, &actions)
    }
  }

  mutating func ownPromiseDurable(_ actions: inout Actions) {
    guard ownPromise == nil, completedSequence >= promiseSequence, let promise = pendingOwnPromise else { return }
    ownPromise = promise
    sendPrepares(&actions)
    evaluatePromises(&actions)
  }

  mutating func candidateTick(_ actions: inout Actions) {
    if now >= electionDeadline {
      stepDown(&actions)
      electionDeadline = now + randomTicks(below: settings.electionJitter)
    } else if now >= candidateRetry {
      candidateRetry = now + settings.retry
      guard ownPromise != nil else { return }
      sendPrepares(&actions)
      if adoptingFrom != nil {
        adoptingFrom = nil
        evaluatePromises(&actions)
      }
    }
  }

  mutating func receivePromise(_ promise: Promise, from node: NodeID, _ actions: inout Actions) {
    guard promise.ballot == promised, promise.ballot.node == id, let i = peerIndex(node) else { return }
    guard promise.samples.count <= 80 else { return }
    if role == .leader {
      if peers[i].progress == .probing { startSync(i, promise, &actions) }
      return
    }
    guard role == .candidate, promise.ballot == candidateBallot else { return }
    peers[i].promise = promise
    peers[i].promisedAt = now
    if adoptingFrom == nil { evaluatePromises(&actions) }
  }

  /// Adopts a log once enough have promised.
  private mutating func evaluatePromises(_ actions: inout Actions) {
    guard role == .candidate, let own = ownPromise else { return }
    var promises = 1
    var certain = isLogCertain ? 1 : 0
    var best: (accepted: Ballot, last: SlotNumber, peer: Int?) = (accepted, log.last, nil)
    if !isLogCertain { best = (.zero, 0, nil) }
    _ = own
    for i in peers.indices where peers[i].isAcceptor {
      guard let promise = peers[i].promise else { continue }
      promises += 1
      guard promise.certain else { continue }
      certain += 1
      let greater =
        mutation == .bestByLengthAlone
        ? promise.last > best.last
        : promise.accepted > best.accepted || (promise.accepted == best.accepted && promise.last > best.last)
      if greater, mutation != .ignoreBetterLog { best = (promise.accepted, promise.last, i) }
    }
    let needed = max(electionQuorum, 1)
    // A log that may have lost a record is no proof that the record was not chosen.
    let neededCertain = min(needed, configuration.nackQuorum)
    guard promises >= needed, certain >= neededCertain else { return }
    if let i = best.peer { startAdoption(i, &actions) } else { becomeLeader(&actions) }
  }

  /// Asks the owner of the best log for what follows the last point in common.
  mutating func startAdoption(_ i: Int, _ actions: inout Actions) {
    guard let promise = peers[i].promise else { return }
    adoptingFrom = peers[i].id
    candidateRetry = now + settings.retry
    let common = commonPoint(promise)
    guard let common, promise.chosen <= common.slot + UInt64(settings.fetchEntries) else {
      // Far behind: learn what is chosen first; `receiveRecords` comes back here.
      if fetchPending == nil { startFetch(from: peers[i].id, &actions) }
      return
    }
    send(
      .fetch(Fetch(purpose: .adopt, previous: common, ballot: promised, end: common)), to: peers[i].id, &actions)
  }

  /// The last point known to be common with the log that a promise describes.
  func commonPoint(_ promise: Promise) -> ChainPoint? {
    for sample in promise.samples.reversed() where sample.slot >= log.base.slot {
      if mutation == .acceptWithoutChainCheck, let chain = log.chain(at: sample.slot) {
        return ChainPoint(slot: sample.slot, chain: chain)
      }
      if log.chain(at: sample.slot) == sample.chain, sample.chain != .zero || sample.slot == 0 { return sample }
    }
    // What is chosen here is in every log that can be adopted.
    guard chosen <= promise.last, promise.samples.first.map({ $0.slot > chosen }) ?? false,
      let chain = log.chain(at: chosen)
    else { return nil }
    return ChainPoint(slot: chosen, chain: chain)
  }

  /// The records from the owner of the best log.
  mutating func finishAdoption(
    _ reply: Records, records: [Entry], stop: Configuration?, from node: NodeID, _ actions: inout Actions
  ) {
    guard role == .candidate, adoptingFrom == node, reply.ballot == promised, let i = peerIndex(node),
      let promise = peers[i].promise, reply.previous.slot + UInt64(records.count) >= promise.last,
      records.last?.kind != .stop || stop != nil
    else { return }
    guard let cut = divergence(previous: reply.previous, records: records) else { return }
    let start = actions.entries.count
    accepted = promised
    replaceLog(after: cut, previous: reply.previous, records: records, stop: stop, &actions)
    persist(.replace(after: cut), entriesFrom: start, vowsFrom: actions.vows.count, &actions)
    lead(&actions)
  }

  /// The own log is the best: accept it in the new ballot.
  private mutating func becomeLeader(_ actions: inout Actions) {
    accepted = promised
    tailCertain = true
    durableLast = 0
    persist(.none, entriesFrom: actions.entries.count, vowsFrom: actions.vows.count, &actions)
    lead(&actions)
  }

  /// Begins the leadership of `promised`, whose log is this one.
  private mutating func lead(_ actions: inout Actions) {
    role = .leader
    leader = id
    leaderBallot = promised
    leaderSince = now
    fetchPending = nil
    adoptingFrom = nil
    adoptedEnd = log.last
    counted = chosen
    firstRound = round + 1
    leaseUntil = 0
    leaseForfeited = false
    transfer = nil
    buildPending = nil
    pendingReads.removeAll()
    setExposure()
    var known = chosen
    for i in peers.indices {
      let promise = peers[i].promise
      if let promise { known = max(known, min(promise.chosen, log.last)) }
      peers[i].progress = .probing
      peers[i].since = now
      peers[i].match = 0
      peers[i].next = 0
      peers[i].window = 1
      peers[i].ackedRound = round
      peers[i].ackedAt = now
      peers[i].nearHead = 0
    }
    unchosenBytes = 0
    if known < log.last {
      for slot in (known + 1)...log.last { unchosenBytes += Int(log.entry(at: slot)?.sizeBytes ?? 0) }
    }
    if let stop = pendingStop {
      readBarrier = stop.slot
    } else {
      readBarrier = log.last + 1
      if let build = protocolBuild(.leadership, nil) { actions.builds.append(build) }
    }
    for i in peers.indices {
      // A promise still on its way is answered when it comes; one that was lost is asked for again by `leaderTick`.
      if let promise = peers[i].promise { startSync(i, promise, &actions) }
    }
    actions.standingChanged = true
    // Others have shown these already: they are chosen, and old leases do not cover them up.
    if known > chosen { advanceChosen(to: known, &actions) }
    if role == .leader {
      countChosen(&actions)
      beat(&actions)
    }
  }

  /// What this ballot chooses may show when every lease that a promise reported has run out.
  private mutating func setExposure() {
    exposeAfter = 0
    guard mutation != .exposeBeforeLeasesExpire else { return }
    func wait(_ promise: Promise, since: Ticks) -> Ticks {
      let grant = promise.leaseBallot
      // Our own lease is gone; so is the one released to us; and an epoch ends only when its leases have.
      if promise.leaseRemaining == 0 || grant.node == id || grant == released || grant.epoch < promised.epoch {
        return 0
      }
      let remaining = min(promise.leaseRemaining, settings.grant * 4)
      return since + remaining + settings.drift(remaining)
    }
    if let ownPromise { exposeAfter = wait(ownPromise, since: campaignedAt) }
    for peer in peers where peer.isAcceptor {
      if let promise = peer.promise { exposeAfter = max(exposeAfter, wait(promise, since: peer.promisedAt)) }
    }
  }

  func protocolBuild(_ kind: EntryKind, _ configuration: Configuration?) -> Build? {
    guard log.last < largestNumber else { return nil }
    return Build(
      slot: log.last + 1, previous: log.lastChain, origin: promised, kind: kind, configuration: configuration)
  }

  /// Gives up leading or campaigning; what is accepted stays.
  mutating func stepDown(_ actions: inout Actions) {
    if role == .leader {
      for read in pendingReads { refuseRead(read, &actions) }
      pendingReads.removeAll()
      transfer = nil
      buildPending = nil
      leaseUntil = 0
      leader = nil
    }
    role = .follower
    adoptingFrom = nil
    ownPromise = nil
    pendingOwnPromise = nil
    electionDeadline = now + electionTimeout()
    actions.standingChanged = true
  }

  mutating func receiveRefused(_ other: Ballot, from node: NodeID, _ actions: inout Actions) {
    noteRound(other)
    guard other.epoch == configuration.epoch, other > promised, configuration.isAcceptor(node) else { return }
    if role == .leader || role == .candidate { stepDown(&actions) }
  }

  /// The leader gave its lease up for us.
  mutating func receiveTimeoutNow(_ ballot: Ballot, last: SlotNumber, from node: NodeID, _ actions: inout Actions) {
    guard ballot.node == node, ballot == promised, ballot == accepted, log.last >= last, mayVote,
      role == .follower || role == .asking
    else { return }
    campaign(&actions)
    if role == .candidate { released = ballot }
  }
}
