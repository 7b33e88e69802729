// One simulated machine: a replica, its disk, its clock, its state.

import Paxos

/// A moment at which a crash is most likely to find something.
enum Trap: Int, CaseIterable {
  /// Between a write of ballots and its sync.
  case ballots
  /// Between a replacement of the log's end and its sync.
  case replacement
  /// Soon after becoming leader.
  case leadership
}

final class ClusterNode {
  let index: Int
  let id: NodeID
  let settings: Settings
  var replica: Replica?
  let store: any ReplicaStore
  var machine = ClusterMachine()
  /// The state that survives a crash, at `store.checkpoint`.
  var savedMachine = ClusterMachine()
  /// A checkpoint being taken: state and where.
  var takingCheckpoint: (machine: ClusterMachine, checkpoint: Checkpoint)?
  /// Fetched from a peer; becomes `savedMachine` when the install write is durable.
  var incoming: [(machine: ClusterMachine, sequence: UInt64)] = []
  var life: UInt32 = 0
  var pausedUntil: UInt64 = 0
  /// Nothing happens here any more: removed, or frozen for good.
  var isFrozen = false
  var amnesiac = false
  var wasMember = false
  /// Crashes at its next moment of this kind.
  var armed: Trap?

  // Clock: local = offset + time + time · rate / 10⁶
  var offset: UInt64
  var rateMillionths: Int64

  // Disk
  var syncRunning = false
  var syncThrough: UInt64 = 0
  var submitted: UInt64 = 0
  var lastToken: Token?
  var syncToken: Token?
  var vows: [(sequence: UInt64, envelope: VowEnvelope)] = []
  var slowFactor: UInt64 = 1
  var stuckUntil: UInt64 = 0

  // For the observer
  var seenPromised: Ballot
  var seenAccepted: Ballot
  var seenChosen: SlotNumber = 0
  var seenLast: SlotNumber = 0
  var seenLastChain = Chain.zero
  var seenRole = Role.follower
  var seenEpoch: UInt32 = 0
  /// The lowest slot behind which learned records replaced others under the same ballot, in this life.
  var learnedCut: SlotNumber?
  var roundReads: [UInt64: (floor: SlotNumber, slot: SlotNumber?)] = [:]

  init(index: Int, id: NodeID, settings: Settings, store: any ReplicaStore, offset: UInt64, rateMillionths: Int64) {
    self.index = index
    self.id = id
    self.settings = settings
    self.store = store
    self.offset = offset
    self.rateMillionths = rateMillionths
    seenPromised = store.durablePromised
    seenAccepted = store.durableAccepted
  }

  func local(_ time: UInt64) -> Ticks {
    let drift = Int64(time) * rateMillionths / 1_000_000
    return UInt64(Int64(offset) + Int64(time) + drift)
  }
}
