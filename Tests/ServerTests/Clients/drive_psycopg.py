"""psycopg 3: sync and async, pipeline, binary formats, COPY, server cursors. Argument: a connection URL."""

import asyncio
import datetime as dt
import decimal
import sys
import uuid

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

URL = sys.argv[1]

VALUES = [
    ("int2", 32767),
    ("int4", -2147483648),
    ("int8", 9223372036854775807),
    ("float8", 2.5),
    ("float4", -0.25),
    ("numeric", decimal.Decimal("12345678901234567890.000120")),
    ("bool", True),
    ("text", "Zürich \U0001f9c0"),
    ("bytea", b"\x00\xff\x10"),
    ("date", dt.date(2024, 2, 29)),
    ("time", dt.time(23, 59, 59, 999999)),
    ("timestamp", dt.datetime(1999, 12, 31, 23, 59, 59, 1)),
    ("timestamptz", dt.datetime(2024, 6, 1, 12, tzinfo=dt.timezone.utc)),
    ("interval", dt.timedelta(days=3, seconds=5, microseconds=7)),
    ("uuid", uuid.UUID("6b0cbb1e-94c2-4a3f-9a35-4b5d2b6d5c11")),
    ("jsonb", {"a": [1, None, "x"]}),
    ("json", [1, 2.5, False]),
    ("int4[]", [1, None, 3]),
    ("text[]", ["a,b", 'q"', None, ""]),
]


def every_type(connection):
    for binary in (False, True):
        for name, value in VALUES:
            sent = Jsonb(value) if name.startswith("json") else value
            with connection.cursor(binary=binary) as cursor:
                got = cursor.execute(f"SELECT %s::{name}", [sent]).fetchone()[0]
            assert got == value, (name, binary, got, value)
            with connection.cursor(binary=binary) as cursor:
                assert cursor.execute(f"SELECT %s::{name}", [None]).fetchone()[0] is None, name
    # Parameters sent in binary, too.
    for name, value in VALUES[:16]:
        if name.startswith("json"):
            continue
        got = connection.execute(f"SELECT %b::{name}", [value]).fetchone()[0]
        assert got == value, (name, got, value)


def transactions(connection):
    connection.execute("CREATE TABLE p3 (id int PRIMARY KEY, v text)")
    with connection.transaction():
        connection.execute("INSERT INTO p3 VALUES (%s, %s)", (1, "one"))
        try:
            with connection.transaction():
                connection.execute("INSERT INTO p3 VALUES (2, 'two')")
                connection.execute("INSERT INTO p3 VALUES (1, 'again')")
        except psycopg.errors.UniqueViolation as error:
            assert error.diag.constraint_name == "p3_pkey", error.diag.constraint_name
            assert error.diag.table_name == "p3"
            assert error.diag.message_detail == "Key (id)=(1) already exists.", error.diag.message_detail
        else:
            raise AssertionError("a duplicate key was taken")
        connection.execute("INSERT INTO p3 VALUES (3, 'three')")
    assert connection.execute("SELECT id FROM p3 ORDER BY id").fetchall() == [(1,), (3,)]
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO p3 VALUES (%s, %s) RETURNING id", [(n, str(n)) for n in range(10, 20)], returning=True)
        seen = [cursor.fetchone()[0]]
        while cursor.nextset():
            seen.append(cursor.fetchone()[0])
    assert seen == list(range(10, 20)), seen
    # Prepared by the driver after a few runs, and replanned when the schema moves.
    for n in range(8):
        assert connection.execute("SELECT v FROM p3 WHERE id = %s", (10 + n,)).fetchone() == (str(10 + n),)
    connection.execute("ALTER TABLE p3 ADD COLUMN w int DEFAULT 7")
    assert connection.execute("SELECT v FROM p3 WHERE id = %s", (11,)).fetchone() == ("11",)
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("SELECT id, v, w FROM p3 WHERE id = 12").fetchone()
    assert row == {"id": 12, "v": "12", "w": 7}, row
    try:
        connection.execute("SELECT nothing FROM p3")
    except psycopg.errors.UndefinedColumn as error:
        assert error.diag.statement_position == "8", error.diag.statement_position
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    with connection.transaction():
        assert connection.execute("SHOW transaction_isolation").fetchone()[0] == "serializable"
    connection.isolation_level = None


def server_cursors(connection):
    with connection.transaction():
        with connection.cursor(name="far", binary=True) as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 1000) i")
            assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
            assert cursor.fetchone() == (4,)
            assert len(cursor.fetchall()) == 996
        with connection.cursor(name="back", scrollable=True) as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 10) i")
            cursor.scroll(5)
            assert cursor.fetchone() == (6,)
            cursor.scroll(0, mode="absolute")
            assert cursor.fetchone() == (1,)


