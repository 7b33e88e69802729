// The log of a node among others: drives a `Paxos.Replica` over `Log` and a network, and delivers what is chosen.
//
//   sessions ──append──▶ open group ──▶ record: built once, LZ4, hashed ──▶ ┌ own disk (its thread) ─▶ persisted ┐
//                        (closes when the write before it ends)              └ peers: the same bytes ─▶ accepted ┴▶ chosen
//   chosen ──▶ delivery (its thread, in log order) ──▶ engine: apply, publish ──▶ whoever waits
//
// The replica is a value behind one lock. Whoever has news for it (a session that proposes, the disk's thread, the
// network's, the clock's) takes the lock, hands the news in and carries out the actions; nothing waits for I/O under the
// lock. Who took the lock then sends what is to be sent, and a thread of the network that brought something does what follows
// from it by itself, as long as that is little: a follower writes and answers, the leader applies and wakes the session. So
// a commit of an idle cluster wakes one thread on a follower, and on the leader the disk's, the network's and the session's.
//
// Threads: disk (writes persists in their order, several at once where they wait), delivery (applies), clock (heartbeats,
// which do not depend on disk or queries, and a tick every 10 ms where something is under way), service (what reads the log
// for peers, truncates, saves), and two that wait until a checkpoint is to be sent (ReplicatedLog+Sending.swift) or received
// (+Receiving, +Installing), and one that reads what is compared between nodes (+Digests).
//
// Locks: `writing`, `delivering` → `core` → sequencer's latch, `commits`; sequencer's latch → `commits`. `writing` is held
// across a write, `delivering` while records are applied; a thread of the network only tries them. Callbacks of commits run
// under `delivering` or none.
//
// 1. A vow is sent when the write that it waits for returned; vows keep the order of their writes.
// 2. Only chosen records are applied, in order, each once.
// 3. A group that was proposed ends in one of three ways: delivered, when the record with its chain is applied at its slot;
//    restarted, when a record with another chain is applied there (from then on it never can be chosen); unknown, when
//    neither happened for `resolutionNanoseconds` after leadership was lost.
// 4. What waits behind the open group when leadership is lost was never proposed, hence is restarted at once.
// 5. Versions of a lost group leave the sequencer before others with the same versions are delivered.
// 6. Commits are taken in a leadership only when everything through its first record is applied here.

package import Encoding
package import Log
package import Paxos
package import Platform
package import Synchronization

extension ReplicatedState {
  package func nextSafeVersion() -> Version { .zero }
  package func learnSafeVersion(_ version: Version) {}
}

/// What the log is delivered to.
package protocol ReplicatedState: AnyObject, Sendable {
  /// Applies a chosen group and makes it visible; called in log order, one at a time.
  func deliver(_ group: ChosenGroup) throws(DeliveryError)
  /// Transactions sequenced at `version` and after it are not chosen and never will be.
  func discard(from version: Version)
  /// This node leads and everything before is applied: commits may begin, in a term that no other leadership has.
  func lead(term: UInt64)
  /// The newest version at which nobody needs a serialization graph to read, for the record that is being built.
  func nextSafeVersion() -> Version
  /// A record that is applied told of one.
  func learnSafeVersion(_ version: Version)
  /// This node leads no longer. What was sequenced from `version` on was never proposed.
  func resign(discardingFrom version: Version?)

  // Checkpoints. `details` are the state's own words, and come from another node.

  /// Moves everything applied into files, and keeps those as they are.
  func pinCheckpoint() throws(DeliveryError) -> any PinnedState
  /// The files that a peer's checkpoint consists of, in the order in which the peer has them.
  func checkpointFiles(_ details: [UInt8]) throws(DeliveryError) -> [CheckpointFile]
  /// Reads the whole file and compares it with what the details say of it.
  func isSound(_ index: Int, of details: [UInt8], at path: String) -> Bool
  /// Where this node has the same file already.
  func localPath(of file: CheckpointFile) -> String?
  /// Becomes the checkpoint, durably, in one step, and visibly; called where groups are delivered. The files lie in
  /// `directory` under their names. `chain` is remembered until the next flush.
  func install(
    _ details: [UInt8], slot: Slot, version: Version, chain: Hash128, directory: String
  ) throws(DeliveryError)
  /// Holds the state as it is now, for a digest of a part of it. Called where groups are delivered.
  func hold(_ part: DigestPart) -> (any HeldState)?
}

