"""What a request carries through this layer: the service that it asks, who asks, and where its time goes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NotRequired, Protocol, TypedDict, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from app.data.batching import Batches
from app.data.catalog import Catalog, Resource
from app.data.database import Database
from app.data.rules import Principal, Values
from app.data.session import AppSession
from app.data.steps import Statement, Steps
from app.http.allowance import Allowance
from app.http.rating import RequestRates
from app.http.recall import Plans
from app.http.surfaces import Surface
from app.query.compiler import Compiler
from app.query.driver import Lru
from app.query.reader import NOTED, Noted, Noting
from app.settings import Limits, Settings

T = TypeVar("T")

KEPT = 1000  # kinds of requests
WORTH = 8  # requests for whom another unit of work is begun beside one that runs

Authenticate = Callable[[Headers, Database], Awaitable[Principal]]
Work = Callable[[AppSession], Awaitable[T]]
Confirm = Callable[[AppSession, Principal], Steps[None] | None]
RecordReads = Callable[[AppSession, Mapping[str, Noted]], Awaitable[None]]


class BeforeWrite(Protocol):
    """(resource, rows, who, database) -> the rows, changed in place. `batched`: the unit of work has begun already."""

    async def __call__(
        self, resource: Resource, rows: list[Values], who: Principal, database: Database, *, new: bool, batched: bool
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Service:
    """What all requests share. `plans` has what was planned before; `allowance` counts the shapes that callers make
    anew. `record_reads` writes down, by table, what a person with the admin's view has read and only this view shows.
    `confirm` looks inside the transaction of a write whether its caller may still act, `before_write` prepares new
    values before that transaction, `rates` counts requests, `batches` are reads that requests share, and `groups` their
    units of work; what cannot share one for a while stands in `apart`, until when.
    """

    settings: Settings
    catalog: Catalog
    database: Database
    compiler: Compiler
    authenticate: Authenticate
    plans: Plans
    allowance: Allowance
    record_reads: RecordReads | None = None
    confirm: Confirm | None = None
    before_write: BeforeWrite | None = None
    rates: RequestRates | None = None
    batches: Batches = field(default_factory=Batches)
    apart: Lru[float] = field(default_factory=partial(Lru, KEPT))
    groups: Batches = field(default_factory=partial(Batches, least=WORTH))


class State(TypedDict):
    """What the lifespan hands to every request; `stopping` is there once the server is about to stop."""

    service: Service
    stopping: NotRequired[bool]


@dataclass(slots=True)
class Trace:
    """One request: its id, who asked, seconds by stage, the statements of its compiled reads, and what of their rows is
    to be recorded.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    last: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    statements: int = 0
    role: str | None = None
    noted: dict[str, Noted] = field(default_factory=dict)

    def mark(self, stage: str) -> None:
        """Ends a stage: the time since the last mark belongs to it."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - (self.last or self.started)
        self.last = now

    def counted(self, steps: Steps[T]) -> Steps[T]:
        """The same steps; their statements are counted here, and the rows that are to be recorded noted."""
        try:
            statement = next(steps)
            while True:
                rows = yield statement
                if statement.parts:
                    for part, found in zip(statement.parts, rows, strict=True):
                        self._count(part, found)
                else:
                    self._count(statement, rows)
                statement = steps.send(rows)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            steps.close()

    def _count(self, statement: Statement, rows: Sequence[Any]) -> None:
        self.statements += 1
        if isinstance(statement, Noting):
            statement.collect(rows, self.noted)


def trace_of(scope: Scope) -> Trace:
    found: Trace = scope["broadsheet.trace"]
    return found


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a resource, after its caller is known. `unit` is the unit of work of the batch to which it
    belongs: it then reads and writes there, and sees what the requests before it wrote.
    """

    request: Request[State]
    service: Service
    surface: Surface
    who: Principal
    trace: Trace
    unit: AppSession | None = None
    headers: Headers = field(init=False)
    method: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", self.request.headers)
        object.__setattr__(self, "method", self.request.scope["method"])

    @property
    def limits(self) -> Limits:
        return self.service.settings.limits

    @property
    def name(self) -> str:
        """The resource that the path names."""
        found: str = self.request.scope["path_params"]["resource"]
        return found

    @property
    def now(self) -> datetime:
        return self.service.database.clock() if self.unit is None else self.unit.unit.now

    # What is read here is recorded before it is answered: in the unit of work that read it, if that can write and is
    # kept, else in one of its own. A batch records once, at its end.

    async def read(self, steps: Callable[[], Steps[T]]) -> T:
        """Runs compiled reads: on a reader lane, or in the unit of work."""

        def counted() -> Steps[T]:
            self.trace.noted.clear()  # what the first attempt saw
            return self.trace.counted(steps())

        if self.unit is None:
            found = await self.service.database.read(self.who, counted)
            await self._record_alone()
        else:
            found = await self.unit.run(self.trace.counted(steps()))
        self.trace.mark("database")
        return found

    async def look(self, work: Work[T]) -> T:
        """Runs work in a session that cannot write, or in the batch's unit of work."""
        if self.unit is not None:
            return await work(self.unit)
        async with self.service.database.reading(self.who) as session:
            session.info[NOTED] = self.trace.noted
            found = await work(session)
        await self._record_alone()
        self.trace.mark("database")
        return found

    async def prepare(self, resource: Resource, rows: list[Values], *, new: bool = False) -> None:
        """What new values need before the unit of work begins: it may take long, and changes them in place."""
        if self.service.before_write is not None:
            database, batched = self.service.database, self.unit is not None
            await self.service.before_write(resource, rows, self.who, database, new=new, batched=batched)

    async def transact(self, work: Work[T], *, keep: bool = True, keyed: bool = False) -> T:
        """Runs a whole unit of work, or a part of the batch's. Unless it is to be kept, it is rolled back and its
        result answered all the same. `keyed` work may be repeated after a lost COMMIT.
        """
        if self.unit is not None:
            return await work(self.unit)

        async def whole(session: AppSession) -> T:
            self.trace.noted.clear()
            session.info[NOTED] = self.trace.noted
            if self.service.confirm is not None and (steps := self.service.confirm(session, self.who)) is not None:
                await session.run(steps)
            result = await work(session)
            if keep:
                await self._record(session)
            return result

        try:
            transact, request_id = self.service.database.transact, self.trace.request_id
            found = await transact(self.who, whole, request_id=request_id, keyed=keyed, keep=keep)
            if not keep:
                await self._record_alone()
            return found
        finally:
            self.trace.mark("database")

    async def _record(self, session: AppSession) -> None:
        record, noted = self.service.record_reads, self.trace.noted
        if noted and record is not None:
            await record(session, noted)

    async def _record_alone(self) -> None:
        if self.trace.noted and self.service.record_reads is not None:
            await self.service.database.transact(self.who, self._record, request_id=self.trace.request_id)
