// The one log of a database, on this node: `superblock`, `LOCK` and `log/` in the database directory.
//
// Formats: SegmentHeader.swift, Frame.swift, Record.swift, ControlRecord.swift, Superblock.swift; docs/log-format.md.
//
// 1. What `write` returned for is durable, and is what recovery finds.
// 2. After a failed write or sync nothing is written any more: what is durable is unknown until the log is opened anew.
//    (ATC '20: a retried fsync succeeds and proves nothing.)
// 3. Running out of space is noticed before a frame is written: a frame goes only where every byte was written before.
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
    var failure: LogError?
  }

  /// The database directory.
  package let directory: String
  package let options: LogOptions
  let disk: any Disk
  let files: SegmentFiles
  let mutations: LogMutations
  private let lock: DirectoryLock
  private let superblockFile: Mutex<SuperblockFile>
  private let writer: Mutex<Writer>
  let shared: Mutex<Shared>
  /// Bytes that frames can take for certain, were they written one after the other.
  private let room: Atomic<Int>
  private let framesSize = Atomic<UInt64>(0)
  private let openedAtSequence: UInt64
  private let sequence: Atomic<UInt64>
  private let wanted = FutexWord()
  private let isStopping = Atomic(false)
  private let maintenance: Mutex<BackgroundThread?>

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
    openedAtSequence = writer.header.sequence
    sequence = Atomic(writer.header.sequence)
    room = Atomic(0)
    superblockFile = Mutex(superblock)
    self.writer = Mutex(writer)
    self.shared = Mutex(shared)
    maintenance = Mutex(nil)
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
    try files.prepare(need: 0)
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
      Shared(index: log.index, segments: log.segments, randomness: source, damage: log.damage))
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
    files.endRest()
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

  // MARK: Writing

  /// Writes a frame: durable on return, or not at all known (`.poisoned` from then on), or, with `.noSpace` and
  /// `.doesNotContinue`, not begun. The frame can be cleared and used again.
  package func write(_ frame: FrameBuffer) throws(LogError) {
    try writer.withLock { (writer) throws(LogError) in try write(frame, &writer) }
  }

  /// Writes one control record in a frame of its own.
  package func write(_ control: ControlRecord) throws(LogError) {
    try writer.withLock { (writer) throws(LogError) in
      let frame = writer.control
      frame.removeAll()
      frame.append(control)
      try write(frame, &writer)
    }
  }

  /// Makes the log begin behind a checkpoint whose tables are durable: durable, and whole or not at all, on return. What is
  /// behind it stays if `keepsLog`, which needs the log to have the checkpoint's chain there; otherwise nothing does.
  /// The segments before it can then go (`truncate`). To change ballots in the same step, append `.install` to a frame.
  package func install(_ mark: CheckpointMark, keepsLog: Bool) throws(LogError) {
    try write(.install(mark, keepsLog: keepsLog))
  }

  /// Writes a SEAL, unless the last frame is one: after this every frame is provably durable.
  package func seal(isClean: Bool = false) throws(LogError) {
    try writer.withLock { (writer) throws(LogError) in
      guard !writer.isSealed else { return }
      let frame = writer.control
      frame.removeAll()
      frame.append(.seal(isClean: isClean))
      try write(frame, &writer)
    }
  }

  private func write(_ frame: FrameBuffer, _ writer: inout Writer) throws(LogError) {
    precondition(!frame.isEmpty)
    let history = try shared.withLock { (shared) throws(LogError) in
      if let failure = shared.failure { throw failure }
      do throws(LogInconsistency) { try shared.index.check(frame.items) } catch {
        throw .doesNotContinue(reason: error.reason)
      }
      return shared.index.head.history
    }
    let size = frame.paddedSizeBytes
    if writer.header.fileSizeBytes - writer.offset < UInt64(size) { try changeSegment(&writer, need: size) }
    let header = FrameHeader(
      segment: writer.header.sequence, number: writer.nextFrame, salt: writer.header.salt, contentSizeBytes: 0,
      itemCount: 0, syncedSegment: writer.header.sequence, syncedOffset: writer.offset,
      previousChecksum: writer.previousChecksum, history: history)
    let (bytes, checksum) = unsafe frame.seal(header)
    try unsafe writeDurably(writer.file, bytes, writer.offset)
    shared.withLock { shared in
      for item in frame.items {
        do throws(LogInconsistency) {
          try shared.index.apply(item, segment: header.segment, offset: writer.offset)
        } catch { preconditionFailure("checked before the write: \(error.reason)") }
        if case .record(let record, _, _) = item {
          let last = shared.segments.count - 1
          shared.segments[last].greatestSlot = max(shared.segments[last].greatestSlot, record.slot)
        }
      }
    }
    if case .control(.seal, _) = frame.items[frame.items.count - 1] {
      writer.isSealed = true
    } else {
      writer.isSealed = false
    }
    framesSize.wrappingAdd(UInt64(size), ordering: .relaxed)
    writer.offset += UInt64(size)
    writer.nextFrame += 1
    writer.previousChecksum = checksum
    updateRoom(writer)
    if options.onDamage == .report { try keepBallots() }
  }

  /// Puts ballots that changed into the superblock, too: in the log alone, one damaged frame could take them away.
  private func keepBallots() throws(LogError) {
    let state = state
    let block = superblock
    guard block.promised < state.promised || block.accepted < state.accepted,
      !mutations.contains(.keepsBallotsInLogAlone)
    else { return }
    try updateSuperblock { block in
      block.promised = max(block.promised, state.promised)
      block.accepted = max(block.accepted, state.accepted)
    }
  }

  /// Writes down what recovery made of a damaged end, before anything is appended to it: ballots that only the
  /// superblock had, where the log now ends, and that more may have been there.
  private func settleDamage(_ log: RecoveredLog) throws(LogError) {
    try writer.withLock { (writer) throws(LogError) in
      let frame = writer.control
      frame.removeAll()
      if let promised = log.promised { frame.append(.promise(promised)) }
      if log.needsCut || log.accepted != nil {
        let last = log.index.head.state.last
        let ballot = max(log.accepted ?? .zero, log.index.head.state.accepted)
        frame.append(.syncBegin(SyncBegin(ballot: ballot, before: last, end: last.slot, endChain: last.chain)))
        frame.append(.syncEnd(ballot: ballot, end: last.slot, endChain: last.chain))
        if !log.index.head.state.isTailCertain { frame.append(.tail(isCertain: false)) }
      }
      guard !frame.isEmpty else { return }
      try write(frame, &writer)
    }
    let end = writer.withLock { LogEnd(segment: $0.header.sequence, offset: $0.offset) }
    if end < superblock.logEnd { try updateSuperblock { $0.logEnd = end } }
  }

  private func writeDurably(_ file: any DiskFile, _ bytes: UnsafeRawBufferPointer, _ offset: UInt64) throws(LogError) {
    do throws(DiskError) {
      if mutations.contains(.acknowledgesEarly) {
        unsafe try file.write(bytes, at: offset)
      } else {
        unsafe try file.writeDurably(bytes, at: offset)
      }
    } catch {
      if mutations.contains(.retriesFailedWrite) {
        do throws(DiskError) { try file.sync() } catch { throw poison(error) }
        return
      }
      throw poison(error)
    }
  }

  /// Stops all writing for good, and returns what to throw.
  private func poison(_ error: DiskError) -> LogError {
    shared.withLock { shared in
      if shared.failure == nil { shared.failure = .poisoned(reason: error.description) }
      return shared.failure!
    }
  }

  private func checkUsable() throws(LogError) { if let failure { throw failure } }

  private func changeSegment(_ writer: inout Writer, need: Int) throws(LogError) {
    let sequence = writer.header.sequence + 1
    if files.preparedRoomBytes < need {
      do throws(LogError) { try files.prepare(need: need) } catch {
        if case .disk(let error) = error { throw poison(error) }
        throw error
      }
    }
    guard let next = files.takePrepared(need) else { preconditionFailure("a prepared segment is there") }
    precondition(next.sequence == sequence)
    let (head, salt) = shared.withLock { shared in (shared.index.head, shared.randomness.next()) }
    let header = SegmentHeader(
      sequence: sequence, fileSizeBytes: next.sizeBytes, salt: salt, isRecycled: next.isRecycled,
      logIdentity: writer.header.logIdentity, previousEnd: writer.offset, firstFrame: writer.nextFrame,
      previousChecksum: writer.previousChecksum, state: head.state, sync: head.remainingSync)
    unsafe header.encode(into: writer.block.bytes)
    unsafe try writeDurably(next.file, UnsafeRawBufferPointer(writer.block.bytes), 0)
    writer.file.close()
    writer.file = next.file
    writer.header = header
    writer.path = next.path
    writer.offset = UInt64(SegmentHeader.sizeBytes)
    shared.withLock {
      $0.segments.append(
        SegmentInfo(
          sequence: sequence, path: next.path, fileSizeBytes: next.sizeBytes, before: head.state.last,
          greatestSlot: .zero))
    }
    self.sequence.store(sequence, ordering: .releasing)
    wakeMaintenance()
  }

  // MARK: Room

  private func updateRoom(_ writer: Writer) {
    let left = Int(writer.header.fileSizeBytes - writer.offset)
    let prepared = files.preparedRoomBytes
    room.store(max(left, prepared), ordering: .releasing)
    if prepared == 0 { wakeMaintenance() }
  }

  /// Whether frames of `sizeBytes` altogether (each padded) can be written without asking the file system for space.
  package func hasRoom(_ sizeBytes: Int) -> Bool { room.load(ordering: .acquiring) >= sizeBytes }

  /// Sees to it that frames of `sizeBytes` altogether can be written: what to do before a commit is given its version,
  /// so that running out of space fails that commit alone. May take as long as filling a segment.
  package func makeRoom(_ sizeBytes: Int) throws(LogError) {
    if hasRoom(sizeBytes) { return }
    try writer.withLock { (writer) throws(LogError) in
      try checkUsable()
      updateRoom(writer)
      if hasRoom(sizeBytes) { return }
      do throws(LogError) { try files.prepare(need: sizeBytes) } catch {
        if case .disk(let error) = error { throw poison(error) }
        throw error
      }
      updateRoom(writer)
    }
  }

  // MARK: Maintenance

  private func startMaintenance() {
    guard options.background else { return }
    maintenance.withLock { slot in
      slot = BackgroundThread { [weak self, wanted] in
        while true {
          let seen = wanted.load()
          guard let log = self, !log.isStopping.load(ordering: .acquiring) else { return }
          log.maintain()
          if log.isStopping.load(ordering: .acquiring) { return }
          wanted.wait(while: seen)
        }
      }
    }
  }

  private func wakeMaintenance() {
    guard options.background else { return }
    wanted.increment()
    wanted.wake(1)
  }

  /// Prepares the next segment, and spares as far as the log has proved to need them: one for each segment filled since
  /// it was opened, up to the number asked for. Errors wait until the room is needed: then they are the writer's.
  package func maintain() {
    // A database that is only read needs no second segment.
    let isUsed = shared.withLock { $0.failure == nil && $0.index.head.state.last.slot > $0.segments[0].before.slot }
    guard isUsed else { return }
    let current = sequence.load(ordering: .acquiring)
    if files.preparedRoomBytes == 0 {
      do throws(LogError) { try files.prepare(need: 0, isAhead: true) } catch { return }
    }
    // Segments of full size that were filled since the opening; those that grow up to it are not needed again.
    let filled = (openedAtSequence..<current).filter { files.plannedSizeBytes($0) == UInt64(options.segmentSizeBytes) }
    let spares = min(options.spareSegments, filled.count)
    do throws(DiskError) {
      while try files.addSpare(ifFewerThan: spares), !isStopping.load(ordering: .acquiring) {}
    } catch {}
  }

  // MARK: Truncating

  /// Gives back the segments that hold no record behind `slot`: the tables (and the archive) have them. Whole segments
  /// only, the oldest first, never what a reader still needs.
  package func truncate(through slot: Slot) throws(LogError) {
    while let segment = removableSegment(through: slot) {
      do throws(DiskError) { try files.recycle(segment) } catch {
        // The log is intact; a segment too many is only space.
        if error.kind == .io { throw poison(error) }
        throw .disk(error)
      }
    }
  }

  /// Takes the oldest segment out of the log if it can go.
  private func removableSegment(through slot: Slot) -> SegmentInfo? {
    shared.withLock { shared in
      guard shared.segments.count > 1, shared.failure == nil else { return nil }
      let bound = shared.readers.values.min().map { min($0, slot) } ?? slot
      let dropsNewest = mutations.contains(.dropsNewestFirst) && shared.segments.count > 2
      let index = dropsNewest ? shared.segments.count - 2 : 0
      guard shared.segments[index].greatestSlot <= bound,
        shared.index.pendingSyncSegment.map({ $0 > shared.segments[index].sequence }) ?? true
      else { return nil }
      let removed = shared.segments.remove(at: index)
      shared.index.drop(throughSegment: removed.sequence, greatest: removed.greatestSlot)
      return removed
    }
  }

  /// The bytes that frames (and the heads of segments) take at present, without what is not yet written in the newest.
  package var writtenSizeBytes: UInt64 {
    let (newest, end) = writer.withLock { ($0.header.sequence, $0.offset) }
    return shared.withLock { shared in
      shared.segments.reduce(0) { $0 + ($1.sequence == newest ? end : $1.fileSizeBytes) }
    }
  }

  /// The bytes of all frames written since the log was opened, padding included.
  package var framesSizeBytes: UInt64 { framesSize.load(ordering: .relaxed) }

  /// The number of segments, and the bytes that they take, without spares.
  package var segmentSizes: (count: Int, sizeBytes: UInt64) {
    shared.withLock { ($0.segments.count, $0.segments.reduce(0) { $0 + $1.fileSizeBytes }) }
  }
}
