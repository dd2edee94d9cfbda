"""What a request is answered when its connection to the server is lost, or none can be had, each provoked on a real
server. A file cannot be lost: SQLite has no part in this.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.data import failpoints
from app.data.failpoints import Point
from app.data.rules import SYSTEM
from app.settings import Settings
from tests.conftest import Server, administer
from tests.http.failing import (
    ON_POSTGRESQL,
    SURFACES,
    Site,
    alter,
    check_refusal,
    connected,
    killing,
    once,
    opened,
)

pytestmark = ON_POSTGRESQL


@pytest.fixture
async def site(spare_url: str, settings: Settings) -> AsyncGenerator[Site]:
    async with opened(spare_url, settings) as site:
        yield site


# ---- lost -----------------------------------------------------------------------------------------------------------


async def test_loss_before_commit_is_not_noticed_by_the_caller(site: Site) -> None:
    with failpoints.armed({Point.LOCKED: once(killing(site.url))}):
        for number, prefix in enumerate(SURFACES):
            answer = await site.rename(prefix, name=f"name {number}")
            assert answer.status_code in (200, 204)
    assert site.database.counters.retries == 1
    assert await site.names() == ["name 1", "two"]
    await site.check_well()


async def test_loss_at_every_attempt_is_answered(site: Site) -> None:
    with failpoints.armed({Point.LOCKED: killing(site.url)}):
        for number, prefix in enumerate(SURFACES, 1):
            answer = await site.rename(prefix)
            check_refusal(answer, 503, answer.json()["code"])
            assert answer.json()["code"] in ("57P01", "08003", "08006", "PGRST001")
            assert site.database.counters.retries == number
    assert await site.names() == ["one", "two"]
    await site.check_well()


async def test_lost_commit_is_answered_as_unknown_and_never_repeated(site: Site) -> None:
    with failpoints.armed({Point.COMMITTING: killing(site.url)}):
        for prefix in SURFACES:
            check_refusal(await site.rename(prefix), 503, "08007")
    assert site.database.counters.retries == 0
    await site.check_well()


async def test_commit_whose_answer_is_lost_is_found_by_its_key(site: Site) -> None:
    """The repeat is answered what the first attempt has kept."""

    async def reset() -> None:
        raise ConnectionResetError

    with failpoints.armed({Point.COMMITTED: once(reset)}):
        answer = await site.add("new", headers={"idempotency-key": "k"})
    assert (answer.status_code, answer.headers["idempotent-replayed"]) == (201, "true")
    assert await site.repeats("08007") == 1
    assert await site.names() == ["one", "two", "new"]
    await site.check_well()


async def test_reads_and_writes_go_on_after_all_backends_are_killed(site: Site) -> None:
    await killing(site.url, "idle")()
    assert (await site.client.get("/tags")).status_code == 200
    assert (await site.rename(name="new")).status_code == 200
    await site.check_well()


# ---- none to be had -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"), [("CONNECTION LIMIT 0", "53300"), ("NOLOGIN", "28000")], ids=["too many", "not let in"]
)
async def test_role_that_may_not_connect_is_answered(
    spare_url: str, settings: Settings, server: Server, change: str, code: str
) -> None:
    """Superusers have no limit, so the service is somebody else here."""
    role = f"broadsheet_test_{secrets.token_hex(4)}"
    administer(server.info, f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    try:
        await alter(server, spare_url, f"OWNER TO {role}")
        await execute_in(spare_url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        await execute_in(spare_url, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
        url = make_url(spare_url).set(username=role, password=role).render_as_string(hide_password=False)
        async with opened(url, settings) as site:
            await execute_in(spare_url, f"ALTER ROLE {role} {change}")
            await killing(spare_url, "idle")()
            for prefix in SURFACES:
                check_refusal(await site.rename(prefix), 503, code)
                check_refusal(await site.client.get(f"{prefix}/tags"), 503, code)
            assert await site.repeats(code) == 0
            await execute_in(spare_url, f"ALTER ROLE {role} LOGIN CONNECTION LIMIT -1")
            await site.check_well()
    finally:
        await alter(server, spare_url, "OWNER TO CURRENT_USER")
        await execute_in(spare_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def execute_in(url: str, *statements: str) -> None:
    async with connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)


async def emptied(site: Site, server: Server) -> None:
    """Ends every connection to the database, from another one, and waits until they are gone."""
    name = make_url(site.url).database
    async with connected(server.info["admin"]) as admin, asyncio.timeout(5):
        await admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = $1"
        while not await admin.fetchval(gone, name):  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.005)


async def check_unreachable(site: Site, code: str) -> None:
    for prefix in SURFACES:
        check_refusal(await site.client.get(f"{prefix}/tags"), 503, code)
        check_refusal(await site.rename(prefix), 503, code)
    assert await site.repeats(code) == 0
    assert (await site.client.get("/health/ready")).status_code == 503


async def test_database_that_takes_no_connections_is_answered(site: Site, server: Server) -> None:
    await alter(server, site.url, "ALLOW_CONNECTIONS false")
    await emptied(site, server)
    await check_unreachable(site, "55000")
    await alter(server, site.url, "ALLOW_CONNECTIONS true")
    await site.check_well()


async def test_database_that_is_gone_is_answered(site: Site, server: Server) -> None:
    name = make_url(site.url).database
    await emptied(site, server)
    await alter(server, site.url, f'RENAME TO "{name}_away"')
    await check_unreachable(site, "3D000")
    administer(server.info, f'ALTER DATABASE "{name}_away" RENAME TO "{name}"')
    await site.check_well()


async def test_server_that_is_gone_is_answered(
    spare_url: str, settings: Settings, server: Server, tmp_path: Path
) -> None:
    """The service comes by a link to the folder of the server's socket, which is cut."""
    url = make_url(spare_url)
    if "host" not in url.query:
        pytest.skip("the server has no socket")
    link = tmp_path / "s"
    link.symlink_to(str(url.query["host"]))
    linked = url.update_query_dict({"host": str(link)}).render_as_string(hide_password=False)
    async with opened(linked, settings) as site:
        link.unlink()
        await emptied(site, server)
        await check_unreachable(site, "PGRST000")
        link.symlink_to(str(url.query["host"]))
        await site.check_well()


