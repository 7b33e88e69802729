// A replica's disk that is the real log: `Log` over a `SimulatedDisk`, power cuts in the middle of writes included.
//
// What the simulated cluster proposes are real records, whose chain values the log computes. Beside the log stands a
// `ModelStore`: both take every write, and after every recovery what the log found must lie between what was promised to
// be durable and what was submitted. The log of this version refuses to open when it is damaged, and cannot restart
// behind a checkpoint; damage, amnesia and checkpoints are simulated over the model alone.

import Encoding
import Log
import Paxos
import Platform

/// Makes records as a leader does, and keeps their bytes by chain.
struct RecordForge {
  private var builder = RecordBuilder()
  private(set) var bytes: [UInt64: [UInt8]] = [:]

  mutating func make(
    slot: SlotNumber, previous: Chain, origin: Ballot, kind: EntryKind, payload: [UInt8]
  ) -> Chain {
    let type: RecordType =
      switch kind {
      case .command: .transactionGroup
      case .leadership: .epochStart
      case .stop: .configurationStop
      }
    var header = RecordHeader(
      type: type, slot: Slot(slot), origin: LogBallot(origin), firstVersion: Version(1), transactionCount: 0,
      leaderTime: 0, safeVersion: .zero, chosenAtBuild: .zero,
      previousChain: Hash128(low: previous.low, high: previous.high))
    var room = [UInt8](repeating: 0, count: RecordBuilder.bound(payload.count))
    let chain = unsafe room.withUnsafeMutableBytes { memory in
      unsafe payload.withUnsafeBytes { unsafe builder.build(&header, payload: $0, into: memory) }
    }
    room.removeLast(room.count - header.recordSizeBytes)
    bytes[chain.low] = room
    return Chain(high: chain.high, low: chain.low)
  }
}

extension LogBallot {
  init(_ ballot: Ballot) {
    self.init(epoch: ballot.epoch, round: ballot.round, priority: ballot.priority, node: ballot.node.rawValue)
  }
}

extension Ballot {
  init(_ ballot: LogBallot) {
    self.init(epoch: ballot.epoch, round: ballot.round, priority: ballot.priority, node: NodeID(ballot.node))
  }
}

/// The real log as a replica's store.
final class LogStore: ReplicaStore {
  private let model: ModelStore
  private let founding: Recovered
  private let announced: (Chain) -> Configuration?
  private let recordBytes: (Chain) -> [UInt8]?
  private var disk: SimulatedDisk
  private var log: Log?
  private var waiting: [(persist: Persist, entries: [Entry])] = []
  private let frame = FrameBuffer(capacitySizeBytes: 8192)
  /// What a completed write made durable: recovery must find at least this.
  private var floor: (promised: Ballot, accepted: Ballot, last: SlotNumber, chain: Chain)
  /// The first thing that went wrong.
  private(set) var failure: String?
  private var lives: UInt64 = 0
  private let seed: UInt64
  private let mutations: LogMutations

  init(
    founding: Recovered, seed: UInt64, mutations: LogMutations, announced: @escaping (Chain) -> Configuration?,
    recordBytes: @escaping (Chain) -> [UInt8]?
  ) {
    self.founding = founding
    self.announced = announced
    self.recordBytes = recordBytes
    self.seed = seed
    self.mutations = mutations
    model = ModelStore(founding: founding, announced: announced)
    var faults = DiskFaults.none
    faults.tearsSectors = true
    disk = SimulatedDisk(seed: seed, faults: faults)
    floor = (.zero, .zero, 0, .zero)
    openLog()
  }

  private func fail(_ text: String) { if failure == nil { failure = text } }

  private func openLog() {
    var options = LogOptions()
    options.background = false
    options.seed = seed &+ lives
    options.firstSegmentSizeBytes = 64 << 10
    options.segmentSizeBytes = 256 << 10
    do { log = try Log.open("db", disk: disk, options: options, mutations: mutations) } catch {
      fail("the log does not open: \(error)")
    }
  }

  // MARK: Writes

  func submit(_ persist: Persist, entries: ArraySlice<Entry>) {
    waiting.append((persist, Array(entries)))
    model.submit(persist, entries: entries)
  }

  func complete(through sequence: UInt64) {
    while let write = waiting.first, write.persist.token.sequence <= sequence {
      waiting.removeFirst()
      do { try carryOut(write.persist, write.entries) } catch { return fail("a write failed: \(error)") }
    }
    model.complete(through: sequence)
    guard let log else { return }
    floor = (
      Ballot(log.state.promised), Ballot(log.state.accepted), log.state.last.slot.rawValue,
      Chain(high: log.state.last.chain.high, low: log.state.last.chain.low)
    )
    if floor.last != model.durableLast || max(floor.promised, founding.promised) != model.durablePromised
      || max(floor.accepted, founding.accepted) != model.durableAccepted
      || (floor.last > 0 && floor.chain != model.durableEntry(at: floor.last)?.chain)
    {
      fail(
        "log and model differ: \(floor) and \(model.durablePromised), \(model.durableAccepted), \(model.durableLast)")
    }
  }

