package import Encoding
internal import Log
package import Paxos
internal import Platform
internal import Synchronization

// Where this node stands: what others may know of it, and what an operator changes.

/// A node's place in its cluster, as status views show it.
package struct ReplicationStatus: Sendable {
  package var node: NodeID
  package var role: Role
  package var leader: NodeID?
  package var ballot: Ballot
  package var configuration: Configuration
  package var last: SlotNumber
  package var chosen: SlotNumber
  package var applied: SlotNumber
  package var holdsLease: Bool
  /// How old a read here may be, in microseconds; nil where nobody knows.
  package var stalenessMicroseconds: UInt64?
  /// Commits are taken here.
  package var takesCommits: Bool
  package var diskFailed: Bool
  /// The disk is full: nothing new is written until there is space.
  package var isOutOfSpace: Bool
  /// The state here is damaged or missing, and a peer's checkpoint is on its way.
  package var lacksState: Bool
  /// Records that cannot be read and are not repaired yet.
  package var damagedRecords: Int
}

extension ReplicatedLog {
  var now: Ticks { clock.bootNanoseconds / 1000 }

  // MARK: Looking

  package var status: ReplicationStatus {
    let now = now
    let applied = applied.load(ordering: .acquiring)
    let takes = takesCommits.load(ordering: .acquiring)
    return core.withLock { core in
      ReplicationStatus(
        node: node, role: core.replica.role, leader: core.replica.leader, ballot: core.replica.promised,
        configuration: core.replica.configuration, last: core.replica.last, chosen: core.replica.chosen,
        applied: applied, holdsLease: core.replica.leaseHolds(applied: .max, now: now),
        stalenessMicroseconds: core.replica.staleness(applied: applied, now: now),
        takesCommits: takes, diskFailed: core.replica.diskFailed,
        isOutOfSpace: isOutOfSpace.load(ordering: .acquiring),
        lacksState: lacksState.load(ordering: .acquiring), damagedRecords: core.replica.damaged.count)
    }
  }

  /// Whether commits are taken here. One load.
  package var admitsCommits: Bool { takesCommits.load(ordering: .acquiring) }

  /// Groups that were proposed and are not yet applied, and those that wait to be.
  package var pendingProposals: Int {
    let behind = core.withLock { $0.replica.isLeader ? $0.replica.last &- $0.replica.chosen : 0 }
    return Int(clamping: behind) + (commits.withLock { $0.hasWaiting } ? 1 : 0)
  }

  /// What is known of the others.
  package var peers: [PeerStatus] {
    let now = now
    return core.withLock { $0.replica.peerStatus(now: now) }
  }

  /// The records of this node's log that it has not applied, in bytes; an estimate where they are many.
  package var unappliedBytes: UInt64 {
    let applied = applied.load(ordering: .acquiring)
    return core.withLock { $0.replica.bytes(after: applied) }
  }

  /// How old the first record is that a peer has not, in seconds, by the leader's clock; nil where it is no longer in
  /// memory.
  package func lagSeconds(of peer: PeerStatus) -> Double? {
    let (last, time) = core.withLock { core in
      (core.replica.last, core.cache.record(at: peer.matched + 1)?.header.leaderTime)
    }
    if peer.matched >= last { return 0 }
    guard let time else { return nil }
    let now = clock.wallNanoseconds
    return now > time ? Double(now - time) / 1e9 : 0
  }

  /// Every slot's place in the chain of all records: equal chains at a slot mean equal logs, and equal state.
  package func chain(at slot: Slot) -> Hash128? {
    core.withLock { $0.replica.chain(at: slot.rawValue).map { Hash128($0) } } ?? log.chain(at: slot)
  }

  /// False for a witness: there is nothing to read here.
  package var keepsState: Bool { options.keepsState }

  /// What catching up and healing did.
  package var transferCounts: TransferCounts { transfers.withLock { $0 } }

  /// Why this node takes no part any more, if so.
  package var failureReason: String? { failure.withLock { $0 } ?? log.failure.map { "\($0)" } }

  /// The state turned out to be damaged: it is replaced by a peer's as soon as one can be had.
  package func stateIsDamaged(_ reason: String) {
    guard options.keepsState, !lacksState.load(ordering: .acquiring),
      !isStateDamaged.exchange(true, ordering: .acquiringAndReleasing)
    else { return }
    options.note("the state is damaged, and is asked for from other nodes: \(reason)")
    receivingWord.increment()
    receivingWord.wake()
  }

  // MARK: Membership and leadership

  /// Begins to hand leadership to a voter.
  package func transferLeadership(to target: NodeID) -> TransferRefusal? {
    enter { core in core.replica.transferLeadership(to: target, now: self.now, into: &core.front) }
  }

  /// Begins a change of members.
  package func reconfigure(to next: Configuration) -> ReconfigurationRefusal? {
    enter { core in core.replica.reconfigure(to: next, now: self.now, into: &core.front) }
  }

  /// Why a change of members would not be begun now.
  package func refusalToReconfigure(to next: Configuration) -> ReconfigurationRefusal? {
    core.withLock { $0.replica.refusalToReconfigure(to: next, now: self.now) }
  }

  /// Remembers how peers are reached, for the next start.
  package func noteAddresses(_ peers: [Members.Peer]) {
    members.withLock { $0.peers = peers }
    request(.saveMembers)
  }

  /// Remembers that this node has been a member: should it be removed, it does not ask to be taken in again.
  package func noteMembership() {
    members.withLock { $0.hasBeenMember = true }
    request(.saveMembers)
  }

  /// Everything through `slot` is in tables here; the log need not keep it for this node.
  ///
  /// It is kept all the same for members that lag, up to `options.retainedLogSizeBytes`, and for one that takes a
  /// checkpoint, up to `options.transferLogSizeBytes` more.
  package func flushed(_ slot: Slot) {
    flushedSlot.store(slot.rawValue, ordering: .releasing)
    let retained = log.lastSlot(leaving: options.retainedLogSizeBytes)
    let bound = log.lastSlot(leaving: options.retainedLogSizeBytes + options.transferLogSizeBytes)
    let near = log.lastSlot(leaving: options.nearLogSizeBytes)
    let floor = max(transferFloor.load(ordering: .acquiring), bound.rawValue)
    enter { core in
      let lagging = max(core.replica.slowestPeer, retained.rawValue)
      let point = min(slot.rawValue, lagging, floor)
      guard point > 0,
        let chain = core.replica.chain(at: point) ?? self.log.chain(at: Slot(point)).map({ Chain($0) })
      else { return }
      core.replica.nearEnd = near.rawValue
      core.replica.checkpointed(ChainPoint(slot: point, chain: chain), now: self.now, into: &core.front)
    }
  }
}
