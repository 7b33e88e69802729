package import Encoding
package import Log
internal import Paxos
package import Platform
internal import Synchronization

// Commits: what the leader takes, proposes and answers.

extension ReplicatedLog {
  /// The last version that was delivered.
  package var deliveredVersion: Version { Version(delivered.load(ordering: .acquiring)) }

  /// Takes a transaction's batch; under the sequencer's latch, with dense versions, in order. Copies; does not write.
  package func append(_ batch: UnsafeRawBufferPointer, version: Version) throws(ReplicationFailure) {
    try append { queue in unsafe queue.append(batch, version: version, limitBytes: options.groupSizeBytes) }
  }

  /// The same, keeping the batch instead of copying it.
  package func append(_ batch: LargeBatch, version: Version) throws(ReplicationFailure) {
    try append { queue in queue.append(batch, version: version, limitBytes: options.groupSizeBytes) }
  }

  @inline(__always)
  private func append(_ add: (inout CommitQueue) -> Void) throws(ReplicationFailure) {
    let isTaken = commits.withLock { queue in
      guard queue.isOpen else { return false }
      add(&queue)
      return true
    }
    guard isTaken else { throw .restarted("this node does not lead any more") }
  }

  /// Waits until the version, which was appended, is applied, or is known not to be chosen.
  package func commit(through version: Version) throws(ReplicationFailure) {
    guard let group = ask(version) else {
      if delivered.load(ordering: .acquiring) >= version.rawValue { return }
      throw .restarted("leadership changed before the commit was proposed")
    }
    while true {
      let seen = group.word.load()
      if let outcome = group.outcome { return try outcome.get() }
      // On an event loop others go on meanwhile.
      EventLoop.blocking { group.word.wait(while: seen) }
    }
  }

  /// Calls `body` once, when that is so; on any thread.
  package func whenDelivered(
    _ version: Version, _ body: @escaping @Sendable (Result<Void, ReplicationFailure>) -> Void
  ) {
    guard let group = ask(version) else {
      let isDelivered = delivered.load(ordering: .acquiring) >= version.rawValue
      return body(
        isDelivered ? .success(()) : .failure(.restarted("leadership changed before the commit was proposed")))
    }
    group.whenOver(body)
  }

  /// Commits on the calling thread if that is the quickest way: nothing is being written and next to nobody waits, so that this
  /// thread may as well make the leader's write, beside the followers'. True when it is applied; otherwise it is pending, or
  /// nothing was done.
  package func commitInline(through version: Version) throws(ReplicationFailure) -> Bool {
    guard !isDiskBusy.load(ordering: .acquiring), !isHeld.load(ordering: .acquiring) else { return false }
    let (group, isSmall) = commits.withLock { queue -> (ReplicatedGroup?, Bool) in
      let group = queue.ask(version)
      return (group, group.map { $0.batches.transactionCount <= Self.inlineTransactions } ?? false)
    }
    guard let group else { return false }
    enter(caring: isSmall ? [.writes, .delivery] : []) { _ in }
    guard isSmall else { return false }
    writeHere(asLeader: true)
    if isDeliveryDue { deliverHere() }
    let seen = group.word.load()
    var outcome = group.outcome
    // A follower's answer is a moment behind this node's own write, and waking this thread for it takes as long.
    if outcome == nil, EventLoop.spin(forNanoseconds: Self.spinNanoseconds, until: { group.word.load() != seen }) {
      outcome = group.outcome
    }
    switch outcome {
    case .success: return true
    case .failure(let failure): throw failure
    case nil: return false
    }
  }

  private static let inlineTransactions = 2
  private static let spinNanoseconds: UInt64 = 100_000

  private func ask(_ version: Version) -> ReplicatedGroup? {
    let group = commits.withLock { $0.ask(version) }
    // While a write is under way, its end proposes the next group; while a group is held, what ends that.
    if group != nil, !isDiskBusy.load(ordering: .acquiring), !isHeld.load(ordering: .sequentiallyConsistent) {
      enter { _ in }
    }
    return group
  }

  /// Whether the next group is to wait because the one before it is still on its way: every group costs each node a write, a
  /// message and a wake or two, whatever is in it. No longer than `holdNanoseconds`, for a quorum may be far away.
  private func holds(_ core: inout Core) -> Bool {
    guard core.replica.chosen < core.replica.last else { return false }
    let until = core.lastBuild &+ options.holdNanoseconds
    guard clock.bootNanoseconds < until, let size = commits.withLock({ $0.askedSizeBytes }),
      size < options.holdSizeBytes
    else { return false }
    heldUntil.store(until, ordering: .relaxed)
    isHeld.store(true, ordering: .sequentiallyConsistent)
    if diskSleepsUntil.load(ordering: .sequentiallyConsistent) > until { core.due.insert(.writes) }
    return true
  }

