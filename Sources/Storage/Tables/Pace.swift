internal import Glibc
internal import Platform
internal import Synchronization

// How flushes and compactions make way for commits.
//
// The device does one thing at a time, or so it looks to a commit: a write of 4 KiB that comes while 256 KiB are on their way
// waits for them. So who writes tables rests after each step, as long as the step took, and a commit finds the device free
// more often than not. Only while somebody commits: nobody gains from a rest otherwise. And only while flush and compaction
// keep up: where memtables wait, resting longer would stop writers altogether.
//
// The same goes for the processor. A table is tenths of a second of computing, and the scheduler lets a thread go on for its
// slice, some 3 ms, before it gives one that woke up its turn; a commit has half a dozen such turns. So who builds a table
// offers its processor after each block (docs/decisions/0161-tables-yield-the-processor.md).

/// Decides about rests.
package final class Pace: Sendable {
  /// A number that changes with every commit.
  private let progress: @Sendable () -> UInt64
  private let isUrgent: @Sendable () -> Bool
  private let lastProgress = Atomic<UInt64>(0)
  private let restedTimes = Atomic<UInt64>(0)
  /// Longer than this nobody rests at a time: the step waited for something else.
  private static let longestRestNanoseconds: UInt64 = 20_000_000

  /// - Parameters:
  ///   - progress: a number that changes with every commit.
  ///   - isUrgent: whether those who write tables are behind.
  package init(
    progress: @escaping @Sendable () -> UInt64, isUrgent: @escaping @Sendable () -> Bool
  ) {
    self.progress = progress
    self.isUrgent = isUrgent
  }

  /// How often somebody rested.
  package var rests: UInt64 { restedTimes.load(ordering: .relaxed) }

  /// Lets whoever waits for this processor go first, after some ten microseconds of computing, unless that is urgent. Next to
  /// nothing where nobody does.
  package func makeWay() { if !isUrgent() { sched_yield() } }

  /// Rests after a step of writing that took so long, if that is worth while.
  package func rest(after nanoseconds: UInt64) {
    let current = progress()
    guard lastProgress.exchange(current, ordering: .relaxed) != current, !isUrgent() else { return }
    restedTimes.wrappingAdd(1, ordering: .relaxed)
    let word = FutexWord()
    word.wait(while: word.load(), timeoutNanoseconds: max(1, min(nanoseconds, Self.longestRestNanoseconds)))
  }
}
