# Transactions, settings, prepared statements, cursors.

begin
----
BEGIN

begin work
----
BEGIN

begin transaction isolation level serializable, read only, deferrable
----
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE

begin isolation level read committed read write not deferrable
----
BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE

start transaction isolation level repeatable read
----
BEGIN ISOLATION LEVEL REPEATABLE READ

start
----
error 42601 at 6: syntax error at end of input

commit
----
COMMIT

commit and chain
----
COMMIT AND CHAIN

end work and no chain
----
COMMIT

rollback transaction
----
ROLLBACK

abort
----
ROLLBACK

rollback to savepoint s
----
ROLLBACK TO SAVEPOINT s

rollback work to s
----
ROLLBACK TO SAVEPOINT s

savepoint s
----
SAVEPOINT s

release s
----
RELEASE SAVEPOINT s

release savepoint s
----
RELEASE SAVEPOINT s

commit prepared 'x'
----
error 0A000 at 1: COMMIT PREPARED is not supported

prepare transaction 'x'
----
error 0A000 at 1: PREPARE TRANSACTION is not supported

set transaction isolation level read uncommitted
----
SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED

set local transaction read only
----
SET TRANSACTION READ ONLY

set transaction
----
error 42601 at 16: syntax error at end of input

set transaction snapshot 'x'
----
SET TRANSACTION SNAPSHOT 'x'

set session characteristics as transaction isolation level serializable
----
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE

set constraints all deferred
----
SET CONSTRAINTS ALL DEFERRED

set constraints a, s.b immediate
----
SET CONSTRAINTS a, s.b IMMEDIATE

set x = 1
----
SET x TO 1

set x to 'a', b, 3, -4.5
----
SET x TO 'a', b, 3, -4.5

set local x = on
----
SET LOCAL x TO on

set session x to default
----
SET x TO DEFAULT

set a.b.c to true
----
SET a.b.c TO true

set time zone 'UTC'
----
SET timezone TO 'UTC'

set time zone local
----
SET timezone TO DEFAULT

set time zone -5
----
SET timezone TO -5

set time zone interval '1' hour to minute
----
error 0A000 at 15: SET TIME ZONE INTERVAL is not supported
hint: Write the offset as text: SET TIME ZONE '-08:00'.

set time zone interval '1' day
----
error 0A000 at 15: SET TIME ZONE INTERVAL is not supported
hint: Write the offset as text: SET TIME ZONE '-08:00'.

set names 'utf8'
----
SET client_encoding TO 'utf8'

set names
----
SET client_encoding TO DEFAULT

set schema 'x'
----
SET search_path TO 'x'

set role joe
----
SET role TO 'joe'

set role none
----
SET role TO 'none'

set session authorization joe
----
SET session_authorization TO 'joe'

set session authorization default
----
SET session_authorization TO DEFAULT

set x from current
----
SET x FROM CURRENT

set x
----
error 42601 at 6: syntax error at end of input

set x =
----
error 42601 at 8: syntax error at end of input

show x
----
SHOW x

show all
----
SHOW "all"

show time zone
----
SHOW timezone

show transaction isolation level
----
SHOW transaction_isolation

show session authorization
----
SHOW session_authorization

show a.b
----
SHOW a.b

reset all
----
RESET ALL

reset x
----
RESET x

reset time zone
----
RESET timezone

reset session authorization
----
RESET session_authorization

discard all
----
DISCARD ALL

discard temp
----
DISCARD TEMPORARY

discard foo
----
error 42601 at 9: syntax error at or near "foo"

lock t
----
LOCK TABLE t IN ACCESS EXCLUSIVE MODE

lock table t, only u in access exclusive mode nowait
----
LOCK TABLE t, ONLY u IN ACCESS EXCLUSIVE MODE NOWAIT

lock t in share row exclusive mode
----
LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE

lock t in foo mode
----
error 42601 at 11: syntax error at or near "foo"

lock t in share update mode
----
error 42601 at 24: syntax error at or near "mode"

listen x
----
LISTEN x

unlisten *
----
UNLISTEN *

notify x, 'y'
----
NOTIFY x, 'y'

notify x
----
NOTIFY x

prepare p as select 1
----
PREPARE p AS SELECT 1

prepare p (int, text) as insert into t values ($1, $2)
----
PREPARE p (integer, text) AS INSERT INTO t VALUES ($1, $2)

prepare p as create table t (a int)
----
error 42601 at 14: syntax error at or near "create"

execute p
----
EXECUTE p

execute p (1, 'a')
----
EXECUTE p (1, 'a')

deallocate p
----
DEALLOCATE p

deallocate prepare all
----
DEALLOCATE ALL

declare c cursor for select 1
----
DECLARE c CURSOR FOR SELECT 1

declare c binary insensitive no scroll cursor with hold for select 1
----
DECLARE c BINARY INSENSITIVE NO SCROLL CURSOR WITH HOLD FOR SELECT 1

declare c scroll no scroll cursor for select 1
----
error 42601 at 1: cannot specify both SCROLL and NO SCROLL

declare c asensitive scroll cursor without hold for values (1)
----
DECLARE c ASENSITIVE SCROLL CURSOR FOR VALUES (1)

fetch c
----
FETCH FORWARD 1 FROM c

fetch next from c
----
FETCH FORWARD 1 FROM c

fetch 5 in c
----
FETCH FORWARD 5 FROM c

fetch all c
----
FETCH FORWARD ALL FROM c

fetch backward all from c
----
FETCH BACKWARD ALL FROM c

fetch forward 5 c
----
FETCH FORWARD 5 FROM c

fetch first from c
----
FETCH ABSOLUTE 1 FROM c

fetch absolute -5 from c
----
FETCH ABSOLUTE -5 FROM c

fetch relative 5 c
----
FETCH RELATIVE 5 FROM c

fetch next
----
FETCH FORWARD 1 FROM next

fetch from c
----
FETCH FORWARD 1 FROM c

fetch -1 c
----
FETCH FORWARD -1 FROM c

fetch forward c
----
FETCH FORWARD 1 FROM c

fetch forward from c
----
FETCH FORWARD 1 FROM c

move 5 c
----
MOVE FORWARD 5 FROM c

move backward c
----
MOVE BACKWARD 1 FROM c

close c
----
CLOSE c

close all
----
CLOSE ALL

begin as of version 5
----
BEGIN AS OF VERSION 5

begin read only, as of timestamp '2020-01-01 00:00:00'
----
BEGIN READ ONLY, AS OF TIMESTAMP '2020-01-01 00:00:00'

set transaction as of version 7
----
SET TRANSACTION AS OF VERSION 7

begin as x
----
error 42601 at 7: syntax error at or near "as"
