"""What a row was: the page of its revisions, and the row at one of its versions.

Both follow the rule of revisions alone. Who may see none of them, of this row or at all, is answered as if the row had
never been.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from app.data.audit import Revision
from app.data.catalog import Resource
from app.data.scopes import require_read
from app.errors import BadQuery, NotFound
from app.http import plans, reading
from app.http.context import Call
from app.http.media import media_of, render
from app.http.plans import Asked, Kind, Planned, key_of
from app.http.preferences import prefer_of
from app.http.response import etag_of, tagged
from app.query import history
from app.query.history import NUMBERS, Past
from app.query.writer import missing_row

OWN_FILTERS = 2  # of the table and the row


async def read_revisions(call: Call) -> Response:
    """The page of `revisions` of one row, the newest first."""
    resource, key = _row_of(call)
    if not _sees(call):
        raise missing_row(resource, key)
    asked = plans.ask(call, Kind.HISTORY)
    planned = plans.of_row(call, asked, plans.plan(call, asked), str(key))
    absent = missing_row(resource, key) if _has_all(asked, planned) else None
    return await reading.show_page(call, asked, planned, absent)


async def read_version(call: Call) -> Response:
    """The row as it was, with the columns that the caller may read now and its links."""
    resource, key = _row_of(call)
    if call.request.scope["query_string"]:
        raise BadQuery("a past version is always shown as a whole", hint="Leave out the query string.")
    past = await past_of(call, resource, key)
    if past is None:
        raise missing_version(call, resource, key)
    media, prefer = media_of(call.headers), prefer_of(call.headers)
    prefer.check()
    plan, document = history.document_of(past, call.who.view)
    body = render(media, call.service.catalog, plan, [document], bare=True)
    return tagged(call, body, etag_of(body), prefer.applied(call.method), media=media)


async def past_of(call: Call, resource: Resource, key: Any) -> Past | None:
    """The row at the version that the path names, or None where the caller knows of none. Raises Forbidden for what is
    outside of its scopes.
    """
    number = _number(call)
    if number is None or not _sees(call):
        return None
    require_read(call.who, call.service.catalog.of(Revision).name)
    compiler, now = call.service.compiler, call.now
    return await call.read(lambda: history.read_version(compiler, resource, call.who, now, str(key), number))


def missing_version(call: Call, resource: Resource, key: Any) -> NotFound:
    """The same whether it is the row that does not exist or the version."""
    number = call.request.path_params["number"][:20]
    return NotFound(f"no row of {resource.name} with the id {key} has a version {number}", code="BRD404")


def revised_of(call: Call) -> Resource:
    """The resource that the path names. Raises NotFound where its rows have no history."""
    resource = plans.resource_of(call)
    if not resource.rule.revised or len(resource.key) != 1:
        raise plans.invalid_path()
    return resource


def _row_of(call: Call) -> tuple[Resource, Any]:
    resource = revised_of(call)
    return resource, key_of(resource, call.request.path_params["id"])


def _sees(call: Call) -> bool:
    return history.sees_revisions(call.service.catalog, call.who.view)


def _has_all(asked: Asked, planned: Planned) -> bool:
    """Whether a page without rows says that there are none at all."""
    node, plan = planned.plan.node, planned.plan
    return (
        asked.cursor is None
        and len(node.where) == OWN_FILTERS
        and plan.value(node.limit) != 0
        and not plan.value(node.offset)
    )


def _number(call: Call) -> int | None:
    text: str = call.request.path_params["number"]
    plain = text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= len(str(NUMBERS.stop))
    return int(text) if plain and int(text) in NUMBERS else None