# ---- of another time ------------------------------------------------------------------------------------------------


async def warm(site: Site, connections: int = 4) -> None:
    """So many writing connections stand in the pool."""
    entered = asyncio.Barrier(connections)

    async def use() -> None:
        async with site.database.writing(SYSTEM) as session:
            await session.connection()
            await entered.wait()

    await asyncio.gather(*(use() for _ in range(connections)))


async def test_server_that_takes_no_writes_is_answered(site: Site, server: Server) -> None:
    await alter(server, site.url, "SET default_transaction_read_only = on")
    await killing(site.url, "idle")()
    for number, prefix in enumerate(SURFACES, 1):
        check_refusal(await site.rename(prefix), 503, "25006")
        assert await site.repeats("25006") == number
        assert (await site.client.get(f"{prefix}/tags")).status_code == 200
    await alter(server, site.url, "RESET default_transaction_read_only")
    await site.check_well()


async def test_demoted_server_is_left_by_all_connections_at_once(site: Site, server: Server) -> None:
    """It answers every ping, so the pool would keep them for ever; a repeat would only take the next one."""
    await alter(server, site.url, "SET default_transaction_read_only = on")
    await killing(site.url, "idle")()
    await warm(site)
    await alter(server, site.url, "RESET default_transaction_read_only")
    for number in range(8):
        assert (await site.rename(name=f"{number}")).status_code == 200
    assert await site.repeats("25006") == 1
    await site.check_well()


async def test_changed_schema_costs_one_repeat_whatever_the_pool(site: Site) -> None:
    await warm(site)
    for number in range(8):
        assert (await site.rename(name=f"{number}")).status_code == 200
    await site.sql("ALTER TABLE tags ALTER COLUMN name TYPE varchar(150)")
    for number in range(8):
        assert (await site.rename(name=f"new {number}")).status_code == 200
        assert (await site.client.get("/tags")).status_code == 200
    assert await site.repeats("0A000") == 1
    await site.check_well()
