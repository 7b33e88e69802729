# Operators and their precedence, special syntax, constructors, casts.

select 1
----
SELECT 1

select
----
SELECT

select 1 + 2 * 3 - 4 / 5 % 6 ^ 7
----
SELECT ((1 + (2 * 3)) - ((4 / 5) % (6 ^ 7)))

select a = b and c <> d or not e > f
----
SELECT (((a = b) AND (c <> d)) OR (NOT (e > f)))

select a < b < c
----
error 42601 at 14: syntax error at or near "<"

select a = b = c
----
error 42601 at 14: syntax error at or near "="

select a is null is null
----
SELECT ((a IS NULL) IS NULL)

select a isnull notnull
----
SELECT ((a IS NULL) IS NOT NULL)

select a between 1 and 2 and c
----
SELECT ((a BETWEEN 1 AND 2) AND c)

select a between symmetric 1 and 2 or c
----
SELECT ((a BETWEEN SYMMETRIC 1 AND 2) OR c)

select a not between 1 and 2 between 3 and 4
----
error 42601 at 30: syntax error at or near "between"

select a between 1 and 2 between 3 and 4
----
error 42601 at 26: syntax error at or near "between"

select a in (1,2,3), b not in (select 1), c in ((select 1)), d in ((1))
----
SELECT (a IN (1, 2, 3)), (b NOT IN (SELECT 1)), (c IN (SELECT 1)), (d IN (1))

select a in ()
----
error 42601 at 14: syntax error at or near ")"

select a like b escape c, a not ilike 'x', a similar to 'b' escape 'c'
----
SELECT (a LIKE b ESCAPE c), (a NOT ILIKE 'x'), (a SIMILAR TO 'b' ESCAPE 'c')

select a like b like c
----
error 42601 at 17: syntax error at or near "like"

select a like any (array['x']), a = any($1), b <> all (select 1), c = some (array[1])
----
SELECT (a LIKE ANY (ARRAY['x'])), (a = ANY ($1)), (b <> ALL (SELECT 1)), (c = ANY (ARRAY[1]))

select a + any (array[1])
----
SELECT (a + ANY (ARRAY[1]))

select -1, - -1, +1, -a, -a ^ 2, - (5), -5::int4, (-5)::int
----
SELECT -1, 1, (+ 1), (- a), ((- a) ^ 2), -5, (- (5::int4)), ((-5)::integer)

select a operator(pg_catalog.+) b, operator(pg_catalog.-) c
----
SELECT (a OPERATOR(pg_catalog.+) b), (OPERATOR(pg_catalog.-) c)

select 'a' 'b'
----
error 42601 at 12: syntax error at or near "'b'"

select 'a'
'b'
----
SELECT 'ab'

select $0
----
error 42P02 at 8: there is no parameter $0
detail: Parameters go from $1 to $65535.

select a::int, cast(a as numeric(10,2)), a::text[], a::int[3][], a::int array, a::int array[4]
----
SELECT (a::integer), CAST(a AS numeric(10, 2)), (a::text[]), (a::integer[3][]), (a::integer[]), (a::integer[4])

select a::timestamp with time zone, a::timestamp(3), a::time(2) without time zone, b::timestamptz
----
SELECT (a::timestamp with time zone), (a::timestamp(3) without time zone), (a::time(2) without time zone), (b::timestamptz)

select a::character varying(10), a::char, a::char(3), a::varchar, a::national character(3), a::nchar varying
----
SELECT (a::character varying(10)), (a::character(1)), (a::character(3)), (a::character varying), (a::character(3)), (a::character varying)

select a::interval, a::interval(3), a::interval day to second(2), a::interval year, a::interval year to month
----
SELECT (a::interval), (a::interval(3)), (a::interval day to second(2)), (a::interval year), (a::interval year to month)

select a::double precision, a::float, a::float(10), a::float(53), a::float(0), a::float(54)
----
error 22023 at 76: precision for type float must be at least 1 bit

select a::float(54)
----
error 22023 at 17: precision for type float must be less than 54 bits

select date '2020-01-01', timestamp '2020-01-01', timestamp with time zone 'x', interval '1' day, interval '1 2' day to second(3), interval(3) '1', time(3) '1', numeric(3,2) '1', int '1', char 'abc', char(2) 'abc', varchar 'x', double precision '1', float8 '1', pg_catalog.int4 '1', mytype(3,4) 'x', bool 'true'
----
SELECT date '2020-01-01', timestamp without time zone '2020-01-01', timestamp with time zone 'x', interval '1' day, interval '1 2' day to second(3), interval(3) '1', time(3) without time zone '1', numeric(3, 2) '1', integer '1', pg_catalog.bpchar 'abc', character(2) 'abc', character varying 'x', double precision '1', float8 '1', integer '1', mytype(3, 4) 'x', bool 'true'

