internal import Encoding
internal import Glibc
internal import Platform
internal import Storage
internal import Synchronization

// Row locks: who holds which key, how strongly, and who waits for it.
//
//   stripe (256, by hash):  latch | buckets ─▶ node ─▶ node …        a node: one locked key
//   node:                   key | one holder and its strength        the common case: nobody else wants it
//                           or a crowd: holders, queue of waiters    once a second transaction comes
//
// 1. Fast path: take and release without contention touch one stripe. Everything that makes somebody wait, or ends a wait,
//    happens under `waitLatch`, taken before any stripe's latch; no two stripes' latches are held together.
// 2. A request is granted at once if it conflicts with no other holder and with nobody who waits already; a holder that
//    wants more goes before those who hold nothing, and minds the holders alone. Otherwise it waits, first in first out.
// 3. A node exists while somebody holds or waits for its key. A node without a crowd borrows the key's bytes from its
//    holder's arena; a crowd has a copy.
// 4. A range lock (of a range deletion) conflicts with every lock of another transaction on a key inside. While one exists,
//    every request takes the slow path.
// 5. Waiting in a cycle is found when the last member begins to wait: see `LockTable+Deadlocks.swift`.
// 6. Whoever has taken very many keys takes further ones in its own write set alone: see `LockTable+Claims.swift`. Its own
//    node a key gets once somebody else wants it.
// 7. A lock may be given back before what was written under it is visible: the version of the transaction is noted by the
//    key's hash (`released`) before the lock is given back, and whoever gets it looks there afterwards. The notes are few
//    and shared by keys: they say too much at times, never too little.
// 8. Held locks are recorded with their owner, newest last, each with the strength held before: giving back to a
//    savepoint pops the list.

/// One locked key.
@unsafe
struct LockNode: BitwiseCopyable {
  var next: UnsafeMutablePointer<LockNode>?
  var hash: UInt64
  var key: UnsafeRawPointer?
  var keyCount: UInt32
  /// What the only holder has; 0 when there is a crowd.
  var strength: UInt8
  var holder: Unmanaged<LockOwner>?
  var crowd: Unmanaged<LockCrowd>?

  var keyBytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: key, count: Int(keyCount)) }
}

typealias LockNodePointer = UnsafeMutablePointer<LockNode>

/// The holders and waiters of a key that more than one transaction wants.
@safe
final class LockCrowd {
  @unsafe
  struct Holder {
    var owner: Unmanaged<LockOwner>
    var strength: UInt8
  }
  var holders: [Holder] = unsafe []
  /// First in first out; those who hold a weaker lock first.
  var waiters: [Unmanaged<LockOwner>] = unsafe []
  /// How many hold each strength.
  var counts: (Int, Int, Int, Int, Int) = (0, 0, 0, 0, 0)

  func count(_ strength: UInt8, _ change: Int) {
    switch strength {
    case 1: counts.1 += change
    case 2: counts.2 += change
    case 3: counts.3 += change
    case 4: counts.4 += change
    default: counts.0 += change
    }
  }

  /// The strongest that anybody but a holder of `own` has; 0 if nobody.
  func strongest(without own: UInt8) -> UInt8 {
    if counts.4 > (own == 4 ? 1 : 0) { return 4 }
    if counts.3 > (own == 3 ? 1 : 0) { return 3 }
    if counts.2 > (own == 2 ? 1 : 0) { return 2 }
    if counts.1 > (own == 1 ? 1 : 0) { return 1 }
    return 0
  }

  var waitingOwners: [LockOwner] { unsafe waiters.map { unsafe $0.takeUnretainedValue() } }

  /// The strongest that anybody waits for; 0 if nobody waits.
  var strongestWaiter: UInt8 { waitingOwners.reduce(0) { max($0, $1.waitStrength) } }

  func index(of owner: LockOwner) -> Int? {
    unsafe holders.firstIndex { unsafe $0.owner.toOpaque() == Unmanaged.passUnretained(owner).toOpaque() }
  }
}

/// A lock as its owner remembers it.
@unsafe
struct HeldLock: BitwiseCopyable {
  var node: LockNodePointer
  /// The entry of the write set.
  var entry: UInt32
  /// What was held before.
  var previous: UInt8
}

