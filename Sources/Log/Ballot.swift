package import Encoding

/// A ballot as the log stores it: which leader wrote, promised or accepted something. Replication translates from and to
/// the protocol's own type. Ordered by (epoch, round, priority, node).
///
///     offset size
///     0      4    epoch
///     4      1    priority
///     5      3    zero
///     8      8    round
///     16     8    node
@frozen
package struct LogBallot: Hashable, Comparable, Sendable, CustomStringConvertible {
  package var epoch: UInt32
  package var round: UInt64
  package var priority: UInt8
  package var node: UInt64

  @inlinable
  package init(epoch: UInt32, round: UInt64, priority: UInt8, node: UInt64) {
    self.epoch = epoch
    self.round = round
    self.priority = priority
    self.node = node
  }

  /// Below every ballot that anyone used.
  @inlinable package static var zero: LogBallot { LogBallot(epoch: 0, round: 0, priority: 0, node: 0) }

  @inlinable
  package static func < (a: LogBallot, b: LogBallot) -> Bool {
    (a.epoch, a.round, a.priority, a.node) < (b.epoch, b.round, b.priority, b.node)
  }

  package var description: String { "\(epoch).\(round).\(priority)@\(node)" }

  static let sizeBytes = 24

  func encode(into memory: UnsafeMutableRawBufferPointer, at offset: Int) {
    unsafe store(epoch, in: memory, at: offset)
    unsafe store(UInt32(priority), in: memory, at: offset + 4)
    unsafe store(round, in: memory, at: offset + 8)
    unsafe store(node, in: memory, at: offset + 16)
  }

  init(from memory: UnsafeRawBufferPointer, at offset: Int) {
    unsafe self.init(
      epoch: load(from: memory, at: offset), round: load(from: memory, at: offset + 8),
      priority: load(from: memory, at: offset + 4), node: load(from: memory, at: offset + 16))
  }
}

/// A place in the chain of records: everything up to and including `slot`.
package struct LogPosition: Hashable, Sendable {
  package var slot: Slot
  /// The chain value of `slot`.
  package var chain: Hash128
  /// The last version that commits at or below `slot`.
  package var version: Version

  package init(slot: Slot, chain: Hash128, version: Version) {
    self.slot = slot
    self.chain = chain
    self.version = version
  }

  /// Before the first record.
  package static var zero: LogPosition { LogPosition(slot: .zero, chain: .zero, version: .zero) }
}
