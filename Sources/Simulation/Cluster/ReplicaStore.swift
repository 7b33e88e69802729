// Where a simulated replica keeps what must survive a crash.
//
// `ModelStore` is the log as Paxos needs it, too simple to be wrong: a durable image, and writes that wait in order for a
// sync. A crash keeps any prefix of the waiting writes; an append may be torn between records, a replacement is there
// whole or not at all. Damage shows when the log is next read, at recovery.

package import Paxos

/// A replica's disk.
package protocol ReplicaStore: AnyObject {
  /// Puts a write behind those that wait.
  func submit(_ persist: Persist, entries: ArraySlice<Entry>)
  /// All writes through `sequence` are durable.
  func complete(through sequence: UInt64)
  /// The machine stops. What waits may be lost in part.
  func crash(_ dice: inout Dice)
  /// Reads the log.
  func recover() -> Recovered
  /// Records through the point may go.
  func truncate(_ checkpoint: Checkpoint)
  /// State at the point is durable.
  func saveCheckpoint(_ checkpoint: Checkpoint)

  // For the observer and the faults
  var durablePromised: Ballot { get }
  var durableAccepted: Ballot { get }
  var durableLast: SlotNumber { get }
  var durableBase: SlotNumber { get }
  func durableEntry(at slot: SlotNumber) -> Entry?
  var checkpoint: Checkpoint { get }
  var isDamaged: Bool { get }
  /// Spoils the record at `slot`; with `tail`, also all after it, as if a later part of the file were unreadable.
  func damage(slot: SlotNumber, tail: Bool)
  /// Loses the ballots in all their copies.
  func forgetBallots()
  /// What is wrong with the store itself.
  var failure: String? { get }
}