/// A locked interval, or one that waits to be.
@safe
final class RangeLock {
  let owner: Unmanaged<LockOwner>
  let range: KeyRange
  var isGranted = false
  init(owner: LockOwner, range: KeyRange) {
    unsafe self.owner = unsafe Unmanaged.passUnretained(owner)
    self.range = range
  }
}

@safe
final class LockTable: @unchecked Sendable {
  // `@unchecked`: stripes are guarded by their latches, the rest by `waitLatch`.
  @unsafe
  struct Stripe {
    var mutex: pthread_mutex_t
    var buckets: UnsafeMutablePointer<LockNodePointer?>
    var mask: Int
    var count: Int
    var spare: LockNodePointer?
    var spareCount: Int
  }

  static let stripeCount = 256
  private static let firstBucketCount = 8
  private static let spareLimit = 64
  /// Stripes begin on cache lines of their own.
  private static let stripeStride = unsafe (MemoryLayout<Stripe>.size + 63) & ~63

  private let memory: UnsafeMutableRawPointer
  private static let noteCount = 4096
  private let released: UnsafeMutablePointer<Atomic<UInt64>>
  private let releasedRange = Atomic<UInt64>(0)
  let waitLatch = Latch()
  /// How many range locks there are, granted or waiting.
  let rangeLockCount = Atomic<Int>(0)
  let claims = ClaimTable()
  var rangeLocks: [RangeLock] = []
  /// Everybody who waits.
  var waiting: [Unmanaged<LockOwner>] = unsafe []
  var visitGeneration: UInt64 = 0
  let waits = Atomic<UInt64>(0)
  let deadlocks = Atomic<UInt64>(0)

  init() {
    unsafe memory = UnsafeMutableRawPointer.allocate(
      byteCount: LockTable.stripeCount * LockTable.stripeStride, alignment: 64)
    unsafe released = .allocate(capacity: LockTable.noteCount)
    for index in 0..<LockTable.noteCount { unsafe (released + index).initialize(to: Atomic(0)) }
    for index in 0..<LockTable.stripeCount {
      let buckets = UnsafeMutablePointer<LockNodePointer?>.allocate(capacity: LockTable.firstBucketCount)
      unsafe buckets.initialize(repeating: nil, count: LockTable.firstBucketCount)
      let stripe = unsafe stripe(at: index)
      unsafe stripe.initialize(
        to: Stripe(
          mutex: pthread_mutex_t(), buckets: buckets, mask: LockTable.firstBucketCount - 1, count: 0, spare: nil,
          spareCount: 0))
      unsafe pthread_mutex_init(mutex(stripe), nil)
    }
  }

  deinit {
    for index in 0..<LockTable.stripeCount {
      let stripe = unsafe stripe(at: index)
      unsafe assert(stripe.pointee.count == 0, "the lock table ends with locks in it")
      while let node = unsafe stripe.pointee.spare {
        unsafe stripe.pointee.spare = unsafe node.pointee.next
        unsafe node.deallocate()
      }
      unsafe stripe.pointee.buckets.deallocate()
      unsafe pthread_mutex_destroy(mutex(stripe))
    }
    unsafe memory.deallocate()
    unsafe released.deinitialize(count: LockTable.noteCount)
    unsafe released.deallocate()
  }

  // MARK: Stripes

  @inline(__always)
  func stripe(at index: Int) -> UnsafeMutablePointer<Stripe> {
    unsafe (memory + index * LockTable.stripeStride).assumingMemoryBound(to: Stripe.self)
  }
  @inline(__always)
  func stripe(of hash: UInt64) -> UnsafeMutablePointer<Stripe> { unsafe stripe(at: Int(hash & 255)) }
  @inline(__always)
  private func mutex(_ stripe: UnsafeMutablePointer<Stripe>) -> UnsafeMutablePointer<pthread_mutex_t> {
    unsafe UnsafeMutableRawPointer(stripe).assumingMemoryBound(to: pthread_mutex_t.self)
  }
  @inline(__always)
  func latch(_ stripe: UnsafeMutablePointer<Stripe>) { _ = unsafe pthread_mutex_lock(mutex(stripe)) }
  @inline(__always)
  func unlatch(_ stripe: UnsafeMutablePointer<Stripe>) { _ = unsafe pthread_mutex_unlock(mutex(stripe)) }

