"""Who asks (Principal) and what they may see and do (Rule): one Rule for each model, default deny.

A rule's row tests are SQL (`visible`, `owned`, `writable`) so that they apply beneath every query, and Python
(`admits`) for a row as it will be after a write. Its columns say by role who reads and who writes them; a column that
a role may not read does not exist for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, bindparam, literal

from app.data.base import UtcTime
from app.data.steps import Steps

if TYPE_CHECKING:
    from app.data.session import AppSession


class Role(StrEnum):
    ANONYMOUS = "anonymous"
    MEMBER = "member"
    AUTHOR = "author"
    ADMIN = "admin"
    SERVICE = "service"
    SYSTEM = "system"

    @property
    def view(self) -> Role:
        """The role whose rules apply: keys and the system see and write what an admin does."""
        return Role.ADMIN if self in (Role.SERVICE, Role.SYSTEM) else self


VIEWS = (Role.ANONYMOUS, Role.MEMBER, Role.AUTHOR, Role.ADMIN)
EVERYONE = frozenset(VIEWS)
SIGNED_IN = EVERYONE - {Role.ANONYMOUS}
AUTHORS = frozenset({Role.AUTHOR, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})
NOBODY: frozenset[Role] = frozenset()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `user_id` is set for users, `key_id` (a fingerprint, not the key) for keys; both go into revisions.
    `scopes` narrow what the rules allow (`data/scopes.py`; None: not at all), `session` is the sign-in of a token.
    """

    role: Role
    user_id: int | None = None
    key_id: str | None = None
    scopes: frozenset[str] | None = None
    session: UUID | None = None

    @property
    def view(self) -> Role:
        return self.role.view


ANONYMOUS = Principal(Role.ANONYMOUS)
SERVICE = Principal(Role.SERVICE)
SYSTEM = Principal(Role.SYSTEM)


def user(user_id: int, role: Role | str = Role.MEMBER) -> Principal:
    """A signed-in user: `role` is member, author or admin."""
    return Principal(Role(role), user_id)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a row test may use: the view, the caller's id and the present, as SQL."""

    view: Role
    me: ColumnElement[Any]
    now: ColumnElement[Any]

    @classmethod
    def of(cls, who: Principal, now: datetime) -> Scope:
        """With the values in place, for statements that run once."""
        me = literal(-1 if who.user_id is None else who.user_id, BigInteger())
        return cls(who.view, me, literal(now, UtcTime()))

    @classmethod
    def named(cls, view: Role) -> Scope:
        """With binds `:me` and `:now`, for statements that are compiled once and run often."""
        me = bindparam("me", None, type_=BigInteger(), required=False)
        return cls(view, me, bindparam("now", None, type_=UtcTime(), required=False))


# A row test: SQL over an entity (a mapped class or an alias of it); None lets every row pass. Its docstring says which
# rows pass, in words for `docs/rules.md`.
Test = Callable[[Any, Scope], ColumnElement[bool] | None]
Row = Mapping[str, Any]
Values = dict[str, Any]


def everything(entity: Any, scope: Scope) -> ColumnElement[bool] | None:
    """every row"""
    return None


def nothing(entity: Any, scope: Scope) -> ColumnElement[bool] | None:
    """no row, but for admins"""
    return literal(value=False)


@dataclass(frozen=True, slots=True)
class Column:
    """Access to one column: who reads it, who writes it, and which rows keep it unmasked for those without the
    admin's view.
    """

    read: frozenset[Role] = NOBODY
    write: frozenset[Role] = NOBODY
    unmasked: Test | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """A write-only field that replaces a many-to-many relation: a list of ids after `find_links`. Revisions show the
    far rows' `shown` column.
    """

    relation: str
    shown: str


@dataclass(frozen=True, slots=True)
class Owned:
    """A write-only field kept in a one-to-one table: a dict of that table's columns after `resolve`. Never shown in
    revisions.
    """

    relation: str


Prepare = Callable[[Row | None, Values, Principal, datetime], Values]
Pairs = list[tuple["Row | None", "Values"]]  # (old row or None, new values), one for each row of a write
Resolve = Callable[["AppSession", Pairs, Principal, datetime], Awaitable[None]]
Look = Callable[["AppSession", Pairs], Steps[None]]


