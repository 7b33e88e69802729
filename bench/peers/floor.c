// What the machine itself needs: the floors under every figure.
//
//   floor disk PATH SECONDS      4 KiB, preallocated, durable: overwrite + fdatasync, O_DIRECT|O_DSYNC, append + fdatasync
//   floor loopback SECONDS       one byte there and back between two threads over TCP
#define _GNU_SOURCE
#include "measure.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static char *block;
static int file, direct, appended, pair[2];
static const off_t size = 64 << 20;

static void *open_nothing(struct client *c) {
  (void)c;
  return NULL;
}

static void overwrite(struct client *c) {
  if (pwrite(file, block, 4096, (off_t)(c->count * 4096) % size) != 4096 || fdatasync(file)) die("floor", "write");
}

static void write_direct(struct client *c) {
  if (pwrite(direct, block, 4096, (off_t)(c->count * 4096) % size) != 4096) die("floor", "direct write");
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
  if (count < 3) die("floor", "disk PATH SECONDS | loopback SECONDS");
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
  file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (file < 0) die("floor", name);
  // Written once, so that overwriting changes no metadata.
  for (off_t at = 0; at < size; at += 4096)
    if (pwrite(file, block, 4096, at) != 4096) die("floor", "preallocate");
  fsync(file);
  printf("[");
  run_clients(1, seconds, open_nothing, overwrite);
  printf(",");
  direct = open(name, O_RDWR | O_DIRECT | O_DSYNC);
  if (direct < 0) printf("null");
  else run_clients(1, seconds, open_nothing, write_direct);
  printf(",");
  strcat(name, ".append");
  appended = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  run_clients(1, seconds, open_nothing, append);
  printf("]\n");
  return 0;
}
