internal import Encoding
internal import Glibc
internal import Synchronization

// What readers read: an immutable list of memtables, newest first, above a set of tables. Writers put a new state in place
// when a memtable is rotated, flushed, or tables change; readers hold on to the one they have until they look again.
//
//   generation   one number, raised after a new state is in place
//   stripes      each with its own reference to the current state, behind its own lock
//
// 1. A reader whose pin has the current generation reads on: one load, no lock, no reference counting.
// 2. Otherwise it takes a reference from the stripe of its thread. Threads meet neither on a lock nor on a reference
//    count, for every stripe wraps the state in an object of its own.
// 3. The generation is read *before* the state: a pin is never older than its number says.
// 4. Versions become visible only after the state that holds them is in place, so a reader that took its snapshot first
//    and looks at the generation afterwards finds every version of the snapshot.

/// One state; immutable.
///
/// `@unchecked Sendable`: all memory is written by the initialiser and only read from then on.
@safe
final class ReadState: @unchecked Sendable {
  /// Newest first.
  let memtables: [Memtable]
  /// Their trees, for reading without touching the objects.
  let trees: UnsafeMutableBufferPointer<MemtableTree>

  /// Everything older.
  let tables: TableSet

  init(memtables: [Memtable], tables: TableSet) {
    self.memtables = memtables
    self.tables = tables
    unsafe trees = .allocate(capacity: memtables.count)
    for (index, memtable) in memtables.enumerated() { unsafe trees.initializeElement(at: index, to: memtable.tree) }
  }

  deinit { unsafe trees.deallocate() }
}

/// A stripe's own reference to a state.
final class ReadStateHolder: Sendable {
  let state: ReadState
  init(_ state: ReadState) { self.state = state }
}

/// The current state, and how readers get it.
final class ReadStates: Sendable {
  private final class Stripe: Sendable {
    let holder: Mutex<ReadStateHolder>
    init(_ state: ReadState) { holder = Mutex(ReadStateHolder(state)) }
  }

  private static let stripeBits = 4
  private let stripes: [Stripe]
  private let number = Atomic<UInt64>(1)

  init(_ state: ReadState) {
    stripes = (0..<(1 << Self.stripeBits)).map { _ in Stripe(state) }
  }

  /// Different for every state.
  @inline(__always) var generation: UInt64 { number.load(ordering: .acquiring) }

  /// A reference for this thread, with a generation that is not newer.
  func acquire() -> (holder: ReadStateHolder, generation: UInt64) {
    let generation = self.generation
    let thread = UInt64(pthread_self())
    let stripe = Int(truncatingIfNeeded: (thread &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - Self.stripeBits))
    return (stripes[stripe].holder.withLock { $0 }, generation)
  }

  var current: ReadState { acquire().holder.state }

  /// Puts `state` in place. One caller at a time.
  func install(_ state: ReadState) {
    // Dropped only after all locks are open: the last reference may free a memtable.
    var old: [ReadStateHolder] = []
    for stripe in stripes {
      let new = ReadStateHolder(state)
      old.append(
        stripe.holder.withLock { holder in
          let previous = holder
          holder = new
          return previous
        })
    }
    number.wrappingAdd(1, ordering: .acquiringAndReleasing)
    withExtendedLifetime(old) {}
  }
}

/// What a reader keeps between reads, so that the next one finds it: the state of the engine that it last saw, and the
/// block that its last answer lies in. Empty when made; `reset()` when the transaction ends, else it keeps memtables and
/// tables alive that the engine has done with. For one engine, and one thread at a time.
///
/// `@unchecked Sendable`: it may move between threads, but one at a time uses it.
@safe
package struct ReadPin: ~Copyable, @unchecked Sendable {
  var generation: UInt64 = 0
  var holder: ReadStateHolder?
  /// The holder's trees.
  var trees = unsafe UnsafeMutableBufferPointer<MemtableTree>(start: nil, count: 0)

  /// The holder's tables; meaningful when there is a holder.
  var tables: Unmanaged<TableSet>?
  /// The block that the last answer lies in.
  var block = BlockPin()

  package init() {}

  /// Lets go of everything.
  package mutating func reset() {
    block.reset()
    generation = 0
    unsafe trees = UnsafeMutableBufferPointer(start: nil, count: 0)
    unsafe tables = nil
    holder = nil
  }

  /// Makes it current.
  @inline(__always)
  mutating func refresh(_ states: ReadStates) {
    if generation != states.generation { renew(states) }
  }

  @inline(never)
  private mutating func renew(_ states: ReadStates) {
    let (holder, generation) = states.acquire()
    block.reset()
    self.holder = holder
    self.generation = generation
    unsafe tables = Unmanaged.passUnretained(holder.state.tables)
    unsafe trees = holder.state.trees
  }
}