select interval
----
SELECT "interval"

select time, timestamp, date, interval, values, row, position, coalesce, exists, out, none, precision from t
----
SELECT "time", "timestamp", date, "interval", "values", "row", "position", "coalesce", "exists", "out", "none", "precision" FROM t

select array[1,2], array[[1,2],[3,4]], array[]::int[], array(select 1), (array[1,2])[1], a[1], a[1:2], a[:], a[1:], a[:2], a[1][2].b
----
SELECT ARRAY[1, 2], ARRAY[ARRAY[1, 2], ARRAY[3, 4]], (ARRAY[]::integer[]), ARRAY (SELECT 1), (ARRAY[1, 2])[1], a[1], a[1 : 2], a[ : ], a[1 : ], a[ : 2], a[1][2].b

select row(1,2), row(), (1,2), (1), ((1)), (1,2) = (3,4), row(a.*), (a).b, (a).*, ((a)).b[1], (row(1,2)).f1
----
SELECT ROW(1, 2), ROW(), (1, 2), 1, 1, ((1, 2) = (3, 4)), ROW(a.*), (a).b, (a).*, (a).b[1], (ROW(1, 2)).f1

select (1,2) overlaps (3,4), row(1,2) overlaps row(3,4)
----
SELECT ((1, 2) OVERLAPS (3, 4)), ((1, 2) OVERLAPS (3, 4))

select (1,2,3) overlaps (3,4)
----
error 42601 at 8: wrong number of parameters on left side of OVERLAPS expression

select (1,2) overlaps (3,4,5)
----
error 42601 at 23: wrong number of parameters on right side of OVERLAPS expression

select case when a then b else c end, case a when 1 then 2 when 3 then 4 end
----
SELECT CASE WHEN a THEN b ELSE c END, CASE a WHEN 1 THEN 2 WHEN 3 THEN 4 END

select case end
----
error 42601 at 13: syntax error at or near "end"

select case when a then b
----
error 42601 at 26: syntax error at end of input

select exists (select 1), not exists (select 1), exists(select)
----
SELECT EXISTS (SELECT 1), (NOT EXISTS (SELECT 1)), EXISTS (SELECT)

select exists (1)
----
error 42601 at 16: syntax error at or near "1"

select (select 1).a
----
SELECT (SELECT 1).a

select (select 1)[1]
----
SELECT (SELECT 1)[1]

select coalesce(a,b), greatest(1,2), least(1,2), nullif(1,2), coalesce()
----
error 42601 at 72: syntax error at or near ")"

select nullif(1)
----
error 42601 at 16: syntax error at or near ")"

select extract(year from a), extract('epoch' from a), extract(epoch from a), extract(foo from a)
----
SELECT EXTRACT('year' FROM a), EXTRACT('epoch' FROM a), EXTRACT('epoch' FROM a), EXTRACT('foo' FROM a)

select extract(from a)
----
error 42601 at 16: syntax error at or near "from"

select substring(a from 1 for 2), substring(a for 2), substring(a from 2), substring(a, 1, 2), substring(a similar b escape c), substring(a for 1 from 2), substring()
----
SELECT SUBSTRING(a FROM 1 FOR 2), SUBSTRING(a FOR 2), SUBSTRING(a FROM 2), pg_catalog."substring"(a, 1, 2), SUBSTRING(a SIMILAR b ESCAPE c), SUBSTRING(a FROM 2 FOR 1), pg_catalog."substring"()

select position('a' in b), overlay(a placing b from 1 for 2), overlay(a placing b from 1), overlay(a,b,c)
----
SELECT POSITION('a' IN b), OVERLAY(a PLACING b FROM 1 FOR 2), OVERLAY(a PLACING b FROM 1), pg_catalog."overlay"(a, b, c)

select position(a)
----
error 42601 at 18: syntax error at or near ")"

select trim(a), trim(both from a), trim(leading 'x' from a), trim(trailing 'x' from a, b), trim('x' from a), trim(a, b), trim(both a)
----
SELECT TRIM(BOTH a), TRIM(BOTH a), TRIM(LEADING a, 'x'), TRIM(TRAILING a, b, 'x'), TRIM(BOTH a, 'x'), TRIM(BOTH a, b), TRIM(BOTH a)

