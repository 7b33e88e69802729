package import Encoding
internal import Platform
internal import Synchronization

/// A record as it was read; the memory is the reader's and valid until its next record.
@safe
package struct LogRecord {
  package let header: RecordHeader
  package let chain: Hash128
  /// The payload, decompressed.
  package let payload: UnsafeRawBufferPointer
  /// Header and stored payload, as shipped.
  package let storedBytes: UnsafeRawBufferPointer
}

/// What is at a slot.
package enum LogEntry {
  case record(LogRecord)
  /// The record cannot be read; nor is it known what it was, unless its chain is.
  case damaged(Slot, chain: Hash128?)
}

/// Reads records in the order of slots, checking header, chain and payload of each. While it is there, nothing that it
/// still has to read is recycled. One thread at a time.
package final class LogReader {
  private let log: Log
  private let id: UInt64
  private var next: Slot
  private let end: Slot
  private let decompresses: Bool
  private var segment: UInt64?
  private var scanner: SegmentScanner?
  private var buffer: AlignedBuffer?

  private let windowSizeBytes: Int
  /// Bytes that were read from segments that are done with.
  private var doneSizeBytes: UInt64 = 0

  init(
    _ log: Log, id: UInt64, from next: Slot, through end: Slot, decompresses: Bool, windowSizeBytes: Int
  ) {
    self.windowSizeBytes = windowSizeBytes
    self.log = log
    self.id = id
    self.next = next
    self.end = end
    self.decompresses = decompresses
  }

  deinit {
    scanner?.file.close()
    log.release(reader: id)
  }

  /// How much was read from the disk.
  package var readSizeBytes: UInt64 { doneSizeBytes + (scanner?.readSizeBytes ?? 0) }

  /// The slot that is read next: where an error was thrown, the one whose record could not be read.
  package var nextSlot: Slot { next }

  /// The next record, or nil after the last that was there when the reader was made.
  package func nextRecord() throws(LogError) -> LogRecord? {
    switch try nextEntry() {
    case nil: return nil
    case .record(let record): return record
    case .damaged(let slot, _):
      next = slot
      throw .corrupt(
        LogPlace(file: log.files.directory, offset: 0),
        reason: "the record of slot \(slot.rawValue) is damaged and not yet repaired", expected: 0, found: 0)
    }
  }

  /// As `nextRecord`, but goes around records that are known to be damaged.
  package func nextEntry() throws(LogError) -> LogEntry? {
    guard next <= end else { return nil }
    let slot = next
    if let chain = log.shared.withLock({ $0.index.damagedChain(at: slot) }) {
      next = slot.next
      log.advance(reader: id, to: next)
      return .damaged(slot, chain: chain == .zero ? nil : chain)
    }
    return .record(try readRecord())
  }

  private func readRecord() throws(LogError) -> LogRecord {
    let (place, path, previous, lastPlace) = try locate(next)
    let scanner = try open(place.segment, path)
    let base = place.offset / UInt64(logBlockSizeBytes) * UInt64(logBlockSizeBytes)
    let inside = Int(place.offset - base)
    let whole = unsafe try scanner.bytes(
      at: base, inside + place.sizeBytes, ahead: min(Self.ahead(place, lastPlace, base), windowSizeBytes))
    func damage(_ reason: String) -> LogError {
      .corrupt(LogPlace(file: path, offset: place.offset), reason: reason, expected: 0, found: 0)
    }
    guard whole.count == inside + place.sizeBytes else { throw damage("the end of the file") }
    let bytes = unsafe UnsafeRawBufferPointer(rebasing: whole[inside...])
    do throws(DecodingError) {
      let header = unsafe try RecordHeader(from: bytes)
      let chain = unsafe RecordHeader.chain(ofHeader: bytes)
      guard header.slot == next, header.recordSizeBytes == bytes.count, chain == place.chain,
        header.previousChain == previous ?? header.previousChain
      else { throw .invalid(offset: 0, reason: "another record than slot \(next.rawValue)") }
      let storedPayload = unsafe UnsafeRawBufferPointer(rebasing: bytes[RecordHeader.sizeBytes...])
      unsafe try header.verify(payload: storedPayload)
      let raw = unsafe decompresses ? try decompress(header, storedPayload) : storedPayload
      next = next.next
      log.advance(reader: id, to: next)
      return unsafe LogRecord(header: header, chain: place.chain, payload: raw, storedBytes: bytes)
    } catch { throw damage("\(error)") }
  }

  /// Where the record is, the chain before it, and where the last one is that will be read.
  private func locate(_ slot: Slot) throws(LogError) -> (RecordPlace, String, Hash128?, RecordPlace?) {
    let found = log.shared.withLock { shared -> (RecordPlace, String, Hash128?, RecordPlace?)? in
      guard let place = shared.index.place(of: slot),
        let segment = shared.segments.first(where: { $0.sequence == place.segment })
      else { return nil }
      return (place, segment.path, shared.index.chain(at: Slot(slot.rawValue - 1)), shared.index.place(of: end))
    }
    guard let found else { throw .notInLog(slot, first: log.base.slot.next, last: log.state.last.slot) }
    return found
  }

  /// How many bytes from `base` on will be asked for, as far as that is known: those through the end, where it lies in the same
  /// segment. Who reads a few records, often, must not read a window of them each time.
  private static func ahead(_ place: RecordPlace, _ last: RecordPlace?, _ base: UInt64) -> Int {
    guard let last, last.segment == place.segment, last.offset >= place.offset else { return .max }
    return Int(clamping: last.offset + UInt64(last.sizeBytes) - base)
  }

  private func open(_ sequence: UInt64, _ path: String) throws(LogError) -> SegmentScanner {
    if let scanner, segment == sequence { return scanner }
    doneSizeBytes = readSizeBytes
    scanner?.file.close()
    scanner = nil
    let new = try SegmentScanner(try onDisk { () throws(DiskError) in try log.disk.open(path, .direct) })
    scanner = new
    segment = sequence
    return new
  }

  private func decompress(_ header: RecordHeader, _ stored: UnsafeRawBufferPointer) throws(DecodingError)
    -> UnsafeRawBufferPointer
  {
    guard header.codec == .lz4 else { return unsafe stored }
    let count = Int(header.rawSizeBytes)
    // LZ4 cannot expand more than 255 times: a length that is a lie takes no memory.
    guard count <= stored.count * 255 + 16 else { throw .invalid(offset: 72, reason: "impossible raw length") }
    if unsafe buffer == nil || buffer!.bytes.count < count { buffer = AlignedBuffer(sizeBytes: max(count, 1 << 16)) }
    let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer!.bytes[0..<count])
    unsafe try LZ4Codec.decompress(stored, into: target)
    return UnsafeRawBufferPointer(target)
  }
}

