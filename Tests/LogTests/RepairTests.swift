import Encoding
import Log
import Platform
import Simulation
import Testing

/// A log as its owner remembers it: too simple to be wrong.
struct LogTruth {
  struct Made {
    var position: LogPosition
    var bytes: [UInt8]
  }

  var records: [UInt64: Made] = [:]
  var base = LogPosition.zero
  var last = LogPosition.zero
  var promised = LogBallot.zero
  var accepted = LogBallot.zero
  var chosen: UInt64 = 0

  func position(_ slot: UInt64) -> LogPosition? {
    if slot == base.slot.rawValue { return base }
    return records[slot]?.position
  }
}

/// Writes a random history to a log: appends, promises, new leaders' logs in one frame or several, checkpoints.
struct LogHistory {
  let log: Log
  private(set) var truth = LogTruth()
  private var randomness: SeededRandomness
  private var builder = RecordBuilder()
  private let scratch = FrameBuffer()
  private let frame = FrameBuffer()
  private var number = 0

  init(_ log: Log, seed: UInt64) {
    self.log = log
    randomness = SeededRandomness(seed: seed)
  }

  /// A record of another node, as shipped.
  private mutating func make(after position: LogPosition) -> LogTruth.Made {
    number += 1
    let length = randomness.oneIn(9) ? 5000 : randomness.below(300)
    let payload = (0..<8 + length).map { UInt8(truncatingIfNeeded: number &* 31 &+ $0 &* 7) }
    var header = RecordHeader(
      type: .transactionGroup, slot: position.slot.next, origin: truth.promised,
      firstVersion: position.version.advanced(by: 1), transactionCount: 1, leaderTime: UInt64(number),
      safeVersion: .zero, chosenAtBuild: Slot(truth.chosen), previousChain: position.chain)
    scratch.removeAll()
    let chain = payload.withRaw { scratch.append(&header, payload: $0, using: &builder) }
    let bytes = unsafe [UInt8](scratch.recordBytes(at: FrameHeader.sizeBytes, header))
    return .init(position: LogPosition(slot: header.slot, chain: chain, version: header.lastVersion), bytes: bytes)
  }

  private mutating func records(_ count: Int, after position: LogPosition) -> [LogTruth.Made] {
    var made: [LogTruth.Made] = []
    for _ in 0..<count { made.append(make(after: made.last?.position ?? position)) }
    return made
  }

  private mutating func flush() throws {
    try log.write(frame)
    frame.removeAll()
  }

  private mutating func take(_ made: [LogTruth.Made]) {
    for record in made {
      truth.records[record.position.slot.rawValue] = record
      truth.last = record.position
    }
  }

  mutating func step() throws {
    frame.removeAll()
    let above = Int(truth.last.slot.rawValue - truth.base.slot.rawValue)
    switch randomness.below(14) {
    case 0:
      truth.promised = LogBallot(epoch: 1, round: truth.promised.round + 1, priority: 0, node: 3)
      frame.append(.promise(truth.promised))
      try flush()
    case 1, 2: try sync()
    case 3 where above > 0, 4 where above > 0:
      truth.chosen = max(truth.chosen, truth.base.slot.rawValue + UInt64(randomness.below(above)))
    case 5 where randomness.oneIn(3): try install(keeping: above > 0 && randomness.oneIn(2))
    default:
      let made = records(1 + randomness.below(3), after: truth.last)
      for record in made { try record.bytes.withRaw { (raw) throws in try frame.append(stored: raw) } }
      try flush()
      take(made)
    }
  }

  private mutating func sync() throws {
    let floor = max(truth.chosen, truth.base.slot.rawValue)
    let start = floor + UInt64(randomness.below(Int(truth.last.slot.rawValue - floor) + 1))
    let before = try #require(truth.position(start))
    let ballot = LogBallot(epoch: 1, round: truth.promised.round + 1, priority: 0, node: 2)
    truth.promised = ballot
    let made = records(1 + randomness.below(4), after: before)
    let end = try #require(made.last).position
    let isWhole = randomness.oneIn(2)
    frame.append(.syncBegin(SyncBegin(ballot: ballot, before: before, end: end.slot, endChain: end.chain)))
    for record in made {
      if !isWhole { try flush() }
      try record.bytes.withRaw { (raw) throws in try frame.append(stored: raw) }
    }
    if !isWhole { try flush() }
    // Sometimes it comes to nothing.
    if !isWhole, randomness.oneIn(5) {
      frame.append(.syncAbort)
      truth.promised = log.state.promised
      return try flush()
    }
    frame.append(.syncEnd(ballot: ballot, end: end.slot, endChain: end.chain))
    try flush()
    truth.records = truth.records.filter { $0.key <= start }
    truth.last = before
    take(made)
    truth.accepted = ballot
  }

