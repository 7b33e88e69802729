// What nodes say to each other.
//
// There are two kinds of speech, and the type tells them apart:
//
//   Notice  says nothing about what is on a disk. It may leave at once.
//   Vow     is an acceptor's word, which must survive a crash: Promise (1b) and Accepted (2b). A vow can be put
//           only into a `Persist` action, and leaves when that write is durable. There is no other way to send one.
//
// Textbook names: prepare = 1a, promise = 1b, accept and acceptSync = 2a, accepted = 2b, refused = nack.

/// One message. Records travel beside it; see `Entry`.
package struct Message: Hashable, Sendable {
  package enum Content: Hashable, Sendable {
    case notice(Notice)
    case vow(Vow)
  }
  package var cluster: ClusterID
  package var from: NodeID
  package var to: NodeID
  /// The sender's epoch when it wrote this.
  package var epoch: UInt32
  package var content: Content

  package init(cluster: ClusterID, from: NodeID, to: NodeID, epoch: UInt32, content: Content) {
    self.cluster = cluster
    self.from = from
    self.to = to
    self.epoch = epoch
    self.content = content
  }
}

/// Speech that promises nothing durable.
package enum Notice: Hashable, Sendable {
  case heartbeat(Heartbeat)
  case heartbeatAck(HeartbeatAck)
  /// "Would you promise this ballot?" Changes nothing at the receiver.
  case preVote(ballot: Ballot)
  case preVoteReply(ballot: Ballot, granted: Bool, promised: Ballot)
  /// `released` is the ballot whose leader gave up its lease for this candidate.
  case prepare(ballot: Ballot, released: Ballot)
  /// "I have promised a higher ballot than yours."
  case refused(promised: Ballot)
  case acceptSync(AcceptSync)
  case accept(Accept)
  /// "These records do not follow on mine."
  case acceptRefused(ballot: Ballot, accepted: Ballot, last: SlotNumber)
  case fetch(Fetch)
  case records(Records)
  /// "I cannot serve that fetch."
  case missing(purpose: Fetch.Purpose, previousSlot: SlotNumber)
  case checkpointOffer(ChainPoint)
  /// "The record at this point ended the epoch before mine, and is chosen."
  case startEpoch(ChainPoint)
  case readIndex(nonce: UInt64)
  /// `slot` is nil if the receiver does not lead, or is not yet ready.
  case readIndexReply(nonce: UInt64, slot: SlotNumber?)
  /// "Campaign now; I have given up my lease."
  case timeoutNow(ballot: Ballot, last: SlotNumber)
}

/// An acceptor's word.
package enum Vow: Hashable, Sendable {
  case promise(Promise)
  case accepted(Accepted)
}

/// All nodes to all nodes, all the time.
package struct Heartbeat: Hashable, Sendable {
  /// The leader's own ballot if it leads, otherwise the highest promised.
  package var ballot: Ballot
  package var leads: Bool
  /// It has lately exchanged messages both ways with a quorum. The word of a leader without one keeps nobody from
  /// campaigning; that is what resolves partial partitions.
  package var quorumConnected: Bool
  package var diskFit: Bool
  /// Numbers the leader's rounds; an answer grants a lease and confirms reads.
  package var round: UInt64
  package var chosen: ChainPoint
  package var checkpoint: SlotNumber
  /// The sender's clock, and the receiver's clock as last seen in a heartbeat or an answer: a completed round trip.
  package var sent: Ticks
  package var echo: Ticks
  /// The leader holds a lease now: with `echo`, what bounds a follower's staleness.
  package var leased: Bool

  package init(
    ballot: Ballot, leads: Bool, quorumConnected: Bool, diskFit: Bool, round: UInt64, chosen: ChainPoint,
    checkpoint: SlotNumber, sent: Ticks, echo: Ticks, leased: Bool
  ) {
    self.ballot = ballot
    self.leads = leads
    self.quorumConnected = quorumConnected
    self.diskFit = diskFit
    self.round = round
    self.chosen = chosen
    self.checkpoint = checkpoint
    self.sent = sent
    self.echo = echo
    self.leased = leased
  }
}

/// To a leader's heartbeat.
package struct HeartbeatAck: Hashable, Sendable {
  package var ballot: Ballot
  package var round: UInt64
  /// The sender has promised `ballot`, nothing higher, and holds this leader's lease from now on.
  package var granted: Bool
  package var accepted: Ballot
  package var last: SlotNumber
  package var sent: Ticks
  package var echo: Ticks

  package init(
    ballot: Ballot, round: UInt64, granted: Bool, accepted: Ballot, last: SlotNumber, sent: Ticks, echo: Ticks
  ) {
    self.ballot = ballot
    self.round = round
    self.granted = granted
    self.accepted = accepted
    self.last = last
    self.sent = sent
    self.echo = echo
  }
}

