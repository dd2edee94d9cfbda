"""Runs requests of the tests through the whole query path: `await Asker(database)(who, "posts?select=id")`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import Principal, Role
from app.errors import BadQuery, BroadsheetError
from app.query.compiler import Compiler, Part
from app.query.encoder import encode
from app.query.parser import parse
from app.query.plan import Page, ReadPlan
from app.query.planner import cursor_columns, find, plan_read
from app.query.reader import Result, read, read_page
from app.query.values import from_json
from app.resources import CATALOG
from app.settings import Limits

LIMITS = Limits()
AGGREGATES = replace(LIMITS, aggregates=True)
PAGE = Page(1000, 1000)


def refused(text: str | bytes, limits: Limits = LIMITS) -> BadQuery:
    """How the parser refuses a query string."""
    with pytest.raises(BadQuery) as caught:
        parse(text, limits)
    assert caught.value.status == 400
    assert caught.value.plain_status is None, "a bad query string is a 400 on every surface"
    return caught.value


def plan(
    request: str,
    view: Role = Role.ANONYMOUS,
    catalog: Catalog = CATALOG,
    limits: Limits = LIMITS,
    page: Page | None = PAGE,
    after: list[Any] | None = None,
) -> ReadPlan:
    name, _, query = request.partition("?")
    return plan_read(catalog, find(catalog, name, view), parse(query, limits), view, limits, page, after)


def plan_refused(request: str, view: Role = Role.ANONYMOUS, limits: Limits = LIMITS) -> dict[str, Any]:
    """How the planner refuses a request: the body and the status."""
    with pytest.raises(BroadsheetError) as caught:
        plan(request, view, limits=limits)
    assert caught.value.plain_status is None, "a bad query string has one status on every surface"
    return caught.value.body() | {"status": caught.value.status}


@dataclass
class Asker:
    """Compiles for one database and keeps what it compiled."""

    database: Database
    catalog: Catalog = CATALOG
    limits: Limits = LIMITS
    page_size: Page = PAGE
    compiler: Compiler = field(init=False)

    def __post_init__(self) -> None:
        self.compiler = Compiler(self.catalog, self.database.dialect, self.limits)

    async def bytes(self, who: Principal, request: str) -> bytes:
        found, now = self.plan(who, request), self.database.clock()
        return encode(await self.database.read(who, lambda: read(self.compiler, found, who, now)))

    async def page(
        self, who: Principal, request: str, after: list[Any] | None = None, *, count: bool = False
    ) -> Result:
        found, now = self.plan(who, request, after), self.database.clock()
        return await self.database.read(who, lambda: read_page(self.compiler, found, who, now, count=count))

    async def pages(self, who: Principal, request: str) -> AsyncIterator[list[Any]]:
        """All pages by their cursors, whose values travel as JSON."""
        columns = cursor_columns(self.catalog, self.plan(who, request))
        after: list[Any] | None = None
        while True:
            result = await self.page(who, request, after)
            yield result.rows
            if result.cursor is None:
                return
            cursor = msgspec.json.decode(msgspec.json.encode(result.cursor))
            after = [from_json(column.type, value) for column, value in zip(columns, cursor, strict=True)]

    def plan(self, who: Principal, request: str, after: list[Any] | None = None) -> ReadPlan:
        return plan(request, who.view, self.catalog, self.limits, self.page_size, after)

    async def __call__(self, who: Principal, request: str) -> Any:
        return msgspec.json.decode(await self.bytes(who, request))


def texts(part: Part) -> list[str]:
    """The SQL of a compiled read: the root's, then its embeds'."""
    return [part.prepared.sql, *(text for kid, _ in part.kids for text in texts(kid))]
