internal import Encoding
package import Log
internal import Paxos
internal import Platform
package import Replication
package import Storage
internal import Synchronization
package import Transactions

/// The parts of an open database, put together in the order in which each needs the next.
///
/// ```
/// commit → TransactionManager → LogAdapter → CommitPipeline → Log
///                 ▲                               │ chosen
///                 └────────── deliver ────────────┘ → Engine: apply, publish
/// ```
final class Core: Sendable {
  let path: String
  let disk: any Disk
  let log: Log
  let engine: Engine
  /// Exactly one of the two is there.
  let pipeline: CommitPipeline?
  let replicated: ReplicatedLog?
  let manager: TransactionManager
  /// Looks for damage, where a peer has what should be there.
  private let scrubber: Scrubber?
  private let isClosed = Atomic(false)

  /// Opens the directory, recovers, and replays what the tables lack.
  init(path: String, disk: any Disk, clock: any Clock, options: DatabaseOptions, tuning: CoreTuning)
    throws(DatabaseError)
  {
    self.path = path
    self.disk = disk
    let bridge = Bridge()
    do throws(LogError) {
      var logOptions = tuning.log
      logOptions.creates = options.createsIfMissing
      log = try Log.open(path, disk: disk, options: logOptions)
    } catch { throw DatabaseError(opening: path, error) }
    do {
      var engineOptions = options.engineOptions()
      tuning.engine(&engineOptions)
      // A flush waits for the log; what is flushed, the log may forget.
      engineOptions.ensureDurable = { slot in try bridge.pipeline?.waitUntilDurable(slot) }
      engineOptions.onFlush = { [log] slot in try? log.truncate(through: slot) }
      engineOptions.logSizeBytes = { [log] slot in log.reach(of: slot) }
      engine = try Engine.open(path, disk: disk, options: engineOptions)
      try Self.replay(log, into: engine)
      let pipeline = CommitPipeline(
        log: log, clock: clock, options: tuning.pipeline,
        prepare: { (group) throws(DeliveryError) in try bridge.prepare(group) },
        deliver: { (group) throws(DeliveryError) in try bridge.deliver(group) })
      self.pipeline = pipeline
      replicated = nil
      manager = TransactionManager(engine: engine, log: LogAdapter(pipeline), options: tuning.transactions)
      bridge.tie(manager: manager, pipeline: pipeline)
      scrubber = nil
    } catch {
      try? log.close()
      throw DatabaseError(opening: path, error)
    }
  }

  /// Opens the directory as a node of a cluster. What the log holds is applied as it is learnt to be chosen; `leads` is
  /// called before this node takes commits, and when its state was replaced.
  init(
    path: String, disk: any Disk, clock: any Clock, options: DatabaseOptions, tuning: CoreTuning,
    node: ClusterNodeSetup,
    leads: @escaping @Sendable () -> Void
  ) throws(DatabaseError) {
    self.path = path
    self.disk = disk
    let bridge = Bridge(leads)
    var opening: ClusterOpening
    do throws(LogError) {
      opening = try ClusterOpening(path, disk, node, options, tuning)
      log = opening.log
    } catch { throw DatabaseError(opening: path, error) }
    do {
      var engineOptions = options.engineOptions()
      tuning.engine(&engineOptions)
      engineOptions.ensureDurable = { slot in try bridge.replicated?.waitUntilDurable(slot) }
      engineOptions.onFlush = { slot in bridge.replicated?.flushed(slot) }
      engineOptions.logSizeBytes = { [log] slot in log.reach(of: slot) }
      engine = try opening.openEngine(engineOptions)
      engine.publish(engine.flushedPosition.version)
      let replicated = try ReplicatedLog(
        log: log, members: opening.members, applied: opening.position(of: engine), disk: disk, clock: clock,
        transport: node.transport, state: bridge, options: node.options)
      pipeline = nil
      self.replicated = replicated
      let adapter = ReplicatedLogAdapter(replicated)
      // Clients of several nodes compare what they see by the clock on the wall.
      var transactionOptions = tuning.transactions
      transactionOptions.isStrict = true
      manager = TransactionManager(engine: engine, log: adapter, gate: adapter, options: transactionOptions)
      bridge.tie(manager: manager, replicated: replicated)
      replicated.start()
      scrubber =
        opening.hasPeers
        ? Scrubber(
          node.options.keepsState ? engine : nil, replicated, disk, pauseNanoseconds: tuning.scrubPauseNanoseconds)
        : nil
    } catch {
      try? log.close()
      throw DatabaseError(opening: path, error)
    }
  }

