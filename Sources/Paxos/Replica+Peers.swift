// What a node knows of the others, and the heartbeats by which it knows it.
//
//   leader     every `heartbeat`: to everybody
//   follower   answers; with every second answer goes its own heartbeat, to everybody. So what it says travels and wakes
//              others together with the answer, and its own clock has nothing to do while a leader speaks.
//   others     (no leader speaks, campaigning) every `heartbeat`
//
// A round trip between two followers is thus at most four intervals old while a leader speaks, and at most two when an
// election is due: a follower that hears nothing for two and a half speaks by itself.

/// How far a leader has brought a follower.
enum Progress: Sendable {
  /// Its log is unknown; a prepare went out at `since`.
  case probing
  /// An acceptSync went out.
  case syncing
  /// Accepts stream.
  case streaming
}

/// How fast old records are asked for.
struct FetchPace: Sendable {
  var notBefore: Ticks = 0
  /// When more was last learnt to be chosen; long ago: nobody commits.
  var movedAt: Ticks = 0
  /// Bytes a second that are added to the log meanwhile.
  var added: UInt64 = 0
  /// Bytes a second to be asked for; 0: as many as come.
  var rate: UInt64 = 0
  /// How long the last answer took.
  var roundTrip: Ticks = 0
  /// Bytes of a record, and since when records come; 0: none came yet.
  private var each: UInt64 = 0
  private var begunAt: Ticks = 0
  private var head: SlotNumber = 0
  /// Since when, and from which slot on, `added` is being counted anew.
  private var since: (slot: SlotNumber, at: Ticks)?

  private static let longest: Ticks = 2_000_000
  private static let shortest: Ticks = 100_000
  /// By how much a question may be late without being fewer for it: ticks are 10 ms apart.
  static let slack: Ticks = 20_000
  private static let firstEntries: UInt64 = 32
  private static let largestStepBytes: UInt64 = 1 << 20

  /// How many records to ask for; 0: as many as an answer holds.
  ///
  /// While it is not known whether others commit, and while they do, little at a time. An answer that is a long time on its
  /// way must be larger, or the rate would not be reached.
  func entries(_ settings: Settings, _ now: Ticks) -> UInt64 {
    if each == 0 { return Self.firstEntries }
    if rate == 0, now >= begunAt + settings.election { return 0 }
    let way = min(max(2 * roundTrip, Self.slack), Self.longest)
    let bytes = max(settings.catchUpStepBytes, min(rate, 1 << 40) * way / 1_000_000)
    return max(1, min(bytes, Self.largestStepBytes) / each)
  }

  /// Somebody told how far the log is chosen.
  mutating func hear(_ slot: SlotNumber, _ now: Ticks) {
    guard slot > head else { return }
    head = slot
    movedAt = now
  }

  /// An answer told how far the log is chosen; its records had `each` bytes.
  mutating func note(_ head: SlotNumber, _ each: UInt64, _ now: Ticks) {
    self.each = each
    guard let since, now < max(since.at, notBefore) + Self.longest, head >= since.slot else {
      // Another time than the last.
      (self.since, self.head, added, movedAt, rate, begunAt) = ((head, now), head, 0, 0, 0, now)
      return
    }
    hear(head, now)
    guard now >= since.at + Self.shortest else { return }
    let bytes = min(min(head - since.slot, 1 << 30) * min(each, 1 << 30), 1 << 40)
    let rate = bytes * 1_000_000 / (now - since.at)
    added = added == 0 ? rate : (added * 3 + rate) / 4
    self.since = (head, now)
  }
}

/// Another member.
struct Peer: Sendable {
  let id: NodeID
  let isAcceptor: Bool
  let isWitness: Bool
  /// Its clock when it last spoke, to be echoed.
  var sent: Ticks = 0
  /// Our clock when we said what it last echoed. 0: never.
  var roundTrip: Ticks = 0
  /// How long that took to come back. 0: never.
  var delay: Ticks = 0
  var diskFit = true
  var chosen: SlotNumber = 0
  var checkpoint: SlotNumber = 0
  var epoch: UInt32 = 0

  // For a candidate
  var granted = false
  var promise: Promise?
  var promisedAt: Ticks = 0

  // For a leader
  var progress = Progress.probing
  var since: Ticks = 0
  var match: SlotNumber = 0
  var next: SlotNumber = 0
  /// Entries allowed in flight; doubles with each acceptance, falls back after a loss.
  var window = 0
  var ackedRound: UInt64 = 0
  var ackedAt: Ticks = 0
  var nearHead = 0
  /// The moment of the peer's own clock that the last answered round echoes.
  init(id: NodeID, isAcceptor: Bool, isWitness: Bool) {
    self.id = id
    self.isAcceptor = isAcceptor
    self.isWitness = isWitness
  }
}

