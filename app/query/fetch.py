"""Documents for Python: the same bytes as HTTP answers, read on the session's own connection.

body = await fetch(session, "posts?select=title,author(username),tags(name)&order=published_at.desc&limit=20")
"""

from __future__ import annotations

from app.data.scopes import require_read
from app.data.session import AppSession
from app.errors import BadQuery
from app.query.compiler import Compiler
from app.query.encoder import encode
from app.query.parser import parse
from app.query.plan import Page
from app.query.planner import find, plan_read, require_embeds
from app.query.reader import read
from app.settings import Limits

LIMITS = Limits()


async def fetch(session: AppSession, request: str) -> bytes:
    """JSON of `resource?query`, in 1 + (number of embeds) statements. Without a limit up to 1000 rows come. Raises
    BadQuery, NotFound, Forbidden.
    """
    name, question, query = request.partition("?")
    if not name or (question and not query):
        raise BadQuery(f"{request!r} is no query", hint="Write resource?select=...")
    unit = session.unit
    resource = find(session.catalog, name, unit.who.view)
    page = Page(LIMITS.page, LIMITS.page_service)
    plan = plan_read(session.catalog, resource, parse(query, LIMITS), unit.who.view, LIMITS, page)
    require_read(unit.who, resource.name)
    require_embeds(unit.who, session.catalog, plan.node)
    compiler = compiler_of(session)
    return encode(await session.run(read(compiler, plan, unit.who, unit.now)))


def compiler_of(session: AppSession) -> Compiler:
    """The compiler of the session's catalog and dialect, kept with the catalog."""
    dialect = session.dialect
    key = f"reads on {dialect.name}"
    found = session.catalog.compiled.get(key)
    if not isinstance(found, Compiler):
        found = session.catalog.compiled[key] = Compiler(session.catalog, dialect, LIMITS)
    return found
