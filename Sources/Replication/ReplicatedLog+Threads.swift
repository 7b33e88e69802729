internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Synchronization

// The disk's thread, the clock's, and the one for services.

extension ReplicatedLog {
  // MARK: Disk

  func diskLoop() {
    while true {
      let seen = diskWord.load()
      // Where nothing waits this came to look after the seal, and need not wait for whoever writes.
      let outcome =
        isDiskBusy.load(ordering: .acquiring)
        ? writing.withLock { frame in writeWaiting(frame, atMost: .max) } : .nothing
      switch outcome {
      case .wrote:
        if isDeliveryDue { isDiskBusy.load(ordering: .acquiring) ? wakeDelivery() : deliverHere() }
        continue
      case .failed: return
      case .nothing: break
      }
      if isStopping.load(ordering: .acquiring) { return }
      var until = UInt64.max
      if isUnsealed.load(ordering: .acquiring) {
        until = lastWriteEnd.load(ordering: .relaxed) &+ options.sealDelayNanoseconds
        if clock.bootNanoseconds >= until {
          // Who writes from here on asks for another seal.
          isUnsealed.store(false, ordering: .sequentiallyConsistent)
          do throws(LogError) { try log.seal() } catch { fail(error) }
          continue
        }
      }
      sleepDisk(until, seen)
    }
  }

  /// Sleeps until `until` or the end of a hold, which it then ends. Who begins a hold sees how long this sleeps, or this sees
  /// the hold.
  private func sleepDisk(_ until: UInt64, _ seen: UInt32) {
    diskSleepsUntil.store(until, ordering: .sequentiallyConsistent)
    defer { diskSleepsUntil.store(0, ordering: .sequentiallyConsistent) }
    let isHolding = isHeld.load(ordering: .sequentiallyConsistent)
    let end = isHolding ? min(until, heldUntil.load(ordering: .relaxed)) : until
    guard end != .max else { return diskWord.wait(while: seen) }
    let now = clock.bootNanoseconds
    if now < end { return diskWord.wait(while: seen, timeoutNanoseconds: end - now) }
    guard isHolding else { return }
    isHeld.store(false, ordering: .sequentiallyConsistent)
    enter { _ in }
  }

  enum Written { case wrote, nothing, failed }

  /// What a thread of the network writes by itself: what is more takes long, and others are to be heard meanwhile.
  private static let hereSizeBytes = 256 << 10

  /// Writes what waits on the calling thread, which brought it; or leaves it to the disk's thread.
  ///
  /// - Parameter asLeader: also where this node leads.
  func writeHere(asLeader: Bool = false) {
    _ = writing.withLockIfAvailable { frame in writeWaiting(frame, atMost: Self.hereSizeBytes, asLeader: asLeader) }
    let isHolding =
      isHeld.load(ordering: .sequentiallyConsistent)
      && diskSleepsUntil.load(ordering: .sequentiallyConsistent) > heldUntil.load(ordering: .relaxed)
    if isDiskBusy.load(ordering: .acquiring) || isHolding { wakeDisk() }
  }

  /// Takes all that is to be written, writes it and tells so; nothing where it is more than `limit`, or more than records.
  ///
  /// Under `writing`.
  private func writeWaiting(_ frame: FrameBuffer, atMost limit: Int, asLeader: Bool = false) -> Written {
    let writes = core.withLock { core -> [PendingWrite] in
      guard !core.writes.isEmpty, limit == .max || mayWriteHere(core, limit, asLeader) else { return [] }
      defer { core.writes = [] }
      core.writesOut = core.writes.count
      return core.writes
    }
    guard !writes.isEmpty else { return .nothing }
    do throws(LogError) { try write(writes, frame) } catch {
      fail(error)
      return .failed
    }
    lastWriteEnd.store(clock.bootNanoseconds, ordering: .relaxed)
    if !isUnsealed.exchange(true, ordering: .sequentiallyConsistent), limit != .max { wakeDisk() }
    return .wrote
  }

  /// On the leader the network's thread must hear the others meanwhile.
  private func mayWriteHere(_ core: borrowing Core, _ limit: Int, _ asLeader: Bool) -> Bool {
    guard asLeader || !core.replica.isLeader, !isStopping.load(ordering: .acquiring) else { return false }
    var size = 0
    for write in core.writes {
      guard case .append = write.persist.change, !write.persist.ballotsChanged else { return false }
      for record in write.records { size += record.header.recordSizeBytes }
      if size > limit { return false }
    }
    return true
  }

