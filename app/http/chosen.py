"""Rows that a function returned by their keys, asked for like a table: filtered, ordered, paged and shaped by the query
string. Without an order they come in the function's.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from app.data.catalog import Resource
from app.data.steps import Steps
from app.http.context import Call
from app.http.plans import LONGEST, caller, with_keys
from app.query.plan import ReadPlan
from app.query.planner import plan_keyed, plan_read, require_embeds
from app.query.reader import Result, read, read_keyed, read_page
from app.query.syntax import Embed, Field, Filter, Query, SelectItem
from app.query.values import ZONE


@dataclass(frozen=True, slots=True)
class Chosen:
    """How such rows are read. `whole`: by one plan with the keys as its first filter, which orders and pages them;
    else `shown` reads them by their keys, after `kept`, if there is one, has found those that pass the filters.
    """

    shown: ReadPlan
    whole: bool
    kept: ReadPlan | None
    offset: int
    limit: int

    @property
    def is_plain(self) -> bool:
        """Whether one row is shown as soon as the caller may see it."""
        return not self.whole and self.kept is None and self.offset == 0 and self.limit > 0


def chosen_plan(call: Call, resource: Resource, query: Query) -> Chosen:
    """Raises BadQuery for names, Forbidden for embeds outside of the caller's scopes (the rows themselves are the
    function's), BRD429 where the caller asks for too many new shapes. Kept for the next call that asks the same, where
    the query string says nothing but that.
    """
    raw: bytes = call.request.scope["query_string"]
    if call.method != "POST" or len(raw) > LONGEST:
        return _planned(call, resource, query)
    plans = call.service.plans.exact
    key = ("chosen", call.surface.name, resource.name, raw, call.who.role, ZONE.get())
    found: Chosen | None = plans.hit(key)
    if found is None:
        found = plans.store(key, _planned(call, resource, query))
    elif call.who.scopes is not None:
        require_embeds(call.who, call.service.catalog, found.shown.node)
    return found


def _planned(call: Call, resource: Resource, query: Query) -> Chosen:
    catalog, limits, view = call.service.catalog, call.limits, call.who.view
    page = call.surface.page(call.who, limits)
    among = replace(query, conditions=(((), Filter(resource.key[0], "in", ())), *query.conditions))
    shown = plan_read(catalog, resource, among, view, limits, page)
    require_embeds(call.who, catalog, shown.node)
    offset, limit = shown.value(shown.node.offset) or 0, shown.value(shown.node.limit)
    kept = None
    whole = () in query.orders or shown.node.grouped
    if not whole:
        shown = plan_keyed(catalog, resource, query, view, limits)
        if _restricts(query):
            bare = replace(among, select=(Field(resource.key[0]), *_embeds(query.select)))
            kept = plan_read(catalog, resource, bare, view, limits, page=None)
    shapes: list[Hashable] = [(plan.node, view, "chosen", whole) for plan in (shown, kept) if plan is not None]
    call.service.allowance.spend(partial(caller, call), shapes)
    return Chosen(shown, whole, kept, offset, limit)


def read_chosen(call: Call, chosen: Chosen, keys: Sequence[Any], now: datetime, *, count: bool) -> Steps[Result]:
    """One page of the rows with these keys. The total is that of all that pass the filters."""
    compiler, who = call.service.compiler, call.who
    if chosen.whole:
        return (yield from read_page(compiler, with_keys(chosen.shown, list(keys)), who, now, count=count))
    if chosen.kept is not None:
        documents = yield from read(compiler, with_keys(chosen.kept, list(keys)), who, now, shown=False)
        passing = {getattr(document, document.__struct_fields__[0]) for document in documents}
        keys = [key for key in keys if key in passing]
    page = keys[chosen.offset : chosen.offset + chosen.limit]
    rows = yield from read_keyed(compiler, chosen.shown, who, now, page)
    return Result(rows, len(keys) if count else None)


def _restricts(query: Query) -> bool:
    return any(not path for path, _ in query.conditions) or any(isinstance(e, Embed) and e.inner for e in query.select)


def _embeds(select: tuple[SelectItem, ...]) -> tuple[Embed, ...]:
    """The embeds without their columns: they are tested, and answer nothing."""
    found = (item for item in select if isinstance(item, Embed))
    return tuple(replace(item, items=_embeds(item.items), spread=False) for item in found)
