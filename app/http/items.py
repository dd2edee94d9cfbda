"""PUT, PATCH and DELETE of the one row that a path names."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from app.data import audit
from app.data.rules import Values
from app.data.session import AppSession
from app.errors import BadBody
from app.http import fields, plans
from app.http.body import Payload, payload_of
from app.http.context import Call
from app.http.fields import Manner
from app.http.plans import Kind, key_of, shows_version
from app.http.preferences import prefer_of
from app.http.response import etag_of
from app.http.writing import Write, check_versions, refuse_reader, settled, versions_of
from app.query.removal import discard, locked_to_remove
from app.query.writer import locked, revise


async def change(call: Call) -> Response:
    """Sets what the body names."""
    write, key, payload = await _asked(call)
    values = fields.changed(write.resource, call.who.view, payload.rows[0], Manner(texts=payload.texts))
    return await _update(write, key, values)


async def replace(call: Call) -> Response:
    """Sets every writable column. Never makes a row."""
    write, key, payload = await _asked(call)
    values = fields.replaced(write.resource, call.who.view, payload.rows[0], key)
    return await _update(write, key, values)


async def delete(call: Call) -> Response:
    """The answer, if one is wanted, shows the row as it was."""
    planned = plans.plan(call, plans.ask(call, Kind.ITEM))
    resource, key = planned.resource, key_of(planned.resource, call.request.path_params["id"])
    if call.who.view not in resource.rule.removes:
        raise audit.denied(resource)
    write = settled(call, planned, prefer_of(call.headers))
    versions = versions_of(call, resource)

    async def work(session: AppSession) -> bytes:
        olds = await locked_to_remove(session, resource, [key])
        check_versions(resource, olds, versions)
        documents = await write.documents(session, olds)
        await discard(session, resource, olds)
        return write.body(documents, bare=True)

    body = await write.transact(work)
    return write.answer(body, 200 if body else 204)


async def _asked(call: Call) -> tuple[Write, Any, Payload]:
    asked = plans.ask(call, Kind.ITEM)
    payload = await payload_of(call)
    if len(payload.rows) != 1 or not (payload.single or payload.texts):
        raise BadBody("Empty or invalid json", hint="Send one object.")
    planned = plans.plan(call, asked)
    key = key_of(planned.resource, call.request.path_params["id"])
    refuse_reader(call, planned.resource)
    call.trace.mark("body")
    return settled(call, planned, prefer_of(call.headers)), key, payload


async def _update(write: Write, key: Any, values: Values) -> Response:
    resource, versions = write.resource, versions_of(write.call, write.resource)
    await write.call.prepare(resource, [values])

    async def work(session: AppSession) -> tuple[Values, bytes]:
        olds = await locked(session, resource, [key])
        check_versions(resource, olds, versions)
        (row,) = await revise(session, resource, [(olds[0], values)])
        return row, write.body(await write.documents(session, [row]), bare=True)

    row, body = await write.transact(work)
    return write.answer(body, 200 if body else 204, tag(write, row, body))


def tag(write: Write, row: Values, body: bytes) -> dict[str, str]:
    """The tag that a GET of the same `select` would have now."""
    if not body:
        return {}
    version = row["version"] if shows_version(write.call, write.resource) else None
    return {"ETag": etag_of(body, version)}
