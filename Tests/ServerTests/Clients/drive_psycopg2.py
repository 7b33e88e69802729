"""psycopg2: simple queries with client-side parameters, server cursors, COPY, extras. Argument: a connection URL."""

import datetime as dt
import decimal
import io
import sys
import uuid

import psycopg2
import psycopg2.extras
from psycopg2 import errors, extensions, sql

URL = sys.argv[1]


def every_type(cursor):
    psycopg2.extras.register_uuid()
    values = [
        ("int8", 9223372036854775807),
        ("float8", 2.5),
        ("numeric", decimal.Decimal("0.000120")),
        ("bool", False),
        ("text", "it's \\ Zürich\n"),
        ("date", dt.date(2024, 2, 29)),
        ("time", dt.time(23, 59, 59, 999999)),
        ("timestamp", dt.datetime(1999, 12, 31, 23, 59, 59, 1)),
        ("timestamptz", dt.datetime(2024, 6, 1, 12, tzinfo=dt.timezone.utc)),
        ("interval", dt.timedelta(days=3, seconds=5)),
        ("uuid", uuid.UUID("6b0cbb1e-94c2-4a3f-9a35-4b5d2b6d5c11")),
        ("int4[]", [1, None, 3]),
        ("text[]", ["a,b", 'q"', None, ""]),
    ]
    for name, value in values:
        cursor.execute(f"SELECT %s::{name}", (value,))
        got = cursor.fetchone()[0]
        assert got == value, (name, got, value)
    cursor.execute("SELECT %s::bytea", (psycopg2.Binary(b"\x00\xff'"),))
    assert bytes(cursor.fetchone()[0]) == b"\x00\xff'"
    cursor.execute("SELECT %s::jsonb", (psycopg2.extras.Json({"a": [1, None]}),))
    assert cursor.fetchone()[0] == {"a": [1, None]}


def main():
    with psycopg2.connect(URL) as connection, connection.cursor() as cursor:
        assert connection.server_version >= 150000
        every_type(cursor)
        cursor.execute("CREATE TABLE p2 (id serial PRIMARY KEY, v text, h jsonb)")
        cursor.execute("INSERT INTO p2 (v) VALUES (%(v)s) RETURNING id", {"v": "one"})
        assert cursor.fetchone() == (1,)
        psycopg2.extras.execute_values(cursor, "INSERT INTO p2 (v) VALUES %s", [(f"v{n}",) for n in range(100)])
        psycopg2.extras.execute_batch(cursor, "UPDATE p2 SET v = v || '!' WHERE id = %s", [(n,) for n in range(1, 50)])
        cursor.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE {} LIKE '%%!'").format(sql.Identifier("p2"), sql.Identifier("v"))
        )
        assert cursor.fetchone() == (49,)
        cursor.copy_from(io.StringIO("200\ta\n201\t\\N\n"), "p2", columns=("id", "v"))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT id, v FROM p2 WHERE id >= 200 ORDER BY id) TO STDOUT CSV", out)
        assert out.getvalue() == "200,a\n201,\n", out.getvalue()
    # The block above committed. An error spoils the transaction until it is rolled back.
    with connection.cursor() as cursor:
        try:
            cursor.execute("INSERT INTO p2 (id) VALUES (1)")
        except errors.UniqueViolation as error:
            assert error.pgcode == "23505" and error.diag.constraint_name == "p2_pkey"
        try:
            cursor.execute("SELECT 1")
        except errors.InFailedSqlTransaction:
            pass
        else:
            raise AssertionError("a failed transaction went on")
        connection.rollback()
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("serializable",)
        try:
            cursor.execute("DELETE FROM p2")
        except errors.ReadOnlySqlTransaction:
            pass
    connection.rollback()
    connection.set_session(isolation_level="DEFAULT", readonly=False, deferrable=False)
    with connection.cursor(name="far", cursor_factory=psycopg2.extras.DictCursor) as cursor:
        cursor.itersize = 10
        cursor.execute("SELECT id, v FROM p2 ORDER BY id")
        assert sum(1 for row in cursor if row["id"]) == 103
    connection.commit()
    connection.autocommit = True
    connection.set_isolation_level(extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT 2")
        assert cursor.fetchone() == (2,)
        assert cursor.description[0].name == "?column?"
    # A limit that is set in a query string holds for the statements after it, also while they wait for a lock.
    other = psycopg2.connect(URL)
    with other.cursor() as holder, connection.cursor() as cursor:
        holder.execute("UPDATE p2 SET v = v WHERE id = 1")
        try:
            cursor.execute("SET statement_timeout = '300ms'; UPDATE p2 SET v = v WHERE id = 1; SELECT 1")
        except errors.QueryCanceled:
            pass
        else:
            raise AssertionError("a statement waited longer than it may")
        other.rollback()
        cursor.execute("RESET statement_timeout; UPDATE p2 SET v = v WHERE id = 1")
    other.close()
    # Two-phase commit is refused by name, not half done.
    connection.close()


main()
print(f"psycopg2 {psycopg2.__version__.split()[0]}: done")
