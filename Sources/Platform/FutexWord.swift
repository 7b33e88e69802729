internal import CSynod
internal import Synchronization

/// A 32-bit word on which threads of this process sleep until it changes (futex(2)).
///
/// Waiting and waking cost a system call each only when somebody sleeps; reading costs a load.
///
/// No wake is lost: a sleeper counts itself and then has the kernel compare the word; whoever wakes changes the word and then
/// looks at the count, with a full fence between. One of them sees the other.
@safe
package final class FutexWord: @unchecked Sendable {
  // `@unchecked`: the memory holds one atomic, initialised before the object is shared and freed with it.
  private let storage: UnsafeMutablePointer<Atomic<UInt32>>
  private let sleepers = Atomic<Int>(0)

  package init(_ initial: UInt32 = 0) {
    unsafe storage = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)
    unsafe storage.initialize(to: Atomic(initial))
  }

  deinit {
    unsafe storage.deinitialize(count: 1)
    unsafe storage.deallocate()
  }

  private var address: UnsafePointer<UInt32> {
    unsafe UnsafeRawPointer(storage).assumingMemoryBound(to: UInt32.self)
  }

  /// The word, with acquire ordering.
  package func load() -> UInt32 { unsafe storage.pointee.load(ordering: .acquiring) }

  /// Sets the word, with release ordering. Does not wake anyone.
  package func store(_ new: UInt32) { unsafe storage.pointee.store(new, ordering: .releasing) }

  /// Adds one, with release ordering, and returns the new value. Does not wake anyone.
  @discardableResult
  package func increment() -> UInt32 {
    unsafe storage.pointee.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
  }

  /// Sets the word to `new` if it is `expected`; returns whether it did.
  package func exchange(_ expected: UInt32, for new: UInt32) -> Bool {
    unsafe storage.pointee.compareExchange(expected: expected, desired: new, ordering: .acquiringAndReleasing).exchanged
  }

  /// Sleeps until the word is no longer `expected`, the timeout (0 = none) passes, or for no reason: check again.
  package func wait(while expected: UInt32, timeoutNanoseconds: UInt64 = 0) {
    sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    _ = unsafe synod_futex_wait(address, expected, timeoutNanoseconds)
    sleepers.wrappingSubtract(1, ordering: .relaxed)
  }

  /// Wakes up to `count` sleepers; to be called behind the change of the word.
  package func wake(_ count: Int32 = Int32.max) {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard sleepers.load(ordering: .relaxed) > 0 else { return }
    _ = unsafe synod_futex_wake(address, count)
  }
}
