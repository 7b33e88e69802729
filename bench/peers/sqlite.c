// SQLite by its C interface: WAL, synchronous=FULL (a commit is durable when it returns).
//
//   sqlite commit PATH CLIENTS SECONDS     a row of a 16-byte key and a 100-byte value each
//   sqlite read PATH ROWS CLIENTS SECONDS  a row by its integer key, prepared
//   sqlite scan PATH ROWS                  all rows, in order
//   sqlite load PATH ROWS                  rows with a primary key, in one transaction
#include "measure.h"
#include <sqlite3.h>

static const char *path;
static uint64_t rows;

struct link {
  sqlite3 *db;
  sqlite3_stmt *begin, *work, *commit;
};

static void check(int code, sqlite3 *db) {
  if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW) die("sqlite", db ? sqlite3_errmsg(db) : "?");
}

static sqlite3 *open_database(void) {
  sqlite3 *db;
  check(sqlite3_open(path, &db), NULL);
  sqlite3_busy_timeout(db, 60000);
  check(sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-262144", 0, 0, 0), db);
  return db;
}

static void *open_commit(struct client *c) {
  struct link *l = calloc(1, sizeof *l);
  l->db = open_database();
  if (c->index == 0)
    check(sqlite3_exec(l->db, "CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID", 0, 0, 0), l->db);
  check(sqlite3_prepare_v2(l->db, "BEGIN IMMEDIATE", -1, &l->begin, 0), l->db);
  check(sqlite3_prepare_v2(l->db, "INSERT OR REPLACE INTO kv VALUES (?, ?)", -1, &l->work, 0), l->db);
  check(sqlite3_prepare_v2(l->db, "COMMIT", -1, &l->commit, 0), l->db);
  return l;
}

static void step(sqlite3_stmt *s, sqlite3 *db) {
  check(sqlite3_step(s), db);
  sqlite3_reset(s);
}

static void commit(struct client *c) {
  struct link *l = c->state;
  char key[16], value[100];
  uint64_t a = next_random(&c->seed), b = next_random(&c->seed);
  memcpy(key, &a, 8);
  memcpy(key + 8, &b, 8);
  memset(value, 'v', sizeof value);
  step(l->begin, l->db);
  sqlite3_bind_blob(l->work, 1, key, sizeof key, SQLITE_STATIC);
  sqlite3_bind_blob(l->work, 2, value, sizeof value, SQLITE_STATIC);
  step(l->work, l->db);
  step(l->commit, l->db);
}

static void load(sqlite3 *db) {
  check(sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS r (id INTEGER PRIMARY KEY, value TEXT); BEGIN", 0, 0, 0), db);
  sqlite3_stmt *s;
  check(sqlite3_prepare_v2(db, "INSERT OR IGNORE INTO r VALUES (?, ?)", -1, &s, 0), db);
  char value[101];
  memset(value, 'v', 100);
  for (uint64_t i = 0; i < rows; i++) {
    sqlite3_bind_int64(s, 1, i);
    sqlite3_bind_text(s, 2, value, 100, SQLITE_STATIC);
    step(s, db);
  }
  sqlite3_finalize(s);
  check(sqlite3_exec(db, "COMMIT", 0, 0, 0), db);
}

static void *open_read(struct client *c) {
  (void)c;
  struct link *l = calloc(1, sizeof *l);
  l->db = open_database();
  check(sqlite3_prepare_v2(l->db, "SELECT value FROM r WHERE id = ?", -1, &l->work, 0), l->db);
  return l;
}

static void read_row(struct client *c) {
  struct link *l = c->state;
  sqlite3_bind_int64(l->work, 1, next_random(&c->seed) % rows);
  if (sqlite3_step(l->work) != SQLITE_ROW) die("sqlite", "a row is missing");
  sqlite3_column_text(l->work, 0);
  sqlite3_reset(l->work);
}

int main(int count, char **arguments) {
  if (count < 4) die("sqlite", "commit|read|scan|load PATH …");
  path = arguments[2];
  const char *what = arguments[1];
  if (!strcmp(what, "commit")) {
    run_clients(atoi(arguments[3]), atof(arguments[4]), open_commit, commit);
    return 0;
  }
  rows = strtoull(arguments[3], 0, 10);
  sqlite3 *db = open_database();
  uint64_t start = now_ns();
  load(db);
  double seconds = (now_ns() - start) / 1e9;
  if (!strcmp(what, "load")) {
    printf("{\"rows\": %llu, \"seconds\": %.6f, \"per_second\": %.1f}\n", (unsigned long long)rows, seconds, rows / seconds);
  } else if (!strcmp(what, "read")) {
    run_clients(atoi(arguments[4]), atof(arguments[5]), open_read, read_row);
  } else {
    sqlite3_stmt *s;
    check(sqlite3_prepare_v2(db, "SELECT id, value FROM r ORDER BY id", -1, &s, 0), db);
    start = now_ns();
    uint64_t seen = 0, bytes = 0;
    while (sqlite3_step(s) == SQLITE_ROW) {
      bytes += sqlite3_column_bytes(s, 1) + (uint64_t)sqlite3_column_int64(s, 0) % 2;
      seen++;
    }
    seconds = (now_ns() - start) / 1e9;
    printf(
      "{\"rows\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"per_second\": %.1f}\n", (unsigned long long)seen,
      (unsigned long long)bytes, seconds, seen / seconds);
  }
  return 0;
}
