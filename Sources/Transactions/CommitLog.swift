package import Encoding
package import Platform

/// The log as transactions know it: propose a batch, learn that it is chosen. One node's group commit and a replicated
/// log both implement it; tests have one under their control.
///
/// 1. `append` is called under the sequencer's latch, with dense, increasing versions. It copies the batch and does no I/O.
///    When it throws, the version is not used up: the next append carries the same one.
/// 2. What was appended is delivered in order, in whole groups, through `TransactionManager.deliver(…)`, or fails for good:
///    then every later append and every wait fails too.
/// 3. `commit` and `whenDelivered` report success only after `deliver` of that version has returned.
package protocol CommitLog: AnyObject, Sendable {
  func append(_ batch: UnsafeRawBufferPointer, version: Version) throws(CommitError)
  /// The same, for a batch that can be kept instead of copied.
  func append(_ batch: LargeBatch, version: Version) throws(CommitError)
  /// Blocks until everything up to the version is delivered; `durable == false` does not wait for the disk.
  func commit(through version: Version, durable: Bool) throws(CommitError)
  /// Calls `body` once, on any thread, when the version is delivered or never will be.
  func whenDelivered(_ version: Version, _ body: @escaping @Sendable (Result<Void, CommitError>) -> Void)
  /// Likewise; `durable == false` does not wait for the disk.
  func whenDelivered(
    _ version: Version, durable: Bool, _ body: @escaping @Sendable (Result<Void, CommitError>) -> Void)
  /// Writes and delivers the version on this thread if the log is idle and next to nobody waits: true when it is
  /// delivered. Otherwise false at once, and nothing was asked for.
  func commitInline(through: Version) throws(CommitError) -> Bool
  /// Where the time of a commit went that was just delivered; nil where that is not known any more.
  func trace(of version: Version) -> CommitTrace?
}

/// Where the time of one commit went, in nanoseconds from the moment at which its record was made.
package struct CommitTrace: Hashable, Sendable {
  /// Until the record was on this node's own disk; nil where that is still under way (others have it).
  package var localNanoseconds: UInt64?
  /// Until a quorum had it, and how many nodes that takes of how many; nil on a single node.
  package var quorumNanoseconds: UInt64?
  package var quorum = 1
  package var members = 1
  /// From when it was chosen until it was visible.
  package var applyNanoseconds: UInt64
  /// From making the record to the end of all that.
  package var totalNanoseconds: UInt64
  /// What the record holds: all transactions that were waiting together.
  package var transactions: Int
  package var sizeBytes: Int

  package init(applyNanoseconds: UInt64, totalNanoseconds: UInt64, transactions: Int, sizeBytes: Int) {
    self.applyNanoseconds = applyNanoseconds
    self.totalNanoseconds = totalNanoseconds
    self.transactions = transactions
    self.sizeBytes = sizeBytes
  }
}

extension CommitLog {
  package func append(_ batch: LargeBatch, version: Version) throws(CommitError) {
    unsafe try append(batch.bytes, version: version)
  }
  package func trace(of version: Version) -> CommitTrace? { nil }
  package func whenDelivered(
    _ version: Version, durable: Bool, _ body: @escaping @Sendable (Result<Void, CommitError>) -> Void
  ) { whenDelivered(version, body) }
  package func commitInline(through: Version) throws(CommitError) -> Bool { false }
}

/// Why the log did not take or did not choose a batch.
package enum CommitError: Error, Hashable, Sendable {
  /// No room on the disk: nothing was appended; later appends may succeed.
  case diskFull(String)
  /// The log failed and refuses everything from now on.
  case failed(String)
  /// Definitely not chosen, now or later.
  case restarted(String)
  /// This node does not lead.
  case notLeading(String)
  /// Chosen or not: not known.
  case unknownOutcome(String)
  /// The log is closed.
  case closed
}
