"""What a request is answered when a statement fails, must wait too long or finds the disk full, each provoked on a real
database: status, code, Retry-After, repeats, texts, and a service that goes on when the cause is gone.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from app.data import engines, failpoints
from app.data.failpoints import Point
from app.data.rules import SYSTEM
from app.settings import Limits, Settings
from tests.conftest import Server
from tests.data.statements import SLOW
from tests.http.failing import (
    CANARY,
    ON_POSTGRESQL,
    ON_SQLITE,
    SURFACES,
    Site,
    alter,
    check_refusal,
    connected,
    locked_by_another_process,
    on_writer,
    once,
    opened,
    someone_waits,
)

RAISED = [
    ("40001", 503, "1", 4),
    ("40P01", 503, "1", 4),
    ("55P03", 503, "1", 2),
    ("57014", 504, "1", 0),
    ("0A000", 503, "1", 1),
    ("25006", 503, "1", 1),
    ("08006", 503, "1", 1),
    ("57P01", 503, "1", 1),
    ("53300", 503, "1", 0),
    ("53100", 507, None, 0),
]


@pytest.fixture
async def site(spare_url: str, settings: Settings) -> AsyncGenerator[Site]:
    async with opened(spare_url, settings) as site:
        yield site


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks and pools are waited for a moment only."""
    monkeypatch.setattr(engines, "BUSY", 0.05)
    monkeypatch.setattr(engines, "POOL_WAIT", 0.05)
    monkeypatch.setattr("app.data.pools.LOCKED", 0.05)
    monkeypatch.setitem(engines.POSTGRESQL_SETTINGS, "lock_timeout", "50ms")


# ---- what a statement raises ----------------------------------------------------------------------------------------


def raising(code: str) -> tuple[str, str]:
    """A trigger that fails every write of a tag."""
    text = f"RAISE EXCEPTION 'SELECT {CANARY}' USING ERRCODE = '{code}', DETAIL = '{CANARY}', HINT = '{CANARY}'"
    function = f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {text}; END $$"
    return function, "CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON tags FOR EACH ROW EXECUTE FUNCTION fail()"


@ON_POSTGRESQL
@pytest.mark.parametrize(("code", "status", "retry", "repeats"), RAISED)
async def test_state_has_its_answer_and_its_repeats(
    site: Site, code: str, status: int, retry: str | None, repeats: int
) -> None:
    await site.sql(*raising(code))
    for number, prefix in enumerate(SURFACES, 1):
        check_refusal(await site.rename(prefix), status, code, retry)
        assert await site.repeats(code) == number * repeats
    await site.sql("DROP TRIGGER fail ON tags")
    await site.check_well()


@ON_POSTGRESQL
async def test_fault_of_the_database_is_not_kept_under_a_key(site: Site) -> None:
    headers = {"idempotency-key": "k"}
    await site.sql(*raising("40001"))
    check_refusal(await site.add(headers=headers), 503, "40001")
    await site.sql("DROP TRIGGER fail ON tags")
    answer = await site.add(headers=headers)
    assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False)


@ON_POSTGRESQL
async def test_error_that_nobody_knows_is_a_fault_that_says_nothing(site: Site) -> None:
    await site.sql(*raising("P0001"))
    for prefix in SURFACES:
        check_refusal(await site.rename(prefix), 500, "PGRSTX00", None)
    await site.sql("DROP TRIGGER fail ON tags")
    await site.check_well()


# ---- locks ----------------------------------------------------------------------------------------------------------


@ON_POSTGRESQL
async def test_writes_that_clash_under_serializable_all_get_through(
    spare_url: str, settings: Settings, server: Server
) -> None:
    """The second one has taken its snapshot before the first commits, so it fails for sure, once."""
    await alter(server, spare_url, "SET default_transaction_isolation = 'serializable'")
    async with opened(spare_url, settings) as site, connected(spare_url) as other:
        with failpoints.armed({Point.LOCKED: once(lambda: someone_waits(other))}):
            answers = await asyncio.gather(site.rename(name="a"), site.rename("/rest/v1", name="b"))
        assert [answer.status_code for answer in answers] == [200, 204]
        assert await site.repeats("40001") == 1
        await site.check_well()


@ON_POSTGRESQL
async def test_deadlock_with_another_program_costs_a_repeat(spare_url: str, settings: Settings, server: Server) -> None:
    """Whose deadlock_timeout ends first is the victim: the service's is short here, the other's is long."""
    await alter(server, spare_url, "SET deadlock_timeout = '200ms'")
    async with opened(spare_url, settings) as site, connected(spare_url) as other, connected(spare_url) as watch:
        first, second = site.tags
        await other.execute("SET deadlock_timeout = '10s'")
        await other.execute(f"BEGIN; UPDATE tags SET version = 7 WHERE id = {second}")
        request = asyncio.create_task(site.client.delete(f"/tags?id=in.({first},{second})"))
        await someone_waits(watch)
        await other.execute(f"UPDATE tags SET version = 7 WHERE id = {first}")
        await other.execute("COMMIT")
        assert (await request).status_code == 204
        assert await site.repeats("40P01") == 1
        assert await site.names() == []
        await site.check_well()


