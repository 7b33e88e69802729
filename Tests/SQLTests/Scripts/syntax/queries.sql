# SELECT and what stands around it; set operations, FROM, locking.

select a, b c, d as e, t.*, * from t
----
SELECT a, b AS c, d AS e, t.*, * FROM t

select a value from t
----
SELECT a AS value FROM t

select all a from t
----
SELECT a FROM t

select distinct a from t
----
SELECT DISTINCT a FROM t

select distinct on (a, b) a from t
----
SELECT DISTINCT ON (a, b) a FROM t

select distinct from t
----
error 42601 at 17: syntax error at or near "from"

select a is distinct from b is null
----
error 42601 at 29: syntax error at or near "is"

select a is not distinct from b
----
SELECT (a IS NOT DISTINCT FROM b)

select (select 1), ((select 1)), ((select 1) + 1), ((select 1) union select 2), (((select 1)) union (select 2)) 
----
SELECT (SELECT 1), (SELECT 1), ((SELECT 1) + 1), (SELECT 1 UNION SELECT 2), (SELECT 1 UNION SELECT 2)

select ((select 1) union (select 2) order by 1 limit 1)
----
SELECT (SELECT 1 UNION SELECT 2 ORDER BY 1 LIMIT 1)

select a at time zone 'utc', a at time zone 'x' at time zone 'y', a at from t
----
SELECT (a AT TIME ZONE 'utc'), ((a AT TIME ZONE 'x') AT TIME ZONE 'y'), a AS at FROM t

select a from t group by all a
----
SELECT a FROM t GROUP BY a

select a from t group by distinct a, b having count(*) > 1
----
SELECT a FROM t GROUP BY DISTINCT a, b HAVING (count(*) > 1)

select a from t order by a, b desc, c asc nulls first, d nulls last, e using <, f using operator(pg_catalog.>) nulls first
----
SELECT a FROM t ORDER BY a, b DESC, c ASC NULLS FIRST, d NULLS LAST, e USING <, f USING OPERATOR(pg_catalog.>) NULLS FIRST

select a from t limit 5 offset 2
----
SELECT a FROM t OFFSET 2 LIMIT 5

select a from t offset 2 limit 5
----
SELECT a FROM t OFFSET 2 LIMIT 5

select a from t limit all
----
SELECT a FROM t LIMIT ALL

select a from t limit 5, 6
----
error 42601 at 17: LIMIT #,# syntax is not supported
hint: Use separate LIMIT and OFFSET clauses.

select a from t offset 2 rows fetch first 3 rows only
----
SELECT a FROM t OFFSET 2 LIMIT 3

select a from t fetch next row only
----
SELECT a FROM t LIMIT 1

select a from t order by a fetch first 3 rows with ties
----
SELECT a FROM t ORDER BY a FETCH FIRST 3 ROWS WITH TIES

select a from t fetch first 3 rows with ties
----
error 42601 at -: WITH TIES cannot be specified without ORDER BY clause

select a from t order by a fetch first 3 rows with ties for update skip locked
----
error 42601 at -: SKIP LOCKED and WITH TIES options cannot be used together

select a from t for update
----
SELECT a FROM t FOR UPDATE

select a from t for update of t, u nowait for share skip locked
----
SELECT a FROM t FOR UPDATE OF t, u NOWAIT FOR SHARE SKIP LOCKED

select a from t for no key update for key share limit 1
----
SELECT a FROM t LIMIT 1 FOR NO KEY UPDATE FOR KEY SHARE

select a from t limit 1 for update
----
SELECT a FROM t LIMIT 1 FOR UPDATE

select a from t for read only
----
SELECT a FROM t

select a from t for update limit 5 offset 6
----
SELECT a FROM t OFFSET 6 LIMIT 5 FOR UPDATE

select a from t order by a order by b
----
error 42601 at 28: syntax error at or near "order"

(select a from t order by a) order by b
----
error 42601 at 39: multiple ORDER BY clauses not allowed

(select a from t limit 1) limit 2
----
error 42601 at 33: multiple LIMIT clauses not allowed

(select 1)
----
SELECT 1

((select 1) union all (select 2)) except select 3 intersect select 4
----
SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 3 INTERSECT SELECT 4

