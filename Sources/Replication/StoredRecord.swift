package import Encoding
internal import Glibc
package import Log
package import Paxos
internal import Synchronization

/// A record's bytes, as they are stored and shipped: built or received once, then shared by the log's writer, the senders
/// and the delivery.
///
/// `@unchecked Sendable`: the memory is written before the object is shared, and freed with it.
@safe
package final class StoredRecord: @unchecked Sendable {
  package let header: RecordHeader
  package let chain: Hash128
  private let memory: UnsafeMutableRawPointer
  /// When the leader built it, had it on its own disk, found it chosen and applied it, in boot nanoseconds; 0: not here.
  let builtAt = Atomic<UInt64>(0)
  let durableAt = Atomic<UInt64>(0)
  let chosenAt = Atomic<UInt64>(0)
  let appliedAt = Atomic<UInt64>(0)
  /// Whether this node's disk has it.
  let isDurable = Atomic(false)

  /// Builds a record around `payload`. `header` gets its lengths and hash.
  init(_ header: RecordHeader, payload: UnsafeRawBufferPointer, using builder: inout RecordBuilder) {
    var header = header
    let bound = RecordBuilder.bound(payload.count)
    guard let room = unsafe malloc(bound) else { fatalError("out of memory for a record of \(bound) bytes") }
    chain = unsafe builder.build(
      &header, payload: payload, into: UnsafeMutableRawBufferPointer(start: room, count: bound))
    unsafe memory = unsafe realloc(room, header.recordSizeBytes) ?? room
    self.header = header
  }

  /// Takes a copy of a record that another node built, after checking its header and its payload's hash.
  package init(copying bytes: UnsafeRawBufferPointer) throws(DecodingError) {
    let header = unsafe try RecordHeader(from: bytes)
    guard bytes.count == header.recordSizeBytes else {
      throw .invalid(offset: 0, reason: "record of \(header.recordSizeBytes) bytes in \(bytes.count)")
    }
    unsafe try header.verify(payload: UnsafeRawBufferPointer(rebasing: bytes[RecordHeader.sizeBytes...]))
    guard let room = unsafe malloc(bytes.count), let start = bytes.baseAddress else {
      fatalError("out of memory for a record of \(bytes.count) bytes")
    }
    unsafe room.copyMemory(from: start, byteCount: bytes.count)
    unsafe memory = unsafe room
    self.header = header
    chain = unsafe RecordHeader.chain(ofHeader: bytes)
  }

  deinit { unsafe free(memory) }

  /// Header and stored payload; valid while the record is.
  package var bytes: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: memory, count: header.recordSizeBytes)
  }

  package var slot: SlotNumber { header.slot.rawValue }

  /// What Paxos knows of it.
  package var entry: Entry {
    Entry(
      slot: slot, chain: Chain(chain), origin: Ballot(header.origin), sizeBytes: UInt32(header.recordSizeBytes),
      kind: EntryKind(header.type))
  }

  /// The configuration that a stop record announces; nil where it is none, or not readable.
  package var announced: Configuration? {
    guard header.type == .configurationStop, header.codec == .raw else { return nil }
    let payload = unsafe [UInt8](bytes[RecordHeader.sizeBytes...])
    return try? Configuration(decoding: payload[...])
  }

  /// Calls `body` with the payload, decompressed into `scratch` where that is needed.
  ///
  /// - Throws: `failed` where the payload does not decompress: its hash was right, so its leader built what cannot be read.
  func withPayload<R>(
    _ scratch: inout [UInt8], _ body: (UnsafeRawBufferPointer) throws(DeliveryError) -> R
  ) throws(DeliveryError) -> R {
    let stored = unsafe UnsafeRawBufferPointer(rebasing: bytes[RecordHeader.sizeBytes...])
    guard header.codec == .lz4 else { return unsafe try body(stored) }
    let count = Int(header.rawSizeBytes)
    if scratch.count < count { scratch = [UInt8](repeating: 0, count: max(count, 64 << 10)) }
    let result: Result<R, DeliveryError> = unsafe scratch.withUnsafeMutableBytes { memory in
      let target = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[0..<count])
      do throws(DecodingError) { unsafe try LZ4Codec.decompress(stored, into: target) } catch {
        return .failure(.failed("the record of slot \(slot) does not decompress: \(error)"))
      }
      do throws(DeliveryError) { return .success(unsafe try body(UnsafeRawBufferPointer(target))) } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}

extension Chain {
  package init(_ hash: Hash128) { self.init(high: hash.high, low: hash.low) }
}

extension Hash128 {
  package init(_ chain: Chain) { self.init(low: chain.low, high: chain.high) }
}

extension Ballot {
  package init(_ ballot: LogBallot) {
    self.init(epoch: ballot.epoch, round: ballot.round, priority: ballot.priority, node: NodeID(ballot.node))
  }
}

extension LogBallot {
  package init(_ ballot: Ballot) {
    self.init(epoch: ballot.epoch, round: ballot.round, priority: ballot.priority, node: ballot.node.rawValue)
  }
}

extension EntryKind {
  init(_ type: RecordType) {
    switch type {
    case .epochStart: self = .leadership
    case .configurationStop: self = .stop
    default: self = .command
    }
  }
}

/// The newest records, by slot: what is being written, sent or delivered, and as many before it as fit.
///
/// No holes. A record leaves only when it is durable here and was delivered: then the log's files have it.
struct RecordCache: Sendable {
  private var records: [StoredRecord] = []
  private var head = 0
  private var sizeBytes = 0
  private let limitBytes: Int

  init(limitBytes: Int) { self.limitBytes = limitBytes }

  private var first: SlotNumber { head < records.count ? records[head].slot : 0 }

  func record(at slot: SlotNumber) -> StoredRecord? {
    guard head < records.count, slot >= first, slot - first < UInt64(records.count - head) else { return nil }
    return records[head + Int(slot - first)]
  }

  /// The record of a version among the newest.
  func record(holding version: Version) -> StoredRecord? {
    records[head...].suffix(4096).last {
      $0.header.transactionCount > 0 && $0.header.firstVersion <= version && version <= $0.header.lastVersion
    }
  }

  mutating func append(_ record: StoredRecord) {
    if head < records.count { precondition(record.slot == records[records.count - 1].slot + 1, "no holes") }
    records.append(record)
    sizeBytes += record.header.recordSizeBytes
  }

  mutating func truncate(after slot: SlotNumber) {
    while head < records.count, records[records.count - 1].slot > slot {
      sizeBytes -= records[records.count - 1].header.recordSizeBytes
      records.removeLast()
    }
    if head == records.count { removeAll() }
  }

  mutating func replace(_ record: StoredRecord) {
    guard self.record(at: record.slot) != nil else { return }
    records[head + Int(record.slot - first)] = record
  }

  /// Forgets the records through `slot`.
  mutating func drop(through slot: SlotNumber) {
    while head < records.count, records[head].slot <= slot {
      sizeBytes -= records[head].header.recordSizeBytes
      head += 1
    }
    if head == records.count { removeAll() }
  }

  mutating func removeAll() {
    records.removeAll(keepingCapacity: true)
    head = 0
    sizeBytes = 0
  }

  /// Lets go of the oldest records through `delivered` while there are too many bytes.
  mutating func trim(delivered: SlotNumber) {
    while sizeBytes > limitBytes, head < records.count, records[head].slot <= delivered,
      records[head].isDurable.load(ordering: .acquiring)
    {
      sizeBytes -= records[head].header.recordSizeBytes
      head += 1
    }
    if head > 1024, head * 2 > records.count {
      records.removeFirst(head)
      head = 0
    }
  }
}
