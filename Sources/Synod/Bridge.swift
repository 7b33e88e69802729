internal import Encoding
internal import Replication
internal import Storage
internal import Synchronization
internal import Transactions

/// Ties the knot between the engine, which must wait for the log, and the log, which delivers to the transactions: on one
/// node (a pipeline) as on several (a replicated log).
final class Bridge: ReplicatedState {
  private struct State {
    weak var pipeline: CommitPipeline?
    weak var replicated: ReplicatedLog?
    weak var manager: TransactionManager?
  }
  private let state = Mutex(State())
  private let leads: @Sendable () -> Void

  /// - Parameter leads: called before this node takes commits, and when its state was replaced.
  init(_ leads: @escaping @Sendable () -> Void = {}) { self.leads = leads }

  /// Everything is there from now on.
  func tie(
    manager: TransactionManager, pipeline: CommitPipeline? = nil, replicated: ReplicatedLog? = nil
  ) {
    state.withLock { $0 = State(pipeline: pipeline, replicated: replicated, manager: manager) }
  }

  var pipeline: CommitPipeline? { state.withLock { $0.pipeline } }
  var replicated: ReplicatedLog? { state.withLock { $0.replicated } }
  var manager: TransactionManager? { state.withLock { $0.manager } }
  var engine: Engine? { manager?.storage }

  /// Before a group is written, where there is one node.
  func prepare(_ group: ChosenGroup) throws(DeliveryError) {
    guard let manager else { throw .failed("the database is closed") }
    do throws(StorageError) {
      unsafe try manager.apply(
        slot: group.slot, firstVersion: group.firstVersion, transactionCount: group.transactionCount,
        payload: group.payload)
    } catch {
      if case .full = error { throw .later }
      throw .failed("\(error)")
    }
  }

  func deliver(_ group: ChosenGroup) throws(DeliveryError) {
    guard let manager else { throw .failed("the database is closed") }
    do throws(StorageError) {
      unsafe try manager.deliver(
        slot: group.slot, firstVersion: group.firstVersion, transactionCount: group.transactionCount,
        payload: group.payload)
    } catch {
      if case .full = error { throw .later }
      throw .failed("\(error)")
    }
  }

  func nextSafeVersion() -> Version { manager?.nextSafeVersion() ?? .zero }
  func learnSafeVersion(_ version: Version) { manager?.learnSafeVersion(version) }

  func discard(from version: Version) { manager?.discardInFlight(from: version) }

  func lead(term: UInt64) {
    leads()
    manager?.lead(term: term)
  }

  func resign(discardingFrom version: Version?) { manager?.resign(discardingFrom: version) }

  /// What was read ahead from shared state may be another node's by now.
  func stateReplaced() { leads() }
}
