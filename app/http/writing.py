"""What all writes share: how one is asked for, run and answered.

Each is one unit of work: its answer is made inside and sent after the commit, so an answer that cannot be given
(PGRST116, PGRST124) leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from app.data import audit
from app.data.base import Versioned
from app.data.catalog import Resource
from app.data.rules import Values
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import BadQuery, BroadsheetError
from app.http.context import Call, Work
from app.http.fields import Manner
from app.http.idempotency import respond
from app.http.media import Media, media_of, refuse_not_one, render
from app.http.plans import Planned, with_keys
from app.http.preferences import Prefer
from app.http.request import expected_versions
from app.http.response import answer
from app.query.plan import Cond, ReadPlan
from app.query.reader import read, read_keyed
from app.query.writer import refuse_stale


@dataclass(frozen=True, slots=True)
class Write:
    """A write request after its preferences and media type are settled."""

    call: Call
    planned: Planned
    prefer: Prefer
    media: Media
    keyed: bool = False

    @property
    def resource(self) -> Resource:
        return self.planned.resource

    @property
    def returns(self) -> str:
        """A DELETE answers nothing unless asked, on both surfaces."""
        default = "minimal" if self.call.method == "DELETE" else self.call.surface.returns
        return self.prefer.returns or default

    @property
    def shows(self) -> bool:
        return self.returns == "representation"

    @property
    def _may_undo(self) -> bool:
        return self.call.service.settings.allow_rollback and self.call.unit is None

    @property
    def is_trial(self) -> bool:
        """Whether all of it is to be undone."""
        return self._may_undo and self.prefer.tx == "rollback"

    async def transact(self, work: Work[Any]) -> Any:
        return await self.call.transact(work, keep=not self.is_trial)

    async def respond(self, work: Work[Response]) -> Response:
        """As `transact`, for a POST that may come again under its Idempotency-Key."""
        return await respond(self.call, work, keep=not self.is_trial)

    async def documents(self, session: AppSession, rows: Collection[Values]) -> list[Any]:
        """These rows as the caller may see them, read on the connection of the unit of work; those that it may not see
        are left out.
        """
        return await session.run(self.reading(session, rows)) if self.shows and rows else []

    def reading(self, session: AppSession, rows: Collection[Values]) -> Steps[list[Any]]:
        """The same as steps."""
        if not self.shows or not rows:
            return []
        call, compiler, plan = self.call, self.call.service.compiler, self.planned.plan
        (key,) = self.resource.key
        keys = [row[key] for row in rows]
        if self.planned.ordered:
            steps = read(compiler, with_keys(plan, keys), call.who, session.unit.now)
        else:
            steps = read_keyed(compiler, plan, call.who, session.unit.now, keys)
        return (yield from call.trace.counted(steps))

    def check_rows(self, rows: int) -> None:
        """What a client may say about how many rows a write affects. Raises PGRST116, PGRST124."""
        if self.media.one:
            refuse_not_one(rows)
        if self.prefer.most is not None and rows > self.prefer.most:
            message = "Query result exceeds max-affected preference constraint"
            raise BadQuery(message, code="PGRST124", details=f"The query affects {rows} rows")

    def body(self, documents: list[Any], *, bare: bool = False) -> bytes:
        """`bare` takes one document out of its list; if the caller may not see it, there is no body."""
        if not self.shows or (bare and not documents):
            return b""
        return render(self.media, self.call.service.catalog, self.planned.plan, documents, bare=bare)

    def answer(self, body: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
        applied = self.prefer.applied(self.call.method, keyed=self.keyed, tx=self._may_undo)
        return answer(self.call, body, status, applied | (headers or {}), media=self.media)


def settled(call: Call, planned: Planned, prefer: Prefer, *, keyed: bool = False) -> Write:
    """Raises PGRST122, then PGRST107, and PGRST127 for what no answer can show."""
    prefer.check()
    write = Write(call, planned, prefer, media_of(call.headers), keyed)
    call.trace.mark("plan")
    if write.shows and len(planned.resource.key) != 1:
        raise not_available("the representation of rows with a composite key")
    return write


def manner_of(
    planned: Planned, prefer: Prefer, *, keyed: bool = False, texts: bool = False, new: bool = False
) -> Manner:
    return Manner(planned.query.columns, prefer.missing == "default", keyed, texts, new)


def refuse_reader(call: Call, resource: Resource) -> None:
    """Refuses a caller who may change no row of this table. Raises Forbidden."""
    if not resource.rule.writes(call.who.view):
        raise audit.denied(resource)


def versions_of(call: Call, resource: Resource, *, pinned: bool = False) -> frozenset[int] | None:
    """The versions that If-Match allows, None without a condition. Raises BRD428 where the service wants one, unless
    the filters have `pinned` the version.
    """
    versioned = resource.has(Versioned)
    if "if-match" in call.headers and not versioned:
        raise not_available(f"If-Match on {resource.name}, whose rows have no version,")
    versions = expected_versions(call.headers)
    if versions is None and versioned and not pinned and call.service.settings.require_if_match:
        hint = "Read the row, and send its ETag in If-Match; * is not enough. With filters, version=eq.3 will do."
        message = f"a change of a row of {resource.name} must name the version that it changes"
        raise BroadsheetError(message, code="BRD428", status=428, hint=hint)
    return versions


def pins_version(rows: ReadPlan) -> bool:
    """Whether only rows match whose version is among some that the filters name."""
    terms = [term for term in rows.node.where if isinstance(term, Cond) and not term.negated]
    return any(term.column == "version" and term.operator in ("eq", "in") for term in terms)


def check_versions(resource: Resource, rows: list[Values], versions: frozenset[int] | None) -> None:
    """Raises Stale unless each of these locked rows has one of the versions."""
    if versions is not None:
        refuse_stale(resource, rows, versions)


def not_available(what: str) -> BroadsheetError:
    return BroadsheetError("Feature not implemented", code="PGRST127", details=f"{what} is not available")
