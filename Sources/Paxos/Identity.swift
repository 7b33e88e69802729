// Names of things: nodes, clusters, slots, ballots, chain values.
//
// A textbook reader finds here: the proposal number (`Ballot`), the instance number (`SlotNumber`).
// A chain value stands for a record *and everything before it*: two logs that show the same chain at
// a slot are equal through that slot. Paxos compares chains, and never looks into a record.

/// A place in the log, counted from 1; 0 is the place before the first record.
package typealias SlotNumber = UInt64

/// Moments and durations on the local clock, in microseconds. The clock counts while suspended
/// (CLOCK_BOOTTIME); its origin is arbitrary and no two nodes share it.
package typealias Ticks = UInt64

/// A node. Never used twice: a node whose disk was lost comes back under another one.
package struct NodeID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  package var rawValue: UInt64
  @inlinable package init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable package static func < (a: NodeID, b: NodeID) -> Bool { a.rawValue < b.rawValue }
  package var description: String { "n\(rawValue)" }
}

/// A cluster, chosen at random when it is founded. Messages of another cluster are refused.
package struct ClusterID: Hashable, Sendable {
  package var high: UInt64
  package var low: UInt64
  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
}

/// The hash of a record and of all before it.
package struct Chain: Hashable, Sendable, CustomStringConvertible {
  package var high: UInt64
  package var low: UInt64
  @inlinable package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
  /// Before the first record; also "not known" of a damaged record.
  package static let zero = Chain(high: 0, low: 0)
  package var description: String { hexadecimal(low, digits: 6) }
}

/// A proposal number: who may propose, ordered lexicographically by (epoch, round, priority, node).
///
/// One ballot belongs to one node, which uses it for one leadership at most.
package struct Ballot: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The configuration under which it was made.
  package var epoch: UInt32
  /// Breaks ties of a round in favour of the node that operators prefer.
  package var priority: UInt8
  package var round: UInt64
  package var node: NodeID

  @inlinable package init(epoch: UInt32, round: UInt64, priority: UInt8, node: NodeID) {
    self.epoch = epoch
    self.priority = priority
    self.round = round
    self.node = node
  }

  /// Below every ballot of `epoch` that a node can make: what a log counts as when its epoch begins.
  @inlinable package static func start(of epoch: UInt32) -> Ballot {
    Ballot(epoch: epoch, round: 0, priority: 0, node: NodeID(0))
  }

  @inlinable package static var zero: Ballot { start(of: 0) }

  @inlinable package static func < (a: Ballot, b: Ballot) -> Bool {
    if a.epoch != b.epoch { return a.epoch < b.epoch }
    if a.round != b.round { return a.round < b.round }
    if a.priority != b.priority { return a.priority < b.priority }
    return a.node < b.node
  }

  package var description: String { "\(epoch).\(round)/\(node)" }
}

/// Rounds and slots beyond this come from nobody honest; refusing them keeps `+ 1` from overflowing.
let largestNumber: UInt64 = 1 << 62

func hexadecimal(_ value: UInt64, digits: Int) -> String {
  let text = String(value, radix: 16)
  if text.utf8.count >= digits { return String(text.suffix(digits)) }
  return String(repeating: "0", count: digits - text.utf8.count) + text
}