select 1 union select 2 union all select 3 intersect select 4 order by 1
----
SELECT 1 UNION SELECT 2 UNION ALL SELECT 3 INTERSECT SELECT 4 ORDER BY 1

select 1 union distinct select 2
----
SELECT 1 UNION SELECT 2

values (1, 'a'), (2, default)
----
VALUES (1, 'a'), (2, DEFAULT)

values (1), (2) order by 1 limit 1
----
VALUES (1), (2) ORDER BY 1 LIMIT 1

table only t union table u
----
TABLE ONLY t UNION TABLE u

with a as (select 1), b (x, y) as materialized (select 2), c as not materialized (values (1)) select * from a, b, c
----
WITH a AS (SELECT 1), b (x, y) AS MATERIALIZED (SELECT 2), c AS NOT MATERIALIZED (VALUES (1)) SELECT * FROM a, b, c

with recursive t(n) as (values (1) union all select n + 1 from t where n < 100) select sum(n) from t
----
WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT (n + 1) FROM t WHERE (n < 100)) SELECT sum(n) FROM t

with t as (insert into a values (1) returning *) select * from t
----
WITH t AS (INSERT INTO a VALUES (1) RETURNING *) SELECT * FROM t

with t as (delete from a) update b set c = 1
----
WITH t AS (DELETE FROM a) UPDATE b SET c = 1

with a as (select 1) (with b as (select 2) select 3)
----
error 42601 at 1: multiple WITH clauses not allowed

with a as (select 1) (select 2)
----
WITH a AS (SELECT 1) SELECT 2

with a as (select 1)
----
error 42601 at 21: syntax error at end of input

select * from (with a as (select 1) select * from a) x
----
SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) AS x

select * from a, b x, c as y, d z (p, q), only e, f *, s.g, h as i (j)
----
SELECT * FROM a, b AS x, c AS y, d AS z (p, q), ONLY e, f, s.g, h AS i (j)

select * from a join b on a.x = b.x left join c using (y) right outer join d on true full join e on false cross join f natural join g natural left join h
----
SELECT * FROM a JOIN b ON (a.x = b.x) LEFT JOIN c USING (y) RIGHT JOIN d ON TRUE FULL JOIN e ON FALSE CROSS JOIN f NATURAL JOIN g NATURAL LEFT JOIN h

select * from a join b join c on 1=1 on 2=2
----
SELECT * FROM a JOIN (b JOIN c ON (1 = 1)) ON (2 = 2)

select * from a join b
----
error 42601 at 23: syntax error at end of input

select * from a cross join b cross join c
----
SELECT * FROM a CROSS JOIN b CROSS JOIN c

select * from (a join b on true) x, (a cross join b), ((a cross join b) cross join c)
----
SELECT * FROM (a JOIN b ON TRUE) AS x, a CROSS JOIN b, a CROSS JOIN b CROSS JOIN c

select * from (a)
----
error 42601 at 17: syntax error at or near ")"

select * from ((a cross join b) x)
----
error 42601 at 34: syntax error at or near ")"

select * from ((a cross join b))
----
SELECT * FROM a CROSS JOIN b

select * from (select 1) x, (select 2) as y (a), lateral (select 3) z, ((select 4)) w, ((select 1) union (select 2)) v
----
SELECT * FROM (SELECT 1) AS x, (SELECT 2) AS y (a), LATERAL (SELECT 3) AS z, (SELECT 4) AS w, (SELECT 1 UNION SELECT 2) AS v

select * from (select 1)
----
error 42601 at 15: subquery in FROM must have an alias
hint: For example, FROM (SELECT ...) [AS] foo.

select * from (values (1))
----
error 42601 at 15: VALUES in FROM must have an alias
hint: For example, FROM (VALUES ...) [AS] foo.

select * from (values (1),(2)) v (a)
----
SELECT * FROM (VALUES (1), (2)) AS v (a)

select * from ((select 1) x cross join y)
----
SELECT * FROM (SELECT 1) AS x CROSS JOIN y

