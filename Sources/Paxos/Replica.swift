// One node's part in Multi-Paxos, as a value: inputs in, actions out. No clock, disk, network, task or randomness.
//
// What is Multi-Paxos here: a leader runs phase 1 once (prepare, promise), then phase 2 for every slot (accept,
// accepted); a slot is chosen when `replicationQuorum` acceptors accepted it under one ballot. What differs from the
// textbook is that slots are accepted in order, without holes, and that the accepted ballot is kept once for the whole
// log: a new leader proposes the log that it adopted again as a whole (`acceptSync`).
//
//              timeout, quorum-connected       granted by q1          promised by q1, log adopted
//   follower ─────────────────────────▶ asking ─────────────▶ candidate ─────────────────────────▶ leader
//      ▲  ▲                               │ timeout               │ timeout, higher ballot           │
//      │  └───────────────────────────────┴──────────────────────┘                                  │
//      └────────── higher ballot · no q2 answers for `election` · disk stalled · epoch ended ────────┘
//
// Invariants (checked by `checkInvariants`, and across nodes by the simulator):
//   P1  accepted ≤ promised; both only grow.
//   P2  base ≤ chosen ≤ last; the log from base to last has no hole.
//   P3  no record at or below `chosen` is ever replaced by another.
//   P4  a vow leaves only through a `Persist`, whose write covers what it says.
//   P5  two logs with equal `accepted` agree on every slot that both have and neither learned as chosen elsewhere.
//   P6  a stop record is the last record of its epoch's log; it takes effect when chosen, never before.
//   P7  what a leader chose in its ballot shows nowhere (apply, answer, message) before older leases have expired.
//
// Safety in short. Lemma 1: the log of an acceptor with accepted = b is a prefix of the log of b's leader (chain check,
// and acceptSync reaches the adopted end in one atomic step). Lemma 2: if s is chosen at b, each q1 of a later ballot
// meets the q2 that chose it and sees (accepted ≥ b, last ≥ s) from a log that holds it; by induction over ballots the
// greatest (accepted, last) holds it. Records learned as chosen may lengthen a log of a smaller ballot; they are chosen,
// so carrying them anywhere is harmless.
//
// Lamport, Paxos Made Simple (2001), §3; Howard, Malkhi, Spiegelman, Flexible Paxos (2016); Ng, Haridi, Carbone,
// Omni-Paxos (2023) for the atomic sync and quorum-connected election; Ongaro, Consensus (2014), §3.10, §6.4, §10.2.1.

/// What a replica is doing.
package enum Role: UInt8, Sendable {
  case follower
  /// Asking whether a campaign would be granted.
  case asking
  case candidate
  case leader
}

