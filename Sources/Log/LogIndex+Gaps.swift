// What a log adds up to where frames are missing from the middle of it.
//
// A frame says of those before it whether a sync was under way and how often the log's end was rewritten
// (`FrameHistory`). So there are three kinds of gap, and what comes next closes it:
//
//   appends     Nothing was rewritten. The next record tells how many are missing, and the last one's chain.
//   rewritten   Something took the place of an unknown part of the log's end. If the next record continues a record that
//               is here, so does the log: the chain proves all before it. Otherwise only what was known to be chosen is
//               believed, the rest up to that record counts as damaged.
//   orphanSync  A sync whose beginning is missing. Its records belong to the log only once its end is seen; then the log
//               is `rewritten`.
//
// A segment's header settles everything: it says what the log added up to there. Where nothing comes any more, what may
// have been rewritten is cut off, and the end counts as uncertain.

internal import Encoding

/// See the head of this file.
enum Gap: Hashable, Sendable {
  case none
  case appends
  case rewritten
  case orphanSync(Underneath)

  /// The gap that is left if the sync comes to nothing.
  enum Underneath: Hashable, Sendable { case appends, rewritten }

  init(_ underneath: Underneath) { self = underneath == .appends ? .appends : .rewritten }
}

extension LogIndex {
  /// More records than this cannot have been lost in so few bytes.
  static func recordLimit(lostSizeBytes: UInt64) -> UInt64 { lostSizeBytes / UInt64(RecordHeader.sizeBytes) + 1 }

  /// Frames are missing; `history` is what the next one says of them.
  mutating func openGap(_ history: FrameHistory, lostSizeBytes: UInt64) {
    hadDamage = true
    gapRecordLimit += Self.recordLimit(lostSizeBytes: lostSizeBytes)
    head.pendingRepair = nil
    if gap == .none && gapBeforeSync == .none { chosenBeforeGap = head.state.chosenHint }
    let wasRewritten = history.rewrites != head.state.rewrites || gap == .rewritten || gap == .orphanSync(.rewritten)
    if history.isInSync {
      if head.pendingSync == nil || wasRewritten {
        giveUpSync()
        gap = .orphanSync(wasRewritten ? .rewritten : .appends)
      } else if gap == .none {
        gap = .appends
      }
    } else {
      giveUpSync()
      gap = wasRewritten ? .rewritten : .appends
    }
    if !ignoresRewrites { head.state.rewrites = history.rewrites } else if gap == .rewritten { gap = .appends }
    head.state.isTailCertain = history.isTailCertain
  }

  private mutating func giveUpSync() {
    head.pendingSync = nil
    staged.removeAll()
    pendingSyncSegment = nil
    gapBeforeSync = .none
  }

  /// Takes what `item` says about what is missing before it.
  /// - Returns: whether the item itself counts.
  mutating func bridge(to item: LogItem) throws(LogInconsistency) -> Bool {
    if head.pendingRepair != nil { return true }
    switch item {
    case .record(let header, _, _): return try bridge(to: header)
    case .control(.syncBegin(let begin), _):
      switch gap {
      case .appends, .orphanSync(.appends):
        if begin.before.slot > head.state.last.slot { try fill(to: begin.before) }
        // Should the sync come to nothing, the records between the old end and the gap are still missing.
        gapBeforeSync = .appends
      default:
        try resolve(begin.before)
        gapBeforeSync = .rewritten
      }
      head.pendingSync = nil
      gap = .none
      return true
    case .control(.syncEnd(let ballot, let end, let endChain), _):
      if case .orphanSync = gap {
      } else if head.pendingSync != nil, head.pendingLast.slot == end, head.pendingLast.chain == endChain {
        return true
      }
      // The log ends as this sync says; what is between is told by what comes next.
      giveUpSync()
      head.state.accepted = max(head.state.accepted, ballot)
      head.state.promised = max(head.state.promised, ballot)
      head.noteRewrite()
      gap = .rewritten
      return false
    case .control(.syncAbort, _):
      if case .orphanSync(let underneath) = gap {
        gap = Gap(underneath)
      } else if head.pendingSync != nil {
        giveUpSync()
      }
      return false
    case .control(.install(let mark, let keepsLog), _):
      giveUpSync()
      if keepsLog {
        if gap == .rewritten || gap == .orphanSync(.rewritten) {
          try resolve(mark.position)
        } else if mark.position.slot > head.state.last.slot {
          try fill(to: mark.position)
        }
      }
      // Records behind the checkpoint may still be missing.
      gap = keepsLog ? .appends : .none
      return true
    case .control: return true
    }
  }

