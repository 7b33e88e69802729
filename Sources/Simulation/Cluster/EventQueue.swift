// What happens when: a binary heap of plain values, ordered by (time, order of insertion), so that a run depends on
// nothing but its seed.

struct Event {
  enum Kind: UInt8 {
    case deliver
    case tick
    case syncDone
    case client
    case nemesis
    case restart
    case checkpointDone
    case transferDone
    case release
    case crash
  }
  var time: UInt64
  var order: UInt64
  var kind: Kind
  var node: UInt8
  /// A slot of the message slab, or what the kind needs.
  var index: UInt32
  /// The node's incarnation when this was arranged; an event of an earlier life is dropped.
  var life: UInt32
}

struct EventQueue {
  private var heap: [Event] = []
  private var order: UInt64 = 0

  var isEmpty: Bool { heap.isEmpty }
  var count: Int { heap.count }

  mutating func push(_ kind: Event.Kind, at time: UInt64, node: Int = 0, index: Int = 0, life: UInt32 = 0) {
    order += 1
    let event = Event(
      time: time, order: order, kind: kind, node: UInt8(node), index: UInt32(truncatingIfNeeded: index), life: life)
    heap.append(event)
    var i = heap.count - 1
    while i > 0 {
      let parent = (i - 1) / 2
      guard before(event, heap[parent]) else { break }
      heap[i] = heap[parent]
      i = parent
    }
    heap[i] = event
  }

  mutating func pop() -> Event? {
    guard let top = heap.first, let last = heap.popLast() else { return nil }
    let count = heap.count
    guard count > 0 else { return top }
    var i = 0
    while true {
      var child = 2 * i + 1
      guard child < count else { break }
      if child + 1 < count, before(heap[child + 1], heap[child]) { child += 1 }
      guard before(heap[child], last) else { break }
      heap[i] = heap[child]
      i = child
    }
    heap[i] = last
    return top
  }

  @inline(__always)
  private func before(_ a: Event, _ b: Event) -> Bool {
    a.time != b.time ? a.time < b.time : a.order < b.order
  }
}
