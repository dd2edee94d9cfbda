"""A row as it was at one of its versions, rebuilt from its revisions under the rules of the caller.

Whatever a row's history weighs, one value of each column is fetched: the database looks for the last revision that has
the column and cuts its pair out of it. Versions count from the row's last insert, so that a key which was given away
again has the history of its present row alone. Guarded columns are not kept, so they are not part of a past version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Numeric, String, Text, cast, column, func, select
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeEngine

from app.data.audit import BOOKKEEPING, Operation, Revision
from app.data.catalog import Catalog, Resource
from app.data.checks import INT4
from app.data.rules import Links, Principal, Role, Scope, Values, nothing_to_look_up
from app.data.session import AppSession
from app.data.steps import Statement, Steps
from app.query.compiler import Compiler
from app.query.driver import Binds, Prepared, one_of, prepare, slot
from app.query.parents import absent_parent
from app.query.plan import Node, Page, ReadPlan
from app.query.planner import plan_read
from app.query.reader import read
from app.query.statements import statements_of
from app.query.syntax import Field, Filter, Group, OrderTerm, Query
from app.query.values import from_json

ASKED = ("id", "operation", "version", "at", "actor_id")  # of the revisions that a version begins and ends with
NUMBERS = range(1, INT4)  # what versions can be
NEEDED = frozenset({*ASKED, "table_name", "row_id", "changes"})


@dataclass(frozen=True, slots=True)
class Past:
    """A row at `version`. `values` has JSON values by column, and by field the list of what is shown of its links."""

    resource: Resource
    version: int
    values: dict[str, Any]


def sees_revisions(catalog: Catalog, view: Role) -> bool:
    """Whether there can be any revision for this view."""
    if not catalog.exposes(Revision):
        return False
    return set(catalog.of(Revision).rule.readable(view)) >= NEEDED


def shown_columns(resource: Resource, view: Role) -> tuple[str, ...]:
    """What this view sees of a past version: its columns but masked ones, for whose row it was is not known, and
    guarded ones.
    """
    rule = resource.rule
    return tuple(n for n in rule.readable(view) if n not in rule.guarded and rule.mask(n, view) is None)


def link_fields(resource: Resource) -> dict[str, Links]:
    return {name: extra for name, (extra, _) in resource.rule.extra.items() if isinstance(extra, Links)}


# ---- reading --------------------------------------------------------------------------------------------------------


def read_version(
    compiler: Compiler, resource: Resource, who: Principal, now: Any, row_id: str, number: int
) -> Steps[Past | None]:
    """The row at this version, or None where the caller knows of none. Two statements."""
    plan = _ends(compiler, resource.name, row_id, number, who.view)
    found = yield from read(compiler, plan, who, now)
    first = next((f for f in found if _get(f, "operation") == Operation.INSERT), None)
    last = next((f for f in found if _get(f, "version") == number), None)
    if first is None or last is None or _get(last, "id") < _get(first, "id"):
        return None
    columns, links = shown_columns(resource, who.view), link_fields(resource)
    given = (resource.name, row_id, _get(first, "id"), _get(last, "id"), (*columns, *links))
    pairs = yield _latest(compiler, who.view).statement(given, Binds.of(who, now))
    values = {name: msgspec.json.decode(pair)[1] for name, pair in pairs}
    if _get(last, "operation") != Operation.INSERT:
        stamps = {"updated_at": _get(last, "at"), "updated_by": _get(last, "actor_id"), "version": number}
        values |= {name: stamps[name] for name in BOOKKEEPING & set(columns)}
    values |= {name: values.get(name) or [] for name in links}
    return Past(resource, number, values)


def document_of(past: Past, view: Role) -> tuple[ReadPlan, msgspec.Struct]:
    """The row as an item shows it, with the fields of its links behind its columns, and the plan that describes it."""
    resource = past.resource
    columns, links = shown_columns(resource, view), tuple(link_fields(resource))
    values = [_as_shown(resource.columns[name].type, past.values.get(name)) for name in columns]
    node = Node(resource.model, tuple((name, name) for name in columns))
    made = _struct((*columns, *links))(*values, *(past.values[name] for name in links))
    return ReadPlan(resource, node, ()), made


def _get(document: Any, name: str) -> Any:
    return getattr(document, f"f{ASKED.index(name)}")


def _as_shown(type_: TypeEngine[Any], value: Any) -> Any:
    """Revisions keep numerics as texts, with the digits that were given."""
    if value is None or not isinstance(type_, Numeric):
        return value
    typed = from_json(type_, value)
    return msgspec.Raw((f"{typed:f}" if type_.scale is None else f"{typed:.{type_.scale}f}").encode())


@lru_cache(maxsize=256)
def _struct(names: tuple[str, ...]) -> type[msgspec.Struct]:
    fields = [(f"f{i}", Any) for i in range(len(names))]
    return msgspec.defstruct("Row", fields, rename={f"f{i}": name for i, name in enumerate(names)}, gc=False)


# ---- statements -----------------------------------------------------------------------------------------------------


def _ends(compiler: Compiler, table: str, row_id: str, number: int, view: Role) -> ReadPlan:
    """The last insert and the revision that made the version: the newer two of all that may be either."""
    either = Group("or", (Filter("version", "eq", str(number)), Filter("operation", "eq", Operation.INSERT)))
    tests = (
        Filter("table_name", "eq", table),
        Filter("row_id", "eq", row_id),
        Filter("operation", "neq", Operation.PURGE),  # has the version that the row had
        either,
    )
    query = Query(
        tuple(map(Field, ASKED)),
        tuple(((), test) for test in tests),
        {(): (OrderTerm("id", descending=True),)},
    )
    return plan_read(compiler.catalog, compiler.catalog.of(Revision), query, view, compiler.limits, Page(2, 2))


def _latest(compiler: Compiler, view: Role) -> Prepared:
    """(column, its pair of values as JSON text) of the last revision between two ids that has the column."""
    kept = compiler.catalog.compiled
    key = f"history on {compiler.dialect.name} for {view}"
    found = kept.get(key)
    if not isinstance(found, Prepared):
        found = kept[key] = _compile_latest(compiler, view)
    return found


def _compile_latest(compiler: Compiler, view: Role) -> Prepared:
    """The pair is fetched by a subquery of its own: in a join SQLite may read the whole table first."""
    resource, texts = compiler.catalog.of(Revision), String()
    one = aliased(Revision, name="one")
    pair = _pairs(one, "pair")
    where = [
        *resource.conditions(one, Scope.named(view)),
        one.table_name == slot(0, texts),
        one.row_id == slot(1, texts),
        one.id.between(slot(2, BigInteger()), slot(3, BigInteger())),
        one_of(pair.c.key, "v4", texts, sqlite=compiler.sqlite),
    ]
    last = select(pair.c.key, func.max(one.id).label("id")).select_from(one, pair).where(*where)
    found = last.group_by(pair.c.key).subquery("last")
    other = aliased(Revision, name="other")
    cut = _pairs(other, "cut")
    value = select(cast(cut.c.value, Text)).select_from(other, cut).where(other.id == found.c.id)
    value = value.where(cut.c.key == found.c.key).correlate(found)
    return prepare(select(found.c.key, value.scalar_subquery()), compiler.dialect, {"v4": texts})


def _pairs(revision: Any, name: str) -> Any:
    """The keys and values of `changes` as rows; both databases have the function."""
    return func.json_each(revision.changes).table_valued(column("key", String), column("value", Text), name=name)


# ---- the way back ---------------------------------------------------------------------------------------------------


def values_of(past: Past, view: Role) -> Values:
    """What this view may write of the row, as Python values. A column that the version did not have stays as it is.
    Raises BadValue for a value that its column does not take any more.
    """
    resource = past.resource
    names = [name for name in past.values if name in resource.rule.writes(view)]
    columns, links = resource.columns, link_fields(resource)
    return {n: past.values[n] if n in links else from_json(columns[n].type, past.values[n]) for n in names}


async def find_links(session: AppSession, resource: Resource, values: Values) -> None:
    """Puts keys in the place of what is shown of links, where no `find_links` of a rule does. Raises Conflict 23503."""
    if resource.rule.find_links is not nothing_to_look_up:
        return
    for field, extra in link_fields(resource).items():
        if values.get(field):
            values[field] = await _keys_of(session, resource, extra, values[field])


async def _keys_of(session: AppSession, resource: Resource, extra: Links, names: Sequence[Any]) -> list[Any]:
    relation = resource.relations[extra.relation]
    target = session.catalog.of(relation.target)
    named = statements_of(session).named(target, session.unit.who.view, extra.shown)
    wanted = named.statement((), Binds.of(session.unit.who, session.unit.now), sorted(names))
    found = dict(await session.run(_rows(wanted)))
    if absent := sorted(set(names) - found.keys()):
        assert relation.secondary is not None
        raise absent_parent(relation.secondary.c[relation.far], target, absent[0])
    return [found[name] for name in names]


def _rows(statement: Statement) -> Steps[Sequence[Any]]:
    return (yield statement)
