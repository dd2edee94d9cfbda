"""Runs compiled reads: the root's rows, then each embed by its parents' keys. Steps do no input or output
themselves (`data/steps.py`).

What a person with the admin's view reads comes by statements that tell which rows are to be recorded (`Noting`). Who
runs the steps collects them; nothing is recorded here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import msgspec

from app.data.rules import Principal, Role
from app.data.session import AppSession
from app.data.steps import Statement, Steps, together
from app.errors import BadQuery
from app.query.compiler import Compiler, Part
from app.query.driver import Binds
from app.query.encoder import documents_of
from app.query.outputs import Note
from app.query.plan import ReadPlan
from app.query.weight import Level, is_light, refuse_heavy
from app.settings import Limits


@dataclass(frozen=True, slots=True)
class Result:
    """A page of documents. `total` is None where no count was asked; `cursor`, where the page is full, the JSON values
    by which the next one begins.
    """

    rows: list[Any]
    total: int | None = None
    cursor: tuple[Any, ...] | None = None


@dataclass(slots=True)
class Noted:
    """What was read of one table and is to be recorded: the keys of rows, in the order of reading, and how many more
    rows came only as a part of groups.
    """

    keys: dict[Any, None] = field(default_factory=dict)
    grouped: int = 0

    @property
    def rows(self) -> int:
        return len(self.keys) + self.grouped


FEW = 4  # rows whose embeds travel together; those of more take as long to read as a journey costs
NOTED = "noted"  # where a session's `info` has what was read by table


def note(session: AppSession, table: str, keys: Iterable[Any]) -> None:
    """For functions that read such rows by statements of their own; without effect where nobody records."""
    noted: dict[str, Noted] | None = session.info.get(NOTED)
    if noted is not None:
        noted.setdefault(table, Noted()).keys.update(dict.fromkeys(keys))


class Noting(Statement):
    """A statement whose rows tell which of them are to be recorded, in column `at`."""

    note: Note
    at: int

    def collect(self, rows: Sequence[Any], noted: dict[str, Noted]) -> None:
        """Adds the rows to what was read of their table. One that came several times is one row."""
        found = [row[self.at] for row in rows if row[self.at] is not None]
        keys, grouped = ([], sum(found)) if self.note.grouped else (found, 0)
        if keys or grouped:
            of_table = noted.setdefault(self.note.table, Noted())
            of_table.keys |= dict.fromkeys(keys)
            of_table.grouped += grouped


def read(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, *, shown: bool = True) -> Steps[list[Any]]:
    """The documents of a plan. 1 + (number of embeds with a parent) statements, whatever the number of rows. Rows that
    are not `shown` to the caller are not noted.
    """
    part = compiler.read(plan.node, who.view, noting=shown and _noting(who))
    _, documents = yield from _run(compiler, part, plan, Binds.of(who, now), None)
    return documents  # type: ignore[no-any-return]


def read_page(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, *, count: bool = False) -> Steps[Result]:
    """The same with what the next page needs, and one statement more for the total. A total smaller than what is
    shown is raised to it.
    """
    part = compiler.read(plan.node, who.view, noting=_noting(who))
    rows, documents = yield from _run(compiler, part, plan, Binds.of(who, now), None)
    full = rows and part.cursor and len(rows) == plan.value(plan.node.limit)
    cursor = tuple(_plain(rows[-1][at], convert) for at, convert in part.cursor) if full else None
    total = None
    if count:
        counted = yield from read_total(compiler, plan, who, now)
        shown = (plan.value(plan.node.offset) or 0) + len(rows) if rows and not plan.node.after else 0
        total = max(counted, shown)
    return Result(documents, total, cursor)


def read_total(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any) -> Steps[int]:
    """The number of rows that match, whatever the page."""
    rows = yield compiler.total(plan.node, who.view).statement(plan.values_at(now), Binds.of(who, now))
    return int(rows[0][0])


def read_keyed(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, keys: Sequence[Any]) -> Steps[list[Any]]:
    """The documents of rows given by their primary keys, in that order; rows that the caller may not see are left
    out.
    """
    part = compiler.keyed(plan.node, who.view, noting=_noting(who))
    _, found = yield from _run(compiler, part, plan, Binds.of(who, now), list(keys))
    return documents_of(keys, found)


class TogetherHeavy(Exception):
    """Documents that are read together are more than one answer may hold; each may still be small enough."""


def read_each(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, keys: Sequence[Any]) -> Steps[Any]:
    """The documents of rows by their keys, a dict, for several answers. Raises TogetherHeavy. Nothing is noted."""
    part, binds = compiler.keyed(plan.node, who.view), Binds.of(who, now)
    values = plan.values_at(now)
    rows = yield _statement(part, values, binds, list(keys))
    try:
        level = yield from _fetch(part, rows, values, binds, 1, compiler.limits)
    except BadQuery as exc:  # too many rows in one statement
        raise TogetherHeavy from exc
    if not is_light(level, compiler.limits):
        raise TogetherHeavy
    return _build(part, level)


def lock_keys(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, *, lock: bool = True) -> Steps[list[Any]]:
    """The primary keys of the rows that a plan names and the caller may write, ascending and locked: at most one
    more than a write may take.
    """
    prepared = compiler.locking(plan.node, who.view, lock=lock)
    rows = yield prepared.statement(plan.values_at(now), Binds.of(who, now))
    return [row[0] for row in rows]


def _noting(who: Principal) -> bool:
    """Keys and the system have the admin's view too, and answer for themselves."""
    return who.role is Role.ADMIN


