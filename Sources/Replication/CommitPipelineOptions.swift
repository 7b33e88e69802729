/// How commits are grouped, and when what nobody waits for is written.
package struct CommitPipelineOptions: Sendable {
  /// A group is closed before it grows beyond this (unless one batch alone is longer).
  package var groupSizeBytes = 1 << 20
  /// A committing thread writes by itself only if no more than this many wait.
  package var inlineWaiters = 2
  /// How long unsynced transactions stay in memory.
  package var unsyncedDelayNanoseconds: UInt64 = 10_000_000
  /// How long the log is idle before its end is sealed.
  package var sealDelayNanoseconds: UInt64 = 10_000_000
  /// Whether there is a log thread. Without it (simulation) committing threads do everything, and `tick` seals.
  package var usesThread = true

  package init() {}
}
