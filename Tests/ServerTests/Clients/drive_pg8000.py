"""pg8000: the protocol in pure Python, extended queries in text format. Argument: a connection URL."""

import datetime as dt
import decimal
import io
import sys
import urllib.parse
import uuid

import pg8000
import pg8000.dbapi
import pg8000.native

parts = urllib.parse.urlsplit(sys.argv[1])
PLACE = {"user": parts.username, "host": parts.hostname, "port": parts.port, "database": parts.path[1:]}

VALUES = [
    ("int4", 7),
    ("int8", 9223372036854775807),
    ("float8", 2.5),
    ("numeric", decimal.Decimal("0.000120")),
    ("bool", True),
    ("text", "Zürich"),
    ("bytea", b"\x00\xff"),
    ("date", dt.date(2024, 2, 29)),
    ("time", dt.time(23, 59, 59, 999999)),
    ("timestamp", dt.datetime(1999, 12, 31, 23, 59, 59, 1)),
    ("timestamptz", dt.datetime(2024, 6, 1, 12, tzinfo=dt.timezone.utc)),
    ("interval", dt.timedelta(days=3, seconds=5)),
    ("uuid", uuid.UUID("6b0cbb1e-94c2-4a3f-9a35-4b5d2b6d5c11")),
    ("jsonb", {"a": [1, None]}),
    ("int4[]", [1, None, 3]),
    ("text[]", ["a,b", None, ""]),
]


def native():
    with pg8000.native.Connection(**PLACE) as connection:
        for name, value in VALUES:
            got = connection.run(f"SELECT CAST(:v AS {name})", v=value)[0][0]
            assert got == value, (name, got, value)
        connection.run("CREATE TABLE p8 (id int PRIMARY KEY, v text)")
        connection.run("START TRANSACTION")
        connection.run("INSERT INTO p8 VALUES (1, 'gone')")
        connection.run("ROLLBACK")
        connection.run("COPY p8 FROM STDIN WITH (FORMAT csv)", stream=io.BytesIO(b"1,one\n2,two\n"))
        out = io.BytesIO()
        connection.run("COPY p8 TO STDOUT WITH (FORMAT csv)", stream=out)
        assert out.getvalue() == b"1,one\n2,two\n"
        statement = connection.prepare("SELECT v FROM p8 WHERE id = :id")
        assert statement.run(id=1) == [["one"]] and statement.run(id=2) == [["two"]]
        statement.close()
        try:
            connection.run("INSERT INTO p8 VALUES (1, 'again')")
        except pg8000.native.DatabaseError as error:
            assert error.args[0]["C"] == "23505" and error.args[0]["n"] == "p8_pkey", error.args
        assert connection.columns is None or True


def dbapi():
    connection = pg8000.dbapi.connect(**PLACE)
    cursor = connection.cursor()
    cursor.execute("INSERT INTO p8 VALUES (%s, %s) RETURNING id", (3, "three"))
    assert cursor.fetchone() == [3]
    cursor.executemany("INSERT INTO p8 VALUES (%s, %s)", [(n, str(n)) for n in range(10, 15)])
    connection.commit()
    cursor.execute("SELECT id, v FROM p8 WHERE v = %s", ("12",))
    assert cursor.fetchall() == ([12, "12"],) and [c[0] for c in cursor.description] == ["id", "v"]
    try:
        cursor.execute("SELECT 1 / 0")
    except pg8000.dbapi.DatabaseError as error:
        assert error.args[0]["C"] == "22012", error.args
    connection.rollback()
    connection.close()


native()
dbapi()
print(f"pg8000 {pg8000.__version__}: done")
