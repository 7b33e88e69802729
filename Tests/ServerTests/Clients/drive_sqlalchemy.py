"""SQLAlchemy 2 over psycopg, psycopg2, pg8000 and asyncpg: create, reflect, an ORM round trip. Argument: a URL."""

import asyncio
import datetime as dt
import decimal
import sys
import uuid

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

URL = sys.argv[1].split("://", 1)[1]


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    __table_args__ = (
        sa.UniqueConstraint("name", "born", name="author_once"),
        sa.CheckConstraint("length(name) > 0", name="author_named"),
        sa.Index("author_by_born", sa.desc("born")),
        {"comment": "who writes"},
    )
    id: orm.Mapped[int] = orm.mapped_column(sa.Identity(), primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(80), comment="in full")
    born: orm.Mapped[dt.date | None]
    key: orm.Mapped[uuid.UUID] = orm.mapped_column(default=uuid.uuid4)
    notes: orm.Mapped[dict] = orm.mapped_column(pg.JSONB, server_default="{}")
    tags: orm.Mapped[list[str]] = orm.mapped_column(pg.ARRAY(sa.Text), default=list)
    made: orm.Mapped[dt.datetime] = orm.mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    books: orm.Mapped[list["Book"]] = orm.relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "book"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("author.id", ondelete="CASCADE"), index=True)
    title: orm.Mapped[str]
    price: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(8, 2))
    author: orm.Mapped[Author] = orm.relationship(back_populates="books")


def reflect(engine):
    inspector = sa.inspect(engine)
    assert {"author", "book"} <= set(inspector.get_table_names())
    assert inspector.default_schema_name == "public" and "public" in inspector.get_schema_names()
    columns = {c["name"]: c for c in inspector.get_columns("author")}
    assert isinstance(columns["id"]["type"], sa.Integer) and columns["id"]["identity"], columns["id"]
    assert columns["name"]["type"].length == 80 and not columns["name"]["nullable"]
    assert columns["name"]["comment"] == "in full"
    assert isinstance(columns["tags"]["type"], pg.ARRAY) and isinstance(columns["notes"]["type"], pg.JSONB)
    assert columns["made"]["type"].timezone and "now()" in columns["made"]["default"], columns["made"]
    price = {c["name"]: c for c in inspector.get_columns("book")}["price"]["type"]
    assert (price.precision, price.scale) == (8, 2)
    assert inspector.get_pk_constraint("author") == {
        "constrained_columns": ["id"], "name": "author_pkey", "comment": None, "dialect_options": {}
    } or inspector.get_pk_constraint("author")["constrained_columns"] == ["id"]
    (foreign,) = inspector.get_foreign_keys("book")
    assert foreign["name"] == "book_author_id_fkey" and foreign["referred_table"] == "author", foreign
    assert foreign["constrained_columns"] == ["author_id"] and foreign["options"] == {"ondelete": "CASCADE"}, foreign
    (unique,) = inspector.get_unique_constraints("author")
    assert (unique["name"], unique["column_names"]) == ("author_once", ["name", "born"]), unique
    (check,) = inspector.get_check_constraints("author")
    assert check["name"] == "author_named" and "length" in check["sqltext"], check
    indexes = {i["name"]: i for i in inspector.get_indexes("author")}
    assert indexes["author_by_born"]["column_names"] == ["born"] and not indexes["author_by_born"]["unique"], indexes
    assert inspector.get_table_comment("author") == {"text": "who writes"}
    assert inspector.has_table("book") and not inspector.has_table("nothing")
    assert inspector.get_view_names() == [] and "author_id_seq" in inspector.get_sequence_names()
    reflected = sa.MetaData()
    reflected.reflect(engine, only=["author", "book"])
    assert reflected.tables["book"].c.author_id.foreign_keys


def round_trip(engine):
    with orm.Session(engine) as session:
        ada = Author(name="Ada", born=dt.date(1815, 12, 10), tags=["a", "b"], notes={"x": 1})
        ada.books = [Book(title=f"Notes {n}", price=decimal.Decimal(n) / 4) for n in range(20)]
        session.add_all([ada, Author(name="Bob")])
        session.commit()
        assert ada.id == 1 and ada.made.tzinfo
    with orm.Session(engine) as session:
        ada = session.scalars(
            sa.select(Author).options(orm.selectinload(Author.books)).where(Author.name == "Ada")
        ).one()
        assert len(ada.books) == 20 and ada.tags == ["a", "b"] and ada.notes == {"x": 1}
        count = sa.func.count(Book.id)
        rows = session.execute(
            sa.select(Author.name, count).outerjoin(Book).group_by(Author.name).order_by(Author.name)
        ).all()
        assert [tuple(r) for r in rows] == [("Ada", 20), ("Bob", 0)], rows
        assert session.scalar(sa.select(count).where(Book.author_id.in_([1, 2, 3]), Book.title.ilike("%9"))) == 2
        ada.books[0].title = "Sketch"
        ada.name = "Augusta Ada"
        del ada.books[1]
        session.flush()
        with session.begin_nested() as inner:
            session.execute(sa.update(Book).values(price=0))
            inner.rollback()
        session.commit()
        assert session.scalar(sa.select(sa.func.min(Book.price)).where(Book.title == "Notes 2")) == decimal.Decimal("0.50")
        upsert = pg.insert(Book).values(id=1, author_id=1, title="T", price=1)
        upsert = upsert.on_conflict_do_update(index_elements=[Book.id], set_={"title": upsert.excluded.title})
        assert session.scalar(upsert.returning(Book.title)) == "T"
        try:
            session.execute(sa.insert(Book).values(author_id=99, title="lost", price=1))
        except sa.exc.DBAPIError as error:  # pg8000 has no class of its own for it
            assert "book_author_id_fkey" in str(error), error
            session.rollback()
        else:
            raise AssertionError("a book without an author was taken")
        tree = sa.select(sa.literal(1).label("n")).cte("tree", recursive=True)
        tree = tree.union_all(sa.select(tree.c.n + 1).where(tree.c.n < 5))
        assert session.scalars(sa.select(tree.c.n)).all() == [1, 2, 3, 4, 5]
        assert session.scalars(sa.select(Book.id).where(Book.author.has(name="Augusta Ada")).order_by(Book.id).limit(2)).all()
        session.delete(session.get(Author, 1))
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(Book)) == 0
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        assert connection.scalar(sa.text("SHOW transaction_isolation")) == "serializable"


async def asynchronous():
    engine = create_async_engine(f"postgresql+asyncpg://{URL}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add(Author(name="Cy", books=[Book(title="One", price=1)]))
        await session.commit()
        found = (await session.scalars(sa.select(Author).options(orm.selectinload(Author.books)))).one()
        assert found.books[0].title == "One"
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()


for driver in ("psycopg", "psycopg2", "pg8000"):
    engine = sa.create_engine(f"postgresql+{driver}://{URL}")
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    reflect(engine)
    round_trip(engine)
    Base.metadata.drop_all(engine)
    engine.dispose()
    print(f"  over {driver}")
asyncio.run(asynchronous())
print(f"SQLAlchemy {sa.__version__}: done")
