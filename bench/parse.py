"""What a request costs before any database is asked: its query string read, planned, and found again when it is
repeated. The aim for a repeated request is 40 microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.dialects import sqlite
from starlette.requests import Request

from app.data.rules import ANONYMOUS
from app.http import plans
from app.http.allowance import Allowance
from app.http.context import Call, Service, Trace
from app.http.plans import Kind
from app.http.recall import Plans
from app.http.surfaces import REST
from app.query.compiler import Compiler
from app.query.parser import parse
from app.query.plan import ReadPlan
from app.query.planner import find, plan_read
from app.resources import CATALOG
from app.settings import Limits, Settings
from bench.timing import Timed, table, timed

HEADLINE = b"select=title,slug,published_at,author(username,full_name),tags(name)&order=published_at.desc&limit=20"
RICH = (
    b"select=id,day:published_at::date,by:users!user_id!inner(username,posts(count)),tags(name)&status=eq.published"
    b"&or=(title.ilike.*async*,and(published_at.gte.2026-01-01,tags.not.is.null))&id=gt(any).{1,2,3}"
    b"&by.username=in.(ada,bob)&tags.order=name.desc&order=by(username).desc.nullslast,id&limit=20&offset=40"
)
LIMITS = Limits()
PAGE = REST.page(ANONYMOUS, LIMITS)


def run(seconds: float) -> str:
    """The table, after about `seconds` for each of its rows."""
    rows = [row for name, query in (("headline", HEADLINE), ("rich", RICH)) for row in _rows(name, query, seconds)]
    return table("parse and plan", rows)


def _rows(name: str, query: bytes, seconds: float) -> list[Timed]:
    node = _planned(query).node
    stages: dict[str, Callable[[], object]] = {
        "parse": lambda: parse(query, LIMITS),
        "parse and plan": lambda: _planned(query),
        "repeated: ask and plan": _repeated(query),
        "compile (a new shape)": lambda: Compiler(CATALOG, _dialect(), LIMITS).read(node, ANONYMOUS.view),
    }
    return [timed(f"{name}: {stage}", work, seconds=seconds) for stage, work in stages.items()]


def _planned(query: bytes) -> ReadPlan:
    view = ANONYMOUS.view
    return plan_read(CATALOG, find(CATALOG, "posts", view), parse(query, LIMITS), view, LIMITS, PAGE)


def _repeated(query: bytes) -> Callable[[], object]:
    """A request as the service sees it, from its scope to its plan and the key of its compiled statements."""
    settings = Settings()
    compiler = Compiler(CATALOG, _dialect(), LIMITS)
    nothing: Any = None  # planning asks no database and nobody's credentials
    allowance = Allowance(LIMITS.new_shapes, LIMITS.shapes)
    service = Service(settings, CATALOG, nothing, compiler, nothing, Plans(LIMITS), allowance)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/rest/v1/posts",
        "query_string": query,
        "headers": [],
    }
    scope |= {"path_params": {"resource": "posts"}, "client": ("127.0.0.1", 1)}

    def work() -> object:
        call = Call(Request(scope), service, REST, ANONYMOUS, Trace("bench"))
        planned = plans.plan(call, plans.ask(call, Kind.PAGE))
        return compiler.read(planned.plan.node, ANONYMOUS.view)

    return work


def _dialect() -> Any:
    return sqlite.dialect(paramstyle="qmark")