  /// Applies every record behind the flushed position, in order.
  private static func replay(_ log: Log, into engine: Engine) throws {
    let flushed = engine.flushedPosition
    engine.publish(flushed.version)
    guard log.state.last.slot > flushed.slot else { return }
    try Replication.replay(log, after: flushed.slot) { group in
      unsafe try engine.apply(
        slot: group.slot, firstVersion: group.firstVersion, transactionCount: group.transactionCount,
        payload: group.payload)
      engine.publish(group.firstVersion.advanced(by: UInt64(group.transactionCount - 1)))
    }
  }

  /// Ends everything in the reverse order; idempotent.
  func close() throws(DatabaseError) {
    guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
    var failure: (any Error)?
    scrubber?.stop()
    do { try pipeline?.close() } catch { failure = error }
    replicated?.close()
    engine.close()
    do { try log.close() } catch { failure = failure ?? error }
    if let failure { throw DatabaseError(opening: path, failure) }
  }
}

/// What tests change about an open database: sizes, threads, randomness.
package struct CoreTuning: Sendable {
  package var log = LogOptions()
  package var pipeline = CommitPipelineOptions()
  package var transactions = TransactionManagerOptions()
  package var engine: @Sendable (inout EngineOptions) -> Void = { _ in }
  /// How long a node rests after it has read its log and tables.
  package var scrubPauseNanoseconds: UInt64 = 6 * 3600 * 1_000_000_000
  package init() {}
}

/// The pipeline as transactions know a log.
private final class LogAdapter: CommitLog {
  private let pipeline: CommitPipeline

  init(_ pipeline: CommitPipeline) { self.pipeline = pipeline }

  func append(_ batch: UnsafeRawBufferPointer, version: Version) throws(CommitError) {
    do throws(LogError) { unsafe try pipeline.append(batch, version: version) } catch {
      throw CommitError(error, isAppended: false)
    }
  }

  func append(_ batch: LargeBatch, version: Version) throws(CommitError) {
    do throws(LogError) { try pipeline.append(batch, version: version) } catch {
      throw CommitError(error, isAppended: false)
    }
  }

  func commit(through version: Version, durable: Bool) throws(CommitError) {
    do throws(LogError) { try pipeline.commit(through: version, durable: durable) } catch {
      throw CommitError(error, isAppended: true)
    }
  }

  func whenDelivered(_ version: Version, _ body: @escaping @Sendable (Swift.Result<Void, CommitError>) -> Void) {
    whenDelivered(version, durable: true, body)
  }

  func whenDelivered(
    _ version: Version, durable: Bool, _ body: @escaping @Sendable (Swift.Result<Void, CommitError>) -> Void
  ) {
    pipeline.whenDelivered(version, durable: durable) { result in
      body(result.mapError { CommitError($0, isAppended: true) })
    }
  }

  func trace(of version: Version) -> CommitTrace? {
    pipeline.times(of: version).map { CommitTrace($0) }
  }

  func commitInline(through version: Version) throws(CommitError) -> Bool {
    do throws(LogError) { return try pipeline.commitInline(through: version) } catch {
      throw CommitError(error, isAppended: true)
    }
  }
}

extension CommitTrace {
  init(_ times: GroupTimes) {
    // What is not chosen by others is so when it is on the disk.
    let chosen = times.chosen > 0 ? times.chosen : max(times.local, times.built)
    self.init(
      applyNanoseconds: times.applied > chosen ? times.applied - chosen : 0,
      totalNanoseconds: times.applied > times.built ? times.applied - times.built : 0,
      transactions: Int(times.lastVersion.rawValue - times.firstVersion.rawValue + 1), sizeBytes: times.sizeBytes)
    localNanoseconds = times.local > times.built ? times.local - times.built : nil
  }
}

extension CommitError {
  /// After the append a failed write leaves the outcome open: the record may or may not be whole on the disk.
  fileprivate init(_ error: LogError, isAppended: Bool) {
    switch error {
    case .noSpace: self = isAppended ? .unknownOutcome("\(error)") : .diskFull("\(error)")
    case .closed: self = .closed
    default: self = isAppended ? .unknownOutcome("\(error)") : .failed("\(error)")
    }
  }
}
