// Group commit with one acceptor: a record is chosen when it is durable here.
//
//   append (in the sequencer)       copies a batch into the open group: no I/O, no waiting
//   commit / whenDelivered          ask for delivery; whoever finds the pipeline idle writes
//   a pass                          close the oldest group → build its record → prepare → write the frame → deliver → wake
//
// Who runs a pass: a committing thread, inline, when nothing is under way and at most two wait (no wake-up at all on a
// quiet system); otherwise the log thread, pass after pass for as long as somebody waits. A group closes when the write
// before it is done, or at 1 MiB. Nothing waits for a timer.
//
// Waiters sleep on a futex word of their group, so that a finished write wakes those whom it concerns and nobody else.
//
// Transactions that do not ask for durability ("unsynced") are delivered once their record is in the frame in memory; the
// frame is written with the next durable group, at 1 MiB, or after 10 ms. They never overtake a durable one.
//
// 1. Groups are delivered one at a time, in the order of versions.
// 2. A group that needs durability is delivered only after the frame that ends with it was written. Who asks for durability
//    when its group was taken, or delivered, without it waits for the next write, which he causes.
// 3. After a failed write nothing is delivered or acknowledged any more.
// 4. `running` is held by at most one thread; whoever holds it owns `Leader`.
// 5. Whoever leaves `running` with asked work left has woken somebody who will take it.

package import Encoding
package import Log
package import Platform
internal import Synchronization

/// Transactions that are chosen, together and in order: to be applied now. The payload is valid during the call.
@safe
package struct ChosenGroup {
  package let slot: Slot
  package let firstVersion: Version
  package let transactionCount: Int
  /// `u32 length | batch` for each transaction.
  package let payload: UnsafeRawBufferPointer
}

/// Why a chosen group could not be delivered.
package enum DeliveryError: Error, Sendable {
  /// There is no room to apply it now; the same group is to be delivered again after a while.
  case later
  /// It never can be: the pipeline stops.
  case failed(String)
}

package struct CommitPipelineOptions: Sendable {
  /// A group is closed before it grows beyond this (unless one batch alone is longer).
  package var groupSizeBytes = 1 << 20
  /// A committing thread writes by itself only if no more than this many wait.
  package var inlineWaiters = 2
  /// How long unsynced transactions stay in memory.
  package var unsyncedDelayNanoseconds: UInt64 = 10_000_000
  /// How long the log is idle before its end is sealed.
  package var sealDelayNanoseconds: UInt64 = 10_000_000
  /// Whether there is a log thread. Without it (simulation) committing threads do everything, and `tick` seals.
  package var usesThread = true

  package init() {}
}

