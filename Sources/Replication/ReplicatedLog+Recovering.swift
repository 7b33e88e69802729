internal import Encoding
internal import Log
internal import Paxos

// What a node's log tells its replica when it is started again. Opening the log has read all of it, and noted what the records'
// headers say (`Log.takeRecordNotes`): only records that change the configuration are looked up. Where that was not noted, or
// not of each record, the log is read once more.

extension ReplicatedLog {
  /// What a restarted node's replica begins with.
  static func recover(_ log: Log, _ members: Members, applied: Slot) throws(LogError) -> Recovered {
    guard let base = members.checkpoint else {
      preconditionFailure("the cluster is founded before its log is opened")
    }
    let state = log.state
    var found = Recovered(founding: base.configuration, chain: base.point.chain)
    found.promised = max(found.promised, Ballot(state.promised))
    found.accepted = max(found.accepted, Ballot(state.accepted))
    found.base = base
    found.tailCertain = state.isTailCertain
    found.first = log.base.slot.rawValue + 1
    // Where the log lost its end, the state may be ahead of it: then the log is what counts, and is filled up again.
    found.checkpoint = max(min(applied, state.last.slot).rawValue, base.point.slot)
    let start = Slot(base.point.slot)
    let isStartDamaged = log.damagedSlots.contains(start)
    guard log.base.slot <= start, start <= state.last.slot,
      isStartDamaged || log.chain(at: start).map({ Chain($0) }) == base.point.chain
    else {
      throw .doesNotContinue(
        reason:
          "the log holds slots \(log.base.slot.rawValue + 1) to \(state.last.slot.rawValue) and does not continue "
          + "the point \(base.point.slot) that the list of members names")
    }
    if let summaries = log.takeRecordNotes(after: start) {
      try take(summaries, log, &found)
    } else {
      try readAll(log, after: start, &found)
    }
    found.chosen = min(max(state.chosenHint, applied).rawValue, state.last.slot.rawValue)
    return found
  }

  /// What opening the log noted of its records.
  private static func take(_ summaries: [RecordSummary], _ log: Log, _ found: inout Recovered) throws(LogError) {
    found.entries.reserveCapacity(summaries.count)
    for summary in summaries {
      guard let header = summary.header, let chain = summary.chain, !summary.isDamaged else {
        noteDamaged(summary.slot, summary.chain, &found)
        continue
      }
      let kind = EntryKind(header.type)
      found.entries.append(
        Entry(
          slot: summary.slot.rawValue, chain: Chain(chain), origin: Ballot(header.origin),
          sizeBytes: UInt32(summary.sizeBytes), kind: kind))
      guard kind == .stop else { continue }
      let reader = try log.reader(after: Slot(summary.slot.rawValue - 1), through: summary.slot, decompresses: false)
      if let record = try reader.nextRecord() { noteStop(record, &found) }
    }
  }

  private static func readAll(_ log: Log, after start: Slot, _ found: inout Recovered) throws(LogError) {
    let reader = try log.reader(after: start, decompresses: false)
    while let entry = try reader.nextEntry() {
      switch entry {
      case .damaged(let slot, let chain): noteDamaged(slot, chain, &found)
      case .record(let record):
        let kind = EntryKind(record.header.type)
        found.entries.append(
          Entry(
            slot: record.header.slot.rawValue, chain: Chain(record.chain), origin: Ballot(record.header.origin),
            sizeBytes: UInt32(record.header.recordSizeBytes), kind: kind))
        if kind == .stop { noteStop(record, &found) }
      }
    }
  }

  /// What it was a peer will tell; its origin and kind are not known.
  private static func noteDamaged(_ slot: Slot, _ chain: Hash128?, _ found: inout Recovered) {
    found.damaged.append(slot.rawValue)
    found.entries.append(
      Entry(slot: slot.rawValue, chain: chain.map { Chain($0) } ?? .zero, origin: .zero, sizeBytes: 0, kind: .command))
  }

  private static func noteStop(_ record: LogRecord, _ found: inout Recovered) {
    guard let stored = unsafe try? StoredRecord(copying: record.storedBytes), let next = stored.announced else {
      return
    }
    found.stops.append((slot: stored.slot, configuration: next))
  }
}
