// What the log adds up to, as a value: items in, state out. Recovery and appending go through the same function, so that
// what a running node believes is what it will find after a crash.
//
// 1. Slots and versions are dense; each record names the chain value of the one before.
// 2. promised >= accepted, and neither ever falls.
// 3. A sync's records are held aside until its SYNC_END and then replace the suffix at once; otherwise they never were.

internal import Encoding

/// An item that cannot follow what is there.
struct LogInconsistency: Error { var reason: String }

/// Where a record is.
struct RecordPlace: Sendable {
  var segment: UInt64
  /// Of the record's header, from the start of the file.
  var offset: UInt64
  var sizeBytes: Int
  var chain: Hash128
  /// The last version that is committed with it.
  var lastVersion: Version
}

/// The state and, while a new leader's log is being accepted, that log's end.
struct LogHead: Sendable {
  var state = LogState()
  /// The position before the first record that is there.
  var base = LogPosition.zero
  var pendingSync: SyncBegin?
  /// The last record of the pending sync.
  var pendingLast = LogPosition.zero

  enum Effect { case none, append, stage, install(after: LogPosition), discard }

  /// Where the next record goes.
  var tail: LogPosition { pendingSync == nil ? state.last : pendingLast }

  /// Takes one item. `chain` gives the chain value of a slot in the log, or nil where the slot is not there.
  mutating func apply(_ item: LogItem, chain: (Slot) -> Hash128?) throws(LogInconsistency) -> Effect {
    switch item {
    case .record(let header, let chain, _):
      try checkFollows(header)
      let position = LogPosition(slot: header.slot, chain: chain, version: header.lastVersion)
      if pendingSync != nil {
        pendingLast = position
        return .stage
      }
      state.last = position
      note(header)
      return .append
    case .control(let control, _): return try apply(control, chain: chain)
    }
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
    }
    return .none
  }

  private mutating func apply(_ begin: SyncBegin, chain: (Slot) -> Hash128?) throws(LogInconsistency) -> Effect {
    // Under the ballot already accepted a sync brings what was learned as chosen; that is no vote, so it needs no promise.
    guard begin.ballot >= state.accepted, begin.ballot >= state.promised || begin.ballot == state.accepted else {
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
    if begin.before.slot < base.slot { base = begin.before }
    state.last = pendingLast
    state.accepted = ballot
    state.promised = max(state.promised, ballot)
    pendingSync = nil
    return .install(after: begin.before)
  }
}

/// The head and where each record is.
struct LogIndex: Sendable {
  var head = LogHead()
  /// Records base.slot + 1 … in order; the first `dropped` entries are gone.
  private var places: [RecordPlace] = []
  private var dropped = 0
  /// Records of the pending sync, and their headers' times.
  private var staged: [(place: RecordPlace, leaderTime: UInt64, chosen: Slot)] = []
  /// The segment that holds the pending sync's beginning.
  private(set) var pendingSyncSegment: UInt64?

  init() {}

  init(startingAt header: SegmentHeader) {
    head.state = header.state
    head.base = header.state.last
  }

  func place(of slot: Slot) -> RecordPlace? {
    guard slot > head.base.slot, slot <= head.state.last.slot else { return nil }
    return places[dropped + Int(slot.rawValue - head.base.slot.rawValue) - 1]
  }

  func chain(at slot: Slot) -> Hash128? {
    slot == head.base.slot ? head.base.chain : place(of: slot)?.chain
  }

  /// Whether `items` may follow, without taking them.
  func check(_ items: [LogItem]) throws(LogInconsistency) {
    var next = head
    for item in items {
      // Within one frame a sync may build on records of the same frame.
      let last = next.state.last
      _ = try next.apply(item) { slot in slot == last.slot ? last.chain : chain(at: slot) }
    }
  }

  /// Takes an item of the frame at `offset` of `segment`.
  mutating func apply(_ item: LogItem, segment: UInt64, offset: UInt64) throws(LogInconsistency) {
    var next = head
    let effect = try next.apply(item) { chain(at: $0) }
    let oldBase = head.base.slot
    head = next
    switch effect {
    case .none: return
    case .discard:
      staged.removeAll(keepingCapacity: true)
      pendingSyncSegment = next.pendingSync == nil ? nil : segment
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
      let kept = before.slot > oldBase ? Int(before.slot.rawValue - oldBase.rawValue) : 0
      places.removeLast(places.count - dropped - kept)
      for entry in staged {
        places.append(entry.place)
        head.state.leaderTime = max(head.state.leaderTime, entry.leaderTime)
        head.state.chosenHint = max(head.state.chosenHint, entry.chosen)
      }
      staged.removeAll(keepingCapacity: true)
      pendingSyncSegment = nil
    }
  }

  /// Forgets the records in segments up to `segment`, which are about to go. (Records lie in the order of segments.)
  mutating func drop(throughSegment segment: UInt64) {
    while dropped < places.count, places[dropped].segment <= segment {
      let place = places[dropped]
      head.base = LogPosition(slot: head.base.slot.next, chain: place.chain, version: place.lastVersion)
      dropped += 1
    }
    if dropped > places.count / 2 {
      places.removeFirst(dropped)
      dropped = 0
    }
  }
}