@ON_POSTGRESQL
async def test_row_that_stays_locked_is_busy(impatient: None, site: Site) -> None:
    async with connected(site.url) as other:
        await other.execute(f"BEGIN; UPDATE tags SET version = 9 WHERE id = {site.tags[0]}")
        for number, prefix in enumerate(SURFACES, 1):
            check_refusal(await site.rename(prefix), 503, "55P03")
            assert await site.repeats("55P03") == 2 * number
        await other.execute("ROLLBACK")
    await site.check_well()


@ON_SQLITE
async def test_file_that_another_process_has_locked_is_busy(impatient: None, site: Site) -> None:
    with locked_by_another_process(site.url):
        for number, prefix in enumerate(SURFACES, 1):
            check_refusal(await site.rename(prefix), 503, "55P03")
            assert await site.repeats("55P03") == 2 * number
        assert (await site.client.get("/tags")).status_code == 200
    await site.check_well()


@pytest.mark.parametrize("write", [False, True])
async def test_pool_without_a_free_connection_is_an_answer(
    impatient: None, spare_url: str, settings: Settings, write: bool
) -> None:
    async with opened(spare_url, settings, pool_size=1) as site:
        database = site.database
        database.lanes.wait = 0.05
        async with database.writing(SYSTEM) as session:
            held = [] if write else [await database.lanes.lease() for _ in range(database.lanes.size)]
            await session.connection()
            for prefix in SURFACES:
                answer = await (site.rename(prefix) if write else site.client.get(f"{prefix}/tags"))
                check_refusal(answer, 504, "PGRST003")
            for lane in held:
                database.lanes.give(lane)
        await site.check_well()


# ---- time -----------------------------------------------------------------------------------------------------------


SLOWED = {  # every change of a tag takes about 20 seconds
    "sqlite": [f"CREATE TRIGGER slow BEFORE UPDATE ON tags BEGIN SELECT ({SLOW['sqlite']}); END"],
    "postgresql": [
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(20); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE UPDATE ON tags FOR EACH ROW EXECUTE FUNCTION slow()",
    ],
}
UNSLOWED = {"sqlite": "DROP TRIGGER slow", "postgresql": "DROP TRIGGER slow ON tags"}


async def test_slow_statement_is_stopped_and_answered(spare_url: str, settings: Settings) -> None:
    async with opened(spare_url, settings, limits=Limits(statement_service=0.2)) as site:
        await site.sql(*SLOWED[site.database.name])
        for prefix in SURFACES:
            check_refusal(await site.rename(prefix), 504, "57014")
        assert await site.repeats("57014") == 0
        await site.sql(UNSLOWED[site.database.name])
        await site.check_well()


@ON_POSTGRESQL
async def test_transaction_that_idles_too_long_is_ended_and_answered(
    spare_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines.POSTGRESQL_SETTINGS, "idle_in_transaction_session_timeout", "20ms")
    async with opened(spare_url, settings) as site:
        with failpoints.armed({Point.LOCKED: lambda: asyncio.sleep(0.1)}):
            check_refusal(await site.rename(), 503, "PGRST001")
        assert await site.repeats("PGRST001") == 1
        await site.check_well()


# ---- room -----------------------------------------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Generator[None]:
    """As a quota does, for every file of this process. Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def large_post(site: Site) -> dict[str, Any]:
    author = (await site.client.post("/users", json={"username": "ada"})).json()["id"]
    return {"user_id": author, "title": "Large", "content": CANARY * 100_000}


@ON_SQLITE
@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}], ids=["without a key", "with a key"])
async def test_full_disk_refuses_writes_and_serves_reads(site: Site, headers: dict[str, str]) -> None:
    post = await large_post(site)
    await on_writer(site.database, "PRAGMA max_page_count=1")  # not below what is used already
    for prefix in SURFACES:
        check_refusal(await site.client.post(f"{prefix}/posts", json=post, headers=headers), 507, "53100", None)
        assert (await site.client.get(f"{prefix}/posts")).json() == []
    await on_writer(site.database, "PRAGMA max_page_count=1000000")
    assert (await site.client.post("/posts", json=post, headers=headers)).status_code == 201
    await site.check_well()


@ON_SQLITE
async def test_write_beyond_a_quota_is_refused_as_on_a_full_disk(site: Site) -> None:
    post = await large_post(site)
    with files_of_at_most(2_000_000):
        answers = [await site.client.post("/posts?select=id", json=post) for _ in range(6)]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert refused
        for answer in refused:
            check_refusal(answer, 507, "53100", None)
        assert len((await site.client.get("/posts?select=id")).json()) == 6 - len(refused)
    await site.check_well()