/// A store in memory.
package final class ModelStore: ReplicaStore {
  private struct Waiting {
    var persist: Persist
    var entries: [Entry]
  }

  private var promised: Ballot
  private var accepted: Ballot
  private var chosen: SlotNumber
  private var base: Checkpoint
  package private(set) var checkpoint: Checkpoint
  private var entries: [Entry] = []
  private var damaged: [SlotNumber] = []
  private var tailCertain = true
  private var amnesiac = false
  private var waiting: [Waiting] = []
  private var head = 0
  /// The configuration that a stop record announces: the record's content, which Paxos does not read.
  private let announced: (Chain) -> Configuration?

  package init(founding recovered: Recovered, announced: @escaping (Chain) -> Configuration?) {
    promised = recovered.promised
    accepted = recovered.accepted
    chosen = recovered.chosen
    base = recovered.base
    checkpoint = recovered.base
    self.announced = announced
  }

  package var durablePromised: Ballot { promised }
  package var durableAccepted: Ballot { accepted }
  package var durableBase: SlotNumber { base.point.slot }
  package var durableLast: SlotNumber { base.point.slot + UInt64(entries.count) }
  package var failure: String? { nil }
  package var isDamaged: Bool { !damaged.isEmpty || !tailCertain || amnesiac }

  package func durableEntry(at slot: SlotNumber) -> Entry? {
    guard slot > base.point.slot, slot <= durableLast else { return nil }
    return entries[Int(slot - base.point.slot - 1)]
  }

  package func submit(_ persist: Persist, entries: ArraySlice<Entry>) {
    waiting.append(Waiting(persist: persist, entries: entries.isEmpty ? [] : Array(entries)))
  }

  package func complete(through sequence: UInt64) {
    while head < waiting.count, waiting[head].persist.token.sequence <= sequence {
      apply(waiting[head].persist, waiting[head].entries[...])
      head += 1
    }
    if head == waiting.count {
      waiting.removeAll(keepingCapacity: true)
      head = 0
    }
  }

  var isTailCertain: Bool { tailCertain }
  var baseCheckpoint: Checkpoint { base }
  var damagedSlots: [SlotNumber] { damaged }

  /// Takes over what was recovered elsewhere.
  func adopt(
    promised: Ballot, accepted: Ballot, chosen: SlotNumber, entries: [Entry], damaged: [SlotNumber], tailCertain: Bool
  ) {
    self.promised = promised
    self.accepted = accepted
    self.chosen = chosen
    self.entries = entries
    self.damaged = damaged
    self.tailCertain = tailCertain
    waiting.removeAll()
    head = 0
  }

  package func crash(_ dice: inout Dice) {
    var keep = dice.below(waiting.count - head + 1)
    while keep > 0 {
      apply(waiting[head].persist, waiting[head].entries[...])
      head += 1
      keep -= 1
    }
    // The write after the last whole one may be torn.
    if head < waiting.count, dice.chance(500) {
      let torn = waiting[head]
      if case .append = torn.persist.change, !torn.entries.isEmpty {
        apply(torn.persist, torn.entries.prefix(dice.below(torn.entries.count)))
      }
    }
    waiting.removeAll()
    head = 0
  }

  /// Loses everything that waits.
  package func dropWaiting() {
    waiting.removeAll()
    head = 0
  }

  private func apply(_ persist: Persist, _ records: ArraySlice<Entry>) {
    if !amnesiac {
      promised = persist.promised
      accepted = persist.accepted
    }
    tailCertain = persist.tailCertain
    chosen = max(chosen, persist.chosen)
    switch persist.change {
    case .none: break
    case .append: append(records)
    case .replace(let slot):
      cut(after: slot)
      append(records)
    case .repair:
      for record in records where record.slot > base.point.slot && record.slot <= durableLast {
        entries[Int(record.slot - base.point.slot - 1)] = record
        damaged.removeAll { $0 == record.slot }
      }
    case .install(let installed, let keepingLog):
      if keepingLog { dropFront(through: installed) } else { restart(at: installed) }
      checkpoint = installed
    }
  }

  private func append(_ records: ArraySlice<Entry>) {
    for record in records where record.slot > base.point.slot {
      precondition(record.slot == durableLast + 1, "a hole in the log: \(record.slot) after \(durableLast)")
      entries.append(record)
    }
  }

  private func cut(after slot: SlotNumber) {
    guard slot < durableLast else { return }
    if slot <= base.point.slot {
      entries.removeAll()
    } else {
      entries.removeLast(Int(durableLast - slot))
    }
    while let last = damaged.last, last > slot { damaged.removeLast() }
  }

  func restart(at point: Checkpoint) {
    base = point
    entries.removeAll()
    damaged.removeAll()
  }

  private func dropFront(through point: Checkpoint) {
    guard point.point.slot > base.point.slot else { return }
    if point.point.slot >= durableLast {
      entries.removeAll()
    } else {
      entries.removeFirst(Int(point.point.slot - base.point.slot))
    }
    base = point
    damaged.removeAll { $0 <= point.point.slot }
  }

  package func truncate(_ point: Checkpoint) { dropFront(through: point) }

  package func saveCheckpoint(_ saved: Checkpoint) {
    if saved.point.slot > checkpoint.point.slot { checkpoint = saved }
  }

  package func damage(slot: SlotNumber, tail: Bool) {
    guard slot > base.point.slot, slot <= durableLast else { return }
    if tail || slot == durableLast {
      cut(after: slot - 1)
      tailCertain = false
    } else if !damaged.contains(slot) {
      damaged.append(slot)
      damaged.sort()
    }
  }

  package func forgetBallots() {
    amnesiac = true
    promised = .start(of: base.configuration.epoch)
    accepted = promised
  }

  package func recover() -> Recovered {
    var recovered = Recovered(founding: base.configuration, chain: .zero)
    recovered.promised = promised
    recovered.accepted = accepted
    recovered.chosen = min(chosen, durableLast)
    recovered.base = base
    recovered.checkpoint = max(checkpoint.point.slot, base.point.slot)
    recovered.first = base.point.slot + 1
    recovered.tailCertain = tailCertain
    recovered.amnesiac = amnesiac
    recovered.entries = entries
    let there = durableEntry(at: checkpoint.point.slot)?.chain
    if recovered.checkpoint > durableLast
      || (recovered.checkpoint > base.point.slot && there != checkpoint.point.chain
        && !damaged.contains(recovered.checkpoint))
    {
      // The state is ahead of the log, which ends before it or is of another history there: it begins anew behind it.
      recovered.base = checkpoint
      recovered.first = checkpoint.point.slot + 1
      recovered.chosen = checkpoint.point.slot
      recovered.entries = []
      restart(at: checkpoint)
    }
    for entry in recovered.entries where entry.kind == .stop && !damaged.contains(entry.slot) {
      if let configuration = announced(entry.chain) {
        recovered.stops.append((slot: entry.slot, configuration: configuration))
      }
    }
    // What follows a damaged record proves its chain, unless that is damaged as well.
    recovered.damaged = damaged.filter {
      $0 > recovered.base.point.slot && $0 <= recovered.base.point.slot + UInt64(recovered.entries.count)
    }
    for slot in recovered.damaged where damaged.contains(slot + 1) {
      recovered.entries[Int(slot - recovered.base.point.slot - 1)].chain = .zero
    }
    return recovered
  }
}