select trim()
----
error 42601 at 13: syntax error at or near ")"

select current_date, current_time, current_timestamp(3), localtime, localtimestamp(2), current_user, session_user, user, current_role, current_catalog, current_schema, current_schema()
----
SELECT CURRENT_DATE, CURRENT_TIME, CURRENT_TIMESTAMP(3), LOCALTIME, LOCALTIMESTAMP(2), CURRENT_USER, SESSION_USER, USER, CURRENT_ROLE, CURRENT_CATALOG, CURRENT_SCHEMA, "current_schema"()

select current_date()
----
error 42601 at 20: syntax error at or near "("

select count(*), count(distinct a), count(all a), sum(a order by b desc), f(a => 1, b := 2), f(variadic a), f(1, variadic b)
----
SELECT count(*), count(DISTINCT a), count(a), sum(a ORDER BY b DESC), f(a => 1, b => 2), f(VARIADIC a), f(1, VARIADIC b)

select count(*) filter (where a > 1), sum(a) over (), sum(a) over w, rank() over (partition by a order by b rows between unbounded preceding and current row) from t window w as (order by a), v as (w)
----
SELECT count(*) FILTER (WHERE (a > 1)), sum(a) OVER (), sum(a) OVER w, rank() OVER (PARTITION BY a ORDER BY b ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM t WINDOW w AS (ORDER BY a), v AS (w)

select sum(a) over (rows 1 preceding), sum(a) over (range between 1 preceding and 2 following exclude ties), sum(a) over (groups current row exclude no others)
----
SELECT sum(a) OVER (ROWS 1 PRECEDING), sum(a) OVER (RANGE BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE TIES), sum(a) OVER (GROUPS CURRENT ROW)

select sum(a) over (rows unbounded following)
----
error 42P20 at 26: frame start cannot be UNBOUNDED FOLLOWING

select sum(a) over (rows between current row and 1 preceding)
----
error 42P20 at 50: frame starting from current row cannot have preceding rows

select sum(a) over (rows between 1 following and 1 preceding)
----
error 42P20 at 50: frame starting from following row cannot have preceding rows

select sum(a) over (rows 1 following)
----
error 42P20 at 26: frame starting from following row cannot end with current row

select sum(a) over (rows between current row and unbounded preceding)
----
error 42P20 at 50: frame end cannot be UNBOUNDED PRECEDING

select percentile_cont(0.5) within group (order by a), mode() within group (order by a) filter (where b)
----
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a), mode() WITHIN GROUP (ORDER BY a) FILTER (WHERE b)

select f(distinct a) within group (order by a)
----
error 42601 at 22: cannot use DISTINCT with WITHIN GROUP

select f(a order by b) within group (order by a)
----
error 42601 at 24: cannot use multiple ORDER BY clauses with WITHIN GROUP

select f(variadic a) within group (order by a)
----
error 42601 at 22: cannot use VARIADIC with WITHIN GROUP

select a collate "C", a || b collate "C", a collate pg_catalog.default
----
SELECT (a COLLATE "C"), (a || (b COLLATE "C")), (a COLLATE pg_catalog."default")

select a is true, a is not false, a is unknown, a is not null
----
SELECT (a IS TRUE), (a IS NOT FALSE), (a IS UNKNOWN), (a IS NOT NULL)

select a is document
----
error 0A000 at 13: IS DOCUMENT is not supported

select a is normalized, a is nfc normalized
----
error 0A000 at 13: IS NORMALIZED is not supported

select grouping(a, b) from t group by rollup (a, b), cube (c), grouping sets ((a), (), (a,b), rollup (c)), (), a
----
SELECT GROUPING(a, b) FROM t GROUP BY ROLLUP (a, b), CUBE (c), GROUPING SETS (a, (), (a, b), ROLLUP (c)), (), a

values
----
error 42601 at 7: syntax error at end of input

table t
----
TABLE t

select (select a into x from t)
----
error 42601 at 18: SELECT ... INTO is not allowed here

select 1 2
----
error 42601 at 10: syntax error at or near "2"

select 1;;select 2;
----
SELECT 1
SELECT 2

select ; select
----
SELECT
SELECT

select 1; foo
----
error 42601 at 11: syntax error at or near "foo"