extension Log {
  /// Reads the records behind `slot`, through the last one or `end`.
  ///
  /// - Parameter windowSizeBytes: how much is read at once, unless a record is longer.
  /// - Throws: `.notInLog` where the log no longer reaches back to `slot`.
  package func reader(
    after slot: Slot, through end: Slot? = nil, decompresses: Bool = true, windowSizeBytes: Int = .max
  ) throws(LogError) -> LogReader {
    let (id, last) = try shared.withLock { (shared) throws(LogError) in
      let head = shared.index.head
      guard slot >= head.base.slot, slot <= head.state.last.slot else {
        throw .notInLog(slot.next, first: head.base.slot.next, last: head.state.last.slot)
      }
      defer { shared.nextReader += 1 }
      shared.readers[shared.nextReader] = slot
      return (shared.nextReader, head.state.last.slot)
    }
    return LogReader(
      self, id: id, from: slot.next, through: min(end ?? last, last), decompresses: decompresses,
      windowSizeBytes: windowSizeBytes)
  }

  func release(reader: UInt64) { shared.withLock { _ = $0.readers.removeValue(forKey: reader) } }

  func advance(reader: UInt64, to next: Slot) {
    shared.withLock { $0.readers[reader] = Slot(next.rawValue - 1) }
  }
}
