import Encoding
import Glibc
import Log
import Platform
import Simulation

let dbPath = "/db"

/// Small segments, no threads, no chance: every edge is reached in a few operations, and a seed replays.
func smallOptions(segment: Int = 6 * 4096, first: Int = 3 * 4096, spares: Int = 2) -> LogOptions {
  var options = LogOptions()
  options.segmentSizeBytes = segment
  options.firstSegmentSizeBytes = first
  options.spareSegments = spares
  options.reserveSizeBytes = 0
  options.background = false
  options.seed = 42
  return options
}

extension [UInt8] {
  /// The bytes, for calls that take memory.
  func withRaw<T, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> T) throws(E) -> T {
    var result: Result<T, E>!
    self.withUnsafeBytes { raw in
      do throws(E) { result = .success(try body(raw)) } catch { result = .failure(error) }
    }
    return try result.get()
  }
}

/// Appends records to a log, one frame at a time, as a leader would.
struct TestWriter {
  let log: Log
  var builder = RecordBuilder()
  let frame = FrameBuffer(capacitySizeBytes: 4096)
  var origin = LogBallot(epoch: 1, round: 1, priority: 0, node: 1)

  init(_ log: Log) { self.log = log }

  func header(after position: LogPosition, transactions: Int = 1, time: UInt64 = 0) -> RecordHeader {
    RecordHeader(
      type: .transactionGroup, slot: position.slot.next, origin: origin,
      firstVersion: position.version.advanced(by: 1), transactionCount: UInt32(transactions), leaderTime: time,
      safeVersion: .zero, chosenAtBuild: .zero, previousChain: position.chain)
  }

  /// Adds a record to the frame and returns the position after it.
  mutating func add(_ payload: [UInt8], after position: LogPosition) -> LogPosition {
    var header = header(after: position)
    let chain = payload.withRaw { frame.append(&header, payload: $0, using: &builder) }
    return LogPosition(slot: header.slot, chain: chain, version: header.lastVersion)
  }

  /// Appends records durably in one frame.
  mutating func append(_ payloads: [[UInt8]]) throws(LogError) {
    frame.removeAll()
    var position = log.state.last
    for payload in payloads { position = add(payload, after: position) }
    try log.write(frame)
  }
}

/// A payload that names its number, of a length that the seed chooses: mostly short, sometimes longer than a segment.
func payload(_ number: Int, _ randomness: inout SeededRandomness) -> [UInt8] {
  let length = randomness.oneIn(12) ? 3000 + randomness.below(30_000) : randomness.below(700)
  let isNoise = randomness.oneIn(3)
  var bytes = [UInt8](repeating: 0, count: 8 + length)
  var rest = UInt64(number)
  for index in 0..<8 {
    bytes[index] = UInt8(truncatingIfNeeded: rest)
    rest >>= 8
  }
  for index in 8..<bytes.count {
    bytes[index] =
      isNoise ? UInt8(truncatingIfNeeded: randomness.next()) : UInt8(truncatingIfNeeded: index / 7 + number)
  }
  return bytes
}

/// All payloads that are in the log, by slot.
func contents(_ log: Log) throws(LogError) -> [UInt64: [UInt8]] {
  var result: [UInt64: [UInt8]] = [:]
  let reader = try log.reader(after: log.base.slot)
  while let record = try reader.nextRecord() { result[record.header.slot.rawValue] = [UInt8](record.payload) }
  return result
}

/// Opens the test database, and closes it whatever `body` does.
func withLog<T>(
  _ disk: SimulatedDisk, _ options: LogOptions = smallOptions(), _ mutations: LogMutations = [],
  _ body: (Log) throws -> T
) throws -> T {
  let log = try Log.open(dbPath, disk: disk, options: options, mutations: mutations)
  defer { try? log.close() }
  return try body(log)
}

/// How many seeds a test runs: `SYNOD_SEEDS` where it is set, for long runs.
func seedCount(_ usual: UInt64) -> UInt64 {
  guard let text = getenv("SYNOD_SEEDS"), let count = UInt64(String(cString: text)) else { return usual }
  return count
}
