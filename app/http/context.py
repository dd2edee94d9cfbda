"""What a request carries through this layer: the service that it asks, who asks, and where its time goes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import Principal
from app.data.steps import Steps
from app.http.surfaces import Surface
from app.query.compiler import Compiler
from app.query.driver import Lru
from app.query.plan import ReadPlan
from app.settings import Limits, Settings

T = TypeVar("T")

Authenticate = Callable[[Headers, Database], Awaitable[Principal]]


@dataclass(frozen=True, slots=True)
class Service:
    """What all requests share. `plans` maps a raw query string and all that its meaning depends on to its plan."""

    settings: Settings
    catalog: Catalog
    database: Database
    compiler: Compiler
    authenticate: Authenticate
    plans: Lru[ReadPlan]


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
    """One request to a resource, after its caller is known."""

    request: Request[State]
    service: Service
    surface: Surface
    who: Principal
    trace: Trace

    @property
    def limits(self) -> Limits:
        return self.service.settings.limits

    @property
    def headers(self) -> Headers:
        return self.request.headers

    @property
    def name(self) -> str:
        """The resource that the path names."""
        found: str = self.request.path_params["resource"]
        return found