package struct ReplicatedLogOptions: Sendable {
  package var settings = Settings()
  /// A group is closed before it grows beyond this (unless one batch alone is longer).
  package var groupSizeBytes = 1 << 20
  /// How long at most a group waits, while one before it is not chosen, for more transactions to join it; and not where it has
  /// so many bytes already.
  package var holdNanoseconds: UInt64 = 500_000
  package var holdSizeBytes = 64 << 10
  /// Records kept in memory for peers and for the delivery.
  package var cacheSizeBytes = 64 << 20
  /// The log that is kept for members that lag. Those that need more are sent a checkpoint.
  package var retainedLogSizeBytes: UInt64 = 1 << 30
  /// The log that is kept though nobody is known to need it, at most: somebody who is started again knows a little less to be
  /// chosen than it told before.
  package var nearLogSizeBytes: UInt64 = 128 << 20
  /// The log that is kept beyond that while a checkpoint is being sent, for what comes after it.
  package var transferLogSizeBytes: UInt64 = 8 << 30
  /// How fast checkpoints are sent at most; how fast while others commit, or faster, if so one would take more than two
  /// minutes; and to how many at once.
  package var checkpointSizeBytesPerSecond: UInt64 = 64 << 20
  package var pacedCheckpointSizeBytesPerSecond: UInt64 = 2 << 20
  package var concurrentTransfers = 4
  /// How often a part of the state is compared between nodes, and how much of it.
  package var digestNanoseconds: UInt64 = 60_000_000_000
  package var digestSizeBytes: UInt64 = 64 << 20
  /// Space of the file system that a checkpoint must leave.
  package var transferReserveSizeBytes: UInt64 = 256 << 20
  /// False for a witness: chosen records are not applied, and there is nothing to read.
  package var keepsState = true
  /// A frame of several writes is written before it grows beyond this.
  package var frameSizeBytes = 4 << 20
  /// How long the fate of a commit may stay open after leadership was lost.
  package var resolutionNanoseconds: UInt64 = 5_000_000_000
  /// How long a read waits for this node to become able to serve it.
  package var readTimeoutNanoseconds: UInt64 = 2_000_000_000
  /// How long after the last commit followers are told that it is safe to read serializably.
  package var safeVersionDelayNanoseconds: UInt64 = 100_000_000
  package var tickNanoseconds: UInt64 = 10_000_000
  /// How long the log is idle before its end is sealed.
  package var sealDelayNanoseconds: UInt64 = 10_000_000
  /// Called, under a lock, when role, leader or members changed, or this node takes commits now.
  package var standingChanged: @Sendable () -> Void = {}
  /// What an operator should know.
  package var note: @Sendable (String) -> Void = { _ in }
  /// For election jitter.
  package var seed: UInt64 = 0

  package init() {}
}

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
  /// The state here is damaged or missing, and a peer's checkpoint is on its way.
  package var lacksState: Bool
  /// Records that cannot be read and are not repaired yet.
  package var damagedRecords: Int
}