  /// One write, in as many frames as it takes. A replacement's frames count together or not at all.
  private func carryOut(_ persist: Persist, _ entries: [Entry]) throws {
    guard let log else { return }
    let state = log.state
    let promised = LogBallot(persist.promised)
    let accepted = LogBallot(persist.accepted)
    var replaces = false
    var before = state.last
    if case .replace(let slot) = persist.change {
      replaces = true
      before = LogPosition(slot: Slot(slot), chain: log.chain(at: Slot(slot)) ?? .zero, version: .zero)
    }
    // A ballot that starts an epoch is below every real one; it need not be noted to be remembered.
    let raises = accepted > state.accepted && persist.accepted.round > 0
    let starts = accepted > state.accepted && persist.accepted.round == 0 && persist.accepted.epoch > 1
    frame.removeAll()
    if replaces || raises || starts {
      let end = entries.last.map { (Slot($0.slot), Hash128(low: $0.chain.low, high: $0.chain.high)) }
      let last = end ?? (before.slot, before.chain)
      frame.append(.syncBegin(SyncBegin(ballot: accepted, before: before, end: last.0, endChain: last.1)))
      try flush(log)
      try put(entries, log)
      frame.append(.syncEnd(ballot: accepted, end: last.0, endChain: last.1))
    } else {
      try put(entries, log)
    }
    if promised > max(log.state.promised, replaces || raises || starts ? accepted : .zero) {
      frame.append(.promise(promised))
    }
    if Slot(persist.chosen) > state.chosenHint, !frame.isEmpty { frame.append(.chosen(Slot(persist.chosen))) }
    try flush(log)
  }

  private func put(_ entries: [Entry], _ log: Log) throws {
    for entry in entries {
      guard let bytes = recordBytes(entry.chain) else { continue }
      try unsafe bytes.withUnsafeBytes { try unsafe frame.append(stored: $0) }
      if frame.paddedSizeBytes > 4096 { try flush(log) }
    }
  }

  private func flush(_ log: Log) throws {
    guard !frame.isEmpty else { return }
    try log.write(frame)
    frame.removeAll()
  }

  // MARK: Power cuts

  func crash(_ dice: inout Dice) {
    // The power may fail in the middle of what waits.
    let cut = dice.below(2 + 2 * waiting.count)
    // Records learned as chosen take the place of others under the same ballot; the log may be shorter then.
    let mayShorten = waiting.contains {
      if case .replace = $0.persist.change { $0.persist.accepted == floor.accepted } else { false }
    }
    disk.crash(atOperation: disk.operationCount + cut)
    for write in waiting {
      do { try carryOut(write.persist, write.entries) } catch { break }
    }
    disk.crash()
    log = nil
    waiting.removeAll()
    model.dropWaiting()
    lives += 1
    var faults = DiskFaults.none
    faults.tearsSectors = true
    disk = disk.survivor(seed: dice.next(), faults: faults)
    openLog()
    reload(mayShorten: mayShorten)
  }

  /// The model takes over what the log found.
  private func reload(mayShorten: Bool) {
    let found = readLog()
    if found.promised < floor.promised || found.accepted < floor.accepted {
      fail("recovery lost a ballot: \(found.promised), \(found.accepted) after \(floor.promised), \(floor.accepted)")
    }
    if found.accepted == floor.accepted, !mayShorten, UInt64(found.entries.count) < floor.last {
      fail("recovery lost slot \(floor.last)")
    }
    model.adopt(found)
  }

  private func readLog() -> Recovered {
    var found = founding
    guard let log else { return found }
    found.promised = max(founding.promised, Ballot(log.state.promised))
    found.accepted = max(founding.accepted, Ballot(log.state.accepted))
    do {
      let reader = try log.reader(after: .zero)
      while let record = try reader.nextRecord() {
        let chain = Chain(high: record.chain.high, low: record.chain.low)
        let kind: EntryKind =
          switch record.header.type {
          case .epochStart: .leadership
          case .configurationStop: .stop
          default: .command
          }
        found.entries.append(
          Entry(
            slot: record.header.slot.rawValue, chain: chain, origin: Ballot(record.header.origin),
            sizeBytes: UInt32(record.header.recordSizeBytes), kind: kind))
      }
    } catch { fail("the log cannot be read: \(error)") }
    found.chosen = min(log.state.chosenHint.rawValue, UInt64(found.entries.count))
    return found
  }

  func recover() -> Recovered { model.recover() }

  // MARK: What the model knows

  var durablePromised: Ballot { model.durablePromised }
  var durableAccepted: Ballot { model.durableAccepted }
  var durableLast: SlotNumber { model.durableLast }
  var durableBase: SlotNumber { model.durableBase }
  func durableEntry(at slot: SlotNumber) -> Entry? { model.durableEntry(at: slot) }
  var checkpoint: Checkpoint { model.checkpoint }
  var isDamaged: Bool { false }
  func truncate(_ checkpoint: Checkpoint) {}
  func saveCheckpoint(_ checkpoint: Checkpoint) {}
  func damage(slot: SlotNumber, tail: Bool) {}
  func forgetBallots() {}
}
