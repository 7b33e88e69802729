// What a directory's segments add up to after a stop of any kind.
//
//   1  Segments in order of their numbers, without a gap. The newest file may be one that was prepared and never used:
//      its header is blank, or of its former use, and no frame in it belongs to its number.
//   2  In each, frames from 4096 on, as long as they belong (Frame.swift). Each header must agree with where the segment
//      before ended and with what all frames so far add up to.
//   3  Where the last segment's frames end, look ahead for proof that there was more. Proof: refuse. None: the log ends
//      there, and what an unfinished write left behind is cleared.
//   4  A sync without its end is revoked by a SYNC_ABORT before anything else is appended.

internal import Encoding
internal import Platform

/// The log as it was found, and where it goes on.
struct RecoveredLog {
  var index: LogIndex
  var segments: [SegmentInfo]
  var header: SegmentHeader
  /// Where the next frame goes in the last segment.
  var end: UInt64
  var nextFrame: UInt64
  var previousChecksum: UInt32
  /// Whether the last frame is a SEAL, or there is none.
  var isSealed = true
  /// The file after the last segment, if one was prepared.
  var prepared: UnusedSegment?
  /// What must be zeroed: the remains of an unfinished write.
  var remains: Range<UInt64>?
  /// Why the last segment's frames end where they do.
  var ending = Ending()
  /// What the records' headers said, those that others replaced included (`LogOptions.notesRecords`).
  var notes: [RecordNote] = []
  /// What is damaged, where that is reported instead of refused.
  var damage: [LogDamage] = []
  /// Frames are missing before the one that comes next.
  var isInGap = false
  /// The end is not what it was: that must be made durable before anything is appended.
  var needsCut = false
  /// Ballots that the superblock has and the log lost.
  var promised: LogBallot?
  var accepted: LogBallot?

  struct Ending {
    var reason = "no frame"
    var expected: UInt32 = 0
    var found: UInt32 = 0
  }

  struct UnusedSegment {
    var sequence: UInt64
    var path: String
    var sizeBytes: UInt64
    var isRecycled: Bool
  }

  /// The log at the start of a segment.
  init(_ header: SegmentHeader, path: String, mutations: LogMutations = []) {
    index = LogIndex(startingAt: header)
    index.ignoresRewrites = mutations.contains(.ignoresLostRewrites)
    segments = []
    self.header = header
    end = UInt64(SegmentHeader.sizeBytes)
    nextFrame = header.firstFrame
    previousChecksum = header.previousChecksum
    enter(header, path: path)
  }

  mutating func enter(_ header: SegmentHeader, path: String) {
    self.header = header
    end = UInt64(SegmentHeader.sizeBytes)
    segments.append(
      SegmentInfo(
        sequence: header.sequence, path: path, fileSizeBytes: header.fileSizeBytes, before: header.state.last,
        greatestSlot: .zero))
  }
}

/// Recovers a log. Changes nothing on disk.
struct LogRecovery {
  let files: SegmentFiles
  let identity: Hash128
  let mutations: LogMutations

  func corrupt(
    _ path: String, _ offset: UInt64, _ reason: String, _ expected: UInt32 = 0, _ found: UInt32 = 0
  ) -> LogError { .corrupt(LogPlace(file: path, offset: offset), reason: reason, expected: expected, found: found) }

  func recover(_ sequences: [UInt64]) throws(LogError) -> RecoveredLog {
    var log: RecoveredLog?
    for (position, sequence) in sequences.enumerated() {
      let path = files.path(.segment(sequence))
      if let log, sequence != log.header.sequence + 1 {
        throw corrupt(files.path(.segment(log.header.sequence + 1)), 0, "a segment is missing")
      }
      let file = try onDisk { () throws(DiskError) in try files.disk.open(path, .direct) }
      defer { file.close() }
      let scanner = try SegmentScanner(file)
      let isLast = position == sequences.count - 1 && position > 0
      guard let header = try readHeader(scanner, sequence, path, mayBeUnused: isLast) else {
        let isBlank = unsafe isAllZero(try scanner.bytes(at: 0, logBlockSizeBytes))
        log?.prepared = .init(
          sequence: sequence, path: path, sizeBytes: scanner.fileSizeBytes, isRecycled: !isBlank)
        continue
      }
      if log == nil {
        log = RecoveredLog(header, path: path)
      } else {
        try checkLink(log!, header, path)
        log!.enter(header, path: path)
      }
      try scan(scanner, path, &log!)
      if position == sequences.count - 1 || (position == sequences.count - 2) {
        try judgeEnd(scanner, path, &log!)
      }
    }
    guard let log else { throw corrupt(files.directory, 0, "the log has no segments") }
    return log
  }

