internal import Encoding
package import Platform

/// A file of `log/` as it was found.
package struct LogFileSummary: Sendable {
  package enum Kind: Hashable, Sendable {
    case segment(UInt64)
    /// Prepared or spare: holds nothing.
    case unused
    case other
  }

  package var path: String
  package var kind: Kind
  package var sizeBytes: UInt64
  /// The header, if it is one and valid.
  package var header: SegmentHeader?
  /// What is wrong with the header, if something is.
  package var problem: String?
}

/// A frame as it was found, or a stretch that is none.
package struct InspectedFrame: Sendable {
  package var offset: UInt64
  package var sizeBytes: UInt64
  /// Nil where there is no frame of this use of the segment.
  package var header: FrameHeader?
  package var checksum: UInt32 = 0
  /// Offsets count from the start of the file.
  package var items: [(offset: UInt64, item: LogItem)] = []
  /// What is wrong, if something is. With a header: in one of the items.
  package var problem: String?
  /// The checksum on record and the one found, where they differ.
  package var expected: UInt32 = 0
  package var found: UInt32 = 0
  /// All zeros: space not yet used.
  package var isBlank = false
}

/// Looks at a log without opening it: needs no lock, changes nothing, goes on after damage.
package enum LogInspection {
  static func logDirectory(_ directory: String) -> String { directory + "/" + DatabaseDirectory.logName }

  /// The files of the log of the database at `directory`, in order of their names.
  package static func files(_ directory: String, disk: any Disk) throws(LogError) -> [LogFileSummary] {
    let log = logDirectory(directory)
    let names = try onDisk { () throws(DiskError) in try disk.list(log) }
    var result: [LogFileSummary] = []
    for name in names {
      let path = log + "/" + name
      let size = try onDisk { () throws(DiskError) in try disk.status(path)?.sizeBytes ?? 0 }
      var summary = LogFileSummary(path: path, kind: .other, sizeBytes: size)
      switch LogFileName(name) {
      case nil: break
      case .spare, .filling: summary.kind = .unused
      case .segment(let sequence):
        summary.kind = .segment(sequence)
        let file = try onDisk { () throws(DiskError) in try disk.open(path, .read) }
        defer { file.close() }
        switch try SegmentScanner(file).readHeader() {
        case .header(let header):
          summary.header = header
          if header.sequence != sequence { summary.problem = "the header is of segment \(header.sequence)" }
        case .blank: summary.problem = "no header"
        case .newer(let format): summary.problem = "format \(format), newer than this program"
        case .invalid(let reason, _, _): summary.problem = reason
        }
      }
      result.append(summary)
    }
    return result
  }

  /// Walks over the frames of a segment, and over what lies between them, until `body` says false. Every stretch that is
  /// no frame is reported as one, up to the next frame or the end of the file.
  package static func frames(
    of file: LogFileSummary, disk: any Disk, _ body: (InspectedFrame) -> Bool
  ) throws(LogError) {
    guard case .segment(let sequence) = file.kind else { return }
    let open = try onDisk { () throws(DiskError) in try disk.open(file.path, .read) }
    defer { open.close() }
    let scanner = try SegmentScanner(open)
    let salt = file.header?.sequence == sequence ? file.header?.salt : nil
    var offset = UInt64(SegmentHeader.sizeBytes)
    var gap: InspectedFrame?
    while true {
      switch try scanner.find(at: offset, sequence: sequence, salt: salt) {
      case .endOfFile:
        if let gap { _ = body(gap) }
        return
      case .noFrame(let isZero, let reason, let expected, let found):
        var stretch =
          gap
          ?? InspectedFrame(
            offset: offset, sizeBytes: 0, problem: isZero ? nil : reason, expected: expected, found: found,
            isBlank: true)
        stretch.sizeBytes += UInt64(logBlockSizeBytes)
        stretch.isBlank = stretch.isBlank && isZero
        if !isZero && stretch.problem == nil { stretch.problem = "bytes behind the end of the log" }
        gap = stretch
        offset += UInt64(logBlockSizeBytes)
      case .frame(let header, let checksum, let bytes):
        if let stretch = gap {
          gap = nil
          if !body(stretch) { return }
        }
        var frame = InspectedFrame(
          offset: offset, sizeBytes: UInt64(header.paddedSizeBytes), header: header, checksum: checksum)
        unsafe decode(header, bytes, &frame)
        if !body(frame) { return }
        offset += frame.sizeBytes
      }
    }
  }

  private static func decode(_ header: FrameHeader, _ bytes: UnsafeRawBufferPointer, _ frame: inout InspectedFrame) {
    var items = unsafe FrameItems(bytes, header)
    do throws(DecodingError) {
      while let item = try items.next() {
        switch item {
        case .control(_, let offset): frame.items.append((frame.offset + UInt64(offset), item))
        case .record(let record, _, let offset):
          frame.items.append((frame.offset + UInt64(offset), item))
          let start = offset + RecordHeader.sizeBytes
          let payload = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(record.storedSizeBytes)])
          unsafe try record.verify(payload: payload)
          if record.codec == .lz4 { unsafe try checkCompressed(record, payload) }
        }
      }
    } catch { frame.problem = "\(error)" }
  }

  private static func checkCompressed(_ record: RecordHeader, _ payload: UnsafeRawBufferPointer) throws(DecodingError) {
    let count = Int(record.rawSizeBytes)
    guard count <= payload.count * 255 + 16 else { throw .invalid(offset: 72, reason: "impossible raw length") }
    let scratch = AlignedBuffer(sizeBytes: max(1, count))
    unsafe try LZ4Codec.decompress(payload, into: UnsafeMutableRawBufferPointer(rebasing: scratch.bytes[0..<count]))
  }
}
