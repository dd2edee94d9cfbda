"""What requests that wait at the same time read together: rows that they ask for in the same way share the statements,
and the very same page is read and encoded once for all of them.

Shared is what all callers of the same rights would be answered: not what is recorded by person, what is read inside a
batch of requests, or what is written in another form or zone than the usual one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, NamedTuple

from app.data.rules import Role
from app.errors import BroadsheetError
from app.http.context import Call, Trace
from app.http.media import JSON, Media, render
from app.http.plans import Asked, take_version
from app.http.response import etag_of
from app.query.estimates import read_counted
from app.query.plan import ReadPlan
from app.query.reader import Result, TogetherHeavy, read_each, read_keyed
from app.query.values import ZONE

PAGE = "page"  # the one key of a kind that says all
TOO_SLOW = "57014"  # what is too slow together may be quick enough alone


class Shown(NamedTuple):
    """A body with its tag; None and no tag for a row that the caller may not see."""

    body: bytes | None
    etag: str = ""
    statements: int = 0


@dataclass(slots=True)
class Page:
    """A page as it was read. Its body is made by the first who needs it and serves all who share the page."""

    result: Result
    statements: int = 0
    body: bytes = b""
    etag: str = ""

    def show(self, call: Call, plan: ReadPlan, media: Media) -> None:
        if not self.etag:
            self.body = render(media, call.service.catalog, plan, self.result.rows)
            self.etag = etag_of(self.body)


# ---- one row --------------------------------------------------------------------------------------------------------


async def show_item(call: Call, plan: ReadPlan, media: Media, key: Any) -> Shown:
    """The row with this key."""
    kind = (plan.node, call.who.role)
    if not is_shared(call, media) or call.service.plans.apart.hit(kind):
        compiler, now = call.service.compiler, call.now
        rows = await call.read(lambda: read_keyed(compiler, plan, call.who, now, [key]))
        return _shown(call, plan, media, rows[0] if rows else None)
    reading = Reading(call, plan, kind)
    found: Shown = await call.service.batches.get((kind, plan.values, call.who.user_id), key, reading)
    call.trace.statements += found.statements
    call.trace.mark("database")
    return found


def is_shared(call: Call, media: Media) -> bool:
    """Whether nothing but the caller's rights matters, and nothing that is read is recorded."""
    return media is JSON and call.who.role is not Role.ADMIN and call.unit is None and ZONE.get() is UTC


def _shown(call: Call, plan: ReadPlan, media: Media, document: Any, statements: int = 0) -> Shown:
    if document is None:
        return Shown(None, statements=statements)
    version = take_version(plan, document)
    body = render(media, call.service.catalog, plan, [document], bare=True)
    return Shown(body, etag_of(body, version), statements)


class Reading:
    """Reads rows for several requests as the first of them, from whom the others differ in nothing that matters."""

    __slots__ = ("call", "kind", "plan")

    def __init__(self, call: Call, plan: ReadPlan, kind: Hashable) -> None:
        self.call = call
        self.plan = plan
        self.kind = kind

    async def __call__(self, keys: list[Any]) -> Mapping[Any, Shown | BroadsheetError]:
        """What is too much for one read is read row by row, and so from then on."""
        if len(keys) == 1:
            return {keys[0]: await self._alone(keys[0])}
        try:
            return await self._together(keys)
        except TogetherHeavy:
            pass
        except BroadsheetError as exc:
            if exc.code != TOO_SLOW:
                raise
        self.call.service.plans.apart.store(self.kind, True)
        return dict(zip(keys, await asyncio.gather(*map(self._alone, keys)), strict=True))

    async def _together(self, keys: list[Any]) -> Mapping[Any, Shown]:
        service, who = self.call.service, self.call.who
        trace, now = Trace(""), self.call.now
        steps = lambda: trace.counted(read_each(service.compiler, self.plan, who, now, keys))  # noqa: E731
        found = await service.database.read(who, steps)
        return {key: _shown(self.call, self.plan, JSON, found.get(key), trace.statements) for key in keys}

    async def _alone(self, key: Any) -> Shown | BroadsheetError:
        service, who = self.call.service, self.call.who
        trace, now = Trace(""), self.call.now
        try:
            rows = await service.database.read(
                who, lambda: trace.counted(read_keyed(service.compiler, self.plan, who, now, [key]))
            )
        except BroadsheetError as exc:
            return exc
        return _shown(self.call, self.plan, JSON, rows[0] if rows else None, trace.statements)


# ---- a page ---------------------------------------------------------------------------------------------------------


async def find_page(call: Call, asked: Asked, plan: ReadPlan, media: Media, count: str | None) -> Page:
    """The page that was asked for. Only the very same ones are read together, for other values make other statements;
    whoever asks in other words for the same rows reads alone.
    """
    service, who = call.service, call.who
    most = call.surface.page(who, call.limits).most
    if not is_shared(call, media):
        now = call.now
        return Page(await call.read(lambda: read_counted(service.compiler, plan, who, now, count, most)))

    async def load(keys: list[Any]) -> Mapping[Any, Page]:
        trace, now = Trace(""), call.now  # when all of them had asked
        counted = lambda: trace.counted(read_counted(service.compiler, plan, who, now, count, most))  # noqa: E731
        result = await service.database.read(who, counted)
        return {PAGE: Page(result, trace.statements)}

    scope = call.request.scope
    kind = (asked.about, scope["path"], scope["query_string"], asked.window, who.user_id, count)
    page: Page = await service.batches.get(kind, PAGE, load, at_once=True)
    call.trace.statements += page.statements
    call.trace.mark("database")
    return page