def as_given(old: Row | None, values: Values, who: Principal, now: datetime) -> Values:
    return values


async def nothing_to_resolve(session: AppSession, pairs: Pairs, who: Principal, now: datetime) -> None:
    return None


def nothing_to_look_up(session: AppSession, pairs: Pairs) -> Steps[None]:
    yield from ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Everything the machinery must know about one model.

    `columns` names every mapped column; `extra` the write-only fields of a payload and who may send them. `visible`
    limits rows for reading, `writable` the rows that a caller may change, `admits` the rows as they will be; `owned`
    says whose soft-deleted rows a caller may ask for. `inserts` and `removes` are the views that may add and remove
    rows at all; `joining` names fields that everybody may give to a new row, besides those that they write.

    `noted` names the rows whose reading by a person with the admin's view is recorded: those that only this view shows.
    A row for which it says NULL is one of them. The key of such a table is one column.

    `prepare(old, values, who, now)` is pure: it normalises, defaults and refuses one row (`old` is None for a new
    one, `values` only what was given). `resolve(session, pairs, who, now)` runs after it, over all rows of a write at
    once, where more than the row must be known; it changes the new values in place. So do `find_links`, which puts ids
    in the place of what `Links` are called, and `fill`, which gives new rows the required columns `fills` that they
    lack: both are steps, and run at the same time as the other look-ups of the write.

    `cascades` names to-many relations whose rows are soft-deleted, restored and purged with this one; `touches`
    many-to-many relations whose far rows count as changed when this row is removed; `drops` one-to-many relations whose
    rows are deleted for good when it is removed. `keeps` names relations whose rows outlive a purge: then `retire(old)`
    gives the values that anonymise the row instead. `guarded` columns change only through actions and take no part in
    versions. `maps_columns` names a JSON column that maps column names of
    the table named by another column: readers see only their own columns. `search` names the field
    under which full-text operators look into the row.
    """

    columns: Mapping[str, Column]
    extra: Mapping[str, tuple[Links | Owned, frozenset[Role]]] = field(default_factory=dict)
    visible: Test = everything
    writable: Test = nothing
    owned: Test = nothing
    noted: Test | None = None
    admits: Callable[[Principal, Row], bool] = lambda who, row: who.view is Role.ADMIN
    inserts: frozenset[Role] = NOBODY
    joining: frozenset[str] = frozenset()
    removes: frozenset[Role] = NOBODY
    prepare: Prepare = as_given
    resolve: Resolve = nothing_to_resolve
    find_links: Look = nothing_to_look_up
    fill: Look = nothing_to_look_up
    fills: frozenset[str] = frozenset()
    may_remove: Callable[[Row], None] = lambda old: None
    cascades: tuple[str, ...] = ()
    touches: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    retire: Callable[[Row], Values] | None = None
    revised: bool = False
    guarded: frozenset[str] = frozenset()
    maps_columns: tuple[str, str] | None = None
    search: str | None = None
    _written: dict[tuple[Role, bool], frozenset[str]] = field(default_factory=dict, init=False, compare=False)

    def readable(self, view: Role) -> tuple[str, ...]:
        """Column names that exist for this view, in the model's order."""
        return tuple(name for name, column in self.columns.items() if view in column.read)

    def writes(self, view: Role, *, new: bool = False) -> frozenset[str]:
        """Payload fields that this view may send, for a `new` row or for one that is there."""
        found = self._written.get((view, new))
        if found is None:
            found = self._written[view, new] = self._writes(view, new=new)
        return found

    def _writes(self, view: Role, *, new: bool) -> frozenset[str]:
        fields = {name for name, column in self.columns.items() if view in column.write}
        fields |= {name for name, (_, roles) in self.extra.items() if view in roles}
        return frozenset(fields | self.joining) if new and view in self.inserts else frozenset(fields)

    def mask(self, name: str, view: Role) -> Test | None:
        """The row test under which this view sees the column's value, or None where it always does."""
        return None if view is Role.ADMIN else self.columns[name].unmasked
