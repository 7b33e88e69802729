internal import Glibc

/// A lock of the process's own structures, held for a few hundred nanoseconds at most and never across I/O ("latch": the
/// locks of this module are what transactions hold on keys).
///
/// A pthread mutex rather than `Synchronization.Mutex`: as fast without contention, twice as fast with it, and the thread
/// sanitizer knows it.
@safe
struct Latch: ~Copyable, @unchecked Sendable {
  // `@unchecked`: the memory holds a mutex, whose purpose is to be shared.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>

  init() {
    // A cache line of its own: latches lie in arrays.
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
    unsafe mutex = memory.bindMemory(to: pthread_mutex_t.self, capacity: 1)
    let code = unsafe pthread_mutex_init(mutex, nil)
    precondition(code == 0, "pthread_mutex_init failed with \(code)")
  }

  deinit {
    unsafe pthread_mutex_destroy(mutex)
    unsafe UnsafeMutableRawPointer(mutex).deallocate()
  }

  @inline(__always)
  borrowing func lock() { _ = unsafe pthread_mutex_lock(mutex) }

  @inline(__always)
  borrowing func unlock() { _ = unsafe pthread_mutex_unlock(mutex) }

  @inline(__always)
  borrowing func withLock<R: ~Copyable, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    lock()
    defer { unlock() }
    return try body()
  }
}
