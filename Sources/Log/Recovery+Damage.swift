// Recovery that goes around damage (`DamagePolicy.report`), where peers have what is missing.
//
//   1  Frames that cannot be read are stepped over, up to the next one that belongs; what they took away is worked out by
//      LogIndex+Gaps.swift, and what a missing record must have been by the chain.
//   2  Ballots never come from guessing: the superblock holds them as well.
//   3  A damaged end is cut back to what is certain, and the cut is written down (Log.settleDamage) before anything else.
//   4  A segment's header that cannot be read is put together from its frames. Is neither there, or is the first segment's
//      beginning gone, then so is the log: refused.

internal import Encoding
internal import Platform

extension LogRecovery {
  /// As `recover`, but reporting damage. Changes nothing on disk.
  func recoverAround(_ sequences: [UInt64], _ superblock: Superblock) throws(LogError) -> RecoveredLog {
    var log: RecoveredLog?
    var lost: UInt64 = 0
    for (position, sequence) in sequences.enumerated() {
      let path = files.path(.segment(sequence))
      let file = try onDisk { () throws(DiskError) in try files.disk.open(path, .direct) }
      defer { file.close() }
      let scanner = try SegmentScanner(file)
      let isLast = position == sequences.count - 1 && position > 0
      if let before = log, sequence != before.header.sequence + 1 {
        note(files.path(.segment(before.header.sequence + 1)), 0, "a segment is missing", &log!)
        log!.isInGap = true
        lost += (sequence - before.header.sequence) * UInt64(files.options.segmentSizeBytes)
      }
      let isWhole: Bool
      let header: SegmentHeader
      do throws(LogError) {
        guard let found = try readHeader(scanner, sequence, path, mayBeUnused: isLast) else {
          let isBlank = unsafe isAllZero(try scanner.bytes(at: 0, logBlockSizeBytes))
          log?.prepared = .init(
            sequence: sequence, path: path, sizeBytes: scanner.fileSizeBytes, isRecycled: !isBlank)
          continue
        }
        header = found
        isWhole = true
      } catch {
        guard case .corrupt(_, let reason, _, _) = error else { throw error }
        guard let made = try makeHeader(scanner, sequence, log, superblock) else {
          guard log != nil, !isLast else { throw error }
          continue
        }
        header = made
        isWhole = false
        if log == nil { log = RecoveredLog(header, path: path, mutations: mutations) }
        note(path, 0, reason, &log!)
        log!.isInGap = log!.isInGap || header.previousEnd == 0
      }
      if log == nil {
        log = RecoveredLog(header, path: path, mutations: mutations)
      } else if log!.segments.last?.sequence != sequence {
        try enter(header, isWhole: isWhole, path, lost, &log!)
      }
      lost = 0
      try scanAround(scanner, path, &log!)
    }
    guard var log else { throw corrupt(files.directory, 0, "the log has no segments") }
    try judgeEndAround(superblock, &log)
    return log
  }

  private func note(_ path: String, _ offset: UInt64, _ reason: String, _ log: inout RecoveredLog) {
    log.damage.append(LogDamage(place: LogPlace(file: path, offset: offset), reason: reason))
  }

  /// What the header of a segment must say, from the frames behind it and what came before; nil without a frame. Unless
  /// the first frame follows the last one read, `previousEnd` is 0.
  private func makeHeader(
    _ scanner: SegmentScanner, _ sequence: UInt64, _ log: RecoveredLog?, _ superblock: Superblock
  ) throws(LogError) -> SegmentHeader? {
    var offset = UInt64(SegmentHeader.sizeBytes)
    while offset < scanner.fileSizeBytes {
      guard case .frame(let frame, _, let bytes) = try scanner.find(at: offset, sequence: sequence, salt: nil) else {
        offset += UInt64(logBlockSizeBytes)
        continue
      }
      var state = log?.index.head.state ?? LogState()
      if log == nil {
        // The log begins wherever its first frame does.
        guard offset == UInt64(SegmentHeader.sizeBytes),
          let position = unsafe firstPosition(frame, bytes)
        else { return nil }
        state.last = position
        state.checkpoint = superblock.checkpoint
        state.rewrites = frame.history.rewrites
        state.isTailCertain = frame.history.isTailCertain
      }
      let follows =
        log == nil
        || (offset == UInt64(SegmentHeader.sizeBytes) && frame.number == log!.nextFrame
          && frame.previousChecksum == log!.previousChecksum)
      return SegmentHeader(
        sequence: sequence, fileSizeBytes: scanner.fileSizeBytes, salt: frame.salt, isRecycled: true,
        logIdentity: identity, previousEnd: follows ? log?.end ?? 1 : 0,
        firstFrame: follows ? frame.number : log!.nextFrame,
        previousChecksum: follows ? frame.previousChecksum : log!.previousChecksum, state: state)
    }
    return nil
  }