  /// The segment's header; nil where the file was never used as this segment, if that may be.
  func readHeader(_ scanner: SegmentScanner, _ sequence: UInt64, _ path: String, mayBeUnused: Bool)
    throws(LogError) -> SegmentHeader?
  {
    var damage: LogError
    switch try scanner.readHeader() {
    case .newer(let format):
      throw .newerFormat(file: path, found: format, supported: SegmentHeader.format)
    case .header(let header) where header.sequence == sequence:
      guard header.logIdentity == identity else { throw corrupt(path, 48, "a segment of another database") }
      guard header.fileSizeBytes <= scanner.fileSizeBytes else {
        throw corrupt(path, scanner.fileSizeBytes, "the file is shorter than the \(header.fileSizeBytes) bytes it had")
      }
      return header
    case .header(let header): damage = corrupt(path, 16, "the header is of segment \(header.sequence)")
    case .blank: damage = corrupt(path, 0, "the header is missing")
    case .invalid(let reason, let expected, let found): damage = corrupt(path, 0, reason, expected, found)
    }
    guard mayBeUnused else { throw damage }
    // The header is durable before the first frame is written: a frame of this number proves that there was a header.
    if case .frame = try scanner.find(at: UInt64(SegmentHeader.sizeBytes), sequence: sequence, salt: nil) {
      throw damage
    }
    return nil
  }

  /// Checks that `header` continues what was read so far.
  private func checkLink(_ log: RecoveredLog, _ header: SegmentHeader, _ path: String) throws(LogError) {
    guard header.previousEnd == log.end, header.firstFrame == log.nextFrame,
      header.previousChecksum == log.previousChecksum
    else {
      throw corrupt(
        log.segments.last!.path, log.end, log.ending.reason + " where segment \(header.sequence) proves there was one",
        log.ending.expected, log.ending.found)
    }
    guard header.continues(log.index.head.state) else {
      throw corrupt(path, 88, "the segment continues another history than its predecessor's")
    }
  }

  /// Takes the frames that belong.
  private func scan(_ scanner: SegmentScanner, _ path: String, _ log: inout RecoveredLog) throws(LogError) {
    let trusts = mutations.contains(.trustsChecksumAlone)
    while true {
      switch try scanner.find(
        at: log.end, sequence: trusts ? nil : log.header.sequence, salt: trusts ? nil : log.header.salt)
      {
      case .endOfFile:
        log.ending = .init(reason: "the end of the file")
        return
      case .noFrame(_, let reason, let expected, let found):
        log.ending = .init(reason: reason, expected: expected, found: found)
        return
      case .frame(let frame, let checksum, let bytes):
        guard trusts || (frame.number == log.nextFrame && frame.previousChecksum == log.previousChecksum) else {
          log.ending = .init(reason: "a frame out of sequence")
          return
        }
        unsafe try take(frame, bytes, path, &log)
        log.end += UInt64(frame.paddedSizeBytes)
        log.nextFrame += 1
        log.previousChecksum = checksum
      }
    }
  }

  /// Takes one frame's items.
  func take(_ frame: FrameHeader, _ bytes: UnsafeRawBufferPointer, _ path: String, _ log: inout RecoveredLog)
    throws(LogError)
  {
    var items = unsafe FrameItems(bytes, frame)
    let segment = log.segments.count - 1
    log.isSealed = false
    while true {
      do throws(DecodingError) {
        guard let item = try items.next() else { return }
        if case .control(.seal, _) = item { log.isSealed = true }
        if case .record(let header, _, _) = item {
          log.segments[segment].greatestSlot = max(log.segments[segment].greatestSlot, header.slot)
        }
        if files.options.notesRecords, case .record(let header, let chain, _) = item {
          log.notes.append(RecordNote(slot: header.slot, chain: chain, origin: header.origin, type: header.type))
        }
        do throws(LogInconsistency) {
          try log.index.apply(item, segment: log.header.sequence, offset: log.end)
          if mutations.contains(.acceptsAtSyncBegin), case .control(.syncBegin(let begin), _) = item {
            log.index.head.state.accepted = begin.ballot
          }
        } catch { throw DecodingError.invalid(offset: 0, reason: error.reason) }
      } catch {
        // The checksum holds: whoever wrote this wrote it wrongly, or the frame is from elsewhere.
        throw corrupt(path, log.end, "\(error)")
      }
    }
  }

  /// Tells a torn tail from damage where the frames of the last segment end.
  private func judgeEnd(_ scanner: SegmentScanner, _ path: String, _ log: inout RecoveredLog) throws(LogError) {
    log.remains = nil
    guard !mutations.contains(.truncatesOnDamage) else { return }
    if let proof = try scanner.proofOfMore(
      from: log.end, than: log.end, log.header, number: log.nextFrame, previousChecksum: log.previousChecksum)
    {
      throw corrupt(
        path, log.end, "\(log.ending.reason), though the frame at offset \(proof) proves that there was one",
        log.ending.expected, log.ending.found)
    }
    // Stale bytes of a recycled file are left alone; what should be zeros becomes zeros again.
    if !log.header.isRecycled, let last = try scanner.lastNonZeroBlock(from: log.end) {
      log.remains = log.end..<last + UInt64(logBlockSizeBytes)
    }
  }
}
