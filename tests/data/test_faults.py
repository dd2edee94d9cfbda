"""faults: what a real database says, row by row of the table, and the same on both databases."""

from __future__ import annotations

import sqlite3
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
import pytest
from sqlalchemy import Table, insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from app.data import faults
from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import SYSTEM
from app.errors import BadValue, BroadsheetError, Conflict, Unavailable
from app.models import Base, Credentials, Post, Tag, Transfer, User
from tests.conftest import EPOCH
from tests.data.statements import ask
from tests.factories import make_tag, make_user

USER = {
    "email": "a@b.org",
    "username": "ada",
    "role": "member",
    "is_active": True,
    "balance": 0,
    "version": 1,
    "created_at": EPOCH,
    "updated_at": EPOCH,
}


def table_of(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


async def complaint(database: Database, model: type[Base], *rows: dict[str, Any]) -> Exception:
    """What the database says to these rows, as SQLAlchemy raises it."""
    try:
        async with database.writer.begin() as connection:
            for row in rows:
                await connection.execute(insert(table_of(model)).values(row))
    except (DBAPIError, OverflowError, UnicodeEncodeError) as exc:
        return exc
    raise AssertionError("the database took it")


def user(**values: Any) -> dict[str, Any]:
    return {**USER, "uid": uuid4(), **values}


# ---- constraints: PostgreSQL's codes and texts on both ----


async def test_unique_index_is_named_by_its_columns(database: Database, catalog: Catalog) -> None:
    row = user(username="eve")
    exc = await complaint(database, User, user(username="ada"), row)
    error = faults.translate(exc, catalog, row)
    assert isinstance(error, Conflict)
    assert (error.code, error.status) == ("23505", 409)
    assert error.message == 'duplicate key value violates unique constraint "users_email_key"'
    assert error.details == "Key (email)=(a@b.org) already exists."


async def test_unique_constraint_and_primary_key_are_named(database: Database, catalog: Catalog) -> None:
    tag = {"name": "x", "version": 1, "created_at": EPOCH, "updated_at": EPOCH}
    error = faults.translate(await complaint(database, Tag, tag, tag), catalog)
    assert error is not None
    assert error.message.endswith('"tags_name_key"')
    error = faults.translate(await complaint(database, User, user(id=7), user(id=7, username="b", email="c")), catalog)
    assert error is not None
    assert error.message.endswith('"users_pkey"')


async def test_values_of_a_unique_clash_are_not_guessed_on_sqlite(database: Database, catalog: Catalog) -> None:
    exc = await complaint(database, User, user(username="ada"), user(username="eve"))
    error = faults.translate(exc, catalog)
    assert error is not None
    assert (error.details is None) is (database.name == "sqlite")


async def test_missing_parent(database: Database, catalog: Catalog) -> None:
    row = {"user_id": 99, "hashed_password": "x", "changed_at": EPOCH}
    exc = await complaint(database, Credentials, row)
    error = faults.translate(exc, catalog, row, "credentials")
    assert isinstance(error, Conflict)
    assert (error.code, error.status) == ("23503", 409)
    text_ = 'insert or update on table "credentials" violates foreign key constraint "credentials_user_id_fkey"'
    assert error.message == text_
    assert error.details == 'Key (user_id)=(99) is not present in table "users".'


async def test_missing_parent_of_one_of_two_keys_is_not_guessed(database: Database, catalog: Catalog) -> None:
    row = {"from_user_id": 98, "to_user_id": 99, "amount": 1, "created_at": EPOCH}
    error = faults.translate(await complaint(database, Transfer, row), catalog, row, "transfers")
    assert error is not None
    assert error.code == "23503"
    assert database.name == "postgresql" or error.message == "insert or update violates foreign key constraint"


async def test_null_in_a_column_that_needs_a_value(database: Database, catalog: Catalog) -> None:
    error = faults.translate(await complaint(database, User, user(username=None)), catalog)
    assert isinstance(error, BadValue)
    assert (error.code, error.status, error.plain_status) == ("23502", 400, 422)
    assert error.message == 'null value in column "username" of relation "users" violates not-null constraint'
    assert error.details is None


async def test_failed_check_shows_nothing_of_the_row(database: Database, catalog: Catalog) -> None:
    """PostgreSQL's details are the whole row, password hash and all."""
    error = faults.translate(await complaint(database, User, user(balance=-1)), catalog)
    assert isinstance(error, BadValue)
    assert (error.code, error.status, error.plain_status) == ("23514", 400, 422)
    assert error.message == 'new row for relation "users" violates check constraint "users_balance_check"'
    assert error.details is None


# ---- values that our checks should have refused ----


@pytest.mark.parametrize("values", [{"balance": 2**63}, {"full_name": "\ud800"}])
async def test_value_that_slipped_through_is_refused_without_its_text(
    database: Database, catalog: Catalog, values: dict[str, Any]
) -> None:
    error = faults.translate(await complaint(database, User, user(**values)), catalog)
    assert isinstance(error, BadValue)
    assert error.code.startswith(faults.SLIPPED)
    assert error.message == "a value does not fit its column"


async def test_value_that_slipped_through_is_counted(database: Database) -> None:
    slipped = database.counters.slipped
    sql = "SELECT ? + 0" if database.name == "sqlite" else "SELECT $1::bigint"
    with pytest.raises(BadValue):
        await database.read(SYSTEM, ask(sql, 2**63))
    assert database.counters.slipped == slipped + 1


async def test_nul_character_is_refused_by_postgresql(database: Database, catalog: Catalog) -> None:
    if database.name == "sqlite":
        pytest.skip("SQLite keeps it; our checks refuse it on both")
    error = faults.translate(await complaint(database, User, user(full_name="a\x00b")), catalog)
    assert isinstance(error, BadValue)
    assert error.code == "22021"


# ---- the state of the database ----


async def test_row_changed_by_somebody_else(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        number = (await make_tag(session)).id
    with pytest.raises(Unavailable) as caught:
        await change_twice(database, number)
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("40001", 503, 1)
    assert isinstance(caught.value.__cause__, StaleDataError)


async def change_twice(database: Database, number: int) -> None:
    async with database.writing(SYSTEM) as session:
        tag = await session.get_one(Tag, number)
        await (await session.connection()).execute(text("UPDATE tags SET version = 7"))
        tag.name = "stale"


async def test_serialization_failure(database: Database, catalog: Catalog) -> None:
    if database.name == "sqlite":
        pytest.skip("one writer at a time")
    async with database.writer.begin() as connection:
        await connection.execute(insert(table_of(Tag)).values(name="x", version=1, created_at=EPOCH, updated_at=EPOCH))

    async def clash() -> None:
        async with database.writer.connect() as one, database.writer.connect() as two:
            await one.execution_options(isolation_level="REPEATABLE READ")
            await one.execute(text("SELECT * FROM tags"))
            await two.execute(text("UPDATE tags SET version = 2"))
            await two.commit()
            await one.execute(text("UPDATE tags SET version = 3"))

    with pytest.raises(DBAPIError) as caught:
        await clash()
    error = faults.translate(caught.value, catalog)
    assert isinstance(error, Unavailable)
    assert (error.code, error.retry_after) == ("40001", 1)


async def test_lock_that_does_not_come_free(spare_url: str, catalog: Catalog) -> None:
    async with Database(spare_url, catalog) as holder, Database(spare_url, catalog) as waiter:
        impatient = "PRAGMA busy_timeout=10" if holder.name == "sqlite" else "SET lock_timeout = 10"
        async with waiter.writer.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(impatient)

        async def wait() -> None:
            async with waiter.writing(SYSTEM) as session:
                await (await session.connection()).execute(text("UPDATE tags SET version = 2"))

        async with holder.writing(SYSTEM) as session:
            await make_tag(session)
            lock = "SELECT 1 + 1" if holder.name == "sqlite" else "LOCK TABLE tags"
            await (await session.connection()).execute(text(lock))
            with pytest.raises(Unavailable) as caught:
                await wait()
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("55P03", 503, 1)


async def test_full_disk(spare_url: str, catalog: Catalog) -> None:
    async with Database(spare_url, catalog) as database:
        if database.name == "postgresql":
            pytest.skip("the table test has it: a full disk would hurt the other tests")
        async with database.pools.writing.lend() as lane:
            await lane.driver.execute("PRAGMA max_page_count=1")  # not below what is used already

        async def fill() -> None:
            async with database.writing(SYSTEM) as session:
                sql = "INSERT INTO revisions SELECT NULL, 1, 1, 1, 1, 1, 1, 1, 1, randomblob(1000000)"
                await (await session.connection()).execute(text(sql))

        with pytest.raises(Unavailable) as caught:
            await fill()
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("53100", 507, None)
        assert await database.read(SYSTEM, ask("SELECT count(*) FROM users")) == 0


async def test_connection_that_is_killed_under_a_session(database: Database) -> None:
    if database.name == "sqlite":
        pytest.skip("a file has no server to lose")

    async def unit() -> None:
        async with database.writing(SYSTEM) as session:
            await make_user(session)
            connection = await session.connection()
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Unavailable) as caught:
        await unit()
    assert caught.value.status == 503
    assert caught.value.code in ("57P01", "08003", "08006", "PGRST001")
    assert await database.read(SYSTEM, ask("SELECT count(*) FROM users")) == 0


async def test_standby_is_left(database: Database) -> None:
    """25006 counts as a lost connection: the next unit gets a new one, which may be the new primary's."""
    if database.name == "sqlite":
        pytest.skip("a file has no standby")

    async def unit(*statements: str) -> int:
        async with database.writing(SYSTEM) as session:
            backend = await session.scalar(text("SELECT pg_backend_pid()"))
            for statement in statements:
                await (await session.connection()).execute(text(statement))
            return int(backend or 0)

    before = {await unit() for _ in range(database.pool_size)}
    with pytest.raises(Unavailable) as caught:
        await unit("SET TRANSACTION READ ONLY", "DELETE FROM tags")
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("25006", 503, 1)
    after = {await unit() for _ in range(database.pool_size)}
    assert before & after == set()


async def test_what_the_table_does_not_know_is_a_fault(database: Database, catalog: Catalog) -> None:
    with pytest.raises(DBAPIError) as caught:
        await syntax_error(database)
    assert faults.translate(caught.value, catalog) is None
    assert faults.translate(KeyError("x"), catalog) is None


async def syntax_error(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        await (await session.connection()).execute(text("SELEC 1"))


# ---- the rows that are not provoked here ----


@pytest.mark.parametrize(
    ("exc", "code", "status"),
    [
        (asyncpg.TooManyConnectionsError("x"), "53300", 503),
        (asyncpg.DiskFullError("x"), "53100", 507),
        (asyncpg.AdminShutdownError("x"), "57P01", 503),
        (asyncpg.CannotConnectNowError("x"), "57P03", 503),
        (asyncpg.ConnectionDoesNotExistError("x"), "08003", 503),
        (asyncpg.QueryCanceledError("x"), "57014", 504),
        (asyncpg.InvalidCachedStatementError("x"), "0A000", 503),
        (asyncpg.InternalClientError("cannot switch to state 12"), "PGRST001", 503),
        (asyncpg.InterfaceError("connection is closed"), "PGRST001", 503),
        (asyncpg.InvalidPasswordError("x"), "28P01", 503),
        (ConnectionResetError(), "PGRST001", 503),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), "PGRST001", 503),
    ],
)
def test_table(catalog: Catalog, exc: Exception, code: str, status: int) -> None:
    error = faults.translate(exc, catalog)
    assert isinstance(error, BroadsheetError)
    assert (error.code, error.status) == (code, status)
    assert (error.retry_after is None) is (status == 507)


async def test_file_that_is_no_database(tmp_path: Any, catalog: Catalog) -> None:
    """Not ours to mend and nothing to retry: it is raised as it is."""
    path = tmp_path / "x.db"
    path.write_text("this is text, and long enough to be taken for a damaged database " * 20)
    with pytest.raises(DBAPIError, match="not a database"):
        await Database(f"sqlite:///{path}", catalog).start()


def test_models_without_a_resource_are_known_too(catalog: Catalog) -> None:
    assert not catalog.exposes(Credentials)
    assert catalog.exposes(Post)
    exc = sqlite3.IntegrityError("UNIQUE constraint failed: credentials.user_id")
    exc.sqlite_errorname = "SQLITE_CONSTRAINT_PRIMARYKEY"
    error = faults.translate(exc, catalog)
    assert error is not None
    assert error.message.endswith('"credentials_pkey"')