  private mutating func install(keeping: Bool) throws {
    let point: LogPosition
    if keeping {
      let above = Int(truth.last.slot.rawValue - truth.base.slot.rawValue)
      point = try #require(truth.position(truth.base.slot.rawValue + 1 + UInt64(randomness.below(above))))
    } else {
      point = LogPosition(
        slot: Slot(truth.last.slot.rawValue + UInt64(randomness.below(5))),
        chain: Hash128(low: randomness.next(), high: 7), version: truth.last.version.advanced(by: 9))
    }
    try log.install(CheckpointMark(position: point, manifest: 1), keepsLog: keeping)
    truth.base = point
    truth.chosen = max(truth.chosen, point.slot.rawValue)
    if !keeping { truth.last = point }
    truth.records = truth.records.filter { keeping && $0.key > point.slot.rawValue }
    if randomness.oneIn(2) { try log.truncate(through: point.slot) }
  }
}

/// A log that goes around damage and is repaired by copies; and one that begins behind a checkpoint.
@Suite struct RepairTests {
  static func options(_ policy: DamagePolicy = .report) -> LogOptions {
    var options = smallOptions(segment: 10 * 4096, first: 6 * 4096)
    options.onDamage = policy
    return options
  }

  func history(_ seed: UInt64, steps: Int, mutations: LogMutations = []) throws -> (SimulatedDisk, LogTruth) {
    let disk = SimulatedDisk(seed: seed)
    // Where the end is noted nowhere but in the last two frames, damage to both of them passes for a torn tail.
    let isClosed = seed % 2 == 0
    let (copy, truth): (SimulatedDisk?, LogTruth) = try withLog(disk, Self.options(), mutations) { log in
      var history = LogHistory(log, seed: seed)
      for _ in 0..<steps { try history.step() }
      try log.seal()
      return isClosed ? (nil, history.truth) : (disk.copy(), history.truth)
    }
    return (copy ?? disk, truth)
  }

  /// What is wrong with a log beside the truth: nothing but damaged records may be missing, and none may be another.
  func compare(_ log: Log, _ truth: LogTruth, _ what: String) throws -> String? {
    let state = log.state
    guard state.promised >= truth.promised, state.accepted == truth.accepted else {
      return "\(what): ballots \(state.promised), \(state.accepted) after \(truth.promised), \(truth.accepted)"
    }
    if state.last.slot < truth.last.slot, state.isTailCertain {
      return "\(what): vouches for slot \(state.last.slot.rawValue) of \(truth.last.slot.rawValue)"
    }
    if state.last.slot > truth.last.slot { return "\(what): slot \(state.last.slot.rawValue) never was" }
    if state.last.slot.rawValue < truth.chosen, state.isTailCertain { return "\(what): lost chosen slots" }
    if truth.position(state.last.slot.rawValue) != state.last, state.last.slot > truth.base.slot {
      return "\(what): ends at \(state.last), not at \(String(describing: truth.position(state.last.slot.rawValue)))"
    }
    var damaged: [Slot] = []
    let reader = try log.reader(after: log.base.slot, decompresses: false)
    while let entry = try reader.nextEntry() {
      switch entry {
      case .damaged(let slot, let chain):
        damaged.append(slot)
        if let chain, slot > truth.base.slot, chain != truth.position(slot.rawValue)?.chain {
          return "\(what): slot \(slot.rawValue) is not the one that was"
        }
      case .record(let record):
        let slot = record.header.slot
        if let next = damaged.last, next.next == slot, log.chain(at: next) == nil {
          return "\(what): the last of a run is not known"
        }
        guard slot > truth.base.slot else { continue }
        if unsafe truth.records[slot.rawValue]?.bytes != [UInt8](record.storedBytes) {
          return "\(what): slot \(slot.rawValue) is another record"
        }
      }
    }
    return damaged == log.damagedSlots ? nil : "\(what): damaged \(damaged) and \(log.damagedSlots)"
  }