def _plain(value: Any, convert: Any) -> Any:
    """A cursor's value as JSON that can be read back by the column's type."""
    if value is None:
        return None
    shown = value if convert is None else convert(value)
    return bytes(shown).decode() if isinstance(shown, msgspec.Raw) else msgspec.to_builtins(shown)


def _run(compiler: Compiler, part: Part, plan: ReadPlan, who: Binds, keys: list[Any] | None) -> Steps[tuple[Any, Any]]:
    """Fetches every level, looks at what they weigh together, and builds the documents."""
    values = plan.values_at(who.now)
    rows = yield _statement(part, values, who, keys)
    level = yield from _fetch(part, rows, values, who, 0 if keys is None else 1, compiler.limits)
    refuse_heavy(level, compiler.limits)
    return rows, _build(part, level)


def _fetch(
    part: Part, rows: Sequence[Any], values: Sequence[Any], who: Binds, skip: int, limits: Limits
) -> Steps[Level]:
    """The rows of a statement with those of the embeds below it. `skip` is 1 where the first column is the key."""
    level = Level(rows, part.wide, [], skip)
    if len(rows) > limits.answer_rows:
        refuse_heavy(level, limits)
    if len(rows) <= FEW and len(part.kids) > 1:
        kids = yield from together(*[_kid(kid, rows, at + skip, values, who, limits) for kid, at in part.kids])
        level.kids += zip(kids, [at for _, at in part.kids], strict=True)
    else:
        for kid, at in part.kids:
            level.kids.append(((yield from _kid(kid, rows, at + skip, values, who, limits)), at))
    return level


def _kid(
    part: Part, parents: Sequence[Any], at: int, values: Sequence[Any], who: Binds, limits: Limits
) -> Steps[Level]:
    """An embed of these rows, which have its keys in column `at`."""
    keys = set(map(itemgetter(at), parents))
    keys.discard(None)
    rows: Sequence[Any] = (yield _statement(part, values, who, list(keys))) if keys else ()
    return (yield from _fetch(part, rows, values, who, 1, limits))


def _statement(part: Part, values: Sequence[Any], who: Binds, keys: list[Any] | None) -> Statement:
    """The rows of one by keys begin with a key."""
    statement = part.prepared.statement(values, who, keys)
    if part.note is None:
        return statement
    noting = Noting(*statement)
    noting.note, noting.at = part.note, part.note.at + (keys is not None)
    return noting


def _build(part: Part, level: Level) -> Any:
    """The documents of a level: a list for the root, a dict by key for embeds."""
    return part.build(
        level.rows, *[_build(kid, below) for (kid, _), (below, _) in zip(part.kids, level.kids, strict=True)]
    )
