"""POST of rows; PUT, PATCH and DELETE of one.

Each is one unit of work: its answer is made inside and sent after the commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from app.data import audit
from app.data.base import Versioned
from app.data.catalog import Resource
from app.data.rules import Values
from app.data.session import AppSession
from app.errors import BroadsheetError, Forbidden
from app.http import fields
from app.http.body import decode, object_of, objects_of, read_body
from app.http.context import Call
from app.http.plans import key_of, representation_plan, shows_version
from app.http.request import Prefer, check_accept, check_content_type, expected_versions, prefer_of
from app.http.response import answer, etag_of
from app.query.encoder import encode
from app.query.plan import ReadPlan
from app.query.reader import read_keyed
from app.query.removal import remove
from app.query.writer import insert, locked, stale, update


@dataclass(frozen=True, slots=True)
class Write:
    """A write request as far as it is understood before its body."""

    plan: ReadPlan
    prefer: Prefer
    returns: str

    @property
    def resource(self) -> Resource:
        return self.plan.resource

    @property
    def shows(self) -> bool:
        return self.returns == "representation"


async def create(call: Call) -> Response:
    """One row or many."""
    write = _write(call)
    resource = write.resource
    if call.who.view not in resource.rule.inserts:
        raise audit.denied(resource)
    if write.shows and len(resource.key) != 1:
        raise _not_available("the representation of rows with a composite key")
    objects, single = objects_of(await _body(call), call.limits)
    rows = fields.inserted(resource, call.who.view, objects)
    call.trace.mark("body")

    async def work(session: AppSession) -> tuple[list[Values], bytes]:
        made = await insert(session, resource, rows)
        if not write.shows:
            return made, b""
        found = await _documents(call, session, write.plan, made)
        if len(found) != len(made):
            raise Forbidden(f'new row violates row-level security policy for table "{resource.name}"')
        return made, encode(found[0] if single and call.surface.items else found)

    made, body = await _transact(call, work)
    return answer(call, body, 201, _created_headers(call, write, made, body, single=single))


async def change(call: Call) -> Response:
    """Sets what the body names."""
    write, key = _item_write(call)
    values = fields.changed(write.resource, call.who.view, object_of(await _body(call)))
    return await _update(call, write, key, values)


async def replace(call: Call) -> Response:
    """Sets every writable column. Never makes a row."""
    write, key = _item_write(call)
    values = fields.replaced(write.resource, call.who.view, object_of(await _body(call)), key)
    return await _update(call, write, key, values)


async def delete(call: Call) -> Response:
    """The answer, if one is wanted, shows the row as it was."""
    write = _write(call, body=False)
    resource = write.resource
    key = key_of(resource, call.request.path_params["id"])
    if call.who.view not in resource.rule.removes:
        raise audit.denied(resource)
    versions = _expected(call, resource)
    call.trace.mark("plan")

    async def work(session: AppSession) -> bytes:
        expect = await _expect(session, resource, key, versions)
        names = {resource.key[0]: key}
        found = await _documents(call, session, write.plan, [names]) if write.shows else []
        await remove(session, resource, [key], expect=expect)
        return encode(found[0]) if found else b""

    body = await _transact(call, work)
    return answer(call, body, 200 if body else 204, _applied(write))


async def _update(call: Call, write: Write, key: Any, values: Values) -> Response:
    resource = write.resource
    versions = _expected(call, resource)
    call.trace.mark("body")

    async def work(session: AppSession) -> tuple[Values, bytes]:
        expect = await _expect(session, resource, key, versions)
        (row,) = await update(session, resource, [key], values, expect=expect)
        found = await _documents(call, session, write.plan, [row]) if write.shows else []
        return row, encode(found[0]) if found else b""

    row, body = await _transact(call, work)
    headers = _applied(write) | _tag(call, resource, row, body)
    return answer(call, body, 200 if body else 204, headers)


# ---- parts ----------------------------------------------------------------------------------------------------------


def _write(call: Call, *, body: bool = True) -> Write:
    check_accept(call.headers)
    prefer = prefer_of(call.headers)
    plan = representation_plan(call)
    if body:
        check_content_type(call.headers)
    return Write(plan, prefer, prefer.returns or _default(call))


def _default(call: Call) -> str:
    """A DELETE answers nothing unless asked, on both surfaces."""
    return "minimal" if call.request.method == "DELETE" else call.surface.returns


def _item_write(call: Call) -> tuple[Write, Any]:
    write = _write(call)
    key = key_of(write.resource, call.request.path_params["id"])
    if not write.resource.rule.writes(call.who.view):
        raise audit.denied(write.resource)
    call.trace.mark("plan")
    return write, key


async def _body(call: Call) -> Any:
    return decode(await read_body(call.request, call.limits.body), call.limits)


async def _transact(call: Call, work: Any) -> Any:
    database = call.service.database
    result = await database.transact(call.who, work, request_id=call.trace.request_id)
    call.trace.mark("database")
    return result


async def _documents(call: Call, session: AppSession, plan: ReadPlan, rows: list[Values]) -> list[Any]:
    """The rows as the caller may see them, read on the writer's connection; those that it may not see are left out."""
    (key,) = plan.resource.key
    keys = [row[key] for row in rows]
    if not keys:
        return []
    steps = read_keyed(call.service.compiler, plan, call.who, session.unit.now, keys)
    return await session.run(call.trace.counted(steps))


def _expected(call: Call, resource: Resource) -> frozenset[int] | None:
    if "if-match" in call.headers and not resource.has(Versioned):
        raise _not_available(f"If-Match on {resource.name}, whose rows have no version,")
    return expected_versions(call.headers)


async def _expect(session: AppSession, resource: Resource, key: Any, versions: frozenset[int] | None) -> int | None:
    """The version that the row must have. Of several allowed ones it is the present one, which is then locked."""
    if versions is None:
        return None
    if len(versions) == 1:
        return next(iter(versions))
    (row,) = await locked(session, resource, [key])
    version: int = row["version"]
    if version not in versions:
        raise stale(resource, version)
    return version


def _not_available(what: str) -> BroadsheetError:
    return BroadsheetError("Feature not implemented", code="PGRST127", details=f"{what} is not available")


# ---- headers --------------------------------------------------------------------------------------------------------


def _created_headers(call: Call, write: Write, made: list[Values], body: bytes, *, single: bool) -> dict[str, str]:
    headers = _applied(write)
    resource = write.resource
    if not call.surface.items:
        headers["Content-Range"] = "*/*"
    if len(made) != 1:
        return headers
    row = made[0]
    if call.surface.items and len(resource.key) == 1:
        headers["Location"] = f"{call.surface.prefix}/{resource.name}/{row[resource.key[0]]}"
    elif write.returns == "headers-only":
        headers["Location"] = f"/{resource.name}?" + "&".join(f"{name}=eq.{row[name]}" for name in resource.key)
    if single and call.surface.items:
        headers |= _tag(call, resource, row, body)
    return headers


def _applied(write: Write) -> dict[str, str]:
    return {"Preference-Applied": write.prefer.applied} if write.prefer.applied else {}


def _tag(call: Call, resource: Resource, row: Values, body: bytes) -> dict[str, str]:
    """The tag that a GET of the same `select` would have now."""
    if not body:
        return {}
    return {"ETag": etag_of(body, row["version"] if shows_version(call, resource) else None)}