  /// Makes the writes durable in their order, as few frames as they take, and tells the replica.
  private func write(_ writes: [PendingWrite], _ frame: FrameBuffer) throws(LogError) {
    frame.removeAll()
    var done = 0
    for (index, write) in writes.enumerated() {
      if case .append = write.persist.change, !write.persist.ballotsChanged {
        try put(write.records, frame, isAlone: false)
        guard frame.paddedSizeBytes >= options.frameSizeBytes else { continue }
        try flush(frame)
        complete(writes[done...index])
      } else {
        try flush(frame)
        if done < index { complete(writes[done..<index]) }
        try carryOut(write, frame)
        complete(writes[index...index])
      }
      done = index + 1
    }
    if done < writes.count {
      try flush(frame)
      complete(writes[done...])
    }
  }

  private func complete(_ writes: ArraySlice<PendingWrite>) {
    guard let last = writes.last else { return }
    let end = clock.bootNanoseconds
    for write in writes {
      for record in write.records {
        record.isDurable.store(true, ordering: .releasing)
        let built = record.builtAt.load(ordering: .relaxed)
        if built > 0 {
          record.durableAt.store(end, ordering: .relaxed)
          commitTimes.local.add(nanoseconds: end &- built)
        }
      }
    }
    // Whoever writes looks by itself for what else there is to do.
    enter(caring: [.writes, .delivery]) { core in
      for write in writes {
        for vow in write.vows { self.send(vow, &core) }
        if case .install(let checkpoint, _) = write.persist.change { self.request(.installed(checkpoint)) }
      }
      core.writesOut -= writes.count
      if core.writesOut == 0, core.writes.isEmpty { self.isDiskBusy.store(false, ordering: .releasing) }
      core.replica.persisted(last.persist.token, now: self.now, into: &core.front)
    }
    durableWord.increment()
    durableWord.wake()
  }

  /// A write that changes ballots, or replaces something. A replacement's frames count together or not at all.
  private func carryOut(_ write: PendingWrite, _ frame: FrameBuffer) throws(LogError) {
    let persist = write.persist
    let state = log.state
    let promised = LogBallot(persist.promised)
    let accepted = LogBallot(persist.accepted)
    // A ballot that starts the first epoch is below every real one; it need not be noted to be remembered.
    let starts = persist.accepted.round == 0 && persist.accepted.epoch > 1
    let raises = accepted > state.accepted && (persist.accepted.round > 0 || starts)
    switch persist.change {
    case .replace(let slot):
      guard let position = log.position(at: Slot(slot)) else {
        throw .doesNotContinue(reason: "slot \(slot), behind which the log is to be replaced, is not there")
      }
      try replace(after: position, accepted, write.records, frame)
    case .none where raises, .append where raises: try replace(after: state.last, accepted, write.records, frame)
    case .none, .append: try put(write.records, frame, isAlone: true)
    case .repair:
      try repair(write.records, frame)
      if raises { note(accepted, at: log.state.last, frame) }
    case .install(_, let keepsLog):
      guard let position = write.position else { preconditionFailure("an install has its position") }
      frame.append(.install(CheckpointMark(position: position, manifest: 0), keepsLog: keepsLog))
      if raises { note(accepted, at: keepsLog ? state.last : position, frame) }
    }
    if promised > max(state.promised, raises ? accepted : .zero),
      persist.promised.round > 0 || persist.promised.epoch > 1
    {
      frame.append(.promise(promised))
    }
    if persist.tailCertain != log.state.isTailCertain { frame.append(.tail(isCertain: persist.tailCertain)) }
    if Slot(persist.chosen) > state.chosenHint, !frame.isEmpty { frame.append(.chosen(Slot(persist.chosen))) }
    try flush(frame)
  }

