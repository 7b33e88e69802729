internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Synchronization

// Delivery: chosen records to the engine, in order; and the step from being elected to taking commits.

extension ReplicatedLog {
  func deliveryLoop() {
    while true {
      let seen = deliveryWord.load()
      if isStopping.load(ordering: .acquiring) { return }
      let step = delivering.withLock { scratch -> Step in
        installReceived()
        // What is here must not be brought forward, nor be led with.
        if lacksState.load(ordering: .acquiring) { return .idle }
        if applied.load(ordering: .relaxed) < target.load(ordering: .acquiring) {
          return deliverNext(&scratch) ? .delivered : .failed
        }
        openIfReady()
        return .idle
      }
      switch step {
      case .delivered: continue
      case .failed: return
      case .idle: deliveryWord.wait(while: seen)
      }
    }
  }

  var isDeliveryDue: Bool { applied.load(ordering: .acquiring) < target.load(ordering: .acquiring) }

  private enum Step { case delivered, failed, idle }

  /// What a thread that brought the news delivers by itself.
  private static let hereRecords = 4
  private static let hereSizeBytes = 16 << 10

  /// Delivers what is chosen on the calling thread, if it is little; otherwise leaves it to the delivery's.
  func deliverHere() {
    let isAllDone = delivering.withLockIfAvailable { scratch -> Bool in
      guard !isStopping.load(ordering: .acquiring), !lacksState.load(ordering: .acquiring) else { return false }
      let first = applied.load(ordering: .relaxed) + 1
      let end = target.load(ordering: .acquiring)
      guard first <= end else { return true }
      guard end - first < UInt64(Self.hereRecords) else { return false }
      let records = core.withLock { core -> [StoredRecord] in
        core.cache.trim(delivered: first - 1)
        var records: [StoredRecord] = []
        var size = 0
        for slot in first...end {
          guard let record = core.cache.record(at: slot) else { return [] }
          size += Int(record.header.rawSizeBytes)
          guard size <= Self.hereSizeBytes else { return [] }
          records.append(record)
        }
        return records
      }
      guard !records.isEmpty else { return false }
      for record in records {
        guard deliver(record, &scratch, mayWait: false) else { return false }
      }
      // A leadership is opened by the delivery's thread.
      return takesCommits.load(ordering: .relaxed) || !isElected.load(ordering: .relaxed)
    }
    if isAllDone != true || isDeliveryDue { wakeDelivery() }
  }

  /// Delivers some records; false when nothing can be delivered any more.
  private func deliverNext(_ scratch: inout [UInt8]) -> Bool {
    let first = applied.load(ordering: .relaxed) + 1
    let end = target.load(ordering: .acquiring)
    let records = core.withLock { core in
      core.cache.trim(delivered: first - 1)
      var records: [StoredRecord] = []
      var slot = first
      while slot <= end, records.count < 32, let record = core.cache.record(at: slot) {
        records.append(record)
        slot += 1
      }
      return records
    }
    if records.isEmpty { return deliverFromLog(first, end, &scratch) }
    for record in records {
      guard deliver(record, &scratch, mayWait: true) else { return false }
    }
    return true
  }

  /// What is older than the cache: after a restart, and behind a slow apply.
  private func deliverFromLog(_ first: SlotNumber, _ end: SlotNumber, _ scratch: inout [UInt8]) -> Bool {
    var failed: SlotNumber?
    do throws(LogError) {
      let reader = try log.reader(after: Slot(first - 1), through: Slot(end), decompresses: false)
      var count = 0
      do throws(LogError) {
        while count < 256, !isStopping.load(ordering: .acquiring), let record = try reader.nextRecord() {
          guard let stored = unsafe try? StoredRecord(copying: record.storedBytes) else { break }
          guard deliver(stored, &scratch, mayWait: true) else { return false }
          count += 1
        }
      } catch {
        failed = reader.nextSlot.rawValue
        throw error
      }
      if count == 0 { pause() }
      return true
    } catch {
      // Between the cache and the log's files there is a moment for a record that is being written.
      if let failed { recordWasNotRead(failed, error) }
      pause()
      return failureReason == nil
    }
  }

  private func pause() { appliedWord.wait(while: appliedWord.load(), timeoutNanoseconds: 2_000_000) }

