internal import Encoding
internal import Platform
internal import Storage
internal import Synchronization

// Waiting for a lock. Below: a request that cannot be granted joins a queue, and whoever gives the lock back, cancels or
// times out ends the wait by `finish`, which calls the waiter's callback or opens its futex. Above: `awaitGrant` blocks.

/// What came of a request that could not be granted at once.
enum LockRequestOutcome {
  case granted
  case skipped
  /// In a queue: the end of the wait will be told.
  case waiting
}

extension LockTable {
  // MARK: Asking

  /// Takes a lock, or begins to wait for it. `whenGranted` (if any) is called when the wait ends.
  func lockSlowly(
    _ owner: LockOwner, _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ strength: UInt8, own: UInt8, entry: UInt32,
    _ policy: WaitPolicy, whenGranted: (@Sendable (Result<Void, TransactionError>) -> Void)?
  ) throws(TransactionError) -> LockRequestOutcome {
    var ended: [LockOwner] = []
    waitLatch.lock()
    let stripe = unsafe stripe(of: hash)
    unsafe latch(stripe)
    if claims.isInUse { unsafe showClaims(on: key, hash, stripe, to: owner, own: own) }
    if unsafe !isRangeLocked(key, for: owner),
      unsafe grantIfFree(stripe, owner, key, hash, strength, own: own, entry: entry)
    {
      unsafe unlatch(stripe)
      waitLatch.unlock()
      return .granted
    }
    let isCancelled = owner.isCancelled.load(ordering: .acquiring)
    if policy != .wait || isCancelled {
      let refusal = unsafe refusal(stripe, key, hash, strength, owner)
      unsafe unlatch(stripe)
      waitLatch.unlock()
      if isCancelled { throw .cancelled }
      if policy == .skipLocked { return .skipped }
      throw .lockNotAvailable(refusal)
    }
    let node = unsafe crowdedNode(stripe, key, hash)
    let crowd = unsafe node.pointee.crowd.unsafelyUnwrapped.takeUnretainedValue()
    let place = unsafe own == 0 ? nil : crowd.waiters.firstIndex { unsafe $0.takeUnretainedValue().waitOwn == 0 }
    unsafe crowd.waiters.insert(Unmanaged.passUnretained(owner), at: place ?? crowd.waiters.count)
    unsafe owner.waitNode = unsafe node
    owner.waitStrength = strength
    owner.waitOwn = own
    owner.waitEntry = entry
    unsafe unlatch(stripe)
    beginWait(owner, whenGranted)
    breakDeadlocks(owner, &ended)
    waitLatch.unlock()
    for owner in ended { finish(owner) }
    return .waiting
  }

  /// Under `waitLatch`.
  private func beginWait(_ owner: LockOwner, _ whenGranted: (@Sendable (Result<Void, TransactionError>) -> Void)?) {
    owner.waitFailure = nil
    owner.whenGranted = whenGranted
    if whenGranted == nil {
      if owner.phase == nil { owner.phase = FutexWord() }
      unsafe owner.phase.unsafelyUnwrapped.store(1)
    }
    owner.waitIndex = unsafe waiting.count
    unsafe waiting.append(Unmanaged.passUnretained(owner))
    waits.wrappingAdd(1, ordering: .relaxed)
  }

  /// Blocks until the wait is over, at most `timeoutNanoseconds` (0: for ever). On an event loop others go on meanwhile.
  func awaitGrant(_ owner: LockOwner, timeoutNanoseconds: UInt64) throws(TransactionError) {
    if unsafe owner.phase.unsafelyUnwrapped.load() == 1 {
      EventLoop.blocking { sleep(owner, timeoutNanoseconds) }
    }
    unsafe owner.phase.unsafelyUnwrapped.store(0)
    if let failure = owner.waitFailure { throw failure }
  }

  private func sleep(_ owner: LockOwner, _ timeoutNanoseconds: UInt64) {
    let phase = unsafe owner.phase.unsafelyUnwrapped
    let clock = LinuxClock()
    let deadline = timeoutNanoseconds == 0 ? 0 : clock.bootNanoseconds &+ timeoutNanoseconds
    while phase.load() == 1 {
      guard deadline > 0 else {
        phase.wait(while: 1)
        continue
      }
      let now = clock.bootNanoseconds
      if now < deadline { phase.wait(while: 1, timeoutNanoseconds: deadline - now) } else { expire(owner) }
    }
  }

  // MARK: Ending a wait

  /// The time is up. Nothing if the wait is over already.
  func expire(_ owner: LockOwner) {
    endWait(owner) { .lockTimeout(self.waitRefusal(owner)) }
  }

