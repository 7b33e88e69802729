internal import Storage

// What the lock table holds, for system views and messages.

extension LockTable {
  /// The number of keys that are locked or waited for.
  var lockedKeyCount: Int {
    var count = 0
    for index in 0..<LockTable.stripeCount {
      let stripe = unsafe stripe(at: index)
      unsafe latch(stripe)
      unsafe count += stripe.pointee.count
      unsafe unlatch(stripe)
    }
    return waitLatch.withLock { count + claims.count }
  }

  /// Calls `body` with every node, under its stripe's latch.
  func forEachNode(_ body: (UnsafeMutablePointer<Stripe>, LockNodePointer) -> Void) {
    for index in 0..<LockTable.stripeCount {
      let stripe = unsafe stripe(at: index)
      unsafe latch(stripe)
      for bucket in unsafe 0...stripe.pointee.mask {
        var node = unsafe stripe.pointee.buckets[bucket]
        while let current = unsafe node {
          unsafe node = unsafe current.pointee.next
          unsafe body(stripe, current)
        }
      }
      unsafe unlatch(stripe)
    }
  }

  /// Everything that is held or waited for.
  func information() -> [LockInformation] {
    waitLatch.lock()
    defer { waitLatch.unlock() }
    var result: [LockInformation] = []
    unsafe forEachNode { _, node in
      let keys = unsafe KeyRange(key: Array(node.pointee.keyBytes))
      for (owner, strength) in unsafe holders(of: node) {
        result.append(
          LockInformation(transaction: owner.reference, keys: keys, strength: lockStrength(strength), isGranted: true))
      }
      for owner in unsafe node.pointee.crowd?.takeUnretainedValue().waitingOwners ?? [] {
        result.append(
          LockInformation(
            transaction: owner.reference, keys: keys, strength: lockStrength(owner.waitStrength), isGranted: false))
      }
    }
    for lock in rangeLocks {
      unsafe result.append(
        LockInformation(
          transaction: lock.owner.takeUnretainedValue().reference, keys: lock.range, strength: .update,
          isGranted: lock.isGranted))
    }
    return result
  }

  /// Who holds a node's key. Under the stripe's latch.
  func holders(of node: LockNodePointer) -> [(owner: LockOwner, strength: UInt8)] {
    if let crowd = unsafe node.pointee.crowd?.takeUnretainedValue() {
      return unsafe crowd.holders.map { unsafe ($0.owner.takeUnretainedValue(), $0.strength) }
    }
    guard let holder = unsafe node.pointee.holder else { return [] }
    return unsafe [(holder.takeUnretainedValue(), node.pointee.strength)]
  }
}