def pipeline(connection):
    with connection.pipeline() as pipe:
        cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(50)]
        pipe.sync()
        assert [c.fetchone()[0] for c in cursors] == list(range(50))
    # What comes after an error is skipped until the next sync.
    try:
        with connection.pipeline() as pipe:
            connection.execute("INSERT INTO p3 (id) VALUES (100)")
            bad = connection.execute("SELECT 1 / 0")
            connection.execute("INSERT INTO p3 (id) VALUES (101)")
            pipe.sync()
            bad.fetchone()
    except (psycopg.errors.DivisionByZero, psycopg.errors.PipelineAborted):
        pass
    else:
        raise AssertionError("division by zero went well")
    assert connection.execute("SELECT count(*) FROM p3 WHERE id = 101").fetchone() == (0,)


def copy(connection):
    connection.execute("CREATE TABLE p3_copy (id int8, v text, at timestamptz, n numeric, b bytea)")
    at = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    rows = [(n, f"line\n{n}\t\\", at, decimal.Decimal(n) / 8, bytes([n])) for n in range(200)] + [(None,) * 5]
    with connection.cursor() as cursor:
        with cursor.copy("COPY p3_copy FROM STDIN") as out:
            for row in rows:
                out.write_row(row)
        assert cursor.rowcount == 201
        with cursor.copy("COPY p3_copy FROM STDIN (FORMAT binary)") as out:
            out.set_types(["int8", "text", "timestamptz", "numeric", "bytea"])
            for row in rows:
                out.write_row(row)
        for options in ("", " (FORMAT binary)"):
            with cursor.copy(f"COPY p3_copy TO STDOUT{options}") as into:
                into.set_types(["int8", "text", "timestamptz", "numeric", "bytea"])
                got = list(into.rows())
            assert got == rows + rows, (options, got[:2])
        with cursor.copy("COPY (SELECT id, v FROM p3_copy WHERE id = 3 LIMIT 1) TO STDOUT (FORMAT csv, HEADER)") as into:
            assert b"".join(into) == b'id,v\n3,"line\n3\t\\"\n'
        try:
            with cursor.copy("COPY p3_copy FROM STDIN") as out:
                out.write(b"x\t\n")
        except psycopg.errors.InvalidTextRepresentation as error:
            assert "COPY p3_copy, line 1" in error.diag.context, error.diag.context
        except psycopg.errors.BadCopyFileFormat:
            pass
        else:
            raise AssertionError("COPY took nonsense")
        try:
            with cursor.copy("COPY p3_copy FROM STDIN") as out:
                out.write(b"1\ta\t\\N\t\\N\t\\N\n")
                raise KeyError("the client gives up")
        except KeyError:
            pass
    assert connection.execute("SELECT count(*) FROM p3_copy").fetchone() == (402,)


def cancel_and_notice(connection):
    import threading

    timer = threading.Timer(0.1, connection.cancel)
    timer.start()
    try:
        connection.execute("SELECT count(*) FROM generate_series(1, 1000000000)")
    except psycopg.errors.QueryCanceled:
        pass
    else:
        raise AssertionError("it was not cancelled")
    finally:
        timer.join()
    notices = []
    connection.add_notice_handler(lambda diag: notices.append(diag.message_primary))
    connection.execute("DROP TABLE IF EXISTS p3_nothing")
    assert notices == ['table "p3_nothing" does not exist, skipping'], notices


async def asynchronous():
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as connection:
        await connection.execute("CREATE TABLE p3_async (id int PRIMARY KEY)")
        async with connection.transaction():
            async with connection.pipeline():
                for n in range(20):
                    await connection.execute("INSERT INTO p3_async VALUES (%s)", (n,))
        async with connection.cursor(binary=True) as cursor:
            async with cursor.copy("COPY p3_async FROM STDIN") as out:
                await out.write_row((20,))
            await cursor.execute("SELECT count(*), max(id) FROM p3_async")
            assert await cursor.fetchone() == (21, 20)

    async def bump(n):
        async with await psycopg.AsyncConnection.connect(URL) as connection:
            await connection.execute("UPDATE p3_async SET id = id + 1000 WHERE id = %s", (n,))

    await asyncio.gather(*(bump(n) for n in range(8)))
    async with await psycopg.AsyncConnection.connect(URL) as connection:
        cursor = await connection.execute("SELECT count(*) FROM p3_async WHERE id >= 1000")
        assert await cursor.fetchone() == (8,)


with psycopg.connect(URL, autocommit=True) as connection:
    assert connection.info.server_version >= 150000, connection.info.server_version
    for part in (every_type, transactions, server_cursors, pipeline, copy, cancel_and_notice):
        part(connection)
asyncio.run(asynchronous())
print(f"psycopg {psycopg.__version__}: done")
