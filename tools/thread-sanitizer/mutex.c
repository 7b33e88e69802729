// Tells the thread sanitizer about Synchronization.Mutex. Preloaded by `tools/isolation sanitizer`.
//
// A Mutex that is free is taken, and given back without sleepers, by atomic operations that are compiled into our code,
// where the sanitizer sees them. With contention Swift's library calls the kernel (FUTEX_LOCK_PI), which it does not see:
// every pair of accesses on both sides of such a hand-over would look like a race. So these two functions stand before the
// library's own and say what they do.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *

// Absent in processes that are not sanitized (swift test itself).
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

SWIFT void synod_mutex_lock_slow(uint32_t thread, SELF mutex) __asm__(LOCK);
SWIFT void synod_mutex_unlock_slow(SELF mutex) __asm__(UNLOCK);

SWIFT void synod_mutex_lock_slow(uint32_t thread, SELF mutex) {
  static SWIFT void (*next)(uint32_t, SELF);
  if (!next) next = (SWIFT void (*)(uint32_t, SELF))dlsym(RTLD_NEXT, LOCK);
  next(thread, mutex);
  if (__tsan_acquire) __tsan_acquire(mutex);
}

SWIFT void synod_mutex_unlock_slow(SELF mutex) {
  static SWIFT void (*next)(SELF);
  if (!next) next = (SWIFT void (*)(SELF))dlsym(RTLD_NEXT, UNLOCK);
  if (__tsan_release) __tsan_release(mutex);
  next(mutex);
}
