// What the log adds up to, as a value: items in, state out. Recovery and appending go through the same function, so that
// what a running node believes is what it will find after a crash.
//
// 1. Slots and versions are dense; each record names the chain value of the one before.
// 2. promised >= accepted, and neither ever falls.
// 3. A sync's records are held aside until its SYNC_END and then replace the suffix at once; otherwise they never were.
// 4. A damaged record keeps its place in the order, without a place in a file. Of a run of them the last one's chain is
//    always known (the record behind it, or a segment's header, tells). LogIndex+Gaps.swift: how frames come to be missing.

internal import Encoding

/// An item that cannot follow what is there.
struct LogInconsistency: Error { var reason: String }

/// Where a record is.
struct RecordPlace: Sendable {
  var segment: UInt64
  /// Of the record's header, from the start of the file.
  var offset: UInt64
  var sizeBytes: Int
  /// Zero where the record is damaged and nothing proves what it was.
  var chain: Hash128
  /// The last version that is committed with it. Of a damaged record known if the chain is.
  var lastVersion: Version

  var isDamaged: Bool { sizeBytes == 0 }

  /// A record that cannot be read.
  static func damaged(chain: Hash128, lastVersion: Version) -> RecordPlace {
    RecordPlace(segment: 0, offset: 0, sizeBytes: 0, chain: chain, lastVersion: lastVersion)
  }
}

/// The state and, while a new leader's log is being accepted, that log's end.
struct LogHead: Sendable {
  var state = LogState()
  /// The position before the first record that is there.
  var base = LogPosition.zero
  var pendingSync: SyncBegin?
  /// The last record of the pending sync.
  var pendingLast = LogPosition.zero
  /// The next record takes the place of a damaged copy of itself.
  var pendingRepair: Slot?
  /// Whether a repair is about to be written, rather than found.
  var mustProve = false

  enum Effect {
    case none, append, stage, install(after: LogPosition), discard
    /// The log begins anew behind its base, without records.
    case restart
    /// The log begins behind its base; the records behind that stay.
    case rebase
    case repair
  }

  /// Where the next record goes.
  var tail: LogPosition { pendingSync == nil ? state.last : pendingLast }

  /// Takes one item. `chain` gives the chain value of a slot in the log, or nil where the slot is not there.
  mutating func apply(_ item: LogItem, chain: (Slot) -> Hash128?) throws(LogInconsistency) -> Effect {
    switch item {
    case .record(let header, let recordChain, _):
      if let slot = pendingRepair {
        pendingRepair = nil
        return try checkRepair(of: slot, header, recordChain, chain) ? .repair : .none
      }
      try checkFollows(header)
      let position = LogPosition(slot: header.slot, chain: recordChain, version: header.lastVersion)
      if pendingSync != nil {
        pendingLast = position
        return .stage
      }
      state.last = position
      note(header)
      return .append
    case .control(let control, _):
      guard pendingRepair == nil else { throw LogInconsistency(reason: "a repair without its record") }
      return try apply(control, chain: chain)
    }
  }

  /// Whether the record may stand for the damaged one at `slot`: everything known about it must agree, and when it is
  /// written something must be known; later that may be damaged in its turn. What is no longer (or not yet) part of the
  /// log needs no repair.
  private func checkRepair(
    of slot: Slot, _ header: RecordHeader, _ recordChain: Hash128, _ chain: (Slot) -> Hash128?
  ) throws(LogInconsistency) -> Bool {
    guard header.slot == slot else { throw LogInconsistency(reason: "a repair with another slot's record") }
    guard slot > base.slot, slot <= state.last.slot else { return false }
    let known = chain(slot)
    let before = chain(Slot(slot.rawValue - 1))
    let agrees = known ?? recordChain == recordChain && before ?? header.previousChain == header.previousChain
    guard mustProve else { return agrees }
    guard agrees, known ?? before != nil else {
      throw LogInconsistency(reason: "nothing proves that this is the record of slot \(slot.rawValue)")
    }
    return true
  }

  private mutating func note(_ header: RecordHeader) {
    state.leaderTime = max(state.leaderTime, header.leaderTime)
    state.chosenHint = max(state.chosenHint, header.chosenAtBuild)
  }