/// What a node knows of another.
package struct PeerStatus: Sendable {
  package var node: NodeID
  /// The end of its log, as far as it agrees with ours; only a leader knows.
  package var matched: SlotNumber
  package var chosen: SlotNumber
  /// How long ago it was heard, at most, in microseconds; nil: never.
  package var heardAgo: Ticks?
  /// How long the last question took to be answered, in microseconds; nil: none was.
  package var roundTrip: Ticks?
  /// The records behind `matched`; an estimate where they are many. Nil: this node does not lead.
  package var lagBytes: UInt64?
}

extension Replica {
  /// What is known of the others.
  package func peerStatus(now: Ticks) -> [PeerStatus] {
    peers.map { peer in
      PeerStatus(
        node: peer.id, matched: peer.match, chosen: peer.chosen,
        heardAgo: peer.roundTrip == 0 ? nil : now > peer.roundTrip ? now - peer.roundTrip : 0,
        roundTrip: peer.delay == 0 ? nil : peer.delay, lagBytes: role == .leader ? bytes(after: peer.match) : nil)
    }
  }

  /// The size of the records behind `slot`: counted over the last ones, estimated beyond.
  package func bytes(after slot: SlotNumber) -> UInt64 {
    guard slot < log.last else { return 0 }
    let count = log.last - slot
    let sample = min(count, 1024)
    var sum: UInt64 = 0
    var seen: UInt64 = 0
    for at in (log.last - sample + 1)...log.last {
      guard let entry = log.entry(at: at) else { continue }
      sum += UInt64(entry.sizeBytes)
      seen += 1
    }
    return seen == 0 ? 0 : UInt64(Double(sum) / Double(seen) * Double(count))
  }

  /// After a change of the configuration; keeps what is known of those who stay.
  mutating func rebuildPeers() {
    let old = peers
    peers = configuration.members.filter { $0 != id }.map { node in
      var peer = Peer(
        id: node, isAcceptor: configuration.isAcceptor(node), isWitness: configuration.isWitness(node))
      if let before = old.first(where: { $0.id == node }) {
        peer.sent = before.sent
        peer.roundTrip = before.roundTrip
        peer.delay = before.delay
        peer.diskFit = before.diskFit
        peer.chosen = before.chosen
        peer.checkpoint = before.checkpoint
        peer.epoch = before.epoch
      }
      return peer
    }
    isAcceptor = configuration.isAcceptor(id)
  }

  /// For a node that was a member: it was removed, and enough of those who stay know it to go on without its log: it may be shut down.
  package var mayLeave: Bool {
    guard !configuration.isMember(id), promised.epoch == configuration.epoch else { return false }
    var informed = 0
    for peer in peers {
      // Somebody knows better than this node who is a member.
      if peer.epoch > configuration.epoch { return false }
      if peer.isAcceptor, peer.epoch == configuration.epoch { informed += 1 }
    }
    return informed >= max(configuration.electionQuorum, configuration.replicationQuorum)
  }

  /// What the member that is furthest behind knows to be chosen, as far as this node has heard; the log from there on is
  /// what it still needs.
  package var slowestPeer: SlotNumber { peers.map(\.chosen).min() ?? .max }

  func peerIndex(_ node: NodeID) -> Int? {
    for i in peers.indices where peers[i].id == node { return i }
    return nil
  }

  /// Acceptors, this node included, with whom messages have lately gone both ways.
  var isQuorumConnected: Bool {
    var connected = isAcceptor && diskFit ? 1 : 0
    if role == .leader {
      if mutation == .noQuorumCheck { return true }
      for peer in peers where peer.isAcceptor && peer.ackedAt + settings.election >= now { connected += 1 }
      return connected >= configuration.replicationQuorum
    }
    for peer in peers
    where peer.isAcceptor && peer.diskFit && peer.roundTrip > 0 && peer.roundTrip + settings.election >= now {
      connected += 1
    }
    return connected >= configuration.electionQuorum
  }

