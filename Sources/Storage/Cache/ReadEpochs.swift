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
/// Whoever reads what is not in the cache drives something out of it: so there are several lists of what waits, each behind a
/// lock of its own, and a thread uses one of them.
///
/// `@unchecked Sendable`: the gate's memory is atomic, the lists are guarded by their locks.
@safe
final class ReadEpochs: @unchecked Sendable {
  /// One of the lists.
  @safe
  private final class List: Sendable {
    let retired = unsafe Mutex(Retired())
  }

  /// Valid as long as this object lives.
  let gate: ReadGate
  private static let listBits = 3
  private let lists: [List]
  /// Somebody looks whether readers have gone.
  private let isAdvancing = Atomic<Bool>(false)

  init() {
    unsafe gate = ReadGate()
    lists = (0..<(1 << Self.listBits)).map { _ in List() }
  }

  deinit {
    for list in lists { unsafe list.retired.withLock { unsafe $0.takeAll() }.release() }
    unsafe gate.counters.deallocate()
  }

  /// Gives away a reference to blocks that no new reader can find, to be released when no reader can stand on them.
  func retire(_ blocks: BlockChain) {
    guard unsafe !blocks.isEmpty else { return }
    let thread = UInt64(pthread_self())
    let list = lists[Int(truncatingIfNeeded: (thread &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - Self.listBits))]
    let isMuch = unsafe list.retired.withLock { (retired) -> Bool in
      unsafe retired.add(blocks, epoch: epoch)
      return unsafe retired.isMuch
    }
    if isMuch {
      advance()
      unsafe list.retired.withLock { unsafe $0.take(at: epoch) }.release()
    }
  }

  /// How many wait.
  var count: Int { lists.reduce(0) { $0 + (unsafe $1.retired.withLock { unsafe $0.count }) } }

  /// Frees what can be freed now.
  func reclaim() {
    advance()
    for list in lists { unsafe list.retired.withLock { unsafe $0.take(at: epoch) }.release() }
  }

  private var epoch: UInt64 { unsafe gate.epoch.pointee.load(ordering: .sequentiallyConsistent) }

  /// Two steps, if no reader bars them and nobody else is at it.
  private func advance() {
    guard !isAdvancing.exchange(true, ordering: .acquiringAndReleasing) else { return }
    defer { isAdvancing.store(false, ordering: .releasing) }
    for _ in 0..<2 {
      let now = epoch
      let parity = Int(truncatingIfNeeded: (now &+ 1) & 1)
      for stripe in unsafe 0..<ReadGate.stripes
      where unsafe gate.counter(stripe, parity).pointee.load(ordering: .sequentiallyConsistent) != 0 {
        return
      }
      unsafe gate.epoch.pointee.store(now &+ 1, ordering: .sequentiallyConsistent)
    }
  }
}

/// Blocks that wait for their readers, oldest first.
@unsafe
private struct Retired: ~Copyable, Sendable {
  /// Looking whether readers have gone touches a line of every stripe: it is done once for so many blocks, or bytes.
  private static let patienceCount = 32
  private static let patienceSizeBytes = 256 << 10

  private var blocks = unsafe BlockChain()
  private(set) var count = 0
  private var sizeBytes = 0
  /// What was left when it was last looked.
  private var leftCount = 0
  private var leftSizeBytes = 0

  var isMuch: Bool {
    unsafe count - leftCount >= Self.patienceCount || sizeBytes - leftSizeBytes >= Self.patienceSizeBytes
  }

  mutating func add(_ chain: BlockChain, epoch: UInt64) {
    var chain = unsafe chain
    while let block = unsafe chain.pop() {
      unsafe block.pointee.retiredAt = epoch
      unsafe count += 1
      unsafe sizeBytes += block.pointee.sizeBytes
      unsafe blocks.append(block)
    }
  }

  /// Those for which every reader has gone.
  mutating func take(at epoch: UInt64) -> BlockChain {
    var free = unsafe BlockChain()
    while let block = unsafe blocks.oldest, unsafe block.pointee.retiredAt + 2 <= epoch {
      unsafe count -= 1
      unsafe sizeBytes -= block.pointee.sizeBytes
      unsafe free.append(blocks.pop().unsafelyUnwrapped)
    }
    unsafe leftCount = unsafe count
    unsafe leftSizeBytes = unsafe sizeBytes
    return unsafe free
  }

  /// All, when there are no readers any more.
  mutating func takeAll() -> BlockChain { unsafe take(at: .max) }
}
