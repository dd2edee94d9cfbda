"""The way back: a row to one of its past versions, and a soft-deleted row among the present ones.

Both are writes like any other: rules, checks, stamps and revisions apply, and who may not make them is refused as by
PATCH and DELETE. A body means nothing.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from app.data import audit
from app.data.catalog import Resource
from app.data.rules import Values
from app.data.session import AppSession
from app.http import plans
from app.http.context import Call
from app.http.history import missing_version, past_of, revised_of
from app.http.items import tag
from app.http.plans import Kind, key_of
from app.http.preferences import prefer_of
from app.http.writing import Write, check_versions, refuse_reader, settled, versions_of
from app.query import history
from app.query.removal import bring_back, locked_to_restore
from app.query.writer import locked, revise


async def restore_version(call: Call) -> Response:
    """Sets all that the caller may write to what it was."""
    resource = revised_of(call)
    write, key = _asked(call)
    refuse_reader(call, resource)
    versions = versions_of(call, resource)
    past = await past_of(call, resource, key)  # before the unit of work: what was does not change
    values = {} if past is None else history.values_of(past, call.who.view)
    await call.prepare(resource, [values])

    async def work(session: AppSession) -> Response:
        olds = await locked(session, resource, [key])
        if past is None:
            raise missing_version(call, resource, key)
        check_versions(resource, olds, versions)
        given = dict(values)
        await history.find_links(session, resource, given)
        (row,) = await revise(session, resource, [(olds[0], given)])
        return await _answer(session, write, row)

    return await write.respond(work)


async def restore_row(call: Call) -> Response:
    """A row that is not deleted is answered as it is."""
    resource = removable_of(call)
    write, key = _asked(call)
    if call.who.view not in resource.rule.removes:
        raise audit.denied(resource)
    versions = versions_of(call, resource)

    async def work(session: AppSession) -> Response:
        olds = await locked_to_restore(session, resource, [key])
        check_versions(resource, olds, versions)
        (row,) = await bring_back(session, resource, olds)
        return await _answer(session, write, row)

    return await write.respond(work)


def removable_of(call: Call) -> Resource:
    """The resource that the path names. Raises NotFound where rows are not removed, or for good."""
    resource = plans.resource_of(call)
    if not audit.is_soft(resource) or not resource.rule.removes or len(resource.key) != 1:
        raise plans.invalid_path()
    return resource


def _asked(call: Call) -> tuple[Write, Any]:
    planned = plans.plan(call, plans.ask(call, Kind.ITEM))
    key = key_of(planned.resource, call.request.path_params["id"])
    return settled(call, planned, prefer_of(call.headers)), key


async def _answer(session: AppSession, write: Write, row: Values) -> Response:
    body = write.body(await write.documents(session, [row]), bare=True)
    return write.answer(body, 200 if body else 204, tag(write, row, body))
