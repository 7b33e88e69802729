// What every peer's program shares: clients that repeat an operation for a while, and one JSON object of what it took.
#ifndef SYNOD_BENCH_MEASURE_H
#define SYNOD_BENCH_MEASURE_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static inline double cpu_us(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static inline uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

__attribute__((noreturn)) static inline void die(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

struct client {
  int index;
  uint64_t seed, end, count, capacity;
  uint32_t *latencies;  // nanoseconds, at most 4.29 s
  double rate;          // operations a second, whose latency then counts from when they were due; 0: one after the other
  uint64_t due;
  void *state;
  void *(*open)(struct client *);
  void (*operation)(struct client *);
};

/// When the next operation is due, at intervals of 0 to 2 ÷ rate; sleeps until then.
static uint64_t wait_until_due(struct client *c) {
  double part = (next_random(&c->seed) >> 11) / 9007199254740992.0;
  c->due = (c->due ? c->due : now_ns()) + (uint64_t)(part * 2e9 / c->rate);
  struct timespec until = {.tv_sec = c->due / 1000000000u, .tv_nsec = c->due % 1000000000u};
  while (now_ns() < c->due) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
  return c->due;
}

static void *client_main(void *argument) {
  struct client *c = argument;
  while (now_ns() < c->end) {
    uint64_t start = c->rate ? wait_until_due(c) : now_ns();
    c->operation(c);
    uint64_t took = now_ns() - start;
    if (c->count == c->capacity) {
      c->capacity = c->capacity ? c->capacity * 2 : 1 << 16;
      c->latencies = realloc(c->latencies, c->capacity * sizeof *c->latencies);
      if (!c->latencies) die("memory", "none left");
    }
    c->latencies[c->count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
  }
  return NULL;
}

static int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/// Runs `operation` on `count` threads for so long, at a rate of each (0: as quick as it goes), and prints the result.
static inline void run_at_rate(
  int count, double seconds, double rate, void *(*open)(struct client *), void (*operation)(struct client *)) {
  struct client *clients = calloc(count, sizeof *clients);
  pthread_t *threads = calloc(count, sizeof *threads);
  for (int i = 0; i < count; i++) {
    clients[i] = (struct client){.index = i, .seed = 0x9e3779b97f4a7c15u * (i + 1) | 1, .open = open, .operation = operation, .rate = rate};
    clients[i].state = open(&clients[i]);
  }
  uint64_t start = now_ns();
  double cpu = cpu_us();
  for (int i = 0; i < count; i++) {
    clients[i].end = start + (uint64_t)(seconds * 1e9);
    pthread_create(&threads[i], NULL, client_main, &clients[i]);
  }
  uint64_t total = 0;
  for (int i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
    total += clients[i].count;
  }
  double took = (now_ns() - start) / 1e9;
  cpu = cpu_us() - cpu;
  uint32_t *all = malloc((total + 1) * sizeof *all);
  uint64_t at = 0;
  for (int i = 0; i < count; i++) {
    memcpy(all + at, clients[i].latencies, clients[i].count * sizeof *all);
    at += clients[i].count;
  }
  qsort(all, total, sizeof *all, by_value);
#define AT(p) (total ? all[(uint64_t)((total - 1) * (p))] / 1e3 : 0)
  printf(
    "{\"clients\": %d, \"operations\": %llu, \"seconds\": %.3f, \"per_second\": %.1f, \"cpu_us\": %.2f, "
    "\"latency_us\": {\"p50\": %.1f, \"p95\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}}\n",
    count, (unsigned long long)total, took, total / took, total ? cpu / total : 0, AT(0.5), AT(0.95), AT(0.99), AT(0.999),
    AT(1.0));
}

static inline void run_clients(int count, double seconds, void *(*open)(struct client *), void (*operation)(struct client *)) {
  run_at_rate(count, seconds, 0, open, operation);
}

#endif
