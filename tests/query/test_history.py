"""Past versions as rows in the table of revisions have them: which revisions count, and how they are looked for."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.data.database import Database
from app.data.rules import SERVICE, Principal, user
from app.data.steps import Statement, Steps
from app.models import Post, Revision, User
from app.query.history import Past, read_version
from app.resources import CATALOG
from tests.conftest import EPOCH, Clock
from tests.query.asking import Asker
from tests.query.rows import Row, a_post, a_revision, a_user, fill

POSTS = CATALOG.of(Post)
AUTHOR = user(1, "author")


def revision(id: int, version: int | None, operation: str, row: int = 1, **changes: Any) -> Row:
    return a_revision(id, "posts", row, changes) | {"version": version, "operation": operation}


async def asker_of(database: Database, *revisions: Row) -> Asker:
    await fill(database, {User: [a_user(1)], Post: [a_post(1, 1)], Revision: revisions})
    return Asker(database)


async def past(asker: Asker, number: int, who: Principal = SERVICE, row_id: str = "1") -> Past | None:
    def steps() -> Steps[Past | None]:
        return read_version(asker.compiler, POSTS, who, EPOCH, row_id, number)

    return await asker.database.read(who, steps)


async def title(asker: Asker, number: int) -> Any:
    found = await past(asker, number)
    return None if found is None else found.values["title"]


# ---- which revisions count ------------------------------------------------------------------------------------------


async def test_last_change_of_a_column_up_to_the_version_counts(database: Database) -> None:
    asker = await asker_of(
        database,
        revision(1, 1, "insert", title=[None, "a"], content=[None, "x"]),
        revision(2, 1, "insert", row=2, title=[None, "other"]),
        revision(3, 2, "update", title=["a", "b"]),
        revision(4, 3, "update", content=["x", "y"]),
        revision(5, 4, "update", title=["b", "a"]),
    )
    assert [await title(asker, number) for number in range(6)] == [None, "a", "b", "b", "a", None]
    third = await past(asker, 3)
    assert third is not None
    assert (third.values["content"], third.values["tags"], third.values["version"]) == ("y", [], 3)


async def test_versions_of_a_key_that_was_given_away_again_are_those_of_its_last_row(database: Database) -> None:
    asker = await asker_of(
        database,
        revision(1, 1, "insert", title=[None, "first"], content=[None, "x"]),
        revision(2, 2, "update", title=["first", "former"]),
        revision(3, 3, "update", title=["former", "third"]),
        revision(4, 3, "purge", title=["third", None]),
        revision(5, 1, "insert", title=[None, "second"]),
        revision(6, 2, "update", title=["second", "later"]),
    )
    assert [await title(asker, number) for number in (1, 2, 3)] == ["second", "later", None]
    found = await past(asker, 1)
    assert found is not None
    assert "content" not in found.values


async def test_purged_row_has_its_versions_still(database: Database) -> None:
    asker = await asker_of(
        database, revision(1, 1, "insert", title=[None, "a"]), revision(2, 1, "purge", title=["a", None])
    )
    assert await title(asker, 1) == "a"


async def test_row_whose_insert_is_not_known_has_no_versions(database: Database) -> None:
    asker = await asker_of(database, revision(1, 2, "update", title=["a", "b"]))
    assert await past(asker, 2) is None


async def test_revisions_without_a_version_are_no_version(database: Database) -> None:
    asker = await asker_of(database, revision(1, None, "insert", title=[None, "a"]))
    assert await past(asker, 1) is None


async def test_columns_that_do_not_exist_for_the_caller_are_not_fetched(database: Database) -> None:
    changes: dict[str, Any] = {"title": [None, "a"], "created_by": [None, 7], "gone": [None, 1], "tags": [None, ["t"]]}
    asker = await asker_of(database, revision(1, 1, "insert", **changes))
    for who, columns in ((AUTHOR, {"title", "tags"}), (SERVICE, {"title", "tags", "created_by"})):
        found = await past(asker, 1, who)
        assert found is not None
        assert found.values.keys() == columns
    assert await past(asker, 1, user(2, "author")) is None
    assert await past(asker, 1, AUTHOR, row_id="01") is None


# ---- how they are looked for ----------------------------------------------------------------------------------------


@pytest.fixture
async def large(spare_url: str) -> AsyncGenerator[Asker]:
    """A database of its own: statistics stay behind when rows are deleted."""
    rows = [revision(id, id // 500 + 1, "update", row=id % 500 + 2, title=["a", "b" * 100]) for id in range(1, 8000)]
    rows += [revision(8000 + n, n, "insert" if n == 1 else "update", title=["a", "b"]) for n in range(1, 40)]
    async with Database(spare_url, CATALOG, clock=Clock()) as database:
        asker = await asker_of(database, *rows)
        async with database.writer.begin() as connection:
            await connection.exec_driver_sql("ANALYZE")
        yield asker


@pytest.mark.parametrize("who", [SERVICE, AUTHOR], ids=["service", "author"])
async def test_version_is_found_by_an_index(large: Asker, who: Principal) -> None:
    statements: list[Statement] = []

    def noted() -> Steps[Past | None]:
        inner = read_version(large.compiler, POSTS, who, EPOCH, "1", 30)
        statement = next(inner)
        while True:
            statements.append(statement)
            try:
                statement = inner.send((yield statement))
            except StopIteration as stop:
                found: Past | None = stop.value
                return found

    assert await large.database.read(who, noted) is not None
    assert len(statements) == 2
    for statement in statements:
        assert not re.search(
            r"SCAN (one|other|t\d+)(?! USING)|Seq Scan on revisions", await explained(large, statement)
        )


async def explained(asker: Asker, statement: Statement) -> str:
    def steps() -> Steps[str]:
        prefix = "EXPLAIN QUERY PLAN " if asker.database.name == "sqlite" else "EXPLAIN "
        rows = yield Statement(prefix + statement.sql, statement.args)
        return "\n".join(str(row[-1]) for row in rows)

    return await asker.database.read(SERVICE, steps)
