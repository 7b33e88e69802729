internal import Encoding
package import Paxos

// Whether nodes that applied the same log came to the same state.
//
//   leader     CHECKSUM(limit, first key) ─▶ a record like others, once a minute
//   each node  applies it: holds the state as it is then, reads that part of it in the background, tells the digest to all
//   each node  compares what all told
//
// The chain says that the logs are equal; this says that applying, flushing and compacting them was. A part is what `limit`
// bytes of keys and values reach, from the first key on: the same on every node, since it counts what is visible. The
// leader goes through the whole state part by part, and begins again when something was committed since.
//
// 1. A node whose digest differs from one that more nodes agree on than on its own gives its state up, and takes another
//    node's checkpoint. Where as many stand against as many, those with the leader's digest keep theirs.
// 2. It is decided when all members that keep state have told theirs, or when the next part is.

/// What a part of the state came to.
package struct PartDigest: Hashable, Sendable {
  /// Of the state, and the keys in the part.
  package var version: UInt64
  package var keys: UInt64
  package var low: UInt64
  package var high: UInt64

  package init(version: UInt64, keys: UInt64, low: UInt64, high: UInt64) {
    self.version = version
    self.keys = keys
    self.low = low
    self.high = high
  }
}

/// A state that stays as it is for as long as this is held.
package protocol HeldState: AnyObject, Sendable {
  /// Reads the part. `isLeft` is called now and then; false gives up. Nil: given up, or it cannot be read.
  ///
  /// - Returns: the digest, and the first key behind the part; empty at the end of the state.
  func digest(while isLeft: () -> Bool) -> (digest: PartDigest, next: [UInt8])?
}

/// A CHECKSUM record's payload: u64 limit in bytes (little endian), then the first key.
package struct DigestPart: Hashable, Sendable {
  package var limitSizeBytes: UInt64
  package var first: [UInt8]

  package init(limitSizeBytes: UInt64, first: [UInt8]) {
    self.limitSizeBytes = limitSizeBytes
    self.first = first
  }

  func encoded() -> [UInt8] {
    var writer = ByteWriter()
    writer.append(integer: limitSizeBytes)
    writer.append(first)
    return writer.bytes
  }

  init(decoding bytes: UnsafeRawBufferPointer) throws(DecodingError) {
    var reader = unsafe ByteReader(bytes)
    limitSizeBytes = unsafe try reader.readInteger(UInt64.self)
    first = unsafe Array(try reader.readBytes(reader.remaining))
  }
}

/// How a member's state did when it was last compared.
package struct StateCheck: Hashable, Sendable {
  package var slot: SlotNumber
  package var agrees: Bool
  /// On the clock since boot, in nanoseconds.
  package var at: UInt64
}

/// What nodes told of the last few parts.
struct DigestTable: Sendable {
  private static let rows = 8
  /// By slot of the CHECKSUM record.
  private var told: [SlotNumber: [NodeID: PartDigest]] = [:]
  private var decided: Set<SlotNumber> = []
  /// How each node did in the last comparison that it took part in.
  private(set) var standing: [NodeID: (slot: SlotNumber, agrees: Bool)] = [:]

  /// What a comparison came to.
  enum Verdict: Hashable, Sendable {
    case undecided
    case agreed
    /// These differ from this node and are to blame.
    case othersDiffer([NodeID])
    /// This node differs from these, who are right.
    case ownDiffers(from: [NodeID])
  }

  mutating func note(_ digest: PartDigest, of node: NodeID, at slot: SlotNumber) {
    if told[slot] == nil, told.count >= Self.rows, let oldest = told.keys.min() {
      guard slot > oldest else { return }
      told[oldest] = nil
      decided.remove(oldest)
    }
    told[slot, default: [:]][node] = digest
  }

  /// The slots before `slot` that nobody has decided on.
  func undecided(before slot: SlotNumber) -> [SlotNumber] {
    told.keys.filter { $0 < slot && !decided.contains($0) }.sorted()
  }

  /// Decides on `slot`, once, when all of `members` have told their digests, or with those that have if `isLate`.
  mutating func decide(
    _ slot: SlotNumber, own: NodeID, members: [NodeID], leader: NodeID?, isLate: Bool
  ) -> Verdict {
    guard let row = told[slot], let mine = row[own], !decided.contains(slot) else { return .undecided }
    guard isLate || members.allSatisfy({ row[$0] != nil }) else { return .undecided }
    decided.insert(slot)
    let groups = Dictionary(grouping: row.keys, by: { row[$0] ?? mine })
    guard groups.count > 1 else {
      for node in row.keys { standing[node] = (slot, true) }
      return .agreed
    }
    let weight = { (digest: PartDigest) in
      (groups[digest]?.count ?? 0, leader.map { row[$0] == digest } == true ? 1 : 0)
    }
    let best = groups.keys.max { weight($0) < weight($1) } ?? mine
    let nodes = (groups[best] ?? []).sorted()
    for node in row.keys { standing[node] = (slot, row[node] == best) }
    if best == mine { return .othersDiffer(row.keys.filter { row[$0] != mine }.sorted()) }
    // As many against as many, and none of them the leader's: nobody can tell who is right.
    if weight(best) == weight(mine) { return .othersDiffer(nodes) }
    return .ownDiffers(from: nodes)
  }
}