  /// Repairs what is damaged from copies, last first.
  func repair(_ log: Log, _ truth: LogTruth) throws {
    let frame = FrameBuffer()
    for slot in log.damagedSlots.reversed() {
      guard let made = truth.records[slot.rawValue] else { continue }
      try made.bytes.withRaw { (raw) throws in try frame.append(repairing: raw) }
      if frame.paddedSizeBytes > 4096 {
        try log.write(frame)
        frame.removeAll()
      }
    }
    if !frame.isEmpty { try log.write(frame) }
  }

  /// Damages some of what a history wrote, opens, repairs, goes on, opens again. Nil: nothing wrong; else what is.
  func play(_ seed: UInt64, mutations: LogMutations = []) throws -> (problem: String?, refused: Bool, damaged: Int) {
    let (disk, truth) = try history(seed, steps: 10 + Int(seed % 50), mutations: mutations)
    var randomness = SeededRandomness(seed: seed ^ 0xDA_3A6E)
    let segments = disk.paths.filter { $0.hasSuffix(".log") }
    for _ in 0...(seed % 2 == 0 ? randomness.below(3) : 0) {
      let path = segments[randomness.below(segments.count)]
      let blocks = (disk.bytes(of: path)?.count ?? 0) / 4096
      let block = randomness.oneIn(8) ? 0 : 1 + randomness.below(blocks - 1)
      disk.damage(
        path, at: block * 4096 + randomness.below(4000), with: (0..<90).map { _ in UInt8(randomness.below(256)) })
    }
    let log: Log
    do { log = try Log.open(dbPath, disk: disk, options: Self.options(), mutations: mutations) } catch {
      guard case .corrupt = error else { return ("seed \(seed): \(error)", true, 0) }
      return (nil, true, 0)
    }
    defer { try? log.close() }
    let count = log.damagedSlots.count
    if let problem = try compare(log, truth, "seed \(seed), opened") { return (problem, false, count) }
    try repair(log, truth)
    if log.damagedSlots.contains(where: { truth.records[$0.rawValue] != nil }) {
      return ("seed \(seed): not repaired: \(log.damagedSlots)", false, count)
    }
    if let problem = try compare(log, truth, "seed \(seed), repaired") { return (problem, false, count) }
    let end = log.state.last
    var writer = TestWriter(log)
    try writer.append([[1, 2, 3]])
    let after = disk.copy()
    return try withLog(after, Self.options(), mutations) { log in
      guard log.state.last.slot == end.slot.next else { return ("seed \(seed): the end moved", false, count) }
      var truth = truth
      truth.last = log.state.last
      let reader = try log.reader(after: end.slot, decompresses: false)
      let record = try #require(try reader.nextRecord())
      truth.records[truth.last.slot.rawValue] = unsafe .init(position: truth.last, bytes: [UInt8](record.storedBytes))
      truth.chosen = 0
      return (try compare(log, truth, "seed \(seed), opened again"), false, count)
    }
  }

  @Test func damageIsReportedAndRepaired() throws {
    var refused = 0
    var damaged = 0
    let seeds = seedCount(240)
    for seed in 1...seeds {
      let result = try play(seed)
      #expect(result.problem == nil, "\(result.problem ?? "")")
      refused += result.refused ? 1 : 0
      damaged += result.damaged
    }
    #expect(refused * 4 < seeds, "\(refused) of \(seeds) not opened")
    #expect(damaged > Int(seeds) / 4)
  }

  @Test(arguments: [LogMutations.ignoresLostRewrites, .vouchesForDamagedEnd, .keepsBallotsInLogAlone])
  func mutantsAreFound(mutation: LogMutations) throws {
    let found = try (1...600 as ClosedRange<UInt64>).first { try play($0, mutations: mutation).problem != nil }
    #expect(found != nil)
  }
}
