internal import Encoding
internal import Log
internal import Platform
package import Replication
internal import SQL
internal import Storage
internal import Synchronization
internal import Transactions

// What joins transactions to a replicated log.

/// How a database takes its place in a cluster.
package struct ClusterNodeSetup: Sendable {
  /// Used where the directory has no list of members yet.
  package var members: Members
  package var transport: any PeerTransport
  package var options = ReplicatedLogOptions()

  package init(members: Members, transport: any PeerTransport) {
    self.members = members
    self.transport = transport
  }
}

/// How a core's hook reaches the SQL side, which is made later. A lock of its own: the hook runs under the replica's lock,
/// for which whoever opens the SQL side may be waiting.
final class DatabaseLink: Sendable {
  private let state: Mutex<SQLDatabase?> = Mutex(nil)
  var sql: SQLDatabase? {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}

/// The replicated log as transactions know a log, and as they ask about snapshots.
final class ReplicatedLogAdapter: CommitLog, SnapshotGate {
  private let log: ReplicatedLog

  init(_ log: ReplicatedLog) { self.log = log }

  func append(_ batch: UnsafeRawBufferPointer, version: Version) throws(CommitError) {
    do throws(ReplicationFailure) { unsafe try log.append(batch, version: version) } catch { throw CommitError(error) }
  }

  func append(_ batch: LargeBatch, version: Version) throws(CommitError) {
    do throws(ReplicationFailure) { try log.append(batch, version: version) } catch { throw CommitError(error) }
  }

  /// Nothing is visible before a quorum has it, so a commit that need not be durable waits as long as any other.
  func commit(through version: Version, durable: Bool) throws(CommitError) {
    do throws(ReplicationFailure) { try log.commit(through: version) } catch { throw CommitError(error) }
  }

  func commitInline(through version: Version) throws(CommitError) -> Bool {
    do throws(ReplicationFailure) { return try log.commitInline(through: version) } catch { throw CommitError(error) }
  }

  func whenDelivered(_ version: Version, _ body: @escaping @Sendable (Swift.Result<Void, CommitError>) -> Void) {
    log.whenDelivered(version) { result in body(result.mapError { CommitError($0) }) }
  }

  func trace(of version: Version) -> CommitTrace? {
    guard let (times, quorum, members) = log.times(of: version), times.built > 0, times.applied > 0 else { return nil }
    var trace = CommitTrace(times)
    trace.quorumNanoseconds = times.chosen > times.built ? times.chosen - times.built : nil
    trace.quorum = quorum
    trace.members = members
    return trace
  }

  func confirmSnapshot() throws(CommitError) -> SnapshotVerdict {
    do throws(ReplicationFailure) {
      switch try log.confirmRead() {
      case .fresh: return .fresh
      case .readAgain: return .stale
      }
    } catch { throw CommitError(error) }
  }
}

extension CommitError {
  fileprivate init(_ failure: ReplicationFailure) {
    switch failure {
    case .restarted(let message): self = .restarted(message)
    case .notLeading(let message): self = .notLeading(message)
    case .unknown(let message): self = .unknownOutcome(message)
    case .closed: self = .closed
    }
  }
}
