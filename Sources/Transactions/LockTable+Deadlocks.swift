internal import Storage
internal import Synchronization

// Deadlocks: found at once, when the wait begins that closes the cycle.
//
// Edges of the waits-for graph: a waiter depends on every other holder whose lock conflicts with its request, and on every
// conflicting request before it in the queue (first in first out makes those real). The graph had no cycle before, so a
// new one contains the new waiter; hence nothing is searched unless somebody waits for what the newcomer holds.
//
// Victim: of the cycle's members the one that was tried least often before, and of those the youngest: the oldest
// transaction and the most often repeated one get through, so that somebody always does.

extension LockTable {
  /// Breaks every cycle through `newcomer`, which has just begun to wait. Under `waitLatch`.
  func breakDeadlocks(_ newcomer: LockOwner, _ ended: inout [LockOwner]) {
    guard isAwaited(newcomer) else { return }
    while newcomer.isWaiting, let cycle = cycle(through: newcomer) {
      var victim = newcomer
      for member in cycle where (member.attempts, ~member.id) < (victim.attempts, ~victim.id) { victim = member }
      let first = cycle.firstIndex { $0 === victim } ?? 0
      let ordered = cycle[first...] + cycle[..<first]
      let deadlock = Deadlock(
        waits: ordered.map {
          Deadlock.Wait(transaction: $0.reference, keys: waitedKeys($0), strength: lockStrength($0.waitStrength))
        })
      deadlocks.wrappingAdd(1, ordering: .relaxed)
      abandonWait(victim, .deadlock(deadlock), &ended)
    }
  }

  /// Whether anybody waits for what `owner` holds. May say yes wrongly.
  private func isAwaited(_ owner: LockOwner) -> Bool {
    guard unsafe owner.held.count <= 64, owner.claim == nil, owner.rangeLocks.isEmpty, owner.waitRange == nil,
      rangeLocks.isEmpty
    else {
      return true
    }
    for index in unsafe 0..<owner.held.count {
      let node = unsafe owner.held[index].node
      let stripe = unsafe stripe(of: node.pointee.hash)
      unsafe latch(stripe)
      let isAwaited = unsafe node.pointee.crowd.map { unsafe !$0.takeUnretainedValue().waiters.isEmpty } ?? false
      unsafe unlatch(stripe)
      if isAwaited { return true }
    }
    return false
  }

  /// A shortest cycle of waits through `start`, in order, or nil.
  private func cycle(through start: LockOwner) -> [LockOwner]? {
    visitGeneration &+= 1
    var reached: [(owner: LockOwner, by: Int)] = [(start, -1)]
    start.visit = visitGeneration
    var next = 0
    while next < reached.count {
      let current = reached[next].owner
      for blocker in blockers(of: current) {
        if blocker === start {
          var path: [LockOwner] = []
          var step = next
          while step >= 0 {
            path.append(reached[step].owner)
            step = reached[step].by
          }
          return path.reversed()
        }
        if blocker.visit != visitGeneration {
          blocker.visit = visitGeneration
          if blocker.isWaiting { reached.append((blocker, next)) }
        }
      }
      next += 1
    }
    return nil
  }

  /// Those whom a waiter waits for. Under `waitLatch`.
  func blockers(of waiter: LockOwner) -> [LockOwner] {
    if let range = waiter.waitRange { return blockers(of: range) }
    guard let node = unsafe waiter.waitNode else { return [] }
    var result: [LockOwner] = []
    let stripe = unsafe stripe(of: node.pointee.hash)
    unsafe latch(stripe)
    for holder in unsafe holders(of: node) where holder.owner !== waiter && holder.strength + waiter.waitStrength > 4 {
      result.append(holder.owner)
    }
    if waiter.waitOwn == 0, let crowd = unsafe node.pointee.crowd?.takeUnretainedValue() {
      for other in unsafe crowd.waiters.map({ unsafe $0.takeUnretainedValue() }) {
        if other === waiter { break }
        if other.waitStrength + waiter.waitStrength > 4 { result.append(other) }
      }
    }
    unsafe unlatch(stripe)
    for lock in rangeLocks where unsafe lock.owner.takeUnretainedValue() !== waiter {
      if unsafe lock.range.contains(node.pointee.keyBytes) { unsafe result.append(lock.owner.takeUnretainedValue()) }
    }
    return result
  }
}
