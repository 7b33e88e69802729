internal import Glibc
internal import Synchronization

// When memory that readers reach without locks may be freed.
//
// A reader stands in a section while it follows such pointers; what is unlinked is freed only when every section that
// could have seen it has ended. Sections are counted per stripe and parity of the epoch, as in sleepable RCU (McKenney,
// "Sleepable RCU", 2006), with the reader's second look at the epoch in place of the updater's second wait:
//
//   enter:   repeat   e = epoch; count[stripe][e & 1] += 1
//            until    epoch = e, else count[stripe][e & 1] -= 1
//   leave:   count[stripe][e & 1] -= 1
//   advance: if every count[·][(epoch + 1) & 1] is zero, epoch += 1
//
// 1. A reader that entered at e bars the step from e + 1 to e + 2. (Its count stood before its second look, which still
//    saw e; the check for that step comes after the step to e + 1.)
// 2. So what was unlinked and then retired at epoch r may be freed once the epoch is r + 2: sections that began before
//    the retirement were entered at r or r - 1.
//
// The cost to a reader: two atomic additions on a cache line that mostly no other thread uses.

/// The readers' side: plain pointers, so that entering and leaving touch no reference count.
@unsafe
struct ReadGate {
  fileprivate static let stripes = 64
  /// Two cache lines a stripe, so that neighbours do not disturb each other (processors fetch lines in pairs).
  private static let strideBytes = 128

  fileprivate let counters: UnsafeMutableRawPointer
  fileprivate let epoch: UnsafeMutablePointer<Atomic<UInt64>>

  fileprivate init() {
    // The epoch has a stride of its own behind the stripes.
    unsafe counters = .allocate(byteCount: (Self.stripes + 1) * Self.strideBytes, alignment: Self.strideBytes)
    unsafe epoch = (counters + Self.stripes * Self.strideBytes).bindMemory(to: Atomic<UInt64>.self, capacity: 1)
    unsafe epoch.initialize(to: Atomic(2))
    for index in unsafe 0..<Self.stripes {
      for parity in 0..<2 {
        let place = unsafe (counters + (index * Self.strideBytes + parity * 8)).bindMemory(
          to: Atomic<Int>.self, capacity: 1)
        unsafe place.initialize(to: Atomic(0))
      }
    }
  }

  @inline(__always)
  fileprivate func counter(_ stripe: Int, _ parity: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    unsafe (counters + (stripe &* Self.strideBytes &+ parity &* 8)).assumingMemoryBound(to: Atomic<Int>.self)
  }

  /// Begins a section; the token ends it. Sections are short: no section may wait for another.
  @inline(__always)
  func enter() -> Int {
    let thread = UInt64(pthread_self())
    let stripe = Int(truncatingIfNeeded: (thread &* 0x9E37_79B9_7F4A_7C15) >> 58)
    while true {
      let current = unsafe epoch.pointee.load(ordering: .relaxed)
      let parity = Int(truncatingIfNeeded: current & 1)
      _ = unsafe counter(stripe, parity).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
      if unsafe epoch.pointee.load(ordering: .sequentiallyConsistent) == current { return stripe << 1 | parity }
      _ = unsafe counter(stripe, parity).pointee.wrappingSubtract(1, ordering: .releasing)
    }
  }

  @inline(__always)
  func leave(_ token: Int) {
    _ = unsafe counter(token >> 1, token & 1).pointee.wrappingSubtract(1, ordering: .releasing)
  }
}

/// Sections of lock-free readers, and what waits for their end.
///
/// `@unchecked Sendable`: the gate's memory is atomic, the waiting list is guarded by its lock.
@safe
final class ReadEpochs: @unchecked Sendable {
  /// Valid as long as this object lives.
  let gate: ReadGate
  private let waiting = Mutex(Waiting())

  private struct Waiting: ~Copyable {
    var blocks: [(epoch: UInt64, block: UInt)] = []
    var first = 0
  }

  init() { unsafe gate = ReadGate() }

  deinit {
    waiting.withLock { waiting in
      for entry in waiting.blocks[waiting.first...] {
        unsafe UnsafeMutablePointer<CachedBlock>(bitPattern: entry.block)!.release()
      }
    }
    unsafe gate.counters.deallocate()
  }

  /// Gives away a reference to blocks that no new reader can find, to be released when no reader can stand on them.
  func retire(_ blocks: [UnsafeMutablePointer<CachedBlock>]) {
    guard unsafe !blocks.isEmpty else { return }
    let addresses = unsafe blocks.map { UInt(bitPattern: $0) }
    let free = waiting.withLock { waiting in
      let now = unsafe gate.epoch.pointee.load(ordering: .sequentiallyConsistent)
      for address in addresses { waiting.blocks.append((now, address)) }
      return advance(&waiting)
    }
    for address in free { unsafe UnsafeMutablePointer<CachedBlock>(bitPattern: address)!.release() }
  }

  /// Frees what can be freed now.
  func reclaim() {
    let free = waiting.withLock { advance(&$0) }
    for address in free { unsafe UnsafeMutablePointer<CachedBlock>(bitPattern: address)!.release() }
  }

  private func advance(_ waiting: inout Waiting) -> [UInt] {
    for _ in 0..<2 {
      let now = unsafe gate.epoch.pointee.load(ordering: .sequentiallyConsistent)
      let parity = Int(truncatingIfNeeded: (now &+ 1) & 1)
      var isQuiet = true
      for stripe in unsafe 0..<ReadGate.stripes
      where unsafe gate.counter(stripe, parity).pointee.load(ordering: .sequentiallyConsistent) != 0 {
        isQuiet = false
        break
      }
      guard isQuiet else { break }
      unsafe gate.epoch.pointee.store(now &+ 1, ordering: .sequentiallyConsistent)
    }
    let now = unsafe gate.epoch.pointee.load(ordering: .sequentiallyConsistent)
    var free: [UInt] = []
    while waiting.first < waiting.blocks.count, waiting.blocks[waiting.first].epoch + 2 <= now {
      free.append(waiting.blocks[waiting.first].block)
      waiting.first += 1
    }
    if waiting.first == waiting.blocks.count {
      waiting.blocks.removeAll(keepingCapacity: true)
      waiting.first = 0
    } else if waiting.first > 1024 {
      waiting.blocks.removeFirst(waiting.first)
      waiting.first = 0
    }
    return free
  }
}