  private func checkFollows(_ header: RecordHeader) throws(LogInconsistency) {
    let tail = tail
    guard header.slot == tail.slot.next else {
      throw LogInconsistency(reason: "slot \(header.slot.rawValue) after slot \(tail.slot.rawValue)")
    }
    guard header.previousChain == tail.chain else {
      throw LogInconsistency(reason: "slot \(header.slot.rawValue) continues another history")
    }
    guard header.firstVersion.rawValue == tail.version.rawValue + 1,
      header.firstVersion.rawValue <= Version.latest.rawValue
    else {
      throw LogInconsistency(
        reason: "version \(header.firstVersion.rawValue) after version \(tail.version.rawValue)")
    }
    if let pendingSync, header.slot > pendingSync.end {
      throw LogInconsistency(reason: "slot \(header.slot.rawValue) beyond the end of a sync")
    }
  }

  private mutating func apply(_ control: ControlRecord, chain: (Slot) -> Hash128?) throws(LogInconsistency) -> Effect {
    switch control {
    case .promise(let ballot):
      guard ballot >= state.promised else { throw LogInconsistency(reason: "the promised ballot falls") }
      state.promised = ballot
    case .syncBegin(let begin): return try apply(begin, chain: chain)
    case .syncEnd(let ballot, let end, let endChain): return try finishSync(ballot, end, endChain)
    case .chosen(let slot): state.chosenHint = max(state.chosenHint, slot)
    case .checkpoint(let mark):
      if mark.position.slot > state.checkpoint.position.slot { state.checkpoint = mark }
    case .seal: break
    case .syncAbort:
      pendingSync = nil
      return .discard
    case .install(let mark, let keepsLog): return try install(mark, keepsLog, chain)
    case .repair(let slot): pendingRepair = slot
    case .tail(let isCertain): state.isTailCertain = isCertain
    }
    return .none
  }

  private mutating func install(_ mark: CheckpointMark, _ keepsLog: Bool, _ chain: (Slot) -> Hash128?)
    throws(LogInconsistency) -> Effect
  {
    let position = mark.position
    guard pendingSync == nil else { throw LogInconsistency(reason: "a checkpoint in the middle of a sync") }
    if position.slot > state.checkpoint.position.slot { state.checkpoint = mark }
    state.chosenHint = max(state.chosenHint, position.slot)
    noteRewrite()
    guard keepsLog else {
      // Recovery may come here with a later beginning, if what was before is gone from the files.
      base = position
      state.last = position
      return .restart
    }
    guard position.slot > base.slot else { return .none }
    guard position.slot <= state.last.slot, chain(position.slot) ?? position.chain == position.chain else {
      throw LogInconsistency(reason: "a checkpoint of another history than the records behind it")
    }
    base = position
    return .rebase
  }

  mutating func noteRewrite() { state.rewrites = (state.rewrites + 1) & FrameHistory.rewritesMask }

  /// What a new segment's header says of the sync under way.
  var remainingSync: SyncBegin? {
    pendingSync.map { SyncBegin(ballot: $0.ballot, before: pendingLast, end: $0.end, endChain: $0.endChain) }
  }

  /// What the next frame says about all before it.
  var history: FrameHistory {
    FrameHistory(isInSync: pendingSync != nil, isTailCertain: state.isTailCertain, rewrites: state.rewrites)
  }

  private mutating func apply(_ begin: SyncBegin, chain: (Slot) -> Hash128?) throws(LogInconsistency) -> Effect {
    // Under the ballot already accepted a sync brings what was learned as chosen; that is no vote, so it needs no promise.
    // Nor does one that brings nothing: recovery notes by it where a damaged log now ends.
    guard begin.ballot >= state.accepted,
      begin.ballot >= state.promised || begin.ballot == state.accepted || begin.before.slot == begin.end
    else {
      throw LogInconsistency(reason: "a sync below the promised ballot")
    }
    guard begin.before.slot <= state.last.slot, begin.before.slot <= begin.end else {
      throw LogInconsistency(reason: "a sync that would leave a hole")
    }
    // Below the base the log cannot tell any more; it starts anew with what the sync brings.
    if begin.before.slot >= base.slot, let chain = chain(begin.before.slot), chain != begin.before.chain {
      throw LogInconsistency(reason: "a sync that continues another history")
    }
    pendingSync = begin
    pendingLast = begin.before
    return .discard
  }

