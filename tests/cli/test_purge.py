"""`broadsheet purge`: what is deleted for good, what is left, what is said, and that the service's role may do it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Table, func, insert, select, update

from app.data import failpoints
from app.data.audit import Revision
from app.data.database import Database
from app.data.failpoints import Point
from app.data.idempotency import KEYS
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.errors import Unavailable
from app.models import OneTimeToken, Post, PostTag, Session, Transfer, User
from app.query.purging import Purged, due, purge_due
from app.query.removal import remove, restore
from app.resources import CATALOG
from tests.cli.commands import Command, command_on
from tests.conftest import Clock, in_thread
from tests.factories import make_post, make_transfer, make_user
from tests.test_roles import Roles, roles  # noqa: F401  # a fixture

NOW = datetime.now(UTC)
OLD, YOUNG = NOW - timedelta(days=40), NOW - timedelta(days=10)
BEFORE = NOW - timedelta(days=30)
USERS, POSTS = CATALOG.of(User), CATALOG.of(Post)


@pytest.fixture
def command(spare_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_on(spare_url, tmp_path, monkeypatch)


async def fill(url: str) -> None:
    """Deleted long ago: a user with two posts, one with a transfer, a post of bob. Deleted lately: zoe and hers."""
    clock = Clock(OLD)
    async with Database(url, CATALOG, clock=clock) as database:
        async with database.writing(SYSTEM) as session:
            ada, bob, cyd, zoe = [await make_user(session, username=name) for name in ("ada", "bob", "cyd", "zoe")]
            for author in (ada, ada, bob, bob, zoe):
                last = await make_post(session, author, tags=("news",))
            await make_transfer(session, cyd, bob)
            gone = await session.scalar(select(Post.id).where(Post.user_id == bob.id).limit(1))
        await removed(database, ada.id, cyd.id)
        async with database.writing(SYSTEM) as session:
            await remove(session, POSTS, [gone])
            await expire(session, bob.id, zoe.id, bob.id)
        clock.now = YOUNG
        await removed(database, zoe.id)
        assert last.user_id == zoe.id


async def removed(database: Database, *users: int) -> None:
    async with database.writing(SYSTEM) as session:
        await remove(session, USERS, list(users))


async def expire(session: AppSession, *users: int) -> None:
    """For each user a session, a token and a key whose time is over; for the last one others that live."""
    alive = {"session": NOW - timedelta(days=5), "token": NOW + timedelta(hours=1)}
    for user, times in [*((user, {}) for user in users), (users[-1], alive)]:
        uid, refreshed, end = uuid4(), times.get("session", OLD), times.get("token", NOW - timedelta(hours=1))
        row = {"uid": uid, "user_id": user, "refreshed_at": refreshed, "counter": 0, "token_hash": "x", "method": "otp"}
        await execute(session, Session.__table__, row | {"created_at": OLD})
        row = {"user_id": user, "kind": "recovery", "token_hash": uid.hex, "tries": 0, "expires_at": end}
        await execute(session, OneTimeToken.__table__, row | {"created_at": OLD})
        await execute(session, KEYS, {"id": uid.hex, "fingerprint": "x", "expires_at": end})


async def execute(session: AppSession, table: Any, values: dict[str, Any]) -> None:
    assert isinstance(table, Table)
    await session.execute(insert(table).values(values))


async def left(url: str) -> dict[str, Any]:
    """The users by name, and how many rows of the other tables there are, deleted ones included."""
    tables: list[Any] = [model.__table__ for model in (Post, PostTag, Transfer, OneTimeToken, Session)]
    async with Database(url, CATALOG) as database, database.reading(SYSTEM) as session:
        query = select(User.username).order_by(User.id).execution_options(include_deleted=True)
        found: dict[str, Any] = {"users": list(await session.scalars(query))}
        for table in (*tables, KEYS):
            found[table.name] = await session.scalar(select(func.count()).select_from(table))
        return found


# ---- the command ----------------------------------------------------------------------------------------------------


def test_what_was_deleted_long_ago_goes_and_the_rest_stays(
    command: Command, spare_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    in_thread(fill(spare_url))
    assert command("purge", "--older-than", "30d") == 0
    assert capsys.readouterr().out == (
        "purged: 3 posts, 1 users, 1 users anonymised; expired: 3 idempotency_keys, 2 one_time_tokens, 2 sessions\n"
    )
    found = asyncio.run(left(spare_url))
    assert found == {
        "users": ["bob", "purged-3", "zoe"],
        "posts": 2,
        "post_tags": 2,
        "transfers": 1,
        "one_time_tokens": 1,
        "sessions": 1,
        "idempotency_keys": 1,
    }


def test_second_run_finds_nothing_to_do(command: Command, spare_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even the user who was made nameless."""
    in_thread(fill(spare_url))
    command("purge", "--older-than", "30d")
    capsys.readouterr()
    assert command("purge", "--older-than", "30d") == 0
    expected = "purged: 0 posts, 0 users; expired: 0 idempotency_keys, 0 one_time_tokens, 0 sessions\n"
    assert capsys.readouterr().out == expected