  func cancel(_ owner: LockOwner) {
    owner.isCancelled.store(true, ordering: .releasing)
    endWait(owner) { .cancelled }
  }

  private func endWait(_ owner: LockOwner, _ failure: () -> TransactionError) {
    var ended: [LockOwner] = []
    waitLatch.lock()
    if owner.isWaiting { abandonWait(owner, failure(), &ended) }
    waitLatch.unlock()
    for owner in ended { finish(owner) }
  }

  /// Takes a waiter out of its queue with an error, and lets those behind it move up. Under `waitLatch`.
  func abandonWait(_ owner: LockOwner, _ failure: TransactionError, _ ended: inout [LockOwner]) {
    if let node = unsafe owner.waitNode {
      let stripe = unsafe stripe(of: node.pointee.hash)
      unsafe latch(stripe)
      let crowd = unsafe node.pointee.crowd.unsafelyUnwrapped.takeUnretainedValue()
      unsafe crowd.waiters.removeAll { unsafe $0.toOpaque() == Unmanaged.passUnretained(owner).toOpaque() }
      leaveQueue(owner, failure, &ended)
      unsafe grantQueue(stripe, node, &ended)
      unsafe unlatch(stripe)
    } else if let range = owner.waitRange {
      owner.rangeLocks.removeAll { $0 === range }
      leaveQueue(owner, failure, &ended)
      forgetRange(range, &ended)
    }
  }

  /// Under `waitLatch`.
  private func leaveQueue(_ owner: LockOwner, _ failure: TransactionError?, _ ended: inout [LockOwner]) {
    unsafe owner.waitNode = nil
    owner.waitRange = nil
    owner.waitFailure = failure
    let last = unsafe waiting.removeLast()
    if unsafe owner.waitIndex < waiting.count {
      unsafe waiting[owner.waitIndex] = unsafe last
      unsafe last.takeUnretainedValue().waitIndex = owner.waitIndex
    }
    ended.append(owner)
  }

  /// Tells a waiter that its wait is over. Without any latch: the callback may do what it likes.
  func finish(_ owner: LockOwner) {
    if let body = owner.whenGranted {
      owner.whenGranted = nil
      body(owner.waitFailure.map { .failure($0) } ?? .success(()))
    } else {
      let phase = unsafe owner.phase.unsafelyUnwrapped
      phase.store(2)
      phase.wake()
    }
  }

  /// Grants a key to those whose turn it is. Under `waitLatch` and the stripe's latch; may remove the node.
  func grantQueue(_ stripe: UnsafeMutablePointer<Stripe>, _ node: LockNodePointer, _ granted: inout [LockOwner]) {
    guard unsafe stripe.pointee.count > 0, let crowd = unsafe node.pointee.crowd?.takeUnretainedValue() else { return }
    var index = 0
    var strongestAhead: UInt8 = 0
    while unsafe index < crowd.waiters.count && strongestAhead < 4 {
      let waiter = unsafe crowd.waiters[index].takeUnretainedValue()
      var isBlocked = crowd.strongest(without: waiter.waitOwn) + waiter.waitStrength > 4
      if !isBlocked && waiter.waitOwn == 0 { isBlocked = strongestAhead + waiter.waitStrength > 4 }
      if !isBlocked { isBlocked = unsafe isRangeLocked(node.pointee.keyBytes, for: waiter) }
      if isBlocked {
        strongestAhead = max(strongestAhead, waiter.waitStrength)
        index += 1
        continue
      }
      unsafe crowd.waiters.remove(at: index)
      hold(crowd, waiter, waiter.waitStrength, own: waiter.waitOwn)
      unsafe waiter.held.append(HeldLock(node: node, entry: waiter.waitEntry, previous: waiter.waitOwn))
      leaveQueue(waiter, nil, &granted)
    }
    unsafe removeIfUnused(stripe, node)
  }

  // MARK: Ranges

  /// Under `waitLatch`.
  private func isRangeLocked(_ key: UnsafeRawBufferPointer, for owner: LockOwner) -> Bool {
    rangeLocks.contains { unsafe $0.owner.takeUnretainedValue() !== owner && $0.range.contains(key) }
  }

