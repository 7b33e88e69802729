// LMDB by its C interface, with its default of a durable commit.
//
//   lmdb commit PATH CLIENTS SECONDS     a 16-byte key and a 100-byte value each
//   lmdb read PATH ROWS CLIENTS SECONDS  a value by its key
//   lmdb scan PATH ROWS                  all keys, in order
#include "measure.h"
#include <lmdb.h>
#include <sys/stat.h>

static MDB_env *env;
static MDB_dbi table;
static uint64_t rows;

static void check(int code) {
  if (code) die("lmdb", mdb_strerror(code));
}

static void *open_nothing(struct client *c) {
  (void)c;
  return NULL;
}

static void put(MDB_txn *txn, uint64_t a, uint64_t b) {
  char key[16], value[100];
  for (int i = 0; i < 8; i++) {
    key[i] = a >> (56 - 8 * i);
    key[8 + i] = b >> (56 - 8 * i);
  }
  memset(value, 'v', sizeof value);
  MDB_val k = {sizeof key, key}, v = {sizeof value, value};
  check(mdb_put(txn, table, &k, &v, 0));
}

static void commit(struct client *c) {
  MDB_txn *txn;
  uint64_t a = next_random(&c->seed), b = next_random(&c->seed);
  check(mdb_txn_begin(env, NULL, 0, &txn));
  put(txn, a, b);
  check(mdb_txn_commit(txn));
}

static void *open_read(struct client *c) {
  (void)c;
  MDB_txn *txn;
  check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
  mdb_txn_reset(txn);
  return txn;
}

static void read_value(struct client *c) {
  MDB_txn *txn = c->state;
  check(mdb_txn_renew(txn));
  char key[16] = {0};
  uint64_t row = next_random(&c->seed) % rows;
  for (int i = 0; i < 8; i++) key[8 + i] = row >> (56 - 8 * i);
  MDB_val k = {sizeof key, key}, v;
  check(mdb_get(txn, table, &k, &v));
  mdb_txn_reset(txn);
}

int main(int count, char **arguments) {
  if (count < 4) die("lmdb", "commit|read|scan PATH …");
  mkdir(arguments[2], 0755);
  check(mdb_env_create(&env));
  check(mdb_env_set_mapsize(env, 16ull << 30));
  check(mdb_env_set_maxreaders(env, 4096));
  check(mdb_env_open(env, arguments[2], MDB_NOTLS, 0644));
  MDB_txn *txn;
  check(mdb_txn_begin(env, NULL, 0, &txn));
  check(mdb_dbi_open(txn, NULL, 0, &table));
  if (!strcmp(arguments[1], "commit")) {
    check(mdb_txn_commit(txn));
    run_clients(atoi(arguments[3]), atof(arguments[4]), open_nothing, commit);
    return 0;
  }
  rows = strtoull(arguments[3], 0, 10);
  for (uint64_t i = 0; i < rows; i++) put(txn, 0, i);
  check(mdb_txn_commit(txn));
  if (!strcmp(arguments[1], "read")) {
    run_clients(atoi(arguments[4]), atof(arguments[5]), open_read, read_value);
    return 0;
  }
  check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
  MDB_cursor *cursor;
  check(mdb_cursor_open(txn, table, &cursor));
  MDB_val k, v;
  uint64_t seen = 0, bytes = 0, start = now_ns();
  while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
    bytes += v.mv_size;
    seen++;
  }
  double seconds = (now_ns() - start) / 1e9;
  printf(
    "{\"rows\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"per_second\": %.1f}\n", (unsigned long long)seen,
    (unsigned long long)bytes, seconds, seen / seconds);
  return 0;
}
