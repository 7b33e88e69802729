internal import Encoding
internal import Log
internal import Platform
internal import Synchronization

// One group after the other from the queue to the disk and to those who wait: for whoever holds `running`.
extension CommitPipeline {
  func signal(_ state: inout State) -> Bool {
    guard options.usesThread, !state.isThreadSignalled else { return false }
    state.isThreadSignalled = true
    return true
  }

  func wakeThread() {
    threadWord.increment()
    threadWord.wake(1)
  }

  /// Runs passes until `version` is delivered (and, without a log thread, until there is nothing to do), then hands over.
  /// The caller set `isRunning`.
  func run(through version: Version) {
    while true {
      pass()
      if !options.usesThread || delivered.load(ordering: .relaxed) < version.rawValue {
        let goesOn = state.withLock { state in
          if state.hasWork && state.failure == nil { return true }
          state.isRunning = false
          return false
        }
        if goesOn { continue }
        return
      }
      handOver()
      return
    }
  }

  /// Leaves `isRunning` to whoever waits next: one or two waiters write by themselves, more are the log thread's.
  func handOver() {
    var wakesThread = false
    let promoted = state.withLock { state -> FutexWord? in
      state.isRunning = false
      if state.hasWork && state.failure == nil {
        if let next = state.queue.first, next.waiterCount > 0, next.waiterCount <= options.inlineWaiters,
          next.callbacks.isEmpty
        {
          next.isPromoted = true
          next.word.increment()
          return next.word
        }
        wakesThread = signal(&state)
      } else if state.isThreadParked && (state.isUnsealed || state.unwrittenSizeBytes > 0) {
        // Somebody must seal the end, or write what is unsynced, when the time has come.
        wakesThread = signal(&state)
      }
      return nil
    }
    promoted?.wake(1)
    if wakesThread { wakeThread() }
  }

  /// One group from the queue to its waiters; or, if a flush was asked for and no group waits, the frame to the disk.
  func pass() {
    var mustWrite = true
    let group = state.withLock { state -> CommitGroup? in
      guard state.failure == nil, let first = state.queue.first, first.isAsked, !first.isEmpty else { return nil }
      state.queue.removeFirst()
      state.inFlight = first
      // Who asks for more from here on waits for the next write.
      mustWrite = first.needsDurability
      return first
    }
    let now = clock.wallNanoseconds
    var times = GroupTimes()
    times.built = clock.bootNanoseconds
    var failure: LogError?
    var wrote = false
    var unwritten = 0
    leader.withLock { leader in
      do throws(LogError) {
        if !leader.hasStarted, group != nil {
          leader.sequencer.appendEpochStart(wallNanoseconds: now, to: leader.frame)
          leader.hasStarted = true
        }
        var slot = leader.sequencer.position.slot
        // Who waits for room to apply waits for a flush, which waits for what is unwritten.
        let isAlone = leader.frame.isEmpty
        if let group {
          let header = unsafe leader.sequencer.appendGroup(
            group.payload, transactionCount: group.transactionCount, wallNanoseconds: now, chosen: leader.durable,
            to: leader.frame)
          precondition(header.firstVersion == group.firstVersion, "versions of the log and the sequencer agree")
          (times.firstVersion, times.lastVersion) = (header.firstVersion, header.lastVersion)
          times.sizeBytes = header.recordSizeBytes
          slot = header.slot
          if isAlone { try prepare(group, slot) }
        }
        if mustWrite || leader.frame.paddedSizeBytes >= options.groupSizeBytes,
          !leader.frame.isEmpty
        {
          try write(&leader)
          times.local = clock.bootNanoseconds
        }
        if let group {
          try hand(group, slot, &leader)
          times.applied = clock.bootNanoseconds
          leader.note(times)
          deliveredSlot.store(slot.rawValue, ordering: .releasing)
        }
        unwritten = leader.frame.isEmpty ? 0 : leader.frame.paddedSizeBytes
        wrote = leader.hasWritten
        leader.hasWritten = false
      } catch { failure = error }
    }
    if let failure {
      fail(failure)
      return
    }
    finish(group, wrote: wrote, unwritten: unwritten)
  }

