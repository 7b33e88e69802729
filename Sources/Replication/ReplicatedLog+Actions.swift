internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Synchronization

// Carrying out what the replica asks for, in the order that Actions.swift gives. Everything here runs under `core`.

extension ReplicatedLog {
  /// Hands something in and carries out what follows from it, but for what the caller says that it cares for itself.
  @discardableResult
  func enter<R: Sendable>(caring cared: Due = [], _ body: (inout Core) -> R) -> R {
    let (result, due, after) = core.withLock { core -> (R, Due, [@Sendable () -> Void]) in
      let result = body(&core)
      perform(&core)
      pump(&core)
      publishStanding(&core)
      defer {
        core.due = []
        if !core.after.isEmpty { core.after = [] }
      }
      return (result, core.due, core.after)
    }
    // The way over another node's disk is longer than that over one's own: it begins first.
    if due.contains(.sends) { transport.flush() }
    if due.contains(.writes), !cared.contains(.writes) { wakeDisk() }
    if due.contains(.delivery), !cared.contains(.delivery) { wakeDelivery() }
    for call in after { call() }
    return result
  }

  func wakeDisk() {
    diskWord.increment()
    diskWord.wake(1)
  }

  func wakeDelivery() {
    deliveryWord.increment()
    deliveryWord.wake(1)
  }

  func perform(_ core: inout Core) {
    while !core.front.isEmpty {
      swap(&core.front, &core.back)
      core.front.reset()
      for index in core.back.persists.indices { queue(core.back.persists[index], &core) }
      for notice in core.back.notices { send(notice, &core) }
      if core.back.standingChanged { noteStanding(&core) }
      for build in core.back.builds { carryOut(build, &core) }
      if let through = core.back.apply, through > target.load(ordering: .relaxed) {
        noteChosen(target.load(ordering: .relaxed), through, core)
        target.store(through, ordering: .releasing)
        core.due.insert(.delivery)
      }
      for read in core.back.reads {
        guard let wait = core.reads.removeValue(forKey: read.nonce) else { continue }
        Self.answer(wait, read.slot)
      }
      if let wanted = core.back.wanted { want(wanted.point.slot, from: wanted.from) }
      if let truncate = core.back.truncate { request(.truncate(truncate)) }
    }
    core.incoming.removeAll(keepingCapacity: true)
  }

  private func want(_ slot: SlotNumber, from source: NodeID) {
    wanted.withLock { $0 = (from: source, slot: slot) }
    receivingWord.increment()
    receivingWord.wake(1)
  }

  /// Slots behind `before` were found to be chosen.
  private func noteChosen(_ before: SlotNumber, _ through: SlotNumber, _ core: borrowing Core) {
    guard core.leadership?.isOpen == true, through - before < 1024 else { return }
    let end = clock.bootNanoseconds
    for slot in (before + 1)...through {
      guard let record = core.cache.record(at: slot) else { continue }
      let built = record.builtAt.load(ordering: .relaxed)
      guard built > 0 else { continue }
      record.chosenAt.store(end, ordering: .relaxed)
      commitTimes.quorum.add(nanoseconds: end &- built)
    }
  }

  func request(_ service: Service) {
    services.withLock { $0.append(service) }
    serviceWord.increment()
    serviceWord.wake(1)
  }

  // MARK: Persists

  private func queue(_ persist: Persist, _ core: inout Core) {
    var records: [StoredRecord] = []
    records.reserveCapacity(persist.entries.count)
    for entry in core.back.entries[persist.entries] { records.append(Self.record(of: entry, core.incoming)) }
    switch persist.change {
    case .none: break
    case .append: for record in records { core.cache.append(record) }
    case .replace(let cut):
      core.cache.truncate(after: cut)
      for record in records { core.cache.append(record) }
    case .repair: for record in records { core.cache.replace(record) }
    case .install(let checkpoint, true): core.cache.drop(through: checkpoint.point.slot)
    case .install(_, false): core.cache.removeAll()
    }
    var position: LogPosition?
    if case .install(let checkpoint, _) = persist.change {
      position = core.installPosition
      core.installPosition = nil
      precondition(position?.slot.rawValue == checkpoint.point.slot, "the checkpoint that was handed in is installed")
    }
    let vows = persist.vows.isEmpty ? [] : Array(core.back.vows[persist.vows])
    if core.writes.isEmpty, core.writesOut == 0, persist.change == .none, !persist.ballotsChanged {
      // A barrier behind nothing is durable at once.
      for vow in vows { send(vow, &core) }
      core.replica.persisted(persist.token, now: now, into: &core.front)
      return
    }
    core.writes.append(PendingWrite(persist: persist, records: records, vows: vows, position: position))
    isDiskBusy.store(true, ordering: .releasing)
    core.due.insert(.writes)
  }

  /// The record that came with an entry. Those of one message are in the order of their slots: nothing is searched.
  private static func record(of entry: Entry, _ incoming: [StoredRecord]) -> StoredRecord {
    if let first = incoming.first, entry.slot >= first.slot, entry.slot - first.slot < UInt64(incoming.count) {
      let record = incoming[Int(entry.slot - first.slot)]
      if record.slot == entry.slot, Chain(record.chain) == entry.chain { return record }
    }
    guard let record = incoming.first(where: { $0.slot == entry.slot && Chain($0.chain) == entry.chain }) else {
      preconditionFailure("an entry to write came with its record")
    }
    return record
  }

