internal import Encoding
package import Platform

/// Bytes that are not what was written.
package struct LogDamage: Hashable, Sendable, CustomStringConvertible {
  package var place: LogPlace
  package var reason: String
  /// The checksum on record and the one found; equal where the damage is of another kind.
  package var expected: UInt32 = 0
  package var found: UInt32 = 0
  /// Nothing that was ever acknowledged is concerned: an unfinished write at the end, or space that is not in use. The
  /// next opening clears it.
  package var isHarmless = false

  package var description: String {
    let sums =
      expected == found ? "" : " (checksum \(String(found, radix: 16)), recorded \(String(expected, radix: 16)))"
    return "\(place): \(reason)\(sums)\(isHarmless ? " (harmless)" : "")"
  }
}

/// Reads every byte of the log and the superblock and lists what is wrong.
///
/// Not covered, because nothing says what it ought to be: space not in use of a file that was recycled.
package struct LogVerification {
  private let directory: String
  private let disk: any Disk
  private let progress: (_ doneSizeBytes: UInt64, _ totalSizeBytes: UInt64) -> Void
  private var damage: [LogDamage] = []
  private var done: UInt64 = 0
  private var total: UInt64 = 0
  private var identity: Hash128?
  private var knownEnd = LogEnd(segment: 0, offset: 0)

  private init(
    _ directory: String, _ disk: any Disk, _ progress: @escaping (UInt64, UInt64) -> Void
  ) {
    self.directory = directory
    self.disk = disk
    self.progress = progress
  }

  /// Verifies the log of the database at `directory`, which nobody should be writing.
  package static func verify(
    _ directory: String, disk: any Disk, progress: @escaping (UInt64, UInt64) -> Void = { _, _ in }
  ) throws(LogError) -> [LogDamage] {
    var verification = LogVerification(directory, disk, progress)
    try verification.superblock()
    try verification.log()
    return verification.damage
  }

  private mutating func add(
    _ file: String, _ offset: UInt64, _ reason: String, _ expected: UInt32 = 0, _ found: UInt32 = 0,
    isHarmless: Bool = false
  ) {
    damage.append(
      LogDamage(
        place: LogPlace(file: file, offset: offset), reason: reason, expected: expected, found: found,
        isHarmless: isHarmless))
  }

  private mutating func superblock() throws(LogError) {
    let path = directory + "/" + Superblock.fileName
    guard try onDisk({ () throws(DiskError) in try disk.status(path) }) != nil else {
      add(path, 0, "the superblock is missing")
      return
    }
    let copies = try Superblock.readCopies(path, disk: disk)
    let newest = copies.compactMap { copy in if case .valid(let block) = copy { block.update } else { nil } }.max()
    for (index, copy) in copies.enumerated() {
      let offset = UInt64(index * Superblock.copySizeBytes)
      switch copy {
      case .valid(let block):
        if block.update != newest { add(path, offset, "an older superblock copy", isHarmless: true) }
      case .newer(let format): throw .newerFormat(file: path, found: format, supported: Superblock.format)
      case .invalid(let reason, let expected, let found): add(path, offset, reason, expected, found)
      }
    }
    do throws(LogError) {
      let block = try Superblock.choose(copies, path: path)
      identity = block.logIdentity
      knownEnd = block.logEnd
    } catch {
      add(path, 0, "no two copies of the superblock agree")
    }
    let size = try onDisk { () throws(DiskError) in try disk.status(path)?.sizeBytes ?? 0 }
    if size > UInt64(Superblock.copyCount * Superblock.copySizeBytes) {
      add(path, UInt64(Superblock.copyCount * Superblock.copySizeBytes), "bytes behind the superblock")
    }
  }

  /// What the frames so far say that comes next.
  private struct Expectation {
    var sequence: UInt64
    var end: UInt64
    var frame: UInt64
    var checksum: UInt32
    var last: LogPosition?
    /// Between SYNC_BEGIN and its end: records do not continue what headers call the log.
    var isInSync = false
    var path: String
    /// How the frames of the segment end, if not with zeros.
    var remains: InspectedFrame?
  }

  private mutating func log() throws(LogError) {
    let files = try LogInspection.files(directory, disk: disk)
    total = files.reduce(0) { $0 + $1.sizeBytes }
    var expected: Expectation?
    let segments = files.filter { if case .segment = $0.kind { true } else { false } }
    if segments.isEmpty { add(LogInspection.logDirectory(directory), 0, "the log has no segments") }
    for file in files {
      switch file.kind {
      case .other: done += file.sizeBytes
      case .unused: try unused(file.path, isSpare: true)
      case .segment(let sequence):
        if let before = expected, sequence != before.sequence + 1 {
          add(file.path, 0, "segment \(before.sequence + 1), before this one, is missing")
          expected = nil
        }
        let isLast = file.path == segments.last?.path
        guard let header = file.header, file.problem == nil else {
          try headless(file, sequence, mayBeUnused: isLast && segments.count > 1)
          continue
        }
        link(header, file.path, &expected)
        try segment(file, header, &expected)
      }
      progress(done, total)
    }
    guard let last = expected else { return }
    if LogEnd(segment: last.sequence, offset: last.end) < knownEnd {
      add(
        last.path, last.end, "the log ends, though it reached offset \(knownEnd.offset) of segment \(knownEnd.segment)",
        last.remains?.expected ?? 0, last.remains?.found ?? 0)
    } else {
      judge(last.remains, last, harmlessly: true)
    }
  }

  /// A segment file without a valid header: prepared and never used, or damaged.
  private mutating func headless(_ file: LogFileSummary, _ sequence: UInt64, mayBeUnused: Bool) throws(LogError) {
    var holdsFrames = false
    try LogInspection.frames(of: file, disk: disk) { frame in
      holdsFrames = frame.header != nil
      return !holdsFrames && frame.offset == UInt64(SegmentHeader.sizeBytes)
    }
    if holdsFrames || !mayBeUnused {
      add(file.path, 0, file.problem ?? "no header")
      done += file.sizeBytes
    } else {
      try unused(file.path, isSpare: false)
    }
  }

  /// A file without content: all zeros, unless it was in use before.
  private mutating func unused(_ path: String, isSpare: Bool) throws(LogError) {
    let file = try onDisk { () throws(DiskError) in try disk.open(path, .read) }
    defer { file.close() }
    let scanner = try SegmentScanner(file)
    defer { done += scanner.fileSizeBytes }
    switch try scanner.readHeader() {
    case .header(let header) where isSpare || header.fileSizeBytes <= scanner.fileSizeBytes: return
    case .blank:
      if let block = try scanner.lastNonZeroBlock(from: 0) {
        add(path, block, "a file of zeros is not all zeros", isHarmless: true)
      }
    default: add(path, 0, "the header of a file not in use is damaged", isHarmless: true)
    }
  }

  private mutating func link(_ header: SegmentHeader, _ path: String, _ expected: inout Expectation?) {
    if let identity, header.logIdentity != identity { add(path, 48, "a segment of another database") }
    guard let before = expected else { return }
    if header.previousEnd != before.end || header.firstFrame != before.frame
      || header.previousChecksum != before.checksum
    {
      add(
        before.path, before.end,
        "\(before.remains?.problem ?? "no frame") where segment \(header.sequence) proves there was one",
        before.remains?.expected ?? 0, before.remains?.found ?? 0)
      expected?.last = nil
    } else {
      judge(before.remains, before, harmlessly: true)
    }
    if !before.isInSync, let last = before.last, last != header.state.last {
      add(path, 88, "the segment continues another history than its predecessor's")
    }
  }

  /// Reports what lies behind the frames of a segment.
  private mutating func judge(_ remains: InspectedFrame?, _ at: Expectation, harmlessly: Bool) {
    guard let remains, !remains.isBlank else { return }
    add(
      at.path, remains.offset, "\(remains.problem ?? "bytes") behind the end of the log", remains.expected,
      remains.found, isHarmless: harmlessly)
  }

  private mutating func segment(_ file: LogFileSummary, _ header: SegmentHeader, _ expected: inout Expectation?)
    throws(LogError)
  {
    if file.sizeBytes < header.fileSizeBytes {
      add(file.path, file.sizeBytes, "the file is shorter than the \(header.fileSizeBytes) bytes it had")
    }
    var next = Expectation(
      sequence: header.sequence, end: UInt64(SegmentHeader.sizeBytes), frame: header.firstFrame,
      checksum: header.previousChecksum, last: expected?.isInSync == true ? expected?.last : header.state.last,
      isInSync: expected?.isInSync ?? false, path: file.path)
    var gap: InspectedFrame?
    var found: [LogDamage] = []
    func damage(_ offset: UInt64, _ reason: String, _ expected: UInt32 = 0, _ actual: UInt32 = 0) {
      found.append(
        LogDamage(place: LogPlace(file: file.path, offset: offset), reason: reason, expected: expected, found: actual))
    }
    try LogInspection.frames(of: file, disk: disk) { frame in
      guard let head = frame.header else {
        gap = gap ?? frame
        return true
      }
      // Leftovers behind the end prove nothing: only frames that come after what is missing do.
      if let missing = gap {
        let proves =
          (head.number > next.frame && head.syncedSegment == header.sequence && head.syncedOffset > next.end)
          || (head.number == next.frame && head.previousChecksum == next.checksum)
        guard proves else { return true }
        damage(
          missing.offset,
          "\(missing.problem ?? "no frame"), though the frame at offset \(frame.offset) proves there was one",
          missing.expected, missing.found)
        gap = nil
        next.last = nil
      } else if head.number != next.frame || head.previousChecksum != next.checksum {
        gap = frame
        gap?.problem = "a frame out of sequence"
        return true
      }
      if let problem = frame.problem { damage(frame.offset, problem) }
      Self.follow(frame, &next, damage)
      next.end = frame.offset + frame.sizeBytes
      next.frame = head.number + 1
      next.checksum = frame.checksum
      return true
    }
    self.damage += found
    done += file.sizeBytes
    next.remains = header.isRecycled ? nil : gap
    expected = next
  }

  /// Checks that a frame's records continue the chain.
  private static func follow(
    _ frame: InspectedFrame, _ next: inout Expectation, _ damage: (UInt64, String, UInt32, UInt32) -> Void
  ) {
    var isRepair = false
    for (offset, item) in frame.items {
      switch item {
      case .record where isRepair: isRepair = false
      case .control(.repair, _): isRepair = true
      case .control(.install(let mark, let keepsLog), _): if !keepsLog { next.last = mark.position }
      case .record(let record, let chain, _):
        if let last = next.last,
          record.slot != last.slot.next || record.previousChain != last.chain
            || record.firstVersion.rawValue != last.version.rawValue + 1
        {
          damage(offset, "slot \(record.slot.rawValue) does not continue slot \(last.slot.rawValue)", 0, 0)
        }
        next.last = LogPosition(slot: record.slot, chain: chain, version: record.lastVersion)
      case .control(.syncBegin(let begin), _):
        next.last = begin.before
        next.isInSync = true
      case .control(.syncEnd, _): next.isInSync = false
      // What the log's end is after a sync that was given up is known to recovery only.
      case .control(.syncAbort, _):
        next.last = nil
        next.isInSync = false
      case .control: break
      }
    }
  }
}