/// A node's consensus state. Copying it is cheap enough for tests, and no two copies share anything.
package struct Replica: Sendable {
  package let id: NodeID
  package let cluster: ClusterID
  package let settings: Settings
  /// Tests put a bug in; see `Mutation`.
  package var mutation: Mutation?

  // Acceptor: the image of what is, or will be, on disk. It may be ahead of the disk.
  package internal(set) var promised: Ballot
  package internal(set) var accepted: Ballot
  var log: LogIndex
  /// The first slot that the log on disk holds.
  package internal(set) var first: SlotNumber
  package internal(set) var chosen: SlotNumber
  package internal(set) var checkpointPoint: ChainPoint
  /// Ascending; above `first`.
  package internal(set) var damaged: [SlotNumber]
  package internal(set) var tailCertain: Bool
  package internal(set) var amnesiac: Bool
  /// Stop records that the log holds, chosen or not, with what they announce; ascending.
  var stops: [(slot: SlotNumber, configuration: Configuration)]
  /// In force at the base of the log.
  var baseCheckpoint: Checkpoint

  // Membership
  package internal(set) var configuration: Configuration
  package internal(set) var epochStart: ChainPoint
  var peers: [Peer] = []
  /// Cached: this node is an acceptor of the configuration.
  package internal(set) var isAcceptor = false

  // Writes
  var sequence: UInt64 = 0
  var completedSequence: UInt64 = 0
  /// The write that makes this epoch durable here.
  var epochWrite: UInt64 = 0
  /// Durable under `accepted`.
  var durableLast: SlotNumber = 0
  var persistedPromised: Ballot
  var persistedAccepted: Ballot
  /// True until written, so that the first write after a loss says so.
  var persistedCertain = true
  /// The promise or adoption that this node's own vote depends on.
  var promiseSequence: UInt64 = 0
  var stallSince: Ticks = 0
  package internal(set) var diskFailed = false

  // Time
  var now: Ticks
  let started: Ticks
  var random: UInt64
  var nextHeartbeat: Ticks
  var lastHeartbeat: Ticks = 0
  var electionDeadline: Ticks

  // Follower
  package internal(set) var role: Role = .follower
  package internal(set) var leader: NodeID?
  var leaderBallot: Ballot
  var leaderHeard: Ticks
  /// Greatest round seen anywhere in this epoch.
  var greatestRound: UInt64 = 0
  /// To whom, and until when, this node has granted a lease.
  var grantBallot: Ballot
  var grantUntil: Ticks
  var lastProgress: Ticks
  var fetchPending: (from: NodeID, at: Ticks)?
  /// Whom to ask for the next records, when `fetchPace` and the disk allow.
  var fetchMore: NodeID?
  var fetchPace = FetchPace()
  var installing: (point: ChainPoint, at: Ticks)?
  /// The log behind this slot is small: it stays, whatever else may go. Set by the driver, who knows its bytes.
  package var nearEnd: SlotNumber = 0
  /// As of when, on its own clock, this node knows everything chosen through `freshSlot`.
  var freshAsOf: Ticks = 0
  var freshSlot: SlotNumber = 0
  var repairCursor = 0
  var repairAt: Ticks = 0

  // Candidate
  /// The ballot asked for or campaigned with.
  var candidateBallot: Ballot
  var ownPromise: Promise?
  /// Made, not yet durable.
  var pendingOwnPromise: Promise?
  var campaignedAt: Ticks = 0
  var adoptingFrom: NodeID?
  var released: Ballot
  var candidateRetry: Ticks = 0

  // Leader
  var leaderSince: Ticks = 0
  var adoptedEnd: SlotNumber = 0
  /// The first slot of this leadership; reads wait for it.
  var readBarrier: SlotNumber = 0
  /// Chosen by acceptances counted here; shown as `chosen` once older leases have expired.
  var counted: SlotNumber = 0
  var exposeAfter: Ticks = 0
  var unchosenBytes = 0
  var round: UInt64 = 0
  var roundSent: [Ticks] = []
  /// The first round of this leadership.
  var firstRound: UInt64 = 0
  package internal(set) var leaseUntil: Ticks = 0
  var leaseForfeited = false
  var pendingReads: [PendingRead] = []
  var buildPending: Configuration?
  var transfer: Transfer?

  /// - Parameters:
  ///   - seed: for election jitter only; different on each node.
  ///   - now: the local clock.
  package init(
    id: NodeID, cluster: ClusterID, settings: Settings, recovered: Recovered, seed: UInt64, now: Ticks,
    mutation: Mutation? = nil
  ) {
    settings.check()
    self.id = id
    self.cluster = cluster
    self.settings = settings
    self.mutation = mutation
    promised = recovered.promised
    accepted = recovered.accepted
    first = recovered.first
    damaged = recovered.damaged
    tailCertain = recovered.tailCertain
    amnesiac = recovered.amnesiac
    baseCheckpoint = recovered.base
    log = LogIndex(base: recovered.base.point)
    for entry in recovered.entries { log.append(entry) }
    stops = recovered.stops
    chosen = min(max(recovered.chosen, recovered.base.point.slot, recovered.checkpoint), log.last)
    checkpointPoint = ChainPoint(
      slot: recovered.checkpoint, chain: log.chain(at: recovered.checkpoint) ?? recovered.base.point.chain)
    configuration = recovered.base.configuration
    epochStart = recovered.base.epochStart
    persistedPromised = promised
    persistedAccepted = accepted
    durableLast = log.last
    self.now = now
    started = now
    random = seed &+ id.rawValue &* 0x9E37_79B9_7F4A_7C15
    nextHeartbeat = now
    electionDeadline = now
    leaderBallot = .zero
    leaderHeard = now
    // It forgot its grants; until they must have expired, it reports one to an unknown leader.
    grantBallot = Ballot(epoch: .max, round: 0, priority: 0, node: NodeID(0))
    grantUntil = mutation == .grantsForgottenOnRestart ? 0 : now + settings.grant
    lastProgress = now
    candidateBallot = .zero
    released = .zero
    // The configuration in force is the one whose epoch was entered; a stop beyond it is not yet known to be chosen.
    for stop in stops
    where stop.configuration.epoch <= max(promised.epoch, configuration.epoch) || stop.slot <= chosen
      || mutation == .configurationFromUnchosenTail
    {
      configuration = stop.configuration
      epochStart = ChainPoint(slot: stop.slot, chain: log.chain(at: stop.slot) ?? .zero)
      chosen = max(chosen, stop.slot)
    }
    if promised.epoch < configuration.epoch { promised = .start(of: configuration.epoch) }
    if accepted.epoch < configuration.epoch { accepted = .start(of: configuration.epoch) }
    if mutation == .forgetPromiseOnRestart { promised = accepted }
    greatestRound = promised.round
    rebuildPeers()
    electionDeadline = now + electionTimeout()
    if isAcceptor && configuration.acceptorCount == 1 {
      electionDeadline = now
      grantUntil = 0
    }
  }

  // MARK: What the driver reads

  package var last: SlotNumber { log.last }
  package var lastChain: Chain { log.lastChain }
  package var isLeader: Bool { role == .leader }
  package var ballot: Ballot { promised }
  /// The stop record beyond the chosen log, if one is there.
  package var pendingStop: (slot: SlotNumber, configuration: Configuration)? {
    guard let stop = stops.last, stop.slot > chosen else { return nil }
    return stop
  }

  package func chain(at slot: SlotNumber) -> Chain? { log.chain(at: slot) }
  package func entry(at slot: SlotNumber) -> Entry? { log.entry(at: slot) }
  package var indexBase: ChainPoint { log.base }

  /// The point, configuration and epoch that a checkpoint of the state at `slot` must carry; nil unless that slot is
  /// chosen and remembered.
  package func checkpoint(at slot: SlotNumber) -> Checkpoint? {
    guard slot <= chosen, let chain = log.chain(at: slot) else { return nil }
    var checkpoint = baseCheckpoint
    checkpoint.point = ChainPoint(slot: slot, chain: chain)
    if mutation == .checkpointWithoutConfiguration { return checkpoint }
    for stop in stops where stop.slot <= slot {
      checkpoint.configuration = stop.configuration
      checkpoint.epochStart = ChainPoint(slot: stop.slot, chain: log.chain(at: stop.slot) ?? epochStart.chain)
    }
    if checkpoint.configuration.epoch == configuration.epoch { checkpoint.epochStart = epochStart }
    return checkpoint
  }

  /// How stale a read at `applied` may be, in microseconds of the local clock; nil if unknown. A leader without a lease may
  /// have been deposed, and does not know.
  package func staleness(applied: SlotNumber, now: Ticks) -> Ticks? {
    if isLeader { return leaseHolds(applied: .max, now: now) && applied >= readBarrier ? 0 : nil }
    guard freshAsOf > 0, applied >= freshSlot, now >= freshAsOf else { return nil }
    return now - freshAsOf
  }

  /// This node's disk has completed what was asked lately.
  package var diskFit: Bool {
    if diskFailed { return false }
    return completedSequence == sequence || now - stallSince < settings.diskStall
  }

  /// It may vote: an acceptor that remembers what it vowed.
  /// and that knows the configuration it last voted in.
  var mayVote: Bool {
    isAcceptor && (!amnesiac || mutation == .amnesiacVotes) && !diskFailed && promised.epoch == configuration.epoch
  }

  var electionQuorum: Int { configuration.electionQuorum - (mutation == .electionQuorumTooSmall ? 1 : 0) }
  var replicationQuorum: Int {
    configuration.replicationQuorum - (mutation == .replicationQuorumTooSmall ? 1 : 0)
  }

  // MARK: Helpers used everywhere

  /// A uniform number below `bound` (SplitMix64).
  mutating func randomTicks(below bound: Ticks) -> Ticks {
    random &+= 0x9E37_79B9_7F4A_7C15
    var z = random
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z >> 31
    return bound == 0 ? 0 : z % bound
  }

  mutating func electionTimeout() -> Ticks {
    let steps = Ticks(Settings.highestPriority - min(settings.priority, Settings.highestPriority))
    let witness: Ticks = configuration.isWitness(id) ? 2 : 0
    return settings.election + (steps + witness) * settings.priorityStep + randomTicks(below: settings.electionJitter)
  }

  func send(
    _ notice: Notice, to node: NodeID, records: (first: SlotNumber, count: Int) = (0, 0), _ actions: inout Actions
  ) {
    actions.notices.append(
      NoticeEnvelope(
        to: node, epoch: configuration.epoch, notice: notice, firstRecord: records.first,
        recordCount: UInt32(records.count)))
  }

  /// Emits one durable write. Entries and vows from the given indices of the actions belong to it.
  mutating func persist(_ change: Change, entriesFrom: Int, vowsFrom: Int, _ actions: inout Actions) {
    if completedSequence == sequence { stallSince = now }
    sequence += 1
    if mutation == .replyBeforeDurable, vowsFrom < actions.vows.count {
      actions.persists.append(
        Persist(
          token: Token(sequence: sequence, accepted: accepted, last: durableLast), promised: persistedPromised,
          accepted: persistedAccepted, chosen: chosen, tailCertain: tailCertain, ballotsChanged: false, change: .none,
          entries: entriesFrom..<entriesFrom, vows: vowsFrom..<actions.vows.count))
      sequence += 1
    }
    let early = mutation == .replyBeforeDurable || mutation == .acceptedBeforeRecords
    if mutation == .acceptedBeforeRecords, case .replace = change {
      actions.persists.append(
        Persist(
          token: Token(sequence: sequence, accepted: accepted, last: durableLast), promised: promised,
          accepted: accepted, chosen: chosen, tailCertain: tailCertain, ballotsChanged: true, change: .none,
          entries: entriesFrom..<entriesFrom,
          vows: vowsFrom..<vowsFrom))
      sequence += 1
    }
    actions.persists.append(
      Persist(
        token: Token(sequence: sequence, accepted: accepted, last: log.last), promised: promised,
        accepted: accepted, chosen: chosen, tailCertain: tailCertain,
        ballotsChanged: promised != persistedPromised || accepted != persistedAccepted
          || tailCertain != persistedCertain, change: change,
        entries: entriesFrom..<actions.entries.count,
        vows: (early && mutation == .replyBeforeDurable ? actions.vows.count : vowsFrom)..<actions.vows.count))
    persistedPromised = promised
    persistedAccepted = accepted
    persistedCertain = tailCertain
  }

  // MARK: Inputs common to all roles

  mutating func advance(to time: Ticks) { if time > now { now = time } }

  /// Time passes. Call it every 10 ms or so; nothing here depends on how often exactly.
  package mutating func tick(now time: Ticks, into actions: inout Actions) {
    advance(to: time)
    if now >= nextHeartbeat { beat(&actions) }
    switch role {
    case .leader: leaderTick(&actions)
    case .candidate: candidateTick(&actions)
    case .follower, .asking: followerTick(&actions)
    }
    repairTick(&actions)
    fetchMoreIfDue(&actions)
    if configuration.isWitness(id) { truncateAsWitness(&actions) }
  }

  /// When `tick` has something to do again, as far as that is known: at once (`now`) where something is under way that is
  /// watched tick by tick, otherwise when a heartbeat or a campaign is due. So an idle node sleeps from heartbeat to heartbeat.
  package func nextTick(now: Ticks) -> Ticks {
    guard damaged.isEmpty, completedSequence == sequence, fetchPending == nil, fetchMore == nil else { return now }
    switch role {
    case .candidate, .asking: return now
    case .follower: return min(nextHeartbeat, electionDeadline)
    case .leader:
      let isQuiet =
        transfer == nil && chosen == log.last && pendingStop == nil && buildPending == nil
        && !configuration.isWitness(id)
      // A peer that cannot be reached is asked again now and then, and that may wait for the heartbeat.
      return isQuiet ? nextHeartbeat : now
    }
  }

  /// A write is durable, and so are all before it.
  package mutating func persisted(_ token: Token, now time: Ticks, into actions: inout Actions) {
    advance(to: time)
    guard token.sequence > completedSequence, token.sequence <= sequence else { return }
    completedSequence = token.sequence
    stallSince = now
    // A completion that belongs to an overwritten log says nothing about what replaced it.
    if mutation == .staleCompletionCounts {
      durableLast = min(max(durableLast, token.last), log.last)
    } else if token.accepted == accepted, token.last <= log.last {
      durableLast = max(durableLast, token.last)
    }
    switch role {
    case .candidate: ownPromiseDurable(&actions)
    case .leader: countChosen(&actions)
    case .follower, .asking: break
    }
    if fetchMore != nil { fetchMoreIfDue(&actions) }
  }

  /// The disk refused a write: what it holds is unknown, so this node stops voting and leading until restarted.
  package mutating func diskFailed(now time: Ticks, into actions: inout Actions) {
    advance(to: time)
    diskFailed = true
    if role != .follower { stepDown(&actions) }
  }

  /// Relations that hold after every input. Costs O(1).
  package func checkInvariants() -> String? {
    if accepted > promised { return "P1: accepted \(accepted) above promised \(promised)" }
    if chosen < log.base.slot || chosen > log.last { return "P2: chosen \(chosen) outside the log" }
    if promised.epoch != configuration.epoch, tailCertain, damaged.isEmpty {
      return "P6: promised \(promised) in epoch \(configuration.epoch)"
    }
    if role == .leader, accepted != promised { return "a leader that has not accepted its own ballot" }
    if durableLast > log.last { return "durable beyond the log" }
    if let stop = pendingStop, stop.slot != log.last { return "P6: a record after a stop" }
    return nil
  }
}