  /// Locks every key of a range, existing or not, against everybody else; waits as asked.
  func lockRange(
    _ owner: LockOwner, _ range: KeyRange, timeoutNanoseconds: UInt64
  ) throws(TransactionError) {
    var ended: [LockOwner] = []
    let lock = RangeLock(owner: owner, range: range)
    waitLatch.lock()
    rangeLocks.append(lock)
    rangeLockCount.wrappingAdd(1, ordering: .sequentiallyConsistent)
    owner.rangeLocks.append(lock)
    if isFree(lock) {
      lock.isGranted = true
      waitLatch.unlock()
      return
    }
    owner.waitRange = lock
    owner.waitStrength = 4
    owner.waitOwn = 0
    beginWait(owner, nil)
    if owner.isCancelled.load(ordering: .acquiring) {
      abandonWait(owner, .cancelled, &ended)
    } else {
      breakDeadlocks(owner, &ended)
    }
    waitLatch.unlock()
    for owner in ended { finish(owner) }
    try awaitGrant(owner, timeoutNanoseconds: timeoutNanoseconds)
  }

  /// Those who keep a range lock from being granted. Under `waitLatch`.
  func blockers(of lock: RangeLock) -> [LockOwner] {
    let owner = unsafe lock.owner.takeUnretainedValue()
    var result: [LockOwner] = []
    for other in rangeLocks {
      if other === lock { break }
      if unsafe other.owner.takeUnretainedValue() !== owner && overlap(other.range, lock.range) {
        unsafe result.append(other.owner.takeUnretainedValue())
      }
    }
    unsafe forEachNode { _, node in
      guard unsafe lock.range.contains(node.pointee.keyBytes) else { return }
      for holder in unsafe self.holders(of: node) where holder.owner !== owner { result.append(holder.owner) }
    }
    result += claims.claimants(in: lock.range, besides: owner)
    return result
  }

  private func isFree(_ lock: RangeLock) -> Bool { blockers(of: lock).isEmpty }

  /// Grants what range locks can be granted. Under `waitLatch`.
  private func grantRanges(_ granted: inout [LockOwner]) {
    for lock in rangeLocks where !lock.isGranted && isFree(lock) {
      lock.isGranted = true
      unsafe leaveQueue(lock.owner.takeUnretainedValue(), nil, &granted)
    }
  }

  /// Removes a range lock and lets those who waited for it move up. Under `waitLatch`.
  private func forgetRange(_ lock: RangeLock, _ granted: inout [LockOwner]) {
    rangeLocks.removeAll { $0 === lock }
    rangeLockCount.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    for waiter in unsafe waiting.map({ unsafe $0.takeUnretainedValue() }) {
      guard let node = unsafe waiter.waitNode else { continue }
      let stripe = unsafe stripe(of: node.pointee.hash)
      unsafe latch(stripe)
      if unsafe lock.range.contains(node.pointee.keyBytes) { unsafe grantQueue(stripe, node, &granted) }
      unsafe unlatch(stripe)
    }
    grantRanges(&granted)
  }

  /// Gives back range locks, and wakes those who wait for one, since keys were given back before.
  func unlockRanges(_ owner: LockOwner, downTo mark: Int, _ granted: inout [LockOwner]) {
    waitLatch.lock()
    while owner.rangeLocks.count > mark { forgetRange(owner.rangeLocks.removeLast(), &granted) }
    grantRanges(&granted)
    waitLatch.unlock()
  }

  // MARK: Messages

  private func refusal(
    _ stripe: UnsafeMutablePointer<Stripe>, _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ strength: UInt8,
    _ owner: LockOwner
  ) -> LockRefusal {
    let node = unsafe crowdedNode(stripe, key, hash)
    var others = unsafe holders(of: node).filter { $0.owner !== owner }.map(\.owner.reference)
    for lock in rangeLocks where unsafe lock.range.contains(key) {
      unsafe others.append(lock.owner.takeUnretainedValue().reference)
    }
    unsafe removeIfUnused(stripe, node)
    return unsafe LockRefusal(keys: KeyRange(key: Array(key)), strength: lockStrength(strength), holders: others)
  }

  /// Under `waitLatch`.
  private func waitRefusal(_ owner: LockOwner) -> LockRefusal {
    LockRefusal(
      keys: waitedKeys(owner), strength: lockStrength(owner.waitStrength),
      holders: blockers(of: owner).map(\.reference))
  }

  /// What a waiter waits for. Under `waitLatch`.
  func waitedKeys(_ owner: LockOwner) -> KeyRange {
    if let node = unsafe owner.waitNode { return unsafe KeyRange(key: Array(node.pointee.keyBytes)) }
    return owner.waitRange?.range ?? KeyRange()
  }
}

/// Whether two ranges share a key.
func overlap(_ a: KeyRange, _ b: KeyRange) -> Bool {
  func precedes(_ end: [UInt8]?, _ start: [UInt8]) -> Bool {
    guard let end else { return false }
    return unsafe end.withUnsafeBytes { end in unsafe start.withUnsafeBytes { unsafe order(end, $0) <= 0 } }
  }
  return !precedes(a.upper, b.lower) && !precedes(b.upper, a.lower)
}
