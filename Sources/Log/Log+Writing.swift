internal import Encoding
internal import Platform
internal import Synchronization

// Writing frames (Log.swift has the rules), and the room for them.

extension Log {
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
    if writer.header.fileSizeBytes - writer.offset < UInt64(size) || leavesUnfilled(writer, for: size) {
      try changeSegment(&writer, need: size)
    }
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
  func settleDamage(_ log: RecoveredLog) throws(LogError) {
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
    let start = LinuxClock().bootNanoseconds
    defer { writeTimes.add(nanoseconds: LinuxClock().bootNanoseconds &- start) }
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
  func poison(_ error: DiskError) -> LogError {
    shared.withLock { shared in
      if shared.failure == nil { shared.failure = .poisoned(reason: error.description) }
      return shared.failure!
    }
  }

  func checkUsable() throws(LogError) { if let failure { throw failure } }

  /// Whether to go on in the next segment although the frame fits into this one: this one only has its space, the next
  /// was filled, and whoever reserved room here finds as much there.
  private func leavesUnfilled(_ writer: Writer, for size: Int) -> Bool {
    guard !writer.isFilled, size <= Self.largestSmallFrameSizeBytes else { return false }
    let next = files.filledRoomBytes
    return next >= size && next >= Int(writer.header.fileSizeBytes - writer.offset)
  }

  private static let largestSmallFrameSizeBytes = 256 << 10

  private func changeSegment(_ writer: inout Writer, need: Int) throws(LogError) {
    let sequence = writer.header.sequence + 1
    if files.preparedRoomBytes < need {
      do throws(LogError) { try files.prepare(need: need, retained: segmentSizes.sizeBytes) } catch {
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
    writer.isFilled = next.isFilled
    writer.offset = UInt64(SegmentHeader.sizeBytes)
    shared.withLock {
      $0.segments.append(
        SegmentInfo(
          sequence: sequence, path: next.path, fileSizeBytes: next.sizeBytes, isFilled: next.isFilled,
          before: head.state.last, greatestSlot: .zero))
    }
    self.sequence.store(sequence, ordering: .releasing)
    isNextDue.store(true, ordering: .releasing)
    wakeMaintenance()
  }

  // MARK: Room

  func updateRoom(_ writer: Writer) {
    let left = Int(writer.header.fileSizeBytes - writer.offset)
    let prepared = files.preparedRoomBytes
    room.store(max(left, prepared), ordering: .releasing)
    guard prepared == 0 else { return }
    // A database with a few writes does with its first segment.
    let isDue = writer.header.sequence > 1 || writer.offset > writer.header.fileSizeBytes / 2
    isNextDue.store(isDue, ordering: .releasing)
    if isDue { wakeMaintenance() }
  }

  /// Whether frames of `sizeBytes` altogether (each padded) can be written without asking the file system for space.
  package func hasRoom(_ sizeBytes: Int) -> Bool { room.load(ordering: .acquiring) >= sizeBytes }

  /// Sees to it that frames of `sizeBytes` altogether can be written: what to do before a commit is given its version,
  /// so that running out of space fails that commit alone. May take as long as making a file.
  package func makeRoom(_ sizeBytes: Int) throws(LogError) {
    if hasRoom(sizeBytes) { return }
    try writer.withLock { (writer) throws(LogError) in
      try checkUsable()
      updateRoom(writer)
      if hasRoom(sizeBytes) { return }
      do throws(LogError) { try files.prepare(need: sizeBytes, retained: segmentSizes.sizeBytes) } catch {
        if case .disk(let error) = error { throw poison(error) }
        throw error
      }
      updateRoom(writer)
    }
  }
}
