"""asyncpg: everything binary, type introspection, cursors, COPY, a pool. Argument: a connection URL."""

import asyncio
import datetime as dt
import decimal
import io
import json
import sys
import uuid

import asyncpg

URL = sys.argv[1]

VALUES = [
    ("int2", -3),
    ("int4", 2147483647),
    ("int8", 9223372036854775807),
    ("float4", 0.25),
    ("float8", 2.5),
    ("numeric", decimal.Decimal("12345678901234567890.000120")),
    ("bool", True),
    ("text", "Zürich"),
    ("varchar", "v"),
    ("bytea", b"\x00\xff"),
    ("date", dt.date(2024, 2, 29)),
    ("time", dt.time(23, 59, 59, 999999)),
    ("timestamp", dt.datetime(1999, 12, 31, 23, 59, 59, 1)),
    ("timestamptz", dt.datetime(2024, 6, 1, 12, tzinfo=dt.timezone.utc)),
    ("interval", dt.timedelta(days=3, seconds=5)),
    ("uuid", uuid.UUID("6b0cbb1e-94c2-4a3f-9a35-4b5d2b6d5c11")),
    ("jsonb", '{"a": [1, null]}'),
    ("json", "[1, 2.5]"),
    ("int4[]", [1, None, 3]),
    ("text[]", ["a,b", None, ""]),
    ("uuid[]", [uuid.UUID(int=7)]),
]


async def types(connection):
    for name, value in VALUES:
        got = await connection.fetchval(f"SELECT $1::{name}", value)
        assert got == value, (name, got, value)
        assert await connection.fetchval(f"SELECT $1::{name}", None) is None
    # The codec is set up by asking pg_catalog.
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    assert await connection.fetchval("SELECT $1::jsonb", {"k": [1]}) == {"k": [1]}
    row = await connection.fetchval("SELECT ROW(1, 'a b', NULL::int, 2.50, ROW(true, 'x'))")
    assert tuple(row)[:4] == (1, "a b", None, decimal.Decimal("2.50")) and tuple(row[4]) == (True, "x"), row
    await connection.reset_type_codec("jsonb", schema="pg_catalog")


async def statements(connection):
    await connection.execute("CREATE TABLE ap (id int PRIMARY KEY, v text, n numeric(10, 2))")
    async with connection.transaction(isolation="serializable"):
        await connection.executemany("INSERT INTO ap VALUES ($1, $2, $3)", [(n, f"v{n}", n) for n in range(500)])
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO ap VALUES (1)")
        except asyncpg.UniqueViolationError as error:
            assert error.constraint_name == "ap_pkey", error.as_dict()
        assert await connection.fetchval("SELECT count(*) FROM ap") == 500
    prepared = await connection.prepare("SELECT id, v FROM ap WHERE id = ANY($1::int[]) ORDER BY id")
    assert [a.name for a in prepared.get_attributes()] == ["id", "v"]
    assert [p.name for p in prepared.get_parameters()] == ["int4[]"]
    assert [tuple(r) for r in await prepared.fetch([3, 5, 1000])] == [(3, "v3"), (5, "v5")]
    row = await connection.fetchrow("UPDATE ap SET v = v || $2 WHERE id = $1 RETURNING *", 7, "!")
    assert dict(row) == {"id": 7, "v": "v7!", "n": decimal.Decimal("7.00")}, dict(row)
    assert await connection.execute("DELETE FROM ap WHERE id >= $1", 490) == "DELETE 10"
    async with connection.transaction():
        seen = [r["id"] async for r in connection.cursor("SELECT id FROM ap ORDER BY id", prefetch=50)]
        assert seen == list(range(490))
        cursor = await connection.cursor("SELECT id FROM ap ORDER BY id")
        await cursor.forward(10)
        assert (await cursor.fetchrow())["id"] == 10
        assert len(await cursor.fetch(5)) == 5
    # A cached statement survives a change of the schema.
    assert await connection.fetchval("SELECT count(*) FROM ap WHERE id < $1", 10) == 10
    await connection.execute("ALTER TABLE ap ADD COLUMN w int DEFAULT 3")
    assert await connection.fetchval("SELECT count(*) FROM ap WHERE id < $1", 10) == 10
    assert await connection.fetchval("SELECT w FROM ap WHERE id = $1", 10) == 3
    try:
        await connection.fetchval("SELECT 1 / $1::int", 0)
    except asyncpg.DivisionByZeroError:
        pass
    else:
        raise AssertionError("division by zero went well")
    try:
        await connection.execute("SELECT count(*) FROM generate_series(1, 1000000000)", timeout=0.1)
    except asyncio.TimeoutError:
        pass
    else:
        raise AssertionError("it was not cancelled")
    assert await connection.fetchval("SELECT 1") == 1


async def copy(connection):
    records = [(n, f"r{n}", decimal.Decimal(n)) for n in range(1000, 3000)]
    answer = await connection.copy_records_to_table("ap", records=records, columns=["id", "v", "n"])
    assert answer == "COPY 2000", answer
    out = io.BytesIO()
    await connection.copy_from_query("SELECT id, v FROM ap WHERE id < $1 ORDER BY id", 2, output=out, format="csv")
    assert out.getvalue() == b"0,v0\n1,v1\n", out.getvalue()
    out = io.BytesIO()
    await connection.copy_from_table("ap", columns=["id", "v", "n"], output=out, format="binary")
    await connection.execute("CREATE TABLE ap2 (id int, v text, n numeric)")
    out.seek(0)
    assert await connection.copy_to_table("ap2", source=out, format="binary") == "COPY 2490"
    assert await connection.fetchval("SELECT count(*) FROM ap JOIN ap2 USING (id, v, n)") == 2490


async def user_types(connection):
    await connection.execute("CREATE SCHEMA ap_space; CREATE TABLE ap_space.t (a int, b text[])")
    row = await connection.fetchrow("INSERT INTO ap_space.t VALUES ($1, $2) RETURNING a, b", 1, ["x"])
    assert tuple(row) == (1, ["x"])


async def pool():
    async with asyncpg.create_pool(URL, min_size=2, max_size=6) as many:

        async def bump(n):
            async with many.acquire() as connection, connection.transaction():
                await connection.execute("UPDATE ap SET w = w + 1 WHERE id = $1", n % 3)

        await asyncio.gather(*(bump(n) for n in range(30)))
        assert await many.fetchval("SELECT sum(w) FROM ap WHERE id < 3") == 39


async def main():
    connection = await asyncpg.connect(URL)
    assert connection.get_server_version().major >= 15
    for part in (types, statements, copy, user_types):
        await part(connection)
    await connection.close()
    await pool()


asyncio.run(main())
print(f"asyncpg {asyncpg.__version__}: done")