  private mutating func finishSync(_ ballot: LogBallot, _ end: Slot, _ endChain: Hash128) throws(LogInconsistency)
    -> Effect
  {
    guard let begin = pendingSync, begin.ballot == ballot, begin.end == end, begin.endChain == endChain else {
      throw LogInconsistency(reason: "the end of a sync that never began")
    }
    guard pendingLast.slot == end, pendingLast.chain == endChain else {
      throw LogInconsistency(reason: "a sync that ends at slot \(pendingLast.slot.rawValue) instead of \(end.rawValue)")
    }
    // If the sync began in a segment that is gone, so are the records before what is left of it.
    if begin.before.slot <= base.slot || begin.before.slot > state.last.slot { base = begin.before }
    state.last = pendingLast
    state.accepted = ballot
    state.promised = max(state.promised, ballot)
    pendingSync = nil
    noteRewrite()
    return .install(after: begin.before)
  }
}

/// The head and where each record is.
struct LogIndex: Sendable {
  var head = LogHead()
  /// Records base.slot + 1 … in order; the first `dropped` entries are gone.
  var places: [RecordPlace] = []
  var dropped = 0
  /// Records of the pending sync, and their headers' times.
  var staged: [(place: RecordPlace, leaderTime: UInt64, chosen: Slot)] = []
  /// The segment that holds the pending sync's beginning.
  var pendingSyncSegment: UInt64?
  /// The slots whose records cannot be read, ascending.
  var damaged: [Slot] = []
  /// Whether there are, or were, damaged records.
  var hadDamage = false
  /// What is not known at this point, since frames are missing.
  var gap = Gap.none
  /// How many records can have been lost in what is damaged, and were not yet accounted for.
  var gapRecordLimit: UInt64 = 0
  /// What was known to be chosen before the gap. What was learned since may be of another history than what is here.
  var chosenBeforeGap = Slot.zero
  /// Records that were cut off because frames were missing.
  var cutCount: UInt64 = 0
  /// A bug for tests (`LogMutations.ignoresLostRewrites`).
  var ignoresRewrites = false
  /// The gap that is there again if the pending sync comes to nothing.
  var gapBeforeSync = Gap.none

  init() {}

  init(startingAt header: SegmentHeader) {
    head.state = header.state
    head.base = header.state.last
    if let sync = header.sync {
      head.pendingSync = sync
      head.pendingLast = sync.before
      pendingSyncSegment = header.sequence
    }
  }

  func place(of slot: Slot) -> RecordPlace? {
    guard slot > head.base.slot, slot <= head.state.last.slot else { return nil }
    return places[position(of: slot)]
  }

  func position(of slot: Slot) -> Int { dropped + Int(slot.rawValue - head.base.slot.rawValue) - 1 }

  func chain(at slot: Slot) -> Hash128? {
    if slot == head.base.slot { return head.base.chain }
    guard let place = place(of: slot), !place.isDamaged || place.chain != .zero else { return nil }
    return place.chain
  }

  /// The chain of the record at `slot` if that is damaged, zero where it is not known; nil if it is not damaged.
  func damagedChain(at slot: Slot) -> Hash128? {
    guard !damaged.isEmpty, let place = place(of: slot), place.isDamaged else { return nil }
    return place.chain
  }

  /// Whether `items` may follow, without taking them.
  func check(_ items: [LogItem]) throws(LogInconsistency) {
    var next = head
    next.mustProve = true
    var repaired: [(slot: Slot, chain: Hash128)] = []
    for item in items {
      // Within one frame a sync may build on records of the same frame, and a repair on the one before.
      let last = next.state.last
      let effect = try next.apply(item) { slot in
        slot == last.slot ? last.chain : repaired.last { $0.slot == slot }?.chain ?? chain(at: slot)
      }
      if case .repair = effect, case .record(let header, let chain, _) = item {
        repaired.append((Slot(header.slot.rawValue - 1), header.previousChain))
        repaired.append((header.slot, chain))
      }
    }
    guard next.pendingRepair == nil else { throw LogInconsistency(reason: "a repair without its record") }
  }

