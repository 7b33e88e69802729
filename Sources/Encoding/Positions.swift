/// A place in the sequence of committed transactions: dense, strictly increasing, the same on every node.
///
/// A transaction commits at a version; a snapshot is a version and shows everything that committed at or below it.
/// Version 0 is the empty database.
@frozen
package struct Version: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  package var rawValue: UInt64
  @inlinable package init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  /// The empty database.
  @inlinable package static var zero: Version { Version(0) }
  /// Later than every version that can commit: reads at it see the newest committed state.
  @inlinable package static var latest: Version { Version(UInt64.max >> 8) }
  @inlinable package static func < (a: Version, b: Version) -> Bool { a.rawValue < b.rawValue }
  /// The version `count` commits later.
  @inlinable package func advanced(by count: UInt64) -> Version { Version(rawValue + count) }
  package var description: String { "v\(rawValue)" }
}

/// A place in the log: one record is chosen for each slot. Slot 0 precedes the first record.
@frozen
package struct Slot: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  package var rawValue: UInt64
  @inlinable package init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  /// Before the first record.
  @inlinable package static var zero: Slot { Slot(0) }
  @inlinable package static func < (a: Slot, b: Slot) -> Bool { a.rawValue < b.rawValue }
  /// The next slot.
  @inlinable package var next: Slot { Slot(rawValue + 1) }
  package var description: String { "s\(rawValue)" }
}
