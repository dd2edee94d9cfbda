"""POST of rows, which may be there already (`Prefer: resolution`), and PUT of the row that a filter names. Source:
dialect 1.14, 1.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response

from app.data import audit
from app.data.catalog import Resource
from app.data.rules import Values
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import BadQuery, Forbidden
from app.http import fields, plans
from app.http.body import Payload, payload_of
from app.http.context import Call, Trace
from app.http.grouping import Order, Outcome, may_join, served
from app.http.items import tag
from app.http.plans import Kind, Planned
from app.http.preferences import Prefer, prefer_of
from app.http.ranges import counted
from app.http.writing import Write, check_versions, manner_of, not_available, refuse_reader, settled, versions_of
from app.query.reader import read_each
from app.query.statements import Target
from app.query.upsert import Upserted, target_of, upsert
from app.query.values import literal
from app.query.writer import insert_and, locked


async def create(call: Call) -> Response:
    """One row or many, all or none."""
    asked = plans.ask(call, Kind.WRITTEN)
    payload = await payload_of(call, asked.query.columns)
    call.trace.mark("body")
    planned, prefer = plans.plan(call, asked), prefer_of(call.headers)
    if call.who.view not in planned.resource.rule.inserts:
        raise audit.denied(planned.resource)
    write, rows = _rows(call, planned, prefer, payload)
    target = _target(call, planned) if write.keyed else None
    await call.prepare(write.resource, rows, new=target is None)

    async def work(session: AppSession) -> Response:
        made, documents = await _write(session, write, rows, target)
        return _response(write, made, documents, single=payload.single)

    plan = planned.plan
    plain = len(rows) == 1 and target is None and not write.is_trial and not planned.ordered
    if not plain or not may_join(call, write.media):
        return await write.respond(work)
    kind = (write.resource.name, write.shows, call.who, plan.node, plan.values)
    given = Asked(write, rows[0], payload.single)
    return await served(Order(call, kind, given, _create_all, partial(write.respond, work)))


async def put(call: Call) -> Response:
    """Sets what the body names on the row with this key. A row whose key the database makes is never made."""
    asked = plans.ask(call, Kind.WRITTEN)
    if () in asked.query.limits or () in asked.query.offsets:
        raise BadQuery("limit/offset querystring parameters are not allowed for PUT", code="PGRST114")
    payload = await payload_of(call, asked.query.columns)
    call.trace.mark("body")
    planned, prefer = plans.plan(call, asked), prefer_of(call.headers)
    resource = planned.resource
    refuse_reader(call, resource)
    key = plans.key_filter(asked.query, resource)
    first = Payload(payload.rows[:1], payload.single, payload.texts)
    write, rows = _rows(call, planned, prefer, first, keyed=True)
    wanted = _refuse_other_key(resource, key, rows)
    versions = versions_of(call, resource)
    target = target_of(resource, call.who.view, None)
    await call.prepare(resource, rows)

    async def work(session: AppSession) -> tuple[Upserted, bytes]:
        if versions is not None:
            check_versions(resource, await locked(session, resource, wanted), versions)
        made = await upsert(session, resource, rows, target, merge=True)
        write.check_rows(len(made.rows))
        documents = await _visible(session, write, made.rows)
        return made, write.body(documents, bare=call.surface.items)

    made, body = await write.transact(work)
    return write.answer(body, (201 if made.inserted else 200) if body else 204)


@dataclass(frozen=True, slots=True)
class Asked:
    """One new row; `single` says whether it came outside of a list."""

    write: Write
    row: Values
    single: bool


async def _create_all(session: AppSession, orders: list[Order]) -> Mapping[Order, Outcome]:
    """New rows of one caller who wants to see the same of them. The refusal of one is that of all."""
    write: Write = orders[0].given.write
    call, plan, trace, (key,) = write.call, write.planned.plan, Trace(""), write.resource.key

    def reading(news: list[Values]) -> Steps[Any]:
        if not write.shows:
            return {}
        keys, unit = [row[key] for row in news], session.unit
        return (yield from trace.counted(read_each(call.service.compiler, plan, unit.who, unit.now, keys)))

    ids = [order.call.trace.request_id for order in orders]
    news, found = await insert_and(session, write.resource, [order.given.row for order in orders], reading, ids)
    answers: dict[Order, Outcome] = {}
    for order, row in zip(orders, news, strict=True):
        asked: Asked = order.given
        documents = [found[row[key]]] if row[key] in found else []
        asked.write.check_rows(1)
        made = Upserted([row], 1)
        answers[order] = _response(asked.write, made, _seen(asked.write, [row], documents), single=asked.single)
        order.call.trace.statements += trace.statements
    return answers


# ---- parts ----------------------------------------------------------------------------------------------------------


def _rows(
    call: Call, planned: Planned, prefer: Prefer, payload: Payload, *, keyed: bool = False
) -> tuple[Write, list[Values]]:
    """Fields that do not exist are refused before preferences and media types, wrong values after them."""
    resolves = prefer.resolution is not None and call.method == "POST"
    keyed = keyed or resolves
    manner = manner_of(planned, prefer, keyed=keyed, texts=payload.texts, new=not keyed)
    if fields.names_unknown(planned.resource, call.who.view, payload.rows, manner):
        fields.inserted(planned.resource, call.who.view, payload.rows, manner)
    write = settled(call, planned, prefer, keyed=resolves)
    return write, fields.inserted(planned.resource, call.who.view, payload.rows, manner)


def _target(call: Call, planned: Planned) -> Target:
    resource = planned.resource
    target = target_of(resource, call.who.view, planned.query.on_conflict)
    if len(resource.key) != 1:
        raise not_available("an upsert of rows with a composite key")
    return target


async def _write(
    session: AppSession, write: Write, rows: list[Values], target: Target | None
) -> tuple[Upserted, list[Any]]:
    """What was written, and what of it is shown."""
    if target is not None:
        merge = write.prefer.resolution == "merge-duplicates"
        made = await upsert(session, write.resource, rows, target, merge=merge)
        write.check_rows(len(made.rows))
        return made, await _visible(session, write, made.rows)

    def reading(news: list[Values]) -> Steps[list[Any]]:
        write.check_rows(len(news))
        return _seen(write, news, (yield from write.reading(session, news)))

    news, documents = await insert_and(session, write.resource, rows, reading)
    return Upserted(news, len(news)), documents


def _response(write: Write, made: Upserted, documents: list[Any], *, single: bool) -> Response:
    body = write.body(documents, bare=single and write.call.surface.items and len(documents) == 1)
    status = 200 if write.prefer.resolution == "merge-duplicates" and write.keyed and not made.inserted else 201
    return write.answer(body, status, _headers(write, made.rows, body, single=single))


async def _visible(session: AppSession, write: Write, rows: list[Values]) -> list[Any]:
    """Raises Forbidden for a row that the caller has written and may not see; `!inner` may leave rows out of the
    answer.
    """
    return _seen(write, rows, await write.documents(session, rows))


def _seen(write: Write, rows: list[Values], documents: list[Any]) -> list[Any]:
    if write.shows and len(documents) != len(rows) and not any(kid.inner for kid in write.planned.plan.node.kids):
        raise Forbidden(f'new row violates row-level security policy for table "{write.resource.name}"')
    return documents


def _refuse_other_key(resource: Resource, key: Values, rows: list[Values]) -> list[Any]:
    """The key as values. Raises PGRST115 unless the body names the row of the URL."""
    wanted = {name: literal(resource.columns[name].type, text) for name, text in key.items()}
    if not rows or any(rows[0].get(name) != value for name, value in wanted.items()):
        raise BadQuery("Payload values do not match URL in primary key column(s)", code="PGRST115")
    return list(wanted.values())


def _headers(write: Write, made: list[Values], body: bytes, *, single: bool) -> dict[str, str]:
    call, resource = write.call, write.resource
    headers: dict[str, str] = {}
    if not call.surface.items or write.prefer.count:
        headers["Content-Range"] = counted(len(made), None if write.prefer.count is None else len(made))
    if len(made) != 1:
        return headers
    row = made[0]
    if call.surface.items and len(resource.key) == 1:
        headers["Location"] = f"{call.surface.prefix}/{resource.name}/{row[resource.key[0]]}"
    elif write.returns == "headers-only":
        headers["Location"] = f"/{resource.name}?" + "&".join(f"{name}=eq.{row[name]}" for name in resource.key)
    if single and call.surface.items:
        headers |= tag(write, row, body)
    return headers
