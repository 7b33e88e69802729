internal import Platform
internal import Synchronization

// Memory for memtables that the system has already backed.
//
// Memory that was never written has no page behind it. Whoever touches it first waits until the system has found one and
// zeroed it: 0.2 ms for a large page (2 MiB) where one is at hand, 5 to 50 ms in a virtual machine whose host has to find it
// first. In a memtable that is a commit, and all that are in its group. Therefore
//
// 1. a memtable's memory goes to the next memtable when its last reader has left, as it is: who takes it zeroes what must be
//    zero (`Memtable`);
// 2. what is new is touched by a thread of its own, ahead of the writer (`Engine.keepMemoryReady`);
// 3. what nobody needs goes back to the system: more than two pieces at once, and those that lie here while nobody writes
//    (docs/decisions/0160-memory-ahead-of-commits.md).

/// A mapping that belongs to one arena, or lies in a reserve.
///
/// `@unchecked Sendable`: only an address; its users say how they share what it holds.
@safe
struct ArenaMemory: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  let capacityBytes: Int
  /// So many of the first bytes have memory behind them.
  var backedBytes = 0

  /// Reserves zeroed address space.
  init(mapping capacityBytes: Int) {
    unsafe base = LargeMemory.reserve(capacityBytes)
    self.capacityBytes = capacityBytes
  }

  func unmap() { unsafe LargeMemory.unmap(base, capacityBytes) }
}

/// What memtables gave back, for the next ones. Any thread.
package final class ArenaReserve: Sendable {
  private struct State {
    var spares: [ArenaMemory] = []
    /// How often something was taken.
    var taken = 0
    var isClosed = false
  }

  private let state = Mutex(State())
  /// A writer that is faster than the flush has two waiting, and one that is being written.
  private static let limit = 2

  package init() {}

  deinit { trim() }

  /// Memory of that size; what is in it is anybody's.
  func take(_ capacityBytes: Int) -> ArenaMemory {
    let found: ArenaMemory? = state.withLock { state in
      state.taken += 1
      // The last one given back is the one that the processors' caches know best.
      guard let index = state.spares.lastIndex(where: { $0.capacityBytes == capacityBytes }) else { return nil }
      return state.spares.remove(at: index)
    }
    return found ?? ArenaMemory(mapping: capacityBytes)
  }

  /// Takes it back, or gives it to the system where enough is here.
  func give(_ memory: ArenaMemory) {
    let isKept = state.withLock { state in
      guard !state.isClosed, state.spares.count < Self.limit else { return false }
      state.spares.append(memory)
      return true
    }
    if !isKept { memory.unmap() }
  }

  /// Sees to it that there is a piece of that size of which the first bytes are backed.
  func prepare(_ capacityBytes: Int, backing count: Int) {
    let isThere = state.withLock { $0.spares.contains { $0.capacityBytes == capacityBytes } }
    guard !isThere else { return }
    var memory = ArenaMemory(mapping: capacityBytes)
    memory.backedBytes = unsafe LargeMemory.back(memory.base, min(count, capacityBytes))
    give(memory)
  }

  /// How often something was taken from here: while that stays the same, nobody needs what is here.
  package var takenCount: Int { state.withLock { $0.taken } }

  /// The bytes of the pieces that are here, backed or not.
  package var sizeBytes: Int { state.withLock { $0.spares.reduce(0) { $0 + $1.capacityBytes } } }

  /// Gives everything back to the system.
  package func trim() {
    let spares = state.withLock { state in
      defer { state.spares = [] }
      return state.spares
    }
    for memory in spares { memory.unmap() }
  }

  /// The same, and keeps nothing any more.
  package func close() {
    state.withLock { $0.isClosed = true }
    trim()
  }
}
