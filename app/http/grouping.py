"""Requests of one kind that wait at the same time are served in one unit of work, so that one COMMIT serves them all
(group commit).

Nobody waits for company: who comes alone is served alone, and a group grows only while others are at work. None is
told anything before the COMMIT, not even a refusal, which may rest on what another one wrote. Where the unit of work
fails as a whole nothing of it is there, and each is served by itself. Who leaves while it runs may have been given what
was asked for, as ever.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from app.data import failpoints, faults
from app.data.failpoints import Point
from app.data.rules import Principal
from app.data.session import AppSession
from app.data.steps import Steps, together
from app.errors import BroadsheetError
from app.http.body import HEADER
from app.http.context import Call
from app.http.media import Media
from app.http.sharing import is_shared
from app.query.reader import TogetherHeavy

# Seconds for which those of a kind are served by themselves after some could not be served together, for the sake of
# one of them or for what would hold up all.
REFUSED, HEAVY = 0.1, 5.0
SLOW = ("55P03", "57014", "PGRST003")  # a lock, a statement, a connection was waited for too long

Outcome = Response | BroadsheetError
Serve = Callable[[AppSession, list["Order"]], Awaitable[Mapping["Order", Outcome]]]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A request that may be served with others of its `kind`: `serve` makes the answers to all of them, within one unit
    of work, from what each has `given`; `alone` is the whole of it. Either may be asked for more than once.
    """

    call: Call
    kind: Hashable
    given: Any
    serve: Serve
    alone: Callable[[], Awaitable[Response]]


def may_join(call: Call, media: Media) -> bool:
    """Whether nothing but the caller's rights matters, and no Idempotency-Key wants a unit of work for itself."""
    return HEADER not in call.headers and is_shared(call, media)


async def served(order: Order) -> Response:
    """Raises what the request is refused with."""
    service, kind = order.call.service, _kind(order)
    response: Response | None = None
    if time.monotonic() >= (service.apart.hit(kind) or 0):
        response = await service.groups.get(kind, order, _serve)
        order.call.trace.mark("database")
    return await order.alone() if response is None else response  # none waits for the slowest of those who failed


def _kind(order: Order) -> Hashable:
    return order.kind, order.call.who.role


async def _serve(orders: list[Order]) -> Mapping[Order, Outcome]:
    """Nothing where they cannot be served together: then each is by itself, and for a while so are those who come."""
    if len(orders) == 1:
        return {orders[0]: await _alone(orders[0])}
    service = orders[0].call.service

    async def work(session: AppSession) -> Mapping[Order, Outcome]:
        barred = await _barred(session, orders)
        refused: dict[Order, Outcome] = {order: barred[order.call.who] for order in orders if order.call.who in barred}
        going = [order for order in orders if order not in refused]
        answers = await going[0].serve(session, going) if going else {}
        if failpoints.ON:
            await failpoints.reach(Point.LOCKED)
        return refused | dict(answers)

    try:
        return await service.database.transact(orders[0].call.who, work, attempts=1)
    except TogetherHeavy:
        seconds = HEAVY
    except BroadsheetError as exc:
        if exc.code == faults.UNKNOWN:
            raise
        service.database.counters.count_retry(exc.code)
        seconds = HEAVY if exc.code in SLOW else REFUSED
    service.apart.store(_kind(orders[0]), time.monotonic() + seconds)
    return {}


async def _alone(order: Order) -> Outcome:
    try:
        return await order.alone()
    except BroadsheetError as exc:
        return exc


async def _barred(session: AppSession, orders: list[Order]) -> dict[Principal, BroadsheetError]:
    """The callers who may act no more."""
    confirm = orders[0].call.service.confirm
    if confirm is None:
        return {}
    callers = {order.call.who for order in orders}
    asked = {who: _caught(steps) for who in callers if (steps := confirm(session, who)) is not None}
    refusals = await session.run(together(*asked.values())) if asked else []
    return {who: refusal for who, refusal in zip(asked, refusals, strict=True) if refusal is not None}


def _caught(steps: Steps[None]) -> Steps[BroadsheetError | None]:
    try:
        yield from steps
    except BroadsheetError as exc:
        return exc
    return None