  /// Sends a heartbeat to every member. A leader begins a round with it.
  mutating func beat(_ actions: inout Actions) {
    let isLed = role == .follower && leader != nil && leader != id && leaderHeard + settings.heartbeat * 2 > now
    nextHeartbeat = now + (isLed ? settings.heartbeat * 5 / 2 : settings.heartbeat)
    lastHeartbeat = now
    guard isAcceptor || configuration.learners.contains(id) else {
      // Removed, or not yet admitted: say so to the acceptors, who answer with what is missing here.
      for peer in peers where peer.isAcceptor { send(.heartbeat(heartbeat(for: peer)), to: peer.id, &actions) }
      return
    }
    if role == .leader { beginRound() }
    for peer in peers { send(.heartbeat(heartbeat(for: peer)), to: peer.id, &actions) }
    if role == .leader, configuration.replicationQuorum == 1 { countRounds(&actions) }
  }

  mutating func beginRound() {
    round += 1
    if roundSent.isEmpty { roundSent = Array(repeating: 0, count: 16) }
    roundSent[Int(round & 15)] = now
  }

  func heartbeat(for peer: Peer) -> Heartbeat {
    Heartbeat(
      ballot: promised, leads: role == .leader, quorumConnected: isQuorumConnected, diskFit: diskFit, round: round,
      chosen: ChainPoint(slot: chosen, chain: log.chain(at: chosen) ?? .zero), checkpoint: checkpointPoint.slot,
      sent: now, echo: peer.sent, leased: leaseHolds(applied: chosen, now: now))
  }

  mutating func receiveHeartbeat(_ beat: Heartbeat, from node: NodeID, epoch: UInt32, _ actions: inout Actions) {
    guard let i = peerIndex(node) else {
      if epoch > configuration.epoch {
        // A leader that adds us to a configuration of which we know nothing yet.
        considerCatchUp(from: node, point: beat.chosen, &actions)
      } else if epoch == configuration.epoch, completedSequence >= epochWrite {
        // One that was removed waits to hear that it may leave; not before that is remembered here.
        let peer = Peer(id: node, isAcceptor: false, isWitness: false)
        send(.heartbeat(heartbeat(for: peer)), to: node, &actions)
      }
      return
    }
    peers[i].sent = beat.sent
    if beat.echo <= now, beat.echo >= started { peers[i].roundTrip = max(peers[i].roundTrip, beat.echo) }
    peers[i].diskFit = beat.diskFit
    peers[i].epoch = max(peers[i].epoch, epoch)
    peers[i].chosen = max(peers[i].chosen, beat.chosen.slot)
    peers[i].checkpoint = max(peers[i].checkpoint, beat.checkpoint)
    guard epoch == configuration.epoch else {
      if epoch > configuration.epoch { considerCatchUp(from: node, point: beat.chosen, &actions) }
      return
    }
    noteRound(beat.ballot)
    guard beat.leads, beat.ballot.node == node, peers[i].isAcceptor else {
      learnChosen(beat.chosen, leaderBallot: nil, from: node, &actions)
      return
    }
    if beat.ballot < promised {
      send(.refused(promised: promised), to: node, &actions)
      return
    }
    if role == .leader || role == .candidate, beat.ballot > promised { stepDown(&actions) }
    hearLeader(node, beat.ballot, healthy: beat.quorumConnected, &actions)
    let granted = mayVote && beat.ballot == promised
    if granted {
      grantBallot = beat.ballot
      grantUntil = max(grantUntil, now + settings.grant)
    }
    send(
      .heartbeatAck(
        HeartbeatAck(
          ballot: beat.ballot, round: beat.round, granted: granted, accepted: accepted, last: log.last, sent: now,
          echo: beat.sent)), to: node, &actions)
    if beat.leased, beat.echo > freshAsOf, beat.echo <= now, beat.echo >= started, beat.ballot >= promised {
      freshAsOf = beat.echo
      freshSlot = beat.chosen.slot
    }
    learnChosen(beat.chosen, leaderBallot: beat.ballot, from: node, &actions)
    if role == .follower, lastHeartbeat + settings.heartbeat * 3 / 2 <= now { self.beat(&actions) }
  }

  mutating func noteRound(_ ballot: Ballot) {
    if ballot.epoch == configuration.epoch { greatestRound = max(greatestRound, ballot.round) }
  }

  /// Word of a leader. Only a healthy one keeps this node from campaigning.
  mutating func hearLeader(_ node: NodeID, _ ballot: Ballot, healthy: Bool, _ actions: inout Actions) {
    if leader != node || leaderBallot != ballot {
      guard ballot >= leaderBallot else { return }
      leader = node
      leaderBallot = ballot
      actions.standingChanged = true
    }
    guard healthy else { return }
    leaderHeard = now
    if role == .asking { role = .follower }
    if role == .follower { electionDeadline = now + electionTimeout() }
  }
}
