// What the driver must do, and in which order.
//
//   1. For each `Persist`, in order: put the change in the write queue. Durability is in that order, and a change is
//      durable whole or not at all where it says so. When it is durable, send its vows, then call `persisted(token)`.
//   2. Send the notices. They may name records of persists in the same `Actions`, durable or not.
//   3. Build what `builds` asks for and hand it back with `built`, before the next input.
//   4. Apply records through `apply`, answer reads, start transfers of checkpoints, truncate.
//
// A persist without a change is a barrier: it is durable when all before it are, and needs no write of its own.
// One `Actions` is used again and again; in the steady state nothing here allocates.

/// Names one durable write. The ballot keeps the completion of an overwritten write from counting for what
/// replaced it (etcd/raft calls it the ABA problem of asynchronous appends).
package struct Token: Hashable, Sendable {
  package var sequence: UInt64
  package var accepted: Ballot
  package var last: SlotNumber
}

/// What changes on disk.
package enum Change: Hashable, Sendable {
  case none
  /// The entries follow on what is there.
  case append
  /// Everything after `slot` is replaced by the entries, and the ballots change, as one atomic step (SYNC_BEGIN …
  /// SYNC_END): after a crash either all of it is there or none.
  case replace(after: SlotNumber)
  /// The entries replace damaged copies of themselves.
  case repair
  /// The log restarts after this checkpoint, whose files are durable; records after it stay if `keepingLog`.
  case install(Checkpoint, keepingLog: Bool)
}

/// One durable write and the words that wait for it.
package struct Persist: Sendable {
  package var token: Token
  package var promised: Ballot
  package var accepted: Ballot
  /// A hint, worth no write of its own: slots through here were chosen.
  package var chosen: SlotNumber
  /// False if records may be missing after the end that recovery found. It is kept with the ballots: after the damaged
  /// end is overwritten nothing else tells.
  package var tailCertain: Bool
  /// The ballots, or `tailCertain`, differ from those of the persist before, so a control record is due.
  package var ballotsChanged: Bool
  package var change: Change
  /// In `Actions.entries`.
  package var entries: Range<Int>
  /// In `Actions.vows`.
  package var vows: Range<Int>
}

/// A point at which state can stand for the log before it.
package struct Checkpoint: Hashable, Sendable {
  package var point: ChainPoint
  /// In force after the point.
  package var configuration: Configuration
  /// The stop record that brought it into force; slot 0 for the first.
  package var epochStart: ChainPoint
  package init(point: ChainPoint, configuration: Configuration, epochStart: ChainPoint) {
    self.point = point
    self.configuration = configuration
    self.epochStart = epochStart
  }
}

/// A record that the protocol needs.
package struct Build: Sendable {
  package var slot: SlotNumber
  package var previous: Chain
  package var origin: Ballot
  package var kind: EntryKind
  /// For a stop record.
  package var configuration: Configuration?
}

/// Chosen through `slot` when the read with this nonce began: serve it once that is applied. Nil: ask again.
package struct ReadAnswer: Hashable, Sendable {
  package var nonce: UInt64
  package var slot: SlotNumber?
}

/// What one or several inputs ask of the driver.
package struct Actions: Sendable {
  package var persists: [Persist] = []
  package var entries: [Entry] = []
  package var vows: [VowEnvelope] = []
  package var notices: [NoticeEnvelope] = []
  package var builds: [Build] = []
  /// Apply the log through here.
  package var apply: SlotNumber?
  package var reads: [ReadAnswer] = []
  /// Have this checkpoint (or a later one) from this node.
  package var wanted: (from: NodeID, point: ChainPoint)?
  /// Records through the point may go.
  package var truncate: Checkpoint?
  /// `role`, `configuration` or the leader is not what it was.
  package var standingChanged = false

  package init() {}

  package var isEmpty: Bool {
    persists.isEmpty && notices.isEmpty && builds.isEmpty && apply == nil && reads.isEmpty && wanted == nil
      && truncate == nil && !standingChanged
  }

  package mutating func reset() {
    persists.removeAll(keepingCapacity: true)
    entries.removeAll(keepingCapacity: true)
    vows.removeAll(keepingCapacity: true)
    notices.removeAll(keepingCapacity: true)
    builds.removeAll(keepingCapacity: true)
    reads.removeAll(keepingCapacity: true)
    apply = nil
    wanted = nil
    truncate = nil
    standingChanged = false
  }
}

/// What a restarted node reads from its disk.
package struct Recovered: Sendable {
  package var promised: Ballot
  package var accepted: Ballot
  package var chosen: SlotNumber
  /// What lies before the first of `entries`: the point, and what is in force there.
  package var base: Checkpoint
  /// The newest checkpoint's slot; at or after the base. State may be ahead of the log when the power fails: a log that
  /// ends before this slot, or has another chain there, must be dropped first, and the base be the checkpoint.
  package var checkpoint: SlotNumber
  /// The first slot that the log on disk still holds.
  package var first: SlotNumber
  package var entries: [Entry]
  /// The configuration of every readable stop record in `entries`.
  package var stops: [(slot: SlotNumber, configuration: Configuration)]
  /// Damaged records, ascending. The chain of each is known if anything proves it, otherwise zero; the record after a
  /// run of them is readable.
  package var damaged: [SlotNumber]
  /// False if records may be missing after the last entry.
  package var tailCertain: Bool
  /// The ballots could not be read: this node has forgotten what it vowed.
  package var amnesiac: Bool

  /// A node that starts empty: the founders with the first configuration, a joining node with the same one.
  package init(founding configuration: Configuration, chain: Chain) {
    let start = ChainPoint(slot: 0, chain: chain)
    promised = .start(of: configuration.epoch)
    accepted = promised
    chosen = 0
    base = Checkpoint(point: start, configuration: configuration, epochStart: start)
    checkpoint = 0
    first = 1
    entries = []
    stops = []
    damaged = []
    tailCertain = true
    amnesiac = false
  }
}
