"""Calls of one function that returns a row, in one unit of work: all are made at once, then all rows are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from app.data.session import AppSession
from app.data.steps import Steps, together
from app.errors import BroadsheetError
from app.http.context import Trace
from app.http.grouping import Order, Outcome
from app.query.functions import Action
from app.query.plan import ReadPlan
from app.query.reader import read_each


@dataclass(frozen=True, slots=True)
class Asked:
    """One call; its row is read by `plan`, and `show` makes the answer of the documents, one or none."""

    action: Action
    arguments: Mapping[str, Any]
    plan: ReadPlan
    show: Callable[[list[Any]], Response]


async def call_all(session: AppSession, orders: list[Order]) -> Mapping[Order, Outcome]:
    """What one is refused changes nothing for the others."""
    group = orders[0].given.action.group
    made = await session.run(group(session, [(order.call.who, order.given.arguments) for order in orders]))
    results = dict(zip(orders, made, strict=True))
    refused = {order: result for order, result in results.items() if isinstance(result, BroadsheetError)}
    keys = {order: result for order, result in results.items() if order not in refused}
    return refused | (await session.run(_shown(session, keys)) if keys else {})


def _shown(session: AppSession, keys: Mapping[Order, Any]) -> Steps[dict[Order, Outcome]]:
    """Callers of the same rights who ask in the same way are read for together."""
    alike: dict[Any, list[Order]] = {}
    for order in keys:
        plan = order.given.plan
        alike.setdefault((plan.node, plan.values, order.call.who), []).append(order)
    trace, shown = Trace(""), dict[Order, Outcome]()
    reads = [_read(session, same, [keys[order] for order in same]) for same in alike.values()]
    found = yield from together(*map(trace.counted, reads))
    for same, documents in zip(alike.values(), found, strict=True):
        for order in same:
            document = documents.get(keys[order])
            shown[order] = order.given.show([] if document is None else [document])
            order.call.trace.statements += trace.statements
    return shown


def _read(session: AppSession, same: list[Order], keys: list[Any]) -> Steps[Any]:
    call, plan = same[0].call, same[0].given.plan
    return read_each(call.service.compiler, plan, call.who, session.unit.now, keys)
