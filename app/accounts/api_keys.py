"""Named API keys: made, listed, rotated, revoked, and found again by what a caller sends. Each is shown once; the
database has its SHA-256.

A key of kind `user` acts as its user, with the role that the database says. Refused are names that are taken, scopes
that name nothing, and in use keys that are unknown, revoked or expired, or whose user may not sign in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, Select, insert, or_, select, update

from app.accounts import FRESH, events
from app.accounts.keys import KINDS, fingerprint, is_complete, load_keys, make_key, replace_keys
from app.accounts.scopes import checked
from app.accounts.standing import is_barred
from app.accounts.vault import hash_of
from app.data.database import Database
from app.data.rules import SYSTEM, Principal, Role
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import BadValue, BroadsheetError, Conflict, Forbidden, NotFound, Unauthorized
from app.models import ApiKey, KeyKind, User
from app.models.names import clean_name
from app.query.driver import Lru, prepare, slot
from app.query.statements import statements_of

log = logging.getLogger(__name__)

KEPT = 10_000  # keys
QUIET = 60.0  # seconds between two events about the use of one revoked key
AT_ONCE = timedelta(0)
RESERVED = (*KINDS, "signing")  # what `rotate` calls the keys that are no named ones

KEYS: Any = ApiKey.__table__
USERS: Any = User.__table__
SHOWN = ("username", "role", "is_active", "banned_until", "deleted_at")  # of a key's user


class State(StrEnum):
    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"
    BARRED = "barred"  # its user is banned, inactive or gone
    UNKNOWN = "unknown"


REFUSALS = {
    State.EXPIRED: "this key has expired",
    State.REVOKED: "this key was revoked",
    State.BARRED: "the user of this key may not sign in",
    State.UNKNOWN: "this key is not known",
}
ROLES = {KeyKind.PUBLISHABLE: Role.ANONYMOUS, KeyKind.SECRET: Role.SERVICE}


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a key that was sent. `key_id` is its fingerprint; without `scopes` it is not narrowed."""

    state: State
    id: int | None = None
    kind: KeyKind | None = None
    key_id: str | None = None
    user_id: int | None = None
    role: Role = Role.ANONYMOUS
    scopes: frozenset[str] | None = None

    @property
    def principal(self) -> Principal:
        """Raises Unauthorized unless the key is live."""
        if self.state is not State.LIVE:
            raise Unauthorized(REFUSALS[self.state], hint="See the keys with: broadsheet keys list")
        return Principal(self.role, self.user_id, self.key_id, self.scopes)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as lists show it. One whose `revoked_at` lies in the future is in the grace of a rotation."""

    id: int
    name: str
    kind: KeyKind
    fingerprint: str
    scopes: list[str] | None
    user: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    state: State


UNKNOWN = Found(State.UNKNOWN)
SAME = ("id", "name", "kind", "scopes", "created_at", "expires_at", "revoked_at")  # in a KeyInfo and in a row

# ---- found by what was sent -----------------------------------------------------------------------------------------


class ApiKeys:
    """The named keys as a running service asks for them. It remembers them for seconds, those that do not exist too."""

    def __init__(self) -> None:
        self._kept: Lru[tuple[datetime, Any]] = Lru(KEPT)
        self._noted: Lru[datetime] = Lru(KEPT)

    async def principal(self, key: str, database: Database) -> Principal:
        """Who the holder of this key is. Raises Unauthorized."""
        return (await self.find(database, key)).principal

    async def find(self, database: Database, key: str) -> Found:
        """One statement at most; none for a text that is no key. The use of a revoked key becomes an event."""
        if not is_complete(key, *KINDS):
            return UNKNOWN
        hashed, now = hash_of(key), database.clock()
        kept = self._kept.hit(hashed)
        if kept is None or not _within(FRESH, kept[0], now):
            async with database.reading(SYSTEM) as session:
                kept = now, (await session.execute(_rows().where(KEYS.c.key_hash == hashed))).one_or_none()
            self._kept.store(hashed, kept)
        found = UNKNOWN if kept[1] is None else _found(kept[1], now)
        if found.state is State.REVOKED:
            await self._note(database, found, now)
        return found

    async def _note(self, database: Database, found: Found, now: datetime) -> None:
        """The caller is refused whether or not the event can be written."""
        before = self._noted.hit(found.id)
        if before is not None and _within(QUIET, before, now):
            return
        self._noted.store(found.id, now)
        try:
            kind = events.Kind.revoked_key_used
            await events.record_alone(database, SYSTEM, kind, subject=f"key {found.id}", key_id=found.key_id)
        except BroadsheetError as exc:
            log.warning("the use of a revoked key could not be recorded", extra={"key": found.id, "code": exc.code})


def confirm(session: AppSession, who: Principal) -> Steps[None]:
    """Inside the transaction of a write, of the holder of a user's key: raises Unauthorized for a key that works no
    more, Forbidden where the user's role is another one than the request was read for.
    """
    assert who.key_id is not None
    statements = statements_of(session)
    prepared = statements.once("key in use", lambda: prepare(_in_use(), statements.dialect, {}))
    first, beyond = who.key_id, who.key_id + "g"  # hexadecimal digits end with f
    found = UNKNOWN
    for row in (yield prepared.statement((first, beyond, who.user_id))):
        key = statements.reader(KEYS)(row) | statements.reader(USERS, SHOWN)(row[len(KEYS.columns) :])
        found = _found(SimpleNamespace(**key), session.unit.now)
    if found.principal.role is not who.role:
        raise Forbidden("your role was changed", hint="Send the request again.")


def _within(seconds: float, then: datetime, now: datetime) -> bool:
    """Also false for a clock that was set back."""
    return 0 <= (now - then).total_seconds() < seconds


def _rows() -> Select[Any]:
    user = [USERS.c[name] for name in SHOWN]
    return select(KEYS, *user).select_from(KEYS.outerjoin(USERS, KEYS.c.user_id == USERS.c.id))


def _in_use() -> Select[Any]:
    """The key of a user whose hash lies between two others."""
    hashed, user_id = KEYS.c.key_hash, KEYS.c.user_id
    between = (hashed >= slot(0, hashed.type), hashed < slot(1, hashed.type))
    return _rows().where(*between, user_id == slot(2, user_id.type))


def _found(row: Any, now: datetime) -> Found:
    role = Role(row.role.value) if row.kind is KeyKind.USER and row.role is not None else ROLES.get(row.kind)
    scopes = None if row.scopes is None else frozenset(row.scopes)
    return Found(
        _state(row, now), row.id, row.kind, fingerprint(row.key_hash), row.user_id, role or Role.ANONYMOUS, scopes
    )


def _state(row: Any, now: datetime) -> State:
    if row.revoked_at is not None and row.revoked_at <= now:
        return State.REVOKED
    if row.expires_at is not None and row.expires_at <= now:
        return State.EXPIRED
    gone = row.deleted_at is not None
    if row.kind is KeyKind.USER and (gone or is_barred(row.is_active, row.banned_until, now)):
        return State.BARRED
    return State.LIVE


# ---- made, listed, rotated, revoked ---------------------------------------------------------------------------------


async def create(
    session: AppSession,
    name: str,
    kind: KeyKind,
    *,
    user_id: int | None = None,
    scopes: Iterable[str] | None = None,
    expires_at: datetime | None = None,
) -> str:
    """The new key, which can never be shown again. Raises BadValue, Conflict."""
    name = _clean(name)
    if (kind is KeyKind.USER) is (user_id is None):
        raise BadValue("a key has a user exactly when its kind is user", code="22023")
    if expires_at is not None and expires_at <= session.unit.now:
        raise BadValue("a key cannot expire before it is made", code="22023")
    granted = None if scopes is None else sorted(checked(scopes, session.catalog))
    await _take_turn(session, name)
    if await _unrevoked(session, name) is not None:
        hint = f"Give another name, or see: broadsheet keys rotate {name}"
        raise Conflict(f"there is a key called {name} already", hint=hint)
    values = {"name": name, "kind": kind, "user_id": user_id, "scopes": granted, "expires_at": expires_at}
    key, id = await _insert(session, values)
    await _record(session, events.Kind.key_created, id, values)
    return key


async def present(session: AppSession) -> list[KeyInfo]:
    """Every key, the revoked ones too, by id."""
    now = session.unit.now
    rows = await session.execute(_rows().order_by(KEYS.c.id))
    return [_info(row, now) for row in rows]


async def revoke(session: AppSession, name_or_id: str) -> list[int]:
    """Ends the key with this id, or each one of this name, in a rotation's grace or not. Raises NotFound."""
    now, text = session.unit.now, name_or_id.strip()
    works = or_(KEYS.c.revoked_at.is_(None), KEYS.c.revoked_at > now)
    change = update(KEYS).where(_called(text), works).values(revoked_at=now)
    rows = (await session.execute(change.returning(KEYS.c.id, KEYS.c.name, KEYS.c.kind))).all()
    if not rows:
        raise _missing(text)
    for row in rows:
        await _record(session, events.Kind.key_revoked, row.id, row._mapping)
    return sorted(row.id for row in rows)