  func send(_ vow: VowEnvelope, _ core: inout Core) {
    core.due.insert(.sends)
    transport.send(
      Message(cluster: cluster, from: node, to: vow.to, epoch: vow.epoch, content: .vow(vow.vow)), records: [])
  }

  /// Sends from memory; what is no longer there the service thread reads from the log.
  private func send(_ notice: NoticeEnvelope, _ core: inout Core) {
    var records: [StoredRecord] = []
    if notice.recordCount > 0 {
      let end = notice.firstRecord + UInt64(notice.recordCount)
      var slot = notice.firstRecord
      var size = 0
      while slot < end {
        guard let record = core.cache.record(at: slot) else { return request(.serve(notice)) }
        size += record.header.recordSizeBytes
        if Self.mayBeCut(notice), size > Self.answerSizeBytes, !records.isEmpty { break }
        records.append(record)
        slot += 1
      }
    }
    core.due.insert(.sends)
    send(notice, records)
  }

  /// To be flushed.
  func send(_ notice: NoticeEnvelope, _ records: [StoredRecord]) {
    transport.send(
      Message(cluster: cluster, from: node, to: notice.to, epoch: notice.epoch, content: .notice(notice.notice)),
      records: records)
  }

  static let answerSizeBytes = 1 << 20

  /// Answers to a fetch may hold fewer records than there are.
  static func mayBeCut(_ notice: NoticeEnvelope) -> Bool {
    if case .records(let reply) = notice.notice { reply.purpose == .learn } else { false }
  }

  // MARK: Building

  /// The hybrid logical clock: the wall's time, and never less than what any record before said.
  private func leaderTime(_ core: inout Core) -> UInt64 {
    core.leaderTime = max(core.leaderTime &+ 1, clock.wallNanoseconds)
    return core.leaderTime
  }

  /// The version reached at the end of the replica's log.
  private func lastVersion(_ core: borrowing Core) -> Version {
    let slot = core.replica.last
    if let record = core.cache.record(at: slot) { return record.header.lastVersion }
    guard let position = log.position(at: Slot(slot)) else {
      preconditionFailure("slot \(slot) is in memory or in the log")
    }
    return position.version
  }

  func makeRecord(
    _ type: RecordType, slot: SlotNumber, previous: Chain, origin: Ballot, count: Int,
    payload: UnsafeRawBufferPointer, _ core: inout Core
  ) -> StoredRecord {
    let before = lastVersion(core)
    core.lastSafe = min(state.nextSafeVersion(), before)
    core.lastBuild = clock.bootNanoseconds
    let header = RecordHeader(
      type: type, slot: Slot(slot), origin: LogBallot(origin), firstVersion: before.advanced(by: 1),
      transactionCount: UInt32(count), leaderTime: leaderTime(&core), safeVersion: core.lastSafe,
      chosenAtBuild: Slot(core.replica.chosen), previousChain: Hash128(previous))
    let record = unsafe StoredRecord(header, payload: payload, using: &core.builder)
    if type == .transactionGroup { record.builtAt.store(core.lastBuild, ordering: .relaxed) }
    builtRawBytes.wrappingAdd(UInt64(record.header.rawSizeBytes), ordering: .relaxed)
    builtStoredBytes.wrappingAdd(UInt64(record.header.storedSizeBytes), ordering: .relaxed)
    return record
  }

  private func carryOut(_ build: Build, _ core: inout Core) {
    var payload: [UInt8] = []
    build.configuration?.encode(into: &payload)
    let type: RecordType = build.kind == .stop ? .configurationStop : .epochStart
    let record = unsafe payload.withUnsafeBytes { bytes in
      unsafe makeRecord(
        type, slot: build.slot, previous: build.previous, origin: build.origin, count: 0, payload: bytes, &core)
    }
    core.incoming.append(record)
    if build.kind == .leadership, core.leadership?.ballot == build.origin { core.leadership?.barrier = build.slot }
    core.replica.built(record.entry, stop: build.configuration, now: now, into: &core.front)
  }

  // MARK: Standing

  private func noteStanding(_ core: inout Core) {
    let leads = core.replica.isLeader
    if let leadership = core.leadership, !leads || leadership.ballot != core.replica.ballot { resign(&core) }
    if leads, core.leadership == nil { core.leadership = Leadership(ballot: core.replica.ballot) }
    isElected.store(core.leadership != nil, ordering: .releasing)
    standingWord.increment()
    standingWord.wake()
    options.standingChanged()
    clockWord.increment()
    clockWord.wake()
  }

  private func resign(_ core: inout Core) {
    let wasOpen = core.leadership?.isOpen ?? false
    core.leadership = nil
    leaseUntil.store(0, ordering: .releasing)
    takesCommits.store(false, ordering: .releasing)
    guard wasOpen else { return }
    let (version, lost) = commits.withLock { $0.close(now: clock.bootNanoseconds) }
    state.resign(discardingFrom: version)
    if !lost.isEmpty {
      core.after.append {
        for group in lost { group.finish(.failure(.restarted("leadership changed before the commit was proposed"))) }
      }
    }
  }

  /// What readers look at without the lock.
  private func publishStanding(_ core: inout Core) {
    guard core.leadership?.isOpen == true else { return }
    // Asked for a time at which any lease counts: the reader compares with the clock itself.
    let until = core.replica.leaseHolds(applied: .max, now: 0) ? core.replica.leaseUntil : 0
    if until != leaseUntil.load(ordering: .relaxed) { leaseUntil.store(until, ordering: .releasing) }
  }
}
