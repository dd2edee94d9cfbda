"""A statement finds its entries by an index on both databases and never looks through all transfers: with statistics,
and an account that sent a third of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from sqlalchemy import event

from app.actions import statement
from app.data.database import Database
from app.data.rules import SERVICE, Principal, user
from app.models import Transfer, User
from app.resources import CATALOG
from tests.conftest import Clock
from tests.query.rows import a_transfer, a_user, fill

MANY, ACCOUNTS = 6000, 200


@pytest.fixture
async def busy(spare_url: str) -> AsyncGenerator[Database]:
    """With statistics: a third of all transfers are those of user 1."""
    draws = random.Random(1)
    rows = [
        a_transfer(id, 1 if id % 3 == 0 else draws.randint(2, ACCOUNTS), draws.randint(2, ACCOUNTS))
        | {"note": "x" * 300, "amount": 1}
        for id in range(1, MANY + 1)
    ]
    async with Database(spare_url, CATALOG, clock=Clock()) as database:
        await fill(database, {User: [a_user(id) for id in range(1, ACCOUNTS + 1)], Transfer: rows})
        async with database.writer.begin() as connection:
            await connection.exec_driver_sql("ANALYZE")
        yield database


async def plan_of(database: Database, who: Principal, account: int, before: int | None) -> str:
    """What the database says of the statement that was sent, one line for each step."""
    async with database.reading(who) as session:
        connection = await session.connection()
        seen: list[tuple[str, Any]] = []

        def note(_: Any, cursor: Any, sql: str, parameters: Any, *rest: Any) -> None:
            seen.append((sql, parameters))

        event.listen(connection.sync_connection, "before_cursor_execute", note)
        await statement(session, account, before)
        event.remove(connection.sync_connection, "before_cursor_execute", note)
        ((sql, parameters),) = seen
        explain = "EXPLAIN QUERY PLAN" if database.name == "sqlite" else "EXPLAIN"
        rows = (await connection.exec_driver_sql(f"{explain} {sql}", parameters)).all()
    return "\n".join(str(row[-1]) for row in rows)


@pytest.mark.parametrize("before", [None, MANY // 2, 30], ids=["newest", "middle", "oldest"])
@pytest.mark.parametrize("account", [1, 7], ids=["busy", "quiet"])
async def test_a_statement_finds_its_entries_by_an_index(busy: Database, account: int, before: int | None) -> None:
    for who in (user(account), SERVICE):
        plan = await plan_of(busy, who, account, before)
        assert not re.search(r"Seq Scan on transfers|SCAN transfers", plan), plan
        assert "transfers_to_user_id_idx" in plan or "transfers_pkey" in plan, plan
        if account == 7 and before is None:
            assert "transfers_from_user_id_idx" in plan, plan


async def test_a_page_of_a_busy_account_adds_up(busy: Database) -> None:
    async with busy.reading(user(1)) as session:
        first = await statement(session)
        later = await statement(session, before=first.next)
    newest, *_, last = [*first.entries, *later.entries]
    assert len({entry.id for entry in [*first.entries, *later.entries]}) == 40
    assert newest.balance == first.balance == later.balance
    assert last.balance == first.balance + 39  # each took one away