async def rotate(session: AppSession, name: str, grace: timedelta = AT_ONCE) -> str:
    """A new key with the name, kind, scopes and user of the old one, which works on through the grace. It lives as long
    as the old one was made to live. Raises NotFound.
    """
    name = clean_name(name)
    await _take_turn(session, name)
    old = await _unrevoked(session, name)
    if old is None:
        raise _missing(name)
    now = session.unit.now
    expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
    values = {"name": name, "kind": old.kind, "user_id": old.user_id, "scopes": old.scopes, "expires_at": expires_at}
    await session.execute(update(KEYS).where(KEYS.c.id == old.id).values(revoked_at=now + grace))
    key, id = await _insert(session, values)
    await _record(session, events.Kind.key_rotated, id, values, replaced=old.id, grace=grace)
    return key


async def rotate_first(session: AppSession, data_dir: Path, kind: str, grace: timedelta = AT_ONCE) -> str:
    """A new first-run key of this kind. The old one becomes a revoked key, so that its use is noticed, or works on
    through the grace. The file is replaced last, so that nothing is lost where the database refuses. Raises BadSetting.
    """
    await _take_turn(session, "first run")
    keys, now = load_keys(data_dir), session.unit.now
    old = hash_of(getattr(keys, kind))
    key = make_key(kind)
    known = await session.scalar(select(KEYS.c.id).where(KEYS.c.key_hash == old))  # of a file put back from a copy
    values = {"name": f"{kind} (first run)", "kind": KeyKind(kind), "created_at": now, "revoked_at": now + grace}
    if known is None:
        made = await session.execute(insert(KEYS).values(**values, key_hash=old).returning(KEYS.c.id))
        known = made.scalar_one()
    else:
        await session.execute(update(KEYS).where(KEYS.c.id == known).values(revoked_at=now + grace))
    await _record(session, events.Kind.key_rotated, known, values, grace=grace)
    replace_keys(data_dir, replace(keys, **{kind: key}))
    return key


