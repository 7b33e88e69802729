package import Encoding
package import Platform

/// Where the time of commits goes on a leader, a group at a time.
package struct CommitTimes: Sendable {
  /// From the record's making until it is on the leader's own disk.
  package let local = DurationHistogram()
  /// From its making until a quorum has it.
  package let quorum = DurationHistogram()
  /// From then until its transactions are visible.
  package let apply = DurationHistogram()
}

/// One group's way, in nanoseconds of the clock since boot; 0 where it did not happen, or not yet.
package struct GroupTimes: Sendable {
  package var firstVersion = Version.zero
  package var lastVersion = Version.zero
  package var sizeBytes = 0
  package var built: UInt64 = 0
  package var local: UInt64 = 0
  package var chosen: UInt64 = 0
  package var applied: UInt64 = 0

  package func holds(_ version: Version) -> Bool { firstVersion <= version && version <= lastVersion }
}
