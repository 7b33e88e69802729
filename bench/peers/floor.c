// What the machine itself needs: the floors under every figure.
//
//   floor disk PATH SECONDS      4 KiB, preallocated, durable: overwrite + fdatasync, O_DIRECT|O_DSYNC, append + fdatasync
//   floor steady PATH SECONDS    4 KiB durable as direct writes, 2,500 a second, from when they were due: alone, then beside
//                                what flush, compaction and new segments write under the same load
//   floor quorum PATH SECONDS    4 KiB durable in one file and in one of two more, three nodes' logs on one disk: each of the
//                                two others takes the newest write when it is done with its last
//   floor loopback SECONDS       one byte there and back between two threads over TCP
#define _GNU_SOURCE
#include "measure.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

static char *block;
static int file, direct, appended, pair[2];
static const off_t size = 64 << 20;

static void *open_nothing(struct client *c) {
  (void)c;
  return NULL;
}

/// A file that was written once, so that overwriting changes no metadata; -1 where it cannot be opened with `flags`.
static int preallocated(const char *name, int flags) {
  int made = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (made < 0) die("floor", name);
  for (off_t at = 0; at < size; at += 4096)
    if (pwrite(made, block, 4096, at) != 4096) die("floor", "preallocate");
  fsync(made);
  if (!flags) return made;
  close(made);
  return open(name, O_RDWR | flags);
}

static void overwrite(struct client *c) {
  if (pwrite(file, block, 4096, (off_t)(c->count * 4096) % size) != 4096 || fdatasync(file)) die("floor", "write");
}

static void write_direct(struct client *c) {
  if (pwrite(direct, block, 4096, (off_t)(c->count * 4096) % size) != 4096) die("floor", "direct write");
}

// What a server with 4,000 inserts of 4,000 bytes a second writes beside its log: 2 MiB a second in steps of 256 KiB, each
// handed to the device, all 2 MiB synced; a file of 4 MiB, then the next, and the one before goes.
static atomic_bool ended;

static void *write_tables(void *argument) {
  const char *folder = argument;
  const size_t step = 256 << 10;
  char *bytes = malloc(step), name[4096], old[4096] = "";
  if (!bytes) die("floor", "memory");
  memset(bytes, 0x5a, step);
  for (int number = 0; !ended; number++) {
    snprintf(name, sizeof name, "%s/table-%d", folder, number);
    int table = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (table < 0) die("floor", name);
    for (int i = 0; i < 16 && !ended; i++) {
      if (pwrite(table, bytes, step, (off_t)(i * step)) != (ssize_t)step) die("floor", "write a table");
      sync_file_range(
        table, (off_t)(i * step), (off_t)step,
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
      if (i % 8 == 7 && fdatasync(table)) die("floor", "sync a table");
      usleep(125000);
    }
    close(table);
    if (*old) unlink(old);
    strcpy(old, name);
  }
  if (*old) unlink(old);
  return NULL;
}

static void run_steadily(const char *folder, double seconds) {
  printf("[");
  run_at_rate(1, seconds, 2500, open_nothing, direct < 0 ? overwrite : write_direct);
  printf(",");
  pthread_t thread;
  pthread_create(&thread, NULL, write_tables, (void *)folder);
  run_at_rate(1, seconds, 2500, open_nothing, direct < 0 ? overwrite : write_direct);
  ended = 1;
  pthread_join(thread, NULL);
  printf("]\n");
}

// Nobody sleeps but for the disk: waking a thread is no part of this floor.
static struct other {
  int file;
  _Atomic uint64_t wanted, done;
} others[2];

static void *follow(void *argument) {
  struct other *o = argument;
  while (!ended) {
    uint64_t number = o->wanted;
    if (number == o->done) continue;
    if (pwrite(o->file, block, 4096, (off_t)(number * 4096) % size) != 4096) die("floor", "another's direct write");
    o->done = number;
  }
  return NULL;
}

static void write_to_quorum(struct client *c) {
  uint64_t number = c->count + 1;
  for (int i = 0; i < 2; i++)
    if (others[i].done == others[i].wanted) others[i].wanted = number;
  write_direct(c);
  while (others[0].done != number && others[1].done != number)
    for (int i = 0; i < 2; i++)
      if (others[i].wanted != number && others[i].done == others[i].wanted) others[i].wanted = number;
}

static void run_quorum(const char *folder, double seconds) {
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    char name[4096];
    snprintf(name, sizeof name, "%s/floor.other-%d", folder, i);
    others[i].file = preallocated(name, O_DIRECT | O_DSYNC);
    if (others[i].file < 0) die("floor", name);
    pthread_create(&threads[i], NULL, follow, &others[i]);
  }
  run_clients(1, seconds, open_nothing, write_to_quorum);
  ended = 1;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

static void append(struct client *c) {
  (void)c;
  if (write(appended, block, 4096) != 4096 || fdatasync(appended)) die("floor", "append");
}

static void *echo(void *argument) {
  int fd = *(int *)argument;
  char byte;
  while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1) {
  }
  return NULL;
}

static void round_trip(struct client *c) {
  (void)c;
  char byte = 1;
  if (write(pair[0], &byte, 1) != 1 || read(pair[0], &byte, 1) != 1) die("floor", "loopback");
}

static void connect_pair(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1)) die("floor", "listen");
  getsockname(listener, (struct sockaddr *)&address, &length);
  pair[0] = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(pair[0], (struct sockaddr *)&address, sizeof address)) die("floor", "connect");
  pair[1] = accept(listener, 0, 0);
  for (int i = 0; i < 2; i++) setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int main(int count, char **arguments) {
  if (count < 3) die("floor", "disk PATH SECONDS | steady PATH SECONDS | quorum PATH SECONDS | loopback SECONDS");
  if (!strcmp(arguments[1], "loopback")) {
    connect_pair();
    pthread_t thread;
    pthread_create(&thread, NULL, echo, &pair[1]);
    run_clients(1, atof(arguments[2]), open_nothing, round_trip);
    return 0;
  }
  double seconds = atof(arguments[3]);
  if (posix_memalign((void **)&block, 4096, 4096)) die("floor", "memory");
  memset(block, 0x5a, 4096);
  char name[4096];
  snprintf(name, sizeof name, "%s/floor.data", arguments[2]);
  file = preallocated(name, 0);
  if (file < 0) die("floor", name);
  direct = open(name, O_RDWR | O_DIRECT | O_DSYNC);
  if (!strcmp(arguments[1], "steady")) {
    run_steadily(arguments[2], seconds);
    return 0;
  }
  if (!strcmp(arguments[1], "quorum")) {
    // Without direct writes there is no such floor.
    if (direct < 0) printf("null\n");
    else run_quorum(arguments[2], seconds);
    return 0;
  }
  printf("[");
  run_clients(1, seconds, open_nothing, overwrite);
  printf(",");
  if (direct < 0) printf("null");
  else run_clients(1, seconds, open_nothing, write_direct);
  printf(",");
  strcat(name, ".append");
  appended = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  run_clients(1, seconds, open_nothing, append);
  printf("]\n");
  return 0;
}
