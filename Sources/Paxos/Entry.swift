// What Paxos knows of a record, and the part of the log that it remembers.
//
// A record's bytes never pass through here. The leader builds a record for a slot behind a chain value;
// the driver hands its `Entry` in and keeps the bytes. Messages go out naming a range of slots, and the
// driver puts the bytes in; messages come in with the entries that the driver decoded and verified
// (payload hash, and that each record's previous chain is its predecessor's).

/// What a record is to the protocol.
package enum EntryKind: UInt8, Sendable {
  /// Anything of the database's: transactions, sessions, checksums.
  case command = 0
  /// The first record of a leadership. It is what a new leader waits for before it serves reads.
  case leadership = 1
  /// Ends its epoch and names the next configuration (the stop-sign). Nothing follows it in its epoch.
  case stop = 2
}

/// A record, as Paxos sees it.
package struct Entry: Hashable, Sendable {
  package var slot: SlotNumber
  /// Covers this record and all before it.
  package var chain: Chain
  /// Under which the record was first proposed; it stays when a later leader proposes it again.
  package var origin: Ballot
  package var sizeBytes: UInt32
  package var kind: EntryKind

  @inlinable package init(slot: SlotNumber, chain: Chain, origin: Ballot, sizeBytes: UInt32, kind: EntryKind) {
    self.slot = slot
    self.chain = chain
    self.origin = origin
    self.sizeBytes = sizeBytes
    self.kind = kind
  }
}

/// A slot with the chain value there.
package struct ChainPoint: Hashable, Sendable {
  package var slot: SlotNumber
  package var chain: Chain
  package init(slot: SlotNumber, chain: Chain) {
    self.slot = slot
    self.chain = chain
  }
}

/// The remembered end of the log: contiguous from `base + 1` to `last`.
///
/// Invariants: entry i is at slot base + 1 + i; no holes. Forgetting the front is amortised O(1).
struct LogIndex: Sendable {
  private(set) var base: ChainPoint
  private var storage: ContiguousArray<Entry> = []
  private var head = 0

  init(base: ChainPoint) { self.base = base }

  var count: Int { storage.count - head }
  var last: SlotNumber { base.slot + UInt64(count) }
  var lastChain: Chain { count == 0 ? base.chain : storage[storage.count - 1].chain }

  func entry(at slot: SlotNumber) -> Entry? {
    guard slot > base.slot, slot <= last else { return nil }
    return storage[head + Int(slot - base.slot - 1)]
  }

  /// The chain through `slot`, if that slot is remembered (or is the base itself).
  func chain(at slot: SlotNumber) -> Chain? {
    if slot == base.slot { return base.chain }
    return entry(at: slot)?.chain
  }

  mutating func append(_ entry: Entry) {
    precondition(entry.slot == last + 1, "the log has no holes")
    storage.append(entry)
  }

  /// Forgets every record after `slot`.
  mutating func truncate(after slot: SlotNumber) {
    precondition(slot >= base.slot)
    guard slot < last else { return }
    storage.removeLast(Int(last - slot))
  }

  mutating func replaceEntry(_ entry: Entry) {
    precondition(entry.slot > base.slot && entry.slot <= last)
    storage[head + Int(entry.slot - base.slot - 1)] = entry
  }

  /// Forgets every record through `slot`, which becomes the base.
  mutating func forget(through slot: SlotNumber) {
    guard slot > base.slot, let chain = chain(at: slot) else { return }
    head += Int(slot - base.slot)
    base = ChainPoint(slot: slot, chain: chain)
    if head > 64, head * 2 > storage.count {
      storage.removeSubrange(0..<head)
      head = 0
    }
  }

  /// Starts anew after a checkpoint.
  mutating func restart(at point: ChainPoint) {
    base = point
    storage.removeAll(keepingCapacity: true)
    head = 0
  }
}