  /// Everything behind `position` gives way to `records`.
  private func replace(
    after position: LogPosition, _ ballot: LogBallot, _ records: [StoredRecord], _ frame: FrameBuffer
  ) throws(LogError) {
    var before = position
    if let first = records.first {
      // Of a damaged record neither may be known here; its successor knows both.
      before.chain = first.header.previousChain
      before.version = Version(first.header.firstVersion.rawValue - 1)
    }
    let end = records.last.map { ($0.header.slot, $0.chain) } ?? (before.slot, before.chain)
    frame.append(.syncBegin(SyncBegin(ballot: ballot, before: before, end: end.0, endChain: end.1)))
    try put(records, frame, isAlone: true)
    frame.append(.syncEnd(ballot: ballot, end: end.0, endChain: end.1))
  }

  /// Raises `accepted` without a record.
  private func note(_ ballot: LogBallot, at last: LogPosition, _ frame: FrameBuffer) {
    frame.append(.syncBegin(SyncBegin(ballot: ballot, before: last, end: last.slot, endChain: last.chain)))
    frame.append(.syncEnd(ballot: ballot, end: last.slot, endChain: last.chain))
  }

  /// Writes copies of damaged records. What follows proves a record, and where that is not known what came before.
  private func repair(_ records: [StoredRecord], _ frame: FrameBuffer) throws(LogError) {
    let isEndKnown = records.last.map { log.chain(at: $0.header.slot) != nil } ?? false
    for record in isEndKnown ? records.reversed() : records {
      do throws(DecodingError) { unsafe try frame.append(repairing: record.bytes) } catch {
        throw .doesNotContinue(reason: "slot \(record.slot) is damaged in memory: \(error)")
      }
      if frame.paddedSizeBytes >= options.frameSizeBytes { try flush(frame) }
    }
    transfers.withLock { $0.repairedRecords += records.count }
  }

  private func put(_ records: [StoredRecord], _ frame: FrameBuffer, isAlone: Bool) throws(LogError) {
    for record in records {
      do throws(DecodingError) { unsafe try frame.append(stored: record.bytes) } catch {
        throw .doesNotContinue(reason: "slot \(record.slot) is damaged in memory: \(error)")
      }
      if isAlone, frame.paddedSizeBytes >= options.frameSizeBytes { try flush(frame) }
    }
  }

  /// Writes the frame; waits where there is no space, for that can pass.
  private func flush(_ frame: FrameBuffer) throws(LogError) {
    guard !frame.isEmpty else { return }
    while true {
      do throws(LogError) {
        try log.write(frame)
        frame.removeAll()
        if isOutOfSpace.load(ordering: .relaxed) {
          isOutOfSpace.store(false, ordering: .releasing)
          options.note("there is space for the log again")
        }
        return
      } catch {
        guard case .noSpace = error, !isStopping.load(ordering: .acquiring) else { throw error }
        if !isOutOfSpace.exchange(true, ordering: .acquiringAndReleasing) {
          options.note("this node takes nothing new until there is space: \(error)")
        }
        // The replica sees a stalled disk and hands leadership over.
        durableWord.wait(while: durableWord.load(), timeoutNanoseconds: 100_000_000)
      }
    }
  }

  private func fail(_ error: LogError) {
    let isFirst = failure.withLock { failure in
      defer { if failure == nil { failure = error.description } }
      return failure == nil
    }
    if isFirst { options.note("this node takes no part any more: \(error)") }
    enter { core in core.replica.diskFailed(now: self.now, into: &core.front) }
    durableWord.increment()
    durableWord.wake()
  }

  // MARK: Clock

  func clockLoop() {
    while !isStopping.load(ordering: .acquiring) {
      // A change of role, leader or members wakes this thread: another time may be the next.
      let seen = clockWord.load()
      // A witness has no flush that would tell what its log may lose.
      let near = options.keepsState ? nil : log.lastSlot(leaving: options.nearLogSizeBytes)
      let next = enter { core -> Ticks in
        if let near { core.replica.nearEnd = near.rawValue }
        core.replica.tick(now: self.now, into: &core.front)
        self.tellSafeVersion(&core)
        return core.replica.nextTick(now: self.now)
      }
      expireUndecided()
      considerDigest()
      // What else begins meanwhile is watched from the next tick on: no more than two heartbeats late.
      let now = now
      let pause = max(options.tickNanoseconds, next > now ? (next - now) * 1000 : 0)
      clockWord.wait(while: seen, timeoutNanoseconds: pause)
    }
  }

  // MARK: Services