# ---- parts ----------------------------------------------------------------------------------------------------------


def _clean(name: str) -> str:
    """Names that are numbers would be taken for ids."""
    name = clean_name(name)
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise BadValue("the name of a key has 1 to 100 printable characters", code="22023")
    if name.isdigit() or name in RESERVED:
        raise BadValue(f"a key cannot be called {name}", code="22023", hint="Say what it is for.")
    return name


def _info(row: Any, now: datetime) -> KeyInfo:
    same = {name: row._mapping[KEYS.c[name]] for name in SAME}
    return KeyInfo(fingerprint=fingerprint(row.key_hash), user=row.username, state=_state(row, now), **same)


def _called(name_or_id: str) -> ColumnElement[bool]:
    if name_or_id.isascii() and name_or_id.isdigit() and len(name_or_id) <= 18:  # fits a BIGINT
        return KEYS.c.id == int(name_or_id)  # type: ignore[no-any-return]  # of a table typed as Any
    return KEYS.c.name == clean_name(name_or_id)  # type: ignore[no-any-return]


async def _take_turn(session: AppSession, name: str) -> None:
    """Names are unique among the keys that are not revoked; nobody else may take this one meanwhile."""
    await session.take_turns(f"api key {name}")


async def _unrevoked(session: AppSession, name: str) -> Any:
    query = select(KEYS).where(KEYS.c.name == name, KEYS.c.revoked_at.is_(None)).with_for_update()
    return (await session.execute(query)).one_or_none()


async def _insert(session: AppSession, values: dict[str, Any]) -> tuple[str, int]:
    key = make_key("publishable" if values["kind"] is KeyKind.PUBLISHABLE else "secret")
    unit = session.unit
    row = {**values, "key_hash": hash_of(key), "created_at": unit.now, "created_by": unit.who.user_id}
    return key, (await session.execute(insert(KEYS).values(row).returning(KEYS.c.id))).scalar_one()


async def _record(
    session: AppSession,
    kind: events.Kind,
    id: int,
    key: Any,
    *,
    replaced: int | None = None,
    grace: timedelta | None = None,
) -> None:
    details: dict[str, Any] = {"name": key["name"], "kind": key["kind"].value}
    if key.get("scopes") is not None:
        details["scopes"] = key["scopes"]
    if replaced is not None:
        details["replaced"] = replaced
    if grace is not None:
        details["grace"] = int(grace.total_seconds())
    await events.record(session, kind, subject=f"key {id}", details=details)


def _missing(name: str) -> NotFound:
    if name in KINDS:
        hint = f"The first-run keys are not revoked but replaced: broadsheet keys rotate {name}"
    else:
        hint = "See the keys with: broadsheet keys list"
    return NotFound(f"no key that works is called {name[:100]}", code="BRD404", hint=hint)
