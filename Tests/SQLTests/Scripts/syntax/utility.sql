# EXPLAIN, VACUUM, REINDEX, and the statements that are refused.

explain select 1
----
EXPLAIN SELECT 1

explain analyze verbose select 1
----
EXPLAIN (analyze, verbose) SELECT 1

explain (analyze, costs off, format json, buffers true, timing 1) select 1
----
EXPLAIN (analyze, costs off, format json, buffers true, timing 1) SELECT 1

explain (select 1)
----
EXPLAIN SELECT 1

explain ((select 1))
----
EXPLAIN SELECT 1

explain create table t as select 1
----
EXPLAIN CREATE TABLE t AS SELECT 1

explain create table t (a int)
----
error 42601 at 9: syntax error at or near "create"

explain execute p
----
EXPLAIN EXECUTE p

explain declare c cursor for select 1
----
EXPLAIN DECLARE c CURSOR FOR SELECT 1

explain drop table t
----
error 42601 at 9: syntax error at or near "drop"

explain analyze
----
error 42601 at 16: syntax error at end of input

vacuum
----
VACUUM

vacuum full freeze verbose analyze t (a, b), u
----
VACUUM (full, freeze, verbose, analyze) t (a, b), u

vacuum (full, analyze off) t
----
VACUUM (full, analyze off) t

analyze
----
ANALYZE

analyze verbose t (a)
----
ANALYZE (verbose) t (a)

analyze (verbose) t, u
----
ANALYZE (verbose) t, u

vacuum verbose full
----
error 42601 at 16: syntax error at or near "full"

reindex table t
----
REINDEX TABLE t

reindex index concurrently i
----
REINDEX INDEX CONCURRENTLY i

reindex (verbose) database d
----
REINDEX (verbose) DATABASE d

checkpoint
----
CHECKPOINT

cluster t using i
----
error 0A000 at 1: CLUSTER is not supported

call f()
----
error 0A000 at 1: CALL is not supported

do $$ begin end $$
----
error 0A000 at 1: DO is not supported

do 'x'
----
error 0A000 at 1: DO is not supported

load 'x'
----
error 0A000 at 1: LOAD is not supported

refresh materialized view v
----
error 0A000 at 1: REFRESH MATERIALIZED VIEW is not supported

security label on table t is 'x'
----
error 0A000 at 1: SECURITY LABEL is not supported

reassign owned by a to b
----
error 0A000 at 1: REASSIGN OWNED is not supported

import foreign schema s from server x into y
----
error 0A000 at 1: IMPORT FOREIGN SCHEMA is not supported
