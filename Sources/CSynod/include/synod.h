// What Swift cannot say: per-function target attributes, header-only hashes, libc macros and
// variadic functions. Every function here is small, has no state of its own beyond what is
// documented, and is safe for any (pointer, length) that names readable memory.
#ifndef SYNOD_H
#define SYNOD_H

#include <stddef.h>
#include <stdint.h>

#include "network.h"

#ifdef __cplusplus
extern "C" {
#endif

/// CRC-32C (Castagnoli), in hardware where the processor has it, else by table.
/// `seed` is the checksum so far (0 to start).
uint32_t synod_crc32c(uint32_t seed, const void *bytes, size_t count);
/// The table-driven form, whatever the processor has: the oracle for tests.
uint32_t synod_crc32c_portable(uint32_t seed, const void *bytes, size_t count);

typedef struct { uint64_t low, high; } synod_hash128;
/// XXH3, 64 and 128 bits, seeded.
uint64_t synod_xxh3_64(const void *bytes, size_t count, uint64_t seed);
synod_hash128 synod_xxh3_128(const void *bytes, size_t count, uint64_t seed);

/// open(2) and friends: variadic in C, hence unavailable to Swift.
int synod_open(const char *path, int flags, unsigned mode);
/// O_DIRECT and O_DSYNC as the headers define them (macros that depend on _GNU_SOURCE).
extern const int synod_o_direct, synod_o_dsync;
/// MADV_POPULATE_WRITE (Linux 5.14), which older headers lack.
extern const int synod_populate_write;
/// sync_file_range(2): writes out what is dirty in the range and waits for it; 0 or errno.
int synod_write_out(int fd, int64_t offset, int64_t count);
/// fallocate(2) with the keep-size flag off; 0 or errno.
int synod_fallocate(int fd, int64_t offset, int64_t count);
/// An exclusive, non-blocking lock of the whole file that belongs to the open file description
/// (F_OFD_SETLK); 0 or errno. EAGAIN when another holder has it.
int synod_lock_exclusively(int fd);
/// Nanoseconds of CLOCK_BOOTTIME (counts suspended time), CLOCK_REALTIME, and this process's CPU time.
uint64_t synod_boot_nanoseconds(void);
uint64_t synod_wall_nanoseconds(void);
uint64_t synod_cpu_nanoseconds(void);
/// futex(2) wait (relative timeout in nanoseconds; 0 = none) and wake; 0 or errno.
int synod_futex_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_nanoseconds);
int synod_futex_wake(const uint32_t *word, int count);
/// Names the calling thread, for ps, top and perf; what is longer than 15 bytes is not taken.
void synod_name_thread(const char *name);
/// Asks the processor for the cache line at `address`, which need not be readable.
static inline void synod_prefetch(const void *address) { __builtin_prefetch(address); }
/// The lowest address and the size in bytes of the calling thread's stack; 0 or an error number.
int synod_stack_bounds(uintptr_t *start, size_t *size);
/// getrandom(2); 0 or errno.
int synod_random(void *bytes, size_t count);

#ifdef __cplusplus
}
#endif
#endif
