"""GET of a collection and of one row."""

from __future__ import annotations

from starlette.responses import Response

from app.errors import NotFound
from app.http import cursors, plans
from app.http.context import Call
from app.http.media import media_of
from app.http.plans import Asked, Kind, Planned
from app.http.preferences import Prefer, prefer_of
from app.http.ranges import content_range, status_of
from app.http.response import tagged
from app.http.sharing import find_page, show_item
from app.query.reader import Result
from app.query.writer import missing_row


async def read_page(call: Call) -> Response:
    asked = plans.ask(call, Kind.PAGE)
    return await show_page(call, asked, plans.plan(call, asked))


async def show_page(call: Call, asked: Asked, planned: Planned, absent: NotFound | None = None) -> Response:
    """Raises `absent`, if there is one, in place of a page without rows."""
    media = media_of(call.headers)
    prefer = prefer_of(call.headers)
    prefer.check()
    call.trace.mark("plan")
    page = await find_page(call, asked, planned.plan, media, prefer.count)
    result = page.result
    if absent is not None and not result.rows:
        raise absent
    before = _before(asked, planned)
    total = None if result.total is None else max(result.total, before + len(result.rows) if result.rows else 0)
    status = status_of(before if asked.cursor is None else 0, len(result.rows), total)
    headers = {
        "Content-Range": content_range(before, len(result.rows), total),
        "Content-Location": planned.location,
        **_next(planned, result, before + len(result.rows), total),
        **_applied(call, prefer),
    }
    page.show(call, planned.plan, media)
    response = tagged(call, page.body, page.etag, headers, media=media, status=status)
    call.trace.mark("encode")
    return response


async def read_item(call: Call) -> Response:
    planned = plans.plan(call, plans.ask(call, Kind.ITEM))
    key = plans.key_of(planned.resource, call.request.path_params["id"])
    media = media_of(call.headers)
    prefer = prefer_of(call.headers)
    prefer.check()
    call.trace.mark("plan")
    found = await show_item(call, planned.plan, media, key)
    if found.body is None:
        raise missing_row(planned.resource, key)
    response = tagged(call, found.body, found.etag, _applied(call, prefer), media=media)
    call.trace.mark("encode")
    return response


def _before(asked: Asked, planned: Planned) -> int:
    """How many rows of the result come before this page."""
    if asked.cursor is not None:
        return asked.cursor.before
    return planned.plan.value(planned.plan.node.offset) or 0


def _next(planned: Planned, result: Result, after: int, total: int | None) -> dict[str, str]:
    """A full page has a next one, unless the count says that it was the last."""
    if result.cursor is None or total == after or planned.series is None:
        return {}
    return {"Link": cursors.next_page(planned.series, result, after)}


def _applied(call: Call, prefer: Prefer) -> dict[str, str]:
    return prefer.applied(call.method, tx=call.service.settings.allow_rollback and call.unit is None)
