internal import Encoding
internal import Log
internal import Paxos
internal import Platform
internal import Synchronization

/// Why a commit's wait ended without success.
package enum ReplicationFailure: Error, Hashable, Sendable {
  /// Not chosen, and never will be.
  case restarted(String)
  /// This node does not lead.
  case notLeading(String)
  /// It was proposed, and its fate could not be learnt.
  case unknown(String)
  case closed
}

extension ReplicationFailure: CustomStringConvertible {
  package var description: String {
    switch self {
    case .restarted(let reason), .notLeading(let reason), .unknown(let reason): reason
    case .closed: "the database was closed"
    }
  }
}

/// Transactions that become one record, and those who wait for them.
///
/// `@unchecked Sendable`: batches are changed under `commits`' lock until the group is taken; `outcome` and the callbacks
/// are guarded by a lock of their own.
final class ReplicatedGroup: @unchecked Sendable {
  typealias Outcome = Result<Void, ReplicationFailure>
  typealias Callback = @Sendable (Outcome) -> Void

  private struct End {
    var outcome: Outcome?
    var callbacks: [Callback] = []
  }

  let batches = CommitGroup()
  /// Whether somebody waits for it.
  var isAsked = false
  /// Once proposed.
  var slot: SlotNumber = 0
  var chain = Hash128.zero
  let word = FutexWord()
  private let end = Mutex(End())

  var outcome: Outcome? { end.withLock { $0.outcome } }

  /// Calls `body` when the group is over; at once if it is.
  func whenOver(_ body: @escaping Callback) {
    let outcome = end.withLock { end -> Outcome? in
      if end.outcome == nil { end.callbacks.append(body) }
      return end.outcome
    }
    if let outcome { body(outcome) }
  }

  /// Ends it; the first outcome stays.
  func finish(_ outcome: Outcome) {
    let callbacks = end.withLock { end -> [Callback] in
      guard end.outcome == nil else { return [] }
      end.outcome = outcome
      defer { end.callbacks = [] }
      return end.callbacks
    }
    word.increment()
    word.wake()
    for callback in callbacks { callback(outcome) }
  }
}

/// Groups that wait to be proposed, and groups that wait to be chosen. In the order of versions, the second before the
/// first.
struct CommitQueue: Sendable {
  /// Commits are taken: this node leads and is ready.
  private(set) var isOpen = false
  private(set) var nextVersion = Version.zero
  /// Oldest first; the last takes more.
  private var waiting: [ReplicatedGroup] = []
  private var proposed: [ReplicatedGroup] = []
  /// When leadership was lost with `proposed` undecided.
  private(set) var inDoubtSince: UInt64 = 0

  var hasProposed: Bool { !proposed.isEmpty }
  var hasWaiting: Bool { waiting.contains { !$0.batches.isEmpty } }

  mutating func open(next: Version) {
    precondition(proposed.isEmpty && waiting.isEmpty, "what an earlier leadership proposed is decided")
    isOpen = true
    nextVersion = next
    inDoubtSince = 0
  }

  /// Takes no more. Returns the groups that were not proposed, and their first version.
  mutating func close(now: UInt64) -> (version: Version, lost: [ReplicatedGroup]) {
    isOpen = false
    inDoubtSince = now
    defer { waiting = [] }
    return (waiting.first.flatMap { $0.batches.isEmpty ? nil : $0.batches.firstVersion } ?? nextVersion, waiting)
  }

  mutating func append(_ batch: UnsafeRawBufferPointer, version: Version, limitBytes: Int) {
    unsafe openGroup(batch.count, version, limitBytes).append(batch, version: version)
  }

  /// The same, keeping the batch instead of copying it.
  mutating func append(_ batch: LargeBatch, version: Version, limitBytes: Int) {
    unsafe openGroup(batch.bytes.count, version, limitBytes).append(batch, version: version)
  }

  /// Where the next version's batch of `count` bytes goes.
  private mutating func openGroup(_ count: Int, _ version: Version, _ limitBytes: Int) -> CommitGroup {
    precondition(version == nextVersion, "versions are appended in order")
    nextVersion = version.advanced(by: 1)
    if let open = waiting.last, open.batches.isEmpty || open.batches.count + count + 4 <= limitBytes {
      return open.batches
    }
    let group = ReplicatedGroup()
    waiting.append(group)
    return group.batches
  }

  /// The group of a version that was appended, if it is not over; asks for it, and for all before it.
  mutating func ask(_ version: Version) -> ReplicatedGroup? {
    for group in proposed where version <= group.batches.lastVersion {
      return version >= group.batches.firstVersion ? group : nil
    }
    for group in waiting {
      group.isAsked = true
      if version <= group.batches.lastVersion { return version >= group.batches.firstVersion ? group : nil }
    }
    return nil
  }

  /// The oldest group, if somebody waits for it: to be proposed now. At every moment a group that is not over is in one
  /// of the two lists: who asks for it must find it.
  mutating func takeAsked() -> ReplicatedGroup? {
    guard isOpen, let first = waiting.first, first.isAsked, !first.batches.isEmpty else { return nil }
    waiting.removeFirst()
    proposed.append(first)
    return first
  }

  /// How much waits in the oldest group, if somebody waits for it.
  var askedSizeBytes: Int? {
    guard isOpen, let first = waiting.first, first.isAsked, !first.batches.isEmpty else { return nil }
    return first.batches.count
  }

  /// Its record is built.
  mutating func place(_ group: ReplicatedGroup, at slot: SlotNumber, _ chain: Hash128) {
    group.slot = slot
    group.chain = chain
  }

  /// What the record that is applied at `slot` says of the oldest proposed group.
  enum Match {
    case none
    case ours(ReplicatedGroup)
    /// Another record took its place: none of these is chosen.
    case lost([ReplicatedGroup])
  }

  func match(_ slot: SlotNumber, _ chain: Hash128) -> Match {
    guard let first = proposed.first, first.slot == slot else { return .none }
    return first.chain == chain ? .ours(first) : .lost(proposed)
  }

  mutating func dropFirst() { proposed.removeFirst() }
  mutating func dropLost() { proposed = [] }

  /// All that are undecided; whoever takes them ends them.
  mutating func takeProposed() -> [ReplicatedGroup] {
    defer { proposed = [] }
    return proposed
  }

  /// Everything, at the end.
  mutating func takeAll() -> (waiting: [ReplicatedGroup], proposed: [ReplicatedGroup]) {
    isOpen = false
    defer {
      waiting = []
      proposed = []
    }
    return (waiting, proposed)
  }
  var undecided: [ReplicatedGroup] { proposed }
}
