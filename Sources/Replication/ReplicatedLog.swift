// The log of a node among others: drives a `Paxos.Replica` over `Log` and a network, and delivers what is chosen.
//
//   sessions ──append──▶ open group ──▶ record: built once, LZ4, hashed ──▶ ┌ own disk (its thread) ─▶ persisted ┐
//                        (closes when the write before it ends)              └ peers: the same bytes ─▶ accepted ┴▶ chosen
//   chosen ──▶ delivery (its thread, in log order) ──▶ engine: apply, publish ──▶ whoever waits
//
// The replica is a value behind one lock. Whoever has news for it (a session that proposes, the disk's thread, the
// network's, the clock's) takes the lock, hands the news in and carries out the actions; nothing waits for I/O under the
// lock. So a commit costs no hop between threads but those to the disk and from the delivery.
//
// Threads: disk (writes persists in their order, several at once where they wait), delivery (applies), clock (a tick every
// 10 ms: heartbeats do not depend on disk or queries), service (what reads the log for peers, truncates, saves).
//
// Locks: sequencer's latch → `commits`; `core` → sequencer's latch, `commits`. Callbacks run under none.
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
internal import Synchronization

/// What the log is delivered to.
package protocol ReplicatedState: AnyObject, Sendable {
  /// Applies a chosen group and makes it visible; called in log order, one at a time.
  func deliver(_ group: ChosenGroup) throws(DeliveryError)
  /// Transactions sequenced at `version` and after it are not chosen and never will be.
  func discard(from version: Version)
  /// This node leads and everything before is applied: commits may begin, in a term that no other leadership has.
  func lead(term: UInt64)
  /// This node leads no longer. What was sequenced from `version` on was never proposed.
  func resign(discardingFrom version: Version?)
}

package struct ReplicatedLogOptions: Sendable {
  package var settings = Settings()
  /// A group is closed before it grows beyond this (unless one batch alone is longer).
  package var groupSizeBytes = 1 << 20
  /// Records kept in memory for peers and for the delivery.
  package var cacheSizeBytes = 64 << 20
  /// The log that is kept for members that lag. Beyond, they are left behind.
  package var retainedLogSizeBytes: UInt64 = 4 << 30
  /// A frame of several writes is written before it grows beyond this.
  package var frameSizeBytes = 4 << 20
  /// How long the fate of a commit may stay open after leadership was lost.
  package var resolutionNanoseconds: UInt64 = 5_000_000_000
  /// How long a read waits for this node to become able to serve it.
  package var readTimeoutNanoseconds: UInt64 = 2_000_000_000
  package var tickNanoseconds: UInt64 = 10_000_000
  /// How long the log is idle before its end is sealed.
  package var sealDelayNanoseconds: UInt64 = 10_000_000
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
}

