// Durations and bounds. All durations in microseconds of the local clock.

/// How a replica behaves in time, and how much it lets itself owe.
package struct Settings: Sendable, Hashable {
  /// A leader to every node, and any node that hears no leader. Whoever does says more than its answer at every second one.
  package var heartbeat: Ticks = 100_000
  /// Without word of a leader for so long, a node may campaign; a leader without its quorum for so long steps down.
  package var election: Ticks = 400_000
  /// Added at random, so that two seldom campaign at once.
  package var electionJitter: Ticks = 100_000
  /// Waited in addition for each step of priority below the highest.
  package var priorityStep: Ticks = 20_000
  /// 0 is least. Three steps are told apart in time.
  package var priority: UInt8 = 3
  package static let highestPriority: UInt8 = 3
  /// A lease; shorter than `election`, so that after a crash nobody waits for one.
  package var lease: Ticks = 350_000
  /// Two clocks' rates differ by at most one part in so many.
  package var clockRateDivisor: Ticks = 1000
  /// A disk that completed nothing for so long, though asked, is not fit to lead with.
  package var diskStall: Ticks = 2_000_000
  /// After which something unanswered is sent again.
  package var retry: Ticks = 150_000
  package var transferTimeout: Ticks = 1_000_000
  /// Per peer, sent and not yet accepted.
  package var windowEntries = 256
  package var windowBytes = 64 << 20
  package var batchEntries = 64
  package var batchBytes = 1 << 20
  /// Proposed and not yet chosen; beyond, proposals are refused as `busy`.
  package var unchosenEntries = 1024
  package var unchosenBytes = 64 << 20
  /// Records per answer to a fetch.
  package var fetchEntries = 512
  /// How fast a node that is behind takes old records, in bytes a second, while others commit; faster where that would not be
  /// enough (`pace`).
  package var catchUpBytesPerSecond: UInt64 = 2 << 20
  /// How many bytes of them it asks for at a time, then; more where the rate and the way to the other node need it.
  package var catchUpStepBytes: UInt64 = 64 << 10
  /// A follower so far behind what is chosen is not streamed to: it fetches, at its own pace. What it then lacks is streamed
  /// without a pause.
  package var laggingEntries: UInt64 = 1024
  /// Entries remembered; older ones are served from the driver's log.
  package var indexEntries = 65_536
  /// Records kept behind a checkpoint for peers that lag.
  package var retainedEntries: UInt64 = 65_536
  /// Heartbeats in a row that a joining node must be near the head before it may vote.
  package var caughtUpRounds = 5
  /// How near is near.
  package var caughtUpEntries: UInt64 = 64
  /// Reads waiting for a round; beyond, they are refused as `busy`.
  package var pendingReads = 4096

  package init() {}

  /// By which a promised duration is stretched, or one relied on is shortened.
  func drift(_ duration: Ticks) -> Ticks { duration / clockRateDivisor + 1 }
  /// For how long a voter holds a grant, on its own clock.
  var grant: Ticks { lease + drift(lease) }
  /// For how long a leader relies on one, on its own clock.
  var reliance: Ticks { lease - drift(lease) }

  /// Relations that the algorithm takes for granted.
  package func check() {
    precondition(heartbeat > 0 && heartbeat * 2 < election)
    // A lease longer than `election` is safe, too; a new leader then waits for it before it shows anything.
    precondition(lease > heartbeat * 2)
    precondition(clockRateDivisor >= 2 && retry >= heartbeat)
    precondition(windowEntries >= 1 && batchEntries >= 1 && unchosenEntries >= 1 && fetchEntries >= 1)
    precondition(indexEntries >= unchosenEntries * 2)
  }
}