  /// Writes the frame; everything in it is durable.
  func write(_ leader: inout Leader) throws(LogError) {
    try log.write(leader.frame)
    leader.frame.removeAll()
    leader.durable = leader.sequencer.position.slot
    leader.hasWritten = true
    durableVersion.store(leader.sequencer.position.version.rawValue, ordering: .releasing)
    durable.store(leader.durable.rawValue, ordering: .releasing)
  }

  func prepare(_ group: CommitGroup, _ slot: Slot) throws(LogError) {
    guard let prepare else { return }
    do throws(DeliveryError) {
      try prepare(group.chosen(slot))
    } catch {
      if case .failed(let reason) = error { throw .poisoned(reason: reason) }
    }
  }

  /// Delivers a group, again and again where there is no room for it yet.
  func hand(_ group: CommitGroup, _ slot: Slot, _ leader: inout Leader) throws(LogError) {
    while true {
      do throws(DeliveryError) {
        try deliver(group.chosen(slot))
        return
      } catch {
        if case .failed(let reason) = error { throw .poisoned(reason: reason) }
      }
      // What makes room is a flush, and a flush waits for the log: nothing may be left unwritten while this waits.
      if !leader.frame.isEmpty {
        try write(&leader)
      }
      wakeFlushers()
      if state.withLock({ $0.isStopping }) { throw .closed }
      pauseWord.wait(while: pauseWord.load(), timeoutNanoseconds: 5_000_000)
    }
  }

  func finish(_ group: CommitGroup?, wrote: Bool, unwritten: Int) {
    var callbacks: [CommitGroup.Callback] = []
    var sleepers = 0
    if let group { delivered.store(group.lastVersion.rawValue, ordering: .releasing) }
    state.withLock { state in
      let now = clock.bootNanoseconds
      if wrote {
        state.lastWrite = now
        state.isUnsealed = true
        state.isFlushAsked = false
      }
      if unwritten > 0 && state.unwrittenSizeBytes == 0 { state.unwrittenSince = now }
      state.unwrittenSizeBytes = unwritten
      state.inFlight = nil
      if let group {
        sleepers = group.waiterCount
        swap(&callbacks, &group.callbacks)
        if group.lastVersion.rawValue > durableVersion.load(ordering: .relaxed) { putOff(&callbacks, &state) }
        group.reset()
        // Late sleepers see the word change at its next use at the latest, and then that their version is delivered.
        group.word.increment()
        if state.free.count < 4 { state.free.append(group) }
      }
      if wrote {
        callbacks += state.unwrittenCallbacks
        state.unwrittenCallbacks.removeAll()
      }
      state.reservedSizeBytes = state.queue.reduce(unwritten + logBlockSizeBytes) {
        $0 + ($1.isEmpty ? 0 : CommitGroup.reservedSizeBytes($1.count))
      }
    }
    if sleepers > 0 { group?.word.wake() }
    if wrote { wakeFlushers() }
    for callback in callbacks { callback.body(.success(())) }
  }

  /// Keeps those who asked for durability when their group had been taken without it until the next write.
  func putOff(_ callbacks: inout [CommitGroup.Callback], _ state: inout State) {
    let late = callbacks.filter(\.needsDurability)
    guard !late.isEmpty else { return }
    callbacks.removeAll(where: \.needsDurability)
    state.unwrittenCallbacks += late
    state.isFlushAsked = true
  }

  func wakeFlushers() {
    durableWord.increment()
    durableWord.wake()
  }

  /// Ends everything: nobody who waits is told that it is committed.
  func fail(_ error: LogError) {
    let poison: LogError
    switch error {
    case .poisoned, .closed: poison = error
    default: poison = .poisoned(reason: error.description)
    }
    var groups: [CommitGroup] = []
    var unwritten: [CommitGroup.Callback] = []
    state.withLock { state in
      swap(&unwritten, &state.unwrittenCallbacks)
      state.failure = poison
      groups = state.queue
      if let inFlight = state.inFlight { groups.append(inFlight) }
      state.queue = []
      state.inFlight = nil
    }
    failed.store(true, ordering: .releasing)
    for group in groups {
      group.word.increment()
      group.word.wake()
      for callback in group.callbacks { callback.body(.failure(poison)) }
      group.callbacks = []
    }
    for callback in unwritten { callback.body(.failure(poison)) }
    wakeFlushers()
  }
}