  /// Takes an item of the frame at `offset` of `segment`.
  mutating func apply(_ item: LogItem, segment: UInt64, offset: UInt64) throws(LogInconsistency) {
    if gap != .none, try !bridge(to: item) { return }
    var next = head
    let effect = try next.apply(item) { chain(at: $0) }
    let oldBase = head.base.slot
    head = next
    switch effect {
    case .none: return
    case .discard:
      staged.removeAll(keepingCapacity: true)
      pendingSyncSegment = next.pendingSync == nil ? nil : segment
      if next.pendingSync == nil {
        gap = gapBeforeSync
        gapBeforeSync = .none
      }
    case .restart:
      forget(after: oldBase, oldBase: oldBase)
      gapBeforeSync = .none
    case .rebase:
      dropped += Int(head.base.slot.rawValue - oldBase.rawValue)
      damaged.removeAll { $0 <= head.base.slot }
      compact()
    case .repair:
      if case .record(let header, let chain, let inner) = item {
        repair(header, chain, segment: segment, offset: offset + UInt64(inner))
      }
    case .append:
      if case .record(let header, let chain, let inner) = item {
        places.append(
          RecordPlace(
            segment: segment, offset: offset + UInt64(inner), sizeBytes: header.recordSizeBytes, chain: chain,
            lastVersion: header.lastVersion))
      }
    case .stage:
      if case .record(let header, let chain, let inner) = item {
        let place = RecordPlace(
          segment: segment, offset: offset + UInt64(inner), sizeBytes: header.recordSizeBytes, chain: chain,
          lastVersion: header.lastVersion)
        staged.append((place, header.leaderTime, header.chosenAtBuild))
      }
    case .install(let before):
      forget(after: before.slot, oldBase: oldBase)
      if before.slot > head.base.slot { know(before) }
      for entry in staged {
        places.append(entry.place)
        if entry.place.isDamaged {
          damaged.append(Slot(head.base.slot.rawValue + UInt64(places.count - dropped)))
        }
        head.state.leaderTime = max(head.state.leaderTime, entry.leaderTime)
        head.state.chosenHint = max(head.state.chosenHint, entry.chosen)
      }
      staged.removeAll(keepingCapacity: true)
      pendingSyncSegment = nil
      gapBeforeSync = .none
    }
  }

  /// Forgets the records behind `slot`. `oldBase` is the slot before the first of `places`.
  mutating func forget(after slot: Slot, oldBase: Slot) {
    let kept = slot > oldBase ? Int(slot.rawValue - oldBase.rawValue) : 0
    places.removeLast(max(0, places.count - dropped - kept))
    while let last = damaged.last, last > slot { damaged.removeLast() }
  }

  /// Notes what a damaged record at this position must be.
  mutating func know(_ position: LogPosition) {
    guard position.slot > head.base.slot else { return }
    let index = self.position(of: position.slot)
    guard places.indices.contains(index), places[index].isDamaged else { return }
    places[index].chain = position.chain
    places[index].lastVersion = position.version
  }

  private mutating func repair(_ header: RecordHeader, _ chain: Hash128, segment: UInt64, offset: UInt64) {
    places[position(of: header.slot)] = RecordPlace(
      segment: segment, offset: offset, sizeBytes: header.recordSizeBytes, chain: chain,
      lastVersion: header.lastVersion)
    hadDamage = true
    damaged.removeAll { $0 == header.slot }
    know(
      LogPosition(
        slot: Slot(header.slot.rawValue - 1), chain: header.previousChain,
        version: Version(header.firstVersion.rawValue - 1)))
  }

  /// Notes that the record at `slot` cannot be read any more.
  mutating func markDamaged(_ slot: Slot) {
    guard let place = place(of: slot), !place.isDamaged else { return }
    places[position(of: slot)] = .damaged(chain: place.chain, lastVersion: place.lastVersion)
    hadDamage = true
    damaged.insert(slot, at: damaged.firstIndex { $0 > slot } ?? damaged.count)
  }

  /// Forgets the records in segments up to `segment`, which are about to go; none is behind `greatest`. Records lie in the
  /// order of segments, except those that were repaired: they lie behind, and damaged ones nowhere.
  mutating func drop(throughSegment segment: UInt64, greatest: Slot) {
    var end = dropped
    var next = dropped
    while next < places.count, places[next].segment <= segment || hadDamage {
      if hadDamage && head.base.slot.rawValue + UInt64(next - dropped) >= greatest.rawValue { break }
      next += 1
      if places[next - 1].segment <= segment, !places[next - 1].isDamaged { end = next }
    }
    guard end > dropped else { return }
    let place = places[end - 1]
    head.base = LogPosition(
      slot: Slot(head.base.slot.rawValue + UInt64(end - dropped)), chain: place.chain, version: place.lastVersion)
    dropped = end
    damaged.removeAll { $0 <= head.base.slot }
    compact()
  }

  private mutating func compact() {
    guard dropped > places.count / 2 else { return }
    places.removeFirst(dropped)
    dropped = 0
  }
}
