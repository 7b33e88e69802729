// Faults of the disk and of the wall clock for one process, from outside: a library that is loaded before the C library.
//
//   cc -O2 -shared -fPIC -o faults.so tools/faults.c
//   SYNOD_FAULTS_FILE=FILE LD_PRELOAD=./faults.so synod serve …
//
// FILE is mapped and read at every call, so that faults come and go while the process runs. Little endian:
//
//   offset size field
//   0      8    added to CLOCK_REALTIME, nanoseconds, signed; no other clock moves
//   8      4    what each write and sync of a file takes longer, microseconds
//   12     4    1: the disk is full; what is there can be written over, nothing can grow
//   16     4    1: writes and syncs fail with EIO
//
// The database itself knows nothing of this.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct orders {
  volatile int64_t wall_nanoseconds;
  volatile uint32_t delay_microseconds, is_full, fails;
};
static const struct orders *orders;

__attribute__((constructor)) static void map_orders(void) {
  const char *path = getenv("SYNOD_FAULTS_FILE");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *map = mmap(NULL, sizeof *orders, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (map != MAP_FAILED) orders = map;
}

// ---- The wall clock -----------------------------------------------------------------------

int clock_gettime(clockid_t clock, struct timespec *time) {
  int code = (int)syscall(SYS_clock_gettime, clock, time);
  if (code == 0 && orders && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    int64_t sum = time->tv_sec * 1000000000LL + time->tv_nsec + orders->wall_nanoseconds;
    time->tv_sec = sum / 1000000000LL;
    time->tv_nsec = sum % 1000000000LL;
  }
  return code;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

// ---- The disk -----------------------------------------------------------------------------

static int is_file(int descriptor, off_t *size) {
  struct stat status;
  if (fstat(descriptor, &status) || !S_ISREG(status.st_mode)) return 0;
  *size = status.st_size;
  return 1;
}

// 0: go on. -1: errno says why not.
static int disturb(int descriptor, off_t end) {
  if (!orders || !(orders->delay_microseconds || orders->is_full || orders->fails)) return 0;
  int before = errno;
  off_t size = 0;
  if (!is_file(descriptor, &size)) { errno = before; return 0; }
  if (orders->delay_microseconds) {
    struct timespec pause = {orders->delay_microseconds / 1000000, orders->delay_microseconds % 1000000 * 1000L};
    nanosleep(&pause, NULL);
  }
  if (orders->fails) { errno = EIO; return -1; }
  if (orders->is_full && end > size) { errno = ENOSPC; return -1; }
  errno = before;
  return 0;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
  if (disturb(descriptor, offset + (off64_t)count)) return -1;
  return syscall(SYS_pwrite64, descriptor, bytes, count, offset);
}
ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
  return pwrite64(descriptor, bytes, count, offset);
}
ssize_t write(int descriptor, const void *bytes, size_t count) {
  if (orders && (orders->is_full || orders->fails || orders->delay_microseconds)) {
    off_t at = lseek(descriptor, 0, SEEK_CUR);
    // Standard error is not the database's disk.
    if (at >= 0 && descriptor > 2 && disturb(descriptor, at + (off_t)count)) return -1;
  }
  return syscall(SYS_write, descriptor, bytes, count);
}
int fdatasync(int descriptor) { return disturb(descriptor, 0) ? -1 : (int)syscall(SYS_fdatasync, descriptor); }
int fsync(int descriptor) { return disturb(descriptor, 0) ? -1 : (int)syscall(SYS_fsync, descriptor); }

int fallocate64(int descriptor, int mode, off64_t offset, off64_t count) {
  if (disturb(descriptor, offset + count)) return -1;
  return (int)syscall(SYS_fallocate, descriptor, mode, offset, count);
}
int fallocate(int descriptor, int mode, off_t offset, off_t count) {
  return fallocate64(descriptor, mode, offset, count);
}
int posix_fallocate64(int descriptor, off64_t offset, off64_t count) {
  return fallocate64(descriptor, 0, offset, count) ? errno : 0;
}
int posix_fallocate(int descriptor, off_t offset, off_t count) { return posix_fallocate64(descriptor, offset, count); }

int statvfs64(const char *path, struct statvfs64 *result) {
  static int (*next)(const char *, struct statvfs64 *);
  if (!next) next = (int (*)(const char *, struct statvfs64 *))dlsym(RTLD_NEXT, "statvfs64");
  int code = next(path, result);
  if (code == 0 && orders && orders->is_full) result->f_bavail = result->f_bfree = 0;
  return code;
}
int statvfs(const char *path, struct statvfs *result) {
  return statvfs64(path, (struct statvfs64 *)result);
}
