#define _GNU_SOURCE
#include "synod.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

// ---- CRC-32C ------------------------------------------------------------------------------

static uint32_t crc_table[8][256];

__attribute__((constructor)) static void fill_crc_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78u & -(crc & 1));
    crc_table[0][i] = crc;
  }
  for (int slice = 1; slice < 8; slice++)
    for (uint32_t i = 0; i < 256; i++)
      crc_table[slice][i] = (crc_table[slice - 1][i] >> 8) ^ crc_table[0][crc_table[slice - 1][i] & 255];
}

uint32_t synod_crc32c_portable(uint32_t seed, const void *bytes, size_t count) {
  const unsigned char *p = bytes;
  uint32_t crc = ~seed;
  for (; count >= 8; count -= 8, p += 8) {
    uint32_t a, b;
    memcpy(&a, p, 4);
    memcpy(&b, p + 4, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    a = __builtin_bswap32(a), b = __builtin_bswap32(b);
#endif
    a ^= crc;
    crc = crc_table[7][a & 255] ^ crc_table[6][(a >> 8) & 255] ^ crc_table[5][(a >> 16) & 255] ^ crc_table[4][a >> 24] ^
          crc_table[3][b & 255] ^ crc_table[2][(b >> 8) & 255] ^ crc_table[1][(b >> 16) & 255] ^ crc_table[0][b >> 24];
  }
  for (; count > 0; count--, p++) crc = (crc >> 8) ^ crc_table[0][(crc ^ *p) & 255];
  return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t seed, const void *bytes, size_t count) {
  const unsigned char *p = bytes;
  uint64_t crc = ~seed;
  for (; count >= 8; count -= 8, p += 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  for (; count > 0; count--, p++) crc = __builtin_ia32_crc32qi((uint32_t)crc, *p);
  return ~(uint32_t)crc;
}
uint32_t synod_crc32c(uint32_t seed, const void *bytes, size_t count) {
  return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(seed, bytes, count) : synod_crc32c_portable(seed, bytes, count);
}
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
__attribute__((target("crc"))) static uint32_t crc32c_arm(uint32_t seed, const void *bytes, size_t count) {
  const unsigned char *p = bytes;
  uint32_t crc = ~seed;
  for (; count >= 8; count -= 8, p += 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    crc = __crc32cd(crc, word);
  }
  for (; count > 0; count--, p++) crc = __crc32cb(crc, *p);
  return ~crc;
}
uint32_t synod_crc32c(uint32_t seed, const void *bytes, size_t count) {
  static int has = -1;
  if (has < 0) has = (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
  return has ? crc32c_arm(seed, bytes, count) : synod_crc32c_portable(seed, bytes, count);
}
#else
uint32_t synod_crc32c(uint32_t seed, const void *bytes, size_t count) {
  return synod_crc32c_portable(seed, bytes, count);
}
#endif

// ---- XXH3 ---------------------------------------------------------------------------------

uint64_t synod_xxh3_64(const void *bytes, size_t count, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, count, seed);
}

synod_hash128 synod_xxh3_128(const void *bytes, size_t count, uint64_t seed) {
  XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, count, seed);
  return (synod_hash128){hash.low64, hash.high64};
}

// ---- The system ---------------------------------------------------------------------------

#ifdef MADV_POPULATE_WRITE
const int synod_populate_write = MADV_POPULATE_WRITE;
#else
const int synod_populate_write = 23;
#endif
const int synod_o_direct = O_DIRECT;
const int synod_o_dsync = O_DSYNC;

int synod_open(const char *path, int flags, unsigned mode) { return open(path, flags, (mode_t)mode); }

int synod_write_out(int fd, int64_t offset, int64_t count) {
  const unsigned how = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  int result;
  do result = sync_file_range(fd, offset, count, how);
  while (result < 0 && errno == EINTR);
  return result < 0 ? errno : 0;
}

int synod_fallocate(int fd, int64_t offset, int64_t count) {
  int result;
  do result = fallocate(fd, 0, offset, count);
  while (result < 0 && errno == EINTR);
  return result < 0 ? errno : 0;
}

int synod_lock_exclusively(int fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int result;
  do result = fcntl(fd, F_OFD_SETLK, &lock);
  while (result < 0 && errno == EINTR);
  return result < 0 ? errno : 0;
}

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}
uint64_t synod_boot_nanoseconds(void) { return nanoseconds(CLOCK_BOOTTIME); }
uint64_t synod_wall_nanoseconds(void) { return nanoseconds(CLOCK_REALTIME); }
uint64_t synod_cpu_nanoseconds(void) { return nanoseconds(CLOCK_PROCESS_CPUTIME_ID); }

void synod_name_thread(const char *name) { (void)pthread_setname_np(pthread_self(), name); }

int synod_futex_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_nanoseconds) {
  struct timespec timeout = {.tv_sec = (time_t)(timeout_nanoseconds / 1000000000u),
                             .tv_nsec = (long)(timeout_nanoseconds % 1000000000u)};
  long result = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_nanoseconds ? &timeout : NULL, NULL, 0);
  return result < 0 ? errno : 0;
}

int synod_futex_wake(const uint32_t *word, int count) {
  long result = syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
  return result < 0 ? errno : 0;
}

int synod_stack_bounds(uintptr_t *start, size_t *size) {
  pthread_attr_t attributes;
  int status = pthread_getattr_np(pthread_self(), &attributes);
  if (status != 0) return status;
  void *address = NULL;
  status = pthread_attr_getstack(&attributes, &address, size);
  pthread_attr_destroy(&attributes);
  *start = (uintptr_t)address;
  return status;
}

int synod_random(void *bytes, size_t count) {
  unsigned char *p = bytes;
  while (count > 0) {
    ssize_t got = getrandom(p, count, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    p += got;
    count -= (size_t)got;
  }
  return 0;
}
