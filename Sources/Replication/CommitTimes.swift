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
