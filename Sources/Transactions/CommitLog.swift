package import Encoding

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
}

extension CommitLog {
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