def test_dry_run_counts_the_same_and_deletes_nothing(
    command: Command, spare_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    in_thread(fill(spare_url))
    before = asyncio.run(left(spare_url))
    assert command("purge", "--older-than", "30d", "--dry-run", "--json") == 0
    dry = json.loads(capsys.readouterr().out)
    assert asyncio.run(left(spare_url)) == before
    assert command("purge", "--older-than", "30d", "--json") == 0
    real = json.loads(capsys.readouterr().out)
    assert dry.pop("dry_run") is True
    assert real.pop("dry_run") is False
    assert dry.pop("before") < real.pop("before")
    assert dry == real
    assert real == {
        "older_than": "30d",
        "interrupted": False,
        "purged": {
            "posts": {"deleted": 3, "retired": 0, "left": 0},
            "users": {"deleted": 1, "retired": 1, "left": 0},
        },
        "expired": {"idempotency_keys": 3, "one_time_tokens": 2, "sessions": 2},
    }


@pytest.mark.parametrize(("age", "users"), [("39d", 3), ("41d", 4), ("241h", 3), ("239h", 2)])
def test_age_is_given_in_days_or_hours(command: Command, spare_url: str, age: str, users: int) -> None:
    in_thread(fill(spare_url))
    assert command("purge", "--older-than", age) == 0
    assert len(asyncio.run(left(spare_url))["users"]) == users


@pytest.mark.parametrize("age", ["", "30", "d", "30m", "-1d", "1.5d", "٣d", "999999d", "30 d"])
def test_other_ages_are_refused(
    age: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command_on("", tmp_path, monkeypatch)("purge", f"--older-than={age}")
    assert stopped.value.code == 2
    assert "days or hours are expected, such as 30d or 12h" in capsys.readouterr().err


def test_less_than_an_hour_takes_a_yes(command: Command, spare_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    in_thread(fill(spare_url))
    assert command("purge", "--older-than", "0h") == 2
    assert "say --yes" in capsys.readouterr().err
    assert len(asyncio.run(left(spare_url))["users"]) == 4
    assert command("purge", "--older-than", "0h", "--yes") == 0
    assert asyncio.run(left(spare_url))["users"] == ["bob", "purged-3"]


def test_database_without_its_schema_is_refused(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_on(empty_url, tmp_path, monkeypatch)("purge", "--older-than", "30d") == 2
    assert "run `broadsheet migrate` first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [(KeyboardInterrupt(), 130, ""), (Unavailable("the server went away"), 1, "broadsheet: the server went away\n")],
)
def test_run_that_is_ended_says_what_it_did_and_the_next_one_goes_on(
    command: Command,
    spare_url: str,
    fault: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    in_thread(fill(spare_url))
    monkeypatch.setattr("app.query.purging.BATCH", 1)
    commits = iter([None, None, fault])

    async def end() -> None:
        if error := next(commits):
            raise error

    with failpoints.armed({Point.COMMITTING: end}):
        assert command("purge", "--older-than", "30d") == code
    out, err = capsys.readouterr()
    assert out.splitlines() == ["interrupted; what was done until then stands:", "purged: 2 posts; expired: nothing"]
    assert err == said
    assert asyncio.run(left(spare_url))["posts"] == 3
    command("purge", "--older-than", "30d")
    assert capsys.readouterr().out.startswith("purged: 1 posts, 1 users, 1 users anonymised; expired: 3 ")


def test_role_of_the_service_may_purge(
    roles: Roles,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Revisions, events and transfers stay, which this role may not change."""
    in_thread(fill(roles.app))
    assert command_on(roles.app, tmp_path, monkeypatch)("purge", "--older-than", "30d") == 0
    assert "purged: 3 posts, 1 users, 1 users anonymised; " in capsys.readouterr().out


# ---- what changes meanwhile -----------------------------------------------------------------------------------------


@pytest.fixture
def moment(clock: Clock) -> Clock:
    clock.now = OLD
    return clock


async def due_keys(database: Database, resource: Any) -> list[Any]:
    return [key async for keys in due(database, resource, BEFORE) for key in keys]


async def purge(database: Database, resource: Any, keys: list[Any]) -> Purged:
    async with database.writing(SYSTEM) as session:
        return await purge_due(session, resource, keys, BEFORE)


async def gone_user(database: Database, **values: Any) -> tuple[int, int]:
    """A deleted user and her post, by their ids."""
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, **values)
        post = await make_post(session, ada)
    await removed(database, ada.id)
    return ada.id, post.id


async def test_row_that_was_restored_meanwhile_is_left(database: Database, moment: Clock) -> None:
    user, post = await gone_user(database)
    users, posts = await due_keys(database, USERS), await due_keys(database, POSTS)
    assert (users, posts) == ([user], [post])
    async with database.writing(SYSTEM) as session:
        await restore(session, USERS, [user])
    assert await purge(database, POSTS, posts) == Purged(left=1)
    assert await purge(database, USERS, users) == Purged(left=1)
    async with database.reading(SYSTEM) as session:
        assert await session.scalar(select(Post.user_id).where(Post.id == post)) == user


async def test_row_that_is_gone_already_is_passed_over(database: Database, moment: Clock) -> None:
    _, post = await gone_user(database)
    assert await purge(database, POSTS, [post]) == Purged(deleted=1)
    assert await purge(database, POSTS, [post]) == Purged()


async def test_user_with_a_post_that_came_back_is_left_with_it(database: Database, moment: Clock) -> None:
    user, post = await gone_user(database)
    other, _ = await gone_user(database)
    async with database.writer.begin() as connection:
        await connection.execute(update(Post).where(Post.id == post).values(deleted_at=None))
    assert await purge(database, USERS, [user, other]) == Purged(deleted=1, left=1)
    async with database.reading(SYSTEM) as session:
        assert await session.scalar(select(Post.user_id).where(Post.id == post)) == user


async def test_user_whose_post_was_deleted_lately_is_left_with_it(database: Database, moment: Clock) -> None:
    user, post = await gone_user(database)
    async with database.writer.begin() as connection:
        await connection.execute(update(Post).where(Post.id == post).values(deleted_at=YOUNG))
    assert await purge(database, USERS, [user]) == Purged(left=1)


async def test_user_goes_with_posts_that_are_due_too(database: Database, moment: Clock) -> None:
    user, post = await gone_user(database)
    assert await purge(database, USERS, [user]) == Purged(deleted=1)
    async with database.reading(SYSTEM) as session:
        written = select(Revision.table_name, Revision.operation, Revision.actor_id).order_by(Revision.id.desc())
        done = (await session.execute(written.limit(2))).all()
    assert [tuple(row) for row in done] == [("users", "purge", None), ("posts", "purge", None)]
    assert post not in await due_keys(database, POSTS)


async def test_user_with_a_balance_is_left(database: Database, moment: Clock) -> None:
    user, _ = await gone_user(database)
    async with database.writer.begin() as connection:
        await connection.execute(update(User).where(User.id == user).values(balance=5))
    assert await purge(database, USERS, [user]) == Purged(left=1)


async def test_who_is_nameless_already_is_not_due_again(database: Database, moment: Clock) -> None:
    user, _ = await gone_user(database)
    async with database.writing(SYSTEM) as session:
        bob = await make_user(session)
        ada = await session.get(User, user, execution_options={"include_deleted": True})
        assert ada is not None
        await make_transfer(session, ada, bob)
    assert await due_keys(database, USERS) == [user]
    assert await purge(database, USERS, [user]) == Purged(retired=1)
    assert await due_keys(database, USERS) == []


async def test_all_batches_are_found(database: Database, moment: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.query.purging.BATCH", 2)
    users = [(await gone_user(database))[0] for _ in range(5)]
    assert [keys async for keys in due(database, USERS, BEFORE)] == [users[:2], users[2:4], users[4:]]


async def test_two_purges_at_once_delete_each_row_once(spare_url: str) -> None:
    async with Database(spare_url, CATALOG, clock=Clock(OLD)) as one, Database(spare_url, CATALOG) as other:
        ids = [await gone_user(one) for _ in range(20)]
        users, posts = [user for user, _ in ids], [post for _, post in ids]
        for resource, keys in ((POSTS, posts), (USERS, users)):
            outcomes = await asyncio.gather(*(purge(database, resource, keys) for database in (one, other)))
            assert sum((outcome for outcome in outcomes), Purged()) == Purged(deleted=20)