select a ? b, a ?| b, a ?& b
----
SELECT (a ? b), (a ?| b), (a ?& b)

select left('a', 1), right('a', 1), replace(a, b, c), char_length(a)
----
SELECT "left"('a', 1), "right"('a', 1), replace(a, b, c), char_length(a)

select left from t
----
error 42601 at 13: syntax error at or near "from"

select between(1)
----
error 42601 at 15: syntax error at or near "("

select int(1)
----
error 42601 at 11: syntax error at or near "("

select my.int(1)
----
SELECT my."int"(1)

select t.* as x from t
----
SELECT t.* AS x FROM t

select (t).* from t
----
SELECT (t).* FROM t

select 1 as select, 2 as from
----
SELECT 1 AS "select", 2 AS "from"

select 1 name, 2 type, 3 value, 4 key, 5 date, 6 user from t
----
SELECT 1 AS name, 2 AS type, 3 AS value, 4 AS key, 5 AS date, 6 AS "user" FROM t

select 1 user
----
SELECT 1 AS "user"

select 1 limit
----
error 42601 at 15: syntax error at end of input

select 1 is
----
SELECT 1 AS "is"

select 1 not
----
SELECT 1 AS "not"

select xmlelement(name a)
----
error 0A000 at 8: the type xml is not supported

select normalize(a)
----
error 0A000 at 8: NORMALIZE is not supported

select treat(a as b)
----
error 0A000 at 8: TREAT is not supported

select collation for (a), collation for ('x' collate "C")
----
SELECT pg_catalog.pg_collation_for(a), pg_catalog.pg_collation_for(('x' COLLATE "C"))

select cast(a)
----
error 42601 at 14: syntax error at or near ")"

select f(*) , f(), f(all a), f(distinct a, b)
----
SELECT f(*), f(), f(a), f(DISTINCT a, b)

select f(distinct)
----
error 42601 at 18: syntax error at or near ")"

select f(a,)
----
error 42601 at 12: syntax error at or near ")"

select f(,a)
----
error 42601 at 10: syntax error at or near ","

select (a
----
error 42601 at 10: syntax error at end of input

select a)
----
error 42601 at 9: syntax error at or near ")"

select [1]
----
error 42601 at 8: syntax error at or near "["

select array[1,
----
error 42601 at 16: syntax error at end of input

select array[[1],2]
----
error 42601 at 18: syntax error at or near "2"

select array[1,[2]]
----
error 42601 at 16: syntax error at or near "["

select unique (select 1)
----
error 0A000 at 8: the UNIQUE predicate is not supported

select a = not b
----
SELECT (a = (NOT b))

select a = not b = c
----
SELECT (a = (NOT (b = c)))

select not a is null
----
SELECT (NOT (a IS NULL))

select not exists (select 1) and 1 = 1
----
SELECT ((NOT EXISTS (SELECT 1)) AND (1 = 1))

select a and b or c and d
----
SELECT ((a AND b) OR (c AND d))

select a or (b or c) or d
----
SELECT (a OR (b OR c) OR d)

select default
----
SELECT DEFAULT

select 'x'::"char", 'x'::char varying, x::"int", x::public.foo, x::bit(3), x::bit varying
----
error 0A000 at 68: the type bit is not supported

select a::int.b
----
error 42601 at 14: syntax error at or near "."

select a::interval second(3), a::interval minute to hour
----
error 42601 at 53: syntax error at or near "hour"

select a in (select 1) is true
----
SELECT ((a IN (SELECT 1)) IS TRUE)

select a = any (select 1) = true
----
SELECT ((a = ANY (SELECT 1)) = TRUE)

select (a = b) = c
----
SELECT ((a = b) = c)

select 1 where true group by 1 having true window w as () order by 1
----
SELECT 1 WHERE TRUE GROUP BY 1 HAVING TRUE WINDOW w AS () ORDER BY 1

select * from pg_catalog.pg_class c where c.relname operator(pg_catalog.~) '^(t)$' collate pg_catalog.default and pg_catalog.pg_table_is_visible(c.oid)
----
SELECT * FROM pg_catalog.pg_class AS c WHERE ((c.relname OPERATOR(pg_catalog.~) ('^(t)$' COLLATE pg_catalog."default")) AND pg_catalog.pg_table_is_visible(c.oid))

select 'x'::pg_catalog.regclass::pg_catalog.text
----
SELECT (('x'::pg_catalog.regclass)::pg_catalog.text)