  /// The position before the first record that a frame holds or announces.
  private func firstPosition(_ frame: FrameHeader, _ bytes: UnsafeRawBufferPointer) -> LogPosition? {
    var items = unsafe FrameItems(bytes, frame)
    do throws(DecodingError) {
      while let item = try items.next() {
        switch item {
        case .record(let header, _, _):
          guard header.slot > .zero, header.firstVersion > .zero else { return nil }
          return LogPosition(
            slot: Slot(header.slot.rawValue - 1), chain: header.previousChain,
            version: Version(header.firstVersion.rawValue - 1))
        case .control(.syncBegin(let begin), _): return begin.before
        case .control(.install(let mark, _), _): return mark.position
        case .control: continue
        }
      }
    } catch {}
    return nil
  }

  /// Goes on to the next segment.
  private func enter(
    _ header: SegmentHeader, isWhole: Bool, _ path: String, _ lost: UInt64, _ log: inout RecoveredLog
  ) throws(LogError) {
    if isWhole {
      let follows =
        header.previousEnd == log.end && header.firstFrame == log.nextFrame
        && header.previousChecksum == log.previousChecksum
      if !follows && !log.isInGap {
        note(
          log.segments.last!.path, log.end,
          log.ending.reason + " where segment \(header.sequence) proves there was one", &log)
        log.isInGap = true
      }
      let lost = lost + (header.previousEnd > log.end ? header.previousEnd - log.end : 0)
      if log.isInGap || log.index.hadDamage {
        do throws(LogInconsistency) { try log.index.settle(header.state, lostSizeBytes: lost) } catch {
          throw corrupt(path, 88, error.reason)
        }
      } else if !header.continues(log.index.head.state) {
        throw corrupt(path, 88, "the segment continues another history than its predecessor's")
      }
      // Records that were lost there go with that segment, even if others of them are elsewhere now.
      if log.index.hadDamage {
        let last = log.segments.count - 1
        log.segments[last].greatestSlot = max(log.segments[last].greatestSlot, header.state.last.slot)
      }
      log.nextFrame = header.firstFrame
      log.previousChecksum = header.previousChecksum
    }
    log.enter(header, path: path)
  }

  /// Takes the frames that belong, and steps over what is none if one comes behind it.
  private func scanAround(_ scanner: SegmentScanner, _ path: String, _ log: inout RecoveredLog) throws(LogError) {
    var offset = log.end
    while offset < scanner.fileSizeBytes {
      switch try scanner.find(at: offset, sequence: log.header.sequence, salt: log.header.salt) {
      case .endOfFile: return
      case .noFrame(_, let reason, let expected, let found):
        if offset == log.end { log.ending = .init(reason: reason, expected: expected, found: found) }
        offset += UInt64(logBlockSizeBytes)
      case .frame(let frame, let checksum, let bytes):
        let follows = frame.number == log.nextFrame && frame.previousChecksum == log.previousChecksum
        guard (follows && offset == log.end) || frame.number > log.nextFrame || (log.isInGap && follows) else {
          if offset == log.end { log.ending = .init(reason: "a frame out of sequence") }
          offset += UInt64(logBlockSizeBytes)
          continue
        }
        if !follows || offset != log.end || log.isInGap {
          if offset != log.end {
            note(path, log.end, "\(log.ending.reason), though there is one at offset \(offset)", &log)
          }
          log.index.openGap(frame.history, lostSizeBytes: offset - log.end)
          log.isInGap = false
        }
        log.end = offset
        unsafe try take(frame, bytes, path, &log)
        log.end += UInt64(frame.paddedSizeBytes)
        log.nextFrame = frame.number + 1
        log.previousChecksum = checksum
        offset = log.end
      }
    }
    log.ending = .init(reason: "the end of the file")
  }

  /// Tells whether something is missing behind the last frame, and takes the ballots that the superblock holds.
  private func judgeEndAround(_ superblock: Superblock, _ log: inout RecoveredLog) throws(LogError) {
    let path = files.path(.segment(log.header.sequence))
    let file = try onDisk { () throws(DiskError) in try files.disk.open(path, .direct) }
    defer { file.close() }
    let scanner = try SegmentScanner(file)
    let state = log.index.head.state
    let reads = !mutations.contains(.keepsBallotsInLogAlone)
    let hasLaterPromise = reads && superblock.promised > state.promised
    let hasLaterAccept = reads && superblock.accepted > state.accepted
    let wasLonger = LogEnd(segment: log.header.sequence, offset: log.end) < superblock.logEnd
    let proof = try scanner.proofOfMore(
      from: log.end, than: log.end, log.header, number: log.nextFrame, previousChecksum: log.previousChecksum)
    // A promise that is missing may have been in a frame that was stepped over. So may an acceptance; but what else it
    // brought would then be missing unseen, were it at the end.
    let isEndDamaged =
      wasLonger || proof != nil || log.isInGap || hasLaterAccept || (hasLaterPromise && log.damage.isEmpty)
    if isEndDamaged {
      note(path, log.end, "\(log.ending.reason), though the log reached further", &log)
    }
    log.needsCut = log.index.finish(
      isEndDamaged: isEndDamaged && !mutations.contains(.vouchesForDamagedEnd),
      mayBeRewritten: hasLaterAccept)
    if hasLaterPromise { log.promised = superblock.promised }
    if hasLaterAccept { log.accepted = superblock.accepted }
    log.remains = nil
    if !log.header.isRecycled, let last = try scanner.lastNonZeroBlock(from: log.end) {
      log.remains = log.end..<last + UInt64(logBlockSizeBytes)
    }
  }
}