  /// False when it cannot be delivered: not at all, or not without waiting.
  private func deliver(_ record: StoredRecord, _ scratch: inout [UInt8], mayWait: Bool) -> Bool {
    var ours: ReplicatedGroup?
    switch commits.withLock({ $0.match(record.slot, record.chain) }) {
    case .none: break
    case .ours(let group): ours = group
    case .lost(let groups):
      // Their versions are about to be others': they leave the sequencer first.
      state.discard(from: groups[0].batches.firstVersion)
      commits.withLock { $0.dropLost() }
      for group in groups {
        group.finish(.failure(.restarted("leadership changed, and the new leader did not have the commit")))
      }
    }
    if record.header.type == .transactionGroup, record.header.transactionCount > 0 {
      guard !options.keepsState || hand(record, &scratch, mayWait) else { return false }
      delivered.store(record.header.lastVersion.rawValue, ordering: .releasing)
      let chosen = record.chosenAt.load(ordering: .relaxed)
      if chosen > 0 {
        let end = clock.bootNanoseconds
        record.appliedAt.store(end, ordering: .relaxed)
        commitTimes.apply.add(nanoseconds: end &- chosen)
      }
      stateSlot.store(record.slot, ordering: .releasing)
    }
    if !takesCommits.load(ordering: .relaxed) { state.learnSafeVersion(record.header.safeVersion) }
    if record.header.type == .checksum { holdForDigest(record, &scratch) }
    applied.store(record.slot, ordering: .releasing)
    appliedWord.increment()
    appliedWord.wake()
    if let ours {
      commits.withLock { $0.dropFirst() }
      ours.finish(.success(()))
    }
    return true
  }

  /// Applies a group, again and again where there is no room for it yet.
  private func hand(_ record: StoredRecord, _ scratch: inout [UInt8], _ mayWait: Bool) -> Bool {
    while !isStopping.load(ordering: .acquiring) {
      do throws(DeliveryError) {
        unsafe try record.withPayload(&scratch) { (payload) throws(DeliveryError) in
          unsafe try state.deliver(
            ChosenGroup(
              slot: record.header.slot, firstVersion: record.header.firstVersion,
              transactionCount: Int(record.header.transactionCount), payload: payload))
        }
        return true
      } catch {
        if case .failed(let reason) = error {
          stopForGood(reason)
          return false
        }
      }
      guard mayWait else { return false }
      deliveryWord.wait(while: deliveryWord.load(), timeoutNanoseconds: 5_000_000)
    }
    return false
  }

  /// The state cannot be brought forward any more: this node must not lead, and answers nothing.
  func stopForGood(_ reason: String) {
    enter { core in core.replica.diskFailed(now: self.now, into: &core.front) }
    let isFirst = failure.withLock { failure in
      defer { if failure == nil { failure = reason } }
      return failure == nil
    }
    if isFirst { options.note("this node takes no part any more: \(reason)") }
  }

  /// Ends what an earlier leadership of this node proposed and nothing was applied in its place, where a cut of the log left its
  /// slots empty: records before it that held no commits went with it, and the log is shorter now. All of this leadership's log
  /// is chosen, and it has a higher ballot: what is not in it never will be.
  private func giveUpProposed(_ core: inout Core) {
    let lost = commits.withLock { $0.takeProposed() }
    guard let first = lost.first?.batches.firstVersion else { return }
    state.discard(from: first)
    core.after.append {
      for group in lost {
        group.finish(.failure(.restarted("leadership changed, and the commit was in no log that went on")))
      }
    }
  }

  /// Takes commits once everything through the leadership's first record is applied.
  private func openIfReady() {
    let done = applied.load(ordering: .relaxed)
    // A witness leads only to hand over.
    guard options.keepsState else { return }
    enter { core in
      guard let leadership = core.leadership, !leadership.isOpen, let barrier = leadership.barrier, done >= barrier,
        core.replica.last >= barrier, !core.replica.configuration.isWitness(self.node), core.replica.chosen >= barrier,
        core.replica.isLeader,
        core.replica.ballot == leadership.ballot
      else { return }
      self.giveUpProposed(&core)
      core.terms += 1
      // Nothing follows the barrier before this leadership takes commits.
      let next = Version(self.delivered.load(ordering: .acquiring)).advanced(by: 1)
      self.state.lead(term: core.terms)
      self.commits.withLock { $0.open(next: next) }
      core.leadership?.isOpen = true
      self.takesCommits.store(true, ordering: .releasing)
      self.standingWord.increment()
      self.standingWord.wake()
      self.options.standingChanged()
    }
  }
}
