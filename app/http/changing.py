"""PATCH and DELETE of the rows that filters name. Source: dialect 1.16, 1.17.

The rows are locked first, in ascending key order and at most `limits.affected` of them, then written as single rows
are. Without a filter nothing is done.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from app.data import audit
from app.data.rules import Values
from app.data.session import AppSession
from app.errors import BadQuery
from app.http import fields, plans
from app.http.body import Payload, payload_of
from app.http.context import Call
from app.http.plans import Kind
from app.http.preferences import prefer_of
from app.http.ranges import content_range, counted
from app.http.writing import (
    Write,
    check_versions,
    manner_of,
    not_available,
    pins_version,
    refuse_reader,
    settled,
    versions_of,
)
from app.query.reader import lock_keys
from app.query.removal import discard, hold_touched, must_hold
from app.query.writer import locked, revise


async def change_matching(call: Call) -> Response:
    """Sets what the body names on every row that matches. A body that names nothing changes nothing."""
    asked = plans.ask(call, Kind.WRITTEN)
    payload = await payload_of(call, asked.query.columns)
    call.trace.mark("body")
    planned, prefer = plans.plan(call, asked), prefer_of(call.headers)
    resource = planned.resource
    refuse_reader(call, resource)
    manner = manner_of(planned, prefer, texts=payload.texts)
    given = _one_of(payload)
    if fields.names_unknown(resource, call.who.view, [given], manner):
        fields.changed(resource, call.who.view, given, manner)
    write = settled(call, planned, prefer)
    values = fields.changed(resource, call.who.view, given, manner)
    versions = _versions_of(write)
    if values:
        _refuse_everything(write)
    await call.prepare(resource, [values])

    async def work(session: AppSession) -> tuple[int, bytes]:
        olds = await _locked(session, write, versions) if values else []
        rows = await revise(session, resource, [(old, values) for old in olds])
        write.check_rows(len(rows))
        return len(rows), write.body(await write.documents(session, rows))

    rows, body = await write.transact(work)
    total = None if prefer.count is None else rows
    return write.answer(body, 200 if write.shows else 204, {"Content-Range": content_range(0, rows, total)})


async def delete_matching(call: Call) -> Response:
    """The answer, if one is wanted, shows the rows as they were. A body means nothing."""
    planned = plans.plan(call, plans.ask(call, Kind.WRITTEN))
    resource, prefer = planned.resource, prefer_of(call.headers)
    if call.who.view not in resource.rule.removes:
        raise audit.denied(resource)
    write = settled(call, planned, prefer)
    versions = _versions_of(write)
    _refuse_everything(write)

    async def work(session: AppSession) -> tuple[int, bytes]:
        if must_hold(session, resource):
            await hold_touched(session, resource, await _keys(session, write, lock=False))
        olds = await _locked(session, write, versions)
        documents = await write.documents(session, olds)
        await discard(session, resource, olds)
        write.check_rows(len(olds))
        return len(olds), write.body(documents)

    rows, body = await write.transact(work)
    total = None if prefer.count is None else rows
    return write.answer(body, 200 if write.shows else 204, {"Content-Range": counted(rows, total)})


def _one_of(payload: Payload) -> dict[str, Any]:
    """The object of a PATCH. Several equal ones mean one; several different ones would be another kind of update."""
    if any(row != payload.rows[0] for row in payload.rows):
        raise not_available("an update of several rows with values of their own")
    return payload.rows[0] if payload.rows else {}


def _versions_of(write: Write) -> frozenset[int] | None:
    rows = write.planned.rows
    return versions_of(write.call, write.resource, pinned=rows is not None and pins_version(rows))


def _refuse_everything(write: Write) -> None:
    """Raises 21000 where no filter says which rows are meant."""
    rows = write.planned.rows
    if rows is None or not rows.node.where:
        verb = "UPDATE" if write.call.method == "PATCH" else "DELETE"
        hint = "Name the rows with a filter, such as id=in.(1,2)."
        raise BadQuery(f"{verb} requires a WHERE clause", code="21000", hint=hint)


async def _locked(session: AppSession, write: Write, versions: frozenset[int] | None) -> list[Values]:
    """Raises 54000 for too many rows, Stale."""
    olds = await locked(session, write.resource, await _keys(session, write))
    check_versions(write.resource, olds, versions)
    return olds


async def _keys(session: AppSession, write: Write, *, lock: bool = True) -> list[Any]:
    """Of the rows that match, which are locked unless `lock` says otherwise. Raises 54000 for too many."""
    call, rows = write.call, write.planned.rows
    assert rows is not None
    if len(write.resource.key) != 1:
        raise not_available("a write by filter to rows with a composite key")
    steps = lock_keys(call.service.compiler, rows, call.who, session.unit.now, lock=lock)
    keys = await session.run(call.trace.counted(steps))
    if len(keys) > call.limits.affected:
        hint = "Narrow the filters, and write in several requests."
        raise BadQuery(f"more than {call.limits.affected} rows would be written", code="54000", hint=hint)
    return keys