  private mutating func bridge(to header: RecordHeader) throws(LogInconsistency) -> Bool {
    let before = LogPosition(
      slot: Slot(header.slot.rawValue &- 1), chain: header.previousChain,
      version: Version(header.firstVersion.rawValue &- 1))
    guard header.slot.rawValue > 0, header.firstVersion.rawValue > 0 else {
      throw LogInconsistency(reason: "a record of slot \(header.slot.rawValue)")
    }
    switch gap {
    case .orphanSync: return false
    case .appends where head.pendingSync != nil && before.slot < head.tail.slot:
      // Another sync than the one whose beginning is here.
      giveUpSync()
      gap = .orphanSync(.appends)
      return false
    case .appends: if before.slot > head.tail.slot { try fill(to: before) }
    case .rewritten: try resolve(before)
    case .none: break
    }
    gap = .none
    return true
  }

  /// Damaged records from the tail to `position`.
  private mutating func fill(to position: LogPosition) throws(LogInconsistency) {
    let tail = head.tail
    let count = position.slot.rawValue - tail.slot.rawValue
    guard count <= gapRecordLimit, position.version >= tail.version else {
      throw LogInconsistency(reason: "slot \(position.slot.rawValue) after slot \(tail.slot.rawValue)")
    }
    gapRecordLimit -= count
    for number in 1...count {
      let isLast = number == count
      let place = RecordPlace.damaged(
        chain: isLast ? position.chain : .zero, lastVersion: isLast ? position.version : tail.version)
      if head.pendingSync != nil {
        staged.append((place, 0, .zero))
      } else {
        places.append(place)
        damaged.append(Slot(tail.slot.rawValue + number))
      }
    }
    if head.pendingSync != nil { head.pendingLast = position } else { head.state.last = position }
  }

  /// The true log before here ends at `position`.
  private mutating func resolve(_ position: LogPosition) throws(LogInconsistency) {
    guard position.slot >= head.base.slot else {
      // It was cut back to before what the files still hold: it begins here now.
      forget(after: .zero, oldBase: head.base.slot)
      head.base = position
      head.state.last = position
      return
    }
    if position.slot <= head.state.last.slot, chain(at: position.slot) == position.chain {
      forget(after: position.slot, oldBase: head.base.slot)
      head.state.last = position
      return
    }
    cut(to: trusted(below: position.slot))
    guard position.slot > head.state.last.slot else {
      throw LogInconsistency(reason: "slot \(position.slot.rawValue) is of another history than what was chosen")
    }
    // These may have been here before, in another version.
    gapRecordLimit += UInt64(places.count - dropped) + 1 + cutCount
    try fill(to: position)
  }

  /// The last slot, below `bound`, that no rewriting can have touched: what was known to be chosen stays.
  private func trusted(below bound: Slot) -> Slot {
    let chosen = gap == .none ? head.state.chosenHint : chosenBeforeGap
    var slot = max(head.base.slot, min(chosen, min(head.state.last.slot, Slot(bound.rawValue &- 1))))
    while slot > head.base.slot, chain(at: slot) == nil { slot = Slot(slot.rawValue - 1) }
    return slot
  }

  private mutating func cut(to slot: Slot) {
    cutCount += head.state.last.slot.rawValue - slot.rawValue
    let place = place(of: slot)
    forget(after: slot, oldBase: head.base.slot)
    head.state.last =
      place.map { LogPosition(slot: slot, chain: $0.chain, version: $0.lastVersion) } ?? head.base
  }

  /// A segment's header says what the log adds up to here, after frames were missing.
  mutating func settle(_ state: LogState, lostSizeBytes: UInt64) throws(LogInconsistency) {
    hadDamage = true
    gapRecordLimit += Self.recordLimit(lostSizeBytes: lostSizeBytes)
    let sync = (head.pendingSync, head.pendingLast)
    head.pendingSync = nil
    let isSameHistory = ignoresRewrites || (state.rewrites == head.state.rewrites && (gap == .none || gap == .appends))
    if isSameHistory && state.last.slot > head.state.last.slot {
      try fill(to: state.last)
    } else {
      try resolve(state.last)
    }
    head.state = state
    (head.pendingSync, head.pendingLast) = sync
    if gap == .appends || gap == .rewritten { gap = .none }
  }

  /// Nothing comes any more. `isEndDamaged`: frames are missing there; `mayBeRewritten`: one of them raised a ballot.
  /// - Returns: whether something must be written to make the log what it is taken for.
  mutating func finish(isEndDamaged: Bool, mayBeRewritten: Bool) -> Bool {
    var wasCut = false
    if gap == .rewritten || gap == .orphanSync(.rewritten) || (isEndDamaged && mayBeRewritten) {
      let last = head.state.last.slot
      if !ignoresRewrites { cut(to: trusted(below: last.next)) }
      wasCut = true
    }
    let needsCut = wasCut || gap != .none || isEndDamaged
    if needsCut {
      hadDamage = true
      giveUpSync()
      head.state.isTailCertain = false
    }
    gap = .none
    return needsCut
  }
}
