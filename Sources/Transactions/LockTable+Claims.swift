internal import Storage
internal import Synchronization

// Very many locks of one transaction: a bulk load, an update of a whole table.
//
// A node for each key costs three cache misses to take and as many to give back, and 100 bytes: a third of a COPY. But what
// the node says is in the write set already. So from `TransactionManagerOptions.claimThreshold` locks on, a transaction
// *claims*: it notes further locks in its write set alone, and whoever wants a key that a claim may cover looks there. Then
// the key gets a node after all ("is shown"), and everything else is as for any other lock.
//
//   claimant O, key k                              any other R, key k
//   stripe(k) {                                    stripe(k) { no range lock, no claim that may cover k
//     no range lock, no node of k,                             → node of k }
//     no other claim that may cover k              else waitLatch, stripe(k) {
//     → the entry of k is marked }                   claim's latch { k in O's write set, and marked? → show it }
//                                                    → as without claims }
//
// 1. Marks and nodes of k change under stripe(k) alone. Whoever comes second sees the first.
// 2. A claim says between which heads (first eight bytes of the key) its keys lie; it is widened before a mark, under the
//    stripe. So others pay two comparisons, unless they want a key of the same region.
// 3. Others read the write set's index under the claim's latch; O changes the index under that latch, and reads it without.
// 4. The order of latches: `waitLatch`, stripe, claim.
// 5. A key that is shown is held by O in a crowd; it is on the claim's list of shown keys, and given back with the claim.
//    To take a stronger lock on a key that is merely marked, O shows it to itself first.

/// The locks that a transaction has noted in its write set alone.
@safe
final class LockClaim {
  /// The place among the table's claims.
  let slot: Int
  /// Held by whoever looks into the write set from outside, and by the owner while it adds an entry.
  let latch = Latch()
  /// The marked entries in the order in which they were locked. The owner's.
  @exclusivity(unchecked) var taken = unsafe RawList<UInt32>()
  /// How many those are, for others.
  let count = Atomic<Int>(0)
  /// Marked keys that got a node because somebody asked. Under `waitLatch`.
  @exclusivity(unchecked) var shown: [HeldLock] = unsafe []

  init(slot: Int) { self.slot = slot }
  deinit { unsafe taken.free() }
}

/// The claims that there are: at most eight.
@safe
final class ClaimTable: @unchecked Sendable {
  // `@unchecked`: bounds are atomic, owners are guarded by the lock table's `waitLatch`.
  private struct Bounds: ~Copyable {
    let low = Atomic<UInt64>(.max)
    let high = Atomic<UInt64>(0)
  }

  private static let capacity = 8
  private let bounds: UnsafeMutablePointer<Bounds>
  private var owners: [Unmanaged<LockOwner>?]
  private let used = Atomic<Int>(0)

  init() {
    unsafe bounds = .allocate(capacity: ClaimTable.capacity)
    for index in 0..<ClaimTable.capacity { unsafe (bounds + index).initialize(to: Bounds()) }
    unsafe owners = unsafe Array(repeating: nil, count: ClaimTable.capacity)
  }

  deinit {
    unsafe bounds.deinitialize(count: ClaimTable.capacity)
    unsafe bounds.deallocate()
  }

  @inline(__always)
  var isInUse: Bool { used.load(ordering: .acquiring) > 0 }

  @inline(__always)
  private func covers(_ slot: Int, _ head: UInt64) -> Bool {
    unsafe bounds[slot].low.load(ordering: .acquiring) <= head && head <= bounds[slot].high.load(ordering: .acquiring)
  }

  /// Whether anybody but `owner` may have claimed the key.
  func mayCover(_ key: UnsafeRawBufferPointer, for owner: LockOwner) -> Bool {
    let head = unsafe head(key)
    let own = owner.claim?.slot ?? -1
    for slot in 0..<ClaimTable.capacity where slot != own && covers(slot, head) { return true }
    return false
  }

  /// Before the claim's owner marks the key.
  @inline(__always)
  func widen(_ slot: Int, _ key: UnsafeRawBufferPointer) {
    let head = unsafe head(key)
    if unsafe head < bounds[slot].low.load(ordering: .relaxed) {
      unsafe bounds[slot].low.store(head, ordering: .releasing)
    }
    if unsafe head > bounds[slot].high.load(ordering: .relaxed) {
      unsafe bounds[slot].high.store(head, ordering: .releasing)
    }
  }

  // MARK: Under `waitLatch`

  func add(_ owner: LockOwner) -> Int? {
    guard let slot = unsafe owners.firstIndex(where: { unsafe $0 == nil }) else { return nil }
    unsafe owners[slot] = unsafe Unmanaged.passUnretained(owner)
    used.wrappingAdd(1, ordering: .sequentiallyConsistent)
    return slot
  }

  func remove(_ slot: Int) {
    unsafe bounds[slot].low.store(.max, ordering: .releasing)
    unsafe bounds[slot].high.store(0, ordering: .releasing)
    unsafe owners[slot] = nil
    used.wrappingSubtract(1, ordering: .sequentiallyConsistent)
  }