/// Phase 1b.
package struct Promise: Hashable, Sendable {
  package var ballot: Ballot
  package var accepted: Ballot
  package var last: SlotNumber
  package var chosen: SlotNumber
  /// Ascending points of the log, denser toward the end; the first is at `chosen` or above.
  package var samples: [ChainPoint]
  /// The end of the log is exactly known and every record above `chosen` is readable. An uncertain log does not
  /// count as one that lacks a record.
  package var certain: Bool
  /// For how long a lease granted to `leaseBallot` may still be relied on.
  package var leaseRemaining: Ticks
  package var leaseBallot: Ballot

  package init(
    ballot: Ballot, accepted: Ballot, last: SlotNumber, chosen: SlotNumber, samples: [ChainPoint], certain: Bool,
    leaseRemaining: Ticks, leaseBallot: Ballot
  ) {
    self.ballot = ballot
    self.accepted = accepted
    self.last = last
    self.chosen = chosen
    self.samples = samples
    self.certain = certain
    self.leaseRemaining = leaseRemaining
    self.leaseBallot = leaseBallot
  }
}

/// Phase 2b: "under `ballot` my log is the leader's through this point, durably."
package struct Accepted: Hashable, Sendable {
  package var ballot: Ballot
  package var point: ChainPoint

  package init(ballot: Ballot, point: ChainPoint) {
    self.ballot = ballot
    self.point = point
  }
}

/// Phase 2a for the log that a new leader adopted. The receiver replaces what follows `previous` as one step.
package struct AcceptSync: Hashable, Sendable {
  package var ballot: Ballot
  package var previous: ChainPoint
  /// The end of the adopted log; the records reach it at least.
  package var adoptedEnd: SlotNumber
  package var chosen: SlotNumber

  package init(ballot: Ballot, previous: ChainPoint, adoptedEnd: SlotNumber, chosen: SlotNumber) {
    self.ballot = ballot
    self.previous = previous
    self.adoptedEnd = adoptedEnd
    self.chosen = chosen
  }
}

/// Phase 2a, pipelined.
package struct Accept: Hashable, Sendable {
  package var ballot: Ballot
  package var previous: ChainPoint
  package var chosen: SlotNumber

  package init(ballot: Ballot, previous: ChainPoint, chosen: SlotNumber) {
    self.ballot = ballot
    self.previous = previous
    self.chosen = chosen
  }
}

/// Asks for records.
package struct Fetch: Hashable, Sendable {
  package enum Purpose: UInt8, Hashable, Sendable {
    /// Chosen records, from anybody.
    case learn = 0
    /// The rest of the log that a candidate is going to adopt, from the acceptor that promised it.
    case adopt = 1
    /// Damaged records, from anybody whose chain proves them.
    case repair = 2
  }
  package var purpose: Purpose
  package var previous: ChainPoint
  /// For `adopt`, the candidate's ballot.
  package var ballot: Ballot
  /// For `repair`, the last slot wanted and the chain expected there. For `learn`, no more than through this slot, and where
  /// it is `previous` as much as an answer holds.
  package var end: ChainPoint

  package init(purpose: Purpose, previous: ChainPoint, ballot: Ballot, end: ChainPoint) {
    self.purpose = purpose
    self.previous = previous
    self.ballot = ballot
    self.end = end
  }
}

/// Answers a fetch; the records follow on `previous`.
package struct Records: Hashable, Sendable {
  package var purpose: Fetch.Purpose
  package var previous: ChainPoint
  package var ballot: Ballot
  /// What the sender knows to be chosen; records sent to learn lie at or below.
  package var chosen: SlotNumber

  package init(purpose: Fetch.Purpose, previous: ChainPoint, ballot: Ballot, chosen: SlotNumber) {
    self.purpose = purpose
    self.previous = previous
    self.ballot = ballot
    self.chosen = chosen
  }
}

/// A notice on its way. The driver adds cluster and sender, and the bytes of the records named.
package struct NoticeEnvelope: Hashable, Sendable {
  package var to: NodeID
  package var epoch: UInt32
  package var notice: Notice
  /// Records `firstRecord ..< firstRecord + recordCount` go with it. The driver may send fewer with `records`,
  /// and must end at a stop record.
  package var firstRecord: SlotNumber
  package var recordCount: UInt32
}

/// A vow that waits for its write.
package struct VowEnvelope: Hashable, Sendable {
  package var to: NodeID
  package var epoch: UInt32
  package var vow: Vow
}
