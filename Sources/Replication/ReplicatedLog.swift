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
// A thread reads the word that it sleeps on before it looks whether it is to stop, and what there is to do: who stops it, or has
// work for it, changes the word after that.
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
  /// The log cannot be written for want of space.
  let isOutOfSpace = Atomic(false)
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
}
