internal import Synchronization

/// What `EventLoop.schedule` returns, to take the timer back with.
package struct TimerToken: Hashable, Sendable {
  let slot: Int
  let generation: UInt32
}

/// Timers in a binary heap by deadline, each reachable by its token: scheduling and cancelling cost O(log n), and a
/// cancelled timer leaves nothing behind (statement timeouts are made and cancelled with every statement).
///
/// 1. `heap[slots[s].place].slot == s` for every used slot `s`.
/// 2. A parent's deadline is not after its children's; equal deadlines run in the order of scheduling.
struct TimerHeap: ~Copyable {
  typealias Body = @Sendable () -> Void

  private struct Node {
    var deadline: UInt64
    var order: UInt64
    var slot: Int

    func isBefore(_ other: Node) -> Bool { (deadline, order) < (other.deadline, other.order) }
  }

  private struct Slot {
    var generation: UInt32 = 0
    var place = -1
    var body: Body?
  }

  private var heap: [Node] = []
  private var slots: [Slot] = []
  private var free: [Int] = []
  private var scheduled: UInt64 = 0

  var count: Int { heap.count }
  /// The earliest deadline; `UInt64.max` where there is none.
  var earliest: UInt64 { heap.first?.deadline ?? .max }

  mutating func insert(deadline: UInt64, _ body: @escaping Body) -> TimerToken {
    let slot = free.popLast() ?? slots.count
    if slot == slots.count { slots.append(Slot()) }
    scheduled += 1
    slots[slot].body = body
    slots[slot].place = heap.count
    heap.append(Node(deadline: deadline, order: scheduled, slot: slot))
    rise(heap.count - 1)
    return TimerToken(slot: slot, generation: slots[slot].generation)
  }

  /// True where the timer was still waiting.
  mutating func remove(_ token: TimerToken) -> Bool {
    guard slots.indices.contains(token.slot), slots[token.slot].generation == token.generation,
      slots[token.slot].place >= 0
    else { return false }
    _ = take(token.slot)
    return true
  }

  /// The earliest timer whose deadline is not after `now`, taken out.
  mutating func popDue(_ now: UInt64) -> Body? {
    guard let first = heap.first, first.deadline <= now else { return nil }
    return take(first.slot)
  }

  private mutating func take(_ slot: Int) -> Body? {
    let place = slots[slot].place
    let body = slots[slot].body
    slots[slot].body = nil
    slots[slot].place = -1
    slots[slot].generation &+= 1
    free.append(slot)
    let last = heap.removeLast()
    if place < heap.count {
      heap[place] = last
      slots[last.slot].place = place
      sink(place)
      rise(place)
    }
    return body
  }

  private mutating func rise(_ start: Int) {
    var place = start
    while place > 0 {
      let parent = (place - 1) / 2
      guard heap[place].isBefore(heap[parent]) else { return }
      exchange(place, parent)
      place = parent
    }
  }

  private mutating func sink(_ start: Int) {
    var place = start
    while true {
      var least = place
      for child in [2 * place + 1, 2 * place + 2] where child < heap.count && heap[child].isBefore(heap[least]) {
        least = child
      }
      guard least != place else { return }
      exchange(place, least)
      place = least
    }
  }

  private mutating func exchange(_ a: Int, _ b: Int) {
    heap.swapAt(a, b)
    slots[heap[a].slot].place = a
    slots[heap[b].slot].place = b
  }
}

/// The heap by itself, with numbers for bodies: for tests of its order.
package struct TimerQueue: ~Copyable {
  private var heap = TimerHeap()
  private let popped = Popped()

  private final class Popped: Sendable {
    let numbers = Mutex<[Int]>([])
  }

  package init() {}

  package mutating func insert(deadline: UInt64, number: Int) -> TimerToken {
    heap.insert(deadline: deadline) { [popped] in popped.numbers.withLock { $0.append(number) } }
  }

  package mutating func remove(_ token: TimerToken) -> Bool { heap.remove(token) }

  /// The numbers of what is due, in order.
  package mutating func popDue(_ now: UInt64) -> [Int] {
    while let body = heap.popDue(now) { body() }
    return popped.numbers.withLock { numbers in
      defer { numbers.removeAll() }
      return numbers
    }
  }

  package var earliest: UInt64? { heap.count == 0 ? nil : heap.earliest }
}