  @inline(__always)
  func find(
    _ stripe: UnsafeMutablePointer<Stripe>, _ key: UnsafeRawBufferPointer, _ hash: UInt64
  ) -> LockNodePointer? {
    var node = unsafe stripe.pointee.buckets[Int(truncatingIfNeeded: hash >> 8) & stripe.pointee.mask]
    while let current = unsafe node {
      if unsafe current.pointee.hash == hash && Int(current.pointee.keyCount) == key.count
        && (key.count == 0
          || memcmp(current.pointee.key.unsafelyUnwrapped, key.baseAddress.unsafelyUnwrapped, key.count) == 0)
      {
        return unsafe current
      }
      unsafe node = unsafe current.pointee.next
    }
    return nil
  }

  private func addNode(
    _ stripe: UnsafeMutablePointer<Stripe>, _ key: UnsafeRawBufferPointer, _ hash: UInt64
  ) -> LockNodePointer {
    if unsafe stripe.pointee.count > stripe.pointee.mask { unsafe resize(stripe, to: (stripe.pointee.mask + 1) * 2) }
    let node: LockNodePointer
    if let spare = unsafe stripe.pointee.spare {
      unsafe node = unsafe spare
      unsafe stripe.pointee.spare = unsafe spare.pointee.next
      unsafe stripe.pointee.spareCount -= 1
    } else {
      unsafe node = LockNodePointer.allocate(capacity: 1)
    }
    let bucket = unsafe Int(truncatingIfNeeded: hash >> 8) & stripe.pointee.mask
    unsafe node.initialize(
      to: LockNode(
        next: stripe.pointee.buckets[bucket], hash: hash, key: key.baseAddress,
        keyCount: UInt32(truncatingIfNeeded: key.count), strength: 0, holder: nil, crowd: nil))
    unsafe stripe.pointee.buckets[bucket] = unsafe node
    unsafe stripe.pointee.count += 1
    return unsafe node
  }

  private func removeNode(_ stripe: UnsafeMutablePointer<Stripe>, _ node: LockNodePointer) {
    let bucket = unsafe Int(truncatingIfNeeded: node.pointee.hash >> 8) & stripe.pointee.mask
    if unsafe stripe.pointee.buckets[bucket] == node {
      unsafe stripe.pointee.buckets[bucket] = unsafe node.pointee.next
    } else {
      var before = unsafe stripe.pointee.buckets[bucket]
      while let current = unsafe before, unsafe current.pointee.next != node {
        unsafe before = unsafe current.pointee.next
      }
      unsafe before.unsafelyUnwrapped.pointee.next = unsafe node.pointee.next
    }
    if let crowd = unsafe node.pointee.crowd {
      unsafe crowd.release()
      unsafe free(UnsafeMutableRawPointer(mutating: node.pointee.key))
    }
    unsafe stripe.pointee.count -= 1
    if unsafe stripe.pointee.spareCount < LockTable.spareLimit {
      unsafe node.pointee.next = unsafe stripe.pointee.spare
      unsafe stripe.pointee.spare = unsafe node
      unsafe stripe.pointee.spareCount += 1
    } else {
      unsafe node.deallocate()
    }
    if unsafe stripe.pointee.count == 0 && stripe.pointee.mask >= 1024 {
      unsafe resize(stripe, to: LockTable.firstBucketCount)
    }
  }

  private func resize(_ stripe: UnsafeMutablePointer<Stripe>, to count: Int) {
    let buckets = UnsafeMutablePointer<LockNodePointer?>.allocate(capacity: count)
    unsafe buckets.initialize(repeating: nil, count: count)
    for index in unsafe 0...stripe.pointee.mask {
      var node = unsafe stripe.pointee.buckets[index]
      while let current = unsafe node {
        unsafe node = unsafe current.pointee.next
        let bucket = unsafe Int(truncatingIfNeeded: current.pointee.hash >> 8) & (count - 1)
        unsafe current.pointee.next = unsafe buckets[bucket]
        unsafe buckets[bucket] = unsafe current
      }
    }
    unsafe stripe.pointee.buckets.deallocate()
    unsafe stripe.pointee.buckets = unsafe buckets
    unsafe stripe.pointee.mask = count - 1
  }

  // MARK: Taking