  func serviceLoop() {
    var truncation = Truncation()
    while true {
      let seen = serviceWord.load()
      if isStopping.load(ordering: .acquiring) { return }
      let pause = truncate(&truncation)
      let work = services.withLock { services -> [Service] in
        defer { services = [] }
        return services
      }
      if work.isEmpty {
        serviceWord.wait(while: seen, timeoutNanoseconds: pause)
        continue
      }
      for service in work where !isStopping.load(ordering: .acquiring) {
        switch service {
        case .serve(let notice): serve(notice)
        case .truncate(let checkpoint): note(checkpoint, &truncation)
        case .saveMembers:
          // What could not be written now is, with the next change; peers are heard of again in any case.
          try? writeMembers { _ in }
        case .installed(let checkpoint): finishInstallation(checkpoint, &truncation)
        }
      }
    }
  }

  /// Sends records that are no longer in memory. What was replaced meanwhile the receiver refuses: the chain tells.
  private func serve(_ notice: NoticeEnvelope) {
    let end = notice.firstRecord + UInt64(notice.recordCount) - 1
    var records: [StoredRecord] = []
    var size = 0
    do throws(LogError) {
      let reader = try log.reader(after: Slot(notice.firstRecord - 1), through: Slot(end), decompresses: false)
      do throws(LogError) {
        while let record = try reader.nextRecord() {
          size += record.header.recordSizeBytes
          if Self.mayBeCut(notice), size > Self.answerSizeBytes, !records.isEmpty { break }
          guard let stored = unsafe try? StoredRecord(copying: record.storedBytes) else { return }
          records.append(stored)
          if record.header.slot.rawValue == end { break }
        }
      } catch {
        recordWasNotRead(reader.nextSlot.rawValue, error)
        guard Self.mayBeCut(notice) else { return }
      }
    } catch { return }
    let reached = records.last?.slot ?? 0
    if !Self.mayBeCut(notice) {
      // The rest may still be in memory only.
      var slot = reached == 0 ? notice.firstRecord : reached + 1
      while slot <= end {
        guard let record = core.withLock({ $0.cache.record(at: slot) }) else { return }
        records.append(record)
        slot += 1
      }
    }
    guard !records.isEmpty else { return }
    send(notice, records)
    transport.flush()
  }

  /// What of the log is being given back, and when more of it may be.
  struct Truncation {
    var through: Slot?
    var notBefore: UInt64 = 0
  }

  /// Gives back a little of the log, if some is to be and it is time. Returns how long to wait for the next time; 0: none.
  private func truncate(_ truncation: inout Truncation) -> UInt64 {
    guard let slot = truncation.through else { return 0 }
    let now = clock.bootNanoseconds
    if now < truncation.notBefore { return truncation.notBefore - now }
    // What failed is tried again at the next checkpoint; a log that failed says so by itself.
    let size = (try? log.truncate(through: slot, atMost: Self.truncatedStepSizeBytes)) ?? 0
    guard size > 0 else {
      // The scrubber, or who serves a peer, will be done with it.
      if log.readersKeep(through: slot) {
        truncation.notBefore = now &+ Self.readersPauseNanoseconds
        return Self.readersPauseNanoseconds
      }
      truncation.through = nil
      return 0
    }
    let pause = max(1, min(size, 1 << 30) * 1_000_000_000 / Self.truncatedSizeBytesPerSecond)
    truncation.notBefore = clock.bootNanoseconds &+ pause
    return pause
  }

  private static let readersPauseNanoseconds: UInt64 = 100_000_000
  private static let truncatedStepSizeBytes: UInt64 = 8 << 20
  private static let truncatedSizeBytesPerSecond: UInt64 = 128 << 20

  /// The log may begin behind the checkpoint from now on.
  private func note(_ checkpoint: Checkpoint, _ truncation: inout Truncation) {
    do throws(LogError) {
      let isNews = try memberWrites.withLock { (_: inout Void) throws(LogError) -> Bool in
        var next = members.withLock { $0 }
        guard checkpoint.point.slot > next.checkpoint?.point.slot ?? 0 else { return false }
        next.checkpoint = checkpoint
        try next.write(log.directory, disk: disk)
        members.withLock { $0.checkpoint = checkpoint }
        return true
      }
      guard isNews else { return }
      truncation.through = Slot(checkpoint.point.slot)
    } catch {
      // Space is given back at the next checkpoint; a log that failed says so by itself.
    }
  }
}
