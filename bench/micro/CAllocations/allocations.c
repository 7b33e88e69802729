#include "allocations.h"
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static __thread uint64_t of_thread;
static _Atomic uint64_t of_all;
static _Atomic int counts_all;

static inline void count(void) {
  of_thread++;
  if (atomic_load_explicit(&counts_all, memory_order_relaxed)) atomic_fetch_add_explicit(&of_all, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
  count();
  return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
  count();
  return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
  count();
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  count();
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  count();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
  count();
  void *memory = __libc_memalign(alignment, size);
  if (!memory) return ENOMEM;
  *result = memory;
  return 0;
}

uint64_t synod_allocations_of_thread(void) { return of_thread; }

uint64_t synod_allocations_of_all(void) { return atomic_load_explicit(&of_all, memory_order_relaxed); }

void synod_allocations_count_all(int on) { atomic_store(&counts_all, on); }
