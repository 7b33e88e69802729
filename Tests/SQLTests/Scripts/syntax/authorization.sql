# Roles and privileges.

create role r
----
CREATE ROLE r

create user u with password 'x' superuser createdb nocreaterole login connection limit 5 valid until 'x' in role a, b role c admin d
----
CREATE USER u PASSWORD 'x' SUPERUSER CREATEDB NOCREATEROLE LOGIN CONNECTION LIMIT 5 VALID UNTIL 'x' IN ROLE a, b USER c ADMIN d

create role r encrypted password 'x' noinherit sysid 5 bypassrls replication
----
CREATE ROLE r PASSWORD 'x' NOINHERIT SYSID 5 BYPASSRLS REPLICATION

create role r foo
----
error 42601 at 15: unrecognized role option "foo"

create role r unencrypted password 'x'
----
error 0A000 at 15: UNENCRYPTED PASSWORD is no longer supported
hint: Remove UNENCRYPTED to store the password in encrypted form instead.

create role public
----
error 42939 at 13: role name "public" is reserved

create group g with user a, b
----
CREATE GROUP g USER a, b

alter role r with nologin password null
----
ALTER ROLE r NOLOGIN PASSWORD NULL

alter role r set work_mem = 5
----
ALTER ROLE r SET work_mem TO 5

alter role r in database d reset all
----
ALTER ROLE r IN DATABASE d RESET ALL

alter role all set x to 'y', 'z'
----
ALTER ROLE ALL SET x TO 'y', 'z'

alter user r rename to s
----
ALTER ROLE r RENAME TO s

alter group g add user a, b
----
GRANT g TO a, b

alter group g drop user a
----
REVOKE g FROM a

drop role if exists a, b
----
DROP ROLE IF EXISTS a, b

drop user a
----
DROP ROLE a

grant select, insert (a, b), update on t, s.u to joe, public with grant option
----
GRANT SELECT, insert (a, b), update ON TABLE t, s.u TO joe, PUBLIC WITH GRANT OPTION

grant all privileges on all tables in schema s, t to group joe
----
GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA s, t TO joe

grant all (a) on table t to joe granted by current_user
----
GRANT ALL PRIVILEGES (a) ON TABLE t TO joe GRANTED BY CURRENT_USER

grant usage on schema s to joe
----
GRANT usage ON SCHEMA s TO joe

grant usage, select on sequence s to joe
----
GRANT usage, SELECT ON SEQUENCE s TO joe

grant connect on database d to joe
----
GRANT connect ON DATABASE d TO joe

grant execute on function f() to joe
----
error 0A000 at 18: privileges on functions are not supported

grant a, b to c with admin option
----
GRANT a, b TO c WITH ADMIN OPTION

grant a to public
----
GRANT a TO PUBLIC

revoke grant option for select on t from joe cascade
----
REVOKE GRANT OPTION FOR SELECT ON TABLE t FROM joe CASCADE

revoke admin option for a from b
----
REVOKE ADMIN OPTION FOR a FROM b

revoke all on t from joe restrict
----
REVOKE ALL PRIVILEGES ON TABLE t FROM joe

revoke select (a) from joe
----
error 42601 at 8: column names cannot be included in GRANT/REVOKE ROLE