package final class ReplicatedLog: Sendable {
  /// One durable write on its way.
  struct PendingWrite: Sendable {
    var persist: Persist
    var records: [StoredRecord]
    var vows: [VowEnvelope]
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
    var terms: UInt64 = 0
    var reads: [UInt64: ReadWait] = [:]
    var nextNonce: UInt64 = 1
    /// To be called when the lock is given back.
    var after: [@Sendable () -> Void] = []
  }

  /// What the disk's thread waits for, and others.
  enum Service: Sendable {
    case serve(NoticeEnvelope)
    case truncate(Checkpoint)
    case saveMembers
    case fetchCheckpoint(from: NodeID, ChainPoint)
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
  let commits: Mutex<CommitQueue>
  let members: Mutex<Members>
  let services: Mutex<[Service]> = Mutex([])

  /// Why this node takes no part any more.
  let failure: Mutex<String?> = Mutex(nil)
  let delivered: Atomic<UInt64>
  /// The last slot that was applied, and the one through which to apply.
  let applied: Atomic<UInt64>
  let target = Atomic<UInt64>(0)
  /// Until when, on the local clock in microseconds, snapshots need no round; 0 where this node does not lead.
  let leaseUntil = Atomic<UInt64>(0)
  let takesCommits = Atomic(false)
  /// Whether there are writes to make, so that a group waits for them.
  let isDiskBusy = Atomic(false)
  let isStopping = Atomic(false)
  let diskWord = FutexWord()
  let deliveryWord = FutexWord()
  let appliedWord = FutexWord()
  let durableWord = FutexWord()
  let serviceWord = FutexWord()
  let clockWord = FutexWord()
  /// Changes with role, leader and configuration.
  package let standingWord = FutexWord()
  let threads: Mutex<[BackgroundThread]> = Mutex([])

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
    target.store(replica.chosen, ordering: .releasing)
  }

  /// Starts the threads; messages may come from now on.
  package func start() {
    threads.withLock { threads in
      threads.append(BackgroundThread { self.diskLoop() })
      threads.append(BackgroundThread { self.deliveryLoop() })
      threads.append(BackgroundThread { self.clockLoop() })
      threads.append(BackgroundThread { self.serviceLoop() })
    }
  }

  /// Ends the threads. What waits fails: `closed`, or unknown where it was proposed. Does not close the log.
  package func close() {
    guard !isStopping.exchange(true, ordering: .acquiringAndReleasing) else { return }
    for word in [diskWord, deliveryWord, appliedWord, durableWord, serviceWord, clockWord, standingWord] {
      word.increment()
      word.wake()
    }
    let running = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    for thread in running { thread.join() }
    failAll()
    core.withLock { core in
      for read in core.reads.values { Self.refuse(read) }
      core.reads = [:]
    }
  }

  var now: Ticks { clock.bootNanoseconds / 1000 }

  // MARK: What is in the log

  /// What a restarted node's replica begins with.
  private static func recover(_ log: Log, _ members: Members, applied: Slot) throws(LogError) -> Recovered {
    guard let base = members.checkpoint else {
      preconditionFailure("the cluster is founded before its log is opened")
    }
    let state = log.state
    var found = Recovered(founding: base.configuration, chain: base.point.chain)
    found.promised = max(found.promised, Ballot(state.promised))
    found.accepted = max(found.accepted, Ballot(state.accepted))
    found.base = base
    found.first = max(log.base.slot.rawValue, 0) + 1
    found.checkpoint = max(applied.rawValue, base.point.slot)
    let start = Slot(base.point.slot)
    guard log.base.slot <= start, let chain = log.chain(at: start), Chain(chain) == base.point.chain else {
      throw .doesNotContinue(
        reason:
          "the log holds slots \(log.base.slot.rawValue + 1) to \(state.last.slot.rawValue) and does not continue "
          + "the point \(base.point.slot) that the list of members names")
    }
    let reader = try log.reader(after: start, decompresses: false)
    while let record = try reader.nextRecord() {
      let kind = EntryKind(record.header.type)
      found.entries.append(
        Entry(
          slot: record.header.slot.rawValue, chain: Chain(record.chain), origin: Ballot(record.header.origin),
          sizeBytes: UInt32(record.header.recordSizeBytes), kind: kind))
      if kind == .stop, let stored = unsafe try? StoredRecord(copying: record.storedBytes), let next = stored.announced
      {
        found.stops.append((slot: stored.slot, configuration: next))
      }
    }
    found.chosen = min(max(state.chosenHint, applied).rawValue, state.last.slot.rawValue)
    return found
  }

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
        stalenessMicroseconds: core.replica.isLeader ? 0 : core.replica.staleness(applied: applied, now: now),
        takesCommits: takes, diskFailed: core.replica.diskFailed)
    }
  }

  /// Every slot's place in the chain of all records: equal chains at a slot mean equal logs, and equal state.
  package func chain(at slot: Slot) -> Hash128? {
    core.withLock { $0.replica.chain(at: slot.rawValue).map { Hash128($0) } } ?? log.chain(at: slot)
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
  /// It is kept all the same for members that lag, until it takes `options.retainedLogSizeBytes`.
  package func flushed(_ slot: Slot) {
    let isTooLong = log.segmentSizes.sizeBytes > options.retainedLogSizeBytes
    enter { core in
      let point = isTooLong ? slot.rawValue : min(slot.rawValue, core.replica.slowestPeer)
      guard point > 0,
        let chain = core.replica.chain(at: point) ?? self.log.chain(at: Slot(point)).map({ Chain($0) })
      else { return }
      core.replica.checkpointed(ChainPoint(slot: point, chain: chain), now: self.now, into: &core.front)
    }
  }
}

extension ReplicatedLog: PeerReceiver {
  package func receive(_ message: Message, records: [StoredRecord]) {
    guard Self.areLinked(message, records) else { return }
    let entries = records.map(\.entry)
    var stop: Configuration?
    if let last = records.last, last.header.type == .configurationStop {
      guard let next = last.announced else { return }
      stop = next
    }
    enter { core in
      core.incoming = records
      core.replica.receive(message, records: entries, stop: stop, now: self.now, into: &core.front)
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