  /// Proposes the oldest group that somebody waits for, unless a write is under way or a group is: then more transactions join
  /// it.
  func pump(_ core: inout Core) {
    while core.writes.isEmpty, core.writesOut == 0, core.leadership?.isOpen == true,
      core.replica.proposalRefusal == nil
    {
      if holds(&core) { return }
      isHeld.store(false, ordering: .sequentiallyConsistent)
      guard let group = commits.withLock({ $0.takeAsked() }) else { return }
      let record = unsafe makeRecord(
        .transactionGroup, slot: core.replica.last + 1, previous: core.replica.lastChain, origin: core.replica.ballot,
        count: group.batches.transactionCount, payload: group.batches.payload, &core)
      precondition(record.header.firstVersion == group.batches.firstVersion, "versions of log and sequencer agree")
      commits.withLock { $0.place(group, at: record.slot, record.chain) }
      core.incoming.append(record)
      let refusal = core.replica.propose(record.entry, now: now, into: &core.front)
      precondition(refusal == nil, "nothing changed since it was asked")
      perform(&core)
    }
  }

  /// When nothing was committed for a little while, an empty group tells the followers that what they have is safe to read
  /// (TransactionManager+SafeVersion.swift). Once after each burst of commits.
  func tellSafeVersion(_ core: inout Core) {
    guard core.leadership?.isOpen == true,
      core.lastBuild &+ options.safeVersionDelayNanoseconds < clock.bootNanoseconds,
      core.lastSafe < deliveredVersion, core.writes.isEmpty, core.writesOut == 0, core.replica.proposalRefusal == nil,
      core.replica.chosen == core.replica.last
    else { return }
    guard state.nextSafeVersion() > core.lastSafe else { return }
    let record = unsafe makeRecord(
      .transactionGroup, slot: core.replica.last + 1, previous: core.replica.lastChain, origin: core.replica.ballot,
      count: 0, payload: UnsafeRawBufferPointer(start: nil, count: 0), &core)
    core.incoming.append(record)
    let refusal = core.replica.propose(record.entry, now: now, into: &core.front)
    precondition(refusal == nil, "nothing changed since it was asked")
  }

  /// Ends everything, when the log is closed.
  func failAll() {
    takesCommits.store(false, ordering: .releasing)
    let (waiting, proposed) = commits.withLock { $0.takeAll() }
    for group in waiting { group.finish(.failure(.closed)) }
    for group in proposed { group.finish(.failure(.unknown("the database was closed"))) }
  }

  /// Gives up on groups whose fate stays open.
  func expireUndecided() {
    let expired = commits.withLock { queue -> [ReplicatedGroup] in
      guard !queue.isOpen, queue.hasProposed,
        clock.bootNanoseconds &- queue.inDoubtSince > options.resolutionNanoseconds
      else { return [] }
      // They stay in the queue: should they be chosen after all, or others in their place, the versions must still match.
      return queue.undecided.filter { $0.outcome == nil }
    }
    for group in expired {
      group.finish(.failure(.unknown("leadership was lost, and no leader has told its fate since")))
    }
  }

  /// The way of a version that was committed here a moment ago, and how many nodes had to have it of how many.
  package func times(of version: Version) -> (times: GroupTimes, quorum: Int, members: Int)? {
    core.withLock { core in
      guard let record = core.cache.record(holding: version) else { return nil }
      var times = GroupTimes(firstVersion: record.header.firstVersion, lastVersion: record.header.lastVersion)
      times.sizeBytes = record.header.recordSizeBytes
      times.built = record.builtAt.load(ordering: .relaxed)
      times.local = record.durableAt.load(ordering: .relaxed)
      times.chosen = record.chosenAt.load(ordering: .relaxed)
      times.applied = record.appliedAt.load(ordering: .relaxed)
      let configuration = core.replica.configuration
      return (
        times, configuration.replicationQuorum, configuration.members.count - configuration.learners.count
      )
    }
  }

  // MARK: Durability

  /// Waits until the record at `slot`, which was delivered, is on this node's disk: before the tables say that they hold
  /// it.
  package func waitUntilDurable(_ slot: Slot) throws(LogError) {
    while true {
      let seen = durableWord.load()
      let record = core.withLock { $0.cache.record(at: slot.rawValue) }
      // Records leave the cache only when they are durable.
      guard let record, !record.isDurable.load(ordering: .acquiring) else { return }
      if let failure = log.failure { throw failure }
      if isStopping.load(ordering: .acquiring) { throw .closed }
      durableWord.wait(while: seen, timeoutNanoseconds: 100_000_000)
    }
  }
}
