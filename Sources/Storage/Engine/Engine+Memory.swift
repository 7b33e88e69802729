internal import Platform
internal import Synchronization

// Memory for what is about to be written (ArenaReserve.swift says why).
//
// A thread that the writer wakes when it comes near the end of what is backed. Nothing depends on it: memory that it did not
// get to in time is found by whoever touches it, as everywhere.

extension Engine {
  /// Wakes the keeper, if it does not know yet. Cheap enough for every group.
  func askForMemory() {
    guard options.background, !isMemoryAsked.load(ordering: .relaxed),
      !isMemoryAsked.exchange(true, ordering: .acquiringAndReleasing)
    else { return }
    memoryKeeper.wake()
  }

  func startKeepingMemory() {
    memoryKeeper.start("memory") { [weak self, idle = IdleWatch()] in
      // nil ends the thread: the engine is gone.
      guard let engine = self else { return nil }
      return engine.keepMemoryReady(idle)
    }
  }

  /// What the keeper saw when it last looked whether anybody writes. Its own.
  private final class IdleWatch: Sendable {
    let visible = Atomic<UInt64>(0)
    let taken = Atomic<Int>(0)
    /// How often in a row nothing was taken from the reserve.
    let unused = Atomic<Int>(0)
  }

  private static let watchNanoseconds: UInt64 = 500_000_000
  /// A spare that nobody takes for so long is not needed, however much is written meanwhile.
  private static let longestUnused = 30

  /// Finds memory, and returns how long to wait before it is to be looked whether it is needed still.
  private func keepMemoryReady(_ idle: IdleWatch) -> UInt64 {
    let wasAsked = isMemoryAsked.exchange(false, ordering: .acquiringAndReleasing)
    if wasAsked {
      var active = writer.withLock { $0.active }
      active.prepareNext(in: arenas)
      while active.needsMemory {
        active.prepareMemory()
        // The writer may have gone on meanwhile, to another memtable even.
        active = writer.withLock { $0.active }
      }
    } else if arenas.sizeBytes > 0 {
      let (visible, taken) = (snapshots.visible.load(ordering: .relaxed), arenas.takenCount)
      let isQuiet = idle.visible.exchange(visible, ordering: .relaxed) == visible
      let isUnused = idle.taken.exchange(taken, ordering: .relaxed) == taken
      let unused = isUnused ? idle.unused.load(ordering: .relaxed) + 1 : 0
      idle.unused.store(unused, ordering: .relaxed)
      if isQuiet || unused >= Self.longestUnused { arenas.trim() }
    }
    return arenas.sizeBytes > 0 ? Self.watchNanoseconds : 0
  }
}
