import Encoding
import Glibc
import Storage
import Transactions

// A log in memory under the test's control.
//
// `inline`: `commit` delivers everything appended so far as one group, on the calling thread (or waits for the thread that
// is delivering it); like the log of one node it has it applied before. `held`: nothing is delivered before `deliver(_:)`,
// nor applied before `apply(_:)`; commits are made with `whenDone`.

/// A value behind a pthread mutex, which the thread sanitizer knows (it does not see into `Synchronization.Mutex`).
final class Guarded<Value>: @unchecked Sendable {
  // `@unchecked`: the value is only reached under the mutex.
  private var value: Value
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  init(_ value: Value) {
    self.value = value
    pthread_mutex_init(mutex, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func withLock<R, E: Error>(_ body: (inout Value) throws(E) -> R) throws(E) -> R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&value)
  }
}

/// Stands for the log in tests.
final class TestLog: CommitLog, @unchecked Sendable {
  // `@unchecked`: everything is guarded by the mutex.
  enum Mode { case inline, held }

  private struct State {
    var appended: [(version: Version, batch: [UInt8])] = []
    var delivered = Version.zero
    var applied = Version.zero
    var slot = Slot.zero
    var isDelivering = false
    var refusal: CommitError?
    var failure: CommitError?
    var callbacks: [(version: Version, body: @Sendable (Result<Void, CommitError>) -> Void)] = []
    var batches: [(version: Version, batch: [UInt8])] = []
  }

  private let state = Guarded(State())
  let mode: Mode
  let keepsBatches: Bool
  /// Whether other threads get a turn between applying and delivering.
  let yields: Bool
  nonisolated(unsafe) weak var manager: TransactionManager?

  init(_ mode: Mode = .inline, keepsBatches: Bool = false, yields: Bool = true) {
    self.mode = mode
    self.keepsBatches = keepsBatches
    self.yields = yields
  }

  func append(_ batch: UnsafeRawBufferPointer, version: Version) throws(CommitError) {
    try state.withLock { (state) throws(CommitError) in
      if let failure = state.failure { throw failure }
      if let refusal = state.refusal {
        state.refusal = nil
        throw refusal
      }
      state.appended.append((version, Array(batch)))
      if keepsBatches { state.batches.append((version, Array(batch))) }
    }
  }

  func commit(through version: Version, durable: Bool) throws(CommitError) {
    precondition(
      mode == .inline || state.withLock { version <= $0.applied }, "a held log commits with whenDone")
    while true {
      if let failure = state.withLock({ $0.failure }) { throw failure }
      if state.withLock({ $0.delivered >= version }) { return }
      if mode == .held || !deliver() { sched_yield() }
    }
  }

  func whenDelivered(_ version: Version, _ body: @escaping @Sendable (Result<Void, CommitError>) -> Void) {
    let isOver: Result<Void, CommitError>? = state.withLock { state in
      if state.delivered >= version { return .success(()) }
      if let failure = state.failure { return .failure(failure) }
      state.callbacks.append((version, body))
      return nil
    }
    if let isOver { return body(isOver) }
    if mode == .inline { while !deliver() { sched_yield() } }
  }

  /// Delivers up to `limit` transactions as one group. False if somebody else is delivering.
  @discardableResult
  func deliver(_ limit: Int = .max) -> Bool {
    typealias Group = (slot: Slot, first: Version, batches: [[UInt8]])
    let group: Group? = state.withLock { state in
      guard !state.isDelivering else { return nil }
      state.isDelivering = true
      let taken = state.appended.prefix(limit)
      state.appended.removeFirst(taken.count)
      if !taken.isEmpty { state.slot = state.slot.next }
      return (state.slot, taken.first?.version ?? .zero, taken.map(\.batch))
    }
    guard let group else { return false }
    if !group.batches.isEmpty {
      let payload = Self.payload(group.batches)
      payload.withUnsafeBytes { bytes in
        if mode == .inline {
          try! manager!.apply(
            slot: group.slot, firstVersion: group.first, transactionCount: group.batches.count, payload: bytes)
          // What is applied and not visible is there for others to meet.
          if yields { sched_yield() }
        }
        try! manager!.deliver(
          slot: group.slot, firstVersion: group.first, transactionCount: group.batches.count, payload: bytes)
      }
    }
    let callbacks = state.withLock { state in
      state.isDelivering = false
      if !group.batches.isEmpty { state.delivered = group.first.advanced(by: UInt64(group.batches.count - 1)) }
      let delivered = state.delivered
      let due = state.callbacks.filter { $0.version <= delivered }
      state.callbacks.removeAll { $0.version <= delivered }
      return due
    }
    for callback in callbacks { callback.body(.success(())) }
    return true
  }

  private static func payload(_ batches: [[UInt8]]) -> [UInt8] {
    var payload: [UInt8] = []
    for batch in batches {
      withUnsafeBytes(of: UInt32(batch.count).littleEndian) { payload.append(contentsOf: $0) }
      payload += batch
    }
    return payload
  }

  /// Has the first `limit` transactions applied, which are then to be delivered as one group.
  func apply(_ limit: Int) {
    let (slot, taken) = state.withLock { state in
      let taken = state.appended.prefix(limit)
      state.applied = taken.last?.version ?? state.applied
      return (state.slot.next, Array(taken))
    }
    Self.payload(taken.map(\.batch)).withUnsafeBytes { bytes in
      try! manager!.apply(slot: slot, firstVersion: taken[0].version, transactionCount: taken.count, payload: bytes)
    }
  }

  /// The next append fails once.
  func refuseNext(_ error: CommitError) { state.withLock { $0.refusal = error } }

  /// Everything fails from now on; what was appended is lost.
  func fail(_ error: CommitError) {
    let callbacks = state.withLock { state in
      state.failure = error
      state.appended.removeAll()
      defer { state.callbacks.removeAll() }
      return state.callbacks
    }
    for callback in callbacks { callback.body(.failure(error)) }
  }

  /// The batches appended, with `keepsBatches`.
  var batches: [(version: Version, batch: [UInt8])] { state.withLock { $0.batches } }
}
