package import Paxos

/// How a node's log among others behaves.
package struct ReplicatedLogOptions: Sendable {
  package var settings = Settings()
  /// A group is closed before it grows beyond this (unless one batch alone is longer).
  package var groupSizeBytes = 1 << 20
  /// How long at most a group waits, while one before it is not chosen, for more transactions to join it; and not where it has
  /// so many bytes already.
  package var holdNanoseconds: UInt64 = 500_000
  package var holdSizeBytes = 64 << 10
  /// Records kept in memory for peers and for the delivery.
  package var cacheSizeBytes = 64 << 20
  /// The log that is kept for members that lag. Those that need more are sent a checkpoint.
  package var retainedLogSizeBytes: UInt64 = 1 << 30
  /// The log that is kept though nobody is known to need it, at most: somebody who is started again knows a little less to be
  /// chosen than it told before.
  package var nearLogSizeBytes: UInt64 = 128 << 20
  /// The log that is kept beyond that while a checkpoint is being sent, for what comes after it.
  package var transferLogSizeBytes: UInt64 = 8 << 30
  /// How fast checkpoints are sent at most; how fast while others commit, or faster, if so one would take more than two
  /// minutes; and to how many at once.
  package var checkpointSizeBytesPerSecond: UInt64 = 64 << 20
  package var pacedCheckpointSizeBytesPerSecond: UInt64 = 2 << 20
  package var concurrentTransfers = 4
  /// How often a part of the state is compared between nodes, and how much of it.
  package var digestNanoseconds: UInt64 = 60_000_000_000
  package var digestSizeBytes: UInt64 = 64 << 20
  /// Space of the file system that a checkpoint must leave.
  package var transferReserveSizeBytes: UInt64 = 256 << 20
  /// False for a witness: chosen records are not applied, and there is nothing to read.
  package var keepsState = true
  /// A frame of several writes is written before it grows beyond this.
  package var frameSizeBytes = 4 << 20
  /// How long the fate of a commit may stay open after leadership was lost.
  package var resolutionNanoseconds: UInt64 = 5_000_000_000
  /// How long a read waits for this node to become able to serve it.
  package var readTimeoutNanoseconds: UInt64 = 2_000_000_000
  /// How long after the last commit followers are told that it is safe to read serializably.
  package var safeVersionDelayNanoseconds: UInt64 = 100_000_000
  package var tickNanoseconds: UInt64 = 10_000_000
  /// How long the log is idle before its end is sealed.
  package var sealDelayNanoseconds: UInt64 = 10_000_000
  /// Called, under a lock, when role, leader or members changed, or this node takes commits now.
  package var standingChanged: @Sendable () -> Void = {}
  /// What an operator should know.
  package var note: @Sendable (String) -> Void = { _ in }
  /// For election jitter.
  package var seed: UInt64 = 0

  package init() {}
}
