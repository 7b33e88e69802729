// A replica's disk that is the real log: `Log` over a `SimulatedDisk`, power cuts in the middle of writes included.
//
// What the simulated cluster proposes are real records, whose chain values the log computes. Beside the log stands a
// `ModelStore`: both take every write, and after every recovery what the log found must lie between what was promised to
// be durable and what was submitted. Damage is done to the bytes of the files, frames at a time; amnesia to the superblock.
// What the tables would hold (the newest checkpoint, and where the log begins) is the model's: a manifest that is written
// before the log follows.

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
  private let recordBytes: (Chain) -> [UInt8]?
  private var disk: SimulatedDisk
  /// Nil once the superblock is gone: a node that forgot its vows goes on without a log of its own.
  private var log: Log?
  private var waiting: [(persist: Persist, entries: [Entry])] = []
  private let frame = FrameBuffer(capacitySizeBytes: 8192)
  /// What a completed write made durable: recovery must find at least this.
  private var floor: (promised: Ballot, accepted: Ballot, last: SlotNumber)
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
    self.recordBytes = recordBytes
    self.seed = seed
    self.mutations = mutations
    model = ModelStore(founding: founding, announced: announced)
    var faults = DiskFaults.none
    faults.tearsSectors = true
    disk = SimulatedDisk(seed: seed, faults: faults)
    floor = (.zero, .zero, 0)
    do { log = try openLog() } catch { fail("the log does not open: \(error)") }
  }

  private func fail(_ text: String) { if failure == nil { failure = text } }

  private func openLog() throws(LogError) -> Log {
    var options = LogOptions()
    options.background = false
    options.seed = seed &+ lives
    options.firstSegmentSizeBytes = 48 << 10
    options.segmentSizeBytes = 96 << 10
    options.onDamage = .report
    return try Log.open("db", disk: disk, options: options, mutations: mutations)
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
    noteFloor()
  }

  /// What is durable now; the model must say the same.
  private func noteFloor() {
    guard let log else { return }
    let state = log.state
    floor = (Ballot(state.promised), Ballot(state.accepted), max(state.last.slot.rawValue, model.durableBase))
    let base = model.durableBase
    let damaged = log.damagedSlots.map(\.rawValue).filter { $0 > base }
    if floor.last != model.durableLast || max(floor.promised, founding.promised) != model.durablePromised
      || max(floor.accepted, founding.accepted) != model.durableAccepted || state.isTailCertain != model.isTailCertain
      || damaged != model.damagedSlots
      || (floor.last > base && Chain(state.last.chain) != model.durableEntry(at: floor.last)?.chain)
    {
      fail(
        "log and model differ: \(floor), damaged \(damaged), \(state.isTailCertain), and \(model.durablePromised), "
          + "\(model.durableAccepted), \(model.durableLast), damaged \(model.damagedSlots), \(model.isTailCertain)")
    }
  }

  /// One write, in as many frames as it takes. A replacement's frames count together or not at all.
  private func carryOut(_ persist: Persist, _ entries: [Entry]) throws {
    guard let log else { return }
    let accepted = LogBallot(persist.accepted)
    // A ballot that starts an epoch is below every real one; it need not be noted to be remembered.
    let raises = accepted > log.state.accepted && (persist.accepted.round > 0 || persist.accepted.epoch > 1)
    frame.removeAll()
    switch persist.change {
    case .replace(let slot): try replace(after: LogPosition(slot: Slot(slot), in: log), accepted, entries, log)
    case .none where raises, .append where raises: try replace(after: log.state.last, accepted, entries, log)
    case .none, .append: try put(entries, log)
    case .repair:
      // What follows proves a record, and where that is not known what came before.
      let isEndKnown = entries.last.map { log.chain(at: Slot($0.slot)) != nil } ?? false
      for entry in isEndKnown ? entries.reversed() : entries {
        guard let bytes = recordBytes(entry.chain) else { continue }
        try unsafe bytes.withUnsafeBytes { try unsafe frame.append(repairing: $0) }
        if frame.paddedSizeBytes > 4096 { try flush(log) }
      }
      if raises { noteAccepted(accepted, at: log.state.last) }
    case .install(let checkpoint, let keepingLog):
      // The tables and their manifest are durable; the log follows.
      model.saveCheckpoint(checkpoint)
      try flush(log)
      let mark = CheckpointMark(checkpoint)
      frame.append(.install(mark, keepsLog: keepingLog))
      if raises { noteAccepted(accepted, at: keepingLog ? log.state.last : mark.position) }
    }
    let promised = LogBallot(persist.promised)
    if promised > log.state.promised, promised > accepted || persist.promised.round > 0 || persist.promised.epoch > 1 {
      frame.append(.promise(promised))
    }
    if persist.tailCertain != log.state.isTailCertain { frame.append(.tail(isCertain: persist.tailCertain)) }
    if Slot(persist.chosen) > log.state.chosenHint, !frame.isEmpty { frame.append(.chosen(Slot(persist.chosen))) }
    try flush(log)
  }

  private func replace(after before: LogPosition, _ ballot: LogBallot, _ entries: [Entry], _ log: Log) throws {
    var before = before
    if let first = entries.first, let bytes = recordBytes(first.chain) {
      // Of a damaged record the chain may not be known here; its successor knows it.
      before.chain = unsafe try bytes.withUnsafeBytes { unsafe try RecordHeader(from: $0).previousChain }
    }
    let end = entries.last.map { (Slot($0.slot), Hash128($0.chain)) } ?? (before.slot, before.chain)
    frame.append(.syncBegin(SyncBegin(ballot: ballot, before: before, end: end.0, endChain: end.1)))
    try flush(log)
    try put(entries, log)
    frame.append(.syncEnd(ballot: ballot, end: end.0, endChain: end.1))
  }

  /// Raises `accepted` without a record.
  private func noteAccepted(_ ballot: LogBallot, at last: LogPosition) {
    frame.append(.syncBegin(SyncBegin(ballot: ballot, before: last, end: last.slot, endChain: last.chain)))
    frame.append(.syncEnd(ballot: ballot, end: last.slot, endChain: last.chain))
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

  func truncate(_ checkpoint: Checkpoint) {
    // The manifest says first where the log begins; then segments go.
    model.truncate(checkpoint)
    do { try log?.truncate(through: Slot(checkpoint.point.slot)) } catch { fail("truncating failed: \(error)") }
  }

  func saveCheckpoint(_ checkpoint: Checkpoint) { model.saveCheckpoint(checkpoint) }

  // MARK: Power cuts and damage

  func crash(_ dice: inout Dice) {
    guard log != nil else { return model.crash(&dice) }
    // The power may fail in the middle of what waits.
    let cut = dice.below(2 + 2 * waiting.count)
    // Records learned as chosen take the place of others under the same ballot, and a checkpoint that of all; the log may
    // be shorter then.
    let mayShorten = waiting.contains {
      switch $0.persist.change {
      case .replace: $0.persist.accepted == floor.accepted
      case .install: true
      case .none, .append, .repair: false
      }
    }
    disk.crash(atOperation: disk.operationCount + cut)
    for write in waiting {
      do { try carryOut(write.persist, write.entries) } catch { break }
    }
    disk.crash()
    waiting.removeAll()
    model.dropWaiting()
    reopen(dice.next(), mayShorten: mayShorten, isDamaged: false)
  }

  private func reopen(_ diskSeed: UInt64, mayShorten: Bool, isDamaged: Bool) {
    log = nil
    lives += 1
    var faults = DiskFaults.none
    faults.tearsSectors = true
    disk = disk.survivor(seed: diskSeed, faults: faults)
    do {
      let log = try openLog()
      self.log = log
      // What a running node does after 10 ms without a write; before that, a damaged end may pass for a torn one.
      try log.seal()
      try reload(log, mayShorten: mayShorten, isDamaged: isDamaged)
      noteFloor()
    } catch { fail("the log does not open: \(error)") }
  }

  /// The model takes over what the log found.
  private func reload(_ log: Log, mayShorten: Bool, isDamaged: Bool) throws {
    let state = log.state
    let promised = Ballot(state.promised)
    let accepted = Ballot(state.accepted)
    if promised < floor.promised || accepted < floor.accepted {
      fail("recovery lost a ballot: \(promised), \(accepted) after \(floor.promised), \(floor.accepted)")
    }
    if !isDamaged, model.isTailCertain, !state.isTailCertain { fail("an end without damage counts as uncertain") }
    var last = state.last.slot.rawValue
    // A witness has no tables; it knows where its log begins.
    let saved = model.checkpoint.point.slot >= model.durableBase ? model.checkpoint : model.baseCheckpoint
    let there = log.chain(at: Slot(saved.point.slot)).map { Chain($0) }
    let beginsLater = log.base.slot.rawValue > saved.point.slot
    if beginsLater || saved.point.slot > last
      || (there != saved.point.chain && !log.damagedSlots.contains(Slot(saved.point.slot)))
    {
      // The tables are ahead of the log, or of another history: it begins anew behind them.
      frame.removeAll()
      frame.append(.install(CheckpointMark(saved), keepsLog: false))
      if beginsLater { frame.append(.tail(isCertain: false)) }
      try flush(log)
      model.restart(at: saved)
      last = saved.point.slot
    } else if accepted == floor.accepted, !mayShorten, last < floor.last, log.state.isTailCertain {
      fail("recovery lost slot \(floor.last) and vouches for slot \(last)")
    }
    var entries: [Entry] = []
    var damaged: [SlotNumber] = []
    if log.base.slot.rawValue > model.durableBase { model.truncate(saved) }
    let start = model.baseCheckpoint
    if start.point.slot > log.base.slot.rawValue, log.chain(at: Slot(start.point.slot)) == nil {
      // What is damaged before the log's beginning does not matter, except that it must be known what follows on what.
      try log.install(CheckpointMark(start), keepsLog: true)
    }
    let reader = try log.reader(after: Slot(min(model.durableBase, last)))
    while let entry = try reader.nextEntry() {
      switch entry {
      case .record(let record):
        let found = Entry(record)
        if isDamaged, let was = model.durableEntry(at: found.slot), was.chain != found.chain {
          fail("damage made slot \(found.slot) another record")
        }
        entries.append(found)
      case .damaged(let slot, let chain):
        damaged.append(slot.rawValue)
        guard let was = model.durableEntry(at: slot.rawValue) else {
          return fail("slot \(slot.rawValue) is damaged and never was")
        }
        if let chain, Chain(chain) != was.chain { fail("damage made slot \(slot.rawValue) another record") }
        entries.append(was)
      }
    }
    model.adopt(
      promised: max(founding.promised, promised), accepted: max(founding.accepted, accepted),
      chosen: state.chosenHint.rawValue, entries: entries, damaged: damaged,
      tailCertain: log.state.isTailCertain)
  }

  /// Spoils the frames that hold the record, and with `tail` all behind them but the last, which is a SEAL.
  func damage(slot: SlotNumber, tail: Bool) {
    guard let log, slot > model.durableBase, slot <= model.durableLast, let entry = model.durableEntry(at: slot) else {
      return model.damage(slot: slot, tail: tail)
    }
    do {
      _ = log
      self.log = nil
      var places: [(path: String, offset: UInt64)] = []
      var isBehind = false
      for file in try LogInspection.files("db", disk: disk) {
        try LogInspection.frames(of: file, disk: disk) { frame in
          guard frame.header != nil else { return true }
          let holds = frame.items.contains {
            if case .record(_, let chain, _) = $0.item { Chain(chain) == entry.chain } else { false }
          }
          isBehind = isBehind || holds
          if holds || (tail && isBehind) { places.append((file.path, frame.offset)) }
          return true
        }
      }
      if tail, places.count > 1 { places.removeLast() }
      for place in places { disk.flip(place.path, at: Int(place.offset) + 70) }
      reopen(seed &+ slot &* 31, mayShorten: false, isDamaged: true)
    } catch { fail("the log cannot be inspected: \(error)") }
  }

  /// Loses three of the superblock's four copies: the log must refuse to open.
  func forgetBallots() {
    model.forgetBallots()
    guard log != nil else { return }
    log = nil
    for copy in 0..<3 { disk.flip("db/superblock", at: copy * 4096 + 130) }
    do {
      _ = try openLog()
      fail("the log opens without a superblock")
    } catch {
      if case .corrupt = error { return }
      fail("the log refuses for another reason than its superblock: \(error)")
    }
  }

  func recover() -> Recovered { model.recover() }

  // MARK: What the model knows

  var durablePromised: Ballot { model.durablePromised }
  var durableAccepted: Ballot { model.durableAccepted }
  var durableLast: SlotNumber { model.durableLast }
  var durableBase: SlotNumber { model.durableBase }
  func durableEntry(at slot: SlotNumber) -> Entry? { model.durableEntry(at: slot) }
  var checkpoint: Checkpoint { model.checkpoint }
  var isDamaged: Bool { model.isDamaged }
}

extension Hash128 {
  init(_ chain: Chain) { self.init(low: chain.low, high: chain.high) }
}

extension Chain {
  init(_ hash: Hash128) { self.init(high: hash.high, low: hash.low) }
}

extension LogPosition {
  /// The position of a slot in a log without versions.
  fileprivate init(slot: Slot, in log: Log) {
    self.init(slot: slot, chain: log.chain(at: slot) ?? .zero, version: .zero)
  }
}

extension CheckpointMark {
  fileprivate init(_ checkpoint: Checkpoint) {
    self.init(
      position: LogPosition(
        slot: Slot(checkpoint.point.slot), chain: Hash128(checkpoint.point.chain), version: .zero), manifest: 0)
  }
}

extension Entry {
  fileprivate init(_ record: LogRecord) {
    let kind: EntryKind =
      switch record.header.type {
      case .epochStart: .leadership
      case .configurationStop: .stop
      default: .command
      }
    self.init(
      slot: record.header.slot.rawValue, chain: Chain(record.chain), origin: Ballot(record.header.origin),
      sizeBytes: UInt32(record.header.recordSizeBytes), kind: kind)
  }
}
