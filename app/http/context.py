"""What a request carries through this layer: the service that it asks, who asks, and where its time goes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import Principal
from app.data.session import AppSession
from app.data.steps import Steps
from app.http.allowance import Allowance
from app.http.surfaces import Surface
from app.query.compiler import Compiler
from app.query.driver import Lru
from app.settings import Limits, Settings

T = TypeVar("T")

Authenticate = Callable[[Headers, Database], Awaitable[Principal]]
Work = Callable[[AppSession], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Service:
    """What all requests share. `plans` maps a raw query string and all that its meaning depends on to its plans;
    `allowance` counts the shapes that callers make anew.
    """

    settings: Settings
    catalog: Catalog
    database: Database
    compiler: Compiler
    authenticate: Authenticate
    plans: Lru[Any]
    allowance: Allowance


class State(TypedDict):
    """What the lifespan hands to every request."""

    service: Service


@dataclass(slots=True)
class Trace:
    """One request: its id, who asked, seconds by stage, and the statements of its compiled reads."""

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    last: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    statements: int = 0
    role: str | None = None

    def mark(self, stage: str) -> None:
        """Ends a stage: the time since the last mark belongs to it."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - (self.last or self.started)
        self.last = now

    def counted(self, steps: Steps[T]) -> Steps[T]:
        """The same steps; their statements are counted here."""
        try:
            statement = next(steps)
            while True:
                self.statements += 1
                statement = steps.send((yield statement))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            steps.close()


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

    @property
    def limits(self) -> Limits:
        return self.service.settings.limits

    @property
    def headers(self) -> Headers:
        return self.request.headers

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def name(self) -> str:
        """The resource that the path names."""
        found: str = self.request.path_params["resource"]
        return found

    @property
    def now(self) -> datetime:
        return self.service.database.clock() if self.unit is None else self.unit.unit.now

    async def read(self, steps: Callable[[], Steps[T]]) -> T:
        """Runs compiled reads: on a reader lane, or in the unit of work."""
        if self.unit is None:
            found = await self.service.database.read(self.who, lambda: self.trace.counted(steps()))
        else:
            found = await self.unit.run(self.trace.counted(steps()))
        self.trace.mark("database")
        return found

    async def transact(self, work: Work[T], *, keep: bool = True) -> T:
        """Runs a whole unit of work, or a part of the batch's. Unless it is to be kept, it is rolled back and its
        result answered all the same.
        """
        if self.unit is not None:
            return await work(self.unit)
        try:
            return await self._commit(work, keep=keep)
        except _Undone as undone:
            result: T = undone.args[0]
            return result
        finally:
            self.trace.mark("database")

    async def _commit(self, work: Work[T], *, keep: bool) -> T:
        async def whole(session: AppSession) -> T:
            result = await work(session)
            if not keep:
                raise _Undone(result)
            return result

        return await self.service.database.transact(self.who, whole, request_id=self.trace.request_id)


class _Undone(Exception):
    """Carries the result of a unit of work that is to be rolled back."""
