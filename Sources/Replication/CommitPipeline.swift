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

package final class CommitPipeline: Sendable {
  struct State {
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
  struct Leader {
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

  let log: Log
  let clock: any Clock
  let options: CommitPipelineOptions
  let prepare: (@Sendable (ChosenGroup) throws(DeliveryError) -> Void)?
  let deliver: @Sendable (ChosenGroup) throws(DeliveryError) -> Void
  let state: Mutex<State>
  let leader: Mutex<Leader>
  let delivered: Atomic<UInt64>
  let durable: Atomic<UInt64>
  /// The last version in a frame that was written.
  let durableVersion: Atomic<UInt64>
  /// The slot of the last group that was delivered here.
  let deliveredSlot = Atomic<UInt64>(0)
  let failed = Atomic(false)
  let threadWord = FutexWord()
  let durableWord = FutexWord()
  let pauseWord = FutexWord()
  let thread: Mutex<BackgroundThread?>

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
    try append(count: batch.count, version) { group in unsafe group.append(batch, version: version) }
  }

  /// The same, keeping the batch instead of copying it.
  package func append(_ batch: LargeBatch, version: Version) throws(LogError) {
    unsafe try append(count: batch.bytes.count, version) { group in group.append(batch, version: version) }
  }

  @inline(__always)
  private func append(count: Int, _ version: Version, _ add: (CommitGroup) -> Void) throws(LogError) {
    precondition(count <= WriteBatch.maximumSizeBytes)
    // Also at most two more frames: what starts a leadership, and a SEAL.
    let more = CommitGroup.reservedSizeBytes(count + 4) + 2 * logBlockSizeBytes
    while true {
      let missing = try state.withLock { (state) throws(LogError) -> Int in
        if let failure = state.failure { throw failure }
        precondition(version == state.nextVersion, "versions are appended in order")
        guard log.hasRoom(state.reservedSizeBytes + more) else { return state.reservedSizeBytes + more }
        let group = openGroup(&state, count)
        let before = group.isEmpty ? 0 : CommitGroup.reservedSizeBytes(group.count)
        add(group)
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
}