  /// Takes a lock if that is possible at once. The key must lie in the owner's arena; `own` is what the owner has on it.
  @inline(__always)
  func tryLock(
    _ owner: LockOwner, _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ strength: UInt8, own: UInt8, entry: UInt32
  ) -> Bool {
    let stripe = unsafe stripe(of: hash)
    unsafe latch(stripe)
    defer { unsafe unlatch(stripe) }
    guard rangeLockCount.load(ordering: .acquiring) == 0 else { return false }
    if claims.isInUse, unsafe (own > 0 && owner.claim != nil) || claims.mayCover(key, for: owner) { return false }
    return unsafe grantIfFree(stripe, owner, key, hash, strength, own: own, entry: entry)
  }

  /// Under the stripe's latch.
  @inline(__always)
  func grantIfFree(
    _ stripe: UnsafeMutablePointer<Stripe>, _ owner: LockOwner, _ key: UnsafeRawBufferPointer, _ hash: UInt64,
    _ strength: UInt8, own: UInt8, entry: UInt32
  ) -> Bool {
    guard let node = unsafe find(stripe, key, hash) else {
      let node = unsafe addNode(stripe, key, hash)
      unsafe node.pointee.holder = unsafe Unmanaged.passUnretained(owner)
      unsafe node.pointee.strength = strength
      unsafe owner.held.append(HeldLock(node: node, entry: entry, previous: 0))
      return true
    }
    if unsafe node.pointee.crowd == nil {
      if own > 0 {
        unsafe node.pointee.strength = strength
        unsafe owner.held.append(HeldLock(node: node, entry: entry, previous: own))
        return true
      }
      if unsafe node.pointee.strength + strength > 4 { return false }
      unsafe makeCrowd(node)
    }
    let crowd = unsafe node.pointee.crowd.unsafelyUnwrapped._withUnsafeGuaranteedRef { $0 }
    if crowd.strongest(without: own) + strength > 4 { return false }
    if own == 0 && crowd.strongestWaiter + strength > 4 { return false }
    hold(crowd, owner, strength, own: own)
    unsafe owner.held.append(HeldLock(node: node, entry: entry, previous: own))
    return true
  }

  func hold(_ crowd: LockCrowd, _ owner: LockOwner, _ strength: UInt8, own: UInt8) {
    if own > 0, let index = crowd.index(of: owner) {
      crowd.count(own, -1)
      unsafe crowd.holders[index].strength = strength
    } else {
      unsafe crowd.holders.append(LockCrowd.Holder(owner: Unmanaged.passUnretained(owner), strength: strength))
    }
    crowd.count(strength, 1)
  }

  /// From now on the node keeps its holders in a crowd, and its own copy of the key.
  private func makeCrowd(_ node: LockNodePointer) {
    let crowd = LockCrowd()
    if let holder = unsafe node.pointee.holder {
      unsafe crowd.holders.append(LockCrowd.Holder(owner: holder, strength: node.pointee.strength))
      unsafe crowd.count(node.pointee.strength, 1)
    }
    unsafe node.pointee.crowd = unsafe Unmanaged.passRetained(crowd)
    unsafe node.pointee.holder = nil
    unsafe node.pointee.strength = 0
    let count = unsafe Int(node.pointee.keyCount)
    guard let copy = unsafe malloc(max(1, count)) else { fatalError("out of memory") }
    if count > 0 { unsafe memcpy(copy, node.pointee.key.unsafelyUnwrapped, count) }
    unsafe node.pointee.key = UnsafeRawPointer(copy)
  }

  /// The node of `key`, with a crowd. Under the stripe's latch.
  func crowdedNode(
    _ stripe: UnsafeMutablePointer<Stripe>, _ key: UnsafeRawBufferPointer, _ hash: UInt64
  ) -> LockNodePointer {
    let node = unsafe find(stripe, key, hash) ?? addNode(stripe, key, hash)
    if unsafe node.pointee.crowd == nil { unsafe makeCrowd(node) }
    return unsafe node
  }

  // MARK: Giving back

