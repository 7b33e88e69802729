// The one log of a database, on this node: `superblock`, `LOCK` and `log/` in the database directory.
//
// Formats: SegmentHeader.swift, Frame.swift, Record.swift, ControlRecord.swift, Superblock.swift; docs/log-format.md.
//
// 1. What `write` returned for is durable, and is what recovery finds.
// 2. After a failed write or sync nothing is written any more: what is durable is unknown until the log is opened anew.
//    (ATC '20: a retried fsync succeeds and proves nothing.)
// 3. Running out of space is noticed before a frame is written: a frame goes only where the file has its space.
// 4. One frame is in flight at a time, so each frame's synced place is its own; the format allows more.
//
// Threads: any may call anything. `writer` is held across a write and taken by one writer at a time; `index` is held for
// moments; the maintenance thread prepares segments and takes neither while it does I/O.

package import Encoding
package import Platform
internal import Synchronization

package final class Log: Sendable {
  struct Writer {
    var file: any DiskFile
    var header: SegmentHeader
    var path: String
    /// Whether every byte of the segment was written once: a durable write then is quickest.
    var isFilled = true
    var offset: UInt64
    var nextFrame: UInt64
    var previousChecksum: UInt32
    var isSealed: Bool
    let control: FrameBuffer
    let block: AlignedBuffer
  }

  struct Shared {
    var index: LogIndex
    var segments: [SegmentInfo]
    /// Readers by the slot that they still need, so that nothing under them is recycled.
    var readers: [UInt64: Slot] = [:]
    var nextReader: UInt64 = 0
    var randomness: any RandomNumberGenerator & Sendable
    /// What was found damaged when the log was opened, and reported instead of refused.
    var damage: [LogDamage] = []
    /// What recovery noted of the records, until it is asked for.
    var notes: [RecordNote] = []
    var failure: LogError?
  }

  /// The database directory.
  package let directory: String
  package let options: LogOptions
  let disk: any Disk
  let files: SegmentFiles
  let mutations: LogMutations
  private let lock: DirectoryLock
  let superblockFile: Mutex<SuperblockFile>
  let writer: Mutex<Writer>
  let shared: Mutex<Shared>
  /// Bytes that frames can take for certain, were they written one after the other.
  let room: Atomic<Int>
  /// The next segment is to be prepared: this one is not the first, or half full.
  let isNextDue = Atomic(false)
  let framesSize = Atomic<UInt64>(0)
  /// What was there when the log was opened: its last slot, its size, and where in it each segment begins.
  let opened: (last: Slot, sizeBytes: UInt64, starts: [UInt64: UInt64])
  /// How long durable writes of frames took.
  package let writeTimes = DurationHistogram()
  let sequence: Atomic<UInt64>
  let wanted = FutexWord()
  let isStopping = Atomic(false)
  let maintenance: Mutex<BackgroundThread?>

  private init(
    _ directory: String, _ disk: any Disk, _ options: LogOptions, _ files: SegmentFiles, _ mutations: LogMutations,
    _ lock: DirectoryLock, _ superblock: sending SuperblockFile, _ writer: sending Writer, _ shared: sending Shared
  ) {
    self.directory = directory
    self.disk = disk
    self.options = options
    self.files = files
    self.mutations = mutations
    self.lock = lock
    opened = Self.measure(shared, writer)
    sequence = Atomic(writer.header.sequence)
    room = Atomic(0)
    superblockFile = Mutex(superblock)
    self.writer = Mutex(writer)
    self.shared = Mutex(shared)
    maintenance = Mutex(nil)
  }

  private static func measure(
    _ shared: borrowing Shared, _ writer: borrowing Writer
  ) -> (last: Slot, sizeBytes: UInt64, starts: [UInt64: UInt64]) {
    var size: UInt64 = 0
    var starts: [UInt64: UInt64] = [:]
    for segment in shared.segments {
      starts[segment.sequence] = size
      size += segment.sequence == writer.header.sequence ? writer.offset : segment.fileSizeBytes
    }
    return (shared.index.head.state.last.slot, size, starts)
  }

  // MARK: Opening and closing

  /// Opens the database at `directory`, or makes it, recovers the log and takes the lock.
  package static func open(
    _ directory: String, disk: any Disk, options: LogOptions = LogOptions(), mutations: LogMutations = []
  ) throws(LogError) -> Log {
    precondition(options.segmentSizeBytes % logBlockSizeBytes == 0 && options.segmentSizeBytes >= 4 * logBlockSizeBytes)
    precondition(
      options.firstSegmentSizeBytes % logBlockSizeBytes == 0 && options.firstSegmentSizeBytes >= 2 * logBlockSizeBytes)
    let exists = try DatabaseDirectory.find(directory, disk: disk, creates: options.creates)
    let lock = try DirectoryLock(directory, disk: disk)
    do throws(LogError) {
      let files = SegmentFiles(
        directory: directory + "/" + DatabaseDirectory.logName, disk: disk, options: options, mutations: mutations)
      let randomness: any RandomNumberGenerator & Sendable =
        options.seed.map { SeededRandomness(seed: $0) } ?? SystemRandomness()
      // Two processes may have come here at once: only one has the lock, and it looks again.
      let isThere = exists ? true : try DatabaseDirectory.find(directory, disk: disk, creates: true)
      let log =
        isThere
        ? try openExisting(directory, disk, options, files, mutations, lock, randomness)
        : try create(directory, disk, options, files, mutations, lock, randomness)
      log.startMaintenance()
      return log
    } catch {
      lock.release()
      throw error
    }
  }

  private static func create(
    _ directory: String, _ disk: any Disk, _ options: LogOptions, _ files: SegmentFiles, _ mutations: LogMutations,
    _ lock: DirectoryLock, _ source: any RandomNumberGenerator & Sendable
  ) throws(LogError) -> Log {
    var randomness = source
    try onDisk { () throws(DiskError) in try disk.createDirectory(files.directory) }
    try DatabaseDirectory.clearForCreation(files.directory, disk: disk)
    var block = Superblock(
      cluster: options.newCluster ?? Hash128(low: randomness.next(), high: randomness.next()), node: options.newNode,
      logIdentity: Hash128(low: randomness.next(), high: randomness.next()),
      createdNanoseconds: LinuxClock().wallNanoseconds)
    if options.seed != nil { block.createdNanoseconds = 0 }
    try files.prepare(need: 0, retained: 0)
    guard let first = files.takePrepared(0) else { preconditionFailure("a prepared segment is there") }
    let header = SegmentHeader(
      sequence: 1, fileSizeBytes: first.sizeBytes, salt: randomness.next(), isRecycled: first.isRecycled,
      logIdentity: block.logIdentity, previousEnd: 0, firstFrame: 1, previousChecksum: 0, state: options.newState)
    let memory = AlignedBuffer(sizeBytes: SegmentHeader.sizeBytes)
    unsafe header.encode(into: memory.bytes)
    try onDisk { () throws(DiskError) in
      unsafe try first.file.writeDurably(UnsafeRawBufferPointer(memory.bytes), at: 0)
      try disk.syncDirectory(files.directory)
      try disk.syncDirectory(directory)
    }
    // The superblock makes it a database: from here on the log must be there.
    let superblock = try SuperblockFile.create(directory + "/" + Superblock.fileName, in: directory, block, disk: disk)
    let log = RecoveredLog(header, path: first.path)
    return Log(
      directory, disk, options, files, mutations, lock, superblock,
      Writer(
        file: first.file, header: header, path: first.path, offset: log.end, nextFrame: 1, previousChecksum: 0,
        isSealed: true, control: FrameBuffer(capacitySizeBytes: logBlockSizeBytes), block: memory),
      Shared(index: log.index, segments: log.segments, randomness: randomness))
  }

  private static func openExisting(
    _ directory: String, _ disk: any Disk, _ options: LogOptions, _ files: SegmentFiles, _ mutations: LogMutations,
    _ lock: DirectoryLock, _ source: any RandomNumberGenerator & Sendable
  ) throws(LogError) -> Log {
    let superblock = try SuperblockFile.open(directory + "/" + Superblock.fileName, disk: disk)
    let sequences = try takeStock(files)
    let recovery = LogRecovery(files: files, identity: superblock.current.logIdentity, mutations: mutations)
    let log =
      options.onDamage == .report
      ? try recovery.recoverAround(sequences, superblock.current) : try recovery.recover(sequences)
    let end = LogEnd(segment: log.header.sequence, offset: log.end)
    guard superblock.current.logEnd <= end || options.onDamage == .report else {
      throw .corrupt(
        LogPlace(file: files.path(.segment(log.header.sequence)), offset: log.end),
        reason: "\(log.ending.reason), though the log reached offset \(superblock.current.logEnd.offset) of segment "
          + "\(superblock.current.logEnd.segment) when it was closed",
        expected: log.ending.expected, found: log.ending.found)
    }
    let path = files.path(.segment(log.header.sequence))
    files.setCurrent(log.header.sequence)
    let file = try onDisk { () throws(DiskError) in
      let file = try disk.open(path, .direct)
      // What was read may still be in the system's memory only, and names may not be durable yet.
      try file.sync()
      try disk.syncDirectory(files.directory)
      try disk.syncDirectory(directory)
      if let remains = log.remains { try SegmentFiles.clear(file, remains) }
      if let unused = log.prepared {
        files.adopt(
          prepared: PreparedSegment(
            sequence: unused.sequence, path: unused.path, sizeBytes: unused.sizeBytes, isRecycled: unused.isRecycled,
            file: try disk.open(unused.path, .direct)))
      }
      return file
    }
    let result = Log(
      directory, disk, options, files, mutations, lock, superblock,
      Writer(
        file: file, header: log.header, path: path, offset: log.end, nextFrame: log.nextFrame,
        previousChecksum: log.previousChecksum, isSealed: log.isSealed,
        control: FrameBuffer(capacitySizeBytes: logBlockSizeBytes),
        block: AlignedBuffer(sizeBytes: SegmentHeader.sizeBytes)),
      Shared(
        index: log.index, segments: log.segments, randomness: source, damage: log.damage, notes: log.notes))
    if log.index.head.pendingSync != nil && !mutations.contains(.skipsSyncAbort) { try result.write(.syncAbort) }
    try result.settleDamage(log)
    return result
  }

  /// Sorts the files of `log/`: returns the segments' numbers, adopts spares, removes half-filled files.
  private static func takeStock(_ files: SegmentFiles) throws(LogError) -> [UInt64] {
    var sequences: [UInt64] = []
    try onDisk { () throws(DiskError) in
      for name in try files.disk.list(files.directory) {
        switch LogFileName(name) {
        case .segment(let sequence): sequences.append(sequence)
        case .spare(let id):
          let size = try files.disk.status(files.path(.spare(id)))?.sizeBytes ?? 0
          let whole = size / UInt64(logBlockSizeBytes) * UInt64(logBlockSizeBytes)
          guard whole >= 2 * UInt64(logBlockSizeBytes) else { continue }
          let file = try files.disk.open(files.path(.spare(id)), .read)
          defer { file.close() }
          let first = try file.readBytes(logBlockSizeBytes, at: 0)
          files.adopt(spare: .init(id: id, sizeBytes: whole, isRecycled: !first.allSatisfy { $0 == 0 }))
        case .filling(let id): try files.disk.remove(files.path(.filling(id)))
        case nil: continue
        }
      }
    }
    return sequences.sorted()
  }

  /// Whoever opens a log closes it. Should that be forgotten, the lock at least is given back; the maintenance thread,
  /// which may be the one that runs this, ends by itself.
  deinit {
    guard !isStopping.load(ordering: .acquiring) else { return }
    isStopping.store(true, ordering: .releasing)
    wanted.increment()
    wanted.wake()
    lock.release()
  }

  /// Writes a last SEAL, notes the end in the superblock, stops the maintenance and gives the lock back. Idempotent.
  package func close() throws(LogError) {
    guard !isStopping.exchange(true, ordering: .acquiringAndReleasing) else { return }
    wanted.increment()
    wanted.wake()
    files.endFilling()
    maintenance.withLock { $0 }?.join()
    var failure: LogError?
    do throws(LogError) {
      try seal(isClean: true)
      let end = writer.withLock { LogEnd(segment: $0.header.sequence, offset: $0.offset) }
      if superblock.logEnd != end { try updateSuperblock { $0.logEnd = end } }
    } catch { failure = error }
    shared.withLock { if $0.failure == nil { $0.failure = .closed } }
    writer.withLock { $0.file.close() }
    superblockFile.withLock { $0.close() }
    files.close()
    lock.release()
    if let failure { throw failure }
  }

  // MARK: What is there

  /// The log's state: last position, ballots, hints.
  package var state: LogState { shared.withLock { $0.index.head.state } }

  /// The position before the first record that is still there.
  package var base: LogPosition { shared.withLock { $0.index.head.base } }

  /// The sync that is under way, if one is.
  package var pendingSync: SyncBegin? { shared.withLock { $0.index.head.pendingSync } }

  /// The chain value at `slot`, or nil where the log does not reach.
  package func chain(at slot: Slot) -> Hash128? { shared.withLock { $0.index.chain(at: slot) } }

  /// The position at `slot`, or nil where the log does not reach.
  package func position(at slot: Slot) -> LogPosition? {
    shared.withLock { shared in
      if slot == shared.index.head.base.slot { return shared.index.head.base }
      return shared.index.place(of: slot).map { LogPosition(slot: slot, chain: $0.chain, version: $0.lastVersion) }
    }
  }

  /// Why nothing can be written any more, if so.
  package var failure: LogError? { shared.withLock { $0.failure } }

  /// The slots whose records cannot be read, ascending: to be fetched from a peer and written with
  /// `FrameBuffer.append(repairing:)`, or left behind by a checkpoint.
  package var damagedSlots: [Slot] { shared.withLock { $0.index.damaged } }

  /// The places that were found damaged when the log was opened (`DamagePolicy.report`). They stay damaged until their
  /// segments are recycled.
  package var damage: [LogDamage] { shared.withLock { $0.damage } }

  /// Notes that the record at `slot` turned out to be unreadable, so that it can be repaired.
  package func markDamaged(_ slot: Slot) { shared.withLock { $0.index.markDamaged(slot) } }

  package var superblock: Superblock { superblockFile.withLock { $0.current } }

  /// Reads the superblock's four copies and writes them anew where one is not what was written.
  ///
  /// - Returns: what was wrong; nil if nothing was.
  package func mendSuperblock() throws(LogError) -> String? {
    try checkUsable()
    let path = directory + "/" + Superblock.fileName
    let result: Result<String?, LogError> = superblockFile.withLock { file in
      do throws(LogError) {
        // What cannot be read cannot be right either.
        let copies = (try? Superblock.readCopies(path, disk: disk)) ?? []
        let wrong = (0..<Superblock.copyCount).filter { copies.count <= $0 || copies[$0] != .valid(file.current) }
        guard let first = wrong.first else { return .success(nil) }
        try onDisk { () throws(DiskError) in try file.update(file.current) }
        var reason = "it was of another update"
        if copies.count > first, case .invalid(let found, _, _) = copies[first] { reason = found }
        return .success("\(path): \(wrong.count) of \(Superblock.copyCount) copies were not as written (\(reason))")
      } catch { return .failure(error) }
    }
    do throws(LogError) { return try result.get() } catch {
      if case .disk(let cause) = error { throw poison(cause) }
      throw error
    }
  }

  /// Changes the superblock, durably. Identities cannot change.
  package func updateSuperblock(_ body: (inout Superblock) -> Void) throws(LogError) {
    try checkUsable()
    let failure: DiskError? = superblockFile.withLock { file in
      var block = file.current
      body(&block)
      block.cluster = file.current.cluster
      block.node = file.current.node
      block.logIdentity = file.current.logIdentity
      do throws(DiskError) { try file.update(block) } catch { return error }
      return nil
    }
    if let failure { throw poison(failure) }
  }
}