package final class ReplicatedLog: Sendable {
  /// One durable write on its way.
  struct PendingWrite: Sendable {
    var persist: Persist
    var records: [StoredRecord]
    var vows: [VowEnvelope]
    /// For an install: where the log begins from then on.
    var position: LogPosition?
  }

  /// A leadership of this node.
  struct Leadership: Sendable {
    var ballot: Ballot
    /// Its first record.
    var barrier: SlotNumber?
    var isOpen = false
  }

  /// A read that waits for the leader's word.
  final class ReadWait: Sendable {
    let word = FutexWord()
    /// The slot to wait for, 0 while unknown, all ones when refused.
    let slot = Atomic<UInt64>(0)
  }

  /// Everything that the replica's lock guards.
  struct Core: Sendable {
    var replica: Replica
    var front = Actions()
    var back = Actions()
    var cache: RecordCache
    /// Records that came with, or were built for, the input being handled.
    var incoming: [StoredRecord] = []
    var builder = RecordBuilder()
    var leaderTime: UInt64
    var writes: [PendingWrite] = []
    /// Taken by the disk's thread, not yet durable.
    var writesOut = 0
    var leadership: Leadership?
    /// What the last record said is safe, and when it was built.
    var lastSafe = Version.zero
    var lastBuild: UInt64 = 0
    var terms: UInt64 = 0
    var reads: [UInt64: ReadWait] = [:]
    var nextNonce: UInt64 = 1
    /// The position of the checkpoint that is being installed.
    var installPosition: LogPosition?
    /// To be called when the lock is given back.
    var after: [@Sendable () -> Void] = []
    /// What others are to be told when the lock is given back.
    var due: Due = []
  }

  /// What follows from an input, outside of the lock.
  struct Due: OptionSet, Sendable {
    let rawValue: UInt8
    static let sends = Due(rawValue: 1)
    static let writes = Due(rawValue: 2)
    static let delivery = Due(rawValue: 4)
  }

  /// What the disk's thread waits for, and others.
  enum Service: Sendable {
    case serve(NoticeEnvelope)
    case truncate(Checkpoint)
    case saveMembers
    /// The log begins behind this checkpoint; nil: what was received was not needed.
    case installed(Checkpoint?)
  }

  package let log: Log
  package let clock: any Clock
  let options: ReplicatedLogOptions
  let transport: any PeerTransport
  let state: any ReplicatedState
  let disk: any Disk
  package let node: NodeID
  let cluster: ClusterID
  let core: Mutex<Core>
  package let commitTimes = CommitTimes()
  /// Payload bytes of the records that this node built, before and after compression.
  package let builtRawBytes = Atomic<UInt64>(0)
  package let builtStoredBytes = Atomic<UInt64>(0)
  let commits: Mutex<CommitQueue>
  let members: Mutex<Members>
  /// Held by whoever writes the list of members, from reading it to the end of the write: two threads do, and what one notes
  /// must not be lost by the other.
  let memberWrites = Mutex(())
  let services: Mutex<[Service]> = Mutex([])

  /// Why this node takes no part any more.
  let failure: Mutex<String?> = Mutex(nil)
  let delivered: Atomic<UInt64>
  /// The last slot that was applied, and the one through which to apply.
  let applied: Atomic<UInt64>
  /// The last slot that changed the state: other nodes' checkpoints reach at least there, not always `applied`.
  let stateSlot: Atomic<UInt64>
  let target = Atomic<UInt64>(0)
  /// Through here everything is in tables, durably.
  let flushedSlot: Atomic<UInt64>
  /// Until when, on the local clock in microseconds, snapshots need no round; 0 where this node does not lead.
  let leaseUntil = Atomic<UInt64>(0)
  let takesCommits = Atomic(false)
  /// There is a leadership, be it open or not yet.
  let isElected = Atomic(false)
  /// Whether there are writes to make, so that a group waits for them.
  let isDiskBusy = Atomic(false)
  let isStopping = Atomic(false)
  /// Held by whoever writes the log, from taking the writes to telling that they are durable: the disk's thread, or one that
  /// brought them.
  let writing = Mutex(FrameBuffer(capacitySizeBytes: 256 << 10))
  /// Held by whoever delivers, with memory to decompress into: the delivery's thread, or one that brought the news.
  let delivering: Mutex<[UInt8]> = Mutex([])
  /// Something was written behind the last seal, and when the last write ended.
  let isUnsealed = Atomic(false)
  let lastWriteEnd = Atomic<UInt64>(0)
  /// A group waits until what is before it is chosen, or until `heldUntil`, when the disk's thread proposes it.
  let isHeld = Atomic(false)
  let heldUntil = Atomic<UInt64>(0)
  /// When the disk's thread wakes by itself; 0 while it is awake.
  let diskSleepsUntil = Atomic<UInt64>(0)
  let diskWord = FutexWord()
  let deliveryWord = FutexWord()
  let appliedWord = FutexWord()
  let durableWord = FutexWord()
  let serviceWord = FutexWord()
  let clockWord = FutexWord()
  /// Changes with role, leader and configuration.
  package let standingWord = FutexWord()
  let threads: Mutex<[BackgroundThread]> = Mutex([])

  // Checkpoints

  /// The state here is not what the log says it should be: damaged, or missing.
  let lacksState: Atomic<Bool>
  /// It was found damaged while the node runs; once this node does not lead, it lacks its state.
  let isStateDamaged = Atomic(false)
  /// The log behind this slot is needed by a peer that takes a checkpoint.
  let transferFloor = Atomic<UInt64>(.max)
  let outbox: Mutex<[TransferMessage]> = Mutex([])
  let sendingWord = FutexWord()
  let pacingWord = FutexWord()
  let inbox: Mutex<(id: UInt64, messages: [TransferMessage])> = Mutex((0, []))
  let wanted: Mutex<(from: NodeID, slot: SlotNumber)?> = Mutex(nil)
  let receivingWord = FutexWord()
  let installing: Mutex<Installation?> = Mutex(nil)
  let transfers = Mutex(TransferCounts())
  let digests = Mutex(Digests())
  let digestWord = FutexWord()
  let nextDigest = Atomic<UInt64>(0)

  /// Goes on with what `log` holds. `applied` is the slot and version that `state` has already; it is delivered everything
  /// behind it that is known to be chosen.
  package init(
    log: Log, members: Members, applied position: (slot: Slot, version: Version), disk: any Disk, clock: any Clock,
    transport: any PeerTransport, state: any ReplicatedState, options: ReplicatedLogOptions = ReplicatedLogOptions()
  ) throws(LogError) {
    let recovered = try Self.recover(log, members, applied: position.slot)
    let replica = Replica(
      id: members.node, cluster: members.cluster, settings: options.settings, recovered: recovered,
      seed: options.seed &+ clock.bootNanoseconds, now: clock.bootNanoseconds / 1000)
    self.log = log
    self.clock = clock
    self.options = options
    self.transport = transport
    self.state = state
    self.disk = disk
    node = members.node
    cluster = members.cluster
    self.members = Mutex(members)
    core = Mutex(
      Core(
        replica: replica, cache: RecordCache(limitBytes: options.cacheSizeBytes), leaderTime: log.state.leaderTime))
    commits = Mutex(CommitQueue())
    delivered = Atomic(position.version.rawValue)
    applied = Atomic(position.slot.rawValue)
    stateSlot = Atomic(position.slot.rawValue)
    flushedSlot = Atomic(options.keepsState ? position.slot.rawValue : 0)
    lacksState = Atomic(options.keepsState && position.slot < log.base.slot)
    target.store(replica.damaged.first.map { min(replica.chosen, $0 - 1) } ?? replica.chosen, ordering: .releasing)
  }

  /// Starts the threads; messages may come from now on.
  package func start() {
    threads.withLock { threads in
      threads.append(BackgroundThread("disk") { self.diskLoop() })
      threads.append(BackgroundThread("delivery") { self.deliveryLoop() })
      threads.append(BackgroundThread("clock") { self.clockLoop() })
      threads.append(BackgroundThread("service") { self.serviceLoop() })
      threads.append(BackgroundThread("sending") { self.sendingLoop() })
      threads.append(BackgroundThread("receiving") { self.receivingLoop() })
      threads.append(BackgroundThread("digest") { self.digestLoop() })
    }
  }

  /// Ends the threads. What waits fails: `closed`, or unknown where it was proposed. Does not close the log.
  package func close() {
    guard !isStopping.exchange(true, ordering: .acquiringAndReleasing) else { return }
    for word in [
      diskWord, deliveryWord, appliedWord, durableWord, serviceWord, clockWord, standingWord, sendingWord, pacingWord,
      receivingWord, digestWord,
    ] {
      word.increment()
      word.wake()
    }
    let running = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    for thread in running { thread.join() }
    // Threads of the network may be at it: they end what they began, and begin nothing more.
    writing.withLock { _ in }
    delivering.withLock { _ in }
    failAll()
    core.withLock { core in
      for read in core.reads.values { Self.refuse(read) }
      core.reads = [:]
    }
  }

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

  /// Remembers how peers are reached, for the next start.
  package func noteAddresses(_ peers: [Members.Peer]) {
    members.withLock { $0.peers = peers }
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

extension ReplicatedLog: PeerReceiver {
  package func receive(_ message: Message, records: [StoredRecord], isFollowed: Bool) {
    guard Self.areLinked(message, records) else { return }
    let entries = records.map(\.entry)
    var stop: Configuration?
    if let last = records.last, last.header.type == .configurationStop {
      guard let next = last.announced else { return }
      stop = next
    }
    enter(caring: isFollowed ? [.writes, .delivery] : []) { core in
      core.incoming = records
      core.replica.receive(message, records: entries, stop: stop, now: self.now, into: &core.front)
    }
  }

  package func endTurn() {
    guard isDiskBusy.load(ordering: .acquiring) || isDeliveryDue else { return }
    EventLoop.mayRunLong()
    if isDiskBusy.load(ordering: .acquiring) { writeHere() }
    if isDeliveryDue { deliverHere() }
  }

  package func receive(_ transfer: TransferMessage) {
    guard transfer.cluster == cluster, transfer.to == node, transfer.from != node else { return }
    switch transfer.content {
    case .want, .read, .done:
      outbox.withLock { if $0.count < 4096 { $0.append(transfer) } }
      sendingWord.increment()
      sendingWord.wake(1)
    case .digest(let digest): compare(digest, of: transfer.from, at: transfer.id)
    case .offer, .chunk, .refused:
      inbox.withLock { if $0.id == transfer.id, $0.messages.count < 64 { $0.messages.append(transfer) } }
      receivingWord.increment()
      receivingWord.wake(1)
    }
  }

  /// Whether the records follow one another, and the first of them what the message names.
  private static func areLinked(_ message: Message, _ records: [StoredRecord]) -> Bool {
    guard let first = records.first else { return true }
    let previous: ChainPoint
    switch message.content {
    case .notice(.accept(let accept)): previous = accept.previous
    case .notice(.acceptSync(let sync)): previous = sync.previous
    case .notice(.records(let reply)): previous = reply.previous
    default: return false
    }
    guard Chain(first.header.previousChain) == previous.chain, first.slot == previous.slot &+ 1 else { return false }
    for (one, next) in zip(records, records.dropFirst())
    where next.header.previousChain != one.chain
      || next.header.firstVersion != one.header.lastVersion.advanced(by: 1)
    { return false }
    return true
  }
}