  /// Gives back what was taken after `mark` locks were held, newest first, and a claim as a whole unless `keepsClaim`;
  /// `restore` learns the entry and the strength that is left of each. Wakes those whose turn it is.
  func unlock(
    _ owner: LockOwner, downTo mark: Int = 0, ranges rangeMark: Int = 0, keepsClaim: Bool = false,
    restore: (UInt32, UInt8) -> Void = { _, _ in }
  ) {
    var granted: [LockOwner] = []
    while unsafe owner.held.count > mark {
      let lock = unsafe owner.held.removeLast()
      unsafe unlock(owner, lock, &granted)
      unsafe restore(lock.entry, lock.previous)
    }
    if owner.claim != nil && !keepsClaim { endClaim(owner, &granted) }
    if rangeLockCount.load(ordering: .acquiring) > 0 { unlockRanges(owner, downTo: rangeMark, &granted) }
    for owner in granted { finish(owner) }
  }

  /// Gives back everything while `version`, the owner's, is applied and not visible. One thread at a time, with growing
  /// versions. Not with a claim, whose keys are too many to be noted.
  func unlockEarly(_ owner: LockOwner, _ version: Version) {
    guard owner.claim == nil else { return }
    for index in unsafe 0..<owner.held.count {
      unsafe note(of: owner.held[index].node.pointee.hash).pointee.store(version.rawValue, ordering: .relaxed)
    }
    if !owner.rangeLocks.isEmpty { releasedRange.store(version.rawValue, ordering: .relaxed) }
    unlock(owner)
  }

  @inline(__always)
  private func note(of hash: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe released + Int(truncatingIfNeeded: hash >> 20) & (LockTable.noteCount - 1)
  }

  /// The newest version whose locks on the key, and perhaps on others, were given back early. For who has the lock now:
  /// the latch under which it was taken orders this behind the note.
  @inline(__always)
  func releasedVersion(_ hash: UInt64) -> Version {
    unsafe Version(
      max(note(of: hash).pointee.load(ordering: .relaxed), releasedRange.load(ordering: .relaxed)))
  }

  @inline(__always)
  func unlock(_ owner: LockOwner, _ lock: HeldLock, _ granted: inout [LockOwner]) {
    let node = unsafe lock.node
    let stripe = unsafe stripe(of: node.pointee.hash)
    unsafe latch(stripe)
    guard let crowd = unsafe node.pointee.crowd else {
      if unsafe lock.previous > 0 {
        unsafe node.pointee.strength = unsafe lock.previous
      } else {
        unsafe removeNode(stripe, node)
      }
      unsafe unlatch(stripe)
      return
    }
    let isAwaited = unsafe !crowd._withUnsafeGuaranteedRef { unsafe $0.waiters.isEmpty }
    if !isAwaited {
      unsafe leave(stripe, node, owner, lock.previous)
      unsafe removeIfUnused(stripe, node)
      unsafe unlatch(stripe)
      return
    }
    unsafe unlatch(stripe)
    waitLatch.lock()
    unsafe latch(stripe)
    unsafe leave(stripe, node, owner, lock.previous)
    unsafe grantQueue(stripe, node, &granted)
    unsafe unlatch(stripe)
    waitLatch.unlock()
  }

  /// Takes `owner` out of the holders, or back to the strength `previous`; the node stays. Under the stripe's latch.
  private func leave(
    _ stripe: UnsafeMutablePointer<Stripe>, _ node: LockNodePointer, _ owner: LockOwner, _ previous: UInt8
  ) {
    let crowd = unsafe node.pointee.crowd.unsafelyUnwrapped.takeUnretainedValue()
    guard let index = crowd.index(of: owner) else { return }
    unsafe crowd.count(crowd.holders[index].strength, -1)
    if previous > 0 {
      unsafe crowd.holders[index].strength = previous
      crowd.count(previous, 1)
    } else {
      unsafe crowd.holders.swapAt(index, crowd.holders.count - 1)
      unsafe crowd.holders.removeLast()
    }
  }

  /// Removes the node if nobody holds or awaits its key. Under the stripe's latch.
  func removeIfUnused(_ stripe: UnsafeMutablePointer<Stripe>, _ node: LockNodePointer) {
    guard let crowd = unsafe node.pointee.crowd?.takeUnretainedValue() else { return }
    if unsafe crowd.holders.isEmpty && crowd.waiters.isEmpty { unsafe removeNode(stripe, node) }
  }
}

func lockStrength(_ raw: UInt8) -> LockStrength { LockStrength(rawValue: raw) ?? .update }