package final class CommitPipeline: Sendable {
  private struct State {
    /// Oldest first; the last is open.
    var queue: [CommitGroup] = []
    var inFlight: CommitGroup?
    var free: [CommitGroup] = []
    var nextVersion: Version
    var isRunning = false
    var isFlushAsked = false
    /// Of transactions that were delivered before they were durable: called when they are.
    var unwrittenCallbacks: [CommitGroup.Callback] = []
    /// The log thread sleeps without a timeout.
    var isThreadParked = false
    var isThreadSignalled = false
    var isStopping = false
    /// Bytes that queued groups and the unwritten frame may take in the log.
    var reservedSizeBytes = 0
    /// Bytes of the frame that are delivered and not yet written; when the first of them came.
    var unwrittenSizeBytes = 0
    var unwrittenSince: UInt64 = 0
    var lastWrite: UInt64 = 0
    var isUnsealed = false
    var failure: LogError?

    /// Whether there is something to do for whoever runs.
    var hasWork: Bool { queue.first?.isAsked == true || (isFlushAsked && unwrittenSizeBytes > 0) }
  }

  /// What belongs to whoever runs.
  private struct Leader {
    var sequencer: RecordSequencer
    let frame = FrameBuffer(capacitySizeBytes: 256 << 10)
    var hasStarted = false
    /// Whether a frame was written in this pass.
    var hasWritten = false
    /// The last passes, for those who ask where their commit's time went.
    var recent = [GroupTimes](repeating: GroupTimes(), count: 64)
    var passes = 0

    mutating func note(_ times: GroupTimes) {
      recent[passes & 63] = times
      passes += 1
    }
    var durable: Slot
  }

  private let log: Log
  private let clock: any Clock
  private let options: CommitPipelineOptions
  private let prepare: (@Sendable (ChosenGroup) throws(DeliveryError) -> Void)?
  private let deliver: @Sendable (ChosenGroup) throws(DeliveryError) -> Void
  private let state: Mutex<State>
  private let leader: Mutex<Leader>
  private let delivered: Atomic<UInt64>
  private let durable: Atomic<UInt64>
  /// The last version in a frame that was written.
  private let durableVersion: Atomic<UInt64>
  /// The slot of the last group that was delivered here.
  private let deliveredSlot = Atomic<UInt64>(0)
  private let failed = Atomic(false)
  private let threadWord = FutexWord()
  private let durableWord = FutexWord()
  private let pauseWord = FutexWord()
  private let thread: Mutex<BackgroundThread?>

  /// Goes on behind the log's last record. `deliver` is called for every chosen group, in order, one at a time, before
  /// anybody who waits for it returns; it must not call back into the pipeline. A group that it puts off is offered again
  /// until it takes it or the pipeline is closed.
  ///
  /// `prepare` is called for the same groups in the same order before they are written, where that cannot hold up what is
  /// unwritten before them: it does what need not wait for the disk. A group that it puts off is prepared after it is
  /// written; then `deliver` does all of it.
  package init(
    log: Log, clock: any Clock, options: CommitPipelineOptions = CommitPipelineOptions(),
    prepare: (@Sendable (ChosenGroup) throws(DeliveryError) -> Void)? = nil,
    deliver: @escaping @Sendable (ChosenGroup) throws(DeliveryError) -> Void
  ) {
    let last = log.state
    self.log = log
    self.clock = clock
    self.options = options
    self.prepare = prepare
    self.deliver = deliver
    state = Mutex(State(nextVersion: last.last.version.advanced(by: 1)))
    let ballot = LogBallot(
      epoch: max(1, last.promised.epoch), round: last.promised.round + 1, priority: 0, node: log.superblock.node)
    leader = Mutex(
      Leader(sequencer: RecordSequencer(after: last, origin: ballot), durable: last.last.slot))
    delivered = Atomic(last.last.version.rawValue)
    durable = Atomic(last.last.slot.rawValue)
    durableVersion = Atomic(last.last.version.rawValue)
    thread = Mutex(nil)
    if options.usesThread { startThread() }
  }

  // MARK: Appending

  /// The version that the next batch must carry.
  package var nextVersion: Version { state.withLock { $0.nextVersion } }

  /// The last version that was delivered.
  package var deliveredVersion: Version { Version(delivered.load(ordering: .acquiring)) }

  /// Takes a transaction's batch. Called with dense versions, in order, one call at a time. Copies; does not write.
  ///
  /// - Throws: `.noSpace` where the file system has no room for it, and then nothing happened: the version can be given to
  ///   another transaction, later. `.poisoned` after a failed write.
  package func append(_ batch: UnsafeRawBufferPointer, version: Version) throws(LogError) {
    precondition(batch.count <= WriteBatch.maximumSizeBytes)
    // Also at most two more frames: what starts a leadership, and a SEAL.
    let more = CommitGroup.reservedSizeBytes(batch.count + 4) + 2 * logBlockSizeBytes
    while true {
      let missing = try state.withLock { (state) throws(LogError) -> Int in
        if let failure = state.failure { throw failure }
        precondition(version == state.nextVersion, "versions are appended in order")
        guard log.hasRoom(state.reservedSizeBytes + more) else { return state.reservedSizeBytes + more }
        let group = openGroup(&state, batch.count)
        let before = group.isEmpty ? 0 : CommitGroup.reservedSizeBytes(group.count)
        unsafe group.append(batch, version: version)
        state.reservedSizeBytes += CommitGroup.reservedSizeBytes(group.count) - before
        state.nextVersion = version.advanced(by: 1)
        return 0
      }
      if missing == 0 { return }
      try log.makeRoom(missing)
    }
  }

  private func openGroup(_ state: inout State, _ count: Int) -> CommitGroup {
    if let open = state.queue.last, open.count + count + 4 <= options.groupSizeBytes || open.isEmpty { return open }
    let group = state.free.popLast() ?? CommitGroup()
    state.queue.append(group)
    return group
  }

  // MARK: Waiting

  private func group(of version: Version, _ state: inout State) -> CommitGroup {
    if let group = state.inFlight, version <= group.lastVersion { return group }
    for group in state.queue where !group.isEmpty && version <= group.lastVersion { return group }
    preconditionFailure("version \(version.rawValue) was not appended")
  }

  /// What a thread that wants a version is to do.
  private enum Step {
    case done
    case run
    case sleep(CommitGroup, UInt32)
  }

  /// Waits until everything up to `version`, which must have been appended, is delivered; writes by itself where that is
  /// quicker. With `durable` false, delivery does not wait for the disk (unless an earlier transaction does).
  package func commit(through version: Version, durable: Bool = true) throws(LogError) {
    var isCounted = false
    while delivered.load(ordering: .acquiring) < version.rawValue {
      var wakesThread = false
      let step = try state.withLock { (state) throws(LogError) -> Step in
        if delivered.load(ordering: .relaxed) >= version.rawValue { return .done }
        if let failure = state.failure { throw failure }
        let group = group(of: version, &state)
        if !isCounted {
          isCounted = true
          ask(group, durable: durable, &state)
          group.waiterCount += 1
        }
        let mayRun = group.waiterCount <= options.inlineWaiters || group.isPromoted || !durable || !options.usesThread
        if !state.isRunning && mayRun {
          state.isRunning = true
          return .run
        }
        if !state.isRunning { wakesThread = signal(&state) }
        return .sleep(group, group.word.load())
      }
      if wakesThread { wakeThread() }
      switch step {
      case .done: break
      case .run: run(through: version)
      case .sleep(let group, let seen):
        if delivered.load(ordering: .acquiring) < version.rawValue {
          EventLoop.blocking { group.word.wait(while: seen) }
        }
      }
    }
    if durable { try write { durableVersion.load(ordering: .acquiring) >= version.rawValue } }
  }

  private func isDurable(_ version: Version) -> Bool {
    delivered.load(ordering: .acquiring) >= version.rawValue
      && durableVersion.load(ordering: .acquiring) >= version.rawValue
  }

  /// Marks a group, and all before it, as waited for.
  private func ask(_ group: CommitGroup, durable: Bool, _ state: inout State) {
    group.isAsked = true
    if durable { group.needsDurability = true }
    for earlier in state.queue {
      if earlier === group { break }
      earlier.isAsked = true
    }
  }

  /// Writes and delivers `version` on this thread if nothing is under way and at most one other waits; otherwise returns
  /// false at once, having asked for nothing. For an event loop that would rather write than sleep.
  package func commitInline(through version: Version) throws(LogError) -> Bool {
    if isDurable(version) { return true }
    let mayRun = try state.withLock { (state) throws(LogError) -> Bool in
      if let failure = state.failure { throw failure }
      if delivered.load(ordering: .relaxed) >= version.rawValue { return false }
      let group = group(of: version, &state)
      guard !state.isRunning, group.waiterCount + group.callbacks.count < options.inlineWaiters else { return false }
      ask(group, durable: true, &state)
      state.isRunning = true
      return true
    }
    guard mayRun else { return isDurable(version) }
    if delivered.load(ordering: .acquiring) < version.rawValue { run(through: version) }
    if let failure = state.withLock({ $0.failure }), deliveredVersion < version { throw failure }
    return isDurable(version)
  }

  /// Calls `body` once `version` is delivered (and durable, where that is asked for) or has failed: at once on this thread
  /// if it is so already, otherwise on the thread that delivers, after the delivery of the whole group. It must be quick
  /// and must not wait.
  package func whenDelivered(
    _ version: Version, durable: Bool = true, _ body: @escaping @Sendable (Result<Void, LogError>) -> Void
  ) {
    var result: Result<Void, LogError>?
    var wakesThread = false
    var runs = false
    state.withLock { state in
      let isDelivered = delivered.load(ordering: .relaxed) >= version.rawValue
      if isDelivered && (!durable || durableVersion.load(ordering: .relaxed) >= version.rawValue) {
        result = .success(())
      } else if let failure = state.failure {
        result = .failure(failure)
      } else {
        let callback = CommitGroup.Callback(version: version, needsDurability: durable, body: body)
        if isDelivered {
          state.unwrittenCallbacks.append(callback)
          state.isFlushAsked = true
        } else {
          let group = group(of: version, &state)
          ask(group, durable: durable, &state)
          group.callbacks.append(callback)
        }
        guard !state.isRunning else { return }
        if options.usesThread {
          wakesThread = signal(&state)
        } else {
          state.isRunning = true
          runs = true
        }
      }
    }
    if let result { body(result) }
    if wakesThread { wakeThread() }
    if runs { run(through: version) }
  }

  /// The way of a version that was committed a moment ago.
  package func times(of version: Version) -> GroupTimes? {
    leader.withLock { leader in leader.recent.first { $0.applied > 0 && $0.holds(version) } }
  }

  // MARK: Durability

  /// Everything up to this slot is durable.
  package var durableSlot: Slot { Slot(durable.load(ordering: .acquiring)) }

  /// Waits until the record at `slot`, which must have been delivered, is durable: before the tables say that they hold
  /// it.
  package func waitUntilDurable(_ slot: Slot) throws(LogError) {
    try write { durable.load(ordering: .acquiring) >= slot.rawValue }
  }

  /// Has the frame written, again and again until that is so.
  private func write(until isWritten: () -> Bool) throws(LogError) {
    while !isWritten() {
      let seen = durableWord.load()
      if isWritten() { return }
      let runs = try state.withLock { (state) throws(LogError) -> Bool in
        if let failure = state.failure { throw failure }
        state.isFlushAsked = true
        guard !state.isRunning else { return false }
        state.isRunning = true
        return true
      }
      if runs { run(through: .zero) } else { EventLoop.blocking { durableWord.wait(while: seen) } }
    }
  }

  /// Makes everything that was delivered durable.
  package func flush() throws(LogError) {
    if let failure = state.withLock({ $0.failure }) { throw failure }
    try waitUntilDurable(Slot(deliveredSlot.load(ordering: .acquiring)))
  }

  // MARK: Running

  private func signal(_ state: inout State) -> Bool {
    guard options.usesThread, !state.isThreadSignalled else { return false }
    state.isThreadSignalled = true
    return true
  }

  private func wakeThread() {
    threadWord.increment()
    threadWord.wake(1)
  }

  /// Runs passes until `version` is delivered (and, without a log thread, until there is nothing to do), then hands over.
  /// The caller set `isRunning`.
  private func run(through version: Version) {
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
  private func handOver() {
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
  private func pass() {
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
  private func write(_ leader: inout Leader) throws(LogError) {
    try log.write(leader.frame)
    leader.frame.removeAll()
    leader.durable = leader.sequencer.position.slot
    leader.hasWritten = true
    durableVersion.store(leader.sequencer.position.version.rawValue, ordering: .releasing)
    durable.store(leader.durable.rawValue, ordering: .releasing)
  }

  private func prepare(_ group: CommitGroup, _ slot: Slot) throws(LogError) {
    guard let prepare else { return }
    do throws(DeliveryError) {
      try prepare(group.chosen(slot))
    } catch {
      if case .failed(let reason) = error { throw .poisoned(reason: reason) }
    }
  }

  /// Delivers a group, again and again where there is no room for it yet.
  private func hand(_ group: CommitGroup, _ slot: Slot, _ leader: inout Leader) throws(LogError) {
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

  private func finish(_ group: CommitGroup?, wrote: Bool, unwritten: Int) {
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
  private func putOff(_ callbacks: inout [CommitGroup.Callback], _ state: inout State) {
    let late = callbacks.filter(\.needsDurability)
    guard !late.isEmpty else { return }
    callbacks.removeAll(where: \.needsDurability)
    state.unwrittenCallbacks += late
    state.isFlushAsked = true
  }

  private func wakeFlushers() {
    durableWord.increment()
    durableWord.wake()
  }

  /// Ends everything: nobody who waits is told that it is committed.
  private func fail(_ error: LogError) {
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

  // MARK: The log thread

  private func startThread() {
    thread.withLock { slot in
      // Keeps the pipeline alive until `close`.
      slot = BackgroundThread { self.threadLoop() }
    }
  }

  private enum Turn { case stop, run, tend, sleep(UInt32, UInt64) }

  private func threadLoop() {
    while true {
      let turn = state.withLock { state -> Turn in
        state.isThreadSignalled = false
        state.isThreadParked = false
        if state.isStopping { return .stop }
        if state.isRunning {
          // Whoever runs hands over.
          state.isThreadParked = true
          return .sleep(threadWord.load(), 0)
        }
        if state.hasWork && state.failure == nil {
          state.isRunning = true
          return .run
        }
        let (due, wait) = tending(state)
        if due {
          state.isRunning = true
          return .tend
        }
        state.isThreadParked = wait == 0
        return .sleep(threadWord.load(), wait)
      }
      switch turn {
      case .stop: return
      case .run: runAll()
      case .tend: tend()
      case .sleep(let seen, let timeout): threadWord.wait(while: seen, timeoutNanoseconds: timeout)
      }
    }
  }

  /// Pass after pass while somebody waits.
  private func runAll() {
    while true {
      pass()
      let goesOn = state.withLock { state in
        if state.hasWork && state.failure == nil { return true }
        state.isRunning = false
        return false
      }
      if !goesOn { return }
    }
  }

  /// Whether unsynced transactions are to be written or the end is to be sealed now, or else in how many nanoseconds
  /// (0 = there is neither).
  private func tending(_ state: State) -> (due: Bool, waitNanoseconds: UInt64) {
    guard state.failure == nil else { return (false, 0) }
    let now = clock.bootNanoseconds
    if state.unwrittenSizeBytes > 0 {
      let due = state.unwrittenSince &+ options.unsyncedDelayNanoseconds
      return now >= due ? (true, 0) : (false, due - now)
    }
    if state.isUnsealed {
      let due = state.lastWrite &+ options.sealDelayNanoseconds
      return now >= due ? (true, 0) : (false, due - now)
    }
    return (false, 0)
  }

  /// Writes what is unsynced, or seals. The caller set `isRunning`.
  private func tend() {
    let writes = state.withLock { state in
      if state.unwrittenSizeBytes > 0 { state.isFlushAsked = true }
      return state.unwrittenSizeBytes > 0
    }
    if writes {
      writeFrame()
    } else {
      do throws(LogError) {
        try log.seal()
        state.withLock { $0.isUnsealed = false }
      } catch { fail(error) }
    }
    state.withLock { $0.isRunning = false }
    handOver()
  }

  /// Writes the frame as it is.
  private func writeFrame() {
    var failure: LogError?
    var wrote = false
    leader.withLock { leader in
      guard !leader.frame.isEmpty else { return }
      do throws(LogError) {
        try write(&leader)
        leader.hasWritten = false
        wrote = true
      } catch { failure = error }
    }
    if let failure { fail(failure) } else { finish(nil, wrote: wrote, unwritten: 0) }
  }

  /// Does now what the log thread would do after a while: for simulations, which have none.
  package func tick() {
    let runs = state.withLock { state in
      if state.isRunning || state.failure != nil { return false }
      guard state.unwrittenSizeBytes > 0 || state.isUnsealed else { return false }
      state.isRunning = true
      return true
    }
    if runs { tend() }
  }

  /// Writes what is unsynced and ends the log thread. Nobody may append or wait any more. Does not close the log.
  package func close() throws(LogError) {
    var failure: LogError?
    do throws(LogError) { try flush() } catch { failure = error }
    state.withLock { $0.isStopping = true }
    wakeThread()
    thread.withLock { slot in
      slot?.join()
      slot = nil
    }
    state.withLock { if $0.failure == nil { $0.failure = .closed } }
    if let failure { throw failure }
  }
}