  /// The number of keys that are claimed.
  var count: Int { all.reduce(0) { $0 + ($1.claim?.count.load(ordering: .relaxed) ?? 0) } }

  private var all: [LockOwner] { unsafe owners.compactMap { unsafe $0?.takeUnretainedValue() } }

  /// Calls `body` with every owner of a claim that may cover the key.
  func forEach(mayCover key: UnsafeRawBufferPointer, _ body: (LockOwner) -> Void) {
    let head = unsafe head(key)
    for slot in 0..<ClaimTable.capacity where covers(slot, head) {
      if let owner = unsafe owners[slot] { unsafe body(owner.takeUnretainedValue()) }
    }
  }

  /// Those who have claimed a key of `range`.
  func claimants(in range: KeyRange, besides own: LockOwner) -> [LockOwner] {
    guard isInUse else { return [] }
    return all.compactMap { owner in
      guard owner !== own, let claim = owner.claim else { return nil }
      return claim.latch.withLock { owner.hasClaimed(in: range) } ? owner : nil
    }
  }
}

extension LockTable {
  /// Begins a claim, unless there are too many already.
  func beginClaim(_ owner: LockOwner) -> Bool {
    waitLatch.withLock {
      guard let slot = claims.add(owner) else { return false }
      owner.claim = LockClaim(slot: slot)
      return true
    }
  }

  /// Locks a key of which the owner holds nothing in the write set alone, with `mark`, if nobody else has anything to do
  /// with it.
  @inline(__always)
  func tryClaim(
    _ owner: LockOwner, _ key: UnsafeRawBufferPointer, _ hash: UInt64, entry: UInt32, _ mark: () -> Void
  ) -> Bool {
    guard let claim = owner.claim else { return false }
    let stripe = unsafe stripe(of: hash)
    unsafe latch(stripe)
    defer { unsafe unlatch(stripe) }
    guard rangeLockCount.load(ordering: .acquiring) == 0, unsafe find(stripe, key, hash) == nil,
      unsafe !claims.mayCover(key, for: owner)
    else { return false }
    unsafe claims.widen(claim.slot, key)
    unsafe claim.taken.append(entry)
    unsafe claim.count.store(claim.taken.count, ordering: .relaxed)
    mark()
    return true
  }

  /// Gives a key that is claimed its node. Under `waitLatch` and the stripe's latch.
  func showClaims(
    on key: UnsafeRawBufferPointer, _ hash: UInt64, _ stripe: UnsafeMutablePointer<Stripe>, to asking: LockOwner,
    own: UInt8
  ) {
    unsafe claims.forEach(mayCover: key) { owner in
      guard owner !== asking || own > 0, let claim = owner.claim else { return }
      if let node = unsafe find(stripe, key, hash), unsafe holders(of: node).contains(where: { $0.owner === owner }) {
        return
      }
      guard let (entry, strength) = claim.latch.withLock({ unsafe owner.claimed(key) }) else { return }
      let node = unsafe crowdedNode(stripe, key, hash)
      // `crowdedNode` has made the crowd.
      unsafe hold(node.pointee.crowd.unsafelyUnwrapped.takeUnretainedValue(), owner, strength, own: 0)
      unsafe claim.shown.append(HeldLock(node: node, entry: entry, previous: 0))
    }
  }

  /// Gives back all that is claimed.
  func endClaim(_ owner: LockOwner, _ granted: inout [LockOwner]) {
    guard let claim = owner.claim else { return }
    waitLatch.lock()
    claims.remove(claim.slot)
    owner.claim = nil
    waitLatch.unlock()
    unsafe claim.shown.reversed().forEach { unsafe unlock(owner, $0, &granted) }
  }

  /// Gives back what was claimed after `mark` keys were; `unmark` takes the mark from an entry.
  func unclaim(
    _ owner: LockOwner, downTo mark: Int, hash: (UInt32) -> UInt64, unmark: (UInt32) -> Void
  ) {
    guard let claim = owner.claim, unsafe claim.taken.count > mark else { return }
    while unsafe claim.taken.count > mark {
      let entry = unsafe claim.taken.removeLast()
      unsafe claim.count.store(claim.taken.count, ordering: .relaxed)
      let stripe = unsafe stripe(of: hash(entry))
      unsafe latch(stripe)
      claim.latch.withLock { unmark(entry) }
      unsafe unlatch(stripe)
    }
    waitLatch.lock()
    let gone = unsafe claim.shown.filter { unsafe owner.claimed($0.node.pointee.keyBytes) == nil }
    unsafe claim.shown.removeAll { unsafe owner.claimed($0.node.pointee.keyBytes) == nil }
    waitLatch.unlock()
    var granted: [LockOwner] = []
    unsafe gone.forEach { unsafe unlock(owner, $0, &granted) }
    if rangeLockCount.load(ordering: .acquiring) > 0 {
      unlockRanges(owner, downTo: owner.rangeLocks.count, &granted)
    }
    for owner in granted { finish(owner) }
  }
}
