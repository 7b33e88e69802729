# INSERT, UPDATE, DELETE, COPY.

insert into t values (1, 2), (3, default)
----
INSERT INTO t VALUES (1, 2), (3, DEFAULT)

insert into t (a, b.c, d[1]) values (1, 2, 3) returning *, a as b
----
INSERT INTO t (a, b.c, d[1]) VALUES (1, 2, 3) RETURNING *, a AS b

insert into t default values
----
INSERT INTO t DEFAULT VALUES

insert into t (a) default values
----
error 42601 at 19: syntax error at or near "default"

insert into t select * from u
----
INSERT INTO t SELECT * FROM u

insert into t (select * from u)
----
INSERT INTO t SELECT * FROM u

insert into t ((select 1))
----
INSERT INTO t SELECT 1

insert into t (a) (select 1)
----
INSERT INTO t (a) SELECT 1

insert into t as x (a) overriding user value values (1)
----
INSERT INTO t AS x (a) OVERRIDING USER VALUE VALUES (1)

insert into t overriding system value select 1
----
INSERT INTO t OVERRIDING SYSTEM VALUE SELECT 1

insert into t values (1) on conflict do nothing
----
INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING

insert into t values (1) on conflict (a, lower(b), (c + 1) collate "C" text_ops) where d do update set a = excluded.a, (b, c) = (1, 2), (d) = row(3), e[1] = 4 where t.a > 1 returning a
----
INSERT INTO t VALUES (1) ON CONFLICT (a, lower(b), ((c + 1)) COLLATE "C" text_ops) WHERE d DO UPDATE SET a = excluded.a, (b, c) = (1, 2), (d) = ROW(3), e[1] = 4 WHERE (t.a > 1) RETURNING a

insert into t values (1) on conflict on constraint t_pkey do nothing
----
INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING

insert into t values (1) on conflict do
----
error 42601 at 40: syntax error at end of input

insert into t with a as (select 1) select * from a
----
INSERT INTO t WITH a AS (SELECT 1) SELECT * FROM a

update t set a = 1, b = default where c = 2 returning *
----
UPDATE t SET a = 1, b = DEFAULT WHERE (c = 2) RETURNING *

update only t as x set (a, b) = (select 1, 2), c = 3 from u, v join w on true where current of cur
----
UPDATE ONLY t AS x SET (a, b) = (SELECT 1, 2), c = 3 FROM u, v JOIN w ON TRUE WHERE CURRENT OF cur

update t x set a = 1
----
UPDATE t AS x SET a = 1

update t set set = 1
----
UPDATE t SET set = 1

update t set
----
error 42601 at 13: syntax error at end of input

delete from t
----
DELETE FROM t

delete from only t as x using u, v where a = b returning 1
----
DELETE FROM ONLY t AS x USING u, v WHERE (a = b) RETURNING 1

delete from t where current of c
----
DELETE FROM t WHERE CURRENT OF c

delete t
----
error 42601 at 8: syntax error at or near "t"

merge into t using s on true when matched then do nothing
----
error 0A000 at 1: MERGE is not supported

copy t from stdin
----
COPY t FROM STDIN

copy t (a, b) to stdout with (format csv, header, delimiter ',', null '', quote '"', force_quote (a, b), force_null *, freeze on)
----
COPY t (a, b) TO STDOUT WITH (format csv, header, delimiter ',', null '', quote '"', force_quote (a, b), force_null *, freeze on)

copy t to stdout csv header delimiter ',' null as 'x' quote '"' escape '\' force quote a, b
----
COPY t TO STDOUT WITH (format csv, header true, delimiter ',', null 'x', quote '"', escape '\', force_quote (a, b))

copy t from '/x' with binary
----
COPY t FROM '/x' WITH (format binary)

copy binary t from stdin
----
COPY t FROM STDIN WITH (format binary)

copy t from stdin using delimiters '|'
----
COPY t FROM STDIN WITH (delimiter '|')

copy t from stdin with csv force not null a, b force null c encoding 'utf8' freeze
----
COPY t FROM STDIN WITH (format csv, force_not_null (a, b), force_null (c), encoding 'utf8', freeze true)

copy (select 1) to stdout
----
COPY (SELECT 1) TO STDOUT

copy (select 1) from stdin
----
error 42601 at 17: syntax error at or near "from"

copy (insert into t values (1) returning a) to stdout
----
COPY (INSERT INTO t VALUES (1) RETURNING a) TO STDOUT

copy t from program 'x'
----
COPY t FROM PROGRAM 'x'

copy t from stdin where a > 1
----
COPY t FROM STDIN WHERE (a > 1)

copy t to stdout where a > 1
----
error 42601 at 18: WHERE clause not allowed with COPY TO

copy t from
----
error 42601 at 12: syntax error at end of input

copy t to stdout (format csv)
----
COPY t TO STDOUT WITH (format csv)

copy t from stdin force quote *
----
COPY t FROM STDIN WITH (force_quote *)