select * from f(1), f(1) x, f(1) as x (a, b), f(1) as x (a int, b text collate "C"), f(1) as (a int), f(1) with ordinality as q (a, o), lateral f(2), rows from (f(1), g(2) as (a int)) with ordinality r, pg_catalog.generate_series(1, 2) s, current_date d, coalesce(1,2) z
----
SELECT * FROM f(1), f(1) AS x, f(1) AS x (a, b), f(1) AS x (a integer, b text COLLATE "C"), f(1) AS (a integer), f(1) WITH ORDINALITY AS q (a, o), LATERAL f(2), ROWS FROM (f(1), g(2) AS (a integer)) WITH ORDINALITY AS r, pg_catalog.generate_series(1, 2) AS s, CURRENT_DATE AS d, COALESCE(1, 2) AS z

select * from a join b using (x) as j
----
SELECT * FROM a JOIN b USING (x) AS j

select * from t tablesample bernoulli (10)
----
error 0A000 at 17: TABLESAMPLE is not supported

select * from t as of
----
SELECT * FROM t AS of

select * from t where
----
error 42601 at 22: syntax error at end of input

select * from t where a = 
----
error 42601 at 27: syntax error at end of input

select into x from t
----
CREATE TABLE x AS SELECT FROM t

select a into temp table x from t
----
CREATE TEMPORARY TABLE x AS SELECT a FROM t

select a into x from t union select b from u
----
CREATE TABLE x AS SELECT a FROM t UNION SELECT b FROM u

select 1 union select a into x from t
----
error 42601 at 25: SELECT ... INTO is not allowed here

with x as (select 1) insert into t select * from x
----
WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x

select a from t where a == b
----
SELECT a FROM t WHERE (a == b)

select a from t where a != b
----
SELECT a FROM t WHERE (a <> b)

select a.b.c.d.e from t
----
SELECT a.b.c.d.e FROM t

select a.b.c.d.e from a.b.c.d
----
error 42601 at 23: improper qualified name (too many dotted names): a.b.c.d

select a.select, a.from from t
----
SELECT a."select", a."from" FROM t

select * as x from t
----
error 42601 at 10: syntax error at or near "as"

select a year, b month, c filter, d over from t
----
error 42601 at 10: syntax error at or near "year"

select a filter from t
----
error 42601 at 10: syntax error at or near "filter"

select a over from t
----
error 42601 at 10: syntax error at or near "over"

select a day from t
----
error 42601 at 10: syntax error at or near "day"

select a from t where not a = b and not not c
----
SELECT a FROM t WHERE ((NOT (a = b)) AND (NOT (NOT c)))

select a from only (t)
----
SELECT a FROM ONLY t

select a from only (t) x
----
SELECT a FROM ONLY t AS x

select a from t t
----
SELECT a FROM t AS t

select a from t as
----
error 42601 at 19: syntax error at end of input

select a from t as select
----
error 42601 at 20: syntax error at or near "select"

select a from t left
----
error 42601 at 21: syntax error at end of input

select a from t left outer
----
error 42601 at 27: syntax error at end of input

select a from t natural
----
error 42601 at 24: syntax error at end of input

select a from t cross
----
error 42601 at 22: syntax error at end of input

select a from unnest(array[1,2]) with ordinality
----
SELECT a FROM unnest(ARRAY[1, 2]) WITH ORDINALITY

select a from f() f (a int, b)
----
error 42601 at 30: syntax error at or near ")"

select * from rows from (f()) x
----
SELECT * FROM ROWS FROM (f()) AS x

select * from generate_series(1,2) over
----
SELECT * FROM generate_series(1, 2) AS over

select from
----
error 42601 at 12: syntax error at end of input

select from t
----
SELECT FROM t

select where true
----
SELECT WHERE TRUE

select * from t as of version 5
----
SELECT * FROM t AS OF VERSION 5

select * from t as of version $1 x, u as of timestamp '2020-01-01' as y
----
SELECT * FROM t AS OF VERSION $1 AS x, u AS OF TIMESTAMP '2020-01-01' AS y

select * from t as of timestamp now() - interval '1 hour' where a > 1
----
SELECT * FROM t AS OF TIMESTAMP (now() - interval '1 hour') WHERE (a > 1)

select * from t as of version
----
error 42601 at 30: syntax error at end of input

select * from t of
----
SELECT * FROM t AS of
